/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/repair.c - a partition whose lock's owner died inside: its index, from the words of cells.
 *
 * The words say what every cell is (L2); everything else is made anew.  Objects go into their
 * buckets, held locks to their objects, waiting requests into the queues in the order in which they
 * were made; a cell that belongs to nothing is free.  Then each queue is looked through, because
 * whoever died may have released something and not got further.
 *
 * The walk is over all cells of the region.  A detector dies with all partitions locked, so what
 * else its like has left locked is taken over and repaired in the same walk.  Counts of events may
 * be off by one for what was cut short; counts of what is there are exact.
 */
#include "table.h"

/* The partitions that are repaired; each is locked. */
struct repair {
	DB_LOCKTAB *lt;
	bool parts[LOCK_PARTS + 1];
};

static int
add_object(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	if (hash_part(c->u.object.hash) != part)
		return table_damaged(lt, "an object is in a wrong partition", part);
	c->u.object.holders = c->u.object.waiters = c->u.object.last_waiter = 0;
	object_chain(lt, c, part);
	lt->parts[part].nobjects++;
	return 0;
}

/* An object that is not there held nothing: its lock is free. */
static struct lock_cell *
object_of(DB_LOCKTAB *lt, uint32_t part, const struct lock_cell *c)
{
	return cell_of(lt, c->u.lock.object, CELL_OBJECT, part);
}

static int
add_holder(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	struct lock_cell *object = object_of(lt, part, c);

	if (object == NULL)
		return table_damaged(lt, "a lock has no object", cell_number(lt, c));
	lt->parts[part].nlocks++;
	return holder_link(lt, object, c);
}

static bool
comes_before(const struct lock_cell *a, const struct lock_cell *b)
{
	bool a_first = (a->u.lock.flags & LOCK_FIRST) != 0;
	bool b_first = (b->u.lock.flags & LOCK_FIRST) != 0;

	return a_first != b_first ? a_first : (int32_t)(a->u.lock.order - b->u.lock.order) < 0;
}

/*
 * waiter_link puts c where it would come now.  Cells come in any order here: put those that came
 * later behind it again.
 */
static int
add_waiter(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	struct lock_cell *object = object_of(lt, part, c), *w;
	uint32_t at, next;
	int ret;

	if (object == NULL)
		return table_damaged(lt, "a request has no object", cell_number(lt, c));
	lt->parts[part].nlocks++;
	at = object->u.object.last_waiter;
	if ((ret = waiter_link(lt, object, c)) != 0)
		return ret;
	/* mostly they come in order */
	if (at != 0 && (w = cell_of(lt, at, CELL_WAITING, part)) != NULL && comes_before(w, c))
		return 0;
	for (at = object->u.object.waiters; at != cell_number(lt, c); at = next) {
		if ((w = cell_of(lt, at, CELL_WAITING, part)) == NULL)
			return table_damaged(lt, "a queue leads to something else", at);
		next = w->next;
		if (comes_before(w, c))
			continue;
		if ((ret = waiter_unlink(lt, object, w)) != 0 ||
		    (ret = waiter_link(lt, object, w)) != 0)
			return ret;
	}
	return 0;
}

/* In the time between, prev of a NAME cell says whether an object's name goes through it. */
static int
mark_names(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	uint32_t left = object_cells(c->u.object.size) - 1, at = c->prev;

	for (; left > 0; left--, at = c->next) {
		if ((c = cell_of(lt, at, CELL_NAME, part)) == NULL || c->prev != 0)
			return table_damaged(lt, "an object's name has no end", at);
		c->prev = 1;
	}
	return 0;
}

/* Whoever holds it by now goes first with what else it waits for. */
static int
advance_holders(DB_LOCKTAB *lt, struct lock_cell *object, uint32_t part)
{
	const struct lock_cell *c;
	uint32_t at, steps = 0;
	bool moved;
	int ret = 0;

	if (object->u.object.waiters == 0)
		return 0;
	for (at = object->u.object.holders; at != 0 && ret == 0; at = c->next) {
		if ((c = holder_at(lt, at, part)) == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a list of holders leads to something else", at);
		ret = object_advance(lt, object, c->u.lock.locker, &moved);
	}
	return ret;
}

static int
go_on(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *object)
{
	struct wakes wakes = { 0 };
	int ret;

	if ((ret = advance_holders(lt, object, part)) == 0 &&
	    (ret = object_promote(lt, object, &wakes)) == 0)
		ret = object_settle(lt, object);
	wake_now(&wakes);
	return ret;
}

static void
forget_index(DB_LOCKTAB *lt, uint32_t part)
{
	struct lock_part *p = &lt->parts[part];

	p->free = p->waiting = 0;
	p->nfree = p->nlocks = p->nobjects = p->nwaiting = 0;
	if (part == RESERVE)
		lt->table->nlockers = 0;
	else
		for (uint32_t b = part; b < lt->nbuckets; b += LOCK_PARTS)
			lt->buckets[b] = 0;
}

/* --- three walks --------------------------------------------------------------------------- */

/* What others are linked to, and what is only counted. */
static int
first(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c, enum cell_kind kind)
{
	switch (kind) {
	case CELL_FREE:
		cell_push(lt, part, c);
		return 0;
	case CELL_OBJECT:
		return add_object(lt, part, c);
	case CELL_NAME:
		c->prev = 0;
		return 0;
	case CELL_LOCKER:
		lt->table->nlockers++;
		return 0;
	case CELL_CHANGED:
	case CELL_ABORTED:
	case CELL_RELEASED:
		lt->parts[part].nlocks++;
		return 0;
	case CELL_HELD:
	case CELL_IDLE:
	case CELL_WAITING:
	case CELL_KINDS:
	default:
		return 0;
	}
}

static int
second(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c, enum cell_kind kind)
{
	if (kind_is_holder(kind))
		return add_holder(lt, part, c);
	if (kind == CELL_WAITING)
		return add_waiter(lt, part, c);
	return kind == CELL_OBJECT ? mark_names(lt, part, c) : 0;
}

static int
third(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c, enum cell_kind kind)
{
	if (kind == CELL_NAME && c->prev == 0)
		cell_push(lt, part, c);
	return kind == CELL_OBJECT ? go_on(lt, part, c) : 0;
}

static int
walk(struct repair *r,
    int (*fn)(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c, enum cell_kind kind))
{
	struct lock_cell *c;
	int ret = 0;
	uint64_t w;

	for (uint32_t i = 1; ret == 0 && (c = cell_at(r->lt, i)) != NULL; i++) {
		w = load_relaxed(&c->word);
		if (word_part(w) <= RESERVE && r->parts[word_part(w)])
			ret = fn(r->lt, word_part(w), c, word_kind(w));
	}
	return ret;
}

/* What else the dead have left locked.  Nobody is waited for: the order does not matter. */
static void
inherit(struct repair *r)
{
	struct region *region = r->lt->region;

	for (uint32_t i = 0; i <= RESERVE; i++) {
		struct shlock *l = &r->lt->parts[i].lock;
		uint32_t number = (load_seq(&l->owner) & SHLOCK_NUMBER) - 1;

		if (number != NO_CLIENT && number != r->lt->self &&
		    !client_is_alive(region, number) && shlock_inherit_marked(region, l, number))
			r->parts[i] = true;
	}
}

int
part_repair(DB_LOCKTAB *lt, uint32_t part)
{
	struct repair r = { .lt = lt };
	unsigned n = 0;
	int ret;

	inherit(&r);
	r.parts[part] = true;
	for (uint32_t i = 0; i <= RESERVE; i++)
		if (r.parts[i]) {
			forget_index(lt, i);
			n++;
		}
	env_event(lt->dbenv, "lock table: a process died in partition %u: repairing %u", part, n);
	if ((ret = walk(&r, first)) == 0 && (ret = walk(&r, second)) == 0)
		ret = walk(&r, third);
	for (uint32_t i = 0; i <= RESERVE; i++)
		if (r.parts[i] && i != part)
			part_unlock(lt, i);
	return ret;
}
