# SPDX-License-Identifier: BSD-3-Clause
"""unusual.py - calls that few programs make, on the mount and on a bare directory beside it.

Each function of CALLS works in an empty directory; what it returns, or the error it fails with,
must be the same on both sides.  The exceptions are in DIFFERENT, with what the mount answers: what
a FUSE file system cannot have, refused as programs expect it of one that lacks it.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import select
import shutil
import socket
import stat
import struct
import sys
import tempfile

from checks import AT_FDCWD, D, HOME, KERNEL_CACHES, Handle, libc

CALLS = []
DIFFERENT = {
    "collapses_a_range": "EOPNOTSUPP",
    "inserts_a_range": "EOPNOTSUPP",
    "makes_a_file_without_a_name": "EOPNOTSUPP",
    "asks_for_birth_time": 0,
    "gets_chattr_flags": "ENOTTY",
    "gets_extents": "EOPNOTSUPP",
    "reads_what_needs_no_waiting": "EOPNOTSUPP",
    "writes_uncached": "EOPNOTSUPP",
    "seeks_as_far_as_numbers_go": (1 << 63) - 1,
    "waits_with_epoll": None,
    "writes_odd_bytes_directly": 3,
    "opens_a_device": "EACCES",
    # as on most file systems, if not on all
    "truncates_beyond_all_files": "EFBIG",
    "seeks_data_before_the_beginning": "ENXIO",
    "opens_by_handle": b"x",
}
if not KERNEL_CACHES:
    DIFFERENT.update(maps_shared="ENODEV", maps_shared_to_read="ENODEV")


def call(fn):
    CALLS.append(fn)
    return fn


def _c(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def _file(name="f", data=b"x" * 16384, flags=os.O_RDWR):
    with open(name, "wb") as f:
        f.write(data)
    return os.open(name, flags)


# --- room -----------------------------------------------------------------------------------


def _allocate(mode, offset=0, n=4096):
    return _c(libc.fallocate(_file(), mode, offset, n))


@call
def collapses_a_range():
    return _allocate(8)


@call
def inserts_a_range():
    return _allocate(32)


@call
def punches_without_keeping_the_size():
    return _allocate(2)


@call
def allocates_nothing():
    return _allocate(0, 0, 0)


@call
def allocates_before_the_beginning():
    return _allocate(0, -1)


@call
def allocates_more_than_there_is():
    return _allocate(0, 0, 1 << 62)


@call
def allocates_in_a_directory():
    return _c(libc.fallocate(os.open(".", os.O_RDONLY), 0, 0, 4096))


@call
def writes_nothing_far_away():
    fd = _file()
    return os.pwrite(fd, b"", 1 << 40), os.fstat(fd).st_size


@call
def writes_beyond_all_files():
    return os.pwrite(_file(), b"x", (1 << 63) - 1)


@call
def truncates_to_less_than_nothing():
    return os.ftruncate(_file(), -1)


@call
def truncates_beyond_all_files():
    return os.ftruncate(_file(), 1 << 62)


# --- offsets --------------------------------------------------------------------------------


@call
def seeks_before_the_beginning():
    return os.lseek(_file(), -1, os.SEEK_SET)


@call
def seeks_as_far_as_numbers_go():
    return os.lseek(_file(), (1 << 63) - 1, os.SEEK_SET)


@call
def seeks_from_nowhere():
    return os.lseek(_file(), 0, 9)


@call
def seeks_data_before_the_beginning():
    return os.lseek(_file(), -1, os.SEEK_DATA)


# --- names ----------------------------------------------------------------------------------


def _rename(flags, to=b"b"):
    _file("a")
    _file("b", b"b")
    _c(libc.renameat2(-100, b"a", -100, to, flags))
    return sorted((n, os.lstat(n).st_size) for n in os.listdir("."))


@call
def renames_without_replacing():
    return _rename(1)


@call
def renames_without_replacing_what_is_not_there():
    return _rename(1, b"c")


@call
def exchanges():
    return _rename(2)


@call
def leaves_a_whiteout():
    return _rename(4, b"c"), oct(os.lstat("a").st_mode)


@call
def renames_with_flags_that_exclude_each_other():
    return _rename(3)


@call
def renames_with_unknown_flags():
    return _rename(8)


@call
def renames_the_directory_it_is_in():
    return os.rename(".", "q")


@call
def renames_to_the_parent():
    _file()
    return os.rename("f", "..")


@call
def removes_the_directory_it_is_in():
    return os.rmdir(".")


@call
def unlinks_a_directory():
    return os.unlink(".")


@call
def opens_a_file_as_a_directory():
    _file()
    return os.open("f/", os.O_RDONLY)


@call
def asks_for_a_directory_and_gets_a_file():
    _file()
    return os.open("f", os.O_RDONLY | os.O_DIRECTORY)


@call
def creates_what_ends_in_a_slash():
    return os.open("n/", os.O_WRONLY | os.O_CREAT, 0o644)


@call
def makes_a_directory_that_ends_in_a_slash():
    os.mkdir("d/")
    return os.listdir(".")


@call
def links_a_directory():
    os.mkdir("d")
    return os.link("d", "e")


@call
def links_what_it_has_open():
    return _c(libc.linkat(_file(), b"", -100, b"linked", 0x1000)), sorted(os.listdir("."))


@call
def links_a_removed_file_by_proc():
    fd = _file()
    os.unlink("f")
    return os.link("/proc/self/fd/%d" % fd, "g", follow_symlinks=True)


@call
def opens_a_removed_file_by_proc():
    fd = _file()
    os.unlink("f")
    return os.read(os.open("/proc/self/fd/%d" % fd, os.O_RDWR), 1)


@call
def reads_what_it_had_as_a_path():
    _file()
    return os.read(os.open("/proc/self/fd/%d" % os.open("f", os.O_PATH), os.O_RDONLY), 1)


@call
def opens_by_handle():
    _file()
    handle, mount = Handle(n=128), ctypes.c_int()
    _c(libc.name_to_handle_at(AT_FDCWD, b"f", ctypes.byref(handle), ctypes.byref(mount), 0))
    where = os.open(".", os.O_RDONLY)
    return os.read(_c(libc.open_by_handle_at(where, ctypes.byref(handle), os.O_RDONLY)), 1)


@call
def makes_a_file_without_a_name():
    return os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600) > 0


@call
def creates_in_a_removed_directory():
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    os.rmdir("d")
    return os.open("f", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)


@call
def works_in_a_removed_directory():
    os.mkdir("d")
    os.chdir("d")
    os.rmdir("../d")
    return os.listdir(".")


@call
def mounts_on_it():
    os.mkdir("d")
    _c(libc.mount(b"none", b"d", b"tmpfs", 0, None))
    try:
        os.rmdir("d")
    except OSError as e:
        return errno.errorcode[e.errno]
    finally:
        libc.umount2(b"d", 2)


@call
def opens_a_device():
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return os.read(os.open("null", os.O_RDONLY), 1)


@call
def opens_a_socket():
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("s")
    return os.open("s", os.O_RDONLY)


@call
def opens_a_pipe_both_ways():
    os.mkfifo("p")
    return os.close(os.open("p", os.O_RDWR | os.O_NONBLOCK))


# --- rights and times -----------------------------------------------------------------------


@call
def writes_what_it_has_open_for_reading():
    return os.write(_file(flags=os.O_RDONLY), b"x")


@call
def truncates_what_it_has_open_for_reading():
    return os.ftruncate(_file(flags=os.O_RDONLY), 1)


@call
def reads_a_directory():
    return os.read(os.open(".", os.O_RDONLY), 1)


@call
def opens_for_neither_reading_nor_writing():
    fd = os.open("f", 3 | os.O_CREAT, 0o644)
    return os.read(fd, 1)


@call
def sets_all_bits_of_a_mode():
    os.fchmod(_file(), 0o7777)
    return oct(os.stat("f").st_mode)


@call
def changes_the_mode_of_a_link():
    os.symlink("x", "s")
    return _c(libc.fchmodat(-100, b"s", 0o600, 0x100))


@call
def changes_the_mode_of_a_path():
    _file()
    return os.fchmod(os.open("f", os.O_PATH), 0o600)


def _set_time(ns):
    os.utime(_file(), ns=(ns, ns))
    st = os.stat("f")
    return st.st_atime_ns, st.st_mtime_ns


@call
def sets_a_time_before_1970():
    return _set_time(-10**18)


@call
def sets_a_time_before_1900():
    return _set_time(-3 * 10**18)


@call
def sets_a_time_beyond_2500():
    return _set_time(2**34 * 10**9)


@call
def sets_one_time_of_two():
    os.utime(_file(), ns=(10**18, 10**18))
    OMIT = 0x3ffffffe
    _c(libc.utimensat(-100, b"f", struct.pack("qqqq", 5, 0, 0, OMIT), 0))
    _c(libc.utimensat(-100, b"f", struct.pack("qqqq", 0, OMIT, 7, 1), 0))
    st = os.stat("f")
    return st.st_atime_ns, st.st_mtime_ns


@call
def asks_for_birth_time():
    answer = ctypes.create_string_buffer(256)
    _c(libc.statx(_file(), b"", 0x1000, 0x800, answer))
    return struct.unpack_from("I", answer)[0] & 0x800


# --- attributes and ioctls ------------------------------------------------------------------


def _attribute(name, value, on="f", make=_file):
    make(on)
    os.setxattr(on, name, value, follow_symlinks=False)
    return os.getxattr(on, name, follow_symlinks=False)


@call
def sets_an_attribute_of_a_directory():
    return _attribute("user.a", b"1", "d", os.mkdir)


@call
def sets_an_attribute_of_a_pipe():
    return _attribute("user.a", b"1", "p", os.mkfifo)


@call
def sets_an_attribute_of_a_link():
    return _attribute("user.a", b"1", "s", lambda name: os.symlink("x", name))


@call
def sets_a_trusted_attribute_of_a_link():
    return _attribute("trusted.a", b"1", "s", lambda name: os.symlink("x", name))


@call
def sets_a_long_attribute():
    return _attribute("user.a", b"1" * 3000)


@call
def sets_one_that_is_too_long():
    return _attribute("user.a", b"1" * 65537)


@call
def sets_an_attribute_with_a_long_name():
    return _attribute("user." + "n" * 255, b"1")


@call
def sets_an_attribute_of_no_class():
    return _attribute("nothing.a", b"1")


@call
def sets_a_systems_attribute():
    return _attribute("system.a", b"1")


@call
def gets_chattr_flags():
    return len(fcntl.ioctl(_file(), 0x80086601, bytes(8)))


@call
def gets_extents():
    return len(fcntl.ioctl(_file(), 0xc020660b, struct.pack("QQIIII", 0, 1 << 40, 0, 0, 0, 0)))


@call
def gets_what_is_left_to_read():
    return fcntl.ioctl(_file(), 0x541b, bytes(4))


# --- other ways to read and write -----------------------------------------------------------


@call
def reads_what_needs_no_waiting():
    return os.preadv(_file(), [bytearray(10)], 0, os.RWF_NOWAIT)


@call
def reads_with_priority():
    return os.preadv(_file(), [bytearray(10)], 0, os.RWF_HIPRI)


def _write_with(flags):
    fd = _file()
    return os.pwritev(fd, [b"zz"], 0, flags), os.fstat(fd).st_size


@call
def writes_synced():
    return _write_with(os.RWF_SYNC)


@call
def appends_once():
    return _write_with(0x10)


@call
def writes_uncached():
    return _write_with(0x80)


@call
def writes_with_unknown_flags():
    return _write_with(0x800000)


@call
def writes_odd_bytes_directly():
    return os.pwrite(_file(flags=os.O_WRONLY | os.O_DIRECT), b"abc", 1)


@call
def maps_shared():
    return len(mmap.mmap(_file(), 4096))


@call
def maps_shared_to_read():
    return len(mmap.mmap(_file(), 4096, mmap.MAP_SHARED, mmap.PROT_READ))


@call
def maps_to_run():
    return len(mmap.mmap(_file(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC))


@call
def splices_in():
    fd, (r, w) = _file(), os.pipe()
    os.write(w, b"abc")
    return os.splice(r, fd, 3, offset_dst=100), os.pread(fd, 5, 99)


@call
def copies_within_a_file():
    fd = _file()
    return os.copy_file_range(fd, fd, 1000, 0, 8192), os.fstat(fd).st_size


@call
def copies_onto_itself():
    fd = _file()
    return os.copy_file_range(fd, fd, 4096, 0, 1)


@call
def copies_from_behind_the_end():
    return os.copy_file_range(_file(), _file("g"), 4096, 1 << 30, 0)


@call
def copies_to_the_end():
    return os.copy_file_range(_file(), _file("g", flags=os.O_WRONLY | os.O_APPEND), 10)


@call
def advises():
    fd = _file()
    return [os.posix_fadvise(fd, 0, 0, advice) for advice in range(6)]


@call
def syncs_a_range():
    return _c(libc.sync_file_range(_file(), ctypes.c_long(0), ctypes.c_long(0), 7))


@call
def syncs_the_file_system():
    return _c(libc.syncfs(_file()))


@call
def syncs_what_it_has_open_for_reading():
    fd = _file(flags=os.O_RDONLY)
    return os.fsync(fd), os.fdatasync(fd)


# --- waiting, locking, watching -------------------------------------------------------------


@call
def polls():
    p = select.poll()
    p.register(_file(), select.POLLIN | select.POLLOUT | select.POLLPRI)
    return [events for _, events in p.poll(0)]


@call
def waits_with_epoll():
    return select.epoll().register(_file(), select.EPOLLIN)


@call
def gets_a_lease():
    fd = _file()
    return fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK), fcntl.fcntl(fd, fcntl.F_GETLEASE)


@call
def locks_a_description():
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    F_OFD_SETLK = 37
    return fcntl.fcntl(_file(), F_OFD_SETLK, lock) == lock


@call
def watches_a_directory():
    fd = _c(libc.inotify_init1(os.O_NONBLOCK))
    _c(libc.inotify_add_watch(fd, b".", 0xfc6))  # modify, attrib, moved, create, delete, self
    os.close(_file())
    os.rename("f", "g")
    os.chmod("g", 0o600)
    os.unlink("g")
    events, at, seen = os.read(fd, 65536), 0, []
    while at < len(events):
        _, mask, _, n = struct.unpack_from("iIII", events, at)
        seen.append(hex(mask))
        at += 16 + n
    return seen


# --- both sides -----------------------------------------------------------------------------


def _answer(fn, where):
    """Of a process of its own, in a directory of its own."""
    directory = tempfile.mkdtemp(dir=where)
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(directory)
            said = repr(fn())
        except OSError as e:
            said = repr(errno.errorcode[e.errno])
        except BaseException as e:
            said = "fails: %r" % e
        os.write(w, said.encode())
        os._exit(0)
    os.close(w)
    os.waitpid(pid, 0)
    with os.fdopen(r) as f:
        said = f.read()
    shutil.rmtree(directory)
    return said.replace("ENOTSUP'", "EOPNOTSUPP'")


def main():
    failed = 0
    for i, fn in enumerate(CALLS, 1):
        name = fn.__name__
        mount, bare = _answer(fn, D), _answer(fn, HOME)
        want = repr(DIFFERENT[name]) if name in DIFFERENT else bare
        if mount != want:
            print("# mount %s, bare %s, wanted %s" % (mount, bare, want))
            failed = 1
        print("%s %d - %s" % ("ok" if mount == want else "not ok", i, name), flush=True)
    print("1..%d" % len(CALLS))
    sys.exit(failed)


main()
