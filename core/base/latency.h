/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/latency.h - how long something takes: a histogram whose buckets double.
 *
 * It may lie in shared memory: its words are added to atomically, each for itself, so a reader may
 * find one time in the sum and not in its bucket yet.  Whose histogram it is says in which unit.
 */
#ifndef BASE_LATENCY_H
#define BASE_LATENCY_H

#include "atomics.h"

#define LATENCY_BUCKETS 24

struct latency {
	uint64_t sum;
	/* of at most 2^i units and more than 2^(i-1); the last: all that took longer */
	uint64_t le[LATENCY_BUCKETS];
};

/* Writes lines that others write too: not where nanoseconds count. */
static inline void
latency_add(struct latency *l, uint64_t took)
{
	unsigned i = 0;

	while (i < LATENCY_BUCKETS - 1 && took > 1ull << i)
		i++;
	(void)add_relaxed(&l->sum, took);
	(void)add_relaxed(&l->le[i], 1);
}

static inline void
latency_copy(struct latency *to, const struct latency *from)
{
	to->sum = load_relaxed(&from->sum);
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		to->le[i] = load_relaxed(&from->le[i]);
}

#endif
