/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: growing in place, in files and in segments (TEST_MEMORY=system).
 */
#include "region_t.h"

#include <signal.h>

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
region_grows_up_to_its_max_and_never_shrinks(void **state)
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(grown_region_is_seen_by_all_where_it_was),
		segment_test(region_grows_up_to_its_max_and_never_shrinks),
		segment_test(growth_survives_failure_of_any_call),
		segment_test(grower_killed_at_any_call_leaves_a_region_that_grows),
		segment_test(growth_by_several_at_once_loses_nothing),
		segment_test(removed_region_does_not_grow),
		segment_test(sizes_that_cannot_be_are_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
