/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ops_dir.c - requests on open directories: those of files/ and of the status tree.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include "files.h"
#include "locks.h"
#include "ops_impl.h"
#include "pool.h"

static struct dir *
dir_of(const struct fuse_file_info *fi)
{
	return (struct dir *)(uintptr_t)fi->fh;
}

static struct status_dir *
status_dir_of(const struct fuse_file_info *fi)
{
	return (struct status_dir *)(uintptr_t)fi->fh;
}

static void
close_dir(struct fs *fs, struct node *node, struct fuse_file_info *fi)
{
	if (in_files(node))
		files_closedir(fs, dir_of(fi));
	else
		status_closedir(status_dir_of(fi));
}

static int
open_dir(fuse_req_t req, struct node *node, struct fuse_file_info *fi)
{
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct status_dir *sd = NULL;
	struct dir *d = NULL;
	int err;

	if (in_files(node)) {
		err = files_opendir(fs, node, &c, &d);
		fi->fh = (uintptr_t)d;
	} else {
		err = status_opendir(fs, node, &sd);
		fi->fh = (uintptr_t)sd;
	}
	return err;
}

void
op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *node = node_at(req, ino);
	int err;

	if ((err = open_dir(req, node, fi)) != 0)
		reply_error(req, err);
	else if (fuse_reply_open(req, fi) != 0)
		close_dir(fs_of(req), node, fi);
}

struct listing {
	fuse_req_t req;
	char *buf;
	size_t bytes, used;
};

static bool
listing_add(void *arg, const char *name, uint64_t ino, unsigned type, off_t next)
{
	struct listing *l = arg;
	struct stat st = { .st_ino = ino, .st_mode = DTTOIF(type) };
	size_t need;

	need = fuse_add_direntry(l->req, l->buf + l->used, l->bytes - l->used, name, &st, next);
	if (need > l->bytes - l->used)
		return false;
	l->used += need;
	return true;
}

void
op_readdir(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset, struct fuse_file_info *fi)
{
	struct node *node = node_at(req, ino);
	struct listing l = { .req = req, .bytes = bytes };
	struct fs *fs = fs_of(req);
	int err;

	if ((l.buf = malloc(bytes)) == NULL) {
		reply_error(req, ENOMEM);
		return;
	}
	if (in_files(node))
		err = files_readdir(fs, dir_of(fi), offset, listing_add, &l);
	else
		err = status_readdir(status_dir_of(fi), offset, listing_add, &l);
	if (err != 0)
		reply_error(req, err);
	else
		(void)fuse_reply_buf(req, l.buf, l.used);
	free(l.buf);
}

void
op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	locks_release(fs_of(req), fi->fh);
	close_dir(fs_of(req), node_at(req, ino), fi);
	reply_error(req, 0);
}

static int
sync_pool(struct fs *fs)
{
	int err = pool_peek(fs) ? pool_sync(fs) : 0;

	pool_put(fs);
	return err;
}

/* On the root it means everything: neither sync(1) nor syncfs(2) reaches a FUSE file system. */
void
op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct node *node = node_at(req, ino);
	struct fs *fs = fs_of(req);
	int err = 0;

	(void)datasync;
	if (in_files(node)) {
		err = files_fsyncdir(dir_of(fi));
	} else if (ino == FUSE_ROOT_ID) {
		/* Removed by force meanwhile: then the next look finds no pool any more. */
		if ((err = sync_pool(fs)) == ESTALE)
			err = sync_pool(fs);
	}
	reply_error(req, err);
}
