/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/shlock.c - mutual exclusion over processes, on two words in shared memory.
 *
 * owner is taken by compare-and-swap from 0 and given back by compare-and-swap to 0.  Who waits
 * sleeps on the other word: he makes waiters odd, looks at owner once more, and sleeps while
 * waiters is what he saw.  Who unlocks frees owner first and then, if waiters is odd, raises it
 * and wakes all.  Either the waiter's second look sees the free lock or the owner sees the odd
 * word, and because the word is raised a wake between the look and the sleep is not missed.
 *
 * A waiter may be killed and so may the owner before it wakes anybody: every sleep ends after
 * SLEEP_USEC, and before each one the owner is looked at (R4).
 *
 * The words may be damaged.  An owner that is no client is dead, and any value of waiters means at
 * most a sleep too long.  An owner that lives may yet not be the one.  In a marked lock it is not
 * if the mark is another's, which nobody stores.  Of counted locks each client
 * counts, in its own entry of the table, those that it has or is just taking, and with each that it
 * begins to take it raises the upper half.  A client whose count is 0, while the word names it all
 * the time, has not got the lock, and is treated as dead; that the upper half is still the same
 * after the word was taken over shows that the client has not come in between, or else the word is
 * given back to it.
 */
#include "shlock.h"

#include <errno.h>

#include "../base/atomics.h"
#include "../base/os.h"

#define SPINS 100
#define SLEEP_USEC 100000
#define LOCKS_BEGUN ((uint64_t)1 << 32 | 1) /* raises both halves of struct client.locks */

static uint32_t
owner_word(const struct region *r, bool counted)
{
	POOL_ASSERT(r->self != NO_CLIENT);
	return counted ? r->self + 1 : shlock_mark(r->self);
}

/* May the client that the word names have the lock? */
static bool
owner_is_alive(const struct region *r, uint32_t owner, bool counted)
{
	uint32_t number = counted ? owner - 1 : (owner & SHLOCK_NUMBER) - 1;

	return (counted || shlock_names(owner, number)) && client_is_alive(r, number);
}

static bool
take(struct shlock *l, uint32_t from, uint32_t me)
{
	return cas_seq(&l->owner, &from, me);
}

static void
wake_waiters(struct shlock *l)
{
	uint32_t seen = load_seq(&l->waiters);

	/* If the swap fails another unlocker has raised it, and wakes. */
	if ((seen & 1) != 0 && cas_seq(&l->waiters, &seen, seen + 1))
		os_futex_wake(&l->waiters);
}

/* Sleep until an unlock or for SLEEP_USEC, unless owner has changed from what was seen. */
static void
sleep_for(struct shlock *l, uint32_t owner)
{
	uint32_t seen = load_seq(&l->waiters), odd = seen | 1;

	if (seen != odd && !cas_seq(&l->waiters, &seen, odd))
		return;
	if (load_seq(&l->owner) == owner)
		os_futex_wait(&l->waiters, odd, SLEEP_USEC);
}

static bool
spin(struct shlock *l, uint32_t me)
{
	int i;

	for (i = 0; i < SPINS; i++) {
		if (load_relaxed(&l->owner) == 0 && take(l, 0, me))
			return true;
		cpu_relax();
	}
	return false;
}

/* Around each attempt to have a counted lock, and as long as it is had. */
static void
count_begin(struct region *r, bool counted)
{
	if (counted)
		(void)add_seq(&r->clients[r->self].locks, LOCKS_BEGUN);
}

static void
count_end(struct region *r, bool counted)
{
	if (counted)
		(void)sub_seq(&r->clients[r->self].locks, 1);
}

static bool
take_counting(struct region *r, struct shlock *l, uint32_t from, bool counted)
{
	count_begin(r, counted);
	if (take(l, from, owner_word(r, counted)))
		return true;
	count_end(r, counted);
	return false;
}

/* From a live owner that has not got it.  We are not counted ourselves. */
static bool
take_from_innocent(struct region *r, struct shlock *l, uint32_t owner)
{
	struct client *c = &r->clients[owner - 1];
	uint64_t locks = load_seq(&c->locks);

	if ((uint32_t)locks != 0 || load_seq(&l->owner) != owner || load_seq(&c->locks) != locks)
		return false;
	if (owner == owner_word(r, true))
		locks += LOCKS_BEGUN;
	if (!take_counting(r, l, owner, true))
		return false;
	if (load_seq(&c->locks) == locks)
		return true;
	/* It came after all, and has it. */
	(void)take(l, owner_word(r, true), owner);
	count_end(r, true);
	return false;
}

static int
lock_it(struct region *r, struct shlock *l, bool counted)
{
	uint32_t owner, me = owner_word(r, counted);

	count_begin(r, counted);
	if (take(l, 0, me) || spin(l, me))
		return 0;
	count_end(r, counted);
	for (;;) {
		owner = load_seq(&l->owner);
		if (owner == 0) {
			if (take_counting(r, l, 0, counted))
				return 0;
		} else if (!owner_is_alive(r, owner, counted)) {
			if (take_counting(r, l, owner, counted))
				return EOWNERDEAD;
		} else if (counted && take_from_innocent(r, l, owner))
			return EOWNERDEAD;
		else
			sleep_for(l, owner);
	}
}

/* A word that is not ours was damaged; whoever it names has it now. */
static void
unlock_it(struct region *r, struct shlock *l, bool counted)
{
	if (take(l, owner_word(r, counted), 0))
		wake_waiters(l);
}

int
shlock_lock_marked(struct region *r, struct shlock *l)
{
	return lock_it(r, l, false);
}

int
shlock_lock_counted(struct region *r, struct shlock *l)
{
	return lock_it(r, l, true);
}

void
shlock_unlock_marked(struct region *r, struct shlock *l)
{
	unlock_it(r, l, false);
}

void
shlock_unlock_counted(struct region *r, struct shlock *l)
{
	unlock_it(r, l, true);
	count_end(r, true);
}

bool
shlock_inherit_marked(struct region *r, struct shlock *l, uint32_t number)
{
	return take(l, shlock_mark(number), owner_word(r, false));
}

bool
shlock_inherit_counted(struct region *r, struct shlock *l, uint32_t number)
{
	return take_counting(r, l, number + 1, true);
}

bool
shlock_is_held(const struct region *r, const struct shlock *l)
{
	return load_seq(&l->owner) == owner_word(r, true);
}
