/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/thread.c - what a thread owns in the region: a block of slots, notes and counters.
 *
 * A pin is a frame number in one of the thread's own slots.  More than 64 pins take further
 * blocks; notes and counters are in the first.  A thread finds its struct thread through a
 * thread-local cache, then through its own list; when it exits, its empty blocks go back, and one
 * that still holds pins stays with the pool, as its struct thread does, until another thread has
 * put them.
 *
 * The first slot is never given to a pin that lasts (slot_of_a_moment): what has to pin a page to
 * go on with other people's work does not fail for want of one.
 *
 * A thread puts its own pages without a locked instruction until another thread puts one for it
 * (thread_share): membarrier(2) makes sure that it has seen so before its slots are touched.
 *
 * list_mutex guards every thread's next_of_self list against the pools' closing.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "extent.h"
#include "tally.h"
#include "thread.h"
#include "victims.h"

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
__thread struct thread *thread_last;

static void
block_release(const DB_MPOOL *p, struct pin_block *pb)
{
	tally_settle(p, pb->b);
	for (unsigned i = 0; i < BLOCK_SLOTS; i++)
		store_release(&pb->b->slots[i], 0);
	store_seq(&pb->b->owner, 0);
}

static bool
block_is_empty(const struct block *b)
{
	for (unsigned i = 0; i < BLOCK_SLOTS; i++)
		if (load_relaxed(&b->slots[i]) != 0)
			return false;
	return true;
}

/* The free frames that only this thread knows of are everybody's again. */
static void
free_hand_back(struct thread *t)
{
	for (unsigned i = 0; i < PAGE_SHIFTS; i++)
		while (t->free[i].n > 0)
			extent_hint_free(t->pool, t->free[i].frames[--t->free[i].n]);
}

/* Can one page have more than PINS_OF_A_PAGE pins of this process?  Under threads_mutex. */
static void
blocks_changed(DB_MPOOL *p, int more)
{
	bool many;

	p->pin_blocks += (unsigned)more;
	many = (uint64_t)p->pin_blocks * BLOCK_SLOTS > PINS_OF_A_PAGE;
	store_relaxed(&p->many_pins, many);
	store_relaxed(&p->short_id, many ? UINT64_MAX : p->id);
}

/*
 * Give back what can be given back of a thread that is gone.  True: that was all.  Under
 * threads_mutex.
 */
static bool
thread_shed(struct thread *t)
{
	bool all = true;

	free(t->io);
	t->io = NULL;
	free_hand_back(t);
	for (unsigned i = 0; i < t->npins; i++) {
		struct pin_block *pb = t->pins[i];

		if (pb->b != NULL && block_is_empty(pb->b)) {
			block_release(t->pool, pb);
			pb->b = NULL;
			blocks_changed(t->pool, -1);
		}
		all &= pb->b == NULL;
	}
	return all;
}

static void
thread_free(struct thread *t)
{
	for (unsigned i = 1; i < t->npins; i++)
		free(t->pins[i]);
	free(t->pins);
	free(t->victims);
	free(t->io);
	free(t);
}

void
thread_ended(struct thread *t)
{
	DB_MPOOL *p = t->pool;
	struct thread **link;

	t->exited = true;
	if (!thread_shed(t))
		return;
	for (link = &p->threads; *link != NULL && *link != t;)
		link = &(*link)->next;
	if (*link != NULL)
		*link = t->next;
	if (p->lone == t)
		store_relaxed(&p->lone, NULL);
	thread_free(t);
}

/* The destructor of exit_key: its value is the head of the thread's list. */
static void
thread_exit(void *head)
{
	struct thread *t = head, *next;
	DB_MPOOL *p;

	pthread_mutex_lock(&list_mutex);
	for (; t != NULL; t = next) {
		next = t->next_of_self;
		/* a forked child has no pins: the blocks are its parent's (S11) */
		if (t->pool != NULL && region_is_inherited(t->pool->region))
			continue;
		if ((p = t->pool) == NULL) {
			thread_free(t);
			continue;
		}
		pthread_mutex_lock(&p->threads_mutex);
		thread_ended(t);
		pthread_mutex_unlock(&p->threads_mutex);
	}
	thread_last = NULL;
	pthread_mutex_unlock(&list_mutex);
}

/* Another thread may have held it at the fork; what is at hand was the parent's. */
static void
in_child(void)
{
	(void)pthread_mutex_init(&list_mutex, NULL);
	thread_last = NULL;
}

/* Before the program's own handlers, which may try to use what they had. */
__attribute__((constructor)) static void
watch_forks(void)
{
	(void)pthread_atfork(NULL, NULL, in_child);
}

static void
make_exit_key(void)
{
	(void)pthread_key_create(&exit_key, thread_exit);
}

/* A free block of the region for this client; the high-water mark is raised before it is used. */
static bool
block_take(DB_MPOOL *p, uint32_t *indexp)
{
	for (uint32_t i = 0; i < p->g.nblocks; i++) {
		uint32_t none = 0, used;

		if (load_relaxed(&p->blocks[i].owner) != 0 ||
		    !cas_seq(&p->blocks[i].owner, &none, p->self + 1))
			continue;
		used = load_seq(&p->mp->blocks_used);
		while (used < i + 1 && !cas_seq(&p->mp->blocks_used, &used, i + 1))
			continue;
		*indexp = i;
		return true;
	}
	return false;
}

/* One more entry in t->pins; other threads look through that list under threads_mutex. */
static int
pin_block_append(struct thread *t, struct pin_block *pb)
{
	struct pin_block **list;

	pthread_mutex_lock(&t->pool->threads_mutex);
	list = realloc(t->pins, (t->npins + 1) * sizeof(*list));
	if (list != NULL) {
		t->pins = list;
		t->pins[t->npins++] = pb;
		blocks_changed(t->pool, 1);
	}
	pthread_mutex_unlock(&t->pool->threads_mutex);
	return list != NULL ? 0 : ENOMEM;
}

static int
pin_block_add(struct thread *t)
{
	struct pin_block *pb = &t->first;
	int ret;

	if (t->npins > 0 && (ret = os_calloc(1, sizeof(*pb), (void **)&pb)) != 0)
		return ret;
	if (!block_take(t->pool, &pb->index)) {
		env_err(t->pool->dbenv,
		    "the pool has no room for more pins: all %u blocks of %d are taken",
		    t->pool->g.nblocks, BLOCK_SLOTS);
		if (pb != &t->first)
			free(pb);
		return EAGAIN;
	}
	pb->b = &t->pool->blocks[pb->index];
	store_relaxed(&pb->b->tid, (int32_t)syscall(SYS_gettid));
	if ((ret = pin_block_append(t, pb)) != 0) {
		block_release(t->pool, pb);
		if (pb != &t->first)
			free(pb);
	}
	return ret;
}

static int
thread_create(DB_MPOOL *p, struct thread **tp)
{
	struct thread *t;
	int ret;

	if ((ret = os_calloc(1, sizeof(*t), (void **)&t)) != 0)
		return ret;
	t->pool = p;
	t->pool_id = t->short_id = p->id;
	t->self = pthread_self();
	t->first.used = 1; /* slot_of_a_moment */
	if ((ret = victims_create(p, &t->victims)) != 0 || (ret = pin_block_add(t)) != 0) {
		thread_free(t);
		return ret;
	}
	t->home = t->first.b;
	t->hits_earned = thread_hits(t); /* by the block's earlier threads */
	t->shared = p->threaded && !p->barrier;
	pthread_mutex_lock(&p->threads_mutex);
	store_relaxed(&p->lone, p->threads == NULL ? t : NULL);
	t->next = p->threads;
	p->threads = t;
	pthread_mutex_unlock(&p->threads_mutex);
	*tp = t;
	return 0;
}

int
thread_spare(DB_MPOOL *p)
{
	struct thread *lone = p->lone;
	int ret = thread_create(p, &p->spare);

	p->lone = lone; /* the spare one only puts */
	return ret;
}

/* Find in this thread's own list, forgetting pools that were closed; or make. */
static int
thread_find(DB_MPOOL *p, struct thread **tp)
{
	struct thread *t, **link, *head;
	int ret;

	(void)pthread_once(&exit_once, make_exit_key);
	head = pthread_getspecific(exit_key);
	pthread_mutex_lock(&list_mutex);
	for (link = &head; (t = *link) != NULL;) {
		if (t->pool == NULL) {
			*link = t->next_of_self;
			if (thread_last == t)
				thread_last = NULL;
			thread_free(t);
			continue;
		}
		if (t->pool_id == p->id)
			break;
		link = &t->next_of_self;
	}
	pthread_mutex_unlock(&list_mutex);
	ret = pthread_setspecific(exit_key, head);
	if (ret == 0 && t == NULL && (ret = thread_create(p, &t)) == 0) {
		t->next_of_self = head;
		ret = pthread_setspecific(exit_key, t);
	}
	if (ret == 0)
		*tp = thread_last = t;
	return ret;
}

void
thread_share(struct thread *t)
{
	if (t->shared)
		return;
	store_seq(&t->shared, true);
	os_barrier();
	while (load_acquire(&t->putting))
		os_sleep_usec(1);
}

int
thread_self(DB_MPOOL *p, struct thread **tp)
{
	if (!p->threaded) {
		if (p->single == NULL) {
			int ret = thread_create(p, &p->single);
			if (ret != 0)
				return ret;
		}
		*tp = p->single;
		return 0;
	}
	if (thread_last != NULL && thread_last->pool_id == p->id) {
		*tp = thread_last;
		return 0;
	}
	return thread_find(p, tp);
}

/* All blocks go back; structures of threads that still run are freed by them. */
void
threads_close(DB_MPOOL *p)
{
	struct thread *t, *next;

	pthread_mutex_lock(&list_mutex);
	for (t = p->threads; t != NULL; t = next) {
		next = t->next;
		free_hand_back(t);
		for (unsigned i = 0; i < t->npins; i++)
			if (t->pins[i]->b != NULL)
				block_release(t->pool, t->pins[i]);
		t->pool = NULL;
		t->pool_id = t->short_id = 0;
		if (t->exited || t == p->single || t == p->spare)
			thread_free(t);
	}
	p->threads = p->single = p->spare = NULL;
	pthread_mutex_unlock(&list_mutex);
}

static bool
slot_in(struct pin_block *pb, uint32_t **slotp, struct pin **pinp)
{
	unsigned i;

	if (pb->used == UINT64_MAX || load_relaxed(&pb->returned) != 0)
		pb->used &= ~exchange_seq(&pb->returned, 0);
	if (pb->used == UINT64_MAX)
		return false;
	i = (unsigned)__builtin_ctzll(~pb->used);
	pb->used |= 1ull << i;
	*slotp = &pb->b->slots[i];
	*pinp = &pb->pins[i];
	return true;
}

int
slot_take(struct thread *t, uint32_t **slotp, struct pin **pinp)
{
	int ret;

	for (unsigned i = 0; i < t->npins; i++)
		if (slot_in(t->pins[i], slotp, pinp))
			return 0;
	if ((ret = pin_block_add(t)) != 0)
		return ret;
	return slot_in(t->pins[t->npins - 1], slotp, pinp) ? 0 : EAGAIN;
}

void
slot_drop(struct thread *t, uint32_t *slot)
{
	for (unsigned i = 0; i < t->npins; i++) {
		struct pin_block *pb = t->pins[i];

		if (slot < pb->b->slots || slot >= pb->b->slots + BLOCK_SLOTS)
			continue;
		pb->pins[slot - pb->b->slots].mpf = NULL;
		pb->set[slot - pb->b->slots] = 0;
		store_release(slot, 0);
		pb->used &= ~(1ull << (slot - pb->b->slots));
		return;
	}
}

/* Appended; holes are used only when there is no room behind the last. */
void
note_frame(struct thread *t, uint32_t f)
{
	unsigned i = t->notes;

	if (i == BLOCK_NOTES)
		while (i > 0 && t->home->notes[i - 1] != 0)
			i--;
	else
		i = ++t->notes;
	if (i > 0) /* else somebody has scribbled over our block: then it cannot help to reap */
		store_release(&t->home->notes[i - 1], f + 1);
}

void
note_clear(struct thread *t, uint32_t f)
{
	for (unsigned i = t->notes; i-- > 0;)
		if (t->home->notes[i] == f + 1) {
			store_release(&t->home->notes[i], 0);
			break;
		}
	while (t->notes > 0 && t->home->notes[t->notes - 1] == 0)
		t->notes--;
}

bool
note_says(const DB_MPOOL *p, uint32_t number, size_t offset, uint32_t value)
{
	uint32_t used = load_seq(&p->mp->blocks_used);

	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++) {
		const uint8_t *b = (const uint8_t *)&p->blocks[i];

		if (load_seq(&p->blocks[i].owner) == number + 1 &&
		    load_seq((const uint32_t *)(const void *)(b + offset)) == value)
			return true;
	}
	return false;
}

int
pins_check(const DB_MPOOL *p, uint32_t f)
{
	uint32_t used = load_acquire(&p->mp->blocks_used), n = 0;

	if (!load_relaxed(&p->many_pins))
		return 0;
	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++)
		if (load_relaxed(&p->blocks[i].owner) == p->self + 1)
			for (unsigned k = 0; k < BLOCK_SLOTS; k++)
				n += load_relaxed(&p->blocks[i].slots[k]) == f + 1;
	if (n <= PINS_OF_A_PAGE)
		return 0;
	env_err(p->dbenv, "a page is pinned %u times by this process: put it sometimes",
	    PINS_OF_A_PAGE);
	return EAGAIN;
}

uint64_t
counter_sum(const DB_MPOOL *p, enum counter c)
{
	uint32_t used = load_acquire(&p->mp->blocks_used);
	uint64_t n = 0;

	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++)
		n += load_relaxed(&p->blocks[i].counters[c]);
	return n;
}

/* A small open-addressed set over the frames asked for. */
struct frame_set {
	uint8_t cell[4 * BATCH]; /* index + 1 */
};

static unsigned
set_hash(uint32_t f)
{
	return (f * 0x9e3779b1u) >> 24;
}

static void
set_fill(struct frame_set *set, struct pin_scan *s)
{
	memset(set, 0, sizeof(*set));
	for (unsigned i = 0; i < s->n; i++) {
		unsigned h = set_hash(s->frames[i]);

		while (set->cell[h] != 0)
			h = (h + 1) % (4 * BATCH);
		set->cell[h] = (uint8_t)(i + 1);
		s->pinned[i] = false;
	}
}

static void
set_mark(const struct frame_set *set, struct pin_scan *s, uint32_t f)
{
	for (unsigned h = set_hash(f); set->cell[h] != 0; h = (h + 1) % (4 * BATCH))
		if (s->frames[set->cell[h] - 1] == f)
			s->pinned[set->cell[h] - 1] = true;
}

/*
 * Slots that were stored before, by anybody, are visible now; whoever stores one from now on sees
 * what was marked before.  False: the system could not.
 */
static bool
barrier(const DB_MPOOL *p)
{
	return p->fenced || os_barrier_all() == 0;
}

void
pins_scan(const DB_MPOOL *p, struct pin_scan *s, uint32_t except)
{
	struct frame_set set;
	uint32_t used;

	set_fill(&set, s);
	if (s->n == 0)
		return;
	if (!barrier(p)) {
		memset(s->pinned, true, sizeof(s->pinned));
		return;
	}
	used = load_seq(&p->mp->blocks_used);
	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++) {
		const struct block *b = &p->blocks[i];
		uint32_t owner = load_seq(&b->owner);

		if (owner == 0 || owner == except + 1)
			continue;
		for (unsigned k = 0; k < BLOCK_SLOTS; k++) {
			uint32_t f = load_seq(&b->slots[k]);

			if (f != 0)
				set_mark(&set, s, f - 1);
		}
	}
}
