/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The damage campaign's regions of an application's own, with a heap.
 */
#include "damage.h"

#include "../memory_t.h"
#include "../said_t.h"

#include "region/memr.h"

#define KIB ((size_t)1 << 10)
#define PIECES 8

struct view {
	DB_REGION *reg;
	u_int64_t pieces[PIECES];
};

static DB_ENV *
region_env(const struct actor *a)
{
	static DB_ENV env;

	env = (DB_ENV){ .db_errcall = hear,
		.region_flags = a->system ? DB_SYSTEM_MEM : 0,
		.region_max = 256 * KIB };
	quiet();
	return &env;
}

static int
region_open(struct actor *a, bool create)
{
	static struct view view;
	int ret;

	a->own = &view;
	call_begin(a, "memr_open");
	ret = memr_open(
	    a->home->dir, "a", create ? DB_CREATE : 0, 0, 64 * KIB, region_env(a), &view.reg);
	call_end(a);
	if (ret == 0 && create)
		CALL(a, memr_heap(view.reg, 4096, 32 * KIB));
	return ret;
}

static void
use_heap(struct actor *a, struct view *v)
{
	u_int64_t *piece = &v->pieces[draw(a, PIECES)], off = 0;
	void *at = NULL;
	size_t bytes = 1 + draw(a, 3000);

	if (*piece != 0)
		CALL(a, memr_free(v->reg, *piece));
	CALL(a, memr_alloc(v->reg, bytes, (size_t)1 << draw(a, 13), &off));
	if ((*piece = off) == 0)
		return;
	CALL(a, memr_addr(v->reg, off, bytes, &at));
	if (at != NULL)
		memset(at, 'x', bytes);
}

static void
region_call(struct actor *a)
{
	struct view *v = a->own;
	DB_REGION_STAT st;
	int ret;

	switch (draw(a, 12)) {
	case 0:
		CALL(a, memr_stat(v->reg, &st));
		break;
	case 1:
		CALL(a, memr_look(a->home->dir, "a", region_env(a), &st));
		break;
	case 2:
		CALL(a, memr_grow(v->reg, draw(a, 260) * KIB));
		break;
	case 3:
		CALL(a, memr_shrink(v->reg, (40 + draw(a, 200)) * KIB));
		break;
	case 4:
		CALL(a, memr_heap(v->reg, 4096 * draw(a, 4), draw(a, 9) * 4 * KIB));
		break;
	case 5:
		CALL(a, ret = memr_lock(v->reg));
		if (ret == 0 || ret == EOWNERDEAD)
			CALL(a, memr_unlock(v->reg));
		break;
	default:
		use_heap(a, v);
		break;
	}
}

static void
region_close(struct actor *a)
{
	CALL(a, memr_close(((struct view *)a->own)->reg));
}

static int
region_remove(struct actor *a)
{
	return memr_unlink(a->home->dir, "a", 1, region_env(a));
}

static struct region *
region_region(const struct actor *a)
{
	return ((struct view *)a->own)->reg->region;
}

static unsigned
region_parts(const struct actor *a, struct part parts[])
{
	const DB_REGION *reg = ((struct view *)a->own)->reg;

	parts[0] = (struct part){ "body", place_in(reg->region, reg->body), sizeof(*reg->body) };
	parts[1] = (struct part){ "heap", memr_data() + 4096, 32 * KIB };
	return 2;
}

const struct target memory_target = { "region", "__db_a.share", region_open, region_call,
	region_close, region_remove, region_region, region_parts, NULL };
