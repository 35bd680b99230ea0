/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: create, join, detach, remove.  Leftovers are in test_region_left.c, damage in
 * test_region_damage.c, trust in test_region_trust.c, clients and locks in test_client.c.
 */
#include "region_t.h"

#include <dirent.h>

static int
open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* --- create and join ----------------------------------------------------------------------- */

static void
region_created_has_a_full_layout(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	const RLAYOUT *rl = r->layout;
	uint8_t boot[16];

	os_boot_id(boot);
	assert_true(r->created);
	assert_int_equal(rl->valid, DB_REGIONMAGIC);
	assert_int_equal(rl->refcnt, 1);
	assert_true(rl->size == REGION_BYTES && rl->max >= rl->size);
	assert_int_equal(r->size, REGION_BYTES);
	assert_int_equal(rl->minver, 1);
	assert_int_equal(rl->panic, 0);
	assert_int_equal(rl->segid, INVALID_SEGID);
	assert_int_equal(rl->format, REGION_FORMAT);
	assert_int_equal(rl->layout_bytes, sizeof(RLAYOUT));
	assert_int_equal(rl->subsystem_stamp, STAMP);
	assert_memory_equal(rl->boot_id, boot, 16);
	assert_true(rl->region_id != 0);
	assert_true(os_now_usec() - rl->created_usec < 60 * 1000000);
	assert_int_equal(rl->body % 64, 0);
	assert_int_equal(rl->nclients, CLIENTS);
	detach(r);
}

static void
region_file_is_private_to_its_owner_and_allocated(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	struct stat st;

	assert_int_equal(stat(t_path(t, REGION_FILE), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, REGION_BYTES);
	assert_true(st.st_blocks >= REGION_BYTES / 512);
	detach(r);
}

static void
region_size_is_rounded_up_to_pages(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	struct region *r;

	spec.size = 10001;
	assert_int_equal(region_attach(&spec, &r), 0);
	assert_int_equal(r->size, (10001 + os_page_size() - 1) / os_page_size() * os_page_size());
	assert_true(r->layout->size == r->size);
	detach(r);
}

static void
region_mapping_is_aligned_as_asked(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	struct region *a, *b;

	spec.body_align = 2 << 20;
	assert_int_equal(region_attach(&spec, &a), 0);
	assert_int_equal(region_attach(&spec, &b), 0);
	assert_int_equal((uintptr_t)a->addr % (2 << 20), 0);
	assert_int_equal((uintptr_t)b->addr % (2 << 20), 0);
	detach(a);
	detach(b);
}

static void
region_impossible_sizes_are_einval(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	struct region *r = NULL;

	spec.size = os_memory_bytes() + os_page_size();
	assert_int_equal(region_attach(&spec, &r), EINVAL);
	spec.size = UINT64_MAX;
	assert_int_equal(region_attach(&spec, &r), EINVAL);
	spec.size = 320 + CLIENTS * 64 - 1;
	assert_int_equal(region_attach(&spec, &r), EINVAL);
	spec = spec_in(t->dir);
	spec.nclients = 0;
	assert_int_equal(region_attach(&spec, &r), EINVAL);
	spec.nclients = UINT32_MAX;
	assert_int_equal(region_attach(&spec, &r), EINVAL);
	assert_null(r);
	assert_false(exists(t));
}

static void
region_join_without_create_needs_one(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	struct region *a, *b = NULL;

	spec.create = false;
	spec.size = 0;
	spec.nclients = 0;
	assert_int_equal(region_attach(&spec, &b), ENOENT);
	assert_false(exists(t));
	a = attach(t);
	assert_int_equal(region_attach(&spec, &b), 0);
	assert_false(b->created);
	detach(a);
	detach(b);
	spec.dir = t_path(t, "no/such/directory");
	assert_int_equal(region_attach(&spec, &b), ENOENT);
}

static void
region_two_attaches_in_one_process_are_two_clients(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b = attach(t);

	assert_false(b->created);
	assert_true(a->layout != b->layout);
	assert_true(a->layout->region_id == b->layout->region_id);
	assert_int_not_equal(a->self, b->self);
	assert_true(client_is_alive(a, b->self));
	assert_true(client_is_alive(b, a->self));
	assert_int_equal(client_count(a), 2);
	body_of(a)->users = 42;
	assert_int_equal(body_of(b)->users, 42);
	detach(a);
	assert_int_equal(client_count(b), 1);
	assert_int_equal(region_usable(b), 0);
	detach(b);
}

static int
failing_init(struct region *r, void *arg)
{
	(void)r;
	return *(int *)arg;
}

static void
region_failed_init_leaves_nothing(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	struct region *r = NULL;
	int error = EXDEV, fds = open_descriptors();

	spec.init = failing_init;
	spec.arg = &error;
	assert_int_equal(region_attach(&spec, &r), EXDEV);
	assert_null(r);
	assert_false(exists(t));
	assert_int_equal(open_descriptors(), fds);
	detach(attach(t));
}

static void
region_on_full_disk_is_enospc_and_leaves_nothing(void **state)
{
	struct t *t = *state;

	t_fault(OS_ALLOCATE, 1, ENOSPC);
	assert_int_equal(attach_error(t), ENOSPC);
	assert_true(t_fault_off());
	assert_non_null(strstr(last_sentence, REGION_FILE));
	assert_non_null(strstr(last_sentence, "65536"));
	assert_false(exists(t));
}

static void
region_is_written_where_fallocate_is_not_supported(void **state)
{
	struct t *t = *state;
	struct region *r;
	struct stat st;

	t_fault(OS_ALLOCATE, 1, EOPNOTSUPP);
	r = attach(t);
	assert_true(t_fault_off());
	assert_int_equal(stat(t_path(t, REGION_FILE), &st), 0);
	assert_int_equal(st.st_size, REGION_BYTES);
	assert_true(st.st_blocks >= REGION_BYTES / 512);
	detach(r);
}

/* Both ways to allocate fail. */
static int
no_fallocate_and_full(enum os_call call, const char *what)
{
	(void)what;
	return call == OS_ALLOCATE ? EOPNOTSUPP : call == OS_PWRITE ? ENOSPC : 0;
}

static void
region_written_on_full_disk_is_enospc_and_leaves_nothing(void **state)
{
	struct t *t = *state;

	os_fault_hook = no_fallocate_and_full;
	assert_int_equal(attach_error(t), ENOSPC);
	os_fault_hook = NULL;
	assert_false(exists(t));
}

/* Whatever call fails: no descriptor stays open, no number is lost, the next one succeeds. */
static void
attach_survives_every_failure(struct t *t, bool beside_another)
{
	struct region *other = beside_another ? attach(t) : NULL, *r;
	struct region_spec spec = spec_in(t->dir);
	int fds = open_descriptors(), ret;
	unsigned n;
	bool struck = true;

	for (n = 1; struck; n++) {
		t_fault(T_FAULT_ANY, n, ENFILE);
		ret = region_attach(&spec, &r);
		struck = t_fault_off();
		assert_true(ret == 0 || ret == ENFILE);
		assert_true(ret == 0 || struck);
		if (ret == 0)
			detach(r);
		assert_int_equal(open_descriptors(), fds);
		if (beside_another)
			assert_int_equal(client_count(other), 1);
		else
			assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	}
	assert_true(n > 8);
	if (beside_another)
		detach(other);
	detach(attach(t));
}

static void
region_create_survives_failure_of_any_call(void **state)
{
	attach_survives_every_failure(*state, false);
}

static void
region_join_survives_failure_of_any_call(void **state)
{
	attach_survives_every_failure(*state, true);
}

static void
region_mode_is_as_given_less_umask(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	mode_t old = umask(007);
	struct region *r;
	struct stat st;

	spec.mode = 0666;
	assert_int_equal(region_attach(&spec, &r), 0);
	umask(old);
	assert_int_equal(stat(t_path(t, REGION_FILE), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	detach(r);
}

/* --- detach and removal -------------------------------------------------------------------- */

struct last {
	int asked;
	bool answer;
};

static bool
last_one(struct region *r, void *arg)
{
	struct last *l = arg;

	t_check(body_of(r)->mark == BODY_MARK);
	t_check(r->self != NO_CLIENT);
	l->asked++;
	return l->answer;
}

static void
region_detach_leaves_it_valid_and_asks_the_last_one(void **state)
{
	struct t *t = *state;
	struct last yes = { 0, true }, no = { 0, false };
	struct region *a = attach(t), *b = attach(t);
	uint64_t id = a->layout->region_id;

	assert_int_equal(region_detach(a, false, last_one, &yes), 0);
	assert_int_equal(yes.asked, 0);
	assert_int_equal(b->layout->clean, 0);
	assert_int_equal(region_detach(b, false, last_one, &yes), 0);
	assert_int_equal(yes.asked, 1);
	assert_int_equal(peek_file(t).clean, 1);
	assert_int_equal(peek_file(t).valid, DB_REGIONMAGIC);
	assert_int_equal(peek_file(t).refcnt, 0);

	a = attach(t);
	assert_true(a->layout->region_id == id);
	assert_int_equal(a->layout->clean, 0);
	assert_int_equal(region_detach(a, false, last_one, &no), 0);
	assert_int_equal(no.asked, 1);
	assert_int_equal(peek_file(t).clean, 0);
	assert_int_equal(region_detach(NULL, false, NULL, NULL), 0);
}

static void
region_damaged_is_not_called_clean(void **state)
{
	struct t *t = *state;
	struct last yes = { 0, true };
	struct region *r = attach(t);

	(void)region_panic(r, "a test");
	assert_int_equal(region_detach(r, false, last_one, &yes), 0);
	assert_int_equal(yes.asked, 0);
	assert_int_equal(peek_file(t).clean, 0);
}

static void
region_removed_by_its_last_client_only(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b = attach(t);

	assert_int_equal(region_detach(a, true, NULL, NULL), EBUSY);
	assert_true(exists(t));
	assert_int_equal(region_usable(b), 0);
	assert_int_equal(client_count(b), 1);
	assert_int_equal(region_detach(b, true, NULL, NULL), 0);
	assert_false(exists(t));
}

static void
region_that_cannot_be_unlinked_stays_valid(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b;
	uint64_t id = a->layout->region_id;

	t_fault(OS_UNLINK, 1, EACCES);
	assert_int_equal(region_detach(a, true, NULL, NULL), EACCES);
	assert_true(t_fault_off());
	b = attach(t);
	assert_true(b->layout->region_id == id);
	detach(b);
}

/* Whatever call fails, the detach has happened. */
static void
region_detach_happens_whatever_fails(void **state)
{
	struct t *t = *state;
	struct region *other = attach(t), *r;
	int fds = open_descriptors();
	bool struck = true;
	unsigned n;

	for (n = 1; struck; n++) {
		r = attach(t);
		t_fault(T_FAULT_ANY, n, EIO);
		(void)region_detach(r, n % 2 == 0, NULL, NULL);
		struck = t_fault_off();
		assert_int_equal(open_descriptors(), fds);
		assert_int_equal(client_count(other), 1);
		assert_int_equal(region_usable(other), 0);
	}
	assert_true(n > 3);
	detach(other);
}

static void
region_unlinked_by_force_gives_estale_and_a_new_one_can_be_made(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b = attach(t), *c;

	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
	assert_int_equal(region_usable(a), ESTALE);
	c = attach(t);
	assert_true(c->created);
	assert_true(c->layout->region_id != b->layout->region_id);
	/* The old ones, whatever they ask for, do nothing to the new one. */
	assert_int_equal(region_detach(a, true, NULL, NULL), 0);
	assert_int_equal(region_detach(b, true, NULL, NULL), 0);
	assert_true(exists(t));
	assert_int_equal(region_usable(c), 0);
	assert_int_equal(client_count(c), 1);
	detach(c);
}

static void
unlink_by_force_removes_whatever_is_there(void **state)
{
	struct t *t = *state;
	const char *path = t_path(t, REGION_FILE);

	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	t_write_file(path, "", 0);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
	t_write_file(path, "hello", 5);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
	t_check(mkfifo(path, 0600) == 0);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
	t_check(mkdir(path, 0700) == 0);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), EISDIR);
	assert_non_null(strstr(last_sentence, REGION_FILE));
	t_check(rmdir(path) == 0);
}

/* A link to somebody's file goes; the file is not touched, though it is a region. */
static void
unlink_by_force_does_not_follow_links(void **state)
{
	struct t *t = *state;
	RLAYOUT before = leave_region(t), after;
	char *bytes;

	t_check(rename(t_path(t, REGION_FILE), t_path(t, "other")) == 0);
	t_check(symlink("other", t_path(t, REGION_FILE)) == 0);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	bytes = t_read_file(t_path(t, "other"), NULL);
	memcpy(&after, bytes, sizeof(after));
	free(bytes);
	assert_int_equal(after.valid, before.valid);
	assert_int_equal(after.valid, DB_REGIONMAGIC);
}

/* --- private regions ----------------------------------------------------------------------- */

static void
private_region_is_joined_by_nobody(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(NULL);
	struct region *a, *b;
	struct last yes = { 0, true };

	spec.file = NULL;
	spec.is_private = true;
	spec.create = false;
	assert_int_equal(region_attach(&spec, &a), 0);
	assert_int_equal(region_attach(&spec, &b), 0);
	assert_true(a->created && a->is_private && a->path == NULL && a->fd == -1);
	assert_true(a->layout->region_id != b->layout->region_id);
	assert_int_equal(body_of(a)->mark, BODY_MARK);
	assert_int_equal(a->self, 0);
	assert_true(client_is_alive(a, 0));
	assert_false(client_is_alive(a, 1));
	assert_false(client_claim_dead(a, 1));
	assert_int_equal(client_count(a), 1);
	assert_int_equal(region_usable(a), 0);
	assert_int_equal(region_panic(a, "x"), DB_RUNRECOVERY);
	assert_int_equal(region_usable(a), DB_RUNRECOVERY);
	assert_int_equal(region_usable(b), 0);
	assert_int_equal(region_detach(a, true, last_one, &yes), 0);
	detach(b);
	assert_false(exists(t));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(region_created_has_a_full_layout),
		t_test(region_file_is_private_to_its_owner_and_allocated),
		t_test(region_size_is_rounded_up_to_pages),
		t_test(region_mapping_is_aligned_as_asked),
		t_test(region_impossible_sizes_are_einval),
		t_test(region_join_without_create_needs_one),
		t_test(region_two_attaches_in_one_process_are_two_clients),
		t_test(region_failed_init_leaves_nothing),
		t_test(region_on_full_disk_is_enospc_and_leaves_nothing),
		t_test(region_is_written_where_fallocate_is_not_supported),
		t_test(region_written_on_full_disk_is_enospc_and_leaves_nothing),
		t_test(region_create_survives_failure_of_any_call),
		t_test(region_join_survives_failure_of_any_call),
		t_test(region_mode_is_as_given_less_umask),
		t_test(region_detach_leaves_it_valid_and_asks_the_last_one),
		t_test(region_damaged_is_not_called_clean),
		t_test(region_removed_by_its_last_client_only),
		t_test(region_that_cannot_be_unlinked_stays_valid),
		t_test(region_detach_happens_whatever_fails),
		t_test(region_unlinked_by_force_gives_estale_and_a_new_one_can_be_made),
		t_test(unlink_by_force_removes_whatever_is_there),
		t_test(unlink_by_force_does_not_follow_links),
		t_test(private_region_is_joined_by_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
