/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: a process is killed in the middle of an operation, at each of its system calls in turn
 * and at single machine instructions of it (by ptrace).  Whoever comes next finds every page that
 * was put, the length as it was or as it was to be, and all of the pool in order.
 *
 * Of the instructions some are taken, by REAP_SEED; REAP_STEPS: more of them; REAP_ALL=1: all of
 * them, which takes hours.
 */
#include "../scene_t.h"

/* --- at each system call, at each instruction ------------------------------------------------ */

static void
mpool_death_in_any_system_call_of_any_operation_is_made_good(void **state)
{
	struct t *t = *state;
	struct strike d = { .t = t, .how = T_FAULT_KILL };
	struct t_child c;
	int status;

	for (unsigned k = 0; k < OPS; k++) {
		d.op = &ops[k];
		t_seconds(T_TEST_SECONDS);
		for (d.call = 1, status = 128 + SIGKILL; status == 128 + SIGKILL; d.call++) {
			scene(t, d.op);
			t_fork(&c, is_struck, &d);
			status = t_join(&c);
			t_check(status == 0 || status == 128 + SIGKILL);
			aftermath(t, d.op);
		}
		assert_in_range(d.call, 2, 300);
	}
}

/* The number of the instruction that it came to; less than n if it came to its end before. */
static unsigned
step_and_kill(struct t_child *c, unsigned n)
{
	unsigned i = step_to(c, n);
	int status;

	if (i >= n) {
		t_check(kill(c->pid, SIGKILL) == 0);
		t_check(waitpid(c->pid, &status, 0) == c->pid);
		t_check(WIFSIGNALED(status));
	}
	(void)close(c->in);
	(void)close(c->out);
	return i;
}

/* A death after n instructions of the operation, and what must hold after it. */
static unsigned
die_after(struct t *t, const struct op *op, unsigned n)
{
	struct strike d = { .t = t, .op = op };
	struct t_child c;

	scene(t, op);
	t_fork(&c, is_struck, &d);
	n = step_and_kill(&c, n);
	aftermath(t, op);
	return n;
}

/* A number of deaths spread over the operation, or one at each of its instructions. */
static unsigned
die_in(struct t *t, const struct op *op, unsigned *seedp)
{
	unsigned steps = from_outside("REAP_STEPS", STEPS), all = die_after(t, op, UINT32_MAX);
	unsigned tries = from_outside("REAP_ALL", 0) != 0 ? all : 2 + steps / all;

	print_message("# %s: %u instructions, %u deaths\n", op->name, all, tries);
	for (unsigned i = 0; i < tries; i++) {
		if (tries > 20 && i % 20 == 0)
			t_seconds(T_TEST_SECONDS);
		(void)die_after(t, op, tries == all ? i + 1 : draw_in_part(i, tries, all, seedp));
	}
	return tries;
}

static void
mpool_death_at_an_instruction_of_any_operation_is_made_good(void **state)
{
	unsigned seed = from_outside("REAP_SEED", 1), deaths = 0;

	prepare_to_step(seed);
	for (unsigned k = 0; k < OPS; k++) {
		t_seconds(2 * T_TEST_SECONDS);
		deaths += die_in(*state, &ops[k], &seed);
	}
	print_message("# %u deaths in all\n", deaths);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_death_in_any_system_call_of_any_operation_is_made_good),
		t_test(mpool_death_at_an_instruction_of_any_operation_is_made_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
