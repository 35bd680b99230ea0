/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/status_dir.c - listing the directories of the status tree.
 *
 * A directory is listed when it is opened, and the list is what is read: it is short, and an
 * entry that comes or goes meanwhile cannot move the others.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"
#include "region_dir.h"
#include "state.h"
#include "status.h"

struct status_dir_entry {
	char name[REGION_NAME_BYTES + 16];
	uint64_t ino;
	unsigned type;
};

struct status_dir {
	struct status_dir_entry *entries;
	size_t n;
	struct fs *fs;
};

static int
dir_add(struct status_dir *d, const char *name, uint64_t ino, unsigned type)
{
	struct status_dir_entry *e;

	if ((e = realloc(d->entries, (d->n + 1) * sizeof(*e))) == NULL)
		return ENOMEM;
	d->entries = e;
	e += d->n++;
	(void)snprintf(e->name, sizeof(e->name), "%s", name);
	e->ino = ino;
	e->type = type;
	return 0;
}

static int
add_region(const char *file, void *arg)
{
	char shown[REGION_NAME_BYTES], name[REGION_NAME_BYTES + 16];
	struct status_dir *d = arg;
	struct stat st;
	int err = 0;

	if (strlen(file) >= REGION_NAME_BYTES || region_stat_file(d->fs, file, &st) != 0)
		return 0;
	region_shown_name(file, shown);
	for (int v = REGION_RAW; v < REGION_VIEWS && err == 0; v++) {
		(void)snprintf(
		    name, sizeof(name), "%s%s", shown, region_view_suffix((enum region_view)v));
		err = dir_add(d, name, node_region_ino(file, (enum region_view)v), DT_REG);
	}
	return err;
}

static int
add_pages(void *arg, const char *path, const char *name, bool is_dir)
{
	enum region_view view = is_dir ? PAGES_DIRECTORY : PAGES_TABLE;

	return dir_add(arg, name, node_region_ino(path, view), is_dir ? DT_DIR : DT_REG);
}

static int
dir_fill(struct fs *fs, struct node *node, struct status_dir *d)
{
	int err;

	if ((err = dir_add(d, ".", node->ino, DT_DIR)) != 0 ||
	    (err = dir_add(d, "..", fs->status[STATUS_ROOT]->ino, DT_DIR)) != 0)
		return err;
	if (pages_is_in(fs, node))
		return pages_list(fs, pages_path(node), add_pages, d);
	if (node == fs->status[STATUS_REGIONS])
		return region_each(region_dir(fs), add_region, d);
	if (node == fs->status[STATUS_ROOT])
		err = dir_add(d, "files", fs->nodes.home->ino, DT_DIR);
	for (int i = STATUS_ROOT + 1; i < STATUS_NUMBERS && err == 0; i++)
		if (status_is_in((enum status_number)i, node))
			err = dir_add(d, status_name((enum status_number)i), fs->status[i]->ino,
			    IFTODT(fs->status[i]->type));
	return err;
}

int
status_opendir(struct fs *fs, struct node *node, struct status_dir **dp)
{
	struct status_dir *d;
	int err;

	if (!S_ISDIR(node->type))
		return ENOTDIR;
	if ((d = calloc(1, sizeof(*d))) == NULL)
		return ENOMEM;
	d->fs = fs;
	if ((err = dir_fill(fs, node, d)) != 0) {
		status_closedir(d);
		return err;
	}
	*dp = d;
	return 0;
}

int
status_readdir(struct status_dir *d, off_t offset,
    bool (*add)(void *arg, const char *name, uint64_t ino, unsigned type, off_t next), void *arg)
{
	for (size_t i = (size_t)offset; i < d->n; i++) {
		const struct status_dir_entry *e = &d->entries[i];

		if (!add(arg, e->name, e->ino, e->type, (off_t)i + 1))
			break;
	}
	return 0;
}

void
status_closedir(struct status_dir *d)
{
	free(d->entries);
	free(d);
}
