/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fuzz targets' directory, and their input.
 */
#include "fuzz.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char home[64];
static pid_t owner;

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static void
remove_home(void)
{
	if (getpid() == owner)
		(void)nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *
fuzz_home(void)
{
	if (home[0] != '\0')
		return home;
	(void)snprintf(home, sizeof(home), "%s/poolfs-fuzz-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(home) == NULL)
		abort();
	owner = getpid();
	(void)atexit(remove_home);
	return home;
}

const char *
fuzz_path(const char *name)
{
	static char ring[4][300];
	static unsigned next;
	char *path = ring[next++ % 4];

	(void)snprintf(path, sizeof(ring[0]), "%s/%.200s", fuzz_home(), name);
	return path;
}

uint64_t
input_number(struct input *in, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes && in->left > 0; i++, in->at++, in->left--)
		v |= (uint64_t)*in->at << (8 * i);
	return v;
}
