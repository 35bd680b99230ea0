/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ops.h - the table of requests.  The session's user data is the struct fs.
 */
#ifndef FS_OPS_H
#define FS_OPS_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

extern const struct fuse_lowlevel_ops fs_ops;

#endif
