#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Each call of the daemon fails once; see faults.py.

. "$TEST_SRC/mount/lib.sh"
chmod 755 "$work"

: "${FAULTS_STRIDE:=149}"
export FAULTS_STRIDE
if [ "$FAULTS_STRIDE" -gt 1 ]; then
	# shellcheck disable=SC2086 # words
	lines_of faults.py "$home" "$mnt" "$work/orders" ${FAULTS_KINDS:-}
	finish
else
	# shellcheck disable=SC2086
	python3 "$TEST_SRC/mount/faults.py" "$home" "$mnt" "$work/orders" ${FAULTS_KINDS:-}
fi
