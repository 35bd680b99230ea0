/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs_watch.c - waiting for the end of a mount's daemon.
 *
 * The mount's root tells the daemon's process number, the PID namespace in which that number
 * means something, and its client number in the pool (fs/ops_xattr.c).  In our own namespace the
 * process is watched, by a descriptor that is opened while the mount still answers.  From another
 * one the daemon is seen through the region: it holds the lock on its client number's byte until
 * HOME is complete, and the kernel drops that lock if it dies.
 *
 * A number may be given to somebody else once it is free, so the client's entry is remembered:
 * when it changes, the daemon has gone.  The region is read, never mapped, and nothing of it but
 * that entry is believed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/os.h"
#include "poolfs.h"
#include "region/region.h"

#define LOOK_USEC 10000 /* between two looks at the client's byte */

static bool
ask_number(const char *mountpoint, const char *name, uint64_t *np)
{
	char text[32] = "", *end;

	if (getxattr(mountpoint, name, text, sizeof(text) - 1) <= 0)
		return false;
	errno = 0;
	*np = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

/* --- the daemon's process ------------------------------------------------------------------ */

static bool
is_in_our_namespace(const char *mountpoint)
{
	uint64_t theirs;
	struct stat st;

	return ask_number(mountpoint, "user.poolfs.pid_namespace", &theirs) &&
	    stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == theirs;
}

/* False: it cannot be watched.  One that is dead already leaves the descriptor -1. */
static bool
watch_process(struct watch *w, const char *mountpoint, uint64_t pid)
{
	uint64_t again;

	if (!is_in_our_namespace(mountpoint))
		return false;
	if ((w->process = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0)) == -1)
		return errno == ESRCH;
	/* Still the same: then the descriptor is the daemon's and nobody else's. */
	if (ask_number(mountpoint, "user.poolfs.pid", &again) && again == pid)
		return true;
	os_close(w->process);
	w->process = -1;
	return false;
}

/* --- the daemon's client number ------------------------------------------------------------ */

static bool
read_client(const struct watch *w, struct client *c)
{
	size_t n;

	return os_pread(w->region, c, sizeof(*c), w->entry, &n) == 0 && n == sizeof(*c);
}

/* If the kernel cannot be asked, say yes: whoever waits can be interrupted. */
static bool
client_is_here(const struct watch *w)
{
	struct client now;
	bool taken;

	if (os_lock_test(w->region, CLIENT_BYTE + w->client, &taken) == 0 && !taken)
		return false;
	return read_client(w, &now) && now.state != CLIENT_FREE && now.pid == w->pid &&
	    now.attached_usec == w->attached_usec;
}

static bool
watch_client(struct watch *w, const char *home, uint64_t number, uint64_t pid)
{
	struct client c;
	RLAYOUT layout;
	char *path;
	bool found;

	if (asprintf(&path, "%s/%s", home, POOL_FILE) == -1)
		return false;
	found = region_peek(path, &layout) == 0 && number < layout.nclients &&
	    os_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, &w->region) == 0;
	free(path);
	if (!found)
		return false;
	w->client = (uint32_t)number;
	w->entry = layout.clients + number * sizeof(c);
	if (read_client(w, &c) && c.pid == (int32_t)pid) {
		w->pid = c.pid;
		w->attached_usec = c.attached_usec;
		return client_is_here(w);
	}
	return false;
}

/* --- both ---------------------------------------------------------------------------------- */

void
watch_init(struct watch *w, const char *mountpoint, const char *home)
{
	uint64_t pid, number;

	*w = (struct watch){ .process = -1, .region = -1 };
	/* A dead mount does not answer, and there is nobody to wait for. */
	if (!ask_number(mountpoint, "user.poolfs.pid", &pid)) {
		w->is_blind = errno != ENOTCONN && errno != ECONNABORTED;
		return;
	}
	if (watch_process(w, mountpoint, pid))
		return;
	/* Without a pool it has nothing left to write. */
	if (!ask_number(mountpoint, "user.poolfs.client", &number))
		w->is_blind = errno != ENODATA;
	else
		w->is_blind = !watch_client(w, home, number, pid);
}

bool
watch_wait(const struct watch *w)
{
	struct pollfd p = { .fd = w->process, .events = POLLIN };

	if (w->process != -1)
		while (poll(&p, 1, -1) == -1 && errno == EINTR)
			;
	else if (w->region != -1)
		while (client_is_here(w))
			os_sleep_usec(LOOK_USEC);
	return !w->is_blind;
}

void
watch_fini(struct watch *w)
{
	os_close(w->process);
	os_close(w->region);
}
