/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/pages.h - the tree pages/: which pages of which files are in the pool.
 */
#ifndef FS_PAGES_H
#define FS_PAGES_H

#include <stdbool.h>

struct fs;
struct node;
struct text;

/* Is it pages/ or a directory in it?  Then its path below pages/: "" for itself. */
bool pages_is_in(const struct fs *fs, const struct node *node);
const char *pages_path(const struct node *node);

/* What is called name in the directory with that path.  *np carries a reference. */
int pages_lookup(struct fs *fs, const char *dir, const char *name, struct node **np);

/*
 * Each name in a directory, in order; path is that below pages/.  Stops at a value that is not 0.
 */
int pages_list(struct fs *fs, const char *dir,
    int (*add)(void *arg, const char *path, const char *name, bool is_dir), void *arg);

/* The table of a file: a row for each resident page.  ENOENT: the pool does not have it. */
int pages_render(struct fs *fs, const char *path, struct text *t);

#endif
