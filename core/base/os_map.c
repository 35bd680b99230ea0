/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/os_map.c - address space, and the memory in it.
 *
 * Like os.c: a wrapper asks the fault hook, calls, and turns errno into a return value.  An aligned
 * mapping is made by reserving address space for the worst case and giving back what alignment did
 * not need; the reservation costs no memory and counts against no limit of memory.
 */
#include "os.h"

#include <errno.h>
#include <sys/mman.h>

#include "error.h"

/* bytes at a multiple of align that nothing may touch. */
static int
reserve(size_t bytes, size_t align, uintptr_t *addrp)
{
	uintptr_t start, addr;
	size_t room;
	void *p;

	POOL_ASSERT(bytes > 0 && align >= os_page_size() && (align & (align - 1)) == 0);
	if (__builtin_add_overflow(bytes, align, &room))
		return ENOMEM;
	bytes = os_whole_pages(bytes);
	room = bytes + align;
	p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return errno;
	start = (uintptr_t)p;
	addr = (start + align - 1) & ~((uintptr_t)align - 1);
	if (addr > start)
		(void)munmap((void *)start, addr - start);
	if (start + room > addr + bytes)
		(void)munmap((void *)(addr + bytes), start + room - (addr + bytes));
	*addrp = addr;
	return 0;
}

int
os_map(int fd, size_t bytes, size_t align, void **addrp)
{
	int flags = fd == -1 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	uintptr_t addr;
	void *p;
	int ret;

	if ((ret = os_fault(OS_MAP, "")) != 0)
		return ret;
	/* It may lie well by itself: some file systems put large files where huge pages begin. */
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p == MAP_FAILED)
		return errno;
	if ((uintptr_t)p % align == 0) {
		*addrp = p;
		return 0;
	}
	(void)munmap(p, bytes);
	if ((ret = reserve(bytes, align, &addr)) != 0)
		return ret;
	p = mmap((void *)addr, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
	if (p == MAP_FAILED) {
		ret = errno;
		(void)munmap((void *)addr, bytes);
		return ret;
	}
	*addrp = p;
	return 0;
}

int
os_map_readonly(int fd, size_t bytes, void **addrp)
{
	void *p;
	int ret;

	if ((ret = os_fault(OS_MAP, "")) != 0)
		return ret;
	if ((p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
		return errno;
	*addrp = p;
	return 0;
}

int
os_map_reserve(size_t bytes, size_t align, void **addrp)
{
	uintptr_t addr;
	int ret;

	if ((ret = os_fault(OS_MAP, "")) != 0 || (ret = reserve(bytes, align, &addr)) != 0)
		return ret;
	*addrp = (void *)addr;
	return 0;
}

int
os_map_open(void *addr, size_t bytes)
{
	int ret;

	if ((ret = os_fault(OS_MAP, "")) != 0)
		return ret;
	return mprotect(addr, bytes, PROT_READ | PROT_WRITE) == -1 ? errno : 0;
}

int
os_map_release(void *addr, size_t bytes, bool shared)
{
	int ret;

	if ((ret = os_fault(OS_ALLOCATE, "")) != 0)
		return ret;
	while (madvise(addr, bytes, shared ? MADV_REMOVE : MADV_DONTNEED) == -1)
		if (errno != EINTR && errno != EAGAIN)
			return errno;
	return 0;
}

int
os_map_huge(void *addr, size_t bytes)
{
	int ret;

	if ((ret = os_fault(OS_MAP, "")) != 0)
		return ret;
	return madvise(addr, bytes, MADV_HUGEPAGE) == -1 ? errno : 0;
}

void
os_unmap(void *addr, size_t bytes)
{
	if (addr != NULL)
		(void)munmap(addr, bytes);
}

/* One byte of each page is read and written again, where the kernel cannot be asked. */
static void
touch_pages(volatile uint8_t *addr, size_t bytes)
{
	size_t page = os_page_size(), at;

	for (at = 0; at < bytes; at += page)
		addr[at] = addr[at];
}

int
os_populate(void *addr, size_t bytes)
{
	int ret;

	if ((ret = os_fault(OS_MAP, "")) != 0)
		return ret;
#ifdef MADV_POPULATE_WRITE
	do
		ret = madvise(addr, bytes, MADV_POPULATE_WRITE) == -1 ? errno : 0;
	while (ret == EINTR || ret == EAGAIN);
	/* EINVAL: the kernel does not know the word.  EFAULT: a store would have been killed. */
	if (ret != EINVAL)
		return ret == EFAULT ? ENOSPC : ret;
#endif
	touch_pages(addr, bytes);
	return 0;
}

void
os_scattered(void *addr, size_t bytes)
{
	(void)madvise(addr, bytes, MADV_RANDOM);
}

void
os_not_scattered(void *addr, size_t bytes)
{
	(void)madvise(addr, bytes, MADV_NORMAL);
}
