/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock_client - commands for test_locks.sh: flock(2) on files of the mount beside lock_get on their
 * identities.  Prints a line for each step it has taken; goes on when it reads one.
 *
 *	lock_client HOME get FILE		lock_get WRITE, "got", wait, put
 *	lock_client HOME fill FILE		the same, in a table that has room for one lock
 *	lock_client HOME try FILE		the same with NOWAIT; "taken" and status 1
 *	lock_client HOME panic			finds the table damaged
 *	lock_client FILE1 circle FILE2		flock both of the mount's, "deadlock"
 *	lock_client HOME other FILE2 FILE1	lock_get both
 *	lock_client FILE flocks N		N descriptors wait for the one that holds
 *	lock_client FILE shared			two processes wait through one description
 *	lock_client FILE1 threads FILE2	flock FILE1, wait for FILE2 in a thread, then unlock
 *	lock_client FILE1 forked FILE2		the same, FILE1 being handed on to a child
 *	lock_client FILE full			flock(2): ENOLCK
 *	lock_client FILE converts		LOCK_SH, then LOCK_EX, beside another LOCK_SH
 *	lock_client FILE alarm			a waiting flock(2) is interrupted: EINTR
 *	lock_client FILE late			flock(2) twice; SIGUSR1 interrupts
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <poolfs/lock.h>

#include "base/os.h"
#include "lock/table.h"

static void
die(const char *what, int err)
{
	fprintf(stderr, "lock_client: %s: %s\n", what, db_strerror(err));
	exit(2);
}

static void
say(const char *what)
{
	puts(what);
	(void)fflush(stdout);
}

static void
await_line(void)
{
	char line[16];

	if (fgets(line, sizeof(line), stdin) == NULL)
		exit(3);
}

static DB_ENV env;

static DB_LOCKTAB *
open_table(const char *home)
{
	DB_LOCKTAB *lt;
	int ret;

	env.db_errfile = stderr;
	env.db_home = home;
	if ((ret = lock_open(NULL, DB_CREATE | DB_THREAD, 0, &env, &lt)) != 0)
		die("lock_open", ret);
	return lt;
}

static int
lock_file(DB_LOCKTAB *lt, u_int32_t id, const char *path, u_int32_t flags, DB_LOCK *lock)
{
	struct os_stat st;
	DBT obj = { .data = &st.ident, .size = sizeof(st.ident) };

	if (os_stat(path, &st) != 0)
		die(path, errno);
	return lock_get(lt, id, flags, &obj, DB_LOCK_WRITE, lock);
}

static int
get(const char *home, const char *path, u_int32_t flags)
{
	DB_LOCKTAB *lt = open_table(home);
	u_int32_t id;
	DB_LOCK lock;
	int ret;

	if ((ret = lock_id(lt, &id)) != 0)
		die("lock_id", ret);
	ret = lock_file(lt, id, path, flags, &lock);
	if (ret == DB_LOCK_NOTGRANTED) {
		say("taken");
		return 1;
	}
	if (ret != 0)
		die("lock_get", ret);
	say("got");
	await_line();
	if ((ret = lock_put(lt, lock)) != 0 || (ret = lock_close(lt)) != 0)
		die("lock_put", ret);
	return 0;
}

static int
panics(const char *home)
{
	DB_LOCKTAB *lt = open_table(home);

	return region_panic(lt->region, "on purpose") != DB_RUNRECOVERY;
}

/* Two descriptors of this process: it holds one file, and asks for the other. */
static int
circle(const char *held, const char *wanted)
{
	int one = open(held, O_RDONLY), two = open(wanted, O_RDONLY);

	if (one == -1 || two == -1 || flock(one, LOCK_EX) == -1)
		die(held, errno);
	say("holds");
	await_line();
	if (flock(two, LOCK_EX) == 0)
		return 1;
	if (errno != EDEADLK)
		die("flock", errno);
	say("deadlock");
	return 0;
}

/* The other half: has wanted by lock_get, and asks for held. */
static int
other_half(const char *home, const char *has, const char *asks)
{
	DB_LOCKTAB *lt = open_table(home);
	u_int32_t id;
	DB_LOCK lock;
	int ret;

	if ((ret = lock_id(lt, &id)) != 0 || (ret = lock_file(lt, id, has, 0, &lock)) != 0)
		die("lock_get", ret);
	say("holds");
	await_line();
	if ((ret = lock_file(lt, id, asks, 0, &lock)) != 0)
		die("lock_get of the second", ret);
	say("got");
	return lock_close(lt);
}

static void *
flock_one(void *path)
{
	int fd = open(path, O_RDONLY);

	if (fd == -1 || flock(fd, LOCK_EX) == -1)
		die(path, errno);
	(void)close(fd);
	return NULL;
}

static int
flocks(const char *path, int n)
{
	pthread_t *threads = calloc((size_t)n, sizeof(*threads));
	int fd = open(path, O_RDONLY);

	if (threads == NULL || fd == -1 || flock(fd, LOCK_EX) == -1)
		die(path, errno);
	for (int i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, flock_one, (void *)(uintptr_t)path) != 0)
			die("thread", EAGAIN);
	say("waiting");
	await_line();
	(void)close(fd);
	for (int i = 0; i < n; i++)
		(void)pthread_join(threads[i], NULL);
	say("done");
	free(threads);
	return 0;
}

/* Two processes wait through the same description, for the one that another has. */
static int
shared(const char *path)
{
	int one = open(path, O_RDONLY), two = open(path, O_RDONLY), status, failed = 0;

	if (one == -1 || two == -1 || flock(one, LOCK_EX) == -1)
		die(path, errno);
	for (int i = 0; i < 2; i++)
		if (fork() == 0) {
			(void)close(one);
			_exit(flock(two, LOCK_EX) == 0 ? 0 : errno);
		}
	say("waiting");
	await_line();
	if (flock(one, LOCK_UN) == -1)
		die("unlock", errno);
	for (int i = 0; i < 2; i++)
		failed |= wait(&status) == -1 || status != 0;
	if (flock(one, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		die("the description has it", errno);
	return failed;
}

static void *
flock_result(void *path)
{
	int fd = open(path, O_RDONLY);

	return (void *)(intptr_t)(fd != -1 && flock(fd, LOCK_EX) == 0 ? 0 : errno);
}

/* One thread waits for wanted; another releases held, for which that one's holder waits. */
static int
threads(const char *held, const char *wanted)
{
	int fd = open(held, O_RDONLY);
	pthread_t thread;
	void *err;

	if (fd == -1 || flock(fd, LOCK_EX) == -1)
		die(held, errno);
	say("holds");
	await_line();
	if (pthread_create(&thread, NULL, flock_result, (void *)(uintptr_t)wanted) != 0)
		die("thread", EAGAIN);
	await_line();
	if (flock(fd, LOCK_UN) == -1)
		die(held, errno);
	(void)pthread_join(thread, &err);
	if (err != NULL)
		die(wanted, (int)(intptr_t)err);
	return 0;
}

/* The description was handed on: who holds it is not who waits. */
static int
forked(const char *held, const char *wanted)
{
	int fd = open(held, O_RDONLY), other, status;
	pid_t child;

	if (fd == -1 || flock(fd, LOCK_EX) == -1)
		die(held, errno);
	say("holds");
	await_line();
	if ((child = fork()) == 0) {
		await_line();
		_exit(flock(fd, LOCK_UN) == 0 ? 0 : 1);
	}
	(void)close(fd);
	if ((other = open(wanted, O_RDONLY)) == -1 || flock(other, LOCK_EX) == -1)
		die(wanted, errno);
	return waitpid(child, &status, 0) != child || status != 0;
}

static int
full(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd == -1 || flock(fd, LOCK_EX) == 0 || errno != ENOLCK)
		die(path, errno);
	return 0;
}

static void *
flock_this(void *fd)
{
	return (void *)(intptr_t)(flock((int)(intptr_t)fd, LOCK_EX) == 0 ? 0 : errno);
}

/* LOCK_SH is given up when LOCK_EX is asked for. */
static int
converts(const char *path)
{
	int one = open(path, O_RDONLY), two = open(path, O_RDONLY);
	pthread_t thread;
	void *err;

	if (one == -1 || two == -1 || flock(one, LOCK_SH) == -1 || flock(two, LOCK_SH) == -1)
		die(path, errno);
	if (pthread_create(&thread, NULL, flock_this, (void *)(intptr_t)one) != 0)
		die("thread", EAGAIN);
	say("waiting");
	await_line();
	if (flock(two, LOCK_UN) == -1)
		die("unlock", errno);
	(void)pthread_join(thread, &err);
	return err != NULL;
}

static void
on_alarm(int sig)
{
	(void)sig;
}

static int
interrupted(const char *path)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	int one = open(path, O_RDONLY), two = open(path, O_RDONLY);

	(void)sigaction(SIGALRM, &sa, NULL);
	if (one == -1 || two == -1 || flock(one, LOCK_EX) == -1)
		die(path, errno);
	(void)ualarm(100000, 100000);
	if (flock(two, LOCK_EX) == 0 || errno != EINTR)
		die("flock", errno);
	(void)ualarm(0, 0);
	if (flock(one, LOCK_UN) == -1 || flock(two, LOCK_EX | LOCK_NB) == -1)
		die("flock after that", errno);
	return 0;
}

/* Whoever comes with a signal while the lock is granted changes nothing, now or later. */
static int
late(const char *path)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	int fd = open(path, O_RDONLY);

	(void)sigaction(SIGUSR1, &sa, NULL);
	if (fd == -1 || flock(fd, LOCK_EX) == -1)
		die("flock", errno);
	say("granted");
	await_line();
	if (flock(fd, LOCK_UN) == -1)
		die("unlock", errno);
	say("unlocked");
	await_line();
	if (flock(fd, LOCK_EX) == -1)
		die("flock after that", errno);
	say("again");
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[2], "get") == 0)
		return get(argv[1], argv[3], 0);
	if (argc == 4 && strcmp(argv[2], "fill") == 0) {
		env.lk_max = 1;
		return get(argv[1], argv[3], 0);
	}
	if (argc == 4 && strcmp(argv[2], "try") == 0)
		return get(argv[1], argv[3], DB_LOCK_NOWAIT);
	if (argc == 4 && strcmp(argv[2], "circle") == 0)
		return circle(argv[1], argv[3]);
	if (argc == 5 && strcmp(argv[2], "other") == 0)
		return other_half(argv[1], argv[3], argv[4]);
	if (argc == 4 && strcmp(argv[2], "flocks") == 0)
		return flocks(argv[1], atoi(argv[3]));
	if (argc == 3 && strcmp(argv[2], "panic") == 0)
		return panics(argv[1]);
	if (argc == 3 && strcmp(argv[2], "shared") == 0)
		return shared(argv[1]);
	if (argc == 4 && strcmp(argv[2], "threads") == 0)
		return threads(argv[1], argv[3]);
	if (argc == 4 && strcmp(argv[2], "forked") == 0)
		return forked(argv[1], argv[3]);
	if (argc == 3 && strcmp(argv[2], "full") == 0)
		return full(argv[1]);
	if (argc == 3 && strcmp(argv[2], "converts") == 0)
		return converts(argv[1]);
	if (argc == 3 && strcmp(argv[2], "alarm") == 0)
		return interrupted(argv[1]);
	if (argc == 3 && strcmp(argv[2], "late") == 0)
		return late(argv[1]);
	fprintf(stderr, "lock_client: usage\n");
	return 2;
}
