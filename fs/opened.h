/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/opened.h - which processes have a file open, as far as /proc tells.
 */
#ifndef FS_OPENED_H
#define FS_OPENED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The process of a thread: the kernel tells the thread.  The same number, if that is not known. */
pid_t opened_process_of(pid_t tid);

/* Does it consist of one thread?  Not known: false. */
bool opened_by_one_thread(pid_t pid);

/*
 * Is it certain that no process but pid (and this one) has a descriptor of a file with that inode
 * number?  Some milliseconds: every descriptor of every process is looked at.  What is in nobody's
 * table, as a descriptor that is being sent over a socket, is not seen.
 */
bool opened_by_it_alone(pid_t pid, uint64_t ino);

#endif
