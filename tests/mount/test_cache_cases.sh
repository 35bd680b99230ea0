#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# With the kernel caching (-o cache=open, keep), the moments at which an older copy could stay, and
# how it ends meanwhile; cache_cases.py has them, cache_full.py what is of a full table.

. "$TEST_SRC/mount/lib.sh"

export MNT="$mnt"
for mode in open keep; do
	mkdir -p "$home/$mode"
	mount_pool -o cache=$mode --cache-size=1M
	daemon=$(daemon_pid)
	timeout 300 python3 "$TEST_SRC/mount/cache_cases.py" "$mnt/files/$mode" "$home/$mode" \
		>"$work/tap"
	check "cases_$mode" test $? -eq 0
	grep -v '^ok\|^1\.\.' "$work/tap"
	gone "$daemon" || check "the_daemon_ends_$mode" false
done

# The smallest pools know 64 files.
mount_pool -o cache=open --cache-size=256K
same a_small_pool_lets_half_of_its_files_be_cached 32 "$(python3 - "$mnt" <<'EOP'
import os
import sys

for i in range(90):
    os.open(sys.argv[1] + "/files/of_many%d" % i, os.O_CREAT | os.O_RDWR)
with open(sys.argv[1] + "/stat/daemon") as daemon:
    print(*[line.split()[1] for line in daemon if line.startswith("kernel_files ")])
EOP
)"
unmount_pool

mkdir "$home/full"
mount_pool -o cache=open --cache-size=256K
check a_full_table python3 "$TEST_SRC/mount/cache_full.py" "$mnt/files/full" "$home/full"
unmount_pool
finish
