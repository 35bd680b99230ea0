#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The life of a mount, and every kind of bad input: one sentence, a status that is not 0, nothing
# left mounted, nothing lost.

. "$TEST_SRC/mount/lib.sh"

nothing_mounted()
{
	! is_mounted "$mnt"
}

# has_ended PID: now; a zombie waits only for its new parent to look.
has_ended()
{
	! [ -d "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status"
}

# --- words ----------------------------------------------------------------------------------

check help_is_on_stdout sh -c '"$0" -h | grep -q "usage: poolfs"' "$POOLFS"
check version_names_libfuse_and_format sh -c \
	'"$0" -V | grep -q "^libfuse 3" && "$0" -V | grep -q "^region format"' "$POOLFS"
check_fails no_arguments_is_a_usage_error 'usage: poolfs' "$POOLFS"
check_fails one_argument_is_a_usage_error 'usage: poolfs' "$POOLFS" "$home"
check_fails an_unknown_option_is_named 'unknown option --frobnicate' \
	"$POOLFS" --frobnicate "$home" "$mnt"
check_fails an_unknown_letter_is_named 'unknown option -x' "$POOLFS" -x "$home" "$mnt"
check_fails an_unknown_word_is_named 'unknown option -o frobnicate' \
	"$POOLFS" -o ro,frobnicate "$home" "$mnt"
check_fails a_bad_size_is_named '"12Q" is not a size' "$POOLFS" --cache-size=12Q "$home" "$mnt"
check_fails a_tiny_pool_is_refused 'at least 20K' "$POOLFS" -o cache_size=1000 "$home" "$mnt"
check_fails a_bad_page_size_is_refused 'power of two' "$POOLFS" --page-size=1000 "$home" "$mnt"
check_fails a_bad_mode_is_refused 'octal' "$POOLFS" --mode=abc "$home" "$mnt"
check nothing_is_mounted_after_bad_words nothing_mounted
same bad_words_leave_home_alone "" "$(ls -A "$home")"

# --- places ---------------------------------------------------------------------------------

check_fails home_missing 'HOME .*/none: No such file' "$POOLFS" "$work/none" "$mnt"
touch "$work/file"
check_fails home_not_a_directory 'not a directory' "$POOLFS" "$work/file" "$mnt"
check_fails mountpoint_missing 'MOUNTPOINT .*/none: No such file' "$POOLFS" "$home" "$work/none"
check_fails mountpoint_not_a_directory 'not a directory' "$POOLFS" "$home" "$work/file"
mkdir "$home/inside"
check_fails mountpoint_inside_home 'inside HOME' "$POOLFS" "$home" "$home/inside"
rmdir "$home/inside"
mkdir "$mnt/inside"
check_fails home_inside_mountpoint 'inside MOUNTPOINT' "$POOLFS" "$mnt/inside" "$mnt"
rmdir "$mnt/inside"
check_fails home_is_mountpoint 'inside' "$POOLFS" "$home" "$home"
mkdir "$work/ro"
mount -t tmpfs -o ro none "$work/ro"
check_fails home_not_writable 'not writable' "$POOLFS" "$work/ro" "$mnt"
umount "$work/ro"
mount -t tmpfs none "$work/ro"
check_fails mountpoint_busy 'busy' "$POOLFS" "$home" "$work/ro"
umount "$work/ro"
check_fails no_dev_fuse '/dev/fuse' unshare -m sh -c \
	'mount -t tmpfs none /dev && exec "$0" "$1" "$2"' "$POOLFS" "$home" "$mnt"
same bad_places_leave_home_alone "" "$(ls -A "$home")"

# --- regions --------------------------------------------------------------------------------

mount_pool --cache-size=1M
unmount_pool
cp "$home/__db_mpool.share" "$work/good"
# poke OFFSET: four bytes of the region's file, read from standard input.
poke()
{
	dd of="$home/__db_mpool.share" bs=1 seek="$1" conv=notrunc status=none
}

# The format is behind the lock, valid, refcnt, size, three versions, panic, segid and flags.  One
# that was closed, as clean says (104), would be made anew.
printf '\377\377\377\377' | poke 48
printf '\000\000\000\000' | poke 104
check_fails region_of_another_format 'cannot open the pool of' "$POOLFS" "$home" "$mnt"
cp "$work/good" "$home/__db_mpool.share"
printf '\001\000\000\000' | poke 36
check_fails region_that_panicked 'cannot open the pool of' "$POOLFS" "$home" "$mnt"
check nothing_is_mounted_on_bad_regions nothing_mounted
: >"$home/__db_mpool.share"
mount_pool --cache-size=1M
check an_empty_region_is_made_anew test -s "$mnt/regions/mpool"
unmount_pool
rm "$home/__db_mpool.share"

# --- coming and going -----------------------------------------------------------------------

mount_pool --cache-size=1M
check the_mount_answers_at_once test -s "$mnt/README"
check the_source_is_home sh -c 'findmnt -n -o SOURCE,FSTYPE "$0" | grep -q "$1 *fuse.poolfs"' \
	"$mnt" "$home"
check_fails a_second_mount_on_it_is_refused 'busy' "$POOLFS" "$home" "$mnt"
echo one >"$mnt/files/one"
pid=$(daemon_pid)
unmount_pool
check poolfs_u_waits_for_the_daemon has_ended "$pid"
same poolfs_u_leaves_home_complete one "$(cat "$home/one")"
check_fails poolfs_u_of_nothing 'nothing is mounted' "$POOLFS" -u "$mnt"
check_fails poolfs_u_of_another_type 'not a poolfs' "$POOLFS" -u /proc

for signal in TERM INT HUP; do
	mount_pool
	echo "$signal" >"$mnt/files/signal"
	pid=$(daemon_pid)
	kill "-$signal" "$pid"
	gone "$pid"
	check "SIG${signal}_unmounts" nothing_mounted
	same "SIG${signal}_leaves_home_complete" "$signal" "$(cat "$home/signal")"
done

mount_pool
echo fusermount >"$mnt/files/one"
pid=$(daemon_pid)
check fusermount3_unmounts fusermount3 -u "$mnt"
gone "$pid"
same fusermount3_leaves_home_complete fusermount "$(cat "$home/one")"

mount_pool
exec 9>"$mnt/files/open"
check_fails poolfs_u_of_a_busy_mount 'in use' "$POOLFS" -u "$mnt"
echo still >&9
same a_busy_mount_goes_on still "$(cat "$mnt/files/open")"
exec 9>&-
unmount_pool

# Gone before poolfs -u gives up.
mount_pool
sleep 0.2 <"$mnt/README" &
check poolfs_u_of_a_mount_that_is_busy_for_a_moment "$POOLFS" -u "$mnt"
wait

# --- a killed daemon ------------------------------------------------------------------------

mount_pool
echo survives >"$mnt/files/killed"
pid=$(daemon_pid)
kill -9 "$pid"
gone "$pid"
check_fails a_dead_mount_in_the_way 'dead mount.*poolfs -u' "$POOLFS" "$home" "$mnt"
unmount_pool
same poolfs_u_completes_home_after_a_kill survives "$(cat "$home/killed")"
mount_pool
echo again >"$mnt/files/killed"
pid=$(daemon_pid)
kill -9 "$pid"
gone "$pid"
umount -l "$mnt"
mount_pool
same what_a_killed_daemon_wrote_is_there again "$(cat "$mnt/files/killed")"
unmount_pool
same and_gets_to_home again "$(cat "$home/killed")"

# --- in the foreground ----------------------------------------------------------------------

start_listening
NOTIFY_SOCKET=$work/notify "$POOLFS" -f "$home" "$mnt" 2>"$work/log" &
pid=$!
wait_until_ready
same a_service_manager_is_told READY=1 "$word"
check and_the_mount_answers test -s "$mnt/README"
kill -TERM "$pid"
wait "$pid"
same the_foreground_exits_0 0 $?
check the_foreground_unmounts nothing_mounted

# --- fstab ----------------------------------------------------------------------------------

mount_pool -o rw,nosuid,nodev,noauto,user,_netdev,nofail,x-systemd.automount,cache_size=1M,mode=0640
check fstab_words_are_accepted is_mounted "$mnt"
unmount_pool
rm -f "$home/__db_mpool.share"
mount_pool -o cache_size=1M,mode=0640
same mode_is_the_regions 640 "$(stat -c %a "$mnt/regions/mpool")"
same cache_size_is_the_pools 1048576 "$(stat_of cachesize)"
unmount_pool
mount_pool -o ro
check_fails ro_refuses_writing 'read-only' touch "$mnt/files/x"
unmount_pool
odd="$work/ho,me with \\ blank"
mkdir "$odd"
echo odd >"$odd/f"
timeout 60 "$POOLFS" --cache-size=1M "$odd" "$mnt"
same a_home_with_an_odd_name odd "$(cat "$mnt/files/f")"
echo changed >"$mnt/files/f"
unmount_pool
same is_complete_too changed "$(cat "$odd/f")"
finish
