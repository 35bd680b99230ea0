/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/locker.c - lockers: their cells, and what their process alone knows about them.
 *
 * A locker's number is its cell's, with the low bits of the cell's life above it: so it is unlike
 * all other live ones without a look at them.  The cell, in the reserve, says whose it is and
 * how old.
 *
 * Chunks of lockers are never freed before the handle.  Which locks they have is own.c's.
 */
#include "table.h"

#include <stdlib.h>
#include <unistd.h>

struct mine *
locker_find(DB_LOCKTAB *lt, uint32_t id)
{
	struct mine *m = mine_at(lt, id);

	if (m != NULL)
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

	if (c == NULL || load_relaxed(&c->u.locker.family) == 0)
		return c;
	head = locker_cell(lt, load_relaxed(&c->u.locker.family));
	return head != NULL ? head : c;
}

void
locker_set_family(DB_LOCKTAB *lt, uint32_t id, uint32_t family)
{
	struct lock_cell *c = locker_cell(lt, id);

	if (c != NULL)
		store_seq(&c->u.locker.family, family);
}

uint32_t
locker_family(DB_LOCKTAB *lt, uint32_t id)
{
	const struct lock_cell *c = locker_cell(lt, id);

	return c != NULL ? load_relaxed(&c->u.locker.family) : 0;
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
		*mp = &lt->mine[cell / MINE_CHUNK][cell % MINE_CHUNK];
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

/* --- coming and going ---------------------------------------------------------------------- */

static bool
locker_is_idle(DB_LOCKTAB *lt, struct mine *m)
{
	const struct lock_cell *c = locker_cell(lt, m->id);

	return c != NULL && load_seq(&c->u.locker.waiting) == 0 && own_count(lt, m) == 0;
}

static int
locker_free(DB_LOCKTAB *lt, struct mine *m)
{
	uint32_t id = m->id;
	int ret = own_clear(lt, m), second;

	store_relaxed(&m->id, 0);
	second = locker_give_back(lt, id);
	return ret != 0 ? ret : second;
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
		m = lt->mine[lt->hand / MINE_CHUNK];
		if (m != NULL)
			m += lt->hand % MINE_CHUNK;
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
		return no_place(lt, "lock_id");
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
		env_err(lt->dbenv, "lock_id_free: locker %#x has %u locks", id, own_count(lt, m));
		return EINVAL;
	}
	return locker_free(lt, m);
}

void
lockers_forget(DB_LOCKTAB *lt)
{
	for (size_t i = 0; i < sizeof(lt->mine) / sizeof(lt->mine[0]); i++) {
		for (uint32_t k = 0; lt->mine[i] != NULL && k < MINE_CHUNK; k++)
			own_free(lt->mine[i][k].set);
		free(lt->mine[i]);
		lt->mine[i] = NULL;
	}
}
