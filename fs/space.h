/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/space.h - room on the disk, before data are accepted, and fallocate(2).
 */
#ifndef FS_SPACE_H
#define FS_SPACE_H

#include "file.h"
#include "identity.h"

struct written;

/* Does the filesystem of fd keep what fallocate(2) promises? */
bool space_can_reserve(int fd);

/*
 * Make sure that bytes from offset have blocks, file->io held exclusively.  length is the file's
 * now. *throughp: nothing could be reserved, so the data must reach the file before they are
 * acknowledged.  ENOSPC, EDQUOT, EFBIG ...
 */
int space_reserve(struct fs *fs, struct file *f, const struct caller *c, uint64_t offset,
    uint64_t bytes, uint64_t length, bool *throughp);

/* What was reserved behind the end is given back. */
void space_trim(struct file *f);

/* Its length was before, and set to length.  file->io held exclusively. */
void space_cut(struct file *f, uint64_t before, uint64_t length);

/* fallocate(2) with its FALLOC_FL_ modes.  *wp: as io_write's. */
int space_allocate(struct fs *fs, struct node *node, const struct caller *c, int mode,
    uint64_t offset, uint64_t bytes, struct written **wp);

#endif
