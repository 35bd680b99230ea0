#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A pool is removed by force while somebody hangs in a write to one of its files: no other pool is
# made over HOME before that write is done, for a mount neither, and its old bytes are not written
# over what comes later.

. "$TEST_SRC/mount/lib.sh"

prepare_to_hang /victim
mkdir "$work/mnt2"

wait_until_it_hangs()
{
	timeout 60 head -n 1 <&6 >/dev/null || ok hangs 1
}

remove_by_force()
{
	check "${1}_is_removed_by_force" "$TEST_BIN/pool_client" "$home" unlink
}

page_of()
{
	head -c 4096 /dev/zero | tr '\0' "$1"
}

# waits_for NAME PID COMMAND...: it hangs in it, and nobody makes another pool meanwhile.
waits_for()
{
	name=$1
	hanging=$2
	shift 2
	"$@" &
	asked=$!
	wait_until_it_hangs
	remove_by_force "the_pool_of_a_$name"
	check_fails "no_pool_before_the_end_of_a_$name" "process $hanging .*end of a write" \
		"$POOLFS" --cache-size=1M "$home" "$work/mnt2"
	echo go >&7
	wait "$asked"
	check "a_pool_after_the_end_of_a_$name" \
		timeout 60 "$POOLFS" --cache-size=1M "$home" "$work/mnt2"
	page_of n >"$work/mnt2/files/victim"
	check "and_is_unmounted_after_a_$name" timeout 60 "$POOLFS" -u "$work/mnt2"
	same "what_was_written_after_a_${name}_is_there" "$(page_of n)" "$(cat "$home/victim")"
}

# --- the daemon's own writes ----------------------------------------------------------------

page_of a >"$home/victim"
LD_PRELOAD=$preload NO_RESERVE=yes mount_pool --cache-size=1M 2>/dev/null
waits_for write "$(daemon_pid)" dd if=/dev/zero of="$mnt/files/victim" bs=4096 count=1 \
	conv=notrunc status=none 2>/dev/null
timeout 60 "$POOLFS" -u "$mnt" 2>/dev/null || umount -l "$mnt"

HANG_IN_HOLES=yes LD_PRELOAD=$preload mount_pool --cache-size=1M
waits_for hole "$(daemon_pid)" fallocate -p -o 0 -l 4096 "$mnt/files/victim" 2>/dev/null
timeout 60 "$POOLFS" -u "$mnt" 2>/dev/null || umount -l "$mnt"

# --- a client's, and what is asked of a mount meanwhile -------------------------------------

page_of a >"$home/victim"
echo kept >"$home/file"
mount_pool --cache-size=1M
LD_PRELOAD=$preload start_client
ask open victim
ask put 0 old
echo sync >&5
wait_until_it_hangs
remove_by_force the_pool_of_a_client
check_fails a_mount_has_no_pool_before_the_end_of_it 'busy' cat "$mnt/files/file"
check and_still_says_who_serves_it test -n "$(daemon_pid)"
echo go >&7
read -r answer <&4
same its_write_is_done "ok old" "$answer $(head -c 3 "$home/victim")"
same then_the_mount_answers kept "$(cat "$mnt/files/file")"
page_of n >"$mnt/files/victim"
exec 5>&- 4<&-
wait "$client"
unmount_pool
same and_nothing_is_written_over_it "$(page_of n)" "$(cat "$home/victim")"
finish
