/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_read.c - the same requests to several files in turn: one under a mount, one in the bare
 * directory, one of a server that does nothing.
 *
 *	bench_read make FILE MIB		a file whose every 4 KiB block carries its number
 *	bench_read compare LABEL FILE OTHER...	rows of a markdown table
 *
 * All files are read whole once first, so that the OS cache has them (and the mount's pool what it
 * can hold).  Then each kind of request goes to one file for ROUND_MSEC, to the other, and so on; a
 * figure is the median of ROUNDS rounds.  Every request's block number is checked.  Nothing else is
 * warmed or dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS 5
#define ROUND_MSEC 400
#define MOST_BYTES (1u << 20)
#define TARGETS 3

struct target {
	const char *path;
	int fd;
	int write_fd;
	const char *map; /* NULL: it cannot be mapped */
	uint64_t bytes;
	uint64_t cursor; /* of sequential reads, kept over rounds */
	uint64_t seed;
};

enum op { OP_READ, OP_WRITE, OP_LOAD, OP_STAT, OP_OPEN };

struct kind {
	const char *what;
	enum op op;
	unsigned bytes; /* of a request */
	bool random;
};

static const struct kind kinds[] = {
	{ "read, sequential, 4 KiB", OP_READ, 4096, false },
	{ "read, sequential, 128 KiB", OP_READ, 131072, false },
	{ "read, sequential, 1 MiB", OP_READ, 1048576, false },
	{ "read, random, 4 KiB", OP_READ, 4096, true },
	{ "mapped read, random, 4 KiB", OP_LOAD, 4096, true },
	{ "write, sequential, 4 KiB", OP_WRITE, 4096, false },
	{ "write, sequential, 1 MiB", OP_WRITE, 1048576, false },
	{ "write, random, 4 KiB", OP_WRITE, 4096, true },
	{ "stat", OP_STAT, 4096, false },
	{ "open, close", OP_OPEN, 4096, false },
};

static char *buffer;

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
check_mark(const struct target *t, uint64_t offset)
{
	uint64_t mark;

	memcpy(&mark, buffer, sizeof(mark));
	if (mark != BENCH_MARK(offset / BENCH_PAGE_BYTES)) {
		(void)fprintf(stderr, "bench_read: %s: wrong bytes at %llu\n", t->path,
		    (unsigned long long)offset);
		exit(1);
	}
}

static void
read_at(struct target *t, uint64_t offset, unsigned bytes)
{
	errno = EIO;
	if (pread(t->fd, buffer, bytes, (off_t)offset) != (ssize_t)bytes)
		die(t->path);
	check_mark(t, offset);
}

static void
write_at(struct target *t, uint64_t offset, unsigned bytes)
{
	for (unsigned at = 0; at < bytes; at += BENCH_PAGE_BYTES) {
		uint64_t mark = BENCH_MARK((offset + at) / BENCH_PAGE_BYTES);

		memcpy(buffer + at, &mark, sizeof(mark));
	}
	errno = EIO;
	if (pwrite(t->write_fd, buffer, bytes, (off_t)offset) != (ssize_t)bytes)
		die(t->path);
}

static void
request(struct target *t, const struct kind *k, uint64_t offset)
{
	struct stat st;
	int fd;

	switch (k->op) {
	case OP_READ:
		read_at(t, offset, k->bytes);
		break;
	case OP_WRITE:
		write_at(t, offset, k->bytes);
		break;
	case OP_LOAD:
		memcpy(buffer, t->map + offset, k->bytes);
		check_mark(t, offset);
		break;
	case OP_STAT:
		if (stat(t->path, &st) != 0)
			die(t->path);
		break;
	case OP_OPEN:
		if ((fd = open(t->path, O_RDONLY | O_CLOEXEC)) < 0 || close(fd) != 0)
			die(t->path);
		break;
	}
}

static void
target_init(struct target *t, const char *path)
{
	struct stat st;
	uint64_t offset;

	*t = (struct target){ .path = path, .seed = BENCH_SEED(0) };
	if ((t->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0 || fstat(t->fd, &st) != 0 ||
	    (t->write_fd = open(path, O_WRONLY | O_CLOEXEC)) < 0)
		die(path);
	t->bytes = (uint64_t)st.st_size / MOST_BYTES * MOST_BYTES;
	if (t->bytes == 0) {
		errno = EINVAL;
		die(path);
	}
	for (offset = 0; offset < t->bytes; offset += MOST_BYTES)
		read_at(t, offset, MOST_BYTES);
	t->map = mmap(NULL, t->bytes, PROT_READ, MAP_SHARED, t->fd, 0);
	if (t->map == MAP_FAILED)
		t->map = NULL;
}

/* Microseconds a request. */
static double
round_of(struct target *t, const struct kind *k)
{
	const uint64_t start = bench_nsec(), end = start + (uint64_t)ROUND_MSEC * 1000000;
	const uint32_t blocks = (uint32_t)(t->bytes / k->bytes);
	uint64_t now, n = 0;

	do {
		if (k->random) {
			request(t, k, (uint64_t)bench_below(&t->seed, blocks) * k->bytes);
		} else {
			if (t->cursor + k->bytes > t->bytes)
				t->cursor = 0;
			request(t, k, t->cursor);
			t->cursor += k->bytes;
		}
		n++;
		now = bench_nsec();
	} while (now < end);
	return ((double)(now - start) / 1e3 / (double)n);
}

static int
ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return ((x > y) - (x < y));
}

/* The median of each target's rounds, 0 for one that cannot do it. */
static void
measure(struct target *t, int n, const struct kind *k, double *m)
{
	double v[TARGETS][ROUNDS];
	int i, s;

	for (i = 0; i < ROUNDS; i++)
		for (s = 0; s < n; s++) {
			t[s].cursor = i == 0 ? 0 : t[s].cursor;
			v[s][i] = k->op == OP_LOAD && t[s].map == NULL ? 0 : round_of(&t[s], k);
		}
	for (s = 0; s < n; s++) {
		qsort(v[s], ROUNDS, sizeof(v[s][0]), ascending);
		m[s] = v[s][ROUNDS / 2];
	}
}

static void
compare(const char *label, struct target *t, int n, const struct kind *k)
{
	double m[TARGETS];
	int s;

	measure(t, n, k, m);
	(void)printf("| %s, %s |", k->what, label);
	for (s = 0; s < n; s++)
		(void)printf(" %.1f |", m[s]);
	for (s = 1; s < n; s++)
		(void)printf(" %.2f |", m[0] > 0 ? m[s] / m[0] : 0);
	(void)printf("\n");
	(void)fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct target t[TARGETS];
	size_t i;
	int n = argc - 3;

	if (argc == 4 && strcmp(argv[1], "make") == 0)
		return (make(argv[2], strtoull(argv[3], NULL, 10) * (1048576 / BENCH_PAGE_BYTES)));
	if (n < 1 || n > TARGETS || strcmp(argv[1], "compare") != 0) {
		(void)fputs("usage: bench_read make FILE MIB\n"
			    "       bench_read compare LABEL FILE OTHER...\n",
		    stderr);
		return (2);
	}
	if (posix_memalign((void **)&buffer, 4096, MOST_BYTES) != 0)
		die("memory");
	for (int s = 0; s < n; s++)
		target_init(&t[s], argv[3 + s]);
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		compare(argv[2], t, n, &kinds[i]);
	return (0);
}
