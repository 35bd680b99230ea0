/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/look.c - the table as a list, taken without holding anybody up.
 *
 * Each cell is copied, and its word compared before and after: one that changed meanwhile is left
 * out, as if it had been looked at a moment later.  Edges are made from the list alone, by
 * claim_blocked's rule.
 */
#include "look.h"

#include <stdio.h>
#include <stdlib.h>

#include "table.h"

/* False: it is not that cell any more. */
static bool
copy_cell(DB_LOCKTAB *lt, uint32_t at, struct lock_cell *copy)
{
	const struct lock_cell *c = cell_at(lt, at);
	uint64_t w;

	if (c == NULL)
		return false;
	w = load_acquire(&c->word);
	memcpy(copy, c, sizeof(*copy));
	/* FIRM says nothing here. */
	copy->word &= ~(uint64_t)WORD_FIRM;
	w &= ~(uint64_t)WORD_FIRM;
	return (load_seq(&c->word) & ~(uint64_t)WORD_FIRM) == w && copy->word == w;
}

static int32_t
pid_of(DB_LOCKTAB *lt, uint32_t locker)
{
	struct lock_cell l;

	return copy_cell(lt, id_cell(locker), &l) && word_kind(l.word) == CELL_LOCKER &&
		l.u.locker.id == locker ?
	    l.u.locker.pid :
	    0;
}

/* As much as is shown: what is in the object's cell, and what its first NAME cell has. */
static bool
copy_name(DB_LOCKTAB *lt, const struct lock_cell *object, uint8_t name[LOOK_NAME_BYTES])
{
	enum { ROOM = LOOK_NAME_BYTES - OBJECT_INLINE };
	struct lock_cell more;

	static_assert(ROOM <= NAME_BYTES, "one is enough");
	memcpy(name, object->u.object.name, OBJECT_INLINE);
	if (object->u.object.size <= OBJECT_INLINE)
		return true;
	if (!copy_cell(lt, object->prev, &more) || word_kind(more.word) != CELL_NAME)
		return false;
	memcpy(name + OBJECT_INLINE, more.u.name.bytes, ROOM);
	return true;
}

static bool
see(DB_LOCKTAB *lt, uint32_t at, uint32_t now_sec, struct lock_seen *seen)
{
	struct lock_cell c, object;

	if (!copy_cell(lt, at, &c) ||
	    (word_kind(c.word) != CELL_HELD && word_kind(c.word) != CELL_WAITING) ||
	    !copy_cell(lt, c.u.lock.object, &object) || word_kind(object.word) != CELL_OBJECT)
		return false;
	*seen = (struct lock_seen){
		.locker = c.u.lock.locker,
		.pid = pid_of(lt, c.u.lock.locker),
		.mode = word_mode(c.word),
		.count = c.u.lock.count,
		.waits = word_kind(c.word) == CELL_WAITING,
		.first = (c.u.lock.flags & LOCK_FIRST) != 0,
		.age_sec = now_sec > c.u.lock.since_sec ? now_sec - c.u.lock.since_sec : 0,
		.object = c.u.lock.object,
		.order = c.u.lock.order,
		.name_bytes = object.u.object.size,
	};
	return copy_name(lt, &object, seen->name);
}

static int
compare(const void *a, const void *b)
{
	const struct lock_seen *x = a, *y = b;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	if (x->waits != y->waits)
		return x->waits ? 1 : -1;
	if (x->waits && x->first != y->first)
		return x->first ? -1 : 1;
	return (int32_t)(x->order - y->order);
}

int
locktab_look(DB_LOCKTAB *lt, struct lock_seen **listp, size_t *np)
{
	uint32_t now_sec = (uint32_t)(os_now_nsec_coarse() / 1000000000);
	struct lock_seen *list = NULL, *more;
	size_t n = 0, room = 0;
	uint32_t ncells;
	int ret;

	if ((ret = table_enter(lt, "locktab_look")) != 0)
		return ret;
	ncells = cells_known(lt);
	for (uint32_t i = 1; i <= ncells; i++) {
		if (n == room) {
			room = room == 0 ? 64 : 2 * room;
			if ((more = realloc(list, room * sizeof(*list))) == NULL) {
				free(list);
				return ENOMEM;
			}
			list = more;
		}
		if (see(lt, i, now_sec, &list[n]))
			n++;
	}
	if (n > 0)
		qsort(list, n, sizeof(*list), compare);
	*listp = list;
	*np = n;
	return 0;
}

static bool
is_in_the_way(const DB_LOCKTAB *lt, const struct lock_seen *w, const struct lock_seen *e)
{
	return e->locker != w->locker && modes_conflict(lt, w->mode, e->mode) &&
	    (!e->waits || (e < w && !w->first));
}

int
locktab_edges(
    DB_LOCKTAB *lt, const struct lock_seen *list, size_t n, struct lock_edge **edgesp, size_t *np)
{
	struct lock_edge *edges = NULL, *more;
	size_t nedges = 0, room = 0, begin = 0;

	for (size_t i = 0; i < n; i++) {
		if (list[i].object != list[begin].object)
			begin = i;
		for (size_t k = begin; list[i].waits && k < n && list[k].object == list[i].object;
		     k++) {
			if (!is_in_the_way(lt, &list[i], &list[k]))
				continue;
			if (nedges == room) {
				room = room == 0 ? 64 : 2 * room;
				if ((more = realloc(edges, room * sizeof(*edges))) == NULL) {
					free(edges);
					return ENOMEM;
				}
				edges = more;
			}
			edges[nedges++] = (struct lock_edge){ &list[i], &list[k] };
		}
	}
	*edgesp = edges;
	*np = nedges;
	return 0;
}

void
locktab_mode_name(const DB_LOCKTAB *lt, uint32_t mode, char name[16])
{
	static const char *const names[] = { "NG", "READ", "WRITE", "IWRITE", "IREAD", "IWR" };

	if (mode < lt->nmodes &&
	    ((lt->nmodes == DB_LOCK_RW_N &&
		 memcmp(lt->matrix, db_rw_conflicts, sizeof(db_rw_conflicts)) == 0) ||
		(lt->nmodes == DB_LOCK_RIW_N &&
		    memcmp(lt->matrix, db_riw_conflicts, sizeof(db_riw_conflicts)) == 0)))
		(void)snprintf(name, 16, "%s", names[mode]);
	else
		(void)snprintf(name, 16, "%u", mode);
}

void
locktab_waits(DB_LOCKTAB *lt, struct latency *copy)
{
	latency_copy(copy, &lt->table->waits);
}
