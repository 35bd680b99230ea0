/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/snapshot.c - reading status files.
 *
 * A text is rendered whole, into an immutable snapshot that whoever reads from it counts.  A read
 * at offset 0 takes a fresh one, later offsets go on in it; a read that starts elsewhere uses the
 * one taken at open.  A table may have grown since: whoever opens it and reads it at once gets as
 * many bytes as fstat(2) promised him, from the snapshot taken at open.  The node keeps the last
 * one for its length.
 *
 * The raw memory of a region is read from where it is, at each read.
 */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "events.h"
#include "region_dir.h"
#include "state.h"

#define AT_ONCE_USEC 1000000

struct snapshot {
	atomic_uint refs;
	size_t bytes;
	char data[];
};

struct status_handle {
	struct node *node;
	int fd;			 /* of a raw region, else -1 */
	struct region_look look; /* if there is an fd */
	pthread_mutex_t lock;
	struct snapshot *snapshot; /* [lock] */
	bool was_read;		   /* [lock] */
	uint64_t opened_usec;
	uint64_t seen_event; /* [lock] the last one when it was read */
};

/* --- snapshots ----------------------------------------------------------------------------- */

static struct snapshot *
snapshot_get(struct snapshot *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void
snapshot_put(struct snapshot *s)
{
	if (s != NULL && atomic_fetch_sub(&s->refs, 1) == 1)
		free(s);
}

size_t
snapshot_bytes(const struct snapshot *s)
{
	return s->bytes;
}

static struct snapshot *
snapshot_of_text(const struct text *t)
{
	struct snapshot *s;

	if ((s = malloc(sizeof(*s) + t->bytes)) == NULL)
		return NULL;
	atomic_init(&s->refs, 1);
	s->bytes = t->bytes;
	if (t->bytes > 0)
		memcpy(s->data, t->data, t->bytes);
	return s;
}

/* Render, and let the node keep it. */
static int
snapshot_take(struct fs *fs, struct node *node, struct snapshot **sp)
{
	struct text t = { 0 };
	struct snapshot *s, *old;
	int err;

	if ((err = status_render(fs, node, &t)) == 0)
		err = t.error;
	s = err == 0 ? snapshot_of_text(&t) : NULL;
	text_fini(&t);
	if (s == NULL)
		return err != 0 ? err : ENOMEM;
	(void)pthread_mutex_lock(&fs->nodes.lock);
	old = node->snapshot;
	node->snapshot = snapshot_get(s);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	snapshot_put(old);
	*sp = s;
	return 0;
}

int
snapshot_current(struct fs *fs, struct node *node, struct snapshot **sp)
{
	struct snapshot *s = NULL;

	(void)pthread_mutex_lock(&fs->nodes.lock);
	if (node->snapshot_users > 0 && node->snapshot != NULL)
		s = snapshot_get(node->snapshot);
	(void)pthread_mutex_unlock(&fs->nodes.lock);
	if (s == NULL)
		return snapshot_take(fs, node, sp);
	*sp = s;
	return 0;
}

/* --- open and close ------------------------------------------------------------------------ */

static void
count_user(struct fs *fs, struct node *node, int change)
{
	(void)pthread_mutex_lock(&fs->nodes.lock);
	node->snapshot_users += (unsigned)change;
	(void)pthread_mutex_unlock(&fs->nodes.lock);
}

static int
open_raw(struct fs *fs, struct node *node, struct status_handle *h)
{
	int err;

	if ((err = region_open_file(fs, node->region, &h->fd)) == 0 &&
	    (err = region_look_init(&h->look, h->fd)) != 0)
		(void)close(h->fd);
	return err;
}

int
status_open(struct fs *fs, struct node *node, int flags, struct status_handle **hp)
{
	uint64_t seen = events_last();
	struct status_handle *h;
	int err;

	if (S_ISDIR(node->type))
		return EISDIR;
	if (((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) &&
	    !status_takes_truncate(fs, node))
		return EACCES;
	if ((h = calloc(1, sizeof(*h))) == NULL)
		return ENOMEM;
	h->fd = -1;
	if (node->kind == NODE_REGION && node->view == REGION_RAW)
		err = open_raw(fs, node, h);
	else
		err = snapshot_take(fs, node, &h->snapshot);
	if (err != 0) {
		free(h);
		return err;
	}
	(void)pthread_mutex_init(&h->lock, NULL);
	node_get(fs, node);
	count_user(fs, node, 1);
	h->node = node;
	h->opened_usec = os_monotonic_usec();
	h->seen_event = seen;
	*hp = h;
	return 0;
}

void
status_close(struct fs *fs, struct status_handle *h)
{
	if (h->fd != -1) {
		region_look_fini(&h->look);
		(void)close(h->fd);
	}
	events_forget(h);
	snapshot_put(h->snapshot);
	(void)pthread_mutex_destroy(&h->lock);
	count_user(fs, h->node, -1);
	node_put(fs, h->node);
	free(h);
}

/* --- reading ------------------------------------------------------------------------------- */

static int
read_raw(struct status_handle *h, size_t bytes, uint64_t offset,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	struct iovec iov;
	int err;

	if (offset > INT64_MAX - bytes)
		return EINVAL;
	if ((iov.iov_base = malloc(bytes + 1)) == NULL)
		return ENOMEM;
	if ((err = region_look_read(&h->look, iov.iov_base, bytes, offset, &iov.iov_len)) == 0)
		reply(arg, &iov, 1);
	free(iov.iov_base);
	return err;
}

/* Keep to the length that was promised at open? */
static bool
keeps_promise_locked(const struct status_handle *h, const struct snapshot *fresh)
{
	return !h->was_read && fresh->bytes != h->snapshot->bytes &&
	    os_monotonic_usec() - h->opened_usec < AT_ONCE_USEC;
}

/* The snapshot that a read at offset is from, counted. */
static int
snapshot_for_read(struct fs *fs, struct status_handle *h, uint64_t offset, struct snapshot **sp)
{
	uint64_t seen = events_last();
	struct snapshot *fresh;
	int err = 0;

	(void)pthread_mutex_lock(&h->lock);
	if (offset == 0 && (err = snapshot_take(fs, h->node, &fresh)) == 0) {
		if (keeps_promise_locked(h, fresh)) {
			snapshot_put(fresh);
		} else {
			snapshot_put(h->snapshot);
			h->snapshot = fresh;
		}
	}
	h->was_read = true;
	if (offset == 0 && err == 0)
		h->seen_event = seen;
	if (err == 0)
		*sp = snapshot_get(h->snapshot);
	(void)pthread_mutex_unlock(&h->lock);
	return err;
}

int
status_read(struct fs *fs, struct status_handle *h, size_t bytes, uint64_t offset,
    void (*reply)(void *arg, const struct iovec *iov, int niov), void *arg)
{
	struct snapshot *s;
	struct iovec iov;
	int err;

	if (h->fd != -1)
		return read_raw(h, bytes, offset, reply, arg);
	if ((err = snapshot_for_read(fs, h, offset, &s)) != 0)
		return err;
	if (offset >= s->bytes) {
		reply(arg, NULL, 0);
	} else {
		iov.iov_base = s->data + offset;
		iov.iov_len = bytes < s->bytes - offset ? bytes : s->bytes - (size_t)offset;
		reply(arg, &iov, 1);
	}
	snapshot_put(s);
	return 0;
}

static bool
has_seen_all(struct status_handle *h)
{
	uint64_t seen;

	(void)pthread_mutex_lock(&h->lock);
	seen = h->seen_event;
	(void)pthread_mutex_unlock(&h->lock);
	return seen == events_last();
}

bool
status_poll(struct status_handle *h, struct fuse_pollhandle *ph)
{
	bool is_events = h->node->kind == NODE_STATUS && status_is_events(h->node);

	/* Waits first and looks then, so that no event comes between. */
	if (ph != NULL)
		events_wait(h, ph);
	return !is_events || !has_seen_all(h);
}

int
status_write(struct fs *fs, struct status_handle *h, const char *buf, size_t bytes)
{
	return status_takes_truncate(fs, h->node) ? ctl_run(fs, buf, bytes) : EACCES;
}

int
status_seek(struct fs *fs, struct node *node, uint64_t offset, int whence, off_t *resultp)
{
	struct stat st;
	int err;

	if ((err = status_getattr(fs, node, &st)) != 0)
		return err;
	if (offset >= (uint64_t)st.st_size)
		return ENXIO;
	*resultp = whence == SEEK_HOLE ? st.st_size : (off_t)offset;
	return 0;
}
