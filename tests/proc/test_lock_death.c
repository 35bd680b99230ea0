/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/lock: several processes: rings and clumps of them, and what a killed one leaves.
 */
#include "../lock_t.h"

#include <signal.h>
#include <unistd.h>

#define MOST 10

/* What one process of a ring or clump does. */
struct member {
	struct t *t;
	unsigned i, n;
	bool clump; /* all of one object: hold READ, want WRITE; else each the next one's */
	u_int32_t detect;
};

static int
takes_part(struct t_child *c, void *arg)
{
	struct member *m = arg;
	DB_ENV env = { .db_errcall = hear, .lk_detect = m->detect };
	DB_LOCKTAB *lt = table_with(m->t, &env, 0);
	u_int32_t id = locker_of(lt);
	char mine[16], next[16];
	DB_LOCK lock = 0, second = 0;
	int ret;

	(void)snprintf(mine, sizeof(mine), "%u", m->clump ? 0 : m->i);
	(void)snprintf(next, sizeof(next), "%u", m->clump ? 0 : (m->i + 1) % m->n);
	must(try_get(lt, id, 0, mine, m->clump ? DB_LOCK_READ : DB_LOCK_WRITE, &lock));
	t_tell(c, 'h');
	t_await(c, 'g');
	second = lock;
	ret = try_get(lt, id, m->clump ? DB_LOCK_UPGRADE : 0, next, DB_LOCK_WRITE, &second);
	t_check(ret == 0 || ret == DB_LOCK_DEADLOCK);
	must(lock_vec(lt, id, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	must(lock_close(lt));
	return ret == 0 ? 0 : 1;
}

/* Returns the number of victims. */
static unsigned
party(struct t *t, unsigned n, bool clump, u_int32_t detect)
{
	struct member m = { .t = t, .n = n, .clump = clump, .detect = detect };
	struct t_child c[MOST];
	unsigned victims = 0;

	for (m.i = 0; m.i < n; m.i++)
		t_fork(&c[m.i], takes_part, &m);
	for (unsigned i = 0; i < n; i++)
		t_await(&c[i], 'h');
	for (unsigned i = 0; i < n; i++)
		t_tell(&c[i], 'g');
	for (unsigned i = 0; i < n; i++) {
		int status = t_join(&c[i]);

		t_check(status == 0 || status == 1);
		victims += status == 1;
	}
	return victims;
}

static void
lock_ring_of_processes_has_one_victim(void **state)
{
	DB_ENV env = { .db_errcall = hear };

	for (unsigned n = 2; n <= MOST; n++)
		for (env.lk_detect = DB_LOCK_DEFAULT; env.lk_detect <= DB_LOCK_YOUNGEST;
		     env.lk_detect++) {
			DB_LOCKTAB *lt = table_with(*state, &env, 0);

			assert_int_equal(party(*state, n, false, env.lk_detect), 1);
			assert_int_equal(stat_of(lt).st_ndeadlocks, 1);
			finish(*state, lt);
		}
}

static void
lock_clump_of_upgraders_ends_with_one_winner_each_time(void **state)
{
	DB_ENV env = { .db_errcall = hear, .lk_detect = DB_LOCK_RANDOM };

	for (unsigned n = 2; n <= MOST; n++) {
		DB_LOCKTAB *lt = table_with(*state, &env, 0);
		unsigned victims = party(*state, n, true, env.lk_detect);

		assert_int_equal(victims, n - 1);
		assert_int_equal(stat_of(lt).st_ndeadlocks, victims);
		finish(*state, lt);
	}
}

static int
holds_and_waits(struct t_child *c, void *arg)
{
	DB_LOCKTAB *lt = table_of(arg);
	u_int32_t id = locker_of(lt);
	DB_LOCK lock;

	(void)get(lt, id, "held", DB_LOCK_WRITE);
	t_tell(c, 'h');
	t_await(c, 'w');
	(void)try_get(lt, id, 0, "wanted", DB_LOCK_WRITE, &lock);
	t_check(!"nobody gives it that");
	return 0;
}

static void
lock_of_a_killed_process_goes_to_who_waits(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	struct waiter w = { 0 };
	struct t_child c;

	t_fork(&c, holds_and_waits, *state);
	t_await(&c, 'h');
	wait_for(&w, lt, locker_of(lt), "held", DB_LOCK_WRITE);
	t_kill(&c);
	answers(0, waited(&w));
	assert_int_equal(stat_of(lt).st_nreaped, 1);
	assert_int_equal(stat_of(lt).st_nlocks, 1);
	finish(*state, lt);
}

static void
lock_of_a_killed_process_is_free_for_nowait(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	struct t_child c;

	t_fork(&c, holds_and_waits, *state);
	t_await(&c, 'h');
	t_kill(&c);
	(void)get(lt, locker_of(lt), "held", DB_LOCK_WRITE);
	finish(*state, lt);
}

static void
lock_request_of_a_killed_process_holds_nobody_up(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	DB_LOCK lock = get(lt, locker_of(lt), "wanted", DB_LOCK_READ);
	struct t_child c;

	t_fork(&c, holds_and_waits, *state);
	t_await(&c, 'h');
	t_tell(&c, 'w');
	await_waiting(lt, 1);
	assert_false(is_free(lt, "wanted", DB_LOCK_READ));
	t_kill(&c);
	assert_true(is_free(lt, "wanted", DB_LOCK_READ));
	must(lock_put(lt, lock));
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	finish(*state, lt);
}

static void
lock_circle_with_a_dead_process_has_no_victim(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t a = locker_of(lt);
	struct waiter w = { 0 };
	struct t_child c;

	(void)get(lt, a, "wanted", DB_LOCK_WRITE);
	t_fork(&c, holds_and_waits, *state);
	t_await(&c, 'h');
	t_tell(&c, 'w');
	await_waiting(lt, 1);
	t_kill(&c);
	wait_for(&w, lt, a, "held", DB_LOCK_WRITE);
	must(detect_run(lt, DB_LOCK_OLDEST, 0));
	answers(0, waited(&w));
	assert_int_equal(stat_of(lt).st_ndeadlocks, 0);
	finish(*state, lt);
}

static int
puts_and_stays(struct t_child *c, void *arg)
{
	DB_LOCKTAB *lt = table_of(arg);
	u_int32_t id = locker_of(lt);

	must(lock_put(lt, get(lt, id, "put", DB_LOCK_WRITE)));
	must(lock_put(lt, get(lt, id, "put and got", DB_LOCK_WRITE)));
	(void)get(lt, id, "put and got", DB_LOCK_WRITE);
	t_tell(c, 'h');
	t_await(c, 'n');
	return 0;
}

static void
lock_that_a_killed_process_had_put_goes_with_it(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	struct t_child c;

	t_fork(&c, puts_and_stays, *state);
	t_await(&c, 'h');
	assert_int_equal(stat_of(lt).st_nlocks, 1);
	assert_true(is_free(lt, "put", DB_LOCK_WRITE));
	assert_false(is_free(lt, "put and got", DB_LOCK_WRITE));
	t_kill(&c);
	assert_true(is_free(lt, "put and got", DB_LOCK_WRITE));
	assert_int_equal(stat_of(lt).st_nlocks, 0);
	must(locktab_check(lt));
	finish(*state, lt);
}

/* As a detector does it. */
static int
dies_in_all_partitions(struct t_child *c, void *arg)
{
	DB_LOCKTAB *lt = table_of(arg);

	for (uint32_t i = 0; i < LOCK_PARTS; i++)
		must(part_lock(lt, i));
	t_tell(c, 'h');
	t_await(c, 'n');
	return 0;
}

static void
lock_table_left_locked_all_over_is_repaired_at_once(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	u_int32_t id = locker_of(lt);
	char name[16];
	struct t_child c;

	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		must(lock_put(lt, get(lt, id, name, DB_LOCK_WRITE)));
		if (i % 2 == 0)
			(void)get(lt, id, name, DB_LOCK_WRITE);
	}
	t_fork(&c, dies_in_all_partitions, *state);
	t_await(&c, 'h');
	/* these need no partition */
	(void)get(lt, id, "1", DB_LOCK_WRITE);
	t_kill(&c);
	(void)get(lt, id, "new", DB_LOCK_WRITE);
	for (uint32_t i = 0; i < LOCK_PARTS; i++)
		assert_int_equal(load_seq(&lt->parts[i].lock.owner), 0);
	must(locktab_check(lt));
	assert_int_equal(stat_of(lt).st_nlocks, 502);
	finish(*state, lt);
}

static int
dies_in_a_partition(struct t_child *c, void *arg)
{
	DB_LOCKTAB *lt = table_of(arg);
	u_int32_t id = locker_of(lt);
	struct lock_part *p;

	(void)get(lt, id, "held", DB_LOCK_WRITE);
	(void)get(
	    lt, id, "a name that does not fit into the cell of an object alone", DB_LOCK_WRITE);
	for (uint32_t i = 0; i <= RESERVE; i++) {
		must(part_lock(lt, i));
		/* an index that says nothing any more */
		p = &lt->parts[i];
		p->free = p->waiting = 12345;
		p->nfree = p->nlocks = p->nobjects = p->nwaiting = 777;
	}
	memset(lt->buckets, 0xff, lt->nbuckets * sizeof(lt->buckets[0]));
	t_tell(c, 'h');
	t_await(c, 'n');
	return 0;
}

static void
lock_index_that_a_dead_process_left_is_built_anew(void **state)
{
	DB_LOCKTAB *lt = table_of(*state);
	struct waiter w[3] = { 0 };
	struct t_child c;

	(void)get(lt, locker_of(lt), "mine", DB_LOCK_READ);
	for (int i = 0; i < 3; i++)
		wait_for(&w[i], lt, locker_of(lt), "mine", DB_LOCK_WRITE);
	t_fork(&c, dies_in_a_partition, *state);
	t_await(&c, 'h');
	t_kill(&c);
	must(locktab_check(lt));
	reap_everybody(lt);
	must(locktab_check(lt));
	assert_int_equal(stat_of(lt).st_nlocks, 4);
	assert_int_equal(stat_of(lt).st_nwaiting, 3);
	(void)get(lt, locker_of(lt), "held", DB_LOCK_WRITE);
	must(lock_vec(lt, w[0].id, 0,
	    &(DB_LOCKREQ){ .op = DB_LOCK_PUT_OBJ,
		.obj = &(DBT){ .data = (void *)(uintptr_t) "mine", .size = 4 } },
	    1, NULL));
	/* in the order in which they came */
	for (int i = 0; i < 3; i++) {
		answers(0, waited(&w[i]));
		assert_int_equal(stat_of(lt).st_nwaiting, 2 - i);
		must(lock_put(lt, w[i].lock));
	}
	finish(*state, lt);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_ring_of_processes_has_one_victim),
		t_test(lock_clump_of_upgraders_ends_with_one_winner_each_time),
		t_test(lock_of_a_killed_process_goes_to_who_waits),
		t_test(lock_of_a_killed_process_is_free_for_nowait),
		t_test(lock_request_of_a_killed_process_holds_nobody_up),
		t_test(lock_circle_with_a_dead_process_has_no_victim),
		t_test(lock_that_a_killed_process_had_put_goes_with_it),
		t_test(lock_table_left_locked_all_over_is_repaired_at_once),
		t_test(lock_index_that_a_dead_process_left_is_built_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
