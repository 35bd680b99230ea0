/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: create, join, detach, remove; leftovers, damage, other versions, other boots, and
 * who is trusted.  Clients and locks are in test_client.c.
 */
#include "region_t.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#include "region/region_impl.h"

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

/* A valid region that nobody is attached to. */
static RLAYOUT
leave_region(const struct t *t)
{
	struct region *r = attach(t);
	RLAYOUT copy = *r->layout;

	detach(r);
	return copy;
}

static void
poke(const struct t *t, size_t at, const void *bytes, size_t n)
{
	int fd = open(t_path(t, REGION_FILE), O_WRONLY | O_CLOEXEC);

	t_check(fd >= 0);
	t_check(pwrite(fd, bytes, n, (off_t)at) == (ssize_t)n);
	close(fd);
}

#define poke_field(t, field, value)                                                                \
	do {                                                                                       \
		__typeof__(((RLAYOUT *)NULL)->field) v_ = (value);                                 \
		poke((t), offsetof(RLAYOUT, field), &v_, sizeof(v_));                              \
	} while (0)

static RLAYOUT
peek_file(const struct t *t)
{
	size_t n;
	char *bytes = t_read_file(t_path(t, REGION_FILE), &n);
	RLAYOUT copy;

	t_check(n >= sizeof(copy));
	memcpy(&copy, bytes, sizeof(copy));
	free(bytes);
	return copy;
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

/* --- leftovers ----------------------------------------------------------------------------- */

static void
expect_new_region(struct t *t)
{
	struct region *r = attach(t);
	struct stat st;

	assert_true(r->created);
	assert_int_equal(client_count(r), 1);
	assert_int_equal(stat(t_path(t, REGION_FILE), &st), 0);
	assert_int_equal(st.st_size, REGION_BYTES);
	detach(r);
}

static void
leftover_of_zeros_is_taken_over(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, sizeof(RLAYOUT) - 1, sizeof(RLAYOUT), 4095, 4096,
		4097, REGION_BYTES / 2, REGION_BYTES };
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	char *zeros = calloc(1, REGION_BYTES);
	struct region *r;
	size_t i;

	spec.create = false;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		t_write_file(t_path(t, REGION_FILE), zeros, sizes[i]);
		assert_int_equal(region_attach(&spec, &r), ENOENT);
		assert_true(exists(t));
		expect_new_region(t);
		t_check(unlink(t_path(t, REGION_FILE)) == 0);
	}
	free(zeros);
}

static void
leftover_with_valid_cleared_is_taken_over(void **state)
{
	struct t *t = *state;
	RLAYOUT old = leave_region(t);

	poke_field(t, valid, 0);
	expect_new_region(t);
	assert_true(peek_file(t).region_id != old.region_id);
	assert_int_equal(peek_file(t).valid, DB_REGIONMAGIC);
}

/* Its creator died when only the first n bytes of the layout were written. */
static void
leftover_with_half_a_layout_is_taken_over(void **state)
{
	struct t *t = *state;
	char *whole, *half = calloc(1, REGION_BYTES);
	size_t n;

	(void)leave_region(t);
	poke_field(t, valid, 0);
	whole = t_read_file(t_path(t, REGION_FILE), NULL);
	for (n = 0; n < sizeof(RLAYOUT); n += 4) {
		memcpy(half, whole, n);
		t_write_file(t_path(t, REGION_FILE), half, REGION_BYTES);
		expect_new_region(t);
	}
	free(whole);
	free(half);
}

/* A live client of a region whose remover died keeps its memory: no truncation, no SIGBUS. */
static void
leftover_that_is_mapped_by_others_is_not_reused(void **state)
{
	struct t *t = *state;
	struct region *old = attach(t), *new;

	store_seq(&old->layout->valid, 0);
	new = attach(t);
	assert_true(new->created);
	assert_true(new->layout->region_id != old->layout->region_id);
	assert_int_equal(region_usable(old), ESTALE);
	body_of(old)->users = 1;
	memset(old->addr + old->layout->body, 0xaa, old->size - old->layout->body);
	assert_int_equal(body_of(new)->users, 0);
	detach(old);
	detach(new);
}

struct dying {
	struct t *t;
	unsigned n;
	bool remove;
};

static int
dies_at_a_call(struct t_child *c, void *arg)
{
	struct dying *d = arg;
	struct region_spec spec = spec_in(d->t->dir);
	struct region *r;

	(void)c;
	if (!d->remove)
		t_fault(T_FAULT_ANY, d->n, T_FAULT_KILL);
	t_check(region_attach(&spec, &r) == 0);
	if (d->remove)
		t_fault(T_FAULT_ANY, d->n, T_FAULT_KILL);
	t_check(region_detach(r, d->remove, NULL, NULL) == 0);
	return 0;
}

static unsigned
die_at_every_call(struct t *t, bool remove)
{
	struct dying d = { .t = t, .remove = remove };
	struct t_child c;
	int status;

	do {
		d.n++;
		t_fork(&c, dies_at_a_call, &d);
		status = t_join(&c);
		assert_true(status == 0 || status == 128 + SIGKILL);
		/* What it left, if anything, is a region or is made one, at once. */
		detach(attach(t));
		assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	} while (status != 0);
	return d.n;
}

static void
creator_killed_at_any_call_leaves_no_obstacle(void **state)
{
	assert_true(die_at_every_call(*state, false) > 10);
}

static void
remover_killed_at_any_call_leaves_no_obstacle(void **state)
{
	assert_true(die_at_every_call(*state, true) > 4);
}

static int
pauses_in_init(struct region *r, void *arg)
{
	struct t_child *c = arg;

	t_tell(c, 'i');
	t_await(c, 'g');
	return body_init(r, NULL);
}

static int
creates_slowly(struct t_child *c, void *arg)
{
	struct t *t = arg;
	struct region_spec spec = spec_in(t->dir);
	struct region *r;

	spec.init = pauses_in_init;
	spec.arg = c;
	t_check(region_attach(&spec, &r) == 0);
	t_check(r->created);
	t_tell(c, 'c');
	t_await(c, 'g');
	detach(r);
	return 0;
}

static int
joins(struct t_child *c, void *arg)
{
	struct region *r;

	t_tell(c, 's');
	r = attach(arg);
	t_check(!r->created);
	t_check(client_count(r) == 2);
	t_tell(c, 'j');
	detach(r);
	return 0;
}

static void
joiner_waits_for_a_live_creator(void **state)
{
	struct t *t = *state;
	struct t_child creator, joiner;

	t_fork(&creator, creates_slowly, t);
	t_await(&creator, 'i');
	t_fork(&joiner, joins, t);
	t_await(&joiner, 's');
	t_tell(&creator, 'g');
	t_await(&creator, 'c');
	t_await(&joiner, 'j');
	assert_int_equal(t_join(&joiner), 0);
	t_tell(&creator, 'g');
	assert_int_equal(t_join(&creator), 0);
}

static int
creates_if_need_be(struct t_child *c, void *arg)
{
	struct region *r;

	t_tell(c, 's');
	r = attach(arg);
	t_check(r->created);
	detach(r);
	return 0;
}

static void
joiner_takes_over_when_the_creator_is_killed(void **state)
{
	struct t *t = *state;
	struct t_child creator, joiner;

	t_fork(&creator, creates_slowly, t);
	t_await(&creator, 'i');
	t_fork(&joiner, creates_if_need_be, t);
	t_await(&joiner, 's');
	t_kill(&creator);
	assert_int_equal(t_join(&joiner), 0);
}

/* --- damage -------------------------------------------------------------------------------- */

/* The attach fails with this error, says why, and does not touch the file. */
static void
expect_refusal(struct t *t, int error, const char *word)
{
	size_t before_bytes, after_bytes;
	char *before = t_read_file(t_path(t, REGION_FILE), &before_bytes), *after;

	last_sentence[0] = '\0';
	assert_int_equal(attach_error(t), error);
	if (strstr(last_sentence, REGION_FILE) == NULL || strstr(last_sentence, word) == NULL)
		fail_msg("does not name the file and %s: %s", word, last_sentence);
	after = t_read_file(t_path(t, REGION_FILE), &after_bytes);
	assert_int_equal(before_bytes, after_bytes);
	assert_memory_equal(before, after, before_bytes);
	free(before);
	free(after);
}

static void
somebodys_file_is_refused_untouched(void **state)
{
	struct t *t = *state;
	char text[8192];

	memset(text, 'x', sizeof(text));
	t_write_file(t_path(t, REGION_FILE), "hello\n", 6);
	expect_refusal(t, DB_RUNRECOVERY, "force");
	t_write_file(t_path(t, REGION_FILE), text, sizeof(text));
	expect_refusal(t, DB_RUNRECOVERY, "force");
	/* The word at valid's place happens to be 0. */
	memset(text + offsetof(RLAYOUT, valid), 0, 4);
	t_write_file(t_path(t, REGION_FILE), text, sizeof(text));
	expect_refusal(t, DB_RUNRECOVERY, "force");
	/* It begins like a region. */
	*(uint32_t *)(void *)(text + offsetof(RLAYOUT, valid)) = DB_REGIONMAGIC;
	t_write_file(t_path(t, REGION_FILE), text, sizeof(text));
	expect_refusal(t, EPROTO, "version");
	assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	detach(attach(t));
}

static void
valid_neither_0_nor_magic_is_damage(void **state)
{
	static const uint32_t bad[] = { 1, DB_REGIONMAGIC + 1, 0x80000000, UINT32_MAX };
	struct t *t = *state;
	size_t i;

	(void)leave_region(t);
	for (i = 0; i < 4; i++) {
		poke_field(t, valid, bad[i]);
		expect_refusal(t, DB_RUNRECOVERY, "force");
	}
	poke_field(t, valid, DB_REGIONMAGIC);
	assert_int_equal(attach_error(t), 0);
}

static void
stamps_that_differ_are_eproto_naming_both(void **state)
{
	struct t *t = *state;
	RLAYOUT good = leave_region(t);

	poke_field(t, format, 77);
	expect_refusal(t, EPROTO, "format 77");
	expect_refusal(t, EPROTO, "format 1");
	poke_field(t, format, good.format);
	poke_field(t, pointer_bytes, 4);
	expect_refusal(t, EPROTO, "pointers of 4 bytes");
	expect_refusal(t, EPROTO, "pointers of 8 bytes");
	poke_field(t, pointer_bytes, good.pointer_bytes);
	poke_field(t, layout_bytes, 72);
	expect_refusal(t, EPROTO, "header of 72");
	poke_field(t, layout_bytes, good.layout_bytes);
	poke_field(t, byte_order, 0x04030201);
	expect_refusal(t, EPROTO, "04030201");
	/* As a machine of the other order writes them. */
	poke_field(t, valid, __builtin_bswap32(DB_REGIONMAGIC));
	expect_refusal(t, EPROTO, "04030201");
	poke_field(t, valid, good.valid);
	poke_field(t, byte_order, good.byte_order);
	poke_field(t, subsystem_stamp, 0xbad);
	expect_refusal(t, EPROTO, "00000bad");
	expect_refusal(t, EPROTO, "00007e57");
	poke_field(t, subsystem_stamp, good.subsystem_stamp);
	assert_int_equal(attach_error(t), 0);
}

static void
leftover_of_another_version_is_eproto(void **state)
{
	struct t *t = *state;

	(void)leave_region(t);
	poke_field(t, valid, 0);
	poke_field(t, format, 77);
	expect_refusal(t, EPROTO, "format 77");
}

/* One 64-bit field at a time, with everything that could lead out of the mapping. */
static void
offsets_and_sizes_that_do_not_fit_are_damage(void **state)
{
	static const size_t fields[] = { offsetof(RLAYOUT, size), offsetof(RLAYOUT, max),
		offsetof(RLAYOUT, clients), offsetof(RLAYOUT, body) };
	struct t *t = *state;
	RLAYOUT good = leave_region(t);
	size_t f, v;

	for (f = 0; f < 4; f++) {
		const uint64_t was = *(uint64_t *)(void *)((char *)&good + fields[f]);
		const uint64_t bad[] = { 0, 1, 8, was - 8, was + 8, was - 4096, (uint64_t)1 << 63,
			UINT64_MAX, UINT64_MAX - 4095, (uint64_t)INT64_MAX + 1 - 4096 };

		for (v = 0; v < sizeof(bad) / sizeof(bad[0]); v++) {
			/* Another maximum, not below the size, is no damage. */
			if (fields[f] == offsetof(RLAYOUT, max) && bad[v] >= REGION_BYTES)
				continue;
			/* Nor is a smaller size, in whole pages. */
			if (fields[f] == offsetof(RLAYOUT, size) && bad[v] == was - 4096)
				continue;
			poke(t, fields[f], &bad[v], sizeof(bad[v]));
			expect_refusal(t, DB_RUNRECOVERY, "force");
		}
		poke(t, fields[f], &was, sizeof(was));
	}
	assert_int_equal(attach_error(t), 0);
}

static void
numbers_of_clients_that_do_not_fit_are_damage(void **state)
{
	static const uint32_t bad[] = { 0, 1, CLIENTS - 1, CLIENTS + 1, 1000, 65536, 65537,
		0x80000000, UINT32_MAX };
	struct t *t = *state;
	size_t i;

	(void)leave_region(t);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		poke_field(t, nclients, bad[i]);
		expect_refusal(t, DB_RUNRECOVERY, "force");
	}
	/* Together they fit, but not into the file. */
	poke_field(t, nclients, 2000);
	poke_field(t, body, layout_body_offset(2000));
	expect_refusal(t, DB_RUNRECOVERY, "force");
}

static void
fields_for_people_do_no_harm(void **state)
{
	static const size_t fields[] = { offsetof(RLAYOUT, lock), offsetof(RLAYOUT, refcnt),
		offsetof(RLAYOUT, majver), offsetof(RLAYOUT, minver), offsetof(RLAYOUT, patch),
		offsetof(RLAYOUT, segid), offsetof(RLAYOUT, flags), offsetof(RLAYOUT, region_id),
		offsetof(RLAYOUT, generation), offsetof(RLAYOUT, created_usec),
		offsetof(RLAYOUT, clean), offsetof(RLAYOUT, panic_pid),
		offsetof(RLAYOUT, panic_usec), offsetof(RLAYOUT, panic_why) };
	static const uint32_t bad = 0xdeadbeef;
	struct t *t = *state;
	struct region *r;
	size_t i;

	(void)leave_region(t);
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		poke(t, fields[i], &bad, sizeof(bad));
		r = attach(t);
		assert_false(r->created);
		assert_int_equal(client_count(r), 1);
		detach(r);
	}
}

static void
file_shorter_than_its_layout_is_damage(void **state)
{
	static const off_t sizes[] = { REGION_BYTES - 1, REGION_BYTES - 4096, 4096, sizeof(RLAYOUT),
		sizeof(RLAYOUT) - 1, 12 };
	struct t *t = *state;
	size_t i;

	(void)leave_region(t);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		t_check(truncate(t_path(t, REGION_FILE), sizes[i]) == 0);
		expect_refusal(t, DB_RUNRECOVERY, "force");
	}
	t_check(truncate(t_path(t, REGION_FILE), 0) == 0);
	expect_new_region(t);
}

static void
client_table_full_of_rubbish_can_be_joined(void **state)
{
	struct t *t = *state;
	RLAYOUT good = leave_region(t);
	struct client rubbish;
	struct region *r;
	uint32_t i;

	memset(&rubbish, 0xee, sizeof(rubbish));
	for (i = 0; i < CLIENTS; i++)
		if (i != 5)
			poke(t, good.clients + i * sizeof(rubbish), &rubbish, sizeof(rubbish));
	r = attach(t);
	assert_int_equal(r->self, 5);
	assert_int_equal(client_count(r), 1);
	for (i = 0; i < CLIENTS; i++)
		assert_int_equal(client_claim_dead(r, i), i != 5);
	for (i = 0; i < CLIENTS; i++)
		client_free(r, i);
	detach(attach(t));
	detach(r);
}

/* --- panic --------------------------------------------------------------------------------- */

static void
panic_keeps_the_first_reason_and_stops_everybody(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b = attach(t);

	assert_int_equal(region_usable(a), 0);
	assert_int_equal(region_panic(a, "frame %d points to %s", 7, "nowhere"), DB_RUNRECOVERY);
	assert_non_null(strstr(last_sentence, "frame 7 points to nowhere"));
	assert_int_equal(region_usable(b), DB_RUNRECOVERY);
	sentences = 0;
	assert_int_equal(region_panic(b, "another"), DB_RUNRECOVERY);
	assert_int_equal(sentences, 0);
	assert_string_equal(b->layout->panic_why, "frame 7 points to nowhere");
	assert_int_equal(b->layout->panic_pid, getpid());
	assert_true(b->layout->panic_usec != 0);
	assert_int_equal(attach_error(t), DB_RUNRECOVERY);
	assert_non_null(strstr(last_sentence, "frame 7 points to nowhere"));
	detach(a);
	detach(b);
	assert_int_equal(attach_error(t), DB_RUNRECOVERY);
	assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	detach(attach(t));
}

static void
panic_reason_of_any_length_and_bytes_is_printable(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	char why[500];
	const char *p;

	memset(why, 'y', sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	(void)region_panic(r, "%s", why);
	assert_int_equal(strlen(r->layout->panic_why), REGION_WHY_BYTES - 1);
	detach(r);
	memset(why, '\033', sizeof(why));
	poke(t, offsetof(RLAYOUT, panic_why), why, REGION_WHY_BYTES);
	assert_int_equal(attach_error(t), DB_RUNRECOVERY);
	for (p = last_sentence; *p != '\0'; p++)
		assert_true(*p >= ' ' && *p < 127);
}

static void
region_ptr_stays_inside(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);

	assert_ptr_equal(region_ptr(r, 0, r->size), r->addr);
	assert_ptr_equal(region_ptr(r, r->size, 0), r->addr + r->size);
	assert_null(region_ptr(r, 0, r->size + 1));
	assert_null(region_ptr(r, r->size, 1));
	assert_null(region_ptr(r, r->size + 1, 0));
	assert_null(region_ptr(r, UINT64_MAX, 2));
	assert_null(region_ptr(r, 8, SIZE_MAX));
	assert_null(region_ptr(r, UINT64_MAX - 7, 8));
	detach(r);
}

/* --- another boot -------------------------------------------------------------------------- */

static const uint8_t other_boot[16] = "another boot";

static void
other_boots_region_is_remade_and_its_dirty_pages_counted(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	RLAYOUT old = leave_region(t);
	struct region *r = NULL;

	poke(t, offsetof(RLAYOUT, boot_id), other_boot, 16);
	spec.create = false;
	assert_int_equal(region_attach(&spec, &r), ENOENT);
	assert_memory_equal(peek_file(t).boot_id, other_boot, 16);
	r = attach(t);
	assert_true(r->created);
	assert_true(r->layout->region_id != old.region_id);
	assert_non_null(strstr(last_sentence, "17 unwritten pages"));
	assert_non_null(strstr(last_sentence, REGION_FILE));
	detach(r);
}

static void
other_boots_clean_region_is_remade_in_silence(void **state)
{
	struct t *t = *state;
	struct region *r;

	(void)leave_region(t);
	poke_field(t, clean, 1);
	poke(t, offsetof(RLAYOUT, boot_id), other_boot, 16);
	sentences = 0;
	r = attach(t);
	assert_true(r->created);
	assert_int_equal(sentences, 0);
	detach(r);
}

static void
other_boots_damaged_region_is_remade_uncounted(void **state)
{
	struct t *t = *state;
	RLAYOUT good = leave_region(t);
	static const uint64_t bad = 3;
	static const size_t fields[] = { offsetof(RLAYOUT, size), offsetof(RLAYOUT, clients),
		offsetof(RLAYOUT, body), offsetof(RLAYOUT, panic),
		offsetof(RLAYOUT, subsystem_stamp) };
	size_t i;

	for (i = 0; i <= 5; i++) {
		if (i < 5)
			poke(t, fields[i], &bad, i < 3 ? 8 : 4);
		else
			t_check(truncate(t_path(t, REGION_FILE), 4096) == 0);
		poke(t, offsetof(RLAYOUT, boot_id), other_boot, 16);
		last_sentence[0] = '\0';
		expect_new_region(t);
		assert_non_null(strstr(last_sentence, "earlier boot"));
		assert_null(strstr(last_sentence, "17"));
		assert_true(peek_file(t).body == good.body);
	}
}

static void
other_boots_region_of_another_format_is_eproto(void **state)
{
	struct t *t = *state;

	(void)leave_region(t);
	poke(t, offsetof(RLAYOUT, boot_id), other_boot, 16);
	poke_field(t, format, 77);
	expect_refusal(t, EPROTO, "format 77");
}

/* Who is alive is of this boot: its region is never thrown away under it. */
static void
other_boot_id_with_a_live_client_is_joined(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b;

	memcpy(a->layout->boot_id, other_boot, 16);
	b = attach(t);
	assert_false(b->created);
	detach(b);
	detach(a);
	b = attach(t);
	assert_true(b->created);
	detach(b);
}

static void
unknown_boot_id_proves_nothing(void **state)
{
	static const uint8_t unknown[16];
	struct t *t = *state;
	struct region *r;

	(void)leave_region(t);
	poke(t, offsetof(RLAYOUT, boot_id), unknown, 16);
	r = attach(t);
	assert_false(r->created);
	detach(r);
}

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

static struct region *
attach_private(void)
{
	struct region_spec spec = spec_in(NULL);
	struct region *r;

	spec.is_private = true;
	t_check(region_attach(&spec, &r) == 0);
	return r;
}

static void
one_home_is_held_by_one_private_or_by_joined_regions(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b = attach(t), *p = attach_private();

	assert_int_equal(region_hold_home(a, t->dir), 0);
	assert_int_equal(region_hold_home(b, t->dir), 0);
	assert_int_equal(region_hold_home(p, t->dir), EBUSY);
	assert_non_null(strstr(last_sentence, t->dir));
	detach(a);
	assert_int_equal(region_hold_home(p, t->dir), EBUSY);
	detach(b);
	assert_int_equal(region_hold_home(p, t->dir), 0);
	a = attach(t);
	assert_int_equal(region_hold_home(a, t->dir), EBUSY);
	b = attach_private();
	assert_int_equal(region_hold_home(b, t->dir), EBUSY);
	detach(p);
	assert_int_equal(region_hold_home(a, t->dir), 0);
	detach(a);
	detach(b);
}

/* --- looking ------------------------------------------------------------------------------- */

static int
note_name(const char *file, void *arg)
{
	strcat(arg, file);
	strcat(arg, " ");
	return strstr(file, "stop") != NULL ? 7 : 0;
}

static void
region_each_names_regions_in_order_and_stops(void **state)
{
	static const char *const names[] = { "__db_b.share", "__db_a.share", "__db.share",
		"x__db_c.share", "__db_c.share2", "__db_.share", "data", ".__db_h.share" };
	struct t *t = *state;
	char seen[200] = "";
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		t_write_file(t_path(t, names[i]), "", 0);
	assert_int_equal(region_each(t->dir, note_name, seen), 0);
	assert_string_equal(seen, "__db_.share __db_a.share __db_b.share ");
	seen[0] = '\0';
	t_write_file(t_path(t, "__db_aa_stop.share"), "", 0);
	assert_int_equal(region_each(t->dir, note_name, seen), 7);
	assert_string_equal(seen, "__db_.share __db_a.share __db_aa_stop.share ");
	assert_int_equal(region_each(t_path(t, "none"), note_name, seen), ENOENT);
}

static void
region_peek_copies_only_what_is_a_region(void **state)
{
	struct t *t = *state;
	const char *path = t_path(t, REGION_FILE);
	RLAYOUT copy = { .refcnt = 99 }, good;

	assert_int_equal(region_peek(path, &copy), ENOENT);
	t_write_file(path, "short", 5);
	assert_int_equal(region_peek(path, &copy), EPROTO);
	assert_int_equal(copy.refcnt, 99);
	t_check(unlink(path) == 0);
	good = leave_region(t);
	assert_int_equal(region_peek(path, &copy), 0);
	assert_true(copy.region_id == good.region_id);
	poke_field(t, format, 5);
	assert_int_equal(region_peek(path, &copy), EPROTO);
	poke_field(t, format, good.format);
	poke_field(t, clients, 1);
	assert_int_equal(region_peek(path, &copy), DB_RUNRECOVERY);
	poke_field(t, clients, good.clients);
	poke_field(t, valid, 0);
	assert_int_equal(region_peek(path, &copy), 0);
	t_check(rename(path, t_path(t, "real")) == 0);
	t_check(symlink("real", path) == 0);
	assert_int_equal(region_peek(path, &copy), ELOOP);
	assert_int_equal(region_peek(t->dir, &copy), EPROTO);
}

static void
expect_dir(const DB_ENV *env, const char *dir, const char *want, bool temporary)
{
	char *got = NULL, *real = realpath(want, NULL);
	bool is_temporary = !temporary;

	assert_int_equal(environment_dir(env, dir, &got, &is_temporary), 0);
	assert_string_equal(got, real);
	assert_int_equal(is_temporary, temporary);
	free(got);
	free(real);
}

static void
environment_dir_follows_memp_opens_rules(void **state)
{
	struct t *t = *state;
	DB_ENV with_home = { .db_home = t->dir }, without = { 0 };
	char *dir = NULL;
	bool temporary;

	t_check(mkdir(t_path(t, "sub"), 0700) == 0);
	t_check(symlink("sub", t_path(t, "link")) == 0);
	t_write_file(t_path(t, "file"), "", 0);
	expect_dir(&with_home, NULL, t->dir, false);
	expect_dir(&with_home, "sub", t_path(t, "sub"), false);
	expect_dir(&with_home, "link", t_path(t, "sub"), false);
	expect_dir(&with_home, "/", "/", false);
	expect_dir(&without, "/usr/..", "/", false);
	expect_dir(NULL, ".", ".", false);
	t_check(chdir(t->dir) == 0);
	expect_dir(&without, "sub", t_path(t, "sub"), false);
	t_check(chdir("/") == 0);
	assert_int_equal(environment_dir(&with_home, "none", &dir, &temporary), ENOENT);
	assert_int_equal(environment_dir(&with_home, "file", &dir, &temporary), ENOTDIR);
	assert_null(dir);
}

static void
environment_dir_temporary_is_from_variables_in_order(void **state)
{
	struct t *t = *state;
	DB_ENV env = { 0 };
	char *old = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL, *dir = NULL;
	bool temporary;

	t_check(mkdir(t_path(t, "a"), 0700) == 0 && mkdir(t_path(t, "b"), 0700) == 0);
	unsetenv("TMPDIR");
	unsetenv("TEMP");
	unsetenv("TMP");
	expect_dir(&env, NULL, "/var/tmp", true);
	setenv("TMP", t_path(t, "a"), 1);
	expect_dir(&env, NULL, t_path(t, "a"), true);
	setenv("TEMP", t_path(t, "b"), 1);
	expect_dir(NULL, NULL, t_path(t, "b"), true);
	setenv("TMPDIR", t->dir, 1);
	expect_dir(&env, NULL, t->dir, true);
	setenv("TMPDIR", "", 1);
	expect_dir(&env, NULL, t_path(t, "b"), true);
	setenv("TMPDIR", t_path(t, "none"), 1);
	assert_int_equal(environment_dir(&env, NULL, &dir, &temporary), ENOENT);
	unsetenv("TEMP");
	unsetenv("TMP");
	unsetenv("TMPDIR");
	if (old != NULL)
		setenv("TMPDIR", old, 1);
	free(old);
}

static void
environment_dir_uses_db_home_only_if_allowed(void **state)
{
	struct t *t = *state;
	DB_ENV env = { .db_home = "/" };

	setenv("DB_HOME", t->dir, 1);
	expect_dir(&env, NULL, "/", false);
	env.region_flags = DB_USE_ENVIRON;
	expect_dir(&env, NULL, t->dir, false);
	env.db_home = NULL;
	expect_dir(&env, NULL, t->dir, false);
	setenv("DB_HOME", "", 1);
	env.db_home = "/usr";
	expect_dir(&env, NULL, "/usr", false);
	unsetenv("DB_HOME");
	expect_dir(&env, "..", "/", false);
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
		t_test(leftover_of_zeros_is_taken_over),
		t_test(leftover_with_valid_cleared_is_taken_over),
		t_test(leftover_with_half_a_layout_is_taken_over),
		t_test(leftover_that_is_mapped_by_others_is_not_reused),
		t_test(creator_killed_at_any_call_leaves_no_obstacle),
		t_test(remover_killed_at_any_call_leaves_no_obstacle),
		t_test(joiner_waits_for_a_live_creator),
		t_test(joiner_takes_over_when_the_creator_is_killed),
		t_test(somebodys_file_is_refused_untouched),
		t_test(valid_neither_0_nor_magic_is_damage),
		t_test(stamps_that_differ_are_eproto_naming_both),
		t_test(leftover_of_another_version_is_eproto),
		t_test(offsets_and_sizes_that_do_not_fit_are_damage),
		t_test(numbers_of_clients_that_do_not_fit_are_damage),
		t_test(fields_for_people_do_no_harm),
		t_test(file_shorter_than_its_layout_is_damage),
		t_test(client_table_full_of_rubbish_can_be_joined),
		t_test(panic_keeps_the_first_reason_and_stops_everybody),
		t_test(panic_reason_of_any_length_and_bytes_is_printable),
		t_test(region_ptr_stays_inside),
		t_test(other_boots_region_is_remade_and_its_dirty_pages_counted),
		t_test(other_boots_clean_region_is_remade_in_silence),
		t_test(other_boots_damaged_region_is_remade_uncounted),
		t_test(other_boots_region_of_another_format_is_eproto),
		t_test(other_boot_id_with_a_live_client_is_joined),
		t_test(unknown_boot_id_proves_nothing),
		t_test(region_that_is_no_regular_file_is_refused),
		t_test(root_refuses_what_others_may_write_unless_its_own_mode_says_so),
		t_test(sticky_directory_wants_the_callers_or_roots_file),
		t_test(region_without_permission_is_eacces),
		t_test(private_region_is_joined_by_nobody),
		t_test(one_home_is_held_by_one_private_or_by_joined_regions),
		t_test(region_each_names_regions_in_order_and_stops),
		t_test(region_peek_copies_only_what_is_a_region),
		t_test(environment_dir_follows_memp_opens_rules),
		t_test(environment_dir_temporary_is_from_variables_in_order),
		t_test(environment_dir_uses_db_home_only_if_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
