/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/warm.c - saving and loading the warm list, so that a restarted mount starts hot.
 *
 * The list is made of one walk over the pool, sorted, adjacent pages joined to runs.  To load it
 * is to prefetch its runs: through the same descriptor of HOME as every request, file by file and
 * a part of a run at a time, so that nothing else waits for long, and only until the pool is full.
 * Loading at the start of a mount has a thread of its own; requests are served meanwhile.
 */
#include "warm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "path_fd.h"
#include "pool.h"
#include "state.h"

#define PAGES_AT_ONCE 1024u
#define PAGE_USUAL 4096u

/* --- saving -------------------------------------------------------------------------------- */

struct warm_file {
	uint32_t id;
	uint32_t pagesize;
	char *name; /* below HOME */
};

struct warm_list {
	const struct fs *fs;
	struct warm_file *files;
	size_t nfiles, files_room;
	uint64_t *keys; /* file << 32 | page */
	size_t nkeys, keys_room;
	int error;
};

static void
list_fini(struct warm_list *l)
{
	for (size_t i = 0; i < l->nfiles; i++)
		free(l->files[i].name);
	free(l->files);
	free(l->keys);
}

static int
add_file(void *arg, const struct mpool_file *f)
{
	struct warm_list *l = arg;
	size_t n = strlen(l->fs->opt->home);
	struct warm_file *files;

	if (f->resident == 0 || f->path == NULL || strncmp(f->path, l->fs->opt->home, n) != 0 ||
	    f->path[n] != '/' || strchr(f->path, '\n') != NULL)
		return 0;
	if (l->nfiles == l->files_room) {
		l->files_room = l->files_room * 2 + 64;
		files = realloc(l->files, l->files_room * sizeof(*files));
		if (files == NULL)
			return ENOMEM;
		l->files = files;
	}
	files = &l->files[l->nfiles];
	*files = (struct warm_file){ f->id, f->pagesize, strdup(f->path + n + 1) };
	if (files->name == NULL)
		return ENOMEM;
	l->nfiles++;
	return 0;
}

static void
add_key(void *arg, const struct mpool_page *p)
{
	struct warm_list *l = arg;
	uint64_t *keys;

	if (l->error != 0)
		return;
	if (l->nkeys == l->keys_room) {
		l->keys_room = l->keys_room * 2 + 1024;
		if ((keys = realloc(l->keys, l->keys_room * sizeof(*keys))) == NULL) {
			l->error = ENOMEM;
			return;
		}
		l->keys = keys;
	}
	l->keys[l->nkeys++] = (uint64_t)p->file << 32 | p->pgno;
}

static int
by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int
by_id(const void *a, const void *b)
{
	const struct warm_file *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int
list_make(struct fs *fs, struct warm_list *l)
{
	int err = 0;

	*l = (struct warm_list){ .fs = fs };
	if (pool_peek(fs) && (err = mpool_each_file(fs->pool, add_file, l)) == 0)
		err = mpool_each_page(fs->pool, 0, add_key, l);
	pool_put(fs);
	if (err == 0)
		err = l->error;
	if (err == 0 && l->nfiles > 0)
		qsort(l->files, l->nfiles, sizeof(l->files[0]), by_id);
	if (err == 0 && l->nkeys > 0)
		qsort(l->keys, l->nkeys, sizeof(l->keys[0]), by_key);
	return err;
}

static void
print_run(FILE *out, const struct warm_file *f, uint32_t first, uint32_t last)
{
	bool quote = f->name[strcspn(f->name, " \t\"\\#")] != '\0';

	if (quote)
		(void)putc('"', out);
	for (const char *c = f->name; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			(void)putc('\\', out);
		(void)putc(*c, out);
	}
	(void)fprintf(out, "%s %" PRIu32 "-%" PRIu32, quote ? "\"" : "", first, last);
	if (f->pagesize != PAGE_USUAL)
		(void)fprintf(out, " %" PRIu32, f->pagesize);
	(void)putc('\n', out);
}

/* Returns the pages of it. */
static uint64_t
print_list(FILE *out, const struct warm_list *l)
{
	uint64_t pages = 0;

	(void)fprintf(out, "# poolfs warm list: FILE FIRST-LAST [PAGESIZE]\n");
	for (size_t i = 0, end; i < l->nkeys; i = end) {
		struct warm_file key = { .id = (uint32_t)(l->keys[i] >> 32) }, *f;

		for (end = i + 1; end < l->nkeys && l->keys[end] == l->keys[end - 1] + 1 &&
		     l->keys[end] >> 32 == key.id;)
			end++;
		f = bsearch(&key, l->files, l->nfiles, sizeof(key), by_id);
		if (f == NULL)
			continue;
		print_run(out, f, (uint32_t)l->keys[i], (uint32_t)l->keys[end - 1]);
		pages += end - i;
	}
	return pages;
}

static int
write_list(const struct warm_list *l, const char *path, const char *fresh, uint64_t *pagesp)
{
	FILE *out;
	int fd, err = 0;

	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1 || (out = fdopen(fd, "w")) == NULL) {
		err = errno;
		if (fd != -1)
			(void)close(fd);
		return err;
	}
	*pagesp = print_list(out, l);
	if (fflush(out) != 0 || fsync(fd) == -1)
		err = errno;
	if (fclose(out) != 0 && err == 0)
		err = errno;
	if (err == 0 && rename(fresh, path) == -1)
		err = errno;
	if (err != 0)
		(void)unlink(fresh);
	return err;
}

/* The daemon would wait for itself. */
static int
check_path(const struct fs *fs, const char *path)
{
	size_t n = strlen(fs->opt->mountpoint);

	if (path[0] == '/' &&
	    (strncmp(path, fs->opt->mountpoint, n) != 0 || (path[n] != '/' && path[n] != '\0')))
		return 0;
	fs_log(LOG_WARNING, "warm list: %s is not an absolute path outside of the mount", path);
	return EINVAL;
}

int
warm_save(struct fs *fs, const char *path)
{
	struct warm_list l;
	uint64_t pages = 0;
	char *fresh;
	int err;

	if ((err = check_path(fs, path)) != 0)
		return err;
	if (asprintf(&fresh, "%s.new", path) == -1)
		return ENOMEM;
	if ((err = list_make(fs, &l)) == 0)
		err = write_list(&l, path, fresh, &pages);
	if (err != 0)
		fs_log(LOG_WARNING, "warm list: %s was not written: %s", path, db_strerror(err));
	else
		fs_log(LOG_INFO, "warm list: %" PRIu64 " pages saved to %s", pages, path);
	list_fini(&l);
	free(fresh);
	return err;
}

/* --- loading ------------------------------------------------------------------------------- */

struct loading {
	struct fs *fs;
	uint64_t pages, bytes; /* asked for so far */
	uint64_t missing;      /* lines about files that are not there */
	uint64_t room;	       /* bytes that the pool holds */
};

struct warm_run {
	const char *name;
	uint64_t first, last, pagesize;
};

static bool
parse_run(char *line, struct warm_run *r)
{
	char *words[CTL_WORDS], *dash;
	int n;

	if (ctl_split(line, words, &n) != 0 || n < 2 || n > 3 ||
	    (dash = strchr(words[1], '-')) == NULL)
		return false;
	*dash = '\0';
	*r = (struct warm_run){ .name = words[0], .pagesize = PAGE_USUAL };
	if (!ctl_number(words[1], false, UINT32_MAX, &r->first) ||
	    !ctl_number(dash + 1, false, UINT32_MAX, &r->last) || r->first > r->last)
		return false;
	return n == 2 ||
	    (ctl_number(words[2], false, 65536, &r->pagesize) && r->pagesize >= 512 &&
		(r->pagesize & (r->pagesize - 1)) == 0);
}

/* A regular file beneath HOME that is not one of the pool's own. */
static int
open_file(struct fs *fs, const char *name, int *fdp)
{
	const char *base = strrchr(name, '/');
	struct os_ident ident;
	struct statx sx;
	int fd, err;

	if (files_hidden(base != NULL ? base + 1 : name))
		return ENOENT;
	if ((err = path_fd_open(fs->home_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, &fd)) != 0)
		return err;
	if ((err = node_statx(fd, &sx)) == 0) {
		node_ident(&sx, &ident);
		if (!S_ISREG(sx.stx_mode) || files_is_region(fs, &ident))
			err = ENOENT;
	}
	if (err != 0) {
		(void)close(fd);
		return err;
	}
	*fdp = fd;
	return 0;
}

/* n pages from first on; the caller holds the pool. */
static int
load_part(struct fs *fs, const struct warm_run *r, uint64_t first, uint64_t n)
{
	DB_MPOOLFILE *mpf;
	char *path;
	int fd, err;

	if ((err = open_file(fs, r->name, &fd)) != 0)
		return err;
	if (asprintf(&path, "%s/%s", fs->opt->home, r->name) == -1) {
		(void)close(fd);
		return ENOMEM;
	}
	err = mpool_open_fd(
	    fs->pool, fd, path, DB_RDONLY | DB_ODDFILESIZE, (size_t)r->pagesize, &mpf);
	if (err == 0) {
		(void)memp_fprefetch(mpf, (db_pgno_t)first, (db_pgno_t)n);
		(void)memp_fclose(mpf);
	}
	free(path);
	return err;
}

static bool
is_stopped(const struct loading *l)
{
	return l->bytes >= l->room || __atomic_load_n(&l->fs->warm_stop, __ATOMIC_ACQUIRE);
}

static int
load_run(struct loading *l, const struct warm_run *r)
{
	uint64_t n;
	int err;

	for (uint64_t first = r->first; first <= r->last && !is_stopped(l); first += n) {
		n = r->last - first + 1 < PAGES_AT_ONCE ? r->last - first + 1 : PAGES_AT_ONCE;
		if (l->bytes + n * r->pagesize > l->room)
			n = (l->room - l->bytes) / r->pagesize + 1;
		if ((err = pool_get(l->fs)) != 0)
			return err;
		err = load_part(l->fs, r, first, n);
		pool_put(l->fs);
		if (err == ENOMEM || err == ENFILE)
			return err;
		if (err != 0) {
			l->missing++;
			break;
		}
		l->pages += n;
		l->bytes += n * r->pagesize;
	}
	return 0;
}

static int
load_lines(struct loading *l, FILE *in, uint64_t *linep)
{
	size_t room = 0, len;
	struct warm_run r;
	char *line = NULL;
	int err = 0;

	while (err == 0 && !is_stopped(l) && getline(&line, &room, in) != -1) {
		++*linep;
		len = strcspn(line, "\n");
		line[len] = '\0';
		if (len == 0 || line[0] == '#')
			continue;
		err = parse_run(line, &r) ? load_run(l, &r) : EINVAL;
	}
	if (err == 0 && ferror(in))
		err = EIO;
	free(line);
	return err;
}

static int
load_file(struct fs *fs, const char *path, struct loading *l, uint64_t *linep)
{
	DB_MPOOL_STAT *st;
	FILE *in;
	int err;

	if ((in = fopen(path, "re")) == NULL)
		return errno;
	if ((err = pool_get(fs)) == 0) {
		if ((err = memp_stat(fs->pool, &st, NULL, NULL)) == 0) {
			l->room = st->st_cachesize;
			free(st);
		}
		pool_put(fs);
	}
	if (err == 0)
		err = load_lines(l, in, linep);
	(void)fclose(in);
	return err;
}

int
warm_load(struct fs *fs, const char *path)
{
	struct loading l = { .fs = fs };
	uint64_t line = 0;
	int err;

	if ((err = check_path(fs, path)) != 0)
		return err;
	err = load_file(fs, path, &l, &line);
	if (err == EINVAL)
		fs_log(LOG_WARNING, "warm list: %s: line %" PRIu64 " is not FILE FIRST-LAST", path,
		    line);
	else if (err != 0)
		fs_log(LOG_WARNING, "warm list: %s: %s", path, db_strerror(err));
	else
		fs_log(LOG_INFO,
		    "warm list: %" PRIu64 " pages of %s loaded, %" PRIu64
		    " lines were about files that are not there",
		    l.pages, path, l.missing);
	return err;
}

/* --- the mount's own ----------------------------------------------------------------------- */

static void *
warm_main(void *arg)
{
	struct fs *fs = arg;

	(void)warm_load(fs, fs->opt->warm);
	return NULL;
}

int
warm_start(struct fs *fs)
{
	int err;

	/* The first time there is none yet. */
	if (fs->opt->warm == NULL || (access(fs->opt->warm, F_OK) == -1 && errno == ENOENT))
		return 0;
	err = os_thread_start(&fs->warm, warm_main, fs);
	fs->warm_runs = err == 0;
	return err;
}

void
warm_stop(struct fs *fs)
{
	if (fs->warm_runs) {
		__atomic_store_n(&fs->warm_stop, true, __ATOMIC_RELEASE);
		(void)pthread_join(fs->warm, NULL);
		fs->warm_runs = false;
	}
	if (fs->opt->warm != NULL && fs->opt->warm_on_exit && fs->pool != NULL)
		(void)warm_save(fs, fs->opt->warm);
}
