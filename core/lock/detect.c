/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/detect.c - lockers that wait for each other: found, and one request in each circle ended.
 *
 * All partitions are locked, so that what is looked at is one state of the table.  Nodes are the
 * lockers that wait; a locker waits for each that holds, or asks before it for, what stands in the
 * way of its request (the rule is claim_blocked's).  Edges are not stored: the search, depth
 * first and without recursion, walks the lists themselves.  When it meets a locker that it is
 * inside of, those from there to the top are a circle.  One of them is the victim: its request is
 * taken out of the picture at once, what was reached through it counts as not yet visited, and
 * the search goes on.  So each victim was in a circle that all victims before it had left, and in
 * the end there is none.
 *
 * A locker that cannot be in a circle any more, because it does not wait or because all that it
 * leads to has been searched, is nobody's edge again: the lists that many requests have in common
 * are followed past it (skip), so that a thousand who want the same object are not a million steps.
 *
 * The victims' requests are ended after the search, the last one first; who can go on by then is
 * spared.  Memory is got before anything is locked.
 */
#include "table.h"

#include <stdlib.h>

enum colour { WHITE, GREY, BLACK };

struct wait {
	struct lock_cell *cell;
	uint32_t node;
	uint32_t next; /* of the same locker: index + 1 */
	bool victim;   /* is to be ended */
	bool out;      /* of the picture: a victim, or its process is dead */
};

struct node {
	uint64_t age;
	uint32_t id;
	uint32_t client;
	uint32_t waits; /* index + 1 */
	enum colour colour;
};

/* A locker that the search is inside of, and how far it has got with its edges. */
struct inside {
	uint32_t node;
	uint32_t wait;	 /* index + 1 of the request whose edges are looked at */
	uint32_t at;	 /* next cell in that list */
	uint32_t last;	 /* the one before it that may be an edge: index in skip */
	bool in_holders; /* of the object's holders; else of those who wait */
};

struct search {
	DB_LOCKTAB *lt;
	uint32_t room; /* for so many waits */
	uint32_t nwaits;
	uint32_t nnodes;
	uint32_t ncells;
	uint32_t depth;
	uint32_t steps; /* in the list that is being walked */
	uint32_t nvictims;
	struct wait *waits;
	uint32_t *victims; /* waits, as they were chosen */
	struct node *nodes;
	struct inside *stack;
	uint32_t *node_of; /* by locker's cell: index + 1 */
	uint32_t *wait_of; /* by the request's cell: index + 1 */
	uint32_t *skip; /* by cell: what is behind it in its list, + 1, if that is not its next; */
			/* by object's cell: its first holder; ncells more: its first waiter */
	uint32_t **wake_words;
	uint32_t policy;
	uint32_t only;
	int error;
};

/* --- memory -------------------------------------------------------------------------------- */

static void
search_fini(struct search *s)
{
	free(s->waits);
	free(s->victims);
	free(s->nodes);
	free(s->stack);
	free(s->node_of);
	free(s->wait_of);
	free(s->skip);
	free(s->wake_words);
}

static int
search_init(struct search *s, DB_LOCKTAB *lt, uint32_t room)
{
	int ret;

	*s = (struct search){ .lt = lt, .room = room };
	s->ncells = cells_known(lt) + 1;
	if ((ret = os_calloc(room, sizeof(*s->waits), (void **)&s->waits)) != 0 ||
	    (ret = os_calloc(room, sizeof(*s->victims), (void **)&s->victims)) != 0 ||
	    (ret = os_calloc(room, sizeof(*s->wake_words), (void **)&s->wake_words)) != 0 ||
	    (ret = os_calloc(room, sizeof(*s->nodes), (void **)&s->nodes)) != 0 ||
	    (ret = os_calloc(room, sizeof(*s->stack), (void **)&s->stack)) != 0 ||
	    (ret = os_calloc(s->ncells, sizeof(*s->node_of), (void **)&s->node_of)) != 0 ||
	    (ret = os_calloc(s->ncells, sizeof(*s->wait_of), (void **)&s->wait_of)) != 0 ||
	    (ret = os_calloc(2 * (size_t)s->ncells, sizeof(*s->skip), (void **)&s->skip)) != 0)
		search_fini(s);
	return ret;
}

static uint32_t
count_waits(const DB_LOCKTAB *lt)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < LOCK_PARTS; i++)
		n += load_relaxed(&lt->parts[i].nwaiting);
	return n;
}

/* --- the picture --------------------------------------------------------------------------- */

/* The node of a locker that waits; index + 1, 0 for one that does not. */
static uint32_t
node_find(const struct search *s, uint32_t id)
{
	const struct lock_cell *l = locker_head(s->lt, id);
	uint32_t cell = l != NULL ? cell_number(s->lt, l) : 0;

	return cell < s->ncells ? s->node_of[cell] : 0;
}

static void
node_add(struct search *s, uint32_t id)
{
	const struct lock_cell *l = locker_head(s->lt, id);
	uint32_t cell = l != NULL ? cell_number(s->lt, l) : s->ncells;

	/* A locker that is not there any more is damage, and holds nobody up. */
	if (cell >= s->ncells || s->node_of[cell] != 0)
		return;
	s->nodes[s->nnodes] = (struct node){
		.id = l->u.locker.id, .client = l->u.locker.client, .age = l->u.locker.age
	};
	s->node_of[cell] = ++s->nnodes;
}

static int
add_waits_of(struct search *s, uint32_t part)
{
	uint32_t at, n, steps = 0;
	struct lock_cell *c;

	for (at = s->lt->parts[part].waiting; at != 0; at = c->u.lock.next_wait) {
		c = cell_of(s->lt, at, CELL_WAITING, part);
		if (c == NULL || steps++ == s->room || at >= s->ncells)
			return table_damaged(s->lt, "a list of requests has no end", part);
		node_add(s, c->u.lock.locker);
		if ((n = node_find(s, c->u.lock.locker)) == 0)
			continue;
		s->waits[s->nwaits] =
		    (struct wait){ .cell = c, .node = n - 1, .next = s->nodes[n - 1].waits };
		s->nodes[n - 1].waits = ++s->nwaits;
		s->wait_of[at] = s->nwaits;
	}
	return 0;
}

static int
add_waits(struct search *s)
{
	int ret = 0;

	for (uint32_t i = 0; i < LOCK_PARTS && ret == 0; i++)
		ret = add_waits_of(s, i);
	return ret;
}

/* --- edges --------------------------------------------------------------------------------- */

static struct lock_cell *
object_of(const struct search *s, const struct lock_cell *c)
{
	return cell_of(s->lt, c->u.lock.object, CELL_OBJECT, word_part(load_relaxed(&c->word)));
}

/* What comes behind that one: next, unless that leads past some. */
static uint32_t
behind(const struct search *s, uint32_t last, uint32_t next)
{
	return s->skip[last] != 0 ? s->skip[last] - 1 : next;
}

/* Begin with the holders of what this request wants. */
static void
begin_wait(struct search *s, struct inside *in, uint32_t wait)
{
	const struct lock_cell *object;

	while (wait != 0 && s->waits[wait - 1].out)
		wait = s->waits[wait - 1].next;
	in->wait = wait;
	in->in_holders = true;
	in->at = 0;
	s->steps = 0;
	if (wait != 0 && (object = object_of(s, s->waits[wait - 1].cell)) != NULL) {
		in->last = cell_number(s->lt, object);
		in->at = behind(s, in->last, object->u.object.holders);
	}
}

/* The list is at its end: the other list, or the next request. */
static void
go_on(struct search *s, struct inside *in)
{
	const struct wait *w = &s->waits[in->wait - 1];
	const struct lock_cell *object = object_of(s, w->cell);

	if (in->in_holders && (w->cell->u.lock.flags & LOCK_FIRST) == 0 && object != NULL) {
		in->in_holders = false;
		in->last = s->ncells + cell_number(s->lt, object);
		in->at = behind(s, in->last, object->u.object.waiters);
		s->steps = 0;
	} else
		begin_wait(s, in, w->next);
}

/* The waiting locker that c stands for; index + 1. */
static uint32_t
waiter_behind(const struct search *s, const struct lock_cell *c, bool holds)
{
	uint32_t wait;

	if (holds)
		return node_find(s, c->u.lock.locker);
	wait = s->wait_of[cell_number(s->lt, c)];
	return wait != 0 && !s->waits[wait - 1].out ? s->waits[wait - 1].node + 1 : 0;
}

/* Is c, of the locker with that node (index + 1), in the way of w? */
static bool
is_edge(const struct search *s, const struct wait *w, const struct lock_cell *c, uint32_t n)
{
	return n != w->node + 1 && /* not of the same family */
	    c->u.lock.locker != w->cell->u.lock.locker &&
	    modes_conflict(
		s->lt, word_mode(load_relaxed(&w->cell->word)), word_mode(load_relaxed(&c->word)));
}

/* The next locker that the one on top waits for; index + 1, 0: that was all. */
static uint32_t
next_edge(struct search *s, struct inside *in)
{
	while (in->wait != 0) {
		const struct wait *w = &s->waits[in->wait - 1];
		uint32_t part = word_part(load_relaxed(&w->cell->word)), number, n;
		const struct lock_cell *c;

		if (in->at == 0 || in->at == cell_number(s->lt, w->cell)) {
			go_on(s, in);
			continue;
		}
		c = cell_of(s->lt, in->at, in->in_holders ? CELL_HELD : CELL_WAITING, part);
		if (c == NULL || in->at >= s->ncells || s->steps++ > s->lt->ncells) {
			s->error = table_damaged(s->lt, "a list of locks has no end", in->at);
			return 0;
		}
		number = in->at;
		in->at = behind(s, number, c->next);
		n = waiter_behind(s, c, in->in_holders);
		if (n == 0 || s->nodes[n - 1].colour == BLACK) {
			s->skip[in->last] = in->at + 1;
			continue;
		}
		in->last = number;
		if (is_edge(s, w, c, n))
			return n;
	}
	return 0;
}

/* --- circles ------------------------------------------------------------------------------- */

/* Among those on the stack from there up. */
static uint32_t
choose(const struct search *s, uint32_t from)
{
	uint32_t best = from;

	if (s->policy == DB_LOCK_RANDOM || s->policy == DB_LOCK_DEFAULT)
		return from + (uint32_t)(os_random() % (s->depth - from));
	for (uint32_t i = from; i < s->depth; i++) {
		uint64_t age = s->nodes[s->stack[i].node].age;
		uint64_t other = s->nodes[s->stack[best].node].age;

		if (s->policy == DB_LOCK_OLDEST ? age < other : age > other)
			best = i;
	}
	return best;
}

static void
enter_node(struct search *s, uint32_t node)
{
	struct inside *in = &s->stack[s->depth++];

	s->nodes[node].colour = GREY;
	in->node = node;
	begin_wait(s, in, s->nodes[node].waits);
}

/* Whatever was reached through the locker at that place was not seen yet. */
static void
back_to(struct search *s, uint32_t place)
{
	while (s->depth > place + 1)
		s->nodes[s->stack[--s->depth].node].colour = WHITE;
}

/* A circle with a dead process in it will open by itself.  True: there was one. */
static bool
drop_dead(struct search *s, uint32_t from)
{
	for (uint32_t i = from; i < s->depth; i++) {
		const struct node *n = &s->nodes[s->stack[i].node];

		if (client_is_alive(s->lt->region, n->client))
			continue;
		for (uint32_t w = n->waits; w != 0; w = s->waits[w - 1].next)
			s->waits[w - 1].out = true;
		back_to(s, i);
		begin_wait(s, &s->stack[i], 0);
		return true;
	}
	return false;
}

/* The top waits for a locker that we are inside of. */
static void
break_circle(struct search *s, uint32_t node)
{
	uint32_t from = s->depth, victim;
	struct wait *w;

	while (from > 0 && s->stack[from - 1].node != node)
		from--;
	if (from == 0 || (s->only != 0 && node_find(s, s->only) != node + 1) ||
	    drop_dead(s, from - 1))
		return;
	victim = s->only != 0 ? from - 1 : choose(s, from - 1);
	w = &s->waits[s->stack[victim].wait - 1];
	w->out = true;
	s->victims[s->nvictims++] = s->stack[victim].wait - 1;
	back_to(s, victim);
	begin_wait(s, &s->stack[victim], w->next);
}

static void
search_from(struct search *s, uint32_t start)
{
	uint32_t n;

	enter_node(s, start);
	while (s->depth > 0 && s->error == 0) {
		struct inside *top = &s->stack[s->depth - 1];

		if ((n = next_edge(s, top)) == 0) {
			s->nodes[top->node].colour = BLACK;
			s->depth--;
			s->steps = 0;
		} else if (s->nodes[n - 1].colour == GREY)
			break_circle(s, n - 1);
		else if (s->nodes[n - 1].colour == WHITE)
			enter_node(s, n - 1);
	}
}

static int
search_all(struct search *s)
{
	uint32_t n;

	if (s->only != 0) {
		if ((n = node_find(s, s->only)) != 0)
			search_from(s, n - 1);
		return s->error;
	}
	for (uint32_t i = 0; i < s->nnodes && s->error == 0; i++)
		if (s->nodes[i].colour == WHITE)
			search_from(s, i);
	return s->error;
}

/* Would it still have to wait, without the victims that are off the queue already? */
static int
still_waits(DB_LOCKTAB *lt, const struct lock_cell *c, bool *waitsp)
{
	uint64_t w = load_relaxed(&c->word);
	const struct lock_cell *object = cell_of(lt, c->u.lock.object, CELL_OBJECT, word_part(w));
	const struct claim claim = { .locker = c->u.lock.locker,
		.mode = word_mode(w),
		.first = (c->u.lock.flags & LOCK_FIRST) != 0 };

	if (object == NULL)
		return table_damaged(lt, "a request has no object", c->u.lock.object);
	return claim_blocked(lt, object, &claim, c, NULL, waitsp);
}

/* The last first: whom that lets go on may need no end any more. */
static int
end_victims(struct search *s, struct wakes *wakes)
{
	bool waits;
	int ret = 0;

	for (uint32_t i = s->nvictims; i-- > 0 && ret == 0;) {
		struct lock_cell *c = s->waits[s->victims[i]].cell;

		if ((ret = still_waits(s->lt, c, &waits)) != 0 || !waits)
			continue;
		s->lt->parts[word_part(load_relaxed(&c->word))].ndeadlocks++;
		ret = lock_abort(s->lt, c, wakes);
	}
	/* Each in its turn, now that all of them are gone. */
	for (uint32_t i = 0; i < s->nvictims && ret == 0; i++)
		ret = lock_go_on(s->lt, s->waits[s->victims[i]].cell->u.lock.object, wakes);
	return ret;
}

/* EAGAIN: there was not room enough. */
static int
search_locked(struct search *s, struct wakes *wakes)
{
	uint32_t n = count_waits(s->lt);
	int ret;

	if (n > cells_known(s->lt))
		return table_damaged(s->lt, "more requests than cells", n);
	/* Cells that come into use from here on are of no partition. */
	if (n > s->room || s->lt->ncells >= s->ncells)
		return EAGAIN;
	if ((ret = add_waits(s)) == 0 && (ret = search_all(s)) == 0)
		ret = end_victims(s, wakes);
	/* Nobody can have begun to wait meanwhile.  If we die before this, the next one looks. */
	if (ret == 0 && s->only == 0)
		store_seq(&s->lt->table->conflict, 0);
	return ret;
}

int
detect_run(DB_LOCKTAB *lt, uint32_t policy, uint32_t only)
{
	struct wakes wakes = { 0 };
	struct search s;
	int ret;

	do {
		uint32_t n = count_waits(lt), most = cells_known(lt);

		/* counted while it changes, it may be anything */
		if (n > most)
			n = most;
		if ((ret = search_init(&s, lt, n + n / 4 + 64)) != 0)
			return ret;
		s.policy = policy;
		s.only = only;
		wakes.words = s.wake_words;
		wakes.room = s.room;
		if ((ret = parts_lock(lt, LOCK_PARTS)) == 0) {
			ret = search_locked(&s, &wakes);
			parts_unlock(lt, LOCK_PARTS);
		}
		wake_now(&wakes);
		search_fini(&s);
	} while (ret == EAGAIN);
	(void)add_relaxed(&lt->table->ndetections, 1);
	return ret;
}

int
lock_detect(DB_LOCKTAB *lt, u_int32_t flags, u_int32_t atype)
{
	int ret;

	if ((ret = table_enter(lt, "lock_detect")) != 0)
		return ret;
	if ((flags & ~(u_int32_t)DB_LOCK_CONFLICT) != 0 || atype < DB_LOCK_DEFAULT ||
	    atype > DB_LOCK_YOUNGEST) {
		env_err(lt->dbenv,
		    "lock_detect: flags %#x, policy %u: only DB_LOCK_CONFLICT, and "
		    "DB_LOCK_DEFAULT, "
		    "OLDEST, RANDOM or YOUNGEST",
		    flags, atype);
		return EINVAL;
	}
	if ((flags & DB_LOCK_CONFLICT) != 0 && load_seq(&lt->table->conflict) == 0)
		return 0;
	/* the dead wait for nobody */
	reap_everybody(lt);
	return detect_run(lt, atype, 0);
}
