/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/locks.h - the lock table of the environment, and flock(2) in it.
 *
 * flock(2) on something in files/ is a lock in the table: the object is the file's identity
 * (device, inode, birth time: 24 bytes), LOCK_SH is READ, LOCK_EX is WRITE.  So a shell's flock(1)
 * and a program's lock_get exclude each other.  The locker is the open file description.
 */
#ifndef FS_LOCKS_H
#define FS_LOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <poolfs/lock.h>

struct fs;
struct fuse_req;
struct node;
struct locks;

int locks_init(struct fs *fs);
/* All locks of the mount are released; who waits is told EINTR. */
void locks_fini(struct fs *fs);

/*
 * flock(2) by the description owner; op is LOCK_SH, EX or UN, perhaps with LOCK_NB.  The request is
 * answered, now or later, and no worker waits: EWOULDBLOCK, EDEADLK, ENOLCK, EINTR.
 */
void locks_flock(
    struct fs *fs, struct node *node, uint64_t owner, pid_t pid, int op, struct fuse_req *req);
/* The description is closed. */
void locks_release(struct fs *fs, uint64_t owner);

/* The table, if there is one, held until locks_put_table; NULL: there is none. */
DB_LOCKTAB *locks_peek_table(struct fs *fs);
void locks_put_table(struct fs *fs);

/* rm regions/lock: the mount itself does not count as a user, but its flocks do.  EBUSY. */
int locks_remove(struct fs *fs, bool by_force);

#endif
