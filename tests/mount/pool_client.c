/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool_client.c - a second process on the mount's pool, for the scripts: it attaches with the
 * library as any program would, and does what it is told on standard input, a command a line.
 *
 *	pages BYTES		page size of the next open
 *	open FILE		FILE of HOME, for writing if it may
 *	hold FILE		the same, to the end, beside the one that is open
 *	length			prints the file's length
 *	get OFFSET BYTES	prints these bytes, and a newline
 *	put OFFSET TEXT		changes the bytes there, page by page
 *	extend BYTES		creates pages until the file is that long
 *	cut BYTES		memp_ftruncate
 *	copy PATH		writes the whole file, as the pool has it, to PATH
 *	pin PAGE, unpin		pins a page until told otherwise
 *	remove FILE		memp_fremove
 *	rename FROM TO		memp_frename
 *	sync			memp_sync
 *	panic TEXT		finds the region damaged, and says so
 *
 * Each is answered with a line when it is done: "ok", the result, or "error CODE TEXT".  End of
 * input detaches.  "pool_client HOME create" makes a pool if there is none; "pool_client HOME
 * unlink" removes it by force instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <poolfs/mpool.h>

#include "pool/mount.h"

static size_t page_bytes = 4096;
static DB_MPOOL *pool;
static DB_MPOOLFILE *file;
static void *pinned;

static void *
say(char *prefix, char *sentence)
{
	(void)prefix;
	(void)fprintf(stderr, "pool_client: %s\n", sentence);
	return NULL;
}

/* One page at a time: fn gets the page's bytes and how many of the range lie in it. */
static int
each_page(off_t offset, size_t bytes, unsigned long put_flags,
    void (*fn)(void *page, size_t n, void *arg), void *arg)
{
	while (bytes > 0) {
		db_pgno_t pgno = (db_pgno_t)(offset / page_bytes);
		size_t from = (size_t)(offset % page_bytes);
		size_t n = page_bytes - from < bytes ? page_bytes - from : bytes;
		void *page;
		int err;

		if ((err = memp_fget(file, &pgno, 0, &page)) != 0)
			return err;
		fn((char *)page + from, n, arg);
		if ((err = memp_fput(file, page, put_flags)) != 0)
			return err;
		offset += (off_t)n;
		bytes -= n;
	}
	return 0;
}

static void
print_bytes(void *page, size_t n, void *arg)
{
	(void)fwrite(page, 1, n, arg);
}

static void
take_bytes(void *page, size_t n, void *arg)
{
	const char **text = arg;

	memcpy(page, *text, n);
	*text += n;
}

static int
open_in_pool(const char *path, DB_MPOOLFILE **filep)
{
	return memp_fopen(pool, path, 0, DB_ODDFILESIZE, 0, page_bytes, -1, NULL, NULL, filep);
}

static int
do_open(const char *path)
{
	int err;

	if (file != NULL && (err = memp_fclose(file)) != 0)
		return err;
	file = NULL;
	return open_in_pool(path, &file);
}

static int
do_hold(const char *path)
{
	DB_MPOOLFILE *held;

	return open_in_pool(path, &held);
}

static int
do_extend(off_t bytes)
{
	db_pgno_t pgno = (db_pgno_t)((bytes - 1) / page_bytes);
	void *page;
	int err;

	if ((err = memp_fget(file, &pgno, DB_MPOOL_CREATE, &page)) != 0)
		return err;
	return memp_fput(file, page, DB_MPOOL_DIRTY);
}

static int
do_copy(const char *path)
{
	off_t length;
	FILE *out;
	int err;

	if ((err = memp_fsize(file, &length)) != 0)
		return err;
	if ((out = fopen(path, "w")) == NULL)
		return errno;
	err = each_page(0, (size_t)length, 0, print_bytes, out);
	return fclose(out) != 0 && err == 0 ? errno : err;
}

static int
do_get(off_t offset, size_t bytes)
{
	int err = each_page(offset, bytes, 0, print_bytes, stdout);

	(void)putchar('\n');
	return err;
}

static int
do_pin(db_pgno_t pgno)
{
	return memp_fget(file, &pgno, 0, &pinned);
}

static int
do_unpin(void)
{
	int err = memp_fput(file, pinned, 0);

	pinned = NULL;
	return err;
}

static int
do_length(void)
{
	off_t length;
	int err;

	if ((err = memp_fsize(file, &length)) == 0)
		(void)printf("%lld\n", (long long)length);
	return err;
}

static int
do_rename(char *names)
{
	const char *from = strsep(&names, " ");

	return memp_frename(pool, from, names);
}

static int
do_line(char *line)
{
	char *word = strsep(&line, " "), *rest = line != NULL ? line : word + strlen(word), *behind;
	long long offset = strtoll(rest, &behind, 10);
	const char *text;

	if (strcmp(word, "pages") == 0) {
		page_bytes = (size_t)offset;
		return 0;
	}
	if (strcmp(word, "open") == 0)
		return do_open(rest);
	if (strcmp(word, "hold") == 0)
		return do_hold(rest);
	if (strcmp(word, "remove") == 0)
		return memp_fremove(pool, rest);
	if (strcmp(word, "rename") == 0)
		return do_rename(rest);
	if (strcmp(word, "sync") == 0)
		return memp_sync(pool, NULL);
	if (strcmp(word, "panic") == 0)
		return region_panic(mpool_region(pool), "%s", rest);
	if (file == NULL)
		return EBADF;
	if (strcmp(word, "length") == 0)
		return do_length();
	if (strcmp(word, "get") == 0)
		return do_get((off_t)offset, strtoul(behind, NULL, 10));
	if (strcmp(word, "put") == 0) {
		text = behind + 1;
		return each_page((off_t)offset, strlen(text), DB_MPOOL_DIRTY, take_bytes, &text);
	}
	if (strcmp(word, "extend") == 0)
		return do_extend((off_t)offset);
	if (strcmp(word, "cut") == 0)
		return memp_ftruncate(file, (off_t)offset);
	if (strcmp(word, "copy") == 0)
		return do_copy(rest);
	if (strcmp(word, "pin") == 0)
		return do_pin((db_pgno_t)offset);
	if (strcmp(word, "unpin") == 0)
		return do_unpin();
	return EINVAL;
}

int
main(int argc, char **argv)
{
	DB_ENV env = { .db_errcall = say };
	char *line = NULL;
	size_t room = 0;
	bool creates = argc == 3 && strcmp(argv[2], "create") == 0;
	ssize_t n;
	int err;

	if (argc != 2 && !creates && (argc != 3 || strcmp(argv[2], "unlink") != 0)) {
		(void)fprintf(
		    stderr, "usage: pool_client HOME [create] <commands, or HOME unlink\n");
		return 2;
	}
	env.db_home = argv[1];
	if (argc == 3 && !creates)
		return memp_unlink(NULL, 1, &env) == 0 ? 0 : 1;
	if ((err = memp_open(NULL, creates ? DB_CREATE : 0, 0600, &env, &pool)) != 0) {
		(void)fprintf(stderr, "pool_client: %s: %s\n", argv[1], db_strerror(err));
		return 1;
	}
	while ((n = getline(&line, &room, stdin)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if ((err = do_line(line)) == 0)
			(void)printf("ok\n");
		else
			(void)printf("error %d %s\n", err, db_strerror(err));
		(void)fflush(stdout);
	}
	free(line);
	return memp_close(pool) == 0 ? 0 : 1;
}
