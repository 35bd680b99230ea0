/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool against a model: what random calls of several processes return, and every byte of every
 * page they get, is what a plain array of bytes for each file says.
 *
 * The processes take turns, so that at each call there is one right answer (or two, where it
 * depends on what was evicted meanwhile).  The arrays are in memory that they share.  Pages of four
 * sizes, files of ten times the pool, pins that are kept over the others' turns, handles and pools
 * that are closed and opened, renames, truncations, read errors, and processes that are killed
 * between two calls and replaced.
 *
 * MODEL_OPS is the number of calls (a short run without it), MODEL_SEED the seed.
 */
#include "../pool_t.h"

#include <sys/mman.h>

#define WORKERS 3
#define FILES 4
#define ROOM ((size_t)3 << 20) /* bytes of a file at most */
#define HELD 2		       /* pins that a process keeps over the others' turns */
#define POOL_BYTES (1024 * KIB)

static const size_t page_sizes[FILES] = { 512, 4096, 1024, 32768 };
#define ODD 2 /* the file whose length may be odd */

struct model_file {
	uint64_t length;
	unsigned name;			/* which of its two names it has */
	uint8_t pins[ROOM / 512];	/* held over turns */
	uint8_t dirty_pins[ROOM / 512]; /* dirtied since the first of these pins */
	uint8_t bytes[ROOM + 65536];
};

struct model {
	uint64_t seed;
	uint64_t ops;
	unsigned renames, resizes, truncations, closings, read_errors, incomplete;
	struct model_file file[FILES];
};

struct held {
	unsigned k;
	db_pgno_t n;
	uint8_t *page; /* NULL: none */
};

struct worker {
	struct t *t;
	struct model *m;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f[FILES];
	struct held held[HELD];
};

static unsigned
dice(struct model *m, unsigned sides)
{
	m->seed = m->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(m->seed >> 33) % sides;
}

static const char *
name_of(const struct model *m, unsigned k, bool other)
{
	static const char *const names[FILES][2] = { { "a", "a2" }, { "b", "b2" }, { "c", "c2" },
		{ "d", "d2" } };

	return names[k][m->file[k].name ^ (other ? 1u : 0u)];
}

static DB_MPOOLFILE *
open_file(struct worker *w, unsigned k, int flags)
{
	return file_with(
	    w->mp, name_of(w->m, k, false), flags | (k == ODD ? DB_ODDFILESIZE : 0), page_sizes[k]);
}

static uint64_t
pages_in(const struct model *m, unsigned k)
{
	return (m->file[k].length + page_sizes[k] - 1) / page_sizes[k];
}

static uint8_t *
model_page(struct model *m, unsigned k, db_pgno_t n)
{
	return m->file[k].bytes + (size_t)n * page_sizes[k];
}

/* A page that exists; one that others have pinned more often than by chance.  False: none does. */
static bool
some_page(struct model *m, unsigned k, db_pgno_t *np)
{
	uint64_t pages = pages_in(m, k);

	if (pages == 0)
		return false;
	*np = dice(m, (unsigned)pages);
	for (unsigned i = 0; dice(m, 2) == 0 && i < 20 && m->file[k].pins[*np] == 0; i++)
		*np = dice(m, (unsigned)pages);
	return true;
}

static void
is_as_modelled(struct model *m, unsigned k, db_pgno_t n, const uint8_t *page)
{
	size_t i = 0;

	if (memcmp(page, model_page(m, k, n), page_sizes[k]) == 0)
		return;
	while (page[i] == model_page(m, k, n)[i])
		i++;
	(void)dprintf(STDOUT_FILENO,
	    "# call %llu: file %u, page %u of %zu bytes, byte %zu: %u, not %u\n",
	    (unsigned long long)m->ops, k, n, page_sizes[k], i, page[i], model_page(m, k, n)[i]);
	t_check(!"the page is as modelled");
}

/* The page gets other bytes, all of it or some; what is behind the end stays zero on disk. */
static void
change(struct model *m, unsigned k, db_pgno_t n, uint8_t *page)
{
	size_t size = page_sizes[k], from = dice(m, 3) == 0 ? dice(m, (unsigned)size) : 0;
	uint64_t off = (uint64_t)n * size;
	uint8_t byte = (uint8_t)dice(m, 256);

	for (size_t i = from; i < size; i++)
		page[i] = (uint8_t)(byte + i);
	memcpy(model_page(m, k, n) + from, page + from, size - from);
	if (off + size > m->file[k].length)
		memset(m->file[k].bytes + m->file[k].length, 0, off + size - m->file[k].length);
}

static void
dirtied(struct model *m, unsigned k, db_pgno_t n)
{
	m->file[k].dirty_pins[n] = m->file[k].pins[n] > 0;
}

/* --- the calls ------------------------------------------------------------------------------- */

static void
op_read(struct worker *w, unsigned k)
{
	db_pgno_t n, last = 77;
	void *page;

	if (!some_page(w->m, k, &n)) {
		refuses(memp_fget(w->f[k], &last, DB_MPOOL_LAST, &page), EINVAL);
		t_check(last == 77);
		return;
	}
	if (dice(w->m, 8) == 0) {
		must(memp_fget(w->f[k], &last, DB_MPOOL_LAST, &page));
		n = (db_pgno_t)pages_in(w->m, k) - 1;
		t_check(last == n);
	} else
		page = get(w->f[k], n, dice(w->m, 2) ? DB_MPOOL_CREATE : 0);
	is_as_modelled(w->m, k, n, page);
	put(w->f[k], page, dice(w->m, 8) == 0 ? DB_MPOOL_DISCARD : 0);
}

static void
op_write(struct worker *w, unsigned k)
{
	db_pgno_t n;
	uint8_t *page;

	if (!some_page(w->m, k, &n))
		return;
	page = get(w->f[k], n, 0);
	is_as_modelled(w->m, k, n, page);
	change(w->m, k, n, page);
	if (dice(w->m, 3) == 0) {
		must(memp_fset(w->f[k], page, DB_MPOOL_DIRTY));
		put(w->f[k], page, dice(w->m, 2) ? DB_MPOOL_DISCARD : 0);
	} else
		put(w->f[k], page, DB_MPOOL_DIRTY);
	dirtied(w->m, k, n);
}

/* NEW, or CREATE somewhere behind the end. */
static void
op_create(struct worker *w, unsigned k)
{
	struct model_file *mf = &w->m->file[k];
	db_pgno_t pages = (db_pgno_t)pages_in(w->m, k), n = pages + dice(w->m, 5), got = n;
	bool new = dice(w->m, 2) == 0;
	void *page = NULL;

	if (new)
		n = pages;
	if (((uint64_t)n + 1) * page_sizes[k] > ROOM)
		return;
	if (!new)
		refuses(memp_fget(w->f[k], &got, 0, &page), EINVAL);
	must(memp_fget(w->f[k], &got, new ? DB_MPOOL_NEW : DB_MPOOL_CREATE, &page));
	t_check(got == n);
	mf->length = ((uint64_t)n + 1) * page_sizes[k];
	is_as_modelled(w->m, k, n, page);
	if (dice(w->m, 3) > 0) {
		change(w->m, k, n, page);
		put(w->f[k], page, DB_MPOOL_DIRTY);
		dirtied(w->m, k, n);
	} else
		put(w->f[k], page, 0);
}

static void
op_truncate(struct worker *w, unsigned k)
{
	struct model_file *mf = &w->m->file[k];
	uint64_t bytes = (uint64_t)dice(w->m, (unsigned)(ROOM / page_sizes[k])) * page_sizes[k];

	if (dice(w->m, 10) > 0)
		return;
	/* mostly near the end */
	if (dice(w->m, 4) > 0 && mf->length > 8 * page_sizes[k])
		bytes = mf->length / page_sizes[k] * page_sizes[k] - dice(w->m, 8) * page_sizes[k];
	if (k == ODD)
		bytes += dice(w->m, 700);
	else if (dice(w->m, 4) == 0)
		refuses(memp_ftruncate(w->f[k], (off_t)bytes + 1), EINVAL);
	if (bytes > ROOM)
		return;
	must(memp_ftruncate(w->f[k], (off_t)bytes));
	if (bytes < mf->length) {
		memset(mf->bytes + bytes, 0, mf->length - bytes);
		for (size_t n = (bytes + page_sizes[k] - 1) / page_sizes[k]; n < ROOM / 512; n++)
			mf->dirty_pins[n] = 0;
	}
	mf->length = bytes;
	w->m->truncations++;
}

/* What memp_fset made dirty and nobody else is undone, or stays: the page is one of the two. */
static void
op_clean(struct worker *w, unsigned k)
{
	size_t size = page_sizes[k];
	uint8_t *page, *before;
	db_pgno_t n;

	if (!some_page(w->m, k, &n))
		return;
	before = malloc(size);
	t_check(before != NULL);
	page = get(w->f[k], n, 0);
	memcpy(before, model_page(w->m, k, n), size);
	must(memp_fset(w->f[k], page, DB_MPOOL_DIRTY));
	change(w->m, k, n, page);
	put(w->f[k], page, DB_MPOOL_CLEAN);
	page = get(w->f[k], n, 0);
	if (w->m->file[k].pins[n] == 0 && memcmp(page, before, size) == 0)
		memcpy(model_page(w->m, k, n), before, size);
	is_as_modelled(w->m, k, n, page);
	put(w->f[k], page, 0);
	free(before);
}

static void
release(struct worker *w, struct held *h)
{
	struct model_file *mf = &w->m->file[h->k];
	bool exists = h->n < pages_in(w->m, h->k);

	if (exists)
		is_as_modelled(w->m, h->k, h->n, h->page);
	if (exists && dice(w->m, 2) == 0) {
		change(w->m, h->k, h->n, h->page);
		put(w->f[h->k], h->page, DB_MPOOL_DIRTY);
		dirtied(w->m, h->k, h->n);
	} else
		put(w->f[h->k], h->page, 0);
	if (--mf->pins[h->n] == 0)
		mf->dirty_pins[h->n] = 0;
	h->page = NULL;
}

static void
op_hold(struct worker *w, unsigned k)
{
	struct held *h = &w->held[dice(w->m, HELD)];

	if (h->page != NULL)
		release(w, h);
	else if (some_page(w->m, k, &h->n)) {
		h->k = k;
		h->page = get(w->f[k], h->n, 0);
		is_as_modelled(w->m, k, h->n, h->page);
		w->m->file[k].pins[h->n]++;
	}
}

/* May, or must, a sync of the file be incomplete? */
static void
add_pins(const struct model_file *mf, bool *mayp, bool *mustp)
{
	for (size_t n = 0; n < ROOM / 512; n++) {
		*mayp |= mf->pins[n] > 0;
		*mustp |= mf->dirty_pins[n] != 0;
	}
}

static void
sync_is_right(struct worker *w, int ret, bool may, bool must_be)
{
	t_check(ret == 0 || ret == DB_INCOMPLETE);
	t_check(ret == 0 || may);
	t_check(ret != 0 || !must_be);
	w->m->incomplete += ret != 0;
}

static void
disk_is_as_modelled(struct worker *w, unsigned k)
{
	struct model_file *mf = &w->m->file[k];
	size_t bytes;
	char *data = t_read_file(t_path(w->t, name_of(w->m, k, false)), &bytes);

	t_check(bytes == mf->length);
	t_check(memcmp(data, mf->bytes, bytes) == 0);
	free(data);
}

static void
op_sync(struct worker *w, unsigned k)
{
	bool may = false, must_be = false;
	int ret, wrote;

	switch (dice(w->m, 40)) {
	case 0:
		for (unsigned i = 0; i < FILES; i++)
			add_pins(&w->m->file[i], &may, &must_be);
		ret = memp_sync(w->mp, NULL);
		sync_is_right(w, ret, may, must_be);
		for (unsigned i = 0; i < FILES && ret == 0; i++)
			disk_is_as_modelled(w, i);
		break;
	case 1:
	case 2:
		add_pins(&w->m->file[k], &may, &must_be);
		ret = memp_fsync(w->f[k]);
		sync_is_right(w, ret, may, must_be);
		if (ret == 0)
			disk_is_as_modelled(w, k);
		break;
	case 3:
		must(mpool_file_sync(w->f[k], false));
		disk_is_as_modelled(w, k);
		break;
	case 4:
		must(memp_trickle(w->mp, 1 + (int)dice(w->m, 100), &wrote));
		break;
	default:
		must(memp_fprefetch(w->f[k], dice(w->m, 1000), dice(w->m, 64)));
		break;
	}
}

static void
op_look(struct worker *w, unsigned k)
{
	uint64_t length = w->m->file[k].length;
	DB_MPOOL_FSTAT fs;
	DB_MPOOL_STAT s;
	off_t bytes;
	int local;

	must(memp_fsize(w->f[k], &bytes));
	t_check((uint64_t)bytes == length);
	refuses(memp_fput(w->f[k], &local, 0), EINVAL);
	if (dice(w->m, 10) > 0)
		return;
	s = stat_of(w->mp);
	sums(&s);
	fs = fstat_of(w->mp, name_of(w->m, k, false));
	t_check(
	    fs.st_length == length && fs.st_opens == WORKERS && fs.st_pagesize == page_sizes[k]);
	if (dice(w->m, 10) == 0)
		at_rest(w->mp);
}

/* A read that fails is an error, or the page was there; it changes nothing. */
static void
op_read_error(struct worker *w, unsigned k)
{
	void *page = NULL;
	db_pgno_t n;
	int ret;

	if (!some_page(w->m, k, &n))
		return;
	t_fault(OS_PREAD, 1, EIO);
	ret = memp_fget(w->f[k], &n, DB_MPOOL_CREATE, &page);
	(void)t_fault_off();
	if (ret == 0) {
		is_as_modelled(w->m, k, n, page);
		put(w->f[k], page, 0);
		return;
	}
	refuses(ret, EIO);
	w->m->read_errors++;
	page = get(w->f[k], n, 0);
	is_as_modelled(w->m, k, n, page);
	put(w->f[k], page, 0);
}

static void
op_read_only(struct worker *w, unsigned k)
{
	DB_MPOOLFILE *r = open_file(w, k, DB_RDONLY);
	db_pgno_t n = 0;
	uint8_t *page;
	void *none;

	refuses(memp_fget(r, &n, DB_MPOOL_NEW, &none), EINVAL);
	refuses(memp_ftruncate(r, 0), EACCES);
	if (some_page(w->m, k, &n)) {
		page = get(r, n, 0);
		is_as_modelled(w->m, k, n, page);
		refuses(memp_fput(r, page, DB_MPOOL_DIRTY), EACCES);
		refuses(memp_fput(r, page, 0), EINVAL);
	}
	must(memp_fclose(r));
	refuses(memp_fopen(
		    w->mp, name_of(w->m, k, false), 0, 0, 0, page_sizes[k] * 2, -1, NULL, NULL, &r),
	    EINVAL);
}

static void
op_rename(struct worker *w, unsigned k)
{
	must(memp_frename(w->mp, name_of(w->m, k, false), name_of(w->m, k, true)));
	w->m->file[k].name ^= 1;
	w->m->renames++;
}

/* Other pages than before are in the pool then, but no byte is another. */
static void
op_resize(struct worker *w, unsigned k)
{
	int ret = memp_resize(w->mp, POOL_BYTES + 192 * KIB - (size_t)dice(w->m, 10) * 64 * KIB);

	(void)k;
	t_check(ret == 0 || ret == EBUSY);
	w->m->resizes += ret == 0;
}

/* It may become larger; nobody asks for more than there is. */
static DB_MPOOL *
model_pool(struct t *t)
{
	DB_ENV *env = env_of(t, POOL_BYTES);

	env->region_max = 4 * POOL_BYTES;
	env->region_flags |= DB_SIZE_IF_NEW;
	return pool_with(env, 0);
}

static void
open_all(struct worker *w)
{
	w->mp = model_pool(w->t);
	for (unsigned k = 0; k < FILES; k++)
		w->f[k] = open_file(w, k, 0);
}

static void
forget_held(struct worker *w)
{
	for (unsigned i = 0; i < HELD; i++) {
		struct held *h = &w->held[i];

		if (h->page != NULL && --w->m->file[h->k].pins[h->n] == 0)
			w->m->file[h->k].dirty_pins[h->n] = 0;
		h->page = NULL;
	}
}

static void
op_reopen(struct worker *w, unsigned k)
{
	bool uses = false;

	w->m->closings++;
	if (dice(w->m, 20) == 0) { /* all, with what it has pinned */
		for (unsigned i = 0; i < FILES; i++)
			must(memp_fclose(w->f[i]));
		forget_held(w);
		must(memp_close(w->mp));
		open_all(w);
		return;
	}
	for (unsigned i = 0; i < HELD; i++)
		uses |= w->held[i].page != NULL && w->held[i].k == k;
	if (uses)
		return;
	must(memp_fclose(w->f[k]));
	w->f[k] = open_file(w, k, 0);
}

static const struct {
	unsigned weight;
	void (*fn)(struct worker *w, unsigned k);
} calls[] = {
	{ 400, op_read },
	{ 300, op_write },
	{ 60, op_create },
	{ 40, op_truncate },
	{ 30, op_clean },
	{ 60, op_hold },
	{ 60, op_sync },
	{ 19, op_look },
	{ 10, op_read_error },
	{ 10, op_read_only },
	{ 4, op_rename },
	{ 6, op_reopen },
	{ 1, op_resize },
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static void
one_call(struct worker *w)
{
	unsigned what = dice(w->m, 1000), i = 0;

	w->m->ops++;
	while (what >= calls[i].weight && i + 1 < CALLS)
		what -= calls[i++].weight;
	calls[i].fn(w, dice(w->m, FILES));
}

/* As many calls as it is told each time, until it is told none. */
static int
works(struct t_child *c, void *arg)
{
	struct worker *w = arg;
	uint64_t n;

	open_all(w);
	t_tell(c, 'r');
	while ((n = t_await_u64(c)) > 0) {
		while (n-- > 0)
			one_call(w);
		/* the parent has to know, should it kill us */
		for (unsigned i = 0; i < HELD; i++)
			t_tell_u64(c,
			    w->held[i].page != NULL ?
				(uint64_t)w->held[i].k << 32 | w->held[i].n | 1ull << 63 :
				0);
	}
	for (unsigned i = 0; i < HELD; i++)
		if (w->held[i].page != NULL)
			release(w, &w->held[i]);
	for (unsigned k = 0; k < FILES; k++)
		must(memp_fclose(w->f[k]));
	must(memp_close(w->mp));
	return 0;
}

/* --- the test -------------------------------------------------------------------------------- */

/* One turn of a worker; then, perhaps, its death, and another in its place. */
static void
turn(struct worker *w, struct t_child *c, uint64_t calls_to_do, bool dies)
{
	uint64_t held[HELD];

	t_tell_u64(c, calls_to_do);
	for (unsigned i = 0; i < HELD; i++)
		held[i] = t_await_u64(c);
	if (!dies)
		return;
	t_kill(c);
	for (unsigned i = 0; i < HELD; i++) {
		struct model_file *mf = &w->m->file[held[i] >> 32 & 0x7fffffff];
		uint32_t n = (uint32_t)held[i];

		if (held[i] != 0 && --mf->pins[n] == 0)
			mf->dirty_pins[n] = 0;
	}
	t_fork(c, works, w);
	t_await(c, 'r');
}

static uint64_t
number_or(const char *name, uint64_t value)
{
	const char *v = getenv(name);

	return v != NULL ? strtoull(v, NULL, 0) : value;
}

static void
run_model(struct worker *w, uint64_t ops)
{
	struct t_child c[WORKERS];
	unsigned deaths = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		t_fork(&c[i], works, w);
		t_await(&c[i], 'r');
	}
	while (w->m->ops < ops) {
		unsigned i = dice(w->m, WORKERS), many = 1 + dice(w->m, 12);
		bool dies = dice(w->m, 400) == 0;

		deaths += dies;
		turn(w, &c[i], many, dies);
		if (dies) { /* before anything is expected of what it had */
			DB_MPOOL *mp = model_pool(w->t);

			must(memp_reap(mp));
			must(memp_close(mp));
		}
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		t_tell_u64(&c[i], 0);
		assert_int_equal(t_join(&c[i]), 0);
	}
	print_message(
	    "# %llu calls, %u truncations, %u renames, %u resizes, %u closings, %u read errors, %u "
	    "incomplete syncs, %u deaths\n",
	    (unsigned long long)w->m->ops, w->m->truncations, w->m->renames, w->m->resizes,
	    w->m->closings, w->m->read_errors, w->m->incomplete, deaths);
}

static void
mpool_random_calls_of_several_processes_are_as_modelled(void **state)
{
	struct t *t = *state;
	uint64_t ops = number_or("MODEL_OPS", 20000), seed = number_or("MODEL_SEED", 20101);
	struct worker w = { .t = t };
	DB_MPOOL_STAT s;

	t_seconds(ops > 20000 ? 3600 : T_TEST_SECONDS);
	print_message("# seed %llu\n", (unsigned long long)seed);
	w.m = mmap(NULL, sizeof(*w.m), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(w.m != MAP_FAILED);
	w.m->seed = seed;
	for (unsigned k = 0; k < FILES; k++) {
		struct model_file *mf = &w.m->file[k];

		mf->length = ROOM - ROOM / 8;
		for (size_t i = 0; i < mf->length; i++)
			mf->bytes[i] = (uint8_t)(i / page_sizes[k] * 7 + i + k);
		t_write_file(t_path(t, name_of(w.m, k, false)), mf->bytes, mf->length);
	}
	w.mp = model_pool(t); /* so that it stays what it is while nobody works */
	run_model(&w, ops);
	s = stat_of(w.mp);
	assert_int_equal(s.st_pins, 0);
	assert_true(s.st_rw_evict > 0 && s.st_ro_evict > 0);
	must(memp_sync(w.mp, NULL));
	assert_int_equal(stat_of(w.mp).st_page_dirty, 0);
	for (unsigned k = 0; k < FILES; k++)
		disk_is_as_modelled(&w, k);
	finish(w.mp);
	(void)munmap(w.m, sizeof(*w.m));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_random_calls_of_several_processes_are_as_modelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
