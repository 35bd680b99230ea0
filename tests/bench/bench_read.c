/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_read.c - the same requests to several files in turn: one under a mount, one in the bare
 * directory, one of a server that does nothing.
 *
 *	bench_read make FILE MIB		a file whose every 4 KiB block carries its number
 *	bench_read compare LABEL FILE[@PID]...	rows of a markdown table
 *
 * All files are read whole once first, so that the OS cache has them (and the mount's pool what it
 * can hold).  Then each kind of request goes to one file for ROUND_MSEC, to the next, and so on; a
 * figure is the median of ROUNDS rounds.  Every block that is read is checked for its number.
 * Nothing else is warmed or dropped.
 *
 * Of a file that a process PID serves the row ends in that process's processor time a request,
 * which says what is the server's work when others have the machine's time.  BENCH_ROWS: only kinds
 * whose name has that in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS 9
#define ROUND_MSEC 150
#define MOST_BYTES (1u << 20)
#define TARGETS 3
#define JOBS 2

struct target {
	const char *path;
	int fd;
	int write_fd;
	const char *map;  /* NULL: it cannot be mapped */
	clockid_t server; /* its processor time */
	bool has_server;
	uint64_t bytes;
};

enum op { OP_READ, OP_WRITE, OP_LOAD, OP_STAT, OP_OPEN, OP_CREATE };

struct kind {
	const char *what;
	enum op op;
	unsigned bytes; /* of a request */
	bool random;
	int jobs;
};

static const struct kind kinds[] = {
	{ "read, sequential, 4 KiB", OP_READ, 4096, false, 1 },
	{ "read, sequential, 128 KiB", OP_READ, 131072, false, 1 },
	{ "read, sequential, 1 MiB", OP_READ, 1048576, false, 1 },
	{ "read, random, 4 KiB", OP_READ, 4096, true, 1 },
	{ "mapped read, random, 4 KiB", OP_LOAD, 4096, true, 1 },
	{ "write, sequential, 4 KiB", OP_WRITE, 4096, false, 1 },
	{ "write, sequential, 128 KiB", OP_WRITE, 131072, false, 1 },
	{ "write, sequential, 1 MiB", OP_WRITE, 1048576, false, 1 },
	{ "write, random, 4 KiB", OP_WRITE, 4096, true, 1 },
	{ "read, sequential, 1 MiB, two jobs", OP_READ, 1048576, false, 2 },
	{ "read, random, 4 KiB, two jobs", OP_READ, 4096, true, 2 },
	{ "write, sequential, 1 MiB, two jobs", OP_WRITE, 1048576, false, 2 },
	{ "write, random, 4 KiB, two jobs", OP_WRITE, 4096, true, 2 },
	{ "stat", OP_STAT, 4096, false, 1 },
	{ "open, close", OP_OPEN, 4096, false, 1 },
	{ "create, close, unlink", OP_CREATE, 4096, false, 1 },
};

/* Who sends requests: one thread's part of a round. */
struct job {
	pthread_t thread;
	const struct target *target;
	const struct kind *kind;
	char *buffer;
	uint64_t seed;
	uint64_t cursor; /* of sequential requests, kept over rounds */
	uint64_t end;
	uint64_t n;
	int number;
};

static void die(const char *what) __attribute__((noreturn));

static void
die(const char *what)
{
	(void)fprintf(stderr, "bench_read: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int
make(const char *path, uint64_t blocks)
{
	uint64_t words[BENCH_PAGE_BYTES / sizeof(uint64_t)] = { 0 };
	FILE *f = fopen(path, "we");
	uint64_t i;

	if (f == NULL)
		die(path);
	for (i = 0; i < blocks; i++) {
		words[0] = BENCH_MARK(i);
		(void)fwrite(words, sizeof(words), 1, f);
	}
	if (fflush(f) != 0 || fsync(fileno(f)) != 0 || fclose(f) != 0)
		die(path);
	return (0);
}

static void
check_mark(const struct job *j, uint64_t offset)
{
	uint64_t mark;

	memcpy(&mark, j->buffer, sizeof(mark));
	if (mark != BENCH_MARK(offset / BENCH_PAGE_BYTES)) {
		(void)fprintf(stderr, "bench_read: %s: wrong bytes at %llu\n", j->target->path,
		    (unsigned long long)offset);
		exit(1);
	}
}

static void
read_at(const struct job *j, uint64_t offset, unsigned bytes)
{
	errno = EIO;
	if (pread(j->target->fd, j->buffer, bytes, (off_t)offset) != (ssize_t)bytes)
		die(j->target->path);
	check_mark(j, offset);
}

static void
write_at(const struct job *j, uint64_t offset, unsigned bytes)
{
	for (unsigned at = 0; at < bytes; at += BENCH_PAGE_BYTES) {
		uint64_t mark = BENCH_MARK((offset + at) / BENCH_PAGE_BYTES);

		memcpy(j->buffer + at, &mark, sizeof(mark));
	}
	errno = EIO;
	if (pwrite(j->target->write_fd, j->buffer, bytes, (off_t)offset) != (ssize_t)bytes)
		die(j->target->path);
}

static void
open_close(const char *path, int flags)
{
	int fd;

	if ((fd = open(path, flags | O_CLOEXEC, 0600)) < 0 || close(fd) != 0)
		die(path);
}

static void
create_unlink(const struct job *j)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s.%d", j->target->path, j->number);
	open_close(path, O_RDWR | O_CREAT | O_EXCL);
	if (unlink(path) != 0)
		die(path);
}

static void
request(const struct job *j, uint64_t offset)
{
	const struct kind *k = j->kind;
	struct stat st;

	switch (k->op) {
	case OP_READ:
		read_at(j, offset, k->bytes);
		break;
	case OP_WRITE:
		write_at(j, offset, k->bytes);
		break;
	case OP_LOAD:
		memcpy(j->buffer, j->target->map + offset, k->bytes);
		check_mark(j, offset);
		break;
	case OP_STAT:
		if (stat(j->target->path, &st) != 0)
			die(j->target->path);
		break;
	case OP_OPEN:
		open_close(j->target->path, O_RDONLY);
		break;
	case OP_CREATE:
		create_unlink(j);
		break;
	}
}

/* FILE@PID: the path is what is before the last @, if there is one. */
static void
find_server(struct target *t, char *word)
{
	char *at = strrchr(word, '@');

	t->path = word;
	if (at == NULL)
		return;
	*at = '\0';
	if (clock_getcpuclockid((pid_t)strtol(at + 1, NULL, 10), &t->server) != 0)
		die("the server's clock");
	t->has_server = true;
}

static void
target_init(struct target *t, char *word, char *buffer)
{
	struct job whole = { .target = t, .buffer = buffer };
	struct stat st;

	*t = (struct target){ 0 };
	find_server(t, word);
	if ((t->fd = open(t->path, O_RDONLY | O_CLOEXEC)) < 0 || fstat(t->fd, &st) != 0 ||
	    (t->write_fd = open(t->path, O_WRONLY | O_CLOEXEC)) < 0)
		die(t->path);
	t->bytes = (uint64_t)st.st_size / MOST_BYTES * MOST_BYTES;
	if (t->bytes == 0) {
		errno = EINVAL;
		die(t->path);
	}
	for (uint64_t offset = 0; offset < t->bytes; offset += MOST_BYTES)
		read_at(&whole, offset, MOST_BYTES);
	t->map = mmap(NULL, t->bytes, PROT_READ, MAP_SHARED, t->fd, 0);
	if (t->map == MAP_FAILED)
		t->map = NULL;
}

static void *
job_main(void *arg)
{
	struct job *j = arg;
	const struct kind *k = j->kind;
	const uint32_t blocks = (uint32_t)(j->target->bytes / k->bytes);

	for (j->n = 0; j->n == 0 || bench_nsec() < j->end; j->n++) {
		if (k->random) {
			request(j, (uint64_t)bench_below(&j->seed, blocks) * k->bytes);
		} else {
			if (j->cursor + k->bytes > j->target->bytes)
				j->cursor = 0;
			request(j, j->cursor);
			j->cursor += k->bytes;
		}
	}
	return (NULL);
}

static uint64_t
server_nsec(const struct target *t)
{
	struct timespec ts = { 0 };

	if (t->has_server && clock_gettime(t->server, &ts) != 0)
		die("the server's clock");
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

struct figure {
	double usec;	    /* a request */
	double server_usec; /* of its server's processor time */
};

static struct figure
round_of(const struct target *t, struct job *jobs, const struct kind *k)
{
	const uint64_t worked = server_nsec(t), start = bench_nsec();
	uint64_t n = 0, took;

	for (int i = 0; i < k->jobs; i++) {
		jobs[i].end = start + (uint64_t)ROUND_MSEC * 1000000;
		if (k->jobs == 1)
			(void)job_main(&jobs[i]);
		else if (pthread_create(&jobs[i].thread, NULL, job_main, &jobs[i]) != 0)
			die("a thread");
	}
	for (int i = 0; k->jobs > 1 && i < k->jobs; i++)
		(void)pthread_join(jobs[i].thread, NULL);
	took = bench_nsec() - start;
	for (int i = 0; i < k->jobs; i++)
		n += jobs[i].n;
	return ((struct figure){ .usec = (double)took / 1e3 / (double)n,
	    .server_usec = (double)(server_nsec(t) - worked) / 1e3 / (double)n });
}

static int
ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return ((x > y) - (x < y));
}

static double
median(double *v)
{
	qsort(v, ROUNDS, sizeof(v[0]), ascending);
	return (v[ROUNDS / 2]);
}

/* The medians of each target's rounds, 0 for one that cannot do it. */
static void
measure(const struct target *t, int n, const struct kind *k, char *buffer, struct figure *m)
{
	double v[TARGETS][ROUNDS] = { 0 }, w[TARGETS][ROUNDS] = { 0 };
	struct job jobs[TARGETS][JOBS];
	struct figure f;

	for (int s = 0; s < n; s++)
		for (int i = 0; i < JOBS; i++)
			jobs[s][i] = (struct job){ .target = &t[s],
				.kind = k,
				.buffer = buffer + (size_t)i * MOST_BYTES,
				.seed = BENCH_SEED(i),
				.cursor = t[s].bytes / JOBS * (unsigned)i,
				.number = i };
	for (int i = 0; i < ROUNDS; i++)
		for (int s = 0; s < n; s++) {
			if (k->op == OP_LOAD && t[s].map == NULL)
				continue;
			f = round_of(&t[s], jobs[s], k);
			v[s][i] = f.usec;
			w[s][i] = f.server_usec;
		}
	for (int s = 0; s < n; s++)
		m[s] = (struct figure){ median(v[s]), median(w[s]) };
}

static void
compare(const char *label, const struct target *t, int n, const struct kind *k, char *buffer)
{
	struct figure m[TARGETS];
	int s;

	measure(t, n, k, buffer, m);
	(void)printf("| %s, %s |", k->what, label);
	for (s = 0; s < n; s++)
		(void)printf(" %.1f |", m[s].usec);
	for (s = 1; s < n; s++)
		(void)printf(" %.2f |", m[0].usec > 0 ? m[s].usec / m[0].usec : 0);
	for (s = 0; s < n; s++)
		if (t[s].has_server)
			(void)printf(" %.1f |", m[s].server_usec);
	(void)printf("\n");
	(void)fflush(stdout);
}

int
main(int argc, char **argv)
{
	const char *only = getenv("BENCH_ROWS");
	struct target t[TARGETS];
	char *buffer;
	size_t i;
	int n = argc - 3;

	if (argc == 4 && strcmp(argv[1], "make") == 0)
		return (make(argv[2], strtoull(argv[3], NULL, 10) * (1048576 / BENCH_PAGE_BYTES)));
	if (n < 1 || n > TARGETS || strcmp(argv[1], "compare") != 0) {
		(void)fputs("usage: bench_read make FILE MIB\n"
			    "       bench_read compare LABEL FILE[@PID]...\n",
		    stderr);
		return (2);
	}
	if (posix_memalign((void **)&buffer, 4096, (size_t)JOBS * MOST_BYTES) != 0)
		die("memory");
	for (int s = 0; s < n; s++)
		target_init(&t[s], argv[3 + s], buffer);
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (only == NULL || strstr(kinds[i].what, only) != NULL)
			compare(argv[2], t, n, &kinds[i], buffer);
	return (0);
}
