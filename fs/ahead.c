/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ahead.c - reading ahead of who reads in order what the pool has not got.
 *
 * A request that finds pages missing reads them, and its program waits for the device; while the
 * answer is copied, the device has nothing to do.  So a thread reads what comes next into the pool
 * meanwhile, and the request finds it there, or waits for a page that is on its way already.
 *
 * A file has a few streams: places where a request would go on from one that had to read.  When
 * enough was missing in a row, the stream is read ahead of: as far as its reader has come, up to
 * ahead.most.  Each request that gets half-way through that asks for more.  Who finds all in the
 * pool begins no stream, and pays some comparisons.  The requests by which the kernel itself reads
 * ahead come to different threads, and so not quite in order: a little before or behind the place
 * is it, too.
 *
 * The thread takes a piece of each file in turn, as a read request would: it holds the pool, and
 * the file, no longer than for one piece.  Nobody waits for it.
 */
#include "ahead.h"

#include "base/atomics.h"
#include "file.h"
#include "file_idle.h"
#include "piece.h"
#include "pool.h"
#include "state.h"

#define PIECE_BYTES ((uint64_t)1 << 20)
#define IN_ORDER_BYTES ((uint64_t)3 << 19) /* missing in a row before anything is read ahead */
#define ASTRAY_BYTES ((uint64_t)1 << 20)   /* how far from the place a request may begin */
#define MOST_BYTES ((uint64_t)8 << 20)
#define ROOM_SHARE 16u /* of the pool's bytes, ahead of one reader */

/* --- streams ------------------------------------------------------------------------------- */

static bool
is_near(uint64_t from, uint64_t place)
{
	return from < place ? place - from <= ASTRAY_BYTES : from - place <= ASTRAY_BYTES;
}

static void
ask_locked(struct fs *fs, struct file *f, struct stream *s, uint64_t next)
{
	uint64_t window = min_u64(next - s->began, load_relaxed(&fs->ahead.most));

	if (s->done < next)
		s->done = next;
	s->to = next + window;
	store_relaxed(&s->mark, next + window / 2);
	if (s->done >= s->to || !link_is_alone(&f->ahead.link))
		return;
	node_get(fs, f->node);
	link_append(&fs->ahead.files, &f->ahead.link);
	(void)pthread_cond_signal(&fs->ahead.wake);
}

void
ahead_request(struct fs *fs, struct file *f, uint64_t from, uint64_t to)
{
	struct stream *s = f->ahead.streams, *end = s + AHEAD_STREAMS;
	uint64_t mark = 0;

	while (s < end &&
	    ((mark = load_relaxed(&s->mark)) == 0 || !is_near(from, load_relaxed(&s->next))))
		s++;
	if (s == end)
		return;
	if (to > load_relaxed(&s->next))
		store_relaxed(&s->next, to);
	if (to < mark)
		return;
	(void)pthread_mutex_lock(&fs->ahead.lock);
	if (s->mark != 0 && to >= s->mark && to > s->began)
		ask_locked(fs, f, s, to);
	(void)pthread_mutex_unlock(&fs->ahead.lock);
}

static void
missing_locked(struct fs *fs, struct file *f, uint64_t from, uint64_t to)
{
	struct stream *s = f->ahead.streams, *end = s + AHEAD_STREAMS;

	while (s < end && (s->next != from || s->next == 0))
		s++;
	if (s == end) {
		s = &f->ahead.streams[f->ahead.turn++ % AHEAD_STREAMS];
		s->began = from;
		store_relaxed(&s->mark, 0);
	}
	store_relaxed(&s->next, to);
	if (to - s->began > IN_ORDER_BYTES && s->began < from)
		ask_locked(fs, f, s, to);
}

/* A request of a stream that is read ahead of has moved it already, if it is not the first. */
static bool
is_known(const struct file *f, uint64_t from, uint64_t to)
{
	const struct stream *s = f->ahead.streams;

	for (unsigned i = 0; i < AHEAD_STREAMS; i++)
		if (load_relaxed(&s[i].mark) != 0 && is_near(from, load_relaxed(&s[i].next)) &&
		    load_relaxed(&s[i].next) >= to)
			return true;
	return false;
}

void
ahead_missing(struct fs *fs, struct file *f, uint64_t from, uint64_t to)
{
	if (is_known(f, from, to))
		return;
	(void)pthread_mutex_lock(&fs->ahead.lock);
	missing_locked(fs, f, from, to);
	(void)pthread_mutex_unlock(&fs->ahead.lock);
}

void
ahead_file_init(struct ahead_file *a)
{
	link_init(&a->link);
}

/* --- the thread ---------------------------------------------------------------------------- */

struct piece_ahead {
	struct file *file;
	uint64_t from, bytes;
};

/* The file that waits longest. */
static struct file *
take_file_locked(struct ahead *a)
{
	struct file *f = link_entry(a->files.next, struct file, ahead.link);

	link_remove(&f->ahead.link);
	return f;
}

/* The next piece of the file that waits longest; false: of that one there is none. */
static bool
take_locked(struct ahead *a, struct piece_ahead *p)
{
	struct file *f = take_file_locked(a);
	struct stream *s = f->ahead.streams;
	unsigned i = 0;

	p->file = f;
	while (i < AHEAD_STREAMS && s[i].done >= s[i].to)
		i++;
	if (i == AHEAD_STREAMS)
		return false;
	p->from = s[i].done;
	p->bytes = min_u64(s[i].to - p->from, PIECE_BYTES);
	s[i].done += p->bytes;
	link_append(&a->files, &f->ahead.link);
	return true;
}

/* As a read request would. */
static void
fetch_locked(struct file *f, uint64_t from, uint64_t bytes)
{
	size_t page_bytes = mpool_file_pagesize(f->mpf);
	uint64_t first = from / page_bytes, last = (from + bytes - 1) / page_bytes;

	(void)pthread_rwlock_rdlock(&f->io);
	if (last <= UINT32_MAX)
		(void)memp_fprefetch(f->mpf, (db_pgno_t)first, (db_pgno_t)(last - first + 1));
	(void)pthread_rwlock_unlock(&f->io);
}

static void
read_piece(struct fs *fs, const struct piece_ahead *p)
{
	struct file *f = p->file;

	if (pool_peek(fs)) {
		(void)pthread_rwlock_rdlock(&f->state);
		if (f->mpf != NULL && __atomic_load_n(&f->opens, __ATOMIC_SEQ_CST) > 0)
			fetch_locked(f, p->from, p->bytes);
		file_let_go(fs, f);
	}
	pool_put(fs);
}

static void *
ahead_main(void *arg)
{
	struct fs *fs = arg;
	struct ahead *a = &fs->ahead;
	struct piece_ahead p;
	bool found;

	(void)pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		if (link_is_alone(&a->files)) {
			(void)pthread_cond_wait(&a->wake, &a->lock);
			continue;
		}
		found = take_locked(a, &p);
		(void)pthread_mutex_unlock(&a->lock);
		if (found)
			read_piece(fs, &p);
		else
			node_put(fs, p.file->node);
		(void)pthread_mutex_lock(&a->lock);
	}
	(void)pthread_mutex_unlock(&a->lock);
	return NULL;
}

void
ahead_init(struct fs *fs)
{
	struct ahead *a = &fs->ahead;

	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_cond_init(&a->wake, NULL);
	link_init(&a->files);
}

void
ahead_set_room(struct fs *fs, uint64_t cache_bytes)
{
	store_relaxed(&fs->ahead.most, min_u64(cache_bytes / ROOM_SHARE, MOST_BYTES));
}

int
ahead_start(struct fs *fs)
{
	int err = os_thread_start(&fs->ahead.thread, ahead_main, fs);

	fs->ahead.runs = err == 0;
	return err;
}

void
ahead_stop(struct fs *fs)
{
	struct ahead *a = &fs->ahead;

	if (!a->runs)
		return;
	(void)pthread_mutex_lock(&a->lock);
	a->stop = true;
	(void)pthread_cond_signal(&a->wake);
	(void)pthread_mutex_unlock(&a->lock);
	(void)pthread_join(a->thread, NULL);
	a->runs = false;
	while (!link_is_alone(&a->files))
		node_put(fs, take_file_locked(a)->node);
}
