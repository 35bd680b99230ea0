/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/get.h - the two ways to a page: hit.c's short one, and get.c's for all that is not so.
 */
#ifndef POOL_GET_H
#define POOL_GET_H

#include "thread.h"

/* memp_fget(), whatever it takes. */
int get_carefully(DB_MPOOLFILE *mpf, db_pgno_t *pgnoaddr, unsigned long flags, void **pagep);

/* P1: the slot, before anything is read of the frame; whoever scans sees to it, or a fence does. */
static inline void
pin_store(const DB_MPOOL *p, uint32_t *slot, uint32_t f)
{
	if (unlikely(p->fenced))
		store_seq(slot, f + 1);
	else {
		store_relaxed(slot, f + 1);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
	}
}

#endif
