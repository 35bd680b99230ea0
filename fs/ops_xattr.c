/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ops_xattr.c - requests on extended attributes.
 *
 * Objects in files/ have HOME's.  The status tree has none, but for one on the mount's root: the
 * daemon's process number, for those who wait for its end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "ops_impl.h"
#include "pool.h"

#define PID_XATTR "user.poolfs.pid"

static int
root_xattr(fuse_ino_t ino, const char *name, char *buf, size_t bytes, size_t *donep)
{
	char pid[16];
	int n;

	if (ino != FUSE_ROOT_ID || strcmp(name, PID_XATTR) != 0)
		return ENODATA;
	n = snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (bytes > 0 && (size_t)n > bytes)
		return ERANGE;
	if (bytes > 0)
		memcpy(buf, pid, (size_t)n);
	*donep = (size_t)n;
	return 0;
}

static void
reply_xattr(fuse_req_t req, int err, const char *buf, size_t room, size_t bytes)
{
	if (err != 0)
		reply_error(req, err);
	else if (room == 0)
		(void)fuse_reply_xattr(req, bytes);
	else
		(void)fuse_reply_buf(req, buf, bytes);
}

void
op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t room)
{
	struct node *node = node_at(req, ino);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	size_t bytes = 0;
	char *buf;
	int err;

	if ((buf = malloc(room + 1)) == NULL)
		err = ENOMEM;
	else if (in_files(node))
		err = files_getxattr(fs, node, &c, name, buf, room, &bytes);
	else
		err = root_xattr(ino, name, buf, room, &bytes);
	reply_xattr(req, err, buf, room, bytes);
	free(buf);
}

void
op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t room)
{
	struct node *node = node_at(req, ino);
	struct caller c = caller_of(req);
	size_t bytes = 0;
	char *buf;
	int err = 0;

	if ((buf = malloc(room + 1)) == NULL)
		err = ENOMEM;
	else if (in_files(node))
		err = files_listxattr(fs_of(req), node, &c, buf, room, &bytes);
	reply_xattr(req, err, buf, room, bytes);
	free(buf);
}

void
op_setxattr(
    fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t bytes, int flags)
{
	struct node *node = node_at(req, ino);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	int err = EPERM;

	if (in_files(node) && (err = pool_get(fs)) == 0) {
		err = files_setxattr(fs, node, &c, name, value, bytes, flags);
		pool_put(fs);
	}
	reply_error(req, err);
}

void
op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct node *node = node_at(req, ino);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	int err = EPERM;

	if (in_files(node) && (err = pool_get(fs)) == 0) {
		err = files_removexattr(fs, node, &c, name);
		pool_put(fs);
	}
	reply_error(req, err);
}
