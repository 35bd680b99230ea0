/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: words of a pool that name somebody who is at something, though nobody is.  Nobody
 * waits for that somebody: what can be put right is, and the rest is damage, and said to be.
 */
#include "../pool_t.h"

#include "pool/extent.h"
#include "pool/file.h"
#include "pool/format.h"
#include "pool/frame.h"
#include "pool/thread.h"

#define BYTES (64 * KIB)
#define PS 4096u

/* Every frame of the pool is in that state, by that client. */
static void
all_frames_become(DB_MPOOL *mp, enum frame_state state, uint32_t owner)
{
	for (uint32_t f = 0; f < mp->g.nframes; f++)
		store_seq(&mp->frames[f].word, fw_with(mp->frames[f].word, state, owner));
}

/* A pool whose frames all have pages of f. */
static DB_MPOOL *
full_pool(struct t *t, DB_MPOOLFILE **fp)
{
	DB_MPOOL *mp = pool_of(t, BYTES);

	*fp = file_of(mp, "f", PS);
	for (db_pgno_t n = 0; n < 2 * BYTES / PS; n++)
		fill(*fp, n, 'a');
	must(memp_fsync(*fp));
	return mp;
}

static void
mpool_get_waited_seconds_for_an_extent_that_nobody_changes(void **state)
{
	DB_MPOOLFILE *f, *small;
	DB_MPOOL *mp = full_pool(*state, &f);

	small = file_of(mp, "small", 512);
	for (uint32_t e = 0; e < mp->g.nextents; e++)
		(void)or_seq(&mp->extents[e],
		    EXTENT_CHANGING | (uint64_t)(mp->self + 1) << EXTENT_OWNER_SHIFT);

	fill(small, 0, 's');

	for (uint32_t e = 0; e < mp->g.nextents; e++)
		t_check(!(mp->extents[e] & EXTENT_CHANGING));
	holds(small, 0, 's');
	holds(f, 1, 'a');
	finish(mp);
}

static void
mpool_extents_of_all_ones_are_damage_and_not_a_full_pool(void **state)
{
	DB_MPOOLFILE *f;
	DB_MPOOL *mp = full_pool(*state, &f);

	for (uint32_t e = 0; e < mp->g.nextents; e++)
		store_seq(&mp->extents[e], UINT64_MAX);

	assert_int_equal(get_error(f, 0, 0), DB_RUNRECOVERY);
	(void)memp_close(mp);
}

static void
mpool_frames_that_nobody_loads_are_damage_and_not_a_full_pool(void **state)
{
	DB_MPOOLFILE *f, *other;
	DB_MPOOL *mp = full_pool(*state, &f);

	other = file_of(mp, "other", PS);
	all_frames_become(mp, FRAME_LOADING, mp->self);

	assert_int_equal(get_error(other, 0, DB_MPOOL_CREATE), DB_RUNRECOVERY);
	(void)memp_close(mp);
}

/* Of one that a killed process had pinned, so that it is to be read again. */
static void
mpool_get_waited_for_a_write_of_a_spoilt_page_that_nobody_writes(void **state)
{
	DB_MPOOLFILE *f;
	DB_MPOOL *mp = full_pool(*state, &f);

	for (uint32_t i = 0; i < mp->g.nframes; i++)
		if (fw_state(mp->frames[i].word) == FRAME_VALID)
			store_seq(&mp->frames[i].word,
			    fw_with(mp->frames[i].word, FRAME_WRITING, mp->self) | FW_SUSPECT);

	assert_int_equal(get_error(f, 2 * BYTES / PS - 1, 0), DB_RUNRECOVERY);
	(void)memp_close(mp);
}

static void
mpool_resize_waited_seconds_for_a_client_that_does_not_resize(void **state)
{
	DB_MPOOLFILE *f;
	DB_MPOOL *mp = full_pool(*state, &f);

	store_seq(&mp->mp->resizer, mp->self + 1);

	must(memp_resize(mp, BYTES / 2));
	finish(mp);
}

static void
mpool_open_waited_seconds_for_a_mount_that_has_no_file_open(void **state)
{
	DB_MPOOL *mp = pool_of(*state, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct file_row *row = f->row;

	fill(f, 0, 'a');
	must(memp_fclose(f));
	store_seq(&row->opens, 7);

	f = file_of(mp, "f", 512);

	holds(f, 0, 'a');
	finish(mp);
}

static void
mpool_open_of_a_file_whose_row_has_a_wrong_number_died_without_a_row(void **state)
{
	DB_MPOOL *mp = pool_of(*state, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct file_row *row = f->row;

	fill(f, 0, 'a');
	must(memp_fsync(f));
	must(memp_fclose(f));
	store_seq(&row->id, row->id + 1);

	assert_int_equal(memp_fopen(mp, "f", 0, 0, 0, 512, -1, NULL, NULL, &f), EIO);
	(void)memp_close(mp);
}

/* --- a dead client whose page is in a state that it knows nothing of ------------------------- */

static int
dies_with_a_pin(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	uint8_t *page = get(file_of(mp, "f", PS), 0, DB_MPOOL_CREATE);
	uint32_t f = frame_of_address(mp, page, 12);

	store_seq(&mp->frames[f].word, fw_with(mp->frames[f].word, FRAME_WRITING, mp->self));
	t_tell(c, 'p');
	t_await(c, 'x');
	return 0;
}

static void
mpool_reap_does_not_wait_for_a_write_that_the_dead_knew_nothing_of(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, BYTES);

	t_fork(&c, dies_with_a_pin, t);
	t_await(&c, 'p');
	t_kill(&c);

	must(memp_reap(mp));
	must(memp_reap(mp));
	assert_int_equal(stat_of(mp).st_pins, 0);
	(void)memp_close(mp);
}

static int
dies_in_the_file_table(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);

	region_lock(mp);
	t_tell(c, 'l');
	t_await(c, 'x');
	return 0;
}

static void
mpool_every_row_was_walked_for_ever_after_a_death_in_the_file_table(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'a');
	t_fork(&c, dies_in_the_file_table, t);
	t_await(&c, 'l');
	t_kill(&c);

	(void)file_of(mp, "g", PS);

	assert_int_equal(rows_used(mp), 2);
	assert_int_equal(opens_used(mp), 2);
	holds(f, 0, 'a');
	finish(mp);
}

/* --- truncation ------------------------------------------------------------------------------ */

static void
mpool_truncation_of_nobody_is_not_waited_for_once_the_region_is_damaged(void **state)
{
	DB_MPOOLFILE *f;
	DB_MPOOL *mp = full_pool(*state, &f);
	struct thread *th;

	must(enter(mp, &th));
	store_seq(&th->home->note_row, (uint32_t)(f->row - mp->rows) + 1);
	store_seq(&f->row->trunc, mp->self + 1);
	assert_int_equal(region_panic(mp->region, "the test says so"), DB_RUNRECOVERY);

	assert_int_equal(file_trunc_begin(th, f->row, f->file), DB_RUNRECOVERY);
	(void)memp_close(mp);
}

/* --- places ---------------------------------------------------------------------------------- */

static void
mpool_with_a_size_beyond_its_file_died_of_a_bus_error(void **state)
{
	DB_ENV *env = env_of(*state, BYTES);
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;

	env->region_max = 4096 * KIB;
	mp = pool_with(env, 0);
	f = file_of(mp, "f", PS);
	store_seq(&mp->region->layout->size, mp->region->mapped);
	for (uint32_t e = 0; e < mp->g.nextents; e++)
		if (mp->extents[e] == EXTENT_CLOSED)
			store_seq(&mp->extents[e], e % 2 == 0 ? 12 : 0);
	for (uint32_t h = 0; h < mp->g.nhints; h++)
		store_seq(&mp->hints[h], UINT64_MAX);

	for (db_pgno_t n = 0; n < 4 * BYTES / PS; n++)
		fill(f, n, 'a');

	for (db_pgno_t n = 0; n < 4 * BYTES / PS; n++)
		holds(f, n, 'a');
	(void)memp_close(mp);
}

static void
mpool_joining_a_body_between_two_cache_lines_died_in_a_vector_load(void **state)
{
	DB_MPOOL *mp = pool_of(*state, BYTES);
	struct geometry g;

	assert_int_equal(format_check(mp->region,
			     (const struct mpool *)(const void *)((uint8_t *)mp->mp + 8), &g),
	    EPROTO);
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_get_waited_seconds_for_an_extent_that_nobody_changes),
		t_test(mpool_extents_of_all_ones_are_damage_and_not_a_full_pool),
		t_test(mpool_frames_that_nobody_loads_are_damage_and_not_a_full_pool),
		t_test(mpool_get_waited_for_a_write_of_a_spoilt_page_that_nobody_writes),
		t_test(mpool_resize_waited_seconds_for_a_client_that_does_not_resize),
		t_test(mpool_open_waited_seconds_for_a_mount_that_has_no_file_open),
		t_test(mpool_open_of_a_file_whose_row_has_a_wrong_number_died_without_a_row),
		t_test(mpool_every_row_was_walked_for_ever_after_a_death_in_the_file_table),
		t_test(mpool_reap_does_not_wait_for_a_write_that_the_dead_knew_nothing_of),
		t_test(mpool_truncation_of_nobody_is_not_waited_for_once_the_region_is_damaged),
		t_test(mpool_with_a_size_beyond_its_file_died_of_a_bus_error),
		t_test(mpool_joining_a_body_between_two_cache_lines_died_in_a_vector_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
