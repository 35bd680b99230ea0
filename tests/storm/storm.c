/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * storm.c - storm SECONDS SEED: clients of one pool and one lock table are killed and stopped at
 * random instants and started again, round after round; after each round an auditor looks whether
 * anything is lost, or left.
 *
 * Four to sixteen clients read, write, sync, open, resize, lock.  A client that is to be killed
 * arms a timer that sends it SIGKILL, so that the kill comes at any instruction; others are stopped
 * for some milliseconds, and some of these are killed while they stand.  What they were
 * acknowledged comes through pipes into the conductor's book.  A round ends when all have been
 * killed, or have closed everything in good order; then the auditor, a process of its own, must
 * find every page that was put, in the pool and, after a sync, on disk, and nothing of the dead.
 *
 * The conductor never attaches.  It prints TAP, and what was counted.  From the environment:
 *
 *	STORM_STRICT	a call that was held up for more than a second is a failure, too
 *	STORM_TRACE	say what each round is like
 *	STORM_DIR	where to work, instead of in /dev/shm
 *	STORM_KEEP	leave the directory of a run that failed
 *	STORM_HOLD	wait when a client does not end, for a debugger
 */
#include "storm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../crew_t.h"

#define KIB ((size_t)1 << 10)
#define PATIENCE_SECONDS 60 /* for a client's end, times T_SLOW */
#define STOP_MSEC_MOST 30
#define STALL_MOST_USEC 1000000

struct running {
	pid_t pid; /* 0: none */
	int in;	   /* its journal */
	bool stopped;
	uint64_t continue_usec;
};

struct totals {
	uint64_t rounds;
	uint64_t kills;
	uint64_t stops;
	uint64_t puts;
	uint64_t counts;
	uint64_t checked;
	uint64_t calls;
	uint64_t stalls; /* that took more than a second */
	uint32_t stall_most;
};

struct conductor {
	struct storm storm;
	struct player dice; /* for draw() */
	struct running running[CLIENTS_MOST];
	struct totals totals;
	bool system; /* segments can be used: the IPC namespace is our own */
	unsigned failures;
};

/* --- the book -------------------------------------------------------------------------------- */

static void
enter_record(struct conductor *c, unsigned id, const struct record *r)
{
	struct totals *t = &c->totals;

	switch ((enum record_kind)r->kind) {
	case RECORD_PUT:
		c->storm.book.put[r->file][r->page][id] = r->value;
		t->puts++;
		break;
	case RECORD_COUNT:
		c->storm.book.counted[r->file] += r->value;
		t->counts++;
		break;
	case RECORD_CHECKED:
		t->checked += r->value;
		break;
	case RECORD_CALLS:
		t->calls += r->value;
		break;
	case RECORD_STALL:
		t->stalls += r->value > STALL_MOST_USEC;
		t->stall_most = r->value > t->stall_most ? r->value : t->stall_most;
		break;
	}
}

/* What has come; false at the end of the pipe. */
static bool
read_journal(struct conductor *c, unsigned id)
{
	struct record r[512];
	ssize_t n = read(c->running[id].in, r, sizeof(r));

	t_check(n >= 0 && n % (ssize_t)sizeof(r[0]) == 0);
	for (size_t i = 0; i < (size_t)n / sizeof(r[0]); i++)
		enter_record(c, id, &r[i]);
	return n > 0;
}

/* --- clients --------------------------------------------------------------------------------- */

static void
fork_client(struct conductor *c, unsigned id, int (*work)(struct player *), struct player *as)
{
	struct running *r = &c->running[id];
	int fds[2];

	t_check(pipe2(fds, O_CLOEXEC) == 0);
	(void)fflush(NULL);
	t_check((r->pid = fork()) >= 0);
	if (r->pid == 0) {
		const struct crew crew = { .kill_usec = as->kill_usec };

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)alarm(PATIENCE_SECONDS * 2 * t_slow_factor());
		crew_arm_kill(&crew, &as->seed);
		as->out = fds[1];
		_exit(work(as));
	}
	(void)close(fds[1]);
	r->in = fds[0];
	r->stopped = false;
}

static void
start_client(struct conductor *c, unsigned id)
{
	struct storm *s = &c->storm;
	/* as many short lives as long ones: some die while they join, some with pages in hand */
	unsigned most = 1u << (8 + draw(&c->dice, 10));
	struct player as = {
		.s = s, .id = id, .kill_usec = most, .seed = draw(&c->dice, 1u << 30)
	};

	fork_client(c, id, id < s->clients - s->lockers ? pages_client : counters_client, &as);
}

static void
say(struct conductor *c, unsigned id, int status, const char *what)
{
	(void)printf("# %s %u (pid %d): ended with %s %d\n", what, id, (int)c->running[id].pid,
	    WIFSIGNALED(status) ? "signal" : "status",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	c->failures++;
}

/* The client's journal has ended: so has the client. */
static void
bury_client(struct conductor *c, unsigned id)
{
	struct running *r = &c->running[id];
	int status;

	(void)close(r->in);
	while (waitpid(r->pid, &status, 0) != r->pid)
		t_check(errno == EINTR);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		c->totals.kills++;
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		say(c, id, status, "client");
	r->pid = 0;
}

/* Whose time has come goes on, or is killed as it stands. */
static void
let_go_on(struct conductor *c, uint64_t now)
{
	for (unsigned i = 0; i < c->storm.clients; i++) {
		struct running *r = &c->running[i];

		if (r->pid == 0 || !r->stopped || r->continue_usec > now)
			continue;
		r->stopped = false;
		(void)kill(r->pid, draw(&c->dice, 4) ? SIGCONT : SIGKILL);
	}
}

static void
stop_somebody(struct conductor *c, uint64_t now)
{
	struct running *r = &c->running[draw(&c->dice, c->storm.clients)];

	if (r->pid == 0 || r->stopped)
		return;
	r->stopped = true;
	r->continue_usec = now + draw(&c->dice, STOP_MSEC_MOST * 1000);
	(void)kill(r->pid, SIGSTOP);
	c->totals.stops++;
}

/* Read what comes for some milliseconds.  again: whoever ended is started anew. */
static unsigned
listen_to_clients(struct conductor *c, bool again)
{
	struct pollfd p[CLIENTS_MOST];
	unsigned running = 0;

	for (unsigned i = 0; i < c->storm.clients; i++)
		p[i] = (struct pollfd){ .fd = c->running[i].pid != 0 ? c->running[i].in : -1,
			.events = POLLIN };
	(void)poll(p, c->storm.clients, 2);
	for (unsigned i = 0; i < c->storm.clients; i++) {
		if (p[i].fd >= 0 && p[i].revents != 0 && !read_journal(c, i)) {
			bury_client(c, i);
			if (again && c->failures == 0)
				start_client(c, i);
		}
		running += c->running[i].pid != 0;
	}
	return running;
}

/* --- a round --------------------------------------------------------------------------------- */

static void
choose_shape(struct conductor *c)
{
	static const size_t bytes[] = { 20 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB, 8192 * KIB };
	struct shape *shape = &c->storm.shape;

	shape->bytes = bytes[draw(&c->dice, sizeof(bytes) / sizeof(bytes[0]))];
	shape->system = c->system && draw(&c->dice, 2);
	shape->adaptive = draw(&c->dice, 2);
}

static void
blow(struct conductor *c, uint64_t end)
{
	for (unsigned i = 0; i < c->storm.clients; i++)
		start_client(c, i);
	for (;;) {
		uint64_t now = os_monotonic_usec();

		if (now >= end || c->failures > 0)
			return;
		let_go_on(c, now);
		if (draw(&c->dice, 4) == 0)
			stop_somebody(c, now);
		(void)listen_to_clients(c, true);
	}
}

/* All go: killed, or in good order. */
static void
calm(struct conductor *c)
{
	bool killed = draw(&c->dice, 2) || c->failures > 0;
	uint64_t end = os_monotonic_usec() + PATIENCE_SECONDS * 1000000ull * t_slow_factor();

	__atomic_store_n(&c->storm.shared->quiet, 1, __ATOMIC_SEQ_CST);
	let_go_on(c, UINT64_MAX);
	for (unsigned i = 0; i < c->storm.clients && killed; i++)
		if (c->running[i].pid != 0)
			(void)kill(c->running[i].pid, SIGKILL);
	while (listen_to_clients(c, false) > 0)
		if (os_monotonic_usec() > end)
			break;
	for (unsigned i = 0; i < c->storm.clients; i++) {
		if (c->running[i].pid == 0)
			continue;
		(void)printf("# client %u (pid %d) does not end\n", i, (int)c->running[i].pid);
		c->failures++;
		if (getenv("STORM_HOLD") != NULL)
			(void)pause();
		(void)kill(c->running[i].pid, SIGKILL);
		while (read_journal(c, i))
			continue;
		bury_client(c, i);
	}
	c->storm.shared->quiet = 0;
}

static int
audits(struct player *as)
{
	struct storm *s = as->s;

	counters_audit(as);
	pages_audit(as);
	if (s->over)
		pages_end(s);
	return 0;
}

static void
audit(struct conductor *c)
{
	struct player as = { .s = &c->storm };
	int status;

	c->storm.over = draw(&c->dice, 3) == 0;
	c->storm.kills = c->totals.kills;
	fork_client(c, 0, audits, &as);
	while (read_journal(c, 0))
		continue;
	(void)close(c->running[0].in);
	t_check(waitpid(c->running[0].pid, &status, 0) == c->running[0].pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		say(c, 0, status, "auditor");
	c->running[0].pid = 0;
	for (unsigned k = 0; k < PLACES; k++) {
		struct counter_place *p = &c->storm.shared->counters[k];

		p->second = p->first;
		p->holder = 0;
	}
}

static void
play_round(struct conductor *c, uint64_t usec)
{
	struct storm *s = &c->storm;

	s->clients = 4 + draw(&c->dice, CLIENTS_MOST - 3);
	s->lockers = s->clients / 4;
	if (s->over)
		choose_shape(c);
	if (getenv("STORM_TRACE") != NULL)
		(void)printf("# round %u: %u clients, %zu bytes, %s, %s\n",
		    (unsigned)c->totals.rounds, s->clients, s->shape.bytes,
		    s->shape.system ? "segment" : "file", s->shape.adaptive ? "adaptive" : "lru");
	blow(c, os_monotonic_usec() + usec);
	calm(c);
	if (c->failures == 0)
		audit(c);
	c->totals.rounds++;
}

/* --- the whole ------------------------------------------------------------------------------- */

static void
set_up(struct conductor *c, unsigned seed)
{
	const char *tmp = getenv("STORM_DIR");

	if (tmp == NULL)
		tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	(void)snprintf(
	    c->storm.home.dir, sizeof(c->storm.home.dir), "%.200s/poolfs-test-XXXXXX", tmp);
	t_check(mkdtemp(c->storm.home.dir) != NULL);
	c->storm.shared = mmap(NULL, sizeof(*c->storm.shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t_check(c->storm.shared != MAP_FAILED);
	c->system = unshare(CLONE_NEWIPC) == 0;
	c->dice.seed = seed;
	c->storm.over = true;
}

static void
report(struct conductor *c, unsigned seconds, unsigned seed)
{
	const struct totals *t = &c->totals;

	(void)printf("# %u s, seed %u: %llu rounds, %llu kills, %llu stops, %llu calls\n", seconds,
	    seed, (unsigned long long)t->rounds, (unsigned long long)t->kills,
	    (unsigned long long)t->stops, (unsigned long long)t->calls);
	(void)printf("# %llu puts and %llu counts acknowledged, %llu times looked whether one is "
		     "there\n",
	    (unsigned long long)t->puts, (unsigned long long)t->counts,
	    (unsigned long long)t->checked);
	(void)printf("# longest stall %.1f ms, %llu of more than a second\n",
	    t->stall_most / 1000.0, (unsigned long long)t->stalls);
}

int
main(int argc, char **argv)
{
	static struct conductor c;
	unsigned seconds, seed;
	uint64_t end;

	if (argc != 3) {
		(void)fprintf(stderr, "usage: storm SECONDS SEED\n");
		return 2;
	}
	seconds = (unsigned)strtoul(argv[1], NULL, 10);
	seed = (unsigned)strtoul(argv[2], NULL, 10);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	set_up(&c, seed);
	end = os_monotonic_usec() + seconds * 1000000ull;
	do
		play_round(&c, 200000 + draw(&c.dice, 800000));
	while (c.failures == 0 && os_monotonic_usec() < end);
	report(&c, seconds, seed);
	c.failures += getenv("STORM_STRICT") != NULL && c.totals.stalls > 0;
	(void)printf("%s 1 - storm_loses_nothing_and_leaves_nothing\n1..1\n",
	    c.failures == 0 ? "ok" : "not ok");
	if (c.failures == 0 || getenv("STORM_KEEP") == NULL)
		(void)t_remove_tree(c.storm.home.dir);
	return c.failures > 0;
}
