/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/files.c - objects of the files/ tree: finding them, and their attributes.
 *
 * HOME is the authority on everything but the bytes, length and modification time of regular
 * files: those are the pool's while it knows the file.  Every object is reached through
 * descriptors beneath HOME (path_fd.c), never by an absolute path, and no symbolic link is
 * followed.
 *
 * Who may look is decided by the kernel (default_permissions, with ACLs), who may change
 * something by HOME's filesystem, because the change is made with the caller's identity.
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "coherence.h"
#include "io.h"
#include "path_fd.h"
#include "region/home.h"
#include "state.h"

bool
files_hidden(const char *name)
{
	return fnmatch("__db_*.share", name, 0) == 0 || strcmp(name, HOME_POINTER) == 0;
}

int
files_note_region(struct fs *fs, int fd)
{
	struct statx sx;
	int err;

	/* A private one has no file. */
	fs->region = (struct os_ident){ 0 };
	if (fd == -1)
		return 0;
	if ((err = node_statx(fd, &sx)) == 0)
		node_ident(&sx, &fs->region);
	return err;
}

/* To truncate it under those who have it mapped would kill them all. */
bool
files_is_region(const struct fs *fs, const struct os_ident *id)
{
	return id->ino == fs->region.ino && id->dev == fs->region.dev;
}

/* --- attributes ---------------------------------------------------------------------------- */

static struct timespec
to_timespec(const struct statx_timestamp *t)
{
	return (struct timespec){ .tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec };
}

static struct timespec
nsec_to_timespec(int64_t nsec)
{
	struct timespec t = { .tv_sec = nsec / 1000000000, .tv_nsec = nsec % 1000000000 };

	if (t.tv_nsec < 0) {
		t.tv_nsec += 1000000000;
		t.tv_sec--;
	}
	return t;
}

static bool
timespec_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

static void
fill_from_disk(const struct node *node, const struct statx *sx, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = node->ino;
	st->st_mode = sx->stx_mode;
	st->st_nlink = sx->stx_nlink;
	st->st_uid = sx->stx_uid;
	st->st_gid = sx->stx_gid;
	st->st_rdev = makedev(sx->stx_rdev_major, sx->stx_rdev_minor);
	st->st_size = (off_t)sx->stx_size;
	st->st_blksize = (blksize_t)sx->stx_blksize;
	st->st_blocks = (blkcnt_t)sx->stx_blocks;
	st->st_atim = to_timespec(&sx->stx_atime);
	st->st_mtim = to_timespec(&sx->stx_mtime);
	st->st_ctim = to_timespec(&sx->stx_ctime);
}

/* The time of a write counts, not that of its write-back. */
static void
fill_from_pool(struct fs *fs, struct node *node, struct stat *st)
{
	int64_t mtime;
	off_t bytes;

	if (!file_attr(fs, node, &bytes, &mtime))
		return;
	st->st_size = bytes;
	if (mtime == 0)
		return;
	st->st_mtim = nsec_to_timespec(mtime);
	if (timespec_before(&st->st_ctim, &st->st_mtim))
		st->st_ctim = st->st_mtim;
}

static void
fill(struct fs *fs, struct node *node, const struct statx *sx, struct stat *st)
{
	struct file *f;

	fill_from_disk(node, sx, st);
	if (!S_ISREG(node->type))
		return;
	fill_from_pool(fs, node, st);
	if ((f = __atomic_load_n(&node->file, __ATOMIC_ACQUIRE)) != NULL)
		coherence_shows(f, (uint64_t)st->st_size);
}

int
files_getattr(struct fs *fs, struct node *node, struct stat *st)
{
	struct statx sx;
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	err = node_statx(fd, &sx);
	node_fd_put(fs, node);
	if (err == 0)
		fill(fs, node, &sx, st);
	return err;
}

/* --- finding ------------------------------------------------------------------------------- */

int
files_root(struct fs *fs, struct node **np)
{
	struct statx sx;
	int fd, err;

	if ((fd = openat(fs->home_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC)) == -1)
		return errno;
	if ((err = node_statx(fd, &sx)) != 0) {
		(void)close(fd);
		return err;
	}
	fs->home_dev = makedev(sx.stx_dev_major, sx.stx_dev_minor);
	if ((err = node_of(fs, NULL, NULL, fd, &sx, np)) != 0)
		return err;
	/* it has no parent to be found in again: its descriptor stays in use */
	return node_fd_get(fs, *np, &fd);
}

static void
found(struct fs *fs, struct node *node, const struct statx *sx, struct stat *st)
{
	if (sx->stx_nlink > 0)
		file_is_named(fs, node);
	fill(fs, node, sx, st);
}

int
files_found(
    struct fs *fs, struct node *dir, const char *name, int fd, struct node **np, struct stat *st)
{
	struct os_ident id;
	struct statx sx;
	int err;

	if ((err = node_statx(fd, &sx)) == 0) {
		node_ident(&sx, &id);
		err = files_is_region(fs, &id) ? EPERM : 0;
	}
	if (err != 0) {
		(void)close(fd);
		return err;
	}
	if ((err = node_of(fs, dir, name, fd, &sx, np)) != 0)
		return err;
	found(fs, *np, &sx, st);
	return 0;
}

/* What has a node already need not be opened.  *np NULL: it is to be. */
static int
lookup_known(
    struct fs *fs, struct node *dir, int dirfd, const char *name, struct node **np, struct stat *st)
{
	struct os_ident id;
	struct statx sx;
	int err;

	*np = NULL;
	if (strcmp(name, "..") == 0)
		return 0; /* which path_fd_open sees to */
	if ((err = node_statx_at(dirfd, name, &sx)) != 0)
		return err;
	node_ident(&sx, &id);
	if (files_is_region(fs, &id) || (*np = node_find(fs, &id, sx.stx_mode & S_IFMT)) == NULL)
		return 0;
	node_moved(fs, *np, dir, name);
	found(fs, *np, &sx, st);
	return 0;
}

int
files_lookup(struct fs *fs, struct node *dir, const char *name, struct node **np, struct stat *st)
{
	struct node *known;
	int dirfd, fd, err;

	if (files_hidden(name))
		return ENOENT;
	if ((err = node_fd_get(fs, dir, &dirfd)) != 0)
		return err;
	err = lookup_known(fs, dir, dirfd, name, &known, st);
	if (err == 0 && known == NULL)
		err = path_fd_open(dirfd, name, O_PATH, &fd);
	node_fd_put(fs, dir);
	if (err != 0)
		return err;
	if (known == NULL)
		return files_found(fs, dir, name, fd, np, st);
	*np = known;
	return 0;
}

int
files_readlink(struct fs *fs, struct node *node, char *buf, size_t bytes)
{
	ssize_t n;
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	n = readlinkat(fd, "", buf, bytes - 1);
	err = n == -1 ? errno : 0;
	node_fd_put(fs, node);
	if (err == 0)
		buf[n] = '\0';
	return err;
}

int
files_statfs(struct fs *fs, struct node *node, struct statvfs *sv)
{
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	err = fstatvfs(fd, sv) == -1 ? errno : 0;
	node_fd_put(fs, node);
	return err;
}

/* --- changing ------------------------------------------------------------------------------ */

static int
change_mode(struct fs *fs, int fd, const struct files_change *change)
{
	if (!change->mode)
		return 0;
	return fchmodat(fs->proc_fd, fd_name(fd).text, change->st.st_mode & 07777, 0) == -1 ?
	    errno :
	    0;
}

static int
change_owner(int fd, const struct files_change *change)
{
	uid_t uid = change->uid ? change->st.st_uid : (uid_t)-1;
	gid_t gid = change->gid ? change->st.st_gid : (gid_t)-1;

	if (!change->uid && !change->gid)
		return 0;
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == -1 ? errno : 0;
}

static bool
changes_times(const struct files_change *change)
{
	return change->times[0].tv_nsec != UTIME_OMIT || change->times[1].tv_nsec != UTIME_OMIT;
}

static int
change_times(int fd, const struct files_change *change)
{
	if (!changes_times(change))
		return 0;
	return utimensat(fd, "", change->times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == -1 ? errno :
											     0;
}

/*
 * Before a write(2) through its cache the kernel asks, in the writer's name, for the set-id bits to
 * go; he has the right to write, and no other is needed for that.  Whether somebody may change the
 * mode as such it has looked at before it asks.
 */
static bool
only_drops_set_id(int fd, const struct files_change *change)
{
	const mode_t set_id = S_ISUID | S_ISGID;
	struct stat st;

	return change->mode && !change->uid && !change->gid && !changes_times(change) &&
	    fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (change->st.st_mode & 07777) != (st.st_mode & 07777) &&
	    (change->st.st_mode & 07777 & ~set_id) == (st.st_mode & 07777 & ~set_id) &&
	    (change->st.st_mode & set_id & ~st.st_mode) == 0;
}

static int
change_on_disk(struct fs *fs, int fd, const struct caller *c, const struct files_change *change)
{
	int err;

	if (only_drops_set_id(fd, change))
		return change_mode(fs, fd, change);
	if ((err = identity_enter(c)) == 0) {
		if ((err = change_mode(fs, fd, change)) == 0 &&
		    (err = change_owner(fd, change)) == 0)
			err = change_times(fd, change);
		identity_leave();
	}
	return err;
}

/* What the disk has now is what people shall see, whatever is written back later. */
static void
keep_mtime(struct file *f)
{
	struct os_stat st;

	if (os_fstat(mpool_file_fd(f->mpf), &st) == 0)
		mpool_file_set_mtime(f->mpf, st.mtime_nsec);
}

static int
change_watched(struct fs *fs, struct node *node, int fd, const struct caller *c,
    const struct files_change *change)
{
	bool sets_mtime = change->times[1].tv_nsec != UTIME_OMIT;
	struct file *f;
	int err;

	if ((err = file_change_begin(fs, node, &f)) != 0)
		return err;
	/*
	 * A time that is set must not be moved by the write-back of what was written before it.
	 */
	if (f != NULL && f->writable && sets_mtime)
		(void)file_write_out(f, true);
	err = change_on_disk(fs, fd, c, change);
	if (f != NULL)
		__atomic_store_n(&f->read_nsec, 0, __ATOMIC_RELAXED);
	if (err == 0 && f != NULL && sets_mtime)
		keep_mtime(f);
	file_change_end(fs, f);
	return err;
}

int
files_access(struct fs *fs, struct node *node, const struct caller *c, int mode)
{
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	if ((err = identity_enter(c)) == 0) {
		err = faccessat(fd, "", mode, AT_EMPTY_PATH | AT_EACCESS) == -1 ? errno : 0;
		identity_leave();
	}
	node_fd_put(fs, node);
	return err;
}

static int
change_size(
    struct fs *fs, struct node *node, const struct caller *c, const struct files_change *change)
{
	int err;

	if (!change->size)
		return 0;
	if (S_ISDIR(node->type))
		return EISDIR;
	if (!S_ISREG(node->type))
		return EINVAL;
	if (!change->has_handle && (err = files_access(fs, node, c, W_OK)) != 0)
		return err;
	return io_truncate(fs, node, c, (uint64_t)change->st.st_size);
}

static int
change_all(struct fs *fs, struct node *node, int fd, const struct caller *c,
    const struct files_change *change)
{
	int err;

	if ((err = change_size(fs, node, c, change)) != 0)
		return err;
	if (!change->mode && !change->uid && !change->gid && !changes_times(change))
		return 0;
	return change_watched(fs, node, fd, c, change);
}

int
files_setattr(struct fs *fs, struct node *node, const struct caller *c,
    const struct files_change *change, struct stat *st)
{
	int fd, err;

	if ((err = node_fd_get(fs, node, &fd)) != 0)
		return err;
	err = change_all(fs, node, fd, c, change);
	node_fd_put(fs, node);
	return err != 0 ? err : files_getattr(fs, node, st);
}
