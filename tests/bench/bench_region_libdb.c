/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_region_libdb.c - libdb 5.3's side of bench_region.c: an environment with DB_INIT_MPOOL
 * alone, its regions in files, nothing tuned.
 */
#include "bench_region.h"

#include <db.h>
#include <errno.h>

int
libdb_open(const char *home, size_t bytes, int create, struct libdb_env **ep)
{
	u_int32_t gigabytes = (u_int32_t)(bytes >> 30);
	u_int32_t rest = (u_int32_t)(bytes & ((1u << 30) - 1));
	DB_ENV *env;
	int ret;

	if ((ret = db_env_create(&env, 0)) != 0)
		return ret;
	if ((create && (ret = env->set_cachesize(env, gigabytes, rest, 1)) != 0) ||
	    (ret = env->open(env, home, DB_INIT_MPOOL | (create ? DB_CREATE : 0), 0)) != 0) {
		(void)env->close(env, 0);
		return ret;
	}
	*ep = (struct libdb_env *)env;
	return 0;
}

void
libdb_close(struct libdb_env *e)
{
	(void)((DB_ENV *)e)->close((DB_ENV *)e, 0);
}
