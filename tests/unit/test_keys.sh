#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Keys are an interface: those of golden/keys are in stat.def, in that order, and what is new comes
# behind them (in a table before its last column, which is free text).

golden=${TEST_SRC:?}/golden/keys
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# "PART key" of each line
sed -n 's/^STAT_\([A-Z_]*\)(\([a-z0-9_]*\),.*/\1 \2/p' "$TEST_SRC/../fs/stat.def" >"$work/now"

echo 1..1
status=0
if awk 'NR == FNR { wanted[$1, ++n[$1]] = $2; parts[$1]; next }
	{ got[$1, ++m[$1]] = $2 }
	END {
		for (p in parts)
			for (i = 1; i <= n[p]; i++) {
				if (got[p, i] == wanted[p, i])
					continue
				if (i == n[p] && got[p, m[p]] == wanted[p, i])
					continue # the last column
				print "# " p ": " wanted[p, i] " is not number " i " any more"
				bad = 1
			}
		exit bad
	}' "$golden" "$work/now"; then
	echo "ok 1 - keys_stay_where_they_are"
else
	echo "not ok 1 - keys_stay_where_they_are"
	status=1
fi
exit "$status"
