/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/look_stat.c - the statistics of a pool from outside.
 *
 * What memp_stat sums is in the region, and stays there when nobody is attached, when the last
 * process was killed, and when the region is panicked.  The parts are copied, the geometry is
 * checked as a joiner's would be, and the same sums are made over the copies.  Nothing is written,
 * no lock is taken: the numbers of a pool in use may be of slightly different moments.
 */
#include <stdlib.h>

#include "format.h"
#include "look.h"

#define CLIENTS_MOST 65536u

/* A handle that nobody can use, over copies. */
struct copied {
	RLAYOUT layout;
	struct region region;
	struct __db_mpool pool;
	uint8_t *head; /* RLAYOUT, clients, struct mpool */
};

/* bytes at offset, in memory from malloc. */
static int
copy_part(const struct region_look *look, uint64_t offset, uint64_t bytes, void **partp)
{
	size_t done;
	void *part;
	int ret;

	if (offset > look->bytes || bytes > look->bytes - offset)
		return EPROTO;
	if ((part = malloc(bytes + 1)) == NULL)
		return ENOMEM;
	ret = region_look_read(look, part, (size_t)bytes, offset, &done);
	if (ret == 0 && done != bytes)
		ret = EPROTO;
	if (ret != 0) {
		free(part);
		return ret;
	}
	*partp = part;
	return 0;
}

static bool
is_our_format(const RLAYOUT *l)
{
	return l->format == REGION_FORMAT && l->byte_order == REGION_BYTE_ORDER &&
	    l->pointer_bytes == sizeof(void *) && l->layout_bytes == sizeof(RLAYOUT) &&
	    l->subsystem_stamp == format_stamp() && l->nclients <= CLIENTS_MOST;
}

static int
copy_head(const struct region_look *look, struct copied *c)
{
	void *part;
	int ret;

	if ((ret = copy_part(look, 0, sizeof(c->layout), &part)) != 0)
		return ret;
	memcpy(&c->layout, part, sizeof(c->layout));
	free(part);
	/* The clients' table is small, so what lies before the body is too. */
	if (!is_our_format(&c->layout) || c->layout.clients > c->layout.body ||
	    c->layout.body > sizeof(RLAYOUT) + ((uint64_t)CLIENTS_MOST + 2) * sizeof(struct client))
		return EPROTO;
	if ((ret = copy_part(look, 0, c->layout.body + sizeof(struct mpool), &part)) != 0)
		return ret;
	c->head = part;
	c->region.addr = c->head;
	c->region.layout = &c->layout;
	c->region.clients = (struct client *)(c->head + c->layout.clients);
	c->region.nclients = c->layout.nclients;
	c->region.size = look->bytes;
	c->pool.region = &c->region;
	c->pool.mp = (struct mpool *)(c->head + c->layout.body);
	ret = format_check(&c->region, c->pool.mp, &c->pool.g);
	/* Whether they live is not asked here. */
	c->region.nclients = 0;
	return ret;
}

static uint64_t
no_more_than(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

int
mpool_look_stat(const struct region_look *look, DB_MPOOL_STAT *st)
{
	struct copied c = { 0 };
	struct geometry *g = &c.pool.g;
	void *blocks = NULL, *rows = NULL;
	uint64_t nblocks, nrows;
	int ret;

	if ((ret = copy_head(look, &c)) == 0) {
		nblocks = no_more_than(c.pool.mp->blocks_used, g->nblocks);
		nrows = no_more_than(c.pool.mp->rows_used, g->nrows);
		ret = copy_part(look, g->blocks, nblocks * sizeof(struct block), &blocks);
		if (ret == 0)
			ret = copy_part(look, g->rows, nrows * sizeof(struct file_row), &rows);
	}
	if (ret == 0) {
		c.pool.blocks = blocks;
		c.pool.rows = rows;
		*st = (DB_MPOOL_STAT){ 0 };
		pool_stat_fill(&c.pool, st);
	}
	free(rows);
	free(blocks);
	free(c.head);
	return ret;
}
