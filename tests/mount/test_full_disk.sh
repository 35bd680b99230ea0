#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A HOME on a small disk of its own that fills up: what does not fit is refused by write(2), what
# was accepted is there, and the room of a removed file can be used at once.

. "$TEST_SRC/mount/lib.sh"

home=$work/mnt-disk # lib.sh unmounts what begins so
mkdir "$home"
truncate -s 64M "$work/disk"
if ! mkfs.ext4 -q "$work/disk" || ! mount -o loop "$work/disk" "$home" 2>/dev/null; then
	skip a_full_disk "no loop device, or no mkfs.ext4"
	finish
fi

check_fails a_pool_that_does_not_fit_is_refused 'no space left' \
	"$POOLFS" --memory=file --cache-size=200M "$home" "$mnt"
check and_leaves_nothing sh -c "! ls '$home' | grep __db_"

mount_pool --cache-size=8M
dd if=/dev/urandom of="$mnt/files/a" bs=1M count=100 2>"$work/dd"
check a_write_says_that_the_disk_is_full grep -q 'No space left' "$work/dd"
bytes=$(stat -c %s "$mnt/files/a")
check something_was_accepted test "$bytes" -gt 10000000
sum=$(sha256sum <"$mnt/files/a")
check what_was_accepted_can_be_synced sync "$mnt/files/a"
same it_is_there_afterwards "$sum" "$(sha256sum <"$mnt/files/a")"
same and_in_home "$sum" "$(sha256sum <"$home/a")"

# The kernel says some microseconds after close(2) that a file is closed; five rounds meet that.
for round in 1 2 3 4 5; do
	rm "$mnt/files/a"
	check "room_of_a_removed_file_is_free_at_once_$round" cp /bin/bash "$mnt/files/bash"
	check "and_holds_what_was_written_$round" cmp /bin/bash "$mnt/files/bash"
	rm "$mnt/files/bash"
	dd if=/dev/zero of="$mnt/files/a" bs=1M count=100 2>/dev/null
done
rm "$mnt/files/a"
unmount_pool
umount "$home"
finish
