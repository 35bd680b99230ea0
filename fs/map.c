/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/map.c - which cells the picture of the cache has.
 *
 * Files are asked for first and sorted by what they have in the pool: those beyond MAP_FILES are
 * only counted.  Then one walk over the frames puts each page into its file's cells; pages that
 * were read together mostly lie together, and are painted together.
 */
#include "map.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "render.h"
#include "state.h"

struct collecting {
	struct map *m;
	size_t room;
};

static int
collect_file(void *arg, const struct mpool_file *f)
{
	struct collecting *c = arg;
	struct map_file *files;

	if (f->resident == 0)
		return 0;
	if (c->m->nfiles == c->room) {
		c->room = c->room * 2 + 64;
		if ((files = realloc(c->m->files, c->room * sizeof(*files))) == NULL)
			return ENOMEM;
		c->m->files = files;
	}
	files = &c->m->files[c->m->nfiles];
	*files = (struct map_file){ .path = strdup(f->path != NULL ? f->path : "(temporary)"),
		.id = f->id,
		.pagesize = f->pagesize,
		.resident = f->resident,
		.pages = (f->length + f->pagesize - 1) / f->pagesize };
	if (files->path == NULL)
		return ENOMEM;
	c->m->nfiles++;
	return 0;
}

static int
by_resident(const void *a, const void *b)
{
	const struct map_file *x = a, *y = b;

	if (x->resident != y->resident)
		return x->resident > y->resident ? -1 : 1;
	return strcmp(x->path, y->path);
}

static int
by_path(const void *a, const void *b)
{
	const struct map_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static void
keep_largest(struct map *m)
{
	if (m->nfiles == 0)
		return;
	qsort(m->files, m->nfiles, sizeof(m->files[0]), by_resident);
	for (size_t i = MAP_FILES; i < m->nfiles; i++) {
		m->other_files++;
		m->other_pages += m->files[i].resident;
		free(m->files[i].path);
	}
	if (m->nfiles > MAP_FILES)
		m->nfiles = MAP_FILES;
	qsort(m->files, m->nfiles, sizeof(m->files[0]), by_path);
}

static uint64_t
cells_of(const struct map_file *f, unsigned shift)
{
	return (f->pages + (1ull << shift) - 1) >> shift;
}

static uint64_t
cells_with(const struct map *m, unsigned shift)
{
	uint64_t n = 0;

	for (size_t i = 0; i < m->nfiles; i++)
		n += cells_of(&m->files[i], shift);
	return n;
}

static int
lay_out(struct map *m, size_t most)
{
	size_t at = 0;

	while (cells_with(m, m->cell_shift) > most && m->cell_shift < 40)
		m->cell_shift++;
	for (size_t i = 0; i < m->nfiles; i++) {
		struct map_file *f = &m->files[i];

		f->first = at;
		f->cells = (size_t)cells_of(f, m->cell_shift);
		at += f->cells;
	}
	m->ncells = at;
	m->cells = calloc(at + 1, 1);
	return m->cells == NULL ? ENOMEM : 0;
}

/* --- painting ------------------------------------------------------------------------------ */

#define PLACES (4 * MAP_FILES) /* a power of two */

struct painting {
	struct map *m;
	struct map_file *last;
	struct map_file *places[PLACES]; /* files by their numbers */
};

static size_t
place_of(uint32_t id)
{
	return id * 2654435761u / (uint32_t)(UINT32_MAX / PLACES + 1);
}

static void
painting_init(struct painting *p, struct map *m)
{
	*p = (struct painting){ .m = m };
	for (size_t i = 0; i < m->nfiles; i++) {
		size_t at = place_of(m->files[i].id);

		while (p->places[at] != NULL)
			at = (at + 1) % PLACES;
		p->places[at] = &m->files[i];
	}
}

/* NULL: it is not shown. */
static struct map_file *
file_of(struct painting *p, uint32_t id)
{
	size_t at = place_of(id);

	if (p->last != NULL && p->last->id == id)
		return p->last;
	while (p->places[at] != NULL && p->places[at]->id != id)
		at = (at + 1) % PLACES;
	if (p->places[at] != NULL)
		p->last = p->places[at];
	return p->places[at];
}

static void
paint(void *arg, const struct mpool_run *run)
{
	struct painting *p = arg;
	struct map_file *f = file_of(p, run->file);
	uint8_t state = run->pinned ? MAP_PINNED : run->dirty ? MAP_DIRTY : MAP_CLEAN;
	unsigned shift = p->m->cell_shift;
	uint64_t n = run->pages, last;
	uint8_t *cells;

	/* it may have become longer since it was asked for */
	if (f == NULL || run->pgno >= f->pages)
		return;
	if (n > f->pages - run->pgno)
		n = f->pages - run->pgno;
	f->count[state] += n;
	cells = p->m->cells + f->first;
	last = (run->pgno + n - 1) >> shift;
	for (uint64_t at = (uint64_t)run->pgno >> shift; at <= last; at++)
		if (cells[at] < state)
			cells[at] = state;
}

static int
make_of_open_pool(struct fs *fs, size_t most, struct map *m)
{
	struct collecting c = { .m = m };
	struct painting p;
	int err;

	if ((err = mpool_each_file(fs->pool, collect_file, &c)) != 0)
		return err;
	keep_largest(m);
	if ((err = lay_out(m, most)) != 0)
		return err;
	painting_init(&p, m);
	return mpool_each_run(fs->pool, paint, &p);
}

int
map_make(struct fs *fs, size_t most, struct map *m)
{
	int err = 0;

	*m = (struct map){ 0 };
	if (pool_peek(fs))
		err = make_of_open_pool(fs, most, m);
	pool_put(fs);
	if (err != 0)
		map_fini(m);
	return err;
}

void
map_fini(struct map *m)
{
	for (size_t i = 0; i < m->nfiles; i++)
		free(m->files[i].path);
	free(m->files);
	free(m->cells);
	*m = (struct map){ 0 };
}

/* --- the share of hits lately -------------------------------------------------------------- */

void
history_look(struct fs *fs)
{
	struct history *h = &fs->history;
	uint64_t hit, miss;
	DB_MPOOL_STAT *st;

	if (memp_stat(fs->pool, &st, NULL, NULL) != 0)
		return;
	(void)pthread_mutex_lock(&fs->steering.lock);
	/* Less than before: another pool. */
	hit = st->st_cache_hit >= h->hit ? st->st_cache_hit - h->hit : 0;
	miss = st->st_cache_miss >= h->miss ? st->st_cache_miss - h->miss : 0;
	h->percent[h->n++ % HISTORY] =
	    hit + miss == 0 ? HISTORY_NONE : (uint16_t)render_ratio(hit, hit + miss);
	h->hit = st->st_cache_hit;
	h->miss = st->st_cache_miss;
	(void)pthread_mutex_unlock(&fs->steering.lock);
	free(st);
}
