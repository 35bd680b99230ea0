/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/vouch.c - to which files a process that serves others may write what is in the pool.
 *
 * Whoever may write the region can leave dirty pages there in the name of any file, and a process
 * with more rights than his would write them for him (rule S12).  So one that is confined
 * (mpool_confine: the daemon of a mount) writes pages of others only to files that it has opened
 * for writing itself, when somebody asked for it who may, or that all may write who may write the
 * region: in the ordinary case, a region of mode 0600, that is nobody else.
 *
 * What it has opened it remembers in its own memory, by the file's number, which is never used
 * again, together with the file's identity, because that in the row can be another by now.
 * Whether others may write a file is judged by its mode; a file with an access control list is
 * taken for one that some of them may not.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/os_path.h"
#include "vouch.h"

/* By row; under files_mutex. */
struct vouched {
	uint32_t id;   /* of the file that was opened; 0: none */
	uint32_t said; /* of the one that was refused last */
	struct os_ident ident;
};

int
vouch_init(DB_MPOOL *p)
{
	return os_calloc(p->g.nrows, sizeof(*p->vouched), (void **)&p->vouched);
}

void
vouch_fini(DB_MPOOL *p)
{
	free(p->vouched);
	p->vouched = NULL;
}

void
vouch_for(DB_MPOOL *p, const struct file_row *row, uint32_t id, const struct os_ident *ident)
{
	struct vouched *v;

	if (p->vouched == NULL)
		return;
	pthread_mutex_lock(&p->files_mutex);
	v = &p->vouched[row - p->rows];
	v->id = id;
	v->ident = *ident;
	pthread_mutex_unlock(&p->files_mutex);
}

static bool
is_vouched(DB_MPOOL *p, const struct file_row *row, uint32_t id, const struct os_ident *ident)
{
	const struct vouched *v;
	bool is;

	pthread_mutex_lock(&p->files_mutex);
	v = &p->vouched[row - p->rows];
	is = v->id == id && memcmp(&v->ident, ident, sizeof(*ident)) == 0;
	pthread_mutex_unlock(&p->files_mutex);
	return is;
}

/* Root may write everything, and we ourselves have just opened it. */
static bool
owner_is_no_matter(uint32_t uid)
{
	return uid == 0 || uid == (uint32_t)geteuid();
}

/* May all of them write a file like that?  Its owner may make it so that he may. */
static bool
may_write(const struct region_writers *w, const struct os_stat *st)
{
	const uint32_t both = S_IWGRP | S_IWOTH;
	bool anybody = (st->mode & both) == both;

	if (!owner_is_no_matter(w->uid) && w->uid != st->uid && !anybody)
		return false;
	if (w->others)
		return anybody;
	return !w->group || anybody || (st->gid == w->gid && (st->mode & S_IWGRP) != 0);
}

static void
say_once(DB_MPOOL *p, const struct file_row *row, uint32_t id)
{
	uint32_t *said = &p->vouched[row - p->rows].said;
	bool again;
	char *path;

	pthread_mutex_lock(&p->files_mutex);
	again = *said == id;
	*said = id;
	pthread_mutex_unlock(&p->files_mutex);
	if (again)
		return;
	path = file_path(p, row, id);
	env_err(p->dbenv,
	    "%s: there are dirty pages of it that this process has not been asked to write, and "
	    "not everybody who may write the pool may write the file: they stay in the pool",
	    path ? path : "a file");
	free(path);
}

int
vouch_check(DB_MPOOL *p, const struct file_row *row, uint32_t id, int fd, const struct os_stat *st)
{
	struct region_writers w;
	int ret;

	if (p->vouched == NULL || is_vouched(p, row, id, &st->ident))
		return 0;
	if ((ret = region_writers(p->region, &w)) != 0)
		return ret;
	if (owner_is_no_matter(w.uid) && !w.group && !w.others)
		return 0;
	if (may_write(&w, st) && !os_has_acl(fd))
		return 0;
	say_once(p, row, id);
	return EACCES;
}
