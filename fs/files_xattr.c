/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/files_xattr.c - extended attributes of objects in the files/ tree, ACLs among them.
 *
 * The calls take a path, and the path is the object's descriptor in /proc/self/fd: it leads to
 * the object itself, a symbolic link included.
 */
#include "files.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "state.h"

static int
result(ssize_t n, size_t *donep)
{
	if (n == -1)
		return errno;
	*donep = (size_t)n;
	return 0;
}

int
files_getxattr(struct fs *fs, struct node *node, const struct caller *c, const char *name,
    char *buf, size_t bytes, size_t *donep)
{
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	if ((err = identity_enter(c)) == 0) {
		err = result(getxattr(fd_proc_path(fd).text, name, buf, bytes), donep);
		identity_leave();
	}
	node_fd_put(fs, node);
	return err;
}

/*
 * Names that only the privileged may see.  The kernel hides them from who asks it, and that is the
 * daemon: of this capability the filesystem ids take nothing away.
 */
static size_t
drop_trusted(char *names, size_t bytes)
{
	size_t kept = 0, n;

	for (size_t at = 0; at < bytes; at += n) {
		n = strnlen(names + at, bytes - at - 1) + 1;
		if (strncmp(names + at, "trusted.", strlen("trusted.")) == 0)
			continue;
		memmove(names + kept, names + at, n);
		kept += n;
	}
	return kept;
}

int
files_listxattr(struct fs *fs, struct node *node, const struct caller *c, char *buf, size_t bytes,
    size_t *donep)
{
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	if ((err = identity_enter(c)) == 0) {
		err = result(listxattr(fd_proc_path(fd).text, buf, bytes), donep);
		identity_leave();
	}
	node_fd_put(fs, node);
	if (err == 0 && bytes > 0 && c->uid != 0)
		*donep = drop_trusted(buf, *donep);
	return err;
}

/* value NULL: remove it. */
static int
change_xattr(struct fs *fs, struct node *node, const struct caller *c, const char *name,
    const char *value, size_t bytes, int flags)
{
	struct file *f;
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	if ((err = file_change_begin(fs, node, &f)) == 0) {
		struct fd_name path = fd_proc_path(fd);
		int ret;

		if ((err = identity_enter(c)) == 0) {
			if (value != NULL)
				ret = setxattr(path.text, name, value, bytes, flags);
			else
				ret = removexattr(path.text, name);
			err = ret == -1 ? errno : 0;
			identity_leave();
		}
		file_change_end(fs, f);
	}
	node_fd_put(fs, node);
	return err;
}

int
files_setxattr(struct fs *fs, struct node *node, const struct caller *c, const char *name,
    const char *value, size_t bytes, int flags)
{
	return change_xattr(fs, node, c, name, value != NULL ? value : "", bytes, flags);
}

int
files_removexattr(struct fs *fs, struct node *node, const struct caller *c, const char *name)
{
	return change_xattr(fs, node, c, name, NULL, 0, 0);
}
