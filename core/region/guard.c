/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/guard.c - a region's file that is truncated under its clients, or whose disk fails, is an
 * error and not the end of the process.
 *
 * A load or store behind a mapped file's end is a SIGBUS.  Nothing can be asked beforehand that
 * would still be true afterwards, so the only remedy is a handler, and a library does not take a
 * signal unasked: DB_REGION_GUARD asks.  The handler puts zeroed private memory under the address,
 * so that the instruction goes on, and marks the region as lost in this process; every later call
 * then returns DB_RUNRECOVERY (region_usable), and what was copied in between is not written
 * anywhere.
 * Zeros are as good as any other damage: all that is read from a region is checked.
 *
 * Signals for other addresses go to whoever had the handler before.  The table is read in the
 * handler, so it has a fixed length and no lock: a slot is taken by compare-and-swap of its region
 * and given back before the memory is unmapped.  Regions beyond that are not guarded.
 */
#include "region_impl.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "../base/atomics.h"

#define GUARDED_MOST 64

typedef struct region *region_slot;

static region_slot guarded[GUARDED_MOST];
static struct sigaction previous;

static struct region *
find(uintptr_t addr)
{
	int i;

	for (i = 0; i < GUARDED_MOST; i++) {
		struct region *r = load_acquire(&guarded[i]);

		if (r != NULL && addr >= (uintptr_t)r->addr &&
		    addr - (uintptr_t)r->addr < r->mapped)
			return r;
	}
	return NULL;
}

/* Of the page that has no memory; true if the instruction can go on. */
static bool
put_zeros_under(struct region *r, uintptr_t addr)
{
	uintptr_t page = os_page_size();
	void *at = (void *)(addr & ~(page - 1));

	store_seq(&r->lost, LOST_SILENT);
	return mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) != MAP_FAILED;
}

/* Sent by somebody, or early news of a page that failed: not about an instruction of ours. */
static bool
can_be_ignored(const siginfo_t *info)
{
	return info->si_code <= 0 || info->si_code == BUS_MCEERR_AO;
}

static void
pass_on(int sig, siginfo_t *info, void *context)
{
	if (previous.sa_flags & SA_SIGINFO)
		previous.sa_sigaction(sig, info, context);
	else if (previous.sa_handler == SIG_IGN && can_be_ignored(info))
		return;
	else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
		previous.sa_handler(sig);
	else {
		/* The instruction is repeated, and this time it kills. */
		(void)signal(sig, SIG_DFL);
		if (can_be_ignored(info))
			(void)raise(sig);
	}
}

static void
on_sigbus(int sig, siginfo_t *info, void *context)
{
	struct region *r = info->si_code > 0 ? find((uintptr_t)info->si_addr) : NULL;

	if (r == NULL || !put_zeros_under(r, (uintptr_t)info->si_addr))
		pass_on(sig, info, context);
}

static void
install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	(void)sigemptyset(&sa.sa_mask);
	(void)sigaction(SIGBUS, &sa, &previous);
}

void
guard_add(struct region *r)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct region *nobody;
	int i;

	if (r->is_system || r->is_private)
		return;
	(void)pthread_once(&once, install);
	for (i = 0; i < GUARDED_MOST; i++) {
		nobody = NULL;
		if (cas_seq(&guarded[i], &nobody, r))
			return;
	}
	env_warn(
	    r->dbenv, "%s: not guarded against truncation: %d others are", r->path, GUARDED_MOST);
}

void
guard_remove(struct region *r)
{
	struct region *own;
	int i;

	for (i = 0; i < GUARDED_MOST; i++) {
		own = r;
		(void)cas_seq(&guarded[i], &own, NULL);
	}
}
