/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/locks.c - the mount's part in the lock table: flock(2), without holding a worker.
 *
 * The table is opened when it is first needed, with whatever matrix it has.  Each open file
 * description that locks something has an owner record with a locker of its own, until it unlocks
 * or is closed.  A request that has to wait stays in its record; a thread of ours sleeps on the
 * table's bell of this process, looks at all that wait when it rings, and every LOOK_USEC for those
 * that have died, and answers what has been decided.  An interrupted system call marks its record
 * and rings the bell.
 *
 * As on Linux, a lock that is held is given up before another mode is asked for.  A wait that would
 * close a circle with those of lock_get ends at once, whatever the table's policy.
 *
 * locks.mutex guards all of it; no call under it waits for anybody.  Answers are given after it was
 * released.
 */
#include "locks.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "lock/open.h"
#include "lock/table.h"
#include "region_dir.h"
#include "state.h"

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

/* Whose open file descriptions wait for each other: the detector takes them for one. */
struct process {
	struct process *next;
	pid_t pid;
	uint32_t locker; /* the family's */
	unsigned owners;
};

struct owner {
	struct owner *next;
	struct process *process;
	uint64_t id; /* of the description: its handle */
	uint32_t locker;
	DB_LOCK lock; /* 0: none */
	int mode;
	fuse_req_t req; /* the flock(2) that waits, or NULL */
	struct lock_request rq;
	bool interrupted; /* atomic */
	struct os_ident object;
	DBT name;
};

struct locks {
	pthread_mutex_t mutex;
	DB_LOCKTAB *lt; /* NULL: not open */
	struct owner *owners;
	struct process *processes;
	pthread_t waiter;
	bool waiter_runs;
	bool stop;
	pthread_cond_t wake; /* somebody waits, or it is time to stop */
	unsigned nwaiting;
};

/* An answer that is due. */
struct answer {
	fuse_req_t req;
	int err;
};

/* --- the table ----------------------------------------------------------------------------- */

/* It was removed by force: no lock in it means anything any more. */
static bool
is_stale(struct locks *l)
{
	return l->lt != NULL && region_usable(l->lt->region) == ESTALE;
}

static void
free_locker(struct locks *l, uint32_t locker)
{
	if (!is_stale(l))
		(void)lock_id_free(l->lt, locker);
}

static void
process_put(struct locks *l, struct process *p)
{
	struct process **link = &l->processes;

	if (--p->owners > 0)
		return;
	while (*link != p)
		link = &(*link)->next;
	*link = p->next;
	free_locker(l, p->locker);
	free(p);
}

static int
process_get(struct locks *l, pid_t pid, struct process **pp)
{
	struct process *p = l->processes;
	int err;

	while (p != NULL && p->pid != pid)
		p = p->next;
	if (p == NULL) {
		if ((p = calloc(1, sizeof(*p))) == NULL)
			return ENOLCK;
		if ((err = locker_new(l->lt, pid, 0, &p->locker)) != 0) {
			free(p);
			return err;
		}
		p->pid = pid;
		p->next = l->processes;
		l->processes = p;
	}
	p->owners++;
	*pp = p;
	return 0;
}

/* It has no lock any more. */
static void
drop_owner(struct locks *l, struct owner *o)
{
	struct owner **link = &l->owners;

	while (*link != o)
		link = &(*link)->next;
	*link = o->next;
	free_locker(l, o->locker);
	process_put(l, o->process);
	free(o);
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
	return err;
}

static void
close_stale(struct locks *l)
{
	if (!is_stale(l) || l->nwaiting > 0)
		return;
	while (l->owners != NULL)
		drop_owner(l, l->owners);
	(void)lock_close(l->lt);
	l->lt = NULL;
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

/* The wait is over; o has the lock, or is gone. */
static struct answer
settle(struct locks *l, struct owner *o, int ret)
{
	struct answer a = { o->req, as_errno(ret) };

	/* From here on nobody looks at the record that may go. */
	fuse_req_interrupt_func(o->req, NULL, NULL);
	o->req = NULL;
	l->nwaiting--;
	if (ret == 0) {
		o->lock = o->rq.lock;
		return a;
	}
	drop_owner(l, o);
	return a;
}

/* One look at a request that waits.  True: it is decided. */
static bool
look_at(struct fs *fs, struct owner *o, bool long_ago, struct answer *a)
{
	struct locks *l = fs->locks;
	bool done = false;
	int ret;

	if (is_stale(l)) {
		*a = settle(l, o, ESTALE);
		return true;
	}
	ret = request_outcome(l->lt, &o->rq, &done);
	if (!done && ret == 0 && (__atomic_load_n(&o->interrupted, __ATOMIC_SEQ_CST) || l->stop)) {
		ret = request_withdraw(l->lt, &o->rq, &done);
		if (!done && ret == 0)
			ret = EINTR;
		done = true;
	}
	if (!done && ret == 0 && long_ago)
		ret = request_look(l->lt, &o->rq);
	if (!done && ret == 0)
		return false;
	*a = settle(l, o, ret);
	return true;
}

/* The first that is decided, or false. */
static bool
look_at_all(struct fs *fs, bool long_ago, struct answer *a)
{
	for (struct owner *o = fs->locks->owners, *next; o != NULL; o = next) {
		next = o->next;
		if (o->req != NULL && look_at(fs, o, long_ago, a))
			return true;
	}
	return false;
}

static void *
waiter_main(void *arg)
{
	struct fs *fs = arg;
	struct locks *l = fs->locks;
	uint32_t *bell, rung;
	struct answer a;
	bool any;

	(void)pthread_mutex_lock(&l->mutex);
	while (!l->stop || l->nwaiting > 0) {
		if (l->nwaiting == 0) {
			(void)pthread_cond_wait(&l->wake, &l->mutex);
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
		(void)pthread_mutex_lock(&l->mutex);
	}
	(void)pthread_mutex_unlock(&l->mutex);
	return NULL;
}

/* libfuse holds a lock of the request meanwhile. */
static void
interrupted(fuse_req_t req, void *data)
{
	struct owner *o = data;

	(void)req;
	__atomic_store_n(&o->interrupted, true, __ATOMIC_SEQ_CST);
}

/* The process of a thread: the kernel tells the thread. */
static pid_t
process_of(pid_t tid)
{
	char path[40], line[128];
	int pid = (int)tid;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	if ((f = fopen(path, "re")) == NULL)
		return tid;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Tgid: %d", &pid) == 1)
			break;
	(void)fclose(f);
	return (pid_t)pid;
}

/* --- flock(2) ------------------------------------------------------------------------------ */

static struct owner *
find_owner(const struct locks *l, uint64_t id)
{
	struct owner *o = l->owners;

	while (o != NULL && o->id != id)
		o = o->next;
	return o;
}

static int
make_owner(struct locks *l, uint64_t id, pid_t pid, struct owner **op)
{
	struct owner *o;
	int err;

	if ((o = calloc(1, sizeof(*o))) == NULL)
		return ENOLCK;
	if ((err = process_get(l, pid, &o->process)) == 0 &&
	    (err = locker_new(l->lt, pid, o->process->locker, &o->locker)) != 0)
		process_put(l, o->process);
	if (err != 0) {
		free(o);
		return err;
	}
	o->id = id;
	o->next = l->owners;
	l->owners = o;
	*op = o;
	return 0;
}

static void
unlock_owner(struct locks *l, struct owner *o)
{
	if (o->lock != 0 && !is_stale(l))
		(void)lock_put(l->lt, o->lock);
	o->lock = 0;
}

/* Ask for it.  EINPROGRESS: it waits. */
static int
ask(struct locks *l, struct owner *o, const struct node *node, int mode, bool wait)
{
	enum verdict verdict = GRANTED;
	bool done = true;
	int ret;

	o->object = node->ident;
	o->name = (DBT){ .data = &o->object, .size = sizeof(o->object) };
	if ((ret = request_init(l->lt, &o->rq, o->locker, wait ? 0 : DB_LOCK_NOWAIT, &o->name,
		 (uint32_t)mode, 0)) != 0)
		return ret;
	o->rq.distant = true;
	if ((ret = request_make(l->lt, &o->rq, &verdict)) != 0)
		return ret;
	if (verdict == WAITS) {
		(void)reap_set(l->lt, &o->rq.blockers);
		if (o->rq.blockers.waits)
			(void)detect_run(l->lt, DB_LOCK_RANDOM, o->locker);
		ret = request_outcome(l->lt, &o->rq, &done);
	}
	if (ret == 0 && done)
		o->lock = o->rq.lock;
	return ret == 0 && !done ? EINPROGRESS : ret;
}

/* As the description owner, under the mutex.  EINPROGRESS: req is answered later. */
static int
flock_locked(struct fs *fs, const struct node *node, uint64_t id, pid_t pid, int op, fuse_req_t req)
{
	int mode = (op & ~LOCK_NB) == LOCK_EX ? DB_LOCK_WRITE : DB_LOCK_READ, ret;
	struct locks *l = fs->locks;
	struct owner *o = find_owner(l, id);

	if (o != NULL && o->req != NULL)
		return EBUSY;
	if (o != NULL && o->lock != 0 && o->mode == mode)
		return 0;
	if ((ret = open_table(fs, true)) != 0 ||
	    (o == NULL && (ret = make_owner(l, id, pid, &o)) != 0))
		return as_errno(ret);
	unlock_owner(l, o);
	o->mode = mode;
	if ((ret = ask(l, o, node, mode, (op & LOCK_NB) == 0)) == EINPROGRESS) {
		__atomic_store_n(&o->interrupted, false, __ATOMIC_SEQ_CST);
		o->req = req;
		l->nwaiting++;
		(void)pthread_cond_signal(&l->wake);
	} else if (ret != 0)
		drop_owner(l, o);
	return ret == EINPROGRESS ? ret : as_errno(ret);
}

void
locks_release(struct fs *fs, uint64_t id)
{
	struct locks *l = fs->locks;
	struct owner *o;

	(void)pthread_mutex_lock(&l->mutex);
	/* Who waits is not closed meanwhile: its system call goes on. */
	if ((o = find_owner(l, id)) != NULL && o->req == NULL) {
		unlock_owner(l, o);
		drop_owner(l, o);
	}
	(void)pthread_mutex_unlock(&l->mutex);
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
	struct owner *o;
	int err;

	if (!is_flock(op)) {
		if ((op & ~LOCK_NB) == LOCK_UN)
			locks_release(fs, owner);
		(void)fuse_reply_err(req, (op & ~LOCK_NB) == LOCK_UN ? 0 : EINVAL);
		return;
	}
	(void)pthread_mutex_lock(&l->mutex);
	close_stale(l);
	err = flock_locked(fs, node, owner, process_of(pid), op, req);
	/* Before the waiter can answer it, which takes the mutex.  Once it is set, it is seen. */
	if (err == EINPROGRESS && (o = find_owner(l, owner)) != NULL)
		fuse_req_interrupt_func(req, interrupted, o);
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
	if (l->lt != NULL && l->owners == NULL) {
		(void)lock_close(l->lt);
		l->lt = NULL;
	}
	err = lock_unlink_in(&fs->env, region_dir(fs), by_force);
	(void)pthread_mutex_unlock(&l->mutex);
	return err < 0 ? EIO : err;
}

int
locks_init(struct fs *fs)
{
	sigset_t all, old;
	struct locks *l;
	int err;

	if ((l = calloc(1, sizeof(*l))) == NULL)
		return ENOMEM;
	(void)pthread_mutex_init(&l->mutex, NULL);
	(void)pthread_cond_init(&l->wake, NULL);
	fs->locks = l;
	/* Signals are the main thread's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&l->waiter, NULL, waiter_main, fs);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
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
	while (l->owners != NULL) {
		unlock_owner(l, l->owners);
		drop_owner(l, l->owners);
	}
	(void)lock_close(l->lt);
	(void)pthread_cond_destroy(&l->wake);
	(void)pthread_mutex_destroy(&l->mutex);
	free(l);
	fs->locks = NULL;
}
