/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/os.h - every system call of core, in one place.
 *
 * Each returns 0 or a positive errno value, restarts after EINTR, and asks the fault hook first,
 * so that a test can make the n-th call of a kind fail, delay it, or kill the process there.
 */
#ifndef BASE_OS_H
#define BASE_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

enum os_call {
	OS_OPEN,
	OS_CLOSE,
	OS_PREAD,
	OS_PWRITE,
	OS_TRUNCATE,
	OS_ALLOCATE,
	OS_FSYNC,
	OS_STAT,
	OS_UNLINK,
	OS_MAP,
	OS_LOCK,
	OS_MALLOC,
	OS_SHM,
	OS_BARRIER, /* that of other processes */
	OS_CALLS
};

/*
 * NULL, or called before each system call with its kind and what it is about (a path or "").  A
 * positive return value is injected as the call's errno; 0 lets it go on; OS_SHORT lets a read or
 * a write move half of its bytes at first.  Set before threads start.
 */
#define OS_SHORT (-2)
extern int (*os_fault_hook)(enum os_call call, const char *what);

/* Asks the hook for a call that cannot be a short one: 0, or the errno to return. */
static inline int
os_fault(enum os_call call, const char *what)
{
	int ret = os_fault_hook == NULL ? 0 : os_fault_hook(call, what);

	return ret > 0 ? ret : 0;
}

/* Who a file is: equal idents are the same file, also across hard links. */
struct os_ident {
	uint64_t dev;
	uint64_t ino;
	int64_t btime_nsec; /* birth time; where there is none see os_fstat_ident, else 0 */
};

/* Can these be births of one file?  Not everybody who looks at a file is told when it was born. */
static inline bool
os_births_agree(int64_t a, int64_t b)
{
	return a == b || a == 0 || b == 0;
}

/* What stat(2) says, as far as core cares. */
struct os_stat {
	struct os_ident ident;
	uint32_t mode;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint64_t size; /* bytes */
	int64_t mtime_nsec;
	int64_t ctime_nsec;
};

int os_open(const char *path, int oflags, mode_t mode, int *fdp); /* O_CLOEXEC is added */
void os_close(int fd);						  /* -1 is ignored */
int os_fstat(int fd, struct os_stat *st);
/* Instead of a birth time that there is not, a file's generation, below 0; 0 if that is unknown. */
int os_fstat_ident(int fd, struct os_stat *st);
int os_stat(const char *path, struct os_stat *st); /* follows symbolic links */
int os_lstat(const char *path, struct os_stat *st);
int os_symlink(const char *text, const char *path);
int os_readlink(const char *path, char *text, size_t bytes); /* as a string; ENAMETOOLONG */
int os_ftruncate(int fd, uint64_t bytes);
int os_fallocate(int fd, uint64_t offset, uint64_t bytes); /* allocates for real; ENOSPC here */
int os_fsync(int fd);
int os_syncfs(int fd); /* all of the file system that fd is on; asked for as OS_FSYNC */
int os_futimens(int fd, int64_t mtime_nsec); /* mtime only; atime is left */
int os_unlink(const char *path);

/* Read up to bytes; *donep is less only at the end of the file. */
int os_pread(int fd, void *buf, size_t bytes, uint64_t offset, size_t *donep);
int os_preadv(int fd, const struct iovec *iov, int niov, uint64_t offset, size_t *donep);
/* Write all of it. */
int os_pwrite(int fd, const void *buf, size_t bytes, uint64_t offset);

/*
 * Shared mapping of fd, or (fd -1) private zeroed memory; aligned to align bytes (a power of
 * two).
 */
int os_map(int fd, size_t bytes, size_t align, void **addrp);
/* The first bytes of a file, shared, to be read only.  os_unmap. */
int os_map_readonly(int fd, size_t bytes, void **addrp);
void os_unmap(void *addr, size_t bytes);

/*
 * Address space of bytes at a multiple of align, that nothing may touch before os_map_open has
 * made it private zeroed memory, from its beginning on.  ENOMEM: that is counted against.
 */
int os_map_reserve(size_t bytes, size_t align, void **addrp);
int os_map_open(void *addr, size_t bytes);

/*
 * Give the memory of whole pages back; they are zeros from now on.  Of a shared mapping (of a file,
 * or a segment) everybody's; EOPNOTSUPP where the file system cannot.
 */
int os_map_release(void *addr, size_t bytes, bool shared);

/* Ask for huge pages.  0 says nothing about getting them: os_huge_pages_granted. */
int os_map_huge(void *addr, size_t bytes);

/*
 * Give each page of a mapping its memory now: ENOMEM or ENOSPC instead of a signal at some later
 * store.  What is in it stays.
 */
int os_populate(void *addr, size_t bytes);

/* Of this part of a mapping single pages are used: the kernel shall not bring neighbours along. */
void os_scattered(void *addr, size_t bytes);
/* Not so, after all. */
void os_not_scattered(void *addr, size_t bytes);

int os_malloc(size_t size, void **pp); /* ENOMEM */
int os_calloc(size_t n, size_t size, void **pp); /* the same, zeroed */

/*
 * Locks on single bytes of a file, owned by fd's open file description: the kernel drops them
 * when its last descriptor is closed, at a kill too.
 */
int os_lock_try(int fd, uint64_t byte);			     /* exclusive; EAGAIN if taken */
int os_lock_wait(int fd, uint64_t byte, unsigned msec_most); /* polls; EAGAIN after that time */
int os_lock_share(int fd, uint64_t byte);		     /* for reading; EAGAIN */
int os_lock_share_wait(int fd, uint64_t byte, unsigned msec_most); /* as os_lock_wait */
int os_lock_test(int fd, uint64_t byte, bool *takenp); /* by another description than fd's? */
/* Is any of n bytes from first on locked by another description than fd's? */
int os_lock_test_range(int fd, uint64_t first, uint64_t n, bool *takenp);
/* The same, and where such a lock begins. */
int os_lock_find(int fd, uint64_t first, uint64_t n, bool *takenp, uint64_t *bytep);
void os_unlock(int fd, uint64_t byte);

int os_flock_try(int fd, bool exclusive); /* the whole file, by flock(2); EAGAIN */

/* The lower half of a directory's bytes is region/home.c's; from here on they are for others. */
#define OS_BYTES_OF_NOBODY ((uint64_t)1 << 62)

/*
 * Sleep while *word == expected, usec at most.  Returns for any reason; look again.  Never fails.
 */
void os_futex_wait(const uint32_t *word, uint32_t expected, unsigned usec);
void os_futex_wake(const uint32_t *word); /* all waiters */

/* A thread that takes no signals: those are for the program's own threads.  EAGAIN; no hook. */
int os_thread_start(pthread_t *threadp, void *(*fn)(void *arg), void *arg);

uint64_t os_now_usec(void);	  /* wall clock, microseconds since 1970 */
int64_t os_now_nsec_coarse(void); /* wall clock as the kernel stamps files */
uint64_t os_monotonic_usec(void);
uint64_t os_monotonic_nsec(void);
void os_sleep_usec(unsigned usec);
void os_yield(void);
void os_boot_id(uint8_t id[16]);      /* of this boot; zeros if unknown */
uint64_t os_process_start(pid_t pid); /* clock ticks since boot, 0 if there is no such process */
uint64_t os_random(void);
size_t os_page_size(void);
unsigned os_processors(void); /* on which this process may run; at least 1 */
size_t os_huge_page_size(void);		 /* the default one, of segments; 0: there are none */
bool os_huge_pages_granted(bool shared); /* does os_map_huge help, for such memory? */

/*
 * os_barrier: on return every running thread of this process has been through a full memory
 * barrier.  Works once os_barrier_wanted() has said so in this process.
 */
bool os_barrier_wanted(void);
void os_barrier(void);

/*
 * The same for every running thread of every process that has called os_barrier_join; both return
 * 0 or an errno value: what the system does not have, or does not allow us.
 */
int os_barrier_join(void);
int os_barrier_all(void);

uint64_t os_memory_bytes(void); /* the machine's */
/* Without driving anybody out, and as the control groups allow; UINT64_MAX: unknown. */
uint64_t os_memory_available(void);
/* cgroup.c: as they allow; as the groups from root/group up to root do. */
uint64_t os_cgroup_available(void);
uint64_t os_cgroup_left(const char *root, const char *group);
/* The beginning of a small file of the system as a string; empty if it cannot be read. */
void os_read_text(const char *path, char *text, size_t bytes);
uint64_t os_ipc_namespace(void); /* differs between them; 0 if unknown */

static inline uint64_t
os_whole_pages(uint64_t bytes)
{
	uint64_t page = os_page_size();

	return (bytes + page - 1) / page * page;
}

/* Forks since the program began, on the way to this process. */
extern __attribute__((visibility("hidden"))) unsigned os_forks;

/* Changes in a forked child, never in the parent. */
static inline unsigned
os_fork_generation(void)
{
	return os_forks;
}

#endif
