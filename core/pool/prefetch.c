/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/prefetch.c - memp_fprefetch: runs of missing pages read with one request, pinning nothing.
 *
 * A run ends at the first page that somebody has already, or for which there is no frame at hand:
 * while it holds LOADING frames a thread waits for nobody (P9).
 */
#include "frame.h"
#include "load.h"
#include "look.h"
#include "page_io.h"

struct run {
	struct getting g;
	uint32_t slot; /* stands in for a slot in the region: a prefetched page is not pinned */
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
	return ret == EEXIST ? 0 : ret;
}

static int
run_read(struct run *r, db_pgno_t first, size_t *donep)
{
	DB_MPOOLFILE *mpf = r->g.mpf;
	uint64_t off = (uint64_t)first << mpf->pageshift, length = load_acquire(&mpf->row->length);
	struct iovec iov[BATCH];
	uint64_t left = off < length ? length - off : 0, begun;
	int n = 0, ret;

	for (unsigned i = 0; i < r->n && left > 0; i++, n++) {
		iov[n].iov_base = frame_address(r->g.t->pool, r->frames[i], mpf->pageshift);
		iov[n].iov_len = left < mpf->pagesize ? (size_t)left : mpf->pagesize;
		left -= iov[n].iov_len;
	}
	*donep = 0;
	if (n == 0 || mpf->fd == -1)
		return 0;
	begun = os_monotonic_usec();
	ret = os_preadv(mpf->fd, iov, n, off, donep);
	latency_add(&r->g.t->pool->mp->latency[LATENCY_READ], os_monotonic_usec() - begun);
	return ret;
}

/* Page i of the run holds what was read, zeros behind it; pgin; VALID or gone. */
static void
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
		memset(page + have, 0, size - have);
		error = page_in(g->t, g->mpf, page, g->pgno);
	}
	if (error != 0 || load_seq(&g->mpf->row->cuts) != r->cuts || !load_finish(g)) {
		load_abandon(g);
		return;
	}
	count(g->t, C_PREFETCH, 1);
	count(g->t, C_READ_BYTES, have);
}

int
memp_fprefetch(DB_MPOOLFILE *mpf, db_pgno_t first, db_pgno_t n)
{
	struct run r = { .g = { .mpf = mpf } };
	uint64_t pages, batch;
	db_pgno_t pgno = first;
	size_t done;
	int ret;

	if (mpf == NULL)
		return EINVAL;
	if ((ret = enter(mpf->pool, &r.g.t)) != 0)
		return ret;
	r.g.slot = &r.slot;
	pages = pages_of(mpf, load_seq(&mpf->row->length));
	batch = (mpf->pool->g.cache_bytes >> mpf->pageshift) / 8;
	if (batch > BATCH)
		batch = BATCH;
	while (batch > 1 && n > 0 && pgno < pages) {
		uint64_t most = n < batch ? n : batch;

		if (most > pages - pgno)
			most = pages - pgno;
		ret = run_publish(&r, pgno, (unsigned)most);
		if (r.n > 0) {
			int error = run_read(&r, pgno, &done);

			for (unsigned i = 0; i < r.n; i++)
				run_settle(&r, pgno, i, error, done);
		}
		if (ret != 0)
			break;
		most = r.n > 0 ? r.n : 1;
		pgno += (db_pgno_t)most;
		n -= (db_pgno_t)most;
	}
	return 0;
}
