/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region in System V shared memory: whose a segment is: what becomes of a region whose
 * segment is gone, and that a stranger's is neither used nor removed.
 */
#include "region_t.h"

#include <sched.h>
#include <sys/shm.h>

static void
segment_that_is_gone_with_nobody_attached_is_made_anew(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r = attach_system(t);
	uint64_t id = r->layout->region_id;

	t_check(shmctl(r->segid, IPC_RMID, NULL) == 0);
	detach(r);
	spec.create = false;
	assert_int_equal(region_attach(&spec, &r), ENOENT);
	assert_true(file_copy(t).region_id == id);
	r = attach_system(t);
	assert_non_null(strstr(last_sentence, "lost"));
	assert_true(r->created && r->layout->region_id != id);
	detach(r);
}

/* ipcrm takes only the id's future: it is still there for those who come while it is in use. */
static void
segment_removed_by_somebody_is_joined_while_in_use(void **state)
{
	struct t *t = *state;
	struct region *a = attach_system(t), *b;

	t_check(shmctl(a->segid, IPC_RMID, NULL) == 0);
	b = attach_system(t);
	assert_false(b->created);
	detach(b);
	detach(a);
}

static void
segment_that_is_not_found_with_live_clients_is_eidrm(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	int32_t segid = r->segid;

	poke_field(t, segid, INT32_MAX);
	assert_int_equal(attach_system_error(t), EIDRM);
	poke_field(t, segid, segid);
	assert_int_equal(attach_system_error(t), 0);
	assert_int_equal(region_usable(r), 0);
	detach(r);
}

static void
error_of_shmat_deletes_nothing(void **state)
{
	static const int errors[] = { EACCES, ENOMEM, EPERM, EMFILE };
	struct t *t = *state;
	uint64_t id;

	detach(attach_system(t));
	id = file_copy(t).region_id;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		t_fault_always(OS_SHM, errors[i]);
		assert_int_equal(attach_system_error(t), errors[i]);
		(void)t_fault_off();
		assert_int_equal(segments(), 1);
		assert_true(file_copy(t).region_id == id);
	}
	assert_int_equal(attach_system_error(t), 0);
	assert_true(file_copy(t).region_id == id);
}

/* The id has become another's, of the same length even. */
static void
strangers_segment_is_neither_used_nor_removed(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	RLAYOUT copy = *r->layout;
	int stranger;
	char *p;

	t_check(shmctl(r->segid, IPC_RMID, NULL) == 0);
	detach(r);
	stranger = shmget(IPC_PRIVATE, copy.max - copy.region_id % os_page_size(), 0600);
	t_check(stranger != -1);
	p = shmat(stranger, NULL, 0);
	memcpy(p, &copy, sizeof(copy));
	((RLAYOUT *)(void *)p)->region_id++;
	poke_field(t, segid, stranger);

	r = attach_system(t);
	assert_true(r->created && r->segid != stranger);
	assert_int_equal(region_detach(r, true, NULL, NULL), 0);
	assert_memory_equal(p + 4096, p + 8192, 4096);
	assert_int_equal(segments(), 1);

	/* Nor by force. */
	t_write_file(t_path(t, REGION_FILE), &copy, sizeof(copy));
	poke_field(t, segid, stranger);
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
	assert_int_equal(segments(), 1);
	shmdt(p);
	t_check(shmctl(stranger, IPC_RMID, NULL) == 0);
}

/* Somebody lays a copy of the file elsewhere, for others to find. */
static void
copy_of_a_file_does_not_lead_to_its_segment(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t), *other;
	struct region_spec spec = spec_of_kind(t, true);
	RLAYOUT copy = file_copy(t);
	struct region_look look;
	uint64_t id = r->layout->region_id;
	int fd;

	spec.dir = t_path(t, "elsewhere");
	t_check(mkdir(spec.dir, 0700) == 0);
	t_write_file(t_path(t, "elsewhere/" REGION_FILE), &copy, sizeof(copy));
	fd = open(t_path(t, "elsewhere/" REGION_FILE), O_RDONLY | O_CLOEXEC);
	t_check(fd >= 0 && region_look_init(&look, fd) == 0);
	assert_null(look.segment);
	assert_int_equal(look.segment_error, EIDRM);
	region_look_fini(&look);
	close(fd);

	assert_int_equal(region_unlink_forced(&test_env, spec.dir, REGION_FILE), 0);
	assert_int_equal(access(t_path(t, "elsewhere/" REGION_FILE), F_OK), -1);
	assert_int_equal(region_usable(r), 0);
	assert_int_equal(segments(), 1);

	t_write_file(t_path(t, "elsewhere/" REGION_FILE), &copy, sizeof(copy));
	assert_int_equal(region_attach(&spec, &other), 0);
	assert_true(other->created && other->layout->region_id != id);
	assert_int_equal(region_detach(other, true, NULL, NULL), 0);
	assert_int_equal(segments(), 1);
	assert_int_equal(region_usable(r), 0);
	/* The file itself may be renamed. */
	t_check(rename(t_path(t, REGION_FILE), t_path(t, "elsewhere/" REGION_FILE)) == 0);
	assert_int_equal(region_attach(&spec, &other), 0);
	assert_true(other->layout->region_id == id);
	detach(other);
	t_check(rename(t_path(t, "elsewhere/" REGION_FILE), t_path(t, REGION_FILE)) == 0);
	detach(r);
}

static void
other_boots_segment_id_is_not_followed(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	uint8_t other[16] = { 1, 2, 3 };
	int32_t segid = r->segid;

	detach(r);
	poke(t, offsetof(RLAYOUT, boot_id), other, sizeof(other));
	r = attach_system(t);
	assert_true(r->created && r->segid != segid);
	assert_non_null(strstr(last_sentence, "earlier boot"));
	detach(r);
	assert_int_equal(segments(), 2);
	t_check(shmctl(segid, IPC_RMID, NULL) == 0);
}

static int
is_elsewhere(struct t_child *c, void *arg)
{
	struct t *t = arg;

	t_check(unshare(CLONE_NEWIPC) == 0);
	t_check(attach_system_error(t) == ENXIO);
	t_check(strstr(last_sentence, "IPC namespace") != NULL);
	t_check(region_unlink_forced(&test_env, t->dir, REGION_FILE) == ENXIO);
	t_check(exists(t));
	t_tell(c, 'e');
	t_await(c, 'g');
	t_check(attach_system_error(t) == ENXIO);
	t_check(region_unlink_forced(&test_env, t->dir, REGION_FILE) == 0);
	t_check(strstr(last_sentence, "ipcrm") != NULL);
	t_check(!exists(t));
	return 0;
}

static int
leaves_its_namespace(struct t_child *c, void *arg)
{
	(void)c;
	(void)arg;
	return unshare(CLONE_NEWIPC) == -1;
}

static void
another_ipc_namespace_is_enxio(void **state)
{
	struct t *t = *state;
	struct region *r;
	struct t_child c;
	int32_t segid;

	t_fork(&c, leaves_its_namespace, NULL);
	if (t_join(&c) != 0)
		t_skip("no right to make an IPC namespace");
	r = attach_system(t);
	segid = r->segid;
	t_fork(&c, is_elsewhere, t);
	t_await(&c, 'e');
	assert_int_equal(region_usable(r), 0);
	detach(r);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	t_check(shmctl(segid, IPC_RMID, NULL) == 0);
}

static void
segment_that_others_may_write_is_refused_to_root(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);

	if (geteuid() != 0)
		t_skip("about root");
	t_check(os_shm_own(r->segid, 0, 0, 0666) == 0);
	assert_int_equal(attach_system_error(t), EPERM);
	t_check(os_shm_own(r->segid, 1, 1, 0600) == 0);
	assert_int_equal(attach_system_error(t), EPERM);
	t_check(os_shm_own(r->segid, 0, 0, 0600) == 0);
	assert_int_equal(attach_system_error(t), 0);
	detach(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(segment_that_is_gone_with_nobody_attached_is_made_anew),
		segment_test(segment_removed_by_somebody_is_joined_while_in_use),
		segment_test(segment_that_is_not_found_with_live_clients_is_eidrm),
		segment_test(error_of_shmat_deletes_nothing),
		segment_test(strangers_segment_is_neither_used_nor_removed),
		segment_test(copy_of_a_file_does_not_lead_to_its_segment),
		segment_test(other_boots_segment_id_is_not_followed),
		segment_test(another_ipc_namespace_is_enxio),
		segment_test(segment_that_others_may_write_is_refused_to_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
