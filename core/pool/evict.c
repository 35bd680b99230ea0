/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/evict.c - room for a new page.
 *
 * frame_take: a free frame if there is one; else pages that the policy can spare (victims.c) are
 * marked EVICTING, a batch at a time, one scan of all slots says which are pinned, and the others
 * are claimed and leave the table (P7).  Dirty ones are written and then evicted.  The frames of
 * a batch beyond the one that is needed go on the thread's list of free frames, without a hint to
 * others; what is evicted for any other reason is everybody's at once.
 *
 * No lock; of several evictors that choose the same page, one gets it and the others the next.
 */
#include "evict.h"
#include "base/usdt.h"
#include "dirty.h"
#include "extent.h"
#include "file.h"
#include "frame.h"
#include "load.h"
#include "page_table.h"
#include "point.h"
#include "policy.h"
#include "reap.h"
#include "recount.h"
#include "thread.h"
#include "victims.h"
#include "writeback.h"

#define SPOILT_USEC 500000u /* its writer may be stopped */
#define SPOILT_ROUNDS 16    /* between looks whether it has one */
#define SPOILT_PINNED 8	    /* scans in a row that found a pin: it is no passer-by's */
#define AHEAD 8		    /* frames whose words are asked for early */
#define LOOK_ROUNDS 64	    /* between looks at all pages in transition */

/* VALID (and clean, unless dirty may go) with the expected key -> EVICTING. */
static bool
propose(struct thread *t, uint32_t f, const uint64_t *key, enum evict_flags flags, uint64_t *markp)
{
	DB_MPOOL *p = t->pool;
	struct frame *fr = frame_at(p, f);
	uint64_t w = load_seq(&fr->word);

	if (fw_state(w) != FRAME_VALID || ((w & FW_DIRTY) && !(flags & EVICT_DIRTY)))
		return false;
	note_frame(t, f);
	if (!frame_mark(p, f, w, FRAME_EVICTING, markp)) {
		note_clear(t, f);
		return false;
	}
	if (key == NULL || load_acquire(&fr->key) == *key)
		return true;
	(void)frame_leave(p, f, FRAME_EVICTING, FRAME_VALID, 0, 0);
	note_clear(t, f);
	return false;
}

static void
account(struct thread *t, uint64_t key, uint64_t w, enum evict_flags flags)
{
	struct file_row *row = file_row(t->pool, key_file(key));

	count(t, flags & EVICT_RW ? C_RW_EVICT : C_RO_EVICT, 1);
	if (w & FW_DIRTY)
		count(t, C_CLEANED, 1);
	if (row == NULL)
		return;
	/* resident last: at 0 the row may be freed */
	if (w & FW_DIRTY)
		(void)sub_seq(&row->dirty, 1);
	(void)sub_seq(&row->resident, 1);
}

/*
 * On the thread's own list, if it has room: others learn of it when somebody offers the extent's
 * frames (extent_offer), or when the thread ends or dies.
 */
static void
free_and_remember(struct thread *t, uint32_t f)
{
	unsigned shift = frame_pageshift(t->pool, f);
	struct hint_list *l = &t->free[(shift != 0 ? shift : PAGE_SHIFT_MIN) - PAGE_SHIFT_MIN];

	if (shift == 0 || l->n == HINTS)
		(void)frame_free(t, f, FRAME_CLAIMED);
	else if (frame_free_quietly(t, f, FRAME_CLAIMED))
		l->frames[l->n++] = f;
}

/* The last step: from exactly the marked word to CLAIMED, out of the table, FREE. */
static bool
take_out(struct thread *t, uint32_t f, uint64_t mark, enum evict_flags flags)
{
	DB_MPOOL *p = t->pool;
	struct frame *fr = frame_at(p, f);
	uint64_t key, expected = mark;

	counting_begin(t);
	if (!cas_seq(&fr->word, &expected, fw_with(mark, FRAME_CLAIMED, p->self))) {
		counting_end(t);
		return false;
	}
	key = load_relaxed(&fr->key);
	dirty_unindex(p, f);
	table_withdraw(p, key, f);
	account(t, key, mark, flags);
	counting_end(t);
	USDT3(evict, key_file(key), key_pgno(key), (flags & EVICT_RW) != 0);
	if (flags & EVICT_ROOM) {
		policy_evicted(p, f, key);
		free_and_remember(t, f);
	} else {
		(void)frame_free(t, f, FRAME_CLAIMED);
	}
	return true;
}

unsigned
evict_frames(struct thread *t, const uint32_t frames[], const uint64_t keys[], unsigned n,
    enum evict_flags flags, bool pinned[])
{
	DB_MPOOL *p = t->pool;
	struct pin_scan scan;
	uint64_t marks[BATCH];
	unsigned from[BATCH], gone = 0;

	scan.n = 0;
	for (unsigned i = 0; i < n; i++) {
		if (i + AHEAD < n && frames[i + AHEAD] < p->g.nframes)
			__builtin_prefetch(frame_at(p, frames[i + AHEAD]), 1);
		pinned[i] = false;
		if (!propose(t, frames[i], keys ? &keys[i] : NULL, flags, &marks[scan.n]))
			continue;
		from[scan.n] = i;
		scan.frames[scan.n++] = frames[i];
	}
	for (unsigned k = 0; k < scan.n; k++)
		table_prefetch(p, load_relaxed(&frame_at(p, scan.frames[k])->key));
	pins_scan(p, &scan, NO_CLIENT);
	/* backwards: the newest note is found at once, and the oldest page's frame is used first */
	for (unsigned k = scan.n; k-- > 0;) {
		uint32_t f = scan.frames[k];

		pinned[from[k]] = scan.pinned[k];
		if (!scan.pinned[k] && take_out(t, f, marks[k], flags)) {
			gone++;
			continue;
		}
		(void)frame_leave(p, f, FRAME_EVICTING, FRAME_VALID, 0, 0);
		note_clear(t, f);
	}
	return gone;
}

bool
evict_except(struct thread *t, uint32_t f, uint32_t except)
{
	DB_MPOOL *p = t->pool;
	struct pin_scan scan = { .n = 1, .frames = { f } };
	uint64_t w, mark;

	for (unsigned tries = 0; tries < 10000 && pool_is_usable(p); tries++) {
		w = load_seq(&frame_at(p, f)->word);
		/* the dead's slot is still set, so proposals may be cancelled in its name (P2) */
		if (frame_cancel(p, f))
			continue;
		if (fw_state(w) < FRAME_VALID)
			return false;
		/* its writer may be stopped, and the reaper waits for nobody */
		if ((w & FW_DIRTY) || fw_state(w) == FRAME_WRITING)
			return true;
		if (!propose(t, f, NULL, 0, &mark)) {
			os_yield();
			continue;
		}
		pins_scan(p, &scan, except);
		if (!scan.pinned[0] && take_out(t, f, mark, 0))
			return false;
		(void)frame_leave(p, f, FRAME_EVICTING, FRAME_VALID, 0, 0);
		note_clear(t, f);
		if (scan.pinned[0])
			return true;
	}
	return true;
}

void
evict_undone(struct thread *t, uint32_t f, uint64_t key, uint64_t version)
{
	DB_MPOOL *p = t->pool;
	struct pin_scan scan = { .n = 1, .frames = { f } };
	struct frame *fr = frame_at(p, f);
	uint64_t w = load_seq(&fr->word), mark;

	if (fw_state(w) != FRAME_VALID || (w & FW_REDIRTY) || (w & FW_VERSION) != version)
		return;
	note_frame(t, f);
	if (!frame_mark(p, f, w, FRAME_EVICTING, &mark)) {
		note_clear(t, f);
		return;
	}
	pins_scan(p, &scan, NO_CLIENT);
	if (load_acquire(&fr->key) == key && !scan.pinned[0] && take_out(t, f, mark, 0))
		return;
	(void)frame_leave(p, f, FRAME_EVICTING, FRAME_VALID, 0, 0);
	note_clear(t, f);
}

/*
 * Of several that meet such a page each is in the others' way for a moment: one that looks at it
 * has a slot set, one that proposes to evict it has a proposal standing.  A proposal whose owner
 * was stopped stands until somebody takes it back.
 */
bool
evict_spoilt(struct thread *t, uint32_t f, uint64_t key)
{
	uint64_t until = os_monotonic_usec() + SPOILT_USEC;
	const struct frame *fr = frame_at(t->pool, f);
	unsigned in_a_row = 0, tries = 0;
	bool pinned;

	while (in_a_row < SPOILT_PINNED && os_monotonic_usec() < until && pool_is_usable(t->pool)) {
		if (evict_frames(t, &f, &key, 1, 0, &pinned) > 0 || load_acquire(&fr->key) != key ||
		    !fw_is_spoilt(load_seq(&fr->word)))
			return true;
		in_a_row = pinned ? in_a_row + 1 : 0;
		if (!pinned)
			(void)frame_cancel(t->pool, f);
		if (++tries % SPOILT_ROUNDS == 0)
			frame_look(t, f);
		os_sleep_usec(20);
	}
	frame_look(t, f);
	return !pool_is_usable(t->pool);
}

static unsigned
evict_candidates(struct thread *t, struct candidates *c, bool may_write)
{
	struct write_result res = { 0 };
	bool pinned[BATCH];
	unsigned gone = 0;

	if (c->n > 0)
		gone = evict_frames(t, c->clean, NULL, c->n, EVICT_ROOM, pinned);
	if (may_write && c->ndirty > 2 * gone) {
		write_frames(t, c->dirty, c->ndirty + c->nmore, 0, &res);
		if (res.missed > 0 && res.error == 0) {
			c->busy++;
			c->moves += os_monotonic_usec();
		}
		gone += evict_frames(t, c->dirty, NULL, c->ndirty, EVICT_RW | EVICT_ROOM, pinned);
	}
	return gone;
}

/* Pages that are in transition, of a search in vain. */
struct in_the_way {
	bool any;
	uint64_t moves; /* as it was for the first time at */
	uint64_t since;
};

/* True: none of them has moved for as long as a load is waited for.  Who has them is stopped. */
static bool
stand_still(struct in_the_way *s, uint64_t moves)
{
	uint64_t now = os_monotonic_usec();

	if (s->since == 0 || moves != s->moves) {
		s->moves = moves;
		s->since = now;
	}
	return now - s->since > STEAL_USEC;
}

/* Evict a batch; 0 if of all pages none could be. */
static unsigned
make_room(struct thread *t, unsigned pageshift, bool may_write, struct in_the_way *s)
{
	struct victim_round r;
	struct candidates c;
	unsigned gone;

	victims_discarded(t, pageshift, &c);
	gone = evict_candidates(t, &c, may_write);
	victims_begin(pageshift, &r);
	while (gone == 0 && victims_pick(t, &r, &c)) {
		gone = evict_candidates(t, &c, may_write);
		if (!may_write)
			break;
	}
	s->any = c.busy > 0 && !stand_still(s, c.moves);
	t->evicted[pageshift - PAGE_SHIFT_MIN] += gone;
	extent_offer(t, (uint64_t)gone << pageshift);
	return gone;
}

static void
report_full(struct thread *t, unsigned pageshift)
{
	DB_MPOOL *p = t->pool;
	char holders[160] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < p->region->nclients; i++) {
		uint64_t n = mpool_client_pins(p, i);

		if (n > 0 && used < sizeof(holders) - 40)
			used += (size_t)snprintf(holders + used, sizeof(holders) - used,
			    "%sprocess %d has %llu pinned", used ? ", " : "",
			    load_relaxed(&p->region->clients[i].pid), (unsigned long long)n);
	}
	env_err(p->dbenv,
	    "the pool of %llu bytes has no room for another page of %u bytes: every page is "
	    "pinned or cannot be written%s%s",
	    (unsigned long long)pool_bytes(p), 1u << pageshift, used ? "; " : "", holders);
}

int
frame_take_now(struct thread *t, unsigned pageshift, bool may_write, uint32_t *fp)
{
	struct in_the_way s = { 0 };

	if (extent_claim_free(t, pageshift, fp))
		return 0;
	(void)make_room(t, pageshift, may_write, &s);
	return extent_claim_free(t, pageshift, fp) ? 0 : ENOMEM;
}

/* There is no room, because pages are in transition: do all of these have somebody who is at it? */
static void
look_at_transitions(const struct thread *t)
{
	const DB_MPOOL *p = t->pool;

	for (struct frame_walk w = { 0 }; frame_next(p, &w);)
		frame_look(t, w.f);
}

int
frame_take(struct thread *t, unsigned pageshift, uint32_t *fp)
{
	struct in_the_way s = { 0 };
	unsigned idle = 0;

	for (;;) {
		if (extent_claim_free(t, pageshift, fp))
			return 0;
		if (make_room(t, pageshift, true, &s) > 0) {
			extent_balance(t, pageshift);
			continue;
		}
		POOL_POINT(POINT_NO_ROOM);
		if (idle++ > 0 && extent_take_over(t, pageshift) == 0)
			continue;
		if (idle == 2)
			extent_hint_all(t->pool);
		s.any |= extent_is_changing(t->pool);
		/*
		 * pins come and go, and the dead's go when they are reaped: do not give up at
		 * once
		 */
		if (idle > FRAME_PATIENCE && (!s.any || idle > 100 * FRAME_PATIENCE))
			break;
		if (idle > 2)
			os_sleep_usec(idle < 8 ? 50 : 1000);
		if (idle % 16 == 3)
			(void)reap_all(t);
		if (idle % LOOK_ROUNDS == LOOK_ROUNDS - 1)
			look_at_transitions(t);
		if (!pool_is_usable(t->pool))
			return region_usable(t->pool->region);
	}
	report_full(t, pageshift);
	return ENOMEM;
}
