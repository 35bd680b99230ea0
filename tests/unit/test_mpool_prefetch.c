/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: memp_fprefetch.  It reads what is missing, in large requests, and pins nothing; what
 * is in the pool already stays as it is; and whatever goes wrong, the answer is 0 and the next
 * memp_fget sees for itself.
 */
#include "pool_t.h"
#include "reads_t.h"

#define PS 4096u

static void
mpool_prefetch_reads_missing_pages_in_large_requests_and_pins_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f;
	DB_MPOOL_STAT s;

	write_pages(t_path(t, "f"), 100, PS, 1);
	f = file_of(mp, "f", PS);
	reads = 0;
	os_fault_hook = counts_reads;
	must(memp_fprefetch(f, 2, 64));
	assert_in_range(reads, 1, 4);
	os_fault_hook = NULL;
	s = stat_of(mp);
	assert_int_equal(s.st_prefetch, 64);
	assert_int_equal(s.st_page_in, 64);
	assert_int_equal(s.st_read_bytes, 64 * PS);
	assert_int_equal(s.st_pins, 0);
	assert_int_equal(s.st_fget, 0);
	assert_int_equal(s.st_page_clean, 64);
	for (db_pgno_t n = 2; n < 66; n++)
		holds(f, n, 1 + (int)n);
	s = stat_of(mp);
	assert_int_equal(s.st_cache_hit, 64);
	assert_int_equal(s.st_cache_miss, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_prefetch_leaves_pages_that_are_there_as_they_are(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 30, PS, 1);
	f = file_of(mp, "f", PS);
	fill(f, 3, 'd');
	page = get(f, 7, 0);
	page[0] = 'p';
	must(memp_fprefetch(f, 0, 30));
	assert_int_equal(page[0], 'p');
	put(f, page, DB_MPOOL_DIRTY);
	assert_int_equal(stat_of(mp).st_prefetch, 28);
	must(memp_fprefetch(f, 0, 30));
	assert_int_equal(stat_of(mp).st_prefetch, 28);
	for (db_pgno_t n = 0; n < 30; n++)
		if (n != 7)
			holds(f, n, n == 3 ? 'd' : 1 + (int)n);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_prefetch_beyond_the_end_reads_nothing_and_moves_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 5, PS, 1);
	f = file_of(mp, "f", PS);
	must(memp_fprefetch(f, 5, 10));
	must(memp_fprefetch(f, UINT32_MAX, UINT32_MAX));
	must(memp_fprefetch(f, 0, 0));
	assert_int_equal(stat_of(mp).st_page_in, 0);
	must(memp_fprefetch(f, 3, UINT32_MAX));
	assert_int_equal(stat_of(mp).st_prefetch, 2);
	assert_int_equal(length_of(f), 5 * PS);
	refuses(get_error(f, 5, 0), EINVAL);
	refuses(memp_fprefetch(NULL, 0, 1), EINVAL);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_prefetch_of_an_odd_last_page_ends_in_zeros(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f;
	uint8_t data[2 * PS + 100], *page;

	memset(data, 'o', sizeof(data));
	t_write_file(t_path(t, "f"), data, sizeof(data));
	f = file_with(mp, "f", DB_ODDFILESIZE, PS);
	for (unsigned i = 0; i < 3; i++) /* pages that had other bytes before */
		must(memp_ftruncate(f, (off_t)sizeof(data)));
	must(memp_fprefetch(f, 0, 3));
	assert_int_equal(stat_of(mp).st_prefetch, 3);
	page = get(f, 2, 0);
	assert_int_equal(others(page, 100, 'o'), 0);
	assert_int_equal(others(page + 100, PS - 100, 0), 0);
	put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_prefetch_that_cannot_read_is_0_and_leaves_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 20, PS, 1);
	f = file_of(mp, "f", PS);
	t_fault_always(OS_PREAD, EIO);
	must(memp_fprefetch(f, 0, 20));
	assert_true(t_fault_off());
	assert_int_equal(stat_of(mp).st_page_in, 0);
	at_rest(mp);
	t_fault_always(OS_PREAD, EIO);
	refuses(get_error(f, 4, 0), EIO);
	assert_true(t_fault_off());
	holds(f, 4, 5);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_prefetch_of_more_than_the_pool_holds_is_0_and_spares_what_is_pinned(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page[8];

	write_pages(t_path(t, "f"), 200, PS, 1);
	f = file_of(mp, "f", PS);
	for (db_pgno_t n = 0; n < 8; n++)
		(page[n] = get(f, n, 0))[0] = 'p'; /* not said: lost if the page goes */
	must(memp_fprefetch(f, 0, 200));
	for (db_pgno_t n = 0; n < 8; n++) {
		assert_int_equal(page[n][0], 'p');
		put(f, page[n], 0);
	}
	assert_true(stat_of(mp).st_prefetch > 0);
	for (db_pgno_t n = 8; n < 200; n++)
		holds(f, n, 1 + (int)n);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_prefetch_in_a_pool_full_of_pins_is_0(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page[32];

	write_pages(t_path(t, "f"), 64, PS, 1);
	f = file_of(mp, "f", PS);
	for (db_pgno_t n = 0; n < 32; n++)
		page[n] = get(f, n, 0);
	must(memp_fprefetch(f, 32, 32));
	assert_int_equal(stat_of(mp).st_prefetch, 0);
	for (db_pgno_t n = 0; n < 32; n++)
		put(f, page[n], 0);
	must(memp_fprefetch(f, 32, 32));
	assert_true(stat_of(mp).st_prefetch > 0);
	must(memp_fclose(f));
	finish(mp);
}

static unsigned pgins;

static int
counts_pgin(db_pgno_t pgno, void *page, DBT *cookie)
{
	uint8_t *bytes = page;

	(void)cookie;
	pgins++;
	if (pgno == 3)
		return ERANGE;
	bytes[PS - 1] = 'i';
	return 0;
}

static void
mpool_prefetch_calls_pgin_for_each_page_and_leaves_out_those_it_refuses(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = NULL;
	uint8_t *page;

	write_pages(t_path(t, "f"), 6, PS, 1);
	must(memp_register(mp, 5, counts_pgin, NULL));
	must(memp_fopen(mp, "f", 5, 0, 0, PS, -1, NULL, NULL, &f));
	pgins = 0;
	must(memp_fprefetch(f, 0, 6));
	assert_int_equal(pgins, 6);
	assert_int_equal(stat_of(mp).st_prefetch, 5);
	page = get(f, 5, 0);
	assert_int_equal(page[0], 6);
	assert_int_equal(page[PS - 1], 'i');
	put(f, page, 0);
	assert_int_equal(pgins, 6);
	refuses(get_error(f, 3, 0), ERANGE);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_prefetch_without_the_registered_type_reads_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = NULL;

	write_pages(t_path(t, "f"), 6, PS, 1);
	must(memp_fopen(mp, "f", 5, 0, 0, PS, -1, NULL, NULL, &f));
	(void)memp_fprefetch(f, 0, 6);
	assert_int_equal(stat_of(mp).st_page_in, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_prefetch_of_a_temporary_file_brings_back_what_was_written(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, NULL, PS);

	must(memp_fprefetch(f, 0, 10));
	for (db_pgno_t n = 0; n < 100; n++)
		fill(f, n, 1 + (int)n);
	for (db_pgno_t n = 0; n < 100; n += 10) {
		must(memp_fprefetch(f, n, 10));
		for (db_pgno_t i = n; i < n + 10; i++)
			holds(f, i, 1 + (int)i);
	}
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_prefetch_reads_missing_pages_in_large_requests_and_pins_nothing),
		t_test(mpool_prefetch_leaves_pages_that_are_there_as_they_are),
		t_test(mpool_prefetch_beyond_the_end_reads_nothing_and_moves_nothing),
		t_test(mpool_prefetch_of_an_odd_last_page_ends_in_zeros),
		t_test(mpool_prefetch_that_cannot_read_is_0_and_leaves_nothing),
		t_test(mpool_prefetch_of_more_than_the_pool_holds_is_0_and_spares_what_is_pinned),
		t_test(mpool_prefetch_in_a_pool_full_of_pins_is_0),
		t_test(mpool_prefetch_calls_pgin_for_each_page_and_leaves_out_those_it_refuses),
		t_test(mpool_prefetch_without_the_registered_type_reads_nothing),
		t_test(mpool_prefetch_of_a_temporary_file_brings_back_what_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
