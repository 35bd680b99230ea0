/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/held.c - which segment a region's file means.
 *
 * The id in the file is only where to look.  The segment has to be as long as the region's id
 * says, to carry that id and the boot's, and to say that this file names it: by its device, its
 * inode and when it was born, so that nobody is led there by a copy of the file, or of the disk
 * that it is on.
 *
 * Without an id there are two ways, both through all segments of the system: a creator who died
 * left one of that very length which has the ids, or is empty and attached by nobody; and one that
 * is in use, whose file has lost its bytes, still says which file that is.
 *
 * Segments that cannot be attached are passed over: they are not the caller's.
 */
#include "held.h"

#include <errno.h>
#include <string.h>

void
held_release(struct held *h)
{
	os_shm_detach(h->addr);
	h->addr = NULL;
}

bool
held_is_absent(int error)
{
	return error == EINVAL || error == EIDRM;
}

/* In whole pages it is max; the rest tells one region's from another's. */
uint64_t
held_length(const RLAYOUT *named)
{
	return named->max - named->region_id % os_page_size();
}

static bool
is_long_as_said(uint64_t bytes, const RLAYOUT *by)
{
	return bytes >= sizeof(RLAYOUT) && bytes == held_length(by) &&
	    by->max % os_page_size() == 0;
}

/* It has just been attached, or that failed with ret: is it long enough to say whose it is? */
static int
look_at_held(int ret, int32_t id, struct held *h)
{
	if (ret != 0) {
		h->addr = NULL;
		return held_is_absent(ret) ? 0 : ret;
	}
	if ((ret = os_shm_stat(id, &h->is)) == 0 && h->is.bytes >= REGION_COMMON_BYTES)
		return 0;
	held_release(h);
	return ret;
}

static int
hold(int32_t id, struct held *h)
{
	return look_at_held(os_shm_attach(id, &h->addr), id, h);
}

static bool
carries_ids(const struct held *h, const RLAYOUT *named)
{
	const RLAYOUT *inside = h->addr;

	return inside->region_id == named->region_id &&
	    memcmp(inside->boot_id, named->boot_id, sizeof(named->boot_id)) == 0;
}

bool
held_names_twin(const struct held *h, const struct os_ident *file)
{
	const RLAYOUT *inside = h->addr;

	return inside->file_ino == file->ino &&
	    os_births_agree(inside->file_btime, file->btime_nsec);
}

bool
held_names_file(const struct held *h, const struct os_ident *file)
{
	return held_names_twin(h, file) && ((const RLAYOUT *)h->addr)->file_dev == file->dev;
}

int
held_original(const RLAYOUT *named, struct held *h)
{
	int ret;

	if ((ret = hold(named->segid, h)) != 0 || h->addr == NULL)
		return ret;
	if (!carries_ids(h, named))
		held_release(h);
	return 0;
}

static void
release_others(const RLAYOUT *named, const struct os_ident *file, struct held *h)
{
	if (h->addr != NULL &&
	    (!carries_ids(h, named) || !is_long_as_said(h->is.bytes, named) ||
		!held_names_file(h, file)))
		held_release(h);
}

int
held_named(const RLAYOUT *named, const struct os_ident *file, struct held *h)
{
	int ret;

	if ((ret = hold(named->segid, h)) == 0)
		release_others(named, file, h);
	return ret;
}

int
held_to_join(const RLAYOUT *named, const struct os_ident *file, size_t align, struct held *h)
{
	int32_t id = named->segid;
	int ret;

	ret = look_at_held(os_shm_attach_to_write(id, named->max, align, &h->addr), id, h);
	if (ret == 0)
		release_others(named, file, h);
	return ret;
}

/* --- through all that there are ------------------------------------------------------------ */

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
is_a_dead_creators(const struct os_segment *segment, void *arg)
{
	struct search *s = arg;

	if (segment->cuid != s->file->uid ||
	    segment->changed_sec < (int64_t)(s->named->created_usec / 1000000) - 1)
		return 0;
	if (!is_long_as_said(segment->bytes, s->named) || hold(segment->id, s->h) != 0 ||
	    s->h->addr == NULL)
		return 0;
	/* Whoever looks at the dead one's memory just now may keep it attached for a while. */
	if (carries_ids(s->h, s->named) && held_names_file(s->h, &s->file->ident))
		return 1;
	if (segment->attached == 0 && is_empty(s->h->addr))
		return 1;
	held_release(s->h);
	return 0;
}

int
held_leftover(const struct region *r, const RLAYOUT *named, struct held *h)
{
	struct search s = { .named = named, .file = &r->file, .h = h };
	int ret;

	h->addr = NULL;
	if (named->segid != INVALID_SEGID)
		return held_named(named, &r->file.ident, h);
	ret = os_shm_each(is_a_dead_creators, &s);
	return ret == 1 ? 0 : ret;
}

struct search_of_file {
	const struct os_ident *file;
	struct held *h;
};

static int
is_of_file(const struct os_segment *segment, void *arg)
{
	struct search_of_file *s = arg;
	const RLAYOUT *inside;

	if (segment->attached == 0 || segment->bytes < sizeof(RLAYOUT) ||
	    hold(segment->id, s->h) != 0 || (inside = s->h->addr) == NULL)
		return 0;
	if (layout_stamp_is_ours(inside) && is_long_as_said(s->h->is.bytes, inside) &&
	    held_names_file(s->h, s->file))
		return 1;
	held_release(s->h);
	return 0;
}

int
held_of_file(const struct os_ident *file, struct held *h)
{
	struct search_of_file s = { file, h };
	int ret;

	h->addr = NULL;
	ret = os_shm_each(is_of_file, &s);
	return ret == 1 ? 0 : ret;
}
