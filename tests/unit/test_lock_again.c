/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/lock: locks that were put and stay in the table, idle: taken again by their locker, in
 * nobody's way, counted and shown as what they are; and what PUT_OBJ and PUT_ALL leave: nothing.
 */
#include "../lock_t.h"

#include "lock/look.h"

static int
put_object_named(DB_LOCKTAB *lt, u_int32_t id, const char *name)
{
	DBT obj = named(name);
	DB_LOCKREQ req = { .op = DB_LOCK_PUT_OBJ, .obj = &obj };

	return lock_vec(lt, id, 0, &req, 1, NULL);
}

static int
put_everything(DB_LOCKTAB *lt, u_int32_t id)
{
	DB_LOCKREQ req = { .op = DB_LOCK_PUT_ALL };

	return lock_vec(lt, id, 0, &req, 1, NULL);
}

/* Gets and puts one after the other. */
static void
use_all(DB_LOCKTAB *lt, u_int32_t id, unsigned names)
{
	char name[16];

	for (unsigned i = 0; i < names; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		must(lock_put(lt, get(lt, id, name, DB_LOCK_WRITE)));
	}
}

static unsigned
idle_locks(DB_LOCKTAB *lt)
{
	const struct lock_cell *c;
	unsigned n = 0;

	for (uint32_t i = 1; (c = cell_at(lt, i)) != NULL; i++)
		n += word_kind(c->word) == CELL_IDLE;
	return n;
}

static void
lock_taken_again_has_a_handle_of_its_own(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	DB_LOCK before = 0, lock;

	for (int i = 0; i < 5; i++) {
		lock = get(lt, id, "o", DB_LOCK_WRITE);
		assert_true(lock != before);
		if (before != 0)
			refuses(DB_LOCK_NOTHELD, lock_put(lt, before));
		assert_false(is_free(lt, "o", DB_LOCK_READ));
		must(lock_put(lt, lock));
		refuses(DB_LOCK_NOTHELD, lock_put(lt, lock));
		before = lock;
	}
	finish(*state, lt);
}

static void
lock_taken_again_is_put_by_its_own_handle_only(void **state)
{
	DB_LOCKTAB *lt = table_of(*state), *other = table_of(*state);
	u_int32_t id = locker_of(lt);
	DB_LOCK lock;

	must(lock_put(lt, get(lt, id, "o", DB_LOCK_WRITE)));
	lock = get(lt, id, "o", DB_LOCK_WRITE);

	refuses(DB_LOCK_NOTHELD, lock_put(other, lock));
	assert_false(is_free(other, "o", DB_LOCK_READ));
	must(lock_put(lt, lock));
	refuses(DB_LOCK_NOTHELD, lock_put(lt, lock));
	must(lock_close(other));
	finish(*state, lt);
}

/* A name of that partition whose lock gets that cell; it is put, and idle. */
static void
find_name_in_cell(DB_LOCKTAB *lt, u_int32_t id, uint32_t part, uint32_t cell, char name[16])
{
	DB_LOCK lock = 0;

	for (int i = 0; (uint32_t)lock != cell; i++) {
		t_check(i < 64 * 60);
		(void)snprintf(name, 16, "%d", i);
		if (hash_part(object_hash(name, (uint32_t)strlen(name))) == part)
			lock = get(lt, id, name, DB_LOCK_WRITE);
	}
	must(put_everything(lt, id));
}

/*
 * A thread that has just taken and put a lock must not be given it for another object, whose idle
 * lock was in the same cell before.
 */
static void
lock_in_the_cell_of_one_that_went_is_not_that_one(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	uint32_t part = hash_part(object_hash("o", 1));
	DB_LOCK lock = get(lt, a, "o", DB_LOCK_WRITE);
	char name[16];

	must(lock_put(lt, lock));
	must(lock_put(lt, get(lt, b, "o", DB_LOCK_WRITE)));
	must(lock_id_free(lt, b));
	find_name_in_cell(lt, a, part, (uint32_t)lock, name);
	must(lock_put(lt, get(lt, a, name, DB_LOCK_WRITE)));

	lock = get(lt, a, "o", DB_LOCK_WRITE);
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	assert_true(is_free(lt, name, DB_LOCK_READ));
	must(lock_put(lt, lock));
	assert_true(is_free(lt, "o", DB_LOCK_READ));
	finish(*state, lt);
}

/* After many names that are new only each sixteenth is looked for among those that are kept. */
static void
lock_that_is_kept_is_taken_again_after_many_new_ones(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	const struct lock_cell *c;
	unsigned again = 0;
	DB_LOCK lock;

	use_all(lt, id, 200);
	for (int i = 0; i < 20; i++) {
		lock = get(lt, id, "7", DB_LOCK_WRITE);
		c = cell_at(lt, (uint32_t)lock);
		again += lock_retaken(c, c->word) > 0;
		must(lock_put(lt, lock));
	}
	assert_true(again > 0);
	assert_true(is_free(lt, "7", DB_LOCK_READ));
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	finish(*state, lt);
}

static void
lock_that_was_put_is_not_shown_or_counted_as_held(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	struct lock_seen *list;
	DB_LOCK_STAT st;
	size_t n;

	for (int i = 0; i < 1000; i++) {
		must(lock_put(lt, get(lt, id, "o", DB_LOCK_WRITE)));
		must(lock_put(lt, get(lt, id, "p", DB_LOCK_READ)));
	}
	assert_int_equal(idle_locks(lt), 2);
	st = stat_of(lt);
	assert_int_equal(st.st_nlocks, 0);
	assert_int_equal(st.st_numobjs, 0);
	assert_int_equal(st.st_nrequests, 2000);
	assert_int_equal(st.st_nreleases, 2000);
	must(locktab_look(lt, &list, &n));
	assert_int_equal(n, 0);
	free(list);
	(void)get(lt, id, "o", DB_LOCK_WRITE);
	st = stat_of(lt);
	assert_int_equal(st.st_nlocks, 1);
	assert_int_equal(st.st_numobjs, 1);
	assert_int_equal(st.st_nrequests, 2001);
	assert_int_equal(st.st_nreleases, 2000);
	must(put_everything(lt, id));
	must(lock_id_free(lt, id));
	assert_int_equal(idle_locks(lt), 0);
	st = stat_of(lt);
	assert_int_equal(st.st_nrequests, 2001);
	assert_int_equal(st.st_nreleases, 2001);
	finish(*state, lt);
}

static void
lock_table_shows_longer_names(void **state)
{
	const char *name = "a name of which half is in one cell and half in another, and more";
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	struct lock_seen *list;
	size_t n;

	for (u_int32_t size = 20; size <= strlen(name); size++) {
		DBT obj = { .data = (void *)(uintptr_t)name, .size = size };
		DB_LOCK lock;

		must(lock_get(lt, id, 0, &obj, DB_LOCK_READ, &lock));
		must(locktab_look(lt, &list, &n));
		assert_int_equal(n, 1);
		assert_int_equal(list[0].name_bytes, size);
		assert_memory_equal(
		    list[0].name, name, size < LOOK_NAME_BYTES ? size : LOOK_NAME_BYTES);
		free(list);
		must(lock_put(lt, lock));
	}
	finish(*state, lt);
}

static void
lock_that_was_put_is_in_nobodys_way(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DB_LOCK lock;
	unsigned n;

	for (int i = 0; i < 100; i++) {
		u_int32_t id = i % 3 == 0 ? b : a;

		lock = get(lt, id, "o", i % 2 == 0 ? DB_LOCK_WRITE : DB_LOCK_READ);
		must(locktab_check(lt));
		must(lock_put(lt, lock));
		must(locktab_check(lt));
	}
	n = idle_locks(lt);
	must(lock_put(lt, get(lt, a, "r", DB_LOCK_READ)));
	lock = get(lt, b, "r", DB_LOCK_READ);
	assert_int_equal(idle_locks(lt), n + 1);
	must(lock_put(lt, get(lt, a, "r", DB_LOCK_READ)));
	/* and now b's is in a's way */
	assert_int_equal(try_get(lt, a, DB_LOCK_NOWAIT, "r", DB_LOCK_WRITE, &(DB_LOCK){ 0 }),
	    DB_LOCK_NOTGRANTED);
	must(lock_put(lt, lock));
	must(lock_put(lt, get(lt, a, "r", DB_LOCK_WRITE)));
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	finish(*state, lt);
}

/* How often the locker's lock, IDLE now, was taken again. */
static unsigned
times_taken_again(DB_LOCKTAB *lt, u_int32_t id)
{
	const struct lock_cell *c;

	for (uint32_t i = 1; (c = cell_at(lt, i)) != NULL; i++)
		if (word_kind(c->word) == CELL_IDLE && c->u.lock.locker == id)
			return lock_retaken(c, c->word);
	return 0;
}

static void
lock_that_another_had_since_is_kept_anew(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt);

	for (unsigned i = 0; i < 3; i++) {
		for (unsigned n = 0; n <= 5; n++)
			must(lock_put(lt, get(lt, a, "o", DB_LOCK_WRITE)));
		assert_int_equal(times_taken_again(lt, a), 5);
		must(lock_put(lt, get(lt, b, "o", DB_LOCK_WRITE)));
	}
	finish(*state, lt);
}

static void
lock_that_was_put_does_not_overtake_who_waits(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt), b = locker_of(lt), c = locker_of(lt);
	DB_LOCK lock, second;
	struct waiter w = { 0 };

	must(lock_put(lt, get(lt, a, "o", DB_LOCK_READ)));
	lock = get(lt, b, "o", DB_LOCK_READ);
	wait_for(&w, lt, c, "o", DB_LOCK_WRITE);
	assert_int_equal(
	    try_get(lt, a, DB_LOCK_NOWAIT, "o", DB_LOCK_READ, &second), DB_LOCK_NOTGRANTED);
	/* counted: the queue is not before who has it */
	second = get(lt, b, "o", DB_LOCK_READ);
	must(lock_put(lt, second));
	assert_int_equal(stat_of(lt).st_nwaiting, 1);
	must(lock_put(lt, lock));
	answers(0, waited(&w));
	must(lock_put(lt, w.lock));
	finish(*state, lt);
}

static void
lock_granted_twice_is_kept_after_the_second_put(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	DB_LOCK lock = get(lt, id, "o", DB_LOCK_WRITE);

	assert_true(lock == get(lt, id, "o", DB_LOCK_WRITE));
	must(lock_put(lt, lock));
	assert_false(is_free(lt, "o", DB_LOCK_READ));
	must(lock_put(lt, lock));
	assert_true(is_free(lt, "o", DB_LOCK_WRITE));
	refuses(DB_LOCK_NOTHELD, lock_put(lt, lock));
	finish(*state, lt);
}

/* Those that were put last may stay; lk_max counts what is held. */
static void
lock_max_is_for_those_that_are_held(void **state)
{
	DB_ENV env = { .db_errcall = hear, .lk_max = 100 };
	DB_LOCKTAB *lt = table_with(*state, &env, DB_THREAD);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	char name[16];

	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "a%d", i);
		must(lock_put(lt, get(lt, a, name, DB_LOCK_WRITE)));
	}
	assert_true(idle_locks(lt) > 0);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "b%d", i);
		(void)get(lt, b, name, DB_LOCK_WRITE);
	}
	assert_int_equal(stat_of(lt).st_nlocks, 100);
	assert_int_equal(idle_locks(lt), 0);
	refuses(ENOMEM, try_get(lt, a, 0, "one more", DB_LOCK_WRITE, &(DB_LOCK){ 0 }));
	must(put_everything(lt, b));
	finish(*state, lt);
}

static void
lock_handle_keeps_a_bounded_number(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);

	for (int round = 0; round < 2; round++)
		use_all(lt, id, KEPT_MAX + 5000);
	assert_true(idle_locks(lt) <= KEPT_MAX);
	assert_true(idle_locks(lt) > KEPT_MAX / 2);
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	assert_int_equal(stat_of(lt).st_nrequests, 2 * (KEPT_MAX + 5000));
	must(locktab_check(lt));
	must(lock_id_free(lt, id));
	assert_int_equal(idle_locks(lt), 0);
	finish(*state, lt);
}

/* What others had since does not count as kept for ever. */
static void
lock_handle_keeps_as_many_again_after_others_had_them(void **state)
{
	DB_ENV env = { .db_errcall = hear, .lk_max = 4000 };
	DB_LOCKTAB *lt = table_with(*state, &env, 0), *other = table_with(*state, &env, 0);
	u_int32_t a = locker_of(lt), b = locker_of(other);
	unsigned names = lt->kept_max * 6 / 10;

	for (unsigned round = 0; round < 5; round++) {
		use_all(lt, a, names);
		use_all(other, b, names);
	}
	use_all(lt, a, names);
	use_all(lt, a, names);
	assert_true(idle_locks(lt) > names * 9 / 10);
	must(lock_close(other));
	finish(*state, lt);
}

static void
lock_put_obj_leaves_nothing_of_lk_max(void **state)
{
	DB_ENV env = { .db_errcall = hear, .lk_max = 50 };
	DB_LOCKTAB *lt = table_with(*state, &env, DB_THREAD);
	u_int32_t a = locker_of(lt), b = locker_of(lt);
	DB_LOCK lock = 0;

	for (int i = 0; i < 200; i++) {
		lock = get(lt, a, "o", i % 3 == 0 ? DB_LOCK_READ : DB_LOCK_WRITE);
		if (i % 3 == 0)
			(void)get(lt, b, "o", DB_LOCK_READ);
		must(put_object_named(lt, i % 2 == 0 ? a : b, "o"));
		assert_int_equal(stat_of(lt).st_nlocks, 0);
	}
	refuses(DB_LOCK_NOTHELD, lock_put(lt, lock));
	must(lock_id_free(lt, a));
	must(lock_id_free(lt, b));
	finish(*state, lt);
}

/* More threads than have room in anything that is kept for them. */
static void
lock_put_all_finds_what_many_threads_were_granted(void **state)
{
	enum { THREADS = 200 };
	static struct waiter w[THREADS];
	static char names[THREADS][8];
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t h = locker_of(lt), x = locker_of(lt);

	memset(w, 0, sizeof(w));
	for (int i = 0; i < THREADS; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%d", i);
		(void)get(lt, h, names[i], DB_LOCK_WRITE);
		wait_for(&w[i], lt, x, names[i], DB_LOCK_WRITE);
	}
	must(put_everything(lt, h));
	for (int i = 0; i < THREADS; i++)
		answers(0, waited(&w[i]));
	must(put_everything(lt, x));
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	must(lock_id_free(lt, x));
	finish(*state, lt);
}

/* Each of many that are kept is held once alone, and once together with the first and the last. */
static void
put_all_among_many(struct t *t, int flags)
{
	enum { NAMES = 100 };
	static char names[NAMES][8];
	DB_LOCKTAB *lt = table_with(t, &test_env, flags);
	u_int32_t id = locker_of(lt);

	for (int i = 0; i < NAMES; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%d", i);
		must(lock_put(lt, get(lt, id, names[i], DB_LOCK_WRITE)));
	}
	for (int i = 0; i < NAMES; i++)
		for (int more = 0; more < 2; more++) {
			(void)get(lt, id, names[i], DB_LOCK_WRITE);
			if (more && i > 0)
				(void)get(lt, id, names[0], DB_LOCK_WRITE);
			if (more && i < NAMES - 1)
				(void)get(lt, id, names[NAMES - 1], DB_LOCK_WRITE);
			must(put_everything(lt, id));
			assert_int_equal(stat_of(lt).st_nlocks, 0);
		}
	finish(t, lt);
}

static void
lock_put_all_finds_the_few_that_are_held_of_many(void **state)
{
	put_all_among_many(*state, DB_THREAD);
	put_all_among_many(*state, 0);
}

static void
lock_of_a_locker_that_holds_the_object_by_now_goes_first(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t h = locker_of(lt), x = locker_of(lt), y = locker_of(lt);
	DB_LOCK lock = get(lt, h, "o", DB_LOCK_WRITE);
	struct waiter first = { 0 }, between = { 0 }, second = { 0 };

	wait_for(&first, lt, x, "o", DB_LOCK_READ);
	wait_for(&between, lt, y, "o", DB_LOCK_WRITE);
	wait_for(&second, lt, x, "o", DB_LOCK_READ);
	must(lock_put(lt, lock));
	answers(0, waited(&first));
	answers(0, waited(&second));
	assert_int_equal(stat_of(lt).st_nwaiting, 1);
	must(locktab_check(lt));
	must(lock_put(lt, first.lock));
	must(lock_put(lt, second.lock));
	answers(0, waited(&between));
	must(lock_put(lt, between.lock));
	finish(*state, lt);
}

static void
lock_of_a_locker_that_is_granted_another_mode_goes_first(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t h = locker_of(lt), x = locker_of(lt), y = locker_of(lt);
	DB_LOCK lock = get(lt, h, "o", DB_LOCK_READ), upgraded;
	struct waiter w = { 0 }, v = { 0 };

	wait_for(&w, lt, y, "o", DB_LOCK_WRITE);
	wait_for(&v, lt, x, "o", DB_LOCK_READ);
	upgraded = get(lt, h, "o", DB_LOCK_WRITE);
	must(lock_put(lt, lock));
	must(lock_put(lt, upgraded));
	answers(0, waited(&w));
	must(lock_put(lt, w.lock));
	answers(0, waited(&v));
	must(lock_put(lt, v.lock));
	finish(*state, lt);
}

/* Granted after a wait, and put by another before its owner could look. */
static void
lock_that_another_put_unseen_is_not_of_lk_max_for_ever(void **state)
{
	DB_ENV env = { .db_errcall = hear, .lk_max = 8 };
	DB_LOCKTAB *lt = table_with(*state, &env, DB_THREAD);
	const DBT obj = named("o");
	u_int32_t a = locker_of(lt), b;

	for (int i = 0; i < 50; i++) {
		struct waiter w = { 0 };
		DB_LOCKREQ put[] = {
			{ .op = DB_LOCK_PUT, .lock = get(lt, a, "o", DB_LOCK_WRITE) },
			{ .op = DB_LOCK_PUT_OBJ, .obj = &obj },
		};

		b = locker_of(lt);
		wait_for(&w, lt, b, "o", DB_LOCK_WRITE);
		must(lock_vec(lt, a, 0, put, 2, NULL));
		answers(0, waited(&w));
		must(lock_id_free(lt, b));
		assert_int_equal(stat_of(lt).st_nlocks, 0);
	}
	finish(*state, lt);
}

/* Each grant of another mode starts the queue over, past all that wait on before it. */
static void
lock_modes_changed_behind_many_that_wait_on_are_no_damage(void **state)
{
	enum { EACH = 60 };
	static struct waiter w[2 * EACH];
	DB_ENV env = { .db_errcall = hear, .lk_conflicts = db_riw_conflicts, .lk_modes = 6 };
	DB_LOCKTAB *lt = table_with(*state, &env, DB_THREAD);
	u_int32_t b = locker_of(lt);
	DB_LOCK lock;

	memset(w, 0, sizeof(w));
	for (int i = 0; i < 2 * EACH; i++) {
		w[i].id = locker_of(lt);
		w[i].flags = DB_LOCK_UPGRADE;
		w[i].lock = get(lt, w[i].id, "o", DB_LOCK_IREAD);
	}
	lock = get(lt, b, "o", DB_LOCK_READ);
	for (int i = 0; i < 2 * EACH; i++)
		wait_for(&w[i], lt, w[i].id, "o", i < EACH ? DB_LOCK_WRITE : DB_LOCK_IWRITE);
	must(lock_put(lt, lock));
	for (int i = EACH; i < 2 * EACH; i++)
		answers(0, waited(&w[i]));
	assert_int_equal(stat_of(lt).st_nwaiting, EACH);
	must(put_object_named(lt, b, "o"));
	for (int i = 0; i < EACH; i++)
		answers(DB_LOCK_NOTHELD, waited(&w[i]));
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	finish(*state, lt);
}

/* --- threads of one locker ----------------------------------------------------------------- */

struct churner {
	DB_LOCKTAB *lt;
	u_int32_t id;
	unsigned seed;
	pthread_t thread;
};

static void *
churns(void *arg)
{
	struct churner *c = arg;
	DB_LOCK lock;
	char name[16];

	for (int i = 0; i < 20000; i++) {
		(void)snprintf(name, sizeof(name), "%d", rand_r(&c->seed) % 40);
		must(try_get(c->lt, c->id, 0, name, DB_LOCK_READ, &lock));
		must(lock_put(c->lt, lock));
	}
	return NULL;
}

static void
lock_threads_of_one_locker_take_and_put_the_same(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	struct churner c[4];
	u_int32_t id = locker_of(lt), other = locker_of(lt);
	DB_LOCK_STAT st;
	DB_LOCK lock;
	char name[16];

	for (unsigned i = 0; i < 4; i++) {
		c[i] = (struct churner){ .lt = lt, .id = id, .seed = i };
		t_check(pthread_create(&c[i].thread, NULL, churns, &c[i]) == 0);
	}
	for (int i = 0; i < 2000; i++) {
		(void)snprintf(name, sizeof(name), "%d", i % 40);
		if (try_get(lt, other, DB_LOCK_NOWAIT, name, DB_LOCK_WRITE, &lock) == 0)
			must(lock_put(lt, lock));
	}
	for (unsigned i = 0; i < 4; i++)
		t_check(pthread_join(c[i].thread, NULL) == 0);
	st = stat_of(lt);
	assert_int_equal(st.st_nlocks, 0);
	assert_int_equal(st.st_nrequests - st.st_nrefused, st.st_nreleases);
	assert_true(st.st_nreleases >= 4 * 20000);
	must(lock_id_free(lt, id));
	finish(*state, lt);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_taken_again_has_a_handle_of_its_own),
		t_test(lock_taken_again_is_put_by_its_own_handle_only),
		t_test(lock_in_the_cell_of_one_that_went_is_not_that_one),
		t_test(lock_that_is_kept_is_taken_again_after_many_new_ones),
		t_test(lock_that_was_put_is_not_shown_or_counted_as_held),
		t_test(lock_table_shows_longer_names),
		t_test(lock_that_was_put_is_in_nobodys_way),
		t_test(lock_that_another_had_since_is_kept_anew),
		t_test(lock_that_was_put_does_not_overtake_who_waits),
		t_test(lock_granted_twice_is_kept_after_the_second_put),
		t_test(lock_max_is_for_those_that_are_held),
		t_test(lock_handle_keeps_a_bounded_number),
		t_test(lock_handle_keeps_as_many_again_after_others_had_them),
		t_test(lock_put_obj_leaves_nothing_of_lk_max),
		t_test(lock_put_all_finds_what_many_threads_were_granted),
		t_test(lock_put_all_finds_the_few_that_are_held_of_many),
		t_test(lock_of_a_locker_that_holds_the_object_by_now_goes_first),
		t_test(lock_of_a_locker_that_is_granted_another_mode_goes_first),
		t_test(lock_that_another_put_unseen_is_not_of_lk_max_for_ever),
		t_test(lock_modes_changed_behind_many_that_wait_on_are_no_damage),
		t_test(lock_threads_of_one_locker_take_and_put_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
