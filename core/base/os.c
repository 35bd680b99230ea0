/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/os.c - every system call of core: files, mappings, byte locks, futexes, the fork counter.
 *
 * A wrapper asks the fault hook, calls, restarts after a signal, and turns errno into a return
 * value; there is no policy here.  What only looks at the machine (clocks, the boot id, memory)
 * is in machine.c and has no hook, because nothing depends on its failing.
 *
 * The fork counter is raised by a handler that runs in the child, before fork(2) returns there.
 */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LOCK_SLEEP_MIN_USEC 50
#define LOCK_SLEEP_MAX_USEC 2000

int (*os_fault_hook)(enum os_call call, const char *what);

unsigned os_forks;

static void
count_fork(void)
{
	os_forks++;
}

__attribute__((constructor)) static void
watch_forks(void)
{
	(void)pthread_atfork(NULL, NULL, count_fork);
}

/* As os_fault(); *mostp: what the first call may move, not more than bytes. */
static int
fault_moving(enum os_call call, size_t bytes, size_t *mostp)
{
	int ret = os_fault_hook == NULL ? 0 : os_fault_hook(call, "");

	*mostp = ret == OS_SHORT ? (bytes + 1) / 2 : bytes;
	return ret > 0 ? ret : 0;
}

/* --- files --------------------------------------------------------------------------------- */

int
os_open(const char *path, int oflags, mode_t mode, int *fdp)
{
	int fd, ret;

	if ((ret = os_fault(OS_OPEN, path)) != 0)
		return ret;
	do
		fd = open(path, oflags | O_CLOEXEC, mode);
	while (fd == -1 && errno == EINTR);
	if (fd == -1)
		return errno;
	*fdp = fd;
	return 0;
}

void
os_close(int fd)
{
	int saved = errno;

	if (fd == -1)
		return;
	(void)os_fault(OS_CLOSE, "");
	/* Linux has freed the descriptor even when it says EINTR. */
	(void)close(fd);
	errno = saved;
}

/* A file's times may lie outside of what 64 bits of nanoseconds hold. */
static int64_t
to_nsec(const struct statx_timestamp *t)
{
	int64_t nsec;

	if (__builtin_mul_overflow(t->tv_sec, (int64_t)1000000000, &nsec) ||
	    __builtin_add_overflow(nsec, (int64_t)t->tv_nsec, &nsec))
		return t->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return nsec;
}

static int
stat_at(int fd, const char *path, int flags, struct os_stat *st)
{
	struct statx sx;
	int ret;

	if ((ret = os_fault(OS_STAT, path)) != 0)
		return ret;
	while (statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &sx) == -1)
		if (errno != EINTR)
			return errno;
	*st = (struct os_stat){
		.ident = { .dev = makedev(sx.stx_dev_major, sx.stx_dev_minor),
		    .ino = sx.stx_ino,
		    .btime_nsec = sx.stx_mask & STATX_BTIME ? to_nsec(&sx.stx_btime) : 0 },
		.mode = sx.stx_mode,
		.nlink = sx.stx_nlink,
		.uid = sx.stx_uid,
		.gid = sx.stx_gid,
		.size = sx.stx_size,
		.mtime_nsec = to_nsec(&sx.stx_mtime),
		.ctime_nsec = to_nsec(&sx.stx_ctime),
	};
	return 0;
}

int
os_fstat(int fd, struct os_stat *st)
{
	return stat_at(fd, "", AT_EMPTY_PATH, st);
}

int
os_fstat_ident(int fd, struct os_stat *st)
{
	int ret = os_fstat(fd, st);
	long generation = 0;

	if (ret == 0 && st->ident.btime_nsec == 0 && S_ISREG(st->mode) &&
	    ioctl(fd, FS_IOC_GETVERSION, &generation) == 0)
		st->ident.btime_nsec = -1 - (int64_t)(uint32_t)generation;
	return ret;
}

int
os_stat(const char *path, struct os_stat *st)
{
	return stat_at(AT_FDCWD, path, 0, st);
}

int
os_lstat(const char *path, struct os_stat *st)
{
	return stat_at(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, st);
}

int
os_ftruncate(int fd, uint64_t bytes)
{
	int ret;

	if ((ret = os_fault(OS_TRUNCATE, "")) != 0)
		return ret;
	if (bytes > INT64_MAX)
		return EFBIG;
	while (ftruncate(fd, (off_t)bytes) == -1)
		if (errno != EINTR)
			return errno;
	return 0;
}

int
os_fallocate(int fd, uint64_t offset, uint64_t bytes)
{
	int ret;

	if ((ret = os_fault(OS_ALLOCATE, "")) != 0)
		return ret;
	if (offset > INT64_MAX || bytes > INT64_MAX)
		return EFBIG;
	while (fallocate(fd, 0, (off_t)offset, (off_t)bytes) == -1)
		if (errno != EINTR)
			return errno;
	return 0;
}

int
os_fsync(int fd)
{
	int ret;

	if ((ret = os_fault(OS_FSYNC, "")) != 0)
		return ret;
	while (fsync(fd) == -1)
		if (errno != EINTR)
			return errno;
	return 0;
}

int
os_syncfs(int fd)
{
	int ret;

	if ((ret = os_fault(OS_FSYNC, "syncfs")) != 0)
		return ret;
	while (syncfs(fd) == -1)
		if (errno != EINTR)
			return errno;
	return 0;
}

int
os_futimens(int fd, int64_t mtime_nsec)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	int ret;

	if ((ret = os_fault(OS_STAT, "")) != 0)
		return ret;
	times[1].tv_sec = mtime_nsec / 1000000000;
	times[1].tv_nsec = mtime_nsec % 1000000000;
	if (times[1].tv_nsec < 0) {
		times[1].tv_nsec += 1000000000;
		times[1].tv_sec--;
	}
	return futimens(fd, times) == -1 ? errno : 0;
}

int
os_symlink(const char *text, const char *path)
{
	int ret;

	if ((ret = os_fault(OS_OPEN, path)) != 0)
		return ret;
	return symlink(text, path) == -1 ? errno : 0;
}

int
os_readlink(const char *path, char *text, size_t bytes)
{
	ssize_t n;
	int ret;

	if ((ret = os_fault(OS_STAT, path)) != 0)
		return ret;
	if ((n = readlink(path, text, bytes)) == -1)
		return errno;
	if ((size_t)n >= bytes)
		return ENAMETOOLONG;
	text[n] = '\0';
	return 0;
}

int
os_unlink(const char *path)
{
	int ret;

	if ((ret = os_fault(OS_UNLINK, path)) != 0)
		return ret;
	return unlink(path) == -1 ? errno : 0;
}

/* --- bytes --------------------------------------------------------------------------------- */

/* most: of the first call. */
static int
pread_all(int fd, void *buf, size_t bytes, size_t most, uint64_t offset, size_t *donep)
{
	size_t done = 0;

	for (; done < bytes; most = bytes - done) {
		ssize_t n = pread(fd, (char *)buf + done, most, (off_t)(offset + done));

		if (n == 0)
			break;
		if (n > 0)
			done += (size_t)n;
		else if (errno != EINTR)
			return errno;
	}
	*donep = done;
	return 0;
}

int
os_pread(int fd, void *buf, size_t bytes, uint64_t offset, size_t *donep)
{
	size_t most;
	int ret;

	if ((ret = fault_moving(OS_PREAD, bytes, &most)) != 0)
		return ret;
	return pread_all(fd, buf, bytes, most, offset, donep);
}

/*
 * One preadv(2), and what it leaves of the buffer in which it stopped.  Advances *iovp and *niovp
 * over the buffers that are full; *endp: the file ends here.
 */
static int
preadv_some(
    int fd, const struct iovec **iovp, int *niovp, uint64_t offset, size_t *bytesp, bool *endp)
{
	const struct iovec *iov = *iovp, *last = iov + *niovp;
	size_t got, rest = 0;
	ssize_t n;
	int ret;

	do
		n = preadv(fd, iov, *niovp < IOV_MAX ? *niovp : IOV_MAX, (off_t)offset);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		return errno;
	for (got = (size_t)n; iov < last && iov->iov_len <= got; iov++)
		got -= iov->iov_len;
	if (got > 0) {
		if ((ret = pread_all(fd, (char *)iov->iov_base + got, iov->iov_len - got,
			 iov->iov_len - got, offset + (uint64_t)n, &rest)) != 0)
			return ret;
		*endp = got + rest < iov->iov_len;
		iov++;
	} else
		*endp = n == 0;
	*bytesp = (size_t)n + rest;
	*niovp = (int)(last - iov);
	*iovp = iov;
	return 0;
}

int
os_preadv(int fd, const struct iovec *iov, int niov, uint64_t offset, size_t *donep)
{
	size_t done = 0, bytes = 0;
	bool end = false;
	int ret;

	if ((ret = os_fault(OS_PREAD, "")) != 0)
		return ret;
	while (niov > 0 && !end) {
		if ((ret = preadv_some(fd, &iov, &niov, offset + done, &bytes, &end)) != 0)
			return ret;
		done += bytes;
	}
	*donep = done;
	return 0;
}

int
os_pwrite(int fd, const void *buf, size_t bytes, uint64_t offset)
{
	size_t done = 0, most;
	int ret;

	if ((ret = fault_moving(OS_PWRITE, bytes, &most)) != 0)
		return ret;
	for (; done < bytes; most = bytes - done) {
		ssize_t n = pwrite(fd, (const char *)buf + done, most, (off_t)(offset + done));

		if (n == 0)
			return EIO;
		if (n > 0)
			done += (size_t)n;
		else if (errno != EINTR)
			return errno;
	}
	return 0;
}

/* --- memory (mappings are in os_map.c) ------------------------------------------------------- */

int
os_malloc(size_t size, void **pp)
{
	void *p;
	int ret;

	if ((ret = os_fault(OS_MALLOC, "")) != 0)
		return ret;
	if ((p = malloc(size)) == NULL)
		return ENOMEM;
	*pp = p;
	return 0;
}

int
os_calloc(size_t n, size_t size, void **pp)
{
	void *p;
	int ret;

	if ((ret = os_fault(OS_MALLOC, "")) != 0)
		return ret;
	if ((p = calloc(n, size)) == NULL)
		return ENOMEM;
	*pp = p;
	return 0;
}

/* --- locks on bytes ------------------------------------------------------------------------ */

static int
lock_fcntl(int fd, int command, short type, uint64_t *byte, uint64_t n, bool *takenp)
{
	struct flock fl = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)*byte, .l_len = (off_t)n
	};

	while (fcntl(fd, command, &fl) == -1)
		if (errno != EINTR)
			return errno == EACCES ? EAGAIN : errno;
	if (takenp != NULL)
		*takenp = fl.l_type != F_UNLCK;
	*byte = (uint64_t)fl.l_start;
	return 0;
}

int
os_flock_try(int fd, bool exclusive)
{
	int ret;

	if ((ret = os_fault(OS_LOCK, "")) != 0)
		return ret;
	while (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == -1)
		if (errno != EINTR)
			return errno == EWOULDBLOCK ? EAGAIN : errno;
	return 0;
}

int
os_lock_try(int fd, uint64_t byte)
{
	int ret;

	if ((ret = os_fault(OS_LOCK, "")) != 0)
		return ret;
	return lock_fcntl(fd, F_OFD_SETLK, F_WRLCK, &byte, 1, NULL);
}

int
os_lock_share(int fd, uint64_t byte)
{
	int ret;

	if ((ret = os_fault(OS_LOCK, "")) != 0)
		return ret;
	return lock_fcntl(fd, F_OFD_SETLK, F_RDLCK, &byte, 1, NULL);
}

static int
lock_poll(int fd, short type, uint64_t byte, unsigned msec_most)
{
	uint64_t end = os_monotonic_usec() + (uint64_t)msec_most * 1000;
	unsigned pause = LOCK_SLEEP_MIN_USEC;
	int ret;

	if ((ret = os_fault(OS_LOCK, "")) != 0)
		return ret;
	while ((ret = lock_fcntl(fd, F_OFD_SETLK, type, &byte, 1, NULL)) == EAGAIN) {
		if (os_monotonic_usec() >= end)
			return EAGAIN;
		os_sleep_usec(pause);
		pause = pause * 2 < LOCK_SLEEP_MAX_USEC ? pause * 2 : LOCK_SLEEP_MAX_USEC;
	}
	return ret;
}

int
os_lock_wait(int fd, uint64_t byte, unsigned msec_most)
{
	return lock_poll(fd, F_WRLCK, byte, msec_most);
}

int
os_lock_share_wait(int fd, uint64_t byte, unsigned msec_most)
{
	return lock_poll(fd, F_RDLCK, byte, msec_most);
}

int
os_lock_find(int fd, uint64_t first, uint64_t n, bool *takenp, uint64_t *bytep)
{
	int ret;

	if ((ret = os_fault(OS_LOCK, "")) != 0 ||
	    (ret = lock_fcntl(fd, F_OFD_GETLK, F_WRLCK, &first, n, takenp)) != 0)
		return ret;
	*bytep = first;
	return 0;
}

int
os_lock_test_range(int fd, uint64_t first, uint64_t n, bool *takenp)
{
	return os_lock_find(fd, first, n, takenp, &first);
}

int
os_lock_test(int fd, uint64_t byte, bool *takenp)
{
	return os_lock_test_range(fd, byte, 1, takenp);
}

void
os_unlock(int fd, uint64_t byte)
{
	(void)lock_fcntl(fd, F_OFD_SETLK, F_UNLCK, &byte, 1, NULL);
}

/* --- waiting ------------------------------------------------------------------------------- */

void
os_futex_wait(const uint32_t *word, uint32_t expected, unsigned usec)
{
	struct timespec most = { .tv_sec = usec / 1000000,
		.tv_nsec = (long)(usec % 1000000) * 1000 };
	int saved = errno;

	(void)syscall(SYS_futex, word, FUTEX_WAIT, expected, &most, NULL, 0);
	errno = saved;
}

void
os_futex_wake(const uint32_t *word)
{
	int saved = errno;

	(void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	errno = saved;
}

int
os_thread_start(pthread_t *threadp, void *(*fn)(void *arg), void *arg)
{
	sigset_t all, old;
	int ret;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(threadp, NULL, fn, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}
