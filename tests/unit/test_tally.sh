#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# tally.py counts what meson's logs say, and nothing that fails is lost on the way.

tally=${TEST_SRC:?}/tally.py
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0
failed=0

# log RESULT STATUS TEXT: a log of one executable that printed TEXT.
log()
{
	printf '{"name": "x", "result": "%s", "returncode": %d, "stdout": "%s"}\n' "$1" "$2" "$3" \
		>"$work/log"
}

# counts NAME STATUS LAST-LINE RESULT...: what tally.py makes of them.
counts()
{
	name=$1
	status=$2
	want=$3
	shift 3
	n=$((n + 1))
	"$tally" "$@" >"$work/out" 2>&1
	got=$?
	if [ "$got" = "$status" ] && [ "$(tail -n 1 "$work/out")" = "$want" ]; then
		echo "ok $n - $name"
	else
		sed 's/^/# /' "$work/out"
		echo "not ok $n - $name"
		failed=1
	fi
}

echo 1..11
log OK 0 '1..2\nok 1 - a\nok 2 - b\n'
counts lines_count_one_by_one 0 '2 passed, 0 failed' "v=$work/log"
counts logs_are_added 0 '4 passed, 0 failed' "v=$work/log" "w=$work/log"
log OK 0 'no lines\n'
counts a_program_without_lines_counts_once 0 '1 passed, 0 failed' "v=$work/log"
log FAIL 1 '1..2\nok 1 - a\nnot ok 2 - b\n'
counts a_failed_line_is_a_failure 1 '1 passed, 1 failed' "v=$work/log"
log FAIL 134 '1..2\nok 1 - a\nok 2 - b\n'
counts a_crash_after_the_last_line_is_a_failure 1 '2 passed, 1 failed' "v=$work/log"
log OK 0 '1..3\nok 1 - a\nok 2 - b\n'
counts lines_that_are_missing_are_a_failure 1 '2 passed, 1 failed' "v=$work/log"
log TIMEOUT -15 ''
counts a_timeout_is_a_failure 1 '0 passed, 1 failed' "v=$work/log"
log OK 0 '1..2\nok 1 - a\nnot ok 2 # SKIP b\n# skipped: b: because\n'
counts a_skipped_line_is_no_failure 0 '1 passed, 0 failed, 1 skipped' "v=$work/log"
log SKIP 77 'there is no /dev/fuse\n'
counts a_skipped_program_alone_is_no_success 1 '0 passed, 0 failed, 1 skipped' "v=$work/log"
counts results_without_a_log_count 1 '1 passed, 1 failed, 1 skipped' pass:a 'fail:b c' skip:d
counts nothing_at_all_is_no_success 1 '0 passed, 0 failed'
exit "$failed"
