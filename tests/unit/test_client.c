/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: who is attached and alive, what a fork and a kill do to that, and who may take
 * over a dead client's number.
 */
#include "region_t.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* Attaches, tells its number, and detaches when told to. */
static int
is_a_client(struct t_child *c, void *arg)
{
	struct region *r = attach(arg);

	t_tell_u64(c, r->self);
	t_await(c, 'g');
	detach(r);
	return 0;
}

static uint32_t
fork_client(struct t *t, struct t_child *c)
{
	t_fork(c, is_a_client, t);
	return (uint32_t)t_await_u64(c);
}

static uint32_t
state_of(struct region *r, uint32_t number)
{
	return load_seq(&r->clients[number].state);
}

static void
damaged_mark_of_the_numbers_in_use_hides_no_live_client(void **state)
{
	static const uint32_t marks[] = { 0, 1, 2, 3, UINT32_MAX };
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child c[3];
	size_t i;

	assert_int_equal(r->layout->clients_used, 1);
	for (i = 0; i < 3; i++)
		assert_int_equal(fork_client(t, &c[i]), i + 1);
	assert_int_equal(r->layout->clients_used, 4);
	for (i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		store_seq(&r->layout->clients_used, marks[i]);
		assert_int_equal(client_count(r), 4);
		assert_true(client_end(r) >= 4);
	}
	store_seq(&r->layout->clients_used, 1);
	assert_int_equal(region_detach(r, true, NULL, NULL), EBUSY);
	for (i = 0; i < 3; i++) {
		t_tell(&c[i], 'g');
		assert_int_equal(t_join(&c[i]), 0);
	}
	/* From the first number on, though the mark is lost. */
	r = attach(t);
	assert_int_equal(r->self, 0);
	detach(r);
}

/* --- the table ----------------------------------------------------------------------------- */

static void
client_is_described_and_cleared(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t), *other = attach(t);
	struct client *c = &other->clients[r->self];
	static const struct client nobody;

	assert_int_equal(c->state, CLIENT_LIVE);
	assert_int_equal(c->pid, getpid());
	assert_int_equal(c->uid, geteuid());
	assert_true(c->start_ticks == os_process_start(getpid()));
	assert_true(os_now_usec() - c->attached_usec < 60 * 1000000);
	assert_string_equal(c->name, "test_client");
	detach(r);
	assert_memory_equal(c, &nobody, sizeof(nobody));
	detach(other);
}

static void
client_dies_with_kill_and_with_detach(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child a, b;
	uint32_t na = fork_client(t, &a), nb = fork_client(t, &b);

	assert_true(na != nb && na != r->self && nb != r->self);
	assert_true(client_is_alive(r, na) && client_is_alive(r, nb));
	assert_int_equal(client_count(r), 3);
	assert_int_equal(r->layout->refcnt, 3);
	t_kill(&a);
	assert_false(client_is_alive(r, na));
	assert_int_equal(client_count(r), 2);
	t_tell(&b, 'g');
	assert_int_equal(t_join(&b), 0);
	assert_false(client_is_alive(r, nb));
	assert_int_equal(state_of(r, nb), CLIENT_FREE);
	assert_int_equal(state_of(r, na), CLIENT_LIVE);
	assert_int_equal(client_count(r), 1);
	assert_false(client_is_alive(r, CLIENTS));
	assert_false(client_is_alive(r, NO_CLIENT));
	detach(r);
}

/* The first process of a PID namespace of its own, it dies attached. */
static int
is_process_1(struct t_child *c, void *arg)
{
	struct region *r;
	int status = -1;
	pid_t pid;

	if (unshare(CLONE_NEWPID) == -1) {
		t_tell_u64(c, NO_CLIENT);
		return 0;
	}
	if ((pid = fork()) == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		r = attach(arg);
		t_check(getpid() == 1 && r->clients[r->self].pid == 1);
		t_tell_u64(c, r->self);
		t_await(c, 'g');
		_exit(0);
	}
	t_check(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

static void
clients_with_equal_pids_live_and_die_by_themselves(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child a, b;
	uint32_t na, nb;

	t_fork(&a, is_process_1, t);
	if ((na = (uint32_t)t_await_u64(&a)) == NO_CLIENT)
		t_skip("no right to make a PID namespace");
	t_fork(&b, is_process_1, t);
	nb = (uint32_t)t_await_u64(&b);
	assert_true(na != nb);
	assert_int_equal(r->clients[na].pid, r->clients[nb].pid);
	assert_int_equal(client_count(r), 3);
	t_tell(&a, 'g');
	assert_int_equal(t_join(&a), 0);
	assert_false(client_is_alive(r, na));
	assert_true(client_is_alive(r, nb));
	assert_true(client_claim_dead(r, na));
	assert_false(client_claim_dead(r, nb));
	client_free(r, na);
	assert_int_equal(client_count(r), 2);
	t_tell(&b, 'g');
	assert_int_equal(t_join(&b), 0);
	assert_false(client_is_alive(r, nb));
	detach(r);
}

static void
stopped_client_is_alive(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child a;
	uint32_t na = fork_client(t, &a);

	t_stop(&a);
	assert_true(client_is_alive(r, na));
	assert_false(client_claim_dead(r, na));
	t_continue(&a);
	t_tell(&a, 'g');
	assert_int_equal(t_join(&a), 0);
	detach(r);
}

static void
dead_clients_do_not_keep_a_region(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child a;

	(void)fork_client(t, &a);
	t_kill(&a);
	assert_int_equal(region_detach(r, true, NULL, NULL), 0);
	assert_false(exists(t));
}

static void
number_is_reused_only_after_it_was_freed(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t), *next;
	struct t_child a;
	uint32_t na = fork_client(t, &a);

	t_kill(&a);
	next = attach(t);
	assert_int_not_equal(next->self, na);
	detach(next);
	assert_true(client_claim_dead(r, na));
	assert_int_equal(state_of(r, na), CLIENT_REAPING);
	next = attach(t);
	assert_int_not_equal(next->self, na);
	detach(next);
	client_free(r, na);
	assert_int_equal(state_of(r, na), CLIENT_FREE);
	next = attach(t);
	assert_int_equal(next->self, na);
	detach(next);
	detach(r);
}

static void
dead_client_is_claimed_by_one(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t), *other = attach(t);
	struct t_child a;
	uint32_t na = fork_client(t, &a);

	assert_false(client_claim_dead(r, na));
	t_kill(&a);
	assert_false(client_claim_dead(r, r->self));
	assert_false(client_claim_dead(r, other->self));
	assert_false(client_claim_dead(r, CLIENTS - 1));
	assert_false(client_claim_dead(r, CLIENTS));
	assert_true(client_claim_dead(r, na));
	assert_false(client_claim_dead(r, na));
	assert_false(client_claim_dead(other, na));
	/* Only the claimant frees it. */
	client_free(other, na);
	assert_int_equal(state_of(r, na), CLIENT_REAPING);
	client_free(r, na);
	client_free(r, r->self);
	client_free(r, UINT32_MAX);
	assert_true(client_is_alive(other, r->self));
	detach(r);
	detach(other);
}

/* Claims the client whose number it is told, and stays. */
static int
claims(struct t_child *c, void *arg)
{
	struct region *r = attach(arg);

	t_tell_u64(c, r->self);
	t_check(client_claim_dead(r, (uint32_t)t_await_u64(c)));
	t_tell(c, 'c');
	t_await(c, 'g');
	return 0;
}

static void
dead_reapers_claim_is_taken_over(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child a, reaper;
	uint32_t na = fork_client(t, &a), nr;

	t_fork(&reaper, claims, t);
	nr = (uint32_t)t_await_u64(&reaper);
	t_kill(&a);
	t_tell_u64(&reaper, na);
	t_await(&reaper, 'c');
	assert_false(client_claim_dead(r, na));
	t_kill(&reaper);
	assert_true(client_claim_dead(r, na));
	assert_true(client_claim_dead(r, nr));
	client_free(r, na);
	client_free(r, nr);
	assert_int_equal(client_count(r), 1);
	detach(r);
}

/* A reaper died in the middle, was reaped itself, and its number is a living process's: that one
 * knows nothing of the claim. */
static void
claim_of_a_reapers_earlier_life_is_dropped(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t), *heir;
	struct t_child a, reaper;
	uint32_t na = fork_client(t, &a), nr;

	t_fork(&reaper, claims, t);
	nr = (uint32_t)t_await_u64(&reaper);
	t_kill(&a);
	t_tell_u64(&reaper, na);
	t_await(&reaper, 'c');
	t_kill(&reaper);
	assert_true(client_claim_dead(r, nr));
	client_free(r, nr);
	heir = attach(t);
	assert_int_equal(heir->self, nr);
	assert_true(client_claim_dead(r, na));
	client_free(r, na);
	detach(heir);
	detach(r);
}

static void
full_table_of_the_living_is_eagain(void **state)
{
	struct t *t = *state;
	struct region *r[CLIENTS];
	int n, i;

	for (n = 0; n < CLIENTS - CLIENTS / 8; n++)
		r[n] = attach(t);
	assert_int_equal(client_count(r[0]), n);
	assert_int_equal(attach_error(t), EAGAIN);
	assert_non_null(strstr(last_sentence, "16 client numbers"));
	detach(r[3]);
	r[3] = attach(t);
	assert_int_equal(attach_error(t), EAGAIN);
	for (i = 0; i < n; i++)
		detach(r[i]);
	detach(attach(t));
}

static int
dies_with_a_full_table(struct t_child *c, void *arg)
{
	int n;

	for (n = 0; n < CLIENTS - CLIENTS / 8; n++)
		(void)attach(arg);
	t_tell(c, 'f');
	t_await(c, 'g');
	return 0;
}

static void
full_table_of_the_dead_lets_a_reaper_in(void **state)
{
	struct t *t = *state;
	struct t_child c;
	struct region *r, *next;
	uint32_t i;

	t_fork(&c, dies_with_a_full_table, t);
	t_await(&c, 'f');
	t_kill(&c);
	r = attach(t);
	assert_false(r->created);
	assert_int_equal(client_count(r), 1);
	for (i = 0; i < CLIENTS; i++)
		if (client_claim_dead(r, i))
			client_free(r, i);
	next = attach(t);
	assert_int_equal(next->self, 0);
	detach(next);
	detach(r);
}

/* While the kernel cannot be asked, nobody is taken for dead. */
static void
client_is_alive_when_the_question_fails(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child a;
	uint32_t na = fork_client(t, &a);

	t_kill(&a);
	t_fault_always(OS_LOCK, ENOLCK);
	assert_true(client_is_alive(r, na));
	assert_false(client_claim_dead(r, na));
	assert_true(t_fault_off());
	assert_false(client_is_alive(r, na));
	detach(r);
}

/* --- fork ---------------------------------------------------------------------------------- */

static int
inherits(struct t_child *c, void *arg)
{
	struct region *r = arg, *own;
	struct region_spec spec;
	char dir[256];

	(void)c;
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(r->path, '/') - r->path), r->path);
	spec = spec_in(dir);
	t_check(region_usable(r) == EINVAL);
	t_check(r->fd == -1);
	t_check(region_attach(&spec, &own) == 0);
	t_check(own->self != r->self);
	t_check(region_usable(own) == 0);
	t_check(client_count(own) == 2);
	/* Frees the child's memory and nothing else. */
	t_check(region_detach(r, true, NULL, NULL) == 0);
	t_check(client_count(own) == 2);
	t_check(region_detach(own, false, NULL, NULL) == 0);
	return 0;
}

static void
forked_child_cannot_use_the_parents_handle(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child c;

	t_fork(&c, inherits, r);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(region_usable(r), 0);
	assert_int_equal(client_count(r), 1);
	assert_true(exists(t));
	assert_int_equal(region_detach(r, true, NULL, NULL), 0);
	assert_false(exists(t));
}

static int
inherits_private(struct t_child *c, void *arg)
{
	struct region *r = arg;

	(void)c;
	t_check(region_usable(r) == EINVAL);
	body_of(r)->users = 5;
	t_check(region_detach(r, false, NULL, NULL) == 0);
	return 0;
}

static void
forked_child_cannot_use_a_private_region(void **state)
{
	struct region_spec spec = spec_in(NULL);
	struct region *r;
	struct t_child c;

	(void)state;
	spec.is_private = true;
	assert_int_equal(region_attach(&spec, &r), 0);
	t_fork(&c, inherits_private, r);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(body_of(r)->users, 0);
	assert_int_equal(region_usable(r), 0);
	detach(r);
}

struct family {
	struct t *t;
	int end[2]; /* a pipe; the grandchild lives until the test closes its writing end */
};

static int
has_a_child_that_outlives_it(struct t_child *c, void *arg)
{
	struct family *f = arg;
	struct region *r = attach(f->t);
	pid_t pid;
	char byte;

	(void)close(f->end[1]);
	if ((pid = fork()) == 0) {
		/* Says that it is there, with the inherited mapping, once its parent is dead. */
		while (getppid() == c->pid)
			os_yield();
		(void)!write(c->out, "o", 1);
		(void)!read(f->end[0], &byte, 1);
		_exit(0);
	}
	t_tell_u64(c, r->self);
	t_tell_u64(c, (uint64_t)pid);
	for (;;)
		pause();
}

/* The child has the parent's mapping still, but must not keep the parent's locks. */
static void
client_is_dead_though_its_forked_child_lives(void **state)
{
	struct family f = { .t = *state };
	struct region *r = attach(f.t);
	struct t_child c;
	uint32_t number;
	pid_t grandchild;

	t_check(pipe2(f.end, O_CLOEXEC) == 0);
	t_check(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	t_fork(&c, has_a_child_that_outlives_it, &f);
	number = (uint32_t)t_await_u64(&c);
	grandchild = (pid_t)t_await_u64(&c);
	assert_true(client_is_alive(r, number));
	t_check(kill(c.pid, SIGKILL) == 0);
	t_await(&c, 'o');
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	assert_false(client_is_alive(r, number));
	assert_true(client_claim_dead(r, number));
	client_free(r, number);
	(void)close(f.end[0]);
	(void)close(f.end[1]);
	t_check(waitpid(grandchild, NULL, 0) == grandchild);
	detach(r);
}

static int stop_attaching;

static void *
attaches_all_the_time(void *arg)
{
	while (!load_seq(&stop_attaching))
		detach(attach(arg));
	return NULL;
}

static int
waits(struct t_child *c, void *arg)
{
	(void)arg;
	t_tell(c, 'r');
	t_await(c, 'g');
	return 0;
}

/* At whatever moment of an attach or detach in another thread the fork comes. */
static void
fork_during_attach_leaves_no_lock_in_the_child(void **state)
{
	enum { FORKS = 30 };
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child c[FORKS];
	pthread_t thread;
	bool taken;
	int i;

	stop_attaching = 0;
	t_check(pthread_create(&thread, NULL, attaches_all_the_time, t) == 0);
	for (i = 0; i < FORKS; i++)
		t_fork(&c[i], waits, NULL);
	/* A child runs the handler when it first runs. */
	for (i = 0; i < FORKS; i++)
		t_await(&c[i], 'r');
	store_seq(&stop_attaching, 1);
	pthread_join(thread, NULL);
	assert_int_equal(os_lock_test_range(r->fd, REGION_BYTE, 64 + CLIENTS, &taken), 0);
	assert_false(taken);
	assert_int_equal(client_count(r), 1);
	for (i = 0; i < FORKS; i++) {
		t_tell(&c[i], 'g');
		assert_int_equal(t_join(&c[i]), 0);
	}
	detach(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(client_is_described_and_cleared),
		segment_test(damaged_mark_of_the_numbers_in_use_hides_no_live_client),
		segment_test(client_dies_with_kill_and_with_detach),
		segment_test(clients_with_equal_pids_live_and_die_by_themselves),
		segment_test(stopped_client_is_alive),
		segment_test(dead_clients_do_not_keep_a_region),
		segment_test(number_is_reused_only_after_it_was_freed),
		segment_test(dead_client_is_claimed_by_one),
		segment_test(dead_reapers_claim_is_taken_over),
		segment_test(claim_of_a_reapers_earlier_life_is_dropped),
		segment_test(full_table_of_the_living_is_eagain),
		segment_test(full_table_of_the_dead_lets_a_reaper_in),
		segment_test(client_is_alive_when_the_question_fails),
		segment_test(forked_child_cannot_use_the_parents_handle),
		segment_test(forked_child_cannot_use_a_private_region),
		segment_test(client_is_dead_though_its_forked_child_lives),
		segment_test(fork_during_attach_leaves_no_lock_in_the_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
