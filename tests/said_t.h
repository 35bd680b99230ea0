/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * said_t.h - what the library said, and calls that must succeed: with what was said when they did
 * not.  hear() is a DB_ENV's db_errcall.  Good in children and threads too.
 */
#ifndef TESTS_SAID_T_H
#define TESTS_SAID_T_H

#include "t.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <poolfs/env.h>

static char heard[8192]; /* every sentence since quiet(), one a line, the oldest first */
static int sentences;

static void *
hear(char *prefix, char *buffer)
{
	size_t used = strlen(heard);

	(void)prefix;
	(void)snprintf(heard + used, sizeof(heard) - used, "%s\n", buffer);
	sentences++;
	return NULL;
}

static inline void
quiet(void)
{
	heard[0] = '\0';
	sentences = 0;
}

static inline void
answer_is(const char *file, int line, const char *text, int got, int wanted)
{
	char why[512];

	if (got == wanted)
		return;
	if (sentences > 0)
		(void)dprintf(STDOUT_FILENO, "# it was said: %s",
		    heard + (strlen(heard) > 600 ? strlen(heard) - 600 : 0));
	(void)snprintf(why, sizeof(why), "%s: is %d (%s), not %d (%s)", text, got, db_strerror(got),
	    wanted, db_strerror(wanted));
	errno = 0;
	t_check_failed(file, line, why);
}

#define must(e) answer_is(__FILE__, __LINE__, #e, (e), 0)

#endif
