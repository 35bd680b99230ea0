/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/file_room.c - opening a file in the pool, whose table of files has an end.
 *
 * Files that are open only in case somebody wants them again make room for others, or else some
 * that no request is using just now: the next one opens them again.  Their rows are free once
 * nobody has a page of theirs in hand any more.  Who finds none to close and none about to go is
 * told ENFILE at once; what keeps the others open is said.
 *
 * Several may want room at the same time, each with the file.state of its own file held: they only
 * try to lock those of others, and do not count each other as busy.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "file_idle.h"
#include "pool.h"
#include "state.h"

#define SENTENCE_BYTES 512
#define ROOM_USEC 5000u
#define ROOM_WAITS 100u
#define ROOM_LOOK 10u	 /* waits between looks */
#define ROOM_TRIES 1000u /* others may be quicker to take what was closed */

static void
keep_sentence(void *arg, const char *sentence)
{
	(void)snprintf(arg, SENTENCE_BYTES, "%s", sentence);
}

/* What the pool has to say of it goes to said, "" if nothing. */
static int
open_hearing(struct fs *fs, int fd, const char *path, int flags, DB_MPOOLFILE **mpfp, char *said)
{
	int err;

	said[0] = '\0';
	pool_hear(keep_sentence, said);
	err = mpool_open_fd(fs->pool, fd, path, flags, fs->opt->page_bytes, mpfp);
	pool_hear(NULL, NULL);
	return err;
}

/* Is the table full of files, so that one that is closed may help? */
static bool
is_full(int err)
{
	return err == ENFILE || err == ENOMEM;
}

/* An open that finds the table full. */
struct room {
	struct in_use why;
	bool closed;	/* the last look at the files closed some */
	bool any;	/* one of them did */
	unsigned waits; /* of ROOM_USEC */
};

/*
 * Close files other than f that nobody needs just now, or wait for those who will.  False: there
 * is none, nor will be.  To look is to open each file that may not be closed, so who waits looks
 * seldom.
 */
static bool
make_room(struct fs *fs, const struct file *f, struct room *r)
{
	bool looks = r->closed || r->waits % ROOM_LOOK == 0;

	r->closed = looks && (file_close_idle(fs) > 0 || file_close_unused(fs, f, &r->why) > 0);
	r->any |= r->closed;
	if (r->closed)
		return true;
	/* a request comes to an end; a row is free when the last page of its file is written */
	if (r->waits == ROOM_WAITS || (!r->any && r->why.busy == 0 && !mpool_any_leaving(fs->pool)))
		return false;
	r->waits++;
	os_sleep_usec(ROOM_USEC);
	return true;
}

/* Another descriptor for fd's file, or -1. */
static int
spare_fd(struct fs *fs, int fd)
{
	int spare = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return spare == -1 && file_close_idle(fs) > 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : spare;
}

static void
say_full(const char *said, const struct in_use *why)
{
	fs_log(LOG_WARNING,
	    "%s; of the mount's %u are just in use, %u are in the kernel's cache, %u cannot be "
	    "opened again, %u without a name are open elsewhere, %u without a name cannot be "
	    "written",
	    said, why->busy, why->cached, why->lost, why->shared, why->unsaved);
}

/* mpool_open_fd, until there is room or nothing to be done about it. */
int
file_open_fd_locked(struct fs *fs, struct file *f, int fd, bool writable, DB_MPOOLFILE **mpfp)
{
	int flags = DB_ODDFILESIZE | (writable ? 0 : DB_RDONLY), spare, err;
	char path[PATH_MAX], said[SENTENCE_BYTES];
	struct room room = { 0 };

	if (fs->opt->read_only || fs->opt->no_atime)
		(void)fcntl(fd, F_SETFL, O_NOATIME);
	file_name(fs, f, path);
	for (unsigned tries = 0;; tries++) {
		spare = spare_fd(fs, fd);
		err = open_hearing(fs, fd, path, flags, mpfp, said);
		if (!is_full(err) || spare == -1 || tries == ROOM_TRIES)
			break;
		__atomic_store_n(&f->waits_room, true, __ATOMIC_RELAXED);
		if (!make_room(fs, f, &room))
			break;
		fd = spare;
	}
	__atomic_store_n(&f->waits_room, false, __ATOMIC_RELAXED);
	if (said[0] != '\0' && is_full(err))
		say_full(said, &room.why);
	else if (said[0] != '\0')
		fs_log(LOG_WARNING, "%s", said);
	os_close(spare);
	return err;
}
