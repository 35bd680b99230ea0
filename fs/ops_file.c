/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ops_file.c - requests on open files: those of files/ and status files.
 *
 * What an open file is (struct handle or struct status_handle) goes with the kind of its node.
 * Status files are direct_io; so is every file that the kernel may not cache (coherence.h): each
 * read(2) and write(2) reaches the pool.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "files.h"
#include "io.h"
#include "locks.h"
#include "ops_impl.h"
#include "pool.h"
#include "space.h"

static struct handle *
handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

static struct status_handle *
status_handle_of(const struct fuse_file_info *fi)
{
	return (struct status_handle *)(uintptr_t)fi->fh;
}

static void
close_handle(struct fs *fs, struct node *node, struct fuse_file_info *fi)
{
	if (in_files(node)) {
		file_close(fs, handle_of(fi), pool_peek(fs));
		pool_put(fs);
	} else {
		status_close(fs, status_handle_of(fi));
	}
}

/* Status files are read anew each time. */
static void
set_caching(const struct node *node, struct fuse_file_info *fi)
{
	fi->direct_io = !in_files(node) || !handle_of(fi)->cached;
	fi->keep_cache = in_files(node) && handle_of(fi)->keep;
}

static int
open_node(fuse_req_t req, struct node *node, struct fuse_file_info *fi)
{
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct status_handle *sh;
	struct handle *h;
	int err;

	if (!in_files(node)) {
		if ((err = status_open(fs, node, fi->flags, &sh)) == 0)
			fi->fh = (uintptr_t)sh;
		return err;
	}
	if ((err = pool_get(fs)) != 0)
		return err;
	if ((err = files_open(fs, node, &c, fi->flags, &h)) == 0)
		fi->fh = (uintptr_t)h;
	pool_put(fs);
	return err;
}

/* --- an answer that waits ------------------------------------------------------------------ */

struct awaited {
	struct opening opening;
	fuse_req_t req;
	struct node *node;
	struct fuse_file_info fi;
	struct fuse_entry_param entry; /* of one that may have created the file */
	bool created;
};

/* The kernel will not close it. */
static void
undo_open(struct fs *fs, struct awaited *a)
{
	close_handle(fs, a->node, &a->fi);
	if (a->created)
		node_forget(fs, a->node, 1);
}

static void
answer_open(struct fs *fs, struct awaited *a)
{
	int ret = a->created ? fuse_reply_create(a->req, &a->entry, &a->fi) :
			       fuse_reply_open(a->req, &a->fi);

	if (ret != 0)
		undo_open(fs, a);
}

static void
answer_awaited(struct fs *fs, struct opening *o)
{
	struct awaited *a = link_entry(o, struct awaited, opening);

	answer_open(fs, a);
	free(a);
}

/* Now, or when the kernel's old pages are gone. */
static void
answer_opened(struct fs *fs, struct awaited *now)
{
	struct awaited *later;

	set_caching(now->node, &now->fi);
	if (!in_files(now->node) || !handle_of(&now->fi)->waits) {
		answer_open(fs, now);
	} else if ((later = malloc(sizeof(*later))) != NULL) {
		*later = *now;
		later->opening.answer = answer_awaited;
		coherence_await(fs, handle_of(&now->fi), &later->opening);
	} else {
		undo_open(fs, now);
		reply_error(now->req, ENOMEM);
	}
}

void
op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *node = node_at(req, ino);
	int err;

	coherence_settle(fs_of(req));
	if ((err = open_node(req, node, fi)) != 0) {
		reply_error(req, err);
		return;
	}
	answer_opened(fs_of(req), &(struct awaited){ .req = req, .node = node, .fi = *fi });
}

void
op_create(
    fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct node *dir = node_at(req, parent), *node = NULL;
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct awaited a = { .req = req, .created = true };
	struct handle *h = NULL;
	struct stat st;
	int err = EPERM;

	if (in_files(dir) && (err = pool_get(fs)) == 0) {
		err = files_create(fs, dir, name, &c, mode, fi->flags, &node, &st, &h);
		pool_put(fs);
	}
	if (err != 0) {
		reply_error(req, err);
		return;
	}
	entry_fill(fs, node, &st, &a.entry);
	a.node = node;
	a.fi = *fi;
	a.fi.fh = (uintptr_t)h;
	answer_opened(fs, &a);
}

/* Answered when it is decided. */
void
op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct node *node = node_at(req, ino);

	if (in_files(node))
		locks_flock(fs_of(req), node, fi->fh, fuse_req_ctx(req)->pid, op, req);
	else
		reply_error(req, EOPNOTSUPP);
}

void
op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	locks_release(fs_of(req), fi->fh);
	close_handle(fs_of(req), node_at(req, ino), fi);
	reply_error(req, 0);
}

/* A close(2).  It comes from every process that shares the descriptor, so it opens nothing. */
void
op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	int err = 0;

	if (in_files(node_at(req, ino))) {
		(void)pool_peek(fs);
		err = file_peek_error(fs, handle_of(fi));
		pool_put(fs);
	}
	reply_error(req, err);
}

static void
served(struct fs *fs, enum request request, uint64_t begun)
{
	latency_add(&fs->requests[request], os_monotonic_usec() - begun);
}

void
op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	uint64_t begun = os_monotonic_usec();
	struct fs *fs = fs_of(req);
	int err = 0;

	(void)datasync;
	if (in_files(node_at(req, ino)) && (err = pool_get(fs)) == 0) {
		err = file_sync(fs, handle_of(fi));
		pool_put(fs);
		served(fs, REQUEST_SYNC, begun);
	}
	reply_error(req, err);
}

/* Something to read or write in files/ comes from the pool: always. */
void
op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	unsigned events = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;

	if (in_files(node_at(req, ino))) {
		if (ph != NULL)
			fuse_pollhandle_destroy(ph);
	} else if (!status_poll(status_handle_of(fi), ph)) {
		events = POLLOUT | POLLWRNORM;
	}
	(void)fuse_reply_poll(req, events);
}

/* --- data ---------------------------------------------------------------------------------- */

static void
reply_bytes(void *arg, const struct iovec *iov, int niov)
{
	if (niov == 0)
		(void)fuse_reply_buf(arg, NULL, 0);
	else
		(void)fuse_reply_iov(arg, iov, niov);
}

/*
 * Only what goes past its cache the kernel sends with a lock owner.  That is also true of a
 * private mapping of a file that is opened so, the pages of which are in the cache.
 */
static bool
is_for_cache(const struct fs *fs, const struct fuse_file_info *fi)
{
	return fs->coherence.mode != FS_CACHE_NONE && fi->lock_owner == 0;
}

void
op_read(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset, struct fuse_file_info *fi)
{
	uint64_t begun = os_monotonic_usec();
	struct node *node = node_at(req, ino);
	struct fs *fs = fs_of(req);
	int err;

	if (!in_files(node)) {
		err = status_read(
		    fs, status_handle_of(fi), bytes, (uint64_t)offset, reply_bytes, req);
	} else if ((err = pool_get(fs)) == 0) {
		if (is_for_cache(fs, fi))
			err = coherence_lend(fs, handle_of(fi));
		if (err == 0)
			err = io_read(fs, handle_of(fi), is_for_cache(fs, fi), bytes,
			    (uint64_t)offset, reply_bytes, req);
		pool_put(fs);
		served(fs, REQUEST_READ, begun);
	}
	if (err != 0)
		reply_error(req, err);
}

void
op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t bytes, off_t offset,
    struct fuse_file_info *fi)
{
	uint64_t begun = os_monotonic_usec();
	struct node *node = node_at(req, ino);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct written *w = NULL;
	size_t done = 0;
	int err;

	if (!in_files(node)) {
		if ((err = status_write(fs, status_handle_of(fi), buf, bytes)) == 0)
			done = bytes;
	} else if ((err = pool_get(fs)) == 0) {
		err = fi->writepage ?
		    io_write_back(fs, handle_of(fi), &c, buf, bytes, (uint64_t)offset, &done) :
		    io_write(fs, handle_of(fi), &c, fi->flags, is_for_cache(fs, fi), buf, bytes,
			(uint64_t)offset, &done, &w);
		pool_put(fs);
		served(fs, REQUEST_WRITE, begun);
	}
	if (w != NULL)
		coherence_reply(fs, w, req, err, done);
	else if (err != 0)
		reply_error(req, err);
	else
		(void)fuse_reply_write(req, done);
}

void
op_fallocate(
    fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t bytes, struct fuse_file_info *fi)
{
	struct node *node = node_at(req, ino);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct written *w = NULL;
	int err = EACCES;

	(void)fi;
	if (in_files(node) && (err = pool_get(fs)) == 0) {
		err = space_allocate(fs, node, &c, mode, (uint64_t)offset, (uint64_t)bytes, &w);
		pool_put(fs);
	}
	if (w != NULL)
		coherence_reply(fs, w, req, err, 0);
	else
		reply_error(req, err);
}

/* What the kernel has of a page that was asked for: the cookie is written.c's. */
void
op_retrieve_reply(
    fuse_req_t req, void *cookie, fuse_ino_t ino, off_t offset, struct fuse_bufvec *bufv)
{
	(void)ino;
	(void)offset;
	coherence_retrieved(
	    fs_of(req), (uint64_t)(uintptr_t)cookie, bufv->buf[0].mem, bufv->buf[0].size);
	fuse_reply_none(req);
}

void
op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct node *node = node_at(req, ino);
	struct fs *fs = fs_of(req);
	off_t result = 0;
	int err;

	(void)fi;
	if (!in_files(node)) {
		err = status_seek(fs, node, (uint64_t)offset, whence, &result);
	} else if ((err = pool_get(fs)) == 0) {
		err = io_seek(fs, node, (uint64_t)offset, whence, &result);
		pool_put(fs);
	}
	if (err != 0)
		reply_error(req, err);
	else
		(void)fuse_reply_lseek(req, result);
}
