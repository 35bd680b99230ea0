# SPDX-License-Identifier: BSD-3-Clause
#
# lib.sh - what the mount tests share: sourced, not run.  A fresh HOME and mount point in a
# directory of their own, a TAP line for each check, and everything unmounted and removed at the
# end, whatever happened.  Needs root and /dev/fuse, else the test is skipped.
#
#	. "$TEST_SRC/mount/lib.sh"
#	mount_pool --cache-size=1M
#	check the_mount_has_a_readme test -s "$mnt/README"
#	finish

set -u
umask 022
export PYTHONDONTWRITEBYTECODE=1
: "${POOLFS:?the program poolfs}" "${TEST_SRC:?the directory tests}"

if [ "$(id -u)" != 0 ] || ! (: <>/dev/fuse) 2>/dev/null; then
	echo "1..0 # SKIP mounting needs root and /dev/fuse"
	exit 77
fi

# System V segments outlive everybody: in an IPC namespace of its own the test leaves none.  In a
# mount namespace of its own nobody meets with its mounts.
if [ -z "${TEST_STARTED_IN:-}" ]; then
	TEST_STARTED_IN=$(readlink /proc/self/ns/mnt)
	export TEST_STARTED_IN
	exec unshare --ipc --mount sh "$0" "$@"
fi

# The copies of other mounts that came with it would keep their daemons from ending.
drop_others_mounts()
{
	[ "$(readlink /proc/self/ns/mnt)" != "$TEST_STARTED_IN" ] || return 0
	awk '/ - fuse.poolfs / { print $5 }' /proc/self/mountinfo | while read -r at; do
		umount -l "$at"
	done
}
drop_others_mounts

work=$(mktemp -d "${TMPDIR:-/tmp}/poolfs-test.XXXXXX") || exit 1
home=$work/home
mnt=$work/mnt
count=0
failures=0
mkdir "$home" "$mnt"

clean_up()
{
	status=$?
	trap - EXIT INT TERM
	cd /
	for at in "$mnt" "$work"/mnt?*; do
		! is_mounted "$at" || umount -l "$at"
	done
	if [ -n "${KEEP:-}" ]; then
		echo "# kept $work"
	else
		rm -rf "$work"
	fi
	exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP PIPE

# ok NAME STATUS: a TAP line.
ok()
{
	count=$((count + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok $count - $1"
	else
		echo "not ok $count - $1"
		failures=$((failures + 1))
	fi
}

# skip NAME WHY
skip()
{
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

# check NAME COMMAND...: ok if it exits 0 within two minutes; what it says is shown if not.
check()
{
	check_name=$1
	shift
	if run_limited "$@" >"$work/said" 2>&1; then
		ok "$check_name" 0
	else
		sed 's/^/# /' "$work/said"
		ok "$check_name" 1
	fi
}

# A program, with a watchdog, or a function.
run_limited()
{
	if type "$1" | grep -q function; then
		"$@"
	else
		timeout 120 "$@"
	fi
}

# check_fails NAME PATTERN COMMAND...: it must exit non-zero, and say something that matches, in one
# line on standard error.
check_fails()
{
	check_name=$1
	pattern=$2
	shift 2
	timeout 60 "$@" >"$work/said.out" 2>"$work/said"
	status=$?
	sed -i '/^timeout: warning: /d' "$work/said"
	if [ "$status" -ne 0 ] && [ "$status" -lt 124 ] && [ "$(wc -l <"$work/said")" -eq 1 ] &&
	    grep -qiE "$pattern" "$work/said"; then
		ok "$check_name" 0
	else
		echo "# status $status, wanted one line like $pattern"
		sed 's/^/# /' "$work/said"
		ok "$check_name" 1
	fi
}

# same NAME WANTED GOT
same()
{
	if [ "$2" = "$3" ]; then
		ok "$1" 0
	else
		echo "# wanted: $2"
		echo "# got:    $3"
		ok "$1" 1
	fi
}

# lines_of SCRIPT ARGS...: the first TAP lines of this test are those of tests/mount/SCRIPT.
lines_of()
{
	script=$1
	shift
	timeout 300 python3 "$TEST_SRC/mount/$script" "$@" >"$work/tap"
	status=$?
	sed '/^1\.\./d' "$work/tap"
	count=$(grep -cE '^(not )?ok' "$work/tap")
	[ "$status" -eq 0 ] && [ "$count" -gt 0 ] || failures=1
}

is_mounted()
{
	awk -v at="$1" '$5 == at { found = 1 } END { exit !found }' /proc/self/mountinfo
}

# mount_pool [OPTION...]: $home on $mnt.  MOUNT_CACHE: with that -o cache=.
mount_pool()
{
	if ! timeout 60 "$POOLFS" ${MOUNT_CACHE:+-o cache=$MOUNT_CACHE} "$@" "$home" "$mnt"; then
		echo "# poolfs $* $home $mnt failed"
		ok mounts 1
		finish
	fi
}

unmount_pool()
{
	if ! timeout 120 "$POOLFS" -u "$mnt"; then
		echo "# poolfs -u $mnt failed"
		ok unmounts 1
		finish
	fi
}

# remove_pool: $home's, which nothing uses.
remove_pool()
{
	[ -e "$home/__db_mpool.share" ] || return 0
	mount_pool
	rm "$mnt/regions/mpool"
	unmount_pool
}

# stat_of KEY: a number of stat/pool.
stat_of()
{
	awk -v key="$1" '$1 == key { print $2 }' "$mnt/stat/pool"
}

# The process that serves $mnt.
daemon_pid()
{
	getfattr --only-values -n user.poolfs.pid "$mnt" 2>/dev/null
}

# gone PID: waits for the process's end without a clock.
gone()
{
	python3 - "$1" <<-'EOP'
		import os, select, sys
		try:
		    p = select.poll()
		    p.register(os.pidfd_open(int(sys.argv[1])), select.POLLIN)
		    sys.exit(0 if p.poll(60000) else 1)
		except ProcessLookupError:
		    pass
	EOP
}

# within_a_minute COMMAND...: tries again until it succeeds.
within_a_minute()
{
	for _ in $(seq 600); do
		! "$@" || return 0
		sleep 0.1
	done
	return 1
}

# fails COMMAND...
fails()
{
	! "$@"
}

# state_is PID LETTER: proc(5) says so of all its threads.
state_is()
{
	[ "$(sed 's/.*) \(.\).*/\1/' /proc/"$1"/task/*/stat | sort -u)" = "$2" ]
}

# as UID COMMAND...: as that user, of the group of that number alone.
as()
{
	uid=$1
	shift
	setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}

# fails_with ERRNO COMMAND: write(2) of the command must return it.
fails_with()
{
	python3 -c '
import errno, os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
try:
    os.write(fd, sys.argv[3].encode())
    sys.exit("it did not fail")
except OSError as e:
    sys.exit(e.errno != getattr(errno, sys.argv[2]) and errno.errorcode[e.errno])
' "$mnt/ctl" "$1" "$2"
}

# --- a disk that takes its time -------------------------------------------------------------

# prepare_to_hang NAME: who has $preload preloaded hangs once in a file whose path ends in NAME;
# says so to what 6 reads, and goes on with a line that is written to 7; see hang_writes.c.
prepare_to_hang()
{
	preload=$TEST_BIN/libhang_writes.so
	[ -r "$preload" ] || exit 99
	export HANG_WRITES="$1" HANG_WRITES_AT="$work/at" HANG_WRITES_GO="$work/go"
	mkfifo "$HANG_WRITES_AT" "$HANG_WRITES_GO"
	exec 6<>"$HANG_WRITES_AT" 7<>"$HANG_WRITES_GO"
}

# --- a service manager that listens ---------------------------------------------------------

# start_listening, then serve in the foreground, then wait_until_ready: no clock.
start_listening()
{
	mkfifo "$work/ready"
	python3 - "$work/notify" >"$work/ready" <<-'EOP' &
		import socket, sys
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.settimeout(60)
		s.bind(sys.argv[1])
		print("bound", flush=True)
		print(s.recv(100).decode(), flush=True)
	EOP
	exec 8<"$work/ready"
	read -r word <&8
}

# What it was told is in $word.
wait_until_ready()
{
	read -r word <&8
	exec 8<&-
	rm -f "$work/ready" "$work/notify"
}

# --- another process on the pool ------------------------------------------------------------

# start_partner COMMAND...: it is $partner, hears what is written to 5, and says what 4 reads.
start_partner()
{
	mkfifo "$work/to" "$work/from"
	"$@" <"$work/to" >"$work/from" &
	partner=$!
	exec 5>"$work/to" 4<"$work/from"
	rm "$work/to" "$work/from"
}

# start_client: it is $client, and does what it is asked to.
start_client()
{
	start_partner "$TEST_BIN/pool_client" "$home" 2>/dev/null
	client=$partner
}

# ask WORDS: it must say ok.
ask()
{
	printf '%s\n' "$*" >&5
	read -r answer <&4
	same "ask_${1}_$count" ok "$answer"
}

finish()
{
	echo "1..$count"
	[ "$failures" -eq 0 ] || exit 1
	exit 0
}
