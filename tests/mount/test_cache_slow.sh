#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# With the kernel caching: a disk that takes its time for one file; cache_slow.py looks at others.

. "$TEST_SRC/mount/lib.sh"

export MNT="$mnt" HANG_IN_READS=yes
prepare_to_hang /slow

for mode in open keep; do
	mkdir -p "$home/$mode"
	LD_PRELOAD=$preload mount_pool -o cache=$mode --cache-size=1M
	check "slow_$mode" timeout 110 \
		python3 "$TEST_SRC/mount/cache_slow.py" "$mnt/files/$mode" "$home/$mode"
	unmount_pool
done
finish
