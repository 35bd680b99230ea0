#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A removed file gives its blocks back once nobody has it open: whoever else looked at it at that
# moment, and also if it was removed in HOME.

. "$TEST_SRC/mount/lib.sh"

# Until the daemon has no file without a name open: the kernel tells it of the last close, and that
# it has forgotten the file, a moment after unlink(2) has returned.
none_is_held()
{
	timeout 30 python3 - "$(daemon_pid)" "$home/" <<-'EOP'
		import os, sys
		fds = "/proc/%s/fd/" % sys.argv[1]
		def held(n):
		    try:
		        to = os.readlink(fds + n)
		    except OSError:
		        return False
		    return to.startswith(sys.argv[2]) and to.endswith(" (deleted)")
		while any([held(n) for n in os.listdir(fds)]):
		    os.sched_yield()
	EOP
}

mount_pool --cache-size=4M

# --- while others look ----------------------------------------------------------------------

timeout 120 python3 - "$mnt/files/f" <<'EOP'
import os, signal, sys
path = sys.argv[1]
def look():
    while True:
        try:
            os.stat(path)
        except OSError:
            pass
children = []
for i in range(3):
    pid = os.fork()
    if pid == 0:
        look()
    children.append(pid)
try:
    for i in range(2000):
        fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        os.write(fd, b"xxxx")
        os.close(fd)
        os.unlink(path)
finally:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
EOP
ok files_are_removed_while_others_look $?
check the_mount_still_answers test -s "$mnt/README"
check no_removed_file_is_held_open none_is_held

# --- in HOME --------------------------------------------------------------------------------

# The kernel tells when the last descriptor of a file without a name has gone.
freed_after_removal()
{
	timeout 100 python3 - "$@" <<-'EOP'
		import ctypes, os, select, sys
		IN_DELETE_SELF = 0x400
		libc = ctypes.CDLL(None, use_errno=True)
		fd = libc.inotify_init()
		left = len(sys.argv) - 1
		for path in sys.argv[1:]:
		    if libc.inotify_add_watch(fd, os.fsencode(path), IN_DELETE_SELF) == -1:
		        sys.exit("inotify: %d" % ctypes.get_errno())
		    os.unlink(path)
		poll = select.poll()
		poll.register(fd, select.POLLIN)
		while left > 0:
		    if not poll.poll(30000):
		        sys.exit("%d removed files are still there" % left)
		    events = os.read(fd, 65536)
		    at = 0
		    while at < len(events):
		        mask = int.from_bytes(events[at + 4:at + 8], sys.byteorder)
		        left -= mask & IN_DELETE_SELF != 0
		        at += 16 + int.from_bytes(events[at + 12:at + 16], sys.byteorder)
	EOP
}

head -c 1048576 /dev/zero >"$mnt/files/written"
head -c 1048576 /dev/zero >"$home/read"
head -c 1048576 /dev/zero >"$home/looked_at"
cat "$mnt/files/read" >"$work/out"
stat "$mnt/files/looked_at" >"$work/out"
check files_removed_in_home_are_freed \
	freed_after_removal "$home/written" "$home/read" "$home/looked_at"
check_fails and_are_not_found_any_more 'no such file' cat "$mnt/files/written"

# Whoever has one open keeps it.
echo open >"$home/open"
exec 8<"$mnt/files/open"
echo other >"$home/idle"
cat "$mnt/files/idle" >"$work/out"
rm "$home/open"
check the_others_are_freed freed_after_removal "$home/idle"
same an_open_file_stays open "$(cat <&8)"
exec 8<&-
unmount_pool

# --- while who has answered a read is not done with it ----------------------------------------

# With the close of a file without a name nothing is left of it, for the kernel.  Memory that is
# given back is overwritten.
MALLOC_PERTURB_=165 LD_PRELOAD=$TEST_BIN/liblate_reader.so mount_pool --cache-size=4M
timeout 120 python3 - "$home/f" "$mnt/files/f" <<'EOP'
import os, sys
for i in range(40):
    with open(sys.argv[1], "wb") as f:
        f.write(b"%04d" % i * 2000)
    fd = os.open(sys.argv[2], os.O_RDONLY)
    os.unlink(sys.argv[2])
    assert os.pread(fd, 8000, 0) == b"%04d" % i * 2000
    os.close(fd)
EOP
ok a_file_that_was_read_is_closed_at_once $?
check and_not_held_open none_is_held
check and_the_mount_still_answers test -s "$mnt/README"
unmount_pool

# --- where HOME only hides them ---------------------------------------------------------------

# A filesystem of the network does, until nobody has the file open.
none_is_open()
{
	! readlink "/proc/$(daemon_pid)/fd/"* | grep -q '/\.hidden'
}

LD_PRELOAD=$TEST_BIN/libhide_removed.so mount_pool --cache-size=4M
echo idle >"$mnt/files/idle"
cat "$mnt/files/idle" >"$work/out"
rm "$mnt/files/idle"
check what_home_hides_is_not_kept_open within_a_minute none_is_open
echo open >"$mnt/files/open"
exec 8<"$mnt/files/open"
rm "$mnt/files/open"
same but_it_is_there_for_who_has_it_open open "$(cat <&8)"
exec 8<&-
check and_let_go_with_the_last_close within_a_minute none_is_open
unmount_pool
finish
