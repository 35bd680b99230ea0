/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The storm's clients of a lock table, and what their auditor expects.
 *
 * Under a write lock a number is raised in two steps, with plain stores: two who were inside at
 * once would lose a count, and each says who it is while it is inside.  A client that dies there
 * leaves the two steps apart, and its name; whoever comes next finds it dead, and goes on.
 */
#include "storm.h"

#include "../crew_t.h"
#include "../lock_t.h"

struct view {
	struct player *c;
	DB_LOCKTAB *lt;
	u_int32_t id;
};

static DB_ENV *
table_env(struct storm *s)
{
	static char home[sizeof(s->home.dir)];
	static DB_ENV env;

	memcpy(home, s->home.dir, sizeof(home));
	env = (DB_ENV){ .db_errcall = hear,
		.db_home = home,
		.lk_detect = DB_LOCK_RANDOM,
		.region_flags = s->shape.system ? DB_SYSTEM_MEM : 0 };
	return &env;
}

static void
table_join(struct view *v)
{
	call_begin(v->c);
	must(lock_open(NULL, DB_CREATE, 0, table_env(v->c->s), &v->lt));
	call_end(v->c);
	v->id = locker_of(v->lt);
}

/* False: the victim of a deadlock, or not at once. */
static bool
lock(struct view *v, unsigned k, int mode, u_int32_t flags)
{
	char name[8];
	DB_LOCK got;
	int ret;

	(void)snprintf(name, sizeof(name), "c%u", k);
	call_begin(v->c);
	ret = try_get(v->lt, v->id, flags, name, mode, &got);
	call_end(v->c);
	if (ret == DB_LOCK_DEADLOCK || (ret == DB_LOCK_NOTGRANTED && flags == DB_LOCK_NOWAIT))
		return false;
	must(ret);
	return true;
}

static void
unlock_all(struct view *v)
{
	call_begin(v->c);
	must(lock_vec(v->lt, v->id, 0, &(DB_LOCKREQ){ .op = DB_LOCK_PUT_ALL }, 1, NULL));
	call_end(v->c);
}

static void
raise_counter(struct view *v, unsigned k)
{
	struct counter_place *p = &v->c->s->shared->counters[k];
	pid_t before = load_seq(&p->holder);
	uint64_t n;

	t_check(before == 0 || process_is_dead(before));
	store_seq(&p->holder, getpid());
	n = load_relaxed(&p->first);
	t_check(
	    n == load_relaxed(&p->second) || (before != 0 && n == load_relaxed(&p->second) + 1));
	store_relaxed(&p->first, n + 1);
	for (unsigned i = draw(v->c, 50); i > 0; i--)
		t_check(load_relaxed(&p->first) == n + 1);
	store_relaxed(&p->second, n + 1);
	t_check(load_seq(&p->holder) == getpid());
	store_seq(&p->holder, 0);
	journal(v->c, RECORD_COUNT, k, 0, 1);
	v->c->checked++;
}

static void
read_counter(struct view *v, unsigned k)
{
	struct counter_place *p = &v->c->s->shared->counters[k];
	uint64_t n = load_seq(&p->first);

	for (unsigned i = draw(v->c, 50); i > 0; i--)
		t_check(load_seq(&p->first) == n);
	v->c->checked++;
}

/* One or two locks, in any order, so that some meet in a deadlock. */
static void
transaction(struct view *v)
{
	unsigned k = draw(v->c, PLACES), other = draw(v->c, PLACES);
	int mode = draw(v->c, 3) ? DB_LOCK_WRITE : DB_LOCK_READ;

	if (!lock(v, k, mode, draw(v->c, 5) ? 0 : DB_LOCK_NOWAIT))
		return;
	if (draw(v->c, 3) == 0 && !lock(v, other, DB_LOCK_READ, 0)) {
		unlock_all(v);
		return;
	}
	if (mode == DB_LOCK_WRITE)
		raise_counter(v, k);
	else
		read_counter(v, k);
	unlock_all(v);
}

int
counters_client(struct player *c)
{
	struct view v = { .c = c };

	table_join(&v);
	while (!load_acquire(&c->s->shared->quiet)) {
		transaction(&v);
		if (draw(c, 300) == 0) {
			must(lock_close(v.lt));
			table_join(&v);
		}
		if (draw(c, 300) == 0)
			must(locktab_check(v.lt));
		if (c->calls > 500)
			journal_sums(c);
	}
	must(lock_close(v.lt));
	journal_sums(c);
	return 0;
}

/* As many as were told of, and at most one more for each who died. */
static void
counters_add_up(struct player *c)
{
	for (unsigned k = 0; k < PLACES; k++) {
		const struct counter_place *p = &c->s->shared->counters[k];

		t_check(p->first == p->second || (p->holder != 0 && p->first == p->second + 1));
		t_check(p->first >= c->s->book.counted[k]);
		t_check(p->first <= c->s->book.counted[k] + c->s->kills);
		c->checked++;
	}
}

void
counters_audit(struct player *c)
{
	struct view v = { .c = c };
	DB_LOCK_STAT st;

	table_join(&v);
	must(locktab_check(v.lt));
	reap_everybody(v.lt);
	must(locktab_check(v.lt));
	must(lock_id_free(v.lt, v.id));
	st = stat_of(v.lt);
	t_check(st.st_nlocks == 0 && st.st_numobjs == 0 && st.st_nlockers == 0);
	t_check(st.st_nwaiting == 0 && st.st_clients == 1);
	for (unsigned k = 0; k < PLACES; k++)
		t_check(is_free(v.lt, (char[]){ 'c', (char)('0' + k), 0 }, DB_LOCK_WRITE));
	counters_add_up(c);
	must(lock_close(v.lt));
	journal_sums(c);
}
