/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/coherence.c - which files the kernel may cache, and what it was given of those that others
 * change (rules C1 to C4 in coherence.h).
 *
 * coherence_drop.c has the thread that has pages dropped.
 *
 * A write(2) that goes through the kernel's cache changes the kernel's page first and sends the
 * bytes then; the page is not locked meanwhile.  If it was dropped in between, somebody may have
 * read the old bytes again.  So of a tracked file the page is dropped once more when such a write
 * finds that the kernel was given one, and the write is answered after that.  Only the last page
 * of a write can be locked until it is answered, and then nobody can have read it: that is what
 * the time limit of such a drop is for.
 */
#include "coherence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "coherence_impl.h"
#include "copies.h"
#include "file_idle.h"

#define COPIES_MOST 8192u /* of one file; then its pages are dropped */

/* --- who may cache --------------------------------------------------------------------------- */

void
coherence_claim(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	c->claimed = false;
	if (c->mode == FS_CACHE_NONE)
		return;
	if (mpool_kcache_claim(fs->pool) == 0)
		c->claimed = true;
	else
		fs_log(LOG_WARNING,
		    "another mount lets its kernel cache files of the pool of %s: this one does "
		    "without (cache=none)",
		    fs->opt->home);
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

/* The gate is closed, and the file open in the pool. */
static int
count_cached(struct fs *fs, struct file *f, struct handle *h, bool kept)
{
	struct coherence *c = &fs->coherence;
	bool first = f->cached == 0;
	int err = 0;

	if (first)
		node_get(fs, f->node);
	(void)pthread_mutex_lock(&c->lock);
	h->keep = kept && (f->cached > 0 || c->mode == FS_CACHE_KEEP);
	if (f->direct_writers > 0 && f->copies == NULL) {
		h->keep = false;
		err = (f->copies = copies_create()) == NULL ? ENOMEM : 0;
	}
	if (err == 0 && f->cached++ == 0) {
		link_append(&c->live, &f->live);
		(void)pthread_cond_broadcast(&c->wake);
	}
	f->pool_file = mpool_file_id(f->mpf);
	f->pool_page = (unsigned)mpool_file_pagesize(f->mpf);
	h->cached = err == 0;
	(void)pthread_mutex_unlock(&c->lock);
	if (err != 0 && first) {
		mpool_kcache_end(f->mpf, false);
		node_put(fs, f->node);
	}
	return err;
}

static int
count_direct(struct fs *fs, struct file *f, struct handle *h)
{
	struct coherence *c = &fs->coherence;
	int err = 0;

	if (writes(h) && f->cached == 0)
		mpool_kcache_end(f->mpf, false);
	(void)pthread_mutex_lock(&c->lock);
	/* a direct_io open that is not told to keep them drops the pages that others read */
	h->keep = true;
	if (writes(h)) {
		if (f->cached > 0 && f->copies == NULL) {
			h->keep = false;
			err = (f->copies = copies_create()) == NULL ? ENOMEM : 0;
		}
		if (err == 0)
			f->direct_writers++;
		h->counted = err == 0;
	}
	(void)pthread_mutex_unlock(&c->lock);
	return err;
}

int
coherence_open(struct fs *fs, struct handle *h)
{
	struct coherence *c = &fs->coherence;
	struct file *f;
	bool kept;
	int err;

	h->cached = h->keep = h->counted = false;
	if (!c->claimed)
		return 0;
	if ((err = file_get(fs, h->node, false, &f)) != 0)
		return err;
	(void)pthread_mutex_lock(&c->gate);
	if (!goes_past(h) && mpool_kcache_begin(f->mpf, false, &kept) == 0) {
		err = count_cached(fs, f, h, kept);
	} else {
		err = count_direct(fs, f, h);
	}
	(void)pthread_mutex_unlock(&c->gate);
	file_put(fs, f);
	return err;
}

/* [k] The last cached open went: true. */
static bool
uncount_locked(struct fs *fs, struct file *f, const struct handle *h, bool *untrackp, bool *keepp)
{
	bool last = h->cached && --f->cached == 0;

	if (h->counted && --f->direct_writers == 0 && f->copies != NULL)
		*untrackp = true;
	if (last) {
		*keepp = fs->coherence.mode == FS_CACHE_KEEP && f->copies == NULL;
		link_remove(&f->live);
		copies_destroy(f->copies);
		f->copies = NULL;
		*untrackp = false;
	}
	return last;
}

void
coherence_close(struct fs *fs, struct handle *h, bool pool_usable)
{
	struct coherence *c = &fs->coherence;
	struct file *f = h->node->file;
	bool last, untrack = false, keep = false;

	if (!h->cached && !h->counted)
		return;
	(void)pthread_rwlock_rdlock(&f->state);
	(void)pthread_mutex_lock(&c->gate);
	(void)pthread_mutex_lock(&c->lock);
	last = uncount_locked(fs, f, h, &untrack, &keep);
	(void)pthread_mutex_unlock(&c->lock);
	if (last && pool_usable && f->mpf != NULL)
		mpool_kcache_end(f->mpf, keep);
	if (untrack && pool_usable && f->mpf != NULL)
		mpool_kcache_ask_drop(f->mpf);
	(void)pthread_mutex_unlock(&c->gate);
	if (pool_usable)
		file_let_go(fs, f);
	else
		(void)pthread_rwlock_unlock(&f->state);
	if (last)
		node_put(fs, h->node);
}

void
coherence_reopened(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool kept;

	(void)pthread_mutex_lock(&c->gate);
	if (f->cached > 0 && mpool_file_id(f->mpf) != f->pool_file) {
		if (mpool_kcache_begin(f->mpf, true, &kept) == 0)
			mpool_kcache_ask_drop(f->mpf);
		(void)pthread_mutex_lock(&c->lock);
		f->pool_file = mpool_file_id(f->mpf);
		f->pool_page = (unsigned)mpool_file_pagesize(f->mpf);
		(void)pthread_mutex_unlock(&c->lock);
	}
	(void)pthread_mutex_unlock(&c->gate);
}

void
coherence_look(struct fs *fs, const char **modep, uint64_t *filesp)
{
	static const char *const words[] = {
		[FS_CACHE_NONE] = "none", [FS_CACHE_OPEN] = "open", [FS_CACHE_KEEP] = "keep"
	};
	struct coherence *c = &fs->coherence;

	*modep = words[c->claimed ? c->mode : FS_CACHE_NONE];
	*filesp = 0;
	(void)pthread_mutex_lock(&c->lock);
	for (const struct link *l = c->live.next; l != &c->live; l = l->next)
		++*filesp;
	(void)pthread_mutex_unlock(&c->lock);
}

/* --- what the kernel is given ---------------------------------------------------------------- */

bool
coherence_tracks(struct fs *fs, struct file *f)
{
	(void)fs;
	return __atomic_load_n(&f->copies, __ATOMIC_SEQ_CST) != NULL;
}

/* The mount drops all when the copies become too many. */
static void
look_at_size_locked(struct file *f)
{
	if (copies_count(f->copies) > COPIES_MOST && copies_count(f->copies) % 256 == 0)
		mpool_kcache_ask_drop(f->mpf);
}

int
coherence_give_begin(
    struct fs *fs, struct file *f, const struct handle *h, uint64_t from, uint64_t to)
{
	struct coherence *c = &fs->coherence;
	int err = 0;

	if (from % COPY_BYTES != 0 || to % COPY_BYTES != 0)
		return 0; /* not for a page of the kernel's */
	(void)pthread_mutex_lock(&c->lock);
	if (f->copies != NULL) {
		err = copies_announce(f->copies, from, to,
		    h != NULL && h->cached && (h->flags & O_DIRECT) == 0, ++c->age);
		look_at_size_locked(f);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return err;
}

void
coherence_give_end(struct fs *fs, struct file *f, uint64_t from, const char *buf, size_t bytes)
{
	struct coherence *c = &fs->coherence;

	(void)pthread_mutex_lock(&c->lock);
	if (f->copies != NULL && from % COPY_BYTES == 0)
		copies_fill(f->copies, from, buf, bytes);
	(void)pthread_mutex_unlock(&c->lock);
}

/* --- write(2) -------------------------------------------------------------------------------- */

/* Pages that a write through the kernel's cache fills are there without having been read. */
static int
note_whole_pages_locked(
    struct coherence *c, struct file *f, const char *buf, uint64_t from, uint64_t to)
{
	uint64_t first = (from + COPY_BYTES - 1) / COPY_BYTES * COPY_BYTES;
	uint64_t end = to / COPY_BYTES * COPY_BYTES;
	int err;

	if (first >= end)
		return 0;
	if ((err = copies_announce(f->copies, first, end, false, ++c->age)) == 0)
		copies_fill(f->copies, first, buf + (first - from), (size_t)(end - first));
	return err;
}

int
coherence_write(struct fs *fs, struct file *f, const struct handle *h, const char *buf,
    uint64_t from, uint64_t to, struct written **wp)
{
	struct coherence *c = &fs->coherence;
	struct written *w = NULL;
	int err = 0;

	(void)pthread_mutex_lock(&c->lock);
	if (f->copies != NULL && copies_any(f->copies, from, to)) {
		if ((w = calloc(1, sizeof(*w))) != NULL) {
			*w = (struct written){
				.number = ++c->writes, .file = f, .from = from, .to = to
			};
			w->may_be_locked = h->cached && to % COPY_BYTES != 0;
			link_append(&c->writtens, &w->link);
		} else {
			err = ENOMEM;
		}
	} else if (f->copies != NULL && h->cached) {
		err = note_whole_pages_locked(c, f, buf, from, to);
		look_at_size_locked(f);
	}
	(void)pthread_mutex_unlock(&c->lock);
	*wp = w;
	return err;
}

void
coherence_reply(struct fs *fs, struct written *w, void *req, int error, size_t done)
{
	struct coherence *c = &fs->coherence;

	(void)pthread_mutex_lock(&c->lock);
	w->req = req;
	w->error = error;
	w->done = done;
	(void)pthread_cond_broadcast(&c->wake);
	(void)pthread_mutex_unlock(&c->lock);
	(void)pool_peek(fs);
	if (fs->pool != NULL)
		mpool_kcache_ring(fs->pool);
	pool_put(fs);
}

/* --- write-back ------------------------------------------------------------------------------ */

static bool
is_being_written_locked(const struct coherence *c, const struct file *f, uint64_t at)
{
	for (const struct link *l = c->writtens.next; l != &c->writtens; l = l->next) {
		const struct written *w = link_entry(l, const struct written, link);

		if (w->file == f && at >= w->from && at < w->to)
			return true;
	}
	return false;
}

bool
coherence_merge(
    struct fs *fs, struct file *f, char *page, uint64_t from, const char *buf, size_t bytes)
{
	struct coherence *c = &fs->coherence;
	const char *given = NULL;
	bool any = false;

	(void)pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < bytes; i++) {
		uint64_t at = from + i;

		if (i == 0 || at % COPY_BYTES == 0)
			given =
			    f->copies == NULL ? NULL : copies_at(f->copies, at - at % COPY_BYTES);
		if ((given != NULL && given[at % COPY_BYTES] == buf[i]) ||
		    is_being_written_locked(c, f, at))
			continue;
		any = true;
		page[i] = buf[i];
	}
	(void)pthread_mutex_unlock(&c->lock);
	return any;
}

void
coherence_merged(struct fs *fs, struct file *f, uint64_t from, const char *buf, size_t bytes)
{
	struct coherence *c = &fs->coherence;

	(void)atomic_fetch_add(&c->merged, 1);
	(void)pthread_mutex_lock(&c->lock);
	if (f->copies != NULL && from % COPY_BYTES == 0)
		copies_update(f->copies, from, buf, bytes);
	(void)pthread_mutex_unlock(&c->lock);
}
