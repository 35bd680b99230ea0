/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/check.c - the walker: does the index of each partition say what the words of its cells say?
 *
 * With all partitions locked, in each of them: a cell is reached exactly once, by way of the free
 * list, the chains of objects and their lists; holders do not conflict, except with their own
 * locker; whoever is first in a queue has a reason to wait, and nobody can overtake it (L8); the
 * counts are right.  What does not hold is said, one sentence each, and EFAULT is returned.
 */
#include "check.h"

struct walk {
	DB_LOCKTAB *lt;
	uint32_t part;
	uint32_t reached[CELL_KINDS];
	uint32_t waits;
	int faults;
};

static void
fault(struct walk *w, const char *what, uint32_t cell)
{
	env_err(w->lt->dbenv, "lock table: partition %u, cell %u: %s", w->part, cell, what);
	w->faults++;
}

/* HELD: or IDLE. */
static struct lock_cell *
reach(struct walk *w, uint32_t at, enum cell_kind kind)
{
	struct lock_cell *c =
	    kind == CELL_HELD ? holder_at(w->lt, at, w->part) : cell_of(w->lt, at, kind, w->part);

	if (c == NULL)
		fault(w, "a list leads to something else", at);
	else if (w->reached[kind]++ > w->lt->ncells) {
		fault(w, "a list has no end", at);
		return NULL;
	}
	return c;
}

/*
 * Whoever came later was not in conflict with who was there: one direction at least is free.  Both
 * are, if either can be put and taken again without looking (L9).
 */
static bool
conflicts(const DB_LOCKTAB *lt, const struct lock_cell *a, const struct lock_cell *b)
{
	uint64_t v = load_acquire(&a->word), w = load_acquire(&b->word);
	bool there = modes_conflict(lt, word_mode(v), word_mode(w));
	bool back = modes_conflict(lt, word_mode(w), word_mode(v));

	if (a->u.lock.locker == b->u.lock.locker)
		return false;
	return (v & w & WORD_FIRM) != 0 ? there && back :
	    (v & WORD_FIRM) != 0	? back :
	    (w & WORD_FIRM) != 0	? there :
					  there || back;
}

static void
check_holder(struct walk *w, const struct lock_cell *object, const struct lock_cell *c)
{
	const struct lock_cell *b;

	if (object->u.object.waiters != 0 && (load_acquire(&c->word) & WORD_FIRM) == 0)
		fault(w, "may be put without those who wait", cell_number(w->lt, c));
	if (c->u.lock.object != cell_number(w->lt, object))
		fault(w, "a lock is on another object's list", cell_number(w->lt, c));
	if ((b = holder_at(w->lt, object->u.object.holders, w->part)) != NULL &&
	    conflicts(w->lt, b, c))
		fault(w, "conflicts with another holder", cell_number(w->lt, c));
	if (locker_cell(w->lt, c->u.lock.locker) == NULL)
		fault(w, "is held by a locker that is not there", cell_number(w->lt, c));
}

static void
check_waiters(struct walk *w, const struct lock_cell *object)
{
	const struct lock_cell *c;
	uint32_t at, last = 0;
	bool blocked = true, first = true;

	for (at = object->u.object.waiters; at != 0; last = at, at = c->next) {
		if ((c = reach(w, at, CELL_WAITING)) == NULL)
			return;
		const struct claim claim = { .locker = c->u.lock.locker,
			.mode = word_mode(c->word),
			.first = (c->u.lock.flags & LOCK_FIRST) != 0 };

		if (claim_blocked(w->lt, object, &claim, c, NULL, &blocked) == 0 && !blocked)
			fault(w, "waits for nobody", at);
		if (claim.first && !first)
			fault(w, "is behind those whom it goes before", at);
		first = claim.first;
	}
	if (object->u.object.last_waiter != last)
		fault(w, "the last in the queue is another", last);
}

static void
check_object(struct walk *w, const struct lock_cell *object)
{
	const struct lock_cell *c;
	uint32_t at, left = object_cells(object->u.object.size) - 1;

	if (object->u.object.holders == 0 && object->u.object.waiters == 0)
		fault(w, "an object without a lock", cell_number(w->lt, object));
	for (at = object->u.object.holders; at != 0; at = c->next) {
		if ((c = reach(w, at, CELL_HELD)) == NULL)
			return;
		check_holder(w, object, c);
	}
	check_waiters(w, object);
	for (at = object->prev; left > 0; left--, at = c->next)
		if ((c = reach(w, at, CELL_NAME)) == NULL)
			return;
}

static void
check_lists(struct walk *w)
{
	DB_LOCKTAB *lt = w->lt;
	const struct lock_cell *c;
	uint32_t at;

	for (at = lt->parts[w->part].free; at != 0; at = c->next)
		if ((c = reach(w, at, CELL_FREE)) == NULL)
			return;
	if (w->part == RESERVE)
		return;
	for (uint32_t b = w->part; b < lt->nbuckets; b += LOCK_PARTS)
		for (at = lt->buckets[b] & BUCKET_CELL; at != 0; at = c->next) {
			if ((c = reach(w, at, CELL_OBJECT)) == NULL)
				return;
			if ((lt->buckets[b] & bucket_bit(c->u.object.hash)) == 0)
				fault(w, "an object is looked for in vain", at);
			check_object(w, c);
		}
	for (at = lt->parts[w->part].waiting; at != 0; at = c->u.lock.next_wait)
		if ((c = cell_of(lt, at, CELL_WAITING, w->part)) == NULL ||
		    w->waits++ > lt->ncells) {
			fault(w, "the list of requests leads to something else", at);
			return;
		}
}

static void
check_counts(struct walk *w, const uint32_t there[CELL_KINDS])
{
	const struct lock_part *p = &w->lt->parts[w->part];
	uint32_t locks = there[CELL_HELD] + there[CELL_WAITING] + there[CELL_CHANGED] +
	    there[CELL_ABORTED] + there[CELL_RELEASED] + there[CELL_IDLE];

	/* A lock may be put and taken again meanwhile. */
	w->reached[CELL_HELD] += w->reached[CELL_IDLE];
	for (int k = CELL_FREE; k <= CELL_WAITING; k++)
		if (k != CELL_LOCKER &&
		    w->reached[k] != there[k] + (k == CELL_HELD ? there[CELL_IDLE] : 0))
			fault(w, "cells that no list leads to, of kind", (uint32_t)k);
	if (p->nfree != there[CELL_FREE] || p->nlocks != locks ||
	    p->nobjects != there[CELL_OBJECT] || p->nwaiting != there[CELL_WAITING] ||
	    w->waits != there[CELL_WAITING])
		fault(w, "counts are wrong; locks", p->nlocks);
	if (p->nlocks > p->allow)
		fault(w, "more locks than its share", p->nlocks);
	if (w->part == RESERVE && w->lt->table->nlockers != there[CELL_LOCKER])
		fault(w, "lockers are counted wrong", w->lt->table->nlockers);
}

/* Cells by partition and kind, in one pass: a damaged table may say that it has a great many. */
static void
count_cells(DB_LOCKTAB *lt, uint32_t there[RESERVE + 1][CELL_KINDS])
{
	const struct lock_cell *c;

	for (uint32_t i = 1; (c = cell_at(lt, i)) != NULL; i++) {
		uint64_t w = load_relaxed(&c->word);

		if (word_part(w) <= RESERVE && word_kind(w) < CELL_KINDS)
			there[word_part(w)][word_kind(w)]++;
	}
}

int
locktab_check(DB_LOCKTAB *lt)
{
	uint32_t there[RESERVE + 1][CELL_KINDS] = { { 0 } };
	int ret, faults = 0;

	if ((ret = table_enter(lt, "locktab_check")) != 0 ||
	    (ret = parts_lock(lt, RESERVE + 1)) != 0)
		return ret;
	count_cells(lt, there);
	for (uint32_t part = 0; part <= RESERVE; part++) {
		struct walk w = { .lt = lt, .part = part };

		check_lists(&w);
		check_counts(&w, there[part]);
		faults += w.faults;
	}
	parts_unlock(lt, RESERVE + 1);
	return faults == 0 ? 0 : EFAULT;
}
