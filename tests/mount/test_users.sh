#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Who asks: users.py on a mount for everybody, served by a daemon that root runs; three users at
# random on it and on a bare directory; and a mount that is not for everybody.

. "$TEST_SRC/mount/lib.sh"

chmod 755 "$work" "$home"
mount_pool --cache-size=4M -o allow_other
mkdir "$mnt/files/d" "$work/bare"
lines_of users.py "$mnt/files/d" "$home/d"
for seed in 1 2 3 4; do
	mkdir "$mnt/files/$seed" "$work/bare/$seed"
	check "three_users_seed_$seed" env USERS=yes python3 "$TEST_SRC/mount/differential.py" \
		"$mnt/files/$seed" "$work/bare/$seed" "$seed" "${OPERATIONS:-1500}"
done
unmount_pool

mount_pool --cache-size=1M
check_fails without_allow_other_it_is_the_mounters_alone 'permission denied' \
	setpriv --reuid=1000 --regid=1001 --clear-groups ls "$mnt"
unmount_pool
finish
