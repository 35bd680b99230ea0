/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region under contention: several processes create, join, grow, shrink, detach, remove and
 * die at once, by a seeded plan, and an oracle beside the region says what may not be.
 *
 * The oracle is a board in memory that all processes share without the library.  A region's init
 * posts the region's id there; so whoever is attached and finds another id posted while his own
 * region is still usable has seen two regions at one path.  And each client number is claimed in
 * the region's body with compare-and-swap: two living holders of one number collide there.
 * The size that a region should have is in its body, under its lock; new bytes have to be zeros,
 * and are then written to.
 *
 * TEST_ROUNDS in the environment: how often each process does it, instead of some hundred times.
 */
#include "../unit/region_t.h"

#include <signal.h>
#include <sys/mman.h>

#include "region/region_impl.h"
#include "region/shlock.h"

#define PROCESSES 8
#define LEAST_BYTES 12288u
#define MOST_PAGES 13u /* more */

enum mode { MODE_PEACE, MODE_FORCE, MODE_KILL };

struct board {
	uint64_t current_id;
	uint64_t created, joined, removed, busy, forced, reaped, grown, shrunk;
};

struct plan {
	struct t *t;
	struct board *board;
	enum mode mode;
	uint64_t seed;
	int rounds;
};

static uint64_t
draw(struct plan *p, uint64_t n)
{
	p->seed ^= p->seed << 13;
	p->seed ^= p->seed >> 7;
	p->seed ^= p->seed << 17;
	return p->seed % n;
}

static int
posting_init(struct region *r, void *arg)
{
	struct plan *p = arg;

	store_seq(&p->board->current_id, r->layout->region_id);
	add_seq(&p->board->created, 1);
	body_of(r)->bytes = r->layout->size;
	return body_init(r, NULL);
}

/* Read the board first: a region posted later does not excuse an id that was posted before. */
static void
look(struct plan *p, struct region *r)
{
	uint64_t posted = load_seq(&p->board->current_id);
	int ret = region_usable(r);

	if (p->mode == MODE_FORCE && ret == ESTALE)
		return;
	t_check(ret == 0);
	t_check(posted == r->layout->region_id);
	t_check(body_of(r)->mark == BODY_MARK);
}

static void
reap_all(struct plan *p, struct region *r)
{
	uint32_t i;

	for (i = 0; i < r->nclients; i++)
		if (client_claim_dead(r, i)) {
			store_seq(&body_of(r)->claims[i], 0);
			if (shlock_inherit_counted(r, &body_of(r)->lock, i)) {
				body_of(r)->bytes = 0;
				shlock_unlock_counted(r, &body_of(r)->lock);
			}
			client_free(r, i);
			add_seq(&p->board->reaped, 1);
		}
}

static void
claim_number(struct region *r)
{
	uint64_t nobody = 0;

	t_check(r->clients[r->self].pid == getpid());
	t_check(client_is_alive(r, r->self));
	if (!cas_seq(&body_of(r)->claims[r->self], &nobody, (uint64_t)getpid())) {
		(void)dprintf(
		    STDOUT_FILENO, "# number %u: held by %ju\n", r->self, (uintmax_t)nobody);
		t_check(!"the number is ours alone");
	}
}

/* Under the body's lock, so that nobody else changes the size that is expected. */
static void
change_size_locked(struct plan *p, struct region *r)
{
	struct body *b = body_of(r);
	uint64_t from = load_seq(&r->layout->size), i;
	uint64_t to = LEAST_BYTES + draw(p, MOST_PAGES) * os_page_size();
	const uint8_t *bytes;
	int ret;

	t_check(b->bytes == 0 || b->bytes == from);
	b->bytes = 0;
	ret = to > from ? region_grow(r, to) : region_shrink(r, to);
	if (p->mode == MODE_FORCE && ret == ESTALE)
		return;
	t_check(ret == 0 && load_seq(&r->layout->size) == to);
	t_check(region_ptr(r, to - 1, 1) != NULL && region_ptr(r, to, 1) == NULL);
	if (to > from) {
		t_check((bytes = region_ptr(r, from, to - from)) != NULL);
		for (i = 0; i < to - from; i++)
			t_check(bytes[i] == 0);
		memset(r->addr + from, 0xaa, to - from);
	}
	b->bytes = to;
	add_seq(to > from ? &p->board->grown : &p->board->shrunk, 1);
}

static void
change_size(struct plan *p, struct region *r)
{
	struct body *b = body_of(r);

	if (shlock_lock_counted(r, &b->lock) == EOWNERDEAD) {
		t_check(p->mode == MODE_KILL);
		b->bytes = 0;
	}
	change_size_locked(p, r);
	shlock_unlock_counted(r, &b->lock);
}

static void
use(struct plan *p, struct region *r)
{
	struct body *b = body_of(r);
	int n;

	claim_number(r);
	add_seq(&b->users, 1);
	for (n = (int)draw(p, 4); n > 0; n--) {
		look(p, r);
		/* So that they meet on a machine with one processor, too. */
		if (draw(p, 2) == 0)
			os_yield();
		if (shlock_lock_counted(r, &b->lock) == EOWNERDEAD) {
			t_check(p->mode == MODE_KILL);
			b->bytes = 0;
		}
		b->counter = *(volatile uint64_t *)&b->counter + 1;
		shlock_unlock_counted(r, &b->lock);
		if (draw(p, 3) == 0)
			change_size(p, r);
	}
	look(p, r);
	sub_seq(&b->users, 1);
	store_seq(&b->claims[r->self], 0);
}

static void
leave(struct plan *p, struct region *r)
{
	bool remove = draw(p, 3) == 0;
	int ret = region_detach(r, remove, NULL, NULL);

	t_check(ret == 0 || (remove && ret == EBUSY));
	if (ret == EBUSY)
		add_seq(&p->board->busy, 1);
	else if (remove)
		add_seq(&p->board->removed, 1);
}

static void
one_round(struct plan *p)
{
	struct region_spec spec = spec_in(p->t->dir);
	struct region *r;
	int ret;

	spec.init = posting_init;
	spec.arg = p;
	spec.size = LEAST_BYTES;
	spec.create = draw(p, 8) != 0;
	if (p->mode == MODE_FORCE && draw(p, 6) == 0) {
		t_check(region_unlink_forced(NULL, p->t->dir, REGION_FILE) == 0);
		add_seq(&p->board->forced, 1);
	}
	ret = region_attach(&spec, &r);
	if (ret == ENOENT && !spec.create)
		return;
	if (ret != 0)
		(void)dprintf(STDOUT_FILENO, "# %s: %s\n", db_strerror(ret), last_sentence);
	t_check(ret == 0);
	add_seq(&p->board->joined, !r->created);
	if (p->mode == MODE_KILL)
		reap_all(p, r);
	use(p, r);
	leave(p, r);
}

/* What the environment says, or else few. */
static int
rounds(int few)
{
	const char *value = getenv("TEST_ROUNDS");

	return value != NULL && atoi(value) > 0 ? atoi(value) : few;
}

static int
races(struct t_child *c, void *arg)
{
	struct plan *p = arg;
	int n;

	t_seconds(rounds(0) > 0 ? 3600 : 120);
	t_tell(c, 'r');
	t_await(c, 'g');
	if (p->mode == MODE_KILL)
		t_fault(T_FAULT_ANY, (unsigned)(1 + draw(p, 2000)), T_FAULT_KILL);
	for (n = 0; n < p->rounds; n++)
		one_round(p);
	return 0;
}

static struct board *
board_create(void)
{
	void *p = mmap(
	    NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	t_check(p != MAP_FAILED);
	return p;
}

static void
print_board(const struct board *b)
{
	print_message("# created %ju, joined %ju, removed %ju, refused %ju, forced %ju, reaped "
		      "%ju, grown %ju, "
		      "shrunk %ju\n",
	    (uintmax_t)b->created, (uintmax_t)b->joined, (uintmax_t)b->removed, (uintmax_t)b->busy,
	    (uintmax_t)b->forced, (uintmax_t)b->reaped, (uintmax_t)b->grown, (uintmax_t)b->shrunk);
}

/* n processes once, from a common start; how many were killed. */
static int
run(struct t *t, struct board *board, enum mode mode, int n, int times, uint64_t seed)
{
	struct plan plan[PROCESSES];
	struct t_child c[PROCESSES];
	int i, status, killed = 0;

	for (i = 0; i < n; i++) {
		plan[i] = (struct plan){ .t = t,
			.board = board,
			.mode = mode,
			.rounds = times,
			.seed = seed * 100 + (uint64_t)i + 1 };
		t_fork(&c[i], races, &plan[i]);
		t_await(&c[i], 'r');
	}
	for (i = 0; i < n; i++)
		t_tell(&c[i], 'g');
	for (i = 0; i < n; i++) {
		status = t_join(&c[i]);
		killed += status == 128 + SIGKILL;
		assert_true(status == 0 || (mode == MODE_KILL && status == 128 + SIGKILL));
	}
	return killed;
}

static void
attached_processes_see_one_region(void **state)
{
	struct t *t = *state;
	struct board *b = board_create();

	t_seconds(rounds(0) > 0 ? 3600 : 120);
	assert_int_equal(run(t, b, MODE_PEACE, PROCESSES, rounds(500), 1), 0);
	/* Two meet less often, so that regions come and go. */
	assert_int_equal(run(t, b, MODE_PEACE, 2, rounds(1500), 2), 0);
	/* On a busy machine not even these are ever alone with it; one is. */
	assert_int_equal(run(t, b, MODE_PEACE, 1, rounds(50), 3), 0);
	/* The plan made all of it happen. */
	print_board(b);
	assert_true(b->created > 0 && b->joined > 0 && b->removed > 0 && b->busy > 0);
	assert_true(b->grown > 0 && b->shrunk > 0);
	munmap(b, sizeof(*b));
}

static void
removal_by_force_never_leaves_two_usable_regions(void **state)
{
	struct t *t = *state;
	struct board *b = board_create();

	t_seconds(rounds(0) > 0 ? 3600 : 120);
	assert_int_equal(run(t, b, MODE_FORCE, PROCESSES, rounds(500), 3), 0);
	print_board(b);
	assert_true(b->created > 0 && b->joined > 0 && b->forced > 0);
	munmap(b, sizeof(*b));
}

/* Processes die at random system calls, again and again; numbers are never given out twice. */
static void
killed_clients_leave_no_obstacle_and_no_double_number(void **state)
{
	struct t *t = *state;
	struct board *b = board_create();
	struct region *r;
	int i, killed = 0;

	t_seconds(rounds(0) > 0 ? 3600 : 120);
	/* A process lives for 1000 system calls or so: some 30 rounds. */
	for (i = 0; i < rounds(360) / 30; i++)
		killed += run(t, b, MODE_KILL, PROCESSES, 60, (uint64_t)i + 4);
	print_board(b);
	assert_true(killed > 12);
	assert_true(b->created > 0 && b->joined > 0 && b->reaped > 0);
	r = attach(t);
	assert_int_equal(client_count(r), 1);
	assert_int_equal(region_detach(r, true, NULL, NULL), 0);
	munmap(b, sizeof(*b));
}

static int
stops_in_init(struct region *r, void *arg)
{
	(void)r;
	t_tell(arg, 'i');
	t_await(arg, 'g');
	return body_init(r, NULL);
}

static int
creates_slowly(struct t_child *c, void *arg)
{
	struct region_spec spec = spec_in(((struct t *)arg)->dir);
	struct region *r;

	spec.init = stops_in_init;
	spec.arg = c;
	t_check(region_attach(&spec, &r) == 0);
	detach(r);
	return 0;
}

/* The one test that lasts as long as REGION_JOIN_MSEC. */
static void
joiner_of_a_stopped_creator_is_eagain(void **state)
{
	struct t *t = *state;
	struct t_child c;
	uint64_t since;

	t_fork(&c, creates_slowly, t);
	t_await(&c, 'i');
	t_stop(&c);
	since = os_monotonic_usec();
	assert_int_equal(attach_error(t), EAGAIN);
	assert_true(os_monotonic_usec() - since >= (REGION_JOIN_MSEC - 100) * 1000);
	assert_non_null(strstr(last_sentence, REGION_FILE));
	t_continue(&c);
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	assert_int_equal(attach_error(t), 0);
}

/* Force does not wait for ever, and the creator that it overtook does not return a region that
 * nobody else can find. */
static void
creator_overtaken_by_force_makes_another(void **state)
{
	struct t *t = *state;
	struct t_child c;
	struct region *r;

	t_fork(&c, creates_slowly, t);
	t_await(&c, 'i');
	assert_int_equal(region_unlink_forced(&test_env, t->dir, REGION_FILE), 0);
	assert_false(exists(t));
	t_tell(&c, 'g');
	t_await(&c, 'i');
	t_tell(&c, 'g');
	assert_int_equal(t_join(&c), 0);
	r = attach(t);
	assert_false(r->created);
	detach(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		segment_test(attached_processes_see_one_region),
		segment_test(removal_by_force_never_leaves_two_usable_regions),
		segment_test(killed_clients_leave_no_obstacle_and_no_double_number),
		segment_test(joiner_of_a_stopped_creator_is_eagain),
		segment_test(creator_overtaken_by_force_makes_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
