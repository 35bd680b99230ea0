/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_lock - what a lock costs, beside libdb 5.3.
 *
 * Each round is a pair of processes, or one, that get and put locks on objects of their own for a
 * fixed number of times; the sides take turns, who begins too, and the medians of their rounds are
 * compared.  Time is a process's own CPU time where one runs, and the wall's where two do, so that
 * figures of a busy machine are worth something as ratios.
 */
#include "bench_lock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 11
#define PAIRS 300000u
#define MOST_WORKERS 2

static char base[256];

static void
die(const char *what)
{
	fprintf(stderr, "bench_lock: %s\n", what);
	exit(1);
}

static double
seconds(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One worker's round in a process of its own; nanoseconds a pair, into the pipe. */
static void
work(const struct lock_side *side, const char *home, uint32_t worker, uint32_t objects, int ready,
    int go, int out, clockid_t clock)
{
	double begun, took;
	char byte = 'r';

	if (side->open(home) != 0 || side->pairs(worker, objects, PAIRS / 10) != 0)
		die("a worker cannot lock");
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
		die("a worker lost its driver");
	begun = seconds(clock);
	if (side->pairs(worker, objects, PAIRS) != 0)
		die("a worker cannot lock any more");
	took = (seconds(clock) - begun) * 1e9 / PAIRS;
	if (write(out, &took, sizeof(took)) != (ssize_t)sizeof(took))
		die("a worker cannot answer");
	side->close();
	_exit(0);
}

/* The mean of the workers' nanoseconds. */
static double
run_round(const struct lock_side *side, const char *home, uint32_t workers, uint32_t objects)
{
	clockid_t clock = workers == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
	int ready[2], go[2], out[2], status;
	double sum = 0, one;
	char byte;

	if (pipe(ready) != 0 || pipe(go) != 0 || pipe(out) != 0)
		die("no pipe");
	for (uint32_t w = 0; w < workers; w++)
		if (fork() == 0)
			work(side, home, w, objects, ready[1], go[0], out[1], clock);
	for (uint32_t w = 0; w < workers; w++)
		if (read(ready[0], &byte, 1) != 1)
			die("a worker does not come");
	if (write(go[1], "gg", workers) != (ssize_t)workers)
		die("the workers cannot be told");
	for (uint32_t w = 0; w < workers; w++) {
		if (read(out[0], &one, sizeof(one)) != (ssize_t)sizeof(one))
			die("a worker does not answer");
		sum += one;
	}
	while (wait(&status) > 0)
		if (status != 0)
			die("a worker failed");
	for (int i = 0; i < 2; i++) {
		(void)close(ready[i]);
		(void)close(go[i]);
		(void)close(out[i]);
	}
	return sum / workers;
}

static int
by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static const char *
objects_text(uint32_t objects)
{
	return objects == 0 ? "a new object each time" :
	    objects == 1    ? "the same object" :
	    objects == 1000 ? "1000 objects in turn" :
			      "20000 objects in turn";
}

static void
compare(uint32_t workers, uint32_t objects)
{
	static const struct lock_side *const sides[] = { &lock_ours, &lock_libdb };
	double v[2][ROUNDS], m[2];
	char home[300];

	for (int r = 0; r < ROUNDS; r++)
		for (int k = 0; k < 2; k++) {
			int s = (r + k) % 2;

			(void)snprintf(home, sizeof(home), "%s/%s", base, sides[s]->name);
			v[s][r] = run_round(sides[s], home, workers, objects);
		}
	for (int s = 0; s < 2; s++) {
		qsort(v[s], ROUNDS, sizeof(v[s][0]), by_value);
		m[s] = v[s][ROUNDS / 2];
	}
	if (workers == 1)
		printf("| get and put, %s, one process | ns | %.0f | %.0f | %.1f |\n",
		    objects_text(objects), m[0], m[1], m[1] / m[0]);
	else
		printf(
		    "| the same, two processes, %s | million/s together | %.1f | %.1f | %.1f |\n",
		    objects_text(objects), workers * 1e3 / m[0], workers * 1e3 / m[1], m[1] / m[0]);
	(void)fflush(stdout);
}

static void
remove_base(void)
{
	char command[400];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", base);
	(void)!system(command);
}

int
main(void)
{
	static const char *const what[] = { "in one queue", "in a chain", "who all upgrade" };
	static const uint32_t objects[] = { 1, 1000, 20000, 0 };
	const char *dir = getenv("TMPDIR");
	char home[300];

	(void)snprintf(base, sizeof(base), "%s/poolfs-bench-XXXXXX", dir != NULL ? dir : "/tmp");
	if (mkdtemp(base) == NULL)
		die("no directory");
	(void)snprintf(home, sizeof(home), "%s/poolfs", base);
	(void)mkdir(home, 0700);
	(void)snprintf(home, sizeof(home), "%s/libdb", base);
	(void)mkdir(home, 0700);
	printf("| locks | unit | poolfs | libdb 5.3 | times as fast |\n|---|---|---:|---:|---:|\n");
	for (unsigned i = 0; i < 4; i++)
		compare(1, objects[i]);
	for (unsigned i = 0; i < 4; i++)
		compare(2, objects[i]);
	(void)snprintf(home, sizeof(home), "%s/detect", base);
	for (int crowd = CROWD_QUEUE; crowd < CROWDS; crowd++) {
		(void)mkdir(home, 0700);
		printf("| lock_detect, 1000 waiters %s | ms | %.2f | | |\n", what[crowd],
		    lock_detect_usec(home, 1000, (enum lock_crowd)crowd) / 1000);
	}
	printf("\nMedians of %d rounds of %u pairs, the two sides in turn, who begins too; of the "
	       "detector the best of 20.\n",
	    ROUNDS, PAIRS);
	remove_base();
	return 0;
}
