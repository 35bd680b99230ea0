#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The template unit in a systemd of its own: a user's instance, in namespaces where it sees nothing
# of the machine's.

manager=/lib/systemd/systemd
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MANAGER:-}" ]; then
	export OWN_MANAGER=yes
	exec unshare --pid --mount --fork --mount-proc --kill-child sh "$0" "$@"
fi
. "$TEST_SRC/mount/lib.sh"
: "${BUILD:?the build directory}"

if [ ! -x "$manager" ]; then
	skip unit_is_verified "systemd is not installed"
	finish
fi

# The unit as it is installed, but for the program's place.
units=$work/config/systemd/user
mkdir -p "$units" "$work/run"
sed "/^Exec/s,/[^ ]*/poolfs ,$POOLFS ," "$BUILD/src/poolfs@.service" \
	>"$units/poolfs@.service"
same unit_names_the_program 3 "$(grep -c "^Exec.*$POOLFS " "$units/poolfs@.service")"
check unit_is_verified systemd-analyze verify --man=no "$units/poolfs@.service"

# It believes itself booted by systemd if this directory is there.
mount -t tmpfs none /run && mkdir -p /run/systemd/system
mount -t tmpfs none /etc/default
export XDG_RUNTIME_DIR="$work/run" XDG_CONFIG_HOME="$work/config" HOME="$work"
"$manager" --user --unit=basic.target >"$work/manager" 2>&1 &
manager_pid=$!
timeout 60 sh -c 'until [ -S "$1/systemd/private" ]; do kill -0 "$2" || exit 1; done' sh \
	"$work/run" "$manager_pid" 2>/dev/null
if [ ! -S "$work/run/systemd/private" ]; then
	sed 's/^/# /' "$work/manager"
	skip the_unit_runs "no instance of systemd can be started here"
	finish
fi

ctl()
{
	timeout 120 systemctl --user "$@"
}

property()
{
	ctl show --value -p "$1" "$unit"
}

mnt=$home.pool
name=$(systemd-escape --path "$home")
unit=poolfs@$name.service
echo 'POOLFS_OPTIONS=--cache-size=2M --dirty-expire=86400' >/etc/default/poolfs
echo old >"$home/file"
check start_returns ctl start "$unit"
check when_the_mount_is_there is_mounted "$mnt"
same its_main_process_is_the_daemon "$(daemon_pid)" "$(property MainPID)"
same options_come_from_etc_default 2097152 "$(stat_of cachesize)"
same of_all_mounts 86400000000 "$(awk '$1 == "dirty_expire_usec" { print $2 }' "$mnt/stat/daemon")"
echo new | dd of="$mnt/files/file" conv=notrunc status=none
check stop_returns ctl stop "$unit"
same when_home_is_complete new "$(cat "$home/file")"
check and_the_mount_is_gone sh -c '! mountpoint -q "$1"' sh "$mnt"
same with_success success "$(property Result)"

# The name has a backslash, for the dash in the path.
echo 'POOLFS_OPTIONS=--dirty-expire=4711' >"/etc/default/poolfs-$(echo "$name" | tr -d '\\')"
ctl start "$unit"
same or_of_one 4711000000 "$(awk '$1 == "dirty_expire_usec" { print $2 }' "$mnt/stat/daemon")"
echo newer >"$mnt/files/file"
old_pid=$(property MainPID)
check killing_the_daemon kill -9 "$old_pid"
check brings_another timeout 60 sh -c 'until new=$(systemctl --user show --value -p MainPID "$1") &&
	[ "$new" != "$2" ] && [ "$new" != 0 ] && grep -q "^pid *$new\$" "$3/stat/daemon"; do :; done
	2>/dev/null' sh "$unit" "$old_pid" "$mnt"
same and_loses_nothing newer "$(cat "$mnt/files/file")"
same not_in_home_either newer "$(cat "$home/file")"
ctl stop "$unit"
check stops_again sh -c '! mountpoint -q "$1"' sh "$mnt"
kill "$manager_pid"
wait "$manager_pid" 2>/dev/null
finish
