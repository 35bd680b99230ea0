/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/region_dir.c - the regions/ directory: names, the files behind them, their sizes and
 * their removal.
 *
 * A region is looked at through its file, with region_look: what somebody else truncates or
 * damages must not kill the daemon.
 */
#include "region_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <poolfs/region.h>

#include "locks.h"
#include "pool.h"
#include "region/home.h"
#include "state.h"

static const char *const view_suffix[] = {
	[REGION_RAW] = "",
	[REGION_LAYOUT] = ".layout",
	[REGION_CLIENTS] = ".clients",
	[REGION_HEAP] = ".heap",
};

static const struct {
	const char *shown, *file;
} known[] = {
	{ "mpool", "__db_mpool.share" },
	{ "lock", "__db_lock.share" },
};

#define KNOWN (sizeof(known) / sizeof(known[0]))

/* --- names --------------------------------------------------------------------------------- */

void
region_shown_name(const char *file, char *shown)
{
	for (size_t i = 0; i < KNOWN; i++)
		if (strcmp(file, known[i].file) == 0)
			file = known[i].shown;
	(void)snprintf(shown, REGION_NAME_BYTES, "%s", file);
}

static bool
has_suffix(const char *name, size_t len, const char *suffix)
{
	size_t n = strlen(suffix);

	return n > 0 && len > n && strcmp(name + len - n, suffix) == 0;
}

static bool
is_region_file(const char *name)
{
	return strncmp(name, "__db_", 5) == 0 && has_suffix(name, strlen(name), ".share");
}

const char *
region_view_suffix(enum region_view view)
{
	return view_suffix[view];
}

bool
region_parse_name(const char *shown, char *file, enum region_view *view)
{
	size_t len = strlen(shown);

	if (len >= REGION_NAME_BYTES)
		return false;
	*view = REGION_RAW;
	for (int v = REGION_LAYOUT; v < REGION_VIEWS; v++)
		if (has_suffix(shown, len, view_suffix[v])) {
			*view = (enum region_view)v;
			len -= strlen(view_suffix[v]);
			break;
		}
	memcpy(file, shown, len);
	file[len] = '\0';
	for (size_t i = 0; i < KNOWN; i++)
		if (strcmp(file, known[i].shown) == 0) {
			(void)strcpy(file, known[i].file);
			return true;
		}
	/* Those that have a short name are not to be had by their long one too. */
	for (size_t i = 0; i < KNOWN; i++)
		if (strcmp(file, known[i].file) == 0)
			return false;
	return is_region_file(file);
}

/* --- files --------------------------------------------------------------------------------- */

const char *
region_dir(const struct fs *fs)
{
	return fs->opt->region_dir != NULL ? fs->opt->region_dir : fs->opt->home;
}

int
region_stat_file(struct fs *fs, const char *file, struct stat *st)
{
	if (fstatat(fs->region_fd, file, st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno;
	return S_ISREG(st->st_mode) ? 0 : ENOENT;
}

int
region_open_file(struct fs *fs, const char *file, int *fdp)
{
	struct stat st;
	int fd, err;

	fd = openat(fs->region_fd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd == -1)
		return errno == ELOOP ? ENOENT : errno;
	err = fstat(fd, &st) == -1 ? errno : S_ISREG(st.st_mode) ? 0 : ENOENT;
	if (err != 0) {
		(void)close(fd);
		return err;
	}
	*fdp = fd;
	return 0;
}

/* Of what cannot be read, the file's length is known. */
static int
file_extent(struct fs *fs, const char *file, uint64_t *bytesp, uint64_t *created_usecp)
{
	struct stat st;
	int err;

	if ((err = region_stat_file(fs, file, &st)) != 0)
		return err;
	*bytesp = (uint64_t)st.st_size;
	*created_usecp = 0;
	return 0;
}

int
region_extent(struct fs *fs, const char *file, uint64_t *bytesp, uint64_t *created_usecp)
{
	struct region_look look;
	RLAYOUT layout;
	size_t n;
	int fd = -1, err;

	if ((err = region_open_file(fs, file, &fd)) != 0)
		return file_extent(fs, file, bytesp, created_usecp);
	if ((err = region_look_init(&look, fd)) == 0) {
		*bytesp = look.bytes;
		*created_usecp = 0;
		if (region_look_read(&look, &layout, sizeof(layout), 0, &n) == 0 &&
		    n == sizeof(layout) && layout.valid == DB_REGIONMAGIC)
			*created_usecp = layout.created_usec;
		region_look_fini(&look);
	}
	(void)close(fd);
	return err;
}

int
region_report(struct fs *fs, const char *file, struct region_report *report)
{
	struct region_report own = { 0 };
	struct region_look look;
	int fd = -1, err;

	if ((err = region_open_file(fs, file, &fd)) == ENOENT)
		return err;
	if (err == 0 && (err = region_look_init(&look, fd)) == 0) {
		err = region_look_report(&look, &own);
		region_look_fini(&look);
	}
	if (fd != -1)
		(void)close(fd);
	if (err != 0) {
		own.error = err;
		(void)snprintf(
		    own.why, sizeof(own.why), "its file cannot be read: %s", strerror(err));
	}
	*report = own;
	return 0;
}

/* --- another size -------------------------------------------------------------------------- */

/* An application's own region: what its users would do. */
static int
resize_other(struct fs *fs, const char *file, uint64_t bytes, bool more)
{
	char name[REGION_NAME_BYTES];
	DB_REGION_STAT st;
	DB_REGION *reg;
	int err;

	(void)snprintf(name, sizeof(name), "%.*s",
	    (int)(strlen(file) - strlen("__db_") - strlen(".share")), file + strlen("__db_"));
	if ((err = memr_open(NULL, name, 0, 0, 0, &fs->env, &reg)) != 0)
		return err;
	if ((err = memr_stat(reg, &st)) == 0) {
		if (more)
			err = bytes > st.st_bytes ? memr_grow(reg, bytes) : EINVAL;
		else
			err = bytes < st.st_bytes ? memr_shrink(reg, bytes) : EINVAL;
	}
	(void)memr_close(reg);
	return err;
}

int
region_resize(struct fs *fs, const char *file, uint64_t bytes, bool more)
{
	if (strcmp(file, known[0].file) == 0)
		return pool_resize(fs, bytes, more);
	if (strcmp(file, known[1].file) != 0)
		return resize_other(fs, file, bytes, more);
	fs_log(LOG_WARNING, "the table of locks is as large as it is");
	return EINVAL;
}

/* --- removal ------------------------------------------------------------------------------- */

/* Not a pool, or too damaged to be one: there is nothing that could be written back. */
static int
remove_other(struct fs *fs, const char *file, bool by_force)
{
	int err;

	err = by_force ? region_unlink_forced(&fs->env, region_dir(fs), file) :
			 region_unlink_unused(&fs->env, region_dir(fs), file);
	if (err == 0)
		home_forget(fs->opt->home, region_dir(fs));
	return err;
}

int
region_remove(struct fs *fs, const char *file, bool by_force)
{
	if (strcmp(file, known[0].file) == 0)
		return pool_remove(fs, by_force);
	if (strcmp(file, known[1].file) == 0)
		return locks_remove(fs, by_force);
	return remove_other(fs, file, by_force);
}
