/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/resize.h - what a joiner's mp_size does to a pool that is smaller.
 */
#ifndef POOL_RESIZE_H
#define POOL_RESIZE_H

#include "pool.h"

struct thread;

/* Grow the pool to bytes, or as far as it may and can; a warning says if that is less. */
void resize_as_suggested(struct thread *t, uint64_t bytes);

#endif
