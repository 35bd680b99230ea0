/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: a pool is removed by force while one of its clients stands still on its way to the
 * file, and another pool is made over the same home.  Whatever the old client does when it goes
 * on, what was written through the new pool stays.  And what the home says of its regions stays
 * true for whoever comes just then.
 */
#include "../pool_t.h"
#include "../still_t.h"

#define PS 4096u
#define BYTES (64 * KIB)

/* --- writers ------------------------------------------------------------------------------- */

struct writer {
	struct t *t;
	enum os_call call;
	unsigned n;
	bool cuts;
};

/* Page 0 full of 'o' (or the file cut off), and on the way to the disk it stands still. */
static int
writes(struct t_child *c, void *arg)
{
	struct writer *w = arg;
	DB_MPOOL *mp = pool_of(w->t, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	int ret;

	fill(f, 0, 'o');
	stand_still(c, w->call, NULL, w->n, 0);
	ret = w->cuts ? memp_ftruncate(f, 0) : memp_fsync(f);
	os_fault_hook = NULL;
	t_tell_u64(c, (uint64_t)ret);
	t_await(c, 'e');
	(void)memp_fclose(f);
	(void)memp_close(mp);
	return 0;
}

static void
begin(struct writer *w, struct t_child *c)
{
	write_pages(t_path(w->t, "f"), 2, PS, 'a');
	t_fork(c, writes, w);
	t_await(c, 's');
	must(memp_unlink(NULL, 1, env_of(w->t, BYTES)));
}

/* Another pool, through which page 0 becomes 'n'. */
static DB_MPOOL *
write_anew(struct t *t)
{
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'n');
	must(memp_fsync(f));
	must(memp_fclose(f));
	return mp;
}

static void
end(struct writer *w, struct t_child *c, DB_MPOOL *mp)
{
	t_tell(c, 'e');
	assert_int_equal(t_join(c), 0);
	finish(mp);
	assert_true(on_disk(t_path(w->t, "f"), 0, PS, 'n'));
}

static void
forced_removal_a_stopped_writer_is_named_and_no_pool_comes_before_it_ends(void **state)
{
	struct writer w = { .t = *state, .call = OS_PWRITE, .n = 1 };
	char pid[32];
	struct t_child c;
	DB_MPOOL *mp;

	begin(&w, &c);
	(void)snprintf(pid, sizeof(pid), "process %d ", (int)c.pid);
	refuses(memp_open(NULL, DB_CREATE, 0, env_of(w.t, BYTES), &mp), EBUSY);
	if (strstr(heard, pid) == NULL || strstr(heard, "removed by force") == NULL)
		fail_msg("does not name %s: %s", pid, heard);
	assert_int_equal(access(t_path(w.t, REGION_NAME), F_OK), -1);
	t_tell(&c, 'g');
	must((int)t_await_u64(&c));
	assert_true(on_disk(t_path(w.t, "f"), 0, PS, 'o'));
	/* It is still attached, and in nobody's way any more. */
	end(&w, &c, write_anew(w.t));
}

static void
forced_removal_a_killed_writer_is_in_nobodys_way(void **state)
{
	struct writer w = { .t = *state, .call = OS_PWRITE, .n = 1 };
	struct t_child c;

	begin(&w, &c);
	t_kill(&c);
	finish(write_anew(w.t));
	assert_true(on_disk(t_path(w.t, "f"), 0, PS, 'n'));
}

static int
comes(struct t_child *c, void *arg)
{
	struct t *t = arg;

	/* It looks who writes; by then it has its file. */
	stand_still(c, OS_MAP, NULL, 1, 0);
	t_tell(c, 'b');
	finish(write_anew(t));
	return 0;
}

static void
comes_meanwhile(struct writer *w)
{
	struct t_child c, new;

	begin(w, &c);
	t_fork(&new, comes, w->t);
	t_await(&new, 'b');
	t_tell(&c, 'g');
	(void)t_await_u64(&c);
	t_await(&new, 's');
	t_tell(&new, 'g');
	assert_int_equal(t_join(&new), 0);
	t_tell(&c, 'e');
	assert_int_equal(t_join(&c), 0);
	assert_true(on_disk(t_path(w->t, "f"), 0, PS, 'n'));
}

static void
forced_removal_who_comes_waits_for_a_writer_to_end(void **state)
{
	struct writer w = { .t = *state, .call = OS_PWRITE, .n = 1 };

	comes_meanwhile(&w);
}

static void
forced_removal_who_comes_waits_for_a_truncation_to_end(void **state)
{
	struct writer w = { .t = *state, .call = OS_TRUNCATE, .n = 1, .cuts = true };

	comes_meanwhile(&w);
}

/*
 * It stands still before it says that it writes, at each lock and each look on the way: then it is
 * overtaken, and finds out.
 */
static void
forced_removal_who_had_not_begun_to_write_does_not(void **state)
{
	struct writer w = { .t = *state, .call = OS_LOCK, .n = 1 };
	struct t_child c;
	DB_MPOOL *mp;

	begin(&w, &c);
	mp = write_anew(w.t);
	t_tell(&c, 'g');
	assert_int_not_equal((int)t_await_u64(&c), 0);
	assert_true(on_disk(t_path(w.t, "f"), 0, PS, 'n'));
	end(&w, &c, mp);
}

static void
forced_removal_who_had_not_begun_to_cut_does_not(void **state)
{
	struct writer w = { .t = *state, .call = OS_LOCK, .n = 1, .cuts = true };
	struct t_child c;
	DB_MPOOL *mp;

	begin(&w, &c);
	mp = write_anew(w.t);
	t_tell(&c, 'g');
	assert_int_equal((int)t_await_u64(&c), ESTALE);
	assert_int_equal(disk_length(t_path(w.t, "f")), 2 * PS);
	end(&w, &c, mp);
}

static struct t_child *hearing;

static void *
stands_still_in_the_callback(char *prefix, char *sentence)
{
	struct t_child *c = hearing;

	(void)prefix;
	if (c == NULL || strstr(sentence, "cannot be written") == NULL)
		return NULL;
	hearing = NULL;
	t_tell(c, 's');
	t_await(c, 'g');
	return NULL;
}

static int
fails_to_write(struct t_child *c, void *arg)
{
	struct t *t = arg;
	DB_ENV *env = env_of(t, BYTES);
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;
	int ret;

	env->db_errcall = stands_still_in_the_callback;
	must(memp_open(NULL, DB_CREATE, 0, env, &mp));
	f = file_of(mp, "f", PS);
	fill(f, 0, 'o');
	hearing = c;
	t_fault_always(OS_PWRITE, EIO);
	ret = memp_fsync(f);
	(void)t_fault_off();
	t_tell_u64(c, (uint64_t)ret);
	(void)memp_fclose(f);
	(void)memp_close(mp);
	return 0;
}

static void
forced_removal_who_stands_in_its_error_callback_is_in_nobodys_way(void **state)
{
	struct t *t = *state;
	struct t_child c;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	t_fork(&c, fails_to_write, t);
	t_await(&c, 's');
	must(memp_unlink(NULL, 1, env_of(t, BYTES)));
	finish(write_anew(t));
	t_tell(&c, 'g');
	assert_int_equal((int)t_await_u64(&c), EIO);
	assert_int_equal(t_join(&c), 0);
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'n'));
}

/* --- what the home says -------------------------------------------------------------------- */

static DB_ENV *
env_in(const struct t *t, const char *region_dir)
{
	DB_ENV *env = env_of(t, BYTES);

	env->region_dir = region_dir;
	return env;
}

/* Follows what the home says, and stands still before its region's file is made. */
static int
follows(struct t_child *c, void *arg)
{
	DB_MPOOL *mp;
	DB_MPOOLFILE *f;

	(void)env_in(arg, NULL);
	stand_still(c, OS_OPEN, REGION_NAME, 1, 0);
	mp = pool_with(&test_env, 0);
	f = file_of(mp, "f", PS);
	fill(f, 0, 'n');
	t_tell(c, 'd');
	t_await(c, 'e');
	return 0;
}

static void
home_says_where_its_regions_are_though_its_last_was_removed_meanwhile(void **state)
{
	struct t *t = *state;
	struct t_child c;
	DB_MPOOL *mp;

	write_pages(t_path(t, "f"), 1, PS, 'a');
	t_check(mkdir(t_path(t, "r"), 0700) == 0);
	finish(pool_with(env_in(t, "r"), 0));
	t_fork(&c, follows, t);
	t_await(&c, 's');
	must(memp_unlink(NULL, 0, env_in(t, "r")));
	t_tell(&c, 'g');
	t_await(&c, 'd');
	/* Its dirty page is everybody's who only knows the home. */
	mp = pool_with(env_in(t, NULL), 0);
	t_kill(&c);
	must(memp_sync(mp, NULL));
	finish(mp);
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'n'));
	must(memp_unlink(NULL, 0, env_in(t, NULL)));
	assert_int_equal(access(t_path(t, "__db_regions"), F_OK), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(forced_removal_a_stopped_writer_is_named_and_no_pool_comes_before_it_ends),
		t_test(forced_removal_a_killed_writer_is_in_nobodys_way),
		t_test(forced_removal_who_comes_waits_for_a_writer_to_end),
		t_test(forced_removal_who_comes_waits_for_a_truncation_to_end),
		t_test(forced_removal_who_had_not_begun_to_write_does_not),
		t_test(forced_removal_who_had_not_begun_to_cut_does_not),
		t_test(forced_removal_who_stands_in_its_error_callback_is_in_nobodys_way),
		t_test(home_says_where_its_regions_are_though_its_last_was_removed_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
