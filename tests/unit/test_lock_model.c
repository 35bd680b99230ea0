/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/lock against a model that knows every holder, every queue and every wait-for edge.
 *
 * Random requests, releases, withdrawals and detector runs of a dozen lockers on a few objects, in
 * one thread: requests that have to wait are made as the file system makes them, and looked at
 * afterwards; those that do not wait as lock_get makes them.  After each step the model and the
 * table agree on what every request has become; the detector's victims are in circles of the
 * model's, and leave none.  Nothing here is left to chance: the same seeds give the same schedules.
 */
#include "../lock_t.h"

#define LOCKERS 12
#define OBJECTS 5
#define MOST 64 /* locks on one object */

struct held {
	int locker;
	int mode;
	unsigned count;
	DB_LOCK lock;
};

struct wanted {
	int locker;
	int mode;
	bool first;
	DB_LOCK target; /* whose mode is to change; 0: a new lock */
};

struct object {
	struct held held[MOST]; /* the oldest first */
	int nheld;
	struct wanted queue[LOCKERS];
	int nqueue;
};

struct model {
	const u_int8_t *matrix;
	int nmodes;
	struct object o[OBJECTS];
};

/* A locker's request that has not come to an end. */
struct pending {
	struct lock_request rq;
	bool open;
	bool granted; /* by the model */
	int object;
	char name[8];
	DBT obj;
};

struct run {
	DB_LOCKTAB *lt;
	struct model m;
	u_int32_t id[LOCKERS];
	struct pending p[LOCKERS];
	unsigned seed;
	unsigned victims, waits;
	bool one_way; /* which victims let whom go on depends on their order: end them here */
};

static bool
conflict(const struct model *m, int requested, int held)
{
	return m->matrix[requested * m->nmodes + held] != 0;
}

static bool
blocked(const struct model *m, const struct object *o, const struct wanted *w, int before)
{
	for (int i = 0; i < o->nheld; i++)
		if (o->held[i].locker != w->locker && conflict(m, w->mode, o->held[i].mode))
			return true;
	for (int i = 0; i < before && !w->first; i++)
		if (o->queue[i].locker != w->locker && conflict(m, w->mode, o->queue[i].mode))
			return true;
	return false;
}

static struct held *
find_held(struct object *o, DB_LOCK lock)
{
	for (int i = 0; i < o->nheld; i++)
		if (o->held[i].lock == lock)
			return &o->held[i];
	return NULL;
}

static void
hold(struct object *o, int locker, int mode, DB_LOCK lock)
{
	t_check(o->nheld < MOST);
	o->held[o->nheld++] = (struct held){ locker, mode, 1, lock };
}

static void
unqueue(struct object *o, int i)
{
	memmove(&o->queue[i], &o->queue[i + 1], (size_t)(--o->nqueue - i) * sizeof(o->queue[0]));
}

static void
promote(struct run *r, int k)
{
	struct object *o = &r->m.o[k];

	for (int i = 0; i < o->nqueue;) {
		struct wanted w = o->queue[i];
		struct held *h;

		if (blocked(&r->m, o, &w, i)) {
			i++;
			continue;
		}
		unqueue(o, i);
		r->p[w.locker].granted = true;
		if (w.target == 0)
			hold(o, w.locker, w.mode, r->p[w.locker].rq.lock);
		else if ((h = find_held(o, w.target)) != NULL) {
			h->mode = w.mode;
			i = 0;
		}
	}
}

static void
enqueue(struct object *o, struct wanted w)
{
	int at = o->nqueue;

	if (w.first)
		for (at = 0; at < o->nqueue && o->queue[at].first; at++)
			continue;
	memmove(&o->queue[at + 1], &o->queue[at], (size_t)(o->nqueue - at) * sizeof(w));
	o->queue[at] = w;
	o->nqueue++;
}

static void
leave_queue(struct run *r, int locker)
{
	if (!r->p[locker].open)
		return;
	r->p[locker].open = false;
	struct object *o = &r->m.o[r->p[locker].object];

	for (int i = 0; i < o->nqueue; i++)
		if (o->queue[i].locker == locker) {
			unqueue(o, i);
			return;
		}
	t_check(!"who waits is in the queue");
}

/* --- the table and the model --------------------------------------------------------------- */

/* What has become of each request, after the model has moved. */
static void
compare_pending(struct run *r)
{
	for (int i = 0; i < LOCKERS; i++) {
		struct pending *p = &r->p[i];
		bool done;

		if (!p->open)
			continue;
		must(request_outcome(r->lt, &p->rq, &done));
		t_check(done == p->granted);
		p->open = !done;
	}
}

static void
check_granted(struct run *r, int i, struct object *o, const struct wanted *w, struct held *same)
{
	const struct pending *p = &r->p[i];

	t_check(same != NULL || !blocked(&r->m, o, w, o->nqueue));
	if (w->target != 0) {
		t_check(p->rq.lock == w->target);
		find_held(o, w->target)->mode = w->mode;
		promote(r, p->object);
	} else if (same != NULL) {
		t_check(p->rq.lock == same->lock);
		same->count++;
	} else
		hold(o, i, w->mode, p->rq.lock);
}

static void
ask(struct run *r, int i, bool upgrade, bool nowait)
{
	struct pending *p = &r->p[i];
	int k = rand_r(&r->seed) % OBJECTS, mode = 1 + rand_r(&r->seed) % (r->m.nmodes - 1), ret;
	struct object *o = &r->m.o[k];
	struct wanted w = { .locker = i, .mode = mode };
	enum verdict verdict = GRANTED;
	struct held *same = NULL, *any = NULL;

	for (int h = 0; h < o->nheld; h++)
		if (o->held[h].locker == i) {
			any = &o->held[h];
			if (any->mode == mode)
				same = any;
		}
	w.first = any != NULL;
	w.target = upgrade && any != NULL ? any->lock : 0;
	p->object = k;
	p->granted = false;
	(void)snprintf(p->name, sizeof(p->name), "o%d", k);
	p->obj = named(p->name);
	must(request_init(r->lt, &p->rq, r->id[i],
	    (upgrade ? DB_LOCK_UPGRADE : 0) | (nowait ? DB_LOCK_NOWAIT : 0), &p->obj,
	    (uint32_t)mode, any != NULL ? any->lock : 0));
	p->rq.distant = true;
	/* as lock_get does, by the short way if there is one */
	if (nowait && !upgrade)
		ret = lock_get(
		    r->lt, r->id[i], DB_LOCK_NOWAIT, &p->obj, (db_lockmode_t)mode, &p->rq.lock);
	else
		ret = request_make(r->lt, &p->rq, &verdict);
	if (upgrade && any == NULL)
		answers(DB_LOCK_NOTHELD, ret);
	else if (ret == 0 && verdict == GRANTED)
		check_granted(r, i, o, &w, upgrade ? NULL : same);
	else {
		t_check(upgrade || same == NULL);
		t_check(blocked(&r->m, o, &w, o->nqueue));
		answers(nowait ? DB_LOCK_NOTGRANTED : 0, ret);
		if (nowait)
			return;
		enqueue(o, w);
		p->open = true;
		r->waits++;
	}
}

static void
put(struct run *r, int i)
{
	int k = rand_r(&r->seed) % OBJECTS;
	struct object *o = &r->m.o[k];

	for (int h = 0; h < o->nheld; h++) {
		if (o->held[h].locker != i)
			continue;
		/* what somebody wants to change stays: that is another test */
		for (int q = 0; q < o->nqueue; q++)
			if (o->queue[q].target == o->held[h].lock)
				return;
		must(lock_put(r->lt, o->held[h].lock));
		if (--o->held[h].count == 0) {
			memmove(&o->held[h], &o->held[h + 1],
			    (size_t)(--o->nheld - h) * sizeof(o->held[0]));
			promote(r, k);
		}
		return;
	}
}

/* One after the other: who is let in by the first may be in the way of who the second would. */
static void
put_everything(struct run *r, int i)
{
	for (int k = 0; k < OBJECTS; k++) {
		struct object *o = &r->m.o[k];

		for (int h = 0; h < o->nheld; h++) {
			if (o->held[h].locker != i)
				continue;
			while (o->held[h].count-- > 0)
				must(lock_put(r->lt, o->held[h].lock));
			memmove(&o->held[h], &o->held[h + 1],
			    (size_t)(--o->nheld - h) * sizeof(o->held[0]));
			promote(r, k);
			h = -1;
		}
	}
}

static void
withdraw(struct run *r, int i)
{
	bool done = true;

	must(request_withdraw(r->lt, &r->p[i].rq, &done));
	t_check(!done);
	leave_queue(r, i);
	promote(r, r->p[i].object);
}

/* --- circles ------------------------------------------------------------------------------- */

/* Who waits for whom, directly, then by way of others. */
static void
find_paths(const struct run *r, bool path[LOCKERS][LOCKERS])
{
	memset(path, 0, sizeof(bool[LOCKERS][LOCKERS]));
	for (int k = 0; k < OBJECTS; k++) {
		const struct object *o = &r->m.o[k];

		for (int q = 0; q < o->nqueue; q++) {
			const struct wanted *w = &o->queue[q];

			for (int h = 0; h < o->nheld; h++)
				if (conflict(&r->m, w->mode, o->held[h].mode))
					path[w->locker][o->held[h].locker] = true;
			for (int e = 0; e < q && !w->first; e++)
				if (conflict(&r->m, w->mode, o->queue[e].mode))
					path[w->locker][o->queue[e].locker] = true;
			path[w->locker][w->locker] = false;
		}
	}
	for (int via = 0; via < LOCKERS; via++)
		for (int a = 0; a < LOCKERS; a++)
			for (int b = 0; b < LOCKERS; b++)
				path[a][b] |= path[a][via] && path[via][b];
}

/* Each victim was in a circle; without them there is none. */
static void
detect(struct run *r, u_int32_t policy)
{
	bool path[LOCKERS][LOCKERS], victim[LOCKERS] = { 0 }, done;

	find_paths(r, path);
	must(lock_detect(r->lt, 0, policy));
	for (int i = 0; i < LOCKERS; i++) {
		const struct pending *p = &r->p[i];
		uint64_t w = p->open ? cell_at(r->lt, (uint32_t)p->rq.lock)->word : 0;

		victim[i] = word_kind(w) == CELL_ABORTED;
		t_check(!victim[i] || path[i][i]);
	}
	for (int i = 0; i < LOCKERS; i++) {
		if (!victim[i])
			continue;
		answers(DB_LOCK_DEADLOCK, request_outcome(r->lt, &r->p[i].rq, &done));
		leave_queue(r, i);
		r->victims++;
	}
	for (int k = 0; k < OBJECTS; k++)
		promote(r, k);
	find_paths(r, path);
	for (int i = 0; i < LOCKERS; i++)
		t_check(!path[i][i]);
}

static void
open_circles(struct run *r)
{
	bool path[LOCKERS][LOCKERS];

	for (int i = 0; i < LOCKERS; i++) {
		find_paths(r, path);
		if (path[i][i]) {
			withdraw(r, i);
			compare_pending(r);
			r->victims++;
		}
	}
}

static void
step(struct run *r)
{
	int i = rand_r(&r->seed) % LOCKERS, what = rand_r(&r->seed) % 100;

	if (what < 2 && r->one_way)
		open_circles(r);
	else if (what < 2)
		detect(r, what == 0 ? DB_LOCK_OLDEST : DB_LOCK_YOUNGEST);
	else if (r->p[i].open)
		what < 10 ? withdraw(r, i) : (void)0;
	else if (what < 60)
		ask(r, i, what < 14, what % 2 == 0);
	else if (what < 97)
		put(r, i);
	else
		put_everything(r, i);
	compare_pending(r);
}

static void
random_run(
    struct t *t, const u_int8_t *matrix, int nmodes, unsigned seed, unsigned steps, bool one_way)
{
	DB_ENV env = { .db_errcall = hear, .lk_conflicts = matrix, .lk_modes = (u_int32_t)nmodes };
	static struct run run;
	struct run *r = &run;

	run = (struct run){
		.m = { .matrix = matrix, .nmodes = nmodes }, .seed = seed, .one_way = one_way
	};
	r->lt = table_with(t, &env, 0);
	for (int i = 0; i < LOCKERS; i++)
		r->id[i] = locker_of(r->lt);
	for (unsigned n = 0; n < steps; n++) {
		quiet();
		step(r);
		if (n % 64 == 0)
			must(locktab_check(r->lt));
	}
	print_message("# seed %u: %u waits, %u victims\n", seed, r->waits, r->victims);
	assert_true(r->waits > steps / 100 && r->victims > steps / 1000);
	must(locktab_check(r->lt));
	must(lock_close(r->lt));
	must(lock_unlink(t->dir, 0, &env));
}

static void
lock_random_schedules_with_rw_modes_follow_the_model(void **state)
{
	for (unsigned seed = 1; seed <= 10; seed++)
		random_run(*state, db_rw_conflicts, DB_LOCK_RW_N, seed, 5000, false);
}

static void
lock_random_schedules_with_riw_modes_follow_the_model(void **state)
{
	for (unsigned seed = 1; seed <= 10; seed++)
		random_run(*state, db_riw_conflicts, DB_LOCK_RIW_N, seed, 5000, false);
}

static void
lock_random_schedules_with_one_way_conflicts_follow_the_model(void **state)
{
	static u_int8_t matrix[25];
	unsigned seed = 7;

	for (unsigned round = 1; round <= 10; round++) {
		for (int i = 0; i < 25; i++)
			matrix[i] = i >= 5 && i % 5 != 0 && rand_r(&seed) % 2 == 0;
		matrix[2 * 5 + 2] = matrix[3 * 5 + 2] = matrix[2 * 5 + 3] = 1;
		random_run(*state, matrix, 5, seed, 5000, true);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_random_schedules_with_rw_modes_follow_the_model),
		t_test(lock_random_schedules_with_riw_modes_follow_the_model),
		t_test(lock_random_schedules_with_one_way_conflicts_follow_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
