/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/notifier.c - a process of its own that tells the kernel to drop pages.
 *
 * To drop a page the kernel waits, uninterruptibly, for its lock, and that may be held by a read
 * which the mount has still to answer.  If the daemon were killed while one of its own threads
 * waits so, that thread would keep its descriptors open, the kernel would go on hoping for the
 * answer, and the mount would hang for ever.  So a child waits instead, with a channel of its own
 * to the kernel and nothing else of the daemon's.  When the daemon has died, the requests that it
 * was serving fail; the child fails those that nobody had begun with, until its wait ends, and
 * exits; with the last channel the connection is gone.
 *
 * The child has two threads, so that an order can be carried out while another one waits.  When it
 * was killed, two threads of the daemon do the same.
 *
 * That a file is longer than the kernel takes it to be it learns from an order to store a byte at
 * the new end, of which the byte cannot be read: it moves its end first, and then stores nothing
 * (EFAULT).  A byte that is there could overwrite what a program has just stored in that place.
 */
#include "notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"
#include "ops.h"

/* The kernel gives nothing to a reader with less room than for its largest write, and headers. */
#define REQUEST_BYTES (((size_t)1 << 20) + 65536)
#define DRAIN_MSEC 20
#define SLOW_MSEC 20
#define LOOKS 50u /* of SLOW_MSEC, between looks whether the child stands still */
#define TAKERS 2u

struct order {
	uint64_t cookie;
	uint64_t node, from, bytes;
	uint64_t end; /* the file is that long; 0: or not */
};

struct answer {
	uint64_t cookie;
	int error;
};

/* --- the child ----------------------------------------------------------------------------- */

/* Those who take orders. */
struct takers {
	int daemon, device;
	void *unreadable;
	atomic_uint left; /* that have not ended: the daemon is there, or they wait in the kernel */
};

static int
raise_end(const struct takers *t, const struct order *o)
{
	struct fuse_notify_store_out what = { .nodeid = o->node, .offset = o->end - 1, .size = 1 };
	struct fuse_out_header head = { .len = sizeof(head) + sizeof(what) + 1,
		.error = FUSE_NOTIFY_STORE };
	struct iovec iov[3] = { { &head, sizeof(head) }, { &what, sizeof(what) },
		{ t->unreadable, 1 } };

	if (t->unreadable == MAP_FAILED)
		return ENOMEM;
	if (writev(t->device, iov, 3) != -1 || errno == EFAULT || errno == ENOENT)
		return 0;
	return errno;
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

	if (writev(device, iov, 2) != -1 || errno == ENOENT)
		return 0; /* an inode that the kernel does not have has no pages */
	return errno;
}

/* All of it is done, whatever fails. */
static int
tell_kernel(const struct takers *t, const struct order *o)
{
	int raised = o->end == 0 ? 0 : raise_end(t, o), dropped = drop_pages(t->device, o);

	return dropped != 0 ? dropped : raised;
}

static void *
orders_main(void *arg)
{
	struct takers *t = arg;
	struct answer a;
	struct order o;

	while (recv(t->daemon, &o, sizeof(o), 0) == (ssize_t)sizeof(o)) {
		a = (struct answer){ .cookie = o.cookie, .error = tell_kernel(t, &o) };
		if (send(t->daemon, &a, sizeof(a), MSG_NOSIGNAL) == -1)
			break;
	}
	(void)atomic_fetch_sub(&t->left, 1);
	return NULL;
}

/* False: nobody takes anything. */
static bool
start_takers(struct takers *t)
{
	pthread_t thread;
	unsigned n = 0;

	atomic_init(&t->left, TAKERS);
	while (n < TAKERS && os_thread_start(&thread, orders_main, t) == 0) {
		(void)pthread_detach(thread);
		n++;
	}
	return n == TAKERS || (n > 0 && atomic_fetch_sub(&t->left, TAKERS - n) > TAKERS - n);
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
static void
await_last(struct takers *t)
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
	await_last(t);
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

static __attribute__((noreturn)) void
child_main(int fd, void *unreadable)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE };
	struct takers t = { .daemon = -1, .unreadable = unreadable };

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)prctl(PR_SET_NAME, "poolfs-notifier");
	(void)!chdir("/");
	t.daemon = keep_only(fd);
	if ((t.device = receive_device(t.daemon)) != -1 && start_takers(&t))
		await_end(&t);
	_exit(0);
}

/* --- the daemon ---------------------------------------------------------------------------- */

void
notifier_fork(struct notifier *n)
{
	int pair[2];

	n->fd = -1;
	n->pid = -1;
	n->unreadable = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return;
	if ((n->pid = fork()) == 0)
		child_main(pair[1], n->unreadable);
	(void)close(pair[1]);
	if (n->pid == -1)
		(void)close(pair[0]);
	else
		n->fd = pair[0];
}

static int
send_device(int fd, int device)
{
	char byte = 0, room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = room,
		.msg_controllen = sizeof(room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &device, sizeof(device));
	return sendmsg(fd, &m, MSG_NOSIGNAL) == 1 ? 0 : errno;
}

int
notifier_start(struct notifier *n, struct fuse_session *session)
{
	uint32_t main_fd = (uint32_t)fuse_session_fd(session);
	int device, err = 0;

	n->session = session;
	if (n->fd == -1)
		return 0;
	if ((device = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK)) == -1)
		return errno;
	if (ioctl(device, FUSE_DEV_IOC_CLONE, &main_fd) == -1)
		err = errno;
	else
		err = send_device(n->fd, device);
	(void)close(device);
	return err;
}

/* The child is gone: two threads do it. */
static int
take_over(struct notifier *n)
{
	struct takers *t = calloc(1, sizeof(*t));
	int pair[2];

	n->takers++;
	if (n->fd != -1)
		(void)close(n->fd);
	n->fd = -1;
	/* threads of the daemon do not go */
	if (n->own != NULL || t == NULL ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1) {
		free(t);
		return ENOTCONN;
	}
	t->daemon = pair[1];
	t->device = fuse_session_fd(n->session);
	t->unreadable = n->unreadable;
	if (start_takers(t)) {
		n->fd = pair[0];
		n->own = t;
		return 0;
	}
	(void)close(pair[0]);
	(void)close(pair[1]);
	free(t);
	return EAGAIN;
}

/* The answer to the cookie; EAGAIN: not yet. */
static int
await_answer(struct notifier *n, uint64_t cookie, int msec)
{
	struct pollfd p = { .fd = n->fd, .events = POLLIN };
	struct answer a;
	int ready;

	for (;;) {
		if (n->early_cookie == cookie) {
			n->early_cookie = 0;
			return n->early_error;
		}
		if ((ready = poll(&p, 1, msec)) == -1 && errno == EINTR)
			continue;
		if (ready == 0)
			return EAGAIN;
		if (recv(n->fd, &a, sizeof(a), 0) != (ssize_t)sizeof(a))
			return EPIPE;
		if (a.cookie == cookie)
			return a.error;
		n->early_cookie = a.cookie;
		n->early_error = a.error;
	}
}

/* Stopped, by a debugger or a signal, with all that is asked of it. */
static bool
is_stopped(pid_t pid)
{
	char path[64], line[256], *state;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	os_read_text(path, line, sizeof(line));
	return (state = strrchr(line, ')')) != NULL && (state[2] == 'T' || state[2] == 't');
}

/* Nobody gains by waiting for it. */
static void
end_stopped(struct notifier *n)
{
	if (n->pid != -1 && n->own == NULL && is_stopped(n->pid))
		(void)kill(n->pid, SIGKILL);
}

/* EPIPE: nobody does it. */
static int
give_order(struct notifier *n, const struct order *o, void (*slow)(void *arg), void *arg)
{
	unsigned takers = n->takers, looks = 0;
	int err;

	if (n->fd == -1 || send(n->fd, o, sizeof(*o), MSG_NOSIGNAL) != (ssize_t)sizeof(*o))
		return EPIPE;
	while ((err = await_answer(n, o->cookie, SLOW_MSEC)) == EAGAIN) {
		if (++looks % LOOKS == 0)
			end_stopped(n);
		if (slow != NULL)
			slow(arg);
		if (n->takers != takers) /* the order was given to those who are gone */
			return give_order(n, o, slow, arg);
	}
	return err;
}

int
notifier_drop(struct notifier *n, uint64_t node, uint64_t from, uint64_t bytes, uint64_t end,
    void (*slow)(void *arg), void *arg)
{
	struct order o = { ++n->cookie, node, from, bytes, end };
	int err;

	while ((err = give_order(n, &o, slow, arg)) == EPIPE)
		if (atomic_load(&n->stops) || take_over(n) != 0)
			break;
	if (err != EPIPE || atomic_load(&n->stops))
		return err;
	return tell_kernel(
	    &(struct takers){ .device = fuse_session_fd(n->session), .unreadable = n->unreadable },
	    &o);
}

void
notifier_shut(struct notifier *n)
{
	atomic_store(&n->stops, true);
	if (n->fd != -1)
		(void)shutdown(n->fd, SHUT_RDWR);
}

void
notifier_stop(struct notifier *n)
{
	if (n->fd != -1)
		(void)close(n->fd);
	n->fd = -1;
	if (n->own != NULL) {
		await_last(n->own);
		(void)close(n->own->daemon);
		free(n->own);
		n->own = NULL;
	}
	end_stopped(n);
	while (n->pid != -1 && waitpid(n->pid, NULL, 0) == -1 && errno == EINTR)
		continue;
	n->pid = -1;
}
