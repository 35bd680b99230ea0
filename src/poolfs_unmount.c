/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs_unmount.c - poolfs -u MOUNTPOINT: write everything, unmount, wait until HOME is
 * complete.
 *
 * An unmount returns before a FUSE daemon has finished, and what could not be written would be
 * known to its log alone.  So: fsync(2) of the mount's root asks the daemon to write everything,
 * and its failure is ours, with nothing unmounted.  Then the unmount; then the daemon's end,
 * through a descriptor of its process that was opened before.  Last, this process attaches to the
 * pool of HOME itself, if there is one, and writes what is left: that is nothing, unless the
 * daemon was killed, and then it is what makes HOME complete.  So a dead mount is no different.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <poolfs/mpool.h>

#include "log.h"
#include "poolfs.h"

/* realpath(3), but the last name is not asked about itself: a dead mount does not answer. */
static char *
absolute_path(const char *path)
{
	char *copy, *slash, *dir, *result = NULL;
	size_t n = strlen(path);

	if ((result = realpath(path, NULL)) != NULL)
		return result;
	while (n > 1 && path[n - 1] == '/')
		n--;
	if ((copy = strndup(path, n)) == NULL)
		return NULL;
	slash = strrchr(copy, '/');
	if (slash != NULL)
		*slash = '\0';
	dir = realpath(slash == NULL ? "." : slash == copy ? "/" : copy, NULL);
	if (dir != NULL &&
	    asprintf(&result, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir,
		slash == NULL ? copy : slash + 1) == -1)
		result = NULL;
	free(dir);
	free(copy);
	return result;
}

/* --- the daemon ---------------------------------------------------------------------------- */

static pid_t
daemon_pid(const char *mountpoint)
{
	char text[16] = "";

	if (getxattr(mountpoint, "user.poolfs.pid", text, sizeof(text) - 1) <= 0)
		return -1;
	return (pid_t)strtol(text, NULL, 10);
}

/* A descriptor of the daemon's process, or -1: it is dead, or in another PID namespace. */
static int
open_daemon(const char *mountpoint)
{
	pid_t pid = daemon_pid(mountpoint);
	int fd;

	if (pid <= 0 || (fd = (int)syscall(SYS_pidfd_open, pid, 0)) == -1)
		return -1;
	/* Still the same: then the descriptor is the daemon's and nobody else's. */
	if (daemon_pid(mountpoint) == pid)
		return fd;
	(void)close(fd);
	return -1;
}

static void
wait_for_daemon(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (fd == -1)
		return;
	while (poll(&p, 1, -1) == -1 && errno == EINTR)
		;
	(void)close(fd);
}

/* --- the steps ----------------------------------------------------------------------------- */

/* A dead mount has nothing to say. */
static int
sync_mount(const char *mountpoint)
{
	int fd, err = 0;

	if ((fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1) {
		if (errno == ENOTCONN || errno == ECONNABORTED)
			return 0;
		complain("cannot open %s: %s", mountpoint, strerror(errno));
		return EXIT_FAILURE;
	}
	if (fsync(fd) == -1)
		err = errno;
	(void)close(fd);
	if (err == 0 || err == ENOTCONN || err == ECONNABORTED)
		return 0;
	complain(
	    "not unmounted: not everything in %s could be written: %s", mountpoint, strerror(err));
	return EXIT_FAILURE;
}

static int
run_fusermount(const char *mountpoint)
{
	int status;
	pid_t child;

	if ((child = fork()) == 0) {
		(void)execlp("fusermount3", "fusermount3", "-u", "--", mountpoint, (char *)NULL);
		complain("cannot run fusermount3: %s", strerror(errno));
		_exit(127);
	}
	while (child != -1 && waitpid(child, &status, 0) == -1)
		if (errno != EINTR)
			return EXIT_FAILURE;
	if (child == -1) {
		complain("cannot run fusermount3: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EXIT_FAILURE;
}

static int
unmount(const char *mountpoint)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno == EPERM && geteuid() != 0)
		return run_fusermount(mountpoint);
	if (errno == EBUSY)
		complain("not unmounted: %s is in use (fuser -vm %s shows by whom)", mountpoint,
		    mountpoint);
	else
		complain("cannot unmount %s: %s", mountpoint, strerror(errno));
	return EXIT_FAILURE;
}

/* Attach, write what is left, detach.  No pool: nothing is left. */
static int
complete_home(const char *home)
{
	DB_ENV env = { .db_errcall = fs_log_core, .db_home = home };
	DB_MPOOL *pool;
	char why[512];
	int err;

	fs_log_hold();
	if ((err = memp_open(NULL, 0, 0, &env, &pool)) == 0) {
		err = memp_sync(pool, NULL);
		(void)memp_close(pool);
	}
	fs_log_release(why, sizeof(why));
	/* Pages that a live process is changing are for that process to write. */
	if (err == 0 || err == DB_INCOMPLETE || err == ENOENT)
		return 0;
	complain("unmounted, but the pool of %s could not be written: %s", home,
	    why[0] != '\0' ? why : db_strerror(err));
	return EXIT_FAILURE;
}

static int
unmount_found(const char *mountpoint, const char *home)
{
	int fd = open_daemon(mountpoint), ret;

	if ((ret = sync_mount(mountpoint)) != 0 || (ret = unmount(mountpoint)) != 0) {
		if (fd != -1)
			(void)close(fd);
		return ret;
	}
	wait_for_daemon(fd);
	return complete_home(home);
}

int
unmount_and_wait(const char *mountpoint)
{
	struct mounted m;
	char *path;
	int ret = EXIT_FAILURE;

	if ((path = absolute_path(mountpoint)) == NULL) {
		complain("cannot find %s: %s", mountpoint, strerror(errno));
		return EXIT_FAILURE;
	}
	if (!mounted_find(path, &m))
		complain("nothing is mounted on %s", mountpoint);
	else if (strcmp(m.type, "fuse.poolfs") != 0)
		complain("what is mounted on %s is not a poolfs but %s", mountpoint, m.type);
	else
		ret = unmount_found(path, m.source);
	mounted_fini(&m);
	free(path);
	return ret;
}
