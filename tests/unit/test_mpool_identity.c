/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: which file a name is: by links, when it has been made anew, by the caller's
 * identifier, where files have no birth time; and files that are changed behind the pool's back.
 */
#include "pool_t.h"

#include "pool/thread.h"

#define PS 1024u

/* --- one file or two ------------------------------------------------------------------------- */

static void
mpool_hard_links_are_one_file(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g;
	uint8_t *a, *b;

	assert_int_equal(link(t_path(t, "f"), t_path(t, "g")), 0);
	g = file_of(mp, "g", PS);
	fill(f, 0, 'a');
	a = get(f, 0, 0);
	b = get(g, 0, 0);
	assert_ptr_equal(a, b);
	put(f, a, 0);
	put(g, b, 0);
	assert_int_equal(stat_of(mp).st_files, 1);
	refuses(fopen_error(mp, "g", 0, 0, 2 * PS, -1), EINVAL);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_recreated_file_is_another_file(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g;

	fill(f, 0, 'a');
	assert_int_equal(unlink(t_path(t, "f")), 0);
	write_pages(t_path(t, "f"), 1, PS, 'b');
	g = file_of(mp, "f", PS);
	holds(g, 0, 'b');
	holds(f, 0, 'a');
	must(memp_fclose(f));
	holds(g, 0, 'b');
	must(memp_sync(mp, NULL));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'b'));
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_recreated_file_is_another_file_after_close_too(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);

	fill(f, 0, 'a');
	must(memp_fclose(f));
	assert_int_equal(unlink(t_path(t, "f")), 0);
	write_pages(t_path(t, "f"), 1, PS, 'b'); /* most likely with the same inode number */
	f = file_of(mp, "f", PS);
	holds(f, 0, 'b');
	must(memp_fclose(f));
	(void)memp_sync(mp, NULL);
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'b'));
	finish(mp);
}

/* As one who comes by holds a page for a moment: another's slot that names its frame. */
static uint32_t *
come_by(DB_MPOOL *mp, DB_MPOOLFILE *f, db_pgno_t n)
{
	uint32_t *slots = mp->single->home->slots, *mine = &slots[BLOCK_SLOTS - 1];
	uint8_t *page = get(f, n, 0);

	for (unsigned i = 0; i < BLOCK_SLOTS - 1; i++)
		if (slots[i] != 0)
			*mine = slots[i];
	put(f, page, 0);
	assert_int_not_equal(*mine, 0);
	return mine;
}

/* Its pages are nobody's, and whoever meets with them drops them. */
static void
mpool_removed_file_that_is_opened_again_has_nothing_from_before(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g;
	int fd = open(t_path(t, "f"), O_RDWR);
	uint32_t *slot, id = mpool_file_id(f);

	fill(f, 0, 'a');
	must(memp_fsync(f));
	fill(f, 0, 'b');
	slot = come_by(mp, f, 0);
	must(memp_fremove(mp, "f"));
	must(memp_fclose(f));
	*slot = 0;

	must(mpool_open_fd(mp, fd, t_path(t, "f"), 0, PS, &g));

	assert_int_not_equal(mpool_file_id(g), id);
	holds(g, 0, 'a');
	fill(g, 0, 'c');
	must(memp_reap(mp));
	holds(g, 0, 'c');
	must(memp_fclose(g));
	finish(mp);
}

static void
mpool_removed_file_whose_page_is_in_somebodys_hand_is_not_opened_again(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS), *g = NULL;
	int fd = open(t_path(t, "f"), O_RDWR);
	uint32_t *slot;

	fill(f, 0, 'a');
	slot = come_by(mp, f, 0);
	must(memp_fremove(mp, "f"));
	must(memp_fclose(f));
	refuses(mpool_open_fd(mp, fd, t_path(t, "f"), 0, PS, &g), EBUSY);
	assert_null(g);
	*slot = 0;
	must(memp_reap(mp));
	assert_int_equal(stat_of(mp).st_files, 0);
	finish(mp);
}

static int
open_with_uid(DB_MPOOL *mp, const char *name, int byte, DB_MPOOLFILE **fp)
{
	u_int8_t uid[DB_FILE_ID_LEN];

	memset(uid, byte, sizeof(uid));
	return memp_fopen(mp, name, 0, DB_CREATE, 0600, PS, -1, NULL, uid, fp);
}

static void
mpool_uid_of_a_removed_file_is_free_though_its_row_is_still_there(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	int fd = open(t_path(t, "f"), O_RDWR | O_CREAT, 0600);
	uint32_t *slot;
	DB_MPOOLFILE *f, *g = NULL;

	must(open_with_uid(mp, "f", 7, &f));
	fill(f, 0, 'a');
	slot = come_by(mp, f, 0);
	must(memp_fremove(mp, "f"));
	must(memp_fclose(f));
	assert_int_equal(stat_of(mp).st_files, 1);
	refuses(open_with_uid(mp, "f", 7, &g), EBUSY); /* nor is it another file's */
	*slot = 0;

	must(open_with_uid(mp, "f", 7, &g));

	assert_int_equal(length_of(g), 0);
	assert_int_equal(stat_of(mp).st_files, 1);
	must(memp_fclose(g));
	finish(mp);
	close(fd);
}

/* Its inode is not given to another while somebody has it open. */
static void
mpool_removed_file_that_is_opened_with_another_uid_has_nothing_from_before(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	uint32_t *slot;
	DB_MPOOLFILE *f, *g = NULL;
	char of_fd[32];
	int fd;

	must(open_with_uid(mp, "f", 7, &f));
	fd = open(t_path(t, "f"), O_RDWR);
	fill(f, 0, 'a');
	must(memp_fsync(f));
	slot = come_by(mp, f, 0);
	must(memp_fremove(mp, "f"));
	must(memp_fclose(f));
	*slot = 0;

	(void)snprintf(of_fd, sizeof(of_fd), "/proc/self/fd/%d", fd);
	must(open_with_uid(mp, of_fd, 8, &g));

	holds(g, 0, 'a');
	must(memp_fclose(g));
	finish(mp);
	close(fd);
}

static void
mpool_same_inode_with_another_uid_is_einval(void **state)
{
	DB_MPOOL *mp = pool_of(*state, 64 * KIB);
	u_int8_t one[DB_FILE_ID_LEN] = "one", two[DB_FILE_ID_LEN] = "two";
	DB_MPOOLFILE *f, *g = (DB_MPOOLFILE *)mp;

	must(memp_fopen(mp, "f", 0, DB_CREATE, 0600, PS, -1, NULL, one, &f));
	refuses(memp_fopen(mp, "f", 0, 0, 0, PS, -1, NULL, two, &g), EINVAL);
	assert_ptr_equal(g, mp);
	must(memp_fopen(mp, "f", 0, 0, 0, PS, -1, NULL, one, &g));
	must(memp_fclose(g));
	must(memp_fopen(mp, "f", 0, 0, 0, PS, -1, NULL, NULL, &g));
	must(memp_fclose(g));
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_same_uid_with_another_inode_is_einval(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	u_int8_t one[DB_FILE_ID_LEN] = "one";
	DB_MPOOLFILE *f, *g = (DB_MPOOLFILE *)mp;

	write_pages(t_path(t, "g"), 1, PS, 'g');
	must(memp_fopen(mp, "f", 0, DB_CREATE, 0600, PS, -1, NULL, one, &f));
	fill(f, 0, 'f');
	refuses(memp_fopen(mp, "g", 0, 0, 0, PS, -1, NULL, one, &g), EINVAL);
	assert_ptr_equal(g, mp);
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "g"), 0, PS, 'g'));
	must(memp_fclose(f));
	finish(mp);
}

/* --- changes behind the pool's back ---------------------------------------------------------- */

static void
mpool_clean_file_changed_on_disk_is_read_again_at_fopen(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	holds(f, 0, 'a');
	must(memp_fclose(f));
	write_pages(t_path(t, "f"), 3, PS, 'm');
	f = file_of(mp, "f", PS);
	assert_int_equal(length_of(f), 3 * PS);
	holds(f, 0, 'm');
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_dirty_file_changed_on_disk_keeps_what_was_put_with_a_message(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 64 * KIB);
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	fill(f, 0, 'd');
	must(memp_fclose(f));
	write_pages(t_path(t, "f"), 2, PS, 'm');
	quiet();
	f = file_of(mp, "f", PS);
	assert_int_equal(sentences, 1);
	holds(f, 0, 'd');
	must(memp_fsync(f));
	assert_true(on_disk(t_path(t, "f"), 0, PS, 'd'));
	must(memp_fclose(f));
	finish(mp);
}

/* --- where files have no birth time ---------------------------------------------------------- */

/* Mounts a file system of the old kind at dir/old, seen by this process alone.  False: cannot. */
static bool
mount_old_file_system(const struct t *t)
{
	char command[1200];
	const char *img = t_path(t, "img"), *at = t_path(t, "old");
	struct os_stat st;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 || mkdir(at, 0700) != 0)
		return false;
	(void)snprintf(command, sizeof(command),
	    "exec >/dev/null 2>&1; PATH=$PATH:/sbin:/usr/sbin; mount --make-rprivate / && "
	    "truncate -s 4M %s && mke2fs -q -F -t ext2 -I 128 %s && mount -o loop %s %s",
	    img, img, img, at);
	return system(command) == 0 && os_stat(at, &st) == 0 && st.ident.btime_nsec == 0;
}

static ino_t
inode_of(const char *path)
{
	struct stat st;

	t_check(stat(path, &st) == 0);
	return st.st_ino;
}

/* In a child, since the mount goes with the process.  77: there can be no such file system. */
static int
makes_a_file_anew(struct t_child *c, void *arg)
{
	struct t *t = arg;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f, *again;
	ino_t ino;

	(void)c;
	if (!mount_old_file_system(t))
		return 77;
	mp = pool_of(t, 128 * KIB);
	write_pages(t_path(t, "old/f"), 2, 1024, 'a');
	f = file_with(mp, "old/f", 0, 1024);
	fill(f, 0, 'x');
	ino = inode_of(t_path(t, "old/f"));
	must(memp_fclose(f));
	t_check(unlink(t_path(t, "old/f")) == 0);
	write_pages(t_path(t, "old/f"), 2, 1024, 'n');
	if (inode_of(t_path(t, "old/f")) != ino)
		return 77;
	f = file_with(mp, "old/f", 0, 1024);
	holds(f, 0, 'n');
	fill(f, 1, 'y');
	again = file_with(mp, "old/f", 0, 1024); /* and one file is one file */
	holds(again, 1, 'y');
	must(memp_fclose(again));
	must(memp_fclose(f));
	must(memp_sync(mp, NULL)); /* by a descriptor that is opened for it */
	t_check(on_disk(t_path(t, "old/f"), 0, 1024, 'n'));
	t_check(on_disk(t_path(t, "old/f"), 1024, 1024, 'y'));
	fill(f = file_with(mp, "old/f", 0, 1024), 1, 'z');
	must(memp_fclose(f));
	must(memp_fremove(mp, "old/f")); /* found by what can be seen without opening it */
	t_check(stat_of(mp).st_page_dirty == 0);
	finish(mp);
	return 0;
}

static void
mpool_recreated_file_is_another_where_files_have_no_birth_time(void **state)
{
	struct t_child c;
	int status;

	t_fork(&c, makes_a_file_anew, *state);
	if ((status = t_join(&c)) == 77)
		t_skip("no file system without birth times, or none that uses an inode again");
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_hard_links_are_one_file),
		t_test(mpool_recreated_file_is_another_file),
		t_test(mpool_recreated_file_is_another_file_after_close_too),
		t_test(mpool_removed_file_that_is_opened_again_has_nothing_from_before),
		t_test(mpool_removed_file_whose_page_is_in_somebodys_hand_is_not_opened_again),
		t_test(mpool_uid_of_a_removed_file_is_free_though_its_row_is_still_there),
		t_test(mpool_removed_file_that_is_opened_with_another_uid_has_nothing_from_before),
		t_test(mpool_same_inode_with_another_uid_is_einval),
		t_test(mpool_same_uid_with_another_inode_is_einval),
		t_test(mpool_clean_file_changed_on_disk_is_read_again_at_fopen),
		t_test(mpool_dirty_file_changed_on_disk_keeps_what_was_put_with_a_message),
		t_test(mpool_recreated_file_is_another_where_files_have_no_birth_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
