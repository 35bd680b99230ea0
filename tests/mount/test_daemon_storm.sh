#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The daemon is killed and stopped under load, round after round; see daemon_storm.py.

. "$TEST_SRC/mount/lib.sh"

lines_of daemon_storm.py "$home" "$mnt" "${DAEMON_STORM_ROUNDS:-6}" "${DAEMON_STORM_SEED:-1}"
finish
