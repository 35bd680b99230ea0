/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/drop.c - pages that leave the pool unwritten: truncation, removal, changes behind our
 * back.
 *
 * Truncation (P20): the row's trunc word says who cuts and to where; loaders and writers of pages
 * behind that look at it after publishing their own state, and wait or give way.  Then the disk
 * file is cut (an error there leaves everything as it was), then the length, then the pages.  A
 * pinned page behind the end stays in the table, zeroed, and what is put into it is dropped at
 * write-back.
 *
 * A truncation whose process died is finished by whoever meets it.
 */
#include "evict.h"
#include "extent.h"
#include "file.h"
#include "frame.h"
#include "kcache.h"
#include "load.h"
#include "page_io.h"
#include "page_table.h"
#include "point.h"
#include "reap.h"
#include "recount.h"
#include "thread.h"

#define UNNOTED_MOST 8 /* looks at a truncation that its owner has no note of */
#define LOOK_ROUNDS 10 /* of 1 ms, between them */

struct dropping {
	struct thread *t;
	uint32_t id;
	uint64_t first; /* 2^32: behind the last page that there can be */
	unsigned pageshift;
	uint64_t own; /* key of a page that the caller has pinned: zeroed, and not counted; or 0 */
	enum evict_flags flags;
	bool zero;		/* those that are pinned are zeroed */
	uint64_t waiting_since; /* 0: not waiting */
	unsigned left;		/* pages that stay */
	unsigned n;
	uint32_t frames[BATCH];
	uint64_t keys[BATCH];
};

/*
 * Pin the frame for a moment, if it holds the page; the caller empties the slot.  Waits for a page
 * that is being loaded.
 */
static bool
pin_briefly(struct thread *t, uint32_t f, uint64_t key)
{
	uint32_t *slot = slot_of_a_moment(t);
	struct frame *fr = frame_at(t->pool, f);
	uint64_t w;

	for (unsigned tries = 0; tries < 1000 && pool_is_usable(t->pool); tries++) {
		store_seq(slot, f + 1);
		w = load_seq(&fr->word);
		if (load_acquire(&fr->key) != key)
			break;
		if (fw_state(w) == FRAME_VALID || fw_state(w) == FRAME_WRITING)
			return true;
		if (fw_state(w) == FRAME_EVICTING || fw_state(w) == FRAME_COPYING) {
			(void)cas_seq(&fr->word, &w, fw_with(w, FRAME_VALID, NO_CLIENT));
			continue;
		}
		store_release(slot, 0);
		if (fw_state(w) != FRAME_LOADING)
			break;
		frame_wait(t, f, w);
	}
	store_release(slot, 0);
	return false;
}

/* Zero a page from byte `from` on, under a pin of our own: it may leave its frame at any time. */
static void
zero_page(struct thread *t, uint32_t f, uint64_t key, unsigned pageshift, size_t from)
{
	uint8_t *page;

	if (!frame_fits(t->pool, f, pageshift) || !pin_briefly(t, f, key))
		return;
	page = frame_address(t->pool, f, pageshift);
	memset(page + from, 0, ((size_t)1 << pageshift) - from);
	store_release(slot_of_a_moment(t), 0);
}

/*
 * Somebody loads or evicts the page, or has it in hand for a moment.  False: he was at it for too
 * long, and the page is no longer his to publish.
 */
static bool
drop_wait(struct dropping *d, unsigned i, uint64_t w)
{
	uint64_t now = os_monotonic_usec();

	if (d->waiting_since == 0)
		d->waiting_since = now;
	else if (now - d->waiting_since > STEAL_USEC && fw_owner(w) != d->t->pool->self &&
	    (fw_state(w) == FRAME_LOADING || fw_state(w) == FRAME_CLAIMED)) {
		load_steal(d->t, d->keys[i], d->frames[i], w);
		return false;
	}
	frame_wait(d->t, d->frames[i], w);
	return true;
}

/* What became of one collected page?  True: it is to be looked at again. */
static bool
drop_again(struct dropping *d, unsigned i, bool pinned)
{
	struct frame *fr = frame_at(d->t->pool, d->frames[i]);
	uint64_t w = load_seq(&fr->word);

	if (!pinned && (fw_state(w) == FRAME_FREE || load_acquire(&fr->key) != d->keys[i]))
		return false;
	if (pinned || ((w & FW_DIRTY) && !(d->flags & EVICT_DIRTY))) {
		if (pinned && d->zero)
			zero_page(d->t, d->frames[i], d->keys[i], d->pageshift, 0);
		d->left++;
		return false;
	}
	/* proposals of others are in the way of ours; their owners may be stopped */
	if (!frame_cancel(d->t->pool, d->frames[i]) && fw_state(w) != FRAME_VALID)
		return drop_wait(d, i, w);
	return true;
}

/* Evict the collected frames; wait for those in transition; count those that stay. */
static void
drop_batch(struct dropping *d)
{
	bool pinned[BATCH];

	d->waiting_since = 0;
	for (unsigned tries = 0; d->n > 0 && tries < 10000 && pool_is_usable(d->t->pool); tries++) {
		unsigned k = 0;

		(void)evict_frames(d->t, d->frames, d->keys, d->n, d->flags, pinned);
		for (unsigned i = 0; i < d->n; i++) {
			if (!drop_again(d, i, pinned[i]))
				continue;
			d->frames[k] = d->frames[i];
			d->keys[k++] = d->keys[i];
		}
		d->n = k;
	}
	d->left += d->n;
	d->n = 0;
}

static void
drop_one(struct dropping *d, uint32_t f, uint64_t key)
{
	if (key == d->own) {
		zero_page(d->t, f, key, d->pageshift, 0);
		return;
	}
	d->frames[d->n] = f;
	d->keys[d->n++] = key;
	if (d->n == BATCH)
		drop_batch(d);
}

static void
drop_by_walk(struct dropping *d)
{
	DB_MPOOL *p = d->t->pool;

	POOL_POINT(POINT_WALK);
	for (struct frame_walk w = { 0 }; frame_next(p, &w);) {
		const struct frame *fr = frame_at(p, w.f);
		uint64_t key = load_acquire(&fr->key);

		if (key_file(key) == d->id && key_pgno(key) >= d->first &&
		    fw_state(load_seq(&fr->word)) != FRAME_FREE)
			drop_one(d, w.f, key);
	}
}

static void
drop_by_number(struct dropping *d, uint64_t end)
{
	for (uint64_t pgno = d->first; pgno < end; pgno++) {
		uint64_t key = page_key(d->id, (db_pgno_t)pgno);
		uint32_t f = table_frame(d->t->pool, key);

		if (f != NO_FRAME)
			drop_one(d, f, key);
	}
}

/* Pages that the first `bytes` bytes of the file reach into. */
static uint64_t
pages_to(const struct dropping *d, uint64_t bytes)
{
	return (bytes + (1ull << d->pageshift) - 1) >> d->pageshift;
}

/* So many are found faster by their numbers than in a walk over all frames. */
static uint64_t
few_pages(const struct dropping *d)
{
	return d->t->pool->g.nframes / 64;
}

/* Drop pages from d->first on; the file had `bytes` bytes.  The number that stay. */
static unsigned
drop_range(struct dropping *d, struct file_row *row, uint64_t bytes)
{
	uint64_t end = pages_to(d, bytes);

	if ((end > d->first || d->first == 0) && end - d->first <= few_pages(d)) {
		drop_by_number(d, end);
		drop_batch(d);
		if (d->first != 0 || load_seq(&row->resident) == d->left)
			return d->left;
		d->left = 0;
	}
	drop_by_walk(d);
	drop_batch(d);
	POOL_POINT(POINT_WALKED);
	/* nothing is left, and the counter says another: by a death, perhaps */
	if (d->first == 0 && load_seq(&row->resident) != d->left)
		recount(d->t, true);
	return d->left;
}

unsigned
file_drop_pages(struct thread *t, uint32_t id, db_pgno_t first, bool dirty_too)
{
	struct file_row *row = file_row(t->pool, id);
	struct dropping d = {
		.t = t, .id = id, .first = first, .flags = dirty_too ? EVICT_DIRTY : 0
	};

	if (row == NULL || (d.pageshift = file_pageshift(t->pool, row)) == 0)
		return 0;
	return drop_range(&d, row, load_seq(&row->length));
}

/* --- files that are nobody's any more ------------------------------------------------------ */

/* P19: from now on nobody enters the row, as somebody may have done since it was looked at. */
static bool
is_nobodys(DB_MPOOL *p, struct file_row *row, uint32_t id)
{
	bool nobodys;

	region_lock(p);
	if ((nobodys = row->id == id && row->opens == 0))
		(void)or_seq(&row->flags, ROW_GONE);
	region_unlock(p);
	return nobodys;
}

bool
file_bury(struct thread *t, struct file_row *row, uint32_t id)
{
	if (!is_nobodys(t->pool, row, id) || file_drop_pages(t, id, 0, true) != 0)
		return false;
	file_forget(t, row, id);
	return true;
}

void
file_bury_orphans(struct thread *t)
{
	DB_MPOOL *p = t->pool;

	for (uint32_t r = 0; r < rows_used(p); r++) {
		struct file_row *row = &p->rows[r];
		uint32_t id = load_acquire(&row->id);

		/* a row that was free when its number was read may have come and gone since */
		if (id != 0 && file_is_orphan(row))
			(void)file_bury(t, row, id);
	}
}

/* --- truncation ---------------------------------------------------------------------------- */

/* Let a load or a write of page first or a later one end, if it is one. */
static void
wait_for_frame(struct thread *t, uint32_t f, uint32_t id, db_pgno_t first)
{
	const struct frame *fr = frame_at(t->pool, f);
	uint64_t w, key;

	for (unsigned tries = 0;; tries++) {
		w = load_seq(&fr->word);
		key = load_acquire(&fr->key);
		if ((fw_state(w) != FRAME_WRITING &&
			(fw_state(w) != FRAME_LOADING || tries > 10)) ||
		    key_file(key) != id || key_pgno(key) < first || !pool_is_usable(t->pool))
			break;
		frame_wait(t, f, w);
	}
}

/*
 * Loads and writes behind the new end that began before the trunc word was set: let them end.  A
 * load that does not end for a second is let go: its process finds row->cuts changed and starts
 * again.  So does one of a page that was behind the old end, which need not be waited for.
 */
static void
wait_for_transitions(const struct dropping *d, struct file_row *row, uint64_t bytes, uint64_t old)
{
	db_pgno_t first = (db_pgno_t)(bytes >> d->pageshift);
	uint64_t end = pages_to(d, old);
	DB_MPOOL *p = d->t->pool;
	uint32_t f;

	if (end > first && end - first > few_pages(d)) {
		POOL_POINT(POINT_WALK);
		for (struct frame_walk at = { 0 }; frame_next(p, &at);)
			wait_for_frame(d->t, at.f, d->id, first);
		return;
	}
	file_wait_for_writes(d->t, row, d->id, first);
	for (uint64_t pgno = first; pgno < end; pgno++)
		if ((f = table_frame(p, page_key(d->id, (db_pgno_t)pgno))) != NO_FRAME)
			wait_for_frame(d->t, f, d->id, first);
}

/* Zero what lies behind the end in the last page, if it is in the pool. */
static void
zero_tail(struct dropping *d, uint64_t bytes)
{
	uint64_t size = 1ull << d->pageshift, key = page_key(d->id, (db_pgno_t)(bytes / size));
	uint32_t f;

	if (bytes % size != 0 && (f = table_frame(d->t->pool, key)) != NO_FRAME)
		zero_page(d->t, f, key, d->pageshift, bytes % size);
}

/* False: another has it. */
static bool
trunc_try(struct thread *t, struct file_row *row)
{
	uint64_t none = 0;

	store_seq(&t->home->note_row, (uint32_t)(row - t->pool->rows) + 1);
	if (cas_seq(&row->trunc, &none, t->pool->self + 1))
		return true;
	store_release(&t->home->note_row, 0);
	return false;
}

int
file_trunc_begin(struct thread *t, struct file_row *row, uint32_t id)
{
	int ret;

	while (!trunc_try(t, row))
		if ((ret = file_truncate_wait(t, row, id)) != 0)
			return ret;
	return 0;
}

/* From now on only what is behind bytes waits, and who takes over knows what was wanted. */
static void
trunc_arm(struct thread *t, struct file_row *row, uint64_t bytes)
{
	store_seq(&row->trunc_length, bytes);
	store_seq(&row->trunc, TRUNC_ARMED | (t->pool->self + 1));
}

void
file_trunc_end(struct thread *t, struct file_row *row)
{
	store_seq(&row->trunc, 0);
	store_release(&t->home->note_row, 0);
}

void
file_truncate_look(struct thread *t, struct file_row *row, unsigned *unnotedp)
{
	DB_MPOOL *p = t->pool;
	uint64_t w = load_seq(&row->trunc);
	uint32_t owner = (uint32_t)(w & TRUNC_OWNER) - 1;

	if (w == 0 || reap_client(t, owner))
		return;
	if (NOTE_SAYS(p, owner, note_row, (uint32_t)(row - p->rows) + 1) ||
	    load_seq(&row->trunc) != w)
		*unnotedp = 0;
	else if (owner_is_impossible(p, owner) || ++*unnotedp == UNNOTED_MOST)
		(void)cas_seq(&row->trunc, &w, 0);
}

int
file_truncate_wait(struct thread *t, struct file_row *row, uint32_t id)
{
	unsigned unnoted = 0;

	for (unsigned n = 0; load_seq(&row->trunc) != 0; n++) {
		if (!pool_is_usable(t->pool))
			return region_usable(t->pool->region);
		if (load_acquire(&row->id) != id)
			return EIO;
		os_sleep_usec(n < 20 ? 50 : 1000);
		if (n % LOOK_ROUNDS == LOOK_ROUNDS - 1)
			file_truncate_look(t, row, &unnoted);
	}
	return 0;
}

/*
 * Cut the pool's part: the length, then the pages behind it.  The file had `old` bytes, or as many
 * as somebody made it who had seen that nobody cuts.
 */
static void
cut(struct dropping *d, struct file_row *row, uint64_t bytes, uint64_t old)
{
	uint64_t had;

	d->first = pages_to(d, bytes);
	d->flags = EVICT_DIRTY;
	d->zero = true;
	(void)add_seq(&row->cuts, 1);
	had = exchange_seq(&row->length, bytes);
	zero_tail(d, bytes);
	if (drop_range(d, row, had > old ? had : old) > 0)
		(void)or_seq(&row->flags, ROW_BEHIND);
}

/* Who may not open the file to cut it can still look whether the dead one has. */
static bool
is_cut_on_disk(DB_MPOOL *p, struct file_row *row, uint32_t id, uint64_t bytes)
{
	char *path = file_path(p, row, id);
	struct os_stat st;
	bool known;

	known = path != NULL && os_lstat(path, &st) == 0 && file_has_ident(row, &st.ident);
	free(path);
	return !known || st.size <= bytes;
}

/*
 * Nobody was told yet that the truncation is done, so both outcomes are right; half of it is not.
 * What shows that it went ahead is CUT, the length, or the disk file's size; then it is finished.
 */
void
file_truncate_finish(struct thread *t, struct file_row *row, uint32_t id)
{
	struct dropping d = { .t = t, .id = id };
	uint64_t w = load_seq(&row->trunc), bytes = load_seq(&row->trunc_length);
	bool ahead = (w & TRUNC_CUT) || load_seq(&row->length) <= bytes;
	struct file_fd ffd;
	int ret;

	if (!(w & TRUNC_ARMED) || !ahead || id == 0 ||
	    (d.pageshift = file_pageshift(t->pool, row)) == 0)
		return;
	ret = file_fd_get(t, row, id, &ffd);
	if (ret == 0) {
		ret = file_cut_disk(t, row, ffd.fd, bytes);
		file_fd_put(t->pool, id, &ffd);
	}
	if (ret == 0 || load_seq(&row->length) <= bytes || is_cut_on_disk(t->pool, row, id, bytes))
		cut(&d, row, bytes, load_seq(&row->length));
}

static int
shorten(struct dropping *d, DB_MPOOLFILE *mpf, uint64_t bytes, const uint64_t *only_from)
{
	struct file_row *row = mpf->row;
	uint64_t expected = only_from != NULL ? *only_from : 0, old;
	struct os_stat st;
	int ret;

	if ((ret = file_trunc_begin(d->t, row, mpf->file)) != 0)
		return ret;
	/* armed before the length moves: who takes over clears what lies behind it then */
	trunc_arm(d->t, row, bytes);
	if (only_from != NULL && !cas_seq(&row->length, &expected, bytes)) {
		file_trunc_end(d->t, row);
		return 0;
	}
	POOL_POINT(POINT_RETRACTED);
	old = only_from != NULL ? *only_from : load_seq(&row->length);
	wait_for_transitions(d, row, bytes, old);
	(void)or_seq(&row->trunc, TRUNC_CUT);
	if (mpf->fd != -1)
		ret = file_cut_disk(d->t, row, mpf->fd, bytes);
	if (ret == 0) {
		cut(d, row, bytes, old);
		if (mpf->fd != -1 && os_fstat(mpf->fd, &st) == 0)
			file_stamp(row, &st);
	} else if (only_from != NULL) {
		expected = bytes; /* nobody can have moved it, but for a put into its last page */
		(void)cas_seq(&row->length, &expected, *only_from);
	}
	file_trunc_end(d->t, row);
	return ret;
}

int
file_clear_behind(struct thread *t, struct file_row *row, uint32_t id, uint64_t bytes, uint64_t own)
{
	struct dropping d = { .t = t, .id = id, .flags = EVICT_DIRTY, .zero = true, .own = own };

	if ((d.pageshift = file_pageshift(t->pool, row)) == 0)
		return DB_RUNRECOVERY;
	d.first = pages_to(&d, bytes);
	drop_by_walk(&d);
	drop_batch(&d);
	if (d.left == 0)
		(void)and_seq(&row->flags, ~ROW_BEHIND);
	return 0;
}

void
file_clean_tail(struct thread *t, DB_MPOOLFILE *mpf, uint8_t *page, db_pgno_t pgno)
{
	uint64_t off = (uint64_t)pgno << mpf->pageshift, length;

	if (file_trunc_begin(t, mpf->row, mpf->file) != 0)
		return;
	length = load_seq(&mpf->row->length);
	if (off < length && length < off + mpf->pagesize)
		memset(page + (length - off), 0, off + mpf->pagesize - length);
	file_trunc_end(t, mpf->row);
}

static int
shorten_by_handle(struct thread *t, DB_MPOOLFILE *mpf, uint64_t bytes, const uint64_t *only_from)
{
	struct dropping d = { .t = t, .id = mpf->file, .pageshift = mpf->pageshift };
	int ret = shorten(&d, mpf, bytes, only_from);

	if (kcache_is_live(t->pool, mpf->row))
		kcache_told_all(t, mpf->row);
	return ret;
}

int
mpool_file_retract(DB_MPOOLFILE *mpf, off_t from, off_t to)
{
	uint64_t only_from = (uint64_t)from;
	struct thread *t;
	int ret;

	if ((ret = enter(mpf->pool, &t)) != 0)
		return ret;
	return to < from ? shorten_by_handle(t, mpf, (uint64_t)to, &only_from) : EINVAL;
}

int
memp_ftruncate(DB_MPOOLFILE *mpf, off_t bytes)
{
	struct thread *t;
	int ret;

	if (mpf == NULL)
		return EINVAL;
	if ((ret = enter(mpf->pool, &t)) != 0)
		return ret;
	if (bytes < 0 || (!mpf->odd && bytes % (off_t)mpf->pagesize != 0)) {
		env_err(mpf->pool->dbenv, "a length of %lld bytes is not a multiple of %zu",
		    (long long)bytes, mpf->pagesize);
		return EINVAL;
	}
	if (mpf->rdonly)
		return file_refuse(
		    mpf, EACCES, "its length cannot change: the file is open read-only");
	if ((uint64_t)bytes > (uint64_t)1 << 32 << mpf->pageshift)
		return file_refuse(
		    mpf, EFBIG, "a file has 2^32 pages of %zu bytes at most", mpf->pagesize);
	if ((uint64_t)bytes >= load_seq(&mpf->row->length))
		return file_lengthen(t, mpf, (uint64_t)bytes);
	return shorten_by_handle(t, mpf, (uint64_t)bytes, NULL);
}
