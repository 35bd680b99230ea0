/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/os_shm.h - System V shared memory: the system calls, as os.h has the others.
 *
 * Each call returns 0 or a positive errno value and asks the fault hook first, as OS_SHM.
 */
#ifndef BASE_OS_SHM_H
#define BASE_OS_SHM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the kernel says about a segment. */
struct os_segment {
	int32_t id;
	uint64_t bytes; /* as asked for at creation, not rounded */
	uint32_t uid;	/* of the owner, who may have been changed, */
	uint32_t cuid;	/* and of the creator */
	uint32_t gid;
	uint32_t mode; /* permissions */
	uint64_t attached;
	int64_t changed_sec; /* wall clock: creation, or the last change of owner or mode */
	bool removed;	     /* goes with the last who is attached */
};

/*
 * Create a segment of zeros that takes memory only where it is touched, with these permissions.
 * key 0: under no key; else EEXIST if there is one under it.  ENOSPC, ENOMEM and EINVAL are the
 * system's limits.  huge: in huge pages, which are all set aside at once; EPERM.
 */
int os_shm_create(int32_t key, uint64_t bytes, bool huge, uint32_t mode, int32_t *idp);

/* Is there a segment under this key? */
bool os_shm_key_is_taken(int32_t key);

/* Set owner, group and permissions. */
int os_shm_own(int32_t id, uid_t uid, gid_t gid, uint32_t mode);

/* EINVAL or EIDRM: there is none.  EACCES: not for us to know. */
int os_shm_stat(int32_t id, struct os_segment *segment);

/* Attach for reading, anywhere.  While attached, the id means this segment and no other. */
int os_shm_attach(int32_t id, void **addrp);

/* For writing; at a multiple of align, if that can be had and it has not more than bytes. */
int os_shm_attach_to_write(int32_t id, uint64_t bytes, size_t align, void **addrp);

/*
 * Attach for writing, at a multiple of align, a power of two.  bytes is the segment's size in
 * whole pages, of which the caller must be sure: a larger one would lie over what is behind it.
 */
int os_shm_map(int32_t id, uint64_t bytes, size_t align, void **addrp);
void os_shm_detach(void *addr);

/* The segment goes when nobody is attached any more. */
int os_shm_remove(int32_t id);

/*
 * Call fn for each segment of this IPC namespace that we may read; stop at a value that is not 0
 * and return it.
 */
int os_shm_each(int (*fn)(const struct os_segment *segment, void *arg), void *arg);

#endif
