#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# run.sh [full] - explore frame.pml and truncate.pml (the pool) and idle.pml (the lock table) with
# spin, in TAP.
#
# A scenario is explored whole and must hold; how many states it has, and in how many seconds they
# were seen, is said.  A defect is planted, by leaving out one guard of the protocol, and must be
# found: else the model would not notice if the code lacked it.  Not planted, since nothing that is
# explored here shows them: BUG_STEAL_BLIND, BUG_LOADER_BLIND, BUG_CUTS_BLIND, BUG_REAP_SLOT_FIRST
# and BUG_WRITE_TWICE.
# Without "full" the smallest scenarios and a few defects; with it the larger ones too, up to
# MODEL_SECONDS (600) each, and every defect.  A scenario that is not through by then is said so.
# What is too large to be explored whole is looked into with MODEL_SEEDS (2) seeds, for a minute
# each, by hashes: that covers some of it, and proves nothing.

set -u
models=$(cd "$(dirname "$0")" && pwd)
seconds=${MODEL_SECONDS:-600}
seeds=${MODEL_SEEDS:-2}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
n=0
failed=0

# explore DEFINITIONS PAN'S-DEFINITIONS PAN'S-OPTIONS: 0 no error, 1 an error was found, 2 not
# through, 3 neither could be tried.  Not optimised: compiling would take longer than running.
explore()
{
	rm -rf "$work/run"
	mkdir "$work/run"
	cd "$work/run" || return 3
	# shellcheck disable=SC2086 # words
	spin -a $1 "$model" >log 2>&1 &&
	    cc -O0 -w -DSAFETY $2 -DVECTORSZ=2048 -DMEMLIM=8000 -o pan pan.c >>log 2>&1 || {
		sed 's/^/# /' log
		return 3
	}
	# shellcheck disable=SC2086
	timeout "$seconds" ./pan -m1000000 $ends $3 >log 2>&1
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

say_states()
{
	echo "# $(awk '/states, stored/ { print $1; exit }' log) states, $(awk \
		'/^pan: elapsed time/ { print $4; exit }' log) s"
}

holds()
{
	explore "$2" -DCOLLAPSE ''
	case $? in
	0)
		tap ok "$1"
		say_states
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
	explore "-D$1 $2" -DCOLLAPSE ''
	if [ $? -eq 1 ]; then
		tap ok "$1_is_found"
		say_states
	else
		tap "not ok" "$1_is_found"
	fi
}

# Depth first, by two bits for each state, the order of steps by a seed.
looks_into()
{
	seed=0
	while [ "$seed" -lt "$seeds" ]; do
		seed=$((seed + 1))
		explore "$2" '-DBITSTATE -DP_RAND -DT_RAND' "-w30 -RS$seed -Q1"
		if [ $? -eq 1 ] || ! grep -q 'states, stored' log; then
			tap "not ok" "$1_with_seed_$seed"
			grep -h 'pan:1' log | sed 's/^/# /'
		else
			tap ok "$1_with_seed_$seed"
			say_states
		fi
	done
}

model=$models/frame.pml
ends=-E # it says itself when nobody can go on
first='-DOPS=1 -DKILLS=1 -DLATE_REAPER'
quiet='-DOPS=1 -DKILLS=0'
steps=$quiet' -DSTEALS -DFAILURES'
two='-DOPS=2 -DLATE_REAPER'
pin_and_evict='-DNO_WRITE -DNO_FSYNC -DNO_SET -DNO_CLEAN'
put_and_write='-DNO_EVICT -DNO_FSYNC -DNO_OTHER -DNO_CLEAN'
put_and_fsync='-DNO_EVICT -DNO_WRITE -DNO_OTHER -DNO_CLEAN -DNO_SET'

holds one_step_each_and_a_death "$first"
finds BUG_CLEAR_EARLY "$first"
finds BUG_FREE_FIRST "$first"
finds BUG_FAILED_IS_CLEAN "$steps"
if [ "${1:-}" = full ]; then
	holds one_step_each_a_death_and_a_reaper_beside '-DOPS=1 -DKILLS=1'
	holds failures_and_loads_that_are_taken_over "$steps"
	holds a_store_buffer_before_the_slot "$steps -DSTORE_BUFFER"
	holds a_store_buffer_that_who_scans_empties "$steps -DSTORE_BUFFER -DMEMBARRIER"
	holds the_same_with_a_death "$first -DSTORE_BUFFER -DMEMBARRIER"
	holds one_step_each_and_two_deaths '-DOPS=1 -DKILLS=2 -DLATE_REAPER'
	holds puts_against_evictions_twice_each "$two -DKILLS=0 $pin_and_evict"
	holds puts_against_writes_twice_each "$two -DKILLS=0 $put_and_write"
	holds puts_against_fsyncs_twice_each_and_a_death "$two -DKILLS=1 $put_and_fsync"
	looks_into two_steps_each_and_a_death '-DOPS=2 -DKILLS=1 -DSTEALS -DFAILURES'
	for defect in CLAIM_BLIND EVICT_WRITING FSYNC_NO_WAIT NO_LOOK PINNED_CLEAN \
	    PIN_PROPOSAL REAP_KEEP REAP_WITHDRAW_BLIND REAP_WRITE_CLEAN SCAN_FIRST \
	    WRITE_BLIND; do
		finds "BUG_$defect" "$first"
	done
	finds BUG_REAP_NOT_SUSPECT '-DOPS=1 -DKILLS=1'
	finds BUG_REAP_ONCE '-DOPS=1 -DKILLS=1'
	finds BUG_KEY_FIRST '-DOPS=2 -DKILLS=0'
	finds BUG_NO_FENCE "$quiet -DSTORE_BUFFER"
	finds BUG_NO_BARRIER "$quiet -DSTORE_BUFFER -DMEMBARRIER"
fi

model=$models/truncate.pml
holds a_file_is_cut -DKILLS=0
finds BUG_NOTED_LATE -DKILLS=0
if [ "${1:-}" = full ]; then
	holds a_file_is_cut_and_a_death '-DKILLS=1'
	holds a_file_is_cut_or_its_disk_refuses '-DKILLS=1 -DFAILURES'
	holds a_file_is_cut_and_two_deaths '-DKILLS=2'
	for defect in BEHIND_STAYS FINISH_NOT GROW_BLIND NOT_BEHIND NOT_ZEROED NO_WAIT \
	    WRITER_BLIND WRITE_BEHIND; do
		finds "BUG_$defect" '-DKILLS=1'
	done
fi

model=$models/idle.pml
ends=
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
