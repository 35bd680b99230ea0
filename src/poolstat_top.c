/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolstat_top.c - --top: the pool and its files on a screen that renews itself.
 *
 * Plain ANSI sequences, no terminal database.  The files are those of the mount's stat/files; a
 * region without a mount shows its totals only.  Keys as in top: q ends, blank renews at once, and
 * a letter names the column to sort by.  The terminal is put back whatever ends the program.
 */
#include "poolstat.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define FILES_MOST 65536

struct file_line {
	uint64_t resident, dirty, hit, miss;
	uint64_t hit_rate, miss_rate;
	char name[256];
};

struct screen {
	const struct options *o;
	const struct source *s;
	struct sample now, before;
	struct file_line *files, *old;
	size_t nfiles, nold;
	char sort; /* h m r d n */
	int rows, columns;
};

/* --- the terminal -------------------------------------------------------------------------- */

static struct termios saved;
static bool is_raw;

static void
terminal_restore(void)
{
	if (!is_raw)
		return;
	is_raw = false;
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	/* The cursor again, and the screen that was there before. */
	(void)!write(STDOUT_FILENO, "\033[?25h\033[?1049l", 14);
}

static void
on_signal(int sig)
{
	terminal_restore();
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

static bool
terminal_take(void)
{
	struct termios raw;

	if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &saved) == -1)
		return false;
	raw = saved;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) == -1)
		return false;
	is_raw = true;
	(void)atexit(terminal_restore);
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGHUP, on_signal);
	(void)!write(STDOUT_FILENO, "\033[?1049h\033[?25l", 14);
	return true;
}

static void
terminal_size(struct screen *sc)
{
	struct winsize w;

	sc->rows = 24;
	sc->columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 0 && w.ws_col > 0) {
		sc->rows = w.ws_row;
		sc->columns = w.ws_col;
	}
}

/* --- files --------------------------------------------------------------------------------- */

/* pagesize length resident page_dirty cache_hit cache_miss 8 more, file_name */
static bool
parse_file(char *line, struct file_line *f)
{
	int at = 0;

	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '#' ||
	    sscanf(line,
		"%*s %*s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		" %*s %*s %*s %*s %*s %*s %*s %*s %n",
		&f->resident, &f->dirty, &f->hit, &f->miss, &at) != 4 ||
	    at == 0)
		return false;
	(void)snprintf(f->name, sizeof(f->name), "%s", line + at);
	return true;
}

static void
read_files(struct screen *sc)
{
	char *path = NULL, *line = NULL;
	struct file_line *more;
	size_t room = 0, space = 0;
	FILE *f;

	free(sc->old);
	sc->old = sc->files;
	sc->nold = sc->nfiles;
	sc->files = NULL;
	sc->nfiles = 0;
	if (sc->s->kind != SOURCE_MOUNT || asprintf(&path, "%s/stat/files", sc->s->name) == -1)
		return;
	f = fopen(path, "re");
	while (f != NULL && sc->nfiles < FILES_MOST && getline(&line, &room, f) != -1) {
		if (sc->nfiles == space) {
			space = space * 2 + 64;
			if ((more = realloc(sc->files, space * sizeof(*more))) == NULL)
				break;
			sc->files = more;
		}
		memset(&sc->files[sc->nfiles], 0, sizeof(*sc->files));
		sc->nfiles += parse_file(line, &sc->files[sc->nfiles]);
	}
	if (f != NULL)
		(void)fclose(f);
	free(line);
	free(path);
}

static uint64_t
a_second(uint64_t now, uint64_t before, uint64_t usec)
{
	return now > before && usec > 0 ? (uint64_t)((double)(now - before) * 1e6 / (double)usec) :
					  0;
}

/* Both lists are in the order of their names. */
static void
rate_files(struct screen *sc)
{
	uint64_t usec = sc->now.usec - sc->before.usec;
	size_t k = 0;

	for (size_t i = 0; i < sc->nfiles; i++) {
		struct file_line *f = &sc->files[i];

		while (k < sc->nold && strcmp(sc->old[k].name, f->name) < 0)
			k++;
		if (k == sc->nold || strcmp(sc->old[k].name, f->name) != 0)
			continue;
		f->hit_rate = a_second(f->hit, sc->old[k].hit, usec);
		f->miss_rate = a_second(f->miss, sc->old[k].miss, usec);
	}
}

static char sort_key;

static uint64_t
sort_number(const struct file_line *f)
{
	return sort_key == 'h' ? f->hit_rate :
	    sort_key == 'm'    ? f->miss_rate :
	    sort_key == 'd'    ? f->dirty :
				 f->resident;
}

static int
by_sort_key(const void *a, const void *b)
{
	const struct file_line *const *x = a, *const *y = b;
	uint64_t p = sort_number(*x), q = sort_number(*y);

	if (sort_key == 'n' || p == q)
		return strcmp((*x)->name, (*y)->name);
	return p > q ? -1 : 1;
}

/* --- drawing ------------------------------------------------------------------------------- */

static uint64_t
total_rate(const struct screen *sc, const char *key)
{
	return a_second(sample_number(&sc->now, key), sample_number(&sc->before, key),
	    sc->now.usec - sc->before.usec);
}

static void
draw_totals(const struct screen *sc)
{
	const struct sample *n = &sc->now;
	bool exact = sc->o->exact;
	uint64_t hit = total_rate(sc, "cache_hit"), miss = total_rate(sc, "cache_miss");
	uint64_t percent =
	    hit + miss > 0 ? render_ratio(hit, hit + miss) : sample_number(n, "hit_percent");
	uint64_t dirty = sample_dirty(n);

	(void)printf("poolstat - %.60s%s\033[K\r\n",
	    sc->s->home != NULL ? sc->s->home : sc->s->name, n->panicked ? "  PANICKED" : "");
	(void)printf("cache  %6sB   pages %6s   dirty %6s (%" PRIu64 ".%" PRIu64
		     " %%)   files %s   clients %s   pins %s\033[K\r\n",
	    count_text(sample_number(n, "cachesize"), exact),
	    count_text(sample_number(n, "page_clean") + sample_number(n, "page_dirty"), exact),
	    count_text(sample_number(n, "page_dirty"), exact), dirty / 100, dirty % 100 / 10,
	    count_text(sample_number(n, "files"), exact),
	    count_text(sample_number(n, "clients"), exact),
	    count_text(sample_number(n, "pins"), exact));
	(void)printf("hits   %6s/s  misses %5s/s   (%" PRIu64 ".%02" PRIu64
		     " %% hits)   in %s/s   out %s/s   evicted %s/s\033[K\r\n",
	    count_text(hit, exact), count_text(miss, exact), percent / 100, percent % 100,
	    count_text(total_rate(sc, "page_in"), exact),
	    count_text(total_rate(sc, "page_out"), exact),
	    count_text(total_rate(sc, "ro_evict") + total_rate(sc, "rw_evict"), exact));
	(void)printf("\033[K\r\n");
}

static void
draw_files(struct screen *sc)
{
	struct file_line **order = calloc(sc->nfiles + 1, sizeof(struct file_line *));
	size_t room = sc->rows > 6 ? (size_t)sc->rows - 6 : 0;
	int width = sc->columns > 42 ? sc->columns - 42 : 10;

	if (order == NULL)
		return;
	for (size_t i = 0; i < sc->nfiles; i++)
		order[i] = &sc->files[i];
	sort_key = sc->sort;
	qsort(order, sc->nfiles, sizeof(struct file_line *), by_sort_key);
	(void)printf("\033[7m%8s %8s %8s %8s   %-*s\033[0m\033[K\r\n", "Hits/s", "Misses/s",
	    "Resident", "Dirty", width, "FILE");
	for (size_t i = 0; i < sc->nfiles && i < room; i++)
		(void)printf("%8s %8s %8s %8s   %.*s\033[K\r\n",
		    count_text(order[i]->hit_rate, sc->o->exact),
		    count_text(order[i]->miss_rate, sc->o->exact),
		    count_text(order[i]->resident, sc->o->exact),
		    count_text(order[i]->dirty, sc->o->exact), width, order[i]->name);
	free(order);
}

static void
draw(struct screen *sc)
{
	terminal_size(sc);
	(void)printf("\033[H");
	draw_totals(sc);
	if (sc->s->kind == SOURCE_MOUNT)
		draw_files(sc);
	(void)printf(
	    "\033[J\033[%d;1Hq quit  sort by: h hits m misses r resident d dirty n name", sc->rows);
	(void)fflush(stdout);
}

/* --- the loop ------------------------------------------------------------------------------ */

/* False: the end. */
static bool
wait_for_key(struct screen *sc, uint64_t until)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	uint64_t now;
	char key;

	while ((now = os_monotonic_usec()) < until) {
		int ready = poll(&p, 1, (int)((until - now) / 1000 + 1));

		if (ready == -1 && errno == EINTR)
			return true; /* another size, perhaps */
		if (ready <= 0)
			return ready == 0;
		if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 3)
			return false;
		if (strchr("hmrdn", key) != NULL)
			sc->sort = key;
		if (key == ' ' || strchr("hmrdn", key) != NULL)
			return true;
	}
	return true;
}

static void
on_resize(int sig)
{
	(void)sig;
}

int
show_top(const struct options *o, const struct source *s)
{
	struct screen sc = { .o = o, .s = s, .sort = 'h' };
	double seconds = o->interval_seconds > 0 ? o->interval_seconds : 2;
	struct sigaction resize = { .sa_handler = on_resize };
	int ret = 0;

	if (source_read(s, &sc.now) != 0)
		return EXIT_FAILURE;
	if (!terminal_take()) {
		complain("--top needs a terminal");
		return EXIT_FAILURE;
	}
	(void)sigaction(SIGWINCH, &resize, NULL);
	read_files(&sc);
	for (uint64_t i = 0; ret == 0 && (o->count == 0 || i < o->count); i++) {
		draw(&sc);
		if (!wait_for_key(&sc, os_monotonic_usec() + (uint64_t)(seconds * 1e6)))
			break;
		sc.before = sc.now;
		ret = source_read(s, &sc.now);
		read_files(&sc);
		rate_files(&sc);
	}
	terminal_restore();
	free(sc.files);
	free(sc.old);
	return ret;
}
