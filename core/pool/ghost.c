/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/ghost.c - pages that were evicted not long ago.
 *
 * A ghost is a word: its class, 15 bits of the key's hash, and the low bits of the time when the
 * page was used last.  It is found in one cache line, the key's set, and is forgotten when its set
 * needs the room, after those that live no more.  It lives, so that the page is kept when it comes
 * back, until so many pages as policy_size.life have gone after it from its class; pages of a class
 * go in the order of their last use, so that the time which the page had that went so many before
 * the last one tells the living from the others.
 *
 * Nothing depends on a ghost being right: a wrong one lets a page skip its probation, a lost one
 * costs it a miss.
 */
#include "ghost.h"

#define GHOST_TIME 0xffffu
#define GHOST_AGE_MOST 0x7fffu /* what is older might be taken for young */

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

static uint32_t
ghost_age(uint32_t now, uint32_t ghost)
{
	return (now - ghost) & GHOST_TIME;
}

/*
 * How many live, about: one more, and of those that have not been taken meanwhile the one that was
 * left a life ago is one less.
 */
static void
count_left(struct policy_size *z, bool main)
{
	uint32_t life = load_relaxed(&z->life), n = load_relaxed(&z->live[main]);

	if (life != 0)
		store_relaxed(&z->live[main], n + LIVE_ONE - n / life);
}

static void
count_taken(struct policy_size *z, bool main)
{
	uint32_t n = load_relaxed(&z->live[main]);

	store_relaxed(&z->live[main], n > LIVE_ONE ? n - LIVE_ONE : 0);
}

/* --- who lives ------------------------------------------------------------------------------- */

static uint32_t
departures(const struct policy_size *z)
{
	uint32_t life = load_relaxed(&z->life);

	return life > GHOST_MARKS ? life / GHOST_MARKS : 1;
}

/* The n-th of its class goes, used last at that time. */
static void
note_departure(struct policy_size *z, bool main, uint32_t n, uint32_t stamp)
{
	uint32_t unit = departures(z);

	if (n % unit == 0)
		store_relaxed(&z->left[main][n / unit % (GHOST_MARKS + 1)], stamp & STAMP_TIME);
}

/* When the page of that class was used last that went a ghost's life ago; 0: none yet. */
static uint32_t
life_begins(const struct policy_size *z, bool main)
{
	uint32_t n = load_relaxed(&z->departed[main]) / departures(z);

	return load_relaxed(&z->left[main][(n + 1) % (GHOST_MARKS + 1)]);
}

static bool
ghost_lives(uint32_t now, uint32_t stamp, uint32_t begin)
{
	return begin == 0 || stamp_age(now, stamp) < stamp_age(now, begin);
}

/* --- sets ------------------------------------------------------------------------------------ */

bool
ghost_take(DB_MPOOL *p, unsigned pageshift, uint64_t key, struct ghost *g)
{
	struct policy_size *z = policy_size(p, pageshift);
	uint32_t now = load_relaxed(&p->mp->clock) & STAMP_TIME;
	uint32_t mark, *set = ghost_set(p, key, &mark);
	bool main;

	for (unsigned i = 0; i < GHOST_SET; i++) {
		uint32_t ghost = load_relaxed(&set[i]), age = ghost_age(now, ghost);

		if (ghost == 0 || (ghost >> 16 & 0x7fff) != mark || age > GHOST_AGE_MOST ||
		    !cas_seq(&set[i], &ghost, 0))
			continue;
		main = (ghost & GHOST_MAIN) != 0;
		g->stamp = (main ? STAMP_MAIN : 0) | ((now - age) & STAMP_TIME);
		if ((g->lives = ghost_lives(now, g->stamp, life_begins(z, main))))
			count_taken(z, main);
		return true;
	}
	return false;
}

/*
 * The place for another one: a free one, else that of the oldest of those that live no more, else
 * of the oldest.  By age alone those of the main class would go first, whose pages were used last
 * long before they went, and probation would grow, as only its ghosts come back.
 */
static uint32_t *
ghost_place(const struct policy_size *z, uint32_t now, uint32_t *set)
{
	const uint32_t begin[2] = { life_begins(z, false), life_begins(z, true) };
	uint32_t *place = set, most = 0;

	for (unsigned i = 0; i < GHOST_SET; i++) {
		uint32_t ghost = load_relaxed(&set[i]), age = ghost_age(now, ghost);

		if (ghost == 0)
			return &set[i];
		if (!ghost_lives(now, now - age, begin[(ghost & GHOST_MAIN) != 0]))
			age += GHOST_TIME + 1;
		if (age >= most) {
			most = age;
			place = &set[i];
		}
	}
	return place;
}

void
ghost_put(DB_MPOOL *p, unsigned pageshift, uint64_t key, uint32_t stamp)
{
	struct policy_size *z = policy_size(p, pageshift);
	uint32_t mark, *set = ghost_set(p, key, &mark);
	uint32_t now = load_relaxed(&p->mp->clock) & STAMP_TIME;
	bool main = (stamp & STAMP_MAIN) != 0;

	if (stamp_age(now, stamp) > GHOST_AGE_MOST)
		return;
	note_departure(z, main, add_relaxed(&z->departed[main], 1) + 1, stamp);
	count_left(z, main);
	store_relaxed(
	    ghost_place(z, now, set), (main ? GHOST_MAIN : 0) | mark << 16 | (stamp & GHOST_TIME));
}

/* False: there is none, or it is too old to tell, and goes. */
static bool
ghost_is_young(uint32_t *at, uint32_t now, uint32_t *agep)
{
	uint32_t ghost = load_relaxed(at);

	if (ghost == 0)
		return false;
	if ((*agep = ghost_age(now, ghost)) <= GHOST_AGE_MOST)
		return true;
	(void)cas_seq(at, &ghost, 0);
	return false;
}

void
ghosts_forget(DB_MPOOL *p, uint32_t now)
{
	uint64_t n = ghost_sets(p) * GHOST_SET;
	uint32_t age;

	for (uint64_t i = 0; i < n; i++)
		(void)ghost_is_young(&p->ghosts[i], now, &age);
}

void
ghosts_count(DB_MPOOL *p, struct ages *a)
{
	uint64_t n = ghost_sets(p) * GHOST_SET;
	uint32_t age;

	for (uint64_t i = 0; i < n; i++)
		if (ghost_is_young(&p->ghosts[i], a->now, &age))
			ages_count(a->ghosts, a, age);
}
