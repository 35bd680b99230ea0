/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/prefetch.c - runs of missing pages read with one request: memp_fprefetch, and what is read
 * ahead of a sequential reader.
 *
 * A run ends at the first page that somebody has already, or for which there is no frame at hand:
 * while it holds LOADING frames a thread waits for nobody (P9).  Pages that come in a run are not
 * pinned and not marked as used: who asks for one marks it, and those that nobody asks for are
 * the first to go.
 *
 * Reading ahead needs no thread of its own.  A handle remembers a few places where a miss would
 * go on from an earlier one.  The third miss in a row there reads a small run, each further one,
 * which comes at the run's end, a run twice as long, up to an eighth of the pool; random access
 * never gets that far.
 */
#include "prefetch.h"
#include "extent.h"
#include "frame.h"
#include "load.h"
#include "mapping.h"
#include "mount.h"
#include "page_io.h"

#define RUN_BYTES ((size_t)1 << 20) /* of a run at most */
#define LOOK_AHEAD 8		    /* pages whose buckets are asked for early */
#define AHEAD_FIRST 4		    /* pages of the first run of a sequential reader */
#define AHEAD_LEAST 8		    /* longest run for which reading ahead is worth it */

struct run {
	struct getting g;
	uint32_t slot; /* stands in for a slot in the region: a prefetched page is not pinned */
	bool asked;    /* the first page is what the caller wants, and not read ahead of it */
	struct mpool_fetched *fetched; /* they all are, and it is to say which came; else NULL */
	unsigned n;
	uint64_t cuts; /* the row's, before the first was published */
	uint32_t frames[BATCH];
};

/* Publish LOADING frames for pages from pgno on, up to the first that somebody has (P9). */
static int
run_publish(struct run *r, db_pgno_t pgno, unsigned most)
{
	struct getting *g = &r->g;
	int ret = 0;

	r->cuts = load_seq(&g->mpf->row->cuts);
	for (r->n = 0; r->n < most; r->n++) {
		table_prefetch(g->t->pool, page_key(g->mpf->file, pgno + r->n + LOOK_AHEAD));
		g->holds = r->n > 0;
		g->t->wanted = most - r->n;
		g->pgno = pgno + r->n;
		g->key = page_key(g->mpf->file, g->pgno);
		g->at = table_place(g->t->pool, g->key);
		if (table_look(g->t->pool, &g->at, g->key) != NO_FRAME ||
		    (ret = load_publish(g, false)) != 0)
			break;
		if (file_truncating(g->mpf->row, g->pgno, g->mpf->pageshift)) {
			load_abandon(g);
			break;
		}
		r->frames[r->n] = g->f;
	}
	g->t->wanted = 0;
	return ret == EEXIST ? 0 : ret;
}

/* One more page of bytes at addr: frames that lie one behind the other are one piece. */
static int
iov_add(struct iovec iov[], int n, void *addr, size_t bytes)
{
	if (n > 0 && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == addr) {
		iov[n - 1].iov_len += bytes;
		return n;
	}
	iov[n].iov_base = addr;
	iov[n].iov_len = bytes;
	return n + 1;
}

static int
run_read(struct run *r, db_pgno_t first, size_t *donep)
{
	DB_MPOOLFILE *mpf = r->g.mpf;
	uint64_t off = (uint64_t)first << mpf->pageshift, length = load_acquire(&mpf->row->length);
	struct iovec iov[BATCH];
	uint64_t left = off < length ? length - off : 0, begun;
	int n = 0, ret;

	for (unsigned i = 0; i < r->n && left > 0; i++) {
		size_t bytes = left < mpf->pagesize ? (size_t)left : mpf->pagesize;

		n = iov_add(
		    iov, n, frame_address(r->g.t->pool, r->frames[i], mpf->pageshift), bytes);
		left -= bytes;
	}
	*donep = 0;
	if (n == 0 || mpf->fd == -1)
		return 0;
	begun = os_monotonic_usec();
	ret = os_preadv(mpf->fd, iov, n, off, donep);
	latency_add(&r->g.t->pool->mp->latency[LATENCY_READ], os_monotonic_usec() - begun);
	return ret;
}

static void
fetched_came(struct mpool_fetched *fetched, db_pgno_t pgno)
{
	db_pgno_t i = pgno - fetched->first;

	if (i < fetched->n)
		fetched->came[i / 64] |= 1ull << i % 64;
}

/* Page i of the run holds what was read, zeros behind it; pgin; VALID or gone. */
static bool
run_settle(struct run *r, db_pgno_t first, unsigned i, int error, size_t done)
{
	struct getting *g = &r->g;
	size_t size = g->mpf->pagesize, have;
	uint8_t *page;

	g->pgno = first + i;
	g->key = page_key(g->mpf->file, g->pgno);
	g->f = r->frames[i];
	page = frame_address(g->t->pool, g->f, g->mpf->pageshift);
	have = done <= i * size ? 0 : done - i * size < size ? done - i * size : size;
	if (error == 0) {
		page_clear_rest(page, have, size);
		error = page_in(g->t, g->mpf, page, g->pgno);
	}
	if (error != 0 || load_seq(&g->mpf->row->cuts) != r->cuts || !load_finish(g)) {
		load_abandon(g);
		return false;
	}
	store_relaxed(table_memo(g->t->pool, g->mpf->file, g->pgno), g->f);
	if (r->fetched != NULL)
		fetched_came(r->fetched, g->pgno);
	else
		count(g->t, C_PREFETCH, i > 0 || !r->asked);
	count(g->t, C_READ_BYTES, have);
	return true;
}

/*
 * Read a run of `most` pages at most from pgno on, of which the first is asked for, or none is.
 * *np: how many it had; false: the first of them is not there now.  The newest note is cleared
 * first: so that is found at once.
 */
static bool
run(struct thread *t, DB_MPOOLFILE *mpf, db_pgno_t pgno, unsigned most, bool asked,
    struct mpool_fetched *fetched, unsigned *np, int *retp)
{
	struct run r = {
		.g = { .t = t, .mpf = mpf, .ahead = true }, .asked = asked, .fetched = fetched
	};
	bool first = false;
	size_t done;
	int error;

	r.g.slot = &r.slot;
	*retp = run_publish(&r, pgno, most);
	if ((*np = r.n) == 0)
		return false;
	error = run_read(&r, pgno, &done);
	for (unsigned i = r.n; i-- > 0;)
		first = run_settle(&r, pgno, i, error, done);
	return first;
}

/* How many pages of that size a run may have. */
static unsigned
run_most(const DB_MPOOL *p, unsigned pageshift)
{
	uint64_t n = (pool_bytes(p) >> pageshift) / 8;

	if (n > RUN_BYTES >> pageshift)
		n = RUN_BYTES >> pageshift;
	return n > BATCH ? BATCH : (unsigned)n;
}

/* --- reading ahead ------------------------------------------------------------------------- */

/*
 * A place's word: the page at which a miss would go on << 32 | misses so far, or the last run's
 * pages.  So many pages further is still the same reader: somebody else has those between.
 */
static bool
ahead_find(const DB_MPOOLFILE *mpf, db_pgno_t pgno, unsigned *ip, unsigned *lastp)
{
	for (unsigned i = 0; i < AHEAD_PLACES; i++) {
		uint64_t w = load_relaxed(&mpf->ahead[i]);

		if (pgno - (db_pgno_t)(w >> 32) < (uint32_t)w) {
			*ip = i;
			*lastp = (uint32_t)w;
			return true;
		}
	}
	return false;
}

static void
ahead_store(DB_MPOOLFILE *mpf, unsigned i, uint64_t next, unsigned last)
{
	store_relaxed(&mpf->ahead[i], next << 32 | last);
}

bool
ahead_read(struct thread *t, DB_MPOOLFILE *mpf, db_pgno_t pgno)
{
	DB_MPOOL *p = t->pool;
	uint64_t pages = pages_of(mpf, load_seq(&mpf->row->length)), n;
	unsigned most = run_most(p, mpf->pageshift), i, last, got;
	bool first;
	int ret;

	if (most < AHEAD_LEAST || p->no_ahead || mpf->fd == -1)
		return false;
	if (!ahead_find(mpf, pgno, &i, &last)) {
		i = (unsigned)add_relaxed(&mpf->ahead_turn, 1) % AHEAD_PLACES;
		ahead_store(mpf, i, (uint64_t)pgno + 1, 1);
		return false;
	}
	n = last < 2 ? 1 : last * 2u < AHEAD_FIRST ? AHEAD_FIRST : last * 2u;
	if (n > most)
		n = most;
	if (pgno >= pages || n > pages - pgno)
		n = pgno < pages ? pages - pgno : 1;
	ahead_store(mpf, i, (uint64_t)pgno + 1, 2);
	if (n < 2)
		return false;
	first = run(t, mpf, pgno, (unsigned)n, true, NULL, &got, &ret);
	if (first)
		ahead_store(mpf, i, (uint64_t)pgno + got, (unsigned)n);
	return first;
}

/* --- what a caller knows that it needs -------------------------------------------------------- */

static int
prefetch(DB_MPOOLFILE *mpf, db_pgno_t first, db_pgno_t n, struct mpool_fetched *fetched)
{
	uint64_t pages, left, pgno = first;
	struct thread *t;
	unsigned most, got;
	int ret;

	if (mpf == NULL)
		return EINVAL;
	if ((ret = enter(mpf->pool, &t)) != 0 || mapping_serves(mpf))
		return ret;
	pages = pages_of(mpf, load_seq(&mpf->row->length));
	/* more than half of the pool would drive out what was read first */
	left = (pool_bytes(mpf->pool) >> mpf->pageshift) / 2;
	if (left > n)
		left = n;
	if ((most = run_most(mpf->pool, mpf->pageshift)) == 0)
		most = 1;
	while (left > 0 && pgno < pages && ret == 0) {
		uint64_t want = left < most ? left : most;

		if (want > pages - pgno)
			want = pages - pgno;
		(void)run(t, mpf, (db_pgno_t)pgno, (unsigned)want, false, fetched, &got, &ret);
		if (got == 0)
			got = 1;
		pgno += got;
		left -= got;
	}
	return 0;
}

int
memp_fprefetch(DB_MPOOLFILE *mpf, db_pgno_t first, db_pgno_t n)
{
	return prefetch(mpf, first, n, NULL);
}

int
mpool_fetch(DB_MPOOLFILE *mpf, db_pgno_t first, db_pgno_t n, struct mpool_fetched *fetched)
{
	fetched->first = first;
	fetched->n = n < MPOOL_FETCH_MOST ? n : MPOOL_FETCH_MOST;
	memset(fetched->came, 0, sizeof(fetched->came));
	return prefetch(mpf, first, fetched->n, fetched);
}
