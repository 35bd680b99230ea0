/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/ghost.c - pages that were evicted not long ago.
 *
 * A ghost is a word: its class, 15 bits of the key's hash, and when it was left, counted in
 * evictions of its class and rounded so that the time fits in 16 bits.  It is found in one cache
 * line, the key's set; it is forgotten when half as many pages as the pool holds have gone after
 * it from its class, or when its set needs the room.  Nothing depends on a ghost being right: a
 * wrong one lets a page skip its probation, a lost one costs it a miss.
 */
#include "policy.h"

#define GHOST_TIME 0xffffu
#define GHOST_UNITS 8192 /* a ghost's life is less than that many units of time */

/* A pool that may grow has more than it needs now; when it does, ghosts are lost. */
static uint64_t
ghost_sets(const DB_MPOOL *p)
{
	uint64_t pages = pool_bytes(p) / (p->g.cache_bytes / p->g.nghosts + 1);

	if (pages > p->g.nghosts)
		pages = p->g.nghosts;
	return pages >= GHOST_SET ? pages / GHOST_SET : 1;
}

static uint32_t *
ghost_set(const DB_MPOOL *p, uint64_t key, uint32_t *markp)
{
	uint64_t h = (key ^ key >> 29) * 0xbf58476d1ce4e5b9ull;

	h ^= h >> 32;
	*markp = (uint32_t)(h >> 48) & 0x7fff;
	if (*markp == 0)
		*markp = 1;
	h = (h & UINT32_MAX) * ghost_sets(p) >> 32;
	return &p->ghosts[h * GHOST_SET];
}

/* Evictions in a unit of time, as a power of two. */
static unsigned
unit_shift(uint32_t life)
{
	unsigned shift = 0;

	while (life >> shift >= GHOST_UNITS)
		shift++;
	return shift;
}

/* How old a ghost is, and how old one may become, in units. */
static uint32_t
ghost_age(const struct policy_size *z, uint32_t ghost, uint32_t *mostp)
{
	uint32_t life = load_relaxed(&z->ghosts);
	uint32_t now = load_relaxed(&z->departed[ghost & GHOST_MAIN ? 1 : 0]);
	unsigned shift = unit_shift(life);

	*mostp = life >> shift;
	return ((now >> shift) - ghost) & GHOST_TIME;
}

/* How many there are, about: no more than live long enough. */
static void
count_live(struct policy_size *z, uint32_t class, uint32_t change)
{
	uint32_t n = load_relaxed(&z->live[class != 0]) + change;

	if (n <= load_relaxed(&z->ghosts))
		store_relaxed(&z->live[class != 0], n);
}

bool
ghost_take(DB_MPOOL *p, unsigned pageshift, uint64_t key, uint32_t *classp)
{
	struct policy_size *z = policy_size(p, pageshift);
	uint32_t mark, *set = ghost_set(p, key, &mark), most;

	for (unsigned i = 0; i < GHOST_SET; i++) {
		uint32_t ghost = load_relaxed(&set[i]);

		if (ghost == 0 || (ghost >> 16 & 0x7fff) != mark ||
		    ghost_age(z, ghost, &most) >= most || !cas_seq(&set[i], &ghost, 0))
			continue;
		*classp = ghost & GHOST_MAIN ? STAMP_MAIN : 0;
		count_live(z, *classp, UINT32_MAX);
		return true;
	}
	return false;
}

void
ghost_put(DB_MPOOL *p, unsigned pageshift, uint64_t key, uint32_t class)
{
	struct policy_size *z = policy_size(p, pageshift);
	uint32_t mark, *set = ghost_set(p, key, &mark), *place = set, oldest = 0;
	uint32_t now = add_relaxed(&z->departed[class != 0], 1) + 1;

	for (unsigned i = 0; i < GHOST_SET; i++) {
		uint32_t ghost = load_relaxed(&set[i]), most;
		uint32_t age = ghost != 0 ? ghost_age(z, ghost, &most) : GHOST_TIME + 1;

		if (age >= oldest) {
			oldest = age;
			place = &set[i];
		}
	}
	count_live(z, class, 1);
	now = now >> unit_shift(load_relaxed(&z->ghosts)) & GHOST_TIME;
	store_relaxed(place, (class != 0 ? GHOST_MAIN : 0) | mark << 16 | now);
}
