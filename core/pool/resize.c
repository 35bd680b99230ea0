/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/resize.c - memp_resize: a pool becomes larger or smaller while it is in use.
 *
 * The tables are as long as the pool may become, from the beginning; what changes is how many
 * extents there are pages in.  The others are CLOSED, which is no page size, so that nobody takes
 * frames there.  Growing gets the bytes first (region_grow), then opens extents.  Shrinking closes
 * extents from the end, each one emptied as for another page size (P21), then gives the bytes back;
 * descriptors, slots and table stay where they are.
 *
 * One process at a time: mp->resizer, which a dead one loses.  Dying in the middle leaves a pool of
 * some size in between, in which everything holds; the next resize goes on from there.
 */
#include "resize.h"
#include "extent.h"
#include "reap.h"
#include "thread.h"

#define UNNOTED_MOST 8	      /* looks at a resizer who has no note of it */
#define PATIENCE_USEC 500000u /* in all: with another who resizes, and with pages in use */

/* False: another has it, *ownerp: client number + 1. */
static bool
try_to_begin(struct thread *t, uint32_t *ownerp)
{
	*ownerp = 0;
	store_seq(&t->home->note_resize, 1);
	if (cas_seq(&t->pool->mp->resizer, ownerp, t->pool->self + 1))
		return true;
	store_release(&t->home->note_resize, 0);
	return false;
}

/*
 * The reaper takes it from a dead one.  A number that nobody has, and a live client that again and
 * again has no note of it, is damage: nobody resizes.
 */
static void
look_at_resizer(struct thread *t, uint32_t owner, unsigned *unnotedp)
{
	DB_MPOOL *p = t->pool;

	if (owner - 1 != p->self && reap_client(t, owner - 1))
		return;
	if (NOTE_SAYS(p, owner - 1, note_resize, 1) || load_seq(&p->mp->resizer) != owner)
		*unnotedp = 0;
	else if (owner_is_impossible(p, owner - 1) || ++*unnotedp == UNNOTED_MOST)
		(void)cas_seq(&p->mp->resizer, &owner, 0);
}

/* Others may come first again and again. */
static int
begin(struct thread *t, uint64_t until)
{
	unsigned unnoted = 0;
	uint32_t owner;

	while (!try_to_begin(t, &owner)) {
		look_at_resizer(t, owner, &unnoted);
		if (os_monotonic_usec() > until) {
			env_err(t->pool->dbenv, "memp_resize: another process (client %u) is at it",
			    owner - 1);
			return EAGAIN;
		}
		os_sleep_usec(1000);
	}
	return 0;
}

static void
end(struct thread *t)
{
	store_seq(&t->pool->mp->resizer, 0);
	store_release(&t->home->note_resize, 0);
}

static uint64_t
region_bytes(const DB_MPOOL *p, uint32_t extents)
{
	return p->g.area + ((uint64_t)extents << p->g.extent_shift);
}

static int
grow(struct thread *t, uint32_t want)
{
	DB_MPOOL *p = t->pool;
	int ret = region_grow(p->region, region_bytes(p, want));

	for (uint32_t e = 0; ret == 0 && e < want; e++)
		(void)extent_open(p, e);
	if (ret == 0)
		store_seq(&p->mp->extents_open, want);
	return ret;
}

/* Others may have a page of it in hand for a moment; what the dead have pinned is reaped. */
static bool
close_patiently(struct thread *t, uint32_t e, uint64_t until)
{
	for (unsigned tries = 0; !extent_close(t, e); tries++) {
		if (tries > 0 && os_monotonic_usec() > until)
			return false;
		if (tries % 64 == 0)
			(void)reap_all(t);
		os_sleep_usec(1000);
	}
	return true;
}

static int
shrink(struct thread *t, uint32_t want, uint32_t have, uint64_t until)
{
	DB_MPOOL *p = t->pool;
	uint32_t e = p->g.nextents;
	int ret = EBUSY;

	/* from now on nobody counts on more; a page that is needed meanwhile finds less room */
	store_seq(&p->mp->extents_open, want);
	while (e > want && close_patiently(t, e - 1, until))
		e--;
	if (e == want)
		ret = region_shrink(p->region, region_bytes(p, want));
	else
		env_err(p->dbenv, "memp_resize: pages in the way are pinned or cannot be written");
	if (ret == 0)
		return 0;
	for (; e < have; e++)
		(void)extent_open(p, e);
	store_seq(&p->mp->extents_open, have);
	return ret;
}

static int
resize(struct thread *t, uint64_t bytes, uint64_t until)
{
	DB_MPOOL *p = t->pool;
	unsigned shift = p->g.extent_shift;
	uint64_t want = (bytes >> shift) + ((bytes & ((1ull << shift) - 1)) != 0);
	uint32_t have = (uint32_t)(pool_bytes(p) >> shift);

	if (want > p->g.nextents) {
		env_err(p->dbenv,
		    "memp_resize: %llu bytes: this pool may have %llu, by the region_max it was "
		    "made with",
		    (unsigned long long)bytes, (unsigned long long)p->g.cache_bytes);
		return ENOMEM;
	}
	return want >= have ? grow(t, (uint32_t)want) : shrink(t, (uint32_t)want, have, until);
}

/*
 * As far as it may: the size is what the manual page calls a suggestion, and who joins has to take
 * what is there anyhow.
 */
void
resize_as_suggested(struct thread *t, uint64_t bytes)
{
	DB_MPOOL *p = t->pool;
	uint64_t most = bytes < p->g.cache_bytes ? bytes : p->g.cache_bytes;
	uint64_t until = os_monotonic_usec() + PATIENCE_USEC;

	if (bytes <= pool_bytes(p))
		return;
	if (most > pool_bytes(p) && begin(t, until) == 0) {
		/* another may have been first, with more */
		if (most > pool_bytes(p))
			(void)resize(t, most, until);
		end(t);
	}
	if (bytes > pool_bytes(p))
		env_warn(p->dbenv,
		    "the pool exists already, and has %llu bytes of %llu at most; %llu were asked "
		    "for",
		    (unsigned long long)pool_bytes(p), (unsigned long long)p->g.cache_bytes,
		    (unsigned long long)bytes);
}

int
memp_resize(DB_MPOOL *p, size_t bytes)
{
	uint64_t until = os_monotonic_usec() + PATIENCE_USEC;
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if (bytes < MIN_CACHE_BYTES) {
		env_err(p->dbenv, "memp_resize: %zu bytes: at least %zu", bytes, MIN_CACHE_BYTES);
		return EINVAL;
	}
	if ((ret = begin(t, until)) != 0)
		return ret;
	ret = resize(t, bytes, until);
	end(t);
	return ret;
}
