#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A region's file, or a file of HOME, is truncated or replaced under the daemon: that is an error,
# or the file as it is now, and never a dead mount, nor a byte in what came in its place.

. "$TEST_SRC/mount/lib.sh"

# The daemon lives, and the mount answers, be it with an error.
answers()
{
	kill -0 "$daemon" && cat "$mnt/README" "$mnt/stat/daemon" >/dev/null &&
	{ timeout 60 cat "$mnt/files/f" >/dev/null 2>&1; [ $? -lt 124 ]; } &&
	{ timeout 60 dd if=/dev/zero of="$mnt/files/f" bs=4096 count=3 conv=notrunc,fsync \
		2>/dev/null; [ $? -lt 124 ]; } &&
	kill -0 "$daemon"
}

# begin MEMORY: a mount with something in its pool.
begin()
{
	rm -f "$home"/*
	head -c 40000 /dev/zero | tr '\0' a >"$home/f"
	mount_pool --memory="$1" --cache-size=1M
	daemon=$(daemon_pid)
	cat "$mnt/files/f" >/dev/null
}

# The mount goes, whatever is left of its regions.
end()
{
	timeout 100 "$POOLFS" -u "$mnt" 2>/dev/null || umount "$mnt"
	check "$1_the_mount_is_gone" sh -c "! mountpoint -q '$mnt'"
	"$POOLSTAT" --remove --force "$home" >/dev/null 2>&1
	rm -f "$home"/__db_*
}

for memory in file system; do
	region=$home/__db_mpool.share

	begin $memory
	truncate -s 0 "$region"
	check "${memory}_region_truncated_the_mount_answers" answers
	end "${memory}_region_truncated"

	begin $memory
	truncate -s 4096 "$region"
	check "${memory}_region_cut_short_the_mount_answers" answers
	end "${memory}_region_cut_short"

	begin $memory
	head -c 100000 /dev/urandom >"$work/other"
	cp "$work/other" "$work/kept"
	mv "$work/other" "$region"
	check "${memory}_region_replaced_the_mount_answers" answers
	check "${memory}_region_replaced_what_came_is_not_written" cmp "$work/kept" "$region"
	end "${memory}_region_replaced"

	begin $memory
	rm "$region"
	check "${memory}_region_removed_the_mount_answers" answers
	end "${memory}_region_removed"
done

begin system
printf changed | dd of="$mnt/files/f" conv=notrunc 2>/dev/null
truncate -s 5000 "$home/f"
check file_truncated_the_mount_answers answers
echo new >"$work/new"
mv "$work/new" "$home/f"
same file_replaced_it_is_the_new_one new "$(cat "$mnt/files/f")"
check file_replaced_the_mount_answers answers
unmount_pool
finish
