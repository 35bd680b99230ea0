/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/mounted.c - what is mounted where, by the kernel's list.
 *
 * It is read from /proc/self/mountinfo, whose octal escapes are undone.  The list also has mounts
 * whose daemon is dead, of which nothing else can be asked.
 */
#include "mounted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
 */
static bool
parse_line(char *line, const char *path, struct mounted *m)
{
	char *save = NULL, *field, *type, *source, *options;
	int i;

	for (i = 0, field = strtok_r(line, " ", &save); field != NULL && i < 4; i++)
		field = strtok_r(NULL, " ", &save);
	if (field == NULL)
		return false;
	unescape(field);
	if (strcmp(field, path) != 0)
		return false;
	while ((field = strtok_r(NULL, " ", &save)) != NULL && strcmp(field, "-") != 0)
		;
	type = strtok_r(NULL, " ", &save);
	source = strtok_r(NULL, " ", &save);
	options = strtok_r(NULL, " ", &save);
	if (type == NULL || source == NULL)
		return false;
	unescape(source);
	mounted_fini(m);
	m->type = strdup(type);
	m->source = strdup(source);
	m->uid = parse_id(options, ",user_id=");
	m->gid = parse_id(options, ",group_id=");
	return m->type != NULL && m->source != NULL;
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
		found |= parse_line(line, path, m);
	free(line);
	(void)fclose(f);
	return found;
}

void
mounted_fini(struct mounted *m)
{
	free(m->type);
	free(m->source);
	*m = (struct mounted){ 0 };
}
