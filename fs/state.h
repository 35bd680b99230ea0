/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/state.h - what all files of the filesystem share: struct fs.
 *
 * Locks, in the order in which they are taken; a thread never goes back up:
 *
 *   fs.pool_lock     shared by every request that may touch the pool, for as long as it runs;
 *                    exclusive to open, replace or remove the pool.  Writers go first; never taken
 *                    twice by a thread.
 *   file.state       shared while a file's DB_MPOOLFILE is used; exclusive to open or close it.
 *   file.io          one request is atomic against every other on the file: shared to read,
 *                    exclusive to write, truncate, or change metadata that the pool keeps watch on.
 *   coherence.gate   see coherence.h; under coherence.lock none but nodes.lock is taken.
 *   ahead.lock       what is to be read ahead; here too.
 *   nodes.lock       the tables and lists of nodes, files and descriptors; no system call that can
 *                    block and no call of core is made while it is held.
 *
 * No lock is held while a request is answered, except by a read, which replies from pinned pages:
 * a close of the same open file waits until it has let go of them (handle.reads), since with that
 * the last reference to the file may go.
 */
#ifndef FS_STATE_H
#define FS_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "ahead.h"
#include "coherence.h"
#include "ctl.h"
#include "fs.h"
#include "log.h"
#include "map.h"
#include "node.h"
#include "pool/look.h"
#include "pool/mount.h"
#include "status.h"

struct fuse_session;
struct locks;
struct pin_ages;

enum request { REQUEST_READ, REQUEST_WRITE, REQUEST_SYNC, REQUESTS };

struct fs {
	const struct fs_options *opt;
	int home_fd;	    /* HOME, O_DIRECTORY */
	uint64_t home_byte; /* locked behind home_fd for as long as this lives; 0: cannot be */
	int region_fd;	    /* where the region files are, O_DIRECTORY */
	int proc_fd;	    /* /proc/self/fd: the way from an O_PATH descriptor to an open file */
	uint64_t home_dev;  /* the device that st_dev stands for */
	uid_t uid;	    /* who runs the daemon */
	gid_t gid;
	int64_t start_nsec;	/* the mount's start: the time of status files */
	bool writes_through;	/* HOME's filesystem cannot reserve space */
	uint64_t longest_file;	/* bytes; RLIMIT_FSIZE, if it could not be lifted */
	atomic_ullong sequence; /* number of the last status snapshot */

	DB_ENV env;
	pthread_rwlock_t pool_lock;
	uint64_t gather_bytes; /* atomic: what one read may pin; more is copied page by page */
	DB_MPOOL *pool; /* [pool_lock] NULL between the removal of a region and its next use */

	uint64_t removed_usec;	/* atomic: when a file lost its last name, by the monotonic clock */
	struct os_ident region; /* [pool_lock] the region file: nobody's under any name */
	struct node_table nodes;
	struct node *status[STATUS_NUMBERS]; /* the entries that always exist */

	struct fuse_session *session;
	pthread_t writer; /* the background writer */
	bool writer_runs;
	pthread_mutex_t writer_lock;
	pthread_cond_t writer_wake;
	bool writer_stop; /* [writer_lock] */

	struct coherence coherence;
	struct ahead ahead;
	struct latency requests[REQUESTS]; /* how long they took, usec */
	struct latency hits;		   /* a page of each read request, nsec */
	struct steering steering;
	struct locks *locks;	   /* locks.c */
	struct pin_ages *pin_ages; /* [steering.lock] */
	struct history history;	   /* [steering.lock] */

	pthread_t warm; /* loads the warm list */
	bool warm_runs;
	bool warm_stop; /* atomic */

	pthread_t asker; /* finds out whether the mount answers */
	bool asker_runs;
	void (*ready)(void *arg, int error);
	void *ready_arg;
};

#endif
