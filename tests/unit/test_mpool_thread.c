/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: several threads of one process on handles opened with DB_THREAD; pins that outlive
 * their thread; what a fork leaves of the handles in the child.
 */
#include "pool_t.h"

#include <pthread.h>

#include "pool/thread.h"

#define PS 1024u

struct job {
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;
	void *page;
	db_pgno_t pgno;
	unsigned n;
	int ret;
};

static void
run_thread(void *(*fn)(void *), struct job *j)
{
	pthread_t id;

	t_check(pthread_create(&id, NULL, fn, j) == 0);
	t_check(pthread_join(id, NULL) == 0);
}

static void *
gets(void *arg)
{
	struct job *j = arg;

	j->ret = memp_fget(j->f, &j->pgno, DB_MPOOL_CREATE, &j->page);
	return NULL;
}

static void *
uses_once(void *arg)
{
	struct job *j = arg;

	j->ret = get_error(j->f, 0, DB_MPOOL_CREATE);
	return NULL;
}

static void *
puts_dirty(void *arg)
{
	struct job *j = arg;

	j->ret = memp_fput(j->f, j->page, DB_MPOOL_DIRTY);
	return NULL;
}

static void
mpool_page_that_another_thread_got_can_be_put(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with(env_of(t, 64 * KIB), DB_THREAD);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS) };

	j.page = get(j.f, 0, DB_MPOOL_CREATE);
	memset(j.page, 'a', PS);
	run_thread(puts_dirty, &j);
	must(j.ret);
	assert_int_equal(stat_of(mp).st_pins, 0);
	refuses(memp_fput(j.f, j.page, 0), EINVAL);
	must(memp_fsync(j.f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	must(memp_fclose(j.f));
	finish(mp);
}

static void
mpool_pin_outlives_its_thread(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 20 * KIB), DB_THREAD);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS) };

	run_thread(gets, &j);
	must(j.ret);
	memset(j.page, 'a', PS); /* not dirty: lost if it were evicted */
	assert_int_equal(stat_of(mp).st_pins, 1);
	for (db_pgno_t n = 1; n < 100; n++)
		fill(j.f, n, 'b');
	assert_int_equal(others(j.page, PS, 'a'), 0);
	put(j.f, j.page, DB_MPOOL_DIRTY);
	assert_int_equal(stat_of(mp).st_pins, 0);
	holds(j.f, 0, 'a');
	must(memp_fclose(j.f));
	finish(mp);
}

static void
mpool_threads_that_exit_leave_room_for_others(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 64 * KIB), DB_THREAD);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS) };

	for (unsigned i = 0; i < 1000; i++) {
		run_thread(gets, &j);
		must(j.ret);
		put(j.f, j.page, 0);
	}
	must(memp_fclose(j.f));
	finish(mp);
}

/* How many threads does the handle know of? */
static unsigned
threads_of(DB_MPOOL *mp)
{
	unsigned n = 0;

	pthread_mutex_lock(&mp->threads_mutex);
	for (const struct thread *t = mp->threads; t != NULL; t = t->next)
		n++;
	pthread_mutex_unlock(&mp->threads_mutex);
	return n;
}

static void
mpool_threads_that_exit_leave_no_memory_with_the_pool(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 64 * KIB), DB_THREAD);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS) };
	unsigned before = threads_of(mp);
	void *pages[20];

	for (unsigned i = 0; i < 20; i++) {
		run_thread(gets, &j);
		must(j.ret);
		pages[i] = j.page;
	}
	assert_int_equal(threads_of(mp), before + 20); /* each of them has a pin */
	for (unsigned i = 0; i < 20; i++)
		put(j.f, pages[i], 0);
	assert_int_equal(threads_of(mp), before);
	for (unsigned i = 0; i < 20; i++)
		run_thread(gets, &j);
	must(memp_fclose(j.f));
	assert_int_equal(threads_of(mp), before);
	j.f = file_of(mp, "f", PS);
	run_thread(uses_once, &j);
	assert_int_equal(threads_of(mp), before);
	must(memp_fclose(j.f));
	finish(mp);
}

static void *
gets_many(void *arg)
{
	struct job *j = arg;

	while (j->ret == 0 && j->n > 0) {
		j->ret = memp_fget(j->f, &j->pgno, DB_MPOOL_CREATE, &j->page);
		j->n--;
	}
	return NULL;
}

static void
mpool_fput_by_a_new_thread_works_when_there_is_no_room_for_more_pins(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 64 * KIB), DB_THREAD);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS), .n = 100000 };
	uint64_t pins;

	run_thread(gets_many, &j);
	refuses(j.ret, EAGAIN);
	pins = stat_of(mp).st_pins;
	run_thread(puts_dirty, &j);
	must(j.ret);
	assert_int_equal(stat_of(mp).st_pins, pins - 1);
	while (--pins > 0)
		put(j.f, j.page, 0);
	must(memp_fclose(j.f));
	finish(mp);
}

static void
mpool_hits_are_short_again_after_a_thread_with_very_many_pins_has_ended(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 64 * KIB * KIB), DB_THREAD);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS), .n = PINS_OF_A_PAGE - 1 };

	run_thread(gets_many, &j);
	must(j.ret);
	assert_true(mp->many_pins);
	must(memp_fclose(j.f));
	assert_false(mp->many_pins);
	assert_int_equal(mp->short_id, mp->id);
	finish(mp);
}

/* --- many at once ---------------------------------------------------------------------------- */

#define THREADS 4
#define PAGES 64u

static void *
counts_up(void *arg)
{
	struct job *j = arg;
	unsigned seed = j->pgno;

	for (unsigned i = 0; i < j->n; i++) {
		db_pgno_t n = (db_pgno_t)rand_r(&seed) % PAGES;
		uint64_t *page = (uint64_t *)(void *)get(j->f, n, DB_MPOOL_CREATE);

		(void)add_seq(page, 1);
		put(j->f, page, DB_MPOOL_DIRTY);
	}
	return NULL;
}

static void
mpool_threads_evicting_each_others_pages_lose_nothing(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 20 * KIB), DB_THREAD);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct job jobs[THREADS];
	pthread_t ids[THREADS];
	uint64_t sum = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){ .f = f, .n = 4000, .pgno = i + 1 };
		assert_int_equal(pthread_create(&ids[i], NULL, counts_up, &jobs[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(ids[i], NULL), 0);
	for (db_pgno_t n = 0; n < PAGES; n++) {
		uint64_t *page = (uint64_t *)(void *)get(f, n, DB_MPOOL_CREATE);

		sum += *page;
		put(f, page, 0);
	}
	assert_int_equal(sum, THREADS * 4000);
	must(memp_fclose(f));
	finish(mp);
}

/* A queue of one page between a getter and a putter. */
struct belt {
	pthread_mutex_t mutex;
	pthread_cond_t moved;
	DB_MPOOLFILE *f;
	void *pages[128];
	unsigned n;
	unsigned left;
};

static void *
puts_from_belt(void *arg)
{
	struct belt *b = arg;
	void *page;

	pthread_mutex_lock(&b->mutex);
	while (b->left > 0) {
		while (b->n == 0)
			pthread_cond_wait(&b->moved, &b->mutex);
		page = b->pages[--b->n];
		b->left--;
		pthread_cond_broadcast(&b->moved);
		pthread_mutex_unlock(&b->mutex);
		put(b->f, page, b->left % 3 == 0 ? DB_MPOOL_DIRTY : 0);
		pthread_mutex_lock(&b->mutex);
	}
	pthread_mutex_unlock(&b->mutex);
	return NULL;
}

static void
mpool_one_thread_gets_while_another_puts(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 512 * KIB), DB_THREAD);
	struct belt b = { .f = file_of(mp, "f", PS), .left = 6000 };
	pthread_t id;

	pthread_mutex_init(&b.mutex, NULL);
	pthread_cond_init(&b.moved, NULL);
	assert_int_equal(pthread_create(&id, NULL, puts_from_belt, &b), 0);
	for (unsigned i = 0; i < 6000; i++) {
		void *page = get(b.f, i % 200, DB_MPOOL_CREATE);

		pthread_mutex_lock(&b.mutex);
		while (b.n == 128)
			pthread_cond_wait(&b.moved, &b.mutex);
		b.pages[b.n++] = page;
		pthread_cond_broadcast(&b.moved);
		pthread_mutex_unlock(&b.mutex);
	}
	assert_int_equal(pthread_join(id, NULL), 0);
	assert_int_equal(stat_of(mp).st_pins, 0);
	must(memp_fclose(b.f));
	finish(mp);
}

static void *
opens_and_closes(void *arg)
{
	static pthread_mutex_t one_writer = PTHREAD_MUTEX_INITIALIZER;
	struct job *j = arg;

	for (unsigned i = 0; i < j->n; i++) {
		DB_MPOOLFILE *f = file_of(j->mp, i % 2 ? "f" : "g", PS);

		pthread_mutex_lock(&one_writer); /* of a page's bytes */
		fill(f, i % 8, 'a');
		pthread_mutex_unlock(&one_writer);
		if (i % 5 == 0) {
			int ret = memp_fsync(f);

			t_check(ret == 0 || ret == DB_INCOMPLETE); /* another has it pinned */
		}
		must(memp_fclose(f));
	}
	return NULL;
}

static void
mpool_threads_open_and_close_files_at_once(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 20 * KIB), DB_THREAD);
	struct job j = { .mp = mp, .n = 200 };
	pthread_t ids[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, opens_and_closes, &j), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(ids[i], NULL), 0);
	assert_int_equal(stat_of(mp).st_files, 2);
	finish(mp);
}

/* --- closing and opening again --------------------------------------------------------------- */

static void *
uses_again(void *arg)
{
	struct job *j = arg;
	struct t_child *c = (struct t_child *)j->page;

	must(get_error(j->f, 0, DB_MPOOL_CREATE));
	t_tell(c, 'u');
	t_await(c, 'n');
	must(get_error(j->f, 0, DB_MPOOL_CREATE));
	return NULL;
}

static void
mpool_thread_of_a_closed_pool_can_use_the_next(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 20 * KIB), DB_THREAD);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS) };
	int up[2], down[2];
	pthread_t id;

	assert_int_equal(pipe(up) | pipe(down), 0);
	struct t_child mine = { .in = up[0], .out = down[1] },
		       theirs = { .in = down[0], .out = up[1] };
	j.page = &theirs;
	assert_int_equal(pthread_create(&id, NULL, uses_again, &j), 0);
	t_await(&mine, 'u');
	must(memp_fclose(j.f));
	finish(mp);
	mp = pool_with(&test_env, DB_THREAD);
	j.f = file_of(mp, "f", PS);
	t_tell(&mine, 'n');
	assert_int_equal(pthread_join(id, NULL), 0);
	must(memp_fclose(j.f));
	finish(mp);
	for (int i = 0; i < 2; i++)
		(void)(close(up[i]) | close(down[i]));
}

static void
mpool_open_that_fails_after_another_pool_was_closed_leaves_nothing_behind(void **state)
{
	DB_ENV *env = env_of(*state, 20 * KIB);
	DB_MPOOL *mp = pool_with(env, DB_THREAD), *none = NULL;

	finish(mp);
	for (unsigned n = 1;; n++) {
		int ret;

		t_fault(OS_MALLOC, n, ENOMEM);
		ret = memp_open(NULL, DB_CREATE | DB_THREAD, 0, env, &none);
		if (!t_fault_off()) {
			must(ret);
			break;
		}
		refuses(ret, ENOMEM);
		assert_null(none);
		mp = pool_with(env, DB_THREAD);
		finish(mp);
	}
	finish(none);
}

/* --- fork ------------------------------------------------------------------------------------ */

static int
uses_inherited_handles(struct t_child *c, void *arg)
{
	struct job *j = arg;
	DB_MPOOL_STAT *s = NULL;
	DB_MPOOLFILE *f = NULL;
	db_pgno_t n = 0;
	void *page = NULL;
	off_t bytes;

	(void)c;
	refuses(memp_fget(j->f, &n, 0, &page), EINVAL);
	refuses(memp_fput(j->f, j->page, DB_MPOOL_DIRTY), EINVAL);
	refuses(memp_fset(j->f, j->page, DB_MPOOL_DIRTY), EINVAL);
	refuses(memp_fsync(j->f), EINVAL);
	refuses(memp_sync(j->mp, NULL), EINVAL);
	refuses(memp_trickle(j->mp, 50, NULL), EINVAL);
	refuses(memp_stat(j->mp, &s, NULL, NULL), EINVAL);
	refuses(memp_fsize(j->f, &bytes), EINVAL);
	refuses(memp_ftruncate(j->f, 0), EINVAL);
	refuses(memp_fprefetch(j->f, 0, 1), EINVAL);
	refuses(memp_register(j->mp, 1, NULL, NULL), EINVAL);
	refuses(memp_reap(j->mp), EINVAL);
	refuses(memp_fopen(j->mp, "g", 0, DB_CREATE, 0, PS, -1, NULL, NULL, &f), EINVAL);
	refuses(mpool_check(j->mp, true), EINVAL);
	if (j->n > 0)
		refuses(memp_fclose(j->f), EINVAL);
	refuses(memp_close(j->mp), EINVAL);
	return 0;
}

static void
fork_with(struct t *t, int flags, unsigned closes)
{
	DB_MPOOL *mp = pool_with(env_of(t, 64 * KIB), flags);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS), .n = closes };
	struct t_child c;

	j.page = get(j.f, 0, DB_MPOOL_CREATE);
	memset(j.page, 'a', PS);
	t_fork(&c, uses_inherited_handles, &j);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(stat_of(mp).st_pins, 1);
	assert_int_equal(stat_of(mp).st_clients, 1);
	assert_int_equal(others(j.page, PS, 'a'), 0);
	put(j.f, j.page, DB_MPOOL_DIRTY);
	must(memp_reap(mp));
	holds(j.f, 0, 'a');
	must(memp_fclose(j.f));
	finish(mp);
}

static void
mpool_handles_are_einval_in_a_forked_child_and_the_parent_is_unharmed(void **state)
{
	fork_with(*state, 0, 1);
}

static void
mpool_inherited_pool_can_be_closed_with_its_files_in_a_forked_child(void **state)
{
	fork_with(*state, DB_THREAD, 0);
}

/* What a child's handler does comes before fork(2) has returned; it was there before any pool. */
static struct job *early;

static void
in_child(void)
{
	db_pgno_t n = 0;
	void *page = NULL;

	if (early != NULL)
		early->ret = memp_fget(early->f, &n, 0, &page);
}

static int
tells_the_handlers_answer(struct t_child *c, void *arg)
{
	const struct job *j = arg;

	(void)c;
	return j->ret == EINVAL ? 0 : 1;
}

static void
mpool_handles_are_einval_in_a_childs_fork_handler(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 64 * KIB), DB_THREAD);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS) };
	struct t_child c;

	fill(j.f, 0, 'a');
	holds(j.f, 0, 'a');
	early = &j;
	t_fork(&c, tells_the_handlers_answer, &j);
	early = NULL;
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(stat_of(mp).st_pins, 0);
	must(memp_fclose(j.f));
	finish(mp);
}

static pthread_key_t end_key;

/* When the destructors of all keys have had their turn: no leak is looked for in a child. */
static void
ends_the_process(void *again)
{
	if (again != &end_key)
		_exit(0);
	(void)pthread_setspecific(end_key, "again");
}

static int
ends_its_thread(struct t_child *c, void *arg)
{
	(void)c;
	(void)arg;
	must(pthread_key_create(&end_key, ends_the_process));
	must(pthread_setspecific(end_key, &end_key));
	pthread_exit(NULL);
}

static void
mpool_page_stays_pinned_after_a_forked_child_ended_its_thread(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 20 * KIB), DB_THREAD);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct t_child c;
	uint8_t *page;

	fill(f, 0, 'a');
	t_fork(&c, ends_its_thread, NULL);
	assert_int_equal(t_join(&c), 0);
	page = get(f, 0, 0);
	for (db_pgno_t n = 1; n < 200; n++)
		fill(f, n, 'b');
	assert_int_equal(others(page, PS, 'a'), 0);
	put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

/* A write(2) that stands still until it is told to go on. */
static struct t_child writer_side;

static int
stands_still_in_pwrite(enum os_call call, const char *what)
{
	(void)what;
	if (call != OS_PWRITE)
		return 0;
	t_tell(&writer_side, 'w');
	t_await(&writer_side, 'g');
	return 0;
}

static void *
syncs(void *arg)
{
	struct job *j = arg;

	j->ret = memp_fsync(j->f);
	return NULL;
}

static int
closes_inherited(struct t_child *c, void *arg)
{
	struct job *j = arg;

	(void)c;
	refuses(memp_fclose(j->f), EINVAL);
	refuses(memp_close(j->mp), EINVAL);
	return 0;
}

static void
mpool_child_forked_while_a_thread_writes_can_close_its_handles(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 64 * KIB), DB_THREAD);
	struct job j = { .mp = mp, .f = file_of(mp, "f", PS) };
	int up[2], down[2];
	struct t_child c;
	pthread_t id;

	fill(j.f, 0, 'a');
	assert_int_equal(pipe(up) | pipe(down), 0);
	struct t_child mine = { .in = up[0], .out = down[1] };
	writer_side = (struct t_child){ .in = down[0], .out = up[1] };
	os_fault_hook = stands_still_in_pwrite;
	assert_int_equal(pthread_create(&id, NULL, syncs, &j), 0);
	t_await(&mine, 'w');
	t_fork(&c, closes_inherited, &j);
	int status = t_join(&c);
	t_tell(&mine, 'g');
	assert_int_equal(pthread_join(id, NULL), 0);
	os_fault_hook = NULL;
	assert_int_equal(status, 0);
	must(j.ret);
	for (int i = 0; i < 2; i++)
		(void)(close(up[i]) | close(down[i]));
	must(memp_fclose(j.f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_page_that_another_thread_got_can_be_put),
		t_test(mpool_pin_outlives_its_thread),
		t_test(mpool_threads_that_exit_leave_room_for_others),
		t_test(mpool_threads_that_exit_leave_no_memory_with_the_pool),
		t_test(mpool_hits_are_short_again_after_a_thread_with_very_many_pins_has_ended),
		t_test(mpool_fput_by_a_new_thread_works_when_there_is_no_room_for_more_pins),
		t_test(mpool_threads_evicting_each_others_pages_lose_nothing),
		t_test(mpool_one_thread_gets_while_another_puts),
		t_test(mpool_threads_open_and_close_files_at_once),
		t_test(mpool_thread_of_a_closed_pool_can_use_the_next),
		t_test(mpool_handles_are_einval_in_a_forked_child_and_the_parent_is_unharmed),
		t_test(mpool_inherited_pool_can_be_closed_with_its_files_in_a_forked_child),
		t_test(mpool_handles_are_einval_in_a_childs_fork_handler),
		t_test(mpool_page_stays_pinned_after_a_forked_child_ended_its_thread),
		t_test(mpool_child_forked_while_a_thread_writes_can_close_its_handles),
		t_test(mpool_open_that_fails_after_another_pool_was_closed_leaves_nothing_behind),
	};

	must(pthread_atfork(NULL, NULL, in_child));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
