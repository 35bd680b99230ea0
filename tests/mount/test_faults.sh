#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Each call of the daemon fails once; see faults.py.  Here one of FAULTS_STRIDE does; ./run faults
# takes all of them, of FAULTS_KINDS, with MOUNT_CACHE.

. "$TEST_SRC/mount/lib.sh"
chmod 755 "$work"

: "${FAULTS_STRIDE:=149}"
export FAULTS_STRIDE
if [ "$FAULTS_STRIDE" -gt 1 ]; then
	# shellcheck disable=SC2086 # words
	lines_of faults.py "$home" "$mnt" "$work/orders" ${FAULTS_KINDS:-}
	export MOUNT_CACHE=keep FAULTS_STRIDE=1
	check notices_to_the_kernel_that_fail_are_given_again \
		python3 "$TEST_SRC/mount/faults.py" "$home" "$mnt" "$work/orders" NOTICE
	finish
else
	# shellcheck disable=SC2086
	python3 "$TEST_SRC/mount/faults.py" "$home" "$mnt" "$work/orders" ${FAULTS_KINDS:-}
fi
