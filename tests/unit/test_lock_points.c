/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/lock: what threads of one locker can see of each other between two steps.
 *
 * This has a copy of core/lock of its own, in which a thread stands still at the places of point.h
 * when it is told to; what the others do meanwhile is no matter of time.
 */
#include "../lock_t.h"

#include <semaphore.h>
#include <time.h>

#include "lock/point.h"

#define STOPS 2

/* A thread that makes one call, and stands still in it. */
struct standing {
	DB_LOCKTAB *lt;
	u_int32_t id;
	enum { GETS, PUTS, UPGRADES } what;
	const char *name;
	int mode;
	DB_LOCK lock;
	int ret;
	enum lock_point at[STOPS]; /* in turn */
	unsigned stops;
	pthread_t thread;
	sem_t there, go;
};

static __thread struct standing *self;

/* Instead of standing still: what is done there, and how often that was. */
static __thread void (*done_there)(void);
static __thread unsigned times_there;

static void
await(sem_t *sem)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 50;
	t_check(sem_timedwait(sem, &end) == 0);
}

void
lock_at(enum lock_point where)
{
	if (done_there != NULL && where == POINT_SETTLING) {
		times_there++;
		done_there();
	}
	if (self == NULL || self->stops == STOPS || self->at[self->stops] != where)
		return;
	self->stops++;
	(void)sem_post(&self->there);
	await(&self->go);
}

static void *
stands(void *arg)
{
	struct standing *s = arg;

	self = s;
	if (s->what == GETS)
		s->ret = try_get(s->lt, s->id, 0, s->name, s->mode, &s->lock);
	else if (s->what == PUTS)
		s->ret = lock_put(s->lt, s->lock);
	else
		s->ret =
		    lock_get(s->lt, s->id, DB_LOCK_UPGRADE, NULL, (db_lockmode_t)s->mode, &s->lock);
	return NULL;
}

/* In the thread; it stands still, or waits for another locker, when this returns. */
static void
begin(struct standing *s, DB_LOCKTAB *lt, u_int32_t id, bool comes_there)
{
	s->lt = lt;
	s->id = id;
	s->ret = -1000;
	t_check(sem_init(&s->there, 0, 0) == 0 && sem_init(&s->go, 0, 0) == 0);
	t_check(pthread_create(&s->thread, NULL, stands, s) == 0);
	if (comes_there)
		await(&s->there);
}

static void
go(struct standing *s)
{
	(void)sem_post(&s->go);
}

static int
end(struct standing *s)
{
	go(s);
	t_check(pthread_join(s->thread, NULL) == 0);
	(void)sem_destroy(&s->there);
	(void)sem_destroy(&s->go);
	return s->ret;
}

static void
put_everything(DB_LOCKTAB *lt, u_int32_t id)
{
	must(lock_vec(lt, id, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
}

/* With all of them put, whoever put them. */
static void
ends_empty(const struct t *t, DB_LOCKTAB *lt, u_int32_t id)
{
	put_everything(lt, id);
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	must(lock_id_free(lt, id));
	assert_int_equal(stat_of(lt).st_nlockers, 0);
	finish(t, lt);
}

static void
lock_put_all_releases_what_a_thread_is_just_being_granted(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	struct standing s = { .name = "o", .mode = DB_LOCK_READ, .at = { POINT_GRANTED } };

	begin(&s, lt, id, true);
	(void)get(lt, id, "o", DB_LOCK_READ);
	put_everything(lt, id);
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	assert_int_equal(end(&s), 0);
	refuses(DB_LOCK_NOTHELD, lock_put(lt, s.lock));
	/* the slot that it had is another's by now */
	must(lock_put(lt, get(lt, id, "p", DB_LOCK_READ)));
	(void)get(lt, id, "o", DB_LOCK_READ);
	ends_empty(*state, lt, id);
}

static void
lock_put_all_releases_what_a_thread_has_waited_for_and_not_seen(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt), other = locker_of(lt);
	struct standing s = { .name = "o", .mode = DB_LOCK_READ, .at = { POINT_DECIDED } };
	DB_LOCK lock = get(lt, other, "o", DB_LOCK_WRITE);

	begin(&s, lt, id, false);
	await_waiting(lt, 1);
	must(lock_put(lt, lock));
	await(&s.there);
	(void)get(lt, id, "o", DB_LOCK_READ);
	put_everything(lt, id);
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	assert_int_equal(end(&s), 0);
	refuses(DB_LOCK_NOTHELD, lock_put(lt, s.lock));
	must(lock_id_free(lt, other));
	ends_empty(*state, lt, id);
}

/* It is the same lock, and was granted twice. */
static void
lock_that_two_puts_released_unseen_is_no_damage(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt), other = locker_of(lt);
	struct standing s = { .name = "o", .mode = DB_LOCK_READ, .at = { POINT_LOOKING } };
	DB_LOCK lock = get(lt, other, "o", DB_LOCK_WRITE);

	begin(&s, lt, id, true);
	must(lock_put(lt, lock));
	lock = get(lt, id, "o", DB_LOCK_READ);
	must(lock_put(lt, lock));
	must(lock_put(lt, lock));
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	assert_int_equal(end(&s), 0);
	refuses(DB_LOCK_NOTHELD, lock_put(lt, s.lock));
	must(lock_id_free(lt, other));
	ends_empty(*state, lt, id);
}

static void
lock_put_all_releases_what_a_thread_has_just_taken_again(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	struct standing s = { .name = "o", .mode = DB_LOCK_READ, .at = { POINT_TAKEN } };

	must(lock_put(lt, get(lt, id, "o", DB_LOCK_READ)));
	begin(&s, lt, id, true);
	(void)get(lt, id, "o", DB_LOCK_READ);
	put_everything(lt, id);
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	/* where its lock was remembered are others' now */
	(void)get(lt, id, "p", DB_LOCK_READ);
	(void)get(lt, id, "q", DB_LOCK_READ);
	assert_int_equal(end(&s), 0);
	refuses(DB_LOCK_NOTHELD, lock_put(lt, s.lock));
	put_everything(lt, id);
	assert_true(is_free(lt, "p", DB_LOCK_WRITE));
	assert_true(is_free(lt, "q", DB_LOCK_WRITE));
	ends_empty(*state, lt, id);
}

static void
lock_just_taken_again_is_seen_by_the_detector(void **state)
{
	DB_ENV env = { .db_errcall = hear, .lk_detect = DB_LOCK_YOUNGEST };
	DB_LOCKTAB *lt = table_with(*state, &env, DB_THREAD);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	struct standing s = { .name = "o", .mode = DB_LOCK_WRITE, .at = { POINT_TAKEN } };
	struct waiter w = { 0 };
	DB_LOCK lock;

	must(lock_put(lt, get(lt, a, "o", DB_LOCK_WRITE)));
	(void)get(lt, b, "p", DB_LOCK_WRITE);
	begin(&s, lt, a, true);
	wait_for(&w, lt, b, "o", DB_LOCK_WRITE);
	/* a waits for b, and b for a: b is the victim, and then puts what it has */
	{
		struct waiter v = { 0 };

		wait_for(&v, lt, a, "p", DB_LOCK_WRITE);
		answers(DB_LOCK_DEADLOCK, waited(&w));
		put_everything(lt, b);
		answers(0, waited(&v));
		lock = v.lock;
	}
	assert_int_equal(end(&s), 0);
	must(lock_put(lt, lock));
	must(lock_put(lt, s.lock));
	must(lock_id_free(lt, b));
	ends_empty(*state, lt, a);
}

static void
lock_put_that_comes_late_does_not_put_what_was_taken_since(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	DB_LOCK lock = get(lt, id, "o", DB_LOCK_WRITE);
	struct standing s = { .what = PUTS, .lock = lock, .at = { POINT_KEEPING } };

	begin(&s, lt, id, true);
	must(lock_put(lt, lock));
	lock = get(lt, id, "o", DB_LOCK_WRITE);
	assert_int_equal(end(&s), DB_LOCK_NOTHELD);
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	must(lock_put(lt, lock));
	ends_empty(*state, lt, id);
}

/* Two grants: the thread goes the long way for the first put, and is overtaken on it. */
static void
put_the_long_way(void **state, bool taken_again)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	DB_LOCK lock = get(lt, id, "o", DB_LOCK_WRITE);
	struct standing s = { .what = PUTS, .lock = lock, .at = { POINT_LONG_WAY, POINT_PUTTING } };

	assert_true(get(lt, id, "o", DB_LOCK_WRITE) == lock);
	begin(&s, lt, id, true);
	must(lock_put(lt, lock));
	go(&s);
	await(&s.there);
	must(lock_put(lt, lock));
	if (taken_again)
		lock = get(lt, id, "o", DB_LOCK_WRITE);
	assert_int_equal(end(&s), DB_LOCK_NOTHELD);
	assert_int_equal(is_free(lt, "o", DB_LOCK_READ), !taken_again);
	if (taken_again)
		must(lock_put(lt, lock));
	ends_empty(*state, lt, id);
}

static void
lock_put_the_long_way_does_not_put_what_was_taken_since(void **state)
{
	put_the_long_way(state, true);
}

static void
lock_put_the_long_way_leaves_what_another_has_put(void **state)
{
	put_the_long_way(state, false);
}

static void
lock_upgrade_by_handle_does_not_change_what_was_taken_since(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	DB_LOCK lock = get(lt, id, "o", DB_LOCK_READ);
	struct standing s = {
		.what = UPGRADES, .lock = lock, .mode = DB_LOCK_WRITE, .at = { POINT_TARGET }
	};

	begin(&s, lt, id, true);
	must(lock_put(lt, lock));
	lock = get(lt, id, "o", DB_LOCK_READ);
	assert_int_equal(end(&s), DB_LOCK_NOTHELD);
	assert_true(is_free(lt, "o", DB_LOCK_READ));
	must(lock_put(lt, lock));
	ends_empty(*state, lt, id);
}

/* Until the cell of that lock is another's, idle, of the same partition and mode. */
static void
reuse_cell(DB_LOCKTAB *lt, u_int32_t id, DB_LOCK was, char *name, size_t bytes)
{
	DB_LOCK lock = 0;

	for (int i = 0; i < 100000 && (uint32_t)lock != (uint32_t)was; i++) {
		(void)snprintf(name, bytes, "%d", i);
		lock = get(lt, id, name, DB_LOCK_READ);
	}
	t_check((uint32_t)lock == (uint32_t)was);
	must(lock_put(lt, lock));
}

static void
lock_that_is_anothers_by_now_is_not_taken_again(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt), other = locker_of(lt);
	struct standing s = { .name = "o", .mode = DB_LOCK_READ, .at = { POINT_MATCHED } };
	DB_LOCK first = get(lt, id, "o", DB_LOCK_READ), lock;
	char name[16];

	must(lock_put(lt, first));
	begin(&s, lt, id, true);
	lock = get(lt, other, "o", DB_LOCK_WRITE);
	must(lock_put(lt, lock));
	reuse_cell(lt, other, first, name, sizeof(name));
	assert_int_equal(end(&s), 0);
	assert_false(is_free(lt, "o", DB_LOCK_WRITE));
	assert_true(is_free(lt, name, DB_LOCK_WRITE));
	must(lock_put(lt, s.lock));
	put_everything(lt, other);
	must(lock_id_free(lt, other));
	ends_empty(*state, lt, id);
}

static struct {
	DB_LOCKTAB *lt;
	u_int32_t id;
	DB_LOCK lock;
} owner;

/* As often as it likes, in between. */
static void
take_and_put(void)
{
	for (int i = 0; i < 3; i++) {
		owner.lock = get(owner.lt, owner.id, "o", DB_LOCK_WRITE);
		must(lock_put(owner.lt, owner.lock));
	}
}

static void
take(void)
{
	owner.lock = get(owner.lt, owner.id, "o", DB_LOCK_WRITE);
}

/* Whoever has the partition settles it at once, whatever the owner does. */
static void
lock_in_the_way_is_settled_in_one_step(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t other = locker_of(lt);
	DB_LOCK lock = 0;

	owner.lt = lt;
	owner.id = locker_of(lt);
	times_there = 0;
	must(lock_put(lt, get(lt, owner.id, "o", DB_LOCK_WRITE)));
	done_there = take_and_put;
	must(try_get(lt, other, DB_LOCK_NOWAIT, "o", DB_LOCK_WRITE, &lock));
	assert_int_equal(times_there, 1);
	done_there = NULL;
	must(lock_put(lt, lock));
	must(lock_id_free(lt, other));
	other = locker_of(lt);
	must(lock_put(lt, get(lt, owner.id, "o", DB_LOCK_WRITE)));
	done_there = take;
	answers(DB_LOCK_NOTGRANTED, try_get(lt, other, DB_LOCK_NOWAIT, "o", DB_LOCK_READ, &lock));
	assert_int_equal(times_there, 2);
	done_there = NULL;
	must(lock_put(lt, owner.lock));
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	must(lock_id_free(lt, other));
	ends_empty(*state, lt, owner.id);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_put_all_releases_what_a_thread_is_just_being_granted),
		t_test(lock_put_all_releases_what_a_thread_has_waited_for_and_not_seen),
		t_test(lock_that_two_puts_released_unseen_is_no_damage),
		t_test(lock_put_all_releases_what_a_thread_has_just_taken_again),
		t_test(lock_just_taken_again_is_seen_by_the_detector),
		t_test(lock_put_that_comes_late_does_not_put_what_was_taken_since),
		t_test(lock_put_the_long_way_does_not_put_what_was_taken_since),
		t_test(lock_put_the_long_way_leaves_what_another_has_put),
		t_test(lock_upgrade_by_handle_does_not_change_what_was_taken_since),
		t_test(lock_that_is_anothers_by_now_is_not_taken_again),
		t_test(lock_in_the_way_is_settled_in_one_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
