/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view_pool.c - stat/pool and stat/files: the pool's statistics.
 *
 * memp_stat sums the counters of all processes, blocking nobody; here they only become text.  The
 * pool is not opened for it: between the removal of its region and the next use of files/ all
 * values are unknown.
 */
#include "view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "state.h"

struct pool_view {
	uint64_t seq;
	uint64_t since_usec;
	uint64_t hit_percent;
	const DB_MPOOL_STAT *st;
};

static void
render_pool(const struct pool_view *v, struct text *t)
{
#define U64(key, value) render_u64(t, key, (uint64_t)(value))
#define PERCENT(key, value) render_percent(t, key, (uint64_t)(value))
#define STAT_POOL(key, expression, kind, unit, help) kind(#key, expression);
#include "stat.def"
#undef U64
#undef PERCENT
}

static void
render_no_pool(struct text *t)
{
#define STAT_POOL(key, expression, kind, unit, help) render_unknown(t, #key);
#include "stat.def"
}

static int
view_pool_open(struct fs *fs, struct text *t)
{
	struct pool_view v;
	DB_MPOOL_STAT *st;
	int err;

	if ((err = memp_stat(fs->pool, &st, NULL, NULL)) != 0)
		return err;
	v.seq = atomic_fetch_add(&fs->sequence, 1) + 1;
	v.since_usec = mpool_region(fs->pool)->layout->created_usec;
	v.hit_percent = render_ratio(st->st_cache_hit, st->st_cache_hit + st->st_cache_miss);
	v.st = st;
	render_pool(&v, t);
	free(st);
	return 0;
}

int
view_pool(struct fs *fs, struct text *t)
{
	int err = 0;

	if (pool_peek(fs))
		err = view_pool_open(fs, t);
	else
		render_no_pool(t);
	pool_put(fs);
	return err;
}

/* --- stat/files ---------------------------------------------------------------------------- */

static int
by_name(const void *a, const void *b)
{
	const DB_MPOOL_FSTAT *const *x = a, *const *y = b;

	return strcmp((*x)->file_name, (*y)->file_name);
}

static void
render_file(struct text *t, const DB_MPOOL_FSTAT *st)
{
	text_add(t,
	    "%9zu %19" PRIu64 " %10" PRIu64 " %10" PRIu64 " %14" PRIu64 " %14" PRIu64 " %14" PRIu64
	    " %14" PRIu64 " %14" PRIu64 " %14" PRIu64 " %5" PRIu64 " %6d %5d %8d ",
	    st->st_pagesize, st->st_length, st->st_page_resident, st->st_page_dirty,
	    st->st_cache_hit, st->st_cache_miss, st->st_map, st->st_page_create, st->st_page_in,
	    st->st_page_out, st->st_opens, st->st_ftype, st->st_error, st->st_stranded);
	render_free_text(t, st->file_name);
}

static void
render_files(struct text *t, DB_MPOOL_FSTAT **list)
{
	size_t n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	if (n > 0)
		qsort(list, n, sizeof(list[0]), by_name);
	for (size_t i = 0; i < n; i++)
		render_file(t, list[i]);
}

int
view_files(struct fs *fs, struct text *t)
{
	DB_MPOOL_FSTAT **list = NULL;
	int err = 0;

	text_add(t, "#%8s %19s %10s %10s %14s %14s %14s %14s %14s %14s %5s %6s %5s %8s %s\n",
	    "pagesize", "length", "resident", "page_dirty", "cache_hit", "cache_miss", "map",
	    "page_create", "page_in", "page_out", "opens", "ftype", "error", "stranded",
	    "file_name");
	if (pool_peek(fs) && (err = memp_stat(fs->pool, NULL, &list, NULL)) == 0)
		render_files(t, list);
	pool_put(fs);
	free(list);
	return err;
}

/* --- README -------------------------------------------------------------------------------- */

int
view_readme(struct fs *fs, struct text *t)
{
	text_add(t,
	    "This is a shared pool of file pages, mounted by poolfs %s.\n"
	    "\n"
	    "  files/         the tree of the directory named below: read it, write it, with any\n"
	    "                 program; the bytes of its files go through the pool, which other\n"
	    "                 processes use at the same time through the library (memp_fget ...)\n"
	    "  regions/       the shared regions: NAME is the raw memory, to be read; rm NAME\n"
	    "                 removes the region, after writing what is dirty in it, unless it is\n"
	    "                 in use; NAME.layout its header; NAME.clients who is attached\n"
	    "  stat/pool      the pool's counters, one to a line\n"
	    "  stat/files     one line for each file that the pool knows\n"
	    "\n"
	    "Programs that read the directory itself see old bytes while pages are dirty in the\n"
	    "pool (page_dirty in stat/pool).  fsync(2) writes a file's; poolfs -u MOUNTPOINT\n"
	    "writes everything, unmounts, and returns when the directory is complete.\n"
	    "\n"
	    "directory:     %s\n"
	    "more:          man poolfs\n",
	    POOLFS_VERSION, fs->opt->home);
	return 0;
}
