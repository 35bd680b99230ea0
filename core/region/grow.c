/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/grow.c - a region becomes longer where it is.
 *
 * Everybody has mapped layout->max bytes since he attached, so that growing means only to have the
 * bytes (a file's are allocated, for a segment's there is memory) and then to say so in
 * layout->size.  Who dies in between leaves a file that is longer than its region, which harms
 * nobody: the next one to grow allocates the same bytes again.
 *
 * REGION_BYTE orders the processes, grow_mutex the threads of this one, which share the lock.  The
 * others notice when an offset is behind what they know (region_ptr); sizes only grow.
 */
#include "region_impl.h"

#include <errno.h>
#include <pthread.h>

#include "../base/atomics.h"

static pthread_mutex_t grow_mutex = PTHREAD_MUTEX_INITIALIZER;

size_t
region_look_again(struct region *r)
{
	uint64_t says = load_acquire(&r->layout->size);
	size_t size = load_relaxed(&r->size);

	/* Another thread may do the same: what is stored is true in either order, or soon is. */
	if (says > size && says <= r->mapped && says % os_page_size() == 0) {
		size = (size_t)says;
		store_relaxed(&r->size, size);
	}
	return size;
}

static int
say_too_large(const struct region *r, uint64_t size)
{
	env_err(r->dbenv, "%s: %llu bytes are wanted, and %llu are what it may grow to",
	    r->path == NULL ? "private region" : r->path, (unsigned long long)size,
	    (unsigned long long)r->mapped);
	return ENOMEM;
}

/* size is in whole pages, more than from. */
static int
get_bytes(const struct region *r, uint64_t from, uint64_t size)
{
	int ret;

	if (r->is_system)
		return segment_check_memory(r->dbenv, r->path, size - from);
	if ((ret = memory_allocate(r->fd, from, size - from)) != 0)
		env_err(r->dbenv, "%s: cannot grow to %llu bytes: %s", r->path,
		    (unsigned long long)size, db_strerror(ret));
	return ret;
}

/* With REGION_BYTE held. */
static int
grow_locked(struct region *r, uint64_t size)
{
	uint64_t from;
	bool same;
	int ret;

	if ((ret = region_path_is_fd(r->path, r->fd, &same)) != 0)
		return ret;
	if (!same)
		return ESTALE;
	from = region_look_again(r);
	if (size <= from)
		return 0;
	if ((ret = get_bytes(r, from, size)) != 0)
		return ret;
	store_seq(&r->layout->size, size);
	add_seq(&r->layout->generation, 1);
	(void)region_look_again(r);
	env_event(r->dbenv, "%s: grown from %llu to %llu bytes", r->path, (unsigned long long)from,
	    (unsigned long long)size);
	return 0;
}

static int
grow_waiting(struct region *r, uint64_t size)
{
	int ret;

	if ((ret = os_lock_wait(r->fd, REGION_BYTE, REGION_JOIN_MSEC)) != 0) {
		env_err(r->dbenv, "%s: cannot lock it to grow: %s", r->path, db_strerror(ret));
		return ret;
	}
	ret = grow_locked(r, size);
	os_unlock(r->fd, REGION_BYTE);
	return ret;
}

int
region_grow(struct region *r, uint64_t size)
{
	uint64_t page = os_page_size();
	int ret;

	if ((ret = region_usable(r)) != 0)
		return ret;
	if (size <= region_look_again(r))
		return 0;
	if (size > r->mapped)
		return say_too_large(r, size);
	pthread_mutex_lock(&grow_mutex);
	ret = grow_waiting(r, (size + page - 1) / page * page);
	pthread_mutex_unlock(&grow_mutex);
	return ret;
}
