/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/memr_stat.c - what is told about a region, from inside and from outside.
 *
 * Both fill the same structure from a copy of RLAYOUT.  From outside nothing is mapped but a
 * segment, read-only, nothing is written, and what cannot be believed is left 0: the report
 * (look.c) then says what is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "memr.h"
#include "shalloc.h"
#include "shlock.h"

static void
fill_layout(DB_REGION_STAT *st, const RLAYOUT *copy)
{
	uint64_t before = copy->subsystem_stamp == MEMR_STAMP ? memr_data() : copy->body;

	st->st_bytes = copy->size > before ? copy->size - before : 0;
	st->st_max = copy->max > before ? copy->max - before : 0;
	st->st_regsize = copy->size;
	st->st_resized = copy->generation;
	st->st_id = copy->region_id;
	st->st_created = copy->created_usec;
	st->st_majver = copy->majver;
	st->st_minver = copy->minver;
	st->st_patch = copy->patch;
	st->st_segid = copy->segid;
}

static void
fill_panic(DB_REGION_STAT *st, const RLAYOUT *copy)
{
	st->st_panic = 1;
	st->st_panicpid = copy->panic_pid;
	st->st_panicuid = copy->panic_uid;
	st->st_panictime = copy->panic_usec;
	layout_printable(
	    st->st_panicname, sizeof(st->st_panicname), copy->panic_name, sizeof(copy->panic_name));
	layout_printable(st->st_why, sizeof(st->st_why), copy->panic_why, sizeof(copy->panic_why));
}

/* --- from inside --------------------------------------------------------------------------- */

/* Of a region that panicked, or a heap that does not come out: nothing. */
static void
fill_heap(DB_REGION_STAT *st, DB_REGION *reg)
{
	struct shlock *l = &reg->region->layout->lock;
	struct shalloc_stat heap;
	uint64_t offset;
	size_t bytes;
	void *area;

	if (st->st_error != 0 || (area = memr_heap_area(reg, &offset, &bytes)) == NULL)
		return;
	if (shlock_lock_counted(reg->region, l) == EOWNERDEAD)
		(void)shalloc_repair(area, bytes);
	if (shalloc_check(area, bytes, &heap) == 0) {
		st->st_heap = heap.area_bytes;
		st->st_heapused = heap.used_bytes;
		st->st_heapmost = heap.largest_free;
	}
	shlock_unlock_counted(reg->region, l);
}

int
memr_stat(DB_REGION *reg, DB_REGION_STAT *st)
{
	DB_REGION_STAT own = { 0 };
	RLAYOUT copy;

	if (reg == NULL || st == NULL || (own.st_error = memr_enter(reg)) == EINVAL)
		return EINVAL;
	copy = *reg->region->layout;
	fill_layout(&own, &copy);
	own.st_refcnt = client_count(reg->region);
	if (copy.panic != 0)
		fill_panic(&own, &copy);
	fill_heap(&own, reg);
	*st = own;
	return 0;
}

/* --- from outside -------------------------------------------------------------------------- */

static uint32_t
count_clients(const struct region_look *look, const RLAYOUT *copy)
{
	size_t bytes = copy->nclients * sizeof(struct client), done;
	struct client *clients;
	uint32_t i, n = 0;
	bool taken;

	if (!layout_fits(copy, UINT64_MAX) || (clients = malloc(bytes)) == NULL)
		return 0;
	if (region_look_read(look, clients, bytes, copy->clients, &done) != 0)
		done = 0;
	for (i = 0; i < done / sizeof(*clients); i++)
		n += clients[i].state != CLIENT_FREE &&
		    os_lock_test(look->fd, CLIENT_BYTE + i, &taken) == 0 && taken;
	free(clients);
	return n;
}

static int
fill_from_look(DB_REGION_STAT *st, const struct region_look *look)
{
	struct region_report report;
	RLAYOUT copy;
	size_t n;
	int ret;

	if ((ret = region_look_report(look, &report)) != 0 ||
	    (ret = region_look_read(look, &copy, sizeof(copy), 0, &n)) != 0)
		return ret;
	st->st_error = report.error;
	st->st_segid = INVALID_SEGID;
	if (n == sizeof(copy) && layout_stamp_is_ours(&copy)) {
		fill_layout(st, &copy);
		st->st_refcnt = count_clients(look, &copy);
		if (report.panicked)
			fill_panic(st, &copy);
	}
	layout_printable(st->st_why, sizeof(st->st_why), report.why, sizeof(report.why));
	return 0;
}

static int
look_at(DB_ENV *dbenv, const char *dir, const char *file, DB_REGION_STAT *st)
{
	struct region_look look;
	int fd = -1, ret;
	char *path;

	if (asprintf(&path, "%s/%s", dir, file) == -1)
		return ENOMEM;
	ret = os_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, &fd);
	if (ret == 0 && (ret = region_look_init(&look, fd)) == 0) {
		ret = fill_from_look(st, &look);
		region_look_fini(&look);
	}
	os_close(fd);
	if (ret != 0)
		env_err(dbenv, "%s: cannot look at it: %s", path, db_strerror(ret));
	free(path);
	return ret;
}

int
memr_look(const char *dir, const char *name, DB_ENV *dbenv, DB_REGION_STAT *st)
{
	DB_REGION_STAT own = { 0 };
	struct environment place;
	char *file;
	int ret;

	if (st == NULL)
		return EINVAL;
	if ((ret = memr_file(dbenv, name, true, &file)) != 0)
		return ret;
	if ((ret = environment_find(dbenv, dir, false, &place)) == 0) {
		if ((ret = look_at(dbenv, place.regions, file, &own)) == 0)
			*st = own;
		environment_fini(&place);
	}
	free(file);
	return ret;
}
