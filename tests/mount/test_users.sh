#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Who asks: users.py on a mount for everybody, served by a daemon that root runs.

. "$TEST_SRC/mount/lib.sh"

chmod 755 "$work" "$home"
mount_pool --cache-size=4M -o allow_other
mkdir "$mnt/files/d"
timeout 500 python3 "$TEST_SRC/mount/users.py" "$mnt/files/d" "$home/d"
status=$?
unmount_pool
exit "$status"
