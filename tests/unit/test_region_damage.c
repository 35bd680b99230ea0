/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: bytes that are not a region's, or no longer: damage, other versions, panic, and what
 * a look from outside reports of them.
 */
#include "region_t.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* --- damage -------------------------------------------------------------------------------- */

static void
somebodys_file_is_refused_untouched(void **state)
{
	struct t *t = *state;
	char text[8192];

	memset(text, 'x', sizeof(text));
	t_write_file(t_path(t, REGION_FILE), "hello\n", 6);
	expect_refusal(t, DB_RUNRECOVERY, "force");
	t_write_file(t_path(t, REGION_FILE), text, sizeof(text));
	expect_refusal(t, DB_RUNRECOVERY, "force");
	/* The word at valid's place happens to be 0. */
	memset(text + offsetof(RLAYOUT, valid), 0, 4);
	t_write_file(t_path(t, REGION_FILE), text, sizeof(text));
	expect_refusal(t, DB_RUNRECOVERY, "force");
	/* It begins like a region. */
	*(uint32_t *)(void *)(text + offsetof(RLAYOUT, valid)) = DB_REGIONMAGIC;
	t_write_file(t_path(t, REGION_FILE), text, sizeof(text));
	expect_refusal(t, EPROTO, "version");
	assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	detach(attach(t));
}

static void
valid_neither_0_nor_magic_is_damage(void **state)
{
	static const uint32_t bad[] = { 1, DB_REGIONMAGIC + 1, 0x80000000, UINT32_MAX };
	struct t *t = *state;
	size_t i;

	(void)leave_region(t);
	for (i = 0; i < 4; i++) {
		poke_field(t, valid, bad[i]);
		expect_refusal(t, DB_RUNRECOVERY, "force");
	}
	poke_field(t, valid, DB_REGIONMAGIC);
	assert_int_equal(attach_error(t), 0);
}

static void
stamps_that_differ_are_eproto_naming_both(void **state)
{
	struct t *t = *state;
	RLAYOUT good = leave_region(t);

	poke_field(t, format, 77);
	expect_refusal(t, EPROTO, "format 77");
	expect_refusal(t, EPROTO, "format 5");
	poke_field(t, format, good.format);
	poke_field(t, pointer_bytes, 4);
	expect_refusal(t, EPROTO, "pointers of 4 bytes");
	expect_refusal(t, EPROTO, "pointers of 8 bytes");
	poke_field(t, pointer_bytes, good.pointer_bytes);
	poke_field(t, layout_bytes, 72);
	expect_refusal(t, EPROTO, "header of 72");
	poke_field(t, layout_bytes, good.layout_bytes);
	poke_field(t, byte_order, 0x04030201);
	expect_refusal(t, EPROTO, "04030201");
	/* As a machine of the other order writes them. */
	poke_field(t, valid, __builtin_bswap32(DB_REGIONMAGIC));
	expect_refusal(t, EPROTO, "04030201");
	poke_field(t, valid, good.valid);
	poke_field(t, byte_order, good.byte_order);
	poke_field(t, subsystem_stamp, 0xbad);
	expect_refusal(t, EPROTO, "00000bad");
	expect_refusal(t, EPROTO, "00007e57");
	poke_field(t, subsystem_stamp, good.subsystem_stamp);
	assert_int_equal(attach_error(t), 0);
}

static void
leftover_of_another_version_is_eproto(void **state)
{
	struct t *t = *state;

	(void)leave_region(t);
	poke_field(t, valid, 0);
	poke_field(t, format, 77);
	expect_refusal(t, EPROTO, "format 77");
}

/* One 64-bit field at a time, with everything that could lead out of the mapping. */
static void
offsets_and_sizes_that_do_not_fit_are_damage(void **state)
{
	static const size_t fields[] = { offsetof(RLAYOUT, size), offsetof(RLAYOUT, max),
		offsetof(RLAYOUT, clients), offsetof(RLAYOUT, body) };
	struct t *t = *state;
	RLAYOUT good = leave_region(t);
	size_t f, v;

	for (f = 0; f < 4; f++) {
		const uint64_t was = *(uint64_t *)(void *)((char *)&good + fields[f]);
		const uint64_t bad[] = { 0, 1, 8, was - 8, was + 8, was - 4096, (uint64_t)1 << 63,
			UINT64_MAX, UINT64_MAX - 4095, (uint64_t)INT64_MAX + 1 - 4096 };

		for (v = 0; v < sizeof(bad) / sizeof(bad[0]); v++) {
			/* Another maximum, not below the size, is no damage. */
			if (fields[f] == offsetof(RLAYOUT, max) && bad[v] >= REGION_BYTES)
				continue;
			/* Nor is a smaller size, in whole pages. */
			if (fields[f] == offsetof(RLAYOUT, size) && bad[v] == was - 4096)
				continue;
			poke(t, fields[f], &bad[v], sizeof(bad[v]));
			expect_refusal(t, DB_RUNRECOVERY, "force");
		}
		poke(t, fields[f], &was, sizeof(was));
	}
	assert_int_equal(attach_error(t), 0);
}

static void
numbers_of_clients_that_do_not_fit_are_damage(void **state)
{
	static const uint32_t bad[] = { 0, 1, CLIENTS - 1, CLIENTS + 1, 1000, 65536, 65537,
		0x80000000, UINT32_MAX };
	struct t *t = *state;
	size_t i;

	(void)leave_region(t);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		poke_field(t, nclients, bad[i]);
		expect_refusal(t, DB_RUNRECOVERY, "force");
	}
	/* Together they fit, but not into the file. */
	poke_field(t, nclients, 2000);
	poke_field(t, body, layout_body_offset(2000));
	expect_refusal(t, DB_RUNRECOVERY, "force");
}

static void
fields_for_people_do_no_harm(void **state)
{
	static const size_t fields[] = { offsetof(RLAYOUT, lock), offsetof(RLAYOUT, refcnt),
		offsetof(RLAYOUT, majver), offsetof(RLAYOUT, minver), offsetof(RLAYOUT, patch),
		offsetof(RLAYOUT, segid), offsetof(RLAYOUT, flags), offsetof(RLAYOUT, region_id),
		offsetof(RLAYOUT, generation), offsetof(RLAYOUT, created_usec),
		offsetof(RLAYOUT, clean), offsetof(RLAYOUT, panic_pid), offsetof(RLAYOUT, panic_by),
		offsetof(RLAYOUT, file_ino), offsetof(RLAYOUT, file_btime),
		offsetof(RLAYOUT, file_dev), offsetof(RLAYOUT, panic_usec),
		offsetof(RLAYOUT, panic_uid), offsetof(RLAYOUT, panic_name),
		offsetof(RLAYOUT, panic_why) };
	static const uint32_t bad = 0xdeadbeef;
	struct t *t = *state;
	struct region *r;
	size_t i;

	(void)leave_region(t);
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		poke(t, fields[i], &bad, sizeof(bad));
		r = attach(t);
		assert_false(r->created);
		assert_int_equal(client_count(r), 1);
		detach(r);
	}
}

static void
file_shorter_than_its_layout_is_damage(void **state)
{
	static const off_t sizes[] = { REGION_BYTES - 1, REGION_BYTES - 4096, 4096, sizeof(RLAYOUT),
		sizeof(RLAYOUT) - 1, 12 };
	struct t *t = *state;
	size_t i;

	(void)leave_region(t);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		t_check(truncate(t_path(t, REGION_FILE), sizes[i]) == 0);
		expect_refusal(t, DB_RUNRECOVERY, "force");
	}
	t_check(truncate(t_path(t, REGION_FILE), 0) == 0);
	expect_new_region(t);
}

static void
client_table_full_of_rubbish_can_be_joined(void **state)
{
	struct t *t = *state;
	RLAYOUT good = leave_region(t);
	struct client rubbish;
	struct region *r;
	uint32_t i;

	memset(&rubbish, 0xee, sizeof(rubbish));
	for (i = 0; i < CLIENTS; i++)
		if (i != 5)
			poke(t, good.clients + i * sizeof(rubbish), &rubbish, sizeof(rubbish));
	r = attach(t);
	assert_int_equal(r->self, 5);
	assert_int_equal(client_count(r), 1);
	for (i = 0; i < CLIENTS; i++)
		assert_int_equal(client_claim_dead(r, i), i != 5);
	for (i = 0; i < CLIENTS; i++)
		client_free(r, i);
	detach(attach(t));
	detach(r);
}

/* --- panic --------------------------------------------------------------------------------- */

static void
panic_keeps_the_first_reason_and_stops_everybody(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b = attach(t);

	assert_int_equal(region_usable(a), 0);
	assert_int_equal(region_panic(a, "frame %d points to %s", 7, "nowhere"), DB_RUNRECOVERY);
	assert_non_null(strstr(last_sentence, "frame 7 points to nowhere"));
	assert_int_equal(region_usable(b), DB_RUNRECOVERY);
	sentences = 0;
	assert_int_equal(region_panic(b, "another"), DB_RUNRECOVERY);
	assert_int_equal(sentences, 0);
	assert_string_equal(b->layout->panic_why, "frame 7 points to nowhere");
	assert_int_equal(b->layout->panic_pid, getpid());
	assert_int_equal(b->layout->panic_uid, geteuid());
	assert_string_equal(b->layout->panic_name, program_invocation_short_name);
	assert_true(os_now_usec() - b->layout->panic_usec < 60 * 1000000);
	assert_int_equal(attach_error(t), DB_RUNRECOVERY);
	assert_non_null(strstr(last_sentence, "frame 7 points to nowhere"));
	assert_non_null(strstr(last_sentence, program_invocation_short_name));
	detach(a);
	detach(b);
	assert_int_equal(attach_error(t), DB_RUNRECOVERY);
	assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	detach(attach(t));
}

static void
panic_of_who_died_before_he_said_why_is_said_by_the_next(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b = attach(t);

	/* b was the reporter, with half a reason. */
	b->layout->panic_by = b->self + 1;
	(void)strcpy(b->layout->panic_why + 1, "alf a reason");
	detach(b);
	assert_int_equal(region_usable(a), 0);
	assert_int_equal(region_panic(a, "whole"), DB_RUNRECOVERY);
	assert_int_equal(region_usable(a), DB_RUNRECOVERY);
	assert_string_equal(a->layout->panic_why, "whole");
	assert_int_equal(a->layout->panic_pid, getpid());
	detach(a);
}

static void
panic_of_who_is_stopped_before_he_said_why_has_no_reason_and_is_one(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b = attach(t);

	b->layout->panic_by = b->self + 1;
	(void)strcpy(b->layout->panic_why + 1, "alf a reason");
	assert_int_equal(region_panic(a, "another"), DB_RUNRECOVERY);
	assert_int_equal(region_usable(b), DB_RUNRECOVERY);
	assert_string_equal(a->layout->panic_why, "");
	detach(a);
	detach(b);
}

static int
finds_damage(struct t_child *c, void *arg)
{
	struct region *r = attach(arg);
	char name = (char)t_await_u64(c), why[101];

	memset(why, name, sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	t_tell(c, 'r');
	t_await(c, 'g');
	(void)region_panic(r, "%s", why);
	/* Whoever came first: panic is set, and so the whole of one reason is there. */
	t_check(load_seq(&r->layout->panic) != 0);
	memset(why, r->layout->panic_why[0], sizeof(why) - 1);
	t_check(strcmp(why, r->layout->panic_why) == 0);
	detach(r);
	return 0;
}

static void
panic_of_several_at_once_keeps_the_whole_reason_of_one(void **state)
{
	struct t *t = *state;
	struct t_child c[4];

	for (int round = 0; round < 20; round++) {
		detach(attach(t));
		for (int i = 0; i < 4; i++) {
			t_fork(&c[i], finds_damage, t);
			t_tell_u64(&c[i], (uint64_t)('a' + i));
		}
		for (int i = 0; i < 4; i++)
			t_await(&c[i], 'r');
		for (int i = 0; i < 4; i++)
			t_tell(&c[i], 'g');
		for (int i = 0; i < 4; i++)
			assert_int_equal(t_join(&c[i]), 0);
		assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	}
}

static void
panic_reason_of_any_length_and_bytes_is_printable(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);
	char why[500];
	const char *p;

	memset(why, 'y', sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	(void)region_panic(r, "%s", why);
	assert_int_equal(strlen(r->layout->panic_why), REGION_WHY_BYTES - 1);
	detach(r);
	memset(why, '\033', sizeof(why));
	poke(t, offsetof(RLAYOUT, panic_why), why, REGION_WHY_BYTES);
	assert_int_equal(attach_error(t), DB_RUNRECOVERY);
	for (p = last_sentence; *p != '\0'; p++)
		assert_true(*p >= ' ' && *p < 127);
}

static void
region_ptr_stays_inside(void **state)
{
	struct t *t = *state;
	struct region *r = attach(t);

	assert_ptr_equal(region_ptr(r, 0, r->size), r->addr);
	assert_ptr_equal(region_ptr(r, r->size, 0), r->addr + r->size);
	assert_null(region_ptr(r, 0, r->size + 1));
	assert_null(region_ptr(r, r->size, 1));
	assert_null(region_ptr(r, r->size + 1, 0));
	assert_null(region_ptr(r, UINT64_MAX, 2));
	assert_null(region_ptr(r, 8, SIZE_MAX));
	assert_null(region_ptr(r, UINT64_MAX - 7, 8));
	detach(r);
}

/* --- the report ---------------------------------------------------------------------------- */

static struct region_report
report_on(const struct t *t)
{
	int fd = open(t_path(t, REGION_FILE), O_RDONLY | O_CLOEXEC);
	struct region_report report;
	struct region_look look;

	t_check(fd >= 0);
	t_check(region_look_init(&look, fd) == 0);
	t_check(region_look_report(&look, &report) == 0);
	region_look_fini(&look);
	close(fd);
	return report;
}

static void
expect_report(const struct t *t, int error, const char *word)
{
	struct region_report report = report_on(t);

	assert_int_equal(report.error, error);
	assert_int_equal(report.panicked, false);
	if (strstr(report.why, word) == NULL)
		fail_msg("does not say %s: %s", word, report.why);
	if (error == 0)
		assert_string_equal(report.why, "");
}

static void
report_says_who_found_the_damage_when_and_why(void **state)
{
	struct t *t = *state;
	struct region_report report;
	struct region *r = attach(t);
	uint64_t before = os_now_usec();
	static const uint64_t rubbish = 0xdeadbeefdeadbeef;

	expect_report(t, 0, "");
	(void)region_panic(r, "bucket %d leads\nnowhere", 9);
	/* Whatever else is wrong, and though most of the file is gone. */
	detach(r);
	poke(t, offsetof(RLAYOUT, size), &rubbish, sizeof(rubbish));
	poke(t, offsetof(RLAYOUT, nclients), &rubbish, 4);
	poke(t, offsetof(RLAYOUT, valid), &rubbish, 4);
	t_check(truncate(t_path(t, REGION_FILE), sizeof(RLAYOUT)) == 0);
	report = report_on(t);
	assert_int_equal(report.error, DB_RUNRECOVERY);
	assert_true(report.panicked);
	assert_int_equal(report.pid, getpid());
	assert_int_equal(report.uid, geteuid());
	assert_true(report.usec >= before && report.usec <= os_now_usec());
	assert_string_equal(report.name, program_invocation_short_name);
	assert_string_equal(report.why, "bucket 9 leads?nowhere");
}

/* Nobody could open these: the report says what an attach would have said. */
static void
report_on_what_nobody_can_open_says_why(void **state)
{
	struct t *t = *state;
	RLAYOUT good = leave_region(t);

	poke_field(t, format, 77);
	expect_report(t, EPROTO, "format 77");
	poke_field(t, format, good.format);
	poke_field(t, body, 3);
	expect_report(t, DB_RUNRECOVERY, "do not fit");
	poke_field(t, body, good.body);
	poke_field(t, valid, 0);
	expect_report(t, ENOENT, "half made");
	poke_field(t, valid, good.valid);
	expect_report(t, 0, "");
	t_check(truncate(t_path(t, REGION_FILE), 4096) == 0);
	expect_report(t, DB_RUNRECOVERY, "shorter");
	t_check(truncate(t_path(t, REGION_FILE), 0) == 0);
	expect_report(t, ENOENT, "half made");
	t_write_file(t_path(t, REGION_FILE), "hello\n", 6);
	expect_report(t, DB_RUNRECOVERY, "too short");
}

/* --- a file that is truncated under its clients -------------------------------------------- */

/* How many bytes are left comes through the pipe. */
static int
uses_what_is_gone(struct t_child *c, void *arg)
{
	struct t *t = arg;
	struct region_spec spec = spec_in(t->dir);
	off_t left = (off_t)t_await_u64(c);
	struct region *r, *other;
	size_t i;

	spec.guard = true;
	t_check(region_attach(&spec, &r) == 0 && region_attach(&spec, &other) == 0);
	memset(r->addr + 16384, 'x', 4096);
	t_check(truncate(t_path(t, REGION_FILE), left) == 0);
	for (i = (size_t)left; i < REGION_BYTES; i += 1024) {
		t_check(((volatile uint8_t *)r->addr)[i] == 0);
		((volatile uint8_t *)r->addr)[i] = 1;
	}
	sentences = 0;
	t_check(region_usable(r) == DB_RUNRECOVERY);
	t_check(sentences == 1 && strstr(last_sentence, "are gone") != NULL);
	t_check(region_usable(r) == DB_RUNRECOVERY && sentences == 1);
	t_check(region_grow(r, REGION_BYTES + 4096) == DB_RUNRECOVERY);
	/* Another mapping of it is another matter. */
	t_check(other->lost == 0);
	t_check(left == 0 || region_usable(other) == 0);
	(void)region_detach(r, false, NULL, NULL);
	(void)region_detach(other, false, NULL, NULL);
	return 0;
}

static void
file_truncated_under_its_clients_is_an_error_and_no_signal(void **state)
{
	static const uint64_t left[] = { 0, 4096, 20480 };
	struct t *t = *state;
	struct t_child c;
	size_t i;

	for (i = 0; i < 3; i++) {
		t_fork(&c, uses_what_is_gone, t);
		t_tell_u64(&c, left[i]);
		assert_int_equal(t_join(&c), 0);
		assert_int_equal(attach_error(t), left[i] == 0 ? 0 : DB_RUNRECOVERY);
		assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	}
}

static volatile sig_atomic_t heard;

static void
hear_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)context;
	heard = sig;
	/* As an application's own guard would. */
	(void)mmap((void *)((uintptr_t)info->si_addr & ~(uintptr_t)4095), 4096,
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

enum before { DEFAULT, IGNORED, HANDLED };

/* A file of the application's own; with a handler of its own from before, or without. */
static int
touches_its_own_file(struct t_child *c, void *arg)
{
	struct t *t = arg;
	struct region_spec spec = spec_in(t->dir);
	struct sigaction sa = { .sa_sigaction = hear_sigbus, .sa_flags = SA_SIGINFO };
	static const struct rlimit no_core;
	struct region *r;
	uint8_t *own;
	uint64_t before = t_await_u64(c);
	int fd;

	/* Without, too, not even the test runner's. */
	if (before != HANDLED)
		sa = (struct sigaction){ .sa_handler = before == IGNORED ? SIG_IGN : SIG_DFL };
	t_check(sigaction(SIGBUS, &sa, NULL) == 0 && setrlimit(RLIMIT_CORE, &no_core) == 0);
	spec.guard = true;
	t_check(region_attach(&spec, &r) == 0);
	if (before == IGNORED)
		t_check(raise(SIGBUS) == 0);
	t_tell(c, 'i');
	t_write_file(t_path(t, "own"), "", 0);
	fd = open(t_path(t, "own"), O_RDWR | O_CLOEXEC);
	own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*(volatile uint8_t *)own = 1;
	t_check(heard == SIGBUS);
	t_check(region_usable(r) == 0);
	detach(r);
	return 0;
}

static void
signal_for_other_addresses_goes_where_it_went_before(void **state)
{
	struct t_child c;

	for (enum before before = DEFAULT; before <= HANDLED; before++) {
		t_fork(&c, touches_its_own_file, *state);
		t_tell_u64(&c, before);
		/* One that is only sent is ignored, if it was before. */
		t_await(&c, 'i');
		assert_int_equal(t_join(&c), before == HANDLED ? 0 : 128 + SIGBUS);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(somebodys_file_is_refused_untouched),
		t_test(valid_neither_0_nor_magic_is_damage),
		t_test(stamps_that_differ_are_eproto_naming_both),
		t_test(leftover_of_another_version_is_eproto),
		t_test(offsets_and_sizes_that_do_not_fit_are_damage),
		t_test(numbers_of_clients_that_do_not_fit_are_damage),
		t_test(fields_for_people_do_no_harm),
		t_test(file_shorter_than_its_layout_is_damage),
		t_test(client_table_full_of_rubbish_can_be_joined),
		t_test(panic_keeps_the_first_reason_and_stops_everybody),
		t_test(panic_of_who_died_before_he_said_why_is_said_by_the_next),
		t_test(panic_of_who_is_stopped_before_he_said_why_has_no_reason_and_is_one),
		t_test(panic_of_several_at_once_keeps_the_whole_reason_of_one),
		t_test(panic_reason_of_any_length_and_bytes_is_printable),
		t_test(region_ptr_stays_inside),
		t_test(report_says_who_found_the_damage_when_and_why),
		t_test(report_on_what_nobody_can_open_says_why),
		t_test(file_truncated_under_its_clients_is_an_error_and_no_signal),
		t_test(signal_for_other_addresses_goes_where_it_went_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
