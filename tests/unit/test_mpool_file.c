/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: memp_fopen and memp_fclose: what is opened where and how, what two opens of one file
 * must agree on, what a close leaves, temporary files.
 */
#include "pool_t.h"

#include <dirent.h>

#define PS 1024u

static void
mpool_fopen_pagesize_other_than_a_power_of_two_from_512_to_64_kib_is_einval(void **state)
{
	static const size_t wrong[] = { 0, 1, 256, 511, 513, 1000, 4097, 131072, (size_t)1 << 33,
		SIZE_MAX };
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 2048 * KIB);

	t_write_file(t_path(t, "f"), "", 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		quiet();
		refuses(fopen_error(mp, "f", 0, 0, wrong[i], -1), EINVAL);
		assert_int_equal(sentences, 1);
	}
	for (size_t ps = 512; ps <= 65536; ps *= 2)
		must(fopen_error(mp, "f", 0, 0, ps, -1));
	finish(mp);
}

static void
mpool_fopen_wrong_arguments_are_einval(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);

	t_write_file(t_path(t, "f"), "", 0);
	refuses(fopen_error(mp, "f", 0, 0x40, PS, -1), EINVAL);
	refuses(fopen_error(mp, "f", 0, DB_THREAD, PS, -1), EINVAL);
	refuses(fopen_error(mp, "f", 0, DB_MPOOL_PRIVATE, PS, -1), EINVAL);
	refuses(fopen_error(mp, "f", -1, 0, PS, -1), EINVAL);
	refuses(fopen_error(mp, "f", 0, 0, PS, -2), EINVAL);
	refuses(fopen_error(mp, "f", 0, 0, PS, (int)PS - 7), EINVAL);
	must(fopen_error(mp, "f", 0, 0, PS, (int)PS - 8));
	refuses(fopen_error(mp, NULL, 0, DB_RDONLY, PS, -1), EINVAL);
	refuses(fopen_error(mp, ".", 0, DB_RDONLY, PS, -1), EINVAL);
	assert_int_equal(mkfifo(t_path(t, "fifo"), 0600), 0);
	refuses(fopen_error(mp, "fifo", 0, DB_RDONLY, PS, -1), EINVAL);
	finish(mp);
}

static void
mpool_fopen_without_create_of_a_missing_file_is_enoent(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	struct stat st;

	refuses(fopen_error(mp, "f", 0, 0, PS, -1), ENOENT);
	assert_non_null(strstr(heard, "/f"));
	refuses(fopen_error(mp, "d/f", 0, DB_CREATE, PS, -1), ENOENT);
	assert_int_equal(stat(t_path(t, "f"), &st), -1);
	assert_int_equal(stat_of(mp).st_files, 0);
	finish(mp);
}

static void
mpool_fopen_creates_with_mode_less_the_umask(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	mode_t old = umask(027);
	DB_MPOOLFILE *f;
	struct stat st;

	must(memp_fopen(mp, "f", 0, DB_CREATE, 0666, PS, -1, NULL, NULL, &f));
	(void)umask(old);
	assert_int_equal(stat(t_path(t, "f"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fopen_path_is_relative_to_db_home_and_stored_absolute(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f, *g;
	DB_MPOOL_FSTAT **list;

	assert_int_equal(mkdir(t_path(t, "d"), 0700), 0);
	f = file_of(mp, "d/../d/f", PS);
	g = file_of(mp, t_path(t, "d/f"), PS);
	must(memp_stat(mp, NULL, &list, NULL));
	assert_non_null(list[0]);
	assert_null(list[1]);
	assert_string_equal(list[0]->file_name, t_path(t, "d/f"));
	assert_int_equal(list[0]->st_opens, 2);
	free(list);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_fopen_without_db_home_is_relative_to_the_working_directory(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = NULL;
	DB_MPOOLFILE *f;
	char cwd[4096];

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(t->dir), 0);
	must(memp_open(NULL, 0, 0, NULL, &mp));
	f = file_of(mp, "f", PS);
	assert_int_equal(chdir(cwd), 0);
	fill(f, 0, 'a');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fopen_odd_length_is_einval_without_oddfilesize(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	t_write_file(t_path(t, "f"), "12345", 5);
	refuses(fopen_error(mp, "f", 0, 0, PS, -1), EINVAL);
	must(fopen_error(mp, "f", 0, DB_ODDFILESIZE, PS, -1));
	f = file_with(mp, "f", DB_ODDFILESIZE, PS);
	refuses(fopen_error(mp, "f", 0, 0, PS, -1), EINVAL);
	assert_int_equal(length_of(f), 5);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_file_whose_length_becomes_odd_stays_open(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_with(mp, "f", DB_ODDFILESIZE, PS);

	fill(f, 0, 'a');
	must(memp_ftruncate(g, PS + 100));
	assert_int_equal(length_of(f), PS + 100);
	holds(f, 1, 0);
	must(memp_fclose(g));
	holds(f, 0, 'a');
	must(memp_fclose(f));
	finish(mp);
}

/* --- what opens must agree on ---------------------------------------------------------------- */

static void
mpool_fopen_with_other_values_while_open_is_einval(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DBT cookie = { .data = (void *)"cookie", .size = 6 },
	    other = { .data = (void *)"cookiE", .size = 6 };
	DB_MPOOLFILE *f, *g = (DB_MPOOLFILE *)mp;

	must(memp_fopen(mp, "f", 3, DB_CREATE, 0600, PS, 8, &cookie, NULL, &f));
	refuses(memp_fopen(mp, "f", 3, 0, 0, 2 * PS, 8, &cookie, NULL, &g), EINVAL);
	refuses(memp_fopen(mp, "f", 4, 0, 0, PS, 8, &cookie, NULL, &g), EINVAL);
	refuses(memp_fopen(mp, "f", 3, 0, 0, PS, 16, &cookie, NULL, &g), EINVAL);
	refuses(memp_fopen(mp, "f", 3, 0, 0, PS, -1, &cookie, NULL, &g), EINVAL);
	refuses(memp_fopen(mp, "f", 3, 0, 0, PS, 8, NULL, NULL, &g), EINVAL);
	refuses(memp_fopen(mp, "f", 3, 0, 0, PS, 8, &other, NULL, &g), EINVAL);
	assert_ptr_equal(g, mp);
	assert_int_equal(fstat_of(mp, "/f").st_opens, 1);
	must(memp_fopen(mp, "f", 3, 0, 0, PS, 8, &cookie, NULL, &g));
	must(memp_fclose(g));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_closed_file_can_be_opened_with_another_page_size(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (db_pgno_t n = 0; n < 4; n++)
		fill(f, n, 'a' + (int)n);
	must(memp_fclose(f));
	f = file_of(mp, "f", 4 * PS);
	assert_int_equal(length_of(f), 4 * PS);
	for (unsigned n = 0; n < 4; n++) {
		uint8_t *page = get(f, 0, 0);

		assert_int_equal(others(page + n * PS, PS, 'a' + (int)n), 0);
		put(f, page, 0);
	}
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_reopen_with_another_page_size_keeps_the_length(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	(void)new_page(f, &page);
	put(f, page, 0); /* never dirty: only the length has to reach the disk */
	must(memp_fclose(f));
	f = file_of(mp, "f", PS / 2);
	assert_int_equal(length_of(f), PS);
	holds(f, 1, 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_reopen_with_another_page_size_fails_if_dirty_pages_cannot_be_written(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'a');
	must(memp_fclose(f));
	t_fault_always(OS_PWRITE, EIO);
	refuses(fopen_error(mp, "f", 0, 0, 2 * PS, -1), EIO);
	assert_true(t_fault_off());
	f = file_of(mp, "f", PS);
	holds(f, 0, 'a');
	(void)memp_fclose(f);
	finish(mp);
}

/* --- close ----------------------------------------------------------------------------------- */

static void
mpool_fclose_keeps_dirty_pages_and_writes_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'a');
	must(memp_fclose(f));
	assert_int_equal(disk_length(t_path(t, "f")), 0);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	f = file_of(mp, "f", PS);
	assert_int_equal(length_of(f), PS);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	finish(mp);
}

static void
mpool_fclose_releases_the_handles_pins_with_a_message(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "f", PS);
	uint8_t *page;

	(void)get(f, 0, DB_MPOOL_CREATE);
	(void)get(f, 1, DB_MPOOL_CREATE);
	page = get(g, 1, 0);
	must(memp_fclose(f));
	assert_int_equal(sentences, 1);
	assert_non_null(strstr(heard, "2 pages"));
	assert_int_equal(stat_of(mp).st_pins, 1);
	put(g, page, 0);
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_unlinked_file_is_forgotten_with_its_last_handle(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_of(mp, "f", PS);

	fill(f, 0, 'a');
	assert_int_equal(unlink(t_path(t, "f")), 0);
	must(memp_fclose(f));
	holds(g, 0, 'a');
	must(memp_fclose(g));
	assert_int_equal(stat_of(mp).st_files, 0);
	assert_int_equal(stat_of(mp).st_page_dirty + stat_of(mp).st_page_clean, 0);
	finish(mp);
}

/* --- temporary files ------------------------------------------------------------------------- */

static unsigned
files_in(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	t_check(d != NULL);
	while (readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n - 2;
}

static void
mpool_temporary_file_holds_its_pages_and_leaves_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 20 * KIB);
	DB_MPOOLFILE *f, *g;
	unsigned fds = open_fds();

	assert_int_equal(mkdir(t_path(t, "tmp"), 0700), 0);
	assert_int_equal(setenv("TMPDIR", t_path(t, "tmp"), 1), 0);
	f = file_with(mp, NULL, 0, PS);
	g = file_with(mp, NULL, 0, PS);
	assert_int_equal(open_fds(), fds);
	for (db_pgno_t n = 0; n < 100; n++) {
		fill(f, n, 1 + (int)n);
		fill(g, n, 101 + (int)n);
	}
	for (db_pgno_t n = 0; n < 100; n++) {
		holds(f, n, 1 + (int)n);
		holds(g, n, 101 + (int)n);
	}
	assert_true(open_fds() > fds);
	assert_int_equal(files_in(t_path(t, "tmp")), 0);
	must(memp_fsync(f));
	must(memp_fclose(f));
	must(memp_fclose(g));
	(void)unsetenv("TMPDIR");
	assert_int_equal(open_fds(), fds);
	assert_int_equal(stat_of(mp).st_files, 0);
	assert_int_equal(stat_of(mp).st_page_dirty + stat_of(mp).st_page_clean, 0);
	finish(mp);
}

static void
mpool_temporary_file_is_on_disk_only_after_a_dirty_eviction(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_with(mp, NULL, 0, PS);
	unsigned fds = open_fds();
	uint8_t *page;

	for (unsigned n = 0; n < 100; n++) {
		(void)new_page(f, &page);
		put(f, page, 0);
	}
	assert_int_equal(open_fds(), fds); /* clean pages are just dropped */
	for (db_pgno_t n = 0; n < 100; n++)
		holds(f, n, 0);
	assert_int_equal(length_of(f), 100 * PS);
	assert_int_equal(open_fds(), fds);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_temporary_file_is_not_made_by_sync_and_trickle(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = file_with(mp, NULL, 0, PS);
	unsigned fds = open_fds();
	int written = -1;

	fill(f, 0, 't');
	must(memp_trickle(mp, 100, &written));
	assert_int_equal(written, 0);
	must(memp_sync(mp, NULL));
	assert_int_equal(open_fds(), fds);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	holds(f, 0, 't');
	must(memp_fclose(f));
	finish(mp);
}

/* Opens of a directory fail so; what has a name does not. */
static int no_nameless;

static int
refuses_nameless(enum os_call call, const char *what)
{
	return call == OS_OPEN && strstr(what, "__db_temporary") == NULL ? no_nameless : 0;
}

static void
mpool_temporary_file_is_made_where_there_are_no_files_without_a_name(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_with(mp, NULL, 0, PS);

	assert_int_equal(mkdir(t_path(*state, "tmp"), 0700), 0);
	assert_int_equal(setenv("TMPDIR", t_path(*state, "tmp"), 1), 0);
	no_nameless = EOPNOTSUPP;
	os_fault_hook = refuses_nameless;
	for (db_pgno_t n = 0; n < 100; n++)
		fill(f, n, 1 + (int)n);
	os_fault_hook = NULL;
	assert_int_equal(files_in(t_path(*state, "tmp")), 0);
	for (db_pgno_t n = 0; n < 100; n++)
		holds(f, n, 1 + (int)n);
	must(memp_fclose(f));
	(void)unsetenv("TMPDIR");
	finish(mp);
}

static void
mpool_temporary_file_that_cannot_be_made_is_said_once(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 20 * KIB);
	DB_MPOOLFILE *f = file_with(mp, NULL, 0, PS);
	db_pgno_t n = 0;

	no_nameless = EACCES;
	os_fault_hook = refuses_nameless;
	quiet();
	while (get_error(f, n, DB_MPOOL_CREATE) == 0) {
		fill(f, n, 'd');
		assert_true(n++ < 1000);
	}
	os_fault_hook = NULL;
	assert_non_null(strstr(heard, "cannot make a temporary file"));
	assert_null(strstr(strstr(heard, "cannot make a temporary file") + 1, "cannot make"));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_temporary_file_with_the_identifier_of_another_is_its_own(void **state)
{
	u_int8_t uid[DB_FILE_ID_LEN] = { 1, 2, 3 };
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	DB_MPOOLFILE *f = NULL, *g = NULL, *again = NULL;

	must(memp_fopen(mp, "f", 0, DB_CREATE, 0600, PS, -1, NULL, uid, &f));
	must(memp_fopen(mp, NULL, 0, DB_CREATE, 0600, PS, -1, NULL, uid, &g));
	fill(f, 0, 'f');
	fill(g, 0, 'g');
	must(memp_fopen(mp, "f", 0, DB_CREATE, 0600, PS, -1, NULL, uid, &again));
	holds(again, 0, 'f');
	holds(g, 0, 'g');
	must(memp_fclose(f));
	must(memp_fclose(again));
	must(memp_fclose(g));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_fopen_pagesize_other_than_a_power_of_two_from_512_to_64_kib_is_einval),
		t_test(mpool_fopen_wrong_arguments_are_einval),
		t_test(mpool_fopen_without_create_of_a_missing_file_is_enoent),
		t_test(mpool_fopen_creates_with_mode_less_the_umask),
		t_test(mpool_fopen_path_is_relative_to_db_home_and_stored_absolute),
		t_test(mpool_fopen_without_db_home_is_relative_to_the_working_directory),
		t_test(mpool_fopen_odd_length_is_einval_without_oddfilesize),
		t_test(mpool_file_whose_length_becomes_odd_stays_open),
		t_test(mpool_fopen_with_other_values_while_open_is_einval),
		t_test(mpool_closed_file_can_be_opened_with_another_page_size),
		t_test(mpool_reopen_with_another_page_size_keeps_the_length),
		t_test(mpool_reopen_with_another_page_size_fails_if_dirty_pages_cannot_be_written),
		t_test(mpool_fclose_keeps_dirty_pages_and_writes_nothing),
		t_test(mpool_fclose_releases_the_handles_pins_with_a_message),
		t_test(mpool_unlinked_file_is_forgotten_with_its_last_handle),
		t_test(mpool_temporary_file_holds_its_pages_and_leaves_nothing),
		t_test(mpool_temporary_file_is_on_disk_only_after_a_dirty_eviction),
		t_test(mpool_temporary_file_is_not_made_by_sync_and_trickle),
		t_test(mpool_temporary_file_is_made_where_there_are_no_files_without_a_name),
		t_test(mpool_temporary_file_that_cannot_be_made_is_said_once),
		t_test(mpool_temporary_file_with_the_identifier_of_another_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
