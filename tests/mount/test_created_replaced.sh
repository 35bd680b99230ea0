#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A file that is created through the mount while somebody moves another over it in HOME: the new
# descriptor is the new file's, though it has no name left, and the other file is not touched.  A
# directory that is made while somebody removes it in HOME and makes another is his.

. "$TEST_SRC/mount/lib.sh"

preload=$TEST_BIN/libreplace_created.so
[ -r "$preload" ] || exit 99

echo precious >"$home/other"
LD_PRELOAD=$preload timeout 60 "$POOLFS" --cache-size=1M "$home" "$mnt"
same a_file_replaced_at_its_creation_keeps_its_descriptor "0 4" "$(python3 - "$mnt/files" <<'EOP'
import errno, os, sys
try:
    fd = os.open(sys.argv[1] + "/replaced", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    os.write(fd, b"mine")
    os.fsync(fd)
    print(os.fstat(fd).st_nlink, len(os.pread(fd, 100, 0)))
    os.close(fd)
except OSError as e:
    print(e)
EOP
)"
check the_name_was_taken_meanwhile test ! -e "$home/other"
same the_other_file_is_not_written precious "$(cat "$home/replaced")"
same nor_seen_written precious "$(cat "$mnt/files/replaced")"
check_fails a_directory_that_is_removed_at_once_is_not_there 'No such file' \
	mkdir "$mnt/files/remade"
check that_of_another_stays test -d "$home/remade"
unmount_pool
same nor_written_at_the_end precious "$(cat "$home/replaced")"
finish
