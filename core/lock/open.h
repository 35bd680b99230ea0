/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/open.h - opening and removing tables, beyond the published calls.
 */
#ifndef LOCK_OPEN_H
#define LOCK_OPEN_H

#include "../region/region.h"

#include <poolfs/lock.h>

#define LOCK_FILE "__db_lock.share"

/* lock_open.  adopt: a table that is there is taken with its matrix and policy. */
int table_open(
    const char *dir, u_int32_t flags, int mode, DB_ENV *dbenv, bool adopt, DB_LOCKTAB **ltp);

/* lock_unlink in an environment that has been found; what the home says stays. */
int lock_unlink_in(DB_ENV *dbenv, const struct environment *place, int force);

#endif
