/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/check.c - the invariant walker.
 *
 * At any time: every entry names a frame, every slot names a frame, extents have page sizes that
 * exist.  At rest, when no thread is inside a call, all of it: one frame for each page (rule S1),
 * entries and keys agree, dirty pages are indexed and their group bits set, counters equal what
 * the walk counts.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dirty.h"
#include "extent.h"
#include "file.h"
#include "frame.h"
#include "page_table.h"
#include "policy.h"
#include "recount.h"

struct walk {
	DB_MPOOL *p;
	bool at_rest;
	unsigned faults;
	uint64_t resident;
	uint64_t dirty;
	uint64_t entries;
	uint64_t *row_resident;
	uint64_t *row_dirty;
	uint64_t *places; /* of the files' names and so on in the heap */
};

static void fault(struct walk *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
fault(struct walk *w, const char *fmt, ...)
{
	char text[240];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (w->faults++ < 20)
		env_err(w->p->dbenv, "check: %s", text);
}

static void
check_cell(struct walk *w, uint64_t cell, const char *where, uint32_t at)
{
	uint32_t f = (uint32_t)cell - 1;
	struct frame *fr;

	if (cell == 0)
		return;
	w->entries++;
	if (f >= w->p->g.nframes) {
		fault(w, "%s %u names frame %u of %u", where, at, f, w->p->g.nframes);
		return;
	}
	fr = frame_at(w->p, f);
	if (w->at_rest && table_place(w->p, fr->key).tag != (uint32_t)(cell >> 32))
		fault(w, "%s %u names frame %u, whose key %llx has another tag", where, at, f,
		    (unsigned long long)fr->key);
	if (w->at_rest && fw_state(fr->word) != FRAME_VALID)
		fault(w, "%s %u names frame %u, which is in state %d", where, at, f,
		    fw_state(fr->word));
}

static void
check_table(struct walk *w)
{
	DB_MPOOL *p = w->p;

	for (uint32_t b = 0; b < p->g.nbuckets; b++) {
		for (unsigned c = 0; c < BUCKET_CELLS; c++)
			check_cell(w, load_seq(&p->buckets[b].cells[c]), "bucket", b);
		if (w->at_rest && (load_seq(&p->buckets[b].header) & BUCKET_OWNER))
			fault(w, "bucket %u is locked", b);
	}
	for (uint32_t c = 0; c < p->g.noverflow; c++)
		check_cell(w, load_seq(&p->overflow[c]), "overflow", c);
}

static void
check_page(struct walk *w, uint32_t f, uint64_t word, uint64_t key)
{
	DB_MPOOL *p = w->p;
	uint32_t found = table_frame(p, key);
	struct file_row *row = file_row(p, key_file(key));

	w->resident++;
	w->dirty += (word & FW_DIRTY) != 0;
	if (found != f)
		fault(w, "page %u of file %u is in frame %u, but the table says %d", key_pgno(key),
		    key_file(key), f, (int)found);
	if (row == NULL) {
		fault(w, "frame %u holds a page of file %u, which is not known", f, key_file(key));
		return;
	}
	w->row_resident[row - p->rows]++;
	w->row_dirty[row - p->rows] += (word & FW_DIRTY) != 0;
	if ((word & FW_DIRTY) && !(word & FW_INDEXED))
		fault(w, "frame %u is dirty but not indexed", f);
	if ((word & FW_INDEXED) && *index_at(p, f) == 0)
		fault(w, "frame %u is indexed but its count is 0", f);
	if (*stamp_at(p, f) == 0)
		fault(w, "frame %u holds a page without a stamp", f);
	if ((word & FW_INDEXED) && !(row->groups & 1ull << (f >> p->g.group_shift)))
		fault(w, "frame %u is indexed but its group is not marked", f);
}

static void
check_frame(struct walk *w, uint32_t f)
{
	struct frame *fr = frame_at(w->p, f);
	uint64_t word = load_seq(&fr->word);

	if (!w->at_rest)
		return;
	switch (fw_state(word)) {
	case FRAME_VALID:
		check_page(w, f, word, fr->key);
		break;
	case FRAME_FREE:
		if (word & (FW_DIRTY | FW_INDEXED))
			fault(w, "frame %u is free but dirty", f);
		if (*stamp_at(w->p, f) != 0)
			fault(w, "frame %u is free but stamped", f);
		break;
	case FRAME_CLAIMED:
	case FRAME_LOADING:
	case FRAME_EVICTING:
	case FRAME_COPYING:
	case FRAME_WRITING:
	default:
		fault(w, "frame %u rests in state %d of client %d", f, fw_state(word),
		    (int)fw_owner(word));
	}
}

static void
check_extents(struct walk *w)
{
	DB_MPOOL *p = w->p;

	for (uint32_t e = 0; e < p->g.nextents; e++) {
		uint64_t word = load_seq(&p->extents[e]);
		unsigned shift = extent_pageshift(p, word);

		if (word == EXTENT_CLOSED)
			continue;
		if (word != 0 && (shift == 0 || shift > p->g.extent_shift)) {
			fault(w, "extent %u has page shift %u", e, (unsigned)(word & EXTENT_SHIFT));
			continue;
		}
		if (w->at_rest && (word & EXTENT_CHANGING))
			fault(w, "extent %u rests while it is changing", e);
		for (uint32_t i = 0; shift != 0 && i < extent_frames(p, shift); i++)
			check_frame(w, e * p->g.frames_per_extent + i);
	}
}

static void
check_blocks(struct walk *w)
{
	DB_MPOOL *p = w->p;
	uint32_t used = load_seq(&p->mp->blocks_used);

	if (used > p->g.nblocks) {
		fault(w, "%u blocks in use, of %u", used, p->g.nblocks);
		used = p->g.nblocks;
	}
	for (uint32_t i = 0; i < used; i++) {
		struct block *b = &p->blocks[i];

		for (unsigned k = 0; k < BLOCK_SLOTS; k++) {
			uint32_t f = load_seq(&b->slots[k]) - 1;

			if (f == NO_FRAME)
				continue;
			if (f >= p->g.nframes || load_seq(&b->owner) == 0)
				fault(w, "slot %u of block %u (owner %u) names frame %u", k, i,
				    b->owner, f);
			else if (w->at_rest && fw_state(frame_at(p, f)->word) != FRAME_VALID)
				fault(w, "frame %u is pinned in state %d", f,
				    fw_state(frame_at(p, f)->word));
		}
		for (unsigned k = 0; w->at_rest && k < BLOCK_NOTES; k++)
			if (load_seq(&b->notes[k]) != 0)
				fault(w, "block %u rests with a note of frame %u", i,
				    b->notes[k] - 1);
	}
}

static void
check_counters(struct walk *w)
{
	DB_MPOOL *p = w->p;
	uint64_t resident = counter_sum(p, C_IN) + counter_sum(p, C_CREATE) -
	    counter_sum(p, C_RO_EVICT) - counter_sum(p, C_RW_EVICT);
	uint64_t dirty = counter_sum(p, C_DIRTIED) - counter_sum(p, C_CLEANED);

	if (resident != w->resident)
		fault(w, "%llu pages are resident, the counters say %llu",
		    (unsigned long long)w->resident, (unsigned long long)resident);
	if (dirty != w->dirty)
		fault(w, "%llu pages are dirty, the counters say %llu",
		    (unsigned long long)w->dirty, (unsigned long long)dirty);
	for (uint32_t r = 0; r < rows_used(p); r++)
		if (p->rows[r].id != 0 &&
		    (p->rows[r].resident != w->row_resident[r] ||
			p->rows[r].dirty != w->row_dirty[r]))
			fault(w, "file %u: %llu pages, %llu dirty; its counters say %llu, %llu",
			    p->rows[r].id, (unsigned long long)w->row_resident[r],
			    (unsigned long long)w->row_dirty[r],
			    (unsigned long long)p->rows[r].resident,
			    (unsigned long long)p->rows[r].dirty);
}

/* The heap is sound, and nothing is in it that no row has there. */
static void
check_heap(struct walk *w)
{
	DB_MPOOL *p = w->p;
	struct shalloc_stat st;
	size_t n;
	bool sound;

	region_lock(p);
	sound = shalloc_check(p->heap, p->g.heap_bytes, &st) == 0;
	n = file_heap_places(p, w->places);
	region_unlock(p);
	if (!sound)
		fault(w, "the heap of the file table is damaged");
	else if (n != st.used_chunks)
		fault(w, "the heap has %llu pieces in use, of which files have %zu",
		    (unsigned long long)st.used_chunks, n);
}

static void
check_rows(struct walk *w)
{
	DB_MPOOL *p = w->p;

	for (uint32_t r = 0; r < rows_used(p); r++) {
		const struct file_row *row = &p->rows[r];

		if (row->id != 0 && row->id % p->g.nrows != r)
			fault(w, "row %u holds file %u", r, row->id);
		if (w->at_rest && file_is_orphan(row))
			fault(w, "file %u is nobody's, and is there", row->id);
	}
}

static void
walk(struct walk *w)
{
	check_table(w);
	check_extents(w);
	check_blocks(w);
	check_heap(w);
	check_rows(w);
	if (!w->at_rest)
		return;
	check_counters(w);
	if (w->entries != w->resident)
		fault(w, "%llu entries for %llu pages", (unsigned long long)w->entries,
		    (unsigned long long)w->resident);
}

int
mpool_check(DB_MPOOL *p, bool at_rest)
{
	struct walk w = { .p = p, .at_rest = at_rest };
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if (at_rest)
		recount(t, true);
	w.row_resident = calloc(p->g.nrows, sizeof(uint64_t));
	w.row_dirty = calloc(p->g.nrows, sizeof(uint64_t));
	w.places = calloc(p->g.nrows, HEAP_PLACES * sizeof(uint64_t));
	if (w.row_resident != NULL && w.row_dirty != NULL && w.places != NULL)
		walk(&w);
	else
		ret = ENOMEM;
	free(w.row_resident);
	free(w.row_dirty);
	free(w.places);
	return ret == 0 && w.faults > 0 ? EFAULT : ret;
}
