/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: several processes on one pool.  Rule S1, one buffer for one page, first; then what
 * each sees of the others' pages, what is told across processes, and what a process that is killed
 * or stopped in the middle of something leaves to the others.
 */
#include "../pool_t.h"

#include <sys/mman.h>

#define PS 4096u
#define WORKERS 4
#define PAGES 24u
#define ROUNDS 3000u

/* --- S1 -------------------------------------------------------------------------------------- */

/* In memory of all workers: where each has page n now (offset in the region + 1), and its total. */
struct view {
	uint64_t where[WORKERS][PAGES];
	uint64_t added[WORKERS][PAGES];
	uint64_t two_buffers;
};

struct s1 {
	struct t *t;
	struct view *v;
	unsigned id;
};

static uint64_t
offset_in(DB_MPOOL *mp, const void *page)
{
	return (uint64_t)((const uint8_t *)page - mpool_region(mp)->addr) + 1;
}

static int
adds_up(struct t_child *c, void *arg)
{
	struct s1 *s = arg;
	DB_MPOOL *mp = pool_of(s->t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	unsigned seed = s->id + 1;

	t_await(c, 'g');
	for (unsigned i = 0; i < ROUNDS; i++) {
		db_pgno_t n = (db_pgno_t)rand_r(&seed) % PAGES;
		uint64_t *page = (uint64_t *)(void *)get(f, n, DB_MPOOL_CREATE), at;

		store_seq(&s->v->where[s->id][n], at = offset_in(mp, page));
		for (unsigned w = 0; w < WORKERS; w++) {
			uint64_t theirs = load_seq(&s->v->where[w][n]);

			if (theirs != 0 && theirs != at)
				(void)add_seq(&s->v->two_buffers, 1);
		}
		(void)add_seq(&page[8 * s->id], 1);
		s->v->added[s->id][n]++;
		store_seq(&s->v->where[s->id][n], 0);
		put(f, page, DB_MPOOL_DIRTY);
	}
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static struct view *
view_create(void)
{
	struct view *v = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	t_check(v != MAP_FAILED);
	return v;
}

static void
mpool_page_has_one_buffer_while_processes_evict_dirty_victims(void **state)
{
	struct t *t = *state;
	struct view *v = view_create();
	struct t_child c[WORKERS];
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (unsigned i = 0; i < WORKERS; i++) {
		struct s1 s = { t, v, i };

		t_fork(&c[i], adds_up, &s);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		t_tell(&c[i], 'g');
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(t_join(&c[i]), 0);
	assert_int_equal(v->two_buffers, 0);
	assert_true(stat_of(mp).st_rw_evict > 100);
	for (db_pgno_t n = 0; n < PAGES; n++) {
		uint64_t *page = (uint64_t *)(void *)get(f, n, DB_MPOOL_CREATE);

		for (unsigned w = 0; w < WORKERS; w++)
			assert_true(page[8 * w] == v->added[w][n]);
		put(f, page, 0);
	}
	(void)munmap(v, sizeof(*v));
	must(memp_fclose(f));
	finish(mp);
}

/* --- two processes, step by step ------------------------------------------------------------- */

#define QUIT 'q'

/*
 * A process that does as it is told: a letter, then a number, and it answers with what the call
 * returned.  P pins page n, C pins it with CREATE, F fills the page that is pinned with a byte,
 * D/U/ X put it dirty, unchanged, CLEAN; S sets it dirty; W fsyncs, A reads the first byte of page
 * n.
 */
static int
obey_one(DB_MPOOLFILE *f, char what, uint64_t n, uint8_t **pagep)
{
	db_pgno_t pgno = (db_pgno_t)n;
	void *page = *pagep;
	int ret;

	switch (what) {
	case 'P':
	case 'C':
		ret = memp_fget(f, &pgno, what == 'C' ? DB_MPOOL_CREATE : 0, &page);
		*pagep = page;
		return ret;
	case 'F':
		memset(page, (int)n, PS);
		return 0;
	case 'D':
		return memp_fput(f, page, DB_MPOOL_DIRTY);
	case 'U':
		return memp_fput(f, page, 0);
	case 'X':
		return memp_fput(f, page, DB_MPOOL_CLEAN);
	case 'S':
		return memp_fset(f, page, DB_MPOOL_DIRTY);
	case 'W':
		return memp_fsync(f);
	case 'A':
		if ((ret = memp_fget(f, &pgno, 0, &page)) != 0)
			return -1000 - ret;
		ret = *(uint8_t *)page;
		must(memp_fput(f, page, 0));
		return ret;
	default:
		return -1;
	}
}

static int (*hook_once_open)(enum os_call, const char *);

static int
obeys(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = NULL;
	char what;

	os_fault_hook = hook_once_open;
	while ((what = (char)t_await_u64(c)) != QUIT)
		t_tell_u64(c, (uint64_t)obey_one(f, what, t_await_u64(c), &page));
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
order_only(struct t_child *c, char what, uint64_t n)
{
	t_tell_u64(c, (uint64_t)what);
	t_tell_u64(c, n);
}

static int
order(struct t_child *c, char what, uint64_t n)
{
	order_only(c, what, n);
	return (int)t_await_u64(c);
}

static void
dismiss(struct t_child *c)
{
	t_tell_u64(c, QUIT);
	assert_int_equal(t_join(c), 0);
}

static void
mpool_put_is_seen_by_other_processes_before_any_sync(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	t_fork(&c, obeys, t);
	fill(f, 3, 'm');
	assert_int_equal(order(&c, 'A', 3), 'm');
	must(order(&c, 'C', 9));
	must(order(&c, 'F', 't'));
	must(order(&c, 'D', 0));
	assert_int_equal(length_of(f), 10 * PS);
	holds(f, 9, 't');
	assert_int_equal(disk_length(t_path(t, "f")), 0);
	dismiss(&c);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fsync_skips_what_another_process_has_pinned(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	t_fork(&c, obeys, t);
	fill(f, 0, 'a');
	fill(f, 1, 'b');
	must(order(&c, 'P', 0));
	refuses(memp_fsync(f), DB_INCOMPLETE);
	assert_true(on_disk(t_path(t, "f"), PS, PS, 'b'));
	must(order(&c, 'U', 0));
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	dismiss(&c);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fput_clean_keeps_what_another_process_put_dirty(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE);

	t_fork(&c, obeys, t);
	must(memp_fset(f, page, DB_MPOOL_DIRTY));
	must(order(&c, 'P', 0));
	must(order(&c, 'F', 'x'));
	must(order(&c, 'D', 0));
	put(f, page, DB_MPOOL_CLEAN);
	holds(f, 0, 'x');
	dismiss(&c);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_address_that_another_process_has_pinned_is_einval_here(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, DB_MPOOL_CREATE);

	t_fork(&c, obeys, t);
	must(order(&c, 'P', 0));
	put(f, page, 0);
	refuses(memp_fput(f, page, DB_MPOOL_DIRTY), EINVAL);
	assert_int_equal(stat_of(mp).st_pins, 1);
	must(order(&c, 'U', 0));
	dismiss(&c);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_write_error_of_another_process_is_told_to_the_handles_of_the_file(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "g", PS);

	t_fork(&c, obeys, t);
	must(order(&c, 'C', 0)); /* the child has the file open before the error */
	must(order(&c, 'D', 0));
	t_fault(OS_PWRITE, 1, ENOSPC);
	refuses(memp_fsync(f), ENOSPC);
	assert_true(t_fault_off());
	must(memp_fsync(f));
	must(memp_fsync(g));
	refuses(order(&c, 'W', 0), ENOSPC);
	must(order(&c, 'W', 0));
	dismiss(&c);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

/* --- a writer that stands still -------------------------------------------------------------- */

static struct t_child *pausing; /* the child's side, in the child */

static int
pauses_in_pwrite(enum os_call call, const char *what)
{
	(void)what;
	if (call != OS_PWRITE)
		return 0;
	t_tell_u64(pausing, 'w');
	return (int)t_await_u64(pausing); /* 0, or the error to fail with */
}

static int
obeys_and_pauses(struct t_child *c, void *arg)
{
	pausing = c;
	hook_once_open = pauses_in_pwrite;
	return obeys(c, arg);
}

static void
mpool_hit_does_not_wait_for_a_writer(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	t_fork(&c, obeys_and_pauses, t);
	fill(f, 0, 'a');
	order_only(&c, 'W', 0);
	assert_int_equal(t_await_u64(&c), 'w');
	holds(f, 0, 'a');
	fill(f, 0, 'b'); /* while the copy with a's is on its way */
	t_tell_u64(&c, 0);
	for (uint64_t v; (v = t_await_u64(&c)) == 'w';)
		t_tell_u64(&c, 0);
	holds(f, 0, 'b');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'b'));
	dismiss(&c);
	must(memp_fclose(f));
	finish(mp);
}

/* A put that was acknowledged, whose write fails while somebody else sets and cleans the page. */
static void
mpool_fput_clean_during_a_write_that_fails_keeps_the_earlier_put(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	t_fork(&c, obeys_and_pauses, t);
	fill(f, 0, 'a');
	order_only(&c, 'W', 0);
	assert_int_equal(t_await_u64(&c), 'w');
	page = get(f, 0, 0);
	must(memp_fset(f, page, DB_MPOOL_DIRTY));
	t_tell_u64(&c, EIO);
	refuses((int)t_await_u64(&c), EIO);
	put(f, page, DB_MPOOL_CLEAN);
	holds(f, 0, 'a');
	dismiss(&c);
	(void)memp_fclose(f);
	finish(mp);
}

static void
mpool_killed_writer_leaves_the_page_dirty(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	t_fork(&c, obeys_and_pauses, t);
	fill(f, 0, 'a');
	order_only(&c, 'W', 0);
	assert_int_equal(t_await_u64(&c), 'w');
	t_kill(&c);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fput_clean_after_a_killed_writer_keeps_the_earlier_put(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	t_fork(&c, obeys_and_pauses, t);
	fill(f, 0, 'a');
	order_only(&c, 'W', 0);
	assert_int_equal(t_await_u64(&c), 'w');
	page = get(f, 0, 0);
	must(memp_fset(f, page, DB_MPOOL_DIRTY));
	t_kill(&c);
	must(memp_reap(mp));
	put(f, page, DB_MPOOL_CLEAN);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

/* --- a loader that stands still -------------------------------------------------------------- */

static int
pauses_in_pread(enum os_call call, const char *what)
{
	(void)what;
	if (call != OS_PREAD)
		return 0;
	os_fault_hook = NULL;
	t_tell_u64(pausing, 'r');
	return (int)t_await_u64(pausing);
}

static int
obeys_and_pauses_reading(struct t_child *c, void *arg)
{
	pausing = c;
	hook_once_open = pauses_in_pread;
	return obeys(c, arg);
}

static void
mpool_load_that_stands_still_is_taken_over_and_its_loader_sees_the_same(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	t_fork(&c, obeys_and_pauses_reading, t);
	order_only(&c, 'P', 1);
	assert_int_equal(t_await_u64(&c), 'r');
	holds(f, 1, 'b'); /* after a second */
	fill(f, 1, 'x');
	t_tell_u64(&c, 0);
	must((int)t_await_u64(&c));
	must(order(&c, 'U', 0));
	assert_int_equal(order(&c, 'A', 1), 'x');
	dismiss(&c);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_failed_load_leaves_its_waiters_to_try_for_themselves(void **state)
{
	struct t *t = *state;
	struct t_child c, d;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);

	write_pages(t_path(t, "f"), 2, PS, 'a');
	t_fork(&c, obeys_and_pauses_reading, t);
	t_fork(&d, obeys, t);
	order_only(&c, 'P', 1);
	assert_int_equal(t_await_u64(&c), 'r');
	order_only(&d, 'A', 1);
	t_tell_u64(&c, EIO);
	refuses((int)t_await_u64(&c), EIO);
	assert_int_equal(t_await_u64(&d), 'b');
	dismiss(&c);
	dismiss(&d);
	finish(mp);
}

static void
mpool_killed_loader_does_not_keep_the_page(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	t_fork(&c, obeys_and_pauses_reading, t);
	order_only(&c, 'P', 1);
	assert_int_equal(t_await_u64(&c), 'r');
	t_kill(&c);
	holds(f, 1, 'b');
	must(memp_fclose(f));
	finish(mp);
}

/* --- files without a name -------------------------------------------------------------------- */

struct nameless {
	struct t *t;
	const char *name; /* NULL: a temporary file */
};

/* Keeps a dirty page of a file that no other process could open. */
static int
keeps_a_nameless_file(struct t_child *c, void *arg)
{
	struct nameless *n = arg;
	DB_MPOOL *mp = pool_of(n->t, 64 * KIB);
	DB_MPOOLFILE *f = file_with(mp, n->name, n->name != NULL ? DB_CREATE : 0, PS);

	fill(f, 0, 'n');
	if (n->name != NULL)
		t_check(unlink(t_path(n->t, n->name)) == 0);
	t_tell(c, 'd');
	t_await(c, 'g');
	holds(f, 0, 'n');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

/* It is nobody else's to write, and no failure of theirs, however often they ask. */
static void
write_beside(struct t *t, const char *name)
{
	struct nameless n = { t, name };
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	struct t_child c;
	uint64_t old;
	int wrote;

	t_fork(&c, keeps_a_nameless_file, &n);
	t_await(&c, 'd');
	for (unsigned i = 0; i < 2; i++) {
		must(memp_sync(mp, NULL));
		must(memp_trickle(mp, 100, &wrote));
		assert_int_equal(wrote, 0);
		must(mpool_write_old(mp, 0, &old));
	}
	assert_int_equal(stat_of(mp).st_stranded, 0);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	finish(mp);
}

static void
mpool_sync_beside_a_temporary_file_of_another_process_succeeds(void **state)
{
	write_beside(*state, NULL);
}

static void
mpool_sync_beside_a_removed_file_of_another_process_succeeds(void **state)
{
	write_beside(*state, "r");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_page_has_one_buffer_while_processes_evict_dirty_victims),
		t_test(mpool_put_is_seen_by_other_processes_before_any_sync),
		t_test(mpool_fsync_skips_what_another_process_has_pinned),
		t_test(mpool_fput_clean_keeps_what_another_process_put_dirty),
		t_test(mpool_address_that_another_process_has_pinned_is_einval_here),
		t_test(mpool_write_error_of_another_process_is_told_to_the_handles_of_the_file),
		t_test(mpool_hit_does_not_wait_for_a_writer),
		t_test(mpool_fput_clean_during_a_write_that_fails_keeps_the_earlier_put),
		t_test(mpool_killed_writer_leaves_the_page_dirty),
		t_test(mpool_fput_clean_after_a_killed_writer_keeps_the_earlier_put),
		t_test(mpool_load_that_stands_still_is_taken_over_and_its_loader_sees_the_same),
		t_test(mpool_failed_load_leaves_its_waiters_to_try_for_themselves),
		t_test(mpool_killed_loader_does_not_keep_the_page),
		t_test(mpool_sync_beside_a_temporary_file_of_another_process_succeeds),
		t_test(mpool_sync_beside_a_removed_file_of_another_process_succeeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
