/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolstat.c - the program poolstat: shows what a pool does.
 *
 * It looks through a mount, or at a region itself when there is no mount, when its daemon is dead
 * and when it is panicked.  This file is its command line; what is shown is in the others.
 */
#include "poolstat.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <poolfs/env.h>

void
complain(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)fflush(stdout);
	(void)fprintf(stderr, "poolstat: %s\n", text);
}

static void
print_help(void)
{
	(void)printf(
	    "usage: poolstat [options] MOUNTPOINT|HOME|FILE [INTERVAL [COUNT]]\n"
	    "       poolstat --diff FILE FILE|MOUNTPOINT|HOME\n"
	    "       poolstat --env HOME | --remove HOME [--force]\n"
	    "\n"
	    "Shows what a pool does: once, or every INTERVAL seconds what happened in them.\n"
	    "FILE is a region's file, or a copy of stat/pool.\n"
	    "\n"
	    "  -o, --output=COLUMNS   a comma-separated list of columns\n"
	    "      --columns          list them\n"
	    "  -J, --json             an object a line\n"
	    "  -r, --raw              one blank between columns, exact numbers\n"
	    "  -b, --bytes            exact numbers, no 1.2M\n"
	    "      --noheadings       no headers\n"
	    "      --top              on a screen that renews itself\n"
	    "      --report           in sentences\n"
	    "      --wait=CONDITION   until it holds, such as 'dirty>80%%' or pins=0\n"
	    "      --timeout=SECONDS  of --wait; then the status is 1\n"
	    "      --diff             what changed from one to the other\n"
	    "      --env              the regions of HOME\n"
	    "      --remove           remove the regions of HOME, if nobody uses them\n"
	    "      --force            even so\n"
	    "      --region-dir=DIR   where the region files are, if not in HOME\n"
	    "  -h, --help             print this\n"
	    "  -V, --version          print the version\n");
}

enum long_option {
	OPT_TOP = 256,
	OPT_REPORT,
	OPT_WAIT,
	OPT_TIMEOUT,
	OPT_DIFF,
	OPT_ENV,
	OPT_REMOVE,
	OPT_FORCE,
	OPT_REGION_DIR,
	OPT_COLUMNS,
	OPT_NO_HEADINGS,
};

static const struct option long_options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "json", no_argument, NULL, 'J' },
	{ "raw", no_argument, NULL, 'r' },
	{ "bytes", no_argument, NULL, 'b' },
	{ "noheadings", no_argument, NULL, OPT_NO_HEADINGS },
	{ "columns", no_argument, NULL, OPT_COLUMNS },
	{ "top", no_argument, NULL, OPT_TOP },
	{ "report", no_argument, NULL, OPT_REPORT },
	{ "wait", required_argument, NULL, OPT_WAIT },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "diff", no_argument, NULL, OPT_DIFF },
	{ "env", no_argument, NULL, OPT_ENV },
	{ "remove", no_argument, NULL, OPT_REMOVE },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "region-dir", required_argument, NULL, OPT_REGION_DIR },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static bool
parse_uint(const char *s, uint64_t *np)
{
	char *end;

	errno = 0;
	*np = strtoull(s, &end, 10);
	return *s >= '0' && *s <= '9' && errno == 0 && *end == '\0';
}

/* What to do, of which there can be one. */
static int
set_what(struct options *o, enum what_to_show what)
{
	if (o->what != SHOW_TABLE && o->what != what) {
		complain("only one of --top, --report, --wait, --diff, --env and --remove");
		return EXIT_USAGE;
	}
	o->what = what;
	return 0;
}

static int
set_word(struct options *o, int c)
{
	switch (c) {
	case OPT_TOP:
		return set_what(o, SHOW_TOP);
	case OPT_REPORT:
		return set_what(o, SHOW_REPORT);
	case OPT_DIFF:
		return set_what(o, SHOW_DIFF);
	case OPT_ENV:
		return set_what(o, SHOW_ENV);
	case OPT_REMOVE:
		return set_what(o, DO_REMOVE);
	case OPT_COLUMNS:
		return set_what(o, SHOW_COLUMNS);
	case 'h':
		o->what = DO_HELP;
		return 0;
	case 'V':
		o->what = DO_VERSION;
		return 0;
	default:
		complain("try poolstat --help");
		return EXIT_USAGE;
	}
}

static int
set_option(struct options *o, int c)
{
	switch (c) {
	case 'o':
		o->columns = optarg;
		return 0;
	case 'J':
		o->json = true;
		return 0;
	case 'r':
		o->raw = true;
		return 0;
	case 'b':
		o->exact = true;
		return 0;
	case OPT_NO_HEADINGS:
		o->no_headings = true;
		return 0;
	case OPT_FORCE:
		o->force = true;
		return 0;
	case OPT_REGION_DIR:
		o->region_dir = optarg;
		return 0;
	case OPT_WAIT:
		o->condition = optarg;
		return set_what(o, SHOW_WAIT);
	case OPT_TIMEOUT:
		if (parse_uint(optarg, &o->timeout_seconds))
			return 0;
		complain("timeout: seconds, not %s", optarg);
		return EXIT_USAGE;
	default:
		return set_word(o, c);
	}
}

static int
set_interval(struct options *o, int n, char **words)
{
	char *end;

	if (n > 0) {
		o->interval_seconds = strtod(words[0], &end);
		if (end == words[0] || *end != '\0' || !(o->interval_seconds >= 0.01) ||
		    o->interval_seconds > 86400) {
			complain("an interval is 0.01 to 86400 seconds, not %s", words[0]);
			return EXIT_USAGE;
		}
	}
	if (n > 1 && (!parse_uint(words[1], &o->count) || o->count == 0)) {
		complain("a count is a number from 1 on, not %s", words[1]);
		return EXIT_USAGE;
	}
	return 0;
}

static int
set_operands(struct options *o, int n, char **words)
{
	bool is_diff = o->what == SHOW_DIFF;

	if (o->what == SHOW_COLUMNS || o->what == DO_HELP || o->what == DO_VERSION)
		return 0;
	if (n < (is_diff ? 2 : 1) || n > (is_diff ? 2 : 3)) {
		complain("%s; try poolstat --help",
		    n == 0 ? "which MOUNTPOINT or HOME?" : "wrong number of words");
		return EXIT_USAGE;
	}
	o->target = words[0];
	if (!is_diff)
		return set_interval(o, n - 1, words + 1);
	o->other = words[1];
	return 0;
}

static int
parse(int argc, char **argv, struct options *o)
{
	int c, ret;

	*o = (struct options){ .what = SHOW_TABLE };
	while ((c = getopt_long(argc, argv, "o:JrbhV", long_options, NULL)) != -1) {
		if ((ret = set_option(o, c)) != 0)
			return ret;
		if (o->what == DO_HELP || o->what == DO_VERSION)
			return 0;
	}
	return set_operands(o, argc - optind, argv + optind);
}

static int
show_source(const struct options *o)
{
	struct source s, other;
	int ret;

	if ((ret = source_open(o->target, o->region_dir, &s)) == 0) {
		if (o->what == SHOW_TOP)
			ret = show_top(o, &s);
		else if (o->what == SHOW_REPORT)
			ret = show_report(&s);
		else if (o->what == SHOW_WAIT)
			ret = show_wait(o, &s);
		else if (o->what == SHOW_TABLE)
			ret = show_table(o, &s);
		else if ((ret = source_open(o->other, o->region_dir, &other)) == 0) {
			ret = show_diff(&s, &other);
			source_close(&other);
		}
	}
	source_close(&s);
	return ret;
}

int
main(int argc, char **argv)
{
	struct options o;
	int ret;

	if ((ret = parse(argc, argv, &o)) != 0)
		return ret;
	if (o.what == DO_HELP)
		print_help();
	else if (o.what == DO_VERSION)
		(void)printf("poolstat %s\nlibpoolfs %s\nregion format %u\n", POOLFS_VERSION,
		    db_version(NULL, NULL, NULL), REGION_FORMAT);
	else if (o.what == SHOW_COLUMNS)
		ret = show_columns();
	else if (o.what == SHOW_ENV)
		ret = show_env(o.target, o.region_dir);
	else if (o.what == DO_REMOVE)
		ret = remove_env(o.target, o.region_dir, o.force);
	else
		ret = show_source(&o);
	if (fflush(stdout) != 0 && ret == 0)
		ret = EXIT_FAILURE;
	return ret;
}
