/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region/look.c - the bytes of a region, for whoever wants to see them without taking part.
 *
 * A file is read with pread(2) and never mapped, because it may be truncated under the reader; a
 * segment cannot, and is attached read-only.  Nothing is written, no lock is taken, and what is
 * read is nobody's promise: the region may be changing, damaged, or half made.
 */
#include "region_impl.h"

#include <string.h>

#include "../base/os_shm.h"

int
region_look_init(struct region_look *look, int fd)
{
	struct region_look own = { .fd = fd };
	const RLAYOUT *inside;
	struct os_stat st;
	RLAYOUT named;
	size_t n;
	int ret;

	if ((ret = os_fstat(fd, &st)) != 0 ||
	    (ret = os_pread(fd, &named, sizeof(named), 0, &n)) != 0)
		return ret;
	own.bytes = st.size;
	if (n == sizeof(named) && layout_is_system(&named, st.size))
		own.segment = segment_attach_quietly(&named);
	if ((inside = own.segment) != NULL)
		own.bytes = inside->size < named.max ? inside->size : named.max;
	*look = own;
	return 0;
}

void
region_look_fini(struct region_look *look)
{
	os_shm_detach(look->segment);
	*look = (struct region_look){ .fd = -1 };
}

int
region_look_read(
    const struct region_look *look, void *buf, size_t bytes, uint64_t offset, size_t *donep)
{
	if (look->segment == NULL)
		return os_pread(look->fd, buf, bytes, offset, donep);
	if (offset >= look->bytes)
		bytes = 0;
	else if (bytes > look->bytes - offset)
		bytes = (size_t)(look->bytes - offset);
	if (bytes > 0)
		memcpy(buf, (const uint8_t *)look->segment + offset, bytes);
	*donep = bytes;
	return 0;
}
