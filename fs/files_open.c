/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/files_open.c - open files and directories of the files/ tree.
 *
 * A file is opened twice: once as the caller, only to see whether he may, and (file.c) once for
 * the pool, as the daemon, shared by all.  A directory is opened as the caller and read straight
 * from HOME; the offsets that the kernel gets are those of HOME's filesystem, so entries may come
 * and go meanwhile.
 */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "coherence.h"
#include "io.h"
#include "state.h"

/* Open in order to run it: a flag that the kernel adds. */
#define FMODE_EXEC 0x20

/* --- files --------------------------------------------------------------------------------- */

static int
open_as(struct fs *fs, struct node *node, const struct caller *c, int flags, int *fdp)
{
	int path_fd, err;

	/* The caller may lack what the daemon needs to find the object again. */
	if ((err = node_fd_get(fs, node, &path_fd)) != 0)
		return err;
	if ((err = identity_enter(c)) == 0) {
		err = node_open(fs, node, flags, fdp);
		identity_leave();
	}
	node_fd_put(fs, node);
	return err;
}

static int
may_open(struct fs *fs, struct node *node, const struct caller *c, int flags)
{
	int fd, err;

	/* A program may be run without being read. */
	if (flags & FMODE_EXEC)
		return files_access(fs, node, c, X_OK);
	/* O_NONBLOCK: a lease that another process has on the file is no reason to wait. */
	flags = (flags & (O_ACCMODE | O_APPEND)) | O_NONBLOCK;
	if ((err = open_as(fs, node, c, flags, &fd)) != 0)
		return err;
	(void)close(fd);
	return 0;
}

static int
open_checked(
    struct fs *fs, struct node *node, const struct caller *c, int flags, struct handle **hp)
{
	struct handle *h;
	int err;

	if ((err = file_open(fs, node, flags, &h)) != 0)
		return err;
	if ((flags & O_TRUNC) != 0 && (err = io_truncate(fs, node, c, 0)) != 0) {
		file_close(fs, h, true);
		return err;
	}
	if ((err = coherence_open(fs, h)) != 0) {
		file_close(fs, h, true);
		return err;
	}
	*hp = h;
	return 0;
}

int
files_open(struct fs *fs, struct node *node, const struct caller *c, int flags, struct handle **hp)
{
	int err;

	if (!S_ISREG(node->type))
		return S_ISDIR(node->type) ? EISDIR : ENXIO;
	/* O_TRUNC writes, whatever the access mode says. */
	if ((flags & O_TRUNC) != 0 && (flags & O_ACCMODE) == O_RDONLY)
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	if ((err = may_open(fs, node, c, flags)) != 0)
		return err;
	return open_checked(fs, node, c, flags, hp);
}

static int
create_at(struct fs *fs, struct node *dir, const char *name, const struct caller *c, mode_t mode,
    int *fdp)
{
	int dirfd, err;

	if ((err = node_fd_get(fs, dir, &dirfd)) != 0)
		return err;
	if ((err = identity_enter_to_create(c)) == 0) {
		*fdp = openat(dirfd, name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC,
		    identity_mode(c, mode & 07777));
		err = *fdp == -1 ? errno : 0;
		identity_leave();
	}
	node_fd_put(fs, dir);
	return err;
}

/* The caller is told that there is no file: then there is none, unless the name is another's. */
static void
remove_created(struct fs *fs, struct node *dir, const char *name, const struct os_ident *made)
{
	struct os_ident id;
	struct node *node;
	struct statx sx;
	int dirfd;

	if (node_fd_get(fs, dir, &dirfd) != 0)
		return;
	if (node_statx_at(dirfd, name, &sx) == 0) {
		node_ident(&sx, &id);
		if (id.dev == made->dev && id.ino == made->ino && unlinkat(dirfd, name, 0) == 0 &&
		    sx.stx_nlink == 1) {
			node = node_find(fs, &id, S_IFREG);
			file_gone(fs, node, &id);
			node_put(fs, node);
		}
	}
	node_fd_put(fs, dir);
}

static int
open_created(struct fs *fs, struct node *dir, const char *name, int fd, int flags, struct node **np,
    struct stat *st, struct handle **hp)
{
	struct node *node;
	int path_fd, err;

	/* The name may be another file's already: what was created is known by fd alone. */
	path_fd = openat(fs->proc_fd, fd_name(fd).text, O_PATH | O_CLOEXEC);
	err = path_fd == -1 ? errno : files_found(fs, dir, name, path_fd, &node, st);
	if (err != 0) {
		(void)close(fd);
		return err;
	}
	err = file_open_created(fs, node, fd, flags, hp);
	if (err == 0 && (err = coherence_open(fs, *hp)) != 0)
		file_close(fs, *hp, true);
	if (err == 0)
		*np = node;
	else
		node_put(fs, node);
	return err;
}

static int
open_existing(struct fs *fs, struct node *dir, const char *name, const struct caller *c, int flags,
    struct node **np, struct stat *st, struct handle **hp)
{
	struct node *node;
	int err;

	if ((err = files_lookup(fs, dir, name, &node, st)) != 0)
		return err;
	if ((err = files_open(fs, node, c, flags, hp)) != 0 ||
	    (err = files_getattr(fs, node, st)) != 0) {
		node_put(fs, node);
		return err;
	}
	*np = node;
	return 0;
}

int
files_create(struct fs *fs, struct node *dir, const char *name, const struct caller *c, mode_t mode,
    int flags, struct node **np, struct stat *st, struct handle **hp)
{
	struct os_ident made = { 0 };
	struct statx sx;
	int fd, err;

	if (files_hidden(name))
		return EPERM;
	err = create_at(fs, dir, name, c, mode, &fd);
	if (err == EEXIST && (flags & O_EXCL) == 0)
		return open_existing(fs, dir, name, c, flags, np, st, hp);
	if (err != 0)
		return err;
	if (node_statx(fd, &sx) == 0)
		node_ident(&sx, &made);
	if ((err = open_created(fs, dir, name, fd, flags, np, st, hp)) != 0)
		remove_created(fs, dir, name, &made);
	return err;
}

/* --- directories --------------------------------------------------------------------------- */

struct dir {
	pthread_mutex_t lock;
	struct node *node;
	int fd;
	off_t next;	/* where the entry after those in buf is */
	size_t at, end; /* what of buf is not given out yet */
	_Alignas(struct dirent64) char buf[32768];
};

static void
leave_atime(const struct fs *fs, int fd)
{
	if (fs->opt->read_only || fs->opt->no_atime)
		(void)fcntl(fd, F_SETFL, O_NOATIME);
}

int
files_opendir(struct fs *fs, struct node *node, const struct caller *c, struct dir **dp)
{
	struct dir *d;
	int err;

	if ((d = malloc(sizeof(*d))) == NULL)
		return ENOMEM;
	if ((err = open_as(fs, node, c, O_RDONLY | O_DIRECTORY, &d->fd)) != 0) {
		free(d);
		return err;
	}
	leave_atime(fs, d->fd);
	(void)pthread_mutex_init(&d->lock, NULL);
	node_get(fs, node);
	d->node = node;
	d->next = 0;
	d->at = d->end = 0;
	*dp = d;
	return 0;
}

static int
dir_seek(struct dir *d, off_t offset)
{
	if (offset == d->next && offset != 0)
		return 0;
	if (lseek(d->fd, offset, SEEK_SET) == -1)
		return errno;
	d->next = offset;
	d->at = d->end = 0;
	return 0;
}

/* The next entry, or NULL at the end (*errp 0) or at an error. */
static struct dirent64 *
dir_peek(struct dir *d, int *errp)
{
	ssize_t n;

	*errp = 0;
	if (d->at == d->end) {
		if ((n = getdents64(d->fd, d->buf, sizeof(d->buf))) <= 0) {
			*errp = n == -1 ? errno : 0;
			return NULL;
		}
		d->at = 0;
		d->end = (size_t)n;
	}
	return (struct dirent64 *)(void *)(d->buf + d->at);
}

static bool
is_hidden(const struct fs *fs, const struct dir *d, const struct dirent64 *e)
{
	struct os_ident id = { .dev = d->node->ident.dev, .ino = e->d_ino };

	return files_hidden(e->d_name) || files_is_region(fs, &id);
}

static int
dir_read_locked(struct fs *fs, struct dir *d, off_t offset,
    bool (*add)(void *arg, const char *name, uint64_t ino, unsigned type, off_t next), void *arg)
{
	struct dirent64 *e;
	unsigned added = 0;
	int err;

	if ((err = dir_seek(d, offset)) != 0)
		return err;
	while ((e = dir_peek(d, &err)) != NULL) {
		if (!is_hidden(fs, d, e) &&
		    !add(arg, e->d_name, e->d_ino, e->d_type, (off_t)e->d_off))
			return 0;
		added++;
		d->at += e->d_reclen;
		d->next = (off_t)e->d_off;
	}
	return added > 0 ? 0 : err;
}

int
files_readdir(struct fs *fs, struct dir *d, off_t offset,
    bool (*add)(void *arg, const char *name, uint64_t ino, unsigned type, off_t next), void *arg)
{
	int err;

	(void)pthread_mutex_lock(&d->lock);
	err = dir_read_locked(fs, d, offset, add, arg);
	(void)pthread_mutex_unlock(&d->lock);
	return err;
}

int
files_fsyncdir(struct dir *d)
{
	return fsync(d->fd) == -1 ? errno : 0;
}

void
files_closedir(struct fs *fs, struct dir *d)
{
	(void)close(d->fd);
	(void)pthread_mutex_destroy(&d->lock);
	node_put(fs, d->node);
	free(d);
}
