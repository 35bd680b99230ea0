#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The same random operations on the mount and on a bare directory beside HOME, with pools that are
# much smaller than the data, other page sizes, and a region that is removed on the way.

. "$TEST_SRC/mount/lib.sh"

# rounds NAME OPTION...
rounds()
{
	name=$1
	shift
	rm -rf "$home" "$work/bare"
	mkdir "$home" "$work/bare"
	mount_pool "$@"
	for seed in 1 2 3; do
		mkdir "$mnt/files/$seed" "$work/bare/$seed"
		check "${name}_seed_$seed" python3 "$TEST_SRC/mount/differential.py" \
			"$mnt/files/$seed" "$work/bare/$seed" "$seed" "${OPERATIONS:-1500}"
	done
	unmount_pool
	remove_pool
	check "${name}_leaves_home_the_same" diff -r --no-dereference "$work/bare" "$home"
}

rounds tiny_pool --cache-size=256K
rounds small_pages --cache-size=512K --page-size=512
rounds large_pages --cache-size=4M --page-size=64K
rounds memory_in_a_file --memory=file --cache-size=1M
rounds memory_of_its_own --memory=private --cache-size=1M
rounds one_thread --cache-size=1M -o sync -s
finish
