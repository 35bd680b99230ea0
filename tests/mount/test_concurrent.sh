#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Several programs at once on a small pool, each with its own random operations that a bare
# directory must agree with, while the status files are read and the pool's region is removed
# again and again under them.

. "$TEST_SRC/mount/lib.sh"

mkdir "$work/bare"
mount_pool --cache-size=512K --dirty-expire=1
for seed in 101 102 103; do
	mkdir "$mnt/files/$seed" "$work/bare/$seed"
	timeout 300 python3 "$TEST_SRC/mount/differential.py" "$mnt/files/$seed" \
		"$work/bare/$seed" "$seed" "${OPERATIONS:-1500}" >"$work/said.$seed" 2>&1 &
	eval "job_$seed=$!"
done

# Until there is a file that says stop; the count of removals goes to another.
remove_regions()
{
	n=0
	while [ ! -e "$work/stop" ]; do
		rm -f "$mnt/regions/mpool" 2>/dev/null && n=$((n + 1))
		cat "$mnt/stat/pool" "$mnt/stat/files" "$mnt"/regions/* >/dev/null 2>&1
		ls -lR "$mnt/stat" "$mnt/regions" >/dev/null 2>&1
	done
	echo "$n" >"$work/removals"
}

remove_regions &
remover=$!
for seed in 101 102 103; do
	eval "wait \$job_$seed"
	status=$?
	sed 's/^/# /' "$work/said.$seed"
	ok "seed_$seed" "$status"
done
touch "$work/stop"
wait "$remover"
check the_region_was_removed_meanwhile test "$(cat "$work/removals")" -gt 2
check the_mount_still_answers test -s "$mnt/README"
unmount_pool
rm -f "$home/__db_mpool.share"
check home_is_the_same diff -r --no-dereference "$work/bare" "$home"
finish
