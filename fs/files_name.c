/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/files_name.c - names in the files/ tree: making, linking, moving, removing.
 *
 * Each is one system call relative to a directory's descriptor, with the caller's identity.
 * Around it the pool is kept informed: of paths that changed (it reopens files by them), of files
 * whose last name went (their pages need not be written any more), and that a changed ctime is
 * our own doing.
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "path_fd.h"
#include "state.h"

/* --- making -------------------------------------------------------------------------------- */

static int
make_begin(struct fs *fs, struct node *dir, const char *name, int *dirfdp)
{
	if (files_hidden(name))
		return EPERM;
	return node_fd_get(fs, dir, dirfdp);
}

/*
 * What was made is there but cannot be shown, and the caller is told that it was not made: it goes,
 * if it is what was made since began_nsec.  If there was nothing of that name any more somebody in
 * HOME has removed it: what is there by now is another's.
 */
static void
unmake(struct fs *fs, struct node *dir, const char *name, mode_t type, int64_t began_nsec)
{
	struct statx sx;
	int dirfd;

	if (node_fd_get(fs, dir, &dirfd) != 0)
		return;
	if (node_statx_at(dirfd, name, &sx) == 0 && (sx.stx_mode & S_IFMT) == type &&
	    sx.stx_ctime.tv_sec * 1000000000 + sx.stx_ctime.tv_nsec >= began_nsec &&
	    (!S_ISREG(type) || sx.stx_size == 0))
		(void)unlinkat(dirfd, name, S_ISDIR(type) ? AT_REMOVEDIR : 0);
	node_fd_put(fs, dir);
}

static int
show_made(struct fs *fs, struct node *dir, const char *name, mode_t type, int64_t began_nsec,
    struct node **np, struct stat *st)
{
	int err = files_lookup(fs, dir, name, np, st);

	if (err != 0 && err != ENOENT)
		unmake(fs, dir, name, type, began_nsec);
	return err;
}

int
files_mknod(struct fs *fs, struct node *dir, const char *name, const struct caller *c, mode_t mode,
    dev_t rdev, struct node **np, struct stat *st)
{
	int64_t began_nsec = os_now_nsec_coarse();
	int dirfd, err;

	if ((err = make_begin(fs, dir, name, &dirfd)) != 0)
		return err;
	if ((err = identity_enter_to_create(c)) == 0) {
		err = mknodat(dirfd, name, identity_mode(c, mode), rdev) == -1 ? errno : 0;
		identity_leave();
	}
	node_fd_put(fs, dir);
	return err != 0 ? err : show_made(fs, dir, name, mode & S_IFMT, began_nsec, np, st);
}

int
files_mkdir(struct fs *fs, struct node *dir, const char *name, const struct caller *c, mode_t mode,
    struct node **np, struct stat *st)
{
	int64_t began_nsec = os_now_nsec_coarse();
	int dirfd, err;

	if ((err = make_begin(fs, dir, name, &dirfd)) != 0)
		return err;
	if ((err = identity_enter_to_create(c)) == 0) {
		err = mkdirat(dirfd, name, identity_mode(c, mode)) == -1 ? errno : 0;
		identity_leave();
	}
	node_fd_put(fs, dir);
	return err != 0 ? err : show_made(fs, dir, name, S_IFDIR, began_nsec, np, st);
}

int
files_symlink(struct fs *fs, struct node *dir, const char *name, const struct caller *c,
    const char *target, struct node **np, struct stat *st)
{
	int64_t began_nsec = os_now_nsec_coarse();
	int dirfd, err;

	if ((err = make_begin(fs, dir, name, &dirfd)) != 0)
		return err;
	if ((err = identity_enter(c)) == 0) {
		err = symlinkat(target, dirfd, name) == -1 ? errno : 0;
		identity_leave();
	}
	node_fd_put(fs, dir);
	return err != 0 ? err : show_made(fs, dir, name, S_IFLNK, began_nsec, np, st);
}

static int
link_at(struct fs *fs, struct node *node, int dirfd, const char *name, const struct caller *c)
{
	struct file *f;
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	if ((err = file_change_begin(fs, node, &f)) == 0) {
		if ((err = identity_enter(c)) == 0) {
			err = linkat(fs->proc_fd, fd_name(fd).text, dirfd, name,
				  AT_SYMLINK_FOLLOW) == -1 ?
			    errno :
			    0;
			identity_leave();
		}
		file_change_end(fs, f);
	}
	node_fd_put(fs, node);
	return err;
}

/* As unmake: it was node's name. */
static void
unlink_from(const struct node *node, int dirfd, const char *name)
{
	struct os_ident id;
	struct statx sx;

	if (node_statx_at(dirfd, name, &sx) != 0)
		return;
	node_ident(&sx, &id);
	if (id.dev == node->ident.dev && id.ino == node->ident.ino)
		(void)unlinkat(dirfd, name, 0);
}

int
files_link(struct fs *fs, struct node *node, struct node *dir, const char *name,
    const struct caller *c, struct stat *st)
{
	int dirfd, err;

	if ((err = make_begin(fs, dir, name, &dirfd)) != 0)
		return err;
	if ((err = link_at(fs, node, dirfd, name, c)) == 0 &&
	    (err = files_getattr(fs, node, st)) != 0)
		unlink_from(node, dirfd, name);
	node_fd_put(fs, dir);
	return err;
}

/* --- what a name stands for, before it is changed ------------------------------------------ */

struct object {
	int fd; /* O_PATH, or -1: there is no such object */
	struct os_ident ident;
	mode_t mode;
	uint32_t nlink;
	struct node *node;    /* or NULL: the kernel does not know it */
	struct file *watched; /* held by file_change_begin */
};

static int
object_open(struct fs *fs, int dirfd, const char *name, struct object *o)
{
	struct statx sx;
	int err;

	*o = (struct object){ .fd = -1 };
	if ((err = path_fd_open(dirfd, name, O_PATH, &o->fd)) != 0)
		return err;
	if ((err = node_statx(o->fd, &sx)) != 0) {
		(void)close(o->fd);
		o->fd = -1;
		return err;
	}
	node_ident(&sx, &o->ident);
	if (files_is_region(fs, &o->ident))
		return EPERM;
	o->mode = sx.stx_mode;
	o->nlink = sx.stx_nlink;
	o->node = node_find(fs, &o->ident, o->mode & S_IFMT);
	return 0;
}

static void
object_close(struct fs *fs, struct object *o)
{
	if (o->fd != -1)
		(void)close(o->fd);
	node_put(fs, o->node);
}

static int
object_watch(struct fs *fs, struct object *o)
{
	return o->node == NULL ? 0 : file_change_begin(fs, o->node, &o->watched);
}

static void
object_unwatch(struct fs *fs, struct object *o)
{
	file_change_end(fs, o->watched);
	o->watched = NULL;
}

/* A name of the object was removed: was it the last? */
static void
object_lost_name(struct fs *fs, struct object *o)
{
	struct statx sx;

	if (o->fd == -1 || !S_ISREG(o->mode) || node_statx(o->fd, &sx) != 0)
		return;
	if (sx.stx_nlink == 0)
		file_gone(fs, o->node, &o->ident);
	else if (sx.stx_nlink >= o->nlink && o->node != NULL)
		file_is_hidden(fs, o->node);
}

/* --- removing ------------------------------------------------------------------------------ */

static int
remove_at(struct fs *fs, int dirfd, const char *name, const struct caller *c)
{
	struct object o;
	int err;

	if ((err = object_open(fs, dirfd, name, &o)) != 0)
		return err;
	if ((err = object_watch(fs, &o)) == 0) {
		if ((err = identity_enter(c)) == 0) {
			err = unlinkat(dirfd, name, 0) == -1 ? errno : 0;
			identity_leave();
		}
		object_unwatch(fs, &o);
	}
	if (err == 0)
		object_lost_name(fs, &o);
	object_close(fs, &o);
	return err;
}

int
files_unlink(struct fs *fs, struct node *dir, const char *name, const struct caller *c)
{
	int dirfd, err;

	if (files_hidden(name))
		return ENOENT;
	if ((err = node_fd_get(fs, dir, &dirfd)) != 0)
		return err;
	err = remove_at(fs, dirfd, name, c);
	node_fd_put(fs, dir);
	return err;
}

int
files_rmdir(struct fs *fs, struct node *dir, const char *name, const struct caller *c)
{
	int dirfd, err;

	if (files_hidden(name))
		return ENOENT;
	if ((err = node_fd_get(fs, dir, &dirfd)) != 0)
		return err;
	if ((err = identity_enter(c)) == 0) {
		err = unlinkat(dirfd, name, AT_REMOVEDIR) == -1 ? errno : 0;
		identity_leave();
	}
	node_fd_put(fs, dir);
	return err;
}

/* --- moving -------------------------------------------------------------------------------- */

/* One side of a rename. */
struct side {
	struct node *dir;
	const char *name;
	int dirfd;
	char *path; /* absolute, before the rename; NULL: longer than paths may be */
	struct object object;
};

static int
side_path(struct fs *fs, struct side *s)
{
	char dir[PATH_MAX];
	int err;

	if ((err = node_path(fs, s->dirfd, dir)) != 0)
		return err == ENAMETOOLONG ? 0 : err;
	return asprintf(&s->path, "%s/%s", dir, s->name) == -1 ? ENOMEM : 0;
}

static int
side_open(struct fs *fs, struct side *s, struct node *dir, const char *name)
{
	int err;

	*s = (struct side){ .dir = dir, .name = name, .dirfd = -1, .object.fd = -1 };
	if ((err = node_fd_get(fs, dir, &s->dirfd)) != 0)
		return err;
	if ((err = side_path(fs, s)) == 0)
		err = object_open(fs, s->dirfd, name, &s->object);
	return err;
}

static void
side_close(struct fs *fs, struct side *s)
{
	object_close(fs, &s->object);
	free(s->path);
	if (s->dirfd != -1)
		node_fd_put(fs, s->dir);
}

/* Both get a new ctime, also the one that is replaced.  Two files are locked in address order. */
static int
watch_both(struct fs *fs, struct side *from, struct side *to)
{
	struct side *first = from, *second = to;
	int err;

	if (from->object.node == to->object.node)
		return object_watch(fs, &from->object);
	if (from->object.node > to->object.node) {
		first = to;
		second = from;
	}
	if ((err = object_watch(fs, &first->object)) != 0)
		return err;
	if ((err = object_watch(fs, &second->object)) != 0)
		object_unwatch(fs, &first->object);
	return err;
}

static void
tell_exchanged(struct fs *fs, const char *a, const char *b)
{
	char *between;

	if (a == NULL || b == NULL)
		return;
	/* The pool renames one way at a time: the third name is one that no file can have. */
	if (asprintf(&between, "%s/", a) == -1)
		return;
	mpool_renamed(fs->pool, a, between);
	mpool_renamed(fs->pool, b, a);
	mpool_renamed(fs->pool, between, b);
	free(between);
}

static void
tell_renamed(struct fs *fs, struct side *from, struct side *to, unsigned flags)
{
	if (from->object.node != NULL)
		node_moved(fs, from->object.node, to->dir, to->name);
	if (flags & RENAME_EXCHANGE) {
		if (to->object.node != NULL)
			node_moved(fs, to->object.node, from->dir, from->name);
		tell_exchanged(fs, from->path, to->path);
		return;
	}
	object_lost_name(fs, &to->object);
	if (from->path != NULL && to->path != NULL)
		mpool_renamed(fs->pool, from->path, to->path);
}

static int
rename_sides(
    struct fs *fs, struct side *from, struct side *to, unsigned flags, const struct caller *c)
{
	int err;

	if ((err = watch_both(fs, from, to)) != 0)
		return err;
	if ((err = identity_enter(c)) == 0) {
		err = renameat2(from->dirfd, from->name, to->dirfd, to->name, flags) == -1 ? errno :
											     0;
		identity_leave();
	}
	object_unwatch(fs, &from->object);
	object_unwatch(fs, &to->object);
	if (err == 0)
		tell_renamed(fs, from, to, flags);
	return err;
}

int
files_rename(struct fs *fs, struct node *dir, const char *name, struct node *newdir,
    const char *newname, unsigned flags, const struct caller *c)
{
	struct side from, to;
	int err;

	if (files_hidden(name))
		return ENOENT;
	if (files_hidden(newname))
		return EPERM;
	if ((err = side_open(fs, &from, dir, name)) != 0) {
		side_close(fs, &from);
		return err;
	}
	err = side_open(fs, &to, newdir, newname);
	if (err == 0 || err == ENOENT)
		err = rename_sides(fs, &from, &to, flags, c);
	side_close(fs, &to);
	side_close(fs, &from);
	return err;
}
