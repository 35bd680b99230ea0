/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/dirty.h - the dirty index.
 */
#ifndef POOL_DIRTY_H
#define POOL_DIRTY_H

#include "frame.h"

struct thread;

/* The frame's count; dirty.c. */
static inline uint8_t *
index_at(const DB_MPOOL *p, uint32_t f)
{
	return &p->index[frame_place(p, f)];
}

/* Mark dirty a frame that this process has pinned (P4).  True if it was clean before. */
bool dirty_mark(struct thread *t, struct file_row *row, uint32_t f);

/* The frame was written (or is dropped, and CLAIMED by us): no longer indexed. */
void dirty_unindex(DB_MPOOL *p, uint32_t f);

/*
 * Frames that may be dirty or on their way, of file id in groups; up to n from frame *fromp on,
 * which moves; 0 at the end.
 */
unsigned dirty_list(struct thread *t, struct file_row *row, uint32_t file, uint32_t *fromp,
    uint32_t frames[], unsigned n);

/* Bits of groups in which nothing of the file is indexed any more go. */
void dirty_tidy(struct thread *t, struct file_row *row, uint32_t file);

uint64_t dirty_groups(const struct file_row *row);

#endif
