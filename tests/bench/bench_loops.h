/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_loops.h - the loops that are measured; included once by each side after it has defined
 *
 *	struct bench_handle		with members  uint64_t seed, marks;
 *					uint32_t pages, nfiles, cursor;
 *	side_get(h, pgno, &page)	pin for reading;  side_get_dirty for changing
 *	side_put(h, page)		unpin;		  side_put_dirty after a change
 *	side_sync(h), side_stat(h)	everything dirty to disk; one call for statistics
 *	side_counters(h, &stat)		so far, of this process or of the pool
 *
 * and, if SIDE_FILES is defined, side_get_in(h, file, pgno, &page) and side_put_in(h, file, page).
 * The clock is read every BATCH operations.
 */
#define BATCH 512
#define AHEAD 64

#define MARK_OF(page) (*(volatile const uint64_t *)(page))
#define STAMP_OF(page) ((volatile uint64_t *)((char *)(page) + BENCH_STAMP_OFFSET))

static inline int
read_one(struct bench_handle *h, uint32_t pgno, struct bench_result *res)
{
	void *page;
	int ret;

	if ((ret = side_get(h, pgno, &page)) != 0)
		return (ret);
	res->wrong += MARK_OF(page) != (BENCH_MARK(pgno) & h->marks);
	return (side_put(h, page));
}

static inline int
dirty_one(struct bench_handle *h, uint32_t pgno, uint64_t *stamps, struct bench_result *res)
{
	void *page;
	int ret;

	if ((ret = side_get_dirty(h, pgno, &page)) != 0)
		return (ret);
	res->wrong += MARK_OF(page) != BENCH_MARK(pgno) || *STAMP_OF(page) != stamps[pgno];
	*STAMP_OF(page) = ++stamps[pgno];
	return (side_put_dirty(h, page));
}

/* The counters are read outside the measured time. */
static int
result_begin(struct bench_handle *h, struct bench_result *res)
{
	struct bench_stat st;
	int ret;

	if ((ret = side_counters(h, &st)) != 0)
		return (ret);
	*res = (struct bench_result){ .read = st.read, .written = st.written };
	return (0);
}

static int
result_end(struct bench_handle *h, struct bench_result *res)
{
	struct bench_stat st;
	int ret;

	if ((ret = side_counters(h, &st)) != 0)
		return (ret);
	res->read = st.read - res->read;
	res->written = st.written - res->written;
	return (0);
}

/* So many more are done of a round that is msec long. */
static inline int
goes_on(struct bench_result *res, unsigned ops, uint64_t start, unsigned msec)
{
	res->ops += ops;
	res->nsec = bench_nsec() - start;
	return (res->nsec < (uint64_t)msec * 1000000);
}

#ifdef SIDE_FILES
/* each: pages of a file. */
static inline int
read_in(struct bench_handle *h, uint32_t pgno, uint32_t each, struct bench_result *res)
{
	uint32_t file = pgno / each;
	void *page;
	int ret;

	if ((ret = side_get_in(h, file, pgno % each, &page)) != 0)
		return (ret);
	res->wrong += MARK_OF(page) != (BENCH_MARK(pgno) & h->marks);
	return (side_put_in(h, file, page));
}

static int
touch_files(struct bench_handle *h, struct bench_result *res)
{
	uint32_t pgno;
	int ret;

	for (pgno = 0; pgno < h->pages; pgno++)
		if ((ret = read_in(h, pgno, h->pages / h->nfiles, res)) != 0)
			return (ret);
	return (0);
}

static int
loop_files(struct bench_handle *h, unsigned msec, struct bench_result *res)
{
	const uint32_t each = h->pages / h->nfiles;
	uint64_t start;
	int i, ret;

	if ((ret = result_begin(h, res)) != 0)
		return (ret);
	start = bench_nsec();
	do {
		for (i = 0; i < BATCH; i++)
			if ((ret = read_in(h, bench_below(&h->seed, h->pages), each, res)) != 0)
				return (ret);
	} while (goes_on(res, BATCH, start, msec));
	return (result_end(h, res));
}
#else
static int
touch_files(struct bench_handle *h, struct bench_result *res)
{
	(void)h;
	(void)res;
	return (ENOSYS);
}
#endif

static int
loop_touch(struct bench_handle *h)
{
	struct bench_result res = { 0 };
	uint32_t pgno;
	int ret;

	if (h->nfiles > 1)
		return ((ret = touch_files(h, &res)) != 0 ? ret : res.wrong == 0 ? 0 : EIO);
	for (pgno = 0; pgno < h->pages; pgno++)
		if ((ret = read_one(h, pgno, &res)) != 0)
			return (ret);
	return (res.wrong == 0 ? 0 : EIO);
}

static int
loop_hits(struct bench_handle *h, uint32_t n, unsigned msec, struct bench_result *res)
{
	uint64_t start, seed = h->seed;
	int i, ret;

	if ((ret = result_begin(h, res)) != 0)
		return (ret);
	start = bench_nsec();
	do {
		for (i = 0; i < BATCH; i++)
			if ((ret = read_one(h, bench_below(&seed, n), res)) != 0)
				return (ret);
	} while (goes_on(res, BATCH, start, msec));
	h->seed = seed;
	return (result_end(h, res));
}

static __attribute__((unused)) int
loop_pins(struct bench_handle *h, uint32_t n, unsigned msec, struct bench_result *res)
{
	uint64_t start, seed = h->seed;
	void *page;
	int i, ret;

	if ((ret = result_begin(h, res)) != 0)
		return (ret);
	start = bench_nsec();
	do {
		for (i = 0; i < BATCH; i++)
			if ((ret = side_get(h, bench_below(&seed, n), &page)) != 0 ||
			    (ret = side_put(h, page)) != 0)
				return (ret);
	} while (goes_on(res, BATCH, start, msec));
	h->seed = seed;
	return (result_end(h, res));
}

static int
loop_zipf(struct bench_handle *h, const uint32_t *sample, unsigned msec, struct bench_result *res)
{
	uint64_t start;
	uint32_t at = (uint32_t)bench_random(&h->seed);
	int i, ret;

	if ((ret = result_begin(h, res)) != 0)
		return (ret);
	start = bench_nsec();
	do {
		for (i = 0; i < BATCH; i++)
			if ((ret = read_one(h, sample[at++ % BENCH_SAMPLE], res)) != 0)
				return (ret);
	} while (goes_on(res, BATCH, start, msec));
	return (result_end(h, res));
}

static inline int
scan(struct bench_handle *h, int (*ahead)(struct bench_handle *, uint32_t, uint32_t), unsigned msec,
    struct bench_result *res)
{
	uint64_t start;
	int i, ret;

	if ((ret = result_begin(h, res)) != 0)
		return (ret);
	start = bench_nsec();
	do {
		for (i = 0; i < BATCH; i++, h->cursor++) {
			if (h->cursor == h->pages)
				h->cursor = 0;
			if (ahead != NULL && h->cursor % AHEAD == 0 &&
			    (ret = ahead(h, h->cursor, AHEAD)) != 0)
				return (ret);
			if ((ret = read_one(h, h->cursor, res)) != 0)
				return (ret);
		}
	} while (goes_on(res, BATCH, start, msec));
	return (result_end(h, res));
}

static __attribute__((unused)) int
loop_scan(struct bench_handle *h, unsigned msec, struct bench_result *res)
{
	return (scan(h, NULL, msec, res));
}

static int
loop_dirty(struct bench_handle *h, uint64_t *stamps, unsigned msec, struct bench_result *res)
{
	uint64_t start;
	int i, ret;

	if ((ret = result_begin(h, res)) != 0)
		return (ret);
	start = bench_nsec();
	do {
		for (i = 0; i < BATCH; i++)
			if ((ret = dirty_one(h, bench_below(&h->seed, h->pages), stamps, res)) != 0)
				return (ret);
	} while (goes_on(res, BATCH, start, msec));
	return (result_end(h, res));
}

static __attribute__((unused)) int
loop_sync(struct bench_handle *h, uint64_t *stamps, uint32_t n, struct bench_result *res)
{
	struct bench_result dirtied = { 0 };
	uint64_t start;
	uint32_t i;
	int ret;

	for (i = 0; i < n; i++)
		if ((ret = dirty_one(h, bench_below(&h->seed, h->pages), stamps, &dirtied)) != 0)
			return (ret);
	if ((ret = result_begin(h, res)) != 0)
		return (ret);
	res->wrong = dirtied.wrong;
	start = bench_nsec();
	if ((ret = side_sync(h)) != 0)
		return (ret);
	res->nsec = bench_nsec() - start;
	res->ops = 1;
	return (result_end(h, res));
}

static int
loop_stat(struct bench_handle *h, unsigned msec, struct bench_result *res)
{
	uint64_t start;
	int ret;

	*res = (struct bench_result){ 0 };
	start = bench_nsec();
	do {
		if ((ret = side_stat(h)) != 0)
			return (ret);
	} while (goes_on(res, 1, start, msec));
	return (0);
}
