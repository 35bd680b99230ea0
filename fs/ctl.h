/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ctl.h - the file ctl: commands to the mount, and what they left behind.
 */
#ifndef FS_CTL_H
#define FS_CTL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <poolfs/mpool.h>

struct fs;
struct text;

/* What the invariant walker found when it was last asked. */
struct check_result {
	uint64_t usec; /* when; 0: never */
	uint64_t took_usec;
	int result;
	uint64_t faults;
	uint64_t checks;
	char first[256]; /* of the faults */
};

struct steering {
	pthread_mutex_t lock;
	struct check_result check; /* [lock] */
	uint64_t reset_usec;	   /* [lock] when the counters were set back; 0: never */
	uint64_t reset_region;	   /* [lock] of which region */
	DB_MPOOL_STAT reset;	   /* [lock] what they were then */
};

/*
 * Run the commands in bytes of text, one a line, until one fails: its error, after a sentence.
 * Words are split by blanks; "..." keeps them, with \ before " and \; # begins a comment.
 */
int ctl_run(struct fs *fs, const char *text, size_t bytes);

/* What reading ctl shows: a line for each verb. */
int ctl_help(struct fs *fs, struct text *t);

/* Take what the counters were at the last reset off them.  *since_usec moves there. */
void ctl_since_reset(struct fs *fs, uint64_t region_id, DB_MPOOL_STAT *st, uint64_t *since_usec);

/* A copy of what check found. */
void ctl_checked(struct fs *fs, struct check_result *copy);

/* --- ctl_words.c --------------------------------------------------------------------------- */

#define CTL_WORDS 8

/*
 * Split a line in place.  *np words, at most CTL_WORDS (E2BIG); EINVAL: a quote is not closed.
 */
int ctl_split(char *line, char *words[CTL_WORDS], int *np);

/* "12" .. most; "10%" with a percent sign if percent.  False: it is none. */
bool ctl_number(const char *word, bool percent, uint64_t most, uint64_t *np);
/* "64M" and the like. */
bool ctl_size(const char *word, uint64_t *bytesp);

#endif
