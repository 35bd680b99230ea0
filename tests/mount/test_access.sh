#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What HOME denies a user, the mount denies, too: bytes, names, sizes, statistics.  Nobody gets out
# of HOME through a daemon that root runs, by links, dots, /proc or a race of renames.

. "$TEST_SRC/mount/lib.sh"

refused()
{
	! as "$@" </dev/null >/dev/null 2>&1
}

chmod 755 "$work"
mkdir -m 700 "$home/private" "$work/out"
mkdir -m 755 "$home/d" "$work/open"
mkdir "$home/theirs"
chown 1000:1000 "$home/theirs"
echo s3cret-bytes >"$home/private/s3cret-name"
echo s3cret-bytes >"$home/closed"
chmod 600 "$home/closed" "$home/private/s3cret-name"
echo outside >"$work/out/x"
echo inside >"$home/d/x"
echo outside >"$work/open/x"
cp "$work/open/x" "$work/open/y"
ln -s "$work/out" "$home/way"
ln -s ../open "$home/aside" # leads nowhere from the mount, and out of HOME from there
mount_pool --cache-size=1M -o allow_other
cat "$mnt/files/private/s3cret-name" "$mnt/files/closed" "$mnt/files/d/x" >/dev/null
daemon=$(daemon_pid)

# --- what is denied --------------------------------------------------------------------------

check a_file_that_is_closed_is_not_read refused 1000 cat "$mnt/files/closed"
check nor_written refused 1000 sh -c 'echo x >>"$1"' - "$mnt/files/closed"
check a_directory_that_is_closed_is_not_listed refused 1000 ls "$mnt/files/private"
check nor_are_its_files_looked_at refused 1000 stat "$mnt/files/private/s3cret-name"
check nor_their_pages refused 1000 cat "$mnt/pages/private/s3cret-name"
check nor_those_of_a_closed_file refused 1000 cat "$mnt/pages/closed"
check an_acl_opens_it setfacl -m u:1000:r "$home/closed"
same to_whom_it_names s3cret-bytes "$(as 1000 cat "$mnt/files/closed")"
check and_to_nobody_else refused 1001 cat "$mnt/files/closed"
setfacl -b "$home/closed"

# Whatever the mount shows beside files/.
shown()
{
	as 1000 find "$mnt" -path "$mnt/files" -prune -o -type f -print 2>/dev/null |
	while read -r name; do
		echo "$name"
		as 1000 cat "$name" 2>/dev/null
	done
}
shown >"$work/shown"
check something_is_shown_to_all grep -q cache_hit "$work/shown"
same but_no_name_of_what_is_closed 0 "$(grep -c s3cret "$work/shown")"
check ctl_is_not_theirs refused 1000 sh -c 'echo reap >"$1/ctl"' - "$mnt"
cp "$TEST_BIN/pool_client" "$work/client"
same somebody_may_attach ok "$(echo sync | "$work/client" "$home")"
same they_do_not_attach '' "$(echo sync | as 1000 "$work/client" "$home" 2>/dev/null)"
they_are_told()
{
	as 1000 "$work/client" "$home" </dev/null 2>&1 | grep -qi "permission denied"
}
check with_a_sentence they_are_told

# --- ways out --------------------------------------------------------------------------------

check not_through_a_link refused 1000 cat "$mnt/files/way/x"
check nor_one_that_the_daemon_alone_could_follow refused 0 cat "$mnt/files/aside/x"
link_of_their_own_is_refused()
{
	as 1000 ln -s "$work/out/x" "$mnt/files/theirs/l" && refused 1000 cat "$mnt/files/theirs/l"
}
check not_through_a_link_of_their_own link_of_their_own_is_refused
check not_through_dots refused 1000 cat "$mnt/files/d/../../../out/x"
check a_command_finds_what_is_inside sh -c 'echo sync d/x >"$1/ctl"' - "$mnt"
check and_not_through_dots_what_is_outside refused 0 sh -c 'echo sync ../open/y >"$1/ctl"' - "$mnt"
check nor_through_a_link refused 0 sh -c 'echo sync aside/y >"$1/ctl"' - "$mnt"
check not_through_the_daemons_root refused 1000 cat "/proc/$daemon/root$work/open/x"
check not_through_its_descriptors refused 1000 ls "/proc/$daemon/fd/"
check not_into_a_closed_directory_by_its_working_directory \
	refused 1000 sh -c 'cd "$1/files/private" && cat s3cret-name' - "$mnt"
hard_link_is_refused()
{
	as 1000 ln "$mnt/files/closed" "$mnt/files/theirs/h" 2>/dev/null
	refused 1000 cat "$mnt/files/theirs/h"
}
check a_hard_link_gives_no_rights hard_link_is_refused

# d and a link to the outside change places while he looks for d/x: never is it root who follows.
check not_by_a_race_of_renames python3 - "$home" "$mnt/files" <<'EOP'
import ctypes, os, sys, threading
home, files = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
seen, over = {}, False

def exchange():
    while not over:
        assert libc.renameat2(-100, (home + "/d").encode(), -100, (home + "/way").encode(), 2) == 0

def count(what):
    seen[what] = seen.get(what, 0) + 1

mover = threading.Thread(target=exchange)
mover.start()
child = os.fork()
if child == 0:
    os.setgroups([])
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 1000)
    for i in range(int(os.environ.get("ESCAPE_TRIES", "150"))):
        for name in ("/d/x", "/way/x"):
            try:
                with open(files + name, "rb") as f:
                    got = f.read()
                    if got != b"inside\n":
                        print(name, got)
                        sys.stdout.flush(); os._exit(1)
            except OSError:
                pass
            try:
                with open(files + name, "ab") as f:
                    f.write(b"his")
                    f.flush()
                    print(name, "opened for writing", os.fstat(f.fileno()), flush=True); os._exit(2)
            except OSError:
                pass
    os._exit(0)
status = os.waitpid(child, 0)[1]
over = True
mover.join()
sys.exit(status != 0)
EOP
same what_is_outside_is_as_it_was outside "$(cat "$work/out/x")"
unmount_pool

# --- another user's daemon -------------------------------------------------------------------

# nobody's, who has a name, as fusermount3 wants.  /dev/fuse as it usually is, for this test alone.
mknod -m 666 "$work/fuse" c 10 229 && mount --bind "$work/fuse" /dev/fuse
mkdir "$work/home2" "$work/mnt2"
cp "$POOLFS" "$work/poolfs"
chown 65534:65534 "$work/home2" "$work/mnt2"
if as 65534 timeout 60 "$work/poolfs" "$work/home2" "$work/mnt2" 2>"$work/why"; then
	check anothers_mount_is_closed refused 1000 ls "$work/mnt2"
	check its_owner_uses_it as 65534 sh -c 'echo his >"$1/files/f"' - "$work/mnt2"
	check its_regions_are_closed refused 1000 head -c 1 "$work/home2/__db_mpool.share"
	check it_goes as 65534 timeout 100 "$work/poolfs" -u "$work/mnt2"
else
	skip anothers_mount_is_closed "$(head -n 1 "$work/why")"
fi
finish
