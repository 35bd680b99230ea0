/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolstat_report.c - the state of a pool in sentences, the difference of two moments, the
 * regions of an environment, and their removal.
 */
#include "poolstat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <poolfs/mpool.h>

/* --- report -------------------------------------------------------------------------------- */

static const char *
count_of(const struct sample *now, const char *key)
{
	return count_text(sample_number(now, key), false);
}

static void
report_time(const char *what, uint64_t usec)
{
	time_t t = (time_t)(usec / 1000000);
	char text[64];
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) == 0)
		return;
	(void)printf("%s %s.\n", what, text);
}

static void
report_health(const struct source *s, const struct sample *now)
{
	if (now->panicked) {
		(void)printf("THE REGION IS PANICKED: %s.\n", now->panic_why);
		(void)printf("Process %d found that.  What is dirty in it cannot be written; "
			     "remove it with poolstat --remove %s --force.\n",
		    (int)now->panic_pid, s->home);
		report_time("That was at", now->panic_usec);
	}
	if (s->kind == SOURCE_REGION && sample_number(now, "clients") == 0)
		(void)printf("No process is attached to it%s.\n",
		    sample_number(now, "page_dirty") > 0 ?
			": what is dirty is written by the next one that is" :
			"");
}

static void
report_pages(const struct sample *now)
{
	uint64_t dirty = sample_dirty(now), clean = sample_number(now, "page_clean");

	(void)printf("It holds %sB of pages at most; %s pages are there, %" PRIu64 ".%02" PRIu64
		     " %% of them dirty.\n",
	    count_of(now, "cachesize"), count_text(clean + sample_number(now, "page_dirty"), false),
	    dirty / 100, dirty % 100);
	(void)printf("Files known to it: %s; processes attached: %s; pages pinned: %s.\n",
	    count_of(now, "files"), count_of(now, "clients"), count_of(now, "pins"));
	if (sample_number(now, "stranded") > 0)
		(void)printf("%s dirty pages could not be written by anybody lately.\n",
		    count_of(now, "stranded"));
	if (sample_number(now, "suspect") > 0)
		(void)printf("%s dirty pages were pinned by processes that were killed.\n",
		    count_of(now, "suspect"));
}

static void
report_work(const struct sample *now)
{
	uint64_t percent = sample_number(now, "hit_percent");

	(void)printf("%s pages were asked for; %" PRIu64 ".%02" PRIu64
		     " %% of those that could be were in the cache.\n",
	    count_of(now, "fget"), percent / 100, percent % 100);
	(void)printf("%s pages (%sB) were read, %s of them ahead; %s (%sB) were written.\n",
	    count_of(now, "page_in"), count_of(now, "read_bytes"), count_of(now, "prefetch"),
	    count_of(now, "page_out"), count_of(now, "write_bytes"));
	(void)printf("%s clean pages left, and %s had to be written in order to leave",
	    count_of(now, "ro_evict"), count_of(now, "rw_evict"));
	if (sample_number(now, "rw_evict") * 10 > sample_number(now, "ro_evict") &&
	    sample_number(now, "rw_evict") > 100)
		(void)printf(": the writer does not keep up");
	(void)printf(".\n");
	if (sample_number(now, "reaped") > 0)
		(void)printf("%s processes died while they were attached, and were cleaned up "
			     "after.\n",
		    count_of(now, "reaped"));
}

int
show_report(const struct source *s)
{
	struct sample now;

	if (source_read(s, &now) != 0)
		return EXIT_FAILURE;
	(void)printf("The pool of %s.\n", s->home != NULL ? s->home : s->name);
	report_health(s, &now);
	report_pages(&now);
	report_time("It has been counting since", sample_number(&now, "since_usec"));
	report_work(&now);
	return 0;
}

/* --- difference ---------------------------------------------------------------------------- */

int
show_diff(const struct source *a, const struct source *b)
{
	struct sample before, after;

	if (source_read(a, &before) != 0 || source_read(b, &after) != 0)
		return EXIT_FAILURE;
	(void)printf("%-30s %20s %20s %21s\n", "key", a->name, b->name, "difference");
	for (int i = 0; i < field_count(); i++) {
		const struct value *x = &before.values[i], *y = &after.values[i];
		int64_t d = (int64_t)(y->number - x->number);

		if (!x->known || !y->known)
			continue;
		if (field_at(i)->kind == FIELD_PERCENT)
			(void)printf("%-30s %17" PRIu64 ".%02" PRIu64 " %17" PRIu64 ".%02" PRIu64
				     " %+21.2f\n",
			    field_at(i)->key, x->number / 100, x->number % 100, y->number / 100,
			    y->number % 100, (double)d / 100);
		else
			(void)printf("%-30s %20" PRIu64 " %20" PRIu64 " %+21" PRId64 "\n",
			    field_at(i)->key, x->number, y->number, d);
	}
	return 0;
}

/* --- the environment ----------------------------------------------------------------------- */

static uint32_t
live_clients(int fd, const RLAYOUT *l)
{
	uint32_t n = 0;
	bool taken;

	for (uint32_t i = 0; i < l->nclients && i < 65536; i++)
		n += os_lock_test(fd, CLIENT_BYTE + i, &taken) == 0 && taken;
	return n;
}

static void
print_region(const char *file, int fd, const struct region_look *look)
{
	char why[REGION_WHY_BYTES + 1] = "";
	RLAYOUT l;
	size_t done;

	if (region_look_read(look, &l, sizeof(l), 0, &done) != 0 || done != sizeof(l) ||
	    l.valid != DB_REGIONMAGIC) {
		(void)printf("%-24s %14" PRIu64 " not a valid region\n", file, look->bytes);
		return;
	}
	memcpy(why, l.panic_why, REGION_WHY_BYTES);
	(void)printf("%-24s %14" PRIu64 " %14" PRIu64 " %7" PRIu32 " %3d.%d.%d %-6s %8d %s\n", file,
	    l.size, l.max, live_clients(fd, &l), (int)l.majver, (int)l.minver, (int)l.patch,
	    look->segment != NULL ? "system" : "file", look->segment != NULL ? (int)l.segid : -1,
	    l.panic != 0 ? why : "-");
}

static int
show_region(const char *file, void *arg)
{
	const char *dir = arg;
	struct region_look look;
	char *path;
	int fd;

	if (asprintf(&path, "%s/%s", dir, file) == -1)
		return ENOMEM;
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)) != -1) {
		if (region_look_init(&look, fd) == 0) {
			print_region(file, fd, &look);
			region_look_fini(&look);
		}
		(void)close(fd);
	} else {
		complain("%s: %s", path, strerror(errno));
	}
	free(path);
	return 0;
}

int
show_env(const char *home, const char *region_dir)
{
	const char *dir = region_dir != NULL ? region_dir : home;
	int err;

	(void)printf("%-24s %14s %14s %7s %7s %-6s %8s %s\n", "#region", "size", "max", "clients",
	    "version", "memory", "segid", "panic");
	if ((err = region_each(dir, show_region, (void *)(uintptr_t)dir)) == 0)
		return 0;
	complain("%s: %s", dir, strerror(err));
	return EXIT_FAILURE;
}

static void *
say(char *prefix, char *sentence)
{
	(void)prefix;
	complain("%s", sentence);
	return NULL;
}

int
remove_env(const char *home, const char *region_dir, bool force)
{
	DB_ENV env = { .db_errcall = say, .db_home = home, .region_dir = region_dir };
	int err;

	if ((err = env_remove(NULL, force, &env)) == 0)
		return 0;
	complain("%s: the regions were not removed: %s", home, db_strerror(err));
	return EXIT_FAILURE;
}
