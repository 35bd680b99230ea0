/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: opening regions whose files hold anything.
 *
 * The first byte of the input says what of: a pool, a lock table, an application's region; and
 * whether the rest is the file as it is, or a list of changes to a sound one: three bytes where,
 * one byte how many, and the bytes.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <poolfs/lock.h>
#include <poolfs/mpool.h>
#include <poolfs/region.h>

#define KIB ((size_t)1 << 10)
#define CHANGES_MOST 64

static void *
say_nothing(char *prefix, char *sentence)
{
	(void)prefix;
	(void)sentence;
	return NULL;
}

static char home[64];
static DB_ENV env = { .db_errcall = say_nothing,
	.db_home = home,
	.mp_size = 20 * KIB,
	.region_max = 512 * KIB,
	.lk_max = 64 };

/* --- the three kinds ------------------------------------------------------------------------- */

static void
use_file(DB_MPOOL *mp)
{
	DB_MPOOLFILE *f;
	void *page;

	if (memp_fopen(mp, "f", 0, DB_CREATE, 0600, 512, -1, NULL, NULL, &f) != 0)
		return;
	for (db_pgno_t n = 0; n < 3; n++)
		if (memp_fget(f, &n, DB_MPOOL_CREATE, &page) == 0) {
			memset(page, 'x', 512);
			(void)memp_fput(f, page, DB_MPOOL_DIRTY);
		}
	(void)memp_fsync(f);
	(void)memp_fclose(f);
}

static int
use_pool(int flags)
{
	DB_MPOOL_STAT *st = NULL;
	DB_MPOOL *mp;
	int ret = memp_open(NULL, flags, 0600, &env, &mp);

	if (ret != 0)
		return ret;
	use_file(mp);
	(void)memp_stat(mp, &st, NULL, NULL);
	free(st);
	return memp_close(mp);
}

static int
use_table(int flags)
{
	const DBT obj = { .data = (void *)(uintptr_t) "object", .size = 6 };
	DB_LOCKTAB *lt;
	DB_LOCK lock;
	u_int32_t id;
	int ret = lock_open(NULL, (u_int32_t)flags, 0600, &env, &lt);

	if (ret != 0)
		return ret;
	if (lock_id(lt, &id) == 0 &&
	    lock_get(lt, id, DB_LOCK_NOWAIT, &obj, DB_LOCK_WRITE, &lock) == 0)
		(void)lock_put(lt, lock);
	return lock_close(lt);
}

static int
use_region(int flags)
{
	DB_REGION *reg;
	u_int64_t at;
	int ret = memr_open(NULL, "a", flags, 0600, 32 * KIB, &env, &reg);

	if (ret != 0)
		return ret;
	(void)memr_heap(reg, 4096, 16 * KIB);
	if (memr_alloc(reg, 100, 0, &at) == 0)
		(void)memr_free(reg, at);
	return memr_close(reg);
}

static void
look_at(const char *name)
{
	DB_REGION_STAT st;

	(void)memr_look(NULL, name, &env, &st);
}

static struct kind {
	const char *name;
	const char *file;
	int (*use)(int flags);
	uint8_t *sound; /* bytes of a sound one */
	size_t bytes;
} kinds[] = {
	{ .name = "mpool", .file = "__db_mpool.share", .use = use_pool },
	{ .name = "lock", .file = "__db_lock.share", .use = use_table },
	{ .name = "a", .file = "__db_a.share", .use = use_region },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void
remove_kind(const struct kind *k)
{
	if (k == &kinds[0])
		(void)memp_unlink(NULL, 1, &env);
	else if (k == &kinds[1])
		(void)lock_unlink(NULL, 1, &env);
	else
		(void)memr_unlink(NULL, k->name, 1, &env);
	if (access(fuzz_path(k->file), F_OK) == 0)
		abort(); /* force removes whatever it is */
}

/* --- the file -------------------------------------------------------------------------------- */

static void
make_sound(struct kind *k)
{
	int fd;
	off_t n;

	if (k->use(DB_CREATE) != 0 || (fd = open(fuzz_path(k->file), O_RDONLY | O_CLOEXEC)) == -1)
		abort();
	n = lseek(fd, 0, SEEK_END);
	k->bytes = (size_t)n;
	if ((k->sound = malloc(k->bytes)) == NULL ||
	    pread(fd, k->sound, k->bytes, 0) != (ssize_t)k->bytes)
		abort();
	(void)close(fd);
	remove_kind(k);
}

static void
set_up(void)
{
	(void)snprintf(home, sizeof(home), "%s", fuzz_home());
	for (unsigned i = 0; i < KINDS; i++)
		make_sound(&kinds[i]);
}

static void
change(const struct kind *k, int fd, struct input *in)
{
	for (unsigned i = 0; i < CHANGES_MOST && in->left > 0; i++) {
		uint64_t off = input_number(in, 3) % k->bytes;
		size_t n = 1 + (size_t)input_number(in, 1) % 64;

		if (n > in->left)
			n = in->left;
		if (n > 0 && pwrite(fd, in->at, n, (off_t)off) != (ssize_t)n)
			abort();
		in->at += n;
		in->left -= n;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };
	uint64_t what = input_number(&in, 1);
	struct kind *k = &kinds[what % KINDS];
	int fd;

	if (home[0] == '\0')
		set_up();
	fd = open(fuzz_path(k->file), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1)
		abort();
	if (what & 0x80) {
		if (pwrite(fd, in.at, in.left, 0) != (ssize_t)in.left)
			abort();
	} else {
		if (pwrite(fd, k->sound, k->bytes, 0) != (ssize_t)k->bytes)
			abort();
		change(k, fd, &in);
	}
	(void)close(fd);
	look_at(k->name);
	(void)k->use(0);
	(void)k->use(DB_CREATE);
	remove_kind(k);
	return 0;
}
