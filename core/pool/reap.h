/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/reap.h - what the dead left.
 */
#ifndef POOL_REAP_H
#define POOL_REAP_H

#include "pool.h"

struct thread;

/* Take over a dead client's leavings if number is dead.  True if it was, and is done. */
bool reap_client(struct thread *t, uint32_t number);
/* A number that no client has: what names it is damaged. */
bool owner_is_impossible(const DB_MPOOL *p, uint32_t number);
/* Look at all clients; at all that clients_used speaks of. */
unsigned reap_all(struct thread *t);
unsigned reap_known(struct thread *t);

#endif
