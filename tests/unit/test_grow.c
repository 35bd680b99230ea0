/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: growing and shrinking in place, in files, in segments (TEST_MEMORY=system) and in
 * private memory.
 */
#include "region_t.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include "region/region_impl.h"

#define LARGER ((uint64_t)(REGION_BYTES * 3))
#define MAX ((uint64_t)(REGION_BYTES * 8))

static struct region *
attach_growing(const struct t *t)
{
	struct region_spec spec = spec_in(t->dir);
	struct region *r;

	spec.max = MAX;
	t_check(region_attach(&spec, &r) == 0);
	return r;
}

static void
grown_region_is_seen_by_all_where_it_was(void **state)
{
	struct t *t = *state;
	struct region *a = attach_growing(t), *b = attach(t), *c;
	uint8_t *at = a->addr, *last;

	assert_true(a->mapped == MAX && b->mapped == MAX && a->layout->max == MAX);
	assert_null(region_ptr(b, REGION_BYTES, 1));
	assert_int_equal(region_grow(a, LARGER - 10), 0);
	assert_true(a->addr == at && a->layout->size == LARGER && a->size == LARGER);
	assert_true(a->layout->generation == 1);
	assert_null(region_ptr(b, LARGER - 1, 2));
	assert_non_null(last = region_ptr(b, LARGER - 1, 1));
	assert_int_equal(*last, 0);
	*last = 'g';
	assert_int_equal(a->addr[LARGER - 1], 'g');
	c = attach(t);
	assert_true(c->size == LARGER && c->mapped == MAX);
	assert_int_equal(c->addr[LARGER - 1], 'g');
	detach(a);
	detach(b);
	detach(c);
}

static void
region_grows_up_to_its_max_and_growth_never_shortens(void **state)
{
	struct t *t = *state;
	struct region *r = attach_growing(t);

	assert_int_equal(region_grow(r, MAX + 1), ENOMEM);
	assert_non_null(strstr(last_sentence, "may grow to"));
	assert_int_equal(region_grow(r, UINT64_MAX), ENOMEM);
	assert_true(r->layout->size == REGION_BYTES && r->layout->generation == 0);
	assert_int_equal(region_grow(r, MAX), 0);
	r->addr[MAX - 1] = 1;
	assert_int_equal(region_grow(r, 1), 0);
	assert_true(r->layout->size == MAX && r->layout->generation == 1);
	detach(r);
	r = attach(t);
	assert_int_equal(r->addr[MAX - 1], 1);
	detach(r);
}

/* Each call of a growth fails once: then nothing has changed. */
static void
growth_survives_failure_of_any_call(void **state)
{
	struct t *t = *state;
	struct region *r = attach_growing(t);
	unsigned n = 0;
	int ret;

	do {
		t_fault(T_FAULT_ANY, ++n, ENOSPC);
		ret = region_grow(r, LARGER);
		if (t_fault_off() == 0)
			break;
		assert_int_equal(ret, ENOSPC);
		assert_true(r->layout->size == REGION_BYTES && r->layout->generation == 0);
	} while (n < 100);
	assert_int_equal(ret, 0);
	assert_true(n > 2);
	detach(r);
}

struct dying {
	struct t *t;
	unsigned n;
};

static int
dies_growing(struct t_child *c, void *arg)
{
	struct dying *d = arg;
	struct region *r = attach(d->t);

	(void)c;
	t_fault(T_FAULT_ANY, d->n, T_FAULT_KILL);
	t_check(region_grow(r, LARGER) == 0);
	(void)t_fault_off();
	detach(r);
	return 0;
}

static void
grower_killed_at_any_call_leaves_a_region_that_grows(void **state)
{
	struct dying d = { .t = *state };
	struct t_child c;
	struct region *r;
	int status;

	do {
		d.n++;
		r = attach_growing(d.t);
		t_fork(&c, dies_growing, &d);
		status = t_join(&c);
		assert_true(status == 0 || status == 128 + SIGKILL);
		assert_int_equal(region_usable(r), 0);
		assert_int_equal(region_grow(r, LARGER), 0);
		memset(r->addr + REGION_BYTES, 'x', LARGER - REGION_BYTES);
		detach(attach(d.t));
		assert_int_equal(region_detach(r, true, NULL, NULL), 0);
	} while (status != 0);
	assert_true(d.n > 2);
}

static int
grows_by_pages(struct t_child *c, void *arg)
{
	struct region *r = attach(arg);
	uint64_t size;

	t_tell(c, 'r');
	t_await(c, 'g');
	for (size = REGION_BYTES; size <= MAX; size += os_page_size()) {
		uint64_t *last;

		t_check(region_grow(r, size) == 0);
		t_check((last = region_ptr(r, size - 8, 8)) != NULL);
		add_seq(last, 1);
	}
	detach(r);
	return 0;
}

static void
growth_by_several_at_once_loses_nothing(void **state)
{
	struct t *t = *state;
	struct region *r = attach_growing(t);
	struct t_child c[3];
	uint64_t size;

	for (int i = 0; i < 3; i++) {
		t_fork(&c[i], grows_by_pages, t);
		t_await(&c[i], 'r');
	}
	for (int i = 0; i < 3; i++)
		t_tell(&c[i], 'g');
	for (int i = 0; i < 3; i++)
		assert_int_equal(t_join(&c[i]), 0);
	assert_true(r->layout->size == MAX);
	for (size = REGION_BYTES; size <= MAX; size += os_page_size())
		assert_int_equal(*(uint64_t *)region_ptr(r, size - 8, 8), 3);
	detach(r);
}

static void
removed_region_does_not_grow(void **state)
{
	struct t *t = *state;
	struct region *r = attach_growing(t);

	assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	assert_int_equal(region_grow(r, LARGER), ESTALE);
	detach(r);
}

/* A size that is not mapped, or no size at all, is not followed. */
static void
sizes_that_cannot_be_are_not_believed(void **state)
{
	struct t *t = *state;
	struct region *r = attach_growing(t);

	r->layout->size = MAX * 2;
	assert_null(region_ptr(r, MAX, 1));
	assert_null(region_ptr(r, REGION_BYTES, 1));
	r->layout->size = LARGER + 1;
	assert_null(region_ptr(r, REGION_BYTES, 1));
	r->layout->size = REGION_BYTES;
	detach(r);
}

/* --- shrinking ----------------------------------------------------------------------------- */

static bool
all_are(const uint8_t *bytes, size_t n, uint8_t value)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

static uint64_t
allocated(const struct t *t)
{
	struct stat st;

	t_check(stat(t_path(t, REGION_FILE), &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

static off_t
length(const struct t *t)
{
	struct stat st;

	t_check(stat(t_path(t, REGION_FILE), &st) == 0);
	return st.st_size;
}

static void
shrunk_region_ends_for_all_and_gives_memory_back(void **state)
{
	struct t *t = *state;
	struct region *a = attach_growing(t), *b = attach(t), *c;
	uint64_t before, after;
	off_t bytes;

	assert_int_equal(region_grow(a, MAX), 0);
	memset(region_ptr(b, REGION_BYTES, MAX - REGION_BYTES), 'x', MAX - REGION_BYTES);
	before = allocated(t);
	bytes = length(t);
	assert_int_equal(region_shrink(a, LARGER - 10), 0);
	after = allocated(t); /* before anybody reads there: tmpfs gives memory to a reader */
	assert_true(a->layout->size == LARGER && a->layout->generation == 2);
	assert_null(region_ptr(b, LARGER - 1, 2));
	assert_null(region_ptr(b, MAX - 1, 1));
	assert_null(region_ptr(a, MAX - 1, 1));
	assert_non_null(region_ptr(b, LARGER - 1, 1));
	/* Who has an address from before reads zeros, and never a signal. */
	assert_true(all_are(b->addr + LARGER, MAX - LARGER, 0));
	assert_true(all_are(b->addr + REGION_BYTES, LARGER - REGION_BYTES, 'x'));
	assert_int_equal(length(t), bytes);
	if (!a->is_system)
		assert_true(after <= before - (MAX - LARGER));
	c = attach(t);
	assert_true(c->size == LARGER && c->mapped == MAX);
	detach(a);
	detach(b);
	detach(c);
}

static void
shrink_of_what_is_shorter_or_to_nothing_changes_nothing(void **state)
{
	struct t *t = *state;
	struct region *r = attach_growing(t);

	assert_int_equal(region_shrink(r, LARGER), 0);
	assert_int_equal(region_shrink(r, UINT64_MAX), 0);
	assert_int_equal(region_shrink(r, REGION_BYTES), 0);
	assert_int_equal(region_shrink(r, 0), EINVAL);
	assert_int_equal(region_shrink(r, layout_body_offset(CLIENTS) - 1), EINVAL);
	assert_non_null(strstr(last_sentence, "cannot shrink"));
	assert_true(r->layout->size == REGION_BYTES && r->layout->generation == 0);
	assert_true(body_of(r)->mark == BODY_MARK);
	assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	assert_int_equal(region_shrink(r, REGION_BYTES / 2), ESTALE);
	detach(r);
}

/* Somebody wrote behind the end, or died before the memory was given back. */
static void
bytes_that_come_back_are_zeros(void **state)
{
	struct t *t = *state;
	struct region *r = attach_growing(t);

	assert_int_equal(region_grow(r, MAX), 0);
	memset(r->addr + REGION_BYTES, 'x', MAX - REGION_BYTES);
	assert_int_equal(region_shrink(r, REGION_BYTES), 0);
	memset(r->addr + LARGER, 'y', MAX - LARGER);
	assert_int_equal(region_grow(r, LARGER), 0);
	assert_true(all_are(r->addr + REGION_BYTES, LARGER - REGION_BYTES, 0));
	assert_int_equal(region_grow(r, MAX), 0);
	assert_true(all_are(r->addr + REGION_BYTES, MAX - REGION_BYTES, 0));
	detach(r);
}

/* As on a file system that can neither allocate nor punch holes. */
static void
region_grows_and_shrinks_where_blocks_cannot_be_given_back(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	struct region *r;

	spec.is_system = false;
	spec.max = MAX;
	assert_int_equal(region_attach(&spec, &r), 0);
	t_fault_always(OS_ALLOCATE, EOPNOTSUPP);
	assert_int_equal(region_grow(r, MAX), 0);
	memset(r->addr + REGION_BYTES, 'x', MAX - REGION_BYTES);
	assert_int_equal(region_shrink(r, LARGER), 0);
	assert_true(r->layout->size == LARGER);
	assert_int_equal(region_grow(r, MAX), 0);
	assert_true(t_fault_off());
	assert_true(all_are(r->addr + LARGER, MAX - LARGER, 0));
	detach(r);
}

/* Its size is one or the other, and it can still be changed. */
static void
shrink_survives_failure_of_any_call(void **state)
{
	struct t *t = *state;
	struct region *r = attach_growing(t);
	unsigned n = 0;
	int ret;

	do {
		assert_int_equal(region_grow(r, LARGER), 0);
		memset(r->addr + REGION_BYTES, 'x', LARGER - REGION_BYTES);
		t_fault(T_FAULT_ANY, ++n, EIO);
		ret = region_shrink(r, REGION_BYTES);
		assert_true(ret == 0 || (ret == EIO && r->layout->size == LARGER));
	} while (t_fault_off() && n < 100);
	assert_true(n > 2);
	assert_int_equal(region_grow(r, LARGER), 0);
	assert_true(all_are(r->addr + REGION_BYTES, LARGER - REGION_BYTES, 0));
	detach(r);
}

static int
dies_shrinking(struct t_child *c, void *arg)
{
	struct dying *d = arg;
	struct region *r = attach(d->t);

	(void)c;
	memset(region_ptr(r, REGION_BYTES, LARGER - REGION_BYTES), 'x', LARGER - REGION_BYTES);
	t_fault(T_FAULT_ANY, d->n, T_FAULT_KILL);
	t_check(region_shrink(r, REGION_BYTES) == 0);
	(void)t_fault_off();
	detach(r);
	return 0;
}

static void
shrinker_killed_at_any_call_leaves_a_region_that_grows(void **state)
{
	struct dying d = { .t = *state };
	struct region *r = attach_growing(d.t);
	struct t_child c;
	int status;

	do {
		d.n++;
		assert_int_equal(region_grow(r, LARGER), 0);
		t_fork(&c, dies_shrinking, &d);
		status = t_join(&c);
		assert_true(status == 0 || status == 128 + SIGKILL);
		assert_int_equal(region_usable(r), 0);
		assert_int_equal(region_shrink(r, REGION_BYTES), 0);
		assert_int_equal(region_grow(r, LARGER), 0);
		assert_true(all_are(r->addr + REGION_BYTES, LARGER - REGION_BYTES, 0));
	} while (status != 0);
	assert_true(d.n > 2);
	detach(r);
}

/* --- private memory ------------------------------------------------------------------------ */

static void
private_region_grows_and_shrinks_where_it_is(void **state)
{
	struct region_spec spec = spec_in(NULL);
	struct region *r;
	uint8_t *at;

	(void)state;
	spec.is_private = true;
	spec.is_system = false;
	spec.max = MAX;
	assert_int_equal(region_attach(&spec, &r), 0);
	at = r->addr;
	assert_true(r->mapped == MAX && r->layout->max == MAX && r->size == REGION_BYTES);
	assert_null(region_ptr(r, REGION_BYTES, 1));
	assert_int_equal(region_grow(r, MAX + 1), ENOMEM);
	assert_non_null(strstr(last_sentence, "may grow to"));
	assert_int_equal(region_grow(r, LARGER), 0);
	assert_true(r->addr == at && r->size == LARGER);
	memset(region_ptr(r, REGION_BYTES, LARGER - REGION_BYTES), 'x', LARGER - REGION_BYTES);
	assert_int_equal(region_shrink(r, REGION_BYTES), 0);
	assert_null(region_ptr(r, REGION_BYTES, 1));
	assert_int_equal(region_grow(r, MAX), 0);
	assert_true(all_are(region_ptr(r, REGION_BYTES, 1), MAX - REGION_BYTES, 0));
	assert_true(body_of(r)->mark == BODY_MARK);
	detach(r);
}

/* --- a disk that is full ------------------------------------------------------------------- */

/* In a mount namespace of its own, with a file system of four times the region's size. */
static int
fills_a_disk(struct t_child *c, void *arg)
{
	struct t *t = arg;
	struct region_spec spec = spec_in(t->dir);
	char options[40];
	struct region *r;

	(void)c;
	(void)snprintf(options, sizeof(options), "size=%d", REGION_BYTES * 4);
	if (unshare(CLONE_NEWNS) == -1 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("none", t->dir, "tmpfs", 0, options) == -1)
		return 77;
	spec.is_system = false;
	spec.max = MAX;
	spec.size = REGION_BYTES * 5;
	t_check(region_attach(&spec, &r) == ENOSPC && !exists(t));
	spec.size = REGION_BYTES;
	t_check(region_attach(&spec, &r) == 0);
	t_check(region_grow(r, MAX) == ENOSPC);
	t_check(strstr(last_sentence, "cannot grow") != NULL);
	t_check(r->layout->size == REGION_BYTES && region_usable(r) == 0);
	t_check(region_grow(r, LARGER) == 0);
	memset(r->addr + REGION_BYTES, 'x', LARGER - REGION_BYTES);
	t_check(region_grow(r, MAX) == ENOSPC);
	t_check(all_are(r->addr + REGION_BYTES, LARGER - REGION_BYTES, 'x'));
	/* What is given back is room for others. */
	t_check(region_shrink(r, REGION_BYTES) == 0);
	t_write_file(t_path(t, "other"), r->addr, REGION_BYTES);
	t_check(region_grow(r, LARGER) == 0);
	memset(r->addr + REGION_BYTES, 'x', LARGER - REGION_BYTES);
	detach(r);
	return 0;
}

static void
full_disk_is_enospc_at_create_and_at_grow_and_never_a_signal(void **state)
{
	struct t_child c;
	int status;

	t_fork(&c, fills_a_disk, *state);
	status = t_join(&c);
	if (status == 77)
		t_skip("cannot mount a file system");
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(grown_region_is_seen_by_all_where_it_was),
		segment_test(region_grows_up_to_its_max_and_growth_never_shortens),
		segment_test(growth_survives_failure_of_any_call),
		segment_test(grower_killed_at_any_call_leaves_a_region_that_grows),
		segment_test(growth_by_several_at_once_loses_nothing),
		segment_test(removed_region_does_not_grow),
		segment_test(sizes_that_cannot_be_are_not_believed),
		segment_test(shrunk_region_ends_for_all_and_gives_memory_back),
		segment_test(shrink_of_what_is_shorter_or_to_nothing_changes_nothing),
		segment_test(bytes_that_come_back_are_zeros),
		segment_test(region_grows_and_shrinks_where_blocks_cannot_be_given_back),
		segment_test(shrink_survives_failure_of_any_call),
		segment_test(shrinker_killed_at_any_call_leaves_a_region_that_grows),
		segment_test(private_region_grows_and_shrinks_where_it_is),
		segment_test(full_disk_is_enospc_at_create_and_at_grow_and_never_a_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
