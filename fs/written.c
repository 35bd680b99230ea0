/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/written.c - write(2)s of tracked files, which are answered when the kernel has no older copy
 * of the bytes (rule C3 in coherence.h).
 *
 * A write(2) through the kernel's cache changes the kernel's page first and sends the bytes then;
 * the page is not locked meanwhile.  If it was dropped in between, somebody may have read the old
 * bytes again.  So the page is dropped once more, and the write answered after that.
 *
 * But a page of which such a write changes a part, and of which the kernel had nothing else, stays
 * locked until the answer: it cannot be waited for, and nobody can have read it.  Whether the last
 * page is such a one only the kernel knows.  So it is asked what it has there, which takes no lock.
 * If it has the written bytes, or nothing, the page is good as it is; if it has others, it is not
 * the one that is locked.
 *
 * What the kernel does to its own pages, and to what it takes for the end, after the answer to an
 * fallocate(2) or a truncation, it does to what has come in meanwhile as well: of a tracked file
 * that is dropped when it has happened, which a fence tells (notifier.h).  Whoever changes those
 * bytes waits for that.  Where fences do not work it is dropped after a time, and again.
 *
 * Whoever drops pages may be waiting for that lock, too.  Then these writes are seen to aside
 * (notifier.h), so they never wait for him.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coherence_impl.h"
#include "copies.h"
#include "ops_impl.h"

#define PROBE_USEC 20000u /* a fence that works is not passed so long before an answer */
#define LATE_USEC 2000u
#define LOOK_USEC 200u
#define LOOKS 100u
#define KERNEL_USEC 1000000u
#define LAST_USEC 10000u /* then three times that, and so on, */
#define LAST_TIMES 5u	 /* so often: for a second or so */
#define NO_END (UINT64_C(1) << 62)

enum written_state {
	WRITTEN_UNDER_WAY, /* it is not decided yet */
	WRITTEN_DECIDED,
	WRITTEN_ASKS,	 /* soon */
	WRITTEN_ASKED,	 /* the kernel, what it has of the last page */
	WRITTEN_TO_DROP, /* the last page, too */
	WRITTEN_HELD,	 /* the answer waits until the kernel was told of a greater end */
	WRITTEN_LATE,	 /* once the kernel has done its part, if it was quick */
	WRITTEN_LAST	 /* or not */
};

struct written {
	struct link link; /* [k] in coherence.writtens */
	uint64_t number, age;
	struct file *file; /* with a reference to its node */
	uint64_t from, to;
	uint64_t last;	/* where the part of a page that may be locked begins */
	size_t nlast;	/* its bytes; 0: none is */
	bool is_zeros;	/* fallocate(2) */
	bool sets_end;	/* a truncation, or another change of attributes: */
	struct stat st; /* the answer */
	bool fenced;	/* LATE lasts until it passes: */
	struct notifier_wait fence;
	bool drops_late;	  /* what it changed can be looked at only after the answer */
	enum written_state state; /* [k] */
	uint64_t due_usec;	  /* LATE, LAST: when */
	unsigned last_usec;	  /* LAST: it was waited so long */
	unsigned lasts;		  /* and it was dropped so often */
	void *req;		  /* [k] fuse_req_t; NULL: answered, or not decided */
	int error;
	size_t done;
	char bytes[COPY_BYTES]; /* from last on */
};

static uint64_t
page_of(uint64_t at)
{
	return at - at % COPY_BYTES;
}

/* --- a write(2) comes ------------------------------------------------------------------------- */

/* The page of which only a part is written and that no other page of the write follows. */
static void
find_last(struct written *w, const struct changing *ch)
{
	uint64_t to = ch->asked + (ch->to - ch->from), last = page_of(to - 1);

	if (last < ch->asked)
		last = ch->asked;
	if (!ch->through_cache || (last % COPY_BYTES == 0 && to % COPY_BYTES == 0))
		return;
	w->last = last;
	w->nlast = (size_t)(to - last);
	memcpy(w->bytes, ch->buf + (last - ch->asked), w->nlast);
}

/*
 * The kernel has put the bytes where it takes the end for, and that is not the end any more: its
 * page is wrong, and may be locked all the same.
 */
static bool
is_misplaced(const struct changing *ch)
{
	return ch->through_cache && ch->asked != ch->from;
}

/* It does not know the end when this is answered. */
static bool
hides_end(const struct file *f, const struct changing *ch)
{
	return ch->asked != ch->from && __atomic_load_n(&f->cached, __ATOMIC_SEQ_CST) > 0;
}

static int
written_add_locked(
    struct coherence *c, struct file *f, const struct changing *ch, struct written **wp)
{
	uint64_t asked_to = ch->asked + (ch->to - ch->from);
	struct written *w;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		return ENOMEM;
	w->number = ++c->writes;
	w->age = ++c->age;
	w->file = f;
	w->from = is_misplaced(ch) && ch->asked < ch->from ? ch->asked : ch->from;
	w->to = is_misplaced(ch) && asked_to > ch->to ? asked_to : ch->to;
	w->is_zeros = ch->buf == NULL;
	find_last(w, ch);
	w->drops_late = is_misplaced(ch);
	link_append(&c->writtens, &w->link);
	*wp = w;
	return 0;
}

/* Pages that a write through the kernel's cache fills are there without having been read. */
static int
note_whole_pages_locked(struct coherence *c, struct file *f, const struct changing *ch)
{
	uint64_t first = page_of(ch->from + COPY_BYTES - 1), end = page_of(ch->to);
	size_t before = copies_count(f->copies);
	int err;

	if (first >= end)
		return 0;
	if ((err = copies_announce(f->copies, first, end, ++c->age)) == 0)
		copies_fill(
		    f->copies, first, ch->buf + (first - ch->from), (size_t)(end - first), end);
	coherence_grew_locked(c, f, before);
	return err;
}

int
coherence_write(struct fs *fs, struct file *f, const struct changing *ch, struct written **wp)
{
	struct coherence *c = &fs->coherence;
	int err = 0;

	*wp = NULL;
	if (c->mode == FS_CACHE_NONE || ch->from >= ch->to)
		return 0;
	if (ch->through_cache)
		coherence_gives(f);
	(void)pthread_mutex_lock(&c->lock);
	if (is_misplaced(ch) || hides_end(f, ch) ||
	    (f->copies != NULL && (ch->buf == NULL || copies_any(f->copies, ch->from, ch->to))))
		err = written_add_locked(c, f, ch, wp);
	else if (f->copies != NULL && ch->through_cache)
		err = note_whole_pages_locked(c, f, ch);
	(void)pthread_mutex_unlock(&c->lock);
	if (*wp != NULL)
		node_get(fs, f->node);
	return err;
}

void
coherence_reply(struct fs *fs, struct written *w, void *req, int error, size_t done)
{
	struct coherence *c = &fs->coherence;

	(void)pthread_mutex_lock(&c->lock);
	w->state = WRITTEN_DECIDED;
	w->req = req;
	w->error = error;
	w->done = done;
	(void)pthread_mutex_unlock(&c->lock);
	coherence_wake(fs);
}

static bool
is_answered(const struct written *w)
{
	return w->state >= WRITTEN_TO_DROP && w->req == NULL;
}

bool
written_covers_locked(const struct coherence *c, const struct file *f, uint64_t at)
{
	for (const struct link *l = c->writtens.next; l != &c->writtens; l = l->next) {
		const struct written *w = link_entry(l, const struct written, link);

		if (w->file == f && at >= w->from && at < w->to && !is_answered(w))
			return true;
	}
	return false;
}

bool
written_overlaps_locked(const struct coherence *c, const struct file *f, uint64_t from, uint64_t to)
{
	for (const struct link *l = c->writtens.next; l != &c->writtens; l = l->next) {
		const struct written *w = link_entry(l, const struct written, link);

		if (w->file == f && page_of(w->from) < to && page_of(w->to + COPY_BYTES - 1) > from)
			return true;
	}
	return false;
}

/* The kernel may still be about to zero its pages there, for one of the first that came; [k]. */
static bool
zeroes_locked(
    const struct coherence *c, const struct file *f, uint64_t from, uint64_t to, uint64_t first)
{
	for (const struct link *l = c->writtens.next; l != &c->writtens; l = l->next) {
		const struct written *w = link_entry(l, const struct written, link);

		if (w->file == f && w->is_zeros && w->state < WRITTEN_LAST && w->number <= first &&
		    page_of(w->from) < to && page_of(w->to + COPY_BYTES - 1) > from)
			return true;
	}
	return false;
}

/* For a moment. */
static void
look_out(struct fs *fs)
{
	struct coherence *c = &fs->coherence;

	if (atomic_load(&c->notifier.fences) > 0)
		notifier_listen(&c->notifier, LOOK_USEC);
	else
		os_sleep_usec(LOOK_USEC);
}

void
written_await_zeros(struct fs *fs, struct file *f, uint64_t from, uint64_t to)
{
	struct coherence *c = &fs->coherence;
	uint64_t first = UINT64_MAX;
	unsigned looks = 0;
	bool zeroes;

	for (;;) {
		(void)pthread_mutex_lock(&c->lock);
		if (first == UINT64_MAX)
			first = c->writes;
		zeroes = zeroes_locked(c, f, from, to, first);
		(void)pthread_mutex_unlock(&c->lock);
		if (!zeroes)
			return;
		if (!written_step(fs, f, false))
			look_out(fs);
		if (++looks == LOOKS)
			rounds_step_down(fs);
	}
}

/* --- it is answered --------------------------------------------------------------------------- */

static void
answer(struct written *w)
{
	if (w->req == NULL)
		return;
	if (w->sets_end)
		reply_attr(w->req, 0, w->file->node, &w->st);
	else if (w->error != 0 || w->is_zeros)
		reply_error(w->req, w->error);
	else
		(void)fuse_reply_write(w->req, w->done);
	w->req = NULL;
}

/* [k], which is released. */
static void
end_unlock(struct fs *fs, struct written *w)
{
	link_remove(&w->link);
	(void)pthread_mutex_unlock(&fs->coherence.lock);
	answer(w);
	if (w->fenced)
		notifier_fence_end(&fs->coherence.notifier, &w->fence);
	node_put(fs, w->file->node);
	free(w);
}

void
writtens_answer(struct coherence *c)
{
	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->writtens.next; l != &c->writtens; l = l->next)
		answer(link_entry(l, struct written, link));
	(void)pthread_mutex_unlock(&c->lock);
}

static struct written *
find_locked(struct coherence *c, uint64_t number)
{
	for (struct link *l = c->writtens.next; l != &c->writtens; l = l->next)
		if (link_entry(l, struct written, link)->number == number)
			return link_entry(l, struct written, link);
	return NULL;
}

static void
delay(struct written *w, enum written_state state, unsigned usec)
{
	w->due_usec = os_monotonic_usec() + usec;
	w->state = state;
}

/* Of a greater length it was told before it has set the end, perhaps: it is told again. */
static bool
was_told_more(struct written *w)
{
	if (__atomic_load_n(&w->file->kernel_end, __ATOMIC_SEQ_CST) <= w->from)
		return false;
	coherence_shows(w->file, w->from);
	return true;
}

/*
 * Before it is answered: the kernel has the inode locked.  So a fence that is passed by then tells
 * nothing, on that kernel.
 */
static void
set_fence(struct fs *fs, struct written *w)
{
	struct coherence *c = &fs->coherence;
	uint64_t until = os_monotonic_usec() + PROBE_USEC;
	enum notifier_passed is;

	if (w->error != 0 || atomic_load(&c->fences) < 0 ||
	    !notifier_fence(&c->notifier, node_number(w->file), &w->fence))
		return;
	while (atomic_load(&c->fences) == 0 && os_monotonic_usec() < until &&
	    notifier_look(&c->notifier, &w->fence) == NOTIFIER_WAITS)
		notifier_listen(&c->notifier, LOOK_USEC);
	/* lost with the helper it says nothing of the kernel */
	if ((is = notifier_look(&c->notifier, &w->fence)) != NOTIFIER_LOST)
		atomic_store(&c->fences, is == NOTIFIER_WAITS ? 1 : -1);
	if (!(w->fenced = is == NOTIFIER_WAITS))
		notifier_fence_end(&c->notifier, &w->fence);
}

void
written_await_kernel(struct fs *fs, struct file *f)
{
	struct coherence *c = &fs->coherence;
	uint64_t until = os_monotonic_usec() + KERNEL_USEC;
	struct notifier_wait fence;
	unsigned looks = 0;

	if (!notifier_fence(&c->notifier, node_number(f), &fence))
		return;
	/* not for a process that is frozen while the kernel has the inode locked for it */
	while (
	    notifier_look(&c->notifier, &fence) == NOTIFIER_WAITS && os_monotonic_usec() < until) {
		if (!written_step(fs, f, false))
			look_out(fs);
		if (++looks == LOOKS)
			rounds_step_down(fs);
	}
	notifier_fence_end(&c->notifier, &fence);
}

static bool
is_passed(const struct coherence *c, const struct written *w)
{
	return w->fenced && notifier_look(&c->notifier, &w->fence) == NOTIFIER_PASSED;
}

/* All that it changed is dropped. */
static void
drop_and_end(struct fs *fs, struct written *w)
{
	struct coherence *c = &fs->coherence;

	if (w->to != NO_END || was_told_more(w))
		coherence_drop(fs, w->file, page_of(w->from), w->to);
	if (w->is_zeros && w->state < WRITTEN_LATE)
		set_fence(fs, w);
	(void)pthread_mutex_lock(&c->lock);
	if (!w->is_zeros || w->lasts == LAST_TIMES || is_passed(c, w)) {
		end_unlock(fs, w);
		return;
	}
	answer(w);
	if (w->state < WRITTEN_LATE) {
		delay(w, WRITTEN_LATE, LATE_USEC);
	} else {
		w->last_usec = w->lasts++ == 0 ? LAST_USEC : w->last_usec * 3;
		delay(w, WRITTEN_LAST, w->last_usec);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

/* The kernel has it as it is told; it need not be told again, or is told a greater end just now. */
static bool
sets_only(struct coherence *c, struct file *f, uint64_t length)
{
	bool only;

	coherence_shows(f, length);
	coherence_takes(f, length);
	(void)pthread_mutex_lock(&c->lock);
	f->sets++;
	only = f->copies == NULL && !f->raises;
	(void)pthread_mutex_unlock(&c->lock);
	return only;
}

bool
coherence_end_is_set(struct fs *fs, struct file *f, const struct stat *st, void *req)
{
	struct coherence *c = &fs->coherence;
	uint64_t length = (uint64_t)st->st_size;
	struct written *w;
	bool held;

	if (c->mode == FS_CACHE_NONE || sets_only(c, f, length) ||
	    (w = calloc(1, sizeof(*w))) == NULL)
		return false;
	node_get(fs, f->node);
	w->file = f;
	w->from = length;
	w->to = NO_END;
	w->is_zeros = w->sets_end = true;
	w->st = *st;
	set_fence(fs, w);
	delay(w, WRITTEN_LATE, LATE_USEC);
	(void)pthread_mutex_lock(&c->lock);
	if ((held = f->raises)) {
		w->state = WRITTEN_HELD;
		w->req = req;
	}
	w->number = ++c->writes;
	link_append(&c->writtens, &w->link);
	(void)pthread_mutex_unlock(&c->lock);
	return held;
}

void
written_raised_locked(struct coherence *c, const struct file *f)
{
	for (struct link *l = c->writtens.next; l != &c->writtens; l = l->next) {
		struct written *w = link_entry(l, struct written, link);

		if (w->file != f || w->state != WRITTEN_HELD)
			continue;
		answer(w);
		delay(w, WRITTEN_LATE, LATE_USEC);
	}
}

/* The last page is the kernel's and holds what was written, or the kernel has none; [k]. */
static void
last_is_good_unlock(struct fs *fs, struct written *w)
{
	if (w->file->copies != NULL)
		copies_update(w->file->copies, w->last, w->bytes, w->nlast, w->age);
	if (!w->drops_late) {
		end_unlock(fs, w);
		return;
	}
	answer(w);
	w->state = WRITTEN_TO_DROP;
	(void)pthread_mutex_unlock(&fs->coherence.lock);
	coherence_wake(fs);
}

void
coherence_retrieved(struct fs *fs, uint64_t number, const char *bytes, size_t n)
{
	struct coherence *c = &fs->coherence;
	struct written *w;

	(void)pthread_mutex_lock(&c->lock);
	if ((w = find_locked(c, number)) == NULL || w->state != WRITTEN_ASKED) {
		(void)pthread_mutex_unlock(&c->lock);
		return;
	}
	if (n > w->nlast)
		n = w->nlast;
	/* what lies behind its end the kernel does not show */
	w->drops_late |= n < w->nlast || w->error != 0 || w->done < w->to - w->from;
	if (n == 0 || memcmp(w->bytes, bytes, n) == 0) {
		last_is_good_unlock(fs, w);
		return;
	}
	w->state = WRITTEN_TO_DROP;
	(void)pthread_mutex_unlock(&c->lock);
	coherence_wake(fs);
}

/* The pages before the last are dropped, and the kernel asked about that. */
static void
ask(struct fs *fs, struct written *w, bool aside)
{
	struct coherence *c = &fs->coherence;
	fuse_ino_t ino = (fuse_ino_t)node_number(w->file);
	uint64_t number = w->number, last = w->last;
	size_t n = w->nlast;

	if (w->from < page_of(last))
		coherence_drop_part(fs, w->file, page_of(w->from), page_of(last), aside);
	(void)pthread_mutex_lock(&c->lock);
	w->state = WRITTEN_ASKED;
	(void)pthread_mutex_unlock(&c->lock);
	/* a file that the kernel does not know it has no pages of */
	if (fuse_lowlevel_notify_retrieve(
		fs->session, ino, n, (off_t)last, (void *)(uintptr_t)number) != 0)
		coherence_retrieved(fs, number, NULL, 0);
}

void
writtens_ask_again(struct coherence *c)
{
	(void)pthread_mutex_lock(&c->lock);
	for (struct link *l = c->writtens.next; l != &c->writtens; l = l->next) {
		struct written *w = link_entry(l, struct written, link);

		if (w->state == WRITTEN_ASKED)
			w->state = WRITTEN_DECIDED;
	}
	(void)pthread_mutex_unlock(&c->lock);
}

static bool
is_due(const struct coherence *c, const struct written *w)
{
	enum notifier_passed passed = NOTIFIER_LOST;

	if (w->fenced)
		passed = notifier_look(&c->notifier, &w->fence);
	return passed == NOTIFIER_LOST ? os_monotonic_usec() >= w->due_usec :
					 passed == NOTIFIER_PASSED;
}

/* The next one to go on with, and no other thread does; [k]. */
static struct written *
next_locked(const struct coherence *c, const struct file *f, bool aside)
{
	for (struct link *l = c->writtens.next; l != &c->writtens; l = l->next) {
		struct written *w = link_entry(l, struct written, link);

		if (f == NULL ? w->file->in_hand : w->file != f)
			continue;
		if (w->state == WRITTEN_DECIDED && (!aside || w->nlast > 0))
			return w;
		if (w->state == WRITTEN_TO_DROP && !aside)
			return w;
		if (w->state >= WRITTEN_LATE && !aside && is_due(c, w))
			return w;
	}
	return NULL;
}

bool
written_step(struct fs *fs, const struct file *f, bool aside)
{
	struct coherence *c = &fs->coherence;
	struct file *taken = NULL;
	bool asks = false;
	struct written *w;

	(void)pthread_mutex_lock(&c->lock);
	if ((w = next_locked(c, f, aside)) != NULL) {
		asks = w->state == WRITTEN_DECIDED && w->nlast > 0;
		if (asks)
			w->state = WRITTEN_ASKS;
		if (f == NULL)
			rounds_take_locked(fs, taken = w->file);
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (asks)
		ask(fs, w, aside);
	else if (w != NULL)
		drop_and_end(fs, w);
	if (taken != NULL)
		rounds_let(fs, taken);
	return w != NULL;
}
