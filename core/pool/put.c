/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/put.c - memp_fput and memp_fset.
 *
 * The slot that pins the page is looked for in the thread's own blocks, then in those of the
 * process's other threads (P6).  Dirt is entered before the slot is cleared (P4).  CLEAN is an
 * eviction of a page that only this pin's memp_fset has made dirty; where anybody else has it
 * pinned or has dirtied it, it is an ordinary put (P5): one write too many, never a loss.
 */
#include "dirty.h"
#include "evict.h"
#include "file.h"
#include "frame.h"
#include "kcache.h"
#include "mapping.h"
#include "mount.h"
#include "point.h"
#include "policy.h"
#include "thread.h"

/* A pin that was found. */
struct found {
	struct pin_block *pb; /* of the calling thread, or NULL: another's, that may end any time */
	unsigned i;	      /* slot in it */
	uint32_t f;
};

static bool
find_in(struct pin_block *pb, uint32_t f, const DB_MPOOLFILE *mpf, unsigned *ip)
{
	for (unsigned i = BLOCK_SLOTS; pb->b != NULL && i-- > 0;)
		if (load_relaxed(&pb->b->slots[i]) == f + 1 &&
		    load_acquire(&pb->pins[i].mpf) == mpf) {
			*ip = i;
			return true;
		}
	return false;
}

/* The thread's own pins: only slots in use are looked at, the newest mostly first. */
static bool
find_own(struct thread *t, const DB_MPOOLFILE *mpf, struct found *at)
{
	for (unsigned b = 0; b < t->npins; b++) {
		struct pin_block *pb = t->pins[b];

		for (uint64_t m = pb->used; m != 0;) {
			unsigned i = 63u - (unsigned)__builtin_clzll(m);

			m &= ~(1ull << i);
			if (load_relaxed(&pb->b->slots[i]) == at->f + 1 &&
			    load_relaxed(&pb->pins[i].mpf) == mpf) {
				at->pb = pb;
				at->i = i;
				return true;
			}
		}
	}
	return false;
}

/* Under threads_mutex: a pin of another thread, whose slots are shared from now on; or NULL. */
static struct thread *
find_others(struct thread *self, const DB_MPOOLFILE *mpf, struct found *at)
{
	for (struct thread *t = self->pool->threads; t != NULL; t = t->next)
		for (unsigned b = 0; t != self && b < t->npins; b++) {
			if (!find_in(t->pins[b], at->f, mpf, &at->i))
				continue;
			thread_share(t);
			if (find_in(t->pins[b], at->f, mpf, &at->i)) {
				at->pb = t->pins[b];
				return t;
			}
		}
	return NULL;
}

static bool
have_others(struct thread *t, const DB_MPOOLFILE *mpf, struct found *at)
{
	bool got;

	pthread_mutex_lock(&t->pool->threads_mutex);
	got = find_others(t, mpf, at) != NULL;
	pthread_mutex_unlock(&t->pool->threads_mutex);
	at->pb = NULL;
	return got;
}

static bool
find_pin(struct thread *t, const DB_MPOOLFILE *mpf, const void *addr, struct found *at)
{
	at->f = frame_of_address(t->pool, addr, mpf->pageshift);
	if (at->f == NO_FRAME)
		return false;
	return find_own(t, mpf, at) || (t->pool->threaded && have_others(t, mpf, at));
}

static inline void
forget(struct pin_block *pb, unsigned i)
{
	store_relaxed(&pb->pins[i].mpf, NULL);
	pb->used &= ~(1ull << i);
}

/* Empty a slot of the thread's own that no other thread may touch.  False: nothing is done. */
static inline bool
release_alone(struct thread *t, struct pin_block *pb, unsigned i)
{
	bool alone;

	store_relaxed(&t->putting, true);
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* thread_share's barrier does the rest */
	alone = !load_relaxed(&t->shared);
	if (alone) {
		store_release(&pb->b->slots[i], 0);
		forget(pb, i);
	}
	store_release(&t->putting, false);
	return alone;
}

/*
 * Empty a slot of the thread's own; *setp is what memp_fset said of the pin.  Two threads may want
 * the same slot for two pins of one page: the compare-and-swap decides.
 */
static bool
release_own(struct thread *t, struct found *at, uint32_t *setp)
{
	uint32_t expected = at->f + 1;

	*setp = at->pb->set[at->i];
	if (!release_alone(t, at->pb, at->i)) {
		if (!cas_seq(&at->pb->b->slots[at->i], &expected, 0))
			return false;
		forget(at->pb, at->i);
	}
	at->pb->set[at->i] = 0;
	return true;
}

/* The same of a slot of another thread's. */
static bool
release_others(struct thread *self, const DB_MPOOLFILE *mpf, struct found *at, uint32_t *setp)
{
	uint32_t expected = at->f + 1;
	struct thread *t;
	bool done = false;

	pthread_mutex_lock(&self->pool->threads_mutex);
	if ((t = find_others(self, mpf, at)) != NULL &&
	    cas_seq(&at->pb->b->slots[at->i], &expected, 0)) {
		*setp = at->pb->set[at->i];
		at->pb->set[at->i] = 0;
		store_relaxed(&at->pb->pins[at->i].mpf, NULL);
		(void)or_seq(&at->pb->returned, 1ull << at->i);
		if (t->exited)
			thread_ended(t);
		done = true;
	}
	pthread_mutex_unlock(&self->pool->threads_mutex);
	return done;
}

/* False: another put was first; look for the other pin. */
static bool
release(struct thread *t, const DB_MPOOLFILE *mpf, struct found *at, uint32_t *setp)
{
	return at->pb != NULL ? release_own(t, at, setp) : release_others(t, mpf, at, setp);
}

/* What was said of the pin, with what is said of it now: the last of CLEAN and DIRTY counts. */
static uint32_t
said(uint32_t before, uint32_t now)
{
	return (now & PIN_CHANGED ? before & ~PIN_CLEAN : before) | now;
}

static void
note_said_of(struct pin_block *pb, unsigned i, uint32_t set)
{
	pb->set[i] = (uint8_t)said(pb->set[i], set);
	store_relaxed(&pb->pins[i].page, NULL);
}

static void
note_said(struct thread *t, const DB_MPOOLFILE *mpf, struct found *at, uint32_t set)
{
	if (at->pb != NULL) {
		note_said_of(at->pb, at->i, set);
		return;
	}
	pthread_mutex_lock(&t->pool->threads_mutex);
	if (find_others(t, mpf, at) != NULL)
		note_said_of(at->pb, at->i, set);
	pthread_mutex_unlock(&t->pool->threads_mutex);
}

/* The end lies inside the page [from, to): now it lies behind it, unless the page is cut off. */
static void
whole_last_page(struct file_row *row, uint64_t from, uint64_t to)
{
	uint64_t end = load_seq(&row->length);

	while (from < end && end < to && !cas_seq(&row->length, &end, to))
		continue;
}

/* What is to be noted of the pin. */
static uint32_t
put_dirty(struct thread *t, DB_MPOOLFILE *mpf, uint32_t f)
{
	uint64_t off = (uint64_t)key_pgno(frame_at(t->pool, f)->key) << mpf->pageshift;
	uint64_t length = load_seq(&mpf->row->length);

	if (off < length && off + mpf->pagesize > length && !mpf->soft) {
		if (mpf->odd)
			file_clean_tail(t, mpf, frame_address(t->pool, f, mpf->pageshift),
			    key_pgno(frame_at(t->pool, f)->key));
		else
			whole_last_page(mpf->row, off, off + mpf->pagesize);
	}
	if (!dirty_mark(t, mpf->row, f))
		return PIN_CHANGED;
	if (!mpf->soft && load_relaxed(&mpf->row->mtime_nsec) != 0)
		store_relaxed(&mpf->row->mtime_nsec, os_now_nsec_coarse());
	return PIN_CHANGED | PIN_DIRTY;
}

static void
put_discard(struct thread *t, uint32_t f)
{
	struct mpool *mp = t->pool->mp;

	policy_discard(t->pool, f);
	store_relaxed(&mp->discards[add_relaxed(&mp->discard_next, 1) % DISCARD_RING], f + 1);
}

static int
check_flags(const DB_MPOOLFILE *mpf, unsigned long flags)
{
	if ((flags & ~(unsigned long)(DB_MPOOL_CLEAN | DB_MPOOL_DIRTY | DB_MPOOL_DISCARD)) != 0 ||
	    (flags & (DB_MPOOL_CLEAN | DB_MPOOL_DIRTY)) == (DB_MPOOL_CLEAN | DB_MPOOL_DIRTY)) {
		env_err(mpf->pool->dbenv,
		    "flags %#lx: DB_MPOOL_DISCARD and at most one of "
		    "DB_MPOOL_CLEAN and DB_MPOOL_DIRTY",
		    flags);
		return EINVAL;
	}
	if ((flags & DB_MPOOL_DIRTY) && mpf->rdonly) {
		env_err(mpf->pool->dbenv, "a page of a file opened read-only cannot be dirty");
		return EACCES;
	}
	return 0;
}

/* A thread that can get no block of its own puts as the pool's spare one. */
static struct thread *
thread_for_put(DB_MPOOL *p)
{
	struct thread *t;

	if (thread_self(p, &t) == 0)
		return t;
	pthread_mutex_lock(&p->spare_mutex);
	return p->spare;
}

static void
put_done(struct thread *t)
{
	if (t == t->pool->spare)
		pthread_mutex_unlock(&t->pool->spare_mutex);
}

/*
 * The door of put and set: as enter(), but a pool that was removed or panicked does not keep
 * pins.  After success put_done() is due.
 */
static int
enter_put(DB_MPOOLFILE *mpf, const void *addr, struct thread **tp, struct found *at)
{
	int usable;

	if (mpf == NULL || addr == NULL || (usable = region_usable(mpf->pool->region)) == EINVAL)
		return EINVAL;
	*tp = thread_for_put(mpf->pool);
	if ((*tp)->in_callback) {
		put_done(*tp);
		return refuse_in_callback(mpf->pool);
	}
	if (find_pin(*tp, mpf, addr, at))
		return 0;
	put_done(*tp);
	env_err(mpf->pool->dbenv,
	    "address %p is not a page of this file that this process has "
	    "pinned",
	    addr);
	return usable != 0 ? usable : EINVAL;
}

/* The same for a page that may be the file's mapping's.  False: it is not. */
static bool
put_mapped(DB_MPOOLFILE *mpf, const void *addr, unsigned long flags, bool release, int *retp)
{
	int usable;

	if (mpf == NULL || mpf->mapping == NULL ||
	    (usable = region_usable(mpf->pool->region)) == EINVAL ||
	    !mapping_put(mpf, addr, release))
		return false;
	*retp = usable != 0 ? usable : check_flags(mpf, flags);
	return true;
}

static __attribute__((noinline)) int
put_carefully(DB_MPOOLFILE *mpf, void *pgaddr, unsigned long flags)
{
	uint32_t set = 0, now = 0;
	struct thread *t;
	struct found at;
	struct frame *fr;
	uint64_t key, version;
	int ret;

	if (put_mapped(mpf, pgaddr, flags, true, &ret))
		return ret;
	if ((ret = enter_put(mpf, pgaddr, &t, &at)) != 0)
		return ret;
	if ((ret = check_flags(mpf, flags)) != 0)
		flags = 0;
	fr = frame_at(t->pool, at.f);
	key = load_relaxed(&fr->key);
	version = load_seq(&fr->word) & FW_VERSION;
	if (flags & DB_MPOOL_DIRTY)
		now = put_dirty(t, mpf, at.f);
	if (flags & DB_MPOOL_CLEAN)
		now |= PIN_CLEAN;
	if (flags & DB_MPOOL_DISCARD)
		put_discard(t, at.f);
	while (!release(t, mpf, &at, &set) && find_pin(t, mpf, pgaddr, &at))
		continue;
	set = said(set, now);
	if ((set & (PIN_DIRTY | PIN_CLEAN)) == (PIN_DIRTY | PIN_CLEAN))
		evict_undone(t, at.f, key, version);
	if (set & PIN_CHANGED)
		kcache_told_page(t, mpf->row, mpf->file, key_pgno(key));
	put_done(t);
	return ret != 0 ? ret : region_usable(mpf->pool->region);
}

/* Is the newest pin of a block that has some, *ip, of that page? */
static inline bool
is_newest(const struct pin_block *pb, const DB_MPOOLFILE *mpf, const void *pgaddr, unsigned *ip)
{
	unsigned i = 63u - (unsigned)__builtin_clzll(pb->used);

	*ip = i;
	return load_relaxed(&pb->pins[i].mpf) == mpf && load_relaxed(&pb->pins[i].page) == pgaddr;
}

/* False: nothing has been done. */
static inline bool
put_newest(struct thread *t, struct pin_block *pb, const DB_MPOOLFILE *mpf, const void *pgaddr)
{
	unsigned i;

	return is_newest(pb, mpf, pgaddr, &i) && release_alone(t, pb, i);
}

/*
 * The put of a page that this thread has pinned last or nearly so and says nothing more about.
 * False: nothing has been done.
 */
static inline bool
put_at_once(DB_MPOOLFILE *mpf, const void *pgaddr)
{
	struct thread *t = thread_at_hand(mpf->pool);

	/* some slot is in use, if only that of a moment */
	return t != NULL && pool_is_sound(mpf->pool) && put_newest(t, &t->first, mpf, pgaddr);
}

int
memp_fput(DB_MPOOLFILE *mpf, void *pgaddr, unsigned long flags)
{
	if (likely(flags == 0 && mpf != NULL && put_at_once(mpf, pgaddr)))
		return 0;
	return put_carefully(mpf, pgaddr, flags);
}

void
mpool_put_all(DB_MPOOLFILE *mpf, void **pages, unsigned n)
{
	struct thread *t = thread_at_hand(mpf->pool);
	unsigned b = t == NULL || !pool_is_sound(mpf->pool) ? 0 : t->npins;

	while (n-- > 0) {
		while (b > 0 && t->pins[b - 1]->used == 0)
			b--;
		if (b == 0 || !put_newest(t, t->pins[b - 1], mpf, pages[n]))
			(void)memp_fput(mpf, pages[n], 0);
	}
}

/* The same for a page that was changed: its dirt is noted while the slot still pins it (P4). */
static inline bool
put_newest_dirty(struct thread *t, struct pin_block *pb, DB_MPOOLFILE *mpf, const void *pgaddr)
{
	uint32_t f = frame_of_address(t->pool, pgaddr, mpf->pageshift);
	db_pgno_t pgno;
	unsigned i;

	if (f == NO_FRAME || !is_newest(pb, mpf, pgaddr, &i) ||
	    load_relaxed(&pb->b->slots[i]) != f + 1)
		return false;
	pgno = key_pgno(load_relaxed(&frame_at(t->pool, f)->key));
	(void)put_dirty(t, mpf, f);
	if (!release_alone(t, pb, i))
		return false;
	kcache_told_page(t, mpf->row, mpf->file, pgno);
	return true;
}

int
mpool_put_all_dirty(DB_MPOOLFILE *mpf, void **pages, unsigned n)
{
	struct thread *t = thread_at_hand(mpf->pool);
	unsigned b = t == NULL || mpf->rdonly || !pool_is_sound(mpf->pool) ? 0 : t->npins;
	int err = 0, ret;

	POOL_POINT(POINT_PUTTING);
	while (n-- > 0) {
		while (b > 0 && t->pins[b - 1]->used == 0)
			b--;
		if (b > 0 && put_newest_dirty(t, t->pins[b - 1], mpf, pages[n]))
			continue;
		if ((ret = memp_fput(mpf, pages[n], DB_MPOOL_DIRTY)) != 0)
			err = ret;
	}
	/* Put in a pool that was removed meanwhile they are lost, as memp_fput says. */
	return err != 0 ? err : region_usable(mpf->pool->region);
}

int
memp_fset(DB_MPOOLFILE *mpf, void *pgaddr, unsigned long flags)
{
	struct thread *t;
	struct found at;
	uint32_t now = 0;
	int ret;

	if (flags != 0 && put_mapped(mpf, pgaddr, flags, false, &ret))
		return ret;
	if ((ret = enter_put(mpf, pgaddr, &t, &at)) != 0)
		return ret;
	if (flags == 0) {
		env_err(mpf->pool->dbenv, "memp_fset: no flag is given");
		ret = EINVAL;
	} else
		ret = check_flags(mpf, flags);
	if (ret != 0)
		flags = 0;
	if (flags & DB_MPOOL_DIRTY)
		now = put_dirty(t, mpf, at.f);
	if (flags & DB_MPOOL_CLEAN)
		now |= PIN_CLEAN;
	if (now != 0)
		note_said(t, mpf, &at, now);
	if (flags & DB_MPOOL_DISCARD)
		put_discard(t, at.f);
	put_done(t);
	return ret != 0 ? ret : region_usable(mpf->pool->region);
}

bool
mpool_page_is_unwritten(const DB_MPOOLFILE *mpf, const void *page)
{
	uint32_t f = frame_of_address(mpf->pool, page, mpf->pageshift);
	uint64_t w;

	if (f == NO_FRAME)
		return true;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	w = load_seq(&frame_at(mpf->pool, f)->word);
	/* A clean page that somebody proposes to evict is written by nobody: it is pinned. */
	return (w & FW_DIRTY) != 0 || (fw_state(w) != FRAME_VALID && fw_state(w) != FRAME_EVICTING);
}
