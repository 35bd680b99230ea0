/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * damage.h - what the parts of the damage campaign know of each other.
 *
 * The conductor (damage.c) prepares a home, starts actors in it, and looks at what they leave.  An
 * actor attaches to a region, changes bytes of it (strike.c) and makes calls; what a region is,
 * and which calls there are, a target says (pool.c, locks.c, memory.c).  The scene is memory that
 * all of them share and that is not the library's: what an actor was doing when it came to grief is
 * read there.
 */
#ifndef TESTS_DAMAGE_H
#define TESTS_DAMAGE_H

#include <stdbool.h>

#include "../stall_t.h"
#include "../t.h"

#include "region/region.h"

/* A mutation: what was changed last. */
struct strike {
	const char *part; /* of the region */
	uint64_t off;	  /* from its start */
	uint64_t value;
	uint32_t bytes;
	uint32_t how;
};

enum role { STRIKER, BYSTANDER, NEWCOMER, ROLES };

struct scene {
	uint64_t seed; /* of the batch */
	uint64_t batches;
	struct strike last;
	const char *doing[ROLES]; /* the call that each is in */
	uint64_t strikes;	  /* tried so far, in memory */
	uint64_t file_strikes;	  /* and in files that nobody had open */
	uint64_t calls;
	uint64_t panics;  /* batches in which the damage was found */
	uint64_t refused; /* newcomers that were not let in */
	uint64_t clean_written;
	uint64_t stalls; /* of more than a second */
	uint64_t stall_most;
	uint64_t stall_seed;  /* of its batch, */
	const char *stall_in; /* and call */
	uint32_t ready;	      /* the bystander may come */
	uint32_t over;	      /* it may go */
};

struct actor {
	const struct t *home;
	struct scene *scene;
	enum role role;
	uint64_t seed;
	bool system;	/* the region is in a segment */
	unsigned shape; /* of the region; the target's to use */
	struct stall stall;
	void *own; /* the target's */
};

/* A piece of a region. */
struct part {
	const char *name;
	uint64_t off;
	uint64_t bytes;
};
#define PARTS_MOST 24

struct target {
	const char *name;
	const char *file; /* of the region, in the home */
	/* attach; a creator's must succeed.  The error that a newcomer got. */
	int (*open)(struct actor *a, bool create);
	/* one call, whatever comes of it */
	void (*call)(struct actor *a);
	void (*close)(struct actor *a);
	/* remove the region by force */
	int (*remove)(struct actor *a);
	struct region *(*region)(const struct actor *a);
	unsigned (*parts)(const struct actor *a, struct part parts[]);
	/* is a change of these bytes one that cannot be told from a valid state?  NULL: no */
	bool (*spares)(const struct actor *a, uint64_t off, uint64_t bytes);
};

/* Where in the region that is. */
static inline uint64_t
place_in(const struct region *r, const void *at)
{
	return (uint64_t)((const uint8_t *)at - r->addr);
}

/* Do the two have a byte in common? */
static inline bool
overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

extern const struct target pool_target, lock_target, memory_target;

unsigned draw(struct actor *a, unsigned below);

/* Around each call: what it is called, and how long it took. */
void call_begin(struct actor *a, const char *what);
void call_end(struct actor *a);
#define CALL(a, e)                                                                                 \
	do {                                                                                       \
		call_begin((a), #e);                                                               \
		(void)(e);                                                                         \
		call_end(a);                                                                       \
	} while (0)

/* --- strike.c -------------------------------------------------------------------------------- */

/* Change some bytes of the region; sometimes they are as before a few calls later. */
void strike(struct actor *a, const struct target *target);
void strike_undo(struct actor *a, const struct target *target);
/* Change, cut or lengthen the region's file, to which nobody is attached. */
void strike_file(struct actor *a, const char *path);

#endif
