/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/check.h - the invariant walker.
 */
#ifndef LOCK_CHECK_H
#define LOCK_CHECK_H

#include "table.h"

/* 0, or EFAULT and a sentence for each thing that does not hold. */
int locktab_check(DB_LOCKTAB *lt);

#endif
