/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region in System V shared memory: what a segment and its file are, and what is said of them
 * when somebody looks, or when they are damaged or removed.
 */
#include "region_t.h"

#include <sys/mman.h>
#include <sys/shm.h>

/* --- what it is ---------------------------------------------------------------------------- */

static void
segment_is_named_by_a_small_file(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	RLAYOUT copy = file_copy(t);
	struct shmid_ds ds;

	assert_true(r->is_system && r->created);
	assert_int_equal(copy.valid, DB_REGIONMAGIC);
	assert_int_equal(copy.segid, r->segid);
	assert_int_equal(r->layout->segid, r->segid);
	assert_true(copy.region_id == r->layout->region_id);
	assert_memory_equal(copy.boot_id, r->layout->boot_id, sizeof(copy.boot_id));
	assert_true(copy.ipc_ns != 0 && copy.ipc_ns == (uint32_t)os_ipc_namespace());
	assert_true(r->size == REGION_BYTES && r->layout->size == REGION_BYTES);
	assert_true(r->layout->max == segment_max && r->mapped == segment_max);
	assert_int_equal(shmctl(r->segid, IPC_STAT, &ds), 0);
	assert_int_equal(ds.shm_perm.__key, IPC_PRIVATE);
	assert_int_equal(ds.shm_perm.mode & 0777, 0600);
	assert_int_equal(ds.shm_perm.uid, geteuid());
	assert_int_equal(ds.shm_nattch, 1);
	assert_int_equal(region_detach(r, true, NULL, NULL), 0);
	assert_int_equal(segments(), 0);
	assert_false(exists(t));
}

static void
joiner_learns_the_kind_from_the_file(void **state)
{
	struct t *t = *state;
	struct region *a = attach_system(t), *b = attach(t);

	assert_true(b->is_system && !b->created);
	assert_int_equal(b->layout->refcnt, 2);
	body_of(a)->users = 7;
	assert_int_equal(body_of(b)->users, 7);
	detach(b);
	assert_int_equal(region_detach(a, true, NULL, NULL), 0);

	a = attach(t);
	b = attach_system(t);
	assert_true(!b->is_system && !b->created);
	detach(a);
	detach(b);
}

static void
segment_outlives_its_clients(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);

	body_of(r)->users = 99;
	detach(r);
	r = attach(t);
	assert_false(r->created);
	assert_int_equal(body_of(r)->users, 99);
	detach(r);
}

static void
segment_has_the_files_mode_and_the_given_key(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r, *other;
	struct shmid_ds ds;
	mode_t old = umask(027);

	spec.mode = 0666;
	spec.shm_key = 0x706f6f00 + getpid() % 256;
	assert_int_equal(region_attach(&spec, &r), 0);
	(void)umask(old);
	assert_int_equal(shmctl(r->segid, IPC_STAT, &ds), 0);
	assert_int_equal(ds.shm_perm.mode & 0777, 0640);
	assert_int_equal(shmget(spec.shm_key, 0, 0), r->segid);

	spec.file = "__db_other.share";
	assert_int_equal(region_attach(&spec, &other), EEXIST);
	assert_int_equal(access(t_path(t, spec.file), F_OK), -1);
	assert_int_equal(region_detach(r, true, NULL, NULL), 0);
}

static void
segment_is_aligned_as_asked(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_of_kind(t, true);
	struct region *a, *b;

	spec.body_align = 2 << 20;
	assert_int_equal(region_attach(&spec, &a), 0);
	assert_int_equal(region_attach(&spec, &b), 0);
	assert_int_equal((uintptr_t)a->addr % (2 << 20), 0);
	assert_int_equal((uintptr_t)b->addr % (2 << 20), 0);
	assert_true(a->addr != b->addr);
	detach(a);
	detach(b);
}

static void
segment_larger_than_what_is_available_is_enomem(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r;

	spec.size = os_memory_bytes();
	spec.max = 0;
	assert_int_equal(region_attach(&spec, &r), ENOMEM);
	assert_false(exists(t));
}

static void
segment_does_without_room_to_grow_where_limits_want_it(void **state)
{
	struct t *t = *state;
	struct region *r;

	t_fault(OS_SHM, 1, ENOSPC);
	r = attach_system(t);
	assert_true(t_fault_off());
	assert_true(r->mapped == REGION_BYTES && r->layout->max == REGION_BYTES);
	assert_true(file_copy(t).max == REGION_BYTES);
	detach(r);
	detach(attach_system(t));
}

static size_t
resident_pages(const struct region *r)
{
	size_t pages = r->size / os_page_size(), n = 0;
	unsigned char in[REGION_BYTES / 4096];

	t_check(pages <= sizeof(in) && mincore(r->addr, r->size, in) == 0);
	for (size_t i = 0; i < pages; i++)
		n += in[i] & 1;
	return n;
}

/* Where there are none, a sentence says so, and the region has ordinary pages. */
static void
huge_pages_are_had_or_done_without(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_of_kind(t, true);
	struct region *a, *b;
	uint64_t huge = os_huge_page_size();

	spec.huge = true;
	sentences = 0;
	assert_int_equal(region_attach(&spec, &a), 0);
	if (a->layout->flags & REGION_HUGE) {
		assert_true(huge > 0 && a->layout->max % huge == 0);
		assert_int_equal((uintptr_t)a->addr % huge, 0);
	} else {
		assert_true(sentences > 0 && strstr(last_sentence, "huge pages") != NULL);
		assert_true(a->layout->max == segment_max);
	}
	b = attach(t);
	assert_true(b->is_system && b->mapped == a->mapped);
	body_of(a)->users = 7;
	assert_int_equal(body_of(b)->users, 7);
	assert_int_equal(region_grow(b, a->layout->max), 0);
	memset(b->addr + b->mapped - 8192, 'x', 8192);
	assert_int_equal(a->addr[a->mapped - 1], 'x');
	assert_int_equal(region_shrink(a, REGION_BYTES), 0);
	assert_int_equal(region_grow(a, a->layout->max), 0);
	assert_int_equal(b->addr[b->mapped - 1], 0);
	detach(b);
	assert_int_equal(region_detach(a, true, NULL, NULL), 0);
	assert_int_equal(segments(), 0);
}

/* Elsewhere there are only transparent ones, and no system refuses to be asked. */
static void
transparent_huge_pages_are_asked_for_on_request(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	struct region *r;

	spec.huge = true;
	for (int private = 0; private < 2; private ++) {
		spec.is_private = private != 0;
		sentences = 0;
		assert_int_equal(region_attach(&spec, &r), 0);
		assert_int_equal(sentences > 0, !os_huge_pages_granted(!private));
		assert_int_equal(region_detach(r, true, NULL, NULL), 0);
		t_fault(OS_MAP, 2 + (unsigned)private, EINVAL);
		assert_int_equal(region_attach(&spec, &r), 0);
		assert_true(t_fault_off());
		assert_non_null(strstr(last_sentence, "no huge pages"));
		assert_int_equal(region_detach(r, true, NULL, NULL), 0);
	}
}

static void
region_is_populated_only_on_request(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r;

	assert_int_equal(region_attach(&spec, &r), 0);
	assert_true(resident_pages(r) < REGION_BYTES / os_page_size());
	assert_int_equal(region_detach(r, true, NULL, NULL), 0);
	spec.populate = true;
	assert_int_equal(region_attach(&spec, &r), 0);
	assert_int_equal(resident_pages(r), REGION_BYTES / os_page_size());
	assert_int_equal(region_detach(r, true, NULL, NULL), 0);
}

/* --- force, damage, looking ---------------------------------------------------------------- */

static void
segment_removed_by_force_gives_estale(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t), *fresh;

	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_int_equal(region_usable(r), ESTALE);
	assert_false(exists(t));
	fresh = attach_system(t);
	assert_true(fresh->created);
	detach(r);
	assert_int_equal(region_usable(fresh), 0);
	assert_int_equal(segments(), 1);
	detach(fresh);
}

/* Every byte of the name, and every one of the segment's beginning, set to what it was not. */
static void
damage_of_any_byte_is_an_answer(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	RLAYOUT named = file_copy(t), inside = *r->layout;
	uint8_t byte;
	int ret;

	for (size_t i = 0; i < sizeof(named); i++) {
		byte = ((const uint8_t *)&named)[i] ^ 0xff;
		poke(t, i, &byte, 1);
		ret = attach_system_error(t);
		assert_true(ret >= 0 || ret == DB_RUNRECOVERY);
		t_write_file(t_path(t, REGION_FILE), &named, sizeof(named));
		r->addr[i] ^= 0xff;
		ret = attach_system_error(t);
		assert_true(ret >= 0 || ret == DB_RUNRECOVERY);
		memcpy(r->addr, &inside, sizeof(inside));
		/* With a live client nothing of it is a reason to make another. */
		assert_int_equal(segments(), 1);
		assert_true(file_copy(t).region_id == named.region_id);
	}
	detach(r);
}

static void
look_sees_the_bytes_of_either_kind(void **state)
{
	struct t *t = *state;
	uint8_t got[8192], *want;
	struct region_look look;
	struct region *r;
	size_t n;
	int fd;

	for (int system = 0; system < 2; system++) {
		r = system != 0 ? attach_system(t) : attach(t);
		want = r->addr + r->size - 100;
		memset(want, 'x', 100);
		fd = open(t_path(t, REGION_FILE), O_RDONLY | O_CLOEXEC);
		assert_int_equal(region_look_init(&look, fd), 0);
		assert_true(look.bytes == REGION_BYTES);
		assert_int_equal(
		    region_look_read(&look, got, sizeof(got), REGION_BYTES - 100, &n), 0);
		assert_int_equal(n, 100);
		assert_memory_equal(got, want, 100);
		assert_int_equal(region_look_read(&look, got, 10, REGION_BYTES, &n), 0);
		assert_int_equal(n, 0);
		assert_int_equal(region_detach(r, true, NULL, NULL), 0);
		region_look_fini(&look);
		close(fd);
	}
	assert_int_equal(segments(), 0);
}

static void
look_at_a_name_whose_segment_is_gone_sees_the_file(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	struct region_look look;
	RLAYOUT got;
	size_t n;
	int fd;

	t_check(shmctl(r->segid, IPC_RMID, NULL) == 0);
	detach(r);
	fd = open(t_path(t, REGION_FILE), O_RDONLY | O_CLOEXEC);
	assert_int_equal(region_look_init(&look, fd), 0);
	assert_true(look.bytes == sizeof(RLAYOUT) && look.segment == NULL);
	assert_int_equal(region_look_read(&look, &got, sizeof(got), 0, &n), 0);
	assert_int_equal(got.valid, DB_REGIONMAGIC);
	region_look_fini(&look);
	close(fd);
}

/* The report is in the file, too: from another IPC namespace, and when the segment is gone. */
static void
report_of_a_panicked_segment_is_read_without_it(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	struct region_report report;
	struct region_look look;
	int fd;

	(void)region_panic(r, "a test of %s", "panic");
	assert_int_equal(file_copy(t).panic, 1);
	assert_int_equal(file_copy(t).valid, DB_REGIONMAGIC);
	t_check(shmctl(r->segid, IPC_RMID, NULL) == 0);
	detach(r);
	fd = open(t_path(t, REGION_FILE), O_RDONLY | O_CLOEXEC);
	assert_int_equal(region_look_init(&look, fd), 0);
	assert_null(look.segment);
	assert_int_equal(look.segment_error, EIDRM);
	assert_int_equal(region_look_report(&look, &report), 0);
	assert_true(report.panicked);
	assert_int_equal(report.pid, getpid());
	assert_string_equal(report.why, "a test of panic");
	region_look_fini(&look);
	close(fd);
	assert_int_equal(attach_system_error(t), DB_RUNRECOVERY);
	assert_non_null(strstr(last_sentence, "a test of panic"));
}

static void
report_says_that_the_segment_is_gone(void **state)
{
	struct t *t = *state;
	struct region *r = attach_system(t);
	struct region_report report;
	struct region_look look;
	int fd;

	fd = open(t_path(t, REGION_FILE), O_RDONLY | O_CLOEXEC);
	assert_int_equal(region_look_init(&look, fd), 0);
	assert_int_equal(region_look_report(&look, &report), 0);
	assert_int_equal(report.error, 0);
	region_look_fini(&look);
	t_check(shmctl(r->segid, IPC_RMID, NULL) == 0);
	detach(r);
	assert_int_equal(region_look_init(&look, fd), 0);
	assert_int_equal(region_look_report(&look, &report), 0);
	assert_int_equal(report.error, EIDRM);
	assert_false(report.panicked);
	assert_string_equal(report.why, "its segment is gone");
	region_look_fini(&look);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(segment_is_named_by_a_small_file),
		segment_test(joiner_learns_the_kind_from_the_file),
		segment_test(segment_outlives_its_clients),
		segment_test(segment_has_the_files_mode_and_the_given_key),
		segment_test(segment_is_aligned_as_asked),
		segment_test(segment_larger_than_what_is_available_is_enomem),
		segment_test(segment_does_without_room_to_grow_where_limits_want_it),
		segment_test(huge_pages_are_had_or_done_without),
		segment_test(transparent_huge_pages_are_asked_for_on_request),
		segment_test(region_is_populated_only_on_request),
		segment_test(segment_removed_by_force_gives_estale),
		segment_test(damage_of_any_byte_is_an_answer),
		segment_test(look_sees_the_bytes_of_either_kind),
		segment_test(look_at_a_name_whose_segment_is_gone_sees_the_file),
		segment_test(report_of_a_panicked_segment_is_read_without_it),
		segment_test(report_says_that_the_segment_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
