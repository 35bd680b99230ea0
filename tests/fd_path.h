/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fd_path.h - which file a descriptor of this process is of.
 */
#ifndef TESTS_FD_PATH_H
#define TESTS_FD_PATH_H

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Its length; -1: there is none. */
static inline ssize_t
fd_path(int fd, char path[PATH_MAX])
{
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if ((n = readlink(link, path, PATH_MAX - 1)) != -1)
		path[n] = '\0';
	return n;
}

static inline int
fd_path_ends_in(int fd, const char *end)
{
	char path[PATH_MAX];
	ssize_t n = fd_path(fd, path);
	size_t bytes = strlen(end);

	return n != -1 && (size_t)n >= bytes && strcmp(path + n - bytes, end) == 0;
}

#endif
