/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: two users without privileges, one who makes a region and one who comes to it: for
 * every mode, in a file and in a segment, as another and as one of the same group.  What he may do
 * follows from the permissions, by the rules in may_read and may_write alone; but a segment only
 * its owner can remove.
 *
 * In an IPC namespace of the test's own, so that what has to stay behind goes with it.
 */
#include "said_t.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <poolfs/mpool.h>
#include <poolfs/region.h>

#include "base/os_shm.h"

#define OWNER 1001
#define OTHER 1002
#define SHARED_GROUP 2000
#define BYTES ((size_t)65536)
#define FILE_NAME "__db_a.share"

#define refuses(e, error) answer_is(__FILE__, __LINE__, #e, (e), (error))

static DB_ENV env = { .db_errcall = hear, .region_max = 1 << 20 };

/* What the second user comes to, and as whom. */
struct matter {
	struct t *t;
	int mode;
	bool is_system;
	bool in_group;
	bool attached; /* the owner still is */
	unsigned dies; /* at that call, as it creates it; 0: not */
	enum os_call dies_at;
};

static int
setup(void **state)
{
	static bool alone;
	struct t *t;

	if (geteuid() == 0 && !alone)
		alone = unshare(CLONE_NEWIPC) == 0;
	if (t_setup(state) != 0)
		return -1;
	t = *state;
	return chmod(t->dir, 0777);
}

#define users_test(fn)                                                                             \
	{                                                                                          \
#fn, fn, setup, t_teardown, (void *)#fn                                            \
	}

static void
need_root(void)
{
	if (geteuid() != 0)
		t_skip("not root");
}

static void
become(uid_t uid, bool in_group)
{
	gid_t gid = in_group ? SHARED_GROUP : uid;

	(void)umask(0);
	t_check(setgid(gid) == 0 && setuid(uid) == 0);
	quiet();
}

static void
use(const struct matter *m)
{
	env.region_flags = m->is_system ? DB_SYSTEM_MEM : 0;
}

static int
bits(const struct matter *m)
{
	return (m->in_group ? m->mode >> 3 : m->mode) & 7;
}

static bool
may_read(const struct matter *m)
{
	return (bits(m) & 4) != 0;
}

static bool
may_write(const struct matter *m)
{
	return (bits(m) & 6) == 6;
}

static bool
exists(const struct matter *m)
{
	return access(t_path(m->t, FILE_NAME), F_OK) == 0;
}

static int
count(const struct os_segment *segment, void *arg)
{
	(void)segment;
	++*(int *)arg;
	return 0;
}

/* All that are left in the namespace; then none is. */
static int
take_away(const struct os_segment *segment, void *arg)
{
	(void)count(segment, arg);
	(void)shmctl(segment->id, IPC_RMID, NULL);
	return 0;
}

static int
segments_left(void)
{
	int n = 0;

	t_check(os_shm_each(take_away, &n) == 0);
	return n;
}

/* --- the owner ----------------------------------------------------------------------------- */

static int
owns(struct t_child *c, void *arg)
{
	const struct matter *m = arg;
	DB_REGION *reg;
	void *addr;

	become(OWNER, m->in_group);
	use(m);
	must(memr_open(m->t->dir, "a", DB_CREATE, m->mode, BYTES, &env, &reg));
	t_tell(c, 'r');
	t_await(c, 'g');
	if (!m->attached)
		must(memr_close(reg));
	t_tell(c, 'c');
	t_await(c, 'l');
	if (m->attached) {
		t_tell_u64(c, (uint64_t)memr_addr(reg, 0, 8, &addr));
		(void)memr_close(reg);
	}
	return 0;
}

static void
make(struct matter *m, struct t_child *c)
{
	t_fork(c, owns, m);
	t_await(c, 'r');
	t_tell(c, 'g');
	t_await(c, 'c');
}

/* Answers what a call says to the owner then. */
static int
end(struct matter *m, struct t_child *c)
{
	int usable = 0;

	t_tell(c, 'l');
	if (m->attached)
		usable = (int)t_await_u64(c);
	t_check(t_join(c) == 0);
	(void)memr_unlink(m->t->dir, "a", 1, NULL);
	(void)segments_left();
	return usable;
}

/* --- the other ----------------------------------------------------------------------------- */

static void
looks(const struct matter *m)
{
	DB_REGION_STAT st;

	refuses(memr_look(m->t->dir, "a", &env, &st), may_read(m) ? 0 : EACCES);
	if (may_read(m))
		t_check(st.st_error == 0 && st.st_bytes == BYTES && st.st_refcnt == m->attached);
}

static void
joins_and_grows(const struct matter *m, int flags)
{
	DB_REGION *reg = NULL;
	void *addr;

	refuses(
	    memr_open(m->t->dir, "a", flags, m->mode, 0, &env, &reg), may_write(m) ? 0 : EACCES);
	if (!may_write(m)) {
		t_check(sentences > 0 && strstr(heard, FILE_NAME) != NULL);
		return;
	}
	must(memr_addr(reg, 0, BYTES, &addr));
	memset(addr, 'x', BYTES);
	must(memr_grow(reg, 2 * BYTES));
	must(memr_shrink(reg, BYTES));
	must(memr_close(reg));
}

static int
comes(struct t_child *c, void *arg)
{
	const struct matter *m = arg;

	(void)c;
	become(OTHER, m->in_group);
	use(m);
	looks(m);
	joins_and_grows(m, 0);
	joins_and_grows(m, DB_CREATE);
	return 0;
}

static int
removes(struct t_child *c, void *arg)
{
	const struct matter *m = arg;
	int wanted = !may_write(m) ? EACCES : m->attached ? EBUSY : m->is_system ? EPERM : 0;

	(void)c;
	become(OTHER, m->in_group);
	refuses(memr_unlink(m->t->dir, "a", 0, &env), wanted);
	t_check(exists(m) == (wanted != 0));
	return 0;
}

/* Nothing is removed that somebody may be using who cannot be told. */
static int
removes_by_force(struct t_child *c, void *arg)
{
	const struct matter *m = arg;
	bool may = m->attached ? may_write(m) : may_read(m);

	(void)c;
	become(OTHER, m->in_group);
	refuses(memr_unlink(m->t->dir, "a", 1, &env), may ? 0 : EACCES);
	t_check(exists(m) == !may);
	/* The segment is not his to remove: whose it is, is told how. */
	t_check((strstr(heard, "ipcrm") != NULL) == (may && m->is_system));
	return 0;
}

/* --- the matrix ---------------------------------------------------------------------------- */

static void
for_every_mode(struct t *t, int (*other)(struct t_child *c, void *arg), bool is_forced)
{
	static const int modes[] = { 0600, 0640, 0644, 0660, 0664, 0666, 0620, 0602 };
	struct t_child c, d;
	unsigned k;
	size_t i;

	need_root();
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		for (k = 0; k < 8; k++) {
			struct matter m = { t, modes[i], k & 1, k & 2, k & 4, 0, OS_SHM };
			bool gone = is_forced && m.attached && may_write(&m);

			make(&m, &c);
			t_fork(&d, other, &m);
			if (t_join(&d) != 0)
				fail_msg("mode %04o, %s, %s, %s", m.mode,
				    m.is_system ? "segment" : "file",
				    m.in_group ? "of the group" : "other",
				    m.attached ? "attached" : "alone");
			assert_int_equal(end(&m, &c), gone ? ESTALE : 0);
			assert_false(exists(&m));
		}
}

static void
users_join_look_and_grow_as_the_mode_says(void **state)
{
	for_every_mode(*state, comes, false);
}

static void
users_remove_what_they_may_write_and_nobody_uses(void **state)
{
	for_every_mode(*state, removes, false);
}

static void
users_remove_by_force_only_what_can_be_told_its_users(void **state)
{
	for_every_mode(*state, removes_by_force, true);
}

/* --- the umask ----------------------------------------------------------------------------- */

static int
makes_with_umask(struct t_child *c, void *arg)
{
	const struct matter *m = arg;
	struct shmid_ds ds;
	DB_REGION_STAT st;
	DB_REGION *reg;
	struct stat f;

	(void)c;
	become(OWNER, false);
	use(m);
	(void)umask(0027);
	must(memr_open(m->t->dir, "a", DB_CREATE, m->mode, BYTES, &env, &reg));
	t_check(stat(t_path(m->t, FILE_NAME), &f) == 0 && (f.st_mode & 0777) == 0640);
	must(memr_stat(reg, &st));
	if (m->is_system)
		t_check(shmctl(st.st_segid, IPC_STAT, &ds) == 0 &&
		    (ds.shm_perm.mode & 0777) == 0640 && ds.shm_perm.uid == OWNER);
	must(memr_close(reg));
	must(memr_unlink(m->t->dir, "a", 0, &env));
	return 0;
}

static void
users_umask_is_applied_to_files_and_segments(void **state)
{
	struct matter m = { .t = *state, .mode = 0666 };
	struct t_child c;

	need_root();
	for (int is_system = 0; is_system <= 1; is_system++) {
		m.is_system = is_system;
		t_fork(&c, makes_with_umask, &m);
		assert_int_equal(t_join(&c), 0);
	}
	assert_int_equal(segments_left(), 0);
}

/* --- what a dead one left ------------------------------------------------------------------ */

static int
dies_on_the_way(struct t_child *c, void *arg)
{
	const struct matter *m = arg;
	DB_REGION *reg;

	(void)c;
	become(OWNER, false);
	use(m);
	t_fault(m->dies_at, m->dies, T_FAULT_KILL);
	must(memr_open(m->t->dir, "a", DB_CREATE, m->mode, BYTES, &env, &reg));
	(void)t_fault_off();
	must(memr_close(reg));
	return 0;
}

/* He gets a region in any case; and every segment that had to stay was named. */
static int
takes_over(struct t_child *c, void *arg)
{
	const struct matter *m = arg;
	DB_REGION *reg;
	DB_REGION_STAT st;
	int named = 0;

	become(OTHER, false);
	use(m);
	must(memr_open(m->t->dir, "a", DB_CREATE, m->mode, BYTES, &env, &reg));
	for (const char *at = heard; (at = strstr(at, "ipcrm")) != NULL; at++)
		named++;
	must(memr_stat(reg, &st));
	must(memr_close(reg));
	t_tell_u64(c, (uint64_t)named);
	return 0;
}

static void
users_take_over_what_anothers_dead_process_left(void **state)
{
	static const enum os_call calls[] = { OS_SHM, OS_PWRITE };
	struct matter m = { .t = *state, .mode = 0666, .is_system = true };
	struct t_child c, d;
	int status, killed = 0;

	need_root();
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		m.dies_at = calls[i];
		status = 128 + SIGKILL;
		for (m.dies = 1; status != 0; m.dies++) {
			int named;

			t_fork(&c, dies_on_the_way, &m);
			status = t_join(&c);
			t_check(status == 0 || status == 128 + SIGKILL);
			killed += status != 0;
			t_fork(&d, takes_over, &m);
			named = (int)t_await_u64(&d);
			assert_int_equal(t_join(&d), 0);
			/* One is the region's that is there. */
			assert_int_equal(segments_left(), 1 + named);
			(void)memr_unlink(m.t->dir, "a", 1, NULL);
		}
	}
	assert_true(killed >= 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		users_test(users_join_look_and_grow_as_the_mode_says),
		users_test(users_remove_what_they_may_write_and_nobody_uses),
		users_test(users_remove_by_force_only_what_can_be_told_its_users),
		users_test(users_umask_is_applied_to_files_and_segments),
		users_test(users_take_over_what_anothers_dead_process_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
