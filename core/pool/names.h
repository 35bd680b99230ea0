/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/names.h - what a caller's file argument means.
 */
#ifndef POOL_NAMES_H
#define POOL_NAMES_H

#include "pool.h"

/*
 * The absolute path that file means: relative to db_home or the working directory; if it lies on a
 * mount of this pool, the file of HOME behind it.  *pathp is the caller's, from malloc.  EINVAL: it
 * lies on a mount of another pool, or is none of the mount's files.
 */
int name_resolve(DB_MPOOL *p, const char *file, char **pathp);

/* The same for an entry of a directory: the last name is not followed, the others are. */
int name_resolve_entry(DB_MPOOL *p, const char *file, char **pathp);

#endif
