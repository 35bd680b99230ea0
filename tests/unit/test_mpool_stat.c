/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: memp_stat.  Each counter after a few calls whose effect can be counted by hand; what
 * must add up, at rest and while other processes and threads work; whose memory it is.
 */
#include "pool_t.h"

#define PS 4096u

static void
mpool_stat_counts_hits_misses_creates_and_news(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f;
	DB_MPOOL_STAT s;
	DB_MPOOL_FSTAT fs;
	uint8_t *page;

	write_pages(t_path(t, "f"), 4, PS, 'a');
	f = file_of(mp, "f", PS);
	holds(f, 0, 'a');			 /* miss */
	holds(f, 0, 'a');			 /* hit */
	holds(f, 1, 'b');			 /* miss */
	put(f, get(f, 2, DB_MPOOL_CREATE), 0);	 /* miss: it is there */
	put(f, get(f, 6, DB_MPOOL_CREATE), 0);	 /* miss and create */
	put(f, get(f, 6, DB_MPOOL_CREATE), 0);	 /* hit */
	put(f, get(f, 9, DB_MPOOL_LAST), 0);	 /* hit of 6 */
	assert_int_equal(new_page(f, &page), 7); /* new */
	put(f, page, 0);
	s = stat_of(mp);
	assert_int_equal(s.st_cache_hit, 3);
	assert_int_equal(s.st_cache_miss, 4);
	assert_int_equal(s.st_map, 0);
	assert_int_equal(s.st_page_new, 1);
	assert_int_equal(s.st_fget, 8);
	assert_int_equal(s.st_page_create, 2);
	assert_int_equal(s.st_page_in, 3);
	assert_int_equal(s.st_read_bytes, 3 * PS);
	assert_int_equal(s.st_page_clean, 5);
	assert_int_equal(s.st_page_dirty + s.st_page_out + s.st_ro_evict + s.st_rw_evict, 0);
	fs = fstat_of(mp, "/f");
	assert_int_equal(fs.st_pagesize, PS);
	assert_int_equal(fs.st_cache_hit, 3);
	assert_int_equal(fs.st_cache_miss, 4);
	assert_int_equal(fs.st_page_create, 2);
	assert_int_equal(fs.st_page_in, 3);
	assert_int_equal(fs.st_length, 8 * PS);
	assert_int_equal(fs.st_page_resident, 5);
	assert_int_equal(fs.st_page_dirty, 0);
	assert_int_equal(fs.st_opens, 1);
	must(memp_fclose(f));
	fs = fstat_of(mp, "/f");
	assert_int_equal(fs.st_cache_hit, 3); /* they outlive the handle */
	assert_int_equal(fs.st_cache_miss, 4);
	assert_int_equal(fs.st_opens, 0);
	finish(mp);
}

static void
mpool_stat_counts_what_is_dirty_written_and_evicted(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	DB_MPOOL_STAT s;
	uint8_t *page;
	int wrote = 0;

	for (db_pgno_t n = 0; n < 8; n++)
		fill(f, n, 'a');
	fill(f, 0, 'b'); /* dirty already */
	s = stat_of(mp);
	assert_int_equal(s.st_page_dirty, 8);
	assert_int_equal(s.st_page_clean, 0);
	assert_int_equal(fstat_of(mp, "/f").st_page_dirty, 8);
	must(memp_trickle(mp, 25, &wrote));
	assert_int_equal(wrote, 2);
	s = stat_of(mp);
	assert_int_equal(s.st_page_trickle, 2);
	assert_int_equal(s.st_page_out, 2);
	assert_int_equal(s.st_page_dirty, 6);
	must(memp_fsync(f));
	s = stat_of(mp);
	assert_int_equal(s.st_page_out, 8);
	assert_int_equal(s.st_write_bytes, 8 * PS);
	assert_int_equal(s.st_page_dirty, 0);
	assert_int_equal(s.st_page_clean, 8);
	assert_int_equal(s.st_page_trickle, 2);
	page = get(f, 3, 0);
	must(memp_fset(f, page, DB_MPOOL_DIRTY));
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	put(f, page, DB_MPOOL_CLEAN); /* a page dropped by CLEAN is a ro_evict */
	s = stat_of(mp);
	assert_int_equal(s.st_ro_evict, 1);
	assert_int_equal(s.st_page_dirty, 0);
	assert_int_equal(s.st_page_clean, 7);
	fill(f, 7, 'z');
	must(memp_ftruncate(f, 2 * PS)); /* and so is one dropped by truncation, dirty or not */
	s = stat_of(mp);
	assert_int_equal(s.st_ro_evict, 6);
	assert_int_equal(s.st_rw_evict, 0);
	assert_int_equal(s.st_page_dirty, 0);
	assert_int_equal(s.st_page_clean, 2);
	assert_int_equal(unlink(t_path(t, "f")), 0);
	must(memp_fclose(f)); /* and by removal */
	s = stat_of(mp);
	assert_int_equal(s.st_ro_evict, 8);
	assert_int_equal(s.st_page_clean, 0);
	assert_int_equal(s.st_files, 0);
	finish(mp);
}

static void
mpool_stat_tells_pages_evicted_unwritten_from_those_written_for_it(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f;
	DB_MPOOL_STAT s;

	write_pages(t_path(t, "f"), 60, PS, 1);
	f = file_of(mp, "f", PS);
	for (db_pgno_t n = 0; n < 60; n++)
		holds(f, n, 1 + (int)n);
	s = stat_of(mp);
	assert_int_equal(s.st_ro_evict, 60 - s.st_page_clean);
	assert_int_equal(s.st_rw_evict + s.st_page_out, 0);
	for (db_pgno_t n = 0; n < 60; n++)
		fill(f, n, 100 + (int)n);
	s = stat_of(mp);
	assert_true(s.st_rw_evict > 40);
	assert_int_equal(s.st_page_out, 60 - s.st_page_dirty);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_stat_of_a_failed_read_is_as_before(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f;
	DB_MPOOL_STAT before, after;

	write_pages(t_path(t, "f"), 4, PS, 'a');
	f = file_of(mp, "f", PS);
	holds(f, 0, 'a');
	before = stat_of(mp);
	for (unsigned long flags = 0; flags <= DB_MPOOL_CREATE; flags++) {
		t_fault_always(OS_PREAD, EIO);
		refuses(get_error(f, 2, flags), EIO);
		assert_true(t_fault_off());
	}
	refuses(get_error(f, 4, 0), EINVAL);
	after = stat_of(mp);
	assert_true(after.st_hash_searches >= before.st_hash_searches);
	after.st_hash_searches = before.st_hash_searches;
	after.st_hash_examined = before.st_hash_examined;
	after.st_hash_longest = before.st_hash_longest;
	assert_memory_equal(&after, &before, sizeof(after));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_stat_hash_figures_fit_together(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	DB_MPOOL_STAT s;

	for (unsigned i = 0; i < 300; i++)
		fill(f, (i * 7) % 100, 1);
	s = stat_of(mp);
	assert_true(s.st_hash_buckets > 0);
	assert_true(s.st_hash_searches >= s.st_fget);
	assert_true(s.st_hash_examined >= s.st_hash_searches);
	assert_in_range(s.st_hash_longest, 1, s.st_hash_buckets + 1);
	must(memp_fclose(f));
	finish(mp);
}

static int
leaves_counts(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE);

	put(f, get(f, 0, 0), 0);
	t_tell(c, 'p');
	t_await(c, 'g');
	put(f, page, 0);
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_stat_counts_pins_and_clients_of_all_and_keeps_what_the_gone_have_counted(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	struct t_child c;
	DB_MPOOL_STAT s;

	t_fork(&c, leaves_counts, t);
	t_await(&c, 'p');
	s = stat_of(mp);
	assert_int_equal(s.st_pins, 1);
	assert_int_equal(s.st_clients, 2);
	assert_int_equal(s.st_files, 1);
	assert_int_equal(fstat_of(mp, "/f").st_opens, 1);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	s = stat_of(mp);
	assert_int_equal(s.st_pins, 0);
	assert_int_equal(s.st_clients, 1);
	assert_int_equal(s.st_fget, 2);
	assert_int_equal(fstat_of(mp, "/f").st_cache_hit, 1);
	finish(mp);
}

static void
mpool_stat_of_pages_that_nobody_could_write_is_stranded_until_somebody_can(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	(void)may_open_by_handle(false);
	fill(f, 0, 'a');
	fill(f, 1, 'b');
	must(memp_fclose(f));
	assert_int_equal(rename(t_path(t, "f"), t_path(t, "away")), 0);
	refuses(memp_sync(mp, NULL), EIO);
	assert_int_equal(stat_of(mp).st_stranded, 2);
	assert_int_equal(fstat_of(mp, "/f").st_stranded, 1);
	f = file_with(mp, "away", 0, PS); /* adopts them */
	must(memp_fsync(f));
	assert_int_equal(stat_of(mp).st_stranded, 0);
	assert_true(on_disk(t_path(t, "away"), PS, PS, 'b'));
	must(memp_fclose(f));
	finish(mp);
	(void)may_open_by_handle(true);
}

static void
mpool_stat_of_a_failed_write_is_the_files_error_until_it_is_made_good(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "g", PS);

	fill(f, 0, 'a');
	fill(g, 0, 'a');
	t_fault_always(OS_PWRITE, ENOSPC);
	refuses(memp_fsync(f), ENOSPC);
	assert_true(t_fault_off());
	assert_int_equal(fstat_of(mp, "/f").st_error, ENOSPC);
	assert_int_equal(fstat_of(mp, "/g").st_error, 0);
	must(memp_fsync(f));
	assert_int_equal(fstat_of(mp, "/f").st_error, 0);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_stat_of_a_failed_write_is_made_good_by_whoever_writes_the_page(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	int wrote;

	fill(f, 0, 'a');
	t_fault_always(OS_PWRITE, ENOSPC);
	refuses(memp_fsync(f), ENOSPC);
	assert_true(t_fault_off());
	must(memp_trickle(mp, 100, &wrote));
	assert_int_equal(wrote, 1);
	assert_int_equal(fstat_of(mp, "/f").st_error, 0);
	t_fault(OS_FSYNC, 1, EIO);
	refuses(memp_fsync(f), EIO);
	assert_true(t_fault_off());
	fill(f, 0, 'b');
	must(memp_trickle(mp, 100, &wrote));
	assert_int_equal(fstat_of(mp, "/f").st_error, EIO); /* not by that */
	must(memp_fsync(f));
	assert_int_equal(fstat_of(mp, "/f").st_error, 0);
	must(memp_fclose(f));
	finish(mp);
}

static int
has_a_file_of_a_type(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 128 * KIB);
	DB_MPOOLFILE *f;

	must(memp_register(mp, 5, NULL, NULL));
	f = file_of_type(mp, "f", 5, PS);
	fill(f, 0, 'a');
	t_tell(c, 'o');
	t_await(c, 'c');
	must(memp_fclose(f));
	t_tell(c, 'c');
	t_await(c, 'o');
	f = file_of_type(mp, "f", 5, PS);
	t_tell(c, 'o');
	t_await(c, 'g');
	must(memp_fclose(f));
	must(memp_sync(mp, NULL));
	must(memp_close(mp));
	return 0;
}

static void
mpool_stat_of_pages_whose_writer_is_there_is_not_stranded(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	struct t_child c;

	t_fork(&c, has_a_file_of_a_type, t);
	t_await(&c, 'o');
	refuses(memp_sync(mp, NULL), EIO); /* we may not */
	assert_int_equal(stat_of(mp).st_stranded, 0);
	assert_int_equal(fstat_of(mp, "/f").st_stranded, 0);
	t_tell(&c, 'c');
	t_await(&c, 'c');
	refuses(memp_sync(mp, NULL), EIO);
	assert_int_equal(stat_of(mp).st_stranded, 1);
	assert_int_equal(fstat_of(mp, "/f").st_stranded, 1);
	t_tell(&c, 'o');
	t_await(&c, 'o');
	assert_int_equal(stat_of(mp).st_stranded, 0); /* adopted */
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(fstat_of(mp, "/f").st_stranded, 0);
	finish(mp);
}

/* --- memory ---------------------------------------------------------------------------------- */

static unsigned blocks;
static size_t last_bytes;
static unsigned blocks_left;

static void *
counts_blocks(size_t bytes)
{
	if (blocks_left == 0)
		return NULL;
	blocks_left--;
	blocks++;
	last_bytes = bytes;
	return malloc(bytes);
}

static void
mpool_stat_is_one_block_each_from_the_callers_allocator(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOL_STAT *s = NULL;
	DB_MPOOL_FSTAT **list = (DB_MPOOL_FSTAT **)&s;
	DB_MPOOLFILE *f, *g;
	unsigned n = 0;

	must(memp_stat(mp, NULL, &list, NULL));
	assert_null(list); /* no files */
	must(memp_stat(mp, NULL, NULL, NULL));
	f = file_of(mp, "f", PS);
	g = file_of(mp, "g", 512);
	blocks = 0;
	blocks_left = 2;
	must(memp_stat(mp, &s, &list, counts_blocks));
	assert_int_equal(blocks, 2);
	while (list[n] != NULL) {
		const char *name = list[n]->file_name;

		assert_true((char *)list < name && name < (char *)list + last_bytes);
		assert_int_equal(name[0], '/');
		n++;
	}
	assert_int_equal(n, 2);
	free(s);
	free(list);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_stat_without_memory_is_enomem_and_writes_nothing(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	DB_MPOOL_STAT *none = (DB_MPOOL_STAT *)&test_env, *s = none;
	DB_MPOOL_FSTAT **nolist = (DB_MPOOL_FSTAT **)&test_env, **list = nolist;

	blocks_left = 0;
	refuses(memp_stat(mp, &s, NULL, counts_blocks), ENOMEM);
	refuses(memp_stat(mp, NULL, &list, counts_blocks), ENOMEM);
	refuses(memp_stat(mp, &s, &list, counts_blocks), ENOMEM);
	assert_ptr_equal(s, none);
	assert_ptr_equal(list, nolist);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_stat_names_a_temporary_file_so(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, NULL, PS);

	fill(f, 0, 'a');
	assert_int_equal(fstat_of(mp, "(temporary)").st_page_dirty, 1);
	must(memp_fclose(f));
	assert_int_equal(stat_of(mp).st_files, 0);
	finish(mp);
}

/* --- under load ------------------------------------------------------------------------------ */

#define LOADERS 3

struct load {
	struct t *t;
	unsigned id;
	size_t bytes; /* of the pool */
};

/* Everything that moves a counter, until told to stop. */
static int
works(struct t_child *c, void *arg)
{
	struct load *l = arg;
	DB_MPOOL *mp = pool_of(l->t, l->bytes);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *own;
	unsigned seed = l->id;
	char name[16];

	(void)snprintf(name, sizeof(name), "own%u", l->id);
	own = file_of(mp, name, 1024);
	t_tell(c, 'r');
	for (unsigned i = 0; !t_told(c); i++) {
		unsigned what = (unsigned)rand_r(&seed);
		uint8_t *page = get(f, what % 40, DB_MPOOL_CREATE);

		put(f, page, what % 3 == 0 ? DB_MPOOL_DIRTY : what % 7 == 0 ? DB_MPOOL_DISCARD : 0);
		(void)new_page(own, &page);
		must(memp_fset(own, page, DB_MPOOL_DIRTY));
		put(own, page, what % 2 == 0 ? DB_MPOOL_CLEAN : 0);
		if (i % 16 == 0)
			must(memp_ftruncate(own, 0));
		if (i % 64 == 0)
			(void)memp_fsync(f);
	}
	must(memp_fclose(own));
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
watch_sums(struct t *t, size_t bytes, unsigned looks)
{
	struct load l = { t, 0, bytes };
	struct t_child c[LOADERS];
	DB_MPOOL *mp = pool_of(t, bytes);
	DB_MPOOL_STAT last = { 0 };

	for (l.id = 0; l.id < LOADERS; l.id++) {
		t_fork(&c[l.id], works, &l);
		t_await(&c[l.id], 'r');
	}
	for (unsigned i = 0; i < looks; i++) {
		DB_MPOOL_STAT s = stat_of(mp);

		sums(&s);
		assert_true(s.st_fget >= last.st_fget && s.st_page_out >= last.st_page_out);
		last = s;
		must(mpool_check(mp, false));
	}
	for (unsigned i = 0; i < LOADERS; i++)
		t_tell(&c[i], 'e');
	for (unsigned i = 0; i < LOADERS; i++)
		assert_int_equal(t_join(&c[i]), 0);
	assert_true(last.st_fget > 0);
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));
}

static void
mpool_stat_adds_up_at_any_instant_while_processes_work(void **state)
{
	watch_sums(*state, 20 * KIB, 1500);
	watch_sums(*state, 256 * KIB, 1500);
}

/* A pool that is nearly empty: what comes and goes at once is counted on both sides or on none. */
static int
comes_and_goes(struct t_child *c, void *arg)
{
	struct load *l = arg;
	DB_MPOOL *mp = pool_of(l->t, l->bytes);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	t_tell(c, 'r');
	while (!t_told(c))
		for (unsigned i = 0; i < 64; i++) {
			uint8_t *page;

			(void)new_page(f, &page);
			put(f, page, 0);
			must(memp_ftruncate(f, 0));
		}
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_stat_of_a_nearly_empty_pool_adds_up_at_any_instant(void **state)
{
	struct load l = { *state, 0, 64 * KIB };
	struct t_child c[LOADERS];
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);

	for (unsigned i = 0; i < LOADERS; i++) {
		t_fork(&c[i], comes_and_goes, &l);
		t_await(&c[i], 'r');
	}
	for (unsigned i = 0; i < 20000; i++) {
		DB_MPOOL_STAT s = stat_of(mp);

		sums(&s);
	}
	for (unsigned i = 0; i < LOADERS; i++)
		t_tell(&c[i], 'e');
	for (unsigned i = 0; i < LOADERS; i++)
		assert_int_equal(t_join(&c[i]), 0);
	finish(mp);
}

/* --- nobody is blocked ----------------------------------------------------------------------- */

static struct t_child *asker;
static int said_bytes;

/* Both of memp_stat's blocks: it stands still at each. */
static void *
stands_still_with_bytes(size_t bytes)
{
	t_tell(asker, 's');
	t_await(asker, 'g');
	said_bytes++;
	return malloc(bytes);
}

static int
asks_slowly(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 128 * KIB);
	DB_MPOOL_STAT *s = NULL;
	DB_MPOOL_FSTAT **list = NULL;

	asker = c;
	must(memp_stat(mp, &s, &list, stands_still_with_bytes));
	t_check(said_bytes == 2);
	free(s);
	free(list);
	must(memp_close(mp));
	return 0;
}

static void
mpool_stat_that_stands_still_blocks_nobody(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g;
	struct t_child c;
	uint8_t *page;

	t_fork(&c, asks_slowly, t);
	for (unsigned i = 0; i < 2; i++) {
		t_await(&c, 's');
		for (db_pgno_t n = 0; n < 100; n++)
			fill(f, n, 'a'); /* misses, evictions, writes */
		holds(f, 99, 'a');
		g = file_of(mp, "g", PS); /* the table of files */
		(void)new_page(g, &page);
		put(g, page, DB_MPOOL_DIRTY);
		must(memp_fclose(g));
		must(memp_fsync(f));
		must(memp_ftruncate(f, 10 * PS));
		must(memp_sync(mp, NULL));
		must(memp_reap(mp));
		(void)stat_of(mp);
		t_tell(&c, 'g');
	}
	assert_int_equal(t_join(&c), 0);
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_stat_counts_hits_misses_creates_and_news),
		t_test(mpool_stat_counts_what_is_dirty_written_and_evicted),
		t_test(mpool_stat_tells_pages_evicted_unwritten_from_those_written_for_it),
		t_test(mpool_stat_of_a_failed_read_is_as_before),
		t_test(mpool_stat_hash_figures_fit_together),
		t_test(
		    mpool_stat_counts_pins_and_clients_of_all_and_keeps_what_the_gone_have_counted),
		t_test(mpool_stat_of_pages_that_nobody_could_write_is_stranded_until_somebody_can),
		t_test(mpool_stat_of_a_failed_write_is_the_files_error_until_it_is_made_good),
		t_test(mpool_stat_of_a_failed_write_is_made_good_by_whoever_writes_the_page),
		t_test(mpool_stat_of_pages_whose_writer_is_there_is_not_stranded),
		t_test(mpool_stat_is_one_block_each_from_the_callers_allocator),
		t_test(mpool_stat_without_memory_is_enomem_and_writes_nothing),
		t_test(mpool_stat_names_a_temporary_file_so),
		t_test(mpool_stat_adds_up_at_any_instant_while_processes_work),
		t_test(mpool_stat_of_a_nearly_empty_pool_adds_up_at_any_instant),
		t_test(mpool_stat_that_stands_still_blocks_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
