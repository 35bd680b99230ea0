/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core: pool, lock table and the application's regions in one environment: where they are, what
 * the home says of them, how they go.
 */
#include "../pool_t.h"

#include <poolfs/lock.h>
#include <poolfs/region.h>

#include <limits.h>

#include "region/region.h"

#define POINTER "__db_regions"
#define LOCK_NAME "__db_lock.share"
#define MEMR_NAME "__db_mine.share"

/* --- three kinds of region ----------------------------------------------------------------- */

enum kind { POOL, LOCKS, MINE, KINDS };

static const char *const files[KINDS] = { REGION_NAME, LOCK_NAME, MEMR_NAME };

struct handle {
	DB_MPOOL *pool;
	DB_LOCKTAB *locks;
	DB_REGION *mine;
};

/* Every call with the same environment: that of the test's directory, and its regions there. */
static DB_ENV *
env_in(const struct t *t, const char *region_dir)
{
	DB_ENV *env = env_of(t, 0);

	env->region_dir = region_dir;
	return env;
}

static int
open_kind(enum kind kind, DB_ENV *env, int flags, struct handle *h)
{
	memset(h, 0, sizeof(*h));
	return kind == POOL ? memp_open(NULL, flags, 0, env, &h->pool) :
	    kind == LOCKS   ? lock_open(NULL, (u_int32_t)flags, 0, env, &h->locks) :
			      memr_open(NULL, "mine", flags, 0, 0, env, &h->mine);
}

static void
close_kind(struct handle *h)
{
	must(memp_close(h->pool));
	must(lock_close(h->locks));
	must(memr_close(h->mine));
}

static int
unlink_kind(enum kind kind, DB_ENV *env, int force)
{
	return kind == POOL ? memp_unlink(NULL, force, env) :
	    kind == LOCKS   ? lock_unlink(NULL, force, env) :
			      memr_unlink(NULL, "mine", force, env);
}

static const char *
pointer_of(const struct t *t)
{
	static char text[300];
	ssize_t n = readlink(t_path(t, POINTER), text, sizeof(text) - 1);

	if (n < 0)
		return "";
	text[n] = '\0';
	return text;
}

static void
make_places(const struct t *t)
{
	t_check(mkdir(t_path(t, "r"), 0700) == 0);
	t_check(mkdir(t_path(t, "q"), 0700) == 0);
}

static bool
is_there(const struct t *t, const char *dir, enum kind kind)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%s/%s", dir, files[kind]);
	return access(t_path(t, name), F_OK) == 0;
}

/* --- where ----------------------------------------------------------------------------------- */

static void
environment_regions_of_every_kind_are_found_from_the_home_alone(void **state)
{
	struct t *t = *state;
	struct handle h, all[KINDS];

	make_places(t);
	for (enum kind first = POOL; first < KINDS; first++) {
		must(open_kind(first, env_in(t, "r"), DB_CREATE, &h));
		assert_string_equal(pointer_of(t), "r");
		close_kind(&h);
		must(open_kind(first, env_in(t, NULL), 0, &h));
		for (enum kind kind = POOL; kind < KINDS; kind++) {
			must(open_kind(kind, env_in(t, NULL), DB_CREATE, &all[kind]));
			assert_true(is_there(t, "r", kind));
			assert_false(is_there(t, ".", kind));
		}
		for (enum kind kind = POOL; kind < KINDS; kind++)
			close_kind(&all[kind]);
		close_kind(&h);
		for (enum kind kind = POOL; kind < KINDS; kind++) {
			assert_string_equal(pointer_of(t), "r");
			must(unlink_kind(kind, env_in(t, NULL), 0));
		}
		assert_string_equal(pointer_of(t), "");
	}
}

static void
environment_has_all_its_regions_in_one_place(void **state)
{
	struct t *t = *state;
	struct handle h, other;

	make_places(t);
	for (enum kind first = POOL; first < KINDS; first++)
		for (enum kind kind = POOL; kind < KINDS; kind++) {
			must(open_kind(first, env_in(t, "r"), DB_CREATE, &h));
			refuses(open_kind(kind, env_in(t, "q"), DB_CREATE, &other), EBUSY);
			assert_non_null(strstr(heard, t->dir));
			close_kind(&h);
			/* Nobody holds it any more, but it is there. */
			refuses(open_kind(kind, env_in(t, "q"), DB_CREATE, &other), EBUSY);
			assert_non_null(strstr(heard, "removed before"));
			assert_false(is_there(t, "q", kind));
			must(unlink_kind(first, env_in(t, NULL), 0));
		}
}

static void
environment_private_pool_and_others_lock_table_do_not_disturb_each_other(void **state)
{
	struct t *t = *state;
	struct handle locks, mine;
	DB_MPOOL *pool;

	must(open_kind(LOCKS, env_of(t, 0), DB_CREATE, &locks));
	must(open_kind(MINE, env_of(t, 0), DB_CREATE, &mine));
	must(memp_open(NULL, DB_MPOOL_PRIVATE, 0, env_of(t, 0), &pool));
	close_kind(&locks);
	must(open_kind(LOCKS, env_of(t, 0), 0, &locks));
	must(memp_close(pool));
	close_kind(&locks);
	close_kind(&mine);
	must(env_remove(NULL, 0, env_of(t, 0)));
}

/* --- how they go ----------------------------------------------------------------------------- */

static void
env_remove_removes_regions_of_every_kind(void **state)
{
	struct t *t = *state;
	struct handle h[KINDS];

	make_places(t);
	for (enum kind kind = POOL; kind < KINDS; kind++) {
		must(open_kind(kind, env_in(t, "r"), DB_CREATE, &h[kind]));
		close_kind(&h[kind]);
	}
	must(env_remove(NULL, 0, env_in(t, NULL)));
	for (enum kind kind = POOL; kind < KINDS; kind++)
		assert_false(is_there(t, "r", kind));
	assert_string_equal(pointer_of(t), "");
	assert_int_equal(env_remove(NULL, 0, env_in(t, NULL)), ENOENT);
}

static void
env_remove_is_busy_while_one_of_them_is_in_use(void **state)
{
	struct t *t = *state;
	struct handle h;

	for (enum kind kind = POOL; kind < KINDS; kind++) {
		must(open_kind(kind, env_of(t, 0), DB_CREATE, &h));
		refuses(env_remove(NULL, 0, env_of(t, 0)), EBUSY);
		assert_non_null(strstr(heard, files[kind]));
		assert_true(is_there(t, ".", kind));
		close_kind(&h);
		must(env_remove(NULL, 0, env_of(t, 0)));
	}
}

static void
memr_unlink_removes_what_a_dead_process_left(void **state)
{
	static const char zeros[4096];
	struct t *t = *state;

	t_write_file(t_path(t, MEMR_NAME), "", 0);
	must(memr_unlink(NULL, "mine", 0, env_of(t, 0)));
	assert_false(is_there(t, ".", MINE));
	t_write_file(t_path(t, MEMR_NAME), zeros, sizeof(zeros));
	must(env_remove(NULL, 0, env_of(t, 0)));
	assert_false(is_there(t, ".", MINE));
	assert_int_equal(memr_unlink(NULL, "mine", 0, env_of(t, 0)), ENOENT);
}

/* --- what they are asked for ----------------------------------------------------------------- */

static void
environment_huge_pages_are_asked_for_or_a_sentence_says_why_not(void **state)
{
	struct t *t = *state;
	struct handle h;

	for (enum kind kind = POOL; kind < KINDS; kind++) {
		DB_ENV *env = env_of(t, 0);
		DB_REGION_STAT st;
		uint64_t huge = os_huge_page_size();

		env->region_flags |= DB_HUGE_PAGES;
		must(open_kind(kind, env, DB_CREATE, &h));
		must(memr_look(NULL,
		    kind == POOL      ? "mpool" :
			kind == LOCKS ? "lock" :
					"mine",
		    env, &st));
		/* In a segment of huge pages, or transparent ones, or told. */
		if (strstr(heard, "huge pages") == NULL && !os_huge_pages_granted(true))
			assert_true(huge > 0 && st.st_segid != -1);
		close_kind(&h);
		must(unlink_kind(kind, env_of(t, 0), 0));
	}
}

/* --- a set-user-ID program ------------------------------------------------------------------- */

#define WHERE "where" /* as the program's argument: print the temporary directory, no more */

static int
print_where(void)
{
	char *dir;
	bool temporary;
	int ret = environment_dir(NULL, NULL, &dir, &temporary);

	if (ret != 0)
		return ret;
	(void)puts(dir);
	free(dir);
	return 0;
}

/* Where would a copy of this program, of that owner and mode, have its regions?  False: cannot. */
static bool
asked_where(const struct t *t, uid_t owner, mode_t mode, char said[], size_t bytes)
{
	const char *copy = t_path(t, "copy");
	char command[1200];
	size_t n;
	char *program = t_read_file("/proc/self/exe", &n);
	FILE *f;

	t_write_file(copy, program, n);
	free(program);
	if (chown(copy, owner, (gid_t)-1) != 0 || chmod(copy, mode) != 0)
		return false;
	(void)snprintf(command, sizeof(command), "TMPDIR=%s TEMP=%s TMP=%s %s " WHERE, t->dir,
	    t->dir, t->dir, copy);
	if ((f = popen(command, "re")) == NULL)
		return false;
	if (fgets(said, (int)bytes, f) == NULL)
		said[0] = '\0';
	said[strcspn(said, "\n")] = '\0';
	return pclose(f) == 0 && unlink(copy) == 0;
}

static void
environment_of_a_set_user_id_program_does_not_lead_its_regions(void **state)
{
	struct t *t = *state;
	char said[PATH_MAX];

	assert_true(asked_where(t, (uid_t)-1, 0700, said, sizeof(said)));
	assert_string_equal(said, t->dir);
	if (geteuid() != 0 || chmod(t->dir, 0755) != 0 ||
	    !asked_where(t, 65534, 04755, said, sizeof(said)))
		t_skip("not root, or no program can be made set-user-ID here");
	assert_string_not_equal(said, t->dir);
	assert_int_equal(said[0], '/');
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		t_test(environment_regions_of_every_kind_are_found_from_the_home_alone),
		t_test(environment_has_all_its_regions_in_one_place),
		t_test(environment_private_pool_and_others_lock_table_do_not_disturb_each_other),
		t_test(env_remove_removes_regions_of_every_kind),
		t_test(env_remove_is_busy_while_one_of_them_is_in_use),
		t_test(memr_unlink_removes_what_a_dead_process_left),
		t_test(environment_huge_pages_are_asked_for_or_a_sentence_says_why_not),
		t_test(environment_of_a_set_user_id_program_does_not_lead_its_regions),
	};

	if (argc == 2 && strcmp(argv[1], WHERE) == 0)
		return print_where();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
