/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poolfs/region.h: the application's regions, in files and (TEST_MEMORY=system) in segments.
 */
#include "memory_t.h"
#include "t.h"

#include <errno.h>
#include <fcntl.h>
#include <poolfs/mpool.h>
#include <poolfs/region.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomics.h"
#include "region/memr.h"

#define KIB ((size_t)1024)
#define MAX (1024 * KIB)

static char last_sentence[2048];

static void *
hear(char *prefix, char *buffer)
{
	(void)prefix;
	(void)snprintf(last_sentence, sizeof(last_sentence), "%s", buffer);
	return NULL;
}

static DB_ENV env;

static int
setup(void **state)
{
	env = (DB_ENV){ .db_errcall = hear, .region_max = MAX };
	if (in_system_memory())
		env.region_flags = DB_SYSTEM_MEM;
	return t_setup(state);
}

static int
teardown(void **state)
{
	struct t *t = *state;

	(void)memr_unlink(t->dir, "a", 1, NULL);
	return t_teardown(state);
}

#define memr_test(fn)                                                                              \
	{                                                                                          \
#fn, fn, setup, teardown, (void *)#fn                                              \
	}

static DB_REGION *
open_a(const struct t *t)
{
	DB_REGION *reg = NULL;
	int ret = memr_open(t->dir, "a", DB_CREATE, 0, 64 * KIB, &env, &reg);

	if (ret != 0)
		(void)dprintf(STDOUT_FILENO, "# %s: %s\n", db_strerror(ret), last_sentence);
	t_check(ret == 0);
	return reg;
}

static uint8_t *
at(DB_REGION *reg, uint64_t offset)
{
	void *addr = NULL;

	t_check(memr_addr(reg, offset, 8, &addr) == 0);
	return addr;
}

static void
close_it(DB_REGION *reg)
{
	t_check(memr_close(reg) == 0);
}

static bool
exists(const struct t *t)
{
	return access(t_path(t, "__db_a.share"), F_OK) == 0;
}

/* --- open, close, unlink ------------------------------------------------------------------- */

static void
region_begins_as_zeros_and_is_shared(void **state)
{
	struct t *t = *state;
	DB_REGION *a = open_a(t), *b = NULL;
	void *addr;
	size_t i;

	assert_int_equal(memr_open(t->dir, "a", 0, 0, 0, &env, &b), 0);
	assert_int_equal(memr_addr(a, 0, 64 * KIB, &addr), 0);
	assert_int_equal((uintptr_t)addr % 4096, 0);
	for (i = 0; i < 64 * KIB; i++)
		assert_int_equal(((uint8_t *)addr)[i], 0);
	memcpy(at(a, 64 * KIB - 8), "the end", 8);
	assert_string_equal((char *)at(b, 64 * KIB - 8), "the end");
	assert_int_equal(memr_addr(a, 64 * KIB, 1, &addr), EINVAL);
	assert_int_equal(memr_addr(a, 1, 64 * KIB, &addr), EINVAL);
	assert_int_equal(memr_addr(a, UINT64_MAX - 7, 8, &addr), EINVAL);
	assert_int_equal(memr_addr(a, 8, SIZE_MAX - 7, &addr), EINVAL);
	close_it(a);
	close_it(b);
	assert_true(exists(t));
	a = open_a(t);
	assert_string_equal((char *)at(a, 64 * KIB - 8), "the end");
	close_it(a);
	assert_int_equal(memr_close(NULL), 0);
}

static void
arguments_that_mean_nothing_are_einval(void **state)
{
	static const char *const names[] = { NULL, "", "a/b", "..a/", "mpool", "lock", "a b",
		"\xc3", "12345678901234567890123456789012345678901234567890123456789012345" };
	struct t *t = *state;
	DB_REGION *reg = (DB_REGION *)&env;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(memr_open(t->dir, names[i], DB_CREATE, 0, 0, &env, &reg), EINVAL);
		assert_int_equal(memr_unlink(t->dir, names[i], 1, &env), EINVAL);
	}
	assert_int_equal(memr_open(t->dir, "a", DB_CREATE | 2, 0, 0, &env, &reg), EINVAL);
	assert_int_equal(memr_open(t->dir, "a", DB_CREATE, 0, SIZE_MAX, &env, &reg), EINVAL);
	assert_int_equal(memr_open(t->dir, "a", DB_CREATE, 0, 0, &env, NULL), EINVAL);
	assert_int_equal(memr_open(t->dir, "a", 0, 0, 0, &env, &reg), ENOENT);
	assert_int_equal(memr_open(t_path(t, "no"), "a", DB_CREATE, 0, 0, &env, &reg), ENOENT);
	env.region_flags = DB_PRIVATE | DB_SYSTEM_MEM;
	assert_int_equal(memr_open(t->dir, "a", DB_CREATE, 0, 0, &env, &reg), EINVAL);
	assert_ptr_equal(reg, &env);
	assert_false(exists(t));
}

static void
sizes_are_default_rounded_and_grown_to_what_a_joiner_asks(void **state)
{
	struct t *t = *state;
	DB_REGION *a, *b = NULL;
	DB_REGION_STAT st;

	assert_int_equal(memr_open(t->dir, "a", DB_CREATE, 0, 0, &env, &a), 0);
	assert_int_equal(memr_stat(a, &st), 0);
	assert_true(st.st_bytes == 64 * KIB && st.st_max == MAX);
	assert_int_equal(memr_open(t->dir, "a", 0, 0, 1, &env, &b), 0);
	close_it(b);
	assert_int_equal(memr_stat(a, &st), 0);
	assert_true(st.st_bytes == 64 * KIB && st.st_refcnt == 1);
	assert_int_equal(memr_open(t->dir, "a", 0, 0, 100 * KIB + 1, &env, &b), 0);
	assert_int_equal(memr_stat(a, &st), 0);
	assert_true(st.st_bytes == 104 * KIB && st.st_refcnt == 2);
	*at(b, 104 * KIB - 8) = 9;
	assert_int_equal(*at(a, 104 * KIB - 8), 9);
	close_it(b);
	assert_int_equal(memr_open(t->dir, "a", 0, 0, MAX + 1, &env, &b), ENOMEM);
	assert_int_equal(memr_stat(a, &st), 0);
	assert_true(st.st_refcnt == 1 && st.st_bytes == 104 * KIB);
	close_it(a);
}

static void
region_grows_and_shrinks_for_all_where_it_is(void **state)
{
	struct t *t = *state;
	DB_REGION *a = open_a(t), *b = open_a(t);
	uint8_t *was = at(a, 0);
	DB_REGION_STAT st;
	void *addr;

	assert_int_equal(memr_grow(a, MAX), 0);
	assert_int_equal(memr_grow(b, 1), 0);
	assert_ptr_equal(at(a, 0), was);
	memset(at(b, MAX - 8), 'x', 8);
	assert_int_equal(memr_grow(a, MAX + 1), ENOMEM);
	assert_int_equal(memr_grow(a, SIZE_MAX), ENOMEM);
	assert_int_equal(memr_shrink(b, 128 * KIB), 0);
	assert_int_equal(memr_addr(a, 128 * KIB - 7, 8, &addr), EINVAL);
	assert_int_equal(memr_shrink(b, SIZE_MAX), 0);
	assert_int_equal(memr_grow(a, MAX), 0);
	assert_int_equal(*at(b, MAX - 8), 0);
	assert_int_equal(memr_shrink(a, 0), 0);
	assert_int_equal(memr_addr(b, 0, 1, &addr), EINVAL);
	assert_int_equal(memr_stat(b, &st), 0);
	assert_true(st.st_bytes == 0 && st.st_resized == 4);
	close_it(a);
	close_it(b);
}

static int
holds_it_open(struct t_child *c, void *arg)
{
	DB_REGION *reg = open_a(arg);

	t_tell(c, 'o');
	t_await(c, 'g');
	t_check(memr_close(reg) == 0);
	return 0;
}

static void
unlink_is_refused_for_the_living_only(void **state)
{
	struct t *t = *state;
	struct t_child c;

	assert_int_equal(memr_unlink(t->dir, "a", 0, &env), ENOENT);
	assert_int_equal(memr_unlink(t->dir, "a", 1, &env), 0);
	t_fork(&c, holds_it_open, t);
	t_await(&c, 'o');
	assert_int_equal(memr_unlink(t->dir, "a", 0, &env), EBUSY);
	assert_true(exists(t));
	t_kill(&c);
	assert_int_equal(memr_unlink(t->dir, "a", 0, &env), 0);
	assert_false(exists(t));
}

static void
removed_by_force_is_estale_at_every_call(void **state)
{
	struct t *t = *state;
	DB_REGION *a = open_a(t), *b;
	DB_REGION_STAT st;
	u_int64_t offset;
	void *addr;

	assert_int_equal(memr_unlink(t->dir, "a", 1, &env), 0);
	assert_int_equal(memr_addr(a, 0, 8, &addr), ESTALE);
	assert_int_equal(memr_grow(a, MAX), ESTALE);
	assert_int_equal(memr_shrink(a, 0), ESTALE);
	assert_int_equal(memr_lock(a), ESTALE);
	assert_int_equal(memr_heap(a, 0, 4096), ESTALE);
	assert_int_equal(memr_alloc(a, 8, 8, &offset), ESTALE);
	assert_int_equal(memr_free(a, 8), ESTALE);
	assert_int_equal(memr_stat(a, &st), 0);
	assert_int_equal(st.st_error, ESTALE);
	b = open_a(t);
	assert_int_equal(*at(b, 0), 0);
	close_it(a);
	assert_true(exists(t));
	close_it(b);
}

static void
lastdetach_and_temporary_regions_go_with_their_last_user(void **state)
{
	struct t *t = *state;
	char *old = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
	DB_REGION *a, *b;
	int i;

	for (i = 0; i < 2; i++) {
		const char *dir = i == 0 ? t->dir : NULL;

		setenv("TMPDIR", t->dir, 1);
		assert_int_equal(
		    memr_open(dir, "a", DB_CREATE | (i == 0 ? DB_LASTDETACH : 0), 0, 0, &env, &a),
		    0);
		assert_int_equal(memr_open(dir, "a", 0, 0, 0, &env, &b), 0);
		assert_true(exists(t));
		close_it(a);
		assert_true(exists(t));
		*at(b, 0) = 1;
		close_it(b);
		assert_false(exists(t));
	}
	if (old != NULL)
		setenv("TMPDIR", old, 1);
	else
		unsetenv("TMPDIR");
	free(old);
}

static void
private_region_has_no_file(void **state)
{
	struct t *t = *state;
	DB_REGION *a, *b;
	u_int64_t offset;

	assert_int_equal(memr_open(NULL, "a", 0, 0, 0, NULL, &a), 0);
	env.region_flags = DB_PRIVATE;
	assert_int_equal(memr_open(t->dir, "a", 0, 0, 0, &env, &b), 0);
	assert_false(exists(t));
	*at(a, 0) = 1;
	assert_int_equal(*at(b, 0), 0);
	assert_int_equal(memr_grow(b, MAX), 0);
	*at(b, MAX - 8) = 1;
	assert_int_equal(memr_lock(b), 0);
	assert_int_equal(memr_unlock(b), 0);
	assert_int_equal(memr_heap(b, 4096, 8192), 0);
	assert_int_equal(memr_alloc(b, 100, 64, &offset), 0);
	assert_true(offset >= 4096 && offset + 100 <= 4096 + 8192 && offset % 64 == 0);
	close_it(a);
	close_it(b);
}

static int
uses_its_parents(struct t_child *c, void *arg)
{
	DB_REGION *reg = arg;
	DB_REGION_STAT st;
	u_int64_t offset;
	void *addr;

	(void)c;
	t_check(memr_addr(reg, 0, 8, &addr) == EINVAL && memr_grow(reg, MAX) == EINVAL);
	t_check(memr_shrink(reg, 0) == EINVAL && memr_lock(reg) == EINVAL);
	t_check(memr_unlock(reg) == EINVAL && memr_heap(reg, 0, 4096) == EINVAL);
	t_check(memr_alloc(reg, 8, 8, &offset) == EINVAL && memr_free(reg, 8) == EINVAL);
	t_check(memr_stat(reg, &st) == EINVAL && memr_panic(reg, "x") == EINVAL);
	t_check(memr_close(reg) == EINVAL);
	return 0;
}

static void
forked_child_cannot_use_the_parents_region(void **state)
{
	struct t *t = *state;
	DB_REGION *reg = open_a(t);
	DB_REGION_STAT st;
	struct t_child c;

	assert_int_equal(memr_lock(reg), 0);
	t_fork(&c, uses_its_parents, reg);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(memr_unlock(reg), 0);
	assert_int_equal(memr_stat(reg, &st), 0);
	assert_true(st.st_refcnt == 1 && st.st_error == 0);
	close_it(reg);
}

/* --- the lock ------------------------------------------------------------------------------ */

#define ROUNDS 20000

static int
counts_under_the_lock(struct t_child *c, void *arg)
{
	DB_REGION *reg = open_a(arg);
	volatile uint64_t *n = (void *)at(reg, 0);
	int i;

	t_tell(c, 'r');
	t_await(c, 'g');
	for (i = 0; i < ROUNDS; i++) {
		t_check(memr_lock(reg) == 0);
		*n = *n + 1;
		t_check(memr_unlock(reg) == 0);
	}
	t_check(memr_close(reg) == 0);
	return 0;
}

static void
lock_excludes_processes(void **state)
{
	struct t *t = *state;
	DB_REGION *reg = open_a(t);
	struct t_child c[3];
	int i;

	assert_int_equal(memr_unlock(reg), EINVAL);
	for (i = 0; i < 3; i++) {
		t_fork(&c[i], counts_under_the_lock, t);
		t_await(&c[i], 'r');
	}
	for (i = 0; i < 3; i++)
		t_tell(&c[i], 'g');
	for (i = 0; i < 3; i++)
		assert_int_equal(t_join(&c[i]), 0);
	assert_int_equal(*(uint64_t *)(void *)at(reg, 0), 3 * ROUNDS);
	close_it(reg);
}

static int
keeps_the_lock(struct t_child *c, void *arg)
{
	DB_REGION *reg = open_a(arg);

	t_check(memr_lock(reg) == 0);
	t_tell(c, 'l');
	t_await(c, 'g');
	t_check(memr_close(reg) == 0);
	return 0;
}

static int
unlocks_what_is_not_there(struct t_child *c, void *arg)
{
	DB_REGION *reg = open_a(arg);

	t_check(memr_lock(reg) == 0);
	t_tell(c, 'l');
	t_await(c, 'g');
	t_check(memr_unlock(reg) == EINVAL);
	t_tell(c, 'u');
	t_await(c, 'e');
	t_check(memr_close(reg) == 0);
	return 0;
}

/* Who had it does not seem to have it for ever, once its word is damaged. */
static void
lock_that_is_damaged_under_its_holder_keeps_nobody_waiting(void **state)
{
	DB_REGION *reg = open_a(*state);
	struct t_child c;
	uint32_t owner;

	t_fork(&c, unlocks_what_is_not_there, *state);
	t_await(&c, 'l');
	owner = load_seq(&reg->body->lock.owner);
	store_seq(&reg->body->lock.owner, 0);
	t_tell(&c, 'g');
	t_await(&c, 'u');
	store_seq(&reg->body->lock.owner, owner);
	assert_int_equal(memr_lock(reg), EOWNERDEAD);
	assert_int_equal(memr_unlock(reg), 0);
	t_tell(&c, 'e');
	assert_int_equal(t_join(&c), 0);
	close_it(reg);
}

/* Killed and found at the lock; killed, and its number given to another; or closed. */
static void
lock_of_the_dead_is_told_once(void **state)
{
	struct t *t = *state;
	DB_REGION *reg = open_a(t), *other;
	struct t_child c;
	int i;

	for (i = 0; i < 3; i++) {
		t_fork(&c, keeps_the_lock, t);
		t_await(&c, 'l');
		assert_int_equal(memr_unlock(reg), EINVAL);
		if (i < 2)
			t_kill(&c);
		else {
			t_tell(&c, 'g');
			assert_int_equal(t_join(&c), 0);
		}
		other = i == 1 ? open_a(t) : NULL;
		assert_int_equal(memr_lock(reg), EOWNERDEAD);
		assert_int_equal(memr_unlock(reg), 0);
		assert_int_equal(memr_lock(reg), 0);
		assert_int_equal(memr_unlock(reg), 0);
		assert_int_equal(memr_close(other), 0);
	}
	close_it(reg);
}

/* --- the heap ------------------------------------------------------------------------------ */

static void
heap_serves_its_part_of_the_region_only(void **state)
{
	struct t *t = *state;
	DB_REGION *a = open_a(t), *b = open_a(t);
	u_int64_t offset, first = 0, n = 0;
	DB_REGION_STAT st;

	assert_int_equal(memr_alloc(a, 8, 0, &offset), ENOENT);
	assert_int_equal(memr_free(a, 8), ENOENT);
	assert_int_equal(memr_heap(a, 8, 4096), EINVAL);
	assert_int_equal(memr_heap(a, 4096, 63), EINVAL);
	assert_int_equal(memr_heap(a, 4096, 64 * KIB), EINVAL);
	assert_int_equal(memr_heap(a, 8192, 16 * KIB), 0);
	assert_int_equal(memr_heap(b, 8192, 16 * KIB), 0);
	assert_int_equal(memr_heap(b, 8192, 8 * KIB), EEXIST);
	assert_int_equal(memr_alloc(a, 8, 3, &offset), EINVAL);
	assert_int_equal(memr_alloc(a, 8, 8192, &offset), EINVAL);
	assert_int_equal(memr_alloc(a, 16 * KIB, 8, &offset), ENOMEM);
	assert_int_equal(memr_alloc(a, SIZE_MAX, 8, &offset), ENOMEM);
	while (memr_alloc(n % 2 == 0 ? a : b, 1000, 0, &offset) == 0) {
		assert_true(offset >= 8192 && offset + 1000 <= 24 * KIB);
		memset(at(a, offset), 'x', 1000);
		first = offset;
		n++;
	}
	assert_true(n >= 15);
	assert_int_equal(memr_free(a, 0), EINVAL);
	assert_int_equal(memr_free(a, first + 8), EINVAL);
	assert_int_equal(memr_free(b, first), 0);
	assert_int_equal(memr_free(a, first), EINVAL);
	assert_int_equal(memr_alloc(a, 1000, 0, &offset), 0);
	assert_true(offset == first);
	assert_int_equal(memr_shrink(a, 24 * KIB - 4096), EINVAL);
	assert_non_null(strstr(last_sentence, "heap ends at"));
	assert_int_equal(memr_shrink(a, 24 * KIB), 0);
	assert_int_equal(memr_stat(a, &st), 0);
	assert_true(st.st_heap == 16 * KIB && st.st_heapused >= 15000 && st.st_heapmost < 1000);
	close_it(a);
	close_it(b);
}

static int
allocates_for_ever(struct t_child *c, void *arg)
{
	DB_REGION *reg = open_a(arg);
	u_int64_t held[8] = { 0 };
	unsigned i;

	t_check(memr_heap(reg, 0, 32 * KIB) == 0);
	for (i = 0;; i++) {
		u_int64_t *h = &held[i * 7 % 8];

		if (*h != 0)
			t_check(memr_free(reg, *h) == 0);
		*h = 0;
		if (memr_alloc(reg, 16 + i * 37 % 900, 8, h) != 0)
			*h = 0;
		if (i == 100)
			t_tell(c, 'r');
	}
	return 0;
}

static void
heap_is_sound_whenever_a_process_was_killed_inside(void **state)
{
	struct t *t = *state;
	DB_REGION *reg = open_a(t);
	struct t_child a, b;
	u_int64_t offset;
	DB_REGION_STAT st;
	int i;

	for (i = 0; i < 30; i++) {
		t_fork(&a, allocates_for_ever, t);
		t_fork(&b, allocates_for_ever, t);
		t_await(&a, 'r');
		t_await(&b, 'r');
		t_kill(&a);
		t_kill(&b);
		assert_int_equal(memr_stat(reg, &st), 0);
		assert_true(st.st_heap == 32 * KIB && st.st_heapused <= 32 * KIB);
		if (memr_alloc(reg, 16, 8, &offset) == 0)
			assert_int_equal(memr_free(reg, offset), 0);
		/* What the dead had is nobody's: begin anew before it is all. */
		if (st.st_heapmost < 4096) {
			assert_int_equal(memr_unlink(t->dir, "a", 1, NULL), 0);
			close_it(reg);
			reg = open_a(t);
		}
	}
	close_it(reg);
}

static void
damaged_heap_panics_the_region(void **state)
{
	struct t *t = *state;
	DB_REGION *reg = open_a(t);
	u_int64_t offset;
	DB_REGION_STAT st;

	assert_int_equal(memr_heap(reg, 0, 8192), 0);
	memset(at(reg, 0), 0xee, 8192);
	assert_int_equal(memr_alloc(reg, 8, 8, &offset), DB_RUNRECOVERY);
	assert_int_equal(memr_addr(reg, 0, 8, (void **)&offset), DB_RUNRECOVERY);
	assert_int_equal(memr_stat(reg, &st), 0);
	assert_int_equal(st.st_error, DB_RUNRECOVERY);
	assert_non_null(strstr(st.st_why, "chunks"));
	close_it(reg);
}

/* --- looking ------------------------------------------------------------------------------- */

static void
look_tells_of_any_region_without_attaching(void **state)
{
	struct t *t = *state;
	DB_REGION *reg;
	DB_REGION_STAT st = { .st_error = 77 };
	DB_MPOOL *mp;

	assert_int_equal(memr_look(t->dir, "a", &env, &st), ENOENT);
	assert_int_equal(st.st_error, 77);
	reg = open_a(t);
	assert_int_equal(memr_look(t->dir, "a", &env, &st), 0);
	assert_true(st.st_error == 0 && st.st_refcnt == 1 && st.st_bytes == 64 * KIB);
	assert_true(st.st_max == MAX && st.st_id != 0 && st.st_minver == 1 && st.st_panic == 0);
	assert_int_equal(st.st_segid != -1, env.region_flags == DB_SYSTEM_MEM);
	assert_string_equal(st.st_why, "");
	close_it(reg);
	assert_int_equal(memr_look(t->dir, "a", &env, &st), 0);
	assert_int_equal(st.st_refcnt, 0);
	assert_int_equal(memp_open(t->dir, DB_CREATE, 0, &env, &mp), 0);
	assert_int_equal(memr_look(t->dir, "mpool", &env, &st), 0);
	assert_true(st.st_error == 0 && st.st_refcnt == 1 && st.st_bytes > 20 * KIB);
	assert_int_equal(memp_close(mp), 0);
	assert_int_equal(memp_unlink(t->dir, 0, &env), 0);
}

static void
panic_stops_everybody_and_is_told_to_who_looks(void **state)
{
	struct t *t = *state;
	DB_REGION *a = open_a(t), *b = open_a(t), *c = NULL;
	DB_REGION_STAT st;
	void *addr;

	assert_int_equal(memr_panic(a, "the index points nowhere"), DB_RUNRECOVERY);
	assert_int_equal(memr_panic(b, "another reason"), DB_RUNRECOVERY);
	assert_int_equal(memr_addr(b, 0, 8, &addr), DB_RUNRECOVERY);
	assert_int_equal(memr_open(t->dir, "a", DB_CREATE, 0, 0, &env, &c), DB_RUNRECOVERY);
	assert_int_equal(memr_unlink(t->dir, "a", 0, &env), DB_RUNRECOVERY);
	close_it(a);
	close_it(b);
	assert_int_equal(memr_look(t->dir, "a", &env, &st), 0);
	assert_int_equal(st.st_error, DB_RUNRECOVERY);
	assert_int_equal(st.st_panic, 1);
	assert_int_equal(st.st_panicpid, getpid());
	assert_int_equal(st.st_panicuid, geteuid());
	assert_true(os_now_usec() - st.st_panictime < 60 * 1000000);
	assert_string_equal(st.st_panicname, program_invocation_short_name);
	assert_string_equal(st.st_why, "the index points nowhere");
	assert_int_equal(memr_unlink(t->dir, "a", 1, &env), 0);
	close_it(open_a(t));
}

/*
 * Every word of RLAYOUT, with what could lead astray.  Not the lock: a word that says that a living
 * client has it is what a living client may write.
 */
static void
damage_of_any_word_is_an_answer(void **state)
{
	static const uint64_t bad[] = { 0, 1, 4095, UINT64_MAX, (uint64_t)1 << 63, 0xeeeeeeee };
	struct t *t = *state;
	DB_REGION *reg = open_a(t), *other;
	uint64_t *first, *word, was;
	DB_REGION_STAT st;
	u_int64_t offset;
	void *addr;
	size_t v;

	assert_int_equal(memr_heap(reg, 4096, 8192), 0);
	assert_int_equal(memr_stat(reg, &st), 0);
	/* The layout begins whole pages before the application's bytes. */
	first = (void *)(at(reg, 0) - (st.st_regsize - st.st_bytes));
	for (word = first + 1; word < first + 312 / 8; word++)
		for (v = 0; v < sizeof(bad) / sizeof(bad[0]); v++) {
			was = *word;
			*word = bad[v];
			(void)memr_addr(reg, 0, 8, &addr);
			if (memr_alloc(reg, 8, 8, &offset) == 0)
				(void)memr_free(reg, offset);
			(void)memr_stat(reg, &st);
			(void)memr_look(t->dir, "a", &env, &st);
			if (memr_open(t->dir, "a", 0, 0, 0, &env, &other) == 0)
				(void)memr_close(other);
			*word = was;
		}
	(void)memr_unlink(t->dir, "a", 1, NULL);
	(void)memr_close(reg);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		memr_test(region_begins_as_zeros_and_is_shared),
		memr_test(arguments_that_mean_nothing_are_einval),
		memr_test(sizes_are_default_rounded_and_grown_to_what_a_joiner_asks),
		memr_test(region_grows_and_shrinks_for_all_where_it_is),
		memr_test(unlink_is_refused_for_the_living_only),
		memr_test(removed_by_force_is_estale_at_every_call),
		memr_test(lastdetach_and_temporary_regions_go_with_their_last_user),
		memr_test(private_region_has_no_file),
		memr_test(forked_child_cannot_use_the_parents_region),
		memr_test(lock_excludes_processes),
		memr_test(lock_of_the_dead_is_told_once),
		memr_test(lock_that_is_damaged_under_its_holder_keeps_nobody_waiting),
		memr_test(heap_serves_its_part_of_the_region_only),
		memr_test(heap_is_sound_whenever_a_process_was_killed_inside),
		memr_test(damaged_heap_panics_the_region),
		memr_test(look_tells_of_any_region_without_attaching),
		memr_test(panic_stops_everybody_and_is_told_to_who_looks),
		memr_test(damage_of_any_word_is_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
