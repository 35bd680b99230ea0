/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool/look: which pages are resident, dirty, pinned; ranges that are sent away; how long
 * the disk took; the statistics of a region that nobody is attached to.
 */
#include "pool_t.h"

#include "pool/look.h"

#define PS 4096u

struct seen {
	unsigned pages, dirty, pins;
	db_pgno_t pinned; /* the last one that has a pin */
	uint32_t client;
	uint64_t numbers; /* bit n: page n */
};

static void
see(void *arg, const struct mpool_page *page)
{
	struct seen *s = arg;

	s->pages++;
	s->dirty += (page->flags & MPOOL_PAGE_DIRTY) != 0;
	s->pins += page->pins;
	s->numbers |= 1ull << (page->pgno & 63);
	t_check(page->pagesize == PS);
	t_check((page->client == NO_CLIENT) == (page->pins == 0));
	if (page->pins > 0) {
		s->pinned = page->pgno;
		s->client = page->client;
	}
}

struct wanted {
	const char *name;
	struct mpool_file file;
	unsigned files;
};

static int
find(void *arg, const struct mpool_file *file)
{
	struct wanted *w = arg;
	size_t n = strlen(w->name);

	w->files++;
	if (file->path != NULL && strlen(file->path) >= n &&
	    strcmp(file->path + strlen(file->path) - n, w->name) == 0)
		w->file = *file;
	return 0;
}

static struct mpool_file
file_named(DB_MPOOL *mp, const char *name)
{
	struct wanted w = { .name = name };

	must(mpool_each_file(mp, find, &w));
	t_check(w.file.id != 0);
	return w.file;
}

static struct seen
pages_of_file(DB_MPOOL *mp, uint32_t id)
{
	struct seen s = { 0 };

	must(mpool_each_page(mp, id, see, &s));
	return s;
}

static void
mpool_look_tells_of_resident_dirty_and_pinned_pages(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f, *g;
	struct mpool_file file;
	struct seen s;
	uint8_t *page;

	write_pages(t_path(t, "f"), 8, PS, 'a');
	f = file_of(mp, "f", PS);
	g = file_of(mp, "g", PS);
	holds(f, 1, 'b');
	holds(f, 5, 'f');
	fill(f, 3, 'x');
	fill(g, 0, 'g');
	page = get(f, 5, 0);

	file = file_named(mp, "/f");
	s = pages_of_file(mp, file.id);

	assert_int_equal(file.length, 8 * PS);
	assert_int_equal(file.pagesize, PS);
	assert_int_equal(file.resident, 3);
	assert_int_equal(file.dirty, 1);
	assert_int_equal(s.pages, 3);
	assert_int_equal(s.numbers, 1u << 1 | 1u << 3 | 1u << 5);
	assert_int_equal(s.dirty, 1);
	assert_int_equal(s.pins, 1);
	assert_int_equal(s.pinned, 5);
	assert_int_equal(s.client, mpool_region(mp)->self);
	assert_int_equal(pages_of_file(mp, 0).pages, 4);
	put(f, page, 0);
	finish(mp);
}

/* Of one file, as text: "0-3c 4-4d" are three clean pages and a dirty one. */
struct told {
	uint32_t file;
	char text[400];
};

static void
tell(void *arg, const struct mpool_run *run)
{
	struct told *told = arg;
	size_t used = strlen(told->text);

	t_check(run->pages > 0 && run->pagesize == PS);
	if (run->file == told->file)
		(void)snprintf(told->text + used, sizeof(told->text) - used, "%u-%u%c ", run->pgno,
		    run->pgno + run->pages - 1,
		    run->pinned	   ? 'p' :
			run->dirty ? 'd' :
				     'c');
}

static void
mpool_look_joins_pages_that_are_alike(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f, *g;
	struct told told = { 0 };
	uint8_t *page, *again;

	f = file_of(mp, "f", PS);
	g = file_of(mp, "g", PS);
	for (db_pgno_t n = 0; n < 20; n++)
		fill(f, n, 'a');
	/* the next frame has the next page, but of another file */
	for (db_pgno_t n = 20; n < 25; n++)
		fill(g, n, 'a');
	/* and going down */
	for (db_pgno_t n = 33; n > 30; n--)
		fill(f, n, 'a');
	must(memp_sync(mp, NULL));
	fill(f, 7, 'd');
	fill(f, 8, 'd');
	page = get(f, 12, 0);
	again = get(f, 12, 0);

	told.file = file_named(mp, "/f").id;
	must(mpool_each_run(mp, tell, &told));

	assert_string_equal(told.text, "0-6c 7-8d 9-11c 12-12p 13-19c 33-33c 32-32c 31-31c ");
	told = (struct told){ .file = file_named(mp, "/g").id };
	must(mpool_each_run(mp, tell, &told));
	assert_string_equal(told.text, "20-24c ");
	put(f, page, 0);
	put(f, again, 0);
	finish(mp);
}

static void
mpool_look_evicts_a_range_and_writes_what_is_dirty(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 1024 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct mpool_left left;
	struct mpool_file file;
	uint8_t *page;

	for (db_pgno_t n = 0; n < 150; n++)
		fill(f, n, 'a');
	must(memp_fsync(f));
	fill(f, 20, 'd');
	page = get(f, 30, 0);
	file = file_named(mp, "/f");

	must(mpool_evict_range(mp, &file.ident, 10, 139, &left));

	assert_int_equal(left.gone, 129);
	assert_int_equal(left.pinned, 1);
	assert_int_equal(left.dirty, 0);
	assert_int_equal(pages_of_file(mp, file.id).pages, 21);
	assert_true(on_disk(t_path(t, "f"), 20 * PS, PS, 'd'));
	put(f, page, 0);
	must(mpool_evict_range(mp, &file.ident, 0, UINT32_MAX, &left));
	assert_int_equal(pages_of_file(mp, file.id).pages, 0);
	file.ident.ino++;
	refuses(mpool_evict_range(mp, &file.ident, 0, 1, &left), ENOENT);
	holds(f, 20, 'd');
	finish(mp);
}

static void
mpool_look_syncs_a_file_by_its_identity(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct mpool_file file;

	fill(f, 0, 'a');
	must(memp_fclose(f));
	file = file_named(mp, "/f");

	must(mpool_sync_ident(mp, &file.ident));

	assert_true(on_disk(t_path(t, "f"), 0, PS, 'a'));
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	file.ident.dev++;
	refuses(mpool_sync_ident(mp, &file.ident), ENOENT);
	finish(mp);
}

static void
mpool_look_syncs_a_length_that_only_the_pool_has(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	struct os_stat st;

	put(f, get(f, 2, DB_MPOOL_CREATE), 0);
	must(os_stat(t_path(t, "f"), &st));
	must(mpool_sync_ident(mp, &st.ident));
	assert_int_equal(disk_length(t_path(t, "f")), 3 * PS);
	must(memp_fclose(f));
	finish(mp);
}

static uint64_t
times(const struct latency *l)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		n += l->le[i];
	return n;
}

static void
mpool_look_counts_each_read_and_write_of_the_disk(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	struct latency r, w, l = { 0 };
	DB_MPOOLFILE *f;

	write_pages(t_path(t, "f"), 4, PS, 'a');
	f = file_of(mp, "f", PS);
	holds(f, 0, 'a');
	holds(f, 0, 'a');
	holds(f, 3, 'd');
	fill(f, 1, 'x');
	must(memp_fsync(f));

	must(mpool_latency(mp, LATENCY_READ, &r));
	must(mpool_latency(mp, LATENCY_WRITE, &w));

	assert_int_equal(times(&r), 3);
	assert_int_equal(times(&w), 1);
	latency_add(&l, 0);
	latency_add(&l, 1);
	latency_add(&l, 2);
	latency_add(&l, 3);
	latency_add(&l, 5000000000ull);
	assert_int_equal(l.le[0], 2);
	assert_int_equal(l.le[1], 1);
	assert_int_equal(l.le[2], 1);
	assert_int_equal(l.le[LATENCY_BUCKETS - 1], 1);
	assert_int_equal(l.sum, 5000000006ull);
	finish(mp);
}

/* The statistics, as somebody sees them who only has the region's file. */
static int
from_outside(const struct t *t, DB_MPOOL_STAT *st)
{
	struct region_look look;
	int fd, ret;

	must(os_open(t_path(t, REGION_NAME), O_RDONLY, 0, &fd));
	must(region_look_init(&look, fd));
	ret = mpool_look_stat(&look, st);
	region_look_fini(&look);
	os_close(fd);
	return ret;
}

static void
mpool_look_sums_from_outside_what_memp_stat_does(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOLFILE *f = file_of(mp, "f", PS);
	DB_MPOOL_STAT inside, outside;

	fill(f, 0, 'a');
	holds(f, 0, 'a');
	inside = stat_of(mp);

	must(from_outside(t, &outside));
	outside.st_clients = inside.st_clients;
	assert_memory_equal(&inside, &outside, sizeof(inside));
	must(memp_close(mp));
	must(from_outside(t, &outside));
	assert_int_equal(outside.st_page_dirty, 1);
	assert_int_equal(outside.st_cache_hit, inside.st_cache_hit);
}

static void
mpool_look_shows_a_panicked_region_and_refuses_garbage(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of(t, 256 * KIB);
	DB_MPOOL_STAT st;
	RLAYOUT *l = mpool_region(mp)->layout;
	uint64_t body = l->body;

	(void)region_panic(mpool_region(mp), "on purpose");
	must(from_outside(t, &st));
	assert_true(st.st_cachesize >= 256 * KIB);
	l->body = 1ull << 60;
	refuses(from_outside(t, &st), EPROTO);
	l->body = body + 64;
	refuses(from_outside(t, &st), EPROTO);
	l->body = body;
	l->clients = body + 1;
	refuses(from_outside(t, &st), EPROTO);
	l->subsystem_stamp++;
	refuses(from_outside(t, &st), EPROTO);
	(void)memp_close(mp);
	t_write_file(t_path(t, REGION_NAME), "short", 5);
	refuses(from_outside(t, &st), EPROTO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_look_tells_of_resident_dirty_and_pinned_pages),
		t_test(mpool_look_joins_pages_that_are_alike),
		t_test(mpool_look_evicts_a_range_and_writes_what_is_dirty),
		t_test(mpool_look_syncs_a_file_by_its_identity),
		t_test(mpool_look_syncs_a_length_that_only_the_pool_has),
		t_test(mpool_look_counts_each_read_and_write_of_the_disk),
		t_test(mpool_look_sums_from_outside_what_memp_stat_does),
		t_test(mpool_look_shows_a_panicked_region_and_refuses_garbage),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
