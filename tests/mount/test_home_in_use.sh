#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# HOME is used directly while it is mounted: its programs can be run, and what is changed in it is
# seen through the mount at once where nobody has the file open.

. "$TEST_SRC/mount/lib.sh"

mount_pool --cache-size=1M

# --- programs -------------------------------------------------------------------------------

# The kernel sends the last close a moment after close(2) has returned: a file removed through
# the mount comes after it, on the same queue, and an unmount waits for all.  So these wait for
# the daemon to have no descriptor of the file that may write.
written_out()
{
	timeout 60 python3 - "$(daemon_pid)" "$1" <<-'EOP'
		import os, sys
		base = "/proc/%s/" % sys.argv[1]
		def writes(n):
		    try:
		        if os.readlink(base + "fd/" + n) != sys.argv[2]:
		            return False
		        info = open(base + "fdinfo/" + n).read()
		    except OSError:
		        return False
		    flags = int(info.split("flags:")[1].split()[0], 8)
		    return not flags & os.O_PATH and flags & os.O_ACCMODE != os.O_RDONLY
		while any(writes(n) for n in os.listdir(base + "fd")):
		    os.sched_yield()
	EOP
}

cp /bin/true "$home/read"
cat "$mnt/files/read" >"$work/out"
check a_program_read_through_the_mount_runs_in_home "$home/read"
cp /bin/true "$mnt/files/copied"
check what_no_writer_has_open_is_not_open_for_writing written_out "$home/copied"
check a_program_copied_through_the_mount_runs_in_home "$home/copied"
exec 8<"$mnt/files/copied"
printf x >>"$mnt/files/copied"
check nor_while_a_reader_has_it_open written_out "$home/copied"
check and_runs_then_too "$home/copied"
same the_reader_goes_on "$(stat -c %s /bin/true)" "$(head -c -1 <&8 | wc -c)"
exec 8<&-
exec 8<>"$mnt/files/copied"
check_fails a_program_being_written_does_not_run 'busy' sh -c '"$0" || exit 1' "$home/copied"
exec 8>&-
truncate -s 100 "$mnt/files/read"
check nor_after_truncate written_out "$home/read"

truncate -s 1M "$home/sparse"
printf data | dd of="$home/sparse" bs=1 seek=524288 conv=notrunc status=none
same a_reader_sees_where_the_holes_are "524288 0" "$(python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print(os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_HOLE))' "$mnt/files/sparse")"

# --- size and time --------------------------------------------------------------------------

echo one >"$home/s"
same read_through_the_mount one "$(cat "$mnt/files/s")"
echo two >>"$home/s"
touch -d 2001-02-03T04:05:06Z "$home/s"
same a_file_changed_in_home_has_its_new_size 8 "$(stat -c %s "$mnt/files/s")"
same and_its_new_time 981173106 "$(stat -c %Y "$mnt/files/s")"
same and_its_new_bytes "one two" "$(xargs <"$mnt/files/s")"

echo written >"$mnt/files/w"
check its_writer_is_gone written_out "$home/w"
same the_time_of_a_write_is_homes_when_nobody_has_it_open \
	"$(stat -c %.Y "$home/w")" "$(stat -c %.Y "$mnt/files/w")"
echo more >>"$home/w"
same a_written_file_changed_in_home_has_its_new_size 13 "$(stat -c %s "$mnt/files/w")"

# --- page size ------------------------------------------------------------------------------

head -c 65536 /dev/urandom >"$mnt/files/p"
cat "$mnt/files/p" >/dev/null
printf "%s\n" "pages 8192" "open p" "put 24576 other page size" |
	"$TEST_BIN/pool_client" "$home" >"$work/client"
same a_file_that_was_only_read_here_opens_with_another_page_size \
	"ok ok ok" "$(xargs <"$work/client")"
same and_the_mount_goes_on_with_it "other page size" \
	"$(dd if="$mnt/files/p" bs=1 skip=24576 count=15 status=none)"

unmount_pool
finish
