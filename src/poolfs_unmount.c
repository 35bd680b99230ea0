/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs_unmount.c - poolfs -u MOUNTPOINT: write everything, unmount, wait until HOME is
 * complete.
 *
 * An unmount returns before a FUSE daemon has finished, and what could not be written would be
 * known to its log alone.  So: fsync(2) of the mount's root asks the daemon to write everything,
 * and its failure is ours, with nothing unmounted.  Then the unmount; then the daemon's end
 * (poolfs_watch.c).  Last, this process attaches to the pool of HOME itself, if there is one, and
 * writes what is left: that is nothing, unless the daemon was killed, and then it is what makes
 * HOME complete.  So a dead mount is no different; but if its pool is no pool any more, nobody can
 * know what was lost with it, and that is a failure.
 *
 * None of that waits for ever without a word.  A daemon that does not answer, or does not end, is
 * given --timeout seconds; one that has other mounts to serve, because a process with a mount
 * namespace of its own has a copy of this one, is not waited for: it may never end.  Only writing
 * takes as long as it takes, because the disk may be slow.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <poolfs/mpool.h>

#include "base/os.h"
#include "log.h"
#include "poolfs.h"
#include "region/home.h"

#define BUSY_LOOK_USEC 20000
#define BUSY_PATIENCE_USEC 3000000
#define STEP_USEC 200000u /* between two looks at who else has it mounted */

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

/* --- who unmounts -------------------------------------------------------------------------- */

/*
 * A mount answers nobody but its owner, root included, and root does not trust a region that
 * somebody else owns.  So root does it as the owner, who could do it himself.
 */
static int
act_as_owner(const struct mounted *m)
{
	const struct passwd *pw;
	int ret;

	if (geteuid() != 0 || m->uid == 0)
		return 0;
	pw = getpwuid(m->uid);
	ret = pw != NULL ? initgroups(pw->pw_name, m->gid) : setgroups(0, NULL);
	if (ret == 0 && setresgid(m->gid, m->gid, m->gid) == 0 &&
	    setresuid(m->uid, m->uid, m->uid) == 0)
		return 0;
	complain("cannot act as user %u, who mounted it: %s", (unsigned)m->uid, strerror(errno));
	return EXIT_FAILURE;
}

/* --- the steps ----------------------------------------------------------------------------- */

/* A dead mount has nothing to say; nor has one of another user namespace to our root. */
static int
sync_mount(const char *mountpoint)
{
	int fd, err = 0;

	if ((fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1) {
		if (mounted_is_dead(errno) || (errno == EACCES && geteuid() == 0))
			return 0;
		complain("cannot open %s: %s", mountpoint, strerror(errno));
		return EXIT_FAILURE;
	}
	if (fsync(fd) == -1)
		err = errno;
	(void)close(fd);
	if (err == 0 || mounted_is_dead(err))
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

/*
 * Whoever looks at all mounts, as df does, or has just been killed, is still there for a moment:
 * that is not worth a failure.
 */
static int
unmount_patiently(const char *mountpoint)
{
	for (unsigned usec = 0;; usec += BUSY_LOOK_USEC) {
		if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
			return 0;
		if (errno != EBUSY || usec >= BUSY_PATIENCE_USEC)
			return errno;
		os_sleep_usec(BUSY_LOOK_USEC);
	}
}

static int
unmount(const char *mountpoint)
{
	int err = unmount_patiently(mountpoint);

	if (err == 0)
		return 0;
	if (err == EPERM && geteuid() != 0)
		return run_fusermount(mountpoint);
	if (err == EBUSY)
		complain("not unmounted: %s is in use (fuser -vm %s shows by whom)", mountpoint,
		    mountpoint);
	else
		complain("cannot unmount %s: %s", mountpoint, strerror(err));
	return EXIT_FAILURE;
}

/* Is there a region, and has whoever was its last user left nothing unwritten in it? */
static bool
has_region(const char *dir, bool *cleanp)
{
	RLAYOUT layout;
	struct stat st;
	char *path;
	bool found;

	*cleanp = false;
	if (asprintf(&path, "%s/%s", dir, POOL_FILE) == -1)
		return false;
	found = lstat(path, &st) == 0;
	if (found && region_peek(path, &layout) == 0)
		*cleanp = layout.clean != 0;
	free(path);
	return found;
}

static int
write_what_is_left(const char *home, const char *region_dir)
{
	DB_ENV env = { .db_errcall = fs_log_core, .db_home = home, .region_dir = region_dir };
	DB_MPOOL *pool;
	int err;

	/* The region shows its clients by name: this one is no mount. */
	program_invocation_short_name = (char *)(uintptr_t) "poolfs -u";
	if ((err = memp_open(NULL, 0, 0, &env, &pool)) != 0)
		return err;
	err = memp_sync(pool, NULL);
	(void)memp_close(pool);
	/* Pages that a live process is changing are for that process to write. */
	return err == DB_INCOMPLETE ? 0 : err;
}

/* Where home's pool is; NULL: nobody can say. */
static char *
find_regions(const char *home, const char *region_dir)
{
	char *dir;

	if (region_dir != NULL)
		return strdup(region_dir);
	return home_regions(NULL, home, &dir) == 0 ? dir : NULL;
}

/*
 * No region: nothing is left.  One in memory that cannot be got at from here (ENXIO): its file
 * says whether anything is.  One that is no pool: nobody knows.
 */
static int
complete_home(const char *home, const char *region_dir)
{
	char why[512], *dir = find_regions(home, region_dir);
	bool is_clean = false, had_region = dir == NULL || has_region(dir, &is_clean);
	int err;

	free(dir);
	fs_log_hold();
	err = write_what_is_left(home, region_dir);
	fs_log_release(why, sizeof(why));
	if (err == 0 || (err == ENOENT && !had_region) || (err == ENXIO && is_clean))
		return 0;
	complain("unmounted, but what was not written yet may be lost: the pool of %s could not be "
		 "written: %s",
	    home, why[0] != '\0' ? why : db_strerror(err));
	return EXIT_FAILURE;
}

/* --- all of them --------------------------------------------------------------------------- */

enum daemon_end { DAEMON_ENDED, DAEMON_UNSEEN, DAEMON_ELSEWHERE, DAEMON_LATE };

/* A namespace that is just going has it for a moment, too. */
static enum daemon_end
wait_for_daemon(const struct options *o, const struct watch *w, const char *device, pid_t *pidp)
{
	uint64_t waited = 0;

	for (; !watch_wait(w, STEP_USEC); waited += STEP_USEC) {
		if (waited >= BUSY_PATIENCE_USEC && mounted_still(device, pidp))
			return DAEMON_ELSEWHERE;
		if (waited >= o->timeout * UINT64_C(1000000))
			return DAEMON_LATE;
	}
	return w->is_blind ? DAEMON_UNSEEN : DAEMON_ENDED;
}

static int
wait_and_complete(const struct options *o, const struct watch *w, const struct mounted *m)
{
	pid_t pid = 0;
	enum daemon_end end = wait_for_daemon(o, w, m->device, &pid);
	int ret = complete_home(m->source, o->fs.region_dir);

	if (end == DAEMON_ENDED || ret != 0)
		return ret;
	if (end == DAEMON_UNSEEN)
		complain("unmounted, but its daemon cannot be seen from here: when it has ended, "
			 "%s is complete",
		    m->source);
	else if (end == DAEMON_ELSEWHERE)
		complain("unmounted, but its daemon goes on: process %d sees another mount of it",
		    (int)pid);
	else
		complain("unmounted, and %s is complete, but its daemon has not ended after %u "
			 "seconds",
		    m->source, o->timeout);
	return EXIT_FAILURE;
}

static int
sync_and_unmount(const struct options *o, const char *mountpoint)
{
	int ret;

	patience_begin(mountpoint, "is still being written", o->timeout);
	ret = sync_mount(mountpoint);
	patience_end();
	return ret != 0 ? ret : unmount(mountpoint);
}

static int
unmount_found(struct options *o, const char *mountpoint, const struct mounted *m)
{
	struct watch w;
	int ret;

	if ((ret = act_as_owner(m)) != 0 || (ret = place_region_dir(o, m->source)) != 0)
		return ret;
	watch_init(&w, mountpoint, m->source);
	if ((ret = sync_and_unmount(o, mountpoint)) == 0)
		ret = wait_and_complete(o, &w, m);
	watch_fini(&w);
	return ret;
}

int
unmount_and_wait(struct options *o)
{
	const char *mountpoint = o->mountpoint;
	struct mounted m;
	char *path;
	int ret = EXIT_FAILURE;

	if (!patience_answers(mountpoint, o->timeout)) {
		complain("%s does not answer: its daemon is stopped, or hangs", mountpoint);
		return EXIT_FAILURE;
	}
	if ((path = absolute_path(mountpoint)) == NULL) {
		complain("cannot find %s: %s", mountpoint, strerror(errno));
		return EXIT_FAILURE;
	}
	if (!mounted_find(path, &m))
		complain("nothing is mounted on %s", mountpoint);
	else if (strcmp(m.type, "fuse.poolfs") != 0)
		complain("what is mounted on %s is not a poolfs but %s", mountpoint, m.type);
	else
		ret = unmount_found(o, path, &m);
	mounted_fini(&m);
	free(path);
	return ret;
}
