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
 * The child has a thread for each order that waits, and one more (TAKERS_MOST), so that one page
 * which is slow to come from a disk holds up no other.  When it was killed, threads of the daemon
 * do the same.
 *
 * Any thread of the daemon may give orders.  Of those who wait for answers one listens, for all.
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
#include "coherence.h"
#include "ops.h"

/* The kernel gives nothing to a reader with less room than for its largest write, and headers. */
#define REQUEST_BYTES (((size_t)1 << 20) + 65536)
#define DRAIN_MSEC 20
#define SLOW_USEC 20000u
#define LOOKS 50u  /* of SLOW_USEC, between looks whether the child stands still */
#define TRIES 100u /* of a notice */
#define TRY_USEC 1000u
#define TAKERS_MOST (2 * COHERENCE_THREADS + 8) /* an order of each, one aside, and some more */

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

/* Those who take orders. */
struct takers {
	int daemon, device;
	void *unreadable;
	atomic_uint left; /* that have not ended: the daemon is there, or they wait in the kernel */
	atomic_uint free; /* of these: wait for an order */
};

static int
raise_end(const struct takers *t, const struct order *o)
{
	struct fuse_notify_store_out what = { .nodeid = o->node, .offset = o->end - 1, .size = 1 };
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

/* All of it is done, whatever fails. */
static int
tell_kernel(const struct takers *t, const struct order *o)
{
	int raised = o->end == 0 ? 0 : raise_end(t, o), dropped = drop_pages(t->device, o);

	return dropped != 0 ? dropped : raised;
}

static bool start_taker(struct takers *t);

static void *
orders_main(void *arg)
{
	struct takers *t = arg;
	struct answer a;
	struct order o;

	while (recv(t->daemon, &o, sizeof(o), 0) == (ssize_t)sizeof(o)) {
		if (atomic_fetch_sub(&t->free, 1) == 1)
			(void)start_taker(t);
		a = (struct answer){ .cookie = o.cookie, .error = tell_kernel(t, &o) };
		(void)atomic_fetch_add(&t->free, 1);
		if (send(t->daemon, &a, sizeof(a), MSG_NOSIGNAL) == -1)
			break;
	}
	(void)atomic_fetch_sub(&t->left, 1);
	return NULL;
}

/* False: there is no other one; those that there are go on. */
static bool
start_taker(struct takers *t)
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
	if ((t.device = receive_device(t.daemon)) != -1 && start_taker(&t))
		await_end(&t);
	_exit(0);
}

/* --- the daemon ---------------------------------------------------------------------------- */

void
notifier_fork(struct notifier *n)
{
	int pair[2];

	n->fd = n->old_fd = -1;
	n->pid = -1;
	link_init(&n->waiters);
	(void)pthread_mutex_init(&n->lock, NULL);
	(void)pthread_cond_init(&n->answered, NULL);
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

/* The threads of the daemon that do it instead; NULL: there cannot be any. */
static struct takers *
start_own(const struct notifier *n, int fd)
{
	struct takers *t;

	if ((t = calloc(1, sizeof(*t))) == NULL)
		return NULL;
	t->daemon = fd;
	t->device = fuse_session_fd(n->session);
	t->unreadable = n->unreadable;
	if (start_taker(t))
		return t;
	free(t);
	return NULL;
}

/* The child is gone; threads of the daemon do not go. */
static int
take_over_locked(struct notifier *n)
{
	int pair[2];

	n->takers++;
	(void)pthread_cond_broadcast(&n->answered);
	/* somebody may still use it */
	if (n->own == NULL)
		n->old_fd = n->fd;
	n->fd = -1;
	if (n->own != NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return ENOTCONN;
	if ((n->own = start_own(n, pair[1])) == NULL) {
		(void)close(pair[0]);
		(void)close(pair[1]);
		return EAGAIN;
	}
	n->fd = pair[0];
	return 0;
}

/* Who orders were given to at that time is gone: others are there, or not. */
static int
take_over(struct notifier *n, unsigned takers)
{
	int err;

	(void)pthread_mutex_lock(&n->lock);
	if (n->takers == takers)
		err = take_over_locked(n);
	else
		err = n->fd == -1 ? ENOTCONN : 0;
	(void)pthread_mutex_unlock(&n->lock);
	return err;
}

/* --- waiting for an answer ----------------------------------------------------------------- */

struct waiter {
	struct link link; /* [n] in notifier.waiters */
	uint64_t cookie;
	bool answered;
	int error;
};

static void
give_answer_locked(struct notifier *n, const struct answer *a)
{
	for (struct link *l = n->waiters.next; l != &n->waiters; l = l->next) {
		struct waiter *w = link_entry(l, struct waiter, link);

		if (w->cookie == a->cookie) {
			w->answered = true;
			w->error = a->error;
		}
	}
}

/* EAGAIN: no answer came; EPIPE: none will. */
static int
hear(int fd, uint64_t usec, struct answer *a)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int ready = poll(&p, 1, (int)(usec / 1000 + 1));

	if (ready == 0 || (ready == -1 && errno == EINTR))
		return EAGAIN;
	return recv(fd, a, sizeof(*a), 0) == (ssize_t)sizeof(*a) ? 0 : EPIPE;
}

/* For whoever it is. */
static int
listen_locked(struct notifier *n, uint64_t usec)
{
	int fd = n->fd, err;
	struct answer a;

	n->listens = true;
	(void)pthread_mutex_unlock(&n->lock);
	err = hear(fd, usec, &a);
	(void)pthread_mutex_lock(&n->lock);
	n->listens = false;
	if (err == 0)
		give_answer_locked(n, &a);
	(void)pthread_cond_broadcast(&n->answered);
	return err == EPIPE ? EPIPE : 0;
}

static int
wait_locked(struct notifier *n, uint64_t usec)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)usec * 1000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_cond_timedwait(&n->answered, &n->lock, &until);
	return 0;
}

/* EAGAIN: not for a while; EPIPE: those who were asked at that time are gone. */
static int
await_answer_locked(struct notifier *n, const struct waiter *w, unsigned takers)
{
	uint64_t until = os_monotonic_usec() + SLOW_USEC, now;
	int err = 0;

	while (err == 0 && !w->answered) {
		if (n->takers != takers || n->fd == -1)
			return EPIPE;
		if ((now = os_monotonic_usec()) >= until)
			return EAGAIN;
		err = n->listens ? wait_locked(n, until - now) : listen_locked(n, until - now);
	}
	return w->answered ? w->error : err;
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

/* EPIPE: those who were there at *takersp do not do it. */
static int
give_order(struct notifier *n, const struct order *o, unsigned *takersp, void (*slow)(void *arg),
    void *arg)
{
	struct waiter w = { .cookie = o->cookie };
	unsigned looks = 0;
	int fd, err;

	(void)pthread_mutex_lock(&n->lock);
	*takersp = n->takers;
	fd = n->fd;
	link_append(&n->waiters, &w.link);
	(void)pthread_mutex_unlock(&n->lock);
	err = fd != -1 && send(fd, o, sizeof(*o), MSG_NOSIGNAL) == (ssize_t)sizeof(*o) ? EAGAIN :
											 EPIPE;
	(void)pthread_mutex_lock(&n->lock);
	while (err == EAGAIN && (err = await_answer_locked(n, &w, *takersp)) == EAGAIN) {
		(void)pthread_mutex_unlock(&n->lock);
		if (++looks % LOOKS == 0)
			end_stopped(n);
		if (slow != NULL)
			slow(arg);
		(void)pthread_mutex_lock(&n->lock);
	}
	link_remove(&w.link);
	(void)pthread_mutex_unlock(&n->lock);
	return err;
}

int
notifier_drop(struct notifier *n, uint64_t node, uint64_t from, uint64_t bytes, uint64_t end,
    void (*slow)(void *arg), void *arg)
{
	struct order o = { atomic_fetch_add(&n->cookie, 1) + 1, node, from, bytes, end };
	unsigned takers;
	int err;

	while ((err = give_order(n, &o, &takers, slow, arg)) == EPIPE)
		if (atomic_load(&n->stops) || take_over(n, takers) != 0)
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
	(void)pthread_mutex_lock(&n->lock);
	if (n->fd != -1)
		(void)shutdown(n->fd, SHUT_RDWR);
	(void)pthread_mutex_unlock(&n->lock);
}

void
notifier_stop(struct notifier *n)
{
	if (n->fd != -1)
		(void)close(n->fd);
	if (n->old_fd != -1)
		(void)close(n->old_fd);
	n->fd = n->old_fd = -1;
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
