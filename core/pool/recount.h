/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/recount.h - the totals of pages and of dirt, made right again after a death.
 */
#ifndef POOL_RECOUNT_H
#define POOL_RECOUNT_H

#include "thread.h"

/*
 * Between the change of a frame's word and the counting of it: who is killed there leaves a total
 * that is off by one, and says so.
 */
static inline void
counting_begin(struct thread *t)
{
	store_relaxed(&t->home->counting, 1);
}

static inline void
counting_end(struct thread *t)
{
	store_release(&t->home->counting, 0);
}

/* Somebody was killed: the totals may be wrong until the next recount. */
void recount_due(DB_MPOOL *p);

/*
 * If that was so since the last recount, walk the pool and make the totals right.  Where others are
 * changing them meanwhile nothing is done; unless now is set, not more often than once a second.
 */
void recount(struct thread *t, bool now);

#endif
