/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/takers.c - those who take the notifier's orders, and tell the kernel.
 *
 * They are threads of the notifier's process, one for each order that waits in the kernel, and one
 * more (TAKERS_MOST); or of the daemon, when that process was killed.
 *
 * That a file is longer than the kernel takes it to be it learns from an order to store a byte at
 * the new end, of which the byte cannot be read: it moves its end first, and then stores nothing
 * (EFAULT).  A byte that is there could overwrite what a program has just stored in that place.
 *
 * What the kernel does after the answer to a request that changes an inode it does before it lets
 * go of the inode's lock.  An order to forget a name in that inode, as if it were a directory, has
 * to wait for the lock before the kernel can say that it is none (ENOTDIR): so such an order is
 * done when the request is.  There are kernels that look first and lock then (written.c finds out).
 */
#include "takers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/os.h"
#include "coherence.h"

/* The kernel gives nothing to a reader with less room than for its largest write, and headers. */
#define REQUEST_BYTES (((size_t)1 << 20) + 65536)
#define DRAIN_MSEC 20
#define TRIES 100u /* of a notice */
#define TRY_USEC 1000u
/* An order of each, one aside, fences, and some more. */
#define TAKERS_MOST (2 * COHERENCE_THREADS + FENCES_MOST + 8)

/* What the kernel was not told it would go on showing: want of memory may be over soon. */
static int
notify(int device, const struct iovec *iov, int n)
{
	for (unsigned tries = 0; writev(device, iov, n) == -1; tries++) {
		if ((errno != ENOMEM && errno != EINTR && errno != EAGAIN) || tries == TRIES)
			return errno;
		os_sleep_usec(TRY_USEC);
	}
	return 0;
}

static int
raise_end(const struct takers *t, const struct order *o)
{
	struct fuse_notify_store_out what = { .nodeid = o->node, .offset = o->from - 1, .size = 1 };
	struct fuse_out_header head = { .len = sizeof(head) + sizeof(what) + 1,
		.error = FUSE_NOTIFY_STORE };
	struct iovec iov[3] = { { &head, sizeof(head) }, { &what, sizeof(what) },
		{ t->unreadable, 1 } };
	int err;

	if (t->unreadable == MAP_FAILED)
		return ENOMEM;
	err = notify(t->device, iov, 3);
	return err == EFAULT || err == ENOENT ? 0 : err;
}

static int
drop_pages(int device, const struct order *o)
{
	struct fuse_notify_inval_inode_out what = {
		.ino = o->node, .off = (int64_t)o->from, .len = (int64_t)o->bytes
	};
	struct fuse_out_header head = { .len = sizeof(head) + sizeof(what),
		.error = FUSE_NOTIFY_INVAL_INODE };
	struct iovec iov[2] = { { &head, sizeof(head) }, { &what, sizeof(what) } };

	int err = notify(device, iov, 2);

	return err == ENOENT ? 0 : err; /* an inode that the kernel does not have has no pages */
}

/* When whoever has the inode locked has let it go. */
static int
pass_lock(int device, const struct order *o)
{
	struct fuse_notify_inval_entry_out what = { .parent = o->node, .namelen = 1 };
	struct fuse_out_header head = { .len = sizeof(head) + sizeof(what) + 2,
		.error = FUSE_NOTIFY_INVAL_ENTRY };
	char name[2] = "x";
	struct iovec iov[3] = { { &head, sizeof(head) }, { &what, sizeof(what) },
		{ name, sizeof(name) } };

	int err = notify(device, iov, 3);

	return err == ENOTDIR || err == ENOENT ? 0 : err;
}

int
takers_tell(const struct takers *t, const struct order *o)
{
	switch (o->kind) {
	case ORDER_RAISE:
		return raise_end(t, o);
	case ORDER_FENCE:
		return pass_lock(t->device, o);
	case ORDER_DROP:
		break;
	}
	return drop_pages(t->device, o);
}

static void *
orders_main(void *arg)
{
	struct takers *t = arg;
	struct answer a;
	struct order o;

	while (recv(t->daemon, &o, sizeof(o), 0) == (ssize_t)sizeof(o)) {
		if (atomic_fetch_sub(&t->free, 1) == 1)
			(void)takers_start(t);
		a = (struct answer){ .cookie = o.cookie, .error = takers_tell(t, &o) };
		(void)atomic_fetch_add(&t->free, 1);
		if (send(t->daemon, &a, sizeof(a), MSG_NOSIGNAL) == -1)
			break;
	}
	(void)atomic_fetch_sub(&t->left, 1);
	return NULL;
}

/* False: there is no other one; those that there are go on. */
bool
takers_start(struct takers *t)
{
	pthread_t thread;

	if (atomic_fetch_add(&t->left, 1) < TAKERS_MOST) {
		(void)atomic_fetch_add(&t->free, 1);
		if (os_thread_start(&thread, orders_main, t) == 0) {
			(void)pthread_detach(thread);
			return true;
		}
		(void)atomic_fetch_sub(&t->free, 1);
	}
	(void)atomic_fetch_sub(&t->left, 1);
	return false;
}

/* Fail one request, if there is one. */
static void
fail_request(int device, char *buf)
{
	const struct fuse_in_header *in = (const struct fuse_in_header *)(const void *)buf;
	struct fuse_out_header out = { .len = sizeof(out), .error = -ENOTCONN };
	struct pollfd p = { .fd = device, .events = POLLIN };

	if (poll(&p, 1, DRAIN_MSEC) <= 0)
		return;
	if (read(device, buf, REQUEST_BYTES) < (ssize_t)sizeof(*in) || in->opcode == FUSE_FORGET ||
	    in->opcode == FUSE_BATCH_FORGET || in->opcode == FUSE_INTERRUPT)
		return;
	out.unique = in->unique;
	(void)!write(device, &out, sizeof(out));
}

/* No order comes any more, and nobody serves requests. */
void
takers_await_last(struct takers *t)
{
	char *buf = malloc(REQUEST_BYTES);

	while (atomic_load(&t->left) > 0 && buf != NULL)
		fail_request(t->device, buf);
	free(buf);
}

static void
await_end(struct takers *t)
{
	struct pollfd p = { .fd = t->daemon, .events = POLLRDHUP };

	while (poll(&p, 1, -1) == -1 && errno == EINTR)
		continue;
	takers_await_last(t);
}

static int
receive_device(int fd)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = room,
		.msg_controllen = sizeof(room) };
	struct cmsghdr *c;
	int device;

	if (recvmsg(fd, &m, MSG_CMSG_CLOEXEC) != 1 || (c = CMSG_FIRSTHDR(&m)) == NULL ||
	    c->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&device, CMSG_DATA(c), sizeof(device));
	return device;
}

/* Nothing of the daemon's stays open: others wait for its descriptors to be closed. */
static int
keep_only(int fd)
{
	int null = open("/dev/null", O_RDWR), kept = fcntl(fd, F_DUPFD, 3);

	for (int i = 0; i < 3; i++)
		(void)dup2(null, i);
	if (kept != 3)
		kept = dup2(kept, 3);
	(void)close_range(4, ~0u, 0);
	return kept;
}

void
takers_main(int fd, void *unreadable)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE };
	struct takers t = { .daemon = -1, .unreadable = unreadable };

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)prctl(PR_SET_NAME, "poolfs-notifier");
	(void)!chdir("/");
	t.daemon = keep_only(fd);
	if ((t.device = receive_device(t.daemon)) != -1 && takers_start(&t))
		await_end(&t);
	_exit(0);
}
