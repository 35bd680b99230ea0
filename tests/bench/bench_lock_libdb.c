/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_lock_libdb.c - the other side: Berkeley DB 5.3, an environment with nothing but locks.
 */
#include "bench_lock.h"

#include <db.h>
#include <string.h>

static DB_ENV *env;
static u_int32_t locker;

static int
side_open(const char *home)
{
	int ret;

	if ((ret = db_env_create(&env, 0)) != 0 || (ret = env->set_lk_max_locks(env, 20000)) != 0 ||
	    (ret = env->set_lk_max_objects(env, 20000)) != 0 ||
	    (ret = env->open(env, home, DB_CREATE | DB_INIT_LOCK | DB_THREAD, 0)) != 0)
		return ret;
	return env->lock_id(env, &locker);
}

static int
side_pairs(uint32_t worker, uint32_t objects, uint32_t n)
{
	static uint32_t next = 1000000;
	uint32_t aligned[BENCH_NAME_BYTES / 4];
	uint8_t *name = (uint8_t *)aligned;
	DB_LOCK lock;
	DBT obj;
	int ret;

	memset(&obj, 0, sizeof(obj));
	obj.data = name;
	obj.size = BENCH_NAME_BYTES;
	for (uint32_t i = 0, at = 0; i < n; i++) {
		bench_object(name, worker + 1, objects != 0 ? at : next++);
		if (++at == objects)
			at = 0;
		if ((ret = env->lock_get(env, locker, 0, &obj, DB_LOCK_WRITE, &lock)) != 0 ||
		    (ret = env->lock_put(env, &lock)) != 0)
			return ret;
	}
	return 0;
}

static void
side_close(void)
{
	(void)env->close(env, 0);
}

const struct lock_side lock_libdb = { "libdb", side_open, side_pairs, side_close };
