/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/load.c - the miss: a frame is claimed, published as LOADING, filled, and becomes VALID.
 *
 * Under the bucket's lock the table is looked at again before the frame is published (P8):
 * whoever wants the same page from now on finds it and waits on its word.  The read happens with
 * no lock held.  What is decided before publishing (is the page behind the end?  is the file
 * being cut?) is looked at again after it, since claiming a frame may have taken long.
 */
#include "load.h"
#include "evict.h"
#include "frame.h"
#include "page_io.h"
#include "policy.h"
#include "reap.h"
#include "recount.h"
#include "writeback.h"

#define NEIGHBOURS_AT_ONCE 4 /* evicted where the page table is full */

/*
 * A failed or stolen load: out of the table, free.  A thief has withdrawn the entry and left the
 * frame CLAIMED by us; so we go through CLAIMED as well, where nobody can steal.
 */
void
load_abandon(struct getting *g)
{
	DB_MPOOL *p = g->t->pool;
	struct frame *fr = frame_at(p, g->f);
	uint64_t w = load_seq(&fr->word);

	store_release(g->slot, 0);
	while (fw_state(w) == FRAME_LOADING && fw_owner(w) == p->self)
		if (cas_seq(&fr->word, &w, (w & ~FW_STATE) | FRAME_CLAIMED))
			break;
	table_withdraw(p, g->key, g->f); /* a thief may have died before it did */
	(void)frame_free(g->t, g->f, FRAME_CLAIMED);
}

/* CLAIMED by us -> LOADING with our key, pinned by our slot. */
static void
load_begin(struct getting *g)
{
	DB_MPOOL *p = g->t->pool;
	struct frame *fr = frame_at(p, g->f);
	uint64_t w = load_seq(&fr->word);

	store_release(&fr->key, g->key);
	store_release(g->slot, g->f + 1); /* seen with what the next line stores */
	while (
	    !cas_seq(&fr->word, &w, fw_with(w & (FW_VERSION | FW_WAITERS), FRAME_LOADING, p->self)))
		continue;
}

/* Evict some of n neighbours in the table: it lacks room for one page, not for all of them. */
static bool
evict_neighbours(struct thread *t, uint32_t frames[], unsigned n, bool may_write)
{
	struct write_result res = { 0 };
	bool pinned[BATCH];

	for (unsigned i = 0, k; i < n; i += k) {
		k = n - i < NEIGHBOURS_AT_ONCE ? n - i : NEIGHBOURS_AT_ONCE;
		if (evict_frames(t, frames + i, NULL, k, 0, pinned) > 0)
			return true;
	}
	if (!may_write)
		return false;
	write_frames(t, frames, n, 0, &res);
	return evict_frames(t, frames, NULL, n, EVICT_RW, pinned) > 0;
}

/*
 * Both buckets and the line of the overflow area are full: evict a neighbour.  Patient: pins and
 * writes come to an end, and the dead's are reaped.
 */
static int
make_cell(struct getting *g, bool patient)
{
	struct thread *t = g->t;
	uint32_t frames[2 * BUCKET_CELLS];
	unsigned n, rounds = 0;

	for (;;) {
		n = table_neighbours(t->pool, &g->at, frames);
		if (n == 0 || evict_neighbours(t, frames, n, !g->holds))
			return 0;
		if (!patient || ++rounds > FRAME_PATIENCE)
			break;
		os_sleep_usec(1000);
		if (rounds % 8 == 2)
			(void)reap_all(t);
	}
	if (patient)
		env_err(t->pool->dbenv,
		    "the page table has no room for page %u of file %u: all %u pages "
		    "beside it are pinned or cannot be written",
		    g->pgno, g->mpf->file, n);
	return ENOMEM;
}

/*
 * Publish a LOADING frame for the key.  EEXIST: somebody else did.  On failure nothing is left.
 */
int
load_publish(struct getting *g, bool patient)
{
	struct thread *t = g->t;
	uint32_t found;
	int ret;

	ret = patient ? frame_take(t, g->mpf->pageshift, &g->f) :
			frame_take_now(t, g->mpf->pageshift, !g->holds, &g->f);
	if (ret != 0)
		return ret;
	table_lock(t, g->at.first);
	found = table_look(t->pool, &g->at, g->key);
	if (found == NO_FRAME) {
		load_begin(g);
		ret = table_insert(t->pool, &g->at, g->f);
	}
	table_unlock(t, g->at.first);
	if (found != NO_FRAME) {
		(void)frame_free(t, g->f, FRAME_CLAIMED);
		return EEXIST;
	}
	if (ret != 0) {
		load_abandon(g);
		ret = make_cell(g, patient);
		return ret != 0 ? ret : EEXIST;
	}
	return 0;
}

/* Bring the bytes in. */
static int
load_fill(struct getting *g)
{
	DB_MPOOLFILE *mpf = g->mpf;
	void *page = frame_address(g->t->pool, g->f, mpf->pageshift);

	if (g->source != NULL) {
		memcpy(page, g->source, mpf->pagesize);
		return 0;
	}
	/* while we looked for a frame another may have made the page, written and evicted it */
	if ((uint64_t)g->pgno << mpf->pageshift < load_seq(&mpf->row->length))
		g->zero = g->in = false;
	if (!g->zero)
		return page_read(g->t, mpf, g->f, g->pgno);
	memset(page, 0, mpf->pagesize);
	return g->in ? page_in(g->t, mpf, page, g->pgno) : 0;
}

/* LOADING -> VALID.  False: the load was taken from us. */
bool
load_finish(struct getting *g)
{
	uint64_t bits = policy_enter(g->t, g->f, g->key, g->mpf->pageshift, g->ahead);
	bool mine;

	counting_begin(g->t);
	mine = frame_leave(g->t->pool, g->f, FRAME_LOADING, FRAME_VALID, bits, 0);
	if (mine) {
		(void)add_relaxed(&g->mpf->row->resident, 1);
		(void)add_relaxed(g->zero ? &g->mpf->row->create : &g->mpf->row->in, 1);
		count(g->t, g->zero ? C_CREATE : C_IN, 1);
	}
	counting_end(g->t);
	if (mine)
		note_clear(g->t, g->f);
	return mine;
}

/* EEXIST: look again. */
int
load_page(struct getting *g)
{
	uint64_t cuts = load_seq(&g->mpf->row->cuts);
	int ret;

	if (file_truncating(g->mpf->row, g->pgno, g->mpf->pageshift)) {
		ret = file_truncate_wait(g->t, g->mpf->row, g->mpf->file);
		return ret != 0 ? ret : EEXIST;
	}
	if ((ret = load_publish(g, true)) != 0)
		return ret;
	if (file_truncating(g->mpf->row, g->pgno, g->mpf->pageshift)) {
		load_abandon(g);
		return EEXIST;
	}
	if ((ret = load_fill(g)) != 0) {
		load_abandon(g);
		return ret;
	}
	/*
	 * a loader that was stopped for so long that a truncation went on without it starts again
	 */
	if (load_seq(&g->mpf->row->cuts) != cuts || !load_finish(g)) {
		load_abandon(g);
		return EEXIST;
	}
	return 0;
}

void
load_steal(struct thread *t, uint64_t key, uint32_t f, uint64_t w)
{
	DB_MPOOL *p = t->pool;
	struct table_place at = table_place(p, key);
	struct frame *fr = frame_at(p, f);
	bool stolen = false;

	table_lock(t, at.first);
	if (table_look(p, &at, key) == f) {
		stolen = fw_state(w) == FRAME_CLAIMED ? load_seq(&fr->word) == w :
							fw_state(w) == FRAME_LOADING &&
			cas_seq(&fr->word, &w, (w & ~FW_STATE) | FRAME_CLAIMED);
		if (stolen)
			table_withdraw(p, key, f);
	}
	table_unlock(t, at.first);
	if (stolen)
		env_warn(p->dbenv,
		    "page %u of file %u: client %u, which is reading or evicting it, "
		    "does not come to an end; reading it again",
		    key_pgno(key), key_file(key), fw_owner(w));
}
