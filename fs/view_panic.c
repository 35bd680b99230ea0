/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view_panic.c - stat/panic: the regions that nobody can use, and why.
 *
 * Damaged is what somebody found so: then it says who, when and what.  A region may also be of
 * another version, of an earlier boot, in memory that cannot be got at from here, or not to be
 * read; that is what an attach would say of it, and nothing is attached for it.  The mount's own
 * pool may have no file; it is asked itself.
 */
#include "view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "region_dir.h"
#include "state.h"

struct panic_view {
	const char *region;
	const struct region_report *report;
};

static const struct field fields[] = {
#define STAT_PANIC(key, expression, kind, unit, width, help)                                       \
	{ #key, FIELD_##kind, #unit, "", width, help },
#include "stat.def"
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))
#define WHO 2	  /* fields that are known only of a panic: these */
#define WHO_END 6 /* and those before this one */

/* The texts are copied: the report does not last as long as the sheet. */
static void
add(struct sheet *s, const char *region, const struct region_report *report)
{
	struct region_report *copy = malloc(sizeof(*copy));
	struct panic_view view = { .report = copy }, *v = &view;

	if (copy == NULL) {
		s->error = ENOMEM;
		return;
	}
	*copy = *report;
	if (sheet_keep(s, (char *)copy) != (char *)copy)
		return;
	v->region = sheet_keep(s, strdup(region));
	struct value row[] = {
#define STAT_PANIC(key, expression, kind, unit, width, help) VALUE_##kind(expression),
#include "stat.def"
	};

	for (size_t i = WHO; i < WHO_END && !report->panicked; i++)
		row[i].known = false;
	sheet_add(s, row);
}

struct looking {
	struct fs *fs;
	struct sheet *sheet;
};

static int
look_at(const char *file, void *arg)
{
	struct looking *l = arg;
	struct region_report report;
	char shown[REGION_NAME_BYTES];

	if (strlen(file) >= sizeof(shown) || region_report(l->fs, file, &report) != 0 ||
	    report.error == 0)
		return 0;
	region_shown_name(file, shown);
	add(l->sheet, shown, &report);
	return 0;
}

/* Process memory that cannot be trusted any more is still ours to read. */
static void
look_at_private(struct fs *fs, struct sheet *s)
{
	struct region_report report = { .panicked = true, .error = DB_RUNRECOVERY };
	const RLAYOUT *l;

	if (pool_peek(fs) && mpool_region(fs->pool)->is_private &&
	    (l = mpool_region(fs->pool)->layout)->panic != 0) {
		report.pid = l->panic_pid;
		report.uid = l->panic_uid;
		report.usec = l->panic_usec;
		(void)snprintf(report.name, sizeof(report.name), "%.*s", (int)sizeof(l->panic_name),
		    l->panic_name);
		(void)snprintf(report.why, sizeof(report.why), "%.*s", (int)sizeof(l->panic_why),
		    l->panic_why);
		add(s, "(private)", &report);
	}
	pool_put(fs);
}

static int
fill(struct fs *fs, struct sheet *s)
{
	struct looking l = { .fs = fs, .sheet = s };

	look_at_private(fs, s);
	return region_each(region_dir(fs), look_at, &l);
}

const struct view view_panic = { "regions", fields, FIELDS, SHEET_TABLE, fill };
