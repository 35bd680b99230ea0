/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: the storm.  Several processes work on random pages of two sizes in a pool that is much
 * too small, with everything that may go on at the same time; in half of the tests they are killed
 * at random instants and started again.
 *
 * Each worker has a word of its own in each page, and a list in memory that outlives it of what it
 * was acknowledged: the word is what the last put said, or one more if the worker died between the
 * put and its note of it.  The lists are compared with the pages at every visit and with the disk
 * at the end.  A worker that is to be killed arms a timer that sends it SIGKILL, so that the kill
 * comes at any instruction and nobody sleeps.
 */
#include "../crew_t.h"
#include "../pool_t.h"

#include <sys/mman.h>

#define PAGES 300u
#define FILES 2

static const size_t page_sizes[FILES] = { 4096, 512 };
static const char *const names[FILES] = { "large", "small" };

struct note {
	uint32_t word[FILES][PAGES][WORKERS];
};

struct storm {
	struct t *t;
	struct note *note;
	size_t bytes;	 /* of the pool */
	struct crew crew;
	unsigned rounds; /* of a worker that is not killed */
};

/* One visit of a page: it holds what we know; perhaps we add one. */
static void
visit(struct storm *s, DB_MPOOLFILE *f, unsigned k, db_pgno_t n, unsigned what)
{
	uint32_t *page = (uint32_t *)(void *)get(f, n, DB_MPOOL_CREATE);
	uint32_t *word = &page[s->crew.id], *ack = &s->note->word[k][n][s->crew.id];
	uint32_t have = load_relaxed(word), want = load_relaxed(ack);

	if (have != want && have != want + 1) {
		(void)dprintf(STDOUT_FILENO, "# worker %u, %s, page %u: has %u, not %u\n",
		    s->crew.id, names[k], n, have, want);
		t_check(!"the page holds what was put into it");
	}
	if (what % 3 != 0) {
		put(f, page, what % 20 == 1 ? DB_MPOOL_DISCARD : 0);
		return;
	}
	store_relaxed(word, want + 1);
	if (what % 2 == 0)
		must(memp_fset(f, page, DB_MPOOL_DIRTY));
	put(f, page, what % 2 == 0 ? 0 : DB_MPOOL_DIRTY);
	store_relaxed(ack, want + 1);
}

static void
sometimes(struct storm *s, DB_MPOOL *mp, DB_MPOOLFILE *f[], unsigned what)
{
	unsigned k = what % FILES;
	int ret = 0, wrote;

	switch (what / FILES % 8) {
	case 0:
		ret = memp_fsync(f[k]);
		break;
	case 1:
		ret = memp_trickle(mp, (int)(what % 100) + 1, &wrote);
		break;
	case 2:
		must(memp_fclose(f[k]));
		f[k] = file_of(mp, names[k], page_sizes[k]);
		break;
	case 3:
		ret = memp_sync(mp, NULL);
		break;
	case 4:
		must(mpool_check(mp, false));
		break;
	case 5:
		ret = mpool_file_sync(f[k], what % 3 == 0);
		break;
	case 6: {
		DB_MPOOL_STAT st = stat_of(mp);

		t_check(st.st_clients <= WORKERS + 1);
		break;
	}
	default:
		ret = memp_fprefetch(f[k], what % PAGES, 20);
		break;
	}
	if (ret != DB_INCOMPLETE)
		must(ret);
	(void)s;
}

static int
storms(struct t_child *c, void *arg)
{
	struct storm *s = arg;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f[FILES];
	unsigned seed = s->crew.seed;

	(void)c;
	crew_arm_kill(&s->crew, &seed);
	mp = pool_of(s->t, s->bytes);
	for (unsigned k = 0; k < FILES; k++)
		f[k] = file_of(mp, names[k], page_sizes[k]);
	for (unsigned r = 0; r < s->rounds; r++) {
		unsigned what = (unsigned)rand_r(&seed), k = what / 7 % FILES;

		visit(s, f[k], k, (db_pgno_t)rand_r(&seed) % PAGES, what);
		if (what % 499 == 0)
			sometimes(s, mp, f, (unsigned)rand_r(&seed));
	}
	for (unsigned k = 0; k < FILES; k++)
		must(memp_fclose(f[k]));
	must(memp_close(mp));
	return 0;
}

static void
disk_is_right(struct storm *s)
{
	unsigned wrong = 0;

	for (unsigned k = 0; k < FILES; k++) {
		size_t bytes;
		char *data = t_read_file(t_path(s->t, names[k]), &bytes);

		for (size_t n = 0; n < PAGES; n++)
			for (unsigned w = 0; w < WORKERS; w++) {
				uint32_t want = s->note->word[k][n][w], have = 0;

				if ((n + 1) * page_sizes[k] <= bytes)
					memcpy(&have, data + n * page_sizes[k] + 4 * w, 4);
				wrong += have != want && have != want + 1;
			}
		free(data);
	}
	assert_int_equal(wrong, 0);
}

static void
storm(struct t *t, size_t bytes, unsigned rounds, unsigned kills, unsigned seed)
{
	struct storm s = { .t = t, .bytes = bytes, .rounds = rounds, .crew.seed = seed,
		.crew.kill_usec = kills > 0 ? 30000 : 0 };
	DB_MPOOL_STAT st;
	DB_MPOOL *mp;

	print_message("# seed %u, %zu bytes, %u kills\n", seed, bytes, kills);
	s.note = mmap(NULL, sizeof(*s.note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	    -1, 0);
	t_check(s.note != MAP_FAILED);
	crew_run(&s.crew, kills, storms, &s);
	mp = pool_of(t, bytes);
	must(memp_reap(mp));
	st = stat_of(mp);
	assert_int_equal(st.st_pins, 0);
	assert_int_equal(st.st_clients, 1);
	assert_true(st.st_rw_evict > 0);
	/* a kill may have come before the attach: then there was nobody to reap */
	assert_true(kills == 0 ? st.st_reaped == 0 : st.st_reaped > 0);
	must(mpool_check(mp, true));
	must(memp_sync(mp, NULL));
	assert_int_equal(stat_of(mp).st_page_dirty, 0);
	finish(mp);
	disk_is_right(&s);
	must(memp_unlink(NULL, 0, &test_env));
	(void)munmap(s.note, sizeof(*s.note));
}

/* The seed, or one from the outside for a hunt. */
static unsigned
seed_or(unsigned seed)
{
	const char *v = getenv("STORM_SEED");

	return v != NULL ? (unsigned)strtoul(v, NULL, 10) : seed;
}

static void
mpool_storm_in_a_small_pool_loses_nothing(void **state)
{
	storm(*state, 64 * KIB, 60000, 0, seed_or(1));
}

static void
mpool_storm_in_a_larger_pool_loses_nothing(void **state)
{
	storm(*state, 512 * KIB, 150000, 0, seed_or(2));
}

static void
mpool_storm_with_kills_in_a_small_pool_loses_nothing(void **state)
{
	storm(*state, 64 * KIB, 4000, 400, seed_or(3));
}

static void
mpool_storm_with_kills_in_a_larger_pool_loses_nothing(void **state)
{
	storm(*state, 512 * KIB, 4000, 400, seed_or(4));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(mpool_storm_in_a_small_pool_loses_nothing),
		t_test(mpool_storm_in_a_larger_pool_loses_nothing),
		t_test(mpool_storm_with_kills_in_a_small_pool_loses_nothing),
		t_test(mpool_storm_with_kills_in_a_larger_pool_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
