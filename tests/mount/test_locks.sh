#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# locks/ and stat/lock, and flock(2) on files of the mount: locks of the same table as lock_get's,
# waiting without a worker of the daemon.

. "$TEST_SRC/mount/lib.sh"

client=${TEST_BIN:?}/lock_client

value()
{
	awk -v key="$1" '$1 == key { print $2 }' "$mnt/stat/lock"
}

is()
{
	[ "$(value "$1")" = "$2" ]
}

# until_is KEY VALUE: looks until stat/lock says so, for a minute at most.
until_is()
{
	within_a_minute is "$1" "$2" && return 0
	echo "$1 is $(value "$1"), not $2"
	return 1
}

# begin NAME COMMAND...: in the background, its steps in $work/NAME.out, to be pushed with go NAME.
begin()
{
	mkfifo "$work/$1.in"
	name=$1
	shift
	"$@" <"$work/$name.in" >"$work/$name.out" 2>&1 &
	eval "pid_$name=\$!"
	case $name in
	a) exec 5>"$work/a.in" ;;
	b) exec 6>"$work/b.in" ;;
	c) exec 7>"$work/c.in" ;;
	esac
}

go()
{
	case $1 in
	a) echo go >&5 ;;
	b) echo go >&6 ;;
	c) echo go >&7 ;;
	esac
}

# said NAME WORD: until it has said so, for a minute at most.
said()
{
	within_a_minute grep -qx "$2" "$work/$1.out" && return 0
	cat "$work/$1.out"
	return 1
}

ended()
{
	eval "wait \$pid_$1"
}

finished()
{
	ended "$1"
	status=$?
	rm -f "$work/$1.in"
	case $1 in
	a) exec 5>&- ;;
	b) exec 6>&- ;;
	c) exec 7>&- ;;
	esac
	return $status
}

is_locked()
{
	flock -n -E 9 "$mnt/files/f" true
	[ $? -eq 9 ]
}

echo one >"$home/f"
echo two >"$home/g"
mount_pool --cache-size=1M

same the_table_is_empty_before_anybody_locks 1 "$(wc -l <"$mnt/locks/table")"
same totals_are_unknown_before_that - "$(value nlocks)"
check looking_makes_no_table test ! -e "$mnt/regions/lock"

check flock_succeeds flock "$mnt/files/f" true
check the_region_is_there_then test -e "$mnt/regions/lock"
same nothing_is_locked_afterwards 0 "$(value nlocks)"

# Another process finds a range locked, and the one behind it free; the table knows of neither.
fcntl_locks()
{
	python3 - "$mnt/files/f" "$mnt/stat/lock" <<-'EOP'
		import fcntl, os, sys
		def get(start):
		    with open(sys.argv[1], "r+") as f:
		        try:
		            fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, start)
		        except BlockingIOError:
		            return 0
		        return 1
		with open(sys.argv[1], "r+") as f:
		    fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)
		    pid = os.fork()
		    if pid == 0:
		        os._exit(get(5) << 1 | get(10))
		    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]),
		          dict(l.split() for l in open(sys.argv[2]))["nlocks"])
	EOP
}
same fcntl_ranges_stay_with_the_kernel "1 0" "$(fcntl_locks)"

begin a flock "$mnt/files/f" head -n 1
check flock_holds until_is nlocks 1
check another_flock_is_refused is_locked
check a_shared_one_too sh -c '! flock -n -s "$1" true' - "$mnt/files/f"
check other_files_are_free flock -n "$mnt/files/g" true
check lock_get_is_refused_too sh -c '! "$@" </dev/null' - "$client" "$home" try "$home/f"
check the_table_shows_it grep -Eq "^ *0x[0-9a-f]+ +[0-9]+ +held +WRITE +1 " "$mnt/locks/table"
same it_says_which_file "$(stat -c %i "$mnt/files/f")" \
	"$(awk '$3 == "held" { print $(NF - 1) }' "$mnt/locks/table")"
begin b "$client" "$home" get "$home/f"
check lock_get_waits_for_flock until_is nwaiting 1
check waits_shows_who_waits_for_whom \
	grep -Eq "WRITE +0x[0-9a-f]+ +[0-9]+ +WRITE +held" "$mnt/locks/waits"
same it_says_for_which_file "$(stat -c %i "$mnt/files/f")" \
	"$(awk '$7 == "held" { print $(NF - 1) }' "$mnt/locks/waits")"
check waits_dot_is_a_graph sh -c 'grep -q " -> " "$1" && tail -n 1 "$1" | grep -qx "}"' - \
	"$mnt/locks/waits.dot"
check table_json_is_json python3 -m json.tool "$mnt/locks/table.json"
check waits_json_is_json python3 -m json.tool "$mnt/locks/waits.json"
check rm_of_a_region_in_use_is_refused sh -c '! rm "$1" 2>/dev/null' - "$mnt/regions/lock"
check size_of_waits_is_exact sh -c '[ "$(stat -c %s "$1")" = "$(wc -c <"$1")" ]' - \
	"$mnt/locks/waits"
go a
check flock_ends finished a
check then_lock_get_has_it said b got
check flock_is_refused_by_lock_get is_locked
begin a flock "$mnt/files/f" echo got
check flock_waits_for_lock_get until_is nwaiting 1
go b
check lock_get_ends finished b
check then_flock_has_it finished a
check it_said_so said a got

begin a flock -o -s "$mnt/files/f" head -n 1
check a_shared_flock_holds until_is nlocks 1
check others_may_share flock -n -s "$mnt/files/f" true
check and_nobody_may_write is_locked
eval "kill -9 \$pid_a"
go a
finished a
check a_killed_holders_lock_is_gone flock "$mnt/files/f" true

# Nobody wants what it had, and nobody looks into the table.
begin b "$client" "$home" get "$home/f"
check a_lock_get_holds said b got
eval "kill -9 \$pid_b"
finished b
check what_a_dead_process_held_is_not_shown_for_long until_is nlocks 0
same nothing_is_shown_in_the_table 1 "$(wc -l <"$mnt/locks/table")"

# More waiters than the daemon has workers; it serves all the time.
begin a "$client" "$mnt/files/f" flocks 30
check many_flocks_wait until_is nwaiting 30
check the_mount_serves_meanwhile sh -c 'cat "$1/files/g" && echo x >"$1/files/h" && ls "$1/stat"' \
	- "$mnt"
go a
check all_of_them_get_it finished a
check nothing_is_left until_is nlocks 0

check a_wait_is_interrupted "$client" "$mnt/files/f" alarm
check nothing_is_left_of_it until_is nlocks 0

# A signal comes when the lock has been granted and the daemon has not seen it: it stands still.
begin b "$client" "$home" get "$home/f"
check lock_get_has_it_first said b got
begin a "$client" "$mnt/files/f" late
check flock_waits_for_it until_is nwaiting 1
daemon=$(daemon_pid)
kill -STOP "$daemon"
check the_daemon_stands_still within_a_minute state_is "$daemon" T
go b
check it_is_put_meanwhile finished b
eval "late=\$pid_a"
kill -USR1 "$late"
check the_signal_has_come within_a_minute state_is "$late" D
kill -CONT "$daemon"
check a_grant_is_not_undone_by_a_late_signal said a granted
go a
check it_is_unlocked said a unlocked
begin b "$client" "$home" get "$home/f"
check lock_get_has_it_again said b got
go a
check the_next_flock_waits until_is nwaiting 1
go b
check lock_get_puts_it_again finished b
check the_next_flock_is_not_ended_by_that_signal finished a
check it_was_granted_again said a again

begin a "$client" "$mnt/files/f" circle "$mnt/files/g"
check one_half_holds said a holds
begin b "$client" "$home" other "$home/g" "$home/f"
check the_other_half_holds said b holds
go b
check the_other_half_waits until_is nwaiting 1
go a
check closing_the_circle_is_EDEADLK finished a
check it_was_a_deadlock said a deadlock
check the_other_half_goes_on finished b
check it_has_both said b got

begin a "$client" "$mnt/files/f" shared
check two_wait_through_one_description until_is nwaiting 2
go a
check both_get_it finished a

for how in threads forked; do
	begin a "$client" "$mnt/files/g" $how "$mnt/files/f"
	check "what_${how}_have_is_held" said a holds
	begin b "$client" "$home" other "$home/f" "$home/g"
	check "the_other_of_${how}_holds" said b holds
	go b
	check "the_other_of_${how}_waits" until_is nwaiting 1
	go a
	check "no_circle_of_${how}_is_seen" until_is nwaiting 2
	go a
	check "${how}_get_both" finished a
	check "so_does_the_other_of_$how" finished b
done

begin a "$client" "$mnt/files/f" converts
check exclusive_waits_for_another_shared until_is nwaiting 1
same shared_was_given_up_before_that 2 "$(value nlocks)"
go a
check then_it_is_exclusive finished a

check nobody_is_left until_is nlocks 0
same each_wait_is_in_the_histogram "$(value nwaits)" \
	"$(awk '$1 == "lock_wait_count" { print $2 }' "$mnt/stat/latency")"
check rm_removes_the_region rm "$mnt/regions/lock"
check it_is_gone test ! -e "$home/__db_lock.share"
begin a "$client" "$home" fill "$home/g"
check a_table_of_one_lock_is_full said a got
check flock_in_a_full_table_is_ENOLCK "$client" "$mnt/files/f" full
go a
check the_table_is_empty_again finished a
check flock_has_room_then flock "$mnt/files/f" true
check rm_removes_the_small_one rm "$mnt/regions/lock"
check flock_makes_a_new_one flock "$mnt/files/f" true
check dirs_can_be_locked flock "$mnt/files" true
check and_are_free_again until_is nlocks 0

begin a "$client" "$mnt/files/f" flocks 1
check one_waits_for_the_holder until_is nwaiting 1
check the_table_is_found_damaged "$client" "$home" panic
check the_wait_ends said a 'lock_client: .*'
finished a
check with_EIO grep -q 'Input/output error' "$work/a.out"
check_fails flock_in_a_damaged_table_is_EIO 'Input/output error' flock -n "$mnt/files/g" true

check it_unmounts "$POOLFS" -u "$mnt"
finish
