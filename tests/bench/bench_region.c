/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_region.c - what it costs to create a large region, to join it, to take over what a dead
 * creator left, and to change its size; beside libdb 5.3 in the same run.
 *
 *	bench_region [MIB [ROUNDS]]	4096 MiB, 15 rounds
 *
 * Each round does each thing once, one after another, in a directory of its own on $TMPDIR's (or
 * /var/tmp's) file system; the table has the medians, and how many times longer libdb needs.
 * The pools are empty: nobody touches their pages.  Who joins does so while another handle stays
 * attached.
 */
#include "bench_region.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poolfs/mpool.h>
#include <poolfs/region.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS_MOST 200
#define JOINS 200 /* in one measurement */

enum what {
	POOL_CREATE,
	POOL_CREATE_SYSTEM,
	LIBDB_CREATE,
	POOL_JOIN,
	POOL_JOIN_SYSTEM,
	LIBDB_JOIN,
	REGION_CREATE,
	REGION_JOIN,
	REGION_LEFTOVER,
	REGION_LEFTOVER_SMALL,
	REGION_GROW,
	REGION_SHRINK,
	WHATS
};

static const struct {
	const char *name;
	int beside; /* libdb's line */
} lines[WHATS] = {
	[POOL_CREATE] = { "pool: create, in a file", LIBDB_CREATE },
	[POOL_CREATE_SYSTEM] = { "pool: create, System V segment", LIBDB_CREATE },
	[LIBDB_CREATE] = { "libdb 5.3: create", -1 },
	[POOL_JOIN] = { "pool: join and leave, in a file", LIBDB_JOIN },
	[POOL_JOIN_SYSTEM] = { "pool: join and leave, System V segment", LIBDB_JOIN },
	[LIBDB_JOIN] = { "libdb 5.3: join and leave", -1 },
	[REGION_CREATE] = { "region: create, in a file", LIBDB_CREATE },
	[REGION_JOIN] = { "region: join and leave", LIBDB_JOIN },
	[REGION_LEFTOVER] = { "region: take over what a dead creator left", -1 },
	[REGION_LEFTOVER_SMALL] = { "the same, 64 MiB", -1 },
	[REGION_GROW] = { "region: grow from a quarter of it", -1 },
	[REGION_SHRINK] = { "region: shrink to a quarter of it", -1 },
};

static uint64_t nsec[WHATS][ROUNDS_MOST];
static char home[256];
static size_t bytes;

static void
must(int ret, const char *what)
{
	if (ret == 0)
		return;
	fprintf(stderr, "bench_region: %s: %s\n", what, db_strerror(ret));
	exit(1);
}

static void
empty_home(void)
{
	DIR *d = opendir(home);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		(void)closedir(d);
}

static void
pools(int round, u_int32_t flags, enum what create, enum what join)
{
	DB_ENV env = { .db_home = home, .mp_size = bytes, .region_flags = flags };
	DB_MPOOL *first, *mp;
	uint64_t t;
	int i;

	env.db_errfile = stderr;
	t = bench_nsec();
	must(memp_open(NULL, DB_CREATE, 0, &env, &first), "memp_open");
	nsec[create][round] = bench_nsec() - t;
	t = bench_nsec();
	for (i = 0; i < JOINS; i++) {
		must(memp_open(NULL, 0, 0, &env, &mp), "memp_open");
		must(memp_close(mp), "memp_close");
	}
	nsec[join][round] = (bench_nsec() - t) / JOINS;
	must(memp_close(first), "memp_close");
	must(memp_unlink(NULL, 1, &env), "memp_unlink");
	empty_home();
}

static void
libdbs(int round)
{
	struct libdb_env *first, *e;
	uint64_t t;
	int i;

	t = bench_nsec();
	must(libdb_open(home, bytes, 1, &first), "libdb create");
	nsec[LIBDB_CREATE][round] = bench_nsec() - t;
	t = bench_nsec();
	for (i = 0; i < JOINS; i++) {
		must(libdb_open(home, bytes, 0, &e), "libdb join");
		libdb_close(e);
	}
	nsec[LIBDB_JOIN][round] = (bench_nsec() - t) / JOINS;
	libdb_close(first);
	empty_home();
}

/* The file is all there, but not valid: its creator died at the last step. */
static void
leave_half_made(void)
{
	static const uint32_t zero;
	char path[300];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/__db_bench.share", home);
	if ((fd = open(path, O_WRONLY | O_CLOEXEC)) == -1 || pwrite(fd, &zero, 4, 8) != 4)
		must(errno, path);
	(void)close(fd);
}

/* Most of it is unlink(2), which frees the blocks. */
static void
leftover(int round, size_t size, enum what what)
{
	DB_ENV env = { .db_home = home, .db_errfile = stderr };
	DB_REGION *reg;
	uint64_t t;

	must(memr_open(NULL, "bench", DB_CREATE, 0, size, &env, &reg), "memr_open");
	must(memr_close(reg), "memr_close");
	leave_half_made();
	t = bench_nsec();
	must(memr_open(NULL, "bench", DB_CREATE, 0, 65536, &env, &reg), "memr_open");
	nsec[what][round] = bench_nsec() - t;
	must(memr_close(reg), "memr_close");
	must(memr_unlink(NULL, "bench", 0, &env), "memr_unlink");
}

static void
regions(int round)
{
	DB_ENV env = { .db_home = home, .region_max = bytes, .db_errfile = stderr };
	DB_REGION *first, *reg;
	uint64_t t;
	int i;

	t = bench_nsec();
	must(memr_open(NULL, "bench", DB_CREATE, 0, bytes, &env, &first), "memr_open");
	nsec[REGION_CREATE][round] = bench_nsec() - t;
	t = bench_nsec();
	for (i = 0; i < JOINS; i++) {
		must(memr_open(NULL, "bench", 0, 0, 0, &env, &reg), "memr_open");
		must(memr_close(reg), "memr_close");
	}
	nsec[REGION_JOIN][round] = (bench_nsec() - t) / JOINS;
	t = bench_nsec();
	must(memr_shrink(first, bytes / 4), "memr_shrink");
	nsec[REGION_SHRINK][round] = bench_nsec() - t;
	t = bench_nsec();
	must(memr_grow(first, bytes), "memr_grow");
	nsec[REGION_GROW][round] = bench_nsec() - t;
	must(memr_close(first), "memr_close");
	must(memr_unlink(NULL, "bench", 0, &env), "memr_unlink");
	leftover(round, bytes, REGION_LEFTOVER);
	leftover(round, (size_t)64 << 20, REGION_LEFTOVER_SMALL);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
print(int rounds)
{
	double median[WHATS];
	int w;

	for (w = 0; w < WHATS; w++) {
		qsort(nsec[w], (size_t)rounds, sizeof(nsec[w][0]), compare);
		median[w] = (double)nsec[w][rounds / 2] / 1e6;
	}
	printf("| %zu MiB, median of %d | ms | a second | libdb takes |\n|---|---|---|---|\n",
	    bytes >> 20, rounds);
	for (w = 0; w < WHATS; w++) {
		printf("| %s | %.3f | %.0f | ", lines[w].name, median[w], 1000 / median[w]);
		if (lines[w].beside >= 0)
			printf("%.1f times as long |\n", median[lines[w].beside] / median[w]);
		else
			printf("|\n");
	}
}

int
main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	int rounds = argc > 2 ? atoi(argv[2]) : 15, i;

	bytes = (argc > 1 ? (size_t)atol(argv[1]) : 4096) << 20;
	if (rounds < 1 || rounds > ROUNDS_MOST || bytes == 0) {
		fprintf(stderr, "usage: bench_region [MIB [ROUNDS]]\n");
		return 2;
	}
	(void)snprintf(home, sizeof(home), "%s/bench_region.XXXXXX", tmp ? tmp : "/var/tmp");
	if (mkdtemp(home) == NULL)
		must(errno, home);
	for (i = 0; i < rounds; i++) {
		pools(i, 0, POOL_CREATE, POOL_JOIN);
		libdbs(i);
		pools(i, DB_SYSTEM_MEM, POOL_CREATE_SYSTEM, POOL_JOIN_SYSTEM);
		regions(i);
	}
	print(rounds);
	empty_home();
	(void)rmdir(home);
	return 0;
}
