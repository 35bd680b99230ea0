/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/error.c - the way of a sentence from the place of a failure to the application.
 *
 * One sentence is one call of the application's callback, or one write to its file, so that the
 * sentences of several threads do not mix within a line.  A sentence that is too long for the
 * buffer is cut.  Nothing here allocates, and errno is as it was: an error path may report at any
 * point.
 */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#define SENTENCE_BYTES 1024

static void deliver(const DB_ENV *dbenv, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
static void report(const DB_ENV *dbenv, int verbose, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);

static void
deliver(const DB_ENV *dbenv, const char *fmt, va_list ap)
{
	char sentence[SENTENCE_BYTES];

	if (vsnprintf(sentence, sizeof(sentence), fmt, ap) < 0)
		return;
	if (dbenv->db_errcall != NULL) {
		/* The manual page's type; neither string is meant to be changed. */
		(void)dbenv->db_errcall((char *)dbenv->db_errpfx, sentence);
		return;
	}
	if (dbenv->db_errpfx != NULL)
		fprintf(dbenv->db_errfile, "%s: %s\n", dbenv->db_errpfx, sentence);
	else
		fprintf(dbenv->db_errfile, "%s\n", sentence);
	fflush(dbenv->db_errfile);
}

static void
report(const DB_ENV *dbenv, int verbose, const char *fmt, va_list ap)
{
	int saved = errno;

	if (dbenv != NULL && dbenv->db_verbose >= verbose &&
	    (dbenv->db_errcall != NULL || dbenv->db_errfile != NULL))
		deliver(dbenv, fmt, ap);
	errno = saved;
}

void
env_err(const DB_ENV *dbenv, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(dbenv, INT32_MIN, fmt, ap);
	va_end(ap);
}

void
env_warn(const DB_ENV *dbenv, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(dbenv, 1, fmt, ap);
	va_end(ap);
}

void
env_event(const DB_ENV *dbenv, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(dbenv, 2, fmt, ap);
	va_end(ap);
}

void
pool_assert_failed(const char *file, int line, const char *func, const char *text)
{
	fprintf(stderr, "%s:%d: %s: cannot be false: %s\n", file, line, func, text);
	abort();
}
