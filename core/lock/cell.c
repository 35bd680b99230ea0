/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/cell.c - where cells come from: a partition's free list, the reserve, the region's end.
 *
 * A partition takes free cells in batches, and likewise its share of lk_max, so that partitions do
 * not touch common words at each request.  When nothing is left the region grows; when it cannot,
 * or lk_max is reached, what other partitions have and do not use is collected in the reserve, and
 * then the locks that are kept idle.
 *
 * The shares (part->allow) change under the reserve's lock alone, and what nobody has yet is lk_max
 * less their sum: one store moves a piece, and none is lost with a process that dies.
 */
#include "table.h"

#define PROVIDE_TRIES 8

int
table_damaged(DB_LOCKTAB *lt, const char *what, uint32_t where)
{
	return region_panic(lt->region, "lock table: %s (%u)", what, where);
}

/*
 * Are there so many?  The last one of them has a word then: a region that is only reserved so far
 * has zeros behind its last cell, whatever is said of its size.
 */
static bool
cells_are_there(DB_LOCKTAB *lt, uint32_t n)
{
	const struct lock_cell *cells;

	if (n == 0)
		return true;
	if (n > CELLS_MAX)
		return false;
	cells = region_ptr(lt->region, lt->cells_offset, (size_t)n * sizeof(struct lock_cell));
	return cells != NULL && load_relaxed(&cells[n - 1].word) != 0;
}

uint32_t
cells_known(DB_LOCKTAB *lt)
{
	uint32_t n = load_acquire(&lt->table->ncells), known = load_relaxed(&lt->ncells);

	if (n <= known)
		return known;
	if (!cells_are_there(lt, n)) {
		(void)table_damaged(lt, "it says that it has more cells than it has", n);
		return known;
	}
	store_relaxed(&lt->ncells, n);
	return n;
}

struct lock_cell *
cell_pop(DB_LOCKTAB *lt, uint32_t part)
{
	struct lock_part *p = &lt->parts[part];
	struct lock_cell *c = cell_of(lt, p->free, CELL_FREE, part);

	if (c == NULL) {
		/* whatever the count said */
		p->free = p->nfree = 0;
		return NULL;
	}
	p->free = c->next;
	if (p->nfree > 0)
		p->nfree--;
	return c;
}

void
cell_push(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c)
{
	struct lock_part *p = &lt->parts[part];
	uint32_t life = word_life(load_relaxed(&c->word)) + 1;

	store_release(&c->word, cell_word(CELL_FREE, 0, part, life != 0 ? life : 1));
	c->next = p->free;
	p->free = cell_number(lt, c);
	p->nfree++;
}

/* --- the reserve --------------------------------------------------------------------------- */

static uint32_t
cells_possible(const DB_LOCKTAB *lt, uint64_t region_bytes)
{
	uint64_t bytes = region_bytes > lt->cells_offset ? region_bytes - lt->cells_offset : 0;
	uint64_t n = bytes / sizeof(struct lock_cell);

	return n < CELLS_MAX ? (uint32_t)n : CELLS_MAX;
}

/* A cell that was never used, for the reserve, which is locked. */
static struct lock_cell *
cell_carve(DB_LOCKTAB *lt)
{
	struct lock_table *t = lt->table;
	uint32_t n = load_relaxed(&t->ncells);
	struct lock_cell *c;

	if (n >= cells_possible(lt, load_relaxed(&lt->region->size)))
		return NULL;
	c = &lt->cells[n];
	store_relaxed(&c->word, cell_word(CELL_FREE, 0, RESERVE, 1));
	store_release(&t->ncells, n + 1);
	return c;
}

static struct lock_cell *
reserve_pop(DB_LOCKTAB *lt)
{
	struct lock_cell *c = cell_pop(lt, RESERVE);

	return c != NULL ? c : cell_carve(lt);
}

/* From the locked reserve to a locked partition, n of them if there are so many.  L3. */
static void
cells_take(DB_LOCKTAB *lt, uint32_t part, uint32_t n)
{
	struct lock_cell *c;

	while (n-- > 0 && (c = reserve_pop(lt)) != NULL)
		cell_push(lt, part, c);
}

static uint64_t
shares_given(const DB_LOCKTAB *lt)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < LOCK_PARTS; i++)
		sum += load_relaxed(&lt->parts[i].allow);
	return sum;
}

/* Both are locked. */
static void
share_take(DB_LOCKTAB *lt, struct lock_part *p)
{
	uint32_t limit = load_relaxed(&lt->table->limit), batch = limit / (4 * LOCK_PARTS) + 1;
	uint64_t given = shares_given(lt), left = given < limit ? limit - given : 0;

	store_relaxed(&p->allow, p->allow + (left < batch ? (uint32_t)left : batch));
}

static bool
part_has(const struct lock_part *p, uint32_t n, bool want_lock)
{
	return p->nfree >= n && (!want_lock || p->nlocks < p->allow);
}

/* One look.  *hadp: it has what is wanted. */
static int
provide_once(DB_LOCKTAB *lt, uint32_t part, uint32_t n, bool want_lock, bool *hadp)
{
	struct lock_part *p = &lt->parts[part];
	int ret;

	if ((ret = part_lock(lt, part)) != 0)
		return ret;
	if (part == RESERVE) {
		if (p->nfree < n)
			cells_take(lt, part, 1);
	} else if (!part_has(p, n, want_lock) && (ret = part_lock(lt, RESERVE)) == 0) {
		if (want_lock && p->nlocks >= p->allow)
			share_take(lt, p);
		if (p->nfree < n)
			cells_take(lt, part, n - p->nfree + CELL_BATCH);
		part_unlock(lt, RESERVE);
	}
	*hadp = part_has(p, n, want_lock);
	part_unlock(lt, part);
	return ret;
}

/* --- more ---------------------------------------------------------------------------------- */

/* As many again as there are.  False: the region is as large as it may become. */
static bool
cells_grow(DB_LOCKTAB *lt)
{
	struct region *r = lt->region;
	uint64_t size = load_relaxed(&r->size), want = size + (size - lt->cells_offset);

	if (r->is_private || cells_possible(lt, size) >= CELLS_MAX || size >= r->mapped ||
	    size <= lt->cells_offset)
		return false;
	if (want > r->mapped)
		want = r->mapped;
	return region_grow(r, want) == 0;
}

/* What a partition has and does not use goes to the reserve; sweep: idle locks before that. */
static int
part_strip(DB_LOCKTAB *lt, uint32_t part, bool sweep)
{
	struct lock_part *p = &lt->parts[part];
	struct lock_cell *c;
	int ret;

	if (p->nfree == 0 && p->allow <= p->nlocks && (!sweep || p->nlocks == 0))
		return 0;
	if ((ret = part_lock(lt, part)) != 0)
		return ret;
	if (sweep && (ret = part_sweep(lt, part)) != 0) {
		part_unlock(lt, part);
		return ret;
	}
	if ((ret = part_lock(lt, RESERVE)) == 0) {
		if (p->allow > p->nlocks)
			store_relaxed(&p->allow, p->nlocks);
		while ((c = cell_pop(lt, part)) != NULL)
			cell_push(lt, RESERVE, c);
		part_unlock(lt, RESERVE);
	}
	part_unlock(lt, part);
	return ret;
}

static int
parts_strip(DB_LOCKTAB *lt, uint32_t except, bool sweep)
{
	int ret = 0;

	for (uint32_t i = 0; i < LOCK_PARTS && ret == 0; i++)
		if (i != except || sweep)
			ret = part_strip(lt, i, sweep);
	return ret;
}

int
cells_provide(DB_LOCKTAB *lt, uint32_t part, uint32_t n, bool want_lock)
{
	bool had = false;
	int ret = 0;

	/* Who is overtaken each time by others has no less right to an error than to a place. */
	for (unsigned tries = 0; tries < PROVIDE_TRIES; tries++) {
		if ((ret = provide_once(lt, part, n, want_lock, &had)) != 0 || had)
			return ret;
		if (lt->parts[part].nfree < n && cells_grow(lt))
			continue;
		if ((ret = parts_strip(lt, part, tries % 2 == 1)) != 0)
			return ret;
	}
	return ENOMEM;
}
