/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/path_fd.h - the O_PATH descriptors of nodes, as node.c and path_fd.c share them.
 */
#ifndef FS_PATH_FD_H
#define FS_PATH_FD_H

#include "node.h"

/* What is needed to reopen fd by handle, or NULL where that is not possible. */
struct file_handle *path_fd_handle(struct fs *fs, int fd, const struct os_ident *id);

/* fd becomes node's own if it has none, else it is closed. */
void path_fd_give(struct fs *fs, struct node *node, int fd);

/*
 * Up to max nodes of regular files that were removed while only our idle descriptor keeps them,
 * with a reference to each.  A part of the table is looked at, the next one by the next call.
 */
unsigned path_fd_removed(struct fs *fs, struct node **nodes, unsigned max);

/* Openat2 beneath dirfd, through no link of any kind: one name, or a path of directories. */
int path_fd_open(int dirfd, const char *name, int flags, int *fdp);

#endif
