/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: memp_unlink and env_remove.  Gently: nothing while somebody is attached, what is
 * dirty is written first, and if that fails nothing is removed.  By force: whatever is there.
 */
#include "pool_t.h"

#define PS 4096u

static bool
exists(const struct t *t)
{
	struct stat st;

	return stat(t_path(t, REGION_NAME), &st) == 0;
}

/* A pool that nobody has open, with one dirty page in file f. */
static void
leave_a_dirty_page(const struct t *t, int byte)
{
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, byte);
	must(memp_fclose(f));
	must(memp_close(mp));
	quiet();
}

static int
attaches(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE);

	t_tell(c, 'a');
	t_await(c, 'g');
	put(f, page, 0);
	must(memp_close(mp));
	return 0;
}

/* Either of the two calls, for tests that say the same of both. */
typedef int remover(const char *dir, int force, DB_ENV *dbenv);
static remover *const removers[] = { memp_unlink, env_remove };
#define FOR_BOTH(r) for (unsigned r##_i = 0; r##_i < 2; r##_i++)

static void
mpool_unlink_of_no_pool_is_enoent_and_0_by_force(void **state)
{
	DB_ENV *env = env_of(*state, 0);

	FOR_BOTH(r) {
		refuses(removers[r_i](NULL, 0, env), ENOENT);
		must(removers[r_i](NULL, 1, env));
		refuses(removers[r_i]("nowhere", 0, env), ENOENT);
		must(removers[r_i]("nowhere", 1, env));
	}
}

static void
mpool_unlink_while_a_process_is_attached_is_ebusy(void **state)
{
	struct t *t = *state;
	struct t_child c;

	FOR_BOTH(r) {
		t_fork(&c, attaches, t);
		t_await(&c, 'a');
		(void)env_of(t, 0);
		refuses(removers[r_i](NULL, 0, &test_env), EBUSY);
		assert_true(sentences > 0);
		assert_true(exists(t));
		t_tell(&c, 'g');
		assert_int_equal(t_join(&c), 0);
		must(removers[r_i](NULL, 0, &test_env));
		assert_false(exists(t));
	}
}

static void
mpool_unlink_while_this_process_is_attached_is_ebusy(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);

	refuses(memp_unlink(NULL, 0, &test_env), EBUSY);
	assert_true(exists(*state));
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));
}

static void
mpool_unlink_does_not_count_the_dead(void **state)
{
	struct t *t = *state;
	struct t_child c;

	FOR_BOTH(r) {
		t_fork(&c, attaches, t);
		t_await(&c, 'a');
		t_kill(&c);
		must(removers[r_i](NULL, 0, env_of(t, 0)));
		assert_false(exists(t));
	}
}

static void
mpool_unlink_writes_dirty_pages_first(void **state)
{
	struct t *t = *state;

	FOR_BOTH(r) {
		leave_a_dirty_page(t, 'a' + (int)r_i);
		must(removers[r_i](NULL, 0, &test_env));
		assert_false(exists(t));
		assert_true(on_disk(t_path(t, "f"), 0, PS, 'a' + (int)r_i));
	}
}

static void
mpool_unlink_that_cannot_write_is_eio_names_the_file_and_removes_nothing(void **state)
{
	struct t *t = *state;

	leave_a_dirty_page(t, 'x');
	FOR_BOTH(r) {
		quiet();
		t_fault_always(OS_PWRITE, ENOSPC);
		refuses(removers[r_i](NULL, 0, &test_env), EIO);
		assert_true(t_fault_off());
		assert_non_null(strstr(heard, t_path(t, "f")));
		assert_true(exists(t));
	}
	must(memp_unlink(NULL, 0, &test_env));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'x'));
}

static void
mpool_unlink_of_pages_whose_file_is_elsewhere_is_eio_and_removes_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;

	(void)may_open_by_handle(false);
	leave_a_dirty_page(t, 'x');
	assert_int_equal(rename(t_path(t, "f"), t_path(t, "away")), 0);
	t_write_file(t_path(t, "f"), "impostor", 8);
	FOR_BOTH(r) {
		quiet();
		refuses(removers[r_i](NULL, 0, &test_env), EIO);
		assert_non_null(strstr(heard, t_path(t, "f")));
		assert_true(exists(t));
	}
	assert_int_equal(disk_length(t_path(t, "f")), 8);
	mp = pool_of(t, 0);
	f = file_with(mp, "away", 0, PS);
	holds(f, 0, 'x');
	must(memp_fclose(f));
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));
	assert_true(on_disk(t_path(t, "away"), 0, PS, 'x'));
	(void)may_open_by_handle(true);
}

static void
mpool_unlink_by_force_reports_how_many_dirty_pages_are_lost(void **state)
{
	struct t *t = *state;

	FOR_BOTH(r) {
		DB_MPOOL *mp = pool_of(t, 64 * KIB);
		DB_MPOOLFILE *f = file_of(mp, "lost", PS);

		for (db_pgno_t n = 0; n < 7; n++)
			fill(f, n, 'l');
		must(memp_close(mp));
		quiet();
		must(removers[r_i](NULL, 1, &test_env));
		assert_non_null(strstr(heard, "7 dirty pages"));
		assert_false(exists(t));
		assert_int_equal(disk_length(t_path(t, "lost")), 0);
	}
}

static void
mpool_unlink_by_force_removes_what_is_no_region(void **state)
{
	struct t *t = *state;

	FOR_BOTH(r) {
		t_write_file(t_path(t, REGION_NAME), "", 0);
		must(removers[r_i](NULL, 1, env_of(t, 0)));
		assert_false(exists(t));
		t_write_file(t_path(t, REGION_NAME), "no region at all", 16);
		assert_int_not_equal(removers[r_i](NULL, 0, env_of(t, 0)), 0);
		assert_true(exists(t));
		must(removers[r_i](NULL, 1, env_of(t, 0)));
		assert_false(exists(t));
	}
}

static void
mpool_unlink_survives_failure_of_any_call_and_loses_nothing(void **state)
{
	struct t *t = *state;
	unsigned fds = open_fds();
	int struck = 1, ret;

	for (unsigned n = 1; struck; n++) {
		leave_a_dirty_page(t, (int)n);
		t_fault(T_FAULT_ANY, n, EIO);
		ret = memp_unlink(NULL, 0, &test_env);
		struck = t_fault_off();
		assert_int_equal(open_fds(), fds);
		assert_true(exists(t) || ret == 0);
		if (exists(t))
			must(memp_unlink(NULL, 0, &test_env));
		assert_true(on_disk(t_path(t, "f"), 0, PS, (int)n));
		assert_true(n < 500);
	}
}

static void
env_remove_leaves_what_is_no_region_unless_forced(void **state)
{
	struct t *t = *state;
	struct stat st;

	t_write_file(t_path(t, "__db_other.share"), "what is this", 12);
	t_write_file(t_path(t, "__db_other.shared"), "not a region's name", 19);
	refuses(env_remove(NULL, 0, env_of(t, 0)), DB_RUNRECOVERY);
	assert_non_null(strstr(heard, "__db_other.share"));
	assert_int_equal(stat(t_path(t, "__db_other.share"), &st), 0);
	must(env_remove(NULL, 1, env_of(t, 0)));
	assert_int_equal(stat(t_path(t, "__db_other.share"), &st), -1);
	assert_int_equal(stat(t_path(t, "__db_other.shared"), &st), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_unlink_of_no_pool_is_enoent_and_0_by_force),
		t_test(mpool_unlink_while_a_process_is_attached_is_ebusy),
		t_test(mpool_unlink_while_this_process_is_attached_is_ebusy),
		t_test(mpool_unlink_does_not_count_the_dead),
		t_test(mpool_unlink_writes_dirty_pages_first),
		t_test(mpool_unlink_that_cannot_write_is_eio_names_the_file_and_removes_nothing),
		t_test(
		    mpool_unlink_of_pages_whose_file_is_elsewhere_is_eio_and_removes_nothing),
		t_test(mpool_unlink_by_force_reports_how_many_dirty_pages_are_lost),
		t_test(mpool_unlink_by_force_removes_what_is_no_region),
		t_test(mpool_unlink_survives_failure_of_any_call_and_loses_nothing),
		t_test(env_remove_leaves_what_is_no_region_unless_forced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
