/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/region: what those leave who died while they created or removed, and what an earlier boot
 * left.
 */
#include "region_t.h"

#include <signal.h>

/* --- leftovers ----------------------------------------------------------------------------- */

static void
leftover_of_zeros_is_taken_over(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, sizeof(RLAYOUT) - 1, sizeof(RLAYOUT), 4095, 4096,
		4097, REGION_BYTES / 2, REGION_BYTES };
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	char *zeros = calloc(1, REGION_BYTES);
	struct region *r;
	size_t i;

	spec.create = false;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		t_write_file(t_path(t, REGION_FILE), zeros, sizes[i]);
		assert_int_equal(region_attach(&spec, &r), ENOENT);
		assert_true(exists(t));
		expect_new_region(t);
		t_check(unlink(t_path(t, REGION_FILE)) == 0);
	}
	free(zeros);
}

static void
leftover_with_valid_cleared_is_taken_over(void **state)
{
	struct t *t = *state;
	RLAYOUT old = leave_region(t);

	poke_field(t, valid, 0);
	expect_new_region(t);
	assert_true(peek_file(t).region_id != old.region_id);
	assert_int_equal(peek_file(t).valid, DB_REGIONMAGIC);
}

/* Its creator died when only the first n bytes of the layout were written. */
static void
leftover_with_half_a_layout_is_taken_over(void **state)
{
	struct t *t = *state;
	char *whole, *half = calloc(1, REGION_BYTES);
	size_t n;

	(void)leave_region(t);
	poke_field(t, valid, 0);
	whole = t_read_file(t_path(t, REGION_FILE), NULL);
	for (n = 0; n < sizeof(RLAYOUT); n += 4) {
		memcpy(half, whole, n);
		t_write_file(t_path(t, REGION_FILE), half, REGION_BYTES);
		expect_new_region(t);
	}
	free(whole);
	free(half);
}

/* A live client of a region whose remover died keeps its memory: no truncation, no SIGBUS. */
static void
leftover_that_is_mapped_by_others_is_not_reused(void **state)
{
	struct t *t = *state;
	struct region *old = attach(t), *new;

	store_seq(&old->layout->valid, 0);
	new = attach(t);
	assert_true(new->created);
	assert_true(new->layout->region_id != old->layout->region_id);
	assert_int_equal(region_usable(old), ESTALE);
	body_of(old)->users = 1;
	memset(old->addr + old->layout->body, 0xaa, old->size - old->layout->body);
	assert_int_equal(body_of(new)->users, 0);
	detach(old);
	detach(new);
}

struct dying {
	struct t *t;
	unsigned n;
	bool remove;
};

static int
dies_at_a_call(struct t_child *c, void *arg)
{
	struct dying *d = arg;
	struct region_spec spec = spec_in(d->t->dir);
	struct region *r;

	(void)c;
	if (!d->remove)
		t_fault(T_FAULT_ANY, d->n, T_FAULT_KILL);
	t_check(region_attach(&spec, &r) == 0);
	if (d->remove)
		t_fault(T_FAULT_ANY, d->n, T_FAULT_KILL);
	t_check(region_detach(r, d->remove, NULL, NULL) == 0);
	return 0;
}

static unsigned
die_at_every_call(struct t *t, bool remove)
{
	struct dying d = { .t = t, .remove = remove };
	struct t_child c;
	int status;

	do {
		d.n++;
		t_fork(&c, dies_at_a_call, &d);
		status = t_join(&c);
		assert_true(status == 0 || status == 128 + SIGKILL);
		/* What it left, if anything, is a region or is made one, at once. */
		detach(attach(t));
		assert_int_equal(region_unlink_forced(NULL, t->dir, REGION_FILE), 0);
	} while (status != 0);
	return d.n;
}

static void
creator_killed_at_any_call_leaves_no_obstacle(void **state)
{
	assert_true(die_at_every_call(*state, false) > 10);
}

static void
remover_killed_at_any_call_leaves_no_obstacle(void **state)
{
	assert_true(die_at_every_call(*state, true) > 4);
}

static int
pauses_in_init(struct region *r, void *arg)
{
	struct t_child *c = arg;

	t_tell(c, 'i');
	t_await(c, 'g');
	return body_init(r, NULL);
}

static int
creates_slowly(struct t_child *c, void *arg)
{
	struct t *t = arg;
	struct region_spec spec = spec_in(t->dir);
	struct region *r;

	spec.init = pauses_in_init;
	spec.arg = c;
	t_check(region_attach(&spec, &r) == 0);
	t_check(r->created);
	t_tell(c, 'c');
	t_await(c, 'g');
	detach(r);
	return 0;
}

static int
joins(struct t_child *c, void *arg)
{
	struct region *r;

	t_tell(c, 's');
	r = attach(arg);
	t_check(!r->created);
	t_check(client_count(r) == 2);
	t_tell(c, 'j');
	detach(r);
	return 0;
}

static void
joiner_waits_for_a_live_creator(void **state)
{
	struct t *t = *state;
	struct t_child creator, joiner;

	t_fork(&creator, creates_slowly, t);
	t_await(&creator, 'i');
	t_fork(&joiner, joins, t);
	t_await(&joiner, 's');
	t_tell(&creator, 'g');
	t_await(&creator, 'c');
	t_await(&joiner, 'j');
	assert_int_equal(t_join(&joiner), 0);
	t_tell(&creator, 'g');
	assert_int_equal(t_join(&creator), 0);
}

static int
creates_if_need_be(struct t_child *c, void *arg)
{
	struct region *r;

	t_tell(c, 's');
	r = attach(arg);
	t_check(r->created);
	detach(r);
	return 0;
}

static void
joiner_takes_over_when_the_creator_is_killed(void **state)
{
	struct t *t = *state;
	struct t_child creator, joiner;

	t_fork(&creator, creates_slowly, t);
	t_await(&creator, 'i');
	t_fork(&joiner, creates_if_need_be, t);
	t_await(&joiner, 's');
	t_kill(&creator);
	assert_int_equal(t_join(&joiner), 0);
}

/* --- another boot -------------------------------------------------------------------------- */

static const uint8_t other_boot[16] = "another boot";

static void
other_boots_region_is_remade_and_its_dirty_pages_counted(void **state)
{
	struct t *t = *state;
	struct region_spec spec = spec_in(t->dir);
	RLAYOUT old = leave_region(t);
	struct region *r = NULL;

	poke(t, offsetof(RLAYOUT, boot_id), other_boot, 16);
	spec.create = false;
	assert_int_equal(region_attach(&spec, &r), ENOENT);
	assert_memory_equal(peek_file(t).boot_id, other_boot, 16);
	r = attach(t);
	assert_true(r->created);
	assert_true(r->layout->region_id != old.region_id);
	assert_non_null(strstr(last_sentence, "17 unwritten pages"));
	assert_non_null(strstr(last_sentence, REGION_FILE));
	detach(r);
}

static void
other_boots_clean_region_is_remade_in_silence(void **state)
{
	struct t *t = *state;
	struct region *r;

	(void)leave_region(t);
	poke_field(t, clean, 1);
	poke(t, offsetof(RLAYOUT, boot_id), other_boot, 16);
	sentences = 0;
	r = attach(t);
	assert_true(r->created);
	assert_int_equal(sentences, 0);
	detach(r);
}

static void
other_boots_damaged_region_is_remade_uncounted(void **state)
{
	struct t *t = *state;
	RLAYOUT good = leave_region(t);
	static const uint64_t bad = 3;
	static const size_t fields[] = { offsetof(RLAYOUT, size), offsetof(RLAYOUT, clients),
		offsetof(RLAYOUT, body), offsetof(RLAYOUT, panic),
		offsetof(RLAYOUT, subsystem_stamp) };
	size_t i;

	for (i = 0; i <= 5; i++) {
		if (i < 5)
			poke(t, fields[i], &bad, i < 3 ? 8 : 4);
		else
			t_check(truncate(t_path(t, REGION_FILE), 4096) == 0);
		poke(t, offsetof(RLAYOUT, boot_id), other_boot, 16);
		last_sentence[0] = '\0';
		expect_new_region(t);
		assert_non_null(strstr(last_sentence, "earlier boot"));
		assert_null(strstr(last_sentence, "17"));
		assert_true(peek_file(t).body == good.body);
	}
}

static void
other_boots_region_of_another_format_is_eproto(void **state)
{
	struct t *t = *state;

	(void)leave_region(t);
	poke(t, offsetof(RLAYOUT, boot_id), other_boot, 16);
	poke_field(t, format, 77);
	expect_refusal(t, EPROTO, "format 77");
}

/* Who is alive is of this boot: its region is never thrown away under it. */
static void
other_boot_id_with_a_live_client_is_joined(void **state)
{
	struct t *t = *state;
	struct region *a = attach(t), *b;

	memcpy(a->layout->boot_id, other_boot, 16);
	b = attach(t);
	assert_false(b->created);
	detach(b);
	detach(a);
	b = attach(t);
	assert_true(b->created);
	detach(b);
}

static void
unknown_boot_id_proves_nothing(void **state)
{
	static const uint8_t unknown[16];
	struct t *t = *state;
	struct region *r;

	(void)leave_region(t);
	poke(t, offsetof(RLAYOUT, boot_id), unknown, 16);
	r = attach(t);
	assert_false(r->created);
	detach(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(leftover_of_zeros_is_taken_over),
		t_test(leftover_with_valid_cleared_is_taken_over),
		t_test(leftover_with_half_a_layout_is_taken_over),
		t_test(leftover_that_is_mapped_by_others_is_not_reused),
		t_test(creator_killed_at_any_call_leaves_no_obstacle),
		t_test(remover_killed_at_any_call_leaves_no_obstacle),
		t_test(joiner_waits_for_a_live_creator),
		t_test(joiner_takes_over_when_the_creator_is_killed),
		t_test(other_boots_region_is_remade_and_its_dirty_pages_counted),
		t_test(other_boots_clean_region_is_remade_in_silence),
		t_test(other_boots_damaged_region_is_remade_uncounted),
		t_test(other_boots_region_of_another_format_is_eproto),
		t_test(other_boot_id_with_a_live_client_is_joined),
		t_test(unknown_boot_id_proves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
