/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/file_idle.c - files that are open in the pool though nobody has them open.
 *
 * When the last open(2) of a file ends, its handle in the pool stays, in a list, oldest first:
 * the next open(2) finds it.  The list holds a reference to the node of each, and as many as the
 * pool has room for (nodes.idle_limit); what is one too many is closed by whoever added it,
 * without a lock.
 */
#include "file_idle.h"

#include <errno.h>

#include "state.h"

void
file_note_error(struct file *f, int error)
{
	if (error <= 0)
		return;
	(void)pthread_mutex_lock(&f->error_lock);
	f->error = error;
	f->error_number++;
	(void)pthread_mutex_unlock(&f->error_lock);
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
	if (f->writable && !f->gone)
		file_note_error(f, mpool_file_sync(f->mpf, true));
	file_note_error(f, memp_fclose(f->mpf));
	f->mpf = NULL;
}

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
	return t->idle_count > t->idle_limit ? idle_oldest_locked(fs) : NULL;
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
file_close_if_idle(struct file *f)
{
	if (pthread_rwlock_trywrlock(&f->state) != 0)
		return;
	if (__atomic_load_n(&f->opens, __ATOMIC_ACQUIRE) == 0)
		file_close_in_pool_locked(f);
	(void)pthread_rwlock_unlock(&f->state);
}

void
file_rest(struct fs *fs, struct file *f)
{
	struct file *oldest = NULL;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	if (f->opens == 0 && !f->gone)
		oldest = idle_touch_locked(fs, f);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (oldest == NULL)
		return;
	file_close_if_idle(oldest);
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
			file_close_if_idle(f);
			node_put(fs, f->node);
			n++;
		}
	} while (f != NULL);
	return n;
}
