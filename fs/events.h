/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/events.h - what was said lately: stat/events, last_error in stat/daemon, and who waits for
 * more.
 */
#ifndef FS_EVENTS_H
#define FS_EVENTS_H

#include <stdint.h>

struct fuse_pollhandle;

#define EVENT_TEXT 512

struct event {
	uint64_t seq; /* from 1; 0: none */
	uint64_t usec;
	int priority; /* syslog(3)'s */
	char text[EVENT_TEXT];
};

/* Keep a sentence, and wake who waits. */
void events_add(int priority, const char *text);

/* The number of the last event; 0: there was none. */
uint64_t events_last(void);
/* When it was, in microseconds since 1970; 0: there was none. */
uint64_t events_last_usec(void);
/* The last one that was a warning or worse; seq is 0 if there was none. */
void events_last_error(struct event *copy);

/* Copies of those that are kept, the oldest first: at most n.  Returns how many. */
#define EVENTS_KEPT 128u
unsigned events_copy(struct event *copies, unsigned n);

/* Wake ph (taken over) at the next event; who (an open file) waits once at most. */
void events_wait(const void *who, struct fuse_pollhandle *ph);
/* who waits no more. */
void events_forget(const void *who);
/* Nobody can be woken any more: the session is about to end. */
void events_fini(void);

#endif
