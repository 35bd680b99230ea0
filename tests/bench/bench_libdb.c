/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_libdb.c - libdb 5.3's side of the comparison: an environment with DB_INIT_MPOOL alone, one
 * cache in a file-backed region, mapping of files off, nothing tuned.
 *
 * Three things are not what they seem.  The size given to libdb includes its own headers, and a
 * quarter is added below 500 MB, so it is corrected to hold as many pages as ours (measured:
 * 1.039 times their bytes).  memp_sync leaves files without log sequence numbers alone, so both
 * sides sync the file.  And DB_MPOOL_DIRTY given to get leaves the page clean (5.3.28: nothing is
 * ever written), so pages are dirtied as libdb's own access methods do it, with __memp_dirty,
 * which the library exports.
 */
#include <db.h>
#include <errno.h>
#include <limits.h>

#include "bench.h"

struct bench_handle {
	uint64_t seed, marks;
	uint32_t pages, nfiles;
	uint32_t cursor;
	DB_ENV *env;
	DB_MPOOLFILE *mpf;    /* files[0] */
	DB_MPOOLFILE **files; /* nfiles */
};

int __memp_dirty(DB_MPOOLFILE *mpf, void *pagep, void *thread_info, DB_TXN *txn,
    DB_CACHE_PRIORITY priority, u_int32_t flags);

static inline int
side_get(struct bench_handle *h, db_pgno_t pgno, void **pagep)
{
	return (h->mpf->get(h->mpf, &pgno, NULL, 0, pagep));
}

#define SIDE_FILES
static inline int
side_get_in(struct bench_handle *h, uint32_t file, db_pgno_t pgno, void **pagep)
{
	return (h->files[file]->get(h->files[file], &pgno, NULL, 0, pagep));
}

static inline int
side_put_in(struct bench_handle *h, uint32_t file, void *page)
{
	return (h->files[file]->put(h->files[file], page, DB_PRIORITY_UNCHANGED, 0));
}

static inline int
side_get_dirty(struct bench_handle *h, db_pgno_t pgno, void **pagep)
{
	int ret = h->mpf->get(h->mpf, &pgno, NULL, 0, pagep);

	if (ret != 0)
		return (ret);
	return (__memp_dirty(h->mpf, pagep, NULL, NULL, DB_PRIORITY_UNCHANGED, 0));
}

static inline int
side_put(struct bench_handle *h, void *page)
{
	return (h->mpf->put(h->mpf, page, DB_PRIORITY_UNCHANGED, 0));
}

static inline int
side_put_dirty(struct bench_handle *h, void *page)
{
	return (h->mpf->put(h->mpf, page, DB_PRIORITY_UNCHANGED, 0));
}

static int
side_sync(struct bench_handle *h)
{
	return (h->mpf->sync(h->mpf));
}

static int
side_stat(struct bench_handle *h)
{
	DB_MPOOL_STAT *gsp;
	DB_MPOOL_FSTAT **fsp;
	int ret;

	if ((ret = h->env->memp_stat(h->env, &gsp, &fsp, 0)) != 0)
		return (ret);
	free(gsp);
	free(fsp);
	return (0);
}

static int
side_counters(struct bench_handle *h, struct bench_stat *st)
{
	DB_MPOOL_STAT *gsp;
	int ret;

	if ((ret = h->env->memp_stat(h->env, &gsp, NULL, 0)) != 0)
		return (ret);
	st->read = gsp->st_page_in;
	st->written = gsp->st_page_out;
	free(gsp);
	return (0);
}

#include "bench_loops.h"

static unsigned long
side_pages_at(struct bench_handle *h)
{
	(void)h;
	return (ULONG_MAX);
}

static void
side_close(struct bench_handle *h)
{
	uint32_t i;

	if (h == NULL)
		return;
	for (i = 0; h->files != NULL && i < h->nfiles; i++)
		if (h->files[i] != NULL)
			(void)h->files[i]->close(h->files[i], 0);
	free(h->files);
	if (h->env != NULL)
		(void)h->env->close(h->env, 0);
	free(h);
}

static int
open_env(struct bench_handle *h, const struct bench_place *at)
{
	const size_t giga = 1u << 30, small = 500u << 20;
	size_t ask = at->cache_bytes + at->cache_bytes * 39 / 1000;
	int ret;

	if (ask / 5 * 4 < small)
		ask = ask / 5 * 4;
	if ((ret = db_env_create(&h->env, 0)) != 0)
		return (ret);
	h->env->set_errfile(h->env, stderr);
	h->env->set_errpfx(h->env, "bench: libdb");
	ret = h->env->set_cachesize(h->env, (u_int32_t)(ask / giga), (u_int32_t)(ask % giga), 1);
	if (ret != 0)
		return (ret);
	return (h->env->open(
	    h->env, at->home, DB_CREATE | DB_INIT_MPOOL | (at->one_thread ? 0u : DB_THREAD), 0));
}

static int
open_files(struct bench_handle *h, const char *file)
{
	char name[PATH_MAX];
	uint32_t i;
	int ret = 0;

	if ((h->files = calloc(h->nfiles, sizeof(DB_MPOOLFILE *))) == NULL)
		return (ENOMEM);
	for (i = 0; i < h->nfiles && ret == 0; i++) {
		bench_file_name(name, sizeof(name), file, i);
		if ((ret = h->env->memp_fcreate(h->env, &h->files[i], 0)) == 0)
			ret = h->files[i]->open(h->files[i], name, DB_NOMMAP, 0, BENCH_PAGE_BYTES);
	}
	h->mpf = h->files[0];
	return (ret);
}

static int
side_open(const struct bench_place *at, struct bench_handle **hp)
{
	struct bench_handle *h = calloc(1, sizeof(*h));
	int ret;

	if (h == NULL)
		return (ENOMEM);
	h->seed = BENCH_SEED(at->worker);
	h->pages = at->pages;
	h->nfiles = at->files;
	h->marks = at->sparse ? 0 : UINT64_MAX;
	ret = open_env(h, at);
	if (ret == 0)
		ret = open_files(h, at->file);
	if (ret != 0) {
		side_close(h);
		return (ret);
	}
	*hp = h;
	return (0);
}

const struct bench_side bench_libdb = {
	.name = "libdb 5.3",
	.open = side_open,
	.close = side_close,
	.touch = loop_touch,
	.hits = loop_hits,
	.pins = loop_pins,
	.zipf = loop_zipf,
	.files = loop_files,
	.scan = loop_scan,
	.scan_ahead = NULL,
	.dirty = loop_dirty,
	.sync = loop_sync,
	.stat = loop_stat,
	.pages_at = side_pages_at,
};
