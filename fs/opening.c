/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/opening.c - open(2)s that wait until the kernel has dropped what it has of the file from
 * before.
 *
 * They are counted already, so the file is LIVE (coherence.h): what others change from then on is
 * told.  A worker thread does not wait: the request is answered by coherence_drop.c's thread.
 */
#include "coherence_impl.h"

void
coherence_await(struct fs *fs, struct handle *h, struct opening *o)
{
	struct coherence *c = &fs->coherence;

	o->file = h->node->file;
	link_init(&o->link);
	(void)pthread_mutex_lock(&c->lock);
	link_append(&c->openings, &o->link);
	(void)pthread_mutex_unlock(&c->lock);
	coherence_wake(fs);
}

void
openings_take(struct fs *fs, struct link *list)
{
	struct coherence *c = &fs->coherence;
	struct link *l;

	link_init(list);
	(void)pthread_mutex_lock(&c->lock);
	while ((l = c->openings.next) != &c->openings) {
		link_remove(l);
		link_append(list, l);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

/* Nobody has the file cached but who waits here. */
static void
drop_stale(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	bool stale;

	(void)pthread_mutex_lock(&c->lock);
	stale = f->stale;
	if (stale)
		__atomic_store_n(&f->given, false, __ATOMIC_SEQ_CST);
	(void)pthread_mutex_unlock(&c->lock);
	if (!stale)
		return;
	coherence_drop(fs, f, 0, 0);
	(void)pthread_mutex_lock(&c->lock);
	f->stale = false;
	(void)pthread_mutex_unlock(&c->lock);
}

void
openings_answer(struct fs *fs, struct link *list)
{
	struct opening *o;

	while (!link_is_alone(list)) {
		o = link_entry(list->next, struct opening, link);
		link_remove(&o->link);
		drop_stale(fs, o->file);
		o->answer(fs, o);
	}
}
