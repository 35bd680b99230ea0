/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * litmus.c - a program on the mount and a client of its pool, on the same pages: does one of them
 * ever see what is older than what the other one has done before?
 *
 *	litmus HOME MOUNTPOINT TEST ROUNDS SEED
 *
 * The program (the parent) opens its file, which the kernel may then cache, before the client (the
 * child) does.  They take turns through a word in shared memory.  Exits 0 if nothing was stale and
 * nothing lost.  A watchdog ends both.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <poolfs/mpool.h>

#include "base/atomics.h"
#include "base/os.h"

#define PAGE 4096u
#define PAGES 64u
#define WATCHDOG_SEC 100

struct shared {
	uint32_t turn;
	uint32_t stop;
	uint64_t done;	/* the number that was put last */
	uint64_t other; /* the number that was written last */
};

static struct shared *sh;
static const char *home, *mnt;
static unsigned long rounds;
static uint64_t seed;

#define MUST(cond)                                                                                 \
	do                                                                                         \
		if (!(cond))                                                                       \
			fail(__LINE__, #cond);                                                     \
	while (0)

static void __attribute__((noreturn)) fail(int line, const char *what)
{
	(void)printf("%d: %s (errno %d)\n", line, what, errno);
	(void)fflush(stdout);
	store_seq(&sh->stop, 2);
	os_futex_wake(&sh->turn);
	_exit(1);
}

static void
must_see(const char *who, unsigned long round, uint64_t wanted, uint64_t got)
{
	if (got == wanted)
		return;
	(void)printf("%s, round %lu: %llu, where %llu was done before\n", who, round,
	    (unsigned long long)got, (unsigned long long)wanted);
	fail(__LINE__, "stale");
}

static uint64_t
dice(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Wait until the turn is ours; false: the other one has given up. */
static void
await(uint32_t turn)
{
	uint32_t now;

	while ((now = load_seq(&sh->turn)) != turn) {
		if (load_seq(&sh->stop) == 2)
			_exit(1);
		os_futex_wait(&sh->turn, now, 100000);
	}
}

static void
pass(uint32_t turn)
{
	store_seq(&sh->turn, turn);
	os_futex_wake(&sh->turn);
}

/* --- the two sides --------------------------------------------------------------------------- */

static DB_ENV env;
static DB_MPOOL *pool;
static DB_MPOOLFILE *file;
static int fd;
static char *map;

static void
open_in_mount(const char *name, int flags)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/files/%s", mnt, name);
	MUST((fd = open(path, flags, 0666)) != -1);
}

static void
make_file(const char *name)
{
	char page[PAGE] = { 0 };

	open_in_mount(name, O_CREAT | O_RDWR | O_TRUNC);
	for (unsigned i = 0; i < PAGES; i++)
		MUST(write(fd, page, PAGE) == (ssize_t)PAGE);
}

static void
attach(void)
{
	env.db_errfile = stderr;
	env.db_home = home;
	env.region_flags = DB_SYSTEM_MEM;
	MUST(memp_open(NULL, 0, 0, &env, &pool) == 0);
}

static void
open_in_pool(const char *name)
{
	MUST(memp_fopen(pool, name, 0, DB_ODDFILESIZE, 0, PAGE, -1, NULL, NULL, &file) == 0);
}

static uint64_t
get_number(unsigned pgno, unsigned at)
{
	db_pgno_t p = pgno;
	uint64_t n;
	void *page;

	MUST(memp_fget(file, &p, 0, &page) == 0);
	memcpy(&n, (char *)page + at, sizeof(n));
	MUST(memp_fput(file, page, 0) == 0);
	return n;
}

static void
put_number(unsigned pgno, unsigned at, uint64_t n)
{
	db_pgno_t p = pgno;
	void *page;

	MUST(memp_fget(file, &p, 0, &page) == 0);
	memcpy((char *)page + at, &n, sizeof(n));
	MUST(memp_fput(file, page, DB_MPOOL_DIRTY) == 0);
}

static off_t
place(unsigned pgno, unsigned at)
{
	return (off_t)pgno * PAGE + (off_t)at;
}

static uint64_t
read_number(unsigned pgno, unsigned at)
{
	uint64_t n;

	MUST(pread(fd, &n, sizeof(n), place(pgno, at)) == (ssize_t)sizeof(n));
	return n;
}

static void
write_number(unsigned pgno, unsigned at, uint64_t n)
{
	MUST(pwrite(fd, &n, sizeof(n), place(pgno, at)) == (ssize_t)sizeof(n));
}

/* Where the numbers of a round are: the same for both, who draw the same dice. */
static void
draw(unsigned *pgnop, unsigned *atp)
{
	uint64_t d = dice();

	*pgnop = (unsigned)(d % PAGES);
	*atp = (unsigned)(d >> 32) % (PAGE / 8) * 8;
}

/* --- ping-pong: put, then read; write, then get ---------------------------------------------- */

static void
program_reads(void)
{
	unsigned pgno, at;

	for (unsigned long n = 1; n <= rounds; n++) {
		draw(&pgno, &at);
		await(1);
		must_see("read(2) after a put", n, n * 2, read_number(pgno, at));
		write_number(pgno, at, n * 2 + 1);
		must_see("read(2) after a write(2)", n, n * 2 + 1, read_number(pgno, at));
		pass(0);
	}
}

static void
client_puts(void)
{
	unsigned pgno, at;

	for (unsigned long n = 1; n <= rounds; n++) {
		draw(&pgno, &at);
		put_number(pgno, at, n * 2);
		pass(1);
		await(0);
		must_see("get after the other's change", n, n * 2 + 1, get_number(pgno, at));
	}
}

/* A part of a page, up to its end or from its beginning, around the place. */
static void
write_part(unsigned pgno, unsigned at, uint64_t n)
{
	bool to_end = n % 4 == 1;
	unsigned from = to_end ? at : 0, to = to_end ? PAGE : at + (unsigned)sizeof(n);
	char part[PAGE];

	memset(part, (int)n, sizeof(part));
	memcpy(part + at, &n, sizeof(n));
	MUST(pwrite(fd, part + from, to - from, place(pgno, from)) == (ssize_t)(to - from));
}

/* The kernel has lost the page by itself: it has it locked while it writes a part of it. */
static void
program_writes_unread(void)
{
	unsigned pgno, at;

	for (unsigned long n = 1; n <= rounds; n++) {
		draw(&pgno, &at);
		await(1);
		must_see("read(2) after a put", n, n * 2, read_number(pgno, at));
		MUST(posix_fadvise(fd, place(pgno, 0), PAGE, POSIX_FADV_DONTNEED) == 0);
		write_part(pgno, at, n * 2 + 1);
		must_see("read(2) after a write(2)", n, n * 2 + 1, read_number(pgno, at));
		pass(0);
	}
}

static void
program_loads(void)
{
	unsigned pgno, at;
	volatile uint64_t *word;

	for (unsigned long n = 1; n <= rounds; n++) {
		draw(&pgno, &at);
		word = (volatile uint64_t *)(void *)(map + place(pgno, at));
		await(1);
		must_see("load after a put", n, n * 2, *word);
		*word = n * 2 + 1;
		MUST(msync(map + place(pgno, 0), PAGE, MS_SYNC) == 0);
		must_see("load after a store", n, n * 2 + 1, *word);
		pass(0);
	}
}

/* --- different bytes of one page: nobody takes turns ----------------------------------------- */

/* The kernel's copy of the page is dropped, written back and read again all the time. */
static void
program_stores(void)
{
	volatile uint64_t *word = (volatile uint64_t *)(void *)(map + 8);
	volatile uint64_t *theirs = (volatile uint64_t *)(void *)(map + 64);
	uint64_t seen, before;
	unsigned long n = 0;

	while (load_seq(&sh->stop) == 0) {
		before = load_seq(&sh->done);
		if ((seen = *theirs) < before)
			must_see("load beside stores", n, before, seen);
		must_see("load of one's own", n, n, *word);
		*word = ++n;
		if (dice() % 4 == 0)
			MUST(msync(map, PAGE, MS_SYNC) == 0);
	}
	MUST(msync(map, PAGE, MS_SYNC) == 0);
	store_seq(&sh->other, n);
	pass(2);
}

static void
program_writes(void)
{
	uint64_t seen, before;
	unsigned long n = 0;

	while (load_seq(&sh->stop) == 0) {
		before = load_seq(&sh->done);
		if ((seen = read_number(0, 64)) < before)
			must_see("read(2) beside puts", n, before, seen);
		must_see("read(2) of one's own", n, n, read_number(0, 8));
		write_number(0, 8, ++n);
		must_see("read(2) at once", n, n, read_number(0, 8));
	}
	store_seq(&sh->other, n);
	pass(2);
}

/* Reads the page all the time, so that the kernel has it. */
static pid_t
start_reader(void)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (load_seq(&sh->stop) == 0) {
		uint64_t before = load_seq(&sh->done), seen = read_number(0, 64);

		if (seen < before)
			must_see("read(2) of a third", 0, before, seen);
	}
	_exit(0);
}

static void
client_puts_beside(void)
{
	for (unsigned long n = 1; n <= rounds; n++) {
		if (n > 1)
			must_see("get of one's own", n, n - 1, get_number(0, 64));
		put_number(0, 64, n);
		store_seq(&sh->done, n);
	}
	store_seq(&sh->stop, 1);
	await(2);
	must_see("get of the program's last", rounds, load_seq(&sh->other), get_number(0, 8));
}

/* --- opens that race ------------------------------------------------------------------------- */

static void
program_opens(const char *name)
{
	uint64_t seen, before;
	unsigned long n = 0;
	int keep = fd;

	while (load_seq(&sh->stop) == 0) {
		before = load_seq(&sh->done);
		open_in_mount(name, dice() % 2 ? O_RDONLY : O_RDWR);
		if ((seen = read_number(3, 8)) < before)
			must_see("read(2) after an open", n, before, seen);
		n++;
		MUST(close(fd) == 0);
		/* now and then nobody has it open */
		if (keep != -1 && dice() % 8 == 0) {
			MUST(close(keep) == 0);
			keep = -1;
		} else if (keep == -1 && dice() % 8 == 0) {
			open_in_mount(name, O_RDWR);
			keep = fd;
		}
	}
}

static void
client_opens(const char *name)
{
	MUST(memp_fclose(file) == 0);
	for (unsigned long n = 1; n <= rounds; n++) {
		open_in_pool(name);
		for (unsigned i = 0; i < 3; i++) {
			put_number(3, 8, n * 3 + i);
			store_seq(&sh->done, n * 3 + i);
		}
		MUST(memp_fclose(file) == 0);
	}
	open_in_pool(name);
	store_seq(&sh->stop, 1);
}

/* --- a crowd opens at once what the kernel has old pages of ---------------------------------- */

#define CROWD 4u

static pthread_barrier_t start;
static char crowd_path[4096];

static void *
crowd_main(void *arg)
{
	uint64_t n;
	int own;

	(void)pthread_barrier_wait(&start);
	MUST((own = open(crowd_path, O_RDONLY)) != -1);
	MUST(pread(own, &n, sizeof(n), place(arg == NULL ? 3 : 35, 8)) == (ssize_t)sizeof(n));
	must_see("read(2) of one in a crowd", 0, load_seq(&sh->done), n);
	MUST(close(own) == 0);
	return NULL;
}

static void
program_crowds(const char *name)
{
	pthread_t crowd[CROWD];

	(void)snprintf(crowd_path, sizeof(crowd_path), "%s/files/%s", mnt, name);
	MUST(munmap(map, PAGES * PAGE) == 0 && close(fd) == 0);
	MUST(pthread_barrier_init(&start, NULL, CROWD) == 0);
	for (unsigned long n = 1; n <= rounds; n++) {
		await(1);
		for (uintptr_t i = 0; i < CROWD; i++)
			MUST(pthread_create(&crowd[i], NULL, crowd_main, (void *)(i % 2)) == 0);
		for (unsigned i = 0; i < CROWD; i++)
			MUST(pthread_join(crowd[i], NULL) == 0);
		pass(0);
	}
}

static void
client_puts_before(const char *name)
{
	MUST(memp_fclose(file) == 0);
	for (unsigned long n = 1; n <= rounds; n++) {
		open_in_pool(name);
		put_number(3, 8, n);
		put_number(35, 8, n);
		MUST(memp_fclose(file) == 0);
		store_seq(&sh->done, n);
		pass(1);
		await(0);
	}
	open_in_pool(name);
}

/* --- appends, in whole pages ----------------------------------------------------------------- */

static void
append_in_mount(const char *name, uint64_t who)
{
	uint64_t record[PAGE / sizeof(uint64_t)];

	open_in_mount(name, O_WRONLY | O_APPEND);
	for (unsigned long n = 1; n <= rounds; n++) {
		for (unsigned i = 0; i < PAGE / sizeof(uint64_t); i++)
			record[i] = who << 32 | n;
		MUST(write(fd, record, PAGE) == (ssize_t)PAGE);
	}
}

static void
append_in_pool(void)
{
	for (unsigned long n = 1; n <= rounds; n++) {
		db_pgno_t pgno;
		uint64_t *page;

		MUST(memp_fget(file, &pgno, DB_MPOOL_NEW, (void **)&page) == 0);
		for (unsigned i = 0; i < PAGE / sizeof(uint64_t); i++)
			page[i] = 9ull << 32 | n;
		MUST(memp_fput(file, page, DB_MPOOL_DIRTY) == 0);
	}
}

/* What the kernel shows, who had the file open all the time, is all that was appended, in order. */
static void
check_appended(void)
{
	unsigned long last[10] = { 0 }, all = 0;
	uint64_t record[PAGE / sizeof(uint64_t)];
	off_t at = place(PAGES, 0);

	for (; pread(fd, record, PAGE, at) == (ssize_t)PAGE; at += PAGE, all++) {
		unsigned who = (unsigned)(record[0] >> 32);

		MUST(who < 10);
		must_see("the next record", all, ++last[who], (uint32_t)record[0]);
		must_see("its end", all, record[0], record[PAGE / sizeof(uint64_t) - 1]);
	}
	must_see("records", 0, rounds * 3, all);
}

static void
program_appends(const char *name)
{
	int status, cached = fd;
	pid_t pid;

	MUST((pid = fork()) != -1);
	if (pid == 0) {
		append_in_mount(name, 1);
		_exit(0);
	}
	append_in_mount(name, 2);
	MUST(waitpid(pid, &status, 0) == pid && status == 0);
	MUST(close(fd) == 0);
	fd = cached;
	await(2);
	check_appended();
}

/* --- truncation ------------------------------------------------------------------------------ */

static void
program_sees_cut(void)
{
	struct stat st;

	for (unsigned long n = 1; n <= rounds; n++) {
		char c = 'x';

		await(1);
		MUST(pread(fd, &c, 1, place(2, 100)) == 0);
		MUST(fstat(fd, &st) == 0 && st.st_size == place(2, 0));
		must_see("read(2) before the end", n, n, read_number(1, 8));
		MUST(ftruncate(fd, place(PAGES, 0)) == 0);
		must_see("read(2) of what was cut off", n, 0, read_number(2, 96));
		must_see(
		    "load of what was cut off", n, 0, *(uint64_t *)(void *)(map + place(2, 96)));
		pass(0);
	}
}

static void
client_cuts(void)
{
	for (unsigned long n = 1; n <= rounds; n++) {
		put_number(2, 96, n);
		put_number(1, 8, n);
		MUST(memp_ftruncate(file, place(2, 0)) == 0);
		pass(1);
		await(0);
		must_see("get of what was cut off", n, 0, get_number(2, 96));
	}
}

/* --- everything against everything: does anything wait for ever? ------------------------------ */

static bool
do_read(void)
{
	char page[PAGE];

	return pread(fd, page, PAGE, place((unsigned)(dice() % PAGES), 0)) >= 0;
}

static bool
do_write(void)
{
	char page[PAGE] = { 1 };
	size_t n = dice() % 2 ? PAGE : 100;

	return pwrite(fd, page, n, place((unsigned)(dice() % PAGES), 0)) == (ssize_t)n;
}

/* The end of the file may be before it: SIGBUS ends this process only. */
static bool
do_map(void)
{
	unsigned pgno = (unsigned)(dice() % 2);

	map[place(pgno, 8)]++;
	return dice() % 4 != 0 || msync(map + place(pgno, 0), PAGE, MS_SYNC) == 0;
}

static bool
do_truncate(void)
{
	return ftruncate(fd, place((unsigned)(dice() % (PAGES - 2)) + 2, 0)) == 0 &&
	    ftruncate(fd, place(PAGES, 0)) == 0;
}

static const char *pairs_name;

static bool
do_open(void)
{
	static const int flags[] = { O_RDONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_DIRECT };
	char path[4096], byte;
	int other;
	bool good;

	(void)snprintf(path, sizeof(path), "%s/files/%s", mnt, pairs_name);
	if ((other = open(path, flags[dice() % 4])) == -1)
		return false;
	good = pread(other, &byte, 1, 0) != -1 || errno == EBADF || errno == EINVAL;
	return close(other) == 0 && good;
}

static bool
do_put(void)
{
	db_pgno_t p = (db_pgno_t)(dice() % PAGES);
	void *page;

	if (memp_fget(file, &p, 0, &page) != 0)
		return true; /* cut off just now */
	((char *)page)[16]++;
	return memp_fput(file, page, DB_MPOOL_DIRTY) == 0;
}

static bool
do_fopen(void)
{
	return memp_fclose(file) == 0 &&
	    memp_fopen(pool, pairs_name, 0, DB_ODDFILESIZE, 0, PAGE, -1, NULL, NULL, &file) == 0 &&
	    do_put();
}

static bool
do_client_cut(void)
{
	return memp_ftruncate(file, place((unsigned)(dice() % (PAGES - 2)) + 2, 0)) == 0 &&
	    memp_ftruncate(file, place(PAGES, 0)) == 0;
}

static const struct {
	const char *name;
	bool (*act)(void);
	bool client;
} acts[] = {
	{ "read", do_read, false },
	{ "write", do_write, false },
	{ "map", do_map, false },
	{ "truncate", do_truncate, false },
	{ "open", do_open, false },
	{ "put", do_put, true },
	{ "memp_fopen", do_fopen, true },
	{ "memp_ftruncate", do_client_cut, true },
};

#define ACTS (sizeof(acts) / sizeof(acts[0]))

/* until_failure: a program goes on until the mount fails, a client until it is told to stop. */
static pid_t
start_act(unsigned a, bool until_failure)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)alarm(WATCHDOG_SEC);
	seed += a * 2 + 1;
	if (acts[a].client) {
		attach();
		open_in_pool(pairs_name);
	}
	for (unsigned long n = 0; until_failure ? load_seq(&sh->stop) == 0 : n < rounds; n++) {
		if (!acts[a].act() && until_failure)
			_exit(0);
		if (acts[a].client)
			(void)add_seq(&sh->done, 1);
		else
			(void)add_seq(&sh->other, 1);
	}
	if (acts[a].client) {
		MUST(memp_fclose(file) == 0);
		MUST(memp_close(pool) == 0);
	}
	_exit(0);
}

static void
must_end(pid_t pid, const char *one, const char *other)
{
	int status;

	MUST(waitpid(pid, &status, 0) == pid);
	if (status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS))
		return;
	(void)printf("%s beside %s: status %#x\n", one, other, (unsigned)status);
	fail(__LINE__, "it did not end as it should");
}

static void
cross_pairs(void)
{
	pid_t one, other;

	for (unsigned a = 0; a < ACTS; a++)
		for (unsigned b = 0; b <= a; b++) {
			MUST((one = start_act(a, false)) != -1);
			MUST((other = start_act(b, false)) != -1);
			must_end(one, acts[a].name, acts[b].name);
			must_end(other, acts[b].name, acts[a].name);
			MUST(ftruncate(fd, place(PAGES, 0)) == 0);
		}
}

/* Says "running"; when a line comes in, the mount is dead, and clients still have to get on. */
static void
outlive(void)
{
	pid_t pids[ACTS];
	uint64_t then;
	char line[16];

	for (unsigned a = 0; a < ACTS; a++)
		MUST((pids[a] = start_act(a, true)) != -1);
	while (load_seq(&sh->done) < rounds || load_seq(&sh->other) < rounds)
		os_sleep_usec(1000);
	(void)printf("running\n");
	(void)fflush(stdout);
	MUST(fgets(line, sizeof(line), stdin) != NULL);
	for (unsigned a = 0; a < ACTS; a++)
		if (!acts[a].client)
			must_end(pids[a], acts[a].name, "a dead mount");
	then = load_seq(&sh->done);
	while (load_seq(&sh->done) < then + rounds)
		os_sleep_usec(1000);
	store_seq(&sh->stop, 1);
	for (unsigned a = 0; a < ACTS; a++)
		if (acts[a].client)
			must_end(pids[a], acts[a].name, "a dead mount");
}

/*
 * Says "stop it"; when a line comes in, the mount is stopped: a put returns though, and after the
 * next line, when the mount goes on, and has answered an open, nothing is stale.
 */
static void
be_patient(void)
{
	DB_MPOOLFILE *other;
	char line[16];
	int before;

	must_see("read(2)", 0, 0, read_number(5, 8));
	attach();
	open_in_pool(pairs_name);
	must_see("read(2)", 1, 0, read_number(5, 8));
	(void)printf("stop it\n");
	(void)fflush(stdout);
	MUST(fgets(line, sizeof(line), stdin) != NULL);
	put_number(5, 8, 1);
	put_number(5, 8, 2);
	/* what the kernel was given before that nobody could tell from what programs store there */
	MUST(memp_fopen(pool, pairs_name, 0, DB_ODDFILESIZE, 0, PAGE, -1, NULL, NULL, &other) ==
	    EAGAIN);
	(void)printf("let it go on\n");
	(void)fflush(stdout);
	MUST(fgets(line, sizeof(line), stdin) != NULL);
	before = fd;
	open_in_mount(pairs_name, O_RDONLY);
	must_see("read(2) after it went on", 2, 2, read_number(5, 8));
	MUST(close(fd) == 0);
	fd = before;
	must_see("read(2) of the old descriptor", 2, 2, read_number(5, 8));
	MUST(memp_fclose(file) == 0);
	MUST(memp_close(pool) == 0);
}

/* --- the tests ------------------------------------------------------------------------------- */

static void
map_file(void)
{
	map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(map != MAP_FAILED);
}

static void
run_program(const char *test)
{
	pid_t reader = 0;

	if (strcmp(test, "put_write") == 0)
		program_reads();
	else if (strcmp(test, "put_unread") == 0)
		program_writes_unread();
	else if (strcmp(test, "put_store") == 0)
		program_loads();
	else if (strcmp(test, "beside_stores") == 0)
		program_stores();
	else if (strcmp(test, "beside_writes") == 0) {
		MUST((reader = start_reader()) != -1);
		program_writes();
	} else if (strcmp(test, "opens") == 0)
		program_opens(test);
	else if (strcmp(test, "crowds") == 0)
		program_crowds(test);
	else if (strcmp(test, "appends") == 0)
		program_appends(test);
	else if (strcmp(test, "cuts") == 0)
		program_sees_cut();
	if (reader != 0)
		MUST(waitpid(reader, NULL, 0) == reader);
}

static void
run_client(const char *test)
{
	attach();
	open_in_pool(test);
	pass(3);
	await(4);
	if (strncmp(test, "put_", 4) == 0)
		client_puts();
	else if (strncmp(test, "beside_", 7) == 0)
		client_puts_beside();
	else if (strcmp(test, "opens") == 0)
		client_opens(test);
	else if (strcmp(test, "crowds") == 0)
		client_puts_before(test);
	else if (strcmp(test, "appends") == 0) {
		append_in_pool();
		pass(2);
	} else if (strcmp(test, "cuts") == 0)
		client_cuts();
	MUST(memp_fclose(file) == 0);
	MUST(memp_close(pool) == 0);
}

int
main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc != 6)
		return 2;
	home = argv[1];
	mnt = argv[2];
	rounds = strtoul(argv[4], NULL, 10);
	seed = strtoul(argv[5], NULL, 10) * 2 + 1;
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	(void)alarm(WATCHDOG_SEC + (unsigned)(rounds / 1000));
	make_file(argv[3]);
	map_file();
	pairs_name = argv[3];
	if (strcmp(argv[3], "pairs") == 0) {
		cross_pairs();
		return 0;
	}
	if (strcmp(argv[3], "killed") == 0) {
		outlive();
		return 0;
	}
	if (strcmp(argv[3], "stopped") == 0) {
		be_patient();
		return 0;
	}
	MUST((pid = fork()) != -1);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)alarm(WATCHDOG_SEC + (unsigned)(rounds / 1000));
		(void)close(fd);
		(void)munmap(map, PAGES * PAGE);
		run_client(argv[3]);
		_exit(0);
	}
	await(3);
	pass(4);
	run_program(argv[3]);
	MUST(waitpid(pid, &status, 0) == pid);
	return status != 0;
}
