#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The warm list: what was in the pool is read again, by a command or when the mount starts.

. "$TEST_SRC/mount/lib.sh"

list=$work/warm

# pages FILE: the numbers of its resident pages
pages()
{
	awk '!/^#/ { printf "%s%s", sep, $1; sep = " " }' "$mnt/pages/$1"
}

mkdir "$home/sub"
head -c 819200 /dev/urandom >"$home/data"
head -c 40960 /dev/urandom >"$home/sub/b \"c\""
head -c 409600 /dev/urandom >"$work/outside"
mount_pool --cache-size=4M
cat "$mnt/files/data" "$mnt/files/sub/b \"c\"" >/dev/null
echo 'evict data 20 99' >"$mnt/ctl"
check save sh -c 'echo "save $1" >"$2"' sh "$list" "$mnt/ctl"
same is_text_and_runs '# poolfs warm list: FILE FIRST-LAST [PAGESIZE]
data 0-19
data 100-199
"sub/b \"c\"" 0-9' "$(cat "$list")"
same is_the_daemons_alone 600 "$(stat -c %a "$list")"
had="$(pages data)/$(pages 'sub/b "c"')"

printf 'evict data\nevict "sub/b \\"c\\""\n' >"$mnt/ctl"
same everything_has_gone "" "$(ls -A "$mnt/pages")"
check load sh -c 'echo "load $1" >"$2"' sh "$list" "$mnt/ctl"
same brings_the_same_pages_back "$had" "$(pages data)/$(pages 'sub/b "c"')"

cat >"$list" <<EOF
# hand-made

nosuch 0-9
../outside 0-9
__db_mpool.share 0-9
sub 0-1
data 0-4000000000
EOF
echo 'evict data' >"$mnt/ctl"
check what_is_not_there_is_passed_over sh -c 'echo "load $1" >"$2"' sh "$list" "$mnt/ctl"
same and_the_rest_is_read 200 "$(pages data | wc -w)"
printf 'data 0-1\ndata x\n' >"$list"
check other_files_are_refused fails_with EINVAL "load $list"
same with_the_line "warm list: $list: line 2 is not FILE FIRST-LAST" \
	"$(sed -n 's/^last_error  *//p' "$mnt/stat/daemon" | sed 's/ *$//')"
check there_must_be_a_list fails_with ENOENT "load $work/nosuch"
check its_path_is_absolute fails_with EINVAL 'load list'
check so_is_that_to_save_to fails_with EINVAL 'save list'
check which_can_be_written_to fails_with ENOENT "save $work/nosuch/list"

# --- a restart ------------------------------------------------------------------------------

unmount_pool
remove_pool
rm -f "$list"
mount_pool --cache-size=4M --warm="$list" -o warm_on_exit
same the_first_start_is_cold 0 "$(stat_of page_clean)"
cat "$mnt/files/data" >/dev/null
unmount_pool
check the_end_writes_the_list grep -q '^data 0-199$' "$list"
remove_pool
mount_pool --cache-size=4M -o "warm=$list"
check the_next_start_is_warm timeout 60 sh -c 'until [ "$(awk "/^page_clean/ { print \$2 }" \
	"$1/stat/pool")" = 200 ]; do :; done' sh "$mnt"
cat "$mnt/files/data" | cmp - "$home/data"
ok with_the_same_bytes $?
same without_a_miss 0 "$(stat_of cache_miss)"
rm "$mnt/regions/mpool"
unmount_pool
check_fails warm_on_exit_needs_a_list 'warm' "$POOLFS" -o warm_on_exit "$home" "$mnt"
finish
