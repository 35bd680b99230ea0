/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/pool.h - the mount's handle on the pool: opened when needed, replaced when its region goes.
 */
#ifndef FS_POOL_H
#define FS_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct fs;

/* The pool's sentences go to the log. */
void pool_listen(struct fs *fs);

/* Hold the pool, open (a fresh one is made if there is none), until pool_put. */
int pool_get(struct fs *fs);
/* Hold it as it is: true if it is open.  pool_put in any case. */
bool pool_peek(struct fs *fs);
void pool_put(struct fs *fs);

/* Write and fsync everything; the caller holds the open pool. */
int pool_sync(struct fs *fs);

/* pool_sync, then close.  No request runs any more, or comes. */
int pool_finish(struct fs *fs);

/*
 * From now on what the pool says to the calling thread goes to fn instead of the log; NULL: to the
 * log again.
 */
void pool_hear(void (*fn)(void *arg, const char *sentence), void *arg);

/*
 * Remove the pool's region: hold all requests, write everything, close, unlink.  EBUSY: other
 * processes are attached; EIO: something could not be written.  Then nothing has changed.
 * by_force: whoever is attached, and whatever cannot be written.
 */
int pool_remove(struct fs *fs, bool by_force);

/*
 * Make the pool hold bytes of pages; EINVAL if that is not more (more), or not less, than it holds.
 * Other errors are memp_resize's.
 */
int pool_resize(struct fs *fs, uint64_t bytes, bool more);

/* The background writer: reaps, and writes what has been dirty for too long. */
int pool_writer_start(struct fs *fs);
void pool_writer_stop(struct fs *fs);

#endif
