#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Removing and renaming by library clients of what programs have open in the mount, and the reverse:
# client_names.py in a directory of the mount, with a pool that is smaller than its files.

. "$TEST_SRC/mount/lib.sh"

mount_pool --cache-size=64K
mkdir "$mnt/files/d"
timeout 300 python3 "$TEST_SRC/mount/client_names.py" "$mnt/files/d" "$home/d"
status=$?
unmount_pool
exit "$status"
