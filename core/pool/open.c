/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/open.c - memp_open, memp_close, memp_unlink, memp_register, env_remove.
 *
 * The region layer orders creators, joiners and removers; here the pool's part of a new region is
 * formatted, a joined one's is checked, and the handle's addresses are computed.
 */
#include <stdlib.h>

#include "../lock/open.h"
#include "../region/home.h"
#include "../region/memr.h"
#include "extent.h"
#include "file.h"
#include "format.h"
#include "kcache.h"
#include "page_table.h"
#include "policy.h"
#include "reap.h"
#include "resize.h"
#include "thread.h"
#include "vouch.h"
#include "writeback.h"
#include "writer.h"

#define MPOOL_FILE "__db_mpool.share"
#define TWO_KINDS (u_int32_t)(DB_PRIVATE | DB_SYSTEM_MEM)
#define UNLINK_TRIES 10
#define OPEN_FLAGS (DB_CREATE | DB_MPOOL_PRIVATE | DB_NOMMAP | DB_THREAD)

static uint64_t last_id; /* of handles; atomic */

static int
check_open(const DB_ENV *env, int flags, size_t *bytesp)
{
	size_t bytes = env != NULL ? env->mp_size : 0;

	if (flags & ~OPEN_FLAGS) {
		env_err(env,
		    "memp_open: flags %#x: only DB_CREATE, DB_MPOOL_PRIVATE, DB_NOMMAP "
		    "and DB_THREAD",
		    (unsigned)flags);
		return EINVAL;
	}
	if (env != NULL && (env->region_flags & TWO_KINDS) == TWO_KINDS) {
		env_err(env, "memp_open: DB_PRIVATE and DB_SYSTEM_MEM exclude each other");
		return EINVAL;
	}
	if (env != NULL && (env->policy & ~DB_POLICY_IF_NEW) > DB_POLICY_ADAPTIVE) {
		env_err(
		    env, "memp_open: policy %u: DB_POLICY_LRU or DB_POLICY_ADAPTIVE", env->policy);
		return EINVAL;
	}
	if (env != NULL && env->mp_pagesize != 0 && !page_size_is_possible(env->mp_pagesize)) {
		env_err(env, "memp_open: pages of %zu bytes: a power of two from 512 to 65536",
		    env->mp_pagesize);
		return EINVAL;
	}
	if (bytes == 0)
		bytes = DEFAULT_CACHE_BYTES;
	if (bytes < MIN_CACHE_BYTES || bytes > os_memory_bytes()) {
		env_err(env,
		    "memp_open: a pool of %zu bytes: at least %zu, at most this "
		    "machine's %llu",
		    bytes, MIN_CACHE_BYTES, (unsigned long long)os_memory_bytes());
		return EINVAL;
	}
	*bytesp = bytes;
	return 0;
}

static bool
wants_private(const char *dir, int flags, const DB_ENV *env)
{
	return (flags & DB_MPOOL_PRIVATE) || (dir == NULL && env == NULL) ||
	    (env != NULL && (env->region_flags & DB_PRIVATE));
}

/* Room to grow in costs tables, so that a pool has it only if it is asked for. */
static uint64_t
may_grow_to(const DB_ENV *env)
{
	if (env == NULL || env->region_max == 0)
		return 0;
	return env->region_max < os_memory_bytes() ? env->region_max : os_memory_bytes();
}

/* The shift of the pages that the tables of a pool we create are for; 0: nobody says. */
static unsigned
tables_for(const DB_ENV *env)
{
	if (env == NULL || env->mp_pagesize == 0)
		return 0;
	return (unsigned)__builtin_ctzll(env->mp_pagesize);
}

/* Do those who scan slots call membarrier(2), in a pool that we create? */
static bool
may_do_without_fence(const DB_ENV *env)
{
	return (env == NULL || env->mp_fence == 0) && os_barrier_join() == 0;
}

/* The pool is as it was created, for every process (P1). */
static int
join_barrier(DB_MPOOL *p)
{
	int ret;

	p->fenced = p->g.barrier == 0;
	if (p->fenced || (ret = os_barrier_join()) == 0)
		return 0;
	env_err(p->dbenv,
	    "%s: hits in this pool rely on membarrier(2), which this process may not use (%s); "
	    "mp_fence at its creation makes a pool that does without",
	    p->region->path ? p->region->path : "private pool", db_strerror(ret));
	return EPERM;
}

/* Behind the end of the region is no memory: extents there must be closed. */
static bool
extents_are_inside(const DB_MPOOL *p)
{
	size_t size = region_size(p->region);
	uint32_t e = size > p->g.area ? (uint32_t)((size - p->g.area) >> p->g.extent_shift) : 0;

	for (; e < p->g.nextents; e++)
		if (load_seq(&p->extents[e]) != EXTENT_CLOSED && !extent_is_inside(p, e) &&
		    load_seq(&p->extents[e]) != EXTENT_CLOSED)
			return false;
	return true;
}

static int
say_unfit(const DB_MPOOL *p, const char *what)
{
	env_err(p->dbenv, "%s: %s", p->region->path ? p->region->path : "private pool", what);
	return EPROTO;
}

/* The region is attached: is what is in it a pool, and one that this process may use? */
static int
look_inside(DB_MPOOL *p)
{
	p->self = p->region->self;
	p->layout = p->region->layout;
	p->mp = region_ptr(p->region, p->region->layout->body, sizeof(*p->mp));
	if (p->mp == NULL || (uintptr_t)p->mp % _Alignof(struct mpool) != 0 ||
	    format_check(p->region, p->mp, &p->g) != 0 || p->g.region_bytes > p->region->mapped)
		return say_unfit(p, "the pool's geometry does not fit its region");
	format_addresses(p);
	if (!extents_are_inside(p))
		return say_unfit(p, "the pool is larger than its region");
	return join_barrier(p);
}

struct opening {
	DB_MPOOL *p;
	int flags;
	int mode;
	size_t bytes;
};

static int
attach(void *arg)
{
	struct opening *o = arg;
	DB_MPOOL *p = o->p;
	struct geometry g;
	struct region_spec spec = { .is_pool = true,
		.scattered = true,
		.file = MPOOL_FILE,
		.mode = o->mode,
		.create = (o->flags & DB_CREATE) != 0,
		.nclients = format_clients(o->bytes),
		.subsystem_stamp = format_stamp(),
		.init = format_init,
		.count_lost = format_count_dirty,
		.arg = &g };
	uint32_t asked = p->dbenv != NULL ? p->dbenv->policy : 0;
	uint32_t policy = asked & ~(uint32_t)DB_POLICY_IF_NEW;
	int ret;

	p->temporary = p->place.temporary;
	environment_spec(p->dbenv, &p->place, &spec);
	if (policy == 0)
		policy = DB_POLICY_LRU;
	if ((ret = format_compute(o->bytes, may_grow_to(p->dbenv), tables_for(p->dbenv), &g)) != 0)
		return ret;
	g.policy = policy;
	g.barrier = may_do_without_fence(p->dbenv);
	spec.size = format_initial_bytes(&g);
	spec.body_align = format_align(&g);
	if ((ret = region_attach(&spec, &p->region)) != 0)
		return ret;
	if ((ret = look_inside(p)) != 0) {
		(void)region_detach(p->region, false, NULL, NULL);
		return ret;
	}
	policy_init(p);
	if (asked != 0 && policy != p->g.policy && !(asked & DB_POLICY_IF_NEW))
		env_warn(p->dbenv, "the pool exists already, and its policy is %s, not %s",
		    policy_name(p->g.policy), policy_name(policy));
	if (p->dbenv != NULL && p->dbenv->lg_flush != NULL)
		store_relaxed(&p->mp->has_log, 1);
	return 0;
}

static void
handle_free(DB_MPOOL *p)
{
	struct registration *r, *next;

	for (r = p->registrations; r != NULL; r = next) {
		next = r->next;
		free(r);
	}
	pthread_mutex_destroy(&p->files_mutex);
	pthread_mutex_destroy(&p->threads_mutex);
	pthread_mutex_destroy(&p->spare_mutex);
	table_memo_free(p);
	if (p->confined != NULL)
		os_close(p->confined_fd);
	free(p->confined);
	vouch_fini(p);
	environment_fini(&p->place);
	free(p);
}

int
memp_open(const char *dir, int flags, int mode, DB_ENV *dbenv, DB_MPOOL **mpp)
{
	struct opening o = { .flags = flags, .mode = mode };
	struct thread *t;
	DB_MPOOL *p;
	int ret;

	if (mpp == NULL || (ret = check_open(dbenv, flags, &o.bytes)) != 0)
		return mpp == NULL ? EINVAL : ret;
	if ((ret = os_calloc(1, sizeof(*p), (void **)&p)) != 0)
		return ret;
	p->dbenv = dbenv;
	p->id = p->short_id = add_seq(&last_id, 1) + 1;
	p->threaded = (flags & DB_THREAD) != 0 || (dbenv != NULL && dbenv->mp_writer != 0);
	p->barrier = p->threaded && os_barrier_wanted();
	p->no_ahead = dbenv != NULL && dbenv->mp_ahead < 0;
	p->nommap = (flags & DB_NOMMAP) != 0;
	pthread_mutex_init(&p->files_mutex, NULL);
	pthread_mutex_init(&p->threads_mutex, NULL);
	pthread_mutex_init(&p->spare_mutex, NULL);
	o.p = p;
	if ((ret = environment_attach(
		 dbenv, dir, wants_private(dir, flags, dbenv), &p->place, attach, &o)) != 0) {
		handle_free(p);
		return ret;
	}
	if ((ret = thread_self(p, &t)) != 0 ||
	    (p->threaded && (ret = thread_spare(p)) != 0)) {
		(void)memp_close(p);
		return ret;
	}
	(void)reap_known(t);
	policy_company(p, NO_CLIENT);
	if (dbenv != NULL && dbenv->mp_size != 0 && !(dbenv->region_flags & DB_SIZE_IF_NEW))
		resize_as_suggested(t, dbenv->mp_size);
	if (dbenv != NULL && dbenv->mp_writer != 0 && (ret = writer_start(p)) != 0) {
		(void)memp_close(p);
		return ret;
	}
	*mpp = p;
	return 0;
}

static bool
extent_is_clean(const DB_MPOOL *p, uint32_t e)
{
	uint32_t first = e * p->g.frames_per_extent;

	for (uint32_t f = first; f < first + p->g.frames_per_extent; f++)
		if (load_relaxed(&p->frames[f].word) & FW_DIRTY)
			return false;
	return true;
}

/* Has the pool a length that the file does not have yet? */
static bool
is_longer_than_its_file(const struct file_row *row)
{
	return load_acquire(&row->id) != 0 &&
	    (load_relaxed(&row->flags) & (ROW_TEMP | ROW_GONE)) == 0 &&
	    load_seq(&row->length) > load_relaxed(&row->disk_size);
}

/* region_detach's question: is all in files?  An extent without a word was never used. */
static bool
nothing_unwritten(struct region *r, void *arg)
{
	const DB_MPOOL *p = arg;

	(void)r;
	for (uint32_t e = 0; e < p->g.nextents; e++)
		if (load_acquire(&p->extents[e]) != 0 && !extent_is_clean(p, e))
			return false;
	for (uint32_t n = 0; n < rows_used(p); n++)
		if (is_longer_than_its_file(&p->rows[n]))
			return false;
	return true;
}

int
memp_close(DB_MPOOL *p)
{
	bool forked;
	struct thread *t;
	int ret = 0, t_ret;

	if (p == NULL)
		return 0;
	if (enter(p, &t) == EDEADLK)
		return EDEADLK;
	writer_stop(p);
	if ((forked = region_is_inherited(p->region)))
		(void)pthread_mutex_init(&p->files_mutex, NULL); /* as in memp_fclose */
	while (p->files != NULL) {
		env_warn(p->dbenv, "memp_close: file %u is still open: closing it", p->files->file);
		if ((t_ret = memp_fclose(p->files)) != 0 && ret == 0)
			ret = t_ret;
	}
	file_fd_forget(p, 0);
	if (!forked) {
		kcache_release(p, p->self);
		threads_close(p);
		policy_company(p, p->self);
	}
	t_ret = region_detach(p->region, p->temporary && !forked,
	    p->temporary && !p->removing ? NULL : nothing_unwritten, p);
	if (ret == 0)
		ret = t_ret;
	handle_free(p);
	return forked ? EINVAL : ret;
}

int
memp_register(DB_MPOOL *p, int ftype, int (*pgin)(db_pgno_t, void *, DBT *),
    int (*pgout)(db_pgno_t, void *, DBT *))
{
	struct registration *r, *fresh;
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if (ftype < 1) {
		env_err(p->dbenv, "memp_register: type %d: types are positive numbers", ftype);
		return EINVAL;
	}
	if ((ret = os_calloc(1, sizeof(*fresh), (void **)&fresh)) != 0)
		return ret;
	pthread_mutex_lock(&p->files_mutex);
	for (r = p->registrations; r != NULL && r->ftype != ftype; r = r->next)
		continue;
	if (r == NULL) {
		r = fresh;
		r->next = p->registrations;
		p->registrations = r;
		fresh = NULL;
	}
	r->ftype = ftype;
	r->pgin = pgin;
	r->pgout = pgout;
	pthread_mutex_unlock(&p->files_mutex);
	free(fresh);
	return 0;
}

/* --- removal ------------------------------------------------------------------------------- */

static int
unlink_forced(DB_ENV *dbenv, const char *dir)
{
	DB_MPOOL *p;
	struct thread *t;
	uint64_t lost = 0;

	/* Only to count: whatever stands in the way of joining does not matter. */
	if (memp_open(dir, 0, 0, NULL, &p) == 0) {
		if (enter(p, &t) == 0)
			lost = counter_sum(p, C_DIRTIED) - counter_sum(p, C_CLEANED);
		(void)memp_close(p);
	}
	if (lost > 0)
		env_err(dbenv, "%s/%s: removed by force with %llu dirty pages", dir, MPOOL_FILE,
		    (unsigned long long)lost);
	return region_unlink_forced(dbenv, dir, MPOOL_FILE);
}

/* Write everything; EIO if anything stays dirty. */
static int
write_everything(DB_MPOOL *p)
{
	struct write_result res = { 0 };
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	pool_write_all(t, WRITE_SAY, NULL, true, &res);
	return res.error != 0 || res.pinned + res.missed > 0 ? EIO : 0;
}

static int
unlink_gently(DB_ENV *dbenv)
{
	const char *dir = dbenv->region_dir;
	DB_MPOOL *p;
	uint32_t others;
	int ret;

	if ((ret = memp_open(NULL, 0, 0, dbenv, &p)) != 0)
		return ret;
	others = client_count(p->region) - 1;
	if (others > 0) {
		env_err(dbenv, "%s/%s: %u other processes are attached", dir, MPOOL_FILE, others);
		(void)memp_close(p);
		return EBUSY;
	}
	if ((ret = write_everything(p)) != 0) {
		env_err(dbenv, "%s/%s: dirty pages cannot be written; nothing is removed", dir,
		    MPOOL_FILE);
		(void)memp_close(p);
		return ret;
	}
	p->temporary = p->removing = true;
	return memp_close(p);
}

static int
unlink_in(DB_ENV *dbenv, const struct environment *place, int force)
{
	DB_ENV plain;
	int ret, tries;

	memset(&plain, 0, sizeof(plain));
	if (dbenv != NULL)
		plain = *dbenv;
	plain.db_home = place->home;
	plain.region_dir = place->regions;
	plain.region_flags &= ~(u_int32_t)(DB_PRIVATE | DB_USE_ENVIRON);
	plain.mp_size = 0;
	if (force)
		return unlink_forced(&plain, place->regions);
	/* EAGAIN: a process came, left something dirty and went, all in between */
	for (tries = 0; (ret = unlink_gently(&plain)) == EAGAIN && tries < UNLINK_TRIES; tries++)
		continue;
	return ret == ENOENT ? region_unlink_leftover(&plain, place->regions, MPOOL_FILE) : ret;
}

/* By force a home that says nonsense about its regions does not do so any more. */
static int
find_regions(DB_ENV *dbenv, const char *dir, int force, struct environment *place)
{
	int ret, unsaid;
	char *home;

	if ((ret = environment_find(dbenv, dir, false, place)) == 0 || !force)
		return ret;
	if (environment_home(dbenv, dir, &home) != 0)
		return ret;
	unsaid = home_unsay(dbenv, home);
	free(home);
	return unsaid != 0 ? unsaid : environment_find(dbenv, dir, false, place);
}

int
memp_unlink(const char *dir, int force, DB_ENV *dbenv)
{
	struct environment place;
	int ret;

	if ((ret = find_regions(dbenv, dir, force, &place)) != 0)
		return ret == ENOENT && force ? 0 : ret;
	if ((ret = unlink_in(dbenv, &place, force)) == 0)
		home_forget(place.home, place.regions);
	environment_fini(&place);
	return ret;
}

struct removal {
	DB_ENV *dbenv;
	struct environment place;
	int force;
	unsigned n;
};

static int
remove_region(struct removal *r, const char *file)
{
	if (strcmp(file, MPOOL_FILE) == 0)
		return unlink_in(r->dbenv, &r->place, r->force);
	if (strcmp(file, LOCK_FILE) == 0)
		return lock_unlink_in(r->dbenv, &r->place, r->force);
	return memr_unlink_in(r->dbenv, &r->place, file, r->force);
}

static bool
is_there(const char *dir, const char *file)
{
	struct os_stat st;
	bool there;
	char *path;

	if (asprintf(&path, "%s/%s", dir, file) == -1)
		return true;
	there = os_lstat(path, &st) != ENOENT;
	free(path);
	return there;
}

/* region_each's.  Another may have removed it before. */
static int
remove_one(const char *file, void *arg)
{
	struct removal *r = arg;
	int ret = remove_region(r, file);

	r->n++;
	return ret == ENOENT && !is_there(r->place.regions, file) ? 0 : ret;
}

int
env_remove(const char *dir, int force, DB_ENV *dbenv)
{
	struct removal r = { .dbenv = dbenv, .force = force };
	int ret;

	if ((ret = find_regions(dbenv, dir, force, &r.place)) != 0)
		return ret == ENOENT && force ? 0 : ret;
	ret = region_each(r.place.regions, remove_one, &r);
	if (ret == 0 && r.n == 0 && !force)
		ret = ENOENT;
	if (ret == 0)
		home_forget(r.place.home, r.place.regions);
	environment_fini(&r.place);
	return ret;
}
