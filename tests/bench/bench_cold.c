/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_cold.c - a file read by some threads at once, in order or at random, each with a
 * descriptor of its own; for bench_work.py, which drops the file from all caches first.
 *
 *	bench_cold FILE JOBS PIECE		all of it, each thread its part
 *	bench_cold FILE JOBS PIECE READS	so many pieces at random, by all together
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define JOBS 16

struct job {
	pthread_t thread;
	const char *path;
	size_t piece;
	uint64_t first, n; /* pieces: of its part, or that there are */
	uint64_t reads;	   /* 0: in order */
	uint64_t seed;
};

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void *
job_main(void *arg)
{
	struct job *j = arg;
	int fd = open(j->path, O_RDONLY);
	void *buf;

	if (fd == -1 || posix_memalign(&buf, 4096, j->piece) != 0)
		die(j->path);
	for (uint64_t i = 0; i < (j->reads != 0 ? j->reads : j->n); i++) {
		uint64_t at = j->reads != 0 ? bench_random(&j->seed) % j->n : j->first + i;

		if (pread(fd, buf, j->piece, (off_t)(at * j->piece)) != (ssize_t)j->piece)
			die(j->path);
	}
	free(buf);
	(void)close(fd);
	return (NULL);
}

static uint64_t
pieces_of(const char *path, size_t piece)
{
	struct stat st;

	if (piece == 0 || stat(path, &st) != 0 || (uint64_t)st.st_size < piece)
		die(path);
	return ((uint64_t)st.st_size / piece);
}

int
main(int argc, char **argv)
{
	struct job jobs[JOBS];
	uint64_t n, reads;
	size_t piece;
	int njobs;

	if (argc < 4 || argc > 5 || (njobs = atoi(argv[2])) < 1 || njobs > JOBS) {
		(void)fputs("usage: bench_cold FILE JOBS PIECE [READS]\n", stderr);
		return (2);
	}
	piece = strtoull(argv[3], NULL, 10);
	n = pieces_of(argv[1], piece);
	reads = argc == 5 ? strtoull(argv[4], NULL, 10) / (unsigned)njobs : 0;
	for (int i = 0; i < njobs; i++) {
		jobs[i] = (struct job){ .path = argv[1],
			.piece = piece,
			.first = n / (unsigned)njobs * (unsigned)i,
			.n = reads != 0 ? n : n / (unsigned)njobs,
			.reads = reads,
			.seed = BENCH_SEED((unsigned)i) };
		if (pthread_create(&jobs[i].thread, NULL, job_main, &jobs[i]) != 0)
			die("a thread");
	}
	for (int i = 0; i < njobs; i++)
		(void)pthread_join(jobs[i].thread, NULL);
	return (0);
}
