#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The published headers compile by themselves, alone and together, as C99 with strict warnings and
# as C++, in either order.  The arguments are the C compiler's command.

root=${TEST_SRC:?}/..
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0
failed=0

# try NAME COMPILER... FILE
try()
{
	name=$1
	shift
	n=$((n + 1))
	if "$@" -I"$root/core/include" -c -o "$work/out.o" >"$work/log" 2>&1; then
		echo "ok $n - $name"
	else
		sed 's/^/# /' "$work/log"
		echo "not ok $n - $name"
		failed=1
	fi
}

echo '#include <poolfs/env.h>' >"$work/env.c"
echo '#include <poolfs/mpool.h>' >"$work/mpool.c"
echo '#include <poolfs/lock.h>' >"$work/lock.c"
echo '#include <poolfs/region.h>' >"$work/region.c"
printf '#include <poolfs/%s.h>\n' lock region mpool env >"$work/both.c"
cat >"$work/use.c" <<'EOF'
#include <poolfs/mpool.h>
int use(DB_MPOOL **mpp);
int
use(DB_MPOOL **mpp)
{
	static DB_ENV env;
	env.db_errpfx = "use";
	return (memp_open("dir", DB_CREATE | DB_THREAD, 0, &env, mpp));
}
EOF

strict='-D_DEFAULT_SOURCE -Wall -Wextra -Wpedantic -Wundef -Wstrict-prototypes -Werror'
echo 1..10
for f in env mpool lock region both use; do
	# shellcheck disable=SC2086 # a list of words
	try "${f}_as_c99" "$@" -std=c99 $strict "$work/$f.c"
done
for f in both use; do
	if command -v c++ >/dev/null 2>&1; then
		try "${f}_as_cxx" c++ -x c++ -std=c++11 -Wall -Wextra -Werror "$work/$f.c"
	else
		n=$((n + 1))
		echo "ok $n - ${f}_as_cxx # SKIP no C++ compiler"
	fi
done

# all_in_manual NAME: what is on standard input is missing there.
all_in_manual()
{
	n=$((n + 1))
	missing=$(cat)
	if [ -z "$missing" ]; then
		echo "ok $n - $1"
	else
		echo "$missing" | sed 's/^/# not in libpoolfs(3): /'
		echo "not ok $n - $1"
		failed=1
	fi
}

# constants_and_fields FILE: those that a header publishes; none that are only mentioned.
constants_and_fields()
{
	sed 's|/\*.*||; /^ \*/d; /^\t \*/d' "$1" | sed -nE '
		s/^#define (DB_[A-Z_]+) .*/\1/p
		s/^\t[a-zA-Z_].*\(\*([a-z_]+)\)\(.*/\1/p
		s/^\t[a-zA-Z_][a-z0-9A-Z_ ]*[ *]([a-z_]+);.*/\1/p'
}

# Each published call has its place in the manual, each flag and each field is explained.
cd "$root/core/include/poolfs" || exit 1
cat env.h mpool.h region.h |
	sed -n 's/^POOLFS_API .*[ *]\([a-z]*_[a-z_]*\)(.*/\1/p' | while read -r call; do
	sed '/^\.Sh DESCRIPTION/q' "$root/core/libpoolfs.3" |
		grep -qE "^\.F[no] $call( |\$)" || echo "$call"
done >"$work/missing"
all_in_manual every_call_is_in_the_manual <"$work/missing"
for header in env.h mpool.h; do
	constants_and_fields "$header"
done | sort -u >"$work/names"
# data, size, file and offset are DBT's and DB_LSN's
grep -vxE 'data|size|file|offset' "$work/names" | while read -r name; do
	sed '1,/^\.Sh DESCRIPTION/d' "$root/core/libpoolfs.3" | grep -qE "(^| )$name( |\$)" ||
		echo "$name"
done >"$work/missing"
[ "$(wc -l <"$work/names")" -gt 80 ] || echo "the list of names" >>"$work/missing"
all_in_manual every_flag_and_field_is_in_the_manual <"$work/missing"
exit "$failed"
