/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/identity.c - the caller's rights for the length of a system call.
 *
 * On Linux the filesystem ids, the supplementary groups (by the raw system call; glibc's wrapper
 * changes all threads) and, once a thread has unshared it, the umask belong to a thread.  A
 * daemon run by root takes the caller's before it creates, opens or changes anything in HOME, so
 * that permission, ACLs, owners and quotas are decided there and not here.  setfsuid(2) to
 * anybody but root also takes the file capabilities away until root's number is set again.
 *
 * The umask is set even where the daemon is not root, because whether it applies depends on the
 * default ACL of the directory, which only HOME's filesystem knows.
 *
 * CAP_SYS_RESOURCE is dropped for good: with it, the daemon's reservations would ignore quotas.
 */
#include "identity.h"

#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GROUPS_MOST 1024

static bool is_root;
static bool can_switch;
static mode_t own_umask;

static __thread struct {
	bool unshared; /* the umask is this thread's own */
	bool switched;
	mode_t umask;
} self;

static void
look_at_capabilities(void)
{
	const uint32_t switching = 1u << CAP_SETUID | 1u << CAP_SETGID;
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) == -1)
		return;
	can_switch = (data[0].effective & switching) == switching;
	data[0].effective &= ~(1u << CAP_SYS_RESOURCE);
	(void)syscall(SYS_capset, &head, data);
}

void
identity_init(void)
{
	is_root = geteuid() == 0;
	own_umask = umask(0);
	(void)umask(own_umask);
	if (is_root)
		look_at_capabilities();
}

bool
identity_can_switch(void)
{
	return !is_root || can_switch;
}

/* The numbers behind "Groups:" in the status of a thread. */
static size_t
parse_groups(const char *line, gid_t *groups)
{
	size_t n = 0;
	char *end;

	for (; n < GROUPS_MOST; line = end) {
		unsigned long gid = strtoul(line, &end, 10);

		if (end == line)
			break;
		groups[n++] = (gid_t)gid;
	}
	return n;
}

static size_t
read_groups(pid_t pid, gid_t *groups)
{
	char path[64], line[GROUPS_MOST * 11 + 16];
	size_t n = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, (int)pid);
	if (pid == 0 || (f = fopen(path, "re")) == NULL)
		return 0;
	while (fgets(line, (int)sizeof(line), f) != NULL)
		if (strncmp(line, "Groups:", 7) == 0) {
			n = parse_groups(line + 7, groups);
			break;
		}
	(void)fclose(f);
	return n;
}

static void
switch_user(const struct caller *c)
{
	gid_t groups[GROUPS_MOST];
	size_t n;

	if (c->uid != 0) {
		/* A caller that is gone already has no groups: less is allowed, never more. */
		n = read_groups(c->pid, groups);
		(void)syscall(SYS_setgroups, n, groups);
	}
	(void)setfsgid(c->gid);
	(void)setfsuid(c->uid);
	self.switched = true;
}

static void
switch_umask(mode_t mask)
{
	if (!self.unshared) {
		if (unshare(CLONE_FS) == -1)
			return;
		self.unshared = true;
		self.umask = own_umask;
	}
	if (self.umask != mask)
		(void)umask(mask);
	self.umask = mask;
}

void
identity_enter(const struct caller *c)
{
	switch_umask(c->umask);
	if (is_root && (c->uid != 0 || c->gid != 0))
		switch_user(c);
}

/* Where a thread cannot have a umask of its own, default ACLs are not asked. */
mode_t
identity_mode(const struct caller *c, mode_t mode)
{
	return self.unshared ? mode : mode & ~c->umask;
}

void
identity_leave(void)
{
	if (self.switched) {
		(void)setfsuid(0);
		(void)setfsgid(0);
		self.switched = false;
	}
	switch_umask(own_umask);
}
