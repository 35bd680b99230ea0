/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The storm: what a client tells the conductor, and how long its calls took.
 *
 * A record is one write(2) to a pipe, so it is told whole or not at all.  Time that a thread spends
 * runnable but not running is the machine's doing, not the pool's: the kernel counts it, in
 * schedstat; it is read when some milliseconds have passed and when a call took long, so that at
 * most those milliseconds too much are taken off.
 */
#include "storm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define LOOK_USEC 5000

static struct {
	int schedstat;
	uint64_t began;
	uint64_t looked; /* when delay was read */
	uint64_t delay;	 /* ns that this thread has waited for a processor */
	unsigned stops;	 /* as of the beginning of the call */
} timing = { .schedstat = -1 };

static volatile sig_atomic_t stops;

static void
has_been_stopped(int sig)
{
	(void)sig;
	stops++;
}

static uint64_t
delay_now(void)
{
	unsigned long long ran, waited;
	char text[80];
	ssize_t n;

	if (timing.schedstat == -1) {
		(void)signal(SIGCONT, has_been_stopped);
		timing.schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	}
	if ((n = pread(timing.schedstat, text, sizeof(text) - 1, 0)) <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
}

void
call_begin(struct player *c)
{
	c->calls++;
	timing.began = os_monotonic_usec();
	if (timing.began - timing.looked > LOOK_USEC) {
		timing.delay = delay_now();
		timing.looked = timing.began;
	}
	timing.stops = (unsigned)stops;
}

void
call_end(struct player *c)
{
	uint64_t took = os_monotonic_usec() - timing.began, delay;

	if (took <= STALL_TOLD_USEC || timing.stops != (unsigned)stops)
		return;
	delay = (delay_now() - timing.delay) / 1000;
	if (took > delay + STALL_TOLD_USEC)
		journal(c, RECORD_STALL, 0, 0, (uint32_t)(took - delay));
}

void
journal(struct player *c, enum record_kind kind, unsigned file, unsigned page, uint32_t value)
{
	const struct record r = {
		.kind = (uint8_t)kind, .file = (uint8_t)file, .page = (uint16_t)page, .value = value
	};
	ssize_t n;

	do
		n = write(c->out, &r, sizeof(r));
	while (n == -1 && errno == EINTR);
	t_check(n == sizeof(r));
}

void
journal_sums(struct player *c)
{
	if (c->checked > 0)
		journal(c, RECORD_CHECKED, 0, 0, c->checked);
	if (c->calls > 0)
		journal(c, RECORD_CALLS, 0, 0, c->calls);
	c->checked = c->calls = 0;
}

unsigned
draw(struct player *c, unsigned below)
{
	return (unsigned)rand_r(&c->seed) % below;
}
