/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/identity.h - doing something in HOME as the one who asked for it.
 */
#ifndef FS_IDENTITY_H
#define FS_IDENTITY_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

struct caller {
	uid_t uid;
	gid_t gid;
	pid_t pid; /* 0: of another PID namespace */
	mode_t umask;
};

/* Once, before threads are started. */
void identity_init(void);

/* Can this process act as anybody who asks?  Root without its capabilities cannot. */
bool identity_can_switch(void);

/*
 * The calling thread's filesystem ids and groups become the caller's, where the daemon may do that
 * (it runs as root), until identity_leave.  Does not nest.  EMFILE, ENFILE, ENOMEM: his groups
 * cannot be learnt or taken on; nothing has changed, and nothing may be done for him.
 */
int identity_enter(const struct caller *c);
/* The umask as well: around a call that makes something with a mode. */
int identity_enter_to_create(const struct caller *c);
void identity_leave(void);

/* The mode of a regular file that looks like st, once the caller has written to it. */
mode_t identity_mode_written(const struct caller *c, const struct stat *st);

/* The mode to create something with, after identity_enter_to_create. */
mode_t identity_mode(const struct caller *c, mode_t mode);

#endif
