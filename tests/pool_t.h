/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool_t.h - what the tests of core/pool share: a pool in the test's directory, pages that say
 * what they hold, and what was said last.
 *
 * With TEST_MEMORY=system in the environment the pools are in System V segments (memory_t.h).
 *
 * must() and refuses() serve in children and threads too.  Everything here fails the test that
 * calls it; finish() is how a test that ends at rest ends: the walker, the sums, memp_close.
 */
#ifndef TESTS_POOL_T_H
#define TESTS_POOL_T_H

#include "memory_t.h"
#include "said_t.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <poolfs/mpool.h>

#include "base/atomics.h"
#include "pool/mount.h"

#define KIB ((size_t)1 << 10)
#define REGION_NAME "__db_mpool.share"

#define refuses(e, error) answer_is(__FILE__, __LINE__, #e, (e), (error))

/* --- pools ----------------------------------------------------------------------------------- */

static DB_ENV test_env;

/* test_env for a pool of so many bytes whose home is the test's directory. */
static inline DB_ENV *
env_of(const struct t *t, size_t bytes)
{
	static char home[sizeof(t->dir)];

	memcpy(home, t->dir, sizeof(home));
	memset(&test_env, 0, sizeof(test_env));
	test_env.db_errcall = hear;
	test_env.db_home = home;
	test_env.mp_size = bytes;
	test_env.region_flags = in_system_memory() ? DB_SYSTEM_MEM : 0;
	quiet();
	return &test_env;
}

static inline DB_MPOOL *
pool_with(DB_ENV *env, int flags)
{
	DB_MPOOL *mp = NULL;

	must(memp_open(NULL, DB_CREATE | flags, 0, env, &mp));
	return mp;
}

static inline DB_MPOOL *
pool_of(const struct t *t, size_t bytes)
{
	return pool_with(env_of(t, bytes), 0);
}

/* One whose tables are made for pages of that size (0: nobody said). */
static inline DB_MPOOL *
pool_for_pages(const struct t *t, size_t bytes, size_t pagesize)
{
	DB_ENV *env = env_of(t, bytes);

	env->mp_pagesize = pagesize;
	return pool_with(env, 0);
}

static inline DB_MPOOL *
pool_with_ahead(const struct t *t, size_t bytes, u_int32_t policy, int ahead)
{
	DB_ENV *env = env_of(t, bytes);

	env->policy = policy;
	env->mp_ahead = ahead;
	return pool_with(env, 0);
}

/* What is there is what was asked for. */
static inline DB_MPOOL *
pool_of_policy(const struct t *t, size_t bytes, u_int32_t policy)
{
	return pool_with_ahead(t, bytes, policy, -1);
}

static inline DB_MPOOL_STAT
stat_of(DB_MPOOL *mp)
{
	DB_MPOOL_STAT *s = NULL, copy;

	must(memp_stat(mp, &s, NULL, NULL));
	copy = *s;
	free(s);
	return copy;
}

/* The statistics of the file whose path ends in name; file_name is not kept. */
static inline DB_MPOOL_FSTAT
fstat_of(DB_MPOOL *mp, const char *name)
{
	DB_MPOOL_FSTAT **list = NULL, copy = { 0 };
	bool found = false;

	must(memp_stat(mp, NULL, &list, NULL));
	for (DB_MPOOL_FSTAT **s = list; s != NULL && *s != NULL; s++) {
		size_t n = strlen((*s)->file_name), k = strlen(name);

		if (n >= k && strcmp((*s)->file_name + n - k, name) == 0) {
			copy = **s;
			found = true;
		}
	}
	free(list);
	t_check(found);
	copy.file_name = NULL;
	return copy;
}

/* S9: what holds of the statistics at any instant. */
static inline void
sums(const DB_MPOOL_STAT *s)
{
	t_check(s->st_cache_hit + s->st_cache_miss + s->st_map + s->st_page_new == s->st_fget);
	t_check(s->st_page_clean + s->st_page_dirty ==
	    s->st_page_in + s->st_page_create - s->st_ro_evict - s->st_rw_evict);
}

/* How many pages are in the pool? */
static inline uint64_t
resident(DB_MPOOL *mp)
{
	DB_MPOOL_STAT s = stat_of(mp);

	sums(&s);
	return s.st_page_clean + s.st_page_dirty;
}

/* Nothing is going on in the pool: is all of it in order? */
static inline void
at_rest(DB_MPOOL *mp)
{
	DB_MPOOL_STAT s = stat_of(mp);

	sums(&s);
	must(mpool_check(mp, true));
}

static inline void
finish(DB_MPOOL *mp)
{
	at_rest(mp);
	must(memp_close(mp));
}

/* --- files and pages ------------------------------------------------------------------------- */

static inline DB_MPOOLFILE *
file_with(DB_MPOOL *mp, const char *name, int flags, size_t pagesize)
{
	DB_MPOOLFILE *f = NULL;

	must(memp_fopen(mp, name, 0, flags, 0600, pagesize, -1, NULL, NULL, &f));
	return f;
}

static inline DB_MPOOLFILE *
file_of(DB_MPOOL *mp, const char *name, size_t pagesize)
{
	return file_with(mp, name, DB_CREATE, pagesize);
}

/* A file of a type that is registered. */
static inline DB_MPOOLFILE *
file_of_type(DB_MPOOL *mp, const char *name, int type, size_t pagesize)
{
	DB_MPOOLFILE *f = NULL;

	must(memp_fopen(mp, name, type, DB_CREATE, 0600, pagesize, -1, NULL, NULL, &f));
	return f;
}

/* What memp_fopen says; a file that it opens all the same is closed. */
static inline int
fopen_error(DB_MPOOL *mp, const char *name, int type, int flags, size_t pagesize, int lsn)
{
	DB_MPOOLFILE *f = (DB_MPOOLFILE *)mp;
	int ret = memp_fopen(mp, name, type, flags, 0600, pagesize, lsn, NULL, NULL, &f);

	if (ret == 0)
		must(memp_fclose(f));
	else
		t_check(f == (DB_MPOOLFILE *)mp);
	return ret;
}

/* A sparse file of n pages. */
static inline DB_MPOOLFILE *
sparse_file(const struct t *t, DB_MPOOL *mp, const char *name, uint32_t n, size_t pagesize)
{
	t_write_file(t_path(t, name), "", 0);
	t_check(truncate(t_path(t, name), (off_t)(n * pagesize)) == 0);
	return file_with(mp, name, 0, pagesize);
}

static inline uint8_t *
get(DB_MPOOLFILE *f, db_pgno_t n, unsigned long flags)
{
	void *page = NULL;

	must(memp_fget(f, &n, flags, &page));
	return page;
}

/* What memp_fget says; a page that it pins all the same is put. */
static inline int
get_error(DB_MPOOLFILE *f, db_pgno_t n, unsigned long flags)
{
	void *page = NULL;
	int ret = memp_fget(f, &n, flags, &page);

	if (ret == 0)
		must(memp_fput(f, page, 0));
	return ret;
}

static inline db_pgno_t
new_page(DB_MPOOLFILE *f, uint8_t **pagep)
{
	db_pgno_t n = 0;
	void *page = NULL;

	must(memp_fget(f, &n, DB_MPOOL_NEW, &page));
	*pagep = page;
	return n;
}

static inline void
put(DB_MPOOLFILE *f, void *page, unsigned long flags)
{
	must(memp_fput(f, page, flags));
}

/* Make every byte of page n so, and put it DIRTY. */
static inline void
fill(DB_MPOOLFILE *f, db_pgno_t n, int byte)
{
	uint8_t *page = get(f, n, DB_MPOOL_CREATE);

	memset(page, byte, mpool_file_pagesize(f));
	put(f, page, DB_MPOOL_DIRTY);
}

/* How many of the bytes are not so? */
static inline size_t
others(const uint8_t *data, size_t bytes, int byte)
{
	size_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += data[i] != (uint8_t)byte;
	return n;
}

static inline void
holds(DB_MPOOLFILE *f, db_pgno_t n, int byte)
{
	uint8_t *page = get(f, n, 0);

	t_check(others(page, mpool_file_pagesize(f), byte) == 0);
	put(f, page, 0);
}

static inline uint64_t
length_of(DB_MPOOLFILE *f)
{
	off_t bytes = -1;

	must(memp_fsize(f, &bytes));
	return (uint64_t)bytes;
}

/* --- the disk -------------------------------------------------------------------------------- */

static inline uint64_t
disk_length(const char *path)
{
	struct stat st;

	t_check(stat(path, &st) == 0);
	return (uint64_t)st.st_size;
}

/* Is [off, off + bytes) of the file full of such bytes? */
static inline bool
on_disk(const char *path, uint64_t off, size_t bytes, int byte)
{
	size_t have;
	char *data = t_read_file(path, &have);
	bool yes = off + bytes <= have && others((uint8_t *)data + off, bytes, byte) == 0;

	free(data);
	return yes;
}

/* A file of n pages; page i is full of the byte first + i. */
static inline void
write_pages(const char *path, unsigned n, size_t pagesize, int first)
{
	uint8_t *data = malloc(n * pagesize + 1);

	t_check(data != NULL);
	for (unsigned i = 0; i < n; i++)
		memset(data + i * pagesize, first + (int)i, pagesize);
	t_write_file(path, data, n * pagesize);
	free(data);
}

/*
 * May this process open files by handle, from now on (until it says otherwise)?  False: it could
 * not anyhow.
 */
static inline bool
may_open_by_handle(bool may)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	t_check(syscall(SYS_capget, &head, data) == 0);
	if (!(data[0].permitted & 1u << CAP_DAC_READ_SEARCH))
		return false;
	data[0].effective &= ~(1u << CAP_DAC_READ_SEARCH);
	data[0].effective |= may ? 1u << CAP_DAC_READ_SEARCH : 0;
	t_check(syscall(SYS_capset, &head, data) == 0);
	return true;
}

/* Descriptors that this process has open. */
static inline unsigned
open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

#endif
