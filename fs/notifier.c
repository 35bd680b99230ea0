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
#include "takers.h"

#define SLOW_USEC 20000u
#define LOOKS 50u /* of SLOW_USEC, between looks whether the child stands still */

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
		takers_main(pair[1], n->unreadable);
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
	if (takers_start(t))
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
	if (n->own == NULL && n->fd != -1)
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

static void
give_answer_locked(struct notifier *n, const struct answer *a)
{
	for (struct link *l = n->waiters.next; l != &n->waiters; l = l->next) {
		struct notifier_wait *w = link_entry(l, struct notifier_wait, link);

		if (w->cookie == a->cookie) {
			w->error = a->error;
			atomic_store(&w->answered, true);
		}
	}
}

/* EAGAIN: no answer came; EPIPE: none will. */
static int
hear(int fd, uint64_t usec, struct answer *a)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int ready = poll(&p, 1, (int)((usec + 999) / 1000));

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

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)usec * 1000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_cond_clockwait(&n->answered, &n->lock, CLOCK_MONOTONIC, &until);
	return 0;
}

/* EAGAIN: not for that long; EPIPE: those who were asked at that time are gone. */
static int
await_answer_locked(struct notifier *n, const struct notifier_wait *w, uint64_t usec)
{
	uint64_t now = os_monotonic_usec(), until = now + usec;
	int err = 0;

	for (; !atomic_load(&w->answered); now = os_monotonic_usec()) {
		if (n->takers != w->takers || n->fd == -1 || err != 0)
			return EPIPE;
		if (now > until)
			return EAGAIN;
		err = n->listens ? wait_locked(n, until - now) : listen_locked(n, until - now);
	}
	return w->error;
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

/* EPIPE: nobody takes it. */
static int
send_order(struct notifier *n, enum order_kind kind, uint64_t node, uint64_t from, uint64_t bytes,
    struct notifier_wait *w)
{
	struct order o = { atomic_fetch_add(&n->cookie, 1) + 1, node, from, bytes, kind };
	int fd;

	w->cookie = o.cookie;
	atomic_store(&w->answered, false);
	(void)pthread_mutex_lock(&n->lock);
	w->takers = n->takers;
	fd = n->fd;
	link_append(&n->waiters, &w->link);
	(void)pthread_mutex_unlock(&n->lock);
	return fd != -1 && send(fd, &o, sizeof(o), MSG_NOSIGNAL) == (ssize_t)sizeof(o) ? 0 : EPIPE;
}

/* EPIPE: those who were there when it was sent do not do it. */
static int
await_order(struct notifier *n, struct notifier_wait *w, void (*slow)(void *arg), void *arg)
{
	unsigned looks = 0;
	int err;

	(void)pthread_mutex_lock(&n->lock);
	while ((err = await_answer_locked(n, w, SLOW_USEC)) == EAGAIN) {
		(void)pthread_mutex_unlock(&n->lock);
		if (++looks % LOOKS == 0)
			end_stopped(n);
		if (slow != NULL)
			slow(arg);
		(void)pthread_mutex_lock(&n->lock);
	}
	(void)pthread_mutex_unlock(&n->lock);
	return err;
}

static void
forget_wait(struct notifier *n, struct notifier_wait *w)
{
	(void)pthread_mutex_lock(&n->lock);
	link_remove(&w->link);
	(void)pthread_mutex_unlock(&n->lock);
}

/* Until somebody has done it, or the mount ends. */
static int
give_order(struct notifier *n, enum order_kind kind, uint64_t node, uint64_t from, uint64_t bytes,
    void (*slow)(void *arg), void *arg)
{
	struct order o = { 0, node, from, bytes, kind };
	struct notifier_wait w;
	int err;

	do {
		if ((err = send_order(n, kind, node, from, bytes, &w)) == 0)
			err = await_order(n, &w, slow, arg);
		forget_wait(n, &w);
	} while (err == EPIPE && !atomic_load(&n->stops) && take_over(n, w.takers) == 0);
	if (err != EPIPE || atomic_load(&n->stops))
		return err;
	return takers_tell(
	    &(struct takers){ .device = fuse_session_fd(n->session), .unreadable = n->unreadable },
	    &o);
}

int
notifier_drop(struct notifier *n, uint64_t node, uint64_t from, uint64_t bytes,
    void (*slow)(void *arg), void *arg)
{
	return give_order(n, ORDER_DROP, node, from, bytes, slow, arg);
}

int
notifier_raise(struct notifier *n, uint64_t node, uint64_t end, void (*slow)(void *arg), void *arg)
{
	return give_order(n, ORDER_RAISE, node, end, 0, slow, arg);
}

/* --- fences -------------------------------------------------------------------------------- */

bool
notifier_fence(struct notifier *n, uint64_t node, struct notifier_wait *w)
{
	if (atomic_fetch_add(&n->fences, 1) < FENCES_MOST) {
		if (send_order(n, ORDER_FENCE, node, 0, 0, w) == 0)
			return true;
		forget_wait(n, w);
	}
	(void)atomic_fetch_sub(&n->fences, 1);
	return false;
}

enum notifier_passed
notifier_look(const struct notifier *n, const struct notifier_wait *w)
{
	if (atomic_load(&w->answered))
		return NOTIFIER_PASSED;
	if (atomic_load(&n->takers) != w->takers || atomic_load(&n->stops))
		return NOTIFIER_LOST;
	return NOTIFIER_WAITS;
}

void
notifier_listen(struct notifier *n, unsigned usec)
{
	unsigned takers;
	int err = 0;

	(void)pthread_mutex_lock(&n->lock);
	takers = n->takers;
	if (n->fd != -1)
		err = n->listens ? wait_locked(n, usec) : listen_locked(n, usec);
	(void)pthread_mutex_unlock(&n->lock);
	if (err == EPIPE && !atomic_load(&n->stops))
		(void)take_over(n, takers);
}

void
notifier_fence_end(struct notifier *n, struct notifier_wait *w)
{
	forget_wait(n, w);
	(void)atomic_fetch_sub(&n->fences, 1);
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
		takers_await_last(n->own);
		(void)close(n->own->daemon);
		free(n->own);
		n->own = NULL;
	}
	end_stopped(n);
	while (n->pid != -1 && waitpid(n->pid, NULL, 0) == -1 && errno == EINTR)
		continue;
	n->pid = -1;
}
