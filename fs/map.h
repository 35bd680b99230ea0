/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/map.h - the cache as a picture: map.txt, map.svg, map.html.
 *
 * The files with the most resident pages lie one behind the other, in the order of their paths; a
 * cell is a page, or as many pages as it takes for all of them to fit.
 */
#ifndef FS_MAP_H
#define FS_MAP_H

#include <stddef.h>
#include <stdint.h>

struct fs;
struct text;

/* A cell is the worst of its pages, in this order. */
enum map_cell { MAP_ABSENT, MAP_CLEAN, MAP_DIRTY, MAP_PINNED, MAP_STATES };

#define MAP_FILES 256u /* that are shown */

struct map_file {
	char *path; /* as the pool knows it */
	uint32_t id;
	uint32_t pagesize;
	uint64_t pages; /* of the file */
	uint64_t count[MAP_STATES];
	uint64_t resident;
	size_t first, cells; /* where in the map */
};

struct map {
	struct map_file *files;
	size_t nfiles;
	uint64_t other_files, other_pages; /* resident, not shown */
	unsigned cell_shift; /* a cell is 1 << so many pages */
	uint8_t *cells; /* enum map_cell */
	size_t ncells;
};

/* At most so many cells. */
int map_make(struct fs *fs, size_t most, struct map *m);
void map_fini(struct map *m);

int view_map_text(struct fs *fs, struct text *t);
int view_map_svg(struct fs *fs, struct text *t);
int view_map_html(struct fs *fs, struct text *t);

/*
 * map_png.c: cells as a picture with a palette, width cells a row, in base64.  colours: three
 * bytes for each state.
 */
void map_png(
    const uint8_t *cells, size_t ncells, size_t width, const uint8_t *colours, struct text *t);

/* --- the share of hits lately ---------------------------------------------------------------- */

#define HISTORY 120 /* seconds */

struct history {
	uint64_t hit, miss;	   /* at the last look */
	uint16_t percent[HISTORY]; /* hundredths, or HISTORY_NONE: nothing was asked for */
	unsigned n;		   /* looks so far */
};

#define HISTORY_NONE UINT16_MAX

/* Once a second; the caller holds the open pool. */
void history_look(struct fs *fs);

#endif
