/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/memr_heap.c - shalloc for the application, in a part of its region.
 *
 * layout->lock guards the heap (R5).  Who takes it from a dead holder rebuilds the free list before
 * anything else; a heap whose walk does not come out is damage, and panics the region.  No system
 * call is made under the lock but the lock's own.
 */
#include "memr.h"

#include <errno.h>

#include "../base/atomics.h"
#include "shalloc.h"
#include "shlock.h"

#define HEAP_ALIGN 4096u
#define HEAP_LEAST 64u

void *
memr_heap_area(const DB_REGION *reg, uint64_t *offsetp, size_t *bytesp)
{
	uint64_t bytes = load_acquire(&reg->body->heap_bytes);
	uint64_t offset = load_relaxed(&reg->body->heap);
	void *area;

	if (bytes == 0 || bytes > SIZE_MAX / 2 || offset > SIZE_MAX / 2 || offset % HEAP_ALIGN != 0)
		return NULL;
	if ((area = region_ptr(reg->region, memr_data() + offset, (size_t)bytes)) != NULL) {
		*offsetp = offset;
		*bytesp = (size_t)bytes;
	}
	return area;
}

static int
damaged(const DB_REGION *reg)
{
	return region_panic(reg->region, "its heap's chunks do not fit together");
}

/* Under the lock of one who died. */
static int
repair(DB_REGION *reg)
{
	uint64_t offset;
	size_t bytes;
	void *area = memr_heap_area(reg, &offset, &bytes);

	return area == NULL || shalloc_repair(area, bytes) == 0 ? 0 : damaged(reg);
}

static int
lock(DB_REGION *reg)
{
	struct shlock *l = &reg->region->layout->lock;
	int ret;

	if ((ret = memr_enter(reg)) != 0)
		return ret;
	if (shlock_lock_counted(reg->region, l) == EOWNERDEAD && (ret = repair(reg)) != 0)
		shlock_unlock_counted(reg->region, l);
	return ret;
}

static void
unlock(DB_REGION *reg)
{
	shlock_unlock_counted(reg->region, &reg->region->layout->lock);
}

void
memr_release_heap(DB_REGION *reg, uint32_t number)
{
	if (!shlock_inherit_counted(reg->region, &reg->region->layout->lock, number))
		return;
	(void)repair(reg);
	unlock(reg);
}

/* Under the lock.  What is there already stays. */
static int
make(DB_REGION *reg, uint64_t offset, size_t bytes)
{
	struct memr_body *body = reg->body;
	void *area = region_ptr(reg->region, memr_data() + offset, bytes);

	if (load_acquire(&body->heap_bytes) != 0)
		return load_relaxed(&body->heap) == offset && body->heap_bytes == bytes ? 0 :
											  EEXIST;
	if (area == NULL || shalloc_init(area, bytes) != 0)
		return EINVAL;
	store_relaxed(&body->heap, offset);
	store_seq(&body->heap_bytes, bytes);
	return 0;
}

int
memr_heap(DB_REGION *reg, u_int64_t offset, size_t bytes)
{
	int ret;

	if (offset % HEAP_ALIGN != 0 || offset > SIZE_MAX / 2 || bytes < HEAP_LEAST)
		return EINVAL;
	if ((ret = lock(reg)) != 0)
		return ret;
	ret = make(reg, offset, bytes);
	unlock(reg);
	return ret;
}

int
memr_alloc(DB_REGION *reg, size_t bytes, size_t align, u_int64_t *offsetp)
{
	uint64_t heap, off;
	size_t heap_bytes;
	void *area;
	int ret;

	if (align == 0)
		align = 8;
	if ((align & (align - 1)) != 0 || align > HEAP_ALIGN || offsetp == NULL)
		return EINVAL;
	if ((ret = lock(reg)) != 0)
		return ret;
	if ((area = memr_heap_area(reg, &heap, &heap_bytes)) == NULL)
		ret = ENOENT;
	else if (bytes > heap_bytes)
		ret = ENOMEM;
	else
		ret = shalloc(area, heap_bytes, bytes, align, &off);
	unlock(reg);
	if (ret == 0)
		*offsetp = heap + off;
	return ret == EFAULT ? damaged(reg) : ret;
}

int
memr_free(DB_REGION *reg, u_int64_t offset)
{
	uint64_t heap;
	size_t heap_bytes;
	void *area;
	int ret;

	if ((ret = lock(reg)) != 0)
		return ret;
	if ((area = memr_heap_area(reg, &heap, &heap_bytes)) == NULL)
		ret = ENOENT;
	else if (offset < heap || offset - heap >= heap_bytes)
		ret = EINVAL;
	else
		ret = shalloc_free(area, heap_bytes, offset - heap);
	unlock(reg);
	return ret == EFAULT ? damaged(reg) : ret;
}
