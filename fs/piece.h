/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/piece.h - a range of a file's bytes, page by page: shared by who reads or writes them.
 */
#ifndef FS_PIECE_H
#define FS_PIECE_H

#include <errno.h>

#include "file.h"
#include "pool/mount.h"

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The part of the page at offset that lies in [offset, end). */
struct piece {
	db_pgno_t pgno;
	size_t from;
	size_t bytes;
};

static inline int
piece_at(const struct file *f, uint64_t offset, uint64_t end, struct piece *p)
{
	size_t page_bytes = mpool_file_pagesize(f->mpf);
	uint64_t pgno = offset / page_bytes;

	if (pgno > UINT32_MAX)
		return EFBIG;
	p->pgno = (db_pgno_t)pgno;
	p->from = offset % page_bytes;
	p->bytes = (size_t)min_u64(page_bytes - p->from, end - offset);
	return 0;
}

static inline int
page_get(struct file *f, const struct piece *p, char **pagep)
{
	db_pgno_t pgno = p->pgno;
	void *page;
	int err;

	if ((err = memp_fget(f->mpf, &pgno, 0, &page)) != 0)
		return err;
	*pagep = page;
	return 0;
}

static inline void
page_put(struct file *f, char *page, unsigned long flags)
{
	(void)memp_fput(f->mpf, page, flags);
}

/* Has somebody else cut it meanwhile, so that it is shorter than that? */
static inline bool
file_was_cut(struct file *f, off_t than)
{
	off_t length;

	return memp_fsize(f->mpf, &length) == 0 && length < than;
}

#endif
