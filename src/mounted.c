/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/mounted.c - what is mounted where, by the kernel's list.
 *
 * It is read from /proc/self/mountinfo, whose octal escapes are undone.  The list also has mounts
 * whose daemon is dead, of which nothing else can be asked.  A process that unshared its mount
 * namespace (unshare(1), containers) has copies of all mounts that were there: one that is
 * unmounted here lives on in that copy, which only the other process's list shows.
 */
#include "mounted.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "\040" and its like, in place. */
static void
unescape(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++, to++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to = *s;
		}
	}
	*to = '\0';
}

/* FUSE's "user_id=1000" among the super-options; 0 if it is not there. */
static unsigned
parse_id(const char *options, const char *key)
{
	const char *at = options == NULL ? NULL : strstr(options, key);

	return at == NULL ? 0 : (unsigned)strtoul(at + strlen(key), NULL, 10);
}

/*
 * 36 35 98:0 /root /mount/point options [optional fields ...] - type source super-options
 *
 * The fields, in place; the optional ones are skipped.
 */
struct line {
	char *device, *path, *type, *source, *options;
};

static bool
split_line(char *text, struct line *l)
{
	char *save = NULL, *field;
	int i;

	for (i = 0, field = strtok_r(text, " ", &save); field != NULL && i < 4; i++) {
		if (i == 2)
			l->device = field;
		field = strtok_r(NULL, " ", &save);
	}
	if (field == NULL)
		return false;
	l->path = field;
	while ((field = strtok_r(NULL, " ", &save)) != NULL && strcmp(field, "-") != 0)
		;
	l->type = strtok_r(NULL, " ", &save);
	l->source = strtok_r(NULL, " ", &save);
	l->options = strtok_r(NULL, " ", &save);
	return l->type != NULL && l->source != NULL;
}

static bool
take_line(char *text, const char *path, struct mounted *m)
{
	struct line l;

	if (!split_line(text, &l))
		return false;
	unescape(l.path);
	if (strcmp(l.path, path) != 0)
		return false;
	unescape(l.source);
	mounted_fini(m);
	m->type = strdup(l.type);
	m->source = strdup(l.source);
	m->device = strdup(l.device);
	m->uid = parse_id(l.options, ",user_id=");
	m->gid = parse_id(l.options, ",group_id=");
	return m->type != NULL && m->source != NULL && m->device != NULL;
}

bool
mounted_find(const char *path, struct mounted *m)
{
	bool found = false;
	char *line = NULL;
	size_t room = 0;
	FILE *f;

	*m = (struct mounted){ 0 };
	if ((f = fopen("/proc/self/mountinfo", "re")) == NULL)
		return false;
	/* The last line for a place is the mount on top. */
	while (getline(&line, &room, f) != -1)
		found |= take_line(line, path, m);
	free(line);
	(void)fclose(f);
	return found;
}

void
mounted_fini(struct mounted *m)
{
	free(m->type);
	free(m->source);
	free(m->device);
	*m = (struct mounted){ 0 };
}

/* --- other namespaces ---------------------------------------------------------------------- */

static bool
lists_device(const char *mountinfo, const char *device)
{
	bool found = false;
	char *text = NULL;
	size_t room = 0;
	struct line l;
	FILE *f;

	if ((f = fopen(mountinfo, "re")) == NULL)
		return false;
	while (!found && getline(&text, &room, f) != -1)
		found = split_line(text, &l) && strcmp(l.device, device) == 0;
	free(text);
	(void)fclose(f);
	return found;
}

/* Most processes share few namespaces: each is looked into once, or some of them more often. */
static bool
seen_before(pid_t pid, ino_t *seen, size_t room, size_t *np)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	if (stat(path, &st) == -1)
		return false;
	for (size_t i = 0; i < *np; i++)
		if (seen[i] == st.st_ino)
			return true;
	if (*np < room)
		seen[(*np)++] = st.st_ino;
	return false;
}

bool
mounted_still(const char *device, pid_t *pidp)
{
	struct dirent *entry;
	bool found = false;
	ino_t seen[256];
	char path[64];
	size_t n = 0;
	pid_t pid;
	DIR *proc;

	if ((proc = opendir("/proc")) == NULL)
		return false;
	while (!found && (entry = readdir(proc)) != NULL) {
		pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid <= 0 || seen_before(pid, seen, sizeof(seen) / sizeof(seen[0]), &n))
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
		if ((found = lists_device(path, device)))
			*pidp = pid;
	}
	(void)closedir(proc);
	return found;
}

bool
mounted_is_dead(int err)
{
	return err == ENOTCONN || err == ECONNABORTED;
}
