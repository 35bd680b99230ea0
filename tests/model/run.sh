#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# run.sh [full] - explore frame.pml (the pool) and idle.pml (the lock table) with spin, in TAP.
#
# A scenario is explored whole and must hold.  A defect is planted, by leaving out one guard of
# the protocol, and must be found: else the model would not notice if the code lacked it.
# BUG_STEAL_BLIND is not planted: with two frames nothing shows it.
# Without "full" the smallest scenario and a few defects; with it the larger ones, up to
# MODEL_SECONDS (400) each, and every defect.  A scenario that is not through by then is said so.

set -u
models=$(cd "$(dirname "$0")" && pwd)
model=$models/frame.pml
optimise=${MODEL_OPTIMISE:-0}
seconds=${MODEL_SECONDS:-400}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
n=0
failed=0

# explore DEFINITIONS: 0 no error, 1 an error was found, 2 not through, 3 neither could be tried.
explore()
{
	rm -rf "$work/run"
	mkdir "$work/run"
	cd "$work/run" || return 3
	# shellcheck disable=SC2086 # words
	spin -a $1 "$model" >log 2>&1 &&
	    cc -O$optimise -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=8000 \
		-o pan pan.c >>log 2>&1 || {
		sed 's/^/# /' log
		return 3
	}
	timeout "$seconds" ./pan -m1000000 >log 2>&1
	[ $? -ne 124 ] || return 2
	grep -q 'errors: 0' log && ! grep -q 'max search depth\|out of memory' log && return 0
	grep -q 'errors: [1-9]' log && return 1
	sed 's/^/# /' log
	return 2
}

tap()
{
	n=$((n + 1))
	[ "$1" = ok ] || failed=1
	echo "$1 $n - $2"
}

holds()
{
	explore "$2"
	case $? in
	0)
		tap ok "$1"
		grep -h 'states, stored' log | sed 's/^ */# /'
		;;
	1)
		tap "not ok" "$1"
		grep -h 'pan:1' log | sed 's/^/# /'
		;;
	2) tap ok "$1 # SKIP not through in $seconds s; nothing was found" ;;
	*) tap "not ok" "$1" ;;
	esac
}

finds()
{
	explore "-D$1 $2"
	[ $? -eq 1 ] && tap ok "$1_is_found" || tap "not ok" "$1_is_found"
}

first='-DOPS=1 -DKILLS=1 -DLATE_REAPER'
small='-DOPS=1 -DKILLS=1'
quiet='-DOPS=1 -DKILLS=0'
steps=$quiet' -DSTEALS -DFAILURES'

holds one_step_each_and_a_death "$first"
finds BUG_CLEAR_EARLY "$first"
finds BUG_FREE_FIRST "$first"
finds BUG_FAILED_IS_CLEAN "$steps"
if [ "${1:-}" = full ]; then
	holds one_step_each_a_death_and_a_reaper_beside "$small"
	holds failures_and_loads_that_are_taken_over "$steps"
	holds a_store_buffer_before_the_slot "$steps -DSTORE_BUFFER"
	holds a_store_buffer_that_who_scans_empties "$steps -DSTORE_BUFFER -DMEMBARRIER"
	holds the_same_with_a_death "$first -DSTORE_BUFFER -DMEMBARRIER"
	holds one_step_each_and_two_deaths '-DOPS=1 -DKILLS=2'
	holds two_steps_each '-DOPS=2 -DKILLS=0'
	holds two_steps_each_and_a_death '-DOPS=2 -DKILLS=1'
	for defect in CLAIM_BLIND EVICT_WRITING FSYNC_NO_WAIT NO_LOOK PINNED_CLEAN \
	    PIN_PROPOSAL REAP_KEEP REAP_ONCE REAP_SLOT_FIRST REAP_WITHDRAW_BLIND \
	    REAP_WRITE_CLEAN SCAN_FIRST WRITE_BLIND WRITE_TWICE; do
		finds "BUG_$defect" "$small"
	done
	finds BUG_KEY_FIRST '-DOPS=2 -DKILLS=0'
	finds BUG_NO_FENCE "$quiet -DSTORE_BUFFER"
	finds BUG_NO_BARRIER "$quiet -DSTORE_BUFFER -DMEMBARRIER"
fi

model=$models/idle.pml
optimise=0 # compiling it would take longer than running it
holds locks_are_got_and_put_and_a_death '-DOPS=1 -DKILLS=1'
finds BUG_REVOKE_BLIND '-DOPS=2'
if [ "${1:-}" = full ]; then
	holds locks_are_got_and_put_twice_each '-DOPS=2'
	holds locks_with_a_matrix_of_one_side '-DOPS=2 -DONE_SIDED'
	for defect in FIRM_BLIND IDLE_FIRM IDLE_LEFT NO_FIRM NO_GO_ON NO_WAY PUT_UNLOCKED \
	    QUEUE_FIRST RETAKE_BLIND RETAKE_FIRM REVOKE_LINKED; do
		finds "BUG_$defect" '-DOPS=2'
	done
	finds BUG_WAY_ONE_SIDED '-DOPS=2 -DONE_SIDED'
	for defect in NO_REPAIR REPAIR_NO_GO_ON REPAIR_NO_IDLE WORD_FIRST; do
		finds "BUG_$defect" '-DOPS=1 -DKILLS=1'
	done
fi
echo "1..$n"
exit $failed
