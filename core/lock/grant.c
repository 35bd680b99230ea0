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
 * Before a claim is looked at, the locks that conflict with it are made firm, and idle ones go (L7
 * to L9): what is seen then stays so until the partition is unlocked.
 *
 * Everything here wants the object's partition locked (L1).
 */
#include "point.h"
#include "table.h"

/* --- firm or gone -------------------------------------------------------------------------- */

bool
lock_firm(struct lock_cell *c)
{
	uint64_t w = load_acquire(&c->word);

	return word_kind(w) == CELL_HELD &&
	    ((w & WORD_FIRM) != 0 || word_kind(or_seq(&c->word, WORD_FIRM)) == CELL_HELD);
}

bool
lock_firm_in(struct lock_cell *c, uint32_t life)
{
	uint64_t w = load_acquire(&c->word);

	/* It fails once: then that life is over. */
	while (word_kind(w) == CELL_HELD && word_life(w) == life)
		if ((w & WORD_FIRM) != 0 || cas_seq(&c->word, &w, w | WORD_FIRM))
			return true;
	return false;
}

/* What was counted in its lives. */
static void
count_retaken(DB_LOCKTAB *lt, const struct lock_cell *c, uint64_t w)
{
	struct lock_part *p = &lt->parts[word_part(w)];
	uint32_t n = lock_retaken(c, w);

	store_relaxed(&p->nrequests, p->nrequests + n);
	store_relaxed(&p->nreleases, p->nreleases + n);
}

/* An IDLE lock has gone, with word w. */
static int
revoked(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c, uint64_t w)
{
	uint32_t part = word_part(w);
	int ret;

	count_retaken(lt, c, w);
	lt->parts[part].nreleases++;
	if ((ret = holder_unlink(lt, object, c)) != 0)
		return ret;
	lock_dispose(lt, c, part);
	return 0;
}

/* What an IDLE lock's word becomes. */
static inline uint64_t
free_word(uint64_t w)
{
	return cell_word(CELL_FREE, 0, word_part(w), word_life(w) + 1);
}

int
lock_revoke(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c, bool *gonep)
{
	uint64_t w = load_acquire(&c->word);

	*gonep = false;
	if (word_part(w) >= LOCK_PARTS)
		return table_damaged(lt, "a lock is of no partition", cell_number(lt, c));
	*gonep = word_kind(w) == CELL_IDLE && cas_seq(&c->word, &w, free_word(w));
	return *gonep ? revoked(lt, object, c, w) : 0;
}

/* L7: which of the two, its owner cannot change any more. */
static int
firm_or_gone(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c)
{
	uint64_t w;

	LOCK_POINT(POINT_SETTLING);
	w = or_seq(&c->word, WORD_FIRM);
	if (word_kind(w) == CELL_HELD)
		return 0;
	if (word_kind(w) != CELL_IDLE || word_part(w) >= LOCK_PARTS)
		return table_damaged(lt, "a lock is something else", cell_number(lt, c));
	store_release(&c->word, free_word(w));
	return revoked(lt, object, c, w);
}

/* A lock that others hold or keep, of a mode that does not go together with that. */
static bool
is_rival(const DB_LOCKTAB *lt, const struct lock_cell *c, const struct claim *claim)
{
	uint64_t w = load_relaxed(&c->word);

	if (c->u.lock.locker == claim->locker)
		return word_kind(w) == CELL_IDLE && word_mode(w) == claim->mode;
	return modes_conflict(lt, claim->mode, word_mode(w)) ||
	    modes_conflict(lt, word_mode(w), claim->mode);
}

/* claim NULL: all of them.  The object stays, though nothing may be left on it. */
static int
settle_holders(DB_LOCKTAB *lt, struct lock_cell *object, const struct claim *claim)
{
	uint32_t part = word_part(load_relaxed(&object->word)), steps = 0, at, next;
	struct lock_cell *c;
	int ret = 0;

	for (at = object->u.object.holders; at != 0 && ret == 0; at = next) {
		c = holder_at(lt, at, part);
		if (c == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a list of holders leads to something else", at);
		next = c->next;
		if (claim == NULL || is_rival(lt, c, claim))
			ret = firm_or_gone(lt, object, c);
	}
	return ret;
}

int
object_make_way(DB_LOCKTAB *lt, struct lock_cell *object, const struct claim *claim)
{
	return object->u.object.waiters != 0 ? 0 : settle_holders(lt, object, claim);
}

int
object_make_firm(DB_LOCKTAB *lt, struct lock_cell *object)
{
	return object->u.object.waiters != 0 ? 0 : settle_holders(lt, object, NULL);
}

/* --- who is in the way --------------------------------------------------------------------- */

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
		c = kind == CELL_HELD ? holder_at(lt, at, part) : cell_of(lt, at, kind, part);
		if (c == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a list of locks leads to something else", at);
		if (c == before)
			break;
		if (c->u.lock.locker == claim->locker ||
		    word_kind(load_relaxed(&c->word)) == CELL_IDLE ||
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

/* --- whose turn it is ---------------------------------------------------------------------- */

/* L4; L8 */
static void
decide(DB_LOCKTAB *lt, struct lock_cell *c, enum cell_kind kind, struct wakes *wakes)
{
	uint64_t w = load_relaxed(&c->word);
	uint32_t client = c->u.lock.client, undecided = WAKE_NOT;

	store_release(&c->word,
	    cell_word(kind, word_mode(w), word_part(w), word_life(w)) |
		(kind == CELL_HELD ? WORD_FIRM : 0));
	/* It may have been seen already. */
	(void)cas_seq(&c->u.lock.wake, &undecided, WAKE_DECIDED);
	if ((c->u.lock.flags & LOCK_DISTANT) == 0)
		wake_later(wakes, &c->u.lock.wake);
	else if (client < LOCK_CLIENTS) {
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

int
object_advance(DB_LOCKTAB *lt, struct lock_cell *object, uint32_t locker, bool *movedp)
{
	uint32_t part = word_part(load_relaxed(&object->word)), at, next, steps = 0;
	struct lock_cell *c;
	int ret;

	*movedp = false;
	for (at = object->u.object.waiters; at != 0; at = next) {
		c = cell_of(lt, at, CELL_WAITING, part);
		if (c == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a queue leads to something else", at);
		next = c->next;
		if (c->u.lock.locker != locker || (c->u.lock.flags & LOCK_FIRST) != 0)
			continue;
		if ((ret = waiter_unlink(lt, object, c)) != 0)
			return ret;
		c->u.lock.flags |= LOCK_FIRST;
		if ((ret = waiter_link(lt, object, c)) != 0)
			return ret;
		*movedp = true;
	}
	return 0;
}

void
lock_change_mode(DB_LOCKTAB *lt, struct lock_cell *c, uint32_t part, uint32_t mode)
{
	uint64_t w = load_relaxed(&c->word);

	store_release(&c->word, cell_word(CELL_HELD, mode, part, word_life(w)) | WORD_FIRM);
	lt->parts[part].nupgrades++;
}

/* *againp: those before it in the queue may have something to gain. */
static int
grant(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c, struct wakes *wakes,
    bool *againp)
{
	uint64_t w = load_relaxed(&c->word);
	uint32_t part = word_part(w);
	struct lock_cell *t;
	int ret;

	if ((ret = waiter_unlink(lt, object, c)) != 0)
		return ret;
	if (c->u.lock.target == 0) {
		c->u.lock.count = 1;
		decide(lt, c, CELL_HELD, wakes);
		if ((ret = holder_link(lt, object, c)) != 0)
			return ret;
		return object_advance(lt, object, c->u.lock.locker, againp);
	}
	if ((t = target_of(lt, c, part)) == NULL) {
		/* what it wanted to change was put meanwhile, by another thread */
		decide(lt, c, CELL_RELEASED, wakes);
		return 0;
	}
	lock_change_mode(lt, t, part, word_mode(w));
	decide(lt, c, CELL_CHANGED, wakes);
	*againp = true;
	return 0;
}

int
object_promote(DB_LOCKTAB *lt, struct lock_cell *object, struct wakes *wakes)
{
	uint32_t part = word_part(load_relaxed(&object->word)), at, steps = 0;
	struct lock_cell *c;
	bool blocked, again;
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
		again = false;
		ret = grant(lt, object, c, wakes, &again);
		/*
		 * A held lock has another mode now, or others of its locker go first.  Each time
		 * one waits less: that ends.
		 */
		if (again) {
			at = object->u.object.waiters;
			steps = 0;
		}
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
	return word_kind(w) == CELL_WAITING ? waiter_unlink(lt, object, c) :
					      holder_unlink(lt, object, c);
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

void
lock_dispose(DB_LOCKTAB *lt, struct lock_cell *c, uint32_t part)
{
	cell_push(lt, part, c);
	if (lt->parts[part].nlocks > 0)
		lt->parts[part].nlocks--;
}

/* c has left its object's lists. */
static int
free_lock(DB_LOCKTAB *lt, struct lock_cell *c)
{
	uint64_t w = load_relaxed(&c->word);

	if (word_part(w) >= LOCK_PARTS)
		return table_damaged(lt, "a lock is of no partition", cell_number(lt, c));
	if (word_kind(w) != CELL_WAITING)
		count_retaken(lt, c, w);
	lock_dispose(lt, c, word_part(w));
	return 0;
}

/* L4 */
static bool
is_unseen(const struct lock_cell *c)
{
	return (c->u.lock.flags & LOCK_WAITED) != 0 && load_seq(&c->u.lock.wake) != WAKE_SEEN;
}

int
lock_take_off(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c, bool *gonep)
{
	uint64_t w = load_relaxed(&c->word);
	int ret;

	if ((ret = holder_unlink(lt, object, c)) != 0)
		return ret;
	if (!is_unseen(c)) {
		*gonep = true;
		return free_lock(lt, c);
	}
	*gonep = false;
	store_release(&c->word, cell_word(CELL_RELEASED, word_mode(w), word_part(w), word_life(w)));
	return 0;
}

int
lock_release(DB_LOCKTAB *lt, struct lock_cell *c, struct wakes *wakes)
{
	struct lock_cell *object = NULL;
	int ret;

	if ((ret = take_off(lt, c, &object)) != 0 || (ret = free_lock(lt, c)) != 0)
		return ret;
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

/* steps: of the whole partition. */
static int
sweep_object(DB_LOCKTAB *lt, struct lock_cell *object, uint32_t part, uint32_t *steps)
{
	struct lock_cell *c;
	bool gone;
	int ret;

	for (uint32_t at = object->u.object.holders; at != 0;) {
		c = holder_at(lt, at, part);
		if (c == NULL || (*steps)++ > 2 * lt->ncells)
			return table_damaged(lt, "a list of holders has no end", at);
		at = c->next;
		if ((ret = lock_revoke(lt, object, c, &gone)) != 0)
			return ret;
	}
	return object_settle(lt, object);
}

int
part_sweep(DB_LOCKTAB *lt, uint32_t part)
{
	uint32_t at, next, steps = 0;
	struct lock_cell *object;
	int ret;

	for (uint32_t b = part; b < lt->nbuckets; b += LOCK_PARTS)
		for (at = lt->buckets[b] & BUCKET_CELL; at != 0; at = next) {
			if ((object = cell_of(lt, at, CELL_OBJECT, part)) == NULL)
				return table_damaged(
				    lt, "a chain of objects leads to something else", at);
			next = object->next;
			if ((ret = sweep_object(lt, object, part, &steps)) != 0)
				return ret;
			if (steps++ > 2 * lt->ncells)
				return table_damaged(lt, "a chain of objects has no end", at);
		}
	return 0;
}

int
lock_give_up(DB_LOCKTAB *lt, uint32_t part, DB_LOCK birth, bool *gonep)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)birth), *object;
	uint64_t w = c != NULL ? load_acquire(&c->word) : 0;
	int ret;

	*gonep = c == NULL || !kind_is_lock(word_kind(w)) || lock_birth(lt, c) != birth;
	if (*gonep || word_part(w) != part)
		return 0;
	if (word_kind(w) == CELL_RELEASED && c->u.lock.client == lt->self) {
		lock_dispose(lt, c, part);
		*gonep = true;
	}
	if (word_kind(w) != CELL_IDLE)
		return 0;
	if ((object = cell_of(lt, c->u.lock.object, CELL_OBJECT, part)) == NULL)
		return table_damaged(lt, "a lock has no object", cell_number(lt, c));
	if ((ret = lock_revoke(lt, object, c, gonep)) != 0)
		return ret;
	return object_settle(lt, object);
}
