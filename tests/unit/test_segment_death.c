/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region in System V shared memory: whatever call fails, and wherever a process dies, no
 * segment is left that nobody can find, and whoever comes next has one region.
 */
#include "region_t.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A detach happens, whatever it returns. */
static int
come_and_go(const struct t *t)
{
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r;
	int ret = region_attach(&spec, &r);

	if (ret == 0)
		(void)region_detach(r, false, NULL, NULL);
	return ret;
}

/* Each call of a creation, or of a join, fails once: nothing is left, nothing is lost. */
static void
fail_every_call(struct t *t, bool keep)
{
	unsigned n = 0;
	int ret;

	do {
		t_fault(T_FAULT_ANY, ++n, ENOSPC);
		ret = come_and_go(t);
		if (t_fault_off() == 0)
			break;
		assert_true(ret == 0 || ret == ENOSPC);
		if (keep)
			assert_int_equal(segments(), 1);
		else if (ret == 0 || exists(t))
			assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
		assert_int_equal(segments(), keep ? 1 : 0);
	} while (n < 1000);
	assert_true(n > 10 && ret == 0);
}

static void
segment_creation_survives_failure_of_any_call(void **state)
{
	fail_every_call(*state, false);
}

static void
segment_join_survives_failure_of_any_call(void **state)
{
	struct t *t = *state;
	uint64_t id;

	detach(attach_system(t));
	id = file_copy(t).region_id;
	fail_every_call(t, true);
	assert_true(file_copy(t).region_id == id);
}

struct dying {
	struct t *t;
	unsigned n;
	enum { IN_CREATION, IN_REMOVAL, IN_FORCE, IN_TAKEOVER } where;
};

static int
dies_at_a_call(struct t_child *c, void *arg)
{
	struct dying *d = arg;
	struct region *r = NULL;

	(void)c;
	if (d->where == IN_REMOVAL)
		r = attach_system(d->t);
	t_fault(T_FAULT_ANY, d->n, T_FAULT_KILL);
	if (d->where == IN_FORCE)
		t_check(region_unlink_forced(NULL, d->t->dir, REGION_FILE) == 0);
	else
		t_check(region_detach(r == NULL ? attach_system(d->t) : r, d->where == IN_REMOVAL,
			    NULL, NULL) == 0);
	return 0;
}

/* With a segment made, and neither ids in it nor its name in the file. */
static int
dies_in_creation(struct t_child *c, void *arg)
{
	(void)c;
	t_fault(OS_SHM, 2, T_FAULT_KILL);
	(void)attach_system_error(((struct dying *)arg)->t);
	return 0;
}

/* Something for the next one to die over. */
static void
prepare(struct dying *d)
{
	struct t_child c;

	if (d->where == IN_FORCE)
		detach(attach_system(d->t));
	if (d->where != IN_TAKEOVER)
		return;
	t_fork(&c, dies_in_creation, d);
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	assert_int_equal(segments(), 1);
}

static unsigned
die_at_every_call(struct t *t, int where)
{
	struct dying d = { .t = t, .where = where };
	struct t_child c;
	int status;

	do {
		d.n++;
		prepare(&d);
		t_fork(&c, dies_at_a_call, &d);
		status = t_join(&c);
		assert_true(status == 0 || status == 128 + SIGKILL);
		/* Whoever comes next makes one region of it, with one segment. */
		detach(attach_system(t));
		assert_int_equal(segments(), 1);
		assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
		assert_int_equal(segments(), 0);
	} while (status != 0);
	return d.n;
}

static void
segments_creator_killed_at_any_call_leaves_none(void **state)
{
	assert_true(die_at_every_call(*state, IN_CREATION) > 15);
}

static int
keeps_the_memory(void *arg)
{
	(void)arg;
	while (syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0) != 0)
		continue;
	return 0;
}

/* With the ids in the segment, and another process that has its memory, but none of its files. */
static int
dies_with_its_memory_kept(struct t_child *c, void *arg)
{
	static char stack[16384] __attribute__((aligned(16)));
	int pid = clone(keeps_the_memory, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);

	t_tell_u64(c, (uint64_t)pid);
	t_fault(OS_SHM, 3, T_FAULT_KILL);
	(void)attach_system_error(arg);
	return 0;
}

static void
segment_of_a_dead_creator_goes_though_somebody_keeps_his_memory(void **state)
{
	struct t *t = *state;
	struct t_child c;
	pid_t keeper;

	t_fork(&c, dies_with_its_memory_kept, t);
	keeper = (pid_t)t_await_u64(&c);
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	assert_int_equal(segments(), 1);
	detach(attach_system(t));
	assert_int_equal(kill(keeper, SIGKILL), 0);
	assert_int_equal(waitpid(keeper, NULL, 0), keeper);
	assert_int_equal(segments(), 1);
	assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	assert_int_equal(segments(), 0);
}

static void
segments_remover_killed_at_any_call_leaves_none(void **state)
{
	assert_true(die_at_every_call(*state, IN_REMOVAL) > 6);
}

static void
segments_forced_remover_killed_at_any_call_leaves_none(void **state)
{
	assert_true(die_at_every_call(*state, IN_FORCE) > 8);
}

static void
leftover_segments_next_creator_killed_at_any_call_leaves_none(void **state)
{
	assert_true(die_at_every_call(*state, IN_TAKEOVER) > 15);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(segment_creation_survives_failure_of_any_call),
		segment_test(segment_join_survives_failure_of_any_call),
		segment_test(segments_creator_killed_at_any_call_leaves_none),
		segment_test(segment_of_a_dead_creator_goes_though_somebody_keeps_his_memory),
		segment_test(segments_remover_killed_at_any_call_leaves_none),
		segment_test(segments_forced_remover_killed_at_any_call_leaves_none),
		segment_test(leftover_segments_next_creator_killed_at_any_call_leaves_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
