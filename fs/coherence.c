/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/coherence.c - which files the kernel may cache, and what it was given of those that others
 * change (rules C1 to C6 in coherence.h).
 *
 * coherence_drop.c has pages dropped, by the threads of rounds.c; written.c has the write(2)s of
 * tracked files.
 *
 * A file's first cached open(2) waits until the pages that the kernel has from before are dropped,
 * unless they are known to be good, and so do those that come meanwhile.  Nothing else waits
 * there: the kernel can be told to drop them at open(2) by itself, but that another open(2) has not
 * come so far it cannot be asked.
 *
 * Tracking ends with the last cached open(2) for writing, if not before: of a write(2) on its way
 * here the kernel's page may have been dropped, and read again, before it came.
 */
#include "coherence.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <syslog.h>

#include "coherence_impl.h"
#include "copies.h"
#include "file_idle.h"

#define COPIES_MOST 8192u /* of one file; then its pages are dropped */
#define COPIES_ALL 16384u /* of all */
#define COPIES_STEP 1024u

/* --- who may cache --------------------------------------------------------------------------- */

void
coherence_claim(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	c->claimed = false;
	if (c->mode == FS_CACHE_NONE)
		return;
	if (mpool_kcache_claim(fs->pool) == 0) {
		c->claimed = true;
		c->live_most = mpool_rows(fs->pool) / 2;
		atomic_store(&c->late_base, mpool_kcache_late(fs->pool));
		atomic_store(&c->late_done, atomic_load(&c->late_base));
		atomic_store(&c->renewed, true);
	} else {
		fs_log(LOG_WARNING,
		    "another mount lets its kernel cache files of the pool of %s: this one does "
		    "without (cache=none)",
		    fs->opt->home);
	}
}

static bool
writes(const struct handle *h)
{
	return (h->flags & O_ACCMODE) != O_RDONLY;
}

static bool
goes_past(const struct handle *h)
{
	return (h->flags & (O_APPEND | O_DIRECT)) != 0;
}

/* [k] The first, and the file is open in the pool. */
static void
count_first_locked(struct coherence *c, struct file *f)
{
	link_append(&c->live, &f->live);
	c->nlive++;
	f->pool_file = mpool_file_id(f->mpf);
	f->pool_page = (unsigned)mpool_file_pagesize(f->mpf);
	atomic_store(&c->look, true);
	(void)pthread_cond_broadcast(&c->wake);
}

/* [k] Before it is looked what the kernel was given. */
int
coherence_track_locked(struct file *f)
{
	struct copies *fresh = copies_create();

	__atomic_store_n(&f->copies, fresh, __ATOMIC_SEQ_CST);
	return fresh == NULL ? ENOMEM : 0;
}

/* [k] C2.  *keptp: what the kernel has of it is good. */
static int
track_locked(struct file *f, bool *keptp)
{
	if (f->direct_writers == 0 || f->copies != NULL)
		return 0;
	*keptp = false;
	return coherence_track_locked(f);
}

/* The gate is closed, and the file open in the pool.  kept: what the kernel has of it is good. */
static int
count_cached_locked(struct coherence *c, struct file *f, struct handle *h, bool kept)
{
	int err;

	if ((err = track_locked(f, &kept)) != 0)
		return err;
	if (f->cached == 0) {
		kept = kept && c->mode == FS_CACHE_KEEP;
		f->stale = !kept && __atomic_load_n(&f->given, __ATOMIC_SEQ_CST);
		kept = !f->stale;
		count_first_locked(c, f);
	}
	(void)__atomic_add_fetch(&f->cached, 1, __ATOMIC_SEQ_CST);
	if (writes(h))
		f->cached_writers++;
	h->cached = h->keep = true;
	h->waits = !kept || f->stale;
	return 0;
}

static int
count_cached(struct fs *fs, struct file *f, struct handle *h, bool kept)
{
	struct coherence *c = &fs->coherence;
	bool first = f->cached == 0;
	int err;

	if (first)
		node_get(fs, f->node);
	(void)pthread_mutex_lock(&c->lock);
	err = count_cached_locked(c, f, h, kept);
	(void)pthread_mutex_unlock(&c->lock);
	if (err != 0 && first) {
		mpool_kcache_end(f->mpf, false);
		node_put(fs, f->node);
	}
	return err;
}

/*
 * The kernel drops all pages, in the opener's name, before he can write past them; and where they
 * are nobody's, because sendfile(2) and private mappings use them in any case.
 */
static int
count_direct(struct fs *fs, struct file *f, struct handle *h)
{
	struct coherence *c = &fs->coherence;
	int err = 0;

	if (writes(h) && f->cached == 0)
		mpool_kcache_end(f->mpf, false);
	(void)pthread_mutex_lock(&c->lock);
	h->keep = !writes(h) && f->cached > 0;
	if (writes(h) && f->cached > 0 && f->copies == NULL)
		err = coherence_track_locked(f);
	if (writes(h) && err == 0) {
		f->direct_writers++;
		h->counted = true;
	}
	(void)pthread_mutex_unlock(&c->lock);
	return err;
}

/* The gate is closed. */
static bool
may_cache(struct coherence *c, const struct file *f, const struct handle *h)
{
	return !goes_past(h) && (f->cached > 0 || c->nlive < c->live_most);
}

int
coherence_open(struct fs *fs, struct handle *h)
{
	struct coherence *c = &fs->coherence;
	struct file *f;
	bool kept;
	int err;

	h->cached = h->keep = h->counted = h->waits = false;
	if (!c->claimed)
		return 0;
	if ((err = file_get(fs, h->node, false, &f)) != 0)
		return err;
	(void)pthread_mutex_lock(&c->gate);
	if (may_cache(c, f, h) && mpool_kcache_begin(f->mpf, false, &kept) == 0)
		err = count_cached(fs, f, h, kept);
	else
		err = count_direct(fs, f, h);
	(void)pthread_mutex_unlock(&c->gate);
	file_put(fs, f);
	return err;
}

/* --- pages that an open(2) past the cache brings there ---------------------------------------- */

/* The gate is closed, and the file open in the pool. */
static int
lend(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool kept = false;
	int err;

	if (f->cached > 0 || mpool_kcache_begin(f->mpf, true, &kept) != 0)
		return 0;
	node_get(fs, f->node);
	(void)pthread_mutex_lock(&c->lock);
	if ((err = track_locked(f, &kept)) == 0) {
		count_first_locked(c, f);
		__atomic_store_n(&f->lent, true, __ATOMIC_SEQ_CST);
		__atomic_store_n(&f->cached, 1, __ATOMIC_SEQ_CST);
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (err == 0) {
		/* others may have it open: C2 */
		mpool_kcache_ask_drop(f->mpf);
		return 0;
	}
	mpool_kcache_end(f->mpf, false);
	node_put(fs, f->node);
	return err;
}

int
coherence_lend(struct fs *fs, struct handle *h)
{
	struct coherence *c = &fs->coherence;
	struct file *f;
	int err;

	if (!c->claimed || h->cached ||
	    __atomic_load_n(&h->node->file->cached, __ATOMIC_SEQ_CST) > 0)
		return 0;
	if ((err = file_get(fs, h->node, false, &f)) != 0)
		return err;
	(void)pthread_mutex_lock(&c->gate);
	err = lend(fs, f);
	(void)pthread_mutex_unlock(&c->gate);
	file_put(fs, f);
	return err;
}

/* --- closing --------------------------------------------------------------------------------- */

bool
coherence_may_untrack_locked(const struct file *f)
{
	return f->copies != NULL && f->direct_writers == 0 && f->cached_writers == 0;
}

/* [k] The file is not cached any more.  True: what the kernel has of it is good for later. */
static bool
end_locked(struct coherence *c, struct file *f)
{
	bool keep = c->mode == FS_CACHE_KEEP && f->copies == NULL && !f->stale;

	link_remove(&f->live);
	c->nlive--;
	for (unsigned want = 0; want < ROUNDS_WANTS; want++)
		rounds_done_locked(c, f, want);
	copies_destroy(f->copies);
	f->copies = NULL;
	f->late_again = false;
	f->outdated = 0;
	__atomic_store_n(&f->lent, false, __ATOMIC_SEQ_CST);
	__atomic_store_n(&f->cached, 0, __ATOMIC_SEQ_CST);
	return keep;
}

static bool
is_open(const struct file *f)
{
	return __atomic_load_n(&f->opens, __ATOMIC_SEQ_CST) > 0;
}

/*
 * [k] The last cached open lends the file to those that are left: they can be served from the
 * kernel's pages without a request.  True: it need not be tracked any more.
 */
static bool
uncount_locked(struct file *f, const struct handle *h)
{
	if (h->counted)
		f->direct_writers--;
	if (h->cached && writes(h))
		f->cached_writers--;
	if (h->cached && __atomic_load_n(&f->cached, __ATOMIC_SEQ_CST) == 1)
		__atomic_store_n(&f->lent, true, __ATOMIC_SEQ_CST);
	else if (h->cached)
		(void)__atomic_sub_fetch(&f->cached, 1, __ATOMIC_SEQ_CST);
	return coherence_may_untrack_locked(f) && (h->counted || writes(h)) &&
	    __atomic_load_n(&f->opens, __ATOMIC_SEQ_CST) > 1;
}

static void
let_file_go(struct fs *fs, struct file *f, bool pool_usable)
{
	if (pool_usable)
		file_let_go(fs, f);
	else
		(void)pthread_rwlock_unlock(&f->state);
}

void
coherence_close(struct fs *fs, struct handle *h, bool pool_usable)
{
	struct coherence *c = &fs->coherence;
	struct file *f = h->node->file;
	bool untrack;

	if (!h->cached && !h->counted)
		return;
	(void)pthread_rwlock_rdlock(&f->state);
	(void)pthread_mutex_lock(&c->gate);
	(void)pthread_mutex_lock(&c->lock);
	untrack = uncount_locked(f, h);
	(void)pthread_mutex_unlock(&c->lock);
	if (untrack && pool_usable && f->mpf != NULL)
		mpool_kcache_ask_drop(f->mpf);
	(void)pthread_mutex_unlock(&c->gate);
	let_file_go(fs, f, pool_usable);
}

/* The gate is closed. */
static bool
end_lent(struct coherence *c, struct file *f, bool *keepp)
{
	bool ends;

	(void)pthread_mutex_lock(&c->lock);
	ends = __atomic_load_n(&f->lent, __ATOMIC_SEQ_CST) && !is_open(f);
	if (ends)
		*keepp = end_locked(c, f);
	(void)pthread_mutex_unlock(&c->lock);
	return ends;
}

void
coherence_closed(struct fs *fs, struct file *f, bool pool_usable)
{
	struct coherence *c = &fs->coherence;
	bool ends, keep = false;

	if (!__atomic_load_n(&f->lent, __ATOMIC_SEQ_CST) || is_open(f))
		return;
	(void)pthread_rwlock_rdlock(&f->state);
	(void)pthread_mutex_lock(&c->gate);
	ends = end_lent(c, f, &keep);
	if (ends && pool_usable && f->mpf != NULL)
		mpool_kcache_end(f->mpf, keep);
	(void)pthread_mutex_unlock(&c->gate);
	let_file_go(fs, f, pool_usable);
	if (!ends)
		return;
	(void)pthread_mutex_lock(&c->lock);
	c->again = true;
	(void)pthread_cond_broadcast(&c->wake);
	(void)pthread_mutex_unlock(&c->lock);
	node_put(fs, f->node);
}

void
coherence_left_pool(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	/* in another pool another file may have the number */
	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->live.next; l != &c->live; l = l->next)
		link_entry(l, struct file, live)->pool_file = 0;
	(void)pthread_mutex_unlock(&c->lock);
	atomic_store(&c->renewed, true);
}

void
coherence_reopened(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool kept, shared;

	(void)pthread_mutex_lock(&c->gate);
	if (f->cached > 0 && mpool_file_id(f->mpf) != f->pool_file &&
	    mpool_kcache_begin(f->mpf, true, &kept) == 0) {
		mpool_kcache_ask_drop(f->mpf);
		atomic_store(&c->look, true);
		shared = mpool_kcache_shared(f->mpf);
		(void)pthread_mutex_lock(&c->lock);
		f->pool_file = mpool_file_id(f->mpf);
		f->pool_page = (unsigned)mpool_file_pagesize(f->mpf);
		f->outdated = shared ? f->outdated + 1 : 0;
		/* of what it is given from now on there are copies, if there is memory */
		if (shared && f->copies == NULL)
			(void)coherence_track_locked(f);
		(void)pthread_mutex_unlock(&c->lock);
	}
	(void)pthread_mutex_unlock(&c->gate);
}

void
coherence_look(struct fs *fs, const char **modep, uint64_t *filesp)
{
	struct coherence *c = &fs->coherence;

	*modep = fs_cache_words[c->claimed ? c->mode : FS_CACHE_NONE];
	(void)pthread_mutex_lock(&c->lock);
	*filesp = c->nlive;
	(void)pthread_mutex_unlock(&c->lock);
}

void
coherence_wake(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	(void)pthread_mutex_lock(&c->lock);
	(void)pthread_cond_broadcast(&c->wake);
	(void)pthread_mutex_unlock(&c->lock);
	if (pool_peek(fs))
		mpool_kcache_ring(fs->pool);
	pool_put(fs);
}

/* --- what the kernel is given ---------------------------------------------------------------- */

bool
coherence_tracks(const struct file *f)
{
	return __atomic_load_n(&f->copies, __ATOMIC_SEQ_CST) != NULL;
}

void
coherence_takes(struct file *f, uint64_t length)
{
	uint64_t end = __atomic_load_n(&f->kernel_end, __ATOMIC_SEQ_CST);

	while (end < length &&
	    !__atomic_compare_exchange_n(
		&f->kernel_end, &end, length, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		continue;
}

bool
coherence_is_untold(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool untold;

	if (__atomic_load_n(&f->cached, __ATOMIC_SEQ_CST) == 0 || c->claimed)
		return false;
	(void)pthread_mutex_lock(&c->lock);
	untold = f->cached > 0 && f->pool_file == 0;
	(void)pthread_mutex_unlock(&c->lock);
	return untold;
}

bool
coherence_may_be_stored(const struct file *f)
{
	return __atomic_load_n(&f->cached_writers, __ATOMIC_SEQ_CST) > 0;
}

void
coherence_gives(struct file *f)
{
	if (!__atomic_load_n(&f->given, __ATOMIC_SEQ_CST))
		__atomic_store_n(&f->given, true, __ATOMIC_SEQ_CST);
}

/* What is answered after the kernel was told of a greater length it may believe, or not. */
void
coherence_shows(struct file *f, uint64_t length)
{
	uint64_t end = __atomic_load_n(&f->kernel_end, __ATOMIC_SEQ_CST);

	while (end > length &&
	    !__atomic_compare_exchange_n(
		&f->kernel_end, &end, length, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		continue;
}

static size_t
count_all_locked(const struct coherence *c)
{
	size_t n = 0;

	for (const struct link *l = c->live.next; l != &c->live; l = l->next)
		if (link_entry(l, const struct file, live)->copies != NULL)
			n += copies_count(link_entry(l, const struct file, live)->copies);
	return n;
}

void
coherence_grew_locked(const struct coherence *c, struct file *f, size_t before)
{
	size_t now = copies_count(f->copies);

	if (before / COPIES_STEP != now / COPIES_STEP &&
	    (now > COPIES_MOST || count_all_locked(c) > COPIES_ALL))
		mpool_kcache_ask_drop(f->mpf);
}

int
coherence_give_begin(struct fs *fs, struct file *f, uint64_t from, uint64_t to)
{
	struct coherence *c = &fs->coherence;
	size_t before;
	int err = 0;

	(void)pthread_mutex_lock(&c->lock);
	if (f->copies != NULL) {
		before = copies_count(f->copies);
		err = copies_announce(f->copies, from, to, ++c->age);
		coherence_grew_locked(c, f, before);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return err;
}

void
coherence_give_end(
    struct fs *fs, struct file *f, uint64_t from, uint64_t to, const char *buf, size_t bytes)
{
	struct coherence *c = &fs->coherence;

	(void)pthread_mutex_lock(&c->lock);
	if (f->copies != NULL)
		copies_fill(f->copies, from, buf, bytes, to);
	(void)pthread_mutex_unlock(&c->lock);
}

/* --- write-back ------------------------------------------------------------------------------ */

/* [k] The bytes lie in one of the kernel's pages. */
static bool
merge_part_locked(const struct coherence *c, const struct file *f, char *page, uint64_t from,
    const char *buf, size_t bytes)
{
	const char *given = NULL;
	bool any = false;

	if (f->copies != NULL)
		given = copies_at(f->copies, from - from % COPY_BYTES);
	if (given != NULL)
		given += from % COPY_BYTES;
	if (given != NULL ? memcmp(given, buf, bytes) == 0 : f->outdated > 0)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if ((given != NULL && given[i] == buf[i]) || written_covers_locked(c, f, from + i))
			continue;
		any = true;
		page[i] = buf[i];
	}
	return any;
}

bool
coherence_merge(
    struct fs *fs, struct file *f, char *page, uint64_t from, const char *buf, size_t bytes)
{
	struct coherence *c = &fs->coherence;
	bool any = false;

	for (size_t at = 0, n; at < bytes; at += n) {
		n = COPY_BYTES - (from + at) % COPY_BYTES;
		if (n > bytes - at)
			n = bytes - at;
		(void)pthread_mutex_lock(&c->lock);
		any |= merge_part_locked(c, f, page + at, from + at, buf + at, n);
		(void)pthread_mutex_unlock(&c->lock);
	}
	return any;
}

void
coherence_merged(struct fs *fs, struct file *f, uint64_t from, const char *buf, size_t bytes)
{
	struct coherence *c = &fs->coherence;

	(void)atomic_fetch_add(&c->merged, 1);
	(void)pthread_mutex_lock(&c->lock);
	if (f->copies != NULL)
		copies_update(f->copies, from, buf, bytes, UINT64_MAX);
	(void)pthread_mutex_unlock(&c->lock);
}
