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
#include <stdint.h>
#include <sys/types.h>

#include "fs.h"
#include "mounted.h"

#define EXIT_USAGE 2
#define POOL_FILE "__db_mpool.share" /* the pool's region, in HOME */

enum what_to_do { DO_MOUNT, DO_UNMOUNT, DO_HELP, DO_VERSION };

struct options {
	enum what_to_do what;
	struct fs_options fs; /* home and mountpoint as absolute paths, from malloc */
	const char *home;     /* as given */
	const char *mountpoint;
	char *mount_words; /* for the kernel and libfuse */
	bool foreground;
	unsigned timeout; /* seconds that poolfs -u waits for a daemon */
	bool dir_timeout_given;
	int place_fd;	  /* keeps others from mounting there too, or -1 */
	char *region_dir; /* as given; NULL: HOME */
};

/* One sentence on standard error, behind "poolfs: ". */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* poolfs_options.c: 0 or EXIT_USAGE */
int options_parse(int argc, char **argv, struct options *o);
void options_fini(struct options *o);
void options_help(void);

/* poolfs_place.c: are HOME and MOUNTPOINT fit?  Makes them absolute.  0 or an exit status */
int place_check(struct options *o);
/* The mount is there for everybody to see: others need not be kept away any more. */
void place_release(struct options *o);
/* The absolute path of --region-dir, if that is given.  0 or an exit status */
int place_region_dir(struct options *o, const char *home);

/* poolfs_daemon.c */
struct daemon;
/* Fork unless in the foreground.  Returns in the child; the parent exits when that is ready. */
int daemon_start(bool foreground, struct daemon **dp);
/* The mount has answered, or (error) cannot.  Then the end is near, and it has been explained. */
void daemon_ready(struct daemon *d, int error);
void daemon_fini(struct daemon *d);

/* poolfs_unmount.c: poolfs -u.  An exit status */
int unmount_and_wait(struct options *o);

/* poolfs_patience.c: does whoever serves the mount point answer, within so many seconds? */
bool patience_answers(const char *mountpoint, unsigned seconds);
/* Unless it ends within so many seconds, the mount point is said to do what. */
void patience_begin(const char *mountpoint, const char *does_what, unsigned seconds);
void patience_end(void);

/* poolfs_watch.c: the daemon of a mount, to wait for its end. */
struct watch {
	int process;   /* descriptor of it, or -1 */
	int home;      /* descriptor of HOME, or -1 */
	uint64_t byte; /* of home, locked by the daemon */
	bool is_blind; /* there is a daemon, and its end cannot be seen */
};
/* While the mount still answers.  Freed by watch_fini in any case. */
void watch_init(struct watch *w, const char *mountpoint, const char *home);
/* Has it gone, or goes within usec?  True at once if nothing can be seen of it. */
bool watch_wait(const struct watch *w, unsigned usec);
void watch_fini(struct watch *w);

#endif
