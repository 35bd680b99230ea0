/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * damage.c - damage SECONDS SEED: bytes of regions are changed at random while clients use them,
 * batch after batch.
 *
 * A batch has a home and a region of its own: a pool, a lock table or an application's region, in
 * a file or in a segment.  The striker makes it, and changes bytes between its calls, up to
 * STRIKES_MOST times or until the damage is found; in some batches a bystander uses the region
 * meanwhile.  When both have gone the region's file is damaged in some batches, too.  Then a
 * newcomer opens what there is, makes calls, and removes the region by force.
 *
 * Every call must come to an end within STALL_MOST_USEC (the thread's own waiting for a processor
 * taken off) with an error or with an answer.  A crash, a call that does not end, a region that
 * cannot be removed, a file of the home that nobody had changed and that is not what it was, and a
 * file that nobody made are faults; each is told with the batch's seed and the last change.  That
 * nothing outside of the region was written shows in the same campaign under the address sanitizer.
 *
 * From the environment:
 *
 *	DAMAGE_LANES	so many campaigns side by side, each with a home of its own (1)
 *	DAMAGE_STRICT	a call that is held up for more than a second is a fault, too
 *	DAMAGE_BATCH	play this batch only (a seed that was told)
 *	DAMAGE_TARGET	only pools (0), lock tables (1), regions (2)
 *	DAMAGE_TRACE	say what each batch is like
 *	DAMAGE_DEBUGGER	is run with the number of a process whose call takes long, or crashes
 */
#include "damage.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define STRIKES_MOST 96
#define CALLS_MOST 8 /* between two strikes */
#define CALLS_AFTERWARDS 4
#define CALLS_OF_NEWCOMER 24
#define STALL_MOST_USEC 1000000
#define PATIENCE_SECONDS 60 /* for an actor, times T_SLOW */
#define DEBUGGER_SECONDS 5
#define MEMORY_MOST_KIB (300 * 1024) /* of an actor */
#define FAULTS_MOST 10		     /* of a lane */
#define LANES_MOST 64u
#define FILE_BYTES 32768u

#define STATUS_STALL 90
#define STATUS_STAYS 91

struct conductor {
	struct t home;
	struct scene *scene;
	const struct target *target;
	uint64_t seed;
	bool system; /* segments can be used: the IPC namespace is our own */
	bool trace;
	unsigned faults;
};

/*
 * Of the home.  Nobody opens the first.  The next two are opened, for reading and for writing, and
 * never written: the damage may say of them that there is something to be written, to those who
 * may.
 */
static const char *const names[] = { "canary", "sealed", "still", "f", "g" };
#define UNKNOWN 1 /* to the pool */
#define CLEAN 3

unsigned
draw(struct actor *a, unsigned below)
{
	a->seed = a->seed * 6364136223846793005ull + 1442695040888963407ull;
	return below > 0 ? (unsigned)((a->seed >> 33) % below) : 0;
}

static const char *debugger;
static bool strict;

/* Whatever it takes: the process is as good as lost. */
static void
call_debugger(int sig)
{
	char command[200];

	(void)snprintf(command, sizeof(command), "%.150s %d >&2", debugger, (int)getpid());
	(void)!system(command);
	if (sig != SIGALRM)
		_exit(128 + sig);
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(PATIENCE_SECONDS);
}

static void
expect_debugger(void)
{
	static const int signals[] = { SIGALRM, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], debugger != NULL ? call_debugger : SIG_DFL);
}

void
call_begin(struct actor *a, const char *what)
{
	a->scene->doing[a->role] = what;
	if (debugger != NULL)
		(void)alarm(DEBUGGER_SECONDS);
	stall_begin(&a->stall);
}

void
call_end(struct actor *a)
{
	uint64_t took = stall_end(&a->stall, STALL_MOST_USEC / 10);

	a->scene->calls++;
	if (took > a->scene->stall_most) {
		a->scene->stall_most = took;
		a->scene->stall_seed = a->scene->seed;
		a->scene->stall_in = a->scene->doing[a->role];
	}
	a->scene->stalls += took > STALL_MOST_USEC;
	if (took > STALL_MOST_USEC && strict)
		_exit(STATUS_STALL);
}

/* --- the actors ------------------------------------------------------------------------------ */

static bool
found(const struct conductor *c, const struct actor *a)
{
	return __atomic_load_n(&c->target->region(a)->layout->panic, __ATOMIC_RELAXED) != 0;
}

static int
strikes(struct conductor *c, struct actor *a)
{
	unsigned n = 1 + draw(a, STRIKES_MOST), calls = CALLS_AFTERWARDS;

	t_check(c->target->open(a, true) == 0);
	for (unsigned i = 0; i < 12; i++)
		c->target->call(a);
	__atomic_store_n(&a->scene->ready, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < n && !found(c, a); i++) {
		strike(a, c->target);
		for (unsigned k = 1 + draw(a, CALLS_MOST); k > 0; k--)
			c->target->call(a);
		if (draw(a, 2) && !found(c, a))
			strike_undo(a, c->target);
	}
	a->scene->panics += found(c, a);
	while (calls-- > 0)
		c->target->call(a);
	/* some close in good order, some just go */
	if (draw(a, 4))
		c->target->close(a);
	return 0;
}

static int
stands_by(struct conductor *c, struct actor *a)
{
	while (__atomic_load_n(&a->scene->ready, __ATOMIC_SEQ_CST) == 0)
		os_sleep_usec(100);
	if (c->target->open(a, false) != 0)
		return 0;
	while (__atomic_load_n(&a->scene->over, __ATOMIC_SEQ_CST) == 0)
		c->target->call(a);
	c->target->close(a);
	return 0;
}

static int
comes_later(struct conductor *c, struct actor *a)
{
	char path[sizeof(c->home.dir) + 64];
	int ret = c->target->open(a, false);

	if (c->trace)
		(void)printf("# the newcomer's answer: %d, %s\n", ret, db_strerror(ret));
	if (ret == 0) {
		for (unsigned i = 0; i < CALLS_OF_NEWCOMER; i++)
			c->target->call(a);
		c->target->close(a);
	} else
		a->scene->refused++;
	call_begin(a, "removal by force");
	(void)c->target->remove(a);
	call_end(a);
	(void)snprintf(path, sizeof(path), "%s/%s", c->home.dir, c->target->file);
	return access(path, F_OK) == 0 ? STATUS_STAYS : 0;
}

static pid_t
start(struct conductor *c, enum role role, struct actor *as)
{
	int (*const work[])(
	    struct conductor *, struct actor *) = { strikes, stands_by, comes_later };
	pid_t pid;

	as->role = role;
	as->seed = c->scene->seed * 3 + (unsigned)role;
	t_check((pid = fork()) >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		expect_debugger();
#ifndef __SANITIZE_ADDRESS__
		t_check(setrlimit(RLIMIT_DATA,
			    &(struct rlimit){
				MEMORY_MOST_KIB * 2048ull, MEMORY_MOST_KIB * 2048ull }) == 0);
#endif
		(void)alarm(PATIENCE_SECONDS * t_slow_factor());
		_exit(work[role](c, as));
	}
	return pid;
}

/* --- what is found --------------------------------------------------------------------------- */

static void
fault(struct conductor *c, const char *what, int number, enum role role)
{
	const struct strike *s = &c->scene->last;
	const char *doing = c->scene->doing[role];

	c->faults++;
	(void)printf("# batch %llu (%s): %s %d in %s\n", (unsigned long long)c->scene->seed,
	    c->target->name, what, number, doing != NULL ? doing : "-");
	(void)printf("#   last change: %s, offset %llu, %u bytes, kind %u, value %#llx\n",
	    s->part != NULL ? s->part : "-", (unsigned long long)s->off, s->bytes, s->how,
	    (unsigned long long)s->value);
}

static void
see_end(struct conductor *c, pid_t pid, enum role role)
{
	static const char *const who[] = { "the striker", "the bystander", "the newcomer" };
	struct rusage used;
	int status;

	while (wait4(pid, &status, 0, &used) != pid)
		t_check(errno == EINTR);
	if (used.ru_maxrss > MEMORY_MOST_KIB)
		fault(c, "memory, MiB", (int)(used.ru_maxrss / 1024), role);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	(void)printf("# %s:\n", who[role]);
	if (WIFSIGNALED(status))
		fault(c, "signal", WTERMSIG(status), role);
	else if (WEXITSTATUS(status) == STATUS_STALL)
		fault(c, "stall, ms", (int)(c->scene->stall_most / 1000), role);
	else
		fault(c, "status", WEXITSTATUS(status), role);
}

static void
fill(uint8_t *bytes, unsigned which)
{
	for (unsigned i = 0; i < FILE_BYTES; i++)
		bytes[i] = (uint8_t)(which * 41 + i / 512 + 1);
}

static bool
is_ours(const struct conductor *c, const char *name)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	/* what the home says of its regions is not damaged here, and goes with them */
	return name[0] == '.' || strncmp(name, "__db", 4) == 0 ||
	    strcmp(name, c->target->file) == 0;
}

/* It may have become very long. */
static bool
is_as_it_was(const struct conductor *c, unsigned i)
{
	static uint8_t want[FILE_BYTES], have[FILE_BYTES + 1];
	int fd = open(t_path(&c->home, names[i]), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd != -1 ? read(fd, have, sizeof(have)) : -1;

	(void)close(fd);
	fill(want, i);
	return n == FILE_BYTES && memcmp(want, have, FILE_BYTES) == 0;
}

static void
look_at_home(struct conductor *c)
{
	struct dirent *e;
	DIR *d;

	for (unsigned i = 0; i < CLEAN; i++) {
		if (is_as_it_was(c, i))
			continue;
		if (i >= UNKNOWN)
			c->scene->clean_written++;
		else
			fault(c, names[i], 0, STRIKER);
	}
	t_check((d = opendir(c->home.dir)) != NULL);
	while ((e = readdir(d)) != NULL)
		if (!is_ours(c, e->d_name))
			fault(c, e->d_name, 0, STRIKER);
	(void)closedir(d);
}

/* --- a batch --------------------------------------------------------------------------------- */

static void
prepare_home(struct conductor *c, bool afresh)
{
	static uint8_t bytes[FILE_BYTES];

	if (afresh) {
		(void)t_remove_tree(c->home.dir);
		t_check(mkdir(c->home.dir, 0700) == 0);
	}
	for (unsigned i = afresh ? 0 : UNKNOWN; i < sizeof(names) / sizeof(names[0]); i++) {
		fill(bytes, i);
		t_write_file(t_path(&c->home, names[i]), bytes, FILE_BYTES);
	}
}

static void
play_batch(struct conductor *c, uint64_t seed)
{
	static const struct target *const targets[] = { &pool_target, &pool_target, &pool_target,
		&lock_target, &memory_target };
	struct actor a = { .home = &c->home, .scene = c->scene, .seed = seed };
	const char *only = getenv("DAMAGE_TARGET");
	bool company, file_too;
	pid_t pids[2] = { 0 };
	unsigned faults = c->faults;

	c->scene->seed = seed;
	c->scene->ready = c->scene->over = 0;
	memset(&c->scene->last, 0, sizeof(c->scene->last));
	memset(c->scene->doing, 0, sizeof(c->scene->doing));
	c->target = targets[only != NULL ? 2 + atoi(only) % 3 : (int)draw(&a, 5)];
	a.system = draw(&a, 3) == 0 && c->system;
	a.shape = draw(&a, 8);
	company = draw(&a, 3) == 0;
	file_too = draw(&a, 4) == 0;
	if (c->trace)
		(void)printf("# batch %llu: %s, %s, shape %u%s%s\n", (unsigned long long)seed,
		    c->target->name, a.system ? "segment" : "file", a.shape,
		    company ? ", bystander" : "", file_too ? ", file struck" : "");
	pids[0] = start(c, STRIKER, &a);
	if (company)
		pids[1] = start(c, BYSTANDER, &a);
	see_end(c, pids[0], STRIKER);
	__atomic_store_n(&c->scene->over, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&c->scene->ready, 1, __ATOMIC_SEQ_CST);
	if (company)
		see_end(c, pids[1], BYSTANDER);
	a.seed = seed;
	for (unsigned n = file_too ? 1 + draw(&a, 6) : 0; n > 0; n--)
		strike_file(&a, t_path(&c->home, c->target->file));
	see_end(c, start(c, NEWCOMER, &a), NEWCOMER);
	look_at_home(c);
	prepare_home(c, c->faults != faults);
	c->scene->batches++;
}

/* --- the whole ------------------------------------------------------------------------------- */

static void
set_up(struct conductor *c)
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	(void)snprintf(c->home.dir, sizeof(c->home.dir), "%s/poolfs-test-XXXXXX", tmp);
	t_check(mkdtemp(c->home.dir) != NULL);
	c->system = unshare(CLONE_NEWIPC) == 0;
	c->trace = getenv("DAMAGE_TRACE") != NULL;
	prepare_home(c, true);
}

/* Every lanes-th batch, from the lane-th on; or only one. */
static int
run_lane(struct conductor *c, unsigned lane, unsigned lanes, unsigned seconds)
{
	uint64_t end = os_monotonic_usec() + seconds * 1000000ull;
	const char *one = getenv("DAMAGE_BATCH");

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	set_up(c);
	if (one != NULL)
		play_batch(c, strtoull(one, NULL, 10));
	else
		for (uint64_t n = lane; c->faults < FAULTS_MOST && os_monotonic_usec() < end;
		     n += lanes)
			play_batch(c, c->seed * 1000000007ull + n);
	(void)t_remove_tree(c->home.dir);
	return c->faults > 0;
}

static void
add_up(struct scene *sum, const struct scene *s)
{
	sum->batches += s->batches;
	sum->strikes += s->strikes;
	sum->file_strikes += s->file_strikes;
	sum->calls += s->calls;
	sum->panics += s->panics;
	sum->refused += s->refused;
	sum->clean_written += s->clean_written;
	sum->stalls += s->stalls;
	if (s->stall_most > sum->stall_most) {
		sum->stall_most = s->stall_most;
		sum->stall_seed = s->stall_seed;
		sum->stall_in = s->stall_in;
	}
}

static void
report(const struct scene *s, unsigned seconds, unsigned long long seed)
{
	(void)printf("# %u s, seed %llu: %llu batches, %llu changes in memory, %llu in files, %llu "
		     "calls\n",
	    seconds, seed, (unsigned long long)s->batches, (unsigned long long)s->strikes,
	    (unsigned long long)s->file_strikes, (unsigned long long)s->calls);
	(void)printf("# found and said: %llu times; newcomers refused: %llu; files written that "
		     "the damage said were dirty: %llu\n",
	    (unsigned long long)s->panics, (unsigned long long)s->refused,
	    (unsigned long long)s->clean_written);
	(void)printf("# %llu calls of more than a second, longest %.1f ms: batch %llu, %s\n",
	    (unsigned long long)s->stalls, (double)s->stall_most / 1000.0,
	    (unsigned long long)s->stall_seed, s->stall_in != NULL ? s->stall_in : "-");
}

static unsigned
lanes_wanted(void)
{
	const char *text = getenv("DAMAGE_LANES");
	unsigned n = text != NULL ? (unsigned)strtoul(text, NULL, 10) : 1;

	return n < 1 || getenv("DAMAGE_BATCH") != NULL ? 1 : n < LANES_MOST ? n : LANES_MOST;
}

int
main(int argc, char **argv)
{
	unsigned lanes = lanes_wanted(), seconds, faulty = 0;
	static struct conductor c;
	struct scene sum = { 0 }, *scenes;
	pid_t pids[LANES_MOST];
	int status;

	if (argc != 3) {
		(void)fprintf(stderr, "usage: damage SECONDS SEED\n");
		return 2;
	}
	seconds = (unsigned)strtoul(argv[1], NULL, 10);
	c.seed = strtoull(argv[2], NULL, 10);
	debugger = getenv("DAMAGE_DEBUGGER");
	strict = getenv("DAMAGE_STRICT") != NULL;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	scenes = mmap(NULL, lanes * sizeof(*scenes), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t_check(scenes != MAP_FAILED);
	for (unsigned i = 0; i < lanes; i++) {
		c.scene = &scenes[i];
		t_check((pids[i] = fork()) >= 0);
		if (pids[i] == 0)
			_exit(run_lane(&c, i, lanes, seconds));
	}
	for (unsigned i = 0; i < lanes; i++) {
		t_check(waitpid(pids[i], &status, 0) == pids[i]);
		faulty += status != 0;
		add_up(&sum, &scenes[i]);
	}
	report(&sum, seconds, c.seed);
	(void)printf(
	    "%s 1 - damage_is_an_error_or_an_answer\n1..1\n", faulty == 0 ? "ok" : "not ok");
	return faulty > 0;
}
