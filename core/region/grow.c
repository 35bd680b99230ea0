/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/grow.c - a region becomes longer or shorter where it is.
 *
 * Everybody has mapped layout->max bytes since he attached, so that growing means only to have the
 * bytes (a file's are allocated, for a segment's there is memory, private ones are made accessible)
 * and then to say so in layout->size.  Shrinking says so first, and then gives the memory back.
 * Who dies in between leaves bytes behind the region's end, which harms nobody: the next one to
 * grow the region, or to shrink it, gives them back.  Nothing is ever cut off a file or a segment,
 * because a load behind its end would be a SIGBUS.
 *
 * REGION_BYTE orders the processes, grow_mutex the threads of this one, which share the lock.  The
 * others notice at their next region_ptr.
 */
#include "region_impl.h"

#include <errno.h>
#include <pthread.h>

#include "../base/atomics.h"

static pthread_mutex_t grow_mutex = PTHREAD_MUTEX_INITIALIZER;

void
region_grow_forked(void)
{
	(void)pthread_mutex_init(&grow_mutex, NULL);
}

/* Memory behind the end of the region's file is none: a size beyond that is damage. */
static bool
file_reaches(const struct region *r, uint64_t size)
{
	struct os_stat st;

	return r->is_private || r->is_system || os_fstat(r->fd, &st) != 0 || st.size >= size;
}

size_t
region_look_again(struct region *r)
{
	uint64_t says = load_acquire(&r->layout->size);
	size_t size = load_relaxed(&r->size);

	/* Another thread may do the same: what is stored is true in either order, or soon is. */
	if (says != size && says <= r->mapped && says % os_page_size() == 0 &&
	    says >= layout_body_offset(r->nclients) && (says < size || file_reaches(r, says))) {
		size = (size_t)says;
		store_relaxed(&r->size, size);
	}
	return size;
}

static int
say_too_large(const struct region *r, uint64_t size)
{
	env_err(r->dbenv, "%s: %llu bytes are wanted, and %llu are what it may grow to",
	    region_name(r), (unsigned long long)size, (unsigned long long)r->mapped);
	return ENOMEM;
}

static void
set_size(struct region *r, uint64_t from, uint64_t size)
{
	store_seq(&r->layout->size, size);
	add_seq(&r->layout->generation, 1);
	store_relaxed(&r->size, (size_t)size);
	env_event(r->dbenv, "%s: %s from %llu to %llu bytes", region_name(r),
	    size > from ? "grown" : "shrunk", (unsigned long long)from, (unsigned long long)size);
}

static int
grow_locked(struct region *r, uint64_t size)
{
	uint64_t from = region_look_again(r);
	int ret;

	if (size <= from)
		return 0;
	if ((ret = memory_extend(r, from, size)) == 0)
		set_size(r, from, size);
	else
		(void)memory_release(r, from);
	return ret;
}

static int
shrink_locked(struct region *r, uint64_t size)
{
	uint64_t from = region_look_again(r);
	int ret;

	if (size > from)
		return 0;
	if (size < from)
		set_size(r, from, size);
	if ((ret = memory_release(r, size)) != 0)
		env_warn(r->dbenv, "%s: the memory behind %llu bytes cannot be given back: %s",
		    region_name(r), (unsigned long long)size, db_strerror(ret));
	return 0;
}

/* With REGION_BYTE held, for a region that is in a directory. */
static int
change_locked(struct region *r, int (*change)(struct region *r, uint64_t size), uint64_t size)
{
	bool same;
	int ret;

	if ((ret = region_is_at_path(r, &same)) != 0)
		return ret;
	return same ? change(r, size) : ESTALE;
}

static int
change_waiting(struct region *r, int (*change)(struct region *r, uint64_t size), uint64_t size)
{
	int ret;

	if (r->is_private)
		return change(r, size);
	if ((ret = os_lock_wait(r->fd, REGION_BYTE, REGION_JOIN_MSEC)) != 0) {
		env_err(r->dbenv, "%s: cannot lock it to change its size: %s", r->path,
		    db_strerror(ret));
		return ret;
	}
	ret = change_locked(r, change, size);
	os_unlock(r->fd, REGION_BYTE);
	return ret;
}

static int
change_size(struct region *r, int (*change)(struct region *r, uint64_t size), uint64_t size)
{
	int ret;

	pthread_mutex_lock(&grow_mutex);
	ret = change_waiting(r, change, os_whole_pages(size));
	pthread_mutex_unlock(&grow_mutex);
	return ret;
}

int
region_grow(struct region *r, uint64_t size)
{
	int ret;

	if ((ret = region_usable(r)) != 0)
		return ret;
	if (size <= region_look_again(r))
		return 0;
	if (size > r->mapped)
		return say_too_large(r, size);
	return change_size(r, grow_locked, size);
}

int
region_shrink(struct region *r, uint64_t size)
{
	int ret;

	if ((ret = region_usable(r)) != 0)
		return ret;
	if (size < layout_body_offset(r->nclients)) {
		env_err(r->dbenv, "%s: cannot shrink to %llu bytes: its clients' table needs %llu",
		    region_name(r), (unsigned long long)size,
		    (unsigned long long)layout_body_offset(r->nclients));
		return EINVAL;
	}
	if (size > region_look_again(r))
		return 0;
	return change_size(r, shrink_locked, size);
}
