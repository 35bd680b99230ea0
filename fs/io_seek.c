/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/io_seek.c - where a file has holes.
 *
 * The disk knows that, once it has all that was written.  While it may lack something that is not
 * the mount's to write (pages that others have put, stores that the kernel has not written back),
 * the file is shown without holes.
 */
#include <errno.h>
#include <unistd.h>

#include "coherence.h"
#include "io.h"
#include "piece.h"
#include "state.h"

static int
seek_locked(struct fs *fs, struct file *f, uint64_t offset, int whence, off_t *resultp)
{
	off_t length, found;
	int64_t mtime;
	int err;

	if ((err = memp_fsize(f->mpf, &length)) != 0)
		return err;
	if (offset >= (uint64_t)length)
		return ENXIO;
	/* The disk knows where the holes are, once it has all that was written. */
	if (coherence_may_be_stored(f) ||
	    (!f->writable &&
		mpool_ident_attr(fs->pool, &f->node->ident, &found, &mtime) != ENOENT)) {
		/* it lacks what others have put or stored, which is not ours to write: no hole */
		*resultp = whence == SEEK_DATA ? (off_t)offset : length;
		return 0;
	}
	if ((err = file_write_out(f, true)) != 0)
		return err;
	if ((found = lseek(mpool_file_fd(f->mpf), (off_t)offset, whence)) == -1)
		return errno;
	if (found >= length && whence == SEEK_DATA)
		return ENXIO;
	*resultp = found > length ? length : found;
	return 0;
}

int
io_seek(struct fs *fs, struct node *node, uint64_t offset, int whence, off_t *resultp)
{
	struct file *f;
	int err;

	if (offset > INT64_MAX)
		return ENXIO;
	if ((err = file_get_data(fs, node, false, &f)) != 0)
		return err;
	(void)pthread_rwlock_wrlock(&f->io);
	err = seek_locked(fs, f, offset, whence, resultp);
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
	return err;
}
