/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: hits are counted for each file, and none is lost or counted twice, however many
 * handles and threads there are, while they are open and after they were closed; and pins that
 * two threads put at the same time are each put once.
 */
#include "pool_t.h"

#include <pthread.h>

#define PS 512u
#define HANDLES 11u
#define THREADS 3
#define ROUNDS 400u

struct job {
	DB_MPOOLFILE **f;
	unsigned n; /* handles */
	unsigned seed;
};

/* Each handle has its page hit ROUNDS times, the handles in some order. */
static void *
hits_all(void *arg)
{
	struct job *j = arg;

	for (unsigned i = 0; i < ROUNDS * j->n; i++) {
		/* now one handle many times, now another each time */
		unsigned k = j->seed % 2 == 0 ? i / ROUNDS : i % j->n;

		put(j->f[k], get(j->f[k], 0, 0), 0);
	}
	return NULL;
}

static DB_MPOOLFILE *
handle(DB_MPOOL *mp, unsigned k)
{
	char name[] = "a";

	name[0] = (char)('a' + k);
	return file_of(mp, name, PS);
}

static uint64_t
hits_of(DB_MPOOL *mp, unsigned k)
{
	char name[] = "/a";

	name[1] = (char)('a' + k);
	return fstat_of(mp, name).st_cache_hit;
}

static void
hit_by_threads(DB_MPOOLFILE **f, unsigned n)
{
	struct job jobs[THREADS];
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){ f, n, i };
		t_check(pthread_create(&threads[i], NULL, hits_all, &jobs[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		t_check(pthread_join(threads[i], NULL) == 0);
}

static void
mpool_hits_of_each_file_are_counted_once_by_whatever_thread(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with(env_of(t, 256 * KIB), DB_THREAD);
	DB_MPOOLFILE *f[HANDLES], *again;
	struct job own = { f, HANDLES, 1 };

	for (unsigned k = 0; k < HANDLES; k++) {
		f[k] = handle(mp, k);
		fill(f[k], 0, 'x');
	}
	hit_by_threads(f, HANDLES);
	(void)hits_all(&own);
	for (unsigned k = 0; k < HANDLES; k++)
		assert_int_equal(hits_of(mp, k), (THREADS + 1) * ROUNDS);
	/* a handle's hits stay with its file, whoever gets its place in the table */
	for (unsigned k = 0; k < HANDLES; k += 2)
		must(memp_fclose(f[k]));
	again = handle(mp, HANDLES);
	fill(again, 0, 'y');
	for (unsigned i = 0; i < 10; i++)
		holds(again, 0, 'y');
	for (unsigned k = 0; k < HANDLES; k++)
		assert_int_equal(hits_of(mp, k), (THREADS + 1) * ROUNDS);
	assert_int_equal(hits_of(mp, HANDLES), 10);
	must(memp_fclose(again));
	for (unsigned k = 1; k < HANDLES; k += 2)
		must(memp_fclose(f[k]));
	finish(mp);
}

static void
mpool_hits_of_two_handles_on_one_file_add_up(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with(env_of(t, 256 * KIB), DB_THREAD);
	DB_MPOOLFILE *f[2] = { handle(mp, 0), handle(mp, 0) };

	fill(f[0], 0, 'x');
	hit_by_threads(f, 2);
	assert_int_equal(hits_of(mp, 0), 2 * THREADS * ROUNDS);
	must(memp_fclose(f[0]));
	assert_int_equal(hits_of(mp, 0), 2 * THREADS * ROUNDS);
	must(memp_fclose(f[1]));
	assert_int_equal(hits_of(mp, 0), 2 * THREADS * ROUNDS);
	finish(mp);
}

static int
hits_and_dies(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_with(env_of(arg, 256 * KIB), DB_THREAD);
	DB_MPOOLFILE *f = handle(mp, 0);

	for (unsigned i = 0; i < 100; i++)
		holds(f, 0, 'x');
	t_tell(c, 'h');
	t_await(c, '-');
	return 0;
}

static void
mpool_hits_of_a_killed_process_stay_counted(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with(env_of(t, 256 * KIB), DB_THREAD);
	DB_MPOOLFILE *f = handle(mp, 0);
	struct t_child c;

	fill(f, 0, 'x');
	t_fork(&c, hits_and_dies, t);
	t_await(&c, 'h');
	assert_int_equal(hits_of(mp, 0), 100);
	t_kill(&c);
	must(memp_reap(mp));
	assert_int_equal(hits_of(mp, 0), 100);
	must(memp_fclose(f));
	finish(mp);
}

/* --- puts ------------------------------------------------------------------------------------ */

#define PAIRS 20000u

struct relay {
	DB_MPOOLFILE *f;
	uint8_t *pages[64]; /* for the other thread to put */
	uint32_t given;
	uint32_t taken;
};

static void *
puts_what_it_is_given(void *arg)
{
	struct relay *r = arg;

	for (uint32_t i = 0; i < PAIRS; i++) {
		while (load_acquire(&r->given) == i)
			os_yield();
		put(r->f, r->pages[i % 64], 0);
		store_release(&r->taken, i + 1);
	}
	return NULL;
}

static void
mpool_pins_of_one_page_put_by_two_threads_at_once_are_each_put_once(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with(env_of(t, 256 * KIB), DB_THREAD);
	struct relay r = { .f = file_of(mp, "f", PS) };
	uint8_t *mine;
	pthread_t other;

	for (db_pgno_t n = 0; n < 4; n++)
		fill(r.f, n, 'a' + (int)n);
	assert_int_equal(pthread_create(&other, NULL, puts_what_it_is_given, &r), 0);
	for (uint32_t i = 0; i < PAIRS; i++) {
		while (i - load_acquire(&r.taken) >= 32)
			os_yield();
		mine = get(r.f, i % 4, 0);
		r.pages[i % 64] = get(r.f, i % 4, 0);
		t_check(mine == r.pages[i % 64] && *mine == 'a' + (int)(i % 4));
		store_release(&r.given, i + 1);
		put(r.f, mine, 0);
	}
	assert_int_equal(pthread_join(other, NULL), 0);
	assert_int_equal(stat_of(mp).st_pins, 0);
	refuses(memp_fput(r.f, mine, 0), EINVAL);
	must(memp_fclose(r.f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_hits_of_each_file_are_counted_once_by_whatever_thread),
		t_test(mpool_hits_of_two_handles_on_one_file_add_up),
		t_test(mpool_hits_of_a_killed_process_stay_counted),
		t_test(mpool_pins_of_one_page_put_by_two_threads_at_once_are_each_put_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
