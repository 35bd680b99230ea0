/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/mount.h - what the filesystem asks of the pool beyond the published calls.
 *
 * Conventions as in poolfs/mpool.h.
 */
#ifndef POOL_MOUNT_H
#define POOL_MOUNT_H

#include <stdbool.h>

#include <poolfs/mpool.h>

#include "../base/os.h"
#include "../region/region.h"

/*
 * mpool_open_fd - open a file by descriptor.  fd is taken over whatever is returned (closed on
 * failure).  name: the absolute path, for people and for reopening.  flags: DB_RDONLY,
 * DB_ODDFILESIZE.  The open is soft: page size and ftype are those the file already has in the
 * pool; pagesize applies only if it is not there.  A file that changed on disk behind the pool's
 * back, and has nothing dirty in it, is dropped from the pool and read anew; if something is
 * dirty it wins, with a message.
 */
int mpool_open_fd(
    DB_MPOOL *mp, int fd, const char *name, int flags, size_t pagesize, DB_MPOOLFILE **mpfp);

/* The handle's descriptor (owned by the handle), page size. */
int mpool_file_fd(const DB_MPOOLFILE *mpf);
size_t mpool_file_pagesize(const DB_MPOOLFILE *mpf);

/*
 * Look again whether the disk file was changed behind the pool's back (size, mtime, ctime), as at
 * open.  Call it at every open(2) of a file that is already open in the pool.
 */
int mpool_file_revalidate(DB_MPOOLFILE *mpf);

/* How often the handle has found it changed, and dropped what the pool had of it. */
uint32_t mpool_file_disk_taken(const DB_MPOOLFILE *mpf);

/* Take what the disk file's stat says now as our own doing (after chmod, link, utimens ... by the
 * mount itself), so that the next revalidate does not drop the file's pages. */
void mpool_file_restamp(DB_MPOOLFILE *mpf);

/* Pages that were brought in for who asks for them next; n 0: none. */
#define MPOOL_FETCH_MOST 2112u /* a request of 1 MiB in pages of 512 bytes has one more than 2048 */
struct mpool_fetched {
	db_pgno_t first, n;
	uint64_t came[MPOOL_FETCH_MOST / 64]; /* page first + i: bit i */
};

static inline bool
mpool_was_fetched(const struct mpool_fetched *fetched, db_pgno_t pgno)
{
	db_pgno_t i = pgno - fetched->first;

	return i < fetched->n && (fetched->came[i / 64] >> i % 64 & 1) != 0;
}

/*
 * mpool_fetch - memp_fprefetch of pages that are asked for already, MPOOL_FETCH_MOST of them at
 * most.  *fetched says which of them came; who gives it to the two calls below has them counted as
 * pages that were not found.  They do not count as prefetched.
 *
 * mpool_get - memp_fget without flags.
 *
 * mpool_get_at_hand - pin n pages from first on, up to the first that is not in the pool where
 * this process found it last, or that lies behind the end.  Returns how many are in pages[].
 * Nothing is read and nobody is waited for: what is not at hand mpool_get gets.  Each counts as a
 * memp_fget that was a hit, if it was not fetched for this.
 *
 * mpool_put_all - memp_fput without flags of n pages, best in the order in which they were got.
 *
 * mpool_put_all_dirty - the same with DB_MPOOL_DIRTY.  All are put, whatever it returns: an error
 * of memp_fput's.
 */
int mpool_fetch(DB_MPOOLFILE *mpf, db_pgno_t first, db_pgno_t n, struct mpool_fetched *fetched);
int mpool_get(DB_MPOOLFILE *mpf, db_pgno_t pgno, const struct mpool_fetched *fetched, void **pagep);
unsigned mpool_get_at_hand(DB_MPOOLFILE *mpf, db_pgno_t first, unsigned n,
    const struct mpool_fetched *fetched, void **pages);
void mpool_put_all(DB_MPOOLFILE *mpf, void **pages, unsigned n);
int mpool_put_all_dirty(DB_MPOOLFILE *mpf, void **pages, unsigned n);

/*
 * Replace all bytes of a page before the end, and put it dirty.  A page that is not in the pool
 * is not read for it.  EINVAL behind the end; EACCES; as memp_fget.
 */
int mpool_overwrite(DB_MPOOLFILE *mpf, db_pgno_t pgno, const void *bytes);

/* How often the file was made shorter, by whatever process, since the pool knows it. */
uint64_t mpool_file_cuts(const DB_MPOOLFILE *mpf);

/* Make the length at least bytes; never shorter.  The disk file follows at write-back or sync. */
int mpool_file_extend(DB_MPOOLFILE *mpf, off_t bytes);

/*
 * Make the length to if it is from; EAGAIN if it is not.  So of several that append only one gets
 * the bytes behind the end, in whatever process.
 */
int mpool_file_claim(DB_MPOOLFILE *mpf, off_t from, off_t to);

/*
 * Make the length to (smaller) if it still is from; else somebody has gone on from there:
 * nothing.
 */
int mpool_file_retract(DB_MPOOLFILE *mpf, off_t from, off_t to);

/* Give the disk file exactly the pool's length, so that blocks reserved behind it go. */
int mpool_file_trim(DB_MPOOLFILE *mpf);

/*
 * Another process wants to open the file with another page size or type, and waits (3 s) for
 * this handle to be closed.
 */
bool mpool_file_wanted(const DB_MPOOLFILE *mpf);
bool mpool_any_wanted(DB_MPOOL *mp); /* is any file? */

size_t mpool_rows(const DB_MPOOL *mp); /* so many files can be known to the pool at a time */

/*
 * Is there a file that nobody has open, and whose pages could be written as far as is known?  If
 * there was no room for one more all the same, somebody has a page of it in hand for a moment.
 */
bool mpool_any_leaving(const DB_MPOOL *mp);

/*
 * Blocks are reserved behind the end only until the file is closed, and are to be given back: what
 * is noted here the next one to open it finds, if that is due to a process that was killed.
 */
void mpool_file_note_ahead(DB_MPOOLFILE *mpf, bool ahead);
bool mpool_file_is_ahead(const DB_MPOOLFILE *mpf);

/* Has nobody else, in this process or another, the file open just now? */
bool mpool_file_is_alone(const DB_MPOOLFILE *mpf);

/*
 * Is a write of this page, which the caller has pinned, due or under way?  If not, then whatever
 * was stored into it before the call is what a write that begins later will write.
 */
bool mpool_page_is_unwritten(const DB_MPOOLFILE *mpf, const void *page);

/* The file's type; 0: its pages are in the pool as they are in the file. */
int mpool_file_type(const DB_MPOOLFILE *mpf);

/*
 * Between the two nobody cuts the file, and *lengthp is how long it is, or it is longer.  The
 * caller has pinned what he needs: meanwhile he gets no page.
 */
int mpool_file_hold_end(DB_MPOOLFILE *mpf, off_t *lengthp);
void mpool_file_let_end(DB_MPOOLFILE *mpf);

/*
 * Around whatever the caller itself writes to the file, or punches in it, through mpool_file_fd():
 * region_write_begin and region_write_end, with what they say.
 */
int mpool_file_write_begin(DB_MPOOLFILE *mpf);
void mpool_file_write_end(DB_MPOOLFILE *mpf);

/*
 * The modification time people shall see, in ns since 1970; 0, and the least and greatest that
 * there are: the disk file's own.  Set by the mount at each write and at utimens; whoever writes
 * the file's pages back gives the disk file this time afterwards.
 */
void mpool_file_set_mtime(DB_MPOOLFILE *mpf, int64_t nsec);
int64_t mpool_file_mtime(const DB_MPOOLFILE *mpf);

/*
 * fsync(2)'s promise: everything put or written before the call is on disk at return, pages that
 * are pinned included (from a copy; they stay dirty).  data_only: write, but do not fsync the
 * file.
 */
int mpool_file_sync(DB_MPOOLFILE *mpf, bool write_only);

/*
 * The kernel on whose behalf a mount works may keep pages of files (P24, kcache.h).  One process
 * of a pool at a time may let it: mpool_kcache_claim, EBUSY if another one does.  The claim, and
 * all that follows from it, ends with memp_close or death.
 *
 * mpool_kcache_begin: the kernel may keep pages of the file from now on until mpool_kcache_end.
 * *keptp: those that it has from before, kept at the last end, are still good.  EBUSY: another
 * process has the file open for writing, unless anyhow is set; EPERM: no claim.  Between the two,
 * if another process opens the file for writing (mpool_kcache_shared), it asks for all pages to be
 * dropped, and waits: drop_begin takes that request (false: there is none; *latep: who made it does
 * not wait any more), drop_end says that it is done.
 * mpool_kcache_drops goes up with every such request.  The others wait, too, with every changed
 * page that they put, and when they have made the file longer with the last one: told lists what
 * they tell, answer lets one go on, once the kernel has no copy of that page from before the call
 * of told, and knows how long the file is.  The bell rises with all of this; wait sleeps while it
 * is what it was.
 *
 * mpool_kcache_late: how often others have lost patience, because the mount was stopped; then
 * all of the file is to be dropped (drop_begin).
 */
struct mpool_told {
	uint32_t block;
	uint32_t ticket;
	uint32_t file; /* as mpool_file_id */
	db_pgno_t pgno;
};
int mpool_kcache_claim(DB_MPOOL *mp);
int mpool_kcache_begin(DB_MPOOLFILE *mpf, bool anyhow, bool *keptp);
void mpool_kcache_end(DB_MPOOLFILE *mpf, bool keep);
bool mpool_kcache_shared(DB_MPOOLFILE *mpf);
void mpool_kcache_ask_drop(DB_MPOOLFILE *mpf); /* of ourselves; does not wait */
bool mpool_kcache_drop_begin(DB_MPOOLFILE *mpf, bool *latep);
/* Others ask for it, and do not wait any more. */
bool mpool_kcache_is_late(const DB_MPOOLFILE *mpf);
void mpool_kcache_drop_end(DB_MPOOLFILE *mpf);
uint32_t mpool_kcache_drops(const DB_MPOOL *mp);
uint32_t mpool_kcache_late(const DB_MPOOL *mp);
unsigned mpool_kcache_told(DB_MPOOL *mp, struct mpool_told *told, unsigned most);
void mpool_kcache_answer(DB_MPOOL *mp, const struct mpool_told *told);
/* A page was changed that is not put dirty, because the file has it already. */
void mpool_kcache_tell(DB_MPOOLFILE *mpf, db_pgno_t pgno);
uint32_t mpool_kcache_bell(const DB_MPOOL *mp);
void mpool_kcache_wait(DB_MPOOL *mp, uint32_t bell, unsigned usec);
void mpool_kcache_ring(DB_MPOOL *mp); /* wakes who waits */
/* The number by which the pool knows the file, never used twice in a pool's life. */
uint32_t mpool_file_id(const DB_MPOOLFILE *mpf);

/* A write error of the file that this handle was not told of yet; 0 if none.  Tells once. */
int mpool_file_error(DB_MPOOLFILE *mpf);

/*
 * The length and mtime of a file that is in the pool but not open here; ENOENT if it is not in
 * it.
 */
int mpool_ident_attr(DB_MPOOL *mp, const struct os_ident *id, off_t *bytesp, int64_t *mtimep);

/*
 * The last link of the file went: drop its pages now if nobody has it open, else at last close.
 */
void mpool_ident_gone(DB_MPOOL *mp, const struct os_ident *id);

/* from (a file or directory, absolute) is now called to: correct the paths in the file table. */
void mpool_renamed(DB_MPOOL *mp, const char *from, const char *to);

/*
 * Write what has been dirty for more than usec (0: everything), syncing nothing.  *nwrotep pages.
 */
int mpool_write_old(DB_MPOOL *mp, uint64_t usec, uint64_t *nwrotep);

/*
 * From now on a file that another client had open, and which is opened here to write its pages, is
 * only opened beneath the directory, through no link of any kind.  Pages of files elsewhere count
 * as pinned: memp_sync is DB_INCOMPLETE.  If others may write the region, pages of a file that was
 * not opened for writing here are written only if all of them may write the file, too: else
 * memp_sync is EIO.  Once for a handle.
 */
int mpool_confine(DB_MPOOL *mp, const char *directory);

/*
 * DB_ENV.region_max for a pool that is made with bytes of pages, most of them of pagesize, and may
 * grow to most; 0 if that is no more.
 */
size_t mpool_region_max(size_t bytes, size_t most, size_t pagesize);

/* The region of the pool, for regions/ and status. */
struct region *mpool_region(DB_MPOOL *mp);

/* Pages pinned by client number now. */
uint64_t mpool_client_pins(DB_MPOOL *mp, uint32_t number);

/*
 * The invariant walker: 0, or EFAULT with a sentence for each violation through the DB_ENV.  At
 * rest (nothing else uses the pool) every invariant is checked; busy: only those that hold at any
 * time.
 */
int mpool_check(DB_MPOOL *mp, bool at_rest);

#endif
