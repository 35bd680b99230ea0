/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: a device that takes its time.  While one thread is inside pread, pwrite or fsync, and
 * stays there until the test lets it go on, others hit pages, change them, bring in others, open
 * files and read the statistics: if any of that waited for the device, the test would not end.
 */
#include "pool_t.h"

#include <pthread.h>
#include <semaphore.h>

#define PS 4096u
#define HITS 2000u

/* The first call of that kind by `slow` stops until let_go(). */
static enum os_call stops;
static pthread_t slow;
static sem_t inside, may_go;
static uint32_t stopped;

static int
stops_once(enum os_call call, const char *what)
{
	uint32_t none = 0;

	(void)what;
	if (call != stops || !pthread_equal(pthread_self(), slow) || !cas_seq(&stopped, &none, 1))
		return 0;
	t_check(sem_post(&inside) == 0);
	while (sem_wait(&may_go) != 0)
		continue;
	return 0;
}

struct work {
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;
	pthread_t thread;
};

static void *
syncs(void *arg)
{
	struct work *w = arg;

	slow = pthread_self();
	must(memp_fsync(w->f));
	return NULL;
}

static void *
reads_page_150(void *arg)
{
	struct work *w = arg;

	slow = pthread_self();
	holds(w->f, 150, 151);
	return NULL;
}

static void *
reads_many_pages(void *arg)
{
	struct work *w = arg;

	slow = pthread_self();
	for (db_pgno_t n = 60; n < 180; n += 2)
		holds(w->f, n, 1 + (int)n);
	return NULL;
}

static void
begin(struct work *w, const struct t *t, size_t bytes)
{
	w->mp = pool_with(env_of(t, bytes), DB_THREAD);
	write_pages(t_path(t, "f"), 200, PS, 1);
	w->f = file_of(w->mp, "f", PS);
	assert_int_equal(sem_init(&inside, 0, 0), 0);
	assert_int_equal(sem_init(&may_go, 0, 0), 0);
	stopped = 0;
}

/* Start the thread, and wait until it is inside the call. */
static void
stop_in(struct work *w, enum os_call call, void *(*fn)(void *))
{
	stops = call;
	os_fault_hook = stops_once;
	assert_int_equal(pthread_create(&w->thread, NULL, fn, w), 0);
	while (sem_wait(&inside) != 0)
		continue;
}

static void
let_go(struct work *w)
{
	assert_int_equal(sem_post(&may_go), 0);
	assert_int_equal(pthread_join(w->thread, NULL), 0);
	os_fault_hook = NULL;
	at_rest(w->mp);
	must(memp_fclose(w->f));
	finish(w->mp);
	(void)sem_destroy(&inside);
	(void)sem_destroy(&may_go);
}

static void
others_go_on(struct work *w, const struct t *t)
{
	DB_MPOOLFILE *other;

	for (unsigned i = 0; i < HITS; i++)
		holds(w->f, 10 + i % 10, 11 + (int)(i % 10));
	for (db_pgno_t n = 50; n < 58; n++)
		holds(w->f, n, 1 + (int)n); /* misses */
	other = file_of(w->mp, "other", PS);
	fill(other, 0, 'o');
	holds(other, 0, 'o');
	must(memp_fclose(other));
	must(mpool_check(w->mp, false));
	(void)stat_of(w->mp);
	(void)t;
}

static void
some_pages(struct work *w)
{
	for (db_pgno_t n = 0; n < 20; n++)
		holds(w->f, n, 1 + (int)n);
}

static void
mpool_hits_go_on_while_the_page_itself_is_being_written(void **state)
{
	struct t *t = *state;
	struct work w;
	uint8_t *page;

	begin(&w, t, 1024 * KIB);
	some_pages(&w);
	fill(w.f, 5, 'd');
	stop_in(&w, OS_PWRITE, syncs);
	for (unsigned i = 0; i < HITS; i++)
		holds(w.f, 5, 'd');
	others_go_on(&w, t);
	page = get(w.f, 5, 0);
	memset(page, 'e', PS);
	put(w.f, page, DB_MPOOL_DIRTY);
	holds(w.f, 5, 'e');
	let_go(&w);
	/* the copy that was on its way is not what the page holds now */
	assert_true(on_disk(t_path(t, "f"), 5 * PS, PS, 'd'));
}

static void
mpool_change_made_while_the_page_is_being_written_is_written_next(void **state)
{
	struct t *t = *state;
	struct work w;

	begin(&w, t, 1024 * KIB);
	fill(w.f, 5, 'd');
	stop_in(&w, OS_PWRITE, syncs);
	fill(w.f, 5, 'e');
	assert_int_equal(sem_post(&may_go), 0);
	assert_int_equal(pthread_join(w.thread, NULL), 0);
	os_fault_hook = NULL;
	assert_int_equal(stat_of(w.mp).st_page_dirty, 1);
	must(memp_fsync(w.f));
	assert_true(on_disk(t_path(t, "f"), 5 * PS, PS, 'e'));
	must(memp_fclose(w.f));
	finish(w.mp);
}

static void
mpool_hits_and_misses_go_on_while_another_page_is_being_read(void **state)
{
	struct t *t = *state;
	struct work w;

	begin(&w, t, 1024 * KIB);
	some_pages(&w);
	stop_in(&w, OS_PREAD, reads_page_150);
	others_go_on(&w, t);
	fill(w.f, 3, 'd');
	must(memp_fsync(w.f));
	let_go(&w);
}

static void
mpool_hits_changes_and_misses_go_on_while_the_file_is_being_synced(void **state)
{
	struct t *t = *state;
	struct work w;

	begin(&w, t, 1024 * KIB);
	some_pages(&w);
	fill(w.f, 5, 'd');
	stop_in(&w, OS_FSYNC, syncs);
	others_go_on(&w, t);
	fill(w.f, 5, 'e');
	holds(w.f, 5, 'e');
	let_go(&w);
}

static void
mpool_hits_and_misses_go_on_while_another_thread_evicts_a_dirty_page(void **state)
{
	struct t *t = *state;
	struct work w;

	begin(&w, t, 256 * KIB);
	for (db_pgno_t n = 100; n < 160; n++)
		fill(w.f, n, 1 + (int)n);
	stop_in(&w, OS_PWRITE, reads_many_pages);
	for (db_pgno_t n = 0; n < 30; n++)
		holds(w.f, n, 1 + (int)n);
	for (unsigned i = 0; i < HITS; i++)
		holds(w.f, i % 4, 1 + (int)(i % 4));
	let_go(&w);
}

/* --- another process, that may never go on --------------------------------------------------- */

#define TYPE 1
#define CONVERSION OS_CALLS /* no system call: a pgin or pgout */

static DB_MPOOLFILE *typed;

static int
converts(db_pgno_t n, void *page, DBT *cookie)
{
	(void)n;
	(void)page;
	(void)cookie;
	return stops_once(CONVERSION, "");
}

static void *
reads_a_typed_page(void *arg)
{
	(void)arg;
	slow = pthread_self();
	holds(typed, 0, 1);
	return NULL;
}

static void *
writes_a_typed_page(void *arg)
{
	(void)arg;
	slow = pthread_self();
	must(memp_fsync(typed));
	return NULL;
}

/* Also what takes the locks: files are opened and closed, types registered. */
static void
mpool_others_go_on_while_pgin_or_pgout_takes_its_time(void **state)
{
	struct t *t = *state;
	struct work w;

	for (int out = 0; out < 2; out++) {
		begin(&w, t, 1024 * KIB);
		some_pages(&w);
		write_pages(t_path(t, "typed"), 4, PS, 1);
		must(memp_register(w.mp, TYPE, converts, converts));
		typed = file_of_type(w.mp, "typed", TYPE, PS);
		if (out)
			fill(typed, 1, 'c');
		stop_in(&w, CONVERSION, out ? writes_a_typed_page : reads_a_typed_page);
		others_go_on(&w, t);
		must(memp_register(w.mp, TYPE + 1, NULL, NULL));
		holds(typed, 2, 3);
		fill(typed, 3, 'd');
		if (out)
			holds(typed, 1, 'c');
		assert_int_equal(sem_post(&may_go), 0);
		assert_int_equal(pthread_join(w.thread, NULL), 0);
		must(memp_fsync(typed));
		assert_true(on_disk(t_path(t, "typed"), 3 * PS, PS, 'd'));
		must(memp_fclose(typed));
		must(memp_fclose(w.f));
		finish(w.mp);
		must(memp_unlink(NULL, 0, &test_env));
		(void)sem_destroy(&inside);
		(void)sem_destroy(&may_go);
	}
	os_fault_hook = NULL;
}

static struct t_child *own;

static int
stops_for_the_parent(enum os_call call, const char *what)
{
	(void)what;
	if (call == OS_PWRITE) {
		t_tell(own, 'w');
		t_await(own, 'g');
	}
	return 0;
}

static int
writes_slowly(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	own = c;
	os_fault_hook = stops_for_the_parent;
	must(memp_fsync(f));
	return 0;
}

static void
mpool_hits_go_on_while_a_stopped_process_is_writing_the_page(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f;
	struct t_child c;

	write_pages(t_path(t, "f"), 40, PS, 1);
	f = file_of(mp, "f", PS);
	for (db_pgno_t n = 0; n < 10; n++)
		fill(f, n, 'd');
	t_fork(&c, writes_slowly, t);
	t_await(&c, 'w');
	t_stop(&c);
	for (unsigned i = 0; i < HITS; i++)
		holds(f, i % 10, 'd');
	for (db_pgno_t n = 20; n < 40; n++)
		holds(f, n, 1 + (int)n);
	fill(f, 3, 'e');
	t_kill(&c);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, 3 * PS, 'd'));
	assert_true(on_disk(t_path(t, "f"), 3 * PS, PS, 'e'));
	assert_true(on_disk(t_path(t, "f"), 4 * PS, 6 * PS, 'd'));
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_hits_go_on_while_the_page_itself_is_being_written),
		t_test(mpool_change_made_while_the_page_is_being_written_is_written_next),
		t_test(mpool_hits_and_misses_go_on_while_another_page_is_being_read),
		t_test(mpool_hits_changes_and_misses_go_on_while_the_file_is_being_synced),
		t_test(mpool_hits_and_misses_go_on_while_another_thread_evicts_a_dirty_page),
		t_test(mpool_others_go_on_while_pgin_or_pgout_takes_its_time),
		t_test(mpool_hits_go_on_while_a_stopped_process_is_writing_the_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
