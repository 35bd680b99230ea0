#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A program that gives the library a path on the mount gets the file of HOME behind it: one file,
# one page in the pool, whichever way it was named.  A path on another pool's mount is refused.

. "$TEST_SRC/mount/lib.sh"

# client COMMAND: one line, to a client of $home's pool; prints the answer.
client()
{
	printf '%s\n' "$@" | "$TEST_BIN/pool_client" "$home" 2>"$work/why"
}

mkdir "$home/d" "$work/home2" "$work/mnt2"
printf '%4096s' before >"$home/d/f"
ln -s "$mnt/files/d/f" "$work/link"
mount_pool --cache-size=4M
cat "$mnt/files/d/f" >/dev/null
same a_path_on_the_mount_opens_home_s_file "ok ok" \
	"$(echo $(client "open $mnt/files/d/f" "put 0 through"))"
same and_both_see_one_page through "$(head -c 7 "$mnt/files/d/f")"
same which_is_in_the_pool_once 1 "$(awk '/d\/f$/ { n++ } END { print n + 0 }' "$mnt/stat/files")"
same a_symbolic_link_to_the_mount_too "ok through ok" \
	"$(echo $(client "open $work/link" "get 0 7"))"
same a_file_is_renamed_so ok "$(client "rename $mnt/files/d/f $mnt/files/g")"
same in_home through "$(head -c 7 "$mnt/files/g")"
same and_removed ok "$(client "remove $mnt/files/g")"
check which_the_mount_sees test ! -e "$mnt/files/g"
check and_home test ! -e "$home/g"
same what_is_no_file_of_home_is_refused "error 22 Invalid argument" \
	"$(client "open $mnt/stat/pool")"
check with_a_reason grep -q 'none of its files' "$work/why"

echo other >"$work/home2/f"
timeout 60 "$POOLFS" --cache-size=4M "$work/home2" "$work/mnt2"
same another_pool_s_mount_is_refused "error 22 Invalid argument" \
	"$(client "open $work/mnt2/files/f")"
check with_its_reason grep -q 'mount of another pool' "$work/why"
timeout 60 "$POOLFS" -u "$work/mnt2"

# Dirty pages of a file outside of HOME, by a client that is gone: not the daemon's to write.
printf '%4096s' outside >"$work/outside"
(echo "open $work/outside" && echo "put 0 changed") | "$TEST_BIN/pool_client" "$home" >/dev/null
sync -f "$mnt"
same a_file_outside_of_home_is_not_opened_by_the_daemon "    " "$(head -c 4 "$work/outside")"
same but_by_the_next_client_that_has_it_open "ok ok" "$(echo $(client "open $work/outside" sync))"
same with_all_that_was_put changed "$(head -c 7 "$work/outside")"
unmount_pool
finish
