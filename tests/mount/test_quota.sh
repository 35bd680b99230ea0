#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Quotas of HOME: what goes beyond is refused by the write(2) that wanted it, on filesystems where
# space is reserved beforehand (one that is made to refuse) and on one where writes go through to
# the disk (btrfs, with a quota of its own).

. "$TEST_SRC/mount/lib.sh"

preload=$TEST_BIN/libfull_quota.so
[ -r "$preload" ] || exit 99

export QUOTA_BYTES=1000000 QUOTA_ERRNO="$work/errno"
LD_PRELOAD=$preload mount_pool --cache-size=256K
mkdir "$mnt/files/d"
lines_of quota.py "$mnt/files/d" "$home/d"
# Who has CAP_SYS_RESOURCE is not held to a quota: no thread of the daemon may.
check no_request_is_above_quotas timeout 60 python3 - "$(daemon_pid)" <<'EOP'
import glob, sys
found = glob.glob("/proc/%s/task/*/status" % sys.argv[1])
caps = [int(open(f).read().split("CapEff:")[1].split()[0], 16) for f in found]
sys.exit(not caps or any(c >> 24 & 1 for c in caps))
EOP
unmount_pool
remove_pool

# --- a real one -----------------------------------------------------------------------------

disk=$work/mnt-disk # lib.sh unmounts what begins so
home=$disk/home
mkdir "$disk"
truncate -s 200M "$work/disk"
if ! mkfs.btrfs -q "$work/disk" >"$work/out" 2>&1 ||
    ! mount -o loop "$work/disk" "$disk" 2>/dev/null ||
    ! btrfs quota enable "$disk" 2>/dev/null ||
    ! btrfs subvolume create "$home" >"$work/out" 2>&1 ||
    ! btrfs qgroup limit 20M "$home" 2>/dev/null; then
	skip a_quota_of_btrfs "no loop device, or no btrfs"
	finish
fi

# fill FILE: until write(2) fails; prints how, and how much was written.
fill()
{
	timeout 120 python3 - "$1" <<-'EOP'
		import errno, os, sys
		fd, n = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644), 0
		try:
		    while n < 1 << 27:
		        n += os.write(fd, b"0123456789abcdef" * 16384)
		except OSError as e:
		    os.fsync(fd)
		    print(errno.errorcode[e.errno], os.fstat(fd).st_size == n, n > 1 << 22)
	EOP
}

mount_pool --cache-size=4M 2>"$work/out"
same a_quota_is_told_at_the_write "EDQUOT True True" "$(fill "$mnt/files/f")"
same what_was_accepted_is_in_home "$(sha256sum <"$mnt/files/f")" "$(sha256sum <"$home/f")"
check and_is_exact timeout 60 python3 -c 'import sys
data = open(sys.argv[1], "rb").read()
sys.exit(data != b"0123456789abcdef" * (len(data) // 16))' "$home/f"
unmount_pool
umount "$disk"
finish
