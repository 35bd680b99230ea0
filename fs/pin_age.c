/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/pin_age.c - for how long clients have been holding their pins.
 *
 * A pin has no time in the region, because a hit would have to write it.  Instead the mount looks
 * at all slots once a second: a slot that names the same frame as at the last look is as old as
 * then and the time since.  A page that a process gets and puts all the time may so seem to be
 * held by it; one that is held for minutes, which is what people look for, is told rightly.
 */
#include "pin_age.h"

#include <stdlib.h>
#include <string.h>

#include "state.h"

struct pin_age {
	uint32_t frame; /* + 1; 0: none */
	uint32_t client;
	uint64_t since_usec;
	uint64_t looks; /* at which it was seen last */
};

struct pin_ages {
	uint64_t region_id;
	uint64_t looks;
	uint64_t now_usec;
	size_t n;
	struct pin_age slots[];
};

void
pin_ages_free(struct pin_ages *a)
{
	free(a);
}

static void
see_pin(void *arg, size_t slot, uint32_t frame, uint32_t client)
{
	struct pin_ages *a = arg;
	struct pin_age *p = &a->slots[slot];

	if (slot >= a->n)
		return;
	if (p->frame != frame + 1 || p->client != client || p->looks + 1 < a->looks) {
		p->frame = frame + 1;
		p->client = client;
		p->since_usec = a->now_usec;
	}
	p->looks = a->looks;
}

/* As large as the pool at hand needs it: it may have been replaced, or have grown. */
static struct pin_ages *
fitting_locked(struct fs *fs)
{
	uint64_t id = mpool_region(fs->pool)->layout->region_id;
	struct pin_ages *a = fs->pin_ages;
	size_t n = mpool_slots(fs->pool);

	if (a != NULL && a->region_id == id && a->n == n)
		return a;
	free(a);
	fs->pin_ages = a = calloc(1, sizeof(*a) + n * sizeof(a->slots[0]));
	if (a != NULL) {
		a->region_id = id;
		a->n = n;
	}
	return a;
}

void
pin_ages_look(struct fs *fs)
{
	struct pin_ages *a;

	(void)pthread_mutex_lock(&fs->steering.lock);
	if ((a = fitting_locked(fs)) != NULL) {
		a->looks++;
		a->now_usec = os_monotonic_usec();
		(void)mpool_each_pin(fs->pool, see_pin, a);
	}
	(void)pthread_mutex_unlock(&fs->steering.lock);
}

void
pin_ages_of(struct fs *fs, uint32_t client, uint64_t *pinsp, uint64_t *oldest_usecp)
{
	struct pin_ages *a;

	*pinsp = *oldest_usecp = 0;
	(void)pthread_mutex_lock(&fs->steering.lock);
	for (size_t i = 0; (a = fs->pin_ages) != NULL && i < a->n; i++) {
		const struct pin_age *p = &a->slots[i];

		if (p->frame == 0 || p->looks != a->looks || p->client != client)
			continue;
		++*pinsp;
		if (a->now_usec - p->since_usec > *oldest_usecp)
			*oldest_usecp = a->now_usec - p->since_usec;
	}
	(void)pthread_mutex_unlock(&fs->steering.lock);
}
