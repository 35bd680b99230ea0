/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_pool.c - the pool against libdb 5.3's, side by side in one run.
 *
 * For each stage this program makes one file and one home directory for either side and forks the
 * worker processes of both.  They open their pool, bring its pages in, and then wait for orders
 * in a pipe, so that the rounds of the two sides alternate: poolfs, libdb, poolfs, libdb ... and
 * share whatever the machine does meanwhile.  A figure is the median of ROUNDS rounds of a fixed
 * length. Workers of one side start a round together, at a barrier in shared memory.
 *
 * The figures are refused unless the work was done: every page read carries its own mark, rounds
 * of hits read nothing from the file, rounds of misses do, and after dirtying every stamp is
 * found in the file, read without the pool.
 *
 * Where files are read and written, bench_bare.c does the same work without any pool: the last
 * column.
 *
 * Directory: BENCH_DIR, else TMPDIR, else /tmp; it needs 2 GiB.  With BENCH_MORE set: 4 and 8
 * processes, and a pool of more than 1 GiB; it needs 6 GiB then.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS 5
#define ROUND_MSEC 300
#define MOST_WORKERS 8
#define MOST_PROCESSES 2 /* of the rows that are always measured */
#define SYNC_PAGES 10000
#define WATCHDOG_SECONDS 900

enum op {
	OP_HITS,
	OP_ZIPF,
	OP_SCAN,
	OP_SCAN_AHEAD,
	OP_DIRTY,
	OP_SYNC,
	OP_STAT,
	OP_VERIFY,
	OP_MEMORY,
	OP_QUIT
};

struct order {
	enum op op;
	uint32_t n;
};

struct answer {
	int ret;
	struct bench_result res;
};

struct worker {
	pid_t pid;
	int orders;
	int answers;
};

/* One side in one stage. */
struct team {
	const struct bench_side *side;
	char home[PATH_MAX];
	char file[PATH_MAX];
	size_t cache_bytes;
	uint32_t pages; /* of the file */
	unsigned nworkers;
	bool one_thread; /* opened without DB_THREAD */
	struct worker workers[MOST_WORKERS];
	volatile unsigned *arrived; /* at the barrier, in shared memory; never reset */
};

#define SIDES 3

static const struct bench_side *const sides[SIDES] = { &bench_ours, &bench_libdb, &bench_bare };
static uint32_t sample[BENCH_SAMPLE]; /* page numbers, zipfian */
static char base[PATH_MAX - 64];
static pid_t driver;

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return (remove(path));
}

static void
remove_base(void)
{
	if (getpid() == driver)
		(void)nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void
die(const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	(void)fputs("bench_pool: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	exit(1);
}

/* --- workers ------------------------------------------------------------------------------- */

/* How many pages of the file do not hold what was last put into them. */
static int
verify(const struct team *t, const uint64_t *stamps, struct bench_result *res)
{
	uint64_t words[BENCH_PAGE_BYTES / sizeof(uint64_t)];
	uint32_t pgno;
	int fd = open(t->file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return (errno);
	*res = (struct bench_result){ 0 };
	for (pgno = 0; pgno < t->pages; pgno++) {
		if (pread(fd, words, sizeof(words), (off_t)pgno * BENCH_PAGE_BYTES) !=
		    (ssize_t)sizeof(words)) {
			(void)close(fd);
			return (EIO);
		}
		res->wrong += words[0] != BENCH_MARK(pgno) ||
		    words[BENCH_STAMP_OFFSET / sizeof(uint64_t)] != stamps[pgno];
		res->ops += stamps[pgno] != 0;
	}
	(void)close(fd);
	return (0);
}

/* Bytes of the region files' mappings that this process has in memory. */
static int
region_memory(const struct team *t, struct bench_result *res)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[PATH_MAX + 100];
	bool ours = false;
	unsigned long kib;

	if (f == NULL)
		return (errno);
	*res = (struct bench_result){ 0 };
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strstr(line, t->home) != NULL)
			ours = true;
		else if (ours && sscanf(line, "Rss: %lu kB", &kib) == 1) {
			res->ops += kib * 1024;
			ours = false;
		}
	}
	(void)fclose(f);
	return (0);
}

static int
obey(const struct team *t, struct bench_handle *h, uint64_t *stamps, const struct order *o,
    struct bench_result *res)
{
	switch (o->op) {
	case OP_HITS:
		return (t->side->hits(h, o->n, ROUND_MSEC, res));
	case OP_ZIPF:
		return (t->side->zipf(h, sample, ROUND_MSEC, res));
	case OP_SCAN:
		return (t->side->scan(h, ROUND_MSEC, res));
	case OP_SCAN_AHEAD:
		return (t->side->scan_ahead(h, ROUND_MSEC, res));
	case OP_DIRTY:
		return (t->side->dirty(h, stamps, ROUND_MSEC, res));
	case OP_SYNC:
		return (t->side->sync(h, stamps, o->n, res));
	case OP_STAT:
		return (t->side->stat(h, ROUND_MSEC, res));
	case OP_VERIFY:
		return (verify(t, stamps, res));
	case OP_MEMORY:
		return (region_memory(t, res));
	case OP_QUIT:
		break;
	}
	return (EINVAL);
}

/* Wait until all workers of the team are here, for the turn-th time. */
static void
barrier(const struct team *t, unsigned turn)
{
	(void)__atomic_fetch_add(t->arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(t->arrived, __ATOMIC_SEQ_CST) < turn * t->nworkers)
		continue;
}

static void __attribute__((noreturn))
work(const struct team *t, unsigned number, int orders, int answers)
{
	const struct bench_place at = { t->home, t->cache_bytes, t->file, t->pages, number,
		t->one_thread };
	struct answer a = { 0 };
	struct order o;
	struct bench_handle *h = NULL;
	uint64_t *stamps = calloc(t->pages, sizeof(*stamps));
	unsigned turn = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	a.ret = stamps == NULL ? ENOMEM : t->side->open(&at, &h);
	if (a.ret == 0)
		a.ret = t->side->touch(h);
	while (write(answers, &a, sizeof(a)) == (ssize_t)sizeof(a) && a.ret == 0 &&
	    read(orders, &o, sizeof(o)) == (ssize_t)sizeof(o) && o.op != OP_QUIT) {
		barrier(t, ++turn);
		a.ret = obey(t, h, stamps, &o, &a.res);
	}
	t->side->close(h);
	free(stamps);
	_exit(0);
}

static struct answer
hear(const struct team *t, unsigned i)
{
	struct answer a;

	if (read(t->workers[i].answers, &a, sizeof(a)) != (ssize_t)sizeof(a))
		die("%s: worker %u died", t->side->name, i);
	if (a.ret != 0)
		die("%s: worker %u: error %d", t->side->name, i, a.ret);
	return (a);
}

static void
hire(struct team *t, unsigned i)
{
	int down[2], up[2];
	struct worker *w = &t->workers[i];

	if (pipe2(down, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0)
		die("pipe: %s", strerror(errno));
	(void)fflush(NULL);
	if ((w->pid = fork()) < 0)
		die("fork: %s", strerror(errno));
	if (w->pid == 0) {
		(void)close(down[1]);
		(void)close(up[0]);
		work(t, i, down[0], up[1]);
	}
	(void)close(down[0]);
	(void)close(up[1]);
	w->orders = down[1];
	w->answers = up[0];
	(void)hear(t, i);
}

static void
dismiss(struct team *t)
{
	const struct order quit = { .op = OP_QUIT };
	unsigned i;

	for (i = 0; i < t->nworkers; i++) {
		(void)!write(t->workers[i].orders, &quit, sizeof(quit));
		(void)waitpid(t->workers[i].pid, NULL, 0);
		(void)close(t->workers[i].orders);
		(void)close(t->workers[i].answers);
	}
	(void)munmap((void *)(uintptr_t)t->arrived, sizeof(*t->arrived));
	(void)nftw(t->home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* All workers of a team do the same at once; the sum of their results. */
static struct bench_result
command(const struct team *t, enum op op, uint32_t n)
{
	const struct order o = { .op = op, .n = n };
	struct bench_result sum = { 0 };
	struct answer a;
	unsigned i;

	for (i = 0; i < t->nworkers; i++)
		if (write(t->workers[i].orders, &o, sizeof(o)) != (ssize_t)sizeof(o))
			die("%s: worker %u is gone", t->side->name, i);
	for (i = 0; i < t->nworkers; i++) {
		a = hear(t, i);
		sum.ops += a.res.ops;
		sum.nsec += a.res.nsec;
		sum.wrong += a.res.wrong;
		sum.read += a.res.read;
		sum.written += a.res.written;
	}
	if (sum.wrong != 0)
		die("%s: %llu pages with wrong contents", t->side->name,
		    (unsigned long long)sum.wrong);
	return (sum);
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

static void
make_file(const char *path, uint32_t pages)
{
	uint64_t words[BENCH_PAGE_BYTES / sizeof(uint64_t)] = { 0 };
	FILE *f = fopen(path, "we");
	uint32_t pgno;

	if (f == NULL)
		die("%s: %s", path, strerror(errno));
	for (pgno = 0; pgno < pages; pgno++) {
		words[0] = BENCH_MARK(pgno);
		(void)fwrite(words, sizeof(words), 1, f);
	}
	if (fflush(f) != 0 || fsync(fileno(f)) != 0 || fclose(f) != 0)
		die("%s: %s", path, strerror(errno));
}

static void
team_init(struct team *t, const struct bench_side *side, uint32_t cache_pages, uint32_t pages,
    unsigned nworkers, bool one_thread)
{
	unsigned i;

	*t = (struct team){
		.side = side, .pages = pages, .nworkers = nworkers, .one_thread = one_thread
	};
	t->cache_bytes = (size_t)cache_pages * BENCH_PAGE_BYTES;
	(void)snprintf(t->home, sizeof(t->home), "%s/%s", base, side->name);
	(void)snprintf(t->file, sizeof(t->file), "%s/%s/file", base, side->name);
	if (mkdir(t->home, 0700) != 0)
		die("%s: %s", t->home, strerror(errno));
	make_file(t->file, pages);
	t->arrived = mmap(
	    NULL, sizeof(*t->arrived), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t->arrived == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	for (i = 0; i < nworkers; i++)
		hire(t, i);
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
	struct bench_result res = command(t, r->op, r->n);

	if (r->op != OP_STAT && (res.read != 0) != r->must_read)
		die("%s: %s: %llu pages read", t->side->name, r->what,
		    (unsigned long long)res.read);
	if (r->divisor == 0)
		return ((double)res.ops * 1e3 / ((double)res.nsec / t->nworkers));
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
teams_init(struct team teams[SIDES], int nsides, uint32_t cache_pages, uint32_t pages,
    unsigned nworkers, bool one_thread)
{
	int s;

	for (s = 0; s < nsides; s++)
		team_init(&teams[s], sides[s], cache_pages, pages, nworkers, one_thread);
}

static void
teams_fini(struct team teams[SIDES], int nsides)
{
	int s;

	for (s = 0; s < nsides; s++)
		dismiss(&teams[s]);
}

/* Everything dirty to the file; then each stamp must be in it.  Returns how many were there. */
static uint64_t
settle(const struct team *t)
{
	(void)command(t, OP_SYNC, 0);
	return (command(t, OP_VERIFY, 0).ops);
}

/* What a pool with all these pages in it has in memory beyond them, by page. */
static void
print_memory(const struct team teams[2])
{
	double v[2];
	int s;

	for (s = 0; s < 2; s++) {
		struct bench_result res = command(&teams[s], OP_MEMORY, 0);

		v[s] =
		    ((double)res.ops - (double)teams[s].pages * BENCH_PAGE_BYTES) / teams[s].pages;
	}
	(void)printf(
	    "| memory beside the pages, %u of them | bytes a page | %.1f | %.1f | %.1f | |\n",
	    teams[0].pages, v[0], v[1], v[1] / v[0]);
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

/* Pages that stay: hits.  Our figure for the uniform ones. */
static double
stage_resident(uint32_t pages, unsigned nworkers, bool one_thread)
{
	const uint32_t spare = pages / 4 + 256;
	const bool full = pages >= 10 * SYNC_PAGES && nworkers == 1 && !one_thread;
	struct team teams[SIDES];
	char what[100], how[100];
	struct row hits = { .what = what, .op = OP_HITS, .n = pages, .unit = "ns", .divisor = 1 };
	struct row zipf = { .what = how, .op = OP_ZIPF, .n = pages };
	double ours;

	(void)snprintf(what, sizeof(what), "hit (get, read a word, put), %u page%s, %u process%s%s",
	    pages, pages == 1 ? "" : "s", nworkers, nworkers == 1 ? "" : "es",
	    one_thread ? ", no DB_THREAD" : "");
	(void)snprintf(how, sizeof(how), "the same, zipfian (0.99)");
	if (nworkers > 1) {
		hits.unit = "million/s, together";
		hits.divisor = 0;
	}
	zipf.unit = hits.unit;
	zipf.divisor = hits.divisor;
	make_sample(pages);
	teams_init(teams, full ? SIDES : 2, pages + spare, pages, nworkers, one_thread);
	ours = measure(teams, &hits);
	if (pages > 1 && !one_thread)
		(void)measure(teams, &zipf);
	if (full)
		stage_full(teams);
	teams_fini(teams, full ? SIDES : 2);
	return (ours);
}

/* One process, two, and as many as are wanted over the same pages. */
static void
stage_processes(unsigned most)
{
	const unsigned pages = 1000;
	double one = 1e3 / stage_resident(pages, 1, false), two;
	unsigned n;

	two = stage_resident(pages, 2, false);
	(void)printf(
	    "| two processes against one, %u pages | times | %.2f | | | |\n", pages, two / one);
	for (n = 4; n <= most; n *= 2)
		(void)stage_resident(10000, n, false);
}

/* A file four times the pool: what a miss costs when the OS cache has the file. */
static void
stage_missing(uint32_t cache_pages, char *note, size_t note_bytes)
{
	const uint32_t pages = 4 * cache_pages;
	const struct row rows[] = {
		{ .what = "random read, file 4x the pool",
		    .op = OP_HITS,
		    .n = pages,
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

	teams_init(teams, SIDES, cache_pages, pages, 1, false);
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
main(void)
{
	static const uint32_t sizes[] = { 1, 10000, 100000 };
	char note[256];
	unsigned i, nworkers;

	(void)alarm(WATCHDOG_SECONDS);
	(void)signal(SIGPIPE, SIG_IGN);
	make_base();
	(void)printf("| 4 KiB pages | unit | poolfs | libdb 5.3 | times as fast | no pool |\n"
		     "|---|---|---:|---:|---:|---:|\n");
	for (nworkers = 1; nworkers <= MOST_PROCESSES; nworkers++)
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			(void)stage_resident(sizes[i], nworkers, false);
	(void)stage_resident(10000, 1, true);
	stage_processes(getenv("BENCH_MORE") != NULL ? MOST_WORKERS : 2);
	if (getenv("BENCH_MORE") != NULL)
		(void)stage_resident(1u << 18, 1, false);
	stage_missing(16384, note, sizeof(note));
	(void)printf("\nMedians of %d rounds of %d ms, the two sides in turn. %s\n", ROUNDS,
	    ROUND_MSEC, note);
	return (0);
}
