#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# -o ro, where everything can be read and nothing changes; -o noatime; -o sync; dirty_expire.

. "$TEST_SRC/mount/lib.sh"

long_ago=100000000

old_times()
{
	touch -a -d @$long_ago "$home/f" "$home/d"
}

atimes()
{
	stat -c %X "$home/f" "$home/d" | tr '\n' ' '
}

# refused COMMAND...: because it is read-only.
refused()
{
	! "$@" 2>"$work/why" && grep -q 'Read-only' "$work/why"
}

printf 'content' >"$home/f"
ln -s f "$home/s"
mkdir "$home/d"
echo inside >"$home/d/inside"

# --- -o ro ----------------------------------------------------------------------------------

mount_pool --cache-size=1M -o ro
old_times
same files_are_read content "$(cat "$mnt/files/f")"
check directories_are_read ls "$mnt/files/d"
same links_are_read f "$(readlink "$mnt/files/s")"
same reading_leaves_home_alone "$long_ago $long_ago " "$(atimes)"
check ro_creates_nothing refused touch "$mnt/files/new"
check ro_writes_nothing refused sh -c 'echo x >>"$0"' "$mnt/files/f"
check ro_truncates_nothing refused truncate -s 0 "$mnt/files/f"
check ro_removes_nothing refused rm -f "$mnt/files/f"
check ro_renames_nothing refused mv "$mnt/files/f" "$mnt/files/g"
check ro_makes_no_directory refused mkdir "$mnt/files/e"
check ro_changes_no_mode refused chmod 600 "$mnt/files/f"
check ro_changes_no_time refused touch -d @1 "$mnt/files/f"
check ro_links_nothing refused ln "$mnt/files/f" "$mnt/files/g"
check ro_sets_no_attribute refused setfattr -n user.x -v 1 "$mnt/files/f"
check ro_keeps_the_region sh -c '! rm -f "$0" 2>/dev/null' "$mnt/regions/mpool"

# A library client may write; the mount shows it.
printf '%s\n' 'open f' 'put 0 CONTENT' | timeout 60 "$TEST_BIN/pool_client" "$home" >"$work/said"
same ro_shows_what_others_put CONTENT "$(cat "$mnt/files/f")"
unmount_pool

# --- -o noatime -----------------------------------------------------------------------------

mount_pool -o noatime
old_times
cat "$mnt/files/f" >"$work/out"
ls "$mnt/files/d" >"$work/out"
same noatime_leaves_access_times "$long_ago $long_ago " "$(atimes)"
unmount_pool
mount_pool
old_times
cat "$mnt/files/f" >"$work/out"
check without_it_reading_moves_them test "$(stat -c %X "$home/f")" -gt $long_ago
unmount_pool

# --- -o sync --------------------------------------------------------------------------------

mount_pool -o sync --dirty-expire=86400
exec 9>"$mnt/files/f"
printf 'at once' >&9
same with_sync_a_write_is_in_home_when_it_returns "at once" "$(cat "$home/f")"
exec 9>&-
unmount_pool

# --- dirty_expire ---------------------------------------------------------------------------

is_in_home()
{
	[ "$(cat "$home/f")" = "$1" ]
}

mount_pool --dirty-expire=1
exec 9>"$mnt/files/f"
printf 'expired' >&9
check what_was_written_gets_to_home_without_being_asked within_a_minute is_in_home expired
exec 9>&-
unmount_pool
finish
