#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# -o dir_timeout: what the kernel keeps of directories, which is never old by what the mount itself
# does, and nothing of files.

. "$TEST_SRC/mount/lib.sh"

mode_of()
{
	stat -c %a "$1"
}

has_mode()
{
	test "$(mode_of "$1")" = "$2"
}

# --- without it -----------------------------------------------------------------------------

mount_pool --cache-size=1M -o cache=none
mkdir "$mnt/files/d"
mode_of "$mnt/files/d" >/dev/null
chmod 711 "$home/d"
same with_cache_none_a_directory_changed_in_home_is_seen_at_once 711 "$(mode_of "$mnt/files/d")"
mv "$home/d" "$home/e"
check_fails and_one_renamed_there 'No such file' stat "$mnt/files/d"
same is_under_its_new_name 711 "$(mode_of "$mnt/files/e")"
unmount_pool

# --- for as long as a test runs -------------------------------------------------------------

mount_pool --cache-size=1M -o dir_timeout=3600
f=$mnt/files
mkdir -p "$f/a/b/c"
echo 1 >"$f/a/b/c/file"
mode_of "$f/a" >/dev/null
chmod 711 "$home/a"
same with_it_the_kernel_keeps_what_it_was_told 755 "$(mode_of "$f/a")"
mv "$home/a/b/c" "$home/a/b/moved"
same and_where_a_directory_was 1 "$(cat "$f/a/b/c/file")"
mv "$home/a/b/moved" "$home/a/b/c"

chmod 700 "$f/a"
same a_mode_given_through_the_mount_is_seen_at_once 700 "$(mode_of "$f/a")"
touch -d @1000000000 "$f/a"
same and_a_time 1000000000 "$(stat -c %Y "$f/a")"
: >"$f/a/new"
same a_new_name_changes_the_time_of_its_directory "$(stat -c %.9Y "$home/a")" \
	"$(stat -c %.9Y "$f/a")"
mkdir "$f/a/more"
same a_new_directory_is_a_link_of_its_parent 4 "$(stat -c %h "$f/a")"
mv "$f/a/b" "$f/moved"
same a_directory_renamed_through_the_mount_is_there 1 "$(cat "$f/moved/c/file")"
check_fails and_not_where_it_was 'No such file' stat "$f/a/b"
rmdir "$f/a/more"
check_fails one_removed_through_the_mount_is_gone 'No such file' stat "$f/a/more"
same and_no_link_any_more 2 "$(stat -c %h "$f/a")"

echo 22 >"$home/a/new"
same a_file_changed_in_home_is_seen_at_once 3 "$(stat -c %s "$f/a/new")"
chmod 600 "$home/a/new"
same so_is_its_mode 600 "$(mode_of "$f/a/new")"
mv "$home/a/new" "$home/a/newer"
check_fails and_its_name 'No such file' stat "$f/a/new"
: >"$home/a/other"
same and_one_that_was_not_there 0 "$(stat -c %s "$f/a/other")"
unmount_pool

# --- a second -------------------------------------------------------------------------------

mount_pool --cache-size=1M -o cache=keep
mode_of "$mnt/files/a" >/dev/null
chmod 711 "$home/a"
check with_cache_keep_it_is_seen_soon within_a_minute has_mode "$mnt/files/a" 711
unmount_pool
mount_pool --cache-size=1M -o cache=keep,dir_timeout=0
mode_of "$mnt/files/a" >/dev/null
chmod 755 "$home/a"
same and_at_once_if_asked_for 755 "$(mode_of "$mnt/files/a")"
unmount_pool

check_fails a_bad_value_is_refused 'dir_timeout: seconds, 0 to 86400, not soon' \
	"$POOLFS" -o dir_timeout=soon "$home" "$mnt"
check_fails so_is_more_than_a_day 'not 86401' "$POOLFS" -o dir_timeout=86401 "$home" "$mnt"
finish
