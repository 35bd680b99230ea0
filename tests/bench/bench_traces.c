/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_traces.c - what a policy is worth: the hit ratio of traces, replayed through a real pool.
 *
 *   bench_traces [-p PERCENT,PERCENT...] [TRACE ...]
 *
 * A trace is a text file with one page number a line, in the order of the references; lines that
 * do not begin with a digit are passed over.  Without any, traces are made here, the same ones
 * each time.  Each is played at several sizes of the pool, in per cent of the pages it touches,
 * through memp_fget and memp_fput in a private pool over a sparse file, once with either policy.
 * Beside the ratios of hits that the pool counted stands that of an exact LRU list of as many
 * pages, computed here.  A "!" marks what is not as promised: lru more than 0.1 points off, or
 * adaptive more than 0.2 points below.
 */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <poolfs/mpool.h>

#define PAGE_BYTES 4096u
#define SIZES_MOST 16
#define LRU_MOST_OFF 0.1
#define ADAPTIVE_MOST_BELOW 0.2

struct trace {
	const char *name;
	uint32_t *refs; /* numbered from 0, in the order of first appearance if read from a file */
	size_t n;
	uint32_t pages; /* that it touches */
};

static void die(const char *what, int error) __attribute__((noreturn));

static void
die(const char *what, int error)
{
	(void)fflush(stdout);
	(void)fprintf(stderr, "bench_traces: %s: %s\n", what, db_strerror(error));
	exit(1);
}

static void *
room_for(size_t n, size_t size)
{
	void *p = calloc(n != 0 ? n : 1, size);

	if (p == NULL)
		die("memory", ENOMEM);
	return p;
}

/* --- traces that are made here --------------------------------------------------------------- */

static uint64_t seed;

static uint64_t
random_64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static double
random_unit(void)
{
	return (double)(random_64() >> 11) * 0x1p-53;
}

/* The cumulated weights of a zipfian stream of exponent 0.99. */
static double *
zipf_weights(uint32_t pages)
{
	double *sum = room_for(pages, sizeof(*sum)), total = 0;

	for (uint32_t i = 0; i < pages; i++)
		sum[i] = total += pow(i + 1, -0.99);
	return sum;
}

static uint32_t
zipf(const double *sum, uint32_t pages)
{
	double at = random_unit() * sum[pages - 1];
	uint32_t low = 0, high = pages - 1;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (sum[mid] < at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

enum stream { ZIPF, ZIPF_TWICE, ZIPF_SHIFTING, UNIFORM, LOOP, SCAN_AND_HOT, RECENT, REVERSE };

/* Page i of a stream over so many pages. */
static uint32_t
stream_next(enum stream kind, const uint32_t *refs, size_t i, uint32_t pages, const double *sum)
{
	uint32_t there;

	switch (kind) {
	case ZIPF:
		return zipf(sum, pages);
	case ZIPF_TWICE:
		return i % 2 != 0 ? refs[i - 1] : zipf(sum, pages);
	case ZIPF_SHIFTING:
		return (uint32_t)((zipf(sum, pages) + i / 10000 * (pages / 40)) % pages);
	case UNIFORM:
		return (uint32_t)(random_64() % pages);
	case LOOP:
		return (uint32_t)(i % pages);
	case SCAN_AND_HOT: /* every other reference to one page in forty, the others in order */
		return (uint32_t)(i % 2 != 0 ? random_64() % (pages / 40) :
					       pages / 40 + i / 2 % (pages - pages / 40));
	case RECENT: /* one in ten is new or old, the others were used not long ago */
		if (i < 100 || random_64() % 10 == 0)
			return (uint32_t)(random_64() % pages);
		return refs[i - 1 -
		    (size_t)(pow(random_unit(), 3) * (double)(i < pages / 4 ? i - 1 : pages / 4))];
	case REVERSE:
	default:
		there = (uint32_t)(i % (2 * pages));
		return there < pages ? there : 2 * pages - 1 - there;
	}
}

static struct trace
trace_make(const char *name, enum stream kind, uint32_t pages, size_t n)
{
	struct trace tr = { .name = name, .n = n, .pages = pages };
	double *sum = zipf_weights(pages);

	seed = 0x9e3779b97f4a7c15u;
	tr.refs = room_for(n, sizeof(*tr.refs));
	for (size_t i = 0; i < n; i++)
		tr.refs[i] = stream_next(kind, tr.refs, i, pages, sum);
	free(sum);
	return tr;
}

/* --- traces in files ------------------------------------------------------------------------- */

static int
by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Page numbers may lie far apart: give them new ones, in the same order, without gaps. */
static void
renumber(struct trace *tr, const uint64_t *raw)
{
	uint64_t *seen = room_for(tr->n, sizeof(*seen));

	memcpy(seen, raw, tr->n * sizeof(*seen));
	qsort(seen, tr->n, sizeof(*seen), by_value);
	for (size_t i = 0; i < tr->n; i++)
		if (i == 0 || seen[i] != seen[i - 1])
			seen[tr->pages++] = seen[i];
	for (size_t i = 0; i < tr->n; i++) {
		const uint64_t *at = bsearch(&raw[i], seen, tr->pages, sizeof(*seen), by_value);

		tr->refs[i] = (uint32_t)(at - seen);
	}
	free(seen);
}

static struct trace
trace_read(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct trace tr = { .name = slash != NULL ? slash + 1 : path };
	FILE *f = fopen(path, "re");
	uint64_t *raw = NULL;
	size_t room = 0;
	char line[128];

	if (f == NULL)
		die(path, errno);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (line[0] < '0' || line[0] > '9')
			continue;
		if (tr.n == room &&
		    (raw = realloc(raw, (room = 2 * room + 4096) * sizeof(*raw))) == NULL)
			die(path, ENOMEM);
		raw[tr.n++] = strtoull(line, NULL, 10);
	}
	(void)fclose(f);
	if (tr.n == 0)
		die(path, ENODATA);
	tr.refs = room_for(tr.n, sizeof(*tr.refs));
	renumber(&tr, raw);
	free(raw);
	return tr;
}

/* --- the measure: an exact LRU list ---------------------------------------------------------- */

struct lru {
	uint32_t *older, *newer; /* page + 1; [0] is the head: newest, oldest */
	bool *resident;
	uint32_t n;
};

static void
lru_unlink(struct lru *l, uint32_t x)
{
	l->newer[l->older[x]] = l->newer[x];
	l->older[l->newer[x]] = l->older[x];
}

static void
lru_push(struct lru *l, uint32_t x)
{
	l->older[x] = l->older[0];
	l->newer[x] = 0;
	l->newer[l->older[0]] = x;
	l->older[0] = x;
}

/* Hits of an LRU list of so many pages, in per cent. */
static double
exact_ratio(const struct trace *tr, uint32_t room)
{
	struct lru l = { .older = room_for(tr->pages + 1, sizeof(uint32_t)),
		.newer = room_for(tr->pages + 1, sizeof(uint32_t)),
		.resident = room_for(tr->pages + 1, sizeof(bool)) };
	size_t hits = 0;

	for (size_t i = 0; i < tr->n; i++) {
		uint32_t x = tr->refs[i] + 1;

		if (l.resident[x]) {
			hits++;
			lru_unlink(&l, x);
		} else if (l.n == room) {
			l.resident[l.newer[0]] = false;
			lru_unlink(&l, l.newer[0]);
		} else {
			l.n++;
		}
		l.resident[x] = true;
		lru_push(&l, x);
	}
	free(l.older);
	free(l.newer);
	free(l.resident);
	return 100.0 * (double)hits / (double)tr->n;
}

/* --- the pool -------------------------------------------------------------------------------- */

static char path[4096];

static void
make_file(uint32_t pages)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	(void)snprintf(path, sizeof(path), "%s/poolfs-traces-XXXXXX", dir != NULL ? dir : "/tmp");
	if ((fd = mkstemp(path)) < 0 || ftruncate(fd, (off_t)pages * PAGE_BYTES) != 0)
		die(path, errno);
	(void)close(fd);
}

/* Hits of the pool, in per cent; *roomp: pages that it holds. */
static double
pool_ratio(const struct trace *tr, uint32_t room, u_int32_t policy, uint32_t *roomp)
{
	DB_ENV env = { .db_errfile = stderr,
		.db_errpfx = "bench_traces",
		.mp_size = (size_t)room * PAGE_BYTES,
		.mp_ahead = -1,
		.policy = policy };
	DB_MPOOL_STAT *st;
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;
	double ratio;
	int ret;

	if ((ret = memp_open(NULL, DB_CREATE | DB_MPOOL_PRIVATE, 0, &env, &mp)) != 0 ||
	    (ret = memp_fopen(mp, path, 0, DB_NOMMAP, 0, PAGE_BYTES, -1, NULL, NULL, &f)) != 0)
		die(path, ret);
	for (size_t i = 0; i < tr->n; i++) {
		db_pgno_t n = tr->refs[i];
		void *page;

		if ((ret = memp_fget(f, &n, 0, &page)) != 0 || (ret = memp_fput(f, page, 0)) != 0)
			die("page", ret);
	}
	if ((ret = memp_stat(mp, &st, NULL, NULL)) != 0)
		die("memp_stat", ret);
	ratio = 100.0 * (double)st->st_cache_hit / (double)tr->n;
	*roomp = (uint32_t)(st->st_cachesize / PAGE_BYTES);
	free(st);
	(void)memp_fclose(f);
	(void)memp_close(mp);
	return ratio;
}

static void
play(const struct trace *tr, double percent)
{
	uint32_t room = (uint32_t)(tr->pages * percent / 100), got;
	double lru, adaptive, exact;

	if (room < 8)
		room = 8;
	lru = pool_ratio(tr, room, DB_POLICY_LRU, &got);
	adaptive = pool_ratio(tr, room, DB_POLICY_ADAPTIVE, &got);
	exact = exact_ratio(tr, got);
	(void)printf("| %s | %zu, %u | %u | %.2f | %.2f | %+.2f%s | %.2f | %+.2f%s |\n", tr->name,
	    tr->n, tr->pages, got, exact, lru, lru - exact,
	    fabs(lru - exact) > LRU_MOST_OFF ? "!" : "", adaptive, adaptive - exact,
	    adaptive < exact - ADAPTIVE_MOST_BELOW ? "!" : "");
	(void)fflush(stdout);
}

static void
play_sizes(struct trace tr, const double *percent, unsigned n)
{
	make_file(tr.pages);
	for (unsigned i = 0; i < n; i++)
		play(&tr, percent[i]);
	(void)unlink(path);
	free(tr.refs);
}

static unsigned
read_sizes(char *list, double *percent)
{
	unsigned n = 0;

	for (char *s = strtok(list, ","); s != NULL && n < SIZES_MOST; s = strtok(NULL, ","))
		percent[n++] = strtod(s, NULL);
	return n;
}

static void
play_made_ones(const double *percent, unsigned n)
{
	static const struct {
		const char *name;
		enum stream kind;
		uint32_t pages;
		size_t refs;
	} made[] = {
		{ "zipf", ZIPF, 20000, 300000 },
		{ "zipf, large", ZIPF, 200000, 2000000 },
		{ "zipf, each page twice", ZIPF_TWICE, 20000, 300000 },
		{ "zipf, shifting", ZIPF_SHIFTING, 20000, 300000 },
		{ "uniform", UNIFORM, 20000, 300000 },
		{ "loop", LOOP, 20000, 300000 },
		{ "scan + hot pages", SCAN_AND_HOT, 20000, 300000 },
		{ "scan + hot pages, large", SCAN_AND_HOT, 200000, 2000000 },
		{ "recent pages", RECENT, 20000, 300000 },
		{ "recent pages, large", RECENT, 200000, 2000000 },
		{ "forth and back (reverse scan)", REVERSE, 20000, 300000 },
	};

	for (unsigned i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		play_sizes(trace_make(made[i].name, made[i].kind, made[i].pages, made[i].refs),
		    percent, n);
}

int
main(int argc, char *argv[])
{
	double percent[SIZES_MOST] = { 1, 5, 20 };
	unsigned n = 3;
	int c;

	while ((c = getopt(argc, argv, "p:")) != -1) {
		if (c != 'p' || (n = read_sizes(optarg, percent)) == 0) {
			(void)fprintf(
			    stderr, "usage: bench_traces [-p PERCENT,PERCENT...] [TRACE ...]\n");
			return 2;
		}
	}
	(void)printf("| trace | references, pages | pool, pages | exact LRU, %% | lru | | adaptive "
		     "| |\n|---|---:|---:|---:|---:|---:|---:|---:|\n");
	for (int i = optind; i < argc; i++)
		play_sizes(trace_read(argv[i]), percent, n);
	if (optind == argc)
		play_made_ones(percent, n);
	return 0;
}
