/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/vouch.h - to which files a process that serves others may write what is in the pool.
 */
#ifndef POOL_VOUCH_H
#define POOL_VOUCH_H

#include "file.h"

/* Begin to ask, in a process that is confined.  ENOMEM. */
int vouch_init(DB_MPOOL *p);
void vouch_fini(DB_MPOOL *p);

/* The process has the file of that row open for writing, on behalf of somebody who may. */
void vouch_for(DB_MPOOL *p, const struct file_row *row, uint32_t id, const struct os_ident *ident);

/*
 * May it write to the file that it has opened, behind fd, because the row names it?  EACCES, and
 * once for each row a sentence.
 */
int vouch_check(
    DB_MPOOL *p, const struct file_row *row, uint32_t id, int fd, const struct os_stat *st);

#endif
