/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/kcache.h - files of which the kernel, on behalf of a mount, keeps pages of its own.
 *
 * The row's kcache word says whose kernel that is:
 *
 *   owner      client number + 1 of the mount; 0: no kernel has pages of the file
 *   LIVE       the mount has the file open in a way that lets the kernel read and write its copy
 *   KEPT       the kernel's pages are those of the file: they may serve the next open(2), too
 *   DROP       somebody asks the mount to drop all of the kernel's pages of the file
 *   BUSY       the mount is about it
 *   LATE       nor did it begin for so long that those who change the file do not wait any more
 *   drops      (upper half) how often it was done
 *
 * P24. A mount sets LIVE only while no other process has the file open for writing; so who
 * changes a file has either been seen then, or sees LIVE when it opens it.  It then asks for DROP
 * and waits, and from then on, as long as LIVE is set, tells of every page that it put dirty, and
 * when it has made the file longer of the last page, in its own block, and waits until the mount
 * has answered: a read that begins after the call has returned never sees older bytes.  (Of what
 * was made longer the new page is pinned meanwhile.)  A mount that died answers nobody; one that is
 * stopped delays by KCACHE_PATIENCE_USEC, once for a file: then LATE is set, and counted.  Opening
 * fails then.
 *
 * Every transition is one compare-and-swap of the word, so a death leaves nothing half done; the
 * word of a dead mount is cleared by its reaper.
 */
#ifndef POOL_KCACHE_H
#define POOL_KCACHE_H

#include "file.h"
#include "thread.h"

#define KCACHE_OWNER 0xffffull
#define KCACHE_LIVE (1ull << 16)
#define KCACHE_KEPT (1ull << 17)
#define KCACHE_DROP (1ull << 18)
#define KCACHE_BUSY (1ull << 19)
#define KCACHE_LATE (1ull << 20)
#define KCACHE_DROPS_ONE (1ull << 32)

#define KCACHE_PATIENCE_USEC 10000000u

/* Has another process's mount the file open for its kernel to keep? */
static inline bool
kcache_is_live(const DB_MPOOL *p, const struct file_row *row)
{
	uint64_t w = load_relaxed(&row->kcache);

	return (w & KCACHE_LIVE) != 0 && (w & KCACHE_OWNER) != p->self + 1;
}

/*
 * The handle for writing was just entered: wait until the kernel's pages are gone.  EAGAIN: the
 * mount does not answer; what it was given before it cannot be told from what programs have changed
 * there, so nobody must put a page before it has answered.
 */
int kcache_opened(struct thread *t, struct file_row *row);

/* A handle for writing, of client number, was just given up. */
void kcache_left(DB_MPOOL *p, struct file_row *row, uint32_t number);

/* The page was changed and put; nothing of it is held: waits for the mount that has the file. */
void kcache_tell_page(struct thread *t, struct file_row *row, uint32_t id, db_pgno_t pgno);

/* The same where there may be none. */
static inline void
kcache_told_page(struct thread *t, struct file_row *row, uint32_t id, db_pgno_t pgno)
{
	if (kcache_is_live(t->pool, row))
		kcache_tell_page(t, row, id, pgno);
}

/* Any part of the file was changed: wait as well, but not for ever. */
void kcache_told_all(struct thread *t, struct file_row *row);

/* The file was found changed on disk: no kernel's pages are good any more.  Waits for nobody. */
void kcache_spoil(DB_MPOOL *p, struct file_row *row);

/* The client is dead, or leaves: it has no kernel any more. */
void kcache_release(DB_MPOOL *p, uint32_t number);

/* What a dead thread was still telling, it tells nobody. */
void kcache_block_left(struct block *b);

#endif
