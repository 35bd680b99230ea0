/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: one home has one pool, and says where its regions are.
 */
#include "region_t.h"

#include "region/home.h"

#define SOMEBODY 1234
#define NOBODY 65534

static const char *
dir_in(const struct t *t, const char *name)
{
	const char *path = t_path(t, name);

	t_check(mkdir(path, 0755) == 0 || errno == EEXIST);
	return path;
}

/* A region of the home t->dir in its directory name. */
static struct region_spec
spec_at(const struct t *t, const char *name)
{
	struct region_spec spec = spec_in(name == NULL ? t->dir : dir_in(t, name));

	spec.is_system = false;
	spec.home = t->dir;
	spec.is_pool = true;
	spec.placed = name != NULL;
	return spec;
}

static int
attach_at(const struct t *t, const char *name, struct region **rp)
{
	struct region_spec spec = spec_at(t, name);

	last_sentence[0] = '\0';
	return region_attach(&spec, rp);
}

static int
attach_private(const struct t *t, struct region **rp)
{
	struct region_spec spec = spec_in(NULL);

	spec.is_private = true;
	spec.is_pool = true;
	spec.home = t->dir;
	last_sentence[0] = '\0';
	return region_attach(&spec, rp);
}

static void
detach_clean(struct region *r)
{
	t_check(region_detach(r, false, yes, NULL) == 0);
}

static void
remove_at(const struct t *t, const char *name)
{
	t_check(region_unlink_forced(NULL, t_path(t, name), REGION_FILE) == 0);
	home_forget(t->dir, t_path(t, name));
}

/* Where home says that its regions are, below the test's directory; NULL: an error. */
static const char *
said(const struct t *t, const char *home)
{
	static char place[300];
	char *dir;

	last_sentence[0] = '\0';
	if (home_regions(&test_env, home, &dir) != 0)
		return NULL;
	t_check(strncmp(dir, t->dir, strlen(t->dir)) == 0);
	(void)snprintf(place, sizeof(place), "%s", dir + strlen(t->dir));
	free(dir);
	return place;
}

static const char *
link_text(const struct t *t)
{
	static char text[300];
	ssize_t n = readlink(t_path(t, HOME_POINTER), text, sizeof(text) - 1);

	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

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

static bool
is_unsaid(const struct t *t)
{
	struct stat st;

	assert_int_equal(home_unsay(&test_env, t->dir), 0);
	return lstat(t_path(t, HOME_POINTER), &st) == -1;
}

static int
cannot_see_where_it_leads(struct t *t)
{
	return is_unsaid(t);
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
	assert_int_equal(as_nobody(cannot_see_where_it_leads, t), 0);
	assert_string_equal(link_text(t), "shut/in");
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
		t_test(home_says_where_its_regions_are_as_long_as_there_are_any),
		t_test(regions_stay_where_they_are_until_they_are_removed),
		t_test(who_only_follows_the_home_is_told_that_it_says_something_else),
		t_test(pointer_to_nothing_is_an_error_and_gives_way_to_who_knows_better),
		t_test(pointer_is_not_moved_by_who_finds_no_region),
		t_test(pointer_that_is_no_symbolic_link_is_refused),
		t_test(pointer_of_another_user_is_refused_to_root_and_in_sticky_directories),
		t_test(home_that_cannot_be_written_has_regions_elsewhere_all_the_same),
		t_test(claim_that_comes_to_no_end_is_eagain),
		t_test(child_forked_while_a_pointer_goes_holds_no_home),
		t_test(regions_in_a_directory_that_cannot_be_read_stay_known),
		t_test(private_pool_does_not_come_beside_a_region_it_may_not_read),
		t_test(only_nonsense_is_unsaid_and_only_beside_nobody),
		t_test(placed_attach_leaves_nothing_whatever_call_fails),
		t_test(home_is_free_after_a_death_at_any_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
