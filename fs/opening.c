/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/opening.c - open(2)s that wait until the kernel has dropped what it has of the file from
 * before.
 *
 * They are counted already, so the file is LIVE (coherence.h): what others change from then on is
 * told.  A worker thread does not wait: the request is answered by one of the threads of rounds.c.
 */
#include "coherence_impl.h"

void
coherence_await(struct fs *fs, struct handle *h, struct opening *o)
{
	struct coherence *c = &fs->coherence;

	o->file = h->node->file;
	o->seen = false;
	link_init(&o->link);
	(void)pthread_mutex_lock(&c->lock);
	link_append(&c->openings, &o->link);
	(void)pthread_mutex_unlock(&c->lock);
	coherence_wake(fs);
}

void
openings_see(struct coherence *c)
{
	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->openings.next; l != &c->openings; l = l->next) {
		struct opening *o = link_entry(l, struct opening, link);

		o->seen = !o->file->in_hand;
	}
	(void)pthread_mutex_unlock(&c->lock);
}

void
openings_unsee(struct coherence *c, const struct file *f)
{
	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->openings.next; l != &c->openings; l = l->next) {
		struct opening *o = link_entry(l, struct opening, link);

		if (f == NULL || o->file == f)
			o->seen = false;
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

/* With its file in hand. */
static struct opening *
take_seen(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	struct opening *o = NULL;

	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->openings.next; l != &c->openings && o == NULL; l = l->next) {
		o = link_entry(l, struct opening, link);
		if (!o->seen || o->file->in_hand || rounds_wants_locked(o->file, ROUNDS_ASKED))
			o = NULL;
	}
	if (o != NULL) {
		link_remove(&o->link);
		rounds_take_locked(fs, o->file);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return o;
}

bool
opening_step(struct fs *fs)
{
	struct opening *o;

	if ((o = take_seen(fs)) == NULL)
		return false;
	drop_stale(fs, o->file);
	rounds_let(fs, o->file);
	o->answer(fs, o);
	return true;
}

void
openings_answer(struct fs *fs)
{
	struct coherence *c = &fs->coherence;
	struct opening *o;

	while (!link_is_alone(&c->openings)) {
		o = link_entry(c->openings.next, struct opening, link);
		link_remove(&o->link);
		o->answer(fs, o);
	}
}
