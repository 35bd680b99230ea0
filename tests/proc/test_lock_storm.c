/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/lock: the storm.  Several processes lock a few objects in random orders and modes, upgrade,
 * give up as victims of deadlocks, and, in half of the tests, are killed at random instants and
 * started again.
 *
 * Shared memory says who believes to be in an object, reading or writing.  Whoever is granted a
 * lock finds nobody there whom its mode excludes, but for those who have died.  A worker that is
 * to be killed arms a timer that sends it SIGKILL, so that the kill comes at any instruction.
 */
#include "../crew_t.h"
#include "../lock_t.h"

#include <sys/mman.h>

#define OBJECTS 6
#define AT_ONCE 3

struct place {
	pid_t writer;
	pid_t readers[WORKERS];
	uint64_t entered;
};

struct storm {
	struct t *t;
	struct place *places;
	struct crew crew;
	unsigned rounds;
	u_int32_t detect;
};

static void
nobody(const pid_t *who)
{
	pid_t pid = __atomic_load_n(who, __ATOMIC_SEQ_CST);

	t_check(pid == 0 || pid == getpid() || process_is_dead(pid));
}

static void
come_in(struct storm *s, struct place *p, int mode)
{
	nobody(&p->writer);
	if (mode == DB_LOCK_READ) {
		__atomic_store_n(&p->readers[s->crew.id], getpid(), __ATOMIC_SEQ_CST);
		nobody(&p->writer);
		return;
	}
	for (unsigned i = 0; i < WORKERS; i++)
		if (i != s->crew.id)
			nobody(&p->readers[i]);
	__atomic_store_n(&p->writer, getpid(), __ATOMIC_SEQ_CST);
	p->entered++;
}

static void
go_out(struct storm *s, struct place *p)
{
	pid_t me = getpid();

	__atomic_store_n(&p->readers[s->crew.id], 0, __ATOMIC_SEQ_CST);
	(void)__atomic_compare_exchange_n(
	    &p->writer, &me, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* One transaction: some locks, in no order; all or as many as there were. */
static void
transaction(struct storm *s, DB_LOCKTAB *lt, u_int32_t id, unsigned *seed)
{
	bool in[OBJECTS] = { false };
	char name[8];

	for (unsigned n = 0; n < AT_ONCE; n++) {
		unsigned what = (unsigned)rand_r(seed), k = what / 64 % OBJECTS;
		int mode = what % 3 == 0 ? DB_LOCK_WRITE : DB_LOCK_READ, ret;
		u_int32_t flags = (what % 5 == 0 ? DB_LOCK_NOWAIT : 0) |
		    (in[k] && what % 2 == 0 ? DB_LOCK_UPGRADE : 0);
		DB_LOCK lock = 0;

		/* down, and others come in at once: be a reader first */
		if ((flags & DB_LOCK_UPGRADE) != 0 && mode == DB_LOCK_READ)
			continue;
		(void)snprintf(name, sizeof(name), "o%u", k);
		ret = try_get(lt, id, flags, name, mode, &lock);
		if (ret == DB_LOCK_DEADLOCK || ret == DB_LOCK_NOTGRANTED)
			break;
		must(ret);
		come_in(s, &s->places[k], mode);
		in[k] = true;
	}
	for (unsigned k = 0; k < OBJECTS; k++)
		if (in[k])
			go_out(s, &s->places[k]);
	must(lock_vec(lt, id, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
}

static int
storms(struct t_child *c, void *arg)
{
	struct storm *s = arg;
	DB_ENV env = { .db_errcall = hear, .lk_detect = s->detect };
	unsigned seed = s->crew.seed;
	DB_LOCKTAB *lt;
	u_int32_t id;

	(void)c;
	crew_arm_kill(&s->crew, &seed);
	lt = table_with(s->t, &env, 0);
	id = locker_of(lt);
	for (unsigned r = 0; r < s->rounds; r++) {
		quiet();
		transaction(s, lt, id, &seed);
		if (r % 61 == 0) {
			must(lock_id_free(lt, id));
			id = locker_of(lt);
		}
		if (r % 397 == 0)
			must(locktab_check(lt));
	}
	must(lock_close(lt));
	return 0;
}

static void
storm(struct t *t, u_int32_t detect, unsigned rounds, unsigned kills, unsigned seed)
{
	struct storm s = { .t = t,
		.rounds = rounds,
		.crew.seed = seed,
		.detect = detect,
		.crew.kill_usec = kills > 0 ? 10000 : 0 };
	DB_ENV env = { .db_errcall = hear, .lk_detect = detect };
	DB_LOCKTAB *lt;
	DB_LOCK_STAT st;

	if (getenv("STORM_SEED") != NULL)
		s.crew.seed = (unsigned)strtoul(getenv("STORM_SEED"), NULL, 10);
	print_message("# seed %u, %u kills\n", s.crew.seed, kills);
	s.places = mmap(NULL, OBJECTS * sizeof(*s.places), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t_check(s.places != MAP_FAILED);
	lt = table_with(t, &env, 0);
	crew_run(&s.crew, kills, storms, &s);
	must(locktab_check(lt));
	reap_everybody(lt);
	must(locktab_check(lt));
	st = stat_of(lt);
	assert_int_equal(st.st_nlocks, 0);
	assert_int_equal(st.st_numobjs, 0);
	assert_int_equal(st.st_nlockers, 0);
	assert_int_equal(st.st_clients, 1);
	assert_true(st.st_nwaits > 0);
	if (kills == 0) {
		assert_true(st.st_ndeadlocks > 0);
		assert_int_equal(
		    st.st_nrequests - st.st_nrefused - st.st_nupgrades, st.st_nreleases);
	} else
		assert_true(st.st_nreaped > kills / 10);
	must(lock_close(lt));
	must(lock_unlink(t->dir, 0, &env));
	(void)munmap(s.places, OBJECTS * sizeof(*s.places));
}

static void
lock_storm_excludes_whom_it_must(void **state)
{
	storm(*state, DB_LOCK_RANDOM, 4000, 0, 1);
}

static void
lock_storm_of_the_youngest_excludes_whom_it_must(void **state)
{
	storm(*state, DB_LOCK_YOUNGEST, 4000, 0, 2);
}

static void
lock_storm_with_kills_excludes_whom_it_must(void **state)
{
	storm(*state, DB_LOCK_RANDOM, 6000, 300, 3);
}

static void
lock_storm_with_kills_of_the_oldest_excludes_whom_it_must(void **state)
{
	storm(*state, DB_LOCK_OLDEST, 6000, 300, 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_storm_excludes_whom_it_must),
		t_test(lock_storm_of_the_youngest_excludes_whom_it_must),
		t_test(lock_storm_with_kills_excludes_whom_it_must),
		t_test(lock_storm_with_kills_of_the_oldest_excludes_whom_it_must),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
