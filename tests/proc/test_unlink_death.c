/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core: whoever removes a pool, or all regions of a home, is killed before each of its system calls
 * in turn.  What it leaves is in nobody's way; removed gently, no dirty page is lost and no
 * application's region is half there; and whoever knows only the home comes to the same pool as who
 * knows where its regions are.
 */
#include "../pool_t.h"

#include <poolfs/lock.h>
#include <poolfs/region.h>

#include "base/os_shm.h"
#include "region/home.h"

#define PS 4096u
#define BYTES (64 * KIB)
#define MEMR_BYTES ((size_t)65536)

struct removal {
	struct t *t;
	int (*remove)(const char *dir, int force, DB_ENV *dbenv);
	int force;
	const char *region_dir; /* NULL: the home itself */
	unsigned n;		/* the call at which it dies */
};

static DB_ENV *
env_for(const struct removal *m)
{
	DB_ENV *env = env_of(m->t, BYTES);

	env->region_dir = m->region_dir;
	return env;
}

static int
byte_of(const struct removal *m)
{
	return 1 + (int)(m->n % 200);
}

/* --- before -------------------------------------------------------------------------------- */

static void
leave_application_region(const struct removal *m)
{
	DB_REGION *reg;
	void *addr;

	must(memr_open(NULL, "app", DB_CREATE, 0, MEMR_BYTES, env_for(m), &reg));
	must(memr_addr(reg, 0, MEMR_BYTES, &addr));
	memset(addr, byte_of(m), MEMR_BYTES);
	must(memr_close(reg));
}

static void
leave_regions(const struct removal *m)
{
	DB_MPOOL *mp = pool_with(env_for(m), 0);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	DB_LOCKTAB *lt;

	fill(f, 0, byte_of(m));
	must(memp_fclose(f));
	must(memp_close(mp));
	must(lock_open(NULL, DB_CREATE, 0, env_for(m), &lt));
	must(lock_close(lt));
	leave_application_region(m);
}

static int
dies(struct t_child *c, void *arg)
{
	struct removal *m = arg;
	DB_ENV *env = env_of(m->t, BYTES);

	(void)c;
	t_fault(T_FAULT_ANY, m->n, T_FAULT_KILL);
	must(m->remove(NULL, m->force, env));
	return 0;
}

/* --- after --------------------------------------------------------------------------------- */

/* Who knows the place, and who knows only the home: what one puts, the other gets. */
static void
expect_one_pool(const struct removal *m)
{
	DB_MPOOL *a = pool_with(env_for(m), 0), *b = pool_of(m->t, 0);
	DB_MPOOLFILE *fa = file_of(a, "f", PS), *fb = file_of(b, "f", PS);

	if (m->force == 0)
		holds(fa, 0, byte_of(m));
	fill(fa, 0, byte_of(m) + 1);
	holds(fb, 0, byte_of(m) + 1);
	fill(fb, 0, byte_of(m));
	must(memp_fclose(fa));
	must(memp_close(a));
	must(memp_fclose(fb));
	finish(b);
}

/* All of it, or none. */
static void
expect_whole_application_region(const struct removal *m)
{
	DB_REGION *reg;
	uint8_t *bytes;
	void *addr;
	int ret = memr_open(NULL, "app", 0, 0, MEMR_BYTES, env_of(m->t, 0), &reg);

	if (m->remove == memp_unlink || ret != ENOENT)
		must(ret);
	if (ret != 0)
		return;
	must(memr_addr(reg, 0, MEMR_BYTES, &addr));
	bytes = addr;
	for (size_t i = 0; i < MEMR_BYTES; i++)
		t_check(bytes[i] == byte_of(m));
	must(memr_close(reg));
}

static int
count_one(const struct os_segment *segment, void *arg)
{
	(void)segment;
	++*(int *)arg;
	return 0;
}

static void
expect_nothing_is_left(const struct removal *m)
{
	struct stat st;
	int n = 0;

	must(env_remove(NULL, 0, env_of(m->t, 0)));
	assert_true(on_disk(t_path(m->t, "f"), 0, PS, byte_of(m)));
	assert_int_equal(lstat(t_path(m->t, HOME_POINTER), &st), -1);
	if (!in_system_memory())
		return;
	t_check(os_shm_each(count_one, &n) == 0);
	assert_int_equal(n, 0);
}

static unsigned
die_at_every_call(struct removal *m)
{
	int status = 128 + SIGKILL;
	struct t_child c;

	for (m->n = 1; status != 0; m->n++) {
		leave_regions(m);
		t_fork(&c, dies, m);
		status = t_join(&c);
		assert_true(status == 0 || status == 128 + SIGKILL);
		expect_whole_application_region(m);
		expect_one_pool(m);
		expect_nothing_is_left(m);
		t_check(unlink(t_path(m->t, "f")) == 0);
	}
	return m->n;
}

static void
sweep(struct t *t, int (*remove)(const char *, int, DB_ENV *), int force, unsigned least)
{
	struct removal m = { .t = t, .remove = remove, .force = force };

	t_seconds(300);
	assert_true(die_at_every_call(&m) > least);
	t_check(mkdir(t_path(t, "r"), 0700) == 0);
	m.region_dir = "r";
	assert_true(die_at_every_call(&m) > least);
}

static void
pools_remover_killed_at_any_call_loses_nothing(void **state)
{
	sweep(*state, memp_unlink, 0, 40);
}

static void
pools_forced_remover_killed_at_any_call_is_in_nobodys_way(void **state)
{
	sweep(*state, memp_unlink, 1, 25);
}

static void
homes_remover_killed_at_any_call_loses_nothing(void **state)
{
	sweep(*state, env_remove, 0, 60);
}

static void
homes_forced_remover_killed_at_any_call_is_in_nobodys_way(void **state)
{
	sweep(*state, env_remove, 1, 40);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(pools_remover_killed_at_any_call_loses_nothing),
		t_test(pools_forced_remover_killed_at_any_call_is_in_nobodys_way),
		t_test(homes_remover_killed_at_any_call_loses_nothing),
		t_test(homes_forced_remover_killed_at_any_call_is_in_nobodys_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
