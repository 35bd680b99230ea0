/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/pool.c - the mount's handle on the pool.
 *
 * Every request that may touch the pool holds fs.pool_lock shared while it runs, so that the pool
 * can be taken away whole: when rm regions/mpool removes its region, or when somebody else
 * removed it by force (ESTALE).  The next request then opens a fresh pool with the same options.
 * Open files notice nothing: file.c opens them in the new pool when they are used.
 *
 * The pool's own background writer (DB_ENV.mp_writer) keeps a part of it clean.  The one here
 * does once a second what nobody else is sure to do: take over from processes that died, write
 * pages that have been dirty for longer than dirty_expire, and let go of files that were removed
 * from HOME.
 */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "pin_age.h"
#include "state.h"

#define WRITER_PERIOD_SEC 1
#define IDLE_LEAST 4
#define IDLE_MOST 256
#define CACHE_PER_IDLE_FILE 65536
#define REQUESTS_IN_CACHE 64

/* --- what the pool says -------------------------------------------------------------------- */

static bool
is_removed(const struct fs *fs)
{
	return region_usable(mpool_region(fs->pool)) == ESTALE;
}

/* The callback of DB_ENV has no argument, and one process serves one mount. */
static const struct fs *serving;

/*
 * Who calls the pool holds pool_lock.  Of a pool that was removed by force nothing can be read or
 * written any more: drop_removed_locked says that once, for all the calls that find it so.
 */
static __thread void (*hearing)(void *arg, const char *sentence);
static __thread void *hearing_arg;

void
pool_hear(void (*fn)(void *arg, const char *sentence), void *arg)
{
	hearing = fn;
	hearing_arg = arg;
}

static void *
pool_says(char *prefix, char *sentence)
{
	if (hearing != NULL) {
		hearing(hearing_arg, sentence);
		return NULL;
	}
	if (serving->pool != NULL && is_removed(serving))
		return NULL;
	return fs_log_core(prefix, sentence);
}

void
pool_listen(struct fs *fs)
{
	serving = fs;
	fs->env.db_errcall = pool_says;
}

/* --- opening and holding ------------------------------------------------------------------- */

/*
 * A small pool knows few files, and has few pages: files that are open only in case somebody
 * wants them again must not fill its table, nor the pins of one request the pool.
 */
static void
set_limits(struct fs *fs, uint64_t cache_bytes)
{
	uint64_t files = cache_bytes / CACHE_PER_IDLE_FILE;

	if (files > IDLE_MOST)
		files = IDLE_MOST;
	if (files < IDLE_LEAST)
		files = IDLE_LEAST;
	/* requests that run may see the old ones */
	__atomic_store_n(&fs->nodes.idle_limit, (unsigned)files, __ATOMIC_RELAXED);
	__atomic_store_n(&fs->gather_bytes, cache_bytes / REQUESTS_IN_CACHE, __ATOMIC_RELAXED);
	ahead_set_room(fs, cache_bytes);
}

/* What the pool is now, which may be another process's doing. */
static int
look_at_size(struct fs *fs, DB_MPOOL *pool, uint64_t *bytesp)
{
	DB_MPOOL_STAT *st;
	int err;

	if ((err = memp_stat(pool, &st, NULL, NULL)) != 0)
		return err;
	*bytesp = st->st_cachesize;
	free(st);
	set_limits(fs, *bytesp);
	return 0;
}

static int
open_locked(struct fs *fs)
{
	DB_MPOOL *pool;
	uint64_t bytes;
	int err;

	err = memp_open(NULL, DB_CREATE | DB_THREAD, (int)fs->opt->mode, &fs->env, &pool);
	if (err != 0)
		return err;
	if ((err = look_at_size(fs, pool, &bytes)) != 0 ||
	    (err = mpool_confine(pool, fs->opt->home)) != 0 ||
	    (err = files_note_region(fs, mpool_region(pool)->fd)) != 0) {
		(void)memp_close(pool);
		return err;
	}
	fs->pool = pool;
	coherence_claim(fs);
	return 0;
}

static void
close_locked(struct fs *fs)
{
	file_close_all(fs);
	coherence_left_pool(fs);
	(void)memp_close(fs->pool);
	fs->pool = NULL;
}

static void
drop_removed_locked(struct fs *fs)
{
	if (fs->pool == NULL || !is_removed(fs))
		return;
	fs_log(LOG_ERR, "the pool of %s was removed by force: what was not written is lost",
	    fs->opt->home);
	close_locked(fs);
}

static int
renew(struct fs *fs)
{
	int err = 0;

	(void)pthread_rwlock_wrlock(&fs->pool_lock);
	drop_removed_locked(fs);
	if (fs->pool == NULL)
		err = open_locked(fs);
	(void)pthread_rwlock_unlock(&fs->pool_lock);
	return err;
}

int
pool_get(struct fs *fs)
{
	int err;

	for (;;) {
		(void)pthread_rwlock_rdlock(&fs->pool_lock);
		if (fs->pool != NULL && !is_removed(fs))
			return 0;
		(void)pthread_rwlock_unlock(&fs->pool_lock);
		if ((err = renew(fs)) != 0)
			return err;
	}
}

bool
pool_peek(struct fs *fs)
{
	for (;;) {
		(void)pthread_rwlock_rdlock(&fs->pool_lock);
		if (fs->pool == NULL || !is_removed(fs))
			return fs->pool != NULL;
		(void)pthread_rwlock_unlock(&fs->pool_lock);
		(void)pthread_rwlock_wrlock(&fs->pool_lock);
		drop_removed_locked(fs);
		(void)pthread_rwlock_unlock(&fs->pool_lock);
	}
}

void
pool_put(struct fs *fs)
{
	(void)pthread_rwlock_unlock(&fs->pool_lock);
}

/* --- writing everything -------------------------------------------------------------------- */

int
pool_sync(struct fs *fs)
{
	int own, all, disk;

	/* Our own files first: what another process has pinned is written from a copy. */
	own = file_sync_all(fs);
	all = memp_sync(fs->pool, NULL);
	if (all == DB_INCOMPLETE)
		all = 0; /* pages that others are changing: theirs to write */
	/* Also what the pool wrote to files that it cannot open any more. */
	disk = syncfs(fs->home_fd) == -1 ? errno : 0;
	return own != 0 ? own : all != 0 ? all : disk;
}

int
pool_finish(struct fs *fs)
{
	int err = 0;

	(void)pthread_rwlock_wrlock(&fs->pool_lock);
	drop_removed_locked(fs);
	if (fs->pool != NULL) {
		err = pool_sync(fs);
		close_locked(fs);
	}
	(void)pthread_rwlock_unlock(&fs->pool_lock);
	if (err != 0)
		fs_log(LOG_ERR,
		    "not everything could be written to %s: %s; the rest stays in its pool",
		    fs->opt->home, db_strerror(err));
	return err;
}

/* --- removing ------------------------------------------------------------------------------ */

static int
remove_open_locked(struct fs *fs, bool by_force)
{
	if (!by_force && client_count(mpool_region(fs->pool)) > 1)
		return EBUSY;
	if (pool_sync(fs) != 0 && !by_force)
		return EIO;
	close_locked(fs);
	return 0;
}

int
pool_remove(struct fs *fs, bool by_force)
{
	bool is_private = fs->opt->memory == FS_MEMORY_PRIVATE;
	int err = is_private && !by_force ? EPERM : 0;

	(void)pthread_rwlock_wrlock(&fs->pool_lock);
	drop_removed_locked(fs);
	/* A private one has no region there: that one is somebody else's. */
	if (err == 0 && fs->pool != NULL && !is_private)
		err = remove_open_locked(fs, by_force);
	if (err == 0)
		err = memp_unlink(NULL, by_force, &fs->env);
	(void)pthread_rwlock_unlock(&fs->pool_lock);
	if (err != 0)
		fs_log(LOG_WARNING, "the pool of %s was not removed: %s", fs->opt->home,
		    err == EBUSY ? "other processes are attached" : db_strerror(err));
	else if (!is_private)
		coherence_renew(fs); /* who opens a file in the next pool has to be told of it */
	return err;
}

/* --- another size ---------------------------------------------------------------------------- */

int
pool_resize(struct fs *fs, uint64_t bytes, bool more)
{
	uint64_t now;
	int err;

	if ((err = pool_get(fs)) != 0)
		return err;
	if ((err = look_at_size(fs, fs->pool, &now)) == 0)
		err = (more ? bytes > now : bytes < now) ? memp_resize(fs->pool, bytes) : EINVAL;
	/* it has become that size, whether that can be said or not */
	if (err == 0 && look_at_size(fs, fs->pool, &now) != 0)
		now = bytes;
	pool_put(fs);
	if (err == 0)
		fs_log(LOG_INFO, "the pool of %s holds %llu bytes now", fs->opt->home,
		    (unsigned long long)now);
	return err;
}

/* --- the background writer ----------------------------------------------------------------- */

static void
write_old(struct fs *fs)
{
	uint64_t written;

	if (pool_peek(fs)) {
		(void)memp_reap(fs->pool);
		pin_ages_look(fs);
		history_look(fs);
		file_forget_removed(fs);
		file_give_way(fs);
		(void)mpool_write_old(
		    fs->pool, (uint64_t)fs->opt->dirty_expire * 1000000, &written);
	}
	pool_put(fs);
}

/* False: time to stop. */
static bool
writer_wait(struct fs *fs)
{
	struct timespec until;
	bool stop;
	int err = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += WRITER_PERIOD_SEC;
	(void)pthread_mutex_lock(&fs->writer_lock);
	while (!fs->writer_stop && err == 0)
		err = pthread_cond_timedwait(&fs->writer_wake, &fs->writer_lock, &until);
	stop = fs->writer_stop;
	(void)pthread_mutex_unlock(&fs->writer_lock);
	return !stop;
}

static void *
writer_main(void *arg)
{
	struct fs *fs = arg;

	while (writer_wait(fs))
		write_old(fs);
	return NULL;
}

int
pool_writer_start(struct fs *fs)
{
	int err;

	err = os_thread_start(&fs->writer, writer_main, fs);
	fs->writer_runs = err == 0;
	return err;
}

void
pool_writer_stop(struct fs *fs)
{
	if (!fs->writer_runs)
		return;
	(void)pthread_mutex_lock(&fs->writer_lock);
	fs->writer_stop = true;
	(void)pthread_cond_signal(&fs->writer_wake);
	(void)pthread_mutex_unlock(&fs->writer_lock);
	(void)pthread_join(fs->writer, NULL);
	fs->writer_runs = false;
}
