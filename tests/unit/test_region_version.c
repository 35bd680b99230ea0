/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: a region that another version of the library made.  It is made anew if it was closed
 * and nothing is in it that is not in a file; else it is refused, and what is said is a way that
 * works.
 */
#include "region_t.h"

#include <signal.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <poolfs/lock.h>
#include <poolfs/mpool.h>
#include <poolfs/region.h>

#define OLD_FORMAT 3u
#define OLD_BYTES 328u /* of that format's RLAYOUT */

static uint64_t
close_region(struct region *r)
{
	uint64_t id = r->layout->region_id;

	t_check(region_detach(r, false, yes, NULL) == 0);
	return id;
}

/* The file of a segment becomes the old version's. */
static void
make_name_old(const struct t *t)
{
	poke_field(t, format, OLD_FORMAT);
	poke_field(t, layout_bytes, OLD_BYTES);
	t_check(truncate(t_path(t, REGION_FILE), OLD_BYTES) == 0);
}

/* The file, and the segment if r is one's, become the old version's. */
static void
make_old(const struct t *t, struct region *r)
{
	if (!r->is_system) {
		poke_field(t, format, OLD_FORMAT);
		return;
	}
	make_name_old(t);
	r->layout->format = OLD_FORMAT;
	r->layout->layout_bytes = OLD_BYTES;
}

/* --- made anew ----------------------------------------------------------------------------- */

static void
closed_region_of_another_version_is_made_anew(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	struct region *r;
	uint64_t id;

	for (int k = 0; k < 3; k++) {
		id = close_region(attach_kind(t, false));
		if (k == 0)
			poke_field(t, format, OLD_FORMAT);
		else if (k == 1)
			poke_field(t, format, REGION_FORMAT + 1);
		else
			poke_field(t, subsystem_stamp, STAMP + 1);
		spec.create = false;
		assert_int_equal(region_attach(&spec, &r), ENOENT);
		test_env.db_verbose = 1;
		r = attach_kind(t, false);
		test_env.db_verbose = 0;
		assert_true(r->created && r->layout->region_id != id);
		assert_non_null(strstr(last_sentence, "nothing unwritten"));
		assert_int_equal(r->layout->format, REGION_FORMAT);
		assert_int_equal(region_detach(r, true, NULL, NULL), 0);
	}
}

static mode_t
file_mode(const struct t *t)
{
	struct stat st;

	t_check(stat(t_path(t, REGION_FILE), &st) == 0);
	return st.st_mode & 07777;
}

/* The mode says so, to those who look at the file, until there is room again. */
static void
closed_segment_whose_file_has_no_room_is_not_called_closed_while_in_use(void **state)
{
	static const int no_room[] = { ENOSPC, EDQUOT };
	struct t *t = *state;
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r;
	RLAYOUT copy;
	uint64_t id;

	for (int k = 0; k < 2; k++) {
		id = close_region(attach_system(t));
		assert_int_equal(file_mode(t), 0600);
		t_fault_always(OS_PWRITE, no_room[k]);
		assert_int_equal(region_attach(&spec, &r), 0);
		assert_true(t_fault_off());
		assert_true(r->layout->region_id == id && r->layout->clean == 0);
		assert_int_equal(region_peek(t_path(t, REGION_FILE), &copy), 0);
		assert_int_equal(copy.clean, 0);
		/* as if it had died here, and the next one were of another version */
		detach(r);
		poke_field(t, format, REGION_FORMAT + 1);
		expect_refusal(t, EPROTO, "format");
		poke_field(t, format, REGION_FORMAT);
		/* there is room again */
		assert_true(close_region(attach_system(t)) == id);
		assert_int_equal(file_mode(t), 0600);
		assert_int_equal(region_peek(t_path(t, REGION_FILE), &copy), 0);
		assert_int_equal(copy.clean, 1);
	}
}

/* Who is not the file's owner may write it, and not change its mode. */
static void
closed_segment_that_was_used_on_a_full_disk_is_joined_by_another_user(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_of_kind(t, true);
	uint64_t id = close_region(attach_system(t));
	struct region *r;
	RLAYOUT copy;

	t_fault_always(OS_PWRITE, ENOSPC);
	assert_int_equal(region_attach(&spec, &r), 0);
	assert_true(close_region(r) == id);
	assert_true(t_fault_off());
	assert_int_equal(file_mode(t), 0600 | S_ISVTX);
	t_fault_always(OS_TRUNCATE, EPERM);
	assert_int_equal(region_attach(&spec, &r), 0);
	assert_true(t_fault_off());
	assert_true(r->layout->region_id == id);
	assert_int_equal(region_peek(t_path(t, REGION_FILE), &copy), 0);
	assert_int_equal(copy.clean, 0);
	assert_int_equal(region_detach(r, true, NULL, NULL), 0);
}

static int full_disk_error;

static int
full_disk(enum os_call call, const char *what)
{
	(void)what;
	return call == OS_PWRITE ? full_disk_error : call == OS_TRUNCATE ? EPERM : 0;
}

static void
closed_segment_is_not_joined_if_nothing_can_say_that_it_is_in_use(void **state)
{
	static const int errors[] = { ENOSPC, EDQUOT, EIO };
	struct t *t = *state;
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r;

	(void)close_region(attach_system(t));
	for (int k = 0; k < 3; k++) {
		full_disk_error = errors[k];
		os_fault_hook = full_disk;
		assert_int_equal(region_attach(&spec, &r), errors[k]);
		os_fault_hook = NULL;
		assert_non_null(strstr(last_sentence, "cannot write"));
	}
	assert_int_equal(region_detach(attach_system(t), true, NULL, NULL), 0);
}

static void
closed_segment_of_another_version_goes_with_its_name(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	int32_t segid = r->segid;
	void *held = shmat(segid, NULL, 0);

	t_check(held != (void *)-1);
	(void)close_region(r);
	r = attach_system(t);
	assert_false(r->created);
	(void)close_region(r);
	make_name_old(t);
	t_check(shmdt(held) == 0);
	r = attach_system(t);
	assert_true(r->created && r->segid != segid);
	assert_int_equal(segments(), 1);

	/* It is somebody's still, whoever that is. */
	segid = r->segid;
	held = shmat(segid, NULL, 0);
	(void)close_region(r);
	make_name_old(t);
	last_sentence[0] = '\0';
	r = attach_system(t);
	assert_true(r->created && r->segid != segid);
	assert_non_null(strstr(last_sentence, "ipcrm"));
	assert_int_equal(segments(), 2);
	t_check(shmctl(segid, IPC_RMID, NULL) == 0 && shmdt(held) == 0);
	detach(r);
}

static void
closed_lock_table_of_another_version_is_made_anew(void **state)
{
	struct t *t = *state;
	DB_ENV env = { .db_errcall = hear, .db_home = t->dir };
	DB_LOCKTAB *lt;
	uint32_t format = OLD_FORMAT;

	assert_int_equal(lock_open(NULL, DB_CREATE, 0600, &env, &lt), 0);
	assert_int_equal(lock_close(lt), 0);
	t_poke(t_path(t, "__db_lock.share"), offsetof(RLAYOUT, format), &format, sizeof(format));
	assert_int_equal(lock_open(NULL, DB_CREATE, 0600, &env, &lt), 0);
	assert_int_equal(lock_close(lt), 0);
	assert_int_equal(lock_unlink(NULL, 0, &env), 0);
}

/* --- refused ------------------------------------------------------------------------------- */

static int
joins_and_dies(struct t_child *c, void *arg)
{
	(void)attach_kind(arg, false);
	t_tell(c, 'j');
	t_await(c, 'e');
	return 0;
}

static void
region_of_another_version_that_was_not_closed_is_refused(void **state)
{
	struct t *t = *state;
	struct t_child c;

	(void)close_region(attach_kind(t, false));
	t_fork(&c, joins_and_dies, t);
	t_await(&c, 'j');
	t_kill(&c);
	poke_field(t, format, OLD_FORMAT);
	expect_refusal(t, EPROTO, "--force");
	expect_refusal(t, EPROTO, "poolstat --remove");
	/* As it says. */
	assert_int_equal(env_remove(t->dir, 1, &test_env), 0);
	assert_false(exists(t));
}

static void
region_of_another_version_that_is_in_use_is_refused(void **state)
{
	struct t *t = *state;
	struct region *r = attach_kind(t, false);

	store_seq(&r->layout->clean, 1);
	r->layout->format = OLD_FORMAT;
	expect_refusal(t, EPROTO, "processes use it");
	r->layout->format = REGION_FORMAT;
	detach(r);
}

static void
closed_region_that_cannot_be_compared_is_refused(void **state)
{
	struct t *t = *state;

	(void)close_region(attach_kind(t, false));
	poke_field(t, format, OLD_FORMAT - 1);
	expect_refusal(t, EPROTO, "format 2");
	poke_field(t, format, OLD_FORMAT);
	poke_field(t, pointer_bytes, 4);
	expect_refusal(t, EPROTO, "pointers of 4");
	poke_field(t, pointer_bytes, sizeof(void *));
	poke_field(t, panic, 1);
	expect_refusal(t, EPROTO, "format 3");
	poke_field(t, panic, 0);
	poke_field(t, valid, 0);
	expect_refusal(t, EPROTO, "format 3");
	poke_field(t, valid, DB_REGIONMAGIC);
	poke_field(t, byte_order, __builtin_bswap32(REGION_BYTE_ORDER));
	expect_refusal(t, EPROTO, "04030201");
	poke_field(t, byte_order, REGION_BYTE_ORDER);
	t_check(truncate(t_path(t, REGION_FILE), 100) == 0);
	expect_refusal(t, DB_RUNRECOVERY, "too short");
}

/* Its bytes are nowhere else. */
static void
applications_region_of_another_version_keeps_its_bytes(void **state)
{
	struct t *t = *state;
	DB_ENV env = { .db_errcall = hear };
	DB_REGION *reg;

	assert_int_equal(memr_open(t->dir, "test", DB_CREATE, 0600, 65536, &env, &reg), 0);
	assert_int_equal(memr_close(reg), 0);
	poke_field(t, format, OLD_FORMAT);
	assert_int_equal(memr_open(t->dir, "test", DB_CREATE, 0600, 65536, &env, &reg), EPROTO);
	assert_true(peek_file(t).format == OLD_FORMAT);
}

/* --- by force ------------------------------------------------------------------------------ */

static void
forced_unlink_of_another_versions_segment_spares_its_users(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);

	make_old(t, r);
	os_unlock(r->fd, SEGMENT_BYTE);
	last_sentence[0] = '\0';
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), EPROTO);
	assert_true(exists(t));
	detach(r);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
	assert_int_equal(segments(), 0);
}

/* In a file valid is at the same place for all. */
static void
forced_unlink_of_another_versions_file_tells_its_users(void **state)
{
	struct t *t = *state;
	struct region *r = attach_kind(t, false);

	make_old(t, r);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_int_equal(region_usable(r), ESTALE);
	detach(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(closed_region_of_another_version_is_made_anew),
		segment_test(
		    closed_segment_whose_file_has_no_room_is_not_called_closed_while_in_use),
		segment_test(closed_segment_that_was_used_on_a_full_disk_is_joined_by_another_user),
		segment_test(closed_segment_is_not_joined_if_nothing_can_say_that_it_is_in_use),
		segment_test(closed_segment_of_another_version_goes_with_its_name),
		segment_test(closed_lock_table_of_another_version_is_made_anew),
		segment_test(region_of_another_version_that_was_not_closed_is_refused),
		segment_test(region_of_another_version_that_is_in_use_is_refused),
		segment_test(closed_region_that_cannot_be_compared_is_refused),
		segment_test(applications_region_of_another_version_keeps_its_bytes),
		segment_test(forced_unlink_of_another_versions_segment_spares_its_users),
		segment_test(forced_unlink_of_another_versions_file_tells_its_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
