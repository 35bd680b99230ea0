/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * storm.h - what the parts of the storm know of each other.
 *
 * The conductor (storm.c) starts clients, kills and stops them, and keeps the book of what they
 * were acknowledged, which they tell it through a pipe (journal.c): a client that dies takes
 * nothing of the book with it.  A client is forked with the book as it was then, so that whoever
 * takes a dead one's place knows what that one was promised.  pages.c works on a pool, counters.c
 * on a lock table; the auditors of both look at what is left when all is quiet.
 */
#ifndef TESTS_STORM_H
#define TESTS_STORM_H

#include <stdbool.h>

#include "../t.h"

#define CLIENTS_MOST 16
#define FILES 3 /* whose pages are in the book */
#define PAGES 160
#define PLACES 5

/* What a client tells; one write(2) each. */
enum record_kind {
	RECORD_PUT,	/* a put of this generation was acknowledged */
	RECORD_COUNT,	/* a counter was raised */
	RECORD_CHECKED, /* so many generations were found as they must be since the last one */
	RECORD_STALL,	/* a call took so many microseconds */
	RECORD_CALLS,	/* so many calls of the pool or the table since the last one */
};

struct record {
	uint8_t kind;
	uint8_t file; /* or counter */
	uint16_t page;
	uint32_t value;
};

struct book {
	uint32_t put[FILES][PAGES][CLIENTS_MOST]; /* the generation of the client's part */
	uint64_t counted[PLACES];
};

/* A number that is raised under a lock, in two steps; and who believes to hold that lock. */
struct counter_place {
	uint64_t first;
	uint64_t second;
	pid_t holder;
};

/* In memory that all of them share, and that is not poolfs's. */
struct shared {
	uint32_t quiet; /* not 0: end, in good order */
	struct counter_place counters[PLACES];
};

/* What the pool of a round is like. */
struct shape {
	size_t bytes;
	bool system;
	bool adaptive;
};

struct storm {
	struct t home;
	struct shared *shared;
	struct book book;
	struct shape shape;
	unsigned clients; /* of this round */
	unsigned lockers; /* of these; the last ones */
	bool over;	  /* no round after this one has the same pool */
	uint64_t kills;	  /* so far */
};

struct player {
	struct storm *s;
	unsigned id;
	unsigned seed;
	int out;	    /* the journal */
	unsigned kill_usec; /* 0: not killed by its own timer */
	uint32_t checked;
	uint32_t calls;
};

/* --- journal.c ------------------------------------------------------------------------------- */

void journal(struct player *c, enum record_kind kind, unsigned file, unsigned page, uint32_t value);
/* What has been counted and not told yet. */
void journal_sums(struct player *c);
unsigned draw(struct player *c, unsigned below);

/*
 * A call that begins and ends; those of more than STALL_TOLD_USEC are told, less the time that the
 * thread could have run and did not.  Calls in which the process was stopped do not count.
 */
#define STALL_TOLD_USEC 50000
void call_begin(struct player *c);
void call_end(struct player *c);

/* --- the clients and their auditors ---------------------------------------------------------- */

int pages_client(struct player *c);
void pages_audit(struct player *c);
/* Remove the pool in good order. */
void pages_end(struct storm *s);

int counters_client(struct player *c);
void counters_audit(struct player *c);

#endif
