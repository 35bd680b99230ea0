/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: a home says where its regions are, as long as there are any: who makes, follows and
 * removes the pointer, and whose is believed.
 */
#include "home_t.h"

#define SOMEBODY 1234
#define NOBODY 65534

/* --- what it says -------------------------------------------------------------------------- */

static void
home_says_where_its_regions_are_as_long_as_there_are_any(void **state)
{
	struct t *t = *state;
	char *below = strdup(t_path(t, "home/below")), *home = strdup(t_path(t, "home"));
	struct region_spec spec;
	struct t inner;
	struct region *r;

	t_check(mkdir(home, 0755) == 0 && mkdir(below, 0755) == 0);
	(void)snprintf(inner.dir, sizeof(inner.dir), "%s", home);
	assert_string_equal(said(t, home), "/home");
	spec = spec_at(&inner, "below");
	assert_int_equal(region_attach(&spec, &r), 0);
	assert_string_equal(link_text(&inner), "below");
	assert_string_equal(said(t, home), "/home/below");
	detach(r);
	home_forget(home, below);
	assert_string_equal(said(t, home), "/home/below");
	remove_at(&inner, "below");
	assert_null(link_text(&inner));
	assert_string_equal(said(t, home), "/home");
	/* Elsewhere: absolute. */
	spec.dir = dir_in(t, "far");
	assert_int_equal(region_attach(&spec, &r), 0);
	assert_string_equal(link_text(&inner), t_path(t, "far"));
	assert_string_equal(said(t, home), "/far");
	detach(r);
	free(below);
	free(home);
}

static void
regions_stay_where_they_are_until_they_are_removed(void **state)
{
	struct t *t = *state;
	struct region *r;

	assert_int_equal(attach_at(t, "one", &r), 0);
	detach_clean(r);
	assert_int_equal(attach_at(t, "two", &r), EBUSY);
	assert_non_null(strstr(last_sentence, "/one"));
	assert_string_equal(said(t, t->dir), "/one");
	remove_at(t, "one");
	assert_int_equal(attach_at(t, "two", &r), 0);
	assert_string_equal(said(t, t->dir), "/two");
	detach_clean(r);
	remove_at(t, "two");
	/* In the home itself, they are in the way too. */
	assert_int_equal(attach_at(t, NULL, &r), 0);
	detach_clean(r);
	assert_int_equal(attach_at(t, "one", &r), EBUSY);
	assert_null(link_text(t));
}

static void
who_only_follows_the_home_is_told_that_it_says_something_else(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_at(t, "one");
	struct region *r;

	spec.placed = false;
	last_sentence[0] = '\0';
	assert_int_equal(region_attach(&spec, &r), ESTALE);
	assert_string_equal(last_sentence, "");
	t_check(symlink("one", t_path(t, HOME_POINTER)) == 0);
	assert_int_equal(region_attach(&spec, &r), 0);
	detach(r);
}

static void
pointer_to_nothing_is_an_error_and_gives_way_to_who_knows_better(void **state)
{
	struct t *t = *state;
	struct region *r;

	t_check(symlink("nowhere", t_path(t, HOME_POINTER)) == 0);
	assert_null(said(t, t->dir));
	assert_non_null(strstr(last_sentence, "nowhere"));
	t_write_file(t_path(t, "nowhere"), "", 0);
	assert_null(said(t, t->dir));
	assert_int_equal(attach_at(t, "one", &r), 0);
	assert_string_equal(link_text(t), "one");
	detach_clean(r);
	remove_at(t, "one");
	/* A directory without regions is where they would be. */
	(void)dir_in(t, "one");
	t_check(symlink("one", t_path(t, HOME_POINTER)) == 0);
	assert_string_equal(said(t, t->dir), "/one");
	assert_int_equal(attach_at(t, "two", &r), 0);
	assert_string_equal(said(t, t->dir), "/two");
	detach(r);
}

static void
pointer_is_not_moved_by_who_finds_no_region(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_at(t, "two");
	struct region *r;

	(void)dir_in(t, "one");
	t_check(symlink("one", t_path(t, HOME_POINTER)) == 0);
	spec.create = false;
	assert_int_equal(region_attach(&spec, &r), ENOENT);
	assert_string_equal(link_text(t), "one");
}

/* --- whom to believe ----------------------------------------------------------------------- */

static void
pointer_that_is_no_symbolic_link_is_refused(void **state)
{
	struct t *t = *state;
	struct region *r;

	t_write_file(t_path(t, HOME_POINTER), "one", 3);
	assert_null(said(t, t->dir));
	assert_non_null(strstr(last_sentence, "not a symbolic link"));
	assert_int_equal(attach_at(t, "one", &r), EPERM);
	assert_int_equal(attach_at(t, NULL, &r), EPERM);
}

struct as_nobody {
	int (*fn)(struct t *t);
	struct t *t;
};

static int
becomes_nobody(struct t_child *c, void *arg)
{
	const struct as_nobody *n = arg;

	(void)c;
	t_check(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	return n->fn(n->t);
}

/* What fn returns in a process of the user nobody's. */
static int
as_nobody(int (*fn)(struct t *t), struct t *t)
{
	struct as_nobody n = { fn, t };
	struct t_child c;

	t_fork(&c, becomes_nobody, &n);
	return t_join(&c);
}

static int
is_refused(struct t *t)
{
	return said(t, t->dir) == NULL;
}

static void
pointer_of_another_user_is_refused_to_root_and_in_sticky_directories(void **state)
{
	struct t *t = *state;

	if (geteuid() != 0)
		t_skip("not root");
	(void)dir_in(t, "one");
	t_check(chmod(t->dir, 0777) == 0);
	t_check(symlink("one", t_path(t, HOME_POINTER)) == 0);
	assert_string_equal(said(t, t->dir), "/one");
	assert_false(as_nobody(is_refused, t));
	t_check(lchown(t_path(t, HOME_POINTER), SOMEBODY, SOMEBODY) == 0);
	assert_null(said(t, t->dir));
	assert_non_null(strstr(last_sentence, "user 1234"));
	assert_false(as_nobody(is_refused, t));
	t_check(chmod(t->dir, 01777) == 0);
	assert_true(as_nobody(is_refused, t));
	t_check(lchown(t_path(t, HOME_POINTER), NOBODY, NOBODY) == 0);
	assert_false(as_nobody(is_refused, t));
}

static int
attaches_unsaid(struct t *t)
{
	struct region *r;

	test_env.db_verbose = 1;
	t_check(attach_at(t, "one", &r) == 0);
	t_check(strstr(last_sentence, "does not say") != NULL);
	detach(r);
	return 0;
}

static void
home_that_cannot_be_written_has_regions_elsewhere_all_the_same(void **state)
{
	struct t *t = *state;

	if (geteuid() != 0)
		t_skip("not root");
	t_check(chmod(t->dir, 0755) == 0);
	t_check(chown(dir_in(t, "one"), NOBODY, NOBODY) == 0);
	assert_int_equal(as_nobody(attaches_unsaid, t), 0);
	assert_null(link_text(t));
}

static int
sees_no_regions(struct t *t)
{
	struct region *r;

	t_check(attach_at(t, "two", &r) == EACCES);
	t_check(strstr(last_sentence, "/one") != NULL);
	home_forget(t->dir, t_path(t, "one"));
	t_check(link_text(t) != NULL && strcmp(link_text(t), "one") == 0);
	return 0;
}

static void
regions_in_a_directory_that_cannot_be_read_stay_known(void **state)
{
	struct t *t = *state;
	struct region *r;

	if (geteuid() != 0)
		t_skip("not root");
	assert_int_equal(attach_at(t, "one", &r), 0);
	detach(r);
	t_check(chmod(t->dir, 0777) == 0 && chmod(dir_in(t, "one"), 0333) == 0);
	t_check(chown(dir_in(t, "two"), NOBODY, NOBODY) == 0);
	assert_int_equal(as_nobody(sees_no_regions, t), 0);
	assert_string_equal(said(t, t->dir), "/one");
}

static int
comes_with_a_private_pool(struct t *t)
{
	struct region *r;

	t_check(attach_private(t, &r) == EBUSY);
	t_check(strstr(last_sentence, REGION_FILE) != NULL);
	return 0;
}

static void
private_pool_does_not_come_beside_a_region_it_may_not_read(void **state)
{
	struct t *t = *state;
	struct region *r;

	if (geteuid() != 0)
		t_skip("not root");
	t_check(chmod(t->dir, 0755) == 0);
	assert_int_equal(attach_at(t, NULL, &r), 0);
	detach(r);
	assert_int_equal(as_nobody(comes_with_a_private_pool, t), 0);
	remove_at(t, NULL);
	/* What a creator who died leaves is in nobody's way. */
	t_write_file(t_path(t, REGION_FILE), "", 0);
	assert_int_equal(attach_private(t, &r), 0);
	detach(r);
}

static int
is_unsaid(struct t *t)
{
	struct stat st;

	assert_int_equal(home_unsay(&test_env, t->dir), 0);
	return lstat(t_path(t, HOME_POINTER), &st) == -1;
}

static void
only_nonsense_is_unsaid_and_only_beside_nobody(void **state)
{
	static const char *const nonsense[] = { "nowhere", "file", HOME_POINTER };
	struct t *t = *state;
	struct region *r;

	t_write_file(t_path(t, "file"), "", 0);
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		t_check(symlink(nonsense[i], t_path(t, HOME_POINTER)) == 0);
		assert_true(is_unsaid(t));
	}
	t_write_file(t_path(t, HOME_POINTER), "one", 3);
	assert_true(is_unsaid(t));
	assert_int_equal(attach_at(t, "one", &r), 0);
	t_check(rename(t_path(t, "one"), t_path(t, "gone")) == 0);
	assert_int_equal(home_unsay(&test_env, t->dir), EBUSY);
	assert_string_equal(link_text(t), "one");
	t_check(rename(t_path(t, "gone"), t_path(t, "one")) == 0);
	detach(r);
	assert_false(is_unsaid(t));
	if (geteuid() != 0)
		return;
	t_check(unlink(t_path(t, HOME_POINTER)) == 0);
	t_check(mkdir(t_path(t, "shut"), 0700) == 0 && mkdir(t_path(t, "shut/in"), 0700) == 0);
	t_check(symlink("shut/in", t_path(t, HOME_POINTER)) == 0 && chmod(t->dir, 0777) == 0);
	assert_false(as_nobody(is_unsaid, t));
	assert_string_equal(link_text(t), "shut/in");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(home_says_where_its_regions_are_as_long_as_there_are_any),
		t_test(regions_stay_where_they_are_until_they_are_removed),
		t_test(who_only_follows_the_home_is_told_that_it_says_something_else),
		t_test(pointer_to_nothing_is_an_error_and_gives_way_to_who_knows_better),
		t_test(pointer_is_not_moved_by_who_finds_no_region),
		t_test(pointer_that_is_no_symbolic_link_is_refused),
		t_test(pointer_of_another_user_is_refused_to_root_and_in_sticky_directories),
		t_test(home_that_cannot_be_written_has_regions_elsewhere_all_the_same),
		t_test(regions_in_a_directory_that_cannot_be_read_stay_known),
		t_test(private_pool_does_not_come_beside_a_region_it_may_not_read),
		t_test(only_nonsense_is_unsaid_and_only_beside_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
