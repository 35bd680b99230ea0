#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The status files: exact sizes, snapshots, formats that programs can rely on; regions/ and the
# removal of regions.

. "$TEST_SRC/mount/lib.sh"

# What the kernel has cached is not read from the pool, and keeps a pool there.
unset MOUNT_CACHE

text_files()
{
	find "$mnt" -path "$mnt/files" -prune -o -type f -print | grep -v '/regions/[^.]*$'
}

sizes_are_exact()
{
	for f in $(text_files); do
		[ "$(stat -c %s "$f")" = "$(wc -c <"$f")" ] || {
			echo "$f: $(stat -c %s "$f") $(wc -c <"$f")"
			return 1
		}
		test -s "$f" || return 1
	done
}

lines_are_52_bytes()
{
	awk 'length != 51 { print FILENAME ": " $0; bad = 1 } END { exit bad }' "$mnt/stat/pool"
}

layout_lines_are_fixed()
{
	awk 'length != 51 && length != 231 { bad = 1 } END { exit bad }' "$mnt/regions/mpool.layout"
}

keys_are_documented()
{
	for key in cachesize cache_hit cache_miss map page_create page_in page_out ro_evict \
	    rw_evict hash_buckets hash_searches hash_longest hash_examined page_clean page_dirty \
	    page_trickle; do
		grep -q "^$key " "$mnt/stat/pool" || { echo "no $key"; return 1; }
	done
	for key in valid refcnt size majver minver patch panic segid flags; do
		grep -q "^$key " "$mnt/regions/mpool.layout" || { echo "no $key"; return 1; }
	done
}

adds_up()
{
	awk '{ v[$1] = $2 }
	END {
		got = v["cache_hit"] + v["cache_miss"] + v["map"] + v["page_new"]
		if (got != v["fget"]) { print got, v["fget"]; bad = 1 }
		now = v["page_in"] + v["page_create"] - v["ro_evict"] - v["rw_evict"]
		if (now != v["page_clean"] + v["page_dirty"]) { print now; bad = 1 }
		exit bad
	}' "$mnt/stat/pool"
}

mount_pool --cache-size=1M
head -c 3000000 /dev/urandom >"$home/data"
cat "$mnt/files/data" >/dev/null
echo new >"$mnt/files/small"

check sizes_are_exact sizes_are_exact
check pool_lines_are_52_bytes lines_are_52_bytes
check layout_lines_have_fixed_width layout_lines_are_fixed
check documented_keys_are_there keys_are_documented
check statistics_add_up adds_up
# 1 MiB at a time: less than what is read ahead of.
read_counts()
{
	hit=$(stat_of cache_hit) miss=$(stat_of cache_miss)
	dd if="$mnt/files/cold" of=/dev/null bs=1M count=1 2>/dev/null
	echo $(($(stat_of cache_hit) - hit)) $(($(stat_of cache_miss) - miss))
}

head -c 400000 /dev/urandom >"$home/cold"
same pages_that_were_fetched_for_a_read_are_misses "0 98" "$(read_counts)"
same pages_that_are_there_are_hits "98 0" "$(read_counts)"
same files_says_so_too "98 98" \
	"$(awk -v f="$home/cold" '$NF == f { print $5, $6 }' "$mnt/stat/files")"
same files_has_a_header '#pagesize length' \
	"$(awk 'NR == 1 { print $1, $2 }' "$mnt/stat/files")"
same files_knows_the_length 3000000 \
	"$(awk -v f="$home/data" '$NF == f { print $2 }' "$mnt/stat/files")"
same magic_in_the_layout 0x120897 "$(awk '$1 == "valid" { print $2 }' "$mnt/regions/mpool.layout")"
same refcnt_is_live 1 "$(awk '$1 == "refcnt" { print $2 }' "$mnt/regions/mpool.layout")"
same clients_names_the_daemon "$(daemon_pid) poolfs" \
	"$(awk 'NR == 2 { print $2, $NF }' "$mnt/regions/mpool.clients")"

# --- snapshots ------------------------------------------------------------------------------

cat >"$work/snap.py" <<'EOP'
import os, sys
mnt = sys.argv[1]
fd = os.open(mnt + "/stat/pool", os.O_RDONLY)
size = os.fstat(fd).st_size
def seq(b):
    return int(b.split(b"\n")[0].split()[1])
first = os.pread(fd, size + 100, 0)
assert len(first) == size, (len(first), size)
again = os.pread(fd, size, 0)
assert seq(again) > seq(first), "a read at 0 is a fresh snapshot"
tail = os.pread(fd, size, 52)
assert tail == again[52:], "a later read goes on in it"
bytewise = b"".join(os.pread(fd, 1, i) for i in range(1, 60))
assert bytewise == again[1:60]
assert os.pread(fd, 10, size) == b""
fd2 = os.open(mnt + "/stat/pool", os.O_RDONLY)
tail = os.pread(fd2, 100, 52)
assert tail.startswith(b"since_usec"), tail
for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
    try:
        os.open(mnt + "/stat/pool", flags)
        assert False, "opened for writing"
    except PermissionError:
        pass
EOP
check reads_at_0_are_fresh_and_later_ones_go_on python3 "$work/snap.py" "$mnt"

# --- programs -------------------------------------------------------------------------------

copy_with()
{
	rm -rf "$work/copy"
	mkdir "$work/copy"
	"$@" && [ -s "$work/copy/stat/pool" ] && [ -s "$work/copy/regions/mpool.layout" ] &&
	    [ "$(stat -c %s "$work/copy/stat/pool")" = "$(stat -c %s "$mnt/stat/pool")" ] &&
	    cmp "$work/copy/regions/mpool" "$mnt/regions/mpool" >"$work/cmp" 2>&1 ||
	    [ -s "$work/copy/regions/mpool" ]
}

# Without poolfs.prom, whose time is now: that is for a scrape, and tar would complain.
tar_both()
{
	tar cf "$work/copy.tar" --exclude=poolfs.prom -C "$mnt" stat regions &&
	    tar xf "$work/copy.tar" -C "$work/copy"
}

check tar_copies_them copy_with tar_both
check cp_copies_them copy_with cp -a "$mnt/stat" "$mnt/regions" "$work/copy"
check rsync_copies_them copy_with rsync -a "$mnt/stat" "$mnt/regions" "$work/copy"
same raw_bytes_are_the_regions "$(awk '$1 == "size" { print $2 }' "$mnt/regions/mpool.layout")" \
	"$(wc -c <"$mnt/regions/mpool")"
same raw_has_the_regions_mode "$(stat -c '%a %U' "$home/__db_mpool.share")" \
	"$(stat -c '%a %U' "$mnt/regions/mpool")"
same totals_are_for_everybody 444 "$(stat -c %a "$mnt/stat/pool")"

# --- what cannot be done --------------------------------------------------------------------

check_fails status_files_cannot_be_removed 'not permitted' rm -f "$mnt/stat/pool"
check_fails nothing_can_be_made_there 'not permitted' mkdir "$mnt/stat/x"
check_fails nor_in_the_root 'not permitted' mkdir "$mnt/x"
check_fails views_cannot_be_removed 'not permitted' rm -f "$mnt/regions/mpool.layout"
check_fails nothing_leaves_by_rename 'not permitted' mv "$mnt/README" "$mnt/stat/README"

# --- the pool's own files are hidden --------------------------------------------------------

same hidden_in_listings "$(cd "$home" && ls -A | grep -v '^__db_')" "$(ls -A "$mnt/files")"
check_fails hidden_from_lookup 'No such file' cat "$mnt/files/__db_mpool.share"
check_fails cannot_be_made 'not permitted' touch "$mnt/files/__db_new.share"
check_fails cannot_be_linked 'not permitted' ln "$mnt/files/data" "$mnt/files/__db_x.share"
check_fails cannot_be_renamed_to 'not permitted' mv "$mnt/files/data" "$mnt/files/__db_x.share"
mkdir "$mnt/files/sub"
check_fails nor_made_in_a_directory 'not permitted' touch "$mnt/files/sub/__db_x.share"

# --- rm regions/NAME ------------------------------------------------------------------------

id_of()
{
	awk '$1 == "region_id" { print $2 }' "$mnt/regions/mpool.layout"
}

exec 7<>"$mnt/files/held"
echo before >&7
echo unwritten >"$mnt/files/dirty"
exec 6<>"$mnt/files/nameless"
echo nameless >&6
rm "$mnt/files/nameless"
old=$(id_of)
check rm_removes_the_pool rm "$mnt/regions/mpool"
check the_region_is_gone test ! -e "$home/__db_mpool.share"
check and_from_the_list test ! -e "$mnt/regions/mpool"
same what_was_dirty_is_written unwritten "$(cat "$home/dirty")"
same unknown_without_a_pool - "$(stat_of page_dirty)"
echo after >&7
same open_files_go_on "before after" "$(tr '\n' ' ' <"$mnt/files/held" | sed 's/ $//')"
same files_without_a_name_too nameless \
	"$(python3 -c 'import os; print(os.pread(6, 100, 0).decode(), end="")')"
new=$(id_of)
check a_fresh_pool_is_made test -n "$new" -a "$new" != "$old"
same with_the_same_options 1048576 "$(stat_of cachesize)"
exec 7>&- 6>&-

# a region that nobody uses, and garbage
printf 'garbage' >"$home/__db_stale.share"
check others_are_listed_by_their_file test -e "$mnt/regions/__db_stale.share"
same their_bytes_are_shown garbage "$(cat "$mnt/regions/__db_stale.share")"
same nothing_is_known_of_garbage - \
	"$(awk '$1 == "valid" { print $2 }' "$mnt/regions/__db_stale.share.layout")"
check stale_regions_go rm "$mnt/regions/__db_stale.share"
check and_are_gone test ! -e "$home/__db_stale.share"

# --- other processes ---------------------------------------------------------------------------

start_client
printf 'open data\npin 3\nput 8192 from the other\n' >&5
read -r answer <&4 && read -r answer <&4 && read -r answer <&4
same another_process_works_on_the_pool ok "$answer"
same its_pin_is_shown 1 "$(awk -v pid="$client" '$2 == pid { print $6 }' \
	"$mnt/regions/mpool.clients")"
check_fails the_region_is_in_use 'busy' rm "$mnt/regions/mpool"
kill -9 "$client"
wait "$client" 2>/dev/null
check the_dead_are_reaped within_a_minute grep -Eq '^reaped +1$' "$mnt/stat/pool"
same nothing_is_pinned_then 0 "$(stat_of pins)"
same what_it_put_is_kept "from the other" \
	"$(dd if="$mnt/files/data" bs=1 skip=8192 count=14 status=none)"
check and_the_region_goes rm "$mnt/regions/mpool"
same with_its_page_written "from the other" \
	"$(dd if="$home/data" bs=1 skip=8192 count=14 status=none)"
exec 5>&- 4<&-

same a_fresh_pool_again 3000000 "$(wc -c <"$mnt/files/data")"
check removed_by_force "$TEST_BIN/pool_client" "$home" unlink
same the_mount_goes_on_with_another 3000000 "$(wc -c <"$mnt/files/data")"
check and_can_be_written_to cp "$mnt/files/data" "$mnt/files/data2"
unmount_pool
check and_is_written cmp "$home/data" "$home/data2"
same nothing_is_lost "before after" "$(tr '\n' ' ' <"$home/held" | sed 's/ $//')"
finish
