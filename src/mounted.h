/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/mounted.h - what is mounted where.
 */
#ifndef SRC_MOUNTED_H
#define SRC_MOUNTED_H

#include <stdbool.h>
#include <sys/types.h>

/* What is mounted at path (absolute), by the kernel's list; strings from malloc. */
struct mounted {
	char *type;   /* "fuse.poolfs" */
	char *source; /* HOME */
	char *device; /* "0:52" */
	uid_t uid;    /* who mounted it */
	gid_t gid;
};
bool mounted_find(const char *path, struct mounted *m);

/*
 * Does some mount namespace that we may look into still have the filesystem of this device
 * mounted?  *pidp is a process that lives there.
 */
bool mounted_still(const char *device, pid_t *pidp);

void mounted_fini(struct mounted *m);

/* What a system call says of a mount that nobody serves any more. */
bool mounted_is_dead(int err);

#endif
