#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Byte lengths against page calls: a program on the mount, a library client with DB_ODDFILESIZE and
# one without, on the same file; each answer is compared with a model.

. "$TEST_SRC/mount/lib.sh"

# rounds PAGE_BYTES SEED...
rounds()
{
	page=$1
	shift
	mount_pool --cache-size=256K --page-size="$page"
	for seed in "$@"; do
		check "pages_of_${page}_seed_$seed" python3 "$TEST_SRC/mount/odd_lengths.py" \
			"$mnt" "$home" "$TEST_BIN/page_client" "$page" "$seed" \
			"${OPERATIONS:-1500}"
	done
	unmount_pool
	remove_pool
}

rounds 512 1 2 3
rounds 4096 4 5
rounds 65536 6
finish
