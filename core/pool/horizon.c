/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/horizon.c - adaptive is never much worse than LRU: an account of what it gains and loses.
 *
 * An exact LRU list of as many pages as are here would hold those that were used last.  So there
 * is a time, the horizon, that parts what it would hold from what it would not, and stamps, of
 * pages and of ghosts, say on which side each is.  A hit of a page from behind the horizon is a
 * gain over LRU; a miss of one that a ghost says was used since is a loss.  The account has the
 * gains less the losses, and a little for each use: what adaptive may cost.
 *
 * The pages that are kept from behind the horizon are the stake: for each of them one is missing
 * that LRU would have.  What it may cost is the chance that such a page is used again, taken from
 * those that came in lately; so the stake may be as great as the account covers at that chance,
 * and beyond that the oldest page of all goes, as in LRU.  With an empty account that is LRU.
 *
 * Each search for victims counts the ages of all pages and ghosts and finds the horizon.  The time
 * from there on is cut into zones, with the number of pages that were used last in each.  Each miss
 * that LRU would have had takes one from the zone where the horizon is, each use one from the zone
 * of the page; when a zone is empty the horizon is at the next.  All of it is hints (P23), without
 * a lock; sums that went wrong are counted anew by the next search.
 */
#include "horizon.h"
#include "ghost.h"

#define ACCOUNT_ONE 65536  /* what a use is worth */
#define ACCOUNT_RATE 40	   /* given for each use: 0.06 per cent */
#define ACCOUNT_LOSS 75000 /* ghosts do not show all losses */
#define ACCOUNT_FIRST 8	   /* to begin with, in uses, beside a part of the pages: */
#define ACCOUNT_FIRST_PART 256
#define CHANCE_ONE 1024
#define CHANCE_PART 16 /* of the pages: so many that came in say what the chance is */
#define CHANCE_LEAST 16
#define CHANCE_PAGES 4 /* a page's chance is at least so many by the number of pages */

static int64_t
account_first(uint64_t pages)
{
	return (int64_t)(ACCOUNT_FIRST + pages / ACCOUNT_FIRST_PART) * ACCOUNT_ONE;
}

static void
account_add(struct policy_size *z, int64_t n)
{
	uint64_t pages = load_relaxed(&z->pages);
	int64_t most = account_first(pages) + (int64_t)pages * ACCOUNT_ONE;
	int64_t now = (int64_t)(add_relaxed(&z->account, (uint64_t)n) + (uint64_t)n);

	if (now > most || now < -most)
		store_relaxed(&z->account, (uint64_t)(now > most ? most : -most));
}

/* --- the census ------------------------------------------------------------------------------ */

/* Classes of age reach twice as far as the horizon did last. */
void
horizon_census(const DB_MPOOL *p, unsigned pageshift, uint32_t now, struct ages *a)
{
	uint64_t reach = load_relaxed(&policy_size(p, pageshift)->reach);

	if (reach == 0)
		reach = p->small ? pool_bytes(p) >> pageshift : TICKS_LRU;
	memset(a, 0, sizeof(*a));
	a->now = now;
	while (reach * 2 >> a->shift >= AGES - 1)
		a->shift++;
}

/* Ghosts are of all page sizes; that many of so many are of this one. */
static void
ghost_share(const DB_MPOOL *p, unsigned pageshift, uint64_t *minep, uint64_t *allp)
{
	*allp = 0;
	for (unsigned shift = PAGE_SHIFT_MIN; shift <= PAGE_SHIFT_MAX; shift++) {
		const struct policy_size *z = policy_size(p, shift);
		uint64_t n = (uint64_t)load_relaxed(&z->live[0]) + load_relaxed(&z->live[1]);

		if (shift == pageshift)
			*minep = n;
		*allp += n;
	}
}

/* Classes of age up to this one begin there. */
static uint32_t
age_stamp(const struct ages *a, uint32_t class)
{
	uint32_t s = (a->now - ((class + 1) << a->shift)) & STAMP_TIME;

	return s != 0 ? s : 1;
}

static uint32_t
of_age(const struct ages *a, uint32_t class)
{
	return a->pages[class] + a->ghosts[class];
}

/* From class on to the younger ones, of whose pages `first` lie inside the horizon. */
static void
zones_set(
    struct policy_size *z, const struct ages *a, uint32_t class, uint32_t first, uint32_t step)
{
	uint32_t n = first;

	for (unsigned i = 0; i < HORIZONS; i++) {
		store_relaxed(&z->begins[i], age_stamp(a, class));
		while (class > 0 && n < step)
			n += of_age(a, --class);
		store_relaxed(&z->zones[i], n);
		n = class > 0 ? of_age(a, --class) : 0;
	}
	store_relaxed(&z->begins[HORIZONS], age_stamp(a, class));
	store_relaxed(&z->zone, 0);
}

void
horizon_set(DB_MPOOL *p, unsigned pageshift, struct ages *a, uint32_t pages, uint32_t victims)
{
	struct policy_size *z = policy_size(p, pageshift);
	uint32_t here = 0, known = 0, class, n = 0;
	uint64_t mine = 0, all = 0;

	ghost_share(p, pageshift, &mine, &all);
	for (class = 0; class < AGES; class ++) {
		if (mine < all)
			a->ghosts[class] = (uint32_t)(a->ghosts[class] * mine / all);
		n = of_age(a, class);
		if (known + n >= pages)
			break;
		known += n;
		here += a->pages[class];
	}
	if (load_relaxed(&z->pages) == 0)
		store_relaxed(&z->account, (uint64_t)account_first(pages));
	zones_set(z, a, class < AGES ? class : AGES - 1, pages - known, victims / HORIZONS + 1);
	store_relaxed(&z->reach, (class + 1) << a->shift);
	store_relaxed(&z->old, pages - here - (class < AGES ? a->pages[class] : 0));
	store_relaxed(&z->pages, pages);
}

/* --- the horizon ----------------------------------------------------------------------------- */

static uint32_t
zone_begin(const struct policy_size *z, uint32_t i)
{
	return load_relaxed(&z->begins[i < HORIZONS ? i : HORIZONS]);
}

static uint32_t
age_now(const DB_MPOOL *p, uint32_t stamp)
{
	return stamp_age(load_relaxed(&p->mp->clock), stamp);
}

/* Zones from `from` on begin later than that. */
static bool
is_before(const DB_MPOOL *p, const struct policy_size *z, uint32_t from, uint32_t stamp)
{
	return age_now(p, stamp) >= age_now(p, zone_begin(z, from));
}

/* One page less in the zone. */
static void
zone_less(struct policy_size *z, uint32_t i)
{
	uint32_t at = load_relaxed(&z->zone);

	if (i >= HORIZONS)
		return;
	(void)add_relaxed(&z->zones[i], UINT32_MAX);
	while (at < HORIZONS && (int32_t)load_relaxed(&z->zones[at]) <= 0)
		store_relaxed(&z->zone, ++at);
}

/* The page that was used last at that time, within the horizon, is used now. */
static void
leave_zone(const DB_MPOOL *p, struct policy_size *z, uint32_t stamp)
{
	uint32_t low = load_relaxed(&z->zone), high = HORIZONS;

	if (low >= HORIZONS || !is_before(p, z, HORIZONS, stamp))
		return;
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (is_before(p, z, mid, stamp))
			high = mid;
		else
			low = mid;
	}
	zone_less(z, low);
}

/* LRU lets its last page go. */
static void
horizon_move(struct policy_size *z)
{
	(void)add_relaxed(&z->old, 1);
	zone_less(z, load_relaxed(&z->zone));
}

static bool
is_known(const struct policy_size *z)
{
	return load_relaxed(&z->pages) != 0;
}

void
horizon_hit(const DB_MPOOL *p, struct policy_size *z, uint32_t stamp)
{
	if (!is_known(z))
		return;
	if (!is_before(p, z, load_relaxed(&z->zone), stamp)) {
		leave_zone(p, z, stamp);
		return;
	}
	account_add(z, ACCOUNT_ONE);
	/* LRU lets its last page go for this one: as many are behind the horizon as before */
	zone_less(z, load_relaxed(&z->zone));
}

void
horizon_miss(const DB_MPOOL *p, struct policy_size *z, uint32_t stamp)
{
	if (!is_known(z))
		return;
	if (stamp == 0 || horizon_is_beyond(p, z, stamp)) {
		horizon_move(z);
		return;
	}
	account_add(z, -ACCOUNT_LOSS);
	leave_zone(p, z, stamp);
}

/* What lies in the horizon's own zone counts as beyond: that is where LRU takes its victims. */
bool
horizon_is_beyond(const DB_MPOOL *p, const struct policy_size *z, uint32_t stamp)
{
	return is_known(z) && is_before(p, z, load_relaxed(&z->zone) + 1, stamp);
}

void
horizon_gone(const DB_MPOOL *p, struct policy_size *z, uint32_t stamp)
{
	if (horizon_is_beyond(p, z, stamp))
		(void)add_relaxed(&z->old, UINT32_MAX);
}

int64_t
horizon_old(const struct policy_size *z)
{
	return (int32_t)load_relaxed(&z->old);
}

int64_t
horizon_old_most(const struct policy_size *z)
{
	uint64_t pages = load_relaxed(&z->pages), entered = load_relaxed(&z->entered);
	uint64_t joined = load_relaxed(&z->joined);
	int64_t account = (int64_t)load_relaxed(&z->account) / ACCOUNT_ONE;

	if (account <= 0 || pages == 0)
		return 0;
	if (account > (int64_t)pages + 1)
		account = (int64_t)pages + 1;
	if (joined * pages < entered * CHANCE_ONE * CHANCE_PAGES || entered == 0)
		return account * (int64_t)(pages / CHANCE_PAGES + 1);
	return account * (int64_t)(entered * CHANCE_ONE / joined + 1);
}

void
horizon_earn(struct policy_size *z, uint64_t uses)
{
	account_add(z, (int64_t)(uses * ACCOUNT_RATE));
}

void
horizon_entered(struct policy_size *z)
{
	uint32_t most = load_relaxed(&z->pages) / CHANCE_PART;

	if (most < CHANCE_LEAST)
		most = CHANCE_LEAST;
	if (add_relaxed(&z->entered, 1) < 2 * most)
		return;
	store_relaxed(&z->entered, load_relaxed(&z->entered) / 2);
	store_relaxed(&z->joined, load_relaxed(&z->joined) / 2);
}

void
horizon_joined(struct policy_size *z)
{
	(void)add_relaxed(&z->joined, CHANCE_ONE);
}
