/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crew_t.h - several worker processes, of which some are killed at random instants and started
 * again.  A worker that is to be killed arms a timer that sends it SIGKILL, so that the kill comes
 * at any instruction.
 */
#ifndef TESTS_CREW_T_H
#define TESTS_CREW_T_H

#include "t.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4

#define PF_EXITING 0x4u /* proc(5), flags: comes before the kernel lets go of its locks */

/* Ended or ending, whether its parent has noticed or not. */
static inline bool
process_is_dead(pid_t pid)
{
	char path[40], text[512] = "", state = 0;
	unsigned flags = 0;
	const char *p;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if ((fd = open(path, O_RDONLY)) == -1)
		return true;
	(void)!read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if ((p = strrchr(text, ')')) == NULL ||
	    sscanf(p + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
		return true;
	return state == 'Z' || state == 'X' || (flags & PF_EXITING) != 0;
}

/* What a worker finds of itself, in what its function is given. */
struct crew {
	unsigned id; /* of the worker */
	unsigned seed;
	unsigned kill_usec; /* 0: not killed; else after so long at most */
};

/* The first thing that a worker does. */
static inline void
crew_arm_kill(const struct crew *w, unsigned *seedp)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	struct itimerspec at = { 0 };
	timer_t timer;

	if (w->kill_usec == 0)
		return;
	at.it_value.tv_nsec = (long)((unsigned)rand_r(seedp) % w->kill_usec) * 1000 + 1;
	t_check(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
	t_check(timer_settime(timer, 0, &at, NULL) == 0);
}

/* Start worker id anew; while there are kills left, one that is killed. */
static inline void
crew_start(struct crew *w, struct t_child *c, unsigned id, unsigned *killsp,
    int (*work)(struct t_child *c, void *arg), void *arg)
{
	unsigned kill_usec = w->kill_usec;

	w->id = id;
	w->seed = w->seed * 1103515245u + 12345u;
	if (*killsp == 0)
		w->kill_usec = 0;
	else
		(*killsp)--;
	t_fork(c, work, arg);
	w->kill_usec = kill_usec;
}

/* Until all workers have come to an end by themselves.  w is in what arg points to. */
static inline void
crew_run(struct crew *w, unsigned kills, int (*work)(struct t_child *c, void *arg), void *arg)
{
	struct t_child c[WORKERS];
	unsigned running = WORKERS;

	for (unsigned i = 0; i < WORKERS; i++)
		crew_start(w, &c[i], i, &kills, work, arg);
	while (running > 0) {
		int status;
		pid_t pid = wait(&status);

		t_check(pid > 0);
		for (unsigned i = 0; i < WORKERS; i++) {
			if (c[i].pid != pid)
				continue;
			(void)close(c[i].in);
			(void)close(c[i].out);
			c[i].pid = 0;
			if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && w->kill_usec > 0)
				crew_start(w, &c[i], i, &kills, work, arg);
			else {
				t_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
				running--;
			}
		}
	}
}

#endif
