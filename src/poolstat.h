/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolstat.h - the parts of the program poolstat.
 *
 * Whoever finds a reason to stop says it in one sentence on standard error and returns an exit
 * status: 1, or 2 for a wrong command line; nobody but main exits.
 */
#ifndef SRC_POOLSTAT_H
#define SRC_POOLSTAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/os.h"
#include "region/region.h"
#include "sheet.h"

#define EXIT_USAGE 2
#define FIELDS_MOST 128u

enum what_to_show {
	SHOW_TABLE,
	SHOW_TOP,
	SHOW_REPORT,
	SHOW_DIFF,
	SHOW_WAIT,
	SHOW_ENV,
	SHOW_COLUMNS,
	DO_REMOVE,
	DO_HELP,
	DO_VERSION,
};

struct options {
	enum what_to_show what;
	const char *target;	  /* MOUNTPOINT, HOME, a region's file, or a saved stat/pool */
	const char *other;	  /* the second one of --diff */
	const char *region_dir;	  /* or NULL */
	const char *columns;	  /* -o, or NULL */
	const char *condition;	  /* --wait */
	double interval_seconds;  /* 0: once */
	uint64_t count;		  /* 0: without end */
	uint64_t timeout_seconds; /* of --wait; 0: none */
	bool json, raw, no_headings, exact, force;
};

/* One sentence on standard error, behind "poolstat: ". */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- poolstat_source.c: where the numbers come from ---------------------------------------- */

enum source_kind {
	SOURCE_MOUNT,  /* MOUNTPOINT/stat/pool */
	SOURCE_REGION, /* the region's own bytes: nobody needs to be alive */
	SOURCE_SAVED,  /* a copy of stat/pool */
};

struct source {
	enum source_kind kind;
	char *name;   /* as given */
	char *home;   /* if known */
	char *region; /* path of the region's file, if known */
};

/* The statistics at a moment, by the fields of view_pool. */
struct sample {
	struct value values[FIELDS_MOST];
	uint64_t usec; /* since 1970; 0: not known */
	bool panicked;
	int32_t panic_pid;
	uint64_t panic_usec;
	char panic_why[REGION_WHY_BYTES + 1];
};

int source_open(const char *target, const char *region_dir, struct source *s);
int source_read(const struct source *s, struct sample *sample);
void source_close(struct source *s);

/* The number of a field, by its key or a short name ("dirty"); -1. */
int field_number(const char *key);
const struct field *field_at(int number);
int field_count(void);
bool field_is_total(int number);
/* 0 if it is not known */
uint64_t sample_number(const struct sample *sample, const char *key);
/* Pages that are dirty, of all that are there, in hundredths of a per cent. */
uint64_t sample_dirty(const struct sample *sample);

/* --- the rest ------------------------------------------------------------------------------ */

/* poolstat_table.c */
int show_table(const struct options *o, const struct source *s);
int show_columns(void);
/* Sleep for the rest of an interval that began at *nextp (monotonic), which moves on. */
void interval_wait(uint64_t *nextp, double seconds);
/* "1.2M" in at most 6 columns, or exactly. */
void format_count(char *out, size_t bytes, uint64_t n, bool exact);
/* The same in memory of its own, good until sixteen calls later. */
const char *count_text(uint64_t n, bool exact);

/* poolstat_report.c */
int show_report(const struct source *s);
int show_diff(const struct source *a, const struct source *b);
int show_env(const char *home, const char *region_dir);
int remove_env(const char *home, const char *region_dir, bool force);

/* poolstat_wait.c */
int show_wait(const struct options *o, const struct source *s);

/* poolstat_top.c */
int show_top(const struct options *o, const struct source *s);

#endif
