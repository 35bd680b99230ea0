/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hang_writes.c - preloaded into the daemon or a client: a disk that takes its time.  The first
 * write to a file whose path ends in $HANG_WRITES, or with HANG_IN_HOLES the first hole that is
 * punched in it before its end, or with HANG_IN_READS the first read, says a line to the pipe
 * $HANG_WRITES_AT and waits for one from $HANG_WRITES_GO before it is done, two minutes at most.
 * With NO_RESERVE no room can be allocated.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "../fd_path.h"

#define WAIT_MSEC 120000

enum where { IN_WRITES, IN_HOLES, IN_READS };

/* Once in a process. */
static int
shall_hang(int fd, enum where in)
{
	const char *name = getenv("HANG_WRITES");
	enum where wanted = getenv("HANG_IN_HOLES") != NULL ? IN_HOLES :
	    getenv("HANG_IN_READS") != NULL		    ? IN_READS :
							      IN_WRITES;
	static int hung;

	return in == wanted && name != NULL && fd_path_ends_in(fd, name) &&
	    !__atomic_exchange_n(&hung, 1, __ATOMIC_SEQ_CST);
}

static void
hang(void)
{
	int at = open(getenv("HANG_WRITES_AT"), O_RDWR | O_CLOEXEC);
	int go = open(getenv("HANG_WRITES_GO"), O_RDWR | O_CLOEXEC);
	struct pollfd p = { .fd = go, .events = POLLIN };
	char line[16];

	(void)!write(at, "here\n", 5);
	if (poll(&p, 1, WAIT_MSEC) == 1)
		(void)!read(go, line, sizeof(line));
	(void)close(at);
	(void)close(go);
}

ssize_t
pwrite64(int fd, const void *buf, size_t bytes, off64_t offset)
{
	if (shall_hang(fd, IN_WRITES))
		hang();
	return syscall(SYS_pwrite64, fd, buf, bytes, offset);
}

int
fallocate64(int fd, int mode, off64_t offset, off64_t bytes)
{
	struct stat64 st;

	if (getenv("NO_RESERVE") != NULL && mode == FALLOC_FL_KEEP_SIZE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if ((mode & FALLOC_FL_PUNCH_HOLE) != 0 && fstat64(fd, &st) == 0 && offset < st.st_size &&
	    shall_hang(fd, IN_HOLES))
		hang();
	return (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
}

ssize_t
preadv64(int fd, const struct iovec *iov, int n, off64_t offset)
{
	if (shall_hang(fd, IN_READS))
		hang();
	return syscall(SYS_preadv, fd, iov, n, (long)offset, 0);
}
