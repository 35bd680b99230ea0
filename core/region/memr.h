/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/memr.h - the application's regions (poolfs/region.h), as their files see them.
 *
 *   RLAYOUT | clients | struct memr_body | to a page | the application's bytes, numbered from 0 ...
 *
 * R5. The heap, and heap and heap_bytes, are guarded by layout->lock; memr_body.lock is the
 *     application's.  A client's number is freed only after both are known not to be its.
 */
#ifndef REGION_MEMR_H
#define REGION_MEMR_H

#include <poolfs/region.h>

#include "region_impl.h"

#define MEMR_CLIENTS 256u
#define MEMR_STAMP 0x6d656d01u /* raised when struct memr_body changes */
#define MEMR_MAGIC 0x706f6f6c6d656d72u

struct memr_body {
	uint64_t magic;
	struct shlock lock; /* memr_lock */
	uint32_t died;	    /* not 0: its holder died inside, and nobody was told yet */
	uint32_t spare;
	uint64_t heap;	     /* offset of the application's, once heap_bytes is not 0 */
	uint64_t heap_bytes; /* written last */
	uint64_t spares[3];
};

static_assert(sizeof(struct memr_body) == 64, "shared");

struct __db_region {
	struct region *region;
	struct memr_body *body;
	struct environment place;
	uint32_t holds; /* how often this process has the lock, whatever its word says */
};

/* The first of the application's bytes. */
roff_t memr_data(void);

/* The check at every call's door. */
int memr_enter(const DB_REGION *reg);

/* What a dead client left locked becomes free; before its number does. */
void memr_release_heap(DB_REGION *reg, uint32_t number);

/* The heap as it is now: NULL if there is none inside the region. */
void *memr_heap_area(const DB_REGION *reg, uint64_t *offsetp, size_t *bytesp);

/* "__db_NAME.share", the caller's; reserved names, too, if any is set.  EINVAL. */
int memr_file(const DB_ENV *dbenv, const char *name, bool any, char **filep);

/* memr_unlink in an environment that has been found; what the home says stays. */
int memr_unlink_in(DB_ENV *dbenv, const struct environment *place, const char *file, int force);

#endif
