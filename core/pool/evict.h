/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/evict.h - frames for new pages, from those that have pages.
 */
#ifndef POOL_EVICT_H
#define POOL_EVICT_H

#include "pool.h"

struct thread;

#define FRAME_PATIENCE 24 /* rounds in vain, most of them 1 ms, before "there is no room" */

/*
 * A frame for a new page: CLAIMED by us, noted, with no entry.  Evicts, writes, takes over
 * extents.  ENOMEM with a sentence.
 */
int frame_take(struct thread *t, unsigned pageshift, uint32_t *fp);
/*
 * The same without waiting for anybody and without a sentence, for a caller that has others (P9).
 */
int frame_take_now(struct thread *t, unsigned pageshift, bool may_write, uint32_t *fp);

enum evict_flags {
	EVICT_DIRTY = 1, /* dirty pages go too, unwritten (truncation, removal) */
	EVICT_RW = 2,	 /* they were written for this: count rw_evict */
	EVICT_ROOM = 4,	 /* for want of room: they may be remembered (policy.h) */
};

/*
 * Evict those of n (<= BATCH) frames that are VALID, hold the expected key (keys[i]; keys NULL:
 * any), and nobody pins.  Returns how many went; pinned[i] is set for those that stayed because
 * of a pin.
 */
unsigned evict_frames(struct thread *t, const uint32_t frames[], const uint64_t keys[], unsigned n,
    enum evict_flags flags, bool pinned[]);

/*
 * P5: drop a page that was made dirty once, if nobody pins it and nobody marked it since version.
 */
void evict_undone(struct thread *t, uint32_t f, uint64_t key, uint64_t version);
/*
 * P17: drop a spoilt page that nobody has pinned.  False: it is there, and somebody has, or a
 * stopped process writes it.
 */
bool evict_spoilt(struct thread *t, uint32_t f, uint64_t key);
/*
 * Evict a clean page that nobody but dead client `except` has pinned; waits for a write in
 * progress.  True: the frame has a page that stays, pinned by others or dirty.
 */
bool evict_except(struct thread *t, uint32_t f, uint32_t except);

#endif
