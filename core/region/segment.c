/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/segment.c - regions in System V shared memory.
 *
 * The region's file holds one RLAYOUT, which names the segment; the segment begins with its own.
 * An id by itself proves nothing: after a restart, in another IPC namespace, or once the segment
 * is gone, it may be a stranger's.  So both carry the region's id and the boot's, and the segment
 * says which file names it, so that nobody is led to it by a copy.  It is used or removed only
 * after all that was found so, while it is attached, because so long its id cannot become
 * another's.  Its length is told by the region's id too: it says which of the segments that nobody
 * names is the one that a dead creator made.
 *
 *   creation                                    removal
 *   1 the file says: no valid, no segment       1 the file loses valid
 *   2 the segment, its owner and mode           2 the segment loses valid
 *   3 it gets the ids                           3 the segment goes
 *   4 the file names it                         4 the file goes
 *   5 the region, valid last; 6 the file's valid
 *
 * Whoever dies in between leaves a file without valid, and who comes next removes what it names,
 * or, after 2 and 3, the segment of that very length that is empty or has the ids.  Only its owner
 * (or root) can remove a segment: to others it stays, and a sentence says which.
 *
 * Everything here runs under REGION_BYTE; see attach.c and region.c for who calls when.
 */
#include "region_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../base/atomics.h"
#include "../base/os_shm.h"

/* A segment that is attached for reading. */
struct held {
	struct os_segment is;
	void *addr; /* NULL: there is none */
};

static void
release(struct held *h)
{
	os_shm_detach(h->addr);
	h->addr = NULL;
}

static bool
is_absent(int error)
{
	return error == EINVAL || error == EIDRM;
}

/* In whole pages it is max; the rest tells one region's from another's. */
static uint64_t
length(const RLAYOUT *named)
{
	return named->max - named->region_id % os_page_size();
}

/* Not every process that looks at a file is told when it was born. */
static bool
names_file(const RLAYOUT *inside, const struct os_ident *file)
{
	return inside->file_ino == file->ino &&
	    (inside->file_btime == file->btime_nsec || inside->file_btime == 0 ||
		file->btime_nsec == 0);
}

static bool
carries_ids(const RLAYOUT *inside, const RLAYOUT *named, const struct os_ident *file)
{
	return inside->region_id == named->region_id &&
	    memcmp(inside->boot_id, named->boot_id, sizeof(named->boot_id)) == 0 &&
	    names_file(inside, file);
}

static size_t
segment_align(const RLAYOUT *named, size_t align)
{
	size_t huge = named->flags & REGION_HUGE ? os_huge_page_size() : 0;

	return huge > align ? huge : align;
}

/* Attach segment id if it can be the one that is named, by its length. */
static int
hold(int32_t id, const RLAYOUT *named, struct held *h)
{
	int ret;

	h->addr = NULL;
	if ((ret = os_shm_attach(id, &h->addr)) != 0)
		return is_absent(ret) ? 0 : ret;
	if ((ret = os_shm_stat(id, &h->is)) == 0 && h->is.bytes >= sizeof(RLAYOUT) &&
	    h->is.bytes == length(named) && named->max % os_page_size() == 0)
		return 0;
	release(h);
	return ret;
}

static int
hold_named(const RLAYOUT *named, const struct os_ident *file, struct held *h)
{
	int ret;

	if ((ret = hold(named->segid, named, h)) != 0 || h->addr == NULL)
		return ret;
	if (!carries_ids(h->addr, named, file))
		release(h);
	return 0;
}

/* --- a dead creator's ---------------------------------------------------------------------- */

struct search {
	const RLAYOUT *named;
	const struct os_stat *file;
	struct held *h;
};

static bool
is_empty(const RLAYOUT *inside)
{
	static const RLAYOUT zeros;

	return memcmp(inside, &zeros, sizeof(zeros)) == 0;
}

/* os_shm_each's: stops at the segment. */
static int
is_it(const struct os_segment *segment, void *arg)
{
	struct search *s = arg;

	if (segment->bytes != length(s->named) || segment->attached > 0 ||
	    segment->cuid != s->file->uid ||
	    segment->changed_sec < (int64_t)(s->named->created_usec / 1000000) - 1)
		return 0;
	if (hold(segment->id, s->named, s->h) != 0 || s->h->addr == NULL)
		return 0;
	if (carries_ids(s->h->addr, s->named, &s->file->ident) || is_empty(s->h->addr))
		return 1;
	release(s->h);
	return 0;
}

static int
hold_leftover(const struct region *r, const RLAYOUT *named, struct held *h)
{
	struct search s = { .named = named, .file = &r->file, .h = h };
	int ret;

	h->addr = NULL;
	if (named->segid != INVALID_SEGID)
		return hold_named(named, &r->file.ident, h);
	ret = os_shm_each(is_it, &s);
	return ret == 1 ? 0 : ret;
}

/* --- creation ------------------------------------------------------------------------------ */

/* The file's permissions, which the umask had a say in, but never more than asked. */
static uint32_t
permissions(const struct region_spec *spec, const struct region *r)
{
	uint32_t mode = spec->mode == 0 ? 0600 : (uint32_t)spec->mode | 0600;

	return r->file.mode & mode & 0777;
}

/*
 * From its first moment: who finds a dead creator's has to be able to look.  The group is not yet
 * the file's.
 */
static uint32_t
first_permissions(const struct region_spec *spec, const struct region *r)
{
	uint32_t mode = permissions(spec, r);

	return r->file.gid == (uint32_t)getegid() ? mode : mode & ~(uint32_t)070;
}

static bool
is_limit(int error)
{
	return error == ENOSPC || error == ENOMEM || error == EINVAL;
}

/*
 * Huge pages are set aside for all of max, so that there is room to grow only if asked for.  *named
 * is as it was if there is no such segment, and then not *madep.
 */
static int
make_huge(const struct region_spec *spec, struct region *r, RLAYOUT *named, bool *madep)
{
	uint64_t huge = os_huge_page_size();
	RLAYOUT own = *named;
	int ret = EOPNOTSUPP;

	*madep = false;
	if (huge > 0) {
		own.max = spec->max > own.size ? own.max : own.size;
		own.max = (own.max + huge - 1) / huge * huge;
		own.flags |= REGION_HUGE;
		if ((ret = os_pwrite(r->fd, &own, sizeof(own), 0)) == 0)
			ret = os_shm_create(spec->shm_key, length(&own), true,
			    first_permissions(spec, r), &r->segid);
	}
	if (ret == 0) {
		*named = own;
		*madep = true;
	}
	if (ret == 0 || ret == EEXIST)
		return ret;
	env_err(spec->dbenv, "%s: no segment in huge pages (%s): in ordinary ones", r->path,
	    db_strerror(ret));
	return os_pwrite(r->fd, named, sizeof(*named), 0);
}

/* Where the system's limits count what is only reserved, it can do without room to grow. */
static int
make_ordinary(const struct region_spec *spec, struct region *r, RLAYOUT *named)
{
	uint32_t mode = first_permissions(spec, r);
	int ret;

	if ((ret = memory_check(spec->dbenv, r->path, named->size)) != 0)
		return ret;
	ret = os_shm_create(spec->shm_key, length(named), false, mode, &r->segid);
	if (is_limit(ret) && named->max > named->size) {
		named->max = named->size;
		if ((ret = os_pwrite(r->fd, named, sizeof(*named), 0)) != 0)
			return ret;
		ret = os_shm_create(spec->shm_key, length(named), false, mode, &r->segid);
	}
	if (ret != 0 && ret != EEXIST)
		env_err(spec->dbenv,
		    "%s: no segment of %llu bytes: %s (kernel.shmmax, shmall and shmmni limit "
		    "them)",
		    r->path, (unsigned long long)length(named), db_strerror(ret));
	return ret;
}

static int
make(const struct region_spec *spec, struct region *r, RLAYOUT *named)
{
	bool made = false;
	int ret = 0;

	if (spec->huge)
		ret = make_huge(spec, r, named, &made);
	if (ret == 0 && !made)
		ret = make_ordinary(spec, r, named);
	if (ret == EEXIST)
		env_err(spec->dbenv, "%s: there is a segment with key %#x already", r->path,
		    (unsigned)spec->shm_key);
	return ret;
}

static int
fill(const struct region_spec *spec, struct region *r, RLAYOUT *named)
{
	int ret;

	if ((ret = memory_map_segment(
		 r, named->size, named->max, segment_align(named, spec->body_align))) != 0)
		return ret;
	if (spec->huge && (named->flags & REGION_HUGE) == 0)
		memory_ask_huge(r);
	named->segid = r->segid;
	*r->layout = *named;
	if ((ret = os_shm_own(r->segid, r->file.uid, r->file.gid, permissions(spec, r))) != 0)
		return ret;
	return os_pwrite(r->fd, named, sizeof(*named), 0);
}

int
segment_create(const struct region_spec *spec, struct region *r, uint64_t size, uint64_t max)
{
	RLAYOUT named = { 0 };
	int ret;

	POOL_ASSERT(r->addr == NULL && size <= max && max % os_page_size() == 0);
	layout_init(&named, spec, size, max);
	named.flags |= REGION_SYSTEM;
	named.ipc_ns = (uint32_t)os_ipc_namespace();
	named.file_ino = r->file.ident.ino;
	named.file_btime = r->file.ident.btime_nsec;
	r->is_system = true;
	if ((ret = os_pwrite(r->fd, &named, sizeof(named), 0)) != 0 ||
	    (ret = make(spec, r, &named)) != 0)
		return ret;
	if ((ret = fill(spec, r, &named)) != 0) {
		memory_unmap(r);
		(void)os_shm_remove(r->segid);
	}
	return ret;
}

static int
write_field(const struct region *r, size_t offset, uint32_t value)
{
	return os_pwrite(r->fd, &value, sizeof(value), offset);
}

int
segment_publish(struct region *r)
{
	return write_field(r, offsetof(RLAYOUT, valid), DB_REGIONMAGIC);
}

/* --- joining ------------------------------------------------------------------------------- */

static bool
is_elsewhere(const RLAYOUT *named)
{
	return named->ipc_ns != (uint32_t)os_ipc_namespace();
}

static int
say_elsewhere(DB_ENV *dbenv, const struct region *r, const RLAYOUT *named)
{
	env_err(dbenv, "%s: its memory is in IPC namespace %u, and this process is in %u", r->path,
	    named->ipc_ns, (unsigned)os_ipc_namespace());
	return ENXIO;
}

static int
judge_absent(const struct region_spec *spec, struct region *r, const RLAYOUT *named,
    enum layout_verdict *verdict)
{
	bool anybody;
	int ret;

	if ((ret = client_any_locked(r->fd, &anybody)) != 0)
		return ret;
	if (!anybody) {
		*verdict = LAYOUT_GONE;
		return 0;
	}
	env_err(spec->dbenv,
	    "%s: there is no segment %d with this region, but live processes are attached", r->path,
	    named->segid);
	return EIDRM;
}

/*
 * The file alone does not make a segment trustworthy: root reads only what others cannot write.
 */
static int
check_owner(const struct region_spec *spec, const struct region *r, const struct os_segment *is)
{
	uint32_t writers = is->mode & 022 & ~(uint32_t)spec->mode;

	if (geteuid() != 0 || (is->uid == 0 && is->cuid == 0 && writers == 0))
		return 0;
	env_err(spec->dbenv,
	    "%s: segment %d (owner %u, creator %u, mode %04o) can be written by others than root: "
	    "refused to root",
	    r->path, is->id, is->uid, is->cuid, is->mode);
	return EPERM;
}

/* While it is held; *copy becomes its own. */
static int
join_held(const struct region_spec *spec, struct region *r, const struct held *h, RLAYOUT *copy,
    enum layout_verdict *verdict)
{
	uint64_t max = copy->max;
	int ret;

	if ((ret = check_owner(spec, r, &h->is)) != 0)
		return ret;
	memcpy(copy, h->addr, sizeof(*copy));
	if ((ret = layout_judge_copy(spec, r->path, r->fd, max, copy, verdict)) != 0)
		return ret;
	if (*verdict != LAYOUT_VALID)
		return 0;
	if (h->is.removed)
		env_warn(spec->dbenv, "%s: somebody removed segment %d: it goes at the last detach",
		    r->path, h->is.id);
	r->segid = h->is.id;
	if ((ret = memory_map_segment(r, copy->size, max, segment_align(copy, spec->body_align))) !=
	    0)
		env_err(spec->dbenv, "%s: cannot attach segment %d: %s", r->path, r->segid,
		    db_strerror(ret));
	return ret;
}

int
segment_join(
    const struct region_spec *spec, struct region *r, RLAYOUT *copy, enum layout_verdict *verdict)
{
	struct held h;
	int ret;

	if (is_elsewhere(copy))
		return say_elsewhere(spec->dbenv, r, copy);
	if ((ret = hold_named(copy, &r->file.ident, &h)) != 0) {
		env_err(spec->dbenv, "%s: cannot attach segment %d: %s", r->path, copy->segid,
		    db_strerror(ret));
		return ret;
	}
	if (h.addr == NULL)
		return judge_absent(spec, r, copy, verdict);
	ret = join_held(spec, r, &h, copy, verdict);
	release(&h);
	return ret;
}

void *
segment_attach_quietly(const RLAYOUT *named, const struct os_ident *file, int *errorp)
{
	struct held h = { .addr = NULL };
	int ret = 0;

	if (layout_is_other_boot(named))
		ret = EIDRM;
	else if (is_elsewhere(named))
		ret = ENXIO;
	else
		ret = hold_named(named, file, &h);
	*errorp = ret != 0 || h.addr != NULL ? ret : EIDRM;
	return h.addr;
}

/* --- removal ------------------------------------------------------------------------------- */

static void
say_stays(const struct region *r, int32_t segid, int error)
{
	env_err(r->dbenv, "%s: segment %d stays (%s): ipcrm -m %d removes it", r->path, segid,
	    db_strerror(error), segid);
}

/* With live clients that cannot be told, a second pool over their files would follow. */
static int
judge_unreachable(struct region *r, int32_t segid, int error)
{
	bool anybody;
	int ret;

	if ((ret = client_any_locked(r->fd, &anybody)) != 0)
		return ret;
	if (anybody)
		return error;
	say_stays(r, segid, error);
	return 0;
}

/* It stays if it is another user's, who died: nobody else uses it. */
int
segment_discard(DB_ENV *dbenv, struct region *r, const RLAYOUT *copy)
{
	int32_t id = copy->segid;
	struct held h;
	int ret;

	if (layout_is_other_boot(copy))
		return 0;
	if (is_elsewhere(copy))
		return say_elsewhere(dbenv, r, copy);
	if ((ret = hold_leftover(r, copy, &h)) == 0 && h.addr != NULL) {
		id = h.is.id;
		ret = os_shm_remove(id);
		release(&h);
	}
	if (ret == EPERM || ret == EACCES)
		return judge_unreachable(r, id, ret);
	if (ret != 0)
		env_err(dbenv, "%s: cannot remove the segment that a dead process left: %s",
		    r->path, db_strerror(ret));
	return ret;
}

void
segment_abandon(struct region *r)
{
	store_seq(&r->layout->valid, 0);
	(void)os_shm_remove(r->segid);
}

/* The mapping keeps the id from becoming a stranger's. */
int
segment_remove(struct region *r)
{
	int ret;

	POOL_ASSERT(r->is_system && r->addr != NULL);
	if ((ret = write_field(r, offsetof(RLAYOUT, valid), 0)) != 0)
		return ret;
	store_seq(&r->layout->valid, 0);
	if ((ret = os_shm_remove(r->segid)) == 0 || is_absent(ret))
		return 0;
	store_seq(&r->layout->valid, DB_REGIONMAGIC);
	(void)segment_publish(r);
	env_err(r->dbenv, "%s: cannot remove segment %d: %s", r->path, r->segid, db_strerror(ret));
	return ret;
}

void
segment_note_clean(struct region *r, uint32_t clean)
{
	/* For sentences of those who cannot see the segment: after a restart, or from elsewhere. */
	(void)write_field(r, offsetof(RLAYOUT, clean), clean);
}

void
segment_note_panic(struct region *r)
{
	RLAYOUT copy = *r->layout;
	size_t from = offsetof(RLAYOUT, panic_pid);

	if (os_pwrite(r->fd, (uint8_t *)&copy + from, sizeof(copy) - from, from) == 0)
		(void)write_field(r, offsetof(RLAYOUT, panic), 1);
}

/* --- removal by force ---------------------------------------------------------------------- */

/* Once its users are told, what cannot be removed is only memory. */
static int
remove_held(struct region *r, const RLAYOUT *copy, const struct held *h)
{
	int ret;

	r->is_system = true;
	r->segid = h->is.id;
	if ((ret = memory_map_segment(r, copy->max, copy->max, segment_align(copy, 0))) != 0)
		return ret;
	store_seq(&r->layout->valid, 0);
	if ((ret = os_shm_remove(r->segid)) != 0 && !is_absent(ret))
		say_stays(r, r->segid, ret);
	return 0;
}

int
segment_remove_forced(struct region *r, const RLAYOUT *copy)
{
	struct held h;
	int ret;

	if (layout_is_other_boot(copy))
		return 0;
	if (is_elsewhere(copy))
		return judge_unreachable(r, copy->segid, say_elsewhere(r->dbenv, r, copy));
	if ((ret = hold_leftover(r, copy, &h)) == 0 && h.addr != NULL) {
		ret = remove_held(r, copy, &h);
		release(&h);
	}
	return ret == 0 ? 0 : judge_unreachable(r, copy->segid, ret);
}
