/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_lock.h - what the two sides of the comparison of locks have in common.
 *
 * poolfs/lock.h and db.h give the same names to different things, so each side is a .c file of its
 * own behind this table.
 */
#ifndef BENCH_LOCK_H
#define BENCH_LOCK_H

#include <stdint.h>

#define BENCH_NAME_BYTES 28 /* of an object: a page of a file, as libdb names it */

struct lock_side {
	const char *name;
	/* Join the table in home, or make it.  0 or an error. */
	int (*open)(const char *home);
	/*
	 * n times: get WRITE on one of so many objects, in turn, or (0) on one that was never
	 * locked before, and put it.  0 or an error.
	 */
	int (*pairs)(uint32_t worker, uint32_t objects, uint32_t n);
	void (*close)(void);
};

extern const struct lock_side lock_ours, lock_libdb;

/*
 * Ours only: microseconds that lock_detect takes with so many waiting requests; negative: an error.
 * Nobody sleeps on them, so that no time is of waking those who are ended: that is all but one of
 * the upgraders.
 */
enum lock_crowd { CROWD_QUEUE, CROWD_CHAIN, CROWD_UPGRADERS, CROWDS };

double lock_detect_usec(const char *home, uint32_t waiters, enum lock_crowd crowd);

/* The name of a worker's object. */
static inline void
bench_object(uint8_t name[BENCH_NAME_BYTES], uint32_t worker, uint32_t object)
{
	uint32_t *words = (uint32_t *)(void *)name;

	for (int i = 0; i < BENCH_NAME_BYTES / 4; i++)
		words[i] = worker;
	words[0] = object;
}

#endif
