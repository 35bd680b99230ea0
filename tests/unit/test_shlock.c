/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: the lock that survives its owner: whom it keeps out, who gets it when its owner has
 * died, and what becomes of it when its word is damaged.
 */
#include "region_t.h"

#include <pthread.h>

#include "region/shlock.h"

#define THREADS 4
#define TURNS 5000

static int
increment(struct region *r, int turns)
{
	struct body *b = body_of(r);
	int i, dead = 0;

	for (i = 0; i < turns; i++) {
		dead += shlock_lock_counted(r, &b->lock) == EOWNERDEAD;
		/* Not atomic: two inside at once lose one. */
		b->counter = *(volatile uint64_t *)&b->counter + 1;
		shlock_unlock_counted(r, &b->lock);
	}
	return dead;
}

static void *
increments(void *arg)
{
	return (void *)(intptr_t)increment(arg, TURNS);
}

static void
run_threads(struct region *r)
{
	pthread_t thread[THREADS];
	void *dead;
	int i;

	for (i = 0; i < THREADS; i++)
		t_check(pthread_create(&thread[i], NULL, increments, r) == 0);
	for (i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &dead);
		t_check(dead == NULL);
	}
}

static void
shlock_excludes_threads_of_one_client(void **state)
{
	struct region *r = attach(*state);

	run_threads(r);
	assert_int_equal(body_of(r)->counter, THREADS * TURNS);
	assert_int_equal(body_of(r)->lock.owner, 0);
	detach(r);
}

static void
shlock_excludes_threads_in_a_private_region(void **state)
{
	struct region_spec spec = spec_in(NULL);
	struct region *r;

	(void)state;
	spec.is_private = true;
	assert_int_equal(region_attach(&spec, &r), 0);
	run_threads(r);
	assert_int_equal(body_of(r)->counter, THREADS * TURNS);
	detach(r);
}

static int
increments_in_child(struct t_child *c, void *arg)
{
	struct region *r = attach(arg);
	int dead;

	t_tell(c, 'a');
	t_await(c, 'g');
	dead = increment(r, TURNS);
	detach(r);
	return dead;
}

static void
shlock_excludes_processes(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child c[3];
	int i;

	for (i = 0; i < 3; i++) {
		t_fork(&c[i], increments_in_child, t);
		t_await(&c[i], 'a');
	}
	for (i = 0; i < 3; i++)
		t_tell(&c[i], 'g');
	assert_int_equal(increment(r, TURNS), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(t_join(&c[i]), 0);
	assert_int_equal(body_of(r)->counter, 4 * TURNS);
	assert_int_equal(body_of(r)->lock.owner, 0);
	detach(r);
}

static int
holds_the_lock(struct t_child *c, void *arg)
{
	struct region *r = attach(arg);

	t_check(shlock_lock_counted(r, &body_of(r)->lock) == 0);
	t_tell_u64(c, r->self);
	t_await(c, 'g');
	shlock_unlock_counted(r, &body_of(r)->lock);
	detach(r);
	return 0;
}

static void
shlock_of_a_dead_owner_is_taken_over_once(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct t_child c;

	t_fork(&c, holds_the_lock, t);
	(void)t_await_u64(&c);
	t_kill(&c);
	assert_int_equal(shlock_lock_counted(r, &body_of(r)->lock), EOWNERDEAD);
	assert_int_equal(body_of(r)->lock.owner, r->self + 1);
	shlock_unlock_counted(r, &body_of(r)->lock);
	assert_int_equal(shlock_lock_counted(r, &body_of(r)->lock), 0);
	shlock_unlock_counted(r, &body_of(r)->lock);
	detach(r);
}

struct waiter {
	struct region *r;
	int ret;
};

static void *
takes_the_lock(void *arg)
{
	struct waiter *w = arg;

	w->ret = shlock_lock_counted(w->r, &body_of(w->r)->lock);
	shlock_unlock_counted(w->r, &body_of(w->r)->lock);
	return NULL;
}

/* The waiter says that it sleeps by making the word odd. */
static void
await_sleeper(struct region *r)
{
	while ((load_seq(&body_of(r)->lock.waiters) & 1) == 0)
		os_yield();
}

static void
shlock_waiter_gets_it_from_the_owner_alive_or_killed(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct waiter w = { .r = r };
	struct t_child c;
	pthread_t thread;
	int killed;

	for (killed = 0; killed <= 1; killed++) {
		t_fork(&c, holds_the_lock, t);
		(void)t_await_u64(&c);
		w.ret = -1;
		t_check(pthread_create(&thread, NULL, takes_the_lock, &w) == 0);
		await_sleeper(r);
		if (killed)
			t_kill(&c);
		else
			t_tell(&c, 'g');
		pthread_join(thread, NULL);
		assert_int_equal(w.ret, killed ? EOWNERDEAD : 0);
		assert_int_equal(body_of(r)->lock.owner, 0);
		assert_int_equal(body_of(r)->lock.waiters & 1, 0);
		if (!killed)
			assert_int_equal(t_join(&c), 0);
	}
	detach(r);
}

static void
shlock_of_another_thread_of_this_client_is_waited_for(void **state)
{
	struct region *r = attach(*state);
	struct waiter w = { .r = r, .ret = -1 };
	pthread_t thread;

	assert_int_equal(shlock_lock_counted(r, &body_of(r)->lock), 0);
	t_check(pthread_create(&thread, NULL, takes_the_lock, &w) == 0);
	await_sleeper(r);
	assert_int_equal(load_seq((uint32_t *)&w.ret), (uint32_t)-1);
	shlock_unlock_counted(r, &body_of(r)->lock);
	pthread_join(thread, NULL);
	assert_int_equal(w.ret, 0);
	detach(r);
}

static void
shlock_with_any_rubbish_in_it_can_be_taken(void **state)
{
	static const uint32_t bad[] = { CLIENTS, CLIENTS + 1, 0x80000000, UINT32_MAX, 7 };
	struct region *r = attach(*state);
	struct shlock *l = &body_of(r)->lock;
	size_t i, j;

	for (i = 0; i < 5; i++)
		for (j = 0; j < 5; j++) {
			l->owner = bad[i];
			l->waiters = bad[j];
			assert_int_equal(shlock_lock_counted(r, l), EOWNERDEAD);
			assert_int_equal(l->owner, r->self + 1);
			shlock_unlock_counted(r, l);
			assert_int_equal(l->owner, 0);
		}
	/* Nor does an unlock take it from somebody else. */
	l->owner = 7;
	shlock_unlock_counted(r, l);
	assert_int_equal(l->owner, 7);
	detach(r);
}

/* Attached; in no lock, or in the one that the word does not name. */
static int
is_innocent(struct t_child *c, void *arg)
{
	struct region *r = attach(arg);
	struct shlock other = { 0 };
	bool busy = t_await_u64(c) != 0;

	if (busy)
		t_check(shlock_lock_counted(r, &other) == 0);
	t_tell_u64(c, r->self);
	t_await(c, 'g');
	if (busy)
		shlock_unlock_counted(r, &other);
	t_tell(c, 'u');
	t_await(c, 'e');
	detach(r);
	return 0;
}

/* Its number. */
static uint32_t
fork_innocent(struct t *t, struct t_child *c, bool busy)
{
	t_fork(c, is_innocent, t);
	t_tell_u64(c, busy);
	return (uint32_t)t_await_u64(c);
}

static void
let_it_unlock(struct t_child *c)
{
	t_tell(c, 'g');
	t_await(c, 'u');
}

static void
let_it_end(struct t_child *c)
{
	t_tell(c, 'e');
	assert_int_equal(t_join(c), 0);
}

static void
shlock_damaged_to_name_a_live_client_that_has_none_is_taken_over(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct shlock *l = &body_of(r)->lock;
	struct t_child c;

	l->owner = fork_innocent(t, &c, false) + 1;
	assert_int_equal(shlock_lock_counted(r, l), EOWNERDEAD);
	assert_int_equal(l->owner, r->self + 1);
	shlock_unlock_counted(r, l);
	/* Ourselves, too. */
	l->owner = r->self + 1;
	assert_int_equal(shlock_lock_counted(r, l), EOWNERDEAD);
	shlock_unlock_counted(r, l);
	assert_int_equal((uint32_t)r->clients[r->self].locks, 0);
	let_it_unlock(&c);
	let_it_end(&c);
	detach(r);
}

static void
shlock_damaged_to_name_a_client_in_another_lock_waits_until_it_is_out(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct shlock *l = &body_of(r)->lock;
	struct waiter w = { .r = r, .ret = -1 };
	struct t_child c;
	pthread_t thread;

	l->owner = fork_innocent(t, &c, true) + 1;
	t_check(pthread_create(&thread, NULL, takes_the_lock, &w) == 0);
	await_sleeper(r);
	assert_int_equal(load_seq((uint32_t *)&w.ret), (uint32_t)-1);
	let_it_unlock(&c);
	pthread_join(thread, NULL);
	assert_int_equal(w.ret, EOWNERDEAD);
	let_it_end(&c);
	detach(r);
}

/* Of a live client that is not in it, of none; and every bit of the right one. */
static void
marked_shlock_with_any_other_word_in_it_is_taken_over(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct shlock *l = &body_of(r)->lock;
	struct t_child c;
	uint32_t other = fork_innocent(t, &c, false), i;

	for (i = 0; i < 32 + CLIENTS + 2; i++) {
		l->owner = i < 32 ? shlock_mark(other) ^ (uint32_t)1 << i : i - 31;
		assert_int_equal(shlock_lock_marked(r, l), EOWNERDEAD);
		assert_int_equal(l->owner, shlock_mark(r->self));
		shlock_unlock_marked(r, l);
		assert_int_equal(l->owner, 0);
	}
	let_it_unlock(&c);
	let_it_end(&c);
	detach(r);
}

static void
marks_of_all_clients_differ_and_are_no_numbers(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < 65536; i++) {
		assert_int_equal(shlock_mark(i) & SHLOCK_NUMBER, i + 1);
		assert_true(shlock_mark(i) > SHLOCK_NUMBER);
		assert_true(shlock_names(shlock_mark(i), i));
		assert_false(shlock_names(i + 1, i));
	}
}

static void
shlock_is_inherited_from_that_client_only(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct shlock *l = &body_of(r)->lock;
	struct t_child c;
	uint32_t number;

	t_fork(&c, holds_the_lock, t);
	number = (uint32_t)t_await_u64(&c);
	t_kill(&c);
	assert_true(client_claim_dead(r, number));
	assert_false(shlock_inherit_counted(r, l, number + 1));
	assert_int_equal(l->owner, number + 1);
	assert_false(shlock_is_held(r, l));
	assert_true(shlock_inherit_counted(r, l, number));
	assert_true(shlock_is_held(r, l));
	assert_false(shlock_inherit_counted(r, l, number));
	shlock_unlock_counted(r, l);
	client_free(r, number);
	assert_int_equal(shlock_lock_counted(r, l), 0);
	shlock_unlock_counted(r, l);
	detach(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(shlock_excludes_threads_of_one_client),
		segment_test(shlock_excludes_threads_in_a_private_region),
		segment_test(shlock_excludes_processes),
		segment_test(shlock_of_a_dead_owner_is_taken_over_once),
		segment_test(shlock_waiter_gets_it_from_the_owner_alive_or_killed),
		segment_test(shlock_of_another_thread_of_this_client_is_waited_for),
		segment_test(shlock_with_any_rubbish_in_it_can_be_taken),
		segment_test(shlock_damaged_to_name_a_live_client_that_has_none_is_taken_over),
		segment_test(shlock_damaged_to_name_a_client_in_another_lock_waits_until_it_is_out),
		segment_test(marked_shlock_with_any_other_word_in_it_is_taken_over),
		segment_test(marks_of_all_clients_differ_and_are_no_numbers),
		segment_test(shlock_is_inherited_from_that_client_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
