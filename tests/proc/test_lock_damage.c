/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/lock: damaged shared memory is input.  Every word of the table that is in use - its head,
 * partitions, buckets, cells of every kind - is changed in turn, to each of some values; then every
 * call is made, in the process that has the table open and in one that opens it afterwards.
 * Each must come to an end with an error or with an answer; a crash or a hang fails the test, with
 * the word and the value.
 */
#include "../lock_t.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define LONG_NAME                                                                                  \
	"a name that does not fit into the cell of an object alone, and so has more of them"

/* What each table is like when it is damaged. */
struct victim {
	DB_LOCKTAB *lt;
	u_int32_t a, b;
	DB_LOCK lock;
	struct lock_request waits; /* b's, for what a has */
	DBT obj;
};

static void
open_victim(struct victim *v, const struct t *t, DB_ENV *env)
{
	enum verdict verdict;

	memset(v, 0, sizeof(*v));
	v->lt = table_with(t, env, 0);
	v->a = locker_of(v->lt);
	v->b = locker_of(v->lt);
	v->lock = get(v->lt, v->a, "o", DB_LOCK_WRITE);
	(void)get(v->lt, v->a, LONG_NAME, DB_LOCK_READ);
	(void)get(v->lt, v->b, LONG_NAME, DB_LOCK_READ);
	(void)get(v->lt, v->b, "p", DB_LOCK_READ);
	must(lock_put(v->lt, get(v->lt, v->a, "freed", DB_LOCK_READ)));
	v->obj = named("o");
	must(request_init(v->lt, &v->waits, v->b, 0, &v->obj, DB_LOCK_WRITE, 0));
	v->waits.distant = true;
	must(request_make(v->lt, &v->waits, &verdict));
	t_check(verdict == WAITS);
}

/* Whatever is answered. */
static void
call_everything(struct victim *v)
{
	static const char *const names[] = { "o", "p", LONG_NAME, "new" };
	DBT obj = named("o");
	DB_LOCKREQ reqs[] = { { .op = DB_LOCK_PUT_OBJ, .obj = &obj }, { .op = DB_LOCK_PUT_ALL } };
	DB_LOCK_STAT *st;
	DB_LOCK lock;
	u_int32_t id;
	bool done;

	for (unsigned i = 0; i < 4; i++) {
		lock = 0;
		(void)try_get(v->lt, v->b, DB_LOCK_NOWAIT, names[i], DB_LOCK_READ, &lock);
		(void)try_get(v->lt, v->a, DB_LOCK_NOWAIT, names[i], DB_LOCK_WRITE, &lock);
		(void)try_get(
		    v->lt, v->a, DB_LOCK_NOWAIT | DB_LOCK_UPGRADE, names[i], DB_LOCK_READ, &lock);
	}
	(void)lock_id(v->lt, &id);
	(void)lock_detect(v->lt, 0, DB_LOCK_OLDEST);
	(void)locktab_check(v->lt);
	(void)request_look(v->lt, &v->waits);
	if (request_withdraw(v->lt, &v->waits, &done) == 0)
		(void)request_outcome(v->lt, &v->waits, &done);
	(void)lock_put(v->lt, v->lock);
	if (lock_stat(v->lt, &st, NULL) == 0)
		free(st);
	(void)lock_vec(v->lt, v->a, 0, reqs, 2, NULL);
	(void)lock_vec(v->lt, v->b, 0, reqs, 2, NULL);
	for (uint32_t part = 0; part <= RESERVE; part++)
		if (part_lock(v->lt, part) == 0) {
			(void)part_repair(v->lt, part);
			part_unlock(v->lt, part);
		}
}

/* Somebody else, afterwards. */
static void
join(struct t *t, DB_ENV *env)
{
	struct victim v = { 0 };

	if (lock_open(t->dir, 0, 0, env, &v.lt) != 0)
		return;
	if (lock_id(v.lt, &v.a) == 0 && lock_id(v.lt, &v.b) == 0) {
		v.obj = named("o");
		(void)request_init(v.lt, &v.waits, v.a, DB_LOCK_NOWAIT, &v.obj, 1, 0);
		call_everything(&v);
	}
	(void)lock_close(v.lt);
}

struct damage {
	struct t *t;
	uint32_t first; /* words of the table from here on, every step-th */
	uint32_t step;
};

/* The words that are in use: by number. */
static uint32_t *
word_at(struct victim *v, uint32_t n)
{
	const uint32_t head = sizeof(struct lock_table) / 4;
	const uint32_t per_part = sizeof(struct lock_part) / 4, per_cell = 16;
	struct lock_table *t = v->lt->table;
	uint32_t ncells = t->ncells;

	if (n < head)
		return (uint32_t *)t + n;
	n -= head;
	/* the partitions of the objects, and the reserve */
	if (n < 4 * per_part) {
		const uint32_t parts[] = { hash_part(object_hash("o", 1)),
			hash_part(object_hash("p", 1)),
			hash_part(object_hash(LONG_NAME, strlen(LONG_NAME))), RESERVE };

		return (uint32_t *)&v->lt->parts[parts[n / per_part]] + n % per_part;
	}
	n -= 4 * per_part;
	if (n < 2)
		return &v->lt->buckets[object_hash(n == 0 ? "o" : LONG_NAME,
					   n == 0 ? 1 : strlen(LONG_NAME)) &
		    (v->lt->nbuckets - 1)];
	n -= 2;
	/* all cells that are something, and one that is free */
	for (uint32_t i = 0, nfree = 0; i < ncells; i++) {
		struct lock_cell *c = &v->lt->cells[i];

		if (word_kind(c->word) == CELL_FREE && nfree++ > 0)
			continue;
		if (n < per_cell)
			return (uint32_t *)c + n;
		n -= per_cell;
	}
	return NULL;
}

static int
damages(struct t_child *c, void *arg)
{
	static const uint32_t values[] = { 0, 1, 3, 200, 0x7fffffff, 0xffffffff };
	struct damage *d = arg;
	/* no sentences: there are many */
	DB_ENV env = { .lk_detect = DB_LOCK_OLDEST, .lk_timeout = 1000 };
	struct victim v;

	for (uint32_t n = d->first;; n += d->step)
		for (unsigned k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			uint32_t *word;

			open_victim(&v, d->t, &env);
			if ((word = word_at(&v, n)) == NULL) {
				must(lock_close(v.lt));
				must(lock_unlink(d->t->dir, 1, &env));
				return 0;
			}
			t_tell_u64(c, (uint64_t)n << 32 | values[k]);
			store_relaxed(word, values[k]);
			call_everything(&v);
			join(d->t, &env);
			(void)lock_close(v.lt);
			must(lock_unlink(d->t->dir, 1, &env));
		}
}

static void
lock_table_with_any_word_damaged_is_left_with_an_answer(void **state)
{
	struct damage d = { .t = *state, .step = 1 };
	struct t_child c;
	uint64_t at = 0;
	int status;

	t_seconds(120);
	t_fork(&c, damages, &d);
	/* until it ends, which closes the pipe */
	while (read(c.in, &at, sizeof(at)) == (ssize_t)sizeof(at))
		continue;
	status = t_join(&c);
	if (status != 0)
		print_message("# word %u, value %#x\n", (unsigned)(at >> 32), (unsigned)at);
	assert_int_equal(status, 0);
}

/*
 * A size and a number of cells that go together, in a region that could become so large.  What lies
 * there has never been touched, and reading it would give it memory.
 */
static int
says_it_is_large(struct t_child *c, void *arg)
{
	const struct t *t = arg;
	DB_ENV env = { .region_max = 256u << 20 };
	struct rusage before, after;
	struct victim v;

	(void)c;
	open_victim(&v, t, &env);
	v.lt->region->layout->size = v.lt->region->mapped;
	v.lt->table->ncells =
	    (uint32_t)((v.lt->region->mapped - v.lt->cells_offset) / sizeof(struct lock_cell));
	t_check(getrusage(RUSAGE_SELF, &before) == 0);
	call_everything(&v);
	t_check(v.lt->region->layout->panic != 0);
	(void)lock_close(v.lt);
	v.lt = NULL;
	must(lock_unlink(t->dir, 1, &env));
	t_check(getrusage(RUSAGE_SELF, &after) == 0);
	t_check(after.ru_maxrss - before.ru_maxrss < 64 * 1024);
	return 0;
}

static void
lock_table_that_says_it_is_large_is_not_walked_through(void **state)
{
	struct t *t = *state;
	struct t_child c;

	t_fork(&c, says_it_is_large, t);
	assert_int_equal(t_join(&c), 0);
}

/* Behind the tables that it has is not where its file ends. */
static int
says_it_is_small(struct t_child *c, void *arg)
{
	const struct t *t = arg;
	DB_ENV env = { .region_max = 256u << 20 };
	struct victim v;
	u_int32_t id;

	(void)c;
	open_victim(&v, t, &env);
	v.lt->region->layout->size =
	    os_page_size() * (v.lt->region->layout->body / os_page_size() + 1);
	t_check(v.lt->region->layout->size < v.lt->cells_offset);
	for (unsigned i = 0; i < 20000; i++)
		if (lock_id(v.lt, &id) != 0)
			break;
	call_everything(&v);
	(void)lock_close(v.lt);
	v.lt = NULL;
	must(lock_unlink(t->dir, 1, &env));
	return 0;
}

static void
lock_table_that_says_it_is_small_is_not_used_beyond_its_file(void **state)
{
	struct t_child c;

	t_fork(&c, says_it_is_small, *state);
	assert_int_equal(t_join(&c), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(lock_table_with_any_word_damaged_is_left_with_an_answer),
		t_test(lock_table_that_says_it_is_large_is_not_walked_through),
		t_test(lock_table_that_says_it_is_small_is_not_used_beyond_its_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
