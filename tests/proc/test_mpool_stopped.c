/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pool: a process is stopped in the middle of an operation, at each of its system calls in
 * turn and at single machine instructions of it (by ptrace), while another does everything.  What
 * P18 does not allow to wait comes to its end meanwhile; what it does, when the stopped one has
 * gone on.  Nothing is taken from that, and it harms nothing.
 *
 * What the stopped one has in hand at that point is read from the pool, where the bystander sees
 * what may wait.  What a dead one had in hand, that the stopped one is about to reap, counts as the
 * stopped one's.
 *
 * The instructions are a hunt: STOP_STEPS, so many of them, of all operations, taken by STOP_SEED.
 */
#include "../scene_t.h"

#include "pool/layout.h"

#define OWN 8 /* pages of the bystander's own file */

/* What the stopped one has in hand. */
#define HAS_BUCKET 0x1u
#define HAS_REGION 0x2u	 /* the region lock */
#define HAS_WRITING 0x4u /* of a page of some file */
#define HAS_TRUNC 0x8u	 /* of some file */
#define HAS_BYTE 0x10u	 /* REGION_BYTE of the region's file, from the kernel */

struct bystander {
	struct t *t;
	DB_MPOOL *mp;
	DB_MPOOLFILE *f, *own;
	bool cuts; /* the stopped one cuts f */
};

/* --- what the bystander does --------------------------------------------------------------- */

/* A page that is there, or comes; nothing may be in the way but that there is no room. */
static void
uses_page(const struct bystander *b, DB_MPOOLFILE *f, db_pgno_t n, u_int32_t how)
{
	bool cut = b->cuts && f == b->f && n >= CUT;
	void *page;
	int ret = memp_fget(f, &n, 0, &page);

	t_check(ret == 0 || ret == ENOMEM || (cut && ret == EINVAL));
	if (ret == 0)
		must(memp_fput(f, page, how));
}

/* Its page 0 it has pinned, so that this is a hit. */
static void
hits(struct bystander *b)
{
	uses_page(b, b->own, 0, 0);
}

static void
puts_dirty(struct bystander *b)
{
	uses_page(b, b->own, 0, DB_MPOOL_DIRTY);
}

static void
misses(struct bystander *b)
{
	uses_page(b, b->f, SCENE - 2, 0);
	uses_page(b, b->f, 9, 0);
}

static void
misses_own(struct bystander *b)
{
	for (db_pgno_t n = 2; n < OWN; n++)
		uses_page(b, b->own, n, 0);
}

static void
extends(struct bystander *b)
{
	db_pgno_t n = 0;
	void *page;
	int ret = memp_fget(b->own, &n, DB_MPOOL_NEW, &page);

	t_check(ret == 0 || ret == ENOMEM);
	if (ret == 0)
		must(memp_fput(b->own, page, DB_MPOOL_DIRTY));
}

static void
cuts(struct bystander *b)
{
	must(memp_ftruncate(b->own, OWN * PS));
}

/* What is pinned is not written. */
static void
is_synced(int ret)
{
	t_check(ret == 0 || ret == DB_INCOMPLETE);
}

static void
syncs_own(struct bystander *b)
{
	is_synced(memp_fsync(b->own));
}

static void
syncs_file(struct bystander *b)
{
	is_synced(memp_fsync(b->f));
}

static void
syncs_all(struct bystander *b)
{
	is_synced(memp_sync(b->mp, NULL));
}

static void
trickles(struct bystander *b)
{
	int wrote;

	must(memp_trickle(b->mp, 100, &wrote));
}

static void
prefetches(struct bystander *b)
{
	must(memp_fprefetch(b->own, 0, OWN));
}

static void
counts(struct bystander *b)
{
	(void)stat_of(b->mp);
}

static void
opens(struct bystander *b)
{
	DB_MPOOLFILE *g = file_of(b->mp, "own", PS);

	must(memp_fclose(g));
}

static void
makes_and_removes(struct bystander *b)
{
	DB_MPOOLFILE *g;
	db_pgno_t n = 0;
	void *page;
	int ret;

	must(memp_fopen(b->mp, "made", 0, DB_CREATE, 0600, PS, -1, NULL, NULL, &g));
	ret = memp_fget(g, &n, DB_MPOOL_NEW, &page);
	t_check(ret == 0 || ret == ENOMEM);
	if (ret == 0)
		must(memp_fput(g, page, DB_MPOOL_DIRTY));
	must(memp_fremove(b->mp, "made"));
	must(memp_fclose(g));
}

static void
reaps(struct bystander *b)
{
	must(memp_reap(b->mp));
}

static int
joins(struct t_child *c, void *arg)
{
	struct bystander *b = arg;
	DB_MPOOL *mp = pool_of(b->t, 0);

	(void)c;
	must(memp_close(mp));
	return 0;
}

static void
lets_another_join(struct bystander *b)
{
	struct t_child c;

	t_fork(&c, joins, b);
	t_check(t_join(&c) == 0);
}

struct deed {
	const char *name;
	void (*run)(struct bystander *b);
	unsigned waits_for; /* HAS_... */
};

/* Who takes frames evicts others' pages, and opens their files to write them. */
#define ROWS (HAS_BUCKET | HAS_REGION)
static const struct deed deeds[] = {
	{ "hit", hits, 0 },
	{ "put DIRTY", puts_dirty, 0 },
	{ "miss", misses, ROWS | HAS_TRUNC },
	{ "miss in another file", misses_own, ROWS },
	{ "NEW", extends, ROWS },
	{ "memp_ftruncate of another file", cuts, ROWS },
	{ "memp_fsync of another file", syncs_own, ROWS },
	{ "memp_fsync", syncs_file, ROWS | HAS_WRITING | HAS_TRUNC },
	{ "memp_sync", syncs_all, ROWS | HAS_WRITING | HAS_TRUNC },
	{ "memp_trickle", trickles, ROWS | HAS_TRUNC },
	{ "memp_fprefetch of another file", prefetches, ROWS },
	{ "memp_stat", counts, 0 },
	{ "memp_fopen, memp_fclose", opens, ROWS },
	{ "memp_fremove", makes_and_removes, ROWS },
	{ "memp_reap", reaps, ROWS },
	{ "memp_open, memp_close", lets_another_join, ROWS | HAS_BYTE },
};
#define DEEDS (sizeof(deeds) / sizeof(deeds[0]))

/* --- what the stopped one has in hand ------------------------------------------------------ */

/* There is nobody else but the stopped one, and perhaps one whom it reaps. */
static bool
is_anothers(const DB_MPOOL *mp, uint64_t number_and_one)
{
	return number_and_one != 0 && number_and_one != mp->self + 1;
}

static unsigned
has_pages(DB_MPOOL *mp)
{
	unsigned has = 0;
	uint64_t w;

	for (uint32_t f = 0; f < mp->g.nframes; f++) {
		w = load_seq(&mp->frames[f].word);
		if (is_anothers(mp, fw_owner(w) + 1) && fw_state(w) == FRAME_WRITING)
			has |= HAS_WRITING;
	}
	for (uint32_t i = 0; i < mp->g.nbuckets; i++)
		if (is_anothers(mp, load_seq(&mp->buckets[i].header) & BUCKET_OWNER))
			has |= HAS_BUCKET;
	return has;
}

/* Only one may have it for himself. */
static bool
is_taken(int fd, uint64_t byte)
{
	bool taken;

	must(os_lock_test(fd, byte, &taken));
	return taken;
}

static unsigned
has_in_hand(DB_MPOOL *mp)
{
	unsigned has = has_pages(mp);

	for (uint32_t i = 0; i < mp->g.nrows; i++)
		if (is_anothers(mp, load_seq(&mp->rows[i].trunc) & TRUNC_OWNER))
			has |= HAS_TRUNC;
	if (is_anothers(mp, load_seq(&mp->region->layout->lock.owner)))
		has |= HAS_REGION;
	if (is_taken(mp->region->fd, REGION_BYTE))
		has |= HAS_BYTE;
	return has;
}

/* --- the bystander's process --------------------------------------------------------------- */

static const char *doing = "nothing yet";
static unsigned beside;

/* Whoever is waited for too long: what, for what. */
static void
say_what_hangs(int sig)
{
	(void)sig;
	(void)dprintf(STDOUT_FILENO, "# \"%s\" waits for a process that has %#x\n", doing, beside);
	_exit(99);
}

static void
do_deed(struct bystander *b, const struct deed *d)
{
	doing = d->name;
	(void)alarm(20 * t_slow_factor());
	d->run(b);
	(void)alarm(0);
}

static void
holds_own(struct bystander *b)
{
	t_check(length_of(b->own) == OWN * PS);
	for (db_pgno_t n = 0; n < OWN; n++)
		holds(b->own, n, '0' + (int)n);
}

/* Told that another is stopped, it says when all is done that need not wait. */
static int
stands_by(struct t_child *c, void *arg)
{
	const struct strike *s = arg;
	struct bystander b = {
		.t = s->t, .mp = pool_of(s->t, 0), .cuts = s->op->run == op_truncate
	};
	unsigned later = 0;
	uint8_t *pinned;

	(void)signal(SIGALRM, say_what_hangs);
	b.f = file_of(b.mp, "f", PS);
	write_pages(t_path(s->t, "own"), OWN, PS, '0');
	b.own = file_of(b.mp, "own", PS);
	pinned = get(b.own, 0, 0);
	t_tell(c, 'r');
	t_await(c, 's');
	beside = has_in_hand(b.mp);
	for (unsigned i = 0; i < DEEDS; i++)
		if (deeds[i].waits_for & beside)
			later |= 1u << i;
		else
			do_deed(&b, &deeds[i]);
	t_tell(c, 'd');
	for (unsigned i = 0; i < DEEDS; i++)
		if (later & 1u << i)
			do_deed(&b, &deeds[i]);
	t_tell(c, 'e');
	t_await(c, 'c');
	do_deed(&b, &deeds[DEEDS - 1]);
	must(memp_fput(b.own, pinned, 0));
	holds_own(&b);
	must(memp_fclose(b.own));
	must(memp_fclose(b.f));
	must(memp_close(b.mp));
	return 0;
}

/* --- the stopped one ----------------------------------------------------------------------- */

/* The bystander is ready when the other begins. */
static void
begin_both(struct t_child *by, struct t_child *c, struct strike *s)
{
	scene(s->t, s->op);
	t_fork(by, stands_by, s);
	t_await(by, 'r');
	t_fork(c, is_struck, s);
}

/* The others do what they can beside c, which goes on by go_on() then. */
static void
let_others_work(struct t_child *by, struct t_child *c, void (*go_on)(struct t_child *c))
{
	t_tell(by, 's');
	t_await(by, 'd');
	go_on(c);
	t_await(by, 'e');
}

/* Is c, which is not reaped then, standing still, or has it ended? */
static bool
came_to_stand(struct t_child *c)
{
	siginfo_t info;

	t_check(waitid(P_PID, (id_t)c->pid, &info, WSTOPPED | WEXITED | WNOWAIT) == 0);
	return info.si_code == CLD_STOPPED || info.si_code == CLD_TRAPPED;
}

static void
end_both(struct t_child *by, struct t_child *c, const struct strike *s)
{
	t_check(t_join(c) == 0);
	t_tell(by, 'c');
	t_check(t_join(by) == 0);
	aftermath(s->t, s->op);
}

/* False: the operation has fewer system calls. */
static bool
stop_in_call(struct strike *s)
{
	struct t_child by, c;
	bool stood;

	begin_both(&by, &c, s);
	stood = came_to_stand(&c);
	let_others_work(&by, &c, t_continue); /* which means nothing to one that has ended */
	end_both(&by, &c, s);
	return stood;
}

static void
mpool_process_stopped_in_any_system_call_of_any_operation_delays_by_the_rule(void **state)
{
	struct strike s = { .t = *state, .how = T_FAULT_STOP };
	unsigned stops = 0;

	for (unsigned k = 0; k < OPS; k++) {
		s.op = &ops[k];
		t_seconds(4 * T_TEST_SECONDS);
		for (s.call = 1; stop_in_call(&s); s.call++)
			stops++;
		assert_in_range(s.call, 2, 300);
	}
	print_message("# %u stops\n", stops);
}

/* --- at instructions ----------------------------------------------------------------------- */

static void
detach(struct t_child *c)
{
	t_check(ptrace(PTRACE_DETACH, c->pid, NULL, NULL) == 0);
}

/* At the n-th instruction; the number that it came to. */
static unsigned
stop_after(struct strike *s, unsigned n)
{
	struct t_child by, c;
	unsigned i;

	begin_both(&by, &c, s);
	i = step_to(&c, n);
	if (i >= n) {
		let_others_work(&by, &c, detach);
		end_both(&by, &c, s);
		return i;
	}
	t_kill(&by);
	(void)close(c.in);
	(void)close(c.out);
	aftermath(s->t, s->op);
	return i;
}

static void
mpool_process_stopped_at_an_instruction_of_any_operation_delays_by_the_rule(void **state)
{
	unsigned seed = from_outside("STOP_SEED", 1), steps = from_outside("STOP_STEPS", OPS);
	unsigned tries = steps / OPS, all;
	struct strike s = { .t = *state };

	prepare_to_step(seed);
	for (unsigned k = 0; k < OPS; k++) {
		s.op = &ops[k];
		t_seconds(4 * T_TEST_SECONDS);
		all = stop_after(&s, UINT32_MAX);
		for (unsigned i = 0; i < tries; i++)
			(void)stop_after(&s, draw_in_part(i, tries, all, &seed) + 1);
		print_message("# %s: %u instructions, %u stops\n", s.op->name, all, tries);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(
		    mpool_process_stopped_in_any_system_call_of_any_operation_delays_by_the_rule),
		t_test(mpool_process_stopped_at_an_instruction_of_any_operation_delays_by_the_rule),
	};
	const struct CMUnitTest test[] = { tests[0] };

	if (from_outside("STOP_STEPS", 0) == 0)
		return cmocka_run_group_tests(test, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
