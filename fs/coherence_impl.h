/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/coherence_impl.h - what coherence*.c, rounds.c, opening.c and written.c share.
 */
#ifndef FS_COHERENCE_IMPL_H
#define FS_COHERENCE_IMPL_H

#include "file.h"
#include "pool.h"
#include "state.h"

/* As which the kernel knows it. */
static inline uint64_t
node_number(const struct file *f)
{
	return (uint64_t)(uintptr_t)f->node;
}

/* The thread has something to do. */
void coherence_wake(struct fs *fs);

/*
 * The kernel knows how long the file is, and drops its pages of [from, to), to 0: to the end, and
 * perhaps others.
 */
void coherence_drop(struct fs *fs, struct file *f, uint64_t from, uint64_t to);
/* The kernel takes the file to be at least that long, if it is. */
void coherence_takes(struct file *f, uint64_t length);
/* These pages only.  aside: while it is about another such order, which waits for this one. */
void coherence_drop_part(struct fs *fs, struct file *f, uint64_t from, uint64_t to, bool aside);

/* All pages of a file that others ask to be dropped; they are told that it is done. */
void coherence_drop_file(struct fs *fs, struct file *f);
/* What the kernel has of a page of the pool that others have put. */
void coherence_drop_page(struct fs *fs, struct file *f, db_pgno_t pgno);

/* --- rounds.c: who drops what ----------------------------------------------------------------- */

int rounds_start(struct fs *fs);
void rounds_stop(struct coherence *c); /* coherence.stop was set, and the notifier shut */

/* Who calls it takes long; if he leads, somebody else does from now on. */
void rounds_step_down(struct fs *fs);
/* Who leads has the file in hand, until he lets it go. */
void rounds_take_locked(struct fs *fs, struct file *f);
void rounds_let(struct fs *fs, struct file *f);

/* All pages of all files are to go; nwant says when that is done. */
void rounds_flush(struct coherence *c);
/* Are all pages of the file to go, for that reason? */
bool rounds_wants_locked(const struct file *f, unsigned want);
/* It is done, or need not be done any more. */
void rounds_done_locked(struct coherence *c, struct file *f, unsigned want);

/* --------------------------------------------------------------------------------------------- */

/* Copies became more: the mount drops all when they are too many. */
void coherence_grew_locked(const struct coherence *c, struct file *f, size_t before);

/* What the kernel is given is remembered from now on (C2); [k]. */
int coherence_track_locked(struct file *f);
/* Nobody writes past the kernel's pages here, nor is a write(2) through them on its way; [k]. */
bool coherence_may_untrack_locked(const struct file *f);

/*
 * One step of a write(2) that waits: of f, which the caller has in hand, or if f is NULL of a file
 * that nobody has.  aside: as above; then only one that may hold a page locked.  False: there was
 * none.
 */
bool written_step(struct fs *fs, const struct file *f, bool aside);
/* What the kernel was about when the file was not tracked, it has done; not while aside. */
void written_await_kernel(struct fs *fs, struct file *f);
/* The kernel was told a greater end of the file; [k]. */
void written_raised_locked(struct coherence *c, const struct file *f);
/* What the kernel zeroes of [from, to) for a request, it has; not while aside. */
void written_await_zeros(struct fs *fs, struct file *f, uint64_t from, uint64_t to);
/* One that is not over yet may have filled pages of [from, to) in the kernel; [k]. */
bool written_overlaps_locked(
    const struct coherence *c, const struct file *f, uint64_t from, uint64_t to);
/* What the kernel says may have been lost with a thread that served requests. */
void writtens_ask_again(struct coherence *c);
/* They are done, and nobody drops anything any more. */
void writtens_answer(struct coherence *c);
/* A byte of the kernel's page that a write(2) is just changing is not a program's store; [k]. */
bool written_covers_locked(const struct coherence *c, const struct file *f, uint64_t at);

/*
 * Of the open(2)s that wait, those of files that nobody has in hand come before what is looked at
 * from now on; but not those of f (NULL: none of them), which could not be looked at.
 */
void openings_see(struct coherence *c);
void openings_unsee(struct coherence *c, const struct file *f);
/* Answer one that was seen, if all that was asked for then is done.  False: there was none. */
bool opening_step(struct fs *fs);
/* All of them; nobody drops anything any more. */
void openings_answer(struct fs *fs);

#endif
