/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/cells.h - the bytes of a lock table, and the rules by which they change.
 *
 *   | struct lock_table | partitions | doorbells | matrix | buckets | cells ... -> grows |
 *
 * All that comes and goes is a cell of 64 bytes: a lock held or asked for, an object, more bytes of
 * an object's name, a locker.  A cell's word is the authority on it: what it is, in which mode,
 * whose partition it belongs to, and which life of the cell this is.  Chains, lists and counts are
 * an index over the words; whoever gets a partition's lock after its last owner died in it
 * builds them anew (repair.c).
 *
 * L1. An object and the locks on it belong to the partition that the hash of its name says;
 *     everything in the cells of a partition changes under its lock, but for wake, and the words
 *     of L7.
 * L2. A cell's word is written last when the cell becomes something, first when it ceases to be.
 * L3. Free cells move between a partition and the reserve by a store of the word, with both locked,
 *     the reserve last.  Lockers belong to the reserve.
 * L4. Who decides about a waiting request stores the word and then wake.  Its owner disposes of
 *     what has become of it: before wake says that it has been seen, nobody else frees the cell
 *     of a live client.
 * L5. Locks are taken in the order of partitions; only the detector and the walker (check.c) take
 *     more than one and the reserve.  No system call is made under one but waking.
 * L6. Indices are of the region and checked before each use; a walk has no more steps than there
 *     are cells.
 * L7. A lock that was put may stay IDLE in its cell, among the holders: it is held by nobody and in
 *     nobody's way.  Its client takes it again by one compare-and-swap to HELD, in a new life, and
 *     puts it by one to IDLE, both without the partition's lock, as long as HELD is not FIRM.
 *     Whatever else happens to it, by whomever, is done under that lock after FIRM was set in its
 *     word, or after a compare-and-swap from IDLE to FREE.  One that is IDLE and FIRM is not
 *     taken again; it goes with the next who looks.  One that will not stay IDLE is born FIRM.
 * L8. While anybody waits for an object, all locks on it are FIRM and none is IDLE: so nobody
 *     overtakes a queue, and what is put goes to who waits.  They are made so before the waiting
 *     request's word is stored, and a lock that is granted meanwhile is born FIRM.
 * L9. An IDLE lock could be granted now: whoever is granted a lock, or another mode, has first made
 *     FIRM or FREE all locks of others on that object that conflict with it either way round.
 *
 * An index is stored as itself + 1, so that 0 is none.
 */
#ifndef LOCK_CELLS_H
#define LOCK_CELLS_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/atomics.h"
#include "../base/latency.h"
#include "../region/region.h"

#define LOCK_MAGIC 0x6b636f6cu
#define LOCK_FORMAT 4u /* of cells, words, hashes and buckets */
#define LOCK_PARTS 64u
#define RESERVE LOCK_PARTS /* the partition of lockers and of free cells */
#define LOCK_CLIENTS 1024u
#define LOCK_MODES_MAX 128u
#define LOCKERS_MAX (1u << 20)
#define CELLS_MAX ((1u << 24) - 2) /* a locker's number has 24 bits for its cell */
#define CELL_BATCH 32u		   /* free cells that a partition takes at once */
#define OBJECT_MAX (1u << 20)	   /* bytes of a name */
#define LOOK_USEC 50000u	   /* between two looks of a waiter whether its holders live */

/* What a cell is. */
enum cell_kind {
	CELL_FREE = 0,
	CELL_OBJECT = 1,
	CELL_NAME = 2, /* more bytes of an object's name */
	CELL_LOCKER = 3,
	CELL_HELD = 4,
	CELL_WAITING = 5,
	CELL_CHANGED = 6,  /* was waiting to change a held lock's mode, which has been done */
	CELL_ABORTED = 7,  /* was waiting, and is a deadlock's victim */
	CELL_RELEASED = 8, /* granted after a wait, and put by another before its owner looked */
	CELL_IDLE = 9,	   /* was put, and can be taken again by its locker (L7) */
	CELL_KINDS
};

#define OBJECT_INLINE 28u
#define NAME_BYTES 48u

struct lock_cell {
	uint64_t word; /* kind, mode, partition, life: see cell_word */
	uint32_t next; /* in the list of free cells, holders or waiters; the bucket's chain */
	uint32_t prev; /* among holders or waiters; OBJECT: NAME cell with the rest of the name */
	union {
		struct {
			uint32_t next_wait; /* WAITING: in the partition's list */
			uint32_t prev_wait;
			uint32_t object; /* its cell */
			uint32_t locker; /* its number */
			uint16_t client; /* whose it is */
			uint16_t flags;	 /* enum lock_flag */
			uint32_t count;	 /* HELD: how often it was granted */
			uint32_t wake;	 /* futex: enum lock_wake */
			uint32_t target; /* WAITING: the held lock whose mode is to change, or 0 */
			uint32_t slot;	 /* where its client keeps what it knows about it */
			uint32_t since_sec; /* wall clock */
			uint32_t order;	    /* of requests in this partition */
			uint32_t born;	    /* its life when it was asked for */
		} lock;
		struct {
			uint32_t hash;
			uint32_t size; /* bytes of the name */
			uint32_t holders;
			uint32_t waiters;
			uint32_t last_waiter;
			uint8_t name[OBJECT_INLINE];
		} object;
		struct {
			uint8_t bytes[NAME_BYTES];
		} name;
		struct {
			uint32_t id;
			uint32_t client;
			uint32_t waiting; /* requests that wait, or have just ended: [its owner] */
			int32_t pid;	  /* for people: for which process */
			uint64_t age;	  /* number in the order of lock_id calls */
			uint32_t family;  /* a locker that waits when this one does, or 0 */
		} locker;
	} u;
};

static_assert(sizeof(struct lock_cell) == 64, "one cache line each");

enum lock_flag {
	LOCK_FIRST = 1,	  /* its locker holds the object: goes before others */
	LOCK_DISTANT = 2, /* nobody sleeps on wake: ring the client's bell */
	LOCK_WAITED = 4,  /* it was not granted at once */
	LOCK_KEEP = 8,	  /* its client knows how to take it again (L7) */
};

/* What wake says. */
enum lock_wake { WAKE_NOT = 0, WAKE_DECIDED = 1, WAKE_SEEN = 2 };

struct lock_part {
	struct shlock lock;
	uint32_t free; /* list of free cells */
	uint32_t nfree;
	uint32_t nlocks; /* cells that count against lk_max */
	uint32_t allow;	 /* of them, so many are this partition's share; guarded by the reserve */
	uint32_t nobjects;
	uint32_t nwaiting;
	uint32_t waiting; /* list of waiting requests */
	uint32_t spare;
	uint64_t order; /* given to the last request; 32 bits of it */
	uint64_t nrequests;
	uint64_t nreleases;
	uint64_t nconflicts;
	uint64_t nwaits;
	uint64_t ndeadlocks;
	uint64_t ntimeouts;
	uint64_t nrefused;
	uint64_t nupgrades;
	uint64_t spares[2];
};

static_assert(sizeof(struct lock_part) == 128, "whole cache lines");

/* What the region's body begins with; nothing before "limit" changes after creation. */
struct lock_table {
	uint32_t magic;
	uint32_t nparts;   /* LOCK_PARTS */
	uint32_t nbuckets; /* a power of two */
	uint32_t nmodes;
	uint32_t detect;  /* db_detect_t */
	uint32_t bounded; /* lk_max was given */
	roff_t parts;	  /* struct lock_part[nparts + 1] */
	roff_t bells;	  /* uint32_t[clients], futexes */
	roff_t asked;	  /* uint32_t[clients], milliseconds: when a waiter asked if it lives */
	roff_t matrix;	  /* uint8_t[nmodes * nmodes] */
	roff_t buckets;	  /* uint32_t[nbuckets], see object_chain */
	roff_t cells;	  /* to the region's end */
	uint32_t limit;	  /* most locks; only raised */
	uint32_t ncells;  /* that were ever used; [reserve] */
	uint64_t age;	  /* given to the last locker */
	uint64_t ndetections;
	uint64_t nreaped;
	uint32_t nlockers;    /* [reserve] */
	uint32_t conflict;    /* somebody has begun to wait since the last detection */
	struct latency waits; /* in microseconds, until they were decided */
};

/* --- words --------------------------------------------------------------------------------- */

#define WORD_LIFE_SHIFT 32
#define WORD_KIND 0x7fu
#define WORD_FIRM 0x80u /* HELD: changes under the partition's lock only (L7) */

static inline uint64_t
cell_word(enum cell_kind kind, uint32_t mode, uint32_t part, uint32_t life)
{
	return (uint64_t)kind | (uint64_t)mode << 8 | (uint64_t)part << 16 |
	    (uint64_t)life << WORD_LIFE_SHIFT;
}

static inline enum cell_kind
word_kind(uint64_t w)
{
	return (enum cell_kind)(w & WORD_KIND);
}

static inline uint32_t
word_mode(uint64_t w)
{
	return (uint32_t)(w >> 8) & 0xff;
}

static inline uint32_t
word_part(uint64_t w)
{
	return (uint32_t)(w >> 16) & 0xffff;
}

static inline uint32_t
word_life(uint64_t w)
{
	return (uint32_t)(w >> WORD_LIFE_SHIFT);
}

static inline bool
kind_is_lock(enum cell_kind kind)
{
	return kind >= CELL_HELD && kind <= CELL_IDLE;
}

/* Among an object's holders: IDLE ones hold nothing (L7). */
static inline bool
kind_is_holder(enum cell_kind kind)
{
	return kind == CELL_HELD || kind == CELL_IDLE;
}

/* How often it was taken again since it was granted first: each time is a life. */
static inline uint32_t
lock_retaken(const struct lock_cell *c, uint64_t w)
{
	return word_life(w) - load_relaxed(&c->u.lock.born);
}

#endif
