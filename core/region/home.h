/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/home.h - what a home says about its regions: where they are, and which pool it has.
 *
 * A home has its regions in itself, or (region_dir) in one other directory.  Then there is a
 * symbolic link HOME_POINTER in it, which leads there: everybody who knows the home finds them.
 * The link is read, judged and resolved here; no system call is left to follow it.
 */
#ifndef REGION_HOME_H
#define REGION_HOME_H

#include "region.h"

#define HOME_POINTER "__db_regions"

/* The bytes of a home that are locked, below OS_BYTES_OF_NOBODY: the number of a place, ... */
#define HOME_SETTLED (OS_BYTES_OF_NOBODY / 4) /* + number */
#define HOME_WRITING (OS_BYTES_OF_NOBODY / 2) /* + the process and the thread; writing.c */

/*
 * home_regions - the absolute directory of home's regions: where its pointer leads, or itself.
 * *dirp is the caller's, from malloc.  With a sentence: ENOENT, ENOTDIR or EACCES the pointer leads
 * nowhere; EPERM it is not to be trusted (no symbolic link; another user's, in a directory with
 * the sticky bit; or not root's, if root asks).
 */
int home_regions(const DB_ENV *dbenv, const char *home, char **dirp);

/*
 * home_take - before region_attach looks for spec->dir: hold spec->home for as long as r is
 * attached, together with all whose regions are in the same directory, or, if spec is private,
 * as the only pool; and make the home say that they are there.  So one home has one pool, and of
 * two who come at once with different directories one is let in.  Where directories cannot be
 * locked, nothing is held.
 *
 * ESTALE, without a sentence: spec->dir was not asked for (spec->placed), and is not what the home
 * says any more.  EBUSY with a sentence: another pool is in use, or there are regions in another
 * place, or (private) the home's pool has something unwritten, or cannot be looked at.  EAGAIN with
 * a sentence: a live process takes longer than REGION_JOIN_MSEC to come or to remove.
 */
int home_take(const struct region_spec *spec, struct region *r);

/* After all nothing is in dir: the home is let go, and what it was made to say is unsaid. */
void home_give_back(const struct region_spec *spec, struct region *r);

/*
 * If home says that its regions are in dir (absolute), and there is none any more, unsay it; not
 * while anybody holds it, who may be about to make one, nor if dir cannot be read.
 */
void home_forget(const char *home, const char *dir);

/*
 * If what home says leads to no directory, or is no symbolic link, it does not say it any more.
 * With a sentence: EBUSY somebody holds home, who may know better; or what unlink(2) returns.
 */
int home_unsay(DB_ENV *dbenv, const char *home);

#endif
