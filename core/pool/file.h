/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/file.h - handles, and the table of files.  file.c has the rows, enter.c who has them open.
 */
#ifndef POOL_FILE_H
#define POOL_FILE_H

#include <stdio.h>
#include <stdlib.h>

#include "pool.h"

struct thread;
struct mapping;
struct os_handle;

#define AHEAD_PLACES 4

struct __db_mpoolfile {
	DB_MPOOLFILE *next;
	DB_MPOOL *pool;
	struct file_row *row;
	struct open_record *record;
	uint64_t record_number; /* its place in the table, from 1 */
	uint32_t tally;		/* the tally in a block that is its */
	uint32_t file;		/* id, checked against the row's */
	uint64_t short_key; /* its pages' keys, less the number; of no page: not the short way */
	uint64_t stride;    /* pagesize less 512 */
	unsigned pageshift;
	uint32_t misfit; /* bits that no frame of that page size has in its number */
	size_t pagesize;
	int ftype;
	int fd; /* -1: temporary, not on disk yet */
	bool rdonly;
	bool odd;
	bool temporary;
	bool said; /* that there can be no temporary file */
	bool soft;
	bool type_known;	      /* ftype is 0, or was found registered */
	uint32_t error_seen;	      /* row->error_seq at the last report */
	uint32_t disk_taken;	      /* see mpool_file_disk_taken */
	uint32_t ahead_turn;	      /* the place to be forgotten next */
	uint64_t ahead[AHEAD_PLACES]; /* where reading goes on; prefetch.c */
	uint32_t users;		      /* write-backs that use fd; under files_mutex */
	struct mapping *mapping;      /* or NULL; see mapping.h */
	DBT cookie;
};

struct file_spec {
	const struct os_ident *ident; /* NULL: temporary */
	const char *path;	      /* absolute */
	unsigned pageshift;
	int ftype;
	int lsn_offset;
	const DBT *cookie; /* may be NULL */
	const u_int8_t *uid;
	uint64_t length;
	const struct os_stat *st;
	const struct os_handle *handle;
	uint32_t open_flags; /* OPEN_* */
};

/* Say what is wrong with what is asked of the file, by its name; returns error. */
int file_refuse(const DB_MPOOLFILE *mpf, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* How many rows, and open records, were ever used: what a walk has to look at. */
uint32_t rows_used(const DB_MPOOL *p);
uint32_t opens_used(const DB_MPOOL *p);

void region_lock(DB_MPOOL *p); /* the region lock; repairs what a dead holder left */
void region_unlock(DB_MPOOL *p);

/* Find or enter the file, and enter an open record for it. */
int file_enter(struct thread *t, const struct file_spec *spec, struct file_row **rowp,
    uint32_t *idp, struct open_record **recordp);
/* Give an open record back; *lastp: nobody has the file open any more. */
void file_leave(DB_MPOOL *p, struct open_record *rec, bool *lastp);
void file_leave_locked(DB_MPOOL *p, struct open_record *rec);
/* Free a row nobody has open and of which no page is left. */
void file_forget(struct thread *t, struct file_row *row, uint32_t id);

/*
 * The row of a file id (which may come from a frame), NULL if the file is not known (any more).
 */
struct file_row *file_row(const DB_MPOOL *p, uint32_t id);
struct file_row *file_find(DB_MPOOL *p, const struct os_ident *id, uint32_t *idp);
/* A copy of the row's path (malloc), NULL if it has none. */
char *file_path(DB_MPOOL *p, const struct file_row *row, uint32_t id);
/* The row's file handle; false if it has none. */
bool file_handle(DB_MPOOL *p, const struct file_row *row, uint32_t id, struct os_handle *h);
int file_cookie(DB_MPOOL *p, const struct file_row *row, uint32_t id, DBT *copy);
void file_set_path_locked(DB_MPOOL *p, struct file_row *row, const char *path);
void file_stamp(struct file_row *row, const struct os_stat *st);
bool file_stamp_is(const struct file_row *row, const struct os_stat *st);
void file_repair_locked(DB_MPOOL *p);
/* The chunks that rows have in the heap, HEAP_PLACES at most each: their offsets, their number. */
#define HEAP_PLACES 3
size_t file_heap_places(const DB_MPOOL *p, uint64_t *places);
/* A temporary or removed file that nobody has open is nobody's: the row says so.  At rest. */
bool file_is_orphan(const struct file_row *row);
/* Drop and forget such: who should have died, or could not, when it closed them. */
void file_bury_orphans(struct thread *t);
/*
 * The same for one file, that is temporary or has no name.  False: somebody has it open, or a page
 * of it in hand.
 */
bool file_bury(struct thread *t, struct file_row *row, uint32_t id);

/* The row's page shift, checked; 0 and the region panics if it cannot be one. */
unsigned file_pageshift(DB_MPOOL *p, const struct file_row *row);
/*
 * Pages behind bytes, the end, that were pinned when the file was cut: gone, or zero.  The caller
 * has the trunc word; own is the key of a page that it has pinned, or 0.
 */
int file_clear_behind(
    struct thread *t, struct file_row *row, uint32_t id, uint64_t bytes, uint64_t own);
/*
 * Make the disk file, open as fd, as long as the row says, if it is shorter; loads and writes
 * wait.
 */
int file_grow_disk(struct thread *t, struct file_row *row, uint32_t id, int fd);
/* Make it that long, with no blocks behind its end, if it is shorter, too. */
int file_cut_disk(struct thread *t, struct file_row *row, int fd, uint64_t bytes);
/* Has anybody the file open?  Asked under the region lock: after a death it is counted anew. */
bool file_is_open(DB_MPOOL *p, const struct file_row *row, uint32_t id);
/* Has another process the file open for writing?  Under the region lock nobody comes meanwhile. */
bool file_is_written_by_others(const DB_MPOOL *p, uint32_t id);
/* Is the file beneath the home, or at least on its file system? */
bool file_is_at_home(const DB_MPOOL *p, const struct file_row *row);
/* Remember a failed write for the file's handles. */
void file_set_error(struct file_row *row, int error);
/* Pages have been written: if none is left to be, what had failed was made good. */
void file_is_well(struct file_row *row);
/* Zero what lies behind the end in a pinned page of the file, while nobody can move the end. */
void file_clean_tail(struct thread *t, DB_MPOOLFILE *mpf, uint8_t *page, db_pgno_t pgno);
/*
 * Make the file longer (P20): begin, see that the page that comes to be is pinned, end.  EAGAIN:
 * another has moved the end; put the page back and begin anew.  EIO: the row is another file's.
 */
struct growing {
	uint64_t length; /* from here */
	uint64_t cuts;
	bool behind; /* there may be pages of before a cut behind the end */
};
int file_grow_begin(struct thread *t, struct file_row *row, uint32_t id, struct growing *g);
int file_grow_end(struct thread *t, struct file_row *row, uint32_t id, const struct growing *g,
    uint64_t to, uint64_t own);
/* Is [pgno ...] being cut off right now? */
bool file_truncating(const struct file_row *row, db_pgno_t pgno, unsigned pageshift);
/*
 * Take the row's trunc word, not armed, when nobody else has it: loads and writes of the whole file
 * wait.  EIO: it is taken, and the row is not the file's.
 */
int file_trunc_begin(struct thread *t, struct file_row *row, uint32_t id);
void file_trunc_end(struct thread *t, struct file_row *row);
/* length.c: writes of page first and later ones that began before the trunc word was taken. */
void file_wait_for_writes(struct thread *t, struct file_row *row, uint32_t id, db_pgno_t first);
/* memp_ftruncate to a larger length. */
int file_lengthen(struct thread *t, DB_MPOOLFILE *mpf, uint64_t bytes);
/* Wait until nobody truncates; finish a dead one's work.  EIO: the row is not the file's. */
int file_truncate_wait(struct thread *t, struct file_row *row, uint32_t id);
/*
 * The trunc word has been there for some milliseconds.  A dead client's truncation is finished; a
 * number that nobody has, or a client that again and again (*unnotedp, 0 at first) has no note of
 * it, is damage: nobody truncates.
 */
void file_truncate_look(struct thread *t, struct file_row *row, unsigned *unnotedp);
/* For reap: the pool's part of a truncation whose process died, if it had gone ahead. */
void file_truncate_finish(struct thread *t, struct file_row *row, uint32_t id);

/* A descriptor to write a file with; *usedp is to be given to file_fd_put.  EACCES etc. */
struct file_fd {
	int fd;
	DB_MPOOLFILE *mpf; /* whose it is, or NULL */
	int ftype;
	int lsn_offset;
	DBT cookie; /* mpf's, or own memory */
	struct registration conversion;
	bool converts; /* conversion is to be used */
	bool gone;     /* (after a failure) the file has no name any more */
};
int file_fd_get(struct thread *t, struct file_row *row, uint32_t id, struct file_fd *ffd);
void file_fd_put(DB_MPOOL *p, uint32_t id, struct file_fd *ffd);
void file_fd_forget(DB_MPOOL *p, uint32_t id); /* 0: all */
/* Descriptors are kept for a while; those of files that went are not, from the next call on. */
void file_fd_sweep(DB_MPOOL *p);

/* drop.c: the pages from first on go.  Number left because of pins, or dirt without dirty_too. */
unsigned file_drop_pages(struct thread *t, uint32_t id, db_pgno_t first, bool dirty_too);

/* fopen.c: see mpool_file_revalidate. */
int file_revalidate(struct thread *t, DB_MPOOLFILE *mpf);

/* --- between file.c and enter.c; under the region lock, unless said otherwise -------------- */

bool file_has_ident(const struct file_row *row, const struct os_ident *id);
struct file_row *file_find_ident(DB_MPOOL *p, const struct os_ident *id);
struct file_row *file_find_uid(DB_MPOOL *p, const u_int8_t *uid);

/* bytes at off in the heap, if that is a chunk of at least so many; else NULL. */
const void *file_heap_at(DB_MPOOL *p, roff_t off, uint32_t bytes);

/* Entry r of a table is taken: the lowest free one is behind it, the high-water mark too. */
void file_entry_taken(uint32_t r, uint32_t *freep, uint32_t *usedp);

/* A free row, NULL if there is none; fill it in, the id last. */
struct file_row *file_row_take(DB_MPOOL *p);
int file_row_fill(DB_MPOOL *p, struct file_row *row, const struct file_spec *spec);
void file_row_free(DB_MPOOL *p, struct file_row *row); /* nobody has it open, no page is left */

/*
 * Without the lock.  Write, drop and forget a file that nobody has open; make some rows free so.
 */
int file_expel(struct thread *t, struct file_row *row, uint32_t id);
int file_rows_collect(struct thread *t);

/* The row's path is now this, if it is another. */
void file_rename_locked(DB_MPOOL *p, struct file_row *row, const char *path);

#endif
