/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region in System V shared memory: what becomes of a segment that its file does not lead to
 * any more, or not yet, or that a copy of the file leads to: its clients are told, and what is in
 * it is not thrown away.
 */
#include "../still_t.h"
#include "region_t.h"

#include <signal.h>
#include <sys/shm.h>

/* --- by force ------------------------------------------------------------------------------ */

static void
expect_told_by_force(struct t *t, struct region *r, const char *damage)
{
	struct region *fresh;

	if (region_unlink_forced(&test_env, t->dir, REGION_FILE) != 0)
		fail_msg("%s: not removed: %s", damage, last_sentence);
	if (region_usable(r) != ESTALE)
		fail_msg("%s: its client is not told", damage);
	assert_false(exists(t));
	fresh = attach_system(t);
	assert_true(fresh->created);
	detach(r);
	assert_int_equal(segments(), 1);
	assert_int_equal(region_detach(fresh, true, NULL, NULL), 0);
	assert_int_equal(segments(), 0);
}

static void
forced_unlink_tells_the_clients_of_a_segment_that_its_damaged_file_does_not_name(void **state)
{
	static const struct {
		size_t at;
		const char *name;
	} fields[] = { { offsetof(RLAYOUT, valid), "valid" }, { offsetof(RLAYOUT, segid), "segid" },
		{ offsetof(RLAYOUT, flags), "flags" }, { offsetof(RLAYOUT, format), "format" },
		{ offsetof(RLAYOUT, byte_order), "byte_order" },
		{ offsetof(RLAYOUT, region_id), "region_id" },
		{ offsetof(RLAYOUT, boot_id), "boot_id" }, { offsetof(RLAYOUT, max), "max" } };
	static const uint32_t bad = 0x5e5e5e5e;
	struct t *t = *state;
	struct region *r;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		r = attach_system(t);
		poke(t, fields[i].at, &bad, sizeof(bad));
		expect_told_by_force(t, r, fields[i].name);
	}
}

static void
forced_unlink_tells_the_clients_of_a_segment_whose_file_was_truncated(void **state)
{
	static const off_t lengths[] = { 0, 1, sizeof(RLAYOUT) - 1, sizeof(RLAYOUT) + 1, 65536 };
	struct t *t = *state;
	struct region *r;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		r = attach_system(t);
		t_check(truncate(t_path(t, REGION_FILE), lengths[i]) == 0);
		expect_told_by_force(t, r, "length");
	}
}

/* Neither of the two says which the other is. */
static void
forced_unlink_keeps_the_file_of_clients_whose_segment_is_not_to_be_found(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	uint64_t ino = r->layout->file_ino;

	r->layout->file_ino ^= 1;
	t_check(truncate(t_path(t, REGION_FILE), 0) == 0);
	last_sentence[0] = '\0';
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), EIDRM);
	assert_true(exists(t));
	assert_int_equal(region_usable(r), 0);
	r->layout->file_ino = ino;
	expect_told_by_force(t, r, "found again");
}

/* Nobody is there who would have to be told. */
static void
forced_unlink_removes_a_damaged_name_that_nobody_uses(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	int32_t segid = r->segid;

	detach(r);
	poke_field(t, segid, INT32_MAX);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
	t_check(shmctl(segid, IPC_RMID, NULL) == 0);
}

/* --- overtaken by force -------------------------------------------------------------------- */

static struct {
	struct t_child *c;
	enum os_call call;
	unsigned n;
	bool refused;
} remover;

/* And does not wait for him as long as the remover would. */
static int
lets_the_other_go_on(enum os_call call, const char *what)
{
	(void)what;
	if (call == OS_LOCK && !remover.refused) {
		remover.refused = true;
		return EAGAIN;
	}
	if (remover.n == 0 || call != remover.call || --remover.n != 0)
		return 0;
	t_tell(remover.c, 'g');
	t_await(remover.c, 'a');
	return 0;
}

struct creator {
	struct t *t;
	unsigned n; /* the call before which it stands still */
};

static int
creates_slowly(struct t_child *c, void *arg)
{
	struct creator *w = arg;
	struct region_spec spec = spec_of_kind(w->t, true);
	struct region *r = NULL;

	stand_still(c, OS_PWRITE, NULL, w->n, 0);
	t_check(region_attach(&spec, &r) == 0);
	os_fault_hook = NULL;
	t_tell(c, 'a');
	t_await(c, 'e');
	t_tell_u64(c, (uint64_t)region_usable(r));
	detach(r);
	return 0;
}

/*
 * The creator stands before one of its writes to the file, and comes to its end while the remover
 * stands before one of its calls.
 */
static void
overtake(struct t *t, unsigned n, enum os_call call, unsigned of_remover)
{
	struct creator w = { t, n };
	struct region *mine;
	struct t_child c;

	t_fork(&c, creates_slowly, &w);
	t_await(&c, 's');
	remover.c = &c;
	remover.call = call;
	remover.n = of_remover;
	remover.refused = false;
	os_fault_hook = lets_the_other_go_on;
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	os_fault_hook = NULL;
	t_check(remover.n == 0);
	mine = attach_system(t);
	t_tell(&c, 'e');
	/* He has what is there now, or is told that his is gone. */
	if (mine->created)
		assert_int_equal(t_await_u64(&c), ESTALE);
	else
		assert_int_equal(t_await_u64(&c), 0);
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(region_usable(mine), 0);
	assert_int_equal(region_detach(mine, true, NULL, NULL), 0);
	assert_int_equal(segments(), 0);
}

static void
creator_of_a_segment_whose_file_is_removed_meanwhile_is_told(void **state)
{
	/* Before anything is written, before the name, before valid. */
	for (unsigned n = 1; n <= 3; n++) {
		overtake(*state, n, OS_PREAD, 2);
		overtake(*state, n, OS_UNLINK, 1);
	}
}

/* --- copies -------------------------------------------------------------------------------- */

static int
attach_again(const struct t *t, bool *createdp)
{
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r;
	int ret = region_attach(&spec, &r);

	if (ret != 0)
		return ret;
	*createdp = r->created;
	detach(r);
	return 0;
}

/* As on a copy of the disk: the file has another device, and all else is the same. */
static RLAYOUT *
move_to_another_device(const struct t *t, int32_t *segidp)
{
	struct region *r = attach_system(t);
	RLAYOUT *inside = shmat(r->segid, NULL, 0);

	t_check(inside != (void *)-1);
	inside->file_dev++;
	*segidp = r->segid;
	detach(r);
	return inside;
}

static void
region_on_a_copy_of_the_disk_does_not_lead_to_the_segment_in_use(void **state)
{
	struct t *t = *state;
	int32_t segid;
	/* Attached all the time. */
	RLAYOUT *inside = move_to_another_device(t, &segid);
	struct region_look look;
	bool created = false;
	int fd;

	fd = open(t_path(t, REGION_FILE), O_RDONLY | O_CLOEXEC);
	t_check(fd >= 0 && region_look_init(&look, fd) == 0);
	assert_null(look.segment);
	region_look_fini(&look);
	close(fd);
	assert_int_equal(attach_again(t, &created), 0);
	assert_true(created);
	assert_non_null(strstr(last_sentence, "copy"));
	assert_int_equal(inside->valid, DB_REGIONMAGIC);
	assert_int_equal(segments(), 2);
	t_check(shmctl(segid, IPC_RMID, NULL) == 0 && shmdt(inside) == 0);
}

static void
segment_of_a_disk_that_has_another_number_now_is_not_thrown_away(void **state)
{
	struct t *t = *state;
	bool created = false;
	RLAYOUT *inside;
	int32_t segid;

	inside = move_to_another_device(t, &segid);
	t_check(shmdt(inside) == 0);
	last_sentence[0] = '\0';
	assert_int_equal(attach_again(t, &created), EXDEV);
	assert_non_null(strstr(last_sentence, "force"));
	inside = shmat(segid, NULL, 0);
	inside->file_dev--;
	t_check(shmdt(inside) == 0);
	assert_int_equal(attach_again(t, &created), 0);
	assert_false(created);

	inside = shmat(segid, NULL, 0);
	inside->file_dev--;
	inside->clean = 1;
	t_check(shmdt(inside) == 0);
	assert_int_equal(attach_again(t, &created), 0);
	assert_true(created);
	t_check(shmctl(segid, IPC_RMID, NULL) == 0);
}

static void
removal_by_force_on_a_copy_of_the_disk_spares_the_segment(void **state)
{
	struct t *t = *state;
	int32_t segid;
	RLAYOUT *inside = move_to_another_device(t, &segid);

	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
	assert_int_equal(inside->valid, DB_REGIONMAGIC);
	assert_int_equal(segments(), 1);
	t_check(shmctl(segid, IPC_RMID, NULL) == 0 && shmdt(inside) == 0);
}

#define T segment_test

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(forced_unlink_tells_the_clients_of_a_segment_that_its_damaged_file_does_not_name),
		T(forced_unlink_tells_the_clients_of_a_segment_whose_file_was_truncated),
		T(forced_unlink_keeps_the_file_of_clients_whose_segment_is_not_to_be_found),
		T(forced_unlink_removes_a_damaged_name_that_nobody_uses),
		T(creator_of_a_segment_whose_file_is_removed_meanwhile_is_told),
		T(region_on_a_copy_of_the_disk_does_not_lead_to_the_segment_in_use),
		T(segment_of_a_disk_that_has_another_number_now_is_not_thrown_away),
		T(removal_by_force_on_a_copy_of_the_disk_spares_the_segment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
