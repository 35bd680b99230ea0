/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view_pool.c - stat/pool and stat/files: the pool's statistics.
 *
 * memp_stat sums the counters of all processes, blocking nobody; here they only become rows.  The
 * pool is not opened for it: between the removal of its region and the next use of files/ all
 * values are unknown.
 */
#include "view.h"

#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "state.h"

/* What the expressions of stat.def are over. */
struct pool_view {
	uint64_t seq;
	uint64_t since_usec;
	uint64_t hit_percent;
	const DB_MPOOL_STAT *st;
};

static const struct field pool_fields[] = {
#define STAT_POOL(key, expression, kind, unit, metric, help)                                       \
	{ #key, FIELD_##kind, #unit, metric, 0, help },
#include "stat.def"
};

void
view_pool_row(struct sheet *s, uint64_t seq, uint64_t since_usec, const DB_MPOOL_STAT *st)
{
	const struct pool_view view = {
		.seq = seq,
		.since_usec = since_usec,
		.hit_percent = render_ratio(st->st_cache_hit, st->st_cache_hit + st->st_cache_miss),
		.st = st,
	};
	const struct pool_view *v = &view;
	const struct value row[] = {
#define STAT_POOL(key, expression, kind, unit, metric, help) VALUE_##kind(expression),
#include "stat.def"
	};

	sheet_add(s, row);
}

static int
fill_open_pool(struct fs *fs, struct sheet *s)
{
	const RLAYOUT *l = mpool_region(fs->pool)->layout;
	uint64_t since_usec = l->created_usec;
	DB_MPOOL_STAT *st;
	int err;

	if ((err = memp_stat(fs->pool, &st, NULL, NULL)) != 0)
		return err;
	ctl_since_reset(fs, l->region_id, st, &since_usec);
	view_pool_row(s, atomic_fetch_add(&fs->sequence, 1) + 1, since_usec, st);
	free(st);
	return 0;
}

static int
fill_pool(struct fs *fs, struct sheet *s)
{
	int err = 0;

	if (pool_peek(fs))
		err = fill_open_pool(fs, s);
	else
		sheet_add_unknown(s);
	pool_put(fs);
	return err;
}

const struct view view_pool = { "pool", pool_fields, sizeof(pool_fields) / sizeof(pool_fields[0]),
	SHEET_KEYS, fill_pool };

/* --- stat/files ---------------------------------------------------------------------------- */

static const struct field files_fields[] = {
#define STAT_FILES(key, expression, kind, unit, width, help)                                       \
	{ #key, FIELD_##kind, #unit, "", width, help },
#include "stat.def"
};

static int
by_name(const void *a, const void *b)
{
	const DB_MPOOL_FSTAT *const *x = a, *const *y = b;

	return strcmp((*x)->file_name, (*y)->file_name);
}

static void
add_file(struct sheet *s, const DB_MPOOL_FSTAT *st)
{
	const struct value row[] = {
#define STAT_FILES(key, expression, kind, unit, width, help) VALUE_##kind(expression),
#include "stat.def"
	};

	sheet_add(s, row);
}

static int
fill_files(struct fs *fs, struct sheet *s)
{
	DB_MPOOL_FSTAT **list = NULL;
	size_t n = 0;
	int err = 0;

	if (pool_peek(fs))
		err = memp_stat(fs->pool, NULL, &list, NULL);
	pool_put(fs);
	if (err != 0)
		return err;
	while (list != NULL && list[n] != NULL)
		n++;
	if (n > 0)
		qsort(list, n, sizeof(list[0]), by_name);
	for (size_t i = 0; i < n; i++)
		add_file(s, list[i]);
	/* One block, in which the names are. */
	(void)sheet_keep(s, (char *)list);
	return 0;
}

const struct view view_files = { "files", files_fields,
	sizeof(files_fields) / sizeof(files_fields[0]), SHEET_TABLE, fill_files };
