/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/ctl.c - the commands that can be written to ctl.
 *
 * One table has every verb with its words and its line of help; reading ctl prints it.  A command
 * that fails says one sentence, which is in stat/daemon as last_error and in stat/events, and its
 * error is what the writer's write(2) returns.  What a command did, it says too.
 *
 * A file is named by its path below HOME, by its path in the mount, or, if it lies elsewhere, by
 * its absolute path; it is found beneath HOME's own descriptor, or by the name that the pool
 * knows it by.  Nothing else is opened on anybody's behalf, the warm list apart, which is the
 * daemon's own to read and write.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "path_fd.h"
#include "pool.h"
#include "region_dir.h"
#include "render.h"
#include "state.h"
#include "warm.h"

#define COMMAND_BYTES 16384u

struct verb {
	const char *name;
	const char *words; /* behind it, for people */
	int least, most;   /* words behind it */
	int (*run)(struct fs *fs, char **words, int n);
	const char *help;
};

static int
fail(int error, const char *verb, const char *what)
{
	fs_log(LOG_WARNING, "ctl: %s: %s", verb, what);
	return error;
}

/* --- files --------------------------------------------------------------------------------- */

/* What is behind prefix and a slash in path, or NULL. */
static const char *
behind(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(path, prefix, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

/* word as a path below HOME, or NULL if it names a place elsewhere. */
static const char *
below_home(const struct fs *fs, const char *word)
{
	const char *in_mount;

	if (word[0] != '/')
		return word;
	if ((in_mount = behind(word, fs->opt->mountpoint)) != NULL)
		return strncmp(in_mount, "files/", 6) == 0 ? in_mount + 6 : in_mount;
	return behind(word, fs->opt->home);
}

struct search {
	const char *path;
	struct os_ident *ident;
};

static int
is_path(void *arg, const struct mpool_file *f)
{
	struct search *s = arg;

	if (f->path == NULL || strcmp(f->path, s->path) != 0)
		return 0;
	*s->ident = f->ident;
	return EEXIST;
}

/* The caller holds the pool.  ENOENT: there is no such file, and the pool has none. */
static int
find_file(struct fs *fs, const char *word, struct os_ident *ident)
{
	struct search s = { .path = word, .ident = ident };
	const char *name = below_home(fs, word);
	struct statx sx;
	int fd, err;

	if (name == NULL) {
		err = mpool_each_file(fs->pool, is_path, &s);
		return err == EEXIST ? 0 : err != 0 ? err : ENOENT;
	}
	if ((err = path_fd_open(fs->home_fd, name, O_PATH, &fd)) != 0)
		return err == EXDEV ? ENOENT : err;
	err = node_statx(fd, &sx);
	(void)close(fd);
	if (err == 0 && !S_ISREG(sx.stx_mode))
		err = S_ISDIR(sx.stx_mode) ? EISDIR : EINVAL;
	if (err == 0)
		node_ident(&sx, ident);
	return err;
}

/* --- verbs --------------------------------------------------------------------------------- */

static int
sync_file(struct fs *fs, const char *word)
{
	struct os_ident ident;
	int err;

	if ((err = find_file(fs, word, &ident)) != 0)
		return err;
	err = mpool_sync_ident(fs->pool, &ident);
	return err == ENOENT ? 0 : err; /* the pool has nothing of it */
}

static int
run_sync(struct fs *fs, char **words, int n)
{
	char what[300];
	int err = 0;

	if (n == 0)
		err = pool_peek(fs) ? pool_sync(fs) : 0;
	else if ((err = pool_get(fs)) == 0)
		err = sync_file(fs, words[0]);
	else
		return err;
	pool_put(fs);
	if (err == 0)
		return 0;
	(void)snprintf(
	    what, sizeof(what), "%.200s: %s", n == 0 ? "not all" : words[0], db_strerror(err));
	return fail(err, "sync", what);
}

static int
run_trickle(struct fs *fs, char **words, int n)
{
	uint64_t percent;
	int wrote = 0, err;

	(void)n;
	if (!ctl_number(words[0], true, 100, &percent) || percent == 0)
		return fail(EINVAL, "trickle", "from 1% to 100%");
	if ((err = pool_get(fs)) != 0)
		return err;
	err = memp_trickle(fs->pool, (int)percent, &wrote);
	pool_put(fs);
	if (err != 0)
		return fail(err, "trickle", db_strerror(err));
	fs_log(LOG_INFO, "ctl: trickle: %d pages written", wrote);
	return 0;
}

static int
parse_range(char **words, int n, uint64_t *firstp, uint64_t *lastp)
{
	*firstp = 0;
	*lastp = UINT32_MAX;
	if (n > 1 && !ctl_number(words[1], false, UINT32_MAX, firstp))
		return EINVAL;
	if (n == 2)
		*lastp = *firstp;
	if (n > 2 && !ctl_number(words[2], false, UINT32_MAX, lastp))
		return EINVAL;
	return *firstp <= *lastp ? 0 : EINVAL;
}

static int
evict_range(struct fs *fs, const char *word, uint64_t first, uint64_t last, struct mpool_left *left)
{
	struct os_ident ident;
	int err;

	if ((err = find_file(fs, word, &ident)) != 0)
		return err;
	err = mpool_evict_range(fs->pool, &ident, (db_pgno_t)first, (db_pgno_t)last, left);
	return err == ENOENT ? 0 : err;
}

static int
run_evict(struct fs *fs, char **words, int n)
{
	struct mpool_left left = { 0 };
	uint64_t first, last;
	char what[300];
	int err;

	if (parse_range(words, n, &first, &last) != 0)
		return fail(EINVAL, "evict", "FILE, then the first page, then the last");
	if ((err = pool_get(fs)) != 0)
		return err;
	err = evict_range(fs, words[0], first, last, &left);
	pool_put(fs);
	if (err == 0 && left.pinned > 0)
		err = EBUSY;
	if (err == 0 && left.dirty > 0)
		err = EIO;
	(void)snprintf(what, sizeof(what),
	    "%.150s: %" PRIu64 " pages went, %" PRIu64 " are pinned, %" PRIu64
	    " could not be written",
	    words[0], left.gone, left.pinned, left.dirty);
	if (err == EBUSY || err == EIO)
		return fail(err, "evict", what);
	if (err != 0) {
		(void)snprintf(what, sizeof(what), "%.200s: %s", words[0], db_strerror(err));
		return fail(err, "evict", what);
	}
	fs_log(LOG_INFO, "ctl: evict: %s", what);
	return 0;
}

static int
run_save(struct fs *fs, char **words, int n)
{
	(void)n;
	return warm_save(fs, words[0]);
}

static int
run_load(struct fs *fs, char **words, int n)
{
	(void)n;
	return warm_load(fs, words[0]);
}

/* The pool has said more, or has not. */
static const char *
why_not(int err, bool more)
{
	switch (err) {
	case EBUSY:
		return "pages in the way are pinned or cannot be written";
	case EINVAL:
		return more ? "it is that large already" :
			      "it is that small already, or cannot be";
	case ENOMEM:
		return "it may not grow so far (--cache-max), or there is no memory";
	default:
		return db_strerror(err);
	}
}

static int
resize(struct fs *fs, char **words, const char *verb, bool more)
{
	char file[REGION_NAME_BYTES], what[300];
	enum region_view view;
	uint64_t bytes;
	struct stat st;
	int err = ENOENT;

	if (!ctl_size(words[1], &bytes))
		return fail(EINVAL, verb, "REGION, and a size such as 64M");
	if (region_parse_name(words[0], file, &view) && view == REGION_RAW &&
	    (err = region_stat_file(fs, file, &st)) == 0)
		err = region_resize(fs, file, bytes, more);
	if (err == 0)
		return 0;
	(void)snprintf(what, sizeof(what), "%.200s: %s", words[0], why_not(err, more));
	return fail(err, verb, what);
}

static int
run_grow(struct fs *fs, char **words, int n)
{
	(void)n;
	return resize(fs, words, "grow", true);
}

static int
run_shrink(struct fs *fs, char **words, int n)
{
	(void)n;
	return resize(fs, words, "shrink", false);
}

static int
run_unlink(struct fs *fs, char **words, int n)
{
	char file[REGION_NAME_BYTES], what[400];
	enum region_view view;
	struct stat st;
	int err = 0;

	if (n > 1 && strcmp(words[1], "force") != 0)
		return fail(EINVAL, "unlink", "REGION, and force or nothing");
	if (!region_parse_name(words[0], file, &view) || view != REGION_RAW)
		err = ENOENT;
	else if ((err = region_stat_file(fs, file, &st)) == 0)
		err = region_remove(fs, file, n > 1);
	if (err == 0)
		return 0;
	(void)snprintf(what, sizeof(what), "%.200s: %s", words[0], db_strerror(err));
	return fail(err, "unlink", what);
}

static int
run_reap(struct fs *fs, char **words, int n)
{
	int err;

	(void)words;
	(void)n;
	if ((err = pool_get(fs)) != 0)
		return err;
	err = memp_reap(fs->pool);
	pool_put(fs);
	return err != 0 ? fail(err, "reap", db_strerror(err)) : 0;
}

static void
note_fault(void *arg, const char *sentence)
{
	struct check_result *c = arg;

	if (c->faults++ == 0)
		(void)snprintf(c->first, sizeof(c->first), "%s", sentence);
}

static int
run_check(struct fs *fs, char **words, int n)
{
	struct check_result c = { .usec = os_now_usec() };
	uint64_t begun = os_monotonic_usec();
	int err;

	(void)words;
	(void)n;
	if ((err = pool_get(fs)) != 0)
		return err;
	pool_hear(note_fault, &c);
	c.result = err = mpool_check(fs->pool, false);
	pool_hear(NULL, NULL);
	pool_put(fs);
	c.took_usec = os_monotonic_usec() - begun;
	(void)pthread_mutex_lock(&fs->steering.lock);
	c.checks = fs->steering.check.checks + 1;
	fs->steering.check = c;
	(void)pthread_mutex_unlock(&fs->steering.lock);
	return err != 0 ? fail(EIO, "check", c.faults > 0 ? c.first : db_strerror(err)) : 0;
}

static int
run_reset(struct fs *fs, char **words, int n)
{
	DB_MPOOL_STAT *st;
	int err;

	(void)words;
	(void)n;
	if ((err = pool_get(fs)) != 0)
		return err;
	if ((err = memp_stat(fs->pool, &st, NULL, NULL)) == 0) {
		(void)pthread_mutex_lock(&fs->steering.lock);
		fs->steering.reset = *st;
		fs->steering.reset_usec = os_now_usec();
		fs->steering.reset_region = mpool_region(fs->pool)->layout->region_id;
		(void)pthread_mutex_unlock(&fs->steering.lock);
		free(st);
	}
	pool_put(fs);
	return err != 0 ? fail(err, "reset", db_strerror(err)) : 0;
}

static int
run_trace(struct fs *fs, char **words, int n)
{
	int verbose = 1;

	for (int i = 0; i < n; i++)
		if (strcmp(words[i], "regions") == 0)
			verbose = 2;
		else if (strcmp(words[i], "errors") == 0)
			verbose = 0;
		else if (strcmp(words[i], "off") != 0)
			return fail(EINVAL, "trace", "regions, errors or off");
	/* An int that core reads whenever it has something to say. */
	__atomic_store_n(&fs->env.db_verbose, verbose, __ATOMIC_RELAXED);
	return 0;
}

static const struct verb verbs[] = {
	{ "sync", "[FILE]", 0, 1, run_sync, "write everything, or all of FILE, to the disk" },
	{ "trickle", "N%", 1, 1, run_trickle, "write until N% of the pool is clean" },
	{ "evict", "FILE [FIRST [LAST]]", 1, 3, run_evict,
	    "write what is dirty of FILE's pages, then drop them" },
	{ "save", "PATH", 1, 1, run_save, "write down which pages are there: the warm list" },
	{ "load", "PATH", 1, 1, run_load, "read the pages that a warm list names" },
	{ "grow", "REGION SIZE", 2, 2, run_grow, "make a region larger, in use as it is" },
	{ "shrink", "REGION SIZE", 2, 2, run_shrink,
	    "make it smaller: what is dirty there is written, and its memory given back" },
	{ "unlink", "REGION [force]", 1, 2, run_unlink,
	    "remove a region; with force even if it is in use" },
	{ "reap", "", 0, 0, run_reap, "take over what killed processes left, now" },
	{ "check", "", 0, 0, run_check, "walk through the pool; stat/check says what was found" },
	{ "reset", "", 0, 0, run_reset, "let stat/pool count from 0 again" },
	{ "trace", "regions|errors|off", 1, CTL_WORDS - 1, run_trace,
	    "what stat/events tells: attaching too, or no warnings; off: as at first" },
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

/* --- running ------------------------------------------------------------------------------- */

static int
run_words(struct fs *fs, char **words, int n)
{
	char what[200];

	for (size_t i = 0; i < VERBS; i++) {
		const struct verb *v = &verbs[i];

		if (strcmp(words[0], v->name) != 0)
			continue;
		if (n - 1 >= v->least && n - 1 <= v->most)
			return v->run(fs, words + 1, n - 1);
		(void)snprintf(what, sizeof(what), "usage: %s %s", v->name, v->words);
		return fail(EINVAL, v->name, what);
	}
	(void)snprintf(what, sizeof(what), "%.100s", words[0]);
	return fail(EINVAL, what, "no such command; reading ctl lists them");
}

static int
run_line(struct fs *fs, char *line)
{
	char *words[CTL_WORDS];
	int n, err;

	if ((err = ctl_split(line, words, &n)) != 0)
		return fail(
		    EINVAL, "command", err == E2BIG ? "too many words" : "a quote is not closed");
	return n == 0 ? 0 : run_words(fs, words, n);
}

int
ctl_run(struct fs *fs, const char *text, size_t bytes)
{
	char *copy, *line, *next;
	int err = 0;

	if (bytes > COMMAND_BYTES || memchr(text, '\0', bytes) != NULL)
		return fail(EINVAL, "command", "it is too long, or has a NUL in it");
	if ((copy = strndup(text, bytes)) == NULL)
		return ENOMEM;
	for (line = copy; err == 0 && line != NULL; line = next) {
		if ((next = strchr(line, '\n')) != NULL)
			*next++ = '\0';
		err = run_line(fs, line);
	}
	free(copy);
	return err < 0 ? EIO : err;
}

int
ctl_help(struct fs *fs, struct text *t)
{
	char usage[64];

	(void)fs;
	text_add(t,
	    "# Write one of these, e.g. echo sync > ctl.  Words are split by blanks, \"...\"\n"
	    "# keeps them; FILE is below files/; # begins a comment.\n");
	for (size_t i = 0; i < VERBS; i++) {
		(void)snprintf(usage, sizeof(usage), "%s %s", verbs[i].name, verbs[i].words);
		text_add(t, "%-28s # %s\n", usage, verbs[i].help);
	}
	return 0;
}

/* --- what was left behind ------------------------------------------------------------------ */

static void
take_off(u_int64_t *counter, u_int64_t before)
{
	*counter = *counter > before ? *counter - before : 0;
}

void
ctl_since_reset(struct fs *fs, uint64_t region_id, DB_MPOOL_STAT *st, uint64_t *since_usec)
{
	struct steering *s = &fs->steering;

	(void)pthread_mutex_lock(&s->lock);
	if (s->reset_usec != 0 && s->reset_region == region_id) {
		*since_usec = s->reset_usec;
		/* Those that stat.def calls totals. */
#define STAT_TOTAL(member) take_off(&st->member, s->reset.member)
		STAT_TOTAL(st_cache_hit);
		STAT_TOTAL(st_cache_miss);
		STAT_TOTAL(st_map);
		STAT_TOTAL(st_page_create);
		STAT_TOTAL(st_page_in);
		STAT_TOTAL(st_page_out);
		STAT_TOTAL(st_ro_evict);
		STAT_TOTAL(st_rw_evict);
		STAT_TOTAL(st_hash_searches);
		STAT_TOTAL(st_hash_examined);
		STAT_TOTAL(st_page_trickle);
		STAT_TOTAL(st_suspect);
		STAT_TOTAL(st_page_new);
		STAT_TOTAL(st_fget);
		STAT_TOTAL(st_prefetch);
		STAT_TOTAL(st_read_bytes);
		STAT_TOTAL(st_write_bytes);
		STAT_TOTAL(st_reaped);
#undef STAT_TOTAL
	}
	(void)pthread_mutex_unlock(&s->lock);
}

void
ctl_checked(struct fs *fs, struct check_result *copy)
{
	(void)pthread_mutex_lock(&fs->steering.lock);
	*copy = fs->steering.check;
	(void)pthread_mutex_unlock(&fs->steering.lock);
}
