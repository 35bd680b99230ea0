#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What a reader may rely on in every source file: a licence line, at most 100 columns with tabs of
# 8, no blanks at line ends, no marks of unfinished work, and (tests apart) at most 600 lines.

cd "${TEST_SRC:?}/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
sources=$(find core fs src tests run .ci/run meson.build -type f \( -name '*.[ch]' -o \
	-name '*.def' -o -name '*.sh' -o -name '*.py' -o -name meson.build -o -name run \) | sort)
n=0
failed=0

# offenders NAME: the lines in $work/found are offences.
offenders()
{
	n=$((n + 1))
	if [ -s "$work/found" ]; then
		sed 's/^/# /' "$work/found"
		echo "not ok $n - $1"
		failed=1
	else
		echo "ok $n - $1"
	fi
}

echo 1..5
# shellcheck disable=SC2086 # names without blanks
{
	for f in $sources; do
		head -n 2 "$f" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' || echo "$f"
	done >"$work/found"
	offenders has_a_licence_line

	for f in $sources; do
		expand "$f" | awk -v f="$f" 'length > 100 { print f ":" NR ": " length " columns" }'
	done >"$work/found"
	offenders fits_in_100_columns

	grep -nE '[[:blank:]]+$' $sources >"$work/found"
	offenders has_no_blanks_at_line_ends

	# In pieces, so that this file has none of them.
	grep -nwE 'TO''DO|FIX''ME|X''XX' $sources >"$work/found"
	offenders has_no_unfinished_marks

	wc -l $sources | awk '$2 !~ /^(total|tests)/ && $1 > 600 { print $2 ": " $1 " lines" }' \
		>"$work/found"
	offenders is_no_longer_than_600_lines
}
exit "$failed"
