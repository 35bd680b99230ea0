#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A line of fstab: type fuse.poolfs, options by name, mount(8) and umount(8).

. "$TEST_SRC/mount/lib.sh"

# Installed, the type is fuse.poolfs; mount.fuse takes the rest of it as the program's path too.
printf '%s %s fuse.%s %s 0 0\n' "$home" "$mnt" "$POOLFS" \
	'cache_size=1M,page_size=8K,memory=file,dirty-expire=5,noauto,user,x-systemd.automount' \
	>"$work/fstab"
echo text >"$home/file"

check mount_takes_the_line timeout 60 mount -T "$work/fstab" "$mnt"
same it_serves text "$(cat "$mnt/files/file")"
same with_its_options "1048576 8192" \
	"$(stat_of cachesize) $(awk '/\/file$/ { print $1 }' "$mnt/stat/files")"
same and_words_of_mount "fuse.poolfs nosuid,nodev,noexec" \
	"$(findmnt -n -o FSTYPE,OPTIONS "$mnt" | awk '{ split($2, o, ",");
	    for (i in o) has[o[i]] = 1;
	    print $1, (has["nosuid"] ? "nosuid," : "") (has["nodev"] ? "nodev," : "") \
		(has["noexec"] ? "noexec" : "") }')"
echo more >>"$mnt/files/file"
pid=$(daemon_pid)
check umount_takes_it_away umount "$mnt"
timeout 60 sh -c 'while kill -0 "$1" 2>/dev/null; do :; done' sh "$pid"
same and_it_is_written "text more" "$(tr '\n' ' ' <"$home/file" | sed 's/ $//')"

printf '%s %s fuse.%s nosuch_option 0 0\n' "$home" "$mnt" "$POOLFS" >"$work/fstab"
check unknown_options_are_refused sh -c '! timeout 60 mount -T "$1" "$2" 2>/dev/null' \
	sh "$work/fstab" "$mnt"
check with_a_sentence sh -c 'mount -T "$1" "$2" 2>&1 | grep -q "unknown option -o nosuch_option"' \
	sh "$work/fstab" "$mnt"
finish
