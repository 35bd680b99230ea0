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
finish
