/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/os_shm.c - System V shared memory.
 *
 * Like os.c: a wrapper asks the fault hook, calls, and turns errno into a return value; what a
 * segment is for is not known here.  Segments are created without a reservation of memory
 * (SHM_NORESERVE), because a region reserves room to grow; whether the machine has the memory
 * that is used at once is for the caller to ask.  Huge pages are another matter: one that is
 * missing at a touch is a SIGBUS, so they are reserved.
 */
#include "os_shm.h"

#include <errno.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "error.h"
#include "os.h"

int
os_shm_create(int32_t key, uint64_t bytes, bool huge, uint32_t mode, int32_t *idp)
{
	int id, ret, kind = huge ? SHM_HUGETLB : SHM_NORESERVE;

	if ((ret = os_fault(OS_SHM, "")) != 0)
		return ret;
	id = shmget((key_t)key, bytes, IPC_CREAT | IPC_EXCL | kind | (int)(mode & 0777));
	if (id == -1)
		return errno;
	*idp = id;
	return 0;
}

bool
os_shm_key_is_taken(int32_t key)
{
	int saved = errno;
	bool taken = shmget((key_t)key, 0, 0) != -1 || errno != ENOENT;

	errno = saved;
	return taken;
}

int
os_shm_own(int32_t id, uid_t uid, gid_t gid, uint32_t mode)
{
	struct shmid_ds ds;
	int ret;

	if ((ret = os_fault(OS_SHM, "")) != 0)
		return ret;
	if (shmctl(id, IPC_STAT, &ds) == -1)
		return errno;
	ds.shm_perm.uid = uid;
	ds.shm_perm.gid = gid;
	ds.shm_perm.mode = (unsigned short)(mode & 0777);
	return shmctl(id, IPC_SET, &ds) == -1 ? errno : 0;
}

static void
describe(int32_t id, const struct shmid_ds *ds, struct os_segment *segment)
{
	*segment = (struct os_segment){
		.id = id,
		.bytes = ds->shm_segsz,
		.uid = ds->shm_perm.uid,
		.cuid = ds->shm_perm.cuid,
		.gid = ds->shm_perm.gid,
		.mode = ds->shm_perm.mode & 0777u,
		.attached = ds->shm_nattch,
		.changed_sec = ds->shm_ctime,
		.removed = (ds->shm_perm.mode & SHM_DEST) != 0,
	};
}

int
os_shm_stat(int32_t id, struct os_segment *segment)
{
	struct shmid_ds ds;
	int ret;

	if ((ret = os_fault(OS_SHM, "")) != 0)
		return ret;
	if (shmctl(id, IPC_STAT, &ds) == -1)
		return errno;
	describe(id, &ds, segment);
	return 0;
}

/* Address space for bytes at a multiple of align, in *startp for room bytes. */
static int
reserve(uint64_t bytes, size_t align, void **startp, uint64_t *roomp)
{
	void *p;

	if (__builtin_add_overflow(bytes, align, roomp))
		return ENOMEM;
	p = mmap(NULL, *roomp, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return errno;
	*startp = p;
	return 0;
}

int
os_shm_attach(int32_t id, void **addrp)
{
	void *p;
	int ret;

	if ((ret = os_fault(OS_SHM, "")) != 0)
		return ret;
	if ((p = shmat(id, NULL, SHM_RDONLY)) == (void *)-1)
		return errno;
	*addrp = p;
	return 0;
}

/* Without SHM_REMAP it is not put where anything is: whatever has come there meanwhile. */
static void *
attach_at_multiple(int32_t id, uint64_t bytes, size_t align)
{
	uint64_t room = 0;
	uintptr_t start;
	void *p = NULL;

	if (reserve(bytes, align, &p, &room) != 0)
		return (void *)-1;
	(void)munmap(p, room);
	start = (uintptr_t)p;
	return shmat(id, (void *)((start + align - 1) & ~((uintptr_t)align - 1)), 0);
}

int
os_shm_attach_to_write(int32_t id, uint64_t bytes, size_t align, void **addrp)
{
	void *p;
	int ret;

	if ((ret = os_fault(OS_SHM, "")) != 0)
		return ret;
	if ((p = attach_at_multiple(id, bytes, align)) == (void *)-1)
		p = shmat(id, NULL, 0);
	if (p == (void *)-1)
		return errno;
	*addrp = p;
	return 0;
}

int
os_shm_map(int32_t id, uint64_t bytes, size_t align, void **addrp)
{
	uintptr_t start, addr;
	void *p = NULL;
	uint64_t room;
	int ret;

	POOL_ASSERT(bytes > 0 && bytes % os_page_size() == 0);
	POOL_ASSERT(align >= os_page_size() && (align & (align - 1)) == 0);
	if ((ret = os_fault(OS_SHM, "")) != 0 || (ret = reserve(bytes, align, &p, &room)) != 0)
		return ret;
	start = (uintptr_t)p;
	addr = (start + align - 1) & ~((uintptr_t)align - 1);
	if (shmat(id, (void *)addr, SHM_REMAP) == (void *)-1) {
		ret = errno;
		(void)munmap((void *)start, room);
		return ret;
	}
	/* What alignment did not need is given back. */
	if (addr > start)
		(void)munmap((void *)start, addr - start);
	if (start + room > addr + bytes)
		(void)munmap((void *)(addr + bytes), start + room - (addr + bytes));
	*addrp = (void *)addr;
	return 0;
}

void
os_shm_detach(void *addr)
{
	int saved = errno;

	if (addr == NULL)
		return;
	(void)os_fault(OS_SHM, "");
	(void)shmdt(addr);
	errno = saved;
}

int
os_shm_remove(int32_t id)
{
	int ret;

	if ((ret = os_fault(OS_SHM, "")) != 0)
		return ret;
	return shmctl(id, IPC_RMID, NULL) == -1 ? errno : 0;
}

int
os_shm_each(int (*fn)(const struct os_segment *segment, void *arg), void *arg)
{
	struct os_segment segment;
	struct shm_info info;
	struct shmid_ds ds;
	int i, id, last, ret;

	if ((ret = os_fault(OS_SHM, "")) != 0)
		return ret;
	/*
	 * The system's numbers for a slot, not for a segment; the result is the highest in use.
	 */
	if ((last = shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info)) == -1)
		return errno;
	for (i = 0; i <= last && ret == 0; i++) {
		if ((id = shmctl(i, SHM_STAT, &ds)) == -1)
			continue;
		describe(id, &ds, &segment);
		ret = fn(&segment, arg);
	}
	return ret;
}
