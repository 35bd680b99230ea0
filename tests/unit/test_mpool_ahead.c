/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: reading ahead.  Who misses one page after the other gets the next ones in few large
 * requests; who jumps about gets what he asks for and nothing else.  Whatever fails ahead of the
 * page that is wanted is not the caller's business.
 */
#include "pool_t.h"
#include "reads_t.h"

#include "pool/frame.h"

#define PS 4096u

/* Pages [0, n) in order; how many reads that took. */
static unsigned
scan(DB_MPOOLFILE *f, unsigned n)
{
	reads = 0;
	os_fault_hook = counts_reads;
	for (db_pgno_t i = 0; i < n; i++)
		holds(f, i, 1 + (int)i);
	os_fault_hook = NULL;
	return reads;
}

static void
mpool_scan_is_read_in_few_large_requests(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f;
	DB_MPOOL_STAT s;

	write_pages(t_path(t, "f"), 200, PS, 1);
	f = file_of(mp, "f", PS);
	assert_in_range(scan(f, 200), 8, 16);
	s = stat_of(mp);
	assert_int_equal(s.st_page_in, 200);
	assert_int_equal(s.st_fget, 200);
	assert_in_range(s.st_cache_miss, 8, 16);
	assert_int_equal(s.st_cache_hit + s.st_cache_miss, 200);
	assert_in_range(s.st_prefetch, 184, 192);
	assert_int_equal(s.st_cache_miss + s.st_prefetch, 200); /* asked for, or read ahead */
	assert_int_equal(s.st_read_bytes, 200 * PS);
	assert_int_equal(s.st_pins, 0);
	/* and once more: those that went are read again, likewise */
	assert_in_range(scan(f, 200), 0, 16);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_scan_goes_on_over_pages_that_are_there_and_dirty(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 4096 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 200, PS, 1);
	f = file_of(mp, "f", PS);
	for (db_pgno_t n = 20; n < 200; n += 20) /* changed, but to what a scan expects */
		fill(f, n, 1 + (int)n);
	assert_in_range(scan(f, 200), 10, 30);
	assert_int_equal(stat_of(mp).st_page_in, 200);
	assert_int_equal(stat_of(mp).st_page_dirty, 9);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_random_access_reads_only_what_is_asked_for(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 4096 * KIB);
	DB_MPOOLFILE *f;
	DB_MPOOL_STAT s;

	write_pages(t_path(t, "f"), 250, PS, 1);
	f = file_of(mp, "f", PS);
	for (unsigned i = 0; i < 125; i++)
		holds(f, i * 83 % 250, 1 + (int)(i * 83 % 250));
	s = stat_of(mp);
	assert_int_equal(s.st_page_in, 125);
	assert_int_equal(s.st_prefetch, 0);
	assert_int_equal(s.st_cache_miss, 125);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_pairs_of_pages_are_not_taken_for_a_scan(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 4096 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 250, PS, 1);
	f = file_of(mp, "f", PS);
	for (unsigned i = 0; i < 40; i++) {
		db_pgno_t n = i * 33 % 125 * 2;

		holds(f, n, 1 + (int)n);
		holds(f, n + 1, 2 + (int)n);
	}
	assert_int_equal(stat_of(mp).st_prefetch, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_readers_at_several_places_of_a_file_are_each_read_ahead_of(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 4096 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 240, PS, 1);
	f = file_of(mp, "f", PS);
	reads = 0;
	os_fault_hook = counts_reads;
	for (db_pgno_t n = 0; n < 80; n++)
		for (db_pgno_t k = 0; k < 240; k += 80)
			holds(f, k + n, 1 + (int)(k + n));
	os_fault_hook = NULL;
	assert_in_range(reads, 12, 36);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_env_that_wants_no_reading_ahead_gets_none(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 1024 * KIB);
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;

	env->mp_ahead = -1;
	mp = pool_with(env, 0);
	write_pages(t_path(t, "f"), 100, PS, 1);
	f = file_of(mp, "f", PS);
	assert_int_equal(scan(f, 100), 100);
	assert_int_equal(stat_of(mp).st_prefetch, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_pool_of_few_pages_is_not_read_ahead_into(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 100, PS, 1);
	f = file_of(mp, "f", PS);
	assert_int_equal(scan(f, 100), 100);
	must(memp_fclose(f));
	finish(mp);
}

/* Requests for more than a page fail. */
static unsigned failed;

static int
fails_in_the_middle(enum os_call call, const char *what)
{
	(void)what;
	if (call != OS_PREAD)
		return 0;
	reads++;
	/* the third miss is the first that reads ahead */
	if (reads == 3) {
		failed++;
		return EIO;
	}
	return 0;
}

static void
mpool_read_that_fails_ahead_is_not_the_readers_error(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 40, PS, 1);
	f = file_of(mp, "f", PS);
	reads = failed = 0;
	os_fault_hook = fails_in_the_middle;
	for (db_pgno_t n = 0; n < 40; n++)
		holds(f, n, 1 + (int)n);
	os_fault_hook = NULL;
	assert_int_equal(failed, 1);
	assert_int_equal(stat_of(mp).st_page_in, 40);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_scan_ends_at_the_end_of_the_file(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 10, PS, 1);
	f = file_of(mp, "f", PS);
	(void)scan(f, 10);
	assert_int_equal(stat_of(mp).st_page_in, 10);
	refuses(get_error(f, 10, 0), EINVAL);
	assert_int_equal(new_page(f, &page), 10);
	put(f, page, 0);
	assert_int_equal(length_of(f), 11 * PS);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_prefetch_works_in_a_pool_of_five_pages(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 20, PS, 1);
	f = file_of(mp, "f", PS);
	must(memp_fprefetch(f, 7, 1));
	assert_int_equal(stat_of(mp).st_prefetch, 1);
	must(memp_fprefetch(f, 10, 10));
	assert_in_range(stat_of(mp).st_prefetch, 2, 4);
	holds(f, 10, 11);
	assert_int_equal(stat_of(mp).st_cache_hit, 1);
	for (db_pgno_t n = 0; n < 20; n++)
		holds(f, n, 1 + (int)n);
	must(memp_fclose(f));
	finish(mp);
}

/* --- killed while it reads ahead ------------------------------------------------------------- */

static int
scans_and_dies(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	(void)c;
	t_fault(OS_PREAD, 5, T_FAULT_KILL);
	for (db_pgno_t n = 0; n < 100; n++)
		holds(f, n, 1 + (int)n);
	return 0;
}

static void
mpool_pages_that_a_killed_process_was_reading_ahead_are_read_by_others(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f;
	struct t_child c;

	write_pages(t_path(t, "f"), 100, PS, 1);
	f = file_of(mp, "f", PS);
	t_fork(&c, scans_and_dies, t);
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	for (db_pgno_t n = 0; n < 100; n++)
		holds(f, n, 1 + (int)n);
	must(memp_fclose(f));
	finish(mp);
}

/* --- what waits meanwhile -------------------------------------------------------------------- */

static DB_MPOOL *written;
static unsigned held, writes;

/* Pages that this process is just loading: others wait for them, and must not be waited for. */
static int
counts_loads(db_pgno_t pgno, void *page, DBT *cookie)
{
	(void)pgno;
	(void)page;
	(void)cookie;
	writes++;
	for (uint32_t f = 0; f < written->g.nframes; f++)
		held += fw_state(load_seq(&written->frames[f].word)) == FRAME_LOADING;
	return 0;
}

static void
mpool_nothing_is_written_for_room_while_pages_of_a_run_are_loading(void **state)
{
	DB_MPOOL *mp = written = pool_of(*state, 512 * KIB);
	DB_MPOOLFILE *f, *dirty;

	write_pages(t_path(*state, "f"), 200, PS, 1);
	must(memp_register(mp, 1, NULL, counts_loads));
	dirty = file_of_type(mp, "dirty", 1, PS);
	f = file_of(mp, "f", PS);
	for (unsigned round = 0; round < 4; round++) {
		for (db_pgno_t n = 0; n < 120; n++)
			fill(dirty, n, 'd');
		(void)scan(f, 200);
	}
	assert_true(writes > 0);
	assert_int_equal(held, 0);
	must(memp_fclose(f));
	must(memp_fclose(dirty));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_scan_is_read_in_few_large_requests),
		t_test(mpool_scan_goes_on_over_pages_that_are_there_and_dirty),
		t_test(mpool_random_access_reads_only_what_is_asked_for),
		t_test(mpool_pairs_of_pages_are_not_taken_for_a_scan),
		t_test(mpool_readers_at_several_places_of_a_file_are_each_read_ahead_of),
		t_test(mpool_env_that_wants_no_reading_ahead_gets_none),
		t_test(mpool_pool_of_few_pages_is_not_read_ahead_into),
		t_test(mpool_read_that_fails_ahead_is_not_the_readers_error),
		t_test(mpool_scan_ends_at_the_end_of_the_file),
		t_test(mpool_prefetch_works_in_a_pool_of_five_pages),
		t_test(mpool_pages_that_a_killed_process_was_reading_ahead_are_read_by_others),
		t_test(mpool_nothing_is_written_for_room_while_pages_of_a_run_are_loading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
