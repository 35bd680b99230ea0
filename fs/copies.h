/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/copies.h - what the kernel was given of a file: copies of the pages it may have.
 *
 * Not locked: the caller does that.  Ages count up; an entry has the age at which it was made.
 */
#ifndef FS_COPIES_H
#define FS_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COPY_BYTES 4096u /* the kernel's pages */

struct copies;

struct copies *copies_create(void);
void copies_destroy(struct copies *c); /* NULL is ignored */

size_t copies_count(const struct copies *c);

/* Has the kernel perhaps a page of [from, to)? */
bool copies_any(const struct copies *c, uint64_t from, uint64_t to);

/* The kernel is about to be given the pages that begin in [from, to), and has none there. */
int copies_announce(struct copies *c, uint64_t from, uint64_t to, uint64_t age);

/* The bytes that it gets from `from` on, and zeros behind them as far as to. */
void copies_fill(struct copies *c, uint64_t from, const char *buf, size_t bytes, uint64_t to);

/*
 * Of pages that the kernel was given before age, and still has: these are their bytes now.  None of
 * them lies behind the page in which the last byte is.
 */
void copies_update(struct copies *c, uint64_t from, const char *buf, size_t bytes, uint64_t age);

/* The bytes that the kernel has been given of the page that begins at from, NULL if unknown. */
const char *copies_at(const struct copies *c, uint64_t from);

/* It has none any more of [from, to) (to 0: no end) that is older than age. */
void copies_forget(struct copies *c, uint64_t from, uint64_t to, uint64_t age);

#endif
