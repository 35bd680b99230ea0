/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: room for new pages.  Victims are clean or are written first; what cannot be written
 * or is pinned stays; a failing write is told to the file it belongs to and to nobody else; the
 * path of a file that has gone elsewhere is no authority.
 */
#include "pool_t.h"

#include <sys/wait.h>

#include "pool/file.h"
#include "pool/frame.h"
#include "pool/victims.h"

#define PS 4096u

static void
mpool_dirty_pages_survive_eviction(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	DB_MPOOL_STAT s;

	for (db_pgno_t n = 0; n < 200; n++)
		fill(f, n, 1 + (int)n);
	for (db_pgno_t n = 0; n < 200; n++)
		holds(f, n, 1 + (int)n);
	s = stat_of(mp);
	assert_true(s.st_rw_evict >= 190);
	assert_true((s.st_page_clean + s.st_page_dirty) * PS <= s.st_cachesize);
	must(memp_fsync(f));
	for (unsigned n = 0; n < 200; n++)
		assert_true(on_disk(t_path(t, "f"), n * PS, PS, 1 + (int)n));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_clean_pages_are_evicted_unwritten(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f;
	DB_MPOOL_STAT s;

	write_pages(t_path(t, "f"), 100, PS, 1);
	f = file_with(mp, "f", 0, PS);
	for (unsigned round = 0; round < 2; round++)
		for (db_pgno_t n = 0; n < 100; n++)
			holds(f, n, 1 + (int)n);
	s = stat_of(mp);
	assert_int_equal(s.st_page_out + s.st_rw_evict, 0);
	assert_int_equal(s.st_ro_evict, s.st_page_in - s.st_page_clean);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_pinned_page_is_never_evicted(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 60, PS, 1);
	f = file_with(mp, "f", 0, PS);
	page = get(f, 0, 0);
	page[0] = 99; /* not said to be dirty: seen only as long as the page stays */
	for (db_pgno_t n = 1; n < 60; n++)
		holds(f, n, 1 + (int)n);
	assert_int_equal(page[0], 99);
	assert_ptr_equal(get(f, 0, 0), page);
	put(f, page, 0);
	put(f, page, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_in_a_pool_full_of_pins_is_enomem_and_names_the_holder(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *pages[64];
	char pid[32];
	unsigned k = 0;
	db_pgno_t n = 0;
	void *page = NULL;
	int ret;

	while ((n = k, ret = memp_fget(f, &n, DB_MPOOL_CREATE, &page)) == 0 && k < 64)
		pages[k++] = page;
	assert_int_equal(ret, ENOMEM);
	assert_int_equal(length_of(f), k * PS);
	assert_true(k * PS >= 20 * KIB - PS && k * PS <= 25 * KIB);
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_non_null(strstr(heard, pid));
	refuses(get_error(f, 0, DB_MPOOL_NEW), ENOMEM);
	assert_int_equal(length_of(f), k * PS);
	put(f, pages[0], 0);
	must(get_error(f, k, DB_MPOOL_CREATE));
	while (k > 1)
		put(f, pages[--k], 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_discarded_page_is_evicted_before_others(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	unsigned room = (unsigned)(stat_of(mp).st_cachesize / PS);
	uint64_t in;
	uint8_t *page;

	write_pages(t_path(t, "f"), 2 * room, PS, 1);
	f = file_with(mp, "f", 0, PS);
	for (db_pgno_t n = 0; n < room; n++)
		holds(f, n, 1 + (int)n);
	page = get(f, room - 1, 0);
	put(f, page, DB_MPOOL_DISCARD);
	holds(f, room, 1 + (int)room);
	in = stat_of(mp).st_page_in;
	for (db_pgno_t n = 0; n < room - 1; n++)
		holds(f, n, 1 + (int)n);
	assert_int_equal(stat_of(mp).st_page_in, in);
	holds(f, room - 1, (int)room);
	assert_int_equal(stat_of(mp).st_page_in, in + 1);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_discarded_page_that_is_hit_again_is_an_ordinary_page(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	unsigned room = (unsigned)(stat_of(mp).st_cachesize / PS);
	uint64_t in;
	uint8_t *page;

	write_pages(t_path(t, "f"), 2 * room, PS, 1);
	f = file_with(mp, "f", 0, PS);
	for (db_pgno_t n = 0; n < room; n++)
		holds(f, n, 1 + (int)n);
	page = get(f, room - 1, 0);
	put(f, page, DB_MPOOL_DISCARD);
	page = get(f, 0, 0);
	put(f, page, DB_MPOOL_DISCARD);
	holds(f, room - 1, (int)room); /* ordinary again: page 0 is the one to go */
	holds(f, room, 1 + (int)room);
	in = stat_of(mp).st_page_in;
	holds(f, room - 1, (int)room);
	assert_int_equal(stat_of(mp).st_page_in, in);
	holds(f, 0, 1);
	assert_int_equal(stat_of(mp).st_page_in, in + 1);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_dirty_discarded_page_is_written_not_lost(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (db_pgno_t n = 0; n < 50; n++) {
		uint8_t *page = get(f, n, DB_MPOOL_CREATE);

		memset(page, 1 + (int)n, PS);
		put(f, page, DB_MPOOL_DIRTY | DB_MPOOL_DISCARD);
	}
	for (db_pgno_t n = 0; n < 50; n++)
		holds(f, n, 1 + (int)n);
	must(memp_fclose(f));
	finish(mp);
}

/* --- writes that fail ------------------------------------------------------------------------ */

/* Fill the pool with dirty pages of f; the number of them. */
static unsigned
crowd(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	unsigned room = (unsigned)(stat_of(mp).st_cachesize / PS);

	for (db_pgno_t n = 0; n < room; n++)
		fill(f, n, 1 + (int)n);
	return room;
}

static void
mpool_failing_victim_stays_dirty_and_leaks_no_pin(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	unsigned room = crowd(mp, f);

	t_fault_always(OS_PWRITE, EIO);
	refuses(get_error(f, room, DB_MPOOL_CREATE), ENOMEM);
	assert_true(t_fault_off());
	at_rest(mp);
	assert_int_equal(stat_of(mp).st_pins, 0);
	assert_int_equal(stat_of(mp).st_page_dirty, room);
	assert_int_equal(length_of(f), room * PS);
	for (db_pgno_t n = 0; n < room; n++)
		holds(f, n, 1 + (int)n);
	refuses(memp_fsync(f), EIO);
	must(memp_fsync(f));
	for (unsigned n = 0; n < room; n++)
		assert_true(on_disk(t_path(t, "f"), n * PS, PS, 1 + (int)n));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_failing_victim_does_not_fail_the_reader_of_another_file(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g;

	write_pages(t_path(t, "g"), 40, PS, 50);
	g = file_with(mp, "g", 0, PS);
	for (db_pgno_t n = 0; n < 4; n++)
		fill(f, n, 'f');
	t_fault_always(OS_PWRITE, EIO);
	for (unsigned round = 0; round < 3; round++)
		for (db_pgno_t n = 0; n < 40; n++)
			holds(g, n, 50 + (int)n);
	assert_true(t_fault_off());
	holds(f, 0, 'f');
	assert_int_equal(fstat_of(mp, "/f").st_error, EIO);
	assert_int_equal(fstat_of(mp, "/g").st_error, 0);
	must(memp_fsync(g));
	refuses(memp_fsync(f), EIO);
	must(memp_fsync(f));
	assert_int_equal(fstat_of(mp, "/f").st_error, 0);
	must(memp_fclose(g));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_write_error_is_told_once_to_each_handle(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "f", PS);
	DB_MPOOLFILE *h = file_of(mp, "f", PS);

	fill(f, 0, 'f');
	t_fault(OS_PWRITE, 1, ENOSPC);
	refuses(memp_fsync(f), ENOSPC);
	assert_true(t_fault_off());
	must(memp_fsync(f));
	must(memp_fsync(f));
	assert_int_not_equal(memp_fsync(g), 0);
	must(memp_fsync(g));
	assert_int_not_equal(memp_fclose(h), 0);
	must(memp_fclose(g));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_write_error_of_an_eviction_is_reported_by_memp_sync(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	unsigned room = crowd(mp, f);

	t_fault_always(OS_PWRITE, EIO);
	refuses(get_error(f, room, DB_MPOOL_CREATE), ENOMEM);
	assert_true(t_fault_off());
	refuses(memp_sync(mp, NULL), EIO);
	must(memp_sync(mp, NULL));
	(void)memp_fclose(f);
	finish(mp);
}

static void
mpool_full_disk_at_eviction_loses_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	unsigned failed = 0;

	for (db_pgno_t n = 0; n < 60; n++) {
		t_fault(OS_PWRITE, 1 + n % 3, ENOSPC);
		if (get_error(f, n, DB_MPOOL_CREATE) != 0)
			must(get_error(f, n, DB_MPOOL_CREATE));
		fill(f, n, 1 + (int)n);
		failed += (unsigned)t_fault_off();
	}
	assert_true(failed > 5);
	for (db_pgno_t n = 0; n < 60; n++)
		holds(f, n, 1 + (int)n);
	refuses(memp_fsync(f), ENOSPC);
	must(memp_fsync(f));
	for (unsigned n = 0; n < 60; n++)
		assert_true(on_disk(t_path(t, "f"), n * PS, PS, 1 + (int)n));
	must(memp_fclose(f));
	finish(mp);
}

/* --- files that moved ------------------------------------------------------------------------ */

/* Another process that leaves dirty pages of file f behind. */
static int
leaves_dirty_pages(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	(void)c;
	fill(f, 0, 'p');
	fill(f, 1, 'q');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
leave_dirty_pages(struct t *t)
{
	struct t_child c;

	t_fork(&c, leaves_dirty_pages, t);
	assert_int_equal(t_join(&c), 0);
}

/* Pin pages of g until there is no room: what can be pushed out is. */
static void
crowd_out(DB_MPOOL *mp, const struct t *t)
{
	void *pages[16] = { NULL };
	DB_MPOOLFILE *g;
	db_pgno_t n, k = 0;

	write_pages(t_path(t, "g"), 16, PS, 1);
	g = file_with(mp, "g", 0, PS);
	while (n = k, k < 16 && memp_fget(g, &n, 0, &pages[k]) == 0)
		k++;
	t_check(k > 0 && k < 16);
	while (k-- > 0)
		put(g, pages[k], 0);
	must(memp_fclose(g));
}

static void
mpool_file_of_a_process_that_left_is_written_by_whoever_evicts(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);

	leave_dirty_pages(t);
	assert_int_equal(stat_of(mp).st_page_dirty, 2);
	crowd_out(mp, t);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'p'));
	assert_true(on_disk(t_path(t, "f"), PS, PS, 'q'));
	finish(mp);
}

static void
mpool_impostor_under_the_old_name_is_not_written_and_nothing_is_lost(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f;

	(void)may_open_by_handle(false);
	leave_dirty_pages(t);
	assert_int_equal(rename(t_path(t, "f"), t_path(t, "elsewhere")), 0);
	t_write_file(t_path(t, "f"), "impostor", 8);
	crowd_out(mp, t);
	assert_int_equal(disk_length(t_path(t, "f")), 8);
	assert_int_equal(stat_of(mp).st_page_dirty, 2);
	assert_int_equal(stat_of(mp).st_stranded, 2);
	assert_int_equal(fstat_of(mp, "/f").st_stranded, 1);
	quiet();
	refuses(memp_sync(mp, NULL), EIO);
	assert_true(sentences > 0);
	f = file_with(mp, "elsewhere", 0, PS); /* the same file: adopted */
	holds(f, 0, 'p');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "elsewhere"), 0, PS, 'p'));
	assert_true(on_disk(t_path(t, "elsewhere"), PS, PS, 'q'));
	assert_int_equal(stat_of(mp).st_stranded, 0);
	must(memp_fclose(f));
	finish(mp);
	(void)may_open_by_handle(true);
}

static void
mpool_renamed_file_is_found_by_the_evictor(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);

	(void)may_open_by_handle(false);
	leave_dirty_pages(t);
	assert_int_equal(mkdir(t_path(t, "d"), 0700), 0);
	assert_int_equal(rename(t_path(t, "f"), t_path(t, "d/h")), 0);
	crowd_out(mp, t);
	assert_int_equal(stat_of(mp).st_page_dirty, 2);
	mpool_renamed(mp, t_path(t, "f"), t_path(t, "d/h"));
	assert_int_equal(rename(t_path(t, "d"), t_path(t, "e")), 0);
	mpool_renamed(mp, t_path(t, "d"), t_path(t, "e"));
	crowd_out(mp, t);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	assert_true(on_disk(t_path(t, "e/h"), 0, PS, 'p'));
	assert_true(on_disk(t_path(t, "e/h"), PS, PS, 'q'));
	finish(mp);
	(void)may_open_by_handle(true);
}

static void
mpool_file_renamed_while_open_is_written_through_the_handle(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'p');
	assert_int_equal(rename(t_path(t, "f"), t_path(t, "h")), 0);
	write_pages(t_path(t, "f"), 1, PS, 'i');
	crowd_out(mp, t);
	assert_true(on_disk(t_path(t, "h"), 0, PS, 'p'));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'i'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_symbolic_link_in_the_files_place_is_not_followed(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);

	(void)may_open_by_handle(false);
	leave_dirty_pages(t);
	assert_int_equal(rename(t_path(t, "f"), t_path(t, "h")), 0);
	write_pages(t_path(t, "victim"), 2, PS, 'v');
	assert_int_equal(symlink("victim", t_path(t, "f")), 0);
	crowd_out(mp, t);
	assert_true(on_disk(t_path(t, "victim"), 0, PS, 'v'));
	assert_int_equal(stat_of(mp).st_page_dirty, 2);
	at_rest(mp);
	must(memp_close(mp));
	(void)may_open_by_handle(true);
}

/* --- frames that are free -------------------------------------------------------------------- */

static void
touch(DB_MPOOLFILE *f, db_pgno_t first, db_pgno_t n)
{
	for (db_pgno_t i = first; i < first + n; i++)
		put(f, get(f, i, 0), 0);
}

/* One process has the pool full and empties its file; another has one page, and wants some more. */
static void
mpool_frames_freed_by_a_truncation_are_there_for_another_process(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 256 * KIB);
	DB_MPOOL *mp, *other;
	DB_MPOOLFILE *f, *g;
	uint32_t room;

	env->mp_ahead = -1;
	mp = pool_with(env, 0);
	other = pool_with(env, 0);
	room = (uint32_t)(stat_of(mp).st_cachesize / PS);
	f = sparse_file(t, mp, "f", room, PS);
	g = sparse_file(t, other, "g", room, PS);
	touch(g, 0, 1);
	touch(f, 0, room - 1);
	must(memp_ftruncate(f, 0));
	for (unsigned i = 0; i < 3; i++)
		touch(g, 0, room / 2);
	assert_int_equal(stat_of(mp).st_page_in, room - 1 + room / 2);
	must(memp_fclose(f));
	must(memp_fclose(g));
	must(memp_close(other));
	finish(mp);
}

/* Whoever evicts in a larger pool evicts more than it needs, and may need no more. */
static void
mpool_frames_of_threads_that_miss_no_more_are_there_for_the_others(void **state)
{
	enum { IDLE = 16 };
	struct t *t = *state;
	DB_ENV *env = env_of(t, 40960 * KIB);
	DB_MPOOL *mp, *idle[IDLE];
	DB_MPOOLFILE *f, *g[IDLE];
	uint32_t room, batch;

	env->mp_ahead = -1;
	mp = pool_with(env, 0);
	room = (uint32_t)(stat_of(mp).st_cachesize / PS);
	batch = victims_batch(mp, 12);
	assert_in_range(batch, 8, room / IDLE);
	f = sparse_file(t, mp, "f", 3 * room, PS);
	touch(f, 0, room);
	for (unsigned i = 0; i < IDLE; i++) {
		idle[i] = pool_with(env, 0);
		g[i] = file_with(idle[i], "f", 0, PS);
		touch(g[i], room + i, 1);
	}
	touch(f, 2 * room, room / 2);
	assert_in_range(resident(mp), room - 2 * batch, room);
	for (unsigned i = 0; i < IDLE; i++) {
		must(memp_fclose(g[i]));
		must(memp_close(idle[i]));
	}
	must(memp_fclose(f));
	finish(mp);
}

/* --- what is half changed -------------------------------------------------------------------- */

/* Page n, as a process leaves it that is killed while it and another have it pinned. */
static uint32_t
leave_half_changed(DB_MPOOLFILE *f, db_pgno_t n)
{
	uint8_t *page = get(f, n, 0);
	uint32_t frame = frame_of_address(f->pool, page, f->pageshift);

	memset(page, 0xee, PS / 2);
	put(f, page, 0);
	(void)or_seq(&frame_at(f->pool, frame)->word, FW_SUSPECT);
	return frame;
}

static void
mpool_half_changed_page_is_read_anew_though_an_evictor_was_stopped_at_it(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	uint64_t mark;
	uint32_t frame;

	write_pages(t_path(t, "f"), 4, PS, 1);
	f = file_with(mp, "f", DB_NOMMAP, PS);
	(void)leave_half_changed(f, 0);
	holds(f, 0, 1);
	frame = leave_half_changed(f, 1);
	assert_true(
	    frame_mark(mp, frame, load_seq(&frame_at(mp, frame)->word), FRAME_EVICTING, &mark));
	holds(f, 1, 2);
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_dirty_pages_survive_eviction),
		t_test(mpool_clean_pages_are_evicted_unwritten),
		t_test(mpool_pinned_page_is_never_evicted),
		t_test(mpool_fget_in_a_pool_full_of_pins_is_enomem_and_names_the_holder),
		t_test(mpool_discarded_page_is_evicted_before_others),
		t_test(mpool_discarded_page_that_is_hit_again_is_an_ordinary_page),
		t_test(mpool_dirty_discarded_page_is_written_not_lost),
		t_test(mpool_failing_victim_stays_dirty_and_leaks_no_pin),
		t_test(mpool_failing_victim_does_not_fail_the_reader_of_another_file),
		t_test(mpool_write_error_is_told_once_to_each_handle),
		t_test(mpool_write_error_of_an_eviction_is_reported_by_memp_sync),
		t_test(mpool_full_disk_at_eviction_loses_nothing),
		t_test(mpool_file_of_a_process_that_left_is_written_by_whoever_evicts),
		t_test(mpool_impostor_under_the_old_name_is_not_written_and_nothing_is_lost),
		t_test(mpool_renamed_file_is_found_by_the_evictor),
		t_test(mpool_file_renamed_while_open_is_written_through_the_handle),
		t_test(mpool_symbolic_link_in_the_files_place_is_not_followed),
		t_test(mpool_frames_freed_by_a_truncation_are_there_for_another_process),
		t_test(mpool_frames_of_threads_that_miss_no_more_are_there_for_the_others),
		t_test(mpool_half_changed_page_is_read_anew_though_an_evictor_was_stopped_at_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
