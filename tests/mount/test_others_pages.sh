#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Files that library clients have in the pool in their own way: another page size than the mount's,
# a page type that nobody here has registered, no place in HOME, no name at all.

. "$TEST_SRC/mount/lib.sh"

trap '' PIPE
mkfifo "$work/to" "$work/from"

# client FILE PAGE_BYTES TYPE: from now on, say talks to it.
client()
{
	"$TEST_BIN/page_client" "$home" "$1" "$2" "$3" <"$work/to" >"$work/from" &
	client=$!
	exec 5>"$work/to" 6<"$work/from"
}

say()
{
	echo "$1" >&5
	read -r answer <&6 || answer="it is gone"
	echo "$answer"
}

client_ends()
{
	exec 5>&- 6<&-
	wait "$client"
}

# opens: the mount gives its handle up within some seconds, more on a busy machine.
opens()
{
	tries=20
	until [ "$(say 'open 1')" = ok ]; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
	done
}

row_of()
{
	grep "$1\$" "$mnt/stat/files"
}

# Of a file that the kernel caches the mount does not give its handle up.
mount_pool --cache-size=1M -o cache=none

# --- another page size ----------------------------------------------------------------------

exec 7<>"$mnt/files/sizes"
printf 'written before anybody else came' >&7
client sizes 8192 0
check a_client_opens_with_its_page_size_what_the_mount_has_open opens
check it_sees_what_the_mount_wrote sh -c 'case $1 in 7772697474656e20*) ;; *) exit 1 ;; esac' - \
	"$(say 'page 0')"
same and_changes_it ok "$(say 'fill 0 c')"
same programs_read_that cccccccc "$(head -c 8 "$mnt/files/sizes")"
printf ', and after' >&7
same and_writes_on 2c20616e64206166746572 "$(say 'page 0' | cut -c 65-86)"
client_ends
exec 7>&-
same the_length_is_the_writers 43 "$(stat -c %s "$mnt/files/sizes")"

# --- a page type ----------------------------------------------------------------------------

head -c 8192 /dev/zero | tr '\0' a >"$home/typed"
client typed 4096 5
check a_client_opens_a_file_of_a_type opens
same it_gets_converted_pages 9e9e9e9e "$(say 'page 0' | cut -c 1-8)"
same and_puts_one ok "$(say 'fill 1 b')"

# eio COMMAND...
eio()
{
	! "$@" >"$work/out" 2>"$work/why" && grep -q 'Input/output error' "$work/why"
}

check programs_cannot_read_it eio cat "$mnt/files/typed"
check nor_write_it eio dd if=/dev/zero of="$mnt/files/typed" bs=4096 count=1 conv=notrunc \
	status=none
check nor_cut_a_part_off eio truncate -s 100 "$mnt/files/typed"
check nor_punch_holes_in_it eio fallocate -p -l 4096 "$mnt/files/typed"
same its_length_is_known 8192 "$(stat -c %s "$mnt/files/typed")"
check its_mode_and_time_can_be_changed sh -c 'chmod 600 "$0" && touch -d @5 "$0"' "$mnt/files/typed"
check it_can_be_renamed mv "$mnt/files/typed" "$mnt/files/renamed"
same its_pages_are_untouched 62626262 "$(say 'page 1' | cut -c 1-8)"
same and_get_to_the_file ok "$(say fsync)"
same converted "$(head -c 4096 /dev/zero | tr '\0' '\235' | sha256sum)" \
	"$(tail -c 4096 "$home/renamed" | sha256sum)"
check it_can_be_removed rm "$mnt/files/renamed"
client_ends
echo new >"$mnt/files/typed"
same a_new_file_of_that_name_is_an_ordinary_one new "$(cat "$mnt/files/typed")"

# --- outside of HOME, and without a name ----------------------------------------------------

head -c 4096 /dev/zero >"$work/outside"
client "$work/outside" 4096 0
check a_client_opens_a_file_outside_of_home opens
same and_changes_its_page ok "$(say 'fill 0 o')"
check the_status_knows_it row_of "$work/outside"
same the_tree_does_not "sizes typed" "$(ls "$mnt/files" | tr '\n' ' ' | sed 's/ $//')"
client_ends
before=$(stat_of page_dirty)
client - 4096 0
same a_client_opens_a_temporary_file ok "$(say 'open 0')"
page=0
while [ "$page" -lt 300 ]; do
	say "create $page t" >"$work/answer"
	page=$((page + 1))
done
same its_last_page_was_made ok "$(cat "$work/answer")"
check the_pool_is_full_of_it test "$(stat_of page_dirty)" -gt $((before + 100))
check the_status_calls_it_temporary row_of '(temporary)'
same no_tree_has_it "sizes typed" "$(ls -A "$mnt/files" | tr '\n' ' ' | sed 's/ $//')"
same nor_home "sizes typed" "$(ls -A "$home" | grep -v '^__db_' | tr '\n' ' ' | sed 's/ $//')"
same nor_pages "" "$(find "$mnt/pages" -name '*temp*')"
same what_was_evicted_of_it_comes_back 74747474 "$(say 'page 0' | cut -c 1-8)"
check programs_go_on_beside_it sh -c 'echo more >"$0/typed" && [ "$(cat "$0/typed")" = more ]' \
	"$mnt/files"
client_ends

no_row_of()
{
	! row_of "$1"
}
check it_goes_with_its_client no_row_of '(temporary)'
unmount_pool
finish
