/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * litmus.c - a program on the mount and a client of its pool, on the same pages: does one of them
 * ever see what is older than what the other one has done before?
 *
 *	litmus HOME MOUNTPOINT TEST ROUNDS SEED [ACT [ACT]]
 *
 * The program (the parent) opens its file, which the kernel may then cache, before the client (the
 * child) does.  They take turns through a word in shared memory (sides.c); in the tests of pairs.c
 * nobody does.  Exits 0 if nothing was stale and nothing lost.  A watchdog ends both.
 */
#include "litmus.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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
		word = word_at(pgno, at);
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
	volatile uint64_t *word = word_at(0, 8), *theirs = word_at(0, 64);
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
program_writes(void)
{
	uint64_t seen, before;
	unsigned long n = 0;
	pid_t reader = start_reader();

	MUST(reader != -1);
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
	MUST(waitpid(reader, NULL, 0) == reader);
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
program_opens(void)
{
	uint64_t seen, before;
	unsigned long n = 0;
	int keep = fd;

	while (load_seq(&sh->stop) == 0) {
		before = load_seq(&sh->done);
		open_in_mount(dice() % 2 ? O_RDONLY : O_RDWR);
		if ((seen = read_number(3, 8)) < before)
			must_see("read(2) after an open", n, before, seen);
		n++;
		MUST(close(fd) == 0);
		/* now and then nobody has it open */
		if (keep != -1 && dice() % 8 == 0) {
			MUST(close(keep) == 0);
			keep = -1;
		} else if (keep == -1 && dice() % 8 == 0) {
			open_in_mount(O_RDWR);
			keep = fd;
		}
	}
}

static void
client_opens(void)
{
	MUST(memp_fclose(file) == 0);
	for (unsigned long n = 1; n <= rounds; n++) {
		open_in_pool();
		for (unsigned i = 0; i < 3; i++) {
			put_number(3, 8, n * 3 + i);
			store_seq(&sh->done, n * 3 + i);
		}
		MUST(memp_fclose(file) == 0);
	}
	open_in_pool();
	store_seq(&sh->stop, 1);
}

/* --- a crowd opens at once what the kernel has old pages of ---------------------------------- */

#define CROWD 4u

static pthread_barrier_t start;

static void *
crowd_main(void *arg)
{
	uint64_t n;
	int own;

	(void)pthread_barrier_wait(&start);
	MUST((own = open(path, O_RDONLY)) != -1);
	MUST(pread(own, &n, sizeof(n), place(arg == NULL ? 3 : 35, 8)) == (ssize_t)sizeof(n));
	must_see("read(2) of one in a crowd", 0, load_seq(&sh->done), n);
	MUST(close(own) == 0);
	return NULL;
}

static void
program_crowds(void)
{
	pthread_t crowd[CROWD];

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
client_puts_before(void)
{
	MUST(memp_fclose(file) == 0);
	for (unsigned long n = 1; n <= rounds; n++) {
		open_in_pool();
		put_number(3, 8, n);
		put_number(35, 8, n);
		MUST(memp_fclose(file) == 0);
		store_seq(&sh->done, n);
		pass(1);
		await(0);
	}
	open_in_pool();
}

/* --- appends, in whole pages ----------------------------------------------------------------- */

static void
append_in_mount(uint64_t who)
{
	uint64_t record[PAGE / sizeof(uint64_t)];

	open_in_mount(O_WRONLY | O_APPEND);
	for (unsigned long n = 1; n <= rounds; n++) {
		for (unsigned i = 0; i < PAGE / sizeof(uint64_t); i++)
			record[i] = who << 32 | n;
		MUST(write(fd, record, PAGE) == (ssize_t)PAGE);
	}
}

static void
client_appends(void)
{
	for (unsigned long n = 1; n <= rounds; n++) {
		db_pgno_t pgno;
		uint64_t *page;

		MUST(memp_fget(file, &pgno, DB_MPOOL_NEW, (void **)&page) == 0);
		for (unsigned i = 0; i < PAGE / sizeof(uint64_t); i++)
			page[i] = 9ull << 32 | n;
		MUST(memp_fput(file, page, DB_MPOOL_DIRTY) == 0);
	}
	pass(2);
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
program_appends(void)
{
	int status, cached = fd;
	pid_t pid;

	MUST((pid = fork()) != -1);
	if (pid == 0) {
		append_in_mount(1);
		_exit(0);
	}
	append_in_mount(2);
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
		must_see("load of what was cut off", n, 0, *word_at(2, 96));
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

/* --- the tests ------------------------------------------------------------------------------- */

static const struct test {
	const char *name;
	void (*program)(void);
	void (*client)(void); /* NULL: the program starts its own */
} tests[] = {
	{ "put_write", program_reads, client_puts },
	{ "put_unread", program_writes_unread, client_puts },
	{ "put_store", program_loads, client_puts },
	{ "beside_stores", program_stores, client_puts_beside },
	{ "beside_writes", program_writes, client_puts_beside },
	{ "opens", program_opens, client_opens },
	{ "crowds", program_crowds, client_puts_before },
	{ "appends", program_appends, client_appends },
	{ "cuts", program_sees_cut, client_cuts },
	{ "grows", program_sees_growth, client_grows },
	{ "cut_stores", program_is_cut, client_cuts_stores },
	{ "cut_writes", program_writes_cut, client_cuts_writes },
	{ "cut_beside", program_cuts_beside, client_puts_beside_cut },
	{ "punches", program_punches, client_puts_beside_hole },
	{ "pair", cross_pair, NULL },
	{ "beside", go_on_beside, NULL },
	{ "stopped", be_patient, NULL },
};

static const struct test *
test_named(const char *wanted)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (strcmp(tests[i].name, wanted) == 0)
			return &tests[i];
	return NULL;
}

static void
run_client(const struct test *test)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)alarm(WATCHDOG_SEC + (unsigned)(rounds / 1000));
	(void)close(fd);
	(void)munmap(map, PAGES * PAGE);
	attach();
	open_in_pool();
	pass(3);
	await_not(3);
	test->client();
	leave_pool();
	_exit(0);
}

int
main(int argc, char **argv)
{
	const struct test *test;
	int status;
	pid_t pid;

	if (argc < 6 || argc > 8 || (test = test_named(argv[3])) == NULL)
		return 2;
	home = argv[1];
	name = argv[3];
	(void)snprintf(path, sizeof(path), "%s/files/%s", argv[2], name);
	(void)snprintf(path_in_home, sizeof(path_in_home), "%s/%s", home, name);
	names[0] = argc > 6 ? argv[6] : NULL;
	names[1] = argc > 7 ? argv[7] : NULL;
	rounds = strtoul(argv[4], NULL, 10);
	seed = strtoul(argv[5], NULL, 10) * 2 + 1;
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	(void)alarm(WATCHDOG_SEC + (unsigned)(rounds / 1000));
	make_file();
	map_file();
	if (test->client == NULL) {
		test->program();
		return 0;
	}
	MUST((pid = fork()) != -1);
	if (pid == 0)
		run_client(test);
	await(3);
	pass(4);
	test->program();
	MUST(waitpid(pid, &status, 0) == pid);
	return status != 0;
}
