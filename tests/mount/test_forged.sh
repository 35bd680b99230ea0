#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The file table of a pool is shared memory: whoever is attached can make a row with dirty pages
# say that it is another file's.  The daemon, which runs as root, writes such pages nowhere but
# beneath HOME, whatever path and identity the row has.

. "$TEST_SRC/mount/lib.sh"

mkdir "$work/out" "$home/below"
victim=$work/out/victim
echo 'nobody writes here' >"$victim"
ln -s "$work/out" "$home/way"
ln -s "$victim" "$home/link"
mount_pool --cache-size=1M --dirty-expire=1
daemon=$(daemon_pid)

# forge FILE PATH: FILE of HOME becomes the victim, under that name; then all is to be written.
forge()
{
	"$TEST_BIN/forger" "$home" "$1" "$victim" "$2" 2>"$work/why"
	status=$?
	[ "$status" -eq 137 ] || sed 's/^/# /' "$work/why"
	same "forges_$1" 137 "$status"
	echo sync >"$mnt/ctl" 2>/dev/null
	cat "$mnt/files/$1" >/dev/null 2>&1
	true
}

untouched()
{
	[ "$(cat "$victim")" = 'nobody writes here' ] &&
	    [ "$(find "$work/out" | wc -l)" -eq 2 ] && [ "$(stat -c %Y%Z%s "$victim")" = "$before" ]
}
before=$(stat -c %Y%Z%s "$victim")

forge a "$victim"
check a_row_of_a_file_outside_is_not_written untouched
forge b "$home/../out/victim"
check nor_through_dots untouched
forge c "$home/below/../../out/victim"
check nor_through_dots_further_down untouched
forge d "$home/way/victim"
check nor_through_a_directory_that_is_a_link untouched
forge e "$home/link"
check nor_through_a_link untouched
forge f "/proc/$daemon/root$victim"
check nor_through_proc untouched
forge g "$home/../../../../../../../proc/self/root$victim"
check nor_through_proc_and_dots untouched
forge h "out/victim"
check nor_by_a_relative_path untouched
forge i "${home}x/../out/victim"
check nor_beside_home untouched
mv "$home/below" "$home/gone"
ln -s "$work/out" "$home/below"
forge j "$home/below/victim"
check nor_through_a_directory_that_has_become_a_link untouched

check the_daemon_lives test -s "$mnt/stat/pool"
echo 'as ever' >"$mnt/files/ours"
same and_its_own_files_work 'as ever' "$(cat "$mnt/files/ours")"
forge - "$victim"
check all_rows_forged_at_once untouched
check the_daemon_lives_then_too test -s "$mnt/stat/pool"
echo reap >"$mnt/ctl"
timeout 100 "$POOLFS" -u "$mnt" >/dev/null 2>&1 || umount -l "$mnt"
check nor_is_it_written_at_the_end untouched
finish
