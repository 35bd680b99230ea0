/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/look.h - looking into a pool, and steering it: which pages of which files are resident,
 * how long reads and writes took, ranges that shall leave.
 *
 * Conventions as in poolfs/mpool.h.  What is told is true of the moment when each page was looked
 * at; nobody is waited for and nothing is pinned.
 */
#ifndef POOL_LOOK_H
#define POOL_LOOK_H

#include <stdbool.h>

#include <poolfs/mpool.h>

#include "../base/os.h"
#include "../region/region.h"
#include "../region/shalloc.h"
#include "layout.h"

struct mpool_file {
	uint32_t id;
	const char *path;      /* absolute; NULL: a temporary file.  Good during the call */
	struct os_ident ident; /* of the disk file */
	uint64_t length;       /* bytes */
	uint32_t pagesize;
	uint64_t resident; /* pages */
	uint64_t dirty;	   /* of these */
};

enum mpool_page_flags {
	MPOOL_PAGE_DIRTY = 0x1,
	MPOOL_PAGE_WRITING = 0x2, /* a copy is on its way to the file */
	MPOOL_PAGE_USED = 0x4,	  /* used again since it came in */
	MPOOL_PAGE_SUSPECT = 0x8, /* a killed process had it pinned */
	MPOOL_PAGE_DISCARD = 0x10,
};

struct mpool_page {
	uint32_t file;
	db_pgno_t pgno;
	uint32_t pagesize;
	uint32_t flags; /* enum mpool_page_flags */
	uint32_t pins;
	uint32_t client; /* number of a client that pins it, NO_CLIENT if none */
};

/*
 * Call fn for each file that the pool knows, until it returns other than 0, which is returned.
 */
int mpool_each_file(DB_MPOOL *mp, int (*fn)(void *arg, const struct mpool_file *file), void *arg);

/*
 * Call fn for each resident page of the file with that id (0: of all files), in the order of
 * their frames.
 */
int mpool_each_page(
    DB_MPOOL *mp, uint32_t id, void (*fn)(void *arg, const struct mpool_page *page), void *arg);

/* Pages of a file, one after the other, that are alike. */
struct mpool_run {
	uint32_t file;
	db_pgno_t pgno; /* of the first */
	uint32_t pages;
	uint32_t pagesize;
	bool dirty;
	bool pinned;
};

/* The same of all files, more quickly: pages whose frames follow one another make a run. */
int mpool_each_run(DB_MPOOL *mp, void (*fn)(void *arg, const struct mpool_run *run), void *arg);

/*
 * Call fn for each slot that pins, with the slot's number (below mpool_slots), the frame that it
 * names, and its client.
 */
size_t mpool_slots(const DB_MPOOL *mp);
int mpool_each_pin(
    DB_MPOOL *mp, void (*fn)(void *arg, size_t slot, uint32_t frame, uint32_t client), void *arg);

struct mpool_left {
	uint64_t gone;	 /* pages that left the pool */
	uint64_t pinned; /* that stayed because of a pin */
	uint64_t dirty;	 /* because they could not be written */
};

/*
 * Write what is dirty of pages first..last of a file, then let them leave the pool.  ENOENT: the
 * pool does not know the file.
 */
int mpool_evict_range(DB_MPOOL *mp, const struct os_ident *id, db_pgno_t first, db_pgno_t last,
    struct mpool_left *left);

/* Write what is dirty of a file and fsync it, whoever has it open.  ENOENT as above; EIO; EBUSY:
 * pages are pinned. */
int mpool_sync_ident(DB_MPOOL *mp, const struct os_ident *id);

/* The allocator of the pool's small structures.  EFAULT: it is damaged. */
int mpool_heap(DB_MPOOL *mp, struct shalloc_stat *st);

/* --- how long the disk took ---------------------------------------------------------------- */

/* In microseconds; of all processes since the pool was made.  EFAULT as every call. */
int mpool_latency(DB_MPOOL *mp, enum latency_kind kind, struct latency *copy);

/* --- a region that nobody is attached to, or that cannot be joined any more --------------- */

/*
 * The statistics of the pool whose region is behind look, without taking part in it: damaged,
 * panicked and deserted ones too.  st_clients is 0, st_stranded not known.  EPROTO: it is no
 * pool of this format.
 */
int mpool_look_stat(const struct region_look *look, DB_MPOOL_STAT *st);

#endif
