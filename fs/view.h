/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view.h - what is in each status file.
 *
 * A view fills a sheet, whose forms (text, JSON, Prometheus) all come from one place; what is not
 * rows of values appends its text itself.  All return 0 or an errno value.
 */
#ifndef FS_VIEW_H
#define FS_VIEW_H

#include "render.h"
#include "sheet.h"

struct fs;

struct view {
	const char *name; /* of the array that a table is in JSON */
	const struct field *fields;
	size_t nfields;
	enum sheet_shape shape;
	int (*fill)(struct fs *fs, struct sheet *s); /* at least one row, if SHEET_KEYS */
};

extern const struct view view_lock, view_lock_table, view_lock_waits;
extern const struct view view_pool, view_files, view_latency, view_daemon, view_check, view_events,
    view_panic;

int view_text(struct fs *fs, const struct view *v, struct text *t);
int view_json(struct fs *fs, const struct view *v, struct text *t);

int view_waits_dot(struct fs *fs, struct text *t);
int view_readme(struct fs *fs, struct text *t);
int view_prom(struct fs *fs, struct text *t); /* stat/poolfs.prom: all totals */

/* region: the file's name in HOME */
int view_layout(struct fs *fs, const char *region, struct text *t);
int view_clients(struct fs *fs, const char *region, struct text *t);
int view_heap(struct fs *fs, const char *region, struct text *t);

/* view_latency.c: the histograms, for poolfs.prom. */
int view_latency_prom(struct fs *fs, struct text *t);

/* view_pool.c: what stat/pool says of these statistics. */
struct __db_mpool_stat;
void view_pool_row(
    struct sheet *s, uint64_t seq, uint64_t since_usec, const struct __db_mpool_stat *st);

#endif
