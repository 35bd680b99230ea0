/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * truncate.pml - a file is cut and grows while its last page is loaded, put and written back, as
 * core/pool does it (drop.c, length.c, load.c, writeback.c; core/README.md, P19, P20).
 *
 * One file of two pages, of which the second comes and goes, and a frame for it.  How frames are
 * shared and evicted is frame.pml's: here a look for pins and what follows from it is one step.
 * Worker 0 cuts the file to one page; the others do one of these each: cut it too, put something
 * into the second page, with which the file grows if it has to, make it longer with nothing in it,
 * read, write back.  One may be killed between any two steps; whoever meets what it left takes it
 * over, or an auditor does, who looks at what remains.
 *
 * A page holds OLD, what was there at first; NEW, what somebody put; ZERO; or STALE, what somebody
 * put behind the end who had the page from before.
 *
 *   T1  what was cut off does not come back, nor what was put behind the end, in the pool or on
 *       disk
 *   T2  at rest the file on disk is not longer than the pool says
 *   T3  what was put when no cut had begun that was not over is in the pool or on disk, until one
 *       begins
 *   T4  a cut of a process that died has been done, or has not: never half of it
 *   T5  nothing of the dead remains, and nobody waits for ever
 *
 * Left out: lengths that are odd and the tail of a last page, and a page that is got while the
 * file is cut and loaded, empty, after it: what is put into it counts as put in time.
 * FAILURES: the disk file cannot be cut.  BUG_...: a guard that is left out, for run.sh.
 */
#ifndef KILLS
#define KILLS 1
#endif

#define WORKERS 3
#define AUDITOR WORKERS
#define THREADS (WORKERS + 1)
#define NOBODY THREADS

#define FREE 0
#define LOADING 1
#define VALID 2
#define WRITING 3

#define ZERO 0
#define OLD 1
#define NEW 2
#define STALE 3

/* the frame */
byte state, owner = NOBODY, data, pins;
bool dirty;

/* the file */
byte disk = OLD;
bool disk_long = true;

/* the row */
bool is_long = true, armed, cut_disk, behind;
byte trunc = NOBODY, cuts;

bool dead[THREADS], over[THREADS], reaped[THREADS];
byte taken[THREADS] = NOBODY;
byte kills;

/* what was promised */
byte begun, done; /* cuts */
bool lives;	  /* what was put last */

/* The dead take no step. */
#define step(...) atomic { !dead[me]; __VA_ARGS__ }
#define bit(x) (1 << (x))
#define can_reap(x) (dead[x] && !reaped[x] && (taken[x] == NOBODY || dead[taken[x]]))
#define truncating (trunc != NOBODY && armed)

/* --- the frame ----------------------------------------------------------------------------- */

/* undo_frame: of somebody dead */
inline undo_frame()
{
	if
	:: state == LOADING -> state = FREE; pins = pins & ~bit(owner)
	:: state == WRITING -> state = VALID; dirty = true
	fi;
	owner = NOBODY
}

#define in_hand (state == LOADING || state == WRITING)

/* The dead's is undone by who waits for it. */
#define undo_the_deads :: atomic { !dead[me] && in_hand && dead[owner] -> undo_frame() }

/* drop_range: a page goes, with what is dirty in it; a pinned one is zeroed, and stays. */
inline drop(own)
{
	do
	:: atomic { !dead[me] && state == FREE -> break }
	:: atomic { !dead[me] && state == VALID && pins == 0 ->
		state = FREE; dirty = false; break }
	:: atomic { !dead[me] && state == VALID && pins != 0 ->
#ifndef BUG_NOT_ZEROED
		data = ZERO;
#endif
#ifndef BUG_NOT_BEHIND
		behind = behind || (pins & ~(own)) != 0;
#endif
		break }
	/* load_steal */
	:: atomic { !dead[me] && state == LOADING && owner != me && !dead[owner] ->
		state = FREE; pins = pins & ~bit(owner); owner = NOBODY; break }
	undo_the_deads
	od
}

/* wait_for_transitions: a load that does not come to an end is let go. */
inline wait_for_transitions()
{
	do
	:: atomic { !dead[me] && !in_hand -> break }
	:: atomic { !dead[me] && state == LOADING -> break }
#ifdef BUG_NO_WAIT
	:: atomic { !dead[me] && state == WRITING -> break }
#endif
	undo_the_deads
	od
}

/* --- the trunc word ------------------------------------------------------------------------ */

/* cut */
inline cut()
{
	step(cuts++);
	step(is_long = false);
	drop(0)
}

/* file_truncate_finish, of somebody dead. */
inline finish()
{
	if
#ifdef BUG_FINISH_NOT
	:: skip
#else
	:: armed && (cut_disk || !is_long) ->
		step(disk_long = false; disk = ZERO);
		cut()
	:: else
#endif
	fi;
	step(trunc = NOBODY; armed = false; cut_disk = false)
}

inline reap(x)
{
	atomic {
		if
		:: !dead[me] && can_reap(x) -> taken[x] = me; ok = true
		:: !dead[me] && !can_reap(x) -> ok = false
		fi
	};
	if
	:: ok ->
		atomic {
			if
			:: !dead[me] && in_hand && owner == x -> undo_frame()
			:: else
			fi
		};
		if
		:: trunc == x -> finish()
		:: else
		fi;
		step(pins = pins & ~bit(x));
		step(reaped[x] = true; taken[x] = NOBODY)
	:: else
	fi;
	ok = false
}

inline trunc_wait()
{
	do
	:: atomic { !dead[me] && trunc == NOBODY -> break }
	:: atomic { !dead[me] && trunc != NOBODY && can_reap(trunc) -> v = trunc };
		reap(v);
		v = 0
	od
}

inline trunc_begin()
{
	ok = false;
	do
	:: ok -> ok = false; break
	:: else ->
		trunc_wait();
		step(
			if
			:: trunc == NOBODY -> trunc = me; ok = true
			:: else -> ok = false
			fi
		)
	od
}

#define trunc_end step(trunc = NOBODY; armed = false; cut_disk = false)

/* --- the calls ----------------------------------------------------------------------------- */

/* memp_ftruncate */
inline shorten()
{
	trunc_begin();
	step(armed = true; begun++; lives = false);
	wait_for_transitions();
	step(cut_disk = true);
	if
	:: step(disk_long = false; disk = ZERO);
		cut();
		step(done++)
#ifdef FAILURES
	:: true
#endif
	fi;
	trunc_end
}

#define AGAIN 0
#define PINNED 1
#define REFUSED 2

/* load_page.  From LOADING on, the slot is set. */
inline load()
{
	step(was = cuts);
	if
	:: truncating -> trunc_wait()
	:: else ->
		step(
			if
			:: state == FREE ->
				state = LOADING; owner = me; pins = pins | bit(me); ok = true
			:: else -> ok = false
			fi
		);
		if
#ifndef BUG_LOADER_BLIND
		:: ok && truncating -> ok = false; abandon()
		:: ok && !truncating ->
#else
		:: ok ->
#endif
			ok = false;
			if
			:: is_long -> zero = false
			:: else
			fi;
			if
			:: zero || !is_long || !disk_long -> buf = ZERO
			:: else -> buf = disk
			fi;
			if
#ifndef BUG_CUTS_BLIND
			:: cuts != was -> abandon()
			:: cuts == was ->
#else
			:: true ->
#endif
				step(
					if
					:: state == LOADING && owner == me ->
						state = VALID; owner = NOBODY; dirty = false;
						data = buf; answer = PINNED
					:: else
					fi
				)
			fi
		:: !ok
		fi
	fi;
	atomic { ok = false; buf = 0; was = 0 }
}

inline abandon()
{
	step(
		if
		:: state == LOADING && owner == me ->
			state = FREE; owner = NOBODY; pins = pins & ~bit(me)
		:: else
		fi
	)
}

/* find_or_load */
inline get_page()
{
	do
	:: answer == PINNED -> break
	:: else ->
		if
		:: atomic { !dead[me] && (state == VALID || state == WRITING) ->
			pins = pins | bit(me); answer = PINNED }
		:: !dead[me] && state == FREE -> load()
		:: atomic { !dead[me] && state == LOADING && dead[owner] -> undo_frame() }
		fi
	od
}

#define unpin step(pins = pins & ~bit(me); answer = AGAIN)

/* file_grow_begin */
inline grow_begin()
{
	ok = false;
	do
	:: ok -> ok = false; break
	:: else ->
#ifdef BUG_NOTED_LATE
		trunc_wait();
		ok = true;
		step(noted = cuts)
#else
		step(noted = cuts);
		if
		:: trunc == NOBODY -> ok = true
		:: trunc != NOBODY -> trunc_wait()
		fi
#endif
	od;
	step(from_long = is_long);
	step(from_behind = behind)
}

/* grow_alone.  ok: it has grown. */
inline grow_alone(own)
{
	trunc_begin();
	if
	:: cuts != noted || is_long != from_long -> ok = false
	:: else ->
#ifndef BUG_BEHIND_STAYS
		drop(own);
#endif
		step(
			if
			:: (pins & ~(own)) == 0 -> behind = false
			:: else
			fi
		);
		step(ok = is_long == from_long; is_long = true)
	fi;
	trunc_end
}

/* file_grow_end.  ok: it has grown. */
inline grow_end(own)
{
	if
	:: from_behind -> grow_alone(own)
	:: else ->
		if
#ifndef BUG_GROW_BLIND
		:: trunc != NOBODY -> step(ok = false)
		:: trunc == NOBODY -> step(ok = cuts == noted)
#else
		:: true -> ok = true
#endif
		fi;
		if
		:: ok ->
			step(ok = is_long == from_long; is_long = is_long || ok);
			if
			:: ok && behind -> trunc_wait(); ok = true
			:: else
			fi
		:: else
		fi
	fi
}

/* get_numbered, with DB_MPOOL_CREATE or without. */
inline get(create)
{
	do
	:: answer != AGAIN -> break
	:: else ->
		zero = false;
		if
		:: is_long -> get_page()
		:: !is_long && !(create) -> answer = REFUSED
		:: !is_long && create ->
			grow_begin();
			if
			:: from_long
			:: else ->
				zero = true;
				get_page();
				if
				:: zero ->
					grow_end(bit(me));
					if
					:: ok -> ok = false
					:: else -> unpin
					fi
				:: !zero && !is_long -> unpin
				:: !zero && is_long
				fi
			fi
		fi
	od;
	atomic { zero = false; from_long = false; from_behind = false; noted = 0 }
}

/* STALE: who had it from before the cut, and it is behind the end. */
inline put()
{
	get(true);
	step(had = is_long);
	step(data = (had && !is_long && trunc == NOBODY -> STALE : NEW);
		had = is_long && !truncating; seen = begun);
	step(dirty = true);
	step(
		if
		:: had && begun == seen -> lives = true
		:: else
		fi;
		pins = pins & ~bit(me)
	);
	atomic { answer = AGAIN; had = false; seen = 0 }
}

inline read()
{
	step(seen = done);
	get(false);
	if
	:: answer == PINNED ->
		step(assert(seen == 0 || data != OLD));	/* T1 */
		unpin
	:: else
	fi;
	atomic { answer = AGAIN; seen = 0 }
}

/* memp_ftruncate, longer: extend, then grow_disk_to. */
inline lengthen()
{
	do
	:: ok -> break
	:: else ->
		grow_begin();
		if
		:: from_long -> ok = true
		:: else -> grow_end(0)
		fi
	od;
	trunc_begin();
	do
	:: atomic { !dead[me] && state != WRITING -> break }
	undo_the_deads
	od;
	step(
		if
		:: is_long && !disk_long -> disk_long = true
		:: else
		fi
	);
	trunc_end;
	atomic { ok = false; from_long = false; from_behind = false; noted = 0 }
}

/* clip_jobs, write_run.  A pinned page is written, too, and stays dirty (P14). */
inline write()
{
	step(
		if
		:: state == VALID && dirty ->
			state = WRITING; owner = me; dirty = (pins != 0); buf = data; ok = true
		:: else
		fi
	);
	if
#ifndef BUG_WRITER_BLIND
	:: ok && truncating -> step(state = VALID; owner = NOBODY; dirty = true)
	:: ok && !truncating ->
#else
	:: ok ->
#endif
		from_long = is_long;
		if
#ifndef BUG_WRITE_BEHIND
		:: from_long -> step(disk = buf; disk_long = true)
		:: else
#else
		:: step(disk = buf; disk_long = true)
#endif
		fi;
		step(state = VALID; owner = NOBODY);
		step(
			if
			:: !from_long && state == VALID && pins == 0 && !dirty -> state = FREE
			:: else
			fi
		)
	:: !ok
	fi;
	atomic { ok = false; buf = 0; from_long = false }
}

/* --- processes ----------------------------------------------------------------------------- */

#define SHORTEN 0
#define PUT 1
#define LENGTHEN 2
#define READ 3
#define WRITE 4

proctype worker(byte me; byte how)
{
	byte v, was, noted, buf, answer, seen;
	bool ok, zero, from_long, from_behind, had;

	if
	:: how == SHORTEN -> shorten()
	:: how == PUT -> put()
	:: how == LENGTHEN -> lengthen()
	:: how == READ -> read()
	:: how == WRITE -> write()
	fi;
	step(over[me] = true)
}

inline kill(x)
{
	d_step {
		dead[x] = true;
		over[x] = true;
		kills++
	}
}

proctype killer()
{
	do
	:: kills < KILLS && !over[0] -> kill(0)
	:: kills < KILLS && !over[1] -> kill(1)
	:: kills < KILLS && !over[2] -> kill(2)
	:: true -> break
	od
}

#define all_over (over[0] && over[1] && over[2])
#define is_left(x) (dead[x] && !reaped[x])

proctype auditor()
{
	byte v;
	bool ok;
	byte me = AUDITOR;

	do
	:: atomic {
		if
		:: all_over && can_reap(0) -> v = 0
		:: all_over && can_reap(1) -> v = 1
		:: all_over && can_reap(2) -> v = 2
		fi };
		reap(v);
		v = 0
	:: all_over && !is_left(0) && !is_left(1) && !is_left(2) -> break
	/* T5: nobody can go on */
	:: timeout -> assert(false)
	od;
	true;
	d_step {
		assert(!in_hand && pins == 0 && trunc == NOBODY);		/* T5 */
		assert(is_long || !disk_long);					/* T2, T4 */
		assert(done == 0 || !disk_long || disk != OLD);			/* T1 */
		assert(!disk_long || disk != STALE);				/* T1 */
		assert(!is_long || state != VALID || data != STALE);		/* T1 */
		assert(done == 0 || !is_long || state != VALID || data != OLD); /* T1 */
		assert(!lives || (is_long && (state == VALID -> data == NEW : disk == NEW))); /* T3 */
		assert(begun > 0 || disk_long)					/* T4 */
	}
}

init
{
	byte first, second;

	atomic {
		if
		:: skip
		:: state = VALID; data = OLD
		:: state = VALID; data = OLD; dirty = true; disk = ZERO
		fi;
		first = 0;
		do
		:: first < WRITE -> first++
		:: break
		od;
		second = first;
		do
		:: second < WRITE -> second++
		:: break
		od;
		run worker(0, SHORTEN);
		run worker(1, first);
		run worker(2, second);
		run killer();
		run auditor()
	}
}
