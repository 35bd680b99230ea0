/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replace_created.c - preloaded into the daemon: a file that it creates under the name "replaced"
 * has another file, "other", moved over it before the creating call returns; a directory that it
 * makes under the name "remade" is removed before that, and made by somebody else once the daemon
 * has not found it.  So what can happen between two system calls happens every time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
open_and_replace(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);

	if (fd != -1 && (flags & O_CREAT) && strcmp(path, "replaced") == 0)
		(void)renameat(dirfd, "other", dirfd, "replaced");
	return fd;
}

static mode_t
mode_of(int flags, va_list args)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int
openat(int dirfd, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = mode_of(flags, args);
	va_end(args);
	return open_and_replace(dirfd, path, flags, mode);
}

static int is_removed;

int
mkdirat(int dirfd, const char *path, mode_t mode)
{
	int ret = (int)syscall(SYS_mkdirat, dirfd, path, mode);

	if (ret == 0 && strcmp(path, "remade") == 0)
		is_removed = unlinkat(dirfd, path, AT_REMOVEDIR) == 0;
	return ret;
}

int
statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *sx)
{
	int ret = (int)syscall(SYS_statx, dirfd, path, flags, mask, sx);

	if (ret == -1 && is_removed && strcmp(path, "remade") == 0) {
		is_removed = 0;
		(void)syscall(SYS_mkdirat, dirfd, path, 0755);
		errno = ENOENT;
	}
	return ret;
}
