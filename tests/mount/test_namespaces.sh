#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Users and containers: who may see which regions, clients with the same process number, and what
# a command line may say about memory.

. "$TEST_SRC/mount/lib.sh"

[ -x "${TEST_BIN:?the directory of pool_client}/pool_client" ] || exit 99

# --- the command line -----------------------------------------------------------------------

for size in 0 x 1.5M 10Q -1 '' 20479 99999999999999999999; do
	check_fails "cache_size_$size" 'size|at least 20K' \
		"$POOLFS" --cache-size="$size" "$home" "$mnt"
done
check_fails cache_size_of_more_than_the_machine 'at most this machine' \
	"$POOLFS" --cache-size=4096T "$home" "$mnt"
for mode in 0 8 rw 01777 0400 0060; do
	check_fails "mode_$mode" 'mode: octal' "$POOLFS" --mode="$mode" "$home" "$mnt"
done
check_fails memory_in_a_list 'memory: system, file or private' \
	"$POOLFS" -o noatime,memory=disk "$home" "$mnt"
mount_pool -o rw,nosuid,user,nofail,_netdev,x-systemd.automount \
	-o cache-size=1MiB,mode=0640,memory=file
same words_of_fstab_are_understood "1048576 640 file" "$(stat_of cachesize) $(
	stat -c %a "$home/__db_mpool.share") $(sed -n 's/^memory *//p' "$mnt/regions/mpool.layout" |
	sed 's/ *$//')"
rm "$mnt/regions/mpool"
unmount_pool

# --- two users ------------------------------------------------------------------------------

cat >"$work/as_user" <<'EOP'
#!/bin/sh
user=$1
shift
exec setpriv --reuid="$user" --regid="$user" --groups=4321 "$@"
EOP
chmod 755 "$work/as_user"

# may USER FILE: can he read it?
may()
{
	"$work/as_user" "$1" head -c 1 "$2" >/dev/null 2>&1 && echo yes || echo no
}

chmod 755 "$work"
for mode in 0600 0640 0644; do
	mount_pool -o allow_other --mode="$mode" --cache-size=1M
	chgrp 4321 "$home/__db_mpool.share"
	case $mode in
	0600) wanted="no no no no yes" ;;
	*) wanted="yes yes yes yes yes" ;;
	esac
	got=
	for file in regions/mpool regions/mpool.layout regions/mpool.clients stat/panic \
	    stat/pool; do
		got="$got$(may 1234 "$mnt/$file") "
	done
	same "who_is_in_the_group_sees_the_region_as_its_mode_says_$mode" "$wanted " "$got"
	check_fails "and_does_not_write_it_$mode" 'denied|not permitted' \
		"$work/as_user" 1234 sh -c 'echo x >"$0"' "$mnt/regions/mpool"
	check_fails "nor_remove_it_$mode" "denied|not permitted" \
		"$work/as_user" 1234 rm -f "$mnt/regions/mpool"
	check_fails "nor_command_the_daemon_$mode" 'denied' \
		"$work/as_user" 1234 sh -c 'echo sync >"$0"' "$mnt/ctl"
	rm "$mnt/regions/mpool"
	unmount_pool
done

# --- the same process number twice ----------------------------------------------------------

# Two processes of two PID namespaces that are number 2 both, and one of them is killed.
mount_pool --memory=file --cache-size=1M
echo first >"$mnt/files/f"
mkfifo "$work/in1" "$work/in2"
for i in 1 2; do
	unshare --pid --fork --kill-child sh -c 'true; "$0" "$1"; true' \
		"$TEST_BIN/pool_client" "$home" <"$work/in$i" >"$work/out$i" 2>&1 &
	eval "shell$i=$!"
done
exec 5>"$work/in1" 6>"$work/in2"
# answered N LINES: so many commands.
answered()
{
	python3 - "$work/out$1" "$2" <<-'EOP'
		import sys, time
		end = time.monotonic() + 60
		while time.monotonic() < end:
		    if open(sys.argv[1]).read().count("\n") >= int(sys.argv[2]):
		        sys.exit(0)
		    time.sleep(0.01)
		sys.exit(1)
	EOP
}
printf 'open f\npin 0\n' >&5
printf 'open f\npin 0\n' >&6
check one_client_has_a_pin answered 1 2
check and_the_other_too answered 2 2
clients()
{
	awk -v name=pool_client '$NF == name { n[$4]++; pids[$2] = 1; pins += $6 }
	END { for (p in pids) k++; print n["live"] + 0, n["dead"] + 0, k, pins }' \
		"$mnt/regions/mpool.clients"
}
same two_live_clients_have_one_number "2 0 1 2" "$(clients)"
kill -9 "$shell1"
gone "$shell1"
# The kernel has taken its lock when it was gone; its child is killed with it.
only_one_lives()
{
	for i in $(seq 6000); do
		echo reap >"$mnt/ctl"
		[ "$(clients)" = "1 0 1 1" ] && return
		sleep 0.01
	done
	return 1
}
check the_death_of_one_is_seen only_one_lives
printf 'unpin\nput 0 other\n' >&6
check the_other_goes_on answered 2 4
same and_is_heard other "$(head -c 5 "$mnt/files/f")"
exec 5>&- 6>&-
wait "$shell2"
unmount_pool
finish
