/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_team.h - the processes of one side of the comparison, over one pool, and what they are
 * told to do.  A team obeys one order at a time, all of it at once.
 */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "bench.h"

#define ROUND_MSEC 300
#define MOST_WORKERS 8

enum op {
	OP_HITS,
	OP_PINS,
	OP_ZIPF,
	OP_FILES,
	OP_SCAN,
	OP_SCAN_AHEAD,
	OP_DIRTY,
	OP_SYNC,
	OP_STAT,
	OP_VERIFY,
	OP_MEMORY,
	OP_QUIT
};

/* What a stage has: pages in files, a pool, processes. */
struct shape {
	uint32_t pages;	      /* of all files together */
	uint32_t cache_pages; /* of the pool */
	unsigned nworkers;
	unsigned nfiles; /* of as many pages each */
	bool one_thread; /* opened without DB_THREAD */
	bool sparse;	 /* files without contents: pages are zeros */
};

struct worker {
	pid_t pid;
	int orders;
	int answers;
};

/* One side in one stage. */
struct team {
	const struct bench_side *side;
	struct shape shape;
	const uint32_t *sample; /* page numbers for OP_ZIPF, BENCH_SAMPLE of them */
	char home[PATH_MAX];
	char file[PATH_MAX];
	struct worker workers[MOST_WORKERS];
	volatile unsigned *arrived; /* at the barrier, in shared memory; never reset */
};

/* Make a home in base, the files, and the processes, which bring every page in. */
void team_init(struct team *t, const struct bench_side *side, const struct shape *shape,
    const char *base, const uint32_t *sample);
void team_fini(struct team *t);

/* All workers of a team do the same at once; the sum of their results. */
struct bench_result team_command(const struct team *t, enum op op, uint32_t n);

/* Remove a directory and all that is in it, on this file system. */
void remove_tree(const char *path);

void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
