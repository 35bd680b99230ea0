/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/family.c - what the process of a flock(2) that waits holds through other descriptions.
 *
 * A description waits for nobody while it holds something; but its process may, through another.
 * If that process is of one thread, and nobody else has the file open, what it holds is released by
 * nobody as long as it waits: then the detector takes the two lockers for one (their family), and a
 * circle with those of lock_get is seen.  Where either is not certain, no circle is: who waits in
 * one that is not there would be told EDEADLK for nothing.
 *
 * It is found out in /proc by the thread that answers, without the mutex, when a wait has lasted a
 * while; the asker is in its system call all that time, or is not there any more afterwards.
 */
#include "locks_impl.h"

#include "opened.h"

bool
family_due(struct locks *l, struct family *f)
{
	struct asker *a = l->askers;

	while (a != NULL && a->searched)
		a = a->next;
	if (a == NULL)
		return false;
	a->searched = true;
	*f = (struct family){ .number = a->number, .pid = a->pid };
	for (const struct owner *o = l->owners; o != NULL && f->n < HELD_MOST; o = o->next)
		if (o->lock != 0) {
			f->held[f->n].id = o->id;
			f->held[f->n++].ino = o->ino;
		}
	return true;
}

void
family_search(struct family *f)
{
	bool one = f->n > 0 && opened_by_one_thread(f->pid);

	for (unsigned i = 0; i < f->n; i++)
		f->held[i].alone = one && opened_by_it_alone(f->pid, f->held[i].ino);
}

void
family_join(struct locks *l, const struct family *f)
{
	const struct asker *a = l->askers;
	bool joined = false;

	while (a != NULL && a->number != f->number)
		a = a->next;
	if (a == NULL || locks_stale(l))
		return;
	for (unsigned i = 0; i < f->n; i++) {
		const struct owner *o = locks_owner(l, f->held[i].id);

		if (!f->held[i].alone || o == NULL || o->lock == 0 || o == a->owner)
			continue;
		locker_set_family(l->lt, o->locker, a->locker);
		joined = true;
	}
	if (joined)
		(void)detect_run(l->lt, DB_LOCK_RANDOM, a->locker);
}

void
family_forget(struct locks *l, const struct asker *a)
{
	if (!locks_stale(l))
		for (const struct owner *o = l->owners; o != NULL; o = o->next)
			if (o->lock != 0 && locker_family(l->lt, o->locker) == a->locker)
				locker_set_family(l->lt, o->locker, 0);
}
