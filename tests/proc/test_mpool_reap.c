/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: what a process that is killed leaves to the others.  Pins, loads, writes, locks, a
 * truncation half done: the survivor goes on at once, finds every page that was put, and all of
 * the pool in order.
 *
 * Here the place of the death is chosen; test_mpool_death.c goes through all of them.
 */
#include "../pool_t.h"

#include "pool/file.h"
#include "pool/page_table.h"
#include "pool/thread.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#define PS 4096u
#define BYTES (64 * KIB)

/* --- pins ------------------------------------------------------------------------------------ */

/* Pins page 0 and scribbles on it; d: says that it is dirty. */
static int
pins_and_scribbles(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, 0);
	char how = (char)t_await_u64(c);

	memset(page, 's', PS);
	if (how == 'd')
		must(memp_fset(f, page, DB_MPOOL_DIRTY));
	t_tell(c, 'p');
	t_await(c, 'n');
	return 0;
}

static void
kill_a_scribbler(struct t *t, char how)
{
	struct t_child c;

	t_fork(&c, pins_and_scribbles, t);
	t_tell_u64(&c, (uint64_t)how);
	t_await(&c, 'p');
	t_kill(&c);
}

static void
mpool_clean_page_that_only_the_dead_had_pinned_is_read_anew(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f;
	DB_MPOOL_STAT s;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	kill_a_scribbler(t, 'c');
	assert_int_equal(stat_of(mp).st_pins, 1);
	must(memp_reap(mp));
	s = stat_of(mp);
	assert_int_equal(s.st_pins, 0);
	assert_int_equal(s.st_reaped, 1);
	assert_int_equal(s.st_clients, 1);
	assert_int_equal(s.st_suspect, 0);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

/* It was half changed and clean for ever: who had it pinned, too, gave it back as it was. */
static void
mpool_clean_page_that_a_survivor_had_pinned_too_is_read_anew_after_its_put(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	page = get(f, 0, 0);
	kill_a_scribbler(t, 'c');
	must(memp_reap(mp));
	assert_int_equal(stat_of(mp).st_pins, 1);
	assert_ptr_equal(get(f, 0, 0), page); /* it cannot go */
	assert_int_equal(page[0], 's');
	put(f, page, 0);
	put(f, page, 0);
	holds(f, 0, 'a');
	assert_int_equal(stat_of(mp).st_page_in, 2);
	holds(f, 0, 'a');
	assert_int_equal(stat_of(mp).st_page_in, 2); /* once */
	assert_int_equal(stat_of(mp).st_suspect, 0);
	must(memp_fclose(f));
	finish(mp);
}

static int
finds_it_whole(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	(void)c;
	holds(f, 0, 'a');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_page_that_the_dead_half_changed_is_read_anew_by_any_process(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f;
	struct t_child c;
	uint8_t *page;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	page = get(f, 0, 0);
	kill_a_scribbler(t, 'c');
	kill_a_scribbler(t, 'c'); /* reaps the first */
	must(memp_reap(mp));
	put(f, page, DB_MPOOL_DISCARD);
	t_fork(&c, finds_it_whole, t);
	assert_int_equal(t_join(&c), 0);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

/* Who puts it dirty says that it is right as it is: nothing that was put is lost. */
static void
mpool_page_that_the_dead_half_changed_stays_if_a_survivor_puts_it_dirty(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	page = get(f, 0, 0);
	kill_a_scribbler(t, 'c');
	must(memp_reap(mp));
	memset(page, 'b', PS);
	put(f, page, DB_MPOOL_DIRTY);
	assert_int_equal(stat_of(mp).st_suspect, 1);
	holds(f, 0, 'b');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'b'));
	holds(f, 0, 'b');
	assert_int_equal(stat_of(mp).st_page_in, 1); /* written, it is a page like any other */
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_dirty_page_that_the_dead_had_pinned_is_kept_and_suspect(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	kill_a_scribbler(t, 'd');
	must(memp_reap(mp));
	assert_int_equal(stat_of(mp).st_suspect, 1);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	holds(f, 0, 's');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 's'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_open_takes_over_what_the_dead_left(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	kill_a_scribbler(t, 'c');
	mp = pool_of(t, BYTES);
	assert_int_equal(stat_of(mp).st_pins, 0);
	assert_int_equal(stat_of(mp).st_reaped, 1);
	assert_int_equal(fstat_of(mp, "/f").st_opens, 0);
	f = file_of(mp, "f", PS);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

static int
pins_all(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	void *page;

	for (db_pgno_t n = 0; memp_fget(f, &n, 0, &page) == 0; n++)
		continue;
	t_tell(c, 'p');
	t_await(c, 'n');
	return 0;
}

static void
mpool_fget_in_a_pool_full_of_the_deads_pins_finds_room_by_itself(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f;
	struct t_child c;

	write_pages(t_path(t, "f"), 30, PS, 'a');
	f = file_of(mp, "f", PS);
	t_fork(&c, pins_all, t);
	t_await(&c, 'p');
	refuses(get_error(f, 20, 0), ENOMEM);
	t_kill(&c);
	holds(f, 20, 'a' + 20);
	must(memp_fclose(f));
	finish(mp);
}

/* --- locks ----------------------------------------------------------------------------------- */

/* Dies with the region lock held, and what it guards in disorder. */
static int
dies_under_the_region_lock(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "g", PS);

	fill(f, 0, 'f');
	fill(g, 0, 'g');
	must(shlock_lock_counted(mp->region, &mp->region->layout->lock));
	memset(mp->hash, 0, mp->g.nhash * sizeof(uint32_t));
	mp->mp->free_row = mp->mp->free_open = 3;
	f->row->opens = 9;
	t_tell(c, 'l');
	t_await(c, 'n');
	return 0;
}

static void
mpool_death_under_the_region_lock_is_repaired_by_the_next(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f, *g;
	struct t_child c;

	t_fork(&c, dies_under_the_region_lock, t);
	t_await(&c, 'l');
	t_kill(&c);
	f = file_of(mp, "f", PS); /* the same row again: its page is there */
	g = file_of(mp, "g", PS);
	holds(f, 0, 'f');
	holds(g, 0, 'g');
	must(memp_reap(mp));
	assert_int_equal(fstat_of(mp, "/f").st_opens, 1);
	assert_int_equal(stat_of(mp).st_files, 2);
	must(memp_fclose(f));
	must(memp_fclose(g));
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "g"), 0, PS, 'g'));
	finish(mp);
}

static int
dies_with_all_buckets_locked(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	struct thread *t;

	must(enter(mp, &t));
	for (uint32_t b = 0; b < mp->g.nbuckets; b++)
		table_lock(t, b);
	t_tell(c, 'l');
	t_await(c, 'n');
	return 0;
}

static void
mpool_death_with_buckets_locked_does_not_stop_a_load(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f;
	struct t_child c;

	write_pages(t_path(t, "f"), 20, PS, 'a');
	f = file_of(mp, "f", PS);
	holds(f, 0, 'a');
	t_fork(&c, dies_with_all_buckets_locked, t);
	t_await(&c, 'l');
	t_kill(&c);
	for (db_pgno_t n = 0; n < 20; n++)
		holds(f, n, 'a' + (int)n);
	must(memp_fclose(f));
	/* a block notes one bucket: the others are taken from the dead as they are met */
	for (uint32_t b = 0; b < mp->g.nbuckets; b++) {
		struct thread *self;

		must(enter(mp, &self));
		table_lock(self, b);
		table_unlock(self, b);
	}
	finish(mp);
}

/* --- the reaper dies too --------------------------------------------------------------------- */

struct reaper {
	struct t *t;
	unsigned call;
};

static int
reaps_and_dies(struct t_child *c, void *arg)
{
	struct reaper *r = arg;
	DB_MPOOL *mp;

	(void)c;
	t_fault(T_FAULT_ANY, r->call, T_FAULT_KILL);
	if (memp_open(NULL, 0, 0, env_of(r->t, BYTES), &mp) == 0)
		(void)memp_close(mp);
	return 0;
}

static void
mpool_reaper_that_dies_is_followed_by_another(void **state)
{
	struct t *t = *state;
	struct reaper r = { .t = t, .call = 1 };
	struct t_child c;
	int status = 128 + SIGKILL;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	for (; status == 128 + SIGKILL; r.call++) {
		DB_MPOOL *mp;
		DB_MPOOLFILE *f;

		kill_a_scribbler(t, 'c');
		t_fork(&c, reaps_and_dies, &r);
		status = t_join(&c);
		t_check(status == 0 || status == 128 + SIGKILL);
		mp = pool_of(t, BYTES);
		must(memp_reap(mp));
		assert_int_equal(stat_of(mp).st_pins, 0);
		assert_int_equal(stat_of(mp).st_clients, 1);
		f = file_of(mp, "f", PS);
		assert_int_equal(fstat_of(mp, "/f").st_opens, 1);
		holds(f, 0, 'a');
		must(memp_fclose(f));
		finish(mp);
		assert_in_range(r.call, 1, 300);
	}
	assert_true(r.call > 5);
}

/* --- a whole crowd --------------------------------------------------------------------------- */

#define CROWD 60 /* REAP_CLIENTS of the environment: another number, of a large pool */
#define CROWD_MOST 1000u

/* One of the crowd: 'p', its page is pinned and another dirty; 'e', the pool takes no more. */
static void
joins(struct t *t, int tell, unsigned i)
{
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (memp_open(NULL, 0, 0, env_of(t, 0), &mp) == 0) {
		f = file_of(mp, "f", PS);
		fill(f, 2 * i, 'd');
		(void)get(f, 2 * i + 1, DB_MPOOL_CREATE);
		t_check(write(tell, "p", 1) == 1);
	} else
		t_check(write(tell, "e", 1) == 1);
	for (;;)
		(void)pause();
}

/* Up to so many processes, each with a pin; as many as the pool takes. */
static unsigned
gather(struct t *t, unsigned want, pid_t pids[])
{
	unsigned n = 0;
	char word = 'p';
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	while (n < want && word == 'p') {
		t_seconds(T_TEST_SECONDS);
		(void)fflush(NULL);
		pids[n] = fork();
		assert_true(pids[n] >= 0);
		if (pids[n] == 0)
			joins(t, fds[1], n);
		n++;
		assert_int_equal(read(fds[0], &word, 1), 1);
	}
	(void)close(fds[0]);
	(void)close(fds[1]);
	return n;
}

static void
mpool_reaps_a_crowd_that_was_killed_at_once(void **state)
{
	const char *wanted = getenv("REAP_CLIENTS");
	static pid_t pids[CROWD_MOST];
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, (wanted != NULL ? 64 : 8) * 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	unsigned most = wanted != NULL ? (unsigned)atoi(wanted) : CROWD, n;
	uint64_t joined, began;

	fill(f, 2 * CROWD_MOST, 'e');
	n = gather(t, most < CROWD_MOST ? most : CROWD_MOST, pids);
	joined = stat_of(mp).st_clients - 1;
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(kill(pids[i], SIGKILL), 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
	assert_int_equal(stat_of(mp).st_pins, joined);

	began = os_monotonic_usec();
	must(memp_reap(mp));

	print_message("# %u clients, of %u that were wanted, reaped in %.1f ms\n", (unsigned)joined,
	    most, (double)(os_monotonic_usec() - began) / 1000.0);
	assert_int_equal(stat_of(mp).st_clients, 1);
	assert_int_equal(stat_of(mp).st_pins, 0);
	for (unsigned i = 0; i < joined; i++)
		holds(f, 2 * i, 'd');
	must(memp_fsync(f));
	finish(mp);
}

/* --- what only the dead had in the way ------------------------------------------------------- */

static int
pins_pages_at_the_end(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 256 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (db_pgno_t n = 0; n < 256 * KIB / PS; n++)
		(void)get(f, n, DB_MPOOL_CREATE);
	t_tell(c, 'p');
	t_await(c, 'n');
	return 0;
}

static void
mpool_resize_to_less_takes_what_only_the_dead_had_pinned(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	struct t_child c;

	t_fork(&c, pins_pages_at_the_end, t);
	t_await(&c, 'p');
	refuses(memp_resize(mp, 64 * KIB), EBUSY);
	t_kill(&c);
	must(memp_resize(mp, 64 * KIB));
	assert_in_range(stat_of(mp).st_cachesize, 64 * KIB, 128 * KIB);
	finish(mp);
}

#define LARGE ((size_t)64 << 20) /* a pool whose table is made for pages of 64 KiB */

static DB_MPOOL *
pool_with_a_short_table(struct t *t)
{
	return pool_for_pages(t, LARGE, 64 * KIB);
}

/* Pins one page after the other until the page table has no room for the next. */
static int
pins_until_the_table_is_full(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_with_a_short_table(arg);
	DB_MPOOLFILE *f = sparse_file(arg, mp, "f", LARGE / 512, 512);
	db_pgno_t n = 0;
	void *page;

	while (memp_fget(f, &n, 0, &page) == 0)
		n++;
	t_check(strstr(heard, "page table") != NULL);
	t_tell_u64(c, n);
	t_await(c, 'n');
	return 0;
}

static void
mpool_page_table_has_room_again_when_who_had_all_beside_it_pinned_is_dead(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with_a_short_table(t);
	DB_MPOOLFILE *f;
	struct t_child c;
	db_pgno_t full;

	t_fork(&c, pins_until_the_table_is_full, t);
	full = (db_pgno_t)t_await_u64(&c);
	f = file_with(mp, "f", 0, 512);
	refuses(get_error(f, full, 0), ENOMEM);
	t_kill(&c);
	must(get_error(f, full, 0));
	must(memp_fclose(f));
	finish(mp);
}

/* --- a truncation that the reaper has no pin to spare for ------------------------------------ */

static int
dies_cutting(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	t_tell(c, 'o');
	t_await(c, 'c');
	t_fault(OS_TRUNCATE, 1, T_FAULT_KILL);
	(void)memp_ftruncate(f, PS);
	return 1;
}

static void
mpool_truncation_of_the_dead_is_finished_by_who_has_no_pin_left(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f;
	struct t_child c;
	uint8_t *page;
	db_pgno_t n = 0;
	void *more;

	write_pages(t_path(t, "f"), 4, PS, 'a');
	f = file_of(mp, "f", PS);
	page = get(f, 3, 0);
	t_fork(&c, dies_cutting, t);
	t_await(&c, 'o');
	while (memp_fget(f, &n, 0, &more) == 0)
		continue;
	t_tell(&c, 'c');
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	must(memp_reap(mp));
	assert_int_equal(length_of(f), PS);
	assert_int_equal(others(page, PS, 0), 0);
	assert_int_equal(disk_length(t_path(t, "f")), PS);
	quiet();
	must(memp_fclose(f));
	finish(mp);
}

/* --- open files ------------------------------------------------------------------------------ */

#define FILES_MOST 1000u

struct many {
	struct t *t;
	unsigned names; /* different ones */
};

/* The i-th handle; the files are made as they are wanted. */
static int
open_one(const struct many *m, DB_MPOOL *mp, char who, unsigned i, DB_MPOOLFILE **fp)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "%c%u", who, i % m->names);
	return memp_fopen(mp, name, 0, DB_CREATE, 0600, PS, -1, NULL, NULL, fp);
}

/* Opens until a table is full; how many that were. */
static int
opens_all_it_can(struct t_child *c, void *arg)
{
	const struct many *m = arg;
	DB_MPOOL *mp = pool_of(m->t, BYTES);
	DB_MPOOLFILE *f;
	unsigned n = 0;

	while (n < FILES_MOST && open_one(m, mp, 'd', n, &f) == 0)
		n++;
	t_tell_u64(c, n);
	t_await(c, 'n');
	return 0;
}

static void
as_many_are_opened_when_who_had_all_is_dead(struct t *t, unsigned names)
{
	struct many m = { .t = t, .names = names };
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f[FILES_MOST];
	struct t_child c;
	uint64_t n;

	t_fork(&c, opens_all_it_can, &m);
	n = t_await_u64(&c);
	assert_in_range(n, 64, FILES_MOST - 1);
	refuses(open_one(&m, mp, 's', 0, &f[0]), ENFILE);
	t_kill(&c);
	quiet();
	for (unsigned i = 0; i < n; i++)
		must(open_one(&m, mp, 's', i, &f[i]));
	refuses(open_one(&m, mp, 's', (unsigned)n, &f[n]), ENFILE);
	for (unsigned i = 0; i < n; i++)
		must(memp_fclose(f[i]));
	assert_int_equal(stat_of(mp).st_reaped, 1);
	finish(mp);
}

static void
mpool_fopen_in_a_pool_full_of_the_deads_files_finds_room_by_itself(void **state)
{
	as_many_are_opened_when_who_had_all_is_dead(*state, FILES_MOST);
}

static void
mpool_fopen_in_a_pool_full_of_the_deads_handles_finds_room_by_itself(void **state)
{
	as_many_are_opened_when_who_had_all_is_dead(*state, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_clean_page_that_only_the_dead_had_pinned_is_read_anew),
		t_test(mpool_clean_page_that_a_survivor_had_pinned_too_is_read_anew_after_its_put),
		t_test(mpool_page_that_the_dead_half_changed_is_read_anew_by_any_process),
		t_test(mpool_page_that_the_dead_half_changed_stays_if_a_survivor_puts_it_dirty),
		t_test(mpool_dirty_page_that_the_dead_had_pinned_is_kept_and_suspect),
		t_test(mpool_open_takes_over_what_the_dead_left),
		t_test(mpool_fget_in_a_pool_full_of_the_deads_pins_finds_room_by_itself),
		t_test(mpool_death_under_the_region_lock_is_repaired_by_the_next),
		t_test(mpool_death_with_buckets_locked_does_not_stop_a_load),
		t_test(mpool_reaper_that_dies_is_followed_by_another),
		t_test(mpool_reaps_a_crowd_that_was_killed_at_once),
		t_test(mpool_resize_to_less_takes_what_only_the_dead_had_pinned),
		t_test(mpool_page_table_has_room_again_when_who_had_all_beside_it_pinned_is_dead),
		t_test(mpool_truncation_of_the_dead_is_finished_by_who_has_no_pin_left),
		t_test(mpool_fopen_in_a_pool_full_of_the_deads_files_finds_room_by_itself),
		t_test(mpool_fopen_in_a_pool_full_of_the_deads_handles_finds_room_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
