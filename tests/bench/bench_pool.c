/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_pool.c - the pool against libdb 5.3's, side by side in one run.
 *
 * For each stage this program makes the same files and a home directory for either side and the
 * worker processes of both (bench_team.c), whose rounds alternate: poolfs, libdb, poolfs, libdb
 * ... and share whatever the machine does meanwhile.  A figure is the median of ROUNDS rounds of a
 * fixed length.
 *
 * The figures are refused unless the work was done: every page read carries its own mark, rounds
 * of hits read nothing from the file, rounds of misses do, and after dirtying every stamp is
 * found in the file, read without the pool.
 *
 * Where files are read and written, bench_bare.c does the same work without any pool: the last
 * column.
 *
 * With the argument "whole" there are more rows, which show how cost grows: 4 and 8 processes,
 * 10 000 files, pools of 64 MiB, 1 GiB and 8 GiB.  A pool of more than half of the memory that is
 * free is measured after the other side's is gone.
 *
 * Directory: BENCH_DIR, else TMPDIR, else /tmp; it needs 2 GiB, and 10 GiB for the whole.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "bench_team.h"

#define ROUNDS 5
#define MOST_PROCESSES 2 /* of the rows that are always measured */
#define SYNC_PAGES 10000
#define MANY_FILES 10000u
#define PAGES_OF_GIB (UINT32_C(1) << 18)
#define WATCHDOG_SECONDS 900
#define SIDES 3

static const struct bench_side *const sides[SIDES] = { &bench_ours, &bench_libdb, &bench_bare };
static uint32_t sample[BENCH_SAMPLE]; /* page numbers, zipfian */
static char base[PATH_MAX - 64];
static pid_t driver;

static void
remove_base(void)
{
	if (getpid() == driver)
		remove_tree(base);
}

/* --- stages -------------------------------------------------------------------------------- */

/*
 * Page numbers below n, the k-th most frequent one as often as 1 / k^0.99 says; which page that
 * is, is scattered over the file.
 */
static void
make_sample(uint32_t n)
{
	double *sum = calloc((size_t)n + 1, sizeof(*sum)), at;
	uint64_t seed = BENCH_SEED(99);
	uint32_t i, low, high, mid;

	if (sum == NULL)
		die("no memory");
	for (i = 0; i < n; i++)
		sum[i + 1] = sum[i] + pow((double)i + 1, -0.99);
	for (i = 0; i < BENCH_SAMPLE; i++) {
		at = (double)(bench_random(&seed) >> 11) * 0x1p-53 * sum[n];
		for (low = 0, high = n; high - low > 1;) {
			mid = low + (high - low) / 2;
			*(sum[mid] <= at ? &low : &high) = mid;
		}
		sample[i] = (uint32_t)((uint64_t)low * 2654435761u % n);
	}
	free(sum);
}

static int
compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return ((x > y) - (x < y));
}

static double
median(double v[ROUNDS])
{
	qsort(v, ROUNDS, sizeof(v[0]), compare);
	return (v[ROUNDS / 2]);
}

struct row {
	const char *what;
	enum op op;
	uint32_t n;
	const char *unit;
	double divisor; /* nanoseconds in the unit; 0: millions a second, together */
	bool must_read; /* rounds read from the file; else nothing is read */
	bool only_ours;
	bool bare; /* the files without a pool are measured too */
};

static double
figure(const struct team *t, const struct row *r)
{
	struct bench_result res = team_command(t, r->op, r->n);

	if (r->op != OP_STAT && (res.read != 0) != r->must_read)
		die("%s: %s: %llu pages read", t->side->name, r->what,
		    (unsigned long long)res.read);
	if (r->divisor == 0)
		return ((double)res.ops * 1e3 / ((double)res.nsec / t->shape.nworkers));
	return ((double)res.nsec / (double)res.ops / r->divisor);
}

/* Measure one row of the table, the sides in turn, and print it.  Our figure. */
static double
measure(const struct team teams[SIDES], const struct row *r)
{
	double v[SIDES][ROUNDS], m[SIDES] = { 0 };
	int i, s, nsides = r->bare ? SIDES : 2;

	for (i = 0; i < ROUNDS; i++)
		for (s = 0; s < nsides; s++)
			if (s == 0 || s == 2 || !r->only_ours)
				v[s][i] = figure(&teams[s], r);
	for (s = 0; s < nsides; s++)
		if (s == 0 || s == 2 || !r->only_ours)
			m[s] = median(v[s]);
	(void)printf("| %s | %s | %.1f |", r->what, r->unit, m[0]);
	if (r->only_ours)
		(void)printf(" | |");
	else
		(void)printf(" %.1f | %.1f |", m[1], r->divisor == 0 ? m[0] / m[1] : m[1] / m[0]);
	if (r->bare)
		(void)printf(" %.1f |\n", m[2]);
	else
		(void)printf(" |\n");
	(void)fflush(stdout);
	return (m[0]);
}

static void
teams_init(struct team teams[SIDES], int nsides, const struct shape *shape)
{
	int s;

	for (s = 0; s < nsides; s++)
		team_init(&teams[s], sides[s], shape, base, sample);
}

static void
teams_fini(struct team teams[SIDES], int nsides)
{
	int s;

	for (s = 0; s < nsides; s++)
		team_fini(&teams[s]);
}

/* Everything dirty to the file; then each stamp must be in it.  Returns how many were there. */
static uint64_t
settle(const struct team *t)
{
	(void)team_command(t, OP_SYNC, 0);
	return (team_command(t, OP_VERIFY, 0).ops);
}

/* What a pool with all these pages in it has in memory beyond them, by page. */
static void
print_memory(const struct team teams[2])
{
	const uint32_t pages = teams[0].shape.pages;
	double v[2];
	int s;

	for (s = 0; s < 2; s++)
		v[s] = (double)team_command(&teams[s], OP_MEMORY, 0).ops / pages;
	(void)printf(
	    "| memory beside the pages, %u of them | bytes a page | %.1f | %.1f | %.1f | |\n",
	    pages, v[0], v[1], v[1] / v[0]);
}

/* With all its pages in the pool: writing back, statistics, memory. */
static void
stage_full(struct team teams[SIDES])
{
	const struct row sync = { .what = "sync of 10000 random dirty pages, with fsync",
		.op = OP_SYNC,
		.n = SYNC_PAGES,
		.unit = "ms",
		.divisor = 1e6,
		.bare = true };
	const struct row stat = { .what = "memp_stat, 100000 pages resident",
		.op = OP_STAT,
		.unit = "us",
		.divisor = 1e3 };

	print_memory(teams);
	(void)measure(teams, &sync);
	(void)measure(teams, &stat);
	(void)settle(&teams[0]);
	(void)settle(&teams[1]);
}

/* A pool with room for these pages, and a quarter more. */
static struct shape
shape_of(uint32_t pages)
{
	return ((struct shape){
	    .pages = pages, .cache_pages = pages + pages / 4 + 256, .nworkers = 1, .nfiles = 1 });
}

/* Pages that stay: hits.  Our figure for the uniform ones. */
static double
stage_resident(const struct shape *z)
{
	const bool full = z->pages >= 10 * SYNC_PAGES && z->nworkers == 1;
	const bool usual = z->pages > 1 && !z->one_thread;
	struct team teams[SIDES];
	char what[100];
	struct row hits = {
		.what = what, .op = OP_HITS, .n = z->pages, .unit = "ns", .divisor = 1
	};
	struct row zipf = { .what = "the same, zipfian (0.99)", .op = OP_ZIPF, .n = z->pages };
	const struct row pins = { .what = "the same, uniform, without reading the word",
		.op = OP_PINS,
		.n = z->pages,
		.unit = "ns",
		.divisor = 1 };
	double ours;

	(void)snprintf(what, sizeof(what), "hit (get, read a word, put), %u page%s, %u process%s%s",
	    z->pages, z->pages == 1 ? "" : "s", z->nworkers, z->nworkers == 1 ? "" : "es",
	    z->one_thread ? ", no DB_THREAD" : "");
	if (z->nworkers > 1) {
		hits.unit = "million/s, together";
		hits.divisor = 0;
	}
	zipf.unit = hits.unit;
	zipf.divisor = hits.divisor;
	make_sample(z->pages);
	teams_init(teams, full ? SIDES : 2, z);
	ours = measure(teams, &hits);
	if (usual)
		(void)measure(teams, &zipf);
	if (usual && z->nworkers == 1)
		(void)measure(teams, &pins);
	if (full)
		stage_full(teams);
	teams_fini(teams, full ? SIDES : 2);
	return (ours);
}

static double
stage_hits(uint32_t pages, unsigned nworkers)
{
	struct shape z = shape_of(pages);

	z.nworkers = nworkers;
	return (stage_resident(&z));
}

static void
stage_one_thread(uint32_t pages)
{
	struct shape z = shape_of(pages);

	z.one_thread = true;
	(void)stage_resident(&z);
}

static void
stage_two_against_one(void)
{
	const unsigned pages = 1000;
	double one = 1e3 / stage_hits(pages, 1), two = stage_hits(pages, 2);

	(void)printf(
	    "| two processes against one, %u pages | times | %.2f | | | |\n", pages, two / one);
}

/* --- how cost grows -------------------------------------------------------------------------- */

/* As many files, with the pages of stage_hits(100000, 1) between them. */
static void
stage_files(unsigned nfiles)
{
	struct shape z = shape_of(10 * MANY_FILES);
	struct row files = { .what = "hit, 100000 pages of 10000 files, 1 process",
		.op = OP_FILES,
		.unit = "ns",
		.divisor = 1 };
	struct team teams[SIDES];

	z.nfiles = nfiles;
	teams_init(teams, 2, &z);
	(void)measure(teams, &files);
	teams_fini(teams, 2);
}

static uint64_t
free_pages(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[100];
	unsigned long long kib = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (f != NULL)
		(void)fclose(f);
	return (kib * 1024 / BENCH_PAGE_BYTES);
}

/* A pool all of whose pages are in use.  One side after the other if there is no room for both. */
static void
stage_size(uint32_t pages, const char *what)
{
	struct shape z = { .pages = pages - pages / 64,
		.cache_pages = pages,
		.nworkers = 1,
		.nfiles = 1,
		.sparse = true };
	const struct row hits = {
		.what = what, .op = OP_HITS, .n = z.pages, .unit = "ns", .divisor = 1
	};
	struct team teams[SIDES];
	double v[2][ROUNDS];
	uint64_t room = free_pages();
	int s, i;

	if (room < pages + pages / 4) {
		(void)printf("| %s | ns | no memory | | | |\n", what);
		return;
	}
	if (room > 3 * (uint64_t)pages) {
		teams_init(teams, 2, &z);
		(void)measure(teams, &hits);
		teams_fini(teams, 2);
		return;
	}
	for (s = 0; s < 2; s++) {
		team_init(&teams[s], sides[s], &z, base, sample);
		for (i = 0; i < ROUNDS; i++)
			v[s][i] = figure(&teams[s], &hits);
		team_fini(&teams[s]);
	}
	(void)printf("| %s | ns | %.1f | %.1f | %.1f | |\n", what, median(v[0]), median(v[1]),
	    median(v[1]) / median(v[0]));
}

static void
stages_of_growth(void)
{
	unsigned n;

	for (n = 2 * MOST_PROCESSES; n <= MOST_WORKERS; n *= 2)
		(void)stage_hits(10000, n);
	stage_files(MANY_FILES);
	stage_size(PAGES_OF_GIB / 16, "hit, a pool of 64 MiB full of pages, 1 process");
	stage_size(PAGES_OF_GIB, "hit, a pool of 1 GiB full of pages, 1 process");
	stage_size(8 * PAGES_OF_GIB, "hit, a pool of 8 GiB full of pages, 1 process");
}

/* A file four times the pool: what a miss costs when the OS cache has the file. */
static void
stage_missing(uint32_t cache_pages, char *note, size_t note_bytes)
{
	const struct shape z = {
		.pages = 4 * cache_pages, .cache_pages = cache_pages, .nworkers = 1, .nfiles = 1
	};
	const struct row rows[] = {
		{ .what = "random read, file 4x the pool",
		    .op = OP_HITS,
		    .n = z.pages,
		    .unit = "ns",
		    .divisor = 1,
		    .must_read = true,
		    .bare = true },
		{ .what = "sequential read of the same",
		    .op = OP_SCAN,
		    .unit = "ns",
		    .divisor = 1,
		    .must_read = true,
		    .bare = true },
		{ .what = "the same, announced with memp_fprefetch",
		    .op = OP_SCAN_AHEAD,
		    .unit = "ns",
		    .divisor = 1,
		    .must_read = true,
		    .only_ours = true,
		    .bare = false },
		{ .what = "random change of the same, evicting dirty pages",
		    .op = OP_DIRTY,
		    .unit = "ns",
		    .divisor = 1,
		    .must_read = true,
		    .bare = true },
	};
	struct team teams[SIDES];
	unsigned i;

	teams_init(teams, SIDES, &z);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].op != OP_SCAN_AHEAD || bench_ours.scan_ahead != NULL)
			(void)measure(teams, &rows[i]);
	(void)snprintf(note, note_bytes,
	    "After the random changes every one of %llu (poolfs) and %llu (libdb) changed pages "
	    "was found in its file, read without the pool.",
	    (unsigned long long)settle(&teams[0]), (unsigned long long)settle(&teams[1]));
	teams_fini(teams, SIDES);
}

static void
make_base(void)
{
	const char *dir = getenv("BENCH_DIR");

	if (dir == NULL)
		dir = getenv("TMPDIR");
	(void)snprintf(base, sizeof(base), "%s/poolfs-bench-XXXXXX", dir != NULL ? dir : "/tmp");
	if (mkdtemp(base) == NULL)
		die("%s: %s", base, strerror(errno));
	driver = getpid();
	(void)atexit(remove_base);
}

int
main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 1, 10000, 100000 };
	const bool whole = argc == 2 && strcmp(argv[1], "whole") == 0;
	char note[256];
	unsigned i, nworkers;

	if (argc > 1 && !whole)
		die("the only argument there is is \"whole\"");
	(void)alarm(WATCHDOG_SECONDS);
	(void)signal(SIGPIPE, SIG_IGN);
	make_base();
	(void)printf("| 4 KiB pages | unit | poolfs | libdb 5.3 | times as fast | no pool |\n"
		     "|---|---|---:|---:|---:|---:|\n");
	for (nworkers = 1; nworkers <= MOST_PROCESSES; nworkers++)
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			(void)stage_hits(sizes[i], nworkers);
	stage_one_thread(10000);
	stage_two_against_one();
	if (whole)
		stages_of_growth();
	stage_missing(16384, note, sizeof(note));
	(void)printf("\nMedians of %d rounds of %d ms, the two sides in turn. %s\n", ROUNDS,
	    ROUND_MSEC, note);
	return (0);
}
