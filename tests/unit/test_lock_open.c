/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/lock: opening, joining and removing a table; lockers; what is refused.
 */
#include "../lock_t.h"

#include <sys/wait.h>

static void
lock_matrix_is_requested_by_held(void **state)
{
	/* Mode 1 may not be asked for while 2 is held; 2 may while 1 is. */
	static const u_int8_t one_way[] = { 0, 0, 0, 0, 0, 1, 0, 0, 1 };
	DB_ENV env = { .db_errcall = hear, .lk_conflicts = one_way, .lk_modes = 3 };
	DB_LOCKTAB *lt = table_with(*state, &env, 0);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DB_LOCK lock, other;

	lock = get(lt, a, "o", 2);
	answers(DB_LOCK_NOTGRANTED, try_get(lt, b, DB_LOCK_NOWAIT, "o", 1, &other));
	must(lock_put(lt, lock));
	(void)get(lt, b, "o", 1);
	(void)get(lt, a, "o", 2);
	must(lock_close(lt));
	must(lock_unlink(((struct t *)*state)->dir, 0, &env));
}

static void
lock_rw_matrix_is_the_default(void **state)
{
	static const int conflict[3][3] = { { 0, 0, 0 }, { 0, 0, 1 }, { 0, 1, 1 } };
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt);

	for (int held = 1; held < DB_LOCK_RW_N; held++)
		for (int asked = 1; asked < DB_LOCK_RW_N; asked++) {
			DB_LOCK lock = get(lt, a, "o", held);

			assert_int_equal(is_free(lt, "o", asked), !conflict[asked][held]);
			must(lock_put(lt, lock));
		}
	assert_int_equal(stat_of(lt).st_nmodes, 3);
	finish(*state, lt);
}

static void
lock_riw_matrix_is_as_the_page_says(void **state)
{
	/* NG READ WRITE IWRITE IREAD IWR */
	static const int conflict[6][6] = { { 0, 0, 0, 0, 0, 0 }, { 0, 0, 1, 1, 0, 1 },
		{ 0, 1, 1, 1, 1, 1 }, { 0, 1, 1, 0, 0, 0 }, { 0, 0, 1, 0, 0, 0 },
		{ 0, 1, 1, 0, 0, 0 } };
	DB_ENV env = {
		.db_errcall = hear, .lk_conflicts = db_riw_conflicts, .lk_modes = DB_LOCK_RIW_N
	};
	DB_LOCKTAB *lt = table_with(*state, &env, 0);
	u_int32_t a = locker_of(lt);

	for (int held = 1; held < 6; held++)
		for (int asked = 1; asked < 6; asked++) {
			DB_LOCK lock = get(lt, a, "o", held);

			assert_int_equal(is_free(lt, "o", asked), !conflict[asked][held]);
			must(lock_put(lt, lock));
		}
	must(lock_close(lt));
}

/* Each goes together with all but itself. */
static void
lock_modes_are_as_many_as_128(void **state)
{
	enum { MODES = 128 };
	static u_int8_t matrix[MODES * MODES];
	DB_ENV env = { .db_errcall = hear, .lk_conflicts = matrix, .lk_modes = MODES };
	DB_LOCKTAB *lt;
	u_int32_t a, b;
	DB_LOCK lock;

	for (int i = 1; i < MODES; i++)
		matrix[i * MODES + i] = 1;
	lt = table_with(*state, &env, 0);
	a = locker_of(lt);
	b = locker_of(lt);
	for (int i = 1; i < MODES; i++) {
		(void)get(lt, a, "o", i);
		answers(DB_LOCK_NOTGRANTED, try_get(lt, b, DB_LOCK_NOWAIT, "o", i, &lock));
	}
	must(lock_put(lt, get(lt, b, "p", MODES - 1)));
	refuses(EINVAL, try_get(lt, b, DB_LOCK_NOWAIT, "o", MODES, &lock));
	assert_int_equal(stat_of(lt).st_nlocks, MODES - 1);
	assert_int_equal(stat_of(lt).st_nmodes, MODES);
	must(locktab_check(lt));
	must(lock_close(lt));
	env.lk_modes = MODES + 1;
	refuses(EINVAL, lock_open(((struct t *)*state)->dir, 0, 0, &env, &lt));
	must(lock_unlink(((struct t *)*state)->dir, 0, &test_env));
}

static void
lock_joiner_with_another_matrix_is_refused(void **state)
{
	const struct t *t = *state;
	static const u_int8_t other[] = { 0, 0, 0, 0, 1, 1, 0, 1, 1 };
	DB_ENV modes = {
		.db_errcall = hear, .lk_conflicts = db_riw_conflicts, .lk_modes = DB_LOCK_RIW_N
	};
	DB_ENV matrix = { .db_errcall = hear, .lk_conflicts = other, .lk_modes = 3 };
	DB_ENV detect = { .db_errcall = hear, .lk_detect = DB_LOCK_OLDEST };
	DB_ENV same = { .db_errcall = hear, .lk_conflicts = db_rw_conflicts, .lk_modes = 3 };
	DB_LOCKTAB *lt = table_of(t), *second = (DB_LOCKTAB *)(uintptr_t)t;

	refuses(EINVAL, lock_open(t->dir, 0, 0, &modes, &second));
	t_check(strstr(heard, "has 3 lock modes, not 6") != NULL);
	refuses(EINVAL, lock_open(t->dir, 0, 0, &matrix, &second));
	t_check(strstr(heard, "mode 1 requested, 1 held is 0 there, not 1") != NULL);
	refuses(EINVAL, lock_open(t->dir, 0, 0, &detect, &second));
	t_check(strstr(heard, "deadlock policy 0, not 2") != NULL);
	assert_ptr_equal(second, t);
	must(lock_open(t->dir, 0, 0, &same, &second));
	assert_int_equal(stat_of(lt).st_clients, 2);
	must(lock_close(second));
	finish(t, lt);
}

static void
lock_open_refuses_what_there_is_not(void **state)
{
	const struct t *t = *state;
	DB_ENV env = { .db_errcall = hear };
	DB_LOCKTAB *lt = NULL;

	refuses(EINVAL, lock_open(t->dir, DB_CREATE | DB_RDONLY, 0, &env, &lt));
	env.lk_detect = DB_LOCK_POLICIES;
	refuses(EINVAL, lock_open(t->dir, DB_CREATE, 0, &env, &lt));
	env.lk_detect = 0;
	env.lk_modes = 6;
	refuses(EINVAL, lock_open(t->dir, DB_CREATE, 0, &env, &lt));
	env.lk_conflicts = db_riw_conflicts;
	env.lk_modes = 1;
	refuses(EINVAL, lock_open(t->dir, DB_CREATE, 0, &env, &lt));
	env.lk_modes = 1000;
	refuses(EINVAL, lock_open(t->dir, DB_CREATE, 0, &env, &lt));
	refuses(ENOENT, lock_open(t->dir, 0, 0, &test_env, &lt));
	assert_null(lt);
	answers(EINVAL, lock_open(t->dir, DB_CREATE, 0, &test_env, NULL));
	must(lock_close(NULL));
}

static void
lock_calls_refuse_what_there_is_not(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt);
	const DBT empty = { .data = (void *)(uintptr_t) "x", .size = 0 };
	DB_LOCK lock = 77;

	refuses(EINVAL, try_get(lt, a, 0x10, "o", DB_LOCK_READ, &lock));
	refuses(EINVAL, try_get(lt, a, 0, "o", DB_LOCK_NG, &lock));
	refuses(EINVAL, try_get(lt, a, 0, "o", 3, &lock));
	refuses(EINVAL, try_get(lt, a, 0, "o", -1, &lock));
	refuses(EINVAL, try_get(lt, a + 1, 0, "o", DB_LOCK_READ, &lock));
	refuses(EINVAL, try_get(lt, 0, 0, "o", DB_LOCK_READ, &lock));
	refuses(EINVAL, lock_get(lt, a, 0, &empty, DB_LOCK_READ, &lock));
	refuses(EINVAL, lock_get(lt, a, 0, NULL, DB_LOCK_READ, &lock));
	refuses(EINVAL, try_get(lt, a, 0, "o", DB_LOCK_READ, NULL));
	refuses(EINVAL, lock_id(lt, NULL));
	refuses(EINVAL, lock_stat(lt, NULL, NULL));
	refuses(EINVAL, lock_detect(lt, 0x8, DB_LOCK_DEFAULT));
	refuses(EINVAL, lock_detect(lt, 0, DB_LOCK_NORUN));
	refuses(EINVAL, lock_detect(lt, 0, DB_LOCK_POLICIES));
	refuses(EINVAL, lock_put(lt, 0));
	refuses(DB_LOCK_NOTHELD, lock_put(lt, 1));
	refuses(DB_LOCK_NOTHELD, lock_put(lt, UINT64_MAX));
	refuses(EINVAL, lock_vec(lt, a, DB_LOCK_UPGRADE, NULL, 0, NULL));
	refuses(EINVAL, lock_id_free(lt, a + 1));
	assert_true(lock == 77);
	assert_int_equal(stat_of(lt).st_nrequests, 0);
	finish(*state, lt);
}

static void
vec_refuses(int error, DB_LOCKTAB *lt, u_int32_t id, DB_LOCKREQ req)
{
	DB_LOCKREQ list[2] = { { .op = DB_LOCK_PUT_ALL }, req }, *failed = NULL;

	refuses(error, lock_vec(lt, id, 0, list, 2, &failed));
	assert_ptr_equal(failed, &list[1]);
}

static void
lock_vec_and_upgrades_refuse_what_there_is_not(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DBT obj = named("o"), empty = { 0 };
	DB_LOCK lock = get(lt, b, "o", DB_LOCK_READ), none = 0;

	vec_refuses(EINVAL, lt, a, (DB_LOCKREQ){ .op = (db_lockop_t)0 });
	vec_refuses(EINVAL, lt, a, (DB_LOCKREQ){ .op = (db_lockop_t)5 });
	vec_refuses(EINVAL, lt, a, (DB_LOCKREQ){ .op = DB_LOCK_PUT });
	vec_refuses(EINVAL, lt, a, (DB_LOCKREQ){ .op = DB_LOCK_PUT_OBJ });
	vec_refuses(EINVAL, lt, a, (DB_LOCKREQ){ .op = DB_LOCK_PUT_OBJ, .obj = &empty });
	vec_refuses(EINVAL, lt, a, (DB_LOCKREQ){ .op = DB_LOCK_GET, .mode = DB_LOCK_READ });
	vec_refuses(EINVAL, lt, a, (DB_LOCKREQ){ .op = DB_LOCK_GET, .obj = &obj });
	vec_refuses(DB_LOCK_NOTHELD, lt, a, (DB_LOCKREQ){ .op = DB_LOCK_PUT, .lock = lock });
	refuses(EINVAL, lock_vec(lt, a, 0, NULL, 1, NULL));
	t_check(strstr(heard, "no list") != NULL);
	refuses(EINVAL, lock_vec(lt, a, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, -1, NULL));
	refuses(EINVAL, lock_vec(lt, b + 1, 0, NULL, 0, NULL));
	refuses(DB_LOCK_NOTHELD, lock_get(lt, a, DB_LOCK_UPGRADE, &obj, DB_LOCK_WRITE, &none));
	refuses(DB_LOCK_NOTHELD, lock_get(lt, a, DB_LOCK_UPGRADE, NULL, DB_LOCK_WRITE, &lock));
	refuses(EINVAL, lock_get(lt, b, DB_LOCK_UPGRADE, NULL, (db_lockmode_t)3, &lock));
	assert_int_equal(none, 0);
	must(lock_put(lt, lock));
	finish(*state, lt);
}

static void
lock_put_of_a_freed_or_foreign_lock_is_refused(void **state)
{
	const struct t *t = *state;
	DB_LOCKTAB *lt = table_of(t), *other = table_of(t);
	u_int32_t a = locker_of(lt), b = locker_of(other);
	DB_LOCK lock = get(lt, a, "o", DB_LOCK_WRITE), again;

	refuses(DB_LOCK_NOTHELD, lock_put(other, lock));
	must(lock_put(lt, lock));
	refuses(DB_LOCK_NOTHELD, lock_put(lt, lock));
	again = get(lt, a, "o", DB_LOCK_WRITE);
	assert_true(again != lock);
	refuses(DB_LOCK_NOTHELD, lock_put(lt, lock));
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	refuses(EINVAL, try_get(other, a, 0, "p", DB_LOCK_READ, &lock));
	refuses(EINVAL, lock_id_free(lt, a));
	must(lock_put(lt, again));
	must(lock_id_free(lt, a));
	refuses(EINVAL, try_get(lt, a, 0, "o", DB_LOCK_READ, &lock));
	(void)b;
	must(lock_close(other));
	finish(t, lt);
}

static void
lock_id_is_unique_also_when_numbers_come_again(void **state)
{
	enum { N = 3000 };
	static u_int32_t ids[N];
	DB_LOCKTAB *lt = table_of(*state);

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++)
			ids[i] = locker_of(lt);
		for (unsigned i = 1; i < N; i++)
			for (unsigned k = 0; k < i; k++)
				t_check(ids[i] != 0 && ids[i] != ids[k]);
		assert_int_equal(stat_of(lt).st_nlockers, N);
		for (unsigned i = 0; i < N; i++)
			must(lock_id_free(lt, ids[i]));
		refuses(EINVAL, lock_id_free(lt, ids[round]));
	}
	assert_int_equal(stat_of(lt).st_nlockers, 0);
	finish(*state, lt);
}

static void
lock_id_takes_back_idle_lockers_when_there_are_too_many(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t busy = locker_of(lt), id;
	DB_LOCK lock = get(lt, busy, "o", DB_LOCK_WRITE);

	for (unsigned i = 1; i < LOCKERS_MAX + 100; i++)
		must(lock_id(lt, &id));
	assert_int_equal(stat_of(lt).st_nlockers, LOCKERS_MAX);
	must(lock_put(lt, lock));
	must(lock_id_free(lt, busy));
	finish(*state, lt);
}

static void
lock_close_releases_what_the_handle_has(void **state)
{
	const struct t *t = *state;
	DB_LOCKTAB *lt = table_of(t), *other = table_of(t);
	u_int32_t a = locker_of(other);

	(void)get(other, a, "o", DB_LOCK_WRITE);
	(void)get(other, a, "o", DB_LOCK_WRITE);
	(void)get(other, locker_of(other), "p", DB_LOCK_READ);
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	must(lock_close(other));
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	assert_true(is_free(lt, "p", DB_LOCK_WRITE));
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	assert_int_equal(stat_of(lt).st_nlockers, 0);
	assert_int_equal(stat_of(lt).st_nrequests, stat_of(lt).st_nreleases + 1);
	finish(t, lt);
}

static void
lock_unlink_is_busy_while_somebody_is_attached(void **state)
{
	const struct t *t = *state;
	DB_LOCKTAB *lt;
	u_int32_t id;

	refuses(ENOENT, lock_unlink(t->dir, 0, &test_env));
	must(lock_unlink(t->dir, 1, &test_env));
	lt = table_of(t);
	refuses(EBUSY, lock_unlink(t->dir, 0, &test_env));
	must(lock_unlink(t->dir, 1, &test_env));
	refuses(ESTALE, lock_id(lt, &id));
	must(lock_close(lt));
	lt = table_of(t);
	assert_int_equal(stat_of(lt).st_clients, 1);
	finish(t, lt);
}

static void
env_remove_removes_the_lock_table_too(void **state)
{
	const struct t *t = *state;
	DB_LOCKTAB *lt = table_of(t);

	refuses(EBUSY, env_remove(t->dir, 0, &test_env));
	must(lock_close(lt));
	must(env_remove(t->dir, 0, &test_env));
	assert_int_equal(access(t_path(t, LOCK_FILE), F_OK), -1);
	answers(ENOENT, env_remove(t->dir, 0, &test_env));
	must(lock_close(table_of(t)));
	must(env_remove(t->dir, 1, &test_env));
	assert_int_equal(access(t_path(t, LOCK_FILE), F_OK), -1);
}

static void
lock_forced_unlink_ends_a_wait(void **state)
{
	const struct t *t = *state;
	DB_LOCKTAB *lt = table_of(t);
	struct waiter w = { 0 };

	(void)get(lt, locker_of(lt), "o", DB_LOCK_WRITE);
	wait_for(&w, lt, locker_of(lt), "o", DB_LOCK_READ);
	must(lock_unlink(t->dir, 1, &test_env));
	answers(ESTALE, waited(&w));
	must(lock_close(lt));
}

static void
lock_handle_is_not_a_childs(void **state)
{
	const struct t *t = *state;
	DB_LOCKTAB *lt = table_of(t);
	u_int32_t a = locker_of(lt);
	DB_LOCK lock = get(lt, a, "o", DB_LOCK_WRITE);
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		DB_LOCK_STAT *st;
		DB_LOCK mine;

		refuses(EINVAL, lock_put(lt, lock));
		refuses(EINVAL, try_get(lt, a, 0, "p", DB_LOCK_READ, &mine));
		refuses(EINVAL, lock_id(lt, &a));
		refuses(EINVAL, lock_stat(lt, &st, NULL));
		refuses(EINVAL, lock_detect(lt, 0, DB_LOCK_DEFAULT));
		answers(EINVAL, lock_close(lt));
		_exit(0);
	}
	t_check(waitpid(pid, &status, 0) == pid && status == 0);
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	must(lock_put(lt, lock));
	finish(t, lt);
}

static void
lock_table_in_private_memory_is_nobody_elses(void **state)
{
	const struct t *t = *state;
	DB_ENV env = { .db_errcall = hear, .region_flags = DB_PRIVATE };
	DB_LOCKTAB *one, *two;

	must(lock_open(t->dir, DB_CREATE, 0, &env, &one));
	must(lock_open(t->dir, DB_CREATE, 0, &env, &two));
	(void)get(one, locker_of(one), "o", DB_LOCK_WRITE);
	(void)get(two, locker_of(two), "o", DB_LOCK_WRITE);
	assert_int_equal(access(t_path(t, LOCK_FILE), F_OK), -1);
	must(lock_close(one));
	must(lock_close(two));
}

static void
lock_table_grows_beyond_what_it_was_made_with(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt);
	u_int64_t before = stat_of(lt).st_regsize;
	char name[40];

	for (unsigned i = 0; i < 20000; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		(void)get(lt, a, name, DB_LOCK_WRITE);
	}
	assert_true(stat_of(lt).st_regsize > before);
	assert_int_equal(stat_of(lt).st_nlocks, 20000);
	assert_int_equal(stat_of(lt).st_numobjs, 20000);
	assert_false(is_free(lt, "0", DB_LOCK_READ));
	must(locktab_check(lt));
	must(lock_vec(lt, a, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	finish(*state, lt);
}

static void
lock_max_is_the_maximum_to_the_last_one(void **state)
{
	DB_ENV env = { .db_errcall = hear, .lk_max = 10 };
	DB_LOCKTAB *lt = table_with(*state, &env, 0);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DB_LOCK locks[10], more;
	char name[40];

	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 10; i++) {
			(void)snprintf(name, sizeof(name), "%u.%u", round, i);
			locks[i] = get(lt, i < 7 ? a : b, name, DB_LOCK_WRITE);
		}
		refuses(ENOMEM, try_get(lt, b, 0, "one more", DB_LOCK_READ, &more));
		t_check(strstr(heard, "all 10 locks") != NULL);
		(void)snprintf(name, sizeof(name), "locker %#x of process %d (7)", a, getpid());
		t_check(strstr(heard, name) != NULL);
		must(locktab_check(lt));
		for (unsigned i = 0; i < 10; i++)
			must(lock_put(lt, locks[i]));
	}
	assert_int_equal(stat_of(lt).st_maxlocks, 10);
	must(lock_close(lt));
	env.lk_max = 12;
	lt = table_with(*state, &env, 0);
	assert_int_equal(stat_of(lt).st_maxlocks, 12);
	finish(*state, lt);
}

static void
lock_names_of_any_length_are_told_apart(void **state)
{
	enum { N = 400 };
	static char bytes[N + 1];
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DBT obj = { .data = bytes };
	DB_LOCK lock;

	for (obj.size = 1; obj.size <= N; obj.size++) {
		must(lock_get(lt, a, DB_LOCK_NOWAIT, &obj, DB_LOCK_WRITE, &lock));
		answers(DB_LOCK_NOTGRANTED,
		    lock_get(lt, b, DB_LOCK_NOWAIT, &obj, DB_LOCK_WRITE, &lock));
		bytes[obj.size - 1] = 1;
		must(lock_get(lt, a, DB_LOCK_NOWAIT, &obj, DB_LOCK_WRITE, &lock));
		bytes[obj.size - 1] = 0;
	}
	assert_int_equal(stat_of(lt).st_numobjs, 2 * N);
	must(locktab_check(lt));
	must(lock_vec(lt, a, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	assert_int_equal(stat_of(lt).st_numobjs, 0);
	obj.size = OBJECT_MAX + 1;
	refuses(EINVAL, lock_get(lt, b, DB_LOCK_NOWAIT, &obj, DB_LOCK_WRITE, &lock));
	finish(*state, lt);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_matrix_is_requested_by_held),
		t_test(lock_rw_matrix_is_the_default),
		t_test(lock_riw_matrix_is_as_the_page_says),
		t_test(lock_modes_are_as_many_as_128),
		t_test(lock_joiner_with_another_matrix_is_refused),
		t_test(lock_open_refuses_what_there_is_not),
		t_test(lock_calls_refuse_what_there_is_not),
		t_test(lock_vec_and_upgrades_refuse_what_there_is_not),
		t_test(lock_put_of_a_freed_or_foreign_lock_is_refused),
		t_test(lock_id_is_unique_also_when_numbers_come_again),
		t_test(lock_id_takes_back_idle_lockers_when_there_are_too_many),
		t_test(lock_close_releases_what_the_handle_has),
		t_test(lock_unlink_is_busy_while_somebody_is_attached),
		t_test(env_remove_removes_the_lock_table_too),
		t_test(lock_forced_unlink_ends_a_wait),
		t_test(lock_handle_is_not_a_childs),
		t_test(lock_table_in_private_memory_is_nobody_elses),
		t_test(lock_table_grows_beyond_what_it_was_made_with),
		t_test(lock_max_is_the_maximum_to_the_last_one),
		t_test(lock_names_of_any_length_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
