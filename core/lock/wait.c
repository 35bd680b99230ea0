/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/wait.c - lock_get the long way, and what becomes of requests that have to wait.
 *
 * Who waits sleeps on his cell's wake word.  He wakes up when something was decided (L4), and every
 * LOOK_USEC to see whether those he waits for are alive; the dead are reaped by whoever they keep
 * waiting.
 *
 * A circle of waits is closed by a locker that begins to wait while it has something that others
 * wait for.  So the detector is run then, if lk_detect says so, and only if one of those in the way
 * waits too.
 *
 * What is here is used by the file system as well, whose waits sleep elsewhere (LOCK_DISTANT).
 */
#include "point.h"
#include "table.h"

/* --- waiting ------------------------------------------------------------------------------- */

/* A look at a request that had to wait: is that over? */
static void
count_wait(DB_LOCKTAB *lt, struct lock_request *rq, bool over)
{
	uint64_t now = os_monotonic_usec();

	if (rq->since_usec == 0)
		rq->since_usec = now;
	if (over)
		latency_add(&lt->table->waits, now - rq->since_usec);
}

/* Our own cell, about which something was decided, is free again. */
static int
dispose(DB_LOCKTAB *lt, struct lock_request *rq, struct lock_cell *c, int error)
{
	struct lock_part *p = &lt->parts[rq->part];
	int ret;

	if ((ret = part_lock(lt, rq->part)) != 0)
		return ret;
	lock_dispose(lt, c, rq->part);
	p->nrefused += error != 0;
	part_unlock(lt, rq->part);
	own_cancel(lt, rq->m, rq->place.slot, rq->lock);
	rq->place.slot = 0;
	return error;
}

/* The lock is ours to put, if only to be told that another has released it since. */
static int
outcome_new(DB_LOCKTAB *lt, struct lock_request *rq, struct lock_cell *c)
{
	LOCK_POINT(POINT_DECIDED);
	own_has_lock(lt, rq->m, rq->place.slot, rq->lock, true);
	rq->place.slot = 0;
	store_seq(&c->u.lock.wake, WAKE_SEEN);
	return 0;
}

static int
outcome_changed(DB_LOCKTAB *lt, struct lock_request *rq, struct lock_cell *c)
{
	struct lock_cell *target = cell_of(lt, c->u.lock.target, CELL_HELD, rq->part);
	DB_LOCK lock = target != NULL ? lock_handle(lt, target) : 0;
	int ret = dispose(lt, rq, c, lock != 0 ? 0 : DB_LOCK_NOTHELD);

	if (ret == 0)
		rq->lock = lock;
	return ret;
}

int
request_outcome(DB_LOCKTAB *lt, struct lock_request *rq, bool *donep)
{
	struct lock_cell *c;
	uint64_t w;

	LOCK_POINT(POINT_LOOKING);
	c = cell_by_handle(lt, rq->lock);
	w = c != NULL ? load_acquire(&c->word) : 0;
	*donep = word_kind(w) != CELL_WAITING;
	count_wait(lt, rq, *donep);
	if (!*donep)
		return 0;
	locker_count_wait(lt, rq->m->id, -1);
	switch (word_kind(w)) {
	case CELL_HELD:
		return outcome_new(lt, rq, c);
	case CELL_RELEASED:
		if (c->u.lock.target == 0)
			return outcome_new(lt, rq, c);
		return dispose(lt, rq, c, DB_LOCK_NOTHELD);
	case CELL_CHANGED:
		return outcome_changed(lt, rq, c);
	case CELL_ABORTED:
		return dispose(lt, rq, c, DB_LOCK_DEADLOCK);
	case CELL_FREE:
	case CELL_OBJECT:
	case CELL_NAME:
	case CELL_LOCKER:
	case CELL_WAITING:
	case CELL_IDLE:
	case CELL_KINDS:
	default:
		return table_damaged(lt, "a request that waited is something else", (uint32_t)w);
	}
}

int
request_withdraw(DB_LOCKTAB *lt, struct lock_request *rq, bool *donep)
{
	struct lock_cell *c = cell_by_handle(lt, rq->lock);
	struct lock_part *p = &lt->parts[rq->part];
	struct wakes wakes = { 0 };
	bool waits;
	int ret;

	if ((ret = part_lock(lt, rq->part)) != 0)
		return ret;
	waits = c != NULL && word_kind(load_acquire(&c->word)) == CELL_WAITING;
	if (waits && (ret = lock_release(lt, c, &wakes)) == 0)
		p->nrefused++;
	part_unlock(lt, rq->part);
	wake_now(&wakes);
	*donep = !waits;
	if (!waits)
		return request_outcome(lt, rq, donep);
	count_wait(lt, rq, true);
	locker_count_wait(lt, rq->m->id, -1);
	own_cancel(lt, rq->m, rq->place.slot, rq->lock);
	rq->place.slot = 0;
	return ret;
}

/* Who is in rq's way, into rq->blockers; nobody, if it does not wait. */
static int
find_blockers(DB_LOCKTAB *lt, struct lock_request *rq)
{
	struct lock_cell *c = cell_by_handle(lt, rq->lock), *object;
	bool blocked;
	int ret;

	memset(&rq->blockers, 0, sizeof(rq->blockers));
	if ((ret = part_lock(lt, rq->part)) != 0)
		return ret;
	if (c != NULL && word_kind(load_relaxed(&c->word)) == CELL_WAITING &&
	    (object = cell_of(lt, c->u.lock.object, CELL_OBJECT, rq->part)) != NULL) {
		const struct claim claim = { .locker = c->u.lock.locker,
			.mode = rq->mode,
			.first = (c->u.lock.flags & LOCK_FIRST) != 0 };

		ret = claim_blocked(lt, object, &claim, c, &rq->blockers, &blocked);
	}
	part_unlock(lt, rq->part);
	return ret;
}

/* Behind a dead one there may be another. */
int
request_look(DB_LOCKTAB *lt, struct lock_request *rq)
{
	int ret;

	do
		ret = find_blockers(lt, rq);
	while (ret == 0 && reap_set_again(lt, &rq->blockers) > 0);
	return ret;
}

/* Would the wait of this locker close a circle?  A quick look that errs on the side of yes. */
static bool
request_may_deadlock(DB_LOCKTAB *lt, const struct lock_request *rq)
{
	const struct lock_cell *l = locker_head(lt, rq->m->id);

	return rq->blockers.waits &&
	    (own_has(lt, rq->m) || (l != NULL && load_seq(&l->u.locker.waiting) > 1));
}

static unsigned
sleep_usec(uint64_t deadline)
{
	uint64_t now;

	if (deadline == 0)
		return LOOK_USEC;
	if ((now = os_monotonic_usec()) >= deadline)
		return 0;
	return deadline - now < LOOK_USEC ? (unsigned)(deadline - now) : LOOK_USEC;
}

/* Another try for a wait that has lasted too long. */
static int
time_is_up(DB_LOCKTAB *lt, struct lock_request *rq)
{
	bool done;
	int ret = request_withdraw(lt, rq, &done);

	if (done || ret != 0)
		return ret;
	(void)add_relaxed(&lt->parts[rq->part].ntimeouts, 1);
	return DB_LOCK_NOTGRANTED;
}

/* Without memory for it, at the next look. */
static int
detect(DB_LOCKTAB *lt, struct lock_request *rq)
{
	int ret = detect_run(lt, lt->detect, 0);

	rq->undetected = ret == ENOMEM;
	return ret == ENOMEM ? 0 : ret;
}

static int
wait_for_grant(DB_LOCKTAB *lt, struct lock_request *rq)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)rq->lock);
	uint64_t deadline = lt->timeout_usec > 0 ? os_monotonic_usec() + lt->timeout_usec : 0;
	unsigned usec;
	bool done;
	int ret;

	(void)reap_set(lt, &rq->blockers);
	for (;;) {
		if ((ret = request_outcome(lt, rq, &done)) != 0 || done)
			return ret;
		if ((ret = region_usable(lt->region)) != 0)
			return ret;
		if ((usec = sleep_usec(deadline)) == 0)
			return time_is_up(lt, rq);
		os_futex_wait(&c->u.lock.wake, WAKE_NOT, usec);
		if (word_kind(load_acquire(&c->word)) == CELL_WAITING &&
		    (ret = request_look(lt, rq)) != 0)
			return ret;
		if (rq->undetected && (ret = detect(lt, rq)) != 0)
			return ret;
	}
}

/*
 * A lock that is granted to a locker of which another thread waits gives those who are in its way
 * somebody new to wait for.
 */
static int
detect_after_grant(DB_LOCKTAB *lt, struct lock_request *rq)
{
	const struct lock_cell *l;

	if (!lt->threaded || lt->detect == DB_LOCK_NORUN ||
	    (l = locker_head(lt, rq->m->id)) == NULL || load_seq(&l->u.locker.waiting) == 0)
		return 0;
	return detect(lt, rq);
}

int
lock_get_anew(
    DB_LOCKTAB *lt, uint32_t locker, uint32_t flags, const DBT *obj, uint32_t mode, DB_LOCK *lockp)
{
	enum verdict verdict = GRANTED;
	struct lock_request rq;
	int ret;

	if ((ret = request_init(lt, &rq, locker, flags, obj, mode,
		 (flags & DB_LOCK_UPGRADE) != 0 ? *lockp : 0)) != 0 ||
	    (ret = request_make(lt, &rq, &verdict)) != 0)
		return ret;
	if (verdict == WAITS) {
		if (lt->detect != DB_LOCK_NORUN && request_may_deadlock(lt, &rq) &&
		    (ret = detect(lt, &rq)) != 0)
			return ret;
		if ((ret = wait_for_grant(lt, &rq)) != 0)
			return ret;
	}
	(void)detect_after_grant(lt, &rq);
	*lockp = rq.lock;
	return 0;
}
