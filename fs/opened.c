/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/opened.c - which processes have a file open: /proc/PID/fd, for those who must not be wrong.
 *
 * The daemon does not learn who shares an open file description: fork(2), clone(2) and sockets hand
 * it on without a request.  A description that only one process can have is one of whose file no
 * other process has any descriptor.  Whatever cannot be looked at may have one.
 */
#include "opened.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"

/* Of files with one inode number. */
struct device {
	uint32_t major, minor;
	unsigned n; /* different ones */
	bool again; /* that one was met once more */
};

static void
note_device(struct device *d, uint32_t major, uint32_t minor)
{
	if (d->n > 0 && d->major == major && d->minor == minor) {
		d->again = true;
		return;
	}
	if (d->n++ > 0)
		return;
	d->major = major;
	d->minor = minor;
}

/* A number behind a word at the beginning of a line of its status; false: there is none. */
static bool
read_status(pid_t pid, const char *word, uint64_t *valuep)
{
	char path[40], line[256];
	bool found = false;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (pid <= 0 || (f = fopen(path, "re")) == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, word, strlen(word)) == 0) {
			*valuep = strtoull(line + strlen(word), NULL, 10);
			found = true;
		}
	(void)fclose(f);
	return found;
}

pid_t
opened_process_of(pid_t tid)
{
	uint64_t pid = 0;

	return read_status(tid, "Tgid:", &pid) ? (pid_t)pid : tid;
}

bool
opened_by_one_thread(pid_t pid)
{
	uint64_t threads = 0;

	return read_status(pid, "Threads:", &threads) && threads == 1;
}

/*
 * The devices of the files with that inode number that a process has open: the first of them, and
 * how many others.  The kernel answers from what it knows: a file of our own mount is no request to
 * ourselves.  False: it cannot be told.
 */
static bool
find_open(pid_t pid, uint64_t ino, struct device *found)
{
	char path[300];
	const struct dirent *e;
	struct statx st;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	if ((d = opendir(path)) == NULL)
		/* One that has ended has nothing. */
		return errno == ENOENT || errno == ESRCH;
	while ((e = readdir(d)) != NULL) {
		if (statx(dirfd(d), e->d_name, AT_STATX_DONT_SYNC, STATX_INO, &st) != 0 ||
		    st.stx_ino != ino)
			continue;
		note_device(found, st.stx_dev_major, st.stx_dev_minor);
	}
	(void)closedir(d);
	return true;
}

bool
opened_by_it_alone(pid_t pid, uint64_t ino)
{
	struct device own = { 0 };
	const struct dirent *e;
	bool alone;
	int other;
	DIR *d;

	/* If it has two of that number, it is not known which is meant. */
	if (!find_open(pid, ino, &own) || own.n != 1 || (d = opendir("/proc")) == NULL)
		return false;
	for (alone = true; alone && (e = readdir(d)) != NULL;) {
		struct device theirs = own;

		other = atoi(e->d_name);
		if (other <= 0 || other == (int)pid || other == (int)getpid())
			continue;
		theirs.again = false;
		alone = find_open(other, ino, &theirs) && !theirs.again;
	}
	(void)closedir(d);
	return alone;
}
