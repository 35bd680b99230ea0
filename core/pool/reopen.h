/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/reopen.h - a descriptor for a file of the pool that this process has not open.
 */
#ifndef POOL_REOPEN_H
#define POOL_REOPEN_H

#include "file.h"

/*
 * Open the row's file for writing, and see that it is the file.  ESTALE: its name leads to another;
 * EXDEV: outside of where this process may go; else what open(2) returns.  *gonep: it has no name
 * any more, or does not exist at all.
 */
int file_reopen(DB_MPOOL *p, struct file_row *row, uint32_t id, int *fdp, bool *gonep);

#endif
