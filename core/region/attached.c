/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/attached.c - the regions that this process is attached to, and what fork(2) does to
 * them.
 *
 * A forked child inherits the parent's descriptors and with them the parent's open file
 * descriptions.  Left open, they would keep the parent's locks alive after its death, and the
 * dead parent would count as a live client for ever.  So a handler closes them in the child,
 * before fork(2) returns there.  For that every region is in one list from before its file is
 * opened until after it is closed.
 *
 * attached_mutex guards the list and the moments in which a descriptor is open but not yet, or no
 * longer, in r->fd; fork(2) holds it.  Under it one open(2) or close(2) is made and nothing
 * waited for.
 */
#include "region_impl.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

struct attached {
	struct region region; /* first: a struct region is freed through it */
	struct attached *next;
	struct attached **link; /* what points here */
};

static pthread_mutex_t attached_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct attached *attached_list;

static void
before_fork(void)
{
	pthread_mutex_lock(&attached_mutex);
}

static void
after_fork(void)
{
	pthread_mutex_unlock(&attached_mutex);
}

static void
in_child(void)
{
	struct attached *a;

	for (a = attached_list; a != NULL; a = a->next) {
		os_close(a->region.fd);
		os_close(a->region.home_fd);
		a->region.fd = a->region.home_fd = -1;
	}
	region_grow_forked();
	pthread_mutex_unlock(&attached_mutex);
}

__attribute__((constructor)) static void
watch_forks(void)
{
	(void)pthread_atfork(before_fork, after_fork, in_child);
}

int
region_create(struct region **rp)
{
	struct attached *a = NULL;
	int ret;

	if ((ret = os_calloc(1, sizeof(*a), (void **)&a)) != 0)
		return ret;
	a->region.fd = a->region.home_fd = -1;
	a->region.self = NO_CLIENT;
	a->region.fork_generation = os_fork_generation();
	pthread_mutex_lock(&attached_mutex);
	a->next = attached_list;
	a->link = &attached_list;
	if (a->next != NULL)
		a->next->link = &a->next;
	attached_list = a;
	pthread_mutex_unlock(&attached_mutex);
	*rp = &a->region;
	return 0;
}

void
region_destroy(struct region *r)
{
	struct attached *a = (struct attached *)r;

	if (r == NULL)
		return;
	region_close_fd(r);
	region_close_home(r);
	pthread_mutex_lock(&attached_mutex);
	*a->link = a->next;
	if (a->next != NULL)
		a->next->link = a->link;
	pthread_mutex_unlock(&attached_mutex);
	free(r->path);
	free(a);
}

int
region_open_fd(struct region *r, int oflags, mode_t mode)
{
	int ret;

	POOL_ASSERT(r->fd == -1);
	pthread_mutex_lock(&attached_mutex);
	ret = os_open(r->path, oflags, mode, &r->fd);
	pthread_mutex_unlock(&attached_mutex);
	return ret;
}

int
region_open_home(struct region *r, const char *home)
{
	int ret;

	POOL_ASSERT(r->home_fd == -1);
	pthread_mutex_lock(&attached_mutex);
	ret = os_open(home, O_RDONLY | O_DIRECTORY, 0, &r->home_fd);
	pthread_mutex_unlock(&attached_mutex);
	return ret;
}

void
region_close_home(struct region *r)
{
	pthread_mutex_lock(&attached_mutex);
	os_close(r->home_fd);
	r->home_fd = -1;
	pthread_mutex_unlock(&attached_mutex);
}

void
region_close_fd(struct region *r)
{
	pthread_mutex_lock(&attached_mutex);
	os_close(r->fd);
	r->fd = -1;
	pthread_mutex_unlock(&attached_mutex);
}
