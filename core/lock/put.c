/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/put.c - lock_put the long way, and lock_vec, which does several things in turn.
 *
 * A lock is put by the handle that got it.  Its cell says so, and which life of the cell the lock
 * was; both are looked at once more when the partition is locked.  Mostly that is not necessary:
 * the lock stays in its cell, IDLE (again.c).
 *
 * PUT_OBJ releases the locks of others as well.  One that was granted after a wait, and whose owner
 * has not seen that yet, stays behind as a RELEASED cell for it (L4); so does one that another
 * thread of its locker was granted as well, and puts altogether.
 */
#include "point.h"
#include "table.h"

static int
not_held(const DB_LOCKTAB *lt, DB_LOCK lock, uint32_t locker)
{
	if (locker != 0)
		env_err(lt->dbenv, "lock %#llx is not held by locker %#x", (unsigned long long)lock,
		    locker);
	else
		env_err(lt->dbenv, "lock %#llx is not held through this handle",
		    (unsigned long long)lock);
	return DB_LOCK_NOTHELD;
}

/* Is c, of that life, a lock of this handle, and the locker's if one is given? */
static bool
is_ours(const DB_LOCKTAB *lt, const struct lock_cell *c, uint64_t w, DB_LOCK lock, uint32_t locker)
{
	return word_life(w) == lock >> 32 && word_part(w) < LOCK_PARTS &&
	    (word_kind(w) == CELL_HELD || word_kind(w) == CELL_RELEASED) &&
	    c->u.lock.client == lt->self && (locker == 0 || c->u.lock.locker == locker);
}

/* Nothing else is on the object: what is put next can be kept again, if it could be before. */
static void
soften(DB_LOCKTAB *lt, struct lock_cell *c, uint32_t part)
{
	const struct lock_cell *object = cell_of(lt, c->u.lock.object, CELL_OBJECT, part);
	uint64_t w = load_relaxed(&c->word);

	if ((c->u.lock.flags & LOCK_KEEP) != 0 && object != NULL && object->u.object.waiters == 0 &&
	    object->u.object.holders == cell_number(lt, c) && c->next == 0)
		store_release(&c->word, w & ~(uint64_t)WORD_FIRM);
}

/* Release c, HELD and firm, as often as it was granted or once.  *gonep: it is free now. */
static int
put_held(DB_LOCKTAB *lt, struct lock_cell *c, uint32_t part, bool altogether, struct wakes *wakes,
    bool *gonep)
{
	uint32_t count = c->u.lock.count, number = c->u.lock.object;
	struct lock_part *p = &lt->parts[part];
	struct lock_cell *object;
	int ret;

	if (altogether || count <= 1) {
		if ((object = cell_of(lt, number, CELL_OBJECT, part)) == NULL)
			return table_damaged(lt, "a lock has no object", cell_number(lt, c));
		p->nreleases += count;
		ret = lock_take_off(lt, object, c, gonep);
		return ret == 0 ? lock_go_on(lt, number, wakes) : ret;
	}
	c->u.lock.count = count - 1;
	p->nreleases++;
	if (count == 2)
		soften(lt, c, part);
	return 0;
}

/*
 * With the partition locked, if c is still what it was before that.  Another thread may put it at
 * any time until it is firm, and take it again: that is another lock then, and its slot stays.
 */
static int
put_locked(DB_LOCKTAB *lt, struct lock_cell *c, uint32_t part, DB_LOCK lock, bool altogether,
    struct wakes *wakes, bool *gonep)
{
	LOCK_POINT(POINT_PUTTING);
	if (lock_firm_in(c, (uint32_t)(lock >> 32)))
		return put_held(lt, c, part, altogether, wakes, gonep);
	if (word_kind(load_relaxed(&c->word)) == CELL_RELEASED) {
		lock_dispose(lt, c, part);
		*gonep = true;
	}
	return DB_LOCK_NOTHELD;
}

/* locker 0: any of this handle. */
int
lock_put_one(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock, bool altogether)
{
	struct lock_cell *c = cell_at(lt, (uint32_t)lock);
	uint64_t w = c != NULL ? load_relaxed(&c->word) : 0;
	uint32_t part = word_part(w), owner, slot;
	struct wakes wakes;
	struct mine *m;
	bool gone = false;
	int ret;

	wakes.n = 0;
	wakes.words = NULL;
	if (lock == 0) {
		env_err(lt->dbenv, "0 is no lock");
		return EINVAL;
	}
	if (c == NULL || !is_ours(lt, c, w, lock, locker))
		return not_held(lt, lock, locker);
	LOCK_POINT(POINT_LONG_WAY);
	if ((ret = part_lock(lt, part)) != 0)
		return ret;
	w = load_relaxed(&c->word);
	owner = c->u.lock.locker;
	slot = c->u.lock.slot;
	if (is_ours(lt, c, w, lock, locker) && word_part(w) == part)
		ret = put_locked(lt, c, part, lock, altogether, &wakes, &gone);
	else
		ret = DB_LOCK_NOTHELD;
	part_unlock(lt, part);
	wake_now(&wakes);
	if (gone && (m = mine_at(lt, owner)) != NULL)
		own_drop(lt, m, slot);
	return ret == DB_LOCK_NOTHELD && !altogether ? not_held(lt, lock, locker) : ret;
}

/* The short way, if there is one: the lock stays IDLE.  Counted locks are firm. */
static int
put_or_keep(DB_LOCKTAB *lt, uint32_t locker, DB_LOCK lock, bool altogether)
{
	return lock_keep(lt, locker, lock) ? 0 : lock_put_one(lt, locker, lock, altogether);
}

static int
put_all(DB_LOCKTAB *lt, struct mine *m)
{
	uint32_t slot = 0;
	DB_LOCK lock;
	int ret;

	while ((lock = own_next_held(lt, m, &slot)) != 0) {
		ret = put_or_keep(lt, m->id, lock, true);
		if (ret == DB_LOCK_NOTHELD)
			/* another has released it; whatever its cell is now, it is not ours */
			own_drop(lt, m, slot);
		else if (ret != 0)
			return ret;
	}
	return 0;
}

/* A lock on an object of which everything is put. */
static int
put_holder(DB_LOCKTAB *lt, struct lock_cell *object, struct lock_cell *c, uint32_t part)
{
	bool gone;

	if (!lock_firm(c))
		return lock_revoke(lt, object, c, &gone);
	lt->parts[part].nreleases += c->u.lock.count;
	return lock_take_off(lt, object, c, &gone);
}

static int
put_holders(DB_LOCKTAB *lt, struct lock_cell *object, uint32_t part, struct wakes *wakes)
{
	uint32_t at, next, steps = 0;
	struct lock_cell *c;
	int ret;

	/* One that is retaken just now has been granted after this. */
	for (at = object->u.object.holders; at != 0; at = next) {
		c = holder_at(lt, at, part);
		if (c == NULL || steps++ > lt->ncells)
			return table_damaged(lt, "a list of holders leads to something else", part);
		next = c->next;
		if ((ret = put_holder(lt, object, c, part)) != 0)
			return ret;
	}
	if ((ret = object_promote(lt, object, wakes)) != 0)
		return ret;
	return object_settle(lt, object);
}

static int
put_object(DB_LOCKTAB *lt, const DBT *obj)
{
	uint32_t hash = object_hash(obj->data, obj->size), part = hash_part(hash);
	struct wakes wakes = { 0 };
	struct lock_cell *object;
	int ret;

	if ((ret = part_lock(lt, part)) != 0)
		return ret;
	if ((ret = object_find(lt, obj, hash, &object)) == 0 && object != NULL)
		ret = put_holders(lt, object, part, &wakes);
	part_unlock(lt, part);
	wake_now(&wakes);
	return ret;
}

/* --- lock_vec ------------------------------------------------------------------------------ */

static int
vec_put_object(DB_LOCKTAB *lt, const DBT *obj)
{
	if (obj == NULL || obj->data == NULL || obj->size == 0) {
		env_err(lt->dbenv, "lock_vec: DB_LOCK_PUT_OBJ without an object");
		return EINVAL;
	}
	return put_object(lt, obj);
}

static int
vec_one(DB_LOCKTAB *lt, struct mine *m, uint32_t flags, DB_LOCKREQ *req)
{
	switch (req->op) {
	case DB_LOCK_GET:
		return lock_get(lt, m->id, flags, req->obj, req->mode, &req->lock);
	case DB_LOCK_PUT:
		return put_or_keep(lt, m->id, req->lock, false);
	case DB_LOCK_PUT_ALL:
		return put_all(lt, m);
	case DB_LOCK_PUT_OBJ:
		return vec_put_object(lt, req->obj);
	default:
		env_err(lt->dbenv, "lock_vec: operation %d: there is no such", (int)req->op);
		return EINVAL;
	}
}

int
lock_vec(DB_LOCKTAB *lt, u_int32_t locker, u_int32_t flags, DB_LOCKREQ list[], int nlist,
    DB_LOCKREQ **elistp)
{
	struct mine *m;
	int i, ret;

	if ((ret = table_enter(lt, "lock_vec")) != 0)
		return ret;
	if ((flags & ~(uint32_t)DB_LOCK_NOWAIT) != 0) {
		env_err(lt->dbenv, "lock_vec: flags %#x: only DB_LOCK_NOWAIT", flags);
		return EINVAL;
	}
	if (nlist < 0 || (list == NULL && nlist > 0)) {
		env_err(lt->dbenv, "lock_vec: %d operations%s", nlist,
		    list == NULL ? ", and no list of them" : "");
		return EINVAL;
	}
	if ((m = locker_find(lt, locker)) == NULL)
		return EINVAL;
	for (i = 0; i < nlist; i++)
		if ((ret = vec_one(lt, m, flags, &list[i])) != 0) {
			if (elistp != NULL)
				*elistp = &list[i];
			return ret;
		}
	return 0;
}
