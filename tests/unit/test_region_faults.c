/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lock tables and applications' regions when a system call fails: each call of each kind in turn,
 * in a table (a region) that is made, grows while it is used, and is closed.  After each fault a
 * call has succeeded or has said why not; every lock that was granted is held, and nobody else's;
 * what was written is there; and everything can be opened, checked, closed and removed.
 */
#include "../lock_t.h"

#include <poolfs/region.h>

#define OBJECTS 2000 /* more than a new table has room for */
#define KIB ((size_t)1 << 10)
#define CALLS_MOST 400 /* of a kind, in a run */

static unsigned struck; /* faults so far */
static bool grown;	/* some table */

static void
name_object(char name[16], unsigned i)
{
	(void)snprintf(name, 16, "object %u", i);
}

/*
 * Each call of each kind fails in turn, until one run has met with no fault.  try_one makes and
 * uses something with that fault, and leaves nothing.
 */
static void
fail_each_call(
    struct t *t, void (*try_one)(struct t *t, enum os_call kind, unsigned n, int error))
{
	static const int errors[] = { EIO, ENOMEM, EINTR, ENOSPC };

	struck = 0;
	for (unsigned kind = 0; kind < OS_CALLS; kind++)
		for (unsigned e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
			unsigned before, n = 1;

			t_seconds(T_TEST_SECONDS);
			do {
				before = struck;
				quiet();
				try_one(t, (enum os_call)kind, n, errors[e]);
				t_check(n++ < CALLS_MOST);
			} while (struck > before);
		}
	print_message("# %u faults\n", struck);
	assert_true(struck > 20);
}

/* --- a lock table ---------------------------------------------------------------------------- */

struct holding {
	DB_LOCKTAB *lt;
	u_int32_t id;
	u_int32_t other;
	DB_LOCK locks[OBJECTS]; /* 0: not granted */
};

/* What was granted is in another's way, what was not is not. */
static void
holds_what_was_granted(struct holding *h)
{
	char name[16];
	DB_LOCK lock;
	int ret;

	for (unsigned i = 0; i < OBJECTS; i += 7) {
		name_object(name, i);
		ret = try_get(h->lt, h->other, DB_LOCK_NOWAIT, name, DB_LOCK_READ, &lock);
		t_check(ret == (h->locks[i] != 0 ? DB_LOCK_NOTGRANTED : 0));
		if (ret == 0)
			must(lock_put(h->lt, lock));
	}
}

static void
use_table(struct holding *h)
{
	DB_LOCK_STAT *st = NULL;
	char name[16];

	for (unsigned i = 0; i < OBJECTS; i++) {
		name_object(name, i);
		if (try_get(h->lt, h->id, DB_LOCK_NOWAIT, name, DB_LOCK_WRITE, &h->locks[i]) != 0)
			h->locks[i] = 0;
	}
	for (unsigned i = 0; i < OBJECTS; i += 3)
		if (h->locks[i] != 0) {
			must(lock_put(h->lt, h->locks[i]));
			h->locks[i] = 0;
		}
	(void)lock_detect(h->lt, 0, DB_LOCK_OLDEST);
	if (lock_stat(h->lt, &st, NULL) == 0)
		free(st);
}

static void
table_with_fault(struct t *t, enum os_call kind, unsigned n, int error)
{
	struct holding h = { 0 };

	t_fault(kind, n, error);
	if (lock_open(t->dir, DB_CREATE, 0, &test_env, &h.lt) != 0) {
		struck += t_fault_off() != 0;
		return;
	}
	if (lock_id(h.lt, &h.id) == 0 && lock_id(h.lt, &h.other) == 0)
		use_table(&h);
	struck += t_fault_off() != 0;
	if (h.id != 0 && h.other != 0)
		holds_what_was_granted(&h);
	must(locktab_check(h.lt));
	grown |= h.lt->region->layout->generation > 0;
	must(lock_close(h.lt));
}

static void
try_table(struct t *t, enum os_call kind, unsigned n, int error)
{
	table_with_fault(t, kind, n, error);
	finish(t, table_of(t));
}

static void
lock_table_survives_failure_of_any_call(void **state)
{
	fail_each_call(*state, try_table);
	assert_true(grown);
}

/* --- an application's region ----------------------------------------------------------------- */

static void
use_region(DB_REGION *reg)
{
	u_int64_t at = 0;
	DB_REGION_STAT st;
	uint8_t *bytes;
	int ret;

	must(memr_addr(reg, 0, 64, (void **)&bytes));
	memset(bytes, 'x', 64);
	(void)memr_heap(reg, 4096, 16 * KIB);
	if (memr_alloc(reg, 1000, 0, &at) == 0)
		must(memr_free(reg, at));
	ret = memr_grow(reg, 256 * KIB);
	must(memr_stat(reg, &st));
	t_check(st.st_bytes == (ret == 0 ? 256 * KIB : 32 * KIB));
	if (ret == 0) {
		must(memr_addr(reg, 255 * KIB, KIB, (void **)&bytes));
		t_check(bytes[0] == 0 && bytes[KIB - 1] == 0);
		(void)memr_shrink(reg, 64 * KIB);
	}
	if ((ret = memr_lock(reg)) == 0)
		must(memr_unlock(reg));
	t_check(ret == 0);
}

static void
region_with_fault(struct t *t, enum os_call kind, unsigned n, int error)
{
	DB_REGION *reg;

	t_fault(kind, n, error);
	if (memr_open(t->dir, "a", DB_CREATE, 0, 32 * KIB, &test_env, &reg) == 0) {
		use_region(reg);
		(void)memr_close(reg);
	}
	struck += t_fault_off() != 0;
}

static void
is_sound(struct t *t, bool was_made)
{
	DB_REGION *reg;
	uint8_t *bytes;

	must(memr_open(t->dir, "a", DB_CREATE, 0, 32 * KIB, &test_env, &reg));
	must(memr_addr(reg, 0, 64, (void **)&bytes));
	t_check(bytes[0] == bytes[63] && (bytes[0] == 'x' || (bytes[0] == 0 && !was_made)));
	must(memr_lock(reg));
	must(memr_unlock(reg));
	must(memr_close(reg));
	must(memr_unlink(t->dir, "a", 0, &test_env));
}

static void
try_region(struct t *t, enum os_call kind, unsigned n, int error)
{
	unsigned before = struck;

	region_with_fault(t, kind, n, error);
	is_sound(t, struck == before);
}

static void
memr_region_survives_failure_of_any_call(void **state)
{
	test_env.region_max = 1024 * KIB;
	if (in_system_memory())
		test_env.region_flags |= DB_SYSTEM_MEM;
	fail_each_call(*state, try_region);
	test_env.region_max = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_table_survives_failure_of_any_call),
		t_test(memr_region_survives_failure_of_any_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
