/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/render.h - numbers as text of fixed width.  No input or output, no locks.
 *
 * A key-value line is 52 bytes: the key to the left in 30 columns, a space, the value to the
 * right in 20, a newline.  A line with a text is 232: 30, a space, 200 to the left, a newline.
 * So the size of a status file is known before it is read, and stays.
 */
#ifndef FS_RENDER_H
#define FS_RENDER_H

#include <stddef.h>
#include <stdint.h>

#define RENDER_KEY 30
#define RENDER_VALUE 20
#define RENDER_LINE (RENDER_KEY + 1 + RENDER_VALUE + 1)
#define RENDER_TEXT 200
#define RENDER_TEXT_LINE (RENDER_KEY + 1 + RENDER_TEXT + 1)

/* A growing text.  error is set, and stays, when memory ran out. */
struct text {
	char *data;
	size_t bytes, room;
	int error;
};

/* printf at the end. */
void text_add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_fini(struct text *t);

void render_u64(struct text *t, const char *key, uint64_t value);
void render_i64(struct text *t, const char *key, int64_t value);
void render_hex(struct text *t, const char *key, uint64_t value);
/* hundredths of a per cent, with two decimals */
void render_percent(struct text *t, const char *key, uint64_t hundredths);
void render_unknown(struct text *t, const char *key);
/*
 * At most RENDER_TEXT bytes of value, cut with an ellipsis between two characters; what is not
 * printable becomes '?'.  field has room for RENDER_TEXT + 1.
 */
void render_cut(const char *value, char *field);
void render_text(struct text *t, const char *key, const char *value);
/* A last, free column of a table: any bytes but newlines and other controls, then a newline. */
void render_free_text(struct text *t, const char *value);

/* Bytes of the UTF-8 character at text, 0 if there is none. */
size_t render_utf8(const char *text);

/* 10000 * part / whole, or 0. */
uint64_t render_ratio(uint64_t part, uint64_t whole);

#endif
