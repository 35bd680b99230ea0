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
 * The two swaps are most of what is left, and a word that one has just stored is slow to read.  So
 * each thread remembers the word of the lock that it has taken last, and swaps that without a look:
 * a word says the life, and is never the same again.  And the way to the cell is kept short: the
 * slot that was taken after the last one when that was taken before is looked at first, without a
 * hash or the index, and fetched a step early.
 */
#include "table.h"

#include "point.h"

#define CHAIN_MOST 16u	/* a longer way is not a short one */
#define MISSES_MANY 64u /* then only each LOOK_EACHth name is looked for */
#define LOOK_EACH 16u
#define RETAKES_MOST (UINT32_MAX / 2) /* then it is counted, and granted anew */

/* From IDLE to HELD, in a new life. */
#define TAKE (((uint64_t)1 << WORD_LIFE_SHIFT) + CELL_HELD - CELL_IDLE)

/* What this thread has taken again last. */
static __thread struct {
	uint64_t serial; /* of the handle */
	DB_LOCK birth;	 /* the lock, as it was granted first */
	DB_LOCK lock;	 /* as it was taken */
	uint64_t word;	 /* then */
} taken __attribute__((tls_model("initial-exec")));

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

/* Where there are no threads: the byte of the slot that the cell names now, or NULL. */
static uint8_t *
held_byte(const DB_LOCKTAB *lt, const struct lock_cell *c)
{
	const struct mine *m = lt->threaded ? NULL : mine_at(lt, load_relaxed(&c->u.lock.locker));

	return m != NULL && m->set != NULL ? own_held(m->set, load_relaxed(&c->u.lock.slot)) : NULL;
}

/* The word of the slot's lock, if that is IDLE still; one that is remembered may be out of date. */
static inline bool
idle_word(const DB_LOCKTAB *lt, const struct lock_cell *c, const struct own *e, DB_LOCK birth,
    uint64_t *wp)
{
	if (taken.birth == birth && taken.serial == lt->serial) {
		*wp = taken.word + CELL_IDLE - CELL_HELD;
		return true;
	}
	*wp = load_acquire(&c->word);
	return (uint32_t)*wp == e->idle && load_relaxed(&c->u.lock.born) == birth >> 32;
}

/* The lock of that slot, as it was granted first, if it is IDLE still. */
static inline bool
take(DB_LOCKTAB *lt, struct own *e, DB_LOCK birth, DB_LOCK *lockp)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)birth);
	uint8_t *byte;
	uint64_t w;

	if (c == NULL)
		return false;
	LOCK_POINT(POINT_MATCHED);
	if (!idle_word(lt, c, e, birth, &w) ||
	    word_life(w) - (uint32_t)(birth >> 32) >= RETAKES_MOST ||
	    !cas_seq(&c->word, &w, w + TAKE)) {
		taken.birth = 0;
		return false;
	}
	LOCK_POINT(POINT_TAKEN);
	if (e->used == 0)
		store_relaxed(&e->used, 1);
	if ((byte = held_byte(lt, c)) != NULL)
		*byte = true;
	taken.serial = lt->serial;
	taken.birth = birth;
	taken.word = w + TAKE;
	taken.lock = *lockp = lock_of(word_life(w) + 1, (uint32_t)birth);
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

/*
 * Is it worth a look into the index, which is a load from memory or two?  Seldom, if what was asked
 * for lately was not there.  What is kept and not looked for is granted anew.
 */
static inline bool
worth_a_look(struct own_set *s)
{
	uint32_t n = load_relaxed(&s->misses);

	store_relaxed(&s->misses, n + 1);
	return n < MISSES_MANY || n % LOOK_EACH == 0;
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

/* Its locks, if obj's name is one by which locks are kept, and locker has any. */
static inline struct own_set *
set_for(const DB_LOCKTAB *lt, uint32_t locker, uint32_t flags, const DBT *obj)
{
	const struct mine *m = mine_at(lt, locker);

	return m != NULL && (flags & ~(uint32_t)DB_LOCK_NOWAIT) == 0 && obj != NULL &&
		obj->data != NULL && obj->size - 1 < OWN_NAME ?
	    load_acquire(&m->set) :
	    NULL;
}

static inline bool
take_guessed(DB_LOCKTAB *lt, struct own_set *s, const DBT *obj, uint32_t mode, DB_LOCK *lockp)
{
	struct own *e = load_relaxed(&s->follows);
	DB_LOCK birth = e != NULL ? match(e, obj, mode) : 0;

	if (birth == 0 || !take(lt, e, birth, lockp))
		return false;
	remember(s, e, e);
	return true;
}

static __attribute__((noinline)) bool
take_found(DB_LOCKTAB *lt, struct own_set *s, const DBT *obj, uint32_t mode, DB_LOCK *lockp)
{
	struct own *guess = load_relaxed(&s->follows), *e;
	DB_LOCK birth;

	if (!worth_a_look(s) || (e = find(s, obj, mode, &birth)) == NULL ||
	    !take(lt, e, birth, lockp))
		return false;
	store_relaxed(&s->misses, 0);
	remember(s, e, guess);
	return true;
}

/*
 * The word of a lock of this handle, and of the locker if one is given, if it can be kept; one that
 * is remembered may be out of date.
 */
static inline bool
keep_word(
    const DB_LOCKTAB *lt, const struct lock_cell *c, uint32_t locker, DB_LOCK lock, uint64_t *wp)
{
	if (taken.lock == lock && taken.serial == lt->serial && locker == 0) {
		*wp = taken.word;
		return true;
	}
	*wp = load_acquire(&c->word);
	return (*wp & (WORD_KIND | WORD_FIRM)) == CELL_HELD && word_life(*wp) == lock >> 32 &&
	    load_relaxed(&c->u.lock.client) == lt->self &&
	    (locker == 0 || load_relaxed(&c->u.lock.locker) == locker);
}

static inline bool
keep(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)lock);
	uint8_t *byte;
	uint64_t w;

	if (c == NULL || !keep_word(lt, c, locker, lock, &w))
		return false;
	LOCK_POINT(POINT_KEEPING);
	/* it is the lock's if the word is, and another's may be there as soon as it is IDLE */
	byte = held_byte(lt, c);
	if (!cas_seq(&c->word, &w, w + CELL_IDLE - CELL_HELD))
		return false;
	if (byte != NULL)
		*byte = false;
	return true;
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
	struct own_set *s;
	int ret;

	if ((lt == NULL || !table_ready(lt)) && (ret = table_enter(lt, "lock_get")) != 0)
		return ret;
	if (lockp == NULL)
		return no_place(lt, "lock_get");
	if ((s = set_for(lt, locker, flags, obj)) != NULL &&
	    (take_guessed(lt, s, obj, mode, lockp) || take_found(lt, s, obj, mode, lockp)))
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
