/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/pool.h - a process's view of the pool.  What it is made of has headers of its own.
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
	int refused;	       /* why */
};
#define WRITER_FDS 64

struct __db_mpool {
	/* what every hit reads */
	uint64_t short_id; /* id, while hits may take the short way; else no thread has it */
	bool threaded;
	bool fenced; /* hits carry a fence: the region is of that kind */
	bool lru;
	uint32_t self; /* client number */
	uint32_t memo_mask;
	uint32_t frame_mask; /* frames_per_extent - 1 */
	uint32_t common;     /* frames of an extent of 4 KiB pages */
	uint32_t *memo;	     /* see table_memo() */
	struct frame *frames;
	uint32_t *stamps;
	uint8_t *area;
	struct mpool *mp;
	struct region *region;
	const RLAYOUT *layout;
	uint64_t hits_mask;    /* 0 in these bits of a tally: the clock moves */
	struct thread *single; /* the only one, where not threaded */
	/* the rest */
	uint64_t id; /* of the handle, for the threads' caches */
	DB_ENV *dbenv;
	bool barrier;	/* membarrier(2) works: threads can have their slots to themselves */
	bool temporary; /* to be removed at close */
	bool removing;	/* by memp_unlink: only if nothing is dirty */
	bool nommap;
	bool no_ahead;	 /* nothing is read ahead of sequential misses */
	bool many_pins;	 /* so many that one page may have too many; no short way any more */
	bool no_handles; /* open_by_handle_at(2) is not for us */
	char *confined;	 /* files of others are opened beneath this directory only, or NULL */
	int confined_fd; /* that directory */
	struct vouched *vouched; /* see vouch.c; NULL: nobody is served */
	struct environment place;
	struct geometry g;
	/* addresses in the region */
	struct block *blocks;
	struct file_row *rows;
	uint32_t *hash;
	struct open_record *opens;
	uint8_t *heap;
	struct bucket *buckets;
	uint64_t *overflow;
	uint64_t *extents;
	uint64_t *hints;
	uint8_t *index;
	uint32_t *ghosts;
	/* what the policy is, see policy.h */
	bool small;		 /* the order of eviction is exact */
	uint32_t loads_per_tick; /* lru, not small */
	/* this process's */
	pthread_mutex_t files_mutex;   /* files, registrations, writer_fds */
	pthread_mutex_t threads_mutex; /* threads */
	pthread_mutex_t spare_mutex;   /* spare */
	struct thread *spare;	       /* for a put by a thread that can get no block */
	DB_MPOOLFILE *files;
	struct registration *registrations;
	struct writer_fd writers[WRITER_FDS];
	bool keeps; /* some of these are open, perhaps */
	struct thread *threads;
	unsigned pin_blocks; /* theirs */
	struct thread *lone; /* the only one so far that uses pages, else NULL */
	pthread_t writer;    /* see writer.c */
	bool writer_runs;
	bool writer_ends;    /* it is asked to */
	uint32_t writer_row; /* where it goes on */
};

static inline bool
page_size_is_possible(size_t bytes)
{
	return bytes >= (size_t)1 << PAGE_SHIFT_MIN && bytes <= (size_t)1 << PAGE_SHIFT_MAX &&
	    (bytes & (bytes - 1)) == 0;
}

/* region_usable(), yes or no, for who knows that this is no child. */
static inline bool
pool_is_sound(const DB_MPOOL *p)
{
	const RLAYOUT *rl = p->layout;

	return load_relaxed(&rl->valid) == DB_REGIONMAGIC && load_relaxed(&rl->panic) == 0 &&
	    load_relaxed(&p->region->lost) == 0;
}

/* region_usable(), yes or no, without a call. */
static inline bool
pool_is_usable(const DB_MPOOL *p)
{
	return !region_is_inherited(p->region) && pool_is_sound(p);
}

/* Bytes of pages that the pool holds now. */
static inline uint64_t
pool_bytes(const DB_MPOOL *p)
{
	uint64_t n = load_relaxed(&p->mp->extents_open);

	return (n < p->g.nextents ? n : p->g.nextents) << p->g.extent_shift;
}

/* The entry check of every call: usable region, not in a callback, the thread. */
int enter(DB_MPOOL *p, struct thread **tp);
int refuse_in_callback(const DB_MPOOL *p); /* EDEADLK and a sentence */

/* The global statistics; *s is zeroed. */
void pool_stat_fill(DB_MPOOL *p, DB_MPOOL_STAT *s);

/* Pages in the pool now, and the dirty ones of these. */
void pool_pages(const DB_MPOOL *p, uint64_t *residentp, uint64_t *dirtyp);

#endif
