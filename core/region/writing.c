/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/writing.c - who is just writing to the files of a home.
 *
 * Between a process's look whether its region is still one (region_usable) and its write there is
 * room for anything: it may be stopped there, its region removed by force, and another one made
 * over the same files, which it would then write old bytes to.  So whoever writes locks a byte of
 * the home first, then looks, and unlocks it behind the write; and who makes a region waits until
 * no byte is locked.  The lock is before the look, and the removal before the wait: so either the
 * writer sees that his region is gone, or he is waited for.  Who only is attached, stopped or not,
 * is in nobody's way.
 *
 * The byte is the process's and the thread's number, so that he can be named.  The kernel drops it
 * when the process dies.  Where a directory cannot be locked, nobody is waited for.
 */
#include <errno.h>
#include <unistd.h>

#include "home.h"
#include "region_impl.h"

#define LOOK_USEC 1000
#define THREAD_BITS 30

/* It stays until a fork; asking is a system call. */
static uint64_t
own_byte(void)
{
	static __thread uint64_t asked, byte; /* asked in that generation + 1 */
	uint64_t now = (uint64_t)os_fork_generation() + 1;

	if (asked != now) {
		byte = HOME_WRITING + ((uint64_t)getpid() << THREAD_BITS) +
		    (uint64_t)gettid() % ((uint64_t)1 << THREAD_BITS);
		asked = now;
	}
	return byte;
}

int
region_write_begin(struct region *r)
{
	int ret;

	if (r->home_fd != -1)
		(void)os_lock_share(r->home_fd, own_byte());
	if ((ret = region_usable(r)) != 0)
		region_write_end(r);
	return ret;
}

void
region_write_end(struct region *r)
{
	if (r->home_fd != -1)
		os_unlock(r->home_fd, own_byte());
}

static int
say_writing(const struct region_spec *spec, const struct region *r, uint64_t byte)
{
	env_err(spec->dbenv,
	    "%s: process %llu has not come to the end of a write for the region that was here "
	    "before and was removed by force; until it has, or is killed, another one would be "
	    "overwritten",
	    r->path, (unsigned long long)((byte - HOME_WRITING) >> THREAD_BITS));
	return EBUSY;
}

int
writing_wait(const struct region_spec *spec, struct region *r, uint64_t deadline)
{
	uint64_t byte = 0;
	bool taken, same;

	if (!spec->is_pool || r->home_fd == -1)
		return 0;
	while (os_lock_find(r->home_fd, HOME_WRITING, HOME_WRITING, &taken, &byte) == 0 && taken) {
		/* Then the caller finds out, too, and starts again. */
		if (region_is_at_path(r, &same) == 0 && !same)
			return 0;
		if (os_monotonic_usec() >= deadline)
			return say_writing(spec, r, byte);
		os_sleep_usec(LOOK_USEC);
	}
	return 0;
}
