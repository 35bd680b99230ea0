/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/ghost.h - pages that were evicted not long ago.
 */
#ifndef POOL_GHOST_H
#define POOL_GHOST_H

#include "horizon.h"

#define GHOST_TICKS (1u << 14) /* so often, at least, they are gone through: their times end */

/* What was left of a page. */
struct ghost {
	uint32_t stamp; /* as the page's: when it was used last, its class */
	bool lives;	/* it was evicted so lately that the pool might have kept it */
};

/* The ghost of that key, which goes.  False: there is none. */
bool ghost_take(DB_MPOOL *p, unsigned pageshift, uint64_t key, struct ghost *g);

/* A page of that key and with that stamp is evicted. */
void ghost_put(DB_MPOOL *p, unsigned pageshift, uint64_t key, uint32_t stamp);

/* Give up those that are too old to tell; and count the ages of all others. */
void ghosts_forget(DB_MPOOL *p, uint32_t now);
void ghosts_count(DB_MPOOL *p, struct ages *a);

#endif
