/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/own.c - what a process knows about its lockers' locks.
 *
 * Each lock of a locker has a slot, which names it by its cell and the life in which it was granted
 * first: that stays the same however often it is taken again (again.c).  A slot is reserved before
 * the lock is asked for, so that remembering it cannot fail, and gets its lock while the partition
 * is locked in which the lock is made: whoever is granted the same lock in another thread finds it
 * here.  One that may stay IDLE when it is put has a copy of the object's name besides, and is in
 * the index, where it is found by the name's hash.
 *
 * All of this is private memory: nobody can damage it, and what it says about the table may be out
 * of date; so the cell is looked at.  Slots never move and are not freed before the handle, so
 * that threads of one locker need no lock to read them: a slot's lock is stored last when the slot
 * is filled and cleared first when it is dropped.  What is linked - the index, the free slots - is
 * guarded by busy.
 *
 * Not more than kept_max locks of a handle are kept.  Beyond that, one new one in NEWCOMERS is, for
 * which another that is idle in the same partition is given up while that is locked anyway: so what
 * is used again comes to be kept, and what is used once costs little.
 */
#include "table.h"

#include <stdlib.h>

#define NEWCOMERS 128u
#define LOOKS_MOST 64u /* for one to give up */

/* --- slots --------------------------------------------------------------------------------- */

static void
set_lock(const DB_LOCKTAB *lt, struct own_set *s)
{
	while (lt->threaded && exchange_seq(&s->busy, 1) != 0)
		os_yield();
}

static void
set_unlock(const DB_LOCKTAB *lt, struct own_set *s)
{
	if (lt->threaded)
		store_release(&s->busy, 0);
}

/* Which segment a slot is in; *ip: where there. */
static inline unsigned
segment_of(uint32_t slot, uint32_t *ip)
{
	uint32_t n = (slot - 1) / OWN_FIRST + 1;
	unsigned k = 31u - (unsigned)__builtin_clz(n);

	*ip = slot - 1 - OWN_FIRST * ((1u << k) - 1);
	return k;
}

static inline struct own *
own_at(const struct own_set *s, uint32_t slot)
{
	uint32_t i;
	unsigned k;

	if (slot - 1 >= load_acquire(&s->nslots))
		return NULL;
	k = segment_of(slot, &i);
	return &s->segments[k][i];
}

static uint32_t
slot_of(const struct own_set *s, const struct own *e)
{
	unsigned k = e->segment;

	return OWN_FIRST * ((1u << k) - 1) + (uint32_t)(e - s->segments[k]) + 1;
}

static int
segment_add(struct own_set *s, unsigned k)
{
	uint32_t n = OWN_FIRST << k;
	struct own *own = NULL;
	uint8_t *held = NULL;
	int ret;

	if (k >= OWN_SEGMENTS)
		return ENOMEM;
	if ((ret = os_calloc(n, sizeof(*own), (void **)&own)) != 0 ||
	    (ret = os_calloc(n, 1, (void **)&held)) != 0) {
		free(own);
		return ret;
	}
	for (uint32_t i = 0; i < n; i++)
		own[i].segment = (uint8_t)k;
	s->segments[k] = own;
	s->held[k] = held;
	return 0;
}

uint8_t *
own_held(const struct own_set *s, uint32_t slot)
{
	uint32_t i;
	unsigned k;

	if (slot - 1 >= load_acquire(&s->nslots))
		return NULL;
	k = segment_of(slot, &i);
	return &s->held[k][i];
}

/* --- the index ----------------------------------------------------------------------------- */

static void
index_put(const struct own_index *x, struct own *e)
{
	struct own **at = own_chain(x, e->hash);

	store_relaxed(&e->next, *at);
	store_release(at, e);
}

/* Not fewer chains than partitions; more as there are more slots in it. */
static int
index_grow(struct own_set *s)
{
	uint64_t n = s->index == NULL ? LOCK_PARTS : 4 * (s->index->mask + 1);
	struct own_index *x = NULL, *old = s->index;
	struct own *e, *next;
	int ret;

	if ((ret = os_calloc(1, sizeof(*x) + n * sizeof(x->at[0]), (void **)&x)) != 0)
		return old != NULL ? 0 : ret;
	x->mask = n - 1;
	x->older = old;
	for (uint64_t b = 0; old != NULL && b <= old->mask; b++)
		for (e = old->at[b]; e != NULL; e = next) {
			next = e->next;
			index_put(x, e);
		}
	store_release(&s->index, x);
	return 0;
}

static void
index_remove(struct own_set *s, struct own *e)
{
	struct own **at;

	for (at = own_chain(s->index, e->hash); *at != NULL; at = &(*at)->next)
		if (*at == e) {
			store_relaxed(at, e->next);
			s->nown--;
			return;
		}
}

/* --- coming and going ---------------------------------------------------------------------- */

/* The word of the cell that the slot means; 0: it is not ours any more. */
static uint64_t
own_word(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot, const struct own *e)
{
	DB_LOCK lock = load_relaxed(&e->lock);
	const struct lock_cell *c = cell_at(lt, (uint32_t)lock);
	uint64_t w = c != NULL ? load_acquire(&c->word) : 0;
	bool is = kind_is_holder(word_kind(w)) || word_kind(w) == CELL_RELEASED ||
	    word_kind(w) == CELL_WAITING;

	return is && c->u.lock.client == lt->self && c->u.lock.locker == m->id &&
		c->u.lock.slot == slot && c->u.lock.born == lock >> 32 ?
	    w :
	    0;
}

/* busy is held. */
static void
unkeep(DB_LOCKTAB *lt, struct own_set *s, struct own *e)
{
	if (e->size == 0)
		return;
	index_remove(s, e);
	(void)sub_seq(&lt->nkept, 1);
	e->size = 0;
}

/* busy is held. */
static void
slot_release(DB_LOCKTAB *lt, struct own_set *s, struct own *e)
{
	store_release(&e->lock, 0);
	*own_held(s, slot_of(s, e)) = 0;
	unkeep(lt, s, e);
	e->next = s->free;
	s->free = e;
}

/* busy is held.  True: others have released what it had, and it went. */
static bool
drop_if_stale(DB_LOCKTAB *lt, const struct mine *m, struct own *e)
{
	if (e->lock == 0 || own_word(lt, m, slot_of(m->set, e), e) != 0)
		return false;
	slot_release(lt, m->set, e);
	return true;
}

/* What others have released meanwhile goes.  How many are held? */
static uint32_t
drop_stale(DB_LOCKTAB *lt, const struct mine *m)
{
	struct own_set *s = m->set;
	uint32_t n = 0;
	uint64_t w;

	for (uint32_t slot = 1; slot <= s->nslots; slot++) {
		struct own *e = own_at(s, slot);

		if (e->lock == 0)
			continue;
		if ((w = own_word(lt, m, slot, e)) == 0)
			slot_release(lt, s, e);
		n += word_kind(w) == CELL_HELD;
	}
	return n;
}

static int
set_make(DB_LOCKTAB *lt, struct mine *m)
{
	struct own_set *s = NULL;
	int ret = 0;

	pthread_mutex_lock(&lt->mutex);
	if (m->set == NULL && (ret = os_calloc(1, sizeof(*s), (void **)&s)) == 0) {
		if ((ret = index_grow(s)) == 0)
			store_release(&m->set, s);
		else
			free(s);
	}
	pthread_mutex_unlock(&lt->mutex);
	return ret;
}

static int
slot_take(DB_LOCKTAB *lt, struct mine *m, uint32_t *slotp)
{
	struct own_set *s = m->set;
	uint32_t slot = s->nslots + 1, i;
	unsigned k = segment_of(slot, &i);
	int ret;

	if (s->free == NULL && i == 0)
		(void)drop_stale(lt, m);
	if (s->free != NULL) {
		*slotp = slot_of(s, s->free);
		s->free = s->free->next;
		return 0;
	}
	if (s->segments[k] == NULL && (ret = segment_add(s, k)) != 0)
		return ret;
	store_release(&s->nslots, slot);
	*slotp = slot;
	return 0;
}

static bool
is_idle(DB_LOCKTAB *lt, const struct own *e)
{
	const struct lock_cell *c = cell_at(lt, (uint32_t)e->lock);

	return c != NULL && word_kind(load_relaxed(&c->word)) == CELL_IDLE;
}

/*
 * One that is idle and was not used lately, of the chains of that partition.  What is met there and
 * others have released goes.
 */
static struct own *
find_victim(DB_LOCKTAB *lt, const struct mine *m, uint32_t part)
{
	struct own_set *s = m->set;
	uint32_t n = (uint32_t)(s->index->mask + 1) / LOCK_PARTS, looks = 0;
	struct own *e, *next;

	for (uint32_t i = 0; i < 2 * n && looks < LOOKS_MOST; i++) {
		s->hand++;
		for (e = s->index->at[s->hand % n * LOCK_PARTS + part]; e != NULL; e = next) {
			next = e->next;
			looks++;
			if (drop_if_stale(lt, m, e) || !is_idle(lt, e))
				continue;
			if (e->used == 0 || looks >= LOOKS_MOST / 2)
				return e;
			store_relaxed(&e->used, 0);
		}
	}
	return NULL;
}

/* Was it kept by that hash's name before, and others have released it? */
static void
drop_former(DB_LOCKTAB *lt, const struct mine *m, uint32_t hash)
{
	struct own *e, *next;

	for (e = *own_chain(m->set->index, hash); e != NULL; e = next) {
		next = e->next;
		if (e->hash == hash)
			(void)drop_if_stale(lt, m, e);
	}
}

/* busy is held.  May one more be kept, or instead of which? */
static void
keep_reserve(DB_LOCKTAB *lt, const struct mine *m, uint32_t part, struct own_place *place)
{
	struct own *e = NULL;

	if (load_relaxed(&lt->nkept) >= lt->kept_max && m->set->newcomers++ % NEWCOMERS == 0)
		e = find_victim(lt, m, part);
	if (load_relaxed(&lt->nkept) >= lt->kept_max) {
		if (e == NULL)
			return;
		place->victim_slot = slot_of(m->set, e);
		place->victim = e->lock;
	}
	(void)add_seq(&lt->nkept, 1);
	place->keep = true;
}

/* What it is kept by.  busy is held, and the slot has no lock yet. */
static void
keep_fill(struct own_set *s, struct own *e, const DBT *obj)
{
	memcpy(e->name, obj->data, obj->size);
	e->size = (uint8_t)obj->size;
	/* chains of one for the most part */
	if (2 * s->nown++ > s->index->mask)
		(void)index_grow(s);
	index_put(s->index, e);
}

int
own_reserve(DB_LOCKTAB *lt, struct mine *m, const DBT *obj, uint32_t hash, uint32_t mode,
    struct own_place *place)
{
	uint32_t part = hash_part(hash);
	struct own *e;
	int ret;

	*place = (struct own_place){ 0 };
	if (load_acquire(&m->set) == NULL && (ret = set_make(lt, m)) != 0)
		return ret;
	set_lock(lt, m->set);
	drop_former(lt, m, hash);
	if ((ret = slot_take(lt, m, &place->slot)) == 0) {
		e = own_at(m->set, place->slot);
		e->hash = hash;
		e->idle = (uint32_t)cell_word(CELL_IDLE, mode, part, 0);
		e->used = 0;
		if (obj->size <= OWN_NAME)
			keep_reserve(lt, m, part, place);
		if (place->keep)
			keep_fill(m->set, e, obj);
	}
	set_unlock(lt, m->set);
	return ret;
}

void
own_has_lock(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot, DB_LOCK lock, bool held)
{
	struct own *e = slot != 0 ? own_at(m->set, slot) : NULL;

	if (e == NULL)
		return;
	if (!lt->threaded)
		*own_held(m->set, slot) = held;
	store_release(&e->lock, lock);
}

void
own_cancel(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot, DB_LOCK lock)
{
	struct own *e;

	if (slot == 0)
		return;
	set_lock(lt, m->set);
	e = own_at(m->set, slot);
	/* or another thread has seen that its lock is gone */
	if (e->lock == lock)
		slot_release(lt, m->set, e);
	set_unlock(lt, m->set);
}

void
own_keep_not(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot, DB_LOCK lock)
{
	struct own *e = own_at(m->set, slot);

	set_lock(lt, m->set);
	if (e->lock == lock)
		unkeep(lt, m->set, e);
	set_unlock(lt, m->set);
}

void
own_drop(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot)
{
	struct own_set *s = load_acquire(&m->set);
	struct own *e = s != NULL ? own_at(s, slot) : NULL;

	if (e == NULL)
		return;
	set_lock(lt, s);
	(void)drop_if_stale(lt, m, e);
	set_unlock(lt, s);
}

/* Segments have a multiple of 16 slots. */
static inline bool
none_of_8(const uint8_t *held)
{
	uint64_t all;

	memcpy(&all, held, sizeof(all));
	return all == 0;
}

DB_LOCK
own_next_held(DB_LOCKTAB *lt, const struct mine *m, uint32_t *slotp)
{
	const struct own_set *s = load_acquire(&m->set);
	uint32_t n = s != NULL ? load_acquire(&s->nslots) : 0, i;
	DB_LOCK lock;
	unsigned k;
	uint64_t w;

	for (uint32_t slot = *slotp + 1; slot <= n; slot++) {
		k = segment_of(slot, &i);
		if (!lt->threaded && i % 8 == 0 && none_of_8(&s->held[k][i])) {
			slot += 7;
			continue;
		}
		/* Where there are threads only the table knows. */
		if ((!lt->threaded && s->held[k][i] == 0) ||
		    (lock = load_acquire(&s->segments[k][i].lock)) == 0)
			continue;
		w = own_word(lt, m, slot, &s->segments[k][i]);
		if (word_kind(w) == CELL_HELD || word_kind(w) == CELL_RELEASED) {
			*slotp = slot;
			return lock_of(word_life(w), (uint32_t)lock);
		}
	}
	*slotp = 0;
	return 0;
}

uint32_t
own_count(DB_LOCKTAB *lt, struct mine *m)
{
	struct own_set *s = m->set;
	uint32_t n;

	if (s == NULL)
		return 0;
	set_lock(lt, s);
	n = drop_stale(lt, m);
	set_unlock(lt, s);
	return n;
}

/* One kept lock goes, with its partition locked for that. */
static int
give_up(DB_LOCKTAB *lt, DB_LOCK lock)
{
	const struct lock_cell *c = cell_at(lt, (uint32_t)lock);
	uint32_t part = c != NULL ? word_part(load_relaxed(&c->word)) : RESERVE;
	bool gone;
	int ret;

	if (part >= LOCK_PARTS)
		return 0;
	if ((ret = part_lock(lt, part)) != 0)
		return ret;
	ret = lock_give_up(lt, part, lock, &gone);
	part_unlock(lt, part);
	return ret;
}

int
own_clear(DB_LOCKTAB *lt, struct mine *m)
{
	struct own_set *s = m->set;
	uint32_t n = s != NULL ? s->nslots : 0;
	int ret, first = 0;

	for (uint32_t slot = 1; slot <= n; slot++) {
		struct own *e = own_at(s, slot);

		if (e->lock == 0)
			continue;
		if ((ret = give_up(lt, e->lock)) != 0 && first == 0)
			first = ret;
		own_cancel(lt, m, slot, e->lock);
	}
	return first;
}

void
own_free(struct own_set *s)
{
	struct own_index *x, *older;

	if (s == NULL)
		return;
	for (unsigned k = 0; k < OWN_SEGMENTS; k++) {
		free(s->segments[k]);
		free(s->held[k]);
	}
	for (x = s->index; x != NULL; x = older) {
		older = x->older;
		free(x);
	}
	free(s);
}
