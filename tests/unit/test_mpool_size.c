/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: pages of several sizes in one pool.  Extents change hands between page sizes while
 * other pages are pinned; nothing that was remembered of smaller pages is used for larger ones;
 * and whatever the mix, each page holds what was put into it.
 */
#include "pool_t.h"

#define SHIFTS 8 /* 512 << 0 .. 512 << 7 */

static size_t
size_at(unsigned k)
{
	return (size_t)512 << k;
}

/* The largest page that a pool of so many bytes has room for, as its fopen says. */
static unsigned
shifts_of(DB_MPOOL *mp)
{
	DB_MPOOLFILE *f;
	unsigned k;

	for (k = 0; k < SHIFTS; k++) {
		if (memp_fopen(mp, "probe", 0, DB_CREATE, 0600, size_at(k), -1, NULL, NULL, &f) !=
		    0)
			break;
		must(memp_fclose(f));
	}
	return k;
}

static void
open_sizes(DB_MPOOL *mp, DB_MPOOLFILE *f[], unsigned n)
{
	char name[16];

	for (unsigned k = 0; k < n; k++) {
		(void)snprintf(name, sizeof(name), "f%zu", size_at(k));
		f[k] = file_of(mp, name, size_at(k));
	}
}

static void
close_sizes(DB_MPOOLFILE *f[], unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		must(memp_fclose(f[k]));
}

static void
mpool_pages_larger_than_an_extent_are_refused_with_a_sentence(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *untouched = (DB_MPOOLFILE *)mp, *f = untouched;

	for (unsigned k = 5; k < SHIFTS; k++) {
		quiet();
		refuses(
		    memp_fopen(mp, "f", 0, DB_CREATE, 0, size_at(k), -1, NULL, NULL, &f), EINVAL);
		assert_int_equal(sentences, 1);
		assert_non_null(strstr(heard, "too small"));
		assert_ptr_equal(f, untouched);
	}
	f = file_of(mp, "f", 8 * KIB);
	fill(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

/* Each size in turn fills the pool several times over, then all of it is read again. */
static void
serve_all_sizes(struct t *t, size_t bytes, unsigned wanted)
{
	DB_MPOOL *mp = pool_of(t, bytes);
	unsigned n = shifts_of(mp);
	DB_MPOOLFILE *f[SHIFTS];
	DB_MPOOL_STAT s;

	assert_int_equal(n, wanted);
	open_sizes(mp, f, n);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned k = 0; k < n; k++)
			for (db_pgno_t p = 0; p * size_at(k) < 2 * bytes; p++)
				fill(f[k], p, 1 + (int)((p + k + round) % 250));
	for (unsigned k = n; k-- > 0;)
		for (db_pgno_t p = 0; p * size_at(k) < 2 * bytes; p++)
			holds(f[k], p, 1 + (int)((p + k + 1) % 250));
	at_rest(mp);
	must(memp_sync(mp, NULL));
	s = stat_of(mp);
	assert_int_equal(s.st_page_dirty, 0);
	assert_true(s.st_cachesize <= bytes + bytes / 4);
	close_sizes(f, n);
	finish(mp);
	for (unsigned k = 0; k < n; k++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%zu", size_at(k));
		assert_int_equal(disk_length(t_path(t, name)), 2 * bytes);
		assert_true(
		    on_disk(t_path(t, name), size_at(k), size_at(k), 1 + (int)((1 + k + 1) % 250)));
	}
}

static void
mpool_of_20_kib_serves_pages_of_512_bytes_to_8_kib(void **state)
{
	serve_all_sizes(*state, 20 * KIB, 5);
}

static void
mpool_of_128_kib_serves_pages_of_all_sizes(void **state)
{
	serve_all_sizes(*state, 128 * KIB, SHIFTS);
}

static void
mpool_of_1_mib_serves_pages_of_all_sizes(void **state)
{
	serve_all_sizes(*state, 1024 * KIB, SHIFTS);
}

static void
mpool_extent_changes_hands_while_pages_in_others_are_pinned(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", 4096), *g = file_of(mp, "g", 512);
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE), *small;

	memset(page, 'p', 4096);
	for (db_pgno_t n = 1; n < 20; n++)
		fill(f, n, 1 + (int)n); /* every extent holds pages of 4096 bytes now */
	for (db_pgno_t n = 0; n < 40; n++)
		fill(g, n, 100 + (int)n); /* and some of 512 after this */
	small = get(g, 39, 0);
	for (db_pgno_t n = 1; n < 20; n++)
		holds(f, n, 1 + (int)n);
	assert_int_equal(others(page, 4096, 'p'), 0);
	assert_int_equal(others(small, 512, 139), 0);
	assert_ptr_equal(get(f, 0, 0), page);
	put(f, page, 0);
	put(f, page, DB_MPOOL_DIRTY);
	put(g, small, 0);
	for (db_pgno_t n = 0; n < 40; n++)
		holds(g, n, 100 + (int)n);
	holds(f, 0, 'p');
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_page_of_another_size_is_enomem_while_each_extent_has_a_pin(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", 4096), *g = file_of(mp, "g", 512);
	uint8_t *page[6];

	for (db_pgno_t n = 0; n < 6; n++)
		page[n] = get(f, n, DB_MPOOL_CREATE);
	quiet();
	refuses(get_error(g, 0, DB_MPOOL_CREATE), ENOMEM);
	assert_int_equal(sentences, 1);
	assert_int_equal(length_of(g), 0);
	for (db_pgno_t n = 0; n < 6; n++)
		put(f, page[n], 0);
	fill(g, 0, 'g');
	holds(g, 0, 'g');
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

/* Pin pages until there is no room: they are aligned, lie in the pool, and do not overlap. */
static void
pin_all(DB_MPOOL *mp, DB_MPOOLFILE *f, size_t size)
{
	enum { MOST = 300 };
	uint8_t *page[MOST], *lowest = NULL, *highest = NULL;
	unsigned n = 0;
	void *addr;
	int ret;

	for (db_pgno_t p = 0; n < MOST; p++) {
		if ((ret = memp_fget(f, &p, DB_MPOOL_CREATE, &addr)) != 0)
			break;
		page[n] = addr;
		memset(page[n], 1 + (int)(n % 250), size);
		assert_int_equal((uintptr_t)addr % (size < 4096 ? size : 4096), 0);
		lowest = lowest == NULL || page[n] < lowest ? page[n] : lowest;
		highest = page[n] > highest ? page[n] : highest;
		n++;
	}
	assert_in_range(n, 2, MOST - 1);
	assert_in_range((size_t)(highest - lowest) + size, n * size, stat_of(mp).st_cachesize);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(others(page[i], size, 1 + (int)(i % 250)), 0);
	for (unsigned i = 0; i < n; i++)
		put(f, page[i], DB_MPOOL_DIRTY);
	for (unsigned i = 0; i < n; i++)
		holds(f, i, 1 + (int)(i % 250));
}

static void
mpool_frames_remembered_from_smaller_pages_are_not_used_for_larger_ones(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f[SHIFTS];
	const unsigned n = 5;

	open_sizes(mp, f, n);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned k = 0; k < n; k++) {
			unsigned from = (k + round) % n, to = (k * 3 + round + 1) % n;

			/* many frames of this size are freed at once, and remembered as free */
			for (db_pgno_t p = 0; p * size_at(from) < 24 * KIB; p++)
				fill(f[from], p, 'x');
			must(memp_ftruncate(f[from], 0));
			pin_all(mp, f[to], size_at(to));
			must(memp_ftruncate(f[to], 0));
			at_rest(mp);
		}
	close_sizes(f, n);
	finish(mp);
}

/* Pages of all sizes at random against a model of what each must hold. */
static void
mix(struct t *t, size_t bytes, unsigned seed, unsigned steps)
{
	enum { PAGES = 48 };
	static uint8_t model[SHIFTS][PAGES];
	DB_MPOOL *mp = pool_of(t, bytes);
	unsigned n = shifts_of(mp);
	DB_MPOOLFILE *f[SHIFTS];

	print_message("# seed %u\n", seed);
	open_sizes(mp, f, n);
	for (unsigned k = 0; k < n; k++)
		must(memp_ftruncate(f[k], 0)); /* of the mix before */
	memset(model, 0, sizeof(model));
	for (unsigned i = 0; i < steps; i++) {
		unsigned k = (unsigned)rand_r(&seed) % n, what = (unsigned)rand_r(&seed) % 100;
		db_pgno_t p = (db_pgno_t)rand_r(&seed) % PAGES;

		if (what < 50)
			fill(f[k], p, model[k][p] = (uint8_t)(1 + what));
		else if ((uint64_t)p * size_at(k) < length_of(f[k]))
			holds(f[k], p, model[k][p]);
		if (what == 99) {
			must(memp_ftruncate(f[k], (off_t)(p * size_at(k))));
			memset(&model[k][p], 0, PAGES - p);
		} else if (what == 98)
			must(memp_fsync(f[k]));
		else if (what == 97)
			must(memp_fprefetch(f[k], p, 8));
	}
	at_rest(mp);
	must(memp_sync(mp, NULL));
	close_sizes(f, n);
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));
}

static void
mpool_pages_of_all_sizes_at_random_hold_what_was_put(void **state)
{
	mix(*state, 20 * KIB, 11, 8000);
	mix(*state, 128 * KIB, 12, 8000);
	mix(*state, 1024 * KIB, 13, 8000);
}

#define LARGE ((size_t)64 << 20) /* from here on a pool is made for one page size */

/* Read as many pages of 512 bytes as the pool is large; how many are there then? */
static uint64_t
filled_with_small_pages(struct t *t, DB_MPOOL *mp)
{
	DB_MPOOLFILE *f = sparse_file(t, mp, "f", LARGE / 512, 512);
	uint64_t n;

	for (db_pgno_t p = 0; p < LARGE / 512; p++)
		put(f, get(f, p, 0), 0);
	n = resident(mp);
	must(memp_fclose(f));
	return n;
}

static void
mpool_made_for_small_pages_is_filled_by_them(void **state)
{
	DB_MPOOL *mp = pool_for_pages(*state, LARGE, 512);

	assert_int_equal(filled_with_small_pages(*state, mp), LARGE / 512);
	finish(mp);
}

/* The tables are full before the memory is: no page is lost, and no way becomes long. */
static void
mpool_made_for_larger_pages_serves_small_ones(void **state)
{
	DB_MPOOL *mp = pool_for_pages(*state, LARGE, 0);
	uint64_t n = filled_with_small_pages(*state, mp);
	DB_MPOOL_STAT s = stat_of(mp);

	assert_true(n > LARGE / 4096 && n < LARGE / 512);
	assert_true(s.st_hash_examined <= 2 * (s.st_cache_hit + s.st_cache_miss));
	assert_int_equal(s.st_hash_longest, 3); /* both buckets, and the overflow area */
	finish(mp);
}

static void
mpool_of_impossible_pages_is_refused_with_a_sentence(void **state)
{
	static const size_t wrong[] = { 1, 256, 513, 131072 };
	DB_MPOOL *mp = NULL;

	for (unsigned i = 0; i < 4; i++) {
		DB_ENV *env = env_of(*state, LARGE);

		env->mp_pagesize = wrong[i];
		refuses(memp_open(NULL, DB_CREATE, 0, env, &mp), EINVAL);
		assert_non_null(strstr(heard, "power of two"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_pages_larger_than_an_extent_are_refused_with_a_sentence),
		t_test(mpool_of_20_kib_serves_pages_of_512_bytes_to_8_kib),
		t_test(mpool_of_128_kib_serves_pages_of_all_sizes),
		t_test(mpool_of_1_mib_serves_pages_of_all_sizes),
		t_test(mpool_extent_changes_hands_while_pages_in_others_are_pinned),
		t_test(mpool_page_of_another_size_is_enomem_while_each_extent_has_a_pin),
		t_test(mpool_frames_remembered_from_smaller_pages_are_not_used_for_larger_ones),
		t_test(mpool_pages_of_all_sizes_at_random_hold_what_was_put),
		t_test(mpool_made_for_small_pages_is_filled_by_them),
		t_test(mpool_made_for_larger_pages_serves_small_ones),
		t_test(mpool_of_impossible_pages_is_refused_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
