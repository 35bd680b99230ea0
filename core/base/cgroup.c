/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/cgroup.c - how much memory the control group of this process leaves it.
 *
 * A container may have far less than the machine.  Each group on the way from the process's own to
 * the root may have a limit, and the tightest counts: what it allows less what is used.  Files'
 * pages that the kernel would give up do not count as used: those that nobody used again, and half
 * of those that somebody did.  Version 2 (memory.max) and version 1 (memory.limit_in_bytes) are
 * both looked for, where everybody mounts them; a container that sees only a part of the tree sees
 * its own group at the root.
 *
 * What cannot be read limits nothing.  Nothing here fails, and nothing is remembered: limits are
 * changed while processes run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

static const struct version {
	const char *limit, *used, *inactive, *active;
} versions[] = {
	{ "memory.max", "memory.current", "\ninactive_file ", "\nactive_file " },
	{ "memory.limit_in_bytes", "memory.usage_in_bytes", "\ntotal_inactive_file ",
	    "\ntotal_active_file " },
};

/* "max", and what is not there, is no limit. */
static uint64_t
read_number(const char *dir, const char *name)
{
	char path[4200], text[32], *end;
	uint64_t n;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return UINT64_MAX;
	os_read_text(path, text, sizeof(text));
	n = strtoull(text, &end, 10);
	return end == text ? UINT64_MAX : n;
}

static uint64_t
find_number(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

static uint64_t
read_cache(const char *dir, const struct version *v)
{
	uint64_t inactive, active;
	char path[4200], text[8192];

	if ((size_t)snprintf(path, sizeof(path), "%s/memory.stat", dir) >= sizeof(path))
		return 0;
	text[0] = '\n';
	os_read_text(path, text + 1, sizeof(text) - 1);
	inactive = find_number(text, v->inactive);
	active = find_number(text, v->active) / 2;
	return inactive < UINT64_MAX - active ? inactive + active : UINT64_MAX;
}

static uint64_t
left_in(const char *dir, const struct version *v)
{
	uint64_t limit = read_number(dir, v->limit), used = read_number(dir, v->used), cache;

	if (limit == UINT64_MAX || used == UINT64_MAX)
		return UINT64_MAX;
	cache = read_cache(dir, v);
	used = cache < used ? used - cache : 0;
	return used < limit ? limit - used : 0;
}

uint64_t
os_cgroup_left(const char *root, const char *group)
{
	uint64_t least = UINT64_MAX, left;
	size_t top = strlen(root);
	char dir[4096], *slash;

	if ((size_t)snprintf(dir, sizeof(dir), "%s%s", root, group) >= sizeof(dir))
		return UINT64_MAX;
	for (;;) {
		for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
			if ((left = left_in(dir, &versions[i])) < least)
				least = left;
		if ((slash = strrchr(dir, '/')) == NULL || (size_t)(slash - dir) < top)
			return least;
		*slash = '\0';
	}
}

/* "4:memory:/group" or "0::/group": the group, or NULL. */
static const char *
group_of(const char *line, bool *is_firstp)
{
	const char *names = strchr(line, ':'), *group;

	if (names == NULL || (group = strchr(names + 1, ':')) == NULL)
		return NULL;
	*is_firstp = strncmp(names, ":memory:", 8) == 0;
	return *is_firstp || strncmp(line, "0::", 3) == 0 ? group + 1 : NULL;
}

uint64_t
os_cgroup_available(void)
{
	uint64_t least = UINT64_MAX, left;
	char text[8192], *rest = text, *line;
	const char *group;
	bool is_first;

	os_read_text("/proc/self/cgroup", text, sizeof(text));
	while ((line = strsep(&rest, "\n")) != NULL) {
		if ((group = group_of(line, &is_first)) == NULL)
			continue;
		left = os_cgroup_left(is_first ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup", group);
		if (left < least)
			least = left;
	}
	return least;
}
