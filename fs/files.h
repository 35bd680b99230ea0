/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/files.h - the tree files/: every operation on HOME's objects but reading and writing data.
 *
 * The caller holds the pool (pool.h).  A node that is returned carries a reference.  Calls that
 * change something do it with the rights of the caller.
 */
#ifndef FS_FILES_H
#define FS_FILES_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "file.h"
#include "identity.h"

/* What setattr changes. */
struct files_change {
	bool mode, uid, gid, size; /* st has it */
	bool has_handle;	   /* by ftruncate(2): the right to write was checked at open */
	struct stat st;
	struct timespec times[2]; /* as utimensat(2): UTIME_OMIT, UTIME_NOW */
};

/*
 * The pools' own files, HOME's and those of homes below it, and what says where they are: not
 * listed, not found, and no such name can be made in the mount (EPERM).
 */
bool files_hidden(const char *name);

/* The file of the pool's region, which is not to be reached by any other name either: EPERM. */
int files_note_region(struct fs *fs, int fd);
bool files_is_region(const struct fs *fs, const struct os_ident *id);

/* The node of HOME itself, for node_table.home. */
int files_root(struct fs *fs, struct node **np);

int files_lookup(
    struct fs *fs, struct node *dir, const char *name, struct node **np, struct stat *st);
/* The node and attributes of what fd (taken over) is open on, seen as name in dir. */
int files_found(
    struct fs *fs, struct node *dir, const char *name, int fd, struct node **np, struct stat *st);
int files_getattr(struct fs *fs, struct node *node, struct stat *st);
int files_setattr(struct fs *fs, struct node *node, const struct caller *c,
    const struct files_change *change, struct stat *st);
/* access(2) of the caller. */
int files_access(struct fs *fs, struct node *node, const struct caller *c, int mode);
int files_readlink(struct fs *fs, struct node *node, char *buf, size_t bytes);
int files_statfs(struct fs *fs, struct node *node, struct statvfs *sv);

/* files_name.c: names */
int files_mknod(struct fs *fs, struct node *dir, const char *name, const struct caller *c,
    mode_t mode, dev_t rdev, struct node **np, struct stat *st);
int files_mkdir(struct fs *fs, struct node *dir, const char *name, const struct caller *c,
    mode_t mode, struct node **np, struct stat *st);
int files_symlink(struct fs *fs, struct node *dir, const char *name, const struct caller *c,
    const char *target, struct node **np, struct stat *st);
int files_link(struct fs *fs, struct node *node, struct node *dir, const char *name,
    const struct caller *c, struct stat *st);
int files_unlink(struct fs *fs, struct node *dir, const char *name, const struct caller *c);
int files_rmdir(struct fs *fs, struct node *dir, const char *name, const struct caller *c);
int files_rename(struct fs *fs, struct node *dir, const char *name, struct node *newdir,
    const char *newname, unsigned flags, const struct caller *c);

/* files_open.c: open files and directories */
struct dir;
int files_open(
    struct fs *fs, struct node *node, const struct caller *c, int flags, struct handle **hp);
int files_create(struct fs *fs, struct node *dir, const char *name, const struct caller *c,
    mode_t mode, int flags, struct node **np, struct stat *st, struct handle **hp);
int files_opendir(struct fs *fs, struct node *node, const struct caller *c, struct dir **dp);
/* add returns false when it has no room for the entry; offset is where the next one is. */
int files_readdir(struct fs *fs, struct dir *d, off_t offset,
    bool (*add)(void *arg, const char *name, uint64_t ino, unsigned type, off_t next), void *arg);
int files_fsyncdir(struct dir *d);
void files_closedir(struct fs *fs, struct dir *d);

/* files_xattr.c: bytes 0 asks for the size.  *donep is what is (or would be) in buf. */
int files_getxattr(struct fs *fs, struct node *node, const struct caller *c, const char *name,
    char *buf, size_t bytes, size_t *donep);
int files_listxattr(struct fs *fs, struct node *node, const struct caller *c, char *buf,
    size_t bytes, size_t *donep);
int files_setxattr(struct fs *fs, struct node *node, const struct caller *c, const char *name,
    const char *value, size_t bytes, int flags);
int files_removexattr(struct fs *fs, struct node *node, const struct caller *c, const char *name);

#endif
