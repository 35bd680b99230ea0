/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The storm's clients of a pool, and what their auditor expects.
 *
 * Each client has a part of every page, which nobody else writes.  All words of a part hold a
 * generation, one more at each change, and a mark that no other place has: so a page that is
 * another's, a part that is older than what was acknowledged, and one that was half written show.
 * Who died between a put and its record, or inside a change, leaves words of the next generation,
 * which is why one more than in the book is right, too.
 *
 * A file named "cut" beside those in the book is made longer and shorter by everybody: of its words
 * only the marks can be checked.
 */
#include "storm.h"

#include "../pool_t.h"

#include "pool/extent.h"
#include "pool/file.h"
#include "pool/frame.h"

#define CUT FILES /* its number in marks */
#define CUT_PAGES 40
#define CUT_SIZE 4096
#define HELD 2 /* pins that a client keeps while it does something else */
#define GEN_SHIFT 12

static const size_t page_sizes[FILES] = { 4096, 512, 8192 };
static const char *const names[FILES] = { "middle", "small", "large" };

struct view {
	struct player *c;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f[FILES];
	DB_MPOOLFILE *cut;
	struct {
		unsigned k;
		void *page;
	} held[HELD];
};

/* --- what is in a page ----------------------------------------------------------------------- */

static uint32_t
word_of(unsigned k, unsigned n, unsigned id, uint32_t gen)
{
	uint32_t mark = ((k * 1000 + n) * CLIENTS_MOST + id) * 0x9e3779b1u;

	return gen == 0 ? 0 : gen << GEN_SHIFT | mark >> (32 - GEN_SHIFT);
}

static size_t
part_words(size_t pagesize)
{
	return pagesize / CLIENTS_MOST / sizeof(uint32_t);
}

/* Are all words of the part those of a generation from low to high? */
static bool
part_is(const void *page, size_t pagesize, unsigned k, unsigned n, unsigned id, uint32_t low,
    uint32_t high)
{
	size_t words = part_words(pagesize);
	const uint32_t *part = (const uint32_t *)page + id * words;

	for (size_t i = 0; i < words; i++) {
		uint32_t have = load_relaxed(&part[i]), gen = have >> GEN_SHIFT;

		if (have == word_of(k, n, id, gen) && gen >= low && gen <= high)
			continue;
		(void)dprintf(STDOUT_FILENO,
		    "# file %u, page %u, part %u, word %zu: %08x is generation %u, not %u to %u\n",
		    k, n, id, i, have, gen, low, high);
		return false;
	}
	return true;
}

/* As the client knows it: its own part to the generation, the others' at least so far. */
static void
page_is_right(struct player *c, const void *page, size_t pagesize, unsigned k, unsigned n)
{
	for (unsigned id = 0; id < CLIENTS_MOST; id++) {
		uint32_t put = c->s->book.put[k][n][id];

		t_check(part_is(page, pagesize, k, n, id, put, id == c->id ? put + 1 : UINT32_MAX));
	}
	c->checked += CLIENTS_MOST;
}

static void
part_write(void *page, size_t pagesize, unsigned k, unsigned n, unsigned id, uint32_t gen)
{
	size_t words = part_words(pagesize);
	uint32_t *part = (uint32_t *)page + id * words;

	for (size_t i = 0; i < words; i++)
		store_relaxed(&part[i], word_of(k, n, id, gen));
}

/* --- visits ---------------------------------------------------------------------------------- */

/* NULL: all of the pool is pinned, which in a small one can be. */
static void *
try_get(struct view *v, DB_MPOOLFILE *f, db_pgno_t *np, unsigned long flags)
{
	void *page = NULL;
	int ret;

	call_begin(v->c);
	ret = memp_fget(f, np, flags, &page);
	call_end(v->c);
	if (ret == ENOMEM && v->c->s->shape.bytes <= 256 * KIB)
		return NULL;
	must(ret);
	return page;
}

static void
give_back(struct view *v, DB_MPOOLFILE *f, void *page, unsigned long flags)
{
	call_begin(v->c);
	must(memp_fput(f, page, flags));
	call_end(v->c);
}

static void
let_go(struct view *v)
{
	for (unsigned i = 0; i < HELD; i++) {
		if (v->held[i].page != NULL)
			give_back(v, v->f[v->held[i].k], v->held[i].page, 0);
		v->held[i].page = NULL;
	}
}

static void
change(struct view *v, unsigned k, unsigned n, void *page)
{
	struct player *c = v->c;
	uint32_t *put = &c->s->book.put[k][n][c->id];

	part_write(page, page_sizes[k], k, n, c->id, *put + 1);
	if (draw(c, 3) == 0) {
		must(memp_fset(v->f[k], page, DB_MPOOL_DIRTY));
		give_back(v, v->f[k], page, 0);
	} else
		give_back(v, v->f[k], page, DB_MPOOL_DIRTY | (draw(c, 9) ? 0 : DB_MPOOL_DISCARD));
	*put += 1;
	journal(c, RECORD_PUT, k, n, *put);
}

static void
visit(struct view *v, bool write)
{
	struct player *c = v->c;
	unsigned k = draw(c, FILES), i = draw(c, HELD);
	db_pgno_t n = draw(c, PAGES);
	void *page = try_get(v, v->f[k], &n, DB_MPOOL_CREATE);

	if (page == NULL) {
		let_go(v);
		return;
	}
	page_is_right(c, page, page_sizes[k], k, n);
	if (write)
		change(v, k, n, page);
	else if (draw(c, 8) == 0 && v->held[i].page == NULL) {
		v->held[i].k = k;
		v->held[i].page = page;
	} else
		give_back(v, v->f[k], page, draw(c, 20) ? 0 : DB_MPOOL_DISCARD);
	if (draw(c, 30) == 0)
		let_go(v);
}

static void
op_read(struct view *v)
{
	visit(v, false);
}

static void
op_write(struct view *v)
{
	visit(v, true);
}

/* --- everything else that may go on ---------------------------------------------------------- */

/* What the client has been acknowledged of this file is on disk. */
static void
disk_has(struct player *c, unsigned k)
{
	int fd = open(t_path(&c->s->home, names[k]), O_RDONLY | O_CLOEXEC);
	uint8_t page[8192];

	t_check(fd >= 0);
	for (unsigned n = 0; n < PAGES; n++) {
		uint32_t put = c->s->book.put[k][n][c->id];
		ssize_t got = pread(fd, page, page_sizes[k], (off_t)(n * page_sizes[k]));

		t_check(got == 0 || got == (ssize_t)page_sizes[k]);
		if (got == 0)
			t_check(put == 0);
		else
			t_check(part_is(page, page_sizes[k], k, n, c->id, put, put + 1));
	}
	c->checked += PAGES;
	(void)close(fd);
}

static void
op_fsync(struct view *v)
{
	unsigned k = draw(v->c, FILES);
	int ret;

	call_begin(v->c);
	ret = draw(v->c, 2) ? memp_fsync(v->f[k]) : mpool_file_sync(v->f[k], false);
	call_end(v->c);
	if (ret != DB_INCOMPLETE) {
		must(ret);
		disk_has(v->c, k);
	}
}

static void
op_sync(struct view *v)
{
	int ret, wrote;
	uint64_t wrote_old;

	call_begin(v->c);
	switch (draw(v->c, 3)) {
	case 0:
		ret = memp_sync(v->mp, NULL);
		break;
	case 1:
		ret = memp_trickle(v->mp, (int)draw(v->c, 100) + 1, &wrote);
		break;
	default:
		ret = mpool_write_old(v->mp, 0, &wrote_old);
	}
	call_end(v->c);
	if (ret != DB_INCOMPLETE)
		must(ret);
}

static void
op_look(struct view *v)
{
	DB_MPOOL_STAT st;

	call_begin(v->c);
	st = stat_of(v->mp);
	call_end(v->c);
	sums(&st);
	if (draw(v->c, 10) == 0)
		must(mpool_check(v->mp, false));
	if (draw(v->c, 10) == 0)
		must(memp_reap(v->mp));
}

static void
op_prefetch(struct view *v)
{
	call_begin(v->c);
	must(memp_fprefetch(v->f[draw(v->c, FILES)], draw(v->c, PAGES), draw(v->c, 30) + 1));
	call_end(v->c);
}

static void
op_resize(struct view *v)
{
	size_t bytes = v->c->s->shape.bytes, to = bytes / 2 + bytes / 8 * draw(v->c, 5);
	int ret;

	if (to < 20 * KIB)
		return;
	call_begin(v->c);
	ret = memp_resize(v->mp, to);
	call_end(v->c);
	if (ret != EBUSY && ret != EAGAIN)
		must(ret);
}

/* Whatever is in the file: zeros, or what somebody wrote to that very place. */
static void
cut_is_right(struct view *v, const void *page, db_pgno_t n)
{
	for (unsigned id = 0; id < CLIENTS_MOST; id++)
		t_check(part_is(page, CUT_SIZE, CUT, n, id, 0, 1));
	v->c->checked += CLIENTS_MOST;
}

static void
cut_visit(struct view *v, db_pgno_t n, unsigned long flags)
{
	void *page = try_get(v, v->cut, &n, flags);

	if (page == NULL)
		return;
	cut_is_right(v, page, n);
	if (draw(v->c, 2)) {
		part_write(page, CUT_SIZE, CUT, n, v->c->id, 1);
		give_back(v, v->cut, page, DB_MPOOL_DIRTY);
	} else
		give_back(v, v->cut, page, 0);
}

static void
op_cut(struct view *v)
{
	off_t bytes;

	must(memp_fsize(v->cut, &bytes));
	if (draw(v->c, 4) == 0 || bytes >= CUT_PAGES * CUT_SIZE) {
		call_begin(v->c);
		must(memp_ftruncate(v->cut, (off_t)draw(v->c, CUT_PAGES) * CUT_SIZE));
		call_end(v->c);
	} else if (draw(v->c, 3) == 0)
		cut_visit(v, 0, DB_MPOOL_NEW);
	else
		cut_visit(v, draw(v->c, CUT_PAGES), DB_MPOOL_CREATE);
}

static void
files_open(struct view *v)
{
	for (unsigned k = 0; k < FILES; k++)
		v->f[k] = file_of(v->mp, names[k], page_sizes[k]);
	v->cut = file_of(v->mp, "cut", CUT_SIZE);
}

static void
files_close(struct view *v)
{
	let_go(v);
	for (unsigned k = 0; k < FILES; k++)
		must(memp_fclose(v->f[k]));
	must(memp_fclose(v->cut));
}

static void
op_reopen(struct view *v)
{
	unsigned k = draw(v->c, FILES);

	let_go(v);
	call_begin(v->c);
	must(memp_fclose(v->f[k]));
	v->f[k] = file_of(v->mp, names[k], page_sizes[k]);
	call_end(v->c);
}

/* Files that come and go: a temporary one, and one of its own that gets another name. */
static void
op_other_files(struct view *v)
{
	bool temp = draw(v->c, 2);
	char from[16], to[16];
	DB_MPOOLFILE *f;
	uint8_t *page;
	db_pgno_t n = draw(v->c, 4);

	(void)snprintf(from, sizeof(from), "own%u", v->c->id);
	(void)snprintf(to, sizeof(to), "then%u", v->c->id);
	f = file_with(v->mp, temp ? NULL : from, temp ? 0 : DB_CREATE, v->c->id % 2 ? 512 : 4096);
	if ((page = try_get(v, f, &n, DB_MPOOL_CREATE)) != NULL) {
		memset(page, 'o', 100);
		give_back(v, f, page, DB_MPOOL_DIRTY);
	}
	if (!temp) {
		must(memp_frename(v->mp, from, to));
		must(memp_fremove(v->mp, to));
	}
	if (page != NULL && (page = try_get(v, f, &n, 0)) != NULL) {
		t_check(page[0] == 'o' && page[99] == 'o' && page[100] == 0);
		give_back(v, f, page, 0);
	}
	must(memp_fclose(f));
}

static void
pool_join(struct view *v)
{
	struct player *c = v->c;
	DB_ENV *env = env_of(&c->s->home, c->s->shape.bytes);
	bool threads = draw(c, 4) == 0;

	env->region_flags = c->s->shape.system ? DB_SYSTEM_MEM : 0;
	env->policy = c->s->shape.adaptive ? DB_POLICY_ADAPTIVE : DB_POLICY_LRU;
	env->mp_writer = threads && draw(c, 2);
	call_begin(c);
	v->mp = pool_with(env, threads ? DB_THREAD : 0);
	call_end(c);
	files_open(v);
}

static void
op_rejoin(struct view *v)
{
	if (draw(v->c, 2))
		files_close(v); /* else memp_close has to */
	must(memp_close(v->mp));
	memset(v->held, 0, sizeof(v->held));
	pool_join(v);
}

/* --- a client -------------------------------------------------------------------------------- */

static void (*const ops[])(struct view *) = { op_read, op_write, op_fsync, op_sync, op_look,
	op_prefetch, op_resize, op_cut, op_reopen, op_other_files, op_rejoin };
#define OPS (sizeof(ops) / sizeof(ops[0]))

/* How often each does what. */
static const uint8_t roles[][OPS] = {
	{ 96, 0, 0, 0, 1, 2, 0, 0, 1, 0, 0 },	   /* reads */
	{ 20, 78, 1, 1, 0, 0, 0, 0, 0, 0, 0 },	   /* writes */
	{ 10, 60, 12, 12, 5, 0, 0, 0, 0, 0, 0 },   /* syncs */
	{ 20, 30, 2, 1, 0, 0, 0, 10, 20, 20, 10 }, /* opens */
	{ 40, 40, 1, 1, 0, 2, 8, 20, 0, 0, 0 },	   /* resizes */
};
#define ROLES (sizeof(roles) / sizeof(roles[0]))

static void
op_any(struct view *v, const uint8_t *weights)
{
	unsigned sum = 0, at;

	for (unsigned i = 0; i < OPS; i++)
		sum += weights[i];
	at = draw(v->c, sum);
	for (unsigned i = 0; i < OPS; i++) {
		if (at < weights[i]) {
			ops[i](v);
			return;
		}
		at -= weights[i];
	}
}

int
pages_client(struct player *c)
{
	const uint8_t *weights = roles[draw(c, ROLES)];
	struct view v = { .c = c };

	pool_join(&v);
	while (!load_acquire(&c->s->shared->quiet)) {
		op_any(&v, weights);
		if (c->calls > 500)
			journal_sums(c);
	}
	files_close(&v);
	must(memp_close(v.mp));
	journal_sums(c);
	return 0;
}

/* --- the auditor ----------------------------------------------------------------------------- */

/* Every frame of an open extent is free or holds a page, and those are as many as are resident. */
static void
frames_add_up(DB_MPOOL *mp)
{
	uint64_t used = 0, unused = 0, all = 0;
	DB_MPOOL_STAT st = stat_of(mp);

	for (uint32_t e = 0; e < mp->g.nextents; e++) {
		unsigned shift = extent_pageshift(mp, mp->extents[e]);
		uint32_t n = shift == 0 ? 0 : extent_frames(mp, shift);

		all += n;
		for (uint32_t i = 0; i < n; i++) {
			uint64_t w = frame_at(mp, e * mp->g.frames_per_extent + i)->word;

			used += fw_state(w) == FRAME_VALID;
			unused += fw_state(w) == FRAME_FREE;
		}
	}
	t_check(used + unused == all);
	t_check(used == st.st_page_clean + st.st_page_dirty);
}

static void
pool_is_tidy(DB_MPOOL *mp)
{
	DB_MPOOL_STAT st = stat_of(mp);

	t_check(st.st_pins == 0);
	t_check(st.st_clients == 1);
	sums(&st);
	must(mpool_check(mp, true));
	frames_add_up(mp);
}

static void
nothing_is_dirty(DB_MPOOL *mp)
{
	DB_MPOOL_STAT st = stat_of(mp);

	for (uint32_t r = 0; st.st_page_dirty > 0 && r < rows_used(mp); r++) {
		const struct file_row *row = &mp->rows[r];

		if (row->id != 0 && row->dirty != 0)
			(void)dprintf(STDOUT_FILENO,
			    "# file %u: %llu dirty, flags %x, %u opens, error %u\n", row->id,
			    (unsigned long long)row->dirty, row->flags, row->opens, row->error);
	}
	t_check(st.st_page_dirty == 0);
}

/* Everything that was acknowledged, to anybody, can be read. */
static void
book_is_kept(struct view *v, unsigned k)
{
	off_t bytes;

	must(memp_fsize(v->f[k], &bytes));
	for (db_pgno_t n = 0; n < PAGES; n++) {
		bool there = (off_t)((n + 1) * page_sizes[k]) <= bytes;
		void *page = there ? get(v->f[k], n, 0) : NULL;

		for (unsigned id = 0; id < CLIENTS_MOST; id++) {
			uint32_t put = v->c->s->book.put[k][n][id];

			t_check(there ? part_is(page, page_sizes[k], k, n, id, put, put + 1) :
					put == 0);
			v->c->checked++;
		}
		if (there)
			put(v->f[k], page, 0);
	}
}

static void
cut_is_kept(struct view *v)
{
	off_t bytes;

	must(memp_fsize(v->cut, &bytes));
	for (db_pgno_t n = 0; (off_t)n * CUT_SIZE < bytes; n++) {
		uint8_t *page = get(v->cut, n, 0);

		cut_is_right(v, page, n);
		put(v->cut, page, 0);
	}
	must(memp_ftruncate(v->cut, 0));
	must(memp_ftruncate(v->cut, CUT_PAGES * CUT_SIZE));
	for (db_pgno_t n = 0; n < CUT_PAGES; n++)
		holds(v->cut, n, 0);
}

void
pages_audit(struct player *c)
{
	struct view v = { .c = c };

	c->seed = 0; /* no thread of its own */
	v.mp = pool_with(env_of(&c->s->home, c->s->shape.bytes), 0);
	must(memp_reap(v.mp));
	pool_is_tidy(v.mp);
	files_open(&v);
	for (unsigned k = 0; k < FILES; k++)
		book_is_kept(&v, k);
	cut_is_kept(&v);
	must(memp_sync(v.mp, NULL));
	nothing_is_dirty(v.mp);
	for (unsigned k = 0; k < FILES; k++)
		for (c->id = 0; c->id < CLIENTS_MOST; c->id++)
			disk_has(c, k);
	files_close(&v);
	pool_is_tidy(v.mp);
	must(memp_close(v.mp));
	journal_sums(c);
}

void
pages_end(struct storm *s)
{
	must(memp_unlink(NULL, 0, env_of(&s->home, 0)));
	t_check(access(t_path(&s->home, REGION_NAME), F_OK) == -1);
}
