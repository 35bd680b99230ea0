/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/own.c - what a process knows about its lockers' locks, and the short way to take one again.
 *
 * Each lock of a locker has a slot: its handle, and whether it is held.  A lock that was put and
 * stays IDLE in the table (L7) keeps its slot, with a copy of the object's name, and is found again
 * by the name's hash without a look at the table; one compare-and-swap on its cell's word takes
 * it, in a new life, so that each grant has a handle of its own.  All of this is private memory:
 * nobody can damage it, and what it says about the table may be out of date, which the swap tells.
 *
 * Slots never move and are not freed before the handle, so that threads of one locker need no lock
 * to read them: a slot's handle is stored last when the slot is filled and cleared first when it
 * is dropped, and whoever wins the swap on the cell has the slot.  held is stored after the swap
 * that takes a lock and cleared before the one that puts it.  What is linked - the index, the free
 * slots - is guarded by busy.
 *
 * Not more than kept_max locks of a handle are kept.  Beyond that, one new one in NEWCOMERS is, for
 * which another that is idle in the same partition is given up while that is locked anyway: so what
 * is used again comes to be kept, and what is used once costs little.
 */
#include "table.h"

#include <stdlib.h>

#define NEWCOMERS 64u
#define CHAIN_MOST 16u		      /* a longer way is not a short one */
#define RETAKES_MOST (UINT32_MAX / 2) /* then it is counted, and granted anew */

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
	unsigned k = 0;

	while (e->held - s->held[k] < 0 || e->held - s->held[k] >= (ptrdiff_t)(OWN_FIRST << k))
		k++;
	return OWN_FIRST * ((1u << k) - 1) + (uint32_t)(e->held - s->held[k]) + 1;
}

static int
segment_add(struct own_set *s, unsigned k)
{
	uint32_t n = OWN_FIRST << k;
	void *own = NULL, *held = NULL;
	int ret;

	if (k >= OWN_SEGMENTS)
		return ENOMEM;
	if ((ret = os_calloc(n, sizeof(struct own), &own)) != 0 ||
	    (ret = os_calloc(n, 1, &held)) != 0) {
		free(own);
		return ret;
	}
	s->segments[k] = own;
	s->held[k] = held;
	for (uint32_t i = 0; i < n; i++)
		s->segments[k][i].held = &s->held[k][i];
	return 0;
}

/* --- the index ----------------------------------------------------------------------------- */

static inline struct own **
chain_of(const struct own_index *x, uint32_t hash)
{
	return (struct own **)(uintptr_t)&x->at[hash & x->mask];
}

static void
index_put(const struct own_index *x, struct own *e)
{
	struct own **at = chain_of(x, e->hash);

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

	for (at = chain_of(s->index, e->hash); *at != NULL; at = &(*at)->next)
		if (*at == e) {
			store_relaxed(at, e->next);
			s->nown--;
			return;
		}
}

/* --- coming and going ---------------------------------------------------------------------- */

/*
 * The word of the cell that the slot means, in whatever life; 0: it is not ours any more.  One
 * whose lock is just being taken again is.
 */
static uint64_t
own_word(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot, const struct own *e)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)load_relaxed(&e->lock));
	uint64_t w = c != NULL ? load_acquire(&c->word) : 0;

	return (kind_is_holder(word_kind(w)) || word_kind(w) == CELL_RELEASED) &&
		c->u.lock.client == lt->self && c->u.lock.locker == m->id &&
		c->u.lock.slot == slot ?
	    w :
	    0;
}

/* busy is held. */
static void
slot_release(DB_LOCKTAB *lt, struct own_set *s, struct own *e)
{
	store_release(&e->lock, 0);
	store_relaxed(e->held, 0);
	if (e->size != 0) {
		index_remove(s, e);
		(void)sub_seq(&lt->nkept, 1);
		e->size = 0;
	}
	e->next = s->free;
	s->free = e;
}

/* What others have released meanwhile. */
static void
drop_stale(DB_LOCKTAB *lt, struct mine *m)
{
	struct own_set *s = m->set;

	for (uint32_t slot = 1; slot <= s->nslots; slot++) {
		struct own *e = own_at(s, slot);

		if (e->lock != 0 && own_word(lt, m, slot, e) == 0)
			slot_release(lt, s, e);
	}
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
		drop_stale(lt, m);
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

/* One that is idle and was not used lately, of the chains of that partition. */
static struct own *
find_victim(struct own_set *s, uint32_t part)
{
	uint32_t n = (uint32_t)(s->index->mask + 1) / LOCK_PARTS, looks = 0;

	for (uint32_t i = 0; i < 2 * n && looks < 4 * CHAIN_MOST; i++) {
		s->hand++;
		for (struct own *e = s->index->at[s->hand % n * LOCK_PARTS + part]; e != NULL;
		     e = e->next) {
			looks++;
			if (e->lock == 0 || load_relaxed(e->held) != 0)
				continue;
			if (e->used == 0 || looks >= 2 * CHAIN_MOST)
				return e;
			store_relaxed(&e->used, 0);
		}
	}
	return NULL;
}

/* busy is held.  May one more be kept, or instead of which? */
static void
keep_reserve(DB_LOCKTAB *lt, struct own_set *s, uint32_t part, struct own_place *place)
{
	struct own *e = NULL;

	if (load_relaxed(&lt->nkept) >= lt->kept_max) {
		if (s->newcomers++ % NEWCOMERS != 0 || (e = find_victim(s, part)) == NULL)
			return;
		place->victim_slot = slot_of(s, e);
		place->victim = e->lock;
	}
	(void)add_seq(&lt->nkept, 1);
	place->keep = true;
}

int
own_reserve(DB_LOCKTAB *lt, struct mine *m, uint32_t part, bool want_keep, struct own_place *place)
{
	int ret;

	*place = (struct own_place){ 0 };
	if (load_acquire(&m->set) == NULL && (ret = set_make(lt, m)) != 0)
		return ret;
	set_lock(lt, m->set);
	if ((ret = slot_take(lt, m, &place->slot)) == 0 && want_keep)
		keep_reserve(lt, m->set, part, place);
	set_unlock(lt, m->set);
	return ret;
}

void
own_cancel(DB_LOCKTAB *lt, struct mine *m, uint32_t slot)
{
	struct own *e;

	if (slot == 0)
		return;
	set_lock(lt, m->set);
	e = own_at(m->set, slot);
	e->next = m->set->free;
	m->set->free = e;
	set_unlock(lt, m->set);
}

/* Only what is linked wants busy: a slot that was reserved is the caller's. */
static void
keep_fill(DB_LOCKTAB *lt, struct own_set *s, struct own *e, const DBT *obj)
{
	memcpy(e->name, obj->data, obj->size);
	set_lock(lt, s);
	e->size = (uint8_t)obj->size;
	/* chains of one for the most part */
	if (2 * s->nown++ > s->index->mask)
		(void)index_grow(s);
	index_put(s->index, e);
	set_unlock(lt, s);
}

void
own_fill(DB_LOCKTAB *lt, struct mine *m, uint32_t slot, DB_LOCK lock, const DBT *obj, uint32_t hash,
    uint32_t mode)
{
	struct own_set *s = m->set;
	struct own *e = s != NULL ? own_at(s, slot) : NULL;

	if (e == NULL)
		return;
	e->hash = hash;
	e->mode = (uint8_t)mode;
	e->born = (uint32_t)(lock >> 32);
	e->used = 0;
	store_relaxed(e->held, 1);
	if (obj != NULL)
		keep_fill(lt, s, e, obj);
	store_release(&e->lock, lock);
}

void
own_drop(DB_LOCKTAB *lt, struct mine *m, uint32_t slot, DB_LOCK lock)
{
	struct own_set *s = m->set;
	struct own *e = s != NULL ? own_at(s, slot) : NULL;

	if (e == NULL)
		return;
	set_lock(lt, s);
	if (e->lock == lock)
		slot_release(lt, s, e);
	set_unlock(lt, s);
}

void
own_drop_if_gone(DB_LOCKTAB *lt, struct mine *m, uint32_t slot, DB_LOCK lock)
{
	struct own_set *s = m->set;
	struct own *e = s != NULL ? own_at(s, slot) : NULL;

	if (e == NULL)
		return;
	set_lock(lt, s);
	if (e->lock == lock && own_word(lt, m, slot, e) == 0)
		slot_release(lt, s, e);
	set_unlock(lt, s);
}

/* While threads take and put, what the slots say is a step behind; the table is not. */
static DB_LOCK
next_in_table(DB_LOCKTAB *lt, const struct mine *m, uint32_t *slotp)
{
	const struct own_set *s = load_acquire(&m->set);
	uint32_t n = s != NULL ? load_acquire(&s->nslots) : 0;
	DB_LOCK lock;
	uint64_t w;

	for (uint32_t slot = *slotp + 1; slot <= n; slot++) {
		const struct own *e = own_at(s, slot);

		if ((lock = load_acquire(&e->lock)) == 0)
			continue;
		w = own_word(lt, m, slot, e);
		if (word_kind(w) == CELL_HELD || word_kind(w) == CELL_RELEASED) {
			*slotp = slot;
			return (DB_LOCK)word_life(w) << 32 | (uint32_t)lock;
		}
	}
	*slotp = 0;
	return 0;
}

static DB_LOCK
next_in_slots(const struct mine *m, uint32_t *slotp)
{
	const struct own_set *s = load_acquire(&m->set);
	uint32_t n = s != NULL ? load_acquire(&s->nslots) : 0;
	const uint8_t *held;
	DB_LOCK lock;
	unsigned k;
	uint32_t i;

	for (uint32_t slot = *slotp + 1; slot <= n; slot++) {
		k = segment_of(slot, &i);
		held = &s->held[k][i];
		if (load_relaxed(held) != 0 &&
		    (lock = load_relaxed(&s->segments[k][i].lock)) != 0) {
			*slotp = slot;
			return lock;
		}
	}
	*slotp = 0;
	return 0;
}

DB_LOCK
own_next_held(DB_LOCKTAB *lt, const struct mine *m, uint32_t *slotp)
{
	return lt->threaded ? next_in_table(lt, m, slotp) : next_in_slots(m, slotp);
}

uint32_t
own_count(DB_LOCKTAB *lt, struct mine *m)
{
	struct own_set *s = m->set;
	uint32_t n = 0;

	if (s == NULL)
		return 0;
	set_lock(lt, s);
	drop_stale(lt, m);
	for (uint32_t slot = 1; slot <= s->nslots; slot++) {
		const struct own *e = own_at(s, slot);

		n += e->lock != 0 && word_kind(own_word(lt, m, slot, e)) == CELL_HELD;
	}
	set_unlock(lt, s);
	return n;
}

/* --- what is kept -------------------------------------------------------------------------- */

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

/* False: its lock is not IDLE any more. */
static inline bool
retake(DB_LOCKTAB *lt, struct own *e, DB_LOCK *lockp)
{
	uint32_t life = (uint32_t)(*lockp >> 32), part = hash_part(e->hash);
	struct lock_cell *c = cell_at(lt, (uint32_t)*lockp);
	uint64_t w = cell_word(CELL_IDLE, e->mode, part, life);
	DB_LOCK lock = *lockp + ((DB_LOCK)1 << 32);

	if (c == NULL || life - e->born >= RETAKES_MOST ||
	    !cas_seq(&c->word, &w, cell_word(CELL_HELD, e->mode, part, life + 1)))
		return false;
	store_release(&e->lock, lock);
	store_relaxed(e->held, 1);
	store_relaxed(&e->used, 1);
	*lockp = lock;
	return true;
}

bool
own_retake(DB_LOCKTAB *lt, uint32_t locker, const DBT *obj, uint32_t mode, DB_LOCK *lockp)
{
	const struct mine *m = mine_at(lt, locker);
	const struct own_set *s = m != NULL ? load_acquire(&m->set) : NULL;
	uint32_t hash, steps = 0;
	struct own *e;
	DB_LOCK lock;

	if (s == NULL || obj == NULL || obj->data == NULL || obj->size - 1 >= OWN_NAME)
		return false;
	hash = object_hash(obj->data, obj->size);
	e = load_acquire(chain_of(load_acquire(&s->index), hash));
	for (; e != NULL && steps++ < CHAIN_MOST; e = load_relaxed(&e->next)) {
		lock = load_acquire(&e->lock);
		if (e->hash != hash || lock == 0)
			continue;
		if (e->mode != mode || e->size != obj->size ||
		    !is_the_name(e, obj->data, obj->size) || load_acquire(&e->lock) != lock)
			continue;
		if (!retake(lt, e, &lock))
			return false;
		*lockp = lock;
		return true;
	}
	return false;
}

/* The slot of a lock of ours, and whose it is. */
static inline struct own *
own_of(const DB_LOCKTAB *lt, const struct lock_cell *c, uint32_t locker, DB_LOCK lock)
{
	const struct mine *m = mine_at(lt, load_relaxed(&c->u.lock.locker));
	const struct own_set *s;
	struct own *e;

	if (m == NULL || (locker != 0 && m->id != locker) || (s = load_acquire(&m->set)) == NULL ||
	    (e = own_at(s, load_relaxed(&c->u.lock.slot))) == NULL)
		return NULL;
	return load_acquire(&e->lock) == lock ? e : NULL;
}

bool
own_idle(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)lock);
	uint32_t life = (uint32_t)(lock >> 32), part;
	struct own *e;
	uint64_t w;

	if (c == NULL || (e = own_of(lt, c, locker, lock)) == NULL || e->size == 0)
		return false;
	part = hash_part(e->hash);
	w = cell_word(CELL_HELD, e->mode, part, life);
	store_relaxed(e->held, 0);
	if (cas_seq(&c->word, &w, cell_word(CELL_IDLE, e->mode, part, life)))
		return true;
	store_relaxed(e->held, word_kind(w) == CELL_HELD && word_life(w) == life);
	return false;
}

/* One kept lock goes, with its partition locked for that. */
static int
give_up(DB_LOCKTAB *lt, DB_LOCK lock)
{
	struct lock_cell *c = cell_by_handle(lt, lock);
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
		own_drop(lt, m, slot, e->lock);
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
