/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/rlayout.h - the first bytes of every region, as processes share them.
 *
 *   0        sizeof(RLAYOUT)       rl_clients                    rl_body             rl_size
 *   +--------+-------------- - - --+-----------------------------+------- - - -------+
 *   |RLAYOUT | (to a cache line)   | struct client x nclients    | the subsystem's   |
 *   +--------+-------------- - - --+-----------------------------+------- - - -------+
 *
 * Only offsets from the region's start, no pointers.  Everything here can be written by every
 * process that is attached: it is input, and read with checks (layout.c).
 *
 * A region in system memory has two: one begins the segment, and a copy is all that the region's
 * file holds.  The file's is written at creation and removal, and says where the segment is; all
 * that changes meanwhile is in the segment's.  Only clean and the panic report are in both.
 */
#ifndef REGION_RLAYOUT_H
#define REGION_RLAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t roff_t; /* bytes from the region's start */

#define DB_REGIONMAGIC 0x120897u
#define INVALID_SEGID (-1)
#define REGION_FORMAT 5u /* raised when any shared structure changes */
#define REGION_FORMAT_FIRST 3u
#define REGION_BYTE_ORDER 0x01020304u
#define REGION_PROGRAM_BYTES 24 /* of a program's name, NUL-terminated */
#define REGION_WHY_BYTES 128

/* RLAYOUT.flags */
#define REGION_SYSTEM 0x1u     /* the bytes are in a System V segment; see segment.c */
#define REGION_HUGE 0x2u       /* which was made of huge pages, all of max at once */
#define REGION_LASTDETACH 0x4u /* removed by its last detach */
#define REGION_FLAGS 0x7u      /* all of them */

/* A lock word in shared memory; see region/shlock.h. */
struct shlock {
	uint32_t owner;	  /* 0: free; else client number + 1 */
	uint32_t waiters; /* odd: somebody may sleep on this word; raised by every wake */
};

typedef struct rlayout {
	struct shlock lock; /* guards the region's allocator and the subsystem's tables */
	uint32_t valid;	    /* DB_REGIONMAGIC; written last at creation, cleared first at removal */
	uint32_t refcnt;    /* clients attached; verified against the kernel when shown */
	uint64_t size;	    /* bytes in use */
	int32_t majver;	    /* version of the library that created the region */
	int32_t minver;
	int32_t patch;
	int32_t panic;	/* not 0: the bytes can no longer be trusted */
	int32_t segid;	/* System V segment, or INVALID_SEGID */
	uint32_t flags; /* REGION_SYSTEM ... */
	/* ours: the stamp */
	uint32_t format;     /* REGION_FORMAT */
	uint32_t byte_order; /* REGION_BYTE_ORDER in the creator's order */
	uint16_t pointer_bytes;
	uint16_t layout_bytes;	  /* sizeof(RLAYOUT) */
	uint32_t subsystem_stamp; /* the subsystem's own: sizes of its structures */
	/* ours: identity and life */
	uint64_t region_id;  /* random */
	uint64_t generation; /* raised by every change of size */
	uint64_t created_usec;
	uint8_t boot_id[16];
	uint32_t clean; /* not 0: last detach was clean and nothing was dirty */
	/* Up to here all formats from REGION_FORMAT_FIRST on are the same. */
	uint32_t nclients;
	uint64_t max;	    /* bytes the region may grow to */
	roff_t clients;	    /* struct client[nclients] */
	roff_t body;	    /* the subsystem's first byte, cache-line aligned */
	uint64_t file_ino;  /* of the region's file: who names this segment, */
	int64_t file_btime; /* when that was born */
	uint32_t ipc_ns;    /* where segid means something: its IPC namespace's number */
	/* ours: the panic report, complete if panic is not 0 */
	int32_t panic_pid; /* who found the damage */
	uint64_t panic_usec;
	uint32_t panic_uid;
	uint32_t panic_by; /* client number + 1 of who writes this report; taken first */
	char panic_name[REGION_PROGRAM_BYTES]; /* of his program */
	char panic_why[REGION_WHY_BYTES];
	uint64_t file_dev; /* of the region's file, as file_ino */
	uint32_t clients_used; /* no number from here on was ever taken */
	uint32_t spare;
} RLAYOUT;

#define REGION_COMMON_BYTES 108 /* of it, in all those formats */

static_assert(offsetof(RLAYOUT, nclients) == REGION_COMMON_BYTES, "what old and new ones agree on");
static_assert(sizeof(RLAYOUT) == 344, "RLAYOUT is an ABI between processes");

/* Who is attached.  Number i lives while it holds the OFD lock on byte CLIENT_BYTE + i. */
enum client_state { CLIENT_FREE = 0, CLIENT_LIVE = 1, CLIENT_REAPING = 2 };

struct client {
	uint32_t state;	 /* enum client_state, changed by compare-and-swap only */
	uint32_t reaper; /* in REAPING: client number + 1 of who took it */
	int32_t pid;
	uint32_t uid;
	uint64_t start_ticks;		 /* the process's start, against equal pids */
	uint64_t attached_usec;		 /* wall clock */
	char name[REGION_PROGRAM_BYTES]; /* the program's */
	uint64_t locks; /* shlock.c: how many it has or wants, and how often it wanted one */
};

static_assert(sizeof(struct client) == 64, "one cache line each");

#endif
