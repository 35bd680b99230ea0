/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs_patience.c - not to wait for ever, or not without a word.
 *
 * A system call on a mount whose daemon is stopped, or hangs, returns when the daemon answers;
 * once the daemon has read the request, not even SIGKILL ends that.  So a child asks first, which
 * is left behind if it gets no answer.  And while something is awaited that may take long for
 * good reasons, a thread looks at the clock and says once what that is.
 *
 * One wait at a time, begun and ended by the same thread.  Without memory for the child or the
 * thread nobody is asked, and nothing said.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "poolfs.h"

/* --- does it answer? ----------------------------------------------------------------------- */

/* The child may stay: it holds nothing that somebody reads from. */
__attribute__((noreturn)) static void
ask(const char *mountpoint)
{
	int fd = open("/dev/null", O_RDWR);
	char pid[32];

	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		(void)dup2(fd, i);
	(void)!getxattr(mountpoint, "user.poolfs.pid", pid, sizeof(pid));
	_exit(EXIT_SUCCESS);
}

static bool
ends_within(pid_t child, unsigned seconds)
{
	struct pollfd p = { .events = POLLIN };
	int ret;

	if ((p.fd = (int)syscall(SYS_pidfd_open, child, 0)) == -1)
		return true;
	do
		ret = poll(&p, 1, (int)seconds * 1000);
	while (ret == -1 && errno == EINTR);
	os_close(p.fd);
	return ret != 0;
}

bool
patience_answers(const char *mountpoint, unsigned seconds)
{
	pid_t child;

	if ((child = fork()) == 0)
		ask(mountpoint);
	if (child == -1)
		return true;
	if (!ends_within(child, seconds)) {
		(void)kill(child, SIGKILL);
		return false;
	}
	(void)waitpid(child, NULL, 0);
	return true;
}

/* --- what is it waiting for? --------------------------------------------------------------- */

static struct {
	pthread_t thread;
	bool runs;
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool is_over; /* [lock] */
	struct timespec until;
	char sentence[512];
} patience = { .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER };

static void *
patience_main(void *arg)
{
	int err = 0;

	(void)pthread_mutex_lock(&patience.lock);
	while (!patience.is_over && err != ETIMEDOUT)
		err = pthread_cond_clockwait(
		    &patience.over, &patience.lock, CLOCK_MONOTONIC, &patience.until);
	if (!patience.is_over)
		complain("%s", patience.sentence);
	(void)pthread_mutex_unlock(&patience.lock);
	return arg;
}

void
patience_begin(const char *mountpoint, const char *does_what, unsigned seconds)
{
	(void)snprintf(
	    patience.sentence, sizeof(patience.sentence), "%s %s", mountpoint, does_what);
	(void)clock_gettime(CLOCK_MONOTONIC, &patience.until);
	patience.until.tv_sec += seconds;
	patience.is_over = false;
	patience.runs = pthread_create(&patience.thread, NULL, patience_main, NULL) == 0;
}

void
patience_end(void)
{
	if (!patience.runs)
		return;
	(void)pthread_mutex_lock(&patience.lock);
	patience.is_over = true;
	(void)pthread_cond_signal(&patience.over);
	(void)pthread_mutex_unlock(&patience.lock);
	(void)pthread_join(patience.thread, NULL);
	patience.runs = false;
}
