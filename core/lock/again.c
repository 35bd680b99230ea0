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
 * but the word, and a byte beside the slot where there are no threads; so there is nothing that
 * another thread of the same locker could find half done.
 */
#include "table.h"

#include "point.h"

#define CHAIN_MOST 16u		      /* a longer way is not a short one */
#define RETAKES_MOST (UINT32_MAX / 2) /* then it is counted, and granted anew */

#define WORD_KIND 0x7fu

static inline bool
is_the_name(const struct own *e, const uint8_t *name, uint32_t size)
{
	const uint8_t *own = e->name;
	uint32_t i;

	if (size < 8) {
		for (i = 0; i < size && own[i] == name[i]; i++)
			continue;
		return i == size;
	}
	for (i = 0; i + 8 <= size; i += 8)
		if (bytes_8(own + i) != bytes_8(name + i))
			return false;
	return bytes_8(own + size - 8) == bytes_8(name + size - 8);
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
	w = load_acquire(&c->word);
	if ((uint32_t)w != e->idle || load_relaxed(&c->u.lock.born) != born ||
	    word_life(w) - born >= RETAKES_MOST ||
	    !cas_seq(&c->word, &w, w + ((uint64_t)1 << WORD_LIFE_SHIFT) + CELL_HELD - CELL_IDLE))
		return false;
	LOCK_POINT(POINT_TAKEN);
	if (e->used == 0)
		store_relaxed(&e->used, 1);
	if (!lt->threaded)
		*e->held = 1;
	*lockp = (DB_LOCK)(word_life(w) + 1) << 32 | (uint32_t)birth;
	return true;
}

static inline bool
take_again(DB_LOCKTAB *lt, uint32_t locker, const DBT *obj, uint32_t mode, DB_LOCK *lockp)
{
	const struct mine *m = mine_at(lt, locker);
	const struct own_set *s = m != NULL ? load_acquire(&m->set) : NULL;
	uint32_t hash, idle, steps = 0;
	struct own *e;
	DB_LOCK birth;

	if (s == NULL || obj == NULL || obj->data == NULL || obj->size - 1 >= OWN_NAME)
		return false;
	hash = object_hash(obj->data, obj->size);
	idle = (uint32_t)cell_word(CELL_IDLE, mode, hash_part(hash), 0);
	e = load_acquire(own_chain(load_acquire(&s->index), hash));
	for (; e != NULL && steps++ < CHAIN_MOST; e = load_relaxed(&e->next)) {
		birth = load_acquire(&e->lock);
		if (e->hash == hash && e->idle == idle && birth != 0 && e->size == obj->size &&
		    is_the_name(e, obj->data, obj->size) && load_acquire(&e->lock) == birth)
			return take(lt, e, birth, lockp);
	}
	return false;
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
