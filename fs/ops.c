/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ops.c - the table of requests, and those on names and attributes.
 *
 * The handlers (here, and in ops_file.c, ops_dir.c, ops_xattr.c) are translation and nothing
 * else: each turns a request into a call of files, io, space or status, and its result into a
 * reply.  Errors become what a user may see in one place (reply_error): core has codes of its
 * own, which are EIO to a program.  A request on files/ that may touch the pool holds it while it
 * runs.
 *
 * The kernel caches no attributes and names of what is no directory, so that what other processes
 * do is seen at once; of data it caches what coherence.h lets it.  Nothing but changes made in HOME
 * itself can make a directory's name and attributes old: dir_timeout is for how long they may be.
 * Without it every name in a path costs two requests, each time.  Names of the mount's own, and
 * those directories that are everybody's to read, never change.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "files.h"
#include "ops_impl.h"
#include "pool.h"

#define FOREVER_SEC (365.0 * 86400)

void
reply_error(fuse_req_t req, int err)
{
	if (err == DB_INCOMPLETE)
		err = EBUSY;
	if (err == EMFILE) /* the daemon's table is full, not the caller's */
		err = ENFILE;
	(void)fuse_reply_err(req, err < 0 ? EIO : err);
}

/* --- entries ------------------------------------------------------------------------------- */

/*
 * What of the mount's own never changes is kept for good.  The directories of pages/ come and go
 * with the pool's pages.
 */
static double
kept_seconds(const struct fs *fs, const struct node *node)
{
	if (status_attr_stays(node))
		return FOREVER_SEC;
	return S_ISDIR(node->type) && node->kind != NODE_PAGES ? fs->opt->dir_timeout : 0;
}

void
entry_fill(struct fs *fs, struct node *node, const struct stat *st, struct fuse_entry_param *e)
{
	double kept = kept_seconds(fs, node);

	*e = (struct fuse_entry_param){
		.ino = (fuse_ino_t)(uintptr_t)node,
		.generation = node->generation,
		.attr = *st,
		.attr_timeout = kept,
		.entry_timeout = kept,
	};
	node_remember(fs, node);
	node_put(fs, node);
}

/* stays: the name is good for as long as the mount lives. */
static void
reply_name(fuse_req_t req, int err, struct node *node, const struct stat *st, bool stays)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;

	if (err != 0) {
		reply_error(req, err);
		return;
	}
	entry_fill(fs, node, st, &e);
	if (stays)
		e.entry_timeout = FOREVER_SEC;
	/* A reply that the kernel no longer wants leaves it without the lookup. */
	if (fuse_reply_entry(req, &e) != 0)
		node_forget(fs, node, 1);
}

static void
reply_entry(fuse_req_t req, int err, struct node *node, const struct stat *st)
{
	reply_name(req, err, node, st, false);
}

void
reply_attr(fuse_req_t req, int err, const struct node *node, const struct stat *st)
{
	if (err != 0)
		reply_error(req, err);
	else
		(void)fuse_reply_attr(req, st, kept_seconds(fs_of(req), node));
}

static void
op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *dir = node_at(req, parent), *node = NULL;
	struct fs *fs = fs_of(req);
	bool stays = false;
	struct stat st;
	int err;

	coherence_settle(fs);
	if (!in_files(dir)) {
		err = status_lookup(fs, dir, name, &node, &st);
		stays = err == 0 && status_name_stays(fs, node);
	} else if ((err = pool_get(fs)) == 0) {
		err = files_lookup(fs, dir, name, &node, &st);
		pool_put(fs);
	}
	reply_name(req, err, node, &st, stays);
}

static void
op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	if (ino != FUSE_ROOT_ID)
		node_forget(fs_of(req), node_at(req, ino), n);
	fuse_reply_none(req);
}

static void
op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		if (forgets[i].ino != FUSE_ROOT_ID)
			node_forget(fs_of(req), node_at(req, forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}

/* --- attributes ---------------------------------------------------------------------------- */

static void
op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *node = node_at(req, ino);
	struct fs *fs = fs_of(req);
	struct stat st;
	int err;

	(void)fi;
	coherence_settle(fs);
	if (!in_files(node)) {
		err = status_getattr(fs, node, &st);
	} else if ((err = pool_get(fs)) == 0) {
		err = files_getattr(fs, node, &st);
		pool_put(fs);
	}
	reply_attr(req, err, node, &st);
}

static struct timespec
time_to_set(int to_set, int set, int set_now, struct timespec t)
{
	if (to_set & set_now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (to_set & set)
		return t;
	return (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static struct files_change
change_of(const struct stat *attr, int to_set, bool has_handle)
{
	/*
	 * The kernel asks for the time, and for a mode without set-id bits, together with a new
	 * length. io_truncate sees to both; asked for on their own they take more than the right
	 * to write.
	 */
	if (to_set & FUSE_SET_ATTR_SIZE)
		to_set &= ~(FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW);
	return (struct files_change){
		.mode = to_set & FUSE_SET_ATTR_MODE,
		.uid = to_set & FUSE_SET_ATTR_UID,
		.gid = to_set & FUSE_SET_ATTR_GID,
		.size = to_set & FUSE_SET_ATTR_SIZE,
		.has_handle = has_handle,
		.st = *attr,
		.times = {
			time_to_set(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW,
			    attr->st_atim),
			time_to_set(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW,
			    attr->st_mtim),
		},
	};
}

/* True: it is answered later. */
static bool
end_is_set(fuse_req_t req, int err, struct node *node, const struct stat *st)
{
	struct file *f = __atomic_load_n(&node->file, __ATOMIC_ACQUIRE);

	return err == 0 && f != NULL && coherence_end_is_set(fs_of(req), f, st, req);
}

static void
op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct files_change change = change_of(attr, to_set, fi != NULL);
	struct node *node = node_at(req, ino);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct stat st;
	int err;

	if (status_takes_truncate(fs, node) && change.size) {
		err = status_getattr(fs, node, &st);
	} else if (!in_files(node)) {
		err = change.size && S_ISREG(node->type) ? EACCES : EPERM;
	} else if ((err = pool_get(fs)) == 0) {
		err = files_setattr(fs, node, &c, &change, &st);
		pool_put(fs);
		if (end_is_set(req, err, node, &st))
			return;
	}
	reply_attr(req, err, node, &st);
}

static void
op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct node *node = node_at(req, ino);
	char buf[PATH_MAX + 1];
	int err = EINVAL;

	if (in_files(node))
		err = files_readlink(fs_of(req), node, buf, sizeof(buf));
	if (err != 0)
		reply_error(req, err);
	else
		(void)fuse_reply_readlink(req, buf);
}

static void
op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct node *node = node_at(req, ino);
	struct fs *fs = fs_of(req);
	struct statvfs sv;
	int err;

	if ((err = files_statfs(fs, in_files(node) ? node : fs->nodes.home, &sv)) != 0)
		reply_error(req, err);
	else
		(void)fuse_reply_statfs(req, &sv);
}

/* --- names --------------------------------------------------------------------------------- */

static void
op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct node *dir = node_at(req, parent), *node = NULL;
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct stat st;
	int err = EPERM;

	if (in_files(dir) && (err = pool_get(fs)) == 0) {
		err = files_mknod(fs, dir, name, &c, mode, rdev, &node, &st);
		pool_put(fs);
	}
	reply_entry(req, err, node, &st);
}

static void
op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct node *dir = node_at(req, parent), *node = NULL;
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct stat st;
	int err = EPERM;

	if (in_files(dir) && (err = pool_get(fs)) == 0) {
		err = files_mkdir(fs, dir, name, &c, mode, &node, &st);
		pool_put(fs);
	}
	reply_entry(req, err, node, &st);
}

static void
op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct node *dir = node_at(req, parent), *node = NULL;
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct stat st;
	int err = EPERM;

	if (in_files(dir) && (err = pool_get(fs)) == 0) {
		err = files_symlink(fs, dir, name, &c, target, &node, &st);
		pool_put(fs);
	}
	reply_entry(req, err, node, &st);
}

static void
op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct node *node = node_at(req, ino), *dir = node_at(req, newparent);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	struct stat st;
	int err = EPERM;

	if (in_files(node) && in_files(dir) && (err = pool_get(fs)) == 0) {
		err = files_link(fs, node, dir, newname, &c, &st);
		pool_put(fs);
	}
	if (err == 0)
		node_get(fs, node);
	reply_entry(req, err, node, &st);
}

static void
op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *dir = node_at(req, parent);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	int err;

	if (!in_files(dir)) {
		err = status_unlink(fs, dir, name);
	} else if ((err = pool_get(fs)) == 0) {
		err = files_unlink(fs, dir, name, &c);
		pool_put(fs);
	}
	reply_error(req, err);
}

static void
op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *dir = node_at(req, parent);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	int err = EPERM;

	if (in_files(dir) && (err = pool_get(fs)) == 0) {
		err = files_rmdir(fs, dir, name, &c);
		pool_put(fs);
	}
	reply_error(req, err);
}

static void
op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
    const char *newname, unsigned flags)
{
	struct node *dir = node_at(req, parent), *newdir = node_at(req, newparent);
	struct caller c = caller_of(req);
	struct fs *fs = fs_of(req);
	int err = EPERM;

	if (in_files(dir) && in_files(newdir) && (err = pool_get(fs)) == 0) {
		err = files_rename(fs, dir, name, newdir, newname, flags, &c);
		pool_put(fs);
	}
	reply_error(req, err);
}

/* --- the connection ------------------------------------------------------------------------ */

/*
 * The set-id bits and capabilities of a file that is written are taken away here (io_touch, and
 * HOME's filesystem when it is asked for room).  With the second of the two the kernel relies on
 * that for a write(2) through its cache too: else it asks for security.capability before each.
 * A libfuse that has no name for it does not negotiate it either.
 */
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
#define HANDLES_KILLPRIV (FUSE_CAP_HANDLE_KILLPRIV | (unsigned)FUSE_CAP_HANDLE_KILLPRIV_V2)
#else
#define HANDLES_KILLPRIV FUSE_CAP_HANDLE_KILLPRIV
#endif

static void
op_init(void *userdata, struct fuse_conn_info *conn)
{
	const struct fs *fs = userdata;
	bool caches = fs->coherence.mode != FS_CACHE_NONE;
	const unsigned want = FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_ACL | HANDLES_KILLPRIV |
	    FUSE_CAP_PARALLEL_DIROPS |
	    (caches ? FUSE_CAP_EXPLICIT_INVAL_DATA :
		      FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC);
	/* What it does after an open(2) that truncates nobody can wait for (written.c). */
	const unsigned refuse = (caches ? FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC : 0) |
	    FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
	    FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE;

	/* Of files they are not cached: names and attributes from readdirplus are asked again. */
	conn->want = ((conn->want | want) & conn->capable) & ~refuse;
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.retrieve_reply = op_retrieve_reply,
	.lseek = op_lseek,
	.poll = op_poll,
	.flock = op_flock,
};
