/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: damaged shared memory is input.  Each kind of word that processes share is changed in
 * turn, to each of a number of values; then every call is made, in the process that has the pool
 * open and in one that opens it afterwards.  Each must come to an end with an error or with an
 * answer; a crash or a hang fails the test, with the word and the value.
 *
 * For words that are only hints, or that a page's own key can be checked against, the answer must
 * be right as well.
 */
#include "../pool_t.h"

#include "pool/dirty.h"
#include "pool/file.h"
#include "pool/frame.h"
#include "pool/page_table.h"
#include "pool/policy.h"
#include "pool/thread.h"

#define PS 4096u
#define BYTES (64 * KIB)
#define PAGES 8u

/* A process's view of the pool when it is damaged. */
struct victim {
	DB_MPOOL *mp;
	DB_MPOOLFILE *f, *g; /* of pages of 4096 and of 512 bytes */
	uint8_t *pinned;     /* page 2 of f, dirty */
	uint32_t clean;	     /* the frame of page 0 of f */
	uint32_t dirty;	     /* of page 1 */
	uint32_t held;	     /* of page 2 */
	uint32_t free;
	struct table_place at; /* of page 0 */
};

struct word {
	void *addr;
	size_t bytes; /* 1, 4 or 8 */
};

struct kind {
	const char *name;
	struct word (*where)(struct victim *v, unsigned i);
	unsigned n; /* words of that kind */
	bool exact; /* answers must be right */
	bool states; /* a frame's word: all states and owners, too */
};

#define WORD(lvalue) ((struct word){ &(lvalue), sizeof(lvalue) })

/* The k-th aligned word of 4 or 8 bytes of a structure. */
static struct word
nth(void *base, size_t bytes, unsigned i)
{
	return (struct word){ (uint8_t *)base + i * bytes, bytes };
}

static struct word
frame_word(struct victim *v, unsigned i)
{
	const uint32_t frames[] = { v->clean, v->dirty, v->held, v->free };

	return WORD(v->mp->frames[frames[i]].word);
}

static struct word
frame_key(struct victim *v, unsigned i)
{
	const uint32_t frames[] = { v->clean, v->dirty, v->held, v->free };

	return WORD(v->mp->frames[frames[i]].key);
}

static struct word
cell(struct victim *v, unsigned i)
{
	return WORD(v->mp->buckets[i < BUCKET_CELLS ? v->at.first : v->at.second].cells[i %
	    BUCKET_CELLS]);
}

static struct word
header(struct victim *v, unsigned i)
{
	return WORD(v->mp->buckets[i == 0 ? v->at.first : v->at.second].header);
}

static struct word
overflow(struct victim *v, unsigned i)
{
	return WORD(v->mp->overflow[i]);
}

static struct word
extent(struct victim *v, unsigned i)
{
	const uint32_t e[] = { v->clean / v->mp->g.frames_per_extent, v->mp->g.nextents - 1 };

	return WORD(v->mp->extents[e[i]]);
}

static struct word
hint(struct victim *v, unsigned i)
{
	(void)i;
	return WORD(v->mp->hints[0]);
}

static struct word
dirty_count(struct victim *v, unsigned i)
{
	return WORD(*index_at(v->mp, i == 0 ? v->dirty : v->clean));
}

static struct word
hand(struct victim *v, unsigned i)
{
	(void)i;
	return WORD(v->mp->mp->hand_other);
}

/* Of the class of 4 KiB pages, and the clock. */
static struct word
policy_hint(struct victim *v, unsigned i)
{
	struct policy_size *z = &v->mp->mp->sizes[12 - PAGE_SHIFT_MIN];

	return i == 0 ? WORD(v->mp->mp->clock) : nth(z, 4, i - 1);
}

static struct word
stamp(struct victim *v, unsigned i)
{
	const uint32_t frames[] = { v->clean, v->dirty, v->held, v->free };

	return WORD(*stamp_at(v->mp, frames[i]));
}

static struct word
ghost(struct victim *v, unsigned i)
{
	return WORD(v->mp->ghosts[i]);
}

static struct word
discard(struct victim *v, unsigned i)
{
	return i == 0 ? WORD(v->mp->mp->discard_next) : WORD(v->mp->mp->discards[i]);
}

static struct word
superblock(struct victim *v, unsigned i)
{
	struct mpool *m = v->mp->mp;
	uint32_t *const words[] = { &m->blocks_used, &m->overflow_used, &m->has_log, &m->gc_row,
		&m->free_row, &m->rows_used, &m->free_open, &m->opens_used };

	return (struct word){ words[i], 4 };
}

static struct word
geometry(struct victim *v, unsigned i)
{
	return nth(&v->mp->mp->g, 4, i);
}

static struct word
row(struct victim *v, unsigned i)
{
	return nth(v->f->row, 4, i);
}

static struct word
row_long(struct victim *v, unsigned i)
{
	return nth(v->f->row, 8, i);
}

static struct word
record(struct victim *v, unsigned i)
{
	return nth(v->f->record, 4, i);
}

static struct word
chain(struct victim *v, unsigned i)
{
	for (uint32_t h = 0; h < v->mp->g.nhash; h++)
		if ((v->mp->hash[h] != 0) == (i == 0))
			return WORD(v->mp->hash[h]);
	return WORD(v->mp->hash[0]);
}

static struct word
heap(struct victim *v, unsigned i)
{
	return nth(v->mp->heap, 8, i);
}

static struct word
block_head(struct victim *v, unsigned i)
{
	return nth(v->mp->single->home, 4, i);
}

static struct word
slot(struct victim *v, unsigned i)
{
	return WORD(v->mp->single->home->slots[i]);
}

static struct word
note(struct victim *v, unsigned i)
{
	return WORD(v->mp->single->home->notes[i]);
}

static struct word
counter(struct victim *v, unsigned i)
{
	return WORD(v->mp->single->home->counters[i]);
}

static struct word
stranger(struct victim *v, unsigned i)
{
	/* a block that nobody has, taken by a client that there is not */
	return nth(&v->mp->blocks[v->mp->g.nblocks - 1], 4, i);
}

static struct word
layout(struct victim *v, unsigned i)
{
	return nth(v->mp->region->layout, 4, i);
}

static struct word
client(struct victim *v, unsigned i)
{
	return nth(&v->mp->region->clients[i < 4 ? v->mp->self : 5], 4, i % 4);
}

static const struct kind kinds[] = {
	{ "frame word", frame_word, 4, false, true },
	{ "frame key", frame_key, 4, false, false },
	{ "table cell", cell, 2 * BUCKET_CELLS, true, false },
	{ "bucket header", header, 2, true, false },
	{ "overflow cell", overflow, 1, true, false },
	{ "extent", extent, 2, false, false },
	{ "free hint", hint, 1, true, false },
	{ "dirty count", dirty_count, 2, false, false },
	{ "hand over the extents", hand, 1, true, false },
	{ "policy hint", policy_hint, 1 + sizeof(struct policy_size) / 4, true, false },
	{ "stamp", stamp, 4, true, false },
	{ "ghost", ghost, 1, true, false },
	{ "discard", discard, 2, true, false },
	{ "superblock", superblock, 8, false, false },
	{ "geometry", geometry, sizeof(struct geometry) / 4, true, false },
	{ "row", row, sizeof(struct file_row) / 4, false, false },
	{ "row, 64 bits", row_long, sizeof(struct file_row) / 8, false, false },
	{ "open record", record, 4, false, false },
	{ "hash chain", chain, 2, false, false },
	{ "heap", heap, 12, false, false },
	{ "block", block_head, 5, false, false },
	{ "slot", slot, 3, false, false },
	{ "note", note, 2, true, false },
	{ "counter", counter, COUNTERS, true, false },
	{ "another's block", stranger, 6, true, false },
	{ "layout", layout, sizeof(RLAYOUT) / 4, false, false },
	{ "client", client, 8, false, false },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

#define PLAIN_VALUES 7u
#define STATE_VALUES (8u * 4u)

/* The i-th wrong value for what is there. */
static uint64_t
wrong_value(struct victim *v, uint64_t old, unsigned i, size_t bytes)
{
	const uint32_t owners[] = { NO_CLIENT, v->mp->self, 20, 0xfff0 };
	unsigned k = i - PLAIN_VALUES;

	switch (i) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return old ^ 1;
	case 3:
		return old ^ 1ull << (bytes * 8 - 1);
	case 4:
		return old + 1;
	case 5:
		return 0x0001000100010001ull;
	case 6:
		return old ^ 0x5555aaaa12345678ull;
	default:
		return fw_with(old, (enum frame_state)(k % 8), owners[k / 8]);
	}
}

static void
strike(struct victim *v, struct word w, unsigned i)
{
	uint64_t old = 0;

	memcpy(&old, w.addr, w.bytes);
	old = wrong_value(v, old, i, w.bytes);
	if (w.bytes == 1)
		store_seq((uint8_t *)w.addr, (uint8_t)old);
	else if (w.bytes == 4)
		store_seq((uint32_t *)w.addr, (uint32_t)old);
	else
		store_seq((uint64_t *)w.addr, old);
}

/* --- every call ------------------------------------------------------------------------------ */

static int
wanted(db_pgno_t n)
{
	return n == 1 ? 'X' : n == 2 ? 'P' : 'a' + (int)n;
}

/* If a page is handed out it can be read, and is the right one where that can be asked for. */
static void
look(DB_MPOOLFILE *f, db_pgno_t n, unsigned long flags, bool exact, unsigned long put_flags)
{
	size_t size = f->pagesize;
	db_pgno_t asked = n;
	void *page = NULL;

	if (memp_fget(f, &n, flags, &page) != 0)
		return;
	t_check((uint8_t *)page >= f->pool->area &&
	    (uint8_t *)page + size <= f->pool->area + f->pool->g.cache_bytes);
	if (exact && flags == 0 && size == PS && asked < PAGES)
		t_check(others(page, size, wanted(asked)) == 0);
	else
		((volatile uint8_t *)page)[size - 1] = ((volatile uint8_t *)page)[size - 1];
	(void)memp_fput(f, page, put_flags);
}

static void
call_on_file(DB_MPOOLFILE *f, bool exact)
{
	off_t bytes;

	for (db_pgno_t n = 0; n < PAGES + 2; n++)
		look(f, n, 0, exact, n % 3 == 0 ? DB_MPOOL_DISCARD : 0);
	look(f, 4, 0, exact, DB_MPOOL_DIRTY);
	look(f, 5, 0, exact, DB_MPOOL_CLEAN);
	(void)memp_fsync(f);
	look(f, PAGES + 4, DB_MPOOL_CREATE, false, DB_MPOOL_DIRTY);
	look(f, 0, DB_MPOOL_NEW, false, 0);
	look(f, 0, DB_MPOOL_LAST, false, 0);
	(void)memp_fsize(f, &bytes);
	(void)memp_fprefetch(f, 0, PAGES);
	(void)mpool_file_sync(f, true);
	(void)mpool_file_error(f);
	(void)mpool_file_revalidate(f);
	(void)memp_ftruncate(f, 20 * PS);
	for (db_pgno_t n = 0; n < 20; n++) /* the pool is too small for these: evictions */
		look(f, n, 0, exact, DB_MPOOL_DIRTY);
	(void)memp_ftruncate(f, 3 * PS);
	(void)mpool_file_sync(f, false);
}

static void
call_on_pool(DB_MPOOL *mp, const char *path)
{
	DB_MPOOL_STAT *s = NULL;
	DB_MPOOL_FSTAT **list = NULL;
	struct os_stat st;
	uint64_t wrote;
	int64_t mtime;
	off_t bytes;
	int n;

	(void)memp_stat(mp, &s, NULL, NULL);
	free(s);
	(void)memp_stat(mp, NULL, &list, NULL);
	free(list);
	(void)mpool_check(mp, false);
	(void)memp_trickle(mp, 100, &n);
	(void)memp_reap(mp);
	(void)mpool_write_old(mp, 0, &wrote);
	(void)mpool_client_pins(mp, 0);
	mpool_renamed(mp, path, path);
	if (os_stat(path, &st) == 0) {
		(void)mpool_ident_attr(mp, &st.ident, &bytes, &mtime);
		mpool_ident_gone(mp, &st.ident);
	}
	(void)memp_sync(mp, NULL);
	(void)mpool_check(mp, true);
	(void)memp_register(mp, 3, NULL, NULL);
}

static void
call_everything(struct t *t, struct victim *v, bool exact)
{
	DB_MPOOLFILE *again;

	if (v->f != NULL)
		call_on_file(v->f, exact);
	if (v->g != NULL)
		call_on_file(v->g, false);
	if (memp_fopen(v->mp, "f", 0, 0, 0, PS, -1, NULL, NULL, &again) == 0) {
		look(again, 0, 0, exact, 0);
		(void)memp_fclose(again);
	}
	if (memp_fopen(v->mp, NULL, 0, 0, 0, 512, -1, NULL, NULL, &again) == 0) {
		look(again, 0, DB_MPOOL_CREATE, false, DB_MPOOL_DIRTY);
		(void)memp_fclose(again);
	}
	call_on_pool(v->mp, t_path(t, "f"));
	if (v->pinned != NULL) {
		(void)memp_fset(v->f, v->pinned, DB_MPOOL_DIRTY);
		(void)memp_fput(v->f, v->pinned, DB_MPOOL_DIRTY);
	}
	if (v->f != NULL)
		(void)memp_fclose(v->f);
	if (v->g != NULL)
		(void)memp_fclose(v->g);
	(void)memp_close(v->mp);
}

/* --- one damage ------------------------------------------------------------------------------ */

struct trial {
	struct t *t;
	const struct kind *kind;
	unsigned i;
	unsigned value;
};

#define SECONDS_MOST 8 /* for all calls; a child that takes longer is aborted by its watchdog */

static uint32_t
frame_holding(struct victim *v, uint8_t *page)
{
	return frame_of_address(v->mp, page, v->f->pageshift);
}

static void
victim_create(struct t *t, u_int32_t policy, struct victim *v)
{
	DB_ENV *env = env_of(t, BYTES);
	uint8_t *page;

	env->policy = policy;
	v->mp = pool_with(env, 0);
	v->f = file_of(v->mp, "f", PS);
	v->g = file_of(v->mp, "g", 512);
	page = get(v->f, 0, 0);
	v->clean = frame_holding(v, page);
	put(v->f, page, 0);
	fill(v->f, 1, 'X');
	v->dirty = frame_holding(v, page = get(v->f, 1, 0));
	put(v->f, page, 0);
	v->pinned = get(v->f, 2, 0);
	memset(v->pinned, 'P', PS);
	must(memp_fset(v->f, v->pinned, DB_MPOOL_DIRTY));
	v->held = frame_holding(v, v->pinned);
	fill(v->g, 0, 'g');
	for (v->free = v->clean; fw_state(v->mp->frames[v->free].word) != FRAME_FREE;)
		v->free++;
	v->at = table_place(v->mp, page_key(v->f->file, 0));
}

/* The process that has the pool open when it is damaged. */
static int
suffers(struct t_child *c, void *arg)
{
	struct trial *tr = arg;
	struct victim v = { 0 };

	(void)c;
	t_seconds(SECONDS_MOST);
	victim_create(tr->t, tr->kind->exact ? DB_POLICY_ADAPTIVE : DB_POLICY_LRU, &v);
	strike(&v, tr->kind->where(&v, tr->i), tr->value);
	call_everything(tr->t, &v, tr->kind->exact);
	return 0;
}

/* One that comes later. */
static int
comes_later(struct t_child *c, void *arg)
{
	struct trial *tr = arg;
	struct victim v = { 0 };

	(void)c;
	t_seconds(SECONDS_MOST);
	if (memp_open(NULL, 0, 0, env_of(tr->t, 0), &v.mp) != 0)
		return 0;
	if (memp_fopen(v.mp, "f", 0, 0, 0, PS, -1, NULL, NULL, &v.f) != 0)
		v.f = NULL;
	if (memp_fopen(v.mp, "g", 0, 0, 0, 512, -1, NULL, NULL, &v.g) != 0)
		v.g = NULL;
	call_everything(tr->t, &v, false);
	return 0;
}

static unsigned faults;

static void
must_end_well(struct trial *tr, int (*fn)(struct t_child *, void *), const char *who)
{
	uint64_t began = os_monotonic_usec(), took;
	struct t_child c;
	int status;

	t_fork(&c, fn, tr);
	status = t_join(&c);
	took = (os_monotonic_usec() - began) / 1000;
	if (status != 0 || getenv("DAMAGE_TRACE") != NULL)
		(void)dprintf(STDOUT_FILENO, "# %s %u, value %u, %s: status %d, %u ms\n",
		    tr->kind->name, tr->i, tr->value, who, status, (unsigned)took);
	faults += status != 0;
}

static void
damage(struct trial *tr)
{
	struct stat st;

	write_pages(t_path(tr->t, "f"), PAGES, PS, 'a');
	t_write_file(t_path(tr->t, "g"), "", 0);
	must_end_well(tr, suffers, "who has it open");
	must_end_well(tr, comes_later, "who comes later");
	must(memp_unlink(NULL, 1, env_of(tr->t, 0)));
	assert_int_equal(stat(t_path(tr->t, REGION_NAME), &st), -1);
}

/*
 * The region lock in the name of a live client that does not hold it cannot be told from a holder
 * that is stopped, for whom one waits without limit.
 */
static bool
cannot_be_told(const struct trial *tr)
{
	return tr->kind->where == layout && tr->i == 0 && (tr->value == 2 || tr->value == 4);
}

/* Every which-th value of every word of the kinds from..to. */
static void
damage_kinds(struct t *t, unsigned from, unsigned to)
{
	const char *all = getenv("DAMAGE_ALL");
	unsigned turn = 0, every = all != NULL ? 1 : 3;
	struct trial tr = { .t = t };

	faults = 0;
	for (unsigned k = from; k < to; k++) {
		unsigned values = PLAIN_VALUES + (kinds[k].states ? STATE_VALUES : 0);

		tr.kind = &kinds[k];
		for (tr.i = 0; tr.i < tr.kind->n; tr.i++) {
			t_seconds(T_TEST_SECONDS);
			for (tr.value = 0; tr.value < values; tr.value++)
				if (turn++ % every == 0 && !cannot_be_told(&tr))
					damage(&tr);
		}
	}
	assert_int_equal(faults, 0);
}

static void
mpool_damaged_frames_are_an_error_or_a_right_answer(void **state)
{
	damage_kinds(*state, 0, 2);
}

static void
mpool_damaged_table_extents_and_hints_are_an_error_or_a_right_answer(void **state)
{
	damage_kinds(*state, 2, 14);
}

static void
mpool_damaged_geometry_and_files_are_an_error_or_a_right_answer(void **state)
{
	damage_kinds(*state, 14, 20);
}

static void
mpool_damaged_blocks_and_layout_are_an_error_or_a_right_answer(void **state)
{
	damage_kinds(*state, 20, KINDS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_damaged_frames_are_an_error_or_a_right_answer),
		t_test(mpool_damaged_table_extents_and_hints_are_an_error_or_a_right_answer),
		t_test(mpool_damaged_geometry_and_files_are_an_error_or_a_right_answer),
		t_test(mpool_damaged_blocks_and_layout_are_an_error_or_a_right_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
