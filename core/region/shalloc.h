/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/shalloc.h - the region's allocator: first fit with coalescing, after the walkthrough's
 * __db_shalloc, for small structures inside a shared area.
 *
 * Every chunk has a header with its own and its predecessor's length and whether it is used, so
 * that a walk from the first chunk meets each chunk once, whoever died in the middle of a call;
 * the free list is only an index over that walk and can be rebuilt (shalloc_repair).  A call
 * changes headers in an order that keeps the walk whole at every step.  All offsets are from the
 * area's start.  The caller holds the lock that guards the area.  Every length and link is
 * checked before it is used: damage is EFAULT.
 */
#ifndef REGION_SHALLOC_H
#define REGION_SHALLOC_H

#include <stddef.h>
#include <stdint.h>

struct shalloc_stat {
	uint64_t area_bytes; /* all of it */
	uint64_t used_bytes; /* in chunks handed out, headers included */
	uint64_t free_bytes;
	uint64_t largest_free; /* bytes that one call could get */
	uint64_t used_chunks;
	uint64_t free_chunks;
};

int shalloc_init(void *area, size_t bytes);

/*
 * Allocate len bytes aligned to align (rounded up to 8; at most 4096).  len is rounded up to at
 * least 16.  A remainder of less than 32 bytes stays with the chunk.  *offp is the offset of the
 * bytes from area.  ENOMEM nothing large enough; EFAULT damage.
 */
int shalloc(void *area, size_t bytes, size_t len, size_t align, uint64_t *offp);

/* Free what shalloc gave; joins free neighbours.  EINVAL for an offset that is no used chunk. */
int shalloc_free(void *area, size_t bytes, uint64_t off);

/* Bytes usable at off; EINVAL as above. */
int shalloc_size(void *area, size_t bytes, uint64_t off, size_t *lenp);

/* Walk and count; EFAULT if anything does not fit together. */
int shalloc_check(void *area, size_t bytes, struct shalloc_stat *st);

/* Rebuild the free list from the walk, after the holder of the lock died inside a call. */
int shalloc_repair(void *area, size_t bytes);

/*
 * The same, and what is in use but not among the n offsets, in ascending order, is freed: somebody
 * died before it was known to anybody.
 */
int shalloc_keep(void *area, size_t bytes, const uint64_t *offs, size_t n);

#endif
