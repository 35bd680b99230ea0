/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/file_error.c - making files durable, and who is told that it failed.
 *
 * A file counts its write errors, and each open handle remembers the count that it was last told
 * (struct handle.error_seen).  Errors come from whatever writes: fsync(2) itself, other calls
 * that need the disk up to date, the closing of the pool's handle, the writer in the background,
 * and other processes, whose failures the pool counts for its handle (mpool_file_error).  All of
 * them end up in file_note_error, so that it does not matter who meets with a failure first.
 *
 * Pages that could not be written stay dirty in the pool: an fsync(2) that tells of an error may
 * have written everything.
 */
#include "file_idle.h"
#include "state.h"

void
file_note_error(struct file *f, int error)
{
	if (error <= 0)
		return;
	(void)pthread_mutex_lock(&f->error_lock);
	f->error = error;
	f->error_number++;
	(void)pthread_mutex_unlock(&f->error_lock);
}

/* What others, or the writer in the background, have met with. */
static void
note_pool_error(struct file *f)
{
	if (f->mpf != NULL)
		file_note_error(f, mpool_file_error(f->mpf));
}

int
file_write_out(struct file *f, bool write_only)
{
	int err;

	/* what has failed before, and may be good by now, is not this write's error */
	note_pool_error(f);
	err = mpool_file_sync(f->mpf, write_only);
	/* pages of a type that is not known here are not ours to write */
	if (mpool_file_type(f->mpf) == 0)
		file_note_error(f, err);
	return err;
}

static int
untold_error(struct file *f, struct handle *h, bool tell)
{
	int err = 0;

	(void)pthread_mutex_lock(&f->error_lock);
	if (h->error_seen != f->error_number)
		err = f->error;
	if (tell)
		h->error_seen = f->error_told = f->error_number;
	(void)pthread_mutex_unlock(&f->error_lock);
	return err;
}

int
file_write_out_for(struct file *f, struct handle *h, bool write_only)
{
	int err = file_write_out(f, write_only), untold = untold_error(f, h, true);

	return err != 0 ? err : untold;
}

int
file_sync(struct fs *fs, struct handle *h)
{
	struct file *f;
	int err;

	if ((err = file_get(fs, h->node, false, &f)) != 0)
		return err;
	err = file_write_out_for(f, h, false);
	file_put(fs, f);
	return err;
}

/*
 * It comes for each descriptor that is closed, those that a child has inherited too: whoever
 * fsyncs has to hear of it still.
 */
int
file_peek_error(struct fs *fs, struct handle *h)
{
	struct file *f = h->node->file;
	int err;

	(void)pthread_rwlock_rdlock(&f->state);
	note_pool_error(f);
	err = untold_error(f, h, false);
	file_let_go(fs, f);
	return err;
}
