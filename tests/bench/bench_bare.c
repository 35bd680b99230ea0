/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_bare.c - the same work without any pool: pread and pwrite of whole pages between the file
 * and as much memory as the pools have, round and round.
 *
 * What no pool over the same files can be faster than when it has to read or write: nothing is
 * looked up, nothing is kept, a change is written at once.  A scan reads 64 pages at a time; sync
 * writes its pages in order, each with a request of its own, and calls fsync.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define AHEAD_PAGES 64

struct bench_handle {
	uint64_t seed, marks;
	uint32_t pages, nfiles;
	uint32_t cursor;
	int fd;
	uint64_t slots, next; /* of memory */
	char *memory;
	struct bench_stat done;
	uint32_t *numbers; /* of the page in a slot */
};

static inline int
side_get(struct bench_handle *h, uint32_t pgno, void **pagep)
{
	uint64_t slot = h->next++ % h->slots;
	char *page = h->memory + slot * BENCH_PAGE_BYTES;

	if (pread(h->fd, page, BENCH_PAGE_BYTES, (off_t)pgno * BENCH_PAGE_BYTES) !=
	    BENCH_PAGE_BYTES)
		return (EIO);
	h->numbers[slot] = pgno;
	h->done.read++;
	*pagep = page;
	return (0);
}

static inline int
side_get_dirty(struct bench_handle *h, uint32_t pgno, void **pagep)
{
	return (side_get(h, pgno, pagep));
}

static inline int
side_put(struct bench_handle *h, void *page)
{
	(void)h;
	(void)page;
	return (0);
}

static inline int
side_put_dirty(struct bench_handle *h, void *page)
{
	uint64_t slot = (uint64_t)((char *)page - h->memory) / BENCH_PAGE_BYTES;

	h->done.written++;
	return (pwrite(h->fd, page, BENCH_PAGE_BYTES, (off_t)h->numbers[slot] * BENCH_PAGE_BYTES) ==
		    BENCH_PAGE_BYTES ?
		0 :
		EIO);
}

static int
side_sync(struct bench_handle *h)
{
	return (fsync(h->fd) == 0 ? 0 : errno);
}

static int
side_stat(struct bench_handle *h)
{
	(void)h;
	return (ENOSYS);
}

static int
side_counters(struct bench_handle *h, struct bench_stat *st)
{
	*st = h->done;
	return (0);
}

#include "bench_loops.h"

static int
ascending(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return ((x > y) - (x < y));
}

/* n random pages are changed; writing them in order, and fsync, is what is measured. */
static int
bare_sync(struct bench_handle *h, uint64_t *stamps, uint32_t n, struct bench_result *res)
{
	uint32_t *list = calloc(n + 1, sizeof(*list)), i;
	uint64_t words[BENCH_PAGE_BYTES / sizeof(uint64_t)] = { 0 };
	int ret = list != NULL ? 0 : ENOMEM;

	for (i = 0; i < n && ret == 0; i++)
		list[i] = bench_below(&h->seed, h->pages);
	if (ret == 0)
		qsort(list, n, sizeof(*list), ascending);
	*res = (struct bench_result){ .ops = 1, .nsec = bench_nsec() };
	for (i = 0; i < n && ret == 0; i++) {
		if (i > 0 && list[i] == list[i - 1])
			continue;
		words[0] = BENCH_MARK(list[i]);
		words[BENCH_STAMP_OFFSET / sizeof(uint64_t)] = ++stamps[list[i]];
		if (pwrite(h->fd, words, sizeof(words), (off_t)list[i] * BENCH_PAGE_BYTES) !=
		    (ssize_t)sizeof(words))
			ret = EIO;
	}
	if (ret == 0)
		ret = side_sync(h);
	res->nsec = bench_nsec() - res->nsec;
	free(list);
	return (ret);
}

static int
bare_scan(struct bench_handle *h, unsigned msec, struct bench_result *res)
{
	const size_t bytes = (size_t)AHEAD_PAGES * BENCH_PAGE_BYTES;
	uint64_t start = bench_nsec(), end = start + (uint64_t)msec * 1000000;
	uint32_t i;

	*res = (struct bench_result){ 0 };
	do {
		char *run;

		if (h->cursor + AHEAD_PAGES > h->pages)
			h->cursor = 0;
		if (h->next % h->slots + AHEAD_PAGES > h->slots)
			h->next = 0;
		run = h->memory + h->next % h->slots * BENCH_PAGE_BYTES;
		if (pread(h->fd, run, bytes, (off_t)h->cursor * BENCH_PAGE_BYTES) != (ssize_t)bytes)
			return (EIO);
		for (i = 0; i < AHEAD_PAGES; i++)
			res->wrong +=
			    MARK_OF(run + i * BENCH_PAGE_BYTES) != BENCH_MARK(h->cursor + i);
		h->cursor += AHEAD_PAGES;
		h->next += AHEAD_PAGES;
		res->ops += AHEAD_PAGES;
		res->read += AHEAD_PAGES;
		res->nsec = bench_nsec();
	} while (res->nsec < end);
	res->nsec -= start;
	return (0);
}

static void
side_close(struct bench_handle *h)
{
	if (h == NULL)
		return;
	if (h->fd >= 0)
		(void)close(h->fd);
	free(h->memory);
	free(h->numbers);
	free(h);
}

static int
side_open(const struct bench_place *at, struct bench_handle **hp)
{
	struct bench_handle *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return (ENOMEM);
	h->seed = BENCH_SEED(at->worker);
	h->pages = at->pages;
	h->nfiles = at->files;
	h->marks = at->sparse ? 0 : UINT64_MAX;
	h->slots = at->cache_bytes / BENCH_PAGE_BYTES;
	h->memory = malloc(at->cache_bytes);
	h->numbers = calloc(h->slots, sizeof(*h->numbers));
	h->fd = open(at->file, O_RDWR | O_CLOEXEC);
	if (h->memory == NULL || h->numbers == NULL || h->fd < 0) {
		side_close(h);
		return (ENOMEM);
	}
	memset(h->memory, 0, at->cache_bytes);
	*hp = h;
	return (0);
}

const struct bench_side bench_bare = {
	.name = "bare",
	.open = side_open,
	.close = side_close,
	.touch = loop_touch,
	.hits = loop_hits,
	.zipf = loop_zipf,
	.scan = bare_scan,
	.scan_ahead = NULL,
	.dirty = loop_dirty,
	.sync = bare_sync,
	.stat = loop_stat,
};
