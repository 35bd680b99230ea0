#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What programs expect of a file system: posix.py in a directory of the mount, other users included.

. "$TEST_SRC/mount/lib.sh"

chmod 755 "$work" "$home"
mount_pool --cache-size=4M -o allow_other
mkdir "$mnt/files/d"
timeout 500 python3 "$TEST_SRC/mount/posix.py" "$mnt/files/d" "$home/d"
status=$?
unmount_pool
exit "$status"
