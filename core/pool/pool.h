/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/pool.h - a process's view of the pool, and what the files of core/pool offer each other.
 *
 * struct __db_mpool (the handle) holds a checked copy of the geometry and addresses computed from
 * it; nothing that is read from the region later is used as an offset or index without a check
 * against that copy.  Lock order: files_mutex, then threads_mutex, then the region lock, then one
 * bucket.  No system call that blocks is made under the region lock or a bucket.
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "../base/atomics.h"
#include "../base/error.h"
#include "../base/os.h"
#include "../region/region.h"
#include "../region/shalloc.h"
#include "../region/shlock.h"
#include "layout.h"
#include "mount.h"

#define DEFAULT_CACHE_BYTES ((size_t)128 << 10)
#define MIN_CACHE_BYTES ((size_t)20 << 10)
#define WAIT_USEC 100000u	   /* the longest sleep before looking again (P18) */
#define STEAL_USEC 1000000u	   /* a load older than this is taken from its loader (P11) */
#define HINTS 128		   /* frames that a thread believes to be free, per page size */
#define IO_BYTES ((size_t)1 << 20) /* a thread's buffer for copies to be written */

/* A pin as its process knows it. */
struct pin {
	DB_MPOOLFILE *mpf;
	bool set_dirty; /* memp_fset through this pin made the clean page dirty */
	bool set_clean; /* memp_fset asked to undo that */
};

struct pin_block {
	struct block *b;
	uint32_t index;
	uint64_t used;	   /* slots in use, as its own thread knows */
	uint64_t returned; /* slots that other threads have emptied since; atomic */
	struct pin pins[BLOCK_SLOTS];
};

struct hint_list {
	uint32_t n;
	uint32_t frames[HINTS];
};

/* What one thread of this process has in one pool. */
struct thread {
	struct thread *next;	     /* in the pool's list */
	struct thread *next_of_self; /* in the thread's own list of pools */
	DB_MPOOL *pool;		     /* NULL: the pool was closed */
	uint64_t pool_id;
	pthread_t self;
	bool exited;
	bool in_callback; /* inside pgin, pgout or lg_flush: memp_* is EDEADLK */
	unsigned npins;	  /* blocks below */
	struct pin_block **pins;
	struct pin_block *first; /* pins[0] */
	struct block *home;	 /* first->b: notes and counters */
	unsigned notes;		 /* highest note in use, about */
	struct hint_list free[PAGE_SHIFTS];
	uint32_t evicted[PAGE_SHIFTS]; /* since another size's extent was looked at */
	uint8_t *io;		       /* IO_BYTES, allocated when first needed */
};

struct registration {
	struct registration *next;
	int ftype;
	int (*pgin)(db_pgno_t, void *, DBT *);
	int (*pgout)(db_pgno_t, void *, DBT *);
};

/* A descriptor opened to write back a file that this process has not open. */
struct writer_fd {
	uint32_t file; /* 0: unused */
	int fd;
	uint64_t used_usec;
	uint64_t refused_usec; /* not 0: this process may not; tried then */
};
#define WRITER_FDS 64

struct __db_mpool {
	uint64_t id; /* of the handle, for the threads' caches */
	DB_ENV *dbenv;
	struct region *region;
	bool threaded;
	bool temporary; /* to be removed at close */
	bool removing;	/* by memp_unlink: only if nothing is dirty */
	bool nommap;
	char *home;	/* the environment's directory; NULL if private */
	char *dir;	/* of the region's file */
	uint32_t self;	/* client number */
	struct geometry g;
	/* addresses in the region */
	struct mpool *mp;
	struct block *blocks;
	struct file_row *rows;
	uint32_t *hash;
	struct open_record *opens;
	uint8_t *heap;
	struct bucket *buckets;
	uint64_t *overflow;
	uint64_t *extents;
	uint64_t *hints;
	struct frame *frames;
	uint8_t *index;
	uint8_t *area;
	/* this process's */
	pthread_mutex_t files_mutex;   /* files, registrations, writer_fds */
	pthread_mutex_t threads_mutex; /* threads */
	pthread_mutex_t spare_mutex;   /* spare */
	struct thread *spare;	       /* for a put by a thread that can get no block */
	DB_MPOOLFILE *files;
	struct registration *registrations;
	struct writer_fd writers[WRITER_FDS];
	struct thread *threads;
	struct thread *single; /* the only one, where not threaded */
};

struct __db_mpoolfile {
	DB_MPOOLFILE *next;
	DB_MPOOL *pool;
	struct file_row *row;
	struct open_record *record;
	uint32_t file; /* id, checked against the row's */
	unsigned pageshift;
	size_t pagesize;
	int ftype;
	int fd; /* -1: temporary, not on disk yet */
	bool rdonly;
	bool odd;
	bool temporary;
	bool soft;
	bool type_known;     /* ftype is 0, or was found registered */
	uint32_t error_seen; /* row->error_seq at the last report */
	uint32_t users;	     /* write-backs that use fd; under files_mutex */
	DBT cookie;
};

/* --- frame.c: descriptors and their words -------------------------------------------------- */

static inline struct frame *
frame_at(const DB_MPOOL *p, uint32_t f)
{
	return &p->frames[f];
}

/*
 * Is f the number of a frame of that page size?  What comes from shared memory is asked this
 * first.
 */
static inline bool
frame_fits(const DB_MPOOL *p, uint32_t f, unsigned pageshift)
{
	return f < p->g.nframes &&
	    (f & (p->g.frames_per_extent - 1)) < 1u << (p->g.extent_shift - pageshift);
}

static inline void *
frame_address(const DB_MPOOL *p, uint32_t f, unsigned pageshift)
{
	uint64_t e = f >> (p->g.extent_shift - PAGE_SHIFT_MIN);
	uint64_t i = f & (p->g.frames_per_extent - 1);

	return p->area + (e << p->g.extent_shift) + (i << pageshift);
}

/* The frame at an address of the page area, NO_FRAME if none begins there. */
static inline uint32_t
frame_of_address(const DB_MPOOL *p, const void *addr, unsigned pageshift)
{
	uint64_t off, within;
	uint32_t e;

	if ((const uint8_t *)addr < p->area)
		return NO_FRAME;
	off = (uint64_t)((const uint8_t *)addr - p->area);
	if (off >= p->g.cache_bytes)
		return NO_FRAME;
	e = (uint32_t)(off >> p->g.extent_shift);
	within = off & ((1ull << p->g.extent_shift) - 1);
	if (within & ((1ull << pageshift) - 1))
		return NO_FRAME;
	return (e << (p->g.extent_shift - PAGE_SHIFT_MIN)) + (uint32_t)(within >> pageshift);
}

/* The page shift of the extent that f is in, 0 if it has none (or the region is damaged). */
unsigned frame_pageshift(const DB_MPOOL *p, uint32_t f);

/*
 * Leave a transition that this client owns: state becomes `to` without owner, the bits in clear
 * go and those in set come, and sleepers are woken.  False (nothing done) if the frame is not in
 * state from with this owner any more: another took it over.
 */
bool frame_leave(DB_MPOOL *p, uint32_t f, enum frame_state from, enum frame_state to, uint64_t set,
    uint64_t clear);

/*
 * Enter a transition: CAS from exactly w to (state, self), version raised.  *markp is the new
 * word.
 */
bool frame_mark(DB_MPOOL *p, uint32_t f, uint64_t w, enum frame_state state, uint64_t *markp);

/*
 * Sleep until the frame's word is no longer w's state and owner, or WAIT_USEC; heal a dead owner.
 */
void frame_wait(struct thread *t, uint32_t f, uint64_t w);

/*
 * From a state that we own to FREE: hint set, note cleared, sleepers woken.  False: not ours so.
 */
bool frame_free(struct thread *t, uint32_t f, enum frame_state from);

/* --- thread.c: blocks, slots, notes, counters ---------------------------------------------- */

extern __thread struct thread *thread_last __attribute__((tls_model("initial-exec")));

/* The calling thread's part, if it is at hand and no callback is running; else NULL. */
static inline struct thread *
thread_at_hand(const DB_MPOOL *p)
{
	struct thread *t = p->threaded ? thread_last : p->single;

	return t != NULL && t->pool_id == p->id && !t->in_callback ? t : NULL;
}

/* region_usable(), yes or no, without a call. */
static inline bool
pool_is_usable(const DB_MPOOL *p)
{
	const RLAYOUT *rl = p->region->layout;

	return p->region->fork_generation == os_fork_generation() &&
	    load_relaxed(&rl->panic) == 0 && load_relaxed(&rl->valid) == DB_REGIONMAGIC;
}

/* The calling thread's part of the pool; EAGAIN if the region has no block left. */
int thread_self(DB_MPOOL *p, struct thread **tp);
int thread_spare(DB_MPOOL *p); /* makes p->spare */
void threads_close(DB_MPOOL *p);

/* A free slot: *slotp in the region, *pinp its private half.  EAGAIN with a sentence if none. */
int slot_take(struct thread *t, uint32_t **slotp, struct pin **pinp);
/* Empty a slot that slot_take gave to this thread. */
void slot_drop(struct thread *t, uint32_t *slot);

/* Notes: frames that reap must look at if we die.  Before the first store of our number. */
void note_frame(struct thread *t, uint32_t f);
void note_clear(struct thread *t, uint32_t f);

static inline void
count(struct thread *t, enum counter c, uint64_t n)
{
	counter_add(&t->home->counters[c], n);
}

uint64_t counter_sum(const DB_MPOOL *p, enum counter c);

/* The set of frames that any slot names, asked for up to BATCH frames at once (P7). */
struct pin_scan {
	uint32_t n;
	uint32_t frames[BATCH];
	bool pinned[BATCH];
};
/* Fill pinned[].  except: a client number whose slots do not count, or NO_CLIENT. */
void pins_scan(const DB_MPOOL *p, struct pin_scan *s, uint32_t except);

/* --- page_table.c -------------------------------------------------------------------------- */

struct table_place {
	uint32_t first, second; /* buckets */
	uint32_t tag;
};

static inline struct table_place
table_place(const DB_MPOOL *p, uint64_t key)
{
	uint64_t h = key * 0x9e3779b97f4a7c15ull;
	struct table_place at;

	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	h ^= h >> 29;
	at.tag = (uint32_t)(h >> 32);
	at.first = (uint32_t)((uint64_t)(uint32_t)h * p->g.nbuckets >> 32);
	at.second = (uint32_t)((uint64_t)(at.tag * 0x5bd1e995u) * p->g.nbuckets >> 32);
	return at;
}

/* Lock, unlock the bucket that guards a key's uniqueness; a dead holder's lock is taken over. */
void table_lock(struct thread *t, uint32_t bucket);
void table_unlock(struct thread *t, uint32_t bucket);

/* The frame that has an entry for key, comparing full keys over all equal tags, any state counts;
 * NO_FRAME if none. */
uint32_t table_look(const DB_MPOOL *p, const struct table_place *at, uint64_t key);

/*
 * Publish; the caller holds at->first.  ENOSPC: no cell in either bucket nor in the overflow
 * area.
 */
int table_insert(DB_MPOOL *p, const struct table_place *at, uint32_t f);

/* Take the entry of (key, f) away; nothing if there is none. */
void table_withdraw(DB_MPOOL *p, uint64_t key, uint32_t f);

/* Frames with entries in the two buckets, for making room. */
unsigned table_neighbours(const DB_MPOOL *p, const struct table_place *at, uint32_t frames[]);

/*
 * P5: drop a page that was made dirty once, if nobody pins it and nobody marked it since version.
 */
void evict_undone(struct thread *t, uint32_t f, uint64_t key, uint64_t version);
/*
 * Evict a clean page that nobody but dead client `except` has pinned; waits for a write in
 * progress.
 */
void evict_except(struct thread *t, uint32_t f, uint32_t except);

/* --- extent.c: page sizes and free frames -------------------------------------------------- */

/* A page shift from shared memory: one that this pool can have, or 0. */
static inline unsigned
checked_pageshift(const DB_MPOOL *p, uint32_t s)
{
	return s >= PAGE_SHIFT_MIN && s <= PAGE_SHIFT_MAX && s <= p->g.extent_shift ? s : 0;
}

static inline unsigned
extent_pageshift(const DB_MPOOL *p, uint64_t w)
{
	return checked_pageshift(p, (uint32_t)(w & EXTENT_SHIFT));
}

static inline uint32_t
extent_frames(const DB_MPOOL *p, unsigned pageshift)
{
	return 1u << (p->g.extent_shift - pageshift);
}

/* Claim a FREE frame of that page size without evicting: CLAIMED by us, noted.  False: none. */
bool extent_claim_free(struct thread *t, unsigned pageshift, uint32_t *fp);
/* An extent has a free frame, as far as anybody knows. */
void extent_hint_free(DB_MPOOL *p, uint32_t f);
/* Is some extent on its way to another page size?  Then it is worth waiting for. */
bool extent_is_changing(const DB_MPOOL *p);
/* Empty the coldest extent of another page size and give it to this one.  ENOMEM: none can be. */
int extent_take_over(struct thread *t, unsigned pageshift);
/* Now and then: take over an extent of another size whose pages nobody uses any more. */
void extent_balance(struct thread *t, unsigned pageshift);

/* --- evict.c ------------------------------------------------------------------------------- */

/*
 * A frame for a new page: CLAIMED by us, noted, with no entry.  Evicts, writes, takes over
 * extents.  ENOMEM with a sentence.
 */
int frame_take(struct thread *t, unsigned pageshift, uint32_t *fp);
/*
 * The same without waiting for anybody and without a sentence, for a caller that has others (P9).
 */
int frame_take_now(struct thread *t, unsigned pageshift, uint32_t *fp);

enum evict_flags {
	EVICT_DIRTY = 1, /* dirty pages go too, unwritten (truncation, removal) */
	EVICT_RW = 2,	 /* they were written for this: count rw_evict */
};

/*
 * Evict those of n (<= BATCH) frames that are VALID, hold the expected key (keys[i]; keys NULL:
 * any), and nobody pins.  Returns how many went; pinned[i] is set for those that stayed because
 * of a pin.
 */
unsigned evict_frames(struct thread *t, const uint32_t frames[], const uint64_t keys[], unsigned n,
    enum evict_flags flags, bool pinned[]);

/* --- dirty.c: the dirty index -------------------------------------------------------------- */

/* Mark dirty a frame that this process has pinned (P4).  True if it was clean before. */
bool dirty_mark(struct thread *t, struct file_row *row, uint32_t f);

/* The frame was written (or is dropped, and CLAIMED by us): no longer indexed. */
void dirty_unindex(DB_MPOOL *p, uint32_t f);

/*
 * Frames that may be dirty or on their way, of file id in groups; up to n from frame *fromp on,
 * which moves; 0 at the end.
 */
unsigned dirty_list(struct thread *t, struct file_row *row, uint32_t file, uint32_t *fromp,
    uint32_t frames[], unsigned n);

/* Bits of groups in which nothing of the file is indexed any more go. */
void dirty_tidy(struct thread *t, struct file_row *row, uint32_t file);

uint64_t dirty_groups(const struct file_row *row);

/* --- page_io.c ----------------------------------------------------------------------------- */

/* Read page pgno into a frame that we own (LOADING).  Zeros behind the end.  pgin. */
int page_read(struct thread *t, DB_MPOOLFILE *mpf, uint32_t f, db_pgno_t pgno);
/* The pgin of a page created by DB_MPOOL_CREATE; nothing if the ftype has none. */
int page_in(struct thread *t, DB_MPOOLFILE *mpf, void *page, db_pgno_t pgno);
bool registered(DB_MPOOL *p, int ftype, struct registration *copy);

/* --- writeback.c --------------------------------------------------------------------------- */

enum write_flags {
	WRITE_PINNED = 1,  /* pinned pages too, from a copy; they stay dirty (P14) */
	WRITE_TRICKLE = 2, /* count them as trickled */
	WRITE_SAY = 4,	   /* a file that this process may not write deserves a sentence */
};

struct write_result {
	uint64_t written; /* pages */
	uint64_t pinned;  /* dirty pages left because they are pinned */
	uint64_t missed;  /* dirty pages left because somebody else was at them, or they failed */
	int error;	  /* the first error */
	DB_LSN largest;	  /* LSN written */
};

/*
 * Write those of n (<= BATCH) frames that are dirty, sorted and joined.  The result is added to.
 */
void write_frames(struct thread *t, uint32_t frames[], unsigned n, enum write_flags flags,
    struct write_result *res);

/* Write all that is dirty in a file, and wait for what others are writing. */
void write_file(struct thread *t, struct file_row *row, uint32_t file, enum write_flags flags,
    const DB_LSN *upto, struct write_result *res);

/* Write all that is dirty in the pool; with sync, fsync the files that were written to. */
void pool_write_all(struct thread *t, enum write_flags flags, const DB_LSN *upto, bool sync,
    struct write_result *res);

/* --- file.c: the file table ---------------------------------------------------------------- */

struct file_spec {
	const struct os_ident *ident; /* NULL: temporary */
	const char *path;	      /* absolute */
	unsigned pageshift;
	int ftype;
	int lsn_offset;
	const DBT *cookie; /* may be NULL */
	const u_int8_t *uid;
	uint64_t length;
	const struct os_stat *st;
	uint32_t open_flags; /* OPEN_* */
};

/* How many rows, and open records, were ever used: what a walk has to look at. */
uint32_t rows_used(const DB_MPOOL *p);
uint32_t opens_used(const DB_MPOOL *p);

void region_lock(DB_MPOOL *p); /* the region lock; repairs what a dead holder left */
void region_unlock(DB_MPOOL *p);

/* Find or enter the file, and enter an open record for it. */
int file_enter(struct thread *t, const struct file_spec *spec, struct file_row **rowp,
    uint32_t *idp, struct open_record **recordp);
/* Give an open record back; *lastp: nobody has the file open any more. */
void file_leave(DB_MPOOL *p, struct open_record *rec, bool *lastp);
void file_leave_locked(DB_MPOOL *p, struct open_record *rec);
/* Free a row nobody has open and of which no page is left. */
void file_forget(struct thread *t, struct file_row *row, uint32_t id);

/*
 * The row of a file id (which may come from a frame), NULL if the file is not known (any more).
 */
struct file_row *file_row(const DB_MPOOL *p, uint32_t id);
struct file_row *file_find(DB_MPOOL *p, const struct os_ident *id, uint32_t *idp);
/* A copy of the row's path (malloc), NULL if it has none. */
char *file_path(DB_MPOOL *p, const struct file_row *row, uint32_t id);
int file_cookie(DB_MPOOL *p, const struct file_row *row, uint32_t id, DBT *copy);
void file_set_path_locked(DB_MPOOL *p, struct file_row *row, const char *path);
void file_stamp(struct file_row *row, const struct os_stat *st);
bool file_stamp_is(const struct file_row *row, const struct os_stat *st);
void file_repair_locked(DB_MPOOL *p);

/* The row's page shift, checked; 0 and the region panics if it cannot be one. */
unsigned file_pageshift(DB_MPOOL *p, const struct file_row *row);
/* Pages that were pinned behind the end when the file was cut: gone or zero, before it grows. */
void file_clear_behind(struct thread *t, struct file_row *row, uint32_t id);
/*
 * Make the disk file, open as fd, as long as the row says, if it is shorter; loads and writes
 * wait.
 */
int file_grow_disk(struct thread *t, struct file_row *row, uint32_t id, int fd);
/* Remember a failed write for the file's handles. */
void file_set_error(struct file_row *row, int error);
/* Zero what lies behind the end in a pinned page of the file, while nobody can move the end. */
void file_clean_tail(struct thread *t, DB_MPOOLFILE *mpf, uint8_t *page, db_pgno_t pgno);
/* Raise the length to at least bytes. */
void file_extend(struct file_row *row, uint64_t bytes);
/* Is [pgno ...] being cut off right now? */
bool file_truncating(const struct file_row *row, db_pgno_t pgno, unsigned pageshift);
/*
 * Take the row's trunc word, not armed: loads and writes of the whole file wait.  False: it is
 * taken.
 */
bool file_trunc_begin(struct thread *t, struct file_row *row);
void file_trunc_end(struct thread *t, struct file_row *row);
/* length.c: memp_ftruncate to a larger length. */
int file_lengthen(struct thread *t, DB_MPOOLFILE *mpf, uint64_t bytes);
/* Wait until nobody truncates; finish a dead one's work. */
void file_truncate_wait(struct thread *t, struct file_row *row, uint32_t id);
/* For reap: the pool's part of a truncation whose process died, if it had gone ahead. */
void file_truncate_finish(struct thread *t, struct file_row *row, uint32_t id);

/* A descriptor to write a file with; *usedp is to be given to file_fd_put.  EACCES etc. */
struct file_fd {
	int fd;
	DB_MPOOLFILE *mpf; /* whose it is, or NULL */
	int ftype;
	int lsn_offset;
	DBT cookie; /* mpf's, or own memory */
	struct registration conversion;
	bool converts; /* conversion is to be used */
};
int file_fd_get(struct thread *t, struct file_row *row, uint32_t id, struct file_fd *ffd);
void file_fd_put(DB_MPOOL *p, uint32_t id, struct file_fd *ffd);
void file_fd_forget(DB_MPOOL *p, uint32_t id); /* 0: all */

/* --- drop.c: pages of a file that leave unwritten; truncation ------------------------------ */

/* Drop the pages from first on.  Number left because of pins, or dirt without dirty_too. */
unsigned file_drop_pages(struct thread *t, uint32_t id, db_pgno_t first, bool dirty_too);

/* --- fopen.c ------------------------------------------------------------------------------- */

/* See mpool_file_revalidate. */
int file_revalidate(struct thread *t, DB_MPOOLFILE *mpf);

/* --- stat.c -------------------------------------------------------------------------------- */

/* Pages in the pool now, and the dirty ones of these. */
void pool_pages(const DB_MPOOL *p, uint64_t *residentp, uint64_t *dirtyp);

/* --- reap.c -------------------------------------------------------------------------------- */

/* Take over a dead client's leavings if number is dead.  True if it was, and is done. */
bool reap_client(struct thread *t, uint32_t number);
/* A number that no client has: what names it is damaged. */
bool owner_is_impossible(const DB_MPOOL *p, uint32_t number);
/* Look at all clients. */
unsigned reap_all(struct thread *t);

/* --- get.c --------------------------------------------------------------------------------- */

/* The entry check of every call: usable region, not in a callback, the thread. */
int enter(DB_MPOOL *p, struct thread **tp);

#endif
