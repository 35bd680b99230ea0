/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: read-only files that are mapped instead of being copied into the pool.
 */
#include "../pool_t.h"

#define PS ((size_t)4096)
#define PAGES 8

/* A pool, and "f" with pages of 'a' + number. */
static DB_MPOOL *
pool_and_file(struct t *t)
{
	write_pages(t_path(t, "f"), PAGES, PS, 'a');
	return pool_of(t, 128 * KIB);
}

/* How many gets of pages of f came from a mapping, and that the pool took no part in those. */
static uint64_t
mapped(DB_MPOOL *mp)
{
	DB_MPOOL_STAT s = stat_of(mp);
	DB_MPOOL_FSTAT fs = fstat_of(mp, "/f");

	sums(&s);
	t_check(fs.st_map == s.st_map);
	return s.st_map;
}

static bool
maps(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	uint64_t before = mapped(mp);

	holds(f, 1, 'b');
	return mapped(mp) == before + 1;
}

static void
mpool_read_only_file_is_mapped_and_takes_no_room_in_the_pool(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_and_file(t);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_RDONLY, PS);
	DB_MPOOL_STAT s;
	db_pgno_t last = 0;
	void *page;

	for (db_pgno_t n = 0; n < PAGES; n++) {
		page = get(f, n, n % 2 ? 0 : DB_MPOOL_CREATE);
		assert_int_equal(others(page, PS, 'a' + (int)n), 0);
		assert_int_equal((uintptr_t)page % PS, 0);
		put(f, page, n == 0 ? DB_MPOOL_DISCARD : 0);
	}
	must(memp_fget(f, &last, DB_MPOOL_LAST, &page));
	assert_int_equal(last, PAGES - 1);
	put(f, page, 0);
	must(memp_fprefetch(f, 0, PAGES));
	must(memp_fsync(f));
	assert_int_equal(mapped(mp), PAGES + 1);
	s = stat_of(mp);
	assert_int_equal(s.st_page_in + s.st_cache_hit + s.st_cache_miss, 0);
	assert_int_equal(s.st_page_clean + s.st_page_dirty, 0);
	must(memp_fclose(f));
	assert_int_equal(mapped(mp), PAGES + 1);
	finish(mp);
}

static void
mpool_mapped_page_obeys_the_rules_of_pins(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_and_file(t);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_RDONLY, PS);
	uint8_t *page = get(f, 2, 0);

	assert_ptr_equal(get(f, 2, 0), page);
	refuses(memp_fset(f, page, DB_MPOOL_DIRTY), EACCES);
	refuses(memp_fset(f, page, 0), EINVAL);
	must(memp_fset(f, page, DB_MPOOL_DISCARD));
	refuses(memp_fput(f, page, DB_MPOOL_DIRTY), EACCES); /* and is put */
	refuses(memp_fput(f, page, DB_MPOOL_DIRTY | DB_MPOOL_CLEAN), EINVAL);
	refuses(memp_fput(f, page, 0), EINVAL);
	refuses(memp_fput(f, page + 512, 0), EINVAL);
	refuses(get_error(f, PAGES, 0), EINVAL);
	refuses(get_error(f, PAGES, DB_MPOOL_CREATE), EINVAL);
	refuses(get_error(f, 0, DB_MPOOL_NEW), EINVAL);
	refuses(get_error(f, 0, DB_MPOOL_CREATE | DB_MPOOL_LAST), EINVAL);
	for (unsigned i = 0; i < 65535; i++)
		(void)get(f, 3, 0);
	refuses(get_error(f, 3, 0), EAGAIN);
	(void)get(f, 4, 0);
	quiet();
	must(memp_fclose(f));
	assert_non_null(strstr(heard, "65536 pages pinned"));
	finish(mp);
}

static void
mpool_mapping_ends_when_somebody_opens_the_file_for_writing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_and_file(t);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_RDONLY, PS), *w;
	uint8_t *page;

	assert_true(maps(mp, f));
	page = get(f, 1, 0);
	w = file_with(mp, "f", 0, PS);
	assert_false(maps(mp, f));
	fill(w, 1, 'x');
	holds(f, 1, 'x'); /* one buffer for one page, for all who get it now */
	assert_int_equal(others(page, PS, 'b'), 0);
	put(f, page, 0);
	refuses(memp_fput(f, page, 0), EINVAL);
	must(memp_fclose(w));
	holds(f, 1, 'x');
	must(memp_fclose(f));
	f = file_with(mp, "f", DB_RDONLY, PS); /* the pool has pages of it */
	holds(f, 1, 'x');
	assert_int_equal(stat_of(mp).st_map, 2);
	must(memp_fclose(f));
	finish(mp);
}

/* Opens the file for writing and changes page 1. */
static int
writes(struct t_child *c, void *arg)
{
	struct t *t = arg;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", 0, PS);

	fill(f, 1, 'y');
	t_tell(c, 'w');
	t_await(c, 'g');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_mapping_ends_when_another_process_opens_the_file_for_writing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_and_file(t);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_RDONLY, PS);
	struct t_child c;

	assert_true(maps(mp, f));
	t_fork(&c, writes, t);
	t_await(&c, 'w');
	holds(f, 1, 'y');
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	holds(f, 1, 'y');
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_file_is_not_mapped_with_nommap_or_a_type_or_when_odd_or_too_large(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_and_file(t);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_RDONLY | DB_NOMMAP, PS);
	DB_ENV env;

	assert_false(maps(mp, f));
	must(memp_fclose(f));
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));

	mp = pool_with(env_of(t, 128 * KIB), DB_NOMMAP);
	f = file_with(mp, "f", DB_RDONLY, PS);
	assert_false(maps(mp, f));
	must(memp_fclose(f));
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));

	env = *env_of(t, 128 * KIB);
	env.mp_mmapsize = PAGES * PS - 1;
	mp = pool_with(&env, 0);
	f = file_with(mp, "f", DB_RDONLY, PS);
	assert_false(maps(mp, f));
	must(memp_fclose(f));
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));

	mp = pool_with(env_of(t, 128 * KIB), 0);
	must(memp_register(mp, 7, NULL, NULL));
	must(memp_fopen(mp, "f", 7, DB_RDONLY, 0, PS, -1, NULL, NULL, &f));
	assert_false(maps(mp, f));
	must(memp_fclose(f));
	write_pages(t_path(t, "odd"), PAGES, PS - 1, 'a');
	f = file_with(mp, "odd", DB_RDONLY | DB_ODDFILESIZE, PS);
	put(f, get(f, 0, 0), 0);
	assert_int_equal(stat_of(mp).st_map, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_file_that_is_in_the_pool_or_open_for_writing_is_not_mapped(void **state)
{
	DB_MPOOL *mp = pool_and_file(*state);
	DB_MPOOLFILE *w = file_of(mp, "f", PS), *f = file_with(mp, "f", DB_RDONLY, PS);

	assert_false(maps(mp, f)); /* open for writing; from now on it has a page in the pool */
	must(memp_fclose(f));
	must(memp_fclose(w));
	f = file_with(mp, "f", DB_RDONLY, PS);
	holds(f, 3, 'd'); /* another page than the one that is there */
	assert_int_equal(mapped(mp), 0);
	must(memp_fclose(f));
	w = file_of(mp, "f", PS);
	must(memp_ftruncate(w, 2 * PS)); /* page 1 stays: it is dropped by being discarded */
	put(w, get(w, 1, 0), DB_MPOOL_DISCARD);
	for (db_pgno_t n = 2; n < 60; n++)
		fill(w, n, 'z');
	must(memp_ftruncate(w, 2 * PS));
	must(memp_fsync(w));
	assert_int_equal(stat_of(mp).st_page_clean + stat_of(mp).st_page_dirty, 0);
	must(memp_fclose(w));
	f = file_with(mp, "f", DB_RDONLY, PS);
	assert_true(maps(mp, f)); /* now it is in nobody's way */
	must(memp_fclose(f));
	finish(mp);
}

/* 10 MiB, where nothing is said. */
static void
mpool_file_of_mp_mmapsize_bytes_is_mapped_and_one_page_more_is_not(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f;

	for (unsigned more = 0; more < 2; more++) {
		t_write_file(t_path(t, "f"), "", 0);
		assert_int_equal(truncate(t_path(t, "f"), (off_t)((10 << 20) + more * PS)), 0);
		f = file_with(mp, "f", DB_RDONLY, PS);
		holds(f, 2559, 0);
		assert_int_equal(mapped(mp), 1);
		must(memp_fclose(f));
	}
	finish(mp);
}

static void
mpool_file_that_cannot_be_mapped_is_read_into_the_pool(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_and_file(t);
	DB_MPOOLFILE *f;

	/* What the first open needs itself is there. */
	must(memp_fclose(file_with(mp, "f", DB_RDONLY, PS)));
	t_fault_always(OS_MAP, ENOMEM);
	f = file_with(mp, "f", DB_RDONLY, PS);
	assert_true(t_fault_off());
	assert_false(maps(mp, f));
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_read_only_file_is_mapped_and_takes_no_room_in_the_pool),
		t_test(mpool_mapped_page_obeys_the_rules_of_pins),
		t_test(mpool_mapping_ends_when_somebody_opens_the_file_for_writing),
		t_test(mpool_mapping_ends_when_another_process_opens_the_file_for_writing),
		t_test(mpool_file_is_not_mapped_with_nommap_or_a_type_or_when_odd_or_too_large),
		t_test(mpool_file_that_is_in_the_pool_or_open_for_writing_is_not_mapped),
		t_test(mpool_file_of_mp_mmapsize_bytes_is_mapped_and_one_page_more_is_not),
		t_test(mpool_file_that_cannot_be_mapped_is_read_into_the_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
