/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/look.c - which pages of which files are in the pool, for those who want to see or to steer.
 *
 * A walk goes over the frames in the order of their numbers and reads each one's word, key, and
 * word again: a page is told of if it was there all the time.  Pins are collected first, sorted
 * by frame, and met on the way, so that a walk costs one pass over frames and slots.  Nothing is
 * locked but, for a file's path, the region lock.
 *
 * Eviction of a range is that of an evictor: clean pages go, dirty ones are written and go,
 * pinned ones stay.
 */
#include <stdlib.h>

#include "evict.h"
#include "extent.h"
#include "file.h"
#include "frame.h"
#include "look.h"
#include "thread.h"
#include "writeback.h"

/* --- files --------------------------------------------------------------------------------- */

int
mpool_each_file(DB_MPOOL *p, int (*fn)(void *arg, const struct mpool_file *file), void *arg)
{
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	for (uint32_t r = 0; ret == 0 && r < rows_used(p); r++) {
		const struct file_row *row = &p->rows[r];
		uint32_t id = load_acquire(&row->id);
		struct mpool_file f;
		char *path;

		if (id == 0 || checked_pageshift(p, load_relaxed(&row->pageshift)) == 0)
			continue;
		path = file_path(p, row, id);
		f = (struct mpool_file){ .id = id,
			.path = path,
			.ident = { .dev = row->dev,
			    .ino = row->ino,
			    .btime_nsec = row->btime_nsec },
			.length = load_seq(&row->length),
			.pagesize = 1u << checked_pageshift(p, load_relaxed(&row->pageshift)),
			.resident = load_relaxed(&row->resident),
			.dirty = load_relaxed(&row->dirty) };
		ret = fn(arg, &f);
		free(path);
	}
	return ret;
}

/* --- pins ---------------------------------------------------------------------------------- */

struct pinned_frame {
	uint32_t frame;
	uint32_t client;
};

struct pinned_list {
	struct pinned_frame *frames;
	size_t n;
};

static int
by_frame(const void *a, const void *b)
{
	const struct pinned_frame *x = a, *y = b;

	return x->frame < y->frame ? -1 : x->frame > y->frame;
}

static int
pinned_collect(const DB_MPOOL *p, struct pinned_list *l)
{
	uint32_t used = load_acquire(&p->mp->blocks_used);

	if (used > p->g.nblocks)
		used = p->g.nblocks;
	l->n = 0;
	/* one more, for who looks at the next */
	l->frames = malloc(((size_t)used * BLOCK_SLOTS + 1) * sizeof(*l->frames));
	if (l->frames == NULL)
		return ENOMEM;
	for (uint32_t i = 0; i < used; i++) {
		uint32_t owner = load_acquire(&p->blocks[i].owner);

		for (unsigned k = 0; owner != 0 && k < BLOCK_SLOTS; k++) {
			uint32_t f = load_relaxed(&p->blocks[i].slots[k]) - 1;

			if (f < p->g.nframes)
				l->frames[l->n++] = (struct pinned_frame){ f, owner - 1 };
		}
	}
	qsort(l->frames, l->n, sizeof(*l->frames), by_frame);
	l->frames[l->n] = (struct pinned_frame){ NO_FRAME, NO_CLIENT };
	return 0;
}

size_t
mpool_slots(const DB_MPOOL *p)
{
	return (size_t)p->g.nblocks * BLOCK_SLOTS;
}

int
mpool_each_pin(
    DB_MPOOL *p, void (*fn)(void *arg, size_t slot, uint32_t frame, uint32_t client), void *arg)
{
	uint32_t used = load_acquire(&p->mp->blocks_used);
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if (used > p->g.nblocks)
		used = p->g.nblocks;
	for (uint32_t i = 0; i < used; i++) {
		uint32_t owner = load_acquire(&p->blocks[i].owner);

		for (unsigned k = 0; owner != 0 && k < BLOCK_SLOTS; k++) {
			uint32_t f = load_relaxed(&p->blocks[i].slots[k]) - 1;

			if (f < p->g.nframes)
				fn(arg, (size_t)i * BLOCK_SLOTS + k, f, owner - 1);
		}
	}
	return 0;
}

/* The pins of frame f; *nextp moves up to it.  Frames are asked for in rising order. */
static uint32_t
pinned_count(const struct pinned_list *l, size_t *nextp, uint32_t f, uint32_t *clientp)
{
	uint32_t n = 0;

	*clientp = NO_CLIENT;
	while (*nextp < l->n && l->frames[*nextp].frame < f)
		++*nextp;
	for (; *nextp < l->n && l->frames[*nextp].frame == f; ++*nextp, n++)
		*clientp = l->frames[*nextp].client;
	return n;
}

/* --- pages --------------------------------------------------------------------------------- */

/* A page's word, if one is resident in the frame. */
static bool
page_at(const DB_MPOOL *p, uint32_t f, uint64_t *wordp, uint64_t *keyp)
{
	const struct frame *fr = frame_at(p, f);
	uint64_t w = load_acquire(&fr->word);
	enum frame_state s = fw_state(w);

	if (s < FRAME_VALID || s > FRAME_WRITING)
		return false;
	*keyp = load_acquire(&fr->key);
	*wordp = w;
	return (load_acquire(&fr->word) & FW_VERSION) == (w & FW_VERSION);
}

static uint32_t
page_flags(uint64_t w)
{
	return (w & FW_DIRTY ? MPOOL_PAGE_DIRTY : 0) |
	    (fw_state(w) == FRAME_WRITING ? MPOOL_PAGE_WRITING : 0) |
	    (w & FW_USED ? MPOOL_PAGE_USED : 0) | (w & FW_SUSPECT ? MPOOL_PAGE_SUSPECT : 0) |
	    (w & FW_DISCARD ? MPOOL_PAGE_DISCARD : 0);
}

int
mpool_each_page(
    DB_MPOOL *p, uint32_t id, void (*fn)(void *arg, const struct mpool_page *page), void *arg)
{
	struct pinned_list pinned;
	struct thread *t;
	size_t next = 0;
	int ret;

	if ((ret = enter(p, &t)) != 0 || (ret = pinned_collect(p, &pinned)) != 0)
		return ret;
	for (struct frame_walk at = { 0 }; frame_next(p, &at);) {
		struct mpool_page page;
		uint64_t w, key;

		if (!page_at(p, at.f, &w, &key) || (id != 0 && key_file(key) != id))
			continue;
		page.file = key_file(key);
		page.pgno = key_pgno(key);
		page.pagesize = 1u << at.pageshift;
		page.flags = page_flags(w);
		page.pins = pinned_count(&pinned, &next, at.f, &page.client);
		fn(arg, &page);
	}
	free(pinned.frames);
	return 0;
}

/* A walk that tells of runs. */
struct runs {
	void (*fn)(void *arg, const struct mpool_run *run);
	void *arg;
	const struct pinned_frame *next_pinned;
	struct mpool_run run;
	uint64_t next_key; /* that the run would go on with */
};

static void
run_tell(struct runs *r)
{
	if (r->run.pages > 0)
		r->fn(r->arg, &r->run);
	r->run.pages = 0;
}

static inline void
run_add(struct runs *r, uint64_t key, unsigned pageshift, bool dirty, bool pinned)
{
	if (r->run.pages == 0 || key != r->next_key || key_pgno(key) == 0 ||
	    dirty != r->run.dirty || pinned != r->run.pinned ||
	    1u << pageshift != r->run.pagesize) {
		run_tell(r);
		r->run = (struct mpool_run){ .file = key_file(key),
			.pgno = key_pgno(key),
			.pagesize = 1u << pageshift,
			.dirty = dirty,
			.pinned = pinned };
	}
	r->run.pages++;
	r->next_key = key + 1;
}

/* Frames from first on, n of them, all of one page size. */
static void
runs_of_frames(struct runs *r, const DB_MPOOL *p, uint32_t first, uint32_t n, unsigned pageshift)
{
	for (uint32_t f = first; f < first + n; f++) {
		bool pinned;
		uint64_t w, key;

		if (!page_at(p, f, &w, &key))
			continue;
		while (r->next_pinned->frame < f)
			r->next_pinned++;
		pinned = r->next_pinned->frame == f;
		run_add(r, key, pageshift, (w & FW_DIRTY) != 0, pinned);
	}
}

int
mpool_each_run(DB_MPOOL *p, void (*fn)(void *arg, const struct mpool_run *run), void *arg)
{
	struct runs r = { .fn = fn, .arg = arg };
	struct pinned_list pinned;
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0 || (ret = pinned_collect(p, &pinned)) != 0)
		return ret;
	r.next_pinned = pinned.frames;
	for (uint32_t e = 0; e < p->g.nextents; e++) {
		unsigned shift = extent_pageshift(p, load_acquire(&p->extents[e]));

		if (shift != 0)
			runs_of_frames(
			    &r, p, e * p->g.frames_per_extent, extent_frames(p, shift), shift);
	}
	run_tell(&r);
	free(pinned.frames);
	return 0;
}

/* --- steering ------------------------------------------------------------------------------ */

/* Pages of a range, BATCH at a time. */
struct leaving {
	struct thread *t;
	struct mpool_left *left;
	unsigned n;
	uint32_t frames[BATCH];
	uint64_t keys[BATCH];
};

static unsigned
count_pinned(const bool pinned[], unsigned n)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += pinned[i];
	return sum;
}

/* Those that are still there, of what has been collected. */
static unsigned
still_there(struct leaving *l)
{
	unsigned k = 0;
	uint64_t w, key;

	for (unsigned i = 0; i < l->n; i++) {
		if (!page_at(l->t->pool, l->frames[i], &w, &key) || key != l->keys[i])
			continue;
		l->frames[k] = l->frames[i];
		l->keys[k++] = key;
	}
	return k;
}

static void
leave_batch(struct leaving *l)
{
	bool pinned[BATCH] = { false };
	uint32_t frames[BATCH];
	struct write_result res = { 0 };
	unsigned stuck;

	l->left->gone += evict_frames(l->t, l->frames, l->keys, l->n, 0, pinned);
	if ((l->n = still_there(l)) == 0)
		return;
	memcpy(frames, l->frames, l->n * sizeof(frames[0])); /* which write_frames sorts */
	write_frames(l->t, frames, l->n, WRITE_SAY, &res);
	memset(pinned, 0, sizeof(pinned));
	l->left->gone += evict_frames(l->t, l->frames, l->keys, l->n, EVICT_RW, pinned);
	stuck = count_pinned(pinned, l->n);
	l->left->pinned += stuck;
	l->n = still_there(l);
	l->left->dirty += l->n > stuck ? l->n - stuck : 0;
	l->n = 0;
}

int
mpool_evict_range(DB_MPOOL *p, const struct os_ident *id, db_pgno_t first, db_pgno_t last,
    struct mpool_left *left)
{
	struct leaving l = { .left = left };
	uint64_t w, key;
	uint32_t file;
	int ret;

	*left = (struct mpool_left){ 0 };
	if ((ret = enter(p, &l.t)) != 0)
		return ret;
	if (file_find(p, id, &file) == NULL)
		return ENOENT;
	for (struct frame_walk at = { 0 }; frame_next(p, &at);) {
		if (!page_at(p, at.f, &w, &key) || key_file(key) != file || key_pgno(key) < first ||
		    key_pgno(key) > last)
			continue;
		l.frames[l.n] = at.f;
		l.keys[l.n++] = key;
		if (l.n == BATCH)
			leave_batch(&l);
	}
	if (l.n > 0)
		leave_batch(&l);
	return 0;
}

int
mpool_sync_ident(DB_MPOOL *p, const struct os_ident *id)
{
	struct write_result res = { 0 };
	struct file_row *row;
	struct file_fd ffd;
	struct thread *t;
	uint32_t file;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if ((row = file_find(p, id, &file)) == NULL)
		return ENOENT;
	write_file(t, row, file, WRITE_PINNED | WRITE_SAY, NULL, &res);
	if ((ret = file_fd_get(t, row, file, &ffd)) == 0) {
		ret = file_fsync(t, row, file, ffd.fd);
		file_fd_put(p, file, &ffd);
	}
	if (res.error != 0)
		ret = res.error;
	return ret != 0 ? ret : res.missed > 0 ? EIO : 0;
}

int
mpool_heap(DB_MPOOL *p, struct shalloc_stat *st)
{
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	region_lock(p);
	ret = shalloc_check(p->heap, p->g.heap_bytes, st);
	region_unlock(p);
	return ret;
}

/* --- how long the disk took ---------------------------------------------------------------- */

int
mpool_latency(DB_MPOOL *p, enum latency_kind kind, struct latency *copy)
{
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	latency_copy(copy, &p->mp->latency[kind]);
	return 0;
}
