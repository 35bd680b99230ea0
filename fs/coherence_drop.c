/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/coherence_drop.c - the kernel drops its pages of a file.
 *
 * By whomever has the file in hand: one of the threads of rounds.c, with no lock held and the pool
 * let go, because requests come in meanwhile.  While the kernel takes its time, those write(2)s of
 * the same file are seen to that may be what it waits for, and another thread goes on with all
 * other files.
 */
#include "coherence_impl.h"
#include "copies.h"
#include "file_idle.h"

#define MEMORY_USEC 50000u
#define LOOKS 50u /* at a kernel that is slow to be told of a greater end */

struct slow {
	struct fs *fs;
	struct file *file;
	unsigned looks;
};

/*
 * The kernel is slow to drop pages: perhaps because one is locked by a write(2) that waits for an
 * answer.
 */
static void
be_slow(void *arg)
{
	const struct slow *s = arg;

	while (written_step(s->fs, s->file, true))
		continue;
	rounds_step_down(s->fs);
}

/* The caller has it in hand.  Whoever has it locked may be waiting for a disk. */
static void
hold_file(struct fs *fs, struct file *f)
{
	(void)pool_peek(fs);
	if (pthread_rwlock_tryrdlock(&f->state) == 0)
		return;
	rounds_step_down(fs);
	(void)pthread_rwlock_rdlock(&f->state);
}

static void
let_file(struct fs *fs, struct file *f)
{
	file_let_go(fs, f);
	pool_put(fs);
}

/* False: it is not known. */
static bool
length_of(struct fs *fs, struct file *f, uint64_t *lengthp)
{
	off_t length = 0;
	bool known;

	hold_file(fs, f);
	known = f->mpf != NULL && memp_fsize(f->mpf, &length) == 0;
	let_file(fs, f);
	*lengthp = (uint64_t)length;
	return known;
}

/* C5: how long the file is, if the kernel was not told; else 0. */
static uint64_t
untold_end(struct fs *fs, struct file *f)
{
	uint64_t length;

	return length_of(fs, f, &length) &&
		length > __atomic_load_n(&f->kernel_end, __ATOMIC_SEQ_CST) ?
	    length :
	    0;
}

static void
raised(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;

	(void)pthread_mutex_lock(&c->lock);
	f->raises = false;
	written_raised_locked(c, f);
	(void)pthread_mutex_unlock(&c->lock);
}

/* It has moved the end by now, and waits for the page there; perhaps those wait for this. */
static void
be_slow_to_raise(void *arg)
{
	struct slow *s = arg;

	be_slow(arg);
	if (++s->looks % LOOKS == 0)
		raised(s->fs, s->file);
}

/*
 * The kernel is told how long the file is, if it does not know; else 0.  A request that sets the
 * end, and has cut the file since it was looked how long that is, is answered later; of one that
 * had cut it before, that is the length.
 */
static uint64_t
raise_end(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	struct slow slow = { fs, f, 0 };
	unsigned sets;
	uint64_t end;
	bool same;

	do {
		(void)pthread_mutex_lock(&c->lock);
		sets = f->sets;
		(void)pthread_mutex_unlock(&c->lock);
		if ((end = untold_end(fs, f)) == 0)
			return 0;
		(void)pthread_mutex_lock(&c->lock);
		f->raises = same = f->sets == sets;
		(void)pthread_mutex_unlock(&c->lock);
	} while (!same);
	/* before it is so: whatever is answered from now on comes later than this, or is ignored */
	coherence_takes(f, end);
	if (notifier_raise(&c->notifier, node_number(f), end, be_slow_to_raise, &slow) != 0)
		coherence_shows(f, 0);
	raised(fs, f);
	return end;
}

static void
drop_once(struct fs *fs, struct file *f, uint64_t from, uint64_t to, bool aside)
{
	struct coherence *c = &fs->coherence;
	struct slow slow = { fs, f, 0 };
	uint64_t age;

	(void)pthread_mutex_lock(&c->lock);
	age = ++c->age;
	(void)pthread_mutex_unlock(&c->lock);
	if (notifier_drop(&c->notifier, node_number(f), from, to == 0 ? 0 : to - from,
		aside ? NULL : be_slow, &slow) != 0)
		return;
	/* what it was given before this began it has no more */
	(void)pthread_mutex_lock(&c->lock);
	if (f->copies != NULL)
		copies_forget(f->copies, from, to, age);
	(void)pthread_mutex_unlock(&c->lock);
}

void
coherence_drop_part(struct fs *fs, struct file *f, uint64_t from, uint64_t to, bool aside)
{
	(void)atomic_fetch_add(&fs->coherence.dropped, 1);
	drop_once(fs, f, from, to, aside);
}

/*
 * While its end is moved the kernel does not believe what a read at the end tells it of that: what
 * such a read brings goes, too.  If the file is cut meanwhile, the next read there tells it.
 */
void
coherence_drop(struct fs *fs, struct file *f, uint64_t from, uint64_t to)
{
	uint64_t end, now;

	(void)atomic_fetch_add(&fs->coherence.dropped, 1);
	end = raise_end(fs, f);
	drop_once(fs, f, from, to, false);
	if (end == 0)
		return;
	if (!length_of(fs, f, &now) || now > end)
		now = end;
	if (to != 0 || now < from)
		drop_once(fs, f, now - now % COPY_BYTES, 0, false);
}

/* C2: is it changed past the kernel's pages?  *takenp: as mpool_file_disk_taken. */
static bool
is_shared(struct fs *fs, struct file *f, uint32_t *takenp)
{
	bool shared = false;

	*takenp = 0;
	hold_file(fs, f);
	if (f->mpf != NULL) {
		shared = mpool_kcache_shared(f->mpf);
		*takenp = mpool_file_disk_taken(f->mpf);
	}
	let_file(fs, f);
	return shared;
}

static void
drop_end(struct fs *fs, struct file *f, uint32_t taken)
{
	hold_file(fs, f);
	if (f->mpf != NULL) {
		__atomic_store_n(&f->disk_seen, taken, __ATOMIC_SEQ_CST);
		mpool_kcache_drop_end(f->mpf);
	}
	let_file(fs, f);
}

void
coherence_drop_file(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	uint32_t taken;
	bool shared = is_shared(fs, f, &taken), track, begins;
	unsigned outdated;

	(void)pthread_mutex_lock(&c->lock);
	outdated = f->outdated;
	track = (shared || f->direct_writers > 0) && f->cached > 0;
	begins = track && f->copies == NULL;
	while (track && f->copies == NULL && coherence_track_locked(f) != 0) {
		/* those who ask wait, and so does this, for memory */
		(void)pthread_mutex_unlock(&c->lock);
		os_sleep_usec(MEMORY_USEC);
		(void)pthread_mutex_lock(&c->lock);
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (begins)
		written_await_kernel(fs, f);
	coherence_drop(fs, f, 0, 0);
	(void)pthread_mutex_lock(&c->lock);
	if (f->outdated == outdated)
		f->outdated = 0;
	if (!shared && coherence_may_untrack_locked(f)) {
		copies_destroy(f->copies);
		f->copies = NULL;
	}
	(void)pthread_mutex_unlock(&c->lock);
	drop_end(fs, f, taken);
}

void
coherence_drop_page(struct fs *fs, struct file *f, db_pgno_t pgno)
{
	struct coherence *c = &fs->coherence;
	uint64_t from, to, known;
	bool any, untold;

	(void)pthread_mutex_lock(&c->lock);
	from = (uint64_t)pgno * f->pool_page;
	to = from + f->pool_page;
	(void)pthread_mutex_unlock(&c->lock);
	written_await_zeros(fs, f, from, to);
	known = __atomic_load_n(&f->kernel_end, __ATOMIC_SEQ_CST);
	untold = untold_end(fs, f) != 0;
	(void)pthread_mutex_lock(&c->lock);
	/* what was the last page may have been filled, and written to, as such */
	if (untold && known < from)
		from = known - known % COPY_BYTES;
	any = untold || f->copies == NULL || copies_any(f->copies, from, to) ||
	    written_overlaps_locked(c, f, from, to);
	(void)pthread_mutex_unlock(&c->lock);
	if (any)
		coherence_drop(fs, f, from, to);
}
