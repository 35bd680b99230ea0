/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/status.c - the tree of status files: what exists, and its attributes.
 *
 * A few entries always exist; regions/ shows what HOME has at the moment.  All are read-only.
 * Totals may be read by everybody; what shows names, pages, clients or memory has the owner and
 * mode of the region.  The times shown are the mount's start (a region's: its creation), because
 * tar and others take a file whose time moves while they read it for one that was changed.
 *
 * The size of a text is that of its last snapshot while somebody has the file open, and else that
 * of one taken now (snapshot.c).
 */
#include "status.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "events.h"
#include "files.h"
#include "map.h"
#include "pages.h"
#include "region_dir.h"
#include "snapshot.h"
#include "state.h"
#include "view.h"

#define STATUS_INO ((uint64_t)3 << 60)
#define POOL_FILE "__db_mpool.share"
#define FILES_NAME "files"

enum status_access {
	OPEN_TO_ALL,
	AS_REGION, /* the owner and mode of the pool's region */
};

struct status_entry {
	const char *name;
	enum status_number dir;
	mode_t mode;
	enum status_access access;
	/* A file has one of these, a directory none. */
	int (*text)(struct fs *fs, struct text *t);
	const struct view *sheet, *json;
};

#define DIRECTORY(in, name)                                                                        \
	{                                                                                          \
		name, in, S_IFDIR | 0755, OPEN_TO_ALL, NULL, NULL, NULL                            \
	}
#define TEXT(in, name, access, text)                                                               \
	{                                                                                          \
		name, in, S_IFREG | 0444, access, text, NULL, NULL                                 \
	}
#define SHEET(in, name, access, view)                                                              \
	{                                                                                          \
		name, in, S_IFREG | 0444, access, NULL, view, NULL                                 \
	}
#define JSON(in, name, access, view)                                                               \
	{                                                                                          \
		name, in, S_IFREG | 0444, access, NULL, NULL, view                                 \
	}

static const struct status_entry entries[STATUS_NUMBERS] = {
	[STATUS_ROOT] = DIRECTORY(STATUS_ROOT, ""),
	[STATUS_README] = TEXT(STATUS_ROOT, "README", OPEN_TO_ALL, view_readme),
	[STATUS_STAT] = DIRECTORY(STATUS_ROOT, "stat"),
	[STATUS_REGIONS] = DIRECTORY(STATUS_ROOT, "regions"),
	[STATUS_PAGES] = { "pages", STATUS_ROOT, S_IFDIR | 0755, AS_REGION, NULL, NULL, NULL },
	[STATUS_LOCKS] = { "locks", STATUS_ROOT, S_IFDIR | 0755, AS_REGION, NULL, NULL, NULL },
	[STATUS_LOCKS_TABLE] = SHEET(STATUS_LOCKS, "table", AS_REGION, &view_lock_table),
	[STATUS_LOCKS_TABLE_JSON] = JSON(STATUS_LOCKS, "table.json", AS_REGION, &view_lock_table),
	[STATUS_LOCKS_WAITS] = SHEET(STATUS_LOCKS, "waits", AS_REGION, &view_lock_waits),
	[STATUS_LOCKS_WAITS_JSON] = JSON(STATUS_LOCKS, "waits.json", AS_REGION, &view_lock_waits),
	[STATUS_LOCKS_WAITS_DOT] = TEXT(STATUS_LOCKS, "waits.dot", AS_REGION, view_waits_dot),
	[STATUS_STAT_LOCK] = SHEET(STATUS_STAT, "lock", OPEN_TO_ALL, &view_lock),
	[STATUS_STAT_LOCK_JSON] = JSON(STATUS_STAT, "lock.json", OPEN_TO_ALL, &view_lock),
	[STATUS_STAT_POOL] = SHEET(STATUS_STAT, "pool", OPEN_TO_ALL, &view_pool),
	[STATUS_STAT_POOL_JSON] = JSON(STATUS_STAT, "pool.json", OPEN_TO_ALL, &view_pool),
	[STATUS_STAT_FILES] = SHEET(STATUS_STAT, "files", AS_REGION, &view_files),
	[STATUS_STAT_FILES_JSON] = JSON(STATUS_STAT, "files.json", AS_REGION, &view_files),
	[STATUS_STAT_LATENCY] = SHEET(STATUS_STAT, "latency", OPEN_TO_ALL, &view_latency),
	[STATUS_STAT_LATENCY_JSON] = JSON(STATUS_STAT, "latency.json", OPEN_TO_ALL, &view_latency),
	[STATUS_STAT_DAEMON] = SHEET(STATUS_STAT, "daemon", AS_REGION, &view_daemon),
	[STATUS_STAT_DAEMON_JSON] = JSON(STATUS_STAT, "daemon.json", AS_REGION, &view_daemon),
	[STATUS_STAT_CHECK] = SHEET(STATUS_STAT, "check", AS_REGION, &view_check),
	[STATUS_STAT_CHECK_JSON] = JSON(STATUS_STAT, "check.json", AS_REGION, &view_check),
	[STATUS_STAT_EVENTS] = SHEET(STATUS_STAT, "events", AS_REGION, &view_events),
	[STATUS_STAT_EVENTS_JSON] = JSON(STATUS_STAT, "events.json", AS_REGION, &view_events),
	[STATUS_STAT_PANIC] = SHEET(STATUS_STAT, "panic", AS_REGION, &view_panic),
	[STATUS_STAT_PANIC_JSON] = JSON(STATUS_STAT, "panic.json", AS_REGION, &view_panic),
	[STATUS_CTL] = { "ctl", STATUS_ROOT, S_IFREG | 0600, OPEN_TO_ALL, ctl_help, NULL, NULL },
	[STATUS_MAP_TEXT] = TEXT(STATUS_ROOT, "map.txt", AS_REGION, view_map_text),
	[STATUS_MAP_SVG] = TEXT(STATUS_ROOT, "map.svg", AS_REGION, view_map_svg),
	[STATUS_MAP_HTML] = TEXT(STATUS_ROOT, "map.html", AS_REGION, view_map_html),
	[STATUS_STAT_PROM] = TEXT(STATUS_STAT, "poolfs.prom", OPEN_TO_ALL, view_prom),
};

static enum status_number
number_of(const struct node *node)
{
	return (enum status_number)(node->entry - entries);
}

bool
status_is_in(enum status_number number, const struct node *dir)
{
	return number != STATUS_ROOT && entries[number].dir == number_of(dir);
}

const char *
status_name(enum status_number number)
{
	return entries[number].name;
}

/* --- nodes --------------------------------------------------------------------------------- */

int
status_init(struct fs *fs)
{
	struct node *node;

	for (int i = 0; i < STATUS_NUMBERS; i++) {
		if ((node = calloc(1, sizeof(*node))) == NULL)
			return ENOMEM;
		node->kind = NODE_STATUS;
		node->entry = &entries[i];
		node->type = entries[i].mode & S_IFMT;
		node->ino = STATUS_INO + (uint64_t)i;
		node->refs = 1;
		node->path_fd = -1;
		link_init(&node->fd_link);
		fs->status[i] = node;
	}
	return 0;
}

void
status_fini(struct fs *fs)
{
	for (int i = 0; i < STATUS_NUMBERS; i++) {
		if (fs->status[i] != NULL)
			snapshot_put(fs->status[i]->snapshot);
		free(fs->status[i]);
		fs->status[i] = NULL;
	}
}

static int
lookup_entry(struct fs *fs, enum status_number dir, const char *name, struct node **np)
{
	for (int i = STATUS_ROOT + 1; i < STATUS_NUMBERS; i++)
		if (entries[i].dir == dir && strcmp(entries[i].name, name) == 0) {
			node_get(fs, fs->status[i]);
			*np = fs->status[i];
			return 0;
		}
	return ENOENT;
}

static int
lookup_region(struct fs *fs, const char *name, struct node **np)
{
	char file[REGION_NAME_BYTES];
	enum region_view view;
	struct stat st;
	int err;

	if (!region_parse_name(name, file, &view))
		return ENOENT;
	if ((err = region_stat_file(fs, file, &st)) != 0)
		return err;
	return node_of_region(fs, file, view, np);
}

int
status_lookup(struct fs *fs, struct node *dir, const char *name, struct node **np, struct stat *st)
{
	struct node *node;
	int err;

	if (dir == fs->status[STATUS_ROOT] && strcmp(name, FILES_NAME) == 0) {
		node_get(fs, fs->nodes.home);
		*np = fs->nodes.home;
		return files_getattr(fs, fs->nodes.home, st);
	}
	if (!S_ISDIR(dir->type))
		return ENOTDIR;
	if (pages_is_in(fs, dir))
		err = pages_lookup(fs, pages_path(dir), name, &node);
	else if (dir == fs->status[STATUS_REGIONS])
		err = lookup_region(fs, name, &node);
	else
		err = lookup_entry(fs, number_of(dir), name, &node);
	if (err != 0)
		return err;
	if ((err = status_getattr(fs, node, st)) != 0) {
		node_put(fs, node);
		return err;
	}
	*np = node;
	return 0;
}

/* --- attributes ---------------------------------------------------------------------------- */

static void
fill_times(struct stat *st, int64_t nsec)
{
	struct timespec t = { .tv_sec = nsec / 1000000000, .tv_nsec = nsec % 1000000000 };

	st->st_atim = st->st_mtim = st->st_ctim = t;
}

static void
fill_size(struct stat *st, off_t bytes)
{
	st->st_size = bytes;
	st->st_blocks = (bytes + 511) / 512;
}

static void
fill_owner(struct fs *fs, const char *region, mode_t type, struct stat *st)
{
	struct stat rst;

	st->st_mode = type | 0400;
	if (region_stat_file(fs, region, &rst) == 0) {
		st->st_mode = type | (rst.st_mode & 0777);
		st->st_uid = rst.st_uid;
		st->st_gid = rst.st_gid;
	}
	/* Who may read a directory may go through it; nobody may write to it. */
	if (S_ISDIR(type))
		st->st_mode = type | (st->st_mode & 0444) | (st->st_mode & 0444) >> 2;
}

static nlink_t
count_links(const struct fs *fs, const struct node *node)
{
	nlink_t n = 2;

	if (!S_ISDIR(node->type))
		return 1;
	for (int i = STATUS_ROOT + 1; i < STATUS_NUMBERS; i++)
		n += entries[i].dir == number_of(node) && S_ISDIR(entries[i].mode);
	return node == fs->status[STATUS_ROOT] ? n + 1 : n;
}

static int
getattr_text(struct fs *fs, struct node *node, struct stat *st)
{
	struct snapshot *s;
	int err;

	if ((err = snapshot_current(fs, node, &s)) != 0)
		return err;
	fill_size(st, (off_t)snapshot_bytes(s));
	snapshot_put(s);
	return 0;
}

bool
status_is_events(const struct node *node)
{
	return number_of(node) == STATUS_STAT_EVENTS || number_of(node) == STATUS_STAT_EVENTS_JSON;
}

bool
status_name_stays(const struct fs *fs, const struct node *node)
{
	return node->kind == NODE_STATUS || node == fs->nodes.home;
}

bool
status_attr_stays(const struct node *node)
{
	return node->kind == NODE_STATUS && S_ISDIR(node->type) &&
	    node->entry->access == OPEN_TO_ALL;
}

bool
status_takes_truncate(const struct fs *fs, const struct node *node)
{
	return node == fs->status[STATUS_CTL];
}

static int
getattr_entry(struct fs *fs, struct node *node, struct stat *st)
{
	st->st_mode = node->entry->mode;
	st->st_nlink = count_links(fs, node);
	/* A scrape judges by it how fresh the numbers are. */
	if (node == fs->status[STATUS_STAT_PROM])
		fill_times(st, os_now_nsec_coarse());
	else if (status_is_events(node) && events_last() > 0)
		fill_times(st, (int64_t)events_last_usec() * 1000);
	if (node->entry->access == AS_REGION)
		fill_owner(fs, POOL_FILE, node->type, st);
	return S_ISDIR(node->type) ? 0 : getattr_text(fs, node, st);
}

static int
getattr_region(struct fs *fs, struct node *node, struct stat *st)
{
	uint64_t bytes, created_usec;
	int err;

	if ((err = region_extent(fs, node->region, &bytes, &created_usec)) != 0)
		return err;
	st->st_nlink = 1;
	fill_owner(fs, node->region, S_IFREG, st);
	/* The mount's start if the region's is not known. */
	if (created_usec > 0 && created_usec < INT64_MAX / 1000)
		fill_times(st, (int64_t)created_usec * 1000);
	if (node->view != REGION_RAW)
		return getattr_text(fs, node, st);
	fill_size(st, bytes < INT64_MAX ? (off_t)bytes : INT64_MAX);
	return 0;
}

static int
getattr_pages(struct fs *fs, struct node *node, struct stat *st)
{
	fill_owner(fs, POOL_FILE, node->type, st);
	st->st_nlink = S_ISDIR(node->type) ? 2 : 1;
	return S_ISDIR(node->type) ? 0 : getattr_text(fs, node, st);
}

int
status_getattr(struct fs *fs, struct node *node, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = node->ino;
	st->st_uid = fs->uid;
	st->st_gid = fs->gid;
	st->st_blksize = 4096;
	fill_times(st, fs->start_nsec);
	if (node->kind == NODE_REGION)
		return getattr_region(fs, node, st);
	return node->kind == NODE_PAGES ? getattr_pages(fs, node, st) : getattr_entry(fs, node, st);
}

static int
render_entry(struct fs *fs, const struct status_entry *entry, struct text *t)
{
	if (entry->text != NULL)
		return entry->text(fs, t);
	if (entry->json != NULL)
		return view_json(fs, entry->json, t);
	return view_text(fs, entry->sheet, t);
}

/* What a text file says now; snapshot.c keeps it. */
int
status_render(struct fs *fs, struct node *node, struct text *t)
{
	if (node->kind == NODE_STATUS)
		return render_entry(fs, node->entry, t);
	if (node->kind == NODE_PAGES)
		return pages_render(fs, node->region, t);
	if (node->view == REGION_LAYOUT)
		return view_layout(fs, node->region, t);
	if (node->view == REGION_HEAP)
		return view_heap(fs, node->region, t);
	return view_clients(fs, node->region, t);
}

/* --- removal ------------------------------------------------------------------------------- */

int
status_unlink(struct fs *fs, struct node *dir, const char *name)
{
	char file[REGION_NAME_BYTES];
	enum region_view view;
	struct stat st;
	int err;

	if (dir != fs->status[STATUS_REGIONS])
		return EPERM;
	if (!region_parse_name(name, file, &view))
		return ENOENT;
	if ((err = region_stat_file(fs, file, &st)) != 0)
		return err;
	return view == REGION_RAW ? region_remove(fs, file, false) : EPERM;
}
