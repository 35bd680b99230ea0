/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/drop.c - pages that leave the pool unwritten: truncation, removal, changes behind our back.
 *
 * Truncation (P20): the row's trunc word says who cuts and to where; loaders and writers of pages
 * behind that look at it after publishing their own state, and wait or give way.  Then the disk file is
 * cut (an error there leaves everything as it was), then the length, then the pages.  A pinned page behind the end
 * stays in the table, zeroed, and what is put into it is dropped at write-back.
 *
 * A truncation whose process died is finished by whoever meets it.
 */
#include "pool.h"

struct dropping {
	struct thread *t;
	uint32_t id;
	db_pgno_t first;
	enum evict_flags flags;
	unsigned left; /* pinned pages */
	unsigned n;
	uint32_t frames[BATCH];
	uint64_t keys[BATCH];
};

/* Evict the collected frames; wait for those in transition; count those that are pinned. */
static void
drop_batch(struct dropping *d)
{
	bool pinned[BATCH];

	for (unsigned tries = 0; d->n > 0 && tries < 10000; tries++) {
		unsigned k = 0;

		(void)evict_frames(d->t, d->frames, d->keys, d->n, d->flags, pinned);
		for (unsigned i = 0; i < d->n; i++) {
			struct frame *fr = frame_at(d->t->pool, d->frames[i]);
			uint64_t w = load_seq(&fr->word);

			if (pinned[i]) {
				d->left++;
				continue;
			}
			if (fw_state(w) == FRAME_FREE || load_acquire(&fr->key) != d->keys[i])
				continue;
			if ((w & FW_DIRTY) && !(d->flags & EVICT_DIRTY)) {
				d->left++;
				continue;
			}
			if (fw_state(w) != FRAME_VALID)
				frame_wait(d->t, d->frames[i], w);
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
	d->frames[d->n] = f;
	d->keys[d->n++] = key;
	if (d->n == BATCH)
		drop_batch(d);
}

static void
drop_by_walk(struct dropping *d)
{
	DB_MPOOL *p = d->t->pool;

	for (uint32_t e = 0; e < p->g.nextents; e++) {
		unsigned shift = extent_pageshift(load_acquire(&p->extents[e]));
		uint32_t f = e * p->g.frames_per_extent;

		for (uint32_t n = shift != 0 ? extent_frames(p, shift) : 0; n > 0; n--, f++) {
			uint64_t key = load_acquire(&frame_at(p, f)->key);

			if (key_file(key) == d->id && key_pgno(key) >= d->first &&
			    fw_state(load_seq(&frame_at(p, f)->word)) != FRAME_FREE)
				drop_one(d, f, key);
		}
	}
}

static void
drop_by_number(struct dropping *d, uint64_t end)
{
	DB_MPOOL *p = d->t->pool;

	for (uint64_t pgno = d->first; pgno < end; pgno++) {
		uint64_t key = page_key(d->id, (db_pgno_t)pgno);
		struct table_place at = table_place(p, key);
		uint32_t f = table_look(p, &at, key);

		if (f != NO_FRAME)
			drop_one(d, f, key);
	}
}

static unsigned
drop_range(struct thread *t, struct file_row *row, uint32_t id, db_pgno_t first, uint64_t bytes,
    enum evict_flags flags)
{
	struct dropping d = { .t = t, .id = id, .first = first, .flags = flags };
	uint64_t end = (bytes + (1ull << row->pageshift) - 1) >> row->pageshift;

	if (end > first && end - first <= t->pool->g.nframes / 64) {
		drop_by_number(&d, end);
		drop_batch(&d);
		if (first != 0 || load_seq(&row->resident) == d.left)
			return d.left;
		d.left = 0;
	} else if (end <= first && load_seq(&row->resident) == 0)
		return 0;
	drop_by_walk(&d);
	drop_batch(&d);
	return d.left;
}

unsigned
file_drop_pages(struct thread *t, uint32_t id, db_pgno_t first, bool dirty_too, bool zero)
{
	struct file_row *row = file_row(t->pool, id);
	enum evict_flags flags = (dirty_too ? EVICT_DIRTY : 0) | (zero ? EVICT_ZERO : 0);

	if (row == NULL || row->pageshift < PAGE_SHIFT_MIN || row->pageshift > PAGE_SHIFT_MAX)
		return 0;
	return drop_range(t, row, id, first, load_seq(&row->length), flags);
}

/* --- truncation ---------------------------------------------------------------------------------- */

/* Loads and writes behind the new end that began before the trunc word was set: let them end. */
static void
wait_for_transitions(struct thread *t, uint32_t id, db_pgno_t first)
{
	DB_MPOOL *p = t->pool;

	for (uint32_t e = 0; e < p->g.nextents; e++) {
		unsigned shift = extent_pageshift(load_acquire(&p->extents[e]));
		uint32_t f = e * p->g.frames_per_extent;

		for (uint32_t n = shift != 0 ? extent_frames(p, shift) : 0; n > 0; n--, f++) {
			struct frame *fr = frame_at(p, f);
			uint64_t w, key;

			for (unsigned tries = 0; tries < 10000; tries++) {
				w = load_seq(&fr->word);
				key = load_acquire(&fr->key);
				if ((fw_state(w) != FRAME_LOADING && fw_state(w) != FRAME_WRITING) ||
				    key_file(key) != id || key_pgno(key) < first)
					break;
				frame_wait(t, f, w);
			}
		}
	}
}

/* Zero what lies behind the end in the last page, if it is in the pool. */
static void
zero_tail(struct thread *t, struct file_row *row, uint32_t id, uint64_t bytes)
{
	DB_MPOOL *p = t->pool;
	uint64_t size = 1ull << row->pageshift, key, w;
	struct table_place at;
	uint32_t *slot, f;
	struct pin *pin;

	if (bytes % size == 0 || slot_take(t, &slot, &pin) != 0)
		return;
	key = page_key(id, (db_pgno_t)(bytes >> row->pageshift));
	at = table_place(p, key);
	if ((f = table_look(p, &at, key)) != NO_FRAME && frame_fits(p, f, row->pageshift)) {
		store_seq(slot, f + 1);
		do {
			w = load_seq(&frame_at(p, f)->word);
			if (fw_state(w) == FRAME_EVICTING || fw_state(w) == FRAME_COPYING)
				(void)cas_seq(&frame_at(p, f)->word, &w,
				    fw_with(w, FRAME_VALID, NO_CLIENT));
		} while (fw_state(w) == FRAME_EVICTING || fw_state(w) == FRAME_COPYING);
		if ((fw_state(w) == FRAME_VALID || fw_state(w) == FRAME_WRITING) &&
		    load_acquire(&frame_at(p, f)->key) == key)
			memset((uint8_t *)frame_address(p, f, row->pageshift) + bytes % size, 0,
			    size - bytes % size);
	}
	slot_drop(t, slot);
}

static bool
trunc_begin(struct thread *t, struct file_row *row, uint64_t bytes)
{
	uint64_t none = 0;

	store_seq(&t->home->note_row, (uint32_t)(row - t->pool->rows) + 1);
	if (!cas_seq(&row->trunc, &none, t->pool->self + 1)) {
		store_release(&t->home->note_row, 0);
		return false;
	}
	store_seq(&row->trunc_length, bytes);
	store_seq(&row->trunc, TRUNC_ARMED | (t->pool->self + 1));
	return true;
}

static void
trunc_end(struct thread *t, struct file_row *row)
{
	store_seq(&row->trunc, 0);
	store_release(&t->home->note_row, 0);
}

void
file_truncate_wait(struct thread *t, struct file_row *row, uint32_t id)
{
	uint64_t w;

	for (unsigned n = 0; (w = load_seq(&row->trunc)) != 0 && row->id == id; n++) {
		os_sleep_usec(n < 20 ? 50 : 1000);
		if (n % 100 == 99)
			(void)reap_client(t, (uint32_t)(w & TRUNC_OWNER) - 1);
	}
}

/* Cut the pool's part: the length, then the pages behind it. */
static void
cut(struct thread *t, struct file_row *row, uint32_t id, uint64_t bytes)
{
	uint64_t old = load_seq(&row->length);
	db_pgno_t first = (db_pgno_t)((bytes + (1ull << row->pageshift) - 1) >> row->pageshift);

	store_seq(&row->length, bytes);
	zero_tail(t, row, id, bytes);
	(void)drop_range(t, row, id, first, old, EVICT_DIRTY | EVICT_ZERO);
}

/*
 * Nobody was told yet that the truncation is done, so both outcomes are right; half of it is not.  What
 * shows that it went ahead is the length, or the disk file's size.
 */
void
file_truncate_finish(struct thread *t, struct file_row *row, uint32_t id)
{
	uint64_t bytes = load_seq(&row->trunc_length);
	bool ahead = load_seq(&row->length) <= bytes;
	struct file_fd ffd;
	struct os_stat st;

	if (!(load_seq(&row->trunc) & TRUNC_ARMED))
		return;
	if (!ahead && file_fd_get(t, row, id, &ffd) == 0) {
		ahead = os_fstat(ffd.fd, &st) == 0 && st.size <= bytes;
		file_fd_put(t->pool, id, &ffd);
	}
	if (ahead)
		cut(t, row, id, bytes);
}

static int
shorten(struct thread *t, DB_MPOOLFILE *mpf, uint64_t bytes)
{
	struct file_row *row = mpf->row;
	struct os_stat st;
	int ret = 0;

	while (!trunc_begin(t, row, bytes))
		file_truncate_wait(t, row, mpf->file);
	wait_for_transitions(t, mpf->file, (db_pgno_t)(bytes >> mpf->pageshift));
	if (mpf->fd != -1)
		ret = os_ftruncate(mpf->fd, bytes);
	if (ret == 0) {
		cut(t, row, mpf->file, bytes);
		if (mpf->fd != -1 && os_fstat(mpf->fd, &st) == 0)
			file_stamp(row, &st);
	}
	trunc_end(t, row);
	return ret;
}

int
memp_ftruncate(DB_MPOOLFILE *mpf, off_t bytes)
{
	struct os_stat st;
	struct thread *t;
	int ret;

	if ((ret = enter(mpf->pool, &t)) != 0)
		return ret;
	if (bytes < 0 || (!mpf->odd && bytes % (off_t)mpf->pagesize != 0)) {
		env_err(mpf->pool->dbenv, "a length of %lld bytes is not a multiple of %zu",
		    (long long)bytes, mpf->pagesize);
		return EINVAL;
	}
	if (mpf->rdonly)
		return EACCES;
	if ((uint64_t)bytes > (uint64_t)UINT32_MAX << mpf->pageshift)
		return EFBIG;
	if ((uint64_t)bytes < load_seq(&mpf->row->length))
		return shorten(t, mpf, (uint64_t)bytes);
	if (mpf->fd != -1 && (ret = os_fstat(mpf->fd, &st)) == 0 && st.size < (uint64_t)bytes &&
	    (ret = os_ftruncate(mpf->fd, (uint64_t)bytes)) == 0 &&
	    (ret = os_fstat(mpf->fd, &st)) == 0)
		file_stamp(mpf->row, &st);
	if (ret == 0)
		file_extend(mpf->row, (uint64_t)bytes);
	return ret;
}
