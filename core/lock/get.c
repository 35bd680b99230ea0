/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/get.c - requests: granted, refused, or queued.
 *
 * An attempt is made with the object's partition locked, and needs nothing that could block: cells
 * and a share of lk_max are provided beforehand, without the lock, and if they are gone by then it
 * is tried again.  Before a NOWAIT request is refused, those in its way are looked at, and the dead
 * among them reaped.
 *
 * The short way, for a lock that was put and is still there, is again.c's.
 *
 * A locker's waiting word is raised before it is looked at who in its way waits: of two who begin
 * to wait for each other at once, one at least sees the other (wait.c).
 */
#include "point.h"
#include "table.h"

/* --- what is asked for --------------------------------------------------------------------- */

int
table_enter(DB_LOCKTAB *lt, const char *call)
{
	int ret;

	if (lt == NULL)
		return EINVAL;
	if ((ret = region_usable(lt->region)) != 0)
		env_err(lt->dbenv, "%s: the lock table cannot be used: %s", call,
		    ret == EINVAL ? "the handle is another process's" : db_strerror(ret));
	return ret;
}

int
no_place(const DB_LOCKTAB *lt, const char *call)
{
	env_err(lt->dbenv, "%s: there is no place for what it returns", call);
	return EINVAL;
}

static int
check_object(const DB_LOCKTAB *lt, const DBT *obj)
{
	if (obj != NULL && obj->data != NULL && obj->size > 0 && obj->size <= OBJECT_MAX)
		return 0;
	env_err(lt->dbenv, "an object of %u bytes: from 1 to %u are possible",
	    obj != NULL && obj->data != NULL ? obj->size : 0, OBJECT_MAX);
	return EINVAL;
}

/* The lock that is to be upgraded names the partition if the caller does not name the object. */
static int
find_part(DB_LOCKTAB *lt, struct lock_request *rq)
{
	const struct lock_cell *c;
	int ret;

	if (rq->obj == NULL && (rq->flags & DB_LOCK_UPGRADE) != 0) {
		c = cell_at(lt, (uint32_t)rq->lock);
		rq->part = c != NULL ? word_part(load_relaxed(&c->word)) : RESERVE;
		return rq->part < LOCK_PARTS ? 0 : DB_LOCK_NOTHELD;
	}
	if ((ret = check_object(lt, rq->obj)) != 0)
		return ret;
	rq->hash = object_hash(rq->obj->data, rq->obj->size);
	rq->part = hash_part(rq->hash);
	object_fetch_early(lt, rq->hash);
	return 0;
}

int
request_init(DB_LOCKTAB *lt, struct lock_request *rq, uint32_t locker, uint32_t flags,
    const DBT *obj, uint32_t mode, DB_LOCK lock)
{
	if ((flags & ~(uint32_t)(DB_LOCK_NOWAIT | DB_LOCK_UPGRADE)) != 0) {
		env_err(lt->dbenv, "lock_get: flags %#x: only DB_LOCK_NOWAIT and DB_LOCK_UPGRADE",
		    flags);
		return EINVAL;
	}
	if (mode == DB_LOCK_NG || mode >= lt->nmodes) {
		env_err(lt->dbenv, "lock mode %u: this table's are 1 to %u", mode, lt->nmodes - 1);
		return EINVAL;
	}
	rq->m = locker_find(lt, locker);
	rq->flags = flags;
	rq->mode = mode;
	rq->distant = rq->fresh = rq->undetected = rq->keep = false;
	rq->place = (struct own_place){ 0 };
	rq->obj = obj;
	rq->lock = lock;
	rq->since_usec = 0;
	return rq->m != NULL ? find_part(lt, rq) : EINVAL;
}

/* --- one attempt --------------------------------------------------------------------------- */

enum step { STEP_GRANTED, STEP_QUEUED, STEP_BLOCKED, STEP_NO_ROOM, STEP_NOT_HELD };

/* What the locker has on the object: same, of that mode; any, the newest. */
static int
find_own(DB_LOCKTAB *lt, const struct lock_cell *object, uint32_t locker, uint32_t mode,
    struct lock_cell **samep, struct lock_cell **anyp)
{
	uint32_t part = word_part(load_relaxed(&object->word)), steps = 0, at;
	struct lock_cell *c;

	*samep = *anyp = NULL;
	for (at = object->u.object.holders; at != 0; at = c->next) {
		c = holder_at(lt, at, part);
		if (c == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a list of holders leads to something else", at);
		if (c->u.lock.locker != locker || word_kind(load_relaxed(&c->word)) != CELL_HELD)
			continue;
		if (*anyp == NULL)
			*anyp = c;
		if (word_mode(load_relaxed(&c->word)) == mode) {
			*samep = c;
			break;
		}
	}
	return 0;
}

/* The lock whose mode is to change, or NULL. */
static int
find_target(DB_LOCKTAB *lt, const struct lock_request *rq, struct lock_cell **objectp,
    struct lock_cell **targetp)
{
	struct lock_cell *c = cell_by_handle(lt, rq->lock), *same;
	uint64_t w = c != NULL ? load_relaxed(&c->word) : 0;
	int ret;

	*targetp = NULL;
	if (rq->obj != NULL &&
	    ((ret = object_find(lt, rq->obj, rq->hash, objectp)) != 0 || *objectp == NULL))
		return ret;
	if (word_kind(w) == CELL_HELD && word_part(w) == rq->part &&
	    c->u.lock.locker == rq->m->id &&
	    (rq->obj == NULL || c->u.lock.object == cell_number(lt, *objectp)))
		*targetp = c;
	if (rq->obj != NULL)
		return *targetp != NULL ? 0 : find_own(lt, *objectp, rq->m->id, 0, &same, targetp);
	if (*targetp != NULL &&
	    (*objectp = cell_of(lt, c->u.lock.object, CELL_OBJECT, rq->part)) == NULL)
		return table_damaged(lt, "a lock has no object", c->u.lock.object);
	return 0;
}

/* One that was named by its handle alone, and none that came after it. */
static bool
firm_target(const struct lock_request *rq, struct lock_cell *target)
{
	LOCK_POINT(POINT_TARGET);
	return rq->obj != NULL ? lock_firm(target) :
				 lock_firm_in(target, (uint32_t)(rq->lock >> 32));
}

static bool
has_room(const DB_LOCKTAB *lt, const struct lock_request *rq, const struct lock_cell *object)
{
	const struct lock_part *p = &lt->parts[rq->part];
	uint32_t need = 1 + (object == NULL ? object_cells(rq->obj->size) : 0);

	return p->nfree >= need && p->nlocks < p->allow;
}

/* A cell for the request, of that kind, not linked yet. */
static int
lock_create(DB_LOCKTAB *lt, struct lock_request *rq, const struct lock_cell *object,
    enum cell_kind kind, uint32_t flags, uint32_t target, struct lock_cell **cp)
{
	struct lock_part *p = &lt->parts[rq->part];
	struct lock_cell *c = cell_pop(lt, rq->part);
	uint32_t life;

	if (c == NULL)
		return table_damaged(lt, "free cells are missing in a partition", rq->part);
	life = word_life(load_relaxed(&c->word));
	c->u.lock.object = cell_number(lt, object);
	c->u.lock.locker = rq->m->id;
	c->u.lock.client = (uint16_t)lt->self;
	c->u.lock.count = 1;
	c->u.lock.wake = WAKE_NOT;
	c->u.lock.target = target;
	c->u.lock.slot = rq->place.slot;
	c->u.lock.flags = (uint16_t)(flags | (rq->distant ? LOCK_DISTANT : 0) |
	    (kind == CELL_HELD && rq->keep ? LOCK_KEEP : 0));
	c->u.lock.since_sec = (uint32_t)(os_now_nsec_coarse() / 1000000000);
	c->u.lock.order = (uint32_t)++p->order;
	c->u.lock.born = life;
	/* L2; L8, and what will not be kept need not be made firm when it is put. */
	store_release(&c->word,
	    cell_word(kind, rq->mode, rq->part, life) |
		(kind == CELL_HELD && (!rq->keep || object->u.object.waiters != 0) ? WORD_FIRM :
										     0));
	p->nlocks++;
	rq->lock = lock_handle(lt, c);
	own_has_lock(lt, rq->m, rq->place.slot, rq->lock, kind == CELL_HELD);
	*cp = c;
	return 0;
}

static int
grant_new(DB_LOCKTAB *lt, struct lock_request *rq, struct lock_cell *object, struct wakes *wakes,
    enum step *stepp)
{
	struct lock_cell *c;
	bool moved;
	int ret;

	*stepp = STEP_NO_ROOM;
	if (!has_room(lt, rq, object))
		/* it may have been of idle locks only, which are gone */
		return object != NULL ? object_settle(lt, object) : 0;
	if (object == NULL && (ret = object_create(lt, rq->obj, rq->hash, &object)) != 0)
		return ret;
	*stepp = STEP_GRANTED;
	if ((ret = lock_create(lt, rq, object, CELL_HELD, 0, 0, &c)) != 0 ||
	    (ret = holder_link(lt, object, c)) != 0)
		return ret;
	rq->fresh = true;
	if (object->u.object.waiters == 0)
		return 0;
	if ((ret = object_advance(lt, object, rq->m->id, &moved)) != 0 || !moved)
		return ret;
	return object_promote(lt, object, wakes);
}

static int
grant_change(DB_LOCKTAB *lt, struct lock_request *rq, struct lock_cell *object,
    struct lock_cell *target, struct wakes *wakes)
{
	lock_change_mode(lt, target, rq->part, rq->mode);
	rq->lock = lock_handle(lt, target);
	return object->u.object.waiters != 0 ? object_promote(lt, object, wakes) : 0;
}

static int
queue(DB_LOCKTAB *lt, struct lock_request *rq, struct lock_cell *object, const struct claim *claim,
    struct lock_cell *target, enum step *stepp)
{
	struct lock_cell *c;
	bool blocked;
	int ret;

	*stepp = STEP_NO_ROOM;
	if (!has_room(lt, rq, object))
		return 0;
	if (locker_cell(lt, rq->m->id) == NULL)
		return table_damaged(lt, "a locker's cell is something else", rq->m->id);
	*stepp = STEP_QUEUED;
	locker_count_wait(lt, rq->m->id, 1);
	memset(&rq->blockers, 0, sizeof(rq->blockers));
	if ((ret = claim_blocked(lt, object, claim, NULL, &rq->blockers, &blocked)) != 0 ||
	    (ret = lock_create(lt, rq, object, CELL_WAITING,
		 LOCK_WAITED | (claim->first ? LOCK_FIRST : 0),
		 target != NULL ? cell_number(lt, target) : 0, &c)) != 0)
		return ret;
	store_relaxed(&lt->table->conflict, 1);
	lt->parts[rq->part].nconflicts++;
	lt->parts[rq->part].nwaits++;
	return waiter_link(lt, object, c);
}

/* One more time. */
static int
grant_again(DB_LOCKTAB *lt, struct lock_request *rq, struct lock_cell *same, enum step *stepp)
{
	*stepp = STEP_GRANTED;
	same->u.lock.count++;
	rq->lock = lock_handle(lt, same);
	return 0;
}

static int
refuse_or_queue(DB_LOCKTAB *lt, struct lock_request *rq, struct lock_cell *object,
    struct claim *claim, struct lock_cell *target, enum step *stepp)
{
	struct lock_cell *same, *any = target;
	bool blocked;
	int ret;

	if ((rq->flags & DB_LOCK_NOWAIT) != 0) {
		*stepp = STEP_BLOCKED;
		memset(&rq->blockers, 0, sizeof(rq->blockers));
		return claim_blocked(lt, object, claim, NULL, &rq->blockers, &blocked);
	}
	/* What its locker held may have been put by another thread before it was made firm. */
	if ((ret = object_make_firm(lt, object)) != 0 ||
	    (target == NULL &&
		(ret = find_own(lt, object, claim->locker, rq->mode, &same, &any)) != 0))
		return ret;
	claim->first = any != NULL;
	return queue(lt, rq, object, claim, target, stepp);
}

/* The object is there.  target: whose mode is to change, or NULL. */
static int
attempt_at(DB_LOCKTAB *lt, struct lock_request *rq, struct lock_cell *object,
    struct lock_cell *target, struct wakes *wakes, enum step *stepp)
{
	struct claim claim = { .locker = rq->m->id, .mode = rq->mode, .first = target != NULL };
	struct lock_cell *same, *any;
	bool blocked;
	int ret;

	if ((ret = object_make_way(lt, object, &claim)) != 0)
		return ret;
	if (target == NULL) {
		if ((ret = find_own(lt, object, claim.locker, rq->mode, &same, &any)) != 0)
			return ret;
		if (same != NULL && lock_firm(same))
			return grant_again(lt, rq, same, stepp);
		claim.first = any != NULL;
	}
	if ((ret = claim_blocked(lt, object, &claim, NULL, NULL, &blocked)) != 0)
		return ret;
	if (blocked)
		return refuse_or_queue(lt, rq, object, &claim, target, stepp);
	if (target == NULL)
		return grant_new(lt, rq, object, wakes, stepp);
	*stepp = STEP_GRANTED;
	return grant_change(lt, rq, object, target, wakes);
}

/* What is kept and has to go for this one. */
static int
give_up_victim(DB_LOCKTAB *lt, struct lock_request *rq)
{
	bool gone = true;
	int ret = 0;

	if (rq->place.victim != 0)
		ret = lock_give_up(lt, rq->part, rq->place.victim, &gone);
	rq->keep &= gone;
	return ret;
}

static int
attempt_locked(DB_LOCKTAB *lt, struct lock_request *rq, struct wakes *wakes, enum step *stepp)
{
	struct lock_cell *object = NULL, *target = NULL;
	int ret;

	if ((ret = give_up_victim(lt, rq)) != 0)
		return ret;
	if ((rq->flags & DB_LOCK_UPGRADE) != 0) {
		ret = find_target(lt, rq, &object, &target);
		*stepp = STEP_NOT_HELD;
		if (ret != 0 || target == NULL || !firm_target(rq, target))
			return ret;
	} else if ((ret = object_find(lt, rq->obj, rq->hash, &object)) != 0)
		return ret;
	else if (object == NULL)
		return grant_new(lt, rq, NULL, wakes, stepp);
	return attempt_at(lt, rq, object, target, wakes, stepp);
}

static int
attempt(DB_LOCKTAB *lt, struct lock_request *rq, enum step *stepp)
{
	struct lock_part *p = &lt->parts[rq->part];
	struct wakes wakes;
	int ret;

	wakes.n = 0;
	wakes.words = NULL;
	if ((ret = part_lock(lt, rq->part)) != 0)
		return ret;
	ret = attempt_locked(lt, rq, &wakes, stepp);
	if (ret == 0 && (*stepp == STEP_GRANTED || *stepp == STEP_QUEUED))
		p->nrequests++;
	part_unlock(lt, rq->part);
	wake_now(&wakes);
	return ret;
}

/* --- requests ------------------------------------------------------------------------------ */

/* A request that came to nothing. */
static int
refuse(DB_LOCKTAB *lt, const struct lock_request *rq, bool conflict, int error)
{
	struct lock_part *p = &lt->parts[rq->part];
	int ret;

	if ((ret = part_lock(lt, rq->part)) != 0)
		return ret;
	p->nrequests++;
	p->nrefused++;
	p->nconflicts += conflict;
	part_unlock(lt, rq->part);
	return error;
}

static int
say_full(DB_LOCKTAB *lt)
{
	char largest[200];

	table_largest(lt, largest, sizeof(largest));
	if (lt->table->bounded)
		env_err(lt->dbenv, "all %u locks of the table are in use; most are held by %s",
		    load_relaxed(&lt->table->limit), largest);
	else
		env_err(lt->dbenv, "the lock table has no room for more; most locks are held by %s",
		    largest);
	return ENOMEM;
}

static int
provide(DB_LOCKTAB *lt, const struct lock_request *rq)
{
	uint32_t need = 1 + (rq->obj != NULL ? object_cells(rq->obj->size) : 0);
	int ret = cells_provide(lt, rq->part, need, true);

	if (ret == ENOMEM) {
		/* the dead have locks too */
		reap_everybody(lt);
		ret = cells_provide(lt, rq->part, need, true);
	}
	return ret == ENOMEM ? refuse(lt, rq, false, say_full(lt)) : ret;
}

/* A slot for what is granted; and may it be kept when it is put? */
static int
prepare(DB_LOCKTAB *lt, struct lock_request *rq)
{
	int ret;

	if ((rq->flags & DB_LOCK_UPGRADE) != 0)
		return 0;
	ret = own_reserve(lt, rq->m, rq->obj, rq->hash, rq->mode, &rq->place);
	rq->keep = rq->place.keep;
	return ret;
}

/* The request has come to something, or not. */
static void
conclude(DB_LOCKTAB *lt, struct lock_request *rq, bool queued)
{
	struct own_place *p = &rq->place;

	if (p->victim != 0)
		own_drop(lt, rq->m, p->victim_slot);
	if (!rq->fresh && !queued)
		own_cancel(lt, rq->m, p->slot, 0);
	else if (p->keep && (queued || !rq->keep))
		own_keep_not(lt, rq->m, p->slot, rq->lock);
	if (!queued)
		p->slot = 0;
}

static int
refuse_upgrade(DB_LOCKTAB *lt, const struct lock_request *rq)
{
	env_err(lt->dbenv, "lock_get: DB_LOCK_UPGRADE: locker %#x has no such lock to change",
	    rq->m->id);
	return refuse(lt, rq, false, DB_LOCK_NOTHELD);
}

static int
request_try(DB_LOCKTAB *lt, struct lock_request *rq, enum step *stepp)
{
	int ret;

	for (;;) {
		if ((ret = attempt(lt, rq, stepp)) != 0)
			return ret;
		if (*stepp == STEP_GRANTED)
			LOCK_POINT(POINT_GRANTED);
		if (*stepp == STEP_GRANTED || *stepp == STEP_QUEUED)
			return 0;
		if (*stepp == STEP_NOT_HELD)
			return refuse_upgrade(lt, rq);
		if (*stepp == STEP_BLOCKED && reap_set(lt, &rq->blockers) == 0)
			return refuse(lt, rq, true, DB_LOCK_NOTGRANTED);
		if (*stepp == STEP_NO_ROOM && (ret = provide(lt, rq)) != 0)
			return ret;
	}
}

int
request_make(DB_LOCKTAB *lt, struct lock_request *rq, enum verdict *verdictp)
{
	enum step step = STEP_NO_ROOM;
	int ret;

	if ((ret = prepare(lt, rq)) != 0)
		return ret;
	ret = request_try(lt, rq, &step);
	conclude(lt, rq, ret == 0 && step == STEP_QUEUED);
	if (ret == 0)
		*verdictp = step == STEP_GRANTED ? GRANTED : WAITS;
	return ret;
}
