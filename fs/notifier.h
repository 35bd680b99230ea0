/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/notifier.h - a process of its own that tells the kernel to drop pages.
 */
#ifndef FS_NOTIFIER_H
#define FS_NOTIFIER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "node.h"

struct fuse_session;
struct takers;

/* Who waits for an answer. */
struct notifier_wait {
	struct link link; /* [n] in notifier.waiters */
	uint64_t cookie;
	unsigned takers; /* notifier.takers when it was asked */
	int error;	 /* once it is answered */
	atomic_bool answered;
};

enum notifier_passed {
	NOTIFIER_WAITS,
	NOTIFIER_PASSED,
	NOTIFIER_LOST /* it will not be known */
};

struct notifier {
	int fd;	    /* [n] to those who do it; -1: there are none */
	int old_fd; /* [n] to those who did it */
	pid_t pid;
	void *unreadable; /* a byte */
	atomic_ullong cookie;
	atomic_uint fences;   /* that are not ended */
	pthread_mutex_t lock; /* [n] */
	pthread_cond_t answered;
	struct link waiters; /* [n] for an answer */
	bool listens;	     /* [n] one of them, for all */
	atomic_uint takers;  /* [n], to change: how often others took over */
	atomic_bool stops;
	struct takers *own; /* [n] threads of the daemon */
	struct fuse_session *session;
};

/* Make the process: while this one has a single thread, and no descriptor that must not leak. */
void notifier_fork(struct notifier *n);

/* The mount is there: give the process a way to it. */
int notifier_start(struct notifier *n, struct fuse_session *session);

/*
 * Drop the kernel's pages of the node's bytes [from, from + bytes), all behind from if bytes is
 * 0, after those that were changed through mappings have been written.  Requests to the mount are
 * made and answered meanwhile: no lock is held.  slow(arg) is called again and again while it takes
 * long; it may call notifier_drop itself, with slow NULL, for pages that are not waited for by
 * somebody who waits for this call.  Any thread.
 */
int notifier_drop(struct notifier *n, uint64_t node, uint64_t from, uint64_t bytes,
    void (*slow)(void *arg), void *arg);

/*
 * The kernel takes the file to be at least that long; no byte changes by that.  It does so at once,
 * but for the answer it waits for the lock of the page at the end.  slow as above.
 */
int notifier_raise(
    struct notifier *n, uint64_t node, uint64_t end, void (*slow)(void *arg), void *arg);

/*
 * When is the kernel done with a request that changes the node, and has not been answered yet, or
 * has just been?  Asked for here, without waiting; w is the caller's, until notifier_fence_end.
 * False: it cannot be known.
 */
bool notifier_fence(struct notifier *n, uint64_t node, struct notifier_wait *w);
enum notifier_passed notifier_look(const struct notifier *n, const struct notifier_wait *w);
/* Hear an answer, whosever it is; wait that long at most. */
void notifier_listen(struct notifier *n, unsigned usec);
void notifier_fence_end(struct notifier *n, struct notifier_wait *w);

/* Nothing more comes; whoever is in notifier_drop returns.  Any thread. */
void notifier_shut(struct notifier *n);
void notifier_stop(struct notifier *n);

#endif
