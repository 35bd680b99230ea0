/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/memory.c - where a region's bytes are: a file that all clients map, or this process's
 * own memory.
 *
 * A file's blocks are allocated when the region is created, so that a full disk is an error there
 * and never a SIGBUS at some later store.  Where the file system cannot allocate, zeros are
 * written.  The mapping is as long as the region.  rl->segid and rl->flags are kept for a third
 * kind whose bytes lie in a segment that the file only names.
 *
 * Who may call what when is attach.c's business; here is no locking.
 */
#include "region_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define ZEROS_BYTES ((size_t)256 << 10)

static int
write_zeros(int fd, uint64_t size)
{
	void *zeros = NULL;
	uint64_t at, n;
	int ret;

	if ((ret = os_calloc(1, ZEROS_BYTES, &zeros)) != 0)
		return ret;
	for (at = 0; at < size && ret == 0; at += n) {
		n = size - at < ZEROS_BYTES ? size - at : ZEROS_BYTES;
		ret = os_pwrite(fd, zeros, (size_t)n, at);
	}
	free(zeros);
	return ret;
}

int
memory_allocate(int fd, uint64_t size)
{
	int ret = os_fallocate(fd, 0, size);

	return ret == EOPNOTSUPP || ret == ENOSYS ? write_zeros(fd, size) : ret;
}

static void
set_mapping(struct region *r, void *addr, uint64_t size)
{
	POOL_ASSERT(r->addr == NULL && addr != NULL);
	r->addr = addr;
	r->size = (size_t)size;
	r->layout = addr;
}

static size_t
mapping_align(size_t align)
{
	return align > os_page_size() ? align : os_page_size();
}

int
memory_map_file(struct region *r, uint64_t size, size_t align)
{
	struct os_stat lock_st, map_st;
	void *addr;
	int fd = -1, ret;

	if ((ret = os_open(r->path, O_RDWR | O_NOFOLLOW, 0, &fd)) != 0)
		return ret;
	if ((ret = os_fstat(r->fd, &lock_st)) == 0 && (ret = os_fstat(fd, &map_st)) == 0) {
		/* Only who ignores R1 can have exchanged it. */
		if (lock_st.ident.dev != map_st.ident.dev || lock_st.ident.ino != map_st.ident.ino)
			ret = ESTALE;
		else
			ret = os_map(fd, (size_t)size, mapping_align(align), &addr);
	}
	os_close(fd);
	if (ret == 0)
		set_mapping(r, addr, size);
	return ret;
}

int
memory_map_private(struct region *r, uint64_t size, size_t align)
{
	void *addr;
	int ret;

	if ((ret = os_map(-1, (size_t)size, mapping_align(align), &addr)) == 0)
		set_mapping(r, addr, size);
	return ret;
}

void
memory_unmap(struct region *r)
{
	os_unmap(r->addr, r->size);
	r->addr = NULL;
	r->layout = NULL;
	r->clients = NULL;
}
