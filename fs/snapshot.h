/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/snapshot.h - the texts of status files at a moment.
 */
#ifndef FS_SNAPSHOT_H
#define FS_SNAPSHOT_H

#include "render.h"
#include "status.h"

/* What node's text is now, or, while somebody has it open, what its last reader got.  Counted. */
int snapshot_current(struct fs *fs, struct node *node, struct snapshot **sp);
size_t snapshot_bytes(const struct snapshot *s);

/* status.c's: append the text of a status file. */
int status_render(struct fs *fs, struct node *node, struct text *t);
/* status.c's: is it (a NODE_STATUS) what changes with each event? */
bool status_is_events(const struct node *node);

#endif
