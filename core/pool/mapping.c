/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool/mapping.c - pages of a read-only file that come from a mapping of it.
 *
 * A file that is small enough, that nobody has open for writing and of which the pool holds no page
 * is mapped into the process: its pages are the kernel's, and cost the pool nothing.  As soon as
 * anybody opens the file for writing, other bytes than the disk's may be right; the handle notices
 * at its next memp_fget and goes on with the pool's pages.  What is pinned then stays what it was
 * until it is put; the mapping itself stays until the handle is closed.
 *
 * A pin is a count per page in this process's memory, since there is nobody to be kept from
 * evicting.  If another program makes the file shorter, touching what went is a SIGBUS, as with
 * any mapping.
 */
#include "mapping.h"
#include "point.h"
#include "thread.h"

#define DEFAULT_MMAPSIZE ((size_t)10 << 20)

struct mapping {
	uint8_t *addr;
	size_t bytes;
	db_pgno_t pages;
	uint32_t writer_opens; /* the row's when it was mapped */
	uint32_t pins[];       /* of each page; atomic */
};

static bool
is_small_enough(const DB_MPOOL *p, uint64_t bytes, size_t pagesize)
{
	size_t most = p->dbenv != NULL ? p->dbenv->mp_mmapsize : 0;

	return bytes > 0 && bytes % pagesize == 0 && bytes <= (most != 0 ? most : DEFAULT_MMAPSIZE);
}

/* Has nobody the file open for writing, and the pool no page?  Then *opensp says of when. */
static bool
nobody_writes(DB_MPOOL *p, const struct file_row *row, uint32_t id, uint32_t *opensp)
{
	bool writes = false;

	region_lock(p);
	*opensp = load_seq(&row->writer_opens);
	for (uint32_t i = 0; i < opens_used(p) && !writes; i++)
		writes = p->opens[i].owner != 0 && p->opens[i].file == id &&
		    !(p->opens[i].flags & OPEN_RDONLY);
	writes |= load_seq(&row->resident) != 0 || row->id != id;
	region_unlock(p);
	return !writes;
}

void
mapping_begin(DB_MPOOLFILE *mpf)
{
	uint64_t bytes = load_seq(&mpf->row->length);
	struct mapping *m;
	uint32_t opens;
	void *addr;

	POOL_POINT(POINT_MEASURED);
	if (!is_small_enough(mpf->pool, bytes, mpf->pagesize) ||
	    !nobody_writes(mpf->pool, mpf->row, mpf->file, &opens) ||
	    /* who has written before that, and closed, may have cut the file */
	    bytes != load_seq(&mpf->row->length) || bytes != load_relaxed(&mpf->row->disk_size) ||
	    os_calloc(1, sizeof(*m) + (size_t)(bytes >> mpf->pageshift) * sizeof(m->pins[0]),
		(void **)&m) != 0)
		return;
	if (os_map_readonly(mpf->fd, (size_t)bytes, &addr) != 0) {
		free(m);
		return;
	}
	m->addr = addr;
	m->bytes = (size_t)bytes;
	m->pages = (db_pgno_t)(bytes >> mpf->pageshift);
	m->writer_opens = opens;
	mpf->mapping = m;
}

bool
mapping_serves(const DB_MPOOLFILE *mpf)
{
	return mpf->mapping != NULL &&
	    load_seq(&mpf->row->writer_opens) == mpf->mapping->writer_opens;
}

/* One more, or one less: not more than PINS_OF_A_PAGE, not less than none. */
static bool
change(uint32_t *pins, bool more)
{
	uint32_t n = load_relaxed(pins);

	do
		if (n == (more ? PINS_OF_A_PAGE : 0))
			return false;
	while (!cas_seq(pins, &n, more ? n + 1 : n - 1));
	return true;
}

bool
mapping_get(struct thread *t, DB_MPOOLFILE *mpf, db_pgno_t *pgnoaddr, unsigned long flags,
    void **pagep, int *retp)
{
	struct mapping *m = mpf->mapping;
	db_pgno_t pgno;

	if (!mapping_serves(mpf) ||
	    (flags != 0 && flags != DB_MPOOL_CREATE && flags != DB_MPOOL_LAST))
		return false;
	pgno = flags == DB_MPOOL_LAST ? m->pages - 1 : *pgnoaddr;
	if (pgno >= m->pages)
		return false;
	if (!change(&m->pins[pgno], true)) {
		env_err(mpf->pool->dbenv, "page %u is pinned %u times by this process", pgno,
		    PINS_OF_A_PAGE);
		*retp = EAGAIN;
		return true;
	}
	count(t, C_MAP, 1);
	(void)add_relaxed(&mpf->record->map, 1);
	*pgnoaddr = pgno;
	*pagep = m->addr + ((size_t)pgno << mpf->pageshift);
	*retp = 0;
	return true;
}

bool
mapping_put(DB_MPOOLFILE *mpf, const void *addr, bool release)
{
	struct mapping *m = mpf->mapping;
	size_t off;

	if (m == NULL || (const uint8_t *)addr < m->addr ||
	    (off = (size_t)((const uint8_t *)addr - m->addr)) >= m->bytes ||
	    off % mpf->pagesize != 0)
		return false;
	return release ? change(&m->pins[off >> mpf->pageshift], false) :
			 load_relaxed(&m->pins[off >> mpf->pageshift]) > 0;
}

uint64_t
mapping_end(DB_MPOOLFILE *mpf)
{
	struct mapping *m = mpf->mapping;
	uint64_t left = 0;

	if (m == NULL)
		return 0;
	for (db_pgno_t n = 0; n < m->pages; n++)
		left += m->pins[n];
	os_unmap(m->addr, m->bytes);
	free(m);
	mpf->mapping = NULL;
	return left;
}
