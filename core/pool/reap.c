/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/reap.c - what a dead process left: finished, undone, or let go (P15..P18).
 *
 * The kernel says who is dead (region/client.c).  The reaper claims the number, walks the dead
 * client's blocks - the notes say which frames it may have been changing - until a pass finds
 * nothing, releases its pins, its open handles, and frees the number last.  If the reaper dies
 * too, the next one starts over: every step can be repeated.
 */
#include "reap.h"
#include "base/usdt.h"
#include "dirty.h"
#include "evict.h"
#include "extent.h"
#include "file.h"
#include "frame.h"
#include "kcache.h"
#include "page_table.h"
#include "policy.h"
#include "recount.h"
#include "tally.h"

/* CLAIMED or LOADING by the dead: its entry, if it is this frame's, goes; the frame is free. */
static void
undo_load(struct thread *t, uint32_t f, uint64_t w)
{
	DB_MPOOL *p = t->pool;
	struct frame *fr = frame_at(p, f);

	note_frame(t, f);
	if (!cas_seq(&fr->word, &w, fw_with(w, FRAME_CLAIMED, p->self))) {
		note_clear(t, f);
		return;
	}
	if (w & FW_WAITERS)
		os_futex_wake((const uint32_t *)&fr->word);
	table_withdraw(p, load_acquire(&fr->key), f);
	dirty_unindex(p, f);
	(void)frame_free(t, f, FRAME_CLAIMED);
}

/*
 * WRITING by the dead: whether the bytes arrived is unknown unless it had left the index (P13).
 */
static void
undo_write(struct thread *t, uint32_t f, uint64_t w)
{
	struct frame *fr = frame_at(t->pool, f);
	struct file_row *row = file_row(t->pool, key_file(load_acquire(&fr->key)));
	uint64_t next = fw_with(w, FRAME_VALID, NO_CLIENT) & ~FW_WAITERS;

	if (w & FW_INDEXED)
		next |= FW_DIRTY | FW_REDIRTY;
	counting_begin(t);
	if (!cas_seq(&fr->word, &w, next)) {
		counting_end(t);
		return;
	}
	if ((next & FW_DIRTY) && !(w & FW_DIRTY)) {
		count(t, C_DIRTIED, 1);
		if (row != NULL)
			(void)add_relaxed(&row->dirty, 1);
	}
	counting_end(t);
	if (w & FW_WAITERS)
		os_futex_wake((const uint32_t *)&fr->word);
}

/* True if the frame was in a transition of the dead client's. */
static bool
undo_frame(struct thread *t, uint32_t f, uint32_t dead)
{
	struct frame *fr = frame_at(t->pool, f);
	uint64_t w = load_seq(&fr->word);

	if (fw_owner(w) != dead)
		return false;
	switch (fw_state(w)) {
	case FRAME_CLAIMED:
	case FRAME_LOADING:
		undo_load(t, f, w);
		return true;
	case FRAME_EVICTING:
	case FRAME_COPYING:
		(void)cas_seq(&fr->word, &w, fw_with(w, FRAME_VALID, NO_CLIENT));
		return true;
	case FRAME_WRITING:
		undo_write(t, f, w);
		return true;
	case FRAME_FREE:
	case FRAME_VALID:
	default:
		return false;
	}
}

static bool
undo_extent(struct thread *t, struct block *b, uint32_t dead)
{
	DB_MPOOL *p = t->pool;
	uint32_t e = load_seq(&b->note_extent) - 1;
	uint64_t w;

	if (e >= p->g.nextents)
		return false;
	w = load_seq(&p->extents[e]);
	if ((w & EXTENT_CHANGING) && (w >> EXTENT_OWNER_SHIFT) == dead + 1)
		(void)cas_seq(&p->extents[e], &w, w & EXTENT_SHIFT);
	store_release(&b->note_extent, 0);
	return true;
}

static bool
undo_row(struct thread *t, struct block *b, uint32_t dead)
{
	DB_MPOOL *p = t->pool;
	uint32_t r = load_seq(&b->note_row) - 1;
	struct file_row *row;
	uint64_t w;

	if (r >= p->g.nrows)
		return false;
	row = &p->rows[r];
	w = load_seq(&row->clearing);
	if ((w & 0xffff) != 0 && (w >> 16 & 0xffff) == dead + 1) {
		(void)or_seq(&row->groups, 1ull << (((w & 0xffff) - 1) & 63));
		(void)cas_seq(&row->clearing, &w, w & ~0xffffffffull);
	}
	w = load_seq(&row->trunc);
	if (w != 0 && (w & TRUNC_OWNER) == dead + 1) {
		file_truncate_finish(t, row, row->id);
		(void)cas_seq(&row->trunc, &w, 0);
	}
	store_release(&b->note_row, 0);
	return true;
}

static bool
undo_bucket(struct thread *t, struct block *b, uint32_t dead)
{
	DB_MPOOL *p = t->pool;
	uint32_t k = load_seq(&b->note_bucket) - 1;
	uint64_t h;

	if (k >= p->g.nbuckets)
		return false;
	h = load_seq(&p->buckets[k].header);
	while ((h & BUCKET_OWNER) == dead + 1 &&
	    !cas_seq(&p->buckets[k].header, &h, h & ~BUCKET_OWNER))
		continue;
	store_release(&b->note_bucket, 0);
	return true;
}

/* One look at all the notes of a block.  True if anything was undone. */
static bool
undo_block(struct thread *t, struct block *b, uint32_t dead)
{
	bool any = undo_extent(t, b, dead);

	for (unsigned i = 0; i < BLOCK_NOTES; i++) {
		uint32_t f = load_seq(&b->notes[i]) - 1;

		if (f < t->pool->g.nframes && undo_frame(t, f, dead))
			any = true;
	}
	return any | undo_bucket(t, b, dead);
}

/*
 * P17.  A clean page that only the dead had pinned may be half changed: it goes, to be read
 * again.  If others have it pinned too, it goes with the next hit that finds it unpinned.  A dirty
 * one is kept, and counted.
 */
static void
release_slot(struct thread *t, uint32_t *slot, uint32_t dead)
{
	uint32_t f = load_seq(slot) - 1;
	struct frame *fr;
	uint64_t w;

	if (f >= t->pool->g.nframes) {
		store_release(slot, 0);
		return;
	}
	fr = frame_at(t->pool, f);
	/* a page that stays cannot leave the frame while the dead's slot is set */
	if (evict_except(t, f, dead)) {
		w = or_seq(&fr->word, FW_SUSPECT);
		if ((w & FW_DIRTY) && !(w & FW_SUSPECT))
			count(t, C_SUSPECT, 1);
	}
	store_release(slot, 0);
}

static void
release_block(struct thread *t, struct block *b, uint32_t dead)
{
	for (unsigned i = 0; i < BLOCK_SLOTS; i++)
		if (load_seq(&b->slots[i]) != 0)
			release_slot(t, &b->slots[i], dead);
	for (unsigned i = 0; i < BLOCK_NOTES; i++)
		store_relaxed(&b->notes[i], 0);
	store_relaxed(&b->counting, 0);
	store_relaxed(&b->note_resize, 0);
	tally_settle(t->pool, b);
	kcache_block_left(b);
	store_seq(&b->owner, 0);
}

/* Its handles are closed; files that were only its own are dropped. */
static void
release_opens(struct thread *t, uint32_t dead)
{
	DB_MPOOL *p = t->pool;

	for (uint32_t i = 0; i < opens_used(p); i++) {
		struct open_record *rec = &p->opens[i];
		struct file_row *row;
		uint32_t id, flags = 0;
		bool last;

		if (load_acquire(&rec->owner) != dead + 1)
			continue;
		id = rec->file;
		if ((row = file_row(p, id)) != NULL)
			flags = load_relaxed(&row->flags);
		file_leave(p, rec, &last);
		if (last && (flags & (ROW_TEMP | ROW_GONE)))
			(void)file_bury(t, row, id);
	}
}

static void
reap_claimed(struct thread *t, uint32_t dead)
{
	DB_MPOOL *p = t->pool;
	uint32_t used = load_seq(&p->mp->blocks_used), resizer;
	bool any = true;

	if (used > p->g.nblocks)
		used = p->g.nblocks;
	for (unsigned pass = 0; any && pass < 1000; pass++) {
		any = false;
		for (uint32_t i = 0; i < used; i++)
			if (load_seq(&p->blocks[i].owner) == dead + 1)
				any |= undo_block(t, &p->blocks[i], dead);
	}
	/*
	 * rows after all frames: finishing a truncation waits for frames, and nobody else frees
	 * these
	 */
	for (uint32_t i = 0; i < used; i++)
		if (load_seq(&p->blocks[i].owner) == dead + 1)
			(void)undo_row(t, &p->blocks[i], dead);
	for (uint32_t i = 0; i < used; i++)
		if (load_seq(&p->blocks[i].owner) == dead + 1)
			release_block(t, &p->blocks[i], dead);
	/*
	 * whoever gets the lock next is told that its owner died, and repairs: we see to it now
	 */
	if (load_seq(&p->region->layout->lock.owner) == dead + 1) {
		region_lock(p);
		region_unlock(p);
	}
	release_opens(t, dead);
	extent_hint_all(p);
	file_bury_orphans(t);
	/* the number's next owner does not resize anything */
	resizer = dead + 1;
	(void)cas_seq(&p->mp->resizer, &resizer, 0);
	kcache_release(p, dead);
	recount_due(p);
	count(t, C_REAPED, 1);
}

bool
reap_client(struct thread *t, uint32_t number)
{
	DB_MPOOL *p = t->pool;

	if (number >= p->region->nclients || number == p->self || p->region->is_private ||
	    client_is_alive(p->region, number) || !client_claim_dead(p->region, number))
		return false;
	env_event(p->dbenv, "%s: taking over what process %d (client %u) left", p->region->path,
	    load_relaxed(&p->region->clients[number].pid), number);
	USDT2(reap, load_relaxed(&p->region->clients[number].pid), number);
	reap_claimed(t, number);
	client_free(p->region, number);
	policy_company(p, NO_CLIENT);
	return true;
}

bool
owner_is_impossible(const DB_MPOOL *p, uint32_t number)
{
	return number >= p->region->nclients ||
	    load_seq(&p->region->clients[number].state) == CLIENT_FREE;
}

static unsigned
reap_below(struct thread *t, uint32_t end)
{
	DB_MPOOL *p = t->pool;
	unsigned n = 0;

	for (uint32_t i = 0; i < end; i++)
		if (load_relaxed(&p->region->clients[i].state) != CLIENT_FREE)
			n += reap_client(t, i);
	return n;
}

unsigned
reap_all(struct thread *t)
{
	return reap_below(t, t->pool->region->nclients);
}

unsigned
reap_known(struct thread *t)
{
	return reap_below(t, client_end(t->pool->region));
}

int
memp_reap(DB_MPOOL *p)
{
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	(void)reap_all(t);
	file_bury_orphans(t);
	file_fd_sweep(p);
	recount(t, true);
	return 0;
}
