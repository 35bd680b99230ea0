/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: adaptive against an exact LRU list of as many pages, which is kept here.  Streams of
 * several kinds, the same ones each time, small and large beside the pool: adaptive hits nearly as
 * often as the list on all of them, those where LRU is the best that there is included, and much
 * more often where it is meant to.
 */
#include <pthread.h>

#include "../pool_t.h"

#include "pool/horizon.h"

#define PS 4096u
#define PAGES_MOST 16384u
#define REFS 24000u

enum stream { TWICE, SHIFTING, LOOP, SCAN_AND_HOT, RECENT, LONG_TAIL, BACK_AND_FORTH, STREAMS };

static uint64_t seed;

static uint32_t
below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 32) * n >> 32);
}

/* Small numbers more often than great ones. */
static db_pgno_t
skewed(uint32_t pages)
{
	return below(below(below(pages) + 1) + 1);
}

static db_pgno_t
next_ref(enum stream kind, const db_pgno_t *refs, uint32_t i, uint32_t pages)
{
	uint32_t hot = pages / 20, at;

	switch (kind) {
	case TWICE:
		return i % 2 != 0 ? refs[i - 1] : skewed(pages);
	case SHIFTING: /* what is hot moves on */
		return (skewed(pages) + i / 1000 * hot) % pages;
	case LOOP: /* of different lengths */
		return i % (pages / (1 + i / 6000 % 4));
	case SCAN_AND_HOT:
		return i % 2 != 0 ? below(hot) : hot + i / 2 % (pages - hot);
	case RECENT: /* most were used not long ago */
		at = i < pages / 4 ? i : pages / 4;
		return i < 100 || below(10) == 0 ? below(pages) : refs[i - 1 - skewed(at)];
	case LONG_TAIL: /* page n as often as one in n */
		for (at = 0; 1u << at < pages; at++)
			continue;
		return below(1u << below(at + 1)) % pages;
	case BACK_AND_FORTH:
	case STREAMS:
	default:
		at = i % (2 * pages);
		return at < pages ? at : 2 * pages - 1 - at;
	}
}

static const db_pgno_t *
stream_of(enum stream kind, uint32_t pages)
{
	static db_pgno_t refs[REFS];

	seed = 0x9e3779b97f4a7c15u;
	for (uint32_t i = 0; i < REFS; i++)
		refs[i] = next_ref(kind, refs, i, pages);
	return refs;
}

/* --- the list, as a ring of neighbours around 0; page n is n + 1 ------------------------------ */

static struct {
	uint32_t older[PAGES_MOST + 1], newer[PAGES_MOST + 1];
	bool has[PAGES_MOST + 1];
	uint32_t n;
} list;

static void
list_take(uint32_t x)
{
	list.newer[list.older[x]] = list.newer[x];
	list.older[list.newer[x]] = list.older[x];
	list.has[x] = false;
	list.n--;
}

static void
list_put(uint32_t x)
{
	list.older[x] = list.older[0];
	list.newer[x] = 0;
	list.newer[list.older[0]] = x;
	list.older[0] = x;
	list.has[x] = true;
	list.n++;
}

/* Uses page n; was it there? */
static bool
list_use(db_pgno_t n, uint32_t room)
{
	bool hit = list.has[n + 1];

	if (hit)
		list_take(n + 1);
	else if (list.n == room)
		list_take(list.newer[0]);
	list_put(n + 1);
	return hit;
}

/* --- both ------------------------------------------------------------------------------------ */

struct hits {
	int64_t ours;
	int64_t exact;
};

/* How often the pool and the list hit, in 10 000 references. */
static struct hits
play(struct t *t, enum stream kind, size_t bytes, uint32_t parts)
{
	DB_MPOOL *mp = pool_of_policy(t, bytes, DB_POLICY_ADAPTIVE);
	struct hits hits = { 0 };
	const db_pgno_t *refs;
	uint32_t room, pages;
	DB_MPOOLFILE *f;

	room = (uint32_t)(stat_of(mp).st_cachesize / PS);
	pages = room * parts / 2;
	assert_true(pages <= PAGES_MOST);
	f = sparse_file(t, mp, "f", pages, PS);
	refs = stream_of(kind, pages);
	memset(&list, 0, sizeof(list));
	for (uint32_t i = 0; i < REFS; i++) {
		hits.exact += list_use(refs[i], room);
		put(f, get(f, refs[i], 0), 0);
	}
	hits.ours = (int64_t)stat_of(mp).st_cache_hit * 10000 / REFS;
	hits.exact = hits.exact * 10000 / REFS;
	must(memp_fclose(f));
	finish(mp);
	must(memp_unlink(NULL, 1, env_of(t, 0)));
	return hits;
}

static const size_t sizes[] = { 128 * KIB, 512 * KIB, 4096 * KIB };

/* The promise is 20; a reverse scan, where every page that LRU keeps is used again, is excepted. */
static void
adaptive_is_never_much_worse_than_an_exact_lru_list(void **state)
{
	for (int kind = 0; kind < STREAMS; kind++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			for (uint32_t parts = 3; parts <= 12; parts += 3) {
				struct hits hits = play(*state, (enum stream)kind, sizes[i], parts);
				int64_t most = kind == BACK_AND_FORTH ? 250 : 20;

				assert_true(hits.ours >= hits.exact - most);
			}
}

static void
adaptive_is_much_better_than_lru_where_a_scan_comes_by_a_hot_set(void **state)
{
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct hits hits = play(*state, SCAN_AND_HOT, sizes[i], 24);

		assert_true(hits.ours >= hits.exact + 1000);
	}
}

/*
 * Pages that are used now and then are known again when they come back, though many that are used
 * once go after them and were used later.
 */
static void
adaptive_is_much_better_than_lru_where_few_of_many_pages_are_used_often(void **state)
{
	struct hits hits = play(*state, LONG_TAIL, 512 * KIB, 200);

	assert_true(hits.ours >= hits.exact + 800);
}

/* --- the account ---------------------------------------------------------------------- */

static void *
uses_much_and_loads_one(void *arg)
{
	DB_MPOOLFILE *f = arg;
	static db_pgno_t next = 2000;

	for (unsigned i = 0; i < 300000; i++)
		put(f, get(f, 0, 0), 0);
	put(f, get(f, next++, 0), 0);
	return NULL;
}

static void *
loads_one(void *arg)
{
	DB_MPOOLFILE *f = arg;
	static db_pgno_t next = 3000;

	put(f, get(f, next++, 0), 0);
	return NULL;
}

static int64_t
account_after(DB_MPOOL *mp, DB_MPOOLFILE *f, void *(*fn)(void *arg))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fn, f), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return (int64_t)policy_size(mp, 12)->account;
}

static void
adaptive_uses_of_a_thread_that_ended_are_credited_once(void **state)
{
	struct t *t = *state;
	DB_ENV *env = env_of(t, 4096 * KIB);
	int64_t before, earned;
	DB_MPOOLFILE *f;
	DB_MPOOL *mp;

	env->policy = DB_POLICY_ADAPTIVE;
	env->mp_ahead = -1;
	mp = pool_with(env, DB_THREAD);
	f = sparse_file(t, mp, "f", 4000, PS);
	for (db_pgno_t n = 0; n < 1500; n++)
		put(f, get(f, n, 0), 0);
	before = account_after(mp, f, loads_one);
	earned = account_after(mp, f, uses_much_and_loads_one) - before;
	assert_true(earned > 0);
	for (unsigned i = 0; i < 4; i++)
		assert_true(account_after(mp, f, loads_one) < before + earned + earned / 10);
	must(memp_fclose(f));
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(adaptive_is_never_much_worse_than_an_exact_lru_list),
		t_test(adaptive_is_much_better_than_lru_where_a_scan_comes_by_a_hot_set),
		t_test(adaptive_is_much_better_than_lru_where_few_of_many_pages_are_used_often),
		t_test(adaptive_uses_of_a_thread_that_ended_are_credited_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
