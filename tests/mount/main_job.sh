#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The main job on real input: a database, a repository and ordinary files, all taken from this
# machine, used through the mount by the programs that people use, with a pool of a quarter of their
# size, while a second process works on the same pool with the library.  MAIN_JOB_MB sets the size
# of the ordinary files (200).

. "$TEST_SRC/mount/lib.sh"

[ -x "${TEST_BIN:?the directory of pool_client}/pool_client" ] || exit 99
trap '' PIPE
files_mb=${MAIN_JOB_MB:-200}
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t
export GIT_COMMITTER_EMAIL=t@example.org GIT_CONFIG_NOSYSTEM=1 HOME=$work

# --- the input ------------------------------------------------------------------------------

# Names that this machine has: its package lists and its files, 100 000 of them.
make_names()
{
	{
		cat /var/lib/dpkg/info/*.list 2>/dev/null
		find /usr /etc -xdev 2>/dev/null
	} | head -n 100000 >"$work/names"
	i=0
	while [ "$(wc -l <"$work/names")" -lt 100000 ]; do
		i=$((i + 1))
		sed "s|\$|.$i|" "$work/names" >"$work/more"
		cat "$work/more" >>"$work/names"
	done
	head -n 100000 "$work/names" | awk '{ printf "%d\t%s\n", NR, $0 }' >"$work/rows"
}

make_database()
{
	sqlite3 "$home/names.db" <<-EOS
		create table name (id integer primary key, path text, changed integer default 0);
		create temp table row (id, path);
		.mode tabs
		.import '$work/rows' row
		insert into name (id, path) select id, path from row;
		create index by_path on name (path);
	EOS
}

make_repository()
{
	git init -q "$home/repo"
	cd "$home/repo" || return 1
	for part in linux asm-generic rpc net sys fuse3 x86_64-linux-gnu; do
		[ -d "/usr/include/$part" ] || continue
		cp -RL "/usr/include/$part" .
		git add -A && git commit -q -m "add $part" || return 1
	done
	for name in linux/*.h; do
		printf '/* changed */\n' >>"$name"
	done
	git commit -q -a -m 'change them all'
	cd "$work" || return 1
}

# Programs and libraries, until there are enough bytes.
make_files()
{
	mkdir "$home/files"
	find /usr/lib /usr/bin -xdev -type f -size +64k -size -40000k 2>/dev/null | sort |
	    while read -r f; do
		cp "$f" "$home/files/$(echo "$f" | tr / _)" || exit 1
		[ "$(du -sm "$home/files" | cut -f 1)" -lt "$files_mb" ] || break
	done
}

# The names, types, lengths and contents of a tree.
manifest()
{
	(
		cd "$1" || exit 1
		find . -path './__db_*' -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
		find . -path './__db_*' -prune -o -type l -printf '%p %l\n' | sort
		find . -path './__db_*' -prune -o -type f -printf '%p %m %s %T@\n' | sort
	)
}

make_names
check a_database_of_100000_names make_database
check a_repository_with_history make_repository
check ordinary_files make_files
manifest "$home" >"$work/before"
total_kb=$(du -sk "$home" | cut -f 1)
echo "# $((total_kb / 1024)) MB, pool $((total_kb / 4)) KB, $(wc -l <"$work/before") lines"

# --- the second process ---------------------------------------------------------------------

# tell COMMAND: its answer, one line or more, without the "ok".
tell()
{
	echo "$1" >&5
	while read -r answer <&6; do
		case $answer in
		ok) return 0 ;;
		error*) echo "$answer"; return 1 ;;
		*) echo "$answer" ;;
		esac
	done
	echo "the second process is gone"
	return 1
}

# Nothing may be written back for being old: what the other side sees, it sees in the pool.
mount_pool --cache-size=$((total_kb / 4))K --dirty-expire=86400
mkfifo "$work/to" "$work/from"
"$TEST_BIN/pool_client" "$home" <"$work/to" >"$work/from" 2>"$work/client.log" &
client=$!
exec 5>"$work/to" 6<"$work/from"

# --- reading --------------------------------------------------------------------------------

manifest_is()
{
	manifest "$2" >"$work/now" && diff "$1" "$work/now" | head -n 20 >"$work/diff"
	cat "$work/diff"
	[ ! -s "$work/diff" ]
}

check sha256sum_of_everything_is_homes manifest_is "$work/before" "$mnt/files"

# --- the database ---------------------------------------------------------------------------

db()
{
	sqlite3 "$mnt/files/names.db" "$@"
}

same the_database_is_sound ok "$(db 'pragma integrity_check')"
same it_has_its_rows 100000 "$(db 'select count(*) from name')"
same updates_commit "delete 20000" "$(db 'pragma journal_mode = delete' \
	'update name set changed = 1 where id % 5 = 0' \
	'select count(*) from name where changed = 1' | tr '\n' ' ' | sed 's/ $//')"
same roll_back "20000" "$(db 'begin; update name set path = upper(path); rollback;
	select count(*) from name where changed = 1')"
same and_leave_it_sound ok "$(db 'pragma integrity_check')"

# --- the repository -------------------------------------------------------------------------

git_commits()
{
	cd "$mnt/files/repo" || return 1
	date >"a file" && rm -r net && git add -A && git commit -q -m 'through the mount' &&
	    git status --porcelain >"$work/said.status" && [ ! -s "$work/said.status" ] &&
	    git gc -q && git log --oneline | head -n 3
	status=$?
	cd "$work" || return 1
	return "$status"
}

git_is_sound()
{
	git -C "$1/repo" fsck --full --strict 2>&1
}

check git_fsck git_is_sound "$mnt/files"
check git_commit git_commits
check git_fsck_afterwards git_is_sound "$mnt/files"

# --- copies ---------------------------------------------------------------------------------

copy_within()
{
	cp -a "$mnt/files/files" "$mnt/files/copy" && diff -r "$mnt/files/files" "$mnt/files/copy"
}

copy_out()
{
	rm -rf "$work/out" && mkdir "$work/out" &&
	    tar cf - -C "$mnt/files" . | tar xf - -C "$work/out" && diff -r "$mnt/files" "$work/out"
}

rsync_in()
{
	rsync -a "$work/out/repo/" "$mnt/files/rsynced/" &&
	    [ -z "$(rsync -a -c -i --delete "$work/out/repo/" "$mnt/files/rsynced/")" ]
}

check cp_a_within copy_within
check tar_out copy_out
check rsync_c_in rsync_in

# --- both at once ---------------------------------------------------------------------------

# What is in HOME is not what is read here: nothing was synced since.
check the_other_process_opens tell "open names.db"
same it_has_the_mounts_length "$(stat -c %s "$mnt/files/names.db")" "$(tell length)"
tell "copy $work/names.db"
check it_reads_what_the_mount_has_written cmp "$work/names.db" "$mnt/files/names.db"

printf 'written by the mount, page by page' >"$work/text"
dd if=/dev/zero of="$mnt/files/shared" bs=4096 count=100 status=none
# What was written gets to HOME when the last writer closes: one stays.
exec 7<>"$mnt/files/shared"
dd if="$work/text" of="$mnt/files/shared" bs=1 seek=40955 conv=notrunc status=none
tell "open shared" >/dev/null
same it_reads_the_mounts_bytes "$(cat "$work/text")" "$(tell 'get 40955 34')"
tell "put 81915 written by the other process" >/dev/null
same the_mount_reads_what_it_has_put "written by the other process" \
	"$(dd if="$mnt/files/shared" bs=1 skip=81915 count=28 status=none)"
same and_home_has_neither 0 "$(tr -d '\0' <"$home/shared" | wc -c)"
exec 7>&-
tell "extend 500000" >/dev/null
same the_mount_sees_it_grow 503808 "$(stat -c %s "$mnt/files/shared")"
truncate -s 12345 "$mnt/files/shared"
same it_sees_the_mount_truncate 12345 "$(tell length)"
tell "pin 2" >/dev/null
printf 'P' | dd of="$mnt/files/shared" bs=1 seek=8192 conv=notrunc,fsync status=none
same fsync_writes_what_another_has_pinned P \
	"$(dd if="$home/shared" bs=1 skip=8192 count=1 status=none)"
tell "unpin" >/dev/null
check_fails the_pool_stays_while_it_is_used 'busy' rm "$mnt/regions/mpool"

# --- the statistics -------------------------------------------------------------------------

adds_up()
{
	awk '{ v[$1] = $2 }
	END {
		print "fget", v["fget"], "hit", v["cache_hit"], "miss", v["cache_miss"], "in",
		    v["page_in"], "out", v["page_out"], "dirty", v["page_dirty"]
		got = v["cache_hit"] + v["cache_miss"] + v["map"] + v["page_new"]
		now = v["page_in"] + v["page_create"] - v["ro_evict"] - v["rw_evict"]
		bad = got != v["fget"] || now != v["page_clean"] + v["page_dirty"]
		exit bad || v["page_in"] == 0 || v["page_out"] == 0 || v["ro_evict"] == 0
	}' "$mnt/stat/pool"
}

same both_are_clients 2 "$(stat_of clients)"
check statistics_add_up adds_up
sed 's/^/# /' "$mnt/stat/pool" | grep -E 'cache_|page_|evict|fget|prefetch'

# --- the end --------------------------------------------------------------------------------

exec 5>&-
wait "$client"
same the_other_process_ends_well 0 $?
exec 6<&-
manifest "$mnt/files" >"$work/last"
unmount_pool
check home_holds_exactly_what_was_written manifest_is "$work/last" "$home"
same the_database_is_sound_in_home ok "$(sqlite3 "$home/names.db" 'pragma integrity_check')"
same with_its_changes 20000 \
	"$(sqlite3 "$home/names.db" 'select count(*) from name where changed = 1')"
check git_fsck_in_home git_is_sound "$home"
sed 's/^/# client: /' "$work/client.log"
finish
