/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/page_table.h - from a key to the frame that has the page.
 */
#ifndef POOL_PAGE_TABLE_H
#define POOL_PAGE_TABLE_H

#include "pool.h"

struct thread;

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

/* The key's line of the overflow area: OVERFLOW_CELLS of them. */
static inline uint64_t *
table_overflow(const DB_MPOOL *p, const struct table_place *at)
{
	uint32_t lines = p->g.noverflow / OVERFLOW_CELLS;

	return p->overflow + (uint64_t)at->first * lines / p->g.nbuckets * OVERFLOW_CELLS;
}

/* The buckets of the key will be looked at soon. */
static inline void
table_ask_early(const DB_MPOOL *p, const struct table_place *at)
{
	__builtin_prefetch(&p->buckets[at->first], 1);
	__builtin_prefetch(&p->buckets[at->second], 1);
}

static inline void
table_prefetch(const DB_MPOOL *p, uint64_t key)
{
	struct table_place at = table_place(p, key);

	table_ask_early(p, &at);
}

/*
 * Where this process found the page last, in memory of its own: a guess, that saves a hit the way
 * through the table.  It is believed only once the frame is pinned and its key compared (P1).
 */
static inline uint32_t *
table_memo(const DB_MPOOL *p, uint32_t file, db_pgno_t pgno)
{
	return &p->memo[(pgno + file * 0x9e3779b1u) & p->memo_mask];
}

int table_memo_make(DB_MPOOL *p);
void table_memo_free(DB_MPOOL *p);

/* Lock, unlock the bucket that guards a key's uniqueness; a dead holder's lock is taken over. */
void table_lock(struct thread *t, uint32_t bucket);
void table_unlock(struct thread *t, uint32_t bucket);

/* The frame that has an entry for key, comparing full keys over all equal tags, any state counts;
 * NO_FRAME if none. */
uint32_t table_look(const DB_MPOOL *p, const struct table_place *at, uint64_t key);

/* The same for who does not need the place. */
static inline uint32_t
table_frame(const DB_MPOOL *p, uint64_t key)
{
	struct table_place at = table_place(p, key);

	return table_look(p, &at, key);
}

/*
 * Publish; the caller holds at->first.  ENOSPC: no cell in either bucket nor in the key's line of
 * the overflow area.
 */
int table_insert(DB_MPOOL *p, const struct table_place *at, uint32_t f);

/* Take the entry of (key, f) away; nothing if there is none. */
void table_withdraw(DB_MPOOL *p, uint64_t key, uint32_t f);

/* Frames with entries in the two buckets, for making room. */
unsigned table_neighbours(const DB_MPOOL *p, const struct table_place *at, uint32_t frames[]);

#endif
