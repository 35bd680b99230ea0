/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/warm.h - the warm list: which pages were in the pool, so that they can be read again.
 *
 * Text, a run of pages a line: FILE FIRST-LAST, and the page size if it is not 4096.  FILE is a
 * path below HOME, in quotes if it has blanks in it.  Lines that begin with # say nothing.
 */
#ifndef FS_WARM_H
#define FS_WARM_H

struct fs;

/*
 * Write the list of what is resident now to path (absolute), which is replaced when it is
 * complete.  Files outside HOME are left out.
 */
int warm_save(struct fs *fs, const char *path);

/*
 * Read what the list at path names, as far as it fits into the pool, in large requests.  Files
 * that are gone are passed over.  EINVAL: it is not such a list; the sentence names the line.
 */
int warm_load(struct fs *fs, const char *path);

/* The mount's own list, if it has one: read it on a thread; write it at the end. */
int warm_start(struct fs *fs);
void warm_stop(struct fs *fs);

#endif
