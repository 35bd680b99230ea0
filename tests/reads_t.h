/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reads_t.h - how many reads of files something takes: reads = 0, os_fault_hook = counts_reads, and
 * afterwards os_fault_hook = NULL.
 */
#ifndef TESTS_READS_T_H
#define TESTS_READS_T_H

#include "base/os.h"

static unsigned reads;

static int
counts_reads(enum os_call call, const char *what)
{
	(void)what;
	reads += call == OS_PREAD;
	return 0;
}

#endif
