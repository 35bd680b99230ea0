/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/format.c - the places of everything in a pool's region: computed and written by the
 * process that creates it, checked by those that join.
 *
 * A joiner takes nothing on trust: every array must lie inside the region, behind the one before,
 * and every count must be within the limits that the code relies on.
 */
#include <stddef.h>
#include <stdlib.h>

#include "file.h"
#include "format.h"

#define SMALL_POOL ((uint64_t)1 << 20)
#define LARGE_POOL ((uint64_t)64 << 20)
#define PAGE_SHIFT_USUAL 12
#define EXTENT_SHIFT_LARGE 21
#define MAX_CLIENT_NUMBERS 4096
#define CACHE_BYTES_MOST ((uint64_t)1 << 40)

static uint64_t
round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static uint64_t
at_least(uint64_t n, uint64_t least)
{
	return n > least ? n : least;
}

static uint64_t
at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

static uint32_t
power_of_two(uint64_t n)
{
	uint32_t p = 1;

	while (p < n && p < 1u << 31)
		p <<= 1;
	return p;
}

uint32_t
format_clients(uint64_t cache_bytes)
{
	return cache_bytes < SMALL_POOL ? 32 : cache_bytes < LARGE_POOL ? 512 : 1280;
}

uint32_t
format_stamp(void)
{
	return (uint32_t)(sizeof(struct frame) ^ sizeof(struct block) << 3 ^
	    sizeof(struct file_row) << 9 ^ sizeof(struct mpool) << 15 ^ (MPOOL_MAGIC & 0xff) << 24);
}

/* Extents of a sixteenth of the pool at most, so that a small one serves several page sizes. */
static uint32_t
extent_shift(uint64_t cache_bytes)
{
	uint32_t shift = cache_bytes < (128 << 10) ? 13 : PAGE_SHIFT_MAX;

	while (shift < EXTENT_SHIFT_LARGE && (uint64_t)32 << shift <= cache_bytes)
		shift++;
	return shift;
}

/*
 * Whole extents; rounding again changes nothing, so that a joiner computes what the creator did.
 */
static uint64_t
whole_extents(uint64_t cache_bytes)
{
	uint64_t before;

	do {
		before = cache_bytes;
		cache_bytes = round_up(cache_bytes, 1ull << extent_shift(cache_bytes));
	} while (cache_bytes != before);
	return cache_bytes;
}

/* Pages are 4 KiB where it matters; a small pool is prepared for 512 bytes. */
static uint32_t
table_shift(uint64_t initial, unsigned asked)
{
	if (initial < LARGE_POOL)
		return PAGE_SHIFT_MIN;
	return asked != 0 && asked < PAGE_SHIFT_USUAL ? asked : PAGE_SHIFT_USUAL;
}

/*
 * A pool of so many bytes at first, in whole extents of it, and so many at most, likewise; its
 * tables for pages of that size.
 */
static void
counts(struct geometry *g, uint64_t initial, uint64_t cache_bytes, uint32_t shift)
{
	uint64_t pages = cache_bytes >> shift;

	memset(g, 0, sizeof(*g));
	g->magic = MPOOL_MAGIC;
	g->initial_bytes = initial;
	g->table_shift = shift;
	g->extent_shift = extent_shift(initial);
	g->nextents = (uint32_t)(cache_bytes >> g->extent_shift);
	g->cache_bytes = cache_bytes;
	g->frames_per_extent = 1u << (g->extent_shift - PAGE_SHIFT_MIN);
	g->nframes = g->nextents * g->frames_per_extent;
	g->nbuckets = (uint32_t)at_least(pages * 2 / 9, 8); /* a third of the cells stay empty */
	g->noverflow = (uint32_t)round_up(at_least(g->nbuckets / 64, 32), OVERFLOW_CELLS);
	g->nblocks = initial < SMALL_POOL ? 64 : initial < LARGE_POOL ? 256 : 1100;
	g->nrows = (uint32_t)at_most(at_least(cache_bytes >> 14, 64), 1 << 17);
	g->nhash = power_of_two(g->nrows);
	g->nopens = g->nrows * 2;
	g->nhints = (g->nextents + 63) / 64;
	g->nghosts = (uint32_t)round_up(pages * 2 / 5, GHOST_SET);
	g->heap_bytes = round_up((uint64_t)g->nrows * 192, 64);
	while ((g->nframes - 1) >> g->group_shift > 63)
		g->group_shift++;
}

static roff_t
place(uint64_t *end, uint64_t bytes)
{
	roff_t at = *end;

	*end = round_up(at + bytes, 64);
	return at;
}

static void
places(struct geometry *g, roff_t body)
{
	uint64_t end = round_up(body, 64);

	(void)place(&end, sizeof(struct mpool));
	g->blocks = place(&end, (uint64_t)g->nblocks * sizeof(struct block));
	g->rows = place(&end, (uint64_t)g->nrows * sizeof(struct file_row));
	g->hash = place(&end, (uint64_t)g->nhash * sizeof(uint32_t));
	g->opens = place(&end, (uint64_t)g->nopens * sizeof(struct open_record));
	g->heap = place(&end, g->heap_bytes);
	g->buckets = place(&end, (uint64_t)g->nbuckets * sizeof(struct bucket));
	g->overflow = place(&end, (uint64_t)g->noverflow * sizeof(uint64_t));
	g->extents = place(&end, (uint64_t)g->nextents * sizeof(uint64_t));
	g->hints = place(&end, (uint64_t)g->nhints * sizeof(uint64_t));
	g->index = place(&end, g->nframes);
	g->stamps = place(&end, (uint64_t)g->nframes * sizeof(uint32_t));
	g->ghosts = place(&end, (uint64_t)g->nghosts * sizeof(uint32_t));
	/* whole pages of descriptors for each extent of 4 KiB pages in a large pool */
	if (g->initial_bytes >= LARGE_POOL)
		end = round_up(end, 4096);
	g->frames = place(&end, (uint64_t)g->nframes * sizeof(struct frame));
	g->area = round_up(end, at_least(1ull << g->extent_shift, 4096));
	g->region_bytes = g->area + g->cache_bytes;
}

/* The body begins behind RLAYOUT and the client table, on a cache line. */
static roff_t
body_offset(uint32_t nclients)
{
	return round_up(sizeof(RLAYOUT), 64) + (uint64_t)nclients * sizeof(struct client);
}

/* The tables are for what the pool may become, the area is as large as it is at first. */
int
format_compute(uint64_t bytes, uint64_t region_max, unsigned pageshift, struct geometry *g)
{
	roff_t body = body_offset(format_clients(bytes));
	uint64_t initial, most, extent;

	if (bytes < MIN_CACHE_BYTES || bytes > CACHE_BYTES_MOST)
		return EINVAL;
	most = initial = whole_extents(bytes);
	extent = 1ull << extent_shift(initial);
	if (region_max > initial)
		most = at_most(region_max, CACHE_BYTES_MOST) / extent * extent;
	for (;; most -= extent) {
		counts(g, initial, most, table_shift(initial, pageshift));
		places(g, body);
		if (g->region_bytes <= region_max || most == initial)
			return 0;
		/* what is too much is mostly pages */
		if (g->region_bytes - region_max > 16 * extent && most > initial + 32 * extent)
			most -= at_most((g->region_bytes - region_max) * 7 / 8 / extent * extent,
			    most - initial - 32 * extent);
	}
}

uint64_t
format_region_max(uint64_t bytes, uint64_t most, unsigned pageshift)
{
	uint64_t initial = whole_extents(bytes);
	struct geometry g;

	most = round_up(at_most(most, CACHE_BYTES_MOST), 1ull << extent_shift(initial));
	counts(&g, initial, at_least(most, initial), table_shift(initial, pageshift));
	places(&g, body_offset(format_clients(bytes)));
	return g.region_bytes;
}

uint64_t
format_initial_bytes(const struct geometry *g)
{
	return g->area + g->initial_bytes;
}

size_t
format_align(const struct geometry *g)
{
	return at_least(1ull << g->extent_shift, 4096);
}

int
format_init(struct region *r, void *arg)
{
	const struct geometry *g = arg;
	struct mpool *mp = region_ptr(r, r->layout->body, sizeof(*mp));
	struct geometry own = *g;
	uint64_t *extents;

	if (mp == NULL || r->nclients > MAX_CLIENT_NUMBERS)
		return EINVAL;
	places(&own, r->layout->body);
	if (format_initial_bytes(&own) > r->size || own.region_bytes > r->mapped)
		return EINVAL;
	mp->g = own;
	mp->extents_open = (uint32_t)(own.initial_bytes >> own.extent_shift);
	extents = (uint64_t *)(void *)(r->addr + own.extents);
	for (uint32_t e = mp->extents_open; e < own.nextents; e++)
		extents[e] = EXTENT_CLOSED;
	return shalloc_init(r->addr + own.heap, own.heap_bytes);
}

/* Do the places follow one another, in order, and end inside the region? */
static bool
places_are_sound(const struct geometry *g, const struct region *r)
{
	struct geometry want = *g;

	places(&want,
	    (roff_t)((uint8_t *)r->clients - r->addr) +
		(uint64_t)r->nclients * sizeof(struct client));
	return memcmp(&want, g, sizeof(want)) == 0 && g->area <= r->size;
}

int
format_check(const struct region *r, const struct mpool *mp, struct geometry *copy)
{
	struct geometry g, want;

	/* the body's place is shared memory's; a copy of the region is where malloc put it */
	if ((uintptr_t)mp % _Alignof(max_align_t) != 0)
		return EPROTO;
	g = mp->g;
	if (g.magic != MPOOL_MAGIC || g.initial_bytes < MIN_CACHE_BYTES ||
	    g.initial_bytes > g.cache_bytes || g.cache_bytes > CACHE_BYTES_MOST ||
	    g.initial_bytes != whole_extents(g.initial_bytes) || g.table_shift < PAGE_SHIFT_MIN ||
	    g.table_shift > PAGE_SHIFT_USUAL)
		return EPROTO;
	counts(&want, g.initial_bytes, g.cache_bytes, g.table_shift);
	if (g.cache_bytes % (1ull << want.extent_shift) != 0 ||
	    g.extent_shift != want.extent_shift || g.nextents != want.nextents ||
	    g.nframes != want.nframes || g.frames_per_extent != want.frames_per_extent ||
	    g.nbuckets != want.nbuckets || g.noverflow != want.noverflow ||
	    g.nblocks != want.nblocks || g.nrows != want.nrows || g.nhash != want.nhash ||
	    g.nopens != want.nopens || g.nhints != want.nhints ||
	    g.group_shift != want.group_shift || g.heap_bytes != want.heap_bytes ||
	    g.nghosts != want.nghosts || g.barrier > 1 ||
	    (g.policy != DB_POLICY_LRU && g.policy != DB_POLICY_ADAPTIVE))
		return EPROTO;
	if (!places_are_sound(&g, r))
		return EPROTO;
	*copy = g;
	return 0;
}

void
format_addresses(DB_MPOOL *p)
{
	uint8_t *base = p->region->addr;
	const struct geometry *g = &p->g;

	p->frame_mask = g->frames_per_extent - 1;
	p->common = g->frames_per_extent / 8;
	p->blocks = (struct block *)(base + g->blocks);
	p->rows = (struct file_row *)(base + g->rows);
	p->hash = (uint32_t *)(base + g->hash);
	p->opens = (struct open_record *)(base + g->opens);
	p->heap = base + g->heap;
	p->buckets = (struct bucket *)(base + g->buckets);
	p->overflow = (uint64_t *)(base + g->overflow);
	p->extents = (uint64_t *)(base + g->extents);
	p->hints = (uint64_t *)(base + g->hints);
	p->index = base + g->index;
	p->stamps = (uint32_t *)(base + g->stamps);
	p->ghosts = (uint32_t *)(base + g->ghosts);
	p->frames = (struct frame *)(base + g->frames);
	p->area = base + g->area;
}

void
format_pages_used(const DB_MPOOL *p)
{
	uint64_t area = p->g.area & ~(uint64_t)(os_page_size() - 1);

	/* Of the tables only descriptors of pages that there are. */
	if (!p->region->is_system && !p->region->is_private && area < p->region->mapped)
		os_not_scattered(p->region->addr + area, p->region->mapped - (size_t)area);
}

/* For the message about a region of an earlier boot: frames that are dirty. */
uint64_t
format_count_dirty(struct region *r, void *arg)
{
	struct mpool *mp = region_ptr(r, r->layout->body, sizeof(*mp));
	const struct frame *frames;
	struct geometry g;
	uint64_t n = 0;

	(void)arg;
	if (mp == NULL || format_check(r, mp, &g) != 0)
		return 0;
	frames = (const struct frame *)(r->addr + g.frames);
	for (uint32_t f = 0; f < g.nframes; f++)
		if (frames[f].word & FW_DIRTY)
			n++;
	return n;
}
