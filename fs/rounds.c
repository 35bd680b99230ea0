/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/rounds.c - the threads that see what has to be dropped, and have it done.
 *
 * A round: see what others tell (files of which all pages have to go, pages that were put), which
 * open(2)s wait for a file's old pages to go and which write(2)s for those that they changed; have
 * it done; answer.
 *
 * One thread at a time makes rounds: it leads.  It has a file in hand while it drops pages of it.
 * If that takes long it leads no more (rounds_step_down): another thread makes rounds, and leaves
 * out what concerns files that are in hand.  So a page that is slow to come from a disk holds up
 * those who change that file, and nobody else.  Who has done with such a file, and does not lead,
 * has it looked at again; it leads again some day, or ends with the mount.  There are no more than
 * COHERENCE_THREADS: when all others have slow files, who leads waits for his own, and so do all.
 *
 * Only who leads takes a file in hand.  So what is known of one that is in nobody's hand, after it
 * was looked at, stays so while he leads.
 *
 * Who leads sleeps on the pool's bell while any file is cached, else on a condition.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "coherence_impl.h"
#include "file_idle.h"

#define TOLD_AT_ONCE 512u
#define BELL_USEC 50000u /* the pool is held meanwhile */
#define AGAIN_USEC 5000u /* a file that could not be looked at */
#define LATE_SEC 2

struct round {
	uint32_t bell, late, drops;
	struct mpool_told told[TOLD_AT_ONCE];
	unsigned ntold;
};

static void *rounds_main(void *arg);

/* --- who leads ------------------------------------------------------------------------------- */

static bool
leads_locked(const struct coherence *c)
{
	return c->led && pthread_equal(c->leader, pthread_self());
}

static bool
leads(struct coherence *c)
{
	bool so;

	(void)pthread_mutex_lock(&c->lock);
	so = leads_locked(c);
	(void)pthread_mutex_unlock(&c->lock);
	return so;
}

static int
start_thread_locked(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	int err;

	if (c->nthreads == COHERENCE_THREADS)
		return EAGAIN;
	if ((err = os_thread_start(&c->threads[c->nthreads], rounds_main, fs)) == 0)
		c->nthreads++;
	return err;
}

void
rounds_step_down(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	(void)pthread_mutex_lock(&c->lock);
	if (leads_locked(c) && !c->stop && (c->nidle > 0 || start_thread_locked(fs) == 0)) {
		c->led = false;
		(void)pthread_cond_signal(&c->idle);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

/* --- who has a file in hand ------------------------------------------------------------------ */

/* [k] With a reference to its node. */
void
rounds_take_locked(struct fs *fs, struct file *f)
{
	node_get(fs, f->node);
	f->in_hand = true;
}

void
rounds_let(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool leading;

	(void)pthread_mutex_lock(&c->lock);
	f->in_hand = false;
	leading = leads_locked(c);
	(void)pthread_mutex_unlock(&c->lock);
	node_put(fs, f->node);
	if (leading)
		return;
	atomic_store(&c->look, true);
	coherence_wake(fs);
}

bool
rounds_wants_locked(const struct file *f, unsigned want)
{
	return (f->wants & 1u << want) != 0;
}

static void
want_locked(struct coherence *c, struct file *f, unsigned want)
{
	if (!rounds_wants_locked(f, want))
		(void)atomic_fetch_add(&c->nwant[want], 1);
	f->wants |= 1u << want;
}

void
rounds_done_locked(struct coherence *c, struct file *f, unsigned want)
{
	if (rounds_wants_locked(f, want))
		(void)atomic_fetch_sub(&c->nwant[want], 1);
	f->wants &= ~(1u << want);
	(void)pthread_cond_broadcast(&c->wake);
}

/* One of the files that are cached, and in nobody's hand; NULL: there is none. */
static struct file *
take_wanting(struct fs *fs, unsigned want)
{
	struct coherence *c = &fs->coherence;
	struct file *f = NULL;

	if (atomic_load(&c->nwant[want]) == 0)
		return NULL;
	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->live.next; l != &c->live && f == NULL; l = l->next) {
		f = link_entry(l, struct file, live);
		if (f->in_hand || !rounds_wants_locked(f, want))
			f = NULL;
	}
	if (f != NULL) {
		/* those that want it still are in front of those that have had it */
		link_remove(&f->live);
		link_append(&c->live, &f->live);
		rounds_take_locked(fs, f);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return f;
}

/* --- what is asked --------------------------------------------------------------------------- */

/* All files that are cached, with a reference to the node of each; NULL: none, or no memory. */
static struct file **
live_files(struct fs *fs, unsigned *np)
{
	struct coherence *c = &fs->coherence;
	struct file **list;

	*np = 0;
	(void)pthread_mutex_lock(&c->lock);
	list = c->nlive > 0 ? calloc(c->nlive, sizeof(struct file *)) : NULL;
	for (struct link *l = c->live.next; l != &c->live && list != NULL; l = l->next) {
		list[*np] = link_entry(l, struct file, live);
		node_get(fs, list[(*np)++]->node);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return list;
}

/* False: there are none, or no memory. */
static bool
each_live(struct fs *fs, void (*fn)(struct fs *fs, struct file *f))
{
	struct file **list;
	unsigned n;

	list = live_files(fs, &n);
	for (unsigned i = 0; i < n; i++) {
		fn(fs, list[i]);
		node_put(fs, list[i]->node);
	}
	free(list);
	return n > 0;
}

/* Who asked does not wait any more: what is answered from now on for a while comes after it. */
static void
be_late_locked(struct coherence *c, struct file *f)
{
	if (atomic_load(&c->nwant[ROUNDS_LATE]) == 0) {
		(void)clock_gettime(CLOCK_MONOTONIC, &c->late_until);
		c->late_until.tv_sec += LATE_SEC;
	}
	want_locked(c, f, ROUNDS_LATE);
}

/* Who has it in hand has not heard yet that somebody does not wait any more. */
static void
look_at_held(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool late;

	if (pthread_rwlock_tryrdlock(&f->state) != 0)
		return;
	late = f->mpf != NULL && mpool_kcache_is_late(f->mpf);
	file_let_go(fs, f);
	(void)pthread_mutex_lock(&c->lock);
	if (late && !link_is_alone(&f->live)) {
		f->late_again = true;
		be_late_locked(c, f);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

/* A request to drop all of a file is taken. */
static void
look_at(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool asked, late = false, in_hand;

	(void)pthread_mutex_lock(&c->lock);
	in_hand = f->in_hand;
	(void)pthread_mutex_unlock(&c->lock);
	if (in_hand) {
		look_at_held(fs, f);
		return;
	}
	if (pthread_rwlock_tryrdlock(&f->state) != 0) {
		atomic_store(&c->look, true);
		openings_unsee(c, f);
		return;
	}
	asked = f->mpf != NULL && mpool_kcache_drop_begin(f->mpf, &late);
	file_let_go(fs, f);
	if (!asked)
		return;
	(void)pthread_mutex_lock(&c->lock);
	/* one that is not cached any more nobody would come back to */
	if (!link_is_alone(&f->live)) {
		want_locked(c, f, ROUNDS_ASKED);
		f->late_again = false;
		if (late)
			be_late_locked(c, f);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

static void
find_asked(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	if (!each_live(fs, look_at)) {
		atomic_store(&c->look, true);
		openings_unsee(c, NULL);
	}
}

/* False: there is no pool. */
static bool
begin_round(struct fs *fs, struct round *r)
{
	struct coherence *c = &fs->coherence;
	bool open = pool_peek(fs);

	r->ntold = 0;
	/* before it is seen what has to be dropped */
	openings_see(c);
	if (open) {
		r->bell = mpool_kcache_bell(fs->pool);
		r->late = mpool_kcache_late(fs->pool);
		r->drops = mpool_kcache_drops(fs->pool);
		r->ntold = mpool_kcache_told(fs->pool, r->told, TOLD_AT_ONCE);
		if (atomic_exchange(&c->look, false) || r->drops != c->drops_seen)
			find_asked(fs);
		c->drops_seen = r->drops;
	}
	pool_put(fs);
	return open;
}

/* --- what is done ---------------------------------------------------------------------------- */

static bool
drop_asked(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	struct file *f;

	if ((f = take_wanting(fs, ROUNDS_ASKED)) == NULL)
		return false;
	coherence_drop_file(fs, f);
	(void)pthread_mutex_lock(&c->lock);
	rounds_done_locked(c, f, ROUNDS_ASKED);
	if (!f->late_again)
		rounds_done_locked(c, f, ROUNDS_LATE);
	(void)pthread_mutex_unlock(&c->lock);
	rounds_let(fs, f);
	return true;
}

/* False: the file is in somebody's hand.  *fp NULL: it is not cached. */
static bool
take_told(struct fs *fs, uint32_t pool_file, struct file **fp)
{
	struct coherence *c = &fs->coherence;
	struct file *f = NULL;
	bool taken;

	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->live.next; l != &c->live && f == NULL; l = l->next)
		if (link_entry(l, struct file, live)->pool_file == pool_file)
			f = link_entry(l, struct file, live);
	taken = f == NULL || !f->in_hand;
	if (f != NULL && taken)
		rounds_take_locked(fs, f);
	(void)pthread_mutex_unlock(&c->lock);
	*fp = f;
	return taken;
}

static bool
drop_told(struct fs *fs, const struct mpool_told *t)
{
	struct file *f;

	if (!take_told(fs, t->file, &f))
		return false;
	if (f != NULL)
		coherence_drop_page(fs, f, t->pgno);
	if (pool_peek(fs))
		mpool_kcache_answer(fs->pool, t);
	pool_put(fs);
	if (f != NULL)
		rounds_let(fs, f);
	return true;
}

/* Nothing was left out because somebody else leads now. */
static void
end_round(struct fs *fs, const struct round *r)
{
	struct coherence *c = &fs->coherence;

	atomic_store(&c->late_done, r->late);
	(void)pthread_mutex_lock(&c->lock);
	(void)pthread_cond_broadcast(&c->wake);
	(void)pthread_mutex_unlock(&c->lock);
}

/* True: there was something to do. */
static bool
one_round(struct fs *fs, struct round *r, bool *openp)
{
	struct coherence *c = &fs->coherence;
	bool any = false;

	*openp = begin_round(fs, r);
	while (leads(c) && drop_asked(fs))
		any = true;
	for (unsigned i = 0; i < r->ntold && leads(c); i++)
		any |= drop_told(fs, &r->told[i]);
	while (leads(c) && opening_step(fs))
		any = true;
	if (*openp && leads(c))
		end_round(fs, r);
	while (leads(c) && written_step(fs, NULL, false))
		any = true;
	return any;
}

/* --- before the mount ends ------------------------------------------------------------------- */

static bool
flush_one(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	struct file *f;

	if ((f = take_wanting(fs, ROUNDS_FLUSH)) == NULL)
		return false;
	coherence_drop(fs, f, 0, 0);
	(void)pthread_mutex_lock(&c->lock);
	rounds_done_locked(c, f, ROUNDS_FLUSH);
	(void)pthread_mutex_unlock(&c->lock);
	rounds_let(fs, f);
	return true;
}

void
rounds_flush(struct coherence *c)
{
	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->live.next; l != &c->live; l = l->next)
		want_locked(c, link_entry(l, struct file, live), ROUNDS_FLUSH);
	(void)pthread_mutex_unlock(&c->lock);
}

/* --- another pool ---------------------------------------------------------------------------- */

/* The file is opened in the pool, and so LIVE in it. */
static void
renew_file(struct fs *fs, struct file *f)
{
	struct file *same;

	if (pool_get(fs) != 0)
		return;
	if (file_get(fs, f->node, false, &same) == 0)
		file_put(fs, same);
	pool_put(fs);
}

void
coherence_renew(struct fs *fs)
{
	(void)each_live(fs, renew_file);
}

/* What cannot be opened there, or is another mount's to cache, is not told: its pages go. */
static void
drop_if_untold(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool takes;

	(void)pthread_mutex_lock(&c->lock);
	takes = f->pool_file == 0 && leads_locked(c) && !f->in_hand;
	if (takes)
		rounds_take_locked(fs, f);
	else if (f->pool_file == 0)
		atomic_store(&c->renewed, true); /* again, later */
	(void)pthread_mutex_unlock(&c->lock);
	if (!takes)
		return;
	coherence_drop(fs, f, 0, 0);
	rounds_let(fs, f);
}

static void
drop_untold(struct fs *fs)
{
	atomic_store(&fs->coherence.renewed, false);
	coherence_renew(fs);
	(void)each_live(fs, drop_if_untold);
}

/* --- a thread -------------------------------------------------------------------------------- */

/* Nothing is cached: nobody tells anything.  False: time to stop. */
static bool
wait_for_files(struct coherence *c)
{
	struct timespec until;
	bool stop;

	(void)pthread_mutex_lock(&c->lock);
	while (!c->stop && link_is_alone(&c->live) && link_is_alone(&c->writtens) &&
	    link_is_alone(&c->openings) && !c->again) {
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += 1;
		(void)pthread_cond_clockwait(&c->wake, &c->lock, CLOCK_MONOTONIC, &until);
	}
	stop = c->stop;
	c->again = false;
	(void)pthread_mutex_unlock(&c->lock);
	return !stop;
}

static void
wait_for_bell(struct fs *fs, const struct round *r, bool open)
{
	struct coherence *c = &fs->coherence;
	bool fences = atomic_load(&c->notifier.fences) > 0;
	unsigned usec = atomic_load(&c->look) || fences ? AGAIN_USEC : BELL_USEC;

	if (fences)
		notifier_listen(&c->notifier, 0);
	if (!open) {
		os_sleep_usec(BELL_USEC);
		return;
	}
	if (pool_peek(fs))
		mpool_kcache_wait(fs->pool, r->bell, usec);
	pool_put(fs);
}

static void
lead(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	struct round r = { .ntold = 0 };
	bool open = true, busy;

	while (leads(c) && wait_for_files(c)) {
		if (!open || atomic_load(&c->renewed))
			drop_untold(fs);
		busy = leads(c) && one_round(fs, &r, &open);
		while (leads(c) && flush_one(fs))
			busy = true;
		if (!busy && leads(c))
			wait_for_bell(fs, &r, open);
	}
}

static void *
rounds_main(void *arg)
{
	struct fs *fs = arg;
	struct coherence *c = &fs->coherence;
	bool stop;

	do {
		(void)pthread_mutex_lock(&c->lock);
		c->nidle++;
		while (c->led && !c->stop)
			(void)pthread_cond_wait(&c->idle, &c->lock);
		c->nidle--;
		if (!(stop = c->stop)) {
			c->led = true;
			c->leader = pthread_self();
		}
		(void)pthread_mutex_unlock(&c->lock);
		if (!stop)
			lead(fs);
	} while (!stop);
	return NULL;
}

int
rounds_start(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	int err;

	(void)pthread_mutex_lock(&c->lock);
	err = start_thread_locked(fs);
	(void)pthread_mutex_unlock(&c->lock);
	return err;
}

void
rounds_stop(struct coherence *c)
{
	for (unsigned i = 0; i < c->nthreads; i++)
		(void)pthread_join(c->threads[i], NULL);
	c->nthreads = 0;
}
