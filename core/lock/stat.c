/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/stat.c - the table's numbers: lock_stat, and who has most locks.
 *
 * Counters are kept by partition, under its lock, and are read here without: nobody is held up, and
 * nobody who has stopped or died holds this up.  At rest the sums are exact.
 */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>

static void
add_part(const struct lock_part *p, DB_LOCK_STAT *st)
{
	st->st_nlocks += load_relaxed(&p->nlocks);
	st->st_numobjs += load_relaxed(&p->nobjects);
	st->st_nwaiting += load_relaxed(&p->nwaiting);
	st->st_nrequests += load_relaxed(&p->nrequests);
	st->st_nreleases += load_relaxed(&p->nreleases);
	st->st_nconflicts += load_relaxed(&p->nconflicts);
	st->st_nwaits += load_relaxed(&p->nwaits);
	st->st_ndeadlocks += load_relaxed(&p->ndeadlocks);
	st->st_ntimeouts += load_relaxed(&p->ntimeouts);
	st->st_nrefused += load_relaxed(&p->nrefused);
	st->st_nupgrades += load_relaxed(&p->nupgrades);
}

static void
fill(DB_LOCKTAB *lt, DB_LOCK_STAT *st)
{
	const struct lock_table *t = lt->table;

	memset(st, 0, sizeof(*st));
	for (uint32_t i = 0; i < LOCK_PARTS; i++)
		add_part(&lt->parts[i], st);
	st->st_maxlocks = t->bounded ? load_relaxed(&t->limit) : 0;
	st->st_nmodes = lt->nmodes;
	st->st_nlockers = load_relaxed(&t->nlockers);
	st->st_ndetections = load_relaxed(&t->ndetections);
	st->st_nreaped = load_relaxed(&t->nreaped);
	st->st_clients = client_count(lt->region);
	st->st_detect = lt->detect;
	st->st_regsize = load_relaxed(&lt->region->layout->size);
}

int
lock_stat(DB_LOCKTAB *lt, DB_LOCK_STAT **statp, void *(*db_malloc)(size_t))
{
	DB_LOCK_STAT *st;
	int ret;

	if ((ret = table_enter(lt, "lock_stat")) != 0)
		return ret;
	if (statp == NULL)
		return EINVAL;
	if ((st = (db_malloc != NULL ? db_malloc : malloc)(sizeof(*st))) == NULL)
		return ENOMEM;
	fill(lt, st);
	*statp = st;
	return 0;
}

/* --- who has most -------------------------------------------------------------------------- */

#define LARGEST 3

/* The locks of each locker, by its cell; NULL: no memory. */
static uint32_t *
count_locks(DB_LOCKTAB *lt, uint32_t ncells)
{
	uint32_t *counts = NULL;

	if (os_calloc((size_t)ncells + 1, sizeof(*counts), (void **)&counts) != 0)
		return NULL;
	for (uint32_t i = 1; i <= ncells; i++) {
		const struct lock_cell *c = cell_at(lt, i);
		uint32_t cell = c != NULL ? load_relaxed(&c->u.lock.locker) & 0xffffff : 0;

		if (c != NULL && kind_is_lock(word_kind(load_acquire(&c->word))) && cell <= ncells)
			counts[cell]++;
	}
	return counts;
}

static uint32_t
most(const uint32_t *counts, uint32_t ncells)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i <= ncells; i++)
		if (counts[i] > counts[best])
			best = i;
	return best;
}

void
table_largest(DB_LOCKTAB *lt, char *text, size_t bytes)
{
	uint32_t ncells = load_acquire(&lt->table->ncells), best;
	const struct lock_cell *c;
	uint32_t *counts;
	size_t used = 0;

	(void)snprintf(text, bytes, "nobody");
	if (ncells > CELLS_MAX || (counts = count_locks(lt, ncells)) == NULL)
		return;
	counts[0] = 0;
	for (int i = 0; i < LARGEST && (best = most(counts, ncells)) != 0; i++) {
		if ((c = cell_at(lt, best)) != NULL && used < bytes)
			used += (size_t)snprintf(text + used, bytes - used,
			    "%slocker %#x of process %d (%u)", i > 0 ? ", " : "", c->u.locker.id,
			    c->u.locker.pid, counts[best]);
		counts[best] = 0;
	}
	free(counts);
}
