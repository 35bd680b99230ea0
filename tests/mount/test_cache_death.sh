#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# With the kernel caching (-o cache=open, keep): a daemon that is killed takes nobody along; one
# that is stopped delays a put, is noticed, and shows nothing old afterwards.  test_cache_pairs.sh
# crosses everything with everything.

. "$TEST_SRC/mount/lib.sh"

rounds=${LITMUS_ROUNDS:-20}
seed=${LITMUS_SEED:-1}

start_litmus()
{
	start_partner "$TEST_BIN/litmus" "$home" "$mnt" "$1" "$rounds" "$seed"
	litmus=$partner
}

# said WORDS: it says that next.
said()
{
	read -r answer <&4
	same "litmus_says_$(echo "$1" | tr ' ' _)" "$1" "$answer"
}

end_litmus()
{
	exec 5>&-
	wait "$litmus"
	same "$1" 0 $?
	exec 4<&-
}

mount_pool -o cache=keep --cache-size=1M
start_litmus beside
said running
daemon=$(daemon_pid)
kill -KILL "$daemon"
check the_daemon_is_gone gone "$daemon"
echo ended >&5
end_litmus clients_outlive_a_killed_daemon
umount -l "$mnt"

mount_pool -o cache=open --cache-size=1M
start_litmus stopped
said "stop it"
daemon=$(daemon_pid)
kill -STOP "$daemon"
check the_daemon_stands_still within_a_minute state_is "$daemon" T
echo stopped >&5
said "let it go on"
kill -CONT "$daemon"
echo going >&5
end_litmus nothing_is_stale_after_a_stop
check the_late_puts_are_counted within_a_minute \
	awk '$1 == "kernel_late" { n = $2 } END { exit n < 2 }' "$mnt/stat/daemon"
unmount_pool
finish
