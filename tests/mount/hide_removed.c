/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hide_removed.c - preloaded into the daemon: HOME's filesystem hides what is removed while it is
 * open, as those of the network do.  A file without another name is renamed to .hidden instead.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int
unlinkat(int dirfd, const char *name, int flags)
{
	struct stat st;

	if (flags == 0 && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode) && st.st_nlink == 1)
		return renameat(dirfd, name, dirfd, ".hidden");
	return (int)syscall(SYS_unlinkat, dirfd, name, flags);
}
