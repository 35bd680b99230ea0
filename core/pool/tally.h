/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/tally.h - hits, counted by file in the thread's own block, on a line that nobody else
 * writes; and misses, in the record of the handle.
 */
#ifndef POOL_TALLY_H
#define POOL_TALLY_H

#include "file.h"
#include "thread.h"

static inline struct tally *
tally_of(struct thread *t, const DB_MPOOLFILE *mpf)
{
	return &t->first.b->tallies[mpf->tally];
}

/* One more hit; false: the thread has no tally for the handle, or the clock is to move. */
static inline bool
tally_hit_at_once(const DB_MPOOL *p, struct thread *t, const DB_MPOOLFILE *mpf)
{
	struct tally *y = tally_of(t, mpf);
	uint64_t hit = load_relaxed(&y->hit) + 1;

	if (load_relaxed(&y->record) != mpf->record_number || (hit & p->hits_mask) == 0)
		return false;
	store_relaxed(&y->hit, hit);
	return true;
}

/* The same whatever there is.  Returns a count that goes up with such hits. */
static inline uint64_t
tally_hit(struct thread *t, const DB_MPOOLFILE *mpf)
{
	struct tally *y = tally_of(t, mpf);

	if (load_relaxed(&y->record) == mpf->record_number) {
		counter_add(&y->hit, 1);
		return load_relaxed(&y->hit);
	}
	(void)add_relaxed(&mpf->record->hit, 1);
	count(t, C_HIT, 1);
	return load_relaxed(&t->home->counters[C_HIT]);
}

/* One more page that was asked for and was not there. */
static inline void
tally_miss(struct thread *t, const DB_MPOOLFILE *mpf)
{
	count(t, C_MISS, 1);
	(void)add_relaxed(&mpf->record->miss, 1);
}

/* The hits that the thread has had; nearly so, when handles have been closed. */
static inline uint64_t
thread_hits(const struct thread *t)
{
	uint64_t n = load_relaxed(&t->home->counters[C_HIT]);

	for (unsigned i = 0; i < BLOCK_TALLIES; i++)
		n += load_relaxed(&t->home->tallies[i].hit);
	return n;
}

/* All hits that were ever counted. */
uint64_t tally_sum(const DB_MPOOL *p);

/* Have a tally of the handle, if it is worth it; on the way of a hit that takes longer anyway. */
void tally_want(struct thread *t, const DB_MPOOLFILE *mpf);

/* All of a block's tallies to their records: its thread counts no more. */
void tally_settle(const DB_MPOOL *p, struct block *b);

/* The tallies of a handle that is being closed, from all threads of this process. */
void tally_close(DB_MPOOL *p, const struct open_record *rec);

#endif
