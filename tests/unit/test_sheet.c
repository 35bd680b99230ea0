/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_sheet.c - the forms of a status file, to the byte.
 */
#include <stdlib.h>
#include <string.h>

#include "sheet.h"
#include "t.h"

static const struct field key_fields[] = {
	{ "cache_hit", FIELD_U64, "pages", "cache_hits_total", 0, "found in the cache" },
	{ "balance", FIELD_I64, "pages", "", 0, "may be negative" },
	{ "flags", FIELD_HEX, "flags", "", 0, "of something" },
	{ "hit_percent", FIELD_PERCENT, "percent", "hit_ratio", 0, "a ratio" },
	{ "since_usec", FIELD_U64, "usec", "since_seconds", 0, "a time" },
	{ "unknown", FIELD_U64, "pages", "unknown_pages", 0, "nobody knows" },
	{ "last_error", FIELD_TEXT, "text", "", 0, "a sentence" },
};

static const struct field row_fields[] = {
	{ "pgno", FIELD_U64, "page", "", 10, "which page" },
	{ "state", FIELD_TEXT, "word", "", -8, "what it is" },
	{ "name", FIELD_TEXT, "path", "", 0, "whose it is" },
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void
fill_keys(struct sheet *s, const char *sentence)
{
	const struct value row[] = {
		VALUE_U64(1234567),
		VALUE_I64(-3),
		VALUE_HEX(0x120897),
		VALUE_PERCENT(9987),
		VALUE_U64(1500000001250000),
		{ 0 },
		VALUE_TEXT(sentence),
	};

	sheet_init(s, key_fields, N(key_fields), SHEET_KEYS);
	sheet_add(s, row);
}

static void
fill_rows(struct sheet *s)
{
	const struct value first[] = { VALUE_U64(0), VALUE_TEXT("clean"), VALUE_TEXT("/a b") };
	const struct value second[] = { VALUE_U64(4294967295), VALUE_TEXT("dirty"),
		VALUE_TEXT("/q\"uo\\te\nd\377") };

	sheet_init(s, row_fields, N(row_fields), SHEET_TABLE);
	sheet_add(s, first);
	sheet_add(s, second);
}

/* What t says, squeezed: runs of blanks count as one. */
static void
assert_says(struct text *t, const char *golden)
{
	char *from = t->data, *to = t->data;

	assert_int_equal(t->error, 0);
	for (; *from != '\0'; from++)
		if (*from != ' ' || to == t->data || to[-1] != ' ')
			*to++ = *from;
	*to = '\0';
	assert_string_equal(t->data, golden);
	text_fini(t);
}

static void
sheet_text_of_keys_has_lines_of_52_or_232_bytes(void **state)
{
	struct text t = { 0 };
	struct sheet s;

	(void)state;
	fill_keys(&s, "what went wrong");

	sheet_text(&s, &t);
	sheet_fini(&s);

	assert_int_equal(t.bytes, 6 * RENDER_LINE + RENDER_TEXT_LINE);
	assert_memory_equal(
	    t.data, "cache_hit                                   1234567\n", RENDER_LINE);
	assert_says(&t,
	    "cache_hit 1234567\nbalance -3\nflags 0x120897\nhit_percent 99.87\n"
	    "since_usec 1500000001250000\nunknown -\nlast_error what went wrong \n");
}

static void
sheet_text_cuts_long_sentences_between_characters(void **state)
{
	char sentence[400];
	struct text t = { 0 };
	struct sheet s;

	(void)state;
	memset(sentence, 'a', sizeof(sentence) - 1);
	sentence[sizeof(sentence) - 1] = '\0';
	memcpy(sentence + 196, "\303\251", 2); /* e with an accent, across the cut */
	fill_keys(&s, sentence);

	sheet_text(&s, &t);
	sheet_fini(&s);

	assert_int_equal(t.bytes, 6 * RENDER_LINE + RENDER_TEXT_LINE);
	assert_memory_equal(t.data + 6 * RENDER_LINE + 31 + 196, "... \n", 5);
	text_fini(&t);
}

static void
sheet_text_of_a_table_is_aligned(void **state)
{
	struct text t = { 0 };
	struct sheet s;

	(void)state;
	fill_rows(&s);

	sheet_text(&s, &t);
	sheet_fini(&s);

	assert_int_equal(t.error, 0);
	assert_string_equal(t.data,
	    "#     pgno state    name\n"
	    "         0 clean    /a b\n"
	    "4294967295 dirty    /q\"uo\\te?d\377\n");
	text_fini(&t);
}

static void
sheet_json_of_keys_is_one_object_of_constant_size(void **state)
{
	struct text t = { 0 }, longer = { 0 };
	struct sheet s;

	(void)state;
	fill_keys(&s, "a \"quoted\" sentence\n");
	sheet_json(&s, "keys", &t);
	sheet_fini(&s);
	fill_keys(&s, "another");
	s.values[0].number = UINT64_MAX;
	sheet_json(&s, "keys", &longer);
	sheet_fini(&s);

	assert_int_equal(t.bytes, longer.bytes);
	assert_says(&t,
	    "{\n \"cache_hit\": 1234567, \n \"balance\": -3, \n \"flags\": \"0x120897\", \n"
	    " \"hit_percent\": 99.87, \n \"since_usec\": 1500000001250000, \n"
	    " \"unknown\": null, \n \"last_error\": \"a \\\"quoted\\\" sentence?\" \n}\n");
	text_fini(&longer);
}

static void
sheet_json_of_a_table_replaces_what_is_not_utf8(void **state)
{
	struct text t = { 0 };
	struct sheet s;

	(void)state;
	fill_rows(&s);

	sheet_json(&s, "pages", &t);
	sheet_fini(&s);

	assert_says(&t,
	    "{\n \"pages\": [\n"
	    " {\"pgno\": 0, \"state\": \"clean\", \"name\": \"/a b\"},\n"
	    " {\"pgno\": 4294967295, \"state\": \"dirty\", \"name\": \"/q\\\"uo\\\\te?d?\"}\n"
	    " ]\n}\n");
}

static void
sheet_prom_is_in_base_units(void **state)
{
	struct text t = { 0 };
	struct sheet s;

	(void)state;
	fill_keys(&s, "not a metric");

	sheet_prom(&s, "/a \"b\"", &t);
	sheet_fini(&s);

	assert_says(&t,
	    "# HELP poolfs_cache_hits_total found in the cache\n"
	    "# TYPE poolfs_cache_hits_total counter\n"
	    "poolfs_cache_hits_total{pool=\"/a \\\"b\\\"\"} 1234567\n"
	    "# HELP poolfs_hit_ratio a ratio\n"
	    "# TYPE poolfs_hit_ratio gauge\n"
	    "poolfs_hit_ratio{pool=\"/a \\\"b\\\"\"} 0.9987\n"
	    "# HELP poolfs_since_seconds a time\n"
	    "# TYPE poolfs_since_seconds gauge\n"
	    "poolfs_since_seconds{pool=\"/a \\\"b\\\"\"} 1500000001.250000\n"
	    "# HELP poolfs_unknown_pages nobody knows\n"
	    "# TYPE poolfs_unknown_pages gauge\n"
	    "poolfs_unknown_pages{pool=\"/a \\\"b\\\"\"} NaN\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sheet_text_of_keys_has_lines_of_52_or_232_bytes),
		cmocka_unit_test(sheet_text_cuts_long_sentences_between_characters),
		cmocka_unit_test(sheet_text_of_a_table_is_aligned),
		cmocka_unit_test(sheet_json_of_keys_is_one_object_of_constant_size),
		cmocka_unit_test(sheet_json_of_a_table_replaces_what_is_not_utf8),
		cmocka_unit_test(sheet_prom_is_in_base_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
