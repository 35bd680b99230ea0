#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The programs in tests/examples do what their first lines say.

. "$TEST_SRC/mount/lib.sh"

mount_pool --cache-size=1M
echo 'old text' >"$mnt/files/page"
echo sync >"$mnt/ctl"
check a_program_puts_a_page "$TEST_BIN/share_page" "$home" page 'new text'
same a_shell_reads_it 'new text' "$(head -n 1 "$mnt/files/page")"
same it_is_not_on_the_disk_yet 'old text' "$(cat "$home/page")"
echo 'sync page' >"$mnt/ctl"
same until_it_is_synced 'new text' "$(cat "$home/page")"

check a_page_with_a_checksum "$TEST_BIN/checksums" "$home" sums put 'some text'
same is_read_back 'some text' "$("$TEST_BIN/checksums" "$home" sums get)"
same its_checksum_is_on_the_disk 8 "$(tail -c 8 "$home/sums" | wc -c)"
unmount_pool
remove_pool
same it_is_verified 'some text' "$("$TEST_BIN/checksums" "$home" sums get)"
"$POOLSTAT" --remove "$home"
printf 'S' | dd of="$home/sums" conv=notrunc status=none
check_fails a_changed_page_is_found 'sums: pgin of page 0: Invalid or incomplete' \
	"$TEST_BIN/checksums" "$home" sums get
"$POOLSTAT" --remove "$home"
finish
