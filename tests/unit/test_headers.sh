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
echo 1..9
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

# Each published call has its place in the manual.
n=$((n + 1))
missing=$(cd "$root/core/include/poolfs" && cat env.h mpool.h region.h |
	sed -n 's/^POOLFS_API .*[ *]\([a-z]*_[a-z_]*\)(.*/\1/p' | while read -r call; do
	sed '/^\.Sh DESCRIPTION/q' "$root/core/libpoolfs.3" |
		grep -qE "^\.F[no] $call( |\$)" || echo "$call"
done)
if [ -z "$missing" ]; then
	echo "ok $n - every_call_is_in_the_manual"
else
	echo "$missing" | sed 's/^/# not in libpoolfs(3): /'
	echo "not ok $n - every_call_is_in_the_manual"
	failed=1
fi
exit "$failed"
