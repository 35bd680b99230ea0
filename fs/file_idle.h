/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/file_idle.h - closing files in the pool, now or later; shared by file.c and file_idle.c.
 */
#ifndef FS_FILE_IDLE_H
#define FS_FILE_IDLE_H

#include "file.h"

/* Remember a write error for the open handles; 0 and core's own codes are none. */
void file_note_error(struct file *f, int error);

/* What was written gets to the disk, with the time that people have seen; as below. */
int file_write_out_locked(struct file *f);

/* Write out and close the pool's handle, file.state held exclusively. */
void file_close_in_pool_locked(struct file *f);

/* Nobody has f open: keep it for a while, and close the one that has been kept longest. */
void file_rest(struct fs *fs, struct file *f);

/*
 * Off the list, nodes.lock held; true if it was there: its reference to the node is now the
 * caller's.
 */
bool file_wake_locked(struct fs *fs, struct file *f);

/*
 * Unlock file.state.  Whoever is the last to do so closes a file that is gone, gives a handle
 * for writing back that no writer needs, and lets a file rest that nobody has open.
 */
void file_let_go(struct fs *fs, struct file *f);

/* Close in the pool unless somebody uses it or has it open; then it comes to rest later. */
void file_close_if_idle(struct fs *fs, struct file *f);

/* file.c: the name by which the pool knows it, for people: path is PATH_MAX bytes. */
void file_name(struct fs *fs, struct file *f, char *path);

/* file_room.c: a handle in the pool for fd, which is taken over; file.state held exclusively. */
int file_open_fd_locked(struct fs *fs, struct file *f, int fd, bool writable, DB_MPOOLFILE **mpfp);

/* Close all that rest; how many. */
unsigned file_close_idle(struct fs *fs);

/* How many files stay open in the pool, and why. */
struct in_use {
	unsigned busy;	  /* a request uses it just now */
	unsigned cached;  /* the kernel keeps pages of it */
	unsigned lost;	  /* it cannot be opened again */
	unsigned shared;  /* without a name, and another process has it open */
	unsigned unsaved; /* without a name, and the disk has not all of it */
};

/*
 * file_all.c: close some others that are open here, but that no request is using: the next one
 * opens each again.  How many; 0: *whyp says why.  May be called with files locked.
 */
unsigned file_close_unused(struct fs *fs, const struct file *but, struct in_use *whyp);

#endif
