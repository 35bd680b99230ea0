/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ops_xattr.c - requests on extended attributes.
 *
 * Objects in files/ have HOME's.  The status tree has none, but for those on the mount's root that
 * say who serves it, for those who wait for its end: the process number, the PID namespace in
 * which it means something, and the byte of HOME that the daemon keeps locked until it ends.  Any
 * object says which region it is served from, one in files/ its path in HOME besides: the library
 * asks for these when it is given a path that leads through a mount.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "ops_impl.h"
#include "pool.h"

static int
own_pid(struct fs *fs, uint64_t *np)
{
	(void)fs;
	*np = (uint64_t)getpid();
	return 0;
}

static int
own_namespace(struct fs *fs, uint64_t *np)
{
	struct stat st;

	(void)fs;
	if (stat("/proc/self/ns/pid", &st) == -1)
		return ENODATA;
	*np = st.st_ino;
	return 0;
}

static int
own_byte(struct fs *fs, uint64_t *np)
{
	*np = fs->home_byte;
	return fs->home_byte != 0 ? 0 : ENODATA;
}

static const struct {
	const char *name;
	int (*ask)(struct fs *fs, uint64_t *np);
} root_xattrs[] = {
	{ "user.poolfs.pid", own_pid },
	{ "user.poolfs.pid_namespace", own_namespace },
	{ "user.poolfs.home_byte", own_byte },
};

static int
root_xattr(struct fs *fs, const char *name, char *buf, size_t bytes, size_t *donep)
{
	int n, err = ENODATA;
	uint64_t value = 0;
	char text[24];

	for (size_t i = 0; i < sizeof(root_xattrs) / sizeof(root_xattrs[0]); i++)
		if (strcmp(name, root_xattrs[i].name) == 0)
			err = root_xattrs[i].ask(fs, &value);
	if (err != 0)
		return err;
	n = snprintf(text, sizeof(text), "%" PRIu64, value);
	if (bytes > 0 && (size_t)n > bytes)
		return ERANGE;
	if (bytes > 0)
		memcpy(buf, text, (size_t)n);
	*donep = (size_t)n;
	return 0;
}

#define OWN_XATTRS "user.poolfs."

/* The pool's region, as text; "-" while there is none. */
static void
region_text(struct fs *fs, char text[])
{
	(void)strcpy(text, "-");
	if (pool_peek(fs))
		(void)snprintf(text, PATH_MAX, "%016" PRIx64,
		    mpool_region(fs->pool)->layout->region_id);
	pool_put(fs);
}

/* The absolute path in HOME of an object in files/. */
static int
path_text(struct fs *fs, struct node *node, char text[])
{
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	err = node_path(fs, fd, text);
	node_fd_put(fs, node);
	return err;
}

static int
object_xattr(struct fs *fs, struct node *node, const char *name, char *buf, size_t bytes,
    size_t *donep)
{
	char text[PATH_MAX];
	int err = ENODATA;

	if (strcmp(name, OWN_XATTRS "region") == 0) {
		region_text(fs, text);
		err = 0;
	} else if (in_files(node) && strcmp(name, OWN_XATTRS "path") == 0)
		err = path_text(fs, node, text);
	if (err != 0)
		return err;
	*donep = strlen(text);
	if (bytes > 0 && *donep > bytes)
		return ERANGE;
	if (bytes > 0)
		memcpy(buf, text, *donep);
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
	else if (strncmp(name, OWN_XATTRS, strlen(OWN_XATTRS)) == 0) {
		err = object_xattr(fs, node, name, buf, room, &bytes);
		if (err == ENODATA && ino == FUSE_ROOT_ID)
			err = root_xattr(fs, name, buf, room, &bytes);
	} else
		err = in_files(node) ? files_getxattr(fs, node, &c, name, buf, room, &bytes) :
				       ENODATA;
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
