/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/os_path.c - names of files, file handles, and what a file system says of itself.
 *
 * Like os.c: a wrapper asks the fault hook, calls, and turns errno into a return value.
 */
#include "os_path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

int
os_remove(const char *path, bool is_directory)
{
	int ret;

	if ((ret = os_fault(OS_UNLINK, path)) != 0)
		return ret;
	return (is_directory ? rmdir(path) : unlink(path)) == -1 ? errno : 0;
}

int
os_fchmod(int fd, uint32_t mode)
{
	int ret;

	if ((ret = os_fault(OS_TRUNCATE, "")) != 0)
		return ret;
	return fchmod(fd, (mode_t)mode) == -1 ? errno : 0;
}

int
os_rename(const char *from, const char *to)
{
	int ret;

	if ((ret = os_fault(OS_UNLINK, from)) != 0)
		return ret;
	return rename(from, to) == -1 ? errno : 0;
}

int
os_open_beneath(int dirfd, const char *path, int oflags, int *fdp)
{
	struct open_how how = { .flags = (uint64_t)(oflags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	long fd;
	int ret;

	if ((ret = os_fault(OS_OPEN, path)) != 0)
		return ret;
	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd == -1 && (errno == EINTR || errno == EAGAIN));
	if (fd == -1)
		return errno;
	*fdp = (int)fd;
	return 0;
}

bool
os_is_fuse(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

int
os_getxattr(const char *path, const char *name, char *value, size_t room)
{
	ssize_t n;
	int ret;

	if ((ret = os_fault(OS_STAT, path)) != 0)
		return ret;
	if ((n = getxattr(path, name, value, room - 1)) == -1)
		return errno;
	value[n] = '\0';
	return 0;
}

bool
os_has_acl(int fd)
{
	return fgetxattr(fd, "system.posix_acl_access", NULL, 0) >= 0 ||
	    (errno != ENODATA && errno != EOPNOTSUPP);
}

/* --- handles ------------------------------------------------------------------------------- */

union handle_room {
	struct file_handle h;
	char room[sizeof(struct file_handle) + OS_HANDLE_BYTES];
};

void
os_handle_of(int fd, struct os_handle *h)
{
	union handle_room u = { .h = { .handle_bytes = OS_HANDLE_BYTES } };
	int mount_id;

	h->bytes = 0;
	if (name_to_handle_at(fd, "", &u.h, &mount_id, AT_EMPTY_PATH) == -1)
		return;
	h->bytes = u.h.handle_bytes;
	h->type = u.h.handle_type;
	memcpy(h->data, u.h.f_handle, h->bytes);
}

int
os_handle_open(int mount_fd, const struct os_handle *h, int oflags, int *fdp)
{
	union handle_room u = { .h = { .handle_bytes = h->bytes, .handle_type = h->type } };
	int fd, ret;

	if (h->bytes == 0 || h->bytes > OS_HANDLE_BYTES)
		return EINVAL;
	if ((ret = os_fault(OS_OPEN, "")) != 0)
		return ret;
	memcpy(u.h.f_handle, h->data, h->bytes);
	do
		fd = open_by_handle_at(mount_fd, &u.h, oflags | O_CLOEXEC);
	while (fd == -1 && errno == EINTR);
	if (fd == -1)
		return errno;
	*fdp = fd;
	return 0;
}
