#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A line of fstab: type fuse.poolfs, options by name, mount(8) and umount(8), by root and, with the
# option user, by somebody else.  In a mount namespace, where /etc/fstab and the program's place are
# the test's own.

if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS:-}" ]; then
	export OWN_MOUNTS=yes
	exec unshare --mount sh "$0" "$@"
fi
. "$TEST_SRC/mount/lib.sh"

# Installed, the type is fuse.poolfs; mount.fuse takes the rest of it as the program's path too.
printf '%s %s fuse.%s %s 0 0\n' "$home" "$mnt" "$POOLFS" \
	'cache_size=1M,page_size=8K,memory=file,dirty-expire=5,noauto,user,x-systemd.automount' \
	>"$work/fstab"
echo text >"$home/file"

check mount_takes_the_line timeout 60 mount -T "$work/fstab" "$mnt"
same it_serves text "$(cat "$mnt/files/file")"
same with_its_options "1048576 8192" \
	"$(stat_of cachesize) $(awk '/\/file$/ { print $1 }' "$mnt/stat/files")"
same and_words_of_mount "fuse.poolfs nosuid,nodev,noexec" \
	"$(findmnt -n -o FSTYPE,OPTIONS "$mnt" | awk '{ split($2, o, ",");
	    for (i in o) has[o[i]] = 1;
	    print $1, (has["nosuid"] ? "nosuid," : "") (has["nodev"] ? "nodev," : "") \
		(has["noexec"] ? "noexec" : "") }')"
echo more >>"$mnt/files/file"
pid=$(daemon_pid)
check umount_takes_it_away umount "$mnt"
timeout 60 sh -c 'while kill -0 "$1" 2>/dev/null; do :; done' sh "$pid"
same and_it_is_written "text more" "$(tr '\n' ' ' <"$home/file" | sed 's/ $//')"

printf '%s %s fuse.%s nosuch_option 0 0\n' "$home" "$mnt" "$POOLFS" >"$work/fstab"
check unknown_options_are_refused sh -c '! timeout 60 mount -T "$1" "$2" 2>/dev/null' \
	sh "$work/fstab" "$mnt"
check with_a_sentence sh -c 'mount -T "$1" "$2" 2>&1 | grep -q "unknown option -o nosuch_option"' \
	sh "$work/fstab" "$mnt"

# --- the option user ------------------------------------------------------------------------

# The type is fuse.PROGRAM; of another name than an installed one.

# as_nobody COMMAND
as_nobody()
{
	timeout 60 su -s /bin/sh nobody -c "$1"
}

home=$work/users
mnt=$work/mnt_of_user
mkdir "$home" "$mnt"
chown nobody "$home" "$mnt"
chmod 755 "$work"
printf '%s %s fuse.mypoolfs noauto,user,cache_size=1M 0 0\n' "$home" "$mnt" >"$work/fstab"
if ! { mknod -m 666 "$work/fuse" c 10 229 && mount --bind "$work/fuse" /dev/fuse &&
	mount --bind "$work/fstab" /etc/fstab && mount -t tmpfs none /usr/local/bin &&
	cp "$POOLFS" /usr/local/bin/mypoolfs; } 2>"$work/said"; then
	sed 's/^/# /' "$work/said"
	skip a_user_mounts_by_its_place "there can be no other /etc/fstab here"
	finish
fi
check noauto_is_left_alone mount -a -t fuse.mypoolfs
check so_nothing_is_mounted sh -c '! mountpoint -q "$1"' sh "$mnt"
check a_user_mounts_by_its_place as_nobody "mount '$mnt'"
same as_fuse_poolfs "fuse.poolfs" "$(findmnt -n -o FSTYPE "$mnt")"
check and_writes as_nobody "echo text >'$mnt/files/file'"
check and_unmounts as_nobody "umount '$mnt'"
check then_it_is_gone sh -c '! mountpoint -q "$1"' sh "$mnt"
check what_he_wrote_is_there timeout 60 sh -c 'until grep -qs text "$1/file"; do :; done' sh "$home"
chmod 600 "$work/fuse"
check_fails who_may_not_open_fuse_is_told_what_helps 'chmod 666 /dev/fuse' \
	su -s /bin/sh nobody -c "/usr/local/bin/mypoolfs '$home' '$mnt'"
umount /etc/fstab /dev/fuse /usr/local/bin
finish
