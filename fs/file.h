/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/file.h - the data of a regular file: its handle in the pool, shared by all who have it open.
 */
#ifndef FS_FILE_H
#define FS_FILE_H

#include <pthread.h>
#include <stdbool.h>

#include <poolfs/mpool.h>

#include "ahead.h"
#include "node.h"

struct file {
	struct node *node;
	struct ahead_file ahead;
	struct link pooled; /* [t] in nodes.pooled */
	struct link idle;   /* [t] in nodes.idle_files, holding a reference to node */
	unsigned opens;	    /* [t] open handles */
	unsigned writers;   /* [t] of these: that may write */

	pthread_rwlock_t state;
	DB_MPOOLFILE *mpf; /* [state] NULL: not open in the pool */
	bool writable;	   /* [state] mpf may be written through */
	bool kept;	   /* [state] it could not be opened for reading alone */
	bool waits_room;   /* atomic: it is being opened, and needs others to be closed */
	int refused_type;  /* atomic: the type of its pages for which data were refused last */
	bool gone;	   /* [t] its last name was removed: close at last release */
	bool unkept;	   /* [t] close at last release, too: file_is_hidden */

	unsigned cached;	 /* [k] opens that the kernel may cache; see coherence.h */
	bool lent;		 /* [k] counted as one of these: it has pages all the same */
	unsigned cached_writers; /* [k] of these: that may write */
	bool stale;		 /* [k] the first open waits for the kernel's old pages to go */
	bool given;		 /* atomic: the kernel may have pages of it */
	unsigned direct_writers; /* [k] opens for writing past its cache */
	struct copies *copies;	 /* [k] what the kernel was given; NULL: it is not tracked */
	struct link live;	 /* [k] in coherence.live */
	unsigned outdated;	 /* [k] how often that was in a pool that is gone by now (C6) */
	bool in_hand;		 /* [k] somebody drops pages of it, or is about to */
	unsigned wants;		 /* [k] bits ROUNDS_*, why all of them are to go */
	bool late_again;	 /* [k] ROUNDS_LATE is for a drop that has not begun yet */
	uint32_t pool_file;	 /* [k] mpool_file_id */
	unsigned pool_page;	 /* [k] its page size */
	uint64_t kernel_end;	 /* atomic: the kernel takes it to be at least that long */
	uint32_t disk_seen; /* atomic: mpool_file_disk_taken when its pages were dropped last */
	unsigned sets;	    /* [k] requests that set what the kernel takes for the end */
	bool raises;	    /* [k] it is just told a greater one; their answers wait */

	pthread_rwlock_t io;
	uint64_t reserved_from; /* [io, exclusive] bytes that are known to have blocks on disk */
	uint64_t reserved_to;
	uint64_t reserved_cuts; /* [io, exclusive] mpool_file_cuts then */
	bool surplus;		/* [io, exclusive] blocks were reserved behind the end, by us */
	bool knows_kept;	/* [io, exclusive] */
	uint64_t kept_to;	/* [io, exclusive] and by programs, up to there */
	int64_t read_nsec;	/* atomic: the coarse time at which HOME was last told of a read */

	pthread_mutex_t error_lock;
	int error;	       /* [error_lock] the last write error */
	unsigned error_number; /* [error_lock] how many there were */
	unsigned error_told;   /* [error_lock] error_number when an fsync(2) was last told */
};

/* An open(2) of a file. */
struct handle {
	struct node *node;
	int flags;	     /* of open(2) */
	unsigned reads;	     /* atomic: that are answered before they have let go of the file */
	unsigned error_seen; /* file.error_number when this descriptor was last told */
	bool cached;	     /* the kernel may cache it */
	bool counted;	     /* in file.direct_writers */
	bool keep;	     /* the kernel need not drop what it has, at open(2) */
	bool waits;	     /* until it has, before open(2) is answered */
};

/*
 * The file of a node, open in the pool, for writing if wanted; file->state is held shared until
 * file_put.  The caller holds the pool.
 */
int file_get(struct fs *fs, struct node *node, bool writable, struct file **fp);
void file_put(struct fs *fs, struct file *f);

/* The same in order to read or change its bytes: EIO if their type is not known here. */
int file_get_data(struct fs *fs, struct node *node, bool writable, struct file **fp);

/* As file_get, but only if the pool knows the file (open here, or pages in it). */
bool file_get_known(struct fs *fs, struct node *node, struct file **fp);

/* An open(2): the file is in the pool and checked against the disk.  *hp goes to file_close. */
int file_open(struct fs *fs, struct node *node, int flags, struct handle **hp);
/*
 * The same for a file that was just created, and perhaps cannot be opened for writing again: fd
 * (taken over) is open for reading and writing.
 */
int file_open_created(struct fs *fs, struct node *node, int fd, int flags, struct handle **hp);
/* A close.  pool_usable: the caller holds the pool and it is open. */
void file_close(struct fs *fs, struct handle *h, bool pool_usable);

/*
 * A write error of the file is told once to each open handle by the next fsync(2) through it, and
 * by every close(2) of a descriptor of it until then.  One that no fsync(2) has told yet is told
 * to handles that are opened later, too.
 */

/* mpool_file_sync; its error, and what the pool has met with before, is kept for the handles. */
int file_write_out(struct file *f, bool write_only);
/* The same for one handle: it is told that error, or an earlier one that it was not told of. */
int file_write_out_for(struct file *f, struct handle *h, bool write_only);
/* fsync(2) */
int file_sync(struct fs *fs, struct handle *h);
/* close(2): the write error that this handle was not told of yet, or 0.  Opens nothing. */
int file_peek_error(struct fs *fs, struct handle *h);

/* The last name went: forget what the pool has of it. */
void file_gone(struct fs *fs, struct node *node, const struct os_ident *id);

/*
 * A name went, and as many as before are left: a filesystem of the network has hidden the file
 * until nobody has it open.  So it is not kept open in case somebody wants it again.
 */
void file_is_hidden(struct fs *fs, struct node *node);

/* node, found under a name, is not one that is gone: its number may have been used again. */
void file_is_named(struct fs *fs, struct node *node);
/*
 * Files that nobody has open here and that lost their last name behind the mount's back: close
 * what keeps their blocks.  Not all are looked at by every call; call it once in a while.
 */
void file_forget_removed(struct fs *fs);
/*
 * Close files in the pool, open handles or not, that a library client wants to open otherwise: the
 * next request opens them again, as the client has them.
 */
void file_give_way(struct fs *fs);

/*
 * Around a change that the mount itself makes to a file's metadata on disk, so that the pool does
 * not take it for somebody else's: no other request runs on the file between the two.
 */
int file_change_begin(struct fs *fs, struct node *node, struct file **fp);
void file_change_end(struct fs *fs, struct file *f); /* NULL is ignored */

/* Length and modification time as people shall see them; false: as on disk. */
bool file_attr(struct fs *fs, struct node *node, off_t *bytesp, int64_t *mtimep);

/* Make durable every file that is open in the pool here. */
int file_sync_all(struct fs *fs);
/* Close all files in the pool, which the caller holds exclusively.  Open handles stay good. */
void file_close_all(struct fs *fs);

void file_destroy(struct file *f); /* NULL is ignored; closed already */

#endif
