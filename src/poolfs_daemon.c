/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolfs_daemon.c - into the background, and telling when the work can begin.
 *
 * The fork comes first, before the pool is opened and threads exist (neither survives one).  The
 * parent waits at a pipe until the child has said that the mount answers, and exits 0; if the
 * pipe closes without that word, the child has failed, has said why on the standard error that it
 * still shares with its parent, and the parent exits with its status.  Only when it is ready does
 * the child give up its terminal: standard streams and log.
 *
 * In the foreground a service manager is told (READY=1 to NOTIFY_SOCKET), if there is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "poolfs.h"

struct daemon {
	bool foreground;
	int pipe; /* to the parent, or -1 */
};

/* --- the parent ---------------------------------------------------------------------------- */

static int
child_status(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) == -1)
		if (errno != EINTR)
			return EXIT_FAILURE;
	if (WIFSIGNALED(status)) {
		complain(
		    "the daemon was killed by signal %d before it was ready", WTERMSIG(status));
		return EXIT_FAILURE;
	}
	return WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE;
}

__attribute__((noreturn)) static void
parent_wait(pid_t child, int fd)
{
	char word;
	ssize_t n;

	do
		n = read(fd, &word, 1);
	while (n == -1 && errno == EINTR);
	/* _exit: what is buffered belongs to the child now. */
	_exit(n == 1 ? EXIT_SUCCESS : child_status(child));
}

/* --- the child ----------------------------------------------------------------------------- */

static int
go_to_background(struct daemon *d)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) == -1 || (child = fork()) == -1) {
		complain("cannot start a daemon: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	if (child != 0) {
		(void)close(fds[1]);
		parent_wait(child, fds[0]);
	}
	(void)close(fds[0]);
	(void)setsid();
	/* Before there are threads: with their own umask they have a directory of their own. */
	if (chdir("/") == -1)
		complain("cannot change to /: %s", strerror(errno));
	d->pipe = fds[1];
	return 0;
}

int
daemon_start(bool foreground, struct daemon **dp)
{
	struct daemon *d;
	int ret;

	if ((d = calloc(1, sizeof(*d))) == NULL) {
		complain("not enough memory");
		return EXIT_FAILURE;
	}
	d->foreground = foreground;
	d->pipe = -1;
	if (!foreground && (ret = go_to_background(d)) != 0) {
		free(d);
		return ret;
	}
	*dp = d;
	return 0;
}

static void
leave_terminal(void)
{
	int fd;

	fs_log_to_syslog();
	if ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) == -1)
		return;
	(void)dup2(fd, STDIN_FILENO);
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

static void
notify_manager(void)
{
	static const char word[] = "READY=1";
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	socklen_t len;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@') ||
	    strlen(path) >= sizeof(to.sun_path))
		return;
	(void)strcpy(to.sun_path, path);
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) == -1)
		return;
	(void)sendto(fd, word, sizeof(word) - 1, MSG_NOSIGNAL, (struct sockaddr *)&to, len);
	(void)close(fd);
}

void
daemon_ready(struct daemon *d, int error)
{
	if (error != 0)
		return;
	if (d->foreground) {
		notify_manager();
		return;
	}
	leave_terminal();
	if (write(d->pipe, "r", 1) == -1)
		fs_log(LOG_WARNING, "nobody waited for the mount to be ready");
	(void)close(d->pipe);
	d->pipe = -1;
}

void
daemon_fini(struct daemon *d)
{
	free(d);
}
