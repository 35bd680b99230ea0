/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: what other processes do between two steps of one.
 *
 * This has a copy of core/pool of its own, which calls the test at the places of point.h: there it
 * lets another process do its work to the end, so that nothing is a matter of time.
 */
#include "../pool_t.h"
#include "../still_t.h"

#include "pool/evict.h"
#include "pool/file.h"
#include "pool/look.h"
#include "pool/point.h"
#include "pool/policy.h"
#include "pool/thread.h"

#define PS 4096u

/* Whom to let work where, once. */
static struct {
	enum pool_point where;
	int (*work)(struct t_child *c, void *arg);
	struct t *t;
	/* and then */
	enum pool_point then_where;
	int (*then_work)(struct t_child *c, void *arg);
} other;

static enum pool_point dies_at; /* this process */
static unsigned walks;		/* over all frames */
static unsigned rounds;		/* in vain, for room */

/* One who was forked before, and waits; NULL in `work`. */
static struct t_child waiting;

/* Until it has said that it is done, or waits again, for a lock that we have. */
static void
let_it_go_on(void)
{
	char path[64], stat[512], *state;
	size_t bytes;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", waiting.pid);
	t_tell(&waiting, 'g');
	t_await(&waiting, 'b');
	do {
		FILE *f = fopen(path, "re");

		t_check(f != NULL);
		bytes = fread(stat, 1, sizeof(stat) - 1, f);
		(void)fclose(f);
		stat[bytes] = '\0';
		state = strrchr(stat, ')');
		t_check(state != NULL);
	} while (state[2] != 'S' && !t_told(&waiting));
}

static void
let(struct t *t, enum pool_point where, int (*work)(struct t_child *c, void *arg))
{
	other.t = t;
	other.work = work;
	other.where = where;
}

void
pool_at(enum pool_point where)
{
	struct t_child c;

	walks += where == POINT_WALK;
	rounds += where == POINT_NO_ROOM;
	if (where == dies_at)
		(void)raise(SIGKILL);
	if (where != other.where)
		return;
	if (other.work == NULL) {
		other.where = POINT_NONE;
		let_it_go_on();
		return;
	}
	other.where = POINT_NONE; /* in the child too */
	t_fork(&c, other.work, other.t);
	t_check(t_join(&c) == 0);
	other.where = other.then_where;
	other.work = other.then_work;
	other.then_where = POINT_NONE;
}

/* --- a file that is mapped ------------------------------------------------------------------- */

static int
sets_length(const struct t *t, off_t bytes)
{
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", 0, PS);

	must(memp_ftruncate(f, bytes));
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static int
cuts_the_file(struct t_child *c, void *arg)
{
	(void)c;
	return sets_length(arg, PS);
}

static void
mpool_mapping_is_not_longer_than_a_file_that_is_cut_just_then(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 8, PS, 'a');
	mp = pool_of(t, 64 * KIB);
	let(t, POINT_MEASURED, cuts_the_file);
	f = file_with(mp, "f", DB_RDONLY, PS);
	assert_int_equal(other.where, POINT_NONE);
	assert_int_equal(length_of(f), PS);
	refuses(get_error(f, 5, 0), EINVAL);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

/* --- a page that is asked for ---------------------------------------------------------------- */

static void
mpool_page_that_is_asked_for_while_its_file_is_cut_is_not_handed_out(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 8, PS, 'a');
	f = file_with(mp, "f", 0, PS);
	let(t, POINT_BEFORE, cuts_the_file);
	refuses(get_error(f, 5, 0), EINVAL);
	assert_int_equal(other.where, POINT_NONE);
	assert_int_equal(length_of(f), PS);
	assert_int_equal(stat_of(mp).st_pins, 0);
	must(memp_fclose(f));
	finish(mp);
}

static int
lengthens_the_file(struct t_child *c, void *arg)
{
	(void)c;
	return sets_length(arg, 8 * PS);
}

/* Between two looks another makes the file long enough, and then cuts it again. */
static void
mpool_page_created_at_the_second_attempt_moves_the_end(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	uint8_t *page;

	write_pages(t_path(t, "f"), 1, PS, 'a');
	f = file_with(mp, "f", 0, PS);
	let(t, POINT_MAKING, lengthens_the_file);
	other.then_where = POINT_MADE;
	other.then_work = cuts_the_file;
	page = get(f, 5, DB_MPOOL_CREATE);
	assert_int_equal(other.where, POINT_NONE);
	assert_int_equal(others(page, PS, 0), 0);
	assert_int_equal(length_of(f), 6 * PS);
	memset(page, 'z', PS);
	put(f, page, DB_MPOOL_DIRTY);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 5 * PS, PS, 'z'));
	must(memp_fclose(f));
	finish(mp);
}

/* --- a file that is expelled ----------------------------------------------------------------- */

#define BIG 64u /* pages; more than a 64th of the pool has, so that all frames are walked over */

static int
changes_page_0(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 1024 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", 0, PS);

	(void)c;
	fill(f, 0, 'z');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_page_put_dirty_while_its_file_is_expelled_is_not_lost(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *other_size = NULL;

	for (db_pgno_t n = 0; n < BIG; n++)
		fill(f, n, 'a');
	must(memp_fsync(f));
	must(memp_fclose(f));
	let(t, POINT_WALKED, changes_page_0);
	(void)memp_fopen(mp, "f", 0, 0, 0, 2 * PS, -1, NULL, NULL, &other_size);
	assert_int_equal(other.where, POINT_NONE);
	if (other_size != NULL)
		must(memp_fclose(other_size));
	f = file_with(mp, "f", 0, PS);
	holds(f, 0, 'z');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'z'));
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	must(memp_fclose(f));
	finish(mp);
}

/* --- what a file costs that has few pages ---------------------------------------------------- */

static void
mpool_small_files_are_cut_and_removed_without_a_look_at_all_frames(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *empty = file_of(mp, "empty", PS), *small = file_of(mp, "small", PS);
	DB_MPOOLFILE *big = file_of(mp, "big", PS);

	for (db_pgno_t n = 0; n < BIG; n++)
		fill(big, n, 'a');
	for (db_pgno_t n = 0; n < 3; n++)
		fill(small, n, 'b');
	walks = 0;
	must(memp_ftruncate(empty, 0));
	must(memp_ftruncate(small, PS));
	holds(small, 0, 'b');
	refuses(get_error(small, 1, 0), EINVAL);
	must(memp_ftruncate(small, 0));
	must(memp_fclose(empty));
	must(memp_fclose(small));
	must(memp_fremove(mp, "empty"));
	must(memp_fremove(mp, "small"));
	assert_int_equal(walks, 0);
	must(memp_ftruncate(big, PS));
	assert_int_not_equal(walks, 0);
	must(memp_fclose(big));
	finish(mp);
}

/* As the mount takes back what a write that failed has made longer. */
static void
mpool_small_file_is_retracted_without_a_look_at_all_frames(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "small", PS);

	for (db_pgno_t n = 0; n < 4; n++)
		fill(f, n, 'a');
	walks = 0;
	must(mpool_file_retract(f, (off_t)(4 * PS), (off_t)PS));
	assert_int_equal(walks, 0);
	assert_int_equal(length_of(f), PS);
	assert_int_equal(resident(mp), 1);
	holds(f, 0, 'a');
	refuses(get_error(f, 1, 0), EINVAL);
	must(memp_fclose(f));
	finish(mp);
}

static int
dies_retracting(struct t_child *c, void *arg)
{
	DB_MPOOLFILE *f = file_of(pool_of(arg, 1024 * KIB), "f", PS);

	(void)c;
	dies_at = POINT_RETRACTED;
	(void)mpool_file_retract(f, (off_t)(4 * PS), (off_t)PS);
	return 0;
}

static void
mpool_retraction_of_the_dead_leaves_nothing_behind_the_end(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct t_child c;

	for (db_pgno_t n = 0; n < 4; n++)
		fill(f, n, 'a');
	t_fork(&c, dies_retracting, t);
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	must(memp_reap(mp));
	assert_int_equal(length_of(f), PS);
	must(memp_ftruncate(f, 4 * PS));
	holds(f, 0, 'a');
	for (db_pgno_t n = 1; n < 4; n++)
		holds(f, n, 0);
	must(memp_fclose(f));
	finish(mp);
}

/* --- a file that was removed ----------------------------------------------------------------- */

static int
dies_with_the_lock(struct t_child *c, void *arg)
{
	region_lock(pool_of(arg, 64 * KIB));
	t_tell(c, 'l');
	t_await(c, 'g');
	return 0;
}

static int
buries_orphans(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 64 * KIB);
	struct thread *t;

	must(thread_self(mp, &t));
	t_tell(c, 'r');
	t_await(c, 'g');
	t_tell(c, 'b');
	file_bury_orphans(t);
	t_tell(c, 'd');
	must(memp_close(mp));
	return 0;
}

static void
mpool_removed_file_that_is_open_is_not_buried_while_opens_are_counted_anew(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct t_child c;

	fill(f, 0, 'a');
	must(memp_fremove(mp, "f"));
	t_fork(&waiting, buries_orphans, t);
	t_await(&waiting, 'r');
	t_fork(&c, dies_with_the_lock, t);
	t_await(&c, 'l');
	t_kill(&c);
	let(t, POINT_COUNTING, NULL);
	must(memp_fclose(file_of(mp, "g", PS))); /* finds the lock's owner dead */
	assert_int_equal(other.where, POINT_NONE);
	t_await(&waiting, 'd');
	assert_int_equal(t_join(&waiting), 0);
	holds(f, 0, 'a');
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	must(memp_fclose(f));
	must(memp_reap(mp));
	finish(mp);
}

/* --- no room --------------------------------------------------------------------------------- */

static int
stands_still_in_a_write(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 20 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", 0, PS);

	fill(f, 0, 'a');
	stand_still(c, OS_PWRITE, NULL, 1, 0);
	must(memp_fsync(f));
	os_fault_hook = NULL;
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

/*
 * Another writes the one page that is not pinned, and does not come to an end.  Who looks for room
 * sleeps for a millisecond in most rounds, and gives up after as long as a load is waited for.
 */
static void
mpool_no_room_beside_a_write_that_does_not_end_is_enomem_in_time(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f = sparse_file(t, mp, "f", 64, PS);
	void *pages[64];
	unsigned n = 0;
	db_pgno_t pgno;
	struct t_child c;
	int ret;

	t_fork(&c, stands_still_in_a_write, t);
	t_await(&c, 's');
	do {
		rounds = 0;
		pgno = n + 1;
		ret = memp_fget(f, &pgno, 0, &pages[n]);
	} while (ret == 0 && ++n < 63);
	assert_int_equal(ret, ENOMEM);
	assert_true(n > 0);
	assert_true(rounds > FRAME_PATIENCE && rounds < 1500);
	while (n > 0)
		put(f, pages[--n], 0);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	must(memp_fclose(f));
	finish(mp);
}

/* --- who goes next --------------------------------------------------------------------------- */

static void
uses_page(void *arg, const struct mpool_page *page)
{
	put(arg, get(arg, page->pgno, 0), 0);
}

/* No page is on probation after that. */
static int
uses_what_is_there(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 128 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_RDONLY | DB_NOMMAP, PS);

	(void)c;
	for (unsigned i = 0; i < 4; i++)
		must(mpool_each_page(mp, 0, uses_page, f));
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static uint32_t
below(uint32_t n)
{
	static uint64_t seed = 5;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((seed >> 33) * n >> 31);
}

static db_pgno_t
nth_page(uint32_t phase, uint32_t i, uint32_t pages)
{
	switch (phase) {
	case 0: /* back and forth */
		return i % 96 < 48 ? i % 96 : 95 - i % 96;
	case 1:
		return below(pages);
	case 2: /* in large steps */
		return i * 5 % 512;
	default: /* small numbers more often */
		return below(1 + below(pages));
	}
}

static void
adaptive_last_page_on_probation_may_be_used_while_a_page_to_go_is_chosen(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of_policy(t, 128 * KIB, DB_POLICY_ADAPTIVE);
	DB_MPOOLFILE *f = sparse_file(t, mp, "f", 512, PS);
	uint32_t phase = 0, pages = 48;

	for (uint32_t i = 0; i < 20000; i++) {
		if (i % 40 == 0)
			let(t, POINT_CHOOSING, uses_what_is_there);
		if (i % 50 == 0) {
			phase = below(4);
			pages = 33 + below(30);
		}
		put(f, get(f, nth_page(phase, i, pages), 0), 0);
	}
	must(memp_fclose(f));
	finish(mp);
}

static int
uses_page_0(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 512 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_RDONLY | DB_NOMMAP, PS);

	(void)c;
	put(f, get(f, 0, 0), 0);
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

/* Of a page that LRU would not have; the account has what other uses are credited beside. */
static void
adaptive_hit_by_two_at_once_is_one_gain(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of_policy(t, 512 * KIB, DB_POLICY_ADAPTIVE);
	DB_MPOOLFILE *f = sparse_file(t, mp, "f", 512, PS);
	struct policy_size *z = policy_size(mp, 12);

	for (db_pgno_t n = 0; n < 100; n++)
		put(f, get(f, n, 0), 0);
	put(f, get(f, 0, 0), 0); /* joins the main class, and stays when others go */
	for (db_pgno_t n = 100; n < 300; n++)
		put(f, get(f, n, 0), 0);
	z->account = 0;
	let(t, POINT_STAMPING, uses_page_0);
	put(f, get(f, 0, 0), 0);
	assert_int_equal(other.where, POINT_NONE);
	assert_true(z->account > 0 && z->account < 100000); /* 65536 for a gain */
	must(memp_fclose(f));
	finish(mp);
}

static int
removes_the_pool(struct t_child *c, void *arg)
{
	(void)c;
	(void)arg;
	return memp_unlink(NULL, 1, &test_env);
}

static void
mpool_pages_put_dirty_in_a_pool_that_is_removed_just_then_are_estale(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = file_with(mp, "f", DB_CREATE, PS);
	void *pages[10];

	for (db_pgno_t n = 0; n < 10; n++)
		fill(f, n, 'a');
	must(memp_fsync(f));
	assert_int_equal(mpool_get_at_hand(f, 0, 10, NULL, pages), 10);
	quiet();
	let(t, POINT_PUTTING, removes_the_pool);
	refuses(mpool_put_all_dirty(f, pages, 10), ESTALE);
	assert_int_equal(other.where, POINT_NONE);
	(void)memp_fclose(f);
	(void)memp_close(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_mapping_is_not_longer_than_a_file_that_is_cut_just_then),
		t_test(mpool_page_that_is_asked_for_while_its_file_is_cut_is_not_handed_out),
		t_test(mpool_page_created_at_the_second_attempt_moves_the_end),
		t_test(mpool_page_put_dirty_while_its_file_is_expelled_is_not_lost),
		t_test(mpool_small_files_are_cut_and_removed_without_a_look_at_all_frames),
		t_test(mpool_small_file_is_retracted_without_a_look_at_all_frames),
		t_test(mpool_retraction_of_the_dead_leaves_nothing_behind_the_end),
		t_test(mpool_removed_file_that_is_open_is_not_buried_while_opens_are_counted_anew),
		t_test(mpool_no_room_beside_a_write_that_does_not_end_is_enomem_in_time),
		t_test(adaptive_last_page_on_probation_may_be_used_while_a_page_to_go_is_chosen),
		t_test(adaptive_hit_by_two_at_once_is_one_gain),
		t_test(mpool_pages_put_dirty_in_a_pool_that_is_removed_just_then_are_estale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
