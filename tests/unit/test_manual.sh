#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Nothing that can be typed or read lacks its explanation: every option of --help is in the manual
# and in the completions of three shells, every number of stat.def and every command of ctl in
# poolfs(5).

root=${TEST_SRC:?}/..
manual5=${BUILD:?}/src/poolfs.5
said=$(mktemp) || exit 1
trap 'rm -f "$said"' EXIT

# offenders NAME: what is on standard input is missing.
offenders()
{
	# The last of a pipeline is a shell of its own.
	n=$(($(wc -l <"$said") + 1))
	missing=$(cat)
	if [ -z "$missing" ]; then
		echo "ok $n - $1" | tee -a "$said"
	else
		echo "$missing" | sed 's/^/# missing: /'
		echo "not ok $n - $1" | tee -a "$said"
	fi
}

# long_options PROGRAM: of its help, without dashes.
long_options()
{
	"$1" --help | grep -oE -- '--[a-z]+(-[a-z]+)*' | sed 's/^--//' | sort -u
}

# in_file FILE PATTERN-BEFORE: those words of standard input that FILE does not have behind it.
in_file()
{
	while read -r word; do
		grep -qE -- "$2$word([^a-z]|\$)" "$1" || echo "$word in ${1##*/}"
	done
}

echo 1..6
{
	long_options "${POOLFS:?}" | in_file "$root/src/poolfs.1" 'Fl .*-'
} | offenders poolfs_options_are_in_its_manual
{
	long_options "${POOLSTAT:?}" | in_file "$root/src/poolstat.1" 'Fl .*-'
} | offenders poolstat_options_are_in_its_manual
{
	for program in "$POOLFS" "$POOLSTAT"; do
		long_options "$program" | in_file "$root/src/completions/poolfs.bash" '--'
		long_options "$program" | in_file "$root/src/completions/_poolfs" '--'
		long_options "$program" |
		    in_file "$root/src/completions/${program##*/}.fish" '-l '
	done
} | offenders all_of_them_can_be_completed
{
	sed -n 's/^STAT_[A-Z]*(\([a-z0-9_]*\),.*/\1/p' "$root/fs/stat.def" | sort -u |
	    in_file "$manual5" '^\.It Cm '
} | offenders numbers_are_in_poolfs_5
{
	sed -n '/^static const struct verb verbs/,/^};/s/^	{ "\([a-z]*\)".*/\1/p' \
		"$root/fs/ctl.c" | in_file "$manual5" '^\.It Cm '
} | offenders commands_are_in_poolfs_5
{
	[ "$(grep -c '^\.It Cm' "$manual5")" -gt 100 ] || echo "most of it"
	grep -E '^@|STAT_' "$manual5"
} | offenders poolfs_5_is_complete
! grep -q '^not' "$said"
