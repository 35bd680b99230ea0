/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/page_table.c - from (file, page) to a frame: buckets of one cache line, two for each key.
 *
 * Readers take no lock: an entry is one word, and what it says is only believed after the frame
 * was pinned and its key compared.  The holder of a key's first bucket is the only one who may
 * publish an entry for that key (P8, rule S1); cells are taken by compare-and-swap from 0, since
 * a bucket is the second choice of keys that other buckets guard.  An entry is withdrawn by
 * whoever owns its frame, without a lock.  A key whose buckets are both full goes to its line of a
 * small overflow area, which the first bucket's header flags for good.
 */
#include "page_table.h"
#include "frame.h"
#include "reap.h"
#include "thread.h"

#define UNNOTED_MOST 32 /* looks at a bucket whose holder has no note of it */

/* Two for each page that the tables are for, but no more than 8 MiB of them. */
int
table_memo_make(DB_MPOOL *p)
{
	uint64_t n = 64;

	while (n < p->g.cache_bytes >> (p->g.table_shift - 1) && n < 1u << 21)
		n <<= 1;
	p->memo_mask = (uint32_t)n - 1;
	/* Not from malloc, which would fill megabytes with zeros at every open. */
	return os_map(-1, n * sizeof(*p->memo), os_page_size(), (void **)&p->memo);
}

void
table_memo_free(DB_MPOOL *p)
{
	os_unmap(p->memo, ((size_t)p->memo_mask + 1) * sizeof(*p->memo));
}

static uint64_t
cell_word(uint32_t tag, uint32_t f)
{
	return (uint64_t)tag << 32 | (f + 1);
}

/* Does another block of the client (its number + 1) say that it has, or wants, the bucket? */
static bool
is_noted(const struct thread *t, uint32_t bucket, uint64_t owner)
{
	const DB_MPOOL *p = t->pool;
	uint32_t used = load_seq(&p->mp->blocks_used);

	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++)
		if (&p->blocks[i] != t->home && load_seq(&p->blocks[i].owner) == owner &&
		    load_seq(&p->blocks[i].note_bucket) == bucket + 1)
			return true;
	return false;
}

/*
 * The bucket has been seen locked for long.  By a dead client: it is taken over.  By a number
 * that nobody has: nothing under a bucket is ever half done, so it is just unlocked.  By a live
 * one that again and again has no note of it: damage.  Once says nothing, since the lock is free
 * between the two looks of most of those who come by.
 */
static void
look_at_holder(struct thread *t, uint32_t bucket, uint64_t h, unsigned *unnotedp)
{
	DB_MPOOL *p = t->pool;
	uint64_t owner = h & BUCKET_OWNER;

	if (reap_client(t, (uint32_t)owner - 1))
		return;
	if (owner_is_impossible(p, (uint32_t)owner - 1))
		(void)cas_seq(&p->buckets[bucket].header, &h, h & ~BUCKET_OWNER);
	else if (is_noted(t, bucket, owner) || load_seq(&p->buckets[bucket].header) != h)
		*unnotedp = 0;
	else if (++*unnotedp == UNNOTED_MOST)
		(void)region_panic(p->region,
		    "bucket %u is locked, but client %u knows nothing of it", bucket,
		    (unsigned)owner - 1);
}

void
table_lock(struct thread *t, uint32_t bucket)
{
	uint64_t *header = &t->pool->buckets[bucket].header;
	uint64_t me = t->pool->self + 1, h;
	unsigned unnoted = 0;

	store_release(&t->home->note_bucket, bucket + 1);
	for (unsigned spin = 1;; spin++) {
		h = load_relaxed(header);
		if (!(h & BUCKET_OWNER) && cas_seq(header, &h, h | me))
			return;
		if (spin % 128 != 0) {
			cpu_relax();
			continue;
		}
		os_yield();
		if (spin % 16384 != 0 || !(h & BUCKET_OWNER))
			continue;
		look_at_holder(t, bucket, h, &unnoted);
		if (!pool_is_usable(t->pool))
			return; /* damaged or removed: what the caller does now is nobody's */
	}
}

void
table_unlock(struct thread *t, uint32_t bucket)
{
	(void)and_seq(&t->pool->buckets[bucket].header, ~BUCKET_OWNER);
	store_release(&t->home->note_bucket, 0);
}

/* The frame of a cell if its tag is right and its key is, else NO_FRAME. */
static uint32_t
cell_match(const DB_MPOOL *p, uint64_t cell, uint32_t tag, uint64_t key)
{
	uint32_t f = (uint32_t)cell - 1;

	if (cell == 0 || (uint32_t)(cell >> 32) != tag || f >= p->g.nframes)
		return NO_FRAME;
	return load_acquire(&frame_at(p, f)->key) == key ? f : NO_FRAME;
}

uint32_t
table_look(const DB_MPOOL *p, const struct table_place *at, uint64_t key)
{
	const uint32_t two[2] = { at->first, at->second };
	uint32_t f;

	for (unsigned i = 0; i < 2; i++)
		for (unsigned c = 0; c < BUCKET_CELLS; c++) {
			uint64_t cell = load_seq(&p->buckets[two[i]].cells[c]);

			if ((f = cell_match(p, cell, at->tag, key)) != NO_FRAME)
				return f;
		}
	if (load_seq(&p->buckets[at->first].header) & BUCKET_OVERFLOW)
		for (unsigned c = 0; c < OVERFLOW_CELLS; c++)
			if ((f = cell_match(
				 p, load_seq(&table_overflow(p, at)[c]), at->tag, key)) != NO_FRAME)
				return f;
	return NO_FRAME;
}

static bool
take_cell(uint64_t *cells, uint32_t n, uint64_t word)
{
	for (uint32_t c = 0; c < n; c++) {
		uint64_t none = 0;

		if (load_relaxed(&cells[c]) == 0 && cas_seq(&cells[c], &none, word))
			return true;
	}
	return false;
}

static unsigned
cells_used(const struct bucket *b)
{
	unsigned n = 0;

	for (unsigned c = 0; c < BUCKET_CELLS; c++)
		n += load_relaxed(&b->cells[c]) != 0;
	return n;
}

/*
 * The first bucket, where a look-up begins, as long as it has a cell to spare; then the emptier
 * one.  Filled to a half, one entry in ten lies in its second bucket and one in a thousand in
 * neither.
 */
int
table_insert(DB_MPOOL *p, const struct table_place *at, uint32_t f)
{
	uint64_t word = cell_word(at->tag, f);
	struct bucket *a = &p->buckets[at->first], *b = &p->buckets[at->second], *swap = a;

	if (cells_used(a) >= BUCKET_CELLS - 1 && cells_used(b) < cells_used(a)) {
		a = b;
		b = swap;
	}
	if (take_cell(a->cells, BUCKET_CELLS, word) || take_cell(b->cells, BUCKET_CELLS, word))
		return 0;
	(void)or_seq(&p->buckets[at->first].header, BUCKET_OVERFLOW);
	return take_cell(table_overflow(p, at), OVERFLOW_CELLS, word) ? 0 : ENOSPC;
}

static bool
clear_cell(uint64_t *cells, uint32_t n, uint64_t word)
{
	for (uint32_t c = 0; c < n; c++) {
		uint64_t found = word;

		if (load_relaxed(&cells[c]) == word && cas_seq(&cells[c], &found, 0))
			return true;
	}
	return false;
}

void
table_withdraw(DB_MPOOL *p, uint64_t key, uint32_t f)
{
	struct table_place at = table_place(p, key);
	uint64_t word = cell_word(at.tag, f);

	if (clear_cell(p->buckets[at.first].cells, BUCKET_CELLS, word) ||
	    clear_cell(p->buckets[at.second].cells, BUCKET_CELLS, word))
		return;
	if (load_seq(&p->buckets[at.first].header) & BUCKET_OVERFLOW)
		(void)clear_cell(table_overflow(p, &at), OVERFLOW_CELLS, word);
}

unsigned
table_neighbours(const DB_MPOOL *p, const struct table_place *at, uint32_t frames[])
{
	const uint32_t two[2] = { at->first, at->second };
	unsigned n = 0;

	for (unsigned i = 0; i < 2; i++)
		for (unsigned c = 0; c < BUCKET_CELLS; c++) {
			uint32_t f = (uint32_t)load_relaxed(&p->buckets[two[i]].cells[c]) - 1;

			if (f < p->g.nframes)
				frames[n++] = f;
		}
	return n;
}
