#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What the kernel caches never lies (-o cache=open, keep): a program on the mount and a client of
# its pool on the same pages, as in litmus/litmus.c.  LITMUS_ROUNDS says how often (a million takes
# hours), LITMUS_SEED where.

. "$TEST_SRC/mount/lib.sh"

rounds=${LITMUS_ROUNDS:-200}
seed=${LITMUS_SEED:-1}

litmus()
{
	timeout $((120 + rounds / 500)) "$TEST_BIN/litmus" "$home" "$mnt" "$1" "$2" "$seed"
}

# Pages leave the pool meanwhile.
evict_all_the_time()
{
	while [ ! -e "$work/done" ]; do
		echo "evict put_write" >"$mnt/ctl"
		echo "evict put_store" >"$mnt/ctl"
		echo "evict beside_stores" >"$mnt/ctl"
	done 2>/dev/null
}

for mode in open keep; do
	mount_pool -o cache=$mode --cache-size=1M
	rm -f "$work/done"
	evict_all_the_time &
	evictor=$!
	for test in put_write put_unread put_store; do
		check "litmus_${test}_$mode" litmus "$test" "$rounds"
	done
	for test in beside_stores beside_writes; do
		check "litmus_${test}_$mode" litmus "$test" $((rounds * 4))
	done
	: >"$work/done"
	wait "$evictor"
	check "litmus_opens_$mode" litmus opens "$rounds"
	check "litmus_crowds_$mode" litmus crowds $((rounds * 2))
	check "litmus_appends_$mode" litmus appends "$rounds"
	check "litmus_cuts_$mode" litmus cuts "$rounds"
	check "litmus_grows_$mode" litmus grows "$rounds"
	check "litmus_cut_stores_$mode" litmus cut_stores "$rounds"
	check "litmus_cut_writes_$mode" litmus cut_writes "$rounds"
	check "litmus_cut_beside_$mode" litmus cut_beside $((rounds * 4))
	check "litmus_punches_$mode" litmus punches $((rounds * 4))
	unmount_pool
done

# Where no space can be reserved, writes go to the file first.
LD_PRELOAD=$TEST_BIN/libhang_writes.so NO_RESERVE=yes \
	mount_pool -o cache=keep --cache-size=1M 2>/dev/null
check litmus_put_write_in_file litmus put_write "$rounds"
check litmus_cut_writes_in_file litmus cut_writes "$rounds"
unmount_pool
finish
