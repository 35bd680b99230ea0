/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_read.c - the same reads from two files in turn: one under a mount, one in the bare
 * directory.
 *
 *	bench_read make FILE MIB		a file whose every 4 KiB block carries its number
 *	bench_read compare LABEL FILE BARE	rows of a markdown table
 *
 * Both files are read whole once first, so that the OS cache has them (and the mount's pool what it
 * can hold).  Then each kind of request goes to one file for ROUND_MSEC, to the other, and so on; a
 * figure is the median of ROUNDS rounds.  Every request's block number is checked.  Nothing else is
 * warmed or dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS 5
#define ROUND_MSEC 400
#define MOST_BYTES (1u << 20)

struct target {
	const char *path;
	int fd;
	uint64_t bytes;
	uint64_t cursor; /* of sequential reads, kept over rounds */
	uint64_t seed;
};

struct kind {
	const char *what;
	unsigned bytes; /* of a request */
	bool random;
};

static const struct kind kinds[] = {
	{ "sequential, 4 KiB", 4096, false },
	{ "sequential, 128 KiB", 131072, false },
	{ "sequential, 1 MiB", 1048576, false },
	{ "random, 4 KiB", 4096, true },
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
read_at(struct target *t, uint64_t offset, unsigned bytes)
{
	uint64_t mark;

	errno = EIO;
	if (pread(t->fd, buffer, bytes, (off_t)offset) != (ssize_t)bytes)
		die(t->path);
	memcpy(&mark, buffer, sizeof(mark));
	if (mark != BENCH_MARK(offset / BENCH_PAGE_BYTES)) {
		(void)fprintf(stderr, "bench_read: %s: wrong bytes at %llu\n", t->path,
		    (unsigned long long)offset);
		exit(1);
	}
}

static void
target_init(struct target *t, const char *path)
{
	struct stat st;
	uint64_t offset;

	*t = (struct target){ .path = path, .seed = BENCH_SEED(0) };
	if ((t->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0 || fstat(t->fd, &st) != 0)
		die(path);
	t->bytes = (uint64_t)st.st_size / MOST_BYTES * MOST_BYTES;
	if (t->bytes == 0) {
		errno = EINVAL;
		die(path);
	}
	for (offset = 0; offset < t->bytes; offset += MOST_BYTES)
		read_at(t, offset, MOST_BYTES);
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
			read_at(t, (uint64_t)bench_below(&t->seed, blocks) * k->bytes, k->bytes);
		} else {
			if (t->cursor + k->bytes > t->bytes)
				t->cursor = 0;
			read_at(t, t->cursor, k->bytes);
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

static double
mib_per_second(unsigned bytes, double usec)
{
	return ((double)bytes / (1 << 20) / (usec / 1e6));
}

static void
compare(const char *label, struct target t[2], const struct kind *k)
{
	double v[2][ROUNDS], m[2];
	int i, s;

	t[0].cursor = t[1].cursor = 0;
	for (i = 0; i < ROUNDS; i++)
		for (s = 0; s < 2; s++)
			v[s][i] = round_of(&t[s], k);
	for (s = 0; s < 2; s++) {
		qsort(v[s], ROUNDS, sizeof(v[s][0]), ascending);
		m[s] = v[s][ROUNDS / 2];
	}
	(void)printf("| %s, %s | %.1f | %.0f | %.1f | %.0f | %.2f |\n", k->what, label, m[0],
	    mib_per_second(k->bytes, m[0]), m[1], mib_per_second(k->bytes, m[1]), m[1] / m[0]);
	(void)fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct target t[2];
	size_t i;

	if (argc == 4 && strcmp(argv[1], "make") == 0)
		return (make(argv[2], strtoull(argv[3], NULL, 10) * (1048576 / BENCH_PAGE_BYTES)));
	if (argc != 5 || strcmp(argv[1], "compare") != 0) {
		(void)fputs("usage: bench_read make FILE MIB\n"
			    "       bench_read compare LABEL FILE BARE\n",
		    stderr);
		return (2);
	}
	if (posix_memalign((void **)&buffer, 4096, MOST_BYTES) != 0)
		die("memory");
	target_init(&t[0], argv[3]);
	target_init(&t[1], argv[4]);
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		compare(argv[2], t, &kinds[i]);
	return (0);
}
