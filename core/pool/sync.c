/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/sync.c - writing on request: memp_fsync, memp_sync, memp_trickle, and the mount's fsync.
 *
 * A file's dirty pages are listed through its dirty index, sorted, and written in rounds: a page
 * that somebody else is writing or looking at when we come is waited for and listed again, since
 * "clean" can mean "on its way" (P14).  Then, where asked for, fsync(2) of the file by a
 * descriptor of our own.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "dirty.h"
#include "file.h"
#include "frame.h"
#include "policy.h"
#include "thread.h"
#include "writeback.h"

#define ROUNDS 200
#define LOOK_ROUNDS 8 /* between looks at who truncates the file */

struct entry {
	uint64_t key;
	uint32_t f;
};

struct dirty_pages {
	struct entry *e;
	size_t n;
	size_t room;
};

static int
by_key(const void *a, const void *b)
{
	uint64_t x = ((const struct entry *)a)->key, y = ((const struct entry *)b)->key;

	return x < y ? -1 : x > y;
}

static int
pages_add(struct dirty_pages *l, DB_MPOOL *p, const uint32_t *frames, unsigned n)
{
	if (l->n + n > l->room) {
		size_t room = (l->n + n) * 2;
		struct entry *e = realloc(l->e, room * sizeof(*e));

		if (e == NULL)
			return ENOMEM;
		l->e = e;
		l->room = room;
	}
	for (unsigned i = 0; i < n; i++)
		l->e[l->n++] =
		    (struct entry){ load_acquire(&frame_at(p, frames[i])->key), frames[i] };
	return 0;
}

static int
pages_list(struct thread *t, struct file_row *row, uint32_t id, struct dirty_pages *l)
{
	uint32_t from = 0, frames[BATCH];
	unsigned n;
	int ret;

	l->n = 0;
	while ((n = dirty_list(t, row, id, &from, frames, BATCH)) > 0)
		if ((ret = pages_add(l, t->pool, frames, n)) != 0)
			return ret;
	if (l->n > 1)
		qsort(l->e, l->n, sizeof(*l->e), by_key);
	return 0;
}

/* Does the page's LSN say that it need not be written for upto? */
static bool
is_later(struct thread *t, const struct file_row *row, uint32_t f, const DB_LSN *upto)
{
	int32_t at = row->lsn_offset;
	unsigned shift = load_relaxed(&row->pageshift);
	DB_LSN lsn;

	if (upto == NULL || at < 0 || shift > PAGE_SHIFT_MAX ||
	    (size_t)at + sizeof(lsn) > (size_t)1 << shift || !frame_fits(t->pool, f, shift))
		return false;
	memcpy(&lsn, (uint8_t *)frame_address(t->pool, f, shift) + at, sizeof(lsn));
	return lsn.file != upto->file ? lsn.file > upto->file : lsn.offset > upto->offset;
}

/* One round over the list; *waitp: a frame that is in another's hands, NO_FRAME if none. */
static void
write_round(struct thread *t, struct file_row *row, struct dirty_pages *l, enum write_flags flags,
    const DB_LSN *upto, struct write_result *res, uint32_t *waitp)
{
	uint32_t batch[BATCH];
	unsigned n = 0;

	*waitp = NO_FRAME;
	for (size_t i = 0; i < l->n; i++) {
		uint64_t w = load_seq(&frame_at(t->pool, l->e[i].f)->word);

		if (fw_state(w) == FRAME_WRITING || fw_state(w) == FRAME_COPYING ||
		    (fw_state(w) == FRAME_EVICTING && (w & FW_DIRTY)))
			*waitp = l->e[i].f;
		else if ((w & FW_DIRTY) && !is_later(t, row, l->e[i].f, upto))
			batch[n++] = l->e[i].f;
		if (n == BATCH || (n > 0 && i + 1 == l->n)) {
			write_frames(t, batch, n, flags, res);
			n = 0;
		}
	}
	if (n > 0)
		write_frames(t, batch, n, flags, res);
}

/*
 * P18: a write is waited for.  A proposal is not, beyond one wait: its owner may be stopped, and
 * will find it cancelled.
 */
static void
wait_or_cancel(struct thread *t, uint32_t f)
{
	const struct frame *fr = frame_at(t->pool, f);
	uint64_t w = load_seq(&fr->word);

	frame_wait(t, f, w);
	if (((load_seq(&fr->word) ^ w) & (FW_STATE | FW_OWNER | FW_VERSION)) == 0)
		(void)frame_cancel(t->pool, f);
}

void
write_file(struct thread *t, struct file_row *row, uint32_t id, enum write_flags flags,
    const DB_LSN *upto, struct write_result *res)
{
	struct dirty_pages l = { 0 };
	uint64_t pinned = res->pinned, missed = res->missed;
	uint32_t wait = NO_FRAME;
	unsigned unnoted = 0;
	int ret = 0;

	for (int round = 0; round < ROUNDS; round += wait == NO_FRAME) {
		res->pinned = pinned;
		res->missed = missed;
		if ((ret = pages_list(t, row, id, &l)) != 0)
			break;
		write_round(t, row, &l, flags, upto, res, &wait);
		if ((res->missed == missed && wait == NO_FRAME) || res->error != 0)
			break;
		if (!pool_is_usable(t->pool)) {
			res->missed++;
			break;
		}
		if (wait != NO_FRAME) {
			wait_or_cancel(t, wait);
			continue;
		}
		os_sleep_usec(round < 20 ? 20 : 2000);
		if (round >= 20 && round % LOOK_ROUNDS == 0)
			file_truncate_look(t, row, &unnoted);
	}
	free(l.e);
	if (ret != 0 && res->error == 0)
		res->error = ret;
	dirty_tidy(t, row, id);
}

void
write_some(struct thread *t, struct file_row *row, uint32_t id, uint64_t most,
    enum write_flags flags, struct write_result *res)
{
	struct dirty_pages l = { 0 };
	uint32_t batch[BATCH];
	unsigned n = 0;

	if (pages_list(t, row, id, &l) != 0)
		l.n = 0;
	for (size_t i = 0; i < l.n && most > 0; i++) {
		uint64_t w = load_seq(&frame_at(t->pool, l.e[i].f)->word);

		if (fw_state(w) != FRAME_VALID || !(w & FW_DIRTY) ||
		    ((flags & WRITE_COLD) && !policy_is_cold(t->pool, l.e[i].f)))
			continue;
		batch[n++] = l.e[i].f;
		most--;
		if (n == BATCH) {
			write_frames(t, batch, n, flags, res);
			n = 0;
		}
	}
	if (n > 0)
		write_frames(t, batch, n, flags, res);
	free(l.e);
	dirty_tidy(t, row, id);
}

/* --- fsync(2) ------------------------------------------------------------------------------ */

/* What had been counted when a sync began is on disk. */
static void
synced_up_to(uint32_t *synced, uint32_t n)
{
	uint32_t now = load_seq(synced);

	while ((int32_t)(n - now) > 0 && !cas_seq(synced, &now, n))
		continue;
}

int
file_fsync(struct thread *t, struct file_row *row, uint32_t id, int fd)
{
	uint32_t written;
	int ret;

	if ((ret = file_grow_disk(t, row, id, fd)) != 0)
		return ret;
	written = load_seq(&row->written);
	if ((ret = os_fsync(fd)) == 0) {
		synced_up_to(&row->synced, written);
		if (load_relaxed(&row->flags) & ROW_UNSYNCED)
			(void)and_seq(&row->flags, ~ROW_UNSYNCED);
		file_is_well(row);
	} else {
		(void)or_seq(&row->flags, ROW_UNSYNCED);
		file_set_error(row, ret);
	}
	return ret;
}

/* An error is the file's own, and said once to each handle. */
static int
report(DB_MPOOLFILE *mpf, const struct write_result *res, int ret)
{
	int old = mpool_file_error(mpf);

	if (res->error != 0 || ret != 0)
		return res->error != 0 ? (old != 0 ? old : res->error) : ret;
	return old;
}

int
memp_fsync(DB_MPOOLFILE *mpf)
{
	struct write_result res = { 0 };
	struct thread *t;
	int ret;

	if (mpf == NULL)
		return EINVAL;
	if ((ret = enter(mpf->pool, &t)) != 0 || mpf->rdonly || mpf->temporary)
		return ret;
	write_file(t, mpf->row, mpf->file, WRITE_SAY, NULL, &res);
	ret = file_fsync(t, mpf->row, mpf->file, mpf->fd);
	if ((ret = report(mpf, &res, ret)) != 0)
		return ret;
	return res.pinned + res.missed > 0 ? DB_INCOMPLETE : 0;
}

/* What a handle that cannot write has to bring to disk: a length that only the pool has. */
static int
sync_read_only(struct thread *t, DB_MPOOLFILE *mpf, bool write_only)
{
	struct file_fd ffd;
	int ret;

	if (load_seq(&mpf->row->length) == load_relaxed(&mpf->row->disk_size))
		return write_only ? 0 : os_fsync(mpf->fd);
	if ((ret = file_fd_get(t, mpf->row, mpf->file, &ffd)) != 0) {
		if (ffd.gone)
			return 0;
		env_err(t->pool->dbenv, "file %u: its length cannot be written by this process: %s",
		    mpf->file, db_strerror(ret));
		return EIO;
	}
	ret = write_only ? file_grow_disk(t, mpf->row, mpf->file, ffd.fd) :
			   file_fsync(t, mpf->row, mpf->file, ffd.fd);
	file_fd_put(t->pool, mpf->file, &ffd);
	return ret;
}

int
mpool_file_sync(DB_MPOOLFILE *mpf, bool write_only)
{
	struct write_result res = { 0 };
	struct thread *t;
	int ret;

	if ((ret = enter(mpf->pool, &t)) != 0)
		return ret;
	write_file(t, mpf->row, mpf->file, WRITE_PINNED | WRITE_SAY, NULL, &res);
	ret = mpf->rdonly ? sync_read_only(t, mpf, write_only) :
	    write_only	  ? file_grow_disk(t, mpf->row, mpf->file, mpf->fd) :
			    file_fsync(t, mpf->row, mpf->file, mpf->fd);
	if ((ret = report(mpf, &res, ret)) != 0)
		return ret;
	return res.missed > 0 ? EIO : 0;
}

/* --- the whole pool ------------------------------------------------------------------------ */

/* Files that left the table unsynced are somewhere on the home's file system. */
static int
sync_the_left(DB_MPOOL *p)
{
	uint32_t left = load_seq(&p->mp->left);
	int fd, ret;

	if (left == load_seq(&p->mp->left_synced) || p->place.home == NULL)
		return 0;
	if ((ret = os_open(p->place.home, O_RDONLY | O_DIRECTORY, 0, &fd)) != 0)
		return ret;
	if ((ret = os_syncfs(fd)) == 0)
		synced_up_to(&p->mp->left_synced, left);
	os_close(fd);
	return ret;
}

static void
sync_row(struct thread *t, struct file_row *row, uint32_t id, struct write_result *res)
{
	struct file_fd ffd;
	int ret;

	if ((row->flags & ROW_TEMP) ||
	    (load_seq(&row->written) == load_seq(&row->synced) &&
		load_seq(&row->length) == load_relaxed(&row->disk_size)))
		return;
	if ((ret = file_fd_get(t, row, id, &ffd)) == 0) {
		ret = file_fsync(t, row, id, ffd.fd);
		if (load_acquire(&row->id) != id)
			ret = 0; /* forgotten just now */
		file_fd_put(t->pool, id, &ffd);
	} else if (ffd.gone || ret == EXDEV || load_acquire(&row->id) != id) {
		ret = 0; /* nobody's any more, or others' to sync */
	} else if (load_seq(&row->groups) != 0 ||
	    load_seq(&row->length) != load_relaxed(&row->disk_size)) {
		ret = EIO;
	} else if (ret == ENOENT || ret == ESTALE) {
		ret = 0; /* its name is gone, but the file has all that the pool has */
	} else if (file_is_at_home(t->pool, row)) {
		(void)add_seq(&t->pool->mp->left, 1); /* written, by who may write it */
		ret = 0;
	} else
		ret = EIO;
	if (ret != 0 && res->error == 0)
		res->error = ret;
}

void
pool_write_all(struct thread *t, enum write_flags flags, const DB_LSN *upto, bool sync,
    struct write_result *res)
{
	DB_MPOOL *p = t->pool;
	int ret;

	for (uint32_t r = 0; r < rows_used(p); r++) {
		struct file_row *row = &p->rows[r];
		uint32_t id = load_acquire(&row->id);
		struct write_result one = { 0 };

		if (id == 0)
			continue;
		if (load_seq(&row->groups) != 0 && !(row->flags & ROW_TEMP))
			write_file(t, row, id, flags, upto, &one);
		if (sync && load_acquire(&row->id) == id) /* else it was forgotten just now */
			sync_row(t, row, id, &one);
		res->written += one.written;
		res->pinned += one.pinned;
		res->missed += one.missed;
		if (res->error == 0)
			res->error = one.error;
		if (one.largest.file > res->largest.file ||
		    (one.largest.file == res->largest.file &&
			one.largest.offset > res->largest.offset))
			res->largest = one.largest;
	}
	if (sync && (ret = sync_the_left(p)) != 0 && res->error == 0)
		res->error = ret;
}

/*
 * A write error of a file that is open here and whose handle was not told yet.  The mount keeps
 * its own for those who have the file open there.
 */
static int
untold_error(DB_MPOOL *p)
{
	int ret = 0, one;

	pthread_mutex_lock(&p->files_mutex);
	for (DB_MPOOLFILE *mpf = p->files; mpf != NULL; mpf = mpf->next)
		if (!mpf->temporary && !mpf->soft && (one = mpool_file_error(mpf)) != 0 && ret == 0)
			ret = one;
	pthread_mutex_unlock(&p->files_mutex);
	return ret;
}

int
memp_sync(DB_MPOOL *p, DB_LSN *lsn)
{
	struct write_result res = { 0 };
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if (lsn != NULL && (p->dbenv == NULL || p->dbenv->lg_flush == NULL)) {
		env_err(p->dbenv, "memp_sync: an LSN is given, but the environment has no log");
		return EINVAL;
	}
	pool_write_all(t, WRITE_SAY, lsn, true, &res);
	file_fd_sweep(p);
	if ((ret = untold_error(p)) != 0 || (ret = res.error) != 0)
		return ret;
	if (res.pinned + res.missed > 0)
		return DB_INCOMPLETE;
	if (lsn != NULL)
		*lsn = res.largest;
	return 0;
}

int
memp_trickle(DB_MPOOL *p, int pct, int *nwrotep)
{
	struct write_result res = { 0 };
	uint64_t resident, dirty, want;
	uint32_t frames[BATCH], from;
	struct thread *t;
	unsigned n;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if (pct < 1 || pct > 100) {
		env_err(p->dbenv, "memp_trickle: %d per cent: 1 to 100", pct);
		return EINVAL;
	}
	pool_pages(p, &resident, &dirty);
	want = resident * (uint64_t)(100 - pct) / 100;
	want = dirty > want ? dirty - want : 0;
	for (uint32_t r = 0; r < rows_used(p) && res.written < want; r++) {
		struct file_row *row = &p->rows[r];
		uint32_t id = load_acquire(&row->id);

		from = 0;
		while (id != 0 && !(row->flags & ROW_TEMP) && res.written < want &&
		    (n = dirty_list(t, row, id, &from, frames,
			 want - res.written < BATCH ? (unsigned)(want - res.written) : BATCH)) > 0)
			write_frames(t, frames, n, WRITE_TRICKLE | WRITE_SAY, &res);
	}
	file_fd_sweep(p);
	if (res.written == 0 && res.error != 0)
		return res.error;
	if (nwrotep != NULL)
		*nwrotep = (int)res.written;
	return 0;
}

int
mpool_write_old(DB_MPOOL *p, uint64_t usec, uint64_t *nwrotep)
{
	struct write_result res = { 0 };
	uint64_t now = os_now_usec(), since;
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	for (uint32_t r = 0; r < rows_used(p); r++) {
		struct file_row *row = &p->rows[r];
		uint32_t id = load_acquire(&row->id);
		struct write_result one = { 0 };

		since = load_relaxed(&row->dirty_usec);
		if (since == 0 && load_seq(&row->groups) != 0)
			store_relaxed(&row->dirty_usec, since = now);
		if (id == 0 || since == 0 || (now > since ? now - since : 0) < usec ||
		    (row->flags & ROW_TEMP))
			continue;
		/* waits for nobody, who may be stopped (P18) */
		write_some(t, row, id, UINT64_MAX, 0, &one);
		if (load_relaxed(&row->dirty_usec) == since)
			store_relaxed(&row->dirty_usec, now);
		res.written += one.written;
	}
	file_fd_sweep(p);
	*nwrotep = res.written;
	return 0;
}
