/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/look.h - what is locked and who waits for whom, for people.
 */
#ifndef LOCK_LOOK_H
#define LOCK_LOOK_H

#include <stdbool.h>
#include <stddef.h>

#include <poolfs/lock.h>

#define LOOK_NAME_BYTES 64 /* of an object's name, at most, are shown */

/* A lock that is held, or a request that waits. */
struct lock_seen {
	uint32_t locker;
	int32_t pid; /* for which the locker is; 0: unknown */
	uint32_t mode;
	uint32_t count; /* how often it was granted */
	uint32_t age_sec;
	bool waits;
	bool first;	     /* goes before those whose locker does not hold the object */
	uint32_t object;     /* the same number: the same object */
	uint32_t order;	     /* of requests for it */
	uint32_t name_bytes; /* all of them */
	uint8_t name[LOOK_NAME_BYTES];
};

struct lock_edge {
	const struct lock_seen *waits, *in_the_way;
};

/*
 * A list from malloc, by object, those that are held before those that wait, these in the order of
 * their turns.  No lock is taken: under load it is not one moment's.
 */
int locktab_look(DB_LOCKTAB *lt, struct lock_seen **listp, size_t *np);

/* Who waits for whom in such a list; also from malloc.  It points into the list. */
int locktab_edges(
    DB_LOCKTAB *lt, const struct lock_seen *list, size_t n, struct lock_edge **edgesp, size_t *np);

/* How long waits were, in microseconds, by all processes since the table was made. */
struct latency;
void locktab_waits(DB_LOCKTAB *lt, struct latency *copy);

/* Its name in the ready matrices, else its number. */
void locktab_mode_name(const DB_LOCKTAB *lt, uint32_t mode, char name[16]);

#endif
