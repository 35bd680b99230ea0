/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/events.c - the last sentences, in memory, for those who look at the mount instead of the log.
 *
 * Everything that the log gets is kept here too, in a ring that begins when the daemon does; the
 * log itself is the place for what is older.  A process serves one mount, so there is one ring.
 * Its mutex is a leaf: whatever a thread holds, it may say a sentence.
 *
 * Whoever polls stat/events is woken once by the next event, with poll's own notice of the kernel,
 * which takes no lock of a file and so may be sent from anywhere.
 */
#define FUSE_USE_VERSION 312
#include "events.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/os.h"

struct waiter {
	struct waiter *next;
	const void *who;
	struct fuse_pollhandle *ph;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct event ring[EVENTS_KEPT]; /* [lock] */
static uint64_t last_seq;	       /* [lock] */
static struct event last_error;	       /* [lock] */
static struct waiter *waiters;	       /* [lock] */
static bool ended;		       /* [lock] */

static struct waiter *
take_waiters_locked(void)
{
	struct waiter *list = waiters;

	waiters = NULL;
	return list;
}

static void
wake(struct waiter *list)
{
	struct waiter *w;

	while ((w = list) != NULL) {
		list = w->next;
		(void)fuse_lowlevel_notify_poll(w->ph);
		fuse_pollhandle_destroy(w->ph);
		free(w);
	}
}

void
events_add(int priority, const char *text)
{
	struct waiter *list;
	struct event *e;

	(void)pthread_mutex_lock(&lock);
	e = &ring[last_seq % EVENTS_KEPT];
	e->seq = ++last_seq;
	e->usec = os_now_usec();
	e->priority = priority;
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
	if (priority <= LOG_WARNING)
		last_error = *e;
	list = take_waiters_locked();
	(void)pthread_mutex_unlock(&lock);
	wake(list);
}

uint64_t
events_last(void)
{
	uint64_t seq;

	(void)pthread_mutex_lock(&lock);
	seq = last_seq;
	(void)pthread_mutex_unlock(&lock);
	return seq;
}

uint64_t
events_last_usec(void)
{
	uint64_t usec = 0;

	(void)pthread_mutex_lock(&lock);
	if (last_seq > 0)
		usec = ring[(last_seq - 1) % EVENTS_KEPT].usec;
	(void)pthread_mutex_unlock(&lock);
	return usec;
}

void
events_last_error(struct event *copy)
{
	(void)pthread_mutex_lock(&lock);
	*copy = last_error;
	(void)pthread_mutex_unlock(&lock);
}

unsigned
events_copy(struct event *copies, unsigned n)
{
	uint64_t first;
	unsigned k = 0;

	if (n > EVENTS_KEPT)
		n = EVENTS_KEPT;
	(void)pthread_mutex_lock(&lock);
	for (first = last_seq > n ? last_seq - n : 0; first < last_seq; first++)
		copies[k++] = ring[first % EVENTS_KEPT];
	(void)pthread_mutex_unlock(&lock);
	return k;
}

static void
forget_locked(const void *who)
{
	struct waiter **at = &waiters, *w;

	while ((w = *at) != NULL && w->who != who)
		at = &w->next;
	if (w == NULL)
		return;
	*at = w->next;
	fuse_pollhandle_destroy(w->ph);
	free(w);
}

void
events_forget(const void *who)
{
	(void)pthread_mutex_lock(&lock);
	forget_locked(who);
	(void)pthread_mutex_unlock(&lock);
}

void
events_wait(const void *who, struct fuse_pollhandle *ph)
{
	struct waiter *w;
	bool too_late;

	if ((w = malloc(sizeof(*w))) == NULL) {
		fuse_pollhandle_destroy(ph);
		return;
	}
	*w = (struct waiter){ .who = who, .ph = ph };
	(void)pthread_mutex_lock(&lock);
	forget_locked(who);
	if (!(too_late = ended)) {
		w->next = waiters;
		waiters = w;
	}
	(void)pthread_mutex_unlock(&lock);
	if (too_late)
		wake(w);
}

void
events_fini(void)
{
	struct waiter *list;

	(void)pthread_mutex_lock(&lock);
	ended = true;
	list = take_waiters_locked();
	(void)pthread_mutex_unlock(&lock);
	wake(list);
}
