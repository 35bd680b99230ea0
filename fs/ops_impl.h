/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ops_impl.h - what the files of request handlers share.
 */
#ifndef FS_OPS_IMPL_H
#define FS_OPS_IMPL_H

#include <stdbool.h>

#include "identity.h"
#include "node.h"
#include "ops.h"
#include "state.h"

static inline struct fs *
fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline struct node *
node_at(fuse_req_t req, fuse_ino_t ino)
{
	if (ino == FUSE_ROOT_ID)
		return fs_of(req)->status[STATUS_ROOT];
	return (struct node *)(uintptr_t)ino;
}

static inline bool
in_files(const struct node *node)
{
	return node->kind == NODE_FILES;
}

static inline struct caller
caller_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct caller){
		.uid = ctx->uid, .gid = ctx->gid, .pid = ctx->pid, .umask = ctx->umask
	};
}

/* 0, an errno value, or one of core's codes. */
void reply_error(fuse_req_t req, int err);
void reply_attr(fuse_req_t req, int err, const struct node *node, const struct stat *st);

/* The entry of a node whose reference is taken over: the kernel's lookup replaces it. */
void entry_fill(
    struct fs *fs, struct node *node, const struct stat *st, struct fuse_entry_param *e);

/* ops_file.c: open files */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_create(
    fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t bytes, off_t offset,
    struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_retrieve_reply(
    fuse_req_t req, void *cookie, fuse_ino_t ino, off_t offset, struct fuse_bufvec *bufv);
void op_fallocate(
    fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t bytes, struct fuse_file_info *fi);
void op_poll(
    fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);

void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);

/* ops_dir.c: open directories */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(
    fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* ops_xattr.c: extended attributes */
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t room);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t room);
void op_setxattr(
    fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t bytes, int flags);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
