/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fail_writes.c - preloaded into the daemon: a disk that fails on demand.  While the file named by
 * $FAIL_WRITES holds a word, writing or fsyncing any file whose path ends in that word is EIO, and
 * each failure adds a byte to the file of that name with ".log" behind it.  After "fsync " only
 * fsyncing is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "../fd_path.h"

#define ONLY_FSYNC "fsync "

static ssize_t
word_get(char *word, size_t bytes)
{
	const char *path = getenv("FAIL_WRITES");
	ssize_t n;
	int fd;

	if (path == NULL || (fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		return 0;
	n = read(fd, word, bytes - 1);
	(void)close(fd);
	if (n > 0)
		word[n] = '\0';
	return n;
}

static void
note_failure(void)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s.log", getenv("FAIL_WRITES"));
	if ((fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) == -1)
		return;
	(void)!write(fd, "x", 1);
	(void)close(fd);
}

static int
must_fail(int fd, int syncs)
{
	char word[256], *end = word;

	if (word_get(word, sizeof(word)) <= 0)
		return 0;
	if (strncmp(word, ONLY_FSYNC, sizeof(ONLY_FSYNC) - 1) == 0) {
		if (!syncs)
			return 0;
		end += sizeof(ONLY_FSYNC) - 1;
	}
	if (!fd_path_ends_in(fd, end))
		return 0;
	note_failure();
	errno = EIO;
	return 1;
}

ssize_t
pwrite64(int fd, const void *buf, size_t bytes, off64_t offset)
{
	return must_fail(fd, 0) ? -1 : syscall(SYS_pwrite64, fd, buf, bytes, offset);
}

int
fsync(int fd)
{
	return must_fail(fd, 1) ? -1 : (int)syscall(SYS_fsync, fd);
}
