/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/fopen.c - memp_fopen, memp_fclose and the mount's opens: handles on files.
 *
 * A handle owns a descriptor, a row of the file table and an open record that says so to the
 * others.  Whether the disk file was changed behind the pool's back is looked at here, at each
 * open.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>

#include "../base/os_path.h"
#include "dirty.h"
#include "file.h"
#include "format.h"
#include "frame.h"
#include "kcache.h"
#include "mapping.h"
#include "names.h"
#include "page_table.h"
#include "thread.h"
#include "vouch.h"

#define FOPEN_FLAGS (DB_CREATE | DB_NOMMAP | DB_RDONLY | DB_ODDFILESIZE)

static int
check_fopen(DB_MPOOL *p, const char *file, int ftype, int flags, size_t pagesize, int lsn_offset)
{
	const char *wrong = NULL;

	if (flags & ~FOPEN_FLAGS)
		wrong = "unknown flags";
	else if (!page_size_is_possible(pagesize))
		wrong = "the page size must be a power of two from 512 to 65536";
	else if (pagesize > (size_t)1 << p->g.extent_shift)
		wrong = "the pool is too small for pages of that size";
	else if (lsn_offset != -1 &&
	    (lsn_offset < 0 || (size_t)lsn_offset + sizeof(DB_LSN) > pagesize))
		wrong = "the LSN does not lie in the page";
	else if (file == NULL && (flags & DB_RDONLY))
		wrong = "a temporary file cannot be read-only";
	else if (ftype < 0)
		wrong = "negative types are reserved";
	if (wrong == NULL)
		return 0;
	env_err(p->dbenv, "memp_fopen %s: %s (flags %#x, page size %zu, LSN offset %d, type %d)",
	    file ? file : "(temporary)", wrong, (unsigned)flags, pagesize, lsn_offset, ftype);
	return EINVAL;
}

static int
open_disk_file(DB_MPOOL *p, const char *file, int flags, int mode, int *fdp, char **pathp)
{
	int oflags = (flags & DB_RDONLY ? O_RDONLY : O_RDWR) | (flags & DB_CREATE ? O_CREAT : 0);
	char *path, *real;
	int ret;

	if ((ret = name_resolve(p, file, &path)) != 0)
		return ret;
	ret = os_open(path, oflags | O_NOCTTY | O_NONBLOCK, mode != 0 ? (mode_t)mode : 0666, fdp);
	if (ret != 0) {
		env_err(p->dbenv, "%s: %s", path, db_strerror(ret));
		free(path);
		return ret;
	}
	if ((real = realpath(path, NULL)) != NULL) {
		free(path);
		path = real;
	}
	*pathp = path;
	return 0;
}

static void
handle_free(DB_MPOOLFILE *mpf)
{
	os_close(mpf->fd);
	free(mpf->cookie.data);
	free(mpf);
}

static int
copy_cookie(DB_MPOOLFILE *mpf, const DBT *cookie)
{
	if (cookie == NULL || cookie->size == 0)
		return 0;
	if ((mpf->cookie.data = malloc(cookie->size)) == NULL)
		return ENOMEM;
	memcpy(mpf->cookie.data, cookie->data, cookie->size);
	mpf->cookie.size = cookie->size;
	return 0;
}

/* The row exists now: take from it what the handle works with. */
static void
handle_bind(DB_MPOOLFILE *mpf, struct file_row *row, uint32_t id, struct open_record *rec)
{
	DB_MPOOL *p = mpf->pool;

	mpf->row = row;
	mpf->file = id;
	mpf->record = rec;
	mpf->record_number = (uint64_t)(rec - p->opens) + 1;
	mpf->tally = (uint32_t)(mpf->record_number % BLOCK_TALLIES);
	mpf->pageshift = load_relaxed(&row->pageshift);
	mpf->pagesize = (size_t)1 << (mpf->pageshift & 31);
	mpf->misfit = frame_misfit(p, mpf->pageshift);
	mpf->ftype = row->ftype;
	mpf->type_known = mpf->ftype == 0;
	mpf->short_key = mpf->type_known ? page_key(id, 0) : 0;
	mpf->stride = mpf->pagesize - (1u << PAGE_SHIFT_MIN);
	mpf->error_seen = load_seq(&row->error_seq);
	pthread_mutex_lock(&p->files_mutex);
	mpf->next = p->files;
	p->files = mpf;
	pthread_mutex_unlock(&p->files_mutex);
}

int
file_refuse(const DB_MPOOLFILE *mpf, int error, const char *fmt, ...)
{
	char *path = file_path(mpf->pool, mpf->row, mpf->file), what[160];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	env_err(mpf->pool->dbenv, "%s: %s", path != NULL ? path : "(temporary)", what);
	free(path);
	return error;
}

static int
odd_length(DB_MPOOLFILE *mpf, const char *path)
{
	uint64_t length = load_seq(&mpf->row->length);

	if (mpf->odd || length % mpf->pagesize == 0)
		return 0;
	env_err(mpf->pool->dbenv,
	    "%s: its length of %llu bytes is not a multiple of the page size "
	    "%zu, and DB_ODDFILESIZE is not given",
	    path, (unsigned long long)length, mpf->pagesize);
	return EINVAL;
}

/* Is the page shift that the row gave us one that this pool can have?  It is input. */
static int
check_shift(DB_MPOOLFILE *mpf)
{
	return file_pageshift(mpf->pool, mpf->row) == mpf->pageshift ? 0 : DB_RUNRECOVERY;
}

/* Enter the file and bind the handle; on failure mpf is gone. */
static int
handle_enter(struct thread *t, DB_MPOOLFILE *mpf, const struct file_spec *spec, DB_MPOOLFILE **mpfp)
{
	struct open_record *rec;
	struct file_row *row;
	uint32_t id;
	int ret;

	if ((ret = copy_cookie(mpf, spec->cookie)) == 0)
		ret = file_enter(t, spec, &row, &id, &rec);
	if (ret != 0) {
		handle_free(mpf);
		return ret;
	}
	handle_bind(mpf, row, id, rec);
	if (spec->ident != NULL && !mpf->rdonly)
		vouch_for(t->pool, row, id, spec->ident);
	if ((ret = check_shift(mpf)) != 0 ||
	    (spec->ident != NULL && (ret = file_revalidate(t, mpf)) != 0) ||
	    (spec->ident != NULL && (ret = odd_length(mpf, spec->path)) != 0)) {
		(void)memp_fclose(mpf);
		return ret;
	}
	*mpfp = mpf;
	return 0;
}

/* What a process that looks at no page can do without. */
static int
prepare_tables(DB_MPOOL *p)
{
	int ret = 0;

	pthread_mutex_lock(&p->files_mutex);
	if (p->memo == NULL && (ret = table_memo_make(p)) == 0)
		format_pages_used(p);
	pthread_mutex_unlock(&p->files_mutex);
	return ret;
}

static int
handle_create(DB_MPOOL *p, int fd, int flags, DB_MPOOLFILE **mpfp)
{
	DB_MPOOLFILE *mpf;
	int ret;

	if ((ret = prepare_tables(p)) != 0 ||
	    (ret = os_calloc(1, sizeof(*mpf), (void **)&mpf)) != 0) {
		os_close(fd);
		return ret;
	}
	mpf->pool = p;
	mpf->fd = fd;
	mpf->rdonly = (flags & DB_RDONLY) != 0;
	mpf->odd = (flags & DB_ODDFILESIZE) != 0;
	*mpfp = mpf;
	return 0;
}

static uint32_t
record_flags(int flags, bool soft)
{
	return (flags & DB_RDONLY ? OPEN_RDONLY : 0) | (flags & DB_ODDFILESIZE ? OPEN_ODD : 0) |
	    (soft ? OPEN_SOFT : 0);
}

/* The handle for an open descriptor, which is taken over. */
static int
open_descriptor(
    struct thread *t, int fd, int flags, bool soft, struct file_spec *spec, DB_MPOOLFILE **mpfp)
{
	DB_MPOOLFILE *mpf;
	struct os_handle handle;
	struct os_stat st;
	int ret;

	os_handle_of(fd, &handle);
	if ((ret = os_fstat_ident(fd, &st)) == 0 && !S_ISREG(st.mode)) {
		env_err(t->pool->dbenv, "%s: is not a regular file", spec->path);
		ret = EINVAL;
	}
	if (ret == 0 && st.size > (uint64_t)1 << 32 << spec->pageshift) {
		env_err(t->pool->dbenv, "%s: %llu bytes are more than 2^32 pages of %u bytes",
		    spec->path, (unsigned long long)st.size, 1u << spec->pageshift);
		ret = EFBIG;
	}
	if (ret != 0) {
		os_close(fd);
		return ret;
	}
	if ((ret = handle_create(t->pool, fd, flags, &mpf)) != 0)
		return ret;
	mpf->soft = soft;
	spec->ident = &st.ident;
	spec->st = &st;
	spec->handle = &handle;
	spec->length = st.size;
	spec->open_flags = record_flags(flags, soft);
	return handle_enter(t, mpf, spec, mpfp);
}

static int
open_temporary(struct thread *t, int flags, struct file_spec *spec, DB_MPOOLFILE **mpfp)
{
	DB_MPOOLFILE *mpf;
	int ret;

	if ((ret = handle_create(t->pool, -1, flags, &mpf)) != 0)
		return ret;
	mpf->temporary = true;
	spec->open_flags = record_flags(flags, false);
	return handle_enter(t, mpf, spec, mpfp);
}

int
memp_fopen(DB_MPOOL *p, const char *file, int ftype, int flags, int mode, size_t pagesize,
    int lsn_offset, DBT *pgcookie, u_int8_t *uid, DB_MPOOLFILE **mpfp)
{
	struct file_spec spec = {
		.ftype = ftype, .lsn_offset = lsn_offset, .cookie = pgcookie, .uid = uid
	};
	struct thread *t;
	char *path;
	int fd, ret;

	if ((ret = enter(p, &t)) != 0)
		return ret;
	if (mpfp == NULL || (ret = check_fopen(p, file, ftype, flags, pagesize, lsn_offset)) != 0)
		return EINVAL;
	spec.pageshift = (unsigned)__builtin_ctzll(pagesize);
	file_fd_sweep(p);
	if (file == NULL)
		return open_temporary(t, flags, &spec, mpfp);
	if ((ret = open_disk_file(p, file, flags, mode, &fd, &path)) != 0)
		return ret;
	spec.path = path;
	ret = open_descriptor(t, fd, flags, false, &spec, mpfp);
	if (ret == 0 && (flags & (DB_RDONLY | DB_NOMMAP)) == DB_RDONLY && ftype == 0 && !p->nommap)
		mapping_begin(*mpfp);
	free(path);
	return ret;
}

int
mpool_open_fd(
    DB_MPOOL *p, int fd, const char *name, int flags, size_t pagesize, DB_MPOOLFILE **mpfp)
{
	struct file_spec spec = { .lsn_offset = -1, .path = name };
	struct thread *t;
	int ret;

	if ((ret = enter(p, &t)) != 0 ||
	    (ret = check_fopen(p, name, 0, flags, pagesize, -1)) != 0) {
		os_close(fd);
		return ret;
	}
	spec.pageshift = (unsigned)__builtin_ctzll(pagesize);
	return open_descriptor(t, fd, flags, true, &spec, mpfp);
}

/* --- changes behind our back --------------------------------------------------------------- */

/* What the row says of the disk file, and of the length, at one time. */
struct known {
	uint64_t length;
	uint64_t size;
	int64_t mtime;
	int64_t ctime;
};

static struct known
known(const struct file_row *row)
{
	return (struct known){ load_seq(&row->length), load_seq(&row->disk_size),
		load_seq(&row->disk_mtime), load_seq(&row->disk_ctime) };
}

static bool
known_is(const struct file_row *row, const struct known *k)
{
	struct known now = known(row);

	return memcmp(&now, k, sizeof(now)) == 0;
}

static bool
same_stat(const struct os_stat *a, const struct os_stat *b)
{
	return a->size == b->size && a->mtime_nsec == b->mtime_nsec &&
	    a->ctime_nsec == b->ctime_nsec;
}

/*
 * The disk file looks as st says, and the row knew something else (k).  If nothing in the pool is
 * newer, and nobody has touched either since, the disk's state is taken.  False: look again.
 */
static bool
take_disk_state(
    struct thread *t, DB_MPOOLFILE *mpf, const struct os_stat *st, const struct known *k)
{
	struct file_row *row = mpf->row;
	struct os_stat again;
	uint64_t length = k->length;

	dirty_tidy(t, row, mpf->file);
	if (dirty_groups(row) != 0 || k->length != k->size || load_seq(&row->trunc) != 0 ||
	    os_fstat(mpf->fd, &again) != 0 || !same_stat(st, &again) || !known_is(row, k))
		return false;
	if (file_drop_pages(t, mpf->file, 0, false) != 0 ||
	    !cas_seq(&row->length, &length, st->size))
		return false;
	store_relaxed(&row->mtime_nsec, 0);
	file_stamp(row, st);
	kcache_spoil(t->pool, row);
	(void)add_seq(&mpf->disk_taken, 1);
	return true;
}

int
file_revalidate(struct thread *t, DB_MPOOLFILE *mpf)
{
	struct os_stat st;
	struct known k;
	char *path;
	int ret;

	if (mpf->fd == -1)
		return 0;
	/* a writer stamps the row a moment after it has written: give it that moment */
	for (int tries = 0; tries < 20; tries++) {
		k = known(mpf->row);
		if ((ret = os_fstat(mpf->fd, &st)) != 0)
			return ret;
		if (file_stamp_is(mpf->row, &st) || take_disk_state(t, mpf, &st, &k))
			return 0;
		os_sleep_usec(500);
	}
	if (dirty_groups(mpf->row) == 0 && k.length == k.size)
		return 0; /* pinned pages are in the way: at the next open */
	path = file_path(t->pool, mpf->row, mpf->file);
	env_err(t->pool->dbenv,
	    "%s: was changed on disk while the pool has changes of it that are "
	    "not written yet; the pool's win",
	    path ? path : "a file");
	free(path);
	file_stamp(mpf->row, &st);
	return 0;
}

/* --- close --------------------------------------------------------------------------------- */

/* Release the handle's pins, wherever they are.  Their number. */
static unsigned
release_pins(DB_MPOOLFILE *mpf)
{
	DB_MPOOL *p = mpf->pool;
	struct thread *t, *next;
	unsigned n = 0;

	pthread_mutex_lock(&p->threads_mutex);
	for (t = p->threads; t != NULL; t = next) {
		next = t->next;
		for (unsigned b = 0; b < t->npins; b++) {
			struct pin_block *pb = t->pins[b];

			for (unsigned i = 0; pb->b != NULL && i < BLOCK_SLOTS; i++)
				if (load_acquire(&pb->pins[i].mpf) == mpf &&
				    load_relaxed(&pb->b->slots[i]) != 0) {
					store_relaxed(&pb->pins[i].mpf, NULL);
					pb->set[i] = 0; /* the next one's begins so */
					store_release(&pb->b->slots[i], 0);
					(void)or_seq(&pb->returned, 1ull << i);
					n++;
				}
		}
		if (t->exited)
			thread_ended(t);
	}
	pthread_mutex_unlock(&p->threads_mutex);
	return n;
}

static void
unlist(DB_MPOOLFILE *mpf)
{
	DB_MPOOL *p = mpf->pool;
	DB_MPOOLFILE **link;

	pthread_mutex_lock(&p->files_mutex);
	for (link = &p->files; *link != NULL; link = &(*link)->next)
		if (*link == mpf) {
			*link = mpf->next;
			break;
		}
	while (load_relaxed(&mpf->users) > 0) {
		pthread_mutex_unlock(&p->files_mutex);
		os_sleep_usec(50);
		pthread_mutex_lock(&p->files_mutex);
	}
	pthread_mutex_unlock(&p->files_mutex);
}

/* The last handle of a temporary or removed file: its pages are nobody's any more. */
static void
bury(struct thread *t, DB_MPOOLFILE *mpf)
{
	struct os_stat st;

	if (!mpf->temporary && !(load_relaxed(&mpf->row->flags) & ROW_GONE) &&
	    (os_fstat(mpf->fd, &st) != 0 || st.nlink > 0))
		return;
	(void)file_bury(t, mpf->row, mpf->file);
}

int
mpool_file_error(DB_MPOOLFILE *mpf)
{
	uint32_t seq = load_seq(&mpf->row->error_seq), error = load_relaxed(&mpf->row->last_error);

	if (seq == mpf->error_seen)
		return 0;
	mpf->error_seen = seq;
	return error != 0 ? (int)error : EIO;
}

static void
say_pins(const DB_MPOOLFILE *mpf, uint64_t pins)
{
	char *path = file_path(mpf->pool, mpf->row, mpf->file);

	env_err(mpf->pool->dbenv, "memp_fclose: %s still had %llu pages pinned",
	    path ? path : "(temporary)", (unsigned long long)pins);
	free(path);
}

int
memp_fclose(DB_MPOOLFILE *mpf)
{
	struct thread *t;
	uint64_t pins;
	bool last;
	int ret, error;

	if (mpf == NULL)
		return 0;
	if (region_usable(mpf->pool->region) == EINVAL) {
		/* threads that are not in this process may have had them at the fork */
		mpf->users = 0;
		(void)pthread_mutex_init(&mpf->pool->files_mutex, NULL);
		unlist(mpf);
		(void)mapping_end(mpf);
		handle_free(mpf);
		return EINVAL;
	}
	if ((ret = thread_self(mpf->pool, &t)) == 0 && t->in_callback)
		return refuse_in_callback(mpf->pool);
	if ((pins = release_pins(mpf) + mapping_end(mpf)) > 0)
		say_pins(mpf, pins);
	error = mpf->temporary ? 0 : mpool_file_error(mpf);
	unlist(mpf);
	file_leave(mpf->pool, mpf->record, &last);
	file_fd_sweep(mpf->pool);
	if (last && ret == 0)
		bury(t, mpf);
	handle_free(mpf);
	return ret != 0 ? ret : error;
}
