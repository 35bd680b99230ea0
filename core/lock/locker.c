/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/locker.c - lockers: their cells, and what their process alone knows about them.
 *
 * A locker's number is its cell's, with the low bits of the cell's life above it: so it is unlike
 * all other live ones without a look at them.  The cell, in the reserve, says whose it is and
 * how old; the process keeps the list of its locks to itself, where nobody can damage it.
 *
 * A list is guarded by the locker's busy word, in DB_THREAD handles only.  Chunks of lockers are
 * never freed before the handle.
 */
#include "table.h"

#include <stdlib.h>
#include <unistd.h>

#define CELL_BITS 24

static uint32_t
id_cell(uint32_t id)
{
	return id & ((1u << CELL_BITS) - 1);
}

static struct mine *
mine_at(DB_LOCKTAB *lt, uint32_t cell)
{
	struct mine *chunk = load_acquire(&lt->mine[cell / MINE_CHUNK]);

	return chunk != NULL ? &chunk[cell % MINE_CHUNK] : NULL;
}

struct mine *
locker_find(DB_LOCKTAB *lt, uint32_t id)
{
	struct mine *m = NULL;

	if (id_cell(id) <= CELLS_MAX)
		m = mine_at(lt, id_cell(id));
	if (id != 0 && m != NULL && load_relaxed(&m->id) == id)
		return m;
	env_err(lt->dbenv, "locker %#x is not one that lock_id gave to this handle", id);
	return NULL;
}

struct lock_cell *
locker_cell(DB_LOCKTAB *lt, uint32_t id)
{
	struct lock_cell *c = cell_of(lt, id_cell(id), CELL_LOCKER, RESERVE);

	return c != NULL && c->u.locker.id == id ? c : NULL;
}

struct lock_cell *
locker_head(DB_LOCKTAB *lt, uint32_t id)
{
	struct lock_cell *c = locker_cell(lt, id), *head;

	if (c == NULL || c->u.locker.family == 0)
		return c;
	head = locker_cell(lt, c->u.locker.family);
	return head != NULL ? head : c;
}

void
locker_count_wait(DB_LOCKTAB *lt, uint32_t id, int by)
{
	struct lock_cell *c = locker_cell(lt, id), *head = locker_head(lt, id);

	if (c != NULL)
		(void)add_seq(&c->u.locker.waiting, (uint32_t)by);
	if (head != NULL && head != c)
		(void)add_seq(&head->u.locker.waiting, (uint32_t)by);
}

/* The private half of the locker with that cell. */
static int
mine_make(DB_LOCKTAB *lt, uint32_t cell, struct mine **mp)
{
	struct mine *chunk = NULL;
	int ret = 0;

	pthread_mutex_lock(&lt->mutex);
	if (lt->mine[cell / MINE_CHUNK] == NULL &&
	    (ret = os_calloc(MINE_CHUNK, sizeof(*chunk), (void **)&chunk)) == 0)
		store_release(&lt->mine[cell / MINE_CHUNK], chunk);
	pthread_mutex_unlock(&lt->mutex);
	if (ret == 0)
		*mp = mine_at(lt, cell);
	return ret;
}

/* A cell of the reserve becomes a locker, if there may be one more.  *cp is NULL if not. */
static int
locker_take_cell(DB_LOCKTAB *lt, int32_t pid, uint32_t family, struct lock_cell **cp, uint32_t *idp)
{
	struct lock_table *t = lt->table;
	struct lock_cell *c = NULL;
	uint32_t life;
	int ret;

	if ((ret = part_lock(lt, RESERVE)) != 0)
		return ret;
	if (t->nlockers < LOCKERS_MAX && (c = cell_pop(lt, RESERVE)) != NULL) {
		life = word_life(load_relaxed(&c->word));
		*idp = cell_number(lt, c) | (life & 0xff) << CELL_BITS;
		c->u.locker.id = *idp;
		c->u.locker.client = lt->self;
		c->u.locker.waiting = 0;
		c->u.locker.pid = pid;
		c->u.locker.family = family;
		c->u.locker.age = ++t->age;
		store_release(&c->word, cell_word(CELL_LOCKER, 0, RESERVE, life));
		t->nlockers++;
	}
	part_unlock(lt, RESERVE);
	*cp = c;
	return 0;
}

static int
locker_give_back(DB_LOCKTAB *lt, uint32_t id)
{
	struct lock_cell *c;
	int ret;

	if ((ret = part_lock(lt, RESERVE)) != 0)
		return ret;
	if ((c = locker_cell(lt, id)) != NULL && c->u.locker.client == lt->self) {
		cell_push(lt, RESERVE, c);
		if (lt->table->nlockers > 0)
			lt->table->nlockers--;
	}
	part_unlock(lt, RESERVE);
	return 0;
}

/* --- the list of a locker's locks ---------------------------------------------------------- */

static void
mine_lock(const DB_LOCKTAB *lt, struct mine *m)
{
	while (lt->threaded && exchange_seq(&m->busy, 1) != 0)
		os_yield();
}

static void
mine_unlock(const DB_LOCKTAB *lt, struct mine *m)
{
	if (lt->threaded)
		store_release(&m->busy, 0);
}

int
mine_reserve(DB_LOCKTAB *lt, struct mine *m)
{
	uint32_t room;
	DB_LOCK *more;
	int ret = 0;

	if (m->n < m->room && !lt->threaded)
		return 0;
	mine_lock(lt, m);
	/* As many threads as may be between here and mine_add. */
	if (m->n + LOCK_PARTS >= m->room) {
		room = m->room == 0 ? 2 * LOCK_PARTS : 2 * m->room;
		if ((more = realloc(m->locks, room * sizeof(*more))) == NULL)
			ret = m->n < m->room ? 0 : ENOMEM;
		else {
			m->locks = more;
			m->room = room;
		}
	}
	mine_unlock(lt, m);
	return ret;
}

/*
 * The cell of a lock tells its place in the list, to save the search.  Not where threads share a
 * locker: another may have put the lock by now, and the cell may be anything.
 */
void
mine_add(DB_LOCKTAB *lt, struct mine *m, DB_LOCK lock)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)lock);

	mine_lock(lt, m);
	if (m->n < m->room) {
		if (c != NULL && !lt->threaded)
			store_relaxed(&c->u.lock.next_wait, m->n);
		m->locks[m->n++] = lock;
	}
	mine_unlock(lt, m);
}

void
mine_remove(DB_LOCKTAB *lt, struct mine *m, DB_LOCK lock, uint32_t slot)
{
	struct lock_cell *c;

	mine_lock(lt, m);
	/* The slot is a hint: it has been in shared memory. */
	if (slot >= m->n || m->locks[slot] != lock)
		for (slot = m->n; slot > 0 && m->locks[slot - 1] != lock; slot--)
			continue;
	else
		slot++;
	if (slot > 0 && slot < m->n) {
		m->locks[slot - 1] = m->locks[m->n - 1];
		if (!lt->threaded && (c = cell_at(lt, (uint32_t)m->locks[slot - 1])) != NULL)
			store_relaxed(&c->u.lock.next_wait, slot - 1);
	}
	if (slot > 0)
		m->n--;
	mine_unlock(lt, m);
}

DB_LOCK
mine_last(DB_LOCKTAB *lt, struct mine *m)
{
	DB_LOCK lock;

	mine_lock(lt, m);
	lock = m->n > 0 ? m->locks[m->n - 1] : 0;
	mine_unlock(lt, m);
	return lock;
}

/* --- coming and going ---------------------------------------------------------------------- */

static bool
locker_is_idle(DB_LOCKTAB *lt, const struct mine *m)
{
	const struct lock_cell *c = locker_cell(lt, m->id);

	return m->n == 0 && c != NULL && load_seq(&c->u.locker.waiting) == 0;
}

int
locker_free(DB_LOCKTAB *lt, struct mine *m)
{
	uint32_t id = m->id;

	mine_lock(lt, m);
	free(m->locks);
	m->locks = NULL;
	m->room = m->n = 0;
	store_relaxed(&m->id, 0);
	mine_unlock(lt, m);
	return locker_give_back(lt, id);
}

/* Take back the next of the handle's lockers that is not needed.  ENOMEM: there is none. */
static int
locker_recycle(DB_LOCKTAB *lt)
{
	struct mine *m = NULL;
	int ret = ENOMEM;

	pthread_mutex_lock(&lt->mutex);
	for (uint32_t steps = 0; steps < lt->ncells + MINE_CHUNK; steps++) {
		lt->hand = lt->hand < lt->ncells ? lt->hand + 1 : 0;
		m = mine_at(lt, lt->hand);
		if (m != NULL && m->id != 0 && locker_is_idle(lt, m)) {
			ret = locker_free(lt, m);
			break;
		}
	}
	pthread_mutex_unlock(&lt->mutex);
	return ret;
}

int
locker_new(DB_LOCKTAB *lt, int32_t pid, uint32_t family, uint32_t *idp)
{
	struct lock_cell *c = NULL;
	struct mine *m;
	uint32_t id;
	int ret;

	while ((ret = locker_take_cell(lt, pid, family, &c, &id)) == 0 && c == NULL) {
		ret = ENOMEM;
		if (load_relaxed(&lt->table->nlockers) < LOCKERS_MAX)
			ret = cells_provide(lt, RESERVE, 1, false);
		if (ret == ENOMEM && (ret = locker_recycle(lt)) == ENOMEM)
			env_err(lt->dbenv, "lock_id: there are %u lockers, and no room for more",
			    load_relaxed(&lt->table->nlockers));
		if (ret != 0)
			return ret;
	}
	if (ret != 0)
		return ret;
	if ((ret = mine_make(lt, id_cell(id), &m)) != 0) {
		(void)locker_give_back(lt, id);
		return ret;
	}
	store_release(&m->id, id);
	*idp = id;
	return 0;
}

int
lock_id(DB_LOCKTAB *lt, u_int32_t *idp)
{
	int ret;

	if ((ret = table_enter(lt, "lock_id")) != 0)
		return ret;
	if (idp == NULL)
		return EINVAL;
	return locker_new(lt, (int32_t)getpid(), 0, idp);
}

int
lock_id_free(DB_LOCKTAB *lt, u_int32_t id)
{
	struct mine *m;
	int ret;

	if ((ret = table_enter(lt, "lock_id_free")) != 0)
		return ret;
	if ((m = locker_find(lt, id)) == NULL)
		return EINVAL;
	if (!locker_is_idle(lt, m)) {
		env_err(lt->dbenv, "lock_id_free: locker %#x has %u locks", id, m->n);
		return EINVAL;
	}
	return locker_free(lt, m);
}

void
lockers_forget(DB_LOCKTAB *lt)
{
	for (size_t i = 0; i < sizeof(lt->mine) / sizeof(lt->mine[0]); i++) {
		for (uint32_t k = 0; lt->mine[i] != NULL && k < MINE_CHUNK; k++)
			free(lt->mine[i][k].locks);
		free(lt->mine[i]);
		lt->mine[i] = NULL;
	}
}
