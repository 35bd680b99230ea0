/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/io.h - data of regular files through the pool.  The caller holds the pool.
 */
#ifndef FS_IO_H
#define FS_IO_H

#include <sys/uio.h>

#include "coherence.h"
#include "file.h"
#include "identity.h"

/*
 * Read, and give the bytes to reply(arg, iov, niov), which is called exactly once if 0 is
 * returned, with the pages pinned.  Less than bytes is the end of the file, or what lies before
 * an error; for the kernel's pages, which it would take for zeros behind that, only the end.
 */
int io_read(struct fs *fs, struct handle *h, bool for_cache, size_t bytes, uint64_t offset,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg);

/*
 * Write.  flags are the open file's now: O_APPEND, O_SYNC, O_DSYNC count.  through_cache: the
 * kernel has changed its pages.  *wp: if not NULL, the reply, also of a failure, is
 * coherence_reply's to make.
 */
int io_write(struct fs *fs, struct handle *h, const struct caller *c, int flags,
    bool through_cache, const char *buf, size_t bytes, uint64_t offset, size_t *donep,
    struct written **wp);

/*
 * The kernel writes back pages that were changed through mappings: whole ones, up to what it takes
 * for the end.  Nothing gets longer by it.
 */
int io_write_back(struct fs *fs, struct handle *h, const struct caller *c, const char *buf,
    size_t bytes, uint64_t offset, size_t *donep);

int io_truncate(struct fs *fs, struct node *node, const struct caller *c, uint64_t bytes);

/* Zero the bytes in the pool, file->io held exclusively. */
int io_zero(struct file *f, uint64_t offset, uint64_t bytes);

/* SEEK_DATA, SEEK_HOLE. */
int io_seek(struct fs *fs, struct node *node, uint64_t offset, int whence, off_t *resultp);

/* The file was changed by c: no set-id bits any more, and the time is now.  file->io held. */
void io_touch(struct file *f, const struct caller *c);

#endif
