#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# With the kernel caching (-o cache=open, keep) nothing waits for ever: what programs and clients do
# to a file (litmus/pairs.c), and what is done to the mount, each beside each, itself too, in a
# table of 11 by 11.  litmus has a watchdog; a pair that has met it is named.  PAIRS_ROUNDS says how
# often each is done; if it does not, what is done to the mount is done beside all acts at once.

. "$TEST_SRC/mount/lib.sh"

rounds=${PAIRS_ROUNDS:-4}
seed=${LITMUS_SEED:-1}
acts="read write map truncate open memp_fopen put invalidation"

litmus()
{
	"$TEST_BIN/litmus" "$home" "$mnt" "$@"
}

# --- what is done to the mount: it is served by $daemon ------------------------------------------

# Meanwhile it may be going: then the other has done it.
signal()
{
	kill -"$1" "$daemon" 2>/dev/null || :
}

do_unmount()
{
	signal TERM
}

do_kill()
{
	signal KILL
}

# Its requests wait, and so do clients who tell it.
do_stop()
{
	signal STOP
	[ ! -d "/proc/$daemon" ] || within_a_minute stands_still "$daemon"
	signal CONT
}

stands_still()
{
	[ ! -d "/proc/$1" ] || state_is "$1" T 2>/dev/null
}

# --- pairs ---------------------------------------------------------------------------------------

# done_beside ACT TO_MOUNT [TO_MOUNT]: all go on with ACT (all: with everything) beside it.
done_beside()
{
	name=${1}_beside_$2${3:+_and_$3}_$mode
	mount_pool -o cache="$mode" --cache-size=1M
	daemon=$(daemon_pid)
	one=$1
	[ "$one" != all ] || one=
	start_partner "$TEST_BIN/litmus" "$home" "$mnt" beside "$rounds" "$seed" ${one:+"$one"}
	read -r answer <&4
	[ "$answer" = running ] || echo "# litmus says $answer"
	"do_$2" &
	first=$!
	[ -z "${3:-}" ] || "do_$3"
	wait "$first"
	case $2${3:-} in
	stop | stopstop) echo on >&5 ;;
	*)
		gone "$daemon" || check "the_daemon_ends_$name" false
		echo ended >&5
		;;
	esac
	exec 5>&-
	wait "$partner"
	same "$name" 0 $?
	exec 4<&-
	umount -l "$mnt" 2>/dev/null
	gone "$daemon" || check "the_daemon_ends_$name" false
}

for mode in open keep; do
	mount_pool -o cache=$mode --cache-size=1M
	done=
	for one in $acts; do
		done="$done $one"
		for other in $done; do
			check "${one}_beside_${other}_$mode" \
				litmus pair "$rounds" "$seed" "$one" "$other"
		done
	done
	check "the_kernel_was_told_to_drop_pages_$mode" \
		awk '$1 == "kernel_drops" { n = $2 } END { exit !n }' "$mnt/stat/daemon"
	unmount_pool
	for one in $acts; do
		for to_mount in unmount kill stop; do
			[ -z "${PAIRS_ROUNDS:-}" ] || done_beside "$one" "$to_mount"
		done
	done
	[ "$mode" = keep ] || [ -n "${PAIRS_ROUNDS:-}" ] || continue
	for to_mount in unmount kill stop; do
		done_beside all "$to_mount"
		done_beside all "$to_mount" "$to_mount"
	done
	done_beside all unmount kill
	done_beside all unmount stop
	done_beside all kill stop
done
finish
