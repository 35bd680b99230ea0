/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/error.h - sentences for people, and the two kinds of "cannot happen".
 *
 * A sentence names the object and the numbers, has no newline, and goes to the DB_ENV's callback,
 * else its file, else nowhere.  All helpers keep errno.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <poolfs/env.h>

#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* A failure: always reported.  dbenv may be NULL (then nothing is). */
void env_err(const DB_ENV *dbenv, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A warning: with db_verbose >= 1. */
void env_warn(const DB_ENV *dbenv, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* One line per region event: with db_verbose >= 2. */
void env_event(const DB_ENV *dbenv, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * POOL_ASSERT: impossible unless this process's own code is wrong; checked in debug builds.
 * Never for a value that was read from shared memory: that is input, and damage there is an
 * error.
 */
#ifdef NDEBUG
#define POOL_ASSERT(e) ((void)sizeof(e))
#else
#define POOL_ASSERT(e) ((e) ? (void)0 : pool_assert_failed(__FILE__, __LINE__, __func__, #e))
#endif

void pool_assert_failed(const char *file, int line, const char *func, const char *text)
    __attribute__((noreturn));

#endif
