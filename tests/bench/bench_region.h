/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_region.h - libdb's side of bench_region.c, whose headers cannot be included beside ours.
 */
#ifndef BENCH_REGION_H
#define BENCH_REGION_H

#include <stddef.h>

struct libdb_env;

/* Create, or join, an environment that is a cache of bytes.  0 or an error number. */
int libdb_open(const char *home, size_t bytes, int create, struct libdb_env **ep);
void libdb_close(struct libdb_env *e);

#endif
