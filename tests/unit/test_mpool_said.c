/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: every call that fails says why, in a sentence with the prefix, to who asked to be
 * told; and the library prints nothing by itself, whatever happens.
 */
#include "pool_t.h"

#define PS 4096u
#define PAGES 3u
#define TYPE 7

/* What the calls are about: a pool, a file of it, the same read-only, one whose pgin fails. */
struct things {
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;
	DB_MPOOLFILE *readonly;
	DB_MPOOLFILE *typed;
};

static int
pgin_that_fails(db_pgno_t n, void *page, DBT *cookie)
{
	(void)n;
	(void)page;
	(void)cookie;
	return EPERM;
}

static DB_MPOOLFILE *called;

static int
pgin_that_calls(db_pgno_t n, void *page, DBT *cookie)
{
	(void)page;
	(void)cookie;
	return get_error(called, n, 0);
}

/* memp_fput or memp_fset of a page that is pinned. */
static int
puts_with(DB_MPOOLFILE *f, int (*give)(DB_MPOOLFILE *, void *, unsigned long), unsigned long flags)
{
	uint8_t *page = get(f, 0, 0);
	int ret = give(f, page, flags);

	if (give == memp_fset)
		put(f, page, 0);
	return ret;
}

static int
reads_with_error(struct things *at)
{
	int ret;

	t_fault_always(OS_PREAD, EIO);
	ret = get_error(at->f, 1, 0);
	(void)t_fault_off();
	return ret;
}

static int
syncs_with_error(struct things *at)
{
	int ret;

	fill(at->f, 2, 'x');
	t_fault_always(OS_PWRITE, ENOSPC);
	ret = memp_fsync(at->f);
	(void)t_fault_off();
	return ret;
}

static int
reads_of_type(struct things *at, int (*pgin)(db_pgno_t, void *, DBT *))
{
	called = at->f;
	must(memp_register(at->mp, TYPE, pgin, NULL));
	return get_error(at->typed, 0, 0);
}

static int
pins_too_much(struct things *at)
{
	void *pages[400];
	unsigned n = 0;
	int ret;

	do {
		db_pgno_t pgno = PAGES + n;

		ret = memp_fget(at->f, &pgno, DB_MPOOL_CREATE, &pages[n]);
	} while (ret == 0 && ++n < 400);
	while (n > 0)
		put(at->f, pages[--n], 0);
	return ret;
}

/* --- the calls ------------------------------------------------------------------------------- */

#define CALLS 37

/* Call number i, which must fail; what it is, for who reads the report. */
static const char *
call(struct things *at, unsigned i, int *wantedp, int *retp)
{
	unsigned k = 0;
	DB_LSN lsn = { 0, 0 };
	DB_MPOOL *none;

#define FAILS(error, e)                                                                            \
	do {                                                                                       \
		if (k++ == i) {                                                                    \
			*wantedp = (error);                                                        \
			*retp = (e);                                                               \
			return #e;                                                                 \
		}                                                                                  \
	} while (0)
	FAILS(EINVAL, get_error(at->f, PAGES, 0));
	FAILS(EINVAL, get_error(at->f, 0, DB_MPOOL_CREATE | DB_MPOOL_NEW));
	FAILS(EINVAL, get_error(at->f, 0, 0x40));
	FAILS(EINVAL, get_error(at->readonly, 0, DB_MPOOL_NEW));
	FAILS(EINVAL, get_error(at->readonly, PAGES, DB_MPOOL_CREATE));
	FAILS(EIO, reads_with_error(at));
	FAILS(ENOMEM, pins_too_much(at));
	FAILS(EPERM, reads_of_type(at, pgin_that_fails));
	FAILS(EDEADLK, reads_of_type(at, pgin_that_calls));
	FAILS(EINVAL, memp_fput(at->f, at, 0));
	FAILS(EINVAL, memp_fset(at->f, at, DB_MPOOL_DIRTY));
	FAILS(EINVAL, puts_with(at->f, memp_fput, DB_MPOOL_CLEAN | DB_MPOOL_DIRTY));
	FAILS(EINVAL, puts_with(at->f, memp_fput, 0x40));
	FAILS(EACCES, puts_with(at->readonly, memp_fput, DB_MPOOL_DIRTY));
	FAILS(EINVAL, puts_with(at->f, memp_fset, 0));
	FAILS(EINVAL, puts_with(at->f, memp_fset, DB_MPOOL_CLEAN | DB_MPOOL_DIRTY));
	FAILS(EACCES, puts_with(at->readonly, memp_fset, DB_MPOOL_DIRTY));
	FAILS(EACCES, memp_ftruncate(at->readonly, 0));
	FAILS(EINVAL, memp_ftruncate(at->f, 1));
	FAILS(EINVAL, memp_ftruncate(at->f, -1));
	FAILS(EFBIG, memp_ftruncate(at->f, ((off_t)1 << 44) + PS));
	FAILS(ENOSPC, syncs_with_error(at));
	FAILS(EINVAL, memp_sync(at->mp, &lsn));
	FAILS(EINVAL, memp_trickle(at->mp, 0, NULL));
	FAILS(EINVAL, memp_trickle(at->mp, 101, NULL));
	FAILS(EINVAL, memp_register(at->mp, 0, NULL, NULL));
	FAILS(EINVAL, memp_resize(at->mp, 1));
	FAILS(ENOMEM, memp_resize(at->mp, (size_t)1 << 44));
	FAILS(ENOENT, memp_fremove(at->mp, "none"));
	FAILS(ENOENT, memp_frename(at->mp, "none", "f"));
	FAILS(ENOENT, fopen_error(at->mp, "none", 0, 0, PS, -1));
	FAILS(EINVAL, fopen_error(at->mp, "f", 0, 0, 2 * PS, -1));
	FAILS(EINVAL, fopen_error(at->mp, "f", 0, 0, 1000, -1));
	FAILS(EINVAL, fopen_error(at->mp, "f", 0, 0x4000, PS, -1));
	FAILS(EINVAL, fopen_error(at->mp, NULL, 0, DB_RDONLY, PS, -1));
	FAILS(EINVAL, fopen_error(at->mp, "f", -1, 0, PS, PS));
	FAILS(EINVAL, memp_open(NULL, 0x4000, 0, &test_env, &none));
#undef FAILS
	return NULL;
}

static void
things_of(struct t *t, struct things *at)
{
	static char prefix[] = "my program";

	write_pages(t_path(t, "f"), PAGES, PS, 'a');
	write_pages(t_path(t, "g"), PAGES, PS, 'a');
	at->mp = pool_of(t, 64 * KIB);
	test_env.db_errpfx = prefix;
	at->f = file_of(at->mp, "f", PS);
	at->readonly = file_with(at->mp, "f", DB_RDONLY, PS);
	must(memp_register(at->mp, TYPE, NULL, NULL));
	at->typed = file_of_type(at->mp, "g", TYPE, PS);
	holds(at->f, 0, 'a');
	quiet();
}

static void
close_things(struct things *at)
{
	refuses(memp_fclose(at->readonly), ENOSPC); /* each handle is told once */
	must(memp_fclose(at->typed));
	must(memp_fsync(at->f)); /* the error was said, what has failed is written */
	must(memp_fclose(at->f));
	finish(at->mp);
}

static void
mpool_call_that_fails_says_why_in_a_sentence(void **state)
{
	struct things at;
	int wanted, ret;

	things_of(*state, &at);
	for (unsigned i = 0; i < CALLS; i++) {
		const char *text = call(&at, i, &wanted, &ret);

		assert_non_null(text);
		answer_is(__FILE__, __LINE__, text, ret, wanted);
		if (sentences == 0)
			(void)printf("# %s says nothing\n", text);
		assert_true(sentences > 0);
		quiet();
	}
	assert_null(call(&at, CALLS, &wanted, &ret));
	close_things(&at);
}

/* Where standard output and error lead meanwhile. */
static void
redirect(const char *path, int was[2])
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	t_check(fd != -1);
	(void)fflush(stdout);
	for (int i = 0; i < 2; i++) {
		t_check((was[i] = dup(1 + i)) != -1);
		t_check(dup2(fd, 1 + i) != -1);
	}
	(void)close(fd);
}

static void
redirect_back(const int was[2])
{
	(void)fflush(stdout);
	for (int i = 0; i < 2; i++) {
		t_check(dup2(was[i], 1 + i) != -1);
		(void)close(was[i]);
	}
}

static void
mpool_prints_nothing_by_itself(void **state)
{
	struct t *t = *state;
	struct things at;
	int wanted, ret, was[2];

	things_of(t, &at);
	test_env.db_errcall = NULL;
	test_env.db_verbose = 2;
	redirect(t_path(t, "printed"), was);
	for (unsigned i = 0; i < CALLS; i++)
		(void)call(&at, i, &wanted, &ret);
	close_things(&at);
	redirect_back(was);
	assert_int_equal(disk_length(t_path(t, "printed")), 0);
}

static void
mpool_sentences_go_to_the_file_with_the_prefix(void **state)
{
	struct t *t = *state;
	struct things at;
	char *text, *line;
	int wanted, ret;
	unsigned lines = 0;

	things_of(t, &at);
	test_env.db_errcall = NULL;
	test_env.db_errfile = fopen(t_path(t, "said"), "w");
	assert_non_null(test_env.db_errfile);
	for (unsigned i = 0; i < CALLS; i++)
		(void)call(&at, i, &wanted, &ret);
	assert_int_equal(fclose(test_env.db_errfile), 0);
	test_env.db_errfile = NULL;
	text = t_read_file(t_path(t, "said"), NULL);
	for (line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++)
		assert_int_equal(strncmp(line, "my program: ", 12), 0);
	assert_in_range(lines, CALLS, 2 * CALLS);
	free(text);
	close_things(&at);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_call_that_fails_says_why_in_a_sentence),
		t_test(mpool_prints_nothing_by_itself),
		t_test(mpool_sentences_go_to_the_file_with_the_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
