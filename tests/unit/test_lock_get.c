/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/lock: who is granted what, and when: counting, order, conversion, upgrades, lock_vec.
 */
#include "../lock_t.h"

#include <signal.h>

static void
lock_of_the_same_mode_is_counted(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt);
	DB_LOCK one = get(lt, a, "o", DB_LOCK_READ), two = get(lt, a, "o", DB_LOCK_READ);

	assert_true(one == two);
	assert_int_equal(stat_of(lt).st_nlocks, 1);
	must(lock_put(lt, one));
	assert_false(is_free(lt, "o", DB_LOCK_WRITE));
	must(lock_put(lt, one));
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	refuses(DB_LOCK_NOTHELD, lock_put(lt, one));
	finish(*state, lt);
}

static void
lock_of_ones_own_never_conflicts(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt);
	DB_LOCK r = get(lt, a, "o", DB_LOCK_READ), w = get(lt, a, "o", DB_LOCK_WRITE);

	assert_true(r != w);
	must(lock_put(lt, w));
	assert_true(is_free(lt, "o", DB_LOCK_READ));
	assert_false(is_free(lt, "o", DB_LOCK_WRITE));
	must(lock_put(lt, r));
	finish(*state, lt);
}

static void
lock_nowait_is_refused_and_counted(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DB_LOCK lock = get(lt, a, "o", DB_LOCK_READ), mine = 5;

	answers(DB_LOCK_NOTGRANTED, try_get(lt, b, DB_LOCK_NOWAIT, "o", DB_LOCK_WRITE, &mine));
	assert_true(mine == 5);
	(void)get(lt, b, "o", DB_LOCK_READ);
	answers(DB_LOCK_NOTGRANTED,
	    try_get(lt, a, DB_LOCK_NOWAIT | DB_LOCK_UPGRADE, "o", DB_LOCK_WRITE, &lock));
	assert_int_equal(stat_of(lt).st_nconflicts, 2);
	assert_int_equal(stat_of(lt).st_nwaits, 0);
	assert_int_equal(stat_of(lt).st_nrefused, 2);
	finish(*state, lt);
}

static void
lock_waits_until_it_is_put(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	DB_LOCK lock = get(lt, locker_of(lt), "o", DB_LOCK_WRITE);
	struct waiter w = { 0 };

	wait_for(&w, lt, locker_of(lt), "o", DB_LOCK_WRITE);
	assert_int_equal(stat_of(lt).st_nwaiting, 1);
	assert_int_equal(stat_of(lt).st_nlocks, 2);
	must(lock_put(lt, lock));
	answers(0, waited(&w));
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	must(lock_put(lt, w.lock));
	assert_int_equal(stat_of(lt).st_nwaits, 1);
	finish(*state, lt);
}

static void
lock_that_fits_waits_behind_an_earlier_one_that_does_not(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	DB_LOCK lock = get(lt, locker_of(lt), "o", DB_LOCK_READ);
	struct waiter w = { 0 }, r = { 0 };

	wait_for(&w, lt, locker_of(lt), "o", DB_LOCK_WRITE);
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	wait_for(&r, lt, locker_of(lt), "o", DB_LOCK_READ);
	must(locktab_check(lt));
	must(lock_put(lt, lock));
	answers(0, waited(&w));
	await_waiting(lt, 1);
	must(lock_put(lt, w.lock));
	answers(0, waited(&r));
	must(lock_put(lt, r.lock));
	finish(*state, lt);
}

static void
lock_readers_behind_a_writer_go_on_together(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	DB_LOCK lock = get(lt, locker_of(lt), "o", DB_LOCK_WRITE);
	struct waiter r[3] = { 0 };

	for (int i = 0; i < 3; i++)
		wait_for(&r[i], lt, locker_of(lt), "o", DB_LOCK_READ);
	must(lock_put(lt, lock));
	for (int i = 0; i < 3; i++)
		answers(0, waited(&r[i]));
	assert_int_equal(stat_of(lt).st_nlocks, 3);
	finish(*state, lt);
}

static void
lock_of_who_holds_the_object_goes_before_others(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DB_LOCK held = get(lt, a, "o", DB_LOCK_READ), other = get(lt, b, "o", DB_LOCK_READ);
	struct waiter w = { 0 }, up = { 0 };

	wait_for(&w, lt, locker_of(lt), "o", DB_LOCK_WRITE);
	/* fits, and its locker holds the object: at once */
	(void)get(lt, a, "o", DB_LOCK_READ);
	wait_for(&up, lt, a, "o", DB_LOCK_WRITE);
	must(locktab_check(lt));
	must(lock_put(lt, other));
	answers(0, waited(&up));
	assert_int_equal(stat_of(lt).st_nwaiting, 1);
	must(lock_put(lt, up.lock));
	must(lock_put(lt, held));
	must(lock_put(lt, held));
	answers(0, waited(&w));
	finish(*state, lt);
}

static void
lock_upgrade_changes_the_lock_itself(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt);
	DB_LOCK lock = get(lt, a, "o", DB_LOCK_READ), same = lock, found = 0;

	must(try_get(lt, a, DB_LOCK_UPGRADE, "o", DB_LOCK_WRITE, &same));
	assert_true(same == lock);
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	assert_int_equal(stat_of(lt).st_nlocks, 1);
	/* without a lock: the one on that object; without an object: that lock; and down again */
	must(lock_get(lt, a, DB_LOCK_UPGRADE, NULL, DB_LOCK_READ, &same));
	assert_true(is_free(lt, "o", DB_LOCK_READ));
	must(try_get(lt, a, DB_LOCK_UPGRADE, "o", DB_LOCK_WRITE, &found));
	assert_true(found == lock);
	must(lock_put(lt, lock));
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	answers(DB_LOCK_NOTHELD, try_get(lt, a, DB_LOCK_UPGRADE, "o", DB_LOCK_WRITE, &found));
	answers(DB_LOCK_NOTHELD, lock_get(lt, a, DB_LOCK_UPGRADE, NULL, DB_LOCK_READ, &same));
	assert_int_equal(stat_of(lt).st_nupgrades, 3);
	finish(*state, lt);
}

static void
lock_upgrade_waits_for_holders_only(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DB_LOCK mine = get(lt, a, "o", DB_LOCK_READ), other = get(lt, b, "o", DB_LOCK_READ);
	struct waiter w = { 0 }, up = { .flags = DB_LOCK_UPGRADE, .lock = mine };

	wait_for(&w, lt, locker_of(lt), "o", DB_LOCK_WRITE);
	wait_for(&up, lt, a, "o", DB_LOCK_WRITE);
	must(locktab_check(lt));
	must(lock_put(lt, other));
	answers(0, waited(&up));
	assert_true(up.lock == mine);
	assert_int_equal(stat_of(lt).st_nlocks, 2);
	must(lock_put(lt, mine));
	answers(0, waited(&w));
	finish(*state, lt);
}

static void
lock_downgrade_lets_others_in(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt);
	DB_LOCK lock = get(lt, a, "o", DB_LOCK_WRITE);
	struct waiter r = { 0 };

	wait_for(&r, lt, locker_of(lt), "o", DB_LOCK_READ);
	must(try_get(lt, a, DB_LOCK_UPGRADE, "o", DB_LOCK_READ, &lock));
	answers(0, waited(&r));
	finish(*state, lt);
}

static void
lock_timeout_ends_a_wait(void **state)
{
	DB_ENV env = { .db_errcall = hear, .lk_timeout = 20000 };
	DB_LOCKTAB *lt = table_with(*state, &env, DB_THREAD);
	DB_LOCK lock = get(lt, locker_of(lt), "o", DB_LOCK_READ), mine = 3;

	answers(DB_LOCK_NOTGRANTED, try_get(lt, locker_of(lt), 0, "o", DB_LOCK_WRITE, &mine));
	assert_true(mine == 3);
	assert_int_equal(stat_of(lt).st_ntimeouts, 1);
	assert_int_equal(stat_of(lt).st_nwaiting, 0);
	/* nobody is stuck behind it */
	assert_true(is_free(lt, "o", DB_LOCK_READ));
	must(lock_put(lt, lock));
	finish(*state, lt);
}

static unsigned handled;

static void
handle(int signo)
{
	(void)signo;
	(void)add_seq(&handled, 1);
}

static void
lock_wait_goes_on_after_a_signal(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	DB_LOCK lock = get(lt, locker_of(lt), "o", DB_LOCK_WRITE);
	struct sigaction sa = { .sa_handler = handle }, before;
	uint64_t end = os_monotonic_usec() + 60000000;
	struct waiter w = { 0 };

	t_check(sigaction(SIGUSR1, &sa, &before) == 0);
	wait_for(&w, lt, locker_of(lt), "o", DB_LOCK_READ);
	for (unsigned n = 1; n <= 5; n++) {
		t_check(pthread_kill(w.thread, SIGUSR1) == 0);
		while (load_seq(&handled) < n) {
			t_check(os_monotonic_usec() < end);
			os_sleep_usec(200);
		}
		assert_int_equal(stat_of(lt).st_nwaiting, 1);
	}
	must(lock_put(lt, lock));
	answers(0, waited(&w));
	must(lock_put(lt, w.lock));
	t_check(sigaction(SIGUSR1, &before, NULL) == 0);
	finish(*state, lt);
}

static void
lock_vec_goes_in_order_and_stops_at_the_first_that_fails(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	const DBT one = named("one"), two = named("two"), three = named("three");
	DB_LOCKREQ list[] = {
		{ .op = DB_LOCK_GET, .mode = DB_LOCK_READ, .obj = &one },
		{ .op = DB_LOCK_GET, .mode = DB_LOCK_WRITE, .obj = &two },
		{ .op = DB_LOCK_GET, .mode = DB_LOCK_READ, .obj = &three },
	};
	DB_LOCKREQ *failed = NULL;

	(void)get(lt, b, "two", DB_LOCK_READ);
	answers(DB_LOCK_NOTGRANTED, lock_vec(lt, a, DB_LOCK_NOWAIT, list, 3, &failed));
	assert_ptr_equal(failed, &list[1]);
	assert_true(list[0].lock != 0 && list[2].lock == 0);
	assert_false(is_free(lt, "one", DB_LOCK_WRITE));
	assert_true(is_free(lt, "three", DB_LOCK_WRITE));
	list[1].op = (db_lockop_t)9;
	refuses(EINVAL, lock_vec(lt, a, 0, &list[1], 1, &failed));
	finish(*state, lt);
}

static void
lock_vec_puts_only_the_lockers_own(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DB_LOCKREQ put = { .op = DB_LOCK_PUT, .lock = get(lt, b, "o", DB_LOCK_READ) };
	DB_LOCKREQ *failed = NULL;

	refuses(DB_LOCK_NOTHELD, lock_vec(lt, a, 0, &put, 1, &failed));
	assert_ptr_equal(failed, &put);
	must(lock_vec(lt, b, 0, &put, 1, NULL));
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	finish(*state, lt);
}

static void
lock_vec_put_all_releases_counted_locks_altogether(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	struct waiter w = { 0 };
	DB_LOCK lock;

	(void)get(lt, a, "o", DB_LOCK_WRITE);
	lock = get(lt, a, "o", DB_LOCK_WRITE);
	(void)get(lt, a, "p", DB_LOCK_READ);
	(void)get(lt, b, "p", DB_LOCK_READ);
	wait_for(&w, lt, locker_of(lt), "o", DB_LOCK_READ);
	must(lock_vec(lt, a, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	answers(0, waited(&w));
	refuses(DB_LOCK_NOTHELD, lock_put(lt, lock));
	assert_false(is_free(lt, "p", DB_LOCK_WRITE));
	must(lock_vec(lt, a, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	finish(*state, lt);
}

static void
lock_vec_put_obj_releases_everybodys(void **state)
{
	const struct t *t = *state;
	DB_LOCKTAB *lt = table_of(t), *other = table_of(t);
	u_int32_t a = locker_of(lt);
	DB_LOCK mine = get(lt, a, "o", DB_LOCK_READ);
	DB_LOCK theirs = get(other, locker_of(other), "o", DB_LOCK_READ);
	const DBT obj = named("o"), none = named("none");
	DB_LOCKREQ put[] = { { .op = DB_LOCK_PUT_OBJ, .obj = &obj },
		{ .op = DB_LOCK_PUT_OBJ, .obj = &none } };
	struct waiter w = { 0 };

	wait_for(&w, lt, locker_of(lt), "o", DB_LOCK_WRITE);
	must(lock_vec(lt, a, 0, put, 2, NULL));
	answers(0, waited(&w));
	must(locktab_check(lt));
	refuses(DB_LOCK_NOTHELD, lock_put(lt, mine));
	refuses(DB_LOCK_NOTHELD, lock_put(other, theirs));
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	must(lock_put(lt, w.lock));
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	refuses(EINVAL, lock_vec(lt, a, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_OBJ }, 1, NULL));
	must(lock_close(other));
	finish(t, lt);
}

static void
lock_statistics_are_exact(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt);
	unsigned seed = 1, granted = 0, put = 0;
	DB_LOCK locks[64] = { 0 };
	DB_LOCK_STAT st;
	char name[20];

	for (unsigned i = 0; i < 5000; i++) {
		unsigned k = (unsigned)rand_r(&seed) % 64;

		if (locks[k] != 0) {
			must(lock_put(lt, locks[k]));
			locks[k] = 0;
			put++;
		} else {
			(void)snprintf(name, sizeof(name), "%u", k);
			locks[k] = get(lt, a, name, DB_LOCK_WRITE);
			granted++;
		}
	}
	st = stat_of(lt);
	assert_int_equal(st.st_nrequests, granted);
	assert_int_equal(st.st_nreleases, put);
	assert_int_equal(st.st_nlocks, granted - put);
	assert_int_equal(st.st_numobjs, granted - put);
	assert_int_equal(st.st_nlockers, 1);
	finish(*state, lt);
}

/* --- threads that share a locker ------------------------------------------------------------- */

#define SHARERS 4
#define SHARED_TURNS 40000

struct sharer {
	DB_LOCKTAB *lt;
	u_int32_t id;
	int number;
};

/* Names of one partition each time: cells that are freed are soon somebody else's. */
static void *
gets_and_puts(void *arg)
{
	const struct sharer *s = arg;
	char names[64][16];
	int n = 0;

	for (unsigned i = 0; n < 64; i++) {
		(void)snprintf(names[n], sizeof(names[n]), "%d.%u", s->number, i);
		n += hash_part(object_hash(names[n], (uint32_t)strlen(names[n]))) == 1;
	}
	for (int i = 0; i < SHARED_TURNS; i++) {
		DBT obj = named(names[i % (s->number < SHARERS ? 64 : 3)]);
		DB_LOCK lock;

		must(lock_get(s->lt, s->id, 0, &obj, DB_LOCK_WRITE, &lock));
		must(lock_put(s->lt, lock));
	}
	return NULL;
}

static void
lock_threads_of_one_locker_do_not_damage_the_table(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	struct sharer sharers[2 * SHARERS];
	pthread_t threads[2 * SHARERS];
	u_int32_t shared = locker_of(lt);

	for (int i = 0; i < 2 * SHARERS; i++) {
		/* the others want one another's: objects come and go, cells change kind */
		sharers[i] = (struct sharer){ lt, i < SHARERS ? shared : locker_of(lt),
			i < SHARERS ? i : SHARERS };
		t_check(pthread_create(&threads[i], NULL, gets_and_puts, &sharers[i]) == 0);
	}
	for (int i = 0; i < 2 * SHARERS; i++)
		t_check(pthread_join(threads[i], NULL) == 0);
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	finish(*state, lt);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_of_the_same_mode_is_counted),
		t_test(lock_of_ones_own_never_conflicts),
		t_test(lock_nowait_is_refused_and_counted),
		t_test(lock_waits_until_it_is_put),
		t_test(lock_that_fits_waits_behind_an_earlier_one_that_does_not),
		t_test(lock_readers_behind_a_writer_go_on_together),
		t_test(lock_of_who_holds_the_object_goes_before_others),
		t_test(lock_upgrade_changes_the_lock_itself),
		t_test(lock_upgrade_waits_for_holders_only),
		t_test(lock_downgrade_lets_others_in),
		t_test(lock_timeout_ends_a_wait),
		t_test(lock_wait_goes_on_after_a_signal),
		t_test(lock_vec_goes_in_order_and_stops_at_the_first_that_fails),
		t_test(lock_vec_puts_only_the_lockers_own),
		t_test(lock_vec_put_all_releases_counted_locks_altogether),
		t_test(lock_vec_put_obj_releases_everybodys),
		t_test(lock_statistics_are_exact),
		t_test(lock_threads_of_one_locker_do_not_damage_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
