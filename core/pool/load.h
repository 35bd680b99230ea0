/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/load.h - a page on its way into a frame, shared by memp_fget and memp_fprefetch.
 */
#ifndef POOL_LOAD_H
#define POOL_LOAD_H

#include "file.h"
#include "page_table.h"
#include "thread.h"

#define STEAL_USEC 800000u /* a load older than this is taken from its loader (P11) */

/* What a call of memp_fget is about. */
struct getting {
	struct thread *t;
	DB_MPOOLFILE *mpf;
	db_pgno_t pgno;
	uint64_t key;
	struct table_place at;
	uint32_t *slot;
	struct pin *pin;
	uint32_t f;
	uint64_t waiting_since; /* 0: not waiting */
	const void *source;	/* a whole page's bytes that take the place of what the file has */
	bool zero;		/* a created page: zeros, not read */
	bool ahead;		/* nobody has asked for it yet */
	bool holds;		/* loads of ours are unresolved: nothing is written for room (P9) */
	bool in;		/* pgin is called for a created page */
	bool grew;		/* the file got longer by it */
	bool fetched;		/* it was brought in for this, if it is there */
	bool as_it_is;		/* the page, though a killed process may have half changed it */
};

static inline uint64_t
pages_of(const DB_MPOOLFILE *mpf, uint64_t bytes)
{
	return (bytes + mpf->pagesize - 1) >> mpf->pageshift;
}

/*
 * Publish a LOADING frame for the key.  EEXIST: somebody else did; look again.  Not patient:
 * ENOMEM where one would have to wait for a frame (P9).  On failure nothing is left.
 */
int load_publish(struct getting *g, bool patient);

/* LOADING -> VALID, counted.  False: the load was taken from us; abandon it. */
bool load_finish(struct getting *g);

/* A failed or stolen load: out of the table, free, the slot empty. */
void load_abandon(struct getting *g);

/* All of it: publish, read (or zero), finish; the slot pins the page.  EEXIST: look again. */
int load_page(struct getting *g);

/*
 * P11: frame f's word w says that somebody loads or evicts the page, who has been at it for too
 * long; unpublish it, so that others can load the page themselves.  An evictor that was stopped
 * between claiming the frame and withdrawing its entry is helped likewise.  The frame stays its
 * owner's in both cases.
 */
void load_steal(struct thread *t, uint64_t key, uint32_t f, uint64_t w);

#endif
