#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# README.md, followed by somebody who has nothing but a copy of the sources: its commands are run,
# its program is compiled as it is printed, and its sessions print what they show.  The compiler
# does not optimise, so that it takes seconds.

. "$TEST_SRC/mount/lib.sh"

source=$work/source
readme=$source/README.md

# part KIND: blocks of README.md, see readme.py
part()
{
	python3 "$TEST_SRC/mount/readme.py" "$readme" "$1" "$work"
}

# The commands of README.md that begin with that word, in its order.
commands()
{
	part commands | grep "^$1"
}

mkdir "$source"
(cd "$TEST_SRC/.." && tar cf - meson.build run README.md LICENSE .ci core fs src tests) |
	tar xf - -C "$source"
same its_blocks_are_known './run mount
meson setup build && ninja -C build && ninja -C build install' "$(part commands)"

# --- install --------------------------------------------------------------------------------

install_it()
{
	(cd "$source" && CFLAGS='-O0 -g0' DESTDIR=$work/root timeout 600 sh -ec "$(commands meson)")
}

check the_commands_of_its_installation_work install_it
PATH=$work/root/usr/local/bin:$PATH
pc=$(find "$work/root" -name poolfs.pc)
lib=$(find "$work/root" -name libpoolfs.so)
PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$work/root LD_LIBRARY_PATH=${lib%/*}
export PATH PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH

# --- the sessions ---------------------------------------------------------------------------

mkdir "$work/books"
{
	printf 'THE GENERAL PUBLIC\n\n'
	yes 'LICENSE, and so on' | head -c 14000
} >"$work/books/gpl.txt"
sqlite3 "$work/books/words.db" "create table w (id integer primary key, word text);
	with recursive n (i) as (values (1) union all select i + 1 from n where i < 100000)
	insert into w select i, 'word' || i from n"
check its_session_goes_as_shown part session1
part program >"$work/first.c"
cd "$work" || exit 1
check its_mount_command_mounts_again sh -c "$(sed -n 's/^    \$ \(poolfs --.*\)/\1/p' "$readme")"
check its_program_does_what_is_shown part session2
check and_unmounts_again sh -c "$(sed -n 's/^    \$ \(poolfs -u.*\)/\1/p' "$readme")"

# --- ./run mount ----------------------------------------------------------------------------

# It finds everything built already.
mnt=$work/poolfs-home.mnt
ln -s "${BUILD:?}" "$source/build/default"
run_mount()
{
	(cd "$source" && TMPDIR=$work sh -ec "$(commands ./run)") >"$work/session"
}

check run_mounts_an_example run_mount
# What it says can be tried, and works: lines that begin with two blanks.
sed -n 's/^  //p' "$work/session" >"$work/commands"
same and_names_commands 9 "$(wc -l <"$work/commands")"
check that_can_be_run sh -e "$work/commands"
check the_last_unmounts sh -c '! mountpoint -q "$1"' sh "$mnt"
check run_mounts_it_again run_mount
pid=$(daemon_pid)
kill -9 "$pid"
gone "$pid"
check_fails a_dead_mount_in_the_way_is_named 'dead mount.*poolfs -u' \
	env TMPDIR="$work" "$source/run" mount
check that_is_ended "$POOLFS" -u "$mnt"

# A directory of one's own: what is said can be tried there too.
mkdir "$work/own" "$work/own.mnt"
check run_mounts_ones_own_directory sh -c '"$1/run" mount "$2" "$2.mnt" >"$3"' sh \
	"$source" "$work/own" "$work/session"
sed -n 's/^  //p' "$work/session" >"$work/commands"
same names_commands_for_that 7 "$(wc -l <"$work/commands")"
check and_they_can_be_run sh -e "$work/commands"
finish
