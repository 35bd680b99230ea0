/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/memory.c - where a region's bytes are: a file that all clients map, a System V segment,
 * or this process's own memory.
 *
 * A file's blocks are allocated when the region is created, so that a full disk is an error there
 * and never a SIGBUS at some later store.  Where the file system cannot allocate, zeros are
 * written.  A mapping is as long as the region may become, so that it grows without moving; what
 * lies behind the region's end is never touched (region_ptr), and given back when a region shrinks.
 * Files and segments keep their length.  Which segment it is, and whether it is the right one,
 * segment.c knows.
 *
 * What lies behind the end may be somebody's who died while he grew or shrank the region, or who
 * used an address too long: it is given back before it is used again, so that new bytes are zeros.
 *
 * Who may call what when is attach.c's business; here is no locking.
 */
#include "region_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "../base/os_shm.h"

#define ZEROS_BYTES ((size_t)256 << 10)

static int
write_zeros(int fd, uint64_t offset, uint64_t size)
{
	void *zeros = NULL;
	uint64_t at, n;
	int ret;

	if ((ret = os_calloc(1, ZEROS_BYTES, &zeros)) != 0)
		return ret;
	for (at = 0; at < size && ret == 0; at += n) {
		n = size - at < ZEROS_BYTES ? size - at : ZEROS_BYTES;
		ret = os_pwrite(fd, zeros, (size_t)n, offset + at);
	}
	free(zeros);
	return ret;
}

int
memory_allocate(int fd, uint64_t offset, uint64_t size)
{
	int ret = os_fallocate(fd, offset, size);

	return ret == EOPNOTSUPP || ret == ENOSYS ? write_zeros(fd, offset, size) : ret;
}

static void
set_mapping(struct region *r, void *addr, uint64_t size, uint64_t mapped)
{
	POOL_ASSERT(r->addr == NULL && addr != NULL && size <= mapped);
	r->addr = addr;
	r->size = (size_t)size;
	r->mapped = (size_t)mapped;
	r->layout = addr;
}

static size_t
mapping_align(size_t align)
{
	return align > os_page_size() ? align : os_page_size();
}

/* How much of what a file says to map: a room that is not believable is only lost for growing. */
static uint64_t
believable(uint64_t size, uint64_t max)
{
	return max > size && max <= os_memory_bytes() && max % os_page_size() == 0 ? max : size;
}

int
memory_map_file(struct region *r, uint64_t size, uint64_t max, size_t align)
{
	struct os_stat st;
	void *addr;
	int fd = -1, ret;

	max = believable(size, max);
	if ((ret = os_open(r->path, O_RDWR | O_NOFOLLOW, 0, &fd)) != 0)
		return ret;
	if ((ret = os_fstat(fd, &st)) == 0) {
		/* Only who ignores R1, or force, can have exchanged it. */
		if (memcmp(&st.ident, &r->file.ident, sizeof(st.ident)) != 0)
			ret = ESTALE;
		else
			ret = os_map(fd, (size_t)max, mapping_align(align), &addr);
	}
	os_close(fd);
	if (ret == 0)
		set_mapping(r, addr, size, max);
	if (ret == 0 && r->is_guarded)
		guard_add(r);
	return ret;
}

int
memory_map_private(struct region *r, uint64_t size, uint64_t max, size_t align)
{
	void *addr;
	int ret;

	ret = os_map_reserve((size_t)max, mapping_align(align), &addr);
	if (ret == ENOMEM && max > size) {
		max = size;
		ret = os_map_reserve((size_t)max, mapping_align(align), &addr);
	}
	if (ret != 0)
		return ret;
	if ((ret = os_map_open(addr, (size_t)size)) != 0)
		os_unmap(addr, (size_t)max);
	else
		set_mapping(r, addr, size, max);
	return ret;
}

int
memory_map_segment(struct region *r, uint64_t size, uint64_t max, size_t align)
{
	void *addr;
	int ret;

	if ((ret = os_shm_map(r->segid, max, mapping_align(align), &addr)) == 0)
		set_mapping(r, addr, size, max);
	return ret;
}

bool
memory_adopt_segment(struct region *r, void *addr, uint64_t size, uint64_t max, size_t align)
{
	if ((uintptr_t)addr % mapping_align(align) != 0)
		return false;
	set_mapping(r, addr, size, max);
	return true;
}

void
memory_ask_huge(struct region *r)
{
	int ret = os_map_huge(r->addr, r->mapped);

	if (ret != 0)
		env_err(r->dbenv, "%s: no huge pages: %s", region_name(r), db_strerror(ret));
	else if (!os_huge_pages_granted(!r->is_private))
		env_err(r->dbenv, "%s: no huge pages: the system gives none to such memory (%s)",
		    region_name(r), "/sys/kernel/mm/transparent_hugepage");
}

void
memory_unmap(struct region *r)
{
	if (r->is_guarded)
		guard_remove(r);
	if (r->is_system)
		os_shm_detach(r->addr);
	else
		os_unmap(r->addr, r->mapped);
	r->addr = NULL;
	r->layout = NULL;
	r->clients = NULL;
}

/* --- growing and shrinking ----------------------------------------------------------------- */

const char *
region_name(const struct region *r)
{
	return r->path == NULL ? "private region" : r->path;
}

int
memory_check(DB_ENV *dbenv, const char *path, uint64_t bytes)
{
	uint64_t available = os_memory_available();

	if (bytes <= available)
		return 0;
	env_err(dbenv, "%s: %llu bytes of memory are wanted and %llu available", path,
	    (unsigned long long)bytes, (unsigned long long)available);
	return ENOMEM;
}

/* Blocks that are left behind from, of a file that is longer than its region. */
static int
clean_file(struct region *r, uint64_t from)
{
	struct os_stat st;
	uint64_t end;
	int ret;

	if ((ret = os_fstat(r->fd, &st)) != 0 || st.size <= from)
		return ret;
	end = st.size < r->mapped ? st.size : r->mapped;
	ret = os_map_release(r->addr + from, (size_t)(end - from), true);
	return ret == EOPNOTSUPP || ret == ENOSYS ? write_zeros(r->fd, from, end - from) : ret;
}

static int
extend_file(struct region *r, uint64_t from, uint64_t size)
{
	int ret;

	if ((ret = clean_file(r, from)) == 0)
		ret = memory_allocate(r->fd, from, size - from);
	if (ret != 0)
		env_err(r->dbenv, "%s: cannot grow to %llu bytes: %s", r->path,
		    (unsigned long long)size, db_strerror(ret));
	return ret;
}

int
memory_extend(struct region *r, uint64_t from, uint64_t size)
{
	bool is_huge = r->is_system && (r->layout->flags & REGION_HUGE) != 0;
	int ret;

	POOL_ASSERT(from < size && size <= r->mapped);
	if (!r->is_system && !r->is_private)
		return extend_file(r, from, size);
	if (!is_huge && (ret = memory_check(r->dbenv, region_name(r), size - from)) != 0)
		return ret;
	if (r->is_private && (ret = os_map_open(r->addr + from, (size_t)(size - from))) != 0)
		return ret;
	return os_map_release(r->addr + from, (size_t)(size - from), !r->is_private);
}

int
memory_release(struct region *r, uint64_t size)
{
	if (size == r->mapped)
		return 0;
	return os_map_release(r->addr + size, r->mapped - (size_t)size, !r->is_private);
}
