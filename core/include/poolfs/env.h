/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poolfs/env.h - the environment: what every subsystem is opened with.
 *
 * DB_ENV follows the manual pages db_mpool(3), lock_open and db_appinit of early Berkeley DB: the
 * caller declares it, zeroes it, sets the fields it cares about, and keeps it (and the memory
 * that it points to) valid until the last handle that was opened with it has been closed.  A
 * field that is 0 means the default.  Fields marked "ours" are not in those pages.
 *
 * Conventions of all calls: they return 0, a positive errno value, or one of the negative codes
 * below.  Out-parameters are written only when 0 is returned, but for lock_vec's.  A call that
 * fails explains itself in one sentence through db_errcall or db_errfile, unless its code says all:
 * of NULL where something must be, of a handle of before a fork, and of memr_addr, memr_lock,
 * memr_unlock, memr_heap, memr_alloc and memr_free.  The library prints nothing by itself.
 * Handles do not survive fork(2): in the child every call on them returns EINVAL.
 */
#ifndef POOLFS_ENV_H
#define POOLFS_ENV_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define POOLFS_API __attribute__((visibility("default")))
#else
#define POOLFS_API
#endif

/* glibc's <sys/types.h> has u_int8_t, u_int32_t and u_int64_t. */
typedef u_int32_t db_pgno_t; /* a page number; pages are numbered from 0 */

/* A log sequence number; LSN is the name that db_mpool(3) uses. */
typedef struct {
	u_int32_t file;
	u_int32_t offset;
} DB_LSN;
typedef DB_LSN LSN;

/* A byte string.  The caller zeroes the whole structure before setting fields. */
typedef struct {
	void *data;
	u_int32_t size; /* bytes */
} DBT;

/* Return values that are not errno values. */
#define DB_INCOMPLETE (-1)	/* something dirty could not be written now */
#define DB_LOCK_DEADLOCK (-4)	/* chosen as the victim of a deadlock */
#define DB_LOCK_NOTGRANTED (-5) /* DB_LOCK_NOWAIT and the lock is taken */
#define DB_LOCK_NOTHELD (-6)	/* the lock is not held by this locker */
#define DB_RUNRECOVERY (-8)	/* the region is damaged: nothing may use it */

/* Flags of the open calls. */
#define DB_CREATE 0x00001	 /* create what does not exist */
#define DB_NOMMAP 0x00002	 /* never map files into the process */
#define DB_RDONLY 0x00004	 /* open files for reading only */
#define DB_THREAD 0x00008	 /* handles are used by several threads */
#define DB_MPOOL_PRIVATE 0x00010 /* a pool in this process's own memory */
#define DB_ODDFILESIZE 0x00020	 /* ours: lengths need not be a multiple of the page size */

/* DB_ENV.region_flags (ours). */
#define DB_PRIVATE 0x1	   /* regions in process memory, never joined */
#define DB_SYSTEM_MEM 0x2  /* regions in System V shared memory; not with DB_PRIVATE */
#define DB_USE_ENVIRON 0x4 /* the DB_HOME variable may override db_home */
/*
 * Regions that are created ask for huge pages: of a System V segment (SHM_HUGETLB), which are set
 * aside for all of it at once, so that it grows only if region_max says so; else, and where there
 * are none of those, transparent ones.  What the system refuses is said in one sentence, and the
 * region has ordinary pages.
 */
#define DB_HUGE_PAGES 0x8
/*
 * A file-backed region whose file is truncated by somebody, or whose disk cannot give its bytes, is
 * DB_RUNRECOVERY, where it would be SIGBUS otherwise.  For that the process gets a handler of that
 * signal, which passes on what does not concern a region; an application that sets its own later
 * has to do the same.
 */
#define DB_REGION_GUARD 0x10
/* mp_size is what a pool that is created has; one that exists is taken as it is. */
#define DB_SIZE_IF_NEW 0x100

/* DB_ENV.policy (ours): which pages leave first. */
#define DB_POLICY_LRU 1	     /* the one whose last use is the longest ago */
#define DB_POLICY_ADAPTIVE 2 /* one that was not used again; withstands scans */
#define DB_POLICY_IF_NEW 0x100 /* with one of these: no warning if the pool has the other */

typedef struct __db_env DB_ENV;

struct __db_env {
	/* db_appinit(3): how failures are reported; see db_strerror for codes */
	void *(*db_errcall)(char *db_errpfx, char *buffer); /* called with each sentence */
	FILE *db_errfile;				    /* or: sentences are written here */
	const char *db_errpfx; /* put before each sentence ("prefix: sentence") */
	int db_verbose;	       /* 1: warnings too; 2: one line per region event as well */
	int (*db_yield)(void); /* accepted, unused */

	/* db_mpool(3) */
	size_t mp_mmapsize; /* bytes; a longer file is not mapped, see memp_fopen; 0: 10 MiB */
	/*
	 * Bytes of pages that the pool holds, a suggestion; 0: 128 KiB, or what there is; at least
	 * 20 KiB.  A smaller pool that is joined grows, as far as it may (region_max).
	 */
	size_t mp_size;

	/* lock_open */
	const u_int8_t *lk_conflicts; /* lk_modes rows of lk_modes; NULL: db_rw_conflicts */
	u_int32_t lk_detect;	      /* a db_detect_t: at each wait; 0: not by itself */
	u_int32_t lk_max;	      /* most locks held or requested; 0: what the region holds */
	u_int32_t lk_modes;	      /* modes, the not-granted one included; 0: DB_LOCK_RW_N */
	u_int32_t lk_timeout;	      /* ours: microseconds that a request waits; 0: for ever */

	/* ours; db_home set means that the environment is initialised */
	const char *db_home;	/* directory that relative dir and file arguments start from */
	u_int32_t region_flags; /* DB_PRIVATE ... DB_REGION_GUARD */
	/*
	 * Where the region files are, if not in the environment's directory: absolute, or
	 * relative to db_home (without one, to that directory).  The environment's directory then
	 * has a symbolic link __db_regions that leads there, by which processes that leave this
	 * NULL find them; to say something else is EBUSY while there are regions.  That goes for
	 * regions of every kind: pool, lock table, the application's own.  A link that is another
	 * user's is EPERM to root, and in a directory with the sticky bit.
	 */
	const char *region_dir;
	/*
	 * Only for regions that are created.  region_max: bytes of address space that a region
	 * reserves to grow in (0: 16 times its size, 1 GiB at least; never more than the machine's
	 * memory).  region_init: not 0: every page gets its memory at once, so that none is missing
	 * later.  shm_key: 0: segments have no key; else the pool's has this one, the lock table's
	 * the next, and every other region's the first after those that is free.
	 */
	size_t region_max;
	int region_init;
	int shm_key;
	/*
	 * Which page makes room for another: a property of the pool, fixed when it is created; who
	 * joins takes it as it is, and is told (a warning) if it asked for the other.  0:
	 * DB_POLICY_LRU.  In a pool of up to 4096 pages of 4 KiB DB_POLICY_LRU is exact while one
	 * process is attached; with several, uses between two pages' coming in count as
	 * simultaneous, and in larger pools those that lie close together.
	 */
	u_int32_t policy;

	/*
	 * Where pages of a file are missed one after the other, those behind are read along, in
	 * growing runs of up to 64 pages, 1 MiB and an eighth of the pool; not in pools of less
	 * than 64 pages.  -1: never.
	 */
	int mp_ahead;

	/*
	 * Not 0: memp_open starts a thread that keeps an eighth of the pool clean, at least, so
	 * that who needs room finds pages that need not be written first; memp_close ends it.  It
	 * calls db_errcall, lg_flush and pgout functions like any other thread.
	 */
	int mp_writer;

	/*
	 * Only for pools that are created.  0: if the system has membarrier(2) for processes that
	 * share memory, hits carry no memory fence, and who evicts or writes interrupts the others
	 * for a moment; a process that may not call it cannot join then (EPERM).  Not 0: a fence.
	 */
	int mp_fence;

	/*
	 * Only for pools that are created: the size of most of their pages, a power of two from
	 * 512 to 65536, for which the tables are made; 0: 4096.  Pages of every size can be in the
	 * pool, but smaller ones only as many as the tables have room for.  A pool of less than
	 * 64 MiB is always ready for 512.
	 */
	size_t mp_pagesize;

	/* Write-ahead: makes the log durable up to *lsn; 0 or an errno value.  NULL: no log. */
	int (*lg_flush)(DB_ENV *dbenv, const DB_LSN *lsn);

	void *app_private; /* the application's own; never touched */
};

/*
 * The sentence for any return value of this library, the negative ones included.  Static storage,
 * or strerror(3)'s.
 */
POOLFS_API const char *db_strerror(int error);

/* The version of the library; each pointer may be NULL.  Returns a static string. */
POOLFS_API const char *db_version(int *majver, int *minver, int *patch);

/*
 * env_remove - unlink all regions (__db_*.share) of the environment in dir.
 *
 * Like memp_unlink, lock_unlink and memr_unlink for each of them, in the order of their names:
 * without force EBUSY while a live process is attached, dirty pages are written first, EIO leaves
 * the pool in place.  The first that cannot be removed ends it, with its error: those before it are
 * gone, it and those behind it stay.  dir is found as memp_open finds it.  No region at all: 0 with
 * force, else ENOENT.
 */
POOLFS_API int env_remove(const char *dir, int force, DB_ENV *dbenv);

#ifdef __cplusplus
}
#endif
#endif
