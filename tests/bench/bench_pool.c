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
 * Directory: BENCH_DIR, else TMPDIR, else /tmp; it needs 2 GiB.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
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
#define MOST_WORKERS 2
#define SYNC_PAGES 10000
#define WATCHDOG_SECONDS 900

enum op { OP_HITS, OP_SCAN, OP_SCAN_AHEAD, OP_DIRTY, OP_SYNC, OP_STAT, OP_VERIFY, OP_QUIT };

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
	struct worker workers[MOST_WORKERS];
	volatile unsigned *arrived; /* at the barrier, in shared memory; never reset */
};

static const struct bench_side *const sides[2] = { &bench_ours, &bench_libdb };
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

static int
obey(const struct team *t, struct bench_handle *h, uint64_t *stamps, const struct order *o,
    struct bench_result *res)
{
	switch (o->op) {
	case OP_HITS:
		return (t->side->hits(h, o->n, ROUND_MSEC, res));
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
	struct answer a = { 0 };
	struct order o;
	struct bench_handle *h = NULL;
	uint64_t *stamps = calloc(t->pages, sizeof(*stamps));
	unsigned turn = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	a.ret = stamps == NULL ?
	    ENOMEM :
	    t->side->open(t->home, t->cache_bytes, t->file, t->pages, number, &h);
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
    unsigned nworkers)
{
	unsigned i;

	*t = (struct team){ .side = side, .pages = pages, .nworkers = nworkers };
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

/* Measure one row of the table, the sides in turn, and print it. */
static void
measure(const struct team teams[2], const struct row *r)
{
	double v[2][ROUNDS], m[2];
	int i, s, nsides = r->only_ours ? 1 : 2;

	for (i = 0; i < ROUNDS; i++)
		for (s = 0; s < nsides; s++)
			v[s][i] = figure(&teams[s], r);
	m[0] = median(v[0]);
	if (r->only_ours) {
		(void)printf("| %s | %s | %.1f | | |\n", r->what, r->unit, m[0]);
	} else {
		m[1] = median(v[1]);
		(void)printf("| %s | %s | %.1f | %.1f | %.1f |\n", r->what, r->unit, m[0], m[1],
		    r->divisor == 0 ? m[0] / m[1] : m[1] / m[0]);
	}
	(void)fflush(stdout);
}

static void
teams_init(struct team teams[2], uint32_t cache_pages, uint32_t pages, unsigned nworkers)
{
	int s;

	for (s = 0; s < 2; s++)
		team_init(&teams[s], sides[s], cache_pages, pages, nworkers);
}

static void
teams_fini(struct team teams[2])
{
	int s;

	for (s = 0; s < 2; s++)
		dismiss(&teams[s]);
}

/* Everything dirty to the file; then each stamp must be in it.  Returns how many were there. */
static uint64_t
settle(const struct team *t)
{
	(void)command(t, OP_SYNC, 0);
	return (command(t, OP_VERIFY, 0).ops);
}

/* Pages that stay: hits, and with one process writing back and statistics. */
static void
stage_resident(uint32_t pages, unsigned nworkers)
{
	const uint32_t spare = pages / 4 + 256;
	struct team teams[2];
	char what[80];
	struct row hits = { .what = what, .op = OP_HITS, .n = pages, .unit = "ns", .divisor = 1 };

	(void)snprintf(what, sizeof(what), "hit (get, read a word, put), %u page%s, %u process%s",
	    pages, pages == 1 ? "" : "s", nworkers, nworkers == 1 ? "" : "es");
	if (nworkers > 1) {
		hits.unit = "million/s, together";
		hits.divisor = 0;
	}
	teams_init(teams, pages + spare, pages, nworkers);
	measure(teams, &hits);
	if (pages >= 10 * SYNC_PAGES && nworkers == 1) {
		const struct row sync = { .what = "sync of 10000 random dirty pages, with fsync",
			.op = OP_SYNC,
			.n = SYNC_PAGES,
			.unit = "ms",
			.divisor = 1e6 };
		const struct row stat = { .what = "memp_stat, 100000 pages resident",
			.op = OP_STAT,
			.unit = "us",
			.divisor = 1e3 };

		measure(teams, &sync);
		measure(teams, &stat);
		(void)settle(&teams[0]);
		(void)settle(&teams[1]);
	}
	teams_fini(teams);
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
		    .must_read = true },
		{ .what = "sequential read of the same",
		    .op = OP_SCAN,
		    .unit = "ns",
		    .divisor = 1,
		    .must_read = true },
		{ .what = "the same, announced with memp_fprefetch",
		    .op = OP_SCAN_AHEAD,
		    .unit = "ns",
		    .divisor = 1,
		    .must_read = true,
		    .only_ours = true },
		{ .what = "random change of the same, evicting dirty pages",
		    .op = OP_DIRTY,
		    .unit = "ns",
		    .divisor = 1,
		    .must_read = true },
	};
	struct team teams[2];
	unsigned i;

	teams_init(teams, cache_pages, pages, 1);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].op != OP_SCAN_AHEAD || bench_ours.scan_ahead != NULL)
			measure(teams, &rows[i]);
	(void)snprintf(note, note_bytes,
	    "After the random changes every one of %llu (poolfs) and %llu (libdb) changed pages "
	    "was found in its file, read without the pool.",
	    (unsigned long long)settle(&teams[0]), (unsigned long long)settle(&teams[1]));
	teams_fini(teams);
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
	(void)printf("| 4 KiB pages | unit | poolfs | libdb 5.3 | times as fast |\n"
		     "|---|---|---:|---:|---:|\n");
	for (nworkers = 1; nworkers <= MOST_WORKERS; nworkers++)
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			stage_resident(sizes[i], nworkers);
	stage_missing(16384, note, sizeof(note));
	(void)printf("\nMedians of %d rounds of %d ms, the two sides in turn. %s\n", ROUNDS,
	    ROUND_MSEC, note);
	return (0);
}
