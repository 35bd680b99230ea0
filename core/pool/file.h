/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/file.h - what file.c (rows) offers enter.c (who has them open).  All under the region
 * lock, unless said otherwise.
 */
#ifndef POOL_FILE_H
#define POOL_FILE_H

#include <stdio.h>
#include <stdlib.h>

#include "pool.h"

bool file_has_ident(const struct file_row *row, const struct os_ident *id);
struct file_row *file_find_ident(DB_MPOOL *p, const struct os_ident *id);
struct file_row *file_find_uid(DB_MPOOL *p, const u_int8_t *uid);

/* bytes at off in the heap, if that is a chunk of at least so many; else NULL. */
const void *file_heap_at(DB_MPOOL *p, roff_t off, uint32_t bytes);

/* Entry r of a table is taken: the lowest free one is behind it, the high-water mark too. */
void file_entry_taken(uint32_t r, uint32_t *freep, uint32_t *usedp);

/* A free row, NULL if there is none; fill it in, the id last. */
struct file_row *file_row_take(DB_MPOOL *p);
int file_row_fill(DB_MPOOL *p, struct file_row *row, const struct file_spec *spec);

/*
 * Without the lock.  Write, drop and forget a file that nobody has open; make some rows free so.
 */
int file_expel(struct thread *t, struct file_row *row, uint32_t id);
int file_rows_collect(struct thread *t);

/* The row's path is now this, if it is another. */
void file_rename_locked(DB_MPOOL *p, struct file_row *row, const char *path);

#endif
