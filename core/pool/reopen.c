/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/reopen.c - a descriptor for a file of the pool that this process has not open.
 *
 * By file handle where the process may (CAP_DAC_READ_SEARCH): that finds the file under whatever
 * name it has now, and says when it has none.  Else by the path in the file table.  Either way it
 * is only taken if device, inode and birth time are the row's: an impostor under the old name is
 * refused, and the pages stay where they are.
 *
 * Handle, path and identity come from shared memory, so all this can do is to open what the
 * process may open anyhow (rule S12).  A process that must not even do that, because it serves
 * others, is confined: it opens beneath one directory, through no link, and no handles, and only
 * files of which vouch.c says that it may.
 */
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "../base/os_path.h"
#include "reopen.h"
#include "vouch.h"

#define REOPEN_FLAGS (O_RDWR | O_NONBLOCK | O_NOCTTY)

/*
 * Is what was opened the row's file, with a name, and one that we may write what is in the pool?
 * Else it is closed.
 */
static int
verify(DB_MPOOL *p, const struct file_row *row, uint32_t id, int fd, bool *gonep)
{
	struct os_stat st;
	int ret;

	if ((ret = os_fstat_ident(fd, &st)) == 0 &&
	    (!S_ISREG(st.mode) || !file_has_ident(row, &st.ident)))
		ret = ESTALE;
	if (ret == 0 && st.nlink == 0) {
		*gonep = true;
		ret = ENOENT;
	}
	if (ret == 0)
		ret = vouch_check(p, row, id, fd, &st);
	if (ret != 0)
		os_close(fd);
	return ret;
}

/* --- by handle ----------------------------------------------------------------------------- */

/* Is at, opened, of the row's file system? */
static bool
opened_there(const char *at, const struct file_row *row, int *fdp)
{
	struct os_stat st;
	int fd;

	if (os_open(at, O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0, &fd) != 0)
		return false;
	if (os_fstat(fd, &st) == 0 && st.ident.dev == row->dev) {
		*fdp = fd;
		return true;
	}
	os_close(fd);
	return false;
}

/* Some directory of the row's file system: the home, or one that the path goes through. */
static int
open_file_system(const DB_MPOOL *p, const struct file_row *row, const char *path, int *fdp)
{
	char at[PATH_MAX];
	char *slash;

	if (p->place.home != NULL && opened_there(p->place.home, row, fdp))
		return 0;
	if (path == NULL || (size_t)snprintf(at, sizeof(at), "%s", path) >= sizeof(at))
		return ENOENT;
	while ((slash = strrchr(at, '/')) != NULL) {
		slash[slash == at] = '\0';
		if (opened_there(at, row, fdp))
			return 0;
		if (slash == at)
			break;
	}
	return ENOENT;
}

static int
by_handle(DB_MPOOL *p, struct file_row *row, uint32_t id, const char *path, int *fdp, bool *gonep)
{
	struct os_handle h;
	int mount_fd, fd, ret;

	if (p->confined != NULL || load_relaxed(&p->no_handles) || !file_handle(p, row, id, &h))
		return ENOENT;
	if ((ret = open_file_system(p, row, path, &mount_fd)) != 0)
		return ret;
	ret = os_handle_open(mount_fd, &h, REOPEN_FLAGS, &fd);
	os_close(mount_fd);
	if (ret == EPERM)
		store_relaxed(&p->no_handles, true);
	if (ret == 0 && (ret = verify(p, row, id, fd, gonep)) == 0)
		*fdp = fd;
	return ret;
}

/* --- by path ------------------------------------------------------------------------------- */

static int
open_path(const DB_MPOOL *p, const char *path, int *fdp)
{
	size_t n;

	if (p->confined == NULL)
		return os_open(path, REOPEN_FLAGS | O_NOFOLLOW, 0, fdp);
	n = strlen(p->confined);
	if (strncmp(path, p->confined, n) != 0 || path[n] != '/')
		return EXDEV;
	return os_open_beneath(p->confined_fd, path + n + 1, REOPEN_FLAGS, fdp);
}

int
file_reopen(DB_MPOOL *p, struct file_row *row, uint32_t id, int *fdp, bool *gonep)
{
	char *path = file_path(p, row, id);
	bool no_name = false;
	int fd, ret, by;

	*gonep = false;
	by = ret = by_handle(p, row, id, path, fdp, &no_name);
	if (ret != 0 && path != NULL && (ret = open_path(p, path, &fd)) == 0 &&
	    (ret = verify(p, row, id, fd, &no_name)) == 0)
		*fdp = fd;
	if (ret == ESTALE && path != NULL)
		env_err(p->dbenv,
		    "%s is another file than the one that the pool holds pages of: not written",
		    path);
	/* a handle that leads nowhere, and no such file under its name either */
	*gonep = no_name || (by == ESTALE && (ret == ESTALE || ret == ENOENT));
	free(path);
	return ret;
}
