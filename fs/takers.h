/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/takers.h - those who take the notifier's orders, and tell the kernel.
 */
#ifndef FS_TAKERS_H
#define FS_TAKERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Fences that are waited for at once. */
#define FENCES_MOST 64u

enum order_kind {
	ORDER_DROP,
	ORDER_RAISE, /* the file is at least that long: from */
	ORDER_FENCE
};

struct order {
	uint64_t cookie;
	uint64_t node, from, bytes;
	enum order_kind kind;
};

struct answer {
	uint64_t cookie;
	int error;
};

/* Those who take orders. */
struct takers {
	int daemon, device;
	void *unreadable;
	atomic_uint left; /* that have not ended: the daemon is there, or they wait in the kernel */
	atomic_uint free; /* of these: wait for an order */
};

int takers_tell(const struct takers *t, const struct order *o);

/* False: there is no other one; those that there are go on. */
bool takers_start(struct takers *t);

/* No order comes any more, and nobody serves requests: these fail until none waits any more. */
void takers_await_last(struct takers *t);

/* The notifier's process; fd: to the daemon. */
__attribute__((noreturn)) void takers_main(int fd, void *unreadable);

#endif
