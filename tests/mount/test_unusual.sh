#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Calls that few programs make: each must do on the mount what it does in a bare directory, or be
# refused in a way that is written down (unusual.py).

. "$TEST_SRC/mount/lib.sh"

mkdir "$work/bare"
mount_pool --cache-size=4M
mkdir "$mnt/files/d"
lines_of unusual.py "$mnt/files/d" "$work/bare"
unmount_pool
finish
