/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/file_idle.c - files that are open in the pool though nobody has them open.
 *
 * When the last open(2) of a file ends, its handle in the pool stays, in a list, oldest first:
 * the next open(2) finds it.  The list holds a reference to the node of each, and as many as the
 * pool has room for (nodes.idle_limit); what is one too many is closed by whoever added it,
 * without a lock.
 *
 * Nobody waits for file.state to do what can be done by whoever lets go of it last
 * (file_let_go), so it may be called with other files locked.
 *
 * A file that is removed from HOME behind the mount's back is found by looking at the idle ones
 * once in a while, so that its blocks come free.
 */
#include "file_idle.h"

#include <errno.h>
#include <fcntl.h>

#include "path_fd.h"
#include "state.h"

#define LOOK_AT_ONCE 1024

static bool
is_gone(const struct file *f)
{
	return __atomic_load_n(&f->gone, __ATOMIC_SEQ_CST);
}

int
file_write_out_locked(struct file *f)
{
	int fd = mpool_file_fd(f->mpf), err;
	struct os_stat st;
	int64_t mtime;

	if ((err = file_write_out(f, true)) != 0)
		return err;
	/* it is not ours if somebody else changed the file meanwhile */
	if ((err = mpool_file_revalidate(f->mpf)) != 0)
		return err;
	mtime = mpool_file_mtime(f->mpf);
	if (mtime != 0 && os_fstat(fd, &st) == 0 && st.mtime_nsec != mtime &&
	    os_futimens(fd, mtime) == 0)
		mpool_file_restamp(f->mpf);
	return 0;
}

/*
 * Pages may stay behind in the pool when a handle is closed, to be written by way of the file's
 * name.  But names can be taken away, or lead to another file, and files be made read-only, so
 * nothing that was written here is left to that.
 */
void
file_close_in_pool_locked(struct file *f)
{
	if (f->mpf == NULL)
		return;
	/* what has no name left is not written for nobody to read */
	if (f->writable && !is_gone(f))
		(void)file_write_out_locked(f);
	file_note_error(f, memp_fclose(f->mpf));
	f->mpf = NULL;
}

/* --- letting go ---------------------------------------------------------------------------- */

static bool
has_opens(const struct file *f)
{
	return __atomic_load_n(&f->opens, __ATOMIC_SEQ_CST) > 0;
}

/* writable: the handle can be written through, and could perhaps do without. */
static bool
is_surplus(const struct file *f, bool writable)
{
	if (is_gone(f))
		return !has_opens(f);
	return writable && __atomic_load_n(&f->writers, __ATOMIC_SEQ_CST) == 0;
}

/* A program that somebody has open for writing cannot be run: go on with a handle for reading. */
static void
drop_writing_locked(struct fs *fs, struct file *f)
{
	DB_MPOOLFILE *mpf;
	int fd, err;

	f->kept = true;
	if (file_write_out_locked(f) != 0)
		return;
	if ((err = node_open(fs, f->node, O_RDONLY, &fd)) == 0)
		err = file_open_fd_locked(fs, f, fd, false, &mpf);
	if (err != 0 && has_opens(f))
		return;
	file_note_error(f, memp_fclose(f->mpf));
	f->mpf = err == 0 ? mpf : NULL;
	if (err == 0)
		__atomic_store_n(
		    &f->disk_seen, mpool_file_disk_taken(mpf), __ATOMIC_SEQ_CST);
	f->writable = f->kept = false;
}

static void
settle_locked(struct fs *fs, struct file *f)
{
	if (f->mpf == NULL || !is_surplus(f, f->writable && !f->kept))
		return;
	if (is_gone(f))
		file_close_in_pool_locked(f);
	else
		drop_writing_locked(fs, f);
}

/*
 * Who cannot lock it leaves the rest to whoever has it locked, and will look in turn when he
 * lets go.
 */
void
file_let_go(struct fs *fs, struct file *f)
{
	bool open, writable;

	for (;;) {
		open = f->mpf != NULL;
		writable = open && f->writable && !f->kept;
		(void)pthread_rwlock_unlock(&f->state);
		if (!open || !is_surplus(f, writable) || pthread_rwlock_trywrlock(&f->state) != 0)
			break;
		settle_locked(fs, f);
	}
	if (open && !has_opens(f))
		file_rest(fs, f);
}

/* --- the list ------------------------------------------------------------------------------ */

/* Taken from the list, with the list's reference, or NULL. */
static struct file *
idle_oldest_locked(struct fs *fs)
{
	struct node_table *t = &fs->nodes;
	struct file *oldest;

	if (link_is_alone(&t->idle_files))
		return NULL;
	oldest = link_entry(t->idle_files.next, struct file, idle);
	link_remove(&oldest->idle);
	t->idle_count--;
	return oldest;
}

/* Put f at the young end; the oldest one too many is returned, with the list's reference. */
static struct file *
idle_touch_locked(struct fs *fs, struct file *f)
{
	struct node_table *t = &fs->nodes;

	if (link_is_alone(&f->idle)) {
		f->node->refs++;
		t->idle_count++;
	} else {
		link_remove(&f->idle);
	}
	link_append(&t->idle_files, &f->idle);
	return t->idle_count > __atomic_load_n(&t->idle_limit, __ATOMIC_RELAXED) ?
	    idle_oldest_locked(fs) :
	    NULL;
}

bool
file_wake_locked(struct fs *fs, struct file *f)
{
	if (link_is_alone(&f->idle))
		return false;
	link_remove(&f->idle);
	fs->nodes.idle_count--;
	return true;
}

/* A busy one stays open until it is idle again. */
void
file_close_if_idle(struct fs *fs, struct file *f)
{
	if (pthread_rwlock_trywrlock(&f->state) != 0)
		return;
	if (!has_opens(f))
		file_close_in_pool_locked(f);
	file_let_go(fs, f);
}

void
file_rest(struct fs *fs, struct file *f)
{
	struct file *oldest = NULL;

	if (__atomic_load_n(&f->unkept, __ATOMIC_SEQ_CST)) {
		file_close_if_idle(fs, f);
		return;
	}
	(void)pthread_mutex_lock(&fs->nodes.lock);
	if (f->opens == 0 && !f->gone)
		oldest = idle_touch_locked(fs, f);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (oldest == NULL)
		return;
	file_close_if_idle(fs, oldest);
	node_put(fs, oldest->node);
}

unsigned
file_close_idle(struct fs *fs)
{
	struct file *f;
	unsigned n = 0;

	do {
		(void)pthread_mutex_lock(&fs->nodes.lock);
		f = idle_oldest_locked(fs);
		(void)pthread_mutex_unlock(&fs->nodes.lock);
		if (f != NULL) {
			file_close_if_idle(fs, f);
			node_put(fs, f->node);
			n++;
		}
	} while (f != NULL);
	return n;
}

/* --- removed behind our back, or wanted by others -------------------------------------------- */

/* The idle files' nodes, with a reference to each. */
static unsigned
idle_nodes(struct fs *fs, struct node *nodes[LOOK_AT_ONCE])
{
	struct node_table *t = &fs->nodes;
	unsigned n = 0;

	(void)pthread_mutex_lock(&t->lock);
	for (struct link *l = t->idle_files.next; l != &t->idle_files && n < LOOK_AT_ONCE;
	     l = l->next) {
		nodes[n] = link_entry(l, struct file, idle)->node;
		nodes[n++]->refs++;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

/* Why the mount should give up an idle file. */
static void
look_at_idle(struct fs *fs, struct file *f, bool *removedp, bool *wantedp)
{
	struct os_stat st;

	(void)pthread_rwlock_rdlock(&f->state);
	*removedp = f->mpf != NULL && os_fstat(mpool_file_fd(f->mpf), &st) == 0 && st.nlink == 0;
	*wantedp = f->mpf != NULL && mpool_file_wanted(f->mpf);
	file_let_go(fs, f);
}

void
file_forget_removed(struct fs *fs)
{
	struct node *nodes[LOOK_AT_ONCE];
	unsigned n = idle_nodes(fs, nodes);
	bool removed, wanted;

	for (unsigned i = 0; i < n; i++) {
		look_at_idle(fs, nodes[i]->file, &removed, &wanted);
		if (removed)
			file_gone(fs, nodes[i], &nodes[i]->ident);
		else if (wanted)
			file_close_if_idle(fs, nodes[i]->file);
		node_put(fs, nodes[i]);
	}
	n = path_fd_removed(fs, nodes, LOOK_AT_ONCE);
	for (unsigned i = 0; i < n; i++) {
		file_gone(fs, nodes[i], &nodes[i]->ident);
		node_put(fs, nodes[i]);
	}
}
