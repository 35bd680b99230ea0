/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: the length of a file, to the byte: what moves it and when the disk has it, bytes
 * behind the end, truncation with clean, dirty and pinned pages, the largest lengths.
 */
#include "pool_t.h"

#include "pool/file.h"

#define PS 512u

static void
mpool_length_moves_only_when_fget_succeeds(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	void *pages[64];
	db_pgno_t n;
	unsigned k;

	for (k = 0; n = k, memp_fget(f, &n, DB_MPOOL_CREATE, &pages[k]) == 0;)
		assert_true(++k < 64);
	assert_int_equal(length_of(f), k * PS);
	refuses(get_error(f, 1000, DB_MPOOL_CREATE), ENOMEM);
	refuses(get_error(f, 0, DB_MPOOL_NEW), ENOMEM);
	assert_int_equal(length_of(f), k * PS);
	while (k > 0)
		put(f, pages[--k], 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_length_is_on_disk_after_fsync_though_no_page_was_dirty(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	(void)new_page(f, &page);
	put(f, page, 0);
	assert_int_equal(disk_length(t_path(t, "f")), 0);
	must(memp_fsync(f));
	assert_int_equal(disk_length(t_path(t, "f")), PS);
	put(f, get(f, 7, DB_MPOOL_CREATE), 0);
	must(memp_sync(mp, NULL));
	assert_int_equal(disk_length(t_path(t, "f")), 8 * PS);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_new_follows_the_byte_length_rounded_up(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	db_pgno_t n;
	uint8_t *page;

	t_write_file(t_path(t, "f"), "0123456789", 10);
	f = file_with(mp, "f", DB_ODDFILESIZE, PS);
	assert_int_equal(length_of(f), 10);
	n = 99;
	must(memp_fget(f, &n, DB_MPOOL_LAST, (void **)&page));
	assert_int_equal(n, 0);
	assert_memory_equal(page, "0123456789", 10);
	assert_int_equal(others(page + 10, PS - 10, 0), 0);
	put(f, page, 0);
	assert_int_equal(new_page(f, &page), 1);
	put(f, page, 0);
	assert_int_equal(length_of(f), 2 * PS);
	must(memp_ftruncate(f, PS + 1));
	assert_int_equal(new_page(f, &page), 2);
	put(f, page, 0);
	assert_int_equal(length_of(f), 3 * PS);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_dirty_last_page_extends_the_length_without_oddfilesize(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_with(mp, "f", DB_ODDFILESIZE, PS);

	fill(f, 0, 'a');
	must(memp_ftruncate(g, 100));
	put(g, get(g, 0, 0), DB_MPOOL_DIRTY);
	assert_int_equal(length_of(g), 100);
	put(f, get(f, 0, 0), DB_MPOOL_DIRTY);
	assert_int_equal(length_of(g), PS);
	must(memp_fsync(f));
	assert_int_equal(disk_length(t_path(t, "f")), PS);
	assert_true(on_disk(t_path(t, "f"), 0, 100, 'a'));
	assert_true(on_disk(t_path(t, "f"), 100, PS - 100, 0));
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_bytes_behind_an_odd_end_are_never_written(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	t_write_file(t_path(t, "f"), "0123456789", 10);
	f = file_with(mp, "f", DB_ODDFILESIZE, PS);
	page = get(f, 0, 0);
	memset(page, 'x', PS);
	put(f, page, DB_MPOOL_DIRTY);
	must(memp_fsync(f));
	assert_int_equal(disk_length(t_path(t, "f")), 10);
	assert_true(on_disk(t_path(t, "f"), 0, 10, 'x'));
	must(memp_ftruncate(f, 2 * PS));
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 10, 2 * PS - 10, 0));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_bytes_behind_an_odd_end_are_zero_in_every_page_handed_out(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	t_write_file(t_path(t, "f"), "0123456789", 10);
	f = file_with(mp, "f", DB_ODDFILESIZE, PS);
	page = get(f, 0, 0);
	memset(page, 'x', PS);
	put(f, page, DB_MPOOL_DIRTY);
	page = get(f, 0, 0);
	assert_int_equal(others(page, 10, 'x'), 0);
	assert_int_equal(others(page + 10, PS - 10, 0), 0);
	put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_bytes_behind_an_odd_end_are_zero_when_the_file_grows(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	t_write_file(t_path(t, "f"), "0123456789", 10);
	f = file_with(mp, "f", DB_ODDFILESIZE, PS);
	page = get(f, 0, 0);
	memset(page, 'x', PS);
	put(f, page, DB_MPOOL_DIRTY);
	must(memp_ftruncate(f, 100));
	page = get(f, 0, 0);
	assert_int_equal(others(page + 10, PS - 10, 0), 0);
	put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

/* --- ftruncate ------------------------------------------------------------------------------- */

static void
mpool_ftruncate_down_drops_pages_changed_or_not(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 10, PS, 'a');
	f = file_of(mp, "f", PS);
	for (db_pgno_t n = 0; n < 10; n += 2)
		fill(f, n, 'A' + (int)n);
	holds(f, 9, 'j');
	must(memp_ftruncate(f, 3 * PS));
	assert_int_equal(disk_length(t_path(t, "f")), 3 * PS);
	assert_int_equal(length_of(f), 3 * PS);
	assert_int_equal(stat_of(mp).st_page_dirty, 2);
	at_rest(mp);
	refuses(get_error(f, 3, 0), EINVAL);
	must(memp_ftruncate(f, 10 * PS));
	for (db_pgno_t n = 3; n < 10; n++)
		holds(f, n, 0);
	holds(f, 2, 'C');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 3 * PS, 7 * PS, 0));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'A'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_ftruncate_up_is_a_hole_of_zeros_on_disk_at_once(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	must(memp_ftruncate(f, 100 * PS));
	assert_int_equal(disk_length(t_path(t, "f")), 100 * PS);
	holds(f, 99, 0);
	holds(f, 0, 0);
	refuses(get_error(f, 100, 0), EINVAL);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_ftruncate_zeros_the_rest_of_the_last_page(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_CREATE | DB_ODDFILESIZE, PS);
	uint8_t *page;

	fill(f, 0, 'a');
	fill(f, 1, 'b');
	must(memp_ftruncate(f, PS + 7));
	page = get(f, 1, 0);
	assert_int_equal(others(page, 7, 'b'), 0);
	assert_int_equal(others(page + 7, PS - 7, 0), 0);
	put(f, page, 0);
	must(memp_ftruncate(f, 2 * PS));
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), PS, 7, 'b'));
	assert_true(on_disk(t_path(t, "f"), PS + 7, PS - 7, 0));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_ftruncate_zeros_a_pinned_page_instead_of_dropping_it(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	fill(f, 0, 'a');
	fill(f, 5, 'b');
	page = get(f, 5, 0);
	must(memp_ftruncate(f, PS));
	assert_int_equal(others(page, PS, 0), 0);
	put(f, page, DB_MPOOL_DIRTY);
	must(memp_fsync(f));
	assert_int_equal(disk_length(t_path(t, "f")), PS);
	refuses(get_error(f, 5, 0), EINVAL);
	must(memp_fclose(f));
	finish(mp);
}

/* What is put into a page that was cut off is gone: the page that comes there later is zeros. */
static void
put_behind_the_end(const struct t *t, DB_MPOOL *mp, DB_MPOOLFILE *f, bool write)
{
	uint8_t *page;

	fill(f, 0, 'a');
	fill(f, 5, 'b');
	page = get(f, 5, 0);
	must(memp_ftruncate(f, PS));
	memset(page, 'x', PS);
	put(f, page, DB_MPOOL_DIRTY);
	if (write)
		must(memp_fsync(f));
	at_rest(mp);
	must(memp_ftruncate(f, 5 * PS));
	assert_int_equal(new_page(f, &page), 5);
	assert_int_equal(others(page, PS, 0), 0);
	put(f, page, 0);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), PS, 5 * PS, 0));
}

static void
mpool_page_put_dirty_behind_the_end_is_zeros_when_it_comes_back(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	put_behind_the_end(*state, mp, f, false);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_page_put_dirty_behind_the_end_and_synced_is_zeros_when_it_comes_back(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	put_behind_the_end(*state, mp, f, true);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_ftruncate_that_fails_changes_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (db_pgno_t n = 0; n < 4; n++)
		fill(f, n, 'a' + (int)n);
	must(memp_fsync(f));
	fill(f, 3, 'z');
	t_fault_always(OS_TRUNCATE, EIO);
	refuses(memp_ftruncate(f, PS), EIO);
	refuses(memp_ftruncate(f, 9 * PS), EIO);
	assert_true(t_fault_off());
	assert_int_equal(length_of(f), 4 * PS);
	assert_int_equal(disk_length(t_path(t, "f")), 4 * PS);
	holds(f, 2, 'c');
	holds(f, 3, 'z');
	must(memp_ftruncate(f, PS));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_ftruncate_up_that_fails_half_way_changes_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'a');
	must(memp_fsync(f));
	for (unsigned n = 1;; n++) {
		int ret;

		t_fault(OS_STAT, n, EIO);
		ret = memp_ftruncate(f, 9 * PS);
		if (!t_fault_off()) {
			must(ret);
			break;
		}
		assert_int_equal(length_of(f), ret == 0 ? 9 * PS : PS);
		assert_int_equal(disk_length(t_path(t, "f")), ret == 0 ? 9 * PS : PS);
		must(memp_ftruncate(f, PS));
	}
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_ftruncate_wrong_arguments(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *r = file_with(mp, "f", DB_RDONLY, PS);

	fill(f, 0, 'a');
	refuses(memp_ftruncate(f, -1), EINVAL);
	refuses(memp_ftruncate(f, -(off_t)PS), EINVAL);
	refuses(memp_ftruncate(f, 100), EINVAL);
	refuses(memp_ftruncate(r, 0), EACCES);
	refuses(memp_ftruncate(r, 4 * PS), EACCES);
	assert_int_equal(length_of(f), PS);
	must(memp_fclose(f));
	must(memp_fclose(r));
	finish(mp);
}

static void
mpool_ftruncate_of_a_temporary_file_works(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_with(mp, NULL, 0, PS);

	for (db_pgno_t n = 0; n < 200; n++)
		fill(f, n, 'a');
	must(memp_ftruncate(f, PS));
	must(memp_ftruncate(f, 200 * PS));
	holds(f, 0, 'a');
	for (db_pgno_t n = 1; n < 200; n++)
		holds(f, n, 0);
	must(memp_fclose(f));
	finish(mp);
}

/* --- the largest ----------------------------------------------------------------------------- */

#define PAGES_MOST ((off_t)1 << 32)

static void
mpool_last_page_number_is_2_to_the_32_less_1(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	db_pgno_t n = 0;
	void *page;

	put(f, get(f, UINT32_MAX, DB_MPOOL_CREATE), 0);
	assert_true(length_of(f) == (uint64_t)PAGES_MOST * PS);
	fill(f, UINT32_MAX, 'z');
	must(memp_fget(f, &n, DB_MPOOL_LAST, &page));
	assert_int_equal(n, UINT32_MAX);
	put(f, page, 0);
	refuses(get_error(f, 0, DB_MPOOL_NEW), EFBIG);
	must(memp_fsync(f));
	must(memp_ftruncate(f, 0));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_length_beyond_2_to_the_32_pages_is_efbig(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_CREATE | DB_ODDFILESIZE, PS);

	refuses(memp_ftruncate(f, PAGES_MOST * PS + 1), EFBIG);
	refuses(memp_ftruncate(f, INT64_MAX), EFBIG);
	assert_int_equal(length_of(f), 0);
	must(memp_ftruncate(f, PAGES_MOST * PS));
	holds(f, UINT32_MAX, 0);
	must(memp_ftruncate(f, 0));
	must(memp_fclose(f));
	finish(mp);
}

/* The page behind the end of the longest file was taken for page 0, and all pages were dropped. */
static void
mpool_longest_file_keeps_its_pages_when_a_byte_is_cut_off(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_CREATE | DB_ODDFILESIZE, PS);

	fill(f, 5, 'x');
	must(memp_ftruncate(f, PAGES_MOST * PS));
	must(memp_ftruncate(f, PAGES_MOST * PS - 1));
	holds(f, 5, 'x');
	must(memp_ftruncate(f, 0));
	must(memp_fclose(f));
	finish(mp);
}

/* As above, when what had been pinned behind an earlier end was cleared away. */
static void
mpool_longest_file_keeps_its_pages_when_what_was_behind_is_cleared(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	fill(f, 5, 'x');
	page = get(f, 9, DB_MPOOL_CREATE);
	must(memp_ftruncate(f, 6 * PS));
	must(memp_ftruncate(f, PAGES_MOST * PS));
	refuses(get_error(f, 0, DB_MPOOL_NEW), EFBIG);
	put(f, page, 0);
	holds(f, 5, 'x');
	must(memp_ftruncate(f, 0));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fopen_of_a_file_beyond_2_to_the_32_pages_is_efbig(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = NULL;

	t_write_file(t_path(t, "f"), "", 0);
	if (truncate(t_path(t, "f"), PAGES_MOST * PS + PS) != 0)
		t_skip("the filesystem has no files that long");
	refuses(memp_fopen(mp, "f", 0, 0, 0, PS, -1, NULL, NULL, &f), EFBIG);
	finish(mp);
}

static void
mpool_truncation_in_a_row_of_another_file_is_an_error_and_no_endless_wait(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint32_t id = f->file;

	fill(f, 1, 'a');
	f->row->trunc = UINT64_MAX;
	f->row->id = UINT32_MAX;
	refuses(memp_ftruncate(f, PS), EIO);
	refuses(memp_ftruncate(f, 9 * PS), EIO);
	refuses(get_error(f, 7, DB_MPOOL_CREATE), EIO);
	refuses(mpool_file_trim(f), EIO);
	refuses(mpool_file_extend(f, 9 * PS), EIO);
	f->row->trunc = 0;
	f->row->id = id;
	must(memp_ftruncate(f, PS));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_retract_that_fails_on_disk_changes_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 4, PS, 'a');
	f = file_of(mp, "f", PS);
	fill(f, 3, 'z');
	t_fault_always(OS_TRUNCATE, EIO);
	refuses(mpool_file_retract(f, (off_t)(4 * PS), (off_t)PS), EIO);
	assert_true(t_fault_off());
	assert_int_equal(length_of(f), 4 * PS);
	holds(f, 2, 'c');
	holds(f, 3, 'z');
	must(mpool_file_retract(f, (off_t)(3 * PS), (off_t)PS)); /* it is not so long: nothing */
	assert_int_equal(length_of(f), 4 * PS);
	must(mpool_file_retract(f, (off_t)(4 * PS), (off_t)PS));
	assert_int_equal(length_of(f), PS);
	refuses(get_error(f, 3, 0), EINVAL);
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_length_moves_only_when_fget_succeeds),
		t_test(mpool_length_is_on_disk_after_fsync_though_no_page_was_dirty),
		t_test(mpool_new_follows_the_byte_length_rounded_up),
		t_test(mpool_dirty_last_page_extends_the_length_without_oddfilesize),
		t_test(mpool_bytes_behind_an_odd_end_are_never_written),
		t_test(mpool_bytes_behind_an_odd_end_are_zero_in_every_page_handed_out),
		t_test(mpool_bytes_behind_an_odd_end_are_zero_when_the_file_grows),
		t_test(mpool_ftruncate_down_drops_pages_changed_or_not),
		t_test(mpool_ftruncate_up_is_a_hole_of_zeros_on_disk_at_once),
		t_test(mpool_ftruncate_zeros_the_rest_of_the_last_page),
		t_test(mpool_ftruncate_zeros_a_pinned_page_instead_of_dropping_it),
		t_test(mpool_page_put_dirty_behind_the_end_is_zeros_when_it_comes_back),
		t_test(mpool_page_put_dirty_behind_the_end_and_synced_is_zeros_when_it_comes_back),
		t_test(mpool_ftruncate_that_fails_changes_nothing),
		t_test(mpool_ftruncate_up_that_fails_half_way_changes_nothing),
		t_test(mpool_ftruncate_wrong_arguments),
		t_test(mpool_ftruncate_of_a_temporary_file_works),
		t_test(mpool_last_page_number_is_2_to_the_32_less_1),
		t_test(mpool_length_beyond_2_to_the_32_pages_is_efbig),
		t_test(mpool_longest_file_keeps_its_pages_when_a_byte_is_cut_off),
		t_test(mpool_longest_file_keeps_its_pages_when_what_was_behind_is_cleared),
		t_test(mpool_fopen_of_a_file_beyond_2_to_the_32_pages_is_efbig),
		t_test(mpool_truncation_in_a_row_of_another_file_is_an_error_and_no_endless_wait),
		t_test(mpool_retract_that_fails_on_disk_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
