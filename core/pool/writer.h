/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/writer.h - the background writer.
 */
#ifndef POOL_WRITER_H
#define POOL_WRITER_H

#include "thread.h"

/* Start this handle's writer; stop it and wait for its end (nothing if there is none). */
int writer_start(DB_MPOOL *p);
void writer_stop(DB_MPOOL *p);

/* This thread has made another page dirty: now and then a look whether a writer is wanted. */
void writer_notice(struct thread *t);

#endif
