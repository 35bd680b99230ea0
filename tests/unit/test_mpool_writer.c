/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: the background writer of a handle.  It writes when nearly all of the pool is dirty,
 * whoever made it so, and leaves the pool alone otherwise; it comes and goes with its handle.
 */
#include "pool_t.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#define PS 4096u
#define PAGES 256u /* of the pool */

static DB_MPOOL *
pool_with_writer(const struct t *t, int flags)
{
	DB_ENV *env = env_of(t, PAGES * PS);

	env->mp_writer = 1;
	return pool_with(env, flags);
}

static unsigned
threads(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	t_check(d != NULL);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

static void
pause_a_moment(void)
{
	const struct timespec ms = { 0, 1000000 };

	(void)nanosleep(&ms, NULL);
}

/* A thread that was joined may be seen for a moment longer. */
static void
wait_for_threads(unsigned n)
{
	while (threads() != n)
		pause_a_moment();
}

/* With a writer at work nothing is at rest: the walker comes when it is gone. */
static void
finish_with_writer(const struct t *t, DB_MPOOL *mp)
{
	must(memp_close(mp));
	finish(pool_of(t, PAGES * PS));
}

/* Look again and again, until it is so; the test's watchdog ends what never comes. */
static void
wait_until_dirty_is_at_most(DB_MPOOL *mp, uint64_t n)
{
	while (stat_of(mp).st_page_dirty > n)
		pause_a_moment();
}

/* Pages on their way are no longer dirty, and not yet counted. */
static DB_MPOOL_STAT
wait_until_some_are_counted(DB_MPOOL *mp)
{
	DB_MPOOL_STAT s;

	while ((s = stat_of(mp)).st_page_trickle == 0)
		pause_a_moment();
	return s;
}

static void
mpool_writer_keeps_a_part_of_a_dirty_pool_clean(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_writer(t, 0);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	DB_MPOOL_STAT s;

	for (db_pgno_t n = 0; n < PAGES - 8; n++)
		fill(f, n, 'd');
	wait_until_dirty_is_at_most(mp, PAGES * 7 / 8);
	s = wait_until_some_are_counted(mp);
	assert_true(s.st_page_out >= s.st_page_trickle);
	for (db_pgno_t n = 0; n < PAGES - 8; n++)
		holds(f, n, 'd');
	assert_int_equal(stat_of(mp).st_rw_evict, 0);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, (PAGES - 8) * PS, 'd'));
	must(memp_fclose(f));
	finish_with_writer(t, mp);
}

static void
mpool_writer_keeps_a_part_of_a_pool_that_may_grow_clean(void **state)
{
	DB_ENV *env = env_of(*state, PAGES * PS);
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;

	env->mp_writer = 1;
	env->region_max = 64 << 20;
	mp = pool_with(env, 0);
	f = file_of(mp, "f", PS);
	for (db_pgno_t n = 0; n < PAGES - 8; n++)
		fill(f, n, 'd');
	wait_until_dirty_is_at_most(mp, PAGES * 7 / 8);
	must(memp_fclose(f));
	must(memp_close(mp));
}

static int
makes_dirty(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, PAGES * PS);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	(void)c;
	for (db_pgno_t n = 0; n < PAGES - 8; n++)
		fill(f, n, 'd');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_writer_writes_what_other_processes_made_dirty(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_writer(t, DB_THREAD);
	struct t_child c;

	t_fork(&c, makes_dirty, t);
	assert_int_equal(t_join(&c), 0);
	wait_until_dirty_is_at_most(mp, PAGES * 7 / 8);
	(void)wait_until_some_are_counted(mp);
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "f"), 0, (PAGES - 8) * PS, 'd'));
	finish_with_writer(t, mp);
}

static void
mpool_writer_leaves_a_pool_with_some_dirt_alone(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_writer(t, 0);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (unsigned i = 0; i < 50; i++)
		for (db_pgno_t n = 0; n < PAGES / 2; n++)
			fill(f, n, 'd');
	assert_int_equal(stat_of(mp).st_page_out, 0);
	assert_int_equal(stat_of(mp).st_page_dirty, PAGES / 2);
	must(memp_fclose(f));
	finish_with_writer(t, mp);
}

static void
mpool_writer_is_a_thread_that_comes_and_goes_with_its_handle(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp;

	for (unsigned i = 0; i < 20; i++) {
		wait_for_threads(1);
		mp = pool_with_writer(t, i % 2 == 0 ? DB_THREAD : 0);
		wait_for_threads(2);
		must(memp_close(mp));
	}
	mp = pool_of(t, PAGES * PS);
	wait_for_threads(1);
	must(memp_close(mp));
}

static int
closes_what_it_inherited(struct t_child *c, void *arg)
{
	(void)c;
	t_check(memp_close(arg) == EINVAL);
	return 0;
}

static void
mpool_writer_of_the_parent_is_not_waited_for_in_a_forked_child(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_writer(t, 0);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct t_child c;

	t_fork(&c, closes_what_it_inherited, mp);
	assert_int_equal(t_join(&c), 0);
	for (db_pgno_t n = 0; n < PAGES - 8; n++)
		fill(f, n, 'd');
	wait_until_dirty_is_at_most(mp, PAGES * 7 / 8);
	must(memp_fclose(f));
	finish_with_writer(t, mp);
}

static void
mpool_writer_that_cannot_write_tells_the_file_and_loses_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_writer(t, 0);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	t_fault_always(OS_PWRITE, EIO);
	for (db_pgno_t n = 0; n < PAGES - 8; n++)
		fill(f, n, 'd');
	while (fstat_of(mp, "/f").st_error == 0)
		pause_a_moment();
	assert_true(t_fault_off());
	assert_int_equal(fstat_of(mp, "/f").st_error, EIO);
	refuses(memp_fsync(f), EIO); /* once */
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, (PAGES - 8) * PS, 'd'));
	must(memp_fclose(f));
	finish_with_writer(t, mp);
}

static int
lives_with_a_writer(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_with_writer(arg, 0);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	(void)c;
	t_fault(OS_PWRITE, 2, T_FAULT_KILL);
	for (unsigned i = 0;; i++)
		for (db_pgno_t n = 0; n < PAGES - 8; n++)
			fill(f, n, 'd');
	return 0;
}

static void
mpool_pages_of_a_writer_that_was_killed_are_written_by_others(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, PAGES * PS);
	DB_MPOOLFILE *f;
	struct t_child c;

	t_fork(&c, lives_with_a_writer, t);
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	must(memp_reap(mp));
	f = file_of(mp, "f", PS);
	must(memp_fsync(f));
	for (db_pgno_t n = 0; n < length_of(f) / PS; n++)
		assert_true(on_disk(t_path(t, "f"), (uint64_t)n * PS, PS, 'd'));
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_writer_keeps_a_part_of_a_dirty_pool_clean),
		t_test(mpool_writer_keeps_a_part_of_a_pool_that_may_grow_clean),
		t_test(mpool_writer_writes_what_other_processes_made_dirty),
		t_test(mpool_writer_leaves_a_pool_with_some_dirt_alone),
		t_test(mpool_writer_is_a_thread_that_comes_and_goes_with_its_handle),
		t_test(mpool_writer_of_the_parent_is_not_waited_for_in_a_forked_child),
		t_test(mpool_writer_that_cannot_write_tells_the_file_and_loses_nothing),
		t_test(mpool_pages_of_a_writer_that_was_killed_are_written_by_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
