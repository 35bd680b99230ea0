/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/io_read.c - reading, through memp_*.
 *
 * A read holds file.io shared.  It pins the pages of its range (GATHER_PAGES at most) and replies
 * from them, so the bytes are copied once.  If that would be too much of the pool, or the pages
 * are small, it copies into a buffer instead, some pages at a time.  What the pool lacks of a
 * range is read in one piece.
 *
 * What the kernel keeps, where it may, is copied too, and remembered (coherence.h).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coherence.h"
#include "io.h"
#include "piece.h"
#include "state.h"

#define GATHER_PAGES 256u

/* Pages of a request that are pinned together. */
struct gather {
	void *pages[GATHER_PAGES];
	unsigned npages;
	bool asked; /* what was missing has been asked for in one piece */
	struct mpool_fetched fetched;
};

static void
gather_begin(struct gather *g)
{
	g->asked = false;
	g->fetched.first = g->fetched.n = 0;
}

/* The first page, of which there is one in each request: a hit is counted by its time. */
static unsigned
get_first(struct fs *fs, struct file *f, struct gather *g, db_pgno_t pgno)
{
	uint64_t begun = os_monotonic_nsec();
	unsigned got = mpool_get_at_hand(f->mpf, pgno, 1, &g->fetched, g->pages);

	if (got == 1 && !mpool_was_fetched(&g->fetched, pgno))
		latency_add(&fs->hits, os_monotonic_nsec() - begun);
	return got;
}

/* Of a request that goes on to page last. */
static int
get_missing(struct fs *fs, struct file *f, struct gather *g, db_pgno_t pgno, uint64_t last)
{
	size_t page_bytes = mpool_file_pagesize(f->mpf);

	if (!g->asked && last > pgno && last <= UINT32_MAX) {
		ahead_missing(fs, f, (uint64_t)pgno * page_bytes, (last + 1) * page_bytes);
		(void)mpool_fetch(f->mpf, pgno, (db_pgno_t)(last - pgno + 1), &g->fetched);
	}
	g->asked = true;
	return mpool_get(f->mpf, pgno, &g->fetched, &g->pages[g->npages]);
}

/*
 * Pin the pages of [offset, end), up to the first that cannot be: what is the matter with that is
 * returned.  Of a request that goes on to asked what is missing is read in one piece.
 */
static int
gather_get(
    struct fs *fs, struct file *f, struct gather *g, uint64_t offset, uint64_t end, uint64_t asked)
{
	size_t page_bytes = mpool_file_pagesize(f->mpf);
	uint64_t first = offset / page_bytes, n = (end - 1) / page_bytes - first + 1;
	db_pgno_t pgno = (db_pgno_t)first;
	int err;

	g->npages = 0;
	if (first > UINT32_MAX || first + n - 1 > UINT32_MAX)
		return EFBIG;
	if (n > GATHER_PAGES)
		return EAGAIN;
	g->npages = get_first(fs, f, g, pgno);
	for (;;) {
		g->npages += mpool_get_at_hand(f->mpf, pgno + g->npages, (unsigned)n - g->npages,
		    &g->fetched, g->pages + g->npages);
		if (g->npages == n)
			return 0;
		if ((err = get_missing(fs, f, g, pgno + g->npages, (asked - 1) / page_bytes)) != 0)
			return err;
		g->npages++;
	}
}

static void
gather_put(struct file *f, struct gather *g)
{
	mpool_put_all(f->mpf, g->pages, g->npages);
}

/* What of [offset, end) is pinned, in as few pieces as there are. */
static int
gather_pieces(
    const struct file *f, const struct gather *g, uint64_t offset, uint64_t end, struct iovec *iov)
{
	size_t page_bytes = mpool_file_pagesize(f->mpf), from = offset % page_bytes, bytes;
	int n = 0;

	for (unsigned i = 0; i < g->npages; i++, from = 0, offset += bytes) {
		char *at = (char *)g->pages[i] + from;

		bytes = (size_t)min_u64(page_bytes - from, end - offset);
		if (n > 0 && (char *)iov[n - 1].iov_base + iov[n - 1].iov_len == at)
			iov[n - 1].iov_len += bytes;
		else
			iov[n++] = (struct iovec){ at, bytes };
	}
	return n;
}

/* So many pages at a time that they are no burden to the pool. */
static uint64_t
copy_at_once(struct fs *fs, const struct file *f)
{
	size_t page_bytes = mpool_file_pagesize(f->mpf);
	uint64_t n = __atomic_load_n(&fs->gather_bytes, __ATOMIC_RELAXED) / page_bytes;

	return (n < 1 ? 1 : n > GATHER_PAGES ? GATHER_PAGES : n) * page_bytes;
}

static size_t
copy_pieces(const struct iovec *iov, int niov, char *buf)
{
	size_t done = 0;

	for (int i = 0; i < niov; i++) {
		memcpy(buf + done, iov[i].iov_base, iov[i].iov_len);
		done += iov[i].iov_len;
	}
	return done;
}

static int
copy_out(struct fs *fs, struct file *f, bool all, char *buf, uint64_t offset, uint64_t end,
    size_t *donep)
{
	uint64_t at_once = copy_at_once(fs, f), at = offset, to;
	struct iovec iov[GATHER_PAGES];
	struct gather g;
	int err = 0, niov;

	gather_begin(&g);
	while (at < end && err == 0) {
		to = min_u64(end, (at / at_once + 1) * at_once);
		err = gather_get(fs, f, &g, at, to, end);
		niov = gather_pieces(f, &g, at, to, iov);
		at += copy_pieces(iov, niov, buf + (at - offset));
		gather_put(f, &g);
		if ((err == EAGAIN || err == ENOMEM) && niov > 0)
			err = 0; /* they have made room */
	}
	if (err != 0 && (all || at == offset))
		return err;
	*donep = (size_t)(at - offset);
	return 0;
}

static int
read_copied(struct fs *fs, struct file *f, bool all, uint64_t offset, uint64_t end,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	struct iovec iov;
	int err;

	if ((iov.iov_base = malloc((size_t)(end - offset))) == NULL)
		return ENOMEM;
	if ((err = copy_out(fs, f, all, iov.iov_base, offset, end, &iov.iov_len)) == 0)
		reply(arg, &iov, 1);
	free(iov.iov_base);
	return err;
}

/* 0 too if there is something before the error, unless all is wanted. */
static int
read_pinned(struct fs *fs, struct file *f, bool all, uint64_t offset, uint64_t end,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	struct iovec iov[GATHER_PAGES];
	struct gather g;
	int err;

	gather_begin(&g);
	err = gather_get(fs, f, &g, offset, end, end);
	if (err != EAGAIN && err != ENOMEM && !all && g.npages > 0)
		err = 0;
	if (err == 0)
		reply(arg, iov, gather_pieces(f, &g, offset, end, iov));
	gather_put(f, &g);
	return err;
}

/*
 * HOME's filesystem knows whether a read moves the access time.  A read at the end tells it of
 * one, and reads nothing.  Its clock for that is the coarse one: the second read of a tick changes
 * nothing, unless the file was changed between the two.
 */
static void
touch_atime(const struct fs *fs, struct file *f, off_t length)
{
	int64_t now;
	char byte;

	if (fs->opt->read_only || fs->opt->no_atime)
		return;
	now = os_now_nsec_coarse();
	if (__atomic_exchange_n(&f->read_nsec, now, __ATOMIC_RELAXED) != now)
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
			err = copy_out(fs, f, true, iov.iov_base, offset, end, &iov.iov_len);
	}
	if (err == 0) {
		coherence_give_end(fs, f, offset, offset + bytes, iov.iov_base, iov.iov_len);
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
		err = read_copied(fs, f, for_cache, offset, end, reply, arg);
	return err;
}

static int
read_locked(struct fs *fs, struct file *f, off_t length, bool for_cache, size_t bytes,
    uint64_t offset, void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	uint64_t end;

	touch_atime(fs, f, length);
	ahead_request(fs, f, offset, offset + bytes);
	end = min_u64(offset + bytes, length > 0 ? (uint64_t)length : 0);
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

static int
read_file(struct fs *fs, struct node *node, bool for_cache, size_t bytes, uint64_t offset,
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
		if (err != EINVAL || !for_cache || !file_was_cut(f, length))
			break;
	}
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
	return err;
}

int
io_read(struct fs *fs, struct handle *h, bool for_cache, size_t bytes, uint64_t offset,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	int err;

	(void)__atomic_add_fetch(&h->reads, 1, __ATOMIC_ACQUIRE);
	err = read_file(fs, h->node, for_cache, bytes, offset, reply, arg);
	(void)__atomic_sub_fetch(&h->reads, 1, __ATOMIC_RELEASE);
	return err;
}
