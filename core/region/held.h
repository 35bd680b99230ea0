/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/held.h - a System V segment that is attached to find out whose it is.
 *
 * So long its id cannot become another's.  Nothing is changed in it, and it is attached for reading
 * alone but by held_to_join.  The functions return 0 also if there is no such segment: then h->addr
 * is NULL; errors are those of shmat(2).
 */
#ifndef REGION_HELD_H
#define REGION_HELD_H

#include "../base/os_shm.h"
#include "region_impl.h"

struct held {
	struct os_segment is;
	void *addr; /* NULL: there is none */
};

void held_release(struct held *h);

/* Does this error of a segment's call mean that it is not there? */
bool held_is_absent(int error);

/* How long the segment is that this names: max and less than a page. */
uint64_t held_length(const RLAYOUT *named);

/* The segment that named, from that file, names: if it says so itself. */
int held_named(const RLAYOUT *named, const struct os_ident *file, struct held *h);

/* The same, to be written to if it is to be used: the attachment may become the region's. */
int held_to_join(const RLAYOUT *named, const struct os_ident *file, size_t align, struct held *h);

/* As held_named, and if it names none: the one that its creator died over.  r->file is the file. */
int held_leftover(const struct region *r, const RLAYOUT *named, struct held *h);

/* What named names, whichever file that says it is named by: named's may be a copy. */
int held_original(const RLAYOUT *named, struct held *h);

/* A segment in use that says it is named by that file, whatever stands in there now. */
int held_of_file(const struct os_ident *file, struct held *h);

/* Is that the file that names the segment?  And if not, is all of it the same but the device? */
bool held_names_file(const struct held *h, const struct os_ident *file);
bool held_names_twin(const struct held *h, const struct os_ident *file);

#endif
