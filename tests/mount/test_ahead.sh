#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Files that are read in order are read ahead of their readers, and others are not; a pool that has
# hardly room for that serves them, too.

. "$TEST_SRC/mount/lib.sh"

mount_pool --cache-size=128M
lines_of ahead.py "$mnt/files" "$home"
unmount_pool
remove_pool

mount_pool --cache-size=512K
for size in 1M 128K; do
	dd if="$mnt/files/large0" of="$work/copy" bs=$size status=none
	check a_pool_of_half_a_mib_serves_who_reads_in_order_$size cmp "$home/large0" "$work/copy"
done
unmount_pool
finish
