/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region in System V shared memory: what the file says, whose segment it is, what is left of
 * those who died, and whom a segment must never be taken from.
 */
#include "region_t.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int
attach_system_error(const struct t *t)
{
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r;
	int ret = region_attach(&spec, &r);

	if (ret == 0)
		detach(r);
	return ret;
}

static RLAYOUT
file_copy(const struct t *t)
{
	size_t n;
	char *bytes = t_read_file(t_path(t, REGION_FILE), &n);
	RLAYOUT copy;

	t_check(n == sizeof(copy));
	memcpy(&copy, bytes, sizeof(copy));
	free(bytes);
	return copy;
}

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

/* --- failures and deaths ------------------------------------------------------------------- */

/* A detach happens, whatever it returns. */
static int
come_and_go(const struct t *t)
{
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r;
	int ret = region_attach(&spec, &r);

	if (ret == 0)
		(void)region_detach(r, false, NULL, NULL);
	return ret;
}

/* Each call of a creation, or of a join, fails once: nothing is left, nothing is lost. */
static void
fail_every_call(struct t *t, bool keep)
{
	unsigned n = 0;
	int ret;

	do {
		t_fault(T_FAULT_ANY, ++n, ENOSPC);
		ret = come_and_go(t);
		if (t_fault_off() == 0)
			break;
		assert_true(ret == 0 || ret == ENOSPC);
		if (keep)
			assert_int_equal(segments(), 1);
		else if (ret == 0 || exists(t))
			assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
		assert_int_equal(segments(), keep ? 1 : 0);
	} while (n < 1000);
	assert_true(n > 10 && ret == 0);
}

static void
segment_creation_survives_failure_of_any_call(void **state)
{
	fail_every_call(*state, false);
}

static void
segment_join_survives_failure_of_any_call(void **state)
{
	struct t *t = *state;
	uint64_t id;

	detach(attach_system(t));
	id = file_copy(t).region_id;
	fail_every_call(t, true);
	assert_true(file_copy(t).region_id == id);
}

struct dying {
	struct t *t;
	unsigned n;
	enum { IN_CREATION, IN_REMOVAL, IN_FORCE, IN_TAKEOVER } where;
};

static int
dies_at_a_call(struct t_child *c, void *arg)
{
	struct dying *d = arg;
	struct region *r = NULL;

	(void)c;
	if (d->where == IN_REMOVAL)
		r = attach_system(d->t);
	t_fault(T_FAULT_ANY, d->n, T_FAULT_KILL);
	if (d->where == IN_FORCE)
		t_check(region_unlink_forced(NULL, d->t->dir, REGION_FILE) == 0);
	else
		t_check(region_detach(r == NULL ? attach_system(d->t) : r, d->where == IN_REMOVAL,
			    NULL, NULL) == 0);
	return 0;
}

/* With a segment made, and neither ids in it nor its name in the file. */
static int
dies_in_creation(struct t_child *c, void *arg)
{
	(void)c;
	t_fault(OS_SHM, 2, T_FAULT_KILL);
	(void)attach_system_error(((struct dying *)arg)->t);
	return 0;
}

/* Something for the next one to die over. */
static void
prepare(struct dying *d)
{
	struct t_child c;

	if (d->where == IN_FORCE)
		detach(attach_system(d->t));
	if (d->where != IN_TAKEOVER)
		return;
	t_fork(&c, dies_in_creation, d);
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	assert_int_equal(segments(), 1);
}

static unsigned
die_at_every_call(struct t *t, int where)
{
	struct dying d = { .t = t, .where = where };
	struct t_child c;
	int status;

	do {
		d.n++;
		prepare(&d);
		t_fork(&c, dies_at_a_call, &d);
		status = t_join(&c);
		assert_true(status == 0 || status == 128 + SIGKILL);
		/* Whoever comes next makes one region of it, with one segment. */
		detach(attach_system(t));
		assert_int_equal(segments(), 1);
		assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
		assert_int_equal(segments(), 0);
	} while (status != 0);
	return d.n;
}

static void
segments_creator_killed_at_any_call_leaves_none(void **state)
{
	assert_true(die_at_every_call(*state, IN_CREATION) > 15);
}

static int
keeps_the_memory(void *arg)
{
	(void)arg;
	while (syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0) != 0)
		continue;
	return 0;
}

/* With the ids in the segment, and another process that has its memory, but none of its files. */
static int
dies_with_its_memory_kept(struct t_child *c, void *arg)
{
	static char stack[16384] __attribute__((aligned(16)));
	int pid = clone(keeps_the_memory, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);

	t_tell_u64(c, (uint64_t)pid);
	t_fault(OS_SHM, 3, T_FAULT_KILL);
	(void)attach_system_error(arg);
	return 0;
}

static void
segment_of_a_dead_creator_goes_though_somebody_keeps_his_memory(void **state)
{
	struct t *t = *state;
	struct t_child c;
	pid_t keeper;

	t_fork(&c, dies_with_its_memory_kept, t);
	keeper = (pid_t)t_await_u64(&c);
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	assert_int_equal(segments(), 1);
	detach(attach_system(t));
	assert_int_equal(kill(keeper, SIGKILL), 0);
	assert_int_equal(waitpid(keeper, NULL, 0), keeper);
	assert_int_equal(segments(), 1);
	assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	assert_int_equal(segments(), 0);
}

static void
segments_remover_killed_at_any_call_leaves_none(void **state)
{
	assert_true(die_at_every_call(*state, IN_REMOVAL) > 6);
}

static void
segments_forced_remover_killed_at_any_call_leaves_none(void **state)
{
	assert_true(die_at_every_call(*state, IN_FORCE) > 8);
}

static void
leftover_segments_next_creator_killed_at_any_call_leaves_none(void **state)
{
	assert_true(die_at_every_call(*state, IN_TAKEOVER) > 15);
}

/* --- gone, and strangers ------------------------------------------------------------------- */

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
		segment_test(segment_creation_survives_failure_of_any_call),
		segment_test(segment_join_survives_failure_of_any_call),
		segment_test(segments_creator_killed_at_any_call_leaves_none),
		segment_test(segment_of_a_dead_creator_goes_though_somebody_keeps_his_memory),
		segment_test(segments_remover_killed_at_any_call_leaves_none),
		segment_test(segments_forced_remover_killed_at_any_call_leaves_none),
		segment_test(leftover_segments_next_creator_killed_at_any_call_leaves_none),
		segment_test(segment_that_is_gone_with_nobody_attached_is_made_anew),
		segment_test(segment_removed_by_somebody_is_joined_while_in_use),
		segment_test(segment_that_is_not_found_with_live_clients_is_eidrm),
		segment_test(error_of_shmat_deletes_nothing),
		segment_test(strangers_segment_is_neither_used_nor_removed),
		segment_test(copy_of_a_file_does_not_lead_to_its_segment),
		segment_test(other_boots_segment_id_is_not_followed),
		segment_test(another_ipc_namespace_is_enxio),
		segment_test(segment_that_others_may_write_is_refused_to_root),
		segment_test(segment_removed_by_force_gives_estale),
		segment_test(damage_of_any_byte_is_an_answer),
		segment_test(look_sees_the_bytes_of_either_kind),
		segment_test(look_at_a_name_whose_segment_is_gone_sees_the_file),
		segment_test(report_of_a_panicked_segment_is_read_without_it),
		segment_test(report_says_that_the_segment_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
