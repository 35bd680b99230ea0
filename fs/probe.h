/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/probe.h - what HOME's filesystem can do.
 */
#ifndef FS_PROBE_H
#define FS_PROBE_H

struct fs;

/*
 * Once, HOME being open: look for what the mount makes use of.  What is missing is said in one
 * sentence each, with what then differs; the mount works without any of it.  Sets
 * fs->writes_through.
 */
void probe_home(struct fs *fs);

#endif
