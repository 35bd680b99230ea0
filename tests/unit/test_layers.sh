#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# src -> fs -> core: a layer includes only what lies below it.  Core knows no FUSE and no fs, fs
# knows no argv (nothing of src), published headers include only each other and the system's, and
# system calls of memory belong to core/base and core/region.

root=${TEST_SRC:?}/..
n=0
failed=0

# rule NAME PATTERN DIRECTORY...: no source in the directories has a line that matches.
rule()
{
	name=$1
	pattern=$2
	shift 2
	n=$((n + 1))
	found=$(cd "$root" && grep -rnE --include='*.[ch]' --include='*.def' -e "$pattern" "$@")
	if [ -z "$found" ]; then
		echo "ok $n - $name"
	else
		echo "$found" | sed 's/^/# /'
		echo "not ok $n - $name"
		failed=1
	fi
}

inc='^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]'

# unlisted LIST PLACE PATTERN...: files of PLACE that LIST names neither whole nor without suffix.
unlisted()
{
	list=$1/meson.build
	place=$2
	shift 2
	(cd "$place" && find . -name "$1" ${2:+-o -name "$2"}) | while read -r f; do
		f=${f#./}
		grep -qF -e "'$f'" -e "'${f%.*}'" "$list" || echo "$place/$f is not in $list"
	done
}

every_source_is_built()
{
	n=$((n + 1))
	left=$(cd "$root" || exit 1
		unlisted core core '*.c'
		unlisted fs fs '*.c'
		unlisted src src '*.c' '*.[1-8]'
		unlisted tests tests/unit '*.c' 'test_*.sh'
		unlisted tests tests/proc '*.c' 'test_*.sh'
		unlisted tests/mount tests/mount '*.c' 'test_*.sh'
		unlisted tests/bench tests/bench '*.c')
	if [ -z "$left" ]; then
		echo "ok $n - every_source_is_built"
	else
		echo "$left" | sed 's/^/# /'
		echo "not ok $n - every_source_is_built"
		failed=1
	fi
}

echo 1..7
rule core_knows_no_fuse "$inc(fuse|linux/fuse)" core
rule core_knows_no_fs "$inc([^\">]*/)?(fs|src)/" core
rule fs_knows_no_src "$inc([^\">]*/)?src/" fs
rule fs_knows_no_argv '\bargv\b|<getopt\.h>' fs
rule published_headers_stand_alone "$inc\\.\\./|${inc}(base|region|pool)/" core/include
rule only_base_and_region_map_memory '\b(mmap|munmap|shmget|shmat|shm_open)[[:space:]]*\(' core/pool
every_source_is_built
exit "$failed"
