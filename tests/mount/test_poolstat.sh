#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# poolstat: on a mount, on a home without one, on a region whose daemon is dead, and on one that
# is panicked; in lines, in sentences, in JSON, and in a real terminal.

. "$TEST_SRC/mount/lib.sh"
: "${POOLSTAT:?the program poolstat}"

one()
{
	"$POOLSTAT" --raw --noheadings "$@"
}

mount_pool --cache-size=4M --memory=file --dirty-expire=86400
head -c 409600 /dev/urandom >"$home/data"
cat "$mnt/files/data" "$mnt/files/data" >/dev/null

# --- on a mount -----------------------------------------------------------------------------

check says_what_it_can "$POOLSTAT" --help
check and_which_it_is "$POOLSTAT" --version
same columns_are_the_keys_of_stat_pool "$(awk '{ print $1 }' "$mnt/stat/pool" | sort)" \
	"$("$POOLSTAT" --columns | awk '$1 != "time" && $1 != "dirty_percent" { print $1 }' | sort)"
same shows_what_stat_pool_says "$(stat_of page_in) $(stat_of page_clean) $(stat_of hit_percent)" \
	"$(one -o page_in,page_clean,hit_percent "$mnt")"
same short_names_are_understood "$(one -o cache_hit,cache_miss,page_dirty "$mnt")" \
	"$(one -o hit,miss,dirty "$mnt")"
same a_header_and_a_line 2 "$("$POOLSTAT" "$mnt" | wc -l)"
same header_names_the_columns "page_in pins" "$("$POOLSTAT" -r -o page_in,pins "$mnt" | head -n 1)"
same large_numbers_are_short 4.0M "$("$POOLSTAT" --noheadings -o cachesize "$mnt" | tr -d ' ')"
same or_exact 4194304 "$("$POOLSTAT" --noheadings -b -o cachesize "$mnt" | tr -d ' ')"
same json_is_json "$(stat_of page_in)" "$("$POOLSTAT" -J "$mnt" | python3 -c '
import json, sys
print(json.load(sys.stdin)["page_in"])')"

# Every line of three seconds, and their header once; the rates are those of the interval.
"$POOLSTAT" -r -o fget,page_in "$mnt" 0.2 3 >"$work/lines"
same as_many_lines_as_asked "fget page_in/0 0/0 0/0 0" "$(paste -sd/ "$work/lines")"
python3 - "$POOLSTAT" "$mnt" >"$work/rates" <<'EOP'
import json, os, subprocess, sys
p = subprocess.Popen([sys.argv[1], "-J", "-o", "fget,hit_percent", sys.argv[2], "0.3"],
                     stdout=subprocess.PIPE, text=True)
first = json.loads(p.stdout.readline())
while True:
    with open(sys.argv[2] + "/files/data", "rb") as f:
        f.read()
    line = json.loads(p.stdout.readline())
    if line["fget"] > 0:
        break
p.terminate()
print("rates")
EOP
same work_shows_as_a_rate rates "$(cat "$work/rates")"

check_fails unknown_columns_are_refused 'no column nosuch' "$POOLSTAT" -o nosuch "$mnt"
check_fails intervals_are_numbers 'interval' "$POOLSTAT" "$mnt" x
check_fails one_thing_at_a_time 'only one' "$POOLSTAT" --top --report "$mnt"
check_fails a_place_is_needed 'which' "$POOLSTAT"
check_fails one_that_has_a_pool 'neither' "$POOLSTAT" "$work"
check_fails or_exists 'No such file' "$POOLSTAT" "$work/nosuch"

# --- report, wait, diff ---------------------------------------------------------------------

"$POOLSTAT" --report "$mnt" >"$work/report"
check report_is_in_sentences grep -q "^The pool of $home.$" "$work/report"
check with_the_size grep -q '^It holds 4.0MB of pages at most; 100 pages are there' "$work/report"
cp "$mnt/stat/pool" "$work/before"
"$TEST_BIN/pool_client" "$home" >/dev/null 2>&1 <<EOF
open data
put 0 dirty
put 4096 dirty
EOF
same diff_tells_what_changed "0 2 +2" "$("$POOLSTAT" --diff "$work/before" "$mnt" |
	awk '$1 == "page_dirty" { print $2, $3, $4 }')"
check wait_returns_when_it_holds timeout 60 "$POOLSTAT" --wait 'page_dirty=2' "$mnt"
check in_per_cent_too timeout 60 "$POOLSTAT" --wait 'dirty<50%' "$mnt"
check_fails wait_gives_up 'did not come true' \
	"$POOLSTAT" --wait 'dirty>=50%' --timeout=1 "$mnt" 0.1
check_fails conditions_are_conditions 'not a condition' "$POOLSTAT" --wait 'dirty~3' "$mnt"
timeout 60 "$POOLSTAT" --wait 'page_dirty=0' "$mnt" 0.1 &
waiting=$!
echo sync >"$mnt/ctl"
wait "$waiting"
ok wait_sees_the_change $?

# --- a terminal -----------------------------------------------------------------------------

term()
{
	tmux -S "$work/tmux" "$@"
}

# screen_until TEXT: until it is on the screen.
screen_until()
{
	timeout 60 sh -c 'until tmux -S "$1" capture-pane -p -t top 2>/dev/null | grep -q "$2"; do
		:; done' sh "$work/tmux" "$1"
}

gone()
{
	timeout 60 sh -c 'while tmux -S "$1" has-session -t top 2>/dev/null; do :; done' \
		sh "$work/tmux"
}

# top PLACE: its screen, until q.
top()
{
	term -f /dev/null new-session -d -s top -x 100 -y 30 "'$POOLSTAT' --top '$1' 0.2"
}

# top_ends: q is pressed, and the screen is gone.
top_ends()
{
	term send-keys -t top q
	gone
	term kill-server 2>/dev/null || :
}

top "$mnt"
check top_shows_the_pool screen_until "poolstat - $home"
check and_its_files screen_until "  $home/data"
check and_what_keys_do screen_until 'q quit'
cat "$mnt/files/data" "$mnt/files/data" >/dev/null
term send-keys -t top r
check sorting_goes_on screen_until "  $home/data"
term resize-window -t top -x 60 -y 10 2>/dev/null || :
check smaller_screens_do screen_until 'q quit'
check q_ends_it top_ends
check_fails top_needs_a_terminal 'terminal' "$POOLSTAT" --top "$mnt"

# --- without a mount ------------------------------------------------------------------------

in_mount=$(one -o page_in,page_out,cache_hit,page_clean,clients,files "$mnt")
same a_home_says_what_its_mount_does "$in_mount" \
	"$(one -o page_in,page_out,cache_hit,page_clean,clients,files "$home")"
same so_does_the_regions_file "$in_mount" \
	"$(one -o page_in,page_out,cache_hit,page_clean,clients,files "$home/__db_mpool.share")"
top "$home"
check top_of_a_home_shows_its_pool screen_until "poolstat - $home"
top_ends
same env_lists_the_regions "__db_mpool.share 1 file -" \
	"$("$POOLSTAT" --env "$home" | awk 'NR == 2 { print $1, $4, $6, $NF }')"
check regions_in_use_stay sh -c '! "$1" --remove "$2"' sh "$POOLSTAT" "$home"

pid=$(daemon_pid)
kill -9 "$pid"
# The mount is seen to be dead when the kernel has closed what the daemon had open.
timeout 60 sh -c 'while cat "$1/stat/pool" >/dev/null 2>&1; do :; done' sh "$mnt"
one -o page_clean,clients "$mnt" >"$work/dead" 2>"$work/errors"
same a_dead_mount_shows_its_region "100 0" "$(cat "$work/dead")"
check and_says_so grep -q 'does not answer' "$work/errors"
check report_of_a_deserted_region sh -c '"$1" --report "$2" | grep -q "No process is attached"' \
	sh "$POOLSTAT" "$home"
top "$mnt"
check top_of_a_dead_mount_shows_its_region screen_until "pages *100 .*clients 0"
top_ends
umount -l "$mnt"

python3 - "$home/__db_mpool.share" <<'EOP'
import struct, sys
# RLAYOUT: panic, panic_pid, panic_why.
with open(sys.argv[1], "r+b") as f:
    for offset, value in ((36, struct.pack("=i", 1)), (156, struct.pack("=i", 4711)),
                          (200, b"on purpose\0")):
        f.seek(offset)
        f.write(value)
EOP
one -o page_clean "$home" >"$work/panicked" 2>"$work/errors"
same a_panicked_region_can_be_seen "100" "$(cat "$work/panicked")"
same and_why 'poolstat: the region is panicked: on purpose (process 4711)' "$(cat "$work/errors")"
top "$home"
check top_of_a_panicked_region_says_so screen_until "PANICKED"
top_ends
check report_of_a_panicked_region sh -c '"$1" --report "$2" | grep -q "PANICKED: on purpose"' \
	sh "$POOLSTAT" "$home"
same env_tells_why "on purpose" \
	"$("$POOLSTAT" --env "$home" | awk 'NR == 2 { print $(NF - 1), $NF }')"
check remove_by_force "$POOLSTAT" --remove "$home" --force
check removes test ! -e "$home/__db_mpool.share"
head -c 65536 /dev/urandom >"$home/__db_mpool.share"
check_fails garbage_is_not_a_pool 'not a pool' "$POOLSTAT" "$home"
finish
