/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mutations of the damage campaign.
 *
 * Each part of a region is struck as often as any other, however large it is, and within a part
 * mostly where something is.  What is written is what a wild store would leave, and what is most
 * likely to lead somewhere: small numbers, numbers just beyond a limit, one bit changed, bytes of
 * elsewhere in the region, so that lists get circles and two claim to be one.
 */
#include "damage.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/atomics.h"

#define BYTES_MOST 64

static struct {
	uint64_t off;
	uint32_t bytes; /* 0: nothing to undo */
	uint8_t old[BYTES_MOST];
} before;

enum how { ZEROS, ONES, BIT, NOISE, STEP, SMALL, LIMIT, COPY, HOWS };

static uint64_t
number(struct actor *a, uint64_t limit)
{
	static const uint64_t numbers[] = { 0, 1, 2, 3, 7, 31, 32, 33, 64, 255, 256, 512, 4095,
		4096, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000ull,
		0x7fffffffffffffffull, ~0ull };

	if (draw(a, 3) == 0)
		return limit + draw(a, 3) - 1;
	return numbers[draw(a, sizeof(numbers) / sizeof(numbers[0]))];
}

/* One changed word or run of bytes; the region's own bytes are in `base`. */
static void
change(struct actor *a, uint8_t *at, const uint8_t *base, const struct part *part, struct strike *s)
{
	uint64_t from = part->off + draw(a, (unsigned)(part->bytes - s->bytes + 1)), old = 0;

	s->how = draw(a, HOWS);
	s->value =
	    (uint64_t)draw(a, 1u << 31) << 33 ^ (uint64_t)draw(a, 1u << 31) << 2 ^ draw(a, 4);
	memcpy(&old, at, s->bytes < 8 ? s->bytes : 8);
	switch ((enum how)s->how) {
	case ZEROS:
		memset(at, 0, s->bytes);
		return;
	case ONES:
		memset(at, 0xff, s->bytes);
		return;
	case BIT:
		at[draw(a, s->bytes)] ^= (uint8_t)(1u << draw(a, 8));
		return;
	case NOISE:
		for (uint32_t i = 0; i < s->bytes; i++)
			at[i] = (uint8_t)draw(a, 256);
		return;
	case STEP:
		s->value = old + (draw(a, 2) ? 1 : ~0ull);
		break;
	case SMALL:
		s->value = draw(a, 40);
		break;
	case LIMIT:
		s->value = number(a, part->bytes >> draw(a, 12));
		break;
	case COPY:
	case HOWS:
	default:
		memmove(at, base + from / s->bytes * s->bytes, s->bytes);
		return;
	}
	memcpy(at, &s->value, s->bytes < 8 ? s->bytes : 8);
}

static void
choose(struct actor *a, const struct part *part, const uint8_t *base, struct strike *s)
{
	static const uint32_t sizes[] = { 1, 2, 4, 4, 4, 8, 8, 8, 16, 64 };
	unsigned tries = draw(a, 4) == 0 ? 1 : 200;

	s->part = part->name;
	s->bytes = sizes[draw(a, sizeof(sizes) / sizeof(sizes[0]))];
	while (s->bytes > part->bytes)
		s->bytes /= 2;
	do
		s->off = part->off +
		    draw(a, (unsigned)(part->bytes - s->bytes + 1)) / s->bytes * s->bytes;
	while (--tries > 0 && base[s->off] == 0);
}

/*
 * A live client's count of its locks: together with a lock that was changed to name it, it cannot
 * be told from a holder that was stopped.
 */
static bool
is_count(const struct region *r, uint64_t off, uint64_t bytes)
{
	for (uint32_t i = 0; i < r->nclients; i++) {
		const uint64_t *count = &r->clients[i].locks;

		if (overlap(off, bytes, place_in(r, count), sizeof(*count)) &&
		    load_relaxed(&r->clients[i].state) == CLIENT_LIVE)
			return true;
	}
	return false;
}

static bool
is_spared(const struct actor *a, const struct target *target, uint64_t off, uint64_t bytes)
{
	return (target->spares != NULL && target->spares(a, off, bytes)) ||
	    is_count(target->region(a), off, bytes);
}

void
strike(struct actor *a, const struct target *target)
{
	const struct region *r = target->region(a);
	struct part parts[PARTS_MOST];
	const struct part *part;
	unsigned n = target->parts(a, parts);
	struct strike s = { 0 };

	/* seldom these: most of what is in them ends the batch */
	if (draw(a, 3) == 0) {
		parts[n++] = (struct part){ "layout", 0, sizeof(RLAYOUT) };
		parts[n++] = (struct part){ "clients", place_in(r, r->clients),
			r->nclients * sizeof(struct client) };
	}
	do {
		part = &parts[draw(a, n)];
		choose(a, part, r->addr, &s);
	} while (is_spared(a, target, s.off, s.bytes));
	before.off = s.off;
	before.bytes = s.bytes;
	memcpy(before.old, r->addr + s.off, s.bytes);
	a->scene->last = s;
	change(a, r->addr + s.off, r->addr, part, &s);
	a->scene->last = s;
	a->scene->strikes++;
}

void
strike_undo(struct actor *a, const struct target *target)
{
	const struct region *r = target->region(a);

	if (before.bytes > 0 && !is_spared(a, target, before.off, before.bytes))
		memcpy(r->addr + before.off, before.old, before.bytes);
	before.bytes = 0;
}

static void
strike_length(struct actor *a, const char *path, off_t bytes)
{
	off_t to = (off_t)draw(a, (unsigned)bytes + 1);

	switch (draw(a, 4)) {
	case 0:
		to &= ~4095;
		break;
	case 1:
		to = bytes + (off_t)draw(a, 8192);
		break;
	case 2:
		to = (off_t)draw(a, sizeof(RLAYOUT) + 1);
		break;
	default:
		break;
	}
	t_check(truncate(path, to) == 0);
	a->scene->last = (struct strike){ .part = "the file's length", .off = (uint64_t)to };
}

void
strike_file(struct actor *a, const char *path)
{
	struct part part = { "the file", 0, 0 };
	struct strike s = { .part = part.name };
	uint8_t *bytes;
	size_t have;
	struct stat st;

	if (stat(path, &st) != 0 || st.st_size == 0)
		return;
	a->scene->file_strikes++;
	if (draw(a, 8) == 0) {
		strike_length(a, path, st.st_size);
		return;
	}
	bytes = (uint8_t *)t_read_file(path, &have);
	part.bytes = draw(a, 3) && have > sizeof(RLAYOUT) ? sizeof(RLAYOUT) : have;
	choose(a, &part, bytes, &s);
	change(a, bytes + s.off, bytes, &part, &s);
	t_poke(path, s.off, bytes + s.off, s.bytes);
	free(bytes);
	a->scene->last = s;
}
