#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The probes: each that poolfs(5) describes is in the program, with as many arguments, and its
# example works as printed there.

. "$TEST_SRC/mount/lib.sh"
: "${BUILD:?the build directory}"
manual=$BUILD/src/poolfs.5

if ! readelf -n "$POOLFS" | grep -q stapsdt; then
	skip probes_are_there "built without <sys/sdt.h>"
	finish
fi

# "name arguments" of each
described()
{
	sed -n 's/^\.It Cm \([a-z_]*\) ( Ar \(.*\) )$/\1 \2/p' "$manual" |
	    awk '{ print $1, gsub(/,/, "") + 1 }' | sort
}

present()
{
	readelf -n "$1" | awk '$1 == "Name:" { name = $2 }
		$1 == "Arguments:" { print name, NF - 1 }' | sort -u
}

same five_are_described 5 "$(described | wc -l)"
same as_they_are_in_the_daemon "$(described)" "$(present "$POOLFS")"
same and_in_the_library "$(described)" "$(present "$BUILD/core/libpoolfs.so")"

if ! command -v bpftrace >/dev/null 2>&1; then
	skip examples_work "bpftrace is not installed"
	finish
fi

# All examples as one program, with the daemon of this test; it ends with the daemon.
program=$(sed -n "s/^\\.Dl bpftrace -e '\\(.*\\)'\$/\\1/p" "$manual" |
	sed "s,/usr/bin/poolfs,$POOLFS,; s/\\\\en/\\\\n/g")
same each_has_an_example 5 "$(printf '%s\n' "$program" | grep -c "usdt:$POOLFS:poolfs:")"
head -c 3000000 /dev/urandom >"$home/data"
bpftrace -c "$POOLFS -f --cache-size=1M $home $mnt" -e "$program" >"$work/trace" 2>"$work/errors" &
tracer=$!
timeout 60 sh -c 'until [ -e "$1/ctl" ]; do kill -0 "$2" || exit 1; done' sh "$mnt" "$tracer" \
	2>/dev/null
if [ ! -e "$mnt/ctl" ]; then
	sed 's/^/# /' "$work/errors"
	skip examples_work "bpftrace does not work here"
	finish
fi

start_client
ask open data
ask pin 0
kill -9 "$client"
wait "$client" 2>/dev/null
echo reap >"$mnt/ctl"
dd if=/dev/zero of="$mnt/files/out" bs=4096 count=2 conv=fsync status=none
cat "$mnt/files/data" "$mnt/files/data" "$mnt/files/out" >/dev/null
hits=$(stat_of cache_hit)
evicted=$(($(stat_of ro_evict) + $(stat_of rw_evict)))
unmount_pool
wait "$tracer"
ok tracing_ends_with_the_daemon $?

# printed PATTERN: by the examples
printed()
{
	grep -qE "$1" "$work/trace" || ! sed 's/^/# /' "$work/trace" "$work/errors" | head -n 40
}

# added MAP: all counts of it
added()
{
	awk -v map="@$1[" 'index($0, map) == 1 { n += $NF } END { print n + 0 }' "$work/trace"
}

same hits_are_those_of_stat_pool "$hits" "$(added hits)"
same so_are_evictions "$evicted" "$(added evicted)"
check misses_are_traced printed '^[0-9]+: [0-9]+$'
check writes_are_traced printed '^@pages_a_write:'
check reaping_is_traced printed "process $client\$"
finish
