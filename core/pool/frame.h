/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/frame.h - descriptors and their words.
 */
#ifndef POOL_FRAME_H
#define POOL_FRAME_H

#include "pool.h"

struct thread;

#define WAIT_USEC 100000u /* the longest sleep before looking again (P18) */

static inline struct frame *
frame_at(const DB_MPOOL *p, uint32_t f)
{
	return &p->frames[f];
}

/*
 * Is f the number of a frame of that page size?  What comes from shared memory is asked this
 * first.
 */
static inline bool
frame_fits(const DB_MPOOL *p, uint32_t f, unsigned pageshift)
{
	return f < p->g.nframes &&
	    (f & (p->g.frames_per_extent - 1)) < 1u << (p->g.extent_shift - pageshift);
}

/*
 * The place of frame f in the tables that have the frames of any page size first, extent by
 * extent, and those that only pages of less than 4 KiB need behind all of them.
 */
static inline uint32_t
frame_place(const DB_MPOOL *p, uint32_t f)
{
	uint32_t i = f & p->frame_mask, common = p->common, e;

	if (likely(i < common)) /* e * common + i: an eighth of the frames */
		return ((f - i) >> 3) + i;
	e = f >> (p->g.extent_shift - PAGE_SHIFT_MIN);
	return p->g.nextents * common + e * (p->g.frames_per_extent - common) + i - common;
}

/*
 * The bits that are 0 in the number of every frame of that page size, frames being known to be
 * below nframes: the sizes are powers of two.
 */
static inline uint32_t
frame_misfit(const DB_MPOOL *p, unsigned pageshift)
{
	if (pageshift > p->g.extent_shift)
		return UINT32_MAX;
	return (p->g.frames_per_extent - 1) & ~((1u << (p->g.extent_shift - pageshift)) - 1);
}

static inline void *
frame_address(const DB_MPOOL *p, uint32_t f, unsigned pageshift)
{
	uint32_t i = f & p->frame_mask;

	return p->area + ((uint64_t)(f - i) << PAGE_SHIFT_MIN) + ((uint64_t)i << pageshift);
}

/* The frame at an address of the page area, NO_FRAME if none begins there. */
static inline uint32_t
frame_of_address(const DB_MPOOL *p, const void *addr, unsigned pageshift)
{
	uint64_t off, within;
	uint32_t e;

	if ((const uint8_t *)addr < p->area)
		return NO_FRAME;
	off = (uint64_t)((const uint8_t *)addr - p->area);
	if (off >= p->g.cache_bytes)
		return NO_FRAME;
	e = (uint32_t)(off >> p->g.extent_shift);
	within = off & ((1ull << p->g.extent_shift) - 1);
	if (within & ((1ull << pageshift) - 1))
		return NO_FRAME;
	return (e << (p->g.extent_shift - PAGE_SHIFT_MIN)) + (uint32_t)(within >> pageshift);
}

/* The page shift of the extent that f is in, 0 if it has none (or the region is damaged). */
unsigned frame_pageshift(const DB_MPOOL *p, uint32_t f);

/*
 * Leave a transition that this client owns: state becomes `to` without owner, the bits in clear
 * go and those in set come, and sleepers are woken.  False (nothing done) if the frame is not in
 * state from with this owner any more: another took it over.
 */
bool frame_leave(DB_MPOOL *p, uint32_t f, enum frame_state from, enum frame_state to, uint64_t set,
    uint64_t clear);

/*
 * Enter a transition: CAS from exactly w to (state, self), version raised.  *markp is the new
 * word.
 */
bool frame_mark(DB_MPOOL *p, uint32_t f, uint64_t w, enum frame_state state, uint64_t *markp);

/* P2: take back whatever proposal stands, anybody's.  False: there was none. */
bool frame_cancel(DB_MPOOL *p, uint32_t f);

/*
 * Sleep until the frame's word is no longer w's state and owner, or WAIT_USEC; heal a dead owner.
 */
void frame_wait(struct thread *t, uint32_t f, uint64_t w);

/*
 * A panic if the frame is in a transition that nobody is in, or that its owner has no note of: that
 * is damage, and nobody would end it.  What a dead owner left is not.  The thread that asks is in
 * the middle of nothing.
 */
void frame_look(const struct thread *t, uint32_t f);

/*
 * From a state that we own to FREE: hint set, note cleared, sleepers woken.  False: not ours so.
 */
bool frame_free(struct thread *t, uint32_t f, enum frame_state from);
/* The same without the hint: the thread keeps it in mind itself. */
bool frame_free_quietly(struct thread *t, uint32_t f, enum frame_state from);

#endif
