/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/path_fd.c - a bounded number of O_PATH descriptors for any number of nodes.
 *
 * A node's descriptor is opened when somebody asks for it and stays open, idle, until there are
 * more than nodes.fd_limit; then the one that was idle longest is closed.  It is opened anew by
 * its file handle where the kernel lets us (that finds a file wherever it is, and needs a
 * privilege), else by name beneath its parent's descriptor.  Whatever was opened is compared with
 * the node's identity before it is used: a file that took the place of another is ESTALE, and the
 * kernel looks up again.
 *
 * What is open in the mount keeps its descriptor in use for as long, so a removed file can still
 * be reached through it.
 */
#include "path_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state.h"

#define REOPEN_DEPTH 256
#define BUCKETS_AT_ONCE (NODE_BUCKETS / 8)
#define LOOK_AT_ONCE 1024

static int fd_get_deep(struct fs *fs, struct node *node, int depth, int *fdp);

struct file_handle *
path_fd_handle(struct fs *fs, int fd, const struct os_ident *id)
{
	struct file_handle *h, *small;
	int mount_id;

	if (id->dev != fs->home_dev || fs->uid != 0)
		return NULL;
	if ((h = malloc(sizeof(*h) + MAX_HANDLE_SZ)) == NULL)
		return NULL;
	h->handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(fd, "", h, &mount_id, AT_EMPTY_PATH) == -1) {
		free(h);
		return NULL;
	}
	small = realloc(h, sizeof(*h) + h->handle_bytes);
	return small != NULL ? small : h;
}

int
path_fd_open(int dirfd, const char *name, int flags, int *fdp)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	do
		fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	while (fd == -1 && (errno == EINTR || errno == EAGAIN));
	if (fd == -1)
		return errno;
	*fdp = (int)fd;
	return 0;
}

static int
fd_check(const struct node *node, int fd)
{
	struct os_ident id;
	struct statx sx;
	int err;

	if ((err = node_statx(fd, &sx)) != 0)
		return err;
	node_ident(&sx, &id);
	if (id.dev != node->ident.dev || id.ino != node->ident.ino ||
	    id.btime_nsec != node->ident.btime_nsec || (sx.stx_mode & S_IFMT) != node->type)
		return ESTALE;
	return 0;
}

static int
reopen_by_handle(struct fs *fs, const struct node *node, int *fdp)
{
	int fd;

	if (node->handle == NULL)
		return ESTALE;
	if ((fd = open_by_handle_at(fs->home_fd, node->handle, O_PATH | O_NOFOLLOW | O_CLOEXEC)) ==
	    -1)
		return errno;
	*fdp = fd;
	return 0;
}

static int
reopen_by_name(struct fs *fs, struct node *node, int depth, int *fdp)
{
	struct node *parent;
	char *name = NULL;
	int dirfd, err;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	if ((parent = node->parent) != NULL && (name = strdup(node->name)) != NULL)
		parent->refs++;
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (name == NULL)
		return ESTALE;
	if ((err = fd_get_deep(fs, parent, depth + 1, &dirfd)) == 0) {
		err = path_fd_open(dirfd, name, O_PATH, fdp);
		node_fd_put(fs, parent);
	}
	node_put(fs, parent);
	free(name);
	return err == ENOENT || err == ENOTDIR ? ESTALE : err;
}

/* Nothing can be opened, by whatever way. */
static bool
is_shortage(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM;
}

static int
reopen(struct fs *fs, struct node *node, int depth, int *fdp)
{
	int fd = -1, err;

	if (depth == REOPEN_DEPTH)
		return ESTALE;
	if ((err = reopen_by_handle(fs, node, &fd)) != 0 && !is_shortage(err))
		err = reopen_by_name(fs, node, depth, &fd);
	if (err != 0)
		return err;
	if ((err = fd_check(node, fd)) != 0) {
		(void)close(fd);
		return err;
	}
	*fdp = fd;
	return 0;
}

/* The descriptor that was idle longest, taken from its node, or -1. */
static int
oldest_fd_locked(struct fs *fs)
{
	struct node_table *t = &fs->nodes;
	struct node *node;
	int fd;

	if (t->open_fds <= t->fd_limit || link_is_alone(&t->idle_fds))
		return -1;
	node = link_entry(t->idle_fds.next, struct node, fd_link);
	link_remove(&node->fd_link);
	fd = node->path_fd;
	node->path_fd = -1;
	t->open_fds--;
	return fd;
}

static void
close_oldest(struct fs *fs)
{
	int fd;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	fd = oldest_fd_locked(fs);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (fd != -1)
		(void)close(fd);
}

static bool
fd_use_locked(struct node *node)
{
	if (node->path_fd == -1)
		return false;
	if (node->fd_users++ == 0)
		link_remove(&node->fd_link);
	return true;
}

/* Make fd node's if it has none; false: it has one. */
static bool
fd_set_locked(struct fs *fs, struct node *node, int fd)
{
	if (node->path_fd != -1)
		return false;
	node->path_fd = fd;
	fs->nodes.open_fds++;
	link_append(&fs->nodes.idle_fds, &node->fd_link);
	return true;
}

void
path_fd_give(struct fs *fs, struct node *node, int fd)
{
	bool taken;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	taken = fd_set_locked(fs, node, fd);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (!taken)
		(void)close(fd);
	else
		close_oldest(fs);
}

static int
fd_get_deep(struct fs *fs, struct node *node, int depth, int *fdp)
{
	bool open, taken;
	int fd = -1, err;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	open = fd_use_locked(node);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (!open) {
		if ((err = reopen(fs, node, depth, &fd)) != 0)
			return err;
		(void)pthread_mutex_lock(&fs->nodes.lock);
		taken = fd_set_locked(fs, node, fd);
		(void)fd_use_locked(node);
		(void)pthread_mutex_unlock(&fs->nodes.lock);
		if (!taken)
			(void)close(fd);
		close_oldest(fs);
	}
	*fdp = node->path_fd;
	return 0;
}

int
node_fd_get(struct fs *fs, struct node *node, int *fdp)
{
	return fd_get_deep(fs, node, 0, fdp);
}

void
node_fd_put(struct fs *fs, struct node *node)
{
	int fd = -1;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	if (--node->fd_users == 0) {
		link_append(&fs->nodes.idle_fds, &node->fd_link);
		fd = oldest_fd_locked(fs);
	}
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	/* also where none can be opened, which would close one */
	if (fd != -1)
		(void)close(fd);
}

void
node_fd_drop(struct fs *fs, struct node *node)
{
	int fd = -1;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	if (node->path_fd != -1 && node->fd_users == 0) {
		link_remove(&node->fd_link);
		fd = node->path_fd;
		node->path_fd = -1;
		fs->nodes.open_fds--;
	}
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (fd != -1)
		(void)close(fd);
}

/* --- removed behind our back --------------------------------------------------------------- */

/* A removed file's last descriptor may be ours.  It is looked at without the lock. */
struct idle_fd {
	struct node *node;
	int fd;
};

static unsigned
idle_fds_locked(struct fs *fs, struct idle_fd *idle, unsigned max)
{
	struct node_table *t = &fs->nodes;
	unsigned n = 0;

	for (unsigned i = 0; i < BUCKETS_AT_ONCE && n < max; i++) {
		for (struct node *node = t->buckets[t->next_bucket]; node != NULL && n < max;
		     node = node->hash_next) {
			if (!S_ISREG(node->type) || node->path_fd == -1 || node->fd_users > 0)
				continue;
			node->refs++;
			idle[n++] = (struct idle_fd){ node, node->path_fd };
		}
		t->next_bucket = (t->next_bucket + 1) % NODE_BUCKETS;
	}
	return n;
}

unsigned
path_fd_removed(struct fs *fs, struct node **nodes, unsigned max)
{
	struct idle_fd idle[LOOK_AT_ONCE];
	unsigned n, removed = 0;
	struct statx sx;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	n = idle_fds_locked(fs, idle, max < LOOK_AT_ONCE ? max : LOOK_AT_ONCE);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	for (unsigned i = 0; i < n; i++) {
		/* the descriptor may be closed, or something else's by now: then it is not it */
		if (node_statx(idle[i].fd, &sx) == 0 && sx.stx_nlink == 0 &&
		    fd_check(idle[i].node, idle[i].fd) == 0)
			nodes[removed++] = idle[i].node;
		else
			node_put(fs, idle[i].node);
	}
	return removed;
}

/* --- from a descriptor to other things ----------------------------------------------------- */

struct fd_name
fd_name(int fd)
{
	struct fd_name n;

	(void)snprintf(n.text, sizeof(n.text), "%d", fd);
	return n;
}

struct fd_name
fd_proc_path(int fd)
{
	struct fd_name n;

	(void)snprintf(n.text, sizeof(n.text), "/proc/self/fd/%d", fd);
	return n;
}

int
node_open(struct fs *fs, struct node *node, int flags, int *fdp)
{
	int path_fd, fd, err;

	if ((err = node_fd_get(fs, node, &path_fd)) != 0)
		return err;
	do
		fd = openat(fs->proc_fd, fd_name(path_fd).text, flags | O_CLOEXEC | O_NOCTTY);
	while (fd == -1 && errno == EINTR);
	err = fd == -1 ? errno : 0;
	node_fd_put(fs, node);
	if (err == 0)
		*fdp = fd;
	return err;
}

int
node_path(struct fs *fs, int fd, char *path)
{
	ssize_t n;

	if ((n = readlinkat(fs->proc_fd, fd_name(fd).text, path, PATH_MAX - 1)) == -1)
		return errno;
	path[n] = '\0';
	return 0;
}
