/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs_watch.c - waiting for the end of a mount's daemon.
 *
 * The mount's root tells the daemon's process number, the PID namespace in which that number
 * means something, and a byte of HOME (fs/ops_xattr.c).  In our own namespace the process is
 * watched, by a descriptor that is opened while the mount still answers.  From another one the
 * daemon is seen by that byte: it keeps it locked until HOME is complete, and the kernel drops the
 * lock if it dies.  The byte is no other daemon's, before or after, so nothing but the lock is
 * asked; the pool's region, which may lie in memory that cannot be reached from here, is not.
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

#define LOOK_USEC 10000 /* between two looks at the daemon's byte */

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

/* --- the daemon's byte of HOME -------------------------------------------------------------- */

/* If the kernel cannot be asked, say yes: whoever waits can be interrupted. */
static bool
holds_byte(const struct watch *w)
{
	bool taken;

	return os_lock_test(w->home, w->byte, &taken) != 0 || taken;
}

/* False: that is not the daemon's HOME, or not seen from here as one. */
static bool
watch_byte(struct watch *w, const char *home, uint64_t byte)
{
	if (byte < OS_BYTES_OF_NOBODY || byte > INT64_MAX ||
	    os_open(home, O_RDONLY | O_DIRECTORY, 0, &w->home) != 0)
		return false;
	w->byte = byte;
	return holds_byte(w);
}

/* --- both ---------------------------------------------------------------------------------- */

void
watch_init(struct watch *w, const char *mountpoint, const char *home)
{
	uint64_t pid, byte;

	*w = (struct watch){ .process = -1, .home = -1 };
	/* A dead mount does not answer, and there is nobody to wait for. */
	if (!ask_number(mountpoint, "user.poolfs.pid", &pid)) {
		w->is_blind = !mounted_is_dead(errno);
		return;
	}
	if (watch_process(w, mountpoint, pid))
		return;
	w->is_blind =
	    !ask_number(mountpoint, "user.poolfs.home_byte", &byte) || !watch_byte(w, home, byte);
}

bool
watch_wait(const struct watch *w, unsigned usec)
{
	struct pollfd p = { .fd = w->process, .events = POLLIN };

	if (w->process != -1)
		return poll(&p, 1, (int)(usec / 1000)) > 0;
	if (w->home == -1)
		return true;
	for (unsigned waited = 0; holds_byte(w); waited += LOOK_USEC) {
		if (waited >= usec)
			return false;
		os_sleep_usec(LOOK_USEC);
	}
	return true;
}

void
watch_fini(struct watch *w)
{
	os_close(w->process);
	os_close(w->home);
}
