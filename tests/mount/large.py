# SPDX-License-Identifier: BSD-3-Clause
"""large.py - many names, long files, sparse files.

LARGE_ENTRIES is how many names and files there are (5000); 100000 takes some minutes.
"""
import ctypes
import errno
import os
import resource
import shutil
import threading

from checks import fails, home, libc, path, pattern, run, until

ENTRIES = int(os.environ.get("LARGE_ENTRIES", "5000"))
DAEMON = int(os.environ["DAEMON_PID"])
GIB = 1 << 30


def _make(where, n=ENTRIES):
    """In HOME: it is not creating that is tried."""
    os.mkdir(home(where))
    for i in range(n):
        os.close(os.open(home("%s/n%06d" % (where, i)), os.O_WRONLY | os.O_CREAT, 0o644))


def _remove(names):
    for name in names:
        os.unlink(name)


# --- names ----------------------------------------------------------------------------------


def a_large_directory_is_listed_whole():
    _make("whole")
    assert sorted(os.listdir(path("whole"))) == ["n%06d" % i for i in range(ENTRIES)]


def a_listing_survives_removals():
    """What is not removed is listed once, though two others remove half of it meanwhile."""
    doomed = {"n%06d" % i for i in range(0, ENTRIES, 2)}
    halves = [[path("whole/" + n) for n in sorted(doomed)[:len(doomed) // 2]],
              [home("whole/" + n) for n in sorted(doomed)[len(doomed) // 2:]]]
    removers = [threading.Thread(target=_remove, args=(half,)) for half in halves]
    seen = []
    with os.scandir(path("whole")) as entries:
        for i, e in enumerate(entries):
            if i == 100:
                for t in removers:
                    t.start()
            seen.append(e.name)
    for t in removers:
        t.join()
    assert len(seen) == len(set(seen)), "no name twice"
    assert set(seen) >= {"n%06d" % i for i in range(1, ENTRIES, 2)}, "each that stayed"
    assert set(os.listdir(path("whole"))).isdisjoint(doomed)


class _Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_ulong), ("off", ctypes.c_long), ("reclen", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]


libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.readdir.argtypes = libc.telldir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.seekdir.restype = None


def _read_names(stream, n):
    names = []
    while len(names) < n:
        entry = libc.readdir(stream)
        if not entry:
            break
        name = _Dirent.from_address(entry).name.decode()
        if name not in (".", ".."):
            names.append(name)
    return names


def a_cursor_survives_removals():
    """telldir(3) in the middle; what comes behind it comes again, but for what was removed."""
    _make("cursor", 3000)
    stream = libc.opendir(os.fsencode(path("cursor")))
    before = _read_names(stream, 1000)
    cursor = libc.telldir(stream)
    behind = _read_names(stream, 3000)
    assert len(before) + len(behind) == 3000
    _remove([path("cursor/" + n) for n in before])
    _remove([home("cursor/" + n) for n in behind[::3]])
    libc.seekdir(stream, cursor)
    assert _read_names(stream, 3000) == [n for i, n in enumerate(behind) if i % 3]
    libc.closedir(stream)


def a_large_directory_is_emptied_while_it_is_listed():
    with os.scandir(path("whole")) as entries:
        for e in entries:
            os.unlink(e.path)
    os.rmdir(path("whole"))


def any_number_of_files_is_touched_with_few_descriptors():
    os.mkdir(home("touched"))
    for i in range(ENTRIES):
        with open(home("touched/n%06d" % i), "w") as f:
            f.write("%d" % i)
    most = 0
    for i in range(ENTRIES):
        fd = os.open(path("touched/n%06d" % i), os.O_RDWR)
        assert os.read(fd, 100) == b"%d" % i
        if i % 16 == 0:
            os.pwrite(fd, b"+", 0)
        os.close(fd)
        if i % 1000 == 999:
            most = max(most, len(os.listdir("/proc/%s/fd" % DAEMON)))
    assert most < 1000, most
    for i in range(0, ENTRIES, 16):
        with open(path("touched/n%06d" % i), "rb") as f:
            assert f.read() == b"+" + (b"%d" % i)[1:]
    shutil.rmtree(path("touched"))


def more_files_are_open_than_the_pool_has_room_for():
    """200 KiB have room for 64 at a time; the others are opened again when they are used."""
    os.mkdir(path("open"))
    fds = [os.open(path("open/n%d" % i), os.O_RDWR | os.O_CREAT, 0o644) for i in range(300)]
    for turn in range(2):
        for i, fd in enumerate(fds):
            assert os.pwrite(fd, b"%d.%d" % (turn, i), turn * 10) > 0
    for i, fd in enumerate(fds):
        want = b"0.%d" % i
        assert os.pread(fd, 100, 0) == want + b"\0" * (10 - len(want)) + b"1.%d" % i
        os.close(fd)
    shutil.rmtree(path("open"))


def what_makes_way_gives_back_what_was_reserved_ahead():
    """A file that grows has blocks behind its end, until it is closed for good."""
    os.mkdir(path("ahead"))
    fds = [os.open(path("ahead/n%d" % i), os.O_RDWR | os.O_CREAT, 0o644) for i in range(100)]
    for turn in range(3):
        for fd in fds:
            assert os.pwrite(fd, pattern(8192, turn), turn * 8192) == 8192
    for fd in fds:
        os.close(fd)
    until(lambda: all(os.stat(home("ahead/n%d" % i)).st_blocks * 512 <= 3 * 8192
                      for i in range(100)))
    shutil.rmtree(path("ahead"))


def _say_what_is_in_the_way():
    """For whoever finds out why there was no room."""
    for what in "files", "events":
        with open(path("") + "../../stat/" + what) as f:
            print("".join("# " + line for line in f.read().splitlines(True)[-80:]))


def _use_files_without_a_name(fds):
    for i in range(300):
        fds.append(os.open(path("nameless"), os.O_RDWR | os.O_CREAT, 0o644))
        os.pwrite(fds[i], b"0.%d" % i, 5000)
        os.utime(fds[i], ns=(10**18, 10**18 + i))
        os.unlink(path("nameless"))
    assert os.fstat(fds[0]).st_mtime_ns == 10**18
    for i, fd in enumerate(fds):
        assert os.pwrite(fd, b"1.%d" % i, 10000) > 0
    for i in range(len(fds)):
        want = bytes(5000) + b"0.%d" % i
        assert os.pread(fds[0], 20000, 0) == want + bytes(10000 - len(want)) + b"1.%d" % i
        assert os.fstat(fds[0]).st_nlink == 0
        os.close(fds.pop(0))


def more_files_without_a_name_are_open_than_the_pool_has_room_for():
    """They are written while they wait: nothing but the open file leads to what they hold."""
    fds = []
    try:
        _use_files_without_a_name(fds)
    except OSError:
        _say_what_is_in_the_way()
        raise
    finally:
        for fd in fds:
            os.close(fd)


def _opens_soon(name):
    """The kernel tells of a close a moment later."""
    def opens():
        try:
            os.close(os.open(path(name), os.O_RDWR | os.O_CREAT, 0o644))
        except OSError as e:
            assert e.errno == errno.ENFILE, e
            return False
        return True
    until(opens)


def what_cannot_be_opened_is_not_created():
    """The daemon needs a descriptor for each file that is open."""
    fds = []
    try:
        while len(fds) < 2000:
            name = "open%d" % len(fds)
            fds.append(os.open(path(name), os.O_RDWR | os.O_CREAT, 0o644))
        raise AssertionError("there were descriptors for all of them")
    except OSError as e:
        assert e.errno == errno.ENFILE, e
    assert not os.path.lexists(home(name)) and not os.path.lexists(path(name))
    for fd in fds:
        os.close(fd)
    _opens_soon(name)


def a_daemon_without_any_descriptor_gets_them_back():
    """Each close(2) leaves one that is kept in case, and they are too many for the limit."""
    limits = resource.prlimit(DAEMON, resource.RLIMIT_NOFILE)
    fds = [os.open(path("kept%d" % i), os.O_RDWR | os.O_CREAT, 0o644) for i in range(500)]
    resource.prlimit(DAEMON, resource.RLIMIT_NOFILE, (400, limits[1]))
    try:
        for name in ("kept.new", "kept.other"):
            fails(errno.ENFILE, os.open, path(name), os.O_RDWR | os.O_CREAT, 0o644)
        for fd in fds:
            os.close(fd)
        _opens_soon("kept.new")
    finally:
        resource.prlimit(DAEMON, resource.RLIMIT_NOFILE, limits)


# --- lengths --------------------------------------------------------------------------------


def a_file_of_over_4_gib_is_exact():
    spots = [0, 2 * GIB - 3, 4 * GIB - 5, 4 * GIB + 4093, 5 * GIB + 7]
    fd = os.open(path("long"), os.O_RDWR | os.O_CREAT, 0o644)
    for i, at in enumerate(spots):
        assert os.pwrite(fd, pattern(10, i), at) == 10
    assert os.fstat(fd).st_size == 5 * GIB + 17
    for i, at in reversed(list(enumerate(spots))):
        assert os.pread(fd, 10, at) == pattern(10, i)
    assert os.pread(fd, 100, 5 * GIB) == b"\0" * 7 + pattern(10, 4)
    os.fsync(fd)
    with open(home("long"), "rb") as f:
        f.seek(5 * GIB)
        assert f.read() == b"\0" * 7 + pattern(10, 4)
    assert os.lseek(fd, 4 * GIB + 65536, os.SEEK_DATA) == 5 * GIB
    os.ftruncate(fd, 4 * GIB + 1)
    assert os.pread(fd, 10, 4 * GIB - 1) == pattern(10, 2)[4:6]
    os.lseek(fd, 0, os.SEEK_END)
    assert os.write(fd, b"append") == 6
    assert os.fstat(fd).st_size == 4 * GIB + 7
    os.close(fd)


def a_sparse_file_of_1_tib_takes_no_room():
    tib = 1 << 40
    fd = os.open(path("sparse"), os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, tib)
    assert os.pread(fd, 100, tib - 50) == b"\0" * 50
    os.pwrite(fd, b"in the middle", tib // 2 + 100)
    os.pwrite(fd, b"last", tib - 4)
    assert os.fstat(fd).st_size == tib
    assert os.lseek(fd, 0, os.SEEK_DATA) == tib // 2
    assert os.lseek(fd, tib // 2 + 65536, os.SEEK_DATA) == tib - 4096
    assert os.pread(fd, 20, tib // 2 + 98) == b"\0\0in the middle\0\0\0\0\0"
    os.fsync(fd)
    st = os.fstat(fd)
    assert st.st_blocks * 512 < 1 << 20, st.st_blocks
    with open(home("sparse"), "rb") as f:
        f.seek(tib - 5)
        assert f.read() == b"\0last"
    os.ftruncate(fd, 10)
    os.ftruncate(fd, tib)
    assert os.pread(fd, 10, tib - 10) == b"\0" * 10
    os.close(fd)
    os.unlink(path("sparse"))


run(globals(), 120 + ENTRIES // 50)
