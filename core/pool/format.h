/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/format.h - the geometry of a pool's region: compute, write, check.
 */
#ifndef POOL_FORMAT_H
#define POOL_FORMAT_H

#include "pool.h"

/*
 * The geometry of a pool of that many bytes of pages, in a region that may grow to region_max (0:
 * not at all), whose tables are for pages of 1 << pageshift bytes, or of the usual size (0).
 * EINVAL: too small or impossibly large.  Policy and barrier are left 0.
 */
int format_compute(uint64_t bytes, uint64_t region_max, unsigned pageshift, struct geometry *g);

/*
 * What region_max must be for a pool of that many bytes of pages at first to become one of `most`.
 */
uint64_t format_region_max(uint64_t bytes, uint64_t most, unsigned pageshift);

/* The size of its region at creation. */
uint64_t format_initial_bytes(const struct geometry *g);

/*
 * What the region's address must be aligned to, so that pages are aligned and huge pages
 * possible.
 */
size_t format_align(const struct geometry *g);

uint32_t format_clients(uint64_t cache_bytes); /* size of the client table */
uint32_t format_stamp(void);		       /* differs if a shared structure differs */

/* region_spec.init: arg is the geometry. */
int format_init(struct region *r, void *arg);

/* Check a joined region's geometry and copy it.  EPROTO if anything is off. */
int format_check(const struct region *r, const struct mpool *mp, struct geometry *copy);

/* Fill in the addresses of p from p->region and p->g. */
void format_addresses(DB_MPOOL *p);

/* Before pages are looked at. */
void format_pages_used(const DB_MPOOL *p);

/* region_spec.count_lost */
uint64_t format_count_dirty(struct region *r, void *arg);

#endif
