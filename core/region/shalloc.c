/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/shalloc.c - first fit with coalescing, in an area that several processes share.
 *
 * +------+-------+------------+-------+------ - - --+-------+------+
 * | head | chunk | bytes ...  | chunk | links  free | chunk | ...  |
 * +------+-------+------------+-------+------ - - --+-------+------+
 *        |<---- chunk.size -->|<- the next one's prev_size
 *
 * A chunk's size and whether it is used are one word, so that one store splits, joins, hands out
 * or takes back.  Everything else is written before that store (the header of a chunk that is
 * split off) or can be found again from the sizes (prev_size, the free list): whoever dies in
 * between leaves a walk that meets every byte once.  What he leaves at worst is a used chunk that
 * nobody knows of, for whose sake there is shalloc_keep.
 *
 * Memory is taken from the end of the first free chunk on the list that has room, as in the
 * original, so that the chunk stays on the list; what alignment leaves over behind it becomes a
 * chunk of its own.  The list's order means nothing.
 */
#include "shalloc.h"

#include <errno.h>
#include <stdbool.h>

#include "../base/atomics.h"
#include "../base/error.h"

#define AREA_MAGIC 0x5ba110c8u
#define UNIT 8u	     /* all sizes and offsets are multiples */
#define LEN_MIN 16u  /* room for struct links */
#define FRAGMENT 32u /* the smallest chunk: its header and LEN_MIN bytes */
#define ALIGN_MAX 4096u

#define TAG_SHIFT 48
#define TAG_USED ((uint64_t)0x05ed << TAG_SHIFT)
#define TAG_FREE ((uint64_t)0xf4ee << TAG_SHIFT)
#define SIZE_MASK (((uint64_t)1 << TAG_SHIFT) - 1)

struct head {
	uint64_t magic;
	uint64_t bytes;	     /* of the area, the head included */
	uint64_t first_free; /* offset of a chunk, or 0 */
	uint64_t spare;
};

struct chunk {
	uint64_t word;	    /* TAG_* | size in bytes, this header included */
	uint64_t prev_size; /* of the chunk before this one; 0: this is the first */
};

/* Behind a free chunk's header. */
struct links {
	uint64_t next; /* offset of a chunk, or 0 */
	uint64_t prev; /* 0: the list's first */
};

/* A chunk whose header has been read once and found possible. */
struct seen {
	uint64_t off;
	uint64_t size;
	uint64_t prev_size;
	bool used;
};

/* The area as one call sees it: its address, and its end from the caller, not from the head. */
struct area {
	uint8_t *addr;
	uint64_t end;
};

static struct head *
head_of(struct area a)
{
	return (struct head *)a.addr;
}

static struct chunk *
chunk_at(struct area a, uint64_t off)
{
	return (struct chunk *)(a.addr + off);
}

static struct links *
links_at(struct area a, uint64_t off)
{
	return (struct links *)(a.addr + off + sizeof(struct chunk));
}

static uint64_t
round_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) & ~(unit - 1);
}

/* --- reading, with checks ------------------------------------------------------------------ */

static int
area_open(void *addr, size_t bytes, struct area *a)
{
	a->addr = addr;
	a->end = bytes & ~(uint64_t)(UNIT - 1);
	if (a->end < sizeof(struct head) + FRAGMENT || a->end > SIZE_MASK)
		return EFAULT;
	if (load_relaxed(&head_of(*a)->magic) != AREA_MAGIC ||
	    load_relaxed(&head_of(*a)->bytes) != a->end)
		return EFAULT;
	return 0;
}

static bool
offset_is_possible(struct area a, uint64_t off)
{
	return off >= sizeof(struct head) && off <= a.end - FRAGMENT && off % UNIT == 0;
}

/* The header at off, which may come from shared memory. */
static int
chunk_see(struct area a, uint64_t off, struct seen *c)
{
	uint64_t word, tag;

	if (!offset_is_possible(a, off))
		return EFAULT;
	word = load_relaxed(&chunk_at(a, off)->word);
	tag = word & ~SIZE_MASK;
	c->off = off;
	c->size = word & SIZE_MASK;
	c->prev_size = load_relaxed(&chunk_at(a, off)->prev_size);
	c->used = tag == TAG_USED;
	if (tag != TAG_USED && tag != TAG_FREE)
		return EFAULT;
	if (c->size < FRAGMENT || c->size % UNIT != 0 || c->size > a.end - off)
		return EFAULT;
	return 0;
}

/* The chunk behind c; *c is not written at the area's end, where there is none (ENOENT). */
static int
chunk_see_next(struct area a, const struct seen *c, struct seen *next)
{
	if (c->off + c->size == a.end)
		return ENOENT;
	return chunk_see(a, c->off + c->size, next);
}

/* The chunk before c, if both sides agree that it is; ENOENT: c is the first. */
static int
chunk_see_prev(struct area a, const struct seen *c, struct seen *prev)
{
	int ret;

	if (c->prev_size == 0)
		return c->off == sizeof(struct head) ? ENOENT : EFAULT;
	if (c->prev_size > c->off)
		return EFAULT;
	if ((ret = chunk_see(a, c->off - c->prev_size, prev)) != 0)
		return ret;
	return prev->size == c->prev_size ? 0 : EFAULT;
}

/* A chunk that a link of the free list leads to. */
static int
free_see(struct area a, uint64_t off, struct seen *c)
{
	int ret = chunk_see(a, off, c);

	return ret == 0 && c->used ? EFAULT : ret;
}

/* --- the free list ------------------------------------------------------------------------- */

static int
list_insert(struct area a, uint64_t off)
{
	uint64_t first = load_relaxed(&head_of(a)->first_free);
	struct seen c;
	int ret;

	POOL_ASSERT(offset_is_possible(a, off));
	if (first != 0 && (ret = free_see(a, first, &c)) != 0)
		return ret;
	store_release(&links_at(a, off)->next, first);
	store_release(&links_at(a, off)->prev, 0);
	if (first != 0)
		store_release(&links_at(a, first)->prev, off);
	store_release(&head_of(a)->first_free, off);
	return 0;
}

/* All links that are changed are checked before the first is. */
static int
list_remove(struct area a, uint64_t off)
{
	uint64_t next = load_relaxed(&links_at(a, off)->next);
	uint64_t prev = load_relaxed(&links_at(a, off)->prev);
	uint64_t *from = &head_of(a)->first_free;
	struct seen c;

	if (next != 0 &&
	    (free_see(a, next, &c) != 0 || load_relaxed(&links_at(a, next)->prev) != off))
		return EFAULT;
	if (prev != 0) {
		if (free_see(a, prev, &c) != 0)
			return EFAULT;
		from = &links_at(a, prev)->next;
	}
	if (load_relaxed(from) != off)
		return EFAULT;
	store_release(from, next);
	if (next != 0)
		store_release(&links_at(a, next)->prev, prev);
	return 0;
}

/* --- splitting and joining ----------------------------------------------------------------- */

static void
set_prev_size(struct area a, uint64_t off, uint64_t prev_size)
{
	if (off < a.end)
		store_release(&chunk_at(a, off)->prev_size, prev_size);
}

/* Cut size bytes off the end of c, as a chunk of its own that is marked with tag. */
static void
split(struct area a, struct seen *c, uint64_t size, uint64_t tag)
{
	uint64_t end = c->off + c->size, off = end - size;

	POOL_ASSERT(size >= FRAGMENT && c->size >= FRAGMENT + size && size % UNIT == 0);
	c->size -= size;
	store_release(&chunk_at(a, off)->prev_size, c->size);
	store_release(&chunk_at(a, off)->word, tag | size);
	store_release(&chunk_at(a, c->off)->word, (c->used ? TAG_USED : TAG_FREE) | c->size);
	set_prev_size(a, end, size);
}

/* c swallows the next chunk, which is free and on no list. */
static void
join(struct area a, struct seen *c, const struct seen *next)
{
	POOL_ASSERT(next->off == c->off + c->size && !next->used);
	c->size += next->size;
	store_release(&chunk_at(a, c->off)->word, (c->used ? TAG_USED : TAG_FREE) | c->size);
	set_prev_size(a, c->off + c->size, c->size);
	/* What was a header must not look like one to a second free. */
	store_release(&chunk_at(a, next->off)->word, 0);
}

/* --- calls --------------------------------------------------------------------------------- */

int
shalloc_init(void *area, size_t bytes)
{
	struct area a = { .addr = area, .end = bytes & ~(uint64_t)(UNIT - 1) };

	if (a.end < sizeof(struct head) + FRAGMENT || a.end > SIZE_MASK ||
	    (uintptr_t)area % UNIT != 0)
		return EINVAL;
	store_release(&chunk_at(a, sizeof(struct head))->prev_size, 0);
	store_release(
	    &chunk_at(a, sizeof(struct head))->word, TAG_FREE | (a.end - sizeof(struct head)));
	head_of(a)->spare = 0;
	store_release(&head_of(a)->first_free, 0);
	store_release(&head_of(a)->bytes, a.end);
	store_release(&head_of(a)->magic, AREA_MAGIC);
	return list_insert(a, sizeof(struct head));
}

/*
 * Where in free chunk c the bytes would begin: as near to its end as alignment allows, and before
 * their header either nothing or room for a whole chunk.
 */
static bool
find_place(const struct seen *c, uint64_t len, uint64_t align, uint64_t *placep)
{
	uint64_t least = c->off + sizeof(struct chunk), end = c->off + c->size, place;

	if (len > end - least)
		return false;
	place = (end - len) & ~(align - 1);
	if (place < least)
		return false;
	if (place - least < FRAGMENT && place != least) {
		if (least % align != 0)
			return false;
		place = least;
	}
	*placep = place;
	return true;
}

/* Make the bytes at place a used chunk. */
static int
carve(struct area a, struct seen *c, uint64_t place, uint64_t len)
{
	uint64_t rest = c->off + c->size - (place + len);
	int ret;

	POOL_ASSERT(place >= c->off + sizeof(struct chunk) && place + len <= c->off + c->size);
	if (rest >= FRAGMENT) {
		split(a, c, rest, TAG_FREE);
		if ((ret = list_insert(a, place + len)) != 0)
			return ret;
	}
	if (place > c->off + sizeof(struct chunk)) {
		split(a, c, c->off + c->size - (place - sizeof(struct chunk)), TAG_USED);
		return 0;
	}
	if ((ret = list_remove(a, c->off)) != 0)
		return ret;
	store_release(&chunk_at(a, c->off)->word, TAG_USED | c->size);
	return 0;
}

int
shalloc(void *area, size_t bytes, size_t len, size_t align, uint64_t *offp)
{
	struct area a;
	struct seen c;
	uint64_t off, place, steps;
	int ret;

	if (align > ALIGN_MAX || (align & (align - 1)) != 0)
		return EINVAL;
	if ((ret = area_open(area, bytes, &a)) != 0)
		return ret;
	if (len > a.end)
		return ENOMEM;
	len = len < LEN_MIN ? LEN_MIN : round_up(len, UNIT);
	align = align < UNIT ? UNIT : align;
	steps = a.end / FRAGMENT;
	for (off = load_relaxed(&head_of(a)->first_free); off != 0;
	     off = load_relaxed(&links_at(a, off)->next)) {
		/* More links than chunks are a loop. */
		if (steps-- == 0 || free_see(a, off, &c) != 0)
			return EFAULT;
		if (!find_place(&c, len, align, &place))
			continue;
		if ((ret = carve(a, &c, place, len)) == 0)
			*offp = place;
		return ret;
	}
	return ENOMEM;
}

/* The used chunk whose bytes begin at off.  EINVAL: there is none; EFAULT: its sides disagree. */
static int
used_see(struct area a, uint64_t off, struct seen *c)
{
	struct seen other;
	int ret;

	if (off < sizeof(struct chunk) || !offset_is_possible(a, off - sizeof(struct chunk)) ||
	    (load_relaxed(&chunk_at(a, off - sizeof(struct chunk))->word) & ~SIZE_MASK) != TAG_USED)
		return EINVAL;
	if (chunk_see(a, off - sizeof(struct chunk), c) != 0)
		return EFAULT;
	if ((ret = chunk_see_prev(a, c, &other)) != 0 && ret != ENOENT)
		return ret;
	if ((ret = chunk_see_next(a, c, &other)) == 0 && other.prev_size != c->size)
		return EFAULT;
	return ret == ENOENT ? 0 : ret;
}

int
shalloc_size(void *area, size_t bytes, uint64_t off, size_t *lenp)
{
	struct area a;
	struct seen c;
	int ret;

	if ((ret = area_open(area, bytes, &a)) != 0 || (ret = used_see(a, off, &c)) != 0)
		return ret;
	*lenp = (size_t)(c.size - sizeof(struct chunk));
	return 0;
}

int
shalloc_free(void *area, size_t bytes, uint64_t off)
{
	struct area a;
	struct seen c, other;
	int ret;

	if ((ret = area_open(area, bytes, &a)) != 0 || (ret = used_see(a, off, &c)) != 0)
		return ret;
	c.used = false;
	store_release(&chunk_at(a, c.off)->word, TAG_FREE | c.size);
	if (chunk_see_next(a, &c, &other) == 0 && !other.used) {
		if ((ret = list_remove(a, other.off)) != 0)
			return ret;
		join(a, &c, &other);
	}
	if (chunk_see_prev(a, &c, &other) == 0 && !other.used) {
		join(a, &other, &c);
		return 0;
	}
	return list_insert(a, c.off);
}

/* --- the walk ------------------------------------------------------------------------------ */

static void
count(struct shalloc_stat *st, const struct seen *c)
{
	if (c->used) {
		st->used_bytes += c->size;
		st->used_chunks++;
		return;
	}
	st->free_bytes += c->size;
	st->free_chunks++;
	if (c->size - sizeof(struct chunk) > st->largest_free)
		st->largest_free = c->size - sizeof(struct chunk);
}

/* As many free chunks on the list as the walk has met, each linked both ways. */
static int
check_list(struct area a, uint64_t free_chunks)
{
	uint64_t off, prev = 0, n = 0;
	struct seen c;

	for (off = load_relaxed(&head_of(a)->first_free); off != 0;
	     off = load_relaxed(&links_at(a, off)->next)) {
		if (n++ == free_chunks || free_see(a, off, &c) != 0 ||
		    load_relaxed(&links_at(a, off)->prev) != prev)
			return EFAULT;
		prev = off;
	}
	return n == free_chunks ? 0 : EFAULT;
}

int
shalloc_check(void *area, size_t bytes, struct shalloc_stat *st)
{
	struct shalloc_stat sum = { 0 };
	struct seen c = { 0 };
	struct area a;
	uint64_t off, prev_size = 0;
	int ret;

	if ((ret = area_open(area, bytes, &a)) != 0)
		return ret;
	for (off = sizeof(struct head); off < a.end; off += c.size) {
		bool after_free = off > sizeof(struct head) && !c.used;

		if (chunk_see(a, off, &c) != 0 || c.prev_size != prev_size ||
		    (after_free && !c.used))
			return EFAULT;
		prev_size = c.size;
		count(&sum, &c);
	}
	if ((ret = check_list(a, sum.free_chunks)) != 0)
		return ret;
	sum.area_bytes = a.end;
	if (st != NULL)
		*st = sum;
	return 0;
}

int
shalloc_repair(void *area, size_t bytes)
{
	struct area a;
	struct seen c, next;
	uint64_t off, prev_size = 0;
	int ret;

	if ((ret = area_open(area, bytes, &a)) != 0)
		return ret;
	/* Nothing is changed unless the walk is whole. */
	for (off = sizeof(struct head); off < a.end; off += c.size)
		if ((ret = chunk_see(a, off, &c)) != 0)
			return ret;
	store_release(&head_of(a)->first_free, 0);
	for (off = sizeof(struct head); off < a.end; off += c.size) {
		if ((ret = chunk_see(a, off, &c)) != 0)
			return ret;
		set_prev_size(a, off, prev_size);
		while (!c.used && chunk_see_next(a, &c, &next) == 0 && !next.used)
			join(a, &c, &next);
		if (!c.used && (ret = list_insert(a, off)) != 0)
			return ret;
		prev_size = c.size;
	}
	return 0;
}

int
shalloc_keep(void *area, size_t bytes, const uint64_t *offs, size_t n)
{
	struct area a;
	struct seen c;
	uint64_t off;
	int ret;

	if ((ret = area_open(area, bytes, &a)) != 0)
		return ret;
	for (off = sizeof(struct head); off < a.end; off += c.size) {
		uint64_t place = off + sizeof(struct chunk);

		if ((ret = chunk_see(a, off, &c)) != 0)
			return ret;
		while (n > 0 && *offs < place)
			offs++, n--;
		if (c.used && (n == 0 || *offs != place))
			store_release(&chunk_at(a, off)->word, TAG_FREE | c.size);
	}
	return shalloc_repair(area, bytes);
}
