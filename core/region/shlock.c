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
 * SLEEP_USEC, and before each one the owner is looked at (R4).  The words may be damaged: an
 * owner that is no client is dead, and any value of waiters means at most a sleep too long.
 */
#include "shlock.h"

#include <errno.h>

#include "../base/atomics.h"
#include "../base/os.h"

#define SPINS 100
#define SLEEP_USEC 100000

static uint32_t
owner_word(const struct region *r)
{
	POOL_ASSERT(r->self != NO_CLIENT);
	return r->self + 1;
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

int
shlock_lock(struct region *r, struct shlock *l)
{
	uint32_t me = owner_word(r), owner;

	if (take(l, 0, me) || spin(l, me))
		return 0;
	for (;;) {
		owner = load_seq(&l->owner);
		if (owner == 0) {
			if (take(l, 0, me))
				return 0;
		} else if (client_is_alive(r, owner - 1))
			sleep_for(l, owner);
		else if (take(l, owner, me))
			return EOWNERDEAD;
	}
}

void
shlock_unlock(struct region *r, struct shlock *l)
{
	/* A word that is not ours was damaged; whoever it names has it now. */
	if (take(l, owner_word(r), 0))
		wake_waiters(l);
}

bool
shlock_inherit(struct region *r, struct shlock *l, uint32_t number)
{
	return take(l, number + 1, owner_word(r));
}

bool
shlock_is_held(const struct region *r, const struct shlock *l)
{
	return load_seq(&l->owner) == owner_word(r);
}
