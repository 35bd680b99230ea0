/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: one home has one pool, wherever its regions are and whoever fails or dies on the way
 * there.
 */
#include "home_t.h"

/* --- who holds it -------------------------------------------------------------------------- */

static void
one_home_is_held_by_one_private_or_by_joined_regions(void **state)
{
	struct t *t = *state;
	struct region *a, *b, *p;

	assert_int_equal(attach_at(t, NULL, &a), 0);
	assert_int_equal(attach_at(t, NULL, &b), 0);
	assert_int_equal(attach_private(t, &p), EBUSY);
	assert_non_null(strstr(last_sentence, t->dir));
	detach_clean(a);
	assert_int_equal(attach_private(t, &p), EBUSY);
	detach_clean(b);
	assert_int_equal(attach_private(t, &p), 0);
	assert_int_equal(attach_at(t, NULL, &a), EBUSY);
	assert_non_null(strstr(last_sentence, "same home"));
	assert_int_equal(attach_private(t, &b), EBUSY);
	assert_int_equal(attach_at(t, "elsewhere", &b), EBUSY);
	detach(p);
	assert_int_equal(attach_at(t, NULL, &a), 0);
	detach(a);
}

/* What cannot be asked is not answered with "nobody". */
static void
home_is_not_shared_because_memory_for_a_lock_was_short(void **state)
{
	struct t *t = *state;
	struct region *p, *a;
	bool is_private;
	int ret;

	for (int k = 0; k < 2; k++) {
		is_private = k == 0;
		assert_int_equal(is_private ? attach_private(t, &p) : attach_at(t, "there", &p), 0);
		for (unsigned n = 1;; n++) {
			t_fault(OS_LOCK, n, ENOMEM);
			ret = is_private ? attach_at(t, NULL, &a) : attach_private(t, &a);
			if (t_fault_off() == 0)
				break;
			assert_int_not_equal(ret, 0);
			assert_true(last_sentence[0] != '\0');
		}
		assert_int_equal(ret, EBUSY);
		detach(p);
	}
	remove_at(t, "there");
}

static void
private_pool_does_not_come_beside_unwritten_pages(void **state)
{
	struct t *t = *state;
	struct region *a, *p;

	assert_int_equal(attach_at(t, "elsewhere", &a), 0);
	detach(a);
	assert_int_equal(attach_private(t, &p), EBUSY);
	assert_non_null(strstr(last_sentence, "elsewhere/" REGION_FILE));
	assert_int_equal(attach_at(t, "elsewhere", &a), 0);
	detach_clean(a);
	assert_int_equal(attach_private(t, &p), 0);
	detach(p);
}

struct comer {
	const struct t *t;
	const char *name;
};

/* Comes when told, says what it got, and goes when told. */
static int
comes_and_goes(struct t_child *c, void *arg)
{
	struct comer *me = arg;
	struct region *r;
	int ret;

	while (t_await_u64(c) != 0) {
		t_tell_u64(c, (uint64_t)(ret = attach_at(me->t, me->name, &r)));
		t_await(c, 'g');
		if (ret == 0)
			detach_clean(r);
		t_tell(c, 'd');
	}
	return 0;
}

static void
of_those_who_come_at_once_with_different_places_one_wins(void **state)
{
	struct t *t = *state;
	struct comer comers[] = { { t, "one" }, { t, "two" }, { t, "three" }, { t, "one" } };
	struct t_child children[4];
	uint64_t got[4];
	int winners;

	for (int i = 0; i < 4; i++)
		t_fork(&children[i], comes_and_goes, &comers[i]);
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 4; i++)
			t_tell_u64(&children[(i + round) % 4], 1);
		winners = 0;
		for (int i = 0; i < 4; i++) {
			got[i] = t_await_u64(&children[i]);
			t_check(got[i] == 0 || got[i] == EBUSY);
			winners += got[i] == 0;
		}
		/* Two of them come to the same place. */
		if (winners != 1 && !(winners == 2 && got[0] == 0 && got[3] == 0))
			fail_msg("round %d: %d %d %d %d", round, (int)got[0], (int)got[1],
			    (int)got[2], (int)got[3]);
		for (int i = 0; i < 4; i++) {
			t_tell(&children[i], 'g');
			t_await(&children[i], 'd');
		}
		for (int i = 0; i < 3; i++)
			remove_at(t, comers[i].name);
		assert_null(link_text(t));
	}
	for (int i = 0; i < 4; i++) {
		t_tell_u64(&children[i], 0);
		assert_int_equal(t_join(&children[i]), 0);
	}
}

/*
 * Somebody else on the way, with a number below or above all others: as the calls of the one who
 * is tested go by, he claims, and settles or dies.
 */
#define JUST_CLAIMED 3 /* the lock after that on the tested one's number */
#define MUCH_LATER 40

static struct {
	int fd;
	uint64_t number;
	int locks;
	int comes; /* at that lock; 0: is there already */
	bool settles;
	bool too_early; /* the tested one had settled beside him */
} somebody;

static void
go_on(void)
{
	bool taken = false;

	if (somebody.locks == somebody.comes)
		t_check(os_lock_share(somebody.fd, somebody.number) == 0);
	if (somebody.locks != MUCH_LATER)
		return;
	t_check(os_lock_test_range(somebody.fd, HOME_SETTLED, HOME_SETTLED, &taken) == 0);
	somebody.too_early = taken;
	if (somebody.settles)
		t_check(os_lock_share(somebody.fd, HOME_SETTLED + somebody.number) == 0);
	else
		close(somebody.fd);
}

/* Called before a lock is taken or asked for; asks by itself without coming here again. */
static int
somebody_goes_on(enum os_call call, const char *what)
{
	static bool is_inside;

	(void)what;
	if (call != OS_LOCK || is_inside)
		return 0;
	somebody.locks++;
	is_inside = true;
	go_on();
	is_inside = false;
	return 0;
}

static int
attach_beside_somebody(const struct t *t, uint64_t number, int comes, bool settles)
{
	struct region *r;
	int ret;

	somebody.fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t_check(somebody.fd >= 0);
	somebody.number = number;
	somebody.locks = 0;
	somebody.comes = comes;
	somebody.settles = settles;
	somebody.too_early = false;
	os_fault_hook = somebody_goes_on;
	go_on();
	ret = attach_at(t, "one", &r);
	os_fault_hook = NULL;
	if (settles)
		close(somebody.fd);
	if (ret == 0)
		detach_clean(r);
	remove_at(t, "one");
	return ret;
}

static void
who_claims_a_home_waits_for_others_who_do(void **state)
{
	struct t *t = *state;

	for (int i = 0; i < 8; i++) {
		bool settles = i >= 4;
		int ret = attach_beside_somebody(
		    t, i & 1 ? 1 : HOME_SETTLED - 1, i & 2 ? 0 : JUST_CLAIMED, settles);

		assert_int_equal(ret, settles ? EBUSY : 0);
		assert_false(somebody.too_early);
		assert_true(somebody.locks >= MUCH_LATER);
		/* And not for the time that a stopped one is waited for. */
		assert_true(somebody.locks < 2 * MUCH_LATER);
	}
}

/* Not EBUSY: nobody has settled, and whoever tries again may get on. */
static void
claim_that_comes_to_no_end_is_eagain(void **state)
{
	struct t *t = *state;
	struct region *r;
	int fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	t_check(fd >= 0 && os_lock_share(fd, 0) == 0);
	assert_int_equal(attach_at(t, NULL, &r), EAGAIN);
	assert_non_null(strstr(last_sentence, "live process"));
	close(fd);
	assert_int_equal(attach_at(t, NULL, &r), 0);
	detach(r);
}

static int
lives_on(struct t_child *c, void *arg)
{
	(void)arg;
	t_await(c, 'e');
	return 0;
}

static struct t_child *born;

static int
forks_before_an_unlink(enum os_call call, const char *what)
{
	struct t_child *c = born;

	(void)what;
	if (call == OS_UNLINK && c != NULL) {
		born = NULL;
		t_fork(c, lives_on, NULL);
	}
	return 0;
}

static void
child_forked_while_a_pointer_goes_holds_no_home(void **state)
{
	struct t *t = *state;
	struct t_child c;
	struct region *r;

	(void)dir_in(t, "one");
	t_check(symlink("one", t_path(t, HOME_POINTER)) == 0);
	born = &c;
	os_fault_hook = forks_before_an_unlink;
	home_forget(t->dir, t_path(t, "one"));
	os_fault_hook = NULL;
	assert_null(born);
	assert_null(link_text(t));
	assert_int_equal(attach_at(t, "two", &r), 0);
	detach(r);
	t_tell(&c, 'e');
	assert_int_equal(t_join(&c), 0);
}

/* --- when something fails ------------------------------------------------------------------ */

/* Nothing is left; and a pointer only where something is. */
static void
placed_attach_leaves_nothing_whatever_call_fails(void **state)
{
	struct t *t = *state;
	struct region *r;
	bool struck = true;
	unsigned n;
	int ret;

	(void)dir_in(t, "one");
	for (n = 1; struck; n++) {
		t_fault(T_FAULT_ANY, n, ENFILE);
		ret = attach_at(t, "one", &r);
		struck = t_fault_off();
		assert_true(ret == 0 || (ret == ENFILE && struck));
		if (ret == 0)
			detach(r);
		if (ret != 0 && access(t_path(t, "one/" REGION_FILE), F_OK) == -1)
			assert_null(link_text(t));
		remove_at(t, "one");
		assert_null(link_text(t));
	}
	assert_true(n > 20);
}

static int
dies_on_the_way(struct t_child *c, void *arg)
{
	struct region *r;

	t_fault(T_FAULT_ANY, (unsigned)t_await_u64(c), T_FAULT_KILL);
	(void)attach_at(arg, "one", &r);
	return 0;
}

/* Killed before any call: the next one with another place is let in, if nothing is in the first. */
static void
home_is_free_after_a_death_at_any_call(void **state)
{
	struct t *t = *state;
	struct t_child c;
	struct region *r;
	int status = 128 + 9;

	for (unsigned n = 1; status == 128 + 9; n++) {
		t_fork(&c, dies_on_the_way, t);
		t_tell_u64(&c, n);
		status = t_join(&c);
		if (access(t_path(t, "one/" REGION_FILE), F_OK) == 0) {
			assert_string_equal(said(t, t->dir), "/one");
			remove_at(t, "one");
		}
		assert_int_equal(attach_at(t, "two", &r), 0);
		detach_clean(r);
		remove_at(t, "two");
	}
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(one_home_is_held_by_one_private_or_by_joined_regions),
		t_test(home_is_not_shared_because_memory_for_a_lock_was_short),
		t_test(private_pool_does_not_come_beside_unwritten_pages),
		t_test(of_those_who_come_at_once_with_different_places_one_wins),
		t_test(who_claims_a_home_waits_for_others_who_do),
		t_test(claim_that_comes_to_no_end_is_eagain),
		t_test(child_forked_while_a_pointer_goes_holds_no_home),
		t_test(placed_attach_leaves_nothing_whatever_call_fails),
		t_test(home_is_free_after_a_death_at_any_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
