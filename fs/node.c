/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/node.c - the inode table.
 *
 * Objects of HOME are found by who they are (device, inode, birth time), never by where they were
 * seen: hard links are one node, and a file made anew under an old name is another.  The place
 * where a node was last seen (parent and name) is kept beside that for reopening it; it may be
 * out of date, so whoever uses it compares identities.
 *
 * The root, files/ and the status entries that always exist are nodes that are never freed while
 * the mount lives (their creator keeps a reference).  Everything else goes when the kernel has
 * forgotten it and no reference is left.  Descriptors are path_fd.c's.
 */
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "file.h"
#include "path_fd.h"
#include "state.h"
#include "status.h"

#define ANCESTORS_MAX 4096 /* of a path: PATH_MAX / 2 names, and some */

/* Numbers that no disk filesystem of today hands out. */
#define REGION_INO ((uint64_t)1 << 62)
#define FOREIGN_INO_SHIFT 48

int
node_table_init(struct fs *fs)
{
	struct node_table *t = &fs->nodes;

	link_init(&t->idle_fds);
	link_init(&t->idle_files);
	link_init(&t->pooled);
	/* numbers are addresses: a file handle of an earlier mount may have one of ours */
	t->generation = os_now_usec();
	return pthread_mutex_init(&t->lock, NULL);
}

static void
node_free(struct node *node)
{
	if (node->path_fd != -1)
		(void)close(node->path_fd);
	file_destroy(node->file);
	snapshot_put(node->snapshot);
	free(node->handle);
	free(node->region);
	free(node->name);
	free(node);
}

static void
node_free_all(struct node *node)
{
	struct node *next;

	for (; node != NULL; node = next) {
		next = node->hash_next;
		node_free(node);
	}
}

void
node_table_fini(struct fs *fs)
{
	struct node_table *t = &fs->nodes;

	for (size_t i = 0; i < NODE_BUCKETS; i++)
		node_free_all(t->buckets[i]);
	node_free_all(t->regions);
	(void)pthread_mutex_destroy(&t->lock);
}

/* --- identity ------------------------------------------------------------------------------ */

int
node_statx_at(int dirfd, const char *name, struct statx *sx)
{
	if (statx(dirfd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		STATX_BASIC_STATS | STATX_BTIME, sx) == -1)
		return errno;
	return 0;
}

int
node_statx(int fd, struct statx *sx)
{
	return node_statx_at(fd, "", sx);
}

void
node_ident(const struct statx *sx, struct os_ident *id)
{
	id->dev = makedev(sx->stx_dev_major, sx->stx_dev_minor);
	id->ino = sx->stx_ino;
	id->btime_nsec = 0;
	if (sx->stx_mask & STATX_BTIME)
		id->btime_nsec = sx->stx_btime.tv_sec * 1000000000 + sx->stx_btime.tv_nsec;
}

static bool
ident_equal(const struct os_ident *a, const struct os_ident *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->btime_nsec == b->btime_nsec;
}

static size_t
ident_bucket(const struct os_ident *id)
{
	uint64_t h = (id->ino ^ id->dev << 32 ^ (uint64_t)id->btime_nsec) * 0x9e3779b97f4a7c15u;

	return (size_t)(h >> 48) % NODE_BUCKETS;
}

/*
 * Files of filesystems mounted below HOME appear under one st_dev with HOME's own, and two files
 * with one number would be hard links to cp and tar: the device is mixed in.
 */
uint64_t
node_shown_ino(const struct fs *fs, const struct os_ident *id)
{
	if (id->dev == fs->home_dev)
		return id->ino;
	return id->ino ^
	    (id->dev * 0x9e3779b97f4a7c15u >> FOREIGN_INO_SHIFT) << (FOREIGN_INO_SHIFT - 2);
}

/* --- the table ----------------------------------------------------------------------------- */

/* Where there are no birth times, the number of a removed directory may be a file's by now. */
static struct node **
node_slot_locked(struct fs *fs, const struct os_ident *id, mode_t type)
{
	struct node **slot = &fs->nodes.buckets[ident_bucket(id)];

	while (*slot != NULL && ((*slot)->type != type || !ident_equal(&(*slot)->ident, id)))
		slot = &(*slot)->hash_next;
	return slot;
}

/* Would making parent node's parent close a circle?  Old places of directories can. */
static bool
node_is_ancestor_locked(const struct node *node, const struct node *parent)
{
	for (int i = 0; parent != NULL; parent = parent->parent, i++)
		if (parent == node || i == ANCESTORS_MAX)
			return true;
	return false;
}

/* Takes name over.  The old parent's reference is returned, to be put without the lock. */
static struct node *
node_place_locked(struct node *node, struct node *parent, char *name)
{
	struct node *old = node->parent;

	if (parent == NULL || name == NULL || node_is_ancestor_locked(node, parent)) {
		free(name);
		return NULL;
	}
	parent->refs++;
	free(node->name);
	node->parent = parent;
	node->name = name;
	return old;
}

static bool
node_is_placed_locked(const struct node *node, const struct node *parent, const char *name)
{
	return node->parent == parent && node->name != NULL && strcmp(node->name, name) == 0;
}

void
node_moved(struct fs *fs, struct node *node, struct node *parent, const char *name)
{
	struct node *old = NULL;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	if (!node_is_placed_locked(node, parent, name))
		old = node_place_locked(node, parent, strdup(name));
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	node_put(fs, old);
}

static struct node *
node_create(struct fs *fs, const struct os_ident *id, const struct statx *sx)
{
	struct node *node;

	if ((node = calloc(1, sizeof(*node))) == NULL)
		return NULL;
	node->kind = NODE_FILES;
	node->ident = *id;
	node->type = sx->stx_mode & S_IFMT;
	node->ino = node_shown_ino(fs, id);
	node->path_fd = -1;
	node->refs = 1;
	link_init(&node->fd_link);
	return node;
}

struct node *
node_find(struct fs *fs, const struct os_ident *id, mode_t type)
{
	struct node *node;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	if ((node = *node_slot_locked(fs, id, type)) != NULL)
		node->refs++;
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	return node;
}

/* Find or insert; fresh is used, or destroyed. */
static struct node *
node_insert(struct fs *fs, struct node *fresh)
{
	struct node **slot, *node;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	slot = node_slot_locked(fs, &fresh->ident, fresh->type);
	if ((node = *slot) == NULL) {
		node = *slot = fresh;
		node->generation = ++fs->nodes.generation;
		fresh = NULL;
	} else {
		node->refs++;
	}
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (fresh != NULL)
		node_free(fresh);
	return node;
}

int
node_of(struct fs *fs, struct node *parent, const char *name, int fd, const struct statx *sx,
    struct node **np)
{
	struct os_ident id;
	struct node *node;

	node_ident(sx, &id);
	if ((node = node_find(fs, &id, sx->stx_mode & S_IFMT)) == NULL) {
		if ((node = node_create(fs, &id, sx)) == NULL) {
			(void)close(fd);
			return ENOMEM;
		}
		node->handle = path_fd_handle(fs, fd, &id);
		node = node_insert(fs, node);
	}
	path_fd_give(fs, node, fd);
	if (parent != NULL)
		node_moved(fs, node, parent, name);
	*np = node;
	return 0;
}

/* --- regions ------------------------------------------------------------------------------- */

uint64_t
node_region_ino(const char *region, enum region_view view)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *region != '\0'; region++)
		h = (h ^ (unsigned char)*region) * 0x100000001b3u;
	return REGION_INO | (h >> 6) << 4 | (uint64_t)view;
}

static struct node *
node_find_region_locked(struct fs *fs, const char *region, enum region_view view)
{
	struct node *node = fs->nodes.regions;

	while (node != NULL && (node->view != view || strcmp(node->region, region) != 0))
		node = node->hash_next;
	return node;
}

static struct node *
node_create_region(const char *region, enum region_view view)
{
	struct node *node;

	if ((node = calloc(1, sizeof(*node))) == NULL)
		return NULL;
	if ((node->region = strdup(region)) == NULL) {
		free(node);
		return NULL;
	}
	node->kind = view < REGION_VIEWS ? NODE_REGION : NODE_PAGES;
	node->type = view == PAGES_DIRECTORY ? S_IFDIR : S_IFREG;
	node->view = view;
	node->ino = node_region_ino(region, view);
	node->path_fd = -1;
	link_init(&node->fd_link);
	return node;
}

int
node_of_region(struct fs *fs, const char *region, enum region_view view, struct node **np)
{
	struct node *node, *fresh;

	if ((fresh = node_create_region(region, view)) == NULL)
		return ENOMEM;
	(void)pthread_mutex_lock(&fs->nodes.lock);
	if ((node = node_find_region_locked(fs, region, view)) == NULL) {
		node = fresh;
		fresh = NULL;
		node->generation = ++fs->nodes.generation;
		node->hash_next = fs->nodes.regions;
		fs->nodes.regions = node;
	}
	node->refs++;
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (fresh != NULL)
		node_free(fresh);
	*np = node;
	return 0;
}

/* --- life ---------------------------------------------------------------------------------- */

void
node_get(struct fs *fs, struct node *node)
{
	(void)pthread_mutex_lock(&fs->nodes.lock);
	node->refs++;
	(void)pthread_mutex_unlock(&fs->nodes.lock);
}

void
node_remember(struct fs *fs, struct node *node)
{
	(void)pthread_mutex_lock(&fs->nodes.lock);
	node->lookups++;
	(void)pthread_mutex_unlock(&fs->nodes.lock);
}

static void
node_unhash_locked(struct fs *fs, struct node *node)
{
	struct node **slot = &fs->nodes.regions;

	if (node->kind == NODE_FILES)
		slot = &fs->nodes.buckets[ident_bucket(&node->ident)];
	while (*slot != node)
		slot = &(*slot)->hash_next;
	*slot = node->hash_next;
}

/* If nothing needs the node any more: take it out of the table, and give what is left to put. */
static bool
node_retire_locked(struct fs *fs, struct node *node)
{
	if (node->refs > 0 || node->lookups > 0 || node->kind == NODE_STATUS)
		return false;
	node_unhash_locked(fs, node);
	if (!link_is_alone(&node->fd_link))
		link_remove(&node->fd_link);
	if (node->path_fd != -1)
		fs->nodes.open_fds--;
	if (node->file != NULL)
		link_remove(&node->file->pooled);
	return true;
}

static void
node_release(struct fs *fs, struct node *node, unsigned refs, uint64_t lookups)
{
	struct node *parent;
	bool retired;

	for (; node != NULL; node = parent, refs = 1, lookups = 0) {
		(void)pthread_mutex_lock(&fs->nodes.lock);
		node->refs -= refs;
		node->lookups -= lookups < node->lookups ? lookups : node->lookups;
		parent = node->parent;
		retired = node_retire_locked(fs, node);
		(void)pthread_mutex_unlock(&fs->nodes.lock);
		if (!retired)
			return;
		node_free(node);
	}
}

void
node_put(struct fs *fs, struct node *node)
{
	node_release(fs, node, 1, 0);
}

void
node_forget(struct fs *fs, struct node *node, uint64_t n)
{
	node_release(fs, node, 0, n);
}
