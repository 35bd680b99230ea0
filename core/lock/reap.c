/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/reap.c - what a dead process left in the table: its locks are released, its requests
 * withdrawn, its lockers free.
 *
 * The kernel says who is dead (region/client.c).  First the partitions that it died in are put in
 * order, then every cell that names it is taken away in the ordinary manner, so that whoever
 * waits is granted; its number is free when no cell has it any more.  A reaper that dies leaves a
 * smaller rest to the next one.
 */
#include "table.h"

/* Nobody else would look into a partition that is not used again. */
static void
settle_parts(DB_LOCKTAB *lt, uint32_t number)
{
	for (uint32_t part = 0; part <= RESERVE; part++)
		if (shlock_names(load_seq(&lt->parts[part].lock.owner), number) &&
		    part_lock(lt, part) == 0)
			part_unlock(lt, part);
}

static int
release_lock(DB_LOCKTAB *lt, struct lock_cell *c, struct lock_part *p, struct wakes *wakes)
{
	uint64_t w = load_relaxed(&c->word);

	if (word_kind(w) == CELL_HELD)
		p->nreleases += c->u.lock.count;
	else if (word_kind(w) == CELL_IDLE)
		p->nreleases++;
	else if (word_kind(w) != CELL_RELEASED && word_kind(w) != CELL_CHANGED)
		p->nrefused++;
	if (kind_is_holder(word_kind(w)) || word_kind(w) == CELL_WAITING)
		return lock_release(lt, c, wakes);
	lock_dispose(lt, c, word_part(w));
	return 0;
}

static void
release_locker(DB_LOCKTAB *lt, struct lock_cell *c)
{
	cell_push(lt, RESERVE, c);
	if (lt->table->nlockers > 0)
		lt->table->nlockers--;
}

static bool
names_client(const struct lock_cell *c, uint64_t w, uint32_t number)
{
	if (kind_is_lock(word_kind(w)))
		return word_part(w) < LOCK_PARTS && c->u.lock.client == number;
	return word_kind(w) == CELL_LOCKER && word_part(w) == RESERVE &&
	    c->u.locker.client == number;
}

static void
release_cell(DB_LOCKTAB *lt, struct lock_cell *c, uint32_t number)
{
	uint64_t w = load_acquire(&c->word);
	uint32_t part = word_part(w);
	struct wakes wakes = { 0 };

	if (!names_client(c, w, number) || part_lock(lt, part) != 0)
		return;
	w = load_relaxed(&c->word);
	if (names_client(c, w, number) && word_part(w) == part) {
		if (part == RESERVE)
			release_locker(lt, c);
		else
			(void)release_lock(lt, c, &lt->parts[part], &wakes);
	}
	part_unlock(lt, part);
	wake_now(&wakes);
}

/* The locks first: each has its locker as long as it is there. */
void
release_client(DB_LOCKTAB *lt, uint32_t number)
{
	struct lock_cell *c;

	for (int lockers = 0; lockers <= 1; lockers++)
		for (uint32_t i = 1; (c = cell_at(lt, i)) != NULL; i++)
			if ((word_kind(load_relaxed(&c->word)) == CELL_LOCKER) == lockers)
				release_cell(lt, c, number);
}

/* False: it is alive, or another's to reap. */
static bool
reap_client_locks(DB_LOCKTAB *lt, uint32_t number)
{
	struct region *r = lt->region;

	if (number == lt->self || client_is_alive(r, number) || !client_claim_dead(r, number))
		return false;
	env_event(lt->dbenv, "%s: releasing the locks of process %d (client %u)", r->path,
	    load_relaxed(&r->clients[number].pid), number);
	settle_parts(lt, number);
	release_client(lt, number);
	(void)add_seq(&lt->table->nreaped, 1);
	client_free(r, number);
	return true;
}

unsigned
reap_set(DB_LOCKTAB *lt, const struct client_set *clients)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < LOCK_CLIENTS / 64; i++)
		for (uint64_t bits = clients->bits[i]; bits != 0; bits &= bits - 1)
			n += reap_client_locks(lt, i * 64 + (uint32_t)__builtin_ctzll(bits));
	return n;
}

/* Many wait for the same holder: one of them asks for all.  What is noted is a hint. */
static bool
was_asked_lately(DB_LOCKTAB *lt, uint32_t number)
{
	uint32_t now = (uint32_t)(os_monotonic_usec() / 1000);

	if (now - load_relaxed(&lt->asked[number]) < LOOK_USEC / 1000)
		return true;
	store_relaxed(&lt->asked[number], now);
	(void)add_relaxed(&lt->nasked, 1);
	return false;
}

unsigned
reap_set_again(DB_LOCKTAB *lt, const struct client_set *clients)
{
	struct client_set due = { 0 };

	for (uint32_t i = 0; i < LOCK_CLIENTS / 64; i++)
		for (uint64_t bits = clients->bits[i]; bits != 0; bits &= bits - 1) {
			uint32_t number = i * 64 + (uint32_t)__builtin_ctzll(bits);

			if (number != lt->self && !was_asked_lately(lt, number))
				due.bits[i] |= bits & -bits;
		}
	return reap_set(lt, &due);
}

void
reap_everybody(DB_LOCKTAB *lt)
{
	uint32_t end = client_end(lt->region);

	for (uint32_t i = 0; i < end; i++)
		if (load_relaxed(&lt->region->clients[i].state) != CLIENT_FREE)
			(void)reap_client_locks(lt, i);
}
