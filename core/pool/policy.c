/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/policy.c - what is noted of a page's use: stamps, classes, marks.
 *
 * A stamp is written by whoever has the frame pinned or owns it, so it never outlives its page;
 * the exception, clamping old stamps, changes it by compare-and-swap from what it saw.  The number
 * of pages on probation is kept beside that and may be wrong after a death; every search for
 * victims counts again and stores what it found.
 *
 * Ticks are 31 bits.  Before the circle closes on a page that nobody uses and nobody evicts, its
 * stamp is moved: each 2^28 ticks all ages above 2^29 become 2^29, so that "older than" holds
 * (among those it says nothing any more).
 */
#include "policy.h"
#include "extent.h"
#include "ghost.h"
#include "point.h"
#include "tally.h"

#define CLAMP_TICKS (1u << 28)
#define CLAMP_AGE (1u << 29)
#define LOADS_PER_LOOK 64
#define LEASE 4096u	/* times, a power of two */
#define HITS_PER_PAGE 8 /* a thread's, until it moves the clock without a page coming in; lru */
#define HIT_TICKS 8	/* adaptive: for as many hits as there are pages */
#define HIT_TICKS_SMALL 64
#define HITS_EARNED_MOST (1u << 24) /* in one go: beyond, hits have left the block */
#define TARGET_LEAST 20 /* of the pages of a size, one in so many is on probation at least */

/* After so many hits, a power of two, a thread moves the clock; 0: never. */
static uint64_t
hits_per_tick(const DB_MPOOL *p, uint64_t pages)
{
	uint64_t most, hits = 1;

	if (p->lru && p->small)
		return 0;
	most = p->lru ? pages * HITS_PER_PAGE : pages / (p->small ? HIT_TICKS_SMALL : HIT_TICKS);
	while (hits < most)
		hits *= 2;
	return hits;
}

void
policy_init(DB_MPOOL *p)
{
	uint64_t pages = p->g.initial_bytes >> 12;

	p->lru = p->g.policy == DB_POLICY_LRU;
	p->small = pages <= POLICY_SMALL_PAGES;
	p->hits_mask = hits_per_tick(p, pages) - 1;
	p->loads_per_tick = p->small ? 1 : (uint32_t)(pages / TICKS_LRU);
}

const char *
policy_name(uint32_t policy)
{
	return policy == DB_POLICY_LRU ? "lru" : "adaptive";
}

/* Ages that are nearly too great to be told from young ones become great ones. */
static void
clamp_ages(DB_MPOOL *p, uint32_t now)
{
	for (uint32_t f = 0; f < p->g.nframes; f++) {
		uint32_t *stamp = stamp_at(p, f), s, old;
		unsigned pageshift = frame_pageshift(p, f);

		if (pageshift == 0 || !frame_fits(p, f, pageshift)) {
			f |= p->g.frames_per_extent - 1; /* no more in this extent */
			continue;
		}
		s = load_relaxed(stamp);
		if (s == 0 || stamp_age(now, s) <= CLAMP_AGE)
			continue;
		old = (now - CLAMP_AGE) & STAMP_TIME;
		(void)cas_seq(stamp, &s, (s & STAMP_MAIN) | (old != 0 ? old : 1));
	}
}

uint32_t
policy_tick(DB_MPOOL *p)
{
	uint32_t now;

	while ((now = (add_relaxed(&p->mp->clock, 1) + 1) & STAMP_TIME) == 0)
		continue;
	if (now % CLAMP_TICKS == 0)
		clamp_ages(p, now);
	if (now % GHOST_TICKS == 0 && !p->lru)
		ghosts_forget(p, now);
	return now;
}

/* The time now, as a stamp. */
static uint32_t
time_now(const DB_MPOOL *p)
{
	uint32_t now = load_relaxed(&p->mp->clock) & STAMP_TIME;

	return now != 0 ? now : 1;
}

/* --- who is there ---------------------------------------------------------------------------- */

static uint32_t
only_client(const DB_MPOOL *p, uint32_t leaving)
{
	uint32_t found = NO_CLIENT, end = client_end(p->region);

	for (uint32_t i = 0; i < end; i++) {
		if (i == leaving || load_seq(&p->region->clients[i].state) == CLIENT_FREE)
			continue;
		if (found != NO_CLIENT)
			return NO_CLIENT;
		found = i;
	}
	return found;
}

/*
 * Once more after the store: who comes meanwhile stores later, or is seen now.  Uses in company are
 * stamped with the clock's time, which may be the end of a lease: what is left of it is void.
 */
void
policy_company(DB_MPOOL *p, uint32_t leaving)
{
	uint32_t only = only_client(p, leaving);

	if (only != NO_CLIENT && p->lru && p->small)
		(void)policy_tick(p);
	store_seq(&p->mp->alone, only + 1);
	if (only != NO_CLIENT && only_client(p, leaving) != only)
		store_seq(&p->mp->alone, 0);
}

/*
 * Of two that leave at once each may take the other to be still there, and nobody says that a third
 * is alone: who loads looks now and then.
 */
static void
look_around(struct thread *t)
{
	DB_MPOOL *p = t->pool;

	if (!policy_is_alone(p) && ++t->loads % LOADS_PER_LOOK == 0 &&
	    only_client(p, NO_CLIENT) != NO_CLIENT)
		policy_company(p, NO_CLIENT);
}

/* --- hits ------------------------------------------------------------------------------------ */

/*
 * The times behind the clock's, up to a multiple of LEASE, are the thread's; the clock is at their
 * end already.  False: somebody else has moved it.
 */
static bool
lease_take(struct thread *t)
{
	DB_MPOOL *p = t->pool;
	uint32_t clock = load_relaxed(&p->mp->clock);
	uint32_t first = (((clock & STAMP_TIME) | (LEASE - 1)) + 1) & STAMP_TIME;

	if (!cas_seq(&p->mp->clock, &clock, first + LEASE - 1))
		return false;
	t->newest = first; /* which is not given: it may be 0 */
	t->lease = first + LEASE - 1;
	if (first % CLAMP_TICKS == 0)
		clamp_ages(p, t->lease);
	return true;
}

/* In a small pool: a time later than all before, for as long as the process is alone. */
static uint32_t
next_time(struct thread *t)
{
	DB_MPOOL *p = t->pool;

	if (!policy_is_alone(p) || load_relaxed(&p->lone) != t)
		return policy_tick(p);
	if ((load_relaxed(&p->mp->clock) != t->lease || t->newest == t->lease) && !lease_take(t))
		return policy_tick(p);
	return ++t->newest;
}

/* adaptive: of a page from behind the horizon the hit is one that LRU would not have had. */
static void
stamp_in_class(DB_MPOOL *p, uint32_t f, unsigned pageshift)
{
	struct policy_size *z = policy_size(p, pageshift);
	uint32_t *stamp = stamp_at(p, f), s = load_relaxed(stamp), now = time_now(p);

	if ((s & STAMP_TIME) == now || s == 0)
		return;
	POOL_POINT(POINT_STAMPING);
	if (cas_seq(stamp, &s, (s & STAMP_MAIN) | now))
		horizon_hit(p, z, s);
}

void
policy_stamp(struct thread *t, uint32_t f, unsigned pageshift)
{
	DB_MPOOL *p = t->pool;
	uint32_t *stamp = stamp_at(p, f), now = time_now(p);

	if (!p->lru)
		stamp_in_class(p, f, pageshift);
	else if (load_relaxed(stamp) != now) /* else nothing has happened since */
		store_relaxed(stamp, p->small && policy_is_alone(p) ? next_time(t) : now);
}

/* The thread's own page f is used for the first time. */
static void
first_use(struct thread *t, uint32_t f)
{
	t->first_used = f;
	t->hits_then = thread_hits(t);
}

/* Has the thread hit nothing else since the first use of page f? */
static bool
is_first_use(struct thread *t, uint32_t f)
{
	if (t->first_used != f || thread_hits(t) != t->hits_then)
		return false;
	t->hits_then++;
	return true;
}

/* A page that nobody has asked for yet, or that was to go, is as new as one that comes in. */
static void
begin_again(struct thread *t, uint32_t f)
{
	DB_MPOOL *p = t->pool;
	uint32_t *stamp = stamp_at(p, f), s = load_relaxed(stamp);

	first_use(t, f);
	t->hits_then++; /* this one, which is about to be counted */
	(void)and_seq(&frame_at(p, f)->word, ~(FW_AHEAD | FW_DISCARD));
	if (!p->lru)
		(void)cas_seq(stamp, &s, (s & STAMP_MAIN) | time_now(p));
}

/*
 * What follows closely upon the last use is the same use: nothing but this page was hit, or it was
 * used within the window.
 */
static bool
is_same_use(struct thread *t, uint32_t f, uint32_t stamp, unsigned pageshift)
{
	DB_MPOOL *p = t->pool;
	uint32_t window = load_relaxed(&policy_size(p, pageshift)->window);

	return is_first_use(t, f) || (window > 0 && stamp_age(time_now(p), stamp) < window);
}

/* A page on probation has been used again. */
static void
join_main(DB_MPOOL *p, uint32_t f, uint32_t stamp, unsigned pageshift)
{
	struct policy_size *z = policy_size(p, pageshift);

	if (stamp == 0 || !cas_seq(stamp_at(p, f), &stamp, stamp | STAMP_MAIN))
		return;
	(void)sub_seq(&z->probation, 1);
	horizon_joined(z);
}

void
policy_mark(struct thread *t, uint32_t f, uint64_t w, unsigned pageshift)
{
	DB_MPOOL *p = t->pool;
	uint32_t s = load_relaxed(stamp_at(p, f));

	if (w & (FW_AHEAD | FW_DISCARD)) {
		begin_again(t, f);
		return;
	}
	if (!p->lru && !(s & STAMP_MAIN)) {
		if (is_same_use(t, f, s, pageshift))
			return;
		join_main(p, f, s, pageshift);
	}
	(void)or_seq(&frame_at(p, f)->word, FW_USED);
}

bool
policy_is_cold(const DB_MPOOL *p, uint32_t f)
{
	uint64_t pages = pool_bytes(p) >> 12;

	return stamp_age(time_now(p), load_relaxed(stamp_at(p, f))) >
	    (p->small ? pages : TICKS_LRU) / 2;
}

void
policy_discard(DB_MPOOL *p, uint32_t f)
{
	uint32_t *stamp = stamp_at(p, f), s = load_relaxed(stamp);
	uint32_t old = (time_now(p) - CLAMP_AGE) & STAMP_TIME;

	(void)or_seq(&frame_at(p, f)->word, FW_DISCARD);
	(void)cas_seq(stamp, &s, (s & STAMP_MAIN) | (old != 0 ? old : 1));
}

/* --- coming and going ------------------------------------------------------------------------ */

uint32_t
policy_target(uint64_t frames, int64_t target)
{
	int64_t least = (int64_t)(frames / TARGET_LEAST), most = (int64_t)(frames - frames / 10);

	if (target < least)
		target = least;
	if (target > most)
		target = most;
	return target > 0 ? (uint32_t)target : 1;
}

/*
 * Which ghosts come back says which class was too small; one of the rarer kind says more, as in
 * ARC.
 */
static void
learn(DB_MPOOL *p, unsigned pageshift, uint32_t class)
{
	struct policy_size *z = policy_size(p, pageshift);
	unsigned mine = class != 0;
	uint32_t same = load_relaxed(&z->live[mine]), other = load_relaxed(&z->live[!mine]);
	int64_t step = same < other ? other / (same + LIVE_ONE) + 1 : 1,
		target = load_relaxed(&z->target);

	store_relaxed(&z->target,
	    policy_target(load_relaxed(&z->pages), target + (class == STAMP_MAIN ? -step : step)));
}

/* What a ghost tells, and the account; the class of the page that comes in. */
static uint32_t
class_of_new(struct thread *t, uint64_t key, unsigned pageshift)
{
	DB_MPOOL *p = t->pool;
	struct policy_size *z = policy_size(p, pageshift);
	struct ghost g;
	bool found = ghost_take(p, pageshift, key, &g);

	horizon_miss(p, z, found ? g.stamp : 0);
	if (found && g.lives) {
		if (!(g.stamp & STAMP_MAIN))
			horizon_joined(z);
		learn(p, pageshift, g.stamp & STAMP_MAIN);
		return STAMP_MAIN;
	}
	(void)add_relaxed(&z->probation, 1);
	horizon_entered(z);
	return 0;
}

/* All that the thread has used since it was here last. */
static void
earn(struct thread *t, unsigned pageshift)
{
	uint64_t hits = thread_hits(t), since = hits - t->hits_earned;

	if (since < HITS_EARNED_MOST)
		horizon_earn(policy_size(t->pool, pageshift), since + 1);
	t->hits_earned = hits;
}

static uint64_t
enter_adaptive(struct thread *t, uint32_t f, uint64_t key, unsigned pageshift, bool ahead)
{
	DB_MPOOL *p = t->pool;
	uint32_t class = class_of_new(t, key, pageshift);
	uint32_t now = ++t->loads % p->loads_per_tick == 0 ? policy_tick(p) : time_now(p);

	earn(t, pageshift);
	store_relaxed(stamp_at(p, f), class | now);
	if (!ahead)
		first_use(t, f);
	return (class != 0 ? FW_USED : 0) | (ahead ? FW_AHEAD : 0);
}

uint64_t
policy_enter(struct thread *t, uint32_t f, uint64_t key, unsigned pageshift, bool ahead)
{
	DB_MPOOL *p = t->pool;
	uint32_t now;

	if (!p->lru)
		return enter_adaptive(t, f, key, pageshift, ahead);
	if (p->small) {
		look_around(t);
		now = next_time(t);
	} else if (++t->loads % p->loads_per_tick == 0)
		now = policy_tick(p);
	else
		now = time_now(p);
	store_relaxed(stamp_at(p, f), now);
	return FW_USED;
}

void
policy_leave(DB_MPOOL *p, uint32_t f)
{
	uint32_t *stamp = stamp_at(p, f), s = load_relaxed(stamp);
	unsigned pageshift;

	if (s == 0)
		return;
	store_relaxed(stamp, 0);
	if (!p->lru && !(s & STAMP_MAIN) && (pageshift = frame_pageshift(p, f)) != 0)
		(void)sub_seq(&policy_size(p, pageshift)->probation, 1);
}

void
policy_evicted(DB_MPOOL *p, uint32_t f, uint64_t key)
{
	unsigned pageshift = frame_pageshift(p, f);
	uint32_t s = load_relaxed(stamp_at(p, f));

	if (p->lru || pageshift == 0 || s == 0)
		return;
	horizon_gone(p, policy_size(p, pageshift), s);
	ghost_put(p, pageshift, key, s);
}
