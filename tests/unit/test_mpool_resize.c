/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: pools that become larger and smaller while they are in use.
 */
#include "../pool_t.h"
#include "../still_t.h"

#define PS ((size_t)4096)
#define PAGES 512 /* of "f": 2 MiB */

/* A pool of so many bytes that may become about 4 MiB. */
static DB_MPOOL *
pool_with_room(struct t *t, size_t bytes)
{
	DB_ENV *env = env_of(t, bytes);

	env->region_max = 6 << 20;
	return pool_with(env, 0);
}

static uint8_t
byte_of(db_pgno_t n)
{
	return (uint8_t)(n % 251 + 1);
}

static void
fill_all(DB_MPOOLFILE *f)
{
	for (db_pgno_t n = 0; n < PAGES; n++)
		fill(f, n, byte_of(n));
}

static void
all_hold(DB_MPOOLFILE *f)
{
	for (db_pgno_t n = 0; n < PAGES; n++)
		holds(f, n, byte_of(n));
}

static void
mpool_resize_up_gives_room_for_more_pages(void **state)
{
	DB_MPOOL *mp = pool_with_room(*state, 512 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill_all(f);
	assert_true(resident(mp) <= 512 * KIB / PS);
	must(memp_resize(mp, 3 * 1024 * KIB));
	assert_int_equal(stat_of(mp).st_cachesize, 3 * 1024 * KIB);
	all_hold(f);
	all_hold(f);
	assert_int_equal(resident(mp), PAGES);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_resize_down_writes_what_is_dirty_and_holds_less(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_room(t, 3 * 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct stat st;

	fill_all(f);
	assert_int_equal(stat_of(mp).st_page_dirty, PAGES);
	must(memp_resize(mp, 512 * KIB));
	assert_int_equal(stat_of(mp).st_cachesize, 512 * KIB);
	assert_true(resident(mp) <= 512 * KIB / PS);
	assert_int_equal(stat_of(mp).st_rw_evict, PAGES - resident(mp)); /* all were dirty */
	at_rest(mp);
	all_hold(f);
	assert_true(resident(mp) <= 512 * KIB / PS);
	if (!in_system_memory()) { /* its memory went back */
		assert_int_equal(stat(t_path(t, REGION_NAME), &st), 0);
		assert_true((size_t)st.st_blocks * 512 < 3 * 1024 * KIB);
	}
	must(memp_resize(mp, 3 * 1024 * KIB));
	all_hold(f);
	must(memp_fsync(f));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_resize_down_with_pins_in_the_way_is_ebusy_and_changes_nothing(void **state)
{
	DB_MPOOL *mp = pool_with_room(*state, 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *pages[200];

	for (db_pgno_t n = 0; n < 200; n++) {
		pages[n] = get(f, n, DB_MPOOL_CREATE);
		memset(pages[n], byte_of(n), PS);
	}
	quiet();
	refuses(memp_resize(mp, 512 * KIB), EBUSY);
	assert_true(sentences > 0);
	assert_int_equal(stat_of(mp).st_cachesize, 1024 * KIB);
	for (db_pgno_t n = 0; n < 200; n++) {
		assert_int_equal(others(pages[n], PS, byte_of(n)), 0);
		put(f, pages[n], DB_MPOOL_DIRTY);
	}
	must(memp_resize(mp, 512 * KIB));
	for (db_pgno_t n = 0; n < 200; n++)
		holds(f, n, byte_of(n));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_resize_errors(void **state)
{
	DB_MPOOL *mp = pool_with_room(*state, 512 * KIB);

	refuses(memp_resize(NULL, 512 * KIB), EINVAL);
	refuses(memp_resize(mp, 20 * KIB - 1), EINVAL);
	quiet();
	refuses(memp_resize(mp, 64 * 1024 * KIB), ENOMEM);
	assert_non_null(strstr(heard, "region_max"));
	refuses(memp_resize(mp, SIZE_MAX), ENOMEM);
	refuses(memp_resize(mp, SIZE_MAX - 4096), ENOMEM);
	assert_int_equal(stat_of(mp).st_cachesize, 512 * KIB);
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));
	/* without region_max: down, and up to where it was */
	mp = pool_of(*state, 512 * KIB);
	must(memp_resize(mp, 256 * KIB));
	must(memp_resize(mp, 512 * KIB));
	refuses(memp_resize(mp, 1024 * KIB), ENOMEM);
	finish(mp);
}

static int
stands_still_in_a_resize(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_with_room(arg, 1024 * KIB);

	stand_still(c, OS_PWRITE, NULL, 1, 0);
	must(memp_resize(mp, 512 * KIB));
	os_fault_hook = NULL;
	must(memp_close(mp));
	return 0;
}

static void
mpool_resize_while_another_process_resizes_is_eagain(void **state)
{
	DB_MPOOL *mp = pool_with_room(*state, 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct t_child c;

	fill_all(f);
	t_fork(&c, stands_still_in_a_resize, *state);
	t_await(&c, 's');
	quiet();
	refuses(memp_resize(mp, 768 * KIB), EAGAIN);
	assert_int_equal(sentences, 1);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(stat_of(mp).st_cachesize, 512 * KIB);
	all_hold(f);
	must(memp_fclose(f));
	finish(mp);
}

static int
uses_it(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_with_room(arg, 512 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	t_tell(c, 'r');
	do
		all_hold(f);
	while (!t_told(c));
	t_await(c, 'g');
	assert_int_equal(stat_of(mp).st_cachesize, 2048 * KIB);
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_resize_up_and_down_while_another_process_uses_it(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_room(t, 512 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct t_child c;
	int ret;

	fill_all(f);
	must(memp_fsync(f));
	t_fork(&c, uses_it, t);
	t_await(&c, 'r');
	for (unsigned i = 0; i < 20; i++) {
		ret = memp_resize(mp, (i % 4 + 1) * 512 * KIB);
		assert_true(ret == 0 || ret == EBUSY); /* it has one page pinned, somewhere */
		all_hold(f);
	}
	while ((ret = memp_resize(mp, 2048 * KIB)) == EBUSY)
		continue;
	must(ret);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	all_hold(f);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_joined_after_resize_is_as_large_as_it_is(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_room(t, 1024 * KIB), *other;
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill_all(f);
	must(memp_resize(mp, 256 * KIB));
	other = pool_of(t, 0);
	assert_int_equal(stat_of(other).st_cachesize, 256 * KIB);
	must(memp_resize(other, 2048 * KIB));
	assert_int_equal(stat_of(mp).st_cachesize, 2048 * KIB);
	all_hold(f);
	assert_true(resident(mp) > 1024 * KIB / PS);
	must(memp_fclose(f));
	must(memp_close(other));
	finish(mp);
}

static void
mpool_resize_that_gets_no_memory_changes_nothing(void **state)
{
	DB_MPOOL *mp = pool_with_room(*state, 512 * KIB);

	if (!in_system_memory()) {
		t_fault_always(OS_ALLOCATE, ENOSPC);
		refuses(memp_resize(mp, 2048 * KIB), ENOSPC);
		assert_true(t_fault_off());
		assert_int_equal(stat_of(mp).st_cachesize, 512 * KIB);
	}
	must(memp_resize(mp, 2048 * KIB));
	finish(mp);
}

/* The pages that the call had closed to others are open again. */
static void
mpool_resize_down_that_cannot_lock_the_region_changes_nothing(void **state)
{
	DB_MPOOL *mp = pool_with_room(*state, 3 * 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill_all(f);
	t_fault_always(OS_LOCK, ENOLCK);
	assert_int_equal(memp_resize(mp, 512 * KIB), ENOLCK);
	assert_true(t_fault_off());
	assert_int_equal(stat_of(mp).st_cachesize, 3 * 1024 * KIB);
	all_hold(f);
	all_hold(f);
	assert_int_equal(resident(mp), PAGES);
	must(memp_resize(mp, 512 * KIB));
	all_hold(f);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_joiner_that_asks_for_more_makes_the_pool_grow(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_room(t, 512 * KIB), *other;
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill_all(f);
	other = pool_of(t, 2048 * KIB);
	assert_int_equal(stat_of(mp).st_cachesize, 2048 * KIB);
	all_hold(f);
	assert_int_equal(resident(mp), PAGES);
	must(memp_close(other));
	other = pool_of(t, 1024 * KIB); /* it is larger: joined as it is */
	must(memp_close(other));
	other = pool_of(t, 0); /* so is it by who asks for nothing */
	must(memp_close(other));
	env_of(t, 3 * 1024 * KIB)->region_flags |= DB_SIZE_IF_NEW;
	other = pool_with(&test_env, 0);
	assert_int_equal(stat_of(mp).st_cachesize, 2048 * KIB);
	must(memp_close(other));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_joiner_that_asks_for_more_than_can_be_gets_what_can_and_is_told(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_room(t, 512 * KIB), *other;
	size_t most;

	env_of(t, 64 * 1024 * KIB)->db_verbose = 1;
	other = pool_with(&test_env, 0);
	assert_non_null(strstr(heard, "were asked for"));
	most = stat_of(mp).st_cachesize;
	assert_in_range(most, 3 * 1024 * KIB, 6 * 1024 * KIB);
	refuses(memp_resize(mp, most + 1), ENOMEM);
	must(memp_close(other));
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));
	/* without room to grow in at all */
	mp = pool_of(t, 512 * KIB);
	env_of(t, 1024 * KIB)->db_verbose = 1;
	other = pool_with(&test_env, 0);
	assert_int_equal(sentences, 1);
	assert_int_equal(stat_of(mp).st_cachesize, 512 * KIB);
	must(memp_close(other));
	finish(mp);
}

/* The pool is joined, whatever becomes of its size. */
static void
mpool_joiner_for_whom_there_is_no_memory_gets_the_pool_as_it_is(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_room(t, 512 * KIB), *other;

	if (!in_system_memory()) {
		env_of(t, 2048 * KIB)->db_verbose = 1;
		t_fault_always(OS_ALLOCATE, ENOSPC);
		other = pool_with(&test_env, 0);
		assert_true(t_fault_off());
		assert_non_null(strstr(heard, "were asked for"));
		assert_int_equal(stat_of(mp).st_cachesize, 512 * KIB);
		must(memp_close(other));
	}
	finish(mp);
}

static int
dies_resizing(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 0);

	(void)c;
	t_fault(OS_LOCK, 1, T_FAULT_KILL); /* of the region's growing */
	(void)memp_resize(mp, 1024 * KIB);
	return 0;
}

/*
 * Who was killed while it resized had a number that another process has now: for ever somebody
 * else was resizing.
 */
static void
mpool_resize_after_a_death_whose_number_another_has(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_room(t, 512 * KIB), *next;
	struct t_child c;

	t_fork(&c, dies_resizing, t);
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	next = pool_of(t, 0); /* reaps it */
	must(memp_close(next));
	next = pool_of(t, 0);
	must(memp_resize(mp, 1024 * KIB));
	must(memp_resize(next, 2048 * KIB));
	must(memp_close(next));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_resize_up_gives_room_for_more_pages),
		t_test(mpool_resize_down_writes_what_is_dirty_and_holds_less),
		t_test(mpool_resize_down_with_pins_in_the_way_is_ebusy_and_changes_nothing),
		t_test(mpool_resize_errors),
		t_test(mpool_resize_while_another_process_resizes_is_eagain),
		t_test(mpool_resize_up_and_down_while_another_process_uses_it),
		t_test(mpool_joined_after_resize_is_as_large_as_it_is),
		t_test(mpool_resize_that_gets_no_memory_changes_nothing),
		t_test(mpool_resize_down_that_cannot_lock_the_region_changes_nothing),
		t_test(mpool_joiner_that_asks_for_more_makes_the_pool_grow),
		t_test(mpool_joiner_that_asks_for_more_than_can_be_gets_what_can_and_is_told),
		t_test(mpool_joiner_for_whom_there_is_no_memory_gets_the_pool_as_it_is),
		t_test(mpool_resize_after_a_death_whose_number_another_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
