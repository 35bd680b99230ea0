/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view_latency.c - stat/latency: how long the disk and the mount's requests took.
 *
 * Each is a histogram whose buckets double from a microsecond (hits: a nanosecond) on.  As in
 * Prometheus a bucket counts everything up to its limit; the percentiles are the limits of the
 * buckets that they fall into, so they are at most twice too high.
 */
#include "view.h"

#include <errno.h>
#include <inttypes.h>

#include "lock/look.h"
#include "locks.h"
#include "pool.h"
#include "state.h"

#define EACH_LIMIT(X, name, unit)                                                                  \
	X(name, unit, 0, 1)                                                                        \
	X(name, unit, 1, 2)                                                                        \
	X(name, unit, 2, 4)                                                                        \
	X(name, unit, 3, 8)                                                                        \
	X(name, unit, 4, 16)                                                                       \
	X(name, unit, 5, 32)                                                                       \
	X(name, unit, 6, 64)                                                                       \
	X(name, unit, 7, 128)                                                                      \
	X(name, unit, 8, 256)                                                                      \
	X(name, unit, 9, 512)                                                                      \
	X(name, unit, 10, 1024)                                                                    \
	X(name, unit, 11, 2048)                                                                    \
	X(name, unit, 12, 4096)                                                                    \
	X(name, unit, 13, 8192)                                                                    \
	X(name, unit, 14, 16384)                                                                   \
	X(name, unit, 15, 32768)                                                                   \
	X(name, unit, 16, 65536)                                                                   \
	X(name, unit, 17, 131072)                                                                  \
	X(name, unit, 18, 262144)                                                                  \
	X(name, unit, 19, 524288)                                                                  \
	X(name, unit, 20, 1048576)                                                                 \
	X(name, unit, 21, 2097152)                                                                 \
	X(name, unit, 22, 4194304)

/* Of each histogram: count, sum, three percentiles, then the limits. */
#define HEAD_FIELDS 5
#define LIMITS (LATENCY_BUCKETS - 1)

static const struct field latency_fields[] = {
#define LIMIT_FIELD(name, unit, i, limit)                                                          \
	{ #name "_le_" #limit "_" #unit, FIELD_U64, "times", "", 0, "of at most so long" },
#define STAT_LATENCY(name, number, unit, metric, help)                                             \
	{ #name "_count", FIELD_U64, "times", "", 0, help },                                       \
	    { #name "_sum_" #unit, FIELD_U64, #unit, "", 0, "all of them together" },              \
	    { #name "_p50_" #unit, FIELD_U64, #unit, "", 0, "half took at most about so long" },   \
	    { #name "_p99_" #unit, FIELD_U64, #unit, "", 0, "99 % took at most about so long" },   \
	    { #name "_max_" #unit, FIELD_U64, #unit, "", 0, "all took at most about so long" },    \
	    EACH_LIMIT(LIMIT_FIELD, name, unit)
#include "stat.def"
#undef LIMIT_FIELD
};

/* Where in a set which of them are. */
enum { OF_POOL, OF_REQUESTS = LATENCY_KINDS, OF_HIT = OF_REQUESTS + REQUESTS, OF_LOCK_WAIT, SET };

struct latency_set {
	struct latency of[SET];
	bool known[SET];
};

static void
collect_locks(struct fs *fs, struct latency_set *set)
{
	DB_LOCKTAB *lt = locks_peek_table(fs);

	set->known[OF_LOCK_WAIT] = lt != NULL;
	if (lt != NULL)
		locktab_waits(lt, &set->of[OF_LOCK_WAIT]);
	locks_put_table(fs);
}

static int
collect(struct fs *fs, struct latency_set *set)
{
	bool has_pool;
	int err = 0;

	*set = (struct latency_set){ 0 };
	for (int r = 0; r < REQUESTS; r++)
		latency_copy(&set->of[OF_REQUESTS + r], &fs->requests[r]);
	latency_copy(&set->of[OF_HIT], &fs->hits);
	for (int i = OF_REQUESTS; i <= OF_HIT; i++)
		set->known[i] = true;
	collect_locks(fs, set);
	has_pool = pool_peek(fs);
	for (int k = 0; has_pool && err == 0 && k < LATENCY_KINDS; k++) {
		err = mpool_latency(fs->pool, (enum latency_kind)k, &set->of[OF_POOL + k]);
		set->known[OF_POOL + k] = true;
	}
	pool_put(fs);
	return err;
}

static uint64_t
total(const struct latency *l)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		n += l->le[i];
	return n;
}

/* The limit below which that part (in hundredths) of them is; 0 if there are none. */
static uint64_t
percentile(const struct latency *l, unsigned hundredths)
{
	uint64_t all = total(l), n = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS && all > 0; i++)
		if ((n += l->le[i]) * 100 >= all * hundredths)
			return (uint64_t)1 << i;
	return 0;
}

static void
fill_histogram(const struct latency *l, struct value *row)
{
	uint64_t n = 0;

	row[0] = (struct value)VALUE_U64(total(l));
	row[1] = (struct value)VALUE_U64(l->sum);
	row[2] = (struct value)VALUE_U64(percentile(l, 50));
	row[3] = (struct value)VALUE_U64(percentile(l, 99));
	row[4] = (struct value)VALUE_U64(percentile(l, 100));
	for (unsigned i = 0; i < LIMITS; i++)
		row[HEAD_FIELDS + i] = (struct value)VALUE_U64(n += l->le[i]);
}

static int
fill_latency(struct fs *fs, struct sheet *s)
{
	struct value row[sizeof(latency_fields) / sizeof(latency_fields[0])] = { 0 };
	struct latency_set set;
	struct value *at = row;
	int err;

	if ((err = collect(fs, &set)) != 0)
		return err;
#define STAT_LATENCY(name, number, unit, metric, help)                                             \
	if (set.known[number])                                                                     \
		fill_histogram(&set.of[number], at);                                               \
	at += HEAD_FIELDS + LIMITS;
#include "stat.def"
	sheet_add(s, row);
	return 0;
}

const struct view view_latency = { "latency", latency_fields,
	sizeof(latency_fields) / sizeof(latency_fields[0]), SHEET_KEYS, fill_latency };

/* --- Prometheus ---------------------------------------------------------------------------- */

/* digits: behind the point of a second, in the histogram's unit. */
static void
prom_seconds(uint64_t n, int digits, int width, struct text *t)
{
	uint64_t second = digits == 9 ? 1000000000 : 1000000;

	text_add(t, "%*" PRIu64 ".%0*" PRIu64, width > digits + 1 ? width - digits - 1 : 1,
	    n / second, digits, n % second);
}

static void
prom_histogram(const char *pool, const char *metric, const char *help, int digits,
    const struct latency *l, struct text *t)
{
	uint64_t n = 0;

	sheet_prom_head(t, metric, "histogram", help);
	for (unsigned i = 0; i < LIMITS; i++) {
		text_add(t, "poolfs_%s_bucket", metric);
		sheet_prom_label(t, pool);
		text_add(t, ",le=\"");
		prom_seconds(1ull << i, digits, 0, t);
		text_add(t, "\"} %*" PRIu64 "\n", RENDER_VALUE, n += l->le[i]);
	}
	n += l->le[LIMITS];
	text_add(t, "poolfs_%s_bucket", metric);
	sheet_prom_label(t, pool);
	text_add(t, ",le=\"+Inf\"} %*" PRIu64 "\npoolfs_%s_sum", RENDER_VALUE, n, metric);
	sheet_prom_label(t, pool);
	text_add(t, "} ");
	prom_seconds(l->sum, digits, RENDER_VALUE, t);
	text_add(t, "\npoolfs_%s_count", metric);
	sheet_prom_label(t, pool);
	text_add(t, "} %*" PRIu64 "\n", RENDER_VALUE, n);
}

#define DIGITS_usec 6
#define DIGITS_nsec 9

int
view_latency_prom(struct fs *fs, struct text *t)
{
	struct latency_set set;
	int err;

	if ((err = collect(fs, &set)) != 0)
		return err;
		/* Those of a pool that is gone are empty, not missing: so the size stays. */
#define STAT_LATENCY(name, number, unit, metric, help)                                             \
	prom_histogram(fs->opt->home, metric, help, DIGITS_##unit, &set.of[number], t);
#include "stat.def"
	return 0;
}
