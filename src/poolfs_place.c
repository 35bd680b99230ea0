/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs_place.c - are HOME and MOUNTPOINT fit to be mounted?
 *
 * Everything that can be known before anything is done is asked here, so that the answer is a
 * sentence about the cause and not about its consequence three layers down.  Paths are made
 * absolute, because the daemon changes to the root directory.
 *
 * Nothing keeps the kernel from mounting twice on one place.  So the directory is locked from the
 * moment it is found free until the mount is there: of two that come together one is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "log.h"
#include "poolfs.h"
#include "region/home.h"

/* --- HOME ---------------------------------------------------------------------------------- */

static int
check_home(struct options *o)
{
	struct stat st;
	char *path;

	if (stat(o->home, &st) == -1 || (path = realpath(o->home, NULL)) == NULL) {
		complain("cannot use HOME %s: %s", o->home, strerror(errno));
		return EXIT_FAILURE;
	}
	o->fs.home = path;
	if (!S_ISDIR(st.st_mode)) {
		complain("HOME %s is not a directory", o->home);
		return EXIT_FAILURE;
	}
	if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == -1) {
		complain("HOME %s is not writable: %s", o->home, strerror(errno));
		return EXIT_FAILURE;
	}
	return 0;
}

/* Asked of home only: a private pool is nowhere, but regions of others are there to be seen. */
static int
follow_home(struct options *o)
{
	DB_ENV env = { .db_errcall = fs_log_core };
	char why[512], *path;
	int err;

	fs_log_hold();
	err = home_regions(&env, o->fs.home, &path);
	fs_log_release(why, sizeof(why));
	if (err != 0 && o->fs.memory != FS_MEMORY_PRIVATE) {
		complain("%s (--region-dir says something else)",
		    why[0] != '\0' ? why : db_strerror(err));
		return EXIT_FAILURE;
	}
	if (err == 0)
		o->fs.region_dir = path;
	return 0;
}

int
place_region_dir(struct options *o, const char *home)
{
	char *joined = NULL, *path;
	struct stat st;

	if (o->region_dir == NULL)
		return 0;
	if (o->region_dir[0] != '/' && asprintf(&joined, "%s/%s", home, o->region_dir) == -1) {
		complain("not enough memory");
		return EXIT_FAILURE;
	}
	path = realpath(joined != NULL ? joined : o->region_dir, NULL);
	free(joined);
	if (path == NULL || stat(path, &st) == -1 || !S_ISDIR(st.st_mode)) {
		complain("cannot use the region directory %s: %s", o->region_dir,
		    strerror(path == NULL ? errno : ENOTDIR));
		free(path);
		return EXIT_FAILURE;
	}
	o->fs.region_dir = path;
	return 0;
}

/* --- MOUNTPOINT ---------------------------------------------------------------------------- */

/* Of a dead mount the kernel may still know what it was told a moment ago. */
static int
stat_now(const char *path, struct stat *st)
{
	struct statvfs sv;

	return statvfs(path, &sv) == -1 ? -1 : stat(path, st);
}

static int
complain_about_dead_mount(const char *mountpoint)
{
	complain("a dead mount is in the way at %s: remove it with \"poolfs -u %s\" (or \"umount "
		 "-l %s\")",
	    mountpoint, mountpoint, mountpoint);
	return EXIT_FAILURE;
}

static int
check_not_busy(const struct options *o)
{
	struct mounted m;

	if (!mounted_find(o->fs.mountpoint, &m)) {
		mounted_fini(&m);
		return 0;
	}
	complain("MOUNTPOINT %s is busy: %s is mounted there already (%s)", o->mountpoint, m.source,
	    m.type);
	mounted_fini(&m);
	return EXIT_FAILURE;
}

/* Where directories cannot be locked, or not be read, nothing is locked. */
static int
lock_place(struct options *o)
{
	o->place_fd = open(o->fs.mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->place_fd == -1 || flock(o->place_fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;
	complain("MOUNTPOINT %s is busy: another process is just mounting on it", o->mountpoint);
	return EXIT_FAILURE;
}

void
place_release(struct options *o)
{
	if (o->place_fd != -1)
		(void)close(o->place_fd);
	o->place_fd = -1;
}

static int
check_mountpoint(struct options *o)
{
	struct stat st;
	char *path;
	int err;

	if (stat_now(o->mountpoint, &st) == -1) {
		if (mounted_is_dead(errno))
			return complain_about_dead_mount(o->mountpoint);
		complain("cannot use MOUNTPOINT %s: %s", o->mountpoint, strerror(errno));
		return EXIT_FAILURE;
	}
	if ((path = realpath(o->mountpoint, NULL)) == NULL) {
		complain("cannot use MOUNTPOINT %s: %s", o->mountpoint, strerror(errno));
		return EXIT_FAILURE;
	}
	o->fs.mountpoint = path;
	if (!S_ISDIR(st.st_mode)) {
		complain("MOUNTPOINT %s is not a directory", o->mountpoint);
		return EXIT_FAILURE;
	}
	if ((err = check_not_busy(o)) != 0 || (err = lock_place(o)) != 0)
		return err;
	/* Again: who held the lock may have mounted. */
	return check_not_busy(o);
}

/* --- both ---------------------------------------------------------------------------------- */

static int
open_parent(int fd)
{
	int parent = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)close(fd);
	return parent;
}

/* Is inner outer, or below it?  By identity: a bind mount gives a directory two paths. */
static bool
is_within(const char *inner, const char *outer)
{
	struct stat st, last = { 0 }, out;
	bool found = false;
	int fd;

	if (stat(outer, &out) == -1)
		return false;
	fd = open(inner, O_PATH | O_DIRECTORY | O_CLOEXEC);
	while (fd != -1 && fstat(fd, &st) == 0) {
		if ((found = st.st_dev == out.st_dev && st.st_ino == out.st_ino) ||
		    (st.st_dev == last.st_dev && st.st_ino == last.st_ino))
			break;
		last = st;
		fd = open_parent(fd);
	}
	if (fd != -1)
		(void)close(fd);
	return found;
}

static int
check_apart(const struct options *o)
{
	if (is_within(o->fs.mountpoint, o->fs.home)) {
		complain("MOUNTPOINT %s is inside HOME %s: the mount would contain itself",
		    o->mountpoint, o->home);
		return EXIT_FAILURE;
	}
	if (is_within(o->fs.home, o->fs.mountpoint)) {
		complain("HOME %s is inside MOUNTPOINT %s: the mount would hide it", o->home,
		    o->mountpoint);
		return EXIT_FAILURE;
	}
	if (o->fs.warm != NULL && is_within(o->fs.warm, o->fs.mountpoint)) {
		complain("the warm list %s is inside MOUNTPOINT %s", o->fs.warm, o->mountpoint);
		return EXIT_FAILURE;
	}
	if (o->fs.region_dir != NULL && is_within(o->fs.region_dir, o->fs.mountpoint)) {
		complain("the region directory %s is inside MOUNTPOINT %s: the mount would hide it",
		    o->region_dir, o->mountpoint);
		return EXIT_FAILURE;
	}
	return 0;
}

static int
check_device(void)
{
	int fd;

	if ((fd = open("/dev/fuse", O_RDWR | O_CLOEXEC)) != -1) {
		(void)close(fd);
		return 0;
	}
	if (errno == EACCES)
		complain(
		    "you may not open /dev/fuse: as root, chmod 666 /dev/fuse, as it usually is");
	else
		complain("no FUSE here: cannot open /dev/fuse: %s (modprobe fuse, or give the "
			 "container the device)",
		    strerror(errno));
	return EXIT_FAILURE;
}

int
place_check(struct options *o)
{
	int ret;

	if ((ret = check_home(o)) != 0 || (ret = place_region_dir(o, o->fs.home)) != 0 ||
	    (o->region_dir == NULL && (ret = follow_home(o)) != 0) ||
	    (ret = check_mountpoint(o)) != 0 || (ret = check_apart(o)) != 0)
		return ret;
	return check_device();
}
