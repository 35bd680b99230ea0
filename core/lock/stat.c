/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/stat.c - the table's numbers: lock_stat, and who has most locks.
 *
 * Counters are kept by partition, under its lock, and are read here without: nobody is held up, and
 * nobody who has stopped or died holds this up.  What was taken again without that lock (L7) says
 * the life of the lock's own cell, until the cell goes and it is added to the partition's; so
 * partitions are read first, and nothing is counted twice.  Between the two it is in neither, so
 * a handle never answers less than it did before.  At rest the sums are exact.
 */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>

static void
add_part(const struct lock_part *p, DB_LOCK_STAT *st)
{
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

/* seen: a bit for each cell that is an object on which something was seen. */
static void
add_cell(const struct lock_cell *c, uint8_t *seen, uint32_t ncells, DB_LOCK_STAT *st)
{
	uint64_t w = load_acquire(&c->word);
	uint32_t object = load_relaxed(&c->u.lock.object), n = lock_retaken(c, w);

	if (kind_is_holder(word_kind(w))) {
		/* of the same life as the word? */
		if (((load_seq(&c->word) ^ w) & ~(uint64_t)WORD_FIRM) != 0)
			n = 0;
		st->st_nrequests += n;
		st->st_nreleases += n + (word_kind(w) == CELL_IDLE);
	}
	if (!kind_is_lock(word_kind(w)) || word_kind(w) == CELL_IDLE)
		return;
	st->st_nlocks++;
	if ((word_kind(w) == CELL_HELD || word_kind(w) == CELL_WAITING) && object <= ncells &&
	    (seen[object / 8] & 1u << object % 8) == 0) {
		seen[object / 8] |= (uint8_t)(1u << object % 8);
		st->st_numobjs++;
	}
}

static int
add_cells(DB_LOCKTAB *lt, DB_LOCK_STAT *st)
{
	uint32_t ncells = cells_known(lt);
	const struct lock_cell *c;
	void *seen;
	int ret;

	if ((ret = os_calloc(ncells / 8 + 1, 1, &seen)) != 0)
		return ret;
	for (uint32_t i = 1; i <= ncells && (c = cell_at(lt, i)) != NULL; i++)
		add_cell(c, seen, ncells, st);
	free(seen);
	return 0;
}

static void
never_less(u_int64_t *valuep, uint64_t *beforep)
{
	uint64_t before = load_seq(beforep);

	while (before < *valuep && !cas_seq(beforep, &before, *valuep))
		continue;
	if (*valuep < before)
		*valuep = before;
}

static int
fill(DB_LOCKTAB *lt, DB_LOCK_STAT *st)
{
	const struct lock_table *t = lt->table;
	int ret;

	memset(st, 0, sizeof(*st));
	for (uint32_t i = 0; i < LOCK_PARTS; i++)
		add_part(&lt->parts[i], st);
	if ((ret = add_cells(lt, st)) != 0)
		return ret;
	never_less(&st->st_nrequests, &lt->nrequests);
	never_less(&st->st_nreleases, &lt->nreleases);
	st->st_maxlocks = t->bounded ? load_relaxed(&t->limit) : 0;
	st->st_nmodes = lt->nmodes;
	st->st_nlockers = load_relaxed(&t->nlockers);
	st->st_ndetections = load_relaxed(&t->ndetections);
	st->st_nreaped = load_relaxed(&t->nreaped);
	st->st_clients = client_count(lt->region);
	st->st_detect = lt->detect;
	st->st_regsize = load_relaxed(&lt->region->layout->size);
	return 0;
}

int
lock_stat(DB_LOCKTAB *lt, DB_LOCK_STAT **statp, void *(*db_malloc)(size_t))
{
	DB_LOCK_STAT *st;
	int ret;

	if ((ret = table_enter(lt, "lock_stat")) != 0)
		return ret;
	if (statp == NULL)
		return no_place(lt, "lock_stat");
	if ((st = (db_malloc != NULL ? db_malloc : malloc)(sizeof(*st))) == NULL)
		return ENOMEM;
	if ((ret = fill(lt, st)) != 0) {
		if (db_malloc == NULL)
			free(st);
		return ret;
	}
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
		uint32_t cell = c != NULL ? id_cell(load_relaxed(&c->u.lock.locker)) : 0;
		enum cell_kind kind = c != NULL ? word_kind(load_acquire(&c->word)) : CELL_FREE;

		if (kind_is_lock(kind) && kind != CELL_IDLE && cell <= ncells)
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
	uint32_t ncells = cells_known(lt), best;
	const struct lock_cell *c;
	uint32_t *counts;
	size_t used = 0;

	(void)snprintf(text, bytes, "nobody");
	if ((counts = count_locks(lt, ncells)) == NULL)
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
