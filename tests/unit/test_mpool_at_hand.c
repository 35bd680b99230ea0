/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: many pages pinned and given back with one call each, as the mount does for a large
 * request, and pages that are replaced whole.
 */
#include "pool/mount.h"
#include "pool_t.h"

#define PS 512u
#define PAGES 300u /* more than a block has slots, several times */

static void
all_hold(void **pages, unsigned first, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(others(pages[i], PS, 1 + (int)((first + i) % 250)), 0);
}

static DB_MPOOLFILE *
filled_file(DB_MPOOL *mp, unsigned n)
{
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (db_pgno_t i = 0; i < n; i++)
		fill(f, i, 1 + (int)(i % 250));
	return f;
}

static void
mpool_at_hand_pins_all_that_is_there_and_counts_hits(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 1024 * KIB);
	DB_MPOOLFILE *f = filled_file(mp, PAGES);
	uint64_t hits = stat_of(mp).st_cache_hit;
	void *pages[PAGES], *more[PAGES];
	unsigned got = 0, n;

	/* slots come a block at a time: the call that has none left gets one with memp_fget */
	while (got < PAGES) {
		n = mpool_get_at_hand(f, got, PAGES - got, NULL, pages + got);
		got += n;
		if (got < PAGES) {
			pages[got] = get(f, got, 0);
			got++;
		}
	}
	all_hold(pages, 0, PAGES);
	assert_int_equal(stat_of(mp).st_pins, PAGES);
	assert_int_equal(stat_of(mp).st_cache_hit, hits + PAGES);
	mpool_put_all(f, pages, PAGES);
	assert_int_equal(stat_of(mp).st_pins, 0);
	/* now it has the blocks */
	assert_int_equal(mpool_get_at_hand(f, 3, PAGES - 3, NULL, more), PAGES - 3);
	all_hold(more, 3, PAGES - 3);
	assert_int_equal(stat_of(mp).st_pins, PAGES - 3);
	mpool_put_all(f, more, PAGES - 3);
	assert_int_equal(stat_of(mp).st_pins, 0);
	at_rest(mp);
	must(memp_fclose(f));
	finish(mp);
}

/* As the mount does for a request. */
static void
get_request(DB_MPOOLFILE *f, const struct mpool_fetched *fetched, void **pages, unsigned n)
{
	unsigned got = 0;

	while (got < n) {
		got += mpool_get_at_hand(f, got, n - got, fetched, pages + got);
		if (got == n)
			break;
		must(mpool_get(f, got, fetched, &pages[got]));
		got++;
	}
}

/* Of pages 0 to PAGES - 1, of which page 3 is there before. */
static void
fetched_pages_are_misses(struct t *t, u_int32_t policy)
{
	DB_ENV *env = env_of(t, 1024 * KIB);
	struct mpool_fetched fetched;
	void *pages[PAGES];
	DB_MPOOL_FSTAT fs;
	DB_MPOOL_STAT s;
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;

	env->policy = policy;
	mp = pool_with(env, 0);
	write_pages(t_path(t, "f"), PAGES, PS, 1);
	f = file_with(mp, "f", 0, PS);
	put(f, get(f, 3, 0), 0);
	must(mpool_fetch(f, 0, PAGES, &fetched));
	get_request(f, &fetched, pages, PAGES);
	mpool_put_all(f, pages, PAGES);
	s = stat_of(mp);
	assert_int_equal(s.st_cache_hit, 1);
	assert_int_equal(s.st_cache_miss, PAGES);
	assert_int_equal(s.st_page_in, PAGES);
	assert_int_equal(s.st_prefetch, 0);
	fs = fstat_of(mp, "/f");
	assert_int_equal(fs.st_cache_hit, 1);
	assert_int_equal(fs.st_cache_miss, PAGES);

	must(mpool_fetch(f, 0, PAGES, &fetched)); /* nothing is missing now */
	get_request(f, &fetched, pages, PAGES);
	mpool_put_all(f, pages, PAGES);
	assert_int_equal(stat_of(mp).st_cache_hit, 1 + PAGES);
	assert_int_equal(stat_of(mp).st_cache_miss, PAGES);
	must(memp_fclose(f));
	finish(mp);
	must(memp_unlink(NULL, 1, env_of(t, 0)));
}

static void
mpool_pages_fetched_for_a_request_are_misses_of_it(void **state)
{
	fetched_pages_are_misses(*state, DB_POLICY_LRU);
	fetched_pages_are_misses(*state, DB_POLICY_ADAPTIVE);
}

static void
mpool_pages_that_a_program_prefetched_are_hits(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f;
	DB_MPOOL_STAT s;

	write_pages(t_path(t, "f"), 20, PS, 1);
	f = file_with(mp, "f", 0, PS);
	must(memp_fprefetch(f, 0, 20));
	for (db_pgno_t n = 0; n < 20; n++)
		holds(f, n, 1 + (int)n);
	s = stat_of(mp);
	assert_int_equal(s.st_cache_hit, 20);
	assert_int_equal(s.st_cache_miss, 0);
	assert_int_equal(s.st_prefetch, 20);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_at_hand_ends_at_the_first_page_that_is_missing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f;
	void *pages[40];

	write_pages(t_path(t, "f"), 20, PS, 1);
	f = file_of(mp, "f", PS);
	assert_int_equal(mpool_get_at_hand(f, 0, 20, NULL, pages), 0);
	for (db_pgno_t n = 20; n-- > 0;) /* not in order, which would be read ahead of */
		if (n != 7)
			holds(f, n, 1 + (int)n);
	assert_int_equal(mpool_get_at_hand(f, 0, 20, NULL, pages), 7);
	all_hold(pages, 0, 7);
	mpool_put_all(f, pages, 7);
	assert_int_equal(mpool_get_at_hand(f, 7, 13, NULL, pages), 0);
	/* nor is there anything behind the end, or behind the last number that there is */
	assert_int_equal(mpool_get_at_hand(f, 8, 40, NULL, pages), 12);
	mpool_put_all(f, pages, 12);
	assert_int_equal(mpool_get_at_hand(f, UINT32_MAX, 40, NULL, pages), 0);
	assert_int_equal(stat_of(mp).st_pins, 0);
	assert_int_equal(stat_of(mp).st_cache_miss, 19);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_put_all_in_any_order_leaves_other_pins(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 256 * KIB);
	DB_MPOOLFILE *f = filled_file(mp, 60);
	void *pages[30], *turned[30];
	uint8_t *one = get(f, 40, 0), *two;

	assert_int_equal(mpool_get_at_hand(f, 0, 30, NULL, pages), 30);
	two = get(f, 5, 0); /* a second pin of one of them, newer */
	for (unsigned i = 0; i < 30; i++)
		turned[i] = pages[(i * 7) % 30];
	mpool_put_all(f, turned, 30);
	assert_int_equal(stat_of(mp).st_pins, 2);
	assert_int_equal(others(one, PS, 41), 0);
	put(f, two, 0);
	put(f, one, 0);
	assert_int_equal(stat_of(mp).st_pins, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_put_all_of_pages_set_dirty_keeps_the_change(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = filled_file(mp, 10);
	void *pages[10];

	must(memp_fsync(f));
	assert_int_equal(mpool_get_at_hand(f, 0, 10, NULL, pages), 10);
	memset(pages[9], 'z', PS);
	must(memp_fset(f, pages[9], DB_MPOOL_DIRTY));
	mpool_put_all(f, pages, 10);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 9 * PS, PS, 'z'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_put_all_dirty_keeps_every_change(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = filled_file(mp, 60);
	void *pages[30], *turned[30];
	uint8_t *one;

	must(memp_fsync(f));
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	one = get(f, 40, 0);
	for (unsigned round = 0; round < 2; round++) { /* clean pages, and such as are dirty */
		assert_int_equal(mpool_get_at_hand(f, 0, 30, NULL, pages), 30);
		for (unsigned i = 0; i < 30; i++) {
			memset(pages[i], 'a' + (int)round, PS);
			turned[i] = round == 0 ? pages[i] : pages[(i * 7) % 30];
		}
		must(mpool_put_all_dirty(f, turned, 30));
		assert_int_equal(stat_of(mp).st_page_dirty, 30);
		assert_int_equal(stat_of(mp).st_pins, 1);
	}
	put(f, one, 0);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, 30 * PS, 'b'));
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	at_rest(mp);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_put_all_dirty_of_a_file_open_for_reading_changes_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = filled_file(mp, 10), *reader;
	void *pages[10];

	must(memp_fsync(f));
	reader = file_with(mp, "f", DB_RDONLY, PS);
	for (db_pgno_t i = 0; i < 10; i++)
		holds(reader, i, 1 + (int)i);
	assert_int_equal(mpool_get_at_hand(reader, 0, 10, NULL, pages), 10);
	refuses(mpool_put_all_dirty(reader, pages, 10), EACCES);
	assert_int_equal(stat_of(mp).st_pins, 0);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	must(memp_fclose(reader));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_overwrite_of_a_page_at_hand_replaces_all_of_it(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = filled_file(mp, 10), *reader;
	uint8_t bytes[PS];

	must(memp_fsync(f));
	memset(bytes, 'n', sizeof(bytes));
	must(mpool_overwrite(f, 4, bytes));
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	assert_int_equal(stat_of(mp).st_pins, 0);
	holds(f, 4, 'n');
	holds(f, 5, 6);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 4 * PS, PS, 'n'));
	refuses(mpool_overwrite(f, 10, bytes), EINVAL);
	reader = file_with(mp, "f", DB_RDONLY, PS);
	holds(reader, 3, 4);
	refuses(mpool_overwrite(reader, 3, bytes), EACCES);
	holds(f, 3, 4);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	must(memp_fclose(reader));
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_at_hand_pins_all_that_is_there_and_counts_hits),
		t_test(mpool_pages_fetched_for_a_request_are_misses_of_it),
		t_test(mpool_pages_that_a_program_prefetched_are_hits),
		t_test(mpool_at_hand_ends_at_the_first_page_that_is_missing),
		t_test(mpool_put_all_in_any_order_leaves_other_pins),
		t_test(mpool_put_all_of_pages_set_dirty_keeps_the_change),
		t_test(mpool_put_all_dirty_keeps_every_change),
		t_test(mpool_put_all_dirty_of_a_file_open_for_reading_changes_nothing),
		t_test(mpool_overwrite_of_a_page_at_hand_replaces_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
