/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/status.h - everything in the mount that is not files/: the root, README, stat/, regions/.
 */
#ifndef FS_STATUS_H
#define FS_STATUS_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "node.h"

enum status_number {
	STATUS_ROOT,
	STATUS_README,
	STATUS_STAT,
	STATUS_REGIONS,
	STATUS_PAGES,
	STATUS_LOCKS,
	STATUS_LOCKS_TABLE,
	STATUS_LOCKS_TABLE_JSON,
	STATUS_LOCKS_WAITS,
	STATUS_LOCKS_WAITS_JSON,
	STATUS_LOCKS_WAITS_DOT,
	STATUS_STAT_LOCK,
	STATUS_STAT_LOCK_JSON,
	STATUS_STAT_POOL,
	STATUS_STAT_POOL_JSON,
	STATUS_STAT_FILES,
	STATUS_STAT_FILES_JSON,
	STATUS_STAT_LATENCY,
	STATUS_STAT_LATENCY_JSON,
	STATUS_STAT_DAEMON,
	STATUS_STAT_DAEMON_JSON,
	STATUS_STAT_CHECK,
	STATUS_STAT_CHECK_JSON,
	STATUS_STAT_EVENTS,
	STATUS_STAT_EVENTS_JSON,
	STATUS_STAT_PANIC,
	STATUS_STAT_PANIC_JSON,
	STATUS_STAT_PROM,
	STATUS_CTL,
	STATUS_MAP_TEXT,
	STATUS_MAP_SVG,
	STATUS_MAP_HTML,
	STATUS_NUMBERS,
};

bool status_is_in(enum status_number number, const struct node *dir);
const char *status_name(enum status_number number);

/* An immutable text, counted. */
struct snapshot;
void snapshot_put(struct snapshot *s); /* NULL is ignored */

struct status_handle;
struct fuse_pollhandle;
struct status_dir;

/* Make the nodes that always exist.  Freed by status_fini. */
int status_init(struct fs *fs);
void status_fini(struct fs *fs);

/* *np carries a reference.  files/ is found here too. */
int status_lookup(
    struct fs *fs, struct node *dir, const char *name, struct node **np, struct stat *st);
int status_getattr(struct fs *fs, struct node *node, struct stat *st);

/* For reading; EACCES otherwise, ctl apart. */
int status_open(struct fs *fs, struct node *node, int flags, struct status_handle **hp);
/* Calls reply once if it returns 0. */
int status_read(struct fs *fs, struct status_handle *h, size_t bytes, uint64_t offset,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg);
/* A command for ctl; what a handle can write to was settled at open. */
int status_write(struct fs *fs, struct status_handle *h, const char *buf, size_t bytes);
/* Is the entry, or are its attributes too, the same for as long as the mount lives? */
bool status_name_stays(const struct fs *fs, const struct node *node);
bool status_attr_stays(const struct node *node);
/* May a shell's > have its way with this? */
bool status_takes_truncate(const struct fs *fs, const struct node *node);
/*
 * Is there something to read?  stat/events: since it was read, or opened; all others: always.  If
 * not, ph (or NULL; taken over) is woken when there is.
 */
bool status_poll(struct status_handle *h, struct fuse_pollhandle *ph);
/* SEEK_DATA and SEEK_HOLE: there are no holes. */
int status_seek(struct fs *fs, struct node *node, uint64_t offset, int whence, off_t *resultp);
void status_close(struct fs *fs, struct status_handle *h);

int status_opendir(struct fs *fs, struct node *node, struct status_dir **dp);
int status_readdir(struct status_dir *d, off_t offset,
    bool (*add)(void *arg, const char *name, uint64_t ino, unsigned type, off_t next), void *arg);
void status_closedir(struct status_dir *d);

/* rm regions/NAME; EPERM for everything else. */
int status_unlink(struct fs *fs, struct node *dir, const char *name);

#endif
