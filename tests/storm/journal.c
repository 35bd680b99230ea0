/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The storm: what a client tells the conductor, and how long its calls took.
 *
 * A record is one write(2) to a pipe, so it is told whole or not at all.
 */
#include "storm.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "../stall_t.h"

static struct stall stall;
static unsigned stops_before; /* the call */
static volatile sig_atomic_t stops;

static void
has_been_stopped(int sig)
{
	(void)sig;
	stops++;
}

void
call_begin(struct player *c)
{
	if (c->calls++ == 0)
		(void)signal(SIGCONT, has_been_stopped);
	stall_begin(&stall);
	stops_before = (unsigned)stops;
}

void
call_end(struct player *c)
{
	uint64_t took = stall_end(&stall, STALL_TOLD_USEC);

	if (took > 0 && stops_before == (unsigned)stops)
		journal(c, RECORD_STALL, 0, 0, (uint32_t)took);
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
