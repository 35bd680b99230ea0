/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/table.h - a process's handle on a lock table, and what the files here do for one another.
 *
 * The bytes and the rules are in cells.h.  Functions that change cells want the partition locked,
 * as is said where they are declared; those that lock it themselves say with no lock held.
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
#include "cells.h"

/* --- the handle ---------------------------------------------------------------------------- */

#define MINE_CHUNK 1024u /* lockers' private halves are allocated so many at once */
#define OWN_NAME 28u	 /* bytes; an object with a longer name is not kept IDLE */
#define OWN_FIRST 16u	 /* slots of the first segment; each further one has twice as many */
#define OWN_SEGMENTS 20u
#define KEPT_MAX 32768u /* locks that a handle keeps IDLE at most */

/* A lock that a locker of ours has, or has put and keeps, or waits for.  See own.c. */
struct own {
	DB_LOCK lock;	     /* as it was granted first; 0: none */
	struct own *next;    /* in the index's chain, or of the free slots */
	struct own *follows; /* which was taken again after it the last time; a guess */
	uint32_t hash;	     /* of the object's name */
	uint32_t idle;	     /* the lower half of the lock's word when it is IDLE */
	uint8_t name[OWN_NAME];
	uint8_t size;	 /* bytes of the name; 0: it is not kept */
	uint8_t used;	 /* taken again since the last look for one to give up */
	uint8_t segment; /* in which of them this slot is */
};

static_assert(sizeof(struct own) == 64, "one cache line each");

/* Slots by the hash of the object: the low bits of it, so that a chain is of one partition. */
struct own_index {
	struct own_index *older; /* threads may still be reading it */
	uint64_t mask;
	struct own *at[];
};

struct own_set {
	uint32_t busy;	 /* guards what follows but guesses, in a DB_THREAD handle */
	uint32_t nslots; /* that were ever used */
	struct own *free;
	uint32_t nown;	    /* in the index */
	uint32_t hand;	    /* where one to give up is looked for */
	uint32_t newcomers; /* beyond kept_max */
	struct own_index *index;
	struct own *last;    /* that was taken again; a guess */
	struct own *follows; /* which will be next; a guess */
	uint32_t misses;     /* names in a row that were not in the index; a guess */
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
	uint64_t serial; /* unlike that of any other handle that this process ever had */
	struct lock_table *table;
	struct lock_part *parts;
	uint32_t *bells;
	uint32_t *asked;
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
	uint8_t *matrix; /* an own copy: the region's can be written by others */
	struct environment place;
	pthread_mutex_t mutex; /* chunks of lockers, hand */
	uint32_t hand;	       /* where a locker that is not needed is looked for */
	struct mine *mine[(CELLS_MAX + MINE_CHUNK) / MINE_CHUNK];
};

/* --- cell.c -------------------------------------------------------------------------------- */

/* Says what is wrong, once; DB_RUNRECOVERY. */
int table_damaged(DB_LOCKTAB *lt, const char *what, uint32_t where);

/*
 * How many cells there are, as far as this process knows now: as many as the table says, unless
 * that cannot be, which is damage.
 */
uint32_t cells_known(DB_LOCKTAB *lt);

/* L6: the cell that a stored index (+ 1) means, or NULL. */
static inline struct lock_cell *
cell_at(DB_LOCKTAB *lt, uint32_t stored)
{
	uint32_t i = stored - 1;

	if (i >= load_relaxed(&lt->ncells) && i >= cells_known(lt))
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
	return kind_is_holder(word_kind(w)) && word_part(w) == part ? c : NULL;
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
/* The first n partitions, in their order (L5), or none; LOCK_PARTS of them, and the reserve. */
int parts_lock(DB_LOCKTAB *lt, uint32_t n);
void parts_unlock(DB_LOCKTAB *lt, uint32_t n);

/* Who is to be woken once the partition is unlocked. */
#define WAKES 16

struct wakes {
	unsigned n;
	unsigned room;
	uint32_t **words; /* the caller's, for room of them; NULL: few */
	uint32_t *few[WAKES];
};

void wake_later(struct wakes *wakes, uint32_t *word);
void wake_now(struct wakes *wakes);

/* --- object.c ------------------------------------------------------------------------------ */

#define CELL_BITS 24 /* of a cell's number */

__extension__ typedef unsigned __int128 uint128;

static inline uint64_t
hash_mix(uint64_t a, uint64_t b)
{
	uint128 m = (uint128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t
bytes_4(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

/*
 * Words of 4 bytes, multiplied in pairs: names are often made of such words just before, and a load
 * that takes more than one of them would wait until they have left the store buffer.  The last
 * bytes are taken together with some before them.
 */
static inline uint32_t
object_hash(const void *name, uint32_t size)
{
	uint64_t k1 = 0x9e3779b97f4a7c15u, k2 = 0xff51afd7ed558ccdu, h = size;
	const uint8_t *p = name;
	uint32_t left = size;

	/* unlike ones at each place */
	for (; left >= 8; left -= 8, p += 8, k1 += 0xa0761d6478bd642fu) {
		h += (bytes_4(p) ^ k1) * (bytes_4(p + 4) ^ k2);
		/* vectors are slower for names as short as ours */
		__asm__("" : "+r"(h));
	}
	if (size < 4)
		h += (((uint64_t)p[0] << 16 | (uint64_t)p[size / 2] << 8 | p[size - 1]) ^ k1) * k2;
	else if (left > 0)
		h += (bytes_4(left > 4 ? p : p + left - 4) ^ k1) * (bytes_4(p + left - 4) ^ ~k2);
	return (uint32_t)hash_mix(h, k2);
}

/* Cells that an object with such a name takes. */
uint32_t object_cells(uint32_t size);

/* That of its bucket too: there are more buckets, and as many of each partition. */
static inline uint32_t
hash_part(uint32_t hash)
{
	return hash % LOCK_PARTS;
}

static inline uint32_t *
object_bucket(const DB_LOCKTAB *lt, uint32_t hash)
{
	return &lt->buckets[hash & (lt->nbuckets - 1)];
}

/*
 * A bucket names the first cell of its chain.  Above that is a bit for each eighth of all hashes of
 * which an object may be in the chain: most objects that are not there are not looked for then.
 * An object's word has, in place of a mode, the bits that there were before it came.
 */
#define BUCKET_CELL ((1u << CELL_BITS) - 1)

static inline uint32_t
bucket_bit(uint32_t hash)
{
	return 1u << (CELL_BITS + (hash >> 29));
}

/* The cell becomes an object, first in its chain; all else is written. */
void object_chain(const DB_LOCKTAB *lt, struct lock_cell *c, uint32_t part);

/* Its bucket will be looked at. */
static inline void
object_fetch_early(const DB_LOCKTAB *lt, uint32_t hash)
{
	__builtin_prefetch(object_bucket(lt, hash), 1);
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

/* L7: HELD becomes FIRM, in one step.  False: it is not held. */
bool lock_firm(struct lock_cell *c);
/* The same, in that life only: its locker may have put it and taken it again meanwhile. */
bool lock_firm_in(struct lock_cell *c, uint32_t life);
/* L7: an IDLE lock goes; object_settle is to follow.  *gonep false: it is not IDLE any more. */
int lock_revoke(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c, bool *gonep);
/* The same, by what lock_birth says, or a RELEASED one of ours.  *gonep: it is not in the table. */
int lock_give_up(DB_LOCKTAB *lt, uint32_t part, DB_LOCK birth, bool *gonep);
/* L9: before claim is looked at.  L8: before anybody waits. */
int object_make_way(DB_LOCKTAB *lt, struct lock_cell *object, const struct claim *claim);
int object_make_firm(DB_LOCKTAB *lt, struct lock_cell *object);
/* All IDLE locks of a partition, which is locked, go. */
int part_sweep(DB_LOCKTAB *lt, uint32_t part);

/* The locker holds it now: what else it waits for there goes first. */
int object_advance(DB_LOCKTAB *lt, struct lock_cell *object, uint32_t locker, bool *movedp);
/* Everybody in the queue whose turn it is. */
int object_promote(DB_LOCKTAB *lt, struct lock_cell *object, struct wakes *wakes);

/* A held lock, which is firm (L7), gets another mode, and nobody goes on yet. */
void lock_change_mode(DB_LOCKTAB *lt, struct lock_cell *c, uint32_t part, uint32_t mode);

/* Take a lock that is held, or that waits, off its object; the cell is free.  Others go on. */
int lock_release(DB_LOCKTAB *lt, struct lock_cell *c, struct wakes *wakes);

/* One that is on no list is a free cell. */
void lock_dispose(DB_LOCKTAB *lt, struct lock_cell *c, uint32_t part);

/*
 * A held lock goes, and nobody goes on yet.  L4: one that was waited for, and that its owner has
 * not seen, stays behind RELEASED; *gonep false.
 */
int lock_take_off(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c, bool *gonep);

/* L4: it is off the queue and will not be granted; its owner is told.  lock_go_on is to follow. */
int lock_abort(DB_LOCKTAB *lt, struct lock_cell *c, struct wakes *wakes);
/* Those who wait for that object and need not any more; if nobody is left it goes. */
int lock_go_on(DB_LOCKTAB *lt, uint32_t object, struct wakes *wakes);

/* --- locker.c ------------------------------------------------------------------------------ */

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
/* Make another its family, 0: none; which that is. */
void locker_set_family(DB_LOCKTAB *lt, uint32_t id, uint32_t family);
uint32_t locker_family(DB_LOCKTAB *lt, uint32_t id);
/* Raise (1) or lower (-1) how many requests of it and of its family wait. */
void locker_count_wait(DB_LOCKTAB *lt, uint32_t id, int by);
void lockers_forget(DB_LOCKTAB *lt); /* the private halves */

/* What the lock in that cell is called in that life of it. */
static inline DB_LOCK
lock_of(uint32_t life, uint32_t cell)
{
	return (DB_LOCK)life << 32 | cell;
}

static inline DB_LOCK
lock_handle(const DB_LOCKTAB *lt, const struct lock_cell *c)
{
	return lock_of(word_life(load_relaxed(&c->word)), cell_number(lt, c));
}

static inline struct lock_cell *
cell_by_handle(DB_LOCKTAB *lt, DB_LOCK lock)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)lock);

	return c != NULL && word_life(load_relaxed(&c->word)) == lock >> 32 ? c : NULL;
}

/* A lock as it was granted first: a name that it has until it goes. */
static inline DB_LOCK
lock_birth(const DB_LOCKTAB *lt, const struct lock_cell *c)
{
	return lock_of(load_relaxed(&c->u.lock.born), cell_number(lt, c));
}

/* --- own.c --------------------------------------------------------------------------------- */

/* Where a lock that is asked for will be remembered. */
struct own_place {
	uint32_t slot; /* 0: none */
	bool keep;     /* it may stay IDLE when it is put */
	uint32_t victim_slot;
	DB_LOCK victim; /* kept IDLE, and to be given up for it; 0: none */
};

/*
 * A slot for a lock that is asked for; then it cannot fail to be remembered.  If its name is short
 * it is kept as well, if not at once, then for one that is kept idle in the same partition.
 */
int own_reserve(DB_LOCKTAB *lt, struct mine *m, const DBT *obj, uint32_t hash, uint32_t mode,
    struct own_place *place);
/* That is the slot's lock: held by now, or still to be waited for.  slot 0: there is none. */
void own_has_lock(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot, DB_LOCK lock, bool held);
/* It came to nothing.  lock: 0, or that which the slot has. */
void own_cancel(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot, DB_LOCK lock);
/* The slot's lock will not be kept. */
void own_keep_not(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot, DB_LOCK lock);
/* The slot is free if its lock is not there any more. */
void own_drop(DB_LOCKTAB *lt, const struct mine *m, uint32_t slot);
/* The next behind that slot that is held; *slotp 0: from the start; 0: none. */
DB_LOCK own_next_held(DB_LOCKTAB *lt, const struct mine *m, uint32_t *slotp);
/* May it hold any?  Where there are threads it may at any time. */
static inline bool
own_has(DB_LOCKTAB *lt, const struct mine *m)
{
	uint32_t slot = 0;

	return lt->threaded || own_next_held(lt, m, &slot) != 0;
}

/* How many it really holds. */
uint32_t own_count(DB_LOCKTAB *lt, struct mine *m);
/* All that is kept IDLE is given up, and all slots are free. */
int own_clear(DB_LOCKTAB *lt, struct mine *m);
void own_free(struct own_set *set);

/* Where in an index what has that hash is linked. */
static inline struct own **
own_chain(const struct own_index *x, uint32_t hash)
{
	return (struct own **)(uintptr_t)&x->at[hash & x->mask];
}

/* The byte of a slot that says whether its lock is held; NULL: there is no such slot. */
uint8_t *own_held(const struct own_set *s, uint32_t slot);

/* --- again.c, put.c ------------------------------------------------------------------------ */

/* L7: put a lock to IDLE.  False: that cannot be done. */
bool lock_keep(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock);
/* What lock_get and lock_put do if there is no shorter way. */
int lock_get_anew(
    DB_LOCKTAB *lt, uint32_t locker, uint32_t flags, const DBT *obj, uint32_t mode, DB_LOCK *lockp);
int lock_put_one(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock, bool altogether);

/* --- get.c, wait.c ------------------------------------------------------------------------- */

struct lock_request {
	struct mine *m;
	uint32_t flags; /* DB_LOCK_NOWAIT, DB_LOCK_UPGRADE */
	uint32_t mode;
	bool distant;		/* the caller waits elsewhere: LOCK_DISTANT */
	bool fresh;		/* granted at once, and not one that the locker had */
	bool undetected;	/* the detector could not be run */
	bool keep;		/* it may stay IDLE when it is put: LOCK_KEEP */
	struct own_place place; /* reserved for what it will be granted */
	const DBT *obj;
	uint32_t hash;
	uint32_t part;
	DB_LOCK lock;	     /* UPGRADE: which; then: that was granted, or that waits */
	uint64_t since_usec; /* since when it waits, monotonic; 0: it has not waited */
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

/* The check at the door. */
int table_enter(DB_LOCKTAB *lt, const char *call);
/* An out-parameter is NULL: says so.  EINVAL. */
int no_place(const DB_LOCKTAB *lt, const char *call);

/* The same for the short ways; false: table_enter says why. */
static inline bool
table_ready(const DB_LOCKTAB *lt)
{
	const struct region *r = lt->region;

	return !region_is_inherited(r) && load_relaxed(&r->lost) == 0 &&
	    load_relaxed(&r->layout->panic) == 0 &&
	    load_acquire(&r->layout->valid) == DB_REGIONMAGIC;
}

/* --- detect.c ------------------------------------------------------------------------------ */

/* only: 0, or the locker that is the victim of each circle it is in, and others are left. */
int detect_run(DB_LOCKTAB *lt, uint32_t policy, uint32_t only);

/* --- repair.c, reap.c, shape.c ------------------------------------------------------------ */

int part_repair(DB_LOCKTAB *lt, uint32_t part);
/* All locks and lockers of a client, which is dead or ours. */
void release_client(DB_LOCKTAB *lt, uint32_t number);
/* How many of them were dead and are reaped. */
unsigned reap_set(DB_LOCKTAB *lt, const struct client_set *clients);
/* The same, but those about whom somebody has asked within the last LOOK_USEC. */
unsigned reap_set_again(DB_LOCKTAB *lt, const struct client_set *clients);
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
