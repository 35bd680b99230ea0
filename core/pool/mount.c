/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/mount.c - what the filesystem asks of a file or of the pool beyond the published calls.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "dirty.h"
#include "file.h"
#include "format.h"
#include "tally.h"
#include "thread.h"
#include "vouch.h"

int
memp_fsize(DB_MPOOLFILE *mpf, off_t *bytesp)
{
	struct thread *t;
	int ret;

	if (mpf == NULL || bytesp == NULL)
		return EINVAL;
	if ((ret = enter(mpf->pool, &t)) == 0)
		*bytesp = (off_t)load_seq(&mpf->row->length);
	return ret;
}

int
mpool_file_fd(const DB_MPOOLFILE *mpf)
{
	return mpf->fd;
}

size_t
mpool_file_pagesize(const DB_MPOOLFILE *mpf)
{
	return mpf->pagesize;
}

uint64_t
mpool_file_cuts(const DB_MPOOLFILE *mpf)
{
	return load_seq(&mpf->row->cuts);
}

int
mpool_file_revalidate(DB_MPOOLFILE *mpf)
{
	struct thread *t;
	int ret = enter(mpf->pool, &t);

	return ret != 0 ? ret : file_revalidate(t, mpf);
}

uint32_t
mpool_file_disk_taken(const DB_MPOOLFILE *mpf)
{
	return load_seq(&mpf->disk_taken);
}

void
mpool_file_restamp(DB_MPOOLFILE *mpf)
{
	struct os_stat st;

	if (mpf->fd != -1 && os_fstat(mpf->fd, &st) == 0)
		file_stamp(mpf->row, &st);
}

bool
mpool_file_wanted(const DB_MPOOLFILE *mpf)
{
	return (load_relaxed(&mpf->row->flags) & ROW_WANTED) != 0;
}

bool
mpool_any_wanted(DB_MPOOL *p)
{
	for (uint32_t r = 0; r < rows_used(p); r++)
		if (load_relaxed(&p->rows[r].flags) & ROW_WANTED)
			return true;
	return false;
}

bool
mpool_file_is_alone(const DB_MPOOLFILE *mpf)
{
	return load_relaxed(&mpf->row->opens) == 1;
}

size_t
mpool_rows(const DB_MPOOL *p)
{
	return p->g.nrows;
}

void
mpool_file_note_ahead(DB_MPOOLFILE *mpf, bool ahead)
{
	if (ahead == mpool_file_is_ahead(mpf))
		return;
	if (ahead)
		(void)or_seq(&mpf->row->flags, ROW_AHEAD);
	else
		(void)and_seq(&mpf->row->flags, ~ROW_AHEAD);
}

bool
mpool_file_is_ahead(const DB_MPOOLFILE *mpf)
{
	return (load_relaxed(&mpf->row->flags) & ROW_AHEAD) != 0;
}

bool
mpool_any_leaving(const DB_MPOOL *p)
{
	for (uint32_t r = 0; r < rows_used(p); r++) {
		const struct file_row *row = &p->rows[r];

		if (load_acquire(&row->id) != 0 && load_relaxed(&row->opens) == 0 &&
		    load_relaxed(&row->stranded) == 0 && load_seq(&row->error) == 0)
			return true;
	}
	return false;
}

int
mpool_file_type(const DB_MPOOLFILE *mpf)
{
	return mpf->ftype;
}

size_t
mpool_region_max(size_t bytes, size_t most, size_t pagesize)
{
	return most > bytes ?
	    (size_t)format_region_max(bytes, most, (unsigned)__builtin_ctzll(pagesize)) :
	    0;
}

void
mpool_file_set_mtime(DB_MPOOLFILE *mpf, int64_t nsec)
{
	/* what does not fit is the disk file's to say */
	store_relaxed(&mpf->row->mtime_nsec, nsec == INT64_MAX || nsec == INT64_MIN ? 0 : nsec);
}

int64_t
mpool_file_mtime(const DB_MPOOLFILE *mpf)
{
	return load_relaxed(&mpf->row->mtime_nsec);
}

int
mpool_ident_attr(DB_MPOOL *p, const struct os_ident *id, off_t *bytesp, int64_t *mtimep)
{
	struct file_row *row;
	struct thread *t;
	uint32_t file;
	uint64_t length;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if ((row = file_find(p, id, &file)) == NULL)
		return ENOENT;
	length = load_seq(&row->length);
	if (load_seq(&row->groups) != 0)
		dirty_tidy(t, row, file);
	/*
	 * nothing that the disk file does not have: then the disk file is right, whoever changed
	 * it
	 */
	if (load_seq(&row->groups) == 0 && length == load_relaxed(&row->disk_size))
		return ENOENT;
	*bytesp = (off_t)length;
	*mtimep = load_relaxed(&row->mtime_nsec);
	return 0;
}

void
mpool_ident_gone(DB_MPOOL *p, const struct os_ident *id)
{
	struct file_row *row;
	struct thread *t;
	uint32_t file;

	if (enter(p, &t) != 0 || (row = file_find(p, id, &file)) == NULL)
		return;
	region_lock(p);
	if (row->id == file)
		(void)or_seq(&row->flags, ROW_GONE);
	region_unlock(p);
	/* if somebody has it open, his last handle does it */
	(void)file_bury(t, row, file);
}

/* The path with its beginning `from` replaced by `to`, or NULL if it does not begin so. */
static char *
moved(const char *path, const char *from, const char *to)
{
	size_t n = strlen(from);
	char *out;

	if (strncmp(path, from, n) != 0 || (path[n] != '\0' && path[n] != '/'))
		return NULL;
	out = malloc(strlen(to) + strlen(path + n) + 1);
	if (out != NULL)
		(void)strcat(strcpy(out, to), path + n);
	return out;
}

void
mpool_renamed(DB_MPOOL *p, const char *from, const char *to)
{
	struct thread *t;

	if (enter(p, &t) != 0)
		return;
	for (uint32_t r = 0; r < rows_used(p); r++) {
		struct file_row *row = &p->rows[r];
		uint32_t id = load_acquire(&row->id);
		char *path, *now;

		if (id == 0 || (path = file_path(p, row, id)) == NULL)
			continue;
		if ((now = moved(path, from, to)) != NULL) {
			region_lock(p);
			if (row->id == id)
				file_set_path_locked(p, row, now);
			region_unlock(p);
			file_fd_forget(p, id);
		}
		free(now);
		free(path);
	}
}

int
mpool_confine(DB_MPOOL *p, const char *directory)
{
	char *real = realpath(directory, NULL);
	int ret;

	if (real == NULL)
		return errno;
	if ((ret = vouch_init(p)) == 0 &&
	    (ret = os_open(real, O_PATH | O_DIRECTORY, 0, &p->confined_fd)) == 0)
		p->confined = real;
	else
		free(real);
	return ret;
}

int
mpool_file_hold_end(DB_MPOOLFILE *mpf, off_t *lengthp)
{
	struct thread *t;
	int ret;

	if ((ret = enter(mpf->pool, &t)) != 0 ||
	    (ret = file_trunc_begin(t, mpf->row, mpf->file)) != 0)
		return ret;
	*lengthp = (off_t)load_seq(&mpf->row->length);
	return 0;
}

void
mpool_file_let_end(DB_MPOOLFILE *mpf)
{
	struct thread *t;

	if (thread_self(mpf->pool, &t) == 0)
		file_trunc_end(t, mpf->row);
}

int
mpool_file_write_begin(DB_MPOOLFILE *mpf)
{
	return region_write_begin(mpf->pool->region);
}

void
mpool_file_write_end(DB_MPOOLFILE *mpf)
{
	region_write_end(mpf->pool->region);
}

struct region *
mpool_region(DB_MPOOL *p)
{
	return p->region;
}

uint64_t
mpool_client_pins(DB_MPOOL *p, uint32_t number)
{
	uint32_t used = load_acquire(&p->mp->blocks_used);
	uint64_t n = 0;

	for (uint32_t i = 0; i < used && i < p->g.nblocks; i++)
		if (load_acquire(&p->blocks[i].owner) == number + 1)
			for (unsigned k = 0; k < BLOCK_SLOTS; k++)
				n += load_relaxed(&p->blocks[i].slots[k]) != 0;
	return n;
}
