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
	uid_t uid;    /* who mounted it */
	gid_t gid;
};
bool mounted_find(const char *path, struct mounted *m);
void mounted_fini(struct mounted *m);

#endif
