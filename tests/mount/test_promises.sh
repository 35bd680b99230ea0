#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What the mount promises beyond what each call does: promises.py in a directory of it; and the
# times of a file after an unmount.

. "$TEST_SRC/mount/lib.sh"

mount_pool --cache-size=4M --dirty-expire=86400 -o dir_timeout=0
mkdir "$mnt/files/d"
lines_of promises.py "$mnt/files/d" "$home/d"

# --- times ----------------------------------------------------------------------------------

# times_of FILE: of change and of modification, and its length.
times_of()
{
	stat -c '%.Z %.Y %s' "$1"
}

exec 9>"$mnt/files/times"
echo one >&9
shown=$(times_of "$mnt/files/times")
exec 9>&-
unmount_pool
same the_time_of_a_write_is_what_was_shown "${shown#* }" \
	"$(times_of "$home/times" | cut -d ' ' -f 2-)"
check the_time_of_change_is_not_earlier \
	awk -v shown="${shown%% *}" -v now="$(stat -c %.Z "$home/times")" \
	'BEGIN { exit now < shown }'

# --- blocks reserved ahead by a daemon that is killed ---------------------------------------

# appends N COMMAND: pieces, and then the command while the file is open.
appends()
{
	python3 - "$mnt/files/ahead" "$1" "$2" <<-'EOP'
		import os, sys
		fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
		for i in range(int(sys.argv[2])):
		    os.write(fd, bytes(10001))
		os.system(sys.argv[3])
	EOP
}

# has_no_more LEAST: bytes of $home/ahead, and blocks for these.
has_no_more()
{
	[ "$(stat -c %s "$home/ahead")" -ge "$1" ] &&
		[ "$(stat -c %b "$home/ahead")" -le $((($1 + 65536) / 512)) ]
}

mount_pool --cache-size=4M --dirty-expire=86400
daemon=$(daemon_pid)
appends 40 "kill -9 $daemon"
gone "$daemon"
umount -l "$mnt"
same blocks_of_its_own_were_behind_the_end yes \
	"$([ "$(stat -c %b "$home/ahead")" -lt 900 ] || echo yes)"
mount_pool --cache-size=4M
appends 1 true
check the_next_daemon_gives_them_back within_a_minute has_no_more 410041
unmount_pool
finish
