/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/writeback.c - dirty pages on their way to the file.
 *
 * Pages are sorted by file and number and handled a batch at a time (P12): mark COPYING; one scan
 * of all slots; what nobody pins is copied, and one compare-and-swap from the marked word clears
 * DIRTY and sets WRITING.  Only then do lg_flush, pgout and write(2) run, on the copy: a hit
 * never waits for a device.  Neighbours are joined into one write.  A page that fails is DIRTY
 * again, still indexed, and its file remembers the error (rule S4).
 *
 * With WRITE_PINNED a page that somebody has pinned is copied under WRITING and stays DIRTY
 * (P14).
 */
#include <stdlib.h>

#include "base/usdt.h"
#include "dirty.h"
#include "evict.h"
#include "file.h"
#include "frame.h"
#include "recount.h"
#include "writeback.h"

/* One page of a batch. */
struct job {
	uint64_t key;
	uint64_t mark;
	uint8_t *copy;
	uint32_t f;
	uint32_t bytes; /* to write; 0: beyond the end, nothing is written */
	bool marked;	/* COPYING by us */
	bool writing;	/* WRITING by us */
};

/* The jobs of one file that fit in the thread's buffer. */
struct batch {
	struct thread *t;
	struct file_row *row;
	uint32_t id;
	unsigned pageshift;
	struct file_fd ffd;
	struct job *jobs;
	unsigned n;
	bool may_write;
	int failed; /* the first error of the file, not yet said */
	enum write_flags flags;
	struct write_result *res;
};

static int
by_key(const void *a, const void *b)
{
	uint64_t x = ((const struct job *)a)->key, y = ((const struct job *)b)->key;

	return x < y ? -1 : x > y;
}

static void
first_error(struct write_result *res, int error)
{
	if (res->error == 0)
		res->error = error;
}

/* VALID and dirty -> COPYING, with the key that was expected. */
static void
mark_job(struct batch *b, struct job *j)
{
	DB_MPOOL *p = b->t->pool;
	struct frame *fr = frame_at(p, j->f);
	uint64_t w = load_seq(&fr->word);

	if (fw_state(w) != FRAME_VALID || !(w & FW_DIRTY) || !frame_fits(p, j->f, b->pageshift)) {
		b->res->missed += fw_state(w) != FRAME_VALID;
		return;
	}
	note_frame(b->t, j->f);
	if (frame_mark(p, j->f, w, FRAME_COPYING, &j->mark)) {
		if (load_acquire(&fr->key) == j->key) {
			j->marked = true;
			return;
		}
		(void)frame_leave(p, j->f, FRAME_COPYING, FRAME_VALID, 0, 0);
	} else
		b->res->missed++;
	note_clear(b->t, j->f);
}

__attribute__((no_sanitize("thread"))) static void
copy_page(uint8_t *to, const uint8_t *from, size_t bytes)
{
	memcpy(to, from, bytes);
}

/* Leave COPYING again. */
static void
unmark(struct batch *b, struct job *j)
{
	(void)frame_leave(b->t->pool, j->f, FRAME_COPYING, FRAME_VALID, 0, 0);
	note_clear(b->t, j->f);
	j->marked = false;
}

static void
uncount_dirty(struct batch *b)
{
	count(b->t, C_CLEANED, 1);
	(void)sub_seq(&b->row->dirty, 1);
}

/* The marked page, unpinned: copy, and from exactly the mark to WRITING without DIRTY. */
static void
copy_unpinned(struct batch *b, struct job *j)
{
	struct frame *fr = frame_at(b->t->pool, j->f);
	uint64_t w = j->mark;

	copy_page(
	    j->copy, frame_address(b->t->pool, j->f, b->pageshift), (size_t)1 << b->pageshift);
	counting_begin(b->t);
	if (cas_seq(&fr->word, &w,
		fw_with(j->mark, FRAME_WRITING, b->t->pool->self) &
		    ~(FW_DIRTY | FW_REDIRTY | FW_SUSPECT))) {
		j->marked = false;
		j->writing = true;
		uncount_dirty(b);
	}
	counting_end(b->t);
}

/* P14: whatever pins it, WRITING with DIRTY kept, then the copy. */
static void
copy_pinned(struct batch *b, struct job *j)
{
	DB_MPOOL *p = b->t->pool;
	struct frame *fr = frame_at(p, j->f);
	uint64_t w = load_seq(&fr->word), mark;

	while (fw_state(w) == FRAME_VALID && (w & FW_DIRTY) && load_acquire(&fr->key) == j->key) {
		note_frame(b->t, j->f);
		if (frame_mark(p, j->f, w, FRAME_WRITING, &mark)) {
			copy_page(j->copy, frame_address(p, j->f, b->pageshift),
			    (size_t)1 << b->pageshift);
			j->writing = true;
			return;
		}
		note_clear(b->t, j->f);
		w = load_seq(&fr->word);
	}
	b->res->missed += fw_state(w) != FRAME_VALID;
}

static void
copy_jobs(struct batch *b)
{
	struct pin_scan scan;

	scan.n = 0;
	for (unsigned i = 0; i < b->n; i++) {
		b->jobs[i].copy = b->t->io + ((size_t)i << b->pageshift);
		mark_job(b, &b->jobs[i]);
		scan.frames[scan.n++] = b->jobs[i].f;
	}
	pins_scan(b->t->pool, &scan, NO_CLIENT);
	for (unsigned i = 0; i < b->n; i++) {
		struct job *j = &b->jobs[i];

		if (!j->marked)
			continue;
		if (!scan.pinned[i])
			copy_unpinned(b, j);
		if (j->writing)
			continue;
		unmark(b, j);
		if (b->flags & WRITE_PINNED)
			copy_pinned(b, j);
		else if (scan.pinned[i])
			b->res->pinned++;
		else
			b->res->missed++;
	}
}

/* The page is not on disk: dirty again, and not only by whom may have dirtied it since (P5). */
static void
give_back(struct batch *b, struct job *j)
{
	struct frame *fr = frame_at(b->t->pool, j->f);
	uint64_t w = load_seq(&fr->word), next;

	counting_begin(b->t);
	do {
		if (fw_state(w) != FRAME_WRITING || fw_owner(w) != b->t->pool->self) {
			counting_end(b->t);
			return;
		}
		next = (fw_with(w, FRAME_VALID, NO_CLIENT) | FW_DIRTY | FW_REDIRTY) & ~FW_WAITERS;
	} while (!cas_seq(&fr->word, &w, next));
	if (!(w & FW_DIRTY)) {
		count(b->t, C_DIRTIED, 1);
		(void)add_relaxed(&b->row->dirty, 1);
	}
	counting_end(b->t);
	if (w & FW_WAITERS)
		os_futex_wake((const uint32_t *)&fr->word);
	note_clear(b->t, j->f);
	j->writing = false;
}

static void
done_writing(struct batch *b, struct job *j)
{
	bool pinned;

	dirty_unindex(b->t->pool, j->f);
	(void)frame_leave(b->t->pool, j->f, FRAME_WRITING, FRAME_VALID, 0, 0);
	note_clear(b->t, j->f);
	j->writing = false;
	b->res->written += j->bytes > 0;
	/* what was put into a page behind the end must not come back when the file grows (P20) */
	if (j->bytes == 0)
		(void)evict_frames(b->t, &j->f, &j->key, 1, 0, &pinned);
}

/* P20: pages that are being cut off are left alone; the rest ends at the file's end. */
static void
clip_jobs(struct batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct job *j = &b->jobs[i];
		uint64_t off = (uint64_t)key_pgno(j->key) << b->pageshift, length;

		if (!j->writing)
			continue;
		if (file_truncating(b->row, key_pgno(j->key), b->pageshift)) {
			give_back(b, j);
			b->res->missed++;
			continue;
		}
		length = load_seq(&b->row->length);
		j->bytes = off >= length		? 0 :
		    length - off < 1ull << b->pageshift ? (uint32_t)(length - off) :
							  1u << b->pageshift;
	}
}

static bool
lsn_after(const DB_LSN *a, const DB_LSN *b)
{
	return a->file != b->file ? a->file > b->file : a->offset > b->offset;
}

/* Write-ahead: the log first, up to the largest LSN of the batch. */
static int
flush_log(struct batch *b)
{
	DB_ENV *env = b->t->pool->dbenv;
	DB_LSN lsn, most = { 0, 0 };
	bool any = false;
	int ret = 0;

	if (b->ffd.lsn_offset < 0)
		return 0;
	for (unsigned i = 0; i < b->n; i++) {
		if (!b->jobs[i].writing)
			continue;
		memcpy(&lsn, b->jobs[i].copy + b->ffd.lsn_offset, sizeof(lsn));
		if (!any || lsn_after(&lsn, &most))
			most = lsn;
		any = true;
	}
	if (any && lsn_after(&most, &b->res->largest))
		b->res->largest = most;
	if (any && env != NULL && env->lg_flush != NULL) {
		callback_begin(b->t);
		ret = env->lg_flush(env, &most);
		callback_end(b->t);
	}
	return ret;
}

static int
convert(struct batch *b, struct job *j)
{
	int ret;

	if (!b->ffd.converts)
		return 0;
	callback_begin(b->t);
	ret = b->ffd.conversion.pgout(
	    key_pgno(j->key), j->copy, b->ffd.cookie.size > 0 ? &b->ffd.cookie : NULL);
	callback_end(b->t);
	return ret;
}

/* The file could not be written: remember it for its handles, and to say so. */
static void
file_failed(struct batch *b, int error)
{
	file_set_error(b->row, error);
	first_error(b->res, error);
	if (b->failed == 0)
		b->failed = error;
}

/* When nothing of the batch is in anybody's way any more: the callback may take its time. */
static void
say_failed(struct batch *b)
{
	char *path;

	if (b->failed == 0)
		return;
	path = file_path(b->t->pool, b->row, b->id);
	env_err(b->t->pool->dbenv, "%s: a page cannot be written: %s; it stays in the pool",
	    path ? path : "(temporary)", db_strerror(b->failed));
	free(path);
}

/*
 * Jobs i.. that follow one another in the file and in the buffer: one write.  Returns the next i.
 */
static unsigned
write_run(struct batch *b, unsigned i)
{
	struct job *first = &b->jobs[i];
	size_t bytes = first->bytes;
	unsigned n = 1;
	int ret = 0;

	while (i + n < b->n && b->jobs[i + n].writing && b->jobs[i + n].key == first->key + n &&
	    b->jobs[i + n].bytes > 0 && bytes == (size_t)n << b->pageshift)
		bytes += b->jobs[i + n++].bytes;
	if (bytes > 0) {
		uint64_t begun = os_monotonic_usec();

		ret = !b->may_write ? EIO :
				      os_pwrite(b->ffd.fd, first->copy, bytes,
					  (uint64_t)key_pgno(first->key) << b->pageshift);
		USDT4(write, key_file(first->key), key_pgno(first->key), n, ret);
		latency_add(&b->t->pool->mp->latency[LATENCY_WRITE], os_monotonic_usec() - begun);
	}
	if (ret == 0 && bytes > 0) {
		count(b->t, C_OUT, n);
		count(b->t, C_WRITE_BYTES, bytes);
		(void)add_relaxed(&b->row->out, n);
		(void)add_seq(&b->row->written, 1);
	}
	for (unsigned k = i; k < i + n; k++)
		if (ret != 0) {
			give_back(b, &b->jobs[k]);
			b->res->missed++;
		}
	if (ret != 0)
		file_failed(b, ret);
	return i + n;
}

/* The times that people shall see, and what the file looks like now that we have touched it. */
static void
settle_times(struct batch *b)
{
	int64_t mtime = load_relaxed(&b->row->mtime_nsec);
	struct os_stat st;

	if (mtime != 0)
		(void)os_futimens(b->ffd.fd, mtime);
	if (os_fstat(b->ffd.fd, &st) == 0)
		file_stamp(b->row, &st);
}

static void
fail_all(struct batch *b, int error)
{
	bool any = false;

	for (unsigned i = 0; i < b->n; i++)
		if (b->jobs[i].writing) {
			give_back(b, &b->jobs[i]);
			b->res->missed++;
			any = true;
		}
	if (any)
		file_failed(b, error);
}

/* Not if what was copied is gone, or the file has another pool by now. */
static void
write_runs(struct batch *b)
{
	struct region *r = b->t->pool->region;

	b->may_write = region_write_begin(r) == 0;
	for (unsigned i = 0; i < b->n;)
		i = b->jobs[i].writing ? write_run(b, i) : i + 1;
	if (b->may_write) {
		settle_times(b);
		region_write_end(r);
	}
}

static void
write_jobs(struct batch *b)
{
	uint64_t before = b->res->written;
	bool any = false;
	int ret;

	clip_jobs(b);
	if ((ret = flush_log(b)) != 0) {
		fail_all(b, ret);
		return;
	}
	for (unsigned i = 0; i < b->n; i++)
		if (b->jobs[i].writing && (ret = convert(b, &b->jobs[i])) != 0) {
			give_back(b, &b->jobs[i]);
			b->res->missed++;
			file_failed(b, ret);
		}
	for (unsigned i = 0; i < b->n; i++)
		any |= b->jobs[i].writing;
	if (any)
		write_runs(b);
	for (unsigned i = 0; i < b->n; i++)
		if (b->jobs[i].writing)
			done_writing(b, &b->jobs[i]);
	if (b->flags & WRITE_TRICKLE)
		count(b->t, C_TRICKLE, b->res->written - before);
	if (b->res->written > before) {
		store_relaxed(&b->row->stranded, 0);
		file_is_well(b->row);
	}
}

/* Whoever asked for the write is told why this process cannot do it. */
static void
say_refused(struct thread *t, struct file_row *row, uint32_t id, int error)
{
	char *path = file_path(t->pool, row, id);

	env_err(t->pool->dbenv,
	    "%s: its dirty pages cannot be written by this process (%s); they stay in "
	    "the pool",
	    path ? path : "(temporary)",
	    error != EPERM ? db_strerror(error) :
			     "it has not registered the file's type, or has no log");
	free(path);
}

/*
 * The file has no name.  Its pages are for those who have it open, and nobody could miss them on
 * disk; if nobody has, they are dropped.
 */
static void
bury_gone(struct thread *t, struct file_row *row, uint32_t id)
{
	char *path;

	if (file_is_open(t->pool, row, id))
		return;
	path = file_path(t->pool, row, id);
	env_warn(t->pool->dbenv, "%s: the file does not exist any more: its pages are dropped",
	    path ? path : "a file");
	free(path);
	(void)file_bury(t, row, id);
}

/* Dirty pages of a file that is not in the table, by damage: nobody can write them. */
static bool
any_orphan(const DB_MPOOL *p, const struct job *jobs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct frame *fr = frame_at(p, jobs[i].f);
		uint64_t w = load_seq(&fr->word);

		if (fw_state(w) == FRAME_VALID && (w & FW_DIRTY) &&
		    load_acquire(&fr->key) == jobs[i].key && load_seq(&fr->word) == w)
			return true;
	}
	return false;
}

/* All jobs are of one file. */
static void
write_one_file(struct thread *t, struct job *jobs, unsigned n, enum write_flags flags,
    struct write_result *res)
{
	struct batch b = { .t = t, .id = key_file(jobs[0].key), .flags = flags, .res = res };
	unsigned most;
	int ret;

	b.row = file_row(t->pool, b.id);
	if (b.row == NULL) {
		res->missed += n;
		if (any_orphan(t->pool, jobs, n))
			first_error(res, EIO);
		return;
	}
	if ((b.pageshift = file_pageshift(t->pool, b.row)) == 0) {
		res->missed += n;
		first_error(res, DB_RUNRECOVERY);
		return;
	}
	if ((ret = file_fd_get(t, b.row, b.id, &b.ffd)) != 0) {
		if (load_acquire(&b.row->id) != b.id) { /* forgotten just now, with its pages */
			res->missed += n;
			return;
		}
		if (b.ffd.gone) {
			bury_gone(t, b.row, b.id);
			return;
		}
		if (b.row->flags & ROW_TEMP) { /* its process's to write, as what it has pinned */
			res->pinned += n;
			return;
		}
		if (!file_is_written_by_others(t->pool, b.id))
			store_relaxed(&b.row->stranded, 1);
		if (ret == EXDEV) /* likewise */
			res->pinned += n;
		else {
			first_error(res, EIO);
			res->missed += n;
		}
		if (flags & WRITE_SAY)
			say_refused(t, b.row, b.id, ret);
		return;
	}
	most = (unsigned)(IO_BYTES >> b.pageshift);
	for (unsigned i = 0; i < n; i += b.n) {
		b.jobs = jobs + i;
		b.n = n - i < most ? n - i : most;
		copy_jobs(&b);
		write_jobs(&b);
	}
	file_fd_put(t->pool, b.id, &b.ffd);
	say_failed(&b);
}

void
write_frames(struct thread *t, uint32_t frames[], unsigned n, enum write_flags flags,
    struct write_result *res)
{
	struct job jobs[BATCH];
	unsigned k = 0, i, end;
	int ret;

	if (t->io == NULL && (ret = os_calloc(1, IO_BYTES, (void **)&t->io)) != 0) {
		first_error(res, ret);
		res->missed += n;
		return;
	}
	for (i = 0; i < n; i++)
		jobs[k++] = (struct job){ .f = frames[i],
			.key = load_acquire(&frame_at(t->pool, frames[i])->key) };
	qsort(jobs, k, sizeof(jobs[0]), by_key);
	for (i = 0; i < k; i = end) {
		for (end = i + 1; end < k && key_file(jobs[end].key) == key_file(jobs[i].key);)
			end++;
		write_one_file(t, jobs + i, end - i, flags, res);
	}
}
