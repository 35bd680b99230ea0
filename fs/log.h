/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/log.h - where sentences go: standard error while there is a terminal to read it, syslog
 * later.
 */
#ifndef FS_LOG_H
#define FS_LOG_H

#include <stddef.h>
#include <syslog.h>

#include <poolfs/env.h>

/* One sentence without a newline.  priority is syslog(3)'s.  Keeps errno. */
void fs_log(int priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* From now on sentences go to syslog. */
void fs_log_to_syslog(void);

/* DB_ENV.db_errcall: what core has to say, as a sentence of its own. */
void *fs_log_core(char *prefix, char *sentence);

/*
 * Keep core's and libfuse's sentences instead of printing them, so that the caller can make one:
 * from fs_log_hold until fs_log_release, which copies the last one ("" if none) and goes back to
 * printing.  Start-up only, one thread.
 */
void fs_log_hold(void);
void fs_log_release(char *sentence, size_t bytes);

/* Route libfuse's own messages here. */
void fs_log_take_over_fuse(void);

#endif
