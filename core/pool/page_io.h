/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/page_io.h - pages read from their files, conversions, and cutting off.
 */
#ifndef POOL_PAGE_IO_H
#define POOL_PAGE_IO_H

#include "pool.h"

struct thread;

/* Read page pgno into a frame that we own (LOADING).  Zeros behind the end.  pgin. */
int page_read(struct thread *t, DB_MPOOLFILE *mpf, uint32_t f, db_pgno_t pgno);

/* A page has so many bytes of its file: zeros behind them.  A call for nothing is not free. */
static inline void
page_clear_rest(uint8_t *page, size_t have, size_t size)
{
	if (unlikely(have < size))
		memset(page + have, 0, size - have);
}

/* The pgin of a page created by DB_MPOOL_CREATE; nothing if the ftype has none. */
int page_in(struct thread *t, DB_MPOOLFILE *mpf, void *page, db_pgno_t pgno);
/* ftruncate(2), if the pool is still the file's: else ESTALE, or DB_RUNRECOVERY. */
int page_cut_file(struct thread *t, struct file_row *row, int fd, uint64_t bytes);
/* The ftype's pair as this process registered it.  False: it has none. */
bool registered(DB_MPOOL *p, int ftype, struct registration *copy);

#endif
