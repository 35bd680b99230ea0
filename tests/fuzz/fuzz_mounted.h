/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_mounted.h - a struct fs over the fuzz target's directory, which nobody has mounted: what
 * ctl and the warm list work on.
 */
#ifndef TESTS_FUZZ_MOUNTED_H
#define TESTS_FUZZ_MOUNTED_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#include "fs.h"
#include "log.h"

#include <poolfs/env.h>

static inline void
fuzz_write(const char *path, const void *data, size_t bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd == -1 || write(fd, data, bytes) != (ssize_t)bytes || close(fd) != 0)
		abort();
}

static inline struct fs *
fuzz_mounted(void)
{
	static struct fs_options o = { .memory = FS_MEMORY_PRIVATE,
		.cache_bytes = 256 << 10,
		.page_bytes = 4096,
		.dirty_expire = 30,
		.threads = 1 };
	static char home[100], point[100], page[8192];
	static struct fs *fs;

	if (fs != NULL)
		return fs;
	(void)snprintf(home, sizeof(home), "%s/home", fuzz_home());
	(void)snprintf(point, sizeof(point), "%s/mnt", fuzz_home());
	if (mkdir(home, 0700) != 0 || mkdir(point, 0700) != 0)
		abort();
	fuzz_write(fuzz_path("home/a"), page, sizeof(page));
	fuzz_write(fuzz_path("home/b c"), page, 100);
	o.home = home;
	o.mountpoint = point;
	fs_log_hold();
	if (fs_create(&o, &fs) != 0)
		abort();
	return fs;
}

#endif
