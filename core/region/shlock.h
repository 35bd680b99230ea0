/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/shlock.h - a short mutual exclusion between processes that survives its holder's death.
 *
 * The word holds the owner's client number + 1.  Waiters spin, then sleep on it for at most 100
 * ms at a time and look whether the owner lives; a dead owner's lock is taken over.  What it
 * guards must be rebuildable: EOWNERDEAD tells the new holder to do so.  Threads of one process
 * exclude each other as well.  No system call that can block is made while one is held.
 *
 * A lock is a counted one for all who use it, or a marked one.  A word may name, by damage, a live
 * client that has not got the lock, for which everybody would wait for ever.  A counted lock costs
 * two operations on the own entry of the table of clients more, and such a word is taken over like
 * a dead one's if that client has none of the counted locks.  The word of a marked lock has half of
 * a hash of the number beside it; a word in which the two do not fit together is taken over, and
 * costs nothing.  One that is stored there whole, out of a lock that the client had before, keeps
 * everybody waiting as a stopped process would.
 */
#ifndef REGION_SHLOCK_H
#define REGION_SHLOCK_H

#include "region.h"

#define SHLOCK_NUMBER 0x1ffffu /* the client number + 1 in a marked lock's word */

/* 0, or EOWNERDEAD: held, but its last owner died inside: repair what it guards. */
int shlock_lock_marked(struct region *r, struct shlock *l);
void shlock_unlock_marked(struct region *r, struct shlock *l);
int shlock_lock_counted(struct region *r, struct shlock *l);
void shlock_unlock_counted(struct region *r, struct shlock *l);

/*
 * If client number holds it, which is dead and being reaped, hold it instead.  True if so: as after
 * EOWNERDEAD.  To be asked before the number is given to another, who would seem to hold it.
 */
bool shlock_inherit_marked(struct region *r, struct shlock *l, uint32_t number);
bool shlock_inherit_counted(struct region *r, struct shlock *l, uint32_t number);

/* What a marked lock's word holds while client number has it. */
static inline uint32_t
shlock_mark(uint32_t number)
{
	return (number + 1) | ((number + 1) * 0x9e3779b1u & ~SHLOCK_NUMBER) | 1u << 31;
}

/* Does client number have this marked lock, as far as its word says? */
static inline bool
shlock_names(uint32_t word, uint32_t number)
{
	return word == shlock_mark(number);
}

/* Do we hold this counted one? */
bool shlock_is_held(const struct region *r, const struct shlock *l);

#endif
