/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/policy.h - which pages are worth keeping: what is noted of their use, and what follows.
 *
 * lru: a frame's stamp says when its page was used last.  The clock moves with the pages that come
 * in, so that most hits find their page stamped with its time already and write nothing.  In a
 * small pool each page that comes in moves it, and while one process alone is attached every use
 * does, so that the order is exact.  A process that has used the pool from one thread only takes
 * times from the clock in leases: up to the end of its lease the times are its own to give, until
 * somebody else moves the clock.
 *
 * adaptive: the stamp is the time of the last use as well, its top bit the class.  A new page is
 * on probation; a hit that is not part of its first use takes it to the main class (and sets
 * FW_USED).  The oldest page on probation goes while there are as many of them as there are meant
 * to be, else the oldest of the main class; each leaves a ghost, and a page that comes back while
 * its ghost lives joins the main class at once.  How many are meant to be on probation depends on
 * which ghosts come back.  How far all that may depart from LRU is held in account: horizon.c.
 *
 * All of this is hints (P23): whatever the words hold, a page is evicted by the rules or stays.
 */
#ifndef POOL_POLICY_H
#define POOL_POLICY_H

#include "frame.h"
#include "thread.h"

#define TICKS_LRU 512 /* so many lie between two uses of a page that is about to go, about */
#define POLICY_SMALL_PAGES 4096 /* of 4 KiB: a pool of so many is small */

static inline uint32_t *
stamp_at(const DB_MPOOL *p, uint32_t f)
{
	return &p->stamps[frame_place(p, f)];
}

/* Ticks from a stamp, of either class, to now; 0 if it is from after now. */
static inline uint32_t
stamp_age(uint32_t now, uint32_t stamp)
{
	uint32_t age = (now - stamp) & STAMP_TIME;

	return age <= STAMP_AGE_MOST ? age : 0;
}

static inline struct policy_size *
policy_size(const DB_MPOOL *p, unsigned pageshift)
{
	return &p->mp->sizes[pageshift - PAGE_SHIFT_MIN];
}

/* Fill in the handle's part. */
void policy_init(DB_MPOOL *p);

const char *policy_name(uint32_t policy);

/* So many of so many pages are to be on probation, if target says so: within limits. */
uint32_t policy_target(uint64_t frames, int64_t target);

/* A client has come or gone: is one alone now?  leaving: does not count, or NO_CLIENT. */
void policy_company(DB_MPOOL *p, uint32_t leaving);

/* The clock moves on; the new time, never 0. */
uint32_t policy_tick(DB_MPOOL *p);

/* What a hit does beyond finding FW_USED set, and the page stamped. */
void policy_mark(struct thread *t, uint32_t f, uint64_t w, unsigned pageshift);
void policy_stamp(struct thread *t, uint32_t f, unsigned pageshift);

/* A hint: is no other client attached? */
static inline bool
policy_is_alone(const DB_MPOOL *p)
{
	return load_relaxed(&p->mp->alone) == p->self + 1;
}

/* Stamp a page that is hit, if that takes no more than a time of the thread's lease. */
static inline bool
policy_stamp_at_once(const DB_MPOOL *p, struct thread *t, uint32_t f)
{
	uint32_t *stamp = stamp_at(p, f), s = load_relaxed(stamp);
	uint32_t clock = load_relaxed(&p->mp->clock);

	if (!p->lru)
		return ((s ^ clock) & STAMP_TIME) == 0;
	if (s == clock)
		return true;
	if (clock != t->lease || !policy_is_alone(p))
		return false;
	if (s == t->newest)
		return true;
	if (t->newest == t->lease)
		return false;
	store_relaxed(stamp, ++t->newest);
	return true;
}

/* A hit of frame f, pinned by us, whose word is w. */
static inline void
policy_hit(struct thread *t, uint32_t f, uint64_t w, unsigned pageshift)
{
	const DB_MPOOL *p = t->pool;

	if ((w & (FW_USED | FW_DISCARD | FW_AHEAD)) != FW_USED)
		policy_mark(t, f, w, pageshift);
	if (!policy_stamp_at_once(p, t, f))
		policy_stamp(t, f, pageshift);
}

/* This thread has had hits hits: move the clock now and then where nothing else does. */
static inline void
policy_pass_time(DB_MPOOL *p, uint64_t hits)
{
	if ((hits & p->hits_mask) == 0)
		(void)policy_tick(p);
}

/*
 * A page of that key has come into frame f, which we own (LOADING).  Returns the bits that its
 * word starts with.
 */
uint64_t policy_enter(struct thread *t, uint32_t f, uint64_t key, unsigned pageshift, bool ahead);

/* Frame f, which we own, is about to be FREE. */
void policy_leave(DB_MPOOL *p, uint32_t f);

/* The page of that key makes room for another (frame f, CLAIMED by us, before policy_leave). */
void policy_evicted(DB_MPOOL *p, uint32_t f, uint64_t key);

/* Has the page in frame f not been used lately? */
bool policy_is_cold(const DB_MPOOL *p, uint32_t f);

/* The page in f, pinned by us, shall go before others. */
void policy_discard(DB_MPOOL *p, uint32_t f);

#endif
