/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * idle.pml - locks that are put and taken again without the partition's lock, as core/lock does it
 * (cells.h, L7 to L9, and L2 and L4 as far as they are needed for that).
 *
 * One object and lockers that are processes of their own.  Each gets it in a mode, by the short way
 * or with the partition locked, and puts it; a killer ends some of them between any two steps; who
 * waits for a dead one reaps it, who finds the partition locked by one repairs it; an auditor looks
 * at what remains.  A step is one access to a cell's word, or a change of a list.
 *
 * What must hold, asserted where the letters stand:
 *   I1  what is granted or taken again does not conflict with what another has
 *   I2  while a request waits, every lock is FIRM and none is IDLE (L8)
 *   I3  a lock is its locker's until that puts it
 *   I4  a cell is free once, and what is pushed was on no list
 *   I5  in the end every cell is free, or IDLE and a living locker's, and the lists say the same
 * and nobody waits for ever (spin's invalid end states).
 *
 * Left out: more threads of a locker, and so counted locks (grant_again, soften) and what is first
 * in the queue; changes of mode, NOWAIT, part_sweep, lock_give_up, put_object, the detector,
 * timeouts; more partitions and the reserve; futexes: who waits sees the word, as he does within
 * LOOK_USEC.  So a lock that is granted beside another waiter (FIRM, L8) needs a third locker, and
 * is not looked at.  Each other guard has a defect, BUG_..., that run.sh plants to see that the
 * model notices.
 */
#ifndef OPS
#define OPS 2 /* of each locker */
#endif
#ifndef KILLS
#define KILLS 0
#endif

#define LOCKERS 2
#define CELLS (2 * LOCKERS) /* in each mode one that is kept */
#define AUDITOR LOCKERS

#define READ 0
#define WRITE 1
/* modes_conflict: a is asked for, b is held */
#ifdef ONE_SIDED
#define conflict(a, b) ((a) == WRITE)
#else
#define conflict(a, b) ((a) == WRITE || (b) == WRITE)
#endif

/* --- a cell's word: kind, mode, FIRM, life ------------------------------------------------- */

#define FREE 0
#define HELD 1
#define WAITING 2
#define IDLE 3

#define FIRM 8
#define kind(w) ((w) & 3)
#define mode(w) (((w) >> 2) & 1)
#define life(w) ((w) >> 4)
#define make(k, m, l) ((k) | ((m) << 2) | ((l) << 4))
#define bit(i) (1 << (i))

/* --- shared memory ------------------------------------------------------------------------- */

short word[CELLS];
byte owner[CELLS]; /* u.lock.locker */
byte order[CELLS]; /* u.lock.order */
byte born[CELLS];  /* u.lock.born */
byte lock;	   /* the partition's: locker + 1 */
byte holders;	   /* lists, as sets: of cells that are HELD or IDLE */
byte waiters;	   /* in the order of their requests */
byte free;
byte last_order;

/* --- what is not shared memory ------------------------------------------------------------- */

bool dead[LOCKERS + 1];
bool over[LOCKERS + 1]; /* ended, or dead */
byte taken[LOCKERS];	/* who reaps it: + 1 */
bool reaped[LOCKERS];
byte has[LOCKERS]; /* mode + 1: what it may rely on, until it puts it or has been reaped */
byte kills;

#define lock_is_stale (lock != 0 && dead[lock - 1])
#define can_reap(d) (dead[d] && !reaped[d] && (taken[d] == 0 || dead[taken[d] - 1]))

/* --- what is asserted at each store of a word ---------------------------------------------- */

#define apart(q, l, m) ((q) == (l) || has[q] == 0 || !conflict(m, has[q] - 1))
#define fixed(i) (kind(word[i]) != IDLE && (kind(word[i]) != HELD || (word[i] & FIRM) != 0))
#define waits(i) (kind(word[i]) == WAITING)

#define apart_all(l, m) (apart(0, l, m) && apart(1, l, m))
#define fixed_all (fixed(0) && fixed(1) && fixed(2) && fixed(3))
#define some_wait (waits(0) || waits(1) || waits(2) || waits(3))

inline check_words()
{
	assert(!some_wait || fixed_all)	/* I2 */
}

/* Locker l has it from now on. */
inline granted(l, m)
{
	assert(apart_all(l, m));	/* I1 */
	has[l] = (m) + 1
}

/* --- one access each ----------------------------------------------------------------------- */

/* cell_push */
inline push(x)
{
	atomic {
		assert(!((holders | waiters | free) & bit(x)));	/* I4 */
		word[x] = make(FREE, 0, life(word[x]) + 1)
	};
	free = free | bit(x)
}

/* cell_pop, the first that there is */
inline pop()
{
	atomic {
		c = 0;
		do
		:: c < CELLS && !(free & bit(c)) -> c++
		:: else -> break
		od;
		assert(c < CELLS && kind(word[c]) == FREE);	/* I4 */
		free = free & ~bit(c)
	}
}

/* --- who is in the way, and whose turn it is: with the partition locked -------------------- */

/* claim_blocked: of locker `who` for mode `what`, behind those who asked before `since` */
inline claim_blocked(who, what, since)
{
	blocked = false;
	i = 0;
	do
	:: atomic { i < CELLS && !blocked ->
		w = word[i];
		if
		:: (holders & bit(i)) && owner[i] != who && kind(w) != IDLE &&
		    conflict(what, mode(w)) -> blocked = true
		:: (waiters & bit(i)) && owner[i] != who && order[i] < since &&
		    conflict(what, mode(w)) -> blocked = true
		:: else
		fi;
		i++ }
	:: else -> break
	od;
	atomic { i = 0; w = 0 }
}

/* The first in the queue behind `since`, or CELLS. */
inline next_waiter(since)
{
	d_step {
		j = CELLS;
		i = 0;
		do
		:: i < CELLS ->
			if
			:: (waiters & bit(i)) && order[i] > since &&
			    (j == CELLS || order[i] < order[j]) -> j = i
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0
	}
}

/* object_promote, grant, decide */
inline promote()
{
	next_waiter(0);
	do
	:: j < CELLS ->
		claim_blocked(owner[j], mode(word[j]), order[j]);
		s = order[j];
		if
		:: !blocked ->
			waiters = waiters & ~bit(j);
			atomic {
				word[j] = make(HELD, mode(word[j]), life(word[j])) | FIRM;
				granted(owner[j], mode(word[j]));
				check_words()
			};
			holders = holders | bit(j)
		:: else
		fi;
		next_waiter(s)
	:: else -> break
	od;
	atomic { j = 0; s = 0; blocked = false }
}

/* object_go_on */
inline go_on()
{
#ifndef BUG_NO_GO_ON
	if
	:: waiters != 0 -> promote()
	:: else
	fi
#else
	skip
#endif
}

/* --- firm or gone: with the partition locked ----------------------------------------------- */

/* lock_firm, lock_firm_in; w is its word before that */
inline make_firm(x)
{
#ifdef BUG_FIRM_BLIND
	w = word[x];
	atomic { word[x] = w | FIRM; check_words() }
#else
	atomic { w = word[x]; word[x] = w | FIRM; check_words() }
#endif
}

/* firm_or_gone */
inline firm_or_gone(x)
{
#ifdef BUG_REVOKE_BLIND
	w = word[x];
	if
	:: kind(w) != IDLE -> make_firm(x)
	:: else
	fi;
#else
	make_firm(x);
#endif
	assert(kind(w) == HELD || kind(w) == IDLE);
	if
	:: kind(w) == IDLE ->
		atomic { word[x] = make(FREE, 0, life(w) + 1); check_words() };
#ifdef BUG_REVOKE_LINKED
		free = free | bit(x)
#else
		holders = holders & ~bit(x);
		push(x)
#endif
	:: else
	fi
}

/* is_rival */
#ifdef BUG_WAY_ONE_SIDED
#define crosses(w, m) conflict(m, mode(w))
#else
#define crosses(w, m) (conflict(m, mode(w)) || conflict(mode(w), m))
#endif
#define is_rival(x, m)                                                                             \
	((owner[x] == me && kind(word[x]) == IDLE && mode(word[x]) == (m)) ||                      \
	    (owner[x] != me && crosses(word[x], m)))

/* settle_holders; all: not only those that are rivals of a claim for m */
inline settle_holders(all, m)
{
	i = 0;
	do
	:: i < CELLS ->
		if
#ifdef BUG_IDLE_LEFT
		:: (holders & bit(i)) && (is_rival(i, m) || (all && kind(word[i]) != IDLE)) ->
#else
		:: (holders & bit(i)) && (all || is_rival(i, m)) ->
#endif
			firm_or_gone(i)
		:: else
		fi;
		i++
	:: else -> break
	od;
	atomic { i = 0; w = 0; ok = false }
}

/* object_make_way */
inline make_way(m)
{
#ifndef BUG_NO_WAY
	if
	:: waiters == 0 -> settle_holders(false, m)
	:: else
	fi
#else
	skip
#endif
}

/* object_make_firm */
inline make_all_firm()
{
#ifndef BUG_NO_FIRM
	if
	:: waiters == 0 -> settle_holders(true, 0)
	:: else
	fi
#else
	skip
#endif
}

/* --- death --------------------------------------------------------------------------------- */

/* part_repair: three walks */
inline repair()
{
	atomic { holders = 0; waiters = 0; free = 0; i = 0 };
	do
	:: i < CELLS ->
		if
		:: kind(word[i]) == FREE -> push(i)
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	do
	:: atomic { i < CELLS ->
		if
#ifdef BUG_REPAIR_NO_IDLE
		:: kind(word[i]) == HELD -> holders = holders | bit(i)
#else
		:: kind(word[i]) == HELD || kind(word[i]) == IDLE -> holders = holders | bit(i)
#endif
		:: kind(word[i]) == WAITING -> waiters = waiters | bit(i)
		:: else
		fi;
		i++ }
	:: else -> break
	od;
	i = 0;
#ifndef BUG_REPAIR_NO_GO_ON
	promote()
#endif
}

/* part_lock */
inline part_lock()
{
	if
	:: atomic { lock == 0 -> lock = me + 1 }
	:: atomic { lock_is_stale -> lock = me + 1 };
#ifndef BUG_NO_REPAIR
		repair()
#endif
	fi
}

inline part_unlock()
{
	lock = 0
}

/* lock_release: take_off, free_lock, object_go_on */
inline release(x)
{
	atomic { holders = holders & ~bit(x); waiters = waiters & ~bit(x) };
	push(x);
	go_on()
}

/* reap_client_locks: settle_parts, then release_cell for each of its cells */
inline reap(d)
{
	atomic {
		if
		:: can_reap(d) -> taken[d] = me + 1; ok = true
		:: else -> ok = false
		fi
	};
	if
	:: ok ->
		ok = false;
		if
		:: lock == d + 1 -> part_lock(); part_unlock()
		:: else
		fi;
		r = 0;
		do
		:: r < CELLS ->
			if
			:: kind(word[r]) != FREE && owner[r] == d ->
				part_lock();
				if
				:: kind(word[r]) != FREE && owner[r] == d ->
					has[d] = (kind(word[r]) == HELD -> 0 : has[d]);
					release(r)
				:: else
				fi;
				part_unlock()
			:: else
			fi;
			r++
		:: else -> break
		od;
		has[d] = 0;
		atomic { r = 0; reaped[d] = true; taken[d] = 0 }
	:: else
	fi
}

/* --- get ----------------------------------------------------------------------------------- */

#define GRANTED 1
#define QUEUED 2

/* take: its word, in whose life it was granted first, and the word is the same still */
inline retake()
{
	atomic { c = kept[m] - 1; w = word[c]; h = life(w) };
#ifdef BUG_RETAKE_BLIND
	ok = kind(w) == IDLE && mode(w) == m;
#else
#ifdef BUG_RETAKE_FIRM
	ok = (w & ~FIRM) == make(IDLE, m, h) && born[c] == kept_born[m];
#else
	ok = w == make(IDLE, m, h) && born[c] == kept_born[m];
#endif
#endif
	atomic {
		if
		:: ok && word[c] == w ->
			h++;
			word[c] = make(HELD, m, h);
			granted(me, m);
			check_words();
			assert(owner[c] == me);	/* I3 */
			answer = GRANTED
		:: else -> c = 0; h = 0
		fi;
		ok = false;
		w = 0
	}
}

/* lock_create, without the list */
inline create(k)
{
	pop();
#ifndef BUG_WORD_FIRST
	owner[c] = me;
#endif
	born[c] = life(word[c]);
	atomic { last_order++; order[c] = last_order };
	atomic {
		h = life(word[c]);
		word[c] = make(k, m, h);
		if
		:: k == HELD ->
			if
			:: waiters != 0 -> word[c] = word[c] | FIRM
			:: else
			fi;
			granted(me, m)
		:: else
		fi;
		check_words()
	}
#ifdef BUG_WORD_FIRST
	;
	owner[c] = me
#endif
}

/* attempt_at, refuse_or_queue, grant_new; what is queued is not kept (outcome_new) */
inline attempt()
{
	part_lock();
	make_way(m);
	claim_blocked(me, m, 255);
	if
	:: !blocked ->
		create(HELD);
		holders = holders | bit(c);
		atomic { answer = GRANTED; kept[m] = c + 1; kept_born[m] = h }
	:: blocked ->
#ifdef BUG_QUEUE_FIRST
		create(WAITING);
		make_all_firm();
#else
		make_all_firm();
		create(WAITING);
#endif
		waiters = waiters | bit(c);
		answer = QUEUED
	fi;
	blocked = false;
	part_unlock()
}

/* A dead one in the way of our request in c: find_blockers. */
#define blocks(i)                                                                                  \
	(kind(word[i]) != FREE && owner[i] != me && can_reap(owner[i]) &&                          \
	    conflict(m, mode(word[i])) &&                                                          \
	    (kind(word[i]) == HELD || (kind(word[i]) == WAITING && order[i] < order[c])))

/* wait_for_grant, request_look */
inline wait_for_grant()
{
	do
	:: atomic { kind(word[c]) != WAITING -> answer = GRANTED; break }
	:: kind(word[c]) == WAITING && lock_is_stale -> part_lock(); part_unlock()
	:: atomic { kind(word[c]) == WAITING && blocks(0) -> d = owner[0] }; reap(d)
	:: atomic { kind(word[c]) == WAITING && blocks(1) -> d = owner[1] }; reap(d)
	:: atomic { kind(word[c]) == WAITING && blocks(2) -> d = owner[2] }; reap(d)
	:: atomic { kind(word[c]) == WAITING && blocks(3) -> d = owner[3] }; reap(d)
	od;
	assert(kind(word[c]) == HELD && life(word[c]) == h);	/* I3 */
	d = 0
}

inline get()
{
	if
	:: kept[m] != 0 -> retake()
	:: else
	fi;
	if
	:: answer == 0 -> attempt()
	:: else
	fi;
	if
	:: answer == QUEUED -> wait_for_grant()
	:: else
	fi
}

/* --- put ----------------------------------------------------------------------------------- */

/* keep: ok, or it is FIRM */
inline idle()
{
	atomic {
		ok = false;
		if
#ifdef BUG_IDLE_FIRM
		:: (word[c] & ~FIRM) == make(HELD, m, h) ->
#else
		:: word[c] == make(HELD, m, h) ->
#endif
			has[me] = 0;
			word[c] = make(IDLE, m, h);
			ok = true;
			check_words()
		:: else
		fi
	}
}

/* lock_put_one */
inline put_one()
{
#ifndef BUG_PUT_UNLOCKED
	part_lock();
#endif
	atomic { assert(kind(word[c]) == HELD && life(word[c]) == h && owner[c] == me) };	/* I3 */
	make_firm(c);
	has[me] = 0;
	release(c);
#ifndef BUG_PUT_UNLOCKED
	part_unlock();
#endif
	kept[m] = (kept[m] == c + 1 -> 0 : kept[m])
}

inline put()
{
	idle();
	if
	:: ok -> ok = false
	:: else -> put_one()
	fi
}

/* --- processes ----------------------------------------------------------------------------- */

#define LOCALS                                                                                     \
	byte c, d, h, i, j, m, r, s, answer, ops;                                                   \
	short w;                                                                                   \
	bool ok, blocked

proctype locker(byte me)
{
	LOCALS;
	byte kept[2];	   /* own.c: the cell + 1 of the lock in that mode */
	byte kept_born[2]; /* its life when it was granted first */
	{
		do
		:: ops < OPS ->
			ops++;
			if
			:: m = READ; get()
			:: m = WRITE; get()
			fi;
			put();
			atomic { c = 0; h = 0; m = 0; w = 0; answer = 0; ok = false }
		:: else -> break
		od;
		over[me] = true
	} unless { dead[me] }
}

proctype killer()
{
	byte v;

	do
	:: kills < KILLS ->
		if
		:: v = 0
		:: v = 1
		fi;
		d_step {
			if
			:: !over[v] -> dead[v] = true; over[v] = true; kills++
			:: else
			fi;
			v = 0
		}
	:: true -> break
	od
}

#define all_over (over[0] && over[1])

inline check_cell(x)
{
	assert(kind(word[x]) == FREE || kind(word[x]) == IDLE);				/* I5 */
	assert((kind(word[x]) == FREE) == ((free & bit(x)) != 0));			/* I5 */
	assert((kind(word[x]) == IDLE) == ((holders & bit(x)) != 0));			/* I5 */
	assert(kind(word[x]) == FREE || !dead[owner[x]])				/* I5 */
}

proctype auditor()
{
	LOCALS;
	byte me = AUDITOR;

	all_over;
	do
	:: d < LOCKERS ->
		if
		:: can_reap(d) -> reap(d)
		:: else
		fi;
		d++
	:: else -> break
	od;
	true;
	d_step {
		assert(lock == 0 && waiters == 0);	/* I5 */
		i = 0;
		do
		:: i < CELLS -> check_cell(i); i++
		:: else -> break
		od;
		i = 0
	}
}

init
{
	atomic {
		free = bit(CELLS) - 1;
		run locker(0);
		run locker(1);
#if KILLS > 0
		run killer();
#endif
		run auditor()
	}
}
