/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/names.c - file names: what they mean, memp_fremove, memp_frename.
 *
 * A path can lead through a mount of this pool (or of another).  Opened there, the file would be
 * read through the pool into the pool, as another file with pages of its own; so the mount is
 * asked for the path of the file behind it, and for the region that it works in, by extended
 * attributes.  What a foreign mount says is taken for nothing but what it can do anyhow by a
 * symbolic link; the region's number has to be ours.
 *
 * Removing and renaming are the file system's; the pool's part, afterwards, is to drop the pages of
 * a file that has no name any more, and to correct the paths in the file table.  Who dies in
 * between leaves paths that lead nowhere or to another file, which is noticed (page_io.c).
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "../base/os_path.h"
#include "file.h"
#include "names.h"
#include "thread.h"

#define REGION_XATTR "user.poolfs.region"
#define PATH_XATTR "user.poolfs.path"

static int
absolute(DB_MPOOL *p, const char *file, char **pathp)
{
	const char *home = p->dbenv != NULL ? p->dbenv->db_home : NULL;
	char cwd[PATH_MAX] = "", buf[PATH_MAX];
	bool from_home = file[0] != '/' && home != NULL;

	if (file[0] != '/' && (home == NULL || home[0] != '/') && getcwd(cwd, sizeof(cwd)) == NULL)
		return errno;
	if ((size_t)snprintf(buf, sizeof(buf), "%s%s%s%s%s", cwd, cwd[0] ? "/" : "",
		from_home ? home : "", from_home ? "/" : "", file) >= sizeof(buf)) {
		env_err(p->dbenv, "%.60s...: the path has more than %d bytes", file, PATH_MAX - 1);
		return ENAMETOOLONG;
	}
	*pathp = strdup(buf);
	return *pathp != NULL ? 0 : ENOMEM;
}

/* --- mounts -------------------------------------------------------------------------------- */

/* The file of HOME behind `at`, which exists and is served by FUSE; "" if that is not poolfs. */
static int
behind_mount(const DB_MPOOL *p, const char *at, char behind[])
{
	char region[32], own[32];
	int ret;

	behind[0] = '\0';
	if (os_getxattr(at, REGION_XATTR, region, sizeof(region)) != 0)
		return 0;
	(void)snprintf(
	    own, sizeof(own), "%016llx", (unsigned long long)p->region->layout->region_id);
	if (strcmp(region, own) != 0) {
		env_err(p->dbenv, "%s lies on the mount of another pool", at);
		return EINVAL;
	}
	if ((ret = os_getxattr(at, PATH_XATTR, behind, PATH_MAX)) == 0 && behind[0] == '/')
		return 0;
	env_err(p->dbenv, "%s lies on a mount of this pool, but is none of its files", at);
	behind[0] = '\0';
	return ret == ENAMETOOLONG || ret == ERANGE ? ENAMETOOLONG : EINVAL;
}

/* path = directory + "/" + name; name points into path. */
static void
split(const char *path, char directory[], const char **namep)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash == path ? 1 : (size_t)(slash - path);

	memcpy(directory, path, n);
	directory[n] = '\0';
	*namep = slash + 1;
}

/* Another path instead: directory/name. */
static int
join(const char *directory, const char *name, char **pathp)
{
	char *path;

	if (asprintf(&path, "%s/%s", strcmp(directory, "/") == 0 ? "" : directory, name) == -1)
		return ENOMEM;
	free(*pathp);
	*pathp = path;
	return 0;
}

int
name_resolve(DB_MPOOL *p, const char *file, char **pathp)
{
	char directory[PATH_MAX], behind[PATH_MAX] = "";
	const char *name;
	char *path = NULL, *other;
	int ret;

	if ((ret = absolute(p, file, &path)) != 0)
		return ret;
	split(path, directory, &name);
	if (access(path, F_OK) == 0) {
		if (os_is_fuse(path) && (ret = behind_mount(p, path, behind)) == 0 &&
		    behind[0] != '\0') {
			other = strdup(behind);
			ret = other != NULL ? 0 : ENOMEM;
			free(path);
			path = other;
		}
	} else if (os_is_fuse(directory) && (ret = behind_mount(p, directory, behind)) == 0 &&
	    behind[0] != '\0')
		ret = join(behind, name, &path);
	if (ret == 0)
		*pathp = path;
	else
		free(path);
	return ret;
}

int
name_resolve_entry(DB_MPOOL *p, const char *file, char **pathp)
{
	char directory[PATH_MAX], behind[PATH_MAX] = "", *path, *real;
	const char *name;
	int ret;

	if ((ret = absolute(p, file, &path)) != 0)
		return ret;
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	split(path, directory, &name);
	if (os_is_fuse(directory))
		ret = behind_mount(p, directory, behind);
	if (ret == 0 && (real = realpath(behind[0] != '\0' ? behind : directory, NULL)) != NULL) {
		ret = join(real, name, &path);
		free(real);
	}
	if (ret == 0)
		*pathp = path;
	else
		free(path);
	return ret;
}

/* --- removing and renaming ----------------------------------------------------------------- */

/* Look at the entry itself, and keep it in sight: *fdp. */
static int
sight(const char *path, int *fdp, struct os_stat *st)
{
	int ret = os_open(path, O_PATH | O_NOFOLLOW, 0, fdp);

	if (ret == 0 && (ret = os_fstat(*fdp, st)) != 0)
		os_close(*fdp);
	return ret;
}

/* A name of the file behind fd went: was it the last? */
static void
lost_name(DB_MPOOL *p, int fd)
{
	struct os_stat st;

	if (os_fstat(fd, &st) == 0 && S_ISREG(st.mode) && st.nlink == 0)
		mpool_ident_gone(p, &st.ident);
}

static int
say_failed(const DB_MPOOL *p, const char *what, const char *path, int error)
{
	env_err(p->dbenv, "%s: cannot be %s: %s", path, what, db_strerror(error));
	return error;
}

int
memp_fremove(DB_MPOOL *p, const char *file)
{
	struct thread *t;
	struct os_stat st;
	char *path = NULL;
	int fd, ret;

	if (file == NULL || file[0] == '\0')
		return EINVAL;
	if ((ret = enter(p, &t)) != 0 || (ret = name_resolve_entry(p, file, &path)) != 0)
		return ret;
	if ((ret = sight(path, &fd, &st)) == 0) {
		if ((ret = os_remove(path, S_ISDIR(st.mode))) == 0)
			lost_name(p, fd);
		os_close(fd);
	}
	if (ret != 0)
		(void)say_failed(p, "removed", path, ret);
	free(path);
	return ret;
}

/* Renaming touches the disk file: what the row knew of it, it still knows. */
static void
restamp(DB_MPOOL *p, int fd, const struct os_stat *before)
{
	struct file_row *row;
	struct os_stat now;
	uint32_t id;

	if ((row = file_find(p, &before->ident, &id)) != NULL && file_stamp_is(row, before) &&
	    os_fstat(fd, &now) == 0 && now.size == before->size &&
	    now.mtime_nsec == before->mtime_nsec)
		file_stamp(row, &now);
}

static int
rename_paths(DB_MPOOL *p, const char *from, const char *to)
{
	struct os_stat st, old;
	int fd, old_fd = -1, ret;
	bool same = false;

	if ((ret = sight(from, &fd, &st)) != 0)
		return ret;
	if (sight(to, &old_fd, &old) != 0)
		old_fd = -1;
	else
		same = old.ident.dev == st.ident.dev && old.ident.ino == st.ident.ino;
	/* two names of one file: rename(2) does nothing then */
	if ((ret = os_rename(from, to)) == 0 && !same) {
		if (old_fd != -1)
			lost_name(p, old_fd);
		mpool_renamed(p, from, to);
		restamp(p, fd, &st);
	}
	os_close(old_fd);
	os_close(fd);
	return ret;
}

int
memp_frename(DB_MPOOL *p, const char *from, const char *to)
{
	char *from_path = NULL, *to_path = NULL;
	struct thread *t;
	int ret;

	if (from == NULL || to == NULL || from[0] == '\0' || to[0] == '\0')
		return EINVAL;
	if ((ret = enter(p, &t)) == 0 && (ret = name_resolve_entry(p, from, &from_path)) == 0 &&
	    (ret = name_resolve_entry(p, to, &to_path)) == 0 &&
	    (ret = rename_paths(p, from_path, to_path)) != 0)
		(void)say_failed(p, "renamed", from_path, ret);
	free(from_path);
	free(to_path);
	return ret;
}
