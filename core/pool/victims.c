/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/victims.c - the pages to evict next, by the pool's policy.
 *
 * There is no shared queue.  A thread that needs victims reads all stamps of the page size, keeps
 * the oldest, a fixed part of the pool, sorted, and lives on that list until it is used up: an
 * entry still holds if its frame still has the stamp that was found, and whatever is not on the
 * list was younger then and is younger still.  So the order is that of one queue, whoever evicts,
 * and nothing that is shared has to be kept in order or repaired.
 *
 * lru: the list is of all pages.  adaptive: there are two, of the pages on probation and of the
 * main class, and a rule whose turn it is.  In a small pool pages go one at a time, so that the
 * order is exact; else in batches, clean ones first.
 */
#include <stdlib.h>

#include "extent.h"
#include "ghost.h"
#include "point.h"
#include "victims.h"

#define LIST_LEAST 64
#define EARLY 8 /* places of the list */
#define LIST_MOST 16384
#define LIST_PART 16	/* of the pool's 4 KiB pages */
#define LIST_PART_LRU 8 /* where a search changes nothing, it may be rarer */
#define LIFE_PARTS 3	/* of eight of the pages of a size: evictions that a ghost outlives */
#define WINDOW_MOST 64u /* see policy_size.window */
#define BATCH_PART 640	/* of the pages of a size, evicted at a time */
#define COMPANY_PART 16 /* of the pages of a size, written at a time */
#define ORDER_ALL UINT64_MAX

/* The oldest pages of a class. */
struct queue {
	uint32_t room;
	uint32_t n;
	uint32_t next;
	uint64_t *order; /* place_of(): the next victim is the greatest */
};

struct victims {
	unsigned pageshift;
	uint32_t now;	      /* ages are up to here */
	uint32_t evicted_age; /* of the last one taken */
	struct ages *ages;    /* NULL: lru */
	struct queue q[2];    /* lru: all pages; adaptive: on probation, main */
	uint64_t places[];
};

int
victims_create(const DB_MPOOL *p, struct victims **vp)
{
	uint64_t room = (pool_bytes(p) >> 12) / (p->lru ? LIST_PART_LRU : LIST_PART);
	size_t ages = p->lru ? 0 : sizeof(struct ages);
	struct victims *v;
	int ret;

	room = room < LIST_LEAST ? LIST_LEAST : room > LIST_MOST ? LIST_MOST : room;
	if ((ret = os_malloc(sizeof(*v) + room * sizeof(v->places[0]) + ages, (void **)&v)) != 0)
		return ret;
	memset(v, 0, sizeof(*v));
	v->q[0] = (struct queue){ .room = (uint32_t)room, .order = v->places };
	if (ages != 0) {
		v->q[0].room = (uint32_t)room / 2;
		v->q[1] =
		    (struct queue){ .room = (uint32_t)room / 2, .order = v->places + room / 2 };
		v->ages = (struct ages *)(v->places + room);
	}
	*vp = v;
	return 0;
}

unsigned
victims_batch(const DB_MPOOL *p, unsigned pageshift)
{
	uint64_t n = (pool_bytes(p) >> pageshift) / BATCH_PART;

	if (p->small || n == 0)
		return 1;
	return n < BATCH ? (unsigned)n : BATCH;
}

/* --- the list -------------------------------------------------------------------------------- */

/* A heap with the smallest at the top: order[i] sinks to its place. */
static void
sink(uint64_t order[], uint32_t n, uint32_t i)
{
	uint64_t what = order[i];
	uint32_t child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && order[child + 1] < order[child])
			child++;
		if (order[child] >= what)
			break;
		order[i] = order[child];
		i = child;
	}
	order[i] = what;
}

static void
heap_make(struct queue *q)
{
	for (uint32_t i = q->n / 2; i-- > 0;)
		sink(q->order, q->n, i);
}

/* Keep the q->room greatest. */
static inline void
keep(struct queue *q, uint64_t place)
{
	if (q->n < q->room) {
		q->order[q->n++] = place;
		if (q->n == q->room)
			heap_make(q);
	} else if (place > q->order[0]) {
		q->order[0] = place;
		sink(q->order, q->n, 0);
	}
}

/* Of pages of one age the first goes first. */
static inline uint64_t
place_of(uint32_t age, uint32_t f)
{
	return (uint64_t)age << 32 | (UINT32_MAX - f);
}

static inline uint32_t
place_frame(uint64_t place)
{
	return UINT32_MAX - (uint32_t)place;
}

/* From the heap to falling order. */
static void
sort(struct queue *q)
{
	if (q->n < q->room)
		heap_make(q);
	for (uint32_t n = q->n; n > 1; n--) {
		uint64_t least = q->order[0];

		q->order[0] = q->order[n - 1];
		q->order[n - 1] = least;
		sink(q->order, n - 1, 0);
	}
}

/* What a search goes by, and what it has counted. */
struct census {
	uint64_t below[2]; /* places in the order, by class */
	struct ages *ages; /* NULL: nobody asks */
	uint32_t frames;
	uint32_t pages[2];
};

/*
 * n frames from f on, for lru: nothing is counted, and once the list is full, of most pages the age
 * is all that is looked at.
 */
static void
look_for_oldest(struct victims *v, uint32_t f, uint32_t n, const uint32_t *stamps, uint64_t below)
{
	struct queue *q = &v->q[0];
	uint32_t least = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t s = load_relaxed(&stamps[i]), age = stamp_age(v->now, s);
		uint64_t place = place_of(age, f + i);

		if (age < least || s == 0 || place >= below)
			continue;
		keep(q, place);
		if (q->n == q->room)
			least = (uint32_t)(q->order[0] >> 32);
	}
}

/* The same for either policy: adaptive has two lists.  Their stamps lie in one piece. */
static void
look_at_run(struct victims *v, uint32_t f, uint32_t n, const uint32_t *stamps, struct census *seen)
{
	if (v->ages == NULL) {
		look_for_oldest(v, f, n, stamps, seen->below[0]);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t s = load_relaxed(&stamps[i]), age;
		unsigned class = s >> 31;
		uint64_t place;

		if (s == 0)
			continue;
		seen->pages[class]++;
		age = stamp_age(v->now, s);
		if (seen->ages != NULL)
			ages_count(seen->ages->pages, seen->ages, age);
		place = place_of(age, f + i);
		if (place < seen->below[class])
			keep(&v->q[class], place);
	}
}

static void
look_at_extent(const DB_MPOOL *p, struct victims *v, uint32_t e, struct census *seen)
{
	uint32_t first = e * p->g.frames_per_extent, n = extent_frames(p, v->pageshift);
	uint32_t common = p->common;

	seen->frames += n;
	if (n <= common || common == 0) {
		look_at_run(v, first, n, stamp_at(p, first), seen);
		return;
	}
	look_at_run(v, first, common, stamp_at(p, first), seen);
	look_at_run(v, first + common, n - common, stamp_at(p, first + common), seen);
}

/* All pages of the size have been counted: put the hints right. */
static void
size_update(DB_MPOOL *p, const struct victims *v, const struct census *seen)
{
	struct policy_size *z = policy_size(p, v->pageshift);
	uint32_t target = load_relaxed(&z->target), window;

	if (seen->ages == NULL)
		return;
	target = policy_target(seen->frames, target != 0 ? target : seen->frames / 8);
	window = target / 2 < WINDOW_MOST ? target / 2 : WINDOW_MOST;
	store_relaxed(&z->target, target);
	store_relaxed(&z->probation, seen->pages[0]);
	store_relaxed(&z->window, window / p->loads_per_tick + 1);
	store_relaxed(&z->life, seen->frames * LIFE_PARTS / 8 + 1);
	ghosts_count(p, v->ages);
	horizon_set(
	    p, v->pageshift, v->ages, seen->pages[0] + seen->pages[1], v->q[0].n + v->q[1].n);
}

/*
 * The oldest pages of the size; of a round that has looked before, those behind the last.  What it
 * took from the list of an earlier round has its place by the time of then, which says nothing now.
 */
static void
search(DB_MPOOL *p, struct victims *v, struct victim_round *r)
{
	struct census seen = { 0 };

	v->pageshift = r->pageshift;
	v->q[0].n = v->q[0].next = v->q[1].n = v->q[1].next = 0;
	if (!r->searched) {
		r->last[0] = r->last[1] = ORDER_ALL;
		v->now = load_relaxed(&p->mp->clock) & STAMP_TIME;
		seen.ages = v->ages;
	}
	memcpy(seen.below, r->last, sizeof(seen.below));
	r->searched = true;
	if (seen.ages != NULL)
		horizon_census(p, v->pageshift, v->now, seen.ages);
	for (uint32_t e = 0; e < p->g.nextents; e++)
		if (extent_pageshift(p, load_relaxed(&p->extents[e])) == v->pageshift)
			look_at_extent(p, v, e, &seen);
	sort(&v->q[0]);
	sort(&v->q[1]);
	size_update(p, v, &seen);
}

/* Does frame f hold a page of that size? */
static bool
is_of_size(const DB_MPOOL *p, uint32_t f, unsigned pageshift)
{
	return frame_fits(p, f, pageshift) && frame_pageshift(p, f) == pageshift;
}

/* The words of a page that comes up soon. */
static void
ask_early(const DB_MPOOL *p, const struct queue *q)
{
	uint32_t f;

	if (q->next + EARLY >= q->n)
		return;
	f = place_frame(q->order[q->next + EARLY]);
	__builtin_prefetch(frame_at(p, f), 1);
	__builtin_prefetch(stamp_at(p, f), 1);
}

struct oldest {
	uint64_t place;
	uint32_t f;
	uint32_t stamp;
};

/* The next of a class that still is what it was; false at the end of the round. */
static bool
look_oldest(struct thread *t, struct victim_round *r, unsigned class, struct oldest *o)
{
	DB_MPOOL *p = t->pool;
	struct victims *v = t->victims;
	struct queue *q = &v->q[class];

	while (!r->spent[class]) {
		if (q->next == q->n || v->pageshift != r->pageshift) {
			search(p, v, r);
			r->spent[class] = q->n == 0;
			continue;
		}
		o->place = q->order[q->next];
		ask_early(p, q);
		o->f = place_frame(o->place);
		o->stamp = ((v->now - (uint32_t)(o->place >> 32)) & STAMP_TIME) |
		    (class != 0 ? STAMP_MAIN : 0);
		if (is_of_size(p, o->f, r->pageshift) &&
		    load_relaxed(stamp_at(p, o->f)) == o->stamp)
			return true;
		r->last[class] = o->place;
		q->next++;
	}
	return false;
}

static void
take_oldest(struct thread *t, struct victim_round *r, unsigned class, const struct oldest *o)
{
	struct queue *q = &t->victims->q[class];

	/* else a search has begun the list anew since it was looked at */
	if (q->next < q->n && q->order[q->next] == o->place)
		q->next++;
	t->victims->evicted_age = (uint32_t)(o->place >> 32);
	r->last[class] = o->place;
}

/* --- choosing -------------------------------------------------------------------------------- */

/* True if it may go. */
static bool
add(uint32_t f, uint64_t w, struct candidates *c)
{
	if (fw_state(w) != FRAME_VALID) {
		c->busy += fw_state(w) != FRAME_FREE;
		c->moves += (w & (FW_STATE | FW_OWNER | FW_VERSION)) * (2 * (uint64_t)f + 1);
		return false;
	}
	if (!(w & FW_DIRTY)) {
		if (c->n == BATCH)
			return false;
		c->clean[c->n++] = f;
	} else {
		if (c->ndirty == BATCH)
			return false;
		c->dirty[c->ndirty++] = f;
	}
	return true;
}

static bool
is_enough(const struct thread *t, unsigned pageshift, const struct candidates *c)
{
	unsigned want = victims_batch(t->pool, pageshift);

	if (t->pool->small)
		return c->n + c->ndirty > 0;
	if (want < t->wanted)
		want = t->wanted < BATCH ? t->wanted : BATCH;
	return c->n >= want || c->ndirty >= BATCH || c->ndirty >= 4 * want;
}

/* The oldest of a class, unless the list had all of it and is used up: what came since is young. */
static bool
look_known(struct thread *t, struct victim_round *r, unsigned class, struct oldest *o)
{
	const struct queue *q = &t->victims->q[class];

	return (q->next < q->n || q->n == q->room) && look_oldest(t, r, class, o);
}

/*
 * Of the two classes' oldest pages the older one; *o is that of class.  Others use pages meanwhile,
 * and it may be gone when the other class is known.
 */
static unsigned
choose_older(struct thread *t, struct victim_round *r, unsigned class, struct oldest *o)
{
	struct oldest other;

	POOL_POINT(POINT_CHOOSING);
	if (!look_known(t, r, !class, &other) ||
	    (look_oldest(t, r, class, o) && other.place <= o->place))
		return class;
	*o = other;
	return !class;
}

/*
 * Of which class is the page that goes?  chosen: so many on probation are about to go.  A page
 * that LRU would keep goes only if one more from before the horizon may be kept.
 */
static bool
next_adaptive(
    struct thread *t, struct victim_round *r, uint32_t chosen, struct oldest *o, unsigned *classp)
{
	const DB_MPOOL *p = t->pool;
	const struct policy_size *z = policy_size(p, r->pageshift);
	int64_t have = (int64_t)load_relaxed(&z->probation) - chosen;
	unsigned class = have < (int64_t)load_relaxed(&z->target);

	if (!look_oldest(t, r, class, o)) {
		class = !class;
		if (!look_oldest(t, r, class, o))
			return false;
	}
	if (!horizon_is_beyond(p, z, o->stamp)) {
		if (horizon_old(z) + r->stake < horizon_old_most(z))
			r->stake++;
		else
			class = choose_older(t, r, class, o);
	}
	*classp = class;
	return true;
}

static void
pick_adaptive(struct thread *t, struct victim_round *r, struct candidates *c)
{
	const DB_MPOOL *p = t->pool;
	uint32_t chosen = 0;
	struct oldest o;
	unsigned class;

	while (!is_enough(t, r->pageshift, c) && next_adaptive(t, r, chosen, &o, &class)) {
		take_oldest(t, r, class, &o);
		chosen += add(o.f, load_relaxed(&frame_at(p, o.f)->word), c) && class == 0;
	}
}

static void
pick_oldest(struct thread *t, struct victim_round *r, struct candidates *c)
{
	const DB_MPOOL *p = t->pool;
	struct oldest o;

	while (!is_enough(t, r->pageshift, c) && look_oldest(t, r, 0, &o)) {
		take_oldest(t, r, 0, &o);
		(void)add(o.f, load_relaxed(&frame_at(p, o.f)->word), c);
	}
}

/* The one victim is dirty: the dirty ones that come next had better be written with it. */
static void
add_company(struct thread *t, unsigned pageshift, struct candidates *c)
{
	DB_MPOOL *p = t->pool;
	const struct queue *q = &t->victims->q[0];
	uint64_t most = (pool_bytes(p) >> pageshift) / COMPANY_PART;

	if (most > BATCH / 2)
		most = BATCH / 2;
	for (uint32_t i = q->next; i < q->n && c->ndirty + c->nmore < most; i++) {
		uint32_t f = place_frame(q->order[i]);
		uint64_t w;

		if (t->victims->pageshift != pageshift || !is_of_size(p, f, pageshift))
			continue;
		w = load_relaxed(&frame_at(p, f)->word);
		if (fw_state(w) == FRAME_VALID && (w & FW_DIRTY))
			c->dirty[c->ndirty + c->nmore++] = f;
	}
}

void
victims_begin(unsigned pageshift, struct victim_round *r)
{
	*r = (struct victim_round){ .pageshift = pageshift };
}

void
victims_discarded(struct thread *t, unsigned pageshift, struct candidates *c)
{
	DB_MPOOL *p = t->pool;
	uint32_t from = load_relaxed(&p->mp->discard_next);

	c->n = c->ndirty = c->nmore = c->busy = 0;
	c->moves = 0;
	for (uint32_t i = from; i != from + DISCARD_RING && !is_enough(t, pageshift, c); i++) {
		uint32_t *place = &p->mp->discards[i % DISCARD_RING], f = load_relaxed(place);
		uint64_t w;

		if (f == 0 || !cas_seq(place, &f, 0) || !is_of_size(p, --f, pageshift))
			continue;
		w = load_relaxed(&frame_at(p, f)->word);
		if (w & FW_DISCARD)
			(void)add(f, w, c);
	}
}

bool
victims_pick(struct thread *t, struct victim_round *r, struct candidates *c)
{
	c->n = c->ndirty = c->nmore = 0;
	if (t->pool->lru)
		pick_oldest(t, r, c);
	else
		pick_adaptive(t, r, c);
	if (t->pool->small && c->ndirty > 0)
		add_company(t, r->pageshift, c);
	return c->n + c->ndirty > 0;
}

/* --- extents --------------------------------------------------------------------------------- */

/* From 0, all is free or as old as can be, to STAMP_AGE_MOST. */
uint32_t
victims_warmth(const DB_MPOOL *p, uint32_t e, unsigned pageshift)
{
	uint32_t first = e * p->g.frames_per_extent, n = extent_frames(p, pageshift);
	uint32_t now = load_relaxed(&p->mp->clock) & STAMP_TIME;
	uint64_t ages = 0;

	for (uint32_t f = first; f < first + n; f++) {
		uint32_t s = load_relaxed(stamp_at(p, f));

		ages += s != 0 ? stamp_age(now, s) : STAMP_AGE_MOST;
	}
	return STAMP_AGE_MOST - (uint32_t)(ages / n);
}

bool
victims_is_idle(struct thread *t, uint32_t e, unsigned pageshift)
{
	const DB_MPOOL *p = t->pool;
	uint32_t n = extent_frames(p, pageshift), used = 0, first = e * p->g.frames_per_extent;
	uint32_t now = load_relaxed(&p->mp->clock) & STAMP_TIME;

	for (uint32_t f = first; f < first + n; f++) {
		uint32_t s = load_relaxed(stamp_at(p, f));

		used += s != 0 && stamp_age(now, s) < t->victims->evicted_age;
	}
	return used * 2 <= n;
}
