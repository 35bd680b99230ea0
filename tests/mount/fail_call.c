/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fail_call.c - preloaded into the daemon: the n-th call of one kind fails, once.
 *
 * Which kind, which call and with what error is in the file $FAIL_CALL, which is mapped and so
 * shared with the test and with every process that the daemon forks: struct order.  A call that
 * fails is not made at all; one that is short (error SHORT) is asked to move half of its bytes.
 * Calls of the daemon and of libfuse are seen, and libc's own of malloc; what else libc does within
 * itself is not.  libfuse's of malloc are left alone: one of them that fails answers a request, of
 * which the daemon never hears, so that what the request would have released stays.
 *
 * Reading requests from /dev/fuse and answering them is left alone: the kernel fails that only when
 * the request is gone.  Of what is written there, notices can fail (NOTICE).
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DEPTH 24
#define SHORT (-1)

/* As faults.py has them. */
enum kind {
	NONE,
	MEMORY,
	OPEN,
	STAT,
	READ,
	WRITE,
	SPACE,
	SYNC,
	NAME,
	ATTRIBUTE,
	LOCK,
	THREAD,
	MAP,
	NOTICE,
	RIGHTS,
	BARRIER,
	KINDS
};

struct order {
	_Atomic uint32_t kind; /* NONE: nothing fails */
	int32_t error;	       /* errno, or SHORT */
	_Atomic int64_t left;  /* calls before the one that fails, and that one */
	_Atomic uint32_t fired;
	uint32_t depth;		       /* of trace */
	_Atomic uint64_t calls[KINDS]; /* so far */
	void *trace[DEPTH];	       /* who made the call that failed, from the inside */
};

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static struct order *order;
static const char *fuse_begin, *fuse_end;				/* libfuse's instructions */
static __thread __attribute__((tls_model("initial-exec"))) bool within; /* a call of this file's */

static int
find_fuse(struct dl_phdr_info *object, size_t bytes, void *arg)
{
	(void)bytes;
	(void)arg;
	if (strstr(object->dlpi_name, "libfuse3") == NULL)
		return 0;
	for (int i = 0; i < object->dlpi_phnum; i++)
		if (object->dlpi_phdr[i].p_flags & PF_X) {
			fuse_begin = (const char *)object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
			fuse_end = fuse_begin + object->dlpi_phdr[i].p_memsz;
		}
	return 1;
}

__attribute__((constructor)) static void
map_order(void)
{
	const char *path = getenv("FAIL_CALL");
	void *first[1], *p;
	int fd;

	if (path == NULL || (fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR)) == -1)
		return;
	p = mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	(void)backtrace(first, 1); /* loads what it needs */
	(void)dl_iterate_phdr(find_fuse, NULL);
	if (p != MAP_FAILED)
		order = p;
}

/* 0: the call shall be made; else the error. */
static int
fate(enum kind kind)
{
	struct order *o = order;

	if (o == NULL || within)
		return 0;
	(void)atomic_fetch_add(&o->calls[kind], 1);
	if (atomic_load(&o->kind) != (uint32_t)kind || atomic_fetch_sub(&o->left, 1) != 1)
		return 0;
	within = true;
	o->depth = (uint32_t)backtrace(o->trace, DEPTH);
	within = false;
	atomic_store(&o->fired, 1);
	return o->error;
}

static bool
fails(enum kind kind)
{
	int error = fate(kind);

	if (error <= 0)
		return false;
	errno = error;
	return true;
}

/* As fails(); *bytes: what the call may move. */
static bool
fails_moving(enum kind kind, size_t *bytes)
{
	int error = fate(kind);

	if (error == SHORT)
		*bytes = (*bytes + 1) / 2;
	if (error <= 0)
		return false;
	errno = error;
	return true;
}

/* libc's own function of this name. */
#define NEXT(name) ((__typeof__(name) *)next_of(#name, &next_##name))
#define DECLARE(name) static void *next_##name

static __typeof__(void (*)(void))
next_of(const char *name, void **kept)
{
	__typeof__(void (*)(void)) function;

	if (*kept == NULL) {
		within = true;
		*kept = dlsym(RTLD_NEXT, name);
		within = false;
	}
	memcpy(&function, kept, sizeof(function));
	return function;
}

/* --- memory -------------------------------------------------------------------------------- */

static bool
no_memory(const char *caller)
{
	return (caller < fuse_begin || caller >= fuse_end) && fails(MEMORY);
}

void *
malloc(size_t size)
{
	return no_memory(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return no_memory(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	return no_memory(__builtin_return_address(0)) ? NULL : __libc_realloc(p, size);
}

DECLARE(mmap64);
DECLARE(shmat);

void *
mmap64(void *at, size_t bytes, int prot, int flags, int fd, off64_t offset)
{
	return fails(MAP) ? MAP_FAILED : NEXT(mmap64)(at, bytes, prot, flags, fd, offset);
}

void *
shmat(int id, const void *at, int flags)
{
	return fails(MAP) ? MAP_FAILED : NEXT(shmat)(id, at, flags);
}

int
shmget(key_t key, size_t bytes, int flags)
{
	return fails(MAP) ? -1 : (int)syscall(SYS_shmget, key, bytes, flags);
}

int
mprotect(void *at, size_t bytes, int prot)
{
	return fails(MAP) ? -1 : (int)syscall(SYS_mprotect, at, bytes, prot);
}

int
madvise(void *at, size_t bytes, int advice)
{
	return fails(MAP) ? -1 : (int)syscall(SYS_madvise, at, bytes, advice);
}

DECLARE(pthread_create);

int
pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg), void *arg)
{
	return fails(THREAD) ? errno : NEXT(pthread_create)(thread, attr, fn, arg);
}

/* --- descriptors --------------------------------------------------------------------------- */

static mode_t
mode_behind(int flags, va_list args)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int
open64(const char *path, int flags, ...)
{
	mode_t mode;
	va_list args;

	va_start(args, flags);
	mode = mode_behind(flags, args);
	va_end(args);
	return fails(OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
openat64(int dirfd, const char *path, int flags, ...)
{
	mode_t mode;
	va_list args;

	va_start(args, flags);
	mode = mode_behind(flags, args);
	va_end(args);
	return fails(OPEN) ? -1 : (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

int
open_by_handle_at(int fd, struct file_handle *handle, int flags)
{
	return fails(OPEN) ? -1 : (int)syscall(SYS_open_by_handle_at, fd, handle, flags);
}

int
pipe2(int fds[2], int flags)
{
	return fails(OPEN) ? -1 : (int)syscall(SYS_pipe2, fds, flags);
}

int
socket(int domain, int type, int protocol)
{
	return fails(OPEN) ? -1 : (int)syscall(SYS_socket, domain, type, protocol);
}

int
socketpair(int domain, int type, int protocol, int fds[2])
{
	return fails(OPEN) ? -1 : (int)syscall(SYS_socketpair, domain, type, protocol, fds);
}

DECLARE(fopen64);
DECLARE(opendir);
DECLARE(scandir64);

FILE *
fopen64(const char *path, const char *mode)
{
	return fails(OPEN) ? NULL : NEXT(fopen64)(path, mode);
}

DIR *
opendir(const char *path)
{
	return fails(OPEN) ? NULL : NEXT(opendir)(path);
}

int
scandir64(const char *path, struct dirent64 ***names, int (*filter)(const struct dirent64 *e),
    int (*compare)(const struct dirent64 **a, const struct dirent64 **b))
{
	return fails(OPEN) ? -1 : NEXT(scandir64)(path, names, filter, compare);
}

/* Giving one back whole needs nothing, and does not fail. */
static bool
asks_for_lock(int command, const struct flock *lock)
{
	return (command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK ||
		   command == F_SETLK || command == F_SETLKW || command == F_GETLK) &&
	    lock->l_type != F_UNLCK;
}

int
fcntl64(int fd, int command, ...)
{
	enum kind kind = NONE;
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		kind = OPEN;
	else if (asks_for_lock(command, arg))
		kind = LOCK;
	return kind != NONE && fails(kind) ? -1 : (int)syscall(SYS_fcntl, fd, command, arg);
}

int
flock(int fd, int operation)
{
	return fails(LOCK) ? -1 : (int)syscall(SYS_flock, fd, operation);
}

int
ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	return fails(STAT) ? -1 : (int)syscall(SYS_ioctl, fd, request, arg);
}

DECLARE(syscall);

/* What has no function in libc. */
long
syscall(long number, ...)
{
	enum kind kind = NONE;
	long a[6];
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_openat2)
		kind = OPEN;
	else if (number == SYS_setgroups)
		kind = RIGHTS;
	else if (number == SYS_membarrier)
		kind = BARRIER;
	if (kind != NONE && fails(kind))
		return -1;
	return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int
unshare(int flags)
{
	return fails(RIGHTS) ? -1 : (int)syscall(SYS_unshare, flags);
}

/* --- looking ------------------------------------------------------------------------------- */

int
statx(int fd, const char *path, int flags, unsigned mask, struct statx *sx)
{
	return fails(STAT) ? -1 : (int)syscall(SYS_statx, fd, path, flags, mask, sx);
}

int
fstat64(int fd, struct stat64 *st)
{
	return fails(STAT) ? -1 : (int)syscall(SYS_fstat, fd, st);
}

int
stat64(const char *path, struct stat64 *st)
{
	return fails(STAT) ? -1 : (int)syscall(SYS_newfstatat, AT_FDCWD, path, st, 0);
}

int
fstatat64(int fd, const char *path, struct stat64 *st, int flags)
{
	return fails(STAT) ? -1 : (int)syscall(SYS_newfstatat, fd, path, st, flags);
}

DECLARE(fstatvfs64);

int
fstatvfs64(int fd, struct statvfs64 *st)
{
	return fails(STAT) ? -1 : NEXT(fstatvfs64)(fd, st);
}

int
fstatfs64(int fd, struct statfs64 *st)
{
	return fails(STAT) ? -1 : (int)syscall(SYS_fstatfs, fd, st);
}

ssize_t
readlinkat(int fd, const char *path, char *text, size_t bytes)
{
	return fails(STAT) ? -1 : syscall(SYS_readlinkat, fd, path, text, bytes);
}

ssize_t
readlink(const char *path, char *text, size_t bytes)
{
	return fails(STAT) ? -1 : syscall(SYS_readlink, path, text, bytes);
}

DECLARE(faccessat);

int
faccessat(int fd, const char *path, int mode, int flags)
{
	return fails(STAT) ? -1 : NEXT(faccessat)(fd, path, mode, flags);
}

ssize_t
getxattr(const char *path, const char *name, void *value, size_t bytes)
{
	return fails(STAT) ? -1 : syscall(SYS_getxattr, path, name, value, bytes);
}

ssize_t
fgetxattr(int fd, const char *name, void *value, size_t bytes)
{
	return fails(STAT) ? -1 : syscall(SYS_fgetxattr, fd, name, value, bytes);
}

ssize_t
listxattr(const char *path, char *names, size_t bytes)
{
	return fails(STAT) ? -1 : syscall(SYS_listxattr, path, names, bytes);
}

int
name_to_handle_at(int fd, const char *path, struct file_handle *handle, int *mount, int flags)
{
	return fails(STAT) ? -1 :
			     (int)syscall(SYS_name_to_handle_at, fd, path, handle, mount, flags);
}

off64_t
lseek64(int fd, off64_t offset, int whence)
{
	return fails(STAT) ? -1 : syscall(SYS_lseek, fd, offset, whence);
}

/* --- bytes --------------------------------------------------------------------------------- */

ssize_t
pread64(int fd, void *buf, size_t bytes, off64_t offset)
{
	return fails_moving(READ, &bytes) ? -1 : syscall(SYS_pread64, fd, buf, bytes, offset);
}

DECLARE(preadv64);

ssize_t
preadv64(int fd, const struct iovec *iov, int n, off64_t offset)
{
	size_t vectors = (size_t)n;

	return fails_moving(READ, &vectors) ? -1 : NEXT(preadv64)(fd, iov, (int)vectors, offset);
}

ssize_t
getdents64(int fd, void *buf, size_t bytes)
{
	return fails(READ) ? -1 : syscall(SYS_getdents64, fd, buf, bytes);
}

ssize_t
pwrite64(int fd, const void *buf, size_t bytes, off64_t offset)
{
	return fails_moving(WRITE, &bytes) ? -1 : syscall(SYS_pwrite64, fd, buf, bytes, offset);
}

static bool
is_notice(const struct iovec *iov)
{
	const struct fuse_out_header *head = iov->iov_base;

	return iov->iov_len == sizeof(*head) && head->unique == 0;
}

ssize_t
writev(int fd, const struct iovec *iov, int n)
{
	return is_notice(iov) && fails(NOTICE) ? -1 : syscall(SYS_writev, fd, iov, n);
}

int
fallocate64(int fd, int mode, off64_t offset, off64_t bytes)
{
	return fails(SPACE) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
}

int
ftruncate64(int fd, off64_t bytes)
{
	return fails(SPACE) ? -1 : (int)syscall(SYS_ftruncate, fd, bytes);
}

int
fsync(int fd)
{
	return fails(SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int
syncfs(int fd)
{
	return fails(SYNC) ? -1 : (int)syscall(SYS_syncfs, fd);
}

/* --- names --------------------------------------------------------------------------------- */

int
mkdirat(int fd, const char *path, mode_t mode)
{
	return fails(NAME) ? -1 : (int)syscall(SYS_mkdirat, fd, path, mode);
}

int
mknodat(int fd, const char *path, mode_t mode, dev_t dev)
{
	return fails(NAME) ? -1 : (int)syscall(SYS_mknodat, fd, path, mode, dev);
}

int
symlinkat(const char *text, int fd, const char *path)
{
	return fails(NAME) ? -1 : (int)syscall(SYS_symlinkat, text, fd, path);
}

int
symlink(const char *text, const char *path)
{
	return fails(NAME) ? -1 : (int)syscall(SYS_symlink, text, path);
}

int
linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	return fails(NAME) ? -1 : (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	return fails(NAME) ? -1 : (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int
rename(const char *from, const char *to)
{
	return fails(NAME) ? -1 : (int)syscall(SYS_rename, from, to);
}

int
unlinkat(int fd, const char *path, int flags)
{
	return fails(NAME) ? -1 : (int)syscall(SYS_unlinkat, fd, path, flags);
}

int
unlink(const char *path)
{
	return fails(NAME) ? -1 : (int)syscall(SYS_unlink, path);
}

DECLARE(fchmodat);

int
fchmodat(int fd, const char *path, mode_t mode, int flags)
{
	return fails(ATTRIBUTE) ? -1 : NEXT(fchmodat)(fd, path, mode, flags);
}

int
fchmod(int fd, mode_t mode)
{
	return fails(ATTRIBUTE) ? -1 : (int)syscall(SYS_fchmod, fd, mode);
}

int
fchownat(int fd, const char *path, uid_t uid, gid_t gid, int flags)
{
	return fails(ATTRIBUTE) ? -1 : (int)syscall(SYS_fchownat, fd, path, uid, gid, flags);
}

int
utimensat(int fd, const char *path, const struct timespec times[2], int flags)
{
	return fails(ATTRIBUTE) ? -1 : (int)syscall(SYS_utimensat, fd, path, times, flags);
}

int
futimens(int fd, const struct timespec times[2])
{
	return fails(ATTRIBUTE) ? -1 : (int)syscall(SYS_utimensat, fd, NULL, times, 0);
}

int
setxattr(const char *path, const char *name, const void *value, size_t bytes, int flags)
{
	return fails(ATTRIBUTE) ? -1 : (int)syscall(SYS_setxattr, path, name, value, bytes, flags);
}

int
removexattr(const char *path, const char *name)
{
	return fails(ATTRIBUTE) ? -1 : (int)syscall(SYS_removexattr, path, name);
}
