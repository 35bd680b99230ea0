/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: memp_register, pgin and pgout, cookies, and the log: who may read and write a page,
 * when the functions are called and on what, and that the log is flushed before the page is
 * written.
 */
#include "pool_t.h"

#define PS 1024u
#define TYPE 7
#define CALLS 18 /* that take a pool, or a file in one */

/* What the functions of this file were called with last, and what they shall answer. */
static struct {
	unsigned in, out;
	db_pgno_t pgno;
	void *page;
	char cookie[16];
	int in_error, out_error;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;
	int answers[CALLS];
} seen;

static void
note_call(db_pgno_t pgno, void *page, const DBT *cookie)
{
	seen.pgno = pgno;
	seen.page = page;
	memset(seen.cookie, 0, sizeof(seen.cookie));
	if (cookie != NULL && cookie->size < sizeof(seen.cookie))
		memcpy(seen.cookie, cookie->data, cookie->size);
}

/* On disk every byte is one more than in the pool. */
static int
pgin(db_pgno_t pgno, void *page, DBT *cookie)
{
	seen.in++;
	note_call(pgno, page, cookie);
	for (unsigned i = 0; i < PS; i++)
		((uint8_t *)page)[i]--;
	return seen.in_error;
}

static int
pgout(db_pgno_t pgno, void *page, DBT *cookie)
{
	seen.out++;
	note_call(pgno, page, cookie);
	for (unsigned i = 0; i < PS; i++)
		((uint8_t *)page)[i]++;
	return seen.out_error;
}

static DB_MPOOL *
converting_pool(struct t *t, size_t bytes)
{
	DB_MPOOL *mp = pool_of(t, bytes);

	memset(&seen, 0, sizeof(seen));
	seen.mp = mp;
	must(memp_register(mp, TYPE, pgin, pgout));
	return mp;
}

static DB_MPOOLFILE *
typed_file(DB_MPOOL *mp, DBT *cookie)
{
	DB_MPOOLFILE *f = NULL;

	must(memp_fopen(mp, "f", TYPE, DB_CREATE, 0600, PS, -1, cookie, NULL, &f));
	return f;
}

static void
mpool_register_type_below_1_is_einval(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);

	refuses(memp_register(mp, 0, pgin, pgout), EINVAL);
	refuses(memp_register(mp, -1, pgin, pgout), EINVAL);
	assert_int_equal(sentences, 2);
	must(memp_register(mp, 1, NULL, NULL));
	finish(mp);
}

static void
mpool_pgin_is_called_once_for_a_page_read_with_a_copy_of_the_cookie(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = converting_pool(t, 64 * KIB);
	char text[] = "cookie";
	DBT cookie = { .data = text, .size = 6 };
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 3, PS, 'b');
	f = typed_file(mp, &cookie);
	memset(text, 'x', 6);
	holds(f, 2, 'c');
	holds(f, 2, 'c');
	assert_int_equal(seen.in, 1);
	assert_int_equal(seen.pgno, 2);
	assert_string_equal(seen.cookie, "cookie");
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_pgin_is_called_for_create_and_not_for_new(void **state)
{
	DB_MPOOL *mp = converting_pool(*state, 64 * KIB);
	DB_MPOOLFILE *f = typed_file(mp, NULL);
	uint8_t *page;

	page = get(f, 0, DB_MPOOL_CREATE);
	assert_int_equal(others(page, PS, 0xff), 0);
	put(f, page, 0);
	assert_int_equal(seen.in, 1);
	assert_int_equal(new_page(f, &page), 1);
	assert_int_equal(others(page, PS, 0), 0);
	put(f, page, 0);
	assert_int_equal(seen.in, 1);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_pgout_is_called_once_for_a_page_written_on_a_copy(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = converting_pool(t, 64 * KIB);
	DBT cookie = { .data = (void *)"biscuit", .size = 7 };
	DB_MPOOLFILE *f = typed_file(mp, &cookie);
	uint8_t *page;

	fill(f, 1, 'a');
	must(memp_fsync(f));
	assert_int_equal(seen.out, 1);
	assert_int_equal(seen.pgno, 1);
	assert_string_equal(seen.cookie, "biscuit");
	page = get(f, 1, 0);
	assert_ptr_not_equal(seen.page, page);
	assert_int_equal(others(page, PS, 'a'), 0);
	put(f, page, 0);
	assert_true(on_disk(t_path(t, "f"), PS, PS, 'b'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_pages_convert_there_and_back_through_eviction(void **state)
{
	DB_MPOOL *mp = converting_pool(*state, 20 * KIB);
	DB_MPOOLFILE *f = typed_file(mp, NULL);

	for (db_pgno_t n = 0; n < 100; n++)
		fill(f, n, (int)n);
	for (db_pgno_t n = 0; n < 100; n++)
		holds(f, n, (int)n);
	assert_int_equal(seen.out, stat_of(mp).st_page_out);
	assert_int_equal(seen.in, stat_of(mp).st_page_in + stat_of(mp).st_page_create);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_pgin_error_is_returned_and_the_page_is_not_there(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = converting_pool(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 1, PS, 'b');
	f = typed_file(mp, NULL);
	seen.in_error = EBADMSG;
	refuses(get_error(f, 0, 0), EBADMSG);
	refuses(get_error(f, 5, DB_MPOOL_CREATE), EBADMSG);
	assert_int_equal(length_of(f), PS);
	assert_int_equal(stat_of(mp).st_page_clean, 0);
	at_rest(mp);
	seen.in_error = 0;
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_pgout_error_is_returned_and_the_page_stays_dirty(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = converting_pool(t, 64 * KIB);
	DB_MPOOLFILE *f = typed_file(mp, NULL);

	fill(f, 0, 'a');
	seen.out_error = EBADMSG;
	refuses(memp_fsync(f), EBADMSG);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	holds(f, 0, 'a');
	seen.out_error = 0;
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'b'));
	must(memp_fclose(f));
	finish(mp);
}

static int
pgin_twice(db_pgno_t pgno, void *page, DBT *cookie)
{
	(void)pgin(pgno, page, cookie);
	return pgin(pgno, page, cookie);
}

static void
mpool_register_the_newest_pair_wins(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = converting_pool(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 2, PS, 'c');
	f = typed_file(mp, NULL);
	holds(f, 0, 'b');
	must(memp_register(mp, TYPE, pgin_twice, pgout));
	holds(f, 1, 'b');
	must(memp_register(mp, TYPE, NULL, NULL));
	fill(f, 0, 'z');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'z'));
	must(memp_fclose(f));
	finish(mp);
}

static void
call_all(void *page)
{
	DB_MPOOLFILE *other;
	db_pgno_t n = 0;
	DB_MPOOL_STAT *s;
	off_t bytes;
	int i = 0;

	seen.answers[i++] = memp_fget(seen.f, &n, DB_MPOOL_CREATE, &page);
	seen.answers[i++] = memp_fput(seen.f, page, 0);
	seen.answers[i++] = memp_fset(seen.f, page, DB_MPOOL_DIRTY);
	seen.answers[i++] = memp_fsync(seen.f);
	seen.answers[i++] = memp_sync(seen.mp, NULL);
	seen.answers[i++] = memp_stat(seen.mp, &s, NULL, NULL);
	seen.answers[i++] = memp_trickle(seen.mp, 50, NULL);
	seen.answers[i++] = memp_fsize(seen.f, &bytes);
	seen.answers[i++] = memp_ftruncate(seen.f, 0);
	seen.answers[i++] = memp_fprefetch(seen.f, 0, 1);
	seen.answers[i++] = memp_fremove(seen.mp, "typed");
	seen.answers[i++] = memp_frename(seen.mp, "typed", "other");
	seen.answers[i++] = memp_resize(seen.mp, 128 * KIB);
	seen.answers[i++] = memp_reap(seen.mp);
	seen.answers[i++] = memp_fopen(seen.mp, NULL, 0, 0, 0, PS, -1, NULL, NULL, &other);
	seen.answers[i++] = memp_register(seen.mp, TYPE + 1, NULL, NULL);
	seen.answers[i++] = memp_fclose(seen.f);
	seen.answers[i++] = memp_close(seen.mp);
}

static int
calls_back(db_pgno_t pgno, void *page, DBT *cookie)
{
	(void)pgno;
	(void)cookie;
	call_all(page);
	return 0;
}

static void
all_were_refused(void)
{
	for (unsigned i = 0; i < CALLS; i++)
		if (seen.answers[i] != EDEADLK)
			fail_msg("call %u returned %d", i, seen.answers[i]);
	memset(seen.answers, 0, sizeof(seen.answers));
}

static void
mpool_calls_from_pgin_and_pgout_are_edeadlk(void **state)
{
	DB_MPOOL *mp = converting_pool(*state, 64 * KIB);
	DB_MPOOLFILE *f = typed_file(mp, NULL);

	seen.f = f;
	must(memp_register(mp, TYPE, calls_back, calls_back));
	put(f, get(f, 0, DB_MPOOL_CREATE), DB_MPOOL_DIRTY);
	all_were_refused();
	must(memp_fsync(f));
	all_were_refused();
	must(memp_fclose(f));
	finish(mp);
}

/* --- a process without the pair -------------------------------------------------------------- */

static int
leaves_a_typed_page(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = converting_pool(arg, 64 * KIB);
	DB_MPOOLFILE *f = typed_file(mp, NULL);

	fill(f, 0, 'a');
	t_tell(c, 'd');
	t_await(c, 'g');
	holds(f, 0, 'a');
	must(memp_fsync(f));
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_fget_without_the_registered_type_is_einval(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 1, PS, 'b');
	f = typed_file(mp, NULL);
	quiet();
	refuses(get_error(f, 0, 0), EINVAL);
	assert_int_equal(sentences, 1);
	refuses(get_error(f, 1, DB_MPOOL_CREATE), EINVAL);
	refuses(get_error(f, 1, DB_MPOOL_NEW), EINVAL);
	assert_int_equal(length_of(f), PS);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fget_without_the_registered_type_is_einval_for_a_resident_page_too(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = typed_file(mp, NULL);
	struct t_child c;

	t_fork(&c, leaves_a_typed_page, t);
	t_await(&c, 'd');
	int ret = get_error(f, 0, 0);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	refuses(ret, EINVAL);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_process_without_the_type_skips_such_pages_and_says_eio_when_asked(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *g = file_of(mp, "g", PS);
	struct t_child c;

	t_fork(&c, leaves_a_typed_page, t);
	t_await(&c, 'd');
	for (db_pgno_t n = 0; n < 100; n++)
		fill(g, n, (int)n);
	must(memp_fsync(g));
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	assert_int_equal(disk_length(t_path(t, "f")), 0);
	quiet();
	refuses(memp_sync(mp, NULL), EIO);
	assert_true(sentences > 0);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'b'));
	must(memp_sync(mp, NULL));
	must(memp_fclose(g));
	finish(mp);
}

/* --- the log --------------------------------------------------------------------------------- */

static struct {
	DB_LSN flushed; /* the log is durable up to here */
	unsigned flushes;
	unsigned early; /* writes of pages before their log */
	int error;
	DB_MPOOLFILE *f;
	void *page;	   /* pinned meanwhile */
	DB_LSN lsn_of[64]; /* by page, as last put */
} wal;

static int
lsn_cmp(const DB_LSN *a, const DB_LSN *b)
{
	if (a->file != b->file)
		return a->file > b->file ? 1 : -1;
	return a->offset == b->offset ? 0 : a->offset > b->offset ? 1 : -1;
}

static int
lg_flush(DB_ENV *env, const DB_LSN *lsn)
{
	(void)env;
	wal.flushes++;
	if (wal.error != 0)
		return wal.error;
	if (lsn_cmp(lsn, &wal.flushed) > 0)
		wal.flushed = *lsn;
	return 0;
}

#define LSN_AT 16

/* After each write(2) nothing on disk may be later than the log. */
static int
looks_at_the_disk(enum os_call call, const char *what)
{
	(void)call;
	(void)what;
	for (db_pgno_t n = 0; n < 64; n++) {
		DB_LSN lsn;

		if (pread(mpool_file_fd(wal.f), &lsn, sizeof(lsn), (off_t)n * PS + LSN_AT) !=
		    sizeof(lsn))
			break;
		if (lsn_cmp(&lsn, &wal.flushed) > 0)
			wal.early++;
	}
	return 0;
}

static DB_MPOOL *
logged_pool(struct t *t, size_t bytes)
{
	DB_ENV *env = env_of(t, bytes);
	DB_MPOOL *mp;

	memset(&wal, 0, sizeof(wal));
	env->lg_flush = lg_flush;
	mp = pool_with(env, 0);
	must(memp_fopen(mp, "f", 0, DB_CREATE, 0600, PS, LSN_AT, NULL, NULL, &wal.f));
	return mp;
}

static void
put_lsn(db_pgno_t n, uint32_t file, uint32_t offset)
{
	uint8_t *page = get(wal.f, n, DB_MPOOL_CREATE);
	DB_LSN lsn = { file, offset };

	memset(page, 1 + (int)n, PS);
	memcpy(page + LSN_AT, &lsn, sizeof(lsn));
	put(wal.f, page, DB_MPOOL_DIRTY);
}

static void
mpool_log_is_flushed_before_a_page_is_written_whatever_the_reason(void **state)
{
	DB_MPOOL *mp = logged_pool(*state, 20 * KIB);

	os_fault_hook = looks_at_the_disk;
	for (unsigned i = 0; i < 200; i++) {
		put_lsn(i * 7 % 64, 1 + i / 100, i);
		if (i % 60 == 30)
			must(memp_fsync(wal.f));
		if (i % 60 == 45)
			must(memp_trickle(mp, 80, NULL));
	}
	must(memp_sync(mp, NULL));
	os_fault_hook = NULL;
	assert_int_equal(wal.early, 0);
	assert_true(wal.flushes > 10);
	assert_true(wal.flushed.file == 2 && wal.flushed.offset == 199);
	must(memp_fclose(wal.f));
	finish(mp);
}

static int
flush_that_calls_back(DB_ENV *env, const DB_LSN *lsn)
{
	call_all(wal.page);
	return lg_flush(env, lsn);
}

static void
mpool_calls_from_lg_flush_are_edeadlk(void **state)
{
	DB_MPOOL *mp = logged_pool(*state, 64 * KIB);

	seen.f = wal.f;
	seen.mp = mp;
	test_env.lg_flush = flush_that_calls_back;
	put_lsn(0, 1, 1);
	wal.page = get(wal.f, 0, 0);
	put_lsn(1, 1, 2);
	refuses(memp_fsync(wal.f), DB_INCOMPLETE);
	assert_int_equal(wal.flushes, 1);
	all_were_refused();
	put(wal.f, wal.page, 0);
	must(memp_sync(mp, NULL));
	assert_int_equal(wal.flushes, 2);
	all_were_refused();
	must(memp_fclose(wal.f));
	finish(mp);
}

static void
mpool_lg_flush_error_is_returned_and_nothing_is_written(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = logged_pool(t, 64 * KIB);

	put_lsn(0, 1, 1);
	wal.error = EIO;
	refuses(memp_fsync(wal.f), EIO);
	assert_false(on_disk(t_path(t, "f"), 100, 100, 1));
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	wal.error = 0;
	must(memp_fsync(wal.f));
	must(memp_fclose(wal.f));
	finish(mp);
}

static void
mpool_sync_up_to_an_lsn_writes_no_later_page(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = logged_pool(t, 64 * KIB);
	DB_MPOOLFILE *g = file_of(mp, "g", PS);
	DB_LSN lsn = { 1, 50 };

	put_lsn(0, 1, 10);
	put_lsn(1, 1, 40);
	put_lsn(2, 1, 60);
	put_lsn(3, 2, 5);
	fill(g, 0, 'g');
	must(memp_sync(mp, &lsn));
	assert_true(lsn.file == 1 && lsn.offset == 40);
	assert_int_equal(stat_of(mp).st_page_dirty, 2);
	assert_true(on_disk(t_path(t, "g"), 0, PS, 'g'));
	assert_true(on_disk(t_path(t, "f"), PS + 100, 100, 2));
	assert_false(on_disk(t_path(t, "f"), 2 * PS + 100, 100, 3));
	lsn = (DB_LSN){ 9, 9 };
	must(memp_sync(mp, &lsn));
	assert_true(lsn.file == 2 && lsn.offset == 5);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	must(memp_fclose(g));
	must(memp_fclose(wal.f));
	finish(mp);
}

static void
mpool_sync_with_an_lsn_but_no_log_is_einval(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_LSN lsn = { 1, 2 };

	refuses(memp_sync(mp, &lsn), EINVAL);
	assert_true(lsn.file == 1 && lsn.offset == 2);
	must(memp_sync(mp, NULL));
	finish(mp);
}

static void
mpool_sync_that_is_incomplete_leaves_the_lsn_alone(void **state)
{
	DB_MPOOL *mp = logged_pool(*state, 64 * KIB);
	DB_LSN lsn = { 3, 0 };
	uint8_t *page;

	put_lsn(0, 1, 10);
	put_lsn(1, 2, 10);
	page = get(wal.f, 0, 0);
	refuses(memp_sync(mp, &lsn), DB_INCOMPLETE);
	assert_true(lsn.file == 3 && lsn.offset == 0);
	put(wal.f, page, 0);
	must(memp_fsync(wal.f));
	must(memp_fclose(wal.f));
	finish(mp);
}

static int
joins_without_a_log(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 20 * KIB);
	DB_MPOOLFILE *g = file_of(mp, "g", PS);

	(void)c;
	for (db_pgno_t n = 0; n < 60; n++)
		fill(g, n, (int)n);
	quiet();
	refuses(memp_sync(mp, NULL), EIO);
	t_check(sentences > 0);
	must(memp_fclose(g));
	must(memp_close(mp));
	return 0;
}

static void
mpool_process_without_a_log_writes_no_page_that_has_an_lsn(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = logged_pool(t, 20 * KIB);
	struct t_child c;

	put_lsn(0, 1, 10);
	t_fork(&c, joins_without_a_log, t);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(disk_length(t_path(t, "f")), 0);
	assert_int_equal(wal.flushes, 0);
	must(memp_sync(mp, NULL));
	assert_int_equal(disk_length(t_path(t, "f")), PS);
	must(memp_fclose(wal.f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_register_type_below_1_is_einval),
		t_test(mpool_pgin_is_called_once_for_a_page_read_with_a_copy_of_the_cookie),
		t_test(mpool_pgin_is_called_for_create_and_not_for_new),
		t_test(mpool_pgout_is_called_once_for_a_page_written_on_a_copy),
		t_test(mpool_pages_convert_there_and_back_through_eviction),
		t_test(mpool_pgin_error_is_returned_and_the_page_is_not_there),
		t_test(mpool_pgout_error_is_returned_and_the_page_stays_dirty),
		t_test(mpool_register_the_newest_pair_wins),
		t_test(mpool_calls_from_pgin_and_pgout_are_edeadlk),
		t_test(mpool_fget_without_the_registered_type_is_einval),
		t_test(mpool_fget_without_the_registered_type_is_einval_for_a_resident_page_too),
		t_test(mpool_process_without_the_type_skips_such_pages_and_says_eio_when_asked),
		t_test(mpool_log_is_flushed_before_a_page_is_written_whatever_the_reason),
		t_test(mpool_calls_from_lg_flush_are_edeadlk),
		t_test(mpool_lg_flush_error_is_returned_and_nothing_is_written),
		t_test(mpool_sync_up_to_an_lsn_writes_no_later_page),
		t_test(mpool_sync_with_an_lsn_but_no_log_is_einval),
		t_test(mpool_sync_that_is_incomplete_leaves_the_lsn_alone),
		t_test(mpool_process_without_a_log_writes_no_page_that_has_an_lsn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
