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
 * lru: the list is of all pages.  adaptive: of those on probation; the main class has a hand that
 * goes over the frames in their order.  In a small pool pages go one at a time, so that the order
 * is exact; else in batches, clean ones first.
 */
#include <stdlib.h>

#include "extent.h"
#include "policy.h"
#include "victims.h"

#define LIST_LEAST 64
#define EARLY 8 /* places of the list */
#define LIST_MOST 16384
#define LIST_PART 16	/* of the pool's 4 KiB pages */
#define WINDOW_MOST 64u /* see policy_size.window */
#define BATCH_PART 256	/* of the pages of a size, evicted at a time */
#define COMPANY_PART 16 /* of the pages of a size, written at a time */
#define ORDER_ALL UINT64_MAX

struct victims {
	unsigned pageshift;
	uint32_t now;	      /* ages are up to here */
	uint32_t evicted_age; /* of the last one taken */
	uint32_t room;
	uint32_t n;
	uint32_t next;
	uint64_t order[]; /* age << 32 | ~frame: the next victim is the greatest */
};

int
victims_create(const DB_MPOOL *p, struct victims **vp)
{
	uint64_t room = (pool_bytes(p) >> 12) / LIST_PART;
	struct victims *v;
	int ret;

	room = room < LIST_LEAST ? LIST_LEAST : room > LIST_MOST ? LIST_MOST : room;
	if ((ret = os_malloc(sizeof(*v) + room * sizeof(v->order[0]), (void **)&v)) != 0)
		return ret;
	*v = (struct victims){ .room = (uint32_t)room };
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
heap_make(struct victims *v)
{
	for (uint32_t i = v->n / 2; i-- > 0;)
		sink(v->order, v->n, i);
}

/* Keep the v->room greatest. */
static inline void
keep(struct victims *v, uint64_t place)
{
	if (v->n < v->room) {
		v->order[v->n++] = place;
		if (v->n == v->room)
			heap_make(v);
	} else if (place > v->order[0]) {
		v->order[0] = place;
		sink(v->order, v->n, 0);
	}
}

/* From the heap to falling order. */
static void
sort(struct victims *v)
{
	if (v->n < v->room)
		heap_make(v);
	for (uint32_t n = v->n; n > 1; n--) {
		uint64_t least = v->order[0];

		v->order[0] = v->order[n - 1];
		v->order[n - 1] = least;
		sink(v->order, n - 1, 0);
	}
}

struct census {
	uint32_t frames;
	uint32_t probation;
};

/* n frames from f on, whose stamps lie in one piece. */
static void
look_at_run(struct victims *v, uint32_t f, uint32_t n, const uint32_t *stamps, uint64_t below,
    struct census *seen)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t s = load_relaxed(&stamps[i]);
		uint64_t place;

		if (s == 0 || (s & STAMP_MAIN))
			continue;
		seen->probation++;
		place = (uint64_t)stamp_age(v->now, s) << 32 | (UINT32_MAX - (f + i));
		if (place < below)
			keep(v, place);
	}
}

static void
look_at_extent(
    const DB_MPOOL *p, struct victims *v, uint32_t e, uint64_t below, struct census *seen)
{
	uint32_t first = e * p->g.frames_per_extent, n = extent_frames(p, v->pageshift);
	uint32_t common = p->g.frames_per_extent / 8;

	seen->frames += n;
	if (n <= common || common == 0) {
		look_at_run(v, first, n, stamp_at(p, first), below, seen);
		return;
	}
	look_at_run(v, first, common, stamp_at(p, first), below, seen);
	look_at_run(v, first + common, n - common, stamp_at(p, first + common), below, seen);
}

/* All pages of the size have been counted: put the hints right. */
static void
size_update(const DB_MPOOL *p, unsigned pageshift, const struct census *seen)
{
	struct policy_size *z = policy_size(p, pageshift);
	uint32_t target = load_relaxed(&z->target);

	if (p->lru)
		return;
	target = policy_target(seen->frames, target != 0 ? target : seen->frames / 8);
	store_relaxed(&z->target, target);
	store_relaxed(&z->probation, seen->probation);
	store_relaxed(&z->window, target / 2 < WINDOW_MOST ? target / 2 : WINDOW_MOST);
	store_relaxed(&z->ghosts, seen->frames / 2 > 0 ? seen->frames / 2 : 1);
}

/* The oldest pages of the size that come behind `below` in the order. */
static void
search(const DB_MPOOL *p, struct victims *v, unsigned pageshift, uint64_t below)
{
	struct census seen = { 0 };

	if (below == ORDER_ALL)
		v->now = load_relaxed(&p->mp->clock) & STAMP_TIME;
	v->pageshift = pageshift;
	v->n = v->next = 0;
	for (uint32_t e = 0; e < p->g.nextents; e++)
		if (extent_pageshift(p, load_relaxed(&p->extents[e])) == pageshift)
			look_at_extent(p, v, e, below, &seen);
	sort(v);
	if (below == ORDER_ALL)
		size_update(p, pageshift, &seen);
}

/* Does frame f hold a page of that size? */
static bool
is_of_size(const DB_MPOOL *p, uint32_t f, unsigned pageshift)
{
	return frame_fits(p, f, pageshift) && frame_pageshift(p, f) == pageshift;
}

/* The words of a page that comes up soon. */
static void
ask_early(const DB_MPOOL *p, const struct victims *v)
{
	uint32_t f;

	if (v->next + EARLY >= v->n)
		return;
	f = UINT32_MAX - (uint32_t)v->order[v->next + EARLY];
	__builtin_prefetch(frame_at(p, f), 1);
	__builtin_prefetch(stamp_at(p, f), 1);
}

/* The next of the list that still is what it was; false at the end of the round. */
static bool
next_oldest(struct thread *t, struct victim_round *r, uint32_t *fp, uint32_t *stampp)
{
	const DB_MPOOL *p = t->pool;
	struct victims *v = t->victims;

	while (!r->spent) {
		if (v->next == v->n || v->pageshift != r->pageshift) {
			search(p, v, r->pageshift, r->searched ? r->last : ORDER_ALL);
			r->searched = true;
			r->spent = v->n == 0;
			continue;
		}
		r->last = v->order[v->next++];
		ask_early(p, v);
		*fp = UINT32_MAX - (uint32_t)r->last;
		*stampp = (v->now - (uint32_t)(r->last >> 32)) & STAMP_TIME;
		if (!is_of_size(p, *fp, r->pageshift) || load_relaxed(stamp_at(p, *fp)) != *stampp)
			continue;
		v->evicted_age = (uint32_t)(r->last >> 32);
		return true;
	}
	return false;
}

/* --- the clock of the main class ------------------------------------------------------------- */

/* Frames that the hand moves over in one step: a power of two, like an extent's frames. */
static uint32_t
chunk_size(const DB_MPOOL *p, unsigned pageshift)
{
	uint32_t n = extent_frames(p, pageshift), chunk = 1;

	while (chunk * 2 <= n && chunk * 2 <= victims_batch(p, pageshift))
		chunk *= 2;
	return chunk;
}

/* The next chunk of frames of that page size under the hand. */
static bool
next_chunk(DB_MPOOL *p, unsigned pageshift, uint32_t *firstp, uint32_t *np)
{
	uint64_t *hand = &policy_size(p, pageshift)->hand;
	uint32_t n = extent_frames(p, pageshift), chunk = chunk_size(p, pageshift);
	uint32_t chunks = n / chunk;

	for (uint32_t tries = 0; tries <= p->g.nextents;) {
		uint64_t h = load_relaxed(hand);
		uint32_t e = (uint32_t)(h / chunks % p->g.nextents);

		if (extent_pageshift(p, load_relaxed(&p->extents[e])) == pageshift) {
			if (!cas_seq(hand, &h, h + 1))
				continue;
			*firstp = e * p->g.frames_per_extent + (uint32_t)(h % chunks) * chunk;
			*np = chunk;
			return true;
		}
		(void)cas_seq(hand, &h, (h / chunks + 1) * chunks);
		tries++;
	}
	return false;
}

/* The next page of the main class; false when the hand has been round often enough. */
static bool
next_main(struct thread *t, struct victim_round *r, uint32_t *fp)
{
	while (!r->main_spent) {
		if (r->left == 0) {
			r->main_spent =
			    r->steps == 0 || !next_chunk(t->pool, r->pageshift, &r->at, &r->left);
			continue;
		}
		*fp = r->at++;
		r->left--;
		if (r->steps > 0)
			r->steps--;
		if (load_relaxed(stamp_at(t->pool, *fp)) & STAMP_MAIN)
			return true;
	}
	return false;
}

/* --- choosing -------------------------------------------------------------------------------- */

/* A page that has been used on probation joins the main class. */
static void
promote(DB_MPOOL *p, uint32_t f, uint32_t stamp, unsigned pageshift)
{
	if (!cas_seq(stamp_at(p, f), &stamp, stamp | STAMP_MAIN))
		return;
	(void)sub_seq(&policy_size(p, pageshift)->probation, 1);
	(void)and_seq(&frame_at(p, f)->word, ~FW_USED);
}

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
is_enough(const DB_MPOOL *p, unsigned pageshift, const struct candidates *c)
{
	unsigned want = victims_batch(p, pageshift);

	if (p->small)
		return c->n + c->ndirty > 0;
	return c->n >= want || c->ndirty >= BATCH || c->ndirty >= 4 * want;
}

/* Is it the probation queue's turn?  chosen: so many of it are about to go. */
static bool
probation_is_due(const DB_MPOOL *p, const struct victim_round *r, uint32_t chosen)
{
	const struct policy_size *z = policy_size(p, r->pageshift);
	int32_t have = (int32_t)load_relaxed(&z->probation) - (int32_t)chosen;

	if (r->spent || r->main_spent)
		return r->main_spent;
	return have > 0 && have >= (int32_t)load_relaxed(&z->target);
}

static void
pick_adaptive(struct thread *t, struct victim_round *r, struct candidates *c)
{
	DB_MPOOL *p = t->pool;
	uint32_t f, stamp = 0, chosen = 0;
	bool due;

	while (!is_enough(p, r->pageshift, c) && !(r->spent && r->main_spent)) {
		uint64_t w;

		due = probation_is_due(p, r, chosen);
		if (due ? !next_oldest(t, r, &f, &stamp) : !next_main(t, r, &f))
			continue;
		w = load_relaxed(&frame_at(p, f)->word);
		if (fw_state(w) != FRAME_VALID || !(w & FW_USED) || (w & FW_DISCARD))
			chosen += add(f, w, c) && due;
		else if (due)
			promote(p, f, stamp, r->pageshift);
		else
			(void)and_seq(&frame_at(p, f)->word, ~FW_USED);
	}
}

static void
pick_oldest(struct thread *t, struct victim_round *r, struct candidates *c)
{
	DB_MPOOL *p = t->pool;
	uint32_t f, stamp;

	while (!is_enough(p, r->pageshift, c) && next_oldest(t, r, &f, &stamp))
		(void)add(f, load_relaxed(&frame_at(p, f)->word), c);
}

/* The one victim is dirty: the dirty ones that come next had better be written with it. */
static void
add_company(struct thread *t, unsigned pageshift, struct candidates *c)
{
	DB_MPOOL *p = t->pool;
	const struct victims *v = t->victims;
	uint64_t most = (pool_bytes(p) >> pageshift) / COMPANY_PART;

	if (most > BATCH / 2)
		most = BATCH / 2;
	for (uint32_t i = v->next; i < v->n && c->ndirty + c->nmore < most; i++) {
		uint32_t f = UINT32_MAX - (uint32_t)v->order[i];
		uint64_t w;

		if (v->pageshift != pageshift || !is_of_size(p, f, pageshift))
			continue;
		w = load_relaxed(&frame_at(p, f)->word);
		if (fw_state(w) == FRAME_VALID && (w & FW_DIRTY))
			c->dirty[c->ndirty + c->nmore++] = f;
	}
}

void
victims_begin(const DB_MPOOL *p, unsigned pageshift, struct victim_round *r)
{
	memset(r, 0, sizeof(*r));
	r->pageshift = pageshift;
	r->steps = 2 * (pool_bytes(p) >> pageshift) + BATCH;
	r->main_spent = p->lru;
}

void
victims_discarded(struct thread *t, unsigned pageshift, struct candidates *c)
{
	DB_MPOOL *p = t->pool;
	uint32_t from = load_relaxed(&p->mp->discard_next);

	c->n = c->ndirty = c->nmore = c->busy = 0;
	c->moves = 0;
	for (uint32_t i = from; i != from + DISCARD_RING && !is_enough(p, pageshift, c); i++) {
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

/* lru: from 0, all is free or as old as can be, to STAMP_AGE_MOST. */
static uint32_t
mean_youth(const DB_MPOOL *p, uint32_t first, uint32_t n)
{
	uint32_t now = load_relaxed(&p->mp->clock) & STAMP_TIME;
	uint64_t ages = 0;

	for (uint32_t f = first; f < first + n; f++) {
		uint32_t s = load_relaxed(stamp_at(p, f));

		ages += s != 0 ? stamp_age(now, s) : STAMP_AGE_MOST;
	}
	return STAMP_AGE_MOST - (uint32_t)(ages / n);
}

uint32_t
victims_warmth(const DB_MPOOL *p, uint32_t e, unsigned pageshift)
{
	uint32_t n = 0, first = e * p->g.frames_per_extent, frames = extent_frames(p, pageshift);

	if (p->lru)
		return mean_youth(p, first, frames);
	for (uint32_t f = first; f < first + frames; f++) {
		uint64_t w = load_relaxed(&frame_at(p, f)->word);

		if (fw_state(w) != FRAME_FREE)
			n += 1 + (w & FW_USED ? 1 : 0) + (w & FW_DIRTY ? 1 : 0) +
			    (load_relaxed(stamp_at(p, f)) & STAMP_MAIN ? 1 : 0);
	}
	return n << pageshift >> PAGE_SHIFT_MIN;
}

bool
victims_is_idle(struct thread *t, uint32_t e, unsigned pageshift)
{
	DB_MPOOL *p = t->pool;
	uint32_t n = extent_frames(p, pageshift), used = 0, first = e * p->g.frames_per_extent;
	uint32_t now = load_relaxed(&p->mp->clock) & STAMP_TIME;

	for (uint32_t f = first; f < first + n; f++) {
		uint32_t s = load_relaxed(stamp_at(p, f));

		if (p->lru) {
			used += s != 0 && stamp_age(now, s) < t->victims->evicted_age;
		} else if (load_relaxed(&frame_at(p, f)->word) & FW_USED) {
			(void)and_seq(&frame_at(p, f)->word, ~FW_USED);
			used++;
		}
	}
	return used * (p->lru ? 2 : 8) <= n;
}
