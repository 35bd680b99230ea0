/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * full_quota.c - preloaded into the daemon: a disk on which nobody may have blocks behind the first
 * $QUOTA_BYTES of a file.  Who asks for them gets the errno value that the file $QUOTA_ERRNO holds;
 * while there is no such file, there is no quota.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
quota_errno(void)
{
	const char *path = getenv("QUOTA_ERRNO");
	int value = 0;
	FILE *f;

	if (path == NULL || (f = fopen(path, "re")) == NULL)
		return 0;
	if (fscanf(f, "%d", &value) != 1)
		value = 0;
	(void)fclose(f);
	return value;
}

int
fallocate64(int fd, int mode, off64_t offset, off64_t bytes)
{
	const char *quota = getenv("QUOTA_BYTES");
	int refusal;

	if (quota != NULL && (mode & FALLOC_FL_PUNCH_HOLE) == 0 &&
	    offset + bytes > strtoll(quota, NULL, 10) && (refusal = quota_errno()) != 0) {
		errno = refusal;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
}
