#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A disk that fails: the error of a write-back is told by the next fsync(2) or close(2) of that
# file, once to each open descriptor, and to nobody else; what could not be written is kept.

. "$TEST_SRC/mount/lib.sh"

preload=$TEST_BIN/libfail_writes.so
[ -r "$preload" ] || exit 99
export FAIL_WRITES="$work/fail"

LD_PRELOAD=$preload mount_pool --cache-size=1M --dirty-expire=1
lines_of write_errors.py "$mnt" "$home" "$FAIL_WRITES"

# --- at the end -----------------------------------------------------------------------------

echo kept >"$mnt/files/last"
printf last >"$FAIL_WRITES"
echo kept again >"$mnt/files/last"
check_fails unmounting_says_what_was_not_written '/last|written' "$POOLFS" -u "$mnt"
kill -TERM "$(daemon_pid)"
check a_signal_ends_it_anyway within_a_minute fails is_mounted "$mnt"
rm "$FAIL_WRITES"
mount_pool
same what_was_not_written_is_in_the_pool "kept again" "$(cat "$mnt/files/last")"
unmount_pool
same and_gets_to_home "kept again" "$(cat "$home/last")"
finish
