/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/victims.h - which pages are to go next.
 */
#ifndef POOL_VICTIMS_H
#define POOL_VICTIMS_H

#include "pool.h"

struct thread;
struct victims; /* the oldest pages of a size, as a thread found them last */

/* Pages that may go, chosen by the policy. */
struct candidates {
	unsigned n; /* clean */
	unsigned ndirty;
	unsigned nmore; /* behind the dirty ones: better written with them, but not to go yet */
	unsigned busy;	/* met in transition: worth another look */
	uint64_t moves; /* changes when one of these does */
	uint32_t clean[BATCH];
	uint32_t dirty[BATCH];
};

/* One look at all pages of a size, in parts. */
struct victim_round {
	unsigned pageshift;
	bool searched;	  /* the thread's lists are of this round */
	bool spent[2];	  /* all of the class have been seen */
	uint64_t last[2]; /* places in the order of those looked at last, once it has searched */
	int64_t stake;	  /* of what was chosen: so many pages LRU would keep */
};

/* A thread's list; NULL with ENOMEM.  To be given to free(). */
int victims_create(const DB_MPOOL *p, struct victims **vp);

/* How many pages of that size are evicted at a time. */
unsigned victims_batch(const DB_MPOOL *p, unsigned pageshift);

void victims_begin(unsigned pageshift, struct victim_round *r);

/* Pages given back with DB_MPOOL_DISCARD, which come first; *c is begun. */
void victims_discarded(struct thread *t, unsigned pageshift, struct candidates *c);

/* Add a batch of the next pages to *c.  False: there is none left in this round. */
bool victims_pick(struct thread *t, struct victim_round *r, struct candidates *c);

/*
 * How cold an extent is: the coldest of several is the one to give another page size to.
 */
uint32_t victims_warmth(const DB_MPOOL *p, uint32_t e, unsigned pageshift);

/*
 * Has extent e, of pages of 1 << pageshift, been used less than what this thread evicts to make
 * room for its own pages?
 */
bool victims_is_idle(struct thread *t, uint32_t e, unsigned pageshift);

#endif
