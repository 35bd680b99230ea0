/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/lock: deadlocks in one process: whom the policies choose, and whom nobody chooses.
 */
#include "../lock_t.h"

#define RING 4

/* Locker i holds object i and waits for the next one's; the last closes the ring. */
struct ring {
	u_int32_t id[RING];
	struct waiter w[RING];
};

static const char *const names[RING] = { "a", "b", "c", "d" };

/* Their ages are not in the order of their numbers. */
static void
lockers_with_recycled_numbers(DB_LOCKTAB *lt, u_int32_t id[RING])
{
	u_int32_t spare[RING];

	for (int i = 0; i < RING; i++)
		spare[i] = locker_of(lt);
	for (int i = 0; i < RING; i++)
		must(lock_id_free(lt, spare[i]));
	for (int i = 0; i < RING; i++)
		id[i] = locker_of(lt);
	t_check((id[0] & 0xffffff) > (id[1] & 0xffffff));
}

/* All but the first wait already; so do they all, then. */
static void
make_ring(DB_LOCKTAB *lt, struct ring *r, int last)
{
	memset(r->w, 0, sizeof(r->w));
	lockers_with_recycled_numbers(lt, r->id);
	for (int i = 0; i < RING; i++)
		(void)get(lt, r->id[i], names[i], DB_LOCK_WRITE);
	for (int i = 1; i <= RING; i++)
		wait_for(&r->w[(last + i) % RING], lt, r->id[(last + i) % RING],
		    names[(last + i + 1) % RING], DB_LOCK_WRITE);
}

/* The victim gives up; then each goes on when the one it waits for has ended. */
static int
unwind(DB_LOCKTAB *lt, struct ring *r)
{
	int victim = -1;

	await_waiting(lt, RING - 1);
	while (victim == -1)
		for (int i = 0; i < RING; i++)
			if (load_acquire(&r->w[i].ret) == DB_LOCK_DEADLOCK)
				victim = i;
	answers(DB_LOCK_DEADLOCK, waited(&r->w[victim]));
	for (int n = 0; n < RING; n++) {
		int i = (victim + RING - n) % RING;

		if (n > 0)
			answers(0, waited(&r->w[i]));
		must(lock_vec(lt, r->id[i], 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	}
	for (int i = 0; i < RING; i++)
		must(lock_id_free(lt, r->id[i]));
	return victim;
}

static void
lock_detect_youngest_and_oldest_go_by_age(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	struct ring r;

	for (int last = 0; last < RING; last++) {
		make_ring(lt, &r, last);
		assert_int_equal(stat_of(lt).st_nwaiting, RING);
		must(lock_detect(lt, 0, DB_LOCK_YOUNGEST));
		assert_int_equal(unwind(lt, &r), RING - 1);
		make_ring(lt, &r, last);
		must(lock_detect(lt, 0, DB_LOCK_OLDEST));
		assert_int_equal(unwind(lt, &r), 0);
	}
	assert_int_equal(stat_of(lt).st_ndeadlocks, 2 * RING);
	finish(*state, lt);
}

static void
lock_detect_random_chooses_one_each_time(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	unsigned chosen = 0;
	struct ring r;

	/* that it is always the same one of four: once in 4^59 runs */
	for (int n = 0; n < 60; n++) {
		make_ring(lt, &r, 0);
		must(lock_detect(lt, 0, n % 2 == 0 ? DB_LOCK_RANDOM : DB_LOCK_DEFAULT));
		chosen |= 1u << unwind(lt, &r);
	}
	assert_true((chosen & (chosen - 1)) != 0);
	assert_int_equal(stat_of(lt).st_ndeadlocks, 60);
	finish(*state, lt);
}

static void
lock_detect_runs_at_a_wait_if_asked(void **state)
{
	DB_ENV env = { .db_errcall = hear, .lk_detect = DB_LOCK_OLDEST };
	DB_LOCKTAB *lt = table_with(*state, &env, DB_THREAD);
	struct ring r;

	for (int last = 0; last < RING; last++) {
		make_ring(lt, &r, last);
		assert_int_equal(unwind(lt, &r), 0);
	}
	assert_int_equal(stat_of(lt).st_ndeadlocks, RING);
	finish(*state, lt);
}

static void
lock_detect_leaves_those_who_only_wait(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt), c = locker_of(lt);
	DB_LOCK lock = get(lt, a, "o", DB_LOCK_WRITE);
	struct waiter w = { 0 }, v = { 0 };

	(void)get(lt, b, "p", DB_LOCK_WRITE);
	wait_for(&w, lt, b, "o", DB_LOCK_WRITE);
	wait_for(&v, lt, c, "p", DB_LOCK_WRITE);
	for (u_int32_t policy = DB_LOCK_DEFAULT; policy < DB_LOCK_POLICIES; policy++)
		must(lock_detect(lt, 0, policy));
	assert_int_equal(stat_of(lt).st_ndeadlocks, 0);
	assert_int_equal(stat_of(lt).st_nwaiting, 2);
	must(lock_put(lt, lock));
	answers(0, waited(&w));
	must(lock_vec(lt, b, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	answers(0, waited(&v));
	finish(*state, lt);
}

static void
lock_detect_sees_two_upgrades_of_one_object(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	struct waiter up[2] = { { .flags = DB_LOCK_UPGRADE }, { .flags = DB_LOCK_UPGRADE } };

	up[0].lock = get(lt, a, "o", DB_LOCK_READ);
	up[1].lock = get(lt, b, "o", DB_LOCK_READ);
	wait_for(&up[0], lt, a, "o", DB_LOCK_WRITE);
	wait_for(&up[1], lt, b, "o", DB_LOCK_WRITE);
	must(lock_detect(lt, 0, DB_LOCK_YOUNGEST));
	answers(DB_LOCK_DEADLOCK, waited(&up[1]));
	must(lock_put(lt, up[1].lock));
	answers(0, waited(&up[0]));
	finish(*state, lt);
}

static void
lock_detect_sees_a_circle_through_a_queue(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt), c = locker_of(lt);
	DB_LOCK lock = get(lt, a, "o", DB_LOCK_READ);
	struct waiter wb = { 0 }, wa = { 0 }, wc = { 0 };

	/* b waits for a; c, a reader, behind b; a for c */
	(void)get(lt, c, "p", DB_LOCK_WRITE);
	wait_for(&wb, lt, b, "o", DB_LOCK_WRITE);
	wait_for(&wc, lt, c, "o", DB_LOCK_READ);
	wait_for(&wa, lt, a, "p", DB_LOCK_READ);
	must(lock_detect(lt, 0, DB_LOCK_YOUNGEST));
	answers(DB_LOCK_DEADLOCK, waited(&wc));
	must(lock_vec(lt, c, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	answers(0, waited(&wa));
	must(lock_put(lt, lock));
	answers(0, waited(&wb));
	assert_int_equal(stat_of(lt).st_ndeadlocks, 1);
	finish(*state, lt);
}

static void
lock_detect_conflict_looks_only_if_somebody_began_to_wait(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	struct ring r;

	must(lock_detect(lt, DB_LOCK_CONFLICT, DB_LOCK_DEFAULT));
	assert_int_equal(stat_of(lt).st_ndetections, 0);
	make_ring(lt, &r, 0);
	must(lock_detect(lt, DB_LOCK_CONFLICT, DB_LOCK_DEFAULT));
	assert_int_equal(stat_of(lt).st_ndetections, 1);
	(void)unwind(lt, &r);
	must(lock_detect(lt, DB_LOCK_CONFLICT, DB_LOCK_DEFAULT));
	assert_int_equal(stat_of(lt).st_ndetections, 1);
	finish(*state, lt);
}

/* It dies with all partitions locked; what it was to look for is there still. */
static int
detector_dies(struct t_child *c, void *arg)
{
	DB_LOCKTAB *lt = table_of(arg);

	for (uint32_t i = 0; i < LOCK_PARTS - 1; i++)
		must(part_lock(lt, i));
	t_tell(c, 'h');
	/* stays at the last one, which the test has */
	return lock_detect(lt, DB_LOCK_CONFLICT, DB_LOCK_OLDEST);
}

static void
lock_detect_that_died_leaves_the_deadlock_to_the_next(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	struct t_child c;
	struct ring r;

	make_ring(lt, &r, 0);
	await_waiting(lt, RING);
	must(part_lock(lt, LOCK_PARTS - 1));
	t_fork(&c, detector_dies, *state);
	t_await(&c, 'h');
	t_kill(&c);
	part_unlock(lt, LOCK_PARTS - 1);
	must(lock_detect(lt, DB_LOCK_CONFLICT, DB_LOCK_OLDEST));
	assert_int_equal(unwind(lt, &r), 0);
	finish(*state, lt);
}

/* All hold READ and want WRITE: each waits for each. */
static void
lock_detect_leaves_one_of_many_upgraders(void **state)
{
	enum { MANY = 300 };
	static struct lock_request rq[MANY];
	const DBT obj = named("o");
	DB_LOCKTAB *lt = table_of(*state);
	enum verdict verdict;
	u_int32_t id;
	bool done;
	int ret, winners = 0;

	for (int i = 0; i < MANY; i++) {
		id = locker_of(lt);
		must(request_init(lt, &rq[i], id, DB_LOCK_UPGRADE, &obj, DB_LOCK_WRITE,
		    get(lt, id, "o", DB_LOCK_READ)));
		rq[i].distant = true;
	}
	for (int i = 0; i < MANY; i++) {
		must(request_make(lt, &rq[i], &verdict));
		assert_int_equal(verdict, WAITS);
	}
	must(lock_detect(lt, 0, DB_LOCK_YOUNGEST));
	assert_int_equal(stat_of(lt).st_ndeadlocks, MANY - 1);
	for (int i = 0; i < MANY; i++) {
		ret = request_outcome(lt, &rq[i], &done);
		assert_true(done == (i > 0));
		answers(done ? DB_LOCK_DEADLOCK : 0, ret);
		if (done)
			must(lock_vec(
			    lt, rq[i].m->id, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	}
	must(request_outcome(lt, &rq[0], &done));
	winners += done;
	assert_int_equal(winners, 1);
	finish(*state, lt);
}

static int
holds(struct t_child *c, void *arg)
{
	DB_LOCKTAB *lt = table_of(arg);

	(void)get(lt, locker_of(lt), "held", DB_LOCK_WRITE);
	t_tell(c, 'h');
	t_await(c, 'n');
	return 0;
}

static void
lock_waiters_ask_together_whether_the_holder_lives(void **state)
{
	enum { MANY = 50, LOOKS = 20 };
	static struct lock_request rq[MANY];
	const DBT obj = named("held");
	DB_LOCKTAB *lt = table_of(*state);
	enum verdict verdict;
	uint64_t begun, asked;
	struct t_child c;

	t_fork(&c, holds, *state);
	t_await(&c, 'h');
	for (int i = 0; i < MANY; i++) {
		must(request_init(lt, &rq[i], locker_of(lt), 0, &obj, DB_LOCK_WRITE, 0));
		rq[i].distant = true;
		must(request_make(lt, &rq[i], &verdict));
	}
	begun = os_monotonic_usec();
	asked = load_relaxed(&lt->nasked);
	for (int i = 0; i < LOOKS * MANY; i++)
		must(request_look(lt, &rq[i % MANY]));
	asked = load_relaxed(&lt->nasked) - asked;
	assert_true(asked > 0);
	assert_true(asked <= (os_monotonic_usec() - begun) / (LOOK_USEC - 1000) + 2);
	t_kill(&c);
	for (bool done = false; !done;) {
		must(request_look(lt, &rq[0]));
		must(request_outcome(lt, &rq[0], &done));
	}
	finish(*state, lt);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_detect_youngest_and_oldest_go_by_age),
		t_test(lock_detect_random_chooses_one_each_time),
		t_test(lock_detect_runs_at_a_wait_if_asked),
		t_test(lock_detect_leaves_those_who_only_wait),
		t_test(lock_detect_sees_two_upgrades_of_one_object),
		t_test(lock_detect_sees_a_circle_through_a_queue),
		t_test(lock_detect_conflict_looks_only_if_somebody_began_to_wait),
		t_test(lock_detect_that_died_leaves_the_deadlock_to_the_next),
		t_test(lock_detect_leaves_one_of_many_upgraders),
		t_test(lock_waiters_ask_together_whether_the_holder_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
