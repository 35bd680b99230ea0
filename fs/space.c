/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/space.c - blocks on the disk for what the pool has accepted.
 *
 * A full disk is reported by write(2), as everywhere, though the data are written to the disk
 * later: each write first reserves exactly its range with fallocate(2), without changing the
 * length.  A file that grows reserves ahead, as much again as it has, 1 MiB at most, so that
 * small files have no surplus and large ones few calls; what lies behind the end is given back at
 * the last close.  Blocks that programs have reserved there stay until they cut the file, as on the
 * disk: among them nothing is reserved ahead, and nothing given back.  Of those that were reserved
 * in HOME it is known where its filesystem says which blocks a file has (not tmpfs).
 * The range that was reserved last is remembered, as long as writes join it, with the data that the
 * disk has around it.
 *
 * Where fallocate(2) is not supported, or promises nothing because blocks are never written in
 * place, a write goes through to the file before it returns.
 *
 * Holes that fallocate(2) punches are zeroed in the pool, written, and only then punched on the
 * disk, so that pool and disk agree at every moment.
 */
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "coherence.h"
#include "io.h"
#include "state.h"

#define AHEAD_BYTES ((uint64_t)1 << 20)
#define BLOCK_BYTES ((uint64_t)4096) /* of the filesystem: the end may lie within one */
#define EXTENTS_AT_ONCE 32
#define ZFS_MAGIC 0x2fc12fc1u
#define BCACHEFS_MAGIC 0xca451a4eu

bool
space_can_reserve(int fd)
{
	struct statfs sf;

	if (fstatfs(fd, &sf) == -1)
		return false;
	return sf.f_type != (__fsword_t)BTRFS_SUPER_MAGIC && sf.f_type != (__fsword_t)ZFS_MAGIC &&
	    sf.f_type != (__fsword_t)BCACHEFS_MAGIC;
}

static int
allocate(int fd, int mode, uint64_t offset, uint64_t bytes)
{
	while (fallocate(fd, mode, (off_t)offset, (off_t)bytes) == -1)
		if (errno != EINTR)
			return errno;
	return 0;
}

/* Reserved blocks are charged to whoever asks for them: the caller, not the daemon. */
static int
allocate_as(const struct caller *c, int fd, int mode, uint64_t offset, uint64_t bytes)
{
	int err;

	if ((err = identity_enter(c)) == 0) {
		err = allocate(fd, mode, offset, bytes);
		identity_leave();
	}
	return err;
}

static void
remember_range(struct file *f, uint64_t from, uint64_t to)
{
	if (from > f->reserved_to || to < f->reserved_from) {
		f->reserved_from = from;
		f->reserved_to = to;
		return;
	}
	if (from < f->reserved_from)
		f->reserved_from = from;
	if (to > f->reserved_to)
		f->reserved_to = to;
}

/*
 * Filesystems that say truly where a file has no blocks: where they say hole there may be some, but
 * not the other way round.
 */
static bool
knows_holes(int fd)
{
	struct statfs sf;

	return fstatfs(fd, &sf) == 0 &&
	    (sf.f_type == EXT4_SUPER_MAGIC || sf.f_type == XFS_SUPER_MAGIC ||
		sf.f_type == TMPFS_MAGIC);
}

/* Around [offset, end) there may be data: for that nothing needs to be reserved. */
static void
remember_data(struct file *f, uint64_t offset, uint64_t end)
{
	int fd = mpool_file_fd(f->mpf);
	off_t hole;

	hole = lseek(fd, 0, SEEK_HOLE);
	if (hole != -1 && (uint64_t)hole >= end)
		offset = 0;
	else
		hole = lseek(fd, (off_t)offset, SEEK_HOLE);
	if (hole != -1 && (uint64_t)hole > end && knows_holes(fd))
		remember_range(f, offset, (uint64_t)hole);
}

/* The end of the last blocks that the file has from there on; 0: none.  False: unknown. */
static bool
blocks_to(int fd, uint64_t from, uint64_t *top)
{
	struct fiemap *m = malloc(sizeof(*m) + EXTENTS_AT_ONCE * sizeof(m->fm_extents[0]));
	const struct fiemap_extent *last;
	bool known;

	if (m == NULL)
		return false;
	*top = 0;
	do {
		*m = (struct fiemap){ .fm_start = from,
			.fm_length = FIEMAP_MAX_OFFSET - from,
			.fm_extent_count = EXTENTS_AT_ONCE };
		known = ioctl(fd, FS_IOC_FIEMAP, m) != -1;
		if (!known || m->fm_mapped_extents == 0)
			break;
		last = &m->fm_extents[m->fm_mapped_extents - 1];
		from = *top = last->fe_logical + last->fe_length;
	} while ((last->fe_flags & FIEMAP_EXTENT_LAST) == 0);
	free(m);
	return known;
}

/* Of a mount that was killed there may be blocks behind the end: they are ours now. */
static void
inherit_surplus(struct file *f)
{
	if (!f->surplus && mpool_file_is_ahead(f->mpf) && mpool_file_is_alone(f->mpf))
		f->surplus = true;
}

/* With nothing of ours behind the end, what is there a program has reserved, at whatever time. */
static void
learn_kept(struct file *f, uint64_t length)
{
	uint64_t to;

	inherit_surplus(f);
	if (f->knows_kept || f->surplus)
		return;
	if (blocks_to(mpool_file_fd(f->mpf), (length + BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1), &to))
		f->kept_to = to;
	f->knows_kept = true;
}

static void
note_surplus(struct file *f, bool surplus)
{
	f->surplus = surplus;
	mpool_file_note_ahead(f->mpf, surplus);
}

/* What lay behind the end went with it, by another process perhaps. */
static void
look_at_cuts(struct file *f)
{
	uint64_t cuts = mpool_file_cuts(f->mpf);

	if (cuts == f->reserved_cuts)
		return;
	f->reserved_cuts = cuts;
	f->reserved_from = f->reserved_to = f->kept_to = 0;
	f->knows_kept = false;
}

static bool
has_blocks(struct file *f, uint64_t offset, uint64_t end)
{
	look_at_cuts(f);
	return offset >= f->reserved_from && end <= f->reserved_to;
}

static uint64_t
bytes_ahead(uint64_t end, uint64_t length)
{
	uint64_t ahead = length < AHEAD_BYTES ? length : AHEAD_BYTES;

	return end <= length || end > INT64_MAX - AHEAD_BYTES ? 0 : ahead;
}

static int
reserve(struct file *f, const struct caller *c, uint64_t offset, uint64_t end, uint64_t length)
{
	uint64_t ahead = bytes_ahead(end, length);
	int fd = mpool_file_fd(f->mpf), err;

	if (ahead > 0)
		learn_kept(f, length);
	if (end < f->kept_to)
		ahead = 0;
	/* before they are there: whoever is killed has said so */
	if (ahead > 0)
		note_surplus(f, true);
	err = allocate_as(c, fd, FALLOC_FL_KEEP_SIZE, offset, end + ahead - offset);
	if (ahead > 0 && (err == ENOSPC || err == EDQUOT || err == EFBIG)) {
		ahead = 0;
		err = allocate_as(c, fd, FALLOC_FL_KEEP_SIZE, offset, end - offset);
	}
	if (err != 0)
		return err;
	remember_range(f, offset, end + ahead);
	if (end <= length)
		remember_data(f, offset, end);
	mpool_file_restamp(f->mpf);
	return 0;
}

/*
 * The blocks of a removed file come free when its last close arrives, which the kernel sends a
 * moment after close(2) has returned.
 */
static bool
removed_lately(struct fs *fs)
{
	uint64_t when = __atomic_load_n(&fs->removed_usec, __ATOMIC_RELAXED);

	return when != 0 && os_monotonic_usec() - when < 1000000;
}

int
space_reserve(struct fs *fs, struct file *f, const struct caller *c, uint64_t offset,
    uint64_t bytes, uint64_t length, bool *throughp)
{
	uint64_t end = offset + bytes;
	int err;

	*throughp = fs->writes_through;
	if (bytes > 0 && end > fs->longest_file)
		return EFBIG; /* to reserve blocks behind the end is not held against the limit */
	if (bytes == 0 || fs->writes_through)
		return 0;
	if (has_blocks(f, offset, end))
		return 0;
	err = reserve(f, c, offset, end, length);
	for (int tries = 0; err == ENOSPC && tries < 20 && removed_lately(fs); tries++) {
		os_sleep_usec(5000);
		err = reserve(f, c, offset, end, length);
	}
	if (err == EOPNOTSUPP || err == ENOSYS) {
		*throughp = true;
		return 0;
	}
	return err;
}

/* Truncating to the length that the file has gives back the blocks behind it: all of them. */
static void
trim_locked(struct file *f)
{
	off_t length;

	look_at_cuts(f);
	inherit_surplus(f);
	if (!f->surplus || memp_fsize(f->mpf, &length) != 0 || (uint64_t)length < f->kept_to)
		return;
	(void)mpool_file_trim(f->mpf);
	note_surplus(f, false);
	f->reserved_from = f->reserved_to = 0;
}

/* To the length that it has, too: that is how programs give back what they have reserved. */
void
space_cut(struct file *f, uint64_t before, uint64_t length)
{
	f->reserved_from = f->reserved_to = 0;
	if (length > before)
		return;
	learn_kept(f, length);
	if (length == before && (f->surplus || f->kept_to > length))
		(void)mpool_file_trim(f->mpf);
	note_surplus(f, false);
	f->kept_to = 0;
}

void
space_trim(struct file *f)
{
	(void)pthread_rwlock_wrlock(&f->io);
	trim_locked(f);
	(void)pthread_rwlock_unlock(&f->io);
}

/* --- fallocate(2) -------------------------------------------------------------------------- */

/* Zero what is not a hole on the disk already, which has all of the file's dirty pages. */
static int
zero_data(struct file *f, uint64_t offset, uint64_t end)
{
	int fd = mpool_file_fd(f->mpf), err;
	off_t data, hole;

	while (offset < end) {
		if ((data = lseek(fd, (off_t)offset, SEEK_DATA)) == -1)
			return errno == ENXIO ? 0 : errno;
		if ((uint64_t)data >= end)
			return 0;
		if ((hole = lseek(fd, data, SEEK_HOLE)) == -1)
			return errno;
		if ((uint64_t)hole > end)
			hole = (off_t)end;
		if ((err = io_zero(f, (uint64_t)data, (uint64_t)(hole - data))) != 0)
			return err;
		offset = (uint64_t)hole;
	}
	return 0;
}

static int
zero_range(struct file *f, uint64_t offset, uint64_t end, uint64_t length)
{
	int err;

	if (end > length)
		end = length;
	if (offset >= end)
		return 0;
	if ((err = file_write_out(f, true)) != 0 || (err = zero_data(f, offset, end)) != 0)
		return err;
	return file_write_out(f, true);
}

/* Where the disk cannot punch, nothing must be zeroed: asked about a byte that the file lacks. */
static int
may_punch(struct file *f, const struct caller *c, uint64_t length)
{
	int err = allocate_as(
	    c, mpool_file_fd(f->mpf), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, length, 1);

	return err == EFBIG ? 0 : err;
}

static int
punch(struct file *f, const struct caller *c, uint64_t offset, uint64_t end, uint64_t length)
{
	int err;

	if ((err = may_punch(f, c, length)) != 0 ||
	    (err = zero_range(f, offset, end, length)) != 0 ||
	    (err = mpool_file_write_begin(f->mpf)) != 0)
		return err;
	err = allocate_as(c, mpool_file_fd(f->mpf), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    offset, end - offset);
	mpool_file_write_end(f->mpf);
	f->reserved_from = f->reserved_to = 0;
	return err;
}

static int
preallocate(struct file *f, const struct caller *c, int mode, uint64_t offset, uint64_t end,
    uint64_t length)
{
	bool keeps = (mode & FALLOC_FL_KEEP_SIZE) != 0 && end > length;
	int err;

	if (keeps) {
		trim_locked(f);
		learn_kept(f, length);
	}
	err = allocate_as(c, mpool_file_fd(f->mpf), FALLOC_FL_KEEP_SIZE, offset, end - offset);
	if (err == 0 && keeps && end > f->kept_to)
		f->kept_to = end;
	if (err == 0 && (mode & FALLOC_FL_ZERO_RANGE) != 0)
		err = zero_range(f, offset, end, length);
	if (err == 0 && (mode & FALLOC_FL_KEEP_SIZE) == 0 && end > length)
		err = mpool_file_extend(f->mpf, (off_t)end);
	return err;
}

static int
allocate_locked(struct file *f, const struct caller *c, int mode, uint64_t offset, uint64_t end)
{
	off_t length;
	int err;

	if ((err = memp_fsize(f->mpf, &length)) != 0)
		return err;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		err = punch(f, c, offset, end, (uint64_t)length);
	else
		err = preallocate(f, c, mode, offset, end, (uint64_t)length);
	mpool_file_restamp(f->mpf);
	if (err == 0)
		io_touch(f, c);
	return err;
}

int
space_allocate(struct fs *fs, struct node *node, const struct caller *c, int mode, uint64_t offset,
    uint64_t bytes, struct written **wp)
{
	struct changing zeros = { .from = offset, .to = offset + bytes, .asked = offset };
	struct file *f;
	int err = 0;

	*wp = NULL;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return EOPNOTSUPP;
	if (offset > INT64_MAX || bytes > INT64_MAX - offset || offset + bytes > fs->longest_file)
		return EFBIG;
	if ((err = file_get_data(fs, node, true, &f)) != 0)
		return err;
	(void)pthread_rwlock_wrlock(&f->io);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		err = coherence_write(fs, f, &zeros, wp);
	if (err == 0)
		err = allocate_locked(f, c, mode, offset, offset + bytes);
	(void)pthread_rwlock_unlock(&f->io);
	file_put(fs, f);
	return err;
}
