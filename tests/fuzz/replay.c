/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replay.c - the fuzz targets without a fuzzer: TARGET FILE-OR-DIRECTORY...  Each file, and each
 * file of a directory, is given to the target once, and so are its first halves.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MOST 65536

static unsigned played;

static void
play(const char *path)
{
	static uint8_t bytes[INPUT_MOST];
	FILE *f = fopen(path, "re");
	size_t n;

	if (f == NULL) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	n = fread(bytes, 1, sizeof(bytes), f);
	(void)fclose(f);
	for (;; n /= 2) {
		/* of exactly that size, so that a step too far is seen */
		uint8_t *copy = malloc(n > 0 ? n : 1);

		if (copy == NULL)
			exit(1);
		memcpy(copy, bytes, n);
		(void)LLVMFuzzerTestOneInput(copy, n);
		free(copy);
		played++;
		if (n == 0)
			return;
	}
}

static void
play_all(const char *path)
{
	DIR *d = opendir(path);
	char name[4096];
	struct dirent *e;

	if (d == NULL) {
		play(path);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		(void)snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.')
			play(name);
	}
	(void)closedir(d);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		play_all(argv[i]);
	(void)printf("# %u inputs\n", played);
	return played > 0 ? 0 : 1;
}
