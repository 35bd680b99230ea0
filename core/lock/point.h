/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/point.h - places between two steps, of which another thread may see the one and not the
 * other.  There is nothing at them, but in a test that has its own copy of core/lock, compiled with
 * LOCK_POINTS, to let a thread stand still there.
 */
#ifndef LOCK_POINT_H
#define LOCK_POINT_H

enum lock_point {
	POINT_NONE,
	POINT_MATCHED,	/* a slot names the lock that is wanted, and its cell is to be looked at */
	POINT_TAKEN,	/* a lock was taken again, and nobody was told */
	POINT_KEEPING,	/* it was looked at, and is to be put to IDLE */
	POINT_LONG_WAY, /* that could not be done; its partition is not locked yet */
	POINT_PUTTING,	/* it was looked at with its partition locked, and is to become firm */
	POINT_TARGET,	/* the same of a lock whose mode is to change */
	POINT_SETTLING, /* the same of one that is in another's way */
	POINT_GRANTED,	/* a request was granted, and its partition is unlocked */
	POINT_LOOKING,	/* one that waits is to be looked at by its owner */
	POINT_DECIDED	/* one that waited was, and its owner has seen that and noted nothing */
};

#ifdef LOCK_POINTS
void lock_at(enum lock_point where); /* the test's */
#define LOCK_POINT(where) lock_at(where)
#else
#define LOCK_POINT(where) ((void)0)
#endif

#endif
