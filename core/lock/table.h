/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/table.h - the bytes of a lock table, and a process's handle on it.
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
 * L5. Locks are taken in the order of partitions; only the detector takes more than one and the
 *     reserve.  No system call is made under one but waking.
 * L6. Indices are of the region and checked before each use; a walk has no more steps than there
 *     are cells.
 * L7. A lock that was put may stay IDLE in its cell, among the holders: it is held by nobody and in
 *     nobody's way.  Its client takes it again by one compare-and-swap to HELD, in a new life, and
 *     puts it by one to IDLE, both without the partition's lock, as long as HELD is not FIRM.
 *     Whatever else happens to it, by whomever, is done under that lock after a compare-and-swap
 *     from HELD to HELD and FIRM, or from IDLE to FREE.
 * L8. While anybody waits for an object, all locks on it are FIRM and none is IDLE: so nobody
 *     overtakes a queue, and what is put goes to who waits.  They are made so before the waiting
 *     request's word is stored, and a lock that is granted meanwhile is born FIRM.
 * L9. An IDLE lock could be granted now: whoever is granted a lock, or another mode, has first made
 *     FIRM or FREE all locks of others on that object that conflict with it either way round.
 *
 * An index is stored as itself + 1, so that 0 is none.
 */
#ifndef LOCK_TABLE_H
#define LOCK_TABLE_H

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <poolfs/lock.h>

#include "../base/atomics.h"
#include "../base/os.h"
#include "../region/region.h"
#include "../region/shlock.h"

#define LOCK_MAGIC 0x6b636f6cu
#define LOCK_FORMAT 2u /* of cells, words and hashes */
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
			uint32_t born;	    /* HELD, IDLE: its life when it was granted first */
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
	roff_t matrix;	  /* uint8_t[nmodes * nmodes] */
	roff_t buckets;	  /* uint32_t[nbuckets], object cells */
	roff_t cells;	  /* to the region's end */
	uint32_t limit;	  /* most locks; only raised */
	uint32_t ncells;  /* that were ever used; [reserve] */
	uint64_t age;	  /* given to the last locker */
	uint64_t ndetections;
	uint64_t nreaped;
	uint32_t nlockers; /* [reserve] */
	uint32_t conflict; /* somebody has begun to wait since the last detection */
};

/* --- words --------------------------------------------------------------------------------- */

#define WORD_LIFE_SHIFT 32
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
	return (enum cell_kind)(w & 0x7f);
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

/* How often it was taken again since it was granted first: each time is a life. */
static inline uint32_t
lock_retaken(const struct lock_cell *c, uint64_t w)
{
	return word_life(w) - load_relaxed(&c->u.lock.born);
}

/* --- the handle ---------------------------------------------------------------------------- */

#define MINE_CHUNK 1024u /* lockers' private halves are allocated so many at once */
#define OWN_NAME 28u	 /* bytes; an object with a longer name is not kept IDLE */
#define OWN_FIRST 16u	 /* slots of the first segment; each further one has twice as many */
#define OWN_SEGMENTS 20u
#define KEPT_MAX 16384u /* locks that a handle keeps IDLE at most */

/* A lock that a locker of ours has, or has put and keeps.  See own.c. */
struct own {
	DB_LOCK lock;	  /* 0: none */
	struct own *next; /* in the index's chain, or of the free slots */
	uint8_t *held;	  /* is the lock held, as far as we know? */
	uint32_t hash;	  /* of the object's name */
	uint32_t born;	  /* the lock's life when it was granted first */
	uint8_t size;	  /* bytes of the name; 0: it is not kept */
	uint8_t mode;
	uint8_t used; /* taken again since the last look for one to give up */
	uint8_t name[OWN_NAME];
};

static_assert(sizeof(struct own) == 64, "one cache line each");

/* Slots by the hash of the object: the low bits of it, so that a chain is of one partition. */
struct own_index {
	struct own_index *older; /* threads may still be reading it */
	uint64_t mask;
	struct own *at[];
};

struct own_set {
	uint32_t busy;	 /* guards what follows, in a DB_THREAD handle */
	uint32_t nslots; /* that were ever used */
	struct own *free;
	uint32_t nown; /* in the index */
	uint32_t hand; /* where one to give up is looked for */
	struct own_index *index;
	struct own *segments[OWN_SEGMENTS];
	uint8_t *held[OWN_SEGMENTS]; /* a byte for each slot */
};

/* What a process knows about one of its lockers. */
struct mine {
	uint32_t id;	     /* 0: not a locker of this handle */
	struct own_set *set; /* stays for the next locker with that cell */
};

struct __db_locktab {
	DB_ENV *dbenv;
	struct region *region;
	struct lock_table *table;
	struct lock_part *parts;
	uint32_t *bells;
	uint32_t *buckets;
	struct lock_cell *cells;
	roff_t cells_offset;
	uint32_t ncells; /* that are known to be there; grows */
	uint32_t nbuckets;
	uint32_t nmodes;
	uint32_t detect;
	uint32_t self;	/* client number */
	uint32_t nkept; /* slots whose locks may become IDLE */
	uint32_t kept_max;
	uint64_t nrequests; /* as lock_stat said last */
	uint64_t nreleases;
	uint64_t nasked; /* questions to the kernel by waiters whether others live */
	uint64_t timeout_usec;
	bool threaded;
	bool temporary;	 /* goes with its last client */
	uint8_t *matrix; /* an own copy: the region's can be written by others */
	struct environment place;
	pthread_mutex_t mutex; /* chunks of lockers, hand */
	uint32_t hand;	       /* where a locker that is not needed is looked for */
	struct mine *mine[(CELLS_MAX + MINE_CHUNK) / MINE_CHUNK];
};

/* --- cell.c -------------------------------------------------------------------------------- */

/* Says what is wrong, once; DB_RUNRECOVERY. */
int table_damaged(DB_LOCKTAB *lt, const char *what, uint32_t where);

bool cells_look_again(DB_LOCKTAB *lt, uint32_t index);

/* L6: the cell that a stored index (+ 1) means, or NULL. */
static inline struct lock_cell *
cell_at(DB_LOCKTAB *lt, uint32_t stored)
{
	uint32_t i = stored - 1;

	if (i >= load_relaxed(&lt->ncells) && !cells_look_again(lt, i))
		return NULL;
	return &lt->cells[i];
}

static inline uint32_t
cell_number(const DB_LOCKTAB *lt, const struct lock_cell *c)
{
	return (uint32_t)(c - lt->cells) + 1;
}

/* The same, if it is of that kind and partition. */
static inline struct lock_cell *
cell_of(DB_LOCKTAB *lt, uint32_t stored, enum cell_kind kind, uint32_t part)
{
	struct lock_cell *c = cell_at(lt, stored);
	uint64_t w;

	if (c == NULL)
		return NULL;
	w = load_relaxed(&c->word);
	return word_kind(w) == kind && word_part(w) == part ? c : NULL;
}

/* Who holds an object, or has left an idle lock there. */
static inline struct lock_cell *
holder_at(DB_LOCKTAB *lt, uint32_t stored, uint32_t part)
{
	struct lock_cell *c = cell_at(lt, stored);
	uint64_t w;

	if (c == NULL)
		return NULL;
	w = load_relaxed(&c->word);
	return (word_kind(w) == CELL_HELD || word_kind(w) == CELL_IDLE) && word_part(w) == part ?
	    c :
	    NULL;
}

/* A partition's own; NULL: none left, or damage. */
struct lock_cell *cell_pop(DB_LOCKTAB *lt, uint32_t part);
void cell_push(DB_LOCKTAB *lt, uint32_t part, struct lock_cell *c);

/*
 * With no lock held: see to it that the partition has n free cells and may have one lock more, if
 * that can be had.  ENOMEM: no.  Another may take them before the caller comes back to use them.
 */
int cells_provide(DB_LOCKTAB *lt, uint32_t part, uint32_t n, bool want_lock);

/* --- part.c -------------------------------------------------------------------------------- */

/* DB_RUNRECOVERY: damage was found at a repair; it is not locked then. */
int part_lock(DB_LOCKTAB *lt, uint32_t part);
void part_unlock(DB_LOCKTAB *lt, uint32_t part);

/* Who is to be woken once the partition is unlocked. */
#define WAKES 16

struct wakes {
	unsigned n;
	uint32_t *words[WAKES];
};

void wake_later(struct wakes *wakes, uint32_t *word);
void wake_now(struct wakes *wakes);

/* --- object.c ------------------------------------------------------------------------------ */

__extension__ typedef unsigned __int128 uint128;

static inline uint64_t
hash_mix(uint64_t a, uint64_t b)
{
	uint128 m = (uint128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t
bytes_8(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static inline uint64_t
bytes_4(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

/* The last bytes are taken together with some before them rather than one by one. */
static inline uint32_t
object_hash(const void *name, uint32_t size)
{
	const uint64_t k1 = 0x9e3779b97f4a7c15u, k2 = 0xff51afd7ed558ccdu;
	const uint8_t *p = name;
	uint64_t h = size ^ k1;
	uint32_t left = size;

	for (; left > 16; left -= 16, p += 16)
		h = hash_mix(bytes_8(p) ^ k1, bytes_8(p + 8) ^ k2) ^ h << 7 ^ h >> 57;
	if (left >= 8)
		h ^= hash_mix(bytes_8(p) ^ k2, bytes_8(p + left - 8) ^ k1);
	else if (left >= 4)
		h ^= hash_mix(bytes_4(p) ^ k2, bytes_4(p + left - 4) ^ k1);
	else if (left > 0)
		h ^= hash_mix(
		    ((uint64_t)p[0] << 16 | (uint64_t)p[left / 2] << 8 | p[left - 1]) ^ k2, k1);
	h = hash_mix(h, k2);
	return (uint32_t)(h >> 32) ^ (uint32_t)h;
}

/* Cells that an object with such a name takes. */
uint32_t object_cells(uint32_t size);

/* That of its bucket too: there are more buckets, and as many of each partition. */
static inline uint32_t
hash_part(uint32_t hash)
{
	return hash % LOCK_PARTS;
}

/* With the partition locked.  *cp is NULL if there is no such object.  DB_RUNRECOVERY. */
int object_find(DB_LOCKTAB *lt, const DBT *name, uint32_t hash, struct lock_cell **cp);
/* The partition has object_cells() free cells. */
int object_create(DB_LOCKTAB *lt, const DBT *name, uint32_t hash, struct lock_cell **cp);
/* If nobody holds it or waits for it: it goes. */
int object_settle(DB_LOCKTAB *lt, struct lock_cell *object);

/* Among an object's holders (the newest first) or waiters (in the order of their turns). */
int holder_link(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c);
int holder_unlink(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c);
int waiter_link(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c);
int waiter_unlink(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c);

/* --- grant.c ------------------------------------------------------------------------------- */

/* Those in the way of a request: their clients' numbers. */
struct client_set {
	uint64_t bits[LOCK_CLIENTS / 64];
	bool waits; /* some of their lockers wait themselves */
};

static inline bool
modes_conflict(const DB_LOCKTAB *lt, uint32_t requested, uint32_t held)
{
	return requested >= lt->nmodes || held >= lt->nmodes ||
	    lt->matrix[requested * lt->nmodes + held] != 0;
}

/* A request, or a lock that is asked for, against one object. */
struct claim {
	uint32_t locker;
	uint32_t mode;
	bool first; /* looks at holders only */
};

/*
 * Does anybody stand in the way?  before: the waiting request that makes the claim, or NULL for one
 * that would come last.  blockers, if not NULL, gets all of their clients.
 */
int claim_blocked(DB_LOCKTAB *lt, const struct lock_cell *object, const struct claim *claim,
    const struct lock_cell *before, struct client_set *blockers, bool *blockedp);

/* L7: HELD becomes FIRM.  False: it is not held. */
bool lock_firm(struct lock_cell *c);
/* L7: an IDLE lock goes; object_settle is to follow.  *gonep false: it is not IDLE any more. */
int lock_revoke(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c, bool *gonep);
/* The same, by its handle.  *gonep: it is not in the table. */
int lock_give_up(DB_LOCKTAB *lt, uint32_t part, DB_LOCK lock, bool *gonep);
/* L9: before claim is looked at.  L8: before anybody waits. */
int object_make_way(DB_LOCKTAB *lt, struct lock_cell *object, const struct claim *claim);
int object_make_firm(DB_LOCKTAB *lt, struct lock_cell *object);
/* All IDLE locks of a partition, which is locked, go. */
int part_sweep(DB_LOCKTAB *lt, uint32_t part);

/* The locker holds it now: what else it waits for there goes first. */
int object_advance(DB_LOCKTAB *lt, struct lock_cell *object, uint32_t locker, bool *movedp);
/* Everybody in the queue whose turn it is. */
int object_promote(DB_LOCKTAB *lt, struct lock_cell *object, struct wakes *wakes);

/* Take a lock that is held, or that waits, off its object; the cell is free.  Others go on. */
int lock_release(DB_LOCKTAB *lt, struct lock_cell *c, struct wakes *wakes);

/* A held lock goes, and nobody goes on yet. */
int lock_take_off(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c);

/* L4: it is off the queue and will not be granted; its owner is told.  lock_go_on is to follow. */
int lock_abort(DB_LOCKTAB *lt, struct lock_cell *c, struct wakes *wakes);
/* Those who wait for that object and need not any more; if nobody is left it goes. */
int lock_go_on(DB_LOCKTAB *lt, uint32_t object, struct wakes *wakes);

/* --- locker.c ------------------------------------------------------------------------------ */

#define CELL_BITS 24

static inline uint32_t
id_cell(uint32_t id)
{
	return id & ((1u << CELL_BITS) - 1);
}

/* NULL: not a locker of this handle. */
static inline struct mine *
mine_at(const DB_LOCKTAB *lt, uint32_t id)
{
	uint32_t cell = id_cell(id);
	struct mine *m;

	if (cell > CELLS_MAX || (m = load_acquire(&lt->mine[cell / MINE_CHUNK])) == NULL)
		return NULL;
	m += cell % MINE_CHUNK;
	return id != 0 && load_relaxed(&m->id) == id ? m : NULL;
}

/* The same, and it has been said. */
struct mine *locker_find(DB_LOCKTAB *lt, uint32_t id);
struct lock_cell *locker_cell(DB_LOCKTAB *lt, uint32_t id);
/*
 * A locker for process pid.  family: 0, or the number of another locker of this handle: for the
 * detector the two are one, who waits when either does.
 */
int locker_new(DB_LOCKTAB *lt, int32_t pid, uint32_t family, uint32_t *idp);
/* The locker that stands for its family: itself, if it has none.  NULL: it is not there. */
struct lock_cell *locker_head(DB_LOCKTAB *lt, uint32_t id);
/* Raise (1) or lower (-1) how many requests of it and of its family wait. */
void locker_count_wait(DB_LOCKTAB *lt, uint32_t id, int by);
int locker_free(DB_LOCKTAB *lt, struct mine *m);
void lockers_forget(DB_LOCKTAB *lt); /* the private halves */

static inline DB_LOCK
lock_handle(const DB_LOCKTAB *lt, const struct lock_cell *c)
{
	return (DB_LOCK)word_life(load_relaxed(&c->word)) << 32 | cell_number(lt, c);
}

static inline struct lock_cell *
cell_by_handle(DB_LOCKTAB *lt, DB_LOCK lock)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)lock);

	return c != NULL && word_life(load_relaxed(&c->word)) == lock >> 32 ? c : NULL;
}

/* --- own.c --------------------------------------------------------------------------------- */

/* A slot for a lock that is asked for; then it cannot fail to be remembered. */
int own_reserve(DB_LOCKTAB *lt, struct mine *m, uint32_t *slotp);
void own_cancel(DB_LOCKTAB *lt, struct mine *m, uint32_t slot);
/* The locker has the lock.  obj: its name, if it may be kept IDLE when it is put; else NULL. */
void own_fill(DB_LOCKTAB *lt, struct mine *m, uint32_t slot, DB_LOCK lock, const DBT *obj,
    uint32_t hash, uint32_t mode);
/* The lock is not there any more. */
void own_drop(DB_LOCKTAB *lt, struct mine *m, uint32_t slot, DB_LOCK lock);
/* The same, unless it is ours still. */
void own_drop_if_gone(DB_LOCKTAB *lt, struct mine *m, uint32_t slot, DB_LOCK lock);
/* The next lock behind that slot that is held as far as we know; *slotp 0: from the start; 0: none. */
DB_LOCK own_next_held(const struct mine *m, uint32_t *slotp);
/* Does it hold any, as far as we know? */
static inline bool
own_has(const struct mine *m)
{
	uint32_t slot = 0;

	return own_next_held(m, &slot) != 0;
}

/* How many it really holds. */
uint32_t own_count(DB_LOCKTAB *lt, struct mine *m);
/* May one more lock be kept?  Else: one that is kept idle in that partition, to be given up. */
bool own_may_keep(DB_LOCKTAB *lt, struct mine *m, uint32_t part, uint32_t *slotp, DB_LOCK *victimp);
/* L7: take a lock again, put it to IDLE; false: that cannot be done. */
bool own_retake(DB_LOCKTAB *lt, uint32_t locker, const DBT *obj, uint32_t mode, DB_LOCK *lockp);
bool own_idle(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock);
/* All that is kept IDLE is given up, and all slots are free. */
int own_clear(DB_LOCKTAB *lt, struct mine *m);
void own_free(struct own_set *set);

/* --- get.c, wait.c ------------------------------------------------------------------------- */

struct lock_request {
	struct mine *m;
	uint32_t flags; /* DB_LOCK_NOWAIT, DB_LOCK_UPGRADE */
	uint32_t mode;
	bool distant;	 /* the caller waits elsewhere: LOCK_DISTANT */
	bool fresh;	 /* granted at once, and not one that the locker had */
	bool undetected; /* the detector could not be run */
	bool keep;	 /* it may stay IDLE when it is put */
	bool may_keep;	 /* is counted in nkept */
	uint32_t slot;	 /* reserved for what it will be granted */
	uint32_t victim_slot;
	DB_LOCK victim; /* kept IDLE, and to be given up for it; 0: none */
	const DBT *obj;
	uint32_t hash;
	uint32_t part;
	DB_LOCK lock; /* UPGRADE: which; then: that was granted, or that waits */
	struct client_set blockers;
};

enum verdict { GRANTED, WAITS };

/* Check the arguments of a request and fill it in; EINVAL with a sentence. */
int request_init(DB_LOCKTAB *lt, struct lock_request *rq, uint32_t locker, uint32_t flags,
    const DBT *obj, uint32_t mode, DB_LOCK lock);
/* Grant it, queue it, or (NOWAIT) DB_LOCK_NOTGRANTED. */
int request_make(DB_LOCKTAB *lt, struct lock_request *rq, enum verdict *verdictp);
/* After a wait: what became of it.  *donep false: it waits still. */
int request_outcome(DB_LOCKTAB *lt, struct lock_request *rq, bool *donep);
/* It is not wanted any more.  *donep: it was decided before that, as request_outcome says; else 0
 * if it is withdrawn. */
int request_withdraw(DB_LOCKTAB *lt, struct lock_request *rq, bool *donep);
/* Reap those that it waits for, if they are dead. */
int request_look(DB_LOCKTAB *lt, struct lock_request *rq);
/* Would the wait of this locker close a circle?  A quick look that errs on the side of yes. */
bool request_may_deadlock(DB_LOCKTAB *lt, const struct lock_request *rq);

/* The check at the door. */
int table_enter(DB_LOCKTAB *lt, const char *call);

/* The same for the short ways; false: table_enter says why. */
static inline bool
table_ready(const DB_LOCKTAB *lt)
{
	const struct region *r = lt->region;

	return r->fork_generation == os_fork_generation() && load_relaxed(&r->lost) == 0 &&
	    load_relaxed(&r->layout->panic) == 0 &&
	    load_acquire(&r->layout->valid) == DB_REGIONMAGIC;
}

/* --- put.c --------------------------------------------------------------------------------- */

/* locker 0: any of this handle. */
int put_one(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock, bool altogether);
int put_all(DB_LOCKTAB *lt, struct mine *m);
int put_object(DB_LOCKTAB *lt, const DBT *obj);

/* --- detect.c ------------------------------------------------------------------------------ */

/* only: 0, or the locker that is the victim of each circle it is in, and others are left. */
int detect_run(DB_LOCKTAB *lt, uint32_t policy, uint32_t only);

/* --- repair.c, reap.c, shape.c ------------------------------------------------------------ */

int part_repair(DB_LOCKTAB *lt, uint32_t part);
/* All locks and lockers of a client, which is dead or ours. */
void release_client(DB_LOCKTAB *lt, uint32_t number);
/* False: it is alive, or another's to reap. */
bool reap_client_locks(DB_LOCKTAB *lt, uint32_t number);
unsigned reap_set(DB_LOCKTAB *lt, const struct client_set *clients);
void reap_everybody(DB_LOCKTAB *lt);

/* Who has most locks, as a list for a sentence. */
void table_largest(DB_LOCKTAB *lt, char *text, size_t bytes);

/* How large, and where what is. */
struct lock_shape {
	uint32_t nmodes, detect, limit, nbuckets;
	bool bounded;
	const uint8_t *matrix;
	uint64_t bytes;
};

void shape_compute(struct lock_shape *s, uint32_t lk_max, bool is_private);
int shape_init(struct region *r, void *shape);
uint32_t shape_stamp(void);
/* EPROTO: the table does not fit its region. */
int shape_attach(DB_LOCKTAB *lt);

#endif
