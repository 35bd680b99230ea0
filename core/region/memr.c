/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/memr.c - the application's own regions: names, open, close, unlink, addresses, sizes, and
 * the lock.
 *
 * The region layer does the work, as it does for the pool; this is its thinnest subsystem.  All it
 * keeps in the region is one struct memr_body.  What a killed client can leave is its number and
 * two locks: whoever opens the region frees them (R5), and whoever finds a dead owner at a lock
 * takes it over by himself.
 *
 * The heap is in memr_heap.c, what is told about a region in memr_stat.c.
 */
#include "memr.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/atomics.h"
#include "../base/os_shm.h"
#include "home.h"
#include "shlock.h"

#define DEFAULT_BYTES 65536u
#define NAME_MOST 64u
#define KEYS_MOST 1000
#define TWO_KINDS (u_int32_t)(DB_PRIVATE | DB_SYSTEM_MEM)

/* --- names --------------------------------------------------------------------------------- */

static bool
name_is_good(const char *name, bool any)
{
	size_t i, n = name == NULL ? 0 : strlen(name);

	for (i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("_-.", name[i]) == NULL)
			return false;
	return n > 0 && n <= NAME_MOST &&
	    (any || (strcmp(name, "mpool") != 0 && strcmp(name, "lock") != 0));
}

int
memr_file(const DB_ENV *dbenv, const char *name, bool any, char **filep)
{
	char *file;

	if (!name_is_good(name, any)) {
		env_err(dbenv,
		    "\"%s\" is no name for a region: 1 to %u letters, digits, _, - and .%s",
		    name == NULL ? "" : name, NAME_MOST, any ? "" : "; not mpool, not lock");
		return EINVAL;
	}
	if (asprintf(&file, "__db_%s.share", name) == -1)
		return ENOMEM;
	*filep = file;
	return 0;
}

/* --- open and close ------------------------------------------------------------------------ */

roff_t
memr_data(void)
{
	return os_whole_pages(layout_body_offset(MEMR_CLIENTS) + sizeof(struct memr_body));
}

static int
format_body(struct region *r, void *arg)
{
	struct memr_body *body = region_ptr(r, layout_body_offset(r->nclients), sizeof(*body));

	(void)arg;
	body->magic = MEMR_MAGIC;
	return 0;
}

static int
check_open(const DB_ENV *dbenv, int flags, size_t bytes)
{
	if (flags & ~(DB_CREATE | DB_LASTDETACH)) {
		env_err(dbenv, "memr_open: flags %#x: only DB_CREATE and DB_LASTDETACH",
		    (unsigned)flags);
		return EINVAL;
	}
	if (dbenv != NULL && (dbenv->region_flags & TWO_KINDS) == TWO_KINDS) {
		env_err(dbenv, "memr_open: DB_PRIVATE and DB_SYSTEM_MEM exclude each other");
		return EINVAL;
	}
	if (bytes > os_memory_bytes()) {
		env_err(dbenv, "memr_open: %zu bytes: this machine has %llu", bytes,
		    (unsigned long long)os_memory_bytes());
		return EINVAL;
	}
	return 0;
}

/* The pool's segment has the environment's key, the lock table's the next one. */
static int32_t
free_key(int32_t key)
{
	int n;

	if (key == 0)
		return 0;
	for (n = 2; n < KEYS_MOST && os_shm_key_is_taken(key + n); n++)
		continue;
	return key + n;
}

static void
release_lock(DB_REGION *reg, uint32_t number)
{
	if (!shlock_inherit_counted(reg->region, &reg->body->lock, number))
		return;
	store_seq(&reg->body->died, 1);
	shlock_unlock_counted(reg->region, &reg->body->lock);
}

static void
reap(DB_REGION *reg)
{
	struct region *r = reg->region;
	uint32_t i, end = client_end(r);

	for (i = 0; i < end; i++)
		if (client_claim_dead(r, i)) {
			release_lock(reg, i);
			memr_release_heap(reg, i);
			client_free(r, i);
		}
}

/* Attached; what is asked for beyond that. */
static int
settle(DB_REGION *reg, size_t bytes)
{
	struct region *r = reg->region;

	reg->body = region_ptr(r, layout_body_offset(r->nclients), sizeof(*reg->body));
	if (r->nclients != MEMR_CLIENTS || reg->body == NULL || r->size < memr_data() ||
	    load_relaxed(&reg->body->magic) != MEMR_MAGIC)
		return region_panic(r, "it is not as memr_open makes one");
	reap(reg);
	return bytes == 0 ? 0 : region_grow(r, memr_data() + bytes);
}

struct opening {
	DB_ENV *dbenv;
	DB_REGION *reg;
	char *file;
	int flags, mode;
	size_t bytes;
};

static int
attach(void *arg)
{
	const struct opening *o = arg;
	const struct environment *place = &o->reg->place;
	struct region_spec spec = { .file = o->file,
		.mode = o->mode,
		.create = (o->flags & DB_CREATE) != 0,
		.last_detach = (o->flags & DB_LASTDETACH) != 0 || place->temporary,
		.size = memr_data() + (o->bytes == 0 ? DEFAULT_BYTES : o->bytes),
		.nclients = MEMR_CLIENTS,
		.subsystem_stamp = MEMR_STAMP,
		.init = format_body };
	int ret;

	environment_spec(o->dbenv, place, &spec);
	spec.shm_key = spec.is_system ? free_key(spec.shm_key) : 0;
	if (spec.max != 0)
		spec.max += memr_data();
	if ((ret = region_attach(&spec, &o->reg->region)) != 0)
		return ret;
	if ((ret = settle(o->reg, o->bytes)) != 0)
		(void)region_detach(o->reg->region, false, NULL, NULL);
	return ret;
}

static void
handle_free(DB_REGION *reg)
{
	environment_fini(&reg->place);
	free(reg);
}

int
memr_open(const char *dir, const char *name, int flags, int mode, size_t bytes, DB_ENV *dbenv,
    DB_REGION **regp)
{
	bool private = (dir == NULL && dbenv == NULL) ||
	    (dbenv != NULL && (dbenv->region_flags & DB_PRIVATE) != 0);
	struct opening o = { .dbenv = dbenv, .flags = flags, .mode = mode, .bytes = bytes };
	int ret;

	if (regp == NULL || (ret = check_open(dbenv, flags, bytes)) != 0)
		return EINVAL;
	if ((ret = memr_file(dbenv, name, false, &o.file)) != 0)
		return ret;
	if ((ret = os_calloc(1, sizeof(*o.reg), (void **)&o.reg)) == 0 &&
	    (ret = environment_attach(dbenv, dir, private, &o.reg->place, attach, &o)) != 0)
		handle_free(o.reg);
	free(o.file);
	if (ret == 0)
		*regp = o.reg;
	return ret;
}

int
memr_enter(const DB_REGION *reg)
{
	return reg == NULL ? EINVAL : region_usable(reg->region);
}

int
memr_close(DB_REGION *reg)
{
	bool forked;
	int ret;

	if (reg == NULL)
		return 0;
	forked = region_is_inherited(reg->region);
	if (!forked && shlock_is_held(reg->region, &reg->body->lock))
		release_lock(reg, reg->region->self);
	ret = region_detach(reg->region, false, NULL, NULL);
	handle_free(reg);
	return forked ? EINVAL : ret;
}

/* --- removal ------------------------------------------------------------------------------- */

static int
unlink_gently(DB_ENV *dbenv, const char *dir, const char *file)
{
	struct region_spec spec = {
		.dbenv = dbenv, .dir = dir, .file = file, .subsystem_stamp = MEMR_STAMP
	};
	struct region *r;
	int ret;

	if ((ret = region_attach(&spec, &r)) == 0)
		return region_detach(r, true, NULL, NULL);
	/* Perhaps what a dead process or an earlier boot left. */
	return ret == ENOENT ? region_unlink_unused(dbenv, dir, file) : ret;
}

int
memr_unlink_in(DB_ENV *dbenv, const struct environment *place, const char *file, int force)
{
	return force ? region_unlink_forced(dbenv, place->regions, file) :
		       unlink_gently(dbenv, place->regions, file);
}

int
memr_unlink(const char *dir, const char *name, int force, DB_ENV *dbenv)
{
	struct environment place;
	char *file;
	int ret;

	if ((ret = memr_file(dbenv, name, false, &file)) != 0)
		return ret;
	if ((ret = environment_find(dbenv, dir, false, &place)) == 0) {
		if ((ret = memr_unlink_in(dbenv, &place, file, force)) == 0)
			home_forget(place.home, place.regions);
		environment_fini(&place);
	} else if (ret == ENOENT && force)
		ret = 0;
	free(file);
	return ret;
}

/* --- addresses and sizes ------------------------------------------------------------------- */

int
memr_addr(DB_REGION *reg, u_int64_t offset, size_t bytes, void **addrp)
{
	void *addr;
	int ret;

	if ((ret = memr_enter(reg)) != 0)
		return ret;
	if (offset > UINT64_MAX - memr_data() ||
	    (addr = region_ptr(reg->region, memr_data() + offset, bytes)) == NULL)
		return EINVAL;
	*addrp = addr;
	return 0;
}

int
memr_grow(DB_REGION *reg, size_t bytes)
{
	int ret;

	if ((ret = memr_enter(reg)) != 0)
		return ret;
	if (bytes > os_memory_bytes())
		bytes = os_memory_bytes();
	return region_grow(reg->region, memr_data() + bytes);
}

int
memr_shrink(DB_REGION *reg, size_t bytes)
{
	uint64_t heap;
	size_t heap_bytes;
	int ret;

	if ((ret = memr_enter(reg)) != 0)
		return ret;
	if (memr_heap_area(reg, &heap, &heap_bytes) != NULL && bytes < heap + heap_bytes) {
		env_err(reg->region->dbenv, "%s: cannot shrink to %zu bytes: the heap ends at %llu",
		    region_name(reg->region), bytes, (unsigned long long)(heap + heap_bytes));
		return EINVAL;
	}
	if (bytes > os_memory_bytes())
		return 0;
	return region_shrink(reg->region, memr_data() + bytes);
}

/* --- the lock ------------------------------------------------------------------------------ */

int
memr_lock(DB_REGION *reg)
{
	bool died;
	int ret;

	if ((ret = memr_enter(reg)) != 0)
		return ret;
	died = shlock_lock_counted(reg->region, &reg->body->lock) == EOWNERDEAD;
	(void)add_seq(&reg->holds, 1);
	if (load_seq(&reg->body->died) != 0) {
		store_seq(&reg->body->died, 0);
		died = true;
	}
	return died ? EOWNERDEAD : 0;
}

/* False: nobody in this process has the lock. */
static bool
let_go(DB_REGION *reg)
{
	uint32_t holds = load_seq(&reg->holds);

	while (holds > 0)
		if (cas_seq(&reg->holds, &holds, holds - 1))
			return true;
	return false;
}

int
memr_unlock(DB_REGION *reg)
{
	bool held;

	/* Given back in any case, be the region what it may. */
	if (reg == NULL || region_is_inherited(reg->region) || !let_go(reg))
		return EINVAL;
	held = shlock_is_held(reg->region, &reg->body->lock);
	shlock_unlock_counted(reg->region, &reg->body->lock);
	return held ? memr_enter(reg) : EINVAL;
}

int
memr_panic(DB_REGION *reg, const char *why)
{
	if (reg == NULL || region_is_inherited(reg->region))
		return EINVAL;
	return region_panic(reg->region, "%s", why == NULL ? "no reason given" : why);
}
