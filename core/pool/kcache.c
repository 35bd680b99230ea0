/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/kcache.c - telling the mount whose kernel has pages of a file that they are old (P24).
 *
 * A thread tells of a page in three words of its own block: file, page, and a ticket that is odd
 * while it waits.  The mount looks through all blocks when the bell rings, drops the page, and
 * raises the ticket.  So nothing is shared that a death could leave locked or half written: the
 * worst that a killed process leaves is a question whose answer nobody reads.
 *
 * All of a file goes by the DROP bit of the row's word, which anybody may set and leave.
 */
#include "kcache.h"

#include "reap.h"

#define LOOK_USEC 100000u /* between looks whether the mount lives */

static bool
is_others(const DB_MPOOL *p, uint64_t w)
{
	return (w & KCACHE_OWNER) != 0 && (w & KCACHE_OWNER) != p->self + 1;
}

/* The mount hears that there is something to do. */
static void
ring(DB_MPOOL *p)
{
	(void)add_seq(&p->mp->kcache_bell, 1);
	if (load_seq(&p->mp->kcache_sleeps) != 0)
		os_futex_wake(&p->mp->kcache_bell);
}

/* Set bits, if the word is still of a LIVE mount.  False: it is not. */
static bool
set_live(struct file_row *row, uint64_t bits, uint64_t *nowp)
{
	uint64_t w = load_seq(&row->kcache);

	do
		if (!(w & KCACHE_LIVE))
			return false;
	while (!cas_seq(&row->kcache, &w, w | bits));
	*nowp = w | bits;
	return true;
}

/* The mount did not answer in time. */
static void
be_late(DB_MPOOL *p, struct file_row *row)
{
	uint64_t w;

	if (set_live(row, KCACHE_DROP | KCACHE_LATE, &w)) {
		(void)add_seq(&p->mp->kcache_drops, 1);
		(void)add_seq(&p->mp->kcache_late, 1);
		ring(p);
	}
}

/* Nobody is there who would answer. */
static bool
is_gone(struct thread *t, struct file_row *row)
{
	uint64_t w = load_seq(&row->kcache);

	if (!(w & KCACHE_LIVE) || !is_others(t->pool, w) || !pool_is_usable(t->pool))
		return true;
	if (client_is_alive(t->pool->region, (uint32_t)(w & KCACHE_OWNER) - 1))
		return false;
	(void)reap_client(t, (uint32_t)(w & KCACHE_OWNER) - 1);
	/* whoever reaps it clears the word; nobody does if the number is damage */
	(void)cas_seq(&row->kcache, &w, 0);
	return true;
}

static bool
is_late(uint64_t since_usec)
{
	return os_monotonic_usec() - since_usec >= KCACHE_PATIENCE_USEC;
}

/* --- all of a file --------------------------------------------------------------------------- */

static bool
is_dropped(uint64_t w, uint64_t asked)
{
	if (!(w & KCACHE_LIVE))
		return true;
	/* one that had begun before we asked does not count */
	return !(w & (KCACHE_DROP | KCACHE_BUSY)) || (w >> 32) - (asked >> 32) >= 2;
}

/* False: it takes too long. */
static bool
ask_and_wait(struct thread *t, struct file_row *row)
{
	uint64_t since = os_monotonic_usec(), asked, w;
	unsigned usec = 50;

	if (!set_live(row, KCACHE_DROP, &asked))
		return true;
	(void)add_seq(&t->pool->mp->kcache_drops, 1);
	ring(t->pool);
	while (!is_dropped(w = load_seq(&row->kcache), asked) && !is_gone(t, row)) {
		if ((w & KCACHE_LATE) || is_late(since))
			return false;
		os_futex_wait((const uint32_t *)&row->kcache, (uint32_t)w, usec);
		usec = usec < LOOK_USEC ? usec * 2 : LOOK_USEC;
	}
	return true;
}

/* The pages that a kernel keeps of a file that is not LIVE are not good any more. */
static bool
drop_all(struct thread *t, struct file_row *row)
{
	uint64_t w = load_seq(&row->kcache);

	while (is_others(t->pool, w) && !(w & KCACHE_LIVE))
		if (cas_seq(&row->kcache, &w, 0))
			return true;
	return !is_others(t->pool, w) || ask_and_wait(t, row);
}

void
kcache_told_all(struct thread *t, struct file_row *row)
{
	if (!drop_all(t, row))
		be_late(t->pool, row);
}

int
kcache_opened(struct thread *t, struct file_row *row)
{
	return drop_all(t, row) ? 0 : EAGAIN;
}

void
kcache_spoil(DB_MPOOL *p, struct file_row *row)
{
	uint64_t w = load_seq(&row->kcache);

	while (w != 0) {
		if (!cas_seq(&row->kcache, &w, w & KCACHE_LIVE ? w | KCACHE_DROP : 0))
			continue;
		if (w & KCACHE_LIVE) {
			(void)add_seq(&p->mp->kcache_drops, 1);
			ring(p);
		}
		return;
	}
}

void
kcache_left(DB_MPOOL *p, struct file_row *row, uint32_t number)
{
	uint64_t w = load_seq(&row->kcache);

	if ((w & KCACHE_LIVE) && (w & KCACHE_OWNER) != (uint64_t)number + 1)
		kcache_spoil(p, row);
}

/* --- a page ---------------------------------------------------------------------------------- */

void
kcache_tell_page(struct thread *t, struct file_row *row, uint32_t id, db_pgno_t pgno)
{
	struct block *b = t->home;
	uint32_t ticket = (load_relaxed(&b->told_ticket) + 1) | 1;
	uint64_t since = os_monotonic_usec();

	if (load_seq(&row->kcache) & KCACHE_LATE) {
		be_late(t->pool, row);
		return;
	}
	store_relaxed(&b->told_file, id);
	store_relaxed(&b->told_pgno, pgno);
	store_seq(&b->told_ticket, ticket);
	/* a mount that has ended it before does not look for tickets any more */
	if (!(load_seq(&row->kcache) & KCACHE_LIVE)) {
		(void)cas_seq(&b->told_ticket, &ticket, ticket + 1);
		return;
	}
	ring(t->pool);
	while (load_acquire(&b->told_ticket) == ticket) {
		os_futex_wait(&b->told_ticket, ticket, LOOK_USEC);
		if (load_acquire(&b->told_ticket) != ticket ||
		    (!is_gone(t, row) && !is_late(since)))
			continue;
		if (!is_gone(t, row))
			be_late(t->pool, row);
		(void)cas_seq(&b->told_ticket, &ticket, ticket + 1);
		return;
	}
}

void
mpool_kcache_tell(DB_MPOOLFILE *mpf, db_pgno_t pgno)
{
	struct thread *t;

	if (kcache_is_live(mpf->pool, mpf->row) && enter(mpf->pool, &t) == 0)
		kcache_tell_page(t, mpf->row, mpf->file, pgno);
}

void
kcache_block_left(struct block *b)
{
	uint32_t ticket = load_seq(&b->told_ticket);

	if (ticket & 1)
		(void)cas_seq(&b->told_ticket, &ticket, ticket + 1);
}

/* --- the mount ------------------------------------------------------------------------------- */

void
kcache_release(DB_MPOOL *p, uint32_t number)
{
	uint32_t owner = number + 1;

	for (uint32_t r = 0; r < rows_used(p); r++) {
		uint64_t w = load_seq(&p->rows[r].kcache);

		while ((w & KCACHE_OWNER) == owner && !cas_seq(&p->rows[r].kcache, &w, 0))
			continue;
		if ((w & KCACHE_OWNER) == owner)
			os_futex_wake((const uint32_t *)&p->rows[r].kcache);
	}
	(void)cas_seq(&p->mp->kcache_owner, &owner, 0);
}

int
mpool_kcache_claim(DB_MPOOL *p)
{
	struct thread *t;
	uint32_t none = 0;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	while (!cas_seq(&p->mp->kcache_owner, &none, p->self + 1)) {
		if (none == p->self + 1)
			return 0;
		if (client_is_alive(p->region, none - 1))
			return EBUSY;
		(void)reap_client(t, none - 1);
		(void)cas_seq(&p->mp->kcache_owner, &none, 0);
		none = 0;
	}
	return 0;
}

bool
mpool_kcache_shared(DB_MPOOLFILE *mpf)
{
	bool shared;

	region_lock(mpf->pool);
	shared = file_is_written_by_others(mpf->pool, mpf->file);
	region_unlock(mpf->pool);
	return shared;
}

int
mpool_kcache_begin(DB_MPOOLFILE *mpf, bool anyhow, bool *keptp)
{
	DB_MPOOL *p = mpf->pool;
	uint64_t w, own = p->self + 1;
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if (load_seq(&p->mp->kcache_owner) != own)
		return EPERM;
	region_lock(p);
	if (!anyhow && file_is_written_by_others(p, mpf->file)) {
		region_unlock(p);
		return EBUSY;
	}
	w = load_seq(&mpf->row->kcache);
	do
		*keptp = (w & KCACHE_OWNER) == own && (w & KCACHE_KEPT) &&
		    !(w & (KCACHE_DROP | KCACHE_BUSY));
	while (!cas_seq(&mpf->row->kcache, &w,
	    ((w & KCACHE_OWNER) == own ? w : w & ~0xffffffffull) | own | KCACHE_LIVE |
		KCACHE_KEPT));
	region_unlock(p);
	return 0;
}

void
mpool_kcache_end(DB_MPOOLFILE *mpf, bool keep)
{
	DB_MPOOL *p = mpf->pool;
	uint64_t w, next;

	region_lock(p);
	keep = keep && !file_is_written_by_others(p, mpf->file);
	w = load_seq(&mpf->row->kcache);
	do {
		if ((w & KCACHE_OWNER) != p->self + 1)
			break;
		next = keep && !(w & (KCACHE_DROP | KCACHE_BUSY)) ?
		    w & ~(KCACHE_LIVE | KCACHE_LATE) :
		    w & ~0xffffffffull;
	} while (!cas_seq(&mpf->row->kcache, &w, next));
	region_unlock(p);
	os_futex_wake((const uint32_t *)&mpf->row->kcache);
}

/* Is this mount asked to drop what its kernel has of the file? */
static bool
is_asked(const DB_MPOOLFILE *mpf, uint64_t w)
{
	return (w & KCACHE_OWNER) == mpf->pool->self + 1 && (w & KCACHE_DROP) != 0;
}

bool
mpool_kcache_drop_begin(DB_MPOOLFILE *mpf, bool *latep)
{
	uint64_t w = load_seq(&mpf->row->kcache);

	do
		if (!is_asked(mpf, w))
			return false;
	while (!cas_seq(&mpf->row->kcache, &w, (w & ~(KCACHE_DROP | KCACHE_LATE)) | KCACHE_BUSY));
	*latep = (w & KCACHE_LATE) != 0;
	return true;
}

bool
mpool_kcache_is_late(const DB_MPOOLFILE *mpf)
{
	uint64_t w = load_seq(&mpf->row->kcache);

	return is_asked(mpf, w) && (w & KCACHE_LATE) != 0;
}

void
mpool_kcache_drop_end(DB_MPOOLFILE *mpf)
{
	uint64_t w = load_seq(&mpf->row->kcache), next;

	do {
		if (!(w & KCACHE_BUSY))
			return;
		next = (w & ~KCACHE_BUSY) + KCACHE_DROPS_ONE;
		if (!(w & KCACHE_DROP))
			next &= ~KCACHE_LATE;
	} while (!cas_seq(&mpf->row->kcache, &w, next));
	os_futex_wake((const uint32_t *)&mpf->row->kcache);
}

void
mpool_kcache_ask_drop(DB_MPOOLFILE *mpf)
{
	kcache_spoil(mpf->pool, mpf->row);
}

uint32_t
mpool_file_id(const DB_MPOOLFILE *mpf)
{
	return mpf->file;
}

uint32_t
mpool_kcache_drops(const DB_MPOOL *p)
{
	return load_seq(&p->mp->kcache_drops);
}

uint32_t
mpool_kcache_late(const DB_MPOOL *p)
{
	return load_seq(&p->mp->kcache_late);
}

unsigned
mpool_kcache_told(DB_MPOOL *p, struct mpool_told *told, unsigned most)
{
	uint32_t used = load_seq(&p->mp->blocks_used);
	unsigned n = 0;

	for (uint32_t i = 0; i < used && i < p->g.nblocks && n < most; i++) {
		struct block *b = &p->blocks[i];
		uint32_t ticket = load_seq(&b->told_ticket);

		if (ticket & 1)
			told[n++] = (struct mpool_told){ .block = i,
				.ticket = ticket,
				.file = load_relaxed(&b->told_file),
				.pgno = load_relaxed(&b->told_pgno) };
	}
	return n;
}

void
mpool_kcache_answer(DB_MPOOL *p, const struct mpool_told *told)
{
	uint32_t ticket = told->ticket, *at = &p->blocks[told->block % p->g.nblocks].told_ticket;

	if (cas_seq(at, &ticket, ticket + 1))
		os_futex_wake(at);
}

uint32_t
mpool_kcache_bell(const DB_MPOOL *p)
{
	return load_seq(&p->mp->kcache_bell);
}

void
mpool_kcache_wait(DB_MPOOL *p, uint32_t bell, unsigned usec)
{
	store_seq(&p->mp->kcache_sleeps, 1);
	if (load_seq(&p->mp->kcache_bell) == bell)
		os_futex_wait(&p->mp->kcache_bell, bell, usec);
	store_seq(&p->mp->kcache_sleeps, 0);
}

void
mpool_kcache_ring(DB_MPOOL *p)
{
	ring(p);
}
