/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region_t.h - what the tests of core/region share: a subsystem to attach, and the last sentence.
 *
 * With TEST_MEMORY=system in the environment the regions are System V segments, and each test ends
 * with none left.
 *
 * The subsystem's body is one struct body; its init fills it in, so that whoever joins can tell a
 * whole region from one that is being made.
 */
#ifndef TESTS_REGION_T_H
#define TESTS_REGION_T_H

#include "memory_t.h"
#include "t.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomics.h"
#include "base/os_shm.h"
#include "region/region_impl.h"

#define REGION_FILE "__db_test.share"
#define REGION_BYTES 65536
#define CLIENTS 16 /* of which the last two are for whoever reaps */
#define STAMP 0x7e57u
#define BODY_MARK 0x600db0d1e5ull
#define LOST_PAGES 17

struct body {
	uint64_t mark;
	uint64_t users;
	struct shlock lock;
	uint64_t counter;
	uint64_t claims[CLIENTS];
	uint64_t bytes; /* that the region should have; 0: not known */
};

static char last_sentence[2048];
static int sentences;

static void *
hear(char *prefix, char *buffer)
{
	(void)prefix;
	(void)snprintf(last_sentence, sizeof(last_sentence), "%s", buffer);
	sentences++;
	return NULL;
}

static DB_ENV test_env = { .db_errcall = hear };

static inline struct body *
body_of(struct region *r)
{
	return region_ptr(r, r->layout->body, sizeof(struct body));
}

static inline int
body_init(struct region *r, void *arg)
{
	struct body *b = body_of(r);

	(void)arg;
	t_check(b != NULL && b->mark == 0 && b->users == 0);
	t_check(load_acquire(&r->layout->valid) != DB_REGIONMAGIC || r->is_private);
	t_check(r->self != NO_CLIENT);
	b->mark = BODY_MARK;
	return 0;
}

static inline uint64_t
body_lost(struct region *r, void *arg)
{
	(void)arg;
	t_check(body_of(r)->mark == BODY_MARK);
	return LOST_PAGES;
}

/* Of this run alone: so its segments are told from all others by their length. */
static uint64_t segment_max;

static inline struct region_spec
spec_in(const char *dir)
{
	return (struct region_spec){
		.dbenv = &test_env,
		.dir = dir,
		.file = REGION_FILE,
		.create = true,
		.is_system = in_system_memory(),
		.size = REGION_BYTES,
		.max = segment_max,
		.nclients = CLIENTS,
		.subsystem_stamp = STAMP,
		.init = body_init,
		.count_lost = body_lost,
	};
}

/* In a segment, or in a file, whatever TEST_MEMORY is. */
static inline struct region_spec
spec_of_kind(const struct t *t, bool is_system)
{
	struct region_spec spec = spec_in(t->dir);

	spec.is_system = is_system;
	return spec;
}

static inline struct region *
attach_spec(const struct region_spec *spec)
{
	struct region *r = NULL;
	int ret = region_attach(spec, &r);

	if (ret != 0)
		(void)dprintf(STDOUT_FILENO, "# %s: %s\n", db_strerror(ret), last_sentence);
	t_check(ret == 0);
	t_check(body_of(r)->mark == BODY_MARK);
	return r;
}

/* Attach, creating if need be; the test fails if that does. */
static inline struct region *
attach(const struct t *t)
{
	struct region_spec spec = spec_in(t->dir);

	return attach_spec(&spec);
}

static inline struct region *
attach_kind(const struct t *t, bool is_system)
{
	struct region_spec spec = spec_of_kind(t, is_system);

	return attach_spec(&spec);
}

static inline struct region *
attach_system(const struct t *t)
{
	return attach_kind(t, true);
}

static inline int
attach_error(const struct t *t)
{
	struct region_spec spec = spec_in(t->dir);
	struct region *r = (struct region *)&spec;
	int ret = region_attach(&spec, &r);

	if (ret == 0)
		t_check(region_detach(r, false, NULL, NULL) == 0);
	else
		t_check(r == (struct region *)&spec);
	return ret;
}

static inline void
detach(struct region *r)
{
	t_check(region_detach(r, false, NULL, NULL) == 0);
}

static inline int
attach_system_error(const struct t *t)
{
	struct region_spec spec = spec_of_kind(t, true);
	struct region *r;
	int ret = region_attach(&spec, &r);

	if (ret == 0)
		detach(r);
	return ret;
}

/* For a close that says that nothing unwritten is left. */
static inline bool
yes(struct region *r, void *arg)
{
	(void)r;
	(void)arg;
	return true;
}

/* A valid region that nobody is attached to. */
static inline RLAYOUT
leave_region(const struct t *t)
{
	struct region *r = attach(t);
	RLAYOUT copy = *r->layout;

	detach(r);
	return copy;
}

static inline void
poke(const struct t *t, size_t at, const void *bytes, size_t n)
{
	t_poke(t_path(t, REGION_FILE), at, bytes, n);
}

#define poke_field(t, field, value)                                                                \
	do {                                                                                       \
		__typeof__(((RLAYOUT *)NULL)->field) v_ = (value);                                 \
		poke((t), offsetof(RLAYOUT, field), &v_, sizeof(v_));                              \
	} while (0)

static inline RLAYOUT
peek_file(const struct t *t)
{
	size_t n;
	char *bytes = t_read_file(t_path(t, REGION_FILE), &n);
	RLAYOUT copy;

	t_check(n >= sizeof(copy));
	memcpy(&copy, bytes, sizeof(copy));
	free(bytes);
	return copy;
}

/* What the file of a segment says, which is no longer. */
static inline RLAYOUT
file_copy(const struct t *t)
{
	struct stat st;

	t_check(stat(t_path(t, REGION_FILE), &st) == 0 && st.st_size == sizeof(RLAYOUT));
	return peek_file(t);
}

static inline void
expect_new_region(struct t *t)
{
	struct region *r = attach(t);
	struct stat st;

	assert_true(r->created);
	assert_int_equal(client_count(r), 1);
	assert_int_equal(stat(t_path(t, REGION_FILE), &st), 0);
	assert_int_equal(st.st_size, REGION_BYTES);
	detach(r);
}

/* The attach fails with this error, says why, and does not touch the file. */
static inline void
expect_refusal(struct t *t, int error, const char *word)
{
	size_t before_bytes, after_bytes;
	char *before = t_read_file(t_path(t, REGION_FILE), &before_bytes), *after;

	last_sentence[0] = '\0';
	assert_int_equal(attach_error(t), error);
	if (strstr(last_sentence, REGION_FILE) == NULL || strstr(last_sentence, word) == NULL)
		fail_msg("does not name the file and %s: %s", word, last_sentence);
	after = t_read_file(t_path(t, REGION_FILE), &after_bytes);
	assert_int_equal(before_bytes, after_bytes);
	assert_memory_equal(before, after, before_bytes);
	free(before);
	free(after);
}

static inline int
count_one(const struct os_segment *segment, void *arg)
{
	if (segment->bytes > segment_max - os_page_size() && segment->bytes <= segment_max)
		++*(int *)arg;
	return 0;
}

/* Segments of this run. */
static inline int
segments(void)
{
	int n = 0;

	t_check(os_shm_each(count_one, &n) == 0);
	return n;
}

static inline int
segments_setup(void **state)
{
	if (segment_max == 0)
		segment_max = REGION_BYTES + (uint64_t)(1 + getpid() % 50000) * os_page_size();
	return t_setup(state);
}

static inline int
segments_teardown(void **state)
{
	struct t *t = *state;
	int left;

	(void)t_fault_off();
	(void)region_unlink_forced(NULL, t->dir, REGION_FILE);
	if ((left = segments()) != 0)
		print_message("# %d segments left\n", left);
	return t_teardown(state) != 0 || left != 0;
}

/* A line of the table of tests whose regions may be segments. */
#define segment_test(fn)                                                                           \
	{                                                                                          \
#fn, fn, segments_setup, segments_teardown, (void *)#fn                            \
	}

static inline bool
exists(const struct t *t)
{
	return access(t_path(t, REGION_FILE), F_OK) == 0;
}

#endif
