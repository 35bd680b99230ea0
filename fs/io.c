/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/io.c - read, write, truncate and seek, through memp_*.
 *
 * One request is atomic against every other through the mount: file.io, shared to read and
 * exclusive to change.  A read pins the pages of its range (GATHER_PAGES at most) and replies
 * from them, so the bytes are copied once.  If that would be too much of the pool, or the pages
 * are small, it copies into a buffer instead, holding one pin at a time.
 *
 * A write makes room on the disk first (space.c), or goes to the file first where that cannot be
 * done; then it makes the file longer, then copies page by page.  What it could not do at its end
 * is not left behind: if nothing was written the length is as before.  The pool's record of the
 * modification time is set by every change, because write-back comes later.
 */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coherence.h"
#include "piece.h"
#include "space.h"
#include "state.h"

#define GATHER_PAGES 256u

/* A hit of which there is one in each request: that is counted by its time. */
static int
page_get_timed(struct fs *fs, struct file *f, const struct piece *p, char **pagep)
{
	db_pgno_t pgno = p->pgno;
	uint64_t nsec;
	void *page;
	int err;

	if ((err = mpool_get_timed(f->mpf, &pgno, &page, &nsec)) != 0)
		return err;
	if (nsec != 0)
		latency_add(&fs->hits, nsec);
	*pagep = page;
	return 0;
}

/* --- reading ------------------------------------------------------------------------------- */

struct gather {
	struct iovec iov[GATHER_PAGES];
	char *pages[GATHER_PAGES];
	unsigned npages;
	int niov;
};

static void
gather_add(struct gather *g, char *page, const struct piece *p)
{
	struct iovec *last = g->niov > 0 ? &g->iov[g->niov - 1] : NULL;

	g->pages[g->npages++] = page;
	if (last != NULL && (char *)last->iov_base + last->iov_len == page + p->from)
		last->iov_len += p->bytes;
	else
		g->iov[g->niov++] = (struct iovec){ page + p->from, p->bytes };
}

static void
gather_put(struct file *f, struct gather *g)
{
	for (unsigned i = 0; i < g->npages; i++)
		page_put(f, g->pages[i], 0);
}

/* 0 too if there is something before the error, unless all is wanted. */
static int
gather_get(struct fs *fs, struct file *f, struct gather *g, bool all, uint64_t offset, uint64_t end)
{
	struct piece p;
	char *page;
	int err;

	g->npages = 0;
	g->niov = 0;
	for (; offset < end; offset += p.bytes) {
		err = g->npages == GATHER_PAGES ? EAGAIN : piece_at(f, offset, end, &p);
		if (err == 0)
			err = g->npages == 0 ? page_get_timed(fs, f, &p, &page) :
					       page_get(f, &p, &page);
		if (err == EAGAIN || err == ENOMEM || (err != 0 && (all || g->npages == 0)))
			return err;
		if (err != 0)
			break;
		gather_add(g, page, &p);
	}
	return 0;
}

static int
copy_out(struct file *f, bool all, char *buf, uint64_t offset, uint64_t end, size_t *donep)
{
	size_t done = 0;
	struct piece p;
	char *page;
	int err;

	for (; offset < end; offset += p.bytes) {
		if ((err = piece_at(f, offset, end, &p)) != 0 ||
		    (err = page_get(f, &p, &page)) != 0) {
			if (all || done == 0)
				return err;
			break;
		}
		memcpy(buf + done, page + p.from, p.bytes);
		page_put(f, page, 0);
		done += p.bytes;
	}
	*donep = done;
	return 0;
}

static int
read_copied(struct file *f, bool all, uint64_t offset, uint64_t end,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	struct iovec iov;
	int err;

	if ((iov.iov_base = malloc((size_t)(end - offset))) == NULL)
		return ENOMEM;
	if ((err = copy_out(f, all, iov.iov_base, offset, end, &iov.iov_len)) == 0)
		reply(arg, &iov, 1);
	free(iov.iov_base);
	return err;
}

static int
read_pinned(struct fs *fs, struct file *f, bool all, uint64_t offset, uint64_t end,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	struct gather g;
	int err;

	if ((err = gather_get(fs, f, &g, all, offset, end)) == 0)
		reply(arg, g.iov, g.niov);
	gather_put(f, &g);
	return err;
}

static void
prefetch(struct file *f, uint64_t offset, uint64_t end)
{
	size_t page_bytes = mpool_file_pagesize(f->mpf);
	uint64_t first = offset / page_bytes, last = (end - 1) / page_bytes;

	if (last > first && last <= UINT32_MAX)
		(void)memp_fprefetch(f->mpf, (db_pgno_t)first, (db_pgno_t)(last - first + 1));
}

/*
 * HOME's filesystem knows whether a read moves the access time.  A read at the end tells it of
 * one, and reads nothing.
 */
static void
touch_atime(const struct fs *fs, const struct file *f, off_t length)
{
	char byte;

	if (!fs->opt->read_only && !fs->opt->no_atime)
		(void)!pread(mpool_file_fd(f->mpf), &byte, 1, length);
}

/*
 * The kernel may keep what it is given here, zeros behind the end as well, while others change the
 * file: it is remembered, to the byte, so it is copied first.
 */
static int
read_tracked(struct fs *fs, struct file *f, size_t bytes, uint64_t offset,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	struct iovec iov = { .iov_base = malloc(bytes), .iov_len = 0 };
	uint64_t end = 0;
	off_t length;
	int err;

	if (iov.iov_base == NULL)
		return ENOMEM;
	if ((err = coherence_give_begin(fs, f, offset, offset + bytes)) == 0 &&
	    (err = memp_fsize(f->mpf, &length)) == 0) {
		end = min_u64(offset + bytes, (uint64_t)length);
		if (end < offset + bytes)
			coherence_shows(f, (uint64_t)length);
		if (offset < end)
			err = copy_out(f, true, iov.iov_base, offset, end, &iov.iov_len);
	}
	if (err == 0) {
		coherence_give_end(
		    fs, f, offset, offset + bytes, iov.iov_base, iov.iov_len);
		reply(arg, &iov, iov.iov_len > 0 ? 1 : 0);
	}
	free(iov.iov_base);
	return err;
}

static int
read_range(struct fs *fs, struct file *f, bool for_cache, uint64_t offset, uint64_t end,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	int err = EAGAIN;

	if (end - offset <= __atomic_load_n(&fs->gather_bytes, __ATOMIC_RELAXED))
		err = read_pinned(fs, f, for_cache, offset, end, reply, arg);
	if (err == EAGAIN || err == ENOMEM)
		err = read_copied(f, for_cache, offset, end, reply, arg);
	return err;
}

static int
read_locked(struct fs *fs, struct file *f, off_t length, bool for_cache, size_t bytes,
    uint64_t offset, void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	uint64_t end;

	touch_atime(fs, f, length);
	end = min_u64(offset + bytes, length > 0 ? (uint64_t)length : 0);
	if (offset < end)
		prefetch(f, offset, end);
	if (offset + bytes > (uint64_t)length)
		coherence_shows(f, (uint64_t)length);
	if (for_cache && coherence_is_untold(fs, f))
		return ESTALE;
	if (for_cache)
		coherence_gives(f);
	if (for_cache && coherence_tracks(f))
		return read_tracked(fs, f, bytes, offset, reply, arg);
	if (offset < end)
		return read_range(fs, f, for_cache, offset, end, reply, arg);
	reply(arg, NULL, 0);
	return 0;
}

/* Has a client cut the file meanwhile? */
static bool
was_cut(struct file *f, off_t before)
{
	off_t length;

	return memp_fsize(f->mpf, &length) == 0 && length < before;
}

int
io_read(struct fs *fs, struct node *node, bool for_cache, size_t bytes, uint64_t offset,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	struct file *f;
	off_t length;
	int err;

	if (offset > INT64_MAX - bytes)
		return EINVAL;
	if ((err = file_get_data(fs, node, false, &f)) != 0)
		return err;
	(void)pthread_rwlock_rdlock(&f->io);
	while ((err = memp_fsize(f->mpf, &length)) == 0) {
		err = read_locked(fs, f, length, for_cache, bytes, offset, reply, arg);
		if (err != EINVAL || !for_cache || !was_cut(f, length))
			break;
	}
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
	return err;
}

/* --- writing ------------------------------------------------------------------------------- */

void
io_touch(struct file *f, const struct caller *c)
{
	int fd = mpool_file_fd(f->mpf);
	struct stat st;
	mode_t mode;

	if (fstat(fd, &st) == 0 && c->uid != 0) {
		mode = st.st_mode & ~(mode_t)S_ISUID;
		if (mode & S_IXGRP)
			mode &= ~(mode_t)S_ISGID;
		if (mode != st.st_mode && fchmod(fd, mode & 07777) == 0)
			mpool_file_restamp(f->mpf);
	}
	mpool_file_set_mtime(f->mpf, os_now_nsec_coarse());
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

static int
piece_write(struct file *f, const struct piece *p, const char *buf, bool in_file)
{
	char *page;
	int err;

	if (p->bytes == mpool_file_pagesize(f->mpf) && !in_file)
		return mpool_overwrite(f->mpf, p->pgno, buf);
	if ((err = page_get(f, p, &page)) != 0)
		return err;
	memcpy(page + p->from, buf, p->bytes);
	piece_put(f, page, in_file);
	if (in_file)
		mpool_kcache_tell(f->mpf, p->pgno);
	return 0;
}

static int
copy_in(struct file *f, const struct change *w, size_t *donep)
{
	uint64_t offset = w->offset, end = w->offset + w->bytes;
	size_t done = 0;
	struct piece p;
	int err;

	for (; offset < end; offset += p.bytes) {
		if ((err = piece_at(f, offset, end, &p)) != 0 ||
		    (err = piece_write(f, &p, w->buf + done, w->in_file)) != 0) {
			if (done == 0)
				return err;
			break;
		}
		done += p.bytes;
	}
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
write_range(struct file *f, const struct change *w, size_t *donep)
{
	uint64_t end = w->offset + w->bytes;
	size_t done = 0;
	int err;

	if (end > w->length && (err = mpool_file_extend(f->mpf, (off_t)end)) != 0)
		return err;
	err = copy_in(f, w, &done);
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
		identity_enter(c);
		do
			n = pwrite(mpool_file_fd(f->mpf), w->buf, w->bytes, (off_t)w->offset);
		while (n == -1 && errno == EINTR);
		err = n == -1 ? errno : 0;
		identity_leave();
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
	if (err != 0 || (err = write_range(f, w, &done)) != 0)
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
io_write(struct fs *fs, struct handle *h, const struct caller *c, int flags,
    bool through_cache, const char *buf, size_t bytes, uint64_t offset, size_t *donep,
    struct written **wp)
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
	struct file *f;
	int err;

	if (bytes > INT64_MAX)
		return EFBIG;
	/* to cut all of it off nobody needs to know what it was */
	err = bytes == 0 ? file_get(fs, node, true, &f) : file_get_data(fs, node, true, &f);
	if (err != 0)
		return err;
	(void)pthread_rwlock_wrlock(&f->io);
	if ((err = memp_ftruncate(f->mpf, (off_t)bytes)) == 0) {
		f->reserved_from = f->reserved_to = 0;
		f->surplus = false;
		io_touch(f, c);
	}
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
	return err;
}

static int
seek_locked(struct fs *fs, struct file *f, uint64_t offset, int whence, off_t *resultp)
{
	off_t length, found;
	int64_t mtime;
	int err;

	if ((err = memp_fsize(f->mpf, &length)) != 0)
		return err;
	if (offset >= (uint64_t)length)
		return ENXIO;
	/* The disk knows where the holes are, once it has all that was written. */
	if (coherence_may_be_stored(f) ||
	    (!f->writable &&
		mpool_ident_attr(fs->pool, &f->node->ident, &found, &mtime) != ENOENT)) {
		/* it lacks what others have put or stored, which is not ours to write: no hole */
		*resultp = whence == SEEK_DATA ? (off_t)offset : length;
		return 0;
	}
	if ((err = file_write_out(f, true)) != 0)
		return err;
	if ((found = lseek(mpool_file_fd(f->mpf), (off_t)offset, whence)) == -1)
		return errno;
	if (found >= length && whence == SEEK_DATA)
		return ENXIO;
	*resultp = found > length ? length : found;
	return 0;
}

int
io_seek(struct fs *fs, struct node *node, uint64_t offset, int whence, off_t *resultp)
{
	struct file *f;
	int err;

	if (offset > INT64_MAX)
		return ENXIO;
	if ((err = file_get_data(fs, node, false, &f)) != 0)
		return err;
	(void)pthread_rwlock_wrlock(&f->io);
	err = seek_locked(fs, f, offset, whence, resultp);
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
	return err;
}
