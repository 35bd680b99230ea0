/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The helpers of t.h.
 *
 * A child is tied to its test: PDEATHSIG kills it if the test dies, the teardown kills whatever
 * descends from the test and is left over, and every wait is a poll(2) on a pipe or a pidfd with a
 * timeout.  The watchdog's handler aborts, so that the log shows which test it was.  Pipes of
 * earlier children stay open in later ones, so a missing byte is found by the timeout, never by end
 * of file alone.
 *
 * The fault hook is called by several threads at once: its counter is atomic.
 */
#include "t.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *running_test;
static pid_t test_pid; /* the process that runs cmocka */

unsigned
t_slow_factor(void)
{
	const char *s = getenv("T_SLOW");
	int n = s != NULL ? atoi(s) : 1;

	return (n > 1 ? (unsigned)n : 1);
}

static void
watchdog(int sig)
{
	static const char text[] = "# watchdog: the test took too long: ";

	(void)sig;
	(void)!write(STDOUT_FILENO, text, sizeof(text) - 1);
	(void)!write(STDOUT_FILENO, running_test, strlen(running_test));
	(void)!write(STDOUT_FILENO, "\n", 1);
	abort();
}

void
t_seconds(unsigned seconds)
{
	alarm(seconds * t_slow_factor());
}

int
t_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct t *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return (-1);
	t->name = *state;
	running_test = t->name;
	test_pid = getpid();
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)snprintf(t->dir, sizeof(t->dir), "%.200s/poolfs-test-XXXXXX", tmp ? tmp : "/tmp");
	if (mkdtemp(t->dir) == NULL) {
		free(t);
		return (-1);
	}
	*state = t;
	(void)signal(SIGALRM, watchdog);
	t_seconds(T_TEST_SECONDS);
	return (0);
}

/*
 * A test that failed jumped over its joins, and a child that was killed may leave children of its
 * own, which are ours then: none of them may haunt the next test or hold on to our output.
 */
static void
kill_leftovers(void)
{
	char path[64];
	FILE *f;
	int pid;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
	while ((f = fopen(path, "re")) != NULL) {
		if (fscanf(f, "%d", &pid) != 1)
			pid = 0;
		(void)fclose(f);
		if (pid == 0)
			return;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return (remove(path));
}

int
t_remove_tree(const char *path)
{
	return (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT));
}

int
t_teardown(void **state)
{
	struct t *t = *state;
	int rc;

	alarm(0);
	(void)t_fault_off();
	kill_leftovers();
	rc = t_remove_tree(t->dir);
	free(t);
	*state = NULL;
	return (rc);
}

const char *
t_path(const struct t *t, const char *name)
{
	static char ring[8][512];
	static unsigned next;
	char *path = ring[next++ % 8];

	t_check((size_t)snprintf(path, sizeof(ring[0]), "%s/%s", t->dir, name) < sizeof(ring[0]));
	return (path);
}

void
t_write_file(const char *path, const void *data, size_t bytes)
{
	FILE *f = fopen(path, "we");

	t_check(f != NULL);
	t_check(fwrite(data, 1, bytes, f) == bytes);
	t_check(fclose(f) == 0);
}

char *
t_read_file(const char *path, size_t *bytesp)
{
	FILE *f = fopen(path, "re");
	char *data = NULL;
	size_t bytes = 0, n;

	t_check(f != NULL);
	do {
		data = realloc(data, bytes + 65536 + 1);
		t_check(data != NULL);
		n = fread(data + bytes, 1, 65536, f);
		bytes += n;
	} while (n > 0);
	t_check(!ferror(f));
	(void)fclose(f);
	data[bytes] = '\0';
	if (bytesp != NULL)
		*bytesp = bytes;
	return (data);
}

void
t_poke(const char *path, size_t at, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	t_check(fd >= 0);
	t_check(pwrite(fd, bytes, n, (off_t)at) == (ssize_t)n);
	(void)close(fd);
}

void
t_check_failed(const char *file, int line, const char *text)
{
	(void)fflush(stdout);
	(void)dprintf(STDOUT_FILENO, "# %s:%d: pid %d: not true: %s (errno %d: %s)\n", file, line,
	    (int)getpid(), text, errno, strerror(errno));
	if (gettid() == test_pid)
		_fail(file, line);
	_exit(99);
}

void
t_skip(const char *why)
{
	print_message("# skipped: %s: %s\n", running_test, why);
	skip();
}

/* --- children ------------------------------------------------------------------------------ */

static void
child_main(struct t_child *c, int (*fn)(struct t_child *c, void *arg), void *arg)
{
	int status;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setenv("CMOCKA_TEST_ABORT", "1", 1);
	t_seconds(T_TEST_SECONDS);
	c->pid = getpid();
	status = fn(c, arg);
	(void)fflush(stdout);
	_exit(status);
}

void
t_fork(struct t_child *c, int (*fn)(struct t_child *c, void *arg), void *arg)
{
	int down[2], up[2];

	t_check(pipe2(down, O_CLOEXEC) == 0);
	t_check(pipe2(up, O_CLOEXEC) == 0);
	(void)fflush(NULL);
	c->pid = fork();
	t_check(c->pid >= 0);
	if (c->pid == 0) {
		(void)close(down[1]);
		(void)close(up[0]);
		c->in = down[0];
		c->out = up[1];
		child_main(c, fn, arg);
	}
	(void)close(down[0]);
	(void)close(up[1]);
	c->in = up[0];
	c->out = down[1];
}

/* Whether fd becomes readable (or its other side goes away) in time. */
static int
readable(int fd, unsigned msec)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, (int)msec);
	while (n < 0 && errno == EINTR);
	return (n > 0);
}

static void
write_all(struct t_child *c, const void *data, size_t bytes)
{
	void (*old)(int) = signal(SIGPIPE, SIG_IGN);

	t_check(write(c->out, data, bytes) == (ssize_t)bytes);
	(void)signal(SIGPIPE, old);
}

static void
read_all(struct t_child *c, void *data, size_t bytes)
{
	size_t done = 0;
	ssize_t n;

	while (done < bytes) {
		if (!readable(c->in, T_WAIT_SECONDS * 1000 * t_slow_factor()))
			t_check(!"a byte from the other process came in time");
		n = read(c->in, (char *)data + done, bytes - done);
		if (n == 0)
			t_check(!"the other process lives");
		t_check(n > 0);
		done += (size_t)n;
	}
}

void
t_tell(struct t_child *c, char byte)
{
	write_all(c, &byte, 1);
}

void
t_await(struct t_child *c, char byte)
{
	char got;

	read_all(c, &got, 1);
	if (got != byte) {
		(void)dprintf(STDOUT_FILENO, "# waited for '%c', got '%c'\n", byte, got);
		t_check(got == byte);
	}
}

void
t_tell_u64(struct t_child *c, uint64_t v)
{
	write_all(c, &v, sizeof(v));
}

uint64_t
t_await_u64(struct t_child *c)
{
	uint64_t v;

	read_all(c, &v, sizeof(v));
	return (v);
}

int
t_told(struct t_child *c)
{
	return (readable(c->in, 0));
}

static void
close_pipes(struct t_child *c)
{
	(void)close(c->in);
	(void)close(c->out);
	c->in = c->out = -1;
}

/* The child's end, without reaping it; false if it did not come in time. */
static int
ended_in_time(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), yes;

	t_check(fd >= 0);
	yes = readable(fd, T_WAIT_SECONDS * 1000 * t_slow_factor());
	(void)close(fd);
	return (yes);
}

static int
reap(struct t_child *c)
{
	int status;

	while (waitpid(c->pid, &status, 0) != c->pid)
		t_check(errno == EINTR);
	close_pipes(c);
	return (WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

int
t_join(struct t_child *c)
{
	if (!ended_in_time(c->pid)) {
		(void)kill(c->pid, SIGKILL);
		(void)reap(c);
		t_check(!"the child ended in time");
	}
	return (reap(c));
}

void
t_kill(struct t_child *c)
{
	t_check(kill(c->pid, SIGKILL) == 0);
	t_check(t_join(c) == 128 + SIGKILL);
}

void
t_stop(struct t_child *c)
{
	int status;

	t_check(kill(c->pid, SIGSTOP) == 0);
	t_check(waitpid(c->pid, &status, WUNTRACED) == c->pid);
	t_check(WIFSTOPPED(status));
}

void
t_continue(struct t_child *c)
{
	t_check(kill(c->pid, SIGCONT) == 0);
}

/* --- faults -------------------------------------------------------------------------------- */

static struct {
	enum os_call kind;
	unsigned left; /* calls until it strikes; 0: spent */
	int always;
	int error;
	int struck;
} fault;

static int
strike(void)
{
	__atomic_store_n(&fault.struck, 1, __ATOMIC_RELAXED);
	if (fault.error == T_FAULT_KILL)
		(void)kill(getpid(), SIGKILL);
	if (fault.error == T_FAULT_STOP) {
		(void)kill(getpid(), SIGSTOP);
		return 0;
	}
	return (fault.error);
}

static int
fault_hook(enum os_call call, const char *what)
{
	unsigned left;

	(void)what;
	if (fault.kind != T_FAULT_ANY && fault.kind != call)
		return (0);
	if (fault.always)
		return (strike());
	left = __atomic_load_n(&fault.left, __ATOMIC_RELAXED);
	while (left > 0 &&
	    !__atomic_compare_exchange_n(
		&fault.left, &left, left - 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		continue;
	return (left == 1 ? strike() : 0);
}

static void
fault_set(enum os_call kind, unsigned n, int always, int error)
{
	fault.kind = kind;
	fault.left = n;
	fault.always = always;
	fault.error = error;
	fault.struck = 0;
	os_fault_hook = fault_hook;
}

void
t_fault(enum os_call kind, unsigned n, int error)
{
	fault_set(kind, n, 0, error);
}

void
t_fault_always(enum os_call kind, int error)
{
	fault_set(kind, 0, 1, error);
}

int
t_fault_off(void)
{
	os_fault_hook = NULL;
	return (fault.struck);
}
