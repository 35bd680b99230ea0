/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/repair.c - a partition whose lock's owner died inside: its index, from the words of cells.
 *
 * The words say what every cell is (L2); everything else is made anew.  Objects go into their
 * buckets, held locks to their objects, waiting requests into the queues in the order in which they
 * were made; a cell that belongs to nothing is free.  Then each queue is looked through, because
 * whoever died may have released something and not got further.
 *
 * The walk is over all cells of the region, some microseconds for thousands of them: a death inside
 * is rare.  Counts of events may be off by one for what was cut short; counts of what is there are
 * exact.
 */
#include "table.h"

/* Calls fn for each cell of the partition of that kind. */
static int
each_cell(DB_LOCKTAB *lt, uint32_t part, enum cell_kind kind,
    int (*fn)(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c))
{
	struct lock_cell *c;
	int ret = 0;

	for (uint32_t i = 1; ret == 0 && (c = cell_at(lt, i)) != NULL; i++)
		if (cell_of(lt, i, kind, part) == c)
			ret = fn(lt, part, c);
	return ret;
}

static int
add_object(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	uint32_t *bucket = &lt->buckets[c->u.object.hash & (lt->nbuckets - 1)];

	if (hash_part(lt, c->u.object.hash) != part)
		return table_damaged(lt, "an object is in a wrong partition", part);
	c->u.object.holders = c->u.object.waiters = c->u.object.last_waiter = 0;
	c->next = *bucket;
	*bucket = cell_number(lt, c);
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

	return a_first != b_first ? a_first : a->u.lock.order < b->u.lock.order;
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
	if ((ret = waiter_link(lt, object, c)) != 0)
		return ret;
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

static int
count_lock(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	(void)c;
	lt->parts[part].nlocks++;
	return 0;
}

static int
add_free(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	cell_push(lt, part, c);
	return 0;
}

/* In the time between, prev of a NAME cell says whether an object's name goes through it. */
static int
unmark_name(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	(void)lt;
	(void)part;
	c->prev = 0;
	return 0;
}

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

static int
free_unmarked(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	if (c->prev == 0)
		cell_push(lt, part, c);
	return 0;
}

static int
go_on(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *object)
{
	struct wakes wakes = { 0 };
	int ret;

	(void)part;
	if ((ret = object_promote(lt, object, &wakes)) == 0)
		ret = object_settle(lt, object);
	wake_now(&wakes);
	return ret;
}

static int
count_locker(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	(void)part;
	(void)c;
	lt->table->nlockers++;
	return 0;
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

int
part_repair(DB_LOCKTAB *lt, uint32_t part)
{
	static const struct {
		enum cell_kind kind;
		int (*fn)(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c);
	} passes[] = {
		{ CELL_OBJECT, add_object },
		{ CELL_HELD, add_holder },
		{ CELL_WAITING, add_waiter },
		{ CELL_CHANGED, count_lock },
		{ CELL_ABORTED, count_lock },
		{ CELL_RELEASED, count_lock },
		{ CELL_LOCKER, count_locker },
		{ CELL_FREE, add_free },
		{ CELL_NAME, unmark_name },
		{ CELL_OBJECT, mark_names },
		{ CELL_NAME, free_unmarked },
		{ CELL_OBJECT, go_on },
	};
	int ret = 0;

	env_event(lt->dbenv, "lock table: a process died in partition %u: repairing it", part);
	forget_index(lt, part);
	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]) && ret == 0; i++)
		ret = each_cell(lt, part, passes[i].kind, passes[i].fn);
	return ret;
}
