/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_lock_ours.c - this project's side of the comparison of locks, and its detector.
 */
#include "bench_lock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lock/table.h"

static DB_LOCKTAB *lt;
static u_int32_t locker;

static int
side_open(const char *home)
{
	int ret;

	if ((ret = lock_open(home, DB_CREATE | DB_THREAD, 0, NULL, &lt)) != 0)
		return ret;
	return lock_id(lt, &locker);
}

static int
side_pairs(uint32_t worker, uint32_t objects, uint32_t n)
{
	static uint32_t next = 1000000;
	uint32_t aligned[BENCH_NAME_BYTES / 4];
	uint8_t *name = (uint8_t *)aligned;
	DBT obj = { .data = name, .size = BENCH_NAME_BYTES };
	DB_LOCK lock;
	int ret;

	for (uint32_t i = 0, at = 0; i < n; i++) {
		bench_object(name, worker + 1, objects != 0 ? at : next++);
		if (++at == objects)
			at = 0;
		if ((ret = lock_get(lt, locker, 0, &obj, DB_LOCK_WRITE, &lock)) != 0 ||
		    (ret = lock_put(lt, lock)) != 0)
			return ret;
	}
	return 0;
}

static void
side_close(void)
{
	(void)lock_close(lt);
}

const struct lock_side lock_ours = { "poolfs", side_open, side_pairs, side_close };

/* --- the detector -------------------------------------------------------------------------- */

#define DETECTIONS 20

static int
request(DB_LOCKTAB *t, u_int32_t id, u_int32_t flags, uint32_t object, uint32_t mode)
{
	DBT obj = { .data = &object, .size = sizeof(object) };
	enum verdict verdict = GRANTED;
	struct lock_request rq;
	int ret;

	if ((ret = request_init(t, &rq, id, flags, &obj, mode, 0)) != 0)
		return ret;
	rq.distant = true;
	return request_make(t, &rq, &verdict);
}

/* All want the same, or locker i holds object i and wants the next one's. */
static int
make_waiters(DB_LOCKTAB *t, uint32_t waiters, enum lock_crowd crowd)
{
	uint32_t before = 0, id;
	int ret = 0;

	for (uint32_t i = 0; i <= waiters && ret == 0; i++) {
		if ((ret = lock_id(t, &id)) != 0)
			return ret;
		ret = request(t, id, 0, crowd == CROWD_CHAIN ? i : 0, DB_LOCK_WRITE);
		if (crowd == CROWD_CHAIN && i > 0 && ret == 0)
			ret = request(t, before, 0, i, DB_LOCK_WRITE);
		before = id;
	}
	return ret;
}

/* All hold the same, and want to change it. */
static int
make_upgraders(DB_LOCKTAB *t, uint32_t waiters, u_int32_t *ids)
{
	int ret = 0;

	for (uint32_t i = 0; i < waiters && ret == 0; i++)
		if ((ret = lock_id(t, &ids[i])) == 0)
			ret = request(t, ids[i], 0, 0, DB_LOCK_READ);
	for (uint32_t i = 0; i < waiters && ret == 0; i++)
		ret = request(t, ids[i], DB_LOCK_UPGRADE, 0, DB_LOCK_WRITE);
	return ret;
}

/* The least of so many detections, in the same table. */
static int
detect(DB_LOCKTAB *t, int times, uint64_t *tookp)
{
	uint64_t begun, took;
	int ret = 0;

	for (int i = 0; i < times && ret == 0; i++) {
		begun = os_monotonic_usec();
		ret = lock_detect(t, 0, DB_LOCK_YOUNGEST);
		if ((took = os_monotonic_usec() - begun) < *tookp)
			*tookp = took;
	}
	return ret;
}

double
lock_detect_usec(const char *home, uint32_t waiters, enum lock_crowd crowd)
{
	bool once = crowd == CROWD_UPGRADERS;
	u_int32_t *ids = calloc(waiters, sizeof(*ids));
	uint64_t took = UINT64_MAX;
	DB_LOCKTAB *t;
	int ret = ids != NULL ? 0 : ENOMEM;

	/* Victims are gone afterwards: a new table each time. */
	for (int i = 0; i < (once ? DETECTIONS : 1) && ret == 0; i++) {
		if ((ret = lock_open(home, DB_CREATE | DB_THREAD, 0, NULL, &t)) != 0)
			break;
		ret = once ? make_upgraders(t, waiters, ids) : make_waiters(t, waiters, crowd);
		if (ret == 0)
			ret = detect(t, once ? 1 : DETECTIONS, &took);
		(void)lock_close(t);
	}
	free(ids);
	return ret == 0 ? (double)took : -1;
}
