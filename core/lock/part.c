/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/part.c - the lock of a partition, and waking those about whom something was decided in it.
 *
 * A partition is locked for some hundred instructions.  If its owner dies in between, the next one
 * builds the partition's index anew before it goes on.  Wakes are collected and done after the
 * partition was unlocked, as far as there is room; a word that has another meaning by then has a
 * waiter too many look up, nothing else.
 */
#include "table.h"

int
part_lock(DB_LOCKTAB *lt, uint32_t part)
{
	struct shlock *l = &lt->parts[part].lock;
	uint32_t nobody = 0;
	int ret = 0;

	/* shlock_lock_marked's first step, without the way there */
	if (cas_seq(&l->owner, &nobody, shlock_mark(lt->self)))
		return 0;
	if (shlock_lock_marked(lt->region, l) == EOWNERDEAD && (ret = part_repair(lt, part)) != 0)
		shlock_unlock_marked(lt->region, l);
	return ret;
}

void
part_unlock(DB_LOCKTAB *lt, uint32_t part)
{
	shlock_unlock_marked(lt->region, &lt->parts[part].lock);
}

void
parts_unlock(DB_LOCKTAB *lt, uint32_t n)
{
	while (n-- > 0)
		part_unlock(lt, n);
}

int
parts_lock(DB_LOCKTAB *lt, uint32_t n)
{
	int ret;

	for (uint32_t part = 0; part < n; part++)
		if ((ret = part_lock(lt, part)) != 0) {
			parts_unlock(lt, part);
			return ret;
		}
	return 0;
}

void
wake_later(struct wakes *wakes, uint32_t *word)
{
	if (wakes->words != NULL && wakes->n < wakes->room)
		wakes->words[wakes->n++] = word;
	else if (wakes->words == NULL && wakes->n < WAKES)
		wakes->few[wakes->n++] = word;
	else
		os_futex_wake(word);
}

void
wake_now(struct wakes *wakes)
{
	uint32_t **words = wakes->words != NULL ? wakes->words : wakes->few;

	for (unsigned i = 0; i < wakes->n; i++)
		os_futex_wake(words[i]);
	wakes->n = 0;
}
