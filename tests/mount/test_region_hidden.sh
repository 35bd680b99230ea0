#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A region's file is mapped by everybody who uses the pool: it is not to be reached through the
# mount, by whatever name and in whatever directory, or truncating it kills them.

. "$TEST_SRC/mount/lib.sh"

region=__db_mpool.share
echo kept >"$home/file"
mkdir "$home/sub" "$work/mnt2"
mount_pool --cache-size=1M
pid=$(daemon_pid)
size=$(stat -c %s "$home/$region")
echo written >"$mnt/files/file"

# --- other names ----------------------------------------------------------------------------

ln "$home/$region" "$home/innocent"
ln "$home/$region" "$home/sub/deeper"
check_fails another_name_of_the_region_is_not_written 'not permitted' \
	dd if=/dev/zero of="$mnt/files/innocent" bs=4 count=1 status=none
check_fails nor_truncated 'not permitted' truncate -s 0 "$mnt/files/sub/deeper"
check_fails nor_read 'not permitted' head -c 1 "$mnt/files/innocent"
check_fails nor_removed 'not permitted' unlink "$mnt/files/innocent"
check_fails nor_linked 'not permitted' ln "$mnt/files/innocent" "$mnt/files/third"
check_fails nor_moved 'not permitted' mv "$mnt/files/innocent" "$mnt/files/third"
check_fails nor_replaced 'not permitted' python3 -c '
import os, sys
try:
    os.rename(sys.argv[1], sys.argv[2])
except OSError as e:
    sys.exit(str(e))' "$mnt/files/file" "$mnt/files/innocent"
same another_name_is_not_listed "file sub" "$(ls "$mnt/files" | xargs)"
same nor_in_a_directory "" "$(ls -A "$mnt/files/sub")"
same the_region_is_as_long_as_before "$size" "$(stat -c %s "$home/$region")"
rm "$home/innocent" "$home/sub/deeper"

# --- a home below ---------------------------------------------------------------------------

check a_home_below_is_mounted timeout 60 "$POOLFS" --cache-size=1M "$home/sub" "$work/mnt2"
echo below >"$work/mnt2/files/file"
same its_region_is_not_listed file "$(ls "$mnt/files/sub" | xargs)"
check_fails its_region_is_not_made_anew 'not permitted' \
	truncate -s 0 "$mnt/files/sub/$region"
check_fails its_region_is_not_moved 'no such file' \
	mv "$mnt/files/sub/$region" "$mnt/files/sub/x"
check_fails no_file_gets_such_a_name 'not permitted' \
	mv "$mnt/files/file" "$mnt/files/sub/__db_x.share"
same the_mount_below_lives below "$(cat "$work/mnt2/files/file")"
check and_ends_well timeout 60 "$POOLFS" -u "$work/mnt2"
same with_its_data_in_home below "$(cat "$home/sub/file")"

same the_daemon_is_still_the_same "$pid" "$(daemon_pid)"
unmount_pool
same nothing_is_lost written "$(cat "$home/file")"
finish
