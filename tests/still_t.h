/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * still_t.h - a child that stands still before a system call of its: stand_still(), and afterwards
 * os_fault_hook = NULL.  It says 's' when it comes there and goes on when it is told 'g'; so what
 * happens meanwhile is no matter of time.
 */
#ifndef TESTS_STILL_T_H
#define TESTS_STILL_T_H

#include "t.h"

#include <string.h>

#include "base/os.h"

static struct {
	struct t_child *c;
	enum os_call call;
	const char *about; /* part of what it is about; NULL: anything */
	unsigned n;	   /* the n-th from now; 0: none */
	int error;	   /* that the call fails with, when it goes on; 0: it is made */
} still;

static int
stands_still(enum os_call call, const char *what)
{
	if (still.n == 0 || call != still.call ||
	    (still.about != NULL && strstr(what, still.about) == NULL) || --still.n != 0)
		return 0;
	t_tell(still.c, 's');
	t_await(still.c, 'g');
	return still.error;
}

static void
stand_still(struct t_child *c, enum os_call call, const char *about, unsigned n, int error)
{
	still.c = c;
	still.call = call;
	still.about = about;
	still.n = n;
	still.error = error;
	os_fault_hook = stands_still;
}

#endif
