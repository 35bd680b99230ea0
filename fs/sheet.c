/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/sheet.c - the forms of a status file: text, JSON, Prometheus.
 *
 * Every form of an object has the same values under the same keys.  Values are padded to fixed
 * widths in all of them, so that the size of a file depends on its rows and not on its numbers.
 * Names may be any bytes: in JSON what is not UTF-8 becomes '?', since a parser would refuse the
 * whole object for it.
 */
#include "sheet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
sheet_init(struct sheet *s, const struct field *fields, size_t nfields, enum sheet_shape shape)
{
	*s = (struct sheet){ .fields = fields, .nfields = nfields, .shape = shape };
}

void
sheet_fini(struct sheet *s)
{
	for (size_t i = 0; i < s->nkept; i++)
		free(s->kept[i]);
	free(s->kept);
	free(s->values);
	*s = (struct sheet){ 0 };
}

void
sheet_add(struct sheet *s, const struct value *row)
{
	size_t room = s->room * 2 + 16;
	struct value *values;

	if (s->error != 0)
		return;
	if (s->rows == s->room) {
		values = realloc(s->values, room * s->nfields * sizeof(*values));
		if (values == NULL) {
			s->error = ENOMEM;
			return;
		}
		s->values = values;
		s->room = room;
	}
	memcpy(s->values + s->rows * s->nfields, row, s->nfields * sizeof(*row));
	s->rows++;
}

void
sheet_add_unknown(struct sheet *s)
{
	struct value *row;

	if ((row = calloc(s->nfields, sizeof(*row))) == NULL)
		s->error = ENOMEM;
	else
		sheet_add(s, row);
	free(row);
}

const char *
sheet_keep(struct sheet *s, char *text)
{
	char **kept;

	if (text == NULL)
		return "-";
	if ((s->nkept & (s->nkept + 1)) == 0) {
		if ((kept = realloc(s->kept, (2 * s->nkept + 1) * sizeof(*kept))) == NULL) {
			s->error = ENOMEM;
			free(text);
			return "-";
		}
		s->kept = kept;
	}
	s->kept[s->nkept++] = text;
	return text;
}

static const struct value *
row_at(const struct sheet *s, size_t row)
{
	return s->values + row * s->nfields;
}

/* --- text ---------------------------------------------------------------------------------- */

/* A number as people read it. */
static void
format_number(const struct field *f, const struct value *v, char *out, size_t bytes)
{
	if (!v->known)
		(void)snprintf(out, bytes, "-");
	else if (f->kind == FIELD_I64)
		(void)snprintf(out, bytes, "%" PRId64, (int64_t)v->number);
	else if (f->kind == FIELD_HEX)
		(void)snprintf(out, bytes, "0x%" PRIx64, v->number);
	else if (f->kind == FIELD_PERCENT)
		(void)snprintf(
		    out, bytes, "%" PRIu64 ".%02" PRIu64, v->number / 100, v->number % 100);
	else
		(void)snprintf(out, bytes, "%" PRIu64, v->number);
}

static void
text_of_keys(const struct sheet *s, struct text *t)
{
	char number[32];

	for (size_t i = 0; i < s->nfields; i++) {
		const struct value *v = &s->values[i];

		if (s->fields[i].kind == FIELD_TEXT) {
			render_text(t, s->fields[i].key, v->known ? v->text : "-");
			continue;
		}
		format_number(&s->fields[i], v, number, sizeof(number));
		text_add(t, "%-*s %*s\n", RENDER_KEY, s->fields[i].key, RENDER_VALUE, number);
	}
}

static void
text_of_header(const struct sheet *s, struct text *t)
{
	int mark = 1;

	text_add(t, "#");
	for (size_t i = 0; i < s->nfields; i++) {
		const struct field *f = &s->fields[i];
		int width = f->width < 0 ? f->width + mark : f->width - mark;

		text_add(
		    t, "%*s%s", f->width == 0 ? 0 : width, f->key, i + 1 < s->nfields ? " " : "\n");
		mark = 0;
	}
}

static void
text_of_cell(const struct field *f, const struct value *v, bool is_last, struct text *t)
{
	char number[32];

	if (f->kind == FIELD_TEXT && is_last) {
		render_free_text(t, v->known ? v->text : "-");
		return;
	}
	format_number(f, v, number, sizeof(number));
	if (f->kind == FIELD_TEXT)
		text_add(t, "%*s", f->width, v->known ? v->text : "-");
	else
		text_add(t, "%*s", f->width, number);
	text_add(t, is_last ? "\n" : " ");
}

void
sheet_text(const struct sheet *s, struct text *t)
{
	if (s->error != 0)
		t->error = s->error;
	if (s->error != 0 || s->shape == SHEET_KEYS) {
		if (s->rows > 0)
			text_of_keys(s, t);
		return;
	}
	text_of_header(s, t);
	for (size_t r = 0; r < s->rows; r++)
		for (size_t i = 0; i < s->nfields; i++)
			text_of_cell(&s->fields[i], &row_at(s, r)[i], i + 1 == s->nfields, t);
}

/* --- strings ------------------------------------------------------------------------------- */

/* In quotes, as JSON and Prometheus both read it; what is no UTF-8 or a control is a '?'. */
static void
quoted_string(struct text *t, const char *s)
{
	const unsigned char *c = (const unsigned char *)s;
	size_t n;

	text_add(t, "\"");
	for (; *c != '\0'; c += n) {
		if ((n = render_utf8((const char *)c)) == 0 || *c < 0x20 || *c == 0x7f) {
			text_add(t, "?");
			n = 1;
		} else {
			text_add(t, "%s%.*s", *c == '"' || *c == '\\' ? "\\" : "", (int)n,
			    (const char *)c);
		}
	}
	text_add(t, "\"");
}

/* --- JSON ---------------------------------------------------------------------------------- */

static void
json_value(const struct field *f, const struct value *v, struct text *t)
{
	char number[32];

	if (!v->known)
		text_add(t, "null");
	else if (f->kind == FIELD_TEXT)
		quoted_string(t, v->text);
	else if (f->kind == FIELD_HEX)
		text_add(t, "\"0x%" PRIx64 "\"", v->number);
	else {
		format_number(f, v, number, sizeof(number));
		text_add(t, "%s", number);
	}
}

/* Blanks to where the value would end at its longest. */
static void
json_pad(const struct field *f, struct text *t, size_t from)
{
	size_t width = f->kind == FIELD_TEXT ? 2 * RENDER_TEXT + 2 : RENDER_VALUE + 2;

	if (t->error == 0 && t->bytes - from < width)
		text_add(t, "%*s", (int)(width - (t->bytes - from)), "");
}

/* As long as the text's field at most, so that its size is constant. */
static void
json_of_keys(const struct sheet *s, struct text *t)
{
	char cut[RENDER_TEXT + 1];

	for (size_t i = 0; i < s->nfields; i++) {
		struct value v = s->values[i];
		size_t from;

		if (s->fields[i].kind == FIELD_TEXT && v.known) {
			render_cut(v.text, cut);
			v.text = cut;
		}
		text_add(t, "  \"%s\": ", s->fields[i].key);
		from = t->bytes;
		json_value(&s->fields[i], &v, t);
		if (i + 1 < s->nfields)
			text_add(t, ",");
		json_pad(&s->fields[i], t, from);
		text_add(t, "\n");
	}
}

static void
json_of_rows(const struct sheet *s, struct text *t)
{
	for (size_t r = 0; r < s->rows; r++) {
		text_add(t, "    {");
		for (size_t i = 0; i < s->nfields; i++) {
			text_add(t, "%s\"%s\": ", i == 0 ? "" : ", ", s->fields[i].key);
			json_value(&s->fields[i], &row_at(s, r)[i], t);
		}
		text_add(t, "}%s\n", r + 1 < s->rows ? "," : "");
	}
}

void
sheet_json(const struct sheet *s, const char *name, struct text *t)
{
	if (s->error != 0) {
		t->error = s->error;
		return;
	}
	text_add(t, "{\n");
	if (s->shape == SHEET_TABLE) {
		text_add(t, "  \"%s\": [\n", name);
		json_of_rows(s, t);
		text_add(t, "  ]\n");
	} else if (s->rows > 0) {
		json_of_keys(s, t);
	}
	text_add(t, "}\n");
}

/* --- Prometheus ---------------------------------------------------------------------------- */

static bool
ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

void
sheet_prom_head(struct text *t, const char *metric, const char *type, const char *help)
{
	text_add(t, "# HELP poolfs_%s %s\n# TYPE poolfs_%s %s\n", metric, help, metric, type);
}

void
sheet_prom_label(struct text *t, const char *pool)
{
	text_add(t, "{pool=");
	quoted_string(t, pool);
}

/* In base units: seconds, ratios. */
static void
prom_number(const struct field *f, const struct value *v, char *out, size_t bytes)
{
	if (!v->known)
		(void)snprintf(out, bytes, "NaN");
	else if (f->kind == FIELD_PERCENT)
		(void)snprintf(
		    out, bytes, "%" PRIu64 ".%04" PRIu64, v->number / 10000, v->number % 10000);
	else if (strcmp(f->unit, "usec") == 0)
		(void)snprintf(
		    out, bytes, "%" PRIu64 ".%06" PRIu64, v->number / 1000000, v->number % 1000000);
	else
		format_number(f, v, out, bytes);
}

void
sheet_prom(const struct sheet *s, const char *pool, struct text *t)
{
	char number[40];

	if (s->error != 0)
		t->error = s->error;
	for (size_t i = 0; i < s->nfields && s->rows > 0 && s->error == 0; i++) {
		const struct field *f = &s->fields[i];

		if (f->metric[0] == '\0')
			continue;
		prom_number(f, &s->values[i], number, sizeof(number));
		sheet_prom_head(
		    t, f->metric, ends_in(f->metric, "_total") ? "counter" : "gauge", f->help);
		text_add(t, "poolfs_%s", f->metric);
		sheet_prom_label(t, pool);
		text_add(t, "} %*s\n", RENDER_VALUE + 2, number);
	}
}
