/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/enter.c - who has which file open: open records, and the way into the file table.
 *
 * Every handle has a record with its client's number, so that a dead client's handles can be
 * closed by the reaper; who finds a table full sends for him.  A file that is known with other
 * parameters than those asked for is expelled first if nobody has it open.  Sentences are said
 * after the region lock was released.
 */
#include "file.h"
#include "kcache.h"
#include "reap.h"
#include "tally.h"

/* --- open records -------------------------------------------------------------------------- */

static struct open_record *
record_take(DB_MPOOL *p, struct file_row *row, uint32_t flags)
{
	for (uint32_t i = p->mp->free_open; i < p->g.nopens; i++) {
		struct open_record *rec = &p->opens[i];

		if (rec->owner != 0)
			continue;
		file_entry_taken(i, &p->mp->free_open, &p->mp->opens_used);
		rec->row = (uint32_t)(row - p->rows);
		rec->file = row->id;
		rec->flags = flags;
		rec->hit = rec->miss = rec->map = 0;
		if (!(flags & OPEN_RDONLY)) {
			(void)add_seq(&row->writer_opens, 1);
			store_relaxed(&row->stranded, 0); /* adopted */
		}
		store_release(&rec->owner, p->self + 1);
		row->opens++;
		return rec;
	}
	return NULL;
}

bool
file_is_open(DB_MPOOL *p, const struct file_row *row, uint32_t id)
{
	bool open;

	region_lock(p);
	open = row->id == id && row->opens > 0;
	region_unlock(p);
	return open;
}

bool
file_is_written_by_others(const DB_MPOOL *p, uint32_t id)
{
	for (uint32_t i = 0; i < opens_used(p); i++) {
		const struct open_record *rec = &p->opens[i];
		uint32_t owner = load_acquire(&rec->owner);

		if (owner != 0 && owner != p->self + 1 && load_relaxed(&rec->file) == id &&
		    !(load_relaxed(&rec->flags) & OPEN_RDONLY))
			return true;
	}
	return false;
}

void
file_leave_locked(DB_MPOOL *p, struct open_record *rec)
{
	uint32_t r = rec->row;

	if (p->mp->free_open > (uint32_t)(rec - p->opens))
		p->mp->free_open = (uint32_t)(rec - p->opens);
	if (r < p->g.nrows && p->rows[r].id == rec->file) {
		struct file_row *row = &p->rows[r];

		(void)add_relaxed(&row->hit, load_relaxed(&rec->hit));
		(void)add_relaxed(&row->miss, load_relaxed(&rec->miss));
		(void)add_relaxed(&row->map, load_relaxed(&rec->map));
		if (row->opens > 0)
			row->opens--;
	}
	store_release(&rec->owner, 0);
}

void
file_leave(DB_MPOOL *p, struct open_record *rec, bool *lastp)
{
	bool writes = !(load_relaxed(&rec->flags) & OPEN_RDONLY);
	uint32_t owner = load_relaxed(&rec->owner);
	struct file_row *row;

	tally_close(p, rec);
	region_lock(p);
	row = file_row(p, rec->file);
	file_leave_locked(p, rec);
	*lastp = row != NULL && row->opens == 0;
	region_unlock(p);
	if (row != NULL && writes)
		kcache_left(p, row, owner - 1);
}

/* --- entering ------------------------------------------------------------------------------ */

static bool
same_cookie(DB_MPOOL *p, const struct file_row *row, const DBT *cookie)
{
	uint32_t bytes = cookie != NULL ? cookie->size : 0;
	const void *have;

	if (row->cookie_bytes != bytes)
		return false;
	have = file_heap_at(p, row->cookie, bytes);
	return bytes == 0 || (have != NULL && memcmp(have, cookie->data, bytes) == 0);
}

/* Is the file known with what the caller says of it?  A soft open takes it as it is. */
static bool
row_agrees(DB_MPOOL *p, const struct file_row *row, const struct file_spec *spec)
{
	if (spec->open_flags & OPEN_SOFT)
		return true;
	return row->pageshift == spec->pageshift && row->ftype == spec->ftype &&
	    row->lsn_offset == spec->lsn_offset && same_cookie(p, row, spec->cookie);
}

/*
 * What is to be said once the region lock is released: a callback may call us, a pipe may block.
 */
#define WHY_BYTES 300

static int
disagree(DB_MPOOL *p, const struct file_row *row, const struct file_spec *spec, char *why)
{
	(void)snprintf(why, WHY_BYTES,
	    "is open with page size %u, type %d, LSN offset %d; asked for with %u, %d, %d%s",
	    1u << (row->pageshift & 31), row->ftype, row->lsn_offset, 1u << spec->pageshift,
	    spec->ftype, spec->lsn_offset,
	    same_cookie(p, row, spec->cookie) ? "" : " and another cookie");
	return EINVAL;
}

/*
 * The row by ident or uid; EINVAL if the two name different files.  One that is nobody's any more
 * (P19) is in nobody's way, whatever it says: it goes first.
 */
static int
find_row(DB_MPOOL *p, const struct file_spec *spec, struct file_row **rowp, char *why)
{
	struct file_row *row, *by_uid = NULL;

	*rowp = NULL;
	if (spec->ident == NULL)
		return 0; /* a temporary file is nobody else's */
	row = file_find_ident(p, spec->ident);
	if (spec->uid != NULL)
		by_uid = file_find_uid(p, spec->uid);
	*rowp = row != NULL ? row : by_uid;
	if (row != NULL && file_is_orphan(row))
		return 0;
	if (by_uid != NULL && file_is_orphan(by_uid)) {
		*rowp = by_uid;
		return 0;
	}
	if ((by_uid != NULL && by_uid != row &&
		(row != NULL || !file_has_ident(by_uid, spec->ident))) ||
	    (row != NULL && spec->uid != NULL && (row->flags & ROW_UID) && by_uid != row)) {
		(void)snprintf(why, WHY_BYTES, "is in the pool under another file identifier");
		return EINVAL;
	}
	return 0;
}

enum entered { ENTERED, EXPEL_FIRST, BURY_FIRST, WAIT_FOR_SOFT, NO_ROW, NO_RECORD };

#define ENTER_TRIES 150
#define SOFT_WAIT_USEC 20000u /* between looks whether the mount has closed its idle handle */
#define BURY_WAIT_USEC 2000u  /* for whoever has a page of a removed file in hand for a moment */

/*
 * Do only mounts have the file open, which close what nobody uses when asked to?  A count of opens
 * without any open record is damage, and is put right.
 */
static bool
only_soft(const DB_MPOOL *p, struct file_row *row)
{
	uint32_t opens = 0;

	for (uint32_t i = 0; i < opens_used(p); i++) {
		const struct open_record *rec = &p->opens[i];

		if (rec->owner == 0 || rec->file != row->id)
			continue;
		if (!(rec->flags & OPEN_SOFT))
			return false;
		opens++;
	}
	if (opens == 0)
		row->opens = 0;
	return true;
}

static int
enter_locked(DB_MPOOL *p, const struct file_spec *spec, struct file_row **rowp,
    struct open_record **recordp, enum entered *howp, char *why)
{
	struct file_row *row;
	bool made;
	int ret;

	if ((ret = find_row(p, spec, &row, why)) != 0)
		return ret;
	made = row == NULL;
	*rowp = row;
	*howp = ENTERED;
	/* P19 */
	if (row != NULL && file_is_orphan(row)) {
		*howp = BURY_FIRST;
		return 0;
	}
	if (row != NULL && !row_agrees(p, row, spec)) {
		(void)disagree(p, row, spec, why);
		if (row->opens != 0 && !only_soft(p, row))
			return EINVAL;
		*howp = row->opens == 0 ? EXPEL_FIRST : WAIT_FOR_SOFT;
		if (row->opens != 0)
			(void)or_seq(&row->flags, ROW_WANTED);
		return 0;
	}
	if (row == NULL) {
		if ((*rowp = row = file_row_take(p)) == NULL) {
			*howp = NO_ROW;
			return 0;
		}
		if ((ret = file_row_fill(p, row, spec)) != 0) {
			p->mp->free_row = 0;
			return ret;
		}
	} else {
		/* A hard link's other name may be the only one by now. */
		file_rename_locked(p, row, spec->path);
		if (spec->uid != NULL && !(row->flags & ROW_UID)) {
			memcpy(row->uid, spec->uid, DB_FILE_ID_LEN);
			(void)or_seq(&row->flags, ROW_UID);
		}
	}
	if ((*recordp = record_take(p, row, spec->open_flags)) == NULL) {
		if (made)
			file_row_free(p, row);
		*rowp = NULL;
		*howp = NO_RECORD;
	}
	return 0;
}

/* Make what was found in the way go.  EBUSY: look again. */
static int
clear_way(struct thread *t, struct file_row *row, uint32_t id, enum entered how)
{
	if (how == NO_ROW && file_rows_collect(t) == 0)
		return 0;
	if (how == NO_ROW || how == NO_RECORD)
		return reap_known(t) > 0 ? 0 : ENFILE;
	if (how == EXPEL_FIRST)
		return file_expel(t, row, id);
	if (how == BURY_FIRST && file_bury(t, row, id))
		return 0;
	os_sleep_usec(how == BURY_FIRST ? BURY_WAIT_USEC : SOFT_WAIT_USEC);
	return EBUSY;
}

/* Who writes does so after a mount's kernel has dropped its pages; else the record goes. */
static int
tell_mount(struct thread *t, const struct file_spec *spec, struct file_row *row,
    struct open_record *rec, const char *name)
{
	DB_MPOOL *p = t->pool;

	if ((spec->open_flags & OPEN_RDONLY) || kcache_opened(t, row) == 0)
		return 0;
	region_lock(p);
	file_leave_locked(p, rec);
	region_unlock(p);
	env_err(p->dbenv, "%s: the mount that has it in its kernel's cache does not answer", name);
	return EAGAIN;
}

/* The way is not clear; ret: what that came to last. */
static int
give_up(const DB_MPOOL *p, const char *name, enum entered how, int ret)
{
	if (how == NO_ROW) {
		env_err(p->dbenv, "%s: the pool's table of %u files is full of files in use", name,
		    p->g.nrows);
		return ENFILE;
	}
	if (how == NO_RECORD) {
		env_err(
		    p->dbenv, "%s: the pool's table of %u open files is full", name, p->g.nopens);
		return ENFILE;
	}
	env_err(p->dbenv,
	    how == BURY_FIRST ?
		"%s: pages from before it was removed cannot leave the pool (of %u files)" :
		"%s: its pages cannot leave the pool to be read with another page size (row of %u)",
	    name, p->g.nrows);
	/* a row whose number is not its own is expelled in vain, without an error */
	return ret != 0 ? ret : EIO;
}

int
file_enter(struct thread *t, const struct file_spec *spec, struct file_row **rowp, uint32_t *idp,
    struct open_record **recordp)
{
	DB_MPOOL *p = t->pool;
	enum entered how = ENTERED;
	struct file_row *row;
	const char *name = spec->path != NULL ? spec->path : "(temporary)";
	char why[WHY_BYTES] = "cannot be entered in the pool's file table";
	uint32_t id = 0;
	int ret;

	for (int tries = 0; tries < ENTER_TRIES; tries++) {
		region_lock(p);
		ret = enter_locked(p, spec, &row, recordp, &how, why);
		if (ret == 0 && row != NULL)
			id = row->id;
		region_unlock(p);
		if (ret != 0) {
			env_err(p->dbenv, "%s: %s", name, why);
			return ret;
		}
		if (how == ENTERED) {
			*rowp = row;
			*idp = id;
			return tell_mount(t, spec, row, *recordp, name);
		}
		ret = clear_way(t, row, id, how);
		if (ret != 0 && ret != EBUSY)
			break;
	}
	if (how == WAIT_FOR_SOFT) {
		(void)and_seq(&row->flags, ~ROW_WANTED);
		env_err(p->dbenv, "%s: %s (by a mount)", name, why);
		return EINVAL;
	}
	return give_up(p, name, how, ret);
}
