/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/again.c - the short ways: a lock that was put is taken again, and put again (L7).
 *
 * A lock that was put and stays IDLE in the table keeps its slot (own.c), which is found by the
 * hash of the object's name without a look at the table.  One compare-and-swap on its cell's word
 * takes it, in a new life, so that each grant has a handle of its own; one puts it.  That the cell
 * is still the slot's says the life in which it was granted first: cell and slot agree on it only
 * as long as the lock stays there, and a word that has not changed since is of that time.
 *
 * Only what is FIRM is put the long way, and what is not kept is born so.  Nothing is written here
 * but the word, a byte beside the slot where there are no threads, and guesses; so there is nothing
 * that another thread of the same locker could find half done.
 *
 * The two swaps are most of what is left, and each waits until all loads before it are done.  So
 * the way to the cell is kept short: the slot that was taken after the last one when that was taken
 * before is looked at first, without a hash or the index, and fetched a step early.
 */
#include "table.h"

#include "point.h"

#define CHAIN_MOST 16u		      /* a longer way is not a short one */
#define RETAKES_MOST (UINT32_MAX / 2) /* then it is counted, and granted anew */

static inline bool
is_the_name(const struct own *e, const uint8_t *name, uint32_t size)
{
	const uint8_t *own = e->name;

	for (; size >= 4; size -= 4, own += 4, name += 4)
		if (bytes_4(own) != bytes_4(name))
			return false;
	for (; size > 0; size--)
		if (*own++ != *name++)
			return false;
	return true;
}

/* Where there are no threads: the slot's byte. */
static void
note_held(DB_LOCKTAB *lt, const struct lock_cell *c, bool held)
{
	const struct mine *m = mine_at(lt, load_relaxed(&c->u.lock.locker));
	uint8_t *byte =
	    m != NULL && m->set != NULL ? own_held(m->set, load_relaxed(&c->u.lock.slot)) : NULL;

	if (byte != NULL)
		*byte = held;
}

/* The lock of that slot, as it was granted first, if it is IDLE still. */
static inline bool
take(DB_LOCKTAB *lt, struct own *e, DB_LOCK birth, DB_LOCK *lockp)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)birth);
	uint32_t born = (uint32_t)(birth >> 32);
	uint64_t w;

	if (c == NULL)
		return false;
	LOCK_POINT(POINT_MATCHED);
	w = load_acquire(&c->word);
	if ((uint32_t)w != e->idle || load_relaxed(&c->u.lock.born) != born ||
	    word_life(w) - born >= RETAKES_MOST ||
	    !cas_seq(&c->word, &w, w + ((uint64_t)1 << WORD_LIFE_SHIFT) + CELL_HELD - CELL_IDLE))
		return false;
	LOCK_POINT(POINT_TAKEN);
	if (e->used == 0)
		store_relaxed(&e->used, 1);
	if (!lt->threaded)
		note_held(lt, c, true);
	*lockp = lock_of(word_life(w) + 1, (uint32_t)birth);
	return true;
}

/* The lock that the slot has, if it is one on that object in that mode; else 0. */
static inline DB_LOCK
match(const struct own *e, const DBT *obj, uint32_t mode)
{
	DB_LOCK birth = load_acquire(&e->lock);

	return birth != 0 && word_mode(e->idle) == mode && e->size == obj->size &&
		is_the_name(e, obj->data, obj->size) && load_acquire(&e->lock) == birth ?
	    birth :
	    0;
}

/* By way of the index. */
static inline struct own *
find(const struct own_set *s, const DBT *obj, uint32_t mode, DB_LOCK *birthp)
{
	uint32_t hash = object_hash(obj->data, obj->size), steps = 0;
	struct own *e = load_acquire(own_chain(load_acquire(&s->index), hash));

	for (; e != NULL && steps++ < CHAIN_MOST; e = load_relaxed(&e->next))
		if (e->hash == hash && (*birthp = match(e, obj, mode)) != 0)
			return e;
	return NULL;
}

/* e was taken, and not the guess or just that one.  Threads may overwrite each other's guesses. */
static inline void
remember(struct own_set *s, struct own *e, const struct own *guess)
{
	struct own *last = load_relaxed(&s->last), *next;

	if (guess != e && last != NULL)
		store_relaxed(&last->follows, e);
	if (last != e)
		store_relaxed(&s->last, e);
	next = load_relaxed(&e->follows);
	if (next != guess)
		store_relaxed(&s->follows, next);
	if (next != NULL)
		__builtin_prefetch(next);
}

static inline bool
take_again(DB_LOCKTAB *lt, uint32_t locker, const DBT *obj, uint32_t mode, DB_LOCK *lockp)
{
	const struct mine *m = mine_at(lt, locker);
	struct own_set *s = m != NULL ? load_acquire(&m->set) : NULL;
	struct own *e, *guess;
	DB_LOCK birth = 0;

	if (s == NULL || obj == NULL || obj->data == NULL || obj->size - 1 >= OWN_NAME)
		return false;
	e = guess = load_relaxed(&s->follows);
	if (e == NULL || (birth = match(e, obj, mode)) == 0 || !take(lt, e, birth, lockp)) {
		e = find(s, obj, mode, &birth);
		if (e == NULL || !take(lt, e, birth, lockp))
			return false;
	}
	remember(s, e, guess);
	return true;
}

/* locker 0: any of this handle. */
static inline bool
keep(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)lock);
	uint64_t w = c != NULL ? load_acquire(&c->word) : 0;

	if (c == NULL || (w & (WORD_KIND | WORD_FIRM)) != CELL_HELD || word_life(w) != lock >> 32 ||
	    load_relaxed(&c->u.lock.client) != lt->self ||
	    (locker != 0 && load_relaxed(&c->u.lock.locker) != locker))
		return false;
	LOCK_POINT(POINT_KEEPING);
	if (!lt->threaded)
		note_held(lt, c, false);
	if (cas_seq(&c->word, &w, w + CELL_IDLE - CELL_HELD))
		return true;
	if (!lt->threaded)
		note_held(lt, c, true);
	return false;
}

bool
lock_keep(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock)
{
	return keep(lt, locker, lock);
}

int
lock_get(DB_LOCKTAB *lt, u_int32_t locker, u_int32_t flags, const DBT *obj,
    const db_lockmode_t mode, DB_LOCK *lockp)
{
	int ret;

	if ((lt == NULL || !table_ready(lt)) && (ret = table_enter(lt, "lock_get")) != 0)
		return ret;
	if (lockp == NULL)
		return EINVAL;
	if ((flags & ~(uint32_t)DB_LOCK_NOWAIT) == 0 && take_again(lt, locker, obj, mode, lockp))
		return 0;
	return lock_get_anew(lt, locker, flags, obj, mode, lockp);
}

int
lock_put(DB_LOCKTAB *lt, DB_LOCK lock)
{
	int ret;

	if ((lt == NULL || !table_ready(lt)) && (ret = table_enter(lt, "lock_put")) != 0)
		return ret;
	return keep(lt, 0, lock) ? 0 : lock_put_one(lt, 0, lock, false);
}
