/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: a mount whose kernel has pages of its own, and clients that change them (P24).  The
 * test is the mount; what its kernel would do is a flag that both sides see.
 */
#include "../pool_t.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "pool/kcache.h"

#define PS 4096u
#define BYTES (64 * KIB)

/* What the other side must not be told before the mount has done its part. */
static uint32_t *done;

static DB_MPOOLFILE *
soft_file(const struct t *t, DB_MPOOL *mp)
{
	DB_MPOOLFILE *f = NULL;
	int fd = open(t_path(t, "f"), O_RDWR | O_CLOEXEC);

	t_check(fd != -1);
	must(mpool_open_fd(mp, fd, t_path(t, "f"), DB_ODDFILESIZE, PS, &f));
	return f;
}

static DB_MPOOL *
mount_of(struct t *t, DB_MPOOLFILE **fp)
{
	DB_MPOOL *mp = pool_of(t, BYTES);

	must(mpool_kcache_claim(mp));
	*fp = soft_file(t, mp);
	return mp;
}

static void
prepare(struct t *t)
{
	write_pages(t_path(t, "f"), 4, PS, 'a');
	done = mmap(NULL, PS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(done, MAP_FAILED);
}

/* Wait for a request to drop all of the file. */
static void
await_drop(DB_MPOOL *mp, DB_MPOOLFILE *f)
{
	uint32_t bell;
	bool late;

	for (;;) {
		bell = mpool_kcache_bell(mp);
		if (mpool_kcache_drop_begin(f, &late))
			return;
		mpool_kcache_wait(mp, bell, 100000);
	}
}

static void
await_told(DB_MPOOL *mp, struct mpool_told *told)
{
	uint32_t bell;

	for (;;) {
		bell = mpool_kcache_bell(mp);
		if (mpool_kcache_told(mp, told, 1) == 1)
			return;
		mpool_kcache_wait(mp, bell, 100000);
	}
}

static void
put_byte(DB_MPOOLFILE *f, db_pgno_t pgno, uint8_t byte)
{
	uint8_t *page = get(f, pgno, 0);

	page[9] = byte;
	must(memp_fput(f, page, DB_MPOOL_DIRTY));
}

/* Opens for writing, puts a page, sets one dirty and puts it, cuts the file. */
static int
changes(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	t_check(load_seq(done) == 1);
	put_byte(f, 2, 'x');
	t_check(load_seq(done) == 2);
	page = get(f, 3, 0);
	must(memp_fset(f, page, DB_MPOOL_DIRTY));
	must(memp_fput(f, page, 0));
	t_check(load_seq(done) == 3);
	must(memp_ftruncate(f, PS));
	t_check(load_seq(done) == 4);
	t_tell(c, 'c');
	t_await(c, 'e');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
answer_drop(DB_MPOOL *mp, DB_MPOOLFILE *f, uint32_t step)
{
	await_drop(mp, f);
	store_seq(done, step);
	mpool_kcache_drop_end(f);
}

static void
answer_page(DB_MPOOL *mp, DB_MPOOLFILE *f, db_pgno_t pgno, uint32_t step)
{
	struct mpool_told told;

	await_told(mp, &told);
	assert_int_equal(told.file, mpool_file_id(f));
	assert_int_equal(told.pgno, pgno);
	store_seq(done, step);
	mpool_kcache_answer(mp, &told);
}

static void
mpool_kcache_clients_wait_for_the_kernel(void **state)
{
	struct t_child c;
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;
	bool kept;

	prepare(*state);
	mp = mount_of(*state, &f);
	must(mpool_kcache_begin(f, false, &kept));
	assert_false(kept);
	t_fork(&c, changes, *state);

	answer_drop(mp, f, 1);
	assert_true(mpool_kcache_shared(f));
	answer_page(mp, f, 2, 2);
	answer_page(mp, f, 3, 3);
	answer_drop(mp, f, 4);
	t_await(&c, 'c');
	t_tell(&c, 'e');
	/* it has left: the kernel may have seen what it did not put */
	answer_drop(mp, f, 5);

	assert_int_equal(t_join(&c), 0);
	assert_false(mpool_kcache_shared(f));
	assert_int_equal(mpool_kcache_late(mp), 0);
	mpool_kcache_end(f, true);
	must(memp_fclose(f));
	finish(mp);
}

/* Makes a page, one that it does not even put dirty, and a hole. */
static int
makes_longer(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page;

	page = get(f, 4, DB_MPOOL_NEW);
	t_check(load_seq(done) == 2);
	put(f, page, 0);
	page = get(f, 7, DB_MPOOL_CREATE);
	t_check(load_seq(done) == 3);
	put(f, page, 0);
	must(memp_ftruncate(f, 9 * PS));
	t_check(load_seq(done) == 4);
	t_tell(c, 'c');
	t_await(c, 'e');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_kcache_hears_of_a_file_that_gets_longer(void **state)
{
	struct t_child c;
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;
	bool kept;

	prepare(*state);
	mp = mount_of(*state, &f);
	must(mpool_kcache_begin(f, false, &kept));
	t_fork(&c, makes_longer, *state);

	answer_drop(mp, f, 1);
	answer_page(mp, f, 4, 2);
	answer_page(mp, f, 7, 3);
	answer_page(mp, f, 8, 4);
	t_await(&c, 'c');
	mpool_kcache_end(f, false);
	t_tell(&c, 'e');
	assert_int_equal(t_join(&c), 0);
	must(memp_fclose(f));
	finish(mp);
}

static int
has_it_open(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f;

	must(memp_fopen(mp, "f", 0, DB_RDONLY, 0, PS, -1, NULL, NULL, &f));
	t_tell(c, 'r');
	t_await(c, 'w');
	must(memp_fclose(f));
	f = file_of(mp, "f", PS);
	put_byte(f, 1, 'y');
	t_tell(c, 'w');
	t_await(c, 'e');
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static void
mpool_kcache_keeps_what_nobody_could_change(void **state)
{
	struct t_child c;
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;
	bool kept;

	prepare(*state);
	mp = mount_of(*state, &f);
	must(mpool_kcache_begin(f, false, &kept));
	mpool_kcache_end(f, true);
	t_fork(&c, has_it_open, *state);
	t_await(&c, 'r');
	must(mpool_kcache_begin(f, false, &kept));
	assert_true(kept);
	mpool_kcache_end(f, true);

	t_tell(&c, 'w');
	t_await(&c, 'w');
	assert_int_equal(mpool_kcache_begin(f, false, &kept), EBUSY);
	t_tell(&c, 'e');
	assert_int_equal(t_join(&c), 0);
	must(mpool_kcache_begin(f, false, &kept));
	assert_false(kept);
	mpool_kcache_end(f, false);
	must(mpool_kcache_begin(f, false, &kept));
	assert_false(kept);
	mpool_kcache_end(f, false);
	must(memp_fclose(f));
	finish(mp);
}

static int
mounts(struct t_child *c, void *arg)
{
	DB_MPOOLFILE *f;
	bool kept;

	must(mpool_kcache_begin((mount_of(arg, &f), f), false, &kept));
	t_tell(c, 'm');
	t_await(c, 'n');
	return 0;
}

static void
mpool_kcache_of_a_dead_mount_is_nobodys(void **state)
{
	struct t_child c;
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;

	prepare(*state);
	mp = pool_of(*state, BYTES);
	t_fork(&c, mounts, *state);
	t_await(&c, 'm');
	assert_int_equal(mpool_kcache_claim(mp), EBUSY);
	t_kill(&c);

	f = file_of(mp, "f", PS);
	put_byte(f, 0, 'z');
	must(mpool_kcache_claim(mp));
	assert_int_equal(load_seq(&f->row->kcache), 0);
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_kcache_clients_wait_for_the_kernel),
		t_test(mpool_kcache_hears_of_a_file_that_gets_longer),
		t_test(mpool_kcache_keeps_what_nobody_could_change),
		t_test(mpool_kcache_of_a_dead_mount_is_nobodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
