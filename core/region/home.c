/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/home.c - who holds a home, and where it says that its regions are.
 *
 * Holding.  A directory is open for reading only, so its bytes can be locked only by all who want
 * to; but the kernel can be asked who would be in the way of an exclusive lock.  The place of the
 * regions makes a number.  Who comes claims that byte, and when nobody else claims another one,
 * he settles, by a second byte; who sees another settled is refused.  Of two that claim at once
 * the greater number gives way and looks on; so exactly one settles, and a process that dies on
 * the way is no longer in the way.  All of one place's regions hold it so.  Pools hold the whole
 * directory as well, by flock(2), which a private one has to itself.
 *
 * The pointer is a symbolic link because it is made at one stroke.  It is made before the region
 * is, and goes after the last one: one that leads to a directory without regions says where they
 * would be.  Who removes it claims number 0, the least, so that nobody comes meanwhile, and leaves
 * it if anybody is there already.
 */
#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "region_impl.h"

#define FORGETTER 0 /* a number below all places' */
#define LOOK_USEC 1000

/* --- holding ------------------------------------------------------------------------------- */

/* Whatever its path: by which file the directory is.  1: the home itself. */
static int
number_of(int home_fd, const char *home, const char *dir, uint64_t *np)
{
	struct os_stat st, at_home;
	int ret;

	*np = 1;
	if (strcmp(dir, home) == 0)
		return 0;
	if ((ret = os_stat(dir, &st)) != 0 || (ret = os_fstat(home_fd, &at_home)) != 0)
		return ret;
	if (memcmp(&st.ident, &at_home.ident, sizeof(st.ident)) != 0)
		*np =
		    ((st.ident.dev + 1) * 0x9e3779b97f4a7c15 ^ st.ident.ino) % (HOME_SETTLED - 2) +
		    2;
	return 0;
}

static int
test_range(int fd, uint64_t first, uint64_t end, bool *takenp)
{
	*takenp = false;
	return first == end ? 0 : os_lock_test_range(fd, first, end - first, takenp);
}

/* Is anybody else's number locked, counted from base?  Whose is less? */
static int
look_at_others(int fd, uint64_t base, uint64_t as, bool *anyp, bool *belowp)
{
	bool above;
	int ret;

	if ((ret = test_range(fd, base, base + as, belowp)) != 0 ||
	    (ret = test_range(fd, base + as + 1, base + HOME_SETTLED, &above)) != 0)
		return ret;
	*anyp = *belowp || above;
	return 0;
}

/* EBUSY: another has settled.  EAGAIN: a live one does not come to an end with it. */
static int
settle(int fd, uint64_t as)
{
	uint64_t end = os_monotonic_usec() + (uint64_t)REGION_JOIN_MSEC * 1000;
	bool claimed = false, any, below = false, settled, lesser;
	int ret;

	for (;;) {
		/* Then look: of two who claim, one at least sees the other. */
		if (!claimed && !below && (ret = os_lock_share(fd, as)) != 0)
			return ret;
		claimed = claimed || !below;
		if ((ret = look_at_others(fd, 0, as, &any, &below)) != 0)
			return ret;
		/* Who has settled has his claim still. */
		if (claimed && !any)
			return os_lock_share(fd, HOME_SETTLED + as);
		if ((ret = look_at_others(fd, HOME_SETTLED, as, &settled, &lesser)) != 0)
			return ret;
		if (settled)
			return EBUSY;
		if (os_monotonic_usec() >= end)
			return EAGAIN;
		if (claimed && below) {
			os_unlock(fd, as);
			claimed = false;
		}
		os_sleep_usec(LOOK_USEC);
	}
}

static int
hold_together(struct region *r, const struct region_spec *spec)
{
	uint64_t as;
	int ret;

	if ((ret = number_of(r->home_fd, spec->home, spec->dir, &as)) != 0)
		return ret;
	return settle(r->home_fd, as);
}

/*
 * Where there is only flock(2), or not even that, that is all.  What only went wrong this time says
 * nothing about others.
 */
static bool
says_no_locks(int error)
{
	return error != EBUSY && error != EAGAIN && error != ENOMEM && error != EIO;
}

/* EBUSY: others hold it otherwise.  EAGAIN: a live process takes too long to hold it. */
static int
hold(struct region *r, const struct region_spec *spec)
{
	int ret = 0;

	if ((ret = region_open_home(r, spec->home)) != 0)
		return ret;
	if (spec->is_pool && (ret = os_flock_try(r->home_fd, spec->is_private)) == EAGAIN)
		ret = EBUSY;
	if (ret == 0 && !spec->is_private)
		ret = hold_together(r, spec);
	if (ret == 0 || says_no_locks(ret))
		return 0;
	region_close_home(r);
	return ret;
}

static int
say_held(const struct region_spec *spec, int held)
{
	if (held == EAGAIN) {
		env_err(spec->dbenv,
		    "%s: a live process has been joining or removing its regions for %u ms",
		    spec->home, (unsigned)REGION_JOIN_MSEC);
		return EAGAIN;
	}
	env_err(spec->dbenv, "%s: %s in use over the same home", spec->home,
	    spec->is_private   ? "another pool is" :
		!spec->is_pool ? "regions in another place are" :
				 "a private pool or regions in another place are");
	return EBUSY;
}

/* --- the pointer --------------------------------------------------------------------------- */

static char *
join_path(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) == -1 ? NULL : path;
}

/* As for a region's file: see check_trust in attach.c. */
static int
judge_pointer(const DB_ENV *dbenv, const char *home, const char *path, const struct os_stat *st)
{
	uint32_t me = (uint32_t)geteuid();
	struct os_stat dir;
	int ret;

	if (!S_ISLNK(st->mode)) {
		env_err(dbenv, "%s is not a symbolic link: refused", path);
		return EPERM;
	}
	if ((ret = os_stat(home, &dir)) != 0)
		return ret;
	if (st->uid == me || st->uid == 0 || (me != 0 && (dir.mode & S_ISVTX) == 0))
		return 0;
	env_err(dbenv, "%s, which says where the regions are, belongs to user %u: refused", path,
	    st->uid);
	return EPERM;
}

/* What it says; NULL: there is none. */
static int
read_pointer(const DB_ENV *dbenv, const char *home, char **textp)
{
	char text[4096];
	struct os_stat st;
	char *path;
	int ret;

	*textp = NULL;
	if ((path = join_path(home, HOME_POINTER)) == NULL)
		return ENOMEM;
	if ((ret = os_lstat(path, &st)) == 0 &&
	    (ret = judge_pointer(dbenv, home, path, &st)) == 0 &&
	    (ret = os_readlink(path, text, sizeof(text))) == 0)
		*textp = text[0] == '/' ? strdup(text) : join_path(home, text);
	free(path);
	if (ret != 0)
		return ret == ENOENT ? 0 : ret;
	return *textp == NULL ? ENOMEM : 0;
}

static int
resolve_directory(const char *path, char **dirp)
{
	struct os_stat st;
	char *dir;
	int ret;

	if ((dir = realpath(path, NULL)) == NULL)
		return errno;
	if ((ret = os_stat(dir, &st)) == 0 && !S_ISDIR(st.mode))
		ret = ENOTDIR;
	if (ret == 0)
		*dirp = dir;
	else
		free(dir);
	return ret;
}

int
home_regions(const DB_ENV *dbenv, const char *home, char **dirp)
{
	char *text;
	int ret;

	if ((ret = read_pointer(dbenv, home, &text)) != 0)
		return ret;
	if (text == NULL)
		return (*dirp = strdup(home)) == NULL ? ENOMEM : 0;
	if ((ret = resolve_directory(text, dirp)) != 0)
		env_err(dbenv, "%s/%s says that the regions are in %s: %s", home, HOME_POINTER,
		    text, db_strerror(ret));
	free(text);
	return ret;
}

static int
note_any(const char *file, void *arg)
{
	(void)file;
	*(bool *)arg = true;
	return 1;
}

/* Who cannot read the directory does not know. */
static int
look_for_regions(const char *dir, bool *anyp)
{
	bool any = false;
	int ret = region_each(dir, note_any, &any);

	if (!any && ret != 0 && ret != ENOENT && ret != ENOTDIR)
		return ret;
	*anyp = any;
	return 0;
}

/* Relative if it is below: then they move together. */
static const char *
pointer_text(const char *home, const char *dir)
{
	size_t n = strlen(home);

	return strncmp(dir, home, n) == 0 && dir[n] == '/' ? dir + n + 1 : dir;
}

/* There is one already: who holds the home with us was faster. */
static int
make_pointer(const char *home, const char *dir, const char *path)
{
	int ret = strcmp(dir, home) == 0 ? 0 : os_symlink(pointer_text(home, dir), path);

	return ret == EEXIST ? 0 : ret;
}

/* Who may not write the home cannot make it say anything, and is told. */
static int
point(const struct region_spec *spec)
{
	char *path = join_path(spec->home, HOME_POINTER);
	int ret;

	if (path == NULL)
		return ENOMEM;
	if ((ret = os_unlink(path)) == 0 || ret == ENOENT)
		ret = make_pointer(spec->home, spec->dir, path);
	if (ret == EACCES || ret == EPERM || ret == EROFS) {
		env_warn(spec->dbenv,
		    "%s cannot be written and does not say that its regions are in %s", spec->home,
		    spec->dir);
		ret = 0;
	} else if (ret != 0)
		env_err(spec->dbenv, "%s: cannot make it: %s", path, db_strerror(ret));
	free(path);
	return ret;
}

/* --- taking it ----------------------------------------------------------------------------- */

/* Where is what the home says now?  NULL: nowhere. */
static int
look_up(const struct region_spec *spec, char **atp)
{
	int ret = home_regions(NULL, spec->home, atp);

	if (ret == ENOENT || ret == ENOTDIR) {
		*atp = NULL;
		return 0;
	}
	/* For the sentence. */
	return ret == 0 ? 0 : home_regions(spec->dbenv, spec->home, atp);
}

/* What a creator who died at once has left. */
static bool
is_nothing(const char *path)
{
	struct os_stat st;

	return os_lstat(path, &st) == 0 && S_ISREG(st.mode) && st.size == 0;
}

static int
check_unwritten(const struct region_spec *spec, const char *path)
{
	RLAYOUT rl;
	int ret;

	if ((ret = region_peek(path, &rl)) == ENOENT)
		return 0;
	if (ret != 0) {
		env_err(spec->dbenv,
		    "%s: cannot see whether its pool has something unwritten, which would be lost "
		    "beside a private one (%s: %s)",
		    spec->home, path, db_strerror(ret));
		return EBUSY;
	}
	if (rl.valid != DB_REGIONMAGIC || rl.clean != 0 || rl.panic != 0 ||
	    layout_is_other_boot(&rl))
		return 0;
	env_err(spec->dbenv,
	    "%s: its pool was not closed, and what it has not written yet would be lost beside a "
	    "private one: join or remove it first (%s)",
	    spec->home, path);
	return EBUSY;
}

/* Written later, it would be over what the private pool writes. */
static int
check_nothing_unwritten(const struct region_spec *spec, const char *at)
{
	int ret = 0;
	char *path;

	if (at == NULL)
		return 0;
	if ((path = join_path(at, spec->file)) == NULL)
		return ENOMEM;
	if (!is_nothing(path))
		ret = check_unwritten(spec, path);
	free(path);
	return ret;
}

static bool
would_find(const struct region_spec *spec, const struct region *r)
{
	struct os_stat st;

	return spec->create || os_lstat(r->path, &st) == 0;
}

static int
move_pointer(const struct region_spec *spec, struct region *r, const char *at)
{
	bool any = false;
	int ret;

	if (at != NULL && (ret = look_for_regions(at, &any)) != 0) {
		env_err(spec->dbenv, "%s: cannot see whether its regions are still in %s: %s",
		    spec->home, at, db_strerror(ret));
		return ret;
	}
	if (any) {
		env_err(spec->dbenv,
		    "%s: its regions are in %s, and have to be removed before they can be in %s",
		    spec->home, at, spec->dir);
		return EBUSY;
	}
	if (!would_find(spec, r))
		return 0;
	if ((ret = point(spec)) == 0)
		r->pointed = true;
	return ret;
}

int
home_take(const struct region_spec *spec, struct region *r)
{
	int held = hold(r, spec);
	char *at = NULL;
	int ret;

	if (held != 0 && held != EBUSY && held != EAGAIN) {
		env_err(spec->dbenv, "%s: cannot look at it: %s", spec->home, db_strerror(held));
		return held;
	}
	if ((ret = look_up(spec, &at)) != 0)
		return ret;
	if (spec->is_private)
		ret = held != 0 ? say_held(spec, held) : check_nothing_unwritten(spec, at);
	else if (at != NULL && strcmp(at, spec->dir) == 0)
		ret = held != 0 ? say_held(spec, held) : 0;
	else if (!spec->placed)
		ret = ESTALE;
	else
		ret = held != 0 ? say_held(spec, held) : move_pointer(spec, r, at);
	free(at);
	return ret;
}

void
home_give_back(const struct region_spec *spec, struct region *r)
{
	region_close_home(r);
	if (r->pointed)
		home_forget(spec->home, spec->dir);
}

/* *fdp is for let_others_in, whatever this returns.  EAGAIN: there are some. */
static int
keep_others_out(const char *home, int *fdp)
{
	bool any, below;
	int ret;

	if ((ret = os_open(home, O_RDONLY | O_DIRECTORY, 0, fdp)) != 0)
		return ret;
	if (os_lock_share(*fdp, FORGETTER) != 0 ||
	    look_at_others(*fdp, 0, FORGETTER, &any, &below) != 0)
		return 0;
	return any ? EAGAIN : 0;
}

/* A child that was forked meanwhile has the descriptor too: the lock does not wait for its end. */
static void
let_others_in(int fd)
{
	if (fd != -1)
		os_unlock(fd, FORGETTER);
	os_close(fd);
}

static void
forget_alone(const char *home, const char *dir)
{
	char *at, *path;
	bool any;

	if (home_regions(NULL, home, &at) != 0)
		return;
	if (strcmp(at, dir) == 0 && look_for_regions(dir, &any) == 0 && !any &&
	    (path = join_path(home, HOME_POINTER)) != NULL) {
		(void)os_unlink(path);
		free(path);
	}
	free(at);
}

void
home_forget(const char *home, const char *dir)
{
	int fd = -1;

	if (strcmp(home, dir) != 0 && keep_others_out(home, &fd) == 0)
		forget_alone(home, dir);
	let_others_in(fd);
}

/* It leads to no directory, or is no symbolic link. */
static bool
is_nonsense(const char *home, const char *path)
{
	struct os_stat st;
	char *dir;
	int ret;

	if (os_lstat(path, &st) != 0)
		return false;
	if (!S_ISLNK(st.mode))
		return true;
	if ((ret = home_regions(NULL, home, &dir)) == 0)
		free(dir);
	return ret == ENOENT || ret == ENOTDIR || ret == ELOOP;
}

int
home_unsay(DB_ENV *dbenv, const char *home)
{
	char *path = join_path(home, HOME_POINTER);
	int fd = -1, ret;

	if (path == NULL)
		return ENOMEM;
	if ((ret = keep_others_out(home, &fd)) == 0 && is_nonsense(home, path))
		ret = os_unlink(path);
	let_others_in(fd);
	if (ret == EAGAIN)
		ret = EBUSY;
	if (ret != 0)
		env_err(dbenv, "%s: not removed: %s", path, db_strerror(ret));
	free(path);
	return ret;
}
