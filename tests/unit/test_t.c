/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_t.c - the helpers that the other tests stand on: children end as they are told to, a kill is
 * noticed, a fault strikes the call it was meant for and no other, and a test's directory is empty.
 */
#include "t.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static int
echo_until_zero(struct t_child *c, void *arg)
{
	uint64_t v;

	(void)arg;
	while ((v = t_await_u64(c)) != 0)
		t_tell_u64(c, v + 1);
	return (7);
}

static int
waits_for_ever(struct t_child *c, void *arg)
{
	(void)arg;
	t_tell(c, 'r');
	while (pause() != 0)
		continue;
	return (0);
}

static int
leaves_a_child_behind(struct t_child *c, void *arg)
{
	pid_t pid = fork();

	(void)arg;
	if (pid == 0)
		while (pause() != 0)
			continue;
	t_tell_u64(c, (uint64_t)pid);
	return (0);
}

static int
fails_a_check(struct t_child *c, void *arg)
{
	(void)arg;
	t_check(c->pid == 0);
	return (0);
}

static int
fails_an_assertion(struct t_child *c, void *arg)
{
	(void)arg;
	assert_int_equal(c->pid, 0);
	return (0);
}

static int
killed_in_its_third_open(struct t_child *c, void *arg)
{
	int fd, i;

	(void)arg;
	t_fault(OS_OPEN, 3, T_FAULT_KILL);
	for (i = 1; i <= 3; i++) {
		t_tell(c, (char)('0' + i));
		if (os_open("/dev/null", O_RDONLY, 0, &fd) == 0)
			os_close(fd);
	}
	return (0);
}

static void
child_talks_and_ends_with_its_status(void **state)
{
	struct t_child c;

	(void)state;
	t_fork(&c, echo_until_zero, NULL);
	t_tell_u64(&c, 41);
	assert_int_equal(t_await_u64(&c), 42);
	t_tell_u64(&c, 0);
	assert_int_equal(t_join(&c), 7);
}

static void
child_is_killed(void **state)
{
	struct t_child c;

	(void)state;
	t_fork(&c, waits_for_ever, NULL);
	t_await(&c, 'r');
	t_kill(&c);
}

static void
stopped_child_says_nothing_until_continued(void **state)
{
	struct t_child c;

	(void)state;
	t_fork(&c, echo_until_zero, NULL);
	t_stop(&c);
	t_tell_u64(&c, 1);
	assert_false(t_told(&c));

	t_continue(&c);
	assert_int_equal(t_await_u64(&c), 2);
	t_tell_u64(&c, 0);
	assert_int_equal(t_join(&c), 7);
}

static void
leftovers_of_a_test_are_killed(void **state)
{
	struct t_child c, forgotten;
	pid_t orphan;

	t_fork(&forgotten, waits_for_ever, NULL);
	t_await(&forgotten, 'r');
	t_fork(&c, leaves_a_child_behind, NULL);
	orphan = (pid_t)t_await_u64(&c);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(kill(orphan, 0), 0);

	assert_int_equal(t_teardown(state), 0);
	assert_int_equal(kill(orphan, 0), -1);
	assert_int_equal(kill(forgotten.pid, 0), -1);

	*state = (void *)"leftovers_of_a_test_are_killed";
	assert_int_equal(t_setup(state), 0);
}

static void
failure_in_a_child_is_an_exit_status(void **state)
{
	struct t_child c;

	(void)state;
	t_fork(&c, fails_a_check, NULL);
	assert_int_equal(t_join(&c), 99);
	t_fork(&c, fails_an_assertion, NULL);
	assert_int_equal(t_join(&c), 128 + SIGABRT);
}

static void
fault_strikes_the_nth_call_of_its_kind(void **state)
{
	int fd = -1;

	(void)state;
	t_fault(OS_OPEN, 2, ENOSPC);
	assert_int_equal(os_open("/dev/null", O_RDONLY, 0, &fd), 0);
	assert_int_equal(os_fsync(fd), EINVAL); /* of another kind: /dev/null's own answer */
	os_close(fd);
	fd = -2;
	assert_int_equal(os_open("/dev/null", O_RDONLY, 0, &fd), ENOSPC);
	assert_int_equal(fd, -2);
	assert_int_equal(os_open("/dev/null", O_RDONLY, 0, &fd), 0);
	os_close(fd);
	assert_true(t_fault_off());

	t_fault(OS_OPEN, 2, ENOSPC);
	assert_int_equal(os_open("/dev/null", O_RDONLY, 0, &fd), 0);
	os_close(fd);
	assert_false(t_fault_off());
}

static void
fault_kills_in_the_nth_call(void **state)
{
	struct t_child c;

	(void)state;
	t_fork(&c, killed_in_its_third_open, NULL);
	t_await(&c, '1');
	t_await(&c, '2');
	t_await(&c, '3');
	assert_int_equal(t_join(&c), 128 + SIGKILL);
}

static void
directory_is_empty_and_files_keep_their_bytes(void **state)
{
	struct t *t = *state;
	size_t bytes;
	char *data;

	assert_int_equal(rmdir(t->dir), 0);
	assert_int_equal(mkdir(t->dir, 0700), 0);
	t_write_file(t_path(t, "f"), "a\0b", 3);
	data = t_read_file(t_path(t, "f"), &bytes);
	assert_int_equal(bytes, 3);
	assert_memory_equal(data, "a\0b", 4);
	free(data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(child_talks_and_ends_with_its_status),
		t_test(child_is_killed),
		t_test(stopped_child_says_nothing_until_continued),
		t_test(leftovers_of_a_test_are_killed),
		t_test(failure_in_a_child_is_an_exit_status),
		t_test(fault_strikes_the_nth_call_of_its_kind),
		t_test(fault_kills_in_the_nth_call),
		t_test(directory_is_empty_and_files_keep_their_bytes),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
