/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view.c - views in their forms, README, and stat/poolfs.prom.
 *
 * A file of sheet form is filled by its view and rendered here.  poolfs.prom is made of the same
 * sheets: all that have totals, one after the other, labelled with the pool's directory.
 */
#include "view.h"

#include "state.h"

static int
filled(struct fs *fs, const struct view *v, struct sheet *s)
{
	int err;

	sheet_init(s, v->fields, v->nfields, v->shape);
	if ((err = v->fill(fs, s)) != 0)
		sheet_fini(s);
	return err;
}

int
view_text(struct fs *fs, const struct view *v, struct text *t)
{
	struct sheet s;
	int err;

	if ((err = filled(fs, v, &s)) != 0)
		return err;
	sheet_text(&s, t);
	sheet_fini(&s);
	return 0;
}

int
view_json(struct fs *fs, const struct view *v, struct text *t)
{
	struct sheet s;
	int err;

	if ((err = filled(fs, v, &s)) != 0)
		return err;
	sheet_json(&s, v->name, t);
	sheet_fini(&s);
	return 0;
}

int
view_prom(struct fs *fs, struct text *t)
{
	static const struct view *const totals[] = { &view_pool, &view_daemon, &view_check,
		&view_lock };
	struct sheet s;
	int err;

	for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
		if ((err = filled(fs, totals[i], &s)) != 0)
			return err;
		sheet_prom(&s, fs->opt->home, t);
		sheet_fini(&s);
	}
	return view_latency_prom(fs, t);
}

int
view_readme(struct fs *fs, struct text *t)
{
	text_add(t,
	    "This is a shared pool of file pages, mounted by poolfs %s.\n"
	    "\n"
	    "  files/         the tree of the directory named below: read it, write it, with any\n"
	    "                 program; the bytes of its files go through the pool, which other\n"
	    "                 processes use at the same time through the library (memp_fget ...)\n"
	    "  regions/       the shared regions: NAME is the raw memory, to be read; rm NAME\n"
	    "                 removes the region, after writing what is dirty in it, unless it is\n"
	    "                 in use; NAME.layout its header; NAME.clients who is attached;\n"
	    "                 NAME.heap its allocator\n"
	    "  pages/         the resident pages of each cached file, one to a line\n"
	    "  stat/pool      the pool's counters, one to a line\n"
	    "  stat/files     one line for each file that the pool knows; NAME.json as JSON\n"
	    "  stat/latency   how long reads and writes took\n"
	    "  stat/daemon    the process behind the mount, and the last error it met\n"
	    "  stat/events    what was said lately; poll(2) tells of more\n"
	    "  stat/check     what the invariant walker found (ctl: check)\n"
	    "  stat/panic     the regions that nobody can use, and why\n"
	    "  stat/poolfs.prom  the totals, for Prometheus\n"
	    "  stat/lock      the lock table's counters\n"
	    "  locks/         table: what is locked; waits, waits.dot: who waits for whom\n"
	    "  map.txt        the cache as a picture, a letter a page; map.svg and map.html\n"
	    "                 for a browser\n"
	    "  ctl            commands; reading it lists them\n"
	    "\n"
	    "Programs that read the directory itself see old bytes while pages are dirty in the\n"
	    "pool (page_dirty in stat/pool).  fsync(2) writes a file's; poolfs -u MOUNTPOINT\n"
	    "writes everything, unmounts, and returns when the directory is complete.\n"
	    "\n"
	    "directory:     %s\n"
	    "more:          man poolfs\n",
	    POOLFS_VERSION, fs->opt->home);
	return 0;
}
