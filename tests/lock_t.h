/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock_t.h - what the tests of core/lock share: a table in the test's directory, calls that must
 * succeed or be refused in a certain way, and threads that wait.
 *
 * Nobody sleeps: who has to see that somebody waits looks at the statistics until it is so.
 */
#ifndef TESTS_LOCK_T_H
#define TESTS_LOCK_T_H

#include "memory_t.h"
#include "said_t.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <poolfs/lock.h>

#include "lock/check.h"
#include "lock/open.h"
#include "lock/table.h"

#define answers(wanted, call) answer_is(__FILE__, __LINE__, #call, (call), (wanted))

/* An error that is explained in a sentence. */
#define refuses(wanted, call)                                                                      \
	do {                                                                                       \
		quiet();                                                                           \
		answer_is(__FILE__, __LINE__, #call, (call), (wanted));                            \
		t_check(sentences > 0);                                                            \
	} while (0)

static DB_ENV test_env = { .db_errcall = hear };

static inline DB_LOCKTAB *
table_with(const struct t *t, DB_ENV *env, u_int32_t flags)
{
	DB_LOCKTAB *lt = NULL;

	if (in_system_memory())
		env->region_flags |= DB_SYSTEM_MEM;
	must(lock_open(t->dir, DB_CREATE | flags, 0, env, &lt));
	return lt;
}

static inline DB_LOCKTAB *
table_of(const struct t *t)
{
	return table_with(t, &test_env, DB_THREAD);
}

static inline u_int32_t
locker_of(DB_LOCKTAB *lt)
{
	u_int32_t id = 0;

	must(lock_id(lt, &id));
	return id;
}

static inline DBT
named(const char *name)
{
	return (DBT){ .data = (void *)(uintptr_t)name, .size = (u_int32_t)strlen(name) };
}

static inline int
try_get(DB_LOCKTAB *lt, u_int32_t id, u_int32_t flags, const char *name, int mode, DB_LOCK *lock)
{
	const DBT obj = named(name);

	return lock_get(lt, id, flags, &obj, (db_lockmode_t)mode, lock);
}

static inline DB_LOCK
get(DB_LOCKTAB *lt, u_int32_t id, const char *name, int mode)
{
	DB_LOCK lock = 0;

	must(try_get(lt, id, DB_LOCK_NOWAIT, name, mode, &lock));
	t_check(lock != 0);
	return lock;
}

static inline bool
is_free(DB_LOCKTAB *lt, const char *name, int mode)
{
	u_int32_t id = locker_of(lt);
	DB_LOCK lock;
	int ret = try_get(lt, id, DB_LOCK_NOWAIT, name, mode, &lock);

	if (ret == 0)
		must(lock_put(lt, lock));
	else
		answers(DB_LOCK_NOTGRANTED, ret);
	must(lock_id_free(lt, id));
	return ret == 0;
}

static inline DB_LOCK_STAT
stat_of(DB_LOCKTAB *lt)
{
	DB_LOCK_STAT *st, copy;

	must(lock_stat(lt, &st, NULL));
	copy = *st;
	free(st);
	return copy;
}

/* Until so many requests wait. */
static inline void
await_waiting(DB_LOCKTAB *lt, u_int64_t n)
{
	uint64_t end = os_monotonic_usec() + 60000000;

	while (stat_of(lt).st_nwaiting != n) {
		t_check(os_monotonic_usec() < end);
		os_sleep_usec(200);
	}
}

/* How a test that ends at rest ends. */
static inline void
finish(const struct t *t, DB_LOCKTAB *lt)
{
	must(locktab_check(lt));
	must(lock_close(lt));
	must(lock_unlink(t->dir, 0, &test_env));
}

/* --- threads that wait --------------------------------------------------------------------- */

struct waiter {
	DB_LOCKTAB *lt;
	u_int32_t id;
	u_int32_t flags;
	const char *name;
	int mode;
	DB_LOCK lock;
	int ret;
	pthread_t thread;
};

static inline void *
waiter_run(void *arg)
{
	struct waiter *w = arg;

	w->ret = try_get(w->lt, w->id, w->flags, w->name, w->mode, &w->lock);
	return NULL;
}

/* Ask for it in a thread; it will have to wait, and does when this returns. */
static inline void
wait_for(struct waiter *w, DB_LOCKTAB *lt, u_int32_t id, const char *name, int mode)
{
	u_int64_t before = stat_of(lt).st_nwaits;
	uint64_t end = os_monotonic_usec() + 60000000;

	w->lt = lt;
	w->id = id;
	w->name = name;
	w->mode = mode;
	w->ret = -1000;
	t_check(pthread_create(&w->thread, NULL, waiter_run, w) == 0);
	while (stat_of(lt).st_nwaits == before) {
		t_check(os_monotonic_usec() < end);
		os_sleep_usec(200);
	}
}

/* What became of it. */
static inline int
waited(struct waiter *w)
{
	t_check(pthread_join(w->thread, NULL) == 0);
	return w->ret;
}

#endif
