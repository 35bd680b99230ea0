/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/base: what control groups leave, from trees of files as the kernel shows them.
 */
#include "t.h"

#include <errno.h>
#include <sys/stat.h>

#define MIB ((uint64_t)1 << 20)

static void
write_number(const struct t *t, const char *name, uint64_t n)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)n);
	t_write_file(t_path(t, name), text, strlen(text));
}

static void
write_text(const struct t *t, const char *name, const char *text)
{
	t_write_file(t_path(t, name), text, strlen(text));
}

static void
make_groups(const struct t *t)
{
	t_check(mkdir(t_path(t, "outer"), 0755) == 0);
	t_check(mkdir(t_path(t, "outer/inner"), 0755) == 0);
}

static void
group_without_limits_limits_nothing(void **state)
{
	struct t *t = *state;

	make_groups(t);
	assert_true(os_cgroup_left(t->dir, "/outer/inner") == UINT64_MAX);
	assert_true(os_cgroup_left(t->dir, "/") == UINT64_MAX);
	assert_true(os_cgroup_left(t->dir, "/not/there") == UINT64_MAX);
	write_text(t, "outer/memory.max", "max\n");
	write_number(t, "outer/memory.current", 5 * MIB);
	assert_true(os_cgroup_left(t->dir, "/outer/inner") == UINT64_MAX);
	/* A limit of which the use is not known. */
	write_number(t, "outer/inner/memory.max", 10 * MIB);
	assert_true(os_cgroup_left(t->dir, "/outer/inner") == UINT64_MAX);
}

static void
tightest_group_on_the_way_counts(void **state)
{
	struct t *t = *state;

	make_groups(t);
	write_number(t, "outer/inner/memory.max", 100 * MIB);
	write_number(t, "outer/inner/memory.current", 10 * MIB);
	assert_true(os_cgroup_left(t->dir, "/outer/inner") == 90 * MIB);
	write_number(t, "outer/memory.max", 50 * MIB);
	write_number(t, "outer/memory.current", 20 * MIB);
	assert_true(os_cgroup_left(t->dir, "/outer/inner") == 30 * MIB);
	assert_true(os_cgroup_left(t->dir, "/outer") == 30 * MIB);
	write_number(t, "memory.max", 25 * MIB);
	write_number(t, "memory.current", 20 * MIB);
	assert_true(os_cgroup_left(t->dir, "/outer/inner") == 5 * MIB);
	/* A path that is not to be seen from here: what is to be seen counts. */
	assert_true(os_cgroup_left(t->dir, "/not/there") == 5 * MIB);
	write_number(t, "memory.current", 26 * MIB);
	assert_true(os_cgroup_left(t->dir, "/outer") == 0);
}

static void
caches_are_not_counted_as_used(void **state)
{
	struct t *t = *state;

	make_groups(t);
	write_number(t, "outer/memory.max", 50 * MIB);
	write_number(t, "outer/memory.current", 40 * MIB);
	write_text(t, "outer/memory.stat",
	    "anon 1\nworkingset_inactive_file 7\ninactive_file 31457280\nactive_file 1\n");
	assert_true(os_cgroup_left(t->dir, "/outer") == 40 * MIB);
	write_text(t, "outer/memory.stat", "inactive_file 31457280\n");
	assert_true(os_cgroup_left(t->dir, "/outer") == 40 * MIB);
	/* What was used again may be needed again: half of it. */
	write_text(t, "outer/memory.stat", "inactive_file 1048576\nactive_file 10485760\n");
	assert_true(os_cgroup_left(t->dir, "/outer") == 16 * MIB);
	write_text(t, "outer/memory.stat", "active_file 10485760\n");
	assert_true(os_cgroup_left(t->dir, "/outer") == 15 * MIB);
	write_text(t, "outer/memory.stat", "inactive_file 99999999999\n");
	assert_true(os_cgroup_left(t->dir, "/outer") == 50 * MIB);
}

static void
version_one_is_read_too(void **state)
{
	struct t *t = *state;

	make_groups(t);
	write_number(t, "memory.limit_in_bytes", 9223372036854771712u);
	write_number(t, "memory.usage_in_bytes", 500 * MIB);
	write_number(t, "outer/memory.limit_in_bytes", 50 * MIB);
	write_number(t, "outer/memory.usage_in_bytes", 40 * MIB);
	write_text(t, "outer/memory.stat", "inactive_file 1\ntotal_inactive_file 1048576\n");
	assert_true(os_cgroup_left(t->dir, "/outer/inner") == 11 * MIB);
	write_text(t, "outer/memory.stat", "total_active_file 2097152\n");
	assert_true(os_cgroup_left(t->dir, "/outer/inner") == 11 * MIB);
}

static void
available_memory_is_not_more_than_the_groups_allow(void **state)
{
	(void)state;
	assert_true(os_memory_available() > 0);
	assert_true(
	    os_memory_available() <= os_memory_bytes() || os_memory_available() == UINT64_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(group_without_limits_limits_nothing),
		t_test(tightest_group_on_the_way_counts),
		t_test(caches_are_not_counted_as_used),
		t_test(version_one_is_read_too),
		t_test(available_memory_is_not_more_than_the_groups_allow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
