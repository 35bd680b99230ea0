/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/file.c - the file table: who a file is, what is known of it, who has it open.
 *
 * A row is found by device, inode and birth time, or by the caller's uid; its id (32 bits, never
 * used twice) is what frames and handles name.  Rows, hash chains, open records and the heap with
 * paths and cookies are guarded by the region lock; its next holder rebuilds chains and counts if
 * the last one died inside.  length, trunc, the dirty words and the totals are atomic words of
 * their own.
 *
 * A row outlives its handles, since its pages do.  When rows run out, files that nobody has open
 * are written, dropped and forgotten.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../base/os_path.h"
#include "extent.h"
#include "file.h"
#include "point.h"
#include "thread.h"
#include "writeback.h"

/* --- the lock ------------------------------------------------------------------------------ */

void
region_lock(DB_MPOOL *p)
{
	if (shlock_lock_counted(p->region, &p->region->layout->lock) == EOWNERDEAD)
		file_repair_locked(p);
}

void
region_unlock(DB_MPOOL *p)
{
	shlock_unlock_counted(p->region, &p->region->layout->lock);
}

static uint32_t
no_more_than(uint32_t n, uint32_t most)
{
	return n < most ? n : most;
}

uint32_t
rows_used(const DB_MPOOL *p)
{
	return no_more_than(load_acquire(&p->mp->rows_used), p->g.nrows);
}

uint32_t
opens_used(const DB_MPOOL *p)
{
	return no_more_than(load_acquire(&p->mp->opens_used), p->g.nopens);
}

/* Entry r of a table is taken: the lowest free one is behind it, the high-water mark too. */
void
file_entry_taken(uint32_t r, uint32_t *freep, uint32_t *usedp)
{
	*freep = r + 1;
	if (load_relaxed(usedp) < r + 1)
		store_release(usedp, r + 1);
}

/* Not by the birth, which not everybody knows of a file. */
static uint32_t
hash_ident(const DB_MPOOL *p, uint64_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ dev << 40) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 32) & (p->g.nhash - 1);
}

static void
chain_add(DB_MPOOL *p, uint32_t r)
{
	struct file_row *row = &p->rows[r];
	uint32_t h = hash_ident(p, row->dev, row->ino);

	row->next = p->hash[h];
	p->hash[h] = r + 1;
}

static void
chain_remove(DB_MPOOL *p, uint32_t r)
{
	struct file_row *row = &p->rows[r];
	uint32_t *link = &p->hash[hash_ident(p, row->dev, row->ino)];

	for (uint32_t n = 0; *link != 0 && *link <= p->g.nrows && n < p->g.nrows; n++) {
		if (*link == r + 1) {
			*link = row->next;
			return;
		}
		link = &p->rows[*link - 1].next;
	}
}

static int
by_offset(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

size_t
file_heap_places(const DB_MPOOL *p, uint64_t *places)
{
	size_t n = 0;

	for (uint32_t r = 0; r < rows_used(p); r++) {
		const struct file_row *row = &p->rows[r];

		if (load_acquire(&row->id) == 0)
			continue;
		if (row->path_bytes != 0)
			places[n++] = row->path;
		if (row->cookie_bytes != 0)
			places[n++] = row->cookie;
		if (row->handle_bytes != 0)
			places[n++] = row->handle;
	}
	return n;
}

/* What no row has in the heap is nobody's.  Without memory for a list it stays, until next time. */
static void
heap_repair(DB_MPOOL *p)
{
	uint64_t *places;
	size_t n;

	if (os_calloc((size_t)rows_used(p) + 1, HEAP_PLACES * sizeof(*places), (void **)&places) !=
	    0) {
		(void)shalloc_repair(p->heap, p->g.heap_bytes);
		return;
	}
	n = file_heap_places(p, places);
	qsort(places, n, sizeof(*places), by_offset);
	(void)shalloc_keep(p->heap, p->g.heap_bytes, places, n);
	free(places);
}

/* Behind the last row that is a file's, and the last record that is somebody's. */
static uint32_t
rows_in_use(const DB_MPOOL *p)
{
	uint32_t n = p->g.nrows;

	while (n > 0 && p->rows[n - 1].id == 0)
		n--;
	return n;
}

static uint32_t
opens_in_use(const DB_MPOOL *p)
{
	uint32_t n = p->g.nopens;

	while (n > 0 && p->opens[n - 1].owner == 0)
		n--;
	return n;
}

/* After a death under the lock: everything it guards, from the rows and the open records. */
void
file_repair_locked(DB_MPOOL *p)
{
	uint32_t rows = rows_in_use(p), opens = opens_in_use(p);

	memset(p->hash, 0, p->g.nhash * sizeof(uint32_t));
	for (uint32_t r = 0; r < rows; r++) {
		p->rows[r].opens = 0;
		if (p->rows[r].id != 0)
			chain_add(p, r);
	}
	p->mp->free_row = p->mp->free_open = 0;
	store_release(&p->mp->rows_used, rows);
	store_release(&p->mp->opens_used, opens);
	POOL_POINT(POINT_COUNTING);
	for (uint32_t i = 0; i < opens; i++)
		if (p->opens[i].owner != 0 && p->opens[i].row < p->g.nrows)
			p->rows[p->opens[i].row].opens++;
	heap_repair(p);
}

/* --- looking up ---------------------------------------------------------------------------- */

struct file_row *
file_row(const DB_MPOOL *p, uint32_t id)
{
	struct file_row *row = &p->rows[id % p->g.nrows];

	return id != 0 && load_acquire(&row->id) == id ? row : NULL;
}

/* Of a file that was not opened, the birth is not known where there are none. */
bool
file_has_ident(const struct file_row *row, const struct os_ident *id)
{
	return row->dev == id->dev && row->ino == id->ino &&
	    os_births_agree(row->btime_nsec, id->btime_nsec);
}

struct file_row *
file_find_ident(DB_MPOOL *p, const struct os_ident *id)
{
	uint32_t r = p->hash[hash_ident(p, id->dev, id->ino)];

	for (uint32_t n = 0; r != 0 && r <= p->g.nrows && n < p->g.nrows; n++) {
		struct file_row *row = &p->rows[r - 1];

		if (row->id != 0 && !(row->flags & ROW_TEMP) && file_has_ident(row, id))
			return row;
		r = row->next;
	}
	return NULL;
}

struct file_row *
file_find_uid(DB_MPOOL *p, const u_int8_t *uid)
{
	for (uint32_t r = 0; r < rows_used(p); r++)
		if (p->rows[r].id != 0 && (p->rows[r].flags & (ROW_UID | ROW_TEMP)) == ROW_UID &&
		    memcmp(p->rows[r].uid, uid, DB_FILE_ID_LEN) == 0)
			return &p->rows[r];
	return NULL;
}

struct file_row *
file_find(DB_MPOOL *p, const struct os_ident *id, uint32_t *idp)
{
	struct file_row *row;

	region_lock(p);
	row = file_find_ident(p, id);
	if (row != NULL)
		*idp = row->id;
	region_unlock(p);
	return row;
}

/* bytes at off in the heap, if that is a chunk of at least so many. */
const void *
file_heap_at(DB_MPOOL *p, roff_t off, uint32_t bytes)
{
	size_t len;

	if (bytes == 0 || shalloc_size(p->heap, p->g.heap_bytes, off, &len) != 0 || len < bytes)
		return NULL;
	return p->heap + off;
}

static void *
heap_copy(DB_MPOOL *p, roff_t off, uint32_t bytes)
{
	const void *from = file_heap_at(p, off, bytes);
	void *copy = from != NULL ? malloc((size_t)bytes + 1) : NULL;

	if (copy != NULL) {
		memcpy(copy, from, bytes);
		((char *)copy)[bytes] = '\0';
	}
	return copy;
}

char *
file_path(DB_MPOOL *p, const struct file_row *row, uint32_t id)
{
	char *path = NULL;

	region_lock(p);
	if (row->id == id)
		path = heap_copy(p, row->path, row->path_bytes);
	region_unlock(p);
	return path;
}

bool
file_handle(DB_MPOOL *p, const struct file_row *row, uint32_t id, struct os_handle *h)
{
	const void *from = NULL;
	uint32_t bytes;

	region_lock(p);
	bytes = row->handle_bytes;
	if (row->id == id && bytes <= sizeof(h->data) &&
	    (from = file_heap_at(p, row->handle, bytes)) != NULL) {
		memcpy(h->data, from, bytes);
		h->bytes = bytes;
		h->type = row->handle_type;
	}
	region_unlock(p);
	return from != NULL;
}

int
file_cookie(DB_MPOOL *p, const struct file_row *row, uint32_t id, DBT *copy)
{
	int ret = 0;

	memset(copy, 0, sizeof(*copy));
	region_lock(p);
	if (row->id != id)
		ret = ENOENT;
	else if (row->cookie_bytes > 0) {
		copy->data = heap_copy(p, row->cookie, row->cookie_bytes);
		copy->size = row->cookie_bytes;
		ret = copy->data == NULL ? ENOMEM : 0;
	}
	region_unlock(p);
	return ret;
}

/* --- rows ---------------------------------------------------------------------------------- */

/* Copy bytes into the heap; *bytesp is set last. */
static int
heap_store(DB_MPOOL *p, const void *data, size_t bytes, roff_t *offp, uint32_t *bytesp)
{
	uint64_t off;
	int ret;

	*bytesp = 0;
	if (bytes == 0)
		return 0;
	if ((ret = shalloc(p->heap, p->g.heap_bytes, bytes, 8, &off)) != 0)
		return ret;
	memcpy(p->heap + off, data, bytes);
	*offp = off;
	store_release(bytesp, (uint32_t)bytes);
	return 0;
}

/* Forgotten first: a row must not name what may be another's a moment later. */
static void
heap_drop(DB_MPOOL *p, roff_t off, uint32_t *bytesp)
{
	uint32_t bytes = *bytesp;

	store_release(bytesp, 0);
	if (bytes != 0)
		(void)shalloc_free(p->heap, p->g.heap_bytes, off);
}

/* A path that does not fit is left out: the file is then written by those who have it open. */
void
file_set_path_locked(DB_MPOOL *p, struct file_row *row, const char *path)
{
	heap_drop(p, row->path, &row->path_bytes);
	if (path != NULL)
		(void)heap_store(p, path, strlen(path) + 1, &row->path, &row->path_bytes);
}

/* The name that it was opened by last leads to it; the one before may not, any more. */
void
file_rename_locked(DB_MPOOL *p, struct file_row *row, const char *path)
{
	char *old = heap_copy(p, row->path, row->path_bytes);

	if (path != NULL && (old == NULL || strcmp(old, path) != 0))
		file_set_path_locked(p, row, path);
	free(old);
}

void
file_stamp(struct file_row *row, const struct os_stat *st)
{
	store_seq(&row->disk_size, st->size);
	store_seq(&row->disk_mtime, st->mtime_nsec);
	store_seq(&row->disk_ctime, st->ctime_nsec);
}

bool
file_stamp_is(const struct file_row *row, const struct os_stat *st)
{
	return load_relaxed(&row->disk_size) == st->size &&
	    load_relaxed(&row->disk_mtime) == st->mtime_nsec &&
	    load_relaxed(&row->disk_ctime) == st->ctime_nsec;
}

struct file_row *
file_row_take(DB_MPOOL *p)
{
	for (uint32_t r = p->mp->free_row; r < p->g.nrows; r++)
		if (p->rows[r].id == 0 && p->rows[r].ids < UINT32_MAX / p->g.nrows - 1) {
			file_entry_taken(r, &p->mp->free_row, &p->mp->rows_used);
			return &p->rows[r];
		}
	p->mp->free_row = p->g.nrows;
	return NULL;
}

/* Fill in a free row; the id is stored last. */
int
file_row_fill(DB_MPOOL *p, struct file_row *row, const struct file_spec *spec)
{
	uint32_t r = (uint32_t)(row - p->rows), ids = row->ids + 1;
	int ret;

	memset(row, 0, sizeof(*row));
	row->ids = ids;
	row->pageshift = spec->pageshift;
	row->ftype = spec->ftype;
	row->lsn_offset = spec->lsn_offset;
	row->length = spec->length;
	if (spec->cookie != NULL && spec->cookie->size > 0 &&
	    (ret = heap_store(
		 p, spec->cookie->data, spec->cookie->size, &row->cookie, &row->cookie_bytes)) != 0)
		return ret;
	if (spec->uid != NULL) {
		memcpy(row->uid, spec->uid, DB_FILE_ID_LEN);
		(void)or_seq(&row->flags, ROW_UID);
	}
	if (spec->ident != NULL) {
		row->dev = spec->ident->dev;
		row->ino = spec->ident->ino;
		row->btime_nsec = spec->ident->btime_nsec;
		file_set_path_locked(p, row, spec->path);
		/* without room it is found by its path */
		(void)heap_store(
		    p, spec->handle->data, spec->handle->bytes, &row->handle, &row->handle_bytes);
		row->handle_type = spec->handle->type;
		file_stamp(row, spec->st);
	} else
		(void)or_seq(&row->flags, ROW_TEMP);
	store_release(&row->id, ids * p->g.nrows + r);
	chain_add(p, r);
	return 0;
}

void
file_row_free(DB_MPOOL *p, struct file_row *row)
{
	uint32_t r = (uint32_t)(row - p->rows);

	chain_remove(p, r);
	store_release(&row->id, 0);
	p->mp->free_row = no_more_than(p->mp->free_row, r);
	heap_drop(p, row->path, &row->path_bytes);
	heap_drop(p, row->cookie, &row->cookie_bytes);
	heap_drop(p, row->handle, &row->handle_bytes);
}

void
file_forget(struct thread *t, struct file_row *row, uint32_t id)
{
	DB_MPOOL *p = t->pool;

	region_lock(p);
	if (row->id == id && row->opens == 0 && load_seq(&row->resident) == 0)
		file_row_free(p, row);
	region_unlock(p);
	file_fd_forget(p, id);
}

bool
file_is_orphan(const struct file_row *row)
{
	return load_acquire(&row->id) != 0 && load_relaxed(&row->opens) == 0 &&
	    (load_relaxed(&row->flags) & (ROW_TEMP | ROW_GONE)) != 0;
}

bool
file_is_at_home(const DB_MPOOL *p, const struct file_row *row)
{
	struct os_stat home;

	return p->place.home != NULL && os_stat(p->place.home, &home) == 0 &&
	    home.ident.dev == load_relaxed(&row->dev);
}

/*
 * Before a row goes: what only the pool knows of the file is its length, and that it was written
 * since it was synced.  A table full of files is synced by the next memp_sync, in one call.
 */
static int
settle_row(struct thread *t, struct file_row *row, uint32_t id)
{
	bool longer = load_seq(&row->length) != load_relaxed(&row->disk_size), at_home;
	struct file_fd ffd;
	int ret = 0;

	if ((row->flags & ROW_TEMP) ||
	    (!longer && load_seq(&row->written) == load_seq(&row->synced)))
		return 0;
	at_home = file_is_at_home(t->pool, row);
	if (longer || !at_home) {
		if (file_fd_get(t, row, id, &ffd) != 0)
			return ffd.gone ? 0 : EIO;
		ret = at_home ? file_grow_disk(t, row, id, ffd.fd) : file_fsync(t, row, id, ffd.fd);
		file_fd_put(t->pool, id, &ffd);
	}
	if (ret == 0 && at_home)
		(void)add_seq(&t->pool->mp->left, 1);
	return ret;
}

/* Write, drop and forget a file that nobody has open.  EIO: something in it cannot be written. */
int
file_expel(struct thread *t, struct file_row *row, uint32_t id)
{
	struct write_result res = { 0 };

	if (load_seq(&row->groups) != 0)
		write_file(t, row, id, 0, NULL, &res);
	if (res.error != 0 || settle_row(t, row, id) != 0 || file_drop_pages(t, id, 0, false) != 0)
		return EIO;
	file_forget(t, row, id);
	return file_row(t->pool, id) == NULL ? 0 : EBUSY;
}

/* Make some rows free again. */
int
file_rows_collect(struct thread *t)
{
	DB_MPOOL *p = t->pool;
	uint32_t freed = 0;

	for (uint32_t k = 0; k < p->g.nrows && freed < 16; k++) {
		struct file_row *row = &p->rows[add_relaxed(&p->mp->gc_row, 1) % p->g.nrows];
		uint32_t id = load_acquire(&row->id);

		if (id != 0 && load_relaxed(&row->opens) == 0 && file_expel(t, row, id) == 0)
			freed++;
	}
	return freed > 0 ? 0 : ENFILE;
}

/* --- what a row says, checked -------------------------------------------------------------- */

unsigned
file_pageshift(DB_MPOOL *p, const struct file_row *row)
{
	uint32_t s = load_relaxed(&row->pageshift);
	unsigned ok = checked_pageshift(p, s);

	if (ok == 0)
		(void)region_panic(p->region, "file %u has page shift %u", row->id, s);
	return ok;
}

void
file_set_error(struct file_row *row, int error)
{
	store_relaxed(&row->error, (uint32_t)error);
	store_relaxed(&row->last_error, (uint32_t)error);
	(void)add_seq(&row->error_seq, 1);
}

void
file_is_well(struct file_row *row)
{
	uint32_t error = load_seq(&row->error);

	if (error != 0 && load_seq(&row->dirty) == 0 && !(load_seq(&row->flags) & ROW_UNSYNCED))
		(void)cas_seq(&row->error, &error, 0);
}

/* --- length -------------------------------------------------------------------------------- */

bool
file_truncating(const struct file_row *row, db_pgno_t pgno, unsigned pageshift)
{
	uint64_t w = load_seq(&row->trunc);

	if (w == 0)
		return false;
	return !(w & TRUNC_ARMED) ||
	    ((uint64_t)pgno + 1) << pageshift > load_seq(&row->trunc_length);
}
