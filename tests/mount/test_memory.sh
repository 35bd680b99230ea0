#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Where a mounted pool has its memory: --memory, --region-dir, what is left of it and what is not.

. "$TEST_SRC/mount/lib.sh"

# segments: of this test's own IPC namespace.
segments()
{
	awk 'NR > 1' /proc/sysvipc/shm | wc -l
}

layout()
{
	awk -v key="$1" '$1 == key { print $2 }' "$mnt/regions/mpool.layout"
}

bytes_of()
{
	stat -c %s "$1"
}

# --- system ---------------------------------------------------------------------------------

mount_pool --cache-size=1M
same system_is_the_default system "$(layout memory)"
same its_file_is_small yes "$([ "$(bytes_of "$home/__db_mpool.share")" -lt 4096 ] && echo yes)"
same its_segment_is_named "$(awk 'NR == 2 { print $2 }' /proc/sysvipc/shm)" "$(layout segid)"
same its_segment_has_the_files_mode 600 "$(awk 'NR == 2 { print $3 }' /proc/sysvipc/shm)"
same its_bytes_are_shown "$(layout size)" "$(wc -c <"$mnt/regions/mpool")"
same its_size_is_shown "$(layout size)" "$(bytes_of "$mnt/regions/mpool")"
same its_magic_is_in_them 97081200 \
	"$(dd if="$mnt/regions/mpool" bs=1 skip=8 count=4 status=none | od -An -tx1 | tr -d ' ')"
same its_client_is_shown live "$(awk 'NR == 2 { print $4 }' "$mnt/regions/mpool.clients")"
echo data >"$mnt/files/f"
check_fails memory_that_does_not_exist 'memory: system, file or private' \
	"$POOLFS" --memory=core "$home" "$mnt"
unmount_pool
same it_outlives_the_mount 1 "$(segments)"

mount_pool --memory=file
same an_existing_pool_is_joined_as_it_is system "$(layout memory)"
same with_its_pages data "$(cat "$mnt/files/f")"
same from_the_cache 0 "$(stat_of cache_miss | awk '{ print ($1 > 1) }')"
pid=$(daemon_pid)
echo unwritten >"$mnt/files/f"
kill -9 "$pid"
unmount_pool
same what_a_killed_daemon_left_is_written unwritten "$(cat "$home/f")"

mount_pool
check rm_removes_it rm "$mnt/regions/mpool"
same with_its_segment 0 "$(segments)"
check_fails and_its_file 'No such file' stat "$home/__db_mpool.share"
echo again >"$mnt/files/f"
same the_next_one_is_of_the_same_kind system "$(layout memory)"
rm "$mnt/regions/mpool"
unmount_pool
same nothing_is_left 0 "$(segments)"

# A segment that somebody removed while nobody used it.
mount_pool
unmount_pool
ipcrm -m "$(awk 'NR == 2 { print $2 }' /proc/sysvipc/shm)"
mount_pool
same a_segment_that_is_gone_is_made_anew again "$(cat "$mnt/files/f")"
unmount_pool
check_fails another_ipc_namespace_is_refused 'IPC namespace' \
	unshare --ipc "$POOLFS" "$home" "$mnt"
remove_pool
same and_went_with_its_region 0 "$(segments)"

# --- file, private --------------------------------------------------------------------------

mount_pool --memory=file --cache-size=1M
same a_file_is_a_file file "$(layout memory)"
same of_the_regions_size "$(layout size)" "$(bytes_of "$home/__db_mpool.share")"
same and_no_segment "-1 0" "$(layout segid) $(segments)"
mkdir "$work/mnt-private"
check_fails one_home_has_one_pool 'same home' \
	"$POOLFS" --memory=private "$home" "$work/mnt-private"
rm "$mnt/regions/mpool"
unmount_pool

mount_pool -o memory=private,cache_size=1M
echo private >"$mnt/files/f"
same a_private_pool_works private "$(cat "$mnt/files/f")"
same and_has_neither_file_nor_segment 0 "$(segments)$(find "$home" -name '__db_*')"
unmount_pool
same it_leaves_home_complete private "$(cat "$home/f")"

# --- region-dir -----------------------------------------------------------------------------

mkdir "$home/sub" "$work/elsewhere"
for dir in sub "$work/elsewhere"; do
	mount_pool --region-dir="$dir" --memory=file --cache-size=1M
	path=$(cd "$home" && realpath "$dir")
	check "region_is_in_region_dir_$(basename "$dir")" test -s "$path/__db_mpool.share"
	check "region_is_shown_from_there_$(basename "$dir")" test -s "$mnt/regions/mpool"
	check_fails "hidden_wherever_it_is_$(basename "$dir")" 'No such file' \
		stat "$mnt/files/$(basename "$dir")/__db_mpool.share"
	mkdir "$work/mnt-two"
	check_fails "not_beside_another_region_dir_$(basename "$dir")" 'same home' \
		"$POOLFS" --region-dir="$work" "$home" "$work/mnt-two"
	rmdir "$work/mnt-two"
	check_fails "what_leads_there_is_hidden_$(basename "$dir")" 'No such file' \
		stat "$mnt/files/__db_regions"
	check_fails "and_not_to_be_made_$(basename "$dir")" 'not permitted' \
		mkdir "$mnt/files/__db_regions"
	same "home_shows_only_its_files_$(basename "$dir")" "f sub" "$(ls -A "$mnt/files" | xargs)"
	echo "$dir" >"$mnt/files/f"
	pid=$(daemon_pid)
	kill -9 "$pid"
	check "poolfs_u_finds_what_is_left_from_home_alone_$(basename "$dir")" "$POOLFS" -u "$mnt"
	same "to_home_$(basename "$dir")" "$dir" "$(cat "$home/f")"
	mount_pool
	check "a_mount_finds_it_from_home_alone_$(basename "$dir")" test -s "$mnt/regions/mpool"
	printf 'open f\nput 0 LIB\n' | "$TEST_BIN/pool_client" "$home" >"$work/said" 2>&1
	same "a_library_client_too_$(basename "$dir")" "ok ok" "$(xargs <"$work/said")"
	same "and_it_is_the_same_pool_$(basename "$dir")" LIB "$(head -c 3 "$mnt/files/f")"
	unmount_pool
	check_fails "not_in_another_place_while_it_is_there_$(basename "$dir")" 'removed' \
		"$POOLFS" --region-dir=. "$home" "$mnt"
	mount_pool -o "region-dir=$dir"
	check "rm_removes_it_from_there_$(basename "$dir")" rm "$mnt/regions/mpool"
	check "and_it_is_gone_$(basename "$dir")" test ! -e "$path/__db_mpool.share"
	unmount_pool
	check "home_says_nothing_any_more_$(basename "$dir")" test ! -L "$home/__db_regions"
done
check_fails region_dir_that_does_not_exist 'region directory' \
	"$POOLFS" --region-dir="$work/none" "$home" "$mnt"

# --- in a container with less than the machine ----------------------------------------------

# limit GROUP BYTES: of memory, for a control group that is made for it.
limit()
{
	if [ -e "$1/memory.limit_in_bytes" ]; then
		echo "$2" >"$1/memory.limit_in_bytes"
	elif [ -e "$1/memory.max" ]; then
		echo "$2" >"$1/memory.max"
	else
		return 1
	fi 2>/dev/null
}

group=
for at in /sys/fs/cgroup/memory /sys/fs/cgroup; do
	group=$at/$(basename "$work")
	if mkdir "$group" 2>/dev/null; then
		limit "$group" $((64 << 20)) && break
		rmdir "$group"
	fi
	group=
done
if [ -n "$group" ]; then
	check_fails more_memory_than_the_control_group_has 'are wanted and .* available' \
		sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" \
		"$POOLFS" --cache-size=128M "$home" "$mnt"
	check_fails leaves_no_region 'No such file' stat "$home/__db_mpool.share"
	rmdir "$group"
else
	skip more_memory_than_the_control_group_has "no control group can be made here"
fi
finish
