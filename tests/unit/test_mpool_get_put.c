/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: pinning a page and giving it back, by one thread of one process: the flags of
 * memp_fget, memp_fput and memp_fset, what failing calls leave alone, and where pins end.
 */
#include "pool_t.h"

#define PS 1024u

static void
mpool_fget_returns_the_page_of_the_file(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 10, PS, 'a');
	f = file_with(mp, "f", 0, PS);
	for (db_pgno_t n = 10; n-- > 0;)
		holds(f, n, 'a' + (int)n);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_more_than_one_flag_is_einval(void **state)
{
	static const unsigned long wrong[] = { DB_MPOOL_CREATE | DB_MPOOL_LAST,
		DB_MPOOL_CREATE | DB_MPOOL_NEW, DB_MPOOL_LAST | DB_MPOOL_NEW,
		DB_MPOOL_CREATE | DB_MPOOL_LAST | DB_MPOOL_NEW, DB_MPOOL_CLEAN, DB_MPOOL_DIRTY,
		DB_MPOOL_DISCARD, 0x40, 1ul << 40 };
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'x');
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		quiet();
		refuses(get_error(f, 0, wrong[i]), EINVAL);
		assert_int_equal(sentences, 1);
	}
	assert_int_equal(stat_of(mp).st_pins, 0);
	assert_int_equal(length_of(f), PS);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_past_end_without_create_is_einval(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	refuses(get_error(f, 0, 0), EINVAL);
	fill(f, 0, 'x');
	refuses(get_error(f, 1, 0), EINVAL);
	refuses(get_error(f, UINT32_MAX, 0), EINVAL);
	assert_int_equal(length_of(f), PS);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_last_of_an_empty_file_is_einval(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	refuses(get_error(f, 0, DB_MPOOL_LAST), EINVAL);
	assert_int_equal(length_of(f), 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_last_stores_the_number_of_the_last_page(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	db_pgno_t n = 77;
	void *page;

	write_pages(t_path(t, "f"), 3, PS, 'a');
	f = file_with(mp, "f", 0, PS);
	must(memp_fget(f, &n, DB_MPOOL_LAST, &page));
	assert_int_equal(n, 2);
	assert_int_equal(others(page, PS, 'c'), 0);
	put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_new_on_an_empty_file_is_page_0(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	assert_int_equal(new_page(f, &page), 0);
	assert_int_equal(others(page, PS, 0), 0);
	assert_int_equal(length_of(f), PS);
	put(f, page, 0);
	assert_int_equal(new_page(f, &page), 1);
	assert_int_equal(length_of(f), 2 * PS);
	put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_create_on_an_empty_file_is_zeros(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE);

	assert_int_equal(others(page, PS, 0), 0);
	put(f, page, 0);
	assert_int_equal(length_of(f), PS);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_create_beyond_the_end_leaves_a_hole_of_zeros(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 1, PS, 'a');
	f = file_with(mp, "f", 0, PS);
	fill(f, 9, 'z');
	assert_int_equal(length_of(f), 10 * PS);
	for (db_pgno_t n = 1; n < 9; n++)
		holds(f, n, 0);
	holds(f, 0, 'a');
	must(memp_fsync(f));
	assert_int_equal(disk_length(t_path(t, "f")), 10 * PS);
	assert_true(on_disk(t_path(t, "f"), PS, 8 * PS, 0));
	assert_true(on_disk(t_path(t, "f"), 9 * PS, PS, 'z'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_create_of_an_existing_page_reads_it(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_with(mp, "f", 0, PS);
	page = get(f, 1, DB_MPOOL_CREATE);
	assert_int_equal(others(page, PS, 'b'), 0);
	put(f, page, 0);
	assert_int_equal(stat_of(mp).st_page_create, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_that_would_grow_a_read_only_file_is_einval(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_with(mp, "f", DB_RDONLY | DB_NOMMAP, PS);
	refuses(get_error(f, 0, DB_MPOOL_NEW), EINVAL);
	refuses(get_error(f, 2, DB_MPOOL_CREATE), EINVAL);
	must(get_error(f, 1, DB_MPOOL_CREATE));
	assert_int_equal(length_of(f), 2 * PS);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_that_fails_writes_no_out_parameter(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	void *page = &mp;
	db_pgno_t n = 5;

	refuses(memp_fget(f, &n, 0, &page), EINVAL);
	refuses(memp_fget(f, &n, DB_MPOOL_LAST, &page), EINVAL);
	refuses(memp_fget(f, &n, DB_MPOOL_LAST | DB_MPOOL_NEW, &page), EINVAL);
	t_fault_always(OS_PREAD, EIO);
	must(memp_ftruncate(f, 8 * PS));
	refuses(memp_fget(f, &n, 0, &page), EIO);
	refuses(memp_fget(f, &n, DB_MPOOL_LAST, &page), EIO);
	assert_true(t_fault_off());
	assert_int_equal(n, 5);
	assert_ptr_equal(page, &mp);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_create_of_a_page_that_cannot_be_read_is_eio_and_no_page_of_zeros(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 3, PS, 'a');
	f = file_with(mp, "f", 0, PS);
	t_fault_always(OS_PREAD, EIO);
	refuses(get_error(f, 1, DB_MPOOL_CREATE), EIO);
	refuses(get_error(f, 1, DB_MPOOL_CREATE), EIO);
	assert_true(t_fault_off());
	assert_int_equal(resident(mp), 0);
	assert_int_equal(stat_of(mp).st_page_create, 0);
	assert_int_equal(length_of(f), 3 * PS);
	holds(f, 1, 'b');
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_page_address_is_aligned_to_the_page_size_up_to_4096(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 2048 * KIB);

	for (size_t ps = 512; ps <= 65536; ps *= 2) {
		char name[32];
		DB_MPOOLFILE *f;
		uint8_t *page;

		(void)snprintf(name, sizeof(name), "f%zu", ps);
		f = file_of(mp, name, ps);
		for (db_pgno_t n = 0; n < 3; n++) {
			page = get(f, n, DB_MPOOL_CREATE);
			assert_int_equal((uintptr_t)page % (ps < 4096 ? ps : 4096), 0);
			put(f, page, 0);
		}
		must(memp_fclose(f));
	}
	finish(mp);
}

/* --- put ------------------------------------------------------------------------------------- */

static void
mpool_fput_clean_and_dirty_together_is_einval_and_unpins(void **state)
{
	static const unsigned long wrong[] = { DB_MPOOL_CLEAN | DB_MPOOL_DIRTY,
		DB_MPOOL_CLEAN | DB_MPOOL_DIRTY | DB_MPOOL_DISCARD, DB_MPOOL_CREATE, 0x80 };
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint8_t *page = get(f, 0, DB_MPOOL_CREATE);

		quiet();
		refuses(memp_fput(f, page, wrong[i]), EINVAL);
		assert_int_equal(sentences, 1);
		assert_int_equal(stat_of(mp).st_pins, 0);
		assert_int_equal(stat_of(mp).st_page_dirty, 0);
	}
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fput_dirty_on_a_read_only_file_is_eacces_and_unpins(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 1, PS, 'a');
	f = file_with(mp, "f", DB_RDONLY | DB_NOMMAP, PS);
	page = get(f, 0, 0);
	refuses(memp_fset(f, page, DB_MPOOL_DIRTY), EACCES);
	assert_int_equal(stat_of(mp).st_pins, 1);
	refuses(memp_fput(f, page, DB_MPOOL_DIRTY), EACCES);
	assert_int_equal(stat_of(mp).st_pins, 0);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fput_of_what_is_not_pinned_is_einval(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "g", PS);
	uint8_t *a = get(f, 0, DB_MPOOL_CREATE), *b = get(f, 1, DB_MPOOL_CREATE), local[PS];

	put(f, b, 0);
	refuses(memp_fput(f, b, DB_MPOOL_DIRTY), EINVAL);
	refuses(memp_fput(f, a + 1, DB_MPOOL_DIRTY), EINVAL);
	refuses(memp_fput(f, local, DB_MPOOL_DIRTY), EINVAL);
	refuses(memp_fput(f, NULL, 0), EINVAL);
	refuses(memp_fput(f, (void *)UINTPTR_MAX, 0), EINVAL);
	refuses(memp_fput(g, a, DB_MPOOL_DIRTY), EINVAL);
	refuses(memp_fset(g, a, DB_MPOOL_DIRTY), EINVAL);
	refuses(memp_fset(f, b, DB_MPOOL_DIRTY), EINVAL);
	assert_int_equal(stat_of(mp).st_pins, 1);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	put(f, a, 0);
	refuses(memp_fput(f, a, 0), EINVAL);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_pins_of_two_handles_on_one_file_are_told_apart(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "f", PS);
	uint8_t *a = get(f, 0, DB_MPOOL_CREATE), *b;

	refuses(memp_fput(g, a, 0), EINVAL);
	b = get(g, 0, 0);
	assert_ptr_equal(a, b);
	assert_int_equal(stat_of(mp).st_pins, 2);
	put(f, a, 0);
	refuses(memp_fput(f, a, 0), EINVAL);
	put(g, b, 0);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_same_page_pinned_twice_is_put_twice(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *a = get(f, 0, DB_MPOOL_CREATE), *b = get(f, 0, 0);

	assert_ptr_equal(a, b);
	assert_int_equal(stat_of(mp).st_pins, 2);
	put(f, a, 0);
	assert_int_equal(stat_of(mp).st_pins, 1);
	put(f, b, 0);
	refuses(memp_fput(f, b, 0), EINVAL);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fset_without_flags_is_einval(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE);

	refuses(memp_fset(f, page, 0), EINVAL);
	refuses(memp_fset(f, page, DB_MPOOL_CLEAN | DB_MPOOL_DIRTY), EINVAL);
	assert_int_equal(stat_of(mp).st_pins, 1);
	put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fset_dirty_is_dirty_although_put_without_flags(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE);

	must(memp_fset(f, page, DB_MPOOL_DIRTY));
	memset(page, 'd', PS);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	put(f, page, 0);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'd'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fput_clean_undoes_what_this_pin_set_and_the_page_is_read_again(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 1, PS, 'a');
	f = file_with(mp, "f", 0, PS);
	page = get(f, 0, 0);
	must(memp_fset(f, page, DB_MPOOL_DIRTY));
	memset(page, 'x', PS);
	put(f, page, DB_MPOOL_CLEAN);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	holds(f, 0, 'a');
	assert_int_equal(stat_of(mp).st_page_in, 2);
	assert_int_equal(stat_of(mp).st_ro_evict, 1);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fset_clean_works_as_fput_clean(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 1, PS, 'a');
	f = file_with(mp, "f", 0, PS);
	page = get(f, 0, 0);
	must(memp_fset(f, page, DB_MPOOL_DIRTY));
	memset(page, 'x', PS);
	must(memp_fset(f, page, DB_MPOOL_CLEAN));
	put(f, page, 0);
	holds(f, 0, 'a');
	page = get(f, 0, 0);
	must(memp_fset(f, page, DB_MPOOL_DIRTY));
	must(memp_fset(f, page, DB_MPOOL_CLEAN));
	memset(page, 'y', PS);
	put(f, page, DB_MPOOL_DIRTY);
	holds(f, 0, 'y');
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fput_clean_keeps_what_somebody_else_put_dirty(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "f", PS);
	uint8_t *mine, *theirs;

	fill(f, 0, 'a'); /* dirty before */
	mine = get(f, 0, 0);
	must(memp_fset(f, mine, DB_MPOOL_DIRTY));
	put(f, mine, DB_MPOOL_CLEAN);
	holds(f, 0, 'a');
	must(memp_fsync(f));
	mine = get(f, 0, 0); /* dirtied by another meanwhile */
	must(memp_fset(f, mine, DB_MPOOL_DIRTY));
	theirs = get(g, 0, 0);
	memset(theirs, 'b', PS);
	put(g, theirs, DB_MPOOL_DIRTY);
	put(f, mine, DB_MPOOL_CLEAN);
	holds(f, 0, 'b');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'b'));
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_fput_clean_while_another_has_it_pinned_is_an_ordinary_put(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "f", PS);
	uint8_t *mine = get(f, 0, DB_MPOOL_CREATE), *theirs = get(g, 0, 0);

	must(memp_fset(f, mine, DB_MPOOL_DIRTY));
	put(f, mine, DB_MPOOL_CLEAN);
	memset(theirs, 'b', PS);
	put(g, theirs, DB_MPOOL_DIRTY);
	holds(f, 0, 'b');
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_fput_clean_without_fset_cleans_nothing(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	fill(f, 0, 'a');
	page = get(f, 0, 0);
	put(f, page, DB_MPOOL_CLEAN);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	holds(f, 0, 'a');
	page = get(f, 0, 0);
	must(memp_fset(f, page, DB_MPOOL_CLEAN));
	put(f, page, 0);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_pins_of_one_process_end_with_eagain_and_all_can_be_put(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	void *page = get(f, 0, DB_MPOOL_CREATE);
	db_pgno_t n = 0;
	unsigned pins;
	int ret = 0;

	for (pins = 1; pins <= 70000 && (ret = memp_fget(f, &n, 0, &page)) == 0;)
		pins++;
	assert_int_equal(ret, EAGAIN);
	assert_true(pins >= 1000);
	assert_int_equal(stat_of(mp).st_pins, pins);
	for (; pins > 0; pins--)
		put(f, page, 0);
	refuses(memp_fput(f, page, 0), EINVAL);
	holds(f, 0, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_65535_pins_of_one_page_are_the_most_and_the_next_is_eagain(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 64 * 1024 * KIB), DB_MPOOL_PRIVATE);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	void *page = get(f, 0, DB_MPOOL_CREATE), *none = NULL;
	db_pgno_t n = 0;
	uint64_t gets;

	for (unsigned pins = 1; pins < 65535; pins++)
		must(memp_fget(f, &n, 0, &page));
	quiet();
	gets = stat_of(mp).st_fget;
	refuses(memp_fget(f, &n, 0, &none), EAGAIN);
	assert_int_equal(stat_of(mp).st_fget, gets);
	assert_null(none);
	assert_non_null(strstr(heard, "65535 times"));
	assert_int_equal(stat_of(mp).st_pins, 65535);
	put(f, get(f, 1, DB_MPOOL_CREATE), 0); /* another page has its own pins */
	put(f, page, 0);
	must(memp_fget(f, &n, 0, &page));
	for (unsigned pins = 65535; pins > 0; pins--)
		put(f, page, 0);
	refuses(memp_fput(f, page, 0), EINVAL);
	must(memp_fclose(f));
	finish(mp);
}

/* A slot that is free in the thread's first block is no way around the count. */
static void
mpool_65536th_pin_of_one_page_is_eagain_where_an_old_slot_is_free(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 64 * 1024 * KIB), DB_MPOOL_PRIVATE);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	void *other = get(f, 1, DB_MPOOL_CREATE), *page = get(f, 0, DB_MPOOL_CREATE);
	db_pgno_t n = 0;

	for (unsigned pins = 1; pins < 65535; pins++)
		must(memp_fget(f, &n, 0, &page));
	put(f, other, 0);
	refuses(memp_fget(f, &n, 0, &page), EAGAIN);
	assert_int_equal(stat_of(mp).st_pins, 65535);
	for (unsigned pins = 65535; pins > 0; pins--)
		put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_null_arguments_are_einval(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	db_pgno_t n = 0;
	void *page;

	refuses(memp_fget(NULL, &n, DB_MPOOL_CREATE, &page), EINVAL);
	refuses(memp_fget(f, NULL, DB_MPOOL_CREATE, &page), EINVAL);
	refuses(memp_fget(f, &n, DB_MPOOL_CREATE, NULL), EINVAL);
	refuses(memp_fput(NULL, &n, 0), EINVAL);
	refuses(memp_fset(NULL, &n, DB_MPOOL_DIRTY), EINVAL);
	refuses(memp_fsync(NULL), EINVAL);
	refuses(memp_sync(NULL, NULL), EINVAL);
	refuses(memp_fsize(NULL, NULL), EINVAL);
	refuses(memp_fsize(f, NULL), EINVAL);
	refuses(memp_fprefetch(NULL, 0, 1), EINVAL);
	refuses(memp_trickle(NULL, 1, NULL), EINVAL);
	refuses(memp_stat(NULL, NULL, NULL, NULL), EINVAL);
	refuses(memp_reap(NULL), EINVAL);
	refuses(memp_register(NULL, 1, NULL, NULL), EINVAL);
	refuses(memp_fopen(mp, "f", 0, 0, 0, PS, -1, NULL, NULL, NULL), EINVAL);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_ftruncate_of_null_is_einval(void **state)
{
	(void)state;
	refuses(memp_ftruncate(NULL, 0), EINVAL);
}

/* What was set of a page whose handle was closed is nothing to the next page of that slot. */
static void
mpool_put_goes_by_what_was_set_of_that_page_alone(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "g", PS);
	uint8_t *page = get(g, 0, DB_MPOOL_CREATE), *left = get(f, 0, DB_MPOOL_CREATE);

	memset(page, 'g', PS);
	must(memp_fset(f, left, DB_MPOOL_DIRTY));
	must(memp_fset(f, left, DB_MPOOL_CLEAN));
	put(g, page, DB_MPOOL_DIRTY);
	quiet();
	must(memp_fclose(f));
	for (unsigned i = 0; i < 64; i++) {
		page = get(g, 1, DB_MPOOL_CREATE);
		holds(g, 0, 'g');
		put(g, page, 0);
	}
	holds(g, 0, 'g');
	must(memp_fclose(g));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_fget_returns_the_page_of_the_file),
		t_test(mpool_fget_more_than_one_flag_is_einval),
		t_test(mpool_fget_past_end_without_create_is_einval),
		t_test(mpool_fget_last_of_an_empty_file_is_einval),
		t_test(mpool_fget_last_stores_the_number_of_the_last_page),
		t_test(mpool_fget_new_on_an_empty_file_is_page_0),
		t_test(mpool_fget_create_on_an_empty_file_is_zeros),
		t_test(mpool_fget_create_beyond_the_end_leaves_a_hole_of_zeros),
		t_test(mpool_fget_create_of_an_existing_page_reads_it),
		t_test(mpool_fget_that_would_grow_a_read_only_file_is_einval),
		t_test(mpool_fget_that_fails_writes_no_out_parameter),
		t_test(mpool_fget_create_of_a_page_that_cannot_be_read_is_eio_and_no_page_of_zeros),
		t_test(mpool_page_address_is_aligned_to_the_page_size_up_to_4096),
		t_test(mpool_fput_clean_and_dirty_together_is_einval_and_unpins),
		t_test(mpool_fput_dirty_on_a_read_only_file_is_eacces_and_unpins),
		t_test(mpool_fput_of_what_is_not_pinned_is_einval),
		t_test(mpool_pins_of_two_handles_on_one_file_are_told_apart),
		t_test(mpool_same_page_pinned_twice_is_put_twice),
		t_test(mpool_fset_without_flags_is_einval),
		t_test(mpool_fset_dirty_is_dirty_although_put_without_flags),
		t_test(mpool_fput_clean_undoes_what_this_pin_set_and_the_page_is_read_again),
		t_test(mpool_fset_clean_works_as_fput_clean),
		t_test(mpool_fput_clean_keeps_what_somebody_else_put_dirty),
		t_test(mpool_fput_clean_while_another_has_it_pinned_is_an_ordinary_put),
		t_test(mpool_fput_clean_without_fset_cleans_nothing),
		t_test(mpool_pins_of_one_process_end_with_eagain_and_all_can_be_put),
		t_test(mpool_65535_pins_of_one_page_are_the_most_and_the_next_is_eagain),
		t_test(mpool_65536th_pin_of_one_page_is_eagain_where_an_old_slot_is_free),
		t_test(mpool_null_arguments_are_einval),
		t_test(mpool_ftruncate_of_null_is_einval),
		t_test(mpool_put_goes_by_what_was_set_of_that_page_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
