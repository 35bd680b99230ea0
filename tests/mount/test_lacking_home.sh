#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A HOME on a filesystem that lacks what local ones have: what is missing is named at the mount, and
# programs get the same results as in a bare directory all the same.

. "$TEST_SRC/mount/lib.sh"

preload=$TEST_BIN/liblacking_home.so
[ -r "$preload" ] || exit 99
export NO_FALLOCATE=yes

# same_as_bare NAME SEED...: in $mnt/files, against a bare directory.
same_as_bare()
{
	name=$1
	shift
	for seed in "$@"; do
		mkdir "$mnt/files/$seed" "$work/bare.$seed"
		check "${name}_seed_$seed" python3 "$TEST_SRC/mount/differential.py" \
			"$mnt/files/$seed" "$work/bare.$seed" "$seed" "${OPERATIONS:-1500}"
		rm -rf "$mnt/files/$seed"
	done
}

# --- a network filesystem -------------------------------------------------------------------

export LD_PRELOAD="$preload"
mount_pool --cache-size=256K 2>"$work/words"
unset LD_PRELOAD
check missing_birth_times_are_named grep -q 'no birth times' "$work/words"
check missing_file_handles_are_named grep -q 'no file handles' "$work/words"
check missing_reservations_are_named grep -q 'cannot reserve space' "$work/words"
check missing_holes_are_named grep -q 'cannot punch holes' "$work/words"
same home_is_left_as_it_was __db_mpool.share "$(ls -A "$home" | grep -v '^__db_poolfs')"
same_as_bare without_all_that 1 2
exec 9>"$mnt/files/through"
printf 'at once' >&9
same writes_go_through "at once" "$(cat "$home/through")"
exec 9>&-
check a_hole_is_refused sh -c '! fallocate -p -l 3 "$0" 2>/dev/null' "$mnt/files/through"
same and_nothing_is_zeroed_by_that "at once" "$(cat "$mnt/files/through")"
unmount_pool

# --- without file handles, and with few descriptors -----------------------------------------

mkdir "$home/many"
(cd "$home/many" && touch $(seq 300))
if LD_PRELOAD=$preload prlimit --nofile=300:300 setpriv --bounding-set=-sys_resource \
	--inh-caps=-sys_resource timeout 60 "$POOLFS" --cache-size=256K "$home" "$mnt" \
	2>"$work/words"; then
	same many_are_found_by_name 300 "$(cd "$mnt/files/many" && stat -c %n ./* | wc -l)"
	same and_the_top_is_still_there many "$(ls "$mnt/files" | grep many)"
	same a_file_is_none_though_it_has_the_number_of_a_removed_directory fine \
		"$(timeout 60 python3 "$TEST_SRC/mount/used_number.py" "$mnt/files/many")"
	unmount_pool
else
	ok mounts_with_few_descriptors 1
fi

# --- one without locks ----------------------------------------------------------------------

rm -f "$home/__db_mpool.share"
mkdir "$work/regions"
export LACKING_LOCKS="$home"
check a_pool_cannot_be_in_a_home_without_locks sh -c \
	'! LD_PRELOAD=$1 "$2" "$3" "$4" 2>"$5" && grep -q "cannot lock: No locks" "$5"' sh \
	"$preload" "$POOLFS" "$home" "$mnt" "$work/words"
same and_nothing_is_left_of_it "" "$(ls -A "$home" | grep __db_m)"
LD_PRELOAD=$preload mount_pool --cache-size=1M --region-dir="$work/regions" 2>"$work/words"
check missing_locks_are_named grep -q 'no locks' "$work/words"
echo beside >"$mnt/files/beside"
same its_pool_can_be_elsewhere __db_mpool.share "$(ls "$work/regions")"
unset LACKING_LOCKS
unmount_pool
same and_home_is_complete beside "$(cat "$home/beside")"
rm -r "$home/__db_regions" "$work/regions"

# --- an ordinary one ------------------------------------------------------------------------

rm -f "$home/__db_mpool.share"
mount_pool --cache-size=1M 2>"$work/words"
same nothing_is_missing_here "" "$(cat "$work/words")"
unmount_pool

# --- in memory ------------------------------------------------------------------------------

home=$work/mnt-tmpfs
mkdir "$home"
if mount -t tmpfs -o size=64M,mode=755 none "$home" 2>/dev/null; then
	mount_pool --cache-size=512K
	same_as_bare a_home_in_memory 3 4
	unmount_pool
	umount "$home"
else
	skip a_home_in_memory "no tmpfs"
fi
finish
