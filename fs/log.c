/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/log.c - sentences for people.
 *
 * One program prints through one function: its own sentences, core's (by the DB_ENV's callback)
 * and libfuse's (by its log hook).  Each becomes one line on standard error behind "poolfs: ", or
 * one syslog entry once the program has become a daemon.  A line is written with a single call,
 * so that threads do not cut each other's in two.
 */
#define FUSE_USE_VERSION 312
#include "log.h"

#include <errno.h>
#include <fuse_log.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "events.h"

#define SENTENCE_BYTES 1024

static bool to_syslog;
static bool holding;
static char held[SENTENCE_BYTES];

static void
log_text(int priority, const char *text)
{
	char line[SENTENCE_BYTES + 16];
	int n;

	if (priority < LOG_DEBUG)
		events_add(priority, text);
	if (to_syslog) {
		syslog(priority, "%s", text);
		return;
	}
	n = snprintf(line, sizeof(line), "poolfs: %s\n", text);
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) == -1)
		return; /* nobody reads it */
}

void
fs_log(int priority, const char *fmt, ...)
{
	char text[SENTENCE_BYTES];
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_text(priority, text);
	errno = saved;
}

void
fs_log_to_syslog(void)
{
	openlog("poolfs", LOG_PID, LOG_DAEMON);
	to_syslog = true;
}

void *
fs_log_core(char *prefix, char *sentence)
{
	(void)prefix;
	if (holding)
		(void)snprintf(held, sizeof(held), "%s", sentence);
	else
		fs_log(LOG_WARNING, "%s", sentence);
	return NULL;
}

void
fs_log_hold(void)
{
	held[0] = '\0';
	holding = true;
}

void
fs_log_release(char *sentence, size_t bytes)
{
	holding = false;
	(void)snprintf(sentence, bytes, "%s", held);
}

static int
priority_of(enum fuse_log_level level)
{
	/* The two enumerations are both syslog's numbers, by libfuse's definition. */
	return (int)level >= LOG_EMERG && (int)level <= LOG_DEBUG ? (int)level : LOG_ERR;
}

__attribute__((format(printf, 2, 0))) static void
log_from_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[SENTENCE_BYTES];
	size_t n;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	if (n > 0 && holding)
		(void)snprintf(held, sizeof(held), "%s", text);
	else if (n > 0)
		log_text(priority_of(level), text);
}

void
fs_log_take_over_fuse(void)
{
	fuse_set_log_func(log_from_fuse);
}
