/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: which directory is meant, which regions it holds, and a peek at one.
 */
#include "region_t.h"

/* --- looking ------------------------------------------------------------------------------- */

static int
note_name(const char *file, void *arg)
{
	strcat(arg, file);
	strcat(arg, " ");
	return strstr(file, "stop") != NULL ? 7 : 0;
}

static void
region_each_names_regions_in_order_and_stops(void **state)
{
	static const char *const names[] = { "__db_b.share", "__db_a.share", "__db.share",
		"x__db_c.share", "__db_c.share2", "__db_.share", "data", ".__db_h.share" };
	struct t *t = *state;
	char seen[200] = "";
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		t_write_file(t_path(t, names[i]), "", 0);
	assert_int_equal(region_each(t->dir, note_name, seen), 0);
	assert_string_equal(seen, "__db_.share __db_a.share __db_b.share ");
	seen[0] = '\0';
	t_write_file(t_path(t, "__db_aa_stop.share"), "", 0);
	assert_int_equal(region_each(t->dir, note_name, seen), 7);
	assert_string_equal(seen, "__db_.share __db_a.share __db_aa_stop.share ");
	assert_int_equal(region_each(t_path(t, "none"), note_name, seen), ENOENT);
}

static void
region_peek_copies_only_what_is_a_region(void **state)
{
	struct t *t = *state;
	const char *path = t_path(t, REGION_FILE);
	RLAYOUT copy = { .refcnt = 99 }, good;

	assert_int_equal(region_peek(path, &copy), ENOENT);
	t_write_file(path, "short", 5);
	assert_int_equal(region_peek(path, &copy), EPROTO);
	assert_int_equal(copy.refcnt, 99);
	t_check(unlink(path) == 0);
	good = leave_region(t);
	assert_int_equal(region_peek(path, &copy), 0);
	assert_true(copy.region_id == good.region_id);
	poke_field(t, format, 77);
	assert_int_equal(region_peek(path, &copy), EPROTO);
	poke_field(t, format, good.format);
	poke_field(t, clients, 1);
	assert_int_equal(region_peek(path, &copy), DB_RUNRECOVERY);
	poke_field(t, clients, good.clients);
	poke_field(t, valid, 0);
	assert_int_equal(region_peek(path, &copy), 0);
	t_check(rename(path, t_path(t, "real")) == 0);
	t_check(symlink("real", path) == 0);
	assert_int_equal(region_peek(path, &copy), ELOOP);
	assert_int_equal(region_peek(t->dir, &copy), EPROTO);
}

static void
expect_dir(const DB_ENV *env, const char *dir, const char *want, bool temporary)
{
	char *got = NULL, *real = realpath(want, NULL);
	bool is_temporary = !temporary;

	assert_int_equal(environment_dir(env, dir, &got, &is_temporary), 0);
	assert_string_equal(got, real);
	assert_int_equal(is_temporary, temporary);
	free(got);
	free(real);
}

static void
environment_dir_follows_memp_opens_rules(void **state)
{
	struct t *t = *state;
	DB_ENV with_home = { .db_home = t->dir }, without = { 0 };
	char *dir = NULL;
	bool temporary;

	t_check(mkdir(t_path(t, "sub"), 0700) == 0);
	t_check(symlink("sub", t_path(t, "link")) == 0);
	t_write_file(t_path(t, "file"), "", 0);
	expect_dir(&with_home, NULL, t->dir, false);
	expect_dir(&with_home, "sub", t_path(t, "sub"), false);
	expect_dir(&with_home, "link", t_path(t, "sub"), false);
	expect_dir(&with_home, "/", "/", false);
	expect_dir(&without, "/usr/..", "/", false);
	expect_dir(NULL, ".", ".", false);
	t_check(chdir(t->dir) == 0);
	expect_dir(&without, "sub", t_path(t, "sub"), false);
	t_check(chdir("/") == 0);
	assert_int_equal(environment_dir(&with_home, "none", &dir, &temporary), ENOENT);
	assert_int_equal(environment_dir(&with_home, "file", &dir, &temporary), ENOTDIR);
	assert_int_equal(environment_dir(&without, "", &dir, &temporary), ENOENT);
	assert_int_equal(environment_dir(NULL, "", &dir, &temporary), ENOENT);
	with_home.db_home = "";
	assert_int_equal(environment_dir(&with_home, NULL, &dir, &temporary), ENOENT);
	assert_null(dir);
}

static void
environment_dir_temporary_is_from_variables_in_order(void **state)
{
	struct t *t = *state;
	DB_ENV env = { 0 };
	char *old = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL, *dir = NULL;
	bool temporary;

	t_check(mkdir(t_path(t, "a"), 0700) == 0 && mkdir(t_path(t, "b"), 0700) == 0);
	unsetenv("TMPDIR");
	unsetenv("TEMP");
	unsetenv("TMP");
	expect_dir(&env, NULL, "/var/tmp", true);
	setenv("TMP", t_path(t, "a"), 1);
	expect_dir(&env, NULL, t_path(t, "a"), true);
	setenv("TEMP", t_path(t, "b"), 1);
	expect_dir(NULL, NULL, t_path(t, "b"), true);
	setenv("TMPDIR", t->dir, 1);
	expect_dir(&env, NULL, t->dir, true);
	setenv("TMPDIR", "", 1);
	expect_dir(&env, NULL, t_path(t, "b"), true);
	setenv("TMPDIR", t_path(t, "none"), 1);
	assert_int_equal(environment_dir(&env, NULL, &dir, &temporary), ENOENT);
	unsetenv("TEMP");
	unsetenv("TMP");
	unsetenv("TMPDIR");
	if (old != NULL)
		setenv("TMPDIR", old, 1);
	free(old);
}

/* In a child, whose root directory is the test's: there those are that it makes.  77: not root. */
static int
makes_places(struct t_child *c, void *arg)
{
	static const char *const places[] = { "/tmp", "/temp", "/usr/tmp", "/var/tmp" };
	const struct t *t = arg;
	DB_ENV env = { 0 };
	char *dir = NULL;
	bool temporary;

	(void)c;
	unsetenv("TMPDIR");
	unsetenv("TEMP");
	unsetenv("TMP");
	if (chroot(t->dir) != 0)
		return 77;
	t_check(chdir("/") == 0 && mkdir("/usr", 0700) == 0 && mkdir("/var", 0700) == 0);
	t_check(environment_dir(&env, NULL, &dir, &temporary) == EINVAL && dir == NULL);
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		t_check(mkdir(places[i], 0700) == 0);
		t_check(environment_dir(&env, NULL, &dir, &temporary) == 0);
		t_check(strcmp(dir, places[i]) == 0 && temporary);
		free(dir);
	}
	return 0;
}

static void
environment_dir_temporary_is_the_first_place_that_is_there_or_einval(void **state)
{
	struct t_child c;
	int status;

	t_fork(&c, makes_places, *state);
	if ((status = t_join(&c)) == 77)
		t_skip("only root can change its root directory");
	assert_int_equal(status, 0);
}

static void
environment_dir_uses_db_home_only_if_allowed(void **state)
{
	struct t *t = *state;
	DB_ENV env = { .db_home = "/" };

	setenv("DB_HOME", t->dir, 1);
	expect_dir(&env, NULL, "/", false);
	env.region_flags = DB_USE_ENVIRON;
	expect_dir(&env, NULL, t->dir, false);
	env.db_home = NULL;
	expect_dir(&env, NULL, t->dir, false);
	setenv("DB_HOME", "", 1);
	env.db_home = "/usr";
	expect_dir(&env, NULL, "/usr", false);
	unsetenv("DB_HOME");
	expect_dir(&env, "..", "/", false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(region_each_names_regions_in_order_and_stops),
		t_test(region_peek_copies_only_what_is_a_region),
		t_test(environment_dir_follows_memp_opens_rules),
		t_test(environment_dir_temporary_is_from_variables_in_order),
		t_test(environment_dir_temporary_is_the_first_place_that_is_there_or_einval),
		t_test(environment_dir_uses_db_home_only_if_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
