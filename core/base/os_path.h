/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/os_path.h - names of files, file handles, and what a file system says of itself.
 *
 * Conventions as in os.h.
 */
#ifndef BASE_OS_PATH_H
#define BASE_OS_PATH_H

#include "os.h"

#define OS_HANDLE_BYTES 128 /* of the longest handle */

/* A file's name within its file system, whatever it is called. */
struct os_handle {
	uint32_t bytes; /* 0: the file system has none */
	int32_t type;
	uint8_t data[OS_HANDLE_BYTES];
};

/* A regular file, link or node goes by unlink(2), a directory by rmdir(2). */
int os_remove(const char *path, bool is_directory);
int os_rename(const char *from, const char *to);

int os_fchmod(int fd, uint32_t mode);

/* Open beneath an open directory, through no link of any kind. */
int os_open_beneath(int dirfd, const char *path, int oflags, int *fdp);

/* Is what path leads to served by a user space file system? */
bool os_is_fuse(const char *path);

/* The attribute as a string, NUL-terminated, of at most room - 1 bytes. */
int os_getxattr(const char *path, const char *name, char *value, size_t room);

/* Has the open file an access control list, beyond its mode?  True if that cannot be told. */
bool os_has_acl(int fd);

/* h->bytes is 0 if there is none, which is no error. */
void os_handle_of(int fd, struct os_handle *h);

/*
 * Open by handle; mount_fd is any file of the file system, not O_PATH.  ESTALE: the file is gone
 * for good; EPERM: the process may not do this.
 */
int os_handle_open(int mount_fd, const struct os_handle *h, int oflags, int *fdp);

#endif
