/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/locks.c - the mount's part in the lock table: flock(2), without holding a worker.
 *
 * The table is opened when it is first needed, with whatever matrix it has.  Each open file
 * description that locks something has an owner record, until it unlocks or is closed; each flock
 * on it is a request with a locker of its own, which becomes the description's when it is granted.
 * A request that has to wait is an asker; a thread of ours sleeps on the table's bell of this
 * process, looks at all that wait when it rings, and every LOOK_USEC for those that have died, and
 * answers what has been decided.  An interrupted system call marks its asker.  Once a second it has
 * the locks of all dead processes released: nobody may be waiting for them, and they are shown.
 *
 * As on Linux, a lock that is held is given up before another mode is asked for, and when several
 * wait through one description all that asked for the mode that it gets have it.
 *
 * What the asker's process holds through other descriptions is family.c's.
 *
 * locks.mutex guards all of it; no call under it waits for anybody.  Answers are given after it was
 * released.
 */
#include "locks_impl.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "lock/open.h"
#include "opened.h"
#include "region_dir.h"
#include "state.h"

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#define REAP_SEC 1

/* An answer that is due. */
struct answer {
	fuse_req_t req;
	int err;
};

/* --- the table ----------------------------------------------------------------------------- */

static void
free_locker(struct locks *l, uint32_t locker)
{
	if (!locks_stale(l))
		(void)lock_id_free(l->lt, locker);
}

/* If nothing is left of it. */
static void
drop_owner(struct locks *l, struct owner *o)
{
	struct owner **link = &l->owners;

	if (o->lock != 0 || o->askers > 0)
		return;
	while (*link != o)
		link = &(*link)->next;
	*link = o->next;
	free(o);
}

static void
unlock_owner(struct locks *l, struct owner *o)
{
	if (o->lock == 0)
		return;
	if (!locks_stale(l))
		(void)lock_put(l->lt, o->lock);
	free_locker(l, o->locker);
	o->lock = 0;
}

static int
open_table(struct fs *fs, bool create)
{
	struct locks *l = fs->locks;
	int err;

	if (l->lt != NULL)
		return 0;
	err = table_open(
	    NULL, DB_THREAD | (create ? (u_int32_t)DB_CREATE : 0), 0, &fs->env, true, &l->lt);
	if (err != 0)
		l->lt = NULL;
	else
		/* the waiter reaps in it from now on */
		(void)pthread_cond_signal(&l->wake);
	return err;
}

/* Nobody waits. */
static void
close_table(struct locks *l)
{
	while (l->owners != NULL) {
		unlock_owner(l, l->owners);
		drop_owner(l, l->owners);
	}
	(void)lock_close(l->lt);
	l->lt = NULL;
}

static void
close_stale(struct locks *l)
{
	if (locks_stale(l) && l->askers == NULL)
		close_table(l);
}

DB_LOCKTAB *
locks_peek_table(struct fs *fs)
{
	struct locks *l = fs->locks;
	struct stat st;

	(void)pthread_mutex_lock(&l->mutex);
	close_stale(l);
	if (l->lt == NULL && region_stat_file(fs, LOCK_FILE, &st) == 0)
		(void)open_table(fs, false);
	return l->lt;
}

void
locks_put_table(struct fs *fs)
{
	(void)pthread_mutex_unlock(&fs->locks->mutex);
}

/* --- what has been decided ----------------------------------------------------------------- */

static int
as_errno(int ret)
{
	switch (ret) {
	case DB_LOCK_NOTGRANTED:
		return EWOULDBLOCK;
	case DB_LOCK_DEADLOCK:
		return EDEADLK;
	case ENOMEM:
		return ENOLCK;
	default:
		return ret < 0 ? EIO : ret;
	}
}

/*
 * The description has what was asked for; or rather had, if others wait through it for another mode
 * and so give this one up.
 */
static void
hold(struct locks *l, struct owner *o, uint32_t locker, int mode, DB_LOCK lock)
{
	bool converts = false;

	unlock_owner(l, o);
	o->lock = lock;
	o->locker = locker;
	o->mode = mode;
	for (const struct asker *a = l->askers; a != NULL; a = a->next)
		converts |= a->owner == o && a->mode != mode;
	if (converts || o->closed)
		unlock_owner(l, o);
}

/* The wait is over.  had: its description got that mode by another request. */
static struct answer
settle(struct locks *l, struct asker *a, int ret, bool had)
{
	struct answer answer = { a->req, as_errno(ret) };
	struct asker **link = &l->askers;
	struct owner *o = a->owner;

	/* From here on nobody looks at the record that goes. */
	fuse_req_interrupt_func(a->req, NULL, NULL);
	while (*link != a)
		link = &(*link)->next;
	*link = a->next;
	family_forget(l, a);
	o->askers--;
	if (ret == 0 && !had)
		hold(l, o, a->locker, a->mode, a->rq.lock);
	else
		free_locker(l, a->locker);
	drop_owner(l, o);
	free(a);
	return answer;
}

/* Its description has that mode by now.  What it was granted besides is given back. */
static struct answer
settle_had(struct locks *l, struct asker *a)
{
	bool done = false;

	if (request_withdraw(l->lt, &a->rq, &done) == 0 && done)
		(void)lock_put(l->lt, a->rq.lock);
	return settle(l, a, 0, true);
}

/* One look at a request that waits.  True: it is decided. */
static bool
look_at(struct fs *fs, struct asker *a, bool long_ago, struct answer *answer)
{
	struct locks *l = fs->locks;
	bool done = false;
	int ret;

	if ((ret = region_usable(l->lt->region)) != 0) {
		*answer = settle(l, a, ret, false);
		return true;
	}
	if (a->owner->lock != 0 && a->owner->mode == a->mode) {
		*answer = settle_had(l, a);
		return true;
	}
	ret = request_outcome(l->lt, &a->rq, &done);
	if (!done && ret == 0 && (__atomic_load_n(&a->interrupted, __ATOMIC_SEQ_CST) || l->stop)) {
		ret = request_withdraw(l->lt, &a->rq, &done);
		if (!done && ret == 0)
			ret = EINTR;
		done = true;
	}
	if (!done && ret == 0 && long_ago)
		ret = request_look(l->lt, &a->rq);
	if (!done && ret == 0)
		return false;
	*answer = settle(l, a, ret, false);
	return true;
}

/* The first that is decided, or false. */
static bool
look_at_all(struct fs *fs, bool long_ago, struct answer *answer)
{
	for (struct asker *a = fs->locks->askers; a != NULL; a = a->next)
		if (look_at(fs, a, long_ago, answer))
			return true;
	return false;
}

/* Once in REAP_SEC. */
static void
reap_if_due(struct locks *l)
{
	uint64_t now = os_monotonic_usec();

	if (l->lt == NULL || now - l->reaped_usec < REAP_SEC * 1000000)
		return;
	l->reaped_usec = now;
	if (region_usable(l->lt->region) == 0)
		reap_everybody(l->lt);
}

/* Until somebody waits, or it is time to reap. */
static void
wait_idle(struct locks *l)
{
	struct timespec until;

	if (l->lt == NULL) {
		(void)pthread_cond_wait(&l->wake, &l->mutex);
		return;
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += REAP_SEC;
	(void)pthread_cond_clockwait(&l->wake, &l->mutex, CLOCK_MONOTONIC, &until);
}

static void *
waiter_main(void *arg)
{
	struct fs *fs = arg;
	struct locks *l = fs->locks;
	struct family family;
	uint32_t *bell, rung;
	struct answer a;
	bool any, due;

	(void)pthread_mutex_lock(&l->mutex);
	while (!l->stop || l->askers != NULL) {
		reap_if_due(l);
		if (l->askers == NULL) {
			wait_idle(l);
			continue;
		}
		/* The bell is looked at before the requests: what rings later is not missed. */
		bell = &l->lt->bells[l->lt->self];
		rung = load_seq(bell);
		any = look_at_all(fs, false, &a) || look_at_all(fs, true, &a);
		(void)pthread_mutex_unlock(&l->mutex);
		if (any)
			(void)fuse_reply_err(a.req, a.err);
		else
			os_futex_wait(bell, rung, LOOK_USEC);
		due = !any && load_seq(bell) == rung;
		(void)pthread_mutex_lock(&l->mutex);
		if (!due || !family_due(l, &family))
			continue;
		(void)pthread_mutex_unlock(&l->mutex);
		family_search(&family);
		(void)pthread_mutex_lock(&l->mutex);
		family_join(l, &family);
	}
	(void)pthread_mutex_unlock(&l->mutex);
	return NULL;
}

/* libfuse holds a lock of the request meanwhile. */
static void
interrupted(fuse_req_t req, void *data)
{
	struct asker *a = data;

	(void)req;
	__atomic_store_n(&a->interrupted, true, __ATOMIC_SEQ_CST);
}

/* --- flock(2) ------------------------------------------------------------------------------ */

static int
make_owner(struct locks *l, uint64_t id, const struct node *node, struct owner **op)
{
	struct owner *o;

	if ((o = calloc(1, sizeof(*o))) == NULL)
		return ENOLCK;
	o->id = id;
	o->ino = node->ident.ino;
	o->next = l->owners;
	l->owners = o;
	*op = o;
	return 0;
}

/* Ask for it.  EINPROGRESS: it waits. */
static int
ask(struct locks *l, struct asker *a, const struct node *node, bool wait)
{
	enum verdict verdict = GRANTED;
	bool done = true;
	int ret;

	a->object = node->ident;
	a->name = (DBT){ .data = &a->object, .size = sizeof(a->object) };
	if ((ret = request_init(l->lt, &a->rq, a->locker, wait ? 0 : DB_LOCK_NOWAIT, &a->name,
		 (uint32_t)a->mode, 0)) != 0)
		return ret;
	a->rq.distant = true;
	if ((ret = request_make(l->lt, &a->rq, &verdict)) != 0)
		return ret;
	if (verdict == WAITS) {
		(void)reap_set(l->lt, &a->rq.blockers);
		ret = request_outcome(l->lt, &a->rq, &done);
	}
	return ret == 0 && !done ? EINPROGRESS : ret;
}

static void
wait_for(struct locks *l, struct asker *a, fuse_req_t req)
{
	struct asker **link = &l->askers;

	a->req = req;
	a->number = ++l->numbers;
	a->owner->askers++;
	while (*link != NULL)
		link = &(*link)->next;
	*link = a;
	(void)pthread_cond_signal(&l->wake);
	/* Before the waiter can answer it, which takes the mutex.  Once it is set, it is seen. */
	fuse_req_interrupt_func(req, interrupted, a);
}

/* With the table open.  EINPROGRESS: req is answered later. */
static int
request_lock(struct locks *l, struct owner *o, const struct node *node, pid_t pid, int mode,
    bool wait, fuse_req_t req)
{
	struct asker *a;
	int ret;

	if ((a = calloc(1, sizeof(*a))) == NULL)
		return ENOLCK;
	a->owner = o;
	a->pid = pid;
	a->mode = mode;
	if ((ret = locker_new(l->lt, pid, 0, &a->locker)) != 0) {
		free(a);
		return ret;
	}
	if ((ret = ask(l, a, node, wait)) == EINPROGRESS) {
		wait_for(l, a, req);
		return ret;
	}
	if (ret == 0)
		hold(l, o, a->locker, mode, a->rq.lock);
	else
		free_locker(l, a->locker);
	free(a);
	return ret;
}

/* As the description owner, under the mutex.  EINPROGRESS: req is answered later. */
static int
flock_locked(struct fs *fs, const struct node *node, uint64_t id, pid_t pid, int op, fuse_req_t req)
{
	int mode = (op & ~LOCK_NB) == LOCK_EX ? DB_LOCK_WRITE : DB_LOCK_READ, ret;
	struct locks *l = fs->locks;
	struct owner *o = locks_owner(l, id);

	/* What is held in a table that cannot be used keeps nobody away. */
	if ((ret = open_table(fs, true)) != 0 || (ret = region_usable(l->lt->region)) != 0)
		return as_errno(ret);
	if (o != NULL && o->lock != 0 && o->mode == mode)
		return 0;
	if (o == NULL && (ret = make_owner(l, id, node, &o)) != 0)
		return as_errno(ret);
	unlock_owner(l, o);
	ret = request_lock(l, o, node, pid, mode, (op & LOCK_NB) == 0, req);
	drop_owner(l, o);
	return ret == EINPROGRESS ? ret : as_errno(ret);
}

static void
unlock(struct fs *fs, uint64_t id, bool closed)
{
	struct locks *l = fs->locks;
	struct owner *o;

	(void)pthread_mutex_lock(&l->mutex);
	if ((o = locks_owner(l, id)) != NULL) {
		o->closed = closed;
		unlock_owner(l, o);
		drop_owner(l, o);
	}
	(void)pthread_mutex_unlock(&l->mutex);
}

void
locks_release(struct fs *fs, uint64_t id)
{
	unlock(fs, id, true);
}

static bool
is_flock(int op)
{
	op &= ~LOCK_NB;
	return op == LOCK_SH || op == LOCK_EX;
}

void
locks_flock(struct fs *fs, struct node *node, uint64_t owner, pid_t pid, int op, fuse_req_t req)
{
	struct locks *l = fs->locks;
	int err;

	if (!is_flock(op)) {
		if ((op & ~LOCK_NB) == LOCK_UN)
			unlock(fs, owner, false);
		(void)fuse_reply_err(req, (op & ~LOCK_NB) == LOCK_UN ? 0 : EINVAL);
		return;
	}
	(void)pthread_mutex_lock(&l->mutex);
	close_stale(l);
	err = flock_locked(fs, node, owner, opened_process_of(pid), op, req);
	(void)pthread_mutex_unlock(&l->mutex);
	if (err != EINPROGRESS)
		(void)fuse_reply_err(req, err);
}

/* --- removal, beginning and end ------------------------------------------------------------ */

int
locks_remove(struct fs *fs, bool by_force)
{
	struct locks *l = fs->locks;
	int err;

	(void)pthread_mutex_lock(&l->mutex);
	close_stale(l);
	if (l->owners != NULL && !by_force) {
		fs_log(LOG_WARNING, "%s/%s: files of the mount are locked: not removed",
		    region_dir(fs), LOCK_FILE);
		(void)pthread_mutex_unlock(&l->mutex);
		return EBUSY;
	}
	if (l->owners == NULL)
		close_table(l);
	err = lock_unlink(NULL, by_force, &fs->env);
	(void)pthread_mutex_unlock(&l->mutex);
	return err < 0 ? EIO : err;
}

int
locks_init(struct fs *fs)
{
	struct locks *l;
	int err;

	if ((l = calloc(1, sizeof(*l))) == NULL)
		return ENOMEM;
	(void)pthread_mutex_init(&l->mutex, NULL);
	(void)pthread_cond_init(&l->wake, NULL);
	fs->locks = l;
	err = os_thread_start(&l->waiter, waiter_main, fs);
	l->waiter_runs = err == 0;
	return err;
}

void
locks_fini(struct fs *fs)
{
	struct locks *l = fs->locks;

	if (l == NULL)
		return;
	(void)pthread_mutex_lock(&l->mutex);
	l->stop = true;
	(void)pthread_cond_signal(&l->wake);
	(void)pthread_mutex_unlock(&l->mutex);
	if (l->waiter_runs)
		(void)pthread_join(l->waiter, NULL);
	close_table(l);
	(void)pthread_cond_destroy(&l->wake);
	(void)pthread_mutex_destroy(&l->mutex);
	free(l);
	fs->locks = NULL;
}
