/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/pages.c - the tree pages/: a table for each file that has pages in the pool.
 *
 * It mirrors files/: what the pool knows as HOME/a/b is pages/a/b.  A file that lies elsewhere,
 * which some other process has in the pool, is under pages/.outside with its absolute path.
 * Temporary files have no name and are not shown; pages of them count in stat/pool.
 *
 * Nothing is kept between two looks: each asks the pool for its files, and takes their paths apart.
 */
#include "pages.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "sheet.h"
#include "state.h"

#define OUTSIDE ".outside"

bool
pages_is_in(const struct fs *fs, const struct node *node)
{
	return node == fs->status[STATUS_PAGES] ||
	    (node->kind == NODE_PAGES && node->view == PAGES_DIRECTORY);
}

const char *
pages_path(const struct node *node)
{
	return node->kind == NODE_PAGES ? node->region : "";
}

/* --- paths --------------------------------------------------------------------------------- */

/* The path below pages/ of a file; NULL if it has none, or memory ran out.  From malloc. */
static char *
shown_path(const struct fs *fs, const char *path)
{
	size_t n = strlen(fs->opt->home);
	char *shown;

	if (path == NULL || path[0] != '/')
		return NULL;
	if (strncmp(path, fs->opt->home, n) == 0 && path[n] == '/')
		return strdup(path + n + 1);
	return asprintf(&shown, OUTSIDE "%s", path) == -1 ? NULL : shown;
}

/* What is behind the directory dir in path; NULL if path is not below it. */
static const char *
below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (n == 0)
		return path;
	return strncmp(path, dir, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

static char *
join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s%s%s", dir, dir[0] != '\0' ? "/" : "", name) == -1 ? NULL : path;
}

/* --- looking up ---------------------------------------------------------------------------- */

struct search {
	const struct fs *fs;
	const char *path;
	struct mpool_file file; /* if is_table */
	bool is_dir, is_table;
};

static int
match(void *arg, const struct mpool_file *f)
{
	struct search *s = arg;
	char *shown;

	if (f->resident == 0 || (shown = shown_path(s->fs, f->path)) == NULL)
		return 0;
	if (strcmp(shown, s->path) == 0) {
		s->is_table = true;
		s->file = *f;
	} else if (below(shown, s->path) != NULL) {
		s->is_dir = true;
	}
	free(shown);
	return s->is_table ? EEXIST : 0;
}

/* The caller holds the open pool. */
static int
find(struct fs *fs, const char *path, struct search *s)
{
	int err;

	*s = (struct search){ .fs = fs, .path = path };
	err = mpool_each_file(fs->pool, match, s);
	if (err != 0 && err != EEXIST)
		return err;
	return s->is_table || s->is_dir ? 0 : ENOENT;
}

int
pages_lookup(struct fs *fs, const char *dir, const char *name, struct node **np)
{
	struct search s;
	char *path;
	int err;

	if ((path = join(dir, name)) == NULL)
		return ENOMEM;
	err = pool_peek(fs) ? find(fs, path, &s) : ENOENT;
	pool_put(fs);
	if (err == 0)
		err = node_of_region(fs, path, s.is_table ? PAGES_TABLE : PAGES_DIRECTORY, np);
	free(path);
	return err;
}

/* --- listing ------------------------------------------------------------------------------- */

struct child {
	char *name; /* from malloc */
	bool is_dir;
};

struct children {
	const struct fs *fs;
	const char *dir;
	struct child *list;
	size_t n;
};

static int
collect(void *arg, const struct mpool_file *f)
{
	struct children *c = arg;
	char *shown = f->resident > 0 ? shown_path(c->fs, f->path) : NULL;
	const char *name = shown != NULL ? below(shown, c->dir) : NULL;
	struct child *list;
	size_t len;

	if (name != NULL && (c->n & (c->n + 1)) == 0) {
		if ((list = realloc(c->list, (2 * c->n + 1) * sizeof(*list))) == NULL) {
			free(shown);
			return ENOMEM;
		}
		c->list = list;
	}
	if (name != NULL) {
		len = strcspn(name, "/");
		c->list[c->n].is_dir = name[len] == '/';
		if ((c->list[c->n].name = strndup(name, len)) != NULL)
			c->n++;
	}
	free(shown);
	return 0;
}

static int
by_child(const void *a, const void *b)
{
	const struct child *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : (int)x->is_dir - (int)y->is_dir;
}

int
pages_list(struct fs *fs, const char *dir,
    int (*add)(void *arg, const char *path, const char *name, bool is_dir), void *arg)
{
	struct children c = { .fs = fs, .dir = dir };
	int err = 0;

	if (pool_peek(fs))
		err = mpool_each_file(fs->pool, collect, &c);
	pool_put(fs);
	if (c.n > 0)
		qsort(c.list, c.n, sizeof(c.list[0]), by_child);
	for (size_t i = 0; i < c.n; i++) {
		bool again = i > 0 && strcmp(c.list[i].name, c.list[i - 1].name) == 0;
		char *path = err == 0 && !again ? join(dir, c.list[i].name) : NULL;

		if (path != NULL)
			err = add(arg, path, c.list[i].name, c.list[i].is_dir);
		free(path);
	}
	for (size_t i = 0; i < c.n; i++)
		free(c.list[i].name);
	free(c.list);
	return err;
}

/* --- tables -------------------------------------------------------------------------------- */

static const struct field pages_fields[] = {
#define STAT_PAGES(key, expression, kind, unit, width, help)                                       \
	{ #key, FIELD_##kind, #unit, "", width, help },
#include "stat.def"
};

struct page_list {
	struct mpool_page *pages;
	size_t n, room;
	int error;
};

static void
add_page(void *arg, const struct mpool_page *page)
{
	struct page_list *l = arg;
	struct mpool_page *pages;

	if (l->error != 0)
		return;
	if (l->n == l->room) {
		l->room = l->room * 2 + 64;
		if ((pages = realloc(l->pages, l->room * sizeof(*pages))) == NULL) {
			l->error = ENOMEM;
			return;
		}
		l->pages = pages;
	}
	l->pages[l->n++] = *page;
}

static int
by_pgno(const void *a, const void *b)
{
	const struct mpool_page *x = a, *y = b;

	return x->pgno < y->pgno ? -1 : x->pgno > y->pgno;
}

static void
fill_pages(struct sheet *s, const struct page_list *l)
{
	for (const struct mpool_page *p = l->pages; p < l->pages + l->n; p++) {
		const struct value row[] = {
#define STAT_PAGES(key, expression, kind, unit, width, help) VALUE_##kind(expression),
#include "stat.def"
		};

		sheet_add(s, row);
	}
}

static int
list_pages(struct fs *fs, const char *path, struct page_list *l)
{
	struct search s;
	int err;

	if ((err = find(fs, path, &s)) != 0)
		return err;
	if (!s.is_table)
		return ENOENT;
	err = mpool_each_page(fs->pool, s.file.id, add_page, l);
	return err != 0 ? err : l->error;
}

int
pages_render(struct fs *fs, const char *path, struct text *t)
{
	struct page_list l = { 0 };
	struct sheet s;
	int err;

	err = pool_peek(fs) ? list_pages(fs, path, &l) : ENOENT;
	pool_put(fs);
	/* What has just left the pool, and is still open somewhere, has no pages. */
	if (err == 0 || err == ENOENT) {
		if (l.n > 0)
			qsort(l.pages, l.n, sizeof(l.pages[0]), by_pgno);
		sheet_init(
		    &s, pages_fields, sizeof(pages_fields) / sizeof(pages_fields[0]), SHEET_TABLE);
		fill_pages(&s, &l);
		sheet_text(&s, t);
		sheet_fini(&s);
		err = 0;
	}
	free(l.pages);
	return err;
}
