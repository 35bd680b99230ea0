/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory_t.h - which kind of memory a test's regions are in.  With TEST_MEMORY=system in the
 * environment they are System V segments, in an IPC namespace of the test's own, so that whatever
 * becomes of the test, none is left on the machine.
 */
#ifndef TESTS_MEMORY_T_H
#define TESTS_MEMORY_T_H

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline bool
in_system_memory(void)
{
	const char *memory = getenv("TEST_MEMORY");

	return memory != NULL && strcmp(memory, "system") == 0;
}

__attribute__((constructor)) static void
own_ipc_namespace(void)
{
	if (!in_system_memory() || unshare(CLONE_NEWIPC) == 0)
		return;
	(void)printf("1..0 # SKIP no IPC namespace of its own: %s\n", strerror(errno));
	exit(77);
}

#endif
