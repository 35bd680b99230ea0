/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/sheet.h - what a status file says, before it has a form.
 *
 * A view fills a sheet: rows of values, described by fields that come from stat.def.  The forms
 * are made here, from the same fields: text (lines of a key and a value, or a table), JSON, and
 * Prometheus's text.  No input or output, no locks.
 */
#ifndef FS_SHEET_H
#define FS_SHEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "render.h"

enum field_kind {
	FIELD_U64,
	FIELD_I64,
	FIELD_HEX,
	FIELD_PERCENT, /* in hundredths */
	FIELD_TEXT,
};

struct field {
	const char *key;
	enum field_kind kind;
	const char *unit;
	const char *metric; /* of Prometheus, without "poolfs_"; "" none; "..._total": a counter */
	int width;	    /* of the column in a table; negative: to the left; 0: the last, free */
	const char *help;
};

struct value {
	bool known;
	uint64_t number;
	const char *text; /* of FIELD_TEXT, not NULL if known; outlives the sheet: sheet_keep */
};

#define VALUE_U64(e)                                                                               \
	{                                                                                          \
		.known = true, .number = (uint64_t)(e)                                             \
	}
#define VALUE_I64(e)                                                                               \
	{                                                                                          \
		.known = true, .number = (uint64_t)(int64_t)(e)                                    \
	}
#define VALUE_HEX(e)                                                                               \
	{                                                                                          \
		.known = true, .number = (uint64_t)(e)                                             \
	}
#define VALUE_PERCENT(e)                                                                           \
	{                                                                                          \
		.known = true, .number = (uint64_t)(e)                                             \
	}
#define VALUE_TEXT(e)                                                                              \
	{                                                                                          \
		.known = (e) != NULL, .text = (e)                                                  \
	}

enum sheet_shape {
	SHEET_KEYS,  /* one row, a line each value */
	SHEET_TABLE, /* a header, a line each row */
};

struct sheet {
	const struct field *fields;
	size_t nfields;
	enum sheet_shape shape;
	struct value *values; /* rows * nfields */
	size_t rows, room;
	char **kept; /* texts that go with the sheet */
	size_t nkept;
	int error; /* set, and stays, when memory ran out */
};

void sheet_init(
    struct sheet *s, const struct field *fields, size_t nfields, enum sheet_shape shape);
void sheet_fini(struct sheet *s);

/* A row at the end; nfields values are copied. */
void sheet_add(struct sheet *s, const struct value *row);
/* A row of which nothing is known. */
void sheet_add_unknown(struct sheet *s);
/* text (from malloc) is freed with the sheet; returns it, or "-" instead of NULL. */
const char *sheet_keep(struct sheet *s, char *text);

void sheet_text(const struct sheet *s, struct text *t);
/* One object; a table is an array under name. */
void sheet_json(const struct sheet *s, const char *name, struct text *t);
/* The fields of a SHEET_KEYS that have a metric.  pool: the label's value. */
void sheet_prom(const struct sheet *s, const char *pool, struct text *t);
/* The head of a metric: HELP and TYPE. */
void sheet_prom_head(struct text *t, const char *metric, const char *type, const char *help);
/* {pool="..."} without the closing brace. */
void sheet_prom_label(struct text *t, const char *pool);

#endif
