/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lacking_home.c - preloaded into the daemon: a HOME on a filesystem, as there are on networks,
 * that has no birth times, no file handles, no files without a name, and cannot allocate.  Nor are
 * there locks for what lies below $LACKING_LOCKS.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../fd_path.h"

int
statx(int fd, const char *path, int flags, unsigned mask, struct statx *sx)
{
	int ret = (int)syscall(SYS_statx, fd, path, flags, mask & ~STATX_BTIME, sx);

	if (ret == 0) {
		sx->stx_mask &= ~STATX_BTIME;
		sx->stx_btime.tv_sec = 0;
		sx->stx_btime.tv_nsec = 0;
	}
	return ret;
}

int
fallocate64(int fd, int mode, off64_t offset, off64_t bytes)
{
	(void)fd;
	(void)mode;
	(void)offset;
	(void)bytes;
	errno = EOPNOTSUPP;
	return -1;
}

int
name_to_handle_at(int fd, const char *path, struct file_handle *handle, int *mount, int flags)
{
	(void)fd;
	(void)path;
	(void)handle;
	(void)mount;
	(void)flags;
	errno = EOPNOTSUPP;
	return -1;
}

int
openat64(int dirfd, const char *path, int flags, ...)
{
	mode_t mode;
	va_list args;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if ((flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

static int
is_without_locks(int fd)
{
	const char *top = getenv("LACKING_LOCKS");
	char path[PATH_MAX];

	return top != NULL && fd_path(fd, path) != -1 && strncmp(path, top, strlen(top)) == 0;
}

int
fcntl64(int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	if ((command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK) &&
	    is_without_locks(fd)) {
		errno = ENOLCK;
		return -1;
	}
	return (int)syscall(SYS_fcntl, fd, command, arg);
}
