/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view_latency.c - stat/latency: how long the disk and the mount's requests took.
 *
 * Each is a histogram whose buckets double from a microsecond on.  As in Prometheus a bucket
 * counts everything up to its limit; the percentiles are the limits of the buckets that they fall
 * into, so they are at most twice too high.
 */
#include "view.h"

#include <errno.h>
#include <inttypes.h>

#include "pool.h"
#include "state.h"

#define EACH_LIMIT(X, name)                                                                        \
	X(name, 0, 1)                                                                              \
	X(name, 1, 2)                                                                              \
	X(name, 2, 4)                                                                              \
	X(name, 3, 8)                                                                              \
	X(name, 4, 16)                                                                             \
	X(name, 5, 32)                                                                             \
	X(name, 6, 64)                                                                             \
	X(name, 7, 128)                                                                            \
	X(name, 8, 256)                                                                            \
	X(name, 9, 512)                                                                            \
	X(name, 10, 1024)                                                                          \
	X(name, 11, 2048)                                                                          \
	X(name, 12, 4096)                                                                          \
	X(name, 13, 8192)                                                                          \
	X(name, 14, 16384)                                                                         \
	X(name, 15, 32768)                                                                         \
	X(name, 16, 65536)                                                                         \
	X(name, 17, 131072)                                                                        \
	X(name, 18, 262144)                                                                        \
	X(name, 19, 524288)                                                                        \
	X(name, 20, 1048576)                                                                       \
	X(name, 21, 2097152)                                                                       \
	X(name, 22, 4194304)

/* Of each histogram: count, sum, three percentiles, then the limits. */
#define HEAD_FIELDS 5
#define LIMITS (LATENCY_BUCKETS - 1)

static const struct field latency_fields[] = {
#define LIMIT_FIELD(name, i, usec)                                                                 \
	{ #name "_le_" #usec "_usec", FIELD_U64, "times", "", 0, "of at most so long" },
#define STAT_LATENCY(name, number, metric, help)                                                   \
	{ #name "_count", FIELD_U64, "times", "", 0, help },                                       \
	    { #name "_sum_usec", FIELD_U64, "usec", "", 0, "all of them together" },               \
	    { #name "_p50_usec", FIELD_U64, "usec", "", 0, "half took at most about so long" },    \
	    { #name "_p99_usec", FIELD_U64, "usec", "", 0, "99 % took at most about so long" },    \
	    { #name "_max_usec", FIELD_U64, "usec", "", 0, "all took at most about so long" },     \
	    EACH_LIMIT(LIMIT_FIELD, name)
#include "stat.def"
#undef LIMIT_FIELD
};

struct latency_set {
	struct latency of[LATENCY_KINDS + REQUESTS];
	bool has_pool;
};

static void
copy_requests(const struct fs *fs, struct latency *to)
{
	for (int r = 0; r < REQUESTS; r++) {
		to[r].sum_usec = __atomic_load_n(&fs->requests[r].sum_usec, __ATOMIC_RELAXED);
		for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
			to[r].le[i] = __atomic_load_n(&fs->requests[r].le[i], __ATOMIC_RELAXED);
	}
}

static int
collect(struct fs *fs, struct latency_set *set)
{
	int err = 0;

	*set = (struct latency_set){ 0 };
	copy_requests(fs, set->of + LATENCY_KINDS);
	set->has_pool = pool_peek(fs);
	for (int k = 0; set->has_pool && err == 0 && k < LATENCY_KINDS; k++)
		err = mpool_latency(fs->pool, (enum latency_kind)k, &set->of[k]);
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
	row[1] = (struct value)VALUE_U64(l->sum_usec);
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
#define STAT_LATENCY(name, number, metric, help)                                                   \
	if (set.has_pool || (number) >= LATENCY_KINDS)                                             \
		fill_histogram(&set.of[number], at);                                               \
	at += HEAD_FIELDS + LIMITS;
#include "stat.def"
	sheet_add(s, row);
	return 0;
}

const struct view view_latency = { "latency", latency_fields,
	sizeof(latency_fields) / sizeof(latency_fields[0]), SHEET_KEYS, fill_latency };

/* --- Prometheus ---------------------------------------------------------------------------- */

static void
prom_histogram(const char *pool, const char *metric, const char *help, const struct latency *l,
    struct text *t)
{
	uint64_t n = 0;

	sheet_prom_head(t, metric, "histogram", help);
	for (unsigned i = 0; i < LIMITS; i++) {
		text_add(t, "poolfs_%s_bucket", metric);
		sheet_prom_label(t, pool);
		text_add(t, ",le=\"%u.%06u\"} %*" PRIu64 "\n", (1u << i) / 1000000u,
		    (1u << i) % 1000000u, RENDER_VALUE, n += l->le[i]);
	}
	n += l->le[LIMITS];
	text_add(t, "poolfs_%s_bucket", metric);
	sheet_prom_label(t, pool);
	text_add(t, ",le=\"+Inf\"} %*" PRIu64 "\npoolfs_%s_sum", RENDER_VALUE, n, metric);
	sheet_prom_label(t, pool);
	text_add(t, "} %*" PRIu64 ".%06" PRIu64 "\npoolfs_%s_count", RENDER_VALUE - 7,
	    l->sum_usec / 1000000, l->sum_usec % 1000000, metric);
	sheet_prom_label(t, pool);
	text_add(t, "} %*" PRIu64 "\n", RENDER_VALUE, n);
}

int
view_latency_prom(struct fs *fs, struct text *t)
{
	struct latency_set set;
	int err;

	if ((err = collect(fs, &set)) != 0)
		return err;
		/* Those of a pool that is gone are empty, not missing: so the size stays. */
#define STAT_LATENCY(name, number, metric, help)                                                   \
	prom_histogram(fs->opt->home, metric, help, &set.of[number], t);
#include "stat.def"
	return 0;
}
