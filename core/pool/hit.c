/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/hit.c - memp_fget's short way: a page that this process has found before, where it still is.
 *
 * All that a hit needs is done here in one piece, in the order of P1, without a call, a lock, a
 * locked instruction or a write that others share; what a hit has to do now and then (a usage mark,
 * the clock) is called at its end.  Whatever is not as usual is left to get.c, which does all of it
 * again: nothing has been done then but that a slot was set for a moment.
 *
 * The time of a hit is that of its instructions, and where pages are spread over more memory than
 * the caches have, that of how many hits' instructions the processor can have in hand at once.  So
 * none should be here that can be elsewhere: that this is not the child of a fork, say, is known by
 * who set thread_last.
 */
#include "base/usdt.h"
#include "file.h"
#include "frame.h"
#include "get.h"
#include "page_table.h"
#include "policy.h"
#include "tally.h"

#define FRAMES_AHEAD 4 /* of a run of pages, asked for early */

/*
 * A hit that is the first after something, or that moves the clock; of a page that is pinned.  0,
 * for who returns that.
 */
static __attribute__((noinline)) int
count_first_hit(struct thread *t, const DB_MPOOLFILE *mpf, uint32_t f)
{
	tally_want(t, mpf);
	policy_hit(t, f, load_relaxed(&frame_at(t->pool, f)->word), mpf->pageshift);
	policy_pass_time(t->pool, tally_hit(t, mpf));
	return 0;
}

/* One that was brought in for this: pinned, and missed. */
static __attribute__((noinline)) void
count_fetched(struct thread *t, const DB_MPOOLFILE *mpf, db_pgno_t pgno, uint32_t f)
{
	policy_hit(t, f, load_relaxed(&frame_at(t->pool, f)->word), mpf->pageshift);
	if (t->first_used == f)
		t->hits_then = thread_hits(t); /* this is none */
	tally_miss(t, mpf);
	USDT2(fget_miss, mpf->file, pgno);
}

/* Can a page be pinned whose frame has that word? */
static inline bool
is_pinnable(uint64_t w)
{
	return (fw_state(w) == FRAME_VALID || fw_state(w) == FRAME_WRITING) && !fw_is_spoilt(w);
}

#define IS_PLAIN (FW_STATE | FW_USED | FW_DISCARD | FW_AHEAD | FW_SUSPECT)

/* Is it so, and is nothing to be noted of a hit but the time? */
static inline bool
is_plain(uint64_t w)
{
	return (w & IS_PLAIN) == (FRAME_VALID | FW_USED);
}

enum hit {
	HIT_NONE,    /* nothing has been done: the careful path is due */
	HIT_FIRST,   /* the page is pinned; count_first_hit() is due, or count_fetched() */
	HIT_COUNTED, /* and it is not */
};

/*
 * The hit in one piece, with nothing that it can do without: a page that this process has found
 * before, where it still is, in a frame that can be pinned as it is (P1); plain: only where nothing
 * is to be noted of it; fetched: it is no hit.
 */
static inline __attribute__((always_inline)) enum hit
hit_in(struct thread *t, struct pin_block *pb, DB_MPOOLFILE *mpf, db_pgno_t pgno, bool plain,
    bool fetched, void **pagep, uint32_t *fp)
{
	const DB_MPOOL *p = mpf->pool;
	uint64_t used = pb->used, w;
	const struct frame *fr;
	uint32_t f, *slot;
	struct pin *pin;
	size_t i;

	if (unlikely(used == UINT64_MAX || !pool_is_sound(p) ||
		(uint64_t)pgno * mpf->pagesize >= load_relaxed(&mpf->row->length)))
		return HIT_NONE;
	*fp = f = load_relaxed(table_memo(p, mpf->file, pgno));
	if (unlikely((f & mpf->misfit) != 0))
		return HIT_NONE;
	fr = frame_at(p, f);
	i = (size_t)__builtin_ctzll(~used);
	slot = &pb->b->slots[i];
	pin_store(p, slot, f);
	w = load_seq(&fr->word);
	if (unlikely(!(plain ? is_plain(w) : is_pinnable(w)) ||
		load_acquire(&fr->key) != (load_relaxed(&mpf->short_key) | pgno))) {
		store_release(slot, 0);
		return HIT_NONE;
	}
	pb->used = used | (used + 1);
	pin = &pb->pins[i];
	pin->page = *pagep =
	    p->area + ((uint64_t)f << PAGE_SHIFT_MIN) + (f & p->frame_mask) * mpf->stride;
	store_release(&pin->mpf, mpf);
	if (fetched)
		return HIT_FIRST;
	USDT2(fget_hit, mpf->file, pgno);
	return likely((plain || is_plain(w)) && policy_stamp_at_once(p, t, f) &&
		   tally_hit_at_once(p, t, mpf)) ?
	    HIT_COUNTED :
	    HIT_FIRST;
}

int
memp_fget(DB_MPOOLFILE *mpf, db_pgno_t *pgnoaddr, unsigned long flags, void **pagep)
{
	enum hit hit = HIT_NONE;
	struct thread *t;
	uint32_t f;

	if (likely(flags == 0 && mpf != NULL && pgnoaddr != NULL && pagep != NULL) &&
	    likely((t = thread_at_hand(mpf->pool)) != NULL))
		hit = hit_in(t, &t->first, mpf, *pgnoaddr, true, false, pagep, &f);
	if (likely(hit == HIT_COUNTED))
		return 0;
	return hit == HIT_FIRST ? count_first_hit(t, mpf, f) :
				  get_carefully(mpf, pgnoaddr, flags, pagep);
}

/* A block of the thread with an empty slot; NULL: it needs another. */
static struct pin_block *
block_at_hand(const struct thread *t)
{
	for (unsigned i = 0; i < t->npins; i++)
		if (t->pins[i]->used != UINT64_MAX)
			return t->pins[i];
	return NULL;
}

/* The frames of the next pages are asked for early: each is a line that this core does not have. */
static inline void
frame_prefetch(const DB_MPOOL *p, const DB_MPOOLFILE *mpf, db_pgno_t pgno)
{
	uint32_t f = load_relaxed(table_memo(p, mpf->file, pgno));

	if ((f & mpf->misfit) == 0)
		__builtin_prefetch(frame_at(p, f));
}

unsigned
mpool_get_at_hand(DB_MPOOLFILE *mpf, db_pgno_t first, unsigned n,
    const struct mpool_fetched *fetched, void **pages)
{
	struct thread *t = thread_at_hand(mpf->pool);
	struct pin_block *pb = NULL;
	enum hit hit;
	unsigned got;
	uint32_t f;
	bool came;

	if (t == NULL)
		return 0;
	for (got = 0; got < n && first + got >= first; got++) {
		frame_prefetch(mpf->pool, mpf, first + got + FRAMES_AHEAD);
		if (pb == NULL || pb->used == UINT64_MAX)
			pb = block_at_hand(t);
		came = fetched != NULL && mpool_was_fetched(fetched, first + got);
		if (pb == NULL ||
		    (hit = hit_in(t, pb, mpf, first + got, false, came, &pages[got], &f)) ==
			HIT_NONE)
			break;
		if (came)
			count_fetched(t, mpf, first + got, f);
		else if (hit == HIT_FIRST)
			(void)count_first_hit(t, mpf, f);
	}
	return got;
}
