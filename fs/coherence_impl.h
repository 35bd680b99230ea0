/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/coherence_impl.h - what coherence.c, coherence_drop.c and written.c share.
 */
#ifndef FS_COHERENCE_IMPL_H
#define FS_COHERENCE_IMPL_H

#include "file.h"
#include "pool.h"
#include "state.h"

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

/* Copies became more: the mount drops all when they are too many. */
void coherence_grew_locked(const struct coherence *c, struct file *f, size_t before);

/* What the kernel is given is remembered from now on (C2); [k]. */
int coherence_track_locked(struct file *f);

/*
 * One step of a write(2) that waits.  aside: as above; then only one that may hold a page locked.
 * False: there was none.
 */
bool written_step(struct fs *fs, bool aside);
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

/* The open(2)s that wait: answer them. */
void openings_take(struct fs *fs, struct link *list);
void openings_answer(struct fs *fs, struct link *list);

#endif
