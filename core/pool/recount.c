/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/recount.c - how many pages there are and how many are dirty, counted anew after a death.
 *
 * The totals are sums of what every thread has counted; a process that is killed between a change
 * and its count leaves them off by one for good.  The frames are the authority.  Their number can
 * be taken while others work, if nobody changes anything meanwhile: every change is made between
 * counting_begin() and counting_end(), and moves a total.  So if no thread is in between, before
 * and after the walk, and the totals are the same, then the walk and the totals are of one moment,
 * and the difference is the dead's.  Otherwise somebody is busy, and the next one who asks tries
 * again.  Nobody waits for anybody.
 *
 * A page that came and was not counted is counted as read, one that went as evicted unwritten.
 */
#include <stdlib.h>

#include "extent.h"
#include "file.h"
#include "frame.h"
#include "recount.h"

#define PAUSE_USEC 1000000u /* between walks that were in vain */

static const enum counter moving[] = { C_IN, C_CREATE, C_RO_EVICT, C_RW_EVICT, C_DIRTIED,
	C_CLEANED };
#define MOVING (sizeof(moving) / sizeof(moving[0]))

struct pages {
	uint64_t resident;
	uint64_t dirty;
};

struct census {
	uint64_t totals[MOVING];
	struct pages all;
	struct pages *rows;	/* as walked */
	struct pages *row_says; /* as counted */
};

void
recount_due(DB_MPOOL *p)
{
	store_seq(&p->mp->recount_usec, 0);
	store_seq(&p->mp->recount, 1);
}

static bool
anybody_counting(const DB_MPOOL *p)
{
	uint32_t used = load_seq(&p->mp->blocks_used);

	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++)
		if (load_acquire(&p->blocks[i].counting) != 0)
			return true;
	return false;
}

static void
read_totals(const DB_MPOOL *p, uint64_t totals[])
{
	for (unsigned i = 0; i < MOVING; i++)
		totals[i] = counter_sum(p, moving[i]);
}

static void
count_pages(const DB_MPOOL *p, struct census *c)
{
	for (struct frame_walk at = { 0 }; frame_next(p, &at);) {
		const struct frame *fr = frame_at(p, at.f);
		uint64_t w = load_seq(&fr->word);
		const struct file_row *row;

		if (fw_state(w) < FRAME_VALID)
			continue;
		c->all.resident++;
		c->all.dirty += (w & FW_DIRTY) != 0;
		if ((row = file_row(p, key_file(load_acquire(&fr->key)))) == NULL)
			continue;
		c->rows[row - p->rows].resident++;
		c->rows[row - p->rows].dirty += (w & FW_DIRTY) != 0;
	}
}

/* False: somebody changed something meanwhile. */
static bool
walk(const DB_MPOOL *p, struct census *c)
{
	uint64_t after[MOVING];

	if (anybody_counting(p))
		return false;
	read_totals(p, c->totals);
	count_pages(p, c);
	for (uint32_t r = 0; r < rows_used(p); r++)
		c->row_says[r] =
		    (struct pages){ load_seq(&p->rows[r].resident), load_seq(&p->rows[r].dirty) };
	if (anybody_counting(p))
		return false;
	read_totals(p, after);
	return memcmp(after, c->totals, sizeof(after)) == 0;
}

/* what is, and what the totals say: the difference goes where it raises one of them. */
static void
correct(struct thread *t, uint64_t is, uint64_t says, enum counter more, enum counter less)
{
	int64_t missing = (int64_t)(is - says);

	if (missing > 0)
		count(t, more, (uint64_t)missing);
	else if (missing < 0)
		count(t, less, (uint64_t)-missing);
}

static void
correct_all(struct thread *t, struct census *c)
{
	DB_MPOOL *p = t->pool;
	const uint64_t *n = c->totals;

	correct(t, c->all.resident, n[0] + n[1] - n[2] - n[3], C_IN, C_RO_EVICT);
	correct(t, c->all.dirty, n[4] - n[5], C_DIRTIED, C_CLEANED);
	for (uint32_t r = 0; r < rows_used(p); r++) {
		struct pages *says = &c->row_says[r];

		(void)cas_seq(&p->rows[r].resident, &says->resident, c->rows[r].resident);
		(void)cas_seq(&p->rows[r].dirty, &says->dirty, c->rows[r].dirty);
	}
}

void
recount(struct thread *t, bool now)
{
	DB_MPOOL *p = t->pool;
	struct census c = { .rows = NULL };
	uint64_t usec;

	if (load_relaxed(&p->mp->recount) == 0)
		return;
	usec = os_monotonic_usec();
	if ((!now && usec - load_relaxed(&p->mp->recount_usec) < PAUSE_USEC) ||
	    exchange_seq(&p->mp->recount, 0) == 0)
		return;
	c.rows = calloc(p->g.nrows, sizeof(*c.rows));
	c.row_says = calloc(p->g.nrows, sizeof(*c.row_says));
	if (c.rows != NULL && c.row_says != NULL && walk(p, &c))
		correct_all(t, &c);
	else {
		store_relaxed(&p->mp->recount_usec, usec);
		store_seq(&p->mp->recount, 1);
	}
	free(c.rows);
	free(c.row_says);
}
