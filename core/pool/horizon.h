/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/horizon.h - what an exact LRU list of as many pages would have, and what we gain or lose
 * by keeping others.
 */
#ifndef POOL_HORIZON_H
#define POOL_HORIZON_H

#include "policy.h"

#define AGES 1024 /* classes of age that are told apart */

/* How many pages were used last so long ago, counted by a search for victims. */
struct ages {
	uint32_t now;
	unsigned shift; /* ticks of a class, as a power of two */
	uint32_t pages[AGES];
	uint32_t ghosts[AGES];
};

static inline void
ages_count(uint32_t counts[AGES], const struct ages *a, uint32_t age)
{
	counts[age >> a->shift < AGES ? age >> a->shift : AGES - 1]++;
}

/* Begin to count for pages of that size. */
void horizon_census(const DB_MPOOL *p, unsigned pageshift, uint32_t now, struct ages *a);

/* So many pages have been counted; the next census comes after about as many victims. */
void horizon_set(DB_MPOOL *p, unsigned pageshift, struct ages *a, uint32_t pages, uint32_t victims);

/* A page that was used last at that time is hit, or makes room. */
void horizon_hit(const DB_MPOOL *p, struct policy_size *z, uint32_t stamp);
void horizon_gone(const DB_MPOOL *p, struct policy_size *z, uint32_t stamp);

/* A page comes in; its ghost says that it was used last at that time, or there is none: 0. */
void horizon_miss(const DB_MPOOL *p, struct policy_size *z, uint32_t stamp);

/* Would LRU be without the page that was used last at that time, if another came in? */
bool horizon_is_beyond(const DB_MPOOL *p, const struct policy_size *z, uint32_t stamp);

/* Pages that are older than the horizon, and how many of them may be kept. */
int64_t horizon_old(const struct policy_size *z);
int64_t horizon_old_most(const struct policy_size *z);

/* So many pages were asked for. */
void horizon_earn(struct policy_size *z, uint64_t uses);

/* A page comes in on probation; one that was on probation has been used again. */
void horizon_entered(struct policy_size *z);
void horizon_joined(struct policy_size *z);

#endif
