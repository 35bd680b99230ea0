/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Litmus tests of the end of a file: a client makes it longer, page by page, and cuts it now and
 * then, in the middle of a page; the program has more of it mapped than there is.  What was put
 * behind the old end is there to be loaded, and a store before it takes nothing of it along.
 */
#include "litmus.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST (PAGES * 2)
#define TAIL 104u /* where the last page is cut */

static unsigned
next_page(unsigned pgno)
{
	return pgno + 1 < MOST ? pgno + 1 : PAGES;
}

static void
map_more(void)
{
	MUST(munmap(map, PAGES * PAGE) == 0);
	map = mmap(NULL, MOST * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(map != MAP_FAILED);
}

/* Where in the last page, behind where it is cut; the same for both sides. */
static unsigned
draw_tail(void)
{
	return TAIL + (unsigned)(dice() % ((PAGE - TAIL) / 8)) * 8;
}

/* The page before the new one is the one that was the last, and perhaps a part of one. */
void
program_sees_growth(void)
{
	unsigned pgno = PAGES, at;

	map_more();
	for (unsigned long n = 1; n <= rounds; n++, pgno = next_page(pgno)) {
		at = draw_tail();
		await(1);
		must_see("load behind the old end", n, n, *word_at(pgno, at));
		must_see("load of the old tail", n, n, *word_at(pgno - 1, at));
		*word_at(pgno - 1, 8) = n * 2;
		*word_at(pgno, 0) = n * 3;
		MUST(dice() % 2 != 0 || msync(map + place(pgno - 1, 0), 2 * PAGE, MS_SYNC) == 0);
		must_see("read(2) of the old tail", n, n, read_number(pgno - 1, at));
		must_see("load of what was stored", n, n * 2, *word_at(pgno - 1, 8));
		MUST(msync(map + place(pgno - 1, 0), 2 * PAGE, MS_SYNC) == 0);
		pass(0);
	}
}

/* --- what is cut off stays away, though the kernel is just writing it back ------------------- */

void
program_is_cut(void)
{
	unsigned at;

	for (unsigned long n = 1; n <= rounds; n++) {
		at = draw_tail();
		*word_at(1, at) = n;
		*word_at(3, at) = n;
		pass(0);
		MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
		await(1);
		MUST(fsync(fd) == 0);
		must_see("read(2) of what was cut off", n, 0, read_number(1, at));
		must_see("load of what was cut off", n, 0, *word_at(3, at));
	}
	pass(0);
}

void
client_cuts_stores(void)
{
	for (unsigned long n = 1; n <= rounds; n++) {
		await(0);
		MUST(memp_ftruncate(file, place(1, TAIL)) == 0);
		MUST(memp_ftruncate(file, place(PAGES, 0)) == 0);
		pass(1);
	}
	await(0);
}

/* --- a write(2) beside a cut: before it, or after it, but not half of each ------------------- */

void
program_writes_cut(void)
{
	uint64_t seen;
	unsigned at;

	for (unsigned long n = 1; n <= rounds; n++) {
		at = draw_tail();
		pass(0);
		write_number(1, at, n);
		await(1);
		if ((seen = read_number(1, at)) != 0)
			must_see("read(2) of what was written beside a cut", n, n, seen);
		store_seq(&sh->other, seen);
		pass(2);
		await(3);
	}
	pass(0);
}

void
client_cuts_writes(void)
{
	unsigned at;

	for (unsigned long n = 1; n <= rounds; n++) {
		at = draw_tail();
		await(0);
		MUST(memp_ftruncate(file, place(1, TAIL)) == 0);
		MUST(memp_ftruncate(file, place(PAGES, 0)) == 0);
		pass(1);
		await(2);
		must_see("get of what was written beside a cut", n, load_seq(&sh->other),
		    get_number(1, at));
		pass(3);
	}
	await(0);
}

/* --- a cut by the program beside a put: the end is where both of them see it ---------------- */

void
program_cuts_beside(void)
{
	char page[PAGE];
	unsigned at;

	for (unsigned long n = 1; n <= rounds; n++) {
		at = (unsigned)(dice() % (TAIL / 8)) * 8;
		await(1);
		MUST(ftruncate(fd, TAIL) == 0);
		pass(2);
		await(3);
		must_see(
		    "bytes read(2) before the end", n, TAIL, (uint64_t)pread(fd, page, PAGE, 0));
		must_see("read(2) of what was put beside a cut", n, n, read_number(0, at));
		pass(0);
	}
}

void
client_puts_beside_cut(void)
{
	unsigned at;

	for (unsigned long n = 1; n <= rounds; n++) {
		at = (unsigned)(dice() % (TAIL / 8)) * 8;
		MUST(memp_ftruncate(file, place(2, 0)) == 0);
		pass(1);
		put_number(0, at, n);
		await(2);
		pass(3);
		await(0);
	}
}

/* --- a hole beside a put: either comes first, for both --------------------------------------- */

void
program_punches(void)
{
	unsigned at;

	for (unsigned long n = 1; n <= rounds; n++) {
		at = draw_tail();
		await(1);
		MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, place(0, TAIL),
			 PAGE - TAIL - 8) == 0);
		pass(2);
		await(3);
		store_seq(&sh->other, read_number(0, at));
		must_see(
		    "load of what was put beside a hole", n, load_seq(&sh->other), *word_at(0, at));
		pass(0);
	}
}

void
client_puts_beside_hole(void)
{
	unsigned at;

	open_in_mount(O_RDONLY);
	for (unsigned long n = 1; n <= rounds; n++) {
		at = draw_tail();
		pass(1);
		put_number(0, at, n);
		(void)read_number(0, at);
		await(2);
		pass(3);
		await(0);
		must_see("get of what was put beside a hole", n, load_seq(&sh->other),
		    get_number(0, at));
	}
}

/* --- longer ---------------------------------------------------------------------------------- */

static void
make_longer(unsigned pgno, unsigned at, uint64_t n)
{
	db_pgno_t p = 0;
	char *page;

	MUST(memp_fget(file, &p, DB_MPOOL_NEW, (void **)&page) == 0);
	MUST(p == pgno);
	memcpy(page + at, &n, sizeof(n));
	MUST(memp_fput(file, page, DB_MPOOL_DIRTY) == 0);
	put_number(pgno - 1, at, n);
}

void
client_grows(void)
{
	unsigned pgno = PAGES, at;

	for (unsigned long n = 1; n <= rounds; n++, pgno = next_page(pgno)) {
		at = draw_tail();
		(void)dice();
		if (pgno == PAGES || n % 8 == 0)
			MUST(memp_ftruncate(file, place(pgno - 1, TAIL)) == 0);
		make_longer(pgno, at, n);
		pass(1);
		await(0);
		must_see("get of what was put", n, n, get_number(pgno - 1, at));
		must_see("get of what was stored", n, n * 2, get_number(pgno - 1, 8));
		must_see("get of what was stored behind", n, n * 3, get_number(pgno, 0));
	}
}
