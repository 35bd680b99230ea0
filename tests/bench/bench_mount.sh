#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Requests through a mount against the same in the bare directory and through a FUSE server that
# does nothing (null_server), in turn, in one run: with nothing cached by the kernel, and with
# -o cache=keep against the same of the null server; and, with a pool of a quarter of the file,
# where nearly every sequential read has to bring its pages in.  The OS cache has the file in every
# case.  The last two columns are the processor time of the two servers, microseconds a request,
# which says more than the clock does when others use the machine.  $POOLFS is the daemon,
# $BENCH_BIN where the programs are; BENCH_DIR (else TMPDIR, else /tmp) needs 1 GiB.

set -eu
file_mib=256

work=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/poolfs-bench-XXXXXX")
home=$work/home
point=$work/mnt
null=$work/null
mounted=

finish()
{
	if mountpoint -q "$null"; then
		umount "$null" || :
	fi
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

# start_null MODE: its file is at $null/files/file when this returns.
start_null()
{
	"$BENCH_BIN/null_server" "$1" "$file_mib" "$null" &
	null_pid=$!
	until mountpoint -q "$null"; do
		kill -0 "$null_pid"
		sleep 0.1
	done
}

# with_pool MIB MODE LABEL [OTHER]: mount with a pool of that size, measure, unmount.
with_pool()
{
	"$POOLFS" --cache-size="$1M" -o cache="$2" "$home" "$point"
	mounted=yes
	cat "$point/files/file" >/dev/null
	pid=$(awk '$1 == "pid" { print $2 }' "$point/stat/daemon")
	before=$(page_in)
	"$BENCH_BIN/bench_read" compare "$3" "$point/files/file@$pid" "$home/bare" \
		${4:+"$4@$null_pid"}
	after=$(page_in)
	rm "$point/regions/mpool"
	"$POOLFS" -u "$point"
	mounted=
}

mkdir "$home" "$point" "$null"
"$BENCH_BIN/bench_read" make "$home/file" "$file_mib"
cp "$home/file" "$home/bare"
echo '| request | mount, us | bare directory, us | null server, us | speed, bare = 1 | null = 1' \
	'| mount, processor | null, processor |'
echo '|---|---:|---:|---:|---:|---:|---:|---:|'
start_null none
with_pool $((file_mib + file_mib / 2)) none 'nothing cached' "$null/files/file"
umount "$null"
if [ "$before" != "$after" ]; then
	echo "bench_mount: pages were read from the file although the pool held it" >&2
	exit 1
fi
start_null keep
with_pool $((file_mib + file_mib / 2)) keep 'cache=keep' "$null/files/file"
umount "$null"
with_pool $((file_mib / 4)) none 'pool 1/4 of the file'
if [ "$before" = "$after" ]; then
	echo "bench_mount: nothing was read from the file although the pool is smaller" >&2
	exit 1
fi
