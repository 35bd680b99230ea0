/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The damage campaign's lock tables.
 *
 * A partition's lock in the name of a live client cannot be told from a holder that was stopped,
 * for whom everybody waits: those words are spared.
 */
#include "damage.h"

#include "../lock_t.h"

#define LOCKERS 3
#define LOCKS 8

struct view {
	DB_LOCKTAB *lt;
	u_int32_t ids[LOCKERS];
	DB_LOCK locks[LOCKS];
};

static const char *const names[] = { "o", "p", "q",
	"a name that does not fit into the cell of an object alone, and so has more of them" };

static DB_ENV *
table_env(const struct actor *a)
{
	static char home[sizeof(a->home->dir)];
	static DB_ENV env;

	memcpy(home, a->home->dir, sizeof(home));
	env = (DB_ENV){ .db_errcall = hear,
		.db_home = home,
		.lk_detect = a->shape % 2 ? DB_LOCK_OLDEST : DB_LOCK_NORUN,
		.lk_timeout = 500,
		.region_max = a->shape % 4 < 2 ? 1u << 20 : 0,
		.region_flags = a->system ? DB_SYSTEM_MEM : 0 };
	quiet();
	return &env;
}

static int
table_open_it(struct actor *a, bool create)
{
	static struct view view;
	int ret;

	a->own = &view;
	call_begin(a, "lock_open");
	ret = lock_open(NULL, create ? DB_CREATE : 0, 0, table_env(a), &view.lt);
	call_end(a);
	for (unsigned i = 0; i < LOCKERS && ret == 0; i++)
		CALL(a, lock_id(view.lt, &view.ids[i]));
	return ret;
}

static void
get_lock(struct actor *a, struct view *v)
{
	DB_LOCK *place = &v->locks[draw(a, LOCKS)], got = 0;
	u_int32_t id = v->ids[draw(a, LOCKERS)], flags = draw(a, 8) ? DB_LOCK_NOWAIT : 0;
	const char *name = names[draw(a, sizeof(names) / sizeof(names[0]))];
	int mode = 1 + (int)draw(a, 2);

	if (draw(a, 6) == 0)
		flags |= DB_LOCK_UPGRADE;
	CALL(a, try_get(v->lt, id, flags, name, mode, &got));
	if (got != 0)
		*place = got;
}

static void
call_on_table(struct actor *a, struct view *v, unsigned which)
{
	const DBT obj = named(names[draw(a, sizeof(names) / sizeof(names[0]))]);
	DB_LOCKREQ req = { .op = draw(a, 2) ? DB_LOCK_PUT_ALL : DB_LOCK_PUT_OBJ, .obj = &obj };
	u_int32_t *id = &v->ids[draw(a, LOCKERS)];
	DB_LOCK_STAT *st = NULL;

	switch (which) {
	case 0:
		CALL(a, lock_vec(v->lt, *id, 0, &req, 1, NULL));
		break;
	case 1:
		CALL(a, lock_detect(v->lt, 0, 1 + draw(a, 4)));
		break;
	case 2:
		CALL(a, lock_stat(v->lt, &st, NULL));
		free(st);
		break;
	case 3:
		CALL(a, locktab_check(v->lt));
		break;
	default:
		CALL(a, lock_id_free(v->lt, *id));
		CALL(a, lock_id(v->lt, id));
		break;
	}
}

static void
table_call(struct actor *a)
{
	struct view *v = a->own;
	unsigned kind = draw(a, 16);

	if (kind < 8)
		get_lock(a, v);
	else if (kind < 12)
		CALL(a, lock_put(v->lt, v->locks[draw(a, LOCKS)]));
	else
		call_on_table(a, v, draw(a, 5));
}

static void
table_close_it(struct actor *a)
{
	CALL(a, lock_close(((struct view *)a->own)->lt));
}

static int
table_remove(struct actor *a)
{
	return lock_unlink(NULL, 1, table_env(a));
}

static struct region *
table_region(const struct actor *a)
{
	return ((struct view *)a->own)->lt->region;
}

static unsigned
table_parts(const struct actor *a, struct part parts[])
{
	const DB_LOCKTAB *lt = ((struct view *)a->own)->lt;
	const struct region *r = lt->region;
	const struct part all[] = {
		{ "head", place_in(r, lt->table), sizeof(struct lock_table) },
		{ "partitions", place_in(r, lt->parts), (RESERVE + 1) * sizeof(struct lock_part) },
		{ "buckets", place_in(r, lt->buckets), lt->nbuckets * sizeof(uint32_t) },
		{ "cells", place_in(r, lt->cells), lt->ncells * sizeof(struct lock_cell) },
		{ "first cells", place_in(r, lt->cells), 64 * sizeof(struct lock_cell) },
	};

	memcpy(parts, all, sizeof(all));
	return sizeof(all) / sizeof(all[0]);
}

static bool
table_spares(const struct actor *a, uint64_t off, uint64_t bytes)
{
	const DB_LOCKTAB *lt = ((struct view *)a->own)->lt;

	for (uint32_t i = 0; i <= RESERVE; i++) {
		const uint32_t *word = &lt->parts[i].lock.owner;

		if (overlap(off, bytes, place_in(lt->region, word), sizeof(*word)))
			return true;
	}
	return false;
}

const struct target lock_target = { "lock table", LOCK_FILE, table_open_it, table_call,
	table_close_it, table_remove, table_region, table_parts, table_spares };
