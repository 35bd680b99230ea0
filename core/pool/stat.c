/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/stat.c - memp_stat: sums over the thread blocks and the open records.
 *
 * Nobody is blocked and nothing is locked but the region lock while paths are copied.  Totals
 * that must fit together are derived from one another, so that they do at any instant (rule S9):
 * fgets from hits, misses and new pages; clean pages from what came in, what left, and what is
 * dirty.
 */
#include <stdlib.h>

#include "file.h"
#include "recount.h"
#include "tally.h"

static uint64_t
minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/*
 * From counters that were read one after the other: nothing goes below 0, dirty is part of
 * resident.
 */
static void
pages_from(const uint64_t c[], uint64_t *residentp, uint64_t *dirtyp)
{
	*residentp = minus(c[C_IN] + c[C_CREATE], c[C_RO_EVICT] + c[C_RW_EVICT]);
	*dirtyp = minus(c[C_DIRTIED], c[C_CLEANED]);
	if (*dirtyp > *residentp)
		*dirtyp = *residentp;
}

void
pool_pages(const DB_MPOOL *p, uint64_t *residentp, uint64_t *dirtyp)
{
	uint64_t c[COUNTERS];

	for (unsigned i = 0; i < COUNTERS; i++)
		c[i] = counter_sum(p, (enum counter)i);
	pages_from(c, residentp, dirtyp);
}

static uint64_t
all_pins(const DB_MPOOL *p)
{
	uint32_t used = load_acquire(&p->mp->blocks_used);
	uint64_t n = 0;

	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++)
		for (unsigned k = 0; k < BLOCK_SLOTS; k++)
			n += load_relaxed(&p->blocks[i].slots[k]) != 0;
	return n;
}

static void
fill_rows(const DB_MPOOL *p, DB_MPOOL_STAT *s)
{
	for (uint32_t r = 0; r < rows_used(p); r++) {
		const struct file_row *row = &p->rows[r];

		if (load_relaxed(&row->id) == 0)
			continue;
		s->st_files++;
		if (load_relaxed(&row->stranded))
			s->st_stranded += load_relaxed(&row->dirty);
	}
}

void
pool_stat_fill(DB_MPOOL *p, DB_MPOOL_STAT *s)
{
	uint64_t c[COUNTERS];

	for (unsigned i = COUNTERS; i-- > 0;)
		c[i] = counter_sum(p, (enum counter)i);
	c[C_HIT] = tally_sum(p);
	s->st_cachesize = pool_bytes(p);
	s->st_policy = p->g.policy;
	s->st_barrier = p->g.barrier;
	s->st_cache_hit = c[C_HIT];
	s->st_cache_miss = c[C_MISS];
	s->st_page_new = c[C_NEW];
	s->st_map = c[C_MAP];
	s->st_fget = c[C_HIT] + c[C_MISS] + c[C_MAP] + c[C_NEW];
	s->st_page_create = c[C_CREATE];
	s->st_page_in = c[C_IN];
	s->st_page_out = c[C_OUT];
	s->st_ro_evict = c[C_RO_EVICT];
	s->st_rw_evict = c[C_RW_EVICT];
	s->st_hash_buckets = p->g.nbuckets;
	s->st_hash_searches = c[C_HIT] + c[C_SEARCHES];
	s->st_hash_examined = s->st_hash_searches + c[C_EXAMINED];
	s->st_hash_longest = c[C_OVERFLOWED] > 0 ? 3 :
	    c[C_EXAMINED] > 0			 ? 2 :
						   s->st_hash_searches > 0;
	pages_from(c, &s->st_page_clean, &s->st_page_dirty);
	s->st_page_clean -= s->st_page_dirty;
	s->st_page_trickle = c[C_TRICKLE];
	s->st_suspect = c[C_SUSPECT];
	s->st_prefetch = c[C_PREFETCH];
	s->st_read_bytes = c[C_READ_BYTES];
	s->st_write_bytes = c[C_WRITE_BYTES];
	s->st_reaped = c[C_REAPED];
	s->st_pins = all_pins(p);
	s->st_clients = client_count(p->region);
	fill_rows(p, s);
}

/* Hits of a handle that are still with the threads that had them. */
static uint64_t
tallied(const DB_MPOOL *p, uint64_t number)
{
	uint32_t used = load_acquire(&p->mp->blocks_used);
	uint64_t n = 0;

	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++) {
		const struct tally *y = &p->blocks[i].tallies[number % BLOCK_TALLIES];

		if (load_relaxed(&y->record) == number)
			n += load_relaxed(&y->hit);
	}
	return n;
}

static void
add_handles(const DB_MPOOL *p, uint32_t id, DB_MPOOL_FSTAT *s)
{
	for (uint32_t i = 0; i < opens_used(p); i++) {
		const struct open_record *rec = &p->opens[i];

		if (load_acquire(&rec->owner) == 0 || rec->file != id)
			continue;
		s->st_cache_hit += load_relaxed(&rec->hit) + tallied(p, (uint64_t)i + 1);
		s->st_cache_miss += load_relaxed(&rec->miss);
		s->st_map += load_relaxed(&rec->map);
	}
}

static void
fill_file(const DB_MPOOL *p, const struct file_row *row, uint32_t id, DB_MPOOL_FSTAT *s)
{
	if (load_acquire(&row->id) != id)
		return; /* forgotten since it was listed */
	s->st_pagesize = (size_t)1 << (row->pageshift & 31);
	s->st_cache_hit = load_relaxed(&row->hit);
	s->st_cache_miss = load_relaxed(&row->miss);
	s->st_map = load_relaxed(&row->map);
	s->st_page_create = load_relaxed(&row->create);
	s->st_page_in = load_relaxed(&row->in);
	s->st_page_out = load_relaxed(&row->out);
	s->st_length = load_relaxed(&row->length);
	s->st_page_resident = load_relaxed(&row->resident);
	s->st_page_dirty = load_relaxed(&row->dirty);
	s->st_opens = load_relaxed(&row->opens);
	s->st_ftype = row->ftype;
	s->st_error = (int)load_relaxed(&row->error);
	s->st_stranded = s->st_page_dirty > 0 && load_relaxed(&row->stranded) != 0;
	if (s->st_opens > 0)
		add_handles(p, id, s);
}

/* The rows in use, with copies of their paths: arrays of n, from malloc. */
struct listing {
	unsigned n;
	uint32_t *ids;
	char **paths;
	size_t bytes; /* of all paths */
};

static void
listing_free(struct listing *l)
{
	for (unsigned i = 0; i < l->n; i++)
		free(l->paths[i]);
	free(l->paths);
	free(l->ids);
}

static int
listing_make(DB_MPOOL *p, struct listing *l)
{
	memset(l, 0, sizeof(*l));
	l->ids = malloc(p->g.nrows * sizeof(*l->ids));
	l->paths = malloc(p->g.nrows * sizeof(*l->paths));
	if (l->ids == NULL || l->paths == NULL) {
		listing_free(l);
		return ENOMEM;
	}
	for (uint32_t r = 0; r < rows_used(p); r++) {
		uint32_t id = load_acquire(&p->rows[r].id);
		char *path;

		if (id == 0)
			continue;
		path = file_path(p, &p->rows[r], id);
		l->ids[l->n] = id;
		l->paths[l->n++] = path != NULL ? path : strdup("(temporary)");
		l->bytes += l->paths[l->n - 1] ? strlen(l->paths[l->n - 1]) + 1 : 0;
	}
	return 0;
}

/* One block: pointers, structures, names. */
static int
fill_files(DB_MPOOL *p, DB_MPOOL_FSTAT ***fsp, void *(*db_malloc)(size_t))
{
	struct listing l;
	DB_MPOOL_FSTAT **list, *s;
	char *names;
	int ret;

	if ((ret = listing_make(p, &l)) != 0)
		return ret;
	if (l.n == 0) {
		*fsp = NULL;
		listing_free(&l);
		return 0;
	}
	list = db_malloc((l.n + 1) * sizeof(*list) + l.n * sizeof(*s) + l.bytes + l.n);
	if (list == NULL) {
		listing_free(&l);
		return ENOMEM;
	}
	s = (DB_MPOOL_FSTAT *)(list + l.n + 1);
	names = (char *)(s + l.n);
	for (unsigned i = 0; i < l.n; i++, s++) {
		memset(s, 0, sizeof(*s));
		fill_file(p, &p->rows[l.ids[i] % p->g.nrows], l.ids[i], s);
		s->file_name = strcpy(names, l.paths[i] != NULL ? l.paths[i] : "");
		names += strlen(names) + 1;
		list[i] = s;
	}
	list[l.n] = NULL;
	*fsp = list;
	listing_free(&l);
	return 0;
}

int
memp_stat(DB_MPOOL *p, DB_MPOOL_STAT **gsp, DB_MPOOL_FSTAT ***fsp, void *(*db_malloc)(size_t))
{
	DB_MPOOL_STAT *s = NULL;
	struct thread *t;
	int ret;

	if (p == NULL)
		return EINVAL;
	/* the status of a panicked region can be read: it is how people learn of it */
	if (region_usable(p->region) == DB_RUNRECOVERY)
		ret = thread_self(p, &t);
	else if ((ret = enter(p, &t)) == 0)
		recount(t, false);
	if (ret != 0)
		return ret;
	file_fd_sweep(p);
	if (db_malloc == NULL)
		db_malloc = malloc;
	if (gsp != NULL) {
		if ((s = db_malloc(sizeof(*s))) == NULL)
			return ENOMEM;
		memset(s, 0, sizeof(*s));
		pool_stat_fill(p, s);
	}
	if (fsp != NULL && (ret = fill_files(p, fsp, db_malloc)) != 0) {
		if (db_malloc == malloc)
			free(s);
		return ret;
	}
	if (gsp != NULL)
		*gsp = s;
	return 0;
}
