/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scene_t.h - a pool in which something is, and the operations in the midst of which a child is
 * killed or stopped: at a system call, or at an instruction, to which ptrace takes it.
 */
#ifndef TESTS_SCENE_T_H
#define TESTS_SCENE_T_H

#include "pool_t.h"

#include <malloc.h>
#include <sched.h>
#include <stddef.h>
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
	bool leavings;	/* another process has died before */
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

/* Dies writing pages back, with two pinned: one that it has half changed, and one that is dirty. */
static int
leaves_something(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, 20 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = file_with(mp, NULL, 0, PS);

	(void)c;
	fill(g, 0, 'g');
	memset(get(f, 2, 0), '?', 100);
	must(memp_fset(f, get(f, SCENE - 1, 0), DB_MPOOL_DIRTY));
	t_fault(OS_PWRITE, 1, T_FAULT_KILL);
	(void)memp_fsync(f);
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
 * Before the operation: enter the library, have what takes a million instructions, and stand still
 * for who traces.
 */
static void
await_tracer(DB_MPOOL *mp)
{
	struct thread *t;

	must(enter(mp, &t));
	must(os_calloc(1, IO_BYTES, (void **)&t->io));
	(void)mallopt(M_PERTURB, 0);
	t_check(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	(void)raise(SIGSTOP);
}

/*
 * Let the child, which awaits its tracer, come to its n-th instruction in our code, where it stands
 * still then.  The number that it came to; less than n if it came to its end before, well.
 */
static unsigned
step_to(struct t_child *c, unsigned n)
{
	unsigned i = 0;
	int status;

	t_check(waitpid(c->pid, &status, 0) == c->pid);
	while (WIFSTOPPED(status)) {
		i += is_in_our_code(c->pid);
		if (i >= n)
			return i;
		t_check(ptrace(PTRACE_SINGLESTEP, c->pid, NULL, NULL) == 0);
		t_check(waitpid(c->pid, &status, 0) == c->pid);
	}
	t_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return i;
}

/* What befalls a child in an operation. */
struct strike {
	struct t *t;
	const struct op *op;
	int how;       /* T_FAULT_KILL, T_FAULT_STOP */
	unsigned call; /* in this system call; 0: it is traced */
};

static int
is_struck(struct t_child *c, void *arg)
{
	const struct strike *s = arg;
	DB_MPOOL *mp = pool_of(s->t, 0);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct t_child before;

	(void)c;
	if (s->op->leavings) {
		t_fork(&before, leaves_something, s->t);
		t_check(t_join(&before) == 128 + SIGKILL);
	}
	if (s->call > 0)
		t_fault(T_FAULT_ANY, s->call, s->how);
	else
		await_tracer(mp);
	s->op->run(mp, f);
	return 0;
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

/* For step_to(); the test is skipped where there is no stepping. */
static void
prepare_to_step(unsigned seed)
{
	struct t_child c;

#ifdef SANITIZED
	t_skip("ten times the instructions, of which most are the sanitizer's");
#endif
	t_fork(&c, is_traced, NULL);
	if (t_join(&c) != 0)
		t_skip("processes cannot be traced here");
	print_message("# seed %u\n", seed);
	stay_on_this_processor();
}

/* A number, from 0, in the i-th of so many parts of all. */
static unsigned
draw_in_part(unsigned i, unsigned parts, unsigned all, unsigned *seedp)
{
	return (unsigned)((uint64_t)all * i / parts) + (unsigned)rand_r(seedp) % (all / parts + 1);
}

#endif
