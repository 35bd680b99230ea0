/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolstat_table.c - the numbers in columns, once or every so many seconds.
 *
 * Once: as they are.  With an interval: what counts up is shown as a rate a second over the
 * interval, and the share of hits is that of the interval; all other columns are the moment's.
 * The grammar of the options is lsipc's.
 */
#include "poolstat.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COLUMNS_MOST 64
#define HEADER_EVERY 20
#define DEFAULT_COLUMNS                                                                            \
	"time,cache_hit,cache_miss,hit_percent,page_in,page_out,ro_evict,rw_evict,page_clean,"     \
	"page_dirty,pins"

/* Columns that are no field. */
#define COLUMN_TIME (-1)
#define COLUMN_DIRTY (-2)

struct table {
	const struct options *o;
	int columns[COLUMNS_MOST];
	int n;
	uint64_t lines;
};

static const char *
column_name(int column)
{
	return column == COLUMN_TIME ? "time" :
	    column == COLUMN_DIRTY   ? "dirty_percent" :
				       field_at(column)->key;
}

static int
column_width(int column)
{
	int n = (int)strlen(column_name(column));

	return column == COLUMN_TIME ? 8 : n < 6 ? 6 : n;
}

static int
parse_columns(struct table *t, const char *list)
{
	char *copy = strdup(list), *save = NULL, *word;
	int column, ret = 0;

	if (copy == NULL)
		return EXIT_FAILURE;
	for (word = strtok_r(copy, ",", &save); word != NULL && ret == 0;
	     word = strtok_r(NULL, ",", &save)) {
		column = strcmp(word, "time") == 0     ? COLUMN_TIME :
		    strcmp(word, "dirty_percent") == 0 ? COLUMN_DIRTY :
							 field_number(word);
		if ((column == -1 && strcmp(word, "time") != 0) || t->n == COLUMNS_MOST) {
			complain("there is no column %s; poolstat --columns lists them", word);
			ret = EXIT_USAGE;
		} else {
			t->columns[t->n++] = column;
		}
	}
	free(copy);
	return ret;
}

int
show_columns(void)
{
	(void)printf("%-18s %s\n", "time", "of the line");
	(void)printf("%-18s %s\n", "dirty_percent", "page_dirty in all pages that are there");
	for (int i = 0; i < field_count(); i++)
		(void)printf("%-18s %s\n", field_at(i)->key, field_at(i)->help);
	return 0;
}

/* --- values -------------------------------------------------------------------------------- */

void
format_count(char *out, size_t bytes, uint64_t n, bool exact)
{
	static const char letters[] = "KMGTPE";
	double d = (double)n;
	int i = -1;

	if (exact || n < 10000) {
		(void)snprintf(out, bytes, "%" PRIu64, n);
		return;
	}
	for (; d >= 1000 && i < 5; i++)
		d /= 1024;
	(void)snprintf(out, bytes, d < 10 ? "%.1f%c" : "%.0f%c", d, letters[i]);
}

const char *
count_text(uint64_t n, bool exact)
{
	static char ring[16][32];
	static unsigned next;
	char *out = ring[next++ % 16];

	format_count(out, sizeof(ring[0]), n, exact);
	return out;
}

static void
format_time(char *out, size_t bytes, uint64_t usec)
{
	time_t t = (time_t)(usec / 1000000);
	struct tm tm;

	if (usec == 0 || localtime_r(&t, &tm) == NULL || strftime(out, bytes, "%H:%M:%S", &tm) == 0)
		(void)snprintf(out, bytes, "-");
}

static uint64_t
difference(const struct sample *now, const struct sample *before, const char *key)
{
	uint64_t a = sample_number(now, key), b = sample_number(before, key);

	return a > b ? a - b : 0;
}

/* A second, over the interval; rounded. */
static uint64_t
rate(uint64_t now, uint64_t before, uint64_t usec)
{
	uint64_t n = now > before ? now - before : 0;

	return usec == 0 ? 0 : (uint64_t)((double)n * 1e6 / (double)usec + 0.5);
}

/* What a column shows, without its form.  before: NULL for the moment's values. */
static struct value
column_value(int column, const struct sample *now, const struct sample *before)
{
	struct value v = { .known = true };

	if (column == COLUMN_DIRTY) {
		v.number = sample_dirty(now);
		return v;
	}
	v = now->values[column];
	if (before == NULL)
		return v;
	if (strcmp(field_at(column)->key, "hit_percent") == 0) {
		uint64_t hit = difference(now, before, "cache_hit");

		v.number = render_ratio(hit, hit + difference(now, before, "cache_miss"));
	} else if (field_is_total(column)) {
		v.number = rate(v.number, before->values[column].number, now->usec - before->usec);
	}
	return v;
}

static bool
is_percent(int column)
{
	return column == COLUMN_DIRTY || field_at(column)->kind == FIELD_PERCENT;
}

static void
format_column(const struct table *t, int column, const struct sample *now,
    const struct sample *before, char *out, size_t bytes)
{
	struct value v;

	if (column == COLUMN_TIME) {
		format_time(out, bytes, now->usec);
		return;
	}
	v = column_value(column, now, before);
	if (!v.known)
		(void)snprintf(out, bytes, "%s", t->o->json ? "null" : "-");
	else if (is_percent(column))
		(void)snprintf(
		    out, bytes, "%" PRIu64 ".%02" PRIu64, v.number / 100, v.number % 100);
	else
		format_count(out, bytes, v.number, t->o->exact || t->o->json || t->o->raw);
}

/* --- lines --------------------------------------------------------------------------------- */

static void
print_header(const struct table *t)
{
	for (int i = 0; i < t->n; i++)
		if (t->o->raw)
			(void)printf("%s%s", i > 0 ? " " : "", column_name(t->columns[i]));
		else
			(void)printf("%s%*s", i > 0 ? " " : "", column_width(t->columns[i]),
			    column_name(t->columns[i]));
	(void)printf("\n");
}

static void
print_json(const struct table *t, const struct sample *now, const struct sample *before)
{
	char text[64];

	(void)printf("{");
	for (int i = 0; i < t->n; i++) {
		format_column(t, t->columns[i], now, before, text, sizeof(text));
		(void)printf(t->columns[i] == COLUMN_TIME ? "%s\"%s\": \"%s\"" : "%s\"%s\": %s",
		    i > 0 ? ", " : "", column_name(t->columns[i]), text);
	}
	(void)printf("}\n");
}

static void
print_line(struct table *t, const struct sample *now, const struct sample *before)
{
	char text[64];

	if (t->o->json) {
		print_json(t, now, before);
		return;
	}
	if (!t->o->no_headings && t->lines % HEADER_EVERY == 0)
		print_header(t);
	t->lines++;
	for (int i = 0; i < t->n; i++) {
		format_column(t, t->columns[i], now, before, text, sizeof(text));
		(void)printf(
		    "%s%*s", i > 0 ? " " : "", t->o->raw ? 0 : column_width(t->columns[i]), text);
	}
	(void)printf("\n");
}

static void
say_panicked(const struct sample *s)
{
	if (s->panicked)
		complain(
		    "the region is panicked: %s (process %d)", s->panic_why, (int)s->panic_pid);
}

void
interval_wait(uint64_t *nextp, double seconds)
{
	uint64_t now = os_monotonic_usec();

	*nextp += (uint64_t)(seconds * 1e6);
	if (*nextp <= now) {
		*nextp = now; /* late: do not try to catch up */
		return;
	}
	while (now < *nextp) {
		os_sleep_usec((unsigned)(*nextp - now > 1000000 ? 1000000 : *nextp - now));
		now = os_monotonic_usec();
	}
}

static int
print_rates(struct table *t, const struct source *s, struct sample *before)
{
	uint64_t next = os_monotonic_usec();
	struct sample now;

	for (uint64_t i = 0; t->o->count == 0 || i < t->o->count; i++) {
		interval_wait(&next, t->o->interval_seconds);
		if (source_read(s, &now) != 0)
			return EXIT_FAILURE;
		print_line(t, &now, before);
		if (fflush(stdout) != 0)
			return EXIT_FAILURE; /* nobody reads any more */
		*before = now;
	}
	return 0;
}

int
show_table(const struct options *o, const struct source *s)
{
	struct table t = { .o = o };
	struct sample first;
	int ret;

	if ((ret = parse_columns(&t, o->columns != NULL ? o->columns : DEFAULT_COLUMNS)) != 0)
		return ret;
	if (source_read(s, &first) != 0)
		return EXIT_FAILURE;
	say_panicked(&first);
	if (o->interval_seconds > 0)
		return print_rates(&t, s, &first);
	print_line(&t, &first, NULL);
	return 0;
}
