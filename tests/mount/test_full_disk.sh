#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A HOME on a small disk of its own that fills up, of both kinds: ext4 on a loop device, which can
# reserve room, and tmpfs.  What does not fit is refused by write(2), what was accepted is there,
# and when room is made work goes on.  A limit on the size of files is the writer's alone.

. "$TEST_SRC/mount/lib.sh"

# full_disk KIND: HOME is such a disk, mounted.
full_disk()
{
	kind=$1
	mount_pool --cache-size=8M
	dd if=/dev/urandom of="$mnt/files/a" bs=1M count=100 2>"$work/dd"
	check "${kind}_write_says_that_the_disk_is_full" grep -q 'No space left' "$work/dd"
	bytes=$(stat -c %s "$mnt/files/a")
	check "${kind}_something_was_accepted" test "$bytes" -gt 10000000
	sum=$(sha256sum <"$mnt/files/a")
	check "${kind}_what_was_accepted_can_be_synced" sync "$mnt/files/a"
	same "${kind}_it_is_there_afterwards" "$sum" "$(sha256sum <"$mnt/files/a")"
	same "${kind}_and_in_home" "$sum" "$(sha256sum <"$home/a")"
	check "${kind}_nothing_is_dirty_for_want_of_room" test "$(stat_of page_dirty)" = 0

	# Old pages can be changed though there is no room for new ones.
	printf changed | dd of="$mnt/files/a" bs=1 seek=5000 conv=notrunc 2>/dev/null
	check "${kind}_a_full_disk_takes_changes" sync "$mnt/files/a"
	same "${kind}_and_keeps_them" changed "$(tail -c +5001 "$home/a" | head -c 7)"

	# The kernel says some microseconds after close(2) that it was; five rounds meet that.
	for round in 1 2 3 4 5; do
		rm "$mnt/files/a"
		check "${kind}_room_of_a_removed_file_is_free_at_once_$round" \
			cp /bin/bash "$mnt/files/bash"
		check "${kind}_and_holds_what_was_written_$round" cmp /bin/bash "$mnt/files/bash"
		rm "$mnt/files/bash"
		dd if=/dev/zero of="$mnt/files/a" bs=1M count=100 2>/dev/null
	done
	truncate -s 1M "$mnt/files/a"
	check "${kind}_room_of_a_truncated_file_is_free_at_once" cp /bin/bash "$mnt/files/bash"
	check "${kind}_and_holds_what_was_written" cmp /bin/bash "$mnt/files/bash"
	rm "$mnt/files/a" "$mnt/files/bash"
	check "${kind}_holes_are_refused_and_blocks_are_not" python3 \
		"$TEST_SRC/mount/holes.py" "$mnt/files" "$home" "$TEST_BIN/page_client"
	unmount_pool
}

# Two fifths of the disk are root's alone: who writes is who asks for room, not the daemon.
reserve_is_roots()
{
	chmod 755 "$work"
	mount_pool --cache-size=4M -o allow_other
	mkdir -m 777 "$mnt/files/d"
	setpriv --reuid=1000 --regid=1001 --clear-groups \
		dd if=/dev/zero of="$mnt/files/d/user" bs=1M count=100 2>"$work/dd"
	check a_user_does_not_get_what_is_reserved_for_root grep -q 'No space left' "$work/dd"
	check but_gets_the_rest test "$(stat -c %s "$mnt/files/d/user")" -gt 20000000
	check root_goes_on_in_the_reserve \
		dd if=/dev/zero of="$mnt/files/d/root" bs=1M count=10 status=none conv=fsync
	unmount_pool
}

bare=$home
home=$work/mnt-disk # lib.sh unmounts what begins so
mkdir "$home"
truncate -s 64M "$work/disk"
if mkfs.ext4 -q "$work/disk" && mount -o loop "$work/disk" "$home" 2>/dev/null; then
	check_fails a_pool_that_does_not_fit_is_refused 'no space left' \
		"$POOLFS" --memory=file --cache-size=200M "$home" "$mnt"
	check and_leaves_nothing sh -c "! ls '$home' | grep __db_"
	full_disk ext4
	umount "$home"
else
	skip ext4_write_says_that_the_disk_is_full "no loop device, or no mkfs.ext4"
fi

rm -f "$work/disk"
truncate -s 64M "$work/disk"
if mkfs.ext4 -q -m 40 "$work/disk" && mount -o loop "$work/disk" "$home" 2>/dev/null; then
	chmod 755 "$home"
	reserve_is_roots
	umount "$home"
else
	skip a_user_does_not_get_what_is_reserved_for_root "no loop device, or no mkfs.ext4"
fi

if mount -t tmpfs -o size=48M none "$home" 2>/dev/null; then
	full_disk tmpfs
	umount "$home"
else
	skip tmpfs_write_says_that_the_disk_is_full "no tmpfs"
fi

# --- a limit on the size of files -------------------------------------------------------------

home=$bare
# The daemon has the limit, the writer has none: it is lifted, or write(2) says so.
hard=$(sh -c 'ulimit -f 64; ulimit -f unlimited && echo 81920' 2>/dev/null || echo 32768)
sh -c 'ulimit -f 64; exec "$@"' sh "$POOLFS" --cache-size=4M "$home" "$mnt"
dd if=/dev/zero of="$mnt/files/long" bs=4096 count=20 2>"$work/dd"
same a_daemon_with_a_limit_accepts_what_it_can_write "$hard" "$(stat -c %s "$mnt/files/long")"
if [ "$hard" = 32768 ]; then
	check and_says_that_more_is_too_large grep -q 'too large' "$work/dd"
fi
check and_can_be_synced sync "$mnt/files/long"
same and_is_in_home "$hard" "$(stat -c %s "$home/long")"
unmount_pool

# The writer has the limit: the kernel says so before the daemon is asked.
mount_pool --cache-size=4M
sh -c 'ulimit -f 64; trap "" XFSZ; exec dd if=/dev/zero of="$1" bs=4096 count=20' sh \
	"$mnt/files/short" 2>"$work/dd"
check a_writer_with_a_limit_is_told grep -q 'too large' "$work/dd"
same and_has_written_so_much 32768 "$(stat -c %s "$mnt/files/short")"
check another_writes_on dd if=/dev/zero of="$mnt/files/short" bs=4096 count=20 conv=notrunc
unmount_pool
same and_it_is_in_home 81920 "$(stat -c %s "$home/short")"
finish
