/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/coherence_life.c - the kernel's pages when the mount begins, ends, or was stopped meanwhile.
 */
#include <poll.h>
#include <stdlib.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "coherence_impl.h"
#include "copies.h"
#include "ops.h"

#define SETTLE_SEC 2
#define FLUSH_MSEC 20

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
	if (atomic_load(&c->late_done) == late && atomic_load(&c->nwant[ROUNDS_LATE]) == 0)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SETTLE_SEC;
	(void)pthread_mutex_lock(&c->lock);
	while (err == 0 && (int32_t)(atomic_load(&c->late_done) - late) < 0 && !c->stop &&
	    !link_is_alone(&c->live))
		err = pthread_cond_clockwait(&c->wake, &c->lock, CLOCK_MONOTONIC, &until);
	/* now it is known which files are to be dropped; one that takes long is not waited for */
	while (err == 0 && atomic_load(&c->nwant[ROUNDS_LATE]) > 0 && !c->stop)
		err = pthread_cond_clockwait(&c->wake, &c->lock, CLOCK_MONOTONIC, &c->late_until);
	(void)pthread_mutex_unlock(&c->lock);
}

/* --- beginning and end ----------------------------------------------------------------------- */

void
coherence_init(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	c->mode = fs->opt->cache;
	if (c->mode != FS_CACHE_NONE && sysconf(_SC_PAGESIZE) != (long)COPY_BYTES) {
		fs_log(
		    LOG_WARNING, "the kernel's pages are not of %u bytes: cache=none", COPY_BYTES);
		c->mode = FS_CACHE_NONE;
	}
	link_init(&c->live);
	link_init(&c->writtens);
	link_init(&c->openings);
	(void)pthread_mutex_init(&c->gate, NULL);
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->wake, NULL);
	(void)pthread_cond_init(&c->idle, NULL);
	c->notifier.fd = c->notifier.old_fd = c->notifier.pid = -1;
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
	err = rounds_start(fs);
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
	rounds_flush(c);
	writtens_ask_again(c);
	coherence_wake(fs);
	while (atomic_load(&c->nwant[ROUNDS_FLUSH]) > 0) {
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

	if (c->runs) {
		(void)pthread_mutex_lock(&c->lock);
		c->stop = true;
		(void)pthread_cond_broadcast(&c->wake);
		(void)pthread_cond_broadcast(&c->idle);
		(void)pthread_mutex_unlock(&c->lock);
		notifier_shut(&c->notifier);
		/* a page that one of them has locked is perhaps being waited for */
		writtens_answer(c);
		rounds_stop(c);
		c->runs = false;
		openings_answer(fs);
	}
	notifier_stop(&c->notifier);
}
