/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/writer.c - the background writer: a thread that keeps a part of the pool clean, so that who
 * needs a frame finds one that need not be written first.
 *
 * A handle that was opened with DB_ENV.mp_writer has one.  It sleeps until the bytes that are
 * dirty reach CLEAN_LEAST short of the whole pool, and then writes until CLEAN_ENOUGH are clean,
 * pages that nobody has used lately first.  It learns of dirt by a futex in the region that those
 * who make pages dirty wake, of whatever process, and looks by itself once a second.  Several
 * writers of one pool get in each other's way a little and do no harm.
 *
 * The thread is like any other of the process: it holds no lock while it writes, a kill leaves
 * what any kill leaves.  Signals are blocked in it.  A forked child has no such thread and waits
 * for none.
 */
#include <stdlib.h>

#include "dirty.h"
#include "evict.h"
#include "file.h"
#include "frame.h"
#include "writeback.h"
#include "writer.h"

#define PERIOD_USEC 1000000u
#define PAUSE_USEC 1000u /* between rounds, however much there is to write */
#define CLEAN_LEAST(b) ((b) / 8)
#define CLEAN_ENOUGH(b) ((b) / 4)

static uint64_t
dirty_bytes(const DB_MPOOL *p)
{
	uint64_t bytes = 0;

	for (uint32_t r = 0; r < rows_used(p); r++)
		if (load_relaxed(&p->rows[r].id) != 0)
			bytes += load_relaxed(&p->rows[r].dirty)
			    << (load_relaxed(&p->rows[r].pageshift) & 31);
	return bytes;
}

static bool
is_wanted(const DB_MPOOL *p)
{
	uint64_t all = pool_bytes(p);

	return dirty_bytes(p) > all - CLEAN_LEAST(all);
}

/* Pages that a thread makes dirty between two looks: a power of two, one in a small pool. */
static uint64_t
notice_every(const DB_MPOOL *p)
{
	uint64_t all = pool_bytes(p);

	return all >= 64u << 20 ? 64 : all >= 4u << 20 ? 8 : 1;
}

void
writer_notice(struct thread *t)
{
	DB_MPOOL *p = t->pool;

	if (!load_relaxed(&p->mp->writer_sleeps) ||
	    load_relaxed(&t->home->counters[C_DIRTIED]) % notice_every(p) != 0 || !is_wanted(p))
		return;
	store_relaxed(&p->mp->writer_sleeps, 0);
	(void)add_seq(&p->mp->writer_word, 1);
	os_futex_wake(&p->mp->writer_word);
}

/* What is dirty beyond the part that shall be clean; 0: all is well. */
static uint64_t
surplus(const DB_MPOOL *p)
{
	uint64_t all = pool_bytes(p), most = all - CLEAN_ENOUGH(all), dirty = dirty_bytes(p);

	return dirty > most ? dirty - most : 0;
}

/*
 * Until enough is clean, or everybody was asked: cold pages of all files, then any.  False: it did
 * not help.
 */
static bool
write_surplus(struct thread *t)
{
	DB_MPOOL *p = t->pool;
	struct write_result res = { 0 };
	uint32_t rows = rows_used(p), first = p->writer_row;
	uint64_t bytes;

	for (uint32_t i = 0; i < 2 * rows && !load_seq(&p->writer_ends); i++) {
		struct file_row *row = &p->rows[(first + i) % rows];
		uint32_t id = load_acquire(&row->id);
		unsigned shift = load_relaxed(&row->pageshift) & 31;

		if (id == 0 || load_seq(&row->groups) == 0 ||
		    (load_relaxed(&row->flags) & ROW_TEMP))
			continue;
		if ((bytes = surplus(p)) == 0)
			break;
		p->writer_row = (first + i) % rows;
		write_some(t, row, id, (bytes >> shift) + 1,
		    WRITE_TRICKLE | (i < rows ? WRITE_COLD : 0), &res);
	}
	return res.written > 0 && res.error == 0;
}

/* Sleep until a page too many is dirty, it is time to look, or the handle is closed. */
static void
writer_sleep(DB_MPOOL *p, unsigned usec, bool deaf)
{
	uint32_t word = load_seq(&p->mp->writer_word);

	store_relaxed(&p->mp->writer_sleeps, !deaf);
	if (!load_seq(&p->writer_ends))
		os_futex_wait(&p->mp->writer_word, word, usec);
}

static void *
writer_main(void *arg)
{
	DB_MPOOL *p = arg;
	struct thread *t;
	bool wanted;

	while (!load_seq(&p->writer_ends)) {
		wanted = pool_is_usable(p) && is_wanted(p);
		if (wanted && enter(p, &t) == 0 && write_surplus(t))
			writer_sleep(p, PAUSE_USEC, true);
		else /* what cannot be written now is not tried again and again */
			writer_sleep(p, PERIOD_USEC, wanted);
	}
	return NULL;
}

int
writer_start(DB_MPOOL *p)
{
	int ret;

	ret = os_thread_start(&p->writer, writer_main, p);
	p->writer_runs = ret == 0;
	return ret;
}

void
writer_stop(DB_MPOOL *p)
{
	if (!p->writer_runs)
		return;
	p->writer_runs = false;
	if (region_is_inherited(p->region))
		return; /* it is the parent's */
	store_seq(&p->writer_ends, true);
	(void)add_seq(&p->mp->writer_word, 1);
	os_futex_wake(&p->mp->writer_word);
	(void)pthread_join(p->writer, NULL);
}
