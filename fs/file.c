/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/file.c - regular files as the pool has them open.
 *
 * A node gets a struct file when its data are first wanted.  All open(2)s of a file share one
 * DB_MPOOLFILE, which is opened for writing only while there are writers (a program that is open
 * for writing cannot be run): anew when the first comes, and again when the last has gone.  When
 * nobody has the file open any more the handle stays, in a list of some: the next open(2) finds
 * it.  The pool may close under open handles (when its region is removed); the next request opens
 * both again.
 *
 * Locking: state.h.  The rule that keeps it simple: whoever uses file.mpf holds file.state
 * shared, whoever sets it holds it exclusively; and every change that the mount itself makes to a
 * file on disk is followed by a restamp under file.io, so that the pool's check for changes
 * behind its back, made under the same lock at each open(2), sees only those of others.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coherence.h"
#include "file_idle.h"
#include "pool.h"
#include "space.h"
#include "state.h"

#define READ_USEC 20u

/* --- making -------------------------------------------------------------------------------- */

static struct file *
file_create(struct node *node)
{
	pthread_rwlockattr_t attr;
	struct file *f;

	if ((f = calloc(1, sizeof(*f))) == NULL)
		return NULL;
	f->node = node;
	ahead_file_init(&f->ahead);
	link_init(&f->pooled);
	link_init(&f->idle);
	link_init(&f->live);
	/* a crowd of readers must not keep a writer out; nobody takes io shared twice */
	(void)pthread_rwlockattr_init(&attr);
	(void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	(void)pthread_rwlock_init(&f->state, NULL);
	(void)pthread_rwlock_init(&f->io, &attr);
	(void)pthread_rwlockattr_destroy(&attr);
	(void)pthread_mutex_init(&f->error_lock, NULL);
	return f;
}

void
file_destroy(struct file *f)
{
	if (f == NULL)
		return;
	(void)pthread_rwlock_destroy(&f->state);
	(void)pthread_rwlock_destroy(&f->io);
	(void)pthread_mutex_destroy(&f->error_lock);
	free(f);
}

static struct file *
file_of(struct fs *fs, struct node *node)
{
	struct file *fresh, *f;

	if ((f = __atomic_load_n(&node->file, __ATOMIC_ACQUIRE)) != NULL)
		return f;
	if ((fresh = file_create(node)) == NULL)
		return NULL;
	(void)pthread_mutex_lock(&fs->nodes.lock);
	if ((f = node->file) == NULL) {
		f = fresh;
		link_append(&fs->nodes.pooled, &f->pooled);
		__atomic_store_n(&node->file, f, __ATOMIC_RELEASE);
		fresh = NULL;
	}
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	file_destroy(fresh);
	return f;
}

/* --- opening in the pool ------------------------------------------------------------------- */

/*
 * The name is for people, and for reopening: where the node was last seen.  That is not the path
 * of a descriptor, which may have been opened by a name that is gone while others stayed.
 */
static int
path_of(struct fs *fs, struct file *f, char *path)
{
	struct node *parent;
	char dir[PATH_MAX];
	int fd, n, err;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	if ((parent = f->node->parent) != NULL)
		parent->refs++;
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (parent == NULL)
		return ESTALE;
	if ((err = node_fd_get(fs, parent, &fd)) == 0) {
		err = node_path(fs, fd, dir);
		node_fd_put(fs, parent);
	}
	node_put(fs, parent);
	if (err != 0)
		return err;
	(void)pthread_mutex_lock(&fs->nodes.lock);
	n = snprintf(path, PATH_MAX, "%s/%s", dir, f->node->name);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	return n < PATH_MAX ? 0 : ENAMETOOLONG;
}

/* One that is longer than paths may be serves only people. */
void
file_name(struct fs *fs, struct file *f, char *path)
{
	if (path_of(fs, f, path) == 0)
		return;
	(void)pthread_mutex_lock(&fs->nodes.lock);
	(void)snprintf(path, PATH_MAX, "%s/.../%s", fs->opt->home,
	    f->node->name != NULL ? f->node->name : "?");
	(void)pthread_mutex_unlock(&fs->nodes.lock);
}

/* fd is taken over. */
static int
replace_locked(struct fs *fs, struct file *f, int fd, bool writable)
{
	DB_MPOOLFILE *mpf;
	int err;

	if ((err = file_open_fd_locked(fs, f, fd, writable, &mpf)) != 0)
		return err;
	file_close_in_pool_locked(f);
	f->mpf = mpf;
	__atomic_store_n(&f->disk_seen, mpool_file_disk_taken(mpf), __ATOMIC_SEQ_CST);
	f->writable = writable;
	f->kept = false;
	/* opened anew: whoever closes it last must know, if this process should not */
	if (__atomic_load_n(&f->gone, __ATOMIC_SEQ_CST))
		mpool_ident_gone(fs->pool, &f->node->ident);
	coherence_reopened(fs, f);
	return 0;
}

static int
open_in_pool_locked(struct fs *fs, struct file *f, bool writable)
{
	int fd, err;

	if (f->mpf != NULL && (!writable || f->writable))
		return 0;
	if (writable && fs->opt->read_only)
		return EROFS;
	if ((err = node_open(fs, f->node, writable ? O_RDWR : O_RDONLY, &fd)) != 0)
		return writable && (err == EPERM || err == EROFS) ? EACCES : err;
	return replace_locked(fs, f, fd, writable);
}

static int
file_hold(struct fs *fs, struct file *f, bool writable)
{
	int err;

	for (;;) {
		(void)pthread_rwlock_rdlock(&f->state);
		if (f->mpf != NULL && (!writable || f->writable))
			return 0;
		(void)pthread_rwlock_unlock(&f->state);
		(void)pthread_rwlock_wrlock(&f->state);
		if ((err = open_in_pool_locked(fs, f, writable)) != 0) {
			file_let_go(fs, f);
			return err;
		}
		(void)pthread_rwlock_unlock(&f->state);
	}
}

int
file_get(struct fs *fs, struct node *node, bool writable, struct file **fp)
{
	struct file *f;
	int err;

	if ((f = file_of(fs, node)) == NULL)
		return ENOMEM;
	if ((err = file_hold(fs, f, writable)) != 0)
		return err;
	*fp = f;
	return 0;
}

/* Once for a file and a type. */
static void
complain_type(struct fs *fs, struct file *f, int type)
{
	char path[PATH_MAX];

	if (__atomic_exchange_n(&f->refused_type, type, __ATOMIC_RELAXED) == type)
		return;
	file_name(fs, f, path);
	fs_log(LOG_WARNING,
	    "%s has pages of type %d, which only those who have registered it can read: programs "
	    "get EIO",
	    path, type);
}

int
file_get_data(struct fs *fs, struct node *node, bool writable, struct file **fp)
{
	int err, type;

	if ((err = file_get(fs, node, writable, fp)) != 0)
		return err;
	if ((type = mpool_file_type((*fp)->mpf)) == 0)
		return 0;
	complain_type(fs, *fp, type);
	file_put(fs, *fp);
	return EIO;
}

bool
file_get_known(struct fs *fs, struct node *node, struct file **fp)
{
	struct file *f = __atomic_load_n(&node->file, __ATOMIC_ACQUIRE);
	int64_t mtime;
	off_t bytes;

	if (f != NULL) {
		(void)pthread_rwlock_rdlock(&f->state);
		if (f->mpf != NULL) {
			*fp = f;
			return true;
		}
		file_let_go(fs, f);
	}
	/* A file that may not even be read can be known only by another process's handle. */
	return S_ISREG(node->type) &&
	    mpool_ident_attr(fs->pool, &node->ident, &bytes, &mtime) == 0 &&
	    file_get(fs, node, false, fp) == 0;
}

void
file_put(struct fs *fs, struct file *f)
{
	file_let_go(fs, f);
}

/* --- open(2) and close(2) ------------------------------------------------------------------ */

static bool
writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

static void
count_open(struct fs *fs, struct file *f, int flags)
{
	bool was_idle;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	(void)__atomic_add_fetch(&f->opens, 1, __ATOMIC_SEQ_CST);
	if (writes(flags))
		(void)__atomic_add_fetch(&f->writers, 1, __ATOMIC_SEQ_CST);
	f->node->refs++;
	was_idle = file_wake_locked(fs, f);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (was_idle)
		node_put(fs, f->node);
}

static int
file_check_disk(struct file *f)
{
	int err;

	(void)pthread_rwlock_wrlock(&f->io);
	err = mpool_file_revalidate(f->mpf);
	f->reserved_from = f->reserved_to = 0;
	f->knows_kept = false;
	(void)pthread_rwlock_unlock(&f->io);
	return err;
}

int
file_open(struct fs *fs, struct node *node, int flags, struct handle **hp)
{
	struct handle *h;
	struct file *f;
	int fd, err;

	if ((h = calloc(1, sizeof(*h))) == NULL)
		return ENOMEM;
	/* Held for the handle's life: a file without a name can be reopened through it alone. */
	if ((err = node_fd_get(fs, node, &fd)) != 0)
		goto fail;
	if ((err = file_get(fs, node, writes(flags), &f)) != 0)
		goto fail_fd;
	if ((err = file_check_disk(f)) != 0) {
		file_put(fs, f);
		goto fail_fd;
	}
	count_open(fs, f, flags);
	h->node = node;
	h->flags = flags;
	(void)pthread_mutex_lock(&f->error_lock);
	h->error_seen = f->error_told;
	(void)pthread_mutex_unlock(&f->error_lock);
	file_put(fs, f);
	*hp = h;
	return 0;
fail_fd:
	node_fd_put(fs, node);
fail:
	free(h);
	return err;
}

/* The last handle went, or the last that may write. */
static void
file_settle(struct fs *fs, struct file *f)
{
	(void)pthread_rwlock_rdlock(&f->state);
	if (f->mpf != NULL && f->writable)
		space_trim(f);
	file_let_go(fs, f);
}

/* The counterpart of count_open; true if there is something to settle. */
static bool
count_close(struct fs *fs, struct file *f, int flags)
{
	bool last;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	last = __atomic_sub_fetch(&f->opens, 1, __ATOMIC_SEQ_CST) == 0;
	if (writes(flags) && __atomic_sub_fetch(&f->writers, 1, __ATOMIC_SEQ_CST) == 0)
		last = true;
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	return last;
}

/* A handle for reading, made by somebody who was quicker, will not do. */
static int
file_adopt(struct fs *fs, struct file *f, int fd)
{
	int err = 0;

	(void)pthread_rwlock_wrlock(&f->state);
	if (f->mpf != NULL && f->writable)
		(void)close(fd);
	else
		err = replace_locked(fs, f, fd, true);
	(void)pthread_rwlock_unlock(&f->state);
	return err;
}

int
file_open_created(struct fs *fs, struct node *node, int fd, int flags, struct handle **hp)
{
	struct file *f;
	int err;

	if ((f = file_of(fs, node)) == NULL) {
		(void)close(fd);
		return ENOMEM;
	}
	/* counted as a writer meanwhile: else the handle is given back at once */
	count_open(fs, f, O_RDWR);
	if ((err = file_adopt(fs, f, fd)) == 0)
		err = file_open(fs, node, flags, hp);
	if (count_close(fs, f, O_RDWR))
		file_settle(fs, f);
	node_put(fs, node);
	return err;
}

/*
 * The kernel closes, and then forgets, once it has all answers; who has given one may not have let
 * go of the file yet.
 */
static void
await_reads(const struct handle *h)
{
	while (__atomic_load_n(&h->reads, __ATOMIC_ACQUIRE) > 0)
		os_sleep_usec(READ_USEC);
}

void
file_close(struct fs *fs, struct handle *h, bool pool_usable)
{
	struct node *node = h->node;
	struct file *f = node->file;

	await_reads(h);
	coherence_close(fs, h, pool_usable);
	if (count_close(fs, f, h->flags) && pool_usable)
		file_settle(fs, f);
	/* after blocks are given back: it lets go of the handle for writing */
	coherence_closed(fs, f, pool_usable);
	node_fd_put(fs, node);
	node_put(fs, node);
	free(h);
}

void
file_gone(struct fs *fs, struct node *node, const struct os_ident *id)
{
	struct file *f = node == NULL ? NULL : __atomic_load_n(&node->file, __ATOMIC_ACQUIRE);
	bool was_idle;

	if (f != NULL) {
		(void)pthread_mutex_lock(&fs->nodes.lock);
		__atomic_store_n(&f->gone, true, __ATOMIC_SEQ_CST);
		was_idle = file_wake_locked(fs, f);
		(void)pthread_mutex_unlock(&fs->nodes.lock);
		(void)pthread_rwlock_rdlock(&f->state);
		file_let_go(fs, f);
		if (was_idle)
			node_put(fs, node);
	}
	mpool_ident_gone(fs->pool, id);
	if (node != NULL)
		node_fd_drop(fs, node);
	__atomic_store_n(&fs->removed_usec, os_monotonic_usec(), __ATOMIC_RELAXED);
}

void
file_is_hidden(struct fs *fs, struct node *node)
{
	struct file *f = __atomic_load_n(&node->file, __ATOMIC_ACQUIRE);
	bool was_idle;

	if (f == NULL)
		return;
	(void)pthread_mutex_lock(&fs->nodes.lock);
	__atomic_store_n(&f->unkept, true, __ATOMIC_SEQ_CST);
	was_idle = file_wake_locked(fs, f);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	file_close_if_idle(fs, f);
	node_fd_drop(fs, node);
	if (was_idle)
		node_put(fs, node);
}

void
file_is_named(struct fs *fs, struct node *node)
{
	struct file *f = __atomic_load_n(&node->file, __ATOMIC_ACQUIRE);

	if (f == NULL ||
	    (!__atomic_load_n(&f->gone, __ATOMIC_SEQ_CST) &&
		!__atomic_load_n(&f->unkept, __ATOMIC_SEQ_CST)))
		return;
	(void)pthread_mutex_lock(&fs->nodes.lock);
	__atomic_store_n(&f->unkept, false, __ATOMIC_SEQ_CST);
	__atomic_store_n(&f->gone, false, __ATOMIC_SEQ_CST);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
}

/* --- metadata ------------------------------------------------------------------------------ */

/* A file that nobody has open here is as the disk says, unless the pool has something newer. */
bool
file_attr(struct fs *fs, struct node *node, off_t *bytesp, int64_t *mtimep)
{
	struct file *f = __atomic_load_n(&node->file, __ATOMIC_ACQUIRE);
	bool known = false;

	if (f != NULL) {
		(void)pthread_rwlock_rdlock(&f->state);
		if (f->mpf != NULL && __atomic_load_n(&f->opens, __ATOMIC_SEQ_CST) > 0 &&
		    memp_fsize(f->mpf, bytesp) == 0) {
			*mtimep = mpool_file_mtime(f->mpf);
			known = true;
		}
		file_let_go(fs, f);
	}
	return known || mpool_ident_attr(fs->pool, &node->ident, bytesp, mtimep) == 0;
}

int
file_change_begin(struct fs *fs, struct node *node, struct file **fp)
{
	struct file *f = NULL;
	int err;

	if (file_get_known(fs, node, &f)) {
		(void)pthread_rwlock_wrlock(&f->io);
		if ((err = mpool_file_revalidate(f->mpf)) != 0) {
			(void)pthread_rwlock_unlock(&f->io);
			file_put(fs, f);
			return err;
		}
		/* the next write asks for room, at which HOME takes a program's capabilities */
		f->reserved_from = f->reserved_to = 0;
	}
	*fp = f;
	return 0;
}

void
file_change_end(struct fs *fs, struct file *f)
{
	if (f == NULL)
		return;
	mpool_file_restamp(f->mpf);
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
}
