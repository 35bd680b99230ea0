/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/get.c - memp_fget where it takes more than hit.c's short way: the hit in full, waiting for
 * others, new pages.
 *
 * A hit stores the frame in a slot of its own and then believes what it reads of the frame (P1):
 * if the state says VALID, any evictor's scan comes after the store and finds it.  It writes
 * nothing that others share, but for the usage mark when that is not set.
 *
 * A miss is load.c's.  A load that takes longer than STEAL_USEC is taken away from its loader,
 * which notices when it wants to publish (P11).
 */
#include "get.h"
#include "base/usdt.h"
#include "evict.h"
#include "frame.h"
#include "kcache.h"
#include "load.h"
#include "mapping.h"
#include "page_io.h"
#include "point.h"
#include "policy.h"
#include "prefetch.h"
#include "tally.h"

#define MISSES_MOST 20000 /* rounds of one memp_fget before the table is called damaged */

int
refuse_in_callback(const DB_MPOOL *p)
{
	env_err(p->dbenv, "memp_* is called from pgin, pgout or lg_flush");
	return EDEADLK;
}

int
enter(DB_MPOOL *p, struct thread **tp)
{
	int ret;

	if (p == NULL)
		return EINVAL;
	if ((ret = region_usable(p->region)) != 0) {
		if (ret == EINVAL)
			return ret;
		env_err(p->dbenv, "%s: %s", p->region->path ? p->region->path : "private pool",
		    db_strerror(ret));
		return ret;
	}
	if ((ret = thread_self(p, tp)) != 0)
		return ret;
	return (*tp)->in_callback ? refuse_in_callback(p) : 0;
}

enum pin_answer { PIN_OK, PIN_OTHER, PIN_BUSY, PIN_SPOILT };

/*
 * P1, P2.  PIN_OK: the slot pins the page.  PIN_BUSY: it is our key in a state that cannot be
 * pinned (*wp); PIN_SPOILT: or that should not be (P17).  PIN_OTHER: not our page.  In all but the
 * first case the slot is empty again.
 */
static inline enum pin_answer
pin_try(struct getting *g, uint32_t f, uint64_t *wp)
{
	struct frame *fr = frame_at(g->t->pool, f);
	enum pin_answer answer = PIN_OTHER;
	uint64_t w;

	pin_store(g->t->pool, g->slot, f);
	for (;;) {
		w = load_seq(&fr->word);
		if (load_acquire(&fr->key) != g->key)
			break;
		if (fw_is_spoilt(w) && fw_state(w) >= FRAME_VALID && !g->as_it_is) {
			answer = PIN_SPOILT;
			break;
		}
		switch (fw_state(w)) {
		case FRAME_VALID:
		case FRAME_WRITING:
			policy_hit(g->t, f, w, g->mpf->pageshift);
			return PIN_OK;
		case FRAME_EVICTING:
		case FRAME_COPYING:
			(void)cas_seq(&fr->word, &w, fw_with(w, FRAME_VALID, NO_CLIENT));
			continue;
		case FRAME_LOADING:
		case FRAME_CLAIMED:
			*wp = w;
			answer = PIN_BUSY;
			break;
		case FRAME_FREE:
		default:
			break;
		}
		break;
	}
	store_release(g->slot, 0);
	return answer;
}

/* Pin through one cell's worth of candidate; updates the answer. */
static inline bool
try_cell(struct getting *g, uint64_t cell, enum pin_answer *answer, uint32_t *busyp, uint64_t *wp)
{
	uint32_t f = (uint32_t)cell - 1;
	uint64_t w;

	if ((uint32_t)(cell >> 32) != g->at.tag || !frame_fits(g->t->pool, f, g->mpf->pageshift))
		return false;
	switch (pin_try(g, f, &w)) {
	case PIN_OK:
		g->f = f;
		*answer = PIN_OK;
		return true;
	case PIN_BUSY:
		*answer = PIN_BUSY;
		*busyp = f;
		*wp = w;
		return false;
	case PIN_SPOILT:
		*answer = PIN_SPOILT;
		*busyp = f;
		return false;
	case PIN_OTHER:
	default:
		return false;
	}
}

/*
 * Look for the page and pin it.  PIN_BUSY: *busyp, *wp say what to wait for; PIN_SPOILT: *busyp
 * what to evict.  PIN_OTHER: a miss.
 */
static enum pin_answer
pin_find(struct getting *g, uint32_t *busyp, uint64_t *wp)
{
	DB_MPOOL *p = g->t->pool;
	enum pin_answer answer = PIN_OTHER;
	const struct bucket *b = &p->buckets[g->at.first];

	for (unsigned c = 0; c < BUCKET_CELLS; c++)
		if (try_cell(g, load_seq(&b->cells[c]), &answer, busyp, wp))
			return PIN_OK;
	count(g->t, C_EXAMINED, 1);
	b = &p->buckets[g->at.second];
	for (unsigned c = 0; c < BUCKET_CELLS; c++)
		if (try_cell(g, load_seq(&b->cells[c]), &answer, busyp, wp))
			return PIN_OK;
	if (!(load_relaxed(&p->buckets[g->at.first].header) & BUCKET_OVERFLOW))
		return answer;
	count(g->t, C_EXAMINED, 1);
	count(g->t, C_OVERFLOWED, 1);
	for (unsigned c = 0; c < OVERFLOW_CELLS; c++)
		if (try_cell(g, load_seq(&table_overflow(p, &g->at)[c]), &answer, busyp, wp))
			return PIN_OK;
	return answer;
}

static void
wait_busy(struct getting *g, uint32_t f, uint64_t w)
{
	uint64_t now = os_monotonic_usec();

	if (g->waiting_since == 0)
		g->waiting_since = now;
	else if (now - g->waiting_since > STEAL_USEC && fw_owner(w) != g->t->pool->self) {
		load_steal(g->t, g->key, f, w);
		g->waiting_since = now;
		return;
	}
	frame_wait(g->t, f, w);
}

/* Pin page g->pgno, loading it if need be.  *hitp: it was there. */
static int
find_or_load(struct getting *g, bool *hitp)
{
	enum pin_answer answer;
	uint32_t busy = 0;
	uint64_t w = 0;
	unsigned tries = 0;
	int ret;

	g->key = page_key(g->mpf->file, g->pgno);
	g->at = table_place(g->t->pool, g->key);
	table_ask_early(g->t->pool, &g->at);
	g->waiting_since = 0;
	g->as_it_is = false;
	*hitp = true;
	while ((answer = pin_find(g, &busy, &w)) != PIN_OK) {
		count(g->t, C_SEARCHES, 1);
		if (!pool_is_usable(g->t->pool))
			return region_usable(g->t->pool->region);
		if (answer == PIN_BUSY) {
			wait_busy(g, busy, w);
			continue;
		}
		if (answer == PIN_SPOILT) {
			g->as_it_is = !evict_spoilt(g->t, busy, g->key);
			continue;
		}
		/*
		 * an entry for our page that leads to a frame which is not our page: once or
		 * twice, by a race, but not for ever
		 */
		if (tries++ > MISSES_MOST)
			return region_panic(g->t->pool->region,
			    "the page table has an entry for page %u of file %u that leads nowhere",
			    g->pgno, g->mpf->file);
		if (tries == 1 && !g->zero && ahead_read(g->t, g->mpf, g->pgno)) {
			*hitp = false;
			continue;
		}
		if ((ret = load_page(g)) == 0) {
			*hitp = false;
			return 0;
		}
		if (ret != EEXIST)
			return ret;
	}
	return 0;
}

static int
get_page(struct getting *g, bool *hitp)
{
	int ret = find_or_load(g, hitp);

	return ret != 0 ? ret : pins_check(g->t->pool, g->f);
}

/* --- the call ------------------------------------------------------------------------------ */

static void
account(struct getting *g, bool hit)
{
	tally_want(g->t, g->mpf);
	if (hit) {
		policy_pass_time(g->t->pool, tally_hit(g->t, g->mpf));
		USDT2(fget_hit, g->mpf->file, g->pgno);
	} else {
		tally_miss(g->t, g->mpf);
		USDT2(fget_miss, g->mpf->file, g->pgno);
	}
}

static void
hand_out(struct getting *g, void **pagep)
{
	store_relaxed(table_memo(g->t->pool, g->mpf->file, g->pgno), g->f);
	*pagep = frame_address(g->t->pool, g->f, g->mpf->pageshift);
	g->pin->page = *pagep;
	store_release(&g->pin->mpf, g->mpf); /* from now on other threads may put it (P6) */
}

/*
 * Make the page that lies behind the end, and the file reach to its end.  EAGAIN: another has
 * moved the end, and the page is no longer pinned.  Not zero: it lies before the end by now.
 */
static int
make_page(struct getting *g, const struct growing *from, bool *hitp)
{
	struct file_row *row = g->mpf->row;
	uint64_t to = ((uint64_t)g->pgno + 1) << g->mpf->pageshift;
	int ret;

	g->zero = true;
	if ((ret = get_page(g, hitp)) != 0 || !g->zero)
		return ret;
	if ((ret = file_grow_end(g->t, row, g->mpf->file, from, to, g->key)) == EAGAIN)
		store_release(g->slot, 0);
	g->grew = ret == 0;
	return ret;
}

/* EAGAIN: the file was cut while its page came, which is let go. */
static int
still_before_end(struct getting *g, uint64_t off)
{
	if (off < load_seq(&g->mpf->row->length))
		return 0;
	store_release(g->slot, 0);
	return EAGAIN;
}

/* The page may be anywhere; behind the end only with DB_MPOOL_CREATE. */
static int
get_numbered(struct getting *g, bool create)
{
	struct file_row *row = g->mpf->row;
	uint64_t off = (uint64_t)g->pgno << g->mpf->pageshift;
	struct growing from;
	bool hit;
	int ret;

	do {
		g->zero = g->in = false;
		if (off < load_seq(&row->length)) {
			POOL_POINT(POINT_BEFORE);
			if ((ret = get_page(g, &hit)) != 0)
				break; /* what pread(2) and pgin say: EAGAIN, too */
			ret = still_before_end(g, off);
			continue;
		}
		if (!create || g->mpf->rdonly)
			return file_refuse(g->mpf, EINVAL, "there is no page %u: %s", g->pgno,
			    create ? "the file is open read-only" : "it ends before that");
		if ((ret = file_grow_begin(g->t, row, g->mpf->file, &from)) != 0)
			return ret;
		g->in = true;
		POOL_POINT(POINT_MAKING);
		ret = off < from.length ? EAGAIN : make_page(g, &from, &hit);
		POOL_POINT(POINT_MADE);
		if (ret == 0 && !g->zero)
			ret = still_before_end(g, off);
	} while (ret == EAGAIN);
	if (ret == 0)
		account(g, hit && !g->fetched);
	return ret;
}

/* NEW: a page behind the end, whose number nobody else got. */
static int
get_new(struct getting *g)
{
	struct growing from;
	bool hit;
	int ret;

	if (g->mpf->rdonly)
		return file_refuse(g->mpf, EINVAL, "no new page: the file is open read-only");
	do {
		uint64_t n;

		if ((ret = file_grow_begin(g->t, g->mpf->row, g->mpf->file, &from)) != 0)
			return ret;
		if ((n = pages_of(g->mpf, from.length)) > UINT32_MAX)
			return file_refuse(g->mpf, EFBIG, "a file has 2^32 pages at most");
		g->pgno = (db_pgno_t)n;
		if ((ret = make_page(g, &from, &hit)) == 0 && !g->zero) {
			/* another has made it first: an ordinary page */
			store_release(g->slot, 0);
			ret = EAGAIN;
		}
	} while (ret == EAGAIN);
	if (ret == 0)
		count(g->t, C_NEW, 1);
	return ret;
}

static int
get_last(struct getting *g)
{
	uint64_t n = pages_of(g->mpf, load_seq(&g->mpf->row->length));

	if (n == 0) {
		env_err(g->t->pool->dbenv, "an empty file has no last page");
		return EINVAL;
	}
	g->pgno = (db_pgno_t)(n - 1);
	return get_numbered(g, false);
}

/* A process that has not registered the file's type does not see its pages. */
static int
check_type(DB_MPOOLFILE *mpf)
{
	struct registration r;

	if (mpf->type_known)
		return 0;
	if (!registered(mpf->pool, mpf->ftype, &r)) {
		env_err(mpf->pool->dbenv,
		    "file %u is of type %d, which this process has not registered", mpf->file,
		    mpf->ftype);
		return EINVAL;
	}
	mpf->type_known = true;
	store_relaxed(&mpf->short_key, page_key(mpf->file, 0));
	return 0;
}

static int
get_flagged(struct getting *g, unsigned long flags)
{
	int ret = check_type(g->mpf);

	if (ret != 0)
		return ret;
	switch (flags) {
	case 0:
		return get_numbered(g, false);
	case DB_MPOOL_CREATE:
		return get_numbered(g, true);
	case DB_MPOOL_LAST:
		return get_last(g);
	case DB_MPOOL_NEW:
		return get_new(g);
	default:
		env_err(g->t->pool->dbenv,
		    "memp_fget: flags %#lx: at most one of "
		    "DB_MPOOL_CREATE, DB_MPOOL_LAST and DB_MPOOL_NEW",
		    flags);
		return EINVAL;
	}
}

static int
get_fetched(DB_MPOOLFILE *mpf, db_pgno_t *pgnoaddr, unsigned long flags, bool fetched, void **pagep)
{
	struct getting g = { .mpf = mpf, .fetched = fetched };
	int ret;

	if (mpf == NULL || pgnoaddr == NULL || pagep == NULL)
		return EINVAL;
	if ((ret = enter(mpf->pool, &g.t)) != 0 ||
	    mapping_get(g.t, mpf, pgnoaddr, flags, pagep, &ret) ||
	    (ret = slot_take(g.t, &g.slot, &g.pin)) != 0)
		return ret;
	g.pgno = *pgnoaddr;
	if ((ret = get_flagged(&g, flags)) != 0) {
		slot_drop(g.t, g.slot);
		return ret;
	}
	hand_out(&g, pagep);
	if (g.grew)
		kcache_told_page(g.t, mpf->row, mpf->file, g.pgno);
	if (flags == DB_MPOOL_NEW || flags == DB_MPOOL_LAST)
		*pgnoaddr = g.pgno;
	return 0;
}

int
get_carefully(DB_MPOOLFILE *mpf, db_pgno_t *pgnoaddr, unsigned long flags, void **pagep)
{
	return get_fetched(mpf, pgnoaddr, flags, false, pagep);
}

int
mpool_get(DB_MPOOLFILE *mpf, db_pgno_t pgno, const struct mpool_fetched *fetched, void **pagep)
{
	return get_fetched(mpf, &pgno, 0, mpool_was_fetched(fetched, pgno), pagep);
}

static int
overwrite_carefully(DB_MPOOLFILE *mpf, db_pgno_t pgno, const void *bytes)
{
	/* counted as a page that was created: nothing is read */
	struct getting g = { .mpf = mpf, .pgno = pgno, .source = bytes, .zero = true };
	bool hit;
	void *page;
	int ret;

	if ((ret = enter(mpf->pool, &g.t)) != 0 || (ret = check_type(mpf)) != 0)
		return ret;
	if (mpf->rdonly)
		return EACCES;
	if ((uint64_t)pgno << mpf->pageshift >= load_seq(&mpf->row->length))
		return EINVAL;
	if ((ret = slot_take(g.t, &g.slot, &g.pin)) != 0)
		return ret;
	if ((ret = get_page(&g, &hit)) != 0) {
		slot_drop(g.t, g.slot);
		return ret;
	}
	account(&g, hit);
	hand_out(&g, &page);
	if (hit)
		memcpy(page, bytes, mpf->pagesize);
	return memp_fput(mpf, page, DB_MPOOL_DIRTY);
}

int
mpool_overwrite(DB_MPOOLFILE *mpf, db_pgno_t pgno, const void *bytes)
{
	void *page;

	if (mpf->rdonly || mpool_get_at_hand(mpf, pgno, 1, NULL, &page) != 1)
		return overwrite_carefully(mpf, pgno, bytes);
	memcpy(page, bytes, mpf->pagesize);
	return memp_fput(mpf, page, DB_MPOOL_DIRTY);
}
