/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/io.c - write and truncate, through memp_*.
 *
 * One request is atomic against every other through the mount: file.io, shared to read
 * (io_read.c) and exclusive to change.
 *
 * A write makes room on the disk first (space.c), or goes to the file first where that cannot be
 * done; then it makes the file longer, then copies: whole pages that are in the pool some at a
 * time, the rest page by page.  What it could not do at its end is not left behind: if nothing was
 * written the length is as before.  The pool's record of the modification time is set by every
 * change, because write-back comes later.
 */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "coherence.h"
#include "piece.h"
#include "space.h"
#include "state.h"

#define PAGES_TOGETHER 32u /* replaced by one step of a write */

/* --- writing ------------------------------------------------------------------------------- */

void
io_touch(struct file *f, const struct caller *c)
{
	int fd = mpool_file_fd(f->mpf);
	struct stat st;
	mode_t mode;

	if (c->uid != 0 && fstat(fd, &st) == 0) {
		mode = identity_mode_written(c, &st);
		if (mode != st.st_mode && fchmod(fd, mode & 07777) == 0)
			mpool_file_restamp(f->mpf);
	}
	mpool_file_set_mtime(f->mpf, os_now_nsec_coarse());
	__atomic_store_n(&f->read_nsec, 0, __ATOMIC_RELAXED);
}

/* A write(2), once it is known where it goes. */
struct change {
	const char *buf;
	uint64_t offset;
	size_t bytes;
	uint64_t length;     /* of the file before */
	bool in_file;	     /* the file on disk has the bytes already */
	uint64_t asked;	     /* where the program takes it to go */
	bool through_cache;  /* as io_write's */
	struct written **wp; /* as io_write's */
};

/* Of a page that is just being written, by whomever, the file has an older copy in a moment. */
static void
piece_put(struct file *f, char *page, bool in_file)
{
	page_put(f, page, in_file && !mpool_page_is_unwritten(f->mpf, page) ? 0 : DB_MPOOL_DIRTY);
}

/* What a client cuts off meanwhile does not come back. */
static int
piece_copy(struct file *f, const struct piece *p, char *page, const char *buf)
{
	uint64_t at = (uint64_t)p->pgno * mpool_file_pagesize(f->mpf) + p->from;
	off_t length;
	int err;

	if (!coherence_tracks(f)) {
		memcpy(page + p->from, buf, p->bytes);
		return 0;
	}
	if ((err = mpool_file_hold_end(f->mpf, &length)) != 0)
		return err;
	if (at < (uint64_t)length)
		memcpy(page + p->from, buf, min_u64(p->bytes, (uint64_t)length - at));
	mpool_file_let_end(f->mpf);
	return 0;
}

static int
piece_write(struct file *f, const struct piece *p, const char *buf, bool in_file)
{
	char *page;
	int err;

	if (p->bytes == mpool_file_pagesize(f->mpf) && !in_file && !coherence_tracks(f))
		return mpool_overwrite(f->mpf, p->pgno, buf);
	if ((err = page_get(f, p, &page)) != 0)
		return err;
	if ((err = piece_copy(f, p, page, buf)) != 0) {
		page_put(f, page, 0);
		return err;
	}
	piece_put(f, page, in_file);
	if (in_file)
		mpool_kcache_tell(f->mpf, p->pgno);
	return 0;
}

/* How many whole pages at offset may be pinned together, if they are written as they are. */
static unsigned
pages_together(struct fs *fs, struct file *f, const struct change *w, uint64_t offset)
{
	size_t page_bytes = mpool_file_pagesize(f->mpf);
	uint64_t whole = (w->offset + w->bytes - offset) / page_bytes, most;

	if (whole < 2 || offset % page_bytes != 0 || offset / page_bytes > UINT32_MAX ||
	    w->in_file || coherence_tracks(f))
		return 0;
	most = min_u64(
	    __atomic_load_n(&fs->gather_bytes, __ATOMIC_RELAXED) / page_bytes, PAGES_TOGETHER);
	return (unsigned)min_u64(whole, most);
}

/* Pages that lie one behind the other are copied in one piece, which is faster. */
static void
copy_to_pages(void **pages, unsigned n, const char *buf, size_t page_bytes)
{
	for (unsigned i = 0, k; i < n; i += k) {
		char *at = pages[i];

		for (k = 1; i + k < n && pages[i + k] == at + k * page_bytes;)
			k++;
		memcpy(at, buf + i * page_bytes, k * page_bytes);
	}
}

/* Replace pages that are in the pool, some at a time, up to the first that is not. */
static int
overwrite_at_hand(struct fs *fs, struct file *f, const struct change *w, size_t *donep)
{
	size_t page_bytes = mpool_file_pagesize(f->mpf);
	uint64_t offset = w->offset + *donep;
	unsigned most = pages_together(fs, f, w, offset), n = 0;
	void *pages[PAGES_TOGETHER];
	int err;

	if (most > 0)
		n = mpool_get_at_hand(f->mpf, (db_pgno_t)(offset / page_bytes), most, NULL, pages);
	if (n == 0)
		return EAGAIN;
	copy_to_pages(pages, n, w->buf + *donep, page_bytes);
	if ((err = mpool_put_all_dirty(f->mpf, pages, n)) == 0)
		*donep += n * page_bytes;
	return err;
}

static int
copy_piece(struct file *f, const struct change *w, size_t *donep)
{
	struct piece p;
	int err;

	if ((err = piece_at(f, w->offset + *donep, w->offset + w->bytes, &p)) == 0 &&
	    (err = piece_write(f, &p, w->buf + *donep, w->in_file)) == 0)
		*donep += p.bytes;
	return err;
}

static int
copy_in(struct fs *fs, struct file *f, const struct change *w, size_t *donep)
{
	size_t done = 0;
	int err = 0;

	while (done < w->bytes && err == 0)
		if ((err = overwrite_at_hand(fs, f, w, &done)) == EAGAIN)
			err = copy_piece(f, w, &done);
	if (err != 0 && done == 0)
		return err;
	*donep = done;
	return 0;
}

/* The length is right for what was written: none of it, or less than was asked. */
static void
settle_length(struct file *f, uint64_t before, uint64_t written_to, uint64_t asked_to)
{
	if (asked_to > before && written_to < asked_to)
		(void)mpool_file_retract(
		    f->mpf, (off_t)asked_to, (off_t)(written_to > before ? written_to : before));
}

static int
write_range(struct fs *fs, struct file *f, const struct change *w, size_t *donep)
{
	uint64_t end = w->offset + w->bytes;
	bool again = false;
	size_t done = 0;
	int err;

	/* cut by a client meanwhile: then this comes after it */
	do {
		if ((end > w->length || again) &&
		    (err = mpool_file_extend(f->mpf, (off_t)end)) != 0)
			return err;
		err = copy_in(fs, f, w, &done);
		again = err == EINVAL && file_was_cut(f, (off_t)end);
	} while (again);
	settle_length(f, w->length, err == 0 ? w->offset + done : 0, end);
	if (err == 0)
		*donep = done;
	return err;
}

/* What must be on the disk before the write is acknowledged. */
static int
write_out(struct fs *fs, struct file *f, struct handle *h, int flags)
{
	if (fs->opt->sync_writes || (flags & (O_SYNC | O_DSYNC)) != 0)
		return file_write_out_for(f, h, false);
	return 0;
}

/* Where the bytes go, room for them, and that no other writer has those behind the end. */
static int
claim_range(struct fs *fs, struct file *f, const struct caller *c, int flags, struct change *w)
{
	off_t length;
	int err;

	do {
		if ((err = memp_fsize(f->mpf, &length)) != 0)
			return err;
		w->length = (uint64_t)length;
		if (flags & O_APPEND)
			w->offset = w->length;
		if (w->offset > INT64_MAX - w->bytes ||
		    w->offset + w->bytes > (uint64_t)mpool_file_pagesize(f->mpf) << 32)
			return EFBIG;
		err = space_reserve(fs, f, c, w->offset, w->bytes, w->length, &w->in_file);
		/* an append gets the bytes behind the end to itself, whoever else appends */
		if (err == 0 && (flags & O_APPEND))
			err = mpool_file_claim(f->mpf, length, (off_t)(w->offset + w->bytes));
	} while (err == EAGAIN && (flags & O_APPEND));
	return err;
}

/*
 * What cannot be reserved goes to the file first, as the program gave it: if there is no room,
 * or not for all, nothing else has changed.  The time is the file's.
 */
static int
write_first(struct file *f, const struct caller *c, struct change *w)
{
	ssize_t n = 0;
	int err;

	if ((err = mpool_file_write_begin(f->mpf)) == 0) {
		if ((err = identity_enter(c)) == 0) {
			do
				n = pwrite(
				    mpool_file_fd(f->mpf), w->buf, w->bytes, (off_t)w->offset);
			while (n == -1 && errno == EINTR);
			err = n == -1 ? errno : 0;
			identity_leave();
		}
		mpool_file_restamp(f->mpf);
		mpool_file_write_end(f->mpf);
	}
	w->bytes = err == 0 ? (size_t)n : 0; /* all that there is room for */
	return err;
}

static void
keep_disk_time(struct file *f)
{
	struct os_stat st;

	if (os_fstat(mpool_file_fd(f->mpf), &st) == 0)
		mpool_file_set_mtime(f->mpf, st.mtime_nsec);
}

static int
write_locked(struct fs *fs, struct file *f, struct handle *h, const struct caller *c, int flags,
    struct change *w, size_t *donep)
{
	uint64_t end;
	size_t done;
	int err;

	if (w->through_cache && coherence_is_untold(fs, f))
		return ESTALE;
	if ((err = claim_range(fs, f, c, flags, w)) != 0)
		return err;
	end = w->offset + w->bytes;
	if ((err = coherence_write(fs, f,
		 &(struct changing){ .buf = w->buf,
		     .from = w->offset,
		     .to = end,
		     .asked = w->asked,
		     .through_cache = w->through_cache },
		 w->wp)) != 0) {
		settle_length(f, w->length, 0, end);
		return err;
	}
	if (w->in_file)
		err = write_first(f, c, w);
	if (flags & O_APPEND)
		settle_length(f, w->length, w->offset + w->bytes, end);
	if (err != 0 || (err = write_range(fs, f, w, &done)) != 0)
		return err;
	io_touch(f, c);
	if (w->in_file)
		keep_disk_time(f);
	if ((err = write_out(fs, f, h, flags)) != 0) {
		settle_length(f, w->length, 0, w->offset + done);
		return err;
	}
	*donep = done;
	return 0;
}

int
io_write(struct fs *fs, struct handle *h, const struct caller *c, int flags, bool through_cache,
    const char *buf, size_t bytes, uint64_t offset, size_t *donep, struct written **wp)
{
	struct change w = { .buf = buf,
		.offset = offset,
		.bytes = bytes,
		.asked = offset,
		.through_cache = through_cache,
		.wp = wp };
	struct file *f;
	int err;

	*wp = NULL;
	if ((err = file_get_data(fs, h->node, true, &f)) != 0)
		return err;
	(void)pthread_rwlock_wrlock(&f->io);
	err = write_locked(fs, f, h, c, flags, &w, donep);
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
	return err;
}

int
io_zero(struct file *f, uint64_t offset, uint64_t bytes)
{
	uint64_t end = offset + bytes;
	struct piece p;
	char *page;
	int err;

	for (; offset < end; offset += p.bytes) {
		if ((err = piece_at(f, offset, end, &p)) != 0 ||
		    (err = page_get(f, &p, &page)) != 0)
			return err;
		memset(page + p.from, 0, p.bytes);
		page_put(f, page, DB_MPOOL_DIRTY);
	}
	return 0;
}

/* --- length -------------------------------------------------------------------------------- */

int
io_truncate(struct fs *fs, struct node *node, const struct caller *c, uint64_t bytes)
{
	off_t before = INT64_MAX;
	struct file *f;
	int err;

	if (bytes > INT64_MAX)
		return EFBIG;
	/* to cut all of it off nobody needs to know what it was */
	err = bytes == 0 ? file_get(fs, node, true, &f) : file_get_data(fs, node, true, &f);
	if (err != 0)
		return err;
	(void)pthread_rwlock_wrlock(&f->io);
	(void)memp_fsize(f->mpf, &before);
	if ((err = memp_ftruncate(f->mpf, (off_t)bytes)) == 0) {
		space_cut(f, (uint64_t)before, bytes);
		io_touch(f, c);
	}
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
	return err;
}
