/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/copies.c - what the kernel was given of a file, page by page.
 *
 * Of a file that somebody else changes while the kernel has pages of it, the mount has to know
 * two things: which pages the kernel may have (those have to be dropped when they are changed),
 * and what was in them: when the kernel writes back a page that was changed through a mapping it
 * sends all of it, and only the bytes that differ from what it was given are a program's doing.
 *
 * A hash table by page number.  An entry without bytes is a page that is on its way to the kernel.
 */
#include "copies.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024u

struct copy {
	struct copy *next;
	uint64_t from;
	uint64_t age;
	bool filled;
	char bytes[COPY_BYTES];
};

struct copies {
	size_t count;
	struct copy *buckets[BUCKETS];
};

struct copies *
copies_create(void)
{
	return calloc(1, sizeof(struct copies));
}

void
copies_destroy(struct copies *c)
{
	if (c == NULL)
		return;
	copies_forget(c, 0, 0, UINT64_MAX);
	free(c);
}

size_t
copies_count(const struct copies *c)
{
	return c->count;
}

static unsigned
bucket_of(uint64_t from)
{
	return (unsigned)(from / COPY_BYTES % BUCKETS);
}

static struct copy *
find(const struct copies *c, uint64_t from)
{
	struct copy *e = c->buckets[bucket_of(from)];

	while (e != NULL && e->from != from)
		e = e->next;
	return e;
}

bool
copies_any(const struct copies *c, uint64_t from, uint64_t to)
{
	for (from -= from % COPY_BYTES; c->count > 0 && from < to; from += COPY_BYTES)
		if (find(c, from) != NULL)
			return true;
	return false;
}

static struct copy *
add(struct copies *c, uint64_t from)
{
	struct copy *e = malloc(sizeof(*e));

	if (e == NULL)
		return NULL;
	e->from = from;
	e->next = c->buckets[bucket_of(from)];
	c->buckets[bucket_of(from)] = e;
	c->count++;
	return e;
}

int
copies_announce(struct copies *c, uint64_t from, uint64_t to, uint64_t age)
{
	struct copy *e;

	for (; from < to; from += COPY_BYTES) {
		if ((e = find(c, from)) == NULL && (e = add(c, from)) == NULL)
			return ENOMEM;
		e->age = age;
		e->filled = false;
	}
	return 0;
}

void
copies_fill(struct copies *c, uint64_t from, const char *buf, size_t bytes, uint64_t to)
{
	struct copy *e;

	for (size_t at = 0, n; from + at < to; at += COPY_BYTES) {
		n = at >= bytes ? 0 : bytes - at < COPY_BYTES ? bytes - at : COPY_BYTES;
		if ((e = find(c, from + at)) == NULL || e->filled)
			continue;
		if (n > 0)
			memcpy(e->bytes, buf + at, n);
		memset(e->bytes + n, 0, COPY_BYTES - n);
		e->filled = true;
	}
}

void
copies_update(struct copies *c, uint64_t from, const char *buf, size_t bytes, uint64_t age)
{
	struct copy *e;

	for (size_t at = 0, n; at < bytes; at += n) {
		size_t inside = (from + at) % COPY_BYTES;

		n = bytes - at < COPY_BYTES - inside ? bytes - at : COPY_BYTES - inside;
		if ((e = find(c, from + at - inside)) != NULL && e->filled && e->age < age)
			memcpy(e->bytes + inside, buf + at, n);
	}
}

const char *
copies_at(const struct copies *c, uint64_t from)
{
	const struct copy *e = find(c, from);

	return e != NULL && e->filled ? e->bytes : NULL;
}

void
copies_forget(struct copies *c, uint64_t from, uint64_t to, uint64_t age)
{
	for (unsigned b = 0; b < BUCKETS && c->count > 0; b++) {
		struct copy **link = &c->buckets[b], *e;

		while ((e = *link) != NULL) {
			if (e->age >= age || e->from + COPY_BYTES <= from ||
			    (to != 0 && e->from >= to)) {
				link = &e->next;
				continue;
			}
			*link = e->next;
			c->count--;
			free(e);
		}
	}
}
