/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checksums.c - pages that carry a checksum on the disk and none in the pool.
 *
 *	checksums HOME FILE put TEXT
 *	checksums HOME FILE get
 *
 * The last eight bytes of a page are its checksum: pgout writes it into the copy that goes to the
 * disk, pgin verifies it when a page comes in.  A page that was changed on the disk is EILSEQ.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolfs/mpool.h>

#define PAGE 4096
#define FTYPE 1

static uint64_t
checksum(db_pgno_t pgno, const unsigned char *page)
{
	uint64_t h = 0xcbf29ce484222325u ^ pgno;

	for (size_t i = 0; i < PAGE - sizeof(h); i++)
		h = (h ^ page[i]) * 0x100000001b3u;
	return h;
}

static int
page_out(db_pgno_t pgno, void *page, DBT *cookie)
{
	uint64_t sum = checksum(pgno, page);

	(void)cookie;
	memcpy((char *)page + PAGE - sizeof(sum), &sum, sizeof(sum));
	return 0;
}

/* A page that was never written is all zeros. */
static int
page_in(db_pgno_t pgno, void *page, DBT *cookie)
{
	static const char zeros[PAGE];
	uint64_t sum;

	(void)cookie;
	memcpy(&sum, (char *)page + PAGE - sizeof(sum), sizeof(sum));
	if (sum == checksum(pgno, page) || memcmp(page, zeros, PAGE) == 0)
		return 0;
	return EILSEQ;
}

/* What failed, and why, the library has written to db_errfile. */
static void
must(int error)
{
	if (error != 0)
		exit(1);
}

int
main(int argc, char **argv)
{
	DB_ENV env = { .db_errfile = stderr, .db_errpfx = "checksums" };
	DB_MPOOLFILE *file;
	DB_MPOOL *pool;
	db_pgno_t first = 0;
	char *page;
	int put = argc == 5 && strcmp(argv[3], "put") == 0;

	if (!put && (argc != 4 || strcmp(argv[3], "get") != 0))
		return 2;
	env.db_home = argv[1];
	must(memp_open(NULL, DB_CREATE, 0, &env, &pool));
	must(memp_register(pool, FTYPE, page_in, page_out));
	must(memp_fopen(pool, argv[2], FTYPE, DB_CREATE, 0600, PAGE, -1, NULL, NULL, &file));
	must(memp_fget(file, &first, DB_MPOOL_CREATE, (void **)&page));
	if (put)
		(void)snprintf(page, PAGE - 8, "%s", argv[4]);
	else
		(void)printf("%.*s\n", PAGE - 8, page);
	must(memp_fput(file, page, put ? DB_MPOOL_DIRTY : 0));
	must(memp_fsync(file));
	must(memp_fclose(file));
	must(memp_close(pool));
	return 0;
}
