/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: the two ways in which a hit is ordered before whoever looks for pins.  Where the
 * system has membarrier(2) for processes that share memory, hits carry no fence; a pool keeps the
 * way it was created with, who cannot go along is refused, and a barrier that fails costs room,
 * never a pinned page.
 */
#include "../pool_t.h"

#define PS 4096u
#define PAGES 40u
#define GETS 60000u

static int barrier_error;

static int
refuse_barriers(enum os_call call, const char *what)
{
	(void)what;
	return call == OS_BARRIER ? barrier_error : 0;
}

static void
barriers_fail(int error)
{
	barrier_error = error;
	os_fault_hook = error != 0 ? refuse_barriers : NULL;
}

static void
mpool_says_whether_hits_carry_a_fence(void **state)
{
	DB_ENV *env = env_of(*state, 64 * KIB);
	DB_MPOOL *mp = pool_with(env, 0);

	assert_int_equal(stat_of(mp).st_barrier, os_barrier_join() == 0);
	finish(mp);
	must(memp_unlink(NULL, 0, env));

	env->mp_fence = 1;
	mp = pool_with(env, 0);
	assert_int_equal(stat_of(mp).st_barrier, 0);
	env->mp_fence = 0; /* it is as it was created */
	finish(mp);
	mp = pool_with(env, 0);
	assert_int_equal(stat_of(mp).st_barrier, 0);
	finish(mp);
	must(memp_unlink(NULL, 0, env));

	barriers_fail(EPERM);
	mp = pool_with(env, 0);
	assert_int_equal(stat_of(mp).st_barrier, 0);
	finish(mp);
	barriers_fail(0);
}

static void
mpool_process_without_barriers_is_refused_where_others_rely_on_them(void **state)
{
	DB_ENV *env = env_of(*state, 64 * KIB);
	DB_MPOOL *mp = pool_with(env, 0), *second = NULL;

	if (stat_of(mp).st_barrier == 0) {
		finish(mp);
		skip();
	}
	barriers_fail(ENOSYS);
	refuses(memp_open(NULL, 0, 0, env, &second), EPERM);
	assert_non_null(strstr(heard, "membarrier"));
	barriers_fail(0);
	must(memp_open(NULL, 0, 0, env, &second));
	must(memp_close(second));
	finish(mp);
}

static void
mpool_barrier_that_fails_keeps_every_page_where_it_is(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	unsigned room = (unsigned)(stat_of(mp).st_cachesize / PS);
	DB_MPOOLFILE *f;

	if (stat_of(mp).st_barrier == 0) {
		finish(mp);
		skip();
	}
	write_pages(t_path(t, "f"), PAGES, PS, 1);
	f = file_with(mp, "f", 0, PS);
	fill(f, 0, 100);
	for (db_pgno_t n = 1; n < room; n++)
		holds(f, n, 1 + (int)n);
	barriers_fail(ENOMEM);
	refuses(get_error(f, room, 0), ENOMEM);
	assert_int_equal(memp_fsync(f), DB_INCOMPLETE);
	barriers_fail(0);
	assert_int_equal(stat_of(mp).st_ro_evict + stat_of(mp).st_rw_evict, 0);
	holds(f, room, 1 + (int)room);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 100));
	must(memp_fclose(f));
	finish(mp);
}

struct reader {
	struct t *t;
	unsigned first, pages; /* of the file */
};

/* What a pinned page holds is its own, from the get to the put. */
static int
reads(struct t_child *c, void *arg)
{
	const struct reader *r = arg;
	DB_MPOOL *mp = pool_of(r->t, 20 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", 0, PS);

	t_await(c, 'g');
	for (unsigned i = 0; i < GETS; i++) {
		db_pgno_t n = r->first + i % r->pages;
		uint8_t *page = get(f, n, 0);

		for (unsigned at = 0; at < PS; at += PS / 8)
			t_check(load_relaxed(&page[at]) == (uint8_t)(1 + n));
		put(f, page, 0);
	}
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_page_stays_from_a_hit_without_a_fence_to_its_put(void **state)
{
	struct reader stays = { *state, 0, 2 }, evicts = { *state, 2, PAGES - 2 };
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	struct t_child a, b;

	write_pages(t_path(*state, "f"), PAGES, PS, 1);
	t_fork(&a, reads, &stays);
	t_fork(&b, reads, &evicts);
	t_tell(&a, 'g');
	t_tell(&b, 'g');
	assert_int_equal(t_join(&a), 0);
	assert_int_equal(t_join(&b), 0);
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_says_whether_hits_carry_a_fence),
		t_test(mpool_process_without_barriers_is_refused_where_others_rely_on_them),
		t_test(mpool_barrier_that_fails_keeps_every_page_where_it_is),
		t_test(mpool_page_stays_from_a_hit_without_a_fence_to_its_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
