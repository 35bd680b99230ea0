/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/region_impl.h - what the files of this directory tell each other; nobody else includes
 * it.
 *
 *   attach.c  create or join            layout.c  RLAYOUT: filled in, judged
 *   region.c  detach, unlink, panic     memory.c  the bytes and where they come from
 *   client.c  the table of clients      attached.c  what is attached, for fork(2)
 *
 * A region in a file has two open file descriptions: r->fd carries the locks and nothing else;
 * the mapping is made through another one that is closed at once.  A mapping keeps its
 * description alive, in forked children too, and with it every lock that the description has; so
 * the locks must not be on that one, or a child would keep its dead parent's client number.
 */
#ifndef REGION_REGION_IMPL_H
#define REGION_REGION_IMPL_H

#include "../base/os.h"
#include "region.h"

#define CLIENTS_MAX 65536u /* more is damage */

/* --- attached.c ---------------------------------------------------------------------------- */

/* A zeroed region with fd -1, known to the fork handler; freed, its descriptor closed first. */
int region_create(struct region **rp);
void region_destroy(struct region *r);

/* Open and close the descriptor that carries r's locks.  A fork sees it in r->fd or nowhere. */
int region_open_fd(struct region *r, int oflags, mode_t mode);
void region_close_fd(struct region *r);

/* Is the handle another process's, inherited through fork(2)? */
bool region_is_inherited(const struct region *r);

/* --- layout.c ------------------------------------------------------------------------------ */

enum layout_verdict {
	LAYOUT_VALID,	   /* a region to join */
	LAYOUT_LEFTOVER,   /* its creator or remover died; holds nothing */
	LAYOUT_OTHER_BOOT, /* of an earlier boot; the layout's offsets are checked */
	LAYOUT_OTHER_BOOT_DAMAGED,
};

/* The first byte of the client table and of the body, in every region of this format. */
roff_t layout_clients_offset(void);
roff_t layout_body_offset(uint32_t nclients);

/* Fill in everything but valid, in zeroed memory. */
void layout_init(RLAYOUT *rl, const struct region_spec *spec, uint64_t size);

/*
 * What lies in the file behind fd, of file_bytes bytes?  Sets *verdict and *copy (the fields,
 * read once).  Else EPROTO, DB_RUNRECOVERY or a read error, and the sentence has been said.
 */
int layout_judge(const struct region_spec *spec, const char *path, int fd, uint64_t file_bytes,
    RLAYOUT *copy, enum layout_verdict *verdict);

/* Do size, max, nclients, clients and body fit together and into file_bytes? */
bool layout_fits(const RLAYOUT *copy, uint64_t file_bytes);

/* Is this what a library with the same structures writes there? */
bool layout_stamp_is_ours(const RLAYOUT *copy);

/* --- memory.c ------------------------------------------------------------------------------ */

/* Make the empty file behind fd size bytes of zeros, all of them allocated. */
int memory_allocate(int fd, uint64_t size);

/* Set r->addr, size and layout: the file r->path, which must be the one behind r->fd, shared. */
int memory_map_file(struct region *r, uint64_t size, size_t align);
/* The same with zeroed memory of this process. */
int memory_map_private(struct region *r, uint64_t size, size_t align);
void memory_unmap(struct region *r);

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

/* --- region.c ------------------------------------------------------------------------------ */

/* R2: is the file behind fd the one that path names?  *samep is false if path names none. */
int region_path_is_fd(const char *path, int fd, bool *samep);

#endif
