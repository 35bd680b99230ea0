/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The damage campaign's pools.  One file of 4 KiB pages and one of 512 bytes are changed, one is
 * only read, one is opened for reading only; the walker, the statistics, the mount's calls are
 * made, too.
 */
#include "damage.h"

#include "../pool_t.h"

#include "pool/file.h"
#include "pool/thread.h"

#define PINS 6
#define PAGES 24

struct pinned {
	DB_MPOOLFILE *f;
	void *page;
};

struct view {
	DB_MPOOL *mp;
	DB_MPOOLFILE *files[4]; /* f, g, still, sealed; NULL: not open */
	struct pinned pins[PINS];
};

static const struct {
	const char *name;
	size_t pagesize;
	int flags;
} files[4] = {
	{ "f", 4096, 0 },
	{ "g", 512, 0 },
	{ "still", 4096, 0 },
	{ "sealed", 4096, DB_RDONLY | DB_NOMMAP },
};

static DB_ENV *
pool_env(const struct actor *a)
{
	static const size_t bytes[] = { 20 * KIB, 64 * KIB, 64 * KIB, 192 * KIB };
	DB_ENV *env = env_of(a->home, bytes[a->shape / 2 % 4]);

	env->region_flags = a->system ? DB_SYSTEM_MEM : 0;
	env->policy = a->shape % 2 ? DB_POLICY_ADAPTIVE : DB_POLICY_LRU;
	if (a->shape % 8 > 5)
		env->region_max = 1024 * KIB;
	return env;
}

static void
open_file(struct actor *a, unsigned i)
{
	struct view *v = a->own;
	DB_MPOOLFILE *f = NULL;

	if (v->files[i] != NULL)
		return;
	CALL(a,
	    memp_fopen(
		v->mp, files[i].name, 0, files[i].flags, 0, files[i].pagesize, -1, NULL, NULL, &f));
	v->files[i] = f;
}

static int
pool_open(struct actor *a, bool create)
{
	static struct view view;
	DB_ENV *env = pool_env(a);
	int ret;

	a->own = &view;
	call_begin(a, "memp_open");
	ret = memp_open(NULL, create ? DB_CREATE : 0, 0, env, &view.mp);
	call_end(a);
	for (unsigned i = 0; i < 4 && ret == 0; i++)
		open_file(a, i);
	return ret;
}

static void
let_go(struct actor *a, struct pinned *p, unsigned long flags)
{
	if (p->page != NULL)
		CALL(a, memp_fput(p->f, p->page, flags));
	p->page = NULL;
}

static void
get_one(struct actor *a, struct view *v)
{
	static const unsigned long gets[] = { 0, 0, 0, 0, 0, 0, DB_MPOOL_CREATE, DB_MPOOL_CREATE,
		DB_MPOOL_NEW, DB_MPOOL_LAST };
	static const unsigned long puts[] = { 0, 0, DB_MPOOL_DIRTY, DB_MPOOL_DIRTY, DB_MPOOL_CLEAN,
		DB_MPOOL_DISCARD };
	struct pinned *pin = &v->pins[draw(a, PINS)], p = { .f = v->files[draw(a, 4)] };
	db_pgno_t n = draw(a, PAGES);
	unsigned long flags = gets[draw(a, 10)], put_flags = puts[draw(a, 6)];
	bool is_still;

	if (p.f == NULL)
		return;
	is_still = p.f == v->files[2] || p.f == v->files[3];
	CALL(a, memp_fget(p.f, &n, is_still ? 0 : flags, &p.page));
	if (p.page == NULL)
		return;
	t_check((uint8_t *)p.page >= v->mp->area &&
	    (uint8_t *)p.page + p.f->pagesize <= v->mp->area + v->mp->g.cache_bytes);
	if (is_still || draw(a, 4)) {
		let_go(a, &p, is_still ? 0 : put_flags);
		return;
	}
	*(volatile uint8_t *)p.page += 1;
	CALL(a, memp_fset(p.f, p.page, DB_MPOOL_DIRTY));
	let_go(a, pin, put_flags);
	*pin = p;
}

static void
close_file(struct actor *a, struct view *v, unsigned i)
{
	for (unsigned k = 0; k < PINS; k++)
		if (v->pins[k].f == v->files[i])
			v->pins[k].page = NULL;
	if (v->files[i] != NULL)
		CALL(a, memp_fclose(v->files[i]));
	v->files[i] = NULL;
}

static void
call_on_file(struct actor *a, DB_MPOOLFILE *f, unsigned which)
{
	off_t bytes;

	switch (which) {
	case 0:
		CALL(a, memp_fsync(f));
		break;
	case 1:
		CALL(a, memp_ftruncate(f, (off_t)(draw(a, PAGES) * f->pagesize)));
		break;
	case 2:
		CALL(a, memp_fsize(f, &bytes));
		break;
	case 3:
		CALL(a, memp_fprefetch(f, draw(a, PAGES), PAGES));
		break;
	case 4:
		CALL(a, mpool_file_sync(f, draw(a, 2) != 0));
		break;
	case 5:
		CALL(a, mpool_file_error(f));
		break;
	default:
		CALL(a, mpool_file_revalidate(f));
		break;
	}
}

static void
look_at_pool(struct actor *a, struct view *v)
{
	DB_MPOOL_STAT *s = NULL;
	DB_MPOOL_FSTAT **list = NULL;

	CALL(a, memp_stat(v->mp, &s, &list, NULL));
	free(s);
	free(list);
	CALL(a, mpool_check(v->mp, draw(a, 2) != 0));
	CALL(a, mpool_client_pins(v->mp, draw(a, 40)));
}

/* A home file by its identity, as the mount does. */
static void
call_as_mount(struct actor *a, struct view *v)
{
	const char *path = t_path(a->home, "f");
	struct os_stat st;
	int64_t mtime;
	off_t bytes;

	if (os_stat(path, &st) != 0)
		return;
	CALL(a, mpool_renamed(v->mp, path, path));
	CALL(a, mpool_ident_attr(v->mp, &st.ident, &bytes, &mtime));
}

static void
temporary(struct actor *a, struct view *v)
{
	DB_MPOOLFILE *f = NULL;
	db_pgno_t n = 0;
	void *page = NULL;

	CALL(a, memp_fopen(v->mp, NULL, 0, 0, 0, 512u << draw(a, 8), -1, NULL, NULL, &f));
	if (f == NULL)
		return;
	CALL(a, memp_fget(f, &n, DB_MPOOL_CREATE, &page));
	if (page != NULL)
		CALL(a, memp_fput(f, page, DB_MPOOL_DIRTY));
	CALL(a, memp_fclose(f));
}

/* Mostly without pages of its own in the way, which it waits for. */
static void
resize(struct actor *a, struct view *v)
{
	for (unsigned k = 0; k < PINS && draw(a, 64); k++)
		let_go(a, &v->pins[k], 0);
	CALL(a, memp_resize(v->mp, (20 + draw(a, 400)) * KIB));
}

static void
call_on_pool(struct actor *a, struct view *v, unsigned which)
{
	uint64_t wrote;
	int n;

	switch (which) {
	case 0:
		CALL(a, memp_sync(v->mp, NULL));
		break;
	case 1:
		CALL(a, memp_trickle(v->mp, 100, &n));
		break;
	case 2:
		CALL(a, memp_reap(v->mp));
		break;
	case 3:
		CALL(a, mpool_write_old(v->mp, 0, &wrote));
		break;
	case 4:
		look_at_pool(a, v);
		break;
	case 5:
		call_as_mount(a, v);
		break;
	case 6:
		temporary(a, v);
		break;
	case 7:
		resize(a, v);
		break;
	default:
		close_file(a, v, draw(a, 4));
		break;
	}
}

static void
pool_call(struct actor *a)
{
	struct view *v = a->own;
	unsigned i = draw(a, 4), kind = draw(a, 16);

	open_file(a, i);
	if (kind < 10)
		get_one(a, v);
	else if (kind < 14 && v->files[i] != NULL)
		call_on_file(a, v->files[i], i < 2 ? draw(a, 7) : 2 + draw(a, 2));
	else
		call_on_pool(a, v, draw(a, 9));
}

static void
pool_close(struct actor *a)
{
	struct view *v = a->own;

	for (unsigned i = 0; i < 4; i++)
		close_file(a, v, i);
	CALL(a, memp_close(v->mp));
}

static int
pool_remove(struct actor *a)
{
	return memp_unlink(NULL, 1, pool_env(a));
}

static struct region *
pool_region(const struct actor *a)
{
	return ((struct view *)a->own)->mp->region;
}

static unsigned
pool_parts(const struct actor *a, struct part parts[])
{
	const DB_MPOOL *mp = ((struct view *)a->own)->mp;
	const struct geometry *g = &mp->g;
	uint64_t body = place_in(mp->region, mp->mp);
	const struct part all[] = {
		{ "geometry", body, sizeof(*g) },
		{ "superblock", body + sizeof(*g), sizeof(struct mpool) - sizeof(*g) },
		{ "blocks", g->blocks, g->nblocks * sizeof(struct block) },
		{ "first block", g->blocks, 2 * sizeof(struct block) },
		{ "rows", g->rows, g->nrows * sizeof(struct file_row) },
		{ "first rows", g->rows, 4 * sizeof(struct file_row) },
		{ "hash", g->hash, g->nhash * sizeof(uint32_t) },
		{ "open records", g->opens, g->nopens * sizeof(struct open_record) },
		{ "heap", g->heap, g->heap_bytes },
		{ "buckets", g->buckets, g->nbuckets * sizeof(struct bucket) },
		{ "overflow", g->overflow, g->noverflow * sizeof(uint64_t) },
		{ "extents", g->extents, g->nextents * sizeof(uint64_t) },
		{ "free hints", g->hints, g->nhints * sizeof(uint64_t) },
		{ "dirty index", g->index, g->nframes },
		{ "stamps", g->stamps, g->nframes * sizeof(uint32_t) },
		{ "ghosts", g->ghosts, g->nghosts * sizeof(uint32_t) },
		{ "frames", g->frames, g->nframes * sizeof(struct frame) },
	};

	memcpy(parts, all, sizeof(all));
	return sizeof(all) / sizeof(all[0]);
}

const struct target pool_target = { "pool", REGION_NAME, pool_open, pool_call, pool_close,
	pool_remove, pool_region, pool_parts, NULL };
