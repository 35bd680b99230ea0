/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_ours.c - our side of the comparison: the published calls of poolfs/mpool.h, a file-backed
 * region in the home directory, and nothing tuned.
 */
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include <poolfs/mpool.h>

#include "bench.h"

struct bench_handle {
	uint64_t seed, marks;
	uint32_t pages, nfiles;
	uint32_t cursor;
	DB_ENV env;
	DB_MPOOL *mp;
	DB_MPOOLFILE *mpf;    /* files[0] */
	DB_MPOOLFILE **files; /* nfiles */
	const char *home;
};

static inline int
side_get(struct bench_handle *h, db_pgno_t pgno, void **pagep)
{
	return (memp_fget(h->mpf, &pgno, 0, pagep));
}

#define SIDE_FILES
static inline int
side_get_in(struct bench_handle *h, uint32_t file, db_pgno_t pgno, void **pagep)
{
	return (memp_fget(h->files[file], &pgno, 0, pagep));
}

static inline int
side_put_in(struct bench_handle *h, uint32_t file, void *page)
{
	return (memp_fput(h->files[file], page, 0));
}

static inline int
side_get_dirty(struct bench_handle *h, db_pgno_t pgno, void **pagep)
{
	return (memp_fget(h->mpf, &pgno, 0, pagep));
}

static inline int
side_put(struct bench_handle *h, void *page)
{
	return (memp_fput(h->mpf, page, 0));
}

static inline int
side_put_dirty(struct bench_handle *h, void *page)
{
	return (memp_fput(h->mpf, page, DB_MPOOL_DIRTY));
}

static int
side_sync(struct bench_handle *h)
{
	return (memp_fsync(h->mpf));
}

static int
side_stat(struct bench_handle *h)
{
	DB_MPOOL_STAT *gsp;
	DB_MPOOL_FSTAT **fsp;
	int ret;

	if ((ret = memp_stat(h->mp, &gsp, &fsp, NULL)) != 0)
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

	if ((ret = memp_stat(h->mp, &gsp, NULL, NULL)) != 0)
		return (ret);
	st->read = gsp->st_page_in;
	st->written = gsp->st_page_out;
	free(gsp);
	return (0);
}

#include "bench_loops.h"

static int
announce(struct bench_handle *h, uint32_t first, uint32_t n)
{
	return (memp_fprefetch(h->mpf, first, n));
}

static int
loop_scan_ahead(struct bench_handle *h, unsigned msec, struct bench_result *res)
{
	return (scan(h, announce, msec, res));
}

/* The pages are the last that the region's file has. */
static unsigned long
side_pages_at(struct bench_handle *h)
{
	char path[PATH_MAX];
	DB_MPOOL_STAT *gsp;
	struct stat st;
	unsigned long at = ULONG_MAX;

	(void)snprintf(path, sizeof(path), "%s/__db_mpool.share", h->home);
	if (stat(path, &st) == 0 && memp_stat(h->mp, &gsp, NULL, NULL) == 0) {
		at = (unsigned long)st.st_size - gsp->st_cachesize;
		free(gsp);
	}
	return (at);
}

static void
side_close(struct bench_handle *h)
{
	uint32_t i;

	if (h == NULL)
		return;
	for (i = 0; h->files != NULL && i < h->nfiles; i++)
		if (h->files[i] != NULL)
			(void)memp_fclose(h->files[i]);
	free(h->files);
	if (h->mp != NULL)
		(void)memp_close(h->mp);
	free(h);
}

static int
open_files(struct bench_handle *h, const char *file)
{
	char name[PATH_MAX];
	uint32_t i;
	int ret = 0;

	if ((h->files = calloc(h->nfiles, sizeof(*h->files))) == NULL)
		return (ENOMEM);
	for (i = 0; i < h->nfiles && ret == 0; i++) {
		bench_file_name(name, sizeof(name), file, i);
		ret = memp_fopen(
		    h->mp, name, 0, DB_NOMMAP, 0, BENCH_PAGE_BYTES, -1, NULL, NULL, &h->files[i]);
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
	h->home = h->env.db_home = at->home;
	h->env.db_errfile = stderr;
	h->env.db_errpfx = "bench: poolfs";
	h->env.mp_size = at->cache_bytes;
	ret = memp_open(NULL, DB_CREATE | (at->one_thread ? 0 : DB_THREAD), 0, &h->env, &h->mp);
	if (ret == 0)
		ret = open_files(h, at->file);
	if (ret != 0) {
		side_close(h);
		return (ret);
	}
	*hp = h;
	return (0);
}

const struct bench_side bench_ours = {
	.name = "poolfs",
	.open = side_open,
	.close = side_close,
	.touch = loop_touch,
	.hits = loop_hits,
	.pins = loop_pins,
	.zipf = loop_zipf,
	.files = loop_files,
	.scan = loop_scan,
	.scan_ahead = loop_scan_ahead,
	.dirty = loop_dirty,
	.sync = loop_sync,
	.stat = loop_stat,
	.pages_at = side_pages_at,
};
