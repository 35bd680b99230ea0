/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/region.h - a shared region: attach, detach, unlink, and who is attached.
 *
 * After db_region.c and the walkthrough: the creator is decided by the file system, joiners never
 * see a half-made region, removers never pull it away under a joiner.  Here the order is kept by
 * one OFD lock on byte REGION_BYTE of the region's file, held while a process creates, joins,
 * detaches or removes.  The kernel drops it when its holder dies, so whoever comes next finds
 * either a valid region or leftovers, and makes the region anew from leftovers at once.
 *
 * R1. Only the holder of REGION_BYTE changes rl->valid, truncates, initialises or unlinks the
 * file.  R2. After getting REGION_BYTE, compare the descriptor's file with the path's: if another
 * file, or
 *     none, is there now, the region was removed meanwhile; start again.
 * R3. A client number is taken (FREE -> LIVE) only by a process that holds the number's byte
 * lock,
 *     and freed (REAPING -> FREE) only after the subsystem's reap says that no word of it is left.
 * R4. A client is alive as long as its byte is locked by another open file description than ours,
 *     or it is ourselves.  Pids are for people.
 */
#ifndef REGION_REGION_H
#define REGION_REGION_H

#include <stdbool.h>

#include "../base/error.h"
#include "../base/os.h"
#include "rlayout.h"

#define REGION_BYTE ((uint64_t)1 << 40)	       /* the OFD lock that orders creators and removers */
#define SEGMENT_BYTE (((uint64_t)1 << 40) + 1) /* shared by all whose memory is a segment */
#define CLIENT_BYTE (((uint64_t)1 << 40) + 64) /* + number: held for life by that client */
#define REGION_JOIN_MSEC 5000		       /* how long a joiner waits for a live creator */
#define NO_CLIENT UINT32_MAX

struct region;

/* What a subsystem asks of region_attach. */
struct region_spec {
	DB_ENV *dbenv;	 /* for messages; may be NULL */
	const char *dir; /* absolute directory; NULL with is_private */
	/*
	 * The home that this is a region of, absolute: held as region/home.h says, and made to say
	 * where its regions are.  NULL: neither.
	 */
	const char *home;
	bool is_pool;	   /* of which a home has one */
	bool placed;	   /* dir was asked for, and is not only what the home said */
	const char *file;  /* name in it, "__db_mpool.share" */
	int mode;	   /* 0: 0600; less the umask */
	bool create;	   /* make it if it is not there */
	bool is_private;   /* process memory, joined by nobody */
	bool is_system;	   /* create it in a System V segment; joiners take what is there */
	bool last_detach;  /* of a created region: its last detach removes it */
	bool populate;	   /* give each page its memory at creation */
	bool guard;	   /* a file that is truncated is DB_RUNRECOVERY, not SIGBUS; guard.c */
	bool scattered;	   /* of a file: os_scattered is said of all of it, which is the cheapest */
	bool huge;	   /* ask for huge pages; without them a sentence, and ordinary ones */
	int32_t shm_key;   /* of a created segment; 0: none */
	uint64_t size;	   /* bytes for a created region, all included; rounded up to OS pages */
	uint64_t max;	   /* bytes that it may grow to; 0: region_max's default */
	size_t body_align; /* alignment of the mapping's address, 0 for the OS page */
	uint32_t nclients; /* size of the client table when creating */
	uint32_t subsystem_stamp; /* joiners must have the same: EPROTO */
	/*
	 * Format the body of a new region (zeroed).  Nobody else sees it before this returns 0.
	 */
	int (*init)(struct region *r, void *arg);
	/*
	 * How many dirty pages a region of an earlier boot holds, for the message; may be NULL.
	 */
	uint64_t (*count_lost)(struct region *r, void *arg);
	void *arg;
};

/* A process's own view of a region.  Read-only for everybody but region.c. */
struct region {
	DB_ENV *dbenv;
	char *path;	 /* absolute, of the file; NULL if private */
	uint8_t *addr;	 /* where the region starts in this process */
	size_t size;	 /* bytes in use, when last looked at (region_ptr looks) */
	size_t mapped;	 /* bytes of address space */
	RLAYOUT *layout; /* == addr */
	struct client *clients;
	uint32_t nclients;   /* checked copy */
	uint32_t self;	     /* this process's client number */
	int fd;		     /* the region file; holds the byte lock of self */
	struct os_stat file; /* behind fd, when it was last compared with the path's */
	int home_fd;	     /* the home directory, held; -1: none */
	bool pointed;	     /* this attach made the home say where its regions are */
	bool created;	     /* this attach made it */
	bool is_private;
	bool is_system;
	bool is_guarded;
	int32_t segid;		  /* if is_system */
	uint32_t lost;		  /* not 0: bytes of it are gone; atomic, see guard.c */
	unsigned fork_generation; /* handles do not survive fork */
};

/* Is the handle another process's, inherited through fork(2)? */
static inline bool
region_is_inherited(const struct region *r)
{
	return r->fork_generation != os_fork_generation();
}

/*
 * region_attach - create or join.  On success the caller is a client.  *rp is freed by
 * region_detach.  May wait REGION_JOIN_MSEC for a live creator.
 *
 * A file that is there but not a valid region (0 bytes, valid not set, shorter than its layout
 * says) is a dead creator's leftover and is made anew with spec->create, ENOENT without.  A stamp
 * that differs: EPROTO, or, if nobody is attached and layout->clean says that nothing in it was
 * unwritten, likewise made anew, with a message.  A panicked region: DB_RUNRECOVERY.  A region of
 * another boot that was not cleanly detached: remade, with a message that counts what was lost.  A
 * region file that is a symbolic link, or that others than the caller (or root) own in a sticky
 * directory: EPERM.
 * System memory: ENOMEM if the machine has not size bytes to spare; ENXIO if the segment is in
 * another IPC namespace; EIDRM if it is gone though there are live clients (with none, the region
 * is made anew); EXDEV if it is of a file on another device that is this one but for that, nobody
 * uses it, and it may hold something unwritten; EEXIST if shm_key is taken.  ENOSPC or EDQUOT
 * if there is no room to note in the file that it is in use, and its mode cannot be changed either.
 * With a home: EBUSY if another pool is in use over it, if its regions are elsewhere, or if a
 * client of one that was removed by force is still writing; ESTALE, without a sentence, if dir was
 * not asked for and the home does not say so any more.
 * Other errors: ENOENT, EAGAIN, ENOSPC, EINVAL (larger than the machine), ENOMEM.
 */
int region_attach(const struct region_spec *spec, struct region **rp);

/*
 * region_detach - give up the client number (which the caller has emptied of everything), unmap
 * and free.  With remove (or from a REGION_LASTDETACH one), and no other live client, the file
 * goes too; with remove EBUSY if there are others (the detach has happened all the same).  In a
 * forked child: frees only what is the child's own.  last, if not NULL, is asked under REGION_BYTE
 * when no other live client is left: what it returns is stored in layout->clean; with remove,
 * false means that nothing is removed, and EAGAIN.
 */
int region_detach(
    struct region *r, bool remove, bool (*last)(struct region *r, void *arg), void *arg);

/*
 * region_unlink_forced - remove the file whatever is in it.  Clears valid in a region that has
 * the right magic, so that those attached get ESTALE; in a segment also if the file does not lead
 * to it any more.  Absent: 0.  A segment that cannot be got at (ENXIO, EACCES, EPERM) or found
 * (EIDRM), or that another version made (EPROTO), keeps its file if there are live clients;
 * without, the file goes and a sentence names the segment.  EACCES: the caller may not write the
 * file, and has live clients who could not be told, or somebody is just coming, or may not even
 * look whether there are any.
 */
int region_unlink_forced(DB_ENV *dbenv, const char *dir, const char *file);

/*
 * region_unlink_unused - remove the file, whatever is in it, if nobody is attached: EBUSY with a
 * sentence otherwise.  ENOENT; EAGAIN a live process is creating, joining or removing it for too
 * long; else errors as region_unlink_forced's.
 */
int region_unlink_unused(DB_ENV *dbenv, const char *dir, const char *file);

/*
 * region_unlink_leftover - remove the file if it is what a process left that died while it created
 * or removed a region.  ENOENT: it is not there, or is anything else; EBUSY somebody is attached.
 */
int region_unlink_leftover(DB_ENV *dbenv, const char *dir, const char *file);

/*
 * region_usable - the check at the door of every call: EINVAL in a forked child, DB_RUNRECOVERY
 * if panicked, or if a guarded file lost its bytes, ESTALE if removed by force, else 0.  Four
 * loads.
 */
int region_usable(const struct region *r);

/* Whom the kernel lets write a region, beside root. */
struct region_writers {
	uint32_t uid; /* its owner */
	uint32_t gid;
	bool group;  /* the members of that group */
	bool others; /* others, whoever they are */
};

/* As it is now: of the file, and of the segment that it names.  A private region is its owner's. */
int region_writers(const struct region *r, struct region_writers *w);

/*
 * region_write_begin, region_write_end - around each write to a file of the region's home (and each
 * change of its length), the look at the region's state included: region_usable's answer, and
 * unless that is 0, no write and no end.  While a thread is between the two, nobody makes a new
 * region over the home in place of one that was removed by force.  Two system calls; not to be
 * nested, nothing to be waited for in between but the write.
 */
int region_write_begin(struct region *r);
void region_write_end(struct region *r);

/*
 * region_panic - mark the region as damaged, say why (printf-like), once; later calls add
 * nothing.  Returns DB_RUNRECOVERY.
 */
int region_panic(struct region *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * region_grow - make the region size bytes long, if it is shorter.  Nothing moves; the new bytes
 * are zeros, and everybody who is attached has them at once (region_ptr).  Nothing has changed
 * after an error: ENOMEM more than layout->max, or than is available; ENOSPC; EAGAIN a live
 * process is creating, joining or growing for too long; ESTALE; DB_RUNRECOVERY; EINVAL in a forked
 * child.
 */
int region_grow(struct region *r, uint64_t size);

/*
 * region_shrink - make the region size bytes long, if it is longer, and give the memory (of a file:
 * the blocks) behind that back.  The file or segment keeps its length, nothing moves, and for
 * everybody region_ptr ends there at once; addresses that were taken before read as zeros.  That
 * nobody uses them any more is the caller's business.  Where a file system cannot take blocks back,
 * they stay, with a warning.  Errors as region_grow's, and EINVAL if size does not hold the layout
 * and the clients.
 */
int region_shrink(struct region *r, uint64_t size);

/* How long the region is now. */
size_t region_size(const struct region *r);

/* Where offset..offset+bytes of the region is, or NULL if that is not inside it now. */
void *region_ptr(const struct region *r, roff_t offset, size_t bytes);

/* --- clients ------------------------------------------------------------------------------- */

/* R4.  False for numbers out of range and for CLIENT_FREE entries.  One fcntl(2). */
bool client_is_alive(const struct region *r, uint32_t number);

/*
 * Take a dead client for reaping: LIVE, or REAPING by a dead reaper, becomes REAPING by us.
 * False if it is alive, free, or being reaped by a live process.
 */
bool client_claim_dead(struct region *r, uint32_t number);

/* REAPING by us -> FREE.  R3. */
void client_free(struct region *r, uint32_t number);

/* Beyond the largest number that was ever taken, or further: where to stop looking for clients. */
uint32_t client_end(const struct region *r);

/* Number of live clients, by asking the kernel; stored in layout->refcnt as well. */
uint32_t client_count(struct region *r);

/* --- looking without attaching ------------------------------------------------------------- */

/* The regions in a directory: calls fn with each file name that matches __db_*.share; stops at a
 * value that is not 0 and returns it. */
int region_each(const char *dir, int (*fn)(const char *file, void *arg), void *arg);

/* A checked copy of a region file's RLAYOUT.  EPROTO if it is too short to hold one. */
int region_peek(const char *path, RLAYOUT *copy);

/*
 * The bytes of the region whose file is open behind fd, read-only; fd stays the caller's, and
 * must stay open.  Anything may be in them.  If a segment cannot be got at, they are the file's.
 * Reading a segment where nothing is makes the kernel give it memory there.
 */
struct region_look {
	int fd;
	void *segment;	   /* or NULL: in the file */
	int segment_error; /* of a file that names a segment: why it is not here */
	uint64_t bytes;
};

int region_look_init(struct region_look *look, int fd);
void region_look_fini(struct region_look *look);

/* As os_pread: *donep is less than bytes only at the end. */
int region_look_read(
    const struct region_look *look, void *buf, size_t bytes, uint64_t offset, size_t *donep);

/*
 * What can be said about a region that perhaps nobody can open: the panic report, or what is in
 * the way of an attach, in one sentence.  All strings are printable and NUL-terminated.
 */
struct region_report {
	int error;     /* an attach's, as far as the bytes decide; ENOENT: a leftover */
	bool panicked; /* DB_RUNRECOVERY then, and these were left by who found the damage: */
	int32_t pid;
	uint32_t uid;
	uint64_t usec;			 /* wall clock */
	char name[REGION_PROGRAM_BYTES]; /* his program's */
	char why[256];			 /* empty with error 0 */
};

/* 0, or an error of reading; then *report is not written. */
int region_look_report(const struct region_look *look, struct region_report *report);

/*
 * environment_dir - the absolute directory that a dir argument means (memp_open's rules for dir
 * and dbenv; private pools have none).  *dirp is the caller's, from malloc.  ENOENT if there is
 * none; EINVAL if dir is NULL, and there is none for temporary regions.
 */
int environment_dir(const DB_ENV *dbenv, const char *dir, char **dirp, bool *temporaryp);

/* The home of the environment in dir, absolute: db_home, or DB_HOME, or what dir means. */
int environment_home(const DB_ENV *dbenv, const char *dir, char **homep);

/*
 * environment_find - all of it, and what the two directories are to each other.  The home is
 * db_home (or DB_HOME) if there is one, else what dir means.  Private: only db_home counts.
 */
struct environment {
	char *home;	/* absolute; NULL: a private region's without db_home */
	char *regions;	/* absolute; NULL: private */
	bool placed;	/* the regions' directory was asked for by region_dir or dir */
	bool temporary; /* a directory for temporary files, which is nobody's home */
};

int environment_find(
    const DB_ENV *dbenv, const char *dir, bool is_private, struct environment *env);
void environment_fini(struct environment *env);

/*
 * environment_attach - environment_find, then attach(arg), which is to region_attach what it finds;
 * again if that is ESTALE, because the home said something else meanwhile.  *env is set, and the
 * caller's, in either case.
 */
int environment_attach(const DB_ENV *dbenv, const char *dir, bool is_private,
    struct environment *env, int (*attach)(void *arg), void *arg);

/*
 * environment_spec - set in spec what is alike for all regions of env: where it is, and where its
 * bytes come from as dbenv (or NULL) says; shm_key and max are what dbenv has.  A private region is
 * made in any case, and only if it is a pool it holds the home.  spec->is_pool and create are the
 * caller's, before.
 */
void environment_spec(DB_ENV *dbenv, const struct environment *env, struct region_spec *spec);

#endif
