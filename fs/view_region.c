/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view_region.c - regions/NAME.layout and regions/NAME.clients.
 *
 * Both read the region's bytes, wherever they are.  What they say is input: offsets and counts are
 * checked against the region's length before they are used.  A header that is not there is shown
 * as unknown, with the reason; then there are no clients, and nothing is known of the allocator.
 */
#include "view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pin_age.h"
#include "pool.h"
#include "region_dir.h"
#include "state.h"

#define CLIENTS_MOST 65536u

/* A region's file, and copies of its header and its table of clients. */
struct region_copy {
	int fd;
	struct region_look look;
	RLAYOUT layout;
	struct client
	    *clients; /* nclients of them; NULL if the header's word on them is not good */
	uint32_t nclients;
};

static int
read_exactly(const struct region_look *look, void *buf, size_t bytes, uint64_t offset)
{
	size_t done;
	int err;

	if ((err = region_look_read(look, buf, bytes, offset, &done)) != 0)
		return err;
	return done == bytes ? 0 : EPROTO;
}

static void
copy_clients(struct region_copy *c)
{
	uint64_t bytes = (uint64_t)c->layout.nclients * sizeof(struct client);
	uint64_t all = c->look.bytes;

	if (c->layout.valid != DB_REGIONMAGIC || c->layout.nclients > CLIENTS_MOST || bytes == 0 ||
	    c->layout.clients > all || bytes > all - c->layout.clients)
		return;
	if ((c->clients = malloc(bytes)) == NULL)
		return;
	if (read_exactly(&c->look, c->clients, bytes, c->layout.clients) != 0) {
		free(c->clients);
		c->clients = NULL;
		return;
	}
	c->nclients = c->layout.nclients;
}

static int
region_copy_open(struct fs *fs, const char *region, struct region_copy *c)
{
	int err;

	*c = (struct region_copy){ .fd = -1 };
	if ((err = region_open_file(fs, region, &c->fd)) != 0)
		return err;
	if ((err = region_look_init(&c->look, c->fd)) == 0) {
		if ((err = read_exactly(&c->look, &c->layout, sizeof(c->layout), 0)) == 0) {
			copy_clients(c);
			return 0;
		}
		region_look_fini(&c->look);
	}
	(void)close(c->fd);
	return err;
}

/* Whatever cannot be read is empty.  ENOENT if there is no such region. */
static int
region_copy_take(struct fs *fs, const char *region, struct region_copy *c)
{
	int err = region_copy_open(fs, region, c);

	if (err == 0 || err == ENOENT)
		return err;
	*c = (struct region_copy){ .fd = -1 };
	return 0;
}

static void
region_copy_close(struct region_copy *c)
{
	if (c->fd == -1)
		return;
	region_look_fini(&c->look);
	(void)close(c->fd);
	free(c->clients);
}

static bool
client_lives(const struct region_copy *c, uint32_t number)
{
	bool taken = false;

	if (c->clients[number].state == CLIENT_FREE)
		return false;
	return os_lock_test(c->fd, CLIENT_BYTE + number, &taken) == 0 && taken;
}

/* --- NAME.layout --------------------------------------------------------------------------- */

static void
count_live(struct region_copy *c)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < c->nclients; i++)
		live += client_lives(c, i);
	if (c->clients != NULL)
		c->layout.refcnt = live;
}

/* A segment that is gone leaves its name. */
static const char *
memory_word(const struct region_copy *c)
{
	bool is_name = c->look.bytes == sizeof(RLAYOUT) && (c->layout.flags & REGION_SYSTEM) != 0;

	return c->look.segment != NULL || is_name ? "system" : "file";
}

/* Of a region whose header cannot be had, or is none, its fields are unknown. */
static void
render_unknown_layout(struct text *t)
{
#define STAT_LAYOUT(key, expression, kind, unit, help) render_unknown(t, #key);
#include "stat.def"
}

static void
render_layout(const RLAYOUT *l, struct text *t)
{
#define U64(key, value) render_u64(t, key, (uint64_t)(value))
#define I64(key, value) render_i64(t, key, (int64_t)(value))
#define HEX(key, value) render_hex(t, key, (uint64_t)(value))
#define STAT_LAYOUT(key, expression, kind, unit, help) kind(#key, expression);
#include "stat.def"
#undef U64
#undef I64
#undef HEX
}

static void
render_report(const struct region_report *r, const char *memory, struct text *t)
{
	render_text(t, "panic_why", r->panicked ? r->why : "-");
	render_text(t, "memory", memory);
	if (r->panicked)
		render_u64(t, "panic_uid", r->uid);
	else
		render_unknown(t, "panic_uid");
	render_text(t, "panic_program", r->panicked ? r->name : "-");
	render_i64(t, "error", r->error);
	render_text(t, "error_why", r->error != 0 ? r->why : "-");
}

int
view_layout(struct fs *fs, const char *region, struct text *t)
{
	struct region_report report;
	struct region_copy c;
	int err;

	if ((err = region_report(fs, region, &report)) != 0)
		return err;
	if (region_copy_open(fs, region, &c) != 0) {
		render_unknown_layout(t);
		render_report(&report, "-", t);
		return 0;
	}
	count_live(&c);
	render_layout(&c.layout, t);
	render_report(&report, memory_word(&c), t);
	region_copy_close(&c);
	return 0;
}

/* --- NAME.clients -------------------------------------------------------------------------- */

static const char *
state_word(const struct region_copy *c, uint32_t number)
{
	if (client_lives(c, number))
		return "live";
	return c->clients[number].state == CLIENT_REAPING ? "reaping" : "dead";
}

static void
render_client(struct text *t, const struct region_copy *c, uint32_t number, struct fs *fs)
{
	const struct client *cl = &c->clients[number];
	char pins[24] = "-", age[24] = "-", name[sizeof(cl->name) + 1] = "";
	uint64_t n, oldest_usec;

	if (fs != NULL) {
		pin_ages_of(fs, number, &n, &oldest_usec);
		(void)snprintf(pins, sizeof(pins), "%" PRIu64, n);
		(void)snprintf(age, sizeof(age), "%" PRIu64, oldest_usec);
	}
	memcpy(name, cl->name, sizeof(cl->name));
	text_add(t, "%8" PRIu32 " %10" PRId32 " %10" PRIu32 " %-7s %18" PRIu64 " %10s %14s ",
	    number, cl->pid, cl->uid, state_word(c, number), cl->attached_usec, pins, age);
	render_free_text(t, name);
}

/* The mount's own pool, if region is it: only there pins can be counted. */
static DB_MPOOL *
pool_behind(struct fs *fs, const RLAYOUT *l)
{
	if (fs->pool == NULL || mpool_region(fs->pool)->layout->region_id != l->region_id)
		return NULL;
	return fs->pool;
}

int
view_clients(struct fs *fs, const char *region, struct text *t)
{
	struct region_copy c;
	DB_MPOOL *pool;
	int err;

	if ((err = region_copy_take(fs, region, &c)) != 0)
		return err;
	text_add(t, "#%7s %10s %10s %-7s %18s %10s %14s %s\n", "client", "pid", "uid", "state",
	    "attached_usec", "pins", "pin_age_usec", "name");
	(void)pool_peek(fs);
	if ((pool = pool_behind(fs, &c.layout)) != NULL)
		pin_ages_look(fs);
	for (uint32_t i = 0; i < c.nclients; i++)
		if (c.clients[i].state != CLIENT_FREE)
			render_client(t, &c, i, pool != NULL ? fs : NULL);
	pool_put(fs);
	region_copy_close(&c);
	return 0;
}

/* --- NAME.heap ----------------------------------------------------------------------------- */

static const struct field heap_fields[] = {
#define STAT_HEAP(key, expression, kind, unit, metric, help)                                       \
	{ #key, FIELD_##kind, #unit, metric, 0, help },
#include "stat.def"
};

static int
fill_heap(DB_MPOOL *pool, struct sheet *s)
{
	struct shalloc_stat st, *h = &st;
	int err;

	if ((err = mpool_heap(pool, h)) != 0)
		return err;
	const struct value row[] = {
#define STAT_HEAP(key, expression, kind, unit, metric, help) VALUE_##kind(expression),
#include "stat.def"
	};

	sheet_add(s, row);
	return 0;
}

/* Of another region, or of a pool that is not open, nothing is known. */
int
view_heap(struct fs *fs, const char *region, struct text *t)
{
	struct region_copy c;
	struct sheet s;
	DB_MPOOL *pool;
	int err;

	if ((err = region_copy_take(fs, region, &c)) != 0)
		return err;
	sheet_init(&s, heap_fields, sizeof(heap_fields) / sizeof(heap_fields[0]), SHEET_KEYS);
	(void)pool_peek(fs);
	if ((pool = pool_behind(fs, &c.layout)) != NULL)
		err = fill_heap(pool, &s);
	else
		sheet_add_unknown(&s);
	pool_put(fs);
	region_copy_close(&c);
	if (err == 0)
		sheet_text(&s, t);
	sheet_fini(&s);
	return err;
}
