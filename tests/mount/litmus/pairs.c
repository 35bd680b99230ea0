/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Litmus tests of many at once: whatever a program or a client does to a file, in a process of its
 * own each, over and over: two of them (pair), or one, or all, beside what is done to the mount
 * (beside); and what a client is answered beside one that is stopped.
 */
#include "litmus.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FEW 4u /* pages that all are about */

/* --- acts ------------------------------------------------------------------------------------ */

static bool
do_read(void)
{
	char page[PAGE];

	return pread(fd, page, PAGE, place((unsigned)(dice() % FEW), 0)) >= 0;
}

static bool
do_write(void)
{
	char page[PAGE] = { 1 };
	size_t n = dice() % 2 ? PAGE : 100;

	return pwrite(fd, page, n, place((unsigned)(dice() % FEW), 0)) == (ssize_t)n;
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

static bool
do_open(void)
{
	static const int flags[] = { O_RDONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_DIRECT };
	char byte;
	int other;
	bool good;

	if ((other = open(path, flags[dice() % 4])) == -1)
		return false;
	good = pread(other, &byte, 1, 0) != -1 || errno == EBADF || errno == EINVAL;
	return close(other) == 0 && good;
}

static bool
do_put(void)
{
	db_pgno_t p = (db_pgno_t)(dice() % FEW);
	void *page;

	if (memp_fget(file, &p, 0, &page) != 0)
		return true; /* cut off just now */
	((char *)page)[16]++;
	return memp_fput(file, page, DB_MPOOL_DIRTY) == 0;
}

static bool
do_fopen(void)
{
	int err;

	if (memp_fclose(file) != 0)
		return false;
	/* beside a mount that is stopped, or slow */
	do
		err = memp_fopen(pool, name, 0, DB_ODDFILESIZE, 0, PAGE, -1, NULL, NULL, &file);
	while (err == EAGAIN);
	return err == 0 && do_put();
}

static bool
do_client_cut(void)
{
	return memp_ftruncate(file, place((unsigned)(dice() % (PAGES - 2)) + 2, 0)) == 0 &&
	    memp_ftruncate(file, place(PAGES, 0)) == 0;
}

/* All of the kernel's pages go, because HOME's file was changed. */
static bool
do_invalidate(void)
{
	int other, behind;
	bool good;

	if ((behind = open(path_in_home, O_RDWR)) == -1)
		return false;
	good = pwrite(behind, "x", 1, 24) == 1;
	if (close(behind) == -1 || (other = open(path, O_RDONLY)) == -1)
		return false;
	return close(other) == 0 && good;
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
	{ "invalidation", do_invalidate, false },
};

#define ACTS (sizeof(acts) / sizeof(acts[0]))

static bool
has_done(unsigned a)
{
	return load_seq(&sh->acted[a]) >= rounds;
}

/* Until one is told to stop, or has done it often enough, and so has beside; -1: nobody is. */
static void
act_on(unsigned a, int beside)
{
	while (
	    beside == -1 ? load_seq(&sh->stop) == 0 : !has_done(a) || !has_done((unsigned)beside)) {
		if (!acts[a].act() && beside == -1)
			_exit(0); /* the mount has ended */
		(void)add_seq(&sh->acted[a], 1);
	}
}

static pid_t
start_act(unsigned a, int beside)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)alarm(WATCHDOG_SEC);
	seed += a * 2 + 1;
	if (acts[a].client) {
		attach();
		open_in_pool();
	}
	act_on(a, beside);
	if (acts[a].client)
		leave_pool();
	_exit(0);
}

static void
must_have_ended(int status, const char *one, const char *other)
{
	if (status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS))
		return;
	(void)printf("%s beside %s: status %#x\n", one, other, (unsigned)status);
	fail(__FILE__, __LINE__, "it did not end as it should");
}

static void
must_end(pid_t pid, const char *one, const char *other)
{
	int status;

	MUST(waitpid(pid, &status, 0) == pid);
	must_have_ended(status, one, other);
}

static unsigned
act_named(const char *wanted)
{
	for (unsigned a = 0; a < ACTS; a++)
		if (strcmp(acts[a].name, wanted) == 0)
			return a;
	fail(__FILE__, __LINE__, wanted);
}

/* --- in pairs -------------------------------------------------------------------------------- */

void
cross_pair(void)
{
	unsigned pair[2] = { act_named(names[0]), act_named(names[1]) };
	pid_t pids[2], pid;
	int status, n;

	MUST((pids[0] = start_act(pair[0], (int)pair[1])) != -1);
	MUST((pids[1] = start_act(pair[1], (int)pair[0])) != -1);
	for (int left = 2; left > 0; left--) {
		MUST((pid = waitpid(-1, &status, 0)) != -1);
		n = pid == pids[0] ? 0 : 1;
		must_have_ended(status, acts[pair[n]].name, acts[pair[1 - n]].name);
		/* it does no more, and the other does not wait for it */
		(void)add_seq(&sh->acted[pair[n]], rounds);
	}
}

/* --- beside what is done to the mount --------------------------------------------------------- */

/* Say so, and wait for a line. */
static void
say(const char *words, char line[16])
{
	(void)printf("%s\n", words);
	(void)fflush(stdout);
	MUST(fgets(line, 16, stdin) != NULL);
}

static bool
is_wanted(unsigned a)
{
	return names[0] == NULL || strcmp(acts[a].name, names[0]) == 0;
}

/* Whoever can, does that many times more of it. */
static void
await_acts(const bool *runs, bool clients_only)
{
	for (unsigned a = 0; a < ACTS; a++) {
		uint64_t then = load_seq(&sh->acted[a]);

		while (runs[a] && (acts[a].client || !clients_only) &&
		    load_seq(&sh->acted[a]) < then + rounds)
			os_sleep_usec(1000);
	}
}

void
go_on_beside(void)
{
	bool runs[ACTS], ends;
	pid_t pids[ACTS];
	char line[16];

	for (unsigned a = 0; a < ACTS; a++)
		if ((runs[a] = is_wanted(a)))
			MUST((pids[a] = start_act(a, -1)) != -1);
	await_acts(runs, false);
	say("running", line);
	ends = strcmp(line, "ended\n") == 0;
	for (unsigned a = 0; a < ACTS; a++)
		if (runs[a] && !acts[a].client && ends)
			must_end(pids[a], acts[a].name, "a mount that ends");
	await_acts(runs, ends);
	store_seq(&sh->stop, 1);
	for (unsigned a = 0; a < ACTS; a++)
		if (runs[a] && (acts[a].client || !ends))
			must_end(pids[a], acts[a].name, "the mount");
}

void
be_patient(void)
{
	DB_MPOOLFILE *other;
	char line[16];
	int before;

	must_see("read(2)", 0, 0, read_number(5, 8));
	attach();
	open_in_pool();
	must_see("read(2)", 1, 0, read_number(5, 8));
	say("stop it", line);
	put_number(5, 8, 1);
	put_number(5, 8, 2);
	/* what the kernel was given before that nobody could tell from what programs store there */
	MUST(memp_fopen(pool, name, 0, DB_ODDFILESIZE, 0, PAGE, -1, NULL, NULL, &other) == EAGAIN);
	say("let it go on", line);
	before = fd;
	open_in_mount(O_RDONLY);
	must_see("read(2) after it went on", 2, 2, read_number(5, 8));
	MUST(close(fd) == 0);
	fd = before;
	must_see("read(2) of the old descriptor", 2, 2, read_number(5, 8));
	leave_pool();
}
