/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/layout.c - RLAYOUT: how a creator fills it in, how everybody else judges it.
 *
 * The judge runs with REGION_BYTE held, so nobody is creating or removing: what is not valid now
 * will not become so.  He reads the file's first bytes once, into a copy, and decides on the
 * copy.
 *
 *   nothing, or all zeros                          leftover
 *   valid 0, stamp ours or not yet written         leftover: creation or removal was cut short
 *   valid right, stamp another's, closed           other version
 *   valid right, stamp another's                   EPROTO
 *   valid right, other boot, nobody attached       other boot
 *   valid right, panic                             DB_RUNRECOVERY
 *   valid right, sizes and offsets not ours        DB_RUNRECOVERY
 *   anything else                                  DB_RUNRECOVERY: damaged, or somebody's file
 *
 * A leftover is thrown away by the caller, so that verdict wants proof; when in doubt it is
 * damage, which only force removes.
 */
#include "region_impl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 64u

static uint64_t
round_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) / unit * unit;
}

roff_t
layout_clients_offset(void)
{
	return round_up(sizeof(RLAYOUT), LINE_BYTES);
}

roff_t
layout_body_offset(uint32_t nclients)
{
	return layout_clients_offset() + (uint64_t)nclients * sizeof(struct client);
}

void
layout_init(RLAYOUT *rl, const struct region_spec *spec, uint64_t size, uint64_t max)
{
	POOL_ASSERT(layout_body_offset(spec->nclients) <= size && size <= max);
	/* The stamp first: a leftover is recognised by it. */
	rl->format = REGION_FORMAT;
	rl->byte_order = REGION_BYTE_ORDER;
	rl->pointer_bytes = sizeof(void *);
	rl->layout_bytes = sizeof(RLAYOUT);
	rl->subsystem_stamp = spec->subsystem_stamp;
	(void)db_version(&rl->majver, &rl->minver, &rl->patch);
	rl->size = size;
	rl->max = max;
	rl->segid = INVALID_SEGID;
	rl->region_id = os_random();
	rl->created_usec = os_now_usec();
	os_boot_id(rl->boot_id);
	rl->flags = spec->last_detach ? REGION_LASTDETACH : 0;
	rl->nclients = spec->nclients;
	rl->clients_used = 1;
	rl->clients = layout_clients_offset();
	rl->body = layout_body_offset(spec->nclients);
}

bool
layout_stamp_is_ours(const RLAYOUT *copy)
{
	return copy->format == REGION_FORMAT && copy->byte_order == REGION_BYTE_ORDER &&
	    copy->pointer_bytes == sizeof(void *) && copy->layout_bytes == sizeof(RLAYOUT);
}

/* As a creator leaves it who died somewhere in layout_init. */
static bool
stamp_is_unfinished(const RLAYOUT *copy)
{
	return (copy->format == 0 || copy->format == REGION_FORMAT) &&
	    (copy->byte_order == 0 || copy->byte_order == REGION_BYTE_ORDER) &&
	    (copy->pointer_bytes == 0 || copy->pointer_bytes == sizeof(void *)) &&
	    (copy->layout_bytes == 0 || copy->layout_bytes == sizeof(RLAYOUT));
}

/* Does it look like a region that some version of this library made, on some machine? */
static bool
stamp_is_known(const RLAYOUT *copy)
{
	return copy->byte_order == REGION_BYTE_ORDER ||
	    copy->byte_order == __builtin_bswap32(REGION_BYTE_ORDER);
}

bool
layout_fits(const RLAYOUT *copy, uint64_t file_bytes)
{
	return copy->nclients > 0 && copy->nclients <= CLIENTS_MAX &&
	    copy->clients == layout_clients_offset() &&
	    copy->body == layout_body_offset(copy->nclients) && copy->body <= copy->size &&
	    copy->size <= file_bytes && copy->size <= copy->max && copy->size % os_page_size() == 0;
}

bool
layout_is_system(const RLAYOUT *copy, uint64_t file_bytes)
{
	return file_bytes == sizeof(RLAYOUT) && layout_stamp_is_ours(copy) &&
	    (copy->flags & REGION_SYSTEM) != 0;
}

/* REGION_COMMON_BYTES of it mean what they mean to us. */
static bool
is_comparable(const RLAYOUT *copy)
{
	return copy->format >= REGION_FORMAT_FIRST && copy->byte_order == REGION_BYTE_ORDER &&
	    copy->pointer_bytes == sizeof(void *);
}

bool
layout_is_others_system(const RLAYOUT *copy, uint64_t file_bytes)
{
	return file_bytes == copy->layout_bytes && is_comparable(copy) &&
	    !layout_stamp_is_ours(copy) && (copy->flags & REGION_SYSTEM) != 0;
}

static bool
is_zero(const uint8_t *bytes, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* A boot id that is not known proves nothing. */
bool
layout_is_other_boot(const RLAYOUT *copy)
{
	uint8_t boot_id[sizeof(copy->boot_id)];

	os_boot_id(boot_id);
	return !is_zero(boot_id, sizeof(boot_id)) &&
	    !is_zero(copy->boot_id, sizeof(copy->boot_id)) &&
	    memcmp(boot_id, copy->boot_id, sizeof(boot_id)) != 0;
}

void
layout_printable(char *to, size_t to_bytes, const char *from, size_t from_bytes)
{
	size_t i;

	for (i = 0; i < from_bytes && i < to_bytes - 1 && from[i] != '\0'; i++)
		to[i] = isprint((unsigned char)from[i]) ? from[i] : '?';
	to[i] = '\0';
}

static int
say_damaged(const struct region_spec *spec, const char *path, const char *what)
{
	env_err(spec->dbenv, "%s is damaged or not a region: %s; remove it by force to go on", path,
	    what);
	return DB_RUNRECOVERY;
}

static void
say_way_out(const struct region_spec *spec, char *to, size_t bytes, bool used)
{
	if (used)
		(void)snprintf(to, bytes, "processes use it: end them, or go on with that version");
	else
		(void)snprintf(to, bytes,
		    "go on with that version, or remove it by force (poolstat --remove %s "
		    "--force), which loses what it has not written",
		    spec->home != NULL	  ? spec->home :
			spec->dir != NULL ? spec->dir :
					    "HOME");
}

static int
say_stamps(const struct region_spec *spec, const char *path, const RLAYOUT *copy, bool used)
{
	int majver, minver, patch;
	char way_out[512];

	(void)db_version(&majver, &minver, &patch);
	say_way_out(spec, way_out, sizeof(way_out), used);
	env_err(spec->dbenv,
	    "%s was made by version %d.%d.%d (format %u, byte order %08x, pointers of %u bytes, "
	    "header "
	    "of %u, stamp %08x), this is version %d.%d.%d (format %u, byte order %08x, pointers of "
	    "%u "
	    "bytes, header of %u, stamp %08x): %s",
	    path, copy->majver, copy->minver, copy->patch, copy->format, copy->byte_order,
	    copy->pointer_bytes, copy->layout_bytes, copy->subsystem_stamp, majver, minver, patch,
	    REGION_FORMAT, REGION_BYTE_ORDER, (unsigned)sizeof(void *), (unsigned)sizeof(RLAYOUT),
	    spec->subsystem_stamp, way_out);
	return EPROTO;
}

/*
 * Another version's region goes if that is no loss: nobody uses it, and the last who did says that
 * everything in it was written.
 */
static int
judge_stamp(const struct region_spec *spec, const char *path, int fd, const RLAYOUT *copy,
    enum layout_verdict *verdict)
{
	bool anybody;
	int ret;

	if ((ret = client_any_locked(fd, &anybody)) != 0)
		return ret;
	if (anybody || copy->valid != DB_REGIONMAGIC || !is_comparable(copy) || copy->panic != 0 ||
	    copy->clean == 0)
		return say_stamps(spec, path, copy, anybody);
	*verdict = LAYOUT_OTHER_VERSION;
	return 0;
}

static int
say_panic(const struct region_spec *spec, const char *path, const RLAYOUT *copy)
{
	char why[sizeof(copy->panic_why) + 1], name[sizeof(copy->panic_name) + 1];

	layout_printable(why, sizeof(why), copy->panic_why, sizeof(copy->panic_why));
	layout_printable(name, sizeof(name), copy->panic_name, sizeof(copy->panic_name));
	env_err(spec->dbenv,
	    "%s was found damaged by process %d (%s): %s; remove it by force to go on", path,
	    copy->panic_pid, name, why);
	return DB_RUNRECOVERY;
}

static int
judge_invalid(const struct region_spec *spec, const char *path, int fd, const RLAYOUT *copy,
    enum layout_verdict *verdict)
{
	if (copy->valid == 0 && stamp_is_unfinished(copy)) {
		*verdict = LAYOUT_LEFTOVER;
		return 0;
	}
	/* The stamp's place is the same in all versions, valid's place and meaning too. */
	if (stamp_is_known(copy) &&
	    (copy->valid == 0 || copy->valid == __builtin_bswap32(DB_REGIONMAGIC)))
		return judge_stamp(spec, path, fd, copy, verdict);
	return say_damaged(spec, path, "its first bytes are not a region's");
}

static int
judge_valid(const struct region_spec *spec, const char *path, int fd, uint64_t file_bytes,
    const RLAYOUT *copy, enum layout_verdict *verdict)
{
	bool fits = layout_fits(copy, file_bytes);
	bool anybody;
	int ret;

	if (!layout_stamp_is_ours(copy))
		return judge_stamp(spec, path, fd, copy, verdict);
	if (layout_is_other_boot(copy)) {
		/* A live client is of this boot, and so is what it uses, whatever the id says. */
		if ((ret = client_any_locked(fd, &anybody)) != 0)
			return ret;
		if (!anybody) {
			fits = fits && copy->panic == 0 &&
			    copy->subsystem_stamp == spec->subsystem_stamp;
			*verdict = fits ? LAYOUT_OTHER_BOOT : LAYOUT_OTHER_BOOT_DAMAGED;
			return 0;
		}
	}
	if (copy->subsystem_stamp != spec->subsystem_stamp)
		return judge_stamp(spec, path, fd, copy, verdict);
	if (copy->panic != 0)
		return say_panic(spec, path, copy);
	if (copy->size > file_bytes)
		return say_damaged(spec, path, "it is shorter than it says");
	if (!fits)
		return say_damaged(spec, path, "its sizes and offsets do not fit together");
	*verdict = LAYOUT_VALID;
	return 0;
}

int
layout_judge_copy(const struct region_spec *spec, const char *path, int fd, uint64_t bytes,
    const RLAYOUT *copy, enum layout_verdict *verdict)
{
	if (copy->valid != DB_REGIONMAGIC)
		return judge_invalid(spec, path, fd, copy, verdict);
	return judge_valid(spec, path, fd, bytes, copy, verdict);
}

/* What the file's mode takes back; see segment_note_clean. */
static void
take_back_clean(int fd, RLAYOUT *copy)
{
	struct os_stat st;

	if (copy->clean != 0 && (os_fstat(fd, &st) != 0 || (st.mode & FILE_IN_USE) != 0))
		copy->clean = 0;
}

int
layout_judge(const struct region_spec *spec, const char *path, int fd, uint64_t file_bytes,
    RLAYOUT *copy, enum layout_verdict *verdict)
{
	size_t n;
	int ret;

	memset(copy, 0, sizeof(*copy));
	if ((ret = os_pread(fd, copy, sizeof(*copy), 0, &n)) != 0) {
		env_err(spec->dbenv, "%s: cannot read: %s", path, db_strerror(ret));
		return ret;
	}
	take_back_clean(fd, copy);
	if (is_zero((const uint8_t *)copy, n)) {
		*verdict = LAYOUT_LEFTOVER;
		return 0;
	}
	if (n < REGION_COMMON_BYTES || (n < sizeof(*copy) && n != copy->layout_bytes))
		return say_damaged(spec, path, "it is too short");
	/* The bytes are elsewhere then; whether they are all there segment_join asks. */
	if (layout_is_system(copy, file_bytes))
		file_bytes = copy->max;
	return layout_judge_copy(spec, path, fd, file_bytes, copy, verdict);
}
