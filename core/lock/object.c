/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/object.c - objects: found by the hash of their names, with the lists of those who hold them
 * and those who wait.
 *
 * An object exists while there is a lock on it.  A name of up to OBJECT_INLINE bytes is in the
 * object's cell, the rest of a longer one in a chain of NAME cells.  Buckets are chained singly:
 * chains are short.  Holders are linked newest first.  Waiters have the order of their turns: those
 * whose locker holds the object (LOCK_FIRST) before all others, else as they came.
 *
 * Everything here wants the object's partition locked (L1).
 */
#include "table.h"

uint32_t
object_cells(uint32_t size)
{
	return size <= OBJECT_INLINE ? 1 : 2 + (size - OBJECT_INLINE - 1) / NAME_BYTES;
}

static bool
name_is(DB_LOCKTAB *lt, const struct lock_cell *c, uint32_t part, const DBT *name)
{
	const uint8_t *bytes = name->data;
	uint32_t left = name->size, n = left < OBJECT_INLINE ? left : OBJECT_INLINE;
	uint32_t more = c->prev;

	if (memcmp(c->u.object.name, bytes, n) != 0)
		return false;
	while ((left -= n) > 0) {
		bytes += n;
		n = left < NAME_BYTES ? left : NAME_BYTES;
		c = cell_of(lt, more, CELL_NAME, part);
		if (c == NULL || memcmp(c->u.name.bytes, bytes, n) != 0)
			return false;
		more = c->next;
	}
	return true;
}

int
object_find(DB_LOCKTAB *lt, const DBT *name, uint32_t hash, struct lock_cell **cp)
{
	uint32_t part = hash_part(hash), first = *object_bucket(lt, hash), steps = 0;
	uint32_t at = (first & bucket_bit(hash)) != 0 ? first & BUCKET_CELL : 0;
	struct lock_cell *c;

	for (; at != 0; at = c->next) {
		c = cell_of(lt, at, CELL_OBJECT, part);
		if (c == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a chain of objects leads to something else", at);
		if (c->u.object.hash == hash && c->u.object.size == name->size &&
		    name_is(lt, c, part, name)) {
			*cp = c;
			return 0;
		}
	}
	*cp = NULL;
	return 0;
}

static void
names_free(DB_LOCKTAB *lt, uint32_t part, uint32_t at)
{
	struct lock_cell *c;

	/* Each is another cell's kind after it was pushed: a circle ends. */
	while ((c = cell_of(lt, at, CELL_NAME, part)) != NULL) {
		at = c->next;
		cell_push(lt, part, c);
	}
}

/* The name from OBJECT_INLINE on, in cells; *atp is the first. */
static int
names_fill(DB_LOCKTAB *lt, uint32_t part, const DBT *name, uint32_t *atp)
{
	const uint8_t *bytes = name->data;
	uint32_t left = name->size, n = left < OBJECT_INLINE ? left : OBJECT_INLINE;
	struct lock_cell *c;

	*atp = 0;
	while ((left -= n) > 0) {
		bytes += n;
		n = left < NAME_BYTES ? left : NAME_BYTES;
		if ((c = cell_pop(lt, part)) == NULL)
			return table_damaged(lt, "free cells are missing in a partition", part);
		memcpy(c->u.name.bytes, bytes, n);
		*atp = cell_number(lt, c);
		c->next = 0;
		store_release(
		    &c->word, cell_word(CELL_NAME, 0, part, word_life(load_relaxed(&c->word))));
		atp = &c->next;
	}
	return 0;
}

void
object_chain(const DB_LOCKTAB *lt, struct lock_cell *c, uint32_t part)
{
	uint32_t hash = c->u.object.hash, *bucket = object_bucket(lt, hash), was = *bucket;

	c->next = was & BUCKET_CELL;
	/* L2 */
	store_release(&c->word,
	    cell_word(CELL_OBJECT, was >> CELL_BITS, part, word_life(load_relaxed(&c->word))));
	*bucket = cell_number(lt, c) | (was & ~BUCKET_CELL) | bucket_bit(hash);
}

int
object_create(DB_LOCKTAB *lt, const DBT *name, uint32_t hash, struct lock_cell **cp)
{
	uint32_t part = hash_part(hash);
	struct lock_cell *c = cell_pop(lt, part);
	int ret;

	if (c == NULL)
		return table_damaged(lt, "free cells are missing in a partition", part);
	if ((ret = names_fill(lt, part, name, &c->prev)) != 0)
		return ret;
	c->u.object.hash = hash;
	c->u.object.size = name->size;
	c->u.object.holders = c->u.object.waiters = c->u.object.last_waiter = 0;
	memcpy(
	    c->u.object.name, name->data, name->size < OBJECT_INLINE ? name->size : OBJECT_INLINE);
	object_chain(lt, c, part);
	lt->parts[part].nobjects++;
	*cp = c;
	return 0;
}

static int
object_unlink(DB_LOCKTAB *lt, struct lock_cell *object, uint32_t part)
{
	uint32_t number = cell_number(lt, object), steps = 0, at;
	uint32_t *bucket = object_bucket(lt, object->u.object.hash);
	struct lock_cell *c = NULL;

	for (at = *bucket & BUCKET_CELL; at != number; at = c->next) {
		c = cell_of(lt, at, CELL_OBJECT, part);
		if (c == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "an object is not in its chain", number);
	}
	if (c != NULL)
		c->next = object->next;
	else
		*bucket = object->next | word_mode(load_relaxed(&object->word)) << CELL_BITS;
	return 0;
}

int
object_settle(DB_LOCKTAB *lt, struct lock_cell *object)
{
	uint32_t part = word_part(load_relaxed(&object->word)), more = object->prev;
	int ret;

	if (object->u.object.holders != 0 || object->u.object.waiters != 0)
		return 0;
	if ((ret = object_unlink(lt, object, part)) != 0)
		return ret;
	cell_push(lt, part, object);
	names_free(lt, part, more);
	lt->parts[part].nobjects--;
	return 0;
}

/* --- holders and waiters ------------------------------------------------------------------- */

/* Lists are doubly linked with prev 0 at the head, which *headp names. */
static int
list_insert(
    DB_LOCKTAB *lt, uint32_t *headp, struct lock_cell *after, struct lock_cell *c, uint32_t part)
{
	uint32_t next = after != NULL ? after->next : *headp;
	struct lock_cell *n = NULL;

	if (next != 0 && (n = cell_at(lt, next)) == NULL)
		return table_damaged(lt, "a list of locks leads out of the table", part);
	c->next = next;
	c->prev = after != NULL ? cell_number(lt, after) : 0;
	if (n != NULL)
		n->prev = cell_number(lt, c);
	if (after != NULL)
		after->next = cell_number(lt, c);
	else
		*headp = cell_number(lt, c);
	return 0;
}

static int
list_remove(DB_LOCKTAB *lt, uint32_t *headp, struct lock_cell *c)
{
	uint32_t number = cell_number(lt, c), next = c->next, prev = c->prev;
	struct lock_cell *n = next != 0 ? cell_at(lt, next) : NULL;
	struct lock_cell *p = prev != 0 ? cell_at(lt, prev) : NULL;

	if ((next != 0 && (n == NULL || n->prev != number)) ||
	    (prev != 0 && (p == NULL || p->next != number)) || (prev == 0 && *headp != number))
		return table_damaged(lt, "a lock is not in its object's list", number);
	if (n != NULL)
		n->prev = prev;
	if (p != NULL)
		p->next = next;
	else
		*headp = next;
	return 0;
}

int
holder_link(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c)
{
	return list_insert(lt, &object->u.object.holders, NULL, c, 0);
}

int
holder_unlink(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c)
{
	return list_remove(lt, &object->u.object.holders, c);
}

static void
wait_list_add(DB_LOCKTAB *lt, struct lock_part *p, struct lock_cell *c)
{
	struct lock_cell *n = p->waiting != 0 ? cell_at(lt, p->waiting) : NULL;

	c->u.lock.next_wait = p->waiting;
	c->u.lock.prev_wait = 0;
	if (n != NULL)
		n->u.lock.prev_wait = cell_number(lt, c);
	p->waiting = cell_number(lt, c);
	p->nwaiting++;
}

static int
wait_list_remove(DB_LOCKTAB *lt, struct lock_part *p, struct lock_cell *c)
{
	uint32_t next = c->u.lock.next_wait, prev = c->u.lock.prev_wait;
	struct lock_cell *n = next != 0 ? cell_at(lt, next) : NULL;
	struct lock_cell *b = prev != 0 ? cell_at(lt, prev) : NULL;

	if ((next != 0 && n == NULL) || (prev != 0 && b == NULL) ||
	    (prev == 0 && p->waiting != cell_number(lt, c)))
		return table_damaged(lt, "a request is not in its list", cell_number(lt, c));
	if (n != NULL)
		n->u.lock.prev_wait = prev;
	if (b != NULL)
		b->u.lock.next_wait = next;
	else
		p->waiting = next;
	if (p->nwaiting > 0)
		p->nwaiting--;
	return 0;
}

/* Behind whom c comes: the last of all, or the last of those who go first. */
static int
find_place(DB_LOCKTAB *lt, const struct lock_cell *object, const struct lock_cell *c,
    struct lock_cell **afterp)
{
	uint32_t part = word_part(load_relaxed(&object->word)), steps = 0, at;
	struct lock_cell *w;

	*afterp = NULL;
	if ((c->u.lock.flags & LOCK_FIRST) == 0) {
		if ((at = object->u.object.last_waiter) == 0)
			return 0;
		*afterp = cell_of(lt, at, CELL_WAITING, part);
		return *afterp != NULL ? 0 : table_damaged(lt, "a queue has no end", at);
	}
	for (at = object->u.object.waiters; at != 0; at = w->next) {
		w = cell_of(lt, at, CELL_WAITING, part);
		if (w == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a queue leads to something else", at);
		if ((w->u.lock.flags & LOCK_FIRST) == 0)
			break;
		*afterp = w;
	}
	return 0;
}

int
waiter_link(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c)
{
	uint32_t part = word_part(load_relaxed(&object->word));
	struct lock_cell *after;
	int ret;

	if ((ret = find_place(lt, object, c, &after)) != 0 ||
	    (ret = list_insert(lt, &object->u.object.waiters, after, c, part)) != 0)
		return ret;
	if (c->next == 0)
		object->u.object.last_waiter = cell_number(lt, c);
	wait_list_add(lt, &lt->parts[part], c);
	return 0;
}

int
waiter_unlink(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c)
{
	uint32_t part = word_part(load_relaxed(&object->word)), prev = c->prev;
	bool last = c->next == 0;
	int ret;

	if ((ret = list_remove(lt, &object->u.object.waiters, c)) != 0)
		return ret;
	if (last)
		object->u.object.last_waiter = prev;
	return wait_list_remove(lt, &lt->parts[part], c);
}
