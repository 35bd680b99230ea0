/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/coherence_impl.h - what coherence.c and coherence_drop.c share.
 */
#ifndef FS_COHERENCE_IMPL_H
#define FS_COHERENCE_IMPL_H

#include "file.h"
#include "pool.h"
#include "state.h"

/* A write(2) that is answered when the pages that it changed are dropped. */
struct written {
	struct link link; /* [k] in coherence.writtens */
	uint64_t number;
	struct file *file; /* alive: its handle is not released before the answer */
	uint64_t from, to;
	bool may_be_locked; /* its last page may be, until it is answered */
	void *req;	    /* [k] fuse_req_t; NULL: it is not decided yet */
	int error;
	size_t done;
};

#endif
