/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/coherence.h - the kernel's own pages of files (-o cache=open, keep), and that they never lie.
 *
 * C1. The kernel may cache a file through an open(2) only while nobody in another process has it
 *     open for writing; an open(2) meanwhile, one with O_APPEND, and one with O_DIRECT go past
 *     its cache, except for what sendfile(2) and private mappings fill it with: from then on, and
 *     while any open is left from a time when it was cached, the file counts as cached (lent).
 *     While only such opens and requests of this mount change a file, the kernel itself keeps its
 *     pages right.
 * C2. A file that is changed past the kernel's pages (by a client of the pool, or an open(2) that
 *     goes past them) is tracked: the mount has copies of what it gave to the kernel since.
 *     Tracking begins before, and ends after, all pages of the file are dropped.
 * C3. Of a tracked file, a page that a client has put is dropped before memp_fput returns, and one
 *     that a write(2) has changed before that returns, if the kernel may have it.
 * C4. Of what the kernel writes back from a page of a tracked file, only the bytes are taken that
 *     differ from what it was given, and not those that a write(2) is just changing.
 * C5. When somebody else has made a cached file longer the kernel takes it to be that long before
 *     the call that did so returns, and in any case before any page of it is dropped: it fills, and
 *     writes back, what it takes for the file only.  kernel_end is what it has been told so, less
 *     whatever shorter length it was shown since.
 * C6. When the pool was removed, and somebody else writes the file in the next one already, a page
 *     of which there is no copy is not taken from the kernel any more: what a program has stored
 *     there is lost, as it is if it was in the pool.
 *
 * What is marked [k] is guarded by coherence.lock, under which none but nodes.lock is taken;
 * coherence.gate orders the first open and the last close of a file that may be cached.
 */
#ifndef FS_COHERENCE_H
#define FS_COHERENCE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "fs.h"
#include "node.h"
#include "notifier.h"

struct file;
struct handle;
struct written;

#define COHERENCE_THREADS 64u

/* Why all pages of a file are to be dropped. */
enum {
	ROUNDS_ASKED, /* others ask for it */
	ROUNDS_LATE,  /* and do not wait any more */
	ROUNDS_FLUSH, /* the mount ends */
	ROUNDS_WANTS
};

/* An open(2) that is answered when the pages that the kernel has from before are dropped. */
struct opening {
	struct link link; /* [k] in coherence.openings */
	struct file *file;
	bool seen; /* [k] it is known what was to be dropped when it came */
	void (*answer)(struct fs *fs, struct opening *o); /* frees it */
};

/* A change of bytes by a program, which is not write-back. */
struct changing {
	const char *buf;    /* NULL: they become zeros */
	uint64_t from, to;  /* in the file */
	uint64_t asked;	    /* where the kernel takes them to go */
	bool through_cache; /* the kernel has changed its own pages already */
};

struct coherence {
	enum fs_cache mode;
	bool claimed; /* [fs.pool_lock] this mount is the pool's one that lets its kernel cache */
	pthread_mutex_t gate;
	pthread_mutex_t lock;
	pthread_cond_t wake;   /* [k] something to do, or a round has ended */
	struct link live;      /* [k] files that are cached, with a reference to the node of each */
	unsigned nlive;	       /* [k] how many these are */
	size_t live_most;      /* [fs.pool_lock] no more: others need rows in the pool, too */
	struct link openings;  /* [k] open(2)s that wait for a drop */
	struct link writtens;  /* [k] write(2)s whose pages are not dropped yet */
	uint64_t age;	       /* [k] of copies */
	atomic_bool renewed;   /* it is another pool: files that are cached are not LIVE in it */
	uint64_t writes;       /* [k] writtens so far */
	uint32_t drops_seen;   /* whoever leads */
	atomic_uint late_base; /* mpool_kcache_late when this mount came */
	atomic_uint late_done; /* mpool_kcache_late when a round began that has ended */
	atomic_ullong dropped; /* how often pages were dropped */
	atomic_ullong merged;  /* how often the kernel wrote back a page of a tracked file */
	atomic_bool look;      /* for files that are to be dropped, whatever drops_seen says */
	bool again;	       /* [k] a file is not cached any more: who told of it is answered */
	bool stop;	       /* [k] */
	bool runs;
	bool led;			      /* [k] one of the threads makes rounds: */
	pthread_t leader;		      /* [k] this one */
	pthread_cond_t idle;		      /* [k] nobody does */
	unsigned nidle;			      /* [k] threads that wait for that */
	atomic_int fences;		      /* -1, 1: they do not work, or do; 0: not known */
	unsigned nthreads;		      /* [k] */
	pthread_t threads[COHERENCE_THREADS]; /* [k] */
	atomic_uint nwant[ROUNDS_WANTS];      /* [k], to change: files, by file.wants */
	struct timespec late_until;	      /* [k] monotonic: so long others wait for the late */
	struct notifier notifier;
};

/* Before anything else, with a single thread. */
void coherence_init(struct fs *fs);
/* The session is mounted. */
int coherence_start(struct fs *fs);
/*
 * Requests are not served any more but by flush's own loop: what programs have changed through
 * mappings is written.  Then stop.
 */
void coherence_flush(struct fs *fs);
void coherence_stop(struct fs *fs);

/* The pool was opened; held exclusively. */
void coherence_claim(struct fs *fs);
/*
 * Files that are cached are so in the pool that there is now, too: it is opened.  The caller does
 * not hold it.
 */
void coherence_renew(struct fs *fs);
/* The pool closes all files: held exclusively. */
void coherence_left_pool(struct fs *fs);

/*
 * An open(2): sets h->cached, h->keep and h->waits.  The caller holds the pool.  Undone by close.
 * h->waits: o->answer is to be called, by coherence_await, before it is answered.
 */
int coherence_open(struct fs *fs, struct handle *h);
void coherence_await(struct fs *fs, struct handle *h, struct opening *o);
void coherence_close(struct fs *fs, struct handle *h, bool pool_usable);
/* The same once h is not counted any more in what has f open. */
void coherence_closed(struct fs *fs, struct file *f, bool pool_usable);

/*
 * The kernel reads pages for its cache through an open(2) that goes past it: for sendfile(2), or
 * for a private mapping.  The caller holds the pool.
 */
int coherence_lend(struct fs *fs, struct handle *h);
/* The file was opened in the pool, perhaps in another one; file.state held exclusively. */
void coherence_reopened(struct fs *fs, struct file *f);

/* If others have lost patience with this mount while it was stopped: what they told comes first. */
void coherence_settle(struct fs *fs);

/* What it does, as a word, and how many files are cached. */
void coherence_look(struct fs *fs, const char **modep, uint64_t *filesp);

/* How often others did not wait any longer for this mount; the caller does not hold the pool. */
uint64_t coherence_late(struct fs *fs);

/* --- data: file.io held ---------------------------------------------------------------------- */

bool coherence_tracks(const struct file *f);

/*
 * It was cached in a pool that is gone, and in the one that there is now another mount caches:
 * nobody tells of changes any more, and whoever has it open has to open it anew (ESTALE).
 */
bool coherence_is_untold(struct fs *fs, struct file *f);

/* Programs may have changed it through mappings, which the kernel has not written back. */
bool coherence_may_be_stored(const struct file *f);

/* The kernel has pages of the file, or is about to. */
void coherence_gives(struct file *f);

/* A request of the kernel's is answered with that length; before the answer. */
void coherence_shows(struct file *f, uint64_t length);

/* Around a read of a tracked file's bytes for the kernel's pages. */
int coherence_give_begin(struct fs *fs, struct file *f, uint64_t from, uint64_t to);
void coherence_give_end(
    struct fs *fs, struct file *f, uint64_t from, uint64_t to, const char *buf, size_t bytes);

/* *wp: the reply has to wait: coherence_reply; NULL: it has not. */
int coherence_write(struct fs *fs, struct file *f, const struct changing *ch, struct written **wp);
/* req is a write(2)'s, or, if bytes became zeros, an fallocate(2)'s. */
void coherence_reply(struct fs *fs, struct written *w, void *req, int error, size_t done);
/*
 * st is the answer to req, by which the kernel sets what it takes for the end.  True: it is
 * answered later, by somebody else.
 */
bool coherence_end_is_set(struct fs *fs, struct file *f, const struct stat *st, void *req);
/* What the kernel has of what written_ask asked for. */
void coherence_retrieved(struct fs *fs, uint64_t number, const char *bytes, size_t n);

/*
 * Copy to page, which is the file's at offset from on, those of the bytes in buf that a program
 * has changed in the kernel's page.  True: there were some.
 */
bool coherence_merge(
    struct fs *fs, struct file *f, char *page, uint64_t from, const char *buf, size_t bytes);
/* The kernel has written these bytes back. */
void coherence_merged(struct fs *fs, struct file *f, uint64_t from, const char *buf, size_t bytes);

#endif
