/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/grant.c - who stands in whose way, and whose turn it is.
 *
 * A claim is blocked by holders, of other lockers, of a mode that conflicts with it, and, unless
 * its own locker holds the object already, by those who wait before it in a mode that conflicts.
 * When something leaves an object, the queue is gone through once from its head: whoever is not
 * blocked any more is granted, and counts as a holder for those behind.
 *
 * A request for a change of mode is a cell of its own in the queue.  Its grant changes the word of
 * the lock that is held, then its own.  Done twice, it is the same: so a death in between harms
 * nothing.
 *
 * Everything here wants the object's partition locked (L1).
 */
#include "table.h"

static void
note_blocker(DB_LOCKTAB *lt, struct client_set *set, const struct lock_cell *c)
{
	uint32_t client = c->u.lock.client;
	const struct lock_cell *l = locker_head(lt, c->u.lock.locker);

	if (client < LOCK_CLIENTS)
		set->bits[client / 64] |= 1ull << client % 64;
	if (l != NULL && load_seq(&l->u.locker.waiting) != 0)
		set->waits = true;
}

/* Along one list, up to the cell before.  *blockedp is only ever set. */
static int
look_along(DB_LOCKTAB *lt, uint32_t at, enum cell_kind kind, uint32_t part,
    const struct claim *claim, const struct lock_cell *before, struct client_set *blockers,
    bool *blockedp)
{
	const struct lock_cell *c;
	uint32_t steps = 0;

	for (; at != 0; at = c->next) {
		c = cell_of(lt, at, kind, part);
		if (c == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a list of locks leads to something else", at);
		if (c == before)
			break;
		if (c->u.lock.locker == claim->locker ||
		    !modes_conflict(lt, claim->mode, word_mode(load_relaxed(&c->word))))
			continue;
		*blockedp = true;
		if (blockers == NULL)
			break;
		note_blocker(lt, blockers, c);
	}
	return 0;
}

int
claim_blocked(DB_LOCKTAB *lt, const struct lock_cell *object, const struct claim *claim,
    const struct lock_cell *before, struct client_set *blockers, bool *blockedp)
{
	uint32_t part = word_part(load_relaxed(&object->word));
	int ret;

	*blockedp = false;
	if ((ret = look_along(lt, object->u.object.holders, CELL_HELD, part, claim, NULL, blockers,
		 blockedp)) != 0)
		return ret;
	if (claim->first || (*blockedp && blockers == NULL))
		return 0;
	return look_along(
	    lt, object->u.object.waiters, CELL_WAITING, part, claim, before, blockers, blockedp);
}

/* L4 */
static void
decide(DB_LOCKTAB *lt, struct lock_cell *c, enum cell_kind kind, struct wakes *wakes)
{
	uint64_t w = load_relaxed(&c->word);
	uint32_t client = c->u.lock.client;

	store_release(&c->word, cell_word(kind, word_mode(w), word_part(w), word_life(w)));
	if ((c->u.lock.flags & LOCK_DISTANT) == 0) {
		store_seq(&c->u.lock.wake, 1);
		wake_later(wakes, &c->u.lock.wake);
	} else if (client < LOCK_CLIENTS) {
		(void)add_seq(&lt->bells[client], 1);
		wake_later(wakes, &lt->bells[client]);
	}
}

/* Its lock that is held, if it has it still. */
static struct lock_cell *
target_of(DB_LOCKTAB *lt, const struct lock_cell *c, uint32_t part)
{
	struct lock_cell *t = cell_of(lt, c->u.lock.target, CELL_HELD, part);

	return t != NULL && t->u.lock.locker == c->u.lock.locker &&
		t->u.lock.object == c->u.lock.object ?
	    t :
	    NULL;
}

static int
grant(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c, struct wakes *wakes)
{
	uint64_t w = load_relaxed(&c->word), tw;
	uint32_t part = word_part(w);
	struct lock_cell *t;
	int ret;

	if ((ret = waiter_unlink(lt, object, c)) != 0)
		return ret;
	if (c->u.lock.target == 0) {
		c->u.lock.count = 1;
		decide(lt, c, CELL_HELD, wakes);
		return holder_link(lt, object, c);
	}
	if ((t = target_of(lt, c, part)) == NULL) {
		/* what it wanted to change was put meanwhile, by another thread */
		decide(lt, c, CELL_RELEASED, wakes);
		return 0;
	}
	tw = load_relaxed(&t->word);
	store_release(&t->word, cell_word(CELL_HELD, word_mode(w), part, word_life(tw)));
	lt->parts[part].nupgrades++;
	decide(lt, c, CELL_CHANGED, wakes);
	return 0;
}

int
object_promote(DB_LOCKTAB *lt, struct lock_cell *object, struct wakes *wakes)
{
	uint32_t part = word_part(load_relaxed(&object->word)), at, steps = 0;
	struct lock_cell *c;
	bool blocked;
	int ret = 0;

	for (at = object->u.object.waiters; at != 0 && ret == 0;) {
		c = cell_of(lt, at, CELL_WAITING, part);
		if (c == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a queue leads to something else", at);
		at = c->next;
		const struct claim claim = { .locker = c->u.lock.locker,
			.mode = word_mode(load_relaxed(&c->word)),
			.first = (c->u.lock.flags & LOCK_FIRST) != 0 };

		if ((ret = claim_blocked(lt, object, &claim, c, NULL, &blocked)) != 0 || blocked)
			continue;
		ret = grant(lt, object, c, wakes);
		/* A held lock has another mode now: those before may not be blocked any more. */
		if (word_kind(load_relaxed(&c->word)) == CELL_CHANGED)
			at = object->u.object.waiters;
	}
	return ret;
}

static int
take_off(DB_LOCKTAB *lt, struct lock_cell *c, struct lock_cell **objectp)
{
	uint64_t w = load_relaxed(&c->word);
	struct lock_cell *object = cell_of(lt, c->u.lock.object, CELL_OBJECT, word_part(w));

	if (object == NULL)
		return table_damaged(lt, "a lock has no object", cell_number(lt, c));
	*objectp = object;
	return word_kind(w) == CELL_HELD ? holder_unlink(lt, object, c) :
					   waiter_unlink(lt, object, c);
}

/* After something has left it. */
static int
object_go_on(DB_LOCKTAB *lt, struct lock_cell *object, struct wakes *wakes)
{
	int ret;

	if (object->u.object.waiters != 0 && (ret = object_promote(lt, object, wakes)) != 0)
		return ret;
	return object_settle(lt, object);
}

int
lock_release(DB_LOCKTAB *lt, struct lock_cell *c, struct wakes *wakes)
{
	uint32_t part = word_part(load_relaxed(&c->word));
	struct lock_cell *object = NULL;
	int ret;

	if ((ret = take_off(lt, c, &object)) != 0)
		return ret;
	cell_push(lt, part, c);
	if (lt->parts[part].nlocks > 0)
		lt->parts[part].nlocks--;
	return object_go_on(lt, object, wakes);
}

int
lock_abort(DB_LOCKTAB *lt, struct lock_cell *c, struct wakes *wakes)
{
	struct lock_cell *object = NULL;
	int ret;

	if ((ret = take_off(lt, c, &object)) != 0)
		return ret;
	decide(lt, c, CELL_ABORTED, wakes);
	return 0;
}

int
lock_go_on(DB_LOCKTAB *lt, uint32_t object, struct wakes *wakes)
{
	struct lock_cell *c = cell_at(lt, object);

	/* It may have gone with the last that was on it. */
	if (c == NULL || word_kind(load_relaxed(&c->word)) != CELL_OBJECT)
		return 0;
	return object_go_on(lt, c, wakes);
}
