/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench.h - what the two sides of the comparison have in common.
 *
 * poolfs/mpool.h and db.h give the same names to different things, so each side is a .c file of its
 * own that includes one of them, and bench_pool.c knows only struct bench_side.  The measured loops
 * are the same text for both (bench_loops.h), compiled into each side: no call through a pointer
 * is measured.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BENCH_PAGE_BYTES 4096
/* The first words of page n of a file under test: who it is, and a stamp that dirtying raises. */
#define BENCH_MARK(pgno) (UINT64_C(0x706f6f6c66730000) ^ ((uint64_t)(pgno) << 16))
#define BENCH_STAMP_OFFSET 8

struct bench_result {
	uint64_t ops;
	uint64_t nsec;	  /* that they took */
	uint64_t wrong;	  /* pages whose mark was not theirs */
	uint64_t read;	  /* pages read from the file meanwhile */
	uint64_t written; /* pages written meanwhile */
};

struct bench_stat {
	uint64_t read;
	uint64_t written;
};

struct bench_handle;

/* Where a side works, and with what. */
struct bench_place {
	const char *home;   /* the pool's directory */
	size_t cache_bytes; /* of pages */
	const char *file;
	uint32_t pages;	 /* of the file, or of all files together */
	uint32_t files;	 /* as many; their names: bench_file_name */
	unsigned worker; /* number of the process among those that use the pool */
	int one_thread;	 /* opened without DB_THREAD */
	int sparse;	 /* pages are zeros, and have no marks */
};

/* All return 0 or an error number; loops run for about msec milliseconds. */
struct bench_side {
	const char *name;
	/* Join, or create, the pool, and open the file in it. */
	int (*open)(const struct bench_place *at, struct bench_handle **hp);
	void (*close)(struct bench_handle *h);
	/* Get, read a word, put: each page once, in order; random ones of the first n. */
	int (*touch)(struct bench_handle *h);
	int (*hits)(struct bench_handle *h, uint32_t n, unsigned msec, struct bench_result *res);
	/* Get and put: what is in the pages is not looked at. */
	int (*pins)(struct bench_handle *h, uint32_t n, unsigned msec, struct bench_result *res);
	/* As hits, with pages drawn as in `sample`, of BENCH_SAMPLE numbers. */
	int (*zipf)(struct bench_handle *h, const uint32_t *sample, unsigned msec,
	    struct bench_result *res);
	/* Random pages of all files. */
	int (*files)(struct bench_handle *h, unsigned msec, struct bench_result *res);
	/* The pages in order, on from where the last scan stopped. */
	int (*scan)(struct bench_handle *h, unsigned msec, struct bench_result *res);
	/* The same, announcing each 64 pages; NULL where there is no such call. */
	int (*scan_ahead)(struct bench_handle *h, unsigned msec, struct bench_result *res);
	/* Raise the stamp of random pages, and note it in stamps[]. */
	int (*dirty)(
	    struct bench_handle *h, uint64_t *stamps, unsigned msec, struct bench_result *res);
	/* Dirty n random pages, then measure writing them out and fsync. */
	int (*sync)(struct bench_handle *h, uint64_t *stamps, uint32_t n, struct bench_result *res);
	/* Measure the pool's statistics call. */
	int (*stat)(struct bench_handle *h, unsigned msec, struct bench_result *res);
	/* Where the pages begin in the region's file; ULONG_MAX: they lie among the rest. */
	unsigned long (*pages_at)(struct bench_handle *h);
};

#define BENCH_SAMPLE 65536u

extern const struct bench_side bench_ours, bench_libdb, bench_bare;

/* Of several files number i has a name of its own, else it is `file`. */
static inline void
bench_file_name(char *name, size_t bytes, const char *file, uint32_t i)
{
	(void)snprintf(name, bytes, i == 0 ? "%s" : "%s.%u", file, i);
}

static inline uint64_t
bench_nsec(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec);
}

/* xorshift64: a dozen instructions at most, the same sequence for both sides. */
static inline uint64_t
bench_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (*state = x);
}

#define BENCH_SEED(worker) (UINT64_C(88172645463325252) + (worker)*UINT64_C(1000003))

/* A number below n, uniform. */
static inline uint32_t
bench_below(uint64_t *state, uint32_t n)
{
	return ((uint32_t)(((bench_random(state) >> 32) * n) >> 32));
}

#endif
