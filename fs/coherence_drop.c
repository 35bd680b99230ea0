/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/coherence_drop.c - the thread that has the kernel drop its pages.
 *
 * A round: see what others tell (files of which all pages have to go, pages that were put), which
 * open(2)s wait for a file's old pages to go and which write(2)s for those that they changed; have
 * it done, with no lock held and the pool let go, because requests come in meanwhile; answer.  It
 * sleeps on the pool's bell while any file is cached, else on a condition.
 */
#include "coherence.h"

#include <poll.h>
#include <stdlib.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "coherence_impl.h"
#include "copies.h"
#include "file_idle.h"
#include "ops.h"

#define TOLD_AT_ONCE 512u
#define BELL_USEC 50000u /* the pool is held meanwhile */
#define SETTLE_SEC 2
#define FLUSH_MSEC 20

struct round {
	uint32_t bell, late, drops;
	struct file **files; /* all of these, with a reference to the node of each */
	unsigned nfiles;
	struct mpool_told told[TOLD_AT_ONCE];
	unsigned ntold;
	struct link openings;
};

/* --- dropping -------------------------------------------------------------------------------- */

static uint64_t
node_number(const struct file *f)
{
	return (uint64_t)(uintptr_t)f->node;
}

/*
 * The kernel is slow to drop pages: perhaps because one is locked by a write(2) that waits for an
 * answer.
 */
static void
see_to_writes(void *arg)
{
	while (written_step(arg, true))
		continue;
}

/* False: it is not known. */
static bool
length_of(struct fs *fs, struct file *f, uint64_t *lengthp)
{
	off_t length = 0;
	bool known;

	(void)pool_peek(fs);
	(void)pthread_rwlock_rdlock(&f->state);
	known = f->mpf != NULL && memp_fsize(f->mpf, &length) == 0;
	file_let_go(fs, f);
	pool_put(fs);
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
drop_once(struct fs *fs, struct file *f, uint64_t from, uint64_t to, uint64_t end, bool aside)
{
	struct coherence *c = &fs->coherence;
	uint64_t age;

	/* before it is so: whatever is answered from now on comes later than this, or is ignored */
	coherence_takes(f, end);
	(void)pthread_mutex_lock(&c->lock);
	age = ++c->age;
	(void)pthread_mutex_unlock(&c->lock);
	(void)atomic_fetch_add(&c->dropped, 1);
	if (notifier_drop(&c->notifier, node_number(f), from, to == 0 ? 0 : to - from, end,
		aside ? NULL : see_to_writes, fs) != 0) {
		coherence_shows(f, 0);
		return;
	}
	/* what it was given before this began it has no more */
	(void)pthread_mutex_lock(&c->lock);
	if (f->copies != NULL)
		copies_forget(f->copies, from, to, age);
	(void)pthread_mutex_unlock(&c->lock);
}

void
coherence_drop_part(struct fs *fs, struct file *f, uint64_t from, uint64_t to, bool aside)
{
	drop_once(fs, f, from, to, 0, aside);
}

/*
 * While its end is moved the kernel does not believe what a read at the end tells it of that: what
 * such a read brings goes, too.  If the file is cut meanwhile, the next read there tells it.
 */
void
coherence_drop(struct fs *fs, struct file *f, uint64_t from, uint64_t to)
{
	uint64_t end = untold_end(fs, f), now;

	drop_once(fs, f, from, to, end, false);
	if (end == 0)
		return;
	if (!length_of(fs, f, &now) || now > end)
		now = end;
	if (to != 0 || now < from)
		drop_once(fs, f, now - now % COPY_BYTES, 0, 0, false);
}

/* C2: is it changed past the kernel's pages? */
static bool
is_shared(struct fs *fs, struct file *f)
{
	bool shared = false;

	(void)pool_peek(fs);
	(void)pthread_rwlock_rdlock(&f->state);
	if (f->mpf != NULL)
		shared = mpool_kcache_shared(f->mpf);
	file_let_go(fs, f);
	pool_put(fs);
	return shared;
}

static void
drop_file(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool shared = is_shared(fs, f), track;

	(void)pthread_mutex_lock(&c->lock);
	track = (shared || f->direct_writers > 0) && f->cached > 0;
	while (track && f->copies == NULL && coherence_track_locked(f) != 0) {
		/* those who ask wait, and so does this, for memory */
		(void)pthread_mutex_unlock(&c->lock);
		os_sleep_usec(BELL_USEC);
		(void)pthread_mutex_lock(&c->lock);
	}
	(void)pthread_mutex_unlock(&c->lock);
	coherence_drop(fs, f, 0, 0);
	if (shared)
		return;
	(void)pthread_mutex_lock(&c->lock);
	if (f->direct_writers == 0 && f->cached_writers == 0) {
		copies_destroy(f->copies);
		f->copies = NULL;
	}
	(void)pthread_mutex_unlock(&c->lock);
}

static struct file *
find_live(struct fs *fs, uint32_t pool_file)
{
	struct coherence *c = &fs->coherence;
	struct file *f = NULL;

	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->live.next; l != &c->live && f == NULL; l = l->next)
		if (link_entry(l, struct file, live)->pool_file == pool_file)
			f = link_entry(l, struct file, live);
	if (f != NULL)
		node_get(fs, f->node);
	(void)pthread_mutex_unlock(&c->lock);
	return f;
}

static void
drop_told(struct fs *fs, const struct mpool_told *t)
{
	struct coherence *c = &fs->coherence;
	struct file *f = find_live(fs, t->file);
	uint64_t from, to, known;
	bool any, untold;

	if (f == NULL)
		return;
	(void)pthread_mutex_lock(&c->lock);
	from = (uint64_t)t->pgno * f->pool_page;
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
	node_put(fs, f->node);
}

/* --- rounds ---------------------------------------------------------------------------------- */

/* A file's request to drop all is taken. */
static bool
is_asked(struct fs *fs, struct file *f)
{
	bool asked;

	(void)pthread_rwlock_rdlock(&f->state);
	asked = f->mpf != NULL && mpool_kcache_drop_begin(f->mpf);
	file_let_go(fs, f);
	return asked;
}

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

static void
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
}

/* Of the files that are cached, those that others ask to be dropped. */
static void
find_asked(struct fs *fs, struct round *r)
{
	unsigned n;

	if ((r->files = live_files(fs, &n)) == NULL)
		atomic_store(&fs->coherence.look, true);
	for (unsigned i = 0; i < n; i++) {
		if (is_asked(fs, r->files[i]))
			r->files[r->nfiles++] = r->files[i];
		else
			node_put(fs, r->files[i]->node);
	}
}

/* False: there is no pool. */
static bool
begin_round(struct fs *fs, struct round *r)
{
	bool open = pool_peek(fs);

	r->files = NULL;
	r->nfiles = r->ntold = 0;
	/* before it is seen what has to be dropped */
	openings_take(fs, &r->openings);
	if (open) {
		r->bell = mpool_kcache_bell(fs->pool);
		r->late = mpool_kcache_late(fs->pool);
		r->drops = mpool_kcache_drops(fs->pool);
		r->ntold = mpool_kcache_told(fs->pool, r->told, TOLD_AT_ONCE);
		if (atomic_exchange(&fs->coherence.look, false) ||
		    r->drops != fs->coherence.drops_seen)
			find_asked(fs, r);
		fs->coherence.drops_seen = r->drops;
	}
	pool_put(fs);
	return open;
}

static void
end_file(struct fs *fs, struct file *f)
{
	(void)pthread_rwlock_rdlock(&f->state);
	if (f->mpf != NULL)
		mpool_kcache_drop_end(f->mpf);
	file_let_go(fs, f);
}

static void
end_round(struct fs *fs, struct round *r)
{
	struct coherence *c = &fs->coherence;
	bool open = pool_peek(fs);

	for (unsigned i = 0; i < r->nfiles && open; i++)
		end_file(fs, r->files[i]);
	for (unsigned i = 0; i < r->ntold && open; i++)
		mpool_kcache_answer(fs->pool, &r->told[i]);
	pool_put(fs);
	for (unsigned i = 0; i < r->nfiles; i++)
		node_put(fs, r->files[i]->node);
	free(r->files);
	if (open)
		atomic_store(&c->late_done, r->late);
	(void)pthread_mutex_lock(&c->lock);
	(void)pthread_cond_broadcast(&c->wake);
	(void)pthread_mutex_unlock(&c->lock);
}

static void
drop_all_pages(struct fs *fs, struct file *f)
{
	coherence_drop(fs, f, 0, 0);
}

/* What programs have changed through mappings is written. */
static void
flush_all(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	each_live(fs, drop_all_pages);
	(void)pthread_mutex_lock(&c->lock);
	c->flush = false;
	(void)pthread_mutex_unlock(&c->lock);
}

static bool
wants_flush(struct coherence *c)
{
	bool wants;

	(void)pthread_mutex_lock(&c->lock);
	wants = c->flush;
	(void)pthread_mutex_unlock(&c->lock);
	return wants;
}

/* True: there was something to do. */
static bool
one_round(struct fs *fs, struct round *r, bool *openp)
{
	bool any;

	*openp = begin_round(fs, r);
	any = !link_is_alone(&r->openings);
	for (unsigned i = 0; i < r->nfiles; i++)
		drop_file(fs, r->files[i]);
	for (unsigned i = 0; i < r->ntold; i++)
		drop_told(fs, &r->told[i]);
	openings_answer(fs, &r->openings);
	end_round(fs, r);
	while (written_step(fs, false))
		any = true;
	return any || r->nfiles > 0 || r->ntold > 0;
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
	each_live(fs, renew_file);
}

/* What cannot be opened there, or is another mount's to cache, is not told: its pages go. */
static void
drop_if_untold(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool told;

	(void)pthread_mutex_lock(&c->lock);
	told = f->pool_file != 0;
	(void)pthread_mutex_unlock(&c->lock);
	if (!told)
		drop_all_pages(fs, f);
}

static void
drop_untold(struct fs *fs)
{
	atomic_store(&fs->coherence.renewed, false);
	coherence_renew(fs);
	each_live(fs, drop_if_untold);
}

/* --- the thread ------------------------------------------------------------------------------ */

/* Nothing is cached: nobody tells anything.  False: time to stop. */
static bool
wait_for_files(struct coherence *c)
{
	struct timespec until;
	bool stop;

	(void)pthread_mutex_lock(&c->lock);
	while (!c->stop && link_is_alone(&c->live) && link_is_alone(&c->writtens) &&
	    link_is_alone(&c->openings) && !c->flush && !c->again) {
		(void)clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 1;
		(void)pthread_cond_timedwait(&c->wake, &c->lock, &until);
	}
	stop = c->stop;
	c->again = false;
	(void)pthread_mutex_unlock(&c->lock);
	return !stop;
}

static void *
coherence_main(void *arg)
{
	struct fs *fs = arg;
	struct coherence *c = &fs->coherence;
	struct round r;
	bool open = true, busy;

	while (wait_for_files(c)) {
		if (!open || atomic_load(&c->renewed))
			drop_untold(fs);
		busy = one_round(fs, &r, &open);
		if (wants_flush(c))
			flush_all(fs);
		if (busy)
			continue;
		if (open && pool_peek(fs))
			mpool_kcache_wait(fs->pool, r.bell, BELL_USEC);
		else if (!open)
			os_sleep_usec(BELL_USEC);
		if (open)
			pool_put(fs);
	}
	return NULL;
}

/* --- patience -------------------------------------------------------------------------------- */

uint64_t
coherence_late(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	uint32_t late = 0;

	if (pool_peek(fs) && c->claimed)
		late = mpool_kcache_late(fs->pool) - atomic_load(&c->late_base);
	pool_put(fs);
	return late;
}

void
coherence_settle(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	struct timespec until;
	uint32_t late = 0;
	int err = 0;

	if (!c->runs || fs->opt->threads == 1)
		return;
	if (pool_peek(fs))
		late = mpool_kcache_late(fs->pool);
	else
		late = atomic_load(&c->late_done);
	pool_put(fs);
	if (atomic_load(&c->late_done) == late)
		return;
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SETTLE_SEC;
	(void)pthread_mutex_lock(&c->lock);
	while (err == 0 && (int32_t)(atomic_load(&c->late_done) - late) < 0 && !c->stop &&
	    !link_is_alone(&c->live))
		err = pthread_cond_timedwait(&c->wake, &c->lock, &until);
	(void)pthread_mutex_unlock(&c->lock);
}

/* --- beginning and end ----------------------------------------------------------------------- */

void
coherence_init(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	c->mode = fs->opt->cache;
	if (c->mode != FS_CACHE_NONE && sysconf(_SC_PAGESIZE) != (long)COPY_BYTES) {
		fs_log(LOG_WARNING, "the kernel's pages are not of %u bytes: cache=none",
		    COPY_BYTES);
		c->mode = FS_CACHE_NONE;
	}
	link_init(&c->live);
	link_init(&c->writtens);
	link_init(&c->openings);
	(void)pthread_mutex_init(&c->gate, NULL);
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->wake, NULL);
	c->notifier.fd = c->notifier.pid = -1;
	if (c->mode != FS_CACHE_NONE)
		notifier_fork(&c->notifier);
}

int
coherence_start(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	int err;

	if (c->mode == FS_CACHE_NONE)
		return 0;
	if ((err = notifier_start(&c->notifier, fs->session)) != 0)
		return err;
	err = os_thread_start(&c->thread, coherence_main, fs);
	c->runs = err == 0;
	return err;
}

void
coherence_flush(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	struct pollfd p = { .fd = fuse_session_fd(fs->session), .events = POLLIN };
	struct fuse_buf buf = { .mem = NULL };
	int got;

	if (!c->runs)
		return;
	fuse_session_reset(fs->session);
	(void)pthread_mutex_lock(&c->lock);
	c->flush = true;
	(void)pthread_mutex_unlock(&c->lock);
	writtens_ask_again(c);
	coherence_wake(fs);
	while (wants_flush(c)) {
		if (poll(&p, 1, FLUSH_MSEC) <= 0)
			continue;
		if ((got = fuse_session_receive_buf(fs->session, &buf)) > 0)
			fuse_session_process_buf(fs->session, &buf);
		else if (got == 0)
			break; /* unmounted: nothing waits for us any more */
	}
	free(buf.mem);
}

void
coherence_stop(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	struct link list;

	if (c->runs) {
		(void)pthread_mutex_lock(&c->lock);
		c->stop = true;
		(void)pthread_cond_broadcast(&c->wake);
		(void)pthread_mutex_unlock(&c->lock);
		notifier_shut(&c->notifier);
		/* a page that one of them has locked is perhaps being waited for */
		writtens_answer(c);
		(void)pthread_join(c->thread, NULL);
		c->runs = false;
		openings_take(fs, &list);
		openings_answer(fs, &list);
	}
	notifier_stop(&c->notifier);
}
