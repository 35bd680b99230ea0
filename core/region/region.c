/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/region.c - a region from the day it is attached: the check at every call's door, panic,
 * offsets, and its end: detach and removal.
 *
 * Detach and removal hold REGION_BYTE, so that nobody joins a region while it is decided whether
 * anybody is left in it.  Removal clears valid, then unlinks; if it dies in between, the next one
 * to come finds a leftover.  Removal by force, which may have to do without the lock, clears
 * valid once more after the unlink: a creator that it overtook either finds its path gone, or has
 * set valid before that.
 *
 * A detach always happens, whatever else fails.
 */
#include "region_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/atomics.h"
#include "../base/os_path.h"
#include "../base/os_shm.h"

#define PANIC_WAIT_USEC 100000 /* for another who reports */
#define PANIC_LOOK_USEC 1000

static int
say_lost(struct region *r)
{
	uint32_t silent = LOST_SILENT;

	if (cas_seq(&r->lost, &silent, LOST_SAID))
		env_err(r->dbenv,
		    "%s: bytes of it are gone (was it truncated?): remove it by force to go on",
		    region_name(r));
	return DB_RUNRECOVERY;
}

int
region_usable(const struct region *r)
{
	bool valid;

	if (region_is_inherited(r))
		return EINVAL;
	if (load_relaxed(&r->layout->panic) != 0)
		return DB_RUNRECOVERY;
	valid = load_acquire(&r->layout->valid) == DB_REGIONMAGIC;
	/* Last: what was looked at may have been gone. */
	if (load_relaxed(&r->lost) != LOST_NOT)
		return say_lost((struct region *)(uintptr_t)r);
	return valid ? 0 : ESTALE;
}

/* A segment has its file's owner, group and mode, unless somebody has changed them since. */
static int
add_segment(const struct region *r, struct region_writers *w, uint32_t *modep)
{
	struct os_segment s;
	int ret;

	if ((ret = os_shm_stat(r->segid, &s)) != 0)
		return ret;
	*modep |= s.mode;
	if (s.uid != w->uid || s.gid != w->gid || (s.cuid != w->uid && s.cuid != 0))
		w->others = true;
	return 0;
}

int
region_writers(const struct region *r, struct region_writers *w)
{
	struct os_stat st;
	uint32_t mode;
	int ret;

	*w = (struct region_writers){ .uid = (uint32_t)geteuid() };
	if (r->is_private)
		return 0;
	if ((ret = os_fstat(r->fd, &st)) != 0)
		return ret;
	w->uid = st.uid;
	w->gid = st.gid;
	mode = st.mode;
	if (r->is_system && (ret = add_segment(r, w, &mode)) != 0)
		return ret;
	w->group = (mode & S_IWGRP) != 0;
	/* with a list the group's bits are those of whomever the list names */
	w->others |= (mode & S_IWOTH) != 0 || (w->group && os_has_acl(r->fd));
	return 0;
}

size_t
region_size(const struct region *r)
{
	size_t size = load_relaxed(&r->size);

	/* It may have grown or shrunk; never beyond what is mapped here. */
	if (load_acquire(&r->layout->size) != size)
		size = region_look_again((struct region *)(uintptr_t)r);
	return size;
}

void *
region_ptr(const struct region *r, roff_t offset, size_t bytes)
{
	size_t size = region_size(r);

	if (offset > size || bytes > size - offset)
		return NULL;
	return r->addr + offset;
}

/* The first byte last: half of it is nothing. */
static void
tell(char *to, size_t to_bytes, const char *what)
{
	size_t n = strnlen(what, to_bytes - 1);

	if (n == 0)
		return;
	store_seq((uint8_t *)to, 0);
	memset(to + 1, 0, to_bytes - 1);
	memcpy(to + 1, what + 1, n - 1);
	store_seq((uint8_t *)to, (uint8_t)what[0]);
}

static void
report_panic(struct region *r, const char *why)
{
	RLAYOUT *rl = r->layout;

	rl->panic_pid = (int32_t)getpid();
	rl->panic_uid = (uint32_t)geteuid();
	rl->panic_usec = os_now_usec();
	tell(rl->panic_name, sizeof(rl->panic_name), program_invocation_short_name);
	tell(rl->panic_why, sizeof(rl->panic_why), why);
	store_seq(&rl->panic, 1);
	env_err(r->dbenv, "%s: damaged, nothing may use it any more: %s",
	    r->path == NULL ? "private region" : r->path, why);
	if (r->is_system && !region_is_inherited(r))
		segment_note_panic(r);
}

/*
 * Who takes panic_by writes the report, and sets panic when it is whole; another who finds damage
 * meanwhile waits for that, unless the reporter is dead, or does not come to an end with it.
 */
static bool
may_report(struct region *r)
{
	uint64_t end = os_monotonic_usec() + PANIC_WAIT_USEC;
	uint32_t me = r->self + 1, by = 0;
	RLAYOUT *rl = r->layout;

	while (load_seq(&rl->panic) == 0 && os_monotonic_usec() < end) {
		if (cas_seq(&rl->panic_by, &by, me))
			return true;
		if (by != 0 && by != me && !client_is_alive(r, by - 1) &&
		    cas_seq(&rl->panic_by, &by, me))
			return true;
		os_sleep_usec(PANIC_LOOK_USEC);
		by = 0;
	}
	return false;
}

int
region_panic(struct region *r, const char *fmt, ...)
{
	char why[REGION_WHY_BYTES];
	va_list ap;

	if (load_seq(&r->layout->panic) == 0 && may_report(r)) {
		va_start(ap, fmt);
		if (vsnprintf(why, sizeof(why), fmt, ap) < 0)
			why[0] = '\0';
		va_end(ap);
		report_panic(r, why);
	}
	store_seq(&r->layout->panic, 1);
	return DB_RUNRECOVERY;
}

/* --- removal ------------------------------------------------------------------------------- */

int
region_is_at_path(struct region *r, bool *samep)
{
	struct os_stat at_path;
	int ret;

	if ((ret = os_fstat(r->fd, &r->file)) != 0)
		return ret;
	if ((ret = os_stat(r->path, &at_path)) != 0 && ret != ENOENT)
		return ret;
	*samep = ret == 0 && memcmp(&at_path.ident, &r->file.ident, sizeof(at_path.ident)) == 0;
	return 0;
}

/* Nobody else is attached and REGION_BYTE is held. */
static int
remove_file(struct region *r)
{
	int ret;

	POOL_ASSERT(!r->is_private && r->fd != -1);
	if (r->is_system && (ret = segment_remove(r)) != 0)
		return ret;
	store_seq(&r->layout->valid, 0);
	if ((ret = os_unlink(r->path)) != 0) {
		/* Still there: leave it as it was, unless it names nothing any more. */
		if (!r->is_system)
			store_seq(&r->layout->valid, DB_REGIONMAGIC);
		env_err(r->dbenv, "%s: cannot unlink: %s", r->path, db_strerror(ret));
		return ret;
	}
	env_event(r->dbenv, "%s: removed", r->path);
	return 0;
}

static void
note_clean(struct region *r, bool clean)
{
	store_seq(&r->layout->clean, clean ? 1u : 0u);
	if (r->is_system)
		(void)segment_note_clean(r, clean ? 1u : 0u);
}

/* Rubbish does not remove a region. */
static bool
goes_with_its_last(const struct region *r)
{
	uint32_t flags = load_relaxed(&r->layout->flags);

	return (flags & ~REGION_FLAGS) == 0 && (flags & REGION_LASTDETACH) != 0;
}

/* With REGION_BYTE held, and the file known to be the path's. */
static int
leave_as_last(struct region *r, bool remove, bool (*last)(struct region *r, void *arg), void *arg)
{
	int ret = 0;

	remove = remove || goes_with_its_last(r);
	if (remove && last != NULL && !last(r, arg))
		ret = EAGAIN;
	else if (remove)
		ret = remove_file(r);
	else if (last != NULL && load_seq(&r->layout->panic) == 0)
		note_clean(r, last(r, arg));
	return ret;
}

static int
leave_locked(struct region *r, bool remove, bool (*last)(struct region *r, void *arg), void *arg)
{
	uint32_t others = client_count_others(r);
	bool same;
	int ret;

	store_relaxed(&r->layout->refcnt, others);
	if (others > 0 && !remove)
		return 0;
	if ((ret = region_is_at_path(r, &same)) != 0) {
		env_err(r->dbenv, "%s: cannot stat: %s", r->path, db_strerror(ret));
		return ret;
	}
	if (!same || load_seq(&r->layout->valid) != DB_REGIONMAGIC)
		return 0;
	if (others == 0)
		return leave_as_last(r, remove, last, arg);
	env_err(r->dbenv, "%s: not removed: %u other processes use it", r->path, others);
	return EBUSY;
}

static int
detach_file(struct region *r, bool remove, bool (*last)(struct region *r, void *arg), void *arg)
{
	int ret;

	if ((ret = os_lock_wait(r->fd, REGION_BYTE, REGION_JOIN_MSEC)) == 0)
		ret = leave_locked(r, remove, last, arg);
	else
		env_err(r->dbenv, "%s: detached without looking who is left: %s", r->path,
		    db_strerror(ret));
	client_leave(r);
	env_event(r->dbenv, "%s: detached", r->path);
	return ret;
}

int
region_detach(struct region *r, bool remove, bool (*last)(struct region *r, void *arg), void *arg)
{
	int ret = 0;

	if (r == NULL)
		return 0;
	if (!r->is_private && !region_is_inherited(r))
		ret = detach_file(r, remove, last, arg);
	memory_unmap(r);
	region_destroy(r);
	return ret;
}

/* --- removal without joining ------------------------------------------------------------------ */

/* So that those who are attached get ESTALE.  A file that is no region keeps its bytes. */
static void
clear_valid(struct region *r)
{
	static const uint32_t zero;
	RLAYOUT copy;
	size_t n;

	if (os_pread(r->fd, &copy, sizeof(copy), 0, &n) == 0 && n == sizeof(copy) &&
	    copy.valid == DB_REGIONMAGIC)
		(void)os_pwrite(r->fd, &zero, sizeof(zero), offsetof(RLAYOUT, valid));
	if (r->layout != NULL)
		store_seq(&r->layout->valid, 0);
}

/* Where its valid is, in the segment of another version, is not for us to say. */
static int
unlink_others_segment(struct region *r, const RLAYOUT *copy)
{
	bool anybody;
	int ret;

	/* Or it only looks like another's. */
	if ((ret = segment_remove_forced(r, NULL)) != 0 || r->layout != NULL ||
	    (ret = client_any_locked(r->fd, &anybody)) != 0)
		return ret;
	if (anybody) {
		env_err(r->dbenv,
		    "%s was made by version %d.%d.%d (format %u), and processes use its segment: "
		    "end them first",
		    r->path, copy->majver, copy->minver, copy->patch, copy->format);
		return EPROTO;
	}
	segment_discard_others(r, copy);
	return 0;
}

/* The segment that the file may name.  The mapping stays, for clear_valid. */
static int
unlink_segment(struct region *r, bool *namedp)
{
	RLAYOUT copy = { 0 };
	bool readable;
	size_t n = 0;

	readable =
	    os_fstat(r->fd, &r->file) == 0 && os_pread(r->fd, &copy, sizeof(copy), 0, &n) == 0;
	if ((*namedp = readable && layout_is_others_system(&copy, r->file.size)))
		return unlink_others_segment(r, &copy);
	readable = readable && n == sizeof(copy) && layout_is_system(&copy, r->file.size);
	*namedp = readable && copy.segid != INVALID_SEGID;
	return segment_remove_forced(r, readable ? &copy : NULL);
}

/* With REGION_BYTE held, or by force without it. */
static int
unlink_everything(struct region *r)
{
	bool named;
	int ret;

	if ((ret = unlink_segment(r, &named)) != 0)
		return ret;
	clear_valid(r);
	ret = os_unlink(r->path);
	/* A creator who was overtaken may have named one meanwhile. */
	if (ret == 0 && !named && r->layout == NULL)
		ret = unlink_segment(r, &named);
	clear_valid(r);
	return ret;
}

/* ENOENT: it is more than what a dead creator or remover leaves. */
static int
check_leftover(struct region *r)
{
	const struct region_spec spec = { 0 };
	enum layout_verdict verdict;
	RLAYOUT copy;
	int ret;

	ret = layout_judge(&spec, r->path, r->fd, r->file.size, &copy, &verdict);
	if (ret == 0 && verdict == LAYOUT_LEFTOVER)
		return 0;
	return layout_is_system(&copy, r->file.size) && segment_is_left(r, &copy) ? 0 : ENOENT;
}

static int
check_unused(struct region *r)
{
	bool anybody;
	int ret;

	if ((ret = client_any_locked(r->fd, &anybody)) != 0)
		return ret;
	if (anybody)
		env_err(r->dbenv, "%s: not removed: other processes use it", r->path);
	return anybody ? EBUSY : 0;
}

enum unlink { UNLINK_FORCED, UNLINK_UNUSED, UNLINK_LEFTOVER };

static int
check_how(struct region *r, enum unlink how)
{
	int ret = how == UNLINK_LEFTOVER ? check_leftover(r) : 0;

	return ret == 0 && how != UNLINK_FORCED ? check_unused(r) : ret;
}

/* r->fd is open.  *againp: the path led to another file than that. */
static int
unlink_open(struct region *r, enum unlink how, bool *againp)
{
	bool same, force = how == UNLINK_FORCED;
	int ret;

	*againp = false;
	if ((ret = os_lock_wait(r->fd, REGION_BYTE, REGION_JOIN_MSEC)) != 0) {
		env_warn(r->dbenv, "%s: %sremoved though a live process is creating or joining it",
		    r->path, force ? "" : "not ");
		if (!force)
			return ret;
	}
	if ((ret = region_is_at_path(r, &same)) != 0)
		return ret;
	if (!same) {
		*againp = true;
		return 0;
	}
	return (ret = check_how(r, how)) != 0 ? ret : unlink_everything(r);
}

/*
 * By force, of what may not be written: only if there is nobody who would have to be told, nor just
 * coming.  A shared lock is enough to keep them out.
 */
static int
unlink_readable(struct region *r, bool *againp)
{
	bool same;
	int ret;

	if ((ret = region_open_fd(r, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0)) != 0)
		return ret;
	if ((ret = os_lock_share_wait(r->fd, REGION_BYTE, REGION_JOIN_MSEC)) == EAGAIN) {
		env_warn(
		    r->dbenv, "%s: a live process is creating, joining or removing it", r->path);
		return EACCES;
	}
	if (ret != 0 || (ret = region_is_at_path(r, &same)) != 0)
		return ret;
	*againp = !same;
	if (!same)
		return 0;
	return check_unused(r) != 0 ? EACCES : unlink_everything(r);
}

static int
unlink_path(struct region *r, enum unlink how)
{
	bool again, force = how == UNLINK_FORCED;
	int ret;

	do {
		again = false;
		ret = region_open_fd(r, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
		if (ret == 0)
			ret = unlink_open(r, how, &again);
		else if (force && ret == EACCES)
			ret = unlink_readable(r, &again);
		else if (force && (ret == ELOOP || ret == ENXIO))
			/* A symbolic link or a socket, which nobody is attached to. */
			ret = os_unlink(r->path);
		memory_unmap(r);
		region_close_fd(r);
	} while (again);
	return ret;
}

static int
unlink_file(DB_ENV *dbenv, const char *dir, const char *file, enum unlink how)
{
	bool force = how == UNLINK_FORCED;
	struct region *r = NULL;
	int ret;

	if ((ret = region_create(&r)) != 0)
		return ret;
	r->dbenv = dbenv;
	if (asprintf(&r->path, "%s/%s", dir, file) == -1) {
		r->path = NULL;
		ret = ENOMEM;
	} else
		ret = unlink_path(r, how);
	if (ret == ENOENT && force)
		ret = 0;
	if (ret != 0 && how != UNLINK_LEFTOVER)
		env_err(dbenv, "%s/%s: cannot remove: %s", dir, file, db_strerror(ret));
	else if (ret == 0)
		env_event(dbenv, "%s/%s: removed%s", dir, file, force ? " by force" : "");
	region_destroy(r);
	return ret;
}

int
region_unlink_forced(DB_ENV *dbenv, const char *dir, const char *file)
{
	return unlink_file(dbenv, dir, file, UNLINK_FORCED);
}

int
region_unlink_unused(DB_ENV *dbenv, const char *dir, const char *file)
{
	return unlink_file(dbenv, dir, file, UNLINK_UNUSED);
}

int
region_unlink_leftover(DB_ENV *dbenv, const char *dir, const char *file)
{
	return unlink_file(dbenv, dir, file, UNLINK_LEFTOVER);
}
