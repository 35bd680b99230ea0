/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/prefetch.h - pages that are read before anybody asks for them.
 */
#ifndef POOL_PREFETCH_H
#define POOL_PREFETCH_H

#include "file.h"
#include "thread.h"

/*
 * Page pgno is missing.  If that goes on from earlier misses of the handle, read it and some
 * behind it; true: it is there now, though not pinned.  False: nobody but the caller reads it.
 */
bool ahead_read(struct thread *t, DB_MPOOLFILE *mpf, db_pgno_t pgno);

#endif
