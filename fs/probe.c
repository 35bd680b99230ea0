/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/probe.c - what HOME's filesystem can do, found out by trying.
 *
 * HOME may be on a network or a FUSE filesystem, which lack this or that.  Whether they do is seen
 * on HOME itself, and on a file in it that has no name: O_TMPFILE, or where there is no such thing
 * a file of a name that the mount hides, removed at once.  On a read-only mount only HOME itself
 * is looked at.  Filesystems mounted below HOME are not probed: each call copes with what the
 * file it is about can do.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "path_fd.h"
#include "space.h"
#include "state.h"

static int
open_nameless(const struct fs *fs)
{
	char name[64];
	int fd;

	fd = openat(fs->home_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd != -1)
		return fd;
	(void)snprintf(name, sizeof(name), "__db_probe.%d.share", (int)getpid());
	fd = openat(fs->home_fd, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
	if (fd != -1)
		(void)unlinkat(fs->home_fd, name, 0);
	return fd;
}

static bool
can_allocate(int fd, int mode)
{
	return fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, 0, 1) == 0 ||
	    (errno != EOPNOTSUPP && errno != ENOSYS);
}

static void
probe_identity(struct fs *fs)
{
	struct file_handle *handle;
	struct os_ident id;
	struct statx sx;
	int fd;

	if (node_statx(fs->home_fd, &sx) != 0)
		return;
	if ((sx.stx_mask & STATX_BTIME) == 0)
		fs_log(LOG_WARNING,
		    "%s has no birth times: a file that is removed in HOME, and whose inode number "
		    "another gets, may be taken for that one until it is opened",
		    fs->opt->home);
	node_ident(&sx, &id);
	if (fs->uid != 0)
		return;
	handle = path_fd_handle(fs, fs->home_fd, &id);
	fd = handle == NULL ?
	    -1 :
	    open_by_handle_at(fs->home_fd, handle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		fs_log(LOG_WARNING,
		    "%s has no file handles: files that are moved in HOME, not through the mount, "
		    "are found again only by their new names",
		    fs->opt->home);
	else
		(void)close(fd);
	free(handle);
}

static void
probe_space(struct fs *fs)
{
	int fd;

	if (fs->opt->read_only || (fd = open_nameless(fs)) == -1)
		return;
	if (!fs->writes_through && !can_allocate(fd, 0))
		fs->writes_through = true;
	if (fs->writes_through)
		fs_log(LOG_WARNING,
		    "%s cannot reserve space: each write goes through to it before it returns",
		    fs->opt->home);
	if (!can_allocate(fd, FALLOC_FL_PUNCH_HOLE))
		fs_log(LOG_WARNING, "%s cannot punch holes: nor can the mount", fs->opt->home);
	(void)close(fd);
}

/* The regions' own files, where they are in HOME, cannot do without. */
static void
probe_locks(const struct fs *fs)
{
	if (fs->home_byte == 0)
		fs_log(LOG_WARNING,
		    "%s has no locks: nothing keeps a pool that is placed elsewhere from the same "
		    "files, and poolfs -u sees the end of its daemon only in its PID namespace",
		    fs->opt->home);
}

void
probe_home(struct fs *fs)
{
	probe_locks(fs);
	fs->writes_through = !space_can_reserve(fs->home_fd);
	probe_identity(fs);
	probe_space(fs);
}
