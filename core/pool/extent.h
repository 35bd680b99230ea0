/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/extent.h - page sizes and free frames.
 */
#ifndef POOL_EXTENT_H
#define POOL_EXTENT_H

#include "pool.h"

struct thread;

/* A page shift from shared memory: one that this pool can have, or 0. */
static inline unsigned
checked_pageshift(const DB_MPOOL *p, uint32_t s)
{
	return s >= PAGE_SHIFT_MIN && s <= PAGE_SHIFT_MAX && s <= p->g.extent_shift ? s : 0;
}

static inline unsigned
extent_pageshift(const DB_MPOOL *p, uint64_t w)
{
	return checked_pageshift(p, (uint32_t)(w & EXTENT_SHIFT));
}

static inline uint32_t
extent_frames(const DB_MPOOL *p, unsigned pageshift)
{
	return 1u << (p->g.extent_shift - pageshift);
}

/*
 * All frames that hold pages of some size, extent by extent:
 *	for (struct frame_walk w = { 0 }; frame_next(p, &w);)
 */
struct frame_walk {
	uint32_t f;
	unsigned pageshift;    /* of its page */
	uint32_t left, extent; /* its own: frames of this extent, the next one */
};

static inline bool
frame_next(const DB_MPOOL *p, struct frame_walk *w)
{
	w->f++;
	while (w->left == 0) {
		if (w->extent == p->g.nextents)
			return false;
		w->f = w->extent * p->g.frames_per_extent;
		w->pageshift = extent_pageshift(p, load_acquire(&p->extents[w->extent++]));
		w->left = w->pageshift != 0 ? extent_frames(p, w->pageshift) : 0;
	}
	w->left--;
	return true;
}

/* Is there memory behind an extent?  A closed one may have been opened by mistake, or by damage. */
bool extent_is_inside(const DB_MPOOL *p, uint32_t e);
/* Claim a FREE frame of that page size without evicting: CLAIMED by us, noted.  False: none. */
bool extent_claim_free(struct thread *t, unsigned pageshift, uint32_t *fp);
/* An extent has a free frame, as far as anybody knows. */
void extent_hint_free(DB_MPOOL *p, uint32_t f);
void extent_hint_all(DB_MPOOL *p);
/*
 * The thread has evicted so many bytes for want of room: hint some more extents, in which other
 * threads may keep free frames that they do not use.
 */
void extent_offer(struct thread *t, uint64_t evicted);
/*
 * Is some extent on its way to another page size?  Then it is worth waiting for.  One that nobody
 * has noted that he changes is damage: it gets the page size that its word names, or there is a
 * panic.
 */
bool extent_is_changing(DB_MPOOL *p);
/* Empty the coldest extent of another page size and give it to this one.  ENOMEM: none can be. */
int extent_take_over(struct thread *t, unsigned pageshift);
/*
 * Empty an extent and take it out of the pool; false: it cannot be emptied.  Put it back, to be
 * used as if for the first time; false: it was not out.
 */
bool extent_close(struct thread *t, uint32_t e);
bool extent_open(DB_MPOOL *p, uint32_t e);
/* Now and then: take over an extent of another size whose pages nobody uses any more. */
void extent_balance(struct thread *t, unsigned pageshift);

#endif
