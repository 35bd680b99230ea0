/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: who stands still while he creates or removes a region, and is overtaken by others.
 * The hook makes him wait before a certain system call; so what happens meanwhile is no matter of
 * time.  And what comes of it if a region's file is removed or damaged under its clients.
 */
#include "../still_t.h"
#include "region_t.h"

#include <sys/socket.h>
#include <sys/un.h>

/* --- creators ------------------------------------------------------------------------------ */

struct creator {
	struct t *t;
	enum os_call call;
	unsigned n;
	int error;
};

static int
creates_slowly(struct t_child *c, void *arg)
{
	struct creator *w = arg;
	struct region_spec spec = spec_in(w->t->dir);
	struct region *r = NULL;
	int ret;

	stand_still(c, w->call, NULL, w->n, w->error);
	ret = region_attach(&spec, &r);
	os_fault_hook = NULL;
	t_tell_u64(c, (uint64_t)ret);
	t_check(ret == 0);
	t_tell_u64(c, r->layout->region_id);
	t_tell_u64(c, (uint64_t)region_usable(r));
	detach(r);
	return 0;
}

/* Whatever he fails in, he comes to the region that was made after him, and it stays. */
static void
overtake(struct t *t, enum os_call call, unsigned n, int error)
{
	struct creator w = { t, call, n, error };
	struct region *mine, *again;
	struct t_child c;
	uint64_t id;

	t_fork(&c, creates_slowly, &w);
	t_await(&c, 's');
	t_check(region_unlink_forced(&test_env, t->dir, REGION_FILE) == 0);
	mine = attach(t);
	id = mine->layout->region_id;
	t_tell(&c, 'g');
	assert_int_equal(t_await_u64(&c), 0);
	assert_int_equal(t_await_u64(&c), id);
	assert_int_equal(t_await_u64(&c), 0);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(region_usable(mine), 0);
	again = attach(t);
	assert_false(again->created);
	assert_int_equal(again->layout->region_id, id);
	detach(again);
	detach(mine);
	t_check(region_unlink_forced(&test_env, t->dir, REGION_FILE) == 0);
}

/* In a segment: force has taken it from him, so that he fails by himself. */
static void
overtaken_creator_that_fails_comes_to_the_others_region(void **state)
{
	if (in_system_memory())
		overtake(*state, OS_SHM, 2, 0);
	else
		overtake(*state, OS_MAP, 1, ENOMEM);
}

/* --- removers ------------------------------------------------------------------------------ */

static struct t_child *about_to_lock;

static int
tells_before_it_locks(enum os_call call, const char *what)
{
	struct t_child *c = about_to_lock;

	(void)what;
	if (call != OS_LOCK || c == NULL)
		return 0;
	about_to_lock = NULL;
	t_tell(c, 'l');
	return 0;
}

static int
joins(struct t_child *c, void *arg)
{
	struct region *r;
	int usable;

	t_await(c, 'j');
	about_to_lock = c;
	os_fault_hook = tells_before_it_locks;
	r = attach(arg);
	os_fault_hook = NULL;
	usable = region_usable(r);
	t_tell_u64(c, (uint64_t)usable);
	t_await(c, 'e');
	detach(r);
	return usable;
}

static struct t_child *joiner;

/* Between the question who is attached and the removal, somebody comes. */
static int
lets_a_joiner_come(enum os_call call, const char *what)
{
	struct t_child *c = joiner;

	(void)what;
	if (call != OS_UNLINK || c == NULL)
		return 0;
	joiner = NULL;
	t_tell(c, 'j');
	t_await(c, 'l');
	return 0;
}

static void
unlink_of_an_unused_region_lets_nobody_in_meanwhile(void **state)
{
	struct t *t = *state;
	struct t_child c;

	for (int round = 0; round < 20; round++) {
		(void)leave_region(t);
		t_fork(&c, joins, t);
		joiner = &c;
		os_fault_hook = lets_a_joiner_come;
		t_check(region_unlink_unused(&test_env, t->dir, REGION_FILE) == 0);
		os_fault_hook = NULL;
		assert_int_equal(t_await_u64(&c), 0);
		assert_true(exists(t));
		t_tell(&c, 'e');
		assert_int_equal(t_join(&c), 0);
	}
}

static void
unlink_of_an_unused_region_is_busy_while_it_is_used(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);

	last_sentence[0] = '\0';
	assert_int_equal(region_unlink_unused(&test_env, t->dir, REGION_FILE), EBUSY);
	assert_non_null(strstr(last_sentence, REGION_FILE));
	assert_true(exists(t));
	assert_int_equal(region_usable(r), 0);
	detach(r);
	assert_int_equal(region_unlink_unused(&test_env, t->dir, REGION_FILE), 0);
	assert_int_equal(region_unlink_unused(&test_env, t->dir, REGION_FILE), ENOENT);
	t_write_file(t_path(t, REGION_FILE), "rubbish", 7);
	assert_int_equal(region_unlink_unused(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
}

static void
forced_unlink_that_cannot_open_the_file_leaves_it_to_its_clients(void **state)
{
	static const int errors[] = { EMFILE, ENFILE, ENOMEM, EIO };
	struct t *t = *state;
	struct region *r = attach(t);

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		t_fault(OS_OPEN, 1, errors[i]);
		assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), errors[i]);
		assert_true(t_fault_off());
		assert_true(exists(t));
		assert_int_equal(region_usable(r), 0);
	}
	detach(r);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
}

static void
forced_unlink_removes_what_no_process_can_be_attached_to(void **state)
{
	struct t *t = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	t_check(symlink("nowhere", t_path(t, REGION_FILE)) == 0);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_int_equal(lstat(t_path(t, REGION_FILE), &st), -1);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", t_path(t, REGION_FILE));
	t_check(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_int_equal(lstat(t_path(t, REGION_FILE), &st), -1);
	close(fd);
}

/* --- who may only read --------------------------------------------------------------------- */

#define OWNER 1001
#define OTHER 1002

struct owner {
	struct t *t;
	bool anew; /* he removes his region before he comes to it again */
};

/* In a file: another's segment would have to stay. */
static struct region_spec
readable_spec(const struct t *t)
{
	struct region_spec spec = spec_of_kind(t, false);

	spec.mode = 0644;
	return spec;
}

static int
comes_to_his_region(struct t_child *c, void *arg)
{
	struct owner *o = arg;
	struct region_spec spec = readable_spec(o->t);
	struct region *r;

	t_check(setgid(OWNER) == 0 && setuid(OWNER) == 0);
	t_check(region_attach(&spec, &r) == 0);
	detach(r);
	t_tell(c, 'c');
	t_await(c, 'j');
	if (o->anew)
		t_check(region_unlink_unused(&test_env, o->t->dir, REGION_FILE) == 0);
	about_to_lock = o->anew ? NULL : c;
	os_fault_hook = tells_before_it_locks;
	t_check(region_attach(&spec, &r) == 0);
	os_fault_hook = NULL;
	if (o->anew)
		t_tell(c, 'l');
	t_await(c, 'e');
	t_tell_u64(c, (uint64_t)region_usable(r));
	detach(r);
	return 0;
}

/* Before it has locked the file that it has opened, or before it unlinks it. */
static enum os_call comes_at;

static bool
is_locked(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool taken = false;

	t_check(fd >= 0 && os_lock_test(fd, REGION_BYTE, &taken) == 0);
	close(fd);
	return taken;
}

static int
lets_the_owner_come(enum os_call call, const char *what)
{
	struct t_child *c = joiner;

	(void)what;
	if (call != comes_at || c == NULL)
		return 0;
	joiner = NULL;
	if (call == OS_UNLINK)
		t_check(is_locked(what));
	t_tell(c, 'j');
	t_await(c, 'l');
	return 0;
}

static int
unlink_as_another(const struct t *t)
{
	int ret;

	t_check(seteuid(OTHER) == 0);
	ret = region_unlink_forced(&test_env, t->dir, REGION_FILE);
	t_check(seteuid(0) == 0);
	return ret;
}

/* Another user, who may read, removes it by force while its owner comes. */
static int
remove_as_another(struct t *t, enum os_call call, bool anew, struct t_child *c)
{
	static struct owner o;
	int ret;

	if (geteuid() != 0)
		t_skip("not root");
	o = (struct owner){ t, anew };
	t_check(chmod(t->dir, 0777) == 0);
	t_fork(c, comes_to_his_region, &o);
	t_await(c, 'c');
	joiner = c;
	comes_at = call;
	os_fault_hook = lets_the_owner_come;
	ret = unlink_as_another(t);
	os_fault_hook = NULL;
	return ret;
}

static void
forced_unlink_by_who_may_only_read_lets_nobody_in_meanwhile(void **state)
{
	struct t *t = *state;
	struct t_child c;

	assert_int_equal(remove_as_another(t, OS_UNLINK, false, &c), 0);
	t_tell(&c, 'e');
	assert_int_equal(t_await_u64(&c), 0);
	assert_int_equal(t_join(&c), 0);
	assert_true(exists(t));
}

static void
forced_unlink_by_who_may_only_read_spares_another_region_of_that_name(void **state)
{
	struct t *t = *state;
	struct t_child c;

	assert_int_equal(remove_as_another(t, OS_LOCK, true, &c), EACCES);
	assert_true(exists(t));
	t_tell(&c, 'e');
	assert_int_equal(t_await_u64(&c), 0);
	assert_int_equal(t_join(&c), 0);
}

static void
forced_unlink_by_who_may_only_read_spares_whom_it_cannot_wait_for(void **state)
{
	struct t *t = *state;

	if (geteuid() != 0)
		t_skip("not root");
	t_check(chmod(t->dir, 0777) == 0);
	(void)leave_region(t);
	t_check(chmod(t_path(t, REGION_FILE), 0644) == 0);
	/* As after the time for which it would wait. */
	t_fault(OS_LOCK, 1, EAGAIN);
	assert_int_equal(unlink_as_another(t), EACCES);
	assert_true(t_fault_off());
	assert_true(exists(t));
}

/* --- what others damage ----------------------------------------------------------------------- */

/* Neither the length nor the bytes that are left tell those who are attached. */
static void
file_damaged_under_its_clients_gets_no_second_region(void **state)
{
	static const uint32_t zero;
	struct t *t = *state;
	struct region *r = attach(t);
	RLAYOUT was = peek_file(t);

	if (in_system_memory()) {
		poke(t, offsetof(RLAYOUT, valid), &zero, sizeof(zero));
		expect_refusal(t, DB_RUNRECOVERY, "force");
		poke(t, 0, &was, sizeof(was));
		detach(attach(t));
	}
	t_check(truncate(t_path(t, REGION_FILE), 0) == 0);
	expect_refusal(t, DB_RUNRECOVERY, "force");
	t_check(truncate(t_path(t, REGION_FILE), sizeof(RLAYOUT)) == 0);
	expect_refusal(t, DB_RUNRECOVERY, "force");
	if (!in_system_memory())
		t_check(truncate(t_path(t, REGION_FILE), REGION_BYTES) == 0);
	poke(t, 0, &was, sizeof(was));
	assert_int_equal(region_usable(r), 0);
	detach(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(overtaken_creator_that_fails_comes_to_the_others_region),
		segment_test(unlink_of_an_unused_region_lets_nobody_in_meanwhile),
		segment_test(unlink_of_an_unused_region_is_busy_while_it_is_used),
		segment_test(forced_unlink_that_cannot_open_the_file_leaves_it_to_its_clients),
		t_test(forced_unlink_removes_what_no_process_can_be_attached_to),
		segment_test(forced_unlink_by_who_may_only_read_lets_nobody_in_meanwhile),
		segment_test(forced_unlink_by_who_may_only_read_spares_another_region_of_that_name),
		segment_test(forced_unlink_by_who_may_only_read_spares_whom_it_cannot_wait_for),
		segment_test(file_damaged_under_its_clients_gets_no_second_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
