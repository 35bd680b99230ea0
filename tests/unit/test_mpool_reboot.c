/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool after a restart of the machine, which is a region with another boot's id: it is made
 * anew, and what went with it is counted; files keep what was written.
 */
#include "../pool_t.h"

#include <poolfs/lock.h>

#include "region/rlayout.h"

#define PS 4096u
#define BYTES (64 * KIB)

/* As the next boot finds them: the region's file, and no segment. */
static void
reboot(const struct t *t, const char *region)
{
	static const uint8_t earlier[16] = "an earlier boot";

	t_poke(t_path(t, region), offsetof(RLAYOUT, boot_id), earlier, sizeof(earlier));
}

static void
leave_pages(const struct t *t, db_pgno_t n, bool synced)
{
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (db_pgno_t i = 0; i < n; i++)
		fill(f, i, 'p');
	must(memp_fclose(f));
	if (synced)
		must(memp_sync(mp, NULL));
	must(memp_close(mp));
}

/* A segment that is gone cannot be counted. */
static void
expect_sentence(const char *counted)
{
	const char *wanted = in_system_memory() ? "what was unwritten is lost" : counted;

	if (strstr(heard, "earlier boot") == NULL || strstr(heard, wanted) == NULL)
		fail_msg("does not say %s: %s", wanted, heard);
}

static void
reboot_loses_what_was_not_written_and_says_how_much(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp;

	leave_pages(t, 2, true);
	leave_pages(t, 5, false);
	reboot(t, REGION_NAME);
	refuses(memp_open(NULL, 0, 0, env_of(t, BYTES), &mp), ENOENT);
	mp = pool_of(t, BYTES);
	expect_sentence("5 unwritten pages are lost");
	assert_int_equal(resident(mp), 0);
	finish(mp);
	assert_true(on_disk(t_path(t, "f"), 1, PS, 'p'));
}

static void
reboot_after_a_sync_and_a_close_loses_nothing_and_is_silent(void **state)
{
	struct t *t = *state;
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;

	leave_pages(t, 5, true);
	reboot(t, REGION_NAME);
	mp = pool_of(t, BYTES);
	assert_int_equal(sentences, 0);
	f = file_of(mp, "f", PS);
	for (db_pgno_t i = 0; i < 5; i++)
		holds(f, i, 'p');
	must(memp_fclose(f));
	finish(mp);
}

static int
puts_and_dies(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	for (db_pgno_t i = 0; i < 3; i++)
		fill(f, i, 'd');
	t_tell(c, 'd');
	t_await(c, 'e');
	return 0;
}

/* As with the power: nobody has closed anything. */
static void
reboot_under_a_client_says_how_much_is_lost(void **state)
{
	struct t *t = *state;
	struct t_child c;

	leave_pages(t, 1, true);
	t_fork(&c, puts_and_dies, t);
	t_await(&c, 'd');
	t_kill(&c);
	reboot(t, REGION_NAME);
	finish(pool_of(t, BYTES));
	expect_sentence("3 unwritten pages are lost");
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'p'));
}

static void
reboot_leaves_nothing_of_a_lock_table_and_is_silent(void **state)
{
	struct t *t = *state;
	DB_LOCKTAB *lt;

	must(lock_open(NULL, DB_CREATE, 0, env_of(t, 0), &lt));
	must(lock_close(lt));
	reboot(t, "__db_lock.share");
	must(lock_open(NULL, DB_CREATE, 0, &test_env, &lt));
	assert_int_equal(sentences, 0);
	must(lock_close(lt));
	must(lock_unlink(NULL, 0, &test_env));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(reboot_loses_what_was_not_written_and_says_how_much),
		t_test(reboot_after_a_sync_and_a_close_loses_nothing_and_is_silent),
		t_test(reboot_under_a_client_says_how_much_is_lost),
		t_test(reboot_leaves_nothing_of_a_lock_table_and_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
