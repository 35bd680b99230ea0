/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolstat_wait.c - --wait: until something holds.
 *
 * A condition is KEY OPERATOR NUMBER: a key of stat/pool (or dirty, clean, hit, miss, in, out),
 * < <= > >= = or !=, and a number.  With a per cent sign the number is a share: dirty% and clean%
 * in the pages that are there, hit% in hits and misses.
 */
#include "poolstat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum operator{ LESS, AT_MOST, MORE, AT_LEAST, EQUAL, UNEQUAL };

struct condition {
	char key[64];
	enum operator op;
	double number;
	bool is_percent;
};

/* The operator at s, and what is behind it; NULL: none. */
static const char *
parse_operator(const char *s, enum operator* op)
{
	static const struct {
		const char *text;
		enum operator op;
	} operators[] = {
		{ "<=", AT_MOST },
		{ ">=", AT_LEAST },
		{ "!=", UNEQUAL },
		{ "==", EQUAL },
		{ "<", LESS },
		{ ">", MORE },
		{ "=", EQUAL },
	};

	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
		if (strncmp(s, operators[i].text, strlen(operators[i].text)) == 0) {
			*op = operators[i].op;
			return s + strlen(operators[i].text);
		}
	return NULL;
}

static bool
may_be_percent(const char *key)
{
	return strcmp(key, "dirty") == 0 || strcmp(key, "clean") == 0 || strcmp(key, "hit") == 0 ||
	    strcmp(key, "page_dirty") == 0 || strcmp(key, "page_clean") == 0 ||
	    strcmp(key, "cache_hit") == 0 || strcmp(key, "hit_percent") == 0;
}

static bool
parse(const char *s, struct condition *c)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz_");
	char *end;

	if (n == 0 || n >= sizeof(c->key))
		return false;
	memcpy(c->key, s, n);
	c->key[n] = '\0';
	s += n;
	s += strspn(s, "% ");
	if (field_number(c->key) < 0 || (s = parse_operator(s, &c->op)) == NULL)
		return false;
	c->number = strtod(s, &end);
	if (end == s)
		return false;
	c->is_percent = *end == '%';
	if (c->is_percent && !may_be_percent(c->key))
		return false;
	return *(end + c->is_percent) == '\0';
}

static double
current(const struct condition *c, const struct sample *s)
{
	uint64_t dirty = sample_dirty(s);

	if (strcmp(c->key, "hit_percent") == 0)
		return (double)sample_number(s, c->key) / 100;
	if (!c->is_percent)
		return (double)sample_number(s, c->key);
	if (strstr(c->key, "dirty") != NULL)
		return (double)dirty / 100;
	if (strstr(c->key, "clean") != NULL)
		return 100 - (double)dirty / 100;
	return (double)sample_number(s, "hit_percent") / 100;
}

static bool
holds(const struct condition *c, const struct sample *s)
{
	double now = current(c, s);

	switch (c->op) {
	case LESS:
		return now < c->number;
	case AT_MOST:
		return now <= c->number;
	case MORE:
		return now > c->number;
	case AT_LEAST:
		return now >= c->number;
	case EQUAL:
		return now >= c->number && now <= c->number;
	case UNEQUAL:
	default:
		return now < c->number || now > c->number;
	}
}

int
show_wait(const struct options *o, const struct source *s)
{
	double seconds = o->interval_seconds > 0 ? o->interval_seconds : 1;
	uint64_t begun = os_monotonic_usec(), next = begun;
	struct condition c;
	struct sample now;

	if (!parse(o->condition, &c)) {
		complain("\"%s\" is not a condition such as dirty>80%% or pins=0", o->condition);
		return EXIT_USAGE;
	}
	for (;;) {
		if (source_read(s, &now) != 0)
			return EXIT_FAILURE;
		if (holds(&c, &now))
			return 0;
		if (o->timeout_seconds != 0 &&
		    os_monotonic_usec() - begun >= o->timeout_seconds * 1000000)
			break;
		interval_wait(&next, seconds);
	}
	complain("%s did not come true in %llu seconds", o->condition,
	    (unsigned long long)o->timeout_seconds);
	return EXIT_FAILURE;
}
