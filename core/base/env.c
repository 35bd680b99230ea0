/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/env.c - what the library says about itself: its version, and the meaning of its codes.
 *
 * The version is also what a region's creator writes into RLAYOUT; whether two versions can share
 * a region is decided by the stamps there, never by these numbers.
 */
#include <poolfs/env.h>

#include <string.h>

#define MAJVER 0
#define MINVER 1
#define PATCH 0

#define TEXT(x) #x
#define DOTTED(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)

const char *
db_version(int *majver, int *minver, int *patch)
{
	if (majver != NULL)
		*majver = MAJVER;
	if (minver != NULL)
		*minver = MINVER;
	if (patch != NULL)
		*patch = PATCH;
	return "poolfs " DOTTED(MAJVER, MINVER, PATCH);
}

const char *
db_strerror(int error)
{
	switch (error) {
	case 0:
		return "no error";
	case DB_INCOMPLETE:
		return "some changed pages could not be written now";
	case DB_LOCK_DEADLOCK:
		return "chosen as the victim of a deadlock";
	case DB_LOCK_NOTGRANTED:
		return "the lock is held by another and waiting was not wanted";
	case DB_LOCK_NOTHELD:
		return "the lock is not held by this locker";
	case DB_RUNRECOVERY:
		return "the region is damaged and must be removed by force";
	default:
		if (error > 0)
			return strerror(error);
		return "an error code that this library does not have";
	}
}
