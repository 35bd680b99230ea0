/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * forger.c - forger HOME FILE VICTIM PATH: leave a dirty page of 'F' in the pool of HOME, of a row
 * that says it is VICTIM's, under the name of PATH.
 *
 * The page is put through FILE, in HOME; then the row in the shared file table is made to be of
 * VICTIM's device, inode and birth time, with VICTIM's file handle and PATH.  FILE "-": no page is
 * put, but every row of the pool is changed so.  The process ends by SIGKILL, with nothing closed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/file.h"

static void
fail(const char *what, int error)
{
	(void)fprintf(stderr, "forger: %s: %s\n", what, db_strerror(error));
	exit(1);
}

static void
must(const char *what, int error)
{
	if (error != 0)
		fail(what, error);
}

static void
forge_row(DB_MPOOL *mp, struct file_row *row, const struct os_stat *victim, const char *path)
{
	region_lock(mp);
	row->dev = victim->ident.dev;
	row->ino = victim->ident.ino;
	row->btime_nsec = victim->ident.btime_nsec;
	row->length = 4096;
	row->handle_bytes = 0;
	file_set_path_locked(mp, row, path);
	region_unlock(mp);
}

static DB_MPOOLFILE *
put_page(DB_MPOOL *mp, const char *name)
{
	DB_MPOOLFILE *f;
	db_pgno_t n = 0;
	void *page;

	must(name,
	    memp_fopen(mp, name, 0, DB_CREATE | DB_ODDFILESIZE, 0600, 4096, -1, NULL, NULL, &f));
	must("memp_fget", memp_fget(f, &n, DB_MPOOL_CREATE, &page));
	memset(page, 'F', 4096);
	must("memp_fput", memp_fput(f, page, DB_MPOOL_DIRTY));
	return f;
}

int
main(int argc, char **argv)
{
	DB_ENV env = { 0 };
	struct os_stat victim;
	DB_MPOOL *mp;

	if (argc != 5) {
		(void)fprintf(stderr, "usage: forger HOME FILE VICTIM PATH\n");
		return 2;
	}
	env.db_home = argv[1];
	must("memp_open", memp_open(NULL, 0, 0, &env, &mp));
	must(argv[3], os_stat(argv[3], &victim));
	if (strcmp(argv[2], "-") != 0)
		forge_row(mp, put_page(mp, argv[2])->row, &victim, argv[4]);
	else
		for (uint32_t r = 0; r < mp->g.nrows; r++)
			if (mp->rows[r].id != 0)
				forge_row(mp, &mp->rows[r], &victim, argv[4]);
	(void)kill(getpid(), SIGKILL);
	return 1;
}
