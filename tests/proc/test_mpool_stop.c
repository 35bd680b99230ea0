/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: a client that is stopped, not dead, in the middle of something (P18).  It may hold up
 * others by a bucket lock and by a write that is on its way; a page that it had only proposed to
 * evict or to copy is nobody's but the pool's, and it finds its proposal gone when it goes on.
 */
#include "../pool_t.h"

#include "pool/extent.h"
#include "pool/frame.h"
#include "pool/thread.h"

#define PS 4096u
#define BYTES (64 * KIB)

/* Marks page 0, stays like that until told, and then tries to go through with it. */
static int
proposes(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	uint8_t *page = get(f, 0, 0);
	uint32_t frame = frame_of_address(mp, page, 12);
	enum frame_state state = (enum frame_state)t_await_u64(c);
	struct frame *fr = frame_at(mp, frame);
	struct thread *self;
	uint64_t mark;

	must(memp_fput(f, page, 0));
	must(thread_self(mp, &self));
	note_frame(self, frame);
	t_check(frame_mark(mp, frame, load_seq(&fr->word), state, &mark));
	t_tell(c, 'm');
	t_await(c, 'g');
	t_check(!cas_seq(&fr->word, &mark, fw_with(mark, FRAME_CLAIMED, mp->self)));
	t_check(!frame_leave(mp, frame, state, FRAME_VALID, 0, 0));
	note_clear(self, frame);
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

/* before: the page is dirty when it is marked; else it is put dirty afterwards. */
static void
syncs_beside(struct t *t, enum frame_state state, bool before)
{
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f;
	struct t_child c;
	uint8_t *page;

	write_pages(t_path(t, "f"), 2, PS, 'a');
	f = file_of(mp, "f", PS);
	page = get(f, 0, 0);
	t_fork(&c, proposes, t);
	memset(page, 'n', PS);
	if (before)
		must(memp_fput(f, page, DB_MPOOL_DIRTY));
	t_tell_u64(&c, state);
	t_await(&c, 'm');
	if (!before)
		must(memp_fput(f, page, DB_MPOOL_DIRTY));
	must(memp_fsync(f));
	t_check(on_disk(t_path(t, "f"), 0, PS, 'n'));
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	holds(f, 0, 'n');
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_fsync_writes_a_page_that_a_stopped_process_proposed_to_evict(void **state)
{
	syncs_beside(*state, FRAME_EVICTING, false);
}

static void
mpool_fsync_writes_a_page_that_a_stopped_process_proposed_to_write(void **state)
{
	syncs_beside(*state, FRAME_COPYING, true);
}

/* --- standing still in a conversion --------------------------------------------------------- */

#define TYPE 1

static struct t_child *converting; /* who stands still in the next conversion of page 0; or NULL */

static int
converts(db_pgno_t pgno, void *page, DBT *cookie)
{
	(void)page;
	(void)cookie;
	if (converting != NULL && pgno == 0) {
		t_tell(converting, 's');
		t_await(converting, 'g');
		converting = NULL;
	}
	return 0;
}

static DB_MPOOLFILE *
typed_file(DB_MPOOL *mp)
{
	must(memp_register(mp, TYPE, converts, converts));
	return file_of_type(mp, "f", TYPE, PS);
}

static int
stands_still_writing(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = typed_file(mp);

	fill(f, 0, 'w');
	converting = c;
	must(memp_fsync(f));
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static int
stands_still_reading(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = typed_file(mp);

	converting = c;
	(void)get_error(f, 0, 0); /* EINVAL, or zeros: it began before the page was cut off */
	must(memp_fclose(f));
	must(memp_close(mp));
	return 0;
}

static int
keeps_a_page(struct t_child *c, void *arg)
{
	DB_MPOOL *mp = pool_of(arg, BYTES);
	DB_MPOOLFILE *f = typed_file(mp);

	(void)get(f, 0, 0);
	t_tell(c, 'p');
	t_await(c, 'g');
	return 0;
}

static void
mpool_reap_does_not_wait_for_a_stopped_writer(void **state)
{
	DB_MPOOL *mp = pool_of(*state, BYTES);
	DB_MPOOLFILE *f;
	struct t_child writer, dead;

	t_fork(&writer, stands_still_writing, *state);
	t_await(&writer, 's');
	t_fork(&dead, keeps_a_page, *state);
	t_await(&dead, 'p');
	t_kill(&dead);
	must(memp_reap(mp));
	assert_int_equal(stat_of(mp).st_pins, 0);
	f = typed_file(mp);
	holds(f, 0, 'w');
	t_tell(&writer, 'g');
	assert_int_equal(t_join(&writer), 0);
	holds(f, 0, 'w');
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_ftruncate_does_not_wait_for_a_stopped_reader(void **state)
{
	DB_MPOOL *mp = pool_of(*state, BYTES);
	DB_MPOOLFILE *f;
	struct t_child reader;

	write_pages(t_path(*state, "f"), 4, PS, 'a');
	f = typed_file(mp);
	t_fork(&reader, stands_still_reading, *state);
	t_await(&reader, 's');
	must(memp_ftruncate(f, 0));
	t_tell(&reader, 'g');
	assert_int_equal(t_join(&reader), 0);
	assert_int_equal(length_of(f), 0);
	must(memp_fclose(f));
	finish(mp);
}

static void
mpool_old_pages_are_written_beside_a_stopped_writer(void **state)
{
	DB_MPOOL *mp = pool_of(*state, BYTES);
	DB_MPOOLFILE *f = file_of(mp, "other", PS);
	struct t_child writer;
	uint64_t written;

	t_fork(&writer, stands_still_writing, *state);
	t_await(&writer, 's');
	fill(f, 0, 'o');
	must(mpool_write_old(mp, 0, &written));
	assert_true(on_disk(t_path(*state, "other"), 0, PS, 'o'));
	t_tell(&writer, 'g');
	assert_int_equal(t_join(&writer), 0);
	must(memp_fclose(f));
	finish(mp);
}

/* Not for the write of a page that stays, either. */
static void
mpool_ftruncate_does_not_wait_for_a_stopped_writer_before_the_cut(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, BYTES);
	DB_MPOOLFILE *f;
	struct t_child c;

	write_pages(t_path(t, "f"), 3, PS, 'a');
	f = typed_file(mp);
	t_fork(&c, stands_still_writing, t);
	t_await(&c, 's');
	(void)alarm(20);
	must(memp_ftruncate(f, 2 * PS));
	(void)alarm(0);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(length_of(f), 2 * PS);
	holds(f, 0, 'w');
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_fsync_writes_a_page_that_a_stopped_process_proposed_to_evict),
		t_test(mpool_fsync_writes_a_page_that_a_stopped_process_proposed_to_write),
		t_test(mpool_reap_does_not_wait_for_a_stopped_writer),
		t_test(mpool_ftruncate_does_not_wait_for_a_stopped_reader),
		t_test(mpool_ftruncate_does_not_wait_for_a_stopped_writer_before_the_cut),
		t_test(mpool_old_pages_are_written_beside_a_stopped_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
