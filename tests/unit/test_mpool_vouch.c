/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: which files a process that serves others (the daemon of a mount) writes to, when it is
 * not alone with the right to write the region.
 */
#include "pool_t.h"

#include <sys/xattr.h>

#include "pool/file.h"

#define PS 4096u

struct candidate {
	const char *name;
	mode_t mode;
	gid_t gid; /* beside the region's group: the one after it */
	bool written_0660, written_0606;
};

static const struct candidate candidates[] = {
	{ "owners", 0600, 0, false, false },
	{ "groups", 0660, 0, true, false },
	{ "readable", 0644, 0, false, false },
	{ "other_groups", 0660, 1, false, false },
	{ "others", 0606, 0, false, false },
	{ "all", 0666, 0, true, true },
	{ "all_of_another_group", 0666, 1, true, true },
};
#define CANDIDATES (sizeof(candidates) / sizeof(candidates[0]))

/* rw-, r-- for user 1234, r-- for the group, the mask and others; not everywhere. */
static void
add_list(const char *path)
{
	static const struct {
		uint32_t version;
		struct {
			uint16_t tag, permissions;
			uint32_t id;
		} entries[5];
	} list = { 2,
		{ { 0x01, 6, UINT32_MAX }, { 0x02, 4, 1234 }, { 0x04, 4, UINT32_MAX },
		    { 0x10, 4, UINT32_MAX }, { 0x20, 4, UINT32_MAX } } };

	t_check(setxattr(path, "system.posix_acl_access", &list, sizeof(list), 0) == 0 ||
	    errno == EOPNOTSUPP);
}

static void
make_files(const struct t *t)
{
	for (unsigned i = 0; i < CANDIDATES; i++) {
		const char *path = t_path(t, candidates[i].name);

		write_pages(path, 1, PS, 'a');
		t_check(chmod(path, candidates[i].mode) == 0);
		t_check(chown(path, (uid_t)-1, getegid() + candidates[i].gid) == 0);
	}
	add_list(t_path(t, "readable"));
}

/* Somebody else, who leaves a dirty page in each. */
static int
puts_pages(struct t_child *c, void *arg)
{
	const struct t *t = arg;
	DB_MPOOL *mp = NULL;

	(void)c;
	must(memp_open(NULL, 0, 0660, env_of(t, 0), &mp));
	for (unsigned i = 0; i < CANDIDATES; i++)
		fill(file_of(mp, candidates[i].name, PS), 0, 'b');
	(void)kill(getpid(), SIGKILL);
	return 0;
}

static bool
is_written(const struct t *t, const char *name)
{
	return on_disk(t_path(t, name), 0, PS, 'b');
}

/* A confined process's pool, whose region has that mode, with a dirty page of each file. */
static DB_MPOOL *
pool_to_write(struct t *t, mode_t region_mode)
{
	DB_MPOOL *mp = NULL;
	struct t_child c;

	if (geteuid() != 0)
		t_skip("giving files to groups needs root");
	must(memp_open(NULL, DB_CREATE, 0600, env_of(t, 256 * KIB), &mp));
	must(mpool_confine(mp, t->dir));
	make_files(t);
	t_fork(&c, puts_pages, t);
	assert_int_equal(t_join(&c), 128 + SIGKILL);
	must(memp_reap(mp));
	t_check(chmod(t_path(t, REGION_NAME), region_mode) == 0);
	return mp;
}

static void
files_that_the_regions_group_may_not_write_are_not_written(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_to_write(t, 0660);

	refuses(memp_sync(mp, NULL), EIO);
	for (unsigned i = 0; i < CANDIDATES; i++)
		assert_int_equal(is_written(t, candidates[i].name), candidates[i].written_0660);
	assert_int_equal(stat_of(mp).st_page_dirty, 4);
	must(memp_close(mp));
}

static void
files_that_anybody_may_not_write_are_not_written(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_to_write(t, 0606);

	refuses(memp_sync(mp, NULL), EIO);
	for (unsigned i = 0; i < CANDIDATES; i++)
		assert_int_equal(is_written(t, candidates[i].name), candidates[i].written_0606);
	assert_int_equal(stat_of(mp).st_page_dirty, 5);
	must(memp_close(mp));
}

static void
all_are_written_if_the_region_is_its_owners_alone(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_to_write(t, 0644);

	must(memp_sync(mp, NULL));
	for (unsigned i = 0; i < CANDIDATES; i++)
		assert_true(is_written(t, candidates[i].name));
	finish(mp);
}

/* As the mount does for somebody who may. */
static void
open_and_close(DB_MPOOL *mp, const char *path, int flags)
{
	DB_MPOOLFILE *f = NULL;
	int fd;

	must(os_open(path, flags & DB_RDONLY ? O_RDONLY : O_RDWR, 0, &fd));
	must(mpool_open_fd(mp, fd, path, flags, PS, &f));
	must(memp_fclose(f));
}

static void
what_was_open_for_writing_is_written_later(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_to_write(t, 0660);

	open_and_close(mp, t_path(t, "owners"), 0);
	open_and_close(mp, t_path(t, "readable"), DB_RDONLY);
	refuses(memp_sync(mp, NULL), EIO);
	assert_true(is_written(t, "owners"));
	assert_false(is_written(t, "readable"));
	must(memp_close(mp));
}

/* The row of a file that this process wrote says that it is another one's. */
static void
what_was_open_is_not_what_its_row_says_now(void **state)
{
	struct t *t = *state;
	struct os_stat st;
	DB_MPOOL *mp = pool_to_write(t, 0660);

	open_and_close(mp, t_path(t, "owners"), 0);
	write_pages(t_path(t, "victim"), 1, PS, 'v');
	t_check(chmod(t_path(t, "victim"), 0600) == 0);
	must(os_stat(t_path(t, "owners"), &st));
	for (uint32_t r = 0; r < mp->g.nrows; r++)
		if (mp->rows[r].id != 0 && mp->rows[r].ino == st.ident.ino) {
			must(os_stat(t_path(t, "victim"), &st));
			mp->rows[r].ino = st.ident.ino;
			mp->rows[r].btime_nsec = st.ident.btime_nsec;
			region_lock(mp);
			file_set_path_locked(mp, &mp->rows[r], t_path(t, "victim"));
			region_unlock(mp);
			break;
		}
	refuses(memp_sync(mp, NULL), EIO);
	assert_true(on_disk(t_path(t, "victim"), 0, PS, 'v'));
	(void)memp_close(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(files_that_the_regions_group_may_not_write_are_not_written),
		t_test(files_that_anybody_may_not_write_are_not_written),
		t_test(all_are_written_if_the_region_is_its_owners_alone),
		t_test(what_was_open_for_writing_is_written_later),
		t_test(what_was_open_is_not_what_its_row_says_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
