#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# regions/ shows what is there, and what is wrong with what nobody can use: found damaged, half
# made, of another version, in memory that cannot be reached, not to be read.

. "$TEST_SRC/mount/lib.sh"

[ -x "${TEST_BIN:?the directory of pool_client}/pool_client" ] || exit 99

# field FILE KEY: its value in regions/FILE.layout.
field()
{
	sed -n "s/^$2  *//p" "$mnt/regions/$1.layout" | sed 's/ *$//'
}

# panic_line NAME: its line of stat/panic, with single blanks.
panic_line()
{
	awk -v name="$1" '$1 == name { $1 = $1; print }' "$mnt/stat/panic"
}

# poke FILE OFFSET HEX: bytes of a file.
poke()
{
	python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.pwrite(fd, bytes.fromhex(sys.argv[3]), int(sys.argv[2]))' "$@"
}

client()
{
	printf '%s\n' "$@" | timeout 60 "$TEST_BIN/pool_client" "$home" 2>/dev/null
}

# --- found damaged --------------------------------------------------------------------------

for kind in file system; do
	mount_pool --memory="$kind" --cache-size=1M
	echo before >"$mnt/files/f"
	same "nothing_is_wrong_with_a_good_region_$kind" "0 - 0" \
		"$(field mpool error) $(field mpool error_why) $(field mpool panic)"
	same "and_nobody_panics_$kind" 1 "$(wc -l <"$mnt/stat/panic")"
	before=$(date +%s)
	client 'panic the table of files is upside down' >/dev/null
	same "panic_is_in_the_layout_$kind" 1 "$(field mpool panic)"
	same "with_the_reason_$kind" 'the table of files is upside down' "$(field mpool panic_why)"
	same "and_who_found_it_$kind" '0 pool_client' \
		"$(field mpool panic_uid) $(field mpool panic_program)"
	when=$(field mpool panic_usec)
	check "and_when_$kind" test "${when%??????}" -ge "$before"
	check_fails "files_give_an_error_$kind" 'Input/output error' cat "$mnt/files/f"
	who="$(field mpool panic_pid) 0 $when pool_client"
	same "stat_panic_says_it_$kind" "mpool -8 $who the table of files is upside down" \
		"$(panic_line mpool)"
	check "as_json_too_$kind" python3 -c '
import json, sys
row, = json.load(open(sys.argv[1]))["regions"]
assert row["region"] == "mpool" and row["error"] == -8, row' "$mnt/stat/panic.json"
	pid=$(daemon_pid)
	check_fails "poolfs_u_says_so_$kind" 'could be written|may be lost' "$POOLFS" -u "$mnt"
	! is_mounted "$mnt" || umount -l "$mnt"
	gone "$pid"
	check_fails "nobody_mounts_it_$kind" 'found damaged.*upside down' \
		"$POOLFS" "$home" "$mnt"
	mount_pool --memory=private
	same "a_private_mount_shows_it_$kind" "mpool -8 $who" \
		"$(panic_line mpool | cut -d ' ' -f 1-6)"
	check_fails "it_is_not_removed_gently_$kind" 'rm' rm "$mnt/regions/mpool"
	check "but_by_force_$kind" sh -c 'echo unlink mpool force >"$0/ctl"' "$mnt"
	check_fails "then_it_is_gone_$kind" 'No such file' stat "$mnt/regions/mpool"
	same "with_its_segment_$kind" 0 "$(awk 'NR > 1' /proc/sysvipc/shm | wc -l)"
	unmount_pool
done

# --- what nobody could open -----------------------------------------------------------------

mkdir "$work/other"
timeout 60 "$POOLFS" --memory=file --cache-size=256K "$work/other" "$mnt"
unmount_pool
whole=$work/other/__db_mpool.share
cp "$whole" "$home/__db_good.share"
: >"$home/__db_empty.share"
head -c 100 "$whole" >"$home/__db_short.share"
head -c 8192 "$whole" >"$home/__db_cut.share"
head -c 8192 /dev/urandom >"$home/__db_noise.share"
cp "$whole" "$home/__db_version.share"
poke "$home/__db_version.share" 48 63000000
cp "$whole" "$home/__db_half.share"
poke "$home/__db_half.share" 8 00000000
ln -s "$whole" "$home/__db_link.share"
rm "$whole"
start=$(pwd)
cd "$work" || exit 99
unshare --ipc sh -c '"$1" --cache-size=256K other mnt && "$1" -u mnt' - "$POOLFS"
cd "$start" || exit 99
cp "$whole" "$home/__db_away.share"

mount_pool --memory=private
same every_region_file_is_listed \
	"$(printf '__db_%s.share ' away cut empty good half noise short version)" \
	"$(ls "$mnt/regions" | grep 'share$' | xargs) "
same a_good_one_is_good "0 file" \
	"$(field __db_good.share error) $(field __db_good.share memory)"
same another_ipc_namespace_is_named "6 its memory is in another IPC namespace" \
	"$(field __db_away.share error) $(field __db_away.share error_why)"
same its_kind_is_known_all_the_same system "$(field __db_away.share memory)"
same another_version_is_told "2 1" \
	"$(field __db_version.share error) $(field __db_version.share error_why | grep -c 99)"
same one_half_made_is_left 'left half made by a process that died' \
	"$(field __db_half.share error_why)"
for name in cut noise; do
	same "${name}_is_damaged" -8 "$(field "__db_$name.share" error)"
done
for name in empty short; do
	same "${name}_has_no_header" "- -" \
		"$(field "__db_$name.share" valid) $(field "__db_$name.share" size)"
done
same stat_panic_lists_what_cannot_be_used "away cut empty half noise short version" \
	"$(awk 'NR > 1 { print $1 }' "$mnt/stat/panic" | sed 's/__db_//; s/.share//' | xargs)"
check all_of_it_can_be_read sh -c 'cat "$0"/regions/*' "$mnt"
check and_archived tar -C "$mnt" -cf "$work/all.tar" regions
same and_the_bytes_are_the_files "$(cksum <"$home/__db_noise.share")" \
	"$(cksum <"$mnt/regions/__db_noise.share")"
for name in cut empty good half noise short version away; do
	check "rm_removes_${name}" rm "$mnt/regions/__db_$name.share"
done
same nothing_is_left "" "$(ls "$mnt/regions")"
check the_link_was_not_followed test -L "$home/__db_link.share"
unmount_pool
rm "$home/__db_link.share"
finish
