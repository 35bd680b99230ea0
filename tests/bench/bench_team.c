/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_team.c - worker processes: they open their pool, bring its pages in, and then wait for
 * orders in a pipe, so that the rounds of two sides can alternate.  Workers of one side start a
 * round together, at a barrier in shared memory, and say what they have done in another pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_team.h"

struct order {
	enum op op;
	uint32_t n;
};

struct answer {
	int ret;
	struct bench_result res;
};

void
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

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return (remove(path));
}

void
remove_tree(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
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
	for (pgno = 0; pgno < t->shape.pages; pgno++) {
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

/*
 * Bytes that this process has in memory of the region files' mappings beside the pages in them.
 * Where the pages lie by themselves that is what lies elsewhere, else all that they do not take;
 * what the kernel has mapped on both sides of what was touched counts too.
 */
static int
region_memory(const struct team *t, struct bench_handle *h, struct bench_result *res)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long pages_at = t->side->pages_at(h), kib, offset;
	char line[PATH_MAX + 100];
	bool ours = false;

	if (f == NULL)
		return (errno);
	*res = (struct bench_result){ 0 };
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strstr(line, t->home) != NULL)
			ours = sscanf(line, "%*x-%*x %*s %lx", &offset) == 1 && offset < pages_at;
		else if (ours && sscanf(line, "Rss: %lu kB", &kib) == 1) {
			res->ops += kib * 1024;
			ours = false;
		}
	}
	if (pages_at == ULONG_MAX)
		res->ops -= (uint64_t)t->shape.pages * BENCH_PAGE_BYTES;
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
	case OP_PINS:
		return (t->side->pins(h, o->n, ROUND_MSEC, res));
	case OP_ZIPF:
		return (t->side->zipf(h, t->sample, ROUND_MSEC, res));
	case OP_FILES:
		return (t->side->files(h, ROUND_MSEC, res));
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
		return (region_memory(t, h, res));
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
	while (__atomic_load_n(t->arrived, __ATOMIC_SEQ_CST) < turn * t->shape.nworkers)
		continue;
}

static void __attribute__((noreturn))
work(const struct team *t, unsigned number, int orders, int answers)
{
	const struct bench_place at = { .home = t->home,
		.cache_bytes = (size_t)t->shape.cache_pages * BENCH_PAGE_BYTES,
		.file = t->file,
		.pages = t->shape.pages,
		.files = t->shape.nfiles,
		.worker = number,
		.one_thread = t->shape.one_thread,
		.sparse = t->shape.sparse };
	struct answer a = { 0 };
	struct order o;
	struct bench_handle *h = NULL;
	uint64_t *stamps = calloc(t->shape.pages, sizeof(*stamps));
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

void
team_fini(struct team *t)
{
	const struct order quit = { .op = OP_QUIT };
	unsigned i;

	for (i = 0; i < t->shape.nworkers; i++) {
		(void)!write(t->workers[i].orders, &quit, sizeof(quit));
		(void)waitpid(t->workers[i].pid, NULL, 0);
		(void)close(t->workers[i].orders);
		(void)close(t->workers[i].answers);
	}
	(void)munmap((void *)(uintptr_t)t->arrived, sizeof(*t->arrived));
	remove_tree(t->home);
}

struct bench_result
team_command(const struct team *t, enum op op, uint32_t n)
{
	const struct order o = { .op = op, .n = n };
	struct bench_result sum = { 0 };
	struct answer a;
	unsigned i;

	for (i = 0; i < t->shape.nworkers; i++)
		if (write(t->workers[i].orders, &o, sizeof(o)) != (ssize_t)sizeof(o))
			die("%s: worker %u is gone", t->side->name, i);
	for (i = 0; i < t->shape.nworkers; i++) {
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

/* Pages from first on, each with its mark; or so many pages of nothing. */
static void
make_file(const char *path, uint32_t first, uint32_t pages, bool sparse)
{
	uint64_t words[BENCH_PAGE_BYTES / sizeof(uint64_t)] = { 0 };
	FILE *f = fopen(path, "we");
	uint32_t pgno;

	if (f == NULL)
		die("%s: %s", path, strerror(errno));
	if (sparse && ftruncate(fileno(f), (off_t)pages * BENCH_PAGE_BYTES) != 0)
		die("%s: %s", path, strerror(errno));
	for (pgno = first; !sparse && pgno < first + pages; pgno++) {
		words[0] = BENCH_MARK(pgno);
		(void)fwrite(words, sizeof(words), 1, f);
	}
	if (fflush(f) != 0 || fclose(f) != 0)
		die("%s: %s", path, strerror(errno));
}

static void
make_files(const struct team *t)
{
	const uint32_t each = t->shape.pages / t->shape.nfiles;
	char path[PATH_MAX + 16];
	unsigned i;
	int fd;

	for (i = 0; i < t->shape.nfiles; i++) {
		bench_file_name(path, sizeof(path), t->file, i);
		make_file(path, i * each, each, t->shape.sparse);
	}
	/* what is measured later is not the writing of these */
	if ((fd = open(t->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || syncfs(fd) != 0)
		die("%s: %s", t->home, strerror(errno));
	(void)close(fd);
}

/* A descriptor for each file of a handle, and some more. */
static void
raise_limit(unsigned nfiles)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("getrlimit: %s", strerror(errno));
	if (limit.rlim_cur > nfiles + 200u)
		return;
	limit.rlim_cur = nfiles + 200u;
	if (limit.rlim_max < limit.rlim_cur)
		limit.rlim_max = limit.rlim_cur;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("%u files cannot be open at once: %s", nfiles, strerror(errno));
}

void
team_init(struct team *t, const struct bench_side *side, const struct shape *shape,
    const char *base, const uint32_t *sample)
{
	unsigned i;

	*t = (struct team){ .side = side, .shape = *shape, .sample = sample };
	(void)snprintf(t->home, sizeof(t->home), "%s/%s", base, side->name);
	(void)snprintf(t->file, sizeof(t->file), "%s/%s/file", base, side->name);
	if (mkdir(t->home, 0700) != 0)
		die("%s: %s", t->home, strerror(errno));
	raise_limit(shape->nfiles);
	make_files(t);
	t->arrived = mmap(
	    NULL, sizeof(*t->arrived), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t->arrived == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	for (i = 0; i < shape->nworkers; i++)
		hire(t, i);
}
