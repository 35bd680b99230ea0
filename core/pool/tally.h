/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/tally.h - hits of a file counted in the thread's own block, on a line that nobody else
 * writes.
 */
#ifndef POOL_TALLY_H
#define POOL_TALLY_H

#include "file.h"
#include "thread.h"

static inline void
tally_hit(struct thread *t, const DB_MPOOLFILE *mpf)
{
	struct tally *y = &t->home->tallies[mpf->record_number % BLOCK_TALLIES];

	if (load_relaxed(&y->record) == mpf->record_number)
		counter_add(&y->hit, 1);
	else
		(void)add_relaxed(&mpf->record->hit, 1);
}

/* Have a tally of the handle, if it is worth it; on the way of a hit that takes longer anyway. */
void tally_want(struct thread *t, const DB_MPOOLFILE *mpf);

/* All of a block's tallies to their records: its thread counts no more. */
void tally_settle(const DB_MPOOL *p, struct block *b);

/* The tallies of a handle that is being closed, from all threads of this process. */
void tally_close(DB_MPOOL *p, const struct open_record *rec);

#endif
