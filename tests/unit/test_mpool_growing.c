/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: files that grow while others cut them, and while pages from before a cut are still
 * pinned behind the end.  A page that somebody was given after the cut, and has put dirty, is kept.
 */
#include "pool_t.h"
#include "still_t.h"

#include <pthread.h>

#define PS 4096u
#define ROUNDS 30
#define OLD_PAGES 1500u

struct work {
	DB_MPOOLFILE *f;
	unsigned pages; /* to make */
};

static void *
makes_pages(void *arg)
{
	const struct work *w = arg;

	for (unsigned i = 0; i < w->pages; i++) {
		uint8_t *page;
		db_pgno_t n = new_page(w->f, &page);

		memset(page, 1 + (int)(n % 250), PS);
		put(w->f, page, DB_MPOOL_DIRTY);
	}
	return NULL;
}

static void *
cuts_to_nothing(void *arg)
{
	must(memp_ftruncate(((struct work *)arg)->f, 0));
	return NULL;
}

static void
each_page_is_there(DB_MPOOLFILE *f, db_pgno_t pages)
{
	assert_int_equal(length_of(f), (uint64_t)pages * PS);
	for (db_pgno_t n = 0; n < pages; n++)
		holds(f, n, 1 + (int)(n % 250));
}

static void
pages_made_by_two_before_a_page_pinned_since_a_cut_are_kept(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 16 << 20), DB_THREAD);
	struct work w = { file_of(mp, "f", PS), 1000 };
	uint8_t *pinned = get(w.f, 5000, DB_MPOOL_CREATE);
	pthread_t threads[2];

	must(memp_ftruncate(w.f, 0));
	for (unsigned i = 0; i < 2; i++)
		must(pthread_create(&threads[i], NULL, makes_pages, &w));
	for (unsigned i = 0; i < 2; i++)
		must(pthread_join(threads[i], NULL));
	each_page_is_there(w.f, 2 * w.pages);
	put(w.f, pinned, 0);
	must(memp_fclose(w.f));
	finish(mp);
}

/* The page of that number from before the cut may still be in the pool, to be dropped last. */
static void
page_made_while_the_old_ones_are_dropped_is_kept(void **state)
{
	DB_MPOOL *mp = pool_with(env_of(*state, 16 << 20), DB_THREAD);
	struct work w = { file_of(mp, "f", PS), 1 };
	pthread_t cutter;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (db_pgno_t n = OLD_PAGES; n-- > 0;)
			fill(w.f, n, 255);
		must(pthread_create(&cutter, NULL, cuts_to_nothing, &w));
		while (length_of(w.f) != 0)
			continue;
		(void)makes_pages(&w);
		must(pthread_join(cutter, NULL));
		each_page_is_there(w.f, 1);
	}
	must(memp_fclose(w.f));
	finish(mp);
}

/* What was pinned when the file was cut is zeros when the file has grown over it, then ordinary. */
static void
page_pinned_since_a_cut_is_zeros_when_the_file_is_long_again(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 256 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *pinned, *page;

	fill(f, 0, 'a');
	fill(f, 3, 'd');
	pinned = get(f, 3, 0);
	must(memp_ftruncate(f, PS));
	memset(pinned, 'x', PS);
	must(memp_ftruncate(f, 8 * PS));
	holds(f, 3, 0);
	put(f, pinned, 0);
	assert_int_equal(new_page(f, &page), 8);
	put(f, page, DB_MPOOL_DIRTY);
	holds(f, 0, 'a');
	holds(f, 3, 0);
	must(memp_fclose(f));
	finish(mp);
}

/* --- a truncation that a death has left ------------------------------------------------------ */

#define TYPE 1

static int
cuts_and_stands_still(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 256 * KIB);
	DB_MPOOLFILE *f;

	must(memp_register(mp, TYPE, NULL, NULL));
	f = file_of_type(mp, "f", TYPE, PS);
	stand_still(c, OS_TRUNCATE, NULL, 1, 0);
	must(memp_ftruncate(f, 0));
	return 0;
}

/* Who reaps has not registered the file's type, and may not write it. */
static void
truncation_of_the_dead_that_is_not_on_disk_is_not_half_done(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 256 * KIB);
	DB_MPOOLFILE *f;
	struct t_child c;

	write_pages(t_path(*state, "f"), 10, PS, 'a');
	t_fork(&c, cuts_and_stands_still, *state);
	t_await(&c, 's');
	t_kill(&c);
	must(memp_reap(mp));
	must(memp_register(mp, TYPE, NULL, NULL));
	f = file_of_type(mp, "f", TYPE, PS);
	if (length_of(f) == 0) {
		fill(f, 9, 'z');
		holds(f, 5, 0);
	} else {
		assert_int_equal(length_of(f), 10 * PS);
		holds(f, 5, 'a' + 5);
	}
	must(memp_fclose(f));
	finish(mp);
}

/* The disk has no room for so long a file, which is not known yet. */
static int
is_to_lengthen_in_vain(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	stand_still(c, OS_STAT, NULL, 1, EIO);
	t_check(memp_ftruncate(f, 9 * PS) == EIO);
	os_fault_hook = NULL;
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
lengthen_in_vain(struct t *t, DB_MPOOLFILE *f, bool changes, bool syncs)
{
	struct t_child c;

	t_fork(&c, is_to_lengthen_in_vain, t);
	t_await(&c, 's');
	assert_int_equal(length_of(f), 9 * PS);
	if (changes)
		fill(f, 5, 'b');
	else
		holds(f, 5, 0);
	if (syncs)
		must(memp_fsync(f));
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
}

static void
page_put_in_a_part_that_the_disk_has_no_room_for_is_kept(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'a');
	lengthen_in_vain(*state, f, false, false);
	assert_int_equal(length_of(f), PS);
	lengthen_in_vain(*state, f, true, false);
	holds(f, 5, 'b');
	must(memp_ftruncate(f, PS));
	lengthen_in_vain(*state, f, true, true);
	holds(f, 5, 'b');
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(pages_made_by_two_before_a_page_pinned_since_a_cut_are_kept),
		t_test(page_made_while_the_old_ones_are_dropped_is_kept),
		t_test(page_pinned_since_a_cut_is_zeros_when_the_file_is_long_again),
		t_test(truncation_of_the_dead_that_is_not_on_disk_is_not_half_done),
		t_test(page_put_in_a_part_that_the_disk_has_no_room_for_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
