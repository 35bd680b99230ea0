/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: whose regions are trusted.
 */
#include "region_t.h"

/* --- trust --------------------------------------------------------------------------------- */

static void
region_that_is_no_regular_file_is_refused(void **state)
{
	struct t *t = *state;

	t_write_file(t_path(t, "target"), "", 0);
	t_check(symlink("target", t_path(t, REGION_FILE)) == 0);
	assert_int_equal(attach_error(t), EPERM);
	assert_non_null(strstr(last_sentence, "symbolic link"));
	t_check(unlink(t_path(t, REGION_FILE)) == 0);
	t_check(symlink("nowhere", t_path(t, REGION_FILE)) == 0);
	assert_int_equal(attach_error(t), EPERM);
	t_check(access(t_path(t, "nowhere"), F_OK) == -1);
	t_check(unlink(t_path(t, REGION_FILE)) == 0);
	t_check(mkfifo(t_path(t, REGION_FILE), 0600) == 0);
	assert_int_equal(attach_error(t), EPERM);
	t_check(unlink(t_path(t, REGION_FILE)) == 0);
	t_check(mkdir(t_path(t, REGION_FILE), 0700) == 0);
	assert_int_equal(attach_error(t), EISDIR);
	t_check(rmdir(t_path(t, REGION_FILE)) == 0);
}

static void
root_refuses_what_others_may_write_unless_its_own_mode_says_so(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	struct region *r;

	if (geteuid() != 0)
		t_skip("not root");
	(void)leave_region(t);
	t_check(chown(t_path(t, REGION_FILE), 1234, (gid_t)-1) == 0);
	expect_refusal(t, EPERM, "1234");
	t_check(chown(t_path(t, REGION_FILE), 0, (gid_t)-1) == 0);
	t_check(chmod(t_path(t, REGION_FILE), 0620) == 0);
	expect_refusal(t, EPERM, "0620");
	spec.mode = 0660;
	assert_int_equal(region_attach(&spec, &r), 0);
	detach(r);
	t_check(chmod(t_path(t, REGION_FILE), 0602) == 0);
	assert_int_equal(region_attach(&spec, &r), EPERM);
	t_check(chmod(t_path(t, REGION_FILE), 0644) == 0);
	assert_int_equal(attach_error(t), 0);
}

static int
attaches_as_nobody(struct t_child *c, void *arg)
{
	(void)c;
	t_check(setgid(65534) == 0 && setuid(65534) == 0);
	return attach_error(arg);
}

static int
as_nobody(struct t *t)
{
	struct t_child c;

	t_fork(&c, attaches_as_nobody, t);
	return t_join(&c);
}

static void
sticky_directory_wants_the_callers_or_roots_file(void **state)
{
	struct t *t = *state;
	const char *path = t_path(t, REGION_FILE);

	if (geteuid() != 0)
		t_skip("not root");
	(void)leave_region(t);
	t_check(chmod(t->dir, 01777) == 0);
	t_check(chmod(path, 0666) == 0);
	assert_int_equal(as_nobody(t), 0);
	t_check(chown(path, 1234, (gid_t)-1) == 0);
	assert_int_equal(as_nobody(t), EPERM);
	t_check(chmod(t->dir, 0777) == 0);
	assert_int_equal(as_nobody(t), 0);
	t_check(chmod(t->dir, 01777) == 0);
	t_check(chown(path, 65534, (gid_t)-1) == 0);
	assert_int_equal(as_nobody(t), 0);
	t_check(unlink(path) == 0);
	assert_int_equal(as_nobody(t), 0);
	/* A second name for a file of root's is how one would make root's process write to it. */
	t_check(unlink(path) == 0);
	(void)leave_region(t);
	t_check(link(path, t_path(t, "second")) == 0);
	assert_int_equal(attach_error(t), EPERM);
}

static void
region_without_permission_is_eacces(void **state)
{
	struct t *t = *state;

	if (geteuid() != 0)
		t_skip("not root");
	t_check(chmod(t->dir, 0755) == 0);
	assert_int_equal(as_nobody(t), EACCES);
	assert_false(exists(t));
	(void)leave_region(t);
	assert_int_equal(as_nobody(t), EACCES);
	detach(attach(t));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(region_that_is_no_regular_file_is_refused),
		t_test(root_refuses_what_others_may_write_unless_its_own_mode_says_so),
		t_test(sticky_directory_wants_the_callers_or_roots_file),
		t_test(region_without_permission_is_eacces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
