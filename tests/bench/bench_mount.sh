#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Reads through a mount against the same reads in the bare directory, in turn, in one run: with a
# pool larger than the file, and with one of a quarter of it, so that nearly every sequential read
# has to bring its pages in.  The OS cache has the file in every case.  $POOLFS is the daemon,
# $BENCH_BIN where bench_read is; BENCH_DIR (else TMPDIR, else /tmp) needs 1 GiB.

set -eu
file_mib=256

work=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/poolfs-bench-XXXXXX")
home=$work/home
point=$work/mnt
mounted=

finish()
{
	if [ -n "$mounted" ]; then
		rm "$point/regions/mpool" || :
		"$POOLFS" -u "$point" || :
	fi
	rm -rf --one-file-system "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

page_in()
{
	awk '$1 == "page_in" { print $2 }' "$point/stat/pool"
}

# with_pool MIB LABEL: mount with a pool of that size, measure, unmount.
with_pool()
{
	"$POOLFS" --cache-size="$1M" "$home" "$point"
	mounted=yes
	cat "$point/files/file" >/dev/null
	before=$(page_in)
	"$BENCH_BIN/bench_read" compare "$2" "$point/files/file" "$home/file"
	after=$(page_in)
	rm "$point/regions/mpool"
	"$POOLFS" -u "$point"
	mounted=
}

mkdir "$home" "$point"
"$BENCH_BIN/bench_read" make "$home/file" "$file_mib"
echo '| read request | mount, us | MiB/s | bare directory, us | MiB/s | speed, bare = 1 |'
echo '|---|---:|---:|---:|---:|---:|'
with_pool $((file_mib + file_mib / 2)) 'pool 1.5x the file'
if [ "$before" != "$after" ]; then
	echo "bench_mount: pages were read from the file although the pool held it" >&2
	exit 1
fi
with_pool $((file_mib / 4)) 'pool 1/4 of the file'
if [ "$before" = "$after" ]; then
	echo "bench_mount: nothing was read from the file although the pool is smaller" >&2
	exit 1
fi
