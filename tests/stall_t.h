/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stall_t.h - how long a call held its thread up.
 *
 * Time that a thread spends runnable but not running is the machine's doing, not the library's:
 * the kernel counts it, in schedstat; it is read when some milliseconds have passed and when a
 * call took long, so that at most those milliseconds too much are taken off.  For one thread of a
 * process.
 */
#ifndef TESTS_STALL_T_H
#define TESTS_STALL_T_H

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/os.h"

#define STALL_LOOK_USEC 5000

struct stall {
	int schedstat; /* 0: not open yet */
	uint64_t began;
	uint64_t looked; /* when delay was read */
	uint64_t delay;	 /* ns that this thread has waited for a processor */
};

static inline uint64_t
stall_delay(struct stall *s)
{
	unsigned long long ran, waited;
	char text[80];
	ssize_t n;

	if (s->schedstat == 0)
		s->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if ((n = pread(s->schedstat, text, sizeof(text) - 1, 0)) <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
}

static inline void
stall_begin(struct stall *s)
{
	s->began = os_monotonic_usec();
	if (s->looked == 0 || s->began - s->looked > STALL_LOOK_USEC) {
		s->delay = stall_delay(s);
		s->looked = s->began;
	}
}

/* Microseconds since then, less the wait for a processor; 0 if that is not more than told_usec. */
static inline uint64_t
stall_end(struct stall *s, uint64_t told_usec)
{
	uint64_t took = os_monotonic_usec() - s->began, delay;

	if (took <= told_usec)
		return 0;
	delay = (stall_delay(s) - s->delay) / 1000;
	return took > delay + told_usec ? took - delay : 0;
}

#endif
