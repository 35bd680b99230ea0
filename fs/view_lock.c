/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view_lock.c - stat/lock, and locks/: the lock table, who waits for whom, and that as a graph.
 *
 * The table is looked at without locking anything in it (lock/look.h).  It is not made for it:
 * while nobody has used locks all totals are unknown and the lists are empty.
 */
#include "view.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lock/look.h"
#include "locks.h"
#include "state.h"

/* --- stat/lock ----------------------------------------------------------------------------- */

static const struct field lock_fields[] = {
#define STAT_LOCK(key, expression, kind, unit, metric, help)                                       \
	{ #key, FIELD_##kind, #unit, metric, 0, help },
#include "stat.def"
};

static void
add_totals(struct sheet *s, const DB_LOCK_STAT *st)
{
	const struct value row[] = {
#define STAT_LOCK(key, expression, kind, unit, metric, help) VALUE_##kind(expression),
#include "stat.def"
	};

	sheet_add(s, row);
}

static int
fill_lock(struct fs *fs, struct sheet *s)
{
	DB_LOCKTAB *lt = locks_peek_table(fs);
	DB_LOCK_STAT *st = NULL;

	if (lt == NULL || lock_stat(lt, &st, NULL) != 0)
		sheet_add_unknown(s);
	else
		add_totals(s, st);
	locks_put_table(fs);
	free(st);
	return 0;
}

const struct view view_lock = { "lock", lock_fields, sizeof(lock_fields) / sizeof(lock_fields[0]),
	SHEET_KEYS, fill_lock };

/* --- what is locked ------------------------------------------------------------------------ */

/* As text if it is one; else in hexadecimal. */
static char *
object_name(const struct lock_seen *l)
{
	size_t n = l->name_bytes < LOOK_NAME_BYTES ? l->name_bytes : LOOK_NAME_BYTES, i;
	char *text = malloc(2 * LOOK_NAME_BYTES + 8), *p = text;
	bool plain = true;

	if (text == NULL)
		return NULL;
	for (i = 0; i < n && plain; i++)
		plain = isgraph(l->name[i]) && l->name[i] != '"' && l->name[i] != '\\';
	for (i = 0; i < n; i++)
		p += plain ? sprintf(p, "%c", l->name[i]) : sprintf(p, "%02x", l->name[i]);
	(void)strcpy(p, l->name_bytes > n ? "..." : "");
	return text;
}

/* In the mount, if the object is a file of HOME's file system: what flock(2) locks. */
static uint64_t
inode_number(const struct fs *fs, const struct lock_seen *l)
{
	struct os_ident id;

	static_assert(sizeof(id) <= LOOK_NAME_BYTES, "a copy is whole");
	if (l->name_bytes != sizeof(id))
		return 0;
	memcpy(&id, l->name, sizeof(id));
	return id.dev == fs->home_dev ? node_shown_ino(fs, &id) : 0;
}

/* A list of what there is, and the texts that its rows need. */
struct locks_seen {
	DB_LOCKTAB *lt;
	struct lock_seen *list;
	struct lock_edge *edges;
	size_t n, nedges;
};

static int
look(struct fs *fs, struct locks_seen *seen)
{
	int ret = 0;

	*seen = (struct locks_seen){ .lt = locks_peek_table(fs) };
	if (seen->lt != NULL && (ret = locktab_look(seen->lt, &seen->list, &seen->n)) == 0)
		ret = locktab_edges(seen->lt, seen->list, seen->n, &seen->edges, &seen->nedges);
	if (ret != ENOMEM)
		ret = 0;
	return ret;
}

static void
unlook(struct fs *fs, struct locks_seen *seen)
{
	locks_put_table(fs);
	free(seen->list);
	free(seen->edges);
}

static const char *
mode_name(struct sheet *s, const DB_LOCKTAB *lt, uint32_t mode)
{
	char name[16];

	locktab_mode_name(lt, mode, name);
	return sheet_keep(s, strdup(name));
}

/* --- locks/table --------------------------------------------------------------------------- */

static const struct field table_fields[] = {
#define STAT_LOCK_TABLE(key, expression, kind, unit, width, help)                                  \
	{ #key, FIELD_##kind, #unit, "", width, help },
#include "stat.def"
};

static void
add_lock(struct fs *fs, struct sheet *s, const DB_LOCKTAB *lt, const struct lock_seen *l)
{
	uint64_t ino = inode_number(fs, l);
	const char *mode = mode_name(s, lt, l->mode), *object = sheet_keep(s, object_name(l));
	const struct value row[] = {
#define STAT_LOCK_TABLE(key, expression, kind, unit, width, help) VALUE_##kind(expression),
#include "stat.def"
	};

	sheet_add(s, row);
}

static int
fill_table(struct fs *fs, struct sheet *s)
{
	struct locks_seen seen;
	int err = look(fs, &seen);

	for (size_t i = 0; err == 0 && i < seen.n; i++)
		add_lock(fs, s, seen.lt, &seen.list[i]);
	unlook(fs, &seen);
	return err;
}

const struct view view_lock_table = { "locks", table_fields,
	sizeof(table_fields) / sizeof(table_fields[0]), SHEET_TABLE, fill_table };

/* --- locks/waits --------------------------------------------------------------------------- */

static const struct field waits_fields[] = {
#define STAT_LOCK_WAITS(key, expression, kind, unit, width, help)                                  \
	{ #key, FIELD_##kind, #unit, "", width, help },
#include "stat.def"
};

static void
add_edge(struct fs *fs, struct sheet *s, const DB_LOCKTAB *lt, const struct lock_seen *w,
    const struct lock_seen *h)
{
	uint64_t ino = inode_number(fs, w);
	const char *wmode = mode_name(s, lt, w->mode), *hmode = mode_name(s, lt, h->mode);
	const char *object = sheet_keep(s, object_name(w));
	const struct value row[] = {
#define STAT_LOCK_WAITS(key, expression, kind, unit, width, help) VALUE_##kind(expression),
#include "stat.def"
	};

	sheet_add(s, row);
}

static int
fill_waits(struct fs *fs, struct sheet *s)
{
	struct locks_seen seen;
	int err = look(fs, &seen);

	for (size_t i = 0; err == 0 && i < seen.nedges; i++)
		add_edge(fs, s, seen.lt, seen.edges[i].waits, seen.edges[i].in_the_way);
	unlook(fs, &seen);
	return err;
}

const struct view view_lock_waits = { "waits", waits_fields,
	sizeof(waits_fields) / sizeof(waits_fields[0]), SHEET_TABLE, fill_waits };

/* --- locks/waits.dot ----------------------------------------------------------------------- */

int
view_waits_dot(struct fs *fs, struct text *t)
{
	struct locks_seen seen;
	int err = look(fs, &seen);

	text_add(t, "digraph waits {\n");
	for (size_t i = 0; err == 0 && i < seen.nedges; i++) {
		const struct lock_seen *w = seen.edges[i].waits, *h = seen.edges[i].in_the_way;
		char *object = object_name(w);

		text_add(t, "\t\"%#x (pid %d)\" -> \"%#x (pid %d)\" [label=\"%s\"%s];\n", w->locker,
		    w->pid, h->locker, h->pid, object != NULL ? object : "-",
		    h->waits ? ", style=dashed" : "");
		free(object);
	}
	text_add(t, "}\n");
	unlook(fs, &seen);
	return err;
}
