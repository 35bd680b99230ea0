/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs.h - the parts of the program poolfs.
 *
 * Whoever finds a reason to stop says it in one sentence on standard error and returns an exit
 * status; nobody but main exits.
 */
#ifndef SRC_POOLFS_H
#define SRC_POOLFS_H

#include <stdbool.h>

#include "fs.h"

#define EXIT_USAGE 2

enum what_to_do { DO_MOUNT, DO_UNMOUNT, DO_HELP, DO_VERSION };

struct options {
	enum what_to_do what;
	struct fs_options fs; /* home and mountpoint as absolute paths, from malloc */
	const char *home;     /* as given */
	const char *mountpoint;
	char *mount_words; /* for the kernel and libfuse */
	bool foreground;
	bool cache_size_given;
};

/* One sentence on standard error, behind "poolfs: ". */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* poolfs_options.c: 0 or EXIT_USAGE */
int options_parse(int argc, char **argv, struct options *o);
void options_fini(struct options *o);
void options_help(void);

/* poolfs_place.c: are HOME and MOUNTPOINT fit?  Makes them absolute.  0 or an exit status */
int place_check(struct options *o);

/* What is mounted at path (absolute), by the kernel's list; strings from malloc. */
struct mounted {
	char *type;   /* "fuse.poolfs" */
	char *source; /* HOME */
};
bool mounted_find(const char *path, struct mounted *m);
void mounted_fini(struct mounted *m);

/* poolfs_daemon.c */
struct daemon;
/* Fork unless in the foreground.  Returns in the child; the parent exits when that is ready. */
int daemon_start(bool foreground, struct daemon **dp);
/* fs_run's callback; arg is the struct daemon. */
void daemon_ready(void *arg, int error);
void daemon_fini(struct daemon *d);

/* poolfs_unmount.c: poolfs -u.  An exit status */
int unmount_and_wait(const char *mountpoint);

#endif
