#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# pages/: which pages of which files are in the pool; regions/NAME.heap and the pins in
# regions/NAME.clients.

. "$TEST_SRC/mount/lib.sh"

# rows FILE: the table without its header
rows()
{
	tail -n +2 "$mnt/pages/$1"
}

column()
{
	awk -v name="$1" 'NR == 1 { sub(/^#/, ""); for (i = 1; i <= NF; i++) at[$i] = i; next }
		{ printf "%s%s", sep, $at[name]; sep = " " }' "$mnt/pages/$2"
}

mount_pool --cache-size=4M --dirty-expire=86400
mkdir "$home/sub" "$home/sub/deep"
head -c 40960 /dev/urandom >"$home/data"
head -c 12288 /dev/urandom >"$home/sub/deep/b c"
head -c 8192 /dev/urandom >"$work/elsewhere"

same nothing_yet "" "$(ls -A "$mnt/pages")"
dd if="$mnt/files/data" bs=4096 skip=3 count=2 status=none >/dev/null
cat "$mnt/files/sub/deep/b c" >/dev/null
same mirrors_the_tree "data sub" "$(ls -A "$mnt/pages" | tr '\n' ' ' | sed 's/ $//')"
same in_depth "deep/b c" "$(cd "$mnt/pages/sub" && find . -type f | sed 's/^..//')"
same a_row_for_each_page "0 1 2" "$(column pgno 'sub/deep/b c')"
check those_that_were_read sh -c 'tail -n +2 "$1" | grep -q "^ *3 " && tail -n +2 "$1" |
	grep -q "^ *4 "' sh "$mnt/pages/data"
same a_table_has_its_size "$(stat -c %s "$mnt/pages/data")" "$(wc -c <"$mnt/pages/data")"
check_fails unknown_files_are_not_there 'No such file' cat "$mnt/pages/nosuch"
check_fails nor_below_a_table 'Not a directory' cat "$mnt/pages/data/x"
check_fails tables_cannot_be_written 'denied' sh -c ': >"$1"' sh "$mnt/pages/data"
same they_are_the_owners_alone "600 500" \
	"$(stat -c %a "$mnt/pages/data") $(stat -c %a "$mnt/pages/sub")"
echo 'evict data' >"$mnt/ctl"
check evicted_files_are_gone test ! -e "$mnt/pages/data"

# --- another process ------------------------------------------------------------------------

start_client
ask open "$work/elsewhere"
ask put 4096 changed
ask pin 0
out=.outside$work/elsewhere
same files_outside_are_shown_too "0 1" "$(column pgno "$out")"
same what_is_dirty "0 1" "$(column dirty "$out")"
same what_is_pinned "1 0" "$(column pins "$out")"
number=$(awk -v pid="$client" '$2 == pid { print $1 }' "$mnt/regions/mpool.clients")
same and_by_whom "$number -1" "$(column client "$out")"
same clients_have_their_pins 1 "$(awk -v pid="$client" '$2 == pid { print $6 }' \
	"$mnt/regions/mpool.clients")"

pin_age()
{
	awk -v pid="$client" '$2 == pid { print $7 }' "$mnt/regions/mpool.clients"
}

first=$(pin_age)
check pins_grow_old timeout 60 sh -c 'until [ "$(awk -v pid="$2" "\$2 == pid { print \$7 }" \
	"$1/regions/mpool.clients")" -gt "$3" ]; do :; done' sh "$mnt" "$client" "$first"
ask unpin
same until_they_are_put "0 0" "$(awk -v pid="$client" '$2 == pid { print $6, $7 }' \
	"$mnt/regions/mpool.clients")"
exec 5>&- 4<&-
wait "$client"

# --- the allocator --------------------------------------------------------------------------

heap()
{
	awk -v key="$1" '$1 == key { print $2 }' "$mnt/regions/mpool.heap"
}

check the_heap_is_within_its_area test \
	"$(($(heap used_bytes) + $(heap free_bytes)))" -le "$(heap area_bytes)"
check something_is_in_it test "$(heap used_chunks)" -gt 0 -a "$(heap used_bytes)" -gt 0
check and_some_room test "$(heap largest_free_bytes)" -le "$(heap free_bytes)"
printf 'garbage' >"$home/__db_other.share"
same nothing_is_known_of_garbage - \
	"$(awk '$1 == "area_bytes" { print $2 }' "$mnt/regions/__db_other.share.heap")"
rm "$mnt/regions/__db_other.share" "$mnt/regions/mpool"
same nothing_without_a_pool "" "$(ls -A "$mnt/pages")"
unmount_pool
finish
