/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/file_all.c - what is done to all files that the pool has from here: writing, closing, making
 * way for others.
 *
 * The files are walked through nodes.pooled, one reference at a time, without a lock in between:
 * files that come meanwhile are met or not, those that go are not in the way.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "file_idle.h"
#include "space.h"
#include "state.h"

/* Who waits looks every 20 ms; the requests that come meanwhile wait for file.state. */
#define WAY_USEC 60000u

/* The rows of the pool's table come free some at a time, too. */
#define CLOSE_AT_ONCE 16u

/* The next file with a node that lives on, behind after (whose reference is given back). */
static struct file *
next_file(struct fs *fs, struct file *after)
{
	struct node_table *t = &fs->nodes;
	struct file *f = NULL;
	struct link *l;

	(void)pthread_mutex_lock(&t->lock);
	l = after == NULL ? t->pooled.next : after->pooled.next;
	if (l != &t->pooled) {
		f = link_entry(l, struct file, pooled);
		f->node->refs++;
	}
	(void)pthread_mutex_unlock(&t->lock);
	if (after != NULL)
		node_put(fs, after->node);
	return f;
}

static void
complain_unwritten(struct fs *fs, struct file *f, int err)
{
	char path[PATH_MAX];

	file_name(fs, f, path);
	fs_log(LOG_ERR, "cannot write %s: %s", path, db_strerror(err));
}

int
file_sync_all(struct fs *fs)
{
	struct file *f;
	int err, first = 0;

	for (f = next_file(fs, NULL); f != NULL; f = next_file(fs, f)) {
		(void)pthread_rwlock_rdlock(&f->state);
		err = f->mpf == NULL ? 0 : file_write_out(f, false);
		file_let_go(fs, f);
		if (err != 0)
			complain_unwritten(fs, f, err);
		if (first == 0)
			first = err;
	}
	return first;
}

static bool
is_in_the_way(struct fs *fs, struct file *f)
{
	bool wanted;

	(void)pthread_rwlock_rdlock(&f->state);
	/* what the kernel has of it cannot be taken back and kept away at the same time */
	wanted = f->mpf != NULL && mpool_file_wanted(f->mpf) &&
	    __atomic_load_n(&f->cached, __ATOMIC_SEQ_CST) == 0;
	file_let_go(fs, f);
	return wanted;
}

void
file_give_way(struct fs *fs)
{
	struct file *f;

	if (!mpool_any_wanted(fs->pool))
		return;
	for (f = next_file(fs, NULL); f != NULL; f = next_file(fs, f)) {
		if (!is_in_the_way(fs, f))
			continue;
		(void)pthread_rwlock_wrlock(&f->state);
		/* one without a name lives in the pool alone */
		if (!__atomic_load_n(&f->gone, __ATOMIC_SEQ_CST)) {
			file_close_in_pool_locked(f);
			os_sleep_usec(WAY_USEC);
		}
		file_let_go(fs, f);
	}
}

/* Can what somebody has open be opened again? */
static bool
can_be_reopened(struct fs *fs, const struct file *f)
{
	int fd;

	if (node_open(fs, f->node, f->writable ? O_RDWR : O_RDONLY, &fd) != 0)
		return false;
	os_close(fd);
	return true;
}

/*
 * The pages of a file without a name go when its last handle in the pool does: then the disk must
 * have all of it.
 */
static unsigned *
why_not_without_a_name(struct fs *fs, struct file *f, struct in_use *why)
{
	int64_t mtime;
	off_t bytes;

	if (!mpool_file_is_alone(f->mpf))
		return &why->shared;
	if ((f->writable && file_write_out_locked(f) != 0) ||
	    mpool_ident_attr(fs->pool, &f->node->ident, &bytes, &mtime) != ENOENT)
		return &why->unsaved;
	return NULL;
}

/* What of why speaks against closing it; NULL: nothing does. */
static unsigned *
why_not(struct fs *fs, struct file *f, struct in_use *why)
{
	struct os_stat st;

	/* what the kernel has of it others tell only while it is open here */
	if (__atomic_load_n(&f->cached, __ATOMIC_SEQ_CST) > 0)
		return &why->cached;
	if (!can_be_reopened(fs, f) || os_fstat(mpool_file_fd(f->mpf), &st) != 0)
		return &why->lost;
	return st.nlink > 0 ? NULL : why_not_without_a_name(fs, f, why);
}

static bool
close_if_unused(struct fs *fs, struct file *f, struct in_use *why)
{
	unsigned *reason = NULL;
	bool closes;

	if (pthread_rwlock_trywrlock(&f->state) != 0) {
		/* those who all want room have none for each other */
		if (!__atomic_load_n(&f->waits_room, __ATOMIC_RELAXED))
			why->busy++;
		return false;
	}
	closes = f->mpf != NULL && (reason = why_not(fs, f, why)) == NULL;
	if (reason != NULL)
		++*reason;
	if (closes) {
		/* nobody will know of it when the file is closed for good */
		if (f->writable)
			space_trim(f);
		file_close_in_pool_locked(f);
	}
	file_let_go(fs, f);
	return closes;
}

/* From the *fromp-th on, which then is where to go on. */
static unsigned
close_some(struct fs *fs, const struct file *but, unsigned *fromp, struct in_use *why)
{
	unsigned at = 0, n = 0;
	struct file *f;

	*why = (struct in_use){ 0 };
	for (f = next_file(fs, NULL); f != NULL && n < CLOSE_AT_ONCE; f = next_file(fs, f), at++)
		if (at >= *fromp && f != but && close_if_unused(fs, f, why))
			n++;
	if (f != NULL)
		node_put(fs, f->node);
	*fromp = at;
	return n;
}

unsigned
file_close_unused(struct fs *fs, const struct file *but, struct in_use *whyp)
{
	unsigned from = __atomic_load_n(&fs->nodes.closed_to, __ATOMIC_RELAXED), n;

	if ((n = close_some(fs, but, &from, whyp)) == 0) {
		from = 0;
		n = close_some(fs, but, &from, whyp);
	}
	__atomic_store_n(&fs->nodes.closed_to, from, __ATOMIC_RELAXED);
	return n;
}

void
file_close_all(struct fs *fs)
{
	struct file *f;

	for (f = next_file(fs, NULL); f != NULL; f = next_file(fs, f)) {
		bool was_idle;

		(void)pthread_rwlock_wrlock(&f->state);
		if (f->mpf != NULL && f->writable)
			space_trim(f);
		file_close_in_pool_locked(f);
		(void)pthread_rwlock_unlock(&f->state);
		(void)pthread_mutex_lock(&fs->nodes.lock);
		was_idle = file_wake_locked(fs, f);
		(void)pthread_mutex_unlock(&fs->nodes.lock);
		if (was_idle)
			node_put(fs, f->node);
	}
}
