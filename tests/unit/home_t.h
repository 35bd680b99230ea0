/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * home_t.h - what the tests of homes share: the test's directory is a home, whose regions are in it
 * or in a directory below it.
 */
#ifndef TESTS_HOME_T_H
#define TESTS_HOME_T_H

#include "region_t.h"

#include "region/home.h"

static inline const char *
dir_in(const struct t *t, const char *name)
{
	const char *path = t_path(t, name);

	t_check(mkdir(path, 0755) == 0 || errno == EEXIST);
	return path;
}

/* A region of the home t->dir in its directory name. */
static inline struct region_spec
spec_at(const struct t *t, const char *name)
{
	struct region_spec spec = spec_in(name == NULL ? t->dir : dir_in(t, name));

	spec.is_system = false;
	spec.home = t->dir;
	spec.is_pool = true;
	spec.placed = name != NULL;
	return spec;
}

static inline int
attach_at(const struct t *t, const char *name, struct region **rp)
{
	struct region_spec spec = spec_at(t, name);

	last_sentence[0] = '\0';
	return region_attach(&spec, rp);
}

static inline int
attach_private(const struct t *t, struct region **rp)
{
	struct region_spec spec = spec_in(NULL);

	spec.is_private = true;
	spec.is_pool = true;
	spec.home = t->dir;
	last_sentence[0] = '\0';
	return region_attach(&spec, rp);
}

static inline void
detach_clean(struct region *r)
{
	t_check(region_detach(r, false, yes, NULL) == 0);
}

static inline void
remove_at(const struct t *t, const char *name)
{
	t_check(region_unlink_forced(NULL, t_path(t, name), REGION_FILE) == 0);
	home_forget(t->dir, t_path(t, name));
}

/* Where home says that its regions are, below the test's directory; NULL: an error. */
static inline const char *
said(const struct t *t, const char *home)
{
	static char place[300];
	char *dir;

	last_sentence[0] = '\0';
	if (home_regions(&test_env, home, &dir) != 0)
		return NULL;
	t_check(strncmp(dir, t->dir, strlen(t->dir)) == 0);
	(void)snprintf(place, sizeof(place), "%s", dir + strlen(t->dir));
	free(dir);
	return place;
}

static inline const char *
link_text(const struct t *t)
{
	static char text[300];
	ssize_t n = readlink(t_path(t, HOME_POINTER), text, sizeof(text) - 1);

	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

#endif
