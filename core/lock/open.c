/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock/open.c - lock_open, lock_close, lock_unlink.
 *
 * The region layer orders creators, joiners and removers; here it is said what a new table is like,
 * and a joiner's wishes are compared with the table that is there.  Where there is nothing to
 * wish for (removal, and looking at a table from the file system) the table is taken as it is.
 */
#include "open.h"

#include <stdlib.h>

#include "../region/home.h"
#include "table.h"

#define TWO_KINDS (u_int32_t)(DB_PRIVATE | DB_SYSTEM_MEM)

/* --- what is asked for --------------------------------------------------------------------- */

static int
check_modes(const DB_ENV *env, struct lock_shape *s)
{
	if (s->matrix == NULL) {
		s->matrix = db_rw_conflicts;
		if (s->nmodes == DB_LOCK_RW_N)
			return 0;
		env_err(env, "lock_open: lk_modes is %u, and lk_conflicts is not set", s->nmodes);
		return EINVAL;
	}
	if (s->nmodes >= 2 && s->nmodes <= LOCK_MODES_MAX)
		return 0;
	env_err(
	    env, "lock_open: lk_modes is %u: from 2 to %u are possible", s->nmodes, LOCK_MODES_MAX);
	return EINVAL;
}

static int
check_open(const DB_ENV *env, u_int32_t flags, struct lock_shape *s)
{
	*s = (struct lock_shape){ .nmodes = DB_LOCK_RW_N };
	if ((flags & ~(u_int32_t)(DB_CREATE | DB_THREAD)) != 0) {
		env_err(env, "lock_open: flags %#x: only DB_CREATE and DB_THREAD", flags);
		return EINVAL;
	}
	if (env != NULL && env->lk_modes != 0)
		s->nmodes = env->lk_modes;
	if (env != NULL && (env->region_flags & TWO_KINDS) == TWO_KINDS) {
		env_err(env, "lock_open: DB_PRIVATE and DB_SYSTEM_MEM exclude each other");
		return EINVAL;
	}
	if (env != NULL && env->lk_detect >= DB_LOCK_POLICIES) {
		env_err(env, "lock_open: lk_detect is %u: there is no such policy", env->lk_detect);
		return EINVAL;
	}
	if (env != NULL) {
		s->matrix = env->lk_conflicts;
		s->detect = env->lk_detect;
	}
	return check_modes(env, s);
}

/* --- attaching ----------------------------------------------------------------------------- */

static void
describe(
    const DB_LOCKTAB *lt, u_int32_t flags, int mode, struct lock_shape *s, struct region_spec *spec)
{
	*spec = (struct region_spec){
		.file = LOCK_FILE,
		.mode = mode,
		.create = (flags & DB_CREATE) != 0,
		.nclients = LOCK_CLIENTS,
		.size = s->bytes,
		.body_align = 64,
		.subsystem_stamp = shape_stamp(),
		.init = shape_init,
		.arg = s,
	};
	environment_spec(lt->dbenv, &lt->place, spec);
	if (spec->shm_key != 0)
		spec->shm_key++;
}

/* DEFAULT is RANDOM. */
static uint32_t
policy(uint32_t detect)
{
	return detect == DB_LOCK_DEFAULT ? DB_LOCK_RANDOM : detect;
}

static int
compare(DB_LOCKTAB *lt, const struct lock_shape *s)
{
	if (lt->nmodes != s->nmodes) {
		env_err(lt->dbenv, "%s has %u lock modes, not %u", lt->region->path, lt->nmodes,
		    s->nmodes);
		return EINVAL;
	}
	for (uint32_t i = 0; i < s->nmodes * s->nmodes; i++)
		if ((lt->matrix[i] != 0) != (s->matrix[i] != 0)) {
			env_err(lt->dbenv,
			    "%s has another conflict matrix: mode %u requested, %u held is %u "
			    "there, not %u",
			    lt->region->path, i / s->nmodes, i % s->nmodes, lt->matrix[i],
			    s->matrix[i]);
			return EINVAL;
		}
	if (policy(lt->detect) != policy(s->detect)) {
		env_err(lt->dbenv, "%s has deadlock policy %u, not %u", lt->region->path,
		    lt->detect, s->detect);
		return EINVAL;
	}
	return 0;
}

/* Smaller than asked for: it becomes larger. */
static void
raise_limit(DB_LOCKTAB *lt, uint32_t lk_max)
{
	uint32_t limit = load_seq(&lt->table->limit);

	if (lk_max > CELLS_MAX)
		lk_max = CELLS_MAX;
	while (limit < lk_max && !cas_seq(&lt->table->limit, &limit, lk_max))
		continue;
}

static void
handle_free(DB_LOCKTAB *lt)
{
	lockers_forget(lt);
	pthread_mutex_destroy(&lt->mutex);
	free(lt->matrix);
	environment_fini(&lt->place);
	free(lt);
}

struct opening {
	DB_LOCKTAB *lt;
	u_int32_t flags;
	int mode;
	bool adopt;
	struct lock_shape *shape;
};

static int
attach(void *arg)
{
	struct opening *o = arg;
	DB_LOCKTAB *lt = o->lt;
	struct lock_shape *s = o->shape;
	uint32_t lk_max = lt->dbenv != NULL ? lt->dbenv->lk_max : 0;
	struct region_spec spec;
	int ret;

	shape_compute(s, lk_max, lt->place.regions == NULL);
	describe(lt, o->flags, o->mode, s, &spec);
	if ((ret = region_attach(&spec, &lt->region)) != 0)
		return ret;
	if ((ret = shape_attach(lt)) == EPROTO)
		env_err(lt->dbenv, "%s: the lock table's geometry does not fit its region",
		    lt->region->path);
	if (ret == 0 && !o->adopt)
		ret = compare(lt, s);
	if (ret == 0)
		raise_limit(lt, lk_max);
	else {
		(void)region_detach(lt->region, false, NULL, NULL);
		lt->region = NULL;
	}
	return ret;
}

int
table_open(const char *dir, u_int32_t flags, int mode, DB_ENV *dbenv, bool adopt, DB_LOCKTAB **ltp)
{
	static uint64_t serials;
	bool is_private = dbenv != NULL && (dbenv->region_flags & DB_PRIVATE) != 0;
	struct lock_shape shape;
	struct opening o = { .flags = flags, .mode = mode, .adopt = adopt, .shape = &shape };
	DB_LOCKTAB *lt;
	int ret;

	if ((ret = check_open(dbenv, flags, &shape)) != 0 ||
	    (ret = os_calloc(1, sizeof(*lt), (void **)&lt)) != 0)
		return ret;
	lt->dbenv = dbenv;
	lt->serial = add_relaxed(&serials, 1) + 1;
	lt->threaded = (flags & DB_THREAD) != 0;
	lt->timeout_usec = dbenv != NULL ? dbenv->lk_timeout : 0;
	pthread_mutex_init(&lt->mutex, NULL);
	o.lt = lt;
	if ((ret = environment_attach(dbenv, dir, is_private, &lt->place, attach, &o)) != 0) {
		handle_free(lt);
		return ret;
	}
	lt->kept_max = KEPT_MAX;
	if (lt->table->bounded && load_relaxed(&lt->table->limit) / 4 < KEPT_MAX)
		lt->kept_max = load_relaxed(&lt->table->limit) / 4;
	reap_everybody(lt);
	*ltp = lt;
	return 0;
}

int
lock_open(const char *dir, u_int32_t flags, int mode, DB_ENV *dbenv, DB_LOCKTAB **ltp)
{
	return ltp != NULL ? table_open(dir, flags, mode, dbenv, false, ltp) : EINVAL;
}

/* --- the end ------------------------------------------------------------------------------- */

/* region_detach's question: a table that nobody uses holds nothing. */
static bool
nothing_held(struct region *r, void *arg)
{
	(void)r;
	(void)arg;
	return true;
}

static int
table_close(DB_LOCKTAB *lt, bool remove)
{
	bool forked = region_is_inherited(lt->region);
	int ret;

	if (!forked && region_usable(lt->region) == 0)
		release_client(lt, lt->self);
	ret = region_detach(lt->region, remove && !forked, nothing_held, NULL);
	handle_free(lt);
	return forked ? EINVAL : ret;
}

int
lock_close(DB_LOCKTAB *lt)
{
	bool temporary;
	int ret;

	if (lt == NULL)
		return 0;
	temporary = lt->place.temporary;
	ret = table_close(lt, temporary);
	/* others have it open: the last of them removes it */
	return temporary && ret == EBUSY ? 0 : ret;
}

/* region_dir is where the region's file is. */
static int
unlink_gently(DB_ENV *dbenv)
{
	uint32_t others;
	DB_LOCKTAB *lt;
	int ret;

	if ((ret = table_open(NULL, 0, 0, dbenv, true, &lt)) != 0)
		return ret;
	if ((others = client_count(lt->region) - 1) == 0)
		return table_close(lt, true);
	env_err(dbenv, "%s: %u other processes are attached", lt->region->path, others);
	(void)table_close(lt, false);
	return EBUSY;
}

int
lock_unlink_in(DB_ENV *dbenv, const struct environment *place, int force)
{
	DB_ENV plain;
	int ret;

	if (force)
		return region_unlink_forced(dbenv, place->regions, LOCK_FILE);
	memset(&plain, 0, sizeof(plain));
	if (dbenv != NULL) {
		plain.db_errcall = dbenv->db_errcall;
		plain.db_errfile = dbenv->db_errfile;
		plain.db_errpfx = dbenv->db_errpfx;
		plain.db_verbose = dbenv->db_verbose;
	}
	plain.db_home = place->home;
	plain.region_dir = place->regions;
	if ((ret = unlink_gently(&plain)) == ENOENT)
		ret = region_unlink_leftover(&plain, place->regions, LOCK_FILE);
	return ret;
}

int
lock_unlink(const char *dir, int force, DB_ENV *dbenv)
{
	struct environment place;
	int ret;

	if ((ret = environment_find(dbenv, dir, false, &place)) != 0)
		return ret == ENOENT && force ? 0 : ret;
	if ((ret = lock_unlink_in(dbenv, &place, force)) == 0)
		home_forget(place.home, place.regions);
	environment_fini(&place);
	return ret;
}
