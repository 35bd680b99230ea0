/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/write_back.c - what the kernel writes back of pages that programs have changed by mappings.
 *
 * It sends whole pages.  Of a file that others change meanwhile only the bytes are taken that a
 * program has changed (coherence.h, C4); of any other all are.  The file gets no longer by it: what
 * lies behind the end, because somebody has cut it, is dropped.
 */
#include <limits.h>
#include <syslog.h>

#include "coherence.h"
#include "file_idle.h"
#include "io.h"
#include "piece.h"
#include "space.h"
#include "state.h"

/*
 * What a program stored before somebody else cut it off does not come back: who may cut the file
 * waits for the copy, or comes before it.
 */
static int
merge_page(struct fs *fs, struct file *f, char *page, uint64_t at, const char *buf, size_t bytes,
    bool *anyp)
{
	off_t length;
	int err;

	*anyp = false;
	if (!coherence_tracks(f)) {
		*anyp = coherence_merge(fs, f, page, at, buf, bytes);
		return 0;
	}
	if ((err = mpool_file_hold_end(f->mpf, &length)) != 0)
		return err;
	if (at < (uint64_t)length)
		*anyp =
		    coherence_merge(fs, f, page, at, buf, min_u64(bytes, (uint64_t)length - at));
	mpool_file_let_end(f->mpf);
	return 0;
}

static int
merge_pages(struct fs *fs, struct file *f, const char *buf, uint64_t offset, uint64_t end)
{
	uint64_t at = offset;
	struct piece p;
	char *page;
	bool any;
	int err;

	for (; at < end; at += p.bytes) {
		if ((err = piece_at(f, at, end, &p)) != 0)
			return err;
		if ((err = page_get(f, &p, &page)) != 0)
			return file_was_cut(f, (off_t)at + 1) ? 0 : err;
		err = merge_page(fs, f, page + p.from, at, buf + (at - offset), p.bytes, &any);
		page_put(f, page, any ? DB_MPOOL_DIRTY : 0);
		if (err != 0)
			return err;
	}
	return 0;
}

/*
 * HOME's file was changed since the kernel read the page, and the mount has taken that: but what a
 * program has stored in another byte of the page takes all of it along.
 */
static void
tell_who_wins(struct fs *fs, struct file *f)
{
	uint32_t taken = mpool_file_disk_taken(f->mpf);
	char path[PATH_MAX];

	if (coherence_tracks(f) ||
	    __atomic_exchange_n(&f->disk_seen, taken, __ATOMIC_SEQ_CST) == taken)
		return;
	file_name(fs, f, path);
	fs_log(LOG_WARNING,
	    "%s: was changed on disk while the kernel has pages of it that programs have stored "
	    "into and that are not written yet; these pages win",
	    path);
}

static int
merge_locked(struct fs *fs, struct file *f, const struct caller *c, const char *buf, size_t bytes,
    uint64_t offset)
{
	bool through = false;
	uint64_t end;
	off_t length;
	int err;

	if ((err = memp_fsize(f->mpf, &length)) != 0 || offset >= (uint64_t)length)
		return err;
	end = min_u64(offset + bytes, (uint64_t)length);
	err = space_reserve(fs, f, c, offset, (size_t)(end - offset), (uint64_t)length, &through);
	if (err != 0 || (err = merge_pages(fs, f, buf, offset, end)) != 0)
		return err;
	tell_who_wins(fs, f);
	coherence_merged(fs, f, offset, buf, bytes);
	io_touch(f, c);
	return through ? file_write_out(f, true) : 0;
}

int
io_write_back(struct fs *fs, struct handle *h, const struct caller *c, const char *buf,
    size_t bytes, uint64_t offset, size_t *donep)
{
	struct file *f;
	int err;

	if ((err = file_get_data(fs, h->node, true, &f)) != 0)
		return err;
	(void)pthread_rwlock_wrlock(&f->io);
	err = merge_locked(fs, f, c, buf, bytes, offset);
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
	if (err == 0)
		*donep = bytes;
	return err;
}
