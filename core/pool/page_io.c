/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/page_io.c - bytes between a file and a frame, and the descriptors and conversions they
 * need.
 *
 * A process reads with its own handle's descriptor.  It writes with a descriptor of its own too:
 * a handle that it has open, or one that it opens for it (reopen.c) and keeps for a while.  A file
 * that this process may not write, convert, or flush the log for is remembered as refused for a
 * second, so that an evictor does not ask again for each page.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "file.h"
#include "frame.h"
#include "page_io.h"
#include "reopen.h"
#include "thread.h"

#define REFUSED_USEC 1000000u
#define KEEP_USEC 10000000u  /* a descriptor that is not used */
#define TEMPORARY_TRIES 1000 /* names */

bool
registered(DB_MPOOL *p, int ftype, struct registration *copy)
{
	struct registration *r;

	pthread_mutex_lock(&p->files_mutex);
	for (r = p->registrations; r != NULL; r = r->next)
		if (r->ftype == ftype) {
			*copy = *r;
			break;
		}
	pthread_mutex_unlock(&p->files_mutex);
	return r != NULL;
}

int
page_in(struct thread *t, DB_MPOOLFILE *mpf, void *page, db_pgno_t pgno)
{
	struct registration r;
	int ret;

	if (mpf->ftype == 0)
		return 0;
	if (!registered(t->pool, mpf->ftype, &r)) {
		env_err(t->pool->dbenv,
		    "page %u of a file of type %d cannot be read: this process has not "
		    "registered the type",
		    pgno, mpf->ftype);
		return EINVAL;
	}
	if (r.pgin == NULL)
		return 0;
	callback_begin(t);
	ret = r.pgin(pgno, page, mpf->cookie.size > 0 ? &mpf->cookie : NULL);
	callback_end(t);
	return ret == 0 ? 0 : file_refuse(mpf, ret, "pgin of page %u: %s", pgno, db_strerror(ret));
}

int
page_read(struct thread *t, DB_MPOOLFILE *mpf, uint32_t f, db_pgno_t pgno)
{
	uint8_t *page = frame_address(t->pool, f, mpf->pageshift);
	uint64_t off = (uint64_t)pgno << mpf->pageshift, length = load_acquire(&mpf->row->length);
	size_t want = 0, done = 0;
	uint64_t begun;
	int ret = 0;

	if (off < length)
		want = length - off < mpf->pagesize ? (size_t)(length - off) : mpf->pagesize;
	if (want > 0 && mpf->fd != -1) {
		begun = os_monotonic_usec();
		ret = os_pread(mpf->fd, page, want, off, &done);
		latency_add(&t->pool->mp->latency[LATENCY_READ], os_monotonic_usec() - begun);
	}
	if (ret != 0) {
		env_err(t->pool->dbenv, "page %u of file %u cannot be read: %s", pgno, mpf->file,
		    db_strerror(ret));
		return ret;
	}
	page_clear_rest(page, done, mpf->pagesize);
	if ((ret = page_in(t, mpf, page, pgno)) != 0)
		return ret;
	count(t, C_READ_BYTES, done);
	return 0;
}

int
page_cut_file(struct thread *t, struct file_row *row, int fd, uint64_t bytes)
{
	int ret;

	/* Another pool's file by now? */
	if ((ret = region_write_begin(t->pool->region)) != 0)
		return ret;
	if ((ret = os_ftruncate(fd, bytes)) == 0)
		(void)add_seq(&row->written, 1); /* the next sync of the pool is about it */
	region_write_end(t->pool->region);
	return ret;
}

/* --- descriptors to write with ------------------------------------------------------------- */

/* A file without a name; where there is no such thing, one that loses its name at once. */
static int
create_nameless(const char *dir, int *fdp)
{
	int ret = os_open(dir, O_TMPFILE | O_RDWR, 0600, fdp);
	char name[PATH_MAX];

	if (ret != EOPNOTSUPP && ret != EISDIR && ret != ENOENT)
		return ret;
	for (unsigned n = 0; n < TEMPORARY_TRIES; n++) {
		if ((size_t)snprintf(name, sizeof(name), "%s/__db_temporary.%d.%u", dir,
			(int)getpid(), n) >= sizeof(name))
			return ENAMETOOLONG;
		ret = os_open(name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR, 0600, fdp);
		if (ret == 0)
			return os_unlink(name);
		if (ret != EEXIST)
			return ret;
	}
	return EEXIST;
}

static int
temporary_create(DB_MPOOLFILE *mpf)
{
	char *dir;
	bool temporary;
	int fd, ret;

	if ((ret = environment_dir(NULL, NULL, &dir, &temporary)) != 0)
		return ret;
	if ((ret = create_nameless(dir, &fd)) == 0)
		mpf->fd = fd;
	else if (!exchange_seq(&mpf->said, true))
		env_err(mpf->pool->dbenv, "cannot make a temporary file in %s: %s", dir,
		    db_strerror(ret));
	free(dir);
	return ret;
}

/* A handle of this process that can write the file. */
static bool
own_handle(DB_MPOOL *p, uint32_t id, struct file_fd *ffd, int *retp)
{
	DB_MPOOLFILE *mpf;

	*retp = 0;
	pthread_mutex_lock(&p->files_mutex);
	for (mpf = p->files; mpf != NULL; mpf = mpf->next)
		if (mpf->file == id && !mpf->rdonly)
			break;
	if (mpf != NULL && mpf->fd == -1)
		*retp = temporary_create(mpf);
	if (mpf != NULL && *retp == 0) {
		mpf->users++;
		ffd->mpf = mpf;
		ffd->fd = mpf->fd;
		ffd->cookie = mpf->cookie;
	}
	pthread_mutex_unlock(&p->files_mutex);
	return mpf != NULL;
}

/* Take a kept descriptor; -1 if there is none.  *refusedp: why we were refused a moment ago. */
static int
kept_take(DB_MPOOL *p, uint32_t id, int *refusedp)
{
	int fd = -1;

	*refusedp = 0;
	pthread_mutex_lock(&p->files_mutex);
	for (unsigned i = 0; i < WRITER_FDS; i++) {
		struct writer_fd *w = &p->writers[i];

		if (w->file != id)
			continue;
		if (w->fd == -1 && os_monotonic_usec() - w->refused_usec < REFUSED_USEC) {
			*refusedp = w->refused;
			break;
		}
		fd = w->fd;
		w->file = 0;
		w->fd = -1;
		break;
	}
	pthread_mutex_unlock(&p->files_mutex);
	return fd;
}

/* Keep fd (or, with -1, why it was refused) for later. */
static void
kept_put(DB_MPOOL *p, uint32_t id, int fd, int refused)
{
	struct writer_fd *oldest = &p->writers[0];
	uint64_t now = os_monotonic_usec();
	int close_fd;

	pthread_mutex_lock(&p->files_mutex);
	for (unsigned i = 0; i < WRITER_FDS; i++) {
		if (p->writers[i].file == 0) {
			oldest = &p->writers[i];
			break;
		}
		if (p->writers[i].used_usec < oldest->used_usec)
			oldest = &p->writers[i];
	}
	close_fd = oldest->file != 0 ? oldest->fd : -1;
	*oldest = (struct writer_fd){
		.file = id, .fd = fd, .used_usec = now, .refused_usec = now, .refused = refused
	};
	if (fd != -1)
		store_relaxed(&p->keeps, true);
	pthread_mutex_unlock(&p->files_mutex);
	os_close(close_fd);
}

/* Is there a reason to let a kept descriptor go?  A file without a name has its space from it. */
static bool
is_stale(DB_MPOOL *p, const struct writer_fd *w, uint64_t now)
{
	const struct file_row *row = file_row(p, w->file);
	struct os_stat st;

	return row == NULL || (load_relaxed(&row->flags) & ROW_GONE) != 0 ||
	    now - w->used_usec > KEEP_USEC || os_fstat(w->fd, &st) != 0 || st.nlink == 0;
}

void
file_fd_sweep(DB_MPOOL *p)
{
	uint64_t now = os_monotonic_usec();
	int stale[WRITER_FDS];
	unsigned n = 0;
	bool keeps = false;

	if (!load_relaxed(&p->keeps))
		return;
	pthread_mutex_lock(&p->files_mutex);
	for (unsigned i = 0; i < WRITER_FDS; i++) {
		struct writer_fd *w = &p->writers[i];

		if (w->file == 0 || w->fd == -1)
			continue;
		if (is_stale(p, w, now)) {
			stale[n++] = w->fd;
			w->file = 0;
			w->fd = -1;
		} else
			keeps = true;
	}
	store_relaxed(&p->keeps, keeps);
	pthread_mutex_unlock(&p->files_mutex);
	while (n > 0)
		os_close(stale[--n]);
}

void
file_fd_forget(DB_MPOOL *p, uint32_t id)
{
	for (unsigned i = 0; i < WRITER_FDS; i++) {
		int fd = -1;

		pthread_mutex_lock(&p->files_mutex);
		if (p->writers[i].file != 0 && (id == 0 || p->writers[i].file == id)) {
			fd = p->writers[i].fd;
			p->writers[i].file = 0;
		}
		pthread_mutex_unlock(&p->files_mutex);
		os_close(fd);
	}
}

/* May this process write pages of that type, and with those LSNs? */
static int
may_convert(DB_MPOOL *p, const struct file_row *row, struct file_fd *ffd)
{
	ffd->ftype = load_relaxed(&row->ftype);
	ffd->lsn_offset = load_relaxed(&row->lsn_offset);
	if (ffd->lsn_offset < -1 ||
	    ffd->lsn_offset + (int64_t)sizeof(DB_LSN) > (int64_t)1 << file_pageshift(p, row))
		return region_panic(
		    p->region, "file %u has LSN offset %d", row->id, ffd->lsn_offset);
	ffd->converts = false;
	if (ffd->ftype != 0) {
		if (!registered(p, ffd->ftype, &ffd->conversion))
			return EPERM;
		ffd->converts = ffd->conversion.pgout != NULL;
	}
	if (ffd->lsn_offset >= 0 && load_relaxed(&p->mp->has_log) &&
	    (p->dbenv == NULL || p->dbenv->lg_flush == NULL))
		return EPERM;
	return 0;
}

int
file_fd_get(struct thread *t, struct file_row *row, uint32_t id, struct file_fd *ffd)
{
	DB_MPOOL *p = t->pool;
	int refused, ret;

	memset(ffd, 0, sizeof(*ffd));
	if ((ret = may_convert(p, row, ffd)) != 0)
		return ret;
	if (own_handle(p, id, ffd, &ret))
		return ret;
	if (row->flags & ROW_TEMP)
		return EPERM;
	if (load_relaxed(&row->flags) & ROW_GONE) {
		ffd->gone = true;
		return ENOENT;
	}
	ffd->fd = kept_take(p, id, &refused);
	if (refused != 0)
		return refused;
	if (ffd->fd == -1 && (ret = file_reopen(p, row, id, &ffd->fd, &ffd->gone)) != 0) {
		if (ret != EXDEV && !ffd->gone)
			kept_put(p, id, -1, ret);
		return ret;
	}
	if (ffd->converts && (ret = file_cookie(p, row, id, &ffd->cookie)) != 0) {
		kept_put(p, id, ffd->fd, 0);
		return ret;
	}
	return 0;
}

void
file_fd_put(DB_MPOOL *p, uint32_t id, struct file_fd *ffd)
{
	if (ffd->mpf == NULL) {
		free(ffd->cookie.data);
		kept_put(p, id, ffd->fd, 0);
		return;
	}
	pthread_mutex_lock(&p->files_mutex);
	ffd->mpf->users--;
	pthread_mutex_unlock(&p->files_mutex);
}
