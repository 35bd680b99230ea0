/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view.h - what is in each status file.  A view appends its text and returns 0 or an errno
 * value.
 */
#ifndef FS_VIEW_H
#define FS_VIEW_H

#include "render.h"

struct fs;

int view_readme(struct fs *fs, struct text *t);
int view_pool(struct fs *fs, struct text *t);
int view_files(struct fs *fs, struct text *t);

/* region: the file's name in HOME */
int view_layout(struct fs *fs, const char *region, struct text *t);
int view_clients(struct fs *fs, const char *region, struct text *t);

#endif
