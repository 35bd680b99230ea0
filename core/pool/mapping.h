/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/mapping.h - pages of a read-only file that come from a mapping of it, not from the pool.
 */
#ifndef POOL_MAPPING_H
#define POOL_MAPPING_H

#include "file.h"

/* Map the file of a new handle, if it is such a file.  Else, or if that fails, nothing is done. */
void mapping_begin(DB_MPOOLFILE *mpf);

/* Do pages come from the mapping, until somebody opens the file for writing? */
bool mapping_serves(const DB_MPOOLFILE *mpf);

/*
 * memp_fget of a page that the mapping has.  False: it is for the pool to answer.  *retp: 0, or
 * EAGAIN and a sentence for too many pins.
 */
bool mapping_get(struct thread *t, DB_MPOOLFILE *mpf, db_pgno_t *pgnoaddr, unsigned long flags,
    void **pagep, int *retp);

/* Is addr a page of the mapping that is pinned?  Release: one pin less. */
bool mapping_put(DB_MPOOLFILE *mpf, const void *addr, bool release);

/* The handle is closed.  The number of pins that were left. */
uint64_t mapping_end(DB_MPOOLFILE *mpf);

#endif
