/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/extent.c - extents: which page size each holds, where free frames are, changing sizes.
 *
 * An extent gets its page size when it is first used.  A bitmap of hints (one bit an extent) says
 * where free frames may be; it is set after a frame was freed and cleared by whoever looked
 * through the extent in vain (and looks once more after clearing), so a lost hint costs room,
 * never a page.
 *
 * Changing an extent's page size (P21): set CHANGING in its word, claim every frame of it
 * (evicting, writing what is dirty), store the new size, free the frames.  A thread that claims a
 * free frame looks at the extent's word again afterwards, and gives the frame back if the extent
 * is CHANGING.
 */
#include "extent.h"
#include "evict.h"
#include "frame.h"
#include "reap.h"
#include "thread.h"
#include "victims.h"
#include "writeback.h"

#define OFFER_PART 8 /* of an extent's bytes */

void
extent_hint_free(DB_MPOOL *p, uint32_t f)
{
	uint32_t e = f / p->g.frames_per_extent;
	uint64_t bit = 1ull << (e % 64);

	if (!(load_seq(&p->hints[e / 64]) & bit))
		(void)or_seq(&p->hints[e / 64], bit);
}

/* Frames that only their threads know to be free, and those threads are gone or do not use them. */
void
extent_hint_all(DB_MPOOL *p)
{
	for (uint32_t e = 0; e < p->g.nextents; e++)
		if (load_relaxed(&p->extents[e]) != 0)
			extent_hint_free(p, e * p->g.frames_per_extent);
}

/*
 * An extent after the other, so that all have been offered when the thread has evicted an eighth
 * of the pool: what others keep and do not use is found before long, at the price of looking at
 * the words of some frames for each page.
 */
void
extent_offer(struct thread *t, uint64_t evicted)
{
	DB_MPOOL *p = t->pool;
	uint64_t part = (1ull << p->g.extent_shift) / OFFER_PART;
	uint32_t e;

	for (t->unoffered += evicted; t->unoffered >= part; t->unoffered -= part) {
		e = t->next_offer++ % p->g.nextents;
		if (load_relaxed(&p->extents[e]) != 0)
			extent_hint_free(p, e * p->g.frames_per_extent);
	}
}

bool
extent_is_inside(const DB_MPOOL *p, uint32_t e)
{
	return region_ptr(p->region, p->g.area + ((uint64_t)e << p->g.extent_shift),
		   (size_t)1 << p->g.extent_shift) != NULL;
}

/* FREE -> CLAIMED, if the extent still has that page size. */
static bool
claim(struct thread *t, uint32_t f, unsigned pageshift)
{
	DB_MPOOL *p = t->pool;
	uint64_t w = load_seq(&frame_at(p, f)->word), mark, e;

	/* a remembered frame may be of a time when the extent held smaller pages */
	if (fw_state(w) != FRAME_FREE || !frame_fits(p, f, pageshift))
		return false;
	note_frame(t, f);
	if (!frame_mark(p, f, w, FRAME_CLAIMED, &mark)) {
		note_clear(t, f);
		return false;
	}
	e = load_seq(&p->extents[f / p->g.frames_per_extent]);
	if (!(e & EXTENT_CHANGING) && extent_pageshift(p, e) == pageshift &&
	    extent_is_inside(p, f / p->g.frames_per_extent))
		return true;
	(void)frame_free(t, f, FRAME_CLAIMED);
	return false;
}

static bool
claim_in(struct thread *t, uint32_t e, unsigned pageshift, uint32_t *fp)
{
	DB_MPOOL *p = t->pool;
	uint32_t first = e * p->g.frames_per_extent, n = extent_frames(p, pageshift);

	for (uint32_t f = first; f < first + n; f++)
		if (fw_state(load_relaxed(&frame_at(p, f)->word)) == FRAME_FREE &&
		    claim(t, f, pageshift)) {
			*fp = f;
			return true;
		}
	return false;
}

/* Give an extent that was never used a page size; its frames are all FREE. */
static bool
extent_begin(DB_MPOOL *p, unsigned pageshift, uint32_t *ep)
{
	for (uint32_t e = 0; e < p->g.nextents; e++) {
		uint64_t none = 0;

		if (load_relaxed(&p->extents[e]) == 0 && extent_is_inside(p, e) &&
		    cas_seq(&p->extents[e], &none, pageshift)) {
			extent_hint_free(p, e * p->g.frames_per_extent);
			*ep = e;
			return true;
		}
	}
	return false;
}

static bool
claim_hinted(struct thread *t, uint32_t e, unsigned pageshift, uint32_t *fp)
{
	DB_MPOOL *p = t->pool;
	uint64_t bit = 1ull << (e % 64);

	if (claim_in(t, e, pageshift, fp))
		return true;
	(void)and_seq(&p->hints[e / 64], ~bit);
	if (!claim_in(t, e, pageshift, fp))
		return false;
	(void)or_seq(&p->hints[e / 64], bit);
	return true;
}

bool
extent_claim_free(struct thread *t, unsigned pageshift, uint32_t *fp)
{
	DB_MPOOL *p = t->pool;
	struct hint_list *own = &t->free[pageshift - PAGE_SHIFT_MIN];
	uint32_t e;

	while (own->n > 0) {
		if (own->n > 1)
			__builtin_prefetch(frame_at(p, own->frames[own->n - 2]), 1);
		if (claim(t, *fp = own->frames[--own->n], pageshift))
			return true;
	}
	for (uint32_t k = 0; k < p->g.nhints; k++) {
		uint64_t bits = load_relaxed(&p->hints[k]);

		for (; bits != 0; bits &= bits - 1) {
			e = k * 64 + (uint32_t)__builtin_ctzll(bits);
			if (e < p->g.nextents &&
			    load_acquire(&p->extents[e]) == (uint64_t)pageshift &&
			    claim_hinted(t, e, pageshift, fp))
				return true;
		}
	}
	return extent_begin(p, pageshift, &e) && claim_in(t, e, pageshift, fp);
}

/* Write what is dirty in the extent, so that eviction can empty it. */
static void
clean_extent(struct thread *t, uint32_t first, uint32_t n)
{
	DB_MPOOL *p = t->pool;
	struct write_result res = { 0 };
	uint32_t frames[BATCH];
	unsigned k = 0;

	for (uint32_t f = first; f < first + n; f++) {
		if (load_relaxed(&frame_at(p, f)->word) & FW_DIRTY)
			frames[k++] = f;
		if (k == BATCH || (k > 0 && f == first + n - 1)) {
			write_frames(t, frames, k, 0, &res);
			k = 0;
		}
	}
}

static void
evict_extent(struct thread *t, uint32_t first, uint32_t n, enum evict_flags flags)
{
	uint32_t frames[BATCH];
	bool pinned[BATCH];
	unsigned k = 0;

	for (uint32_t f = first; f < first + n; f++) {
		frames[k++] = f;
		if (k == BATCH || f == first + n - 1) {
			(void)evict_frames(t, frames, NULL, k, flags, pinned);
			k = 0;
		}
	}
}

static bool
all_free(const DB_MPOOL *p, uint32_t first, uint32_t n)
{
	for (uint32_t f = first; f < first + n; f++)
		if (fw_state(load_seq(&frame_at(p, f)->word)) != FRAME_FREE)
			return false;
	return true;
}

/*
 * Empty extent e and give it the page size, or close it.  While CHANGING is set no claim of its
 * free frames stands, so "all free", once true, stays true until the word is stored.
 */
static bool
extent_change(struct thread *t, uint32_t e, uint64_t becomes)
{
	DB_MPOOL *p = t->pool;
	uint64_t w = load_seq(&p->extents[e]);
	unsigned old = extent_pageshift(p, w);
	uint32_t first = e * p->g.frames_per_extent;
	bool done = false;

	if (old == 0 || old == becomes || (w & EXTENT_CHANGING))
		return false;
	store_seq(&t->home->note_extent, e + 1);
	if (cas_seq(&p->extents[e], &w,
		old | EXTENT_CHANGING | (uint64_t)(p->self + 1) << EXTENT_OWNER_SHIFT)) {
		for (int round = 0; round < 4 && !done; round++) {
			evict_extent(t, first, extent_frames(p, old), 0);
			clean_extent(t, first, extent_frames(p, old));
			evict_extent(t, first, extent_frames(p, old), EVICT_RW);
			done = all_free(p, first, extent_frames(p, old));
		}
		store_seq(&p->extents[e], done ? becomes : old);
		extent_hint_free(p, first);
	}
	store_release(&t->home->note_extent, 0);
	return done;
}

bool
extent_close(struct thread *t, uint32_t e)
{
	uint64_t none = 0;

	return load_seq(&t->pool->extents[e]) == EXTENT_CLOSED ||
	    cas_seq(&t->pool->extents[e], &none, EXTENT_CLOSED) ||
	    extent_change(t, e, EXTENT_CLOSED);
}

bool
extent_open(DB_MPOOL *p, uint32_t e)
{
	uint64_t closed = EXTENT_CLOSED;

	return cas_seq(&p->extents[e], &closed, 0);
}

/* How warm the extent is; UINT32_MAX if it is not to be had. */
static uint32_t
warmth(const DB_MPOOL *p, uint32_t e, unsigned pageshift)
{
	uint64_t w = load_relaxed(&p->extents[e]);
	unsigned old = extent_pageshift(p, w);

	if (old == 0 || old == pageshift || (w & EXTENT_CHANGING))
		return UINT32_MAX;
	return victims_warmth(p, e, old);
}

/* CHANGING by somebody who is at it, or whose death somebody will notice? */
static bool
has_changer(const DB_MPOOL *p, uint32_t e, uint64_t w)
{
	uint64_t owner = (w >> EXTENT_OWNER_SHIFT) - 1;

	if (owner >= p->region->nclients || owner_is_impossible(p, (uint32_t)owner))
		return false;
	return !client_is_alive(p->region, (uint32_t)owner) ||
	    NOTE_SAYS(p, (uint32_t)owner, note_extent, e + 1) || load_seq(&p->extents[e]) != w;
}

bool
extent_is_changing(DB_MPOOL *p)
{
	bool any = false;

	for (uint32_t e = 0; e < p->g.nextents; e++) {
		uint64_t w = load_seq(&p->extents[e]);

		if (!(w & EXTENT_CHANGING))
			continue;
		if (has_changer(p, e, w))
			any = true;
		else if (extent_pageshift(p, w) != 0)
			(void)cas_seq(&p->extents[e], &w, w & EXTENT_SHIFT);
		else
			(void)region_panic(p->region,
			    "extent %u is to get another page size, but nobody is at it", e);
	}
	return any;
}

/*
 * The coldest of up to 64 extents from `from` on that was not tried yet; nextents if none is
 * left.
 */
static uint32_t
coldest(const DB_MPOOL *p, uint64_t from, uint32_t look, unsigned pageshift, uint64_t *triedp)
{
	uint32_t best = UINT32_MAX, found = p->g.nextents, at = 0;

	for (uint32_t i = 0; i < look; i++) {
		uint32_t e = (uint32_t)((from + i) % p->g.nextents), heat;

		if (*triedp & 1ull << i)
			continue;
		if ((heat = warmth(p, e, pageshift)) < best) {
			best = heat;
			found = e;
			at = i;
		}
	}
	*triedp |= 1ull << at;
	return found;
}

int
extent_take_over(struct thread *t, unsigned pageshift)
{
	DB_MPOOL *p = t->pool;
	uint32_t look = p->g.nextents < 64 ? p->g.nextents : 64, e;
	uint64_t from = add_seq(&p->mp->hand_other, look), tried = 0;

	for (unsigned k = 0; k < 8; k++) {
		if ((e = coldest(p, from, look, pageshift, &tried)) == p->g.nextents)
			break;
		if (extent_change(t, e, pageshift))
			return 0;
	}
	return ENOMEM;
}

/*
 * One extent of another size is looked at for each extent's worth of evictions; if it is used less
 * than what was evicted, it changes hands.  Without this a page size that came late would have to
 * live in the few extents it could get at first.
 */
void
extent_balance(struct thread *t, unsigned pageshift)
{
	DB_MPOOL *p = t->pool;
	uint32_t *evicted = &t->evicted[pageshift - PAGE_SHIFT_MIN];
	uint32_t e;
	unsigned old;

	if (*evicted < extent_frames(p, pageshift))
		return;
	*evicted = 0;
	e = (uint32_t)(add_seq(&p->mp->hand_other, 1) % p->g.nextents);
	old = extent_pageshift(p, load_relaxed(&p->extents[e]));
	if (old != 0 && old != pageshift && victims_is_idle(t, e, old))
		(void)extent_change(t, e, pageshift);
}
