/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poolfs/mpool.h - the shared memory pool of file pages: memp_*, after db_mpool(3).
 *
 * A pool (DB_MPOOL) is a cache of file pages in a shared region, used by any number of processes
 * at once.  A file (DB_MPOOLFILE) is opened in a pool with a page size; memp_fget pins one of its
 * pages and gives its address, the same bytes in every process; memp_fput says whether it was
 * changed and unpins it.  A page put DIRTY is written to its file before it leaves the pool, by
 * whichever process needs the room.  Any process may be killed at any instruction: its pins and
 * half-done steps are taken over by the others.
 *
 * Beside what each call says of errors: EINVAL, no handle, or one of before a fork(2); EDEADLK, it
 * is called from pgin, pgout or lg_flush; ESTALE, the pool was removed by force; DB_RUNRECOVERY, it
 * was found damaged (but of memp_stat and the closes); EAGAIN, the pool has no room for another
 * thread; ENOMEM.
 *
 * Names in brackets are the documents a rule comes from: [db_mpool] the manual page, [ours] where
 * it is silent.
 */
#ifndef POOLFS_MPOOL_H
#define POOLFS_MPOOL_H

#include <poolfs/env.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DB_FILE_ID_LEN 20 /* bytes of a caller's unique file identifier */

/* memp_fget flags; at most one of them */
#define DB_MPOOL_CREATE 0x01 /* a page that does not exist is created, zeroed, through pgin */
#define DB_MPOOL_LAST 0x02   /* the last page; its number is stored in *pgnoaddr */
#define DB_MPOOL_NEW 0x04    /* a new page behind the last one; its number is stored */

/* memp_fput and memp_fset flags */
#define DB_MPOOL_CLEAN 0x08   /* undo what this pin marked dirty with memp_fset */
#define DB_MPOOL_DIRTY 0x10   /* the page was changed */
#define DB_MPOOL_DISCARD 0x20 /* evict this page before others */

typedef struct __db_mpool DB_MPOOL;
typedef struct __db_mpoolfile DB_MPOOLFILE;

/* Global statistics [db_mpool]; the fields behind st_hash_examined are ours. */
typedef struct __db_mpool_stat {
	size_t st_cachesize;	    /* bytes of pages the pool holds at most */
	u_int64_t st_cache_hit;	    /* requested pages found in the cache */
	u_int64_t st_cache_miss;    /* requested pages not found in the cache */
	u_int64_t st_map;	    /* requested pages mapped into the process */
	u_int64_t st_page_create;   /* pages created in the cache (CREATE and NEW) */
	u_int64_t st_page_in;	    /* pages read into the cache */
	u_int64_t st_page_out;	    /* pages written from the cache */
	u_int64_t st_ro_evict;	    /* clean pages forced from the cache or dropped */
	u_int64_t st_rw_evict;	    /* pages that had to be written to be forced out */
	u_int64_t st_hash_buckets;  /* buckets of the page table */
	u_int64_t st_hash_searches; /* page table look-ups */
	u_int64_t st_hash_longest;  /* most buckets looked at in one look-up */
	u_int64_t st_hash_examined; /* buckets looked at in all look-ups */
	u_int64_t st_page_clean;    /* clean pages in the cache now */
	u_int64_t st_page_dirty;    /* dirty pages in the cache now */
	u_int64_t st_page_trickle;  /* pages written by memp_trickle and background writers */
	u_int64_t st_suspect;	    /* dirty pages that a killed process had pinned */
	u_int64_t st_stranded;	    /* dirty pages that could not be written back lately */
	u_int64_t st_page_new;	    /* of st_page_create: by DB_MPOOL_NEW */
	u_int64_t st_fget;	    /* successful memp_fget calls: hit + miss + map + new */
	u_int64_t st_prefetch;	    /* of st_page_in: by memp_fprefetch, or ahead of a reader */
	u_int64_t st_read_bytes;    /* bytes read from files */
	u_int64_t st_write_bytes;   /* bytes written to files */
	u_int64_t st_pins;	    /* pages pinned now, by pin */
	u_int64_t st_clients;	    /* live processes attached */
	u_int64_t st_reaped;	    /* dead processes whose leavings were taken over */
	u_int64_t st_files;	    /* files known to the pool */
	u_int64_t st_policy;	    /* DB_POLICY_LRU or DB_POLICY_ADAPTIVE */
	u_int64_t st_barrier;	    /* 1: hits without a fence, see DB_ENV.mp_fence; 0: with one */
} DB_MPOOL_STAT;

/* Statistics of one file [db_mpool]; the fields behind st_page_out are ours. */
typedef struct __db_mpool_fstat {
	char *file_name;    /* absolute path, or "(temporary)" */
	size_t st_pagesize; /* bytes */
	u_int64_t st_cache_hit;
	u_int64_t st_cache_miss;
	u_int64_t st_map;
	u_int64_t st_page_create;
	u_int64_t st_page_in;
	u_int64_t st_page_out;
	u_int64_t st_length;	    /* bytes */
	u_int64_t st_page_resident; /* pages in the cache now */
	u_int64_t st_page_dirty;    /* of these: dirty */
	u_int64_t st_opens;	    /* handles that live processes have open */
	int st_ftype;		    /* as given to memp_fopen */
	int st_error;		    /* errno of the last failed write not yet made good, or 0 */
	int st_stranded;	    /* 1: its dirty pages could not be written by anyone lately */
} DB_MPOOL_FSTAT;

/*
 * memp_open - attach to the pool in directory dir, creating it if need be.
 *
 * dir: with dbenv->db_home set, relative to it (NULL: db_home itself).  Else relative to the
 * working directory; NULL with DB_MPOOL_PRIVATE or with dbenv NULL: a private pool; NULL
 * otherwise: TMPDIR, TEMP, TMP, then the first existing of /var/tmp, /usr/tmp, /temp, /tmp.  The
 * region's file is in dbenv->region_dir, else where that directory's link __db_regions leads,
 * else there; with DB_SYSTEM_MEM it only names a System V segment.  Which of the two a pool is,
 * who joins it learns from the file.
 *
 * flags: DB_CREATE, DB_MPOOL_PRIVATE, DB_NOMMAP, DB_THREAD.  mode: of the region file, less the
 * umask; 0 means 0600.  dbenv may be NULL; mp_size is the size asked for: a pool that is larger, or
 * for which none is asked, is joined as it is; a smaller one grows as by memp_resize, as far as it
 * may, and a warning says if that is less.  May wait for a process that is creating the pool right
 * now: 5 s at most, then EAGAIN; so it is when the pool takes no more: one of less than 1 MiB has
 * room for 28 processes, of less than 64 MiB for 256 threads of processes, else for 1100.
 * On success *mpp is the caller's, to be given to memp_close.
 *
 * Errors: EINVAL flags, DB_PRIVATE with DB_SYSTEM_MEM, a policy or mp_pagesize that there is not,
 * mp_size of 1..20479 bytes or more than the machine's memory, or no temporary directory; EPERM a
 * region that is not to be trusted, as of memr_open, or see DB_ENV.mp_fence; ENOENT no pool and no
 * DB_CREATE, or no such directory; ENOSPC the region does not fit on the disk; EBUSY another pool
 * is in use over the same home, its regions are in another place, or for 5 s a process has not
 * come to the end of a write for a pool that was removed by force (the sentence names it: it would
 * overwrite what is written through the new one); EPROTO a region of another version that is in
 * use, or was not closed with everything written; DB_RUNRECOVERY a damaged one; EAGAIN see above;
 * ENOMEM; what open(2) and mmap(2) return.  System memory: ENOMEM less is available than the pool
 * needs; EEXIST shm_key is taken; ENXIO the segment is in another IPC namespace; EIDRM it was
 * removed under live processes; EXDEV it was left by a pool on another device, which this home was
 * on or is a copy of, and may hold unwritten pages; what shmget(2) and shmat(2) return.
 */
POOLFS_API int memp_open(const char *dir, int flags, int mode, DB_ENV *dbenv, DB_MPOOL **mpp);

/*
 * memp_close - detach.  Writes nothing [db_mpool]; dirty pages stay in the region for whoever
 * attaches next, unless the pool is private: then they are gone.  Files still open are closed and
 * pins still held released, with a message for each kind.  mp is freed whatever is returned, but
 * for EDEADLK (from a callback: nothing is done).  One thread only.  A pool in a temporary
 * directory (dir NULL and no db_home) is removed, as memp_unlink would.  Errors: what memp_fclose
 * of a file that was still open returned first, or that removal (EBUSY: others use it); EAGAIN
 * another process has been creating, joining or removing the region for 5 seconds.  NULL: 0.
 */
POOLFS_API int memp_close(DB_MPOOL *mp);

/*
 * memp_unlink - remove the pool in dir (found as memp_open finds it).
 *
 * Without force: ENOENT if there is none, EBUSY while live processes are attached (dead ones
 * never count); what is dirty is written first, and if any page cannot be written the call is
 * EIO, names the files, and removes nothing.  With force: absent is 0, and the pool goes whatever
 * its state; the number of dirty pages lost is reported.  Processes attached to a pool removed by
 * force get ESTALE from their next call, and write nothing more, but for a write that was on its
 * way: no new pool is made before that has ended.  With force too: EACCES if the caller may not
 * write the region's file, and live processes are attached; EMFILE, ENFILE, ENOMEM or EIO if the
 * file cannot be opened so that they are told; EBUSY if the home says nonsense about where its
 * pool is, and live processes use it.  Without force, other errors are memp_open's.
 */
POOLFS_API int memp_unlink(const char *dir, int force, DB_ENV *dbenv);

/*
 * memp_register - name the functions that convert pages of files of type ftype (positive).
 *
 * pgin is called after a page is read, or created by DB_MPOOL_CREATE; pgout before it is written,
 * on the writer's own copy.  Either may be NULL.  pgcookie is a copy of memp_fopen's.  They
 * return 0 or an errno value, which the memp_* call then returns.  They may not call memp_*:
 * EDEADLK.  One pair per ftype and process; the newest wins.  A process that has not registered a
 * file's ftype neither reads nor writes pages of that file.  Errors: EINVAL ftype < 1; ENOMEM.
 */
POOLFS_API int memp_register(DB_MPOOL *mp, int ftype,
    int (*pgin)(db_pgno_t pgno, void *pgaddr, DBT *pgcookie),
    int (*pgout)(db_pgno_t pgno, void *pgaddr, DBT *pgcookie));

/*
 * memp_fopen - open a file in the pool.
 *
 * file: relative to db_home if that is set, else to the working directory.  On a mount of this pool
 * it is the file behind it; on another pool's, EINVAL.  NULL: a temporary
 * file, private to this handle, whose disk file (in the temporary directory) exists only once a
 * dirty page must leave the pool, and is unlinked at once.  ftype: 0, or one given to
 * memp_register.  flags: DB_CREATE, DB_NOMMAP, DB_RDONLY, DB_ODDFILESIZE. mode: of a file that is
 * created, less the umask.  pagesize: a power of two, 512 .. 65536 bytes.  lsn_offset: byte
 * offset of the DB_LSN in each page, or -1.  pgcookie: copied; may be NULL. uid: DB_FILE_ID_LEN
 * bytes that identify the file, or NULL: device, inode and birth time do.  On success *mpfp is
 * the caller's, to be given to memp_fclose.
 *
 * Mapped files [db_mpool]: a file that is opened with DB_RDONLY and without DB_NOMMAP, has ftype 0,
 * is no longer than mp_mmapsize, a multiple of the page size, has no page in the pool and is open
 * for writing nowhere, is mapped, and its pages come from there (st_map) until somebody opens it
 * for writing.  A page that is pinned then shows the file as it is on disk.  Other programs must
 * not make such a file shorter: touching a page that went is a SIGBUS.
 *
 * Errors: EINVAL flags, pagesize, lsn_offset, DB_RDONLY with file NULL, a length that is not a
 * multiple of pagesize without DB_ODDFILESIZE, or other values than those the file is open with;
 * EFBIG more than 2^32 pages; ENAMETOOLONG; ENFILE the pool's table of files, or of open files, is
 * full of those of live processes; EAGAIN a mount whose kernel has pages of the file does not drop
 * them in 10 s; EBUSY the file lost its last name, and pages from before, which must go first, are
 * still in use; what open(2) returns, and, where the pool has changed pages of the file from
 * before, with another page size or type, what writing them returns.
 */
POOLFS_API int memp_fopen(DB_MPOOL *mp, const char *file, int ftype, int flags, int mode,
    size_t pagesize, int lsn_offset, DBT *pgcookie, u_int8_t *uid, DB_MPOOLFILE **mpfp);

/*
 * memp_fclose - close the handle.  Writes nothing [db_mpool]: the file's pages stay in the pool,
 * dirty ones too.  Pins taken through the handle are released, with a message.  mpf is freed
 * whatever is returned, but for EDEADLK (from a callback: nothing is done).  A write error of the
 * file that this handle was not told of is returned.
 */
POOLFS_API int memp_fclose(DB_MPOOLFILE *mpf);

/*
 * memp_fget - pin a page and return its address in *pagep, aligned to the page size up to 4096.
 *
 * The page stays where it is, for this process, until memp_fput.  May wait for another process
 * that is reading the same page, and reads the file if nobody has: one page, or, of a file whose
 * pages are missed one after the other, several (DB_ENV.mp_ahead).  Page bytes are shared:
 * processes that change the same page at once need a lock of their own.
 *
 * Errors: EINVAL flags, or no such page (DB_MPOOL_CREATE absent; LAST of an empty file; CREATE or
 * NEW on a read-only file), or a file whose ftype this process has not registered; ENOMEM every
 * page that could be evicted is pinned or cannot be written; EAGAIN this process has no room for
 * more pins; EFBIG a page number behind 2^32 - 1; ESTALE the pool was removed by force;
 * DB_RUNRECOVERY; what pread(2) and pgin return.
 */
POOLFS_API int memp_fget(DB_MPOOLFILE *mpf, db_pgno_t *pgnoaddr, unsigned long flags, void **pagep);

/*
 * memp_fput - give a page back.  Any thread of the process may.  flags: 0, or DB_MPOOL_DISCARD
 * and at most one of DB_MPOOL_CLEAN, DB_MPOOL_DIRTY.  The pin is released even if EINVAL (flags)
 * or EACCES (DIRTY on a read-only file) is returned; then nothing becomes dirty.  EINVAL too for
 * an address that this process has not pinned through this file: then nothing happens.  ESTALE or
 * DB_RUNRECOVERY: the pin is released all the same.
 */
POOLFS_API int memp_fput(DB_MPOOLFILE *mpf, void *pgaddr, unsigned long flags);

/* memp_fset - as memp_fput, errors too, without releasing the pin.  flags 0: EINVAL. */
POOLFS_API int memp_fset(DB_MPOOLFILE *mpf, void *pgaddr, unsigned long flags);

/*
 * memp_fsync - write all dirty pages of the file, in page order, and fsync(2) it.  Blocks for as
 * long as the device does.  Pages that are pinned are skipped: then, after the others are on
 * disk, DB_INCOMPLETE.  A write error of this file since this handle's last report is returned,
 * once.  EIO, too: pages that this process may not write or cannot convert.  What pwrite(2),
 * fsync(2), pgout and lg_flush return.  Read-only and temporary files: 0.
 */
POOLFS_API int memp_fsync(DB_MPOOLFILE *mpf);

/*
 * memp_sync - write all dirty pages whose LSN is at most *lsn (lsn NULL: all dirty pages), and
 * fsync their files.  Files without lsn_offset are always written.  DB_INCOMPLETE if some were
 * pinned.  On success *lsn is the largest LSN written.  EINVAL: lsn given and no dbenv->lg_flush.
 * A write error of any file that was not reported yet is returned; others as of memp_fsync.
 */
POOLFS_API int memp_sync(DB_MPOOL *mp, DB_LSN *lsn);

/*
 * memp_stat - statistics, in memory from db_malloc (NULL: malloc(3)) that the caller frees: *gsp
 * one block; *fsp one block, a NULL-terminated array of pointers (NULL if the pool has no files).
 * Either of gsp and fsp may be NULL.  Blocks nobody.
 */
POOLFS_API int memp_stat(
    DB_MPOOL *mp, DB_MPOOL_STAT **gsp, DB_MPOOL_FSTAT ***fsp, void *(*db_malloc)(size_t));

/*
 * --- Additions [ours] ------------------------------------------------------------------------
 */

/*
 * memp_trickle - write dirty pages until pct (1..100, else EINVAL) per cent of the pages in the
 * pool are clean, or no more can be; those that are pinned are skipped.  *nwrotep, unless NULL: how
 * many were written.  Where none could be, what writing one returned.
 */
POOLFS_API int memp_trickle(DB_MPOOL *mp, int pct, int *nwrotep);

/* memp_fsize - the file's length in bytes, as the pool knows it. */
POOLFS_API int memp_fsize(DB_MPOOLFILE *mpf, off_t *bytesp);

/*
 * memp_ftruncate - set the file's length.  Longer: a hole of zeros.  Shorter: pages behind the
 * end leave the pool, changed or not (one that is pinned is zeroed instead), and the rest of the
 * last page is zeroed.  The disk file has the new length on return.  EINVAL: negative, or not a
 * multiple of the page size without DB_ODDFILESIZE; EACCES: read-only handle; EFBIG: more than 2^32
 * pages; what ftruncate(2) returns.
 */
POOLFS_API int memp_ftruncate(DB_MPOOLFILE *mpf, off_t bytes);

/*
 * memp_fprefetch - read those of the n pages from first that are missing, in large requests,
 * pinning nothing; at most as many as half of the pool holds.  Best effort: 0 even if less, or
 * nothing, was read.  Who asks for one of them later has found it in the cache: a hit.
 */
POOLFS_API int memp_fprefetch(DB_MPOOLFILE *mpf, db_pgno_t first, db_pgno_t n);

/*
 * memp_fremove - remove a file or an empty directory, as unlink(2) and rmdir(2) do.  file: as for
 * memp_fopen; of a symbolic link the link.  The pages of a file whose last name went leave the pool
 * unwritten, once nobody has it open.
 *
 * memp_frename - rename a file or directory, as rename(2) does; a file that `to` named is removed
 * so.  Pages stay with their file, and are written to it under its new name.  The disk space of a
 * file that is gone is free when each process that has written pages of it for others has called
 * memp_fopen, memp_fclose, memp_sync, memp_trickle, memp_stat or memp_reap once more, or closed.
 *
 * Errors: EINVAL NULL or empty, or on the mount of another pool; ENAMETOOLONG; what the system
 * calls return.
 */
POOLFS_API int memp_fremove(DB_MPOOL *mp, const char *file);
POOLFS_API int memp_frename(DB_MPOOL *mp, const char *from, const char *to);

/*
 * memp_resize - make the pool hold bytes of pages, rounded up as at creation, while it is in use.
 * Smaller: pages leave it (dirty ones are written) and their memory goes back to the system.
 * Larger than it was made: only as far as DB_ENV.region_max was set then.  Nothing has changed
 * after an error: EINVAL less than 20 KiB; ENOMEM more than it may have, or than the machine has to
 * spare; ENOSPC; EBUSY pages are pinned, or cannot be written, where they are in the way; EAGAIN
 * another process is resizing.  Before EBUSY or EAGAIN it waits for half a second in all; and up to
 * 5 seconds for a process that joins or removes the pool at that moment: EAGAIN, too.
 */
POOLFS_API int memp_resize(DB_MPOOL *mp, size_t bytes);

/* memp_reap - take over what killed processes left in the pool, now. */
POOLFS_API int memp_reap(DB_MPOOL *mp);

#ifdef __cplusplus
}
#endif
#endif
