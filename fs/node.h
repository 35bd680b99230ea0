/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/node.h - the inode table: what a FUSE node number stands for.
 *
 * A node number is the node's address; the kernel gives back only what it was given, and keeps a
 * node alive by its lookups.  Inside, a node is kept alive by references (node_get, node_put): of
 * open handles, of its children (which reopen themselves through it), of the list of idle files.
 */
#ifndef FS_NODE_H
#define FS_NODE_H

#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/os.h"

struct fs;
struct file;
struct snapshot;
struct status_entry;

enum node_kind {
	NODE_FILES,  /* an object of HOME's tree */
	NODE_STATUS, /* the root, README, stat/ and what is in it, regions/ */
	NODE_REGION, /* what is in regions/ */
	NODE_PAGES,  /* what is in pages/ */
};

enum region_view {
	REGION_RAW,
	REGION_LAYOUT,
	REGION_CLIENTS,
	REGION_HEAP,
	REGION_VIEWS,
	/* of a NODE_PAGES */
	PAGES_DIRECTORY = REGION_VIEWS,
	PAGES_TABLE,
};

/* A list through any structure. */
struct link {
	struct link *prev, *next;
};

struct node {			/* [t]: guarded by nodes.lock; the others do not change */
	struct node *hash_next; /* [t] */
	enum node_kind kind;
	uint64_t generation; /* never the same for two nodes */
	uint64_t ino;	     /* as shown in st_ino */
	uint64_t lookups;    /* [t] the kernel's */
	unsigned refs;	     /* [t] ours */

	/* NODE_FILES */
	struct os_ident ident;
	mode_t type;		    /* S_IFMT bits */
	struct node *parent;	    /* [t] where it was last seen; NULL: HOME itself */
	char *name;		    /* [t] */
	struct file_handle *handle; /* to reopen it wherever it is; NULL where not allowed */
	int path_fd;		    /* [t] O_PATH descriptor, or -1 */
	unsigned fd_users;	    /* [t] of path_fd; 0: it may be closed */
	struct link fd_link;	    /* [t] in nodes.idle_fds while fd_users is 0 */
	struct file *file;	    /* set once, atomically: see file.h */

	/* NODE_STATUS */
	const struct status_entry *entry;

	/* NODE_REGION, NODE_PAGES */
	enum region_view view;
	char *region; /* the file's name in HOME; the path below pages/ */

	struct snapshot *snapshot; /* [t] of tables: the last one taken */
	unsigned snapshot_users;   /* [t] open handles */
};

#define NODE_BUCKETS 65536u

struct node_table {
	pthread_mutex_t lock;
	struct node *buckets[NODE_BUCKETS]; /* [t] by ident */
	struct node *regions;		    /* [t] NODE_REGION, NODE_PAGES, through hash_next */
	struct node *home;		    /* files/ */
	uint64_t generation;		    /* [t] */
	struct link idle_fds;		    /* [t] nodes whose path_fd nobody uses, oldest first */
	unsigned open_fds;		    /* [t] path descriptors open */
	unsigned fd_limit;		    /* above it idle ones are closed */
	size_t next_bucket;		    /* [t] where path_fd_removed goes on */
	struct link idle_files;		    /* [t] struct file, see file.h, oldest first */
	unsigned idle_count;		    /* [t] */
	unsigned idle_limit;		    /* atomic: set when the pool is opened or resized */
	struct link pooled;		    /* [t] all struct file */
	unsigned closed_to;		    /* atomic: where file_close_unused goes on in it */
};

int node_table_init(struct fs *fs);
void node_table_fini(struct fs *fs);

/* A statx(2) as the rest wants it. */
void node_ident(const struct statx *sx, struct os_ident *id);
int node_statx(int fd, struct statx *sx);
int node_statx_at(int dirfd, const char *name, struct statx *sx); /* follows no link */

/*
 * The node of what fd (O_PATH, taken over) is open on, seen as name in parent, made if need be.
 * The caller owns a reference.
 */
int node_of(struct fs *fs, struct node *parent, const char *name, int fd, const struct statx *sx,
    struct node **np);

/* The node with that identity, of that type (S_IFMT), with a reference, or NULL. */
struct node *node_find(struct fs *fs, const struct os_ident *id, mode_t type);

/*
 * The node of one view of a region (or of what is in pages/), made if need be.  The caller owns a
 * reference.
 */
int node_of_region(struct fs *fs, const char *region, enum region_view view, struct node **np);

/* node is now called name in parent. */
void node_moved(struct fs *fs, struct node *node, struct node *parent, const char *name);

void node_get(struct fs *fs, struct node *node);
void node_put(struct fs *fs, struct node *node); /* NULL is ignored */

/* The kernel learns of the node, or forgets n of the times it did. */
void node_remember(struct fs *fs, struct node *node);
void node_forget(struct fs *fs, struct node *node, uint64_t n);

/*
 * A descriptor of the object (O_PATH), good until node_fd_put.  ESTALE: what the node stood for
 * cannot be found any more.
 */
int node_fd_get(struct fs *fs, struct node *node, int *fdp);
void node_fd_put(struct fs *fs, struct node *node);
/* Close it if nobody uses it: a file without a name keeps its blocks while it is open. */
void node_fd_drop(struct fs *fs, struct node *node);

/* Open what the node stands for, through the node's own descriptor.  *fdp is the caller's. */
int node_open(struct fs *fs, struct node *node, int flags, int *fdp);

/* The absolute path of an open descriptor, as the kernel knows it: path is PATH_MAX bytes. */
int node_path(struct fs *fs, int fd, char *path);

/* "N" under fs->proc_fd, "/proc/self/fd/N" for calls that only take a path. */
struct fd_name {
	char text[32];
};
struct fd_name fd_name(int fd);
struct fd_name fd_proc_path(int fd);

/* The number shown as st_ino. */
uint64_t node_shown_ino(const struct fs *fs, const struct os_ident *id);
uint64_t node_region_ino(const char *region, enum region_view view);

static inline void
link_init(struct link *l)
{
	l->prev = l->next = l;
}

static inline void
link_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	link_init(l);
}

static inline void
link_append(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline int
link_is_alone(const struct link *l)
{
	return l->next == l;
}

#define link_entry(l, type, member) ((type *)(void *)((char *)(l)-offsetof(type, member)))

#endif
