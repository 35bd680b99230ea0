#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two mounts of one home are two clients of one pool: what both append to one file is all there, and
# readers do not keep a writer out.

. "$TEST_SRC/mount/lib.sh"

mkdir "$work/mnt2"
mount_pool --cache-size=8M
"$POOLFS" --cache-size=8M "$home" "$work/mnt2" 2>/dev/null

append()
{
	python3 - "$1" "$2" <<-'EOS'
		import os, sys
		fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
		for i in range(1000):
		    os.write(fd, f"{sys.argv[2]} {i:05d} ".ljust(99, "x").encode() + b"\n")
	EOS
}

append "$mnt/files/log" a &
append "$work/mnt2/files/log" b &
wait
same no_append_of_one_is_lost 1000 "$(grep -c '^a ' "$mnt/files/log")"
same nor_of_the_other 1000 "$(grep -c '^b ' "$work/mnt2/files/log")"
same nor_is_there_a_hole 200000 "$(stat -c %s "$mnt/files/log")"
timeout 60 "$POOLFS" -u "$work/mnt2"
unmount_pool
same nor_in_home 2000 "$(wc -l <"$home/log")"
finish
