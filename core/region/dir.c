/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/dir.c - where an environment's regions are, and what can be said about them from
 * outside.
 *
 * The rules for directories are memp_open's.  Variables of the process's environment are read
 * with secure_getenv: a set-user-ID program is not sent to another's directory.
 */
#include "region_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "home.h"

#define REGION_PATTERN "__db_*.share"
#define PLACE_TRIES 10

static const char *
variable(const char *name)
{
	const char *value = secure_getenv(name);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool
is_directory(const char *path)
{
	struct os_stat st;

	return os_stat(path, &st) == 0 && S_ISDIR(st.mode);
}

/* A variable that is set is used, be the directory there or not. */
static const char *
temporary_directory(void)
{
	static const char *const variables[] = { "TMPDIR", "TEMP", "TMP" };
	static const char *const places[] = { "/var/tmp", "/usr/tmp", "/temp", "/tmp" };
	const char *dir;
	size_t i;

	for (i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if ((dir = variable(variables[i])) != NULL)
			return dir;
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (is_directory(places[i]))
			return places[i];
	return NULL;
}

static const char *
home_name(const DB_ENV *dbenv)
{
	const char *home = NULL;

	if (dbenv == NULL)
		return NULL;
	if ((dbenv->region_flags & DB_USE_ENVIRON) != 0)
		home = variable("DB_HOME");
	return home != NULL ? home : dbenv->db_home;
}

static const char *
region_dir(const DB_ENV *dbenv)
{
	const char *dir = dbenv != NULL ? dbenv->region_dir : NULL;

	return dir != NULL && dir[0] != '\0' ? dir : NULL;
}

/* The canonical name of base/dir, or of dir alone; it has to be a directory: hence the dot. */
static int
resolve(const char *base, const char *dir, char **dirp)
{
	bool relative = base != NULL && dir[0] != '/';
	char *path, *absolute;
	int ret = 0;

	/* Nothing is not the root, which it would become with the dot. */
	if (dir[0] == '\0' || (relative && base[0] == '\0'))
		return ENOENT;
	if (asprintf(&path, "%s%s%s/.", relative ? base : "", relative ? "/" : "", dir) == -1)
		return ENOMEM;
	if ((absolute = realpath(path, NULL)) == NULL)
		ret = errno;
	free(path);
	if (ret == 0)
		*dirp = absolute;
	return ret;
}

int
environment_dir(const DB_ENV *dbenv, const char *dir, char **dirp, bool *temporaryp)
{
	const char *home = home_name(dbenv);
	bool temporary = dir == NULL && home == NULL && region_dir(dbenv) == NULL;
	int ret;

	if (temporary)
		dir = temporary_directory();
	else if (dir == NULL)
		dir = ".";
	if (dir == NULL) {
		env_err(dbenv, "there is no directory for temporary regions");
		return EINVAL;
	}
	if ((ret = resolve(home, dir, dirp)) != 0) {
		env_err(dbenv, "%s%s%s: not a usable directory: %s", home == NULL ? "" : home,
		    home == NULL ? "" : "/", dir, db_strerror(ret));
		return ret;
	}
	*temporaryp = temporary;
	return 0;
}

static int
copy_string(const char *string, char **copyp)
{
	char *copy = strdup(string);

	if (copy == NULL)
		return ENOMEM;
	*copyp = copy;
	return 0;
}

/*
 * Where the region files of the environment in dir (absolute) are: region_dir if that is set, else
 * where dir says that they are (home.h), which may be dir itself.
 */
static int
find_region_dir(const DB_ENV *dbenv, const char *dir, char **regionp)
{
	const char *home = home_name(dbenv), *region = region_dir(dbenv);
	int ret;

	if (region == NULL)
		return home_regions(dbenv, dir, regionp);
	if ((ret = resolve(home != NULL ? home : dir, region, regionp)) != 0)
		env_err(
		    dbenv, "region_dir %s: not a usable directory: %s", region, db_strerror(ret));
	return ret;
}

/* Of the environment in the directory at, which dir means. */
static int
find_home(const DB_ENV *dbenv, const char *dir, const char *at, char **homep)
{
	bool temporary;

	if (home_name(dbenv) == NULL || dir == NULL)
		return copy_string(at, homep);
	return environment_dir(dbenv, ".", homep, &temporary);
}

static int
find_private(const DB_ENV *dbenv, struct environment *e)
{
	bool temporary;

	return home_name(dbenv) == NULL ? 0 : environment_dir(dbenv, ".", &e->home, &temporary);
}

int
environment_home(const DB_ENV *dbenv, const char *dir, char **homep)
{
	bool temporary;
	char *at;
	int ret;

	if ((ret = environment_dir(dbenv, dir, &at, &temporary)) != 0)
		return ret;
	ret = find_home(dbenv, dir, at, homep);
	free(at);
	return ret;
}

static int
find_regions(const DB_ENV *dbenv, const char *at, struct environment *e)
{
	bool elsewhere = strcmp(at, e->home) != 0;

	e->placed = region_dir(dbenv) != NULL || elsewhere;
	if (e->temporary || (elsewhere && region_dir(dbenv) == NULL))
		return copy_string(at, &e->regions);
	return find_region_dir(dbenv, e->home, &e->regions);
}

int
environment_find(const DB_ENV *dbenv, const char *dir, bool is_private, struct environment *env)
{
	struct environment own = { 0 };
	char *at = NULL;
	int ret;

	if (is_private)
		ret = find_private(dbenv, &own);
	else if ((ret = environment_dir(dbenv, dir, &at, &own.temporary)) == 0 &&
	    (ret = find_home(dbenv, dir, at, &own.home)) == 0)
		ret = find_regions(dbenv, at, &own);
	free(at);
	if (ret == 0)
		*env = own;
	else
		environment_fini(&own);
	return ret;
}

void
environment_fini(struct environment *env)
{
	free(env->home);
	free(env->regions);
	*env = (struct environment){ 0 };
}

int
environment_attach(const DB_ENV *dbenv, const char *dir, bool is_private, struct environment *env,
    int (*attach)(void *arg), void *arg)
{
	int ret, tries = 0;

	do {
		environment_fini(env);
		if ((ret = environment_find(dbenv, dir, is_private, env)) != 0)
			return ret;
		ret = attach(arg);
	} while (ret == ESTALE && ++tries < PLACE_TRIES);
	if (ret == ESTALE)
		env_err(dbenv, "%s: its regions are moved again and again", env->home);
	return ret == ESTALE ? EAGAIN : ret;
}

void
environment_spec(DB_ENV *dbenv, const struct environment *env, struct region_spec *spec)
{
	spec->dbenv = dbenv;
	spec->dir = env->regions;
	spec->is_private = env->regions == NULL;
	spec->create |= spec->is_private;
	spec->placed = env->placed;
	if (!env->temporary && (spec->is_pool || !spec->is_private))
		spec->home = env->home;
	if (dbenv == NULL)
		return;
	spec->is_system = !spec->is_private && (dbenv->region_flags & DB_SYSTEM_MEM) != 0;
	spec->huge = (dbenv->region_flags & DB_HUGE_PAGES) != 0;
	spec->guard = (dbenv->region_flags & DB_REGION_GUARD) != 0;
	spec->populate = dbenv->region_init != 0;
	spec->shm_key = dbenv->shm_key;
	spec->max = dbenv->region_max;
}

static int
is_region_name(const struct dirent *entry)
{
	return fnmatch(REGION_PATTERN, entry->d_name, FNM_PERIOD) == 0;
}

int
region_each(const char *dir, int (*fn)(const char *file, void *arg), void *arg)
{
	struct dirent **names;
	int i, n, ret = 0;

	/* All names before the first call: fn may remove files. */
	if ((n = scandir(dir, &names, is_region_name, alphasort)) == -1)
		return errno;
	for (i = 0; i < n; i++) {
		if (ret == 0)
			ret = fn(names[i]->d_name, arg);
		free(names[i]);
	}
	free(names);
	return ret;
}

/* A file that its creator has not filled in yet is shown as it is; offsets in it are 0. */
static int
check_peeked(const RLAYOUT *copy, uint64_t file_bytes)
{
	if (copy->valid != 0 && copy->valid != DB_REGIONMAGIC)
		return EPROTO;
	if (!layout_stamp_is_ours(copy))
		return copy->valid == 0 && copy->format == 0 ? 0 : EPROTO;
	if (layout_is_system(copy, file_bytes))
		file_bytes = copy->max;
	return layout_fits(copy, file_bytes) || copy->valid == 0 ? 0 : DB_RUNRECOVERY;
}

int
region_peek(const char *path, RLAYOUT *copy)
{
	RLAYOUT own;
	struct os_stat st;
	size_t n;
	int fd = -1, ret;

	if ((ret = os_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, &fd)) != 0)
		return ret;
	if ((ret = os_fstat(fd, &st)) == 0 && !S_ISREG(st.mode))
		ret = EPROTO;
	if (ret == 0 && (ret = os_pread(fd, &own, sizeof(own), 0, &n)) == 0)
		ret = n < sizeof(own) ? EPROTO : check_peeked(&own, st.size);
	os_close(fd);
	if (ret != 0)
		return ret;
	own.panic_why[sizeof(own.panic_why) - 1] = '\0';
	if ((st.mode & FILE_IN_USE) != 0)
		own.clean = 0;
	*copy = own;
	return 0;
}
