/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: memp_fremove, memp_frename, and how a file whose name has changed is found again.
 */
#include "../fd_path.h"
#include "../pool_t.h"

#define PS ((size_t)4096)

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* Pages 0 .. n-1 of the file dirty in the pool, which nobody has open. */
static void
leave_dirty(DB_MPOOL *mp, const char *name, unsigned n, int first)
{
	DB_MPOOLFILE *f = file_of(mp, name, PS);

	for (db_pgno_t i = 0; i < n; i++)
		fill(f, i, first + (int)i);
	must(memp_fclose(f));
}

/* --- memp_fremove ---------------------------------------------------------------------------- */

static void
mpool_fremove_removes_the_file_and_drops_its_pages_unwritten(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	uint64_t out;

	leave_dirty(mp, "f", 3, 'a');
	leave_dirty(mp, "g", 1, 'g');
	out = stat_of(mp).st_page_out;
	must(memp_fremove(mp, "f"));
	assert_false(exists(t_path(t, "f")));
	assert_int_equal(resident(mp), 1);
	assert_int_equal(stat_of(mp).st_files, 1);
	assert_int_equal(stat_of(mp).st_page_out, out);
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "g"), 0, PS, 'g'));
	finish(mp);
}

static void
mpool_fremove_of_an_open_file_keeps_its_pages_until_it_is_closed(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g;

	fill(f, 0, 'a');
	must(memp_fremove(mp, t_path(t, "f")));
	holds(f, 0, 'a');
	g = file_of(mp, "f", PS); /* the name is free: another file */
	fill(g, 0, 'b');
	holds(f, 0, 'a');
	must(memp_fclose(f));
	holds(g, 0, 'b');
	assert_int_equal(resident(mp), 1);
	must(memp_fsync(g));
	must(memp_fclose(g));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'b'));
	finish(mp);
}

static void
mpool_fremove_of_one_of_two_links_drops_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);

	leave_dirty(mp, "f", 2, 'a');
	assert_int_equal(link(t_path(t, "f"), t_path(t, "g")), 0);
	must(memp_fremove(mp, "f"));
	assert_int_equal(stat_of(mp).st_page_dirty, 2);
	must(memp_frename(mp, "g", "h"));
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "h"), PS, PS, 'b'));
	finish(mp);
}

static void
mpool_fremove_of_a_link_removes_the_link(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);

	leave_dirty(mp, "f", 1, 'a');
	assert_int_equal(symlink("f", t_path(t, "s")), 0);
	must(memp_fremove(mp, "s"));
	assert_false(exists(t_path(t, "s")));
	assert_true(exists(t_path(t, "f")));
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	finish(mp);
}

static void
mpool_fremove_of_directories_wants_them_empty(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);

	assert_int_equal(mkdir(t_path(t, "d"), 0700), 0);
	leave_dirty(mp, "d/f", 1, 'a');
	quiet();
	refuses(memp_fremove(mp, "d"), ENOTEMPTY);
	assert_non_null(strstr(heard, t_path(t, "d")));
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	must(memp_fremove(mp, "d/f"));
	must(memp_fremove(mp, "d/"));
	assert_false(exists(t_path(t, "d")));
	assert_int_equal(resident(mp), 0);
	finish(mp);
}

static void
mpool_fremove_and_frename_errors(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);

	refuses(memp_fremove(NULL, "f"), EINVAL);
	refuses(memp_fremove(mp, NULL), EINVAL);
	refuses(memp_fremove(mp, ""), EINVAL);
	refuses(memp_fremove(mp, "none"), ENOENT);
	refuses(memp_frename(mp, NULL, "f"), EINVAL);
	refuses(memp_frename(mp, "f", NULL), EINVAL);
	refuses(memp_frename(mp, "none", "f"), ENOENT);
	leave_dirty(mp, "f", 1, 'a');
	refuses(memp_frename(mp, "f", "none/f"), ENOENT);
	t_fault(OS_UNLINK, 1, EIO);
	refuses(memp_fremove(mp, "f"), EIO);
	t_fault(OS_UNLINK, 1, EIO);
	refuses(memp_frename(mp, "f", "g"), EIO);
	(void)t_fault_off();
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	finish(mp);
}

/* --- memp_frename ---------------------------------------------------------------------------- */

static void
mpool_frename_takes_dirty_pages_to_the_new_name(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp;

	(void)may_open_by_handle(false);
	mp = pool_of(t, 128 * KIB);
	leave_dirty(mp, "f", 2, 'a');
	must(memp_frename(mp, "f", t_path(t, "g")));
	assert_int_equal(fstat_of(mp, t_path(t, "g")).st_page_dirty, 2);
	quiet();
	must(memp_fclose(file_with(mp, "g", 0, PS)));
	assert_int_equal(sentences, 0); /* no "was changed on disk": we did it */
	write_pages(t_path(t, "f"), 1, PS, 'i');
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "g"), PS, PS, 'b'));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'i'));
	finish(mp);
	(void)may_open_by_handle(true);
}

static void
mpool_frename_onto_a_file_drops_that_files_pages(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp;

	(void)may_open_by_handle(false);
	mp = pool_of(t, 128 * KIB);
	leave_dirty(mp, "f", 1, 'a');
	leave_dirty(mp, "g", 3, 'x');
	must(memp_frename(mp, "f", "g"));
	assert_int_equal(resident(mp), 1);
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "g"), 0, PS, 'a'));
	assert_int_equal(disk_length(t_path(t, "g")), PS);
	finish(mp);
	(void)may_open_by_handle(true);
}

static void
mpool_frename_of_a_directory_takes_what_is_beneath_along(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp;

	(void)may_open_by_handle(false);
	mp = pool_of(t, 128 * KIB);
	assert_int_equal(mkdir(t_path(t, "d"), 0700), 0);
	assert_int_equal(mkdir(t_path(t, "d/e"), 0700), 0);
	leave_dirty(mp, "d/e/f", 1, 'a');
	leave_dirty(mp, "dx", 1, 'x');
	must(memp_frename(mp, "d", "D"));
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "D/e/f"), 0, PS, 'a'));
	assert_true(on_disk(t_path(t, "dx"), 0, PS, 'x'));
	finish(mp);
	(void)may_open_by_handle(true);
}

static void
mpool_frename_between_two_names_of_one_file_changes_nothing(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);

	leave_dirty(mp, "f", 1, 'a');
	assert_int_equal(link(t_path(t, "f"), t_path(t, "g")), 0);
	must(memp_frename(mp, "f", "g"));
	assert_true(exists(t_path(t, "f")));
	assert_true(exists(t_path(t, "g")));
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "g"), 0, PS, 'a'));
	finish(mp);
}

/* --- file handles ---------------------------------------------------------------------------- */

/* The pool knows "f", dirty, and by a handle; "f" was renamed behind its back. */
static DB_MPOOL *
lost_sight_of_f(struct t *t)
{
	DB_MPOOL *mp;

	if (!may_open_by_handle(true))
		t_skip("needs CAP_DAC_READ_SEARCH");
	mp = pool_of(t, 128 * KIB);
	leave_dirty(mp, "f", 2, 'p');
	assert_int_equal(rename(t_path(t, "f"), t_path(t, "elsewhere")), 0);
	return mp;
}

static void
mpool_file_renamed_behind_its_back_is_written_by_handle(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = lost_sight_of_f(t);

	t_write_file(t_path(t, "f"), "impostor", 8);
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "elsewhere"), 0, PS, 'p'));
	assert_true(on_disk(t_path(t, "elsewhere"), PS, PS, 'q'));
	assert_int_equal(disk_length(t_path(t, "f")), 8);
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	finish(mp);
}

static void
mpool_pages_of_a_file_that_has_no_name_any_more_are_dropped(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = lost_sight_of_f(t);

	assert_int_equal(unlink(t_path(t, "elsewhere")), 0);
	t_write_file(t_path(t, "f"), "impostor", 8);
	must(memp_sync(mp, NULL));
	assert_int_equal(disk_length(t_path(t, "f")), 8);
	assert_int_equal(resident(mp), 0);
	assert_int_equal(stat_of(mp).st_files, 0);
	finish(mp);
}

static void
mpool_confined_process_opens_beneath_its_directory_only(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	DB_MPOOLFILE *f;

	assert_int_equal(mkdir(t_path(t, "in"), 0700), 0);
	assert_int_equal(mkdir(t_path(t, "out"), 0700), 0);
	leave_dirty(mp, "in/f", 1, 'a');
	leave_dirty(mp, "out/f", 1, 'b');
	must(mpool_confine(mp, t_path(t, "in")));
	quiet();
	refuses(memp_sync(mp, NULL), DB_INCOMPLETE);
	assert_non_null(strstr(heard, t_path(t, "out/f")));
	assert_true(on_disk(t_path(t, "in/f"), 0, PS, 'a'));
	assert_int_equal(disk_length(t_path(t, "out/f")), 0);
	assert_int_equal(stat_of(mp).st_stranded, 1);
	f = file_with(mp, "out/f", 0, PS);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "out/f"), 0, PS, 'b'));
	assert_int_equal(stat_of(mp).st_stranded, 0);
	must(memp_fclose(f));
	assert_int_equal(mkdir(t_path(t, "in/d"), 0700), 0);
	leave_dirty(mp, "in/d/g", 1, 'c');
	/* a link on the way, to where it may not go */
	assert_int_equal(rename(t_path(t, "in/d"), t_path(t, "out/d")), 0);
	assert_int_equal(symlink("../out/d", t_path(t, "in/d")), 0);
	refuses(memp_sync(mp, NULL), EIO);
	assert_int_equal(stat_of(mp).st_page_dirty, 1);
	finish(mp);
}

/* --- descriptors ----------------------------------------------------------------------------- */

/* How many of this process's descriptors lead to a file that has lost that name? */
static unsigned
descriptors_of_removed(const char *path)
{
	char to[PATH_MAX];
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fd_path(fd, to) != -1 && strncmp(to, path, strlen(path)) == 0 &&
		    strstr(to, " (deleted)") != NULL;
	return n;
}

static int
leaves_big_dirty(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 128 * KIB);

	leave_dirty(mp, "big", 3, 'a');
	t_tell(c, 'd');
	t_await(c, 'r');
	must(memp_fremove(mp, "big"));
	must(memp_close(mp));
	return 0;
}

static void
mpool_removed_files_space_is_not_held_by_who_wrote_it_for_others(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	struct t_child c;
	int wrote;

	t_fork(&c, leaves_big_dirty, t);
	t_await(&c, 'd');
	must(memp_trickle(mp, 100, &wrote));
	assert_int_equal(wrote, 3);
	t_tell(&c, 'r');
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(stat_of(mp).st_files, 0);
	assert_int_equal(descriptors_of_removed(t_path(t, "big")), 0);
	/* one that no pool was told of */
	leave_dirty(mp, "big", 3, 'a');
	must(memp_trickle(mp, 100, &wrote));
	assert_int_equal(unlink(t_path(t, "big")), 0);
	must(memp_reap(mp));
	assert_int_equal(descriptors_of_removed(t_path(t, "big")), 0);
	finish(mp);
}

static void
mpool_home_that_makes_a_path_too_long_is_refused_and_not_left_out(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 128 * KIB);
	static char home[2 * PATH_MAX];
	const char *short_home = test_env.db_home;
	DB_MPOOLFILE *f;

	memset(home, '/', PATH_MAX - 1); /* too long with anything before or behind it */
	memcpy(home, "./", 2);
	test_env.db_home = home;
	refuses(memp_fopen(mp, "f", 0, DB_CREATE, 0, PS, -1, NULL, NULL, &f), ENAMETOOLONG);
	assert_non_null(strstr(heard, "bytes"));
	refuses(memp_fremove(mp, "f"), ENAMETOOLONG);
	test_env.db_home = short_home;
	assert_false(exists(t_path(t, "f")));
	finish(mp);
}

/* --- stranded pages -------------------------------------------------------------------------- */

/* Nobody can write them: they stay, whatever is done but for what asks to be rid of them. */
static void
mpool_stranded_pages_are_dropped_only_on_request(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB), *again;
	DB_MPOOLFILE *g;
	uint64_t old;
	int wrote;

	(void)may_open_by_handle(false);
	leave_dirty(mp, "f", 3, 'a');
	assert_int_equal(rename(t_path(t, "f"), t_path(t, "away")), 0);
	refuses(memp_sync(mp, NULL), EIO);
	refuses(memp_trickle(mp, 100, &wrote), EIO);
	must(mpool_write_old(mp, 0, &old));
	must(memp_reap(mp));
	g = file_of(mp, "g", PS);
	for (db_pgno_t n = 0; n < 200; n++)
		fill(g, n, 'g'); /* for which everything else has to leave */
	must(memp_fclose(g));
	(void)memp_resize(mp, 20 * KIB); /* if they are not in the way */
	again = pool_of(t, 0);
	must(memp_close(again));
	refuses(memp_unlink(NULL, 0, &test_env), EBUSY); /* we have it open */
	assert_int_equal(stat_of(mp).st_stranded, 3);
	assert_int_equal(fstat_of(mp, "/f").st_page_dirty, 3);
	must(memp_fremove(mp, "away")); /* that is a request */
	assert_int_equal(stat_of(mp).st_stranded, 0);
	assert_int_equal(stat_of(mp).st_files, 1);
	finish(mp);
	(void)may_open_by_handle(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_fremove_removes_the_file_and_drops_its_pages_unwritten),
		t_test(mpool_fremove_of_an_open_file_keeps_its_pages_until_it_is_closed),
		t_test(mpool_fremove_of_one_of_two_links_drops_nothing),
		t_test(mpool_fremove_of_a_link_removes_the_link),
		t_test(mpool_fremove_of_directories_wants_them_empty),
		t_test(mpool_fremove_and_frename_errors),
		t_test(mpool_frename_takes_dirty_pages_to_the_new_name),
		t_test(mpool_frename_onto_a_file_drops_that_files_pages),
		t_test(mpool_frename_of_a_directory_takes_what_is_beneath_along),
		t_test(mpool_frename_between_two_names_of_one_file_changes_nothing),
		t_test(mpool_file_renamed_behind_its_back_is_written_by_handle),
		t_test(mpool_pages_of_a_file_that_has_no_name_any_more_are_dropped),
		t_test(mpool_confined_process_opens_beneath_its_directory_only),
		t_test(mpool_removed_files_space_is_not_held_by_who_wrote_it_for_others),
		t_test(mpool_home_that_makes_a_path_too_long_is_refused_and_not_left_out),
		t_test(mpool_stranded_pages_are_dropped_only_on_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
