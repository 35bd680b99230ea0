/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/shape.c - the geometry of a lock table: how large it is made, what is where, and whether
 * what a joiner finds is that.
 *
 * A new table has cells for its first locks only, and grows by doubling (cell.c); one in private
 * memory, which does not grow, has all it may ever need, untouched.  The number of buckets is
 * fixed.
 *
 * Matrix and policy come from the creator.  A joiner compares them with its own and goes on with
 * its own copy, so that nobody who can write the region changes who conflicts with whom.
 */
#include "table.h"

#define CELLS_FIRST 4096u
#define CELLS_PRIVATE (1u << 20)
#define BUCKETS_LEAST 1024u
#define BUCKETS_DEFAULT 65536u
#define BUCKETS_MOST (1u << 20)

const u_int8_t db_rw_conflicts[] = {
	/* NG READ WRITE held */
	0, 0, 0, /* NG requested */
	0, 0, 1, /* READ */
	0, 1, 1, /* WRITE */
};

const u_int8_t db_riw_conflicts[] = {
	/* NG READ WRITE IWRITE IREAD IWR held */
	0, 0, 0, 0, 0, 0, /* NG requested */
	0, 0, 1, 1, 0, 1, /* READ */
	0, 1, 1, 1, 1, 1, /* WRITE */
	0, 1, 1, 0, 0, 0, /* IWRITE */
	0, 0, 1, 0, 0, 0, /* IREAD */
	0, 1, 1, 0, 0, 0, /* IWR */
};

static uint64_t
round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

/* Offsets from the body's beginning; returns that of the cells. */
static uint64_t
places(struct lock_table *t, uint64_t body)
{
	t->parts = body + round_up(sizeof(*t), 128);
	t->bells = t->parts + (LOCK_PARTS + 1) * sizeof(struct lock_part);
	t->asked = t->bells + LOCK_CLIENTS * sizeof(uint32_t);
	t->matrix = t->asked + LOCK_CLIENTS * sizeof(uint32_t);
	t->buckets = round_up(t->matrix + (uint64_t)t->nmodes * t->nmodes, 64);
	t->cells = round_up(t->buckets + (uint64_t)t->nbuckets * sizeof(uint32_t), 128);
	return t->cells;
}

void
shape_compute(struct lock_shape *s, uint32_t lk_max, bool is_private)
{
	struct lock_table t = { .nmodes = s->nmodes };
	uint64_t cells = CELLS_FIRST, clients;

	s->bounded = lk_max != 0;
	s->limit = lk_max != 0 && lk_max < CELLS_MAX ? lk_max : CELLS_MAX;
	s->nbuckets = lk_max != 0 ? BUCKETS_LEAST : BUCKETS_DEFAULT;
	while (lk_max != 0 && s->nbuckets < lk_max && s->nbuckets < BUCKETS_MOST)
		s->nbuckets *= 2;
	if (is_private)
		cells = lk_max != 0 ? 3 * (uint64_t)s->limit + CELLS_PRIVATE / 16 : CELLS_PRIVATE;
	t.nbuckets = s->nbuckets;
	clients = round_up(sizeof(RLAYOUT), 64) + (uint64_t)LOCK_CLIENTS * sizeof(struct client);
	s->bytes = clients + places(&t, 0) + cells * sizeof(struct lock_cell);
}

uint32_t
shape_stamp(void)
{
	return LOCK_FORMAT ^
	    (uint32_t)(sizeof(struct lock_cell) ^ sizeof(struct lock_part) << 8 ^
		sizeof(struct lock_table) << 16 ^ LOCK_PARTS << 24);
}

int
shape_init(struct region *r, void *shape)
{
	const struct lock_shape *s = shape;
	struct lock_table *t = region_ptr(r, r->layout->body, sizeof(*t));

	if (t == NULL)
		return EINVAL;
	t->magic = LOCK_MAGIC;
	t->nparts = LOCK_PARTS;
	t->nbuckets = s->nbuckets;
	t->nmodes = s->nmodes;
	t->detect = s->detect;
	t->bounded = s->bounded;
	t->limit = s->limit;
	if (places(t, r->layout->body) > r->size)
		return EINVAL;
	memcpy(r->addr + t->matrix, s->matrix, (size_t)s->nmodes * s->nmodes);
	return 0;
}

/* Is it what shape_init makes for as many modes and buckets? */
static bool
is_sound(const struct region *r, const struct lock_table *t)
{
	struct lock_table want = *t;

	return t->magic == LOCK_MAGIC && t->nparts == LOCK_PARTS && t->nbuckets >= BUCKETS_LEAST &&
	    t->nbuckets <= BUCKETS_MOST && (t->nbuckets & (t->nbuckets - 1)) == 0 &&
	    t->nmodes >= 2 && t->nmodes <= LOCK_MODES_MAX && t->detect < DB_LOCK_POLICIES &&
	    places(&want, r->layout->body) == t->cells && t->cells <= r->size &&
	    memcmp(&want, t, sizeof(want)) == 0;
}

int
shape_attach(DB_LOCKTAB *lt)
{
	struct region *r = lt->region;
	struct lock_table *t = region_ptr(r, r->layout->body, sizeof(*t)), own;
	int ret;

	if (t == NULL)
		return EPROTO;
	own = *t;
	if (!is_sound(r, &own))
		return EPROTO;
	lt->table = t;
	lt->parts = (struct lock_part *)(r->addr + own.parts);
	lt->bells = (uint32_t *)(r->addr + own.bells);
	lt->asked = (uint32_t *)(r->addr + own.asked);
	lt->buckets = (uint32_t *)(r->addr + own.buckets);
	lt->cells = (struct lock_cell *)(r->addr + own.cells);
	lt->cells_offset = own.cells;
	lt->nbuckets = own.nbuckets;
	lt->nmodes = own.nmodes;
	lt->detect = own.detect;
	lt->self = r->self;
	if ((ret = os_calloc(1, (size_t)own.nmodes * own.nmodes, (void **)&lt->matrix)) != 0)
		return ret;
	memcpy(lt->matrix, r->addr + own.matrix, (size_t)own.nmodes * own.nmodes);
	return 0;
}
