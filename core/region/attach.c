/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/attach.c - create a region or join one.
 *
 * One attempt opens the file (or makes it, empty), waits for REGION_BYTE and looks whether the
 * path still leads to that file (R2).  With the byte held there are three cases: the file is
 * empty, and the region is made in it; it is a valid region, and is joined; or it is a leftover,
 * or of an earlier boot, and is unlinked.  After that, and whenever the path led elsewhere, the
 * next attempt follows: each one fails only because another process got further.  A file with
 * anything in it is never reused, because somebody may have it mapped.
 *
 * A region of an earlier boot is made anew even if it was closed cleanly: nobody synced it, so
 * after a power cut any of its pages may be older than the others.  Clean means only that nothing
 * is lost.
 *
 * What a failed creation made is removed again.  All sentences about a failure are said here and
 * in layout.c.
 */
#include "region_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "../base/atomics.h"
#include "home.h"

#define ATTEMPTS_MAX 1000
#define OTHERS_WRITE (S_IWGRP | S_IWOTH)
#define MAX_FACTOR 16		       /* of its size, a region may become by default, */
#define MAX_LEAST ((uint64_t)1 << 30)  /* and so many bytes in any case */
#define HEAD_BYTES ((size_t)128 << 10) /* the layout and the clients */

/* One attempt's outcome beside an error. */
enum attempt { ATTEMPT_DONE, ATTEMPT_AGAIN };

static int
say(const struct region_spec *spec, const struct region *r, const char *what, int error)
{
	env_err(spec->dbenv, "%s: %s: %s", r->path == NULL ? "private region" : r->path, what,
	    db_strerror(error));
	return error;
}

/* --- what is asked for --------------------------------------------------------------------- */

static int
spec_check(const struct region_spec *spec)
{
	uint64_t least = layout_body_offset(spec->nclients);

	if (!spec->create && !spec->is_private)
		return 0;
	if (spec->nclients == 0 || spec->nclients > CLIENTS_MAX || spec->size < least ||
	    spec->size > os_memory_bytes()) {
		env_err(spec->dbenv,
		    "a region of %llu bytes for %u clients: at least %llu, at most the machine's "
		    "%llu",
		    (unsigned long long)spec->size, spec->nclients, (unsigned long long)least,
		    (unsigned long long)os_memory_bytes());
		return EINVAL;
	}
	return 0;
}

static uint64_t
spec_size(const struct region_spec *spec)
{
	return os_whole_pages(spec->size);
}

static uint64_t
spec_max(const struct region_spec *spec)
{
	uint64_t page = os_page_size(), size = spec_size(spec), max = spec->max;

	if (max == 0)
		max = size > MAX_LEAST / MAX_FACTOR ? size * MAX_FACTOR : MAX_LEAST;
	if (max > os_memory_bytes())
		max = os_memory_bytes();
	max = max / page * page;
	return max > size ? max : size;
}

/*
 * Who can write the region can make its clients write what he likes.  A directory in which
 * everybody may create names proves nothing about who made the file.  Root trusts root, and the
 * group or world bits that it gives in spec->mode itself.
 */
static int
check_trust(const struct region_spec *spec, const struct region *r)
{
	const struct os_stat *st = &r->file;
	struct os_stat dir;
	uint32_t me = (uint32_t)geteuid();
	uint32_t writers = st->mode & OTHERS_WRITE & ~(uint32_t)spec->mode;
	int ret;

	if (!S_ISREG(st->mode)) {
		env_err(spec->dbenv, "%s is not a regular file", r->path);
		return EPERM;
	}
	if ((ret = os_stat(spec->dir, &dir)) != 0)
		return say(spec, r, "cannot stat its directory", ret);
	if ((dir.mode & S_ISVTX) != 0 && ((st->uid != me && st->uid != 0) || st->nlink > 1)) {
		env_err(spec->dbenv,
		    "%s belongs to user %u and has %u links, in a directory with the sticky bit: "
		    "refused",
		    r->path, st->uid, st->nlink);
		return EPERM;
	}
	if (me == 0 && (st->uid != 0 || writers != 0)) {
		env_err(spec->dbenv,
		    "%s (owner %u, mode %04o) can be written by others than root: refused to root",
		    r->path, st->uid, (unsigned)(st->mode & 07777));
		return EPERM;
	}
	return 0;
}

/* --- making one ---------------------------------------------------------------------------- */

static void
set_clients(struct region *r, uint32_t nclients)
{
	POOL_ASSERT(layout_body_offset(nclients) <= r->size);
	r->nclients = nclients;
	r->clients = (struct client *)(r->addr + layout_clients_offset());
}

/* In mapped memory that nobody else looks at yet: zeros, but for RLAYOUT. */
static int
format_region(const struct region_spec *spec, struct region *r)
{
	int ret;

	if (spec->populate && (ret = os_populate(r->addr, r->size)) != 0)
		return ret;
	set_clients(r, spec->nclients);
	if ((ret = client_take(r)) != 0)
		return ret;
	r->created = true;
	if (spec->init != NULL && (ret = spec->init(r, spec->arg)) != 0)
		return ret;
	store_relaxed(&r->layout->refcnt, 1);
	store_seq(&r->layout->valid, DB_REGIONMAGIC);
	return 0;
}

/* The first touch of a file must not bring in megabytes of what is never used. */
static void
keep_small(const struct region_spec *spec, struct region *r)
{
	os_scattered(r->addr, spec->scattered || r->mapped < HEAD_BYTES ? r->mapped : HEAD_BYTES);
}

static int
create_in_file(const struct region_spec *spec, struct region *r)
{
	uint64_t size = spec_size(spec), max = spec_max(spec);
	int ret;

	if ((ret = memory_allocate(r->fd, 0, size)) != 0 ||
	    (ret = memory_map_file(r, size, max, spec->body_align)) != 0)
		return ret;
	keep_small(spec, r);
	if (spec->huge)
		memory_ask_huge(r);
	layout_init(r->layout, spec, size, max);
	return format_region(spec, r);
}

static int
create_in_segment(const struct region_spec *spec, struct region *r)
{
	int ret;

	if ((ret = segment_create(spec, r, spec_size(spec), spec_max(spec))) != 0)
		return ret;
	if ((ret = format_region(spec, r)) == 0)
		ret = segment_publish(r);
	if (ret != 0)
		segment_abandon(r);
	return ret;
}

static int
make(const struct region_spec *spec, struct region *r, uint64_t deadline)
{
	int ret;

	if ((ret = writing_wait(spec, r, deadline)) != 0)
		return ret;
	ret = spec->is_system ? create_in_segment(spec, r) : create_in_file(spec, r);
	/* Of memory, segment.c has said how much there is. */
	if (ret != 0 && (ret != ENOMEM || !spec->is_system))
		env_err(spec->dbenv, "%s: cannot create a region of %llu bytes: %s", r->path,
		    (unsigned long long)spec_size(spec), db_strerror(ret));
	return ret;
}

static int
create(const struct region_spec *spec, struct region *r, uint64_t deadline, enum attempt *attempt)
{
	bool same = false;
	int made, ret;

	if (!spec->create) {
		env_err(spec->dbenv, "%s does not exist yet", r->path);
		return ENOENT;
	}
	made = make(spec, r, deadline);
	/*
	 * Only force removes a file under its creator; then this region is nobody's, and another
	 * may be there (R2).
	 */
	if ((ret = region_is_at_path(r, &same)) != 0)
		return say(spec, r, "cannot stat", ret);
	*attempt = same ? ATTEMPT_DONE : ATTEMPT_AGAIN;
	if (same && made != 0) {
		(void)os_unlink(r->path);
		return made;
	}
	if (same)
		env_event(spec->dbenv, "%s: created, %llu bytes, client %u", r->path,
		    (unsigned long long)r->size, r->self);
	else if (made == 0 && r->is_system)
		segment_abandon(r);
	return 0;
}

/* --- joining one --------------------------------------------------------------------------- */

/*
 * In the file, before the segment: who dies in between must not leave it saying for ever that all
 * was written.
 */
static int
note_in_use(const struct region_spec *spec, struct region *r)
{
	int ret = segment_note_clean(r, 0);

	return ret == 0 ? 0 : say(spec, r, "cannot write", ret);
}

static int
join(const struct region_spec *spec, struct region *r, const RLAYOUT *copy)
{
	uint32_t attached;
	int ret;

	if (!r->is_system) {
		if ((ret = memory_map_file(r, copy->size, copy->max, spec->body_align)) != 0)
			return say(spec, r, "cannot map", ret);
		keep_small(spec, r);
	}
	set_clients(r, copy->nclients);
	if ((ret = client_take(r)) == EAGAIN) {
		env_err(spec->dbenv, "%s: all %u client numbers are taken", r->path, r->nclients);
		return EAGAIN;
	}
	if (ret != 0)
		return say(spec, r, "cannot lock a client number", ret);
	if (r->is_system && copy->clean != 0 && (ret = note_in_use(spec, r)) != 0)
		return ret;
	store_relaxed(&r->layout->clean, 0);
	attached = client_count(r);
	env_event(spec->dbenv, "%s: joined as client %u, %u attached", r->path, r->self, attached);
	return 0;
}

/* --- throwing one away --------------------------------------------------------------------- */

static void
say_other_boot(const struct region_spec *spec, struct region *r, const RLAYOUT *copy, bool fits)
{
	uint64_t lost;

	if (fits && copy->clean != 0) {
		env_event(spec->dbenv,
		    "%s is of an earlier boot and held nothing unwritten: made anew", r->path);
		return;
	}
	if (!fits || spec->count_lost == NULL || r->is_system ||
	    memory_map_file(r, copy->size, copy->size, spec->body_align) != 0) {
		env_err(spec->dbenv,
		    "%s is of an earlier boot and was not closed: made anew; what was unwritten is "
		    "lost",
		    r->path);
		return;
	}
	set_clients(r, copy->nclients);
	lost = spec->count_lost(r, spec->arg);
	memory_unmap(r);
	env_err(spec->dbenv,
	    "%s is of an earlier boot and was not closed: made anew; %llu unwritten pages are lost",
	    r->path, (unsigned long long)lost);
}

static void
say_discarded(const struct region_spec *spec, struct region *r, enum layout_verdict verdict,
    const RLAYOUT *copy)
{
	if (verdict == LAYOUT_LEFTOVER)
		env_event(spec->dbenv, "%s was left half made by a process that died: made anew",
		    r->path);
	else if (verdict == LAYOUT_GONE)
		env_err(spec->dbenv,
		    "%s: somebody removed segment %d: made anew; what was unwritten is lost",
		    r->path, copy->segid);
	else if (verdict == LAYOUT_COPY)
		env_err(spec->dbenv,
		    "%s: its segment %d is that of another file, of which this is a copy: made "
		    "anew",
		    r->path, copy->segid);
	else if (verdict == LAYOUT_OTHER_VERSION)
		env_warn(spec->dbenv,
		    "%s was made by version %d.%d.%d (format %u) and held nothing unwritten: made "
		    "anew",
		    r->path, copy->majver, copy->minver, copy->patch, copy->format);
	else
		say_other_boot(spec, r, copy, verdict == LAYOUT_OTHER_BOOT);
}

static int
discard(const struct region_spec *spec, struct region *r, enum layout_verdict verdict,
    const RLAYOUT *copy)
{
	int ret;

	if (!spec->create) {
		env_err(spec->dbenv, "%s is not in use: it was left by %s", r->path,
		    verdict == LAYOUT_LEFTOVER		? "a process that died" :
			verdict == LAYOUT_GONE		? "somebody who removed its segment" :
			verdict == LAYOUT_COPY		? "another home, of which this is a copy" :
			verdict == LAYOUT_OTHER_VERSION ? "another version" :
							  "an earlier boot");
		return ENOENT;
	}
	if (verdict == LAYOUT_OTHER_VERSION)
		segment_discard_others(r, copy);
	if (verdict != LAYOUT_GONE && r->is_system &&
	    (ret = segment_discard(spec->dbenv, r, copy)) != 0)
		return ret;
	say_discarded(spec, r, verdict, copy);
	if ((ret = os_unlink(r->path)) != 0 && ret != ENOENT)
		return say(spec, r, "cannot unlink", ret);
	return 0;
}

/* --- one attempt --------------------------------------------------------------------------- */

static int
open_or_create(const struct region_spec *spec, struct region *r)
{
	mode_t mode = spec->mode == 0 ? 0600 : ((mode_t)spec->mode & 0777) | S_IRUSR | S_IWUSR;
	int oflags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	int ret;

	POOL_ASSERT(r->layout == NULL && r->self == NO_CLIENT && !r->created);
	/* Another process may create it, or remove it, between the two. */
	do {
		ret = region_open_fd(r, oflags, 0);
		if (ret == ENOENT && spec->create)
			ret = region_open_fd(r, oflags | O_CREAT | O_EXCL, mode);
	} while (ret == EEXIST);
	if (ret == ELOOP) {
		env_err(spec->dbenv, "%s is a symbolic link: refused", r->path);
		return EPERM;
	}
	return ret == 0 ? 0 : say(spec, r, "cannot open", ret);
}

/* Where there are no locks there are no regions: an empty file is nobody's beginning of one. */
static void
remove_empty(struct region *r)
{
	bool same;

	if (region_is_at_path(r, &same) == 0 && same && r->file.size == 0)
		(void)os_unlink(r->path);
}

static int
wait_for_region_byte(const struct region_spec *spec, struct region *r, uint64_t deadline)
{
	uint64_t now = os_monotonic_usec();
	unsigned msec = now < deadline ? (unsigned)((deadline - now) / 1000) : 0;
	int ret;

	if ((ret = os_lock_wait(r->fd, REGION_BYTE, msec)) == EAGAIN) {
		env_err(spec->dbenv,
		    "%s: a live process has been creating, joining or removing it for %u ms",
		    r->path, (unsigned)REGION_JOIN_MSEC);
		return EAGAIN;
	}
	if (ret == 0)
		return 0;
	remove_empty(r);
	return say(spec, r, "cannot lock", ret);
}

/*
 * A creator or remover who died has left nobody.  In a longer file valid is what its clients have
 * mapped, and without it they have been told; those of a shorter one or of a segment have not.
 */
static int
check_abandoned(const struct region_spec *spec, const struct region *r)
{
	bool anybody;
	int ret;

	if (r->file.size > sizeof(RLAYOUT))
		return 0;
	if ((ret = client_any_locked(r->fd, &anybody)) != 0)
		return say(spec, r, "cannot ask who is attached", ret);
	if (!anybody)
		return 0;
	env_err(spec->dbenv,
	    "%s is damaged: it names no region, but live processes are attached; remove it by "
	    "force to go on",
	    r->path);
	return DB_RUNRECOVERY;
}

/* With REGION_BYTE held, and the file known to be the path's. */
static int
attempt_locked(
    const struct region_spec *spec, struct region *r, uint64_t deadline, enum attempt *attempt)
{
	enum layout_verdict verdict;
	RLAYOUT copy;
	int ret;

	if ((ret = check_trust(spec, r)) != 0)
		return ret;
	if (r->file.size == 0 && (ret = check_abandoned(spec, r)) != 0)
		return ret;
	if (r->file.size == 0)
		return create(spec, r, deadline, attempt);
	if ((ret = layout_judge(spec, r->path, r->fd, r->file.size, &copy, &verdict)) != 0)
		return ret;
	if (verdict == LAYOUT_LEFTOVER && (ret = check_abandoned(spec, r)) != 0)
		return ret;
	r->is_system = layout_is_system(&copy, r->file.size);
	if (verdict == LAYOUT_VALID && r->is_system &&
	    (ret = segment_join(spec, r, &copy, &verdict)) != 0)
		return ret;
	*attempt = verdict == LAYOUT_VALID ? ATTEMPT_DONE : ATTEMPT_AGAIN;
	return verdict == LAYOUT_VALID ? join(spec, r, &copy) : discard(spec, r, verdict, &copy);
}

static int
attempt_once(
    const struct region_spec *spec, struct region *r, uint64_t deadline, enum attempt *attempt)
{
	bool same;
	int ret;

	if ((ret = open_or_create(spec, r)) != 0 ||
	    (ret = wait_for_region_byte(spec, r, deadline)) != 0)
		return ret;
	if ((ret = region_is_at_path(r, &same)) != 0)
		return say(spec, r, "cannot stat", ret);
	*attempt = ATTEMPT_AGAIN;
	return same ? attempt_locked(spec, r, deadline, attempt) : 0;
}

static void
attempt_undo(struct region *r)
{
	if (r->layout != NULL)
		client_leave(r);
	memory_unmap(r);
	region_close_fd(r);
	r->created = r->is_system = false;
}

static int
attach_file(const struct region_spec *spec, struct region *r)
{
	uint64_t deadline = os_monotonic_usec() + (uint64_t)REGION_JOIN_MSEC * 1000;
	enum attempt attempt = ATTEMPT_AGAIN;
	int attempts, ret = 0;

	for (attempts = 0; attempts < ATTEMPTS_MAX && attempt == ATTEMPT_AGAIN; attempts++) {
		if ((ret = attempt_once(spec, r, deadline, &attempt)) != 0)
			break;
		if (attempt == ATTEMPT_AGAIN)
			attempt_undo(r);
	}
	if (ret == 0 && attempt == ATTEMPT_AGAIN)
		ret = say(spec, r, "removed again and again by other processes", EAGAIN);
	if (ret == 0)
		os_unlock(r->fd, REGION_BYTE);
	else
		attempt_undo(r);
	return ret;
}

static int
attach_private(const struct region_spec *spec, struct region *r)
{
	int ret;

	if ((ret = memory_map_private(r, spec_size(spec), spec_max(spec), spec->body_align)) == 0) {
		if (spec->huge)
			memory_ask_huge(r);
		layout_init(r->layout, spec, r->size, r->mapped);
		if ((ret = format_region(spec, r)) != 0)
			memory_unmap(r);
	}
	return ret == 0 ? 0 : say(spec, r, "cannot create", ret);
}

static int
set_name(const struct region_spec *spec, struct region *r)
{
	r->is_private = spec->is_private;
	if (spec->is_private || asprintf(&r->path, "%s/%s", spec->dir, spec->file) != -1)
		return 0;
	r->path = NULL;
	return ENOMEM;
}

int
region_attach(const struct region_spec *spec, struct region **rp)
{
	struct region *r = NULL;
	int ret;

	POOL_ASSERT(spec->is_private || (spec->dir != NULL && spec->file != NULL));
	if ((ret = spec_check(spec)) != 0)
		return ret;
	if ((ret = region_create(&r)) != 0) {
		env_err(spec->dbenv, "no memory for a region's handle");
		return ret;
	}
	r->dbenv = spec->dbenv;
	r->is_guarded = spec->guard;
	if ((ret = set_name(spec, r)) == 0 && spec->home != NULL)
		ret = home_take(spec, r);
	if (ret == 0)
		ret = spec->is_private ? attach_private(spec, r) : attach_file(spec, r);
	if (ret != 0) {
		home_give_back(spec, r);
		region_destroy(r);
		return ret;
	}
	*rp = r;
	return 0;
}
