/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/region_impl.h - what the files of this directory tell each other; nobody else includes
 * it.
 *
 *   attach.c  create or join            layout.c  RLAYOUT: filled in, judged
 *   region.c  detach, unlink, panic     memory.c  the bytes and where they come from
 *   client.c  the table of clients      attached.c  what is attached, for fork(2)
 *   segment.c System V segments         look.c    reading without attaching
 *   grow.c    more bytes, fewer bytes    home.c  who holds a home, where its regions are
 *   guard.c   bytes that are gone    writing.c  who is just writing to a home's files
 *
 * A region in a file has two open file descriptions: r->fd carries the locks and nothing else;
 * the mapping is made through another one that is closed at once.  A mapping keeps its
 * description alive, in forked children too, and with it every lock that the description has; so
 * the locks must not be on that one, or a child would keep its dead parent's client number.
 */
#ifndef REGION_REGION_IMPL_H
#define REGION_REGION_IMPL_H

#include "region.h"

#define CLIENTS_MAX 65536u /* more is damage */

/* --- attached.c ---------------------------------------------------------------------------- */

/* A zeroed region with fd -1, known to the fork handler; freed, its descriptor closed first. */
int region_create(struct region **rp);
void region_destroy(struct region *r);

/* Open and close the descriptor that carries r's locks.  A fork sees it in r->fd or nowhere. */
int region_open_fd(struct region *r, int oflags, mode_t mode);
void region_close_fd(struct region *r);

/* The same for the descriptor that holds its home. */
int region_open_home(struct region *r, const char *home);
void region_close_home(struct region *r);

/* --- layout.c ------------------------------------------------------------------------------ */

enum layout_verdict {
	LAYOUT_VALID,	   /* a region to join */
	LAYOUT_LEFTOVER,   /* its creator or remover died; holds nothing */
	LAYOUT_OTHER_BOOT, /* of an earlier boot; the layout's offsets are checked */
	LAYOUT_OTHER_BOOT_DAMAGED,
	LAYOUT_GONE,	      /* its segment is not there any more, and nobody is attached */
	LAYOUT_COPY,	      /* its segment is that of the file that this is a copy of */
	LAYOUT_OTHER_VERSION, /* not for us, but closed: nothing is in it that is not elsewhere */
};

/* The first byte of the client table and of the body, in every region of this format. */
roff_t layout_clients_offset(void);
roff_t layout_body_offset(uint32_t nclients);

/* Fill in everything but valid, in zeroed memory. */
void layout_init(RLAYOUT *rl, const struct region_spec *spec, uint64_t size, uint64_t max);

/*
 * What lies in the file behind fd, of file_bytes bytes?  Sets *verdict and *copy (the fields,
 * read once).  Else EPROTO, DB_RUNRECOVERY or a read error, and the sentence has been said.
 */
int layout_judge(const struct region_spec *spec, const char *path, int fd, uint64_t file_bytes,
    RLAYOUT *copy, enum layout_verdict *verdict);

/* The same for a copy that has been read: of a segment that the file names. */
int layout_judge_copy(const struct region_spec *spec, const char *path, int fd, uint64_t bytes,
    const RLAYOUT *copy, enum layout_verdict *verdict);

/* Was it made before the machine was started last? */
bool layout_is_other_boot(const RLAYOUT *copy);

/* Is this, from a file of so many bytes, the name of a segment? */
bool layout_is_system(const RLAYOUT *copy, uint64_t file_bytes);

/* Do size, max, nclients, clients and body fit together and into file_bytes? */
bool layout_fits(const RLAYOUT *copy, uint64_t file_bytes);

/* Does a region of another version that says so much of itself name a segment? */
bool layout_is_others_system(const RLAYOUT *copy, uint64_t file_bytes);

/* Is this what a library with the same structures writes there? */
bool layout_stamp_is_ours(const RLAYOUT *copy);

/* Copy text that anybody may have written; always NUL-terminated. */
void layout_printable(char *to, size_t to_bytes, const char *from, size_t from_bytes);

/* --- memory.c ------------------------------------------------------------------------------ */

/* Put size bytes of zeros at the end of the file behind fd, which is at offset; all allocated. */
int memory_allocate(int fd, uint64_t offset, uint64_t size);

/* Set r->addr, size and layout: the file r->path, which must be the one behind r->fd, shared. */
int memory_map_file(struct region *r, uint64_t size, uint64_t max, size_t align);
/* The same with zeroed memory of this process; no room to grow if there is none. */
int memory_map_private(struct region *r, uint64_t size, uint64_t max, size_t align);
/* The same with the segment r->segid, which has max bytes in whole pages. */
int memory_map_segment(struct region *r, uint64_t size, uint64_t max, size_t align);
/* The same with what os_shm_attach_to_write has made of it, if it lies well; else false. */
bool memory_adopt_segment(struct region *r, void *addr, uint64_t size, uint64_t max, size_t align);
void memory_unmap(struct region *r);

/* Huge pages for all that is mapped, or a sentence about ordinary ones. */
void memory_ask_huge(struct region *r);

/* Have the bytes from..size, as zeros, whoever may have left what there. */
int memory_extend(struct region *r, uint64_t from, uint64_t size);

/* Give back what is behind size. */
int memory_release(struct region *r, uint64_t size);

/* ENOMEM and a sentence if the machine has not so many bytes more. */
int memory_check(DB_ENV *dbenv, const char *path, uint64_t bytes);

/* What sentences call it. */
const char *region_name(const struct region *r);

/* --- guard.c ------------------------------------------------------------------------------- */

enum lost { LOST_NOT, LOST_SILENT, LOST_SAID };

/* From when the file is mapped until it is unmapped.  Removing what was not added does nothing. */
void guard_add(struct region *r);
void guard_remove(struct region *r);

/* --- writing.c ----------------------------------------------------------------------------- */

/*
 * Before a pool is made: until nobody writes to the home's files for an earlier one.  EBUSY with a
 * sentence that names him; 0, too, if r's file is no longer the path's.
 */
int writing_wait(const struct region_spec *spec, struct region *r, uint64_t deadline);

/* --- segment.c ----------------------------------------------------------------------------- */

/*
 * All of these want REGION_BYTE, and r->fd open on the region's file.
 *
 * Make a segment, map it, and have the file name it, without valid; segment_publish sets that.
 * What a failed creation made is gone.
 */
int segment_create(const struct region_spec *spec, struct region *r, uint64_t size, uint64_t max);
int segment_publish(struct region *r);
/* After all not: the mapped segment goes. */
void segment_abandon(struct region *r);

/*
 * Map the segment that copy, from the file, names.  *copy becomes the segment's own RLAYOUT and
 * *verdict what that is: mapped if LAYOUT_VALID.
 */
int segment_join(
    const struct region_spec *spec, struct region *r, RLAYOUT *copy, enum layout_verdict *verdict);

/* Remove the segment that copy, from a file that is to be removed, may have named. */
int segment_discard(DB_ENV *dbenv, struct region *r, const RLAYOUT *copy);
/* The same, if another version made it: it stays, with a sentence, unless it is certainly it. */
void segment_discard_others(struct region *r, const RLAYOUT *copy);
/* Is the segment that copy names gone, or has somebody begun to remove it? */
bool segment_is_left(const struct region *r, const RLAYOUT *copy);

/* Remove the mapped segment; the file is marked first, and is to be removed next. */
int segment_remove(struct region *r);

/*
 * Tell the file, for a later boot, whether anything unwritten is in the segment.  On a full disk
 * not even a byte can be changed where nothing is written in place; but the file's mode can, in
 * which FILE_IN_USE takes back what clean says.
 */
#define FILE_IN_USE S_ISVTX
int segment_note_clean(struct region *r, uint32_t clean);

/*
 * For removal by force: clear valid in the segment that copy (NULL: nothing) names, or else in the
 * one whose clients have the file locked; map it so that this can be done once more, and remove it.
 * EIDRM with a sentence: there are such clients, but no segment of theirs.
 */
int segment_remove_forced(struct region *r, const RLAYOUT *copy);

/* The file gets the segment's panic report too: not everybody can attach the segment. */
void segment_note_panic(struct region *r);

/*
 * For a look: attached read-only, or NULL if it is not there, not ours or not to be had; *errorp
 * says which: ENXIO another IPC namespace, EIDRM none, EPERM or EACCES.
 */
void *segment_attach_quietly(const RLAYOUT *named, const struct os_ident *file, int *errorp);

/* --- client.c ------------------------------------------------------------------------------ */

/*
 * R3: take a number for this process and set r->self.  REGION_BYTE is held.  EAGAIN: none free.
 */
int client_take(struct region *r);
/* Give r->self back.  The byte's lock goes with r->fd. */
void client_leave(struct region *r);
/* Live clients other than self. */
uint32_t client_count_others(struct region *r);
/* Is the byte of any client number locked, whatever the table says? */
int client_any_locked(int fd, bool *anyp);

/* --- grow.c -------------------------------------------------------------------------------- */

/* Set r->size to what the region says, if it can be, and return it. */
size_t region_look_again(struct region *r);
/* In a forked child: nobody changes a size here. */
void region_grow_forked(void);

/* --- region.c ------------------------------------------------------------------------------ */

/* R2: is the file behind r->fd the one that the path names?  Not if that names none.  r->file. */
int region_is_at_path(struct region *r, bool *samep);

#endif
