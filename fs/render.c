/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/render.c - numbers and names as text of fixed width.
 *
 * Everything that ends in a status file goes through here.  Names come from the region, where any
 * attached process may have written them, and from the disk: bytes that would break a line or
 * drive a terminal are replaced.
 */
#include "render.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
text_reserve(struct text *t, size_t bytes)
{
	size_t room = t->room * 2 > t->bytes + bytes ? t->room * 2 : t->bytes + bytes + 1024;
	char *data;

	if (t->error != 0)
		return false;
	if (t->room - t->bytes > bytes)
		return true;
	if ((data = realloc(t->data, room)) == NULL) {
		t->error = ENOMEM;
		return false;
	}
	t->data = data;
	t->room = room;
	return true;
}

void
text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !text_reserve(t, (size_t)n + 1))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(t->data + t->bytes, (size_t)n + 1, fmt, ap);
	va_end(ap);
	t->bytes += (size_t)n;
}

void
text_fini(struct text *t)
{
	free(t->data);
	*t = (struct text){ 0 };
}

void
render_u64(struct text *t, const char *key, uint64_t value)
{
	text_add(t, "%-*s %*" PRIu64 "\n", RENDER_KEY, key, RENDER_VALUE, value);
}

void
render_i64(struct text *t, const char *key, int64_t value)
{
	text_add(t, "%-*s %*" PRId64 "\n", RENDER_KEY, key, RENDER_VALUE, value);
}

void
render_hex(struct text *t, const char *key, uint64_t value)
{
	char hex[32];

	(void)snprintf(hex, sizeof(hex), "0x%" PRIx64, value);
	text_add(t, "%-*s %*s\n", RENDER_KEY, key, RENDER_VALUE, hex);
}

void
render_percent(struct text *t, const char *key, uint64_t hundredths)
{
	text_add(t, "%-*s %*" PRIu64 ".%02" PRIu64 "\n", RENDER_KEY, key, RENDER_VALUE - 3,
	    hundredths / 100, hundredths % 100);
}

void
render_unknown(struct text *t, const char *key)
{
	text_add(t, "%-*s %*s\n", RENDER_KEY, key, RENDER_VALUE, "-");
}

static bool
is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

static void
clean(char *s)
{
	for (; *s != '\0'; s++)
		if (is_control((unsigned char)*s))
			*s = '?';
}

void
render_cut(const char *value, char *field)
{
	size_t n = RENDER_TEXT - 3;

	if (snprintf(field, RENDER_TEXT + 1, "%s", value) > RENDER_TEXT) {
		while (n > 0 && ((unsigned char)field[n] & 0xc0) == 0x80)
			n--;
		(void)strcpy(field + n, "...");
	}
	clean(field);
}

void
render_text(struct text *t, const char *key, const char *value)
{
	char field[RENDER_TEXT + 1];

	render_cut(value, field);
	text_add(t, "%-*s %-*s\n", RENDER_KEY, key, RENDER_TEXT, field);
}

void
render_free_text(struct text *t, const char *value)
{
	size_t from = t->bytes;

	text_add(t, "%s", value);
	if (t->error == 0)
		clean(t->data + from);
	text_add(t, "\n");
}

size_t
render_utf8(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n = s[0] < 0x80		 ? 1 :
	    s[0] >= 0xc2 && s[0] <= 0xdf ? 2 :
	    s[0] >= 0xe0 && s[0] <= 0xef ? 3 :
	    s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 :
					   0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and what lies behind the last plane. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

uint64_t
render_ratio(uint64_t part, uint64_t whole)
{
	if (whole == 0)
		return 0;
	/* Beyond this the product would overflow, and the last digits do not matter. */
	if (part > UINT64_MAX / 10000)
		return part / (whole / 10000 + 1);
	return part * 10000 / whole;
}
