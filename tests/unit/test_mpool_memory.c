/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: where a pool's memory is (DB_SYSTEM_MEM, region_dir, region_init), and that one home
 * has one pool wherever that is.
 */
#include "pool_t.h"

#include "base/os_shm.h"
#include "region/region.h"

#define PAGE 1024
#define FILE_NAME "data"

static int
count_one(const struct os_segment *segment, void *arg)
{
	(void)segment;
	++*(int *)arg;
	return 0;
}

/* In this IPC namespace, which is this program's own. */
static int
segments(void)
{
	int n = 0;

	t_check(os_shm_each(count_one, &n) == 0);
	return n;
}

static DB_ENV *
system_env(const struct t *t)
{
	DB_ENV *env = env_of(t, 64 * KIB);

	env->region_flags = DB_SYSTEM_MEM;
	return env;
}

static bool
is_there(const struct t *t, const char *name)
{
	return access(t_path(t, name), F_OK) == 0;
}

static off_t
file_bytes(const struct t *t, const char *name)
{
	struct stat st;

	t_check(stat(t_path(t, name), &st) == 0);
	return st.st_size;
}

static void
put_dirty(DB_MPOOL *mp, char byte)
{
	DB_MPOOLFILE *f;
	db_pgno_t pgno = 0;
	char *page;

	must(memp_fopen(mp, FILE_NAME, 0, DB_CREATE, 0600, PAGE, -1, NULL, NULL, &f));
	must(memp_fget(f, &pgno, DB_MPOOL_CREATE, (void **)&page));
	memset(page, byte, PAGE);
	must(memp_fput(f, page, DB_MPOOL_DIRTY));
	must(memp_fclose(f));
}

static char
read_byte(DB_MPOOL *mp)
{
	DB_MPOOLFILE *f;
	db_pgno_t pgno = 0;
	char *page, byte;

	must(memp_fopen(mp, FILE_NAME, 0, 0, 0, PAGE, -1, NULL, NULL, &f));
	must(memp_fget(f, &pgno, 0, (void **)&page));
	byte = page[PAGE - 1];
	must(memp_fput(f, page, 0));
	must(memp_fclose(f));
	return byte;
}

static void
system_memory_pool_keeps_dirty_pages_between_its_clients(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with(system_env(t), 0);

	assert_int_equal(file_bytes(t, REGION_NAME), sizeof(RLAYOUT));
	assert_int_equal(segments(), 1);
	put_dirty(mp, 's');
	must(memp_close(mp));
	/* Who joins need not know. */
	mp = pool_of(t, 64 * KIB);
	assert_int_equal(read_byte(mp), 's');
	finish(mp);
	must(memp_unlink(NULL, 0, &test_env));
	assert_int_equal(segments(), 0);
	assert_false(is_there(t, REGION_NAME));
	assert_int_equal(file_bytes(t, FILE_NAME), PAGE);
}

static void
system_memory_pool_goes_with_env_remove_and_by_force(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_with(system_env(t), 0);

	refuses(env_remove(NULL, 0, &test_env), EBUSY);
	must(memp_close(mp));
	must(env_remove(NULL, 0, &test_env));
	assert_int_equal(segments(), 0);

	mp = pool_with(system_env(t), 0);
	put_dirty(mp, 'l');
	must(memp_unlink(NULL, 1, &test_env));
	assert_non_null(strstr(heard, "1 dirty page"));
	refuses(memp_sync(mp, NULL), ESTALE);
	(void)memp_close(mp);
	assert_int_equal(segments(), 0);
}

static void
private_and_system_memory_together_are_einval(void **state)
{
	struct t *t = *state;
	DB_ENV *env = system_env(t);
	DB_MPOOL *mp;

	env->region_flags |= DB_PRIVATE;
	refuses(memp_open(NULL, DB_CREATE, 0, env, &mp), EINVAL);
}

static void
pool_of_populated_pages_works(void **state)
{
	struct t *t = *state;
	DB_ENV *env = system_env(t);

	for (int system = 0; system < 2; system++) {
		env->region_flags = system != 0 ? DB_SYSTEM_MEM : 0;
		env->region_init = 1;
		DB_MPOOL *mp = pool_with(env, 0);
		put_dirty(mp, 'p');
		assert_int_equal(read_byte(mp), 'p');
		finish(mp);
		must(memp_unlink(NULL, 0, env));
	}
	assert_int_equal(segments(), 0);
}

/* --- region_dir ---------------------------------------------------------------------------- */

static void
region_dir_is_where_the_region_is(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 64 * KIB);
	char *absolute = strdup(t_path(t, "absolute"));
	const char *dirs[] = { "relative", absolute };
	DB_MPOOL *mp;

	for (size_t i = 0; i < 2; i++) {
		env->region_dir = dirs[i];
		t_check(mkdir(t_path(t, i == 0 ? "relative" : "absolute"), 0700) == 0);
		mp = pool_with(env, 0);
		assert_false(is_there(t, REGION_NAME));
		assert_true(
		    is_there(t, i == 0 ? "relative/" REGION_NAME : "absolute/" REGION_NAME));
		put_dirty(mp, 'r');
		must(memp_close(mp));
		must(memp_unlink(NULL, 0, env));
		refuses(memp_unlink(NULL, 0, env), ENOENT);
		/* Files are found from db_home all the same. */
		assert_int_equal(file_bytes(t, FILE_NAME), PAGE);
	}
	mp = pool_with(env, 0);
	must(memp_close(mp));
	must(env_remove(NULL, 0, env));
	assert_false(is_there(t, "absolute/" REGION_NAME));
	env->region_dir = "none";
	refuses(memp_open(NULL, DB_CREATE, 0, env, &mp), ENOENT);
	free(absolute);
}

/* By other paths, and from the home alone, it is the same pool. */
static void
one_home_has_one_pool_wherever_its_region_is(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 64 * KIB), other;
	DB_MPOOL *a, *b, *c;

	t_check(mkdir(t_path(t, "one"), 0700) == 0 && mkdir(t_path(t, "two"), 0700) == 0);
	t_check(symlink("one", t_path(t, "link")) == 0);
	other = *env;
	env->region_dir = "one";
	a = pool_with(env, 0);
	other.region_dir = "link";
	b = pool_with(&other, 0);
	other.region_dir = "two";
	refuses(memp_open(NULL, DB_CREATE, 0, &other, &c), EBUSY);
	assert_non_null(strstr(heard, "same home"));
	assert_false(is_there(t, "two/" REGION_NAME));
	must(memp_close(a));
	refuses(memp_open(NULL, DB_CREATE, 0, &other, &c), EBUSY);
	must(memp_close(b));
	refuses(memp_open(NULL, DB_CREATE, 0, &other, &c), EBUSY);
	assert_non_null(strstr(heard, "have to be removed"));
	other.region_dir = NULL;
	must(memp_unlink(NULL, 0, &other));
	assert_false(is_there(t, "one/" REGION_NAME));
	other.region_dir = "two";
	must(memp_open(NULL, DB_CREATE, 0, &other, &c));
	refuses(memp_open(NULL, 0, 0, env, &a), EBUSY);
	must(memp_close(c));
}

/* With no more than db_home, or the directory as an argument. */
static void
region_is_found_from_its_home_alone(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 64 * KIB), plain = *env;
	DB_MPOOL *a, *b, *c;

	t_check(mkdir(t_path(t, "one"), 0700) == 0);
	env->region_dir = "one";
	a = pool_with(env, 0);
	must(memp_open(NULL, 0, 0, &plain, &b));
	must(memp_open(t->dir, 0, 0, NULL, &c));
	assert_int_equal(stat_of(a).st_clients, 3);
	must(memp_close(c));
	must(memp_close(b));
	put_dirty(a, 'h');
	refuses(memp_unlink(t->dir, 0, NULL), EBUSY);
	must(memp_close(a));
	must(memp_open(NULL, DB_CREATE, 0, &plain, &b));
	assert_int_equal(read_byte(b), 'h');
	must(memp_close(b));
	must(env_remove(t->dir, 0, NULL));
	assert_int_equal(file_bytes(t, FILE_NAME), PAGE);
	assert_false(is_there(t, "one/" REGION_NAME));
	/* And now it is nowhere: the next one is in the home. */
	must(memp_open(NULL, DB_CREATE, 0, &plain, &b));
	assert_true(is_there(t, REGION_NAME));
	must(memp_close(b));
}

/* Whatever the home says: by force it says nothing any more. */
static void
force_removes_what_leads_nowhere(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 64 * KIB);
	const char *pointer = t_path(t, "__db_regions");
	struct stat st;
	DB_MPOOL *mp;

	for (int i = 0; i < 2; i++) {
		if (i == 0)
			t_check(symlink("nowhere", pointer) == 0);
		else
			t_write_file(pointer, "", 0);
		refuses(memp_open(NULL, DB_CREATE, 0, env, &mp), i == 0 ? ENOENT : EPERM);
		refuses(memp_unlink(NULL, 0, env), i == 0 ? ENOENT : EPERM);
		must(memp_unlink(NULL, 1, env));
		assert_int_equal(lstat(pointer, &st), -1);
	}
	mp = pool_with(env, 0);
	must(memp_close(mp));
}

/* The region is found by its directory alone. */
static void
two_homes_in_one_region_dir_share_its_pool(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 64 * KIB), other = *env;
	char *home = strdup(t_path(t, "home"));
	DB_MPOOL *a, *b;

	t_check(mkdir(home, 0700) == 0);
	env->region_dir = t->dir;
	other.db_home = home;
	other.region_dir = t->dir;
	a = pool_with(env, 0);
	b = pool_with(&other, 0);
	assert_int_equal(stat_of(a).st_clients, 2);
	must(memp_close(a));
	must(memp_close(b));
	free(home);
}

/* What is left of the pool is zeros, and none of them reaches a file. */
static int
loses_its_region(struct t_child *c, void *arg)
{
	struct t *t = arg;
	DB_ENV *env = env_of(t, 64 * KIB);
	db_pgno_t pgno = 1;
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;
	void *page;

	(void)c;
	env->region_flags = DB_REGION_GUARD;
	t_check(memp_open(NULL, DB_CREATE, 0, env, &mp) == 0);
	t_check(memp_fopen(mp, FILE_NAME, 0, 0, 0, PAGE, -1, NULL, NULL, &f) == 0);
	t_check(memp_fget(f, &pgno, 0, &page) == 0);
	memset(page, 'b', PAGE);
	t_check(memp_fput(f, page, DB_MPOOL_DIRTY) == 0);
	/* The pages are the last of it. */
	t_check(truncate(t_path(t, "__db_mpool.share"),
		    file_bytes(t, "__db_mpool.share") - (off_t)(64 * KIB)) == 0);
	t_check(memp_fsync(f) == EIO);
	t_check(memp_fget(f, &pgno, 0, &page) == DB_RUNRECOVERY);
	t_check(memp_sync(mp, NULL) == DB_RUNRECOVERY);
	(void)memp_fclose(f);
	(void)memp_close(mp);
	return 0;
}

static void
pool_whose_region_file_is_truncated_writes_no_zeros(void **state)
{
	struct t *t = *state;
	char old[4 * PAGE], *now;
	struct t_child c;
	size_t n;

	memset(old, 'a', sizeof(old));
	t_write_file(t_path(t, FILE_NAME), old, sizeof(old));
	t_fork(&c, loses_its_region, t);
	assert_int_equal(t_join(&c), 0);
	now = t_read_file(t_path(t, FILE_NAME), &n);
	assert_int_equal(n, sizeof(old));
	assert_memory_equal(now, old, n);
	free(now);
	assert_int_equal(memp_unlink(t->dir, 1, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(system_memory_pool_keeps_dirty_pages_between_its_clients),
		t_test(system_memory_pool_goes_with_env_remove_and_by_force),
		t_test(private_and_system_memory_together_are_einval),
		t_test(pool_of_populated_pages_works),
		t_test(region_dir_is_where_the_region_is),
		t_test(one_home_has_one_pool_wherever_its_region_is),
		t_test(region_is_found_from_its_home_alone),
		t_test(force_removes_what_leads_nowhere),
		t_test(two_homes_in_one_region_dir_share_its_pool),
		t_test(pool_whose_region_file_is_truncated_writes_no_zeros),
	};

	if (unshare(CLONE_NEWIPC) != 0) {
		(void)printf("1..0 # SKIP no IPC namespace of its own: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
