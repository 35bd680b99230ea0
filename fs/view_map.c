/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/view_map.c - map.txt, map.svg and map.html.
 *
 * One picture in three forms.  The SVG is an embedded picture with an invisible outline around
 * each file, whose title a browser shows; the HTML is that SVG with a legend, a table, the share
 * of hits of the last two minutes, and a few lines of script that say which pages lie under the
 * mouse.  Nothing is fetched from anywhere.  Names may be any bytes and are escaped.
 */
#include "map.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "render.h"
#include "state.h"

#define TEXT_WIDTH 64u
#define TEXT_CELLS 65536u
#define PICTURE_CELLS (512u << 10)
#define NAME_SHOWN 120u

static const char *const state_names[MAP_STATES] = { "absent", "clean", "dirty", "pinned" };
static const uint8_t colours[3 * MAP_STATES] = {
	0xe8, 0xe8, 0xe8, /* absent */
	0x5b, 0x9b, 0xd5, /* clean */
	0xe0, 0x7b, 0x39, /* dirty */
	0xb0, 0x20, 0x40, /* pinned */
};

/* --- text ---------------------------------------------------------------------------------- */

static void
text_of_file(const struct map *m, const struct map_file *f, struct text *t)
{
	char line[TEXT_WIDTH + 1];

	text_add(t,
	    "\n# %" PRIu64 " pages of %" PRIu32 " bytes: %" PRIu64 " clean, %" PRIu64
	    " dirty, %" PRIu64 " pinned  ",
	    f->pages, f->pagesize, f->count[MAP_CLEAN], f->count[MAP_DIRTY], f->count[MAP_PINNED]);
	render_free_text(t, f->path);
	for (size_t at = 0; at < f->cells; at += TEXT_WIDTH) {
		size_t n = f->cells - at < TEXT_WIDTH ? f->cells - at : TEXT_WIDTH;

		for (size_t i = 0; i < n; i++)
			line[i] = ".cdp"[m->cells[f->first + at + i] & 3];
		line[n] = '\0';
		text_add(t, "%s\n", line);
	}
}

int
view_map_text(struct fs *fs, struct text *t)
{
	struct map m;
	int err;

	if ((err = map_make(fs, TEXT_CELLS, &m)) != 0)
		return err;
	text_add(t,
	    "# . absent  c clean  d dirty  p pinned; a letter is %llu page(s), the worst counts\n",
	    1ull << m.cell_shift);
	for (size_t i = 0; i < m.nfiles; i++)
		text_of_file(&m, &m.files[i], t);
	if (m.other_files > 0)
		text_add(t, "\n# and %" PRIu64 " pages of %" PRIu64 " other files\n", m.other_pages,
		    m.other_files);
	map_fini(&m);
	return 0;
}

/* --- SVG ----------------------------------------------------------------------------------- */

/* For text and attributes of XML and HTML; what is no UTF-8 becomes '?'. */
static void
add_escaped(struct text *t, const char *s, size_t most)
{
	for (size_t n = 0; *s != '\0' && n < most; n++) {
		size_t len = render_utf8(s);

		if (len == 0 || (unsigned char)*s < 0x20 || *s == 0x7f)
			text_add(t, "?");
		else if (strchr("&<>\"'", *s) != NULL)
			text_add(t, "&#%d;", *s);
		else
			text_add(t, "%.*s", (int)len, s);
		s += len == 0 ? 1 : len;
	}
	if (*s != '\0')
		text_add(t, "...");
}

/* The outline of cells first..first+n in rows of width. */
static void
add_outline(struct text *t, size_t first, size_t n, size_t width)
{
	size_t x0 = first % width, y0 = first / width;
	size_t last = first + n - 1, x1 = last % width + 1, y1 = last / width + 1;

	if (y1 == y0 + 1) {
		text_add(t, "M%zu %zuH%zuV%zuH%zuz", x0, y0, x1, y1, x0);
		return;
	}
	text_add(
	    t, "M%zu %zuH%zuV%zuH%zuV%zuH0V%zuH%zuz", x0, y0, width, y1 - 1, x1, y1, y0 + 1, x0);
}

static size_t
picture_width(const struct map *m)
{
	return m->ncells > 262144 ? 1024 : m->ncells > 65536 ? 512 : 256;
}

static void
add_svg(const struct map *m, struct text *t)
{
	size_t width = picture_width(m);
	size_t height = (m->ncells + width - 1) / width;

	if (height == 0)
		height = 1;
	text_add(t,
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" id=\"map\" width=\"1024\" height=\"%zu\" "
	    "viewBox=\"0 0 %zu %zu\">\n"
	    "<image width=\"%zu\" height=\"%zu\" style=\"image-rendering:pixelated\" "
	    "href=\"data:image/png;base64,",
	    height * 1024 / width, width, height, width, height);
	map_png(m->cells, m->ncells > 0 ? m->ncells : 1, width, colours, t);
	text_add(t, "\"/>\n<g fill=\"#000\" fill-opacity=\"0\">\n");
	for (size_t i = 0; i < m->nfiles; i++) {
		const struct map_file *f = &m->files[i];

		if (f->cells == 0)
			continue;
		text_add(t, "<path d=\"");
		add_outline(t, f->first, f->cells, width);
		text_add(t, "\"><title>");
		add_escaped(t, f->path, NAME_SHOWN);
		text_add(t, ": %" PRIu64 " of %" PRIu64 " pages</title></path>\n", f->resident,
		    f->pages);
	}
	text_add(t, "</g>\n</svg>\n");
}

int
view_map_svg(struct fs *fs, struct text *t)
{
	struct map m;
	int err;

	if ((err = map_make(fs, PICTURE_CELLS, &m)) != 0)
		return err;
	add_svg(&m, t);
	map_fini(&m);
	return 0;
}

/* --- HTML ---------------------------------------------------------------------------------- */

static void
add_legend(const struct map *m, struct text *t)
{
	text_add(t, "<p>");
	for (int s = 0; s < MAP_STATES; s++)
		text_add(t, "<span class=\"key\" style=\"background:#%02x%02x%02x\"></span> %s ",
		    colours[3 * s], colours[3 * s + 1], colours[3 * s + 2], state_names[s]);
	text_add(t, "&mdash; a pixel is %llu page(s), the worst counts. ", 1ull << m->cell_shift);
	text_add(t, "<b id=\"where\"></b></p>\n");
}

static void
add_table(const struct map *m, struct text *t)
{
	text_add(t,
	    "<table id=\"files\">\n<tr><th>pages<th>clean<th>dirty<th>pinned<th>page "
	    "size<th class=\"name\">file</tr>\n");
	for (size_t i = 0; i < m->nfiles; i++) {
		const struct map_file *f = &m->files[i];

		text_add(t,
		    "<tr data-first=\"%zu\" data-cells=\"%zu\"><td>%" PRIu64 "<td>%" PRIu64
		    "<td>%" PRIu64 "<td>%" PRIu64 "<td>%" PRIu32 "<td class=\"name\">",
		    f->first, f->cells, f->pages, f->count[MAP_CLEAN], f->count[MAP_DIRTY],
		    f->count[MAP_PINNED], f->pagesize);
		add_escaped(t, f->path, NAME_SHOWN);
		text_add(t, "</tr>\n");
	}
	text_add(t, "</table>\n");
	if (m->other_files > 0)
		text_add(t, "<p>and %" PRIu64 " pages of %" PRIu64 " other files</p>\n",
		    m->other_pages, m->other_files);
}

/* A line through the seconds in which something was asked for. */
static void
add_sparkline(struct fs *fs, struct text *t)
{
	struct history h;
	unsigned from, n;

	(void)pthread_mutex_lock(&fs->steering.lock);
	h = fs->history;
	(void)pthread_mutex_unlock(&fs->steering.lock);
	from = h.n > HISTORY ? h.n - HISTORY : 0;
	n = h.n - from;
	text_add(t,
	    "<p>hits, per cent, the last %u seconds<br>\n<svg id=\"hits\" width=\"484\" "
	    "height=\"54\" viewBox=\"-2 -2 124 104\" preserveAspectRatio=\"none\">"
	    "<polyline fill=\"none\" stroke=\"#5b9bd5\" "
	    "vector-effect=\"non-scaling-stroke\" points=\"",
	    HISTORY);
	for (unsigned i = 0; i < n; i++) {
		uint16_t percent = h.percent[(from + i) % HISTORY];

		if (percent != HISTORY_NONE)
			text_add(t, "%u,%u.%02u ", HISTORY - n + i, (10000u - percent) / 100,
			    (10000u - percent) % 100);
	}
	text_add(t, "\"/></svg></p>\n");
}

static const char style[] = "body{font:14px sans-serif;margin:1em}"
			    ".key{display:inline-block;width:1em;height:1em}"
			    "td,th{text-align:right;padding:0 .6em}.name{text-align:left}"
			    "#map{outline:1px solid #aaa;background:#fff}";

static const char script[] =
    "var m=document.getElementById('map'),w=document.getElementById('where'),"
    "r=document.querySelectorAll('#files tr[data-cells]');"
    "m.onmousemove=function(e){var b=m.getBoundingClientRect(),v=m.viewBox.baseVal,"
    "c=Math.floor((e.clientY-b.top)*v.height/b.height)*v.width+"
    "Math.floor((e.clientX-b.left)*v.width/b.width),i,f,n,p;w.textContent='';"
    "for(i=0;i<r.length;i++){f=+r[i].dataset.first;n=+r[i].dataset.cells;"
    "if(c>=f&&c<f+n){p=(c-f)*PER;w.textContent=r[i].lastElementChild.textContent+"
    "', page '+p+(PER>1?' to '+(Math.min(p+PER,+r[i].cells[0].textContent)-1):'');}}};";

int
view_map_html(struct fs *fs, struct text *t)
{
	struct map m;
	int err;

	if ((err = map_make(fs, PICTURE_CELLS, &m)) != 0)
		return err;
	text_add(t, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<title>");
	add_escaped(t, fs->opt->home, NAME_SHOWN);
	text_add(t, " - poolfs</title>\n<style>%s</style></head>\n<body>\n<h1>", style);
	add_escaped(t, fs->opt->home, NAME_SHOWN);
	text_add(t, "</h1>\n");
	add_legend(&m, t);
	add_svg(&m, t);
	add_sparkline(fs, t);
	add_table(&m, t);
	text_add(
	    t, "<script>var PER=%llu;%s</script>\n</body></html>\n", 1ull << m.cell_shift, script);
	map_fini(&m);
	return 0;
}
