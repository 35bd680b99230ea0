/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: which page makes room for another.  lru in a small pool is held against a list that
 * is kept here, reference by reference: the same pages are there, the same one goes.  adaptive
 * keeps what is used when a scan comes by, however the scan reads.
 */
#include "../pool_t.h"

#include <pthread.h>

#include "pool/file.h"
#include "pool/ghost.h"
#include "pool/page_table.h"
#include "pool/victims.h"

#define PS 4096u
#define MODEL_MOST 8192u

static uint32_t
room_of(DB_MPOOL *mp, size_t pagesize)
{
	return (uint32_t)(stat_of(mp).st_cachesize / pagesize);
}

static bool
is_resident(const DB_MPOOLFILE *f, db_pgno_t n)
{
	uint64_t key = page_key(f->file, n);
	struct table_place at = table_place(f->pool, key);

	return table_look(f->pool, &at, key) != NO_FRAME;
}

static void
touch(DB_MPOOLFILE *f, db_pgno_t n, unsigned long flags)
{
	put(f, get(f, n, 0), flags);
}

static uint64_t
random_64(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Small numbers more often than great ones. */
static db_pgno_t
skewed(uint64_t *seed, uint32_t pages)
{
	uint64_t a = random_64(seed) >> 32, b = random_64(seed) >> 32;

	return (db_pgno_t)((a * b >> 32) * pages >> 32);
}

/* --- the model: pages in the order of their last use, the latest first ----------------------- */

struct model {
	uint32_t room;
	uint32_t n;
	db_pgno_t order[MODEL_MOST];
};

/* True if page was there; else *victimp is the one that goes, if one does (page: none). */
static bool
model_use(struct model *m, db_pgno_t page, db_pgno_t *victimp)
{
	uint32_t at = 0;
	bool hit;

	while (at < m->n && m->order[at] != page)
		at++;
	hit = at < m->n;
	*victimp = page;
	if (!hit && m->n == m->room)
		*victimp = m->order[at = m->n - 1];
	else if (!hit)
		m->n++;
	memmove(&m->order[1], &m->order[0], at * sizeof(m->order[0]));
	m->order[0] = page;
	return hit;
}

/* One reference to the pool and to the model: do they agree on what is there and what goes? */
static void
use_both(DB_MPOOLFILE *f, struct model *m, db_pgno_t n, unsigned long flags)
{
	db_pgno_t victim;

	assert_int_equal(is_resident(f, n), model_use(m, n, &victim));
	touch(f, n, flags);
	if (victim != n)
		assert_false(is_resident(f, victim));
}

static void
play_against_model(struct t *t, size_t bytes, size_t pagesize, unsigned refs, bool dirty)
{
	static struct model m;
	DB_MPOOL *mp = pool_of_policy(t, bytes, DB_POLICY_LRU);
	uint32_t pages;
	DB_MPOOLFILE *f;
	uint64_t seed = 20260101;

	m.n = 0;
	m.room = room_of(mp, pagesize);
	assert_true(m.room <= MODEL_MOST);
	pages = 3 * m.room;
	f = sparse_file(t, mp, "f", pages, pagesize);
	for (unsigned i = 0; i < refs; i++) {
		db_pgno_t n = i % 1000 < 100 ? i % pages : skewed(&seed, pages);

		use_both(f, &m, n, dirty && i % 3 == 0 ? DB_MPOOL_DIRTY : 0);
	}
	for (uint32_t i = 0; i < m.n; i++)
		assert_true(is_resident(f, m.order[i]));
	must(memp_fclose(f));
	finish(mp);
	must(memp_unlink(NULL, 1, env_of(t, 0)));
}

/* --- lru ------------------------------------------------------------------------------------- */

static void
policy_lru_in_a_small_pool_evicts_what_an_exact_list_would(void **state)
{
	play_against_model(*state, 20 * KIB, PS, 3000, false);
	play_against_model(*state, 20 * KIB, 512, 5000, false);
	play_against_model(*state, 400 * KIB, PS, 20000, false);
	play_against_model(*state, 400 * KIB, 65536, 3000, false);
	play_against_model(*state, 16384 * KIB, PS, 20000, false);
}

static void
policy_lru_order_does_not_depend_on_dirt(void **state)
{
	play_against_model(*state, 20 * KIB, PS, 3000, true);
	play_against_model(*state, 400 * KIB, PS, 10000, true);
}

/* The clock of 31 bits comes round, and passes the places where old stamps are moved. */
static void
policy_lru_order_survives_the_end_of_the_clock(void **state)
{
	const uint32_t places[] = { STAMP_TIME - 500, UINT32_MAX - 500, (1u << 28) - 500,
		(3u << 28) - 500 };
	struct t *t = *state;
	static struct model m;
	DB_MPOOL *mp = pool_of_policy(t, 128 * KIB, DB_POLICY_LRU);
	uint32_t room = room_of(mp, PS);
	DB_MPOOLFILE *f = sparse_file(t, mp, "f", 3 * room, PS);
	uint64_t seed = 7;

	for (unsigned k = 0; k < 4; k++) {
		/* nothing is left that was stamped with the time before */
		must(memp_ftruncate(f, 0));
		must(memp_ftruncate(f, (off_t)3 * room * PS));
		store_seq(&mp->mp->clock, places[k]);
		m = (struct model){ .room = room };
		for (unsigned i = 0; i < 2000; i++)
			use_both(f, &m, skewed(&seed, 3 * room), 0);
	}
	must(memp_fclose(f));
	finish(mp);
}

/* Used in the order first, first + 1 ... they go in that order. */
static void
use_in_order(DB_MPOOLFILE *f, db_pgno_t first, db_pgno_t n)
{
	for (db_pgno_t i = first; i < first + n; i++)
		touch(f, i, 0);
}

static void
policy_lru_small_pool_of_two_processes_counts_uses_between_two_loads_as_one(void **state)
{
	DB_MPOOL *mp = pool_of_policy(*state, 256 * KIB, DB_POLICY_LRU), *other = NULL;
	uint32_t room = room_of(mp, PS), clock;
	DB_MPOOLFILE *f = sparse_file(*state, mp, "f", 4 * room, PS);

	must(memp_open(NULL, 0, 0, &test_env, &other));
	use_in_order(f, 0, room);
	clock = load_relaxed(&mp->mp->clock);
	for (unsigned i = 0; i < 1000; i++)
		touch(f, i % 8, 0);
	assert_int_equal(load_relaxed(&mp->mp->clock), clock);
	for (db_pgno_t n = 0; n < 8; n++) {
		struct table_place at = table_place(mp, page_key(f->file, n));

		assert_int_equal(*stamp_at(mp, table_look(mp, &at, page_key(f->file, n))), clock);
	}
	use_in_order(f, room, room - 9); /* the eight stay, and what came in just before */
	for (db_pgno_t n = 0; n < 8; n++)
		assert_true(is_resident(f, n));

	must(memp_close(other)); /* each use counts again */
	for (db_pgno_t n = 8; n-- > 0;)
		touch(f, n, 0);
	use_in_order(f, room, room - 8);
	for (db_pgno_t n = 8; n-- > 0;) {
		assert_true(is_resident(f, n));
		touch(f, 2 * room + n, 0);
		assert_false(is_resident(f, n));
	}
	must(memp_fclose(f));
	finish(mp);
}

/* While somebody else is there uses are stamped with the end of the times that were to be given. */
static void
policy_lru_page_used_in_company_is_older_than_what_is_used_alone_later(void **state)
{
	DB_MPOOL *mp = pool_of_policy(*state, 256 * KIB, DB_POLICY_LRU), *other = NULL;
	uint32_t room = room_of(mp, PS);
	DB_MPOOLFILE *f = sparse_file(*state, mp, "f", 2 * room, PS);

	use_in_order(f, 0, room);
	must(memp_open(NULL, 0, 0, &test_env, &other));
	touch(f, 0, 0);
	must(memp_close(other));
	use_in_order(f, 1, room - 1);
	touch(f, room, 0);
	assert_false(is_resident(f, 0));
	assert_true(is_resident(f, 1));
	must(memp_fclose(f));
	finish(mp);
}

/* Two that close at the same moment each count the other: neither says who is alone now. */
static void
policy_lru_process_finds_out_that_it_is_alone_when_nobody_says_so(void **state)
{
	DB_MPOOL *mp = pool_of_policy(*state, 256 * KIB, DB_POLICY_LRU), *other = NULL;
	uint32_t room = room_of(mp, PS);
	DB_MPOOLFILE *f = sparse_file(*state, mp, "f", 4 * room, PS);

	must(memp_open(NULL, 0, 0, &test_env, &other));
	use_in_order(f, 0, 3 * room);
	assert_int_equal(load_seq(&mp->mp->alone), 0);
	must(memp_close(other));
	store_seq(&mp->mp->alone, 0);
	use_in_order(f, 0, 2 * room);
	assert_int_equal(load_seq(&mp->mp->alone), mp->self + 1);
	must(memp_fclose(f));
	finish(mp);
}

struct user {
	DB_MPOOLFILE *f;
	db_pgno_t n;
};

static void *
use_one(void *arg)
{
	const struct user *u = arg;

	touch(u->f, u->n, 0);
	return NULL;
}

static void
policy_lru_small_pool_keeps_the_order_of_uses_by_several_threads(void **state)
{
	DB_ENV *env = env_of(*state, 256 * KIB);
	DB_MPOOL *mp;
	uint32_t room;
	DB_MPOOLFILE *f;

	env->mp_ahead = -1;
	mp = pool_with(env, DB_THREAD);
	room = room_of(mp, PS);
	f = sparse_file(*state, mp, "f", 2 * room, PS);
	use_in_order(f, 0, room);
	for (db_pgno_t n = 8; n-- > 0;) {
		struct user other = { f, 8 + n };
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, use_one, &other), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		touch(f, n, 0);
	}
	use_in_order(f, room, room - 16);
	for (db_pgno_t n = 8; n-- > 0;) {
		touch(f, 2 * room - 16 + 2 * (7 - n), 0);
		assert_false(is_resident(f, 8 + n));
		assert_true(is_resident(f, n));
		touch(f, 2 * room - 16 + 2 * (7 - n) + 1, 0);
		assert_false(is_resident(f, n));
	}
	must(memp_fclose(f));
	finish(mp);
}

/* A page that has not been used for a third of the clock's circle still is the oldest. */
static void
policy_lru_page_unused_for_ages_still_goes_first(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of_policy(t, 128 * KIB, DB_POLICY_LRU);
	uint32_t room = room_of(mp, PS);
	DB_MPOOLFILE *f = sparse_file(t, mp, "f", 2 * room, PS);

	for (db_pgno_t n = 0; n < room; n++)
		touch(f, n, 0);
	for (unsigned i = 0; i < 12; i++) {
		/* a quarter of a thousand million uses of others */
		store_seq(&mp->mp->clock, (load_seq(&mp->mp->clock) | ((1u << 28) - 1)) - 1);
		for (unsigned k = 0; k < 4; k++)
			for (db_pgno_t n = 1; n < room; n++)
				touch(f, n, 0);
	}
	touch(f, room, 0);
	assert_false(is_resident(f, 0));
	for (db_pgno_t n = 1; n <= room; n++)
		assert_true(is_resident(f, n));
	must(memp_fclose(f));
	finish(mp);
}

/* Hits, of n references to skewed pages; of the model as well. */
static unsigned
count_hits(DB_MPOOLFILE *f, struct model *m, unsigned refs, uint32_t pages, unsigned *modelp)
{
	uint64_t before = stat_of(f->pool).st_cache_hit, seed = 99;
	db_pgno_t victim;

	*modelp = 0;
	for (unsigned i = 0; i < refs; i++) {
		db_pgno_t n = skewed(&seed, pages);

		touch(f, n, 0);
		*modelp += model_use(m, n, &victim);
	}
	return (unsigned)(stat_of(f->pool).st_cache_hit - before);
}

static void
policy_lru_in_a_larger_pool_hits_as_often_as_an_exact_list(void **state)
{
	struct t *t = *state;
	static struct model m;
	DB_MPOOL *mp = pool_of_policy(t, 20 * 1024 * KIB, DB_POLICY_LRU);
	const unsigned refs = 60000;
	uint32_t pages;
	DB_MPOOLFILE *f;
	unsigned ours, exact;

	m = (struct model){ .room = room_of(mp, PS) };
	pages = 3 * m.room;
	f = sparse_file(t, mp, "f", pages, PS);
	ours = count_hits(f, &m, refs, pages, &exact);

	assert_false(mp->small);
	assert_true(exact > refs / 3 && exact < refs);
	assert_true(ours + refs / 1000 >= exact && exact + refs / 1000 >= ours);
	must(memp_fclose(f));
	finish(mp);
}

/* Another page size gets the extents whose pages were used the longest ago. */
static void
policy_lru_other_page_size_gets_the_coldest_extent(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of_policy(t, 1024 * KIB, DB_POLICY_LRU);
	uint32_t room = room_of(mp, PS);
	DB_MPOOLFILE *f = sparse_file(t, mp, "f", room, PS);
	DB_MPOOLFILE *g = sparse_file(t, mp, "g", 64, 16384);

	for (db_pgno_t n = 0; n < room; n++)
		touch(f, n, 0);
	for (db_pgno_t n = 0; n < room; n++)
		if (n < room / 4 || n >= room / 2)
			touch(f, n, 0);
	for (db_pgno_t n = 0; n < 4; n++)
		touch(g, n, 0);
	for (db_pgno_t n = 0; n < room; n++)
		if (n < room / 4 || n >= room / 2)
			assert_true(is_resident(f, n));
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

/* --- adaptive -------------------------------------------------------------------------------- */

enum scan { SCAN_ONCE, SCAN_TWICE_EACH, SCAN_ANNOUNCED, SCAN_AHEAD, SCAN_DIRTYING };

static void
scan(DB_MPOOLFILE *f, uint32_t n, enum scan how)
{
	for (db_pgno_t i = 0; i < n; i++) {
		if (how == SCAN_ANNOUNCED && i % 16 == 0)
			must(memp_fprefetch(f, i, 16));
		touch(f, i, how == SCAN_DIRTYING ? DB_MPOOL_DIRTY : 0);
		if (how == SCAN_TWICE_EACH)
			touch(f, i, 0);
	}
}

/* A hot set of a third of the pool, used some times; then a scan of ten times the pool. */
static void
hot_set_survives(struct t *t, size_t bytes, enum scan how)
{
	DB_MPOOL *mp = pool_with_ahead(t, bytes, DB_POLICY_ADAPTIVE, how == SCAN_AHEAD ? 0 : -1);
	uint32_t room = room_of(mp, PS), hot = room / 3;
	DB_MPOOLFILE *f = sparse_file(t, mp, "hot", hot, PS);
	DB_MPOOLFILE *g = sparse_file(t, mp, "long", 10 * room, PS);
	uint64_t hits;

	for (unsigned i = 0; i < 3; i++)
		scan(f, hot, SCAN_ONCE);
	scan(g, 10 * room, how);
	hits = stat_of(mp).st_cache_hit;
	scan(f, hot, SCAN_ONCE);
	assert_int_equal(stat_of(mp).st_cache_hit, hits + hot);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
	must(memp_unlink(NULL, 1, env_of(t, 0)));
}

static void
policy_adaptive_scan_of_ten_times_the_pool_leaves_the_hot_set(void **state)
{
	hot_set_survives(*state, 128 * KIB, SCAN_ONCE);
	hot_set_survives(*state, 4096 * KIB, SCAN_ONCE);
	hot_set_survives(*state, 20 * 1024 * KIB, SCAN_ONCE);
}

static void
policy_adaptive_scan_that_touches_each_page_twice_leaves_the_hot_set(void **state)
{
	hot_set_survives(*state, 4096 * KIB, SCAN_TWICE_EACH);
	hot_set_survives(*state, 20 * 1024 * KIB, SCAN_TWICE_EACH);
}

static void
policy_adaptive_announced_scan_leaves_the_hot_set(void **state)
{
	hot_set_survives(*state, 4096 * KIB, SCAN_ANNOUNCED);
	hot_set_survives(*state, 20 * 1024 * KIB, SCAN_ANNOUNCED);
}

static void
policy_adaptive_scan_with_pages_read_ahead_leaves_the_hot_set(void **state)
{
	hot_set_survives(*state, 4096 * KIB, SCAN_AHEAD);
	hot_set_survives(*state, 20 * 1024 * KIB, SCAN_AHEAD);
}

static void
policy_adaptive_scan_that_dirties_leaves_the_hot_set(void **state)
{
	hot_set_survives(*state, 1024 * KIB, SCAN_DIRTYING);
}

/* The hot set is used all the while: of its references none more is a miss. */
static void
policy_adaptive_hot_set_in_use_misses_nothing_during_a_scan(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of_policy(t, 2048 * KIB, DB_POLICY_ADAPTIVE);
	uint32_t room = room_of(mp, PS), hot = room / 3;
	DB_MPOOLFILE *f = sparse_file(t, mp, "hot", hot, PS);
	DB_MPOOLFILE *g = sparse_file(t, mp, "long", 10 * room, PS);
	uint64_t in;

	for (unsigned i = 0; i < 3; i++)
		scan(f, hot, SCAN_ONCE);
	in = stat_of(mp).st_page_in;
	for (db_pgno_t n = 0; n < 10 * room; n++) {
		touch(g, n, 0);
		touch(f, n * 7 % hot, 0);
	}
	assert_int_equal(stat_of(mp).st_page_in, in + 10 * room);
	must(memp_fclose(f));
	must(memp_fclose(g));
	finish(mp);
}

/* A page that comes back soon after it was evicted is kept. */
static void
policy_adaptive_page_that_comes_back_is_not_on_probation(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of_policy(t, 256 * KIB, DB_POLICY_ADAPTIVE);
	uint32_t room = room_of(mp, PS);
	DB_MPOOLFILE *f = sparse_file(t, mp, "f", 20 * room, PS);

	for (db_pgno_t n = 0; n < room + 8; n++) /* evicts 0..7 */
		touch(f, n, 0);
	assert_false(is_resident(f, 3));
	touch(f, 3, 0);
	for (db_pgno_t n = 2 * room; n < 10 * room; n++)
		touch(f, n, 0);
	assert_true(is_resident(f, 3));
	must(memp_fclose(f));
	finish(mp);
}

/* --- the property ---------------------------------------------------------------------------- */

/* Pages that a round proposes, each once, the main class first for so many. */
static unsigned
proposed(DB_MPOOL *mp, struct victim_round *r, unsigned first_main)
{
	struct policy_size *z = policy_size(mp, 12);
	struct candidates c = { 0 };
	unsigned n = 0;

	for (;; n++) {
		z->target = n < first_main ? 1u << 20 : 0;
		z->account = 1ull << 40; /* any page may go */
		if (!victims_pick(mp->single, r, &c))
			return n;
	}
}

/*
 * What is left of an earlier search's list is used first, then the pages are looked through again:
 * time has passed since.
 */
static void
policy_round_that_begins_with_an_older_list_proposes_every_page(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of_policy(t, 512 * KIB, DB_POLICY_ADAPTIVE);
	DB_MPOOLFILE *f = sparse_file(t, mp, "f", 512, PS);
	uint32_t room = room_of(mp, PS);
	struct candidates c = { 0 };
	struct victim_round r;

	for (db_pgno_t n = 0; n < room; n++)
		touch(f, n, 0);
	for (db_pgno_t n = 0; n < room / 2; n++)
		touch(f, n, 0);
	touch(f, room, 0); /* the thread has a list from now on */
	assert_int_equal(policy_size(mp, 12)->probation, room - room / 2);
	victims_begin(12, &r);
	assert_true(victims_pick(mp->single, &r, &c));
	for (unsigned i = 0; i < room; i++)
		(void)policy_tick(mp);
	victims_begin(12, &r);
	assert_true(proposed(mp, &r, 2) >= room);
	must(memp_fclose(f));
	finish(mp);
}

/* A ghost keeps sixteen bits of the time. */
static void
policy_ghost_is_not_young_again_when_its_time_has_gone_round(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of_policy(t, 128 * KIB, DB_POLICY_ADAPTIVE);
	uint64_t key = page_key(7, 7);
	struct ghost g = { 0 };

	ghost_put(mp, 12, key, policy_tick(mp));
	for (unsigned i = 0; i < 100; i++)
		(void)policy_tick(mp);
	assert_true(ghost_take(mp, 12, key, &g));
	ghost_put(mp, 12, key, g.stamp);
	for (unsigned i = 0; i < 0x10000; i++)
		(void)policy_tick(mp);
	assert_false(ghost_take(mp, 12, key, &g));
	finish(mp);
}

static void
policy_of_a_pool_is_its_creators_and_a_joiner_is_told(void **state)
{
	struct t *t = *state;
	DB_MPOOL *mp = pool_of_policy(t, 64 * KIB, DB_POLICY_ADAPTIVE), *other = NULL;
	DB_ENV *env = env_of(t, 64 * KIB);

	must(memp_open(NULL, 0, 0, env, &other));
	assert_int_equal(other->g.policy, DB_POLICY_ADAPTIVE);
	assert_int_equal(sentences, 0);
	must(memp_close(other));
	env->policy = DB_POLICY_LRU;
	env->db_verbose = 1;
	must(memp_open(NULL, 0, 0, env, &other));
	assert_int_equal(other->g.policy, DB_POLICY_ADAPTIVE);
	assert_non_null(strstr(heard, "adaptive, not lru"));
	must(memp_close(other));
	finish(mp);
}

static void
policy_that_is_not_known_is_einval(void **state)
{
	DB_ENV *env = env_of(*state, 64 * KIB);
	DB_MPOOL *mp = NULL;

	env->policy = 3;
	refuses(memp_open(NULL, DB_CREATE, 0, env, &mp), EINVAL);
	assert_null(mp);
	env->policy = 0;
	mp = pool_with(env, 0);
	assert_int_equal(mp->g.policy, DB_POLICY_LRU);
	finish(mp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(policy_lru_in_a_small_pool_evicts_what_an_exact_list_would),
		t_test(policy_lru_order_does_not_depend_on_dirt),
		t_test(policy_lru_order_survives_the_end_of_the_clock),
		t_test(policy_lru_small_pool_of_two_processes_counts_uses_between_two_loads_as_one),
		t_test(policy_lru_page_used_in_company_is_older_than_what_is_used_alone_later),
		t_test(policy_lru_process_finds_out_that_it_is_alone_when_nobody_says_so),
		t_test(policy_lru_small_pool_keeps_the_order_of_uses_by_several_threads),
		t_test(policy_lru_page_unused_for_ages_still_goes_first),
		t_test(policy_lru_in_a_larger_pool_hits_as_often_as_an_exact_list),
		t_test(policy_lru_other_page_size_gets_the_coldest_extent),
		t_test(policy_adaptive_scan_of_ten_times_the_pool_leaves_the_hot_set),
		t_test(policy_adaptive_scan_that_touches_each_page_twice_leaves_the_hot_set),
		t_test(policy_adaptive_announced_scan_leaves_the_hot_set),
		t_test(policy_adaptive_scan_with_pages_read_ahead_leaves_the_hot_set),
		t_test(policy_adaptive_scan_that_dirties_leaves_the_hot_set),
		t_test(policy_adaptive_hot_set_in_use_misses_nothing_during_a_scan),
		t_test(policy_adaptive_page_that_comes_back_is_not_on_probation),
		t_test(policy_round_that_begins_with_an_older_list_proposes_every_page),
		t_test(policy_ghost_is_not_young_again_when_its_time_has_gone_round),
		t_test(policy_of_a_pool_is_its_creators_and_a_joiner_is_told),
		t_test(policy_that_is_not_known_is_einval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
