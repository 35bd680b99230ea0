/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poolfs/lock.h - a table of locks in a shared region: lock_*, after lock_open.
 *
 * A locker (a transaction, a thread, whatever the application takes for one) locks an object (any
 * byte string) in a mode (a small number); a matrix says which modes conflict.  Any number of
 * processes use one table.  Who wants a lock that conflicts with another locker's waits for it, in
 * the order of requests; a detector finds those who wait for each other and gives one of them
 * DB_LOCK_DEADLOCK.  Any process may be killed at any instruction: its locks are released by
 * those who wait for them.
 *
 * Beside what each call says of errors: EINVAL, no handle, one of before a fork(2), or NULL where a
 * result goes; ESTALE, the table was removed by force; DB_RUNRECOVERY, it was found damaged (but of
 * lock_close); ENOMEM, of the process.  Nothing but lock_open, lock_close, lock_unlink and lock_get
 * (of lock_vec, too) waits for other processes, but while one changes the same part of the table,
 * and as long as it is stopped there.
 *
 * Names in brackets are the documents a rule comes from: [lock_open] the manual page, [ours] where
 * it is silent.
 */
#ifndef POOLFS_LOCK_H
#define POOLFS_LOCK_H

#include <poolfs/env.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Modes of the two ready matrices.  With a matrix of one's own, modes are any numbers below
 * lk_modes; 0 is always "not granted" and cannot be asked for.
 */
typedef enum {
	DB_LOCK_NG = 0,	    /* not granted */
	DB_LOCK_READ = 1,   /* shared */
	DB_LOCK_WRITE = 2,  /* exclusive */
	DB_LOCK_IWRITE = 3, /* intent to lock parts of the object for writing, */
	DB_LOCK_IREAD = 4,  /* for reading, */
	DB_LOCK_IWR = 5	    /* for both */
} db_lockmode_t;

#define DB_LOCK_RW_N 3	/* modes of db_rw_conflicts */
#define DB_LOCK_RIW_N 6 /* modes of db_riw_conflicts */

/*
 * Ready values for DB_ENV.lk_conflicts, rows of the requested mode, columns of the held one.
 * db_rw_conflicts: READ with WRITE, WRITE with both.  db_riw_conflicts: READ with WRITE, IWRITE
 * and IWR; WRITE with all; the intents with one another never; IREAD with WRITE only.
 */
POOLFS_API extern const u_int8_t db_rw_conflicts[DB_LOCK_RW_N * DB_LOCK_RW_N];
POOLFS_API extern const u_int8_t db_riw_conflicts[DB_LOCK_RIW_N * DB_LOCK_RIW_N];

/* lock_get and lock_vec flags */
#define DB_LOCK_NOWAIT 0x1  /* DB_LOCK_NOTGRANTED instead of waiting */
#define DB_LOCK_UPGRADE 0x2 /* lock_get: change the mode of a lock that is held */

/* lock_detect flags */
#define DB_LOCK_CONFLICT 0x1 /* look only if anybody has begun to wait since the last look */

/*
 * Policies, for DB_ENV.lk_detect and lock_detect: who of those who wait in a circle is given
 * DB_LOCK_DEADLOCK.  A locker's age counts from its lock_id.
 */
typedef enum {
	DB_LOCK_NORUN = 0,    /* lk_detect: no detection but by lock_detect */
	DB_LOCK_DEFAULT = 1,  /* as DB_LOCK_RANDOM */
	DB_LOCK_OLDEST = 2,   /* the oldest locker */
	DB_LOCK_RANDOM = 3,   /* any */
	DB_LOCK_YOUNGEST = 4, /* the youngest locker */
	DB_LOCK_POLICIES = 5  /* as many there are */
} db_detect_t;

typedef struct __db_locktab DB_LOCKTAB;

/* A lock that was granted.  Compare it with 0, which is never one; there is nothing else in it. */
typedef u_int64_t DB_LOCK;

/* One operation of lock_vec. */
typedef enum {
	DB_LOCK_GET = 1,     /* lock obj in mode; the lock is stored in lock */
	DB_LOCK_PUT = 2,     /* release lock */
	DB_LOCK_PUT_ALL = 3, /* release all locks of the locker */
	DB_LOCK_PUT_OBJ = 4  /* release all locks on obj, whoever holds them */
} db_lockop_t;

typedef struct __db_lockreq {
	db_lockop_t op;
	db_lockmode_t mode; /* GET */
	const DBT *obj;	    /* GET, PUT_OBJ */
	DB_LOCK lock;	    /* PUT; written by GET */
} DB_LOCKREQ;

/*
 * Statistics.  At rest requests - refused = releases + locks held, counted as often as they were
 * granted, where refused are those that ended with an error, and upgrades are left out.
 */
typedef struct __db_lock_stat {
	u_int64_t st_maxlocks;	  /* lk_max; 0: as many as the region can hold */
	u_int64_t st_nmodes;	  /* lock modes, the not-granted one included */
	u_int64_t st_nlocks;	  /* locks held or requested now */
	u_int64_t st_numobjs;	  /* objects locked now */
	u_int64_t st_nlockers;	  /* lockers that lock_id gave and that are not gone */
	u_int64_t st_nwaiting;	  /* requests that wait now */
	u_int64_t st_nrequests;	  /* requests */
	u_int64_t st_nreleases;	  /* releases, one for each grant, whoever released */
	u_int64_t st_nconflicts;  /* requests that could not be granted at once, NOWAIT's too */
	u_int64_t st_nwaits;	  /* of them: those that waited */
	u_int64_t st_ndeadlocks;  /* requests that were ended by the detector */
	u_int64_t st_ntimeouts;	  /* requests that were ended by lk_timeout */
	u_int64_t st_nrefused;	  /* requests that failed, for whatever reason */
	u_int64_t st_nupgrades;	  /* of the requests: with DB_LOCK_UPGRADE, and granted */
	u_int64_t st_ndetections; /* times that the table was searched for deadlocks */
	u_int64_t st_nreaped;	  /* dead processes whose locks were released */
	u_int64_t st_clients;	  /* live processes attached */
	u_int64_t st_detect;	  /* lk_detect, as the table was created with it */
	u_int64_t st_regsize;	  /* bytes of the region */
} DB_LOCK_STAT;

/*
 * lock_open - join the lock table of the environment in dir, or create it.
 *
 * dir is found as memp_open finds it, but that without dir and environment the table is in the
 * temporary directory [lock_open].  flags: DB_CREATE, DB_THREAD.  mode: of a created region file,
 * less the umask; 0: 0600.  *ltp is the caller's until lock_close.  Of dbenv, which may be NULL:
 * lk_conflicts, lk_modes, lk_detect, lk_max, lk_timeout, the error fields, and where and what the
 * region is (db_home, region_flags, region_dir, region_max, region_init, shm_key; the table's key
 * is shm_key + 1).  The matrix is copied.
 *
 * A table that is there keeps its matrix and its lk_detect; who joins must give the same.  A larger
 * lk_max than it has becomes the table's.  That holds for a table that a mount made when a file was
 * first locked by flock(2), too: it has db_rw_conflicts and lk_detect 0.  Who wants another one
 * makes it before that, or removes that one (lock_unlink) [ours].
 *
 * May wait 5 s for a live creator.  EINVAL: flags; a policy that there is not; lk_modes less than
 * 2 or more than 128, or without lk_conflicts not 3; another matrix or lk_detect than the table's;
 * DB_PRIVATE with DB_SYSTEM_MEM.
 * ENOENT: no table, and no DB_CREATE.  EAGAIN: a live process has been creating or joining it for
 * too long; all client numbers are taken.  EBUSY: the environment's regions are in another place
 * than region_dir.  EPROTO: of another version.  ENOSPC, ENOMEM, EPERM, EACCES, ENXIO, EIDRM,
 * EXDEV, EEXIST: as of memr_open.  DB_RUNRECOVERY: a damaged one.
 */
POOLFS_API int lock_open(
    const char *dir, u_int32_t flags, int mode, DB_ENV *dbenv, DB_LOCKTAB **ltp);

/*
 * lock_close - release all locks of the handle's lockers and detach.  The handle is gone whatever
 * is returned.  No other thread may be in a call on it.  In a forked child: EINVAL, and only what
 * is the child's own is freed.  NULL: 0.  A table in the temporary directory goes with its last
 * user; errors are those of its removal, and EAGAIN of any table at which another process has been
 * for 5 seconds, creating, joining or removing it.
 */
POOLFS_API int lock_close(DB_LOCKTAB *lt);

/*
 * lock_unlink - remove the table of the environment in dir, found as by lock_open.
 *
 * Without force: ENOENT if it is not there, EBUSY while a live process is attached.  With force it
 * goes in any case, and those who use it get ESTALE; absent is 0; EACCES if the caller may not
 * write it, and they could not be told.  Other errors are lock_open's, and unlink(2)'s.
 */
POOLFS_API int lock_unlink(const char *dir, int force, DB_ENV *dbenv);

/*
 * lock_id - a locker, for the calls on this handle alone: other processes' and handles' calls with
 * it fail with EINVAL.  Its number is unlike that of every other locker of the table, live ones of
 * all processes; it says nothing about age.  It is valid until lock_close or lock_id_free [ours].
 *
 * ENOMEM: there are 1 048 576 lockers, or the region has no room for more.  Before that happens,
 * those of the handle that hold nothing and wait for nothing are taken back, and their numbers are
 * invalid.
 */
POOLFS_API int lock_id(DB_LOCKTAB *lt, u_int32_t *idp);

/*
 * lock_id_free - a locker is not needed any more [ours].  EINVAL: not a locker of this handle, or
 * it has locks, or waits for one.
 */
POOLFS_API int lock_id_free(DB_LOCKTAB *lt, u_int32_t id);

/*
 * lock_get - lock the object that the bytes in obj name, for locker, in mode.
 *
 * Granted at once if no other locker holds the object in a conflicting mode, and no other locker
 * that waits for it already asks for one.  A locker that holds the object, in whatever mode, goes
 * before those who do not.  A locker's own locks never conflict; a mode that it has already is
 * granted again, counted, and gives the same lock: it is held until it is put as often.  (Requests
 * of several threads for it that had to wait may each be granted a lock of its own.)  The bytes are
 * copied.
 *
 * Otherwise the call waits (the thread; signals are handled meanwhile, and it goes on waiting)
 * until the lock is granted, or:
 *
 * DB_LOCK_NOTGRANTED	flags has DB_LOCK_NOWAIT, or lk_timeout has passed
 * DB_LOCK_DEADLOCK	the detector has chosen this request
 *
 * DB_LOCK_UPGRADE: a lock that locker holds on the object changes its mode to this one, up or
 * down; *lockp stays the same lock.  Which: *lockp if that is one (obj may then be NULL), else the
 * newest that it has there, where one that was put and got again may count from when it was got
 * first; DB_LOCK_NOTHELD if there is none.  It waits as others do, but only for holders.
 *
 * EINVAL: a flag, mode or locker that there is not; an object without bytes, or of more than 1 MiB.
 * ENOMEM: the table has lk_max locks, or no room; a sentence names the lockers that have most.
 * ESTALE and DB_RUNRECOVERY end a wait, too.
 */
POOLFS_API int lock_get(DB_LOCKTAB *lt, u_int32_t locker, u_int32_t flags, const DBT *obj,
    const db_lockmode_t mode, DB_LOCK *lockp);

/*
 * lock_put - release a lock once; those who waited for it go on.  Never waits for another locker.
 *
 * The table may keep a lock that was put, on a short name (28 bytes) and up to 32768 for a handle,
 * so that the same locker gets it again in a shorter way.  It is not held: it is in nobody's way,
 * and is neither counted nor shown [ours].
 *
 * DB_LOCK_NOTHELD: no lock, not one of this handle's, or not any more.  EINVAL: 0.
 */
POOLFS_API int lock_put(DB_LOCKTAB *lt, DB_LOCK lock);

/*
 * lock_vec - several operations in turn, for one locker.  flags: DB_LOCK_NOWAIT, for all of them.
 *
 * Stops at the first that fails, returns its error and points *elistp (which may be NULL) to it;
 * what was done before stays.  PUT of a lock that another locker holds is DB_LOCK_NOTHELD.
 * PUT_ALL and PUT_OBJ release locks that were granted several times altogether; nothing to release
 * is no error.  They release what another thread has waited for, too, once it is granted, though
 * that thread may not have seen it: its lock_get returns 0, and its put DB_LOCK_NOTHELD.
 *
 * EINVAL: flags, locker, nlist below 0, or no list: nothing is done, and *elistp is not written.
 * Or an op that there is not, or PUT_OBJ of an object without bytes.  Others are lock_get's and
 * lock_put's.
 */
POOLFS_API int lock_vec(DB_LOCKTAB *lt, u_int32_t locker, u_int32_t flags, DB_LOCKREQ list[],
    int nlist, DB_LOCKREQ **elistp);

/*
 * lock_detect - search for lockers that wait for each other and end one request in each circle,
 * until there is none.  atype: DB_LOCK_DEFAULT, OLDEST, RANDOM or YOUNGEST.  flags: 0 or
 * DB_LOCK_CONFLICT.  A locker of which any request waits counts as one that releases nothing.
 * Everybody else's calls wait meanwhile: some milliseconds with thousands of waiters.
 *
 * EINVAL: flags or atype.  ENOMEM.
 */
POOLFS_API int lock_detect(DB_LOCKTAB *lt, u_int32_t flags, u_int32_t atype);

/*
 * lock_stat - the table's numbers, in memory from db_malloc (NULL: malloc) that the caller frees.
 */
POOLFS_API int lock_stat(DB_LOCKTAB *lt, DB_LOCK_STAT **statp, void *(*db_malloc)(size_t));

#ifdef __cplusplus
}
#endif
#endif
