/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: a process is killed in the middle of an operation, at each of its system calls in turn
 * and at single machine instructions of it (by ptrace).  Whoever comes next finds every page that
 * was put, the length as it was or as it was to be, and all of the pool in order.
 *
 * Of the instructions some are taken, by REAP_SEED; REAP_STEPS: more of them; REAP_ALL=1: all of
 * them, which takes hours.
 */
#include "../pool_t.h"

#include <malloc.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "pool/thread.h"

#define PS 4096u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

/* --- at each system call, at each instruction ------------------------------------------------ */

/*
 * The scene: file f with pages a..p on disk, of which some are in the pool, page 1 dirty with X
 * and page 15 with Y; file g empty.  An operation is done in a child, which dies in it.
 */
#define SCENE 16
#define CUT 5 /* pages that a truncation leaves */
#define SMALL (24 * KIB)
#define LARGE (64 * KIB)
#define STEPS 8000u /* instructions that the children of one operation take, about */

struct op {
	const char *name;
	void (*run)(DB_MPOOL *mp, DB_MPOOLFILE *f);
	size_t resized; /* to this size by the operation, from the other one; 0: it is SMALL */
	bool leavings; /* another process has died before */
};

/* A pool that may become LARGE, or what there is. */
static DB_MPOOL *
pool_with_room(struct t *t, size_t bytes)
{
	DB_ENV *env = env_of(t, bytes);

	env->region_max = 512 * KIB;
	return pool_with(env, 0);
}

static void
op_truncate(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	(void)mp;
	(void)memp_ftruncate(f, CUT * PS);
}

static void
op_lengthen(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	(void)mp;
	(void)memp_ftruncate(f, (SCENE + 9) * PS);
}

static void
op_fsync(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	(void)mp;
	(void)memp_fsync(f);
}

static void
op_read(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	void *page;

	(void)mp;
	for (db_pgno_t n = 0; n < 5; n++)
		if (memp_fget(f, &n, 0, &page) == 0)
			(void)memp_fput(f, page, 0);
}

static void
op_dirty(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	db_pgno_t n = 3;
	void *page;

	(void)mp;
	if (memp_fget(f, &n, 0, &page) == 0) /* as it is: whatever comes of the put is right */
		(void)memp_fput(f, page, DB_MPOOL_DIRTY);
}

static void
op_new(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	DB_MPOOLFILE *g;
	db_pgno_t n = 0;
	void *page;

	(void)f;
	if (memp_fopen(mp, "g", 0, 0, 0, PS, -1, NULL, NULL, &g) != 0)
		return;
	if (memp_fget(g, &n, DB_MPOOL_NEW, &page) == 0)
		(void)memp_fput(g, page, 0);
	(void)memp_fclose(g);
}

static void
op_close(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	(void)memp_fclose(f);
	(void)memp_close(mp);
}

static void
op_other_size(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	DB_MPOOLFILE *g;
	void *page;

	(void)f;
	if (memp_fopen(mp, "g", 0, 0, 0, 512, -1, NULL, NULL, &g) != 0)
		return;
	for (db_pgno_t n = 0; n < 3; n++)
		if (memp_fget(g, &n, DB_MPOOL_CREATE, &page) == 0)
			(void)memp_fput(g, page, 0);
	(void)memp_fclose(g);
}

/* What nobody has open any more is nobody's: its page must not stay. */
static void
op_temporary(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	DB_MPOOLFILE *g;
	db_pgno_t n = 0;
	void *page;

	(void)f;
	if (memp_fopen(mp, NULL, 0, 0, 0, PS, -1, NULL, NULL, &g) != 0)
		return;
	if (memp_fget(g, &n, DB_MPOOL_CREATE, &page) == 0)
		(void)memp_fput(g, page, DB_MPOOL_DIRTY);
	(void)memp_fclose(g);
}

static void
op_remove(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	DB_MPOOLFILE *g;
	db_pgno_t n = 0;
	void *page;

	(void)f;
	if (memp_fopen(mp, "r", 0, DB_CREATE, 0600, PS, -1, NULL, NULL, &g) != 0)
		return;
	if (memp_fget(g, &n, DB_MPOOL_CREATE, &page) == 0)
		(void)memp_fput(g, page, DB_MPOOL_DIRTY);
	(void)memp_frename(mp, "r", "s");
	(void)memp_fremove(mp, "s");
	(void)memp_fclose(g);
}

static void
op_grow(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	(void)f;
	(void)memp_resize(mp, LARGE);
}

static void
op_shrink(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	(void)f;
	(void)memp_resize(mp, SMALL);
}

static void
op_reap(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	(void)f;
	(void)memp_reap(mp);
}

static const struct op ops[] = {
	{ "memp_ftruncate down", op_truncate, 0, false },
	{ "memp_ftruncate up", op_lengthen, 0, false },
	{ "memp_fsync", op_fsync, 0, false },
	{ "memp_fget with evictions", op_read, 0, false },
	{ "memp_fput DIRTY", op_dirty, 0, false },
	{ "memp_fopen and NEW", op_new, 0, false },
	{ "memp_close", op_close, 0, false },
	{ "pages of another size", op_other_size, 0, false },
	{ "a temporary file", op_temporary, 0, false },
	{ "a file that is removed", op_remove, 0, false },
	{ "memp_resize up", op_grow, LARGE, false },
	{ "memp_resize down", op_shrink, SMALL, false },
	{ "memp_reap", op_reap, 0, true },
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

struct death {
	struct t *t;
	const struct op *op;
	unsigned call; /* dies in this system call; 0: traced */
};

/* Dies writing pages back, with two pinned: one that it has half changed, and one that is dirty. */
static int
leaves_something(struct t_child *c, void *arg)
{
	struct death *d = arg;
	DB_MPOOL *mp = pool_of(d->t, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_with(mp, NULL, 0, PS);

	(void)c;
	fill(g, 0, 'g');
	memset(get(f, 2, 0), '?', 100);
	must(memp_fset(f, get(f, SCENE - 1, 0), DB_MPOOL_DIRTY));
	t_fault(OS_PWRITE, 1, T_FAULT_KILL);
	(void)memp_fsync(f);
	return 0;
}

static int
dies_in(struct t_child *c, void *arg)
{
	struct death *d = arg;
	DB_MPOOL *mp = pool_of(d->t, 0);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct t_child before;
	struct thread *t;

	(void)c;
	if (d->op->leavings) {
		t_fork(&before, leaves_something, d);
		t_check(t_join(&before) == 128 + SIGKILL);
	}
	if (d->call > 0)
		t_fault(T_FAULT_ANY, d->call, T_FAULT_KILL);
	else {
		must(enter(mp, &t));
		/* two things of a million instructions each */
		must(os_calloc(1, IO_BYTES, (void **)&t->io));
		(void)mallopt(M_PERTURB, 0);
		t_check(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
		(void)raise(SIGSTOP);
	}
	d->op->run(mp, f);
	return 0;
}

static void
scene(struct t *t, const struct op *op)
{
	DB_MPOOL *mp = pool_with_room(t, op->resized == SMALL ? LARGE : SMALL);
	DB_MPOOLFILE *f, *g;

	write_pages(t_path(t, "f"), SCENE, PS, 'a');
	t_write_file(t_path(t, "g"), "", 0);
	f = file_of(mp, "f", PS);
	/* a pool that is to shrink has something everywhere */
	for (db_pgno_t n = op->resized == SMALL ? 0 : 12; n < SCENE; n++)
		holds(f, n, 'a' + (int)n);
	fill(f, 1, 'X');
	fill(f, SCENE - 1, 'Y');
	must(memp_fclose(f));
	g = file_of(mp, "g", PS);
	must(memp_fclose(g));
	must(memp_close(mp));
}

static int
wanted(db_pgno_t n)
{
	return n == 1 ? 'X' : n == SCENE - 1 ? 'Y' : n < SCENE ? 'a' + (int)n : 0;
}

/* The pool that was half way between two sizes gets each of them. */
static void
resizes(DB_MPOOL *mp, size_t resized)
{
	if (resized == 0)
		return;
	must(memp_resize(mp, resized));
	t_check(stat_of(mp).st_cachesize == resized);
	must(mpool_check(mp, true));
	must(memp_resize(mp, SMALL + LARGE - resized));
	t_check(stat_of(mp).st_cachesize == SMALL + LARGE - resized);
	must(mpool_check(mp, true));
}

/* What must hold after the death, whatever it was that had been begun. */
static void
aftermath(struct t *t, const struct op *op)
{
	DB_MPOOL *mp = pool_of(t, 0);
	DB_MPOOLFILE *f;
	uint64_t length, disk;
	DB_MPOOL_STAT s;

	must(memp_reap(mp));
	must(mpool_check(mp, true));
	resizes(mp, op->resized);
	f = file_of(mp, "f", PS);
	length = length_of(f);
	disk = disk_length(t_path(t, "f"));
	if (op->run == op_truncate)
		t_check(length == SCENE * PS || length == CUT * PS);
	else if (op->run == op_lengthen)
		t_check(length == SCENE * PS || length == (SCENE + 9) * PS);
	else
		t_check(length == SCENE * PS);
	t_check(disk <= length);
	for (db_pgno_t n = 0; (uint64_t)n * PS < length; n++)
		holds(f, n, wanted(n));
	must(memp_ftruncate(f, (SCENE + 2) * PS)); /* and nothing comes back from behind the end */
	for (db_pgno_t n = (db_pgno_t)(length / PS); n < SCENE + 2; n++)
		holds(f, n, 0);
	must(memp_fsync(f));
	t_check(on_disk(t_path(t, "f"), PS, PS, 'X'));
	s = stat_of(mp);
	t_check(s.st_pins == 0 && s.st_clients == 1);
	sums(&s);
	must(memp_fclose(f));
	must(mpool_check(mp, true));
	must(memp_close(mp));
	must(memp_unlink(NULL, 0, &test_env));
}

static void
mpool_death_in_any_system_call_of_any_operation_is_made_good(void **state)
{
	struct t *t = *state;
	struct death d = { .t = t };
	struct t_child c;
	int status;

	for (unsigned k = 0; k < OPS; k++) {
		d.op = &ops[k];
		t_seconds(T_TEST_SECONDS);
		for (d.call = 1, status = 128 + SIGKILL; status == 128 + SIGKILL; d.call++) {
			scene(t, d.op);
			t_fork(&c, dies_in, &d);
			status = t_join(&c);
			t_check(status == 0 || status == 128 + SIGKILL);
			aftermath(t, d.op);
		}
		assert_in_range(d.call, 2, 300);
	}
}

/* Is the child, which stands still, in the program itself, not in the C library? */
static bool
is_in_our_code(pid_t pid)
{
	extern const char __executable_start[], etext[];
	uintptr_t at =
	    (uintptr_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), NULL);

	return at >= (uintptr_t)__executable_start && at < (uintptr_t)etext;
}

/*
 * Let the child come to its n-th instruction in our code, then kill it.  The number that it came
 * to; less than n if it came to its end before.
 */
static unsigned
step_and_kill(struct t_child *c, unsigned n)
{
	unsigned i = 0;
	int status;

	t_check(waitpid(c->pid, &status, 0) == c->pid);
	while (WIFSTOPPED(status)) {
		i += is_in_our_code(c->pid);
		if (i >= n)
			break;
		t_check(ptrace(PTRACE_SINGLESTEP, c->pid, NULL, NULL) == 0);
		t_check(waitpid(c->pid, &status, 0) == c->pid);
	}
	if (WIFSTOPPED(status)) {
		t_check(kill(c->pid, SIGKILL) == 0);
		t_check(waitpid(c->pid, &status, 0) == c->pid);
		t_check(WIFSIGNALED(status));
	} else
		t_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	(void)close(c->in);
	(void)close(c->out);
	return i;
}

/* A death after n instructions of the operation, and what must hold after it. */
static unsigned
die_after(struct t *t, const struct op *op, unsigned n)
{
	struct death d = { .t = t, .op = op };
	struct t_child c;

	scene(t, op);
	t_fork(&c, dies_in, &d);
	n = step_and_kill(&c, n);
	aftermath(t, op);
	return n;
}

/* A number from the environment, for a hunt. */
static unsigned
from_outside(const char *name, unsigned otherwise)
{
	const char *given = getenv(name);

	return given != NULL ? (unsigned)strtoul(given, NULL, 10) : otherwise;
}

/* Two processors that take turns at each instruction are ten times slower than one. */
static void
stay_on_this_processor(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

static int
is_traced(struct t_child *c, void *arg)
{
	(void)c;
	(void)arg;
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 77;
}

/* A number of deaths spread over the operation, or one at each of its instructions. */
static unsigned
die_in(struct t *t, const struct op *op, unsigned *seedp)
{
	unsigned steps = from_outside("REAP_STEPS", STEPS), all = die_after(t, op, UINT32_MAX);
	unsigned tries = from_outside("REAP_ALL", 0) != 0 ? all : 2 + steps / all;

	print_message("# %s: %u instructions, %u deaths\n", op->name, all, tries);
	for (unsigned i = 0; i < tries; i++) {
		if (tries > 20 && i % 20 == 0)
			t_seconds(T_TEST_SECONDS);
		(void)die_after(t, op,
		    tries == all ? i + 1 :
				   (unsigned)((uint64_t)all * i / tries) +
			    (unsigned)rand_r(seedp) % (all / tries + 1));
	}
	return tries;
}

static void
mpool_death_at_an_instruction_of_any_operation_is_made_good(void **state)
{
	unsigned seed = from_outside("REAP_SEED", 1), deaths = 0;
	struct t_child c;

#ifdef SANITIZED
	t_skip("ten times the instructions, of which most are the sanitizer's");
#endif
	t_fork(&c, is_traced, NULL);
	if (t_join(&c) != 0)
		t_skip("processes cannot be traced here");
	print_message("# seed %u\n", seed);
	stay_on_this_processor();
	for (unsigned k = 0; k < OPS; k++) {
		t_seconds(2 * T_TEST_SECONDS);
		deaths += die_in(*state, &ops[k], &seed);
	}
	print_message("# %u deaths in all\n", deaths);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_death_in_any_system_call_of_any_operation_is_made_good),
		t_test(mpool_death_at_an_instruction_of_any_operation_is_made_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
