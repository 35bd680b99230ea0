#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# poolfs -u where it is not easy: the daemon in another PID namespace, the mount another user's,
# the pool removed by force or damaged.  And two that mount at once.

. "$TEST_SRC/mount/lib.sh"

[ -x "${TEST_BIN:?the directory of pool_client}/pool_client" ] || exit 99

nothing_mounted()
{
	! is_mounted "$mnt"
}

# has_ended PID: now; a zombie waits only for its new parent to look.
has_ended()
{
	! [ -d "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status"
}

# attached: somebody holds the lock on a client number of the pool.
attached()
{
	python3 - "$home/__db_mpool.share" <<-'EOP'
		import fcntl, struct, sys
		F_OFD_GETLK, byte = 36, (1 << 40) + 64
		with open(sys.argv[1], "rb") as f:
		    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, byte, 65536, 0)
		    got = struct.unpack("hhqqi4x", fcntl.fcntl(f, F_OFD_GETLK, lock))
		sys.exit(got[0] == fcntl.F_UNLCK)
	EOP
}

nobody_attached()
{
	! attached
}

# has_said LINES PATTERN: what the last command said.
has_said()
{
	[ "$(wc -l <"$work/log")" -eq "$1" ] &&
	    [ "$(grep -cE "$2" "$work/log")" -eq "$1" ] && return
	cat "$work/log"
	return 1
}

# --- another PID namespace ------------------------------------------------------------------

start_listening
NOTIFY_SOCKET=$work/notify unshare --pid --fork "$POOLFS" -f --cache-size=1M "$home" "$mnt" \
	2>"$work/log" &
shell=$!
wait_until_ready
same the_daemon_is_process_1_of_its_namespace 1 "$(daemon_pid)"
check the_daemon_is_attached attached
echo namespace >"$mnt/files/ns"
check poolfs_u_does_not_wait_for_process_1_of_the_host timeout 30 "$POOLFS" -u "$mnt"
check poolfs_u_waits_until_the_daemon_in_a_namespace_has_detached nobody_attached
check it_has_unmounted nothing_mounted
same what_a_daemon_in_a_namespace_got_is_in_home namespace "$(cat "$home/ns")"
# In case it failed: the next checks want the place.
! is_mounted "$mnt" || umount -l "$mnt"
wait "$shell"
same the_daemon_in_its_namespace_exits_0 0 $?

for kind in system file private; do
	remove_pool
	start_listening
	NOTIFY_SOCKET=$work/notify unshare --pid --ipc --fork "$POOLFS" -f --memory="$kind" \
		--cache-size=1M "$home" "$mnt" 2>"$work/log" &
	shell=$!
	wait_until_ready
	echo "$kind" >"$mnt/files/ns"
	check "poolfs_u_of_another_ipc_namespace_$kind" timeout 30 "$POOLFS" -u "$mnt"
	same "has_waited_for_its_daemon_$kind" "$kind" "$(cat "$home/ns")"
	check "has_unmounted_$kind" nothing_mounted
	! is_mounted "$mnt" || umount -l "$mnt"
	wait "$shell"
	same "its_daemon_exits_0_$kind" 0 $?
	rm -f "$home/__db_mpool.share"
done

start_listening
NOTIFY_SOCKET=$work/notify unshare --pid --ipc --fork --kill-child "$POOLFS" -f \
	--cache-size=1M "$home" "$mnt" 2>"$work/log" &
shell=$!
wait_until_ready
echo lost >"$mnt/files/ns"
kill -9 "$shell"
gone "$shell"
check_fails poolfs_u_of_a_dead_daemon_in_another_ipc_namespace 'may be lost.*IPC namespace' \
	timeout 30 "$POOLFS" -u "$mnt"
rm -f "$home/__db_mpool.share"

# --- one that does not answer, or does not end ----------------------------------------------

# hold_daemons_byte: as its daemon does, until the pipe is closed; what it says first is in $word.
hold_daemons_byte()
{
	python3 - "$home" "$(getfattr --only-values --absolute-names -n user.poolfs.home_byte \
		"$mnt")" <<-'EOP'
		import fcntl, os, struct, sys
		F_OFD_SETLK = 37
		fd = os.open(sys.argv[1], os.O_RDONLY)
		lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, int(sys.argv[2]), 1, 0)
		fcntl.fcntl(fd, F_OFD_SETLK, lock)
		print("held", flush=True)
		os.read(3, 1)
	EOP
}

# is_stopped PID: all its threads, within a minute.
is_stopped()
{
	timeout 60 sh -c 'while grep -L "^State:.T" "$@" | grep -q .; do :; done' \
		sh "/proc/$1/task/"*/status
}

mkfifo "$work/end" "$work/begun"

mount_pool --cache-size=1M
echo stopped >"$mnt/files/ns"
pid=$(daemon_pid)
kill -STOP "$pid"
check it_stops is_stopped "$pid"
check_fails a_stopped_daemon_is_not_waited_for_for_ever 'does not answer' \
	"$POOLFS" -u --timeout=1 "$mnt"
check and_nothing_is_unmounted is_mounted "$mnt"
kill -CONT "$pid"
same it_goes_on stopped "$(cat "$mnt/files/ns")"
unmount_pool

mount_pool --cache-size=1M
echo copied >"$mnt/files/ns"
pid=$(daemon_pid)
unshare -m sh -c 'echo begun; read -r end' <"$work/end" >"$work/begun" &
copy=$!
exec 7>"$work/end" 8<"$work/begun"
read -r word <&8
check_fails a_copy_of_the_mount_in_another_namespace_is_named 'process [0-9]+ sees another mount' \
	"$POOLFS" -u "$mnt"
check it_is_unmounted_here nothing_mounted
same and_home_is_complete copied "$(cat "$home/ns")"
exec 7>&- 8<&-
wait "$copy"
check the_daemon_ends_with_the_last_copy gone "$pid"

start_listening
NOTIFY_SOCKET=$work/notify unshare --pid --fork "$POOLFS" -f --cache-size=1M "$home" "$mnt" \
	2>"$work/log" &
shell=$!
wait_until_ready
echo late >"$mnt/files/ns"
hold_daemons_byte 3<"$work/end" >"$work/begun" &
holder=$!
exec 7>"$work/end" 8<"$work/begun"
read -r word <&8
check_fails a_daemon_that_seems_not_to_end_is_said 'has not ended after 10 seconds' \
	"$POOLFS" -u --timeout=10 "$mnt"
same and_home_is_complete_all_the_same late "$(cat "$home/ns")"
exec 7>&- 8<&-
wait "$holder" "$shell"
check_fails a_bad_timeout_is_refused 'timeout: seconds' "$POOLFS" -u --timeout=0 "$mnt"

# --- a pool removed by force ----------------------------------------------------------------

mount_pool
echo lost >"$mnt/files/lost"
"$TEST_BIN/pool_client" "$home" unlink 2>/dev/null
check poolfs_u_after_removal_by_force "$POOLFS" -u "$mnt"
check it_has_unmounted_after_removal_by_force nothing_mounted
! is_mounted "$mnt" || umount -l "$mnt"

start_listening
NOTIFY_SOCKET=$work/notify "$POOLFS" -f --cache-size=1M "$home" "$mnt" 2>"$work/log" &
pid=$!
wait_until_ready
exec 7>"$mnt/files/open"
echo lost >&7
echo idle >"$mnt/files/idle"
echo lost >"$mnt/files/lost"
"$TEST_BIN/pool_client" "$home" unlink 2>/dev/null
kill -TERM "$pid"
wait "$pid"
same a_signal_after_removal_by_force_exits_0 0 $?
exec 7>&-
check removal_by_force_is_said_once has_said 1 'removed by force'

mount_pool --cache-size=1M
echo lost >"$mnt/files/lost"
"$TEST_BIN/pool_client" "$home" unlink 2>/dev/null
echo found >"$mnt/files/found"
same a_mount_goes_on_after_removal_by_force found "$(cat "$mnt/files/found")"
unmount_pool
same and_its_home_is_complete found "$(cat "$home/found")"

# --- two at once ----------------------------------------------------------------------------

mounts_on_it()
{
	awk -v at="$mnt" '$5 == at { n++ } END { print n + 0 }' /proc/self/mountinfo
}

results= mounts=
for round in 1 2 3 4 5 6 7 8; do
	timeout 60 "$POOLFS" --cache-size=1M "$home" "$mnt" 2>"$work/log1" &
	one=$!
	timeout 60 "$POOLFS" --cache-size=1M "$home" "$mnt" 2>"$work/log2" &
	two=$!
	wait "$one"
	result=$?
	wait "$two"
	results="$results $((result + $?))"
	mounts="$mounts $(mounts_on_it)"
	while is_mounted "$mnt"; do
		timeout 60 "$POOLFS" -u "$mnt" || umount -l "$mnt"
	done
done
same of_two_that_mount_at_once_one_fails " 1 1 1 1 1 1 1 1" "$results"
same of_two_that_mount_at_once_one_is_mounted " 1 1 1 1 1 1 1 1" "$mounts"
check_fails while_another_is_just_mounting 'busy: another process is just mounting' \
	flock "$mnt" "$POOLFS" "$home" "$mnt"
! is_mounted "$mnt" || umount -l "$mnt"

# --- a user's mount -------------------------------------------------------------------------

as_user()
{
	timeout 60 setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

# Users may not open every machine's /dev/fuse.
chmod 755 "$work"
mknod -m 666 "$work/fuse" c 10 229 && mount --bind "$work/fuse" /dev/fuse
mkdir "$work/user" "$work/mnt_user"
chown 65534:65534 "$work/user" "$work/mnt_user"
if as_user "$POOLFS" --cache-size=1M "$work/user" "$work/mnt_user" 2>"$work/log"; then
	as_user sh -c 'echo mine >"$0/files/mine"' "$work/mnt_user"
	pid=$(as_user getfattr --only-values -n user.poolfs.pid "$work/mnt_user" 2>/dev/null)
	check root_unmounts_a_users_mount "$POOLFS" -u "$work/mnt_user"
	check root_waits_for_a_users_daemon has_ended "$pid"
	same a_users_home_is_complete mine "$(cat "$work/user/mine")"
	if as_user "$POOLFS" "$work/user" "$work/mnt_user"; then
		as_user sh -c 'echo dead >"$0/files/mine"' "$work/mnt_user"
		pid=$(as_user getfattr --only-values -n user.poolfs.pid \
			"$work/mnt_user" 2>/dev/null)
		kill -9 "$pid"
		gone "$pid"
		check root_unmounts_a_users_dead_mount "$POOLFS" -u "$work/mnt_user"
		same and_completes_the_users_home dead "$(cat "$work/user/mine")"
	fi
else
	sed 's/^/# /' "$work/log"
	skip root_unmounts_a_users_mount "a user cannot mount here"
fi

umount /dev/fuse

# --- a dead mount and its pool --------------------------------------------------------------

# die_and DAMAGE...: a mount whose daemon was killed, and then DAMAGE was done to its region.
die_and()
{
	rm -f "$home/__db_mpool.share"
	mount_pool --cache-size=1M
	echo dirty >"$mnt/files/dirty"
	pid=$(daemon_pid)
	kill -9 "$pid"
	gone "$pid"
	"$@"
}

region=$home/__db_mpool.share
die_and truncate -s 0 "$region"
check_fails poolfs_u_of_a_dead_mount_with_an_empty_region 'may be lost' "$POOLFS" -u "$mnt"
check the_dead_mount_is_gone_all_the_same nothing_mounted
# Behind the lock is what says that it is valid.
die_and dd if=/dev/zero of="$region" bs=1 seek=8 count=4 conv=notrunc status=none
check_fails poolfs_u_of_a_dead_mount_with_an_invalid_region 'may be lost' "$POOLFS" -u "$mnt"
check the_second_is_gone_too nothing_mounted
die_and dd if=/dev/zero of="$region" bs=4096 count=1 conv=notrunc status=none
check_fails poolfs_u_of_a_dead_mount_with_a_zeroed_region 'may be lost' "$POOLFS" -u "$mnt"
die_and dd if=/dev/urandom of="$region" bs=4096 count=1 conv=notrunc status=none
check_fails poolfs_u_of_a_dead_mount_with_a_damaged_region 'may be lost' "$POOLFS" -u "$mnt"
die_and truncate -s 8192 "$region"
check_fails poolfs_u_of_a_dead_mount_with_a_short_region 'may be lost' "$POOLFS" -u "$mnt"
rm -f "$region"

# --- two mounts of one home -----------------------------------------------------------------

mkdir "$work/mnt2"
timeout 60 "$POOLFS" --cache-size=1M "$home" "$mnt" 2>"$work/log"
check a_first_mount_of_a_home_says_nothing has_said 0 .
pid=$(daemon_pid)
timeout 60 "$POOLFS" "$home" "$work/mnt2" 2>"$work/log"
same a_second_mount_of_a_home_is_allowed 0 $?
check and_says_that_there_is_another has_said 1 "another mount of HOME .*process $pid"
echo both >"$mnt/files/both"
same both_show_the_same both "$(cat "$work/mnt2/files/both")"
check the_second_unmounts "$POOLFS" -u "$work/mnt2"
unmount_pool
finish
