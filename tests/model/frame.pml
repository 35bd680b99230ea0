/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame.pml - the life of a page in the pool, as core/pool does it (core/README.md, P1 to P18).
 *
 * Workers get, change and put pages, evict, write back and fsync; a killer ends some of them
 * between any two steps; whoever meets what the dead left takes it over, and may be killed doing
 * that; an auditor looks at what remains.  A step is one access to shared memory, as the code's
 * are.  A page's content is one bit for each worker, which it flips when it changes the page, so
 * that a lost update shows as a wrong bit.
 *
 * What must hold, asserted where the letters stand:
 *   I1  a page that is pinned stays in its frame until the slot is cleared
 *   I2  at most one frame holds a page
 *   I3  an acknowledged change is in every page handed out, and at last in the pool or on disk
 *   I4  after fsync the disk has what was acknowledged before
 *   I5  a page that is not dirty is what the disk has, or suspect: a survivor had it pinned beside
 *       the dead who was changing it, or it was on its way to the disk
 *   I6  after reaping nothing of the dead is left, and every frame is free or valid
 *   I7  a dirty frame is in the dirty index
 * and nobody waits for ever: before the auditor is through, somebody can take a step.
 *
 * One who is killed stays where he is.  What concerns a process alone is nobody else's step, so
 * that spin need not try it in every order; all that others see is in a step() of its own.
 *
 * Left out: batches, futex wake-ups, page sizes, the file table, DB_MPOOL_CLEAN (P5), puts by other
 * threads (P6), reuse of client numbers, memory orders weaker than x86's; truncation is in
 * truncate.pml.  STORE_BUFFER: a slot's store reaches the others late, and
 * is waited for; with MEMBARRIER it is not: who scans sees to it.  Each guard has a defect,
 * BUG_..., that run.sh plants to see that the model notices.
 */
#ifndef OPS
#define OPS 2 /* of each worker */
#endif
#ifndef KILLS
#define KILLS 1
#endif

#define WORKERS 2
#define FRAMES 2
#define PAGES 2
#define AUDITOR WORKERS
#define THREADS (WORKERS + 1)
#define NOBODY 0

/* --- the frame's word: state, owner + 1, bits, version ------------------------------------- */

#define FREE 0
#define CLAIMED 1
#define LOADING 2
#define VALID 3
#define EVICTING 4
#define COPYING 5
#define WRITING 6

#define DIRTY 32
#define INDEXED 64
#define VERSION_ONE 128
#define VERSIONS 128 /* one bit: no more than two marks of a worker are in play */
#define SUSPECT 256

#define state(w) ((w) & 7)
#define owner(w) (((w) >> 3) & 3)
#define with(w, s, o) (((w) & ~31) | (s) | ((o) << 3))
#define marked(w, s, o) (with((w) & ~VERSIONS, s, o) | (((w) + VERSION_ONE) & VERSIONS))
#define is_page(w) (state(w) >= VALID)
#define is_spoilt(w) (((w) & SUSPECT) && !((w) & DIRTY))

/* The dead take no step.  What they only read, or reckon, is seen by nobody. */
#define step(...) atomic { !dead[me]; __VA_ARGS__ }

/* --- shared memory ------------------------------------------------------------------------- */

short word[FRAMES];
byte key[FRAMES];   /* page + 1 */
byte cell[FRAMES];  /* the page table: the page + 1 whose entry leads to this frame */
byte index[FRAMES]; /* the dirty index: a count */
byte data[FRAMES];
byte bucket[PAGES]; /* who locks it: worker + 1 */
byte slot[THREADS]; /* frame + 1 */
byte noted[THREADS];	   /* a bit for each frame that it may be changing */
byte note_bucket[THREADS]; /* page + 1 */

#ifdef STORE_BUFFER
#define EMPTY 255
byte buffered[THREADS] = EMPTY; /* a store to the slot that others do not see yet */
#endif

/* --- what is not shared memory ------------------------------------------------------------- */

byte disk[PAGES];
bool dead[THREADS];   /* the kernel dropped its byte lock */
byte taken[THREADS];  /* who reaps it: worker + 1 */
bool reaped[THREADS];
bool over[THREADS];   /* ended, or dead */
byte kills;

/* What was promised: each worker's bit as its last put left it. */
byte acked[PAGES];
byte unsure[PAGES];	/* of those who died between change and put */
byte changing[THREADS]; /* page + 1 */

#define bit(me) (1 << (me))
#define in_change(q, k) ((changing[q] == (k) + 1) << (q))
#define settled(k) (3 & ~unsure[k] & ~in_change(0, k) & ~in_change(1, k))

/* --- one access each ----------------------------------------------------------------------- */

/* ok: it was exactly old, and is new now.  w is what it was otherwise. */
inline cas(old, new)
{
	step(
		if
		:: word[f] == (old) -> word[f] = (new); ok = true
		:: else -> w = word[f]; ok = false
		fi
	)
}

/* frame_leave: from my state, other bits kept. */
inline leave(from, to)
{
	step(
		if
		:: state(word[f]) == from && owner(word[f]) == me + 1 ->
			word[f] = with(word[f], to, NOBODY); ok = true
		:: else -> ok = false
		fi
	)
}

inline note(x)
{
	step(noted[me] = noted[me] | (1 << (x)))
}

inline unnote(x)
{
	step(noted[me] = noted[me] & ~(1 << (x)))
}

/* frame_free */
inline free(x)
{
	step(
		if
		:: state(word[x]) == CLAIMED && owner(word[x]) == me + 1 ->
			word[x] = word[x] & VERSIONS
		:: else
		fi
	);
	unnote(x)
}

/* table_withdraw */
inline withdraw(x)
{
	step(
		if
		:: cell[x] == key[x] -> cell[x] = 0
		:: else
		fi
	)
}

/* dirty_unindex */
inline unindex()
{
	w = word[f];
	do
	:: (w & INDEXED) && !((w & DIRTY) && state(w) != CLAIMED) ->
		cas(w, w & ~INDEXED);
		if
		:: ok -> step(index[f] = index[f] - 1); break
		:: else
		fi
	:: else -> break
	od;
	if
	:: state(w) == CLAIMED -> step(index[f] = 0)
	:: else
	fi
}

#ifdef STORE_BUFFER
/* membarrier(2): each processor in its turn empties its store buffer. */
inline barrier()
{
	q = 0;
	do
	:: atomic { q < THREADS && !dead[me] ->
		if
		:: buffered[q] != EMPTY -> slot[q] = buffered[q]; buffered[q] = EMPTY
		:: else
		fi;
		q++ }
	:: q == THREADS -> break
	od
}
#endif

/* pins_scan, a slot a step, without that of `except`. */
inline scan(except)
{
#if defined(MEMBARRIER) && !defined(BUG_NO_BARRIER)
	barrier();
#endif
	pinned = false;
	q = 0;
	do
	:: atomic { q < THREADS && !dead[me] ->
		if
		:: q != except && slot[q] == f + 1 -> pinned = true
		:: else
		fi;
		q++ }
	:: q == THREADS -> break
	od;
	q = 0
}

inline slot_set(v)
{
#ifdef STORE_BUFFER
	atomic { buffered[me] == EMPTY && !dead[me] -> buffered[me] = v };
#if !defined(BUG_NO_FENCE) && !defined(MEMBARRIER)
	buffered[me] == EMPTY
#endif
#else
	step(slot[me] = v)
#endif
}

inline slot_clear()
{
#ifdef STORE_BUFFER
	atomic { buffered[me] == EMPTY && !dead[me] -> buffered[me] = 0 }
#else
	step(slot[me] = 0)
#endif
}

/* --- eviction (P7) ------------------------------------------------------------------------- */

/* From exactly the mark m to CLAIMED; then the entry goes; then FREE.  ok: it is gone. */
inline take_out()
{
#ifdef BUG_CLAIM_BLIND
	step(
		if
		:: state(word[f]) == EVICTING && owner(word[f]) == me + 1 ->
			word[f] = with(word[f], CLAIMED, me + 1); ok = true
		:: else -> ok = false
		fi
	);
#else
	cas(m, with(m, CLAIMED, me + 1));
#endif
	if
	:: ok ->
		unindex();
#ifdef BUG_FREE_FIRST
		free(f);
		withdraw(f);
#else
		withdraw(f);
		free(f);
#endif
		ok = true
	:: else
	fi
}

#ifdef BUG_EVICT_WRITING
#define evictable(w) ((state(w) == VALID || state(w) == WRITING) && !((w) & DIRTY))
#else
#define evictable(w) (state(w) == VALID && !((w) & DIRTY))
#endif

/* Of the frame f, whose word w was read: ok if it is gone; else pinned says whether by a pin. */
inline evict_but(except)
{
	note(f);
#ifdef BUG_SCAN_FIRST
	scan(except);
#endif
	m = marked(w, EVICTING, me + 1);
	cas(w, m);
	if
	:: ok ->
#ifndef BUG_SCAN_FIRST
		scan(except);
#endif
		ok = false;
		if
		:: !pinned -> take_out()
		:: else
		fi;
		if
		:: !ok ->
			leave(EVICTING, VALID);
			unnote(f);
			ok = false
		:: else
		fi
	:: else -> unnote(f)
	fi;
	m = 0
}

inline evict(x)
{
	atomic { f = x; w = word[f] };
	if
	:: evictable(w) -> evict_but(THREADS)
	:: else -> ok = false
	fi;
	atomic { w = 0; pinned = false; f = 0 }
}

/* --- death (P15 to P17) -------------------------------------------------------------------- */

#define can_reap(d) (dead[d] && !reaped[d] && (taken[d] == 0 || dead[taken[d] - 1]))

inline undo_load()
{
	note(f);
	cas(w, with(w, CLAIMED, me + 1));
	if
	:: ok ->
#ifdef BUG_REAP_WITHDRAW_BLIND
		step(if :: cell[1 - f] == key[f] -> cell[1 - f] = 0 :: else fi);
#endif
		withdraw(f);
		unindex();
		free(f)
	:: else -> unnote(f)
	fi
}

inline undo_write()
{
#ifdef BUG_REAP_WRITE_CLEAN
	cas(w, with(w, VALID, NOBODY))
#else
	if
	:: w & INDEXED -> cas(w, with(w, VALID, NOBODY) | DIRTY)
	:: else -> cas(w, with(w, VALID, NOBODY))
	fi
#endif
}

/* undo_frame */
inline undo_frame(d)
{
	w = word[f];
	if
	:: owner(w) == d + 1 && (state(w) == CLAIMED || state(w) == LOADING) -> any = true; undo_load()
	:: owner(w) == d + 1 && (state(w) == EVICTING || state(w) == COPYING) ->
		any = true; cas(w, with(w, VALID, NOBODY))
	:: owner(w) == d + 1 && state(w) == WRITING -> any = true; undo_write()
	:: else
	fi
}

inline undo_notes(d)
{
	any = true;
	do
	:: any ->
		any = false;
		f = 0;
		do
		:: f < FRAMES ->
			if
			:: noted[d] & (1 << f) -> undo_frame(d)
			:: else
			fi;
			f++
		:: else -> break
		od;
		f = 0;
		step(
			if
			:: note_bucket[d] != 0 && bucket[note_bucket[d] - 1] == d + 1 ->
				bucket[note_bucket[d] - 1] = 0; any = true
			:: else
			fi
		);
		step(note_bucket[d] = 0);
#ifdef BUG_REAP_ONCE
		break
#endif
	:: else -> break
	od;
	any = false
}

/* evict_except; if the page stays, it is said to be suspect. */
inline drop_half_changed(d)
{
	do
	:: true ->
		w = word[f];
		if
		:: state(w) == EVICTING || state(w) == COPYING -> cas(w, with(w, VALID, NOBODY))
		:: state(w) < VALID -> break
		:: state(w) == WRITING || (state(w) == VALID && (w & DIRTY)) ->
			step(word[f] = word[f] | SUSPECT);
			break
		:: state(w) == VALID && !(w & DIRTY) ->
			evict_but(d);
			if
			:: ok -> break
			:: !ok && pinned ->
#ifndef BUG_REAP_NOT_SUSPECT
				step(word[f] = word[f] | SUSPECT);
#endif
				break
			:: else
			fi
		fi
	od;
	pinned = false
}

inline release_slot(d)
{
	step(f = slot[d] - 1);
#ifdef BUG_REAP_SLOT_FIRST
	step(slot[d] = 0);
#endif
#ifndef BUG_REAP_KEEP
	drop_half_changed(d);
#endif
	step(slot[d] = 0);
	f = 0
}

/* reap_client: whoever claims it starts over. */
inline reap(d)
{
	step(
		if
		:: can_reap(d) -> taken[d] = me + 1; ok = true
		:: else -> ok = false
		fi
	);
	if
	:: ok ->
		undo_notes(d);
		if
		:: slot[d] != 0 -> release_slot(d)
		:: else
		fi;
		step(noted[d] = 0);
		step(reaped[d] = true; taken[d] = 0)
	:: else
	fi;
	atomic { w = 0; ok = false; m = 0; f = 0; pinned = false }
}

/* frame_wait: until the word f is not w any more, or its owner is found dead. */
inline wait_or_reap()
{
	atomic {
		if
		:: word[f] != w -> d = THREADS
		:: word[f] == w && owner(w) != 0 && can_reap(owner(w) - 1) -> d = owner(w) - 1
		fi
	};
	if
	:: d < THREADS -> reap(d)
	:: else
	fi;
	atomic { d = 0; w = 0; f = 0 }
}

/* --- write-back (P12 to P14) --------------------------------------------------------------- */

/* give_back */
inline write_failed()
{
	atomic {
		!dead[me];
		if
		:: state(word[f]) == WRITING && owner(word[f]) == me + 1 ->
#ifdef BUG_FAILED_IS_CLEAN
			word[f] = with(word[f], VALID, NOBODY)
#else
			word[f] = with(word[f], VALID, NOBODY) | DIRTY
#endif
		:: else
		fi
	}
}

/* WRITING by me, and the copy is made. */
inline finish_write()
{
	if
	:: step(disk[k] = buf; wrote = true);
		unindex();
		leave(WRITING, VALID)
#ifdef FAILURES
	:: write_failed()
#endif
	fi;
	unnote(f);
	atomic { buf = 0; k = 0 }
}

inline write_unpinned()
{
	note(f);
	m = marked(w, COPYING, me + 1);
	cas(w, m);
	if
	:: ok ->
		scan(THREADS);
		ok = false;
		if
		:: !pinned ->
			atomic { buf = data[f]; k = key[f] - 1 };
#ifdef BUG_WRITE_BLIND
			step(
				w = word[f];
				ok = state(w) == VALID ||
				    (state(w) == COPYING && owner(w) == me + 1);
				if
				:: ok -> word[f] = with(w, WRITING, me + 1) & ~(DIRTY | SUSPECT)
				:: else
				fi
			)
#else
			cas(m, with(m, WRITING, me + 1) & ~(DIRTY | SUSPECT))
#endif
		:: else
		fi;
		if
		:: ok -> finish_write()
		:: else ->
			leave(COPYING, VALID);
			unnote(f);
			atomic { buf = 0; k = 0 }
		fi
	:: else -> unnote(f)
	fi;
	m = 0
}

inline write_pinned()
{
	w = word[f];
	if
	:: state(w) == VALID && (w & DIRTY) ->
		note(f);
#ifdef BUG_PINNED_CLEAN
		m = marked(w, WRITING, me + 1) & ~DIRTY;
#else
		m = marked(w, WRITING, me + 1);
#endif
		cas(w, m);
		if
		:: ok ->
			atomic { buf = data[f]; k = key[f] - 1 };
			finish_write()
		:: else -> unnote(f)
		fi;
		m = 0
	:: else
	fi
}

#ifdef BUG_WRITE_TWICE
#define writable(w) ((state(w) == VALID || state(w) == WRITING) && ((w) & DIRTY))
#else
#define writable(w) (state(w) == VALID && ((w) & DIRTY))
#endif

inline write(x)
{
	atomic { f = x; w = word[f]; wrote = false };
	if
	:: writable(w) -> write_unpinned()
	:: else
	fi;
	atomic { w = 0; pinned = false; f = 0; wrote = false; ok = false }
}

/* mpool_file_sync: every frame that the index names, until nothing is missed. */
inline fsync()
{
	f = 0;
	do
	:: f < FRAMES ->
		w = word[f];
		if
		:: index[f] == 0 || state(w) < VALID -> f++
#ifndef BUG_FSYNC_NO_WAIT
		:: index[f] > 0 && state(w) == WRITING -> wait_or_reap(); f = 0
#else
		:: index[f] > 0 && state(w) == WRITING -> f++
#endif
		/* a proposal of somebody who may be stopped */
		:: index[f] > 0 && (state(w) == COPYING || state(w) == EVICTING) ->
			cas(w, with(w, VALID, NOBODY))
		:: index[f] > 0 && state(w) == VALID && !(w & DIRTY) -> f++
		:: index[f] > 0 && state(w) == VALID && (w & DIRTY) ->
			wrote = false;
			write_unpinned();
			if
			:: !wrote && pinned -> write_pinned()
			:: else
			fi;
			/* missed: once more; written: on, though it may be dirty still, or again */
			if
			:: wrote -> f++
			:: !wrote
#ifdef FAILURES
			:: !wrote -> goto unsynced
#endif
			fi;
			atomic { wrote = false; pinned = false }
		fi
	:: else -> break
	od;
	step(assert((disk[0] & bit(me)) == (acked[0] & bit(me)));	/* I4 */
	assert((disk[1] & bit(me)) == (acked[1] & bit(me))));
#ifdef FAILURES
unsynced:
#endif
	atomic { f = 0; w = 0; ok = false; pinned = false; wrote = false; m = 0 }
}

/* --- get and put (P1 to P4, P8 to P11) ----------------------------------------------------- */

inline lock_bucket()
{
	step(note_bucket[me] = page + 1);
	do
	:: atomic { bucket[page] == 0 && !dead[me] -> bucket[page] = me + 1; break }
	:: atomic { !dead[me] && bucket[page] != 0 && can_reap(bucket[page] - 1) -> d = bucket[page] - 1 };
		/* what it holds is a claimed frame, in g */
		reap(d);
		d = 0
	od
}

inline unlock_bucket()
{
	step(bucket[page] = 0);
	step(note_bucket[me] = 0)
}

/* table_look, for the entry and its frame's key, in any state: x is a frame or FRAMES. */
inline look()
{
	x = FRAMES;
	if
	:: atomic { cell[0] == page + 1 && key[0] == page + 1 -> x = 0 }
	:: else
	fi;
	if
	:: atomic { x == FRAMES && cell[1] == page + 1 && key[1] == page + 1 -> x = 1 }
	:: else
	fi
}

/* What a look-up found. */
#define PINNED 1
#define BUSY 2
#define OTHER 3
#define FAILED 4
#define SPOILT 5

/* pin_try: the slot is stored, then the word is read, then the key. */
inline pin_try()
{
	slot_set(f + 1);
	do
	:: true ->
#ifdef BUG_KEY_FIRST
		ok = key[f] == page + 1;
		w = word[f];
#else
		w = word[f];
		ok = key[f] == page + 1;
#endif
		if
		:: ok && is_page(w) && is_spoilt(w) && !as_is -> answer = SPOILT; break
		:: ok && (state(w) == VALID || state(w) == WRITING) && (!is_spoilt(w) || as_is) ->
			answer = PINNED; break
		:: ok && (state(w) == EVICTING || state(w) == COPYING) && (!is_spoilt(w) || as_is) ->
#ifdef BUG_PIN_PROPOSAL
			answer = PINNED; break
#else
			cas(w, with(w, VALID, NOBODY))
#endif
		:: ok && (state(w) == LOADING || state(w) == CLAIMED) -> answer = BUSY; break
		:: !ok || state(w) == FREE -> answer = OTHER; break
		fi
	od;
	ok = false;
	if
	:: answer != PINNED -> slot_clear()
	:: else
	fi
}

/* P11: while it is still what the table leads to. */
inline steal()
{
	x = f;
	step(note_bucket[me] = page + 1);
	if
	:: atomic { bucket[page] == 0 && !dead[me] -> bucket[page] = me + 1 };
#ifndef BUG_STEAL_BLIND
		if
		:: cell[x] == page + 1 && key[x] == page + 1 ->
#endif
			step(
				if
				:: state(w) == LOADING && word[x] == w ->
					word[x] = with(w, CLAIMED, owner(w)); ok = true
				:: state(w) == CLAIMED && word[x] == w -> ok = true
				:: else -> ok = false
				fi
			);
			if
#ifdef BUG_STEAL_BLIND
			:: ok -> step(cell[x] = 0)
#else
			:: ok -> withdraw(x)
#endif
			:: else
			fi
#ifndef BUG_STEAL_BLIND
		:: else
		fi
#endif
		;
		unlock_bucket()
	:: bucket[page] != 0 -> step(note_bucket[me] = 0)
	fi;
	atomic { x = 0; ok = false; w = 0; f = 0 }
}

/* evict_spoilt: read again, unless it is pinned all the while. */
inline read_again()
{
	w = word[f];
	if
	:: state(w) == EVICTING || state(w) == COPYING -> cas(w, with(w, VALID, NOBODY))
	:: evictable(w) -> evict_but(THREADS); as_is = !ok && pinned
	:: state(w) == WRITING -> as_is = true
	:: else
	fi;
	atomic { w = 0; ok = false; pinned = false; f = 0 }
}

/* frame_take: CLAIMED by me, in g; or g is FRAMES. */
inline take_frame()
{
	tries = 0;
	do
	:: tries < 2 ->
		g = 0;
		do
		:: g < FRAMES && state(word[g]) == FREE ->
			note(g);
			step(
				w = word[g];
				if
				:: state(w) == FREE -> word[g] = with(w, CLAIMED, me + 1); ok = true
				:: else -> ok = false
				fi;
				w = 0
			);
			if
			:: ok -> ok = false; break
			:: else -> unnote(g); g++
			fi
		:: g < FRAMES && state(word[g]) != FREE -> g++
		:: else -> break
		od;
		if
		:: g < FRAMES -> break
		:: else
		fi;
		if
		:: x = 0
		:: x = 1
		fi;
		if
		:: evict(x)
		:: write(x)
		fi;
		x = 0;
		tries++
	:: else -> g = FRAMES; break
	od;
	tries = 0;
	ok = false
}

inline abandon()
{
	slot_clear();
	step(
		if
		:: state(word[g]) == LOADING && owner(word[g]) == me + 1 ->
			word[g] = with(word[g], CLAIMED, me + 1)
		:: else
		fi
	);
	withdraw(g);
	free(g)
}

/* load_page.  answer: PINNED, or OTHER: look again. */
inline load()
{
	lock_bucket();
#ifdef BUG_NO_LOOK
	x = FRAMES;
#else
	look();
#endif
	if
	:: x == FRAMES ->
		step(key[g] = page + 1);
		slot_set(g + 1);
		step(word[g] = with(word[g] & VERSIONS, LOADING, me + 1));
		step(cell[g] = page + 1);
		unlock_bucket();
		if
		:: step(data[g] = disk[page]);
			f = g;
			leave(LOADING, VALID);
			if
			:: ok -> answer = PINNED
			:: else -> answer = OTHER; f = 0
			fi;
			if
			:: answer == PINNED -> unnote(f)
			:: else -> abandon()
			fi
#ifdef FAILURES
		:: abandon(); answer = FAILED
#endif
		fi
	:: else ->
		unlock_bucket();
		free(g);
		answer = OTHER
	fi;
	atomic { g = 0; x = 0; ok = false }
}

/* get_page: pinned in f, or answer is FAILED. */
inline get()
{
	answer = OTHER;
	do
	:: answer == PINNED || answer == FAILED -> break
	:: answer == BUSY ->
		if
		:: wait_or_reap()
#ifdef STEALS
		:: owner(w) != me + 1 -> steal()
#endif
		fi;
		answer = OTHER
	:: answer == SPOILT -> read_again(); answer = OTHER
	:: answer == OTHER ->
		f = 0;
		do
		:: f < FRAMES && cell[f] == page + 1 -> pin_try(); break
		:: f < FRAMES && cell[f] != page + 1 -> f++
		:: f == FRAMES -> break
		od;
		if
		:: f == FRAMES ->
			f = 0;
			take_frame();
			if
			:: g == FRAMES -> answer = FAILED; g = 0
			:: else -> load()
			fi
		:: else
		fi
	od;
	atomic { w = 0; as_is = false }
}

/* dirty_mark, before the slot is cleared (P4) */
inline mark_dirty()
{
	w = word[f];
	do
	:: w & DIRTY -> break
	:: !(w & DIRTY) ->
		if
		:: !(w & INDEXED) && !any -> step(index[f] = index[f] + 1; any = true)
		:: else
		fi;
		m = w;
		cas(w, w | DIRTY | INDEXED);
		if
		:: ok -> w = m; break
		:: else
		fi
	od;
	if
	:: any && (w & INDEXED) -> step(index[f] = index[f] - 1)
	:: else
	fi;
	atomic { any = false; m = 0; w = 0; ok = false }
}

inline check_pinned()
{
	assert(key[f] == page + 1 && is_page(word[f]));		  /* I1 */
	assert(key[1 - f] != page + 1 || !is_page(word[1 - f])); /* I2 */
	assert(((data[f] ^ acked[page]) & settled(page)) == 0)   /* I3 */
}

inline acknowledge()
{
	acked[page] = (acked[page] & ~bit(me)) | (data[f] & bit(me));
	changing[me] = 0
}

inline change()
{
	step(changing[me] = page + 1; data[f] = data[f] ^ bit(me))
}

inline put()
{
#ifdef BUG_CLEAR_EARLY
	step(slot_clear(); acknowledge());
	mark_dirty()
#else
	step(check_pinned(); slot_clear(); acknowledge())
#endif
}

#define UNCHANGED 0
#define PUT_DIRTY 1 /* memp_fput(DB_MPOOL_DIRTY) */
#define SET_DIRTY 2 /* memp_fset(DB_MPOOL_DIRTY), and then the change */

inline get_and_put()
{
	get();
	if
	:: answer == PINNED ->
		step(check_pinned());
		if
		:: how == SET_DIRTY -> mark_dirty()
		:: else
		fi;
		if
		:: how == UNCHANGED -> step(check_pinned(); slot_clear())
		:: else ->
			change();
#ifndef BUG_CLEAR_EARLY
			if
			:: how == PUT_DIRTY -> mark_dirty()
			:: else
			fi;
#endif
			put()
		fi
	:: else
	fi;
	atomic { answer = 0; f = 0; w = 0 }
}

/* --- processes ----------------------------------------------------------------------------- */

#define EVICT 3
#define WRITE 4
#define FSYNC 5

#define LOCALS                                                                                     \
	byte f, g, x, q, k, d, buf, answer, tries, page, how, ops;                              \
	short w, m;                                                                                 \
	bool ok, pinned, any, wrote, as_is

proctype worker(byte me)
{
	LOCALS;
	do
	:: ops < OPS ->
		atomic {
			!dead[me];
			ops++;
			if
#ifndef NO_CLEAN
			:: how = UNCHANGED
#endif
			:: how = PUT_DIRTY
#ifndef NO_SET
			:: how = SET_DIRTY
#endif
#ifndef NO_OTHER
			:: how = PUT_DIRTY; page = 1
#endif
#ifndef NO_EVICT
			:: how = EVICT
#endif
#ifndef NO_WRITE
			:: how = WRITE
#endif
#ifndef NO_FSYNC
			:: how = FSYNC
#endif
			fi
		};
		if
		:: how <= SET_DIRTY -> get_and_put()
		:: how == EVICT -> evict(0)
		:: how == WRITE -> write(0)
		:: how == FSYNC -> fsync()
		fi;
		atomic { page = 0; how = 0 }
	:: else -> break
	od;
	step(over[me] = true)
}

/* What a process was in the middle of is not promised; what it has stored will be seen. */
inline kill(v)
{
	d_step {
#ifdef STORE_BUFFER
		if	/* the kernel has run on its processor before the lock is gone */
		:: buffered[v] != EMPTY -> slot[v] = buffered[v]; buffered[v] = EMPTY
		:: else
		fi;
#endif
		dead[v] = true;
		over[v] = true;
		kills++;
		if
		:: changing[v] != 0 ->
			unsure[changing[v] - 1] = unsure[changing[v] - 1] | bit(v);
			changing[v] = 0
		:: else
		fi
	}
}

proctype killer()
{
	do
	:: kills < KILLS && !over[0] -> kill(0)
	:: kills < KILLS && !over[1] -> kill(1)
	:: true -> break
	od
}

#ifdef STORE_BUFFER
proctype buffer(byte me)
{
	do
	:: atomic { buffered[me] != EMPTY -> slot[me] = buffered[me]; buffered[me] = EMPTY }
	:: atomic { over[me] && buffered[me] == EMPTY && over[0] && over[1] -> break }
	od
}
#define buffers_empty (buffered[0] == EMPTY && buffered[1] == EMPTY)
#else
#define buffers_empty true
#endif

inline check_frame(i)
{
	assert(state(word[i]) == FREE || state(word[i]) == VALID);	/* I6 */
	assert(!(word[i] & DIRTY) || (index[i] > 0 && (word[i] & INDEXED)));		/* I7 */
	assert(state(word[i]) != VALID || cell[i] == key[i]);
	assert(state(word[i]) != FREE || cell[i] == 0)
}

inline check_page(p)
{
	x = FRAMES;
	if
	:: state(word[0]) == VALID && key[0] == p + 1 -> x = 0
	:: else
	fi;
	if
	:: state(word[1]) == VALID && key[1] == p + 1 ->
		assert(x == FRAMES);	/* I2 */
		x = 1
	:: else
	fi;
	if
	:: x == FRAMES -> assert(((disk[p] ^ acked[p]) & settled(p)) == 0)	/* I3 */
	:: else ->
		assert(((data[x] ^ acked[p]) & settled(p)) == 0);		/* I3 */
		assert((word[x] & (DIRTY | SUSPECT)) || data[x] == disk[p])	/* I5 */
	fi
}

#ifdef LATE_REAPER
#define reaper_comes (over[0] && over[1] && buffers_empty)
#else
#define reaper_comes true /* beside the workers, as a daemon's timer does */
#endif

proctype auditor()
{
	LOCALS;
	byte me = AUDITOR;

	do
	:: atomic {
		if
		:: can_reap(0) && reaper_comes -> d = 0
		:: can_reap(1) && reaper_comes -> d = 1
		fi };
		reap(d);
		d = 0
	:: over[0] && over[1] && buffers_empty && !can_reap(0) && !can_reap(1) &&
	    (!dead[0] || reaped[0]) && (!dead[1] || reaped[1]) -> break
	/* nobody can go on */
	:: timeout -> assert(false)
	od;
	true;
	d_step {
		assert(slot[0] == 0 && slot[1] == 0 && slot[2] == 0);		/* I6 */
		assert(bucket[0] == 0 && bucket[1] == 0);			/* I6 */
		check_frame(0);
		check_frame(1);
		check_page(0);
		check_page(1)
	}
}

/* A page that is there when the workers begin: clean, or with worker 0's change in it. */
inline resident(i, p, w)
{
	word[i] = w;
	key[i] = p + 1;
	cell[i] = p + 1;
	if
	:: (w) & DIRTY -> index[i] = 1; data[i] = 1; acked[p] = 1
	:: else
	fi
}

init
{
	atomic {
		if
		:: skip
		:: resident(0, 0, VALID)
		:: resident(0, 0, VALID | DIRTY | INDEXED)
		:: resident(0, 0, VALID | DIRTY | INDEXED); resident(1, 1, VALID)
		fi;
#ifdef STORE_BUFFER
		run buffer(0);
		run buffer(1);
		buffered[AUDITOR] = EMPTY;
#endif
		run worker(0);
		run worker(1);
		run killer();
		run auditor()
	}
}
