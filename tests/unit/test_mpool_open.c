/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: memp_open and memp_close.  Which directory, which size, which mode; what a full disk
 * or a failing call leaves behind (nothing); that one home has one pool; what the calls say when
 * the pool was removed by force or found damaged.
 */
#include "pool_t.h"

#define PS 4096u

static int
open_error(const char *dir, int flags, DB_ENV *env)
{
	DB_MPOOL *untouched = (DB_MPOOL *)&test_env, *mp = untouched;
	int ret = memp_open(dir, flags, 0, env, &mp);

	if (ret == 0)
		must(memp_close(mp));
	else
		assert_ptr_equal(mp, untouched);
	return ret;
}

static bool
exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/* --- flags and sizes ------------------------------------------------------------------------- */

static void
mpool_open_with_an_unknown_flag_is_einval(void **state)
{
	DB_ENV *env = env_of(*state, 0);

	for (int bit = 0; bit < 31; bit++) {
		int flag = 1 << bit;

		if (flag & (DB_CREATE | DB_MPOOL_PRIVATE | DB_NOMMAP | DB_THREAD))
			continue;
		quiet();
		refuses(open_error(NULL, DB_CREATE | flag, env), EINVAL);
		assert_int_equal(sentences, 1);
	}
	assert_false(exists(t_path(*state, REGION_NAME)));
	refuses(memp_open(NULL, DB_CREATE, 0, env, NULL), EINVAL);
	must(open_error(NULL, DB_CREATE | DB_NOMMAP | DB_THREAD, env));
}

static void
mpool_open_sizes_below_20_kib_or_beyond_the_machine_are_einval(void **state)
{
	static const size_t wrong[] = { 1, 512, 20 * KIB - 1, SIZE_MAX, SIZE_MAX / 2, 1ull << 50 };
	DB_ENV *env = env_of(*state, 0);

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		env->mp_size = wrong[i];
		quiet();
		refuses(open_error(NULL, DB_CREATE, env), EINVAL);
		assert_int_equal(sentences, 1);
		refuses(open_error(NULL, DB_MPOOL_PRIVATE, env), EINVAL);
	}
	assert_false(exists(t_path(*state, REGION_NAME)));
}

static void
mpool_open_of_20_kib_holds_no_more_than_a_quarter_beyond(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", 512);
	DB_MPOOL_STAT s;

	for (db_pgno_t n = 0; n < 200; n++)
		fill(f, n, 1 + (int)n);
	s = stat_of(mp);
	assert_in_range(s.st_cachesize, 20 * KIB, 25 * KIB);
	assert_in_range((s.st_page_clean + s.st_page_dirty) * 512, 1, 25 * KIB);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_open_without_a_size_is_128_kib(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 0);

	assert_int_equal(stat_of(mp).st_cachesize, 128 * KIB);
	finish(mp);
}

static void
mpool_open_joins_what_is_there_whatever_size_is_asked(void **state)
{
	DB_MPOOL *first = pool_of(*state, 256 * KIB), *mp;
	static const size_t asked[] = { 0, 20 * KIB, 256 * KIB };

	for (unsigned i = 0; i < 3; i++) {
		mp = pool_of(*state, asked[i]);
		assert_int_equal(stat_of(mp).st_cachesize, 256 * KIB);
		assert_int_equal(stat_of(mp).st_clients, 2);
		must(memp_close(mp));
	}
	finish(first);
}

/* --- which directory ------------------------------------------------------------------------- */

static void
mpool_open_without_create_of_no_pool_is_enoent(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 0);

	refuses(open_error(NULL, 0, env), ENOENT);
	assert_int_equal(sentences, 1);
	assert_false(exists(t_path(t, REGION_NAME)));
	refuses(open_error("nowhere", DB_CREATE, env), ENOENT);
	must(open_error(NULL, DB_CREATE, env));
	must(open_error(NULL, 0, env));
}

static void
mpool_open_dir_is_relative_to_db_home(void **state)
{
	struct t *t = *state;

	assert_int_equal(mkdir(t_path(t, "sub"), 0700), 0);
	must(open_error("sub", DB_CREATE, env_of(t, 0)));
	assert_true(exists(t_path(t, "sub/" REGION_NAME)));
	assert_false(exists(t_path(t, REGION_NAME)));
}

static void
mpool_open_mode_is_less_the_umask_and_0_means_0600(void **state)
{
	static const struct {
		int mode, umask, wanted;
	} modes[] = { { 0, 0, 0600 }, { 0, 077, 0600 }, { 0640, 0, 0640 }, { 0640, 077, 0600 } };
	struct t *t = *state;
	DB_MPOOL *mp;
	struct stat st;

	for (unsigned i = 0; i < 4; i++) {
		mode_t old = umask((mode_t)modes[i].umask);

		must(memp_open(NULL, DB_CREATE, modes[i].mode, env_of(t, 0), &mp));
		(void)umask(old);
		assert_int_equal(stat(t_path(t, REGION_NAME), &st), 0);
		assert_int_equal(st.st_mode & 07777, modes[i].wanted);
		must(memp_close(mp));
		must(memp_unlink(NULL, 0, env_of(t, 0)));
	}
}

static void
mpool_open_without_environment_and_dir_is_private(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;

	must(memp_open(NULL, 0, 0, NULL, &mp));
	f = file_of(mp, t_path(t, "f"), PS);
	for (db_pgno_t n = 0; n < 100; n++)
		fill(f, n, 1 + (int)n);
	holds(f, 7, 8);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 99 * PS, PS, 100));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_private_pool_leaves_no_file_and_its_dirty_pages_are_gone(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with(env_of(t, 64 * KIB), DB_MPOOL_PRIVATE);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	assert_false(exists(t_path(t, REGION_NAME)));
	fill(f, 0, 'x');
	must(memp_fclose(f));
	finish(mp);
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	test_env.region_flags = DB_PRIVATE;
	mp = pool_with(&test_env, 0);
	f = file_of(mp, "f", PS);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
	assert_false(exists(t_path(t, REGION_NAME)));
}

static void
mpool_open_without_dir_and_home_is_in_tmpdir_and_removed_by_close(void **state)
{
	struct t *t = *state;
	char *before = getenv("TMPDIR"), *kept = before != NULL ? strdup(before) : NULL;
	DB_ENV *env = env_of(t, 0);
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;

	env->db_home = NULL;
	assert_int_equal(setenv("TMPDIR", t->dir, 1), 0);
	must(memp_open(NULL, DB_CREATE, 0, env, &mp));
	assert_true(exists(t_path(t, REGION_NAME)));
	f = file_of(mp, t_path(t, "f"), PS);
	fill(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
	assert_false(exists(t_path(t, REGION_NAME)));
	assert_int_equal(setenv("TMPDIR", t_path(t, "nowhere"), 1), 0);
	refuses(open_error(NULL, DB_CREATE, env), ENOENT);
	if (kept != NULL)
		(void)setenv("TMPDIR", kept, 1);
	else
		(void)unsetenv("TMPDIR");
	free(kept);
}

/* --- failures -------------------------------------------------------------------------------- */

static void
mpool_open_on_a_full_disk_is_enospc_and_leaves_nothing(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 1024 * KIB);
	unsigned fds = open_fds();

	t_fault(OS_ALLOCATE, 1, ENOSPC);
	refuses(open_error(NULL, DB_CREATE, env), ENOSPC);
	assert_true(t_fault_off());
	assert_true(sentences > 0);
	assert_false(exists(t_path(t, REGION_NAME)));
	assert_int_equal(open_fds(), fds);
	must(open_error(NULL, DB_CREATE, env));
}

static void
mpool_open_survives_failure_of_any_call(void **state)
{
	struct t *t = *state;
	unsigned fds = open_fds();
	int struck = 1;

	for (unsigned n = 1; struck; n++) {
		DB_MPOOL *mp = NULL;
		DB_ENV *env = env_of(t, 64 * KIB);
		int ret;

		t_fault(T_FAULT_ANY, n, EIO);
		ret = memp_open(NULL, DB_CREATE, 0, env, &mp);
		struck = t_fault_off();
		assert_true(ret != 0 || mp != NULL);
		if (ret == 0)
			finish(mp);
		assert_int_equal(open_fds(), fds);
		must(open_error(NULL, DB_CREATE, env));
		must(memp_unlink(NULL, 1, env));
		assert_true(n < 500);
	}
}

static void
mpool_close_survives_failure_of_any_call_and_keeps_what_is_dirty(void **state)
{
	struct t *t = *state;
	unsigned fds = open_fds();
	int struck = 1;

	for (unsigned n = 1; struck; n++) {
		DB_MPOOL *mp = pool_of(t, 64 * KIB);
		DB_MPOOLFILE *f = file_of(mp, "f", PS);

		fill(f, 0, (int)n);
		t_fault(T_FAULT_ANY, n, EIO);
		(void)memp_close(mp);
		struck = t_fault_off();
		assert_int_equal(open_fds(), fds);
		mp = pool_of(t, 64 * KIB);
		f = file_of(mp, "f", PS);
		holds(f, 0, (int)n);
		must(memp_fclose(f));
		finish(mp);
		assert_true(n < 500);
	}
}

/* --- one home, one pool ---------------------------------------------------------------------- */

static void
mpool_private_pool_over_the_home_of_a_shared_one_is_ebusy(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	unsigned fds = open_fds();

	quiet();
	refuses(open_error(NULL, DB_MPOOL_PRIVATE, &test_env), EBUSY);
	assert_int_equal(sentences, 1);
	assert_int_equal(open_fds(), fds);
	must(open_error(NULL, 0, &test_env));
	finish(mp);
	must(open_error(NULL, DB_MPOOL_PRIVATE, &test_env));
}

static void
mpool_shared_pool_over_the_home_of_a_private_one_is_ebusy(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with(env_of(t, 64 * KIB), DB_MPOOL_PRIVATE);

	quiet();
	refuses(open_error(NULL, DB_CREATE, &test_env), EBUSY);
	assert_true(sentences > 0);
	assert_false(exists(t_path(t, REGION_NAME)));
	refuses(open_error(NULL, DB_MPOOL_PRIVATE, &test_env), EBUSY);
	finish(mp);
	must(open_error(NULL, DB_CREATE, &test_env));
}

/* --- what the calls say afterwards ----------------------------------------------------------- */

/* What every call but the closes says of a pool; the page is pinned. */
static void
all_say(DB_MPOOL *mp, DB_MPOOLFILE *f, uint8_t *page, int error)
{
	DB_MPOOLFILE *untouched = (DB_MPOOLFILE *)&test_env, *g = untouched;
	DB_LSN *no_lsn = NULL;
	off_t bytes = 77;
	int wrote = 77;

	for (unsigned long flags = 0; flags <= DB_MPOOL_NEW; flags = flags ? flags * 2 : 1) {
		db_pgno_t n = 0;
		void *addr = page + 1;

		refuses(memp_fget(f, &n, flags, &addr), error);
		assert_ptr_equal(addr, page + 1);
		assert_int_equal(n, 0);
	}
	refuses(memp_fset(f, page, DB_MPOOL_DIRTY), error);
	refuses(memp_fput(f, page, 0), error);
	refuses(memp_fsync(f), error);
	refuses(memp_sync(mp, no_lsn), error);
	refuses(memp_trickle(mp, 50, &wrote), error);
	refuses(memp_fsize(f, &bytes), error);
	refuses(memp_ftruncate(f, PS), error);
	refuses(memp_fprefetch(f, 0, 1), error);
	refuses(memp_reap(mp), error);
	refuses(memp_register(mp, 1, NULL, NULL), error);
	refuses(memp_fopen(mp, "g", 0, DB_CREATE, 0, PS, -1, NULL, NULL, &g), error);
	refuses(mpool_check(mp, false), error);
	assert_int_equal(bytes, 77);
	assert_int_equal(wrote, 77);
	assert_ptr_equal(g, untouched);
}

static void
mpool_removed_by_force_is_estale_from_the_next_call(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB), *fresh;
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	DB_MPOOL_STAT *s = NULL;
	DB_MPOOL_FSTAT **list = NULL;
	uint8_t *page;

	fill(f, 0, 'a');
	must(memp_fsync(f));
	page = get(f, 0, 0);
	quiet();
	must(memp_unlink(NULL, 1, &test_env));
	assert_int_equal(sentences, 0); /* nothing was dirty */
	all_say(mp, f, page, ESTALE);
	fresh = pool_of(t, 64 * KIB);
	refuses(memp_fput(f, page, 0), ESTALE); /* it was released above */
	refuses(memp_stat(mp, &s, &list, NULL), ESTALE);
	assert_null(s);
	assert_null(list);
	(void)memp_fclose(f);
	must(memp_close(mp));
	assert_true(exists(t_path(t, REGION_NAME)));
	f = file_of(fresh, "f", PS);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(fresh);
}

static void
mpool_panicked_is_db_runrecovery_and_stat_and_close_still_work(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	unsigned fds = open_fds();
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE);
	DB_MPOOL_STAT *s = NULL;
	DB_MPOOL_FSTAT **list = NULL;

	quiet();
	refuses(region_panic(mpool_region(mp), "a test of %s", "panic"), DB_RUNRECOVERY);
	assert_non_null(strstr(heard, "a test of panic"));
	all_say(mp, f, page, DB_RUNRECOVERY);
	must(memp_stat(mp, &s, &list, NULL));
	assert_int_equal(s->st_pins, 0);
	assert_int_equal(s->st_page_create, 1);
	free(s);
	free(list);
	quiet();
	refuses(open_error(NULL, DB_CREATE, &test_env), DB_RUNRECOVERY);
	assert_true(sentences > 0);
	refuses(memp_unlink(NULL, 0, &test_env), DB_RUNRECOVERY);
	(void)memp_fclose(f);
	must(memp_close(mp));
	assert_true(open_fds() < fds);
	refuses(open_error(NULL, DB_CREATE, &test_env), DB_RUNRECOVERY);
	must(memp_unlink(NULL, 1, &test_env));
	must(open_error(NULL, DB_CREATE, &test_env));
}

static void
mpool_panicked_private_pool_can_be_closed(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 64 * KIB), DB_MPOOL_PRIVATE);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE);

	(void)region_panic(mpool_region(mp), "a test");
	all_say(mp, f, page, DB_RUNRECOVERY);
	must(memp_close(mp));
}

/* --- close ----------------------------------------------------------------------------------- */

static void
mpool_close_closes_files_and_releases_pins_with_a_message_for_each(void **state)
{
	struct t *t = *state;
	DB_MPOOL *keeper = pool_of(t, 64 * KIB), *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "g", PS);

	test_env.db_verbose = 1;
	(void)get(f, 0, DB_MPOOL_CREATE);
	(void)get(f, 1, DB_MPOOL_CREATE);
	(void)get(g, 0, DB_MPOOL_CREATE);
	assert_int_equal(stat_of(keeper).st_pins, 3);
	quiet();
	must(memp_close(mp));
	assert_non_null(strstr(heard, "still open"));
	assert_non_null(strstr(heard, "/f still had 2 pages pinned"));
	assert_non_null(strstr(heard, "/g still had 1 pages pinned"));
	assert_int_equal(stat_of(keeper).st_pins, 0);
	assert_int_equal(stat_of(keeper).st_clients, 1);
	finish(keeper);
}

static void
mpool_close_writes_nothing_and_dirty_pages_stay_for_who_attaches_next(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'a');
	must(memp_close(mp));
	assert_int_equal(disk_length(t_path(t, "f")), 0);
	mp = pool_of(t, 64 * KIB);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	f = file_of(mp, "f", PS);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	must(memp_sync(mp, NULL)); /* a file that nobody has open */
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_open_with_an_unknown_flag_is_einval),
		t_test(mpool_open_sizes_below_20_kib_or_beyond_the_machine_are_einval),
		t_test(mpool_open_of_20_kib_holds_no_more_than_a_quarter_beyond),
		t_test(mpool_open_without_a_size_is_128_kib),
		t_test(mpool_open_joins_what_is_there_whatever_size_is_asked),
		t_test(mpool_open_without_create_of_no_pool_is_enoent),
		t_test(mpool_open_dir_is_relative_to_db_home),
		t_test(mpool_open_mode_is_less_the_umask_and_0_means_0600),
		t_test(mpool_open_without_environment_and_dir_is_private),
		t_test(mpool_private_pool_leaves_no_file_and_its_dirty_pages_are_gone),
		t_test(mpool_open_without_dir_and_home_is_in_tmpdir_and_removed_by_close),
		t_test(mpool_open_on_a_full_disk_is_enospc_and_leaves_nothing),
		t_test(mpool_open_survives_failure_of_any_call),
		t_test(mpool_close_survives_failure_of_any_call_and_keeps_what_is_dirty),
		t_test(mpool_private_pool_over_the_home_of_a_shared_one_is_ebusy),
		t_test(mpool_shared_pool_over_the_home_of_a_private_one_is_ebusy),
		t_test(mpool_removed_by_force_is_estale_from_the_next_call),
		t_test(mpool_panicked_is_db_runrecovery_and_stat_and_close_still_work),
		t_test(mpool_panicked_private_pool_can_be_closed),
		t_test(mpool_close_closes_files_and_releases_pins_with_a_message_for_each),
		t_test(mpool_close_writes_nothing_and_dirty_pages_stay_for_who_attaches_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
