/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/layout.h - the pool's part of the region, as processes share it.
 *
 *   RLAYOUT, clients | struct mpool | blocks | file rows | row hash | open records | heap
 *   | buckets | overflow | extents | free hints | dirty index | stamps | ghosts | frames
 *   | page area
 *
 * The page area starts at a multiple of 2 MiB in large pools and is cut into extents.  An extent
 * holds pages of one size; frame f is page f % frames_per_extent of extent f / frames_per_extent,
 * so a frame number names an address once the page size is known, and descriptors never move.
 * The descriptors of an extent are spaced for 512-byte pages; those that its page size does not
 * need are never touched.  Stamps and dirty counts have a place each in frame_place()'s order.
 *
 * One word per frame is the authority; the page table, the dirty index, the hints and the
 * counters can be rebuilt.  core/README.md has the rules P1..P24 that the code cites.
 */
#ifndef POOL_LAYOUT_H
#define POOL_LAYOUT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include <poolfs/mpool.h>

#include "../base/latency.h"
#include "../region/rlayout.h"

#define MPOOL_MAGIC 0x706f6f6c66733035ull /* another when the bytes get another meaning */
#define PAGE_SHIFT_MIN 9		  /* 512 bytes */
#define PAGE_SHIFT_MAX 16		  /* 64 KiB */
#define PAGE_SHIFTS (PAGE_SHIFT_MAX - PAGE_SHIFT_MIN + 1)
#define NO_FRAME UINT32_MAX
#define BATCH 64 /* frames marked, scanned for and written together */

/* --- the frame word --------------------------------------------------------------------------
 *
 *  63          40 39..32   31   20 19        4 3       2     0
 * +--------------+--------+-------+-----------+-------+-------+
 * | version      | bits   |   0   | owner     |waiters| state |
 * +--------------+--------+-------+-----------+-------+-------+
 *                                 futex half ---------------->
 */
enum frame_state {
	FRAME_FREE,	/* nobody's */
	FRAME_CLAIMED,	/* owner's alone; its entry, if any, is about to go */
	FRAME_LOADING,	/* owner reads it; its entry is published */
	FRAME_VALID,	/* a page */
	FRAME_EVICTING, /* a page that owner proposes to evict; a hit cancels */
	FRAME_COPYING,	/* a page that owner proposes to copy for writing; a hit cancels */
	FRAME_WRITING,	/* a page of which owner writes a copy; hits ignore it */
};

#define FW_STATE 0x7ull
#define FW_WAITERS 0x8ull
#define FW_OWNER_SHIFT 4
#define FW_OWNER (0xffffull << FW_OWNER_SHIFT) /* client number + 1 */
#define FW_DIRTY (1ull << 32)		       /* must be written before it leaves */
#define FW_INDEXED (1ull << 33)		       /* counted in the dirty index (P4) */
#define FW_REDIRTY (1ull << 34)		       /* put dirty again while dirty (P5) */
#define FW_SUSPECT (1ull << 35)		       /* a killed process had it pinned */
#define FW_USED (1ull << 36)		       /* nothing to note of a hit but the time */
#define FW_DISCARD (1ull << 37)		       /* to be evicted before others */
#define FW_AHEAD (1ull << 38)		       /* read before anybody asked for it; not hit yet */
#define FW_VERSION_ONE (1ull << 40)
#define FW_VERSION (~0ull << 40)

struct frame {
	uint64_t word;
	uint64_t key; /* file id << 32 | page number; stable while VALID or pinned */
};
static_assert(sizeof(struct frame) == 16, "bookkeeping per page");

static inline enum frame_state
fw_state(uint64_t w)
{
	return (enum frame_state)(w & FW_STATE);
}

/* The client number that owns the transition; NO_CLIENT if none. */
static inline uint32_t
fw_owner(uint64_t w)
{
	return (uint32_t)((w & FW_OWNER) >> FW_OWNER_SHIFT) - 1;
}

/* w with another state and owner (client number, or NO_CLIENT), waiters kept. */
static inline uint64_t
fw_with(uint64_t w, enum frame_state state, uint32_t owner)
{
	return (w & ~(FW_STATE | FW_OWNER)) | (uint64_t)state |
	    (((uint64_t)(owner + 1) & 0xffff) << FW_OWNER_SHIFT);
}

/* A clean page that a killed process had pinned, and others too: it may be half changed (P17). */
static inline bool
fw_is_spoilt(uint64_t w)
{
	return (w & (FW_SUSPECT | FW_DIRTY)) == FW_SUSPECT;
}

static inline uint64_t
page_key(uint32_t file, db_pgno_t pgno)
{
	return (uint64_t)file << 32 | pgno;
}

static inline uint32_t
key_file(uint64_t key)
{
	return (uint32_t)(key >> 32);
}

static inline db_pgno_t
key_pgno(uint64_t key)
{
	return (db_pgno_t)key;
}

/* --- the page table ------------------------------------------------------------------------ */

#define BUCKET_CELLS 7
#define BUCKET_OWNER 0xffffull /* in the header: who holds the bucket; client number + 1 */
#define BUCKET_OVERFLOW                                                                            \
	(1ull << 16) /* some entry of this (first) bucket lies, or lay, in the overflow area */

struct bucket {
	uint64_t header;
	uint64_t cells[BUCKET_CELLS]; /* tag << 32 | frame + 1; 0 is empty */
};
static_assert(sizeof(struct bucket) == 64, "one cache line");

#define OVERFLOW_CELLS 8 /* one cache line of the overflow area is for one key */

/* --- extents ------------------------------------------------------------------------------- */

#define EXTENT_SHIFT 0xffull	    /* page shift; 0: not in use yet */
#define EXTENT_CHANGING (1ull << 8) /* the owner empties it for another page size */
#define EXTENT_CLOSED (1ull << 9)   /* not part of the pool now; see resize.c */
#define EXTENT_OWNER_SHIFT 16

/* --- thread blocks ------------------------------------------------------------------------- */

enum counter {
	C_HIT, /* beside those that are in tallies */
	C_MISS,
	C_NEW,
	C_CREATE,
	C_IN,
	C_OUT,
	C_RO_EVICT,
	C_RW_EVICT,
	C_DIRTIED,
	C_CLEANED,
	C_SEARCHES, /* look-ups other than those that ended in C_HIT at once */
	C_EXAMINED, /* buckets looked at beyond one per look-up */
	C_TRICKLE,
	C_SUSPECT,
	C_PREFETCH,
	C_READ_BYTES,
	C_WRITE_BYTES,
	C_REAPED,
	C_MAP,
	C_OVERFLOWED, /* look-ups that came to the overflow area */
	COUNTERS
};

#define COUNTERS_ROOM 24
#define BLOCK_SLOTS 64
#define BLOCK_NOTES 176 /* frames that the thread may be in the middle of changing */
#define BLOCK_TALLIES 4

/*
 * Hits of one file that neither its open record nor C_HIT has yet.  Raised by the block's thread
 * alone; the rest happens under its process's threads_mutex.
 */
struct tally {
	uint64_t record; /* open record + 1; 0: free */
	uint64_t hit;
};

/*
 * What one thread shares: its pins, what it is in the middle of, its counters.  Written by its
 * thread (slots: cleared by any thread of the process), read by evictors and reapers.  The
 * counters stay when a block changes hands: the pool's totals are the sums over all blocks,
 * whoever has them.
 */
struct block {
	uint32_t owner;	      /* client number + 1; 0 free; CAS */
	uint32_t note_bucket; /* bucket + 1 that it locks */
	uint32_t note_extent; /* extent + 1 that it changes */
	uint32_t note_row;    /* row + 1 that it truncates or whose index it tidies */
	int32_t tid;
	uint32_t counting;    /* between a change and its count; see recount.h */
	uint32_t note_resize; /* 1: it resizes the pool, or is about to */
	uint32_t told_ticket; /* odd: it tells a mount of the page below, and waits; kcache.h */
	uint32_t told_file;
	uint32_t told_pgno;
	uint32_t pad[6];
	uint64_t counters[COUNTERS_ROOM];
	uint32_t slots[BLOCK_SLOTS]; /* frame + 1; 0 empty */
	uint32_t notes[BLOCK_NOTES]; /* frame + 1; 0 empty */
	struct tally tallies[BLOCK_TALLIES];
};
static_assert(sizeof(struct block) % 64 == 0, "blocks do not share cache lines");

/* --- files --------------------------------------------------------------------------------- */

#define ROW_TEMP 0x1u	   /* memp_fopen with file NULL */
#define ROW_GONE 0x2u	   /* no link left: drop the pages with the last handle */
#define ROW_UID 0x4u	   /* uid[] is set */
#define ROW_WANTED 0x10u   /* somebody waits for its soft handles to be closed */
#define ROW_BEHIND 0x8u	   /* pages behind the end were pinned when it was cut */
#define ROW_UNSYNCED 0x20u /* the last fsync(2) of it has failed */
#define ROW_AHEAD 0x40u	   /* a mount has reserved blocks behind the end */

/*
 * The row's truncation word: 0, or client number + 1; with ARMED once trunc_length is right.  Not
 * armed, it holds off all loads and writes of the file and asks for nothing else (growing).
 */
#define TRUNC_OWNER 0xffffull
#define TRUNC_ARMED (1ull << 16)
#define TRUNC_CUT (1ull << 17) /* the disk file is being cut */

/*
 * The row's index-tidying word: version << 32 | client number + 1 << 16 | group + 1, or version
 * << 32.
 */

struct file_row {
	/* read at every miss and every length check */
	uint32_t id; /* 0: the row is free; id % nrows is the row */
	uint32_t flags;
	uint64_t length; /* bytes */
	uint64_t trunc;
	uint64_t trunc_length;
	uint32_t pageshift;
	int32_t ftype;
	int32_t lsn_offset;
	uint32_t error;	     /* errno of the last failed write-back */
	uint32_t error_seq;  /* raised with it */
	uint32_t stranded;   /* the last attempt to write found nobody who may */
	uint32_t written;    /* raised by each write to the file, or change of its length */
	uint32_t last_error; /* stays when error is made good, for handles not told yet */
	/* dirt */
	uint64_t groups;     /* bit g: some frame of group g may be indexed for this file */
	uint64_t clearing;   /* somebody decides whether a bit can go */
	uint64_t dirty_usec; /* when it became dirty; 0: not known to be */
	int64_t mtime_nsec;  /* what people shall see; 0: the disk file's */
	uint64_t resident;   /* pages */
	uint64_t dirty;	     /* pages */
	uint64_t cuts;	     /* truncations so far */
	uint32_t synced;     /* what written was before the last fsync that succeeded */
	uint32_t pad1;
	/* who it is; [l] all below under the region lock, unless said otherwise */
	uint64_t dev;
	uint64_t ino;
	int64_t btime_nsec;
	roff_t path; /* in the heap */
	roff_t cookie;
	uint32_t path_bytes; /* with the NUL; 0: none */
	uint32_t cookie_bytes;
	uint32_t next;	/* row + 1 in the hash chain */
	uint32_t opens; /* open records that name the row */
	uint8_t uid[DB_FILE_ID_LEN];
	uint32_t ids; /* how often the row was used, for the next id */
	/*
	 * what the disk file looked like when we last touched it; plain words, see file_stamp()
	 */
	uint64_t disk_size;
	int64_t disk_mtime;
	int64_t disk_ctime;
	/* totals of closed handles, and of what no handle is charged with (atomic adds) */
	uint64_t hit;
	uint64_t miss;
	uint64_t create;
	uint64_t in;
	uint64_t out;
	roff_t handle;	       /* in the heap: the file's, for open_by_handle_at(2) */
	uint32_t handle_bytes; /* 0: none */
	int32_t handle_type;
	uint64_t map;	       /* as hit and miss */
	uint32_t writer_opens; /* how often it was opened for writing */
	uint32_t pad2;
	uint64_t kcache; /* whose kernel has pages of the file; kcache.h */
	uint64_t pad3;
};
static_assert(sizeof(struct file_row) % 64 == 0, "rows do not share cache lines");

#define OPEN_RDONLY 0x1u
#define OPEN_SOFT 0x2u
#define OPEN_ODD 0x4u

/* One open handle, so that a dead client's can be found. */
struct open_record {
	uint32_t owner; /* client number + 1; 0 free; [l] */
	uint32_t row;
	uint32_t file;
	uint32_t flags;
	uint64_t hit; /* counted by the handle's threads */
	uint64_t miss;
	uint64_t map;
	uint64_t pad[3];
};
static_assert(sizeof(struct open_record) == 64, "handles do not share cache lines");

/* --- how long the disk took ---------------------------------------------------------------- */

enum latency_kind {
	LATENCY_READ,  /* reads of missing pages, by request to the system */
	LATENCY_WRITE, /* writes of dirty pages, likewise */
	LATENCY_KINDS
};

/* --- the replacement policy ------------------------------------------------------------------ */

/*
 * A frame's stamp: when its page was used last, in ticks of the pool's clock, and its class
 * (adaptive).  0: no page.  The stamps of frames that any page size has come first, extent by
 * extent, so that a search for the oldest reads them in one piece.
 */
#define STAMP_MAIN (1u << 31) /* the page has been used again: it is not on probation */
#define STAMP_TIME (STAMP_MAIN - 1)
#define STAMP_AGE_MOST (1u << 30) /* a greater age is a stamp from after "now" */

/*
 * A ghost remembers that a page was evicted not long ago: class << 31 | mark << 16 | time of the
 * last use.  Sixteen make a set; a key's set is searched, and the oldest of it is overwritten.
 */
#define GHOST_SET 16
#define GHOST_MAIN (1u << 31)
#define GHOST_MARKS 8
#define LIVE_ONE 256u
#define HORIZONS 64

/* What the policy knows about the pages of one size.  Hints: each search counts again. */
struct policy_size {
	uint32_t probation;   /* pages that are on probation */
	uint32_t target;      /* as many are meant to be */
	uint32_t window;      /* ticks + 1 that a new page's hits say nothing; 0: never full yet */
	uint32_t life;	      /* as many evictions from its class a ghost outlives */
	uint32_t departed[2]; /* evictions from probation, from main */
	uint32_t live[2];     /* ghosts of these, LIVE_ONE for each */
	uint32_t left[2]
		     [GHOST_MARKS + 1]; /* when those were used last, an eighth of a life apart */
	/* against LRU, see horizon.c */
	uint32_t pages;		       /* of this size, at the last census; 0: there was none yet */
	uint32_t reach;		       /* the horizon was so many ticks away */
	uint32_t old;		       /* signed: pages from before the horizon */
	uint32_t zone;		       /* the horizon is there */
	uint32_t zones[HORIZONS];      /* signed: pages used in the zone, and not since */
	uint32_t begins[HORIZONS + 1]; /* when each begins, the oldest first */
	uint32_t entered;	       /* pages that came in, of late */
	uint32_t joined;	       /* CHANCE_ONE for each of them that was used again */
	uint64_t account;	       /* signed: gains less losses */
} __attribute__((aligned(64)));
static_assert(sizeof(struct policy_size) % 64 == 0, "page sizes do not share cache lines");

/* --- the superblock ------------------------------------------------------------------------ */

/* Sizes and places; written once at creation, checked and copied by each joiner. */
struct geometry {
	uint64_t magic;
	uint64_t cache_bytes;	/* of pages, at most */
	uint64_t initial_bytes; /* of pages, at creation */
	uint64_t region_bytes;
	uint32_t extent_shift;
	uint32_t nextents;
	uint32_t frames_per_extent;
	uint32_t nframes;
	uint32_t nbuckets;
	uint32_t noverflow;
	uint32_t nblocks;
	uint32_t nrows;
	uint32_t nhash; /* a power of two */
	uint32_t nopens;
	uint32_t group_shift; /* frame >> group_shift is its dirty group, below 64 */
	uint32_t nhints;      /* 64-bit words */
	uint32_t nghosts;
	uint32_t policy;      /* DB_POLICY_LRU or DB_POLICY_ADAPTIVE */
	uint32_t barrier;     /* 1: hits carry no fence, who scans the slots calls membarrier(2) */
	uint32_t table_shift; /* the tables are for pages of so many bytes, as a shift */
	uint64_t heap_bytes;
	roff_t blocks, rows, hash, opens, heap, buckets, overflow, extents, hints, frames, index,
	    stamps, ghosts, area;
};

#define DISCARD_RING 64

struct mpool {
	struct geometry g;
	/* each on a line of its own */
	uint32_t blocks_used __attribute__((aligned(64))); /* high-water mark */
	uint32_t clock __attribute__((aligned(64)));	   /* ticks, for stamps */
	uint32_t alone; /* the only client's number + 1; 0: there may be several (a hint) */
	struct policy_size sizes[PAGE_SHIFTS] __attribute__((aligned(64)));
	uint64_t hand_other; /* the extent looked at last for another size's sake */
	uint32_t overflow_used __attribute__((aligned(64)));
	uint32_t discard_next __attribute__((aligned(64)));
	uint32_t discards[DISCARD_RING]; /* frame + 1: hints */
	uint32_t has_log;	/* some client attached with an lg_flush: write-ahead holds */
	uint32_t gc_row;	/* [l] where the search for rows to give up goes on */
	uint32_t free_row;	/* [l] no row below it is free */
	uint32_t rows_used;	/* high-water mark */
	uint32_t free_open;	/* [l] no open record below it is free */
	uint32_t opens_used;	/* high-water mark */
	uint32_t extents_open;	/* the pool has so many now, more or less */
	uint32_t resizer;	/* client number + 1 of who changes that */
	uint32_t recount;	/* a death may have left the totals wrong */
	uint64_t recount_usec;	/* of the last walk in vain; monotonic */
	uint32_t writer_word;	/* raised and woken when a background writer is wanted */
	uint32_t writer_sleeps; /* one waits for that */
	uint32_t left;		/* files that were written left the table before they were synced */
	uint32_t left_synced;	/* so many had when the home's file system was synced last */
	uint64_t hits_of_closed; /* from tallies of handles that other threads have closed */
	/* client number + 1 of the mount whose kernel caches */
	uint32_t kcache_owner __attribute__((aligned(64)));
	uint32_t kcache_bell;	/* raised and woken when there is something to tell it */
	uint32_t kcache_sleeps; /* it waits for that */
	uint32_t kcache_drops;	/* raised after DROP was set somewhere */
	uint32_t kcache_late;	/* how often nobody waited for it any more */
	struct latency latency[LATENCY_KINDS] __attribute__((aligned(64)));
};

#endif
