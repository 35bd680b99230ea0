/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page_client.c - a process on the mount's pool that makes the page calls one by one, for a script
 * that knows what each must do: page_client HOME FILE PAGE_BYTES FTYPE, then a command a line.
 *
 *	open FLAGS		memp_fopen; 1 DB_ODDFILESIZE, 2 DB_RDONLY, 4 DB_CREATE
 *	close
 *	page N			prints the page's bytes, in hexadecimal
 *	fill N CHAR		all bytes of the page become CHAR; put DIRTY
 *	create N CHAR		the same with DB_MPOOL_CREATE
 *	new CHAR		the same with DB_MPOOL_NEW; prints the number
 *	last			prints the number of the last page
 *	truncate BYTES, length, fsync
 *
 * FILE "-" is a temporary one.  Each is answered with a line: what it prints, "ok", or "error
 * CODE".  Pages of a positive FTYPE are kept in the file with every bit inverted.  End of input
 * detaches.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolfs/mpool.h>

static DB_MPOOL *pool;
static DB_MPOOLFILE *file;
static char *name;
static size_t page_bytes;
static int ftype;

/* What is refused is the script's to judge. */
static void *
say_nothing(char *prefix, char *sentence)
{
	(void)prefix;
	(void)sentence;
	return NULL;
}

static int
invert(db_pgno_t pgno, void *page, DBT *cookie)
{
	unsigned char *bytes = page;

	(void)pgno;
	(void)cookie;
	for (size_t i = 0; i < page_bytes; i++)
		bytes[i] = (unsigned char)~bytes[i];
	return 0;
}

static int
do_open(long flags, int c)
{
	int f = (flags & 1 ? DB_ODDFILESIZE : 0) | (flags & 2 ? DB_RDONLY : 0) |
	    (flags & 4 ? DB_CREATE : 0);

	(void)c;
	return memp_fopen(pool, name, ftype, f, 0644, page_bytes, -1, NULL, NULL, &file);
}

static int
do_close(long n, int c)
{
	int err = file != NULL ? memp_fclose(file) : 0;

	(void)n;
	(void)c;
	file = NULL;
	return err;
}

static int
do_page(long n, int c)
{
	db_pgno_t pgno = (db_pgno_t)n;
	void *page;
	int err;

	(void)c;
	if ((err = memp_fget(file, &pgno, 0, &page)) != 0)
		return err;
	for (size_t i = 0; i < page_bytes; i++)
		(void)printf("%02x", ((unsigned char *)page)[i]);
	(void)printf("\n");
	return memp_fput(file, page, 0);
}

static int
change(long n, int c, unsigned long flags)
{
	db_pgno_t pgno = (db_pgno_t)n;
	void *page;
	int err;

	if ((err = memp_fget(file, &pgno, flags, &page)) != 0)
		return err;
	memset(page, c, page_bytes);
	if (flags == DB_MPOOL_NEW)
		(void)printf("%lu\n", (unsigned long)pgno);
	return memp_fput(file, page, DB_MPOOL_DIRTY);
}

static int
do_fill(long n, int c)
{
	return change(n, c, 0);
}

static int
do_create(long n, int c)
{
	return change(n, c, DB_MPOOL_CREATE);
}

static int
do_new(long n, int c)
{
	return change(n, c, DB_MPOOL_NEW);
}

static int
do_last(long n, int c)
{
	db_pgno_t pgno;
	void *page;
	int err;

	(void)n;
	(void)c;
	if ((err = memp_fget(file, &pgno, DB_MPOOL_LAST, &page)) != 0)
		return err;
	(void)printf("%lu\n", (unsigned long)pgno);
	return memp_fput(file, page, 0);
}

static int
do_truncate(long n, int c)
{
	(void)c;
	return memp_ftruncate(file, n);
}

static int
do_length(long n, int c)
{
	off_t length;
	int err;

	(void)n;
	(void)c;
	if ((err = memp_fsize(file, &length)) == 0)
		(void)printf("%lld\n", (long long)length);
	return err;
}

static int
do_fsync(long n, int c)
{
	(void)n;
	(void)c;
	return memp_fsync(file);
}

static const struct {
	const char *word;
	int (*fn)(long n, int c);
	int prints;
} commands[] = {
	{ "open", do_open, 0 },
	{ "close", do_close, 0 },
	{ "page", do_page, 1 },
	{ "fill", do_fill, 0 },
	{ "create", do_create, 0 },
	{ "new", do_new, 1 },
	{ "last", do_last, 1 },
	{ "truncate", do_truncate, 0 },
	{ "length", do_length, 1 },
	{ "fsync", do_fsync, 0 },
};

static void
do_line(const char *line)
{
	char word[16] = "", c = 'x';
	long n = 0;
	int err;

	if (sscanf(line, "new %c", &c) == 1)
		(void)strcpy(word, "new");
	else
		(void)sscanf(line, "%15s %ld %c", word, &n, &c);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(word, commands[i].word) != 0)
			continue;
		err = commands[i].fn(n, c);
		if (err != 0)
			(void)printf("error %d\n", err);
		else if (!commands[i].prints)
			(void)printf("ok\n");
		(void)fflush(stdout);
		return;
	}
	exit(2);
}

int
main(int argc, char **argv)
{
	DB_ENV env = { .db_errcall = say_nothing };
	char *line = NULL;
	size_t room = 0;

	if (argc != 5)
		return 2;
	env.db_home = argv[1];
	name = strcmp(argv[2], "-") == 0 ? NULL : argv[2];
	page_bytes = strtoul(argv[3], NULL, 10);
	ftype = atoi(argv[4]);
	if (memp_open(NULL, 0, 0, &env, &pool) != 0 ||
	    (ftype > 0 && memp_register(pool, ftype, invert, invert) != 0))
		return 1;
	while (getline(&line, &room, stdin) > 0)
		do_line(line);
	free(line);
	return memp_close(pool) == 0 ? 0 : 1;
}
