#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Large directories, many files, long and sparse files: large.py, served by a daemon that may have a
# thousand descriptors, with a pool of 200 KiB.  LARGE_ENTRIES=100000 for the whole of it.

. "$TEST_SRC/mount/lib.sh"

# without_descriptors COMMAND...: root, but not so much that it may have more descriptors.
without_descriptors()
{
	prlimit --nofile=1000:1000 setpriv --bounding-set=-sys_resource \
		--inh-caps=-sys_resource "$@"
}

if ! without_descriptors timeout 60 "$POOLFS" --cache-size=200K "$home" "$mnt"; then
	ok mounts_with_a_thousand_descriptors 1
	finish
fi
mkdir "$mnt/files/d"
seconds=$((500 + ${LARGE_ENTRIES:-5000} / 20))
DAEMON_PID=$(daemon_pid) timeout "$seconds" \
	python3 "$TEST_SRC/mount/large.py" "$mnt/files/d" "$home/d"
status=$?
unmount_pool
exit "$status"
