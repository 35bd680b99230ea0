/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poolfs/region.h - memory that several processes share, for the application's own use.
 *
 * A region has a name in an environment: region NAME of an environment in DIR is the file
 * DIR/__db_NAME.share.  It lies in that file, in a System V segment or, private, in the process,
 * exactly as a pool does (DB_ENV.region_flags, region_max, region_init, shm_key, region_dir), and a
 * mount of the environment shows it under regions/.  Its bytes begin as zeros and are numbered from
 * 0; their address is not the same in two processes, but in each it stays what it was at
 * memr_open, whatever the region grows to.
 *
 * Everybody attached can write all of a region: what is read from it is input.  The calls below
 * check what is theirs and return DB_RUNRECOVERY, with a sentence, for a region that is damaged.
 * In addition to what each one lists, every call that takes a DB_REGION returns:
 *
 *	EINVAL		the handle was inherited through fork(2)
 *	ESTALE		the region was removed by force: close it, and open another (not of
 *			memr_stat and memr_panic)
 *	DB_RUNRECOVERY	somebody has found it damaged (memr_panic)
 *
 * A handle may be used by several threads.  Nothing blocks, but for memr_open, memr_close,
 * memr_unlink, memr_grow and memr_shrink, which wait up to 5 seconds for another process that
 * creates, joins, resizes or removes the region at that moment, memr_lock, and memr_heap,
 * memr_alloc, memr_free and memr_stat, which wait for whoever is at the heap (and as long as it is
 * stopped there).
 */
#ifndef POOLFS_REGION_H
#define POOLFS_REGION_H

#include <poolfs/env.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct __db_region DB_REGION;

/* memr_open: the last one to close the region removes it. */
#define DB_LASTDETACH 0x00100

/* What is known about a region.  Text is printable and NUL-terminated. */
typedef struct {
	int st_error;	      /* what memr_open would return for these bytes; 0: nothing amiss */
	u_int32_t st_refcnt;  /* live processes that are attached, as the kernel says */
	u_int64_t st_bytes;   /* for the application */
	u_int64_t st_max;     /* bytes that it may grow to */
	u_int64_t st_regsize; /* bytes in all */
	u_int64_t st_resized; /* how often its size was changed */
	u_int64_t st_id;      /* random, made with the region */
	u_int64_t st_created; /* when, microseconds since 1970 */
	int st_majver;	      /* version of the library that made it */
	int st_minver;
	int st_patch;
	int st_segid;	   /* System V segment, or -1 */
	u_int64_t st_heap; /* bytes under memr_alloc, 0: no heap; of memr_stat only, as these: */
	u_int64_t st_heapused; /* of them in use, headers included */
	u_int64_t st_heapmost; /* bytes that one memr_alloc could get */
	int st_panic;	       /* not 0: it was found damaged, and these say by whom: */
	int st_panicpid;
	u_int32_t st_panicuid;
	u_int64_t st_panictime; /* when, microseconds since 1970 */
	char st_panicname[32];	/* the program's name */
	char st_why[256];	/* why, or, of memr_look, what stands in the way of memr_open */
} DB_REGION_STAT;

/*
 * memr_open - attach to region name, or create it.
 *
 * dir, mode and dbenv mean what they mean to memp_open, temporary regions included.  name is 1 to
 * 64 letters, digits, '_', '-' and '.'; "mpool" and "lock" are taken: EINVAL.  flags: DB_CREATE,
 * DB_LASTDETACH, else EINVAL; so are DB_PRIVATE with DB_SYSTEM_MEM, and regp NULL.
 *
 * bytes: of a created region, its size (0: 64 KiB), rounded up to whole pages.  A region that is
 * there and larger is joined as it is; one that is smaller is grown, unless bytes is 0.
 * What a dead process left half made is made anew, if DB_CREATE says so, at once.
 *
 * *regp is the caller's until memr_close.  Errors: ENOENT not there, and no DB_CREATE; EAGAIN a
 * live process has been creating it for 5 seconds, or all of 224 clients are attached; EBUSY the
 * environment's regions are in another place than region_dir; EPROTO made by another version;
 * DB_RUNRECOVERY damaged; EPERM not trusted (a symbolic link, another's file in a sticky directory,
 * or one that others may write and the caller is root without having given that mode); EACCES;
 * EINVAL larger than the machine; ENOSPC, ENOMEM no room for it, or no room to grow; ENXIO, EIDRM,
 * EXDEV its segment is in another IPC namespace, was removed, or is of another device's copy of the
 * file; EEXIST shm_key.
 */
POOLFS_API int memr_open(const char *dir, const char *name, int flags, int mode, size_t bytes,
    DB_ENV *dbenv, DB_REGION **regp);

/*
 * memr_close - detach, and free reg, whatever is returned.  A lock that this process holds is
 * given back as a dead process's.  A temporary or DB_LASTDETACH region goes with its last user;
 * errors are those of its removal, and EAGAIN of any region at which another process has been for
 * 5 seconds.  NULL: 0.  In a forked child: EINVAL, and only the child's own
 * copy is freed.
 */
POOLFS_API int memr_close(DB_REGION *reg);

/*
 * memr_unlink - remove region name; also what a dead process left half made.  Absent: ENOENT, with
 * force 0.  EBUSY: live processes are attached, never because of dead ones.  With force it goes
 * whatever is in it and whoever uses it: they get ESTALE at their next call; EACCES if the caller
 * may not write it, and they could not be told.  Otherwise errors as memr_open's, and unlink(2)'s.
 */
POOLFS_API int memr_unlink(const char *dir, const char *name, int force, DB_ENV *dbenv);

/*
 * memr_addr - where bytes offset to offset + bytes are in this process.  The address stays good
 * until memr_close; behind a later end of the region it reads as zeros.  EINVAL: not all of them
 * are inside the region now.
 */
POOLFS_API int memr_addr(DB_REGION *reg, u_int64_t offset, size_t bytes, void **addrp);

/*
 * memr_grow, memr_shrink - make the region bytes long, rounded up to whole pages, if it is shorter
 * (longer).  No address changes; the others see the new end without doing anything.  New bytes are
 * zeros.  Shrinking gives their memory back to the system; that nobody uses them any more is the
 * application's business.  Nothing has changed after an error: ENOMEM beyond region_max, or more
 * than the machine has to spare; ENOSPC the disk is full (never a SIGBUS later); EAGAIN another
 * process has been at its size, or joining it, for 5 seconds; EINVAL shrinking into the heap.
 */
POOLFS_API int memr_grow(DB_REGION *reg, size_t bytes);
POOLFS_API int memr_shrink(DB_REGION *reg, size_t bytes);

/*
 * memr_lock, memr_unlock - the region's own lock, between threads as between processes.  It is not
 * counted: who has it and takes it again waits for ever.  EOWNERDEAD: the caller has it, but who
 * had it before died (or closed the region) inside; what it guards may be half changed.  That is
 * told once.  After any other error it is not held.  memr_unlock may be called by any thread;
 * through a handle that has not got the lock: EINVAL.  It gives the lock back even if it returns
 * ESTALE or DB_RUNRECOVERY.  A process that is stopped inside delays the others; one that dies does
 * not.
 */
POOLFS_API int memr_lock(DB_REGION *reg);
POOLFS_API int memr_unlock(DB_REGION *reg);

/*
 * memr_heap - make bytes offset to offset + bytes a heap, for memr_alloc; the caller touches
 * them no more.  offset is a multiple of 4096.  One heap a region: where it is there already,
 * exactly so, 0; otherwise EEXIST.  EINVAL: not inside the region, less than 64 bytes, or an
 * offset that is no such multiple.
 */
POOLFS_API int memr_heap(DB_REGION *reg, u_int64_t offset, size_t bytes);

/*
 * memr_alloc - bytes from the heap, at a multiple of align (0: 8; a power of two, 4096 at most,
 * else EINVAL).  *offsetp is their offset in the region; they hold what they held.  Two processes
 * may do so at once, and one that is killed inside leaves a sound heap.  ENOMEM: no piece is large
 * enough; ENOENT: there is no heap.
 * memr_free - give such bytes back.  EINVAL: they are not in use; ENOENT: there is no heap.
 */
POOLFS_API int memr_alloc(DB_REGION *reg, size_t bytes, size_t align, u_int64_t *offsetp);
POOLFS_API int memr_free(DB_REGION *reg, u_int64_t offset);

/*
 * memr_stat - what is known, from inside.  A region that was removed or has panicked answers, too:
 * 0, and st_error says what other calls return.  EINVAL: st is NULL.
 */
POOLFS_API int memr_stat(DB_REGION *reg, DB_REGION_STAT *st);

/*
 * memr_look - the same from outside, of any region of the environment (also "mpool" and "lock"),
 * without attaching, waiting or writing: for regions that cannot be opened, too.  EINVAL: name, or
 * st NULL; what open(2) returns: ENOENT, EACCES, ELOOP a symbolic link.
 */
POOLFS_API int memr_look(const char *dir, const char *name, DB_ENV *dbenv, DB_REGION_STAT *st);

/*
 * memr_panic - what is in the region can no longer be trusted: say why, once, for everybody.  From
 * now on every call but memr_close, memr_stat and memr_look returns DB_RUNRECOVERY, as this one
 * does; only memr_unlink with force ends that.
 */
POOLFS_API int memr_panic(DB_REGION *reg, const char *why);

#ifdef __cplusplus
}
#endif
#endif
