/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/thread.h - what one thread of this process has in one pool: blocks, slots, notes, counters.
 */
#ifndef POOL_THREAD_H
#define POOL_THREAD_H

#include <stddef.h>

#include "pool.h"

#define PINS_OF_A_PAGE 65535u	   /* by one process */
#define HINTS 128		   /* frames that a thread believes to be free, per page size */
#define IO_BYTES ((size_t)1 << 20) /* a thread's buffer for copies to be written */

#define PIN_DIRTY 1u   /* memp_fset through this pin made the clean page dirty */
#define PIN_CLEAN 2u   /* memp_fset asked to undo that */
#define PIN_CHANGED 4u /* memp_fset or memp_fput said that it is dirty */

/* A pin as its process knows it. */
struct pin {
	DB_MPOOLFILE *mpf;
	const void *page; /* NULL once memp_fset has said something of it: not the short way */
};

struct pin_block {
	struct block *b;
	uint32_t index;
	uint64_t used;	   /* slots in use, as its own thread knows */
	uint64_t returned; /* slots that other threads have emptied since; atomic */
	struct pin pins[BLOCK_SLOTS];
	uint8_t set[BLOCK_SLOTS]; /* PIN_*, of each pin; 0 where there is none */
};

struct hint_list {
	uint32_t n;
	uint32_t frames[HINTS];
};

/* What one thread of this process has in one pool. */
struct thread {
	struct thread *next;	     /* in the pool's list */
	struct thread *next_of_self; /* in the thread's own list of pools */
	DB_MPOOL *pool;		     /* NULL: the pool was closed */
	uint64_t pool_id;
	uint64_t short_id; /* the pool's, while the thread may take the short way; else 0 */
	pthread_t self;
	/*
	 * Its slots are its own: it empties them with a plain store, saying so in `putting`.  The
	 * first thread that puts a page for it ends that, by `shared`, and waits once for
	 * `putting`; from then on a slot is emptied by compare-and-swap (P6).
	 */
	bool shared;
	bool putting;
	bool exited;
	bool in_callback;	 /* inside pgin, pgout or lg_flush: memp_* is EDEADLK */
	unsigned npins;		 /* blocks below */
	struct pin_block **pins; /* the first of them is */
	struct pin_block first;
	struct block *home; /* first.b: notes and counters */
	unsigned notes;	    /* highest note in use, about */
	unsigned untallied; /* hits since a tally was taken that had to go to the record */
	struct hint_list free[PAGE_SHIFTS];
	unsigned wanted;	       /* so many frames are about to be used at once */
	uint32_t evicted[PAGE_SHIFTS]; /* since another size's extent was looked at */
	uint64_t unoffered;	       /* bytes evicted since it hinted an extent last */
	uint32_t next_offer;	       /* that one's successor */
	struct victims *victims;       /* the pages that it would evict next */
	uint32_t loads;		       /* pages that it brought in */
	uint32_t first_used;	       /* the frame that it used for the first time last */
	uint64_t hits_then;	       /* thread_hits() when it had hit nothing else since */
	uint64_t hits_earned;	       /* thread_hits() that the account has had */
	uint32_t lease;		       /* while the clock stands there, times up to it are */
	uint32_t newest;	       /* this thread's to give; the last that it gave */
	uint8_t *io;		       /* IO_BYTES, allocated when first needed */
};

extern __thread struct thread *thread_last __attribute__((tls_model("initial-exec")));

/*
 * The calling thread's part, if it is at hand and may take the short way: no callback is running,
 * nobody has very many pins, and this is not the child of a fork.  Else NULL.
 */
static inline struct thread *
thread_at_hand(const DB_MPOOL *p)
{
	struct thread *t = thread_last;

	if (unlikely(!p->threaded))
		t = region_is_inherited(p->region) ? NULL : p->single;
	return t != NULL && t->short_id == load_relaxed(&p->short_id) ? t : NULL;
}

/* pgin, pgout or lg_flush is called: what they call of ours is refused. */
static inline void
callback_begin(struct thread *t)
{
	t->in_callback = true;
	t->short_id = 0;
}

static inline void
callback_end(struct thread *t)
{
	t->in_callback = false;
	t->short_id = t->pool_id;
}

/* The calling thread's part of the pool; EAGAIN if the region has no block left. */
int thread_self(DB_MPOOL *p, struct thread **tp);
int thread_spare(DB_MPOOL *p); /* makes p->spare */
void threads_close(DB_MPOOL *p);

/*
 * A thread that does not run any more has one pin less, or has just ended: what is empty of its
 * goes back, and t with the last of it.  Under threads_mutex.
 */
void thread_ended(struct thread *t);

/* Another thread of the process is about to empty slots of t.  Under threads_mutex. */
void thread_share(struct thread *t);

/* A free slot: *slotp in the region, *pinp its private half.  EAGAIN with a sentence if none. */
int slot_take(struct thread *t, uint32_t **slotp, struct pin **pinp);
/* Empty a slot that slot_take gave to this thread. */
void slot_drop(struct thread *t, uint32_t *slot);

/*
 * The slot that slot_take never gives, for a pin of a moment: who has it set waits for nobody, so
 * that what is called meanwhile can have it too.
 */
static inline uint32_t *
slot_of_a_moment(const struct thread *t)
{
	return &t->first.b->slots[0];
}

/* EAGAIN and a sentence if this process's slots name frame f too often. */
int pins_check(const DB_MPOOL *p, uint32_t f);

/*
 * Notes: frames that reap must look at if we die.  Before the first store of our number, which is a
 * compare-and-swap: it orders them.
 */
void note_frame(struct thread *t, uint32_t f);
void note_clear(struct thread *t, uint32_t f);

/* Does some block of that client have value in its note at that offset of struct block? */
bool note_says(const DB_MPOOL *p, uint32_t number, size_t offset, uint32_t value);
#define NOTE_SAYS(p, number, note, value)                                                          \
	note_says((p), (number), offsetof(struct block, note), (value))

static inline void
count(struct thread *t, enum counter c, uint64_t n)
{
	counter_add(&t->home->counters[c], n);
}

uint64_t counter_sum(const DB_MPOOL *p, enum counter c);

/* The set of frames that any slot names, asked for up to BATCH frames at once (P7). */
struct pin_scan {
	uint32_t n;
	uint32_t frames[BATCH];
	bool pinned[BATCH];
};
/* Fill pinned[].  except: a client number whose slots do not count, or NO_CLIENT. */
void pins_scan(const DB_MPOOL *p, struct pin_scan *s, uint32_t except);

#endif
