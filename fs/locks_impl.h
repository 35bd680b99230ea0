/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/locks_impl.h - the mount's open file descriptions that hold or want a lock, for locks.c and
 * family.c.  locks.mutex guards all of it, but where it is said.
 */
#ifndef FS_LOCKS_IMPL_H
#define FS_LOCKS_IMPL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lock/table.h"
#include "locks.h"

/* An open file description. */
struct owner {
	struct owner *next;
	uint64_t id; /* its handle */
	uint64_t ino;
	DB_LOCK lock;	 /* 0: none */
	uint32_t locker; /* the lock's */
	int mode;
	unsigned askers;
	bool closed;
};

/* A flock(2) that waits. */
struct asker {
	struct asker *next;
	struct owner *owner;
	struct fuse_req *req;
	pid_t pid; /* of the process; 0: of another namespace */
	uint32_t locker;
	int mode;
	uint64_t number;  /* unlike all others' */
	bool interrupted; /* atomic */
	bool searched;	  /* for what else its process holds */
	struct lock_request rq;
	struct os_ident object;
	DBT name;
};

struct locks {
	pthread_mutex_t mutex;
	DB_LOCKTAB *lt; /* NULL: not open */
	struct owner *owners;
	struct asker *askers;
	uint64_t numbers;
	uint64_t reaped_usec; /* monotonic; when the dead were looked for */
	pthread_t waiter;
	bool waiter_runs;
	bool stop;
	pthread_cond_t wake; /* somebody waits, the table is open, or it is time to stop */
};

/* It was removed by force: no lock in it means anything any more. */
static inline bool
locks_stale(const struct locks *l)
{
	return l->lt != NULL && region_usable(l->lt->region) == ESTALE;
}

static inline struct owner *
locks_owner(const struct locks *l, uint64_t id)
{
	struct owner *o = l->owners;

	while (o != NULL && o->id != id)
		o = o->next;
	return o;
}

#define HELD_MOST 64 /* of a process's descriptions are looked at */

/* What an asker's process may hold besides, to be compared with /proc without the mutex. */
struct family {
	uint64_t number; /* the asker's */
	pid_t pid;
	unsigned n;
	struct {
		uint64_t id, ino;
		bool alone;
	} held[HELD_MOST];
};

/* The next asker of whom that is to be found out.  False: there is none. */
bool family_due(struct locks *l, struct family *f);
/* Without the mutex. */
void family_search(struct family *f);
/* If it waits still: it has done so all the time. */
void family_join(struct locks *l, const struct family *f);
/* It does not wait any more. */
void family_forget(struct locks *l, const struct asker *a);

#endif
