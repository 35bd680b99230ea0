/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: each system call of a long piece of work fails once, in every way that it may: kind by
 * kind, error by error, the first call, the second, until the work runs through without meeting the
 * fault.  After each: what was acknowledged is in the pool and, after a sync, on disk; a call that
 * failed has changed nothing; no pin is left; all of the pool is in order.
 */
#include "pool_t.h"

#include <sys/resource.h>

#include "pool/thread.h"

#define PS 4096u
#define PAGES 16u
#define CUT 9u

/* What the file must hold: byte by page, and how many pages there are. */
struct promise {
	int byte[PAGES];
	uint64_t pages;
};

/* What a call may answer when one system call failed with this. */
static bool
is_excusable(int ret, int error)
{
	/* a page of another file could not be written to make room; a file could not be reopened */
	return ret == 0 || ret == error || ret == ENOMEM || ret == EIO || ret == DB_INCOMPLETE ||
	    ret == EAGAIN;
}

static int
tried(const char *text, int ret, int error)
{
	if (!is_excusable(ret, error))
		(void)dprintf(STDOUT_FILENO, "# %s: %d\n", text, ret);
	t_check(is_excusable(ret, error));
	return ret;
}

#define tries(e) tried(#e, (e), error)

static DB_ENV *
env_that_grows(struct t *t)
{
	DB_ENV *env = env_of(t, 20 * KIB);

	env->region_max = 1 << 20;
	return env;
}

/* --- the work -------------------------------------------------------------------------------- */

static void
change_pages(DB_MPOOLFILE *f, struct promise *is, int byte, int error)
{
	for (db_pgno_t n = 0; n < PAGES; n++) {
		void *page;

		if (tries(memp_fget(f, &n, 0, &page)) != 0)
			continue;
		t_check(others(page, PS, is->byte[n]) == 0);
		memset(page, byte + (int)n, PS);
		must(memp_fput(f, page, DB_MPOOL_DIRTY));
		is->byte[n] = byte + (int)n;
	}
}

static void
work_on_a_temporary_file(DB_MPOOL *mp, int error)
{
	DB_MPOOLFILE *f;
	bool put[8] = { false };
	uint8_t *page;

	if (tries(memp_fopen(mp, NULL, 0, 0, 0, PS, -1, NULL, NULL, &f)) != 0)
		return;
	for (db_pgno_t n = 0; n < 8; n++)
		if (tries(memp_fget(f, &n, DB_MPOOL_CREATE, (void **)&page)) == 0) {
			memset(page, 't', PS);
			must(memp_fput(f, page, DB_MPOOL_DIRTY));
			put[n] = true;
		}
	for (db_pgno_t n = 0; n < 8; n++)
		if (put[n] && tries(memp_fget(f, &n, 0, (void **)&page)) == 0) {
			t_check(others(page, PS, 't') == 0);
			must(memp_fput(f, page, 0));
		}
	(void)tries(memp_fclose(f));
}

static void
work_on_names(DB_MPOOL *mp, int error)
{
	DB_MPOOLFILE *f;
	db_pgno_t n = 0;
	void *page;

	if (tries(memp_fopen(mp, "g", 0, DB_CREATE, 0600, PS, -1, NULL, NULL, &f)) != 0)
		return;
	if (tries(memp_fget(f, &n, DB_MPOOL_NEW, &page)) == 0)
		must(memp_fput(f, page, DB_MPOOL_DIRTY));
	(void)tries(memp_frename(mp, "g", "h"));
	if (memp_fremove(mp, "h") != 0)
		(void)memp_fremove(mp, "g");
	(void)tries(memp_fclose(f));
}

static void
work_on_the_file(DB_MPOOL *mp, DB_MPOOLFILE *f, struct promise *is, int error)
{
	int wrote;

	change_pages(f, is, 'A', error);
	(void)tries(memp_fsync(f));
	(void)tries(memp_trickle(mp, 100, &wrote));
	if (tries(memp_ftruncate(f, CUT * PS)) == 0) {
		is->pages = CUT;
		for (unsigned i = CUT; i < PAGES; i++)
			is->byte[i] = 0;
	}
	if (tries(memp_ftruncate(f, PAGES * PS)) == 0)
		is->pages = PAGES;
	(void)tries(memp_fprefetch(f, 0, CUT));
	if (is->pages == PAGES)
		change_pages(f, is, 'Q', error);
	(void)tries(memp_sync(mp, NULL));
}

static void
work(struct t *t, struct promise *is, int error)
{
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;

	if (memp_open(NULL, DB_CREATE, 0, env_that_grows(t), &mp) != 0)
		return;
	if (tries(memp_fopen(mp, "f", 0, 0, 0, PS, -1, NULL, NULL, &f)) == 0) {
		work_on_the_file(mp, f, is, error);
		work_on_a_temporary_file(mp, error);
		work_on_names(mp, error);
		(void)memp_resize(mp, 64 * KIB);
		(void)memp_resize(mp, 20 * KIB);
		(void)tries(memp_fclose(f));
	}
	(void)memp_close(mp);
}

/* --- the audit ------------------------------------------------------------------------------- */

static void
audit(struct t *t, const struct promise *is)
{
	DB_MPOOL *mp = pool_with(env_that_grows(t), 0);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	DB_MPOOL_STAT s = stat_of(mp);

	t_check(s.st_pins == 0 && s.st_clients == 1);
	t_check(length_of(f) == is->pages * PS);
	for (db_pgno_t n = 0; n < is->pages; n++)
		holds(f, n, is->byte[n]);
	(void)mpool_file_error(f); /* of a write that failed, and will be made good */
	must(memp_sync(mp, NULL));
	for (db_pgno_t n = 0; n < is->pages; n++)
		t_check(on_disk(t_path(t, "f"), n * PS, PS, is->byte[n]));
	must(memp_fclose(f));
	at_rest(mp);
	must(memp_close(mp));
	must(memp_unlink(NULL, 0, &test_env));
}

/* One run with a fault; false: the work was over before. */
static bool
fail_once(struct t *t, enum os_call kind, unsigned n, int error)
{
	struct promise is = { .pages = PAGES };
	bool struck;

	write_pages(t_path(t, "f"), PAGES, PS, 'a');
	for (unsigned i = 0; i < PAGES; i++)
		is.byte[i] = 'a' + (int)i;
	t_fault(kind, n, error);
	work(t, &is, error);
	struck = t_fault_off() != 0;
	audit(t, &is);
	return struck;
}

static void
sweep(struct t *t, enum os_call kind, int error)
{
	static unsigned faults;
	unsigned n = 1;

	while (fail_once(t, kind, n, error)) {
		t_check(n < 2000);
		if (n++ % 50 == 0)
			t_seconds(T_TEST_SECONDS);
	}
	faults += n - 1;
	print_message(
	    "# kind %d, error %d: %u calls; %u faults so far\n", (int)kind, error, n - 1, faults);
}

static void
mpool_reads_and_writes_that_fail_lose_nothing(void **state)
{
	sweep(*state, OS_PREAD, EIO);
	sweep(*state, OS_PWRITE, EIO);
	sweep(*state, OS_PWRITE, ENOSPC);
	sweep(*state, OS_FSYNC, EIO);
}

static void
mpool_reads_and_writes_that_are_short_or_interrupted_lose_nothing(void **state)
{
	sweep(*state, OS_PREAD, OS_SHORT);
	sweep(*state, OS_PWRITE, OS_SHORT);
	sweep(*state, OS_PREAD, EINTR);
	sweep(*state, OS_PWRITE, EINTR);
}

static void
mpool_descriptors_that_cannot_be_had_lose_nothing(void **state)
{
	sweep(*state, OS_OPEN, EMFILE);
	sweep(*state, OS_STAT, EIO);
	sweep(*state, OS_UNLINK, EIO);
	sweep(*state, OS_LOCK, EINTR);
}

static void
mpool_memory_and_room_that_cannot_be_had_lose_nothing(void **state)
{
	sweep(*state, OS_MALLOC, ENOMEM);
	sweep(*state, OS_MAP, ENOMEM);
	sweep(*state, OS_SHM, ENOMEM);
	sweep(*state, OS_ALLOCATE, ENOSPC);
	sweep(*state, OS_TRUNCATE, EIO);
}

/* --- a limit on the size of files ------------------------------------------------------------ */

struct limited {
	struct t *t;
	bool deaf; /* to SIGXFSZ */
};

/* May write the first page of the file and no more. */
static int
syncs_under_a_limit(struct t_child *c, void *arg)
{
	const struct rlimit limit = { PS, PS };
	struct limited *l = arg;
	DB_MPOOL *mp = pool_of(l->t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	(void)c;
	if (l->deaf)
		(void)signal(SIGXFSZ, SIG_IGN);
	t_check(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	fill(f, 1, 'L');
	t_check(memp_fsync(f) == EFBIG);
	holds(f, 1, 'L');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
sync_under_a_limit(struct t *t, bool deaf, int status)
{
	struct limited l = { t, deaf };
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;
	struct t_child c;

	write_pages(t_path(t, "f"), 4, PS, 'a');
	f = file_of(mp, "f", PS);
	t_fork(&c, syncs_under_a_limit, &l);
	assert_int_equal(t_join(&c), status);
	must(memp_reap(mp));
	holds(f, 1, 'L');
	(void)mpool_file_error(f);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), PS, PS, 'L'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_write_beyond_the_limit_on_file_sizes_is_efbig_and_kept(void **state)
{
	sync_under_a_limit(*state, true, 0);
}

static void
mpool_process_that_the_limit_on_file_sizes_kills_loses_nothing(void **state)
{
	sync_under_a_limit(*state, false, 128 + SIGXFSZ);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_reads_and_writes_that_fail_lose_nothing),
		t_test(mpool_reads_and_writes_that_are_short_or_interrupted_lose_nothing),
		t_test(mpool_descriptors_that_cannot_be_had_lose_nothing),
		t_test(mpool_memory_and_room_that_cannot_be_had_lose_nothing),
		t_test(mpool_write_beyond_the_limit_on_file_sizes_is_efbig_and_kept),
		t_test(mpool_process_that_the_limit_on_file_sizes_kills_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
