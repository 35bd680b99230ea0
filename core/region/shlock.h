/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/shlock.h - a short mutual exclusion between processes that survives its holder's death.
 *
 * The word holds the owner's client number + 1.  Waiters spin, then sleep on it for at most 100
 * ms at a time and look whether the owner lives; a dead owner's lock is taken over.  What it
 * guards must be rebuildable: EOWNERDEAD tells the new holder to do so.  Threads of one process
 * exclude each other as well.  No system call that can block is made while one is held.
 *
 * A lock is a counted one for all who use it, or for none.  It costs two operations on the own
 * entry of the table of clients more, and a word that names, by damage, a live client that has
 * none of the counted locks is taken over like a dead one's.  Of the others, such a word keeps
 * everybody waiting as a stopped process would.
 */
#ifndef REGION_SHLOCK_H
#define REGION_SHLOCK_H

#include "region.h"

/* 0, or EOWNERDEAD: held, but its last owner died inside: repair what it guards. */
int shlock_lock(struct region *r, struct shlock *l);
void shlock_unlock(struct region *r, struct shlock *l);
int shlock_lock_counted(struct region *r, struct shlock *l);
void shlock_unlock_counted(struct region *r, struct shlock *l);

/*
 * If client number holds it, which is dead and being reaped, hold it instead.  True if so: as after
 * EOWNERDEAD.  To be asked before the number is given to another, who would seem to hold it.
 */
bool shlock_inherit(struct region *r, struct shlock *l, uint32_t number);
bool shlock_inherit_counted(struct region *r, struct shlock *l, uint32_t number);

/* Do we hold it? */
bool shlock_is_held(const struct region *r, const struct shlock *l);

#endif
