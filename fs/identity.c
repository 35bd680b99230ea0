/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/identity.c - the caller's rights for the length of a system call.
 *
 * On Linux the filesystem ids, the supplementary groups (by the raw system call; glibc's wrapper
 * changes all threads) and, once a thread has unshared it, the umask belong to a thread.  A
 * daemon run by root takes the caller's before it creates, opens or changes anything in HOME, so
 * that permission, ACLs, owners and quotas are decided there and not here.  setfsuid(2) to
 * anybody but root also takes the file capabilities away until root's number is set again; those
 * that the caller has, though not root, are left.  A request does not say them, so they are read
 * where the groups are.  They count only in the daemon's own user namespace: in another anybody
 * can have them all.
 *
 * The umask is set even where the daemon is not root, because whether it applies depends on the
 * default ACL of the directory, which only HOME's filesystem knows.
 *
 * CAP_SYS_RESOURCE is dropped for good: with it, the daemon's reservations would ignore quotas.
 */
#include "identity.h"

#include <errno.h>
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

/* Those that setfsuid(2) takes and gives. */
#define FILE_CAPS                                                                                  \
	(1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_FOWNER | \
	    1u << CAP_FSETID | 1u << CAP_LINUX_IMMUTABLE | 1u << CAP_MKNOD)

static bool is_root;
static bool can_switch;
static mode_t own_umask;
static struct stat own_namespace; /* of users */

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
	(void)stat("/proc/self/ns/user", &own_namespace);
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

/* What a request does not say of its caller. */
struct rights {
	gid_t groups[GROUPS_MOST];
	size_t ngroups;
	uint64_t caps;
	uid_t fsuid;
};

static void
parse_line(const char *line, struct rights *r)
{
	unsigned long fsuid;

	if (strncmp(line, "Groups:", 7) == 0)
		r->ngroups = parse_groups(line + 7, r->groups);
	else if (strncmp(line, "CapEff:", 7) == 0)
		r->caps = strtoull(line + 7, NULL, 16) & FILE_CAPS;
	else if (sscanf(line, "Uid: %*u %*u %*u %lu", &fsuid) == 1)
		r->fsuid = (uid_t)fsuid;
}

/*
 * A caller that is gone already has no rights of this kind.  That nothing can be opened is another
 * matter: who is taken for a member of no group passes an ACL that denies one of his something.
 */
static int
read_rights(pid_t pid, struct rights *r)
{
	char path[64], line[GROUPS_MOST * 11 + 16];
	FILE *f;

	r->ngroups = 0;
	r->caps = 0;
	r->fsuid = (uid_t)-1;
	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, (int)pid);
	if (pid == 0)
		return 0;
	if ((f = fopen(path, "re")) == NULL)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? errno : 0;
	while (fgets(line, (int)sizeof(line), f) != NULL)
		parse_line(line, r);
	(void)fclose(f);
	return 0;
}

static bool
is_of_our_namespace(pid_t pid)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	return stat(path, &st) == 0 && st.st_ino == own_namespace.st_ino &&
	    st.st_dev == own_namespace.st_dev;
}

/* setfsuid(2) has taken all of them; that back to root gives all back. */
static void
lend_capabilities(uint64_t caps)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) == -1)
		return;
	for (unsigned i = 0; i < 2; i++)
		data[i].effective |= (uint32_t)(caps >> 32 * i) & data[i].permitted;
	(void)syscall(SYS_capset, &head, data);
}

/* Of those that the caller has, though not root, what counts in the daemon's own namespace. */
static uint64_t
caps_of(const struct caller *c, const struct rights *r)
{
	return r->fsuid == c->uid && r->caps != 0 && is_of_our_namespace(c->pid) ? r->caps : 0;
}

static bool
is_member(const struct caller *c, const struct rights *r, gid_t gid)
{
	for (size_t i = 0; i < r->ngroups; i++)
		if (r->groups[i] == gid)
			return true;
	return c->gid == gid;
}

mode_t
identity_mode_written(const struct caller *c, const struct stat *st)
{
	mode_t mode = st->st_mode;
	struct rights r;

	if (c->uid == 0 || (mode & (S_ISUID | S_ISGID)) == 0)
		return mode;
	/* a group's bit alone, and the request says the group: nothing else need be known */
	if ((mode & (S_ISUID | S_IXGRP)) == 0 && c->gid == st->st_gid)
		return mode;
	if (read_rights(c->pid, &r) == 0 && (caps_of(c, &r) & 1u << CAP_FSETID) != 0)
		return mode;
	if ((mode & S_IXGRP) || !is_member(c, &r, st->st_gid))
		mode &= ~(mode_t)S_ISGID;
	return mode & ~(mode_t)S_ISUID;
}

static int
switch_user(const struct caller *c)
{
	struct rights r;
	uint64_t caps;
	int err;

	if ((err = read_rights(c->uid != 0 ? c->pid : 0, &r)) != 0)
		return err;
	if (c->uid != 0 && syscall(SYS_setgroups, r.ngroups, r.groups) == -1)
		return errno;
	(void)setfsgid(c->gid);
	(void)setfsuid(c->uid);
	if ((caps = caps_of(c, &r)) != 0)
		lend_capabilities(caps);
	self.switched = true;
	return 0;
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

int
identity_enter(const struct caller *c)
{
	return is_root && (c->uid != 0 || c->gid != 0) ? switch_user(c) : 0;
}

int
identity_enter_to_create(const struct caller *c)
{
	int err;

	if ((err = identity_enter(c)) == 0)
		switch_umask(c->umask);
	return err;
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
	if (self.unshared)
		switch_umask(own_umask);
}
