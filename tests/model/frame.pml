/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame.pml - the life of a page in the pool, as core/pool does it (core/README.md, P1 to P17).
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
 *   I5  a page that is not dirty is what the disk has, unless a survivor had it pinned beside the
 *       dead who was changing it
 *   I6  after reaping nothing of the dead is left, and every frame is free or valid
 *   I7  a dirty frame is in the dirty index
 * and nobody waits for ever (spin's invalid end states).
 *
 * Left out: batches, futex wake-ups, page sizes, the file table, reuse of client numbers, memory
 * orders weaker than x86's; truncation.  STORE_BUFFER: a slot's store reaches the others late, and
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

#define state(w) ((w) & 7)
#define owner(w) (((w) >> 3) & 3)
#define with(w, s, o) (((w) & ~31) | (s) | ((o) << 3))
#define marked(w, s, o) (with((w) & ~VERSIONS, s, o) | (((w) + VERSION_ONE) & VERSIONS))
#define is_page(w) (state(w) >= VALID)

/* --- shared memory ------------------------------------------------------------------------- */

byte word[FRAMES];
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
byte half[PAGES];	/* bits that the dead may have left half changed under others' pins */

#define bit(me) (1 << (me))
#define in_change(q, k) ((changing[q] == (k) + 1) << (q))
#define settled(k) (3 & ~unsure[k] & ~in_change(0, k) & ~in_change(1, k))

/* --- one access each ----------------------------------------------------------------------- */

/* ok: it was exactly old, and is new now.  w is what it was otherwise. */
inline cas(old, new)
{
	atomic {
		if
		:: word[f] == (old) -> word[f] = (new); ok = true
		:: else -> w = word[f]; ok = false
		fi
	}
}

/* frame_leave: from my state, other bits kept. */
inline leave(from, to)
{
	atomic {
		if
		:: state(word[f]) == from && owner(word[f]) == me + 1 ->
			word[f] = with(word[f], to, NOBODY); ok = true
		:: else -> ok = false
		fi
	}
}

inline note(x)
{
	noted[me] = noted[me] | (1 << (x))
}

inline unnote(x)
{
	noted[me] = noted[me] & ~(1 << (x))
}

/* frame_free */
inline free(x)
{
	atomic {
		if
		:: state(word[x]) == CLAIMED && owner(word[x]) == me + 1 -> word[x] = word[x] & VERSIONS
		:: else
		fi
	};
	unnote(x)
}

/* table_withdraw */
inline withdraw(x)
{
	atomic {
		if
		:: cell[x] == key[x] -> cell[x] = 0
		:: else
		fi
	}
}

/* dirty_unindex */
inline unindex()
{
	w = word[f];
	do
	:: (w & INDEXED) && !((w & DIRTY) && state(w) != CLAIMED) ->
		cas(w, w & ~INDEXED);
		if
		:: ok -> index[f] = index[f] - 1; break
		:: else
		fi
	:: else -> break
	od;
	if
	:: state(w) == CLAIMED -> index[f] = 0
	:: else
	fi
}

#ifdef STORE_BUFFER
/* membarrier(2): each processor in its turn empties its store buffer. */
inline barrier()
{
	q = 0;
	do
	:: atomic { q < THREADS ->
		if
		:: buffered[q] != EMPTY -> slot[q] = buffered[q]; buffered[q] = EMPTY
		:: else
		fi;
		q++ }
	:: else -> break
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
	:: atomic { q < THREADS ->
		if
		:: q != except && slot[q] == f + 1 -> pinned = true
		:: else
		fi;
		q++ }
	:: else -> break
	od;
	q = 0
}

inline slot_set(v)
{
#ifdef STORE_BUFFER
	atomic { buffered[me] == EMPTY -> buffered[me] = v };
#if !defined(BUG_NO_FENCE) && !defined(MEMBARRIER)
	buffered[me] == EMPTY
#endif
#else
	slot[me] = v
#endif
}

inline slot_clear()
{
#ifdef STORE_BUFFER
	atomic { buffered[me] == EMPTY -> buffered[me] = 0 }
#else
	slot[me] = 0
#endif
}

/* --- eviction (P7) ------------------------------------------------------------------------- */

/* From exactly the mark m to CLAIMED; then the entry goes; then FREE.  ok: it is gone. */
inline take_out()
{
#ifdef BUG_CLAIM_BLIND
	atomic {
		if
		:: state(word[f]) == EVICTING && owner(word[f]) == me + 1 ->
			word[f] = with(word[f], CLAIMED, me + 1); ok = true
		:: else -> ok = false
		fi
	};
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
		atomic { if :: cell[1 - f] == key[f] -> cell[1 - f] = 0 :: else fi };
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
		atomic {
			if
			:: note_bucket[d] != 0 && bucket[note_bucket[d] - 1] == d + 1 ->
				bucket[note_bucket[d] - 1] = 0; any = true
			:: else
			fi
		};
		note_bucket[d] = 0;
#ifdef BUG_REAP_ONCE
		break
#endif
	:: else -> break
	od;
	any = false
}

/* evict_except */
inline drop_half_changed(d)
{
	do
	:: true ->
		w = word[f];
		if
		:: state(w) == EVICTING || state(w) == COPYING -> cas(w, with(w, VALID, NOBODY))
		:: state(w) < VALID || (w & DIRTY) -> break
		:: state(w) == WRITING && !(w & DIRTY) ->
			/* its writer goes on, or is dead and taken over on the way */
			if
			:: word[f] != w
			:: owner(w) != 0 && dead[owner(w) - 1] -> undo_write()
			fi
		:: state(w) == VALID && !(w & DIRTY) ->
			evict_but(d);
			if
			:: ok -> break
			:: !ok && pinned -> atomic { half[key[f] - 1] = half[key[f] - 1] | unsure[key[f] - 1]; break }
			:: else
			fi
		fi
	od;
	pinned = false
}

inline release_slot(d)
{
	f = slot[d] - 1;
#ifdef BUG_REAP_SLOT_FIRST
	slot[d] = 0;
#endif
#ifndef BUG_REAP_KEEP
	drop_half_changed(d);
#endif
	slot[d] = 0;
	f = 0
}

/* reap_client: whoever claims it starts over. */
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
		undo_notes(d);
		if
		:: slot[d] != 0 -> release_slot(d)
		:: else
		fi;
		noted[d] = 0;
		atomic { reaped[d] = true; taken[d] = 0 }
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
	:: disk[k] = buf; wrote = true;
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
			atomic {
				w = word[f];
				ok = state(w) == VALID || (state(w) == COPYING && owner(w) == me + 1);
				if
				:: ok -> word[f] = with(w, WRITING, me + 1) & ~DIRTY
				:: else
				fi
			}
#else
			cas(m, with(m, WRITING, me + 1) & ~DIRTY)
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
	assert((disk[0] & bit(me)) == (acked[0] & bit(me)) || (unsure[0] & bit(me)));	/* I4 */
	assert((disk[1] & bit(me)) == (acked[1] & bit(me)) || (unsure[1] & bit(me)));	/* I4 */
#ifdef FAILURES
unsynced:
#endif
	atomic { f = 0; w = 0; ok = false; pinned = false; wrote = false; m = 0 }
}

/* --- get and put (P1 to P4, P8 to P11) ----------------------------------------------------- */

inline lock_bucket()
{
	note_bucket[me] = page + 1;
	do
	:: atomic { bucket[page] == 0 -> bucket[page] = me + 1; break }
	:: atomic { bucket[page] != 0 && can_reap(bucket[page] - 1) -> d = bucket[page] - 1 };
		/* what it holds is a claimed frame, in g */
		reap(d);
		d = 0
	od
}

inline unlock_bucket()
{
	bucket[page] = 0;
	note_bucket[me] = 0
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
		:: ok && (state(w) == VALID || state(w) == WRITING) -> answer = PINNED; break
#ifdef BUG_PIN_PROPOSAL
		:: ok && (state(w) == EVICTING || state(w) == COPYING) -> answer = PINNED; break
#else
		:: ok && (state(w) == EVICTING || state(w) == COPYING) -> cas(w, with(w, VALID, NOBODY))
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
	note_bucket[me] = page + 1;
	if
	:: atomic { bucket[page] == 0 -> bucket[page] = me + 1 };
#ifndef BUG_STEAL_BLIND
		if
		:: cell[x] == page + 1 && key[x] == page + 1 ->
#endif
			atomic {
				if
				:: state(w) == LOADING && word[x] == w ->
					word[x] = with(w, CLAIMED, owner(w)); ok = true
				:: state(w) == CLAIMED && word[x] == w -> ok = true
				:: else -> ok = false
				fi
			};
			if
#ifdef BUG_STEAL_BLIND
			:: ok -> cell[x] = 0
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
	:: bucket[page] != 0 -> note_bucket[me] = 0
	fi;
	atomic { x = 0; ok = false; w = 0; f = 0 }
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
			atomic {
				f = g;
				w = word[g];
				if
				:: state(w) == FREE -> word[g] = with(w, CLAIMED, me + 1); ok = true
				:: else -> ok = false
				fi;
				f = 0; w = 0
			};
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
		:: evict(0)
		:: evict(1)
		:: write(0)
		:: write(1)
		fi;
		tries++
	:: else -> g = FRAMES; break
	od;
	tries = 0;
	ok = false
}

inline abandon()
{
	slot_clear();
	atomic {
		if
		:: state(word[g]) == LOADING && owner(word[g]) == me + 1 ->
			word[g] = with(word[g], CLAIMED, me + 1)
		:: else
		fi
	};
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
		key[g] = page + 1;
		slot_set(g + 1);
		word[g] = with(word[g] & VERSIONS, LOADING, me + 1);
		cell[g] = page + 1;
		unlock_bucket();
		if
		:: data[g] = disk[page];
			atomic {
				f = g;
				leave(LOADING, VALID);
				if
				:: ok -> answer = PINNED;
					/* I2 */
					assert(!(key[1 - f] == page + 1 && is_page(word[1 - f])))
				:: else -> answer = OTHER; f = 0
				fi
			};
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
	w = 0
}

/* dirty_mark, before the slot is cleared (P4) */
inline mark_dirty()
{
	w = word[f];
	do
	:: w & DIRTY -> break
	:: !(w & DIRTY) ->
		if
		:: !(w & INDEXED) && !any -> atomic { index[f] = index[f] + 1; any = true }
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
	:: any && (w & INDEXED) -> index[f] = index[f] - 1
	:: else
	fi;
	atomic { any = false; m = 0; w = 0; ok = false }
}

inline check_pinned()
{
	assert(key[f] == page + 1 && is_page(word[f]));				 /* I1 */
	assert(((data[f] ^ acked[page]) & settled(page)) == 0) /* I3 */
}

inline acknowledge()
{
	acked[page] = (acked[page] & ~bit(me)) | (data[f] & bit(me));
	changing[me] = 0
}

inline change()
{
	atomic { changing[me] = page + 1; data[f] = data[f] ^ bit(me) }
}

inline put()
{
#ifdef BUG_CLEAR_EARLY
	atomic { slot_clear(); acknowledge() };
	mark_dirty()
#else
	atomic { check_pinned(); slot_clear(); acknowledge() }
#endif
}

#define UNCHANGED 0
#define PUT_DIRTY 1 /* memp_fput(DB_MPOOL_DIRTY) */
#define SET_DIRTY 2 /* memp_fset(DB_MPOOL_DIRTY), and then the change */

inline get_and_put(how)
{
	get();
	if
	:: answer == PINNED ->
		atomic { check_pinned() };
		if
		:: how == UNCHANGED -> atomic { check_pinned(); slot_clear() }
		:: how == PUT_DIRTY ->
			change();
#ifndef BUG_CLEAR_EARLY
			mark_dirty();
#endif
			put()
		:: how == SET_DIRTY -> mark_dirty(); change(); put()
		fi
	:: else
	fi;
	atomic { answer = 0; f = 0; w = 0 }
}
/* --- processes ----------------------------------------------------------------------------- */

#define LOCALS                                                                                     \
	byte f, g, x, w, m, q, k, d, buf, answer, tries, page, ops;                                 \
	bool ok, pinned, any, wrote

proctype worker(byte me)
{
	LOCALS;
	{
		do
		:: ops < OPS ->
			ops++;
			if
#ifndef NO_CLEAN
			:: page = 0; get_and_put(UNCHANGED)
#endif
			:: page = 0; get_and_put(PUT_DIRTY)
			:: page = 0; get_and_put(SET_DIRTY)
			:: page = 1; get_and_put(PUT_DIRTY)
#ifndef NO_EVICT
			:: evict(0)
#endif
#ifndef NO_WRITE
			:: write(0)
#endif
#ifndef NO_FSYNC
			:: fsync()
#endif
			fi;
			page = 0
		:: else -> break
		od;
		over[me] = true
	} unless { dead[me] }
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
	assert(word[i] == 0 || state(word[i]) == FREE || state(word[i]) == VALID);	/* I6 */
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
		assert((word[x] & DIRTY) || ((data[x] ^ disk[p]) & ~half[p]) == 0)	/* I5 */
	fi
}

proctype auditor()
{
	LOCALS;
	byte me = AUDITOR;

#ifdef LATE_REAPER
	over[0] && over[1] && buffers_empty;
#endif
	/* beside the workers, as a daemon's timer would */
	do
	:: can_reap(0) -> reap(0)
	:: can_reap(1) -> reap(1)
	:: over[0] && over[1] && buffers_empty && !can_reap(0) && !can_reap(1) &&
	    (!dead[0] || reaped[0]) && (!dead[1] || reaped[1]) -> break
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
