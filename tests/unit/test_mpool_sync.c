/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: writing on request: memp_fsync, memp_sync with and without a log, memp_trickle, the
 * mount's fsync; what failing system calls leave, and what they tell whom.
 */
#include "pool_t.h"

#define PS 1024u

static unsigned calls[OS_CALLS]; /* seen by count_calls */

static int
count_calls(enum os_call call, const char *what)
{
	(void)what;
	calls[call]++;
	return 0;
}

static void
count_begin(void)
{
	memset(calls, 0, sizeof(calls));
	os_fault_hook = count_calls;
}

static void
count_end(void)
{
	os_fault_hook = NULL;
}

static void
mpool_fsync_writes_the_dirty_pages_and_syncs(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "g", PS);

	for (db_pgno_t n = 0; n < 10; n++)
		fill(f, n, 'a' + (int)n);
	fill(g, 0, 'g');
	count_begin();
	must(memp_fsync(f));
	count_end();
	assert_int_equal(calls[OS_FSYNC], 1);
	for (unsigned n = 0; n < 10; n++)
		assert_true(on_disk(t_path(t, "f"), n * PS, PS, 'a' + (int)n));
	assert_int_equal(disk_length(t_path(t, "g")), 0);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	assert_int_equal(stat_of(mp).st_page_clean, 10);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
sync_calls_fsync(DB_MPOOL *mp, unsigned times)
{
	count_begin();
	must(memp_sync(mp, NULL));
	count_end();
	assert_int_equal(calls[OS_FSYNC], times);
}

static int
fails_fsync(enum os_call call, const char *what)
{
	(void)what;
	return call == OS_FSYNC ? EIO : 0;
}

/* More files than the table has rows: some were written, but not synced, and nobody knows them. */
static void
mpool_sync_covers_files_that_have_left_the_table(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	char name[20];

	for (unsigned i = 0; i < 70; i++) {
		DB_MPOOLFILE *f;

		(void)snprintf(name, sizeof(name), "f%u", i);
		f = file_of(mp, name, PS);
		fill(f, 0, 'x');
		must(memp_fclose(f));
	}
	assert_true(stat_of(mp).st_files < 70);
	/* one call for each file that is known, and one for all others */
	quiet();
	os_fault_hook = fails_fsync;
	refuses(memp_sync(mp, NULL), EIO);
	os_fault_hook = NULL;
	sync_calls_fsync(mp, (unsigned)stat_of(mp).st_files + 1);
	sync_calls_fsync(mp, 0);
	finish(mp);
}

static int
writes_without_syncing(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 64 * KIB);
	DB_MPOOLFILE *f;
	int n;

	must(memp_register(mp, 1, NULL, NULL));
	f = file_of_type(mp, "f", 1, PS);
	fill(f, 0, 'x');
	must(memp_trickle(mp, 100, &n));
	t_check(n == 1);
	t_tell(c, 'w');
	t_await(c, 'g');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_sync_covers_files_that_only_others_may_write(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	struct t_child c;

	t_fork(&c, writes_without_syncing, *state);
	t_await(&c, 'w');
	sync_calls_fsync(mp, 1);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	finish(mp);
}

static void
mpool_file_sync_of_a_reader_brings_the_length_to_disk(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (int write_only = 0; write_only < 2; write_only++) {
		uint8_t *page;
		db_pgno_t n = new_page(f, &page);

		put(f, page, 0);
		must(memp_fclose(f));
		f = file_with(mp, "f", DB_RDONLY, PS);
		assert_int_equal(disk_length(t_path(t, "f")), n * PS);
		count_begin();
		must(mpool_file_sync(f, write_only));
		count_end();
		assert_int_equal(calls[OS_FSYNC], !write_only);
		assert_int_equal(disk_length(t_path(t, "f")), (n + 1) * PS);
		must(memp_fclose(f));
		f = file_of(mp, "f", PS);
	}
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_sync_makes_a_length_last_that_nothing_was_written_with(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	must(memp_ftruncate(f, 9 * PS));
	sync_calls_fsync(mp, 1);
	sync_calls_fsync(mp, 0);
	must(memp_ftruncate(f, 4 * PS));
	sync_calls_fsync(mp, 1);
	sync_calls_fsync(mp, 0);
	must(memp_fclose(f));
	finish(mp);
}

static uint32_t
closed_clean(const struct t *t, DB_MPOOL *mp)
{
	RLAYOUT rl;

	finish(mp);
	t_check(region_peek(t_path(t, REGION_NAME), &rl) == 0);
	return rl.clean;
}

static void
mpool_is_not_closed_clean_while_a_length_is_in_it_only(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	fill(f, 0, 'a');
	must(memp_fsync(f));
	(void)new_page(f, &page);
	put(f, page, 0);
	must(memp_fclose(f));
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	assert_int_equal(closed_clean(t, mp), 0);
	assert_int_equal(disk_length(t_path(t, "f")), PS);

	mp = pool_of(t, 64 * KIB);
	must(memp_sync(mp, NULL));
	assert_int_equal(disk_length(t_path(t, "f")), 2 * PS);
	assert_int_equal(closed_clean(t, mp), 1);
}

static void
mpool_fsync_joins_adjacent_pages_in_one_write(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (db_pgno_t n = 32; n-- > 0;)
		fill(f, n, 'a');
	count_begin();
	must(memp_fsync(f));
	count_end();
	assert_int_equal(calls[OS_PWRITE], 1);
	for (db_pgno_t n = 0; n < 32; n += 2)
		fill(f, n, 'b');
	count_begin();
	must(memp_fsync(f));
	count_end();
	assert_int_equal(calls[OS_PWRITE], 16);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fsync_writes_in_page_order(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	must(memp_ftruncate(f, 64 * PS));
	for (db_pgno_t n = 60; n > 0; n -= 2)
		fill(f, n, 'a');
	t_fault(OS_PWRITE, 11, EIO);
	refuses(memp_fsync(f), EIO);
	assert_true(t_fault_off());
	for (unsigned n = 1; n <= 10; n++)
		assert_true(on_disk(t_path(t, "f"), 2 * n * PS, PS, 'a'));
	assert_true(on_disk(t_path(t, "f"), 22 * PS, PS, 0));
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 22 * PS, PS, 'a'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fsync_with_a_pinned_dirty_page_is_incomplete_the_others_are_on_disk(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	for (db_pgno_t n = 0; n < 5; n++)
		fill(f, n, 'a' + (int)n);
	page = get(f, 2, 0);
	count_begin();
	refuses(memp_fsync(f), DB_INCOMPLETE);
	count_end();
	assert_int_equal(calls[OS_FSYNC], 1);
	for (unsigned n = 0; n < 5; n++)
		if (n != 2)
			assert_true(on_disk(t_path(t, "f"), n * PS, PS, 'a' + (int)n));
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	put(f, page, 0);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 2 * PS, PS, 'c'));
	page = get(f, 2, 0); /* pinned but clean */
	must(memp_fsync(f));
	put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fsync_of_read_only_and_temporary_files_is_0(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *r, *f = file_with(mp, NULL, 0, PS);

	write_pages(t_path(t, "r"), 1, PS, 'r');
	r = file_with(mp, "r", DB_RDONLY, PS);
	holds(r, 0, 'r');
	fill(f, 0, 'f');
	t_fault_always(T_FAULT_ANY, EIO);
	must(memp_fsync(r));
	must(memp_fsync(f));
	(void)t_fault_off();
	must(memp_fclose(r));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fsync_error_is_returned_once_and_the_next_fsync_calls_fsync_again(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'a');
	t_fault(OS_FSYNC, 1, EIO);
	refuses(memp_fsync(f), EIO);
	assert_true(t_fault_off());
	count_begin();
	must(memp_fsync(f));
	count_end();
	assert_int_equal(calls[OS_FSYNC], 1);
	must(memp_fclose(f));
	finish(mp);
}

/* S5 for one kind of call: whichever of them fails, nothing is lost and the next fsync is well. */
static void
fail_each(struct t *t, enum os_call kind)
{
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (unsigned n = 1;; n++) {
		bool struck;
		int ret;

		for (db_pgno_t i = 0; i < 20; i += 2)
			fill(f, i, (int)(n + i));
		t_fault(kind, n, EIO);
		ret = memp_fsync(f);
		struck = t_fault_off();
		assert_int_equal(stat_of(mp).st_pins, 0);
		at_rest(mp);
		for (db_pgno_t i = 0; i < 20; i += 2)
			holds(f, i, (int)(n + i));
		if (ret != 0)
			must(memp_fsync(f));
		for (db_pgno_t i = 0; i < 20; i += 2)
			assert_true(on_disk(t_path(t, "f"), i * PS, PS, (int)(n + i)));
		if (!struck) {
			must(ret);
			break;
		}
		assert_true(n < 200);
	}
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fsync_survives_every_failing_write(void **state)
{
	fail_each(*state, OS_PWRITE);
}

static void
mpool_fsync_survives_every_failing_fsync(void **state)
{
	fail_each(*state, OS_FSYNC);
}

static void
mpool_fsync_survives_every_failing_ftruncate(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	put(f, get(f, 9, DB_MPOOL_CREATE), 0);
	t_fault_always(OS_TRUNCATE, ENOSPC);
	refuses(memp_fsync(f), ENOSPC);
	assert_true(t_fault_off());
	assert_int_equal(length_of(f), 10 * PS);
	must(memp_fsync(f));
	assert_int_equal(disk_length(t_path(t, "f")), 10 * PS);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fsync_survives_every_failing_call(void **state)
{
	fail_each(*state, T_FAULT_ANY);
}

/* --- memp_sync ------------------------------------------------------------------------------- */

static void
mpool_sync_writes_all_dirty_pages_of_all_files_and_syncs_them(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "g", 2 * PS);

	fill(f, 3, 'f');
	fill(g, 1, 'g');
	must(memp_fclose(g));
	count_begin();
	must(memp_sync(mp, NULL));
	count_end();
	assert_int_equal(calls[OS_FSYNC], 2);
	assert_true(on_disk(t_path(t, "f"), 3 * PS, PS, 'f'));
	assert_true(on_disk(t_path(t, "g"), 2 * PS, 2 * PS, 'g'));
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_sync_with_a_pinned_dirty_page_is_incomplete(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	fill(f, 0, 'a');
	fill(f, 1, 'b');
	page = get(f, 0, 0);
	refuses(memp_sync(mp, NULL), DB_INCOMPLETE);
	assert_true(on_disk(t_path(t, "f"), PS, PS, 'b'));
	put(f, page, 0);
	must(memp_sync(mp, NULL));
	must(memp_fclose(f));
	finish(mp);
}

static int
syncs_all(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 64 * KIB);

	(void)c;
	must(memp_sync(mp, NULL));
	must(memp_close(mp));
	return 0;
}

static void
mpool_page_that_a_sync_could_not_write_is_written_by_whoever_comes_next(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct t_child c;
	uint8_t *page;

	fill(f, 0, 'a');
	page = get(f, 0, 0);
	refuses(memp_sync(mp, NULL), DB_INCOMPLETE);
	put(f, page, 0);
	t_fork(&c, syncs_all, t);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	must(memp_fclose(f));
	finish(mp);
}

/* What memp_sync fsyncs but does not write is synced too: written by eviction before. */
static void
mpool_sync_syncs_files_that_eviction_wrote(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (db_pgno_t n = 0; n < 50; n++)
		fill(f, n, 'a');
	must(memp_trickle(mp, 100, NULL));
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	count_begin();
	must(memp_sync(mp, NULL));
	must(memp_sync(mp, NULL));
	count_end();
	assert_int_equal(calls[OS_FSYNC], 1);
	must(memp_fclose(f));
	finish(mp);
}

/* --- memp_trickle ---------------------------------------------------------------------------- */

static void
mpool_trickle_percentage_is_1_to_100(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	int wrote = 77;

	refuses(memp_trickle(mp, 0, &wrote), EINVAL);
	refuses(memp_trickle(mp, -1, &wrote), EINVAL);
	refuses(memp_trickle(mp, 101, &wrote), EINVAL);
	assert_int_equal(wrote, 77);
	must(memp_trickle(mp, 1, &wrote));
	assert_int_equal(wrote, 0);
	finish(mp);
}

static void
mpool_trickle_writes_until_that_part_is_clean(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	int wrote;

	for (db_pgno_t n = 0; n < 40; n++)
		fill(f, n, 'a');
	must(memp_trickle(mp, 50, &wrote));
	assert_int_equal(wrote, 20);
	assert_int_equal(stat_of(mp).st_page_dirty, 20);
	assert_int_equal(stat_of(mp).st_page_trickle, 20);
	must(memp_trickle(mp, 50, &wrote));
	assert_int_equal(wrote, 0);
	must(memp_trickle(mp, 100, NULL));
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	assert_int_equal(stat_of(mp).st_page_trickle, 40);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_trickle_that_fails_writes_no_out_parameter(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	int wrote = 77;

	fill(f, 0, 'a');
	t_fault_always(OS_PWRITE, EIO);
	refuses(memp_trickle(mp, 100, &wrote), EIO);
	assert_true(t_fault_off());
	assert_int_equal(wrote, 77);
	holds(f, 0, 'a');
	(void)memp_fclose(f);
	finish(mp);
}

/* --- the mount's fsync ----------------------------------------------------------------------- */

static void
mpool_file_sync_writes_pinned_dirty_pages_which_stay_dirty(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	fill(f, 0, 'a');
	page = get(f, 0, 0);
	must(mpool_file_sync(f, false));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	memset(page, 'b', PS);
	put(f, page, 0);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'b'));
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_fsync_writes_the_dirty_pages_and_syncs),
		t_test(mpool_sync_makes_a_length_last_that_nothing_was_written_with),
		t_test(mpool_is_not_closed_clean_while_a_length_is_in_it_only),
		t_test(mpool_fsync_joins_adjacent_pages_in_one_write),
		t_test(mpool_fsync_writes_in_page_order),
		t_test(mpool_fsync_with_a_pinned_dirty_page_is_incomplete_the_others_are_on_disk),
		t_test(mpool_fsync_of_read_only_and_temporary_files_is_0),
		t_test(mpool_fsync_error_is_returned_once_and_the_next_fsync_calls_fsync_again),
		t_test(mpool_fsync_survives_every_failing_write),
		t_test(mpool_fsync_survives_every_failing_fsync),
		t_test(mpool_fsync_survives_every_failing_ftruncate),
		t_test(mpool_fsync_survives_every_failing_call),
		t_test(mpool_sync_writes_all_dirty_pages_of_all_files_and_syncs_them),
		t_test(mpool_sync_with_a_pinned_dirty_page_is_incomplete),
		t_test(mpool_page_that_a_sync_could_not_write_is_written_by_whoever_comes_next),
		t_test(mpool_sync_syncs_files_that_eviction_wrote),
		t_test(mpool_trickle_percentage_is_1_to_100),
		t_test(mpool_trickle_writes_until_that_part_is_clean),
		t_test(mpool_trickle_that_fails_writes_no_out_parameter),
		t_test(mpool_sync_covers_files_that_have_left_the_table),
		t_test(mpool_sync_covers_files_that_only_others_may_write),
		t_test(mpool_file_sync_of_a_reader_brings_the_length_to_disk),
		t_test(mpool_file_sync_writes_pinned_dirty_pages_which_stay_dirty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
