/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/fs.h - the public face of the filesystem: what a program needs to mount a pool.
 *
 * A struct fs is one pool over one HOME and one FUSE session.  The order of a life is fs_create
 * (the pool is open), fs_mount, fs_run (serves until the mount goes or a signal comes), fs_finish
 * (all that was written is in HOME), fs_unmount, fs_destroy.  All of it happens in one process:
 * handles do not survive fork(2).
 *
 * Calls return 0 or a positive errno value, and have explained themselves through fs_log by then.
 */
#ifndef FS_FS_H
#define FS_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct fs;

/* What the kernel caches of files by itself; see coherence.h. */
enum fs_cache { FS_CACHE_NONE, FS_CACHE_OPEN, FS_CACHE_KEEP };

enum fs_memory { FS_MEMORY_SYSTEM, FS_MEMORY_FILE, FS_MEMORY_PRIVATE };

/* What people call these; NULL is behind the last. */
extern const char *const fs_cache_words[];
extern const char *const fs_memory_words[];

struct fs_options {
	const char *home;	 /* absolute path of the directory */
	const char *mountpoint;	 /* absolute path */
	const char *mount_words; /* further words for -o, comma-separated, or NULL */
	enum fs_memory memory;	 /* of a newly made pool */
	unsigned policy;	 /* of a newly made pool: as in DB_ENV; 0: DB_POLICY_ADAPTIVE */
	enum fs_cache cache;
	const char *region_dir;	 /* absolute path of where the region files are; NULL: home */
	size_t cache_bytes;	 /* pages that a newly made pool holds */
	size_t cache_max;	 /* to which it may grow; 0: it may not */
	bool cache_given;	 /* an existing pool that is smaller grows to cache_bytes */
	size_t page_bytes;	 /* page size of files that the pool does not know yet */
	const char *warm;	 /* absolute path of the warm list, or NULL */
	bool warm_on_exit;	 /* write it at the end */
	unsigned mode;		 /* of a region file that is created; 0: 0600 */
	unsigned dirty_expire;	 /* seconds after which dirty pages are written */
	unsigned dir_timeout;	 /* seconds the kernel keeps what it was told of a directory */
	unsigned threads;	 /* most worker threads; 1: serve on the calling thread */
	bool read_only;
	bool allow_other; /* other users may use the mount */
	bool sync_writes; /* every write reaches the disk before it returns */
	bool no_atime;	  /* reading does not change access times */
	bool debug;	  /* trace every request */
};

/* Open (or create) HOME's pool, and all that a mount needs.  options must outlive it. */
int fs_create(const struct fs_options *options, struct fs **fsp);

/* Mount.  Requests are answered once fs_run runs. */
int fs_mount(struct fs *fs);

/*
 * Serve requests until the file system is unmounted or SIGTERM, SIGINT or SIGHUP arrives.
 * ready(arg, error) is called once, on a thread of its own, when the mount has answered a request
 * (0) or cannot (an errno value).  EBUSY: another pool was mounted on top meanwhile; then the
 * end follows, and fs_unmount would unmount the other.
 */
int fs_run(struct fs *fs, void (*ready)(void *arg, int error), void *arg);

/* Write and fsync everything, close the pool.  EIO if anything could not be written. */
int fs_finish(struct fs *fs);

void fs_unmount(struct fs *fs);
void fs_destroy(struct fs *fs);

/* "fuse library 3.14.0, kernel interface 7.31": static storage. */
const char *fs_library_version(void);

#endif
