/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/writeback.h - dirty pages on their way to their files.
 */
#ifndef POOL_WRITEBACK_H
#define POOL_WRITEBACK_H

#include "pool.h"

struct thread;

enum write_flags {
	WRITE_PINNED = 1,  /* pinned pages too, from a copy; they stay dirty (P14) */
	WRITE_TRICKLE = 2, /* count them as trickled */
	WRITE_SAY = 4,	   /* a file that this process may not write deserves a sentence */
	WRITE_COLD = 8,	   /* write_some: only what nobody has used lately */
};

struct write_result {
	uint64_t written; /* pages */
	uint64_t pinned;  /* dirty pages left because they are pinned */
	uint64_t missed;  /* dirty pages left because somebody else was at them, or they failed */
	int error;	  /* the first error */
	DB_LSN largest;	  /* LSN written */
};

/*
 * Write those of n (<= BATCH) frames that are dirty, sorted and joined.  The result is added to.
 */
void write_frames(struct thread *t, uint32_t frames[], unsigned n, enum write_flags flags,
    struct write_result *res);

/* Write all that is dirty in a file, and wait for what others are writing. */
void write_file(struct thread *t, struct file_row *row, uint32_t file, enum write_flags flags,
    const DB_LSN *upto, struct write_result *res);

/* The disk file gets the pool's length, and fsync(2).  An error is the file's to remember. */
int file_fsync(struct thread *t, struct file_row *row, uint32_t file, int fd);

/* Write up to `most` of a file's dirty pages, in page order, waiting for nobody. */
void write_some(struct thread *t, struct file_row *row, uint32_t file, uint64_t most,
    enum write_flags flags, struct write_result *res);

/* Write all that is dirty in the pool; with sync, fsync the files that were written to. */
void pool_write_all(struct thread *t, enum write_flags flags, const DB_LSN *upto, bool sync,
    struct write_result *res);

#endif
