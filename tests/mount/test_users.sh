#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Who asks: users.py on a mount for everybody, served by a daemon that root runs; three users at
# random on it and on a bare directory; and a mount that is not for everybody.

. "$TEST_SRC/mount/lib.sh"

chmod 755 "$work" "$home"
mount_pool --cache-size=4M -o allow_other
mkdir "$mnt/files/d" "$work/bare"
chmod 755 "$work/bare"
lines_of users.py "$mnt/files/d" "$home/d"
for seed in 1 2 3 4; do
	mkdir "$mnt/files/$seed" "$work/bare/$seed"
	check "three_users_seed_$seed" env USERS=yes python3 "$TEST_SRC/mount/differential.py" \
		"$mnt/files/$seed" "$work/bare/$seed" "$seed" "${OPERATIONS:-1500}"
done

# --- who is not root, and has some of root's capabilities -----------------------------------

# able CAPABILITY COMMAND...: as another user, who has it.
able()
{
	cap=$1
	shift
	setpriv --reuid=1000 --regid=1001 --clear-groups --inh-caps="+$cap" --ambient-caps="+$cap" \
		"$@" 2>&1
}

# The same in both directories: what comes of it, and what it leaves.
with_capabilities()
(
	mkdir "$1/able" && cd "$1/able" || exit
	echo secret >secret
	chmod 600 secret
	mkdir -m 700 closed
	echo inside >closed/file
	able dac_override sh -c 'cat secret closed/file && echo more >>secret'
	able dac_read_search sh -c 'cat secret closed/file; echo more >>secret'
	able chown sh -c 'chown 1000:7 secret; cat secret'
	able fowner chmod 640 closed
	able mknod mknod node c 1 3
	chmod 777 .
	able mknod mknod node c 1 3
	able net_raw cat closed/file
	echo program >program
	for cap in fsetid net_raw; do
		for how in 'echo more >>program' 'truncate -s 100 program' \
			'fallocate -l 200 program'; do
			for mode in 0:6777 0:6666 1001:2676; do
				chgrp "${mode%:*}" program
				chmod "${mode#*:}" program
				able "$cap" sh -c "$how"
				stat -c "$cap, $how, $mode: %a" program
			done
		done
	done
	echo "in a namespace of his own:"
	able net_raw unshare -Ur sh -c 'cat closed/file; chown 0 closed'
	stat -c '%n %F %a %u %g %s' ./*
)
same capabilities_count_as_in_home "$(with_capabilities "$work/bare")" \
	"$(with_capabilities "$mnt/files")"
unmount_pool

mount_pool --cache-size=1M
check_fails without_allow_other_it_is_the_mounters_alone 'permission denied' \
	setpriv --reuid=1000 --regid=1001 --clear-groups ls "$mnt"
unmount_pool
finish
