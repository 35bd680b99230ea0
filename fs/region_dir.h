/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/region_dir.h - the regions/ directory: which regions HOME has, and their removal.
 */
#ifndef FS_REGION_DIR_H
#define FS_REGION_DIR_H

#include <stdbool.h>
#include <sys/stat.h>

#include "node.h"

#define REGION_NAME_BYTES 256

/* "mpool" for "__db_mpool.share", "lock" for "__db_lock.share", others by their file's name. */
void region_shown_name(const char *file, char *shown);

/* The file and view behind a name in regions/; false: not such a name. */
bool region_parse_name(const char *shown, char *file, enum region_view *view);

/* What stands behind the region's name: "" for its bytes, ".layout" ... */
const char *region_view_suffix(enum region_view view);

/* The path of the directory in which the region files are. */
const char *region_dir(const struct fs *fs);

/* Open the region's file for reading, through no link. */
int region_open_file(struct fs *fs, const char *file, int *fdp);
/* ENOENT for anything but a regular file. */
int region_stat_file(struct fs *fs, const char *file, struct stat *st);
/* How many bytes the region has, wherever they are, and when it was made (0: unknown). */
int region_extent(struct fs *fs, const char *file, uint64_t *bytesp, uint64_t *created_usecp);

/*
 * Can it be attached to, and if not, why?  Also of one that cannot be read: that is the reason
 * then.  ENOENT if there is none.
 */
struct region_report;
int region_report(struct fs *fs, const char *file, struct region_report *report);

/* Make the region bytes long; EINVAL if it is that long (more), or that short, already. */
int region_resize(struct fs *fs, const char *file, uint64_t bytes, bool more);

/* rm regions/NAME; by_force: even if it is in use */
int region_remove(struct fs *fs, const char *file, bool by_force);

#endif
