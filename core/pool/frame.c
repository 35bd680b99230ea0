/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/frame.c - one frame: its address, entering and leaving a transition, waiting for one.
 *
 * The word is changed by compare-and-swap alone.  Bits that others may set at any time (DIRTY,
 * USED, WAITERS ...) are kept by whoever leaves a transition; only the exact word that a mark
 * wrote may become CLAIMED or WRITING (P7, P12), so a bit that came meanwhile makes the proposal
 * fail.
 */
#include "frame.h"
#include "extent.h"
#include "policy.h"
#include "reap.h"
#include "thread.h"

unsigned
frame_pageshift(const DB_MPOOL *p, uint32_t f)
{
	return extent_pageshift(p, load_acquire(&p->extents[f / p->g.frames_per_extent]));
}

bool
frame_leave(DB_MPOOL *p, uint32_t f, enum frame_state from, enum frame_state to, uint64_t set,
    uint64_t clear)
{
	struct frame *fr = frame_at(p, f);
	uint64_t w = load_seq(&fr->word), next;

	do {
		if (fw_state(w) != from || fw_owner(w) != p->self)
			return false;
		next = (fw_with(w, to, NO_CLIENT) | set) & ~(clear | FW_WAITERS);
	} while (!cas_seq(&fr->word, &w, next));
	if (w & FW_WAITERS)
		os_futex_wake((const uint32_t *)&fr->word);
	return true;
}

bool
frame_mark(DB_MPOOL *p, uint32_t f, uint64_t w, enum frame_state state, uint64_t *markp)
{
	uint64_t mark = fw_with(w, state, p->self) + FW_VERSION_ONE;

	if (!cas_seq(&frame_at(p, f)->word, &w, mark))
		return false;
	*markp = mark;
	return true;
}

bool
frame_cancel(DB_MPOOL *p, uint32_t f)
{
	struct frame *fr = frame_at(p, f);
	uint64_t w = load_seq(&fr->word);

	if (fw_state(w) != FRAME_EVICTING && fw_state(w) != FRAME_COPYING)
		return false;
	(void)cas_seq(&fr->word, &w, fw_with(w, FRAME_VALID, NO_CLIENT));
	return true;
}

bool
frame_free_quietly(struct thread *t, uint32_t f, enum frame_state from)
{
	struct frame *fr = frame_at(t->pool, f);
	uint64_t w = load_seq(&fr->word), next;

	if (fw_state(w) == from && fw_owner(w) == t->pool->self)
		policy_leave(t->pool, f);
	do {
		if (fw_state(w) != from || fw_owner(w) != t->pool->self)
			return false;
		next = (w & FW_VERSION) | FRAME_FREE;
	} while (!cas_seq(&fr->word, &w, next));
	if (w & FW_WAITERS)
		os_futex_wake((const uint32_t *)&fr->word);
	note_clear(t, f);
	return true;
}

bool
frame_free(struct thread *t, uint32_t f, enum frame_state from)
{
	if (!frame_free_quietly(t, f, from))
		return false;
	extent_hint_free(t->pool, f);
	return true;
}

/* Does a block of that client, of another thread than ours, say that it may be changing frame f? */
static bool
is_noted(const struct thread *t, uint32_t f, uint32_t owner)
{
	const DB_MPOOL *p = t->pool;
	uint32_t used = load_seq(&p->mp->blocks_used);

	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++)
		if (&p->blocks[i] != t->home && load_seq(&p->blocks[i].owner) == owner + 1)
			for (unsigned k = 0; k < BLOCK_NOTES; k++)
				if (load_seq(&p->blocks[i].notes[k]) == f + 1)
					return true;
	/*
	 * dead, and somebody will reap it, if that is not us, who are at it and have seen all its
	 * notes; a number that nobody has will never be reaped
	 */
	return !owner_is_impossible(p, owner) && !client_is_alive(p->region, owner) &&
	    load_seq(&p->region->clients[owner].reaper) != p->self + 1;
}

/* Is w a state that only its owner can end?  Then it has one, unless it is damaged. */
static bool
needs_owner(uint64_t w)
{
	return fw_state(w) != FRAME_FREE && fw_state(w) != FRAME_VALID;
}

void
frame_look(const struct thread *t, uint32_t f)
{
	const DB_MPOOL *p = t->pool;
	uint64_t w = load_seq(&frame_at(p, f)->word);
	uint32_t owner = fw_owner(w);

	if (!needs_owner(w))
		return;
	if (owner == NO_CLIENT)
		(void)region_panic(p->region,
		    "frame %u is in state %d, which nobody has put it into", f, fw_state(w));
	else if (!is_noted(t, f, owner) && load_seq(&frame_at(p, f)->word) == w)
		(void)region_panic(p->region,
		    "frame %u is in state %d, but client %d knows nothing of it", f, fw_state(w),
		    (int)owner);
}

void
frame_wait(struct thread *t, uint32_t f, uint64_t w)
{
	struct frame *fr = frame_at(t->pool, f);
	uint32_t owner = fw_owner(w);
	uint64_t now;

	if (owner == NO_CLIENT) {
		frame_look(t, f);
		return;
	}
	for (int spin = 0; spin < 64; spin++) {
		if (load_relaxed(&fr->word) != w)
			return;
		cpu_relax();
	}
	if (!(w & FW_WAITERS)) {
		if (!cas_seq(&fr->word, &w, w | FW_WAITERS))
			return;
		w |= FW_WAITERS;
	}
	os_futex_wait((const uint32_t *)&fr->word, (uint32_t)w, WAIT_USEC);
	now = load_seq(&fr->word);
	if (fw_state(now) == fw_state(w) && fw_owner(now) == owner && !reap_client(t, owner))
		frame_look(t, f);
}
