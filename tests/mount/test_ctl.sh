#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# ctl: what each command does, how it fails, and what stat/daemon, stat/events and stat/check say
# about it.

. "$TEST_SRC/mount/lib.sh"

# What the kernel has cached is not read from the pool, and keeps a pool there.
unset MOUNT_CACHE

tell()
{
	printf '%s\n' "$*" >"$mnt/ctl"
}

# value FILE KEY
value()
{
	awk -v key="$2" '$1 == key { $1 = ""; print substr($0, 2) }' "$mnt/stat/$1" |
	    sed 's/ *$//'
}

resident()
{
	awk -v f="$home/$1" '$NF == f { print $3 }' "$mnt/stat/files"
}

mount_pool --cache-size=4M --dirty-expire=86400
head -c 409600 /dev/urandom >"$home/data"
head -c 40960 /dev/urandom >"$home/a name"
head -c 4096 /dev/urandom >"$home/one"
mkdir "$home/sub"

same ctl_is_its_owners_alone '600 root' "$(stat -c '%a %U' "$mnt/ctl")"
same help_has_its_size "$(stat -c %s "$mnt/ctl")" "$(wc -c <"$mnt/ctl")"
for verb in sync trickle evict grow shrink unlink reap check reset trace; do
	grep -q "^$verb .*# " "$mnt/ctl" || echo "$verb"
done >"$work/missing"
same help_names_every_verb "" "$(cat "$work/missing")"

# --- sync -----------------------------------------------------------------------------------

# Where space cannot be reserved the mount writes through; what a client puts stays in the pool.
start_client

at()
{
	dd if="$1" bs=1 skip="$2" count=3 status=none
}

ask open one
ask put 0 1st
ask open data
ask put 0 2nd
same what_a_client_puts_is_dirty 2 "$(stat_of page_dirty)"
check sync_of_a_file tell sync one
same writes_it "1st 1" "$(at "$home/one" 0) $(stat_of page_dirty)"
check sync_of_everything tell sync
same writes_the_rest "2nd 0" "$(at "$home/data" 0) $(stat_of page_dirty)"
check sync_fails_without_the_file fails_with ENOENT 'sync nosuch'
check and_for_a_directory fails_with EISDIR 'sync sub'
check truncation_before_a_command_is_ignored sh -c 'echo sync >"$1"; : >"$1"' sh "$mnt/ctl"
check also_as_a_call truncate -s 0 "$mnt/ctl"

# --- evict ----------------------------------------------------------------------------------

cat "$mnt/files/data" "$mnt/files/a name" >/dev/null
same read_pages_are_resident 100 "$(resident data)"
check evict_of_a_range tell evict data 10 19
same makes_them_go 90 "$(resident data)"
check evict_of_one_page tell evict data 20
same makes_it_go 89 "$(resident data)"
ask put 122880 new
check evict_of_a_dirty_file tell evict "$mnt/files/data"
same writes_and_drops_it "0 new" \
	"$(resident data) $(at "$home/data" 122880)"
check names_may_be_quoted tell 'evict "a name"  # and commented'
same as_this_one 0 "$(awk '/a name$/ { print $3 }' "$mnt/stat/files")"
check evict_needs_a_range_that_is_one fails_with EINVAL 'evict data 9 3'
check and_numbers fails_with EINVAL 'evict data x'
check and_a_file_below_home fails_with ENOENT 'evict ../home/nosuch'

ask pin 3
check pinned_pages_stay fails_with EBUSY 'evict data'
same the_sentence_says_so 'ctl: evict: data: 0 pages went, 1 are pinned, 0 could not be written' \
	"$(value daemon last_error)"

# --- unlink, reap ---------------------------------------------------------------------------

check unlink_of_a_region_in_use fails_with EBUSY 'unlink mpool'
check unlink_of_none fails_with ENOENT 'unlink nosuch'
kill -9 "$client"
wait "$client" 2>/dev/null
exec 5>&- 4<&-
check reap_takes_over tell reap
same what_the_killed_left 0 "$(stat_of pins)"
printf 'garbage' >"$home/__db_old.share"
check unlink_of_another tell unlink __db_old.share
check is_done test ! -e "$home/__db_old.share"
echo kept >"$mnt/files/kept"
check unlink_with_force tell unlink mpool force
same writes_what_it_can "kept" "$(cat "$home/kept")"
same and_the_mount_goes_on "kept" "$(cat "$mnt/files/kept")"

# --- check, reset, trickle, trace -----------------------------------------------------------

same never_checked_yet 0 "$(value check checks)"
check check_walks tell check
same and_finds_nothing "0 0 1 -" "$(value check check_result) $(value check check_faults) \
$(value check checks) $(value check check_first)"
cat "$mnt/files/data" >/dev/null
check reset_sets_counters_back tell reset
same to_0 "0 0" "$(stat_of page_in) $(stat_of cache_miss)"
check but_not_what_is_there test "$(stat_of page_clean)" -ge 100
check since_tells_when test "$(stat_of since_usec)" -gt \
	"$(awk '$1 == "created_usec" { print $2 }' "$mnt/regions/mpool.layout")"
check trickle tell trickle 100%
same leaves_nothing_dirty 0 "$(stat_of page_dirty)"
check trickle_wants_percent fails_with EINVAL 'trickle 101%'
check not_nothing fails_with EINVAL 'trickle 0'
check trace_takes_words tell trace regions
check the_known_ones fails_with EINVAL 'trace nosuch'
check and_can_be_turned_off tell trace off

# --- errors ---------------------------------------------------------------------------------

check unknown_commands_are_refused fails_with EINVAL 'nosuch word'
same with_a_sentence 'ctl: nosuch: no such command; reading ctl lists them' \
	"$(value daemon last_error)"
check too_few_words_are_refused fails_with EINVAL 'evict'
same with_the_usage 'ctl: evict: usage: evict FILE [FIRST [LAST]]' "$(value daemon last_error)"
check open_quotes_are_refused fails_with EINVAL 'evict "data'
check too_many_words_are_refused fails_with EINVAL 'trace off off off off off off off off off'
check a_shell_sees_it sh -c '! echo nosuch 2>/dev/null >"$1"' sh "$mnt/ctl"
check several_lines_are_several_commands tell 'sync
# nothing

check'
same all_of_them 2 "$(value check checks)"
check up_to_the_first_that_fails fails_with EINVAL 'check
nosuch
check'
same and_no_further 3 "$(value check checks)"
same events_have_it_all 'ctl: nosuch: no such command; reading ctl lists them' \
	"$(awk 'END { $1 = $2 = $3 = ""; print substr($0, 4) }' "$mnt/stat/events")"
check an_events_time_is_that_of_the_last test \
	"$(stat -c %Y "$mnt/stat/events")" = "$(($(value daemon last_event_usec) / 1000000))"

cat >"$work/poll.py" <<'EOP'
import os, select, subprocess, sys
mnt = sys.argv[1]
fd = os.open(mnt + "/stat/events", os.O_RDONLY)
p = select.poll()
p.register(fd, select.POLLIN)
assert p.poll(0) == [], "there is nothing new right after open"
child = subprocess.Popen(["sh", "-c", "read go; echo nosuch >%s/ctl" % mnt],
                         stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
assert p.poll(0) == []
child.stdin.write(b"go\n")
child.stdin.close()
assert p.poll(60000) == [(fd, select.POLLIN)], "an event wakes who polls"
child.wait()
assert p.poll(0) == [(fd, select.POLLIN)], "until it was read"
assert b"nosuch" in os.pread(fd, 1 << 20, 0).splitlines()[-1]
assert p.poll(0) == [], "then it waits for the next"
for other in ("stat/pool", "files/data", "ctl"):
    f = os.open(mnt + "/" + other, os.O_RDONLY)
    q = select.poll()
    q.register(f, select.POLLIN)
    assert q.poll(0) == [(f, select.POLLIN)], other
    os.close(f)
EOP
check events_can_be_polled python3 "$work/poll.py" "$mnt"

# --- latency --------------------------------------------------------------------------------

cat "$mnt/files/data" >"$work/copy"
printf 'again' | dd of="$mnt/files/data" conv=notrunc status=none
tell sync
cat >"$work/latency.py" <<'EOP'
import sys
v = {l[:30].strip(): l[31:].strip() for l in open(sys.argv[1])}
for name in ("read", "write", "request_read", "request_write"):
    n = int(v[name + "_count"])
    limits = [int(v[k]) for k in v if k.startswith(name + "_le_")]
    assert n > 0 and len(limits) == 23, (name, n, len(limits))
    assert limits == sorted(limits) and limits[-1] <= n, (name, limits)
    assert int(v[name + "_p50_usec"]) <= int(v[name + "_p99_usec"]) <= int(v[name + "_max_usec"])
EOP
check latency_is_a_histogram python3 "$work/latency.py" "$mnt/stat/latency"
# The first page of each read request, if it was there: of a file of one page, the second time on.
echo text >"$home/small"
cat "$mnt/files/small" >/dev/null
hits=$(awk '$1 == "hit_count" { print $2 }' "$mnt/stat/latency")
for i in 1 2 3 4 5; do cat "$mnt/files/small"; done >/dev/null
same hits_are_sampled_by_request 5 \
	"$(awk -v n="$hits" '$1 == "hit_count" { print $2 - n }' "$mnt/stat/latency")"
check in_nanoseconds test 0 -lt "$(awk '$1 == "hit_sum_nsec" { print $2 }' "$mnt/stat/latency")"
same lines_are_52_bytes "" "$(awk 'length != 51' "$mnt/stat/latency")"
unmount_pool
finish
