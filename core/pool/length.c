/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/length.c - the disk file's length following the pool's: growing, trimming, claiming the
 * end.
 *
 * The row's length is the authority.  ftruncate(2), by which the disk file gets it, can cut off
 * what somebody has written a moment ago; so it is only called while the row's trunc word, not
 * armed, holds off all loads and writes of the file (P20).
 */
#include "dirty.h"
#include "file.h"
#include "frame.h"
#include "kcache.h"
#include "page_io.h"
#include "thread.h"

/* --- growing ------------------------------------------------------------------------------- */

int
file_grow_begin(struct thread *t, struct file_row *row, uint32_t id, struct growing *g)
{
	int ret;

	while ((g->cuts = load_seq(&row->cuts), load_seq(&row->trunc)) != 0)
		if ((ret = file_truncate_wait(t, row, id)) != 0)
			return ret;
	g->length = load_seq(&row->length);
	g->behind = (load_seq(&row->flags) & ROW_BEHIND) != 0;
	return 0;
}

/* What lies behind the end goes first, while nobody else can move it. */
static int
grow_alone(struct thread *t, struct file_row *row, uint32_t id, const struct growing *g,
    uint64_t to, uint64_t own)
{
	uint64_t length = g->length;
	int ret;

	if ((ret = file_trunc_begin(t, row, id)) != 0)
		return ret;
	if (load_seq(&row->cuts) != g->cuts || load_seq(&row->length) != length)
		ret = EAGAIN;
	else if ((ret = file_clear_behind(t, row, id, length, own)) == 0 &&
	    !cas_seq(&row->length, &length, to))
		ret = EAGAIN;
	file_trunc_end(t, row);
	return ret;
}

/*
 * A cut between begin and the compare-and-swap has made the length another.  If others have made
 * it the same again, one of them may be about to clear what is behind: with the end from before
 * ours, so that it is waited for before the page is anybody's.
 */
int
file_grow_end(struct thread *t, struct file_row *row, uint32_t id, const struct growing *g,
    uint64_t to, uint64_t own)
{
	uint64_t length = g->length;

	if (g->behind)
		return grow_alone(t, row, id, g, to, own);
	if (load_seq(&row->trunc) != 0 || load_seq(&row->cuts) != g->cuts ||
	    !cas_seq(&row->length, &length, to))
		return EAGAIN;
	if (load_seq(&row->flags) & ROW_BEHIND)
		(void)file_truncate_wait(t, row, id);
	return 0;
}

/* At least bytes long.  *beforep: how long it was. */
static int
extend(struct thread *t, DB_MPOOLFILE *mpf, uint64_t bytes, uint64_t *beforep)
{
	struct growing g;
	int ret;

	do {
		if ((ret = file_grow_begin(t, mpf->row, mpf->file, &g)) != 0 || g.length >= bytes)
			break;
	} while ((ret = file_grow_end(t, mpf->row, mpf->file, &g, bytes, 0)) == EAGAIN);
	*beforep = g.length;
	return ret;
}

/* A mount's kernel goes by the end that it knows. */
static void
tell_end(struct thread *t, DB_MPOOLFILE *mpf, uint64_t before, uint64_t end)
{
	if (before < end)
		kcache_told_page(t, mpf->row, mpf->file, (db_pgno_t)((end - 1) >> mpf->pageshift));
}

/* --- the disk file ------------------------------------------------------------------------- */

void
file_wait_for_writes(struct thread *t, struct file_row *row, uint32_t id, db_pgno_t first)
{
	uint32_t from = 0, frames[BATCH];
	unsigned n;

	while ((n = dirty_list(t, row, id, &from, frames, BATCH)) > 0)
		for (unsigned i = 0; i < n; i++) {
			struct frame *fr = frame_at(t->pool, frames[i]);
			uint64_t w, key;

			while (fw_state(w = load_seq(&fr->word)) == FRAME_WRITING &&
			    key_file(key = load_acquire(&fr->key)) == id &&
			    key_pgno(key) >= first && pool_is_usable(t->pool))
				frame_wait(t, frames[i], w);
		}
}

/*
 * ftruncate(2) makes a file shorter, too, if somebody else has made it longer since we looked.
 * So nobody may write meanwhile.
 */
static int
grow_disk_to(struct thread *t, struct file_row *row, uint32_t id, int fd, uint64_t bytes)
{
	int64_t mtime = load_relaxed(&row->mtime_nsec);
	struct os_stat st;
	int ret;

	if ((ret = os_fstat(fd, &st)) != 0 || st.size >= bytes)
		return ret;
	if ((ret = file_trunc_begin(t, row, id)) != 0)
		return ret;
	file_wait_for_writes(t, row, id, 0);
	if (bytes > load_seq(&row->length) && (ret = os_fstat(fd, &st)) == 0)
		bytes = st.size; /* cut meanwhile */
	if (ret == 0 && (ret = os_fstat(fd, &st)) == 0 && st.size < bytes &&
	    (ret = page_cut_file(t, row, fd, bytes)) == 0) {
		if (mtime != 0)
			(void)os_futimens(fd, mtime);
		if (os_fstat(fd, &st) == 0)
			file_stamp(row, &st);
	}
	file_trunc_end(t, row);
	return ret;
}

int
file_grow_disk(struct thread *t, struct file_row *row, uint32_t id, int fd)
{
	return grow_disk_to(t, row, id, fd, load_seq(&row->length));
}

/* Has a page behind `before` been written?  written: the row's, when the file ended there. */
static bool
is_written_behind(const DB_MPOOLFILE *mpf, uint64_t before, uint32_t written)
{
	struct os_stat st;

	return load_seq(&mpf->row->written) != written &&
	    (os_fstat(mpf->fd, &st) != 0 || st.size > before);
}

/*
 * The end goes back to where it was, unless somebody has gone on from there, or has put a page
 * dirty behind it, or has one in use: that is not lost.
 */
static void
back_to(struct thread *t, DB_MPOOLFILE *mpf, uint64_t bytes, uint64_t before, uint32_t written)
{
	uint64_t first = (before + mpf->pagesize - 1) >> mpf->pageshift;

	if (before >= bytes || file_trunc_begin(t, mpf->row, mpf->file) != 0)
		return;
	file_wait_for_writes(t, mpf->row, mpf->file, 0);
	if (!is_written_behind(mpf, before, written) &&
	    file_drop_pages(t, mpf->file, (db_pgno_t)first, false) == 0)
		(void)cas_seq(&mpf->row->length, &bytes, before);
	file_trunc_end(t, mpf->row);
}

int
file_lengthen(struct thread *t, DB_MPOOLFILE *mpf, uint64_t bytes)
{
	uint32_t written = load_seq(&mpf->row->written);
	uint64_t before;
	int ret;

	if ((ret = extend(t, mpf, bytes, &before)) != 0)
		return ret;
	if (mpf->fd != -1 && (ret = file_grow_disk(t, mpf->row, mpf->file, mpf->fd)) != 0)
		back_to(t, mpf, bytes, before, written); /* not on this disk */
	if (ret == 0 || load_seq(&mpf->row->length) >= bytes)
		tell_end(t, mpf, before, bytes);
	return ret;
}

/* What makes a file longer gives back nothing behind its end, so that is done first. */
int
file_cut_disk(struct thread *t, struct file_row *row, int fd, uint64_t bytes)
{
	struct os_stat st;
	int ret = os_fstat(fd, &st);

	if (ret == 0 && st.size < bytes)
		ret = page_cut_file(t, row, fd, bytes);
	return ret != 0 ? ret : page_cut_file(t, row, fd, bytes);
}

int
mpool_file_trim(DB_MPOOLFILE *mpf)
{
	int64_t mtime = load_relaxed(&mpf->row->mtime_nsec);
	struct os_stat st;
	struct thread *t;
	int ret;

	if ((ret = enter(mpf->pool, &t)) != 0)
		return ret;
	if ((ret = file_trunc_begin(t, mpf->row, mpf->file)) != 0)
		return ret;
	file_wait_for_writes(t, mpf->row, mpf->file, 0);
	ret = file_cut_disk(t, mpf->row, mpf->fd, load_seq(&mpf->row->length));
	if (ret == 0 && mtime != 0)
		(void)os_futimens(mpf->fd, mtime);
	if (os_fstat(mpf->fd, &st) == 0)
		file_stamp(mpf->row, &st);
	file_trunc_end(t, mpf->row);
	return ret;
}

/* The door of what makes the file longer: up to `to` it may be. */
static int
enter_growing(DB_MPOOLFILE *mpf, off_t to, struct thread **tp)
{
	int ret;

	if ((ret = enter(mpf->pool, tp)) != 0)
		return ret;
	if (mpf->rdonly)
		return EACCES;
	if (to < 0 || (uint64_t)to > (uint64_t)1 << 32 << mpf->pageshift)
		return EFBIG;
	return 0;
}

int
mpool_file_extend(DB_MPOOLFILE *mpf, off_t bytes)
{
	struct thread *t;
	uint64_t before;
	int ret;

	if ((ret = enter_growing(mpf, bytes, &t)) != 0)
		return ret;
	if ((ret = extend(t, mpf, (uint64_t)bytes, &before)) == 0)
		tell_end(t, mpf, before, (uint64_t)bytes);
	return ret;
}

int
mpool_file_claim(DB_MPOOLFILE *mpf, off_t from, off_t to)
{
	struct thread *t;
	struct growing g;
	int ret;

	if ((ret = enter_growing(mpf, from < 0 || to < from ? -1 : to, &t)) != 0 ||
	    (ret = file_grow_begin(t, mpf->row, mpf->file, &g)) != 0)
		return ret;
	if (g.length != (uint64_t)from)
		return EAGAIN;
	if ((ret = file_grow_end(t, mpf->row, mpf->file, &g, (uint64_t)to, 0)) == 0)
		tell_end(t, mpf, (uint64_t)from, (uint64_t)to);
	return ret;
}
