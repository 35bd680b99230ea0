/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/segment.c - regions in System V shared memory.
 *
 * The region's file holds one RLAYOUT, which names the segment; the segment begins with its own.
 * An id by itself proves nothing: after a restart, in another IPC namespace, or once the segment
 * is gone, it may be a stranger's.  So both carry the region's id and the boot's, and the segment
 * says which file names it.  It is used or removed only after held.c has found all that so, while
 * it is attached.  Its length is told by the region's id too.
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
#include "../base/os_path.h"
#include "../base/os_shm.h"
#include "held.h"

static size_t
segment_align(const RLAYOUT *named, size_t align)
{
	size_t huge = named->flags & REGION_HUGE ? os_huge_page_size() : 0;

	return huge > align ? huge : align;
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
			ret = os_shm_create(spec->shm_key, held_length(&own), true,
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
	ret = os_shm_create(spec->shm_key, held_length(named), false, mode, &r->segid);
	if (is_limit(ret) && named->max > named->size) {
		named->max = named->size;
		if ((ret = os_pwrite(r->fd, named, sizeof(*named), 0)) != 0)
			return ret;
		ret = os_shm_create(spec->shm_key, held_length(named), false, mode, &r->segid);
	}
	if (ret != 0 && ret != EEXIST)
		env_err(spec->dbenv,
		    "%s: no segment of %llu bytes: %s (kernel.shmmax, shmall and shmmni limit "
		    "them)",
		    r->path, (unsigned long long)held_length(named), db_strerror(ret));
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
	named.file_dev = r->file.ident.dev;
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

/*
 * The file is a copy.  If all but the device is the same, the disk may have been mounted as another
 * one since, and what is unwritten is not thrown away; but who is in use there is of another disk.
 */
static int
judge_copied(const struct region_spec *spec, const struct region *r, const struct held *original,
    enum layout_verdict *verdict)
{
	const RLAYOUT *inside = original->addr;

	if (held_names_twin(original, &r->file.ident) && original->is.attached <= 1 &&
	    load_relaxed(&inside->clean) == 0) {
		env_err(spec->dbenv,
		    "%s: segment %d is the one of this file, but on another device (%llu, this is "
		    "%llu), and may hold what is not written: mount that again, or remove this by "
		    "force",
		    r->path, original->is.id, (unsigned long long)inside->file_dev,
		    (unsigned long long)r->file.ident.dev);
		return EXDEV;
	}
	*verdict = LAYOUT_COPY;
	return 0;
}

static int
judge_absent(const struct region_spec *spec, struct region *r, const RLAYOUT *named,
    enum layout_verdict *verdict)
{
	struct held h;
	bool anybody;
	int ret;

	if ((ret = client_any_locked(r->fd, &anybody)) != 0)
		return ret;
	if (anybody) {
		env_err(spec->dbenv,
		    "%s: there is no segment %d with this region, but live processes are attached",
		    r->path, named->segid);
		return EIDRM;
	}
	*verdict = LAYOUT_GONE;
	if (held_original(named, &h) == 0 && h.addr != NULL) {
		ret = judge_copied(spec, r, &h, verdict);
		held_release(&h);
	}
	return ret;
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
join_held(const struct region_spec *spec, struct region *r, struct held *h, size_t align,
    RLAYOUT *copy, enum layout_verdict *verdict)
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
	if (memory_adopt_segment(r, h->addr, copy->size, max, align)) {
		h->addr = NULL;
		return 0;
	}
	if ((ret = memory_map_segment(r, copy->size, max, align)) != 0)
		env_err(spec->dbenv, "%s: cannot attach segment %d: %s", r->path, r->segid,
		    db_strerror(ret));
	return ret;
}

int
segment_join(
    const struct region_spec *spec, struct region *r, RLAYOUT *copy, enum layout_verdict *verdict)
{
	size_t align = segment_align(copy, spec->body_align);
	struct held h;
	int ret;

	if (align < os_page_size())
		align = os_page_size();
	ret = held_to_join(copy, &r->file.ident, align, &h);
	/* Where it is found, the id means it, and who asks the kernel for his namespace is slow. */
	if ((ret != 0 || h.addr == NULL) && is_elsewhere(copy))
		return say_elsewhere(spec->dbenv, r, copy);
	if (ret != 0) {
		env_err(spec->dbenv, "%s: cannot attach segment %d: %s", r->path, copy->segid,
		    db_strerror(ret));
		return ret;
	}
	if (h.addr == NULL)
		return judge_absent(spec, r, copy, verdict);
	ret = join_held(spec, r, &h, align, copy, verdict);
	held_release(&h);
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
		ret = held_named(named, file, &h);
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
	if ((ret = held_leftover(r, copy, &h)) == 0 && h.addr != NULL) {
		id = h.is.id;
		ret = os_shm_remove(id);
		held_release(&h);
	}
	if (ret == EPERM || ret == EACCES)
		return judge_unreachable(r, id, ret);
	if (ret != 0)
		env_err(dbenv, "%s: cannot remove the segment that a dead process left: %s",
		    r->path, db_strerror(ret));
	return ret;
}

bool
segment_is_left(const struct region *r, const RLAYOUT *copy)
{
	struct held h;
	bool left;

	if (layout_is_other_boot(copy) || is_elsewhere(copy) || held_original(copy, &h) != 0)
		return false;
	if (h.addr == NULL)
		return true;
	left = held_names_file(&h, &r->file.ident) &&
	    load_acquire(&((const RLAYOUT *)h.addr)->valid) == 0;
	held_release(&h);
	return left;
}

void
segment_discard_others(struct region *r, const RLAYOUT *copy)
{
	struct held h;
	int ret;

	if (!layout_is_others_system(copy, r->file.size) || layout_is_other_boot(copy))
		return;
	if ((ret = held_original(copy, &h)) == 0 && h.addr == NULL)
		return;
	if (ret == 0) {
		ret = h.is.attached > 1 ? EBUSY : os_shm_remove(h.is.id);
		held_release(&h);
	}
	if (ret != 0)
		say_stays(r, copy->segid, ret);
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
	if ((ret = os_shm_remove(r->segid)) == 0 || held_is_absent(ret))
		return 0;
	store_seq(&r->layout->valid, DB_REGIONMAGIC);
	(void)segment_publish(r);
	env_err(r->dbenv, "%s: cannot remove segment %d: %s", r->path, r->segid, db_strerror(ret));
	return ret;
}

static int
set_in_use(struct region *r, bool in_use)
{
	uint32_t mode =
	    (r->file.mode & 07777 & ~(uint32_t)FILE_IN_USE) | (in_use ? FILE_IN_USE : 0);
	int ret;

	if (mode == (r->file.mode & 07777))
		return 0;
	if ((ret = os_fchmod(r->fd, mode)) == 0)
		r->file.mode = (r->file.mode & ~(uint32_t)07777) | mode;
	return ret;
}

int
segment_note_clean(struct region *r, uint32_t clean)
{
	/* For those who cannot see the segment: after a restart, from elsewhere, other versions. */
	int ret = write_field(r, offsetof(RLAYOUT, clean), clean);

	if (ret == 0) {
		/* a bit that only the file's owner could take away is wrong on the safe side */
		(void)set_in_use(r, false);
		return 0;
	}
	if (clean == 0 && (ret == ENOSPC || ret == EDQUOT) && set_in_use(r, true) == 0)
		return 0;
	return ret;
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
	uint64_t bytes = os_whole_pages(h->is.bytes);
	int ret;

	r->is_system = true;
	r->segid = h->is.id;
	if ((ret = memory_map_segment(r, bytes, bytes, segment_align(copy, 0))) != 0)
		return ret;
	store_seq(&r->layout->valid, 0);
	if ((ret = os_shm_remove(r->segid)) != 0 && !held_is_absent(ret))
		say_stays(r, r->segid, ret);
	return 0;
}

static int
remove_named(struct region *r, const RLAYOUT *copy)
{
	struct held h;
	int ret;

	if (layout_is_other_boot(copy))
		return 0;
	if (is_elsewhere(copy))
		return judge_unreachable(r, copy->segid, say_elsewhere(r->dbenv, r, copy));
	if ((ret = held_leftover(r, copy, &h)) == 0 && h.addr != NULL) {
		ret = remove_held(r, copy, &h);
		held_release(&h);
	}
	return ret == 0 ? 0 : judge_unreachable(r, copy->segid, ret);
}

/* The file does not lead to the segment that its clients have. */
static int
remove_unnamed(struct region *r)
{
	struct held h;
	RLAYOUT inside;
	int ret;

	if ((ret = held_of_file(&r->file.ident, &h)) != 0)
		return ret;
	if (h.addr == NULL) {
		env_err(r->dbenv,
		    "%s: its clients are in a segment that it does not name, and that is not to be "
		    "found here: end them first",
		    r->path);
		return EIDRM;
	}
	memcpy(&inside, h.addr, sizeof(inside));
	ret = remove_held(r, &inside, &h);
	held_release(&h);
	return ret;
}

int
segment_remove_forced(struct region *r, const RLAYOUT *copy)
{
	bool anybody;
	int ret;

	if (copy != NULL && (ret = remove_named(r, copy)) != 0)
		return ret;
	if (r->layout != NULL)
		return 0;
	if ((ret = os_lock_test(r->fd, SEGMENT_BYTE, &anybody)) != 0)
		return ret;
	return anybody ? remove_unnamed(r) : 0;
}
