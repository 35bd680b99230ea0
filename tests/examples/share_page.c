/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * share_page.c - a program and a shell at the same page.
 *
 *	share_page HOME FILE TEXT
 *
 * It puts TEXT at the beginning of FILE in the pool of HOME.  The file on the disk is not written;
 * whoever reads MOUNTPOINT/files/FILE sees the text at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolfs/mpool.h>

static void
must(const char *what, int error)
{
	if (error == 0)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, db_strerror(error));
	exit(1);
}

int
main(int argc, char **argv)
{
	DB_ENV env = { .db_errfile = stderr, .db_errpfx = "share_page" };
	DB_MPOOLFILE *file;
	DB_MPOOL *pool;
	db_pgno_t first = 0;
	void *page;

	if (argc != 4 || strlen(argv[3]) > 4096)
		return 2;
	env.db_home = argv[1];
	must("memp_open", memp_open(NULL, DB_CREATE, 0, &env, &pool));
	must("memp_fopen",
	    memp_fopen(
		pool, argv[2], 0, DB_CREATE | DB_ODDFILESIZE, 0600, 4096, -1, NULL, NULL, &file));
	must("memp_fget", memp_fget(file, &first, DB_MPOOL_CREATE, &page));
	memcpy(page, argv[3], strlen(argv[3]));
	must("memp_fput", memp_fput(file, page, DB_MPOOL_DIRTY));
	must("memp_fclose", memp_fclose(file));
	must("memp_close", memp_close(pool));
	return 0;
}
