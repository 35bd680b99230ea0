/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/poolstat_source.c - where poolstat's numbers come from.
 *
 * A mount is asked through its stat/pool.  Without a mount, or when its daemon is dead, the
 * region's own bytes say the same: they are looked at from outside, without attaching, so that a
 * panicked or deserted region can be seen too, and nothing is changed by looking.  A copy of
 * stat/pool that was saved some time ago serves as well.
 */
#include "poolstat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mounted.h"
#include "pool/look.h"
#include "view.h"

#define POOL_FILE "__db_mpool.share"
#define CLIENTS_MOST 65536u

/* --- fields -------------------------------------------------------------------------------- */

static const struct {
	const char *name, *key;
} short_names[] = {
	{ "hit", "cache_hit" },
	{ "miss", "cache_miss" },
	{ "clean", "page_clean" },
	{ "dirty", "page_dirty" },
	{ "in", "page_in" },
	{ "out", "page_out" },
};

int
field_number(const char *key)
{
	for (size_t i = 0; i < sizeof(short_names) / sizeof(short_names[0]); i++)
		if (strcmp(key, short_names[i].name) == 0)
			key = short_names[i].key;
	for (size_t i = 0; i < view_pool.nfields; i++)
		if (strcmp(key, view_pool.fields[i].key) == 0)
			return (int)i;
	return -1;
}

const struct field *
field_at(int number)
{
	return &view_pool.fields[number];
}

int
field_count(void)
{
	return (int)view_pool.nfields;
}

bool
field_is_total(int number)
{
	const char *metric = view_pool.fields[number].metric;
	size_t n = strlen(metric);

	return n > 6 && strcmp(metric + n - 6, "_total") == 0;
}

uint64_t
sample_number(const struct sample *sample, const char *key)
{
	int i = field_number(key);

	return i >= 0 && sample->values[i].known ? sample->values[i].number : 0;
}

uint64_t
sample_dirty(const struct sample *sample)
{
	uint64_t dirty = sample_number(sample, "page_dirty");

	return render_ratio(dirty, dirty + sample_number(sample, "page_clean"));
}

/* --- text ---------------------------------------------------------------------------------- */

/* "12345", or "98.76" in hundredths. */
static bool
parse_value(const struct field *f, const char *text, struct value *v)
{
	unsigned long long whole, part = 0;
	char *end;

	errno = 0;
	whole = strtoull(text, &end, 10);
	if (end == text || errno != 0)
		return false;
	if (f->kind == FIELD_PERCENT && *end == '.')
		part = strtoull(end + 1, &end, 10);
	v->known = true;
	v->number = f->kind == FIELD_PERCENT ? whole * 100 + part : whole;
	return *end == '\0';
}

/* Keys that this version does not know are a newer one's. */
static int
parse_text(FILE *f, struct sample *sample)
{
	char line[256], key[128], text[128];
	int known = 0, i;

	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%127s %127s", key, text) != 2 || (i = field_number(key)) < 0)
			continue;
		known += parse_value(field_at(i), text, &sample->values[i]);
	}
	return ferror(f) ? EIO : known > 0 ? 0 : EPROTO;
}

static int
read_text(const char *path, struct sample *sample)
{
	FILE *f;
	int err;

	if ((f = fopen(path, "re")) == NULL)
		return errno;
	err = parse_text(f, sample);
	(void)fclose(f);
	return err;
}

/* --- regions ------------------------------------------------------------------------------- */

static uint32_t
count_live(int fd, const RLAYOUT *l)
{
	uint32_t n = 0;
	bool taken;

	for (uint32_t i = 0; i < l->nclients && i < CLIENTS_MOST; i++)
		n += os_lock_test(fd, CLIENT_BYTE + i, &taken) == 0 && taken;
	return n;
}

static int
read_look(const struct region_look *look, struct sample *sample)
{
	DB_MPOOL_STAT st;
	struct sheet s;
	RLAYOUT l;
	size_t done;
	int err;

	if ((err = region_look_read(look, &l, sizeof(l), 0, &done)) != 0)
		return err;
	if (done != sizeof(l) || (err = mpool_look_stat(look, &st)) != 0)
		return err != 0 ? err : EPROTO;
	st.st_clients = count_live(look->fd, &l);
	sample->panicked = l.panic != 0;
	sample->panic_pid = l.panic_pid;
	sample->panic_usec = l.panic_usec;
	memcpy(sample->panic_why, l.panic_why, REGION_WHY_BYTES);
	sheet_init(&s, view_pool.fields, view_pool.nfields, view_pool.shape);
	view_pool_row(&s, 0, l.created_usec, &st);
	if ((err = s.error) == 0)
		memcpy(sample->values, s.values, s.nfields * sizeof(s.values[0]));
	sheet_fini(&s);
	return err;
}

static int
read_region(const char *path, struct sample *sample)
{
	struct region_look look;
	int fd, err;

	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) == -1)
		return errno;
	if ((err = region_look_init(&look, fd)) == 0) {
		err = read_look(&look, sample);
		region_look_fini(&look);
	}
	(void)close(fd);
	return err;
}

/* --- sources ------------------------------------------------------------------------------- */

static char *
path_of(const char *dir, const char *file)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, file) == -1 ? NULL : path;
}

static bool
is_there(char *path)
{
	return path != NULL && access(path, F_OK) == 0;
}

/* The directory behind a mount, whether or not its daemon lives. */
static char *
mounted_home(const char *target)
{
	char path[PATH_MAX];
	struct mounted m;
	char *home = NULL;

	/* What is dead cannot be asked for its path: as it was given must do. */
	if (realpath(target, path) == NULL && snprintf(path, sizeof(path), "%s", target) < 0)
		return NULL;
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	if (mounted_find(path, &m) && strcmp(m.type, "fuse.poolfs") == 0)
		home = strdup(m.source);
	mounted_fini(&m);
	return home;
}

static int
open_mount(struct source *s)
{
	char *stat_pool = path_of(s->name, "stat/pool");
	int answers = is_there(stat_pool), error = errno;

	free(stat_pool);
	s->kind = SOURCE_MOUNT;
	if (answers)
		return 0;
	complain("%s: the daemon of this mount does not answer (%s); this is its region", s->name,
	    strerror(error));
	s->kind = SOURCE_REGION;
	return s->region != NULL ? 0 : EXIT_FAILURE;
}

static bool
is_region_file(const char *path)
{
	const char *name = strrchr(path, '/');
	size_t n;

	name = name != NULL ? name + 1 : path;
	n = strlen(name);
	return n > 6 && strcmp(name + n - 6, ".share") == 0;
}

static int
open_file(struct source *s)
{
	s->kind = is_region_file(s->name) ? SOURCE_REGION : SOURCE_SAVED;
	if (s->kind == SOURCE_REGION)
		s->region = strdup(s->name);
	return 0;
}

int
source_open(const char *target, const char *region_dir, struct source *s)
{
	struct stat st;
	char *home;

	*s = (struct source){ .name = strdup(target) };
	home = mounted_home(target);
	s->home = strdup(home != NULL ? home : target);
	if (s->name == NULL || s->home == NULL) {
		free(home);
		return EXIT_FAILURE;
	}
	if (home == NULL && stat(target, &st) == 0 && S_ISREG(st.st_mode))
		return open_file(s);
	s->region = path_of(region_dir != NULL ? region_dir : s->home, POOL_FILE);
	if (home != NULL) {
		free(home);
		return open_mount(s);
	}
	s->kind = SOURCE_REGION;
	if (is_there(s->region))
		return 0;
	complain(
	    "%s: neither a mounted pool nor a directory with one (%s)", target, strerror(errno));
	return EXIT_FAILURE;
}

void
source_close(struct source *s)
{
	free(s->name);
	free(s->home);
	free(s->region);
	*s = (struct source){ 0 };
}

int
source_read(const struct source *s, struct sample *sample)
{
	char *path = s->kind == SOURCE_MOUNT ? path_of(s->name, "stat/pool") : NULL;
	int err;

	*sample = (struct sample){ 0 };
	if (s->kind != SOURCE_SAVED)
		sample->usec = os_now_usec();
	if (s->kind == SOURCE_REGION)
		err = s->region != NULL ? read_region(s->region, sample) : ENOENT;
	else
		err = read_text(s->kind == SOURCE_MOUNT && path != NULL ? path : s->name, sample);
	free(path);
	if (err == 0)
		return 0;
	complain("%s: %s", s->kind == SOURCE_REGION && s->region != NULL ? s->region : s->name,
	    err == EPROTO ? "this is not a pool's, or of another version" : strerror(err));
	return EXIT_FAILURE;
}
