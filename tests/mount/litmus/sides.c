/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The litmus tests' two sides: how they take turns, and what the program does to the file in the
 * mount, and the client to the same file in the pool.  A side that fails tells the other, which
 * then ends too.
 */
#include "litmus.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct shared *sh;
const char *home, *name;
char path[4096], path_in_home[4096];
const char *names[2];
unsigned long rounds;
uint64_t seed;

void
fail(const char *in, int line, const char *what)
{
	(void)printf("%s:%d: %s (errno %d)\n", in, line, what, errno);
	(void)fflush(stdout);
	store_seq(&sh->stop, 2);
	os_futex_wake(&sh->turn);
	_exit(1);
}

void
must_see(const char *who, unsigned long round, uint64_t wanted, uint64_t got)
{
	if (got == wanted)
		return;
	(void)printf("%s, round %lu: %llu, where %llu was done before\n", who, round,
	    (unsigned long long)got, (unsigned long long)wanted);
	fail(__FILE__, __LINE__, "stale");
}

uint64_t
dice(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

void
await(uint32_t turn)
{
	uint32_t now;

	while ((now = load_seq(&sh->turn)) != turn) {
		if (load_seq(&sh->stop) == 2)
			_exit(1);
		os_futex_wait(&sh->turn, now, 100000);
	}
}

void
await_not(uint32_t turn)
{
	while (load_seq(&sh->turn) == turn) {
		if (load_seq(&sh->stop) == 2)
			_exit(1);
		os_futex_wait(&sh->turn, turn, 100000);
	}
}

void
pass(uint32_t turn)
{
	store_seq(&sh->turn, turn);
	os_futex_wake(&sh->turn);
}

/* --- the two sides --------------------------------------------------------------------------- */

static DB_ENV env;
DB_MPOOL *pool;
DB_MPOOLFILE *file;
int fd;
char *map;

void
open_in_mount(int flags)
{
	MUST((fd = open(path, flags, 0666)) != -1);
}

void
make_file(void)
{
	char page[PAGE] = { 0 };

	open_in_mount(O_CREAT | O_RDWR | O_TRUNC);
	for (unsigned i = 0; i < PAGES; i++)
		MUST(write(fd, page, PAGE) == (ssize_t)PAGE);
}

void
map_file(void)
{
	map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(map != MAP_FAILED);
}

void
attach(void)
{
	env.db_errfile = stderr;
	env.db_home = home;
	env.region_flags = DB_SYSTEM_MEM;
	MUST(memp_open(NULL, 0, 0, &env, &pool) == 0);
}

void
open_in_pool(void)
{
	MUST(memp_fopen(pool, name, 0, DB_ODDFILESIZE, 0, PAGE, -1, NULL, NULL, &file) == 0);
}

void
leave_pool(void)
{
	MUST(memp_fclose(file) == 0);
	MUST(memp_close(pool) == 0);
}

uint64_t
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

void
put_number(unsigned pgno, unsigned at, uint64_t n)
{
	db_pgno_t p = pgno;
	void *page;

	MUST(memp_fget(file, &p, 0, &page) == 0);
	memcpy((char *)page + at, &n, sizeof(n));
	MUST(memp_fput(file, page, DB_MPOOL_DIRTY) == 0);
}

uint64_t
read_number(unsigned pgno, unsigned at)
{
	uint64_t n;

	MUST(pread(fd, &n, sizeof(n), place(pgno, at)) == (ssize_t)sizeof(n));
	return n;
}

void
write_number(unsigned pgno, unsigned at, uint64_t n)
{
	MUST(pwrite(fd, &n, sizeof(n), place(pgno, at)) == (ssize_t)sizeof(n));
}
