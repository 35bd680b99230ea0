/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/dirty.c - which pages of a file are dirty, without walking the pool.
 *
 * Two levels over the frames.  A frame's count is of the reasons to look at it: not 0 whenever its
 * word has INDEXED, and INDEXED is set whenever the page is dirty or being written.  The word is
 * the authority: who sets INDEXED has raised the count before, who clears it lowers the count
 * after, and both do so while a pin or WRITING keeps the frame from being reused (P4).  A death
 * between the two steps leaves a count too high: a look in vain, until the frame is claimed and
 * the count stored as 0.  The frames fall into at most 64 groups; the row's groups word has a bit
 * for each group in which the file may have indexed frames.
 *
 * A group bit is cleared by one process at a time, which names the group in row->clearing
 * meanwhile: readers take that group as set.  It clears the bit, looks through the group, and
 * sets it again if it finds a frame of the file; a putter raises the count first and looks at the
 * bit afterwards, so one of the two sees the other.
 */
#include "dirty.h"
#include "extent.h"
#include "file.h"
#include "frame.h"
#include "recount.h"
#include "writer.h"

static void
group_set(DB_MPOOL *p, struct file_row *row, uint32_t f)
{
	uint64_t bit = 1ull << (f >> p->g.group_shift);

	if (!(load_seq(&row->groups) & bit))
		(void)or_seq(&row->groups, bit);
}

static void
note_first_dirt(struct file_row *row)
{
	if (load_relaxed(&row->dirty_usec) == 0)
		store_relaxed(&row->dirty_usec, os_now_usec());
}

/* DIRTY is set already: remember that it was put again (P5). */
static void
mark_again(struct frame *fr, uint64_t w)
{
	if (!(w & FW_REDIRTY))
		(void)or_seq(&fr->word, FW_REDIRTY);
}

bool
dirty_mark(struct thread *t, struct file_row *row, uint32_t f)
{
	DB_MPOOL *p = t->pool;
	struct frame *fr = frame_at(p, f);
	uint64_t w = load_seq(&fr->word);
	bool counted = false;

	for (;;) {
		if (w & FW_DIRTY) {
			mark_again(fr, w);
			break;
		}
		if (!(w & FW_INDEXED) && !counted) {
			(void)add_seq(index_at(p, f), 1);
			counted = true;
		}
		group_set(p, row, f);
		counting_begin(t);
		if (cas_seq(&fr->word, &w, w | FW_DIRTY | FW_INDEXED))
			break;
	}
	if (counted && (w & FW_INDEXED))
		(void)sub_seq(index_at(p, f), 1);
	if (!(w & FW_DIRTY)) {
		note_first_dirt(row);
		(void)add_relaxed(&row->dirty, 1);
		count(t, C_DIRTIED, 1);
		if (w & FW_SUSPECT) /* until now it was to be read again */
			count(t, C_SUSPECT, 1);
	}
	counting_end(t);
	if (w & FW_DIRTY)
		return false;
	writer_notice(t);
	return true;
}

void
dirty_unindex(DB_MPOOL *p, uint32_t f)
{
	struct frame *fr = frame_at(p, f);
	uint64_t w = load_seq(&fr->word);

	while (w & FW_INDEXED) {
		if ((w & FW_DIRTY) && fw_state(w) != FRAME_CLAIMED)
			return;
		if (cas_seq(&fr->word, &w, w & ~FW_INDEXED)) {
			(void)sub_seq(index_at(p, f), 1);
			break;
		}
	}
	if (fw_state(w) == FRAME_CLAIMED && load_relaxed(index_at(p, f)) != 0)
		store_seq(index_at(p, f), 0);
}

uint64_t
dirty_groups(const struct file_row *row)
{
	uint64_t before, after, groups;

	do {
		before = load_seq(&row->clearing);
		groups = load_seq(&row->groups);
		after = load_seq(&row->clearing);
	} while (before != after);
	if (after & 0xffff)
		groups |= 1ull << (((after & 0xffff) - 1) & 63);
	return groups;
}

/* Does frame f belong to the file, in a state in which it can be dirty or on its way? */
static bool
is_candidate(const DB_MPOOL *p, uint32_t f, uint32_t file)
{
	const struct frame *fr = frame_at(p, f);

	return key_file(load_acquire(&fr->key)) == file && (load_seq(&fr->word) & FW_INDEXED) != 0;
}

/* The first of the frames from f to end, whose counts lie in one piece, with one that is not 0. */
static uint32_t
next_in_piece(const DB_MPOOL *p, uint32_t f, uint32_t end)
{
	while (f < end) {
		const uint8_t *count = index_at(p, f);

		if ((uintptr_t)count % 8 == 0 && f + 8 <= end &&
		    load_seq((const uint64_t *)(const void *)count) == 0) {
			f += 8;
			continue;
		}
		if (load_seq(count) != 0)
			break;
		f++;
	}
	return f;
}

/*
 * The first frame from f on, below end, whose count is not 0.  Of an extent only the frames that
 * its page size has: no other can be dirty, and their counts need not get memory.
 */
static uint32_t
next_counted(const DB_MPOOL *p, uint32_t f, uint32_t end)
{
	uint32_t common = p->common, first, n, stop;
	unsigned pageshift;

	while (f < end) {
		first = f & ~(p->g.frames_per_extent - 1);
		pageshift = frame_pageshift(p, f);
		n = pageshift != 0 ? extent_frames(p, pageshift) : 0;
		if (f - first >= n) {
			f = first + p->g.frames_per_extent;
			continue;
		}
		stop = f - first < common && n > common ? first + common : first + n;
		if (stop > end)
			stop = end;
		if ((f = next_in_piece(p, f, stop)) < stop)
			return f;
	}
	return end;
}

static uint32_t
group_end(const DB_MPOOL *p, uint32_t f)
{
	uint64_t end = ((uint64_t)(f >> p->g.group_shift) + 1) << p->g.group_shift;

	return end < p->g.nframes ? (uint32_t)end : p->g.nframes;
}

unsigned
dirty_list(struct thread *t, struct file_row *row, uint32_t file, uint32_t *fromp,
    uint32_t frames[], unsigned n)
{
	DB_MPOOL *p = t->pool;
	uint64_t groups = dirty_groups(row);
	uint32_t f = *fromp, end;
	unsigned k = 0;

	while (f < p->g.nframes && k < n) {
		end = group_end(p, f);
		if (!(groups & 1ull << (f >> p->g.group_shift))) {
			f = end;
			continue;
		}
		while (k < n && (f = next_counted(p, f, end)) < end) {
			if (is_candidate(p, f, file))
				frames[k++] = f;
			f++;
		}
	}
	*fromp = f;
	return k;
}

static bool
group_has(const DB_MPOOL *p, unsigned group, uint32_t file)
{
	uint64_t first = (uint64_t)group << p->g.group_shift;
	uint32_t f = (uint32_t)first, end;

	if (first >= p->g.nframes)
		return false;
	for (end = group_end(p, f); (f = next_counted(p, f, end)) < end; f++)
		if (key_file(load_acquire(&frame_at(p, f)->key)) == file)
			return true;
	return false;
}

/* Clear the bit of one group if nothing of the file is indexed in it. */
static bool
group_tidy(DB_MPOOL *p, struct file_row *row, uint32_t file, unsigned group)
{
	uint64_t now = load_seq(&row->clearing), mine, bit = 1ull << group;

	if ((now & 0xffff) != 0 || group_has(p, group, file))
		return false;
	mine = ((now >> 32) + 1) << 32 | (uint64_t)(p->self + 1) << 16 | (group + 1);
	if (!cas_seq(&row->clearing, &now, mine))
		return false;
	(void)and_seq(&row->groups, ~bit);
	/* the row may have become another file's since we were called */
	if (load_seq(&row->id) != file || group_has(p, group, file))
		(void)or_seq(&row->groups, bit);
	(void)cas_seq(&row->clearing, &mine, mine & ~0xffffffffull);
	return true;
}

void
dirty_tidy(struct thread *t, struct file_row *row, uint32_t file)
{
	DB_MPOOL *p = t->pool;
	uint64_t groups = load_seq(&row->groups);

	store_seq(&t->home->note_row, (uint32_t)(row - p->rows) + 1);
	for (; groups != 0; groups &= groups - 1)
		(void)group_tidy(p, row, file, (unsigned)__builtin_ctzll(groups));
	if (load_seq(&row->groups) == 0) {
		store_seq(&row->dirty_usec, 0);
		if (load_seq(&row->groups) != 0)
			note_first_dirt(row);
	}
	store_release(&t->home->note_row, 0);
}
