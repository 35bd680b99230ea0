/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/client.c - the table of clients: taking a number, who is alive, taking over the dead.
 *
 * The kernel decides who is alive (R4): a client's byte is locked by its open file description,
 * and the lock goes when the process does.  The table says only what is to be done about a
 * number: FREE, LIVE, or REAPING by somebody.  state and reaper change together, as one 64-bit
 * word, by compare-and-swap; the other fields are for people, written by whoever has the number.
 *
 * A number leaves FREE only under REGION_BYTE and with its byte locked.  It comes back to FREE by
 * its owner at detach, or by its reaper when nothing names it any more.
 *
 * Who has a segment locks SEGMENT_BYTE too, so that whoever removes the file by force knows that
 * there is one, whatever the file's bytes say.
 *
 * Most of a large table was never used, and looking at it would give memory to all of it; so
 * clients_used says where that begins.  It only ever rises, before the number below it is taken.
 * Who counts the living asks the kernel about the rest in one question, and if the word is damaged
 * it is put right.
 *
 * The last eighth of the table is given out only while dead clients wait to be reaped: if all
 * processes of a full table are killed, the next one still finds a number and can clean up.
 */
#include "region_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../base/atomics.h"

/* state and reaper of a struct client as one word, whatever the byte order. */
union client_state_word {
	struct {
		uint32_t state;
		uint32_t reaper;
	} part;
	uint64_t word;
};

typedef uint64_t __attribute__((may_alias)) aliased_u64;

static_assert(offsetof(struct client, state) == 0, "state and reaper are one aligned word");
static_assert(offsetof(struct client, reaper) == 4, "state and reaper are one aligned word");

static union client_state_word
state_load(struct client *c)
{
	return (union client_state_word){ .word = load_seq((aliased_u64 *)&c->state) };
}

static bool
state_cas(struct client *c, union client_state_word from, uint32_t state, uint32_t reaper)
{
	union client_state_word to = { .part = { state, reaper } };

	return cas_seq((aliased_u64 *)&c->state, &from.word, to.word);
}

static void
state_store(struct client *c, uint32_t state)
{
	union client_state_word to = { .part = { state, 0 } };

	store_seq((aliased_u64 *)&c->state, to.word);
}

int
client_any_locked(int fd, bool *anyp)
{
	return os_lock_test_range(fd, CLIENT_BYTE, CLIENTS_MAX, anyp);
}

/* If the kernel cannot be asked, say alive: nothing is taken from a client that may live. */
static bool
byte_is_locked(const struct region *r, uint32_t number)
{
	bool taken;

	return os_lock_test(r->fd, CLIENT_BYTE + number, &taken) != 0 || taken;
}

bool
client_is_alive(const struct region *r, uint32_t number)
{
	if (number >= r->nclients)
		return false;
	if (number == r->self)
		return true;
	if (r->is_private || state_load(&r->clients[number]).part.state == CLIENT_FREE)
		return false;
	return byte_is_locked(r, number);
}

uint32_t
client_end(const struct region *r)
{
	uint32_t used = load_acquire(&r->layout->clients_used);

	return used > 0 && used <= r->nclients ? used : r->nclients;
}

/* The same, if nobody lives from there on. */
static uint32_t
verified_end(struct region *r)
{
	uint32_t end = client_end(r);
	bool taken;

	if (r->is_private || end == r->nclients)
		return end;
	if (os_lock_test_range(r->fd, CLIENT_BYTE + end, r->nclients - end, &taken) == 0 && !taken)
		return end;
	store_seq(&r->layout->clients_used, r->nclients);
	return r->nclients;
}

uint32_t
client_count_others(struct region *r)
{
	uint32_t i, n = 0, end = verified_end(r);

	for (i = 0; i < end; i++)
		if (i != r->self && client_is_alive(r, i))
			n++;
	return n;
}

uint32_t
client_count(struct region *r)
{
	uint32_t n = client_count_others(r) + (r->self != NO_CLIENT);

	store_relaxed(&r->layout->refcnt, n);
	return n;
}

/* --- the own number ------------------------------------------------------------------------ */

/* /proc is slow to ask, and the answer stays until a fork. */
static uint64_t
own_start_ticks(void)
{
	static __thread uint64_t asked, ticks; /* asked in that generation + 1 */
	uint64_t now = (uint64_t)os_fork_generation() + 1;

	if (asked != now) {
		ticks = os_process_start(getpid());
		asked = now;
	}
	return ticks;
}

static void
client_describe(struct client *c)
{
	c->pid = (int32_t)getpid();
	c->uid = (uint32_t)geteuid();
	c->start_ticks = own_start_ticks();
	c->attached_usec = os_now_usec();
	/* It has no lock; how often it began to take one goes on (shlock.c). */
	c->locks &= ~(uint64_t)UINT32_MAX;
	memset(c->name, 0, sizeof(c->name));
	strncpy(c->name, program_invocation_short_name, sizeof(c->name) - 1);
}

static void
client_clear(struct client *c)
{
	c->pid = 0;
	c->uid = 0;
	c->start_ticks = 0;
	c->attached_usec = 0;
	memset(c->name, 0, sizeof(c->name));
}

/* Number was a reaper's in an earlier life: what that one had claimed is nobody's now. */
static void
drop_claims(struct region *r, uint32_t number)
{
	uint32_t i, end = client_end(r);

	for (i = 0; i < end; i++) {
		union client_state_word w = state_load(&r->clients[i]);

		if (w.part.state == CLIENT_REAPING && w.part.reaper == number + 1)
			(void)state_cas(&r->clients[i], w, CLIENT_LIVE, 0);
	}
}

/*
 * *tookp: the number is ours now.  A byte can be locked though the number is FREE: by a child
 * that was forked without the library's knowledge, or by an owner that is just leaving.
 */
static int
take_number(struct region *r, uint32_t number, bool *tookp)
{
	struct client *c = &r->clients[number];
	union client_state_word w = state_load(c);
	int ret;

	POOL_ASSERT(number < r->nclients && r->fd != -1);
	*tookp = false;
	if (w.part.state != CLIENT_FREE)
		return 0;
	if ((ret = os_lock_try(r->fd, CLIENT_BYTE + number)) != 0)
		return ret == EAGAIN ? 0 : ret;
	if (number >= client_end(r))
		store_seq(&r->layout->clients_used, number + 1);
	drop_claims(r, number);
	client_describe(c);
	if (state_cas(c, w, CLIENT_LIVE, 0)) {
		r->self = number;
		*tookp = true;
	} else
		os_unlock(r->fd, CLIENT_BYTE + number);
	return 0;
}

static bool
somebody_is_dead(const struct region *r)
{
	uint32_t i;

	for (i = 0; i < r->nclients; i++)
		if (state_load(&r->clients[i]).part.state != CLIENT_FREE && !client_is_alive(r, i))
			return true;
	return false;
}

static int
take_from(struct region *r, uint32_t first, uint32_t end)
{
	bool took = false;
	uint32_t i;
	int ret = 0;

	for (i = first; i < end && ret == 0 && !took; i++)
		ret = take_number(r, i, &took);
	return ret == 0 && !took ? EAGAIN : ret;
}

int
client_take(struct region *r)
{
	uint32_t ordinary = r->nclients - r->nclients / 8;
	int ret;

	POOL_ASSERT(r->self == NO_CLIENT && r->clients != NULL && r->nclients > 0);
	if (r->is_private) {
		client_describe(&r->clients[0]);
		state_store(&r->clients[0], CLIENT_LIVE);
		r->self = 0;
		return 0;
	}
	if (r->is_system && (ret = os_lock_share(r->fd, SEGMENT_BYTE)) != 0)
		return ret;
	ret = take_from(r, 0, ordinary);
	if (ret == EAGAIN && somebody_is_dead(r))
		ret = take_from(r, ordinary, r->nclients);
	return ret;
}

void
client_leave(struct region *r)
{
	struct client *c;

	if (r->self == NO_CLIENT)
		return;
	POOL_ASSERT(r->self < r->nclients);
	c = &r->clients[r->self];
	client_clear(c);
	/* Not compare-and-swap: a reaper that takes us for dead must lose. */
	state_store(c, CLIENT_FREE);
	r->self = NO_CLIENT;
}

/* --- the dead ------------------------------------------------------------------------------ */

bool
client_claim_dead(struct region *r, uint32_t number)
{
	union client_state_word from, mine = { .part = { CLIENT_REAPING, r->self + 1 } };
	struct client *c;

	if (r->is_private || number >= r->nclients || number == r->self)
		return false;
	c = &r->clients[number];
	from = state_load(c);
	if (from.part.state == CLIENT_FREE || byte_is_locked(r, number))
		return false;
	/* An own claim is another thread's of this process.  A reaper of a state that does not
	 * exist, or that is not in the table, is damage and as good as dead. */
	if (from.part.state == CLIENT_REAPING && from.part.reaper != 0 &&
	    client_is_alive(r, from.part.reaper - 1))
		return false;
	if (!state_cas(c, from, mine.part.state, mine.part.reaper))
		return false;
	/*
	 * Between the question and the swap another reaper may have finished and a new process
	 * have taken the number.  Now that the state is not FREE nobody can take it any more, so
	 * this second answer stands.
	 */
	if (byte_is_locked(r, number)) {
		(void)state_cas(c, mine, CLIENT_LIVE, 0);
		return false;
	}
	return state_load(c).word == mine.word;
}

void
client_free(struct region *r, uint32_t number)
{
	union client_state_word mine = { .part = { CLIENT_REAPING, r->self + 1 } };

	if (number >= r->nclients || state_load(&r->clients[number]).word != mine.word)
		return;
	client_clear(&r->clients[number]);
	(void)state_cas(&r->clients[number], mine, CLIENT_FREE, 0);
}
