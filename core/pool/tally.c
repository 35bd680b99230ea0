/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/tally.c - hit counts, the pool's and each file's, without a shared write on a hit.
 *
 * A thread's block has a few tallies, each of one open record.  Its thread raises the one that
 * names the record; whoever wants a file's hits adds the tallies that name its records to what
 * those have, and whoever wants the pool's adds all to the C_HIT of the blocks.  A tally changes
 * its record only here, under threads_mutex, so that a handle's closing and a thread's end each
 * find every hit once.  A tally taken by another record is left to it for a while: a thread that
 * uses many files adds to their records directly.
 *
 * A death between two steps here loses or doubles what one tally had; nothing else reads them.
 */
#include "tally.h"

#define TALLY_KEEP 256 /* times that others want a tally before it changes hands */

/*
 * The tally is nobody's again, its hits are the record's, and are returned for who counts the
 * pool's.  The mutex is held, or the block's thread is dead.
 */
static uint64_t
settle(const DB_MPOOL *p, struct tally *y)
{
	uint64_t number = load_relaxed(&y->record), hit = load_relaxed(&y->hit);

	if (number == 0)
		return 0;
	store_relaxed(&y->hit, 0);
	store_relaxed(&y->record, 0);
	if (number <= p->g.nopens)
		(void)add_relaxed(&p->opens[number - 1].hit, hit);
	return hit;
}

void
tally_want(struct thread *t, const DB_MPOOLFILE *mpf)
{
	struct tally *y = tally_of(t, mpf);
	uint64_t has = load_relaxed(&y->record);

	if (has == mpf->record_number || (has != 0 && ++t->untallied < TALLY_KEEP))
		return;
	t->untallied = 0;
	pthread_mutex_lock(&t->pool->threads_mutex);
	count(t, C_HIT, settle(t->pool, y));
	store_relaxed(&y->record, mpf->record_number);
	pthread_mutex_unlock(&t->pool->threads_mutex);
}

void
tally_settle(const DB_MPOOL *p, struct block *b)
{
	for (unsigned i = 0; i < BLOCK_TALLIES; i++)
		counter_add(&b->counters[C_HIT], settle(p, &b->tallies[i]));
}

void
tally_close(DB_MPOOL *p, const struct open_record *rec)
{
	uint64_t number = (uint64_t)(rec - p->opens) + 1;

	pthread_mutex_lock(&p->threads_mutex);
	for (struct thread *t = p->threads; t != NULL; t = t->next) {
		struct tally *y = &t->home->tallies[number % BLOCK_TALLIES];

		if (t->first.b != NULL && load_relaxed(&y->record) == number)
			(void)add_relaxed(&p->mp->hits_of_closed, settle(p, y));
	}
	pthread_mutex_unlock(&p->threads_mutex);
}

uint64_t
tally_sum(const DB_MPOOL *p)
{
	uint32_t used = load_acquire(&p->mp->blocks_used);
	uint64_t n = load_relaxed(&p->mp->hits_of_closed);

	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++) {
		n += load_relaxed(&p->blocks[i].counters[C_HIT]);
		for (unsigned k = 0; k < BLOCK_TALLIES; k++)
			n += load_relaxed(&p->blocks[i].tallies[k].hit);
	}
	return n;
}
