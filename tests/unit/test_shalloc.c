/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region/shalloc: against a model (a list of what was handed out, each with its own byte
 * pattern), with a death after every single store, and with damage in every word.
 *
 * The stores are seen by compiling shalloc.c a second time with store_release counted; the names of
 * that copy begin with dying_.
 */
#include "t.h"

#include <errno.h>

#include "base/atomics.h"
#include "region/shalloc.h"

/* --- the second copy ----------------------------------------------------------------------- */

static int dying_init(void *area, size_t bytes);
static int dying_alloc(void *area, size_t bytes, size_t len, size_t align, uint64_t *offp);
static int dying_free(void *area, size_t bytes, uint64_t off);
static int dying_size(void *area, size_t bytes, uint64_t off, size_t *lenp);
static int dying_check(void *area, size_t bytes, struct shalloc_stat *st);
static int dying_repair(void *area, size_t bytes);
static int dying_keep(void *area, size_t bytes, const uint64_t *offs, size_t n);

static void (*after_store)(void);

#undef store_release
#define store_release(p, v)                                                                        \
	do {                                                                                       \
		__atomic_store_n((p), (v), __ATOMIC_RELEASE);                                      \
		if (after_store != NULL)                                                           \
			after_store();                                                             \
	} while (0)
#define shalloc_init dying_init
#define shalloc dying_alloc
#define shalloc_free dying_free
#define shalloc_size dying_size
#define shalloc_check dying_check
#define shalloc_repair dying_repair
#define shalloc_keep dying_keep
#include "../../core/region/shalloc.c"
#undef shalloc_init
#undef shalloc
#undef shalloc_free
#undef shalloc_size
#undef shalloc_check
#undef shalloc_repair
#undef shalloc_keep

/* --- the model ----------------------------------------------------------------------------- */

#define PIECES 400

struct piece {
	uint64_t off;
	size_t len; /* as asked for; 0: none */
	uint8_t byte;
};

struct model {
	uint8_t *area; /* malloc(3)ed, so that a sanitizer sees what goes beyond */
	size_t bytes;
	struct piece pieces[PIECES];
	uint64_t used; /* pieces */
	uint64_t seed;
};

static uint64_t
random_below(struct model *m, uint64_t n)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return m->seed % n;
}

static void
model_init(struct model *m, size_t bytes, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	m->area = malloc(bytes);
	m->bytes = bytes;
	m->seed = seed;
	memset(m->area, 0xdb, bytes);
	assert_int_equal(dying_init(m->area, bytes), 0);
}

static void
model_fini(struct model *m)
{
	free(m->area);
}

static void
piece_is_whole(const struct model *m, const uint8_t *area, const struct piece *p)
{
	size_t i, size = 0;

	assert_int_equal(dying_size((void *)area, m->bytes, p->off, &size), 0);
	assert_true(size >= p->len && size >= 16);
	assert_true(p->off + size <= m->bytes);
	for (i = 0; i < p->len; i++)
		if (area[p->off + i] != p->byte)
			fail_msg(
			    "byte %zu of %zu at %ju was overwritten", i, p->len, (uintmax_t)p->off);
}

static void
pieces_are_whole(const struct model *m, const uint8_t *area, const struct piece *but)
{
	const struct piece *p;

	for (p = m->pieces; p < m->pieces + PIECES; p++)
		if (p->len != 0 && p != but)
			piece_is_whole(m, area, p);
}

static int
model_alloc(struct model *m, struct piece *p, size_t len, size_t align)
{
	uint64_t off = 12345;
	int ret = dying_alloc(m->area, m->bytes, len, align, &off);

	if (ret != 0) {
		assert_int_equal(ret, ENOMEM);
		assert_true(off == 12345);
		return ret;
	}
	assert_int_equal(off % (align < 8 ? 8 : align), 0);
	*p = (struct piece){ .off = off, .len = len, .byte = (uint8_t)random_below(m, 256) };
	memset(m->area + off, p->byte, len);
	m->used++;
	return 0;
}

static void
model_free(struct model *m, struct piece *p)
{
	piece_is_whole(m, m->area, p);
	assert_int_equal(dying_free(m->area, m->bytes, p->off), 0);
	p->len = 0;
	m->used--;
}

static struct shalloc_stat
model_check(const struct model *m)
{
	struct shalloc_stat st;

	assert_int_equal(dying_check(m->area, m->bytes, &st), 0);
	assert_int_equal(st.used_chunks, m->used);
	assert_true(st.area_bytes == m->bytes / 8 * 8);
	assert_true(st.used_bytes + st.free_bytes + 32 == st.area_bytes);
	return st;
}

/* One random call: mostly small, sometimes large, sometimes aligned. */
static void
model_step(struct model *m)
{
	struct piece *p = &m->pieces[random_below(m, PIECES)];
	size_t len = 1 + random_below(m, random_below(m, 8) == 0 ? 5000 : 120);
	size_t align = random_below(m, 4) == 0 ? (size_t)1 << random_below(m, 13) : 0;

	if (p->len != 0)
		model_free(m, p);
	else
		(void)model_alloc(m, p, len, align);
}

static void
model_free_all(struct model *m)
{
	struct piece *p;

	for (p = m->pieces; p < m->pieces + PIECES; p++)
		if (p->len != 0)
			model_free(m, p);
}

/* --- tests --------------------------------------------------------------------------------- */

static void
shalloc_agrees_with_the_model_and_does_not_drift(void **state)
{
	struct model m;
	struct shalloc_stat first, now;
	int round, step;

	(void)state;
	model_init(&m, 60000, 1);
	first = model_check(&m);
	assert_int_equal(first.free_chunks, 1);
	for (round = 0; round < 40; round++) {
		for (step = 0; step < 1000; step++) {
			model_step(&m);
			if (step % 10 == 0)
				model_check(&m);
		}
		pieces_are_whole(&m, m.area, NULL);
		model_free_all(&m);
		now = model_check(&m);
		assert_memory_equal(&now, &first, sizeof(now));
	}
	model_fini(&m);
}

static void
pieces_do_not_overlap(void **state)
{
	struct model m;
	uint8_t *owner;
	size_t i, size;
	struct piece *p;

	(void)state;
	model_init(&m, 60000, 2);
	for (i = 0; i < 3000; i++)
		model_step(&m);
	owner = calloc(1, m.bytes);
	for (p = m.pieces; p < m.pieces + PIECES; p++) {
		if (p->len == 0)
			continue;
		assert_int_equal(shalloc_size(m.area, m.bytes, p->off, &size), 0);
		for (i = p->off - 16; i < p->off + size; i++)
			assert_int_equal(owner[i]++, 0);
	}
	free(owner);
	model_fini(&m);
}

static void
largest_free_is_what_one_call_can_get(void **state)
{
	struct shalloc_stat st;
	struct model m;
	uint64_t off;
	int i;

	(void)state;
	model_init(&m, 30000, 3);
	for (i = 0; i < 500; i++) {
		model_step(&m);
		st = model_check(&m);
		if (st.free_chunks == 0)
			continue;
		assert_int_equal(shalloc(m.area, m.bytes, st.largest_free + 1, 8, &off), ENOMEM);
		assert_int_equal(shalloc(m.area, m.bytes, st.largest_free, 8, &off), 0);
		assert_int_equal(shalloc_free(m.area, m.bytes, off), 0);
	}
	model_fini(&m);
}

static void
exhaustion_is_enomem_and_reversible(void **state)
{
	struct shalloc_stat first, now;
	struct model m;
	int n = 0;

	(void)state;
	model_init(&m, 8192, 4);
	first = model_check(&m);
	while (n < PIECES && model_alloc(&m, &m.pieces[n], 48, 0) == 0)
		n++;
	assert_int_equal(n, (8192 - 32) / (48 + 16));
	now = model_check(&m);
	assert_true(now.free_bytes < 48 + 16);
	pieces_are_whole(&m, m.area, NULL);
	model_free_all(&m);
	now = model_check(&m);
	assert_memory_equal(&now, &first, sizeof(now));
	model_fini(&m);
}

static void
every_alignment_fits_into_an_empty_area(void **state)
{
	static uint8_t area[3 * 4096] __attribute__((aligned(4096)));
	struct shalloc_stat st;
	uint64_t off;
	size_t align, len, size;

	(void)state;
	for (align = 1; align <= 4096; align *= 2)
		for (len = 0; len <= 4096; len += 37) {
			assert_int_equal(shalloc_init(area, sizeof(area)), 0);
			assert_int_equal(shalloc(area, sizeof(area), len, align, &off), 0);
			assert_int_equal(off % align, 0);
			assert_int_equal(off % 8, 0);
			assert_int_equal(shalloc_size(area, sizeof(area), off, &size), 0);
			assert_true(size >= len && size >= 16 && size < len + 16 + 32);
			assert_int_equal(shalloc_check(area, sizeof(area), &st), 0);
			assert_int_equal(st.used_chunks, 1);
		}
}

static void
small_remainder_stays_with_the_chunk(void **state)
{
	static uint8_t area[4096] __attribute__((aligned(8)));
	struct shalloc_stat st;
	uint64_t off;
	size_t size, all, less;

	(void)state;
	for (less = 0; less <= 64; less += 8) {
		assert_int_equal(shalloc_init(area, sizeof(area)), 0);
		assert_int_equal(shalloc_check(area, sizeof(area), &st), 0);
		all = st.largest_free;
		assert_int_equal(shalloc(area, sizeof(area), all - less, 8, &off), 0);
		assert_int_equal(shalloc_size(area, sizeof(area), off, &size), 0);
		assert_int_equal(size, less < 32 ? all : all - less);
		assert_int_equal(shalloc_check(area, sizeof(area), &st), 0);
		assert_int_equal(st.free_chunks, less < 32 ? 0 : 1);
	}
}

static void
impossible_arguments_are_refused(void **state)
{
	static uint8_t area[4096] __attribute__((aligned(8)));
	uint64_t off = 77;

	(void)state;
	assert_int_equal(shalloc_init(area, 63), EINVAL);
	assert_int_equal(shalloc_init(area, 0), EINVAL);
	assert_int_equal(shalloc_init(area + 4, 4000), EINVAL);
	assert_int_equal(shalloc_init(area, 64), 0);
	assert_int_equal(shalloc(area, 64, 17, 8, &off), ENOMEM);
	assert_int_equal(shalloc(area, 64, 1, 8, &off), 0);
	assert_int_equal(shalloc_init(area, sizeof(area)), 0);
	off = 77;
	assert_int_equal(shalloc(area, sizeof(area), 8, 24, &off), EINVAL);
	assert_int_equal(shalloc(area, sizeof(area), 8, 8192, &off), EINVAL);
	assert_int_equal(shalloc(area, sizeof(area), SIZE_MAX, 8, &off), ENOMEM);
	assert_int_equal(shalloc(area, sizeof(area), SIZE_MAX - 7, 4096, &off), ENOMEM);
	assert_int_equal(shalloc(area, sizeof(area), sizeof(area), 8, &off), ENOMEM);
	assert_true(off == 77);
}

static void
free_of_what_is_no_used_chunk_is_einval(void **state)
{
	struct model m;
	uint64_t off, freed;
	size_t size;
	int i;

	(void)state;
	model_init(&m, 60000, 5);
	for (i = 0; i < 300; i++)
		model_step(&m);
	assert_int_equal(shalloc(m.area, m.bytes, 100, 8, &freed), 0);
	memset(m.area + freed, 0, 100);
	for (off = 1; off < 96; off++) {
		assert_int_equal(shalloc_free(m.area, m.bytes, freed + off), EINVAL);
		assert_int_equal(shalloc_size(m.area, m.bytes, freed + off, &size), EINVAL);
	}
	assert_int_equal(shalloc_free(m.area, m.bytes, freed), 0);
	assert_int_equal(shalloc_free(m.area, m.bytes, freed), EINVAL);
	for (off = 0; off < 48; off++)
		assert_int_equal(shalloc_free(m.area, m.bytes, off), EINVAL);
	assert_int_equal(shalloc_free(m.area, m.bytes, m.bytes), EINVAL);
	assert_int_equal(shalloc_free(m.area, m.bytes, UINT64_MAX - 7), EINVAL);
	model_check(&m);
	pieces_are_whole(&m, m.area, NULL);
	model_fini(&m);
}

/* --- death --------------------------------------------------------------------------------- */

static struct {
	struct model *m;
	const struct piece *changing; /* what the interrupted call was about */
	uint8_t *copy;		      /* of the area, as the next one finds it */
	unsigned deaths;
	int in_repair;
} death;

/* The area as it is after this store belongs to somebody else now: he repairs it. */
static void
die_here(void)
{
	struct model *m = death.m;
	struct shalloc_stat st;
	void (*outer)(void) = after_store;

	after_store = NULL;
	memcpy(death.copy, m->area, m->bytes);
	assert_int_equal(shalloc_repair(death.copy, m->bytes), 0);
	assert_int_equal(shalloc_check(death.copy, m->bytes, &st), 0);
	/* Nothing else was lost; at worst what the call was about is still, or already, used. */
	assert_true(st.used_chunks >= m->used - (death.changing->len != 0));
	assert_true(st.used_chunks <= m->used + 1);
	pieces_are_whole(m, death.copy, death.changing);
	death.deaths++;
	after_store = outer;
}

static void
death_at_any_store_is_repaired(void **state)
{
	struct model m;
	struct shalloc_stat first;
	int step;

	(void)state;
	model_init(&m, 12000, 6);
	first = model_check(&m);
	death.m = &m;
	death.copy = malloc(m.bytes);
	for (step = 0; step < 1500; step++) {
		struct piece *p = &m.pieces[random_below(&m, 100)];
		size_t len = 1 + random_below(&m, 300), align = (size_t)8 << random_below(&m, 6);

		death.changing = p;
		after_store = die_here;
		if (p->len != 0)
			model_free(&m, p);
		else
			(void)model_alloc(&m, p, len, align);
		after_store = NULL;
	}
	model_free_all(&m);
	assert_int_equal(model_check(&m).largest_free, first.largest_free);
	assert_true(death.deaths > 5000);
	free(death.copy);
	model_fini(&m);
}

/* The repairer is interrupted as well: its own stores are followed by a second repair. */
static void
death_during_repair_is_repaired(void **state)
{
	static const struct piece none;
	struct model m;
	int step;

	(void)state;
	model_init(&m, 12000, 7);
	death.m = &m;
	death.copy = malloc(m.bytes);
	death.changing = &none;
	for (step = 0; step < 60; step++) {
		model_step(&m);
		/* As after a death in list_insert: the list is lost. */
		((struct head *)m.area)->first_free = 0;
		after_store = die_here;
		assert_int_equal(dying_repair(m.area, m.bytes), 0);
		after_store = NULL;
		model_check(&m);
	}
	pieces_are_whole(&m, m.area, NULL);
	free(death.copy);
	model_fini(&m);
}

static void
repair_rebuilds_a_scrambled_list(void **state)
{
	struct shalloc_stat before, after;
	struct model m;
	int step;

	(void)state;
	model_init(&m, 30000, 8);
	for (step = 0; step < 400; step++) {
		struct piece *p = &m.pieces[random_below(&m, PIECES)];

		model_step(&m);
		before = model_check(&m);
		/* Links, where they point to, and a predecessor's size: anything. */
		((struct head *)m.area)->first_free = random_below(&m, 2) ? m.seed : p->off;
		if (p->len != 0)
			((struct chunk *)(m.area + p->off - 16))->prev_size = m.seed >> 8;
		assert_int_equal(shalloc_repair(m.area, m.bytes), 0);
		after = model_check(&m);
		assert_memory_equal(&before, &after, sizeof(before));
	}
	pieces_are_whole(&m, m.area, NULL);
	model_fini(&m);
}

/* What a death leaves in use that nobody knows of is found by who knows the rest. */
static void
keep_frees_what_is_not_named(void **state)
{
	uint64_t off[40], named[20];
	struct shalloc_stat st;
	struct model m;

	(void)state;
	model_init(&m, 8192, 13);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(shalloc(m.area, m.bytes, 40, 8, &off[i]), 0);
	for (unsigned i = 0; i < 20; i++) /* the first that was handed out lies last */
		named[19 - i] = off[2 * i];
	assert_int_equal(shalloc_keep(m.area, m.bytes, named, 20), 0);
	assert_int_equal(shalloc_check(m.area, m.bytes, &st), 0);
	assert_int_equal(st.used_chunks, 20);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(shalloc_free(m.area, m.bytes, off[i]), i % 2 ? EINVAL : 0);
	assert_int_equal(dying_keep(m.area, m.bytes, NULL, 0), 0);
	assert_int_equal(shalloc_check(m.area, m.bytes, &st), 0);
	assert_int_equal(st.free_chunks, 1);
	model_fini(&m);
}

/* --- damage -------------------------------------------------------------------------------- */

static const uint64_t bad_values[] = { 0, 1, 8, 32, 47, UINT64_MAX, (uint64_t)1 << 63,
	UINT64_MAX - 7, 0x05ed000000000000, 0x05ed000000000020, 0x05edffffffffffff,
	0xf4ee000000000000, 0xf4ee000000000021, 0xf4eefffffffffff8, 4096, 1 << 20 };
#define NBAD (sizeof(bad_values) / sizeof(bad_values[0]))

/* With a word changed no call may go astray; what they return is theirs. */
static void
calls_survive(uint8_t *area, size_t bytes, uint64_t used_off)
{
	uint64_t off;
	size_t size;
	int ret;

	ret = shalloc(area, bytes, 64, 8, &off);
	assert_true(ret == 0 || ret == EFAULT || ret == ENOMEM);
	ret = shalloc(area, bytes, 5000, 512, &off);
	assert_true(ret == 0 || ret == EFAULT || ret == ENOMEM);
	ret = shalloc_size(area, bytes, used_off, &size);
	assert_true(ret == 0 || ret == EFAULT || ret == EINVAL);
	ret = shalloc_free(area, bytes, used_off);
	assert_true(ret == 0 || ret == EFAULT || ret == EINVAL);
	ret = shalloc_repair(area, bytes);
	assert_true(ret == 0 || ret == EFAULT);
	ret = shalloc_keep(area, bytes, &used_off, 1);
	assert_true(ret == 0 || ret == EFAULT);
	ret = shalloc_check(area, bytes, NULL);
	assert_true(ret == 0 || ret == EFAULT);
}

/* The area with a word of it changed: the check sees it, and nothing goes astray. */
static void
damage_word(const struct model *m, uint64_t at, uint64_t value, uint64_t used_off)
{
	uint8_t *copy = malloc(m->bytes);
	uint64_t was;

	memcpy(copy, m->area, m->bytes);
	memcpy(&was, copy + at, sizeof(was));
	memcpy(copy + at, &value, sizeof(value));
	assert_int_equal(shalloc_check(copy, m->bytes, NULL), value == was ? 0 : EFAULT);
	calls_survive(copy, m->bytes, used_off);
	free(copy);
}

/*
 * used, free, used, free ... used: so every kind of word is there: the head's three, each chunk's
 * two, and each free chunk's two links.
 */
static void
damage_in_any_header_field_is_efault(void **state)
{
	struct model m;
	uint64_t off[9], i, words = 0;
	size_t v;

	(void)state;
	model_init(&m, 4096, 9);
	for (i = 0; i < 9; i++)
		assert_int_equal(shalloc(m.area, m.bytes, 200, 8, &off[i]), 0);
	for (i = 1; i < 9; i += 2)
		assert_int_equal(shalloc_free(m.area, m.bytes, off[i]), 0);
	for (v = 0; v < NBAD; v++) {
		for (i = 0; i < 3; i++, words++)
			damage_word(&m, i * 8, bad_values[v], off[2]);
		for (i = 0; i < 9; i++, words++) {
			damage_word(&m, off[i] - 16, bad_values[v], off[2]);
			damage_word(&m, off[i] - 8, bad_values[v], off[2]);
			if (i % 2 == 1) {
				damage_word(&m, off[i], bad_values[v], off[2]);
				damage_word(&m, off[i] + 8, bad_values[v], off[2]);
			}
		}
	}
	assert_int_equal(words, NBAD * 12);
	model_fini(&m);
}

/* Plausible values are worse than absurd ones: offsets, and words from elsewhere in the area. */
static void
random_damage_never_leads_astray(void **state)
{
	struct model m;
	uint8_t *copy;
	int round, n;

	(void)state;
	model_init(&m, 6000, 10);
	copy = malloc(m.bytes);
	for (round = 0; round < 4000; round++) {
		model_step(&m);
		memcpy(copy, m.area, m.bytes);
		for (n = (int)random_below(&m, 4); n >= 0; n--) {
			uint64_t to = random_below(&m, m.bytes / 8) * 8;
			uint64_t from = random_below(&m, m.bytes / 8) * 8, value = from;

			if (random_below(&m, 2) == 0)
				memcpy(&value, m.area + from, sizeof(value));
			memcpy(copy + to, &value, sizeof(value));
		}
		calls_survive(copy, m.bytes, m.pieces[random_below(&m, PIECES)].off);
	}
	free(copy);
	model_fini(&m);
}

static void
free_list_loop_is_efault_not_a_hang(void **state)
{
	struct model m;
	uint64_t a, b, off;

	(void)state;
	model_init(&m, 4096, 11);
	assert_int_equal(shalloc(m.area, m.bytes, 3000, 8, &b), 0);
	assert_int_equal(shalloc(m.area, m.bytes, 64, 8, &a), 0);
	assert_int_equal(shalloc(m.area, m.bytes, 64, 8, &b), 0);
	assert_int_equal(shalloc_free(m.area, m.bytes, a), 0);
	/* a's chunk links to itself; nothing on the list is large enough. */
	((struct head *)m.area)->first_free = a - 16;
	((struct links *)(m.area + a))->next = a - 16;
	((struct links *)(m.area + a))->prev = a - 16;
	assert_int_equal(shalloc(m.area, m.bytes, 3500, 8, &off), EFAULT);
	assert_int_equal(shalloc_check(m.area, m.bytes, NULL), EFAULT);
	assert_int_equal(shalloc_repair(m.area, m.bytes), 0);
	assert_int_equal(shalloc(m.area, m.bytes, 3500, 8, &off), ENOMEM);
	model_fini(&m);
}

static void
area_of_another_length_is_efault(void **state)
{
	struct model m;
	uint64_t off;

	(void)state;
	model_init(&m, 4096, 12);
	assert_int_equal(shalloc(m.area, 2048, 16, 8, &off), EFAULT);
	assert_int_equal(shalloc_repair(m.area, 40), EFAULT);
	assert_int_equal(shalloc_check(m.area, 0, NULL), EFAULT);
	memset(m.area, 0, m.bytes);
	assert_int_equal(shalloc(m.area, m.bytes, 16, 8, &off), EFAULT);
	assert_int_equal(shalloc_free(m.area, m.bytes, 48), EFAULT);
	model_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(shalloc_agrees_with_the_model_and_does_not_drift),
		t_test(pieces_do_not_overlap),
		t_test(largest_free_is_what_one_call_can_get),
		t_test(exhaustion_is_enomem_and_reversible),
		t_test(every_alignment_fits_into_an_empty_area),
		t_test(small_remainder_stays_with_the_chunk),
		t_test(impossible_arguments_are_refused),
		t_test(free_of_what_is_no_used_chunk_is_einval),
		t_test(death_at_any_store_is_repaired),
		t_test(death_during_repair_is_repaired),
		t_test(repair_rebuilds_a_scrambled_list),
		t_test(keep_frees_what_is_not_named),
		t_test(damage_in_any_header_field_is_efault),
		t_test(random_damage_never_leads_astray),
		t_test(free_list_loop_is_efault_not_a_hang),
		t_test(area_of_another_length_is_efault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
